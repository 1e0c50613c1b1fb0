/** kill -9 at every step of a run: the next run converges, nothing is falsely done, little is sent twice. */
import { describe, expect, it } from 'vitest'
import { STEPS } from '../../src/crash.ts'
import { begin, expectHonest, expectRecovery, killAt } from './support.ts'

const ONCE = [
  'locked',
  'opened',
  'staged',
  'planned',
  'outbox-written',
  'delivered',
  'folding',
  'folded',
  'checkpointing',
  'committed',
  'unlocked',
  'recorded',
]
/** The outbox is written in the first transaction, the fold is the second; requests 1 to 9 are upserts, 10 to 12 removals. */
const COUNTED = [
  'uncommitted:1',
  'uncommitted:2',
  'intending:2',
  'intended:1',
  'intended:3',
  'sending:6',
  'sending:11',
  'answered:7',
  'answered:10',
  'answered:12',
]
/** Steps that only a run after a crash has. */
const RECOVERY = ['recovering', 'uncommitted:1', 'recovered', 'answered:2']

describe('kill -9', () => {
  it('is tried at every step there is', () => {
    const tried = new Set([...ONCE, ...COUNTED, ...RECOVERY].map((at) => at.split(':')[0]))
    expect(STEPS.filter((name) => !tried.has(name))).toEqual([])
  })

  it.each([...ONCE, ...COUNTED])('at %s, reading DuckDB', async (at) => {
    const project = await begin('DuckDB')
    await killAt(project, at)
    await expectHonest(project)
    await expectRecovery(project)
  })

  it.each(['opened', 'staged', 'answered:7'])('at %s, reading PostgreSQL', async (at) => {
    const project = await begin('PostgreSQL')
    await killAt(project, at)
    await expectHonest(project)
    await expectRecovery(project)
  })

  it.each(['opened', 'uncommitted:1', 'uncommitted:2', 'answered:3', 'uncommitted:3', 'checkpointing'])(
    'at %s of a first run',
    async (at) => {
      const project = await begin('DuckDB', true)
      await killAt(project, at)
      await expectHonest(project)
      await expectRecovery(project)
    },
  )

  it.each(RECOVERY)('and again in the run after it, at %s', async (at) => {
    const project = await begin('DuckDB')
    await killAt(project, 'answered:4')
    await killAt(project, at)
    await expectHonest(project, 2)
    await expectRecovery(project, 2)
  })
})
