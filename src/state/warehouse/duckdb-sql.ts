/** States in a DuckDB file: statements over a connection of the process's one instance, rows by Parquet files in both directions. */
import { randomUUID } from 'node:crypto'
import { rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { DuckDBConnection, DuckDBMaterializedResult } from '@duckdb/node-api'
import type { DuckdbSettings, WarehouseEntry } from '../../config/types.ts'
import { CdpError } from '../../errors.ts'
import { inspect, openShared, queryError } from '../../warehouse/duckdb.ts'
import { rawSql } from '../../warehouse/duckdb-types.ts'
import { wrap } from '../../warehouse/model.ts'
import type { ModelQuery } from '../../warehouse/warehouse.ts'
import { ident, lit } from '../db.ts'
import { duckdb } from './duckdb.ts'
import { stateError } from './errors.ts'
import { textColumns } from './sql.ts'
import type { Sql, SqlContext } from './sql.ts'

export async function openDuckdbSql(entry: WarehouseEntry, context: SqlContext): Promise<Sql> {
  const { path = '', timezone } = entry.settings as DuckdbSettings
  const shared = await openShared(entry, context, context.readonly ? 'read' : 'write')
  const connection: DuckDBConnection = await shared.instance.connect()
  const address = `DuckDB file ${path}`
  const cost = { statements: 0, seconds: 0, rows: 0, bytes: 0 }
  const comment = `/* cdp-sync sync=${context.sync} run=${context.run ?? 'none'} */ `
  /** The model that is being read: an error while it runs is one of its SQL. */
  let model: ModelQuery | null = null
  let inside = false

  const stop = (): void => connection.interrupt()
  const asked = async (sql: string): Promise<DuckDBMaterializedResult> => {
    context.signal.throwIfAborted()
    cost.statements++
    const from = performance.now()
    context.signal.addEventListener('abort', stop, { once: true })
    try {
      return await connection.run(comment + sql)
    } catch (error) {
      context.signal.throwIfAborted()
      if (error instanceof CdpError) throw error
      if (model !== null) throw queryError(error, model, '')
      throw stateError(address, error instanceof Error ? error.message : String(error), undefined, error)
    } finally {
      context.signal.removeEventListener('abort', stop)
      cost.seconds += (performance.now() - from) / 1000
    }
  }
  /** Two transactions that write one row do not wait for each other: the second fails. So they wait here. */
  const alone = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    if (inside) return work()
    const end = await shared.turn()
    try {
      return await work()
    } finally {
      end()
    }
  }
  const rollback = (): Promise<unknown> => connection.run('ROLLBACK').catch(() => undefined)

  const sql: Sql = {
    dialect: duckdb,
    address,
    cost,
    async rows<Row extends object>(text: string) {
      const rows = (await (await asked(text)).getRowObjectsJS()).map(plain)
      cost.rows += rows.length
      return rows as Row[]
    },
    run: (text) => alone(async () => (await asked(text)).rowsChanged),
    async createSchema(schema) {
      await sql.run(`CREATE SCHEMA IF NOT EXISTS ${ident(schema)}`)
    },
    insertNew: (table, columns, values, condition) =>
      sql.run(`INSERT INTO ${table} (${columns}) SELECT ${values} WHERE NOT EXISTS (SELECT 1 FROM ${table} WHERE ${condition})`),
    transaction: (work) =>
      alone(async () => {
        await asked('BEGIN')
        inside = true
        try {
          const result = await work()
          await asked('COMMIT')
          return result
        } catch (error) {
          await rollback()
          throw error
        } finally {
          inside = false
        }
      }),
    async fetch(text, width, file) {
      const names = Array.from({ length: width }, (_, i) => `c${i}`)
      await rm(file, { force: true })
      const list = names.map((name) => `${name}::VARCHAR AS ${name}`).join(', ')
      const result = await asked(
        `COPY (SELECT ${list} FROM (${text}) t(${names.join(', ')})) TO ${lit(file)} (FORMAT parquet, COMPRESSION lz4)`,
      )
      const rows = Number((await result.getRows())[0]?.[0])
      const { size } = await stat(file)
      cost.rows += rows
      cost.bytes += size
      context.progress(size)
      return { format: 'parquet', path: file, rows, columns: textColumns(width), position: null }
    },
    async load(table, columns, db, from) {
      const file = join(context.folder, `load-${randomUUID()}.parquet`)
      try {
        await db.run(`COPY (${from}) TO ${lit(file)} (FORMAT parquet, COMPRESSION lz4)`)
        return await sql.run(`INSERT INTO ${table} (${columns.join(', ')}) FROM read_parquet(${lit(file)})`)
      } finally {
        await rm(file, { force: true })
      }
    },
    async workspace(temporary, read, work) {
      await asked('BEGIN')
      inside = true
      try {
        for (const [name, columns] of Object.entries(temporary)) await asked(`CREATE TEMP TABLE ${name} (${columns.join(', ')})`)
        const relation = read && wrap(read, (await inspect(connection, read)).body).sql
        model = read
        return await work({
          model: relation === null ? '' : `(${relation})`,
          position: null,
          raw: (column) => rawSql(column, timezone),
          temporary: (name) => name,
        })
      } finally {
        model = null
        inside = false
        // Nothing was written but temporary tables.
        await rollback()
      }
    },
    async close() {
      connection.closeSync()
      await shared.close()
    },
  }
  return sql
}

/** BIGINT -> number. */
const plain = (row: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(row).map(([name, value]) => [name, typeof value === 'bigint' ? Number(value) : value]))
