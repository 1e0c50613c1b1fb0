/** Dotted names and nested payloads. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Fields, Value } from '../../src/json.ts'
import { nest } from '../../src/index.ts'

const part = fc.string({ minLength: 1, maxLength: 6 }).filter((text) => !text.includes('\\'))
const scalar = fc.oneof(fc.integer(), fc.string(), fc.boolean(), fc.constant(null))
const tree = fc.letrec<{ tree: Fields; node: Value }>((tie) => ({
  tree: fc.dictionary(part, tie('node'), { minKeys: 1, maxKeys: 4, noNullPrototype: true }) as fc.Arbitrary<Fields>,
  node: fc.oneof({ depthSize: 'small', withCrossShrink: true }, scalar, tie('tree')),
})).tree

/** A nested object as dotted names. */
function flatten(fields: Fields, before = ''): [string, Value][] {
  return Object.entries(fields).flatMap(([name, value]): [string, Value][] => {
    const path = before + name.replaceAll('.', '\\.')
    return typeof value === 'object' && value !== null ? flatten(value as Fields, `${path}.`) : [[path, value]]
  })
}

describe('nest', () => {
  it('makes an object of a path', () => {
    expect(nest({ 'a.b': 1, c: 2, 'a.d.e': [3], 'x\\.y': 4 })).toEqual({ a: { b: 1, d: { e: [3] } }, c: 2, 'x.y': 4 })
  })

  it('is the inverse of flattening, in any order of the fields', () => {
    fc.assert(
      fc.property(tree, fc.func(fc.integer()), (fields, order) => {
        const flat = flatten(fields).sort(([a], [b]) => order(a) - order(b))
        expect(nest(Object.fromEntries(flat))).toEqual(fields)
      }),
    )
  })

  it('keeps a field that is called like a part of every object', () => {
    expect(JSON.stringify(nest({ '__proto__.a': 1, 'b.constructor': 2 }))).toBe('{"__proto__":{"a":1},"b":{"constructor":2}}')
  })

  it.each([
    [{ a: 1, 'a.b': 2 }, 'a', 'a.b'],
    [{ 'a.b.c': 1, 'a.b': 2 }, 'a.b', 'a.b.c'],
    [{ 'a.b.c': { d: 1 }, 'a.b.c.d': 2 }, 'a.b.c', 'a.b.c.d'],
  ])('names both fields of which one lies inside the other: %j', (fields, outer, inner) => {
    expect(() => nest(fields)).toThrow(`The fields "${outer}" and "${inner}" can't both be written`)
  })
})
