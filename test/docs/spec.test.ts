/** docs/SPEC.md: every promise is enforced by tests that exist. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const root = join(import.meta.dirname, '..', '..')
const promises = readFileSync(join(root, 'docs/SPEC.md'), 'utf8')
  .split(/^## /m)
  .slice(1)
  .map((text) => ({
    name: text.split('\n', 1)[0] ?? '',
    tests: [...text.matchAll(/^- `(.+?)`: "(.+)"$/gm)].map(([, file = '', title = '']) => ({ file, title })),
    lines: text.split('\n').filter((line) => line.startsWith('- ')).length,
  }))

it('has the twelve promises in their order', () => {
  expect(promises.map(({ name }) => name.split(' ', 1)[0])).toEqual(Array.from({ length: 12 }, (_, i) => `I${i + 1}`))
})

it.each(promises)('$name names tests, each of which is there', ({ tests, lines }) => {
  expect(tests.length).toBeGreaterThan(0)
  expect(tests.length).toBe(lines)
  for (const { file, title } of tests) {
    // A title stands in its file as the first argument of a test.
    const quoted = ["'", '"', '`'].map((quote) => `(${quote}${title}${quote}`)
    const text = readFileSync(join(root, file), 'utf8').replace(/\(\s+(['"`])/g, '($1')
    expect(
      quoted.some((call) => text.includes(call)),
      `${file}: "${title}"`,
    ).toBe(true)
  }
})
