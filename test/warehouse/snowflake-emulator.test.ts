/** The stand-in for Snowflake answers as Snowflake would: what other tests rest on. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SNOWFLAKE, sqlglotCheck, withSnowflake, type Snowflake } from '../support/snowflake.ts'

describe.skipIf(SNOWFLAKE === null)('the stand-in for Snowflake', () => {
  let db: Snowflake
  beforeAll(async () => {
    db = await withSnowflake()
  })
  afterAll(() => db?.stop())

  it('gives each value as the text that the JSON format of results has', async () => {
    const [row] = await db.query(`SELECT 1.50::NUMBER(10,2) AS n, TRUE AS b, NULL AS z, '2020-01-02'::DATE AS d,
      '1969-12-31 23:59:59.25'::TIMESTAMP_NTZ AS ts, '03:04:05.5'::TIME AS tm, 0.1::FLOAT AS f, TO_BINARY('abcd', 'HEX') AS x`)
    expect(row).toEqual({
      N: '1.50',
      B: '1',
      Z: null,
      D: '18263',
      TS: '-0.750000000',
      TM: '11045.500000000',
      F: '0.1',
      X: 'ABCD',
    })
  })

  it('names the statements that do not parse', async () => {
    const right = [
      `CREATE TABLE IF NOT EXISTS a.b (k VARCHAR NOT NULL)`,
      `BEGIN TRANSACTION`,
      `SELECT f.value[0]::VARCHAR FROM TABLE(FLATTEN(INPUT => PARSE_JSON($$[["a"]]$$))) AS f QUALIFY ROW_NUMBER() OVER (ORDER BY 1) = 1`,
      `MERGE INTO t USING s ON t.k = s.k WHEN MATCHED AND s.gone THEN DELETE WHEN NOT MATCHED THEN INSERT (k) VALUES (s.k)`,
      `GRANT USAGE ON SCHEMA a.b TO ROLE r`,
      `ALTER SESSION SET QUERY_TAG = 'x'`,
    ]
    const wrong = [`SELECT 1 FROM (SELECT 2`, `SELECT 'abc`, `UPDAET t SET x = 1`]
    expect((await sqlglotCheck([...right, ...wrong])).map((it) => it.split(':')[0])).toEqual(wrong)
  })
})
