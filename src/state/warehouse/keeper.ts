/**
 * States in a database, for runs on any machine: tables in one schema, a lease that one run holds, and every write conditional
 * on its fence. What a run needs of a state lies in a file of its own while it runs; the file is worth nothing to anybody else.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { StateEntry, WarehouseEntry } from '../../config/types.ts'
import { isActive } from '../../config/select.ts'
import { step } from '../../crash.ts'
import { CdpError } from '../../errors.ts'
import { lockSync } from '../../lock.ts'
import { KEEP_RUNS, statePaths } from '../../records.ts'
import type { StatePaths } from '../../records.ts'
import { readIfThere, unfinishedError } from '../carry.ts'
import type { Note } from '../bucket.ts'
import { lit } from '../db.ts'
import type { Db } from '../db.ts'
import { readHeader, readMeta } from '../header.ts'
import { journalSink } from '../journal-sink.ts'
import type { Fetched, Hold, HoldRequest, Keeper, Place } from '../keeper.ts'
import { leaseHolder, raceError, takeLease, waitForLease } from '../lease.ts'
import type { Lease, LeaseCell, LeaseNote } from '../lease.ts'
import { bringState, jsonRows, localScope, noteOf, readNote, remember, storeChanges, table } from './carry.ts'
import type { StateNote, Versioned } from './carry.ts'
import { narrower } from './narrow.ts'
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
    records: async (name) => bringRecords(await place(name)),
    recorded: async (name, run) => storeRecord(await place(name), run),
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
  const probe = (): Promise<unknown> =>
    sql.run(TABLE_NAMES.map((name) => `SELECT 1 AS n FROM ${table(sql, scope, name)} WHERE 1 = 0`).join(' UNION ALL '))
  for (let tries = 1; ; tries++) {
    try {
      await probe()
      return
    } catch (error) {
      if (!isMissing(error) || tries > 2) throw error
    }
    try {
      await sql.createSchema(scope.schema)
      for (const statement of createSql(sql.dialect, scope.schema)) await sql.run(statement)
    } catch (error) {
      // Another runner made them at the same moment.
      if (tries > 1) throw error
    }
  }
}

function leaseCell(sql: Sql, scope: Scope): LeaseCell {
  const { dialect } = sql
  const leases = table(sql, scope, 'leases')
  const own = within(dialect, scope)
  const read = async (): Promise<Note<LeaseNote> | null> => {
    const [row] = await sql.rows<{ version: number; written: number; note: string; now: number }>(
      `SELECT version, written, note, ${dialect.now} AS now FROM ${leases} WHERE ${own}`,
    )
    return row ? { value: JSON.parse(row.note) as LeaseNote, etag: String(row.version), writtenAt: row.written, readAt: row.now } : null
  }
  return {
    where: `${sql.address}, ${leases}`,
    read,
    async replace(note, version) {
      const text = dialect.lit(JSON.stringify(note))
      const written =
        version === null
          ? await sql.insertNew(
              leases,
              `${SCOPE_COLUMNS}, fence, version, written, note`,
              `${scopeValues(dialect, scope)}, ${note.fence}, 1, ${dialect.now}, ${text}`,
              own,
            )
          : await sql.run(
              `UPDATE ${leases} SET fence = ${note.fence}, version = version + 1, written = ${dialect.now}, note = ${text} WHERE ${own} AND version = ${version}`,
            )
      return written === 1 ? String(Number(version ?? 0) + 1) : null
    },
    async prove() {
      // Where nothing keeps a second row out, two first runs at one moment would both have the sync.
      const [found] = await sql.rows<{ n: number }>(`SELECT count(*) AS n FROM ${leases} WHERE ${own}`)
      if (found?.n === 1) return
      await sql.run(`DELETE FROM ${leases} WHERE ${own}`)
      throw new CdpError('CDP4032', `Two runs took ${scope.sync} for the first time at one moment.`, { hint: 'Run again.' })
    },
  }
}

async function hold(place: SyncPlace, request: HoldRequest): Promise<Hold> {
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
    const sql = await open(place, paths.work, request.run, false, new AbortController().signal)
    closers.push(() => sql.close())
    return holding(place, sql, cell, lease, close)
  } catch (error) {
    await close()
    throw error
  }
}

function holding(place: SyncPlace, sql: Sql, cell: LeaseCell, lease: Lease, close: () => Promise<void>): Hold {
  const { scope, paths } = place
  const own = within(sql.dialect, scope)
  const leases = table(sql, scope, 'leases')
  let found: Versioned | null = null
  let run: string | null = null

  /** All of it or nothing, and nothing where another run has taken the sync: its fence is looked at last, and held till the end. */
  const write = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    lease.alive()
    return sql.transaction(async () => {
      const result = await work()
      step('uncommitted-there')
      if ((await sql.run(`UPDATE ${leases} SET fence = fence WHERE ${own} AND fence = ${lease.fence}`)) !== 1)
        throw await raceError(cell, scope.sync)
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
  const counts = (): Pick<StateNote, 'rows' | 'owned' | 'changes'> => {
    const { rows = 0, owned = 0, changes = 0 } = found?.note ?? {}
    return { rows, owned, changes }
  }

  return {
    alive: lease.alive,
    cost: () => sql.cost,
    async fetch(extent) {
      found = await readNote(sql, scope)
      await bringState(sql, scope, found, paths.file, paths.work, extent === 'whole')
      return {
        file: paths.file,
        narrow: narrower(sql, scope, () => found, place.same, timezoneOf(place.entry)),
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
    journal: () => (run === null ? null : journalSink((number, part) => storePart(sql, scope, cell, lease, number, part), lease.alive)),
    async store({ db }, last) {
      const header = await readHeader(db)
      found = await write(async () => {
        const version = (found?.version ?? 0) + 1
        const after = await storeChanges(sql, scope, db, found?.note ?? null, version)
        // A vendor's job that is still open keeps its outbox.
        if (header === null) await clear('outbox', 'journal')
        if (last) await storeRejections(sql, scope, db, paths.rejected)
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

/** A part of the journal is there, or another run has the sync. */
async function storePart(sql: Sql, scope: Scope, cell: LeaseCell, lease: Lease, number: number, part: string): Promise<void> {
  const { dialect } = sql
  const held = `SELECT 1 FROM ${table(sql, scope, 'leases')} WHERE ${within(dialect, scope)} AND fence = ${lease.fence}`
  const written = await sql.run(
    `INSERT INTO ${table(sql, scope, 'journal')} (${SCOPE_COLUMNS}, number, part) SELECT ${scopeValues(dialect, scope)}, ${number}, ${dialect.lit(part)} WHERE EXISTS (${held})`,
  )
  if (written !== 1) throw await raceError(cell, scope.sync)
}

/** Rows that did not arrive, as lines that `rejected` reads. */
async function storeRejections(sql: Sql, scope: Scope, db: Db, file: string): Promise<void> {
  await sql.run(`DELETE FROM ${table(sql, scope, 'rejections')} WHERE ${within(sql.dialect, scope)}`)
  const lines = ((await readIfThere(file)) ?? '').split('\n').filter((line) => line !== '')
  if (lines.length === 0) return
  await db.run('CREATE OR REPLACE TEMP TABLE lines (number BIGINT, line VARCHAR)')
  for (let i = 0; i < lines.length; i += 500)
    await db.run(
      `INSERT INTO lines VALUES ${lines
        .slice(i, i + 500)
        .map((line, n) => `(${i + n}, ${lit(line)})`)
        .join(', ')}`,
    )
  await sql.load(
    table(sql, scope, 'rejections'),
    [SCOPE_COLUMNS, 'number', 'rejection'],
    db,
    `SELECT ${localScope(scope)}, number::VARCHAR, line FROM lines`,
  )
}

/** A state to read: nothing of it is locked. */
async function look(place: SyncPlace, folder: string, whole: boolean): Promise<Fetched> {
  const { scope } = place
  const file = join(folder, `${scope.sync}.duckdb`)
  const sql = await open(place, folder, null, true, new AbortController().signal)
  try {
    const found = await readNote(sql, scope).catch((error: unknown) => {
      if (isMissing(error)) return undefined
      throw error
    })
    if (found) await bringState(sql, scope, found, file, folder, whole)
    const narrow = narrower(sql, scope, () => found ?? null, place.same, timezoneOf(place.entry))
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

async function storeRecord(place: SyncPlace, run: string): Promise<void> {
  const { scope, paths } = place
  const record = await readFile(join(paths.runs, `${run}.json`), 'utf8')
  const attempts = await readIfThere(join(paths.attempts, `${run}.ndjson`))
  const sql = await open(place, tmpdir(), run, false, new AbortController().signal)
  try {
    const { dialect } = sql
    const [runs, own] = [table(sql, scope, 'runs'), within(dialect, scope)]
    await sql.run(`DELETE FROM ${runs} WHERE ${own} AND run = ${dialect.lit(run)}`)
    await sql.run(
      `INSERT INTO ${runs} (${SCOPE_COLUMNS}, run, record, attempts) VALUES (${scopeValues(dialect, scope)}, ${dialect.lit(run)}, ${dialect.lit(record)}, ${dialect.lit(attempts)})`,
    )
    // Ids of runs begin with their time.
    const [oldest] = await sql.rows<{ run: string }>(
      `SELECT run FROM ${runs} WHERE ${own} ORDER BY run DESC LIMIT 1 OFFSET ${KEEP_RUNS - 1}`,
    )
    if (oldest) await sql.run(`DELETE FROM ${runs} WHERE ${own} AND run < ${dialect.lit(oldest.run)}`)
  } finally {
    await sql.close()
  }
}

/** The files of a sync as the database has them. */
async function bringRecords(place: SyncPlace): Promise<StatePaths> {
  const { paths } = place
  await reading(
    place,
    async (sql, scope) => {
      const own = within(sql.dialect, scope)
      for (const folder of [paths.runs, paths.attempts]) await mkdir(folder, { recursive: true, mode: 0o700 })
      const known = new Set(await readdir(paths.runs))
      const names = await sql.rows<{ run: string }>(`SELECT run FROM ${table(sql, scope, 'runs')} WHERE ${own}`)
      const missing = names.filter(({ run }) => /^[\w.-]+$/.test(run) && !known.has(`${run}.json`))
      if (missing.length > 0) {
        const rows = await sql.rows<{ run: string; record: string; attempts: string | null }>(
          `SELECT run, record, attempts FROM ${table(sql, scope, 'runs')} WHERE ${own} AND run IN (${missing.map(({ run }) => sql.dialect.lit(run)).join(', ')})`,
        )
        for (const { run, record, attempts } of rows) {
          if (attempts !== null) await writeFile(join(paths.attempts, `${run}.ndjson`), attempts, { mode: 0o600 })
          await writeFile(join(paths.runs, `${run}.json`), record, { mode: 0o600 })
        }
      }
      const lines = await sql.rows<{ rejection: string }>(
        `SELECT rejection FROM ${table(sql, scope, 'rejections')} WHERE ${own} ORDER BY number`,
      )
      await rm(paths.rejected, { force: true })
      if (lines.length > 0) await writeFile(paths.rejected, lines.map(({ rejection }) => `${rejection}\n`).join(''), { mode: 0o600 })
    },
    undefined,
  )
  return paths
}

/** Under both leases, in one transaction where both lie in one database. */
async function move(from: SyncPlace, to: SyncPlace): Promise<void> {
  const request = { timeout: 0, now: Date.now, signal: new AbortController().signal, run: null }
  const holds = [await hold(from, { ...request, name: from.scope.sync })]
  try {
    holds.push(await hold(to, { ...request, name: to.scope.sync }))
    if (from.entry.name !== to.entry.name)
      throw new CdpError('CDP4034', `${from.scope.sync} and ${to.scope.sync} keep their states in two databases.`, {
        hint: `Move it by way of this machine: \`cdp-sync state pull ${from.scope.sync}\`, rename, \`cdp-sync state push ${to.scope.sync}\`.`,
      })
    const folder = await mkdtemp(join(tmpdir(), 'cdp-sync-'))
    const sql = await open(to, folder, null, false, request.signal)
    try {
      const found = await readNote(sql, from.scope)
      if (found === null || found.note.run !== null) throw unfinishedError(from.scope.sync)
      for (const held of holds) held.alive()
      await sql.transaction(async () => {
        for (const name of TABLE_NAMES.filter((it) => it !== 'leases')) {
          const it = table(sql, to.scope, name)
          await sql.run(`DELETE FROM ${it} WHERE ${within(sql.dialect, to.scope)}`)
          await sql.run(`UPDATE ${it} SET sync = ${sql.dialect.lit(to.scope.sync)} WHERE ${within(sql.dialect, from.scope)}`)
        }
        for (const held of holds) held.alive()
      })
    } finally {
      await sql.close()
      await rm(folder, { recursive: true, force: true })
    }
  } finally {
    for (const held of holds.reverse()) await held.release()
  }
}
