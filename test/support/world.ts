/** A project in a temporary folder for the engine's tests: a CSV model, a test service, the real engine and state. */
import { copyFileSync, existsSync, rmSync } from 'node:fs'
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FieldSpec, Project, Sync } from '../../src/config/types.ts'
import { DEFAULT_OPTIONS } from '../../src/context.ts'
import type { RunContext, RunEvent, RunOptions } from '../../src/context.ts'
import { statePaths } from '../../src/records.ts'
import { planSync, runSync } from '../../src/run.ts'
import type { RunRecord, SyncPlan } from '../../src/types.ts'
import { openDb } from '../../src/state/db.ts'
import type { Service } from './destinations.ts'

export type Row = Record<string, string | null>

export interface World {
  readonly project: Project
  sync: Sync
  readonly service: Service
  readonly events: RunEvent[]
  now: number
  /** Writes the model's rows; every row has the same columns. */
  model(rows: readonly Row[]): Promise<void>
  plan(options?: Partial<RunOptions>): Promise<SyncPlan>
  run(options?: Partial<RunOptions>): Promise<RunRecord>
  context(options?: Partial<RunOptions>): RunContext
  /** Rows of a table of the state, between runs. */
  state<T extends object>(sql: string): Promise<T[]>
  close(): Promise<void>
}

export const column = (name: string, source: string = name, more: Partial<FieldSpec> = {}): FieldSpec => ({
  name,
  source: { kind: 'column', column: source },
  transform: [],
  nulls: 'clear',
  nullsWritten: false,
  write: 'always',
  sensitive: false,
  where: 'syncs/test.yaml:1:1',
  ...more,
})

const NO_GUARDS = { deletes: false, identities: false, invalid: false, mapping: false, empty: false } as const

/** RFC 4180, with NULL apart from ''. */
function cell(value: string | null | undefined): string {
  return value === null || value === undefined ? '\\N' : `"${value.replaceAll('"', '""')}"`
}

export async function world(service: Service, over: Partial<Sync> = {}): Promise<World> {
  const root = await mkdtemp(join(tmpdir(), 'cdp-sync-world-'))
  const warehouse = { name: 'files', type: 'duckdb' as const, settings: {}, where: 'cdp-sync.yaml:2:3' }
  const destination = { name: 'there', connector: service.connector, config: {}, where: 'cdp-sync.yaml:4:3' }
  const spec = service.connector.objects['record']
  if (!spec || typeof spec === 'function') throw new Error('no record')
  const sync: Sync = {
    name: 'test',
    file: 'syncs/test.yaml',
    where: 'syncs/test.yaml:1:1',
    owner: null,
    description: null,
    tags: [],
    enabled: true,
    environments: null,
    renamedFrom: null,
    warehouse,
    model: {
      sql: `select * from read_csv('rows.csv', all_varchar = true, nullstr = '\\N', header = true, delim = ',', quote = '"')`,
      where: 'models/test.sql',
      key: ['id'],
      condition: null,
    },
    destination,
    object: 'record',
    spec,
    mode: 'mirror',
    onRemove: 'delete',
    removeSet: null,
    onNullMatch: spec.membership ? 'remove' : 'keep',
    match: Object.keys(spec.match).map((name) => column(name === '*' ? 'email' : name)),
    fields: spec.membership ? [] : [column('plan')],
    star: null,
    send: 'row',
    backfill: null,
    dependsOn: [],
    guards: NO_GUARDS,
    tolerance: { rejected_percent: 0, rejected_rows: 0 },
    options: {},
    locate: () => 'syncs/test.yaml:1:1',
    frame: () => undefined,
    ...over,
  }
  const project = {
    root,
    name: null,
    environment: null,
    warehouses: { files: warehouse },
    destinations: { there: destination },
    state: { type: 'local', path: join(root, '.cdp-sync') },
    syncs: [sync],
    secrets: [],
    variables: [],
    warnings: [],
  } as unknown as Project
  const paths = statePaths(project, sync)
  let image = false
  const self: World = {
    project,
    sync,
    service,
    events: [],
    now: Date.parse('2026-01-01T00:00:00Z'),
    async model(rows) {
      const names = Object.keys(rows[0] ?? { id: '', email: '', phone: '', plan: '' })
      await writeFile(
        join(root, 'rows.csv'),
        [names.join(','), ...rows.map((row) => names.map((name) => cell(row[name])).join(','))].join('\n') + '\n',
      )
    },
    context(options = {}) {
      return {
        options: { ...DEFAULT_OPTIONS, ...options },
        signal: new AbortController().signal,
        now: () => self.now,
        random: () => 0,
        report: (event) => self.events.push(event),
        memory: 256 * 1_048_576,
        threads: 1,
        upsertsEnded: () => undefined,
        beforeRemovals: () => Promise.resolve(),
        trace: null,
      }
    },
    plan: (options) => planSync(project, self.sync, self.context(options)),
    async run(options) {
      self.now += 1000
      image = false
      const record = await runSync(project, self.sync, self.context(options))
      if (image) await restore(paths.file)
      return record
    },
    async state(sql) {
      const { db, close } = await openDb({ memory: 128 * 1_048_576, threads: 1, spill: join(root, 'spill') })
      try {
        await db.run(`ATTACH '${paths.file}' AS state (READ_ONLY)`)
        return await db.rows(sql)
      } finally {
        close()
      }
    },
    close: () => rm(root, { recursive: true, force: true }),
  }
  // A kill leaves what was durable at that moment: the files are set aside then, and put back when the run is over.
  service.onCrash = () => {
    if (image) return
    image = true
    setAside(paths.file)
  }
  return self
}

function setAside(file: string): void {
  for (const path of [file, `${file}.wal`]) {
    rmSync(`${path}.killed`, { force: true })
    if (existsSync(path)) copyFileSync(path, `${path}.killed`)
  }
}

async function restore(file: string): Promise<void> {
  for (const path of [file, `${file}.wal`]) {
    await rm(path, { force: true })
    if (existsSync(`${path}.killed`)) await copyFile(`${path}.killed`, path)
    await rm(`${path}.killed`, { force: true })
  }
}
