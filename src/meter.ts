/** Counts every request of a connector against the rate of its account, also those beyond the one a turn was taken for. */
import { NotSent, RateLimited } from './connector.ts'
import type { Limiter } from './limiter.ts'

export interface Meter {
  /** Requests count from now on. Gives the limiter to take turns at: each turn pays one request. */
  bind(limiter: Limiter): Limiter
  /** Call it before each request: waits for its turn unless it is paid. Throws NotSent when stopped, RateLimited when a turn is too far away. */
  readonly turn: () => Promise<void>
}

/**
 * A connector may need several requests for one `write` (a look-up, then the write, then polls of a job), or none. Which
 * request a paid turn was meant for does not matter: over a run there are never more requests than turns.
 */
export function createMeter(signal: AbortSignal): Meter {
  let limiter: Limiter | null = null
  let open = 0
  let paid = 0
  return {
    bind(bound) {
      limiter = bound
      return {
        ...bound,
        async acquire(waiting) {
          const release = await bound.acquire(waiting)
          open++
          paid++
          let over = false
          return () => {
            release()
            if (!over) open--
            over = true
            // What no write in progress can need is gone: used later it would be one request too many in its window.
            paid = Math.min(paid, open)
          }
        },
      }
    },
    async turn() {
      if (limiter === null) return
      if (paid > 0) return void paid--
      await limiter.turn(signal).catch((error: unknown) => {
        throw error instanceof RateLimited ? error : new NotSent('interrupted', 'stopped', error)
      })
    },
  }
}
