/** Every type and every nasty text from both warehouses through stage, snapshot and outbox into a webhook's body, exact. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import webhook from '../../connectors/webhook/index.ts'
import type { ObjectSpec } from '../../src/connector.ts'
import type { Sync } from '../../src/config/types.ts'
import { decodeJson, encodeJson } from '../../src/json.ts'
import { withPostgres } from '../support/postgres.ts'
import type { Postgres } from '../support/postgres.ts'
import { startReceiver } from '../support/receiver.ts'
import type { Receiver } from '../support/receiver.ts'
import { service } from '../support/destinations.ts'
import { engine } from '../support/engines.ts'
import { column, world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { duckdbEntry, postgresEntry } from '../warehouse/support.ts'
import { pending, person, ran } from './support.ts'

let server: Postgres
let receiver: Receiver
let w: World
beforeAll(async () => {
  server = await withPostgres()
  await server.query(`CREATE TYPE mood AS ENUM ('sad', 'happy')`)
})
afterAll(() => server?.stop())
afterEach(async () => {
  await w?.close()
  await receiver?.close()
})

const NASTY = [
  '', ' ', '\ufeff', '\ufeffa', '"', '""', '","', ',', '\n', '\r', '\r\n', 'a\r\n"b",c\n', '\\N', '\\.', '\\', "'", "''; --", '\t', 'NULL', 'null', 'jnull', 's', '{}', '[1]',
  '😀', 'e\u0301', '\u00e9', '\u202e', '\u2028', '# comment', '{{ x }}', '${env:HOME}', '%', '\u0001\u001f\u007f', '\u{10ffff}', 'x'.repeat(10_000), 'line "one",\r\n😀'.repeat(700),
] // prettier-ignore

/** Expression in PostgreSQL, in DuckDB, and its JSON text in the body. */
const TYPES: [string, string, string][] = [
  ['9223372036854775807::int8', '9223372036854775807::BIGINT', '9223372036854775807'],
  ['(-1)::int2', '(-1)::SMALLINT', '-1'],
  [
    '1234567890123456789012345678.0123456789::numeric(38,10)',
    '1234567890123456789012345678.0123456789::DECIMAL(38,10)',
    '1234567890123456789012345678.0123456789',
  ],
  ['1.50::numeric(12,4)', '1.50::DECIMAL(10,2)', '1.5'],
  ['0.1::float8', '0.1::DOUBLE', '0.1'],
  ["'1e21'::float8", "'1e21'::DOUBLE", '1e+21'],
  ["'-0'::float8", "'-0'::DOUBLE", '0'],
  ['true', 'true', 'true'],
  ["date '2024-02-29'", "DATE '2024-02-29'", '"2024-02-29"'],
  ["time '23:59:59.999999'", "TIME '23:59:59.999999'", '"23:59:59.999999"'],
  ["timestamp '1969-12-31 23:59:59.5'", "TIMESTAMP '1969-12-31 23:59:59.5'", '"1969-12-31T23:59:59.5Z"'],
  ["timestamptz '2024-07-01 12:00:00+02'", "TIMESTAMPTZ '2024-07-01 12:00:00+02'", '"2024-07-01T10:00:00Z"'],
  ["interval '1 year -3 days 04:05:06.500'", "INTERVAL '1 year -3 days 04:05:06.500'", '"P1Y-3DT4H5M6.5S"'],
  [
    `'{"b": [1.10, 12345678901234567890], "a": null}'::jsonb`,
    `'{"b": [1.10, 12345678901234567890], "a": null}'::JSON`,
    '{"a":null,"b":[1.1,12345678901234567890]}',
  ],
  ['array[1, null, 3]::int8[]', '[1, NULL, 3]', '[1,null,3]'],
  [
    "'6F9619FF-8B86-D011-B42D-00C04FC964FF'::uuid",
    "'6F9619FF-8B86-D011-B42D-00C04FC964FF'::UUID",
    '"6f9619ff-8b86-d011-b42d-00c04fc964ff"',
  ],
  ["'\\x00ff10'::bytea", "'\\x00\\xFF\\x10'::BLOB", '"AP8Q"'],
  ["'happy'::mood", "'happy'::ENUM('sad', 'happy')", '"happy"'],
  ['\'{"deep": {"x": ["\\"", "\\n"]}}\'::jsonb', '\'{"deep": {"x": ["\\"", "\\n"]}}\'::JSON', '{"deep":{"x":["\\"","\\n"]}}'],
]

const warehouses = {
  postgres: () => postgresEntry({ url: server.url }),
  duckdb: () => duckdbEntry({}),
}
const sides = (Object.keys(warehouses) as (keyof typeof warehouses)[]).filter((side) => engine.reads === null || engine.reads === side)
/** The state is in the database that the model is read from, and a file in memory keeps none. */
const FILED = engine.reads === 'duckdb'

async function webhookWorld(fields: Sync['fields'], sql: string, side: keyof typeof warehouses): Promise<World> {
  receiver = await startReceiver()
  const config = webhook.config.parse({ url: receiver.url })
  const object = Object.keys(webhook.objects)[0] ?? ''
  const made = webhook.objects[object] as ObjectSpec | ((settings: object) => ObjectSpec)
  const spec = typeof made === 'function' ? made({ config, options: {} }) : made
  const opened = await world(service('key'), {
    destination: { name: 'hook', connector: webhook, config, where: 'x' },
    object,
    spec,
    match: [],
    fields,
    ...(FILED ? {} : { warehouse: warehouses[side]() }),
    model: { sql, where: 'models/test.sql', key: ['id'], condition: null },
  })
  if (FILED) await opened.model([])
  return opened
}

/** Key -> the fields of its change as exact JSON text, from the bodies as sent. */
const bodies = (): Map<string, Record<string, string>> =>
  new Map(
    receiver.requests.flatMap(({ text }) =>
      (decodeJson(text) as unknown as { changes: { key: string; fields: Record<string, never> }[] }).changes.map(
        ({ key, fields }) => [key, Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, encodeJson(value)]))] as const,
      ),
    ),
  )

const literal = (text: string, side: keyof typeof warehouses): string =>
  side === 'postgres'
    ? `convert_from('\\x${Buffer.from(text).toString('hex')}'::bytea, 'UTF8')`
    : `decode('${[...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}'::BLOB)`

describe.each(sides)('from %s', (side) => {
  it('a value of every type arrives exact, by SQL and by a template, and is no change at the next plan', async () => {
    const position = side === 'postgres' ? 0 : 1
    const list = TYPES.map((row, i) => `${row[position]} AS v${i}`).join(', ')
    const names = TYPES.map((_, i) => column(`f${i}`, `v${i}`))
    w = await webhookWorld(names, `SELECT 1 AS id, ${list}`, side)
    const { record } = await ran(w)
    expect(record).toMatchObject({ status: 'ok', counts: { delivered: 1, invalid: 0 } })
    const expected = Object.fromEntries(TYPES.map(([, , json], i) => [`f${i}`, json]))
    expect(bodies().get('1')).toEqual(expected)
    expect(await pending(w)).toEqual({})
    // A template of one expression keeps the type: JavaScript gives the very cells that SQL gave.
    w.sync = {
      ...w.sync,
      fields: TYPES.map((_, i) => ({ ...column(`f${i}`), source: { kind: 'template' as const, template: `{{ v${i} }}` } })),
    }
    expect(await pending(w)).toEqual({})
  })

  it('texts and keys of every kind arrive exact, each under its own key', async () => {
    const rows = NASTY.map((text, i) => `(${literal(`${text}#${i}`, side)}, ${literal(text, side)})`).join(', ')
    w = await webhookWorld([column('text')], `SELECT * FROM (VALUES ${rows}) AS t(id, text)`, side)
    const { record } = await ran(w)
    expect(record).toMatchObject({ status: 'ok', counts: { delivered: NASTY.length } })
    const found = bodies()
    for (const [i, text] of NASTY.entries()) expect(found.get(`${text}#${i}`)).toEqual({ text: JSON.stringify(text) })
    expect(await pending(w)).toEqual({})
    // They leave by the same names.
    w.sync = { ...w.sync, model: { ...w.sync.model, sql: `SELECT 'other' AS id, 'x' AS text` } }
    await ran(w)
    expect([...receiver.records.keys()]).toEqual(['other'])
    expect(await pending(w)).toEqual({})
  })

  it('a key of several columns is one JSON array, and no two of them meet', async () => {
    w = await webhookWorld(
      [column('n')],
      `SELECT * FROM (VALUES ('a', 'b,c', 1), ('a,b', 'c', 2), ('a"', '', 3), ('a', '","', 4)) AS t(x, y, n)`,
      side,
    )
    w.sync = { ...w.sync, model: { ...w.sync.model, key: ['x', 'y'] } }
    await ran(w)
    expect([...bodies()].map(([key, fields]) => [key, fields['n']]).sort(([, a], [, b]) => Number(a) - Number(b))).toEqual([
      ['["a","b,c"]', '1'],
      ['["a,b","c"]', '2'],
      ['["a\\"",""]', '3'],
      ['["a","\\",\\""]', '4'],
    ])
    expect(await pending(w)).toEqual({})
  })
})

it.runIf(engine.reads === null)('a model that moves from PostgreSQL to DuckDB with the same values sends nothing', async () => {
  const select = (position: 0 | 1): string => `SELECT 1 AS id, ${TYPES.map((row, i) => `${row[position]} AS v${i}`).join(', ')}`
  w = await webhookWorld(
    TYPES.map((_, i) => column(`f${i}`, `v${i}`)),
    select(0),
    'postgres',
  )
  await ran(w)
  w.sync = { ...w.sync, warehouse: warehouses.duckdb(), model: { ...w.sync.model, sql: select(1) } }
  expect(await pending(w)).toEqual({})
  expect((await w.plan()).counts.unchanged).toBe(1)
})

it.each(['match', 'renames', 'any'] as const)('addresses of every kind are found again, changed and removed, by %s', async (kind) => {
  const match: ObjectSpec['match'] = kind === 'any' ? { email: 'exact', phone: 'exact' } : { email: 'exact' }
  w = await world(service(kind, { match }))
  // An empty text is no address where members are matched; \\N is how this world's file writes null.
  const texts = NASTY.filter((text) => text !== '' && text !== '\\N')
  const rows = texts.map((text, i) => person(`${text}#${i}`, text, 'free', kind === 'any' ? `${text}p` : null))
  const { record } = await ran(w, rows)
  expect(record).toMatchObject({ status: 'ok', counts: { add: texts.length, invalid: 0 } })
  expect(
    [...w.service.records().keys()]
      .filter((address) => !address.startsWith('phone:'))
      .map((address) => (kind === 'any' ? address.slice('email:'.length) : address))
      .sort(),
  ).toEqual([...texts].sort())
  expect(await pending(w)).toEqual({})
  if (kind !== 'any') {
    await ran(
      w,
      rows.map((row) => ({ ...row, plan: 'pro' })),
    )
    expect(new Set([...w.service.records().values()].map(({ plan }) => plan))).toEqual(new Set(['pro']))
  }
  await ran(w, [person('left', 'left', 'pro')])
  expect([...w.service.records().keys()]).toEqual([kind === 'any' ? 'email:left' : 'left'])
  expect(await pending(w)).toEqual({})
})
