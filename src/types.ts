/**
 * The vocabulary that every other file uses.
 *
 * - warehouse    where models are queried
 * - model        a SQL query whose rows are the wanted state
 * - key          the column(s) that identify a row of the model
 * - destination  a configured account of a connector
 * - object       the kind of thing written there
 * - target       connector, stable account id, object and the options that select it
 * - connector    the code for one kind of destination
 * - mapping      how columns become destination fields
 * - payload      the mapped fields of one row, match fields included
 * - match        the fields by which the destination finds its record
 * - address      what this destination finds a record by: the normalised match, or the key
 * - sync         one model to one target
 * - snapshot     per sync, what was last delivered at each address
 * - owned        addresses that this sync put (or may have put) there and has not seen removed
 * - change       one address to add, change or remove
 * - plan         all changes of a sync, with counts, samples and guards
 * - batch        changes sent in one request
 * - intent       the durable note, before sending, that a change may be sent
 * - outcome      what the destination said of one change
 * - uncertain    an address with an intent and no final outcome
 * - journal      intents and outcomes not yet folded into the snapshot
 * - run          one execution
 * - guard        a limit that stops a run before it sends
 * - identity     a key's address, or its match where the address is the key
 * - held         a change that is not sent again until something changes or a person says so
 * - waiting      a change that a run could not send yet; it stays in the next plan
 * - kept         a delivered row whose match turned null: its record stays
 */

/** What a column holds, whatever the warehouse calls it. */
export type LogicalType =
  | 'string'
  | 'integer'
  | 'decimal'
  | 'float'
  | 'boolean'
  | 'date'
  | 'time'
  | 'timestamp'
  | 'timestamptz'
  | 'json'
  | 'bytes'

/** A column of a model as the warehouse describes it. */
export interface Column {
  readonly name: string
  readonly type: LogicalType
  /** The warehouse's own name of the type, for messages. */
  readonly native: string
}

export const MODES = ['upsert', 'update', 'insert', 'mirror', 'append'] as const
/** What a sync may do at its target. */
export type Mode = (typeof MODES)[number]

/** What one change does. A removal by `clear` or `set` is sent as an `update`. */
export type Op = 'upsert' | 'update' | 'insert' | 'append' | 'delete' | 'archive'

/** How a row that left the model is removed in mode mirror. */
export type Removal = 'delete' | 'archive' | 'clear' | 'none' | 'set'

/** Why a change is in the plan; the first that holds. */
export type Because = 'uncertain' | 'data' | 'mapping' | 'refresh'

/** The counts of a plan. The first four are disjoint counts of addresses. */
export interface PlanCounts {
  add: number
  change: number
  remove: number
  unchanged: number
  /** Rows that are not sent because they can't be: null or duplicate key or address, a value that can't be computed. */
  invalid: number
  held: number
  /** Part of add, change and remove: addresses whose content at the destination is not known. */
  uncertain: number
  /** Withheld by rule, not by the user: for example removals while null keys hide what left. */
  waiting: number
  /** Delivered rows whose match turned null and whose record stays. */
  kept: number
  /** Part of change: keys that keep their record under a new match. */
  renames: number
}

export interface PlanSample {
  op: 'add' | 'change' | 'remove'
  key: string
  /** Field values in JSON, changed fields only for `change`. Absent for an add. */
  before?: Record<string, unknown>
  after?: Record<string, unknown>
  because?: Because
}

export interface GuardResult {
  name: string
  ok: boolean
  message: string
}

/** An invalid row, named by its key (or what it has of one) with the reason. */
export interface InvalidSample {
  key: string
  code: string
  message: string
  field?: string
}

/** What one sync would do. Renderers take this and nothing else. */
export interface SyncPlan {
  name: string
  mode: Mode
  warehouse: string
  destination: { connector: string; name: string; account: string; account_id: string; object: string }
  /** How removals are sent; null outside mode mirror. */
  on_remove: Removal | null
  /** True while nothing was ever delivered. */
  first_run: boolean
  /** When the snapshot was last confirmed, ISO 8601; null on a first run. */
  since: string | null
  counts: PlanCounts
  /** Rows the model returned. */
  rows: number
  /** Owned addresses before this plan. */
  owned: number
  /** field -> number of changes in which it differs, most first. Of `change` only. */
  changed_fields: Record<string, number>
  because: Record<Because, number>
  samples: PlanSample[]
  /** reason code -> rows, most first. */
  invalid_reasons: Record<string, number>
  invalid_samples: InvalidSample[]
  guards: GuardResult[]
  /** Things a reader should know that stop nothing. */
  warnings: string[]
  /** From declared limits only, so that the same state gives the same plan. */
  estimate: { requests: number; seconds: number }
}

export interface PlanSummary {
  add: number
  change: number
  remove: number
  unchanged: number
  invalid: number
}

/** A sync that could not be planned. */
export interface SyncFailure {
  name: string
  status: RunStatus
  error: { code: string; message: string; hint?: string }
}

/** `cdp-sync plan --json`. */
export interface Plan {
  format_version: 1
  cdp_sync_version: string
  summary: PlanSummary
  syncs: SyncPlan[]
  /** Syncs that could not be planned. */
  failed: SyncFailure[]
}

export type RunStatus = 'ok' | 'incomplete' | 'failed' | 'refused' | 'blocked' | 'locked' | 'interrupted'

export interface RunCounts {
  add: number
  change: number
  remove: number
  unchanged: number
  invalid: number
  delivered: number
  accepted: number
  absent: number
  exists: number
  rejected: number
  unknown: number
  held: number
  waiting: number
  kept: number
}

/** The top reasons a destination gave, for the last lines of a run. */
export interface Reason {
  outcome: 'rejected' | 'unknown' | 'retry'
  code: string
  rows: number
  example: { key: string; message: string }
}

/** The record of one run of one sync; kept beside the state. */
export interface RunRecord {
  format_version: 1
  run: string
  sync: string
  status: RunStatus
  started_at: string
  ended_at: string | null
  seconds: number
  exit_code: number
  target: { connector: string; account: string; account_id: string; object: string } | null
  counts: RunCounts
  requests: number
  /** What a crash before this run left behind: addresses whose content is not known. */
  recovered: { uncertain: number } | null
  reasons: Reason[]
  /** What this run asked of the database that keeps its state. Absent where none does. Rows and bytes are those that left it. */
  warehouse?: { statements: number; seconds: number; rows: number; bytes: number }
  error?: { code: string; message: string; hint?: string }
}
