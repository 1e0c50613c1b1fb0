/** Cases about what goes wrong on the way: throttles, failures, lost replies and replies that mean nothing. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Plot } from './cases.ts'
import type { Fault } from './fake.ts'
import { encodeJson, RawJson } from '../json.ts'
import { type Ground, said } from './ground.ts'

const SEVEN = 7

/** Repeating the main operation does no harm. */
const repeats = ({ spec, mode }: Ground): boolean => (spec.replay[mode === 'mirror' ? 'upsert' : mode] ?? 'none') !== 'none'

/** Whatever a run met: what it calls done is there, and nothing is there twice. */
function expectHonest({ count }: Ground, { counts }: { counts: { delivered: number; accepted: number } }): void {
  const done = counts.delivered + counts.accepted
  assert(done <= count(), `${done} rows are said to be delivered, and the service holds ${count()}`)
  assert(count() <= SEVEN, `the service holds ${count()} records of ${SEVEN} rows`)
}

/** A run under faults, then one without: where repeats are harmless it converges, elsewhere what is in doubt is held. */
async function overcomes(ground: Ground): Promise<void> {
  const { trial, rows } = ground
  await trial.rows(rows(SEVEN))
  const faulty = await trial.run()
  expectHonest(ground, faulty.record)
  ground.heal()
  const clean = await trial.run()
  expectHonest(ground, clean.record)
  if (repeats(ground)) {
    assert.equal(clean.code, 0, said(clean))
    ground.expectHeld(rows(SEVEN))
    await ground.expectQuiet()
  } else {
    const { unknown, held, delivered, accepted } = faulty.record.counts
    const later = clean.record.counts
    assert.equal(
      delivered + accepted + later.delivered + later.accepted + Math.max(unknown + held, later.unknown + later.held),
      SEVEN,
      said(clean),
    )
  }
}

/** Nothing such a reply says is a confirmation. */
const meansNothing =
  (kind: 'empty' | 'html'): Plot['run'] =>
  async (ground) => {
    const { trial, rows, failAllWrites } = ground
    failAllWrites({ kind })
    await trial.rows(rows(SEVEN))
    const ran = await trial.run()
    assert.notEqual(ran.code, 0, said(ran))
    assert.deepEqual([ran.record.counts.delivered, ran.record.counts.accepted], [0, 0], said(ran))
    ground.heal()
    if (!repeats(ground)) return
    const clean = await trial.run()
    assert.equal(clean.code, 0, said(clean))
    ground.expectHeld(rows(SEVEN))
  }

/** What ends a run at once, with nothing in doubt. */
const stops =
  (fault: Fault, code: number, says: RegExp): Plot['run'] =>
  async (ground) => {
    const { trial, rows, failAllWrites, expectHeld, expectQuiet } = ground
    failAllWrites(fault)
    await trial.rows(rows(SEVEN))
    const began = Date.now()
    const ran = await trial.run()
    assert(Date.now() - began < 20_000, 'the run waited')
    assert.equal(ran.code, code, said(ran))
    assert.match(ran.stderr + ran.stdout, says)
    assert.deepEqual(
      [ran.record.counts.delivered, ran.record.counts.accepted, ran.record.counts.rejected, ran.record.counts.unknown],
      [0, 0, 0, 0],
      said(ran),
    )
    ground.heal()
    const clean = await trial.run()
    assert.equal(clean.code, 0, said(clean))
    expectHeld(rows(SEVEN))
    await expectQuiet()
  }

const once = (name: string, fault: Fault): Plot => ({
  name,
  run: (ground) => {
    ground.failWrites(fault)
    return overcomes(ground)
  },
})

export const FAULTS: readonly Plot[] = [
  {
    name: 'a throttled request waits as long as the service says, and arrives',
    async run({ trial, served, failWrites, rows, expectHeld, expectQuiet }) {
      failWrites({ kind: 'status', status: 429, retryAfter: 1 })
      // One row: of several the others may be on their way when the first is told to wait.
      await trial.rows(rows(1))
      const ran = await trial.run()
      assert.equal(ran.code, 0, said(ran))
      expectHeld(rows(1))
      const [first, second] = served.exchanges.filter(({ write }) => write)
      assert(first && second && second.at - first.at >= 990, `the next request came after ${(second?.at ?? 0) - (first?.at ?? 0)} ms`)
      await expectQuiet()
    },
  },
  {
    name: 'a quota that is used up for hours ends the run cleanly',
    run: stops({ kind: 'status', status: 429, retryAfter: 36_000, daily: true }, 3, /quota|limit|wait|again/i),
  },
  { name: 'a login that is revoked meanwhile ends the run', run: stops({ kind: 'status', status: 401 }, 4, /login|token|credential|key/i) },
  { name: 'a permission that is missing ends the run', run: stops({ kind: 'status', status: 403 }, 4, /permission|scope|access|grant/i) },
  once('a request that failed once is overcome', { kind: 'status', status: 500 }),
  once('a request that was applied and answered with a failure is overcome', { kind: 'status', status: 503, apply: true }),
  once('a connection that breaks before the request is overcome', { kind: 'reset', when: 'before' }),
  once('a connection that breaks after the request was applied is overcome', { kind: 'reset', when: 'after' }),
  once('a reply that is cut is overcome', { kind: 'cut' }),
  {
    name: 'a service that fails for ever ends the run, and nothing counts as delivered',
    async run(ground) {
      ground.failAllWrites({ kind: 'status', status: 500 })
      await ground.trial.rows(ground.rows(SEVEN))
      const ran = await ground.trial.run()
      assert.equal(ran.code, 3, said(ran))
      assert.deepEqual([ran.record.counts.delivered, ran.record.counts.accepted, ran.record.counts.rejected], [0, 0, 0], said(ran))
      expectHonest(ground, ran.record)
    },
  },
  { name: 'a page instead of a reply confirms nothing', run: meansNothing('html') },
  {
    name: 'an empty reply confirms no row',
    applies: (spec) => spec.confirms === 'row' || spec.confirms === 'job',
    run: meansNothing('empty'),
  },
  {
    name: 'an interrupt ends a request that hangs',
    async run({ open, served, row, object, mode, failAllWrites }) {
      failAllWrites({ kind: 'hang' })
      const controller = new AbortController()
      const destination = open(controller.signal)
      await destination.check()
      const op = mode === 'mirror' ? 'upsert' : mode
      const { match, fields, key } = row(0)
      const change = {
        key,
        op,
        match,
        matchJson: new RawJson(encodeJson(match)),
        fields,
        fieldsJson: new RawJson(encodeJson(fields)),
        onCreate: {},
        ifEmpty: {},
      }
      const whole = { ...change, changed: null, previousMatch: null, remoteId: null, id: 'trial-1', attempts: 0 }
      const reading = (async () => {
        for await (const _ of destination.write({ sync: 'trial', run: 'r', object: object.object, op, changes: [whole] }));
      })().catch(() => undefined)
      for (let waited = 0; served.exchanges.every(({ write }) => !write) && waited < 5000; waited += 10) await sleep(10)
      const at = Date.now()
      controller.abort()
      await Promise.race([reading, sleep(3000)])
      assert(Date.now() - at < 1000, `it took ${Date.now() - at} ms to stop`)
      await destination.close?.()
    },
  },
]
