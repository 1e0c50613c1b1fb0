/** One connector's turn in the suite that every connector passes; its requests fit what its vendor published. */
import { describe, expect, it } from 'vitest'
import { casesOf, type Exchange, type Subject } from '../../src/testing/index.ts'
import { type Contract, hasSpecs, judge } from './contract.ts'

export interface Tested {
  readonly subject: Subject
  readonly contract?: readonly Contract[]
}

export const testedAs = (name: string): Promise<Tested> => import(new URL(`subjects/${name}.ts`, import.meta.url).href) as Promise<Tested>

/** Registers the cases of a connector as tests. */
export async function conforms(name: string): Promise<void> {
  const { subject, contract } = await testedAs(name)
  const exchanges: Exchange[] = []

  describe.concurrent(`the connector ${name}`, () => {
    for (const { name: title, skip, run } of casesOf(subject, (exchange) => exchanges.push(exchange))) {
      if (skip === null) it(title, run)
      else it.skip(`${title} (${skip})`, run)
    }
  })

  if (contract === undefined) return
  // After all cases: this looks at the requests that they made.
  describe('the requests of the connector', () => {
    it.skipIf(!hasSpecs)(`${name} fit the vendor's published documents (CDP_SYNC_SPECS)`, async () => {
      const { validated, unspoken, faults } = await judge(contract, exchanges)
      console.log(`${name}: ${validated} requests validated${unspoken.length > 0 ? `, not spoken of: ${unspoken.join(', ')}` : ''}`)
      expect(faults).toEqual([])
      expect(validated).toBeGreaterThan(0)
    })
  })
}
