/** Opens the warehouse of an entry; its driver loads only then. */
import type { WarehouseEntry } from '../config/types.ts'
import type { Warehouse } from './warehouse.ts'

export interface WarehouseContext {
  /** Absolute path of the project folder: file names in models start there. */
  readonly root: string
  /** Bytes of memory an embedded warehouse may use (default: its own). */
  readonly memory?: number
  /** Threads an embedded warehouse may use (default: one per core). */
  readonly threads?: number
}

/** Does not connect yet, but a DuckDB file is opened. Throws CdpError. */
export async function openWarehouse(entry: WarehouseEntry, context: WarehouseContext): Promise<Warehouse> {
  if (entry.type === 'postgres') return (await import('./postgres.ts')).openPostgres(entry)
  if (entry.type === 'snowflake') return (await import('./snowflake.ts')).openSnowflake(entry)
  return (await import('./duckdb.ts')).openDuckdb(entry, context)
}
