/** Runs a model through a warehouse and reads the extract back the way staging does. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DuckdbSettings, PostgresSettings, WarehouseEntry } from '../../src/config/types.ts'
import { DuckDBInstance } from '../../src/duckdb.ts'
import type { CdpError } from '../../src/errors.ts'
import type { Column } from '../../src/types.ts'
import { extractSql } from '../../src/warehouse/extract.ts'
import type { Extract, ExtractIO, ModelQuery, Warehouse } from '../../src/warehouse/warehouse.ts'

export const model = (sql: string, condition: string | null = null): ModelQuery => ({
  sync: 'crm-contacts',
  run: '01J',
  sql,
  where: 'models/contacts.sql:1:1',
  condition,
})

export const postgresEntry = (settings: PostgresSettings): WarehouseEntry => ({
  name: 'prod',
  type: 'postgres',
  settings,
  where: 'cdp-sync.yaml:3:5',
})

export const duckdbEntry = (settings: DuckdbSettings): WarehouseEntry => ({
  name: 'files',
  type: 'duckdb',
  settings,
  where: 'cdp-sync.yaml:3:5',
})

export async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'cdp-sync-test-'))
  try {
    return await use(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

export interface Extracted {
  readonly extract: Extract
  readonly columns: readonly Column[]
  /** Raw texts, a row each, in the order of the file. */
  readonly rows: readonly (readonly (string | null)[])[]
}

/** Describes, extracts the columns named in `wanted` (default: all) and reads them back. */
export function run(
  warehouse: Warehouse,
  query: ModelQuery,
  { wanted, ...io }: Partial<ExtractIO> & { wanted?: readonly string[] } = {},
): Promise<Extracted> {
  return inFolder(async (folder) => {
    const described = await warehouse.describe(query)
    const columns = described.filter(({ name }) => wanted?.includes(name) ?? true)
    const extract = await warehouse.extract(query, columns, folder, { signal: new AbortController().signal, progress: () => {}, ...io })
    return { extract, columns, rows: await read(extract) }
  })
}

export async function read(extract: Extract): Promise<(string | null)[][]> {
  const instance = await DuckDBInstance.create(':memory:')
  const db = await instance.connect()
  try {
    const sql = `SELECT ${extract.columns.map((_, i) => `c${i}`).join(', ')} FROM ${extractSql(extract)}`
    return (await db.runAndReadAll(sql)).getRows() as (string | null)[][]
  } finally {
    db.closeSync()
    instance.closeSync()
  }
}

/** The error a promise ends with. */
export async function failure(promise: Promise<unknown>): Promise<CdpError> {
  return promise.then(
    () => {
      throw new Error('expected an error')
    },
    (error: unknown) => error as CdpError,
  )
}
