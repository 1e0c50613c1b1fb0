/** kill -9 at every step of a run: the next run converges, nothing is falsely done, little is sent twice. */
import { describe, expect, it } from 'vitest'
import { STEPS } from '../../src/crash.ts'
import { engine, LOCAL } from '../support/engines.ts'
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
const COUNTED = ['uncommitted:1', 'uncommitted:2', 'intending:2', 'intended:3', 'sending:11', 'answered:7', 'answered:12']
const MORE = LOCAL ? ['intended:1', 'sending:6', 'answered:10'] : []
/** What the engine adds to a run happens several times in it. */
const OWN = engine.steps.flatMap((name) => (name === 'journal-stored' ? [name, `${name}:3`] : [name]))
const FIRST = ['opened', 'uncommitted:1', 'answered:3', ...(LOCAL ? ['uncommitted:2', 'uncommitted:3', 'checkpointing'] : engine.steps)]
/** Steps that only a run after a crash has, and those that it has besides. */
const RECOVERY = ['recovering', 'uncommitted:1', 'recovered', 'answered:2', ...engine.steps]

describe('kill -9', () => {
  it('is tried at every step there is', () => {
    const tried = new Set([...ONCE, ...COUNTED, ...OWN, ...RECOVERY].map((at) => at.split(':')[0]))
    expect([...STEPS, ...engine.steps].filter((name) => !tried.has(name))).toEqual([])
  })

  it.each([...ONCE, ...COUNTED, ...MORE, ...OWN])('at %s', async (at) => {
    const project = await killAt(await begin(), at)
    await expectHonest(project)
    await expectRecovery(project)
  })

  it.runIf(LOCAL).each(['opened', 'staged', 'answered:7'])('at %s, reading PostgreSQL', async (at) => {
    const project = await killAt(await begin({ reading: 'PostgreSQL' }), at)
    await expectHonest(project)
    await expectRecovery(project)
  })

  it.each(FIRST)('at %s of a first run', async (at) => {
    const project = await killAt(await begin({ first: true }), at)
    await expectHonest(project)
    await expectRecovery(project)
  })

  it.each(RECOVERY)('and again in the run after it, at %s', async (at) => {
    const once = await killAt(await begin(), 'answered:4')
    const twice = await killAt(once, at)
    await expectHonest(twice, 2)
    await expectRecovery(twice, 2)
  })

  it.skipIf(LOCAL)('and a run in the folder of the killed one, which trusts nothing that lies there', async () => {
    const project = await begin()
    await killAt(project, 'answered:5')
    await expectRecovery(project)
  })
})
