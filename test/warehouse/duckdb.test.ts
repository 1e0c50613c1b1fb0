/** DuckDB: files of the project, databases of the user, and nothing else. */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { DuckDBInstance } from '../../src/duckdb.ts'
import { CdpError } from '../../src/errors.ts'
import { openWarehouse } from '../../src/warehouse/open.ts'
import type { Warehouse } from '../../src/warehouse/warehouse.ts'
import { duckdbEntry, failure, inFolder, model, run } from './support.ts'

let root: string
let files: Warehouse
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'cdp-sync-test-'))
  await mkdir(join(root, 'data'))
  await writeFile(join(root, 'data/people.csv'), 'id,email\n1,a@example.com\n2,"b, c"\n')
  await writeFile(join(root, 'data/more.json'), '[{"id":3,"tags":["x"],"n":12345678901234567890}]')
  await write(join(root, 'shop.duckdb'), 'CREATE TABLE people AS SELECT range AS id FROM range(10); CREATE SEQUENCE s')
  await write(':memory:', `COPY (SELECT 4 AS id, 1.50::DECIMAL(10,2) AS n) TO '${join(root, 'data/four.parquet')}'`)
  files = await openWarehouse(duckdbEntry({}), { root, memory: 200_000_000, threads: 1 })
})
afterAll(async () => {
  await files?.close()
  await rm(root, { recursive: true, force: true })
})

async function write(path: string, sql: string): Promise<void> {
  const instance = await DuckDBInstance.create(path)
  const db = await instance.connect()
  await db.run(sql)
  db.closeSync()
  instance.closeSync()
}

const shop = (): Promise<Warehouse> => openWarehouse(duckdbEntry({ path: join(root, 'shop.duckdb') }), { root })

describe('without a database', () => {
  it('reads CSV, JSON and Parquet of the project by relative names and globs', async () => {
    expect((await run(files, model("SELECT * FROM 'data/people.csv'"))).rows).toStrictEqual([
      ['1', 'a@example.com'],
      ['2', 'b, c'],
    ])
    expect((await run(files, model("FROM 'data/more.json'"))).rows).toStrictEqual([['3', '["x"]', '12345678901234567890']])
    expect((await run(files, model("SELECT * FROM 'data/*.parquet'"))).rows).toStrictEqual([['4', '1.50']])
  })

  it('takes a condition, trailing comments and a closing ;', async () => {
    const query = model("SELECT id, email AS e FROM 'data/people.csv' -- people\n;;", 'id > 1 -- later ones')
    expect((await run(files, query)).rows).toStrictEqual([['2', 'b, c']])
  })

  it('brings only the columns that are wanted', async () => {
    expect((await run(files, model("FROM 'data/people.csv'"), { wanted: ['email'] })).rows).toStrictEqual([['a@example.com'], ['b, c']])
  })

  it('has no rows where there are none', async () => {
    const { extract, rows } = await run(files, model("FROM 'data/people.csv' WHERE false"))
    expect([extract.rows, rows]).toStrictEqual([0, []])
  })
})

describe('a database file', () => {
  it('is read, together with files of the project', async () => {
    const warehouse = await shop()
    const { rows } = await run(warehouse, model("SELECT count(*) AS n FROM people JOIN 'data/people.csv' USING (id)"))
    expect(rows).toStrictEqual([['2']])
    await warehouse.close()
  })

  it('that is missing, a folder or something else says so', async () => {
    expect(await failure(openWarehouse(duckdbEntry({ path: join(root, 'nope.duckdb') }), { root }))).toMatchObject({
      code: 'CDP2200',
      where: 'cdp-sync.yaml:3:5',
    })
    expect((await failure(openWarehouse(duckdbEntry({ path: root }), { root }))).code).toBe('CDP2200')
    await writeFile(join(root, 'text.duckdb'), 'this is no database, '.repeat(1000))
    expect((await failure(openWarehouse(duckdbEntry({ path: join(root, 'text.duckdb') }), { root }))).code).toBe('CDP2202')
    expect((await failure(openWarehouse(duckdbEntry({ path: join(root, 'data/people.csv') }), { root }))).code).toBe('CDP2202')
  })

  it('that another process writes says which', async () => {
    const path = join(root, 'busy.duckdb')
    const script = join(root, 'writer.cjs')
    const driver = JSON.stringify(join(import.meta.dirname, '../../node_modules/@duckdb/node-api'))
    await writeFile(
      script,
      `require(${driver}).DuckDBInstance.create(${JSON.stringify(path)}).then(() => process.send('open')); setInterval(() => {}, 1000)`,
    )
    const writer = fork(script, { execArgv: [] })
    try {
      await once(writer, 'message')
      const error = await failure(openWarehouse(duckdbEntry({ path }), { root }))
      expect(error.code).toBe('CDP2201')
      expect(error.message).toContain(`PID ${writer.pid}`)
    } finally {
      writer.kill()
    }
  })
})

describe('a hostile model', () => {
  it.each([
    ["COPY (SELECT 1) TO 'pwned'", 'CDP2101'],
    ["SELECT 1 AS a) TO 'pwned' --", 'CDP2100'],
    ["SELECT 1 AS a) AS model) TO 'pwned'; SELECT * FROM (SELECT 1", 'CDP2100'],
    ["ATTACH 'pwned'", 'CDP2101'],
    ['INSTALL httpfs', 'CDP2101'],
    ['LOAD httpfs', 'CDP2101'],
    ['SET threads = 1', 'CDP2101'],
    ['PRAGMA enable_profiling', 'CDP2101'],
    ['CREATE TABLE pwned (id int)', 'CDP2101'],
    ['INSERT INTO people VALUES (11) RETURNING id', 'CDP2101'],
    ['DELETE FROM people', 'CDP2101'],
    ['WITH d AS (DELETE FROM people RETURNING id) SELECT * FROM d', 'CDP2100'],
    ['EXPLAIN ANALYZE SELECT 1', 'CDP2101'],
    ['SELECT 1; DROP TABLE people', 'CDP2102'],
    ["EXPORT DATABASE 'pwned'", 'CDP2101'],
    ['CHECKPOINT', 'CDP2101'],
    ['SELECT $1::int AS id', 'CDP2101'],
    ["SELECT nextval('s') AS id", 'CDP2100'],
    ["SELECT * FROM 'https://127.0.0.1:1/x.csv'", 'CDP2100'],
    ['', 'CDP2101'],
    [' ; -- nothing\n/* at all */', 'CDP2101'],
    ["SELECT 'open", 'CDP2100'],
    ['SELECT 1 AS id, 2 AS ID', 'CDP2103'],
  ])('%j is refused (%s) and changes nothing', async (sql, code) => {
    const warehouse = await shop()
    const error = await failure(
      inFolder((folder) => warehouse.extract(model(sql), [], folder, { signal: new AbortController().signal, progress() {} })),
    )
    expect(error).toBeInstanceOf(CdpError)
    expect(error.code).toBe(code)
    expect((await run(warehouse, model('SELECT count(*) AS n FROM people'))).rows).toStrictEqual([['10']])
    await warehouse.close()
    expect(existsSync(join(root, 'pwned')) || existsSync('pwned')).toBe(false)
  })

  it.each([
    "true) TO 'pwned' --",
    '1=1) UNION SELECT (1',
    "id > 0) AND ('x'='x",
    'true ORDER BY 1',
    'true; DROP TABLE people',
    '',
    'true LIMIT 1',
  ])('can hide nothing in the condition %j', async (condition) => {
    expect((await failure(files.describe(model('SELECT 1 AS id', condition)))).code).toBe('CDP2104')
  })
})

describe('an error', () => {
  it('points into the file of the model', async () => {
    const error = await failure(files.describe({ ...model("SELECT id,\n  emial\nFROM 'data/people.csv'"), where: 'models/a.sql:1:1' }))
    expect(error).toMatchObject({ code: 'CDP2100', where: 'models/a.sql:2:3', frame: '2 |   emial\n  |   ^' })
    expect(error.message).toContain('"emial" not found')
  })

  it('while rows are read names no value', async () => {
    const error = await failure(run(files, model("SELECT email::INTEGER AS id FROM 'data/people.csv'")))
    expect(error.code).toBe('CDP2100')
    expect(`${error.message} ${error.hint}`).not.toContain('example.com')
  })
})

describe('a run that is stopped', () => {
  it('interrupts the query', async () => {
    const stop = new AbortController()
    const ended = failure(
      run(files, model('SELECT a.range AS id, b.range AS n FROM range(10000000) a, range(1000) b'), { signal: stop.signal }),
    )
    const timer = setTimeout(() => stop.abort(new Error('stopped by the user')), 300)
    expect((await ended).message).toBe('stopped by the user')
    clearTimeout(timer)
  })
})

it('leaves no folder behind when it is closed', async () => {
  await inFolder(async (tmp) => {
    vi.stubEnv('TMPDIR', tmp)
    const warehouse = await openWarehouse(duckdbEntry({}), { root }).finally(() => vi.unstubAllEnvs())
    expect(await readdir(tmp)).toHaveLength(1)
    await warehouse.close()
    expect(await readdir(tmp)).toStrictEqual([])
  })
})
