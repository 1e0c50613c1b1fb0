/** Canonical texts and cells: what they are, and that JavaScript and DuckDB write the same. */
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RawJson } from '../../src/json.ts'
import type { LogicalType } from '../../src/types.ts'
import { canonical, canonicalSql, cellJson, cellSql, cellValue, InvalidValue, toCell } from '../../src/values.ts'

describe('canonical', () => {
  const same: [LogicalType, string, string][] = [
    ['string', '', ''],
    ['string', ' 01 ', ' 01 '],
    ['integer', '-9223372036854775808', '-9223372036854775808'],
    ['integer', '170141183460469231731687303715884105727', '170141183460469231731687303715884105727'],
    ['decimal', '1.50', '1.5'],
    ['decimal', '100', '100'],
    ['decimal', '100.000', '100'],
    ['decimal', '-0.00', '0'],
    ['decimal', '-0.10', '-0.1'],
    ['decimal', '1234567890123456789012345678.0123456789', '1234567890123456789012345678.0123456789'],
    ['decimal', 'NaN', 'NaN'],
    ['decimal', '-Infinity', '-Infinity'],
    ['float', '1e+20', '100000000000000000000'],
    ['float', '1e+21', '1e+21'],
    ['float', '1e-07', '1e-7'],
    ['float', '-0', '0'],
    ['float', '16777216.0', '16777216'],
    ['float', 'Infinity', 'Infinity'],
    ['boolean', 't', 'true'],
    ['boolean', 'false', 'false'],
    ['date', '2024-02-29', '2024-02-29'],
    ['date', '0044-03-15 BC', '0044-03-15 BC'],
    ['date', 'infinity', 'infinity'],
    ['time', '24:00:00', '24:00:00'],
    ['time', '12:00:00.5+05:30', '12:00:00.5+05:30'],
    ['timestamp', '1969-12-31 23:59:59.999999', '1969-12-31T23:59:59.999999Z'],
    ['timestamp', '2024-01-01 00:00:00.500', '2024-01-01T00:00:00.5Z'],
    ['timestamp', '2024-01-01 00:00:00.000', '2024-01-01T00:00:00Z'],
    ['timestamptz', '2024-01-01 10:00:00+00', '2024-01-01T10:00:00Z'],
    ['timestamptz', '0044-03-15 12:00:00.25+00 BC', '0044-03-15T12:00:00.25Z BC'],
    ['timestamptz', '-infinity', '-infinity'],
    ['bytes', '\\x', ''],
    ['bytes', '\\x00ff10', 'AP8Q'],
    ['json', ' {"b": [1.50, 1e2, null], "a": "\\u00e9\\n"} ', '{"a":"é\\n","b":[1.5,100,null]}'],
    ['json', '{"10":1,"9":2,"__proto__":3}', '{"10":1,"9":2,"__proto__":3}'],
    ['json', '{"a":1,"a":2}', '{"a":2}'],
    ['json', '[12345678901234567890123456789.10, 1e400, -0.0, 0.000000001]', '[12345678901234567890123456789.1,1e+400,0,0.000000001]'],
    ['json', '[100000000000000000000.0, 1e20]', '[100000000000000000000,100000000000000000000]'],
    ['json', '"x"', '"x"'],
  ]
  it.each(same)('%s %j is %j', (type, raw, text) => {
    expect(canonical(type, raw)).toBe(text)
  })

  const bad: [LogicalType, string][] = [
    ['integer', '1.0'],
    ['integer', '01'],
    ['integer', 'NaN'],
    ['decimal', '1e5'],
    ['float', '0x10'],
    ['float', '1e999'],
    ['boolean', 'yes'],
    ['date', '2024-01-01 00:00:00'],
    ['timestamp', '2024-01-01'],
    ['timestamptz', '2024-01-01 00:00:00+02'],
    ['bytes', 'dead'],
    ['json', '{"a":1'],
    ['json', '[NaN]'],
    ['json', '[1e99999999999999999999]'],
    ['json', '['.repeat(100_000)],
  ]
  it.each(bad)('refuses a %s %.20j without quoting it', (type, raw) => {
    expect(() => canonical(type, raw)).toThrow(InvalidValue)
    expect(() => canonical(type, raw)).toThrow(/^not the text of a value of type [a-z]+$/)
  })

  it('gives one JSON number to every spelling of a value', () => {
    const spelling = fc.tuple(
      fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }).filter((n) => n !== 0n),
      fc.integer({ min: -60, max: 60 }),
      fc.nat(3),
    )
    fc.assert(
      fc.property(spelling, ([digits, exponent, zeros]) => {
        const plain = canonical('json', `${digits}e${exponent}`)
        expect(canonical('json', `${digits}${'0'.repeat(zeros)}E${exponent - zeros}`)).toBe(plain)
        expect(canonical('json', `${digits}.${'0'.repeat(zeros + 1)}e${exponent}`)).toBe(plain)
        expect(Number(plain)).toBe(Number(`${digits}e${exponent}`))
        expect(canonical('json', plain)).toBe(plain)
      }),
    )
  })

  it('gives equal JSON documents one text, whatever the order of their members', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonical('json', JSON.stringify(value))
        expect(JSON.parse(text)).toStrictEqual(JSON.parse(JSON.stringify(value)))
        expect(canonical('json', JSON.stringify(reversed(value)))).toBe(text)
      }),
    )
  })
})

describe('cells', () => {
  it('writes numbers, booleans and JSON as JSON and everything else as a string', () => {
    expect(toCell('integer', '9007199254740993')).toBe('j9007199254740993')
    expect(toCell('decimal', '1.10')).toBe('j1.1')
    expect(toCell('boolean', 'f')).toBe('jfalse')
    expect(toCell('json', '{"b":1,"a":2}')).toBe('j{"a":2,"b":1}')
    expect(toCell('string', '1')).toBe('s1')
    expect(toCell('bytes', '\\xff')).toBe('s/w==')
    expect(toCell('timestamp', '2024-01-01 00:00:00')).toBe('s2024-01-01T00:00:00Z')
  })

  it('reads back as JSON text and as a value, exactly', () => {
    expect(cellJson('sa"b')).toBe('"a\\"b"')
    expect(cellJson('j12345678901234567890')).toBe('12345678901234567890')
    expect(cellValue('s12')).toBe('12')
    expect(cellValue('j1.5')).toBe(1.5)
    expect(cellValue('j12345678901234567890')).toStrictEqual(new RawJson('12345678901234567890'))
    expect(cellValue('j{"a":[true,null]}')).toStrictEqual({ a: [true, null] })
  })

  it.each<[LogicalType, string, string]>([
    ['decimal', 'NaN', 'not_finite'],
    ['float', '-Infinity', 'not_finite'],
    ['date', 'infinity', 'date_range'],
    ['date', '10000-01-01', 'date_range'],
    ['timestamp', '0044-03-15 00:00:00 BC', 'date_range'],
    ['timestamptz', '-infinity', 'date_range'],
  ])('has none for a %s %s (%s)', (type, raw, code) => {
    expect(() => toCell(type, raw)).toThrow(expect.objectContaining({ code }))
  })
})

const pad = (n: number, width: number): string => String(n).padStart(width, '0')
const fraction = fc.oneof(
  fc.constant(''),
  fc.nat(999_999).map((n) => ('.' + pad(n, 6)).replace(/\.?0+$/, '')),
)
const day = fc
  .tuple(
    fc.oneof(fc.integer({ min: 1, max: 9999 }), fc.integer({ min: 10_000, max: 290_000 })),
    fc.integer({ min: 1, max: 12 }),
    fc.integer({ min: 1, max: 28 }),
  )
  .map(([year, month, date]) => `${pad(year, 4)}-${pad(month, 2)}-${pad(date, 2)}`)
const clock = fc.tuple(fc.nat(23), fc.nat(59), fc.nat(59), fraction).map(([h, m, s, f]) => `${pad(h, 2)}:${pad(m, 2)}:${pad(s, 2)}${f}`)
const era = fc.constantFrom('', '', '', ' BC')
const endless = fc.constantFrom('infinity', '-infinity')
const moment = (zone: string): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 9, arbitrary: fc.tuple(day, clock, era).map(([d, c, e]) => `${d} ${c}${zone}${e}`) },
    { weight: 1, arbitrary: endless },
  )
const hugeint = fc.bigInt({ min: -(2n ** 127n), max: 2n ** 127n - 1n })

/** Every raw text the list in src/values.ts allows. */
const raw: Record<LogicalType, fc.Arbitrary<string>> = {
  string: fc.string({ unit: 'binary' }).filter((text) => !text.includes('\0')),
  integer: hugeint.map(String),
  decimal: fc.oneof(
    { weight: 9, arbitrary: fc.tuple(hugeint, fc.constantFrom('', '.0', '.10', '.000', '.0000100', '.9')).map(([n, f]) => `${n}${f}`) },
    { weight: 1, arbitrary: fc.constantFrom('NaN', 'Infinity', '-Infinity', '-0.10', '0', '0.00', '-0.00') },
  ),
  float: fc.oneof(
    fc.double().map((x) => (Object.is(x, -0) ? '-0' : String(x))),
    fc.tuple(fc.integer(), fc.nat(9)).map(([n, scale]) => String(n / 10 ** scale)),
    fc.constantFrom('1e-07', '1e+20', '123456789012345', '0.000001', '0.0000001', '1234567.123456', '-0.5'),
  ),
  boolean: fc.constantFrom('t', 'f', 'true', 'false'),
  date: fc.oneof({ weight: 9, arbitrary: fc.tuple(day, era).map(([d, e]) => d + e) }, { weight: 1, arbitrary: endless }),
  time: fc.tuple(clock, fc.constantFrom('', '+00', '-02', '+05:30')).map(([c, zone]) => c + zone),
  timestamp: moment(''),
  timestamptz: moment('+00'),
  json: fc.json(),
  bytes: fc.uint8Array().map((bytes) => '\\x' + Buffer.from(bytes).toString('hex')),
}
const TYPES = Object.keys(raw) as LogicalType[]

describe('in DuckDB', () => {
  let duckdb: DuckDBConnection
  beforeAll(async () => {
    duckdb = await (await DuckDBInstance.create(':memory:')).connect()
  })
  afterAll(() => duckdb.closeSync())

  async function evaluate(texts: readonly string[], ...exprs: string[]): Promise<unknown[][]> {
    const values = texts.map((_, i) => `(${i}, $${i + 1})`).join(',')
    const sql = `SELECT ${exprs.join(', ')} FROM (VALUES ${values}) AS t(i, x) ORDER BY i`
    return (await duckdb.runAndReadAll(sql, [...texts])).getRows()
  }

  it.each(TYPES.filter((type) => type !== 'float' && type !== 'json'))('canonicalSql of a %s is canonical()', async (type) => {
    await fc.assert(
      fc.asyncProperty(fc.array(raw[type], { minLength: 50, maxLength: 200 }), async (texts) => {
        const rows = await evaluate(texts, canonicalSql(type, 'x'))
        expect(rows.map(([text]) => text)).toStrictEqual(texts.map((text) => canonical(type, text)))
      }),
      { numRuns: 20 },
    )
  })

  it.each(TYPES.filter((type) => type !== 'json'))(
    'cellSql of a %s is toCell() where it fits, and fits whatever has a cell',
    async (type) => {
      const sql = cellSql(type, 'x')
      expect.assert(sql !== null)
      await fc.assert(
        fc.asyncProperty(fc.array(raw[type], { minLength: 50, maxLength: 200 }), async (texts) => {
          const rows = await evaluate(texts, sql.fits, `CASE WHEN ${sql.fits} THEN ${sql.expr} END`)
          for (const [i, text] of texts.entries()) {
            const [fits, cell] = rows[i] ?? []
            if (fits) expect(cell).toBe(toCell(type, text))
            else if (type !== 'float') expect(() => toCell(type, text)).toThrow(InvalidValue)
          }
        }),
        { numRuns: 20 },
      )
    },
  )

  it('lets the common floats pass without JavaScript', async () => {
    const { fits } = cellSql('float', 'x') ?? { fits: 'false' }
    expect(await evaluate(['0', '-1.5', '1234567.89', '0.1'], fits)).toStrictEqual([[true], [true], [true], [true]])
    expect(await evaluate(['-0', '1e+20', '0.30000000000000004', 'NaN', '1.0'], fits)).toStrictEqual([
      [false],
      [false],
      [false],
      [false],
      [false],
    ])
  })

  it('keeps null null', async () => {
    for (const type of TYPES.filter((t) => t !== 'float' && t !== 'json')) {
      const found = await duckdb.runAndReadAll(`SELECT ${canonicalSql(type, 'x')} FROM (SELECT NULL::VARCHAR AS x)`)
      expect(found.getRows()).toStrictEqual([[null]])
    }
  })

  it('has no SQL form of a float or JSON key, nor of a JSON cell', () => {
    expect(() => canonicalSql('float', 'x')).toThrow(RangeError)
    expect(() => canonicalSql('json', 'x')).toThrow(RangeError)
    expect(cellSql('json', 'x')).toBeNull()
  })
})

function reversed(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(reversed)
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, member]) => [name, reversed(member)]),
  )
}
