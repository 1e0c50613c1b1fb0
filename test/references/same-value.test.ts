/** When what a destination holds is what would be sent. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RawJson, type Value } from '../../src/json.ts'
import { cellOf, sameValue, valueOf } from '../../src/same-value.ts'

describe('a value at the destination', () => {
  it.each<[string, Value | undefined]>([
    ['sa', 'a'],
    ['s', null],
    ['s', undefined],
    ['jnull', ''],
    ['j1.5', '1.50'],
    ['j1.5', 1.5],
    ['s007', 7],
    ['j1000', new RawJson('1e3')],
    ['j12345678901234567890', '12345678901234567890'],
    ['jtrue', true],
    ['jtrue', 'true'],
    ['s2024-05-01T10:00:00Z', '2024-05-01T12:00:00.000+02:00'],
    ['s2024-05-01T10:00:00Z', '2024-05-01T10:00:00.000+0000'],
    ['s2024-05-01T10:00:00.1234Z', '2024-05-01 10:00:00.123'],
    ['s2024-05-01T10:00:00.1234Z', '2024-05-01T12:00:00.123400+02:00'],
    ['s2024-10-27T00:30:00Z', '2024-10-27T02:30:00+02:00'],
    ['s2024-05-01', '2024-05-01T00:00:00Z'],
    ['j{"a":[1,2.50]}', { a: [1, 2.5] }],
    ['j["x"]', ['x']],
  ])('%s is the same as %j', (cell, there) => {
    expect(sameValue(cell, there)).toBe(true)
  })

  it.each<[string, Value | undefined]>([
    ['sa', 'A'],
    ['sa', ' a'],
    ['sa', null],
    ['jnull', 0],
    ['jnull', false],
    ['jfalse', null],
    ['s007', '7'],
    ['s1.50', '1.5'],
    ['j1', true],
    ['j12345678901234567890', '12345678901234567891'],
    ['j5', 'five'],
    ['s2024-05-01', '2024-05-02'],
    ['s2024-05-01', '1714521600000'],
    ['s2024-05-01T10:00:00Z', '2024-05-01T10:00:01Z'],
    ['s2024-05-01T10:00:00.1234Z', '2024-05-01T10:00:00.1239Z'],
    ['s2024-02-30', '2024-03-01'],
    ['s2024-03-31T02:30:00Z', '2024-03-31T02:30:00+01:00'],
    ['j["x","y"]', ['y', 'x']],
    ['j{"a":1}', '{"a":1}'],
  ])('%s is not %j', (cell, there) => {
    expect(sameValue(cell, there)).toBe(false)
  })

  it('is the same as itself, once it is stored', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }) as fc.Arbitrary<Value>, (value) => {
        expect(sameValue(cellOf(value), value)).toBe(true)
      }),
    )
  })

  it('is found by its name, or by its path', () => {
    const record = { 'a.b': 1, c: { d: { e: 2 } }, 'x.y': 3 }
    expect(valueOf(record, 'a.b', false)).toBe(1)
    expect(valueOf(record, 'c.d.e', true)).toBe(2)
    expect(valueOf(record, 'c.d.e', false)).toBe(undefined)
    expect(valueOf(record, 'x\\.y', true)).toBe(3)
    expect(valueOf(record, 'c.toString', true)).toBe(undefined)
    expect(valueOf(record, 'c.d.e.f', true)).toBe(undefined)
  })
})
