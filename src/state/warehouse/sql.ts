/** A connection to a database that keeps states. */
import type { Extract } from '../../warehouse/warehouse.ts'
import type { Db } from '../db.ts'
import type { Dialect } from './dialect.ts'

/** One statement at a time. Every statement carries a comment (or tag) with sync and run. Throws CdpError. */
export interface Sql {
  readonly dialect: Dialect
  /** Rows by column name in lower case: integers as numbers, booleans, texts. For a few rows. */
  rows<Row extends object>(sql: string): Promise<Row[]>
  /** Runs one statement; the number of rows it wrote. */
  run(sql: string): Promise<number>
  /** All statements of `work` in one transaction, or none. No DDL in it, but temporary tables where the dialect has them so. */
  transaction<Result>(work: () => Promise<Result>): Promise<Result>
  /** Brings the rows of a SELECT whose columns are all texts, in order c0, c1, …, to a new file at `path`. */
  fetch(sql: string, width: number, path: string): Promise<Extract>
  /** Adds the rows of a relation of the local database, all VARCHAR, to a table whose columns have these names. */
  load(table: string, columns: readonly string[], db: Db, from: string): Promise<number>
  /** Sum of what was asked until now. */
  readonly cost: { statements: number; seconds: number; rows: number; bytes: number }
  close(): Promise<void>
}
