/** Over the whole space of texts: what is written is what is read. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseDocument } from 'yaml'
import { hasVariable, interpolate, newScope } from '../../src/config/interpolate.ts'
import { parseSource } from '../../src/config/source.ts'
import type { Problem, Source, Spot } from '../../src/config/source.ts'
import { constantAt, readSource } from '../../src/config/values.ts'

const source = (text: string): Source => {
  const problems: Problem[] = []
  const found = parseSource('x.yaml', text, problems)
  expect(problems).toEqual([])
  return found!
}
const spot: Spot = { source: { file: 'x.yaml', text: '', hidden: [] }, start: 0, end: 0 }
const scope = (environ: Record<string, string> = {}) => newScope('/', environ, new Map())
const anyText = fc.string({ unit: 'grapheme', maxLength: 40 })
const read = (text: string, environ: Record<string, string> = {}) => readSource(source(text), scope(environ), [])!

describe('interpolation', () => {
  it('puts a value in as it is, whatever it holds', () => {
    fc.assert(
      fc.property(anyText, anyText, anyText, (before, value, after) => {
        fc.pre(!hasVariable(before) && !hasVariable(after) && !before.endsWith('$'))
        const { text, missing, external } = interpolate(`${before}\${env:X}${after}`, spot, scope({ X: value }))
        expect([text, missing, external]).toEqual([before + value + after, [], [value]])
      }),
    )
  })

  it('gives any value as one string, through any quoting of YAML', () => {
    fc.assert(
      fc.property(anyText, fc.constantFrom('a: ${env:X}', "a: '${env:X}'", 'a: "${env:X}"', 'a: |-\n  ${env:X}'), (value, yaml) => {
        const reading = read(yaml, { X: value })
        expect(reading.value).toEqual({ a: value })
        expect(constantAt(reading, ['a'])).toEqual({ kind: 'string', text: value })
      }),
    )
  })

  it('leaves text without variables alone', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        fc.pre(!hasVariable(text))
        expect(interpolate(text, spot, scope()).text).toBe(text)
      }),
    )
  })

  it('gives an escaped variable back as it would be written', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[A-Z_]{1,8}$/), (name) => {
        expect(interpolate(`$\${env:${name}}`, spot, scope({ [name]: 'no' })).text).toBe(`\${env:${name}}`)
      }),
    )
  })

  it('takes the default exactly when the variable is unset or empty', () => {
    fc.assert(
      fc.property(fc.option(anyText, { nil: undefined }), fc.stringMatching(/^[^}]{0,10}$/), (value, fallback) => {
        const { text } = interpolate(`\${env:X:-${fallback}}`, spot, scope(value === undefined ? {} : { X: value }))
        expect(text).toBe(value === undefined || value === '' ? fallback : value)
      }),
    )
  })
})

describe('constants', () => {
  it('keep every digit of a number, and call nothing else a number', () => {
    const digits = fc.stringMatching(/^-?[0-9]{1,30}(\.[0-9]{1,30})?(e[+-]?[0-9]{1,3})?$/)
    fc.assert(
      fc.property(digits, (text) => {
        const constant = constantAt(read(`a: ${text}`), ['a'])
        const isJson = /^-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?$/.test(text)
        expect(constant).toEqual({ kind: isJson ? 'number' : 'string', text })
      }),
    )
  })

  it('in quotes are strings, whatever they look like', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        fc.pre(!hasVariable(text))
        expect(constantAt(read(`a: ${JSON.stringify(text)}`), ['a'])).toEqual({ kind: 'string', text })
      }),
    )
  })

  it('nested in lists keep their digits too', () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt(), { minLength: 1 }), (numbers) => {
        expect(constantAt(read(`a: [${numbers.join(', ')}]`), ['a'])).toEqual({ kind: 'json', json: `[${numbers.join(',')}]` })
      }),
    )
  })

  it('as settings are numbers only when a float holds what is written', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.bigInt().map(String),
          fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
          fc.stringMatching(/^0[0-9]{1,5}$/),
        ),
        (text) => {
          const { a } = read(`a: ${text}`).value as { a: unknown }
          if (typeof a === 'number') expect(parseDocument(text).toJS()).toBe(a)
          else expect(a).toBe(text)
          if (typeof a === 'number' && Number.isInteger(a) && !/e/.test(text) && a !== 0)
            expect(String(BigInt(text))).toBe(String(BigInt(a)))
        },
      ),
    )
  })
})

describe('keys', () => {
  it('are the text they are written with', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.stringMatching(/^[0-9]{1,6}(\.[0-9]{1,3})?$/), { minLength: 1, maxLength: 5 }), (keys) => {
        const value = read(keys.map((key) => `${key}: x\n`).join('')).value as object
        expect(Object.keys(value).sort()).toEqual([...keys].sort())
      }),
    )
  })
})
