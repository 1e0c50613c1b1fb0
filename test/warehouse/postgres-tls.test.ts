/** PostgreSQL over TLS, with an authority of our own; and behind PgBouncer, where one is installed. */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { chmod, chown, copyFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { PostgresSettings } from '../../src/config/types.ts'
import { AuthError } from '../../src/errors.ts'
import { openWarehouse } from '../../src/warehouse/open.ts'
import type { Warehouse } from '../../src/warehouse/warehouse.ts'
import { freePort, type Postgres, withPostgres } from '../support/postgres.ts'
import { failure, model, postgresEntry, run } from './support.ts'

const has = (program: string, flag: string): boolean => spawnSync(program, [flag]).status === 0
const open = (settings: PostgresSettings): Promise<Warehouse> => openWarehouse(postgresEntry(settings), { root: '/' })

describe.skipIf(!has('openssl', 'version'))('TLS', () => {
  let server: Postgres
  let folder: string
  const pem = (name: string): Promise<string> => readFile(join(folder, name), 'utf8')

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cdp-sync-tls-'))
    const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' })
    const request = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
    openssl('req', '-x509', ...request, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=Test authority')
    for (const [name, subject] of [
      ['server', '/CN=localhost'],
      ['client', '/CN=certified'],
    ] as const) {
      openssl('req', ...request.slice(0, 5), '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject)
      await writeFile(join(folder, 'names'), 'subjectAltName=DNS:localhost')
      openssl(
        'x509',
        '-req',
        '-in',
        `${name}.csr`,
        '-CA',
        'ca.pem',
        '-CAkey',
        'ca.key',
        '-CAcreateserial',
        '-days',
        '2',
        '-extfile',
        'names',
        '-out',
        `${name}.pem`,
      )
    }
    server = await withPostgres()
    const data = join(server.folder, 'data')
    for (const file of ['server.key', 'server.pem', 'ca.pem']) {
      await copyFile(join(folder, file), join(data, file))
      await chmod(join(data, file), 0o600)
      if (userInfo().uid === 0) await chown(join(data, file), ...(await owner(data)))
    }
    const hba = ['local all all trust', 'hostssl all certified all cert', 'host all all all scram-sha-256'].join('\n')
    await writeFile(join(data, 'pg_hba.conf'), hba)
    await server.query('CREATE ROLE certified LOGIN')
    for (const setting of ["ssl_cert_file = 'server.pem'", "ssl_key_file = 'server.key'", "ssl_ca_file = 'ca.pem'", 'ssl = on']) {
      await server.query(`ALTER SYSTEM SET ${setting}`)
    }
    await server.query('SELECT pg_reload_conf()')
    await vi.waitFor(async () => expect((await server.query('SHOW ssl'))[0]?.['ssl']).toBe('on'))
  })
  afterAll(async () => {
    await server?.stop()
    await rm(folder, { recursive: true, force: true })
  })

  const parts = (): PostgresSettings => ({
    host: 'localhost',
    port: server.port,
    user: server.user,
    password: server.password,
    database: 'postgres',
  })
  const encrypted = model('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')

  it('is used when the authority is named, by parts and by URL', async () => {
    const byParts = await open({ ...parts(), ssl: { ca: await pem('ca.pem') } })
    expect((await run(byParts, encrypted)).rows).toStrictEqual([['t']])
    const url = server.url.replace('127.0.0.1', 'localhost')
    const byUrl = await open({ url: `${url}?sslmode=disable`, ssl: { ca: await pem('ca.pem') } })
    expect((await run(byUrl, encrypted)).rows).toStrictEqual([['t']])
    const byFile = await open({ url: `${url}?sslmode=verify-full&sslrootcert=${join(folder, 'ca.pem')}` })
    expect((await run(byFile, encrypted)).rows).toStrictEqual([['t']])
  })

  it('is refused when nobody vouches for the server, and the hint says how to name who does', async () => {
    const error = await failure((await open({ ...parts(), ssl: true })).check())
    expect(error).toMatchObject({ code: 'CDP2004', hint: expect.stringContaining('ca:') as string })
    const elsewhere = await open({ ...parts(), host: '127.0.0.1', ssl: { ca: await pem('ca.pem') } })
    expect(await failure(elsewhere.check())).toMatchObject({ code: 'CDP2004', hint: expect.stringContaining('host name') as string })
  })

  it('needs no authority where the user waives it, or where a URL asks for encryption alone as psql reads it', async () => {
    expect((await run(await open({ ...parts(), ssl: { verify: false } }), encrypted)).rows).toStrictEqual([['t']])
    expect((await run(await open({ url: `${server.url}?sslmode=require` }), encrypted)).rows).toStrictEqual([['t']])
    expect((await run(await open({ ...parts(), ssl: false }), encrypted)).rows).toStrictEqual([['f']])
  })

  it('logs in by a client certificate', async () => {
    const ssl = { ca: await pem('ca.pem'), cert: await pem('client.pem'), key: await pem('client.key') }
    const certified = await open({ ...parts(), user: 'certified', password: undefined, ssl })
    expect((await run(certified, model('SELECT current_user AS name'))).rows).toStrictEqual([['certified']])
    expect(await failure((await open({ ...parts(), user: 'certified', ssl: { ca: ssl.ca } })).check())).toBeInstanceOf(AuthError)
  })

  it('carries the cancel of a run that is stopped', async () => {
    const warehouse = await open({ ...parts(), ssl: { ca: await pem('ca.pem') } })
    const stop = new AbortController()
    const ended = failure(run(warehouse, model('SELECT pg_sleep(60)::text AS id'), { signal: stop.signal }))
    await expect.poll(() => sleeping(server)).toHaveLength(1)
    stop.abort(new Error('stopped'))
    expect((await ended).message).toBe('stopped')
    await expect.poll(() => sleeping(server)).toHaveLength(0)
  })
})

const sleeping = (server: Postgres): Promise<Record<string, unknown>[]> =>
  server.query("SELECT pid FROM pg_stat_activity WHERE query LIKE '%COPY (%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()")

async function owner(path: string): Promise<[number, number]> {
  const { uid, gid } = await stat(path)
  return [uid, gid]
}

describe.skipIf(!has('pgbouncer', '--version'))('behind PgBouncer in transaction mode', () => {
  let server: Postgres
  let bouncer: ChildProcess
  let folder: string
  let url: string

  beforeAll(async () => {
    server = await withPostgres()
    folder = await mkdtemp(join(tmpdir(), 'cdp-sync-pgbouncer-'))
    await chmod(folder, 0o755)
    const port = await freePort()
    await writeFile(join(folder, 'users'), `"postgres" "${server.password}"\n`)
    const settings = `[databases]
postgres = host=127.0.0.1 port=${server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${join(folder, 'users')}
pool_mode = transaction
default_pool_size = 2
`
    await writeFile(join(folder, 'pgbouncer.ini'), settings)
    const user = userInfo().uid === 0 ? ['-u', 'nobody'] : []
    bouncer = spawn('pgbouncer', ['-q', ...user, join(folder, 'pgbouncer.ini')], { stdio: 'ignore' })
    await vi.waitFor(async () => expect(await reachable(port)).toBe(true), 10_000)
    url = server.url.replace(`:${server.port}/`, `:${port}/`)
  })
  afterAll(async () => {
    bouncer?.kill('SIGKILL')
    await server?.stop()
    await rm(folder, { recursive: true, force: true })
  })

  it('a model is described and extracted, several at once, and no setting stays in a shared session', async () => {
    const warehouse = await open({ url, statement_timeout: 55_000 })
    const sql = "SELECT i AS id, timestamptz '2024-01-01 00:00:00+00' AS at FROM generate_series(1, 5000) i"
    const found = await Promise.all([1, 2, 3, 4].map(() => run(warehouse, model(sql))))
    expect(found.map(({ rows }) => [rows.length, rows[0]])).toStrictEqual(
      Array.from({ length: 4 }, () => [5000, ['1', '2024-01-01 00:00:00+00']]),
    )
    const settings =
      "SELECT current_setting('statement_timeout') AS a, current_setting('intervalstyle') AS b, (SELECT count(*) FROM pg_prepared_statements)::text AS c"
    const client = new Client({ connectionString: url })
    await client.connect()
    expect((await client.query(settings)).rows).toStrictEqual([{ a: '0', b: 'postgres', c: '0' }])
    await client.end()
  })

  it('a run that is stopped is cancelled at the server', async () => {
    const stop = new AbortController()
    const ended = failure(run(await open({ url }), model('SELECT pg_sleep(60)::text AS id'), { signal: stop.signal }))
    await expect.poll(() => sleeping(server)).toHaveLength(1)
    stop.abort(new Error('stopped'))
    expect((await ended).message).toBe('stopped')
    await expect.poll(() => sleeping(server)).toHaveLength(0)
  })
})

function reachable(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(Boolean(socket.destroy())))
    socket.once('error', () => resolve(false))
  })
}
