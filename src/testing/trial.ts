/** A project in a temporary folder with one sync to a served fake, driven through the command line as a user would. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Io, Out } from '../cli/io.ts'
import { main } from '../cli/main.ts'
import type { Connector } from '../connector.ts'
import { EXIT } from '../errors.ts'
import type { Plan, RunRecord, SyncPlan } from '../types.ts'
import type { Plain, Row } from './subject.ts'

/** What a command printed and how it ended. */
export interface Said {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface KeyedRow extends Row {
  readonly key: string
}

export interface TrialSettings {
  readonly connector: Connector
  /** Entry of `destinations:` without its type. */
  readonly destination: Readonly<Record<string, unknown>>
  readonly object: string
  readonly options?: Readonly<Record<string, unknown>> | undefined
  readonly mode: string
  /** Further lines of the sync. */
  readonly sync?: Readonly<Record<string, unknown>>
}

export interface Trial {
  /** Replaces the rows of the model; all have the match and fields of the first trial's rows or fewer. */
  rows(rows: readonly KeyedRow[]): Promise<void>
  /** Writes the sync anew: its mode and what else differs. */
  configure(more: Partial<TrialSettings>): Promise<void>
  command(...argv: readonly string[]): Promise<Said>
  plan(): Promise<SyncPlan>
  /** Runs with a trace of all requests, so that what is printed can be searched for secrets. */
  run(...flags: readonly string[]): Promise<Said & { readonly record: RunRecord }>
  /** All that was printed. */
  said(): readonly Said[]
  remove(): Promise<void>
}

const SYNC = 'trial'
/** Guards look at shares of rows, which mean nothing with seven. */
const NO_GUARDS = { deletes: false, identities: false, empty: false, mapping: false, invalid: false }

/** The user's own connectors are found by file; those given as objects are handed over through this table. */
const given = ((globalThis as Record<symbol, unknown>)[Symbol.for('cdp-sync.testing')] ??= new Map<string, Connector>()) as Map<
  string,
  Connector
>

export async function startTrial(first: TrialSettings): Promise<Trial> {
  const root = await mkdtemp(join(tmpdir(), 'cdp-sync-trial-'))
  let settings = first
  let columns: Map<string, string> | null = null
  const history: Said[] = []
  const write = async (path: string, text: string): Promise<void> => {
    await mkdir(join(root, path, '..'), { recursive: true })
    await writeFile(join(root, path), text)
  }
  const id = `${first.connector.name}-${root}`
  given.set(id, first.connector)
  const file = `export default globalThis[Symbol.for('cdp-sync.testing')].get(${JSON.stringify(id)})\n`
  await write(`connectors/${first.connector.name}.mjs`, file)
  await write('data/rows.json', '')

  async function configure(): Promise<void> {
    const destination = { type: settings.connector.name, ...settings.destination }
    await write(
      'cdp-sync.yaml',
      JSON.stringify({ project: 'trial', warehouses: { files: { type: 'duckdb' } }, destinations: { it: destination } }),
    )
    if (columns === null) return
    const known = [...columns].map(([name, type], i) => ({ name, column: `c${i}`, type }))
    const of = (part: string): Record<string, unknown> =>
      Object.fromEntries(known.filter(({ name }) => name.startsWith(part)).map(({ name, column }) => [name.slice(part.length), { column }]))
    const types = ["key: 'VARCHAR'", ...known.map(({ column, type }) => `${column}: '${type}'`)].join(', ')
    const path = join(root, 'data/rows.json').replaceAll("'", "''")
    const match = of('match ')
    const sync = {
      name: SYNC,
      model: { sql: `SELECT * FROM read_json('${path}', format = 'newline_delimited', columns = {${types}})`, key: 'key' },
      destination: 'it',
      object: settings.object,
      mode: settings.mode,
      ...(Object.keys(match).length > 0 ? { match } : {}),
      fields: of('field '),
      ...(settings.mode === 'insert' || settings.mode === 'append' ? { backfill: true } : {}),
      ...(settings.options === undefined ? {} : { options: settings.options }),
      guards: NO_GUARDS,
      ...settings.sync,
    }
    await write(`syncs/${SYNC}.yaml`, JSON.stringify(sync))
  }

  async function command(...argv: readonly string[]): Promise<Said> {
    const { io, said } = captured(root)
    const code = await main([...argv], io)
    const ended = { code, ...said() }
    history.push(ended)
    return ended
  }

  await configure()
  return {
    async rows(rows) {
      if (columns === null && rows[0] !== undefined) {
        columns = new Map()
        for (const row of rows) describeRow(columns, row)
        await configure()
      }
      const names = [...(columns ?? new Map<string, string>()).keys()]
      const lines = rows.map((row) => JSON.stringify({ key: row.key, ...cellsOf(names, row) }))
      await write('data/rows.json', lines.map((line) => line + '\n').join(''))
    },
    async configure(more) {
      settings = { ...settings, ...more }
      await configure()
    },
    command,
    async plan() {
      const said = await command('plan', SYNC, '--json', '--show-values')
      if (said.code !== EXIT.ok) throw new Error(`plan ended with ${said.code}:\n${said.stdout}${said.stderr}`)
      return (JSON.parse(said.stdout) as Plan).syncs[0] as SyncPlan
    },
    async run(...flags) {
      const said = await command('run', SYNC, '--debug', ...flags)
      const past = await command('history', SYNC, '--json', '--limit', '1')
      const record = (JSON.parse(past.stdout) as { runs: RunRecord[] }).runs[0]
      if (record === undefined) throw new Error(`no run was recorded:\n${said.stdout}${said.stderr}`)
      return { ...said, record }
    },
    said: () => history,
    async remove() {
      given.delete(id)
      await rm(root, { recursive: true, force: true })
    },
  }
}

function describeRow(columns: Map<string, string>, { match, fields }: Row): void {
  for (const [part, values] of [
    ['match', match],
    ['field', fields],
  ] as const)
    for (const [name, value] of Object.entries(values)) {
      const before = columns.get(`${part} ${name}`)
      if (before === undefined || value !== null) columns.set(`${part} ${name}`, typeOf(value))
    }
}

function typeOf(value: Plain): string {
  if (typeof value === 'number') return Number.isInteger(value) ? 'BIGINT' : 'DECIMAL(18, 4)'
  if (typeof value === 'boolean') return 'BOOLEAN'
  return typeof value === 'object' && value !== null ? 'JSON' : 'VARCHAR'
}

/** Values by column; what a row does not have is null. */
function cellsOf(names: readonly string[], { match, fields }: Row): Record<string, Plain> {
  const valueOf = (name: string): Plain => (name.startsWith('match ') ? match[name.slice(6)] : fields[name.slice(6)]) ?? null
  return Object.fromEntries(names.map((name, i) => [`c${i}`, valueOf(name)]))
}

const ask = (): Promise<string> => Promise.reject(new Error('a question nobody can answer'))

/** Streams that remember; chance that never waits, so that retries come at once. */
function captured(cwd: string): { io: Io; said: () => { stdout: string; stderr: string } } {
  const written = { stdout: '', stderr: '' }
  const out = (name: 'stdout' | 'stderr'): Out => ({
    write: (text) => void (written[name] += text),
    isTTY: false,
    columns: 120,
    closed: false,
  })
  const io: Io = {
    stdout: out('stdout'),
    stderr: out('stderr'),
    stdinTTY: false,
    env: {},
    cwd,
    now: Date.now,
    random: () => 0,
    onSignal: () => () => undefined,
    exit: () => undefined,
    ask: { text: ask, choose: ask },
  }
  return { io, said: () => ({ ...written }) }
}
