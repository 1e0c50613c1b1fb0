/** Whatever a destination does: every change ends once, ok means ok, and nothing that may have been applied passes for not applied. */
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { NotSent, RateLimited, Refused, type Replay, UnknownOutcome } from '../../src/connector.ts'
import { AuthError } from '../../src/errors.ts'
import type { OutboxRow } from '../../src/outbox.ts'
import type { Op } from '../../src/types.ts'
import { Bench, type Behaviour, row, type Said, sum } from './support.ts'

const RESULTS = [
  'ok',
  'ok',
  'ok',
  'accepted',
  'rejected',
  'absent',
  'exists',
  'retry',
  'unknown',
  'silence',
  'twice',
  'contradiction',
  'stranger',
] as const
const ERRORS = ['none', 'none', 'none', 'none', 'not_sent', 'limited', 'unknown', 'refused', 'auth', 'bug', 'token', 'interrupt'] as const

interface Call {
  readonly results: readonly (typeof RESULTS)[number][]
  readonly error: (typeof ERRORS)[number]
  /** Rows named before the error. */
  readonly after: number
  readonly takes: number
}
interface Truth {
  readonly said: Set<number>
  /** A request that carried it ended without saying that nothing was applied. */
  readonly maybe: Set<number>
}

const numberOf = (id: string): number => Number(id.slice(2))

/** Plays the calls in turn, then confirms everything, and keeps what really happened. */
function play(calls: readonly Call[], bad: ReadonlySet<string>, truth: Truth): Behaviour {
  return async function* (batch, number, at): AsyncGenerator<Said> {
    const call = calls[number - 1] ?? { results: ['ok'], error: 'none', after: 0, takes: 10 }
    await at.clock.sleep(call.takes)
    if (batch.changes.some((change) => bad.has(change.key))) throw new Refused('invalid', 'bad', 400)
    const token = call.error === 'token'
    // Rows passed over in silence: an error that follows speaks for them too, and so it does past rows of which nothing was
    // applied (refused or found before the request, most of them); anything else leaves them in doubt.
    let silent: number[] = []
    const doubt = (): void => {
      for (const n of silent) truth.maybe.add(n)
      silent = []
    }
    if (token) yield { token: `job${number}` }
    for (const [i, change] of batch.changes.entries()) {
      const n = numberOf(change.id)
      if (call.error !== 'none' && i >= call.after) {
        if (call.error === 'unknown' || call.error === 'bug' || token)
          for (const rest of batch.changes.slice(i)) truth.maybe.add(numberOf(rest.id))
        switch (call.error) {
          case 'not_sent':
            throw new NotSent('ECONNREFUSED', 'no')
          case 'limited':
            throw new RateLimited('slow', call.after * 60_000)
          case 'unknown':
            throw new UnknownOutcome('http_500', 'oops')
          case 'refused':
            throw new Refused(`code${call.after}`, 'no', 400)
          case 'auth':
            throw new AuthError('CDP3401', 'no')
          case 'bug':
            throw new Error('bug')
          case 'token':
            throw new NotSent('ECONNREFUSED', 'poll')
          case 'interrupt':
            at.interrupt.abort()
        }
      }
      const result = call.results[i % call.results.length] ?? 'ok'
      const { key } = change
      if (result === 'silence' || result === 'stranger') silent.push(n)
      else if (result === 'exists') truth.maybe.add(n)
      else if (result !== 'rejected' && result !== 'retry' && result !== 'absent') {
        doubt()
        truth.maybe.add(n)
      }
      if (result === 'ok' || result === 'accepted' || result === 'twice') truth.said.add(n)
      if (result === 'silence') continue
      if (result === 'twice' || result === 'contradiction') yield { key, result: 'ok' }
      if (result === 'stranger') yield { key: 'stranger', result: 'ok' }
      else if (result === 'contradiction' || result === 'rejected' || result === 'unknown')
        yield { key, result: 'rejected' === result ? 'rejected' : 'unknown', code: 'c', message: '' }
      else if (result === 'retry') yield { key, result, code: 'later', message: '' }
      else yield { key, result: result === 'twice' ? ('ok' as const) : result, ...(i % 2 && result === 'ok' ? { remoteId: `r${n}` } : {}) }
    }
    doubt()
  }
}

const world = fc.record({
  rows: fc.array(fc.record({ key: fc.nat(40), shared: fc.array(fc.nat(12), { maxLength: 3 }), attempts: fc.nat(1) }), { maxLength: 60 }),
  op: fc.constantFrom<Op>('upsert', 'update', 'insert', 'append'),
  replay: fc.constantFrom<Replay>('harmless', 'deduplicated', 'none'),
  size: fc.integer({ min: 1, max: 9 }),
  bytes: fc.option(fc.integer({ min: 100, max: 3_000 }), { nil: undefined }),
  concurrency: fc.integer({ min: 1, max: 4 }),
  bad: fc.array(fc.nat(40), { maxLength: 3 }),
  latency: fc.nat(50),
  /** The intent that finds the disk full. */
  full: fc.option(fc.nat(8), { nil: undefined, freq: 8 }),
  calls: fc.array(
    fc.record({
      results: fc.array(fc.constantFrom(...RESULTS), { minLength: 1, maxLength: 5 }),
      error: fc.constantFrom(...ERRORS),
      after: fc.nat(6),
      takes: fc.nat(20_000),
    }),
    { maxLength: 40 },
  ),
})

it('keeps its promises for every script of outcomes, errors and interrupts', async () => {
  await fc.assert(
    fc.asyncProperty(world, async ({ rows, op, replay, size, bytes, concurrency, bad, latency, full, calls }) => {
      const list: OutboxRow[] = rows.map((one, i) =>
        row(i + 1, { op, key: `k${one.key}`, shared: one.shared.map(String), attempts: one.attempts }),
      )
      const truth: Truth = { said: new Set(), maybe: new Set() }
      const at = new Bench(play(calls, new Set(bad.map((n) => `k${n}`)), truth), {
        rows: list,
        replay,
        limits: { rows: size, concurrency, ...(bytes === undefined ? {} : { bytes }) },
      })
      at.outbox.latency = () => at.clock.sleep(latency)
      if (full !== undefined) at.outbox.fail.intend = full
      const delivery = await at.run()

      expect(at.breaches).toEqual([])
      expect(at.outbox.mostOpen).toBeLessThanOrEqual(3 * concurrency * size)
      expect(sum(delivery.counts)).toBe(list.length)
      expect(delivery.requests).toBe(at.sent.length)
      expect(at.upsertsEnded).toBe(1)
      expect(at.outbox.flushes).toBe(1)

      const tally: Record<string, number> = {}
      for (const { n } of list) {
        const last = at.outbox.open.has(n) ? 'unknown' : (at.outbox.last.get(n)?.result ?? 'never')
        tally[last] = (tally[last] ?? 0) + 1
        if (last === 'ok' || last === 'accepted') expect(truth.said).toContain(n)
        if (last === 'rejected' || last === 'retry' || last === 'never') expect(truth.maybe).not.toContain(n)
      }
      const { delivered, accepted, absent, exists, rejected, unknown, waiting } = delivery.counts
      expect([delivered, accepted, absent, exists, rejected, unknown]).toEqual(
        ['ok', 'accepted', 'absent', 'exists', 'rejected', 'unknown'].map((name) => tally[name] ?? 0),
      )
      expect(waiting).toBe((tally['retry'] ?? 0) + (tally['never'] ?? 0))
      if (delivery.cut === null && at.outbox.open.size === 0) expect(tally['never'] ?? 0).toBe(0)
      // Only a job's token may stand for rows without an outcome.
      for (const n of at.outbox.open) expect(at.outbox.tokens.some(({ numbers }) => numbers.includes(n))).toBe(true)
    }),
    { numRuns: Number(process.env['PBT_RUNS'] ?? 400), ...(process.env['PBT_SEED'] ? { seed: Number(process.env['PBT_SEED']) } : {}) },
  )
})
