/** A project in a temporary folder for the engine's tests: a CSV model, a test service, the real engine, state where `engine` has it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FieldSpec, Project, Sync } from '../../src/config/types.ts'
import { DEFAULT_OPTIONS } from '../../src/context.ts'
import type { RunContext, RunEvent, RunOptions } from '../../src/context.ts'
import { planSync, runSync } from '../../src/run.ts'
import type { RunRecord, SyncPlan } from '../../src/types.ts'
import { openDb } from '../../src/state/db.ts'
import type { Service } from './destinations.ts'
import { engine, stateFile } from './engines.ts'
import type { Models } from './engines.ts'

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

/** A file of the project. */
const files = (root: string): Models => ({
  entry: { name: 'files', type: 'duckdb', settings: {}, where: 'cdp-sync.yaml:2:3' },
  sql: `select * from read_csv('rows.csv', all_varchar = true, nullstr = '\\N', header = true, delim = ',', quote = '"')`,
  fill: (names, rows) =>
    writeFile(
      join(root, 'rows.csv'),
      [names.join(','), ...rows.map((row) => names.map((name) => cell(row[name])).join(','))].join('\n') + '\n',
    ),
})

export async function world(service: Service, over: Partial<Sync> = {}): Promise<World> {
  const root = await mkdtemp(join(tmpdir(), 'cdp-sync-world-'))
  const place = engine.place()
  const models = place.models(root) ?? files(root)
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
    warehouse: models.entry,
    model: {
      sql: models.sql,
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
    name: 'shop',
    environment: null,
    warehouses: { [sync.warehouse.name]: sync.warehouse, ...place.warehouses },
    destinations: { there: destination },
    state: place.entry(root),
    syncs: [sync],
    secrets: [],
    variables: [],
    warnings: [],
  } as unknown as Project
  let killed = false
  const self: World = {
    project,
    sync,
    service,
    events: [],
    now: Date.parse('2026-01-01T00:00:00Z'),
    async model(rows) {
      await models.fill(Object.keys(rows[0] ?? { id: '', email: '', phone: '', plan: '' }), rows)
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
      killed = false
      const record = await runSync(project, self.sync, self.context(options))
      if (killed) await place.revive(project, self.sync.name)
      return record
    },
    async state(sql) {
      const folder = await mkdtemp(join(tmpdir(), 'cdp-sync-look-'))
      const { db, close } = await openDb({ memory: 128 * 1_048_576, threads: 1, spill: join(folder, 'spill') })
      try {
        const file = await stateFile(project, self.sync.name, folder)
        if (file === null) throw new Error('there is no state')
        await db.run(`ATTACH '${file}' AS state (READ_ONLY)`)
        return await db.rows(sql)
      } finally {
        close()
        await rm(folder, { recursive: true, force: true })
      }
    },
    close: () => rm(root, { recursive: true, force: true }),
  }
  // A kill leaves what was durable at that moment: that is remembered, and put back when the run is over.
  service.onCrash = () => {
    if (killed) return
    killed = true
    place.kill(project, self.sync.name)
  }
  return self
}
