/** Keys in the SQL of each database are, text for text, those that the local engine makes of an extract. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DuckDBInstance } from '../../src/duckdb.ts'
import type { Dialect } from '../../src/state/warehouse/dialect.ts'
import type { Column } from '../../src/types.ts'
import { canonicalSql } from '../../src/values.ts'
import { extractSql } from '../../src/warehouse/extract.ts'
import { openWarehouse } from '../../src/warehouse/open.ts'
import { wrap } from '../../src/warehouse/model.ts'
import { inFolder, model } from '../warehouse/support.ts'
import { DUCKDB, engines, POSTGRES, type Engine, type Server } from './dialect-engines.ts'

type Rows = (string | null)[][]

/** The keys that the local engine would give to each row: of every column that may be one. */
async function local(server: Server, sql: string, timezone: string | undefined): Promise<{ columns: readonly Column[]; keys: Rows }> {
  const warehouse = await openWarehouse(server.entry(timezone), { root: '/' })
  const columns = await warehouse.describe(model(sql))
  return inFolder(async (folder) => {
    const extract = await warehouse.extract(model(sql), columns, folder, { signal: new AbortController().signal, progress: () => {} })
    const db = await (await DuckDBInstance.create(':memory:')).connect()
    const list = columns.flatMap(({ type }, i) => (mayBeKey(type) ? [`'=' || ${canonicalSql(type, `c${i}`)}`] : []))
    const found = await db.runAndReadAll(`SELECT ${list.join(', ')} FROM ${extractSql(extract)}`)
    db.closeSync()
    await warehouse.close()
    return { columns, keys: found.getRows() as Rows }
  })
}

const mayBeKey = (type: Column['type']): boolean => type !== 'float' && type !== 'json'

/** The same in the database. */
async function there(
  server: Server,
  dialect: Dialect,
  sql: string,
  columns: readonly Column[],
  timezone: string | undefined,
): Promise<Rows> {
  const keys = columns.map((column) => dialect.key(column, timezone)).filter((key) => key !== null)
  const list = keys.map((key, i) => `'=' || ${key} AS k${i}`).join(', ')
  return (await server.rows(wrap(model(sql), sql, list).sql)).map((row) => keys.map((_, i) => row[`k${i}`] ?? null))
}

const SETUP: Readonly<Record<Dialect['name'], string>> = {
  postgres: `
    CREATE EXTENSION citext;
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE DOMAIN cents AS numeric(12, 2);
    CREATE DOMAIN code AS char(4);
    CREATE DOMAIN address AS citext;
    CREATE TYPE pair AS (a int, b text);
    CREATE COLLATION nobody (provider = icu, locale = 'und-u-ks-level2', deterministic = false);`,
  duckdb: '',
  snowflake: '',
}

/** Expressions of every type; NULLs are added. */
const VALUES: Readonly<Record<Dialect['name'], readonly string[]>> = {
  postgres: [
    '9223372036854775807::int8', '(-9223372036854775808)::int8', '(-1)::int2', '0', '4294967295::oid',
    '1.50::numeric(12,4)', '100::numeric', '100.00::numeric', '(-0.0)::numeric', '(-0.10)::numeric', '0.000', '1e30::numeric', '1e-30::numeric',
    '12.30::cents', "'NaN'::numeric", "'Infinity'::numeric", "'-Infinity'::numeric", '1e1000::numeric', '1200::numeric(2,-2)', '10::numeric(10,0)',
    'true', 'false',
    "date '2024-02-29'", "date '0044-03-15 BC'", "date '10000-01-01'", "date 'infinity'", "date '-infinity'", "date '5874897-12-31'", "date '4714-11-24 BC'",
    "time '23:59:59.999999'", "time '12:00:00.500'", "time '24:00:00'", "time(0) '12:00:00.5'",
    "timetz '12:00:00.5+05:30'", "timetz '12:00:00-03'", "timetz '12:00:00+00'",
    "timestamp '2024-01-01 00:00:00'", "timestamp '1969-12-31 23:59:59.999999'", "timestamp '2024-07-01 00:00:00.100'", "timestamp(3) '2024-07-01 00:00:00.1239'",
    "timestamp '0044-03-15 12:00:00.5 BC'", "timestamp '0001-01-01 00:00:00'", "timestamp '0001-12-31 23:59:59.9 BC'", "timestamp '10000-01-01 00:00:00'", "timestamp '294276-12-31 12:00:00'",
    "timestamp '-infinity'", "timestamp 'infinity'", "timestamp '2024-03-31 02:30:00'", "timestamp '2024-10-27 02:30:00'",
    "timestamptz '2024-07-01 12:00:00+02'", "timestamptz '9999-12-31 23:59:59.999999+00'", "timestamptz '0044-03-15 12:00:00+00 BC'", "timestamptz 'infinity'", "timestamptz '-infinity'",
    "'\\x00ff10'::bytea", "''::bytea", "decode(repeat('00ff7f', 100), 'hex')",
    "'MiXed'::citext", "'MiXed'::address", "'ab'::char(5)", "'ab'::code", "'ab  '::bpchar", "'ab  '::varchar(4)", "'x'::\"char\"", "'n'::name", "'MiXed' COLLATE nobody",
    "'happy'::mood", "'6F9619FF-8B86-D011-B42D-00C04FC964FF'::uuid", "'10.0.0.1'::inet", "'10.0.0.1/8'::inet", "'10.0.0.0/8'::cidr", "'101'::bit(3)", "'[1,5)'::int4range",
    "interval '1 year 2 months -3 days 04:05:06.500'", "interval '0'", "'<a/>'::xml", "'12.34'::money", "'pg_class'::regclass", "'(1,2)'::point", "'08:00:2b:01:02:03'::macaddr",
    "''", "' '", "'a\n\"b\\\\,\t'", "'😀\u2028'",
    '1.5::float8', "'NaN'::float4", "'{}'::json", "'{}'::jsonb", 'array[1]', "row(1, 'a')::pair",
  ],
  duckdb: [
    '9223372036854775807::BIGINT', '(-1)::TINYINT', '18446744073709551615::UBIGINT', '170141183460469231731687303715884105727::HUGEINT', "'1234567890123456789012345678901234567890123'::BIGNUM",
    '1.50::DECIMAL(12,4)', '100::DECIMAL(12,2)', '(-0.0)::DECIMAL(3,1)', '0.25::DECIMAL(2,2)', '(-0.25)::DECIMAL(2,2)', '0.00::DECIMAL(2,2)', '1234567890123456789012345678.0123456789::DECIMAL(38,10)',
    'true', 'false', "DATE '2024-02-29'", "DATE '0044-03-15 (BC)'", "DATE '10000-01-01'", "DATE 'infinity'", "DATE '-infinity'",
    "TIME '23:59:59.999999'", "TIME '24:00:00'", "TIMETZ '12:00:00.5+05:30'", "TIMESTAMP '2024-01-01 00:00:00'", "TIMESTAMP '1969-12-31 23:59:59.999999'",
    "TIMESTAMP_S '2024-01-01 00:00:00'", "TIMESTAMP_MS '1901-01-01 00:00:00.100'", "TIMESTAMP_NS '2024-01-01 00:00:00.123456789'", "TIMESTAMP '0044-03-15 (BC) 12:00:00.5'", "TIMESTAMP '-infinity'",
    "TIMESTAMPTZ '2024-07-01 12:00:00+02'", "TIMESTAMPTZ 'infinity'", "TIMESTAMPTZ '0044-03-15 (BC) 12:00:00+00'", "TIMESTAMP '2024-03-31 02:30:00'",
    "'\\x00\\xFF\\x10'::BLOB", "''::BLOB", "'6F9619FF-8B86-D011-B42D-00C04FC964FF'::UUID", "'happy'::ENUM('sad', 'happy')", "'101'::BIT", "INTERVAL '1 year 2 months -3 days 04:05:06.500'",
    "''", "' '", "'a\n\"b\\,\t'", "'MiXed' COLLATE NOCASE", '1.5::DOUBLE', "'{}'::JSON", '[1]',
  ],
  snowflake: [
    '12345678901234567890123456789012345678::NUMBER(38,0)', '-1::NUMBER(38,0)', '0::NUMBER(5,0)', "'1.50'::NUMBER(12,4)", "'100'::NUMBER(12,2)", "'-0.10'::NUMBER(12,2)", "'0'::NUMBER(12,2)", "'0.25'::NUMBER(2,2)",
    'TRUE', 'FALSE', "'2024-02-29'::DATE", "'03:04:05.500'::TIME", "'10:00:00'::TIME",
    "'2024-01-01 00:00:00'::TIMESTAMP_NTZ", "'2024-07-01 10:20:30.120'::TIMESTAMP_NTZ", "'1969-12-31 23:59:59.999999'::TIMESTAMP_NTZ", "'2024-07-01 10:00:00'::TIMESTAMP_LTZ",
    "TO_BINARY('00AbFf10', 'HEX')", "TO_BINARY('', 'HEX')", "TO_BINARY(REPEAT('00ff7f', 100), 'HEX')",
    "''", "' '", "'a\\n\"b\\\\,\\t'", "'MiXed'", "'😀'", "'1.5'::FLOAT", "PARSE_JSON('{}')",
  ],
} // prettier-ignore

function suite({ name, dialect, missing, start }: Engine): void {
  describe.skipIf(missing)(`keys in ${name}`, () => {
    let server: Server
    beforeAll(async () => {
      server = await start()
      if (SETUP[dialect.name] !== '') await server.rows(SETUP[dialect.name])
    })
    afterAll(() => server?.stop())

    it.each([undefined, 'Europe/Berlin'])(
      'are those of the local engine, for a value of each type (naive times in %s)',
      async (timezone) => {
        const values = VALUES[dialect.name]
        const sql = `SELECT ${values.map((value, i) => `${value} AS v${i}`).join(', ')}`
        const { columns, keys } = await local(server, sql, timezone)
        const found = await there(server, dialect, sql, columns, timezone)
        const named = values.filter((_, i) => dialect.key(columns[i] as Column, timezone) !== null)
        expect(named.map((value, i) => [value, found[0]?.[i]])).toEqual(named.map((value, i) => [value, keys[0]?.[i]]))
        expect(found[0]).not.toContain(null)
        expect(columns.map((column) => dialect.key(column, timezone) !== null)).toEqual(columns.map(({ type }) => mayBeKey(type)))
      },
    )

    it('of NULL are NULL', async () => {
      const sql = `SELECT ${VALUES[dialect.name].map((value, i) => `CASE WHEN 1 = 0 THEN ${value} END AS v${i}`).join(', ')}`
      const { columns, keys } = await local(server, sql, undefined)
      expect(await there(server, dialect, sql, columns, undefined)).toEqual(keys)
      expect(new Set(keys[0])).toEqual(new Set([null]))
    })
  })
}
for (const engine of engines) suite(engine)

describe('keys in PostgreSQL', () => {
  let server: Server
  beforeAll(async () => {
    server = await POSTGRES.start()
    await server.rows(SETUP.postgres)
  })
  afterAll(() => server?.stop())

  it('are those of the local engine for many thousands of numbers and times', async () => {
    await server.rows(`
      SELECT setseed(0.5);
      CREATE TABLE many AS SELECT n,
        ((random() - 0.5) * power(10, n % 25))::numeric(40, 10) AS a, round((random() - 0.5)::numeric * 1000, n % 5) AS b,
        timestamp '2000-01-01' + (random() - 0.5) * interval '8000 years' AS c, timestamptz '2000-01-01 00:00+00' + random() * interval '50 years' AS d,
        date '2000-01-01' + ((random() - 0.5) * 4000000)::int AS e, time '00:00' + random() * interval '23 hours' AS f,
        ((random() - 0.5) * 1.8e19)::numeric(19, 0)::int8 / 2 AS g, decode(md5(n::text) || repeat('00', n % 70), 'hex') AS h
      FROM generate_series(1, 20000) n`)
    const sql = 'SELECT * FROM many ORDER BY n'
    for (const timezone of [undefined, 'America/New_York']) {
      const { columns, keys } = await local(server, sql, timezone)
      expect(keys).toHaveLength(20_000)
      const found = await there(server, POSTGRES.dialect, sql, columns, timezone)
      const sorted = (rows: Rows): string[] => rows.map((row) => row.join()).sort()
      expect(sorted(found)).toEqual(sorted(keys))
    }
  })

  it('compare byte by byte, whatever the collation or the type of their column', async () => {
    const column = (native: string): Column => ({ name: 'v', type: 'string', native })
    for (const [type, native] of [['text COLLATE nobody', 'text'], ['citext', 'citext'], ['address', 'citext'], ['text COLLATE "C"', 'text']] as const) {
      const key = POSTGRES.dialect.key(column(native), undefined)
      const email = POSTGRES.dialect.normalise('mailbox', key ?? '')
      const rows = await server.rows(`
        WITH model AS (SELECT v::${type} AS v FROM (VALUES ('b'), ('A'), ('a'), ('ä'), ('B')) AS t (v))
        SELECT ${key} AS key, count(*) AS n, min(${email}) AS email FROM model GROUP BY ${key} ORDER BY ${key}`)
      expect(rows.map((row) => [row['key'], row['n'], row['email']])).toEqual([['A', '1', 'a'], ['B', '1', 'b'], ['a', '1', 'a'], ['b', '1', 'b'], ['ä', '1', 'ä']])
    }
  }) // prettier-ignore
})

describe('keys in DuckDB', () => {
  it('compare byte by byte, whatever the collation of their column', async () => {
    const server = await DUCKDB.start()
    const { dialect } = DUCKDB
    const key = dialect.key({ name: 'v', type: 'string', native: 'VARCHAR' }, undefined) ?? ''
    await server.rows(`CREATE TABLE loose (v VARCHAR COLLATE NOCASE); INSERT INTO loose VALUES ('b'), ('A'), ('a'), ('ä'), ('B')`)
    for (const text of [key, dialect.normalise('trim', key), dialect.list([key, key]), `${dialect.lit('email:')} || ${key}`]) {
      const rows = await server.rows(`SELECT k, count(*) AS n FROM (SELECT ${text} AS k FROM loose) GROUP BY k ORDER BY k`)
      expect(rows.map(({ k, n }) => [k?.replace(/^\[?"?(email:)?(.).*$/, '$2'), n])).toEqual(
        ['A', 'B', 'a', 'b', 'ä'].map((it) => [it, '1']),
      )
    }
    await server.stop()
  })
})
