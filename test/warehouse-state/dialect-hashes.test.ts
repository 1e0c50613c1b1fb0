/** Hashes in the SQL of each database: equal rows have one, and what the databases' own hash functions take for equal has two. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Dialect } from '../../src/state/warehouse/dialect.ts'
import type { Column } from '../../src/types.ts'
import { wrap } from '../../src/warehouse/model.ts'
import { openWarehouse } from '../../src/warehouse/open.ts'
import { model } from '../warehouse/support.ts'
import { type Engine, engines, POSTGRES, type Server } from './dialect-engines.ts'

/** The hash of each row of a query, over all its columns; `as` gives them other types than they have there. */
async function hashes(server: Server, dialect: Dialect, sql: string, timezone?: string): Promise<string[]> {
  const warehouse = await openWarehouse(server.entry(timezone), { root: '/' })
  const columns = await warehouse.describe(model(sql))
  await warehouse.close()
  return over(server, dialect, sql, columns, timezone)
}

async function over(server: Server, dialect: Dialect, sql: string, columns: readonly Column[], timezone?: string): Promise<string[]> {
  const rows = await server.rows(wrap(model(sql), sql, `${dialect.hash(columns, timezone)} AS h`).sql)
  return rows.map(({ h }) => h ?? 'NULL')
}

/** Expressions of one column that must all differ. */
const APART: Readonly<Record<Dialect['name'], readonly (readonly string[])[]>> = {
  postgres: [
    ['5::numeric', '-5::numeric', '0.5::numeric', '50::numeric', '500000::numeric', "'NaN'::numeric", "'Infinity'::numeric", 'NULL::numeric', '0::numeric'],
    ['0::int8', '4294967297::int8', '-1::int8', '1::int8', '-4294967298::int8', 'NULL::int8'],
    ["interval '30 days'", "interval '1 month'", "interval '720 hours'", 'NULL::interval'],
    ["timestamp '2000-01-01'", "timestamp '2000-01-01' + interval '4294.967297 seconds'", 'NULL::timestamp'],
    ["time '00:00'", "time '01:11:34.967297'"],
    ["timetz '12:00:00+00'", "timetz '13:00:00+01'"],
    ["''", "' '", "'a'", "'A'", "'á'", "'a '", "'NULL'", 'NULL::text', "','"],
    ["'a' COLLATE nobody", "'A' COLLATE nobody", 'NULL'],
    ["'a'::citext", "'A'::citext"],
    ["'{\"a\":1}'::json", "'{\"a\":-1}'::json", "'{\"a\": 1}'::json", "'null'::json", 'NULL::json'],
    ["'{\"a\":1}'::jsonb", "'{\"a\":-1}'::jsonb", "'null'::jsonb", 'NULL::jsonb'],
    ['array[1,2]', 'array[2,1]', "'{}'::int[]", 'array[1,NULL]', 'array[[1,2]]', 'NULL::int[]'],
    ["array['NULL']", 'array[NULL]::text[]', "array['a','b']", "array['a,b']", "array['']", "'{}'::text[]"],
    ["row(1, 'a')::pair", "row(1, NULL)::pair", "row(NULL, NULL)::pair", "row(1, '')::pair"],
    ["'sad'::mood", "'happy'::mood", 'NULL::mood'],
    ["'\\x00'::bytea", "'\\x0000'::bytea", "''::bytea", 'NULL::bytea'],
    ["'10.0.0.1'::inet", "'10.0.0.1/8'::inet"],
    ["'pg_class'::regclass", "'pg_type'::regclass", 'NULL::regclass'],
    ['0.1::float8', '0.2::float8', "'NaN'::float8", "'Infinity'::float8", 'NULL::float8'],
    ['0.1::float4', '0.2::float4', 'NULL::float4'],
    ['true', 'false', 'NULL::boolean'],
    ["date '2024-01-01'", "date 'infinity'", 'NULL::date'],
    ["'6f9619ff-8b86-d011-b42d-00c04fc964ff'::uuid", "'b42d00c0-4fc9-64ff-6f96-19ff8b86d011'::uuid", 'NULL::uuid'],
    ['0::oid', '4294967295::oid', 'NULL::oid'],
  ],
  duckdb: [
    ['0::HUGEINT', '18446744073709551617::HUGEINT', '1::HUGEINT', '-1::HUGEINT', '18446744073709551616::HUGEINT', 'NULL::HUGEINT'],
    ['0::BIGINT', '4294967297::BIGINT', '-1::BIGINT', 'NULL::BIGINT'],
    ['0::DECIMAL(38,2)', '184467440737095516.17::DECIMAL(38,2)', 'NULL'],
    ['5::DECIMAL(10,2)', '-5::DECIMAL(10,2)', '0.05::DECIMAL(10,2)', 'NULL'],
    ["'00000000-0000-0001-0000-000000000001'::UUID", "'00000000-0000-0002-0000-000000000002'::UUID", 'NULL::UUID'],
    ["INTERVAL 30 DAY", 'INTERVAL 1 MONTH', 'INTERVAL 720 HOUR', 'INTERVAL 0 DAY', 'NULL::INTERVAL'],
    ["''", "' '", "'a'", "'A'", "'a '", "'NULL'", 'NULL::VARCHAR'],
    ["'a' COLLATE NOCASE", "'A' COLLATE NOCASE"],
    ['[1,2]', '[2,1]', '[]::INTEGER[]', '[1,NULL]', 'NULL::INTEGER[]', '[NULL]::INTEGER[]'],
    ["{a: 1, b: 'x'}", "{a: 1, b: NULL}", "{a: NULL, b: NULL}", "NULL::STRUCT(a INTEGER, b VARCHAR)"],
    ["'{\"a\":1}'::JSON", "'{\"a\":-1}'::JSON", "'null'::JSON", 'NULL::JSON'],
    ["'\\x00'::BLOB", "'\\x00\\x00'::BLOB", "''::BLOB", 'NULL::BLOB'],
    ["TIMETZ '12:00:00+00'", "TIMETZ '13:00:00+01'", 'NULL::TIMETZ'],
    ["TIMESTAMP '2000-01-01'", "TIMESTAMP '2000-01-01 00:00:00.000001'", "TIMESTAMP 'infinity'", 'NULL::TIMESTAMP'],
    ['0.1::DOUBLE', '0.2::DOUBLE', "'NaN'::DOUBLE", 'NULL::DOUBLE'],
    ['true', 'false', 'NULL::BOOLEAN'],
  ],
  snowflake: [
    ['5::NUMBER(10,2)', '-5::NUMBER(10,2)', '0.05::NUMBER(10,2)', 'NULL::NUMBER(10,2)', '0::NUMBER(10,2)'],
    ["''", "' '", "'a'", "'A'", "'a '", "'NULL'", 'NULL::VARCHAR'],
    ["PARSE_JSON('1')", "PARSE_JSON('\"1\"')", "PARSE_JSON('null')", "PARSE_JSON('[1]')", 'NULL::VARIANT'],
    ["'2024-01-01 00:00:00'::TIMESTAMP_NTZ", "'2024-01-01 00:00:01'::TIMESTAMP_NTZ", 'NULL::TIMESTAMP_NTZ'],
    ['TRUE', 'FALSE', 'NULL::BOOLEAN'],
    ["TO_BINARY('00', 'HEX')", "TO_BINARY('0000', 'HEX')", "TO_BINARY('', 'HEX')", 'NULL::BINARY'],
    ["'0.1'::FLOAT", "'0.2'::FLOAT", 'NULL::FLOAT'],
  ],
} // prettier-ignore

/** Columns whose values a database's own hash functions, or the bytes, take for equal; what is sent differs. */
const TYPES_APART: Readonly<Record<Dialect['name'], readonly (readonly [string, string])[]>> = {
  postgres: [['1', 'true'], ["'1'", '1'], ["'{}'", "'{}'::json"], ["'a'", "'\\x61'::bytea"], ['150', '1.50'], ['0.1::float4', '0.1::float4::float8']],
  duckdb: [['1', 'true'], ["'1'", '1'], ["'{}'", "'{}'::JSON"], ["'a'", "'a'::BLOB"], ['150', '1.50::DECIMAL(10,2)'], ['1.50::DECIMAL(10,2)', '0.0150::DECIMAL(10,4)'], ['1', "DATE '1970-01-02'"]],
  snowflake: [["'1'", '1'], ["'true'", 'TRUE'], ["'[1]'", "PARSE_JSON('[1]')"]],
} // prettier-ignore

function suite({ name, dialect, missing, start }: Engine): void {
  describe.skipIf(missing)(`hashes in ${name}`, () => {
    let server: Server
    beforeAll(async () => {
      server = await start()
      if (dialect.name === 'postgres') {
        await server.rows(`
          CREATE EXTENSION citext;
          CREATE TYPE mood AS ENUM ('sad', 'happy');
          CREATE TYPE pair AS (a int, b text);
          CREATE COLLATION nobody (provider = icu, locale = 'und-u-ks-level2', deterministic = false);`)
      }
    })
    afterAll(() => server?.stop())

    it('of different values differ, and are numbers of 63 bits', async () => {
      for (const values of APART[dialect.name]) {
        const found = await hashes(server, dialect, values.map((value) => `SELECT ${value} AS v`).join(' UNION ALL '))
        expect([values, new Set(found).size]).toEqual([values, values.length])
        for (const hash of found) expect(hash).toMatch(/^\d{1,19}$/)
        expect(found.every((hash) => BigInt(hash) < 2n ** 63n)).toBe(true)
      }
    })

    it('of values of other types differ, whatever their bytes', async () => {
      for (const [one, other] of TYPES_APART[dialect.name]) {
        const [a] = await hashes(server, dialect, `SELECT ${one} AS v`)
        const [b] = await hashes(server, dialect, `SELECT ${other} AS v`)
        expect([one, other, a === b]).toEqual([one, other, false])
      }
    })

    it('of equal rows are equal, and know which column holds what', async () => {
      const rows = ["'a','b','c'", "'a','b','c'", "'b','a','c'", "'ab','','c'", "'a','bc',''", "'a',NULL,'c'", "NULL,'a','c'", "'a','a','c'", "'b','b','c'", "'','a','c'"] // prettier-ignore
      const sql = `SELECT * FROM (VALUES ${rows.map((row) => `(${row})`).join(', ')}) AS v (x, y, z)`
      const found = await hashes(server, dialect, sql)
      expect(found[0]).toBe(found[1])
      expect(new Set(found).size).toBe(rows.length - 1)
      expect(await hashes(server, dialect, sql)).toEqual(found)
    })

    it('of a naive time depend on the zone that it is read in', async () => {
      const native = dialect.name === 'snowflake' ? 'TIMESTAMP_NTZ' : 'timestamp'
      const sql = `SELECT CAST('2024-07-01 12:00:00' AS ${native}) AS v`
      const [utc, berlin] = [await hashes(server, dialect, sql), await hashes(server, dialect, sql, 'Europe/Berlin')]
      expect(berlin).not.toEqual(utc)
      expect(await hashes(server, dialect, sql, 'Europe/Paris')).toEqual(berlin)
    })

    it('hardly ever meet', async () => {
      const from =
        dialect.name === 'snowflake'
          ? 'SELECT SEQ4() AS n FROM TABLE(GENERATOR(ROWCOUNT => 20000))'
          : 'SELECT n FROM generate_series(1, 20000) AS t (n)'
      const found = await hashes(
        server,
        dialect,
        `SELECT n AS a, n % 7 AS b, CASE WHEN n % 3 = 0 THEN NULL ELSE n END AS c FROM (${from}) AS g`,
      )
      expect(new Set(found).size).toBe(20_000)
    })
  })
}
for (const engine of engines) suite(engine)

describe('hashes in PostgreSQL', () => {
  let server: Server
  beforeAll(async () => {
    server = await POSTGRES.start()
  })
  afterAll(() => server?.stop())

  it('see that a label of an enum was renamed', async () => {
    await server.rows(`CREATE TYPE stage AS ENUM ('lead', 'won')`)
    const before = await hashes(server, POSTGRES.dialect, `SELECT 'won'::stage AS v`)
    await server.rows(`ALTER TYPE stage RENAME VALUE 'won' TO 'customer'`)
    expect(await hashes(server, POSTGRES.dialect, `SELECT 'customer'::stage AS v`)).not.toEqual(before)
  })

  it('are those of equal values, be they of a domain or a narrower type', async () => {
    await server.rows('CREATE DOMAIN age AS int')
    const found = await Promise.all(
      ['7::int2', '7::int4', '7::int8', '7::age'].map((v) => hashes(server, POSTGRES.dialect, `SELECT ${v} AS v`)),
    )
    expect(new Set(found.flat()).size).toBe(1)
  })
})
