/** The seam to a warehouse: describe a model, and bring its rows to a local file exactly. */
import type { Column } from '../types.ts'

/** A model's query with what its statements must say about themselves. */
export interface ModelQuery {
  readonly sync: string
  readonly run: string
  readonly sql: string
  /** `file:line:column` of the SQL, for messages. */
  readonly where: string
  /** Predicate over the model's columns. */
  readonly condition: string | null
}

/**
 * A complete extract: the server's end of data arrived and its row count is `rows`.
 * Column i of the file is `columns[i]` as raw text (src/values.ts says which texts are allowed), NULL apart from ''.
 */
export type Extract =
  | {
      readonly format: 'csv'
      readonly path: string
      readonly rows: number
      readonly columns: readonly Column[]
      readonly maxLineBytes: number
      /** Some value holds a newline (or nobody looked): then one thread must read the file. */
      readonly multiline?: boolean
      readonly position: string | null
    }
  | {
      readonly format: 'parquet'
      readonly path: string
      readonly rows: number
      readonly columns: readonly Column[]
      readonly position: string | null
    }

export interface Warehouse {
  /**
   * Parses the model alone and describes its columns, in order. Refuses (CdpError with a place) what is not one
   * statement that returns rows and writes nothing, duplicate column names, and types that can't be read.
   */
  describe(query: ModelQuery): Promise<readonly Column[]>
  /**
   * Writes the rows of these columns to a file in `folder` (0700, ours alone; the caller deletes it).
   * `progress` is called now and then with rows or bytes so far. Aborting cancels at the server.
   */
  extract(query: ModelQuery, columns: readonly Column[], folder: string, io: ExtractIO): Promise<Extract>
  /** Proves the connection; writes nothing. Throws AuthError, or CdpError when unreachable. */
  check(): Promise<void>
  close(): Promise<void>
}

export interface ExtractIO {
  readonly signal: AbortSignal
  progress(bytes: number): void
}
