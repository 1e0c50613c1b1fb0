/** Which rows come here: those that may differ, and whatever shares a key, an address or a record with them. */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { extractSql } from '../../warehouse/extract.ts'
import { lit } from '../db.ts'
import type { NarrowRequest } from './narrow.ts'
import { ADDRESS, probe, wantedSql } from './probe.ts'
import type { Expressions, Totals } from './probe.ts'
import type { Sql, Workspace } from './sql.ts'
import { sameAddress, SNAPSHOT, snapshotSql } from './tables.ts'
import type { Scope } from './tables.ts'

/** What is brought here: every row with one of these keys, or at one of these addresses. */
export const pickTables = ({ dialect: { types } }: Sql): Record<string, string[]> => ({
  cdp_keys: [`key ${types.text}`],
  cdp_addresses: [`address ${types.text}`],
  cdp_records: [`remote_id ${types.text}`],
})

/** Where the key is the address, there is one list. */
export const keyKind = ({ addressing }: NarrowRequest): 'key' | 'address' => (addressing.byKey ? 'address' : 'key')

/** Local tables of what is asked for, and what of it was sent to the database already. */
export async function startPicks(request: NarrowRequest): Promise<void> {
  const kind = lit(keyKind(request))
  await request.db.run(`
CREATE OR REPLACE TABLE picks AS
SELECT DISTINCT kind, value FROM (
  SELECT ${kind} AS kind, m_key AS value FROM probe UNION ALL SELECT ${kind}, s_key FROM probe
  UNION ALL SELECT 'address', m_address FROM probe UNION ALL SELECT 'address', s_address FROM probe
  -- What was said of a row is looked at again, whether or not it differs.
  UNION ALL SELECT 'address', address FROM said
  ${request.keys.map((key) => `UNION ALL SELECT ${kind}, ${lit(key)}`).join(' ')}
) WHERE value IS NOT NULL;
CREATE OR REPLACE TABLE picked AS FROM picks LIMIT 0`)
}

/** Sends what is new in `picks`; false when nothing is. */
export async function sendPicks(sql: Sql, { db }: NarrowRequest, { temporary }: Workspace): Promise<boolean> {
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

export async function addPicks(sql: Sql, { db, folder }: NarrowRequest, select: string, kinds: readonly string[]): Promise<void> {
  // A file of its own each time: a reader may hold parts of the one before under its name (seen once, as a broken block).
  const extract = await sql.fetch(select, kinds.length, join(folder, `picks-${randomUUID()}`))
  const values = kinds.map((kind, i) => `SELECT ${lit(kind)} AS kind, c${i} AS value FROM found`).join(' UNION ALL ')
  await db.run(`
CREATE OR REPLACE TEMP TABLE found AS FROM ${extractSql(extract)};
INSERT INTO picks SELECT DISTINCT kind, value FROM (${values}) WHERE value IS NOT NULL AND (kind, value) NOT IN (SELECT kind, value FROM picks)`)
}

/** Records of rows that left: another address that stays may have the same. */
export async function pickRecords(sql: Sql, scope: Scope, request: NarrowRequest, { temporary }: Workspace): Promise<void> {
  const { db } = request
  const { n } = await db.one<{ n: number }>('SELECT count(s_record) AS n FROM probe')
  if (n === 0) return
  await sql.load(temporary('cdp_records'), ['remote_id'], db, 'SELECT DISTINCT s_record FROM probe WHERE s_record IS NOT NULL')
  const snapshot = snapshotSql(sql.dialect, scope, ['address', 'key', 'remote_id'])
  await addPicks(
    sql,
    request,
    `SELECT s.key, s.address FROM ${snapshot} s JOIN ${temporary('cdp_records')} r ON r.remote_id = s.remote_id`,
    [keyKind(request), 'address'],
  )
}

/** SQL: joins that find the rows of `relation` (as `r`) that were picked, and the condition. */
export function pickedRows({ temporary }: Workspace, addresses: number, byKey: boolean): { joins: string; where: string } {
  const [keys, list] = [temporary('cdp_keys'), temporary('cdp_addresses')]
  if (byKey) return { joins: `JOIN ${list} pa ON pa.address = r.cdp_key`, where: 'TRUE' }
  const each = Array.from({ length: addresses }, (_, i) => `LEFT JOIN ${list} pa${i} ON pa${i}.address = r.${ADDRESS(i)}`)
  const conditions = each.map((_, i) => `pa${i}.address IS NOT NULL`)
  return {
    joins: [`LEFT JOIN ${keys} pk ON pk.key = r.cdp_key`, ...each].join(' '),
    where: ['pk.key IS NOT NULL', ...conditions].join(' OR '),
  }
}

/** SQL: the rows of the snapshot at what was picked. Joined by the address, of which a database may have an index. */
export function pickedStored({ dialect }: Sql, scope: Scope, { temporary }: Workspace, byKey: boolean): string {
  const list = temporary('cdp_addresses')
  const known = snapshotSql(dialect, scope, ['address', 'key'])
  const all = byKey
    ? list
    : `(SELECT address FROM ${list} UNION SELECT k.address FROM ${known} k JOIN ${temporary('cdp_keys')} pk ON pk.key = k.key)`
  return `SELECT ${SNAPSHOT.map((it) => `s.${it}`).join(', ')} FROM ${snapshotSql(dialect, scope, SNAPSHOT)} s JOIN ${all} p ON ${sameAddress(dialect, 'p.address', 's.address')}`
}

/** Finds the rows that must come here, by key and address; the temporary tables hold them then. */
export async function pickThere(
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
  // A member stands under its lowest key: that another of its rows shares a key shows nowhere else.
  if (shared)
    await addPicks(sql, request, `SELECT r.cdp_key FROM ${relation} r WHERE r.cdp_key IS NOT NULL GROUP BY r.cdp_key HAVING count(*) > 1`, [
      'key',
    ])
  if (!shared && totals.stored > total) {
    // More pairs than addresses: rows share one, and none of them may differ.
    const wanted = wantedSql(sql, there, relation, addressing)
    await addPicks(sql, request, `SELECT m.address FROM ${wanted} m WHERE m.address IS NOT NULL GROUP BY m.address HAVING count(*) > 1`, [
      'address',
    ])
  }
  await pickRecords(sql, scope, request, workspace)
  if (!addressing.byKey && totals.nullMatches > 0) {
    // Delivered rows whose match turned null are kept; several rows of one key are one, or none of them is valid.
    const nothing = each.map((address) => `r.${address} IS NULL`).join(' AND ')
    const known = `(SELECT DISTINCT key FROM ${snapshotSql(sql.dialect, scope, ['key'])} s)`
    const rows = `${relation} r LEFT JOIN ${known} k ON k.key = r.cdp_key WHERE ${nothing}`
    await addPicks(sql, request, `SELECT r.cdp_key FROM ${rows} GROUP BY r.cdp_key HAVING count(*) > 1 OR count(k.key) > 0`, ['key'])
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
