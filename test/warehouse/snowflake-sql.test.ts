/** The SQL that reads models out of Snowflake, as far as an emulator and a parser can tell. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AuthError } from '../../src/errors.ts'
import type { Column } from '../../src/types.ts'
import { canonical, toCell } from '../../src/values.ts'
import { openWarehouse } from '../../src/warehouse/open.ts'
import { shownName, snowflakeBody, snowflakeRaw, snowflakeText, toColumn } from '../../src/warehouse/snowflake-types.ts'
import type { Warehouse } from '../../src/warehouse/warehouse.ts'
import { SNOWFLAKE, sqlglotCheck, withSnowflake, type Snowflake } from '../support/snowflake.ts'
import { snowflakeEntry } from './snowflake-server.ts'
import { failure, model, run } from './support.ts'

const column = (type: string, precision = 38, scale = 0): Column => {
  const found = toColumn({ name: 'C', type, precision, scale })
  if (found === null) throw new Error(type)
  return found
}

const COLUMNS = [
  column('fixed'),
  column('fixed', 10, 2),
  ...['real', 'text', 'boolean', 'date', 'binary', 'variant', 'object', 'array', 'map'].map((type) => column(type)),
  ...['time', 'timestamp_ntz', 'timestamp_ltz', 'timestamp_tz'].map((type) => column(type, 0, 9)),
]

describe('names', () => {
  it('are shown in lower case where Snowflake folded them, and as they are where they were quoted', () => {
    expect(['USER_ID', '_X$1', 'userId', 'user_id', 'FIRST NAME', 'COUNT(*)', 'ÄRA', '1ST'].map(shownName)).toStrictEqual([
      'user_id',
      '_x$1',
      'userId',
      'user_id',
      'FIRST NAME',
      'COUNT(*)',
      'ÄRA',
      '1ST',
    ])
  })
})

describe('types', () => {
  it('are ours, with precision and scale in their name', () => {
    expect(COLUMNS.map(({ native, type }) => `${native} ${type}`)).toStrictEqual([
      'NUMBER(38,0) integer',
      'NUMBER(10,2) decimal',
      'FLOAT float',
      'VARCHAR string',
      'BOOLEAN boolean',
      'DATE date',
      'BINARY bytes',
      'VARIANT json',
      'OBJECT json',
      'ARRAY json',
      'MAP json',
      'TIME(9) time',
      'TIMESTAMP_NTZ(9) timestamp',
      'TIMESTAMP_LTZ(9) timestamptz',
      'TIMESTAMP_TZ(9) timestamptz',
    ])
  })

  it('that have no text are none', () => {
    for (const type of ['vector', 'geography', 'geometry', 'decfloat', 'file', 'something_new'])
      expect(toColumn({ name: 'C', type, precision: 0, scale: 0 })).toBeNull()
  })
})

describe('the end of a statement', () => {
  it.each([
    ['SELECT 1', 'SELECT 1', false],
    ['SELECT 1; -- done\n; // really\n/* yes */', 'SELECT 1', false],
    ["SELECT 'a;b', 'it\\'s; here', \"x;y\", 'it''s;'", "SELECT 'a;b', 'it\\'s; here', \"x;y\", 'it''s;'", false],
    ['SELECT $$ a; b $$ -- c; d\n, 2 // e; f\n, 3 /* g; h */;', 'SELECT $$ a; b $$ -- c; d\n, 2 // e; f\n, 3 /* g; h */', false],
    ['SELECT 1; SELECT 2', 'SELECT 1', true],
    ["SELECT 1; 'x'", 'SELECT 1', true],
  ])('of %s', (sql, body, more) => {
    expect(snowflakeBody(sql)).toStrictEqual({ body, more })
  })
})

describe.skipIf(SNOWFLAKE === null)('models in Snowflake', () => {
  let db: Snowflake
  let warehouse: Warehouse
  const entry = (settings = {}): ReturnType<typeof snowflakeEntry> => {
    const { account, user, password, host, port, protocol, database, schema, warehouse: name, role } = db
    return snowflakeEntry({ account, user, password, host, port, protocol, database, schema, warehouse: name, role, ...settings })
  }
  beforeAll(async () => {
    db = await withSnowflake()
    warehouse = await openWarehouse(entry(), { root: '/' })
    await db.query('CREATE TABLE people (user_id NUMBER(38,0), "lastName" VARCHAR, "zip" VARCHAR, score NUMBER(10,2))')
    await db.query(`INSERT INTO people VALUES (1, 'o''Neil', 'x', 1.50), (2, NULL, 'y', -0.05), (3, '', NULL, NULL)`)
  })
  afterAll(() => db?.stop())

  const texts = async (sql: string): Promise<(string | null)[]> => (await run(warehouse, model(sql))).rows.map(([text]) => text ?? null)

  it('are read by the names that users write, folded and quoted ones alike', async () => {
    const { rows, columns } = await run(warehouse, model('SELECT * FROM people ORDER BY user_id;'))
    expect(columns.map(({ name }) => name)).toStrictEqual(['user_id', 'lastName', 'zip', 'score'])
    expect(rows).toStrictEqual([
      ['1', "o'Neil", 'x', '1.50'],
      ['2', null, 'y', '-0.05'],
      ['3', '', null, null],
    ])
  })

  it('take a condition, and bring only the columns that are wanted', async () => {
    const { rows } = await run(warehouse, model('SELECT * FROM people -- all', 'user_id > 1 // later\n AND "zip" IS NOT NULL'), {
      wanted: ['lastName'],
    })
    expect(rows).toStrictEqual([[null]])
  })

  it('can not have two columns that differ in capitals alone', async () => {
    const error = await failure(warehouse.describe(model('SELECT user_id, "zip" AS "user_id" FROM people')))
    expect(error).toMatchObject({ code: 'CDP2103', hint: expect.stringContaining('AS') as string })
  })

  it('keep every digit of a number', async () => {
    const numbers = ['12345678901234567890123456789012345678', '-12345678901234567890123456789012345678', '0', '-1']
    expect(await texts(numbers.map((it) => `SELECT ${it}::NUMBER(38,0) AS n`).join(' UNION ALL '))).toStrictEqual(numbers)
    const decimals = ['1234567890123456789.0123456789012345678', '-0.0000000000000000001', '0.5000000000000000000']
    expect(await texts(decimals.map((it) => `SELECT '${it}'::NUMBER(38,19) AS n`).join(' UNION ALL '))).toStrictEqual(decimals)
  })

  it('keep every float', async () => {
    const floats = [0.1, 0.1 + 0.2, 1 / 3, -1e-7, 1.7976931348623157e308, 5e-324, 123456789.12345679, 0, 1e21, 4503599627370496]
    const read = await texts(floats.map((it) => `SELECT '${it}'::FLOAT AS f`).join(' UNION ALL '))
    expect(read.map((text) => toCell('float', text ?? ''))).toStrictEqual(floats.map((it) => `j${JSON.stringify(it)}`))
    expect(
      await texts("SELECT 'NaN'::FLOAT AS f UNION ALL SELECT 'inf'::FLOAT UNION ALL SELECT '-inf'::FLOAT UNION ALL SELECT NULL::FLOAT"),
    ).toStrictEqual(['NaN', 'Infinity', '-Infinity', null])
  })

  it('keep times to the last digit that there is, in UTC', async () => {
    const times = async (sql: string): Promise<string[]> => (await texts(sql)).map((text) => canonical('timestamptz', text ?? ''))
    const both = "SELECT '2020-01-02 03:04:05.123456'::TIMESTAMP_NTZ AS t UNION ALL SELECT '1969-12-31 23:59:59'::TIMESTAMP_NTZ"
    expect(await times(both)).toStrictEqual(['2020-01-02T03:04:05.123456Z', '1969-12-31T23:59:59Z'])
    expect(await times("SELECT '2020-07-01 10:00:00'::TIMESTAMP_LTZ AS t")).toStrictEqual(['2020-07-01T10:00:00Z'])
    expect(await texts("SELECT '03:04:05.500'::TIME AS t UNION ALL SELECT '10:00:00'::TIME")).toStrictEqual(['03:04:05.5', '10:00:00'])
    expect(await texts("SELECT '0044-03-15'::DATE AS d UNION ALL SELECT '9999-12-31'::DATE")).toStrictEqual(['0044-03-15', '9999-12-31'])
  })

  it('take naive times for those of the zone of the entry', async () => {
    const berlin = await openWarehouse(entry({ timezone: 'Europe/Berlin' }), { root: '/' })
    const { rows } = await run(berlin, model("SELECT '2020-07-01 10:00:00'::TIMESTAMP_NTZ AS t"))
    expect(rows.map(([text]) => canonical('timestamp', text ?? ''))).toStrictEqual(['2020-07-01T08:00:00Z'])
  })

  it('keep JSON, bytes and truth', async () => {
    expect(
      await texts(`SELECT PARSE_JSON('{"a":[1,null,"x"]}') AS v UNION ALL SELECT PARSE_JSON('null') UNION ALL SELECT NULL`),
    ).toStrictEqual(['{"a":[1,null,"x"]}', 'null', null])
    expect(await texts('SELECT PARSE_JSON(\'[1,"x"]\')::ARRAY AS a')).toStrictEqual(['[1,"x"]'])
    expect(await texts("SELECT OBJECT_CONSTRUCT('a', 1) AS a")).toStrictEqual(['{"a":1}'])
    expect(await texts("SELECT TO_BINARY('00AbFf', 'HEX') AS b UNION ALL SELECT TO_BINARY('', 'HEX')")).toStrictEqual(['\\x00abff', '\\x'])
    expect(await texts('SELECT TRUE AS b UNION ALL SELECT FALSE UNION ALL SELECT NULL')).toStrictEqual(['true', 'false', null])
  })

  it.each([
    ['SELECT 1 AS a; SELECT 2 AS b', 'CDP2102'],
    ['DROP TABLE people', 'CDP2101'],
    ['INSERT INTO people (user_id) VALUES (4)', 'CDP2101'],
    ['-- now\nDELETE FROM people', 'CDP2101'],
    ['SHOW TABLES', 'CDP2101'],
    ['', 'CDP2101'],
    ['SELECT 1 AS a) AS m; DROP TABLE people; SELECT * FROM (SELECT 1 AS a', 'CDP2102'],
    ['SELECT 1 AS a) AS m, (SELECT 2 AS b', 'CDP2100'],
    ['SELECT nobody FROM people', 'CDP2100'],
    ['SELECT * FROM nobody', 'CDP2311'],
  ])('are one query that writes nothing: %s', async (sql, code) => {
    expect(await failure(warehouse.describe(model(sql)))).toMatchObject({ code })
    expect(await db.query('SELECT COUNT(*) AS n FROM people')).toStrictEqual([{ N: '3' }])
  })

  it('say where they are wrong', async () => {
    expect(await failure(warehouse.describe(model('SELECT user_id,\n  nobody\nFROM people')))).toMatchObject({
      message: "invalid identifier 'NOBODY'",
      where: 'models/contacts.sql:2:3',
    })
    expect(await failure(warehouse.describe(model('SELECT 1 AS a', 'a > ')))).toMatchObject({ code: 'CDP2104' })
    expect(await failure(warehouse.describe(model('SELECT 1 AS a', 'a > 0) OR (1 = 1')))).toMatchObject({ code: 'CDP2104' })
    expect(await failure(warehouse.describe(model('SELECT 1 AS a', 'a > 0 ORDER BY 1')))).toMatchObject({ code: 'CDP2104' })
  })

  it('are refused to a wrong password', async () => {
    expect(await failure((await openWarehouse(entry({ password: 'wrong' }), { root: '/' })).check())).toBeInstanceOf(AuthError)
  })

  it('are asked for in SQL that a second parser of Snowflake takes too', async () => {
    const said = (await db.statements()).map(({ sql }) => sql).filter((sql) => !/nobody|DROP|INSERT|DELETE|SHOW|AS b$|\(\n\n\)/.test(sql))
    const conditions = said.filter((sql) => !/a > (\n|$|0\) OR|0 ORDER)/.test(sql))
    const list = COLUMNS.map((it, i) => snowflakeRaw(`"C${i}"`, it, 'Europe/Berlin')).join(', ')
    expect(conditions.length).toBeGreaterThan(50)
    expect(await sqlglotCheck([...new Set(conditions), `SELECT ${list} FROM t`, `SELECT ${snowflakeText("a\\b'c")}`])).toStrictEqual([])
  })
})
