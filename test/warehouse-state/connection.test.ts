/** What a connection to a database that keeps states says when it is lost, or may not do what it must. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { openSql } from '../../src/state/warehouse/sql.ts'
import type { Sql } from '../../src/state/warehouse/sql.ts'
import { withPostgres } from '../support/postgres.ts'
import type { Postgres } from '../support/postgres.ts'

let postgres: Postgres
let folder: string
beforeAll(async () => {
  postgres = await withPostgres()
  folder = await mkdtemp(join(tmpdir(), 'cdp-sync-connection-'))
  await postgres.query(`CREATE ROLE stranger LOGIN PASSWORD 'far away'`)
})
afterAll(async () => {
  await postgres.stop()
  await rm(folder, { recursive: true, force: true })
})

const open = (url: string, signal = new AbortController().signal): Promise<Sql> =>
  openSql(
    { name: 'app', type: 'postgres', settings: { url }, where: 'cdp-sync.yaml:3:3' },
    {
      root: folder,
      folder,
      sync: 'people',
      run: null,
      signal,
      schema: 'cdp_sync',
      readonly: false,
      progress: () => undefined,
    },
  )

describe('a connection to PostgreSQL', () => {
  it('that is lost is told as one, and not as a wrong configuration', async () => {
    const sql = await open(postgres.url)
    try {
      await postgres.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cdp-sync'`)
      await expect(sql.run('SELECT 1')).rejects.toMatchObject({
        code: 'CDP4040',
        message: expect.stringContaining('which keeps the state'),
      })
    } finally {
      await sql.close()
    }
  })

  it('that compares ends when it is interrupted, and the server with it', async () => {
    const interrupt = new AbortController()
    const sql = await open(postgres.url, interrupt.signal)
    const busy = (): Promise<unknown[]> =>
      postgres.query(`SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(55)%' AND pid <> pg_backend_pid()`)
    const model = {
      sync: 'people',
      run: 'r',
      sql: 'SELECT 1 AS id, pg_sleep(55)::text AS nap',
      where: 'models/people.sql:1:1',
      condition: null,
    }
    try {
      const compared = sql.workspace({}, model, ({ model: rows }) =>
        sql.fetch(`SELECT id FROM ${rows} m WHERE nap IS NOT NULL`, 1, join(folder, 'rows')),
      )
      compared.catch(() => undefined)
      await vi.waitFor(async () => expect(await busy()).toHaveLength(1), { timeout: 20_000 })
      interrupt.abort(new Error('interrupted'))
      await expect(compared).rejects.toThrow('interrupted')
      await vi.waitFor(async () => expect(await busy()).toHaveLength(0), { timeout: 20_000 })
    } finally {
      await sql.close()
    }
  })

  it('of a role that may not make the schema names it', async () => {
    const url = new URL(postgres.url)
    url.username = 'stranger'
    url.password = 'far away'
    const sql = await open(url.href)
    try {
      await expect(sql.createSchema('cdp_snyc')).rejects.toMatchObject({
        code: 'CDP4041',
        message: expect.stringContaining('has no schema cdp_snyc'),
      })
    } finally {
      await sql.close()
    }
  })
})
