/** Questions to a destination that change nothing there: asked at the account's rate, and again where no answer came. */
import { failureOf } from './deliver/send.ts'
import { quotaUsedUp } from './deliver/errors.ts'
import { backoff, createHealth, MAX_TRIES, MAX_WAIT } from './deliver/retry.ts'
import { RateLimited } from './connector.ts'
import { CdpError } from './errors.ts'
import { opOf, type Session } from './open.ts'
import { sleep } from './sleep.ts'

/** Asks once, with the patience of a delivery. Throws AuthError, CDP3304 (a long wait), CDP4021 (refused, or no answer). */
export type Ask = <Answer>(question: () => Promise<Answer>) => Promise<Answer>

export function asker({ sync, context, limiter: limiterOf }: Session): Ask {
  const { now, random, signal } = context
  const limiter = limiterOf(opOf(sync))
  const health = createHealth(now, random)
  const unread = (code: string): CdpError =>
    new CdpError('CDP4021', `What ${sync.destination.name} holds can't be read: ${code}.`, {
      where: sync.where,
      hint: 'Nothing was adopted. Run again with --debug to see the requests.',
    })

  return async (question) => {
    for (let tries = 1; ;) {
      signal.throwIfAborted()
      const release = await limiter.acquire(signal).catch((error: unknown) => {
        throw error instanceof RateLimited ? quotaUsedUp(error.afterMs ?? MAX_WAIT) : error
      })
      const startedAt = now()
      let wait: number
      try {
        const answer = await question()
        health.answered()
        return answer
      } catch (thrown) {
        const failure = failureOf(thrown)
        if (failure.kind === 'limited') {
          const pause = health.limited(startedAt, failure.afterMs)
          if (pause.wait === null) throw quotaUsedUp(pause.until - now())
          limiter.pause(pause.wait)
          wait = pause.wait
        } else if (failure.kind === 'not_sent' || failure.kind === 'unknown') {
          const asked = 'afterMs' in failure ? failure.afterMs : undefined
          if (asked !== undefined && asked > MAX_WAIT) throw quotaUsedUp(asked)
          if (++tries > MAX_TRIES) throw unread(failure.cause.code)
          wait = asked ?? backoff(tries, random)
        } else throw failure.kind === 'refused' ? unread(failure.cause.code) : thrown
      } finally {
        release()
      }
      await sleep(wait, signal)
    }
  }
}
