/**
 * States in Snowflake: statements of one session, rows as CSV files in one direction and as JSON documents in the other.
 *
 * A transaction is BEGIN … COMMIT over several requests, because what is written depends on what was found. A runner that dies
 * in between leaves its locks to the server, which rolls them back when the session says goodbye, or else once somebody waits
 * for them and they were idle for 5 minutes; LOCK_TIMEOUT is longer than that, so whoever waits goes on by itself.
 * https://docs.snowflake.com/en/sql-reference/transactions#aborting-transactions
 * One script for all of it would leave none, but could not look at a count before it goes on; so transactions hold nothing
 * that can be done before, and no DDL, which would end them.
 */
import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { SnowflakeSettings, WarehouseEntry } from '../../config/types.ts'
import { CdpError } from '../../errors.ts'
import { wrap } from '../../warehouse/model.ts'
import { inspect, queryTag } from '../../warehouse/snowflake.ts'
import { bringRows } from '../../warehouse/snowflake-csv.ts'
import { connectSnowflake, type SnowflakeSession } from '../../warehouse/snowflake-session.ts'
import { snowflakeRaw } from '../../warehouse/snowflake-types.ts'
import type { ModelQuery } from '../../warehouse/warehouse.ts'
import { lit, type Db } from '../db.ts'
import { stateError } from './errors.ts'
import { snowflake } from './snowflake.ts'
import { textColumns } from './sql.ts'
import type { Sql, SqlContext } from './sql.ts'

/**
 * Characters of one document of rows. A text may have 16 MB, and so may the value that it is parsed to:
 * https://docs.snowflake.com/en/sql-reference/data-types-semistructured#characteristics-of-a-variant
 */
const DOCUMENT = 4 * 1024 * 1024
const STATEMENT = 500_000
const MODEL = 'cdp_model'

export async function openSnowflakeSql(entry: WarehouseEntry, context: SqlContext): Promise<Sql> {
  const { timezone } = entry.settings as SnowflakeSettings
  const cost = { statements: 0, seconds: 0, rows: 0, bytes: 0 }
  const session = await connectSnowflake(entry, { tag: queryTag(context.sync, context.run), signal: context.signal })
  const address = `Snowflake at ${session.server.address}`
  const place = (name: string): string => snowflake.table(context.schema, name)

  const timed = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    cost.statements++
    const from = performance.now()
    try {
      return await work()
    } finally {
      cost.seconds += (performance.now() - from) / 1000
    }
  }
  /** A statement of ours, not of a model. */
  const asked = <Result>(work: () => Promise<Result>): Promise<Result> =>
    timed(work).catch((error: unknown) => {
      context.signal.throwIfAborted()
      throw error instanceof CdpError ? ofState(address, error) : error
    })
  const quietly = (text: string): Promise<unknown> => session.run(text).catch(() => undefined)

  const sql: Sql = {
    dialect: snowflake,
    address,
    cost,
    async rows<Row extends object>(text: string) {
      const rows = await asked(() => session.rows(text))
      cost.rows += rows.length
      return rows as Row[]
    },
    run: (text) => asked(() => session.run(...short(text))),
    async createSchema(schema) {
      const name = snowflake.ident(schema).slice(1, -1).replaceAll('""', '"')
      const [found] = await sql.rows(`SELECT 1 AS found FROM INFORMATION_SCHEMA.SCHEMATA WHERE SCHEMA_NAME = ${snowflake.lit(name)}`)
      if (!found) await sql.run(`CREATE SCHEMA ${snowflake.ident(schema)}`)
    },
    // An INSERT locks nothing, and no key is enforced. A MERGE waits for others of its kind.
    insertNew: (table, columns, values, condition) =>
      sql.run(
        `MERGE INTO ${table} USING (SELECT 1 AS one) AS it ON ${condition} WHEN NOT MATCHED THEN INSERT (${columns}) VALUES (${values})`,
      ),
    async transaction(work) {
      await sql.run('BEGIN TRANSACTION')
      try {
        const result = await work()
        await sql.run('COMMIT')
        return result
      } catch (error) {
        await quietly('ROLLBACK')
        throw error
      }
    },
    async fetch(text, width, path) {
      await rm(path, { force: true })
      const written = await asked(async () => bringRows(await session.stream(text), path, (bytes) => context.progress(bytes), context))
      cost.rows += written.rows
      cost.bytes += written.bytes
      const { rows, maxLineBytes, multiline } = written
      return { format: 'csv', path, columns: textColumns(width), position: null, rows, maxLineBytes, multiline }
    },
    async load(table, columns, db, from) {
      const names = columns.join(', ')
      const target = await asked(() => session.describe(`SELECT ${names} FROM ${table}`))
      const values = target.map(({ type }, i) =>
        TYPES[type] === undefined ? decoded(`value:c${i}::VARCHAR`) : `value:c${i}::${TYPES[type]}`,
      )
      const insert = `INSERT INTO ${table} (${names}) SELECT ${values.join(', ')} FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?)))`
      let loaded = 0
      await documents(db, from, context.folder, async (document) => void (loaded += await asked(() => session.run(insert, [document]))))
      return loaded
    },
    async workspace(temporary, model, work) {
      const { create } = snowflake.temporary
      const made: string[] = []
      try {
        for (const [name, columns] of Object.entries(temporary)) {
          await sql.run(`${create} ${place(name)} (${columns.join(', ')})`)
          made.push(name)
        }
        if (model !== null) {
          await timed(() => writeDown(session, model, `${create} ${place(MODEL)} AS\n`))
          made.push(MODEL)
        }
        return await work({
          model: model === null ? '' : `(SELECT * FROM ${place(MODEL)})`,
          position: null,
          raw: (column) => snowflakeRaw(snowflake.ident(column.name), column, timezone),
          temporary: place,
        })
      } finally {
        for (const name of made) await quietly(`DROP TABLE IF EXISTS ${place(name)}`)
      }
    },
    close: () => session.close(),
  }
  return sql
}

const TYPES: Readonly<Record<string, string>> = { fixed: 'NUMBER(38, 0)', boolean: 'BOOLEAN' }

/**
 * NUL in a document of JSON comes out as the six characters `\u0000`, or not at all, so it goes in as two others.
 * https://github.com/cloudquery/cloudquery/pull/7836, https://github.com/snowflakedb/snowflake-ingest-java/issues/870
 */
const encoded = (text: unknown): string | undefined =>
  typeof text === 'string' ? text.replaceAll('\x01', '\x011').replaceAll('\0', '\x010') : undefined
const decoded = (text: string): string => `REPLACE(REPLACE(${text}, CHR(1) || '0', CHR(0)), CHR(1) || '1', CHR(1))`

/** Each statement sees its own moment here, so a model that several of them read is written into a temporary table first. */
async function writeDown(session: SnowflakeSession, query: ModelQuery, create: string): Promise<void> {
  const found = await inspect(session, query)
  const list = found.columns.map((column) => `${found.sql(column)} AS ${snowflake.ident(column.name)}`)
  const rows = wrap(query, found.body, list.join(', '))
  await session.run(create + rows.sql, [], { query, before: create + rows.before })
}

/** The rows of a local SELECT as JSON arrays of objects `{c0: text, c1: text, …}`, not too long each. */
async function documents(db: Db, from: string, folder: string, each: (document: string) => Promise<void>): Promise<void> {
  let rows: string[] = []
  let length = 0
  const flush = async (): Promise<void> => {
    const document = `[${rows.join(',')}]`
    rows = []
    length = 0
    await each(document)
  }
  // By way of a file: temporary tables are seen by their own connection alone, and a stream has another.
  const file = join(folder, `load-${randomUUID()}.parquet`)
  try {
    await db.run(`COPY (${from}) TO ${lit(file)} (FORMAT parquet, COMPRESSION lz4)`)
    await db.columns(`SELECT COLUMNS(*)::VARCHAR FROM read_parquet(${lit(file)})`, async (columns, count) => {
      for (let i = 0; i < count; i++) {
        // A member that is not there is NULL; what becomes of a null of JSON depends on how it is converted.
        const row = JSON.stringify(Object.fromEntries(columns.map((column, at) => [`c${at}`, encoded(column[i])])))
        if (rows.length > 0 && length + row.length > DOCUMENT) await flush()
        rows.push(row)
        length += row.length + 1
      }
    })
    if (rows.length > 0) await flush()
  } finally {
    await rm(file, { force: true })
  }
}

/** A statement may have 1 MB of text: https://docs.snowflake.com/en/user-guide/query-size-limits. Longer ones carry their long texts apart. */
function short(text: string): [sql: string, binds: string[]] {
  const binds: string[] = []
  if (Buffer.byteLength(text) < STATEMENT) return [text, binds]
  const sql = text.replaceAll(/'((?:[^'\\]|\\[\s\S]|'')*)'/g, (literal, inner: string) => {
    if (literal.length < STATEMENT / 100) return literal
    binds.push(inner.replaceAll(/\\([\s\S])|''/g, (_, escaped: string | undefined) => escaped ?? "'"))
    return '?'
  })
  return [sql, binds]
}

/** Snowflake has one message for what is not there and what may not be seen: here it is most likely not there yet. */
function ofState(address: string, error: CdpError): CdpError {
  const states: Readonly<Record<string, string | undefined>> = { CDP2311: '42P01', CDP2312: '42501', CDP2100: '42000', CDP2314: '08006' }
  return error.code in states
    ? stateError(address, error.message.replace(' or not authorized', ''), states[error.code], error.cause)
    : error
}
