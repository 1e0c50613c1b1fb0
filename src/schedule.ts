/** Runs several syncs side by side as far as `depends_on` allows, and shares memory out among them. */
import { availableParallelism } from 'node:os'
import pLimit, { type LimitFunction } from 'p-limit'
import type { Project, Sync } from './config/types.ts'
import type { RunContext, RunEvent, RunOptions } from './context.ts'
import { CdpError, described, EXIT, LockedError } from './errors.ts'
import { newRunId, NO_COUNTS } from './records.ts'
import type { Plan, RunRecord, RunStatus, SyncFailure, SyncPlan } from './types.ts'
import { VERSION } from './version.ts'

const MB = 1024 * 1024
/** What the embedded databases of one process may use together. */
const MEMORY = 512 * MB
/** More makes one sync of millions of rows no faster, and its process outgrows 700 MB. */
const MOST_PER_SYNC = 320 * MB
/** Below this a big comparison would only spill; a sync that can't have it waits. */
const MEMORY_PER_SYNC = 128 * MB

/** The engine, given from outside so that commands load it late and tests can do without. */
export interface Engine {
  planSync(project: Project, sync: Sync, context: RunContext): Promise<SyncPlan>
  runSync(project: Project, sync: Sync, context: RunContext): Promise<RunRecord>
}

export interface ScheduleIO {
  readonly engine: Engine
  /** Aborted with an `Interrupt`. */
  readonly signal: AbortSignal
  readonly now: () => number
  readonly random: () => number
  readonly report: (event: RunEvent) => void
  readonly trace: ((line: string) => void) | null
  /** Bytes for all embedded databases of this process. */
  readonly memory?: number
  readonly cores?: number
}

/** What a failed sync threw, for the last words of a command. */
export interface Failure {
  readonly sync: string
  readonly error: unknown
}

/** Why everything stops: the user's first Ctrl+C, or a polite kill. */
export class Interrupt extends CdpError {
  override readonly exitCode: number
  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super('CDP5001', 'interrupted', { hint: 'What was confirmed is recorded. Run again to go on.' })
    this.exitCode = signal === 'SIGINT' ? EXIT.sigint : EXIT.sigterm
  }
}

/** With several syncs the first of these that occurred wins. */
const WORST = [EXIT.sigint, EXIT.sigterm, EXIT.error, EXIT.auth, EXIT.refused, EXIT.locked, EXIT.incomplete]

export function worstExit(codes: Iterable<number>): number {
  const seen = new Set(codes)
  return WORST.find((code) => seen.has(code)) ?? EXIT.ok
}

/**
 * Runs syncs, given in the order of their dependencies. Never throws for what goes wrong in one of them: the others go on.
 * A dependency that is not among `syncs` is not waited for.
 */
export async function runAll(
  project: Project,
  syncs: readonly Sync[],
  options: RunOptions,
  io: ScheduleIO,
): Promise<{ records: RunRecord[]; exitCode: number; failures: Failure[] }> {
  const failures: Failure[] = []
  const jobs = new Map<string, Job>(syncs.map((sync) => [sync.name, newJob(sync)]))
  for (const job of jobs.values()) {
    for (const name of job.sync.dependsOn) {
      const upstream = jobs.get(name)
      if (!upstream) continue
      job.upstreams.push(upstream)
      upstream.dependents.push(job)
    }
  }
  const slots = newSlots(syncs.length, io)
  const runOne = async (job: Job): Promise<RunRecord> => {
    const record = await runJob(job, project, options, slots, io).catch((error: unknown) => {
      failures.push({ sync: job.sync.name, error })
      return endedBy(error, job.sync, io)
    })
    job.upserts.resolve(record)
    job.ended.resolve()
    return record
  }
  const records = await Promise.all([...jobs.values()].map(runOne))
  return { records, exitCode: worstExit(records.map((it) => exitOf(it, io.signal))), failures }
}

/** A promise with its end outside. */
interface Gate<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
}

interface Job {
  readonly sync: Sync
  readonly upstreams: Job[]
  readonly dependents: Job[]
  /** null when they ended well with the run going on; else the record the run ended with. */
  readonly upserts: Gate<RunRecord | null>
  readonly ended: Gate<void>
}

function gate<T>(): Gate<T> {
  let resolve!: (value: T) => void
  const promise = new Promise<T>((done) => {
    resolve = done
  })
  return { promise, resolve }
}

function newJob(sync: Sync): Job {
  return { sync, upstreams: [], dependents: [], upserts: gate(), ended: gate() }
}

async function runJob(job: Job, project: Project, options: RunOptions, slots: Slots, io: ScheduleIO): Promise<RunRecord> {
  const ends = await Promise.all(job.upstreams.map((it) => it.upserts.promise))
  const culprit = ends.find((end) => end !== null && blocks(end))
  if (culprit) return blockedBy(culprit, job.sync, io)
  const slot = await slots.take()
  try {
    io.signal.throwIfAborted()
    let dependents: Promise<void> | undefined
    return await io.engine.runSync(project, job.sync, {
      ...baseContext(options, slots, io),
      upsertsEnded: () => job.upserts.resolve(null),
      beforeRemovals: () => (dependents ??= endOfDependents(job, slot)),
    })
  } finally {
    slot.close()
  }
}

/** Dependents wait for this sync's upserts and this one for their end, so its upserts are over, whether it said so or not. */
async function endOfDependents(job: Job, slot: Slot): Promise<void> {
  job.upserts.resolve(null)
  if (job.dependents.length === 0) return
  // Memory goes back while waiting: a chain longer than the slots would wait for itself otherwise.
  slot.lend()
  await Promise.all(job.dependents.map((it) => it.ended.promise))
  await slot.resume()
}

/** Rejected rows do not block what depends on them; an error or a guard does. */
function blocks(record: RunRecord): boolean {
  return record.status !== 'ok' && record.status !== 'incomplete'
}

/** Plans syncs side by side. Those that can't be planned are listed; the order is that of `syncs`. */
export async function planAll(
  project: Project,
  syncs: readonly Sync[],
  options: RunOptions,
  io: ScheduleIO,
): Promise<{ plan: Plan; exitCode: number; failures: Failure[] }> {
  const slots = newSlots(syncs.length, io)
  const results = await Promise.all(
    syncs.map(async (sync): Promise<SyncPlan | Failure> => {
      const slot = await slots.take()
      try {
        io.signal.throwIfAborted()
        const context = { ...baseContext(options, slots, io), upsertsEnded: () => undefined, beforeRemovals: () => Promise.resolve() }
        return await io.engine.planSync(project, sync, context)
      } catch (error) {
        return { sync: sync.name, error }
      } finally {
        slot.close()
      }
    }),
  )
  const plans = results.filter((it): it is SyncPlan => !('error' in it))
  const failures = results.filter((it): it is Failure => 'error' in it)
  const sum = (count: 'add' | 'change' | 'remove' | 'unchanged' | 'invalid') => plans.reduce((total, it) => total + it.counts[count], 0)
  const plan: Plan = {
    format_version: 1,
    cdp_sync_version: VERSION,
    summary: { add: sum('add'), change: sum('change'), remove: sum('remove'), unchanged: sum('unchanged'), invalid: sum('invalid') },
    syncs: plans,
    failed: failures.map(({ sync, error }): SyncFailure => ({ name: sync, status: statusOf(error), error: describe(error) })),
  }
  return { plan, exitCode: worstExit(failures.map((it) => exitCodeFor(it.error))), failures }
}

/** The one place where an error becomes an exit code. */
export function exitCodeFor(error: unknown): number {
  return error instanceof CdpError ? error.exitCode : EXIT.error
}

function baseContext(options: RunOptions, slots: Slots, io: ScheduleIO): Omit<RunContext, 'upsertsEnded' | 'beforeRemovals'> {
  const { signal, now, random, report, trace } = io
  return { options, signal, now, random, report, trace, memory: slots.memory, threads: io.cores ?? availableParallelism() }
}

/** Room for so many syncs at once; each has the same share of the memory. */
interface Slots {
  readonly memory: number
  take(): Promise<Slot>
}

interface Slot {
  lend(): void
  resume(): Promise<void>
  close(): void
}

function newSlots(wanted: number, io: ScheduleIO): Slots {
  const total = io.memory ?? MEMORY
  const count = Math.max(1, Math.min(wanted, Math.floor(total / MEMORY_PER_SYNC)))
  const gates = pLimit(count)
  return {
    memory: Math.max(MEMORY_PER_SYNC, Math.min(MOST_PER_SYNC, Math.floor(total / count))),
    async take() {
      let leave = await enter(gates)
      let closed = false
      return {
        lend: () => leave(),
        resume: async () => {
          if (!closed) leave = await enter(gates)
          // Closed while it waited: nobody is left to give it back.
          if (closed) leave()
        },
        close: () => {
          closed = true
          leave()
        },
      }
    },
  }
}

/** Resolves with the way out; leaving twice is leaving once. */
function enter(gates: LimitFunction): Promise<() => void> {
  return new Promise((entered) => void gates(() => new Promise<void>((leave) => entered(leave))))
}

function statusOf(error: unknown): RunStatus {
  if (error instanceof Interrupt) return 'interrupted'
  return error instanceof LockedError ? 'locked' : 'failed'
}

/** What a record or a plan says of an error. An unexpected one names itself; its stack goes to stderr. */
function describe(error: unknown): { code: string; message: string; hint?: string } {
  if (error instanceof CdpError) return described(error)
  return { code: 'CDP5002', message: `a bug: ${error instanceof Error ? error.message : String(error)}`, hint: 'See the stack on stderr.' }
}

function exitOf(record: RunRecord, signal: AbortSignal): number {
  return record.status === 'interrupted' && signal.reason instanceof Interrupt ? signal.reason.exitCode : record.exit_code
}

function blockedBy(culprit: RunRecord, sync: Sync, io: ScheduleIO): RunRecord {
  const why = culprit.error ? ` (${culprit.error.code})` : ''
  const error = { code: 'CDP5003', message: `not run: ${culprit.sync}, which it depends on, is ${culprit.status}${why}` }
  // The exit code is the cause's: what a guard blocked is no further error.
  return emptyRecord(sync, 'blocked', culprit.exit_code, error, io)
}

function endedBy(error: unknown, sync: Sync, io: ScheduleIO): RunRecord {
  return emptyRecord(sync, statusOf(error), exitCodeFor(error), describe(error), io)
}

/** The record of a run that never began. */
function emptyRecord(sync: Sync, status: RunStatus, exitCode: number, error: NonNullable<RunRecord['error']>, io: ScheduleIO): RunRecord {
  const at = new Date(io.now()).toISOString()
  const record: RunRecord = {
    format_version: 1,
    run: newRunId(io.now()),
    sync: sync.name,
    status,
    started_at: at,
    ended_at: at,
    seconds: 0,
    exit_code: exitCode,
    target: null,
    counts: { ...NO_COUNTS },
    requests: 0,
    recovered: null,
    reasons: [],
    error,
  }
  io.report({ type: 'ended', sync: sync.name, record })
  return record
}
