/** A state in a database gives the plans that a local state gives, over chains of random tables: the same counts, samples and requests. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DuckDBInstance } from '../../src/duckdb.ts'
import type { Project, Sync, WarehouseEntry } from '../../src/config/types.ts'
import { service } from '../support/destinations.ts'
import type { Kind, Service } from '../support/destinations.ts'
import { withPostgres } from '../support/postgres.ts'
import type { Postgres } from '../support/postgres.ts'
import { person } from '../engine/support.ts'
import { column, world } from '../support/world.ts'
import type { Row, World } from '../support/world.ts'

let postgres: Postgres
let folder: string
beforeAll(async () => {
  postgres = await withPostgres()
  folder = await mkdtemp(join(tmpdir(), 'cdp-sync-same-plan-'))
})
afterAll(async () => {
  await postgres.stop()
  await rm(folder, { recursive: true, force: true })
})

const COLUMNS = ['id', 'email', 'phone', 'plan']
const text = (value: string | null | undefined): string => (value == null ? 'NULL' : `'${value.replaceAll("'", "''")}'`)
const table = (name: string, rows: readonly Row[]): string =>
  `DROP TABLE IF EXISTS ${name}; CREATE TABLE ${name} (${COLUMNS.map((it) => `${it} VARCHAR`).join(', ')});${
    rows.length > 0
      ? ` INSERT INTO ${name} VALUES ${rows.map((row) => `(${COLUMNS.map((it) => text(row[it])).join(', ')})`).join(', ')}`
      : ''
  }`

interface Engine {
  readonly name: string
  /** Puts the state of a world there, and its model where the engine reads it. */
  place(w: World, id: string): void
  rows(w: World, id: string, rows: readonly Row[]): Promise<void>
}

const place = (w: World, id: string, entries: Record<string, WarehouseEntry>, state: object, model: string | null): void => {
  Object.assign(w.project as { -readonly [K in keyof Project]: Project[K] }, {
    name: `same_${id}`,
    warehouses: { ...w.project.warehouses, ...entries },
    state: { type: 'warehouse', path: w.project.state.path, schema: 'cdp_sync', ...state },
  })
  const [own] = Object.values(entries)
  if (model && own) w.sync = { ...w.sync, warehouse: own, model: { ...w.sync.model, sql: model } }
  ;(w.project.syncs as Sync[])[0] = w.sync
}
const server = (): WarehouseEntry => ({ name: 'app', type: 'postgres', settings: { url: postgres.url }, where: 'cdp-sync.yaml:3:3' })
const file = (id: string): WarehouseEntry => ({
  name: 'app',
  type: 'duckdb',
  settings: { path: join(folder, `${id}.duckdb`) },
  where: 'cdp-sync.yaml:3:3',
})

async function fill(path: string, sql: string): Promise<void> {
  const instance = await DuckDBInstance.create(path)
  const db = await instance.connect()
  await db.run(sql)
  db.closeSync()
  instance.closeSync()
}

const ENGINES: Engine[] = [
  {
    name: 'PostgreSQL, read there too',
    place: (w, id) => place(w, id, { app: server() }, { warehouse: null }, `SELECT * FROM people_${id}`),
    rows: async (_, id, rows) => void (await postgres.query(table(`people_${id}`, rows))),
  },
  {
    name: 'PostgreSQL, read elsewhere',
    place: (w, id) => place(w, id, { app: server() }, { warehouse: 'app' }, null),
    rows: (w, _, rows) => w.model(rows),
  },
  {
    name: 'DuckDB, read there too',
    place: (w, id) => place(w, id, { app: file(id) }, { warehouse: null }, 'SELECT * FROM people'),
    rows: (_, id, rows) => fill(join(folder, `${id}.duckdb`), table('people', rows)),
  },
]

const KINDS: Kind[] = ['key', 'match', 'membership', 'any']
const row = fc.record({
  id: fc.oneof({ weight: 12, arbitrary: fc.constantFrom('1', '2', '3', '4', '5', '6') }, { weight: 1, arbitrary: fc.constant(null) }),
  email: fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom('a@x.io', 'B@x.io ', 'c@x.io', 'd@x.io', 'e@x.io') },
    { weight: 1, arbitrary: fc.constant(null) },
  ),
  phone: fc.constantFrom('11', '22', '33', null),
  plan: fc.constantFrom('free', 'pro', null),
})
/** Some rows of the table before stay as they are. */
interface Turn {
  keep: number
  rows: Row[]
  fates: ('ok' | 'rejected' | 'lost')[]
}
const chain: fc.Arbitrary<Turn[]> = fc.array(
  fc.record({
    keep: fc.integer({ min: 0, max: 7 }),
    rows: fc.array(row, { maxLength: 5 }),
    fates: fc.array(fc.constantFrom('ok' as const, 'ok' as const, 'ok' as const, 'rejected' as const, 'lost' as const), { maxLength: 4 }),
  }),
  { minLength: 2, maxLength: 6 },
)

/** Rows that come to share an address with each other, beside one that stays. */
const SHARED: Turn[] = [
  { keep: 0, rows: [person('1', 'a@x.io'), person('2', 'c@x.io')], fates: [] },
  { keep: 1, rows: [person('3', 'd@x.io'), person('4', 'd@x.io')], fates: [] },
  { keep: 3, rows: [], fates: [] },
]

/** Databases give rows in any order: what happens to one must not depend on which others go with it. */
function oneByOne(kind: Kind): Service {
  const made = service(kind)
  Object.assign(made.connector, { limits: { rows: 1, concurrency: 1 } })
  return made
}

/** A member that comes with an identifier which another one has. */
const MEMBERS: Turn[] = [
  { keep: 0, rows: [{ id: '2', email: 'd@x.io', phone: '11', plan: 'pro' }], fates: [] },
  { keep: 1, rows: [{ id: '6', email: 'a@x.io', phone: '11', plan: 'pro' }], fates: [] },
]

let turn = 0
const told = (w: World, from: number): unknown =>
  w.service.sent
    .slice(from)
    .map(({ op, key, match, fields }) => ({ op, key, match, fields }))
    .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))

describe.each(ENGINES)('$name', (engine) => {
  it.each(KINDS)(
    'plans and sends as a local state does (%s)',
    async (kind) => {
      await fc.assert(
        fc.asyncProperty(chain, fc.constantFrom<Sync['mode']>('mirror', 'mirror', 'upsert', 'update', 'insert'), async (steps, mode) => {
          const membership = kind === 'membership' || kind === 'any'
          const id = `${process.pid}_${++turn}`
          const over = { mode: membership ? ('mirror' as const) : mode, fields: membership ? [] : [column('plan')] }
          const here = await world(oneByOne(kind), over)
          const there = await world(oneByOne(kind), over)
          try {
            await engine.rows(there, id, [])
            engine.place(there, id)
            let rows: Row[] = []
            for (const step of steps) {
              rows = [...rows.slice(0, step.keep), ...step.rows]
              await here.model(rows)
              await engine.rows(there, id, rows)
              const [a, b] = [await here.plan(), await there.plan()]
              const plain = (plan: typeof a): unknown => ({ ...plan, warehouse: '', samples: [], invalid_samples: [], since: '' })
              expect(plain(b)).toEqual(plain(a))
              const from = [here.service.sent.length, there.service.sent.length]
              const bad = new Map(step.fates.map((fate, i) => [String(i + 1), fate]))
              for (const w of [here, there]) w.service.fate = ({ key }) => bad.get(key) ?? 'ok'
              const records = [await here.run(), await there.run()]
              expect(records[1]?.error).toEqual(records[0]?.error)
              expect(records[1]?.counts).toEqual(records[0]?.counts)
              expect(told(there, from[1] ?? 0)).toEqual(told(here, from[0] ?? 0))
            }
          } finally {
            await here.close()
            await there.close()
          }
        }),
        {
          numRuns: Number(process.env['PBT_RUNS'] ?? 3),
          seed: Number(process.env['PBT_SEED'] ?? 1),
          endOnFailure: process.env['PBT_SHRINK'] === undefined,
          examples: [
            [SHARED, 'mirror'],
            [MEMBERS, 'mirror'],
          ],
        },
      )
    },
    300_000,
  )
})
