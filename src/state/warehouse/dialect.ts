/** What differs between databases that keep states: one small object for each. Everything here is text of SQL. */
import type { Normaliser } from '../../connector.ts'
import type { Column } from '../../types.ts'
import type { Scalar } from '../db.ts'

export interface Dialect {
  readonly name: 'postgres' | 'duckdb' | 'snowflake'
  /** Types of our tables' columns. Texts compare byte by byte: equality and order are those of DuckDB and JavaScript. */
  readonly types: { readonly text: string; readonly integer: string; readonly boolean: string }
  /** Texts may have the character NUL. */
  readonly holdsNul: boolean
  /** One of our tables, by the schema that the configuration names. */
  table(schema: string, name: string): string
  /** A temporary table: the words before its name, and what stands after its columns so that it ends with the transaction. */
  readonly temporary: { readonly create: string; readonly end: string }
  /** A name as the warehouse's `describe` gave it. */
  ident(name: string): string
  lit(value: Scalar): string
  /** The server's clock: milliseconds since 1970 as an integer. In DuckDB that of the start of the transaction. */
  readonly now: string
  /**
   * The canonical text (src/values.ts) of a column of a model, as text that compares byte by byte; NULL stays NULL. Null: this
   * type has none here, and rows must be looked at by the runner.
   */
  key(column: Column, timezone: string | undefined): string | null
  /** The compact JSON array of several texts, as DuckDB's to_json writes it; NULL when any is NULL. */
  list(texts: readonly string[]): string
  /** `normalise` (src/normalise.ts) over a text. NULL when nothing is left, or for NULL. */
  normalise(normaliser: Normaliser, text: string): string
  /**
   * A number from 0 to 2^63 - 1 that differs (but for chance) where any of these columns of a model differs, in value or in
   * being NULL. Equal for equal raw texts in columns of equal types within one version of the server: where a column changed
   * its type all rows differ. `columns` is not empty; their order matters.
   */
  hash(columns: readonly Column[], timezone: string | undefined): string
  /**
   * A relation with the columns of `from` (`columns` names those to keep) and `address`: one row for each of these texts that
   * is not NULL. Relations (`from` and what these two give) are a table or a query in brackets, without a name of their own.
   */
  unpivot(from: string, columns: readonly string[], texts: readonly string[]): string
  /** A relation `address, key, hash`: of the rows of `from` with one address that of the lowest key, byte by byte. */
  lowest(from: string): string
  /**
   * A SELECT over the relation `from`, which has the columns `differs` and `picked`: these columns of each row that differs, and
   * one row in which they are NULL; then the aggregates `totals`, whose sums over the rows of the result are those over `from`.
   */
  split(from: string, picked: readonly string[], totals: readonly string[]): string
  /**
   * What an index over texts of any length holds of one: equal, but for chance, only for equal texts, and in their order. Empty
   * where there is none: columnar engines keep no index over millions of texts.
   */
  digests(text: string): readonly string[]
  /** CREATE statements are a part of their transaction, and go with it. */
  readonly undoesTables: boolean
  /** A changed row is added beside the snapshot, and folded into it now and then: where changing rows rewrites the table. */
  readonly appends: boolean
  /** `CREATE SCHEMA` and grants for a role that runs (writes its state) and for one that only plans. */
  grants(input: { schema: string; role: string; reader: string; database: string | null; warehouse: string | null }): string
}
