/** What a run is given from outside: time, chance, a way to stop, a way to be heard, and what the user asked for. */
import type { GuardName } from './config/types.ts'
import type { RunRecord, SyncPlan } from './types.ts'

/** What the user asked for on the command line. */
export interface RunOptions {
  /** Mark every address uncertain, durably, then send. */
  readonly fullRefresh: boolean
  /** Send only these keys; null: all. */
  readonly keys: readonly string[] | null
  /** Send at most this many changes; null: all. */
  readonly limit: number | null
  /** Guards lifted for this run. */
  readonly allow: ReadonlySet<GuardName | 'null_keys'>
  /** Milliseconds to wait for a lock that another run holds. */
  readonly lockTimeout: number
  /** Samples in a plan: adds, changes and removals each at most this many. */
  readonly samples: number
}

export const DEFAULT_OPTIONS: RunOptions = {
  fullRefresh: false,
  keys: null,
  limit: null,
  allow: new Set(),
  lockTimeout: 0,
  samples: 5,
}

export type Phase = 'open' | 'recover' | 'stage' | 'diff' | 'deliver' | 'commit'

/** What a run says while it works. No row values in any of them but `plan`. */
export type RunEvent =
  | { readonly type: 'started'; readonly sync: string; readonly run: string }
  | { readonly type: 'phase'; readonly sync: string; readonly phase: Phase }
  /** Stage: bytes read so far, total null. Deliver: rows settled of rows to send. */
  | { readonly type: 'progress'; readonly sync: string; readonly phase: Phase; readonly done: number; readonly total: number | null }
  | { readonly type: 'recovered'; readonly sync: string; readonly uncertain: number }
  | { readonly type: 'plan'; readonly sync: string; readonly plan: SyncPlan }
  /** A pause the service asked for, a retry, a removal withheld: one sentence, no row values. */
  | { readonly type: 'note'; readonly sync: string; readonly level: 'info' | 'warn'; readonly message: string }
  | { readonly type: 'ended'; readonly sync: string; readonly record: RunRecord }

export interface RunContext {
  readonly options: RunOptions
  /** First interrupt: stop taking new batches, let those in flight end, commit what is confirmed. */
  readonly signal: AbortSignal
  readonly now: () => number
  /** 0 ≤ x < 1. */
  readonly random: () => number
  readonly report: (event: RunEvent) => void
  /** Bytes of memory this sync may use for its embedded database. */
  readonly memory: number
  /** Threads this sync may use for its embedded database. */
  readonly threads: number
  /** Called once when every upsert of this sync is settled: syncs that depend on it may start. */
  readonly upsertsEnded: () => void
  /** Resolves when the syncs that depend on this one have ended: its removals may go. */
  readonly beforeRemovals: () => Promise<void>
  /** Requests and replies for --debug, redacted. */
  readonly trace: ((line: string) => void) | null
}
