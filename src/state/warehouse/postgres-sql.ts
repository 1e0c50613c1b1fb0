/** States in PostgreSQL: statements over one connection, rows by COPY in both directions. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'
import { Client, DatabaseError, TypeOverrides, types } from 'pg'
import type { PostgresSettings, WarehouseEntry } from '../../config/types.ts'
import { AuthError, CdpError } from '../../errors.ts'
import { cancel, clientConfig, inspect, pinned, rawSql, readPosition } from '../../warehouse/postgres.ts'
import { connectError, queryError, sqlState } from '../../warehouse/postgres-errors.ts'
import { connectionOf, copyFromFile, copyToFile } from '../../warehouse/postgres-wire.ts'
import { wrap } from '../../warehouse/model.ts'
import type { ModelQuery } from '../../warehouse/warehouse.ts'
import { lit } from '../db.ts'
import { postgres } from './postgres.ts'
import { noSchema, stateError } from './errors.ts'
import { textColumns } from './sql.ts'
import type { Sql, SqlContext } from './sql.ts'

/** Counts and numbers of changes stay far below 2^53. */
const TYPES = new TypeOverrides()
TYPES.setTypeParser(types.builtins.INT8, Number)

/** How long a statement waits for rows that another session has: that of a run that stands still in the middle of a write. */
const LOCK_TIMEOUT = 60_000
/** The server ends a transaction that it hears nothing of: that machine is gone, or stands still with rows that others need. */
const IDLE_TIMEOUT = 600_000
/**
 * For one transaction: the session may be another's behind PgBouncer. The role's own time limit would cut what must be stored
 * in one piece, run after run. Without keepalives a server waits two hours for a machine that vanished while it sent rows.
 * https://www.postgresql.org/docs/current/runtime-config-client.html, …/runtime-config-connection.html
 */
const limits = (settings: PostgresSettings): string => `
SET LOCAL lock_timeout = ${LOCK_TIMEOUT};
SET LOCAL idle_in_transaction_session_timeout = ${IDLE_TIMEOUT};
SET LOCAL statement_timeout = ${Math.round(settings.statement_timeout ?? 0)};
SET LOCAL tcp_keepalives_idle = 30; SET LOCAL tcp_keepalives_interval = 10; SET LOCAL tcp_keepalives_count = 3`

export async function openPostgresSql(entry: WarehouseEntry, context: SqlContext): Promise<Sql> {
  const settings = entry.settings as PostgresSettings
  const config = { ...clientConfig(settings, entry), types: TYPES }
  const client = new Client(config)
  const server = { address: `${client.host}:${client.port}`, user: client.user ?? '', database: client.database ?? '' }
  const address = `PostgreSQL at ${server.address}/${server.database}`
  // Without a listener a lost connection ends the process; whoever waits for a reply is told anyway.
  client.on('error', () => {})
  const cost = { statements: 0, seconds: 0, rows: 0, bytes: 0 }
  const comment = `/* cdp-sync sync=${context.sync} run=${context.run ?? 'none'} */ `
  await connect(client, address).catch(async (error: unknown) => {
    await client.end().catch(() => undefined)
    throw connectError(error, server)
  })
  /** Who works on our transaction. Null outside of a comparison: behind PgBouncer it is another's by then. */
  let backend: number | null = null
  const drop = (): void => void connectionOf(client).stream.destroy()
  const abort = (): void => void (backend === null ? Promise.resolve() : cancel(config, backend)).then(drop, drop)
  /** The model that is being read: an error while it runs is one of its SQL. */
  let model: ModelQuery | null = null
  let inside = false

  const asked = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    cost.statements++
    const from = performance.now()
    try {
      return await work()
    } catch (error) {
      context.signal.throwIfAborted()
      if (error instanceof CdpError) throw error
      if (model !== null) throw queryError(error, model, server, '')
      if (error instanceof DatabaseError) throw stateError(address, error.message, sqlState(error), error)
      throw stateError(address, `the connection was lost: ${error instanceof Error ? error.message : String(error)}`, undefined, error)
    } finally {
      cost.seconds += (performance.now() - from) / 1000
    }
  }
  const query = (sql: string) => asked(() => client.query<Record<string, unknown>>(comment + sql))
  const rollback = (): Promise<unknown> => client.query('ROLLBACK').catch(() => undefined)

  const sql: Sql = {
    dialect: postgres,
    address,
    cost,
    async rows<Row extends object>(text: string) {
      const { rows } = await query(text)
      cost.rows += rows.length
      return rows as Row[]
    },
    async run(text) {
      if (inside) return (await query(text)).rowCount ?? 0
      // Several statements in one message are one transaction.
      const results: unknown = await query(`${limits(settings)};\n${text}`)
      return (results as { rowCount: number | null }[]).at(-1)?.rowCount ?? 0
    },
    async createSchema(schema) {
      const [found] = await sql.rows('SELECT 1 AS found FROM pg_namespace WHERE nspname = ' + postgres.lit(schema))
      if (found) return
      await query(`CREATE SCHEMA ${postgres.ident(schema)}`).catch((error: unknown) => {
        throw error instanceof AuthError ? noSchema(address, schema, error) : error
      })
    },
    insertNew: (table, columns, values) => sql.run(`INSERT INTO ${table} (${columns}) VALUES (${values}) ON CONFLICT DO NOTHING`),
    async transaction(work) {
      await query(`BEGIN; ${limits(settings)}`)
      inside = true
      try {
        const result = await work()
        await query('COMMIT')
        return result
      } catch (error) {
        await rollback()
        throw error
      } finally {
        inside = false
      }
    },
    async fetch(text, width, path) {
      if (!inside) return sql.transaction(() => sql.fetch(text, width, path))
      await rm(path, { force: true })
      // The reader drops blank lines, and the line of a lone NULL is blank.
      const list = width === 1 ? `SELECT *, NULL FROM (${text}) one` : text
      let counted = 0
      const spooled = await asked(() =>
        copyToFile(client, `${comment}COPY (\n${list}\n) TO STDOUT (FORMAT csv, ENCODING 'UTF8')`, path, (bytes) => {
          cost.bytes += bytes - counted
          counted = bytes
          context.progress(bytes)
        }),
      )
      cost.rows += spooled.rows
      return { format: 'csv', path, columns: textColumns(width), position: null, ...spooled }
    },
    async load(table, columns, db, from) {
      const path = join(context.folder, `load-${randomUUID()}.csv`)
      try {
        // NULL is an empty field, an empty text is quoted: both sides agree on that.
        await db.run(`COPY (${from}) TO ${lit(path)} (FORMAT csv, HEADER false, FORCE_QUOTE *, NULLSTR '')`)
        const loaded = await asked(() =>
          copyFromFile(client, `${comment}COPY ${table} (${columns.join(', ')}) FROM STDIN (FORMAT csv, ENCODING 'UTF8')`, path),
        )
        // Temporary tables have no schema before their names, and no statistics: a join of the whole model with one that has
        // some thousand rows would sort the model. https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-STATISTICS
        if (loaded > 100 && !table.includes('.')) await query(`ANALYZE ${table}`)
        return loaded
      } finally {
        await rm(path, { force: true })
      }
    },
    async workspace(temporary, read, work) {
      // Some roles only read unless they say otherwise: temporary tables are no more than that, but can't be made then.
      await query(`BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE; ${pinned(settings)}`)
      inside = true
      try {
        const { rows } = await query('SELECT pg_backend_pid() AS pid')
        backend = Number(rows[0]?.['pid'])
        for (const [name, columns] of Object.entries(temporary))
          await query(`CREATE TEMPORARY TABLE ${name} (${columns.join(', ')}) ON COMMIT DROP`)
        // Temporary tables may still be filled, and nothing else may be written: a model least of all.
        await query('SET TRANSACTION READ ONLY')
        const position = read && (await readPosition(client))
        const relation = read && wrap(read, (await asked(() => inspect(client, read, server))).body).sql
        model = read
        const result = await work({
          model: relation === null ? '' : `(${relation})`,
          position,
          raw: (column) => rawSql(column, settings.timezone),
          temporary: (name) => name,
        })
        backend = null
        await query('COMMIT')
        return result
      } catch (error) {
        backend = null
        await rollback()
        throw error
      } finally {
        model = null
        inside = false
      }
    },
    async close() {
      context.signal.removeEventListener('abort', abort)
      await client.end().catch(drop)
    },
  }
  context.signal.addEventListener('abort', abort, { once: true })
  return sql
}

/** Connects. Throws CDP4045 where texts of all alphabets have no place. */
async function connect(client: Client, address: string): Promise<void> {
  await client.connect()
  const { rows } = await client.query<{ encoding: string }>(`SELECT current_setting('server_encoding') AS encoding`)
  const { encoding = '' } = rows[0] ?? {}
  if (encoding === 'UTF8') return
  throw new CdpError('CDP4045', `${address} keeps texts as ${encoding}, and a state needs UTF8.`, {
    hint: 'Name a database made with ENCODING UTF8 in `state: { type: warehouse, warehouse: … }`; models may still be read here.',
  })
}
