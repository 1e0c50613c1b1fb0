/**
 * The diff: wanted addresses against the snapshot. Everything is a table in memory; the state is only read (`snap`, `said`).
 *
 * `joined` (addresses that may differ) → `candidates` → `computed` (payloads) → `classified` → `changes` and `removals`.
 */
import type { Mode, Op, Removal } from '../types.ts'
import { lit, litList, litTime } from './db.ts'
import type { Db } from './db.ts'
import { projected } from './fold.ts'
import { computePayloads, differsSql, fieldSql, findEdited, NO_PAYLOADS, payloadSql } from './payload.ts'
import type { PlacedField } from './payload.ts'
import { findMoves } from './moves.ts'
import { collectRemovals } from './removals.ts'
import { leaveOut } from './selection.ts'
import type { Selection } from './selection.ts'
import { DAY, MAX_ATTEMPTS, PENDING } from './schema.ts'
import type { Addressing, Staged } from './stage.ts'
import type { Elsewhere } from './warehouse/narrow.ts'

export interface DiffInput {
  readonly mode: Mode
  readonly op: Op
  readonly removal: Removal | null
  readonly addressing: Addressing
  readonly renames: boolean
  readonly staged: Staged
  /** What is not here, for it is as delivered. */
  readonly elsewhere: Elsewhere
  /** Today's mapping at its positions, match fields included, meta fields not. */
  readonly fields: readonly PlacedField[]
  /** Number of positions. */
  readonly width: number
  /** Names of fields whose mapping is not the one that the snapshot was compared under. */
  readonly edited: ReadonlySet<string>
  readonly raw: (column: string) => string
  /** Nothing was ever delivered or adopted. */
  readonly first: boolean
  readonly now: number
  readonly refreshAfter: number | null
  /** Operations whose repeat may do harm. */
  readonly unsafe: readonly Op[]
  readonly context: string
  /** Rows with a null key in the last run that removed anything. */
  readonly nullKeysBefore: number
  readonly allowNullKeys: boolean
  /** Count only: on a first run, compute payloads for this many samples instead of all rows; null: all. */
  readonly sampleOnly: number | null
  readonly selection: Selection
}

export interface DiffCounts {
  readonly add: number
  readonly change: number
  readonly remove: number
  readonly unchanged: number
  readonly invalid: number
  readonly held: number
  readonly uncertain: number
  readonly waiting: number
  readonly kept: number
  readonly renames: number
  readonly identities: number
  /** Addresses to be removed whose removal was not tried before. */
  readonly newRemovals: number
  readonly owned: number
  readonly because: { uncertain: number; data: number; mapping: number; refresh: number }
}

/** Counts of the whole plan, which guards look at, and of what the selection leaves of it. */
export async function diff(db: Db, input: DiffInput): Promise<{ whole: DiffCounts; counts: DiffCounts }> {
  await joinSnapshot(db, input)
  if (!input.addressing.byKey && !input.addressing.membership && !input.addressing.any) await duplicateAddresses(db, input.first)
  if (await isPlainLoad(db, input)) await classifyLoad(db, input)
  else {
    await collectCandidates(db, input)
    await compute(db, input)
    await classify(db, input)
  }
  await collectRemovals(db, input)
  const whole = await count(db, input)
  if (input.selection.keys === null && input.selection.limit === null) return { whole, counts: whole }
  await leaveOut(db, input.selection)
  return { whole, counts: { ...(await count(db, input)), unchanged: whole.unchanged } }
}

const adding = (mode: Mode): boolean => mode === 'insert' || mode === 'append'

async function joinSnapshot(db: Db, input: DiffInput): Promise<void> {
  const { staged, mode, addressing } = input
  if (input.first) {
    await db.run(`CREATE OR REPLACE VIEW joined AS SELECT address, key, hash, TRUE AS here FROM wanted`)
    return
  }
  const hash = staged.rehash ? 'w.old_hash' : 'w.hash'
  const due = input.refreshAfter === null ? '' : ` OR confirmed_at < ${litTime(input.now - input.refreshAfter)}`
  const removes = mode === 'mirror' && input.removal !== 'none'
  // Adding modes look at addresses that are new, uncertain or another key's; the others at any difference.
  const dirty = adding(mode) ? 's.uncertain' : `s.dirty OR s.hash IS DISTINCT FROM ${staged.incomparable ? 'NULL' : hash}`
  const differs = `${dirty}${addressing.byKey ? '' : ' OR s.key <> w.key'}`
  const left =
    mode === 'append'
      ? 's.address IS NULL'
      : `s.address IS NULL OR (w.address IS NULL AND NOT (s.gone AND ${removes ? 'NOT s.owned' : 'TRUE'}))`
  await db.run(`
CREATE OR REPLACE TABLE joined AS
SELECT coalesce(w.address, s.address) AS address, ${addressing.byKey ? 'w.address' : 'w.key'} AS key, w.hash AS hash, w.address IS NOT NULL AS here
FROM wanted w FULL OUTER JOIN (
  SELECT address, ${addressing.byKey ? '' : 'key, '}hash, gone, owned, uncertain, (uncertain OR gone${due}) AS dirty FROM snap
) s ON w.address = s.address
WHERE ${left} OR (w.address IS NOT NULL AND (${differs}))`)
}

/**
 * Rows that share an address are invalid, all of them. At least one row of such a group is in `joined`: an address has one
 * key in the snapshot.
 */
async function duplicateAddresses(db: Db, first: boolean): Promise<void> {
  await db.run(`
CREATE OR REPLACE TABLE doubled AS
SELECT address FROM stage SEMI JOIN (SELECT address FROM joined WHERE here) j USING (address) GROUP BY address HAVING count(*) > 1`)
  const { found } = await db.one<{ found: number }>('SELECT count(*) AS found FROM doubled')
  if (found === 0) return
  await db.run(`INSERT INTO doubtful SELECT key, address, 'duplicate_match', NULL FROM stage SEMI JOIN doubled USING (address)`)
  await db.run(`DELETE FROM stage WHERE address IN (SELECT address FROM doubled)`)
  // On a first run `joined` is a view over the stage.
  if (!first) await db.run(`DELETE FROM joined WHERE here AND address IN (SELECT address FROM doubled)`)
}

async function collectCandidates(db: Db, input: DiffInput): Promise<void> {
  const { staged } = input
  await db.run(`CREATE OR REPLACE TABLE edited (address VARCHAR)`)
  if (!input.first && !adding(input.mode) && input.edited.size > 0 && !staged.incomparable) {
    const hash = staged.rehash ? 'w.old_hash' : 'w.hash'
    const same = `(SELECT w.address, w.key FROM wanted w JOIN snap s ON s.address = w.address WHERE s.hash = ${hash} AND NOT s.uncertain)`
    const fields = input.fields.filter(
      ({ field }) => input.edited.has(field.name) && field.write !== 'on_create' && !(field.match && !input.addressing.byKey),
    )
    await findEdited(db, same, fields, input.raw)
  }
  // Nothing is known yet on a first run: there is nothing to store either.
  await db.run(`
CREATE OR REPLACE ${input.first ? 'VIEW' : 'TABLE'} candidates AS
SELECT w.address, w.key, w.hash, s.payload AS known, s.key AS known_key, coalesce(s.uncertain, FALSE) AS uncertain, s.pending,
  s.remote_id, s.address IS NOT NULL AS stored, NULL::VARCHAR AS previous, NULL::VARCHAR AS forerunner,
  ${input.refreshAfter === null ? 'FALSE' : `coalesce(s.confirmed_at < ${litTime(input.now - input.refreshAfter)}, FALSE)`} AS due
FROM (SELECT address, key, hash FROM joined WHERE here UNION SELECT address, key, hash FROM wanted SEMI JOIN edited USING (address)) w
LEFT JOIN snap s ON s.address = w.address`)
  if (input.renames && !input.first) await findMoves(db)
}

async function compute(db: Db, input: DiffInput): Promise<void> {
  if (adding(input.mode) && !input.first) {
    // What is known already is not computed again.
    await db.run(`DELETE FROM candidates WHERE stored AND NOT uncertain`)
    if (!input.addressing.byKey) await db.run(`DELETE FROM candidates WHERE NOT stored AND key IN (SELECT key FROM snap)`)
  }
  const sample = input.first && input.sampleOnly !== null
  const picked = sample
    ? `(SELECT r.* FROM rows r SEMI JOIN (SELECT key FROM ${sampled(input.selection)} ORDER BY hash(key), key LIMIT ${input.sampleOnly}) c ON c.key = r.key)`
    : `(SELECT r.* FROM rows r SEMI JOIN candidates c ON c.key = r.key)`
  const { expected } = await db.one<{ expected: number }>('SELECT count(DISTINCT key) AS expected FROM candidates')
  if (expected === 0) await db.run(NO_PAYLOADS)
  else
    await computePayloads(db, picked, input.fields, input.width, input.raw, {
      expected: sample || input.staged.collapsed ? null : expected,
    })
  // Rows that are equal in every mapped column are one row; they give one payload.
  if (input.staged.collapsed)
    await db.run(`CREATE OR REPLACE TABLE payloads AS SELECT * FROM payloads QUALIFY row_number() OVER (PARTITION BY key) = 1`)
}

/** A first run's samples come from what the selection will leave. */
function sampled({ keys, limit }: Selection): string {
  if (keys === null && limit === null) return 'candidates'
  const chosen = keys === null ? '' : `WHERE list_contains(${litList(keys)}, key)`
  return `(SELECT key FROM candidates ${chosen} ORDER BY key${limit === null ? '' : ` LIMIT ${limit}`})`
}

async function classify(db: Db, input: DiffInput): Promise<void> {
  const { mode, op } = input
  const names = input.addressing.any
    ? { any: true, match: input.fields.filter((f) => f.field.match).map((f) => f.position), fields: fieldNames(input) }
    : null
  const own = names ? projected(names, 'p.payload', 'c.address') : 'p.payload'
  const wait = litTime(input.now - DAY)
  const sample = input.first && input.sampleOnly !== null
  const unsafe = litList(input.unsafe)
  const hasVerdicts = (await db.one<{ n: number }>('SELECT count(*) AS n FROM said')).n > 0
  const same = `v.payload IS NOT DISTINCT FROM w.payload AND v.context = ${lit(input.context)}`
  await db.run(`
CREATE OR REPLACE TABLE classified AS
WITH weighed AS (
  SELECT c.*, p.payload, p.code, p.field, c.known IS NULL AS fresh,
    CASE WHEN c.known IS NOT NULL AND p.payload IS NOT NULL THEN ${differsSql(input.fields, `(${own})`, 'c.known')} END AS differs
  FROM candidates c ${sample ? 'LEFT ' : ''}JOIN computed p ON p.key = c.key)
SELECT w.*${input.addressing.any ? '' : ' EXCLUDE (known, pending, payload)'}, ${hasVerdicts ? `CASE WHEN v.outcome = 'rejected' AND ${same} THEN v.attempts ELSE 0 END` : '0'} AS attempts,
  CASE
    WHEN w.code IS NOT NULL THEN 'invalid'
    ${adding(mode) ? `WHEN w.stored AND NOT w.uncertain THEN 'quiet'` : ''}
    WHEN w.uncertain AND list_contains(${unsafe}, w.pending.op) THEN 'held'
    ${hasVerdicts ? `WHEN v.outcome = 'rejected' AND v.attempts >= ${MAX_ATTEMPTS} AND ${same} AND v.noted_at > ${wait} THEN 'held'` : ''}
    ${hasVerdicts ? `WHEN v.outcome IN ('absent', 'exists') AND ${same} AND v.noted_at > ${wait} AND NOT w.uncertain THEN 'settled'` : ''}
    WHEN NOT w.fresh AND NOT w.uncertain AND NOT w.due AND w.previous IS NULL AND len(w.differs) = 0 THEN 'quiet'
    ELSE 'send'
  END AS status,
  -- The very change that may have been sent already: it keeps its id and its body.
  w.uncertain AND w.pending.op = ${lit(op)} AND w.pending.key = w.key AND w.pending.payload IS NOT DISTINCT FROM w.payload AS repeat,
  CASE
    WHEN w.uncertain THEN 'uncertain'
    WHEN len(list_filter(w.differs, lambda x: NOT list_contains(${litList([...input.edited])}, x))) > 0 OR w.previous IS NOT NULL THEN 'data'
    WHEN len(w.differs) > 0 THEN 'mapping'
    ELSE 'refresh'
  END AS because
FROM weighed w ${hasVerdicts ? `LEFT JOIN said v ON v.address = w.address AND v.op = 'write'` : ''}`)
  if (input.addressing.any) await joinMembers(db, input)
  // Payloads are copied once: from here to the outbox.
  await db.run(
    input.addressing.any
      ? `CREATE OR REPLACE VIEW changes AS FROM classified`
      : `CREATE OR REPLACE VIEW changes AS SELECT c.*, k.known, k.pending, p.payload FROM classified c JOIN candidates k ON k.key = c.key ${sample ? 'LEFT ' : ''}JOIN computed p ON p.key = c.key`,
  )
}

/** A first load with nothing to compare, whose payloads are all said in SQL: rows stream from the extract to the outbox. */
async function isPlainLoad(db: Db, input: DiffInput): Promise<boolean> {
  const { first, sampleOnly, addressing, staged, selection, fields, raw } = input
  if (!first || sampleOnly !== null || addressing.any || addressing.membership || staged.collapsed) return false
  if (selection.keys !== null || selection.limit !== null || !fields.every((field) => fieldSql(field, raw) !== null)) return false
  return (await db.one<{ n: number }>('SELECT count(*) AS n FROM said')).n === 0
}

async function classifyLoad(db: Db, input: DiffInput): Promise<void> {
  await computePayloads(db, 'rows', input.fields, input.width, input.raw, { lazy: true })
  const constants = `NULL::VARCHAR AS known_key, FALSE AS uncertain, NULL::VARCHAR AS remote_id, FALSE AS stored, NULL::VARCHAR AS previous,
  NULL::VARCHAR AS forerunner, FALSE AS due, TRUE AS fresh, NULL::VARCHAR[] AS differs, 0 AS attempts, FALSE AS repeat, 'data' AS because`
  const { list, fits } = payloadSql(input.fields, input.width, input.raw)
  const { doubts, rest } = await db.one<{ doubts: number; rest: number }>(
    'SELECT (SELECT count(*) FROM doubtful) AS doubts, (SELECT count(*) FROM payloads) AS rest',
  )
  // Rows stream through where nothing must be left out or added: numbering them holds back all of them otherwise.
  const valid =
    doubts === 0 ? '' : ' AND r.key IS NOT NULL AND r.address IS NOT NULL AND r.key NOT IN (SELECT key FROM doubtful WHERE key IS NOT NULL)'
  const others =
    rest === 0
      ? ''
      : 'UNION ALL SELECT w.address, w.key, w.hash, p.payload FROM payloads p JOIN wanted w ON w.key = p.key WHERE p.code IS NULL'
  await db.run(`
CREATE OR REPLACE VIEW classified AS
SELECT w.address, w.key, w.hash, p.code, p.field, ${constants}, CASE WHEN p.code IS NULL THEN 'send' ELSE 'invalid' END AS status
FROM wanted w LEFT JOIN payloads p ON p.key = w.key;
-- What can't be sent is in \`doubtful\` by its key; what SQL could not compute is in \`payloads\`.
CREATE OR REPLACE VIEW changes AS
SELECT *, NULL::VARCHAR AS code, NULL::VARCHAR AS field, ${constants}, 'send' AS status, NULL::VARCHAR[] AS known, NULL::${PENDING} AS pending
FROM (
  SELECT r.address, r.key, r.hash, ${list} AS payload FROM rows r WHERE ${rest === 0 ? 'TRUE' : fits}${valid} ${others}
)`)
}

/** Any-of: the addresses of one member become one change, which carries all its identifiers. */
async function joinMembers(db: Db, input: DiffInput): Promise<void> {
  const names = input.fields.filter(({ field }) => field.match).map(({ field }) => field.name)
  const which = names.map((name) => `WHEN starts_with(c.address, ${lit(`${name}:`)}) THEN ${lit(name)}`).join(' ')
  await db.run(`
CREATE OR REPLACE TABLE own_status AS SELECT address, key, hash, status FROM classified;
CREATE OR REPLACE TABLE classified AS
SELECT min(c.address) AS address, c.key, any_value(c.hash) AS hash, any_value(c.known) FILTER (c.status = 'send') AS known,
  any_value(c.known_key) AS known_key, bool_or(c.uncertain) AS uncertain, any_value(c.pending) FILTER (c.uncertain) AS pending,
  any_value(c.remote_id) AS remote_id, bool_and(c.stored) AS stored, NULL::VARCHAR AS previous, NULL::VARCHAR AS forerunner, bool_or(c.due) AS due,
  any_value(c.payload) AS payload, any_value(c.code) AS code, any_value(c.field) AS field, bool_and(c.fresh) AS fresh,
  -- A member that is known gets a further identifier: that is what differs.
  list_distinct(flatten(list(CASE WHEN c.fresh THEN [CASE ${which} END] ELSE coalesce(c.differs, []) END))) AS differs, max(c.attempts) AS attempts,
  CASE WHEN bool_or(c.status = 'invalid') THEN 'invalid' WHEN bool_or(c.status = 'held') THEN 'held' WHEN bool_or(c.status = 'send') THEN 'send'
    WHEN bool_or(c.status = 'settled') THEN 'settled' ELSE 'quiet' END AS status,
  bool_and(c.repeat OR NOT c.uncertain) AND bool_or(c.repeat) AS repeat,
  CASE WHEN bool_or(c.uncertain) THEN 'uncertain' WHEN bool_or(c.because = 'data' OR c.fresh) THEN 'data' WHEN bool_or(c.because = 'mapping') THEN 'mapping' ELSE 'refresh' END AS because,
  any_value(s.address) AS addresses
FROM classified c JOIN stage s ON s.key = c.key GROUP BY c.key`)
}

async function count(db: Db, input: DiffInput): Promise<DiffCounts> {
  const sample = input.first && input.sampleOnly !== null
  const c = await db.one<{
    add: number
    change: number
    held: number
    invalid: number
    uncertain: number
    renames: number
    fromData: number
    fromMapping: number
    fromDoubt: number
    fromRefresh: number
  }>(`
SELECT count(*) FILTER (status = 'send' AND fresh) AS "add", count(*) FILTER (status = 'send' AND NOT fresh) AS change,
  count(*) FILTER (status = 'held') AS held, count(*) FILTER (status = 'invalid') AS invalid, count(*) FILTER (status = 'send' AND uncertain) AS uncertain,
  count(*) FILTER (status = 'send' AND NOT fresh AND ${renamed(input)}) AS renames,
  count(*) FILTER (status = 'send' AND NOT fresh AND because = 'data') AS fromData, count(*) FILTER (status = 'send' AND NOT fresh AND because = 'mapping') AS fromMapping,
  count(*) FILTER (status = 'send' AND NOT fresh AND because = 'uncertain') AS fromDoubt, count(*) FILTER (status = 'send' AND NOT fresh AND because = 'refresh') AS fromRefresh
FROM classified`)
  const r = await db.one<{ remove: number; held: number; waiting: number; uncertain: number; fresh: number }>(`
SELECT count(*) FILTER (status = 'send') AS remove, count(*) FILTER (status = 'held') AS held, count(*) FILTER (status = 'waiting') AS waiting,
  count(*) FILTER (status = 'send' AND uncertain) AS uncertain, coalesce(sum(coalesce(len(addresses), 1)) FILTER (status = 'send' AND NOT judged), 0)::BIGINT AS fresh FROM removals`)
  const { doubts } = await db.one<{ doubts: number }>('SELECT count(*) AS doubts FROM snap WHERE uncertain')
  const d = await db.one<{ invalid: number; kept: number; owned: number; wanted: number; lost: number }>(`
SELECT (SELECT count(*) FROM doubtful) AS invalid, (SELECT count(*) FROM protected WHERE kept) AS kept, (SELECT count(*) FROM snap WHERE owned) AS owned,
  (SELECT ${input.addressing.any ? 'count(DISTINCT key)' : 'count(*)'} FROM wanted) AS wanted,
  -- What may have been sent, may not be sent again, and is in no row of the model any more: a person must say.
  ${
    doubts === 0
      ? '0'
      : `(SELECT count(*) FROM snap WHERE uncertain AND list_contains(${litList(input.unsafe)}, pending.op)
    AND address NOT IN (SELECT address FROM wanted) AND address NOT IN (SELECT address FROM removals))`
  } AS lost`)
  const invalid = sample ? 0 : c.invalid
  const { elsewhere } = input
  return {
    add: c.add,
    change: c.change,
    remove: r.remove,
    unchanged: d.wanted + elsewhere.wanted - c.add - c.change - c.held - invalid,
    invalid: d.invalid + elsewhere.nullKeys + elsewhere.nullMatches + invalid,
    held: c.held + r.held + d.lost,
    uncertain: c.uncertain + r.uncertain,
    waiting: r.waiting,
    kept: d.kept,
    renames: c.renames,
    identities: await countIdentities(db, input),
    newRemovals: r.fresh,
    owned: d.owned + elsewhere.owned,
    because: { uncertain: c.fromDoubt, data: c.fromData, mapping: c.fromMapping, refresh: c.fromRefresh },
  }
}

/** SQL: the change keeps its record under a new match. */
function renamed(input: DiffInput): string {
  if (!input.addressing.byKey) return 'previous IS NOT NULL'
  const match = input.fields.filter(({ field }) => field.match).map(({ field }) => field.name)
  return match.length ? `list_has_any(differs, ${litList(match)})` : 'FALSE'
}

/** Keys whose address (or match, where the key is the address) changes, whatever the cause. */
async function countIdentities(db: Db, input: DiffInput): Promise<number> {
  if (input.first || adding(input.mode)) return 0
  const sql = input.addressing.byKey
    ? `SELECT count(*) AS n FROM classified WHERE status = 'send' AND NOT fresh AND ${renamed(input)}`
    : `SELECT count(DISTINCT c.key) AS n FROM classified c JOIN snap s ON s.key = c.key AND s.address <> c.address
       WHERE c.status = 'send' AND (NOT c.stored OR c.known_key <> c.key)${input.addressing.any ? ' AND NOT list_contains(c.addresses, s.address)' : ''}`
  return (await db.one<{ n: number }>(sql)).n
}

function fieldNames(input: DiffInput): string[] {
  const names = Array.from({ length: input.width }, () => '')
  for (const { field, position } of input.fields) names[position - 1] = field.name
  return names
}
