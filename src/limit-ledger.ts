/**
 * Who may send how many requests when: pure bookkeeping of one account, shared by processes.
 *
 * A process claims a few requests ahead, to be used within a short while. A claim counts in full until its end plus the
 * window has passed, unless its process says earlier how many it used. So never more than `requests` go out in any window
 * of `seconds`, whoever dies when.
 */
import type { Limits } from './connector.ts'

/** At most `requests` in any `ms` milliseconds. */
export interface Window {
  readonly requests: number
  readonly ms: number
}

/** What the processes share; JSON. */
export interface Ledger {
  /** No request before this time (ms since 1970). */
  pausedUntil: number
  /** `requests/ms` of a window -> [when, how many] requests sent. */
  sent: Record<string, [number, number][]>
  /** Claim -> how many may be sent until when. */
  claims: Record<string, { n: number; until: number }>
}

export interface Use {
  /** The claim it belongs to. */
  readonly claim: string
  readonly n: number
  /** When the last of them was sent. */
  readonly at: number
}

export type Grant = { readonly n: number; readonly until: number } | { readonly n: 0; readonly wait: number }

/** A claim lasts this part of the shortest window: what may be lost of the rate when processes compete. */
const CLAIM_PART = 1 / 20
const MAX_CLAIM_MS = 1_000
/** A claim is at most this part of a window's requests, so that processes share fairly. */
const BLOCK_PART = 1 / 10
/** Times are rounded up to this part of the window, so that the file holds about 100 entries a window. */
const GRAIN = 1 / 100

export function emptyLedger(): Ledger {
  return { pausedUntil: 0, sent: {}, claims: {} }
}

/** The windows of declared limits; 2.5 a second are 5 in 2 seconds. */
export function windowsOf(limits: Pick<Limits, 'perSecond' | 'windows'>): Window[] {
  const windows = (limits.windows ?? []).map(({ requests, seconds }) => ({ requests, ms: seconds * 1000 }))
  if (limits.perSecond === undefined) return windows
  const requests = Math.max(1, Math.floor(limits.perSecond))
  return [{ requests, ms: (requests / limits.perSecond) * 1000 }, ...windows]
}

/** Books what was used of the last claim, then claims anew; changes the ledger. `n: 0` says how long to wait. */
export function claim(ledger: Ledger, windows: readonly Window[], now: number, name: string, used: Use | null): Grant {
  if (used !== null) book(ledger, windows, used)
  delete ledger.claims[name]
  tidy(ledger, windows, now)
  if (ledger.pausedUntil > now) return { n: 0, wait: ledger.pausedUntil - now }
  let n = Infinity
  let wait = 0
  for (const window of windows) {
    const { room, ms } = roomIn(ledger, window, now)
    n = Math.min(n, room, Math.ceil(window.requests * BLOCK_PART))
    wait = Math.max(wait, ms)
  }
  if (n <= 0) return { n: 0, wait: Math.max(1, Math.ceil(wait)) }
  const until = now + Math.min(MAX_CLAIM_MS, ...windows.map((window) => window.ms * CLAIM_PART))
  ledger.claims[name] = { n, until }
  return { n, until }
}

/** Twice is once: a write that seemed beaten may have counted. */
function book(ledger: Ledger, windows: readonly Window[], { claim, n, at }: Use): void {
  if (ledger.claims[claim] === undefined) return
  delete ledger.claims[claim]
  if (n === 0) return
  for (const window of windows) {
    const sent = (ledger.sent[nameOf(window)] ??= [])
    const grain = window.ms * GRAIN
    const when = Math.ceil(at / grain) * grain
    const same = sent.find(([time]) => time === when)
    if (same === undefined) sent.push([when, n])
    else same[1] += n
  }
}

/** Forgets what no window sees any more. A clock that was set back makes entries of the future: they count as now. */
function tidy(ledger: Ledger, windows: readonly Window[], now: number): void {
  const longest = Math.max(0, ...windows.map((window) => window.ms))
  for (const [name, { n, until }] of Object.entries(ledger.claims)) {
    if (until + longest <= now) delete ledger.claims[name]
    else if (until > now + MAX_CLAIM_MS) ledger.claims[name] = { n, until: now }
  }
  for (const name of Object.keys(ledger.sent)) {
    const ms = Number(name.split('/')[1])
    const live = (ledger.sent[name] ?? [])
      .filter(([at]) => at + ms > now)
      .map(([at, n]): [number, number] => [at > now + ms * GRAIN ? now : at, n])
    if (live.length > 0) ledger.sent[name] = live
    else delete ledger.sent[name]
  }
}

function roomIn(ledger: Ledger, window: Window, now: number): { room: number; ms: number } {
  const counted: [number, number][] = [...(ledger.sent[nameOf(window)] ?? [])]
  for (const { n, until } of Object.values(ledger.claims)) if (until + window.ms > now) counted.push([until, n])
  const room = window.requests - counted.reduce((sum, [, n]) => sum + n, 0)
  if (room > 0) return { room, ms: 0 }
  return { room: 0, ms: Math.min(...counted.map(([at]) => at)) + window.ms - now }
}

function nameOf(window: Window): string {
  return `${window.requests}/${window.ms}`
}
