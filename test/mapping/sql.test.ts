/** The SQL form of a field says what `evaluate` says, wherever it claims to fit. */
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { FieldSpec } from '../../src/config/types.ts'
import { InvalidRow, type CompiledField } from '../../src/mapping.ts'
import type { LogicalType } from '../../src/types.ts'
import { compiled, field, number, template, text } from './project.ts'

let instance: DuckDBInstance
let db: DuckDBConnection
beforeAll(async () => {
  instance = await DuckDBInstance.create(':memory:')
  db = await instance.connect()
})
afterAll(() => {
  db.closeSync()
  instance.closeSync()
})

const digits = fc.stringMatching(/^[1-9][0-9]{0,24}$/)
const signed = fc
  .tuple(fc.constantFrom('', '-'), fc.oneof(digits, fc.constant('0')))
  .map(([sign, whole]) => (whole === '0' ? whole : sign + whole))
const notFinite = fc.constantFrom('NaN', 'Infinity', '-Infinity')
const clock = fc.constantFrom('00:00:00', '23:59:59.999999', '10:00:00.5', '10:00:00.120', '10:00:00.000')
const day = fc.constantFrom('2024-02-29', '0001-01-01', '9999-12-31', '12024-05-01', '0044-03-15 BC', '1970-01-01')
const moment = fc.oneof(
  fc
    .tuple(day, clock, fc.constantFrom('', '+00'))
    .map(([date, time, zone]) => (date.endsWith('BC') ? `${date.slice(0, -3)} ${time}${zone} BC` : `${date} ${time}${zone}`)),
  fc.constantFrom('infinity', '-infinity'),
)
const hostile = fc.oneof(
  fc.string({ unit: 'binary' }).map((each) => each.replace(/\0|\p{Surrogate}/gu, '')),
  fc.constantFrom(
    '',
    ' ',
    "'",
    "''",
    '"',
    '\\',
    '\n',
    '\r\n',
    '\t',
    '\u0001',
    '\u007f',
    '\ufeff',
    '😀',
    'e\u0301',
    'null',
    'NULL',
    'pro',
    'a\nb',
    "it's",
    '\u2028',
  ),
)
/** Raw texts as src/values.ts allows them. */
const RAW: Readonly<Record<LogicalType, fc.Arbitrary<string>>> = {
  string: hostile,
  integer: signed,
  decimal: fc.oneof(
    fc
      .tuple(signed, fc.stringMatching(/^[0-9]{0,8}0{0,3}$/))
      .map(([whole, fraction]) => (fraction === '' ? whole : `${whole}.${fraction}`)),
    notFinite,
  ),
  float: fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((each) => (Object.is(each, -0) ? '-0' : String(each))),
    signed,
    notFinite,
  ),
  boolean: fc.constantFrom('t', 'f', 'true', 'false'),
  date: fc.oneof(day, fc.constantFrom('infinity', '-infinity')),
  time: fc.constantFrom('00:00:00', '23:59:59.5', '10:00:00+02', '10:00:00.25+05:30'),
  timestamp: moment,
  timestamptz: moment,
  json: fc.json(),
  bytes: fc.uint8Array().map((bytes) => String.raw`\x` + Buffer.from(bytes).toString('hex')),
}

/** What SQL gives for each text: the cell, null for absent, or `undefined` where it leaves the row to JavaScript. */
async function inSql({ sql }: CompiledField, texts: readonly (string | null)[]): Promise<unknown[]> {
  if (sql === null) throw new Error('no SQL form')
  await db.run('CREATE OR REPLACE TEMP TABLE texts (n INTEGER, "the column" VARCHAR)')
  const appender = await db.createAppender('texts')
  texts.forEach((each, n) => {
    appender.appendInteger(n)
    if (each === null) appender.appendNull()
    else appender.appendVarchar(each)
    appender.endRow()
  })
  appender.closeSync()
  const { expr, fits } = sql(() => '"the column"')
  const reader = await db.runAndReadAll(`SELECT ${expr}, ${fits ?? 'true'} FROM texts ORDER BY n`)
  return reader.getRows().map(([value, fitting]) => {
    // Null-safe: a NULL here would drop the row from both sides.
    expect(typeof fitting).toBe('boolean')
    return fitting === true ? value : undefined
  })
}

function inJavaScript({ evaluate }: CompiledField, raw: string | null): string | null | undefined {
  try {
    return evaluate([raw])
  } catch (error) {
    if (error instanceof InvalidRow) return undefined
    throw error
  }
}

async function agree(spec: FieldSpec, type: LogicalType): Promise<{ fitting: number; rows: number }> {
  const one = compiled(spec, { c: type })
  let [fitting, rows] = [0, 0]
  await fc.assert(
    fc.asyncProperty(fc.array(fc.option(RAW[type], { freq: 10 }), { minLength: 1, maxLength: 100 }), async (texts) => {
      const found = await inSql(one, texts)
      texts.forEach((raw, n) => {
        rows++
        if (found[n] === undefined) return
        fitting++
        expect([raw, found[n]]).toEqual([raw, inJavaScript(one, raw)])
      })
    }),
    { numRuns: 30 },
  )
  return { fitting, rows }
}

const SQL_TYPES: readonly LogicalType[] = [
  'string',
  'integer',
  'decimal',
  'float',
  'boolean',
  'date',
  'time',
  'timestamp',
  'timestamptz',
  'bytes',
]

describe('SQL forms', () => {
  it.each(SQL_TYPES)('agrees on a plain %s', async (type) => {
    const { fitting, rows } = await agree(field('f', 'c'), type)
    expect(fitting).toBeGreaterThan(rows / 10)
    await agree(field('f', 'c', { nulls: 'skip' }), type)
  })

  it.each(SQL_TYPES)('agrees on a %s with a default', async (type) => {
    await agree(field('f', 'c', { default: text("it's"), nulls: 'skip' }), type)
  })

  it.each(SQL_TYPES)('agrees on a %s as a string', async (type) => {
    const { fitting, rows } = await agree(field('f', 'c', { type: 'string' }), type)
    if (type !== 'float') expect(fitting).toBe(rows)
  })

  const keys: Partial<Record<LogicalType, string[]>> = {
    string: ['', 'pro', "it's", 'null', '\\', '😀', '\n'],
    integer: ['0', '1'],
    decimal: ['0', '1.5', 'NaN'],
    boolean: ['true'],
    date: ['2024-02-29', 'infinity'],
    timestamptz: ['1970-01-01T00:00:00Z', '0001-01-01T10:00:00.5Z'],
  }
  it.each(Object.entries(keys) as [LogicalType, string[]][])('agrees on a %s with a map', async (type, from) => {
    const map = new Map(from.map((key, i) => [key, i === 1 ? ({ kind: 'null' } as const) : i === 2 ? number('1.10') : text(`to ${key}`)]))
    const bare = await agree(field('f', 'c', { map }), type)
    expect(bare.fitting).toBeLessThan(bare.rows)
    const whole = await agree(field('f', 'c', { map, default: text('Other'), nulls: 'skip' }), type)
    expect(whole.fitting).toBe(whole.rows)
    await agree(field('f', 'c', { map, default: { kind: 'null' }, nulls: 'skip' }), type)
    await agree(field('f', 'c', { map, type: 'string' }), type)
  })

  it('has one for constants and for what is rendered at sending', () => {
    expect(compiled(field('f', { kind: 'value', value: text("it's") }), {}).sql?.(String)).toEqual({ expr: "'sit''s'", fits: null })
    expect(compiled(field('f', { kind: 'meta', meta: 'run' }), {}).sql?.(String)).toEqual({ expr: 'NULL', fits: null })
  })

  it.each<[string, FieldSpec, LogicalType]>([
    ['json', field('f', 'c'), 'json'],
    ['templates', field('f', template('{{ c }}')), 'string'],
    ['transforms', field('f', 'c', { transform: ['strip'] }), 'string'],
    ['casts', field('f', 'c', { type: 'integer' }), 'string'],
    ['a map of floats', field('f', 'c', { map: new Map([['1', text('x')]]) }), 'float'],
  ])('has none for %s', (_, spec, type) => {
    expect(compiled(spec, { c: type }).sql).toBe(null)
  })
})
