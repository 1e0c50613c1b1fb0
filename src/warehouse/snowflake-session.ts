/** A session with Snowflake: logging in, statements one at a time, and letting go. */
import type { Readable } from 'node:stream'
import type { Connection, RowStatement, StatementOption } from 'snowflake-sdk'
import type { SnowflakeSettings, WarehouseEntry } from '../config/types.ts'
import { CdpError } from '../errors.ts'
import type { ModelQuery } from './warehouse.ts'
import { connectError, queryError, type Server } from './snowflake-errors.ts'
import { connectionOptions, driver, serverOf } from './snowflake-login.ts'
import { snowflakeText, type ServerColumn } from './snowflake-types.ts'

const CONNECT_TIMEOUT = 30_000
/** How long a goodbye, or a cancel, may take before we go without. */
const PARTING = 5000
/**
 * Snowflake's own retention of a lock that a lost client left is 5 minutes of idleness once somebody waits for it, so we wait
 * a little longer. https://docs.snowflake.com/en/sql-reference/transactions#aborting-transactions
 */
const LOCK_TIMEOUT_SECONDS = 360

/** For messages about a statement: the model it reads, and the text in front of the model in what was sent. */
export interface Origin {
  readonly query: ModelQuery
  readonly before: string
}

/** Throws CdpError. Nothing may be asked while a stream is open, or another statement runs. */
export interface SnowflakeSession {
  readonly server: Server
  /** Names that the server gave the session; null for none. */
  readonly place: { readonly warehouse: string | null; readonly database: string | null; readonly schema: string | null }
  /** The columns of a statement that is compiled and not run. */
  describe(sql: string, origin?: Origin): Promise<ServerColumn[]>
  /** All rows, by column name in lower case: numbers, booleans, texts. For a few rows, and integers below 2^53. */
  rows(sql: string): Promise<Record<string, unknown>[]>
  /** Runs one statement; the number of rows it wrote. `binds` are texts for its question marks. */
  run(sql: string, binds?: readonly string[], origin?: Origin): Promise<number>
  /** Rows as arrays of texts, as fast as they are taken; `count` is the server's number of them. Columns are texts, integers or booleans. */
  stream(sql: string, origin?: Origin): Promise<{ rows: Readable; count: number }>
  close(): Promise<void>
}

export interface SessionContext {
  /** Stands beside every statement in the query history: sync and run. */
  readonly tag: string
  readonly signal: AbortSignal
}

/** Logs in and pins whatever decides how values are read and written. */
export async function connectSnowflake(entry: WarehouseEntry, { tag, signal }: SessionContext): Promise<SnowflakeSession> {
  signal.throwIfAborted()
  const settings = entry.settings as SnowflakeSettings
  const sdk = await driver(entry)
  const server = serverOf(settings)
  let connection: Connection
  try {
    connection = sdk.createConnection(connectionOptions(settings, entry, tag))
  } catch (error) {
    throw connectError(error, server)
  }
  try {
    await logIn(connection, settings.connect_timeout ?? CONNECT_TIMEOUT, server, signal)
  } catch (error) {
    // Not waited for: it would answer when the login does.
    connection.destroy(() => {})
    signal.throwIfAborted()
    throw connectError(error, server)
  }
  try {
    const session = wrap(connection, server, signal)
    const place = await session.begin(pinned(settings, tag))
    checkPlace(settings, place, entry, server)
    return { ...session, place }
  } catch (error) {
    await goodbye(connection)
    signal.throwIfAborted()
    throw connectError(error, server)
  }
}

/** https://docs.snowflake.com/en/sql-reference/parameters */
function pinned({ statement_timeout }: SnowflakeSettings, tag: string): string {
  const values: Record<string, string | number | boolean> = {
    QUERY_TAG: tag,
    TIMEZONE: 'UTC',
    // In JSON these decide how times are written.
    DATE_OUTPUT_FORMAT: 'YYYY-MM-DD',
    TIME_OUTPUT_FORMAT: 'HH24:MI:SS.FF9',
    TIMESTAMP_NTZ_OUTPUT_FORMAT: 'YYYY-MM-DD"T"HH24:MI:SS.FF9',
    TIMESTAMP_LTZ_OUTPUT_FORMAT: 'YYYY-MM-DD"T"HH24:MI:SS.FF9TZH:TZM',
    TIMESTAMP_TZ_OUTPUT_FORMAT: 'YYYY-MM-DD"T"HH24:MI:SS.FF9TZH:TZM',
    BINARY_OUTPUT_FORMAT: 'HEX',
    // Without it a NULL in an array is `undefined`, and an infinity a bare word: no JSON.
    STRICT_JSON_OUTPUT: true,
    // Otherwise these two come as texts or bytes, and are not told from them.
    GEOGRAPHY_OUTPUT_FORMAT: 'GeoJSON',
    GEOMETRY_OUTPUT_FORMAT: 'GeoJSON',
    QUOTED_IDENTIFIERS_IGNORE_CASE: false,
    // An administrator's limit would cut results without a word, and rows that are cut off look as if they had left.
    ROWS_PER_RESULTSET: 0,
    // In MB, the least there is: the driver holds some pieces at once.
    CLIENT_RESULT_CHUNK_SIZE: 48,
    MULTI_STATEMENT_COUNT: 1,
    AUTOCOMMIT: true,
    // What a runner that died was computing costs nothing more.
    ABORT_DETACHED_QUERY: true,
    LOCK_TIMEOUT: LOCK_TIMEOUT_SECONDS,
  }
  if (statement_timeout !== undefined) values['STATEMENT_TIMEOUT_IN_SECONDS'] = Math.max(1, Math.round(statement_timeout / 1000))
  const list = Object.entries(values).map(([name, value]) => `${name} = ${typeof value === 'string' ? snowflakeText(value) : value}`)
  return `ALTER SESSION SET ${list.join(', ')}`
}

/** The login takes names that do not exist, and goes on without them. */
function checkPlace(settings: SnowflakeSettings, place: SnowflakeSession['place'], entry: WarehouseEntry, server: Server): void {
  for (const kind of ['warehouse', 'database', 'schema'] as const) {
    if (settings[kind] === undefined || place[kind] !== null) continue
    throw new CdpError('CDP2303', `there is no ${kind} ${settings[kind]} that ${server.role ?? server.user} may use`, {
      where: entry.where,
      hint: `Correct \`${kind}\` of the warehouse, or: GRANT USAGE ON ${kind.toUpperCase()} … TO ROLE ….`,
    })
  }
}

function logIn(connection: Connection, timeout: number, server: Server, signal: AbortSignal): Promise<void> {
  const late = AbortSignal.timeout(timeout)
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      const hint = 'Check host and proxy of the warehouse, or raise connect_timeout.'
      const error = new CdpError('CDP2301', `Snowflake at ${server.address} is not reachable: no login within ${timeout / 1000} s`, {
        hint,
      })
      reject(signal.aborted ? (signal.reason as Error) : error)
    }
    AbortSignal.any([signal, late]).addEventListener('abort', stop, { once: true })
    connection.connect((error) => (error ? reject(error) : resolve()))
  })
}

/** Ends the session; the server rolls back what is open in it. Without an answer it ends there by itself. */
const goodbye = (connection: Connection): Promise<void> => briefly((done) => connection.destroy(done))

/** Waits for a goodbye or a cancel, but not for long: it may be the network that is down. */
function briefly(work: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, PARTING)
    work(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}

interface Answer {
  readonly statement: RowStatement
  readonly rows: unknown[]
}

type Wrapped = Omit<SnowflakeSession, 'place'> & { begin(sql: string): Promise<SnowflakeSession['place']> }

function wrap(connection: Connection, server: Server, signal: AbortSignal): Wrapped {
  let running: RowStatement | null = null

  const cancel = (): Promise<void> => {
    const statement = running
    return statement === null ? Promise.resolve() : briefly((done) => statement.cancel(done))
  }

  /** Aborting cancels at the server before it is an error here. */
  const ask = async (given: StatementOption, origin?: Origin): Promise<Answer> => {
    signal.throwIfAborted()
    return new Promise<Answer>((resolve, reject) => {
      const abort = (): void => void cancel().then(() => reject(signal.reason as Error))
      signal.addEventListener('abort', abort, { once: true })
      const complete: StatementOption['complete'] = (error, statement, rows) => {
        running = null
        signal.removeEventListener('abort', abort)
        if (!error) resolve({ statement, rows: rows ?? [] })
        else if (!signal.aborted) reject(queryError(error, origin?.query ?? null, server, origin?.before ?? ''))
      }
      running = connection.execute({ ...given, complete })
    })
  }

  return {
    server,
    close: () => goodbye(connection),
    async begin(sqlText) {
      const { statement } = await ask({ sqlText })
      const state = statement.getSessionState() as { [name: string]: (() => string | null | undefined) | undefined } | undefined
      const name = (getter: string): string | null => state?.[getter]?.() || null
      return { warehouse: name('getCurrentWarehouse'), database: name('getCurrentDatabase'), schema: name('getCurrentSchema') }
    },
    async describe(sqlText, origin) {
      const { statement } = await ask({ sqlText, describeOnly: true, streamResult: true }, origin)
      return (statement.getColumns() ?? []).map((column) => ({
        name: column.getName(),
        type: column.getType().toLowerCase(),
        precision: column.getPrecision(),
        scale: column.getScale(),
      }))
    },
    async rows(sqlText) {
      const rows = (await ask({ sqlText, rowMode: 'object' })).rows as Record<string, unknown>[]
      return rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name.toLowerCase(), plain(value)])))
    },
    async run(sqlText, binds = [], origin) {
      const { statement } = await ask(binds.length === 0 ? { sqlText } : { sqlText, binds }, origin)
      return Math.max(0, statement.getNumUpdatedRows() ?? 0)
    },
    async stream(sqlText, origin) {
      const { statement } = await ask({ sqlText, streamResult: true, fetchAsString: ['Number', 'Boolean'] }, origin)
      return { rows: statement.streamRows(), count: statement.getNumRows() }
    },
  }
}

/** Integers come as objects of the driver's own. */
const plain = (value: unknown): unknown => (typeof value === 'object' && value !== null ? Number(value) : value)
