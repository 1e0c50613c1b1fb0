/**
 * Folding: what outbox and journal recorded becomes the snapshot. The same SQL serves the commit of a run, the recovery
 * of one that was killed, and `plan`, which only looks at the result. It reads nothing but what was recorded.
 */
import { step } from '../crash.ts'
import type { Db } from './db.ts'
import { lit } from './db.ts'
import { OWNING, recorded, setMeta } from './header.ts'
import type { Header } from './header.ts'
import { PENDING } from './schema.ts'

/** `list` by position, with `base` where it has nothing. */
const merged = (list: string, base: string): string =>
  `CASE WHEN ${base} IS NULL THEN ${list} ELSE list_transform(range(1, greatest(len(${list}), len(${base})) + 1), lambda i: coalesce(${list}[i], ${base}[i])) END`

/** A payload as one address of an any-of member keeps it: without the other identifiers, so that a shared one stays equal when its owner changes. */
export function projected(header: Pick<Header, 'any' | 'match' | 'fields'>, list: string, address: string): string {
  if (!header.any) return list
  const own = header.match.map((position) => `WHEN starts_with(${address}, ${lit(`${header.fields[position - 1]}:`)}) THEN ${position}`)
  return `list_transform(${list}, lambda x, i: CASE WHEN i IN (${header.match.join(', ')}) AND i <> (CASE ${own.join(' ')} ELSE 0 END) THEN NULL ELSE x END)`
}

export interface Folded {
  /** Changes that may have been sent, and nobody knows what became of them. */
  readonly uncertain: number
  /** The highest number of the outbox. */
  readonly last: number
}

/**
 * Builds in memory: `settled` (number -> final outcome), `arrived` (confirmed upserts at one address: nearly all), `ended`
 * and `reached` (the other changes with their outcome, by number and by address), `folded` (new snapshot rows), `touched` (addresses whose old snapshot row goes), `judged` (new verdicts). Reads
 * `state.*` only. Payloads stay in the outbox until they are written to the snapshot: copies of them are what costs.
 */
export async function prepareFold(db: Db, header: Header): Promise<Folded> {
  await db.run(`
CREATE OR REPLACE TABLE settled AS
SELECT n, j.result, j.remote_id, j.code, j.message, j.field, j.noted_at, doubted
-- Asked once without an answer: no later refusal can tell what the first attempt did.
FROM (
  SELECT n, max(seq) AS seq, bool_or(unknown) AS doubted
  FROM (SELECT unnest(generate_series(first, last)) AS n, seq, result = 'unknown' AS unknown FROM state.journal) GROUP BY n
) JOIN state.journal j USING (seq)`)
  await db.run(`
CREATE OR REPLACE VIEW arrived AS
SELECT o.*, s.remote_id AS new_remote_id, s.result, s.noted_at FROM state.outbox o JOIN settled s USING (n) WHERE ${arrived(header)}`)
  await db.run(`
CREATE OR REPLACE TABLE ended AS
SELECT o.n, o.op, o.kind, o.key, o.address, o.more, o.previous, o.attempts,
  s.remote_id AS new_remote_id, s.result, s.code, s.message, s.field, s.noted_at, s.doubted,
  s.result IN ('ok', 'accepted') OR (s.result = 'absent' AND o.kind = 'remove') AS done,
  s.result IN ('intent', 'unknown') OR (s.doubted AND s.result IN ('rejected', 'retry')) AS vague
-- The few by number first: a join of everything with everything would cost as much as the fold.
FROM (
  FROM state.outbox SEMI JOIN (
    SELECT n FROM settled WHERE ${header.any} OR result NOT IN ('ok', 'accepted')
    UNION ALL SELECT n FROM state.outbox WHERE kind = 'remove' OR more IS NOT NULL OR previous IS NOT NULL
  ) odd USING (n)
) o JOIN settled s USING (n)`)
  await db.run(`
CREATE OR REPLACE VIEW reached AS
SELECT unnest([address] || coalesce(more, [])) AS address, FALSE AS given_up, * EXCLUDE (address) FROM ended WHERE more IS NOT NULL
UNION ALL SELECT address, FALSE, * EXCLUDE (address) FROM ended WHERE more IS NULL
UNION ALL SELECT previous, TRUE, * EXCLUDE (address) FROM ended WHERE previous IS NOT NULL`)
  await foldRows(db, header)
  // previous attempts and first_run are carried over only while the same payload was refused before.
  await db.run(`
CREATE OR REPLACE TABLE judged AS
SELECT e.key, e.address, CASE WHEN e.kind = 'remove' THEN 'remove' ELSE 'write' END AS op, o.payload, ${lit(header.context)} AS context,
  e.result AS outcome, e.code, e.message, e.field, (e.attempts + 1)::INTEGER AS attempts,
  CASE WHEN e.attempts > 0 THEN v.first_run ELSE ${lit(header.run)} END AS first_run, ${lit(header.run)} AS run, e.noted_at
FROM (FROM ended WHERE result IN ('rejected', 'absent', 'exists') AND NOT done) e JOIN state.outbox o USING (n)
LEFT JOIN state.verdicts v ON v.address = e.address AND v.op = CASE WHEN e.kind = 'remove' THEN 'remove' ELSE 'write' END`)
  return db.one(`SELECT (SELECT count(*) FROM ended WHERE vague) AS uncertain, (SELECT coalesce(max(n), 0) FROM state.outbox) AS last`)
}

/** SQL: the simple end of a change `o` with the outcome `s`. */
const arrived = ({ any }: Header): string =>
  any ? 'FALSE' : `s.result IN ('ok', 'accepted') AND o.kind <> 'remove' AND o.more IS NULL AND o.previous IS NULL`

async function foldRows(db: Db, header: Header): Promise<void> {
  const keeps = header.mode !== 'append'
  const own = recorded(header, 'o')
  const owning = OWNING.includes(header.mode)
  const payload = (list: string): string => (keeps ? projected(header, list, 'r.address') : 'NULL::VARCHAR[]')
  // Confirmed or accepted: the payload is what the destination holds now.
  const confirmed = (o: string, from: string, more: string): string => `
SELECT r.address, r.key, ${keeps ? `${o}.hash` : 'NULL::UBIGINT'} AS hash, ${payload(merged(`${o}.payload`, `${o}.known`))} AS payload,
  coalesce(r.new_remote_id, ${o}.remote_id) AS remote_id, ${lit(header.mode)} AS mode,
  ${owning ? 'TRUE' : 'coalesce(old.owned, FALSE)'} AS owned, r.noted_at AS confirmed_at, ${lit(header.run)} AS run,
  r.result = 'accepted' AS accepted, FALSE AS gone, FALSE AS uncertain, NULL::${PENDING} AS pending${more}
FROM ${from} ${owning ? '' : 'LEFT JOIN known_owners old ON old.address = r.address'}`
  // Its own rows in the snapshot are gone when this is read.
  if (!owning)
    await db.run(
      `CREATE OR REPLACE TABLE known_owners AS SELECT address, owned FROM state.snapshot WHERE owned AND address IN (SELECT address FROM reached UNION ALL SELECT address FROM arrived)`,
    )
  await db.run(`
CREATE OR REPLACE TABLE doubted AS
-- May have been applied: what was confirmed before stays, with what may have been sent beside it. Both ends of a rename are
-- in doubt, and neither may be reached by the record's id: nobody knows which of them it is. A removal keeps the match it
-- was sent with; what it writes instead may be edited, so its repeat is another change.
SELECT r.address, coalesce(old.key, r.key) AS key, old.hash, old.payload,
  CASE WHEN r.previous IS NULL THEN coalesce(old.remote_id, o.remote_id) END AS remote_id, coalesce(old.mode, ${lit(header.mode)}) AS mode,
  coalesce(old.owned, FALSE) OR ${owning ? 'TRUE' : 'FALSE'} AS owned, old.confirmed_at, old.run, coalesce(old.accepted, FALSE) AS accepted,
  coalesce(old.gone, FALSE) AS gone, TRUE AS uncertain,
  {op: r.op, key: r.key, payload: coalesce(o.payload, o.known), id: CASE WHEN r.previous IS NULL AND NOT (r.kind = 'remove' AND r.op = 'update') THEN ${own.id} END, run: ${own.run}, sent_at: ${own.sentAt}, changed: o.differs}::${PENDING} AS pending
FROM (FROM reached WHERE vague) r JOIN state.outbox o USING (n) LEFT JOIN state.snapshot old ON old.address = r.address
WHERE NOT (r.given_up AND EXISTS (FROM reached q WHERE q.address = r.address AND NOT q.given_up AND (q.done OR q.vague)))
UNION ALL
-- "There is one already", after an insert that nobody answered: it may be ours.
SELECT r.address, r.key, NULL, NULL, NULL, ${lit(header.mode)}, TRUE, NULL, NULL, FALSE, FALSE, FALSE, NULL
FROM (FROM reached WHERE result = 'exists') r LEFT JOIN state.snapshot old ON old.address = r.address
WHERE r.doubted OR old.uncertain`)
  const others = `FROM doubted UNION ALL ${confirmed('o', 'state.outbox o JOIN reached r USING (n)', '')} WHERE r.done AND r.kind <> 'remove' AND NOT r.given_up`
  // Two members may carry one identifier; the confirmed one says what is there, and the lowest key owns it.
  const one = header.any ? 'QUALIFY row_number() OVER (PARTITION BY address ORDER BY uncertain, key) = 1' : ''
  await db.run(`
CREATE OR REPLACE VIEW other_rows AS SELECT * FROM (${others}) ${one};
CREATE OR REPLACE VIEW arrived_rows AS ${confirmed('r', 'arrived r', ', r.n')};
CREATE OR REPLACE VIEW folded AS FROM other_rows UNION ALL SELECT * EXCLUDE (n) FROM arrived_rows`)
  await db.run(`
CREATE OR REPLACE TABLE touched AS
SELECT address FROM reached WHERE done OR result = 'absent' UNION ALL SELECT address FROM doubted
UNION ALL SELECT address FROM arrived WHERE kind <> 'add'
-- An add's address is there only where something was once in doubt or refused.
UNION ALL SELECT address FROM (SELECT address FROM state.snapshot UNION ALL SELECT address FROM state.verdicts) t
  SEMI JOIN (SELECT address FROM arrived WHERE kind = 'add') a USING (address)`)
}

/** Changes that one statement folds: their numbers fit into memory for a join. */
const SLICE = 1_000_000

/** SQL that writes the fold and empties outbox, journal and header; to run inside one transaction. `last`: the highest number. */
export function foldSql({ last }: Folded): string {
  const slices = Array.from({ length: Math.ceil(last / SLICE) }, (_, i) => `n > ${i * SLICE} AND n <= ${(i + 1) * SLICE}`)
  return `
DELETE FROM state.snapshot WHERE address IN (SELECT address FROM touched);
INSERT INTO state.snapshot SELECT * FROM other_rows;
${slices.map((slice) => `INSERT INTO state.snapshot SELECT * EXCLUDE (n) FROM arrived_rows WHERE ${slice};`).join('\n')}
DELETE FROM state.verdicts WHERE address IN (SELECT address FROM touched);
DELETE FROM state.verdicts WHERE (address, op) IN (SELECT address, op FROM judged);
INSERT INTO state.verdicts SELECT * FROM judged;
DELETE FROM state.outbox; DELETE FROM state.journal; DELETE FROM state.jobs;
DELETE FROM state.meta WHERE name = 'header';
`
}

/** Folds a run that was killed. */
export async function recoverFold(db: Db, header: Header): Promise<{ uncertain: number }> {
  const found = await prepareFold(db, header)
  await transaction(db, `${foldSql(found)} ${COUNT_ROWS}`)
  await dropFold(db)
  return found
}

/** The same as a look: `snap` and `said` read as if it were folded; the state stays as it is. */
export async function viewFolded(db: Db): Promise<void> {
  await db.run(`
CREATE OR REPLACE VIEW snap AS SELECT * FROM state.snapshot ANTI JOIN touched USING (address) UNION ALL SELECT * FROM folded;
CREATE OR REPLACE VIEW said AS
  SELECT v.* FROM state.verdicts v WHERE v.address NOT IN (SELECT address FROM touched) AND (v.address, v.op) NOT IN (SELECT address, op FROM judged)
  UNION ALL SELECT * FROM judged`)
}

/** `snap` and `said` are the state's own tables. */
export async function viewStored(db: Db): Promise<void> {
  await db.run(`CREATE OR REPLACE VIEW snap AS SELECT * FROM state.snapshot; CREATE OR REPLACE VIEW said AS SELECT * FROM state.verdicts`)
}

/** `snap` reads as if every address were uncertain: what `--full-refresh` is about to make of it. */
export async function viewUncertain(db: Db): Promise<void> {
  await db.run(`ALTER VIEW snap RENAME TO known; CREATE VIEW snap AS SELECT * REPLACE (TRUE AS uncertain) FROM known`)
}

async function dropFold(db: Db): Promise<void> {
  for (const view of ['folded', 'arrived_rows', 'other_rows', 'reached', 'arrived']) await db.run(`DROP VIEW IF EXISTS ${view}`)
  for (const table of ['settled', 'ended', 'doubted', 'touched', 'judged', 'known_owners']) await db.run(`DROP TABLE IF EXISTS ${table}`)
}

/** SQL that stores the number of snapshot rows: a write-ahead log that lost its end is found at the next open. Runs after the fold. */
export const COUNT_ROWS = `${setMeta('rows', null)} UPDATE state.meta SET value = (SELECT count(*)::VARCHAR FROM state.snapshot) WHERE name = 'rows';`

/** Runs statements in one transaction. */
export async function transaction(db: Db, sql: string): Promise<void> {
  await db.run('BEGIN')
  try {
    await db.run(sql)
    step('uncommitted')
    await db.run('COMMIT')
  } catch (error) {
    await db.run('ROLLBACK').catch(() => undefined)
    throw error
  }
}
