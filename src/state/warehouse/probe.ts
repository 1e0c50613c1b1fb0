/** The comparison in the database: key, address and hash of each row of the model, joined with the snapshot. */
import { join } from 'node:path'
import type { Column } from '../../types.ts'
import { extractSql } from '../../warehouse/extract.ts'
import type { Addressing } from '../stage.ts'
import type { NarrowRequest } from './narrow.ts'
import type { Sql } from './sql.ts'
import { snapshotSql } from './tables.ts'
import type { Scope } from './tables.ts'

/** SQL over the columns of a model, in the dialect of its database. */
export interface Expressions {
  readonly key: string
  /** One, or one for each match field that is an address by itself. */
  readonly addresses: readonly string[]
  readonly hash: string
  readonly old: string
}

/** Null where SQL there can't say what a key or an address is. */
export function expressions({ dialect }: Sql, request: NarrowRequest, timezone: string | undefined): Expressions | null {
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

export const ADDRESS = (i: number): string => `cdp_address_${i}`

/** The model's rows: the texts of their columns as c0, c1, …, their key, addresses and hashes. No column keeps its name: it might be one of ours. */
export function relationSql(model: string, texts: readonly string[], { key, addresses, hash, old }: Expressions): string {
  const list = [...texts.map((it, i) => `${it} AS c${i}`), `${key} AS cdp_key`, ...addresses.map((it, i) => `${it} AS ${ADDRESS(i)}`)]
  return `(SELECT ${list.join(', ')}, ${hash} AS cdp_hash, ${old} AS cdp_old_hash FROM ${model} m)`
}

/** SQL: `key, address, hash` of each address that the model wants. */
export function wantedSql({ dialect }: Sql, there: Expressions, relation: string, addressing: Addressing): string {
  if (addressing.byKey) return `(SELECT cdp_key AS key, cdp_key AS address, cdp_hash AS hash FROM ${relation} r)`
  const each = there.addresses.map((_, i) => ADDRESS(i))
  if (addressing.any) {
    const rows = `(SELECT cdp_key AS key, cdp_hash AS hash, ${each.join(', ')} FROM ${relation} r WHERE cdp_key IS NOT NULL)`
    return dialect.lowest(dialect.unpivot(rows, ['key', 'hash'], each))
  }
  const one = `SELECT cdp_key AS key, ${ADDRESS(0)} AS address, cdp_hash AS hash FROM ${relation} r`
  return addressing.membership ? dialect.lowest(`(${one} WHERE cdp_key IS NOT NULL AND ${ADDRESS(0)} IS NOT NULL)`) : `(${one})`
}

/** Totals of what does not differ. */
export interface Totals {
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
export async function probe(sql: Sql, scope: Scope, request: NarrowRequest, wanted: string): Promise<Totals> {
  const { dialect } = sql
  const { addressing, adding, removes, dueBefore, db } = request
  const due =
    dueBefore === null ? '' : ` OR s.confirmed_at < ${dialect.lit(new Date(dueBefore).toISOString().replace('T', ' ').replace('Z', ''))}`
  // Rows that share a key or an address show by this: an address has one key, and a key one address that is not gone.
  const moved = addressing.byKey ? '' : ' OR m.key IS NULL OR s.key <> m.key'
  const gone = adding && addressing.byKey ? '' : ' OR s.gone'
  const changed = `s.uncertain${gone}${adding ? '' : `${due} OR s.hash IS NULL OR s.hash <> m.hash`}${moved}`
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
