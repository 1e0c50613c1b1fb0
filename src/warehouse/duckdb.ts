/**
 * DuckDB: a user's database file, opened to read only, or the CSV, Parquet and JSON files of the project without one.
 * A model is one SELECT, so it can write nothing; extensions are never downloaded.
 */
import { mkdtemp, realpath, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DuckDBConnection, type DuckDBExtractedStatements, StatementType } from '@duckdb/node-api'
import type { DuckdbSettings, WarehouseEntry } from '../config/types.ts'
import { DuckDBInstance } from '../duckdb.ts'
import { CdpError } from '../errors.ts'
import type { Column } from '../types.ts'
import { logicalType, rawSql } from './duckdb-types.ts'
import { bareCondition, checkColumns, checkWanted, length, placeAt, point, quoteText, runComment, statementBody, wrap } from './model.ts'
import type { WarehouseContext } from './open.ts'
import type { Extract, ExtractIO, ModelQuery, Warehouse } from './warehouse.ts'

export async function openDuckdb(entry: WarehouseEntry, context: WarehouseContext): Promise<Warehouse> {
  const settings = entry.settings as DuckdbSettings
  const { instance, close } = await openShared(entry, context, 'read')
  return {
    describe: (query) => connected(instance, (db) => describe(db, query)),
    extract: (query, columns, folder, io) =>
      connected(instance, (db) => extract(db, query, columns, join(folder, 'extract.parquet'), settings.timezone, io)),
    check: () => connected(instance, async (db) => void (await db.run('SELECT 1'))),
    close,
  }
}

export interface Shared {
  readonly instance: DuckDBInstance
  /** Resolves when nobody else in this process writes to the file; then it is the caller's turn, until what it gives is called. */
  readonly turn: () => Promise<() => void>
  readonly close: () => Promise<void>
}

interface Open {
  readonly instance: DuckDBInstance
  readonly writable: boolean
  readonly closed: Promise<void>
  readonly remove: () => Promise<void>
  done: () => void
  users: number
  line: Promise<void>
}

/** Two instances of one file in one process lose each other's writes without an error: there is one, by its path. */
const instances = new Map<string, Promise<Open>>()

/** Who only reads shares an instance that writes; who writes waits until those that only read are closed. */
export async function openShared(entry: WarehouseEntry, context: WarehouseContext, access: 'read' | 'write'): Promise<Shared> {
  const settings = entry.settings as DuckdbSettings
  if (settings.path === undefined) return use(await openOnce(entry, settings, context, 'read'), null)
  for (;;) {
    const path = await realpath(settings.path).catch(() => settings.path ?? '')
    const found = await instances.get(path)?.catch(() => undefined)
    if (found && (found.writable || access === 'read') && found.users > 0) return use(found, path)
    if (found) await found.closed
    else if (!instances.has(path)) {
      const opening = openOnce(entry, settings, context, access)
      instances.set(path, opening)
      opening.catch(() => instances.delete(path))
      return use(await opening, path)
    }
  }
}

function use(it: Open, path: string | null): Shared {
  it.users++
  let open = true
  return {
    instance: it.instance,
    async turn() {
      const before = it.line
      let end = nothing
      it.line = new Promise((resolve) => (end = resolve))
      await before
      return end
    },
    async close() {
      if (!open || --it.users > 0) return void (open = false)
      open = false
      if (path !== null) instances.delete(path)
      it.instance.closeSync()
      it.done()
      await it.remove()
    },
  }
}

const nothing = (): void => undefined

async function openOnce(
  entry: WarehouseEntry,
  settings: DuckdbSettings,
  context: WarehouseContext,
  access: 'read' | 'write',
): Promise<Open> {
  const spill = await mkdtemp(join(tmpdir(), 'cdp-sync-duckdb-'))
  const remove = (): Promise<void> => rm(spill, { recursive: true, force: true })
  let done = nothing
  const closed = new Promise<void>((resolve) => (done = resolve))
  const instance = await openInstance(entry, settings, context, spill, access).catch(async (error: unknown) => {
    await remove()
    throw error
  })
  return { instance, writable: access === 'write', closed, done, remove, users: 0, line: Promise.resolve() }
}

async function openInstance(
  entry: WarehouseEntry,
  { path }: DuckdbSettings,
  { root, memory, threads }: WarehouseContext,
  spill: string,
  access: 'read' | 'write',
): Promise<DuckDBInstance> {
  if (path !== undefined) await checkFile(path, entry.where)
  try {
    const instance = await DuckDBInstance.create(path ?? ':memory:', {
      access_mode: path === undefined || access === 'write' ? 'READ_WRITE' : 'READ_ONLY',
      file_search_path: root,
      temp_directory: spill,
      autoinstall_known_extensions: 'false',
      allow_community_extensions: 'false',
      ...(memory === undefined ? {} : { memory_limit: `${Math.round(memory)}B` }),
      ...(threads === undefined ? {} : { threads: String(threads) }),
    })
    // The zone needs an extension that is built in but not loaded while an instance is made.
    await connected(instance, (db) => db.run(`SET GLOBAL TimeZone = 'UTC'; SET lock_configuration = true`))
    return instance
  } catch (error) {
    throw openError(error, path ?? ':memory:', entry.where)
  }
}

async function checkFile(path: string, where: string): Promise<void> {
  const found = await stat(path).catch(() => null)
  if (found?.isFile()) return
  throw new CdpError('CDP2200', found ? `${path} is no file` : `there is no file ${path}`, {
    where,
    hint: 'Correct `path` of the warehouse. Without `path` models read CSV, Parquet and JSON files of the project.',
  })
}

function openError(error: unknown, path: string, where: string): CdpError {
  const message = messageOf(error)
  if (/lock on file/.test(message)) {
    const holder = /held in (.*?\(PID \d+\))/.exec(message)?.[1]
    return new CdpError('CDP2201', `another process has ${path} open to write${holder ? `: ${holder}` : ''}`, {
      where,
      hint: 'DuckDB lets one process write or several read. Run again when it is done, or read a copy.',
      cause: error,
    })
  }
  if (/newer version|older version|storage version|version number/i.test(message)) {
    return new CdpError('CDP2203', `${path} is of another version of DuckDB: ${firstLine(message)}`, {
      where,
      hint: 'Write it with an older DuckDB, or ATTACH … (STORAGE_VERSION …) and COPY FROM DATABASE into it.',
      cause: error,
    })
  }
  return new CdpError('CDP2202', `${path} can't be opened as a DuckDB database: ${firstLine(message)}`, {
    where,
    hint: "Check that it is one. CSV, Parquet and JSON files need no `path`: name them in the model, FROM 'data/file.csv'.",
    cause: error,
  })
}

async function connected<T>(instance: DuckDBInstance, use: (db: DuckDBConnection) => Promise<T>): Promise<T> {
  const db = await instance.connect()
  try {
    return await use(db)
  } finally {
    db.closeSync()
  }
}

async function describe(db: DuckDBConnection, query: ModelQuery): Promise<Column[]> {
  return (await inspect(db, query)).columns
}

async function extract(
  db: DuckDBConnection,
  query: ModelQuery,
  wanted: readonly Column[],
  path: string,
  timezone: string | undefined,
  io: ExtractIO,
): Promise<Extract> {
  io.signal.throwIfAborted()
  const { columns, body } = await inspect(db, query)
  checkWanted(query, wanted, columns)
  const list = wanted.map((column, i) => `${rawSql(column, timezone)} AS c${i}`).join(', ')
  const selected = wrap(query, body, list)
  const before = `${runComment(query)}COPY (\n`
  const stop = (): void => db.interrupt()
  io.signal.addEventListener('abort', stop, { once: true })
  try {
    const result = await db.runAndReadAll(`${before}${selected.sql}\n) TO ${quoteText(path)} (FORMAT parquet, COMPRESSION lz4)`)
    const rows = Number(result.getRows()[0]?.[0])
    io.progress((await stat(path)).size)
    return { format: 'parquet', path, rows, columns: wanted, position: null }
  } catch (error) {
    io.signal.throwIfAborted()
    throw queryError(error, query, before + selected.before)
  } finally {
    io.signal.removeEventListener('abort', stop)
  }
}

/**
 * Proves that the model is one SELECT and its condition one expression; nothing of them has run yet. Texts are parsed
 * before any is prepared, for preparing has effects (EXPORT DATABASE makes its folder): what parses as one statement both
 * alone and in brackets behind FROM is a query.
 */
export async function inspect(db: DuckDBConnection, query: ModelQuery): Promise<{ columns: Column[]; body: string }> {
  // DuckDB has no message for a text without a statement.
  if (/^(\s|;|--[^\n]*(\n|$)|\/\*.*?\*\/)*$/s.test(query.sql)) throw noQuery(query, 'it is empty')
  const alone = await parse(db, query, query.sql, '')
  const body = statementBody(query.sql)
  const whole = wrap({ ...query, condition: null }, body)
  await parse(db, query, whole.sql, whole.before).catch((error: unknown) => {
    throw noQuery(query, messageOf(error), error)
  })
  // DuckDB numbers columns of one name in a subquery, so names come from the model alone.
  const columns = await prepare(alone, query, '')
  checkColumns(query, columns)
  if (query.condition !== null) {
    for (const sql of [bareCondition(body, query.condition), wrap(query, body).sql]) {
      await parse(db, query, sql, sql)
        .then((statements) => prepare(statements, query, sql))
        .catch((error: unknown) => {
          throw new CdpError('CDP2104', `the condition \`${query.condition}\` is no condition: ${messageOf(error)}`, {
            where: query.where,
            hint: 'Write one expression over the columns of the model, as it would stand after WHERE.',
            cause: error,
          })
        })
    }
  }
  return { columns, body }
}

function noQuery(query: ModelQuery, why: string, cause?: unknown): CdpError {
  return new CdpError('CDP2101', `the model is no query that returns rows: ${why}`, {
    where: query.where,
    hint: 'Write one SELECT (WITH, FROM and VALUES are fine); a model changes nothing.',
    cause,
  })
}

/** One statement, parsed and no more. */
async function parse(db: DuckDBConnection, query: ModelQuery, sql: string, before: string): Promise<DuckDBExtractedStatements> {
  const statements = await db.extractStatements(sql).catch((error: unknown) => {
    throw queryError(error, query, before)
  })
  if (statements.count === 1) return statements
  throw new CdpError('CDP2102', 'the model is more than one statement', { where: query.where, hint: 'Leave one SELECT.' })
}

/** The columns of a SELECT, which is not run. */
async function prepare(statements: DuckDBExtractedStatements, query: ModelQuery, before: string): Promise<Column[]> {
  const statement = await statements.prepare(0).catch((error: unknown) => {
    throw queryError(error, query, before)
  })
  try {
    if (statement.statementType !== StatementType.SELECT) throw noQuery(query, StatementType[statement.statementType])
    if (statement.parameterCount > 0) throw noQuery(query, 'it has parameters')
    return Array.from({ length: statement.columnCount }, (_, i) => {
      const type = statement.columnType(i)
      // JSON is a VARCHAR under another name.
      const native = type.alias ?? type.toString()
      return { name: statement.columnName(i), native, type: logicalType(native) }
    })
  } finally {
    statement.destroySync()
  }
}

/** An error of a statement, with the place DuckDB drew below `LINE n:`. `before` is what stood in front of the model. */
export function queryError(error: unknown, query: ModelQuery, before: string): CdpError {
  if (error instanceof CdpError) return error
  const message = messageOf(error).replace(/^Failed to extract statements: /, '')
  const [said = message] = message.split('\n\nLINE ')
  const drawn = /\n\nLINE (\d+): (.*)\n( *)\^/.exec(message)
  // A cast that fails quotes the value.
  const shown = /^(Conversion|Out of Range|Invalid Input|Constraint) Error/.test(said)
    ? said.replaceAll(/"[^"]*"|'[^']*'/g, '"(hidden)"')
    : said
  const extension = /Install it first|extension .* not found/i.test(said)
  return new CdpError('CDP2100', firstLine(shown), {
    ...(drawn ? placed(query, before, drawn) : { where: query.where }),
    hint: extension
      ? 'The model needs an extension; cdp-sync downloads none. Read local files, or load the data into the database.'
      : 'Correct the SQL of the model.',
    cause: error,
  })
}

function placed(
  query: ModelQuery,
  before: string,
  [, line = '', text = '', indent = '']: RegExpExecArray,
): { where: string; frame?: string } {
  const at = Number(line) - placeAt(before, length(before)).line + 1
  const column = indent.length - `LINE ${line}: `.length + 1
  const known = query.sql.split('\n')[at - 1]
  // A long line is drawn in part: then only the line is known.
  if (known === undefined || column < 1) return { where: query.where }
  return point(query, { line: at, column: known === text ? column : 1 })
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
const firstLine = (message: string): string => message.split('\n').slice(0, 2).join('; ').trim()
