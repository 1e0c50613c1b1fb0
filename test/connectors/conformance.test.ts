/** Every connector found on disk passes one suite, and its requests fit what its vendor published. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { listConnectors } from '../../src/config/registry.ts'
import { casesOf, type Exchange, type Subject } from '../../src/testing/index.ts'
import { type Contract, hasSpecs, judge } from './contract.ts'

/** Connectors without an HTTP service: their own tests cover the same ground. */
const WITHOUT_HTTP: Readonly<Record<string, string>> = {
  kafka: 'speaks its own protocol: test/connectors/kafka.test.ts runs against a broker',
}

/** Excepted cases in all subjects: this number may only go down. */
const MOST_EXCEPTIONS = 2

interface Tested {
  readonly name: string
  readonly subject: Subject
  readonly contract: readonly Contract[] | undefined
  readonly exchanges: Exchange[]
}

const tested: Tested[] = []
for (const { name } of listConnectors(null)) {
  const file = new URL(`subjects/${name}.ts`, import.meta.url)
  if (!existsSync(fileURLToPath(file))) continue
  const { subject, contract } = (await import(file.href)) as { subject: Subject; contract?: readonly Contract[] }
  tested.push({ name, subject, contract, exchanges: [] })
}

describe('the suite', () => {
  it('covers every connector', () => {
    const names = new Set(tested.map(({ name }) => name))
    const missing = listConnectors(null).filter(({ name }) => !names.has(name) && WITHOUT_HTTP[name] === undefined)
    expect(missing.map(({ name }) => name)).toEqual([])
  })
  it('has no more exceptions than it had, each with its reason', () => {
    const all = tested.flatMap(({ subject }) => subject.exceptions ?? [])
    expect(all.length).toBeLessThanOrEqual(MOST_EXCEPTIONS)
    for (const { reason } of all) expect(reason).toMatch(/\w+ \w+ \w+/)
  })
})

for (const { name, subject, exchanges } of tested)
  describe.concurrent(`the connector ${name}`, () => {
    for (const { name: title, skip, run } of casesOf(subject, (exchange) => exchanges.push(exchange))) {
      if (skip === null) it(title, run)
      else it.skip(`${title} (${skip})`, run)
    }
  })

/** After all cases: these look at the requests that the cases made. */
describe('the requests of the connector', () => {
  for (const { name, contract, exchanges } of tested) {
    if (contract === undefined) continue
    it.skipIf(!hasSpecs)(`${name} fit the vendor's published documents (CDP_SYNC_SPECS)`, async () => {
      const { validated, unspoken, faults } = await judge(contract, exchanges)
      console.log(`${name}: ${validated} requests validated${unspoken.length > 0 ? `, not spoken of: ${unspoken.join(', ')}` : ''}`)
      expect(faults).toEqual([])
      expect(validated).toBeGreaterThan(0)
    })
  }
})
