/** Snowflake where it is easily believed: what counts as one statement, what messages quote, what idles, what is no JSON there. */
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { loadProject } from '../../src/config/load.ts'
import { openDb } from '../../src/state/db.ts'
import { snowflake } from '../../src/state/warehouse/snowflake.ts'
import { openSql, type Sql } from '../../src/state/warehouse/sql.ts'
import type { CdpError } from '../../src/errors.ts'
import { openWarehouse } from '../../src/warehouse/open.ts'
import { snowflakeBody } from '../../src/warehouse/snowflake-types.ts'
import type { Warehouse } from '../../src/warehouse/warehouse.ts'
import { fakeSnowflake, snowflakeEntry, type FakeSnowflake, type Reply, type Script } from './snowflake-server.ts'
import { failure, inFolder, model, run } from './support.ts'

let fake: FakeSnowflake
afterEach(() => fake?.stop())

async function warehouse(script: Script = {}): Promise<Warehouse> {
  fake = await fakeSnowflake(script)
  return openWarehouse(snowflakeEntry({ ...fake.settings, warehouse: 'LOADING' }), { root: '/' })
}
const COLUMNS = [{ name: 'ID', type: 'text' }]
const TEXTS: Reply = { columns: COLUMNS }

describe('statements chained by ->>', () => {
  const chain = 'SELECT 1 AS id) AS m ->> DELETE FROM people ->> SELECT * FROM (SELECT 1 AS id'

  it('are more than one, but for the sign in texts and comments', () => {
    for (const sql of ['SHOW TABLES ->> SELECT * FROM $1', chain]) expect(snowflakeBody(sql)).toStrictEqual({ body: sql, more: true })
    for (const sql of ["SELECT '->>' AS a -- ->>", 'SELECT $$->>$$, "->>" /* ->> */', 'SELECT FILTER(a, x -> x > 1)'])
      expect(snowflakeBody(sql)).toStrictEqual({ body: sql, more: false })
  })

  it('are refused before the server hears of them, in a model and in a condition', async () => {
    const it = await warehouse({ query: () => TEXTS })
    expect(await failure(it.describe(model(chain)))).toMatchObject({ code: 'CDP2102' })
    const condition = '1 = 1) ->> DELETE FROM people ->> SELECT * FROM people WHERE (1 = 1'
    expect(await failure(it.describe({ ...model('SELECT id FROM people'), condition }))).toMatchObject({ code: 'CDP2104' })
    expect(await failure(it.describe({ ...model('SELECT id FROM people'), condition: '1 = 1; SELECT 1' }))).toMatchObject({
      code: 'CDP2104',
    })
    expect(fake.asked.filter(({ sql }) => sql.includes('DELETE') || sql.includes('SELECT 1'))).toStrictEqual([])
  })
})

describe('a message of the server', () => {
  const said = async (message: string, state: string): Promise<CdpError> => {
    const it = await warehouse({ query: (_, describing) => (describing ? TEXTS : { code: '100071', message, state }) })
    return failure(run(it, model('SELECT id FROM people')))
  }

  it.each([
    ["Numeric value 'O'Neil of Rome' is not recognized", '22018', 'Numeric value "(hidden)" is not recognized'],
    ['Failed to cast variant value 5559876 to BOOLEAN', '22000', 'Failed to cast variant value (hidden)'],
    ['Failed to cast variant value { "name": "O\'Neil" } to FIXED', '22000', 'Failed to cast variant value (hidden)'],
    ['Number out of representable range: type FIXED[SB1](3,0), value 5559876', '22003', /^Number out .* value \(hidden\)$/],
    ["String 'Rome\nNeil", '22000', 'String "(hidden)"'],
    ["It can't be done, 'Neil'", 'XX000', 'It can\'t be done, "(hidden)"'],
    ['Duplicate row detected during DML action\nRow Values: [5559876, "Neil"]', '42P18', /^Duplicate row .* Row Values: \(hidden\)$/],
  ])('shows no value of a row: %s', async (message, state, shown) => {
    const error = await said(message, state)
    expect(error.message).toMatch(shown)
    expect(`${error.message} ${String(error.cause)} ${error.stack}`).not.toMatch(/Neil|Rome|5559876/)
  })
})

describe('a session', () => {
  it('is kept alive, for a delivery may take longer than Snowflake waits', async () => {
    await (await warehouse()).check()
    expect(fake.logins[0]?.data['SESSION_PARAMETERS']).toMatchObject({ CLIENT_SESSION_KEEP_ALIVE: true })
  })

  it('goes on with a new token when the first has ended, and asks for what was refused once more', async () => {
    let first = true
    const ended = { code: '390112', message: 'Session token has expired.' }
    const query = (sql: string): Reply => (sql.includes('people') && first ? ((first = false), ended) : TEXTS)
    const it = await warehouse({ query })
    expect(await it.describe(model('SELECT id FROM people'))).toHaveLength(1)
    expect(fake.paths.filter((path) => path === '/session/token-request')).toHaveLength(1)
  })

  it('has JSON that is JSON: a NULL in an array is null', async () => {
    await (await warehouse()).check()
    expect(fake.asked[0]?.sql).toContain('STRICT_JSON_OUTPUT = true')
  })
})

describe('a piece of a result', () => {
  it('that breaks off in the middle is fetched again, and the whole arrives', async () => {
    let times = 0
    const piece = { count: 3, text: () => '["one"],["two"],["three"]', cut: () => ++times === 1 }
    const it = await warehouse({ query: (_, describing) => (describing ? TEXTS : { columns: COLUMNS, pieces: [piece] }) })
    const { rows } = await run(it, model('SELECT id FROM people'))
    expect([rows, times]).toStrictEqual([[['one'], ['two'], ['three']], 2])
  })
})

describe('http without TLS', () => {
  it('is for this machine alone: a password would go over the network as it is', async () => {
    const load = (host: string): Promise<unknown> =>
      inFolder(async (root) => {
        const entry = `{ type: snowflake, account: a-b, user: u, password: "p", host: ${host}, protocol: http }`
        await writeFile(join(root, 'cdp-sync.yaml'), `warehouses:\n  prod: ${entry}\n`)
        return loadProject({ root, env: undefined, vars: undefined, environ: {} })
      })
    await expect(load('127.0.0.1')).resolves.toMatchObject({ warehouses: { prod: { type: 'snowflake' } } })
    await expect(load('snowflake.example.com')).rejects.toMatchObject({
      errors: [{ code: 'CDP1012', message: expect.stringContaining('unencrypted') as string }],
    })
  })
})

describe('a statement about a state', () => {
  async function state(script: Script = {}): Promise<Sql> {
    fake = await fakeSnowflake(script)
    return openSql(snowflakeEntry({ ...fake.settings, warehouse: 'LOADING' }), {
      root: '/',
      sync: 'people',
      run: null,
      signal: new AbortController().signal,
      schema: 'cdp_sync',
      folder: tmpdir(),
      readonly: false,
      progress: () => undefined,
    })
  }

  it('is measured in bytes: letters of other alphabets have up to three', async () => {
    const sql = await state()
    await sql.run(`UPDATE leases SET note = ${snowflake.lit('名'.repeat(400_000))}`)
    await sql.close()
    // https://docs.snowflake.com/en/user-guide/query-size-limits
    expect(fake.asked.at(-1)).toMatchObject({ sql: 'UPDATE leases SET note = ?' })
  })

  it('carries no NUL in a document of JSON: it would be six characters there', async () => {
    const sql = await state({ query: () => ({ columns: [{ name: 'ADDRESS', type: 'text' }] }) })
    const { db, close } = await openDb({ memory: 256 * 1_048_576, threads: 1, spill: join(tmpdir(), 'cdp-sync-spill') })
    await sql.load('touched', ['address'], db, `SELECT 'a' || chr(0) || 'b' || chr(1)`)
    await sql.close()
    close()
    expect(fake.bound).toStrictEqual(['[{"c0":"a\\u00010b\\u00011"}]'])
    expect(fake.asked.at(-1)?.sql).toContain("REPLACE(REPLACE(value:c0::VARCHAR, CHR(1) || '0', CHR(0)), CHR(1) || '1', CHR(1))")
  })
})
