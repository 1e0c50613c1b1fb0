/** What a PostgreSQL that keeps states may be asked to hold, and how long one runner may keep others waiting there. */
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Project, Sync, WarehouseEntry } from '../../src/config/types.ts'
import type { Connector } from '../../src/connector.ts'
import { adoptTarget } from '../../src/maintain.ts'
import { openKeeper } from '../../src/state/keepers.ts'
import { openPostgresSql } from '../../src/state/warehouse/postgres-sql.ts'
import type { Sql } from '../../src/state/warehouse/sql.ts'
import { service } from '../support/destinations.ts'
import { withPostgres } from '../support/postgres.ts'
import type { Postgres } from '../support/postgres.ts'
import { world } from '../support/world.ts'
import type { World } from '../support/world.ts'

let postgres: Postgres
beforeAll(async () => {
  postgres = await withPostgres()
})
afterAll(() => postgres.stop())

const entry = (url = postgres.url): WarehouseEntry => ({ name: 'app', type: 'postgres', settings: { url }, where: 'cdp-sync.yaml:3:3' })

/** A sync whose model and state lie in one database. */
let turn = 0
async function keptThere(sql: string, over: Partial<Sync> = {}, url = postgres.url): Promise<World> {
  const w = await world(service('key'), over)
  const app = entry(url)
  Object.assign(w.project as { -readonly [K in keyof Project]: Project[K] }, {
    name: `review_${++turn}`,
    warehouses: { ...w.project.warehouses, app },
    state: { ...w.project.state, type: 'warehouse', schema: 'cdp_sync', warehouse: null },
  })
  w.sync = { ...w.sync, warehouse: app, model: { ...w.sync.model, sql } }
  ;(w.project.syncs as Sync[])[0] = w.sync
  return w
}

describe('what it holds', () => {
  it('keeps an address of any length', async () => {
    await postgres.query(`CREATE TABLE long AS
      SELECT (SELECT string_agg(md5(i::text || n::text), '') FROM generate_series(1, 200) i) AS id, 'free' AS plan, n || '@x.io' AS email FROM generate_series(1, 3) n`)
    const w = await keptThere('SELECT * FROM long')
    expect((await w.run()).counts).toMatchObject({ add: 3, delivered: 3 })
    await postgres.query(`UPDATE long SET plan = 'pro' WHERE email = '1@x.io'; DELETE FROM long WHERE email = '2@x.io'`)
    expect(await w.run()).toMatchObject({ status: 'ok', counts: { change: 1, remove: 1, unchanged: 1 } })
    expect(await w.run()).toMatchObject({ status: 'ok', counts: { add: 0, change: 0, remove: 0, unchanged: 2 } })
    await w.close()
  })

  it('is refused before anything is sent where it has no place for texts of all alphabets', async () => {
    await postgres.query(`CREATE DATABASE old ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`)
    const w = await keptThere(`SELECT 1 AS id, 'free' AS plan, 'a@x.io' AS email`, {}, postgres.url.replace(/postgres$/, 'old'))
    expect(await w.run()).toMatchObject({ status: 'failed', error: { code: 'CDP4045' } })
    expect(w.service.sent).toEqual([])
    await w.close()
  })
})

describe('while it sends', () => {
  it('no transaction is open', async () => {
    const w = await keptThere(`SELECT i AS id, 'free' AS plan, i || '@x.io' AS email FROM generate_series(1, 3) i`)
    const { connector } = w.service
    const seen: unknown[] = []
    const spied: Connector = {
      ...connector,
      open(...given) {
        const destination = connector.open(...given)
        return {
          ...destination,
          async *write(batch) {
            seen.push(
              await postgres.query(`SELECT query FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND datname = 'postgres'`),
            )
            yield* destination.write(batch)
          },
        }
      },
    }
    w.sync = { ...w.sync, destination: { ...w.sync.destination, connector: spied } }
    ;(w.project.syncs as Sync[])[0] = w.sync
    expect(await w.run()).toMatchObject({ status: 'ok', counts: { delivered: 3 } })
    expect(seen).toEqual([[], []])
    await w.close()
  })
})

describe('what is held', () => {
  it('is still listed when the state is bound to another target', async () => {
    const w = await keptThere(`SELECT i AS id, 'free' AS plan, i || '@x.io' AS email FROM generate_series(1, 2) i`, {
      mode: 'insert',
      backfill: true,
    })
    w.service.fate = ({ key }) => (key === '1' ? 'lost' : 'ok')
    Object.assign(w.service.connector, { limits: { rows: 1, concurrency: 1 } })
    expect(await w.run()).toMatchObject({ status: 'incomplete', counts: { unknown: 1 } })
    w.service.account = { id: 'account-2', name: 'Account 2' }
    await adoptTarget(w.project, w.sync, w.context())
    const keeper = await openKeeper(w.project)
    const { rejected } = await keeper.records(w.sync.name)
    expect(
      (await readFile(rejected, 'utf8'))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toMatchObject([{ key: '1', outcome: 'unknown', held: true }])
    await w.close()
  })
})

describe('roles and servers', () => {
  it('a role whose transactions only read may plan, and is told why it can not run', async () => {
    const first = await keptThere(`SELECT 1 AS id, 'free' AS plan, 'a@x.io' AS email`)
    expect((await first.run()).status).toBe('ok')
    await postgres.query(`CREATE ROLE looker LOGIN PASSWORD 'x'; ALTER ROLE looker SET default_transaction_read_only = on;
      GRANT USAGE ON SCHEMA cdp_sync TO looker; GRANT SELECT ON ALL TABLES IN SCHEMA cdp_sync TO looker`)
    const url = new URL(postgres.url)
    url.username = 'looker'
    url.password = 'x'
    const w = await keptThere(first.sync.model.sql, {}, url.href)
    ;(w.project as { name: string }).name = String(first.project.name)
    expect((await w.plan()).counts).toMatchObject({ add: 0, unchanged: 1 })
    const { error } = await w.run()
    expect(error).toMatchObject({ code: 'CDP4040', hint: expect.stringContaining('only reads') as string })
    await first.close()
    await w.close()
  })

  it('the time limit of a role does not cut what must be stored in one piece, and nobody waits for ever', async () => {
    await postgres.query(`CREATE ROLE hurried SUPERUSER LOGIN PASSWORD 'x'; ALTER ROLE hurried SET statement_timeout = 200`)
    const url = new URL(postgres.url)
    url.username = 'hurried'
    url.password = 'x'
    const context = { root: '/', sync: 'test', run: null, signal: new AbortController().signal, schema: 'cdp_sync', folder: tmpdir() }
    const sql: Sql = await openPostgresSql(entry(url.href), { ...context, readonly: false, progress: () => undefined })
    try {
      const slow = `SELECT 'x' FROM pg_sleep(0.5)`
      await sql.transaction(() => sql.run(slow))
      await sql.run(slow)
      await sql.fetch(slow, 1, join(tmpdir(), `review-${process.pid}.csv`))
      const settings = ['lock_timeout', 'idle_in_transaction_session_timeout', 'tcp_keepalives_idle']
      await sql.run(`CREATE TABLE seen AS SELECT ${settings.map((it) => `current_setting('${it}') AS ${it}`).join(', ')}`)
      expect(await postgres.query('SELECT * FROM seen')).toEqual([
        { lock_timeout: '1min', idle_in_transaction_session_timeout: '10min', tcp_keepalives_idle: '30' },
      ])
      expect(await sql.rows('SHOW lock_timeout')).toEqual([{ lock_timeout: '0' }])
    } finally {
      await sql.close()
    }
  })
})
