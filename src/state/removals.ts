/** Snapshot rows that no row of the model wants: what is removed, marked, kept, or quietly forgotten. */
import type { Op, Removal } from '../types.ts'
import { lit, litList, litTime } from './db.ts'
import type { Db } from './db.ts'
import type { DiffInput } from './diff.ts'
import { DAY, MAX_ATTEMPTS } from './schema.ts'

const removalOp = (removal: Removal | null): Op =>
  removal === 'clear' || removal === 'set' ? 'update' : removal === 'archive' ? 'archive' : 'delete'

/** Fills `gone`, `protected` and `removals`. */
export async function collectRemovals(db: Db, input: DiffInput): Promise<void> {
  const { addressing, mode } = input
  await db.run(`
CREATE OR REPLACE TABLE gone AS
SELECT s.*, FALSE AS forgotten FROM snap s ${input.first || mode === 'append' ? 'WHERE FALSE' : 'SEMI JOIN (SELECT address FROM joined WHERE NOT here) j USING (address)'}`)
  if (input.renames)
    await db.run(`DELETE FROM gone WHERE address IN (SELECT previous FROM classified WHERE previous IS NOT NULL AND status = 'send')`)
  const guarded = addressing.any
    ? `SELECT unnest(address) AS address FROM doubtful WHERE address IS NOT NULL`
    : `SELECT address FROM doubtful WHERE address IS NOT NULL`
  const keys = `SELECT key FROM doubtful WHERE key IS NOT NULL${addressing.keepOnNullMatch ? '' : ` AND reason <> 'null_match'`} UNION ALL SELECT key FROM classified WHERE status = 'invalid'`
  // What occurs in the model in any form is wanted.
  await db.run(`
CREATE OR REPLACE TABLE protected AS
SELECT address, key IN (SELECT key FROM doubtful WHERE reason = 'null_match') AS kept FROM gone
WHERE address IN (${guarded}) OR key IN (${keys})${addressing.byKey ? ` OR address IN (${keys})` : ''}`)
  await db.run(`DELETE FROM gone WHERE address IN (SELECT address FROM protected)`)
  const removing = mode === 'mirror' && input.removal !== 'none'
  if (!removing) {
    await db.run(
      `CREATE OR REPLACE TABLE removals AS SELECT *, 0 AS attempts, '' AS status, NULL::VARCHAR AS forerunner, NULL::VARCHAR[] AS addresses, FALSE AS judged FROM gone WHERE FALSE`,
    )
    return
  }
  // Another address that stays has the same record: there is nothing to remove there.
  await db.run(`
UPDATE gone SET forgotten = TRUE WHERE remote_id IS NOT NULL AND remote_id IN (
  SELECT remote_id FROM snap WHERE remote_id IN (SELECT remote_id FROM gone) AND address NOT IN (SELECT address FROM gone))`)
  const withheld = input.staged.nullKeys > input.nullKeysBefore && !input.allowNullKeys
  const wait = litTime(input.now - DAY)
  await db.run(`
CREATE OR REPLACE TABLE removals AS
SELECT g.*, coalesce(v.attempts, 0) AS attempts, v.address IS NOT NULL AS judged, NULL::VARCHAR[] AS addresses,
  -- Its row lives on under a new address: that goes first.
  CASE WHEN c.status = 'send' THEN c.key END AS forerunner,
  CASE
    WHEN ${withheld} THEN 'waiting'
    WHEN c.status IN ('held', 'settled') THEN 'waiting'
    WHEN v.outcome = 'rejected' AND v.attempts >= ${MAX_ATTEMPTS} AND v.context = ${lit(input.context)} AND v.noted_at > ${wait} THEN 'held'
    -- Nobody knows whether the removal arrived, and repeating it might do harm.
    WHEN g.uncertain AND g.pending.op = ${lit(removalOp(input.removal))} AND list_contains(${litList(input.unsafe)}, g.pending.op) THEN 'held'
    ELSE 'send'
  END AS status
FROM gone g LEFT JOIN said v ON v.address = g.address AND v.op = 'remove' LEFT JOIN classified c ON c.key = g.key
WHERE g.owned AND NOT g.forgotten`)
  if (addressing.any) {
    // One change for the identifiers of one member, one of each kind.
    await db.run(`
CREATE OR REPLACE TABLE removals AS
SELECT * EXCLUDE (turn) REPLACE (list(address) OVER (PARTITION BY key, status, turn) AS addresses)
FROM (SELECT *, row_number() OVER (PARTITION BY key, status, split_part(address, ':', 1) ORDER BY address) AS turn FROM removals)
QUALIFY row_number() OVER (PARTITION BY key, status, turn ORDER BY address) = 1`)
  }
}
