/** Whether a database can keep states, tried without writing anything. For `validate --live`. */
import type { WarehouseEntry } from '../../config/types.ts'
import { openSql } from './sql.ts'
import type { Sql, SqlContext } from './sql.ts'
import { createSql, hasTables, TABLE_NAMES } from './tables.ts'

/** Throws CDP4040, CDP4041 (a right is missing) and what connecting throws. */
export async function checkStates(
  entry: WarehouseEntry,
  context: Pick<SqlContext, 'root' | 'signal' | 'schema' | 'folder'>,
): Promise<void> {
  const sql = await openSql(entry, { ...context, sync: 'validate', run: null, readonly: false, progress: () => undefined })
  try {
    if (await hasTables(sql, context.schema)) await tryWriting(sql, context.schema)
    else await tryMaking(sql, context.schema)
  } finally {
    await sql.close()
  }
}

/** Rights are looked at though no row is concerned. */
async function tryWriting(sql: Sql, schema: string): Promise<void> {
  for (const name of TABLE_NAMES) {
    const table = sql.dialect.table(schema, name)
    await sql.run(`INSERT INTO ${table} SELECT * FROM ${table} WHERE 1 = 0`)
    await sql.run(`UPDATE ${table} SET sync = sync WHERE 1 = 0`)
    await sql.run(`DELETE FROM ${table} WHERE 1 = 0`)
  }
}

/** Makes schema and tables in a transaction that is rolled back. Where each is committed at once the first run tells. */
async function tryMaking(sql: Sql, schema: string): Promise<void> {
  if (!sql.dialect.undoesTables) return
  const enough = new Error('everything could be made')
  try {
    await sql.transaction(async () => {
      await sql.createSchema(schema)
      for (const statement of createSql(sql.dialect, schema)) await sql.run(statement)
      throw enough
    })
  } catch (error) {
    if (error !== enough) throw error
  }
}
