/** The databases whose SQL the dialects write, each real but for Snowflake, which is emulated. */
import { DuckDBInstance } from '@duckdb/node-api'
import type { Dialect } from '../../src/state/warehouse/dialect.ts'
import { duckdb } from '../../src/state/warehouse/duckdb.ts'
import { postgres } from '../../src/state/warehouse/postgres.ts'
import { snowflake } from '../../src/state/warehouse/snowflake.ts'
import { withPostgres } from '../support/postgres.ts'
import { SNOWFLAKE, withSnowflake } from '../support/snowflake.ts'

export interface Server {
  /** Runs statements; the rows of the last, by column name in lower case, every value as a text or null. */
  rows(sql: string): Promise<Record<string, string | null>[]>
  /** `postgres://…`, where there is one. */
  readonly url: string
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
    url: server.url,
    stop: () => server.stop(),
  }
}

async function startDuckdb(): Promise<Server> {
  const instance = await DuckDBInstance.create(':memory:')
  const db = await instance.connect()
  await db.run(`SET TimeZone = 'UTC'`)
  return {
    rows: async (sql) => (await db.runAndReadAll(sql)).getRowObjectsJS().map((row) => texts(row)),
    url: '',
    stop: async () => {
      db.closeSync()
      instance.closeSync()
    },
  }
}

async function startSnowflake(): Promise<Server> {
  const server = await withSnowflake()
  await server.query(`ALTER SESSION SET TIMEZONE = 'UTC'`)
  return { rows: async (sql) => (await server.query(sql)).map((row) => texts(row)), url: '', stop: async () => server.stop() }
}

function texts(row: Record<string, unknown>): Record<string, string | null> {
  const text = (value: unknown): string | null => (value as { toString(): string } | null | undefined)?.toString() ?? null
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name.toLowerCase(), text(value)]))
}
