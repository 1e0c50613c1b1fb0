/** A project folder for a test: written, loaded, removed. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach } from 'vitest'
import { loadProject } from '../../src/config/load.ts'
import type { LoadOptions } from '../../src/config/load.ts'
import type { Project, Sync } from '../../src/config/types.ts'
import { ConfigErrors } from '../../src/errors.ts'

const roots: string[] = []
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true, force: true })
})

export const PROJECT = `warehouses:
  main: { type: duckdb }
destinations:
  crm: { type: crm, access_token: "\${env:TOKEN}" }
`
export const SYNC = `model: { table: people, key: id }
destination: crm
object: contacts
match: { email: email }
fields:
  firstname: first_name
`

/** Writes the files (and the connector "crm") to a new folder. */
export function folder(files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'cdp-sync-config-'))
  roots.push(root)
  cpSync(fileURLToPath(new URL('fixtures/connectors', import.meta.url)), join(root, 'connectors'), { recursive: true })
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true })
    writeFileSync(join(root, file), text)
  }
  return root
}

type Extra = Partial<Omit<LoadOptions, 'root'>>

export function load(files: Readonly<Record<string, string>>, extra: Extra = {}): Promise<Project> {
  const all = { 'cdp-sync.yaml': PROJECT, ...files }
  return loadProject({ root: folder(all), environ: { TOKEN: 'token-of-the-test' }, ...extra })
}

/** The one sync of a project whose file is `text`. */
export async function loadSync(text: string, extra: Extra = {}, files: Readonly<Record<string, string>> = {}): Promise<Sync> {
  const project = await load({ 'syncs/contacts.yaml': text, ...files }, extra)
  return project.syncs[0]!
}

/** All that is wrong, as a user sees it. */
export async function problems(files: Readonly<Record<string, string>>, extra: Extra = {}): Promise<string> {
  try {
    await load(files, extra)
  } catch (error) {
    if (!(error instanceof ConfigErrors)) throw error
    const shown = error.errors.map((one) =>
      [`${one.where ?? ''} ${one.code} ${one.message}`.trim(), one.frame, one.hint && `= ${one.hint}`].filter(Boolean).join('\n'),
    )
    return `\n${shown.join('\n\n')}\n`
  }
  return 'no problems'
}

export const wrong = (text: string, extra: Extra = {}): Promise<string> => problems({ 'syncs/contacts.yaml': text }, extra)

/** The sync of these tests with a part replaced. */
export const sync = (lines: string): string => SYNC + lines
