/** The guided tour: the real commands, run one after the other on a project of its own, with what happens between them. */
import { relative } from 'node:path'
import type { Io } from '../cli/io.ts'
import { PORT } from '../cli/sandbox.ts'
import type { Session } from '../cli/session.ts'
import { CdpError, EXIT } from '../errors.ts'
import { count, hang, many, paint } from '../render/text.ts'
import type { Sandbox } from '../sandbox/serve.ts'
import { newDemo, warehousePath, type Demo } from './folder.ts'
import { SERVICES } from './project.ts'
import { breakWarehouse, passDay, repairWarehouse, type Happening } from './warehouse.ts'

interface Tour {
  readonly session: Session
  readonly demo: Demo
  readonly sandbox: Sandbox
  /** Requests that changed something since they were last told, per service. */
  readonly writes: Map<string, number>
}

/** Writes the demo and walks through it; the folder stays. Throws CDP6001, CDP6004. */
export async function guide(session: Session, folder: string, customers: number, seed: number): Promise<void> {
  session.say(`Inventing ${many(customers, 'customer')}.`)
  const { demo, sandbox } = await newDemo(folder, customers, seed)
  const tour: Tour = { session, demo, sandbox, writes: new Map() }
  for (const [name, served] of sandbox.host.fakes)
    served.onExchange(({ write }) => void (write && tour.writes.set(name, (tour.writes.get(name) ?? 0) + 1)))
  try {
    heading(tour, `1. A shop's warehouse has ${many(customers, 'customer')}. CRM, experiments and ads know nobody yet.`)
    told(tour, [`HubSpot, Statsig and Meta are played on this machine: look at ${sandbox.url}/ while this goes on.`])
    session.print(`\n$ cd ${from(session, folder)}\n`)
    await command(tour, ['plan'])
    await command(tour, ['run'])
    arrived(tour)

    heading(tour, '2. A day passes in the warehouse.')
    const happenings = await passDay(warehousePath(demo), seed)
    happened({ session }, happenings)
    await command(tour, ['plan'])
    const swapped = happenings.flatMap(({ keys = [] }) => keys.flatMap((key) => ['--key', String(key)]))
    session.print('\n')
    told(tour, ['Two of those who swapped their addresses:'])
    await command(tour, ['plan', 'crm-contacts', ...swapped])
    await command(tour, ['run'])
    arrived(tour)
    await command(tour, ['plan'])

    heading(tour, '3. An accident: a loader dies half-way, and two of three customers are gone from the warehouse.')
    await breakWarehouse(warehousePath(demo))
    await command(tour, ['run'], EXIT.refused)
    arrived(tour)
    await repairWarehouse(warehousePath(demo))
    told(tour, ['The loader is repaired, the customers are back, and nobody out there noticed:'])
    await command(tour, ['plan', '--detailed-exitcode'])
  } finally {
    await sandbox.close()
  }
  goodbye(tour)
}

/** Runs a command as the shell would, and stops the tour if it ends otherwise than it should. */
async function command({ session, demo }: Tour, argv: readonly string[], expected: number = EXIT.ok): Promise<void> {
  session.signal.throwIfAborted()
  // Off a terminal values are hidden; nobody is behind these.
  const full = session.io.stdout.isTTY || argv[0] !== 'plan' ? argv : [...argv, '--show-values']
  session.print(`\n${paint(session.style(), 'bold', `$ cdp-sync ${full.join(' ')}`)}\n`)
  const { main } = await import('../cli/main.ts')
  const code = await main([...globals(session), ...full], ioIn(session, demo.folder))
  session.signal.throwIfAborted()
  if (expected !== EXIT.ok) session.print(`(exit code ${code})\n`)
  if (code === expected) return
  throw new CdpError('CDP6004', `The demo stopped: \`cdp-sync ${full.join(' ')}\` ended with exit code ${code}, not ${expected}.`, {
    where: demo.folder,
    hint: 'What it wrote above says why. The folder is left as it is.',
  })
}

function globals({ globals: { quiet, debug, color } }: Session): string[] {
  return [...(quiet ? ['--quiet'] : []), ...(debug ? ['--debug'] : []), ...(color === false ? ['--no-color'] : [])]
}

/** As if started in the folder, with none but the demo's own settings; its interrupts are those that the tour hears. */
function ioIn({ io, signal }: Session, folder: string): Io {
  const {
    SANDBOX_URL: _url,
    HUBSPOT_TOKEN: _token,
    STATSIG_KEY: _key,
    META_TOKEN: _meta,
    META_ACCOUNT: _account,
    CDP_SYNC_ENV: _env,
    ...env
  } = io.env
  const onSignal: Io['onSignal'] = (heard) => {
    const interrupted = (): void => heard('SIGINT')
    signal.addEventListener('abort', interrupted)
    return () => signal.removeEventListener('abort', interrupted)
  }
  return { ...io, cwd: folder, env, onSignal }
}

const from = ({ io }: Session, folder: string): string => relative(io.cwd, folder) || '.'

function heading({ session }: Pick<Tour, 'session'>, text: string): void {
  session.print(
    `\n${hang('', text, session.io.stdout.columns)
      .map((it) => paint(session.style(), 'bold', it))
      .join('\n')}\n`,
  )
}

function told({ session }: Pick<Tour, 'session'>, lines: readonly string[]): void {
  for (const line of lines) session.print(hang('   ', line, session.io.stdout.columns).join('\n') + '\n')
}

export function happened({ session }: Pick<Tour, 'session'>, happenings: readonly Happening[]): void {
  const width = Math.max(...happenings.map((it) => count(it.rows).length))
  for (const { what, rows } of happenings)
    session.print(hang(`   ${count(rows).padStart(width)} `, what, session.io.stdout.columns, width + 4).join('\n') + '\n')
}

/** What each service calls those it holds. */
const HELD = {
  hubspot: ['HubSpot', 'contacts', 'contact'],
  statsig: ['Statsig', 'members', 'user'],
  meta: ['Meta', 'members', 'hashed identifier'],
} as const

function arrived({ session, sandbox, writes }: Tour): void {
  const parts = SERVICES.map((service) => {
    const [name, collection, what] = HELD[service]
    const held = sandbox.host.fakes.get(service)?.records()[collection]?.length ?? 0
    return `${name} got ${many(writes.get(service) ?? 0, 'write')} and holds ${many(held, what)}`
  })
  writes.clear()
  session.print(hang('', `(${parts.join('; ')})`, session.io.stdout.columns).join('\n') + '\n')
}

/** What to try next; every line works as it stands. */
function goodbye({ session, demo }: Pick<Tour, 'session' | 'demo'>): void {
  const cdp = program(session)
  heading({ session }, 'That was it. The project stays in the folder, to play with:')
  const lines = [
    [`cd ${from(session, demo.folder)}`, ''],
    [`${sandboxCommand(cdp, demo)} &`, `the services, until you end them; look at http://127.0.0.1:${demo.port}/`],
    [`${cdp} run --full-refresh`, 'they forgot all when the demo ended, so everything goes there once more'],
    [`${cdp} demo --day`, 'lets another day pass in the warehouse'],
    [`${cdp} plan`, 'what that means for the three of them'],
    [`${cdp} run`, 'one e-mail is refused: exit code 3, all else arrives'],
    [`${cdp} rejected crm-contacts`, 'which, and why'],
    [`${cdp} why crm-contacts 42`, 'everything known of one row'],
    [`${cdp} status`, 'all on one screen'],
  ] as const
  const width = Math.max(...lines.map(([text]) => text.length))
  for (const [text, note] of lines) session.print(`   ${text.padEnd(width)}${note ? `  # ${note}` : ''}`.trimEnd() + '\n')
  told({ session }, ['Or edit syncs/crm-contacts.yaml (add `team: Team` to the map of `plan`) and look at the plan: only those rows go.'])
}

/** Starts the services of a demo where its project looks for them. */
export const sandboxCommand = (cdp: string, { port }: Pick<Demo, 'port'>): string =>
  `${cdp} sandbox --only ${SERVICES.join(',')}${port === PORT ? '' : ` --port ${port}`}`

/** How this program was called, as far as npm says. */
export function program({ io }: Session): string {
  return io.env['npm_command'] === undefined ? 'cdp-sync' : 'npx cdp-sync'
}
