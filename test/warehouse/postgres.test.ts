/** PostgreSQL: what a model may be, what it can't break out of, and what happens when a server misbehaves. */
import { existsSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AuthError, CdpError } from '../../src/errors.ts'
import { openWarehouse } from '../../src/warehouse/open.ts'
import type { Warehouse } from '../../src/warehouse/warehouse.ts'
import { type Postgres, withPostgres } from '../support/postgres.ts'
import { failure, inFolder, model, postgresEntry, run } from './support.ts'

let server: Postgres
let warehouse: Warehouse
const open = (settings: Parameters<typeof postgresEntry>[0]): Promise<Warehouse> => openWarehouse(postgresEntry(settings), { root: '/' })
beforeAll(async () => {
  server = await withPostgres()
  await server.query(`
    CREATE TABLE people (id int, email text, plan text);
    INSERT INTO people SELECT i, i || '@example.com', CASE WHEN i % 2 = 0 THEN 'pro' END FROM generate_series(1, 1000) i;
    CREATE SEQUENCE s;
    CREATE ROLE reader LOGIN PASSWORD 'reader';
    CREATE TABLE private (id int)`)
  warehouse = await open({ url: server.url })
})
afterAll(async () => {
  await warehouse?.close()
  await server?.stop()
})

describe('a model', () => {
  it.each([
    'SELECT id, email FROM people',
    'SELECT id, email FROM people;',
    'SELECT id, email FROM people ; -- done; really\n ;',
    'SELECT id, email FROM people -- no newline after this',
    '/* a /* nested; */ comment */ SELECT id, email FROM people /* ; */;',
    'WITH p AS (SELECT * FROM people) SELECT id, email FROM p ORDER BY id LIMIT 1000',
    "SELECT id, email FROM people WHERE email <> ';' AND email <> E'\\';' AND email <> $a$;'$a$ AND \";\" <> 0;".replace('";"', 'id'),
  ])('may be %j', async (sql) => {
    const { extract, rows } = await run(warehouse, model(sql))
    expect(extract.rows).toBe(1000)
    expect(rows).toHaveLength(1000)
  })

  it('may be a TABLE or VALUES, and may have no rows', async () => {
    expect((await run(warehouse, model('TABLE people'))).extract.rows).toBe(1000)
    expect((await run(warehouse, model('VALUES (1), (2)'))).rows).toStrictEqual([['1'], ['2']])
    expect((await run(warehouse, model('SELECT * FROM people WHERE false'))).rows).toStrictEqual([])
  })

  it('brings only the columns that are wanted, by their exact names', async () => {
    await server.query('CREATE TABLE odd ("a ""b""" int, "C,d" text, "select" int); INSERT INTO odd VALUES (1, $$x$$, 3)')
    const { rows } = await run(warehouse, model('SELECT * FROM odd'), { wanted: ['a "b"', 'select'] })
    expect(rows).toStrictEqual([['1', '3']])
  })

  it('says where the warehouse stood', async () => {
    expect((await run(warehouse, model('SELECT 1 AS id'))).extract.position).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/)
  })

  it('names the sync and the run to whoever looks at the server', async () => {
    const hostile = { ...model('SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()'), sync: '*/ DROP', run: '01J' }
    expect((await run(warehouse, hostile)).rows[0]?.[0]).toMatch(/^\/\* cdp-sync sync=___DROP run=01J \*\/ COPY \(/)
  })

  it('tells the types of its columns, domains and CHAR by what they are', async () => {
    const columns = await warehouse.describe(model("SELECT 1::int8 AS id, 'x'::char(3) AS c, ARRAY[1] AS list, now() AS at, 1.5 AS n"))
    expect(columns).toStrictEqual([
      { name: 'id', type: 'integer', native: 'bigint' },
      { name: 'c', type: 'string', native: 'character(3)' },
      { name: 'list', type: 'json', native: 'integer[]' },
      { name: 'at', type: 'timestamptz', native: 'timestamp with time zone' },
      { name: 'n', type: 'decimal', native: 'numeric' },
    ])
  })
})

describe('a hostile model', () => {
  const touch = join('/tmp', `cdp-sync-pwned-${process.pid}`)
  it.each([
    [`SELECT 1) TO PROGRAM 'touch ${touch}' --`, 'CDP2100'],
    [`SELECT 1 AS a) TO PROGRAM 'touch ${touch}' (FORMAT csv); --`, 'CDP2100'],
    [`COPY (SELECT 1) TO PROGRAM 'touch ${touch}'`, 'CDP2101'],
    ['SELECT 1; DELETE FROM people', 'CDP2102'],
    ['SELECT 1) AS model; DELETE FROM people; SELECT (1', 'CDP2100'],
    ['DELETE FROM people', 'CDP2101'],
    ['DELETE FROM people RETURNING id', 'CDP2101'],
    ['WITH gone AS (DELETE FROM people RETURNING id) SELECT * FROM gone', 'CDP2101'],
    ['SELECT * INTO copied FROM people', 'CDP2101'],
    ['SELECT id FROM people FOR UPDATE', 'CDP2101'],
    ["SELECT nextval('s') AS id", 'CDP2101'],
    ['EXPLAIN ANALYZE SELECT 1', 'CDP2101'],
    ['SHOW all', 'CDP2101'],
    ['BEGIN', 'CDP2101'],
    ['', 'CDP2101'],
    ['-- nothing', 'CDP2101'],
    ['SELECT 1 /* open', 'CDP2100'],
    ["SELECT 'open", 'CDP2100'],
    ['SELECT $1::int AS id', 'CDP2100'],
  ])('%j is refused (%s) and changes nothing', async (sql, code) => {
    const error = await failure(
      inFolder((folder) => warehouse.extract(model(sql), [], folder, { signal: new AbortController().signal, progress() {} })),
    )
    expect(error).toBeInstanceOf(CdpError)
    expect(error.code).toBe(code)
    expect(error.hint).toBeTruthy()
    expect(existsSync(touch)).toBe(false)
    expect(await server.query("SELECT count(*)::int AS n, to_regclass('copied') AS copied FROM people")).toStrictEqual([
      { n: 1000, copied: null },
    ])
  })

  it.each([
    'true) TO STDOUT --',
    '1=1) UNION SELECT (id, email FROM people',
    "id > 0) AND ('x'='x",
    'true ORDER BY 1',
    'true UNION SELECT 1',
    'true; DELETE FROM people',
    'id',
    '',
  ])('can hide nothing in the condition %j', async (condition) => {
    const error = await failure(warehouse.describe(model('SELECT id, email FROM people', condition)))
    expect(error).toMatchObject({ code: 'CDP2104', where: 'models/contacts.sql:1:1' })
  })

  it('has a condition over its columns, comments and all', async () => {
    const query = model('SELECT id, plan FROM people;', "id <= 10 AND plan = 'pro' -- half of them")
    expect((await run(warehouse, query)).rows.map(([id]) => id)).toStrictEqual(['2', '4', '6', '8', '10'])
  })

  it('with two columns of one name is refused', async () => {
    expect((await failure(warehouse.describe(model('SELECT 1 AS id, 2 AS id')))).message).toBe('the model has two columns named id')
    expect((await failure(warehouse.describe(model('SELECT 1 AS id, 2 AS "Id"')))).code).toBe('CDP2103')
  })
})

describe('an error', () => {
  it('of the SQL points into the file of the model, whatever stands before it', async () => {
    const error = await failure(warehouse.describe({ ...model("SELECT '😀',\n\temial\nFROM people"), where: 'syncs/a.yaml:7:10' }))
    expect(error).toMatchObject({ code: 'CDP2100', message: 'column "emial" does not exist', where: 'syncs/a.yaml:8:2' })
    expect(error.frame).toBe('8 | \temial\n  | \t^')
    expect((await failure(warehouse.describe({ ...model('SELEC 1'), where: 'syncs/a.yaml:7:10' }))).where).toBe('syncs/a.yaml:7:10')
  })

  it('while rows travel names no value and leaves no half extract behind as whole', async () => {
    const error = await failure(run(warehouse, model('SELECT email::int AS id FROM people')))
    expect(error).toMatchObject({ code: 'CDP2100', message: 'invalid input syntax for type integer: "(hidden)"' })
    expect((await failure(run(warehouse, model('SELECT 1 / (id - 500) AS id FROM people')))).message).toBe('division by zero')
  })

  it('about a right says which grant is missing', async () => {
    const reader = await open({ host: server.host, port: server.port, user: 'reader', password: 'reader', database: 'postgres' })
    const error = await failure(run(reader, model('SELECT * FROM private')))
    expect(error).toBeInstanceOf(AuthError)
    expect(error.hint).toContain('GRANT SELECT')
  })

  it('of the disk is told apart from one of the server', async () => {
    const io = { signal: new AbortController().signal, progress() {} }
    const query = model('SELECT id FROM people')
    const columns = await warehouse.describe(query)
    expect(await failure(warehouse.extract(query, columns, '/nonexistent', io))).toMatchObject({ code: 'CDP2014' })
  })

  it('a column that is gone since the model was described is refused', async () => {
    const wanted = [{ name: 'emial', type: 'string', native: 'text' }] as const
    const io = { signal: new AbortController().signal, progress() {} }
    const error = await failure(inFolder((folder) => warehouse.extract(model('SELECT email FROM people'), wanted, folder, io)))
    expect(error).toMatchObject({ code: 'CDP2105', hint: 'Did you mean email?' })
  })
})

describe('a connection', () => {
  it('with a wrong password is a failed login that does not repeat the password', async () => {
    for (const settings of [
      { url: server.url.replace(/:[^:@]+@/, ':hunter2@') },
      { host: server.host, port: server.port, user: 'postgres', password: 'hunter2', database: 'postgres' },
      { host: server.host, port: server.port, user: 'postgres', database: 'postgres' },
    ]) {
      const error = await failure((await open(settings)).check())
      expect(error).toBeInstanceOf(AuthError)
      expect(error.exitCode).toBe(4)
      expect(`${error.message} ${error.hint}`).not.toContain('hunter2')
    }
  })

  it('to a server that is not there, or a database that is not, says so', async () => {
    const nowhere = await open({ url: 'postgres://u:hunter2@127.0.0.1:1/x' })
    expect(await failure(nowhere.check())).toMatchObject({ code: 'CDP2001', message: expect.stringContaining('127.0.0.1:1') as string })
    expect(await failure((await open({ url: `${server.url}x` })).check())).toMatchObject({ code: 'CDP2003' })
    expect(await failure((await open({ url: `${server.url}?sslmode=require` })).check())).toMatchObject({ code: 'CDP2004' })
    expect(await failure(open({ url: 'postgres://u:hun#ter2@[bad/x' }))).toMatchObject({ code: 'CDP2001' })
  })

  it('leaves nothing behind in the session', async () => {
    await expect(warehouse.check()).resolves.toBeUndefined()
    expect(
      await server.query(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'cdp-sync' AND state = 'idle in transaction'",
      ),
    ).toStrictEqual([{ n: 0 }])
  })
})

describe('a slow model', () => {
  it('ends at the time-out of the warehouse', async () => {
    const impatient = await open({ url: server.url, statement_timeout: 200 })
    const error = await failure(run(impatient, model('SELECT pg_sleep(30)::text AS id')))
    expect(error).toMatchObject({ code: 'CDP2007', hint: expect.stringContaining('statement_timeout') as string })
  })

  it.each([
    ['before its first row', 'SELECT pg_sleep(60)::text AS id, 61 AS marker'],
    ['in the middle of its rows', "SELECT i AS id, repeat('x', 1000) AS pad, 62 AS marker FROM generate_series(1, 100000000) i"],
  ])('is cancelled at the server when the run is stopped %s', async (_, sql) => {
    const marker = sql.includes('61 AS') ? '61 AS marker' : '62 AS marker'
    const running = (): Promise<Record<string, unknown>[]> =>
      server.query(
        `SELECT pid FROM pg_stat_activity WHERE query LIKE '%COPY (%' AND query LIKE $1 AND pid <> pg_backend_pid() AND state = 'active'`,
        [`%${marker}%`],
      )
    const stop = new AbortController()
    const ended = failure(run(warehouse, model(sql), { signal: stop.signal }))
    await expect.poll(running).toHaveLength(1)
    stop.abort(new Error('stopped by the user'))
    expect((await ended).message).toBe('stopped by the user')
    await expect.poll(running).toHaveLength(0)
  })

  it('is not started when the run is stopped already', async () => {
    const error = await failure(run(warehouse, model('SELECT 1 AS id'), { signal: AbortSignal.abort(new Error('stopped')) }))
    expect(error.message).toBe('stopped')
  })
})

describe('a replica that cancels the model in favour of its recovery', () => {
  beforeAll(async () => {
    // The counter has to survive the transaction that is cancelled, so another session keeps it.
    await server.query(`
      CREATE EXTENSION dblink;
      CREATE TABLE attempts (n int, needed int);
      INSERT INTO attempts VALUES (0, 0);
      CREATE FUNCTION conflict(i int) RETURNS int LANGUAGE plpgsql AS $$
      BEGIN
        IF i = 5000 THEN
          PERFORM dblink_exec('host=127.0.0.1 port=${server.port} user=postgres password=''${server.password}'' dbname=postgres', 'UPDATE attempts SET n = n + 1');
          IF (SELECT n < needed FROM dblink('host=127.0.0.1 port=${server.port} user=postgres password=''${server.password}'' dbname=postgres', 'SELECT n, needed FROM attempts') AS a(n int, needed int)) THEN
            RAISE EXCEPTION 'canceling statement due to conflict with recovery' USING ERRCODE = '40001';
          END IF;
        END IF;
        RETURN i;
      END $$`)
  })

  it('is asked again from the first row', async () => {
    await server.query('UPDATE attempts SET n = 0, needed = 3')
    const { rows } = await run(warehouse, model('SELECT conflict(i) AS id FROM generate_series(1, 10000) i'))
    expect(rows.map(([id]) => Number(id))).toStrictEqual(Array.from({ length: 10_000 }, (_, i) => i + 1))
    expect(await server.query('SELECT n FROM attempts')).toStrictEqual([{ n: 3 }])
  })

  it('is given up after three times more', async () => {
    await server.query('UPDATE attempts SET n = 0, needed = 99')
    const error = await failure(run(warehouse, model('SELECT conflict(i) AS id FROM generate_series(1, 10000) i')))
    expect(error.code).toBe('CDP2009')
    expect(await server.query('SELECT n FROM attempts')).toStrictEqual([{ n: 4 }])
  })
})

const kill = (): Promise<Record<string, unknown>[]> =>
  server.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%COPY (%63 AS marker%' AND pid <> pg_backend_pid() AND state = 'active'",
  )

describe('a lost connection', () => {
  it('in the middle of the rows is an error, not a short extract', async () => {
    const ended = failure(
      run(warehouse, model("SELECT i AS id, repeat('x', 1000) AS pad, 63 AS marker FROM generate_series(1, 100000000) i")),
    )
    await expect.poll(kill).toHaveLength(1)
    expect((await ended).code).toBe('CDP2012')
  })
})

describe('a full extract', () => {
  it('reports bytes as they come and keeps the file to its owner', async () => {
    await inFolder(async (folder) => {
      const query = model("SELECT i AS id, repeat('x', 500) AS pad FROM generate_series(1, 10000) i")
      const seen: number[] = []
      await warehouse.extract(query, await warehouse.describe(query), folder, {
        signal: new AbortController().signal,
        progress: (bytes) => seen.push(bytes),
      })
      const [file = ''] = await readdir(folder)
      const { size, mode } = await stat(join(folder, file))
      expect(seen.length).toBeGreaterThan(2)
      expect(seen.at(-1)).toBe(size)
      expect(mode & 0o777).toBe(0o600)
    })
  })
})

describe('a database without an encoding', () => {
  it('gives its UTF-8 texts, and an error for texts that are none', async () => {
    await server.query("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    const ascii = await open({ host: server.host, port: server.port, user: server.user, password: server.password, database: 'ascii' })
    expect((await run(ascii, model("SELECT convert_from('\\xc3a9'::bytea, 'SQL_ASCII') AS name"))).rows).toStrictEqual([['é']])
    const error = await failure(run(ascii, model("SELECT convert_from('\\xe9'::bytea, 'SQL_ASCII') AS name")))
    expect(error).toMatchObject({ code: 'CDP2011', hint: expect.stringContaining('convert_from') as string })
  })
})
