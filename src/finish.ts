/** The end of a run: journal and diff become the snapshot, and the files beside the state say what did not arrive. */
import { writeFile } from 'node:fs/promises'
import { storedHashColumns } from './compare.ts'
import type { Comparison } from './compare.ts'
import { step } from './crash.ts'
import { identity } from './open.ts'
import type { Session } from './open.ts'
import type { Sent } from './outgoing.ts'
import { appendAttempts, targetFile, writeRejected } from './records.ts'
import type { Attempt, RejectedRow } from './records.ts'
import { MAX_ATTEMPTS } from './state/schema.ts'
import { checkpoint, commit } from './state/local.ts'
import type { Db } from './state/db.ts'
import { transaction } from './state/fold.ts'
import { lit, litList, litTime } from './state/db.ts'
import { readMeta } from './state/header.ts'
import type { Op } from './types.ts'

export async function commitRun(session: Session, comparison: Comparison, sent: Sent): Promise<void> {
  const { sync, state, context, memory } = session
  context.report({ type: 'phase', sync: sync.name, phase: 'commit' })
  const adding = sync.mode === 'insert' || sync.mode === 'append'
  const removes = sync.mode === 'mirror' && sync.onRemove !== 'none'
  // A vendor's job that is still open: its token stays, and the next run asks for its outcomes before it folds anything.
  if (sent.header !== null && (await openJobs(state.db)) > 0) return finishFiles(session, false)
  if (sync.backfill === false && memory.target === null) await adopt(session)
  step('folding')
  await commit(state.db, {
    header: sent.header,
    placement: comparison.placement,
    first: memory.first,
    rehash: comparison.staged.rehash,
    any: comparison.addressing.any,
    compares: !adding,
    marksGone: !removes,
    meta: {
      ...identity(session),
      hash_columns: storedHashColumns(comparison.mapping),
      ...(sent.outbox.removals > 0 ? { null_keys: comparison.staged.nullKeys } : {}),
      position: comparison.position,
      confirmed_at: new Date(context.now()).toISOString(),
    },
  })
  step('folded')
  await finishFiles(session, sent.header !== null)
}

async function openJobs(db: Db): Promise<number> {
  const { open } = await db.one<{ open: number }>(`
SELECT count(*) AS open FROM (
  SELECT n, arg_max(j.result, j.seq) AS result FROM (SELECT unnest(numbers) AS n FROM state.jobs) t JOIN state.journal j ON t.n BETWEEN j.first AND j.last GROUP BY n
) WHERE result = 'intent'`)
  return open
}

/** Rejections, attempts and the target's name, as files that can be read while a run holds the state. */
export async function finishFiles(session: Session, sent: boolean): Promise<void> {
  const { state, paths, run, target } = session
  if (sent) await appendAttempts(paths, run, await attemptsOf(state.db))
  await writeRejected(paths, await rejectedRows(state.db, session.context.now()))
  await writeFile(targetFile(paths), target + '\n', { mode: 0o600 })
  step('checkpointing')
  await checkpoint(state.db)
  await session.hold.store(state, true)
}

/** `backfill: false`: today's rows are known, all of them whatever `--key` and `--limit` say, and not ours to remove. */
async function adopt({ state, sync, run, context }: Session): Promise<void> {
  await transaction(
    state.db,
    `INSERT INTO state.snapshot SELECT address, key, NULL, NULL, NULL, ${lit(sync.mode)}, FALSE, ${litTime(context.now())}, ${lit(run)}, FALSE, FALSE, FALSE, NULL
     FROM classified WHERE status IN ('send', 'left') AND address NOT IN (SELECT address FROM state.snapshot);`,
  )
}

async function attemptsOf(db: Db): Promise<Attempt[]> {
  const rows = await db.rows<{ key: string; noted_at: Date; op: Op; result: string; code: string | null; message: string | null }>(
    `SELECT key, noted_at, op, CASE WHEN result = 'intent' THEN 'unknown' ELSE result END AS result, code, message FROM ended WHERE result NOT IN ('ok', 'accepted') ORDER BY n`,
  )
  return rows.map(({ noted_at, result, ...row }) => ({ ...row, at: isoTime(noted_at), outcome: result }))
}

/** What did not arrive: refused rows, and uncertain ones that nobody may repeat. */
export async function rejectedRows(db: Db, now: number): Promise<RejectedRow[]> {
  const refused = await db.rows<{
    key: string
    op: string
    code: string | null
    message: string | null
    field: string | null
    attempts: number
    first_run: string
    run: string
    noted_at: Date
  }>(`SELECT * EXCLUDE (payload, context, address, outcome) FROM state.verdicts WHERE outcome = 'rejected' ORDER BY noted_at, key`)
  const unsafe = litList(JSON.parse((await readMeta(db, 'unsafe')) ?? '["insert","append"]') as string[])
  const unknown = await db.rows<{ key: string; op: Op; run: string }>(
    `SELECT key, pending.op AS op, pending.run AS run FROM state.snapshot WHERE uncertain AND list_contains(${unsafe}, pending.op) ORDER BY key`,
  )
  return [
    ...refused.map(({ op, noted_at, code, message, ...row }) => ({
      ...row,
      op: (op === 'remove' ? 'delete' : 'upsert') as Op,
      outcome: 'rejected' as const,
      code: code ?? '',
      message: message ?? '',
      held: row.attempts >= MAX_ATTEMPTS,
      at: isoTime(noted_at),
    })),
    ...unknown.map(({ key, op, run }) => ({
      key,
      op,
      outcome: 'unknown' as const,
      code: 'unknown',
      message: 'nobody knows whether it arrived, and sending it again might do harm',
      field: null,
      attempts: 0,
      held: true,
      first_run: run,
      run,
      at: new Date(now).toISOString(),
    })),
  ]
}

export const isoTime = (at: Date | string): string => new Date(at).toISOString()
