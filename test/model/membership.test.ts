import * as fc from 'fast-check'
import { it } from 'vitest'
import { history, runs, simulate } from './simulation.ts'

it('keeps its promises over random histories, addressed by membership', { timeout: 3_600_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(history, (steps) => simulate('membership', steps)),
    runs(60),
  )
})
