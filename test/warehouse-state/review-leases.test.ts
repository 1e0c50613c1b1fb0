/** Who may have a sync whose state lies in a database, and for how long. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import type { WarehouseEntry } from '../../src/config/types.ts'
import { DuckDBInstance } from '../../src/duckdb.ts'
import type { HoldRequest, Place } from '../../src/state/keeper.ts'
import { openKeeper } from '../../src/state/keepers.ts'
import { takeLease } from '../../src/state/lease.ts'
import { leaseCell } from '../../src/state/warehouse/cell.ts'
import { openSql } from '../../src/state/warehouse/sql.ts'
import { withPostgres } from '../support/postgres.ts'
import type { Postgres } from '../support/postgres.ts'

const LEASE = vi.hoisted(() => (process.env['CDP_SYNC_LEASE_MS'] = '400'))

let postgres: Postgres
let folder: string
beforeAll(async () => {
  postgres = await withPostgres()
  folder = await mkdtemp(join(tmpdir(), 'cdp-sync-leases-'))
})
afterAll(async () => {
  await postgres.stop()
  await rm(folder, { recursive: true, force: true })
})

const request = (name: string): HoldRequest => ({ name, timeout: 0, now: Date.now, signal: new AbortController().signal, run: null })

it('several syncs may have their first run at one moment', async () => {
  const app: WarehouseEntry = { name: 'app', type: 'postgres', settings: { url: postgres.url }, where: 'cdp-sync.yaml:3:3' }
  const names = Array.from({ length: 8 }, (_, i) => `sync-${i}`)
  for (const schema of ['first', 'second', 'third']) {
    const place: Place = {
      root: folder,
      name: 'growth',
      environment: null,
      warehouses: { app },
      state: { type: 'warehouse', path: join(folder, schema), schema, warehouse: 'app' },
      syncs: names.map((name) => ({ name, warehouse: app, enabled: true, environments: null })),
    }
    const keeper = await openKeeper(place)
    const holds = await Promise.all(names.map((name) => keeper.hold(request(name))))
    for (const held of holds) await held.release()
    expect(await postgres.query(`SELECT count(*)::int AS n FROM ${schema}.leases`)).toEqual([{ n: names.length }])
  }
})

it('a write to a DuckDB file that takes longer than a lease lasts does not end the lease: nobody else can open the file', async () => {
  const path = join(folder, 'state.duckdb')
  const instance = await DuckDBInstance.create(path)
  const db = await instance.connect()
  await db.run(
    'CREATE SCHEMA s; CREATE TABLE s.leases (project VARCHAR, environment VARCHAR, sync VARCHAR, fence BIGINT, version BIGINT, written BIGINT, note VARCHAR)',
  )
  db.closeSync()
  instance.closeSync()
  const own: WarehouseEntry = { name: 'own', type: 'duckdb', settings: { path }, where: 'cdp-sync.yaml:4:3' }
  const context = { root: folder, sync: 'test', run: null, signal: new AbortController().signal, schema: 's', folder, readonly: false }
  const [renewer, sql] = await Promise.all([1, 2].map(() => openSql(own, { ...context, progress: () => undefined })))
  if (!renewer || !sql) throw new Error('two connections')
  const lease = await takeLease(leaseCell(renewer, { project: 'growth', environment: '', sync: 'test', schema: 's' }), request('test'))
  await sql.transaction(async () => {
    await wait(Number(LEASE) * 2)
    lease.alive()
  })
  await lease.release()
  await renewer.close()
  await sql.close()
})
