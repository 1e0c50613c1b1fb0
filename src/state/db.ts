/** The embedded database: one instance per sync that runs, with the state file attached as `state`. */
import { DuckDBDataChunk, VARCHAR } from '@duckdb/node-api'
import type { DuckDBConnection } from '@duckdb/node-api'
import { DuckDBInstance } from '../duckdb.ts'

export type Scalar = string | number | bigint | boolean | null

/** A connection. One statement at a time: a second one on the same connection ends an open stream without an error. */
export interface Db {
  run(sql: string): Promise<void>
  /** All rows as objects; BIGINTs as numbers (counts and row numbers stay far below 2^53). */
  rows<Row extends object>(sql: string): Promise<Row[]>
  /** The first row; throws when there is none. */
  one<Row extends object>(sql: string): Promise<Row>
  /** Chunks of columns, in order. Runs on a connection of its own, so that this one stays free. */
  columns(sql: string, each: (columns: readonly (readonly unknown[])[], rows: number) => Promise<void> | void): Promise<void>
  /** Appends VARCHAR columns to a table of the in-memory catalog. */
  append(table: string, width: number): Promise<Appender>
  /** Another connection to the same instance. */
  connect(): Promise<Db>
  close(): void
}

export interface Appender {
  /** Columns of equal length, at most 2,048 rows. */
  chunk(columns: (string | null)[][]): void
  close(): void
}

/** Rows a data chunk holds. */
export const CHUNK_ROWS = 2048

export interface DbSettings {
  /** Bytes. DuckDB's own limit; the process uses about 0.2 GB more. */
  readonly memory: number
  readonly threads: number
  /** Where it may spill; 0700, ours alone. */
  readonly spill: string
}

export async function openDb(settings: DbSettings): Promise<{ db: Db; close: () => void }> {
  const instance = await DuckDBInstance.create(':memory:', {
    memory_limit: `${Math.floor(settings.memory / 1_048_576)}MiB`,
    threads: String(settings.threads),
    temp_directory: settings.spill,
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    // Rows of a table have no order here, and keeping one costs a load more than half of its time.
    preserve_insertion_order: 'false',
  })
  const db = wrap(instance, await instance.connect())
  await db.run("SET TimeZone = 'UTC'").catch(() => undefined)
  return {
    db,
    close() {
      db.close()
      instance.closeSync()
    },
  }
}

function wrap(instance: DuckDBInstance, connection: DuckDBConnection): Db {
  const self: Db = {
    async run(sql) {
      await connection.run(sql)
    },
    async rows<Row extends object>(sql: string) {
      const reader = await connection.runAndReadAll(sql)
      return reader.getRowObjectsJS().map(plain) as Row[]
    },
    async one<Row extends object>(sql: string) {
      const [row] = await self.rows<Row>(sql)
      if (!row) throw new Error(`no row: ${sql}`)
      return row
    },
    async columns(sql, each) {
      const own = await instance.connect()
      try {
        const result = await own.stream(sql)
        for (;;) {
          const chunk = await result.fetchChunk()
          if (!chunk || chunk.rowCount === 0) break
          await each(chunk.getColumns(), chunk.rowCount)
        }
      } finally {
        own.closeSync()
      }
    },
    async append(table, width) {
      const appender = await connection.createAppender(table, 'main', 'memory')
      const types = Array.from({ length: width }, () => VARCHAR)
      return {
        chunk(columns) {
          const chunk = DuckDBDataChunk.create(types, columns[0]?.length ?? 0)
          chunk.setColumns(columns)
          appender.appendDataChunk(chunk)
        },
        close() {
          appender.closeSync()
        },
      }
    },
    async connect() {
      return wrap(instance, await instance.connect())
    },
    close() {
      connection.closeSync()
    },
  }
  return self
}

/** BIGINT -> number, at any depth. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (Array.isArray(value)) return value.map(plain)
  if (value instanceof Date || value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plain(member)]))
}

/** A value of a VARCHAR column. */
export const text = (value: unknown): string | null => (value ?? null) as string | null

/** A SQL literal. */
export function lit(value: Scalar): string {
  if (value === null) return 'NULL'
  if (typeof value !== 'string') return String(value)
  // A NUL would end the statement's text; vendors' messages may hold one.
  const parts = value.split('\0').map((part) => `'${part.replaceAll("'", "''")}'`)
  return parts.length === 1 ? String(parts[0]) : `(${parts.join(' || chr(0) || ')})`
}

/** A list literal of texts. */
export const litList = (values: readonly string[]): string => (values.length ? `[${values.map(lit).join(', ')}]` : '[]::VARCHAR[]')

/** A quoted identifier. */
export const ident = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** A timestamp literal from milliseconds since 1970. */
export const litTime = (ms: number): string => `TIMESTAMP '${new Date(ms).toISOString().replace('T', ' ').replace('Z', '')}'`
