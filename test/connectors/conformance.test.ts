/** Every connector found on disk takes part in the suite: a file of its own in conformance/, so that they run side by side. */
import { readFileSync, readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { listConnectors } from '../../src/config/registry.ts'
import { testedAs } from './conforms.ts'

/** Connectors without an HTTP service: their own tests cover the same ground. */
const WITHOUT_HTTP: Readonly<Record<string, string>> = {
  kafka: 'speaks its own protocol: test/connectors/kafka.test.ts runs against a broker',
}

/** Excepted cases in all subjects: this number may only go down. */
const MOST_EXCEPTIONS = 2

const FOLDER = new URL('conformance/', import.meta.url)
const ENDING = '.test.ts'

describe('the suite', () => {
  const names = listConnectors(null)
    .map(({ name }) => name)
    .filter((name) => WITHOUT_HTTP[name] === undefined)
    .sort()

  it('covers every connector, each by a file that names it', () => {
    expect(readdirSync(FOLDER).sort()).toEqual(names.map((name) => name + ENDING).sort())
    for (const name of names) expect(readFileSync(new URL(name + ENDING, FOLDER), 'utf8')).toContain(`await conforms('${name}')`)
  })

  it('has no more exceptions than it had, each with its reason', async () => {
    const subjects = await Promise.all(names.map(testedAs))
    const all = subjects.flatMap(({ subject }) => subject.exceptions ?? [])
    expect(all.length).toBeLessThanOrEqual(MOST_EXCEPTIONS)
    for (const { reason } of all) expect(reason).toMatch(/\w+ \w+ \w+/)
  })
})
