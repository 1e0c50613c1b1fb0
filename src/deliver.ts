/** Sends the changes of an outbox through a connector, wave by wave, and journals what was intended and what came of it. */
import { setMaxListeners } from 'node:events'
import pLimit, { type LimitFunction } from 'p-limit'
import type { Destination, Limits, ObjectSpec } from './connector.ts'
import { stateError } from './deliver/errors.ts'
import type { CdpError } from './errors.ts'
import type { Outbox } from './outbox.ts'
import { type Budget, createBudget, createHealth, type Health } from './deliver/retry.ts'
import { createTally, type DeliveryCounts, type Tally } from './deliver/tally.ts'
import type { Op, Reason } from './types.ts'
import { deliverWave } from './deliver/wave.ts'

/** The rate limit of an account, shared by all syncs of the process. */
export interface Limiter {
  /** Waits for a turn; rejects when the signal aborts, and with RateLimited when a turn is too far away. Call the result when the request is over. */
  acquire(signal: AbortSignal): Promise<() => void>
  /** Gives nobody a turn for these milliseconds. */
  pause(ms: number): void
}

export interface Clock {
  now(): number
  /** Ends early, by resolving or rejecting, when the signal aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

export interface DeliverySettings {
  readonly sync: string
  readonly run: string
  readonly object: string
  readonly destination: Destination
  readonly spec: ObjectSpec
  readonly limits: (op: Op) => Limits
  readonly outbox: Outbox
  readonly limiter: Limiter
  readonly clock: Clock
  /** 0 ≤ x < 1. */
  readonly random: () => number
  /** First interrupt: no new request is sent, those in flight have 10 s to end. */
  readonly signal: AbortSignal
  /** Aborts `ConnectorIO.signal`: called when requests in flight did not end in time. */
  readonly stop?: () => void
  /** Throws when the state is not ours any more; asked right before each request. */
  readonly alive?: () => void
  readonly report: (progress: { settled: number; total: number }) => void
  readonly note: (level: 'info' | 'warn', message: string) => void
  /** Called exactly once: when every upsert is settled, or when the delivery ends before. */
  readonly upsertsEnded: () => void
  /** Awaited once, before the first removal is read. */
  readonly beforeRemovals: () => Promise<void>
}

/**
 * Why a delivery ended before its outbox did.
 * - interrupted  the user asked
 * - auth         a login or permission was refused; the error is the connector's
 * - refused      requests are refused as such (a wrong field or object); no row is to blame
 * - breaker      more than half of the rows were rejected
 * - budget       the destination does not answer
 * - quota        the service asks to wait longer than a run waits; `until` is when to come back, milliseconds since 1970
 * - bug          the connector or the state failed; the error says which
 */
export interface Cut {
  readonly kind: 'interrupted' | 'auth' | 'refused' | 'breaker' | 'budget' | 'quota' | 'bug'
  readonly error: CdpError | null
  readonly until?: number
}

export interface Delivery {
  /** One final outcome per change. `waiting`: never sent, or nothing of it was applied; it stays in the next plan. */
  readonly counts: DeliveryCounts
  /** Calls of `write`. */
  readonly requests: number
  /** The most frequent first, with an example each; the examples quote the service. */
  readonly reasons: Reason[]
  /** Null when everything was tried. */
  readonly cut: Cut | null
}

/** Milliseconds that requests in flight have to end after an interrupt, and to react once they are aborted. */
const GRACE_MS = 10_000
const ABORT_MS = 1_000

/** What the waves of one delivery share. */
export interface Session {
  readonly settings: DeliverySettings
  readonly tally: Tally
  readonly budget: Budget
  readonly health: Health
  /** One call of the state at a time. */
  readonly store: LimitFunction
  /** Aborted by the first cut: nothing new is sent. */
  readonly ending: AbortSignal
  /** Changes in all waves. */
  readonly total: number
  /** Ends the delivery; the first reason stands. */
  readonly cut: (kind: Cut['kind'], error: CdpError | null, until?: number) => void
  /** Each ends the waiting for one request. */
  readonly abandons: Set<() => void>
}

/**
 * Delivers the waves of an outbox in order. Resolves whatever the destination does; everything recorded is durable then,
 * or `cut.error` says why not. Nothing is handed to `write` before its intent is durable.
 */
export async function deliver(settings: DeliverySettings): Promise<Delivery> {
  const { outbox } = settings
  const ending = new AbortController()
  const over = new AbortController()
  // Every request that waits listens to it.
  setMaxListeners(0, ending.signal)
  let cut: Cut | null = null
  let waves: Awaited<ReturnType<Outbox['waves']>> = []
  const tally = createTally(outbox)
  const budget = createBudget()
  const session = {
    settings,
    tally,
    budget,
    health: createHealth(() => settings.clock.now(), settings.random),
    store: pLimit(1),
    ending: ending.signal,
    total: 0,
    abandons: new Set<() => void>(),
    cut(kind: Cut['kind'], error: CdpError | null, until?: number): void {
      cut ??= { kind, error, ...(until === undefined ? {} : { until }) }
      ending.abort()
    },
  }
  const interrupt = (): void => {
    session.cut('interrupted', null)
    void abandonAfterGrace(session, over.signal)
  }
  settings.signal.addEventListener('abort', interrupt, { once: true })
  if (settings.signal.aborted) interrupt()
  try {
    waves = await outbox.waves()
    session.total = waves.reduce((sum, wave) => sum + wave.rows, 0)
    await deliverWaves(session, waves)
  } catch (error) {
    session.cut('bug', stateError(error))
  }
  try {
    await session.store(() => outbox.flush())
  } catch (error) {
    // Outcomes that are not durable outweigh any other reason to stop.
    cut = { kind: 'bug', error: stateError(error) }
  }
  over.abort()
  settings.signal.removeEventListener('abort', interrupt)
  return { counts: tally.counts(session.total), requests: budget.requests(), reasons: tally.reasons(), cut }
}

async function deliverWaves(session: Session, waves: Awaited<ReturnType<Outbox['waves']>>): Promise<void> {
  const { upsertsEnded, beforeRemovals } = session.settings
  let removing = false
  try {
    for (const wave of waves) {
      if (wave.removes && !removing && !session.ending.aborted) {
        removing = true
        upsertsEnded()
        await orEnding(beforeRemovals(), session.ending)
      }
      if (session.ending.aborted) return
      await deliverWave(session, wave)
    }
  } finally {
    if (!removing) upsertsEnded()
  }
}

/** Waits for `work`, but not beyond the end of the delivery. */
async function orEnding(work: Promise<void>, ending: AbortSignal): Promise<void> {
  if (ending.aborted) return
  await new Promise<void>((resolve, reject) => {
    const stop = (): void => resolve()
    ending.addEventListener('abort', stop, { once: true })
    work.finally(() => ending.removeEventListener('abort', stop)).then(resolve, reject)
  })
}

async function abandonAfterGrace(session: Session, over: AbortSignal): Promise<void> {
  const { clock, stop } = session.settings
  const pause = (ms: number): Promise<void> => clock.sleep(ms, over).catch(() => {})
  await pause(GRACE_MS)
  if (over.aborted) return
  stop?.()
  await pause(ABORT_MS)
  if (over.aborted) return
  for (const abandon of session.abandons) abandon()
}
