import { spawn } from 'node:child_process'
import { setMaxListeners } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { type Limits, NotSent } from '../../src/connector.ts'
import { windowsOf } from '../../src/limit-ledger.ts'
import { createLimiter, type Limiter, openLimiter } from '../../src/limiter.ts'
import { createMeter } from '../../src/meter.ts'
import { openSharedFile } from '../../src/shared-file.ts'

const root = await fs.promises.mkdtemp(path.join(os.tmpdir(), 'limiter-'))
afterAll(() => fs.promises.rm(root, { recursive: true }))
let folder = root
let folders = 0
beforeEach(() => {
  folder = path.join(root, String(++folders))
})

/** Time that moves only when nobody can do anything before it does. */
function virtualTime(): {
  now: () => number
  sleep: (ms: number, signal: AbortSignal) => Promise<void>
  run: (done: Promise<unknown>) => Promise<void>
  move(ms: number): void
} {
  let time = 1_700_000_000_000
  const sleepers: { at: number; wake: () => void }[] = []
  return {
    now: () => time,
    move: (ms) => (time += ms),
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
        sleepers.push({ at: time + ms, wake: resolve })
      }),
    async run(done) {
      let over = false
      const end = (): void => void (over = true)
      done.then(end, end)
      for (;;) {
        await new Promise(setImmediate)
        if (over) return
        sleepers.sort((a, b) => a.at - b.at)
        const next = sleepers.shift()
        if (next === undefined) continue
        time = Math.max(time, next.at)
        next.wake()
      }
    },
  }
}

const never = new AbortController().signal
setMaxListeners(0, never)
const limits = (more: Partial<Limits>): Limits => ({ rows: 1, concurrency: 1000, ...more })

function most(times: readonly number[], ms: number): number {
  const sorted = [...times].sort((a, b) => a - b)
  let first = 0
  let found = 0
  for (let i = 0; i < sorted.length; i++) {
    while ((sorted[i] ?? 0) - (sorted[first] ?? 0) >= ms) first++
    found = Math.max(found, i - first + 1)
  }
  return found
}

describe('the rate', () => {
  it('never passes any window, whatever two processes do, and is mostly used', async () => {
    const window = fc.record({ requests: fc.integer({ min: 1, max: 40 }), seconds: fc.constantFrom(0.2, 1, 2.5, 10) })
    await fc.assert(
      fc.asyncProperty(
        fc.record({ windows: fc.array(window, { minLength: 1, maxLength: 2 }), turns: fc.integer({ min: 1, max: 120 }) }),
        fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 20 }),
        async ({ windows, turns }, pauses) => {
          const time = virtualTime()
          const shared = path.join(root, `property-${++folders}`)
          const processes = [1, 2].map(() => createLimiter({ account: 'a', limits: limits({ windows }), folder: shared, ...time }))
          const grants: number[] = []
          const start = time.now()
          const work = async (limiter: Limiter, mine: number): Promise<void> => {
            for (let i = 0; i < turns; i++) {
              const release = await limiter.acquire(never)
              grants.push(time.now())
              if ((i + mine) % 3 === 0) await time.sleep(pauses[(i + mine) % pauses.length] ?? 0, never)
              release()
            }
          }
          await time.run(Promise.all(processes.map(work)))
          expect(grants).toHaveLength(2 * turns)
          for (const { requests, seconds } of windows) expect(most(grants, seconds * 1000)).toBeLessThanOrEqual(requests)
          // No more than a tenth of the rate is lost to sharing, beside the pauses and one window at the end.
          const busy = Math.max(...windows.map(({ requests, seconds }) => Math.ceil((2 * turns) / requests) * seconds * 1000))
          const paused = 2 * turns * Math.max(...pauses)
          expect(Math.max(...grants) - start).toBeLessThanOrEqual(busy * 1.1 + paused)
        },
      ),
      { numRuns: 60 },
    )
  }, 120_000)

  it('is used at once up to the limit, then waits', async () => {
    const time = virtualTime()
    const limiter = createLimiter({ account: 'a', limits: limits({ perSecond: 10 }), folder, ...time })
    const start = time.now()
    const at: number[] = []
    const take = async (): Promise<void> => {
      for (let i = 0; i < 20; i++) {
        ;(await limiter.acquire(never))()
        at.push(time.now() - start)
      }
    }
    await time.run(take())
    expect(at.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 0))
    expect(Math.min(...at.slice(10))).toBeGreaterThanOrEqual(1000)
    expect(Math.max(...at)).toBeLessThanOrEqual(1100)
  })

  it('may be less than one a second, or a fraction', () => {
    expect(windowsOf({ perSecond: 0.5 })).toEqual([{ requests: 1, ms: 2000 }])
    expect(windowsOf({ perSecond: 2.5 })).toEqual([{ requests: 2, ms: 800 }])
    expect(windowsOf({})).toEqual([])
  })

  it('outlives a clock that was set back', async () => {
    const time = virtualTime()
    const limiter = createLimiter({ account: 'a', limits: limits({ perSecond: 1 }), folder, ...time })
    ;(await limiter.acquire(never))()
    time.move(-3_600_000)
    const start = time.now()
    await time.run(limiter.acquire(never))
    expect(time.now() - start).toBeLessThan(2200)
  })

  it('is kept by two real processes', async () => {
    const run = async (): Promise<number[]> => {
      const child = spawn(process.execPath, [
        '--import',
        'tsx',
        path.join(import.meta.dirname, 'limiter-process.ts'),
        folder,
        '40',
        '20',
        '300',
      ])
      let out = ''
      child.stdout.on('data', (data: Buffer) => (out += data.toString()))
      child.stderr.on('data', (data: Buffer) => (out += data.toString()))
      const code = await new Promise((resolve) => child.on('close', resolve))
      expect([code, out]).toEqual([0, expect.stringMatching(/^(\d+\n){40}$/)])
      return out.trim().split('\n').map(Number)
    }
    const times = (await Promise.all([run(), run()])).flat()
    expect(times).toHaveLength(80)
    // Printed after the grant, so a loaded machine may shift them a little.
    expect(most(times, 280)).toBeLessThanOrEqual(20)
    const files = fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    expect(files).toHaveLength(1)
  })

  it('is not blocked by a process that died with a claim, nor by what it left half written', async () => {
    const time = virtualTime()
    const dead = createLimiter({ account: 'a', limits: limits({ perSecond: 10 }), folder, ...time })
    await dead.acquire(never)
    const [home = ''] = fs.readdirSync(folder).map((name) => path.join(folder, name))
    fs.writeFileSync(path.join(home, 'tmp-1-1'), '{"half')
    fs.utimesSync(path.join(home, 'tmp-1-1'), 0, 0)
    const alive = createLimiter({ account: 'a', limits: limits({ perSecond: 10 }), folder, ...time })
    const start = time.now()
    await time.run(
      (async () => {
        for (let i = 0; i < 10; i++) (await alive.acquire(never))()
      })(),
    )
    expect(time.now() - start).toBeLessThanOrEqual(1100)
    expect(fs.readdirSync(home)).toHaveLength(1)
  })
})

describe('slots', () => {
  it('are never more than the concurrency, over all syncs of the process, in the order of asking', async () => {
    const time = virtualTime()
    const options = { account: 'slots', folder: null, ...time }
    const first = openLimiter({ ...options, limits: limits({ concurrency: 5 }) })
    const second = openLimiter({ ...options, limits: limits({ concurrency: 2 }) })
    let inside = 0
    let peak = 0
    const order: number[] = []
    const work = async (limiter: Limiter, i: number): Promise<void> => {
      const release = await limiter.acquire(never)
      order.push(i)
      peak = Math.max(peak, ++inside)
      await time.sleep(10, never)
      inside--
      release()
      release()
    }
    await time.run(Promise.all(Array.from({ length: 9 }, (_, i) => work(i % 2 ? first : second, i))))
    expect(peak).toBe(2)
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
  })

  it('are given up when the one who waits is stopped', async () => {
    const time = virtualTime()
    const limiter = createLimiter({ account: 'a', limits: limits({ concurrency: 1 }), folder: null, ...time })
    const release = await limiter.acquire(never)
    const stop = new AbortController()
    const waiting = limiter.acquire(stop.signal)
    stop.abort(new Error('stopped'))
    await expect(waiting).rejects.toThrow('stopped')
    const next = limiter.acquire(never)
    release()
    await next
    await expect(limiter.acquire(stop.signal)).rejects.toThrow('stopped')
  })

  it('are given up when the one who waits for the rate is stopped, and those behind are not held up', async () => {
    const time = virtualTime()
    const limiter = createLimiter({ account: 'a', limits: limits({ concurrency: 3, perSecond: 1 }), folder: null, ...time })
    ;(await limiter.acquire(never))()
    const stop = new AbortController()
    const head = limiter.acquire(stop.signal)
    const behind = limiter.acquire(stop.signal)
    const last = limiter.acquire(never)
    stop.abort(new Error('stopped'))
    await expect(head).rejects.toThrow('stopped')
    await expect(behind).rejects.toThrow('stopped')
    await time.run(last)
    ;(await last)()
  })
})

describe('a pause', () => {
  it('holds everybody at the account, also in another process', async () => {
    const time = virtualTime()
    const [one, other] = [1, 2].map(() => createLimiter({ account: 'a', limits: limits({}), folder, ...time })) as [Limiter, Limiter]
    one.pause(7000)
    const start = time.now()
    await time.run(Promise.all([one.acquire(never), other.acquire(never)]))
    expect(time.now() - start).toBe(7000)
  })

  it('never ends earlier for a shorter one', async () => {
    const time = virtualTime()
    const limiter = createLimiter({ account: 'a', limits: limits({ perSecond: 100 }), folder, ...time })
    limiter.pause(5000)
    limiter.pause(10)
    const start = time.now()
    await time.run(limiter.acquire(never))
    expect(time.now() - start).toBe(5000)
  })

  it('is seen by another process that is at work', async () => {
    const time = virtualTime()
    const [one, other] = [1, 2].map(() => createLimiter({ account: 'a', limits: limits({}), folder, ...time })) as [Limiter, Limiter]
    ;(await other.acquire(never))()
    one.pause(60_000)
    time.move(1000)
    const start = time.now()
    await time.run(other.acquire(never))
    expect(time.now() - start).toBe(59_000)
  })

  it('touches no file before there is one, when no rate is declared', async () => {
    const time = virtualTime()
    const limiter = createLimiter({ account: 'a', limits: limits({}), folder, ...time })
    for (let i = 0; i < 50; i++) (await limiter.acquire(never))()
    expect(fs.existsSync(folder)).toBe(false)
  })

  it('that is longer than anyone would wait is an error that says until when', async () => {
    const time = virtualTime()
    const limiter = createLimiter({
      account: 'a',
      limits: limits({ windows: [{ requests: 1, seconds: 86_400 }] }),
      folder,
      maxWait: 300_000,
      ...time,
    })
    ;(await limiter.acquire(never))()
    await expect(limiter.acquire(never)).rejects.toMatchObject({ name: 'RateLimited', afterMs: expect.closeTo(86_400_000, -7) })
  })
})

describe('a shared file', () => {
  it('loses no change when many write at once', async () => {
    const file = openSharedFile<number>(folder)
    const other = openSharedFile<number>(folder)
    for (let i = 0; i < 100; i++) {
      file.update((n = 0) => {
        // Somebody else is faster, twice.
        if (i % 10 === 0 && n % 3 === 0) other.update((m = 0) => ({ value: m + 1, result: null }))
        return { value: n + 1, result: null }
      })
    }
    expect(file.read()).toBeGreaterThan(100)
    expect(fs.readdirSync(folder)).toHaveLength(1)
  })

  it('is for its owner alone', () => {
    openSharedFile<number>(folder).update(() => ({ value: 1, result: null }))
    expect(fs.statSync(folder).mode & 0o777).toBe(0o700)
    expect(fs.statSync(path.join(folder, '1')).mode & 0o777).toBe(0o600)
  })

  it('starts afresh when its newest version is no JSON', () => {
    fs.mkdirSync(folder)
    fs.writeFileSync(path.join(folder, '7'), '')
    const file = openSharedFile<number>(folder)
    expect(file.read()).toBeUndefined()
    file.update((n = 0) => ({ value: n + 1, result: null }))
    expect(fs.readdirSync(folder)).toEqual(['8'])
  })

  it('says what to do when it can not be written', () => {
    fs.writeFileSync(folder, 'a file where the folder should be')
    expect(() => openSharedFile<number>(folder).update(() => ({ value: 1, result: null }))).toThrow(
      expect.objectContaining({ code: 'CDP3050' }),
    )
  })
})

describe('a connector that needs several requests for one write', () => {
  it('keeps to the rate with all of them', async () => {
    const time = virtualTime()
    const limiter = createLimiter({ account: 'a', limits: limits({ concurrency: 4, perSecond: 10 }), folder: null, ...time })
    const meter = createMeter(never)
    const bound = meter.bind(limiter)
    const sent: number[] = []
    const write = async (requests: number): Promise<void> => {
      const release = await bound.acquire(never)
      for (let i = 0; i < requests; i++) {
        await meter.turn()
        sent.push(time.now())
      }
      release()
    }
    await time.run(Promise.all(Array.from({ length: 60 }, (_, i) => write((i % 3) + 1))))
    expect(sent).toHaveLength(120)
    expect(most(sent, 1000)).toBeLessThanOrEqual(10)
    // 120 requests at 10 a second, the first 10 at once.
    expect((sent.at(-1) as number) - (sent[0] as number)).toBeLessThan(12_500)
  })

  it('is told that nothing was sent when the run stops while it waits', async () => {
    const time = virtualTime()
    const stop = new AbortController()
    const meter = createMeter(stop.signal)
    meter.bind(createLimiter({ account: 'a', limits: limits({ perSecond: 1 }), folder: null, ...time }))
    await meter.turn()
    const waiting = meter.turn()
    stop.abort()
    await expect(waiting).rejects.toBeInstanceOf(NotSent)
  })
})
