/** States in a database, for test/support/engines.ts: a schema for each project, in a server of this test file or a file of the project. */
import { copyFileSync, existsSync } from 'node:fs'
import { copyFile, rm } from 'node:fs/promises'
import net from 'node:net'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import type { SnowflakeSettings, WarehouseEntry } from '../../src/config/types.ts'
import { WAREHOUSE_STEPS } from '../../src/crash.ts'
import { forgetMachine } from './engines.ts'
import type { Engine, Models, StatePlace } from './engines.ts'
import { withPostgres, type Postgres } from './postgres.ts'
import { SNOWFLAKE, withSnowflake, type Snowflake } from './snowflake.ts'

let made = 0

const where = 'cdp-sync.yaml:3:3'
/** Longer than a lease lasts, in milliseconds. */
const LONG = 600_000

const expireSql = (schema: string, sync: string): string => `UPDATE ${schema}.leases SET written = written - ${LONG} WHERE sync = '${sync}'`
const leftoversSql = (schema: string, sync: string): string =>
  ['outbox', 'journal'].map((name) => `SELECT '${name}' AS name FROM ${schema}.${name} WHERE sync = '${sync}'`).join(' UNION ')

/** The state is in the warehouse `app`, the models are in the other one. */
const elsewhereYaml = (schema: string): string =>
  `project: shop\nstate: { type: warehouse, warehouse: app, schema: ${schema} }\ndefaults: { warehouse: main }\n`

const literal = (text: string | null | undefined): string =>
  text === null || text === undefined ? 'NULL' : `'${text.replaceAll("'", "''")}'`

function tableSql(table: string, columns: readonly string[], rows: readonly Readonly<Record<string, string | null>>[]): string[] {
  const values = rows.map((row) => `(${columns.map((name) => literal(row[name])).join(', ')})`).join(', ')
  return [
    `DROP TABLE IF EXISTS ${table}`,
    `CREATE TABLE ${table} (${columns.map((name) => `${name} VARCHAR`).join(', ')})`,
    ...(values === '' ? [] : [`INSERT INTO ${table} VALUES ${values}`]),
  ]
}

/** The way to a server, which can be cut: then nobody gets through any more, and what was said before has been said. */
interface Wire {
  readonly port: number
  cut(): void
  mend(): void
  close(): Promise<void>
}

/** `refusal`: what is said to whoever comes while it is cut. */
async function startWire(to: number, refusal = ''): Promise<Wire> {
  const open = new Set<net.Socket>()
  let whole = true
  const server = net.createServer((client) => {
    client.on('error', () => undefined)
    if (!whole) return void (refusal === '' ? client.destroy() : client.once('data', () => client.end(refusal)))
    const upstream = net.connect(to, '127.0.0.1')
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => undefined).on('close', () => (open.delete(socket), other.destroy()))
      socket.pipe(other)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const cut = (): void => {
    whole = false
    for (const socket of open) socket.destroy()
  }
  return {
    port: (server.address() as net.AddressInfo).port,
    cut,
    mend: () => void (whole = true),
    close() {
      cut()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

/** `own`: models are read from the same server; else from files. */
function postgresEngine(own: boolean): Engine {
  let server: Postgres
  let wire: Wire
  const url = (): string => server.url.replace(`:${server.port}/`, `:${wire.port}/`)
  return {
    missing: null,
    steps: WAREHOUSE_STEPS,
    reads: own ? 'postgres' : null,
    async start() {
      server = await withPostgres()
      wire = await startWire(server.port)
    },
    async stop() {
      await wire?.close()
      await server?.stop()
    },
    place(): StatePlace {
      const schema = `s${++made}`
      const entry: WarehouseEntry = { name: own ? 'files' : 'app', type: 'postgres', settings: { url: url() }, where }
      const expire = async (sync: string): Promise<void> => {
        const [found] = await server.query(`SELECT to_regclass('${schema}.leases') IS NOT NULL AS there`)
        if (found?.['there'] === true) await server.query(expireSql(schema, sync))
      }
      const models: Models = {
        entry,
        sql: `SELECT * FROM ${schema}_rows`,
        fill: async (columns, rows) => void (await server.query(tableSql(`${schema}_rows`, columns, rows).join('; '))),
      }
      return {
        entry: (root) => ({ type: 'warehouse', path: join(root, '.cdp-sync', 'warehouse'), warehouse: own ? null : 'app', schema }),
        warehouses: own ? {} : { app: entry },
        models: () => (own ? models : null),
        yaml: own ? `project: shop\nstate: { type: warehouse, schema: ${schema} }\n` : elsewhereYaml(schema),
        yamlWarehouses: own ? '' : ', app: { type: postgres, url: "${env:STATE_URL}" }',
        env: { STATE_URL: server.url },
        ...(own ? { postgres: server } : {}),
        kill: () => wire.cut(),
        async revive({ root }, sync) {
          // Whatever it had said by then is done, or is undone with its connection.
          await server.query(
            `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
          )
          wire.mend()
          await expire(sync)
          await forgetMachine(root)
        },
        expire,
        leftovers: async (sync) => (await server.query(leftoversSql(schema, sync))).map(({ name }) => String(name)),
      }
    },
  }
}

async function inFile<Result>(
  path: string,
  work: (run: (sql: string) => Promise<Record<string, unknown>[]>) => Promise<Result>,
): Promise<Result> {
  const instance = await DuckDBInstance.create(path)
  const db = await instance.connect()
  try {
    return await work(async (sql) => (await db.runAndReadAll(sql)).getRowObjectsJS())
  } finally {
    db.closeSync()
    instance.closeSync()
  }
}

const FILE = 'warehouse.duckdb'

/** A file in the project's folder, where the models are too. A copy of the folder is the same warehouse on another machine. */
const duckdb: Engine = {
  missing: null,
  steps: WAREHOUSE_STEPS,
  reads: 'duckdb',
  start: () => Promise.resolve(),
  stop: () => Promise.resolve(),
  place(): StatePlace {
    const schema = 'cdp_sync'
    const paths = (root: string): string[] => [join(root, FILE), join(root, `${FILE}.wal`)]
    const expire = async (root: string, sync: string): Promise<void> => {
      if (!existsSync(join(root, FILE))) return
      await inFile(join(root, FILE), async (run) => {
        const [found] = await run(`SELECT 1 FROM duckdb_tables() WHERE schema_name = '${schema}' AND table_name = 'leases'`)
        if (found) await run(expireSql(schema, sync))
      })
    }
    return {
      entry: (root) => ({ type: 'warehouse', path: join(root, '.cdp-sync', 'warehouse'), warehouse: null, schema }),
      warehouses: {},
      models: (root) => ({
        entry: { name: 'files', type: 'duckdb', settings: { path: join(root, FILE) }, where },
        sql: 'SELECT * FROM rows',
        fill: (columns, rows) => inFile(join(root, FILE), async (run) => void (await run(tableSql('rows', columns, rows).join('; ')))),
      }),
      yaml: `project: shop\nstate: { type: warehouse, schema: ${schema} }\n`,
      yamlWarehouses: '',
      env: {},
      kill({ root }) {
        for (const path of paths(root)) if (existsSync(path)) copyFileSync(path, `${path}.killed`)
      },
      async revive({ root }, sync) {
        for (const path of paths(root)) {
          await rm(path, { force: true })
          if (existsSync(`${path}.killed`)) await copyFile(`${path}.killed`, path)
          await rm(`${path}.killed`, { force: true })
        }
        await expire(root, sync)
        await forgetMachine(root)
      },
      expire: (sync, root) => expire(root, sync),
      leftovers: (sync, root) =>
        inFile(join(root, FILE), async (run) => (await run(leftoversSql(schema, sync))).map(({ name }) => String(name))),
    }
  },
}

/** As little as a service over HTTP can say so that nobody asks again. */
const REFUSAL = 'HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n'

/** The emulator: models and states in one database. */
function snowflakeEngine(): Engine {
  let server: Snowflake
  let wire: Wire
  const settings = (port: number): SnowflakeSettings => {
    const { account, user, password, host, protocol, database, schema, warehouse, role } = server
    return { account, user, password, host, port, protocol, database, schema, warehouse, role }
  }
  const quoted = (rows: readonly Readonly<Record<string, string | null>>[]): Record<string, string | null>[] =>
    rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, text]) => [name, text?.replaceAll('\\', '\\\\') ?? null])))
  return {
    missing: SNOWFLAKE === null ? 'Python with fakesnow is not installed' : null,
    steps: WAREHOUSE_STEPS,
    reads: 'snowflake',
    async start() {
      server = await withSnowflake({ idleTransaction: 1 })
      wire = await startWire(server.port, REFUSAL)
    },
    async stop() {
      await wire?.close()
      server?.stop()
    },
    place(): StatePlace {
      const schema = `s${++made}`
      const expire = async (sync: string): Promise<void> => {
        const found = await server.query(`SHOW TABLES LIKE 'LEASES' IN SCHEMA ${schema}`).catch(() => [])
        if (found.length > 0) await server.query(expireSql(schema, sync))
      }
      const models: Models = {
        entry: { name: 'files', type: 'snowflake', settings: settings(wire.port), where },
        sql: `SELECT * FROM ${schema}_rows`,
        async fill(columns, rows) {
          for (const statement of tableSql(`${schema}_rows`, columns, quoted(rows))) await server.query(statement)
        },
      }
      return {
        entry: (root) => ({ type: 'warehouse', path: join(root, '.cdp-sync', 'warehouse'), warehouse: null, schema }),
        warehouses: {},
        models: () => models,
        // On disk the models are in a file of DuckDB.
        yaml: elsewhereYaml(schema),
        yamlWarehouses: `, app: { type: snowflake, account: ${server.account}, user: ${server.user}, password: "\${env:STATE_PASSWORD}", host: ${server.host}, port: ${server.port}, protocol: http, database: ${server.database}, schema: ${server.schema}, warehouse: ${server.warehouse}, role: ${server.role} }`,
        env: { STATE_PASSWORD: server.password },
        kill: () => wire.cut(),
        async revive({ root }, sync) {
          wire.mend()
          await expire(sync)
          await forgetMachine(root)
        },
        expire,
        leftovers: async (sync) => (await server.query(leftoversSql(schema, sync))).map((row) => String(Object.values(row)[0])),
      }
    },
  }
}

export const databases = {
  'warehouse-postgres': postgresEngine(true),
  'warehouse-duckdb': duckdb,
  'warehouse-snowflake': snowflakeEngine(),
  'other-postgres': postgresEngine(false),
} as const
