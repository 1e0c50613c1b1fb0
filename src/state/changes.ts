/** From the diff to what a run sends and a plan shows: the outbox, and samples of it. */
import { cellValue } from '../values.ts'
import { RawJson } from '../json.ts'
import type { Value } from '../json.ts'
import type { InvalidSample, PlanSample } from '../types.ts'
import { lit } from './db.ts'
import type { Db } from './db.ts'
import { findDepths } from './selection.ts'
import { transaction } from './fold.ts'
import { setMeta } from './header.ts'
import type { Header } from './header.ts'
import type { Elsewhere } from './warehouse/narrow.ts'

/** Changes of this run by kind, after the selection. */
export interface OutboxCounts {
  readonly upserts: number
  readonly removals: number
}

/**
 * Writes the outbox, its header and what binds the state to its target (`binding`) in one transaction: a killed first run
 * must not be continued at another target. Order of delivery: renames by depth, then rows that were never
 * refused, then those that were, then removals.
 */
export async function createOutbox(db: Db, header: Header, any: boolean, binding: Readonly<Record<string, string>>): Promise<OutboxCounts> {
  const { ordered } = await db.one<{ ordered: boolean }>(
    `SELECT count(*) > 0 AS ordered FROM classified WHERE status = 'send' AND (attempts > 0 OR forerunner IS NOT NULL)`,
  )
  if (ordered) await findDepths(db)
  const order = ordered ? 'ORDER BY wave, attempts > 0, key' : ''
  // The ids of records that nothing else may ever have; other ids follow from run and number (header.ts).
  const id = header.mode === 'append' ? `sha256(${lit(JSON.stringify([header.sync, header.target]))} || key)` : 'NULL'
  // Read once and thrown away: choosing a compression would cost more than all other work on it.
  await db.run(`SET force_compression = 'uncompressed'`)
  await transaction(
    db,
    `
DELETE FROM state.outbox; DELETE FROM state.journal; DELETE FROM state.jobs;
INSERT INTO state.outbox
SELECT n, wave, ${lit(header.op)}, CASE WHEN fresh THEN 'add' ELSE 'change' END, because, key, address, ${any ? 'list_filter(addresses, lambda x: x <> address)' : 'NULL'},
  previous, payload, known,
  -- Where nobody knows what is there the whole payload goes, unless it is the very same change again.
  CASE WHEN fresh THEN NULL WHEN coalesce(repeat, FALSE) THEN pending.changed WHEN uncertain THEN NULL ELSE differs END,
  remote_id, hash,
  ${header.mode === 'append' ? id : 'CASE WHEN repeat THEN pending.id END'}, CASE WHEN repeat THEN pending.run END, CASE WHEN repeat THEN pending.sent_at END,
  CASE WHEN forerunner IS NULL THEN NULL ELSE 0 END, attempts
FROM (
  SELECT *, row_number() OVER (${order}) AS n FROM (
    SELECT c.*, ${ordered ? '1 + coalesce(d.depth, 0)' : '1'} AS wave FROM changes c ${ordered ? 'LEFT JOIN depths d ON d.key = c.key' : ''}
    WHERE c.status = 'send'
  )
);
${ordered ? `UPDATE state.outbox o SET after = f.n FROM state.outbox f JOIN classified c ON c.forerunner = f.key WHERE o.key = c.key AND o.after IS NOT NULL;` : ''}
${Object.entries(binding)
  .map(([name, value]) => setMeta(name, value))
  .join('\n')}
${setMeta('header', JSON.stringify(header))}`,
  )
  await db.run('RESET force_compression')
  const { upserts, waves } = await db.one<{ upserts: number; waves: number }>(
    `SELECT count(*) AS upserts, coalesce(max(wave), 0) AS waves FROM state.outbox`,
  )
  return { upserts, removals: await addRemovals(db, header, upserts, waves + 1) }
}

async function addRemovals(db: Db, header: Header, offset: number, wave: number): Promise<number> {
  const op = header.removal === 'clear' || header.removal === 'set' ? 'update' : (header.removal ?? 'delete')
  const repeat = `(uncertain AND pending.op = ${lit(op)} AND pending.id IS NOT NULL)`
  await db.run(`
INSERT INTO state.outbox
SELECT n, ${wave}, ${lit(op)}, 'remove', 'data', key, address, CASE WHEN addresses IS NULL THEN NULL ELSE list_filter(addresses, lambda x: x <> address) END,
  NULL, NULL, coalesce(payload, pending.payload), NULL, remote_id, NULL,
  CASE WHEN ${repeat} THEN pending.id END, CASE WHEN ${repeat} THEN pending.run END, CASE WHEN ${repeat} THEN pending.sent_at END,
  CASE WHEN forerunner IS NULL THEN NULL ELSE coalesce((SELECT min(o.n) FROM state.outbox o WHERE o.key = forerunner AND o.kind <> 'remove'), 0) END, attempts
FROM (SELECT *, ${offset} + row_number() OVER (ORDER BY attempts > 0, confirmed_at, address) AS n FROM removals WHERE status = 'send')`)
  const { n } = await db.one<{ n: number }>(`SELECT count(*) AS n FROM state.outbox WHERE kind = 'remove'`)
  return n
}

/** The same few changes for the same plan: those with the lowest hash of their key. */
export async function samples(
  db: Db,
  names: readonly string[],
  sensitive: ReadonlySet<string>,
  each: number,
  hideOnAdd: ReadonlySet<string>,
): Promise<PlanSample[]> {
  const fields = names.map((name, i) => ({ name, i }))
  const shown = (name: string, cell: string | null | undefined): unknown => (sensitive.has(name) ? '(sensitive)' : json(cell))
  const bag = (list: readonly (string | null)[] | null, only: ReadonlySet<string> | null, add: boolean): Record<string, unknown> =>
    Object.fromEntries(
      fields
        .filter(
          ({ name, i }) => (only === null ? list?.[i] != null : only.has(name)) && !(add && list?.[i] === 'jnull' && hideOnAdd.has(name)),
        )
        .map(({ name, i }) => [name, shown(name, list?.[i])]),
    )
  type Row = {
    key: string
    payload: (string | null)[] | null
    known: (string | null)[] | null
    differs: string[] | null
    because: PlanSample['because']
  }
  const take = `ORDER BY hash(key), key LIMIT ${each}`
  // Chosen before payloads are looked at: on a first load each look computes them.
  const adds = await db.rows<Row>(
    `SELECT key, payload FROM changes WHERE key IN (SELECT key FROM classified WHERE status = 'send' AND fresh ${take}) AND payload IS NOT NULL ${take}`,
  )
  const changes = await db.rows<Row>(
    `SELECT key, payload, known, differs, because FROM changes WHERE status = 'send' AND NOT fresh ${take}`,
  )
  const removals = await db.rows<Row>(
    `SELECT key, coalesce(payload, pending.payload) AS known FROM removals WHERE status = 'send' ORDER BY hash(key), key, address LIMIT ${each}`,
  )
  return [
    ...adds.map(({ key, payload }): PlanSample => ({ op: 'add', key, after: bag(payload, null, true) })),
    ...changes.map(({ key, payload, known, differs, because }): PlanSample => {
      const only = new Set(differs ?? [])
      return { op: 'change', key, before: bag(known, only, false), after: bag(payload, only, false), ...(because ? { because } : {}) }
    }),
    ...removals.map(({ key, known }): PlanSample => ({ op: 'remove', key, before: bag(known, null, false) })),
  ]
}

function json(cell: string | null | undefined): unknown {
  if (cell === null || cell === undefined) return null
  const strip = (value: Value): unknown => {
    if (value instanceof RawJson) return value.text
    if (Array.isArray(value)) return value.map(strip)
    if (value !== null && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, strip(v)]))
    return value
  }
  return strip(cellValue(cell))
}

/** field -> changes in which it differs, most first. */
export async function changedFields(db: Db): Promise<Record<string, number>> {
  const rows = await db.rows<{ name: string; n: number }>(
    `SELECT name, count(*) AS n FROM (SELECT unnest(differs) AS name FROM classified WHERE status = 'send' AND NOT fresh) GROUP BY name ORDER BY n DESC, name`,
  )
  return Object.fromEntries(rows.map(({ name, n }) => [name, n]))
}

const REASONS: Readonly<Record<string, string>> = {
  null_key: 'the key is null',
  null_match: 'the match is null',
  duplicate_key: 'several rows have this key',
  duplicate_match: 'several rows have this match',
  nul: 'the key or the match has the character NUL, which the database that keeps the state does not hold',
}

/** Invalid rows: reason -> rows, and a few of them by name. */
export async function invalidRows(
  db: Db,
  each: number,
  elsewhere: Elsewhere,
): Promise<{ reasons: Record<string, number>; samples: InvalidSample[] }> {
  const all = `(SELECT key, reason AS code, field FROM doubtful UNION ALL SELECT key, code, field FROM classified WHERE status = 'invalid')`
  const counted = `SELECT code, count(*) AS n FROM ${all} GROUP BY code UNION ALL VALUES ('null_key', ${elsewhere.nullKeys}), ('null_match', ${elsewhere.nullMatches})`
  const reasons = await db.rows<{ code: string; n: number }>(
    `SELECT code, sum(n)::BIGINT AS n FROM (${counted}) GROUP BY code HAVING sum(n) > 0 ORDER BY n DESC, code`,
  )
  const rows = await db.rows<{ key: string | null; code: string; field: string | null }>(
    `SELECT key, code, field FROM ${all} QUALIFY row_number() OVER (PARTITION BY code ORDER BY hash(key), key) <= ${each} ORDER BY code, hash(key), key`,
  )
  return {
    reasons: Object.fromEntries(reasons.map(({ code, n }) => [code, n])),
    samples: rows.map(({ key, code, field }) => ({
      key: key ?? '',
      code,
      message: REASONS[code] ?? `the field ${field} can't be computed: ${code}`,
      ...(field === null ? {} : { field }),
    })),
  }
}
