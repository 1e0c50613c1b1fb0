/** Turns at an account: so many requests at once, so many in a time, none while the service asks to wait. */
import { createHash, randomUUID } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import path from 'node:path'
import { type Limits, RateLimited } from './connector.ts'
import { claim, emptyLedger, type Grant, type Ledger, type Use, type Window, windowsOf } from './limit-ledger.ts'
import { openSharedFile } from './shared-file.ts'

/** Ends a turn; calling it again does nothing. */
export type Release = () => void

export interface Limiter {
  /**
   * Waits for a free slot, the end of a pause and every window, first come first served.
   * Rejects with the signal's reason when it aborts, and with RateLimited when the wait would be over `maxWait`.
   */
  acquire(signal: AbortSignal): Promise<Release>
  /** The same without a slot: for a further request of one that has its slot. */
  turn(signal: AbortSignal): Promise<void>
  /** The service asked to wait (429): nobody gets a turn at this account for these milliseconds, in no process. */
  pause(ms: number): void
}

export interface LimiterOptions {
  /** Stable id of the account. */
  readonly account: string
  readonly limits: Pick<Limits, 'concurrency' | 'perSecond' | 'windows'>
  /** Shared with other processes: `limits/` in the state's folder. Null: this process alone. */
  readonly folder: string | null
  readonly now: () => number
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
  /** Longest wait in milliseconds; a longer one is an error that says until when. Default: no limit. */
  readonly maxWait?: number
}

/** Without windows nothing is claimed, so pauses of other processes are looked up this often (ms). */
const LOOK_EVERY = 1_000

const accounts = new Map<string, Account>()

/** The limiter of an account: one per process and folder. Where syncs declare different limits, the strictest count. */
export function openLimiter(options: LimiterOptions): Limiter {
  const id = JSON.stringify([options.folder === null ? null : path.resolve(options.folder), options.account])
  const account = accounts.get(id) ?? createAccount(options)
  accounts.set(id, account)
  account.restrict(options.limits)
  return account.limiter(options)
}

/** A limiter that shares nothing with others of this process but through the folder, as if it were another process. */
export function createLimiter(options: LimiterOptions): Limiter {
  const account = createAccount(options)
  account.restrict(options.limits)
  return account.limiter(options)
}

interface Account {
  restrict(limits: LimiterOptions['limits']): void
  limiter(options: Pick<LimiterOptions, 'maxWait' | 'sleep'>): Limiter
}

function createAccount({ account, folder, now }: LimiterOptions): Account {
  const tokens = createTokens(account, folder, now)
  let concurrency = Infinity
  let taken = 0
  const queue: (() => void)[] = []
  // One at a time waits for its token, the others behind it: who came first goes first.
  let turn: Promise<unknown> = Promise.resolve()
  const free: Release = () => {
    taken--
    if (taken < concurrency) queue.shift()?.()
  }
  const slot = (signal: AbortSignal): Promise<Release> =>
    new Promise((resolve, reject) => {
      const start = (): void => {
        signal.removeEventListener('abort', stop)
        taken++
        let over = false
        resolve(() => {
          if (!over) free()
          over = true
        })
      }
      const stop = (): void => {
        queue.splice(queue.indexOf(start), 1)
        reject(signal.reason as Error)
      }
      if (signal.aborted) return reject(signal.reason as Error)
      if (taken < concurrency) return start()
      signal.addEventListener('abort', stop, { once: true })
      queue.push(start)
    })
  return {
    restrict(limits) {
      concurrency = Math.min(concurrency, limits.concurrency)
      tokens.restrict(windowsOf(limits))
    },
    limiter: ({ sleep, maxWait = Infinity }) => ({
      async acquire(signal) {
        const release = await slot(signal)
        try {
          await this.turn(signal)
          return release
        } catch (error) {
          release()
          throw error
        }
      },
      async turn(signal) {
        // Everyone who waits listens to one signal: Node would warn at the eleventh.
        setMaxListeners(0, signal)
        const before = turn
        const token = (async (): Promise<void> => {
          await before
          for (let wait = 1; !signal.aborted && wait > 0;) {
            wait = tokens.take()
            if (wait > maxWait) throw new RateLimited(`The limit of requests is used up for another ${Math.ceil(wait / 1000)} s.`, wait)
            if (wait > 0) await sleep(wait, signal)
          }
        })()
        turn = token.catch(() => {})
        await unlessAborted(token, signal)
      },
      pause: (ms) => tokens.pause(ms),
    }),
  }
}

interface Tokens {
  restrict(windows: readonly Window[]): void
  /** Takes one token: 0, or how many milliseconds to wait and ask again. */
  take(): number
  pause(ms: number): void
}

function createTokens(account: string, folder: string | null, now: () => number): Tokens {
  const file = folder === null ? null : openSharedFile<Ledger>(path.join(folder, createHash('sha256').update(account).digest('hex')))
  const own = emptyLedger()
  const change = (step: (ledger: Ledger) => Grant): Grant => {
    if (file === null) return step(own)
    return file.update((ledger = emptyLedger()) => ({ result: step(ledger), value: ledger }))
  }
  const windows: Window[] = []
  let pausedUntil = 0
  let lookedAt = -Infinity
  let held = { claim: '', n: 0, until: 0, used: 0, at: 0 }
  const grant = (at: number): number => {
    if (at > held.until || held.n === 0) return refill(at)
    held.n--
    held.used++
    held.at = at
    return 0
  }
  const refill = (at: number): number => {
    const used: Use | null = held.claim === '' ? null : { claim: held.claim, n: held.used, at: held.at }
    const name = randomUUID()
    const got = change((ledger) => claim(ledger, windows, at, name, used))
    held = { claim: got.n === 0 ? '' : name, n: got.n, until: 'until' in got ? got.until : 0, used: 0, at: 0 }
    return 'wait' in got ? got.wait : grant(at)
  }
  return {
    restrict(more) {
      for (const one of more) if (!windows.some(({ requests, ms }) => requests === one.requests && ms === one.ms)) windows.push(one)
    },
    take() {
      const at = now()
      if (windows.length === 0 && file !== null && Math.abs(at - lookedAt) >= LOOK_EVERY) {
        lookedAt = at
        pausedUntil = Math.max(pausedUntil, file.read()?.pausedUntil ?? 0)
      }
      if (pausedUntil > at) return pausedUntil - at
      return windows.length === 0 ? 0 : grant(at)
    },
    pause(ms) {
      const until = now() + ms
      pausedUntil = Math.max(pausedUntil, until)
      change((ledger) => {
        ledger.pausedUntil = Math.max(ledger.pausedUntil, until)
        return { n: 0, wait: ms }
      })
    },
  }
}

/** The promise, or the signal's reason as soon as it aborts. */
async function unlessAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  let stop: (() => void) | undefined
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error)
    signal.addEventListener('abort', stop, { once: true })
  })
  try {
    await Promise.race([promise, aborted])
    signal.throwIfAborted()
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop)
  }
}
