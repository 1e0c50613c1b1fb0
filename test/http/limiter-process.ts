/** A process of its own for limiter.test.ts: takes turns until it has had enough and prints when. */
import { setTimeout as delay } from 'node:timers/promises'
import { openLimiter } from '../../src/limiter.ts'

const [folder = '', turns = '0', requests = '1', ms = '1000'] = process.argv.slice(2)
const limiter = openLimiter({
  account: 'acme',
  limits: { concurrency: 4, windows: [{ requests: Number(requests), seconds: Number(ms) / 1000 }] },
  folder,
  now: Date.now,
  sleep: (time, signal) => delay(time, undefined, { signal }),
})
const { signal } = new AbortController()
for (let i = 0; i < Number(turns); i++) {
  const release = await limiter.acquire(signal)
  process.stdout.write(`${Date.now()}\n`)
  release()
}
