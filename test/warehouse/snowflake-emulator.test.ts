/** The stand-in for Snowflake answers the driver as Snowflake would: what other tests rest on. */
import { generateKeyPairSync } from 'node:crypto'
import snowflake, { type Connection, type ConnectionOptions, type RowStatement, type StatementOption } from 'snowflake-sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SNOWFLAKE, sqlglotCheck, withSnowflake, type Snowflake } from '../support/snowflake.ts'

snowflake.configure({ logLevel: 'OFF' })

interface Answer {
  readonly rows: readonly Record<string, unknown>[]
  readonly statement: RowStatement
}

describe.skipIf(SNOWFLAKE === null)('the stand-in for Snowflake', () => {
  const keys = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  const opened: Connection[] = []
  let db: Snowflake
  let one: Connection
  let other: Connection

  async function connect(options: Partial<ConnectionOptions> = {}): Promise<Connection> {
    const { account, url: accessUrl, user: username, password, database, schema, warehouse, role } = db
    const connection = snowflake.createConnection({
      account,
      accessUrl,
      username,
      password,
      database,
      schema,
      warehouse,
      role,
      representNullAsStringNull: false,
      ...options,
    })
    // connectAsync() would resolve for a refused login, too: only the callback hears of it.
    await new Promise<void>((resolve, reject) => {
      connection.connect((error) => (error ? reject(error) : resolve()))
    })
    opened.push(connection)
    return connection
  }

  function run(connection: Connection, sqlText: string, options: Partial<StatementOption> = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const complete: StatementOption['complete'] = (error, statement, rows) =>
        error ? reject(error) : resolve({ rows: rows ?? [], statement })
      connection.execute({ sqlText, ...options, complete })
    })
  }

  const rows = async (connection: Connection, sql: string): Promise<readonly Record<string, unknown>[]> => (await run(connection, sql)).rows

  beforeAll(async () => {
    db = await withSnowflake({ schemas: ['CDP_SYNC'], publicKey: keys.publicKey, idleTransaction: 1 })
    ;[one, other] = [await connect(), await connect()]
  })
  afterAll(async () => {
    for (const it of opened) await new Promise<void>((done) => it.destroy(() => done()))
    db?.stop()
  })

  it('gives each value as the text that the JSON format of results has', async () => {
    const [row] = await db.query(`SELECT 1.50::NUMBER(10,2) AS n, TRUE AS b, NULL AS z, '2020-01-02'::DATE AS d,
      '1969-12-31 23:59:59.25'::TIMESTAMP_NTZ AS ts, '2020-01-02 03:04:05 +02:00'::TIMESTAMP_TZ AS tz, '03:04:05.5'::TIME AS tm,
      0.1::FLOAT AS f, TO_BINARY('abcd', 'HEX') AS x, PARSE_JSON('{"a":[1,null]}') AS v, 12345678901234567890123456789012345678::NUMBER AS i`)
    expect(row).toEqual({
      N: '1.50',
      B: '1',
      Z: null,
      D: '18263',
      TS: '-0.750000000',
      TZ: '1577927045.000000000 1440',
      TM: '11045.500000000',
      F: '0.1',
      X: 'ABCD',
      V: '{"a":[1,null]}',
      I: '12345678901234567890123456789012345678',
    })
  })

  it('gives the driver values and texts of each type', async () => {
    const sql = `SELECT 1.50::NUMBER(10,2) AS n, TRUE AS b, NULL::NUMBER AS z, '2020-01-02'::DATE AS d, TO_BINARY('abcd', 'HEX') AS x,
      '2020-01-02 03:04:05.123'::TIMESTAMP_NTZ AS ts, '2020-01-02 03:04:05 +02:00'::TIMESTAMP_TZ AS tz, PARSE_JSON('[1]') AS v`
    expect((await rows(one, sql))[0]).toMatchObject({ N: 1.5, B: true, Z: null, V: [1] })
    const fetchAsString: StatementOption['fetchAsString'] = ['Number', 'Date', 'Buffer', 'Boolean', 'JSON']
    const texts = { N: '1.50', B: 'TRUE', Z: null, D: '2020-01-02', X: 'ABCD', V: '[1]' }
    const times = { TS: '2020-01-02 03:04:05.123', TZ: '2020-01-02 01:04:05.000 +0000' }
    expect((await run(one, sql, { fetchAsString })).rows).toEqual([{ ...texts, ...times }])
  })

  it('streams a result of several files, whole and in order', async () => {
    const sql = 'SELECT SEQ4() AS id FROM TABLE(GENERATOR(ROWCOUNT => 50000)) ORDER BY id'
    const { statement } = await run(one, sql, { streamResult: true })
    const ids: number[] = []
    for await (const row of statement.streamRows() as AsyncIterable<{ ID: number }>) ids.push(row.ID)
    expect(ids).toEqual(Array.from({ length: 50_000 }, (_, at) => at))
    expect(statement.getNumRows()).toBe(50_000)
  })

  it('describes a query without running it', async () => {
    await run(one, 'CREATE OR REPLACE TABLE described (id NUMBER, name VARCHAR, at TIMESTAMP_NTZ, price NUMBER(10,2), doc VARIANT)')
    const { statement } = await run(one, 'WITH x AS (SELECT * FROM described) SELECT * FROM x', { describeOnly: true })
    const columns = statement.getColumns()?.map((it) => [it.getName(), it.getType(), it.getScale(), it.getPrecision()])
    expect(columns).toEqual([
      ['ID', 'fixed', 0, 38],
      ['NAME', 'text', null, null],
      ['AT', 'timestamp_ntz', 9, 0],
      ['PRICE', 'fixed', 2, 10],
      ['DOC', 'variant', null, null],
    ])
    await run(one, 'INSERT INTO described (id) VALUES (1)', { describeOnly: true })
    expect(await rows(one, 'SELECT * FROM described')).toEqual([])
  })

  it('says how many rows a statement wrote', async () => {
    await run(one, 'CREATE OR REPLACE TABLE counted (id NUMBER, name VARCHAR)')
    const count = async (sql: string): Promise<number | undefined> => (await run(one, sql)).statement.getNumUpdatedRows()
    expect(await count("INSERT INTO counted VALUES (1, 'a'), (2, 'b'), (3, 'c')")).toBe(3)
    expect(await count("UPDATE counted SET name = 'x' WHERE id > 1")).toBe(2)
    expect(await count("UPDATE counted SET name = s.name FROM (SELECT 1 AS id, 'y' AS name) AS s WHERE s.id = counted.id")).toBe(1)
    const source = "(SELECT 3 AS id, 'z' AS name UNION ALL SELECT 4, 'new')"
    const merge = `MERGE INTO counted AS t USING ${source} AS s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = s.name
      WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)`
    expect(await count(merge)).toBe(2)
    expect(await count('DELETE FROM counted USING (SELECT 1 AS id) AS s WHERE counted.id = s.id')).toBe(1)
    expect(await rows(one, 'SELECT * FROM counted ORDER BY id')).toEqual([
      { ID: 2, NAME: 'x' },
      { ID: 3, NAME: 'z' },
      { ID: 4, NAME: 'new' },
    ])
  })

  it('binds single values, and arrays as one statement', async () => {
    await run(one, 'CREATE OR REPLACE TABLE bound (id NUMBER, name VARCHAR, doc VARIANT)')
    const binds = Array.from({ length: 3000 }, (_, at) => [at, at % 2 === 0 ? `name ${at}` : null, `{"at":${at}}`])
    const { statement } = await run(one, 'INSERT INTO bound SELECT ?, ?, PARSE_JSON(?)', { binds })
    expect(statement.getNumUpdatedRows()).toBe(3000)
    const found = await run(one, 'SELECT id, doc:at::NUMBER AS at FROM bound WHERE name = ?', { binds: ['name 2998'] })
    expect(found.rows).toEqual([{ ID: 2998, AT: 2998 }])
    expect(await rows(one, 'SELECT COUNT(*) AS c FROM bound WHERE name IS NULL')).toEqual([{ C: 1500 }])
  })

  it('keeps or forgets a transaction whole, and DDL ends it', async () => {
    await run(one, 'CREATE OR REPLACE TABLE kept (id NUMBER)')
    const count = async (): Promise<unknown> => (await rows(other, 'SELECT COUNT(*) AS c FROM kept'))[0]?.['C']
    for (const sql of ['BEGIN TRANSACTION', 'INSERT INTO kept VALUES (1)']) await run(one, sql)
    expect(await count()).toBe(0)
    await run(one, 'ROLLBACK')
    expect(await rows(one, 'SELECT * FROM kept')).toEqual([])
    for (const sql of ['BEGIN', 'INSERT INTO kept VALUES (1)', 'COMMIT']) await run(one, sql)
    expect(await count()).toBe(1)
    for (const sql of ['BEGIN', 'INSERT INTO kept VALUES (2)', 'CREATE TABLE ddl (id NUMBER)', 'ROLLBACK']) await run(one, sql)
    expect(await count()).toBe(2)
  })

  it('takes back a statement that failed, and not the transaction it is in', async () => {
    await run(one, 'CREATE OR REPLACE TABLE partly (id NUMBER PRIMARY KEY)')
    await run(one, 'BEGIN')
    await run(one, 'INSERT INTO partly VALUES (?)', { binds: [[1], [2]] })
    await expect(run(one, "INSERT INTO partly SELECT 3 UNION ALL SELECT 'x'::NUMBER")).rejects.toMatchObject({ code: '100038' })
    await run(one, 'UPDATE partly SET id = 1')
    await run(one, 'COMMIT')
    // And no key is enforced.
    expect(await rows(other, 'SELECT * FROM partly')).toEqual([{ ID: 1 }, { ID: 1 }])
  })

  it('lets one session wait for the row that another has changed, and then see it', async () => {
    await run(one, 'CREATE OR REPLACE TABLE leases (holder VARCHAR, fence NUMBER)')
    await run(one, "INSERT INTO leases VALUES ('nobody', 1)")
    const take = (holder: string): string => `UPDATE leases SET holder = '${holder}', fence = fence + 1 WHERE fence = 1`
    await run(one, 'BEGIN')
    await run(one, take('one'))
    const second = run(other, take('other'))
    await run(one, 'COMMIT')
    expect((await second).statement.getNumUpdatedRows()).toBe(0)
    expect(await rows(other, 'SELECT * FROM leases')).toEqual([{ HOLDER: 'one', FENCE: 2 }])

    for (const it of [one, other]) await run(it, 'BEGIN')
    expect(await rows(other, 'SELECT fence FROM leases')).toEqual([{ FENCE: 2 }])
    await run(one, 'UPDATE leases SET fence = fence + 1')
    const third = run(other, 'UPDATE leases SET fence = fence + 1')
    await run(one, 'COMMIT')
    await third
    await run(other, 'COMMIT')
    expect(await rows(one, 'SELECT fence FROM leases')).toEqual([{ FENCE: 4 }])

    await run(one, 'BEGIN')
    await run(one, "UPDATE leases SET holder = 'still one'")
    await run(other, 'ALTER SESSION SET LOCK_TIMEOUT = 0')
    await expect(run(other, 'DELETE FROM leases')).rejects.toMatchObject({ code: '000625' })
    await run(one, 'ROLLBACK')
  })

  it('rolls back what a client has left open once somebody waits for it', async () => {
    const dead = await connect()
    await run(one, 'CREATE OR REPLACE TABLE left_open (id NUMBER)')
    await run(one, 'INSERT INTO left_open VALUES (1)')
    for (const sql of ['BEGIN', 'UPDATE left_open SET id = 2']) await run(dead, sql)
    await run(one, 'UPDATE left_open SET id = id + 10')
    expect(await rows(one, 'SELECT * FROM left_open')).toEqual([{ ID: 11 }])
  })

  it('runs several statements in one request when asked to', async () => {
    await expect(run(one, 'SELECT 1; SELECT 2')).rejects.toMatchObject({ code: '000008' })
    const sql = 'CREATE OR REPLACE TABLE several (id NUMBER); BEGIN; INSERT INTO several VALUES (1); COMMIT'
    await run(one, sql, { parameters: { MULTI_STATEMENT_COUNT: 4 } })
    expect(await rows(other, 'SELECT * FROM several')).toEqual([{ ID: 1 }])
  })

  it('keeps temporary tables to their session', async () => {
    await run(one, 'CREATE OR REPLACE TEMPORARY TABLE passing (id NUMBER)')
    await run(one, 'INSERT INTO passing VALUES (1)')
    expect(await rows(one, 'SELECT * FROM passing')).toEqual([{ ID: 1 }])
    await expect(run(other, 'SELECT * FROM passing')).rejects.toMatchObject({ code: '002003', sqlState: '42S02' })

    await run(one, 'CREATE OR REPLACE TEMPORARY TABLE "CDP_SYNC"."PLACED" AS SELECT 1 AS id')
    await run(one, 'INSERT INTO test.cdp_sync.placed VALUES (2)')
    expect(await rows(one, 'SELECT COUNT(*) AS c, MAX(placed.id) AS m FROM cdp_sync.placed')).toEqual([{ C: 2, M: 2 }])
    await expect(run(other, 'SELECT * FROM cdp_sync.placed')).rejects.toMatchObject({ code: '002003' })
    await run(one, 'DROP TABLE cdp_sync.placed')
    await expect(run(one, 'SELECT * FROM cdp_sync.placed')).rejects.toMatchObject({ code: '002003' })
  })

  it('refuses with code, place and words as Snowflake does', async () => {
    const refused = async (sql: string): Promise<unknown> => {
      const error = (await run(one, sql).catch((it: unknown) => it)) as { code: string; sqlState: string; message: string }
      return [error.code, error.sqlState, error.message]
    }
    await run(one, 'CREATE OR REPLACE TABLE "low" ("id" NUMBER NOT NULL)')
    const compilation = 'SQL compilation error:'
    expect(await refused('SELECT 1 AS a\nFRM x y')).toEqual([
      '001003',
      '42000',
      `${compilation}\nsyntax error line 2 at position 0 unexpected 'FRM'.`,
    ])
    expect(await refused('SELECT\n  nope FROM "low"')).toEqual([
      '000904',
      '42000',
      `${compilation} error line 2 at position 2\ninvalid identifier 'NOPE'`,
    ])
    expect(await refused('SELECT id FROM "low"')).toEqual([
      '000904',
      '42000',
      `${compilation} error line 1 at position 7\ninvalid identifier 'ID'`,
    ])
    expect(await refused('SELECT * FROM low')).toEqual([
      '002003',
      '42S02',
      `${compilation}\nObject 'LOW' does not exist or not authorized.`,
    ])
    expect(await refused('SELECT foo(1)')).toEqual(['002140', '42601', `${compilation}\nUnknown function FOO`])
    expect(await refused("SELECT 'x'::NUMBER")).toEqual(['100038', '22018', "Numeric value 'x' is not recognized"])
    expect(await refused('INSERT INTO "low" VALUES (NULL)')).toEqual(['100072', '22000', 'NULL result in a non-nullable column'])
    expect(await refused('CREATE TABLE "low" (id NUMBER)')).toEqual(['002002', '42710', `${compilation}\nObject 'low' already exists.`])
  })

  it('stops a statement that is cancelled or takes too long', async () => {
    const long =
      'SELECT COUNT(*) AS c FROM TABLE(GENERATOR(ROWCOUNT => 100000)) AS a, TABLE(GENERATOR(ROWCOUNT => 100000000)) AS b WHERE RANDOM() = 1'
    const timeout = run(one, long, { parameters: { STATEMENT_TIMEOUT_IN_SECONDS: 1 } })
    await expect(timeout).rejects.toMatchObject({ code: '000630', sqlState: '57014' })
    const cancelled = await new Promise((resolve) => {
      const statement = one.execute({ sqlText: long, complete: (error) => resolve(error) })
      const again = setInterval(() => statement.cancel((error) => !error && clearInterval(again)), 100)
    })
    expect(cancelled).toMatchObject({ code: '000604', sqlState: '57014' })
  })

  it('knows the session’s tag and time zone, which is not UTC by itself', async () => {
    const at = async (connection: Connection): Promise<unknown> => {
      const sql = "SELECT '2020-01-02 03:04:05'::TIMESTAMP_NTZ::TIMESTAMP_TZ AS at"
      return (await run(connection, sql, { fetchAsString: ['Date'] })).rows[0]?.['AT']
    }
    const connection = await connect()
    expect(await at(connection)).toBe('2020-01-02 11:04:05.000 +0000')
    await run(connection, "ALTER SESSION SET TIMEZONE = 'UTC', QUERY_TAG = 'of the session'")
    expect(await at(connection)).toBe('2020-01-02 03:04:05.000 +0000')
    await run(connection, 'SELECT 1', { parameters: { QUERY_TAG: 'of the statement' } })
    // The driver sends a connection's tag with each statement, over one of the statement's own.
    await run(await connect({ queryTag: 'of the login' }), 'SELECT 1', { parameters: { QUERY_TAG: 'of the statement' } })
    const tags = (await db.statements()).slice(-5).map((it) => it.tag)
    expect(tags).toEqual(['', '', 'of the session', 'of the statement', 'of the login'])
  })

  it('runs a statement once though its reply is lost, and refuses one when told to', async () => {
    await run(one, 'CREATE OR REPLACE TABLE lost (id NUMBER)')
    await db.lose(/^INSERT INTO lost/)
    await run(one, 'INSERT INTO lost VALUES (1)')
    expect(await rows(other, 'SELECT * FROM lost')).toEqual([{ ID: 1 }])
    await db.refuse(/^INSERT INTO lost/, {
      code: '000606',
      state: '57P03',
      message: 'No active warehouse selected in the current session.',
    })
    await expect(run(one, 'INSERT INTO lost VALUES (2)')).rejects.toMatchObject({ code: '000606' })
    expect(await rows(other, 'SELECT * FROM lost')).toEqual([{ ID: 1 }])
  })

  it('lets in by password, token and key pair, and no others', async () => {
    const { token } = db
    for (const authenticator of ['PROGRAMMATIC_ACCESS_TOKEN', 'OAUTH']) await connect({ authenticator, token })
    await connect({ authenticator: 'SNOWFLAKE_JWT', privateKey: keys.privateKey })
    await expect(connect({ password: 'wrong' })).rejects.toMatchObject({ code: '390100' })
    await expect(connect({ authenticator: 'OAUTH', token: 'wrong' })).rejects.toMatchObject({ code: '390303' })
    const { privateKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    })
    await expect(connect({ authenticator: 'SNOWFLAKE_JWT', privateKey })).rejects.toMatchObject({ code: '390144' })
  })

  it('has several databases, each with PUBLIC', async () => {
    const connection = await connect()
    await run(connection, 'CREATE DATABASE app')
    await run(connection, 'CREATE TABLE app.public.things (id NUMBER)')
    await run(connection, 'USE DATABASE test')
    expect(await rows(connection, 'SELECT CURRENT_DATABASE() AS d, CURRENT_SCHEMA() AS s, t.* FROM app.public.things AS t')).toEqual([])
    await run(connection, 'INSERT INTO app.public.things VALUES (1)')
    expect(await rows(other, 'SELECT CURRENT_DATABASE() AS d, CURRENT_SCHEMA() AS s, t.* FROM app.public.things AS t')).toEqual([
      { D: 'TEST', S: 'PUBLIC', ID: 1 },
    ])
  })

  it('names the statements that do not parse', async () => {
    const right = [
      `CREATE TABLE IF NOT EXISTS a.b (k VARCHAR NOT NULL)`,
      `BEGIN TRANSACTION`,
      `SELECT f.value[0]::VARCHAR FROM TABLE(FLATTEN(INPUT => PARSE_JSON($$[["a"]]$$))) AS f QUALIFY ROW_NUMBER() OVER (ORDER BY 1) = 1`,
      `MERGE INTO t USING s ON t.k = s.k WHEN MATCHED AND s.gone THEN DELETE WHEN NOT MATCHED THEN INSERT (k) VALUES (s.k)`,
      `GRANT USAGE ON SCHEMA a.b TO ROLE r; GRANT SELECT ON FUTURE TABLES IN SCHEMA a.b TO ROLE r`,
      `ALTER SESSION SET QUERY_TAG = 'x'`,
    ]
    const wrong = [`SELECT 1 FROM (SELECT 2`, `SELECT 'abc`, `UPDAET t SET x = 1`]
    expect((await sqlglotCheck([...right, ...wrong])).map((it) => it.split(':')[0])).toEqual(wrong)
  })
})
