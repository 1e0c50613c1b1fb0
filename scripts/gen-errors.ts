/** Joins the pages of docs/errors/ into docs/errors.md, by code. `npm run docs`. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const FOLDER = fileURLToPath(new URL('../docs/errors/', import.meta.url))
export const ERRORS_PAGE = fileURLToPath(new URL('../docs/errors.md', import.meta.url))

const HEAD = `# Errors

Every error has a code that never changes its meaning. The first digits say where it comes from: CDP1 configuration, CDP2
warehouses, CDP3 destinations, CDP4 state and engine, CDP5 commands, CDP6 demo and sandbox. This page is made of the files in
[errors/](errors) by \`npm run docs\`.

`

/** The page. Throws when two entries have one code. */
export function errorsPage(): string {
  const entries = new Map<string, string>()
  for (const file of readdirSync(FOLDER).filter((it) => it.endsWith('.md'))) {
    for (const entry of readFileSync(join(FOLDER, file), 'utf8').split(/^(?=## )/m)) {
      const code = /^## (CDP\d{4}) \S/.exec(entry)?.[1]
      if (code === undefined) {
        if (entry.trim() !== '') throw new Error(`docs/errors/${file} has text that belongs to no code: ${entry.slice(0, 60)}`)
        continue
      }
      if (entries.has(code)) throw new Error(`docs/errors/${file} explains ${code} a second time`)
      entries.set(code, entry.trim().replace(/^(## .*)\n+/, '$1\n\n'))
    }
  }
  const sorted = [...entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry)
  return HEAD + sorted.join('\n\n') + '\n'
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(ERRORS_PAGE, errorsPage())
