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
import { readNote, readSnapshot, replaceSnapshot } from './carry.ts'
import type { Versioned } from './carry.ts'
import type { Sql, Workspace } from './sql.ts'
import { SNAPSHOT, snapshotSql } from './tables.ts'
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
  /** Reads the model here. */
  readonly extract: () => Promise<Extract>
  readonly stage: (extract: Extract, hash: HashSql) => Promise<Staged>
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
      const staged = await request.stage(extract, localHash)
      const elsewhere =
        request.all || total === 0 ? await bringAll(sql, scope, request, total) : await compareStaged(sql, scope, request, found)
      await checkUnchanged(sql, scope, found)
      return { extract, staged, elsewhere }
    }
    return sql.workspace(pickTables(sql), request.query, async (workspace) => {
      const relation = relationSql(workspace.model, there)
      const picked = request.all || total === 0 ? null : await pickThere(sql, scope, request, workspace, there, relation, total)
      const extract = await bringModel(sql, request, workspace, relation, there, picked !== null)
      if (picked === null) await bringAll(sql, scope, request, total)
      else await bringSnapshot(sql, scope, request, workspace, total)
      const width = request.columns.length
      const staged = await request.stage(extract, (_columns, _raw, which) => `c${which === 'today' ? width : width + 1}::UBIGINT`)
      const elsewhere = picked === null ? NOTHING : await countElsewhere(request, found, picked)
      await checkUnchanged(sql, scope, found)
      return { extract, staged, elsewhere }
    })
  }
}

/** A look holds nothing: a run may have ended between its first statement and its last. */
async function checkUnchanged(sql: Sql, scope: Scope, found: Versioned | null): Promise<void> {
  if (found === null || (await readNote(sql, scope))?.version === found.version) return
  throw new CdpError('CDP4044', `The state of ${scope.sync} changed while it was looked at.`, {
    where: scope.sync,
    hint: 'A run ended meanwhile: look again.',
  })
}

/** SQL over the columns of a model, in the dialect of its database. */
interface Expressions {
  readonly key: string
  /** One, or one for each match field that is an address by itself. */
  readonly addresses: readonly string[]
  readonly hash: string
  readonly old: string
}

/** Null where SQL there can't say what a key or an address is. */
function expressions({ dialect }: Sql, request: NarrowRequest, timezone: string | undefined): Expressions | null {
  const { addressing, columns } = request
  const byName = new Map(columns.map((column) => [column.name, column]))
  const text = (column: Column | null | undefined): string | null => (column ? dialect.key(column, timezone) : null)
  const keys = addressing.key.map((name) => text(byName.get(name)))
  const matches = addressing.byKey
    ? []
    : addressing.match.map(({ normaliser }, i) => {
        const it = text(request.match[i])
        return it === null ? null : dialect.normalise(normaliser, it)
      })
  if (!keys.every((it) => it !== null) || !matches.every((it) => it !== null)) return null
  const joined = (texts: readonly string[]): string => (texts.length === 1 ? (texts[0] ?? '') : dialect.list(texts))
  const key = joined(keys)
  const addresses = addressing.byKey
    ? [key]
    : addressing.any
      ? addressing.match.map(({ field }, i) => `${dialect.lit(`${field.name}:`)} || ${matches[i]}`)
      : [joined(matches)]
  const hashed = (names: readonly string[]): string =>
    dialect.hash(
      names.flatMap((name) => byName.get(name) ?? []),
      timezone,
    )
  return { key, addresses, hash: hashed(request.hashed), old: hashed(request.stored ?? request.hashed) }
}

const ADDRESS = (i: number): string => `cdp_address_${i}`

/** The model's rows with their key, addresses and hash. */
function relationSql(model: string, { key, addresses, hash, old }: Expressions): string {
  const list = addresses.map((it, i) => `${it} AS ${ADDRESS(i)}`)
  return `(SELECT m.*, ${key} AS cdp_key, ${list.join(', ')}, ${hash} AS cdp_hash, ${old} AS cdp_old_hash FROM ${model} m)`
}

/** What is brought here: every row with one of these keys, or at one of these addresses. */
const pickTables = ({ dialect: { types } }: Sql): Record<string, string[]> => ({
  cdp_keys: [`key ${types.text}`],
  cdp_addresses: [`address ${types.text}`],
  cdp_records: [`remote_id ${types.text}`],
})

/** Totals of what does not differ. */
interface Totals {
  readonly rows: number
  readonly nullKeys: number
  readonly nullMatches: number
  /** Snapshot rows that no row of the model wants and that nothing follows from. */
  readonly ignored: number
  /** Members that are as delivered, where an address is a part of one. */
  readonly members: number
  /** Snapshot rows, once for each row of the model that wants them. */
  readonly stored: number
}

const STORED = ['address', 'key', 'hash', 'owned', 'gone', 'uncertain', 'confirmed_at', 'remote_id']

/** The full outer join: which rows may differ, and how many do not. Leaves the former in `probe`. */
async function probe(sql: Sql, scope: Scope, request: NarrowRequest, wanted: string): Promise<Totals> {
  const { dialect } = sql
  const { addressing, adding, removes, dueBefore, db } = request
  const due =
    dueBefore === null ? '' : ` OR s.confirmed_at < ${dialect.lit(new Date(dueBefore).toISOString().replace('T', ' ').replace('Z', ''))}`
  const changed = adding
    ? 's.uncertain'
    : `s.uncertain OR s.gone${due} OR s.hash IS NULL OR s.hash <> m.hash${addressing.byKey ? '' : ' OR m.key IS NULL OR s.key <> m.key'}`
  // Rows that left matter where something follows from it.
  const left = adding ? 's.uncertain' : `s.uncertain OR NOT (s.gone${removes ? ' AND NOT s.owned' : ''})`
  const differs = `CASE WHEN CASE WHEN s.address IS NULL THEN m.address IS NOT NULL WHEN m.hash IS NULL THEN (${left}) ELSE (${changed}) END THEN TRUE ELSE FALSE END`
  const members = addressing.any
    ? 'count(DISTINCT CASE WHEN NOT differs AND s_address IS NOT NULL AND m_hash IS NOT NULL THEN m_key END)'
    : '0'
  const path = join(request.folder, 'probe')
  const picked = ['m_key', 'm_address', 's_key', 's_address', 's_record']
  const compared = `(
  SELECT m.key AS m_key, m.address AS m_address, m.hash AS m_hash, s.key AS s_key, s.address AS s_address,
    CASE WHEN m.hash IS NULL THEN s.remote_id END AS s_record, ${differs} AS differs
  FROM ${wanted} m FULL OUTER JOIN ${snapshotSql(dialect, scope, STORED)} s ON s.address = m.address
) compared`
  const totalled = [
    'count(m_hash) AS all_rows',
    'count(CASE WHEN m_hash IS NOT NULL AND m_key IS NULL THEN 1 END) AS null_keys',
    'count(CASE WHEN m_key IS NOT NULL AND m_address IS NULL THEN 1 END) AS null_matches',
    'count(CASE WHEN NOT differs AND m_hash IS NULL THEN 1 END) AS ignored',
    `${members} AS members`,
    'count(s_address) AS stored',
  ]
  const extract = await sql.fetch(dialect.split(compared, picked, totalled), picked.length + totalled.length, path)
  await db.run(`
CREATE OR REPLACE TABLE probe AS SELECT c0 AS m_key, c1 AS m_address, c2 AS s_key, c3 AS s_address, c4 AS s_record,
  c5::BIGINT AS all_rows, c6::BIGINT AS null_keys, c7::BIGINT AS null_matches, c8::BIGINT AS ignored, c9::BIGINT AS members, c10::BIGINT AS stored FROM ${extractSql(extract)}`)
  const totals = await db.one<Totals>(`
SELECT coalesce(sum(all_rows), 0)::BIGINT AS rows, coalesce(sum(null_keys), 0)::BIGINT AS "nullKeys", coalesce(sum(null_matches), 0)::BIGINT AS "nullMatches",
  coalesce(sum(ignored), 0)::BIGINT AS ignored, coalesce(sum(members), 0)::BIGINT AS members, coalesce(sum(stored), 0)::BIGINT AS stored FROM probe`)
  // What does not differ is one group, without a key or an address.
  await db.run('DELETE FROM probe WHERE m_address IS NULL AND s_address IS NULL')
  return totals
}

/** Local tables of what is asked for, and what of it was sent to the database already. */
async function startPicks({ db, keys }: NarrowRequest): Promise<void> {
  await db.run(`
CREATE OR REPLACE TABLE picks AS
SELECT DISTINCT kind, value FROM (
  SELECT 'key' AS kind, m_key AS value FROM probe UNION ALL SELECT 'key', s_key FROM probe
  UNION ALL SELECT 'address', m_address FROM probe UNION ALL SELECT 'address', s_address FROM probe
  -- What was said of a row is looked at again, whether or not it differs.
  UNION ALL SELECT 'address', address FROM said
  ${keys.map((key) => `UNION ALL SELECT 'key', ${lit(key)}`).join(' ')}
) WHERE value IS NOT NULL;
CREATE OR REPLACE TABLE picked AS FROM picks LIMIT 0`)
}

/** Sends what is new in `picks`; false when nothing is. */
async function sendPicks(sql: Sql, { db }: NarrowRequest, { temporary }: Workspace): Promise<boolean> {
  await db.run(
    'CREATE OR REPLACE TABLE fresh_picks AS FROM picks ANTI JOIN picked USING (kind, value); INSERT INTO picked FROM fresh_picks',
  )
  let any = false
  for (const [kind, name, column] of [
    ['key', 'cdp_keys', 'key'],
    ['address', 'cdp_addresses', 'address'],
  ] as const) {
    const { n } = await db.one<{ n: number }>(`SELECT count(*) AS n FROM fresh_picks WHERE kind = ${lit(kind)}`)
    if (n === 0) continue
    any = true
    await sql.load(temporary(name), [column], db, `SELECT value FROM fresh_picks WHERE kind = ${lit(kind)}`)
  }
  return any
}

async function addPicks(sql: Sql, { db, folder }: NarrowRequest, select: string, kinds: readonly string[]): Promise<void> {
  const extract = await sql.fetch(select, kinds.length, join(folder, 'picks'))
  const values = kinds.map((kind, i) => `SELECT ${lit(kind)} AS kind, c${i} AS value FROM found`).join(' UNION ALL ')
  await db.run(`
CREATE OR REPLACE TEMP TABLE found AS FROM ${extractSql(extract)};
INSERT INTO picks SELECT DISTINCT kind, value FROM (${values}) WHERE value IS NOT NULL AND (kind, value) NOT IN (SELECT kind, value FROM picks)`)
}

/** Records of rows that left: another address that stays may have the same. */
async function pickRecords(sql: Sql, scope: Scope, request: NarrowRequest, { temporary }: Workspace): Promise<void> {
  const { db } = request
  const { n } = await db.one<{ n: number }>('SELECT count(s_record) AS n FROM probe')
  if (n === 0) return
  await sql.load(temporary('cdp_records'), ['remote_id'], db, 'SELECT DISTINCT s_record FROM probe WHERE s_record IS NOT NULL')
  const snapshot = snapshotSql(sql.dialect, scope, ['address', 'key', 'remote_id'])
  await addPicks(
    sql,
    request,
    `SELECT s.key, s.address FROM ${snapshot} s JOIN ${temporary('cdp_records')} r ON r.remote_id = s.remote_id`,
    ['key', 'address'],
  )
}

/** SQL: joins that find the rows of `relation` (as `r`) that were picked, and the condition. */
function pickedRows({ temporary }: Workspace, addresses: number, byKey: boolean): { joins: string; where: string } {
  const joins = [`LEFT JOIN ${temporary('cdp_keys')} pk ON pk.key = r.cdp_key`]
  const conditions = ['pk.key IS NOT NULL']
  // Where the key is the address, both are the same list.
  if (byKey) joins.push(`LEFT JOIN ${temporary('cdp_addresses')} pa ON pa.address = r.cdp_key`)
  else for (let i = 0; i < addresses; i++) joins.push(`LEFT JOIN ${temporary('cdp_addresses')} pa${i} ON pa${i}.address = r.${ADDRESS(i)}`)
  conditions.push(...(byKey ? ['pa.address IS NOT NULL'] : Array.from({ length: addresses }, (_, i) => `pa${i}.address IS NOT NULL`)))
  return { joins: joins.join(' '), where: conditions.join(' OR ') }
}

/** Finds the rows that must come here, by key and address; the temporary tables hold them then. */
async function pickThere(
  sql: Sql,
  scope: Scope,
  request: NarrowRequest,
  workspace: Workspace,
  there: Expressions,
  relation: string,
  total: number,
): Promise<Totals> {
  const { addressing } = request
  const shared = !addressing.byKey && (addressing.membership || addressing.any)
  let totals = await probe(sql, scope, request, wantedSql(sql, there, relation, addressing))
  const each = there.addresses.map((_, i) => ADDRESS(i))
  if (shared) {
    const nothing = each.map((address) => `${address} IS NULL`).join(' AND ')
    const [found] = await sql.rows<{ all_rows: number; null_keys: number; null_matches: number }>(
      `SELECT count(*) AS all_rows, count(CASE WHEN cdp_key IS NULL THEN 1 END) AS null_keys, count(CASE WHEN cdp_key IS NOT NULL AND ${nothing} THEN 1 END) AS null_matches FROM ${relation} r`,
    )
    if (found) totals = { ...totals, rows: found.all_rows, nullKeys: found.null_keys, nullMatches: found.null_matches }
  }
  await startPicks(request)
  if (!shared && totals.stored > total) {
    // More pairs than addresses: rows share one, and none of them may differ.
    const wanted = wantedSql(sql, there, relation, addressing)
    await addPicks(sql, request, `SELECT m.address FROM ${wanted} m WHERE m.address IS NOT NULL GROUP BY m.address HAVING count(*) > 1`, [
      'address',
    ])
  }
  await pickRecords(sql, scope, request, workspace)
  if (!addressing.byKey && totals.nullMatches > 0) {
    // Delivered rows whose match turned null are kept, or share their key with another row.
    const nothing = each.map((address) => `r.${address} IS NULL`).join(' AND ')
    const known = `(SELECT DISTINCT key FROM ${snapshotSql(sql.dialect, scope, ['key'])} s)`
    await addPicks(sql, request, `SELECT DISTINCT r.cdp_key FROM ${relation} r JOIN ${known} k ON k.key = r.cdp_key WHERE ${nothing}`, [
      'key',
    ])
  }
  await sendPicks(sql, request, workspace)
  if (!shared) return totals
  // Rows of one member pull in each other, and each other's members.
  const { joins, where } = pickedRows(workspace, each.length, false)
  const rows = `SELECT r.cdp_key, ${each.map((address) => `r.${address}`).join(', ')} FROM ${relation} r ${joins} WHERE ${where}`
  do await addPicks(sql, request, rows, ['key', ...each.map(() => 'address')])
  while (await sendPicks(sql, request, workspace))
  return totals
}

/** SQL: `key, address, hash` of each address that the model wants. */
function wantedSql({ dialect }: Sql, there: Expressions, relation: string, addressing: Addressing): string {
  if (addressing.byKey) return `(SELECT cdp_key AS key, cdp_key AS address, cdp_hash AS hash FROM ${relation} r)`
  const each = there.addresses.map((_, i) => ADDRESS(i))
  if (addressing.any) {
    const rows = `(SELECT cdp_key AS key, cdp_hash AS hash, ${each.join(', ')} FROM ${relation} r WHERE cdp_key IS NOT NULL)`
    return dialect.lowest(dialect.unpivot(rows, ['key', 'hash'], each))
  }
  const one = `SELECT cdp_key AS key, ${ADDRESS(0)} AS address, cdp_hash AS hash FROM ${relation} r`
  return addressing.membership ? dialect.lowest(`(${one} WHERE cdp_key IS NOT NULL AND ${ADDRESS(0)} IS NOT NULL)`) : `(${one})`
}

/** The model's rows, all or those picked, with both hashes behind their columns. */
async function bringModel(
  sql: Sql,
  request: NarrowRequest,
  workspace: Workspace,
  relation: string,
  there: Expressions,
  picked: boolean,
): Promise<Extract> {
  const list = [...request.columns.map((column) => workspace.raw(column)), 'cdp_hash', 'cdp_old_hash']
  const named = list.map((it, i) => `${it} AS c${i}`).join(', ')
  const { joins, where } = pickedRows(workspace, there.addresses.length, request.addressing.byKey)
  // Names of columns are the model's own: nothing is joined beside them.
  const rows = picked ? `(SELECT r.* FROM ${relation} r ${joins} WHERE ${where})` : relation
  const extract = await sql.fetch(`SELECT ${named} FROM ${rows} model`, list.length, join(request.folder, 'model'))
  const hash = { type: 'integer' as const, native: 'bigint' }
  return {
    ...extract,
    position: workspace.position,
    columns: [...request.columns, { name: '\0hash', ...hash }, { name: '\0old_hash', ...hash }],
  }
}

async function bringAll(sql: Sql, scope: Scope, { db, folder }: NarrowRequest, total: number): Promise<Elsewhere> {
  const extract = total === 0 ? null : await sql.fetch(readSnapshot(sql, scope), SNAPSHOT.length, join(folder, 'snapshot'))
  await replaceSnapshot(db, extract, total)
  return NOTHING
}

/** Snapshot rows at what was picked. */
async function bringSnapshot(
  sql: Sql,
  scope: Scope,
  { db, folder }: NarrowRequest,
  { temporary }: Workspace,
  total: number,
): Promise<void> {
  const select = `
SELECT ${SNAPSHOT.map((column) => `s.${column}`).join(', ')} FROM ${snapshotSql(sql.dialect, scope, SNAPSHOT)} s
LEFT JOIN ${temporary('cdp_keys')} pk ON pk.key = s.key LEFT JOIN ${temporary('cdp_addresses')} pa ON pa.address = s.address
WHERE pk.key IS NOT NULL OR pa.address IS NOT NULL`
  await replaceSnapshot(db, await sql.fetch(select, SNAPSHOT.length, join(folder, 'snapshot')), total)
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

/** The model was read and staged here: only what it wants travels to the database, and what may differ comes back. */
async function compareStaged(sql: Sql, scope: Scope, request: NarrowRequest, found: Versioned | null): Promise<Elsewhere> {
  const { db, addressing } = request
  const total = found?.note.rows ?? 0
  const { text, integer } = sql.dialect.types
  const tables = { ...pickTables(sql), cdp_wanted: [`key ${text}`, `address ${text}`, `hash ${integer}`] }
  await sql.workspace(tables, null, async (workspace) => {
    const wanted = workspace.temporary('cdp_wanted')
    await sql.load(wanted, ['key', 'address', 'hash'], db, 'SELECT key, address, hash::VARCHAR FROM wanted')
    await probe(sql, scope, request, wanted)
    await startPicks(request)
    await db.run(
      `INSERT INTO picks SELECT DISTINCT 'key', key FROM doubtful WHERE key IS NOT NULL AND ('key', key) NOT IN (SELECT kind, value FROM picks)`,
    )
    await pickRecords(sql, scope, request, workspace)
    await sendPicks(sql, request, workspace)
    await bringSnapshot(sql, scope, request, workspace, total)
  })
  const count = addressing.any ? 'count(DISTINCT key)' : 'count(*)'
  const before = await db.one<{ n: number }>(`SELECT ${count} AS n FROM wanted`)
  await db.run(`
CREATE OR REPLACE TABLE wanted_here AS FROM wanted SEMI JOIN (
  SELECT m_address AS address FROM probe UNION SELECT value FROM picked WHERE kind = 'address' UNION SELECT address FROM state.snapshot
) here USING (address);
DROP VIEW wanted; CREATE VIEW wanted AS FROM wanted_here`)
  const after = await db.one<{ n: number }>(`SELECT ${count} AS n FROM wanted`)
  const here = await db.one<{ owned: number }>('SELECT count(*) FILTER (owned) AS owned FROM state.snapshot')
  return { ...NOTHING, wanted: before.n - after.n, owned: (found?.note.owned ?? 0) - here.owned }
}
