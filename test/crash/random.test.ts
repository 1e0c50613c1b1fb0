/** kill -9 at random moments, once or twice: the next run converges, nothing is falsely done, little is sent twice. */
import * as fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { engine, LOCAL } from '../support/engines.ts'
import { afterKill, begin, expectHonest, expectRecovery, receiver } from './support.ts'

/** Kills; more by CRASH_RUNS, others by CRASH_SEED. */
const RANDOM = Number(process.env['CRASH_RUNS'] ?? (LOCAL ? 14 : 6))

describe('kill -9 at a random moment', () => {
  const seed = Number(process.env['CRASH_SEED'] ?? 7)
  const moments = fc.sample(
    fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), again: fc.double({ min: 0, max: 1, noNaN: true }), twice: fc.boolean() }),
    { numRuns: RANDOM, seed },
  )
  /** Milliseconds that a run takes which nobody kills. */
  let whole: number

  beforeAll(async () => {
    if (engine.missing !== null) return
    receiver.fault(() => ({ delay: 20 }))
    const project = await begin()
    const began = performance.now()
    const { code, stdout, stderr } = await project.run(['run'])
    expect([code, stdout, stderr]).toEqual([0, expect.anything(), expect.anything()])
    whole = performance.now() - began
  })

  it.each(moments.map((moment, i) => [i + 1, moment] as const))('%i', async (i, { at, again, twice }) => {
    receiver.fault(() => ({ delay: 20 }))
    let project = await begin({ reading: i % 4 === 0 ? 'PostgreSQL' : 'DuckDB' })
    const parts = twice ? [at, again] : [at]
    for (const part of parts) {
      const run = project.start(['run'])
      const timer = setTimeout(() => run.process.kill('SIGKILL'), part * whole)
      await run.end
      clearTimeout(timer)
      // What was on the wire when it died has arrived or never will.
      await new Promise((resolve) => setTimeout(resolve, 50))
      project = await afterKill(project)
      await expectHonest(project, parts.length)
    }
    await expectRecovery(project, parts.length)
  })
})
