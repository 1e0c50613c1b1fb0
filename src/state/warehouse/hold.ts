/**
 * A run's hold of a state in a database: a lease that one run has at a time, and every write conditional on its fence. What the
 * run needs of the state lies in a file of its own meanwhile; the file is worth nothing to anybody else.
 */
import { mkdir, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { WarehouseEntry } from '../../config/types.ts'
import { step } from '../../crash.ts'
import { AuthError } from '../../errors.ts'
import { lockSync } from '../../lock.ts'
import type { StatePaths } from '../../records.ts'
import { readHeader, readMeta } from '../header.ts'
import { journalSink } from '../journal-sink.ts'
import type { Hold, HoldRequest } from '../keeper.ts'
import { raceError, takeLease } from '../lease.ts'
import type { Lease, LeaseCell } from '../lease.ts'
import { bringState, jsonRows, noteOf, readNote, remember, storeChanges, table } from './carry.ts'
import type { StateNote, Versioned } from './carry.ts'
import { leaseCell } from './cell.ts'
import { storeRejections } from './files.ts'
import { narrower } from './narrow.ts'
import type { Narrow } from './narrow.ts'
import { openSql } from './sql.ts'
import type { Sql } from './sql.ts'
import { createSql, hasTables, SCOPE_COLUMNS, scopeValues, TABLE_NAMES, within } from './tables.ts'
import type { Scope, TableName } from './tables.ts'

/** One sync: its rows there, its files here, and the two databases. */
export interface SyncPlace {
  readonly scope: Scope
  readonly entry: WarehouseEntry
  /** The model is read from the database that keeps the state. */
  readonly same: boolean
  /** The database is one that syncs which run here use: others are not asked what they hold. */
  readonly within: boolean
  readonly paths: StatePaths
  readonly root: string
}

export const open = (place: SyncPlace, folder: string, run: string | null, readonly: boolean, signal: AbortSignal): Promise<Sql> =>
  openSql(place.entry, {
    root: place.root,
    sync: place.scope.sync,
    run,
    signal,
    schema: place.scope.schema,
    folder,
    readonly,
    progress: () => undefined,
  })

/** Makes what is missing of schema and tables; needs rights to do so only then. */
async function prepare(sql: Sql, scope: Scope): Promise<void> {
  if (await hasTables(sql, scope.schema)) return
  await untilThere(() => sql.createSchema(scope.schema))
  for (const statement of createSql(sql.dialect, scope.schema)) await untilThere(() => sql.run(statement))
}

/** First runs of several syncs make one table at one moment: even with IF NOT EXISTS PostgreSQL lets all but one of them fail, once. */
async function untilThere(make: () => Promise<unknown>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await make()
      return
    } catch (error) {
      if (error instanceof AuthError || tries === 5) throw error
      await wait(100 * tries)
    }
  }
}

/** Under which number a sync is held. */
type Held = Hold & { readonly fence: number }

export async function hold(place: SyncPlace, request: HoldRequest): Promise<Held> {
  const { scope, paths } = place
  // Two runs that share a folder would share the working file.
  const lock = await lockSync({ ...request, folder: dirname(paths.file), run: request.run ?? undefined })
  const closers: (() => Promise<void>)[] = [() => lock.release()]
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  try {
    await mkdir(paths.work, { recursive: true, mode: 0o700 })
    // Renewed beside statements that take long: over a connection of its own.
    const renewer = await open(place, paths.work, request.run, false, new AbortController().signal)
    closers.push(() => renewer.close())
    await prepare(renewer, scope)
    const cell = leaseCell(renewer, scope)
    const lease = await takeLease(cell, request)
    closers.push(() => lease.release())
    step('leased')
    const comparing = new AbortController()
    const sql = await open(place, paths.work, request.run, false, comparing.signal)
    closers.push(() => sql.close())
    return holding(place, guarded(sql, lease.alive), comparing, cell, lease, close)
  } catch (error) {
    await close()
    throw error
  }
}

/**
 * No statement begins after the lease is over. A run that stood still in the middle of a transaction may find that the server
 * has ended it meanwhile, and then each further statement would stand by itself.
 */
function guarded(sql: Sql, alive: () => void): Sql {
  return {
    ...sql,
    run(text) {
      alive()
      return sql.run(text)
    },
    load(...rows) {
      alive()
      return sql.load(...rows)
    },
  }
}

/** The end of a transaction: nothing of it stands where another run has taken the sync, and none can until it is over. */
export async function keepFence(sql: Sql, scope: Scope, fence: number, cell: LeaseCell): Promise<void> {
  const mine = `${within(sql.dialect, scope)} AND fence = ${fence}`
  if ((await sql.run(`UPDATE ${table(sql, scope, 'leases')} SET fence = fence WHERE ${mine}`)) !== 1)
    throw await raceError(cell, scope.sync)
}

function holding(place: SyncPlace, sql: Sql, comparing: AbortController, cell: LeaseCell, lease: Lease, close: () => Promise<void>): Held {
  const { scope, paths } = place
  const own = within(sql.dialect, scope)
  const leases = table(sql, scope, 'leases')
  let found: Versioned | null = null
  let run: string | null = null

  /** All of it or nothing, and nothing where another run has taken the sync. */
  const write = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    lease.alive()
    return sql.transaction(async () => {
      const result = await work()
      step('uncommitted-there')
      await keepFence(sql, scope, lease.fence, cell)
      return result
    })
  }
  const clear = async (...names: TableName[]): Promise<void> => {
    for (const name of names) await sql.run(`DELETE FROM ${table(sql, scope, name)} WHERE ${own}`)
  }
  const writeNote = async (note: StateNote, target: string | null): Promise<Versioned> => {
    const version = (found?.version ?? 0) + 1
    const [states, text] = [table(sql, scope, 'states'), sql.dialect.lit(JSON.stringify(note))]
    const written = found
      ? await sql.run(
          `UPDATE ${states} SET version = ${version}, target = ${sql.dialect.lit(target)}, note = ${text} WHERE ${own} AND version = ${found.version}`,
        )
      : await sql.run(
          `INSERT INTO ${states} (${SCOPE_COLUMNS}, version, target, note) VALUES (${scopeValues(sql.dialect, scope)}, ${version}, ${sql.dialect.lit(target)}, ${text})`,
        )
    if (written !== 1) throw await raceError(cell, scope.sync)
    return { version, note }
  }
  /** A part of the journal is there, or another run has the sync: one statement, for one costs half a second in some databases. */
  const storePart = async (number: number, part: string): Promise<void> => {
    const { dialect } = sql
    const held = `SELECT 1 FROM ${leases} WHERE ${own} AND fence = ${lease.fence}`
    const written = await sql.run(
      `INSERT INTO ${table(sql, scope, 'journal')} (${SCOPE_COLUMNS}, number, part) SELECT ${scopeValues(dialect, scope)}, ${number}, ${dialect.lit(part)} WHERE EXISTS (${held})`,
    )
    if (written !== 1) throw await raceError(cell, scope.sync)
  }
  const counts = (): Pick<StateNote, 'rows' | 'owned' | 'changes'> => {
    const { rows = 0, owned = 0, changes = 0 } = found?.note ?? {}
    return { rows, owned, changes }
  }

  return {
    fence: lease.fence,
    alive: lease.alive,
    cost: () => sql.cost,
    async fetch(extent) {
      found = await readNote(sql, scope)
      await bringState(sql, scope, found, paths.file, paths.work, extent === 'whole')
      return {
        file: paths.file,
        narrow: narrowing(place, sql, comparing, () => found),
        close: () => Promise.resolve(),
      }
    },
    async outboxWritten({ db }, header) {
      found = await write(async () => {
        await clear('outbox', 'journal')
        await sql.load(table(sql, scope, 'outbox'), [SCOPE_COLUMNS, 'number', 'change'], db, jsonRows(scope, 'state.outbox', 'n::VARCHAR'))
        return writeNote(await noteOf(db, header.run, counts()), await readMeta(db, 'target'))
      })
      run = header.run
      step('sending-noted')
    },
    journal: () => (run === null ? null : journalSink(storePart, lease.alive)),
    async store({ db }, last) {
      const header = await readHeader(db)
      found = await write(async () => {
        const version = (found?.version ?? 0) + 1
        const after = await storeChanges(sql, scope, db, found?.note ?? null, version)
        // A vendor's job that is still open keeps its outbox.
        if (header === null) await clear('outbox', 'journal')
        if (last) await storeRejections(sql, scope, paths.rejected)
        return writeNote(await noteOf(db, header?.run ?? null, after), await readMeta(db, 'target'))
      })
      step('stored')
      if (!last) await remember(db)
    },
    async forget() {
      await write(() => clear(...TABLE_NAMES.filter((name) => name !== 'leases')))
      for (const path of [paths.file, `${paths.file}.wal`]) await rm(path, { force: true })
    },
    async release() {
      for (const path of [paths.file, `${paths.file}.wal`]) await rm(path, { force: true })
      await close()
    },
  }
}

/** Compares in the database. An interrupt ends it in the middle of a statement, for nothing is written then; what is written is written whole. */
export function narrowing(place: SyncPlace, sql: Sql, comparing: AbortController, state: () => Versioned | null): Narrow {
  // The zone of timestamps without one, as the entry says.
  const narrow = narrower(sql, place.scope, state, place.same, place.entry.settings.timezone)
  return async (request) => {
    const stop = (): void => comparing.abort(request.signal.reason)
    request.signal.addEventListener('abort', stop, { once: true })
    try {
      request.signal.throwIfAborted()
      return await narrow(request)
    } finally {
      request.signal.removeEventListener('abort', stop)
    }
  }
}
