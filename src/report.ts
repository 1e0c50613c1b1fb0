/** What a run tells while it works, and the record it leaves. */
import type { Project, Sync } from './config/types.ts'
import type { Phase, RunContext, RunEvent } from './context.ts'
import { step } from './crash.ts'
import type { Cut } from './deliver.ts'
import { AuthError, CdpError, described, EXIT, GuardError, LockedError } from './errors.ts'
import type { Sent } from './outgoing.ts'
import { clearProgress, NO_COUNTS, prepareState, statePaths, writeProgress, writeRecord } from './records.ts'
import { createRedactor } from './redact.ts'
import { openKeeper } from './state/keepers.ts'
import { explainDisk } from './state/local.ts'
import type { RunCounts, RunRecord, RunStatus, SyncPlan } from './types.ts'

/** Milliseconds between two writes of progress.json. */
const PROGRESS_EVERY = 1000

export interface Reporter {
  readonly run: string
  /** The run's context, with its events noted for `status`. */
  readonly context: RunContext
  recovered(uncertain: number): void
  planned(plan: SyncPlan): void
  delivered(sent: Sent): void
  /** Null where no database keeps the state. The last one counts. */
  cost(cost: RunRecord['warehouse'] | null): void
  readonly failed: (error: unknown) => void
  /** Writes the record and gives it. */
  end(): Promise<RunRecord>
}

export async function reporter(project: Project, sync: Sync, context: RunContext, run: string): Promise<Reporter> {
  const started = context.now()
  const redact = createRedactor(project.secrets)
  const record: { -readonly [Name in keyof RunRecord]: RunRecord[Name] } = {
    format_version: 1,
    run,
    sync: sync.name,
    status: 'ok',
    started_at: new Date(started).toISOString(),
    ended_at: null,
    seconds: 0,
    exit_code: EXIT.ok,
    target: null,
    counts: { ...NO_COUNTS },
    requests: 0,
    recovered: null,
    reasons: [],
  }
  const progress = progressFile(project, sync, run, context.now)
  const report = (event: RunEvent): void => {
    progress.note(event)
    context.report(event)
  }
  report({ type: 'started', sync: sync.name, run })
  return {
    run,
    context: { ...context, report },
    recovered(uncertain) {
      record.recovered = { uncertain }
      report({ type: 'recovered', sync: sync.name, uncertain })
    },
    planned(plan) {
      const { account, account_id, connector, object } = plan.destination
      const { add, change, remove, unchanged, invalid, held, waiting, kept } = plan.counts
      record.target = { connector, account, account_id, object }
      record.counts = { ...NO_COUNTS, add, change, remove, unchanged, invalid, held, waiting, kept }
      report({ type: 'plan', sync: sync.name, plan })
    },
    delivered({ delivery }) {
      if (!delivery) {
        Object.assign(record, judge(sync, record.counts, 0, null, context.signal))
        return
      }
      const { waiting, ...counts } = delivery.counts
      const withheld = record.counts.waiting
      record.counts = { ...record.counts, ...counts, waiting: withheld + waiting }
      record.requests = delivery.requests
      record.reasons = delivery.reasons.map((reason) => ({
        ...reason,
        example: { ...reason.example, message: redact(reason.example.message) },
      }))
      Object.assign(record, judge(sync, record.counts, waiting, delivery.cut, context.signal))
    },
    cost(cost) {
      if (cost) record.warehouse = { ...cost, seconds: Math.round(cost.seconds * 1000) / 1000 }
    },
    failed(thrown) {
      const error = explainDisk(thrown)
      const interrupted =
        context.signal.aborted && (error === context.signal.reason || (error instanceof Error && error.name === 'AbortError'))
      const outcome = interrupted ? ended(context.signal.reason, 'interrupted') : ended(error, statusOf(error))
      record.status = outcome.status
      record.exit_code = outcome.exit_code
      record.error = { ...outcome.error, message: redact(outcome.error.message) }
      if (!(error instanceof CdpError) && !interrupted)
        context.trace?.(redact(error instanceof Error ? (error.stack ?? error.message) : String(error)))
    },
    async end() {
      step('unlocked')
      const now = context.now()
      record.ended_at = new Date(now).toISOString()
      record.seconds = Math.round(now - started) / 1000
      await progress.end()
      // Whoever holds the lock writes its own record.
      if (record.status !== 'locked') {
        await prepareState(project, sync)
          .then((paths) => writeRecord(paths, record))
          .then(() => openKeeper(project))
          .then((keeper) => keeper.recorded(sync.name, run))
          .catch((error: unknown) => {
            if (record.status === 'ok') Object.assign(record, ended(explainDisk(error), 'failed'))
          })
      }
      step('recorded')
      report({ type: 'ended', sync: sync.name, record })
      return record
    },
  }
}

function statusOf(error: unknown): RunStatus {
  if (error instanceof GuardError) return 'refused'
  return error instanceof LockedError ? 'locked' : 'failed'
}

function ended(error: unknown, status: RunStatus): Required<Pick<RunRecord, 'status' | 'exit_code' | 'error'>> {
  if (!(error instanceof CdpError)) {
    // Foreign words: what stands in quotes may be a value of a row.
    const message = (error instanceof Error ? error.message : String(error)).split('\n', 1)[0]?.replace(/'[^']*'|"[^"]*"/g, '(hidden)')
    return {
      status,
      exit_code: EXIT.error,
      error: { code: 'CDP4000', message: `a bug: ${message}`, hint: 'Run again with --debug and report it with the stack.' },
    }
  }
  return { status, exit_code: error.exitCode, error: described(error) }
}

/** Status and exit code of a run that delivered what it could. */
function judge(
  sync: Sync,
  counts: RunCounts,
  unsent: number,
  cut: Cut | null,
  signal: AbortSignal,
): Pick<RunRecord, 'status' | 'exit_code'> & { error?: RunRecord['error'] } {
  if (cut?.kind === 'interrupted') return ended(signal.reason, 'interrupted')
  if (cut?.error && (cut.error instanceof AuthError || cut.kind === 'refused' || cut.kind === 'bug')) return ended(cut.error, 'failed')
  if (cut) return { ...ended(cut.error ?? new CdpError('CDP4017', 'The run was cut short.'), 'incomplete'), exit_code: EXIT.incomplete }
  if (counts.unknown > 0 || unsent > 0) return { status: 'incomplete', exit_code: EXIT.incomplete }
  const missing = counts.rejected + counts.held
  const rows = counts.add + counts.change + counts.remove + counts.unchanged + counts.held
  const { rejected_rows, rejected_percent } = sync.tolerance
  const tolerated = missing === 0 || (missing <= rejected_rows && missing * 100 <= rejected_percent * rows)
  return tolerated ? { status: 'ok', exit_code: EXIT.ok } : { status: 'incomplete', exit_code: EXIT.incomplete }
}

/** progress.json: what `status` shows of a run that is going. Written at most once a second, one write at a time. */
function progressFile(project: Project, sync: Sync, run: string, now: () => number): { note(event: RunEvent): void; end(): Promise<void> } {
  const paths = statePaths(project, sync)
  const started_at = new Date(now()).toISOString()
  let phase: Phase | null = null
  let last = 0
  let writing: Promise<void> = Promise.resolve()
  return {
    note(event) {
      if (event.type !== 'phase' && event.type !== 'progress') return
      // The folders are made by the holder of the lock, before the first phase.
      const time = now()
      if (event.phase === phase && time - last < PROGRESS_EVERY) return
      phase = event.phase
      last = time
      const { done, total } = event.type === 'progress' ? event : { done: 0, total: null }
      const at = new Date(time).toISOString()
      writing = writing.then(() => writeProgress(paths, { run, phase: event.phase, done, total, started_at, at })).catch(() => undefined)
    },
    async end() {
      await writing
      if (phase !== null) await clearProgress(paths).catch(() => undefined)
    },
  }
}
