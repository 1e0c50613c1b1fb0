/** Every type and every nasty text: out of the warehouse, through the file, exact, and the same from both warehouses. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { LogicalType } from '../../src/types.ts'
import { canonical, InvalidValue, toCell } from '../../src/values.ts'
import { openWarehouse } from '../../src/warehouse/open.ts'
import type { Warehouse } from '../../src/warehouse/warehouse.ts'
import { type Postgres, withPostgres } from '../support/postgres.ts'
import { duckdbEntry, inFolder, model, postgresEntry, run } from './support.ts'

let server: Postgres
let postgres: Warehouse
let duckdb: Warehouse
beforeAll(async () => {
  server = await withPostgres()
  await server.query(`
    CREATE EXTENSION citext;
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE TYPE pair AS (a int, b numeric);
    CREATE DOMAIN cents AS numeric(12, 2);
    CREATE DOMAIN code AS char(4)`)
  postgres = await openWarehouse(postgresEntry({ url: server.url }), { root: '/' })
  duckdb = await openWarehouse(duckdbEntry({}), { root: '/' })
})
afterAll(async () => {
  await postgres?.close()
  await duckdb?.close()
  await server?.stop()
})

const INVALID = Symbol('no cell')
/** PostgreSQL expression, DuckDB expression (null: it has no such thing), type, canonical text, cell. */
type Case = [string, string | null, LogicalType, string | null, (string | typeof INVALID)?]
const CASES: Case[] = [
  ['9223372036854775807::int8', '9223372036854775807::BIGINT', 'integer', '9223372036854775807', 'j9223372036854775807'],
  ['(-9223372036854775808)::int8', '(-9223372036854775808)::BIGINT', 'integer', '-9223372036854775808', 'j-9223372036854775808'],
  ['(-1)::int2', '(-1)::SMALLINT', 'integer', '-1', 'j-1'],
  ['0', '0::UTINYINT', 'integer', '0', 'j0'],
  ['NULL::int', 'NULL::INTEGER', 'integer', null],
  [
    '1234567890123456789012345678.0123456789::numeric(38,10)',
    '1234567890123456789012345678.0123456789::DECIMAL(38,10)',
    'decimal',
    '1234567890123456789012345678.0123456789',
    'j1234567890123456789012345678.0123456789',
  ],
  ['1.50::numeric(12,4)', '1.50::DECIMAL(12,4)', 'decimal', '1.5', 'j1.5'],
  ['100::numeric(12,2)', '100::DECIMAL(12,2)', 'decimal', '100', 'j100'],
  ['100::numeric', '100::DECIMAL(3,0)', 'decimal', '100', 'j100'],
  ['(-0.0)::numeric', '(-0.0)::DECIMAL(3,1)', 'decimal', '0', 'j0'],
  ['0.25::numeric(2,2)', '0.25::DECIMAL(2,2)', 'decimal', '0.25', 'j0.25'],
  ['(-0.25)::numeric(2,2)', '(-0.25)::DECIMAL(2,2)', 'decimal', '-0.25', 'j-0.25'],
  [
    '0.000000000000000000000000000001::numeric',
    '0.000000000000000000000000000001::DECIMAL(38,30)',
    'decimal',
    '0.000000000000000000000000000001',
  ],
  ['12.30::cents', null, 'decimal', '12.3', 'j12.3'],
  ["'NaN'::numeric", null, 'decimal', 'NaN', INVALID],
  ["'Infinity'::numeric", null, 'decimal', 'Infinity', INVALID],
  ['1e131000::numeric', null, 'decimal', `1${'0'.repeat(131_000)}`],
  ['0.1::float8', '0.1::DOUBLE', 'float', '0.1', 'j0.1'],
  ['0.1::float4', '0.1::FLOAT', 'float', '0.1', 'j0.1'],
  ['1::float8', '1::DOUBLE', 'float', '1', 'j1'],
  ["'-0'::float8", "'-0'::DOUBLE", 'float', '0', 'j0'],
  ['(0.1::float8 + 0.2::float8)', '(0.1::DOUBLE + 0.2::DOUBLE)', 'float', '0.30000000000000004', 'j0.30000000000000004'],
  ["'1e20'::float8", "'1e20'::DOUBLE", 'float', '100000000000000000000', 'j100000000000000000000'],
  ["'1e21'::float8", "'1e21'::DOUBLE", 'float', '1e+21', 'j1e+21'],
  ["'5e-324'::float8", "'5e-324'::DOUBLE", 'float', '5e-324'],
  ["'1.7976931348623157e308'::float8", "'1.7976931348623157e308'::DOUBLE", 'float', '1.7976931348623157e+308'],
  ['16777216::float4', '16777216::FLOAT', 'float', '16777216'],
  ["'NaN'::float8", "'NaN'::DOUBLE", 'float', 'NaN', INVALID],
  ["'Infinity'::float8", "'Infinity'::DOUBLE", 'float', 'Infinity', INVALID],
  ["'-Infinity'::float4", "'-Infinity'::FLOAT", 'float', '-Infinity', INVALID],
  ['true', 'true', 'boolean', 'true', 'jtrue'],
  ['false', 'false', 'boolean', 'false', 'jfalse'],
  ["date '2024-02-29'", "DATE '2024-02-29'", 'date', '2024-02-29', 's2024-02-29'],
  ["date '0001-01-01'", "DATE '0001-01-01'", 'date', '0001-01-01', 's0001-01-01'],
  ["date '0044-03-15 BC'", "DATE '0044-03-15 (BC)'", 'date', '0044-03-15 BC', INVALID],
  ["date '10000-01-01'", "DATE '10000-01-01'", 'date', '10000-01-01', INVALID],
  ["date 'infinity'", "DATE 'infinity'", 'date', 'infinity', INVALID],
  ["time '23:59:59.999999'", "TIME '23:59:59.999999'", 'time', '23:59:59.999999', 's23:59:59.999999'],
  ["time '12:00:00.500'", "TIME '12:00:00.500'", 'time', '12:00:00.5'],
  ["time '24:00:00'", "TIME '24:00:00'", 'time', '24:00:00'],
  ["timetz '12:00:00.5+05:30'", "TIMETZ '12:00:00.5+05:30'", 'time', '12:00:00.5+05:30'],
  ["timestamp '2024-01-01 00:00:00'", "TIMESTAMP '2024-01-01 00:00:00'", 'timestamp', '2024-01-01T00:00:00Z', 's2024-01-01T00:00:00Z'],
  ["timestamp '1969-12-31 23:59:59.999999'", "TIMESTAMP '1969-12-31 23:59:59.999999'", 'timestamp', '1969-12-31T23:59:59.999999Z'],
  ["timestamp '1901-01-01 00:00:00.100'", "TIMESTAMP_MS '1901-01-01 00:00:00.100'", 'timestamp', '1901-01-01T00:00:00.1Z'],
  ["timestamp '0044-03-15 12:00:00.5 BC'", "TIMESTAMP '0044-03-15 (BC) 12:00:00.5'", 'timestamp', '0044-03-15T12:00:00.5Z BC', INVALID],
  ["timestamp '-infinity'", "TIMESTAMP '-infinity'", 'timestamp', '-infinity', INVALID],
  [
    "timestamptz '2024-07-01 12:00:00+02'",
    "TIMESTAMPTZ '2024-07-01 12:00:00+02'",
    'timestamptz',
    '2024-07-01T10:00:00Z',
    's2024-07-01T10:00:00Z',
  ],
  ["timestamptz '1969-12-31 23:59:59.5-05'", "TIMESTAMPTZ '1969-12-31 23:59:59.5-05'", 'timestamptz', '1970-01-01T04:59:59.5Z'],
  [
    "timestamptz '9999-12-31 23:59:59.999999+00'",
    "TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'",
    'timestamptz',
    '9999-12-31T23:59:59.999999Z',
    's9999-12-31T23:59:59.999999Z',
  ],
  ["timestamptz 'infinity'", "TIMESTAMPTZ 'infinity'", 'timestamptz', 'infinity', INVALID],
  ["interval '1 year 2 months -3 days 04:05:06.500'", "INTERVAL '1 year 2 months -3 days 04:05:06.500'", 'string', 'P1Y2M-3DT4H5M6.5S'],
  ["interval '-00:00:00.25'", "INTERVAL '-250 milliseconds'", 'string', 'PT-0.25S'],
  ["interval '0'", 'INTERVAL 0 DAY', 'string', 'PT0S'],
  ["interval '1 month -30 days'", "INTERVAL '1 month -30 days'", 'string', 'P1M-30D'],
  [
    `'{"b": [1.10, 12345678901234567890], "a": null}'::jsonb`,
    `'{"b": [1.10, 12345678901234567890], "a": null}'::JSON`,
    'json',
    '{"a":null,"b":[1.1,12345678901234567890]}',
  ],
  [`'{"a":\n"x,y"}'::json`, `'{"a":\n"x,y"}'::JSON`, 'json', '{"a":"x,y"}', 'j{"a":"x,y"}'],
  ["'null'::jsonb", "'null'::JSON", 'json', 'null', 'jnull'],
  ['array[1, null, 3]::int8[]', '[1, NULL, 3]', 'json', '[1,null,3]'],
  ["array['a,\"b', '', null]", "['a,\"b', '', NULL]", 'json', '["a,\\"b","",null]'],
  ['array[[1,2],[3,4]]', '[[1,2],[3,4]]', 'json', '[[1,2],[3,4]]'],
  [
    'array[1.10, 12345678901234567890.123]::numeric[]',
    '[1.10, 12345678901234567890.123]::DECIMAL(38,3)[]',
    'json',
    '[1.1,12345678901234567890.123]',
  ],
  ["array['1e20', '0.1']::float8[]", "['1e20', '0.1']::DOUBLE[]", 'json', '[100000000000000000000,0.1]'],
  ['row(1, 2.50)::pair', '{a: 1, b: 2.50::DECIMAL(10,2)}', 'json', '{"a":1,"b":2.5}'],
  [
    `'{"k": 170141183460469231731687303715884105727}'::jsonb`,
    "MAP {'k': 170141183460469231731687303715884105727::HUGEINT}",
    'json',
    '{"k":170141183460469231731687303715884105727}',
  ],
  [
    "'6F9619FF-8B86-D011-B42D-00C04FC964FF'::uuid",
    "'6F9619FF-8B86-D011-B42D-00C04FC964FF'::UUID",
    'string',
    '6f9619ff-8b86-d011-b42d-00c04fc964ff',
  ],
  ["'\\x00ff10'::bytea", "'\\x00\\xFF\\x10'::BLOB", 'bytes', 'AP8Q', 'sAP8Q'],
  ["''::bytea", "''::BLOB", 'bytes', '', 's'],
  ["'happy'::mood", "'happy'::ENUM('sad', 'happy')", 'string', 'happy'],
  ["'MiXed'::citext", null, 'string', 'MiXed'],
  ["'ab'::char(5)", null, 'string', 'ab'],
  ["'ab'::code", null, 'string', 'ab'],
  ["'10.0.0.1/8'::inet", null, 'string', '10.0.0.1/8'],
  ["'101'::bit(3)", "'101'::BIT", 'string', '101'],
  ["'[1,5)'::int4range", null, 'string', '[1,5)'],
  [`'{"a": 1}'::jsonb -> 'b'`, null, 'json', null],
  [null as unknown as string, '170141183460469231731687303715884105727::HUGEINT', 'integer', '170141183460469231731687303715884105727'],
  [null as unknown as string, '18446744073709551615::UBIGINT', 'integer', '18446744073709551615'],
  [
    null as unknown as string,
    "'1234567890123456789012345678901234567890123'::BIGNUM",
    'integer',
    '1234567890123456789012345678901234567890123',
  ],
  [null as unknown as string, "TIMESTAMP_NS '2024-01-01 00:00:00.123456789'", 'timestamp', '2024-01-01T00:00:00.123456789Z'],
  [null as unknown as string, '({a: 1.10::DECIMAL(5,2)})::VARIANT', 'json', '{"a":1.1}'],
]

describe.each([
  ['PostgreSQL', 0, () => postgres],
  ['DuckDB', 1, () => duckdb],
] as const)('from %s', (_, side, warehouse) => {
  const cases = CASES.filter((row) => row[side] !== null)
  it('every value of every type has its canonical text and its cell', async () => {
    const sql = `SELECT ${cases.map((row, i) => `${row[side]} AS v${i}`).join(',\n')}`
    const { columns, rows } = await run(warehouse(), model(sql))
    expect(rows).toHaveLength(1)
    const found = cases.map((row, i) => {
      const raw = rows[0]?.[i] ?? null
      return [row[side], columns[i]?.type, raw === null ? null : canonical(row[2], raw)]
    })
    expect(found).toStrictEqual(cases.map((row) => [row[side], row[2], row[3]]))
    for (const [i, [, , type, , cell]] of cases.entries()) {
      const raw = rows[0]?.[i]
      if (cell === INVALID) expect(() => toCell(type, raw ?? '')).toThrow(InvalidValue)
      else if (cell !== undefined) expect(toCell(type, raw ?? '')).toBe(cell)
    }
  })

  it('a naive timestamp is read in the zone of the warehouse', async () => {
    const entry = side === 0 ? postgresEntry({ url: server.url, timezone: 'Europe/Berlin' }) : duckdbEntry({ timezone: 'Europe/Berlin' })
    const zoned = await openWarehouse(entry, { root: '/' })
    const sql = `SELECT timestamp '2024-01-15 12:00:00' AS winter, timestamp '2024-07-15 12:00:00.5' AS summer,
      timestamptz '2024-07-15 12:00:00+00' AS exact, timestamp 'infinity' AS never`
    const { columns, rows } = await run(zoned, model(sql))
    await zoned.close()
    expect(rows[0]?.map((raw, i) => canonical(columns[i]?.type ?? 'string', raw ?? ''))).toStrictEqual([
      '2024-01-15T11:00:00Z',
      '2024-07-15T10:00:00.5Z',
      '2024-07-15T12:00:00Z',
      'infinity',
    ])
  })
})

/** The rows as a table in PostgreSQL and as a JSON file for DuckDB, each read back. */
async function through(rows: readonly (readonly (string | null)[])[]): Promise<unknown[]> {
  const names = (rows[0] ?? []).map((_, i) => `v${i}`)
  await server.query('DROP TABLE IF EXISTS texts')
  await server.query(`CREATE TABLE texts (n int, ${names.map((name) => `${name} text`).join(', ')})`)
  const values = JSON.stringify(rows.map((row, n) => Object.fromEntries([['n', n], ...row.map((value, i) => [`v${i}`, value])])))
  await server.query('INSERT INTO texts SELECT * FROM json_populate_recordset(NULL::texts, $1)', [values])
  const list = names.join(', ')
  const first = await run(postgres, model(`SELECT ${list} FROM texts ORDER BY n`))
  const second = await inFolder(async (root) => {
    await writeFile(join(root, 'texts.json'), values)
    const files = await openWarehouse(duckdbEntry({}), { root })
    const types = ['n', ...names].map((name) => `${name}: '${name === 'n' ? 'INTEGER' : 'VARCHAR'}'`).join(', ')
    const found = await run(files, model(`SELECT ${list} FROM read_json('texts.json', columns = {${types}}) ORDER BY n`))
    await files.close()
    return found
  })
  expect([first.extract.rows, second.extract.rows]).toStrictEqual([rows.length, rows.length])
  return [first.rows, second.rows]
}

const NASTY = [
  '', ' ', 'a', '\ufeff', '\ufeffa', '\ufeff"', '"', '""', '","', ',', '\n', '\r', '\r\n', 'a\nb', 'a\r\n"b",c\n', '\\N', '\\.', '\\', "'", '\t', 'NULL', 'null',
  '😀', 'e\u0301', '\u00e9', '\u202e', '\u2028', '#', '# comment', '1,2\n3,4', '"\n"', 'x"\ny,z', ' lead', 'trail ', '\u0001\u001f\u007f', '\u{10ffff}',
] // prettier-ignore

describe('texts', () => {
  const text = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...NASTY) },
    { weight: 2, arbitrary: fc.array(fc.constantFrom(...NASTY), { maxLength: 6 }).map((parts) => parts.join('')) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 30 }).map((s) => s.replaceAll('\0', '')) },
    { weight: 1, arbitrary: fc.constant(null) },
  )

  it('every nasty text comes out as it went in, first and last, alone and beside others', async () => {
    const rows = NASTY.flatMap((a) => [[a, 'x', a]])
    expect(await through(rows)).toStrictEqual([rows, rows])
    for (const first of NASTY) {
      const alone = [[first], [null], ['']]
      expect(await through(alone)).toStrictEqual([alone, alone])
    }
  })

  it('any table of any texts comes out as it went in', async () => {
    const table = fc
      .integer({ min: 1, max: 4 })
      .chain((width) => fc.array(fc.array(text, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 60 }))
    await fc.assert(
      fc.asyncProperty(table, async (rows) => {
        expect(await through(rows)).toStrictEqual([rows, rows])
      }),
      { numRuns: 25 },
    )
  })

  it('a model of one column keeps its empty strings apart from its nulls', async () => {
    const { extract, rows } = await run(postgres, model("VALUES ('a'), (''), (NULL), (''), ('b')"))
    expect(extract.rows).toBe(5)
    expect(rows).toStrictEqual([['a'], [''], [null], [''], ['b']])
  })

  it('texts of a megabyte and of three come out exact, with lines, quotes and commas in them', async () => {
    const unit = 'line "one",\r\nline two 😀\n'
    const rows = [1, 3].map((megabytes) => [unit.repeat((megabytes * 1_000_000) / Buffer.byteLength(unit)), String(megabytes)])
    expect(await through([...rows, ['x', 'y']])).toStrictEqual([
      [...rows, ['x', 'y']],
      [...rows, ['x', 'y']],
    ])
  })

  it('a value full of lines that look like rows is one value, wherever a reader would cut the file', async () => {
    const lines = Array.from({ length: 40_000 }, (_, i) => `${i},fake,"row"`).join('\n')
    await server.query('DROP TABLE IF EXISTS fakes')
    await server.query(
      'CREATE TABLE fakes AS SELECT i, CASE WHEN i % 100 = 0 THEN $1::text ELSE i::text END AS body, $2::text AS note FROM generate_series(1, 10000) i',
      [lines, 'real'],
    )
    const { extract, rows } = await run(postgres, model('SELECT i, body, note FROM fakes ORDER BY i'))
    expect(extract).toMatchObject({ format: 'csv', rows: 10_000, multiline: true })
    expect(rows).toHaveLength(10_000)
    expect(rows.every(([i, body, note], n) => Number(i) === n + 1 && note === 'real' && body === ((n + 1) % 100 === 0 ? lines : i))).toBe(
      true,
    )
  })

  it('floats of both widths read back as the same number from both', async () => {
    const finite = { noNaN: true, noDefaultInfinity: true }
    const number = fc.oneof(
      fc.double(finite),
      fc.float(finite),
      fc.tuple(fc.integer(), fc.nat(9)).map(([n, scale]) => n / 10 ** scale),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(number, { minLength: 100, maxLength: 1000 }), async (doubles) => {
        const singles = doubles.map(Math.fround).filter(Number.isFinite)
        const sql = (wide: string, narrow: string): string =>
          `SELECT unnest(ARRAY[${quoted(doubles)}]::${wide}[]) AS x, unnest(ARRAY[${quoted(singles)}]::${narrow}[]) AS y`
        const [a, b] = [await run(postgres, model(sql('float8', 'float4'))), await run(duckdb, model(sql('DOUBLE', 'FLOAT')))]
        const texts = [a, b].map(({ rows }) => rows.map((row) => row.map((raw) => raw && canonical('float', raw))))
        expect(texts[0]).toStrictEqual(texts[1])
        expect(texts[0]?.map(([x]) => Number(x))).toStrictEqual(doubles.map((x) => x || 0))
        expect(texts[0]?.slice(0, singles.length).map(([, y]) => Math.fround(Number(y)))).toStrictEqual(singles.map((y) => y || 0))
      }),
      { numRuns: 20 },
    )
  })
})

const quoted = (numbers: readonly number[]): string => numbers.map((x) => `'${x}'`).join()
