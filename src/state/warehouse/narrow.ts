/**
 * Compares a model with a snapshot that lies in a database, there: only rows that may differ, whatever shares a key or an address
 * with them, and their snapshot rows come here, where src/state/diff.ts works on them as if they were all. What stays there
 * is exactly as it was delivered: it is counted.
 */
import { join } from 'node:path'
import type { Column } from '../../types.ts'
import { extractSql } from '../../warehouse/extract.ts'
import type { Extract, ModelQuery } from '../../warehouse/warehouse.ts'
import { CdpError } from '../../errors.ts'
import { lit } from '../db.ts'
import type { Db } from '../db.ts'
import type { Addressing, HashSql, Staged } from '../stage.ts'
import { damagedError, readNote, readSnapshot, replaceSnapshot } from './carry.ts'
import type { Versioned } from './carry.ts'
import { keyKind, pickedRows, pickedStored, pickRecords, pickTables, pickThere, sendPicks, startPicks } from './picks.ts'
import { ADDRESS, expressions, probe, relationSql } from './probe.ts'
import type { Expressions, Totals } from './probe.ts'
import type { Sql, Workspace } from './sql.ts'
import { SNAPSHOT } from './tables.ts'
import type { Scope } from './tables.ts'

export interface NarrowRequest {
  /** The state file, open to write; its snapshot is replaced. */
  readonly db: Db
  readonly query: ModelQuery
  /** What an extract must bring, in order. */
  readonly columns: readonly Column[]
  readonly addressing: Addressing
  /** The column of each match field; null: its text must be computed. */
  readonly match: readonly (Column | null)[]
  /** Columns that the hash is over, today's and those of the stored hashes (null: there are none to compare with). */
  readonly hashed: readonly string[]
  readonly stored: readonly string[] | null
  /** Rows are only ever added: what is known is not compared. */
  readonly adding: boolean
  /** Rows that left are removed, where they are owned. */
  readonly removes: boolean
  /** Milliseconds: what was confirmed before is due again. */
  readonly dueBefore: number | null
  /** Every row must be looked at: a mapping was edited, say. */
  readonly all: boolean
  /** Further keys that somebody asks about. */
  readonly keys: readonly string[]
  readonly folder: string
  /** Ends the comparison in the middle of a statement. */
  readonly signal: AbortSignal
  /** Reads the model here. */
  readonly extract: () => Promise<Extract>
  readonly stage: (extract: Extract, hash: HashSql, holdsNul?: boolean) => Promise<Staged>
}

/** What stayed in the database. */
export interface Elsewhere {
  /** Addresses (members, where each match field is an address) that are as delivered. */
  readonly wanted: number
  readonly owned: number
  /** Rows of the model, and those without a key or a match. */
  readonly rows: number
  readonly nullKeys: number
  readonly nullMatches: number
}

export const NOTHING: Elsewhere = { wanted: 0, owned: 0, rows: 0, nullKeys: 0, nullMatches: 0 }

export interface Narrowed {
  readonly extract: Extract
  /** Of the rows that are here. */
  readonly staged: Staged
  readonly elsewhere: Elsewhere
}

export type Narrow = (request: NarrowRequest) => Promise<Narrowed>

/** DuckDB's own hash, as far as a signed number of 64 bits holds it. */
const localHash: HashSql = (columns, raw) => `(hash(${columns.map(raw).join(', ')}) & 9223372036854775807::UBIGINT)`

/**
 * `same`: the model is read in the database that keeps the state. `state` gives the state as this run knows it.
 */
export function narrower(sql: Sql, scope: Scope, state: () => Versioned | null, same: boolean, timezone: string | undefined): Narrow {
  return async (request) => {
    const found = state()
    const there = same ? expressions(sql, request, timezone) : null
    const total = found?.note.rows ?? 0
    if (there === null) {
      const extract = await request.extract()
      const staged = await request.stage(extract, localHash, sql.dialect.holdsNul)
      const elsewhere =
        request.all || total === 0 ? await bringAll(sql, scope, request, found) : await compareStaged(sql, scope, request, found)
      await checkUnchanged(sql, scope, found)
      return { extract, staged, elsewhere }
    }
    return compareThere(sql, scope, request, found, there).catch((error: unknown) => {
      if (request.all || !isTooMuch(error)) throw error
      return compareThere(sql, scope, { ...request, all: true }, found, there)
    })
  }
}

/** More differs than the database can say in one value: then all of it is brought. */
const isTooMuch = (error: unknown): boolean =>
  error instanceof CdpError && /invalid memory alloc request size|array size exceeds the maximum/.test(error.message)

function compareThere(sql: Sql, scope: Scope, request: NarrowRequest, found: Versioned | null, there: Expressions): Promise<Narrowed> {
  const total = found?.note.rows ?? 0
  return sql.workspace(pickTables(sql), request.query, async (workspace) => {
    const relation = relationSql(workspace.model, request.columns.map(workspace.raw), there)
    const picked = request.all || total === 0 ? null : await pickThere(sql, scope, request, workspace, there, relation, total)
    if (picked && picked.stored < total) await refuseDamaged(sql, scope, found, picked.stored)
    const named = modelColumns(request)
    const rows = picked
      ? await bringPicked(sql, scope, request, workspace, relation, there, total)
      : await sql.fetch(`SELECT ${named.join(', ')} FROM ${relation} model`, named.length, join(request.folder, 'model'))
    if (picked === null) await bringAll(sql, scope, request, found)
    const width = request.columns.length
    const hash = { type: 'integer' as const, native: 'bigint' }
    const columns = [...request.columns, { name: '\0hash', ...hash }, { name: '\0old_hash', ...hash }]
    const extract = { ...rows, position: workspace.position, columns }
    const staged = await request.stage(extract, (_columns, _raw, which) => `c${which === 'today' ? width : width + 1}::UBIGINT`)
    const elsewhere = picked === null ? NOTHING : await countElsewhere(request, found, picked)
    await checkUnchanged(sql, scope, found)
    return { extract, staged, elsewhere }
  })
}

/** A look holds nothing: a run may have ended between its first statement and its last. */
async function checkUnchanged(sql: Sql, scope: Scope, found: Versioned | null): Promise<void> {
  if (found === null || (await readNote(sql, scope))?.version === found.version) return
  throw new CdpError('CDP4044', `The state of ${scope.sync} changed while it was looked at.`, {
    where: scope.sync,
    hint: 'A run ended meanwhile: look again.',
  })
}

/** Addresses are missing that were delivered: their rows would be sent again, and never be removed. */
async function refuseDamaged(sql: Sql, scope: Scope, found: Versioned | null, seen: number): Promise<never> {
  await checkUnchanged(sql, scope, found)
  throw damagedError(sql, scope, found?.note.rows ?? 0, seen)
}

/** SQL: what of a row of the model comes here, as c0, c1, …: its columns, and both hashes behind them. */
const modelColumns = ({ columns }: NarrowRequest): string[] =>
  [...columns.map((_, i) => `c${i}`), 'cdp_hash', 'cdp_old_hash'].map((it, i) => `${it} AS c${i}`)

/**
 * What was picked, each row of the model beside that of the snapshot at its address: half as many rows leave the database as
 * if they came apart, which is done here. Gives the model's; puts the snapshot's into the file.
 */
async function bringPicked(
  sql: Sql,
  scope: Scope,
  request: NarrowRequest,
  workspace: Workspace,
  relation: string,
  there: Expressions,
  total: number,
): Promise<Extract> {
  const { db, addressing, folder } = request
  const named = modelColumns(request)
  const [width, all] = [named.length, named.length + SNAPSHOT.length]
  const { joins, where } = pickedRows(workspace, there.addresses.length, addressing.byKey)
  // In order, so that PostgreSQL computes hashes of the rows that are left, and not of the model before it is joined.
  const model = `(SELECT ${named.join(', ')}, ${ADDRESS(0)} AS cdp_at FROM (SELECT r.* FROM ${relation} r ${joins} WHERE ${where}) model ORDER BY cdp_hash)`
  const stored = pickedStored(sql, scope, workspace, addressing.byKey)
  const list = [...named.map((_, i) => `m.c${i}`), ...SNAPSHOT.map((it) => `s.${it}`)]
  const { n } = await db.one<{ n: number }>('SELECT count(*) AS n FROM picked')
  const select = `SELECT ${list.join(', ')} FROM ${model} m FULL OUTER JOIN (${stored}) s ON s.address = m.cdp_at`
  const brought = n === 0 ? null : await sql.fetch(select, all, join(folder, 'picked'))
  const part = async (name: string, from: number, to: number, condition: string): Promise<Extract> => {
    const texts = Array.from({ length: to - from }, (_, i) => `c${from + i}::VARCHAR AS c${i}`)
    const path = join(folder, `${name}.parquet`)
    const source = brought
      ? `${extractSql(brought)} WHERE ${condition}`
      : `(SELECT ${list.map((_, i) => `NULL AS c${i}`).join(', ')}) WHERE FALSE`
    await db.run(`COPY (SELECT ${texts.join(', ')} FROM ${source}) TO ${lit(path)} (FORMAT parquet)`)
    const { rows } = await db.one<{ rows: number }>(`SELECT count(*) AS rows FROM read_parquet(${lit(path)})`)
    const columns = texts.map((_, i) => ({ name: `c${i}`, type: 'string' as const, native: 'text' }))
    return { format: 'parquet', path, rows, columns, position: null }
  }
  // A hash is never NULL. Rows of the model that share an address have one of the snapshot beside each.
  const once = `c${width} IS NOT NULL QUALIFY row_number() OVER (PARTITION BY c${width}) = 1`
  await replaceSnapshot(db, await part('snapshot', width, all, once), total)
  return part('model', 0, width, `c${width - 2} IS NOT NULL`)
}

async function bringAll(sql: Sql, scope: Scope, { db, folder }: NarrowRequest, found: Versioned | null): Promise<Elsewhere> {
  const total = found?.note.rows ?? 0
  const extract = total === 0 ? null : await sql.fetch(readSnapshot(sql, scope), SNAPSHOT.length, join(folder, 'snapshot'))
  if (extract && extract.rows !== total) await refuseDamaged(sql, scope, found, extract.rows)
  await replaceSnapshot(db, extract, total)
  return NOTHING
}

async function countElsewhere(
  { db, query, addressing, adding, removes }: NarrowRequest,
  found: Versioned | null,
  totals: Totals,
): Promise<Elsewhere> {
  const address = addressing.any ? 'unnest(address)' : 'address'
  await db.run(`
CREATE OR REPLACE TEMP TABLE here AS SELECT DISTINCT address FROM (SELECT ${address} AS address FROM rows) WHERE address IS NOT NULL;
CREATE OR REPLACE TEMP TABLE same_here AS
SELECT s.address, s.key, s.gone, s.owned, h.address IS NOT NULL AS wanted FROM state.snapshot s LEFT JOIN here h ON h.address = s.address
WHERE s.address NOT IN (SELECT s_address FROM probe WHERE s_address IS NOT NULL)`)
  const it = await db.one<{
    rows: number
    keys: number
    matches: number
    same: number
    lost: number
    missing: number
    differing: number
    owned: number
    members: number
  }>(`
SELECT (SELECT count(*) FROM rows) AS rows, (SELECT count(*) FROM rows WHERE key IS NULL) AS keys,
  (SELECT count(*) FROM rows WHERE key IS NOT NULL AND ${addressing.any ? 'len(address) = 0' : 'address IS NULL'}) AS matches,
  (SELECT count(*) FROM same_here WHERE wanted) AS same,
  (SELECT count(*) FROM same_here WHERE NOT wanted AND ${adding ? 'FALSE' : `NOT (gone${removes ? ' AND NOT owned' : ''})`}) AS lost,
  (SELECT count(*) FROM probe WHERE m_address IS NOT NULL AND m_address NOT IN (FROM here)) AS missing,
  (SELECT count(DISTINCT s_address) FROM probe) AS differing, (SELECT count(*) FROM state.snapshot WHERE owned) AS owned,
  ${addressing.any ? '(SELECT count(DISTINCT key) FROM same_here WHERE wanted)' : '0'} AS members`)
  // A row that seems to have left only because it was not there at the second look would be removed.
  if (it.lost > 0 || it.missing > 0)
    throw new CdpError('CDP4043', `The model of ${query.sync} gave other rows when it was read a second time.`, {
      where: query.where,
      hint: 'A model must give the same rows at one moment: no random(), no LIMIT without ORDER BY. Nothing was sent.',
    })
  const { rows = 0, owned = 0 } = found?.note ?? {}
  return {
    wanted: addressing.any ? totals.members - it.members : rows - totals.ignored - it.differing - it.same,
    owned: owned - it.owned,
    rows: totals.rows - it.rows,
    nullKeys: totals.nullKeys - it.keys,
    nullMatches: addressing.byKey ? 0 : totals.nullMatches - it.matches,
  }
}

/** A member is sent with each of its identifiers, also those that others brought before: what is known of them is replaced. */
const pickWholeMembers = (db: Db): Promise<void> =>
  db.run(`
INSERT INTO picks
WITH each AS (SELECT key, unnest(address) AS address FROM stage), known AS (SELECT value AS address FROM picks WHERE kind = 'address')
SELECT DISTINCT 'address', address FROM each
WHERE key IN (SELECT key FROM each SEMI JOIN known USING (address)) AND address NOT IN (FROM known)`)

/** The model was read and staged here: only what it wants travels to the database, and what may differ comes back. */
async function compareStaged(sql: Sql, scope: Scope, request: NarrowRequest, found: Versioned | null): Promise<Elsewhere> {
  const { db, addressing } = request
  const total = found?.note.rows ?? 0
  const { text, integer } = sql.dialect.types
  const tables = { ...pickTables(sql), cdp_wanted: [`key ${text}`, `address ${text}`, `hash ${integer}`] }
  await sql.workspace(tables, null, async (workspace) => {
    const wanted = workspace.temporary('cdp_wanted')
    await sql.load(wanted, ['key', 'address', 'hash'], db, 'SELECT key, address, hash::VARCHAR FROM wanted')
    const { stored: seen } = await probe(sql, scope, request, wanted)
    if (seen < total) await refuseDamaged(sql, scope, found, seen)
    await startPicks(request)
    const kind = lit(keyKind(request))
    const nul = sql.dialect.holdsNul ? '' : ' AND NOT contains(key, chr(0))'
    await db.run(
      `INSERT INTO picks SELECT DISTINCT ${kind}, key FROM doubtful WHERE key IS NOT NULL${nul} AND (${kind}, key) NOT IN (SELECT kind, value FROM picks)`,
    )
    if (addressing.any) await pickWholeMembers(db)
    await pickRecords(sql, scope, request, workspace)
    await sendPicks(sql, request, workspace)
    const stored = pickedStored(sql, scope, workspace, addressing.byKey)
    const { n } = await db.one<{ n: number }>('SELECT count(*) AS n FROM picked')
    await replaceSnapshot(db, n === 0 ? null : await sql.fetch(stored, SNAPSHOT.length, join(request.folder, 'snapshot')), total)
  })
  const count = addressing.any ? 'count(DISTINCT key)' : 'count(*)'
  const before = await db.one<{ n: number }>(`SELECT ${count} AS n FROM wanted`)
  // What `wanted` is a view of: rows that turn out to share an address leave it there.
  const rows = addressing.membership || addressing.any ? 'members' : 'stage'
  await db.run(`
CREATE OR REPLACE TABLE ${rows} AS FROM ${rows} SEMI JOIN (
  SELECT m_address AS address FROM probe UNION SELECT value FROM picked WHERE kind = 'address' UNION SELECT address FROM state.snapshot
) here USING (address)`)
  const after = await db.one<{ n: number }>(`SELECT ${count} AS n FROM wanted`)
  const here = await db.one<{ owned: number }>('SELECT count(*) FILTER (owned) AS owned FROM state.snapshot')
  return { ...NOTHING, wanted: before.n - after.n, owned: (found?.note.owned ?? 0) - here.owned }
}
