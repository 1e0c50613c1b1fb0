/** `cdp-sync state push|pull` between this machine and a database: nothing is sent, and nothing of what was known is lost. */
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Plan, RunRecord } from '../../src/types.ts'
import { writeProject } from '../support/cli-project.ts'
import { withPostgres, type Postgres } from '../support/postgres.ts'
import { startReceiver, type Receiver } from '../support/receiver.ts'
import { cli, type Ran } from '../support/run-cli.ts'

let db: Postgres
let receiver: Receiver
beforeAll(async () => {
  db = await withPostgres()
  receiver = await startReceiver()
})
afterAll(async () => {
  await receiver.close()
  await db.stop()
})

const project = (warehouses: string, state: string): string => `project: shop
warehouses: { ${warehouses} }
destinations: { app: { type: webhook, url: "\${env:WEBHOOK_URL}" } }
defaults: { warehouse: main }
${state}
`
const SYNC = `model:
  sql: "select id, email, plan from people"
  key: id
destination: app
mode: mirror
match: { email: email }
fields: { plan: plan }
`

const ROWS = `SELECT n AS id, n || '@example.com' AS email, 'free' AS plan FROM range(30) t(n)`

interface Machine {
  readonly root: string
  readonly cdp: (...argv: string[]) => Promise<Ran>
  readonly ok: (...argv: string[]) => Promise<string>
  readonly configure: (state: string) => Promise<void>
  readonly counts: () => Promise<Partial<Plan['syncs'][number]['counts']>>
  /** Makes the table of the model. */
  readonly fill: (rows: string, file?: string) => Promise<void>
}

const made: (() => Promise<void>)[] = []
afterEach(async () => {
  receiver.fault(() => undefined)
  for (const remove of made.splice(0)) await remove()
})

async function machine(warehouses: string, state: string): Promise<Machine> {
  receiver.records.clear()
  const folder = await writeProject({ 'cdp-sync.yaml': '', 'syncs/people.yaml': SYNC })
  const { root } = folder
  for (const name of ['companies', 'contacts']) await rm(join(root, `syncs/${name}.yaml`))
  made.push(() => folder.remove())
  const cdp = (...argv: string[]): Promise<Ran> => cli(argv, { cwd: root, env: { DATABASE_URL: db.url, WEBHOOK_URL: receiver.url } })
  const ok = async (...argv: string[]): Promise<string> => {
    const { code, stdout, stderr } = await cdp(...argv)
    expect([argv, code, stderr]).toEqual([argv, 0, expect.anything()])
    return stdout
  }
  const counts = async (): Promise<Partial<Plan['syncs'][number]['counts']>> => {
    const { add, change, remove: left, unchanged, held } = (JSON.parse(await ok('plan', '--json')) as Plan).syncs[0]!.counts
    return { add, change, remove: left, unchanged, held }
  }
  const fill = async (rows: string, file = 'shop.duckdb'): Promise<void> => {
    const instance = await DuckDBInstance.create(join(root, file))
    const connection = await instance.connect()
    await connection.run(`CREATE OR REPLACE TABLE people AS ${rows}`)
    connection.closeSync()
    instance.closeSync()
  }
  const configure = (other: string): Promise<void> => writeFile(join(root, 'cdp-sync.yaml'), project(warehouses, other))
  await configure(state)
  // A file that keeps states must be there.
  ;(await DuckDBInstance.create(join(root, 'state.duckdb'))).closeSync()
  await fill(ROWS)
  return { root, cdp, ok, configure, counts, fill }
}

const MAIN = 'main: { type: duckdb, path: shop.duckdb }'
const PLACES = [
  ['PostgreSQL', `${MAIN}, app: { type: postgres, url: "\${env:DATABASE_URL}" }`, 'app', () => db.query('DROP SCHEMA cdp_sync CASCADE')],
  ['DuckDB', `${MAIN}, app: { type: duckdb, path: state.duckdb }`, 'app', () => Promise.resolve()],
  ['the warehouse of the sync', MAIN, 'main', () => Promise.resolve()],
] as const

describe.each(PLACES)('a state moved to %s', (_name, warehouses, where, clear) => {
  const there = where === 'main' ? 'state: { type: warehouse }' : `state: { type: warehouse, warehouse: ${where} }`

  it('and back is whole: nothing is sent, in either direction', async () => {
    const { ok, configure, counts, fill, cdp, root } = await machine(warehouses, 'state: { type: local }')
    receiver.fault(() => ({ reject: ({ key }) => (key === '7' ? { message: 'no' } : undefined) }))
    expect((await cdp('run')).code).toBe(3)
    receiver.fault(() => undefined)
    const before = receiver.requests.length
    const pending = { add: 1, change: 0, remove: 0, unchanged: 29, held: 0 }

    await configure(there)
    const left = await cdp('plan')
    expect([left.code, left.stdout]).toEqual([1, expect.stringMatching(/CDP4036[^]*state push people/)])
    expect(await ok('state', 'push', 'people')).toMatch(new RegExp(`29 addresses, [\\d,]+ bytes\\) is in the database of ${where} now`))
    await rm(join(root, '.cdp-sync'), { recursive: true })
    expect(await counts()).toEqual(pending)
    const { runs } = JSON.parse(await ok('history', '--json')) as { runs: RunRecord[] }
    expect(runs.map((it) => it.status)).toEqual(['incomplete'])
    expect(JSON.parse(await ok('rejected', 'people', '--json'))).toMatchObject({ total: 1 })

    expect(await ok('state', 'pull', 'people', '--json')).toMatch('"addresses":29')
    expect((await cdp('plan')).stdout).toContain('CDP4036')
    await configure('state: { type: local }')
    expect(await counts()).toEqual(pending)
    expect(await readFile(join(root, '.cdp-sync/state/people/target'), 'utf8')).toMatch('webhook')
    expect(receiver.requests.length).toBe(before)

    await configure(there)
    await ok('state', 'push', 'people')
    await fill(`SELECT n AS id, n || '@example.com' AS email, if(n = 3, 'pro', 'free') AS plan FROM range(1, 30) t(n)`)
    await ok('run')
    expect(
      receiver.requests
        .slice(before)
        .flatMap(({ changes }) => changes.map(({ op, key }) => `${op} ${key}`))
        .sort(),
    ).toEqual(['delete 0', 'upsert 3', 'upsert 7'])
    await clear()
  })

  it('is refused where one is already, or none is there to move', async () => {
    const { ok, configure, cdp } = await machine(warehouses, 'state: { type: local }')
    await ok('run')
    const before = receiver.requests.length
    await configure(there)
    const none = await cdp('state', 'pull', 'people')
    expect([none.code, none.stderr]).toEqual([1, expect.stringMatching(`CDP4013.* in the database of ${where}`)])
    const left = await cdp('run')
    expect([left.code, left.stdout]).toEqual([1, expect.stringMatching(/CDP4036[^]*state push people/)])
    expect(receiver.requests.length).toBe(before)
    // What is forgotten here is missed by nobody.
    await configure('state: { type: local }')
    await ok('reset', 'people', '--confirm', 'people')
    await configure(there)
    await ok('run')
    await configure('state: { type: local }')
    await ok('run')
    await configure(there)
    const twice = await cdp('state', 'push', 'people')
    expect([twice.code, twice.stderr]).toEqual([1, expect.stringMatching(`CDP4014.* in the database of ${where}`)])
    await configure('state: { type: local }')
    const nowhere = await cdp('state', 'push', 'people')
    expect([nowhere.code, nowhere.stderr]).toEqual([1, expect.stringContaining('CDP4035')])
    await clear()
  })
})

describe('states that lie where each sync is read from', () => {
  const warehouses = `first: { type: duckdb, path: state.duckdb }, ${MAIN}, unset: { type: duckdb, path: "\${env:NOT_SET}" }`
  const begin = async (): Promise<Machine & { file: string }> => {
    const it = await machine(warehouses, 'state: { type: warehouse }')
    await writeFile(join(it.root, 'syncs/other.yaml'), SYNC.replace('model:', 'warehouse: first\nmodel:').replace('people"', 'empty"'))
    await writeFile(join(it.root, 'syncs/off.yaml'), `enabled: false\nwarehouse: unset\n${SYNC}`)
    const file = join(it.root, 'syncs/people.yaml')
    await it.ok('run', 'people')
    return { ...it, file }
  }

  it('are found after a rename, whichever it is: nothing is sent a second time', async () => {
    const { root, cdp, ok, counts, file } = await begin()
    const before = receiver.requests.length
    const text = await readFile(file, 'utf8')
    await rm(file)
    await writeFile(join(root, 'syncs/persons.yaml'), text)
    const lost = await cdp('run', 'persons')
    expect([lost.code, lost.stdout]).toEqual([1, expect.stringContaining('CDP4005')])
    await ok('rename', 'people', 'persons')
    await rm(join(root, 'syncs/other.yaml'))
    expect(await counts()).toMatchObject({ add: 0, unchanged: 30 })
    expect(receiver.requests.length).toBe(before)
  })

  it('are missed when a sync is read from another: it is pulled and pushed, and nothing is sent', async () => {
    const { root, ok, cdp, counts, fill, file } = await begin()
    const before = receiver.requests.length
    const text = await readFile(file, 'utf8')
    await writeFile(join(root, 'syncs/other.yaml'), SYNC)
    await fill(ROWS, 'state.duckdb')
    await writeFile(file, `warehouse: first\n${text}`)
    const lost = await cdp('run', 'people')
    expect([lost.code, lost.stdout]).toEqual([1, expect.stringContaining('CDP4036')])
    await writeFile(file, text)
    await ok('state', 'pull', 'people')
    await writeFile(file, `warehouse: first\n${text}`)
    await ok('state', 'push', 'people')
    await rm(join(root, 'syncs/other.yaml'))
    expect(await counts()).toMatchObject({ add: 0, unchanged: 30 })
    expect(receiver.requests.length).toBe(before)
  })

  it('are not asked for what no sync here reads: the settings may be those of elsewhere', async () => {
    const { ok } = await begin()
    const { syncs } = JSON.parse(await ok('status', '--json')) as { syncs: { name: string; status: string }[] }
    expect(syncs.map(({ name, status }) => `${name} ${status}`)).toEqual(['off disabled', 'other never ran', 'people ok'])
    expect(await ok('history')).toMatch('people')
  })
})

describe('what was blocked', () => {
  it('is known on every machine', async () => {
    const { root, ok, cdp, fill } = await machine(PLACES[1][1], 'state: { type: warehouse, warehouse: app }')
    await writeFile(join(root, 'syncs/later.yaml'), `depends_on: [people]\n${SYNC}`)
    await ok('run')
    await fill('SELECT 1 AS id, NULL AS email, NULL AS plan LIMIT 0')
    expect((await cdp('run')).code).toBe(5)
    await rm(join(root, '.cdp-sync'), { recursive: true })
    const { syncs } = JSON.parse(await ok('status', '--json')) as { syncs: { name: string; status: string }[] }
    expect(syncs.map(({ name, status }) => `${name} ${status}`)).toEqual(['later blocked', 'people refused'])
  })
})
