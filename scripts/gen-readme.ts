/** Puts what the demo really shows into README.md, between its markers. `npm run docs`. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Io, Out } from '../src/cli/io.ts'
import { main } from '../src/cli/main.ts'

export const README = fileURLToPath(new URL('../README.md', import.meta.url))

/** README.md with the plan of the demo's second day, made by running the demo. */
export async function readmePage(): Promise<string> {
  const transcript = await demo()
  const [, day = ''] = transcript.split('2. A day passes in the warehouse.\n')
  const happened = day.slice(0, day.indexOf('\n\n'))
  const plan = day.slice(day.indexOf('crm-contacts'), day.indexOf('\npaying-users'))
  const shown = `In the warehouse:\n\n${happened}\n\n$ cdp-sync plan crm-contacts\n${plan}`.replace(/127\.0\.0\.1:\d+/g, '127.0.0.1:8765')
  const page = await readFile(README, 'utf8')
  return page.replace(
    /(<!-- plan:start -->\n)[\s\S]*?(<!-- plan:end -->)/,
    (_, head: string, tail: string) => `${head}\`\`\`text\n${shown.trimEnd()}\n\`\`\`\n${tail}`,
  )
}

const out = (write: Out['write']): Out => ({ write, isTTY: false, columns: 100, closed: false })
const never = (): never => {
  throw new Error('the demo asks nothing')
}

/** What the demo prints at a time that does not pass, so that it prints the same each time. */
async function demo(): Promise<string> {
  const cwd = await mkdtemp(join(tmpdir(), 'cdp-sync-readme-'))
  let stdout = ''
  let stderr = ''
  const io: Io = {
    stdout: out((text) => void (stdout += text)),
    stderr: out((text) => void (stderr += text)),
    stdinTTY: false,
    env: {},
    cwd,
    now: () => Date.UTC(2026, 10, 3, 6),
    random: Math.random,
    onSignal: () => () => undefined,
    exit: never,
    ask: { text: never, choose: never },
  }
  try {
    const code = await main(['demo'], io)
    if (code !== 0) throw new Error(`the demo ended with ${code}:\n${stderr}`)
    return stdout
  } finally {
    await rm(cwd, { recursive: true, force: true })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await writeFile(README, await readmePage())
