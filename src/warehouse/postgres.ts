/**
 * PostgreSQL: a model's rows by COPY, out of one read-only transaction that pins how values are written.
 *
 * COPY is no sandbox: `select 1) to program 'x' --` runs a command even in a read-only transaction. So a model is parsed
 * alone by the extended protocol first, which takes one whole statement and nothing else; only then it is wrapped.
 * All settings are SET LOCAL and no statement is named, so PgBouncer in transaction mode may stand between.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Client, type ClientConfig, type FieldDef } from 'pg'
import type { PostgresSettings, WarehouseEntry } from '../config/types.ts'
import { CdpError } from '../errors.ts'
import type { Column, LogicalType } from '../types.ts'
import { bareCondition, checkColumns, checkWanted, quoteName, quoteText, runComment, statementBody, wrap } from './model.ts'
import { connectError, queryError, type Server } from './postgres-errors.ts'
import { connectionOf, copyToFile, describeStatement } from './postgres-wire.ts'
import type { Extract, ExtractIO, ModelQuery, Warehouse } from './warehouse.ts'

/** How often an extract starts again when a replica cancels it in favour of its recovery. */
const RESTAGES = 3
/** How long a lock may keep a model waiting: a table that is being rewritten, in milliseconds. */
const LOCK_TIMEOUT = 60_000
const CONNECT_TIMEOUT = 10_000

export function openPostgres(entry: WarehouseEntry): Warehouse {
  const settings = entry.settings as PostgresSettings
  const config = clientConfig(settings, entry)
  return {
    describe: (query) =>
      connected(config, null, async (client, server) => {
        await begin(client, settings, server)
        return (await inspect(client, query, server)).columns
      }),
    extract: async (query, columns, folder, io) => {
      for (let restages = 0; ; restages++) {
        try {
          return await extract(config, settings, query, columns, join(folder, 'extract.csv'), io)
        } catch (error) {
          if (!(error instanceof CdpError && error.code === 'CDP2009' && restages < RESTAGES)) throw error
        }
      }
    },
    check: () => connected(config, null, async (client, server) => void (await begin(client, settings, server))),
    close: () => Promise.resolve(),
  }
}

async function extract(
  config: ClientConfig,
  settings: PostgresSettings,
  query: ModelQuery,
  wanted: readonly Column[],
  path: string,
  io: ExtractIO,
): Promise<Extract> {
  await rm(path, { force: true })
  return connected(config, io.signal, async (client, server, onAbort) => {
    const pid = await begin(client, settings, server)
    onAbort(() => cancel(config, pid))
    const position = await readPosition(client)
    const { columns, body } = await inspect(client, query, server)
    checkWanted(query, wanted, columns)
    const list = wanted.map((column) => rawSql(column, settings.timezone))
    // The reader drops blank lines, and the line of a lone NULL is blank.
    if (list.length === 1) list.push('NULL')
    const copied = wrap(query, body, list.join(', '))
    const before = `${runComment(query)}COPY (\n`
    const sql = `${before}${copied.sql}\n) TO STDOUT (FORMAT csv, ENCODING 'UTF8')`
    try {
      const spooled = await copyToFile(client, sql, path, (bytes) => io.progress(bytes))
      await client.query('COMMIT')
      return { format: 'csv', path, columns: wanted, position, ...spooled }
    } catch (error) {
      throw queryError(error, query, server, before + copied.before)
    }
  })
}

/** Opens a connection, hands it out, and ends it; drops it where it may still be at work. */
async function connected<T>(
  config: ClientConfig,
  signal: AbortSignal | null,
  use: (client: Client, server: Server, onAbort: (stop: () => Promise<void>) => void) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted()
  const client = new Client(config)
  const server = { address: `${client.host}:${client.port}`, user: client.user ?? '', database: client.database ?? '' }
  // Without a listener a lost connection ends the process; whoever waits for a reply is told anyway.
  client.on('error', () => {})
  const drop = (): void => void connectionOf(client).stream.destroy()
  let stop: (() => Promise<void>) | null = null
  let stopped: Promise<void> | undefined
  const abort = (): void => void (stopped = (stop?.() ?? Promise.resolve()).then(drop, drop))
  signal?.addEventListener('abort', abort, { once: true })
  try {
    await client.connect().catch((error: unknown) => {
      throw connectError(error, server)
    })
    const result = await use(client, server, (handler) => (stop = handler))
    signal?.throwIfAborted()
    await client.end()
    return result
  } catch (error) {
    await stopped
    drop()
    signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

/** Stops what a backend does, over a second connection: PgBouncer passes that on, and TLS protects it. */
export async function cancel(config: ClientConfig, pid: number): Promise<void> {
  const client = new Client({ ...config, connectionTimeoutMillis: 5000, query_timeout: 5000 })
  client.on('error', () => {})
  await client.connect()
  await client.query('SELECT pg_cancel_backend($1)', [pid])
  await client.end()
}

/** Begins the transaction; the backend's number. Whatever decides how values are written is pinned; search_path is the user's. */
async function begin(client: Client, settings: PostgresSettings, server: Server): Promise<number> {
  const sql = `
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
${pinned(settings)};
SELECT pg_backend_pid() AS pid`
  const results: unknown = await client.query(sql).catch((error: unknown) => {
    throw connectError(error, server)
  })
  const last = (results as { rows: { pid: number }[] }[]).at(-1)?.rows[0]
  if (last === undefined) throw new Error('BEGIN returned no row')
  return last.pid
}

/** Statements, for this transaction alone, that decide how values are written. */
export const pinned = (settings: PostgresSettings): string => `
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO';
SET LOCAL intervalstyle = 'iso_8601';
SET LOCAL bytea_output = 'hex';
SET LOCAL extra_float_digits = 3;
SET LOCAL standard_conforming_strings = on;
SET LOCAL lock_timeout = ${LOCK_TIMEOUT};
SET LOCAL statement_timeout = ${Math.round(settings.statement_timeout ?? 0)}`

/** How far the server's log was when this transaction's snapshot was taken; null where the role may not know. */
export async function readPosition(client: Client): Promise<string | null> {
  await client.query('SAVEPOINT position')
  try {
    const { rows } = await client.query<{ lsn: string | null }>(
      'SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text AS lsn',
    )
    return rows[0]?.lsn ?? null
  } catch {
    await client.query('ROLLBACK TO SAVEPOINT position')
    return null
  }
}

/** Proves that the model is one query and its condition one expression; nothing of them has run yet. */
export async function inspect(client: Client, query: ModelQuery, server: Server): Promise<{ columns: Column[]; body: string }> {
  const parse = (sql: string, before: string): Promise<readonly FieldDef[] | null> =>
    describeStatement(client, sql).catch((error: unknown) => {
      throw queryError(error, query, server, before)
    })
  const body = statementBody(query.sql)
  const fields = await parse(query.sql, '')
  const noQuery = (cause?: unknown): CdpError =>
    new CdpError('CDP2101', 'the model is no query that returns rows', {
      where: query.where,
      hint: 'Write one SELECT (WITH, VALUES and TABLE are fine); a model changes nothing.',
      cause,
    })
  if (fields === null) throw noQuery()
  if (body !== query.sql) await parse(body, '')
  const whole = wrap({ ...query, condition: null }, body)
  await describeStatement(client, whole.sql).catch((error: unknown) => {
    throw noQuery(error)
  })
  const columns = await describeColumns(client, fields).catch((error: unknown) => {
    throw queryError(error, query, server, '')
  })
  checkColumns(query, columns)
  if (query.condition !== null) {
    for (const sql of [bareCondition(body, query.condition), wrap(query, body).sql]) {
      await describeStatement(client, sql).catch((error: unknown) => {
        const { message } = queryError(error, query, server, sql)
        throw new CdpError('CDP2104', `the condition \`${query.condition}\` is no condition: ${message}`, {
          where: query.where,
          hint: 'Write one expression over the columns of the model, as it would stand after WHERE.',
          cause: error,
        })
      })
    }
  }
  return { columns, body }
}

/** https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat */
const TYPES: Readonly<Record<number, LogicalType>> = {
  16: 'boolean',
  17: 'bytes',
  20: 'integer',
  21: 'integer',
  23: 'integer',
  26: 'integer',
  114: 'json',
  700: 'float',
  701: 'float',
  1082: 'date',
  1083: 'time',
  1114: 'timestamp',
  1184: 'timestamptz',
  1266: 'time',
  1700: 'decimal',
  2249: 'json',
  3802: 'json',
}

/** The server has resolved domains already. Arrays and composites are JSON; what is not listed is text. */
async function describeColumns(client: Client, fields: readonly FieldDef[]): Promise<Column[]> {
  const { rows } = await client.query<{ native: string; nested: boolean }>(
    `SELECT format_type(f.oid, f.modifier) AS native, coalesce(t.typcategory = 'A' OR t.typtype = 'c', false) AS nested
     FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY AS f(oid, modifier, n) LEFT JOIN pg_type t ON t.oid = f.oid ORDER BY n`,
    [fields.map((field) => field.dataTypeID), fields.map((field) => field.dataTypeModifier)],
  )
  return fields.map(({ name, dataTypeID }, i) => {
    const { native = '?', nested = false } = rows[i] ?? {}
    return { name, native, type: nested ? 'json' : (TYPES[dataTypeID] ?? 'string') }
  })
}

/** The raw text of a column (src/values.ts) under the settings of `begin`. */
export function rawSql({ name, type, native }: Column, timezone: string | undefined): string {
  const column = quoteName(name)
  if (type === 'json' && native !== 'json' && native !== 'jsonb') return `to_json(${column})`
  if (type === 'timestamp' && timezone !== undefined) return `(${column} AT TIME ZONE ${quoteText(timezone)})`
  // The cast cuts the padding.
  if (native.startsWith('character(')) return `${column}::text`
  return column
}

export function clientConfig(settings: PostgresSettings, entry: WarehouseEntry): ClientConfig {
  const config: ClientConfig = {
    application_name: 'cdp-sync',
    keepAlive: true,
    connectionTimeoutMillis: settings.connect_timeout ?? CONNECT_TIMEOUT,
    host: settings.host,
    port: settings.port,
    database: settings.database,
    user: settings.user,
    password: settings.password,
  }
  const { ssl } = settings
  if (ssl !== undefined) {
    config.ssl = typeof ssl === 'boolean' ? ssl : { ca: ssl.ca, cert: ssl.cert, key: ssl.key, rejectUnauthorized: ssl.verify !== false }
  }
  if (settings.url === undefined) return config
  try {
    const url = new URL(settings.url)
    const inUrl = ['ssl', 'sslmode', 'sslcert', 'sslkey', 'sslrootcert']
    if (ssl !== undefined) for (const name of inUrl) url.searchParams.delete(name)
    // The driver reads `require` as `verify-full`; what a provider's URL means is what psql does.
    if (url.searchParams.has('sslmode')) url.searchParams.set('uselibpqcompat', 'true')
    config.connectionString = url.href
    // Reads the URL and the files it names.
    void new Client(config)
    return config
  } catch (error) {
    throw new CdpError('CDP2001', "the `url` of the warehouse can't be used", {
      where: entry.where,
      hint: 'Write postgres://user:password@host:5432/database, special characters percent-encoded; files it names must exist.',
      cause: error,
    })
  }
}
