/** What becomes of rows when a destination refuses, is silent, contradicts itself, is busy, or is down. */
import { setImmediate } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { type Change, NotSent, RateLimited, Refused, UnknownOutcome } from '../../src/connector.ts'
import { AuthError } from '../../src/errors.ts'
import { allOk, Bench, type Behaviour, ok, type Options, row, rows, type Said, sum } from './support.ts'

let benches: Bench[] = []
const bench = (behaviour: Behaviour, options?: Options): Bench => {
  const one = new Bench(behaviour, options)
  benches.push(one)
  return one
}
afterEach(() => {
  for (const one of benches) expect(one.breaches).toEqual([])
  benches = []
})

/** Fails the first `times` calls with what `error` makes, then confirms everything. */
const first = (times: number, error: () => Error): Behaviour =>
  async function* (batch, call) {
    if (call <= times) throw error()
    yield* allOk(batch)
  }
/** Refuses each request that carries one of these keys. */
const refusing = (bad: ReadonlySet<string>, message: (found: Change[]) => string = () => 'bad row'): Behaviour =>
  async function* (batch) {
    const found = batch.changes.filter((change) => bad.has(change.key))
    if (found.length > 0) throw new Refused('invalid', message(found), 400)
    yield* allOk(batch)
  }
const keys = (...numbers: number[]): Set<string> => new Set(numbers.map((n) => `k${n}`))
const down = (): Error => new UnknownOutcome('http_500', 'Internal error')

describe('a refused request', () => {
  it.each([1, 37, 50, 51, 100])('with one bad row of 100 (number %i) finds it in at most 15 requests', async (bad) => {
    const at = bench(refusing(keys(bad)), { rows: rows(100), limits: { rows: 100 } })
    const delivery = await at.run()
    expect(delivery.counts).toMatchObject({ delivered: 99, rejected: 1 })
    expect(delivery.requests).toBeLessThanOrEqual(15)
    expect(delivery.reasons).toEqual([{ outcome: 'rejected', code: 'invalid', rows: 1, example: { key: `k${bad}`, message: 'bad row' } }])
    expect(at.outbox.entries.find((entry) => entry.result === 'rejected')).toEqual({
      n: bad,
      result: 'rejected',
      code: 'invalid',
      message: 'bad row',
    })
  })

  it.each([1, 2, 3])('of %i rows that are all bad ends with each rejected', async (count) => {
    const at = bench(refusing(keys(1, 2, 3)), { rows: rows(count) })
    expect(await at.run()).toMatchObject({ counts: { rejected: count }, cut: null })
  })

  it('that fails alike in both halves twice, and row by row, stops the sync, and no row is to blame', async () => {
    const everything = new Set(rows(1_000).map((row) => row.key))
    const at = bench(
      refusing(everything, () => 'Property "plan" does not exist'),
      { rows: rows(1_000), limits: { rows: 100, concurrency: 1 } },
    )
    const delivery = await at.run()
    expect(delivery.requests).toBe(8)
    expect(delivery.counts).toMatchObject({ rejected: 0, waiting: 1_000 })
    expect(delivery.cut).toMatchObject({ kind: 'refused', error: { code: 'CDP3301' } })
    expect(delivery.cut?.error?.message).not.toContain('plan')
    expect(delivery.reasons[0]).toMatchObject({
      outcome: 'retry',
      code: 'invalid',
      rows: 100,
      example: { message: 'Property "plan" does not exist' },
    })
    expect([...at.outbox.last.values()].every(({ result }) => result === 'retry')).toBe(true)
  })

  it('with the same fault in rows of every quarter still delivers the others', async () => {
    const bad = keys(10, 20, 30, 40, 60, 80, 99)
    const at = bench(refusing(bad), { rows: rows(100), limits: { rows: 100 } })
    expect(await at.run()).toMatchObject({ counts: { delivered: 93, rejected: 7 }, cut: null })
  })

  it('with the same fault in the very rows that are asked alone still delivers the others', async () => {
    const at = bench(refusing(keys(1, 26, 27, 70)), { rows: rows(100), limits: { rows: 100 } })
    expect(await at.run()).toMatchObject({ counts: { delivered: 96, rejected: 4 }, cut: null })
  })

  it('is taken apart with an intent for each part where a repeat does harm', async () => {
    const at = bench(refusing(keys(3)), { rows: rows(8), replay: 'none', limits: { concurrency: 1 } })
    expect(await at.run()).toMatchObject({ counts: { delivered: 7, rejected: 1 } })
    expect(at.outbox.intents.map((numbers) => numbers.length)).toEqual([8, 4, 4, 2, 2, 1, 1])
  })

  it('keeps what it confirmed before it was refused', async () => {
    const at = bench(
      async function* (batch) {
        for (const change of batch.changes) {
          if (change.key === 'k3') throw new Refused('invalid', 'no', 422)
          yield ok(change)
        }
      },
      { rows: rows(4) },
    )
    expect(await at.run()).toMatchObject({ counts: { delivered: 3, rejected: 1 } })
    expect(at.sent.map((batch) => batch.map((change) => change.key))).toEqual([['k1', 'k2', 'k3', 'k4'], ['k3'], ['k4']])
  })
})

const badMost: Behaviour = async function* (batch): AsyncGenerator<Said> {
  for (const change of batch.changes)
    yield Number(change.key.slice(1)) % 5 ? { key: change.key, result: 'rejected', code: 'bad', message: change.key } : ok(change)
}

describe('the circuit breaker', () => {
  it('stops after 100 rows when more than half are rejected', async () => {
    const at = bench(badMost, { rows: rows(1_000), limits: { rows: 10, concurrency: 1 } })
    const delivery = await at.run()
    expect(delivery).toMatchObject({
      counts: { delivered: 20, rejected: 80, waiting: 900 },
      cut: { kind: 'breaker', error: { code: 'CDP3302' } },
      requests: 10,
    })
  })
  it('stops a bisection too', async () => {
    const everything = new Set(rows(1_000).map((row) => row.key))
    const at = bench(
      refusing(everything, (found) => `bad: ${found.map((change) => change.key).join()}`),
      { rows: rows(1_000), limits: { rows: 1_000, concurrency: 1 } },
    )
    const delivery = await at.run()
    expect(delivery.cut?.kind).toBe('breaker')
    expect(delivery.counts.rejected).toBeGreaterThanOrEqual(100)
    expect(delivery.counts.rejected).toBeLessThan(110)
    expect(at.outbox.open.size).toBe(0)
  })
  it('does not look at rows that were refused before, so that old refusals never hold back removals', async () => {
    const at = bench(badMost, { rows: rows(1_000, { attempts: 1 }) })
    expect(await at.run()).toMatchObject({ counts: { delivered: 200, rejected: 800 }, cut: null })
  })
  it('does not trip below 100 rows', async () => {
    const at = bench(badMost, { rows: rows(99) })
    expect((await at.run()).cut).toBeNull()
  })
})

/** Delivers one row (or `options.rows`) to a connector that yields these for each. */
const said = async (outcomes: (key: string) => unknown[], options: Options = {}): Promise<Bench> => {
  const at = bench(
    async function* (batch) {
      for (const change of batch.changes) yield* outcomes(change.key) as Said[]
    },
    { rows: rows(1), ...options },
  )
  await at.run()
  return at
}

/** Names all rows as unknown, completes them one by one, and is throttled at the third. */
const halfDone = (throttled: (call: number) => boolean): Behaviour =>
  async function* ({ changes }, call) {
    for (const { key } of changes) yield { key, result: 'unknown', code: 'half_done', message: '' }
    for (const { key } of changes) {
      if (key === 'k3' && throttled(call)) throw new RateLimited('slow down', 1_000)
      yield { key, result: 'ok', remoteId: 'R1' }
    }
  }

describe('what a connector yields', () => {
  it('for a row it does not name is nothing: the row is unknown', async () => {
    const at = await said(() => [])
    expect(at.outbox.entries).toMatchObject([{ n: 1, result: 'unknown', code: 'unnamed' }])
  })
  it('before an error speaks for the rows it passed over: they are unknown, those behind were not sent', async () => {
    const at = bench(
      async function* (batch, call) {
        if (call > 1) return yield* allOk(batch)
        yield ok(batch.changes[1] as Change)
        throw new NotSent('ECONNRESET', 'no')
      },
      { rows: rows(3) },
    )
    expect((await at.run()).counts).toMatchObject({ delivered: 2, unknown: 1 })
    expect(at.results()).toEqual({ 1: 'unknown', 2: 'ok', 3: 'ok' })
  })
  it('of a row that it did not send says nothing of the rows before it: an error speaks for them', async () => {
    const at = bench(
      async function* (batch, call) {
        if (call > 1) return yield* allOk(batch)
        yield { key: (batch.changes[1] as Change).key, result: 'rejected', code: 'too_long', message: '' }
        throw new NotSent('ECONNRESET', 'no')
      },
      { rows: rows(3) },
    )
    expect((await at.run()).counts).toMatchObject({ delivered: 2, rejected: 1, unknown: 0 })
    expect(at.results()).toEqual({ 1: 'ok', 2: 'rejected', 3: 'ok' })
  })
  it.each([
    ['exists', 'insert'],
    ['absent', 'update'],
  ] as const)('as %s was found before anything was written: the error of the write speaks for the rows before it', async (result, op) => {
    const at = bench(
      async function* (batch, call) {
        if (call > 1) return yield* allOk(batch)
        yield { key: (batch.changes[1] as Change).key, result }
        throw new RateLimited('slow down', 1_000)
      },
      { rows: rows(3, { op }), replay: 'none' },
    )
    expect((await at.run()).counts).toMatchObject({ delivered: 2, unknown: 0 })
    expect(at.results()).toEqual({ 1: 'ok', 2: result, 3: 'ok' })
  })
  it('as unknown may have been applied: an error that follows does not speak for the rows before it', async () => {
    const at = bench(
      async function* (batch, call) {
        if (call > 1) return yield* allOk(batch)
        yield { key: (batch.changes[1] as Change).key, result: 'unknown', code: 'bad_result', message: '' }
        throw new NotSent('ECONNRESET', 'no')
      },
      { rows: rows(3), replay: 'none' },
    )
    expect((await at.run()).counts).toMatchObject({ unknown: 2, delivered: 1 })
  })
  it('twice for a row counts once', async () => {
    const at = await said((key) => [
      { key, result: 'ok' },
      { key, result: 'ok' },
    ])
    expect(at.outbox.entries).toEqual([{ n: 1, result: 'ok' }])
  })
  it('as unknown, before a further request for the row, stands until it says more: an error does not call the row not applied', async () => {
    const at = bench(
      halfDone(() => true),
      { rows: rows(4) },
    )
    expect((await at.run()).counts).toMatchObject({ delivered: 2, unknown: 2, waiting: 0 })
    expect(at.results()).toEqual({ 1: 'ok', 2: 'ok', 3: 'unknown', 4: 'unknown' })
  })
  it('as unknown, before a further request that failed, is sent again where that does no harm', async () => {
    const at = bench(
      halfDone((call) => call === 1),
      { rows: rows(4) },
    )
    expect((await at.run()).counts).toMatchObject({ delivered: 4 })
    const unsafe = bench(
      halfDone((call) => call === 1),
      { rows: rows(4), replay: 'none' },
    )
    expect((await unsafe.run()).counts).toMatchObject({ delivered: 2, unknown: 2 })
    expect(unsafe.sent).toHaveLength(1)
  })
  it.each([
    ['different results', { result: 'rejected', code: 'x', message: '' }],
    ['different remote ids', { result: 'ok', remoteId: 'b' }],
  ])('in %s for one row makes it unknown', async (_, second) => {
    const at = await said((key) => [
      { key, result: 'ok', remoteId: 'a' },
      { key, ...second },
      { key, result: 'ok', remoteId: 'a' },
    ])
    expect(at.outbox.entries).toMatchObject([{ n: 1, result: 'unknown', code: 'contradiction' }])
  })
  it('for keys of other requests is ignored, and said', async () => {
    const at = await said((key) => [{ key: 'stranger', result: 'ok' }, null, 7, { key, result: 'ok' }])
    expect(at.outbox.entries).toEqual([{ n: 1, result: 'ok' }])
    expect(at.notes).toEqual(['The destination named 3 keys that were not in the request; they are ignored.'])
  })
  it.each([{ result: 'done' }, { result: 'exists' }, { result: 'absent' }])(
    'that an upsert can not end with (%o) makes the row unknown',
    async (outcome) => {
      const at = await said((key) => [{ key, ...outcome }])
      expect(at.outbox.entries).toMatchObject([{ n: 1, result: 'unknown', code: 'invalid_outcome' }])
    },
  )
  it.each([
    ['update', 'absent'],
    ['insert', 'exists'],
  ] as const)('to an %s may be %s', async (op, result) => {
    const at = await said((key) => [{ key, result }], { rows: rows(1, { op }) })
    expect(at.outbox.entries).toEqual([{ n: 1, result }])
  })
  it('is cut where a service sends a whole page as its message', async () => {
    const at = await said((key) => [{ key, result: 'rejected', code: 'x', message: 'y'.repeat(100_000), field: 'plan' }])
    expect(at.outbox.entries).toEqual([{ n: 1, result: 'rejected', code: 'x', message: 'y'.repeat(1_000), field: 'plan' }])
  })
  it('as an error of its own making is a bug: the rows are unknown and nothing more is sent', async () => {
    const cause = new TypeError('alice@x.example is not a function')
    const at = bench(
      async function* (batch) {
        yield ok(batch.changes[0] as Change)
        throw cause
      },
      { rows: rows(30), limits: { concurrency: 1 } },
    )
    const delivery = await at.run()
    expect(delivery).toMatchObject({
      counts: { delivered: 1, unknown: 9, waiting: 20 },
      cut: { kind: 'bug', error: { code: 'CDP3300', cause } },
    })
    expect(delivery.cut?.error?.message).not.toContain('alice')
  })
})

describe('a failed login', () => {
  it('stops the sync; nothing was applied, so the rows wait', async () => {
    const error = new AuthError('CDP3401', 'The token was refused.')
    const at = bench(
      first(1, () => error),
      { rows: rows(50), limits: { concurrency: 1 } },
    )
    const delivery = await at.run()
    expect(delivery).toMatchObject({ counts: { waiting: 50 }, requests: 1, cut: { kind: 'auth', error } })
    expect(at.results()[1]).toBe('retry')
    expect(at.outbox.open.size).toBe(0)
  })
  it('is known as one from a connector with its own copy of the class', async () => {
    const at = bench(
      first(1, () => Object.assign(new Error('no'), { name: 'AuthError', code: 'CDP3401' })),
      { rows: rows(5) },
    )
    const { cut } = await at.run()
    expect(cut?.kind).toBe('auth')
    expect(cut?.error).toBeInstanceOf(AuthError)
  })
  it('lets requests in flight end, and keeps what they confirm', async () => {
    const at = bench(
      async function* (batch, call, { clock }) {
        if (call === 2) throw new AuthError('CDP3401', 'no')
        await clock.sleep(5_000)
        yield* allOk(batch)
      },
      { rows: rows(50) },
    )
    expect(await at.run()).toMatchObject({ counts: { delivered: 10, waiting: 40 }, requests: 2 })
  })
})

describe('a request without an answer', () => {
  it('is repeated with the same rows and ids, is unknown in the journal at once, and ok in the end', async () => {
    const at = bench(first(1, down), { rows: rows(10) })
    expect(await at.run()).toMatchObject({ counts: { delivered: 10, unknown: 0 }, requests: 2 })
    expect(at.sent[1]).toEqual(at.sent[0])
    expect(at.outbox.entries.map((entry) => entry.result)).toEqual([...Array.from({ length: 10 }, () => 'unknown'), 'ok'])
  })
  it('is not repeated where that does harm: its rows are unknown', async () => {
    const at = bench(first(1, down), { rows: rows(10), replay: 'none' })
    expect(await at.run()).toMatchObject({ counts: { unknown: 10 }, requests: 1, cut: null })
  })
  it.each([
    ['refused', () => new Refused('invalid', 'no', 400)],
    ['told to log in', () => new AuthError('CDP3401', 'no')],
    ['not sent', () => new NotSent('ECONNREFUSED', 'no')],
    ['limited for an hour', () => new RateLimited('later', 3_600_000)],
  ])('stays unknown when its repeat is %s: the first may have been applied', async (_, error) => {
    const at = bench(
      // oxlint-disable-next-line eslint/require-yield
      async function* (_batch, call) {
        throw call === 1 ? down() : error()
      },
      { rows: rows(2) },
    )
    const delivery = await at.run()
    expect(delivery.counts).toMatchObject({ unknown: 2, rejected: 0, waiting: 0 })
    expect(at.results()).toEqual({ 1: 'unknown', 2: 'unknown' })
  })
  it('is tried five times; what stays without answer is unknown', async () => {
    const at = bench(first(99, down), { rows: rows(10) })
    expect(await at.run()).toMatchObject({ counts: { unknown: 10 }, requests: 5, cut: null })
    expect(at.outbox.open.size).toBe(0)
  })
  it('waits as long as Retry-After says', async () => {
    const at = bench(
      first(1, () => new UnknownOutcome('http_503', 'busy', { afterMs: 90_000 })),
      { rows: rows(1) },
    )
    await at.run()
    expect((at.sentAt[1] ?? 0) - (at.sentAt[0] ?? 0)).toBe(90_100)
    expect(at.pauses).toEqual([90_000])
  })
  it('ends the run when the destination is down, without sending the whole outbox into the void', async () => {
    const at = bench(first(9_999, down), { rows: rows(10_000), limits: { rows: 10, concurrency: 8 } })
    const began = at.clock.now()
    const delivery = await at.run()
    expect(delivery).toMatchObject({ cut: { kind: 'budget', error: { code: 'CDP3303' } }, requests: 20 })
    expect(sum(delivery.counts)).toBe(10_000)
    expect(delivery.counts.unknown).toBeLessThanOrEqual(160)
    expect(at.clock.now() - began).toBeGreaterThan(5_000)
    expect(at.clock.now() - began).toBeLessThan(60_000)
    expect(at.outbox.open.size).toBe(0)
  })
  it('for a few seconds costs nothing but those seconds', async () => {
    const at = bench(
      async function* (batch, _call, { clock }) {
        if (clock.now() < 1_004_000) throw new NotSent('ECONNREFUSED', 'restarting')
        yield* allOk(batch)
      },
      { rows: rows(2_000), limits: { rows: 10, concurrency: 8 } },
    )
    expect(await at.run()).toMatchObject({ counts: { delivered: 2_000 }, cut: null })
  })
  it('is waited for while the clock moves between two looks at it', async () => {
    for (let tick = 1; tick <= 200; tick++) {
      const at = bench(
        async function* (batch, _call, { clock }) {
          if (clock.now() < 1_004_000) throw new NotSent('ECONNREFUSED', 'restarting')
          yield* allOk(batch)
        },
        { rows: rows(10), limits: { rows: 10, concurrency: 1 } },
      )
      at.clock.tick = tick
      expect(sum((await at.run()).counts)).toBe(10)
    }
  })
  it('because nothing was sent leaves rows waiting, not unknown', async () => {
    const at = bench(
      first(99, () => new NotSent('ECONNREFUSED', 'no')),
      { rows: rows(10), replay: 'none' },
    )
    expect(await at.run()).toMatchObject({
      counts: { waiting: 10, unknown: 0 },
      requests: 5,
      reasons: [{ outcome: 'retry', code: 'ECONNREFUSED', rows: 10 }],
    })
  })
})

describe('the retry budget', () => {
  it('is 10 % of requests, at least 20', async () => {
    const tried = new Map<string, number>()
    const at = bench(
      async function* (batch) {
        const key = batch.changes[0]?.key ?? ''
        tried.set(key, (tried.get(key) ?? 0) + 1)
        if (Number(key.slice(1)) % 3 === 0 && tried.get(key) === 1) throw down()
        yield* allOk(batch)
      },
      { rows: rows(900), limits: { rows: 1, concurrency: 4 } },
    )
    const delivery = await at.run()
    const repeats = delivery.requests - 900
    expect(repeats).toBeGreaterThan(80)
    expect(repeats).toBeLessThanOrEqual(delivery.requests * 0.1)
    expect(delivery.counts).toMatchObject({ delivered: 600 + repeats, unknown: 300 - repeats })
  })
  it('ends rows that only ask to come back as waiting, with what the service said', async () => {
    const at = bench(
      async function* (batch): AsyncGenerator<Said> {
        for (const change of batch.changes)
          yield Number(change.key.slice(1)) % 10
            ? ok(change)
            : { key: change.key, result: 'retry', code: 'locked', message: 'row is locked' }
      },
      { rows: rows(100) },
    )
    const delivery = await at.run()
    expect(delivery).toMatchObject({
      counts: { delivered: 90, waiting: 10 },
      cut: null,
      reasons: [{ outcome: 'retry', code: 'locked', rows: 10 }],
    })
    expect(at.results()[10]).toBe('retry')
    expect(at.sent.flat().filter((change) => change.key === 'k10')).toHaveLength(5)
  })
  it('sends a row again after the time it asked for', async () => {
    const at = bench(
      async function* (batch, call): AsyncGenerator<Said> {
        for (const change of batch.changes)
          yield call > 1 ? ok(change) : { key: change.key, result: 'retry', code: 'locked', message: '', afterMs: 7_000 }
      },
      { rows: rows(3) },
    )
    expect((await at.run()).counts.delivered).toBe(3)
    expect((at.sentAt[1] ?? 0) - (at.sentAt[0] ?? 0)).toBe(7_100)
  })
})

describe('a rate limit', () => {
  it('pauses the account and costs neither budget nor tries', async () => {
    const at = bench(
      first(60, () => new RateLimited('slow down', 1_000)),
      { rows: rows(10), limits: { concurrency: 1 } },
    )
    expect(await at.run()).toMatchObject({ counts: { delivered: 10 }, requests: 61, cut: null })
    expect(at.pauses).toEqual(Array.from({ length: 60 }, () => 1_000))
  })
  it('of more than five minutes ends the sync cleanly and says until when', async () => {
    const at = bench(
      first(1, () => new RateLimited('daily quota', 86_400_000)),
      { rows: rows(20), limits: { concurrency: 1 } },
    )
    const delivery = await at.run()
    expect(delivery).toMatchObject({
      counts: { waiting: 20 },
      cut: { kind: 'quota', error: { code: 'CDP3304' }, until: 1_000_100 + 86_400_000 },
    })
    expect(at.outbox.open.size).toBe(0)
  })
  it('whose window is used up for hours, as the limiter knows before asking, ends the sync cleanly', async () => {
    const limiter = {
      acquire: async () => {
        throw new RateLimited('500,000 a day', 7_200_000)
      },
      pause: () => {},
    }
    const at = bench(allOk, { rows: rows(20), settings: { limiter } })
    expect(await at.run()).toMatchObject({ counts: { waiting: 20 }, requests: 0, cut: { kind: 'quota', until: 1_000_000 + 7_200_000 } })
    expect(at.outbox.open.size).toBe(0)
  })
  it('that never ends does not keep the run for ever', async () => {
    const at = bench(
      first(9_999, () => new RateLimited('slow down')),
      { rows: rows(20) },
    )
    const began = at.clock.now()
    expect((await at.run()).cut?.kind).toBe('quota')
    expect(at.clock.now() - began).toBeLessThanOrEqual(300_000)
  })
})

describe('an interrupt', () => {
  it('before the start sends nothing', async () => {
    const at = bench(allOk, { rows: rows(5) })
    at.interrupt.abort()
    expect(await at.run()).toMatchObject({ counts: { waiting: 5 }, requests: 0, cut: { kind: 'interrupted', error: null } })
    expect(at.outbox.flushes).toBe(1)
  })
  it('takes no new request, lets those in flight end, and leaves nothing in doubt', async () => {
    const at = bench(
      async function* (batch, call, { clock, interrupt }) {
        if (call === 1) interrupt.abort()
        await clock.sleep(9_000)
        yield* allOk(batch)
      },
      { rows: rows(100), limits: { concurrency: 2 } },
    )
    const delivery = await at.run()
    expect(delivery).toMatchObject({ counts: { delivered: 20, waiting: 80 }, requests: 2, cut: { kind: 'interrupted' } })
    expect(at.io.signal.aborted).toBe(false)
    expect([...at.outbox.last].filter(([, { result }]) => result === 'retry')).toHaveLength(20)
    expect(at.outbox.open.size).toBe(0)
  })
  it('aborts what does not end within 10 s; its rows are unknown', async () => {
    const at = bench(
      async function* (batch, _call, { clock, interrupt, io }): AsyncGenerator<Said> {
        yield ok(batch.changes[0] as Change)
        interrupt.abort()
        await clock.sleep(60_000, io.signal)
        throw new DOMException('aborted', 'AbortError')
      },
      { rows: rows(3) },
    )
    const delivery = await at.run()
    expect(delivery.counts).toMatchObject({ delivered: 1, unknown: 2 })
    expect(delivery.reasons).toMatchObject([{ outcome: 'unknown', code: 'interrupted', rows: 2 }])
    expect(at.clock.now()).toBe(1_000_000 + 100 + 10_000)
  })
  it('does not wait for a connector that ignores it, nor believe what it says later', async () => {
    const late = new AbortController()
    const at = bench(
      async function* (batch, _call, { interrupt }) {
        interrupt.abort()
        await new Promise((resolve) => late.signal.addEventListener('abort', resolve))
        yield* allOk(batch)
      },
      { rows: rows(3) },
    )
    const delivery = await at.run()
    late.abort()
    await setImmediate()
    expect(delivery.counts).toMatchObject({ unknown: 3, delivered: 0 })
    expect(at.results()).toEqual({ 1: 'unknown', 2: 'unknown', 3: 'unknown' })
  })
  it('wakes what waits for a rate limit or a repeat', async () => {
    const at = bench(
      // oxlint-disable-next-line eslint/require-yield
      async function* (_batch, call, { clock, interrupt }) {
        if (call === 1) throw new RateLimited('slow', 200_000)
        void clock.sleep(1_000).then(() => interrupt.abort())
        throw new UnknownOutcome('http_503', 'busy', { afterMs: 250_000 })
      },
      { rows: rows(40) },
    )
    const delivery = await at.run()
    expect(delivery).toMatchObject({ counts: { unknown: 10, waiting: 30 }, cut: { kind: 'interrupted' } })
    expect(at.clock.now()).toBeLessThan(1_003_000)
  })
  it('records a row that was ok before as ok', async () => {
    const at = bench(
      async function* (batch, _call, { interrupt }) {
        for (const change of batch.changes) yield ok(change, 'r')
        interrupt.abort()
      },
      { rows: [row(1)] },
    )
    expect((await at.run()).counts.delivered).toBe(1)
  })
})
