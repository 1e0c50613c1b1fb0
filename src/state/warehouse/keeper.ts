/**
 * States in a database, for runs on any machine: tables in one schema, a lease that one run holds, and every write conditional
 * on its fence. What a run needs of a state lies in a file of its own while it runs; the file is worth nothing to anybody else.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { StateEntry, WarehouseEntry } from '../../config/types.ts'
import { isActive } from '../../config/select.ts'
import { step } from '../../crash.ts'
import { AuthError, CdpError } from '../../errors.ts'
import { lockSync } from '../../lock.ts'
import { statePaths } from '../../records.ts'
import type { StatePaths } from '../../records.ts'
import { unfinishedError } from '../carry.ts'
import { readHeader, readMeta } from '../header.ts'
import { journalSink } from '../journal-sink.ts'
import type { Fetched, Hold, HoldRequest, Keeper, Place } from '../keeper.ts'
import { leaseHolder, raceError, takeLease, waitForLease } from '../lease.ts'
import type { Lease, LeaseCell } from '../lease.ts'
import { bringState, jsonRows, noteOf, readNote, remember, storeChanges, table } from './carry.ts'
import type { StateNote, Versioned } from './carry.ts'
import { leaseCell } from './cell.ts'
import { bringRecords, storeRecord, storeRejections } from './files.ts'
import { narrower } from './narrow.ts'
import type { Narrow } from './narrow.ts'
import { openSql } from './sql.ts'
import type { Sql } from './sql.ts'
import { createSql, SCOPE_COLUMNS, scopeValues, TABLE_NAMES, within } from './tables.ts'
import type { Scope, TableName } from './tables.ts'

type Entry = Extract<StateEntry, { type: 'warehouse' }>

/** One sync: its rows there, its files here, and the two databases. */
interface SyncPlace {
  readonly scope: Scope
  readonly entry: WarehouseEntry
  /** The model is read from the database that keeps the state. */
  readonly same: boolean
  /** The database is one that syncs which run here use: others are not asked what they hold. */
  readonly within: boolean
  readonly paths: StatePaths
  readonly root: string
}

export function warehouseKeeper(project: Place, entry: Entry): Keeper {
  const named = entry.warehouse === null ? null : project.warehouses[entry.warehouse]
  // Without a name: of the syncs that run here. What others are read from may be set in other environments alone.
  const keeping = named ? [named] : [...new Set(project.syncs.filter((it) => isActive(it, project)).map(({ warehouse }) => warehouse))]
  const placeIn = (where: WarehouseEntry, name: string): SyncPlace => ({
    scope: { project: project.name ?? '', environment: project.environment ?? '', sync: name, schema: entry.schema },
    entry: where,
    same: project.syncs.find((sync) => sync.name === name)?.warehouse.name === where.name,
    within: keeping.includes(where),
    paths: statePaths(project, { name }),
    root: project.root,
  })
  const place = async (name: string): Promise<SyncPlace> => {
    const own = named ?? project.syncs.find((sync) => sync.name === name)?.warehouse
    if (own) return placeIn(own, name)
    // A sync that is no more: its state lies wherever it was read from.
    const places = keeping.map((where) => placeIn(where, name))
    for (const it of places.slice(1)) if (await exists(it)) return it
    if (places[0]) return places[0]
    throw new CdpError('CDP4042', `No sync runs here, so no warehouse keeps the state of ${name}.`, {
      hint: 'Without `warehouse:` in the entry `state:` each sync keeps its state in its own. Enable a sync, or choose an environment that has some.',
    })
  }
  return {
    hold: async (request) => hold(await place(request.name), request),
    waitFree: async (request) =>
      reading(await place(request.name), (sql, scope) => waitForLease(leaseCell(sql, scope), request), undefined, request.signal),
    holder: async (name) => reading(await place(name), (sql, scope) => leaseHolder(leaseCell(sql, scope)), null),
    look: async (name, folder, extent) => look(await place(name), folder, extent === 'whole'),
    exists: async (name) => exists(await place(name)),
    async list() {
      const names: string[] = []
      for (const where of keeping) names.push(...(await reading(placeIn(where, 'list'), listNames, [])))
      return [...new Set(names)].sort()
    },
    target: async (name) => reading(await place(name), readTarget, null),
    move: async (from, to) => move(await place(from), await place(to)),
    records: async (name) => {
      const it = await place(name)
      await reading(it, (sql, scope) => bringRecords(sql, scope, it.paths), undefined)
      return it.paths
    },
    recorded: async (name, run) => {
      const it = await place(name)
      const sql = await open(it, tmpdir(), run, false, new AbortController().signal)
      try {
        await storeRecord(sql, it.scope, it.paths, run)
      } finally {
        await sql.close()
      }
    },
  }
}

const exists = (place: SyncPlace): Promise<boolean> => reading(place, async (sql, scope) => (await readNote(sql, scope)) !== null, false)

const open = (place: SyncPlace, folder: string, run: string | null, readonly: boolean, signal: AbortSignal): Promise<Sql> =>
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

/** A connection for a few reads; `otherwise` where nobody made the tables yet, or none of the syncs that run here would. */
async function reading<Result>(
  place: SyncPlace,
  work: (sql: Sql, scope: Scope) => Promise<Result>,
  otherwise: Result,
  signal = new AbortController().signal,
): Promise<Result> {
  if (!place.within) return otherwise
  const sql = await open(place, tmpdir(), null, true, signal)
  try {
    return await work(sql, place.scope)
  } catch (error) {
    if (isMissing(error)) return otherwise
    throw error
  } finally {
    await sql.close()
  }
}

/** The schema or its tables do not exist. */
const isMissing = (error: unknown): boolean => error instanceof CdpError && error.code === 'CDP4042'

/** Makes what is missing of schema and tables; needs rights to do so only then. */
async function prepare(sql: Sql, scope: Scope): Promise<void> {
  try {
    await sql.run(TABLE_NAMES.map((name) => `SELECT 1 AS n FROM ${table(sql, scope, name)} WHERE 1 = 0`).join(' UNION ALL '))
    return
  } catch (error) {
    if (!isMissing(error)) throw error
  }
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

async function hold(place: SyncPlace, request: HoldRequest): Promise<Held> {
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
async function keepFence(sql: Sql, scope: Scope, fence: number, cell: LeaseCell): Promise<void> {
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
        narrow: interruptible(
          narrower(sql, scope, () => found, place.same, timezoneOf(place.entry)),
          comparing,
        ),
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

/** The zone of timestamps without one, as the entry says. */
const timezoneOf = ({ settings }: WarehouseEntry): string | undefined => settings.timezone

/** An interrupt ends a comparison in the middle of a statement, for nothing is written then; what is written is written whole. */
const interruptible =
  (narrow: Narrow, comparing: AbortController): Narrow =>
  async (request) => {
    const stop = (): void => comparing.abort(request.signal.reason)
    request.signal.addEventListener('abort', stop, { once: true })
    try {
      request.signal.throwIfAborted()
      return await narrow(request)
    } finally {
      request.signal.removeEventListener('abort', stop)
    }
  }

/** A state to read: nothing of it is locked. */
async function look(place: SyncPlace, folder: string, whole: boolean): Promise<Fetched> {
  const { scope } = place
  const file = join(folder, `${scope.sync}.duckdb`)
  const comparing = new AbortController()
  const sql = await open(place, folder, null, true, comparing.signal)
  try {
    const found = await readNote(sql, scope).catch((error: unknown) => {
      if (isMissing(error)) return undefined
      throw error
    })
    if (found) await bringState(sql, scope, found, file, folder, whole)
    const narrow = interruptible(
      narrower(sql, scope, () => found ?? null, place.same, timezoneOf(place.entry)),
      comparing,
    )
    return { file, narrow, close: () => sql.close() }
  } catch (error) {
    await sql.close()
    throw error
  }
}

async function listNames(sql: Sql, scope: Scope): Promise<string[]> {
  const { dialect } = sql
  const rows = await sql.rows<{ sync: string }>(
    `SELECT sync FROM ${table(sql, scope, 'states')} WHERE project = ${dialect.lit(scope.project)} AND environment = ${dialect.lit(scope.environment)}`,
  )
  return rows.map(({ sync }) => sync)
}

async function readTarget(sql: Sql, scope: Scope): Promise<string | null> {
  const [row] = await sql.rows<{ target: string | null }>(
    `SELECT target FROM ${table(sql, scope, 'states')} WHERE ${within(sql.dialect, scope)}`,
  )
  return row?.target ?? null
}

/** Under both leases, in one transaction where both lie in one database. */
async function move(from: SyncPlace, to: SyncPlace): Promise<void> {
  const request = { timeout: 0, now: Date.now, signal: new AbortController().signal, run: null }
  const left = await hold(from, { ...request, name: from.scope.sync })
  const holds = [left]
  try {
    const taken = await hold(to, { ...request, name: to.scope.sync })
    holds.push(taken)
    if (from.entry.name !== to.entry.name)
      throw new CdpError('CDP4034', `${from.scope.sync} and ${to.scope.sync} keep their states in two databases.`, {
        hint: `Move it by way of this machine: \`cdp-sync state pull ${from.scope.sync}\`, rename, \`cdp-sync state push ${to.scope.sync}\`.`,
      })
    const folder = await mkdtemp(join(tmpdir(), 'cdp-sync-'))
    const sql = await open(to, folder, null, false, request.signal)
    try {
      const found = await readNote(sql, from.scope)
      if (found === null || found.note.run !== null) throw unfinishedError(from.scope.sync)
      await sql.transaction(async () => {
        for (const name of TABLE_NAMES.filter((it) => it !== 'leases')) {
          const it = table(sql, to.scope, name)
          await sql.run(`DELETE FROM ${it} WHERE ${within(sql.dialect, to.scope)}`)
          await sql.run(`UPDATE ${it} SET sync = ${sql.dialect.lit(to.scope.sync)} WHERE ${within(sql.dialect, from.scope)}`)
        }
        for (const [held, it] of [
          [left, from],
          [taken, to],
        ] as const) {
          held.alive()
          await keepFence(sql, it.scope, held.fence, leaseCell(sql, it.scope))
        }
      })
    } finally {
      await sql.close()
      await rm(folder, { recursive: true, force: true })
    }
  } finally {
    for (const held of holds.reverse()) await held.release()
  }
}
