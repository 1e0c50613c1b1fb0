/** `cdp-sync grants`: what it prints, and that a real PostgreSQL which gave exactly that runs a whole project. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RunRecord } from '../../src/types.ts'
import { writeProject } from '../support/cli-project.ts'
import { withPostgres, type Postgres } from '../support/postgres.ts'
import { startReceiver, type Receiver } from '../support/receiver.ts'
import { cli, type Ran } from '../support/run-cli.ts'

const WAREHOUSES = `project: shop
warehouses:
  main: { type: postgres, url: "\${env:DATABASE_URL}" }
  app: { type: postgres, url: "\${env:STATE_URL:-postgres://app@127.0.0.1:1/states}" }
  files: { type: duckdb }
destinations: { app: { type: webhook, url: "\${env:WEBHOOK_URL}" } }
defaults: { warehouse: main }
`
const PEOPLE = `model: { file: models/people.sql, key: id }
destination: app
mode: mirror
match: { email: email }
fields: { plan: plan }
guards: { deletes: false }
`

interface Folder {
  readonly root: string
  remove(): Promise<void>
}

const project = (state: string): Promise<Folder> =>
  writeProject({
    'cdp-sync.yaml': WAREHOUSES + state,
    'syncs/people.yaml': PEOPLE,
    'syncs/companies.yaml': PEOPLE.replace('file: models/people.sql', "sql: 'select id, email, plan from analytics.people'")
      .replace('mirror', 'upsert')
      .replace('plan: plan', 'company: plan')
      .replace('guards: { deletes: false }', ''),
    'syncs/contacts.yaml': `enabled: false\n${PEOPLE.replace('models/people.sql', 'models/contacts.sql')}`,
    'models/contacts.sql': 'select 1 as id\n',
    'models/people.sql': 'select id, email, plan from analytics.people\n',
  })

describe('grants', () => {
  const env = { DATABASE_URL: 'postgres://app@127.0.0.1:1/shop', WEBHOOK_URL: 'http://127.0.0.1:1/' }
  const said = async (state: string, ...argv: string[]): Promise<Ran> => {
    const folder = await project(state)
    try {
      return await cli(['grants', ...argv], { cwd: folder.root, env })
    } finally {
      await folder.remove()
    }
  }

  it('where no state is kept are nothing but SELECT on what the models read', async () => {
    expect((await said('')).stdout)
      .toBe(`-- main (postgres). app runs syncs; cdp_sync_reader plans them and changes nothing. Both must exist.
-- Models are read with SELECT, which this can't list: give both roles USAGE on the schemas and SELECT on the tables of
-- syncs/companies.yaml, models/people.sql
-- No state is kept here, so nothing else is needed.
`)
  })

  it('of a file are rights of the system', async () => {
    expect((await said('', 'files')).stdout).toMatch('only read: the system’s rights on the file decide')
  })

  it('of Snowflake name its role, its database and the warehouse that computes', async () => {
    const folder = await project('')
    try {
      const text = `project: shop
warehouses: { main: { type: snowflake, account: org-shop, user: ada, password: "\${env:SNOWFLAKE_PASSWORD}", role: syncer, warehouse: small, database: crm } }
destinations: { app: { type: webhook, url: "\${env:WEBHOOK_URL}" } }
state: { type: warehouse }
`
      await writeFile(join(folder.root, 'cdp-sync.yaml'), text)
      const { code, stdout } = await cli(['grants'], { cwd: folder.root, env: { ...env, SNOWFLAKE_PASSWORD: 'of-the-test' } })
      expect([code, stdout.split('\n')[0]]).toEqual([
        0,
        expect.stringMatching(/^-- main \(snowflake\)\. syncer runs syncs; cdp_sync_reader plans/),
      ])
      expect(stdout).toMatch(/GRANT USAGE ON DATABASE "?CRM"? TO ROLE "?SYNCER"?;/)
      expect(stdout).toMatch(/GRANT USAGE ON WAREHOUSE "?SMALL"? TO ROLE "?CDP_SYNC_READER"?;/)
      expect(stdout).not.toMatch('of-the-test')
    } finally {
      await folder.remove()
    }
  })

  it('of a warehouse that is not there say so', async () => {
    expect(await said('', 'man')).toMatchObject({ code: 1, stderr: expect.stringMatching(/CDP5017.*\n.*Did you mean "main"\?/) as string })
  })

  it('name the roles they are for, as JSON too', async () => {
    const { stdout } = await said('state: { type: warehouse, schema: sync_state }\n', '--role', 'runner', '--reader', 'looker', '--json')
    const { warehouses, ...rest } = JSON.parse(stdout) as { warehouses: { sql: string }[] }
    expect(rest).toEqual({ format_version: 1 })
    expect(warehouses).toMatchObject([{ warehouse: 'main', type: 'postgres', role: 'runner', reader: 'looker', schema: 'sync_state' }])
    expect(warehouses[0]?.sql).toMatch(/GRANT .*sync_state.* TO .*runner/s)
    expect(warehouses[0]?.sql).toMatch(/GRANT .* TO .*looker/s)
  })
})

describe.each([
  ['the warehouse', 'main', 'postgres'],
  ['another database', 'app', 'states'],
])('a PostgreSQL that gave exactly these, for state in %s', (_name, entry, database) => {
  let db: Postgres
  let receiver: Receiver
  let folder: Folder
  const as = (user: string, ...argv: string[]): Promise<Ran> => {
    const url = (name: string): string => `postgres://${user}:pw@127.0.0.1:${db.port}/${name}`
    const env = { DATABASE_URL: url('postgres'), STATE_URL: url('states'), WEBHOOK_URL: receiver.url }
    return cli(argv, { cwd: folder.root, env })
  }
  /** In the database that keeps the state. */
  const there = async (sql: string): Promise<Record<string, unknown>[]> => {
    const { host, port, user, password } = db
    const client = new Client({ host, port, user, password, database })
    await client.connect()
    try {
      return (await client.query<Record<string, unknown>>(sql)).rows
    } finally {
      await client.end()
    }
  }

  beforeAll(async () => {
    db = await withPostgres()
    receiver = await startReceiver()
    folder = await project(`state: { type: warehouse, warehouse: ${entry} }\n`)
    await db.query('CREATE DATABASE states')
    await db.query(`
      CREATE ROLE runner LOGIN PASSWORD 'pw';
      CREATE ROLE looker LOGIN PASSWORD 'pw';
      REVOKE ALL ON DATABASE postgres, states FROM PUBLIC;
      REVOKE ALL ON SCHEMA public FROM PUBLIC;
      GRANT CONNECT ON DATABASE postgres TO runner, looker;
      CREATE SCHEMA analytics;
      CREATE TABLE analytics.people AS SELECT n AS id, n || '@example.com' AS email, 'free' AS plan FROM generate_series(1, 20) n;
      GRANT USAGE ON SCHEMA analytics TO runner, looker;
      GRANT SELECT ON analytics.people TO runner, looker`)
    await there('REVOKE ALL ON SCHEMA public FROM PUBLIC')
    const { stdout } = await as('runner', 'grants', entry, '--reader', 'looker')
    await there(stdout)
  })
  afterAll(async () => {
    await folder.remove()
    await receiver.close()
    await db.stop()
  })

  /** Everything that the schema holds, as text. */
  const kept = async (): Promise<string> => {
    const tables = await there(`SELECT tablename AS name FROM pg_tables WHERE schemaname = 'cdp_sync' ORDER BY 1`)
    const rows = await Promise.all(tables.map(({ name }) => there(`SELECT x::text AS row FROM cdp_sync.${String(name)} x ORDER BY 1`)))
    return JSON.stringify([tables, rows])
  }
  const counts = (ran: Ran): unknown => (JSON.parse(ran.stdout) as { summary: unknown }).summary

  it('is told whether the schema can be written, and stays as it was', async () => {
    const before = await kept()
    expect(await as('runner', 'validate', '--live')).toMatchObject({ code: 0 })
    const { code, stderr } = await as('looker', 'validate', '--live')
    expect([code, stderr]).toEqual([4, expect.stringMatching(/CDP4041[\s\S]*cdp-sync grants/)])
    expect(await kept()).toBe(before)
    expect(before).toBe('[[],[]]')
  })

  it('runs, plans with the role that reads, and runs again', async () => {
    expect(await as('runner', 'run', 'people')).toMatchObject({ code: 0 })
    expect(receiver.records.size).toBe(20)
    await db.query(`UPDATE analytics.people SET plan = 'pro' WHERE id <= 3; DELETE FROM analytics.people WHERE id = 20`)
    const before = await kept()
    const plan = await as('looker', 'plan', 'people', '--json')
    expect([plan.code, plan.stderr]).toEqual([0, expect.anything()])
    expect(counts(plan)).toEqual({ add: 0, change: 3, remove: 1, unchanged: 16, invalid: 0 })
    expect(await kept()).toBe(before)
    expect(counts(await as('runner', 'plan', 'people', '--json'))).toEqual(counts(plan))
    expect(await as('runner', 'run', 'people')).toMatchObject({ code: 0 })
    expect(receiver.records.size).toBe(19)
    expect(counts(await as('looker', 'plan', 'people', '--json'))).toEqual({ add: 0, change: 0, remove: 0, unchanged: 19, invalid: 0 })
    const { runs } = JSON.parse((await as('looker', 'history', 'people', '--json')).stdout) as { runs: RunRecord[] }
    expect(runs.map(({ status, counts: { delivered } }) => [status, delivered])).toEqual([
      ['ok', 4],
      ['ok', 20],
    ])
    for (const { warehouse } of runs) expect(warehouse?.statements).toBeGreaterThan(5)
    // Of the second run only what differed came here: 3 rows that changed, and what the state had of these and of the one that left.
    expect(runs[0]?.warehouse?.rows).toBeLessThan(20)
    expect((await as('runner', 'validate', '--live')).code).toBe(0)
    expect((await as('looker', 'validate', '--live')).code).toBe(4)
  })

  it('lets the role that reads send nothing', async () => {
    await db.query(`UPDATE analytics.people SET plan = 'team' WHERE id = 4`)
    const before = receiver.requests.length
    const { code, stdout } = await as('looker', 'run', 'people')
    expect([code, stdout]).not.toEqual([0, expect.anything()])
    expect(receiver.requests.length).toBe(before)
  })

  it('gives the role that runs no right outside its schema', async () => {
    const rights = await there(`
      SELECT n.nspname AS name FROM pg_namespace n WHERE n.nspname !~ '^(pg_|information_schema)' AND has_schema_privilege('runner', n.oid, 'CREATE')`)
    expect(rights).toEqual([{ name: 'cdp_sync' }])
    const [can] = await there(`
      SELECT has_database_privilege('runner', current_database(), 'CREATE') AS database, has_schema_privilege('looker', 'cdp_sync', 'CREATE') AS schema,
        has_database_privilege('runner', 'postgres', 'TEMPORARY') AS temporary`)
    expect(can).toEqual({ database: false, schema: false, temporary: entry === 'main' })
  })
})
