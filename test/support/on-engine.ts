/** For each test file that runs over an engine (test/support/engines.ts): starts and stops it, or skips every test and says why. */
import { afterAll, beforeAll, beforeEach } from 'vitest'
import { engine } from './engines.ts'

beforeAll(() => (engine.missing === null ? engine.start() : undefined))
beforeEach(({ skip }) => {
  if (engine.missing !== null) skip(engine.missing)
})
afterAll(() => engine.stop())
