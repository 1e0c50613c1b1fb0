/** The databases whose SQL the dialects write, each real but for Snowflake, which is emulated. */
import { DuckDBInstance } from '@duckdb/node-api'
import type { WarehouseEntry } from '../../src/config/types.ts'
import type { Dialect } from '../../src/state/warehouse/dialect.ts'
import { duckdb } from '../../src/state/warehouse/duckdb.ts'
import { postgres } from '../../src/state/warehouse/postgres.ts'
import { snowflake } from '../../src/state/warehouse/snowflake.ts'
import { withPostgres } from '../support/postgres.ts'
import { SNOWFLAKE, withSnowflake } from '../support/snowflake.ts'
import { snowflakeEntry } from '../warehouse/snowflake-server.ts'
import { duckdbEntry, postgresEntry } from '../warehouse/support.ts'

export interface Server {
  /** Runs statements; the rows of the last, by column name in lower case, every value as a text or null. */
  rows(sql: string): Promise<Record<string, string | null>[]>
  /** For a model's warehouse there; in DuckDB one of its own, in memory. */
  entry(timezone: string | undefined): WarehouseEntry
  stop(): Promise<void>
}

export interface Engine {
  readonly name: string
  readonly dialect: Dialect
  /** It is not installed here. */
  readonly missing: boolean
  readonly start: () => Promise<Server>
}

/** What src/warehouse/postgres.ts pins. */
const PINNED = `SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'iso_8601'; SET bytea_output = 'hex'; SET extra_float_digits = 3;`

const ENGINES: readonly Engine[] = [
  { name: 'PostgreSQL', dialect: postgres, missing: false, start: startPostgres },
  { name: 'DuckDB', dialect: duckdb, missing: false, start: startDuckdb },
  { name: 'Snowflake (emulated)', dialect: snowflake, missing: SNOWFLAKE === null, start: startSnowflake },
]
export const [POSTGRES, DUCKDB, EMULATED] = ENGINES as [Engine, Engine, Engine]
export const engines = ENGINES

async function startPostgres(): Promise<Server> {
  const server = await withPostgres()
  return {
    rows: async (sql) => (await server.query(PINNED + sql)).map((row) => texts(row)),
    entry: (timezone) => postgresEntry({ url: server.url, ...zone(timezone) }),
    stop: () => server.stop(),
  }
}

async function startDuckdb(): Promise<Server> {
  const instance = await DuckDBInstance.create(':memory:')
  const db = await instance.connect()
  await db.run(`SET TimeZone = 'UTC'`)
  return {
    rows: async (sql) => (await db.runAndReadAll(sql)).getRowObjectsJS().map((row) => texts(row)),
    entry: (timezone) => duckdbEntry(zone(timezone)),
    stop: async () => {
      db.closeSync()
      instance.closeSync()
    },
  }
}

async function startSnowflake(): Promise<Server> {
  const server = await withSnowflake()
  await server.query(`ALTER SESSION SET TIMEZONE = 'UTC'`)
  const { account, user, password, host, port, protocol, database, schema, warehouse, role } = server
  const settings = { account, user, password, host, port, protocol, database, schema, warehouse, role }
  return {
    rows: async (sql) => (await server.query(sql)).map((row) => texts(row)),
    entry: (timezone) => snowflakeEntry({ ...settings, ...zone(timezone) }),
    stop: async () => server.stop(),
  }
}

const zone = (timezone: string | undefined): { timezone?: string } => (timezone === undefined ? {} : { timezone })

function texts(row: Record<string, unknown>): Record<string, string | null> {
  const text = (value: unknown): string | null => (value as { toString(): string } | null | undefined)?.toString() ?? null
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name.toLowerCase(), text(value)]))
}
