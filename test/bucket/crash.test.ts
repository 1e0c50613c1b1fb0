/** kill -9 at every step of a run whose state lies in a bucket; the next run is on another machine and converges. */
import { describe, expect, it } from 'vitest'
import { BUCKET_STEPS, STEPS } from '../../src/crash.ts'
import { begin, elsewhere, expectHonest, expectRecovery, expireLease, killAt, SKIPPED } from './support.ts'

const ONCE = [
  'locked',
  'opened',
  'staged',
  'planned',
  'delivered',
  'folding',
  'folded',
  'checkpointing',
  'committed',
  'unlocked',
  'recorded',
]
/** Requests 1 to 9 are upserts, 10 to 12 removals. */
const COUNTED = [
  'uncommitted:1',
  'uncommitted:2',
  'outbox-written',
  'intending:2',
  'intended:1',
  'intended:3',
  'sending:6',
  'sending:11',
  'answered:7',
  'answered:12',
]
const BUCKET = [
  'leased',
  'outbox-uploaded',
  'sending-noted',
  'journal-stored:1',
  'journal-stored:3',
  'snapshot-uploaded',
  'head-moved',
  'swept',
]
/** Steps of a run after a crash. */
const RECOVERY = ['recovering', 'uncommitted:2', 'snapshot-uploaded:1', 'head-moved:1', 'recovered', 'answered:2', 'snapshot-uploaded:2']

describe.skipIf(SKIPPED)('kill -9, and a run on another machine', () => {
  it('is tried at every step there is', () => {
    const tried = new Set([...ONCE, ...COUNTED, ...BUCKET, ...RECOVERY].map((at) => at.split(':')[0]))
    expect([...STEPS, ...BUCKET_STEPS].filter((name) => !tried.has(name))).toEqual([])
  })

  it.each([...ONCE, ...COUNTED, ...BUCKET])('at %s', async (at) => {
    const here = await begin()
    await killAt(here, at)
    await expireLease(here)
    await expectHonest(here)
    await expectRecovery(await elsewhere(here))
  })

  it.each(['leased', 'sending-noted', 'answered:3', 'snapshot-uploaded', 'head-moved'])('at %s of a first run', async (at) => {
    const here = await begin(true)
    await killAt(here, at)
    await expireLease(here)
    await expectHonest(here)
    await expectRecovery(await elsewhere(here))
  })

  it.each(RECOVERY)('and again elsewhere in the run after it, at %s', async (at) => {
    const here = await begin()
    await killAt(here, 'answered:4')
    await expireLease(here)
    const there = await elsewhere(here)
    await killAt(there, at)
    await expireLease(there)
    await expectHonest(there)
    await expectRecovery(await elsewhere(there), 2)
  })

  it('in the folder of the killed run, which trusts nothing that lies there', async () => {
    const here = await begin()
    await killAt(here, 'answered:5')
    await expireLease(here)
    await expectRecovery(here)
  })
})
