/** Texts in the SQL of each database that keeps states: literals, JSON arrays, normalisers, and the relations made of them. */
import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Normaliser } from '../../src/connector.ts'
import { normalise } from '../../src/normalise.ts'
import type { Dialect } from '../../src/state/warehouse/dialect.ts'
import { sqlglotCheck } from '../support/snowflake.ts'
import { DUCKDB, EMULATED, engines, POSTGRES, type Server } from './dialect-engines.ts'

const NORMALISERS: readonly Normaliser[] = ['exact', 'trim', 'lower_ascii', 'email', 'mailbox', 'digits', 'e164']
const vectors = JSON.parse(readFileSync(new URL('../mapping/normaliser-vectors.json', import.meta.url), 'utf8')) as [
  Normaliser,
  string,
  string | null,
][]

/** A table of numbered texts as a relation. */
function values(dialect: Dialect, texts: readonly (string | null)[]): string {
  return `(VALUES ${texts.map((text, n) => `(${n}, CAST(${dialect.lit(text)} AS VARCHAR))`).join(', ')}) AS v (n, t)`
}

/** `expression` over t, of every text. The driver of DuckDB drops a BOM that begins a value: so none begins with itself. */
async function each(server: Server, dialect: Dialect, expression: string, texts: readonly (string | null)[]): Promise<(string | null)[]> {
  const rows = await server.rows(`SELECT '=' || ${expression} AS found FROM ${values(dialect, texts)} ORDER BY n`)
  return rows.map(({ found }) => found?.slice(1) ?? null)
}

/** PostgreSQL has no NUL. */
const holds = ({ name }: Dialect, text: string): boolean => name !== 'postgres' || !text.includes('\0')
const ASCII = Array.from({ length: 128 }, (_, code) => String.fromCharCode(code))
const ABOVE = [
  '\u0080',
  '\u0085',
  '\u00a0',
  '\u00e9',
  'e\u0301',
  '\u2028',
  '\u2029',
  '\u202e',
  '\u3000',
  '\ufeff',
  '\ufffd',
  '\uffff',
  '😀',
  '\u{10ffff}',
]
const NASTY = [
  '',
  "'",
  "''",
  '\\',
  "\\'",
  '\\\\n',
  '\\u000b',
  '\\x41',
  '"',
  '$$',
  '--',
  '/*',
  '?',
  ':x',
  '${x}',
  '{}',
  'a\nb',
  '\r\n',
  '%',
  ';',
  '\0',
  'a\u00007\0',
]

const text = fc
  .array(
    fc.oneof(
      fc.constantFrom(' ', '\t', '\n', '\v', '\f', '\r', '\u00a0', '\u2028', '\u3000', '\ufeff', '\u0085', '\u001f'),
      fc.constantFrom('+', '0', '00', '1', '49', '(', ')', '-', '.', '/', '123456789', '٣', '＋'),
      fc.constantFrom('A', 'Z', 'a', 'İ', 'ß', 'Σ', 'K', '😀', "'", '"', '\\', '@', '[', '`', '$', '^', '%', '_'),
      fc.constantFrom('.', '+', 'a.b+c', '@gmail.com', '@googlemail.com', '@', 'gmail.com'),
      fc.string({ unit: 'binary', maxLength: 5 }),
    ),
    { maxLength: 12 },
  )
  // No warehouse holds half a surrogate pair.
  .map((parts) => parts.join('').replace(/\0|\p{Surrogate}/gu, ''))

for (const { name, dialect, start, missing } of engines)
  describe.skipIf(missing)(`texts in ${name}`, () => {
    let server: Server
    beforeAll(async () => {
      server = await start()
    })
    afterAll(() => server?.stop())

    it('come back from a literal as they are', async () => {
      const all = [...NASTY, ...ASCII, ...ABOVE, ASCII.join(''), ABOVE.join('')].filter((it) => holds(dialect, it))
      expect(await each(server, dialect, 't', [...all, null])).toEqual([...all, null])
    })

    it('numbers, booleans and NULL are literals too', async () => {
      const list = [1, -1, 9007199254740993n, true, false, null].map((value, i) => `${dialect.lit(value)} AS v${i}`).join(', ')
      const [row = {}] = await server.rows(`SELECT ${list}`)
      expect(Object.values(row).map((value) => value?.replace(/^(t|true|1)$/i, 'yes').replace(/^(f|false|0)$/i, 'no'))).toEqual([
        'yes',
        '-1',
        '9007199254740993',
        'yes',
        'no',
        undefined,
      ])
    })

    it('of every code point below U+0080, and of samples above, stand in a JSON array as DuckDB writes them', async () => {
      const all = [...ASCII, ...ABOVE, ...NASTY, ASCII.slice(1).join('').repeat(3)].filter((it) => holds(dialect, it))
      const found = await each(server, dialect, dialect.list(['t', `'x' || t`]), all)
      expect(found.map((json) => JSON.parse(json ?? '') as unknown)).toEqual(all.map((it) => [it, `x${it}`]))
      // As JSON.stringify writes them, but for digits above 9 in capitals.
      const capitals = (json: string): string => json.replaceAll(/(?<=(?<!\\)(?:\\\\)*\\u)[0-9a-f]{4}/g, (digits) => digits.toUpperCase())
      expect(found).toEqual(all.map((it) => capitals(JSON.stringify([it, `x${it}`]))))
      const local = await DUCKDB.start()
      expect(found).toEqual(await each(local, DUCKDB.dialect, DUCKDB.dialect.list(['t', `'x' || t`]), all))
      await local.stop()
    })

    it('make no JSON array with NULL', async () => {
      const found = await each(server, dialect, dialect.list(['t', `'x'`]), ['a', null])
      expect(found).toEqual(['["a","x"]', null])
      expect(await each(server, dialect, dialect.list([`'x'`, 't', `'y'`]), ['a', null])).toEqual(['["x","a","y"]', null])
    })

    it.each(NORMALISERS)('normalised by %s agree with the vectors', async (normaliser) => {
      const mine = vectors.filter(([name]) => name === normaliser)
      expect(mine.length).toBeGreaterThan(2)
      const found = await each(server, dialect, dialect.normalise(normaliser, 't'), [...mine.map(([, it]) => it), null])
      expect(found).toEqual([...mine.map(([, , expected]) => expected), null])
    })

    it('normalised by each are what JavaScript makes of them, a thousand at a time', async () => {
      const seed = Date.now()
      // The emulator takes a word behind a dollar for a variable, in literals too.
      const texts = fc.sample(text, { seed, numRuns: 1000 }).map((it) => (dialect.name === 'snowflake' ? it.replaceAll('$', '#') : it))
      await server.rows(`CREATE TABLE ${dialect.ident('texts')} AS SELECT * FROM ${values(dialect, texts)}`)
      const list = NORMALISERS.map((normaliser) => `'=' || ${dialect.normalise(normaliser, 't')} AS ${normaliser}`)
      const found = await server.rows(`SELECT ${list.join(', ')} FROM ${dialect.ident('texts')} ORDER BY n`)
      const expected = texts.map((it) => NORMALISERS.map((normaliser) => normalise(normaliser, it)))
      const wrong = texts.flatMap((it, i) =>
        NORMALISERS.flatMap((normaliser, j) => {
          const [is, should] = [found[i]?.[normaliser]?.slice(1) ?? null, expected[i]?.[j]]
          return is === should ? [] : [{ seed, normaliser, text: it, is, should }]
        }),
      )
      expect(wrong).toEqual([])
    })

    it('compare byte by byte in our tables', async () => {
      await server.rows(
        `CREATE TABLE ${dialect.ident('ours')} (t ${dialect.types.text}, n ${dialect.types.integer}, b ${dialect.types.boolean})`,
      )
      const all = ['a', 'A', 'b', 'B', 'a ', 'ä', 'Ä', 'z', '~', '', '\u00e9', 'e\u0301', '\uffff', '😀', '_', '-', '10', '9']
      const rows = all.map((it) => `(${dialect.lit(it)}, 9223372036854775807, TRUE)`)
      await server.rows(`INSERT INTO ${dialect.ident('ours')} VALUES ${rows.join(', ')}`)
      const found = await server.rows(`SELECT '=' || t AS t, n FROM ${dialect.ident('ours')} ORDER BY ${dialect.ident('ours')}.t`)
      const bytes = [...all].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      expect(found.map(({ t }) => t?.slice(1))).toEqual(bytes)
      expect(new Set(found.map(({ n }) => n))).toEqual(new Set(['9223372036854775807']))
      const [{ n } = {}] = await server.rows(`SELECT count(DISTINCT t) AS n FROM ${dialect.ident('ours')}`)
      expect(Number(n)).toBe(all.length)
    })

    it('become a row each, but for NULL, with the columns that are kept', async () => {
      const from = `(SELECT n, t FROM ${values(dialect, ['a', null, 'b'])})`
      const both = await server.rows(`SELECT * FROM ${dialect.unpivot(from, ['n'], ['t', `'x' || t`, `'e' || n`])} AS u ORDER BY address`)
      expect(both.map(({ n, address }) => `${n} ${address}`)).toEqual(['0 a', '2 b', '0 e0', '1 e1', '2 e2', '0 xa', '2 xb'])
      const one = await server.rows(`SELECT * FROM ${dialect.unpivot(from, ['n', 't'], ['t'])} AS u ORDER BY address`)
      expect(one).toEqual([{ n: '0', t: 'a', address: 'a' }, { n: '2', t: 'b', address: 'b' }]) // prettier-ignore
    })

    it('of one address are one row, that of the lowest key', async () => {
      const rows = [['x', 'b', 1], ['x', 'B', 2], ['x', 'a', 3], ['X', 'z', 4], ['y', '10', 5], ['y', '9', 6]] // prettier-ignore
      const list = rows.map(([address, key, hash]) => `SELECT '${address}' AS address, '${key}' AS key, ${hash} AS hash`)
      const found = await server.rows(`SELECT * FROM ${dialect.lowest(`(${list.join(' UNION ALL ')})`)} AS l ORDER BY hash`)
      expect(found.map((row) => [row['address'], row['key'], Number(row['hash'])])).toEqual([['x', 'B', 2], ['X', 'z', 4], ['y', '10', 5]]) // prettier-ignore
    })

    it('of rows that differ stand alone, and the totals are over all of them', async () => {
      const rows = [['x', `a"b\\c'd\n😀`, 1, 'TRUE'], ['y', null, 2, 'TRUE'], ['z', 'same', 3, 'FALSE'], ['z', 'other', 4, 'FALSE'], [null, 'alone', 5, 'TRUE']] as const // prettier-ignore
      const list = rows.map(
        ([k, t, n, differs]) => `SELECT ${dialect.lit(k)} AS k, ${dialect.lit(t)} AS t, ${n} AS n, ${differs} AS differs`,
      )
      for (const union of [list, list.filter((it) => it.includes('TRUE')), list.filter((it) => it.includes('FALSE'))]) {
        const expected = rows.filter((_, i) => union.includes(list[i] ?? ''))
        const from = `(${union.join(' UNION ALL ')}) AS compared`
        const split = dialect.split(from, ['k', 't'], ['count(n) AS rows_of_all', 'count(CASE WHEN n > 2 THEN 1 END) AS big'])
        const found = (await server.rows(`SELECT * FROM (${split}) AS s (k, t, total, large)`)).map((row) => Object.values(row))
        const alone = found.filter(([k, t]) => k !== null || t !== null).map(([k, t]) => `${k} ${t}`)
        expect(alone.sort()).toEqual(expected.filter(([, , , differs]) => differs === 'TRUE').map(([k, t]) => `${k} ${t}`).sort()) // prettier-ignore
        const sum = (i: number): number => found.reduce((total, row) => total + Number(row[i]), 0)
        expect([sum(2), sum(3)]).toEqual([expected.length, expected.filter(([, , n]) => n > 2).length])
      }
    })

    it('the clock gives milliseconds', async () => {
      const before = Date.now()
      const [{ now } = {}] = await server.rows(`SELECT ${dialect.now} AS now`)
      expect(now).toMatch(/^\d{13}$/)
      // The emulator's clock knows seconds alone.
      expect(Number(now)).toBeGreaterThan(before - 2000)
      expect(Number(now)).toBeLessThan(Date.now() + 2000)
    })

    it('a temporary table is made of a query', async () => {
      const { create, end } = dialect.temporary
      const table = dialect.name === 'duckdb' ? 'picked' : dialect.ident('picked')
      const make = `${create} ${table} (key ${dialect.types.text}) ${end}`
      if (dialect.name === 'postgres') {
        const [{ n } = {}] = await server.rows(`BEGIN; ${make}; INSERT INTO picked VALUES ('a'); COMMIT; SELECT to_regclass('picked') AS n`)
        expect(n).toBeNull()
        return
      }
      for (const _ of [1, 2]) {
        await server.rows(make)
        await server.rows(`INSERT INTO ${table} VALUES ('a')`)
        const [{ n } = {}] = await server.rows(`SELECT count(*) AS n FROM ${table}`)
        expect(Number(n)).toBe(1)
      }
    })
  })

describe.skipIf(EMULATED.missing)('SQL for Snowflake', () => {
  it('parses as such', async () => {
    const { dialect } = EMULATED
    const texts = NORMALISERS.map((normaliser) => `SELECT ${dialect.normalise(normaliser, 't')} FROM x`)
    const grants = [
      { schema: 'cdp_sync', role: 'runner', reader: 'planner', database: 'app', warehouse: 'small' },
      { schema: 'cdp_sync', role: 'runner', reader: 'planner', database: null, warehouse: null },
    ]
      .flatMap((input) => dialect.grants(input).split('\n'))
      // sqlglot knows no grants on several tables.
      .filter((line) => !/^(--|$)|ON (ALL|FUTURE) TABLES/.test(line))
    const sql = [
      `SELECT ${dialect.list(['a', 'b'])}, ${NASTY.map((it) => dialect.lit(it)).join(', ')} FROM x`,
      `SELECT ${dialect.now} FROM ${dialect.lowest(dialect.unpivot('x', ['key', 'hash'], ['a', 'b']))} AS l`,
      `${dialect.temporary.create} ${dialect.table('cdp_sync', 'picked')} (a ${dialect.types.text}, b ${dialect.types.integer})`,
    ]
    expect(await sqlglotCheck([...texts, ...sql, ...grants])).toEqual([])
  })
})

describe('names', () => {
  it('of Snowflake in plain lower case are those that it folds to upper case', () => {
    const { dialect } = EMULATED
    expect(['user_id', 'User_Id', '_a1$', 'USER_ID', '1st', 'a b', 'a"b', 'ä'].map((it) => dialect.ident(it))).toEqual(['"USER_ID"', '"User_Id"', '"_A1$"', '"USER_ID"', '"1st"', '"a b"', '"a""b"', '"ä"']) // prettier-ignore
    expect(dialect.table('cdp_sync', 'snapshot')).toBe('"CDP_SYNC"."SNAPSHOT"')
  })

  it('of PostgreSQL and DuckDB are what they are', () => {
    for (const { dialect } of [POSTGRES, DUCKDB]) {
      expect(['user_id', 'User_Id', 'a"b'].map((it) => dialect.ident(it))).toEqual(['"user_id"', '"User_Id"', '"a""b"'])
      expect(dialect.table('cdp_sync', 'snapshot')).toBe('"cdp_sync"."snapshot"')
    }
  })

  it('of roles stand quoted in grants', async () => {
    const server = await POSTGRES.start()
    await server.rows(`CREATE ROLE "a ""b"; CREATE ROLE "c'd"`)
    const grants = POSTGRES.dialect.grants({ schema: 'cdp_sync', role: 'a "b', reader: `c'd`, database: null, warehouse: null })
    await server.rows(grants)
    const can = (role: string, privilege: string): string =>
      `has_schema_privilege(${POSTGRES.dialect.lit(role)}, 'cdp_sync', '${privilege}')`
    const [row] = await server.rows(`SELECT ${can('a "b', 'CREATE')} AS a, ${can(`c'd`, 'USAGE')} AS b, ${can(`c'd`, 'CREATE')} AS c`)
    expect(row).toEqual({ a: 'true', b: 'true', c: 'false' })
    await server.stop()
  })
})
