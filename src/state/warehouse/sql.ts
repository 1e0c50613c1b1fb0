/** A connection to a database that keeps states, and opening one. */
import type { WarehouseEntry } from '../../config/types.ts'
import type { Column } from '../../types.ts'
import type { Extract, ModelQuery } from '../../warehouse/warehouse.ts'
import type { Db } from '../db.ts'
import type { Cost } from '../keeper.ts'
import type { Dialect } from './dialect.ts'

/** One statement at a time. Every statement says (by a comment or tag) whose it is. Throws CdpError. */
export interface Sql {
  readonly dialect: Dialect
  /** For messages: where the database is. */
  readonly address: string
  /** Rows by column name in lower case: integers as numbers, booleans, texts. For a few rows. */
  rows<Row extends object>(sql: string): Promise<Row[]>
  /** Runs one statement; the number of rows it wrote. */
  run(sql: string): Promise<number>
  /** Makes the schema where it is missing: to do so needs a right that most roles lack, and none where it is there. */
  createSchema(schema: string): Promise<void>
  /** Inserts one row unless one that meets `condition` is there; 1 or 0. Two at one moment do not both succeed, where the database can see to it. */
  insertNew(table: string, columns: string, values: string, condition: string): Promise<number>
  /** All statements of `work` in one transaction, or none of them. No DDL. */
  transaction<Result>(work: () => Promise<Result>): Promise<Result>
  /** Brings the rows of a SELECT to a new file at `path`: `width` columns of any type, as texts. */
  fetch(sql: string, width: number, path: string): Promise<Extract>
  /** Adds rows of the local database to a table: `from` is a SELECT whose columns have the texts of `columns`. */
  load(table: string, columns: readonly string[], db: Db, from: string): Promise<number>
  /**
   * For comparing: the rows of a model as a relation that is the same in every statement of `work`, and empty temporary
   * tables (name -> columns with their types). Writes nothing else, and leaves nothing behind.
   */
  workspace<Result>(
    temporary: Readonly<Record<string, readonly string[]>>,
    model: ModelQuery | null,
    work: (workspace: Workspace) => Promise<Result>,
  ): Promise<Result>
  readonly cost: Cost
  close(): Promise<void>
}

/** The columns of what `fetch` brings. */
export const textColumns = (width: number): Column[] =>
  Array.from({ length: width }, (_, i) => ({ name: `c${i}`, type: 'string', native: 'text' }))

export interface Workspace {
  /** To stand after FROM, in brackets; '' without a model. Its columns have the names that the warehouse's describe() gave. */
  readonly model: string
  /** Of the model's server when it was read (PostgreSQL's log), where it tells. */
  readonly position: string | null
  /** SQL of a column's raw text (src/values.ts), or of a value that `fetch` writes so. */
  readonly raw: (column: Column) => string
  /** SQL name of a temporary table. */
  readonly temporary: (name: string) => string
}

export interface SqlContext {
  /** Absolute path of the project folder. */
  readonly root: string
  /** Names in the comment of each statement. */
  readonly sync: string
  readonly run: string | null
  readonly signal: AbortSignal
  readonly schema: string
  /** For files that live as long as one call; ours alone. */
  readonly folder: string
  /** Only reads, but for temporary tables. */
  readonly readonly: boolean
  readonly memory?: number
  readonly threads?: number
  progress(bytes: number): void
}

/** Connects. The driver loads only then. */
export async function openSql(entry: WarehouseEntry, context: SqlContext): Promise<Sql> {
  switch (entry.type) {
    case 'postgres':
      return (await import('./postgres-sql.ts')).openPostgresSql(entry, context)
    case 'duckdb':
      return (await import('./duckdb-sql.ts')).openDuckdbSql(entry, context)
    case 'snowflake':
      return (await import('./snowflake-sql.ts')).openSnowflakeSql(entry, context)
  }
}
