/** `cdp-sync demo` and `init --template demo`: a project to try everything on, with no account. */
import { relative, resolve } from 'node:path'
import { InvalidArgumentError, type Command } from 'commander'
import { CdpError } from '../errors.ts'
import { many } from '../render/text.ts'
import { parseCount, type Act } from './options.ts'
import type { Session } from './session.ts'

interface Flags {
  rows: number
  seed: number
  day?: boolean
}

const DEFAULT_FOLDER = 'cdp-sync-demo'
/** Enough for something to be unchanged, and for the guards to have a measure. */
const FEWEST = 100
const ROWS = 5_000
const SEED = 42

export function demoCommand(program: Command, act: Act): void {
  program
    .command('demo')
    .description('a guided run of a small project, with no account')
    .argument('[folder]', `where to put it (default: ${DEFAULT_FOLDER}; with --day the folder you are in)`)
    .option('--rows <n>', 'customers in the warehouse', parseRows, ROWS)
    .option('--seed <n>', 'another number, other customers', parseCount, SEED)
    .option('--day', 'let another day pass in the warehouse of a demo that was written before')
    .action(act(async (session, folder: string | undefined, flags: Flags) => demo(session, folder, flags)))
}

function parseRows(value: string): number {
  const rows = parseCount(value)
  if (rows < FEWEST) throw new InvalidArgumentError(`It must be ${FEWEST} or more.`)
  return rows
}

async function demo(session: Session, chosen: string | undefined, flags: Flags): Promise<void> {
  const folder = resolve(session.io.cwd, session.globals.cwd ?? '.', chosen ?? (flags.day ? '.' : DEFAULT_FOLDER))
  if (flags.day) return day(session, folder)
  const { guide } = await import('../demo/guide.ts')
  await guide(session, folder, flags.rows, flags.seed)
}

async function day(session: Session, folder: string): Promise<void> {
  const [{ readDemo, warehousePath }, { passDay }, { happened }] = await Promise.all([
    import('../demo/folder.ts'),
    import('../demo/warehouse.ts'),
    import('../demo/guide.ts'),
  ])
  const found = await readDemo(folder)
  happened({ session }, await passDay(warehousePath(found), found.seed))
}

/** Writes the template into a folder that does not hold a project yet. `folder` is absolute. */
export async function writeTemplate(session: Session, name: string, folder: string): Promise<number> {
  if (name !== 'demo')
    throw new CdpError('CDP5030', `There is no template "${name}" in this version.`, {
      hint: 'There is one: cdp-sync init --template demo.',
    })
  const [{ newDemo }, { program, sandboxCommand }] = await Promise.all([import('../demo/folder.ts'), import('../demo/guide.ts')])
  const { sandbox, demo: written } = await newDemo(folder, ROWS, SEED)
  await sandbox.close()
  session.print(`${relative(session.io.cwd, folder) || '.'}\n`)
  session.say(
    `A project with a warehouse of ${many(written.customers, 'customer')}. Next, in that folder: ${sandboxCommand(program(session), written)},`,
  )
  session.say(`and in another terminal ${program(session)} plan.`)
  return 0
}
