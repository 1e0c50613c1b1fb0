/** Keeps the account of a delivery: each outcome into the journal once, counts, top reasons, and the circuit breaker. */
import type { Outcome } from '../connector.ts'
import type { Outbox } from '../outbox.ts'
import type { Reason } from '../types.ts'
import type { Cause, Task } from './batch.ts'

/** The final outcome of a change, in the words of the contract. */
export type Final = WithoutKey<Outcome>
type WithoutKey<One> = One extends Outcome ? Omit<One, 'key'> : never

export interface DeliveryCounts {
  delivered: number
  accepted: number
  absent: number
  exists: number
  rejected: number
  unknown: number
  waiting: number
}

/** Rows judged before the breaker may trip, and the share of them that trips it. */
const BREAKER_ROWS = 100
const BREAKER_SHARE = 0.5
/** Reasons returned, and distinct codes kept apart: codes come from services, so their number has no bound of its own. */
const TOP_REASONS = 10
const DISTINCT_REASONS = 200
/** Characters of a service's message that are kept: some answer with a whole page. */
const MESSAGE_LIMIT = 1_000

export interface Tally {
  /** Journals the final outcome of a change and counts it. `journalled: false` leaves its intent without an outcome. */
  final(task: Task, outcome: Final, journalled?: boolean): void
  /** Journals what is known of a change that will be sent again: nothing was applied, or (in doubt) unknown. Counts nothing. */
  interim(task: Task, cause: Cause | null): void
  /** Counts a change as a reason without an outcome: it waits. */
  waits(task: Task, cause: Cause): void
  /** Ends the open range of the journal; call it when a batch has been gone through. */
  close(): void
  /** More than half of the rows that were never refused before have been refused. */
  tripped(): boolean
  /** Changes with a final outcome. */
  settled(): number
  counts(total: number): DeliveryCounts
  reasons(): Reason[]
}

export function createTally(outbox: Pick<Outbox, 'record'>): Tally {
  const counts = { delivered: 0, accepted: 0, absent: 0, exists: 0, rejected: 0, unknown: 0 }
  const reasons = new Map<string, { reason: Reason; rows: number }>()
  let range: { first: number; last: number; result: 'ok' | 'accepted' } | null = null
  let judged = 0
  let refused = 0

  function close(): void {
    if (range === null) return
    outbox.record(range.first === range.last ? { n: range.first, result: range.result } : range)
    range = null
  }
  function journal(task: Task, outcome: Final): void {
    task.open = false
    const n = task.row.n
    if ((outcome.result === 'ok' || outcome.result === 'accepted') && !outcome.remoteId) {
      if (range && range.last + 1 === n && range.result === outcome.result) range.last = n
      else {
        close()
        range = { first: n, last: n, result: outcome.result }
      }
      return
    }
    close()
    outbox.record({ ...outcome, n })
  }
  function because(task: Task, result: Reason['outcome'], { code, message }: Cause): void {
    const name = reasons.has(`${result} ${code}`) || reasons.size < DISTINCT_REASONS ? code : 'other'
    const known = reasons.get(`${result} ${name}`)
    if (known) known.rows++
    else {
      const reason = { outcome: result, code: name, rows: 0, example: { key: task.row.key, message: message.slice(0, MESSAGE_LIMIT) } }
      reasons.set(`${result} ${name}`, { reason, rows: 1 })
    }
  }
  function final(task: Task, outcome: Final, journalled = true): void {
    task.done = true
    // A repeat that is refused says nothing of the request before it, which may have been applied.
    if (task.doubt && outcome.result !== 'ok' && outcome.result !== 'accepted' && outcome.result !== 'absent') {
      outcome = { result: 'unknown', ...('code' in outcome ? { code: outcome.code, message: outcome.message } : task.doubt) }
    }
    if ('message' in outcome) outcome = { ...outcome, message: outcome.message.slice(0, MESSAGE_LIMIT) }
    if (journalled) journal(task, outcome)
    judge(task, outcome.result)
    if (outcome.result === 'retry') because(task, 'retry', outcome)
    else {
      counts[outcome.result === 'ok' ? 'delivered' : outcome.result]++
      if (outcome.result === 'rejected' || outcome.result === 'unknown') because(task, outcome.result, outcome)
    }
  }
  function judge(task: Task, result: Final['result']): void {
    if (task.row.attempts > 0 || task.tries > 0 || result === 'unknown' || result === 'retry') return
    judged++
    if (result === 'rejected') refused++
  }
  const settled = (): number => Object.values(counts).reduce((sum, n) => sum + n, 0)
  return {
    final,
    close,
    settled,
    interim(task, cause) {
      const { code, message } = cause ?? task.doubt ?? { code: undefined, message: undefined }
      journal(task, { result: task.doubt ? 'unknown' : 'retry', code, message: message?.slice(0, MESSAGE_LIMIT) } as Final)
    },
    waits: (task, cause) => because(task, 'retry', cause),
    tripped: () => judged >= BREAKER_ROWS && refused > judged * BREAKER_SHARE,
    counts: (total) => ({ ...counts, waiting: total - settled() }),
    reasons: () =>
      [...reasons.values()]
        .map(({ reason, rows }) => ({ ...reason, rows }))
        .sort((a, b) => b.rows - a.rows)
        .slice(0, TOP_REASONS),
  }
}
