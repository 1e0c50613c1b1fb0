/** When to try again: waits, the retry budget of a run, and how long a destination may go without answering. */

/** Full jitter: a wait is anywhere between 0 and base · 2^n, at most the cap, so that clients do not come back together. */
const BASE_MS = 500
const CAP_MS = 30_000

/** Milliseconds a run waits for one change or one account; a service that asks for more ends the sync cleanly. */
export const MAX_WAIT = 300_000

/** Requests one change may be part of in one run, when each of them failed or asked to come back. */
export const MAX_TRIES = 5

/** Failed requests in a row, with no answer between them, after which a destination counts as down. */
const DOWN_AFTER = 20
/** As many of them must have begun after the first had failed: a volley that fails together proves little. */
const DOWN_PROBES = 3
/** The longest pause between two probes of a destination that does not answer. */
const PROBE_CAP_MS = 4_000

/** Retried requests a run may send: this share of all, but always a few. */
const BUDGET_SHARE = 0.1
const BUDGET_LEAST = 20

/** Milliseconds to wait before try number `tries` (1: the first repeat). */
export function backoff(tries: number, random: () => number, cap = CAP_MS): number {
  return Math.floor(random() * Math.min(cap, BASE_MS * 2 ** (tries - 1)))
}

export interface Budget {
  /** Counts a request. */
  sent(): void
  /** Takes one repeat out of the budget; false when it is used up. */
  retry(): boolean
  requests(): number
}

/** The budget of one run: it keeps a struggling service from being sent everything twice. */
export function createBudget(): Budget {
  let requests = 0
  let retried = 0
  return {
    sent: () => void requests++,
    requests: () => requests,
    retry() {
      if (retried + 1 > Math.max(BUDGET_LEAST, requests * BUDGET_SHARE)) return false
      retried++
      return true
    },
  }
}

export interface Health {
  /** The service answered, whatever it said. */
  answered(): void
  /** A request begun at `startedAt` got no answer, or one that did nothing. True: the destination counts as down. */
  failed(startedAt: number): boolean
  /**
   * A request begun at `startedAt` was told to slow down. `wait`: milliseconds, or null when that is too long;
   * `until` is when to come back; `news`: not one of several that were told together.
   */
  limited(startedAt: number, afterMs: number | undefined): { readonly wait: number | null; readonly until: number; readonly news: boolean }
  /** How many requests may be in flight, and from when: all, or one probe after a pause while nothing answers. */
  gate(concurrency: number): { readonly width: number; readonly from: number }
}

/** What is known of a destination's health. Times are milliseconds of `now`. */
export function createHealth(now: () => number, random: () => number): Health {
  let failures = 0
  let probes = 0
  let firstFailure = 0
  let hold = 0
  let limits = 0
  let limitedSince = 0
  let lastLimited = 0
  return {
    answered() {
      failures = probes = hold = limits = 0
    },
    failed(startedAt) {
      if (failures === 0) firstFailure = now()
      else if (startedAt >= firstFailure) probes++
      failures++
      hold = now() + backoff(probes + 1, random, PROBE_CAP_MS)
      return failures >= DOWN_AFTER && probes >= DOWN_PROBES
    },
    limited(startedAt, afterMs) {
      if (limits === 0) limitedSince = now()
      // Requests that were in flight together are told together; that is one pause, not several.
      const news = limits === 0 || startedAt >= lastLimited
      if (news) {
        limits++
        lastLimited = now()
      }
      const wait = afterMs ?? 1_000 + backoff(limits, random)
      const until = now() + wait
      return { wait: until - limitedSince > MAX_WAIT ? null : wait, until, news }
    },
    gate(concurrency) {
      return failures >= concurrency ? { width: 1, from: hold } : { width: concurrency, from: 0 }
    },
  }
}
