/** How changes flow: batches, intents, order, waves, tokens, throughput. */
import { afterEach, describe, expect, it } from 'vitest'
import type { Outcome } from '../../src/connector.ts'
import { encodeJson } from '../../src/json.ts'
import { allOk, Bench, ok, type Options, row, rows, type Said, sum } from './support.ts'

let benches: Bench[] = []
const bench = (behaviour: ConstructorParameters<typeof Bench>[0], options?: Options): Bench => {
  const one = new Bench(behaviour, options)
  benches.push(one)
  return one
}
afterEach(() => {
  for (const one of benches) expect(one.breaches).toEqual([])
  benches = []
})

const wide = (n: number, size: number) => row(n, { fields: JSON.stringify({ text: 'é'.repeat(size) }) })
const removal = (n: number) => row(n, { op: 'delete', fields: '{}' })

describe('a delivery without faults', () => {
  it('sends every change once, in batches of the limit, and counts each as delivered', async () => {
    const at = bench(allOk, { rows: rows(95) })
    const delivery = await at.run()
    expect(delivery).toEqual({
      counts: { delivered: 95, accepted: 0, absent: 0, exists: 0, rejected: 0, unknown: 0, waiting: 0 },
      requests: 10,
      reasons: [],
      cut: null,
    })
    expect(at.sent.flat().map((change) => change.key)).toEqual(rows(95).map((row) => row.key))
    expect(at.progress.at(-1)).toEqual({ settled: 95, total: 95 })
    expect(at.outbox.flushes).toBe(1)
    expect(at.outbox.open.size).toBe(0)
  })

  it('sends nothing of an empty outbox, and still says that upserts have ended', async () => {
    const at = bench(allOk, { waves: [] })
    expect((await at.run()).requests).toBe(0)
    expect(at.upsertsEnded).toBe(1)
  })

  it('records neighbours that are ok without a remote id as one range, and a remote id for each that has one', async () => {
    const at = bench(
      async function* (batch) {
        for (const change of batch.changes) yield ok(change, change.key === 'k4' ? 'remote4' : undefined)
      },
      { rows: rows(10) },
    )
    await at.run()
    expect(at.outbox.entries).toEqual([
      { first: 1, last: 3, result: 'ok' },
      { n: 4, result: 'ok', remoteId: 'remote4' },
      { first: 5, last: 10, result: 'ok' },
    ])
  })

  it('shows a connector what the outbox holds, numbers exact', async () => {
    const full = row(1, {
      match: '{"email":"a@x.example"}',
      previousMatch: '{"email":"b@x.example"}',
      fields: '{"balance":12345678901234567.89}',
      onCreate: '{"stage":"lead"}',
      ifEmpty: '{"source":"w"}',
      changed: ['balance'],
      remoteId: 'r9',
      attempts: 2,
    })
    const at = bench(allOk, { rows: [full] })
    await at.run()
    const change = at.sent[0]?.[0]
    expect(change).toMatchObject({ key: 'k1', op: 'upsert', changed: ['balance'], remoteId: 'r9', id: 'id1', attempts: 2 })
    expect(change?.match).toEqual({ email: 'a@x.example' })
    expect(change?.previousMatch).toEqual({ email: 'b@x.example' })
    expect(encodeJson(change?.fields)).toBe(full.fields)
    expect(change?.fieldsJson.text).toBe(full.fields)
    expect([change?.onCreate, change?.ifEmpty]).toEqual([{ stage: 'lead' }, { source: 'w' }])
  })

  it('keeps a request within the limit in bytes, and sends a change that is larger alone', async () => {
    const list = [wide(1, 100), wide(2, 100), wide(3, 100), wide(4, 5_000), wide(5, 100)]
    const at = bench(allOk, { rows: list, limits: { bytes: 1_200 } })
    expect((await at.run()).counts.delivered).toBe(5)
    expect(at.sent.map((batch) => batch.map((change) => change.key))).toEqual([['k1', 'k2'], ['k3'], ['k4'], ['k5']])
  })

  it('shows rows that an API only takes as accepted, whatever the connector calls them', async () => {
    const at = bench(allOk, { rows: rows(3), spec: { confirms: 'accepted' } })
    expect((await at.run()).counts).toMatchObject({ accepted: 3, delivered: 0 })
  })
})

describe('intents', () => {
  it('cover at most 2 × concurrency batches, and a kill repeats at most 3 × concurrency', async () => {
    const at = bench(allOk, { rows: rows(1_000), limits: { rows: 5, concurrency: 4 } })
    await at.run()
    expect(Math.max(...at.outbox.intents.map((numbers) => numbers.length))).toBe(2 * 4 * 5)
    expect(at.outbox.mostOpen).toBeLessThanOrEqual(3 * 4 * 5)
    expect(at.outbox.intents.length).toBeLessThanOrEqual(1_000 / 40 + 1)
  })

  it('cover exactly one batch, right before it is sent, where a repeat does harm', async () => {
    const at = bench(allOk, { rows: rows(100), limits: { rows: 5, concurrency: 4 }, replay: 'none' })
    await at.run()
    expect(at.outbox.intents.map((numbers) => numbers.length)).toEqual(Array.from({ length: 20 }, () => 5))
    let ahead = 0
    for (const step of at.outbox.steps) {
      ahead += step === 'intend' ? 1 : step === 'write' ? -1 : 0
      expect(ahead).toBeLessThanOrEqual(4)
    }
    expect(at.outbox.mostOpen).toBeLessThanOrEqual(2 * 4 * 5)
  })

  it('that can not be written stop the delivery before anything of them is sent', async () => {
    const at = bench(allOk, { rows: rows(100), limits: { rows: 5, concurrency: 2 } })
    at.outbox.fail.intend = 1
    const delivery = await at.run()
    expect(delivery.cut).toMatchObject({ kind: 'bug', error: { code: 'CDP3305' } })
    expect(delivery.counts).toMatchObject({ delivered: 20, waiting: 80 })
    expect(at.sent).toHaveLength(4)
  })

  it.each(['read', 'flush'] as const)('are not enough: a %s that fails ends the delivery with the error', async (step) => {
    const at = bench(allOk, { rows: rows(10) })
    at.outbox.fail[step] = true
    expect((await at.run()).cut).toMatchObject({ kind: 'bug', error: { code: 'CDP3305' } })
    expect(at.upsertsEnded).toBe(1)
  })
})

describe('order', () => {
  it('never has two changes of one key or address in flight, and sends them in the order of the outbox', async () => {
    const list = Array.from({ length: 40 }, (_, i) =>
      row(i + 1, { key: `k${i % 7}`, shared: i % 3 ? [] : [`a${i % 4}`, `a${(i + 1) % 4}`, `a${i % 4}`] }),
    )
    const at = bench(allOk, { rows: list, limits: { rows: 4, concurrency: 3 } })
    expect((await at.run()).counts.delivered).toBe(40)
  })

  it('keeps what shares a key waiting while an earlier change is to be sent again', async () => {
    const list = [row(1, { key: 'same' }), row(2), row(3, { key: 'same', id: 'id3' })]
    const at = bench(
      async function* (batch, call): AsyncGenerator<Said> {
        for (const change of batch.changes)
          yield call === 1 && change.id === 'id1'
            ? { key: change.key, result: 'retry', code: 'locked', message: '', afterMs: 5_000 }
            : ok(change)
      },
      { rows: list },
    )
    expect((await at.run()).counts.delivered).toBe(3)
    expect(at.sent.map((batch) => batch.map((change) => change.id))).toEqual([['id1', 'id2'], ['id1'], ['id3']])
  })
})

const waves = () => [
  { wave: 1, op: 'upsert' as const, removes: false, list: rows(25) },
  { wave: 2, op: 'delete' as const, removes: true, list: [removal(26), removal(27)] },
  { wave: 3, op: 'delete' as const, removes: true, list: [removal(28)] },
]

describe('waves', () => {
  it('go in order; removals are read only after the upserts have ended and others allow them', async () => {
    const seen: string[] = []
    const at = bench(allOk, {
      waves: waves(),
      settings: {
        upsertsEnded: () => void seen.push(`upserts ended after ${at.outbox.last.size}`),
        beforeRemovals: async () => {
          await at.clock.sleep(60_000)
          seen.push(`removals may go, ${at.outbox.steps.includes('read 2')}`)
        },
      },
    })
    expect((await at.run()).counts.delivered).toBe(28)
    expect(seen).toEqual(['upserts ended after 25', 'removals may go, false'])
    expect(at.sent.at(-1)?.[0]?.op).toBe('delete')
  })

  it('of removals are not begun when anything before was cut short', async () => {
    const at = bench(
      // oxlint-disable-next-line eslint/require-yield
      async function* () {
        throw new Error('boom')
      },
      { waves: waves() },
    )
    const delivery = await at.run()
    expect(at.sent.flat().every((change) => change.op === 'upsert')).toBe(true)
    expect([at.upsertsEnded, at.beforeRemovals]).toEqual([1, 0])
    expect(sum(delivery.counts)).toBe(28)
  })

  it('count a removal of what is not there as done', async () => {
    const at = bench(
      async function* (batch): AsyncGenerator<Said> {
        for (const change of batch.changes) yield { key: change.key, result: 'absent' }
      },
      { waves: waves().slice(1) },
    )
    expect((await at.run()).counts).toMatchObject({ delivered: 3, absent: 0 })
  })

  it('do not wait for others once the user interrupts', async () => {
    const at = bench(allOk, {
      waves: waves(),
      settings: {
        beforeRemovals: () => {
          at.interrupt.abort()
          return new Promise(() => {})
        },
      },
    })
    expect(await at.run()).toMatchObject({ counts: { delivered: 25, waiting: 3 }, cut: { kind: 'interrupted' } })
  })
})

describe('jobs', () => {
  it('have their token durable before the connector goes on', async () => {
    const at = bench(
      async function* (batch, _call, { outbox }) {
        yield { token: 'job1' }
        outbox.steps.push('went on')
        for (const change of batch.changes) yield ok(change)
      },
      { rows: rows(3) },
    )
    expect((await at.run()).counts.delivered).toBe(3)
    expect(at.outbox.tokens).toEqual([{ token: 'job1', numbers: [1, 2, 3] }])
    expect(at.outbox.steps).toEqual(['read 1', 'read 1', 'intend', 'write', 'token job1', 'went on'])
  })

  it('are asked about again, not begun again, when asking fails', async () => {
    let asked = 0
    const at = bench(
      async function* () {
        yield { token: 'job1' }
        throw Object.assign(new Error('bad gateway'), { name: 'UnknownOutcome', code: 'http_502' })
      },
      {
        rows: rows(3),
        async *resume(token, batch): AsyncGenerator<Outcome> {
          if (token === 'job1' && ++asked < 3) throw Object.assign(new Error('no connection'), { name: 'NotSent', code: 'ECONNREFUSED' })
          for (const change of batch.changes) yield ok(change)
        },
      },
    )
    expect(await at.run()).toMatchObject({ counts: { delivered: 3 }, requests: 1, cut: null })
    expect(asked).toBe(3)
  })

  it.each(['NotSent', 'Refused', 'AuthError', 'RateLimited', 'UnknownOutcome'])(
    'that have begun are unknown, never taken for not applied, when %s follows; the journal leaves them to the token',
    async (name) => {
      const at = bench(
        async function* () {
          yield { token: 'job1' }
          throw Object.assign(new Error('no'), { name, code: 'x', status: 404 })
        },
        { rows: rows(3) },
      )
      const delivery = await at.run()
      expect(delivery.counts).toMatchObject({ unknown: 3, waiting: 0 })
      expect([...at.outbox.open]).toEqual([1, 2, 3])
      expect(at.outbox.entries).toEqual([])
    },
  )

  it('that may still run keep back what shares a key with them', async () => {
    const at = bench(
      async function* (batch, call) {
        if (call > 1) return yield* allOk(batch)
        yield { token: 'job1' }
        throw Object.assign(new Error('no'), { name: 'NotSent', code: 'x' })
      },
      { rows: [row(1, { key: 'same' }), row(2, { key: 'same' }), row(3)], limits: { rows: 1, concurrency: 1 } },
    )
    expect((await at.run()).counts).toMatchObject({ unknown: 1, delivered: 1, waiting: 1 })
    expect(at.sent.flat().map((change) => change.id)).toEqual(['id1', 'id3'])
  })

  it('whose token can not be written end the delivery', async () => {
    const at = bench(
      async function* (batch) {
        yield { token: 'job1' }
        yield* allOk(batch)
      },
      { rows: rows(3) },
    )
    at.outbox.fail.token = true
    expect(await at.run()).toMatchObject({ counts: { unknown: 3 }, cut: { kind: 'bug', error: { code: 'CDP3305' } } })
  })
})

describe('throughput', () => {
  it.each([0, 5, 40])(
    'of 10,000 rows at 100 a batch, 200 ms and 8 in flight is within 1.2 of the least when the state takes %i ms a call',
    async (ms) => {
      const at = bench(allOk, { rows: rows(10_000), limits: { rows: 100, concurrency: 8 }, takes: 200 })
      at.outbox.latency = () => at.clock.sleep(ms)
      const began = at.clock.now()
      await at.run()
      expect(at.clock.now() - began).toBeLessThanOrEqual(Math.ceil(10_000 / 100 / 8) * 200 * 1.2)
      expect(at.mostFlying).toBe(8)
    },
  )

  it('keeps no more than a few windows of rows in memory', async () => {
    const at = bench(allOk, { rows: rows(5_000), limits: { rows: 10, concurrency: 2 } })
    let furthest = 0
    const read = at.outbox.read
    at.outbox.read = async (wave, after, limit) => {
      furthest = Math.max(furthest, after + limit - at.outbox.last.size)
      return read(wave, after, limit)
    }
    await at.run()
    expect(furthest).toBeLessThanOrEqual(2_100)
  })
})
