/** States in a database, for runs on any machine: tables in one schema of which `Hold` (hold.ts) is the only writer. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StateEntry, WarehouseEntry } from '../../config/types.ts'
import { isActive } from '../../config/select.ts'
import { CdpError } from '../../errors.ts'
import { statePaths } from '../../records.ts'
import { unfinishedError } from '../carry.ts'
import type { Fetched, Keeper, Place } from '../keeper.ts'
import { leaseHolder, waitForLease } from '../lease.ts'
import { bringState, readNote, table } from './carry.ts'
import { leaseCell } from './cell.ts'
import { bringRecords, storeRecord } from './files.ts'
import { hold, keepFence, narrowing, open } from './hold.ts'
import type { SyncPlace } from './hold.ts'
import { isMissing } from './errors.ts'
import type { Sql } from './sql.ts'
import { TABLE_NAMES, within } from './tables.ts'
import type { Scope } from './tables.ts'

type Entry = Extract<StateEntry, { type: 'warehouse' }>

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
    return { file, narrow: narrowing(place, sql, comparing, () => found ?? null), close: () => sql.close() }
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
