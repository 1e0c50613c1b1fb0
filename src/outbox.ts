/** What delivery needs of the state: changes to send, in order, and a journal for intents and outcomes. */
import type { Outcome } from './connector.ts'
import type { Op } from './types.ts'

/** One change of this run. */
export interface OutboxRow {
  /** Its number in this run, from 1, in the order of delivery. */
  readonly n: number
  readonly op: Op
  readonly key: string
  /** Addresses it touches; no two changes that share one are in flight together. Empty when no other change can share them. */
  readonly shared: readonly string[]
  /** JSON texts of objects. */
  readonly match: string
  readonly previousMatch: string | null
  readonly fields: string
  readonly onCreate: string | null
  readonly ifEmpty: string | null
  readonly changed: readonly string[] | null
  readonly remoteId: string | null
  readonly id: string
  readonly attempts: number
}

/** A part of the plan that is delivered as a whole before the next begins; one op. */
export interface Wave {
  readonly wave: number
  readonly op: Op
  /** Removals: not sent when anything before was cut short. */
  readonly removes: boolean
  readonly rows: number
}

export type JournalEntry =
  | {
      readonly n: number
      readonly result: Outcome['result']
      readonly remoteId?: string | undefined
      readonly code?: string | undefined
      readonly message?: string | undefined
      readonly field?: string | undefined
    }
  /** All of first..last (inclusive) were intended and are ok (or accepted) without a remote id. An optimisation. */
  | { readonly first: number; readonly last: number; readonly result: 'ok' | 'accepted' }

/** Owned by the state; used by one delivery at a time. */
export interface Outbox {
  waves(): Promise<readonly Wave[]>
  /**
   * The next changes of a wave after number `after`, in order, at most `limit`. Leaves out (as waiting) what must not go:
   * changes whose forerunner is not `ok`, removals of addresses or remote ids that were confirmed in this run.
   * Everything recorded before the call counts.
   */
  read(wave: number, after: number, limit: number): Promise<readonly OutboxRow[]>
  /** Makes durable, in one transaction: the outcomes recorded so far, then the intent to send these numbers. */
  intend(numbers: readonly number[]): Promise<void>
  /** Takes an outcome; durable with the next `intend`, `token` or `flush`. A later entry for a number wins. */
  record(entry: JournalEntry): void
  /** Makes a vendor job's id durable, with the numbers it carries, before the engine goes on. */
  token(token: string, numbers: readonly number[]): Promise<void>
  /** Makes everything recorded durable. */
  flush(): Promise<void>
}
