/** Takes what stands in the model today as delivered, without sending: blindly, or as far as the destination holds it. */
import { compare, readModel, storedHashColumns } from './compare.ts'
import type { Project, Sync } from './config/types.ts'
import type { RunContext } from './context.ts'
import { CdpError } from './errors.ts'
import { finishFiles } from './finish.ts'
import { identity, open } from './open.ts'
import type { Session } from './open.ts'
import { newRunId } from './records.ts'
import { recover } from './recover.ts'
import { namesNoRecord } from './references.ts'
import { lit, litTime } from './state/db.ts'
import type { Db } from './state/db.ts'
import { COUNT_ROWS, projected, transaction } from './state/fold.ts'
import { OWNING, setMeta } from './state/header.ts'
import { computePayloads } from './state/payload.ts'
import { compareThere } from './there.ts'
import type { There } from './there.ts'

export interface BaselineOptions {
  /** Only fields whose mapping was edited; other differences stay in the plan. */
  readonly mappingOnly: boolean
  /** Adopt only rows that the destination holds as they would be sent; the rest stays in the plan. */
  readonly compare?: boolean
}

export interface Baseline {
  readonly adopted: number
  /** Known before, and not among today's rows that can be sent. */
  readonly kept: number
  /** With `compare`: what was found. */
  readonly there?: There
}

/**
 * Adopts today's rows as delivered, without sending. An unfinished run is folded first; no owned address and no remote id is
 * dropped. Throws CDP4020 when there is nothing to compare with, CDP4021 when it can't be read.
 */
export async function baseline(project: Project, sync: Sync, context: RunContext, options: BaselineOptions): Promise<Baseline> {
  let session = await open(project, sync, context, newRunId(context.now()), 'run', true)
  try {
    checkSameTarget(session)
    if (options.compare) checkComparable(session)
    session = await recover(session, { recovered: () => undefined })
    // A baseline is what to do when the warehouse moved: its position says nothing, and neither do old hashes.
    session = { ...session, memory: { ...session.memory, position: null } }
    if (options.mappingOnly) return await adoptMapping(session)
    return await adoptRows(session, options.compare ?? false)
  } finally {
    await session.close()
  }
}

function checkComparable({ sync, destination }: Session): void {
  const { name } = sync.destination.connector
  const hint = `\`cdp-sync baseline ${sync.name}\`, without --compare, adopts today's rows blindly.`
  const why =
    sync.mode === 'append'
      ? `${sync.name} appends events, and what was appended can't be found again`
      : !destination.read
        ? `${name} can't read its records back`
        : sync.match.length === 0
          ? `${sync.name} has no match to find its records by`
          : null
  if (why) throw new CdpError('CDP4020', `Nothing can be compared: ${why}.`, { where: sync.where, hint })
}

function checkSameTarget({ memory, target, sync }: Session): void {
  if (memory.target === null || memory.target === target) return
  throw new CdpError('CDP4003', `The state of ${sync.name} belongs to another target.`, {
    hint: `\`cdp-sync adopt-target ${sync.name}\` binds it to this one, \`cdp-sync reset ${sync.name}\` forgets it.`,
  })
}

async function adoptRows(session: Session, compares: boolean): Promise<Baseline> {
  const { db } = session.state
  const { mapping, addressing, placement, raw } = await readModel(session, 'all')
  if (!addressing.byKey && !addressing.membership && !addressing.any) {
    await db.run(
      `CREATE OR REPLACE TABLE doubled AS SELECT address FROM stage GROUP BY address HAVING count(*) > 1; DELETE FROM stage WHERE address IN (SELECT address FROM doubled)`,
    )
  }
  await computePayloads(db, 'rows', placement.fields, placement.names.length, raw)
  const header = {
    any: addressing.any,
    match: placement.fields.filter(({ field }) => field.match).map(({ position }) => position),
    fields: placement.names,
  }
  await collectAdopted(session, (list, address) => projected(header, list, address))
  const there = compares ? await compareThere(session, placement, addressing) : undefined
  const found = there ? await splitAdopted(db) : ''
  const { adopted } = await db.one<{ adopted: number }>('SELECT count(*) AS adopted FROM adopted')
  const { kept } = await db.one<{ kept: number }>(
    `SELECT count(*) AS kept FROM state.snapshot WHERE address NOT IN (SELECT address FROM adopted${compares ? ' UNION ALL SELECT address FROM there' : ''})`,
  )
  await transaction(
    db,
    [
      found,
      'DELETE FROM state.snapshot WHERE address IN (SELECT address FROM adopted);',
      'INSERT INTO state.snapshot SELECT * FROM adopted;',
      // Rows that are not adopted are compared by payload at the next run.
      'UPDATE state.snapshot SET hash = NULL WHERE address NOT IN (SELECT address FROM adopted);',
      `DELETE FROM state.verdicts WHERE address IN (SELECT address FROM adopted);`,
      placement.reserve,
      placement.commit,
      ...metaOf(session, { hash_columns: storedHashColumns(mapping) }),
      COUNT_ROWS,
    ].join('\n'),
  )
  await finishFiles(session, false)
  return { adopted, kept, ...(there ? { there } : {}) }
}

/** `adopted`: a snapshot row for each row of the model that can be sent. */
async function collectAdopted({ sync, state, context, run }: Session, project: (list: string, address: string) => string): Promise<void> {
  const keeps = sync.mode !== 'append'
  const payload = keeps ? project('c.payload', 'w.address') : 'NULL'
  await state.db.run(`
CREATE OR REPLACE TABLE adopted AS
SELECT w.address, w.key, ${keeps ? 'w.hash' : 'NULL::UBIGINT'} AS hash, ${payload} AS payload, s.remote_id, ${lit(sync.mode)} AS mode,
  coalesce(s.owned, FALSE) OR ${OWNING.includes(sync.mode)} AS owned, ${litTime(context.now())} AS confirmed_at, ${lit(run)} AS run,
  coalesce(s.accepted, FALSE) AS accepted, FALSE AS gone, FALSE AS uncertain, NULL AS pending
FROM wanted w JOIN (SELECT * FROM computed WHERE code IS NULL QUALIFY row_number() OVER (PARTITION BY key) = 1) c ON c.key = w.key LEFT JOIN state.snapshot s ON s.address = w.address`)
}

/**
 * Leaves in `adopted` what the destination holds already. Gives SQL for the rest: where a record differs, what it holds is
 * known from now on and no more ours than it was; where there is none, nothing is known, and what was ours stays ours.
 */
async function splitAdopted(db: Db): Promise<string> {
  await db.run(`
CREATE OR REPLACE TABLE differing AS
SELECT a.* REPLACE (t.payload AS payload, NULL::UBIGINT AS hash, coalesce(s.owned, FALSE) AS owned, FALSE AS accepted)
FROM adopted a JOIN there t ON t.address = a.address LEFT JOIN state.snapshot s ON s.address = a.address WHERE t.verdict = 'different';
DELETE FROM adopted WHERE address NOT IN (SELECT address FROM there WHERE verdict = 'same');
UPDATE adopted SET remote_id = t.remote_id FROM there t
WHERE t.address = adopted.address AND t.remote_id IS NOT NULL AND ${namesNoRecord('adopted.remote_id')}`)
  return `
DELETE FROM state.snapshot WHERE address IN (SELECT address FROM differing);
INSERT INTO state.snapshot SELECT * FROM differing;
UPDATE state.snapshot SET payload = NULL, hash = NULL, uncertain = FALSE, pending = NULL, accepted = FALSE
  WHERE address IN (SELECT address FROM there WHERE verdict = 'missing');`
}

/** For edited fields only, today's value counts as delivered. */
async function adoptMapping(session: Session): Promise<Baseline> {
  const { db } = session.state
  if (session.memory.first)
    throw new CdpError('CDP4015', `${session.sync.name} has delivered nothing yet: there is no mapping to keep.`, {
      hint: 'Use `cdp-sync baseline` without --mapping-only.',
    })
  const { placement, counts, raw } = await compare(session, null)
  const edited = placement.fields.filter(({ field }) => placement.edited.has(field.name))
  if (edited.some(({ field }) => field.match)) {
    throw new CdpError(
      'CDP4015',
      `The match of ${session.sync.name} was edited: its addresses would change, not only what is written there.`,
      {
        where: session.sync.locate(['match']),
        hint: 'Look at `cdp-sync plan`; run it, or use `cdp-sync baseline` without --mapping-only.',
      },
    )
  }
  await computePayloads(db, 'rows', edited, placement.names.length, raw)
  const width = placement.names.length
  await transaction(
    db,
    [
      placement.reserve,
      // Rows that are not adopted are compared by payload when they return.
      'UPDATE state.snapshot SET hash = NULL WHERE hash IS NOT NULL;',
      `UPDATE state.snapshot SET payload = list_transform(range(1, ${width + 1}), lambda i: coalesce(c.payload[i], snapshot.payload[i]))
       FROM wanted w JOIN (SELECT * FROM computed WHERE code IS NULL QUALIFY row_number() OVER (PARTITION BY key) = 1) c ON c.key = w.key
       WHERE snapshot.address = w.address AND snapshot.payload IS NOT NULL;`,
      placement.commit,
      ...metaOf(session, {}),
      COUNT_ROWS,
    ].join('\n'),
  )
  await finishFiles(session, false)
  return { adopted: counts.because.mapping, kept: counts.change - counts.because.mapping }
}

function metaOf(session: Session, further: Record<string, string>): string[] {
  const meta = {
    ...identity(session),
    confirmed_at: new Date(session.context.now()).toISOString(),
    position: session.memory.position,
    ...further,
  }
  return Object.entries(meta).map(([name, value]) => setMeta(name, value))
}
