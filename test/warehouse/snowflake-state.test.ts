/** A connection to states in Snowflake: statements, transactions, rows in both directions, a model that stays as it was read. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { lit, openDb, type Db } from '../../src/state/db.ts'
import { snowflake } from '../../src/state/warehouse/snowflake.ts'
import { openSql, type Sql } from '../../src/state/warehouse/sql.ts'
import { SNOWFLAKE, sqlglotCheck, withSnowflake, type Snowflake } from '../support/snowflake.ts'
import { snowflakeEntry } from './snowflake-server.ts'
import { failure, model, read } from './support.ts'

describe.skipIf(SNOWFLAKE === null)('a connection to states in Snowflake', () => {
  let server: Snowflake
  let folder: string
  let db: Db
  let close: () => void
  let sql: Sql
  const open = (signal = new AbortController().signal, run: string | null = '01J'): Promise<Sql> => {
    const { account, user, password, host, port, protocol, database, schema, warehouse, role } = server
    return openSql(snowflakeEntry({ account, user, password, host, port, protocol, database, schema, warehouse, role }), {
      root: folder,
      sync: 'crm-contacts',
      run,
      signal,
      schema: 'cdp_sync',
      folder,
      readonly: false,
      progress: () => undefined,
    })
  }
  beforeAll(async () => {
    server = await withSnowflake()
    folder = await mkdtemp(join(tmpdir(), 'cdp-sync-test-'))
    ;({ db, close } = await openDb({ memory: 256 * 1_048_576, threads: 1, spill: join(folder, 'spill') }))
    const first = await open()
    await first.createSchema('cdp_sync')
    await first.createSchema('cdp_sync')
    await first.close()
  })
  afterAll(async () => {
    close?.()
    server?.stop()
    await rm(folder, { recursive: true, force: true })
  })
  beforeEach(async () => {
    sql = await open()
    const { text, integer, boolean } = snowflake.types
    await sql.run(`CREATE OR REPLACE TABLE ${table} (name ${text}, number ${integer}, yes ${boolean})`)
  })
  afterEach(() => sql.close())
  const table = snowflake.table('cdp_sync', 'things')
  const count = async (): Promise<number | undefined> => (await sql.rows<{ n: number }>(`SELECT COUNT(*) AS n FROM ${table}`))[0]?.n

  it('gives rows by names in lower case, with numbers and truths', async () => {
    await sql.run(`INSERT INTO ${table} VALUES ('a', 9007199254740991, TRUE), (NULL, NULL, NULL)`)
    expect(await sql.rows(`SELECT * FROM ${table} ORDER BY name NULLS LAST`)).toStrictEqual([
      { name: 'a', number: 9007199254740991, yes: true },
      { name: null, number: null, yes: null },
    ])
  })

  it('says how many rows a statement wrote', async () => {
    expect(await sql.run(`INSERT INTO ${table} (name) VALUES ('a'), ('b')`)).toBe(2)
    expect(await sql.run(`UPDATE ${table} SET number = 1 WHERE name = 'a'`)).toBe(1)
    expect(await sql.run(`UPDATE ${table} SET number = 1 WHERE name = 'c'`)).toBe(0)
    expect(await sql.run(`DELETE FROM ${table}`)).toBe(2)
  })

  it('brings rows here as texts, and takes rows of any length from here', async () => {
    const texts = ['plain', '', 'quo\'te \\ " \n', 'ö€😀\u2028', 'x'.repeat(100_000)]
    const list = texts.map((text, i) => `(${snowflake.lit(text)}, ${i}, ${i % 2 === 0})`)
    await db.run(`CREATE OR REPLACE TEMP TABLE here (name VARCHAR, number UBIGINT, yes BOOLEAN)`)
    await db.run(
      `INSERT INTO here VALUES ${list.map((row) => row.replaceAll('\\\\', '\\')).join(', ')}, (NULL, NULL, NULL), ('big', 9223372036854775807, true)`,
    )
    const columns = ['name, number', 'yes']
    expect(await sql.load(table, columns, db, 'SELECT name, number::VARCHAR, yes::VARCHAR FROM here')).toBe(7)
    const extract = await sql.fetch(`SELECT name, number, yes FROM ${table} ORDER BY number`, 3, join(folder, 'rows.csv'))
    expect(extract.rows).toBe(7)
    expect(new Set((await read(extract)).map((row) => JSON.stringify(row)))).toStrictEqual(
      new Set(
        [
          ...texts.map((text, i) => [text, String(i), i % 2 === 0 ? 'TRUE' : 'FALSE']),
          [null, null, null],
          ['big', '9223372036854775807', 'TRUE'],
        ].map((row) => JSON.stringify(row)),
      ),
    )
    expect(sql.cost).toMatchObject({ rows: 7 })
    expect((await readdir(folder)).filter((name) => name.startsWith('load-'))).toStrictEqual([])
  })

  it('takes many rows in several documents, and none at all', async () => {
    expect(await sql.load(table, ['name', 'number'], db, `SELECT repeat('x', 1000), range::VARCHAR FROM range(9000)`)).toBe(9000)
    expect(await count()).toBe(9000)
    expect(await sql.load(table, ['name', 'number'], db, `SELECT 'x', '1' FROM range(0)`)).toBe(0)
    expect((await server.statements()).filter((it) => it.sql.includes('PARSE_JSON')).length).toBeGreaterThan(2)
  })

  it('keeps NUL in a text, which a document of JSON does not', async () => {
    const texts = ['a\0b', '\0', '\x010', '\x01', '\x001', '\\u0000', '名\x01\0\x01\0']
    const values = texts.map((text, i) => `(${i}, ${lit(text)})`).join(', ')
    expect(await sql.load(table, ['number', 'name'], db, `SELECT n::VARCHAR, t FROM (VALUES ${values}) v (n, t)`)).toBe(texts.length)
    const rows = await sql.rows<{ name: string }>(`SELECT name FROM ${table} ORDER BY number`)
    expect(rows.map(({ name }) => name)).toStrictEqual(texts)
    expect(await sql.rows(`SELECT COUNT(*) AS n FROM ${table} WHERE name = ${snowflake.lit('a\0b')}`)).toStrictEqual([{ n: 1 }])
  })

  it('sends texts that no statement has room for beside it', async () => {
    const long = "it's a \\ long one, ö? ".repeat(50_000)
    expect(await sql.run(`INSERT INTO ${table} (name, number) SELECT ${snowflake.lit(long)}, 7 WHERE 'a?''b' <> ''`)).toBe(1)
    expect(await sql.rows(`SELECT name, number FROM ${table}`)).toStrictEqual([{ name: long, number: 7 }])
    expect(Math.max(...(await server.statements()).map((it) => it.sql.length))).toBeLessThan(500_000)
  })

  it('writes all of a transaction or nothing', async () => {
    const error = sql.transaction(async () => {
      await sql.run(`INSERT INTO ${table} (name) VALUES ('a')`)
      throw new Error('changed my mind')
    })
    await expect(error).rejects.toThrow('changed my mind')
    expect(await count()).toBe(0)
    expect(
      await sql.transaction(async () => {
        await sql.load(table, ['name'], db, "SELECT 'b'")
        return sql.run(`INSERT INTO ${table} (name) VALUES ('c')`)
      }),
    ).toBe(1)
    expect(await count()).toBe(2)
  })

  it('lets one of two that update one row wait for the other', async () => {
    await sql.run(`INSERT INTO ${table} VALUES ('lease', 1, NULL)`)
    const other = await open()
    const update = `UPDATE ${table} SET number = number + 1 WHERE name = 'lease' AND number = 1`
    let second: Promise<number> | undefined
    await sql.transaction(async () => {
      expect(await sql.run(update)).toBe(1)
      second = other.run(update)
    })
    expect(await second).toBe(0)
    await other.close()
  })

  it('gives up what an open transaction wrote when it is closed', async () => {
    const other = await open()
    await other.run('BEGIN TRANSACTION')
    await other.run(`INSERT INTO ${table} (name) VALUES ('a')`)
    await other.close()
    expect(await count()).toBe(0)
  })

  it('inserts a row once', async () => {
    const insert = (): Promise<number> => sql.insertNew(table, 'name, number', "'lease', 1", "name = 'lease'")
    expect(await insert()).toBe(1)
    expect(await insert()).toBe(0)
    expect(await count()).toBe(1)
  })

  it('keeps a model as it was read, under the names that users write, and temporary tables beside it', async () => {
    await sql.run(`INSERT INTO ${table} VALUES ('a', 1, TRUE), ('b', 2, TRUE)`)
    const query = model(`SELECT name AS user_id, number AS "theNumber", name AS "FIRST NAME" FROM ${table}`, 'user_id IS NOT NULL')
    const temporary = { cdp_keys: [`key ${snowflake.types.text}`] }
    const number = { name: 'theNumber', type: 'integer', native: 'NUMBER(38,0)' } as const
    await sql.workspace(temporary, query, async (workspace) => {
      await sql.run(`DELETE FROM ${table}`)
      await sql.load(workspace.temporary('cdp_keys'), ['key'], db, "SELECT 'b'")
      const ident = (name: string): string => snowflake.ident(name)
      expect(
        await sql.rows(
          `SELECT m.${ident('user_id')}, ${workspace.raw(number)} AS raw FROM ${workspace.model} m JOIN ${workspace.temporary('cdp_keys')} k ON k.key = m.${ident('user_id')}`,
        ),
      ).toStrictEqual([{ user_id: 'b', raw: '2' }])
    })
    expect(await failure(sql.rows(`SELECT * FROM ${snowflake.table('cdp_sync', 'cdp_keys')}`))).toMatchObject({ code: 'CDP4042' })
    expect(await failure(sql.workspace({}, model(`SELECT nobody FROM ${table}`), () => Promise.resolve()))).toMatchObject({
      code: 'CDP2100',
      where: 'models/contacts.sql:1:8',
    })
  })

  it('says what is wrong with the database', async () => {
    expect(await failure(sql.rows('SELECT * FROM nobody'))).toMatchObject({ code: 'CDP4042' })
    expect((await failure(sql.run(`INSERT INTO ${table} (number) SELECT 'secret'::NUMBER`))).message).not.toContain('secret')
  })

  it('stops when it is aborted', async () => {
    const stop = new AbortController()
    const other = await open(stop.signal)
    stop.abort(new Error('interrupted'))
    await expect(other.run('SELECT 1')).rejects.toThrow('interrupted')
    await other.close()
  })

  it('speaks SQL that a second parser takes too, under a tag of sync and run', async () => {
    const said = (await server.statements()).filter((it) => !it.sql.includes('nobody'))
    expect(said.every(({ tag }) => tag === 'cdp-sync sync=crm-contacts run=01J')).toBe(true)
    expect(await sqlglotCheck([...new Set(said.map((it) => it.sql))])).toStrictEqual([])
  })
})
