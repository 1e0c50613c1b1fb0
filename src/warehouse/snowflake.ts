/**
 * Snowflake: a model's rows as texts made by its own SQL, streamed out of one statement.
 *
 * A model is first compiled in brackets behind FROM, where nothing but a query can stand, and only then alone, where a
 * bracket too many is an error: what passes both is one SELECT. Nothing of it has run until then, and the session takes one
 * statement a request.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { SnowflakeSettings, WarehouseEntry } from '../config/types.ts'
import { CdpError } from '../errors.ts'
import type { Column } from '../types.ts'
import { bareCondition, checkColumns, checkWanted, quoteName, runComment, wrap } from './model.ts'
import { bringRows } from './snowflake-csv.ts'
import { connectSnowflake, type SnowflakeSession } from './snowflake-session.ts'
import { snowflakeBody, snowflakeRaw, toColumn } from './snowflake-types.ts'
import type { Extract, ExtractIO, ModelQuery, Warehouse } from './warehouse.ts'

export function openSnowflake(entry: WarehouseEntry): Warehouse {
  const never = new AbortController().signal
  return {
    describe: (query) => connected(entry, query, never, async (session) => (await inspect(session, query)).columns),
    extract: (query, columns, folder, io) =>
      connected(entry, query, io.signal, (session) => extract(session, entry, query, columns, join(folder, 'extract.csv'), io)),
    check: () => connected(entry, null, never, checkWarehouse),
    close: () => Promise.resolve(),
  }
}

/** Beside each statement in the account's QUERY_HISTORY. */
export const queryTag = (sync: string, run: string | null): string => `cdp-sync sync=${sync}${run === null ? '' : ` run=${run}`}`

async function connected<T>(
  entry: WarehouseEntry,
  query: ModelQuery | null,
  signal: AbortSignal,
  use: (session: SnowflakeSession) => Promise<T>,
): Promise<T> {
  const tag = query === null ? 'cdp-sync' : queryTag(query.sync, query.run)
  const session = await connectSnowflake(entry, { tag, signal })
  try {
    return await use(session)
  } finally {
    await session.close()
  }
}

async function checkWarehouse({ place, server }: SnowflakeSession): Promise<void> {
  if (place.warehouse !== null) return
  throw new CdpError('CDP2310', `no virtual warehouse is set for ${server.user}`, {
    hint: 'Set `warehouse` of the warehouse entry, or: ALTER USER … SET DEFAULT_WAREHOUSE = ….',
  })
}

async function extract(
  session: SnowflakeSession,
  entry: WarehouseEntry,
  query: ModelQuery,
  wanted: readonly Column[],
  path: string,
  io: ExtractIO,
): Promise<Extract> {
  await rm(path, { force: true })
  const model = await inspect(session, query)
  checkWanted(query, wanted, model.columns)
  const { timezone } = entry.settings as SnowflakeSettings
  const list = wanted.map((column) => snowflakeRaw(model.sql(column), column, timezone))
  const selected = wrap(query, model.body, list.join(', '))
  const comment = runComment(query)
  const stream = await session.stream(comment + selected.sql, { query, before: comment + selected.before })
  const { rows, maxLineBytes, multiline } = await bringRows(stream, path, (bytes) => io.progress(bytes), io)
  return { format: 'csv', path, rows, columns: wanted, maxLineBytes, multiline, position: null }
}

/** A model that was compiled: its columns as users write them, and how each stands in SQL. */
export interface Inspected {
  readonly columns: readonly Column[]
  readonly body: string
  /** `"NAME"` of a column, as the server has it. */
  sql(column: Column): string
}

/** Proves that the model is one query and its condition one expression, and that its columns can be read. Nothing has run. */
export async function inspect(session: SnowflakeSession, query: ModelQuery): Promise<Inspected> {
  const { body, more } = snowflakeBody(query.sql)
  if (more) throw new CdpError('CDP2102', 'the model is more than one statement', { where: query.where, hint: 'Leave one SELECT.' })
  const whole = wrap({ ...query, condition: null }, body)
  await session.describe(whole.sql, { query, before: whole.before }).catch((error: unknown) => {
    throw error instanceof CdpError && error.code !== 'CDP2314' && !mayBeQuery(body) ? noQuery(query, error) : error
  })
  const found = await session.describe(body, { query, before: '' })
  const names = new Map<string, string>()
  const columns = found.map((server) => {
    const column = toColumn(server)
    if (column === null) throw unreadable(query, server.name, server.type.toUpperCase())
    names.set(column.name, quoteName(server.name))
    return column
  })
  checkColumns(query, columns)
  const sql = ({ name }: Column): string => names.get(name) ?? quoteName(name)
  await checkReadable(session, query, body, columns, sql)
  if (query.condition !== null) await checkCondition(session, query, body, query.condition)
  return { columns, body, sql }
}

const COMMENTS = /^(?:\s+|(?:--|\/\/)[^\n]*|\/\*[\s\S]*?\*\/)*/

const mayBeQuery = (body: string): boolean => /^(SELECT|WITH|VALUES|\()/i.test(body.replace(COMMENTS, ''))

function noQuery(query: ModelQuery, cause: CdpError): CdpError {
  return new CdpError('CDP2101', 'the model is no query that returns rows', {
    where: cause.where ?? query.where,
    hint: 'Write one SELECT (WITH is fine; VALUES stands behind FROM alone); a model changes nothing.',
    cause,
  })
}

/** The protocol calls a GEOGRAPHY an object, and tells them apart only where one is written as text. */
async function checkReadable(
  session: SnowflakeSession,
  query: ModelQuery,
  body: string,
  columns: readonly Column[],
  sql: (column: Column) => string,
): Promise<void> {
  const doubtful = columns.filter(({ type, native }) => type === 'json' && native !== 'VARIANT' && native !== 'ARRAY')
  for (const column of doubtful) {
    const one = wrap({ ...query, condition: null }, body, snowflakeRaw(sql(column), column, undefined))
    try {
      await session.describe(one.sql, { query, before: one.before })
    } catch (error) {
      const [, type] = /\b(GEOGRAPHY|GEOMETRY|FILE|VECTOR)\b/.exec(error instanceof CdpError ? error.message : '') ?? []
      throw type === undefined ? error : unreadable(query, column.name, type)
    }
  }
}

const CURES: Readonly<Record<string, string>> = {
  GEOGRAPHY: 'ST_ASTEXT(column) AS column, or ST_ASGEOJSON(column)',
  GEOMETRY: 'ST_ASTEXT(column) AS column, or ST_ASGEOJSON(column)',
  VECTOR: 'column::ARRAY AS column',
  DECFLOAT: 'column::NUMBER(38, 10) AS column, or column::VARCHAR',
}

function unreadable(query: ModelQuery, name: string, type: string): CdpError {
  return new CdpError('CDP2317', `column ${name} is a ${type}, which can't be read`, {
    where: query.where,
    hint: `Leave it out, or turn it into something else: ${CURES[type] ?? 'TO_VARCHAR(column) AS column'}.`,
  })
}

async function checkCondition(session: SnowflakeSession, query: ModelQuery, body: string, condition: string): Promise<void> {
  const { body: whole, more } = snowflakeBody(condition)
  if (more || whole !== condition) throw noCondition(query, condition, 'with `;` or `->>` another statement begins')
  for (const sql of [wrap(query, body).sql, bareCondition(body, condition)]) {
    await session.describe(sql).catch((error: unknown) => {
      if (!(error instanceof CdpError) || error.code === 'CDP2314') throw error
      throw noCondition(query, condition, error.message, error)
    })
  }
}

function noCondition(query: ModelQuery, condition: string, why: string, cause?: CdpError): CdpError {
  return new CdpError('CDP2104', `the condition \`${condition}\` is no condition: ${why}`, {
    where: query.where,
    hint: 'Write one expression over the columns of the model, as it would stand after WHERE.',
    ...(cause === undefined ? {} : { cause }),
  })
}
