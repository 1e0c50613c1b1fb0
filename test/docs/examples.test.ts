/** The examples in syncs/, run as they stand: against a real receiver, out of real files and a real PostgreSQL. */
import { spawn } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withPostgres, type Postgres } from '../support/postgres.ts'
import { startReceiver, type Receiver } from '../support/receiver.ts'
import { cli, type Ran } from '../support/run-cli.ts'

const repository = join(import.meta.dirname, '../..')
let root: string

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'cdp-sync-examples-'))
  for (const part of ['cdp-sync.yaml', 'syncs', 'models']) await cp(join(repository, part), join(root, part), { recursive: true })
})
afterAll(() => rm(root, { recursive: true, force: true }))

describe('the examples out of files', () => {
  const before = process.cwd()
  beforeAll(() => process.chdir(root))
  afterAll(() => process.chdir(before))

  let receiver: Receiver
  let env: Record<string, string>
  const cdp = (...argv: string[]): Promise<Ran> => cli(argv, { cwd: root, env })
  const fields = (key: string): unknown => receiver.records.get(key)?.fields

  beforeAll(async () => {
    receiver = await startReceiver({ deduplicates: true })
    env = { WEBHOOK_URL: receiver.url }
  })
  afterAll(() => receiver.close())

  it('are valid, warehouses and destinations included', async () => {
    expect(await cdp('validate', '--live')).toMatchObject({ code: 0 })
  })

  it('deliver every row, typed as the page says', async () => {
    expect(await cdp('run')).toMatchObject({ code: 0 })
    expect(receiver.records.size).toBe(5)
    expect(fields('1')).toEqual({ name: 'Ada Lovelace', plan: 'Pro', mrr: 49.9, joined: '2024-12-10', source: 'warehouse' })
    expect(fields('2')).toEqual({ name: 'Grace Hopper', plan: 'Free', joined: '2025-01-01', source: 'warehouse' })
    expect(fields('3')).toMatchObject({ name: 'João da Silva, Jr.', plan: 'Other', mrr: 1200 })
    expect(receiver.events.map((it) => it.fields)).toMatchObject([
      { customer: '1', total: 19.9, placed_at: '2026-10-30T08:15:00Z', items: [{ name: 'Sencha', quantity: 2 }] },
      { customer: '3', total: 1000, placed_at: '2026-10-31T01:01:00Z', items: [] },
      { customer: '1', total: 4.5 },
    ])
  })

  it('send nothing when run again, and one change when one line changes', async () => {
    const before = receiver.requests.length
    expect(await cdp('run')).toMatchObject({ code: 0 })
    expect(receiver.requests.length).toBe(before)
    const file = join(root, 'syncs/data/customers.csv')
    await writeFile(file, (await readFile(file, 'utf8')).replace('Grace,Hopper,free,,', 'Grace,Hopper,pro,49.90,').replace(/^5,.*\n/m, ''))
    expect(await cdp('run', 'customers')).toMatchObject({ code: 0 })
    expect(receiver.requests.slice(before).flatMap((it) => it.changes.map(({ op, key }) => `${op} ${key}`))).toEqual([
      'upsert 2',
      'delete 5',
    ])
    expect([...receiver.records.keys()].sort()).toEqual(['1', '2', '3', '4'])
  })
})

describe('files of a model', () => {
  it('are those of the project, though the folder one calls from has files of the same name', async () => {
    const receiver = await startReceiver()
    await rm(join(root, '.cdp-sync'), { recursive: true, force: true })
    const elsewhere = await mkdtemp(join(tmpdir(), 'cdp-sync-elsewhere-'))
    await cp(join(repository, 'syncs/data'), join(elsewhere, 'syncs/data'), { recursive: true })
    await writeFile(
      join(root, 'syncs/data/customers.csv'),
      'id,email,first_name,last_name,plan,mrr,joined\n77,own@example.com,Own,,pro,1,2025-01-01\n',
    )
    const source = (path: string): string => JSON.stringify(join(repository, 'src/cli', path))
    const program = `import { main } from ${source('main.ts')}; import { processIo } from ${source('io.ts')}; process.exit(await main(process.argv.slice(1), processIo()))`
    const flags = ['--import', import.meta.resolve('tsx'), '--input-type=module', '-e', program]
    const child = spawn(process.execPath, [...flags, 'run', 'customers', '--quiet', '-C', root, '--allow', 'deletes'], {
      cwd: elsewhere,
      env: { ...process.env, WEBHOOK_URL: receiver.url, CDP_SYNC_ENV: '' },
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    const code = await new Promise((resolve) => child.on('exit', resolve))
    expect([code, [...receiver.records.keys()]]).toEqual([0, ['77']])
    await receiver.close()
    await rm(elsewhere, { recursive: true })
  })
})

describe('the example out of PostgreSQL', () => {
  let db: Postgres
  let server: http.Server
  const requests: { method: string; path: string; body: any }[] = []
  let env: Record<string, string>
  const cdp = (...argv: string[]): Promise<Ran> => cli(argv, { cwd: root, env })

  beforeAll(async () => {
    db = await withPostgres()
    await db.query(`
      create table accounts (region text, account_id int, name text, internal bool not null default false, seats int, settings jsonb, renews_at timestamptz);
      create table usage (account_id int, amount numeric, used_at timestamptz);
      insert into accounts values
        ('eu', 1, 'Ünïted', false, 5, '{"theme": "dark"}', '2027-01-31 12:00+02'), ('eu', 2, 'Two', false, null, '{}', null),
        ('us', 3, 'Three', false, 9, null, null), ('us', 4, 'Ours', true, 1, null, null);
      insert into usage values (1, 12.345, now()), (1, 0.1, now()), (1, 99, now() - interval '40 days')`)
    server = http.createServer((request, response) => {
      let text = ''
      request.on('data', (chunk) => (text += chunk))
      request.on('end', () => {
        requests.push({ method: request.method!, path: request.url!, body: JSON.parse(text) })
        response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}')
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    env = { ACCOUNTS: 'true', DATABASE_URL: db.url, WEBHOOK_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` }
  })
  afterAll(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    await db.stop()
  })

  it('patches each account, then only what differs, and marks one that left', async () => {
    expect(await cdp('run', 'accounts')).toMatchObject({ code: 0 })
    expect(requests.map((it) => `${it.method} ${it.path}`).sort()).toEqual([
      'PATCH /v1/accounts/1',
      'PATCH /v1/accounts/2',
      'PATCH /v1/accounts/3',
    ])
    expect(requests.find((it) => it.path.endsWith('/1'))?.body).toEqual({
      account: { name: 'Ünïted', status: 'active', seats: 5, usage: 12.45, theme: 'dark', renews_at: '2027-01-31T10:00:00Z' },
    })
    requests.length = 0
    await db.query(
      `update accounts set seats = 6 where account_id = 1; delete from accounts where account_id = 3; update accounts set settings = '{"x": 1}' where account_id = 2`,
    )
    expect(await cdp('run', 'accounts')).toMatchObject({ code: 0 })
    expect(requests).toEqual([
      { method: 'PATCH', path: '/v1/accounts/1', body: { account: { seats: 6 } } },
      { method: 'PATCH', path: '/v1/accounts/3', body: { account: { status: 'closed' } } },
    ])
    expect((await cdp('plan', 'accounts', '--detailed-exitcode')).code).toBe(0)
  })
})
