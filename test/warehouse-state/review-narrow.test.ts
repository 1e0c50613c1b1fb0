/** Comparing in a database, where models and states are not as they should be. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Project, Sync, WarehouseEntry } from '../../src/config/types.ts'
import { DuckDBInstance } from '../../src/duckdb.ts'
import { reset } from '../../src/maintain.ts'
import { service } from '../support/destinations.ts'
import type { Kind } from '../support/destinations.ts'
import { withPostgres } from '../support/postgres.ts'
import type { Postgres } from '../support/postgres.ts'
import { column, world } from '../support/world.ts'
import type { World } from '../support/world.ts'

let postgres: Postgres
let folder: string
beforeAll(async () => {
  postgres = await withPostgres()
  folder = await mkdtemp(join(tmpdir(), 'cdp-sync-review-'))
})
afterAll(async () => {
  await postgres.stop()
  await rm(folder, { recursive: true, force: true })
})

interface There {
  readonly w: World
  /** SQL where the model lies; tables are made in a schema of the test's own. */
  readonly query: (sql: string) => Promise<void>
  /** SQL where the state lies. */
  readonly kept: (sql: string) => Promise<void>
}

let turn = 0
type Place = 'PostgreSQL' | 'DuckDB' | 'DuckDB, kept in PostgreSQL'
async function there(place: Place, model: string, over: Partial<Sync> = {}, kind: Kind = 'key'): Promise<There> {
  const name = `review_${++turn}`
  const file = join(folder, `${name}.duckdb`)
  const inFile = async (sql: string): Promise<void> => {
    const instance = await DuckDBInstance.create(file)
    const db = await instance.connect()
    await db.run(sql)
    db.closeSync()
    instance.closeSync()
  }
  const onServer = async (sql: string): Promise<void> => void (await postgres.query(sql))
  const server: WarehouseEntry = { name: 'server', type: 'postgres', settings: { url: postgres.url }, where: 'cdp-sync.yaml:3:3' }
  const own: WarehouseEntry =
    place === 'PostgreSQL' ? server : { name: 'own', type: 'duckdb', settings: { path: file }, where: 'cdp-sync.yaml:4:3' }
  const w = await world(service(kind), over)
  Object.assign(w.project as { -readonly [K in keyof Project]: Project[K] }, {
    name,
    warehouses: { ...w.project.warehouses, server, [own.name]: own },
    state: {
      ...w.project.state,
      type: 'warehouse',
      schema: 'cdp_sync',
      warehouse: place === 'DuckDB, kept in PostgreSQL' ? 'server' : null,
    },
  })
  w.sync = { ...w.sync, warehouse: own, model: { ...w.sync.model, sql: model } }
  ;(w.project.syncs as Sync[])[0] = w.sync
  const query = place === 'PostgreSQL' ? onServer : inFile
  return { w, query, kept: place === 'DuckDB' ? inFile : onServer }
}

describe.each<Place>(['PostgreSQL', 'DuckDB'])('%s', (place) => {
  it('compares models whose columns have the names that the comparison uses', async () => {
    const table = `names_${turn}`
    const names = ['c1', 'c0', 'cdp_key', 'cdp_hash', 'cdp_address_0', 'address', 'key', 'hash', 'm', 's', 'r', 'model', 'a "b"', 'ö']
    const quoted = names.map((it) => `"${it.replaceAll('"', '""')}"`)
    const { w, query } = await there(place, `SELECT * FROM ${table}`, { match: [], fields: names.map((it) => column(it)) })
    const row = (n: number): string => `(${[n, ...names.map((_, i) => `'${n} ${i}'`)].join(', ')})`
    await query(
      `CREATE TABLE ${table} (id INTEGER, ${quoted.map((it) => `${it} VARCHAR`).join(', ')}); INSERT INTO ${table} VALUES ${row(1)}, ${row(2)}`,
    )
    expect(await w.run()).toMatchObject({ status: 'ok', counts: { add: 2 } })
    expect(w.service.records().get('1')).toMatchObject({ c1: '1 0', c0: '1 1', cdp_key: '1 2' })
    expect(await w.run()).toMatchObject({ status: 'ok', counts: { unchanged: 2 } })
    await query(`UPDATE ${table} SET c0 = 'new' WHERE id = 1; DELETE FROM ${table} WHERE id = 2; INSERT INTO ${table} VALUES ${row(3)}`)
    expect(await w.run()).toMatchObject({ status: 'ok', counts: { add: 1, change: 1, remove: 1, unchanged: 0 } })
    expect([...w.service.records().keys()].sort()).toEqual(['1', '3'])
    expect(w.service.records().get('1')).toMatchObject({ c1: '1 0', c0: 'new' })
    await w.close()
  })
})

it.each<Place>(['PostgreSQL', 'DuckDB', 'DuckDB, kept in PostgreSQL'])(
  '%s: rows without a match are counted by their keys',
  async (place) => {
    const table = `null_${turn}`
    const { w, query } = await there(place, `SELECT * FROM ${table}`, {}, 'match')
    await query(`CREATE TABLE ${table} AS SELECT '1' AS id, 'free' AS plan, 'a@x.io' AS email`)
    expect(await w.run()).toMatchObject({ counts: { add: 1 } })
    await query(
      `INSERT INTO ${table} VALUES ('2', 'free', NULL), ('3', 'free', NULL), ('3', 'free', NULL), ('4', 'free', NULL), ('4', 'pro', NULL)`,
    )
    const { counts, invalid_reasons } = await w.plan()
    expect([counts.unchanged, counts.invalid, invalid_reasons]).toEqual([1, 4, { duplicate_key: 2, null_match: 2 }])
    await w.close()
  },
)

describe.each<Place>(['PostgreSQL', 'DuckDB', 'DuckDB, kept in PostgreSQL'])('%s', (place) => {
  it('finds addresses missing that were delivered, sends nothing, and begins anew after a reset', async () => {
    const table = `lost_${turn}`
    const { w, query, kept } = await there(place, `SELECT * FROM ${table}`)
    await query(`CREATE TABLE ${table} AS SELECT i AS id, 'free' AS plan, i || '@x.io' AS email FROM generate_series(1, 5) t(i)`)
    expect(await w.run()).toMatchObject({ status: 'ok', counts: { add: 5 } })
    await kept(`DELETE FROM cdp_sync.snapshot WHERE project = '${w.project.name}' AND address IN ('1', '2')`)
    const sent = w.service.sent.length
    await expect(w.plan()).rejects.toMatchObject({ code: 'CDP4001' })
    expect(await w.run()).toMatchObject({ status: 'failed', error: { code: 'CDP4001' } })
    // All of it is looked at: the other way to compare.
    w.sync = { ...w.sync, fields: [column('plan2', 'plan')] }
    ;(w.project.syncs as Sync[])[0] = w.sync
    expect(await w.run()).toMatchObject({
      status: 'failed',
      error: { code: 'CDP4001', message: expect.stringContaining('5 addresses and holds 3') as string },
    })
    expect(w.service.sent.length).toBe(sent)
    await reset(w.project, w.sync)
    expect(await w.run()).toMatchObject({ status: 'ok', counts: { add: 5, delivered: 5 } })
    expect(await w.run()).toMatchObject({ status: 'ok', counts: { unchanged: 5 } })
    await w.close()
  })
})

it('a key that the database that keeps the state can not hold makes its row invalid, and no other', async () => {
  const { w, query } = await there('DuckDB, kept in PostgreSQL', 'SELECT * FROM people', {
    guards: { invalid: false } as unknown as Sync['guards'],
  })
  await query(`CREATE TABLE people AS SELECT * FROM (VALUES ('a' || chr(0) || 'b', 'free', 'a@x.io'), ('c' || chr(0), 'free', 'a@x.io'),
    ('c' || chr(0), 'pro', 'b@x.io'), ('2', 'x' || chr(0), 'c@x.io'), ('3', 'free', 'd' || chr(0) || '@x.io')) t(id, plan, email)`)
  expect(await w.run()).toMatchObject({ status: 'ok', counts: { add: 2, delivered: 2, invalid: 3 } })
  expect(await w.run()).toMatchObject({ status: 'ok', counts: { add: 0, change: 0, unchanged: 2, invalid: 3 } })
  const { invalid_samples } = await w.plan()
  expect(invalid_samples?.find(({ code }) => code === 'nul')?.message).toContain('character NUL')
  await query(`UPDATE people SET plan = 'pro' WHERE id = '2'; DELETE FROM people WHERE id = '3'`)
  expect(await w.run()).toMatchObject({ status: 'ok', counts: { change: 1, remove: 1, unchanged: 0, invalid: 3 } })
  await w.close()
})
