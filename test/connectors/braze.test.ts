/** Braze beyond the conformance suite: keys and permissions, identifiers, values it would drop silently, partial failures, catalogs. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import connector from '../../connectors/braze/index.ts'
import fake from '../../fakes/braze/index.ts'
import type { Change } from '../../src/connector.ts'
import { exactNumber, type Fields } from '../../src/json.ts'
import { type FakeHost, serveFakes, type ServedFake } from '../../src/testing/index.ts'
import { startTrial, type Trial } from '../../src/testing/trial.ts'
import type { Op } from '../../src/types.ts'
import { batch, change, openDestination, type Opened, write } from '../support/destination.ts'

let host: FakeHost
let served: ServedFake
const opened: Opened[] = []

beforeAll(async () => {
  host = await serveFakes([fake])
  served = host.fakes.get('braze') as ServedFake
})
afterAll(async () => {
  for (const one of opened) await one.close()
  await host.close()
})
beforeEach(() => served.reset())

function open(config: object = {}, options: object = { catalog: 'products' }): Opened['destination'] {
  const one = openDestination(connector, { ...served.destination, ...config }, options)
  opened.push(one)
  return one.destination
}

type Row = readonly [match: Fields, fields?: Fields, more?: Partial<Change>]
/** Rows by number: `k0`, `k1`, … */
const rows = (object: string, op: Op, ...list: readonly Row[]) => ({
  ...batch(
    op,
    list.map(([match, fields = {}, more = {}], i) => change(`k${i}`, fields, { match, ...more })),
  ),
  object,
})
async function send(object: string, op: Op, ...list: readonly Row[]): Promise<readonly Record<string, unknown>[]> {
  const { outcomes, error } = await write(open(), rows(object, op, ...list))
  if (error !== null) throw error as Error
  return outcomes as unknown as Record<string, unknown>[]
}
const users = () => served.records()['users'] as readonly Record<string, unknown>[]
const lastBody = () => served.exchanges.at(-1)?.request.json() as Record<string, readonly Record<string, unknown>[]>
const event = { name: 'Signed up', time: '2026-01-01T00:00:00Z' }
const purchase = { product_id: 'plan', currency: 'EUR', price: 9.5, time: '2026-01-01T00:00:00Z' }
const u = (id: string): Fields => ({ external_id: id })

async function trial(more: Record<string, unknown>, work: (trial: Trial) => Promise<void>): Promise<void> {
  const it = await startTrial({ connector, destination: served.destination, object: 'users', mode: 'upsert', ...more })
  try {
    await it.rows([{ key: '1', match: { external_id: 'u1' }, fields: { first_name: 'Ada' } }])
    await work(it)
  } finally {
    await it.remove()
  }
}

/** A server that answers every POST with this. */
async function against(status: number, body: unknown, work: (base_url: string) => Promise<void>): Promise<void> {
  const server = createServer((request, response) => {
    request
      .resume()
      .on('end', () => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body) ?? '<html>'))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  } finally {
    server.close()
  }
}

describe('the account', () => {
  it('is the workspace by its given name, or else the key, without showing it', async () => {
    const { host: at } = new URL(served.url)
    expect(await open({ workspace: 'Production' }).check()).toEqual({ id: `${at}/Production`, name: `Production (${at})` })
    const [one, other] = [await open().check(), await open({ api_key: 'braze-users-only' }).check()]
    expect(one).toEqual({ id: expect.stringMatching(/\/key [0-9a-f]{12}$/) as string, name: at })
    expect(other.id).not.toBe(one.id)
  })

  it('with a wrong key says what to look at', async () => {
    await trial({ destination: fake.intruder?.(served.url) }, async (it) => {
      const { code, stdout, stderr } = await it.run()
      expect(code).toBe(4)
      expect(stdout + stderr).toMatch(/refused the API key.*REST endpoint of the instance/s)
    })
  })

  it.each<[string, string, string, Op, Row, string]>([
    ['braze-catalogs-only', 'users', 'upsert', 'upsert', [u('a'), { plan: 'x' }], 'users.track'],
    ['braze-catalogs-only', 'users', 'delete', 'delete', [u('a')], 'users.delete'],
    ['braze-users-only', 'users', 'update', 'update', [u('a'), { plan: 'x' }], 'users.export.ids'],
    ['braze-users-only', 'catalog-items', 'upsert', 'upsert', [{ id: 'a' }, {}], 'catalogs.replace_items'],
    ['braze-users-only', 'catalog-items', 'change', 'upsert', [{ id: 'a' }, {}, { changed: ['name'] }], 'catalogs.update_items'],
    ['braze-users-only', 'catalog-items', 'delete', 'delete', [{ id: 'a' }], 'catalogs.delete_items'],
  ])('of the key %s lacks for %s, %s, a permission that is named', async (api_key, object, _, op, row, permission) => {
    const { error } = await write(open({ api_key }), rows(object, op, row))
    expect(error).toMatchObject({ code: 'CDP3002', message: `Braze: the API key lacks the permission ${permission}.` })
  })

  it('is not proved by a page of HTML', async () => {
    await against(200, undefined, async (base_url) => {
      await expect(open({ base_url }).check()).rejects.toMatchObject({ name: 'UnknownOutcome', code: 'not_json' })
    })
  })

  it('must have the endpoint of its instance', () => {
    expect(() => openDestination(connector, { api_key: 'x' })).toThrow('base_url')
  })
})

describe('a profile', () => {
  it.each<[string, Fields, object]>([
    ['external_id', { external_id: 7 }, { external_id: '7' }],
    ['email', { email: 'Ada@example.com' }, { email: 'Ada@example.com' }],
    ['phone', { phone: '+15551234567' }, { phone: '+15551234567' }],
    ['braze_id', { braze_id: '0001' }, { braze_id: '0001' }],
    [
      'user alias',
      { 'user_alias.alias_name': 'n', 'user_alias.alias_label': 'l' },
      { user_alias: { alias_name: 'n', alias_label: 'l' }, _update_existing_only: false },
    ],
  ])('is found by %s', async (_, match, identifier) => {
    expect(await send('users', 'upsert', [match, { plan: 'pro' }])).toEqual([{ key: 'k0', result: 'accepted' }])
    expect(lastBody()).toEqual({ attributes: [{ ...identifier, plan: 'pro' }] })
    expect(served.exchanges.at(-1)?.request.headers['x-braze-bulk']).toBe('true')
  })

  it.each<[Fields]>([[{ external_id: 'a', email: 'a@example.com' }], [{ 'user_alias.alias_name': 'n' }], [{}]])(
    'is not found by %j: one kind of identifier is needed',
    async (match) => {
      await expect(send('users', 'upsert', [match, {}])).rejects.toThrow('A profile is found by external_id')
    },
  )

  it('keeps numbers exact, clears with null, and merges what has a dot in its name', async () => {
    await send('users', 'upsert', [
      u('a'),
      { big: exactNumber('9007199254740993'), 'address.city': 'Wien', 'address.zip': '1010', plan: 'pro' },
    ])
    expect(served.exchanges.at(-1)?.request.text).toContain('"big":9007199254740993,')
    await send('users', 'upsert', [u('a'), { 'address.city': 'Graz', plan: null }])
    expect(users()).toMatchObject([{ custom_attributes: { address: { city: 'Graz', zip: '1010' } } }])
    expect(users()[0]?.['custom_attributes']).not.toHaveProperty('plan')
    // A whole object replaces the one that is there.
    await send('users', 'upsert', [u('a'), { address: { city: 'Linz' } }])
    expect(users()).toMatchObject([{ custom_attributes: { address: { city: 'Linz' } } }])
    expect(lastBody()['attributes']?.[0]).not.toHaveProperty('_merge_objects')
  })

  it.each<[string, Fields, RegExp]>([
    ['country', { country: 'Austria' }, /ISO 3166-1/],
    ['language', { language: 'de-AT' }, /ISO 639-1/],
    ['gender', { gender: 'female' }, /one of M, F, O, N, P/],
    ['dob', { dob: '2026-01-01T00:00:00Z' }, /YYYY-MM-DD/],
    ['email', { email: 'ada' }, /an e-mail address/],
    ['phone', { phone: 'call me' }, /a phone number/],
    ['email_subscribe', { email_subscribe: true }, /opted_in/],
    ['time_zone', { time_zone: 'CET+1 maybe' }, /IANA/],
    ['email_open_tracking_disabled', { email_open_tracking_disabled: 'yes' }, /true or false/],
    ['marked_email_as_spam_at', { marked_email_as_spam_at: 'yesterday' }, /ISO 8601/],
    ['current_location', { current_location: 'here' }, /longitude/],
    ['push_tokens', { push_tokens: 'x' }, /a list/],
    ['first_name', { first_name: 5 }, /a text/],
    ['plan', { plan: 'x'.repeat(256) }, /256 characters; Braze keeps 255/],
    ['tags', { tags: ['x'.repeat(256)] }, /256 characters/],
    ['tags', { tags: Array.from({ length: 501 }, () => 'x') }, /501 items; Braze keeps 500/],
    ['address', { address: { city: 'x'.repeat(256) } }, /256 characters/],
    ['address', { address: { 'post code': '1010' } }, /"post code" inside/],
    ['address', { 'address.a\\.b': '1010' }, /"a.b" inside/],
    ['pets', { pets: [{ $name: 'Rex' }] }, /"\$name" inside/],
    ['pets', { pets: Array.from({ length: 500 }, () => ({ name: 'x'.repeat(200) })) }, /bytes; Braze keeps 100000/],
    ['visits', { visits: { inc: 1 } }, /not a change to it/],
    ['pets', { pets: { $add: [{ name: 'Rex' }] } }, /not a change to it/],
    ['dob', { dob: '2026-13-01' }, /YYYY-MM-DD/],
    ['$x', { $x: 1 }, /name of an attribute/],
    ['n'.repeat(256), { ['n'.repeat(256)]: 1 }, /name of more than 255/],
    ['external_id', { external_id: 'b' }, /found by `match`/],
    ['_update_existing_only', { _update_existing_only: true }, /found by `match`/],
  ])('is rejected for %s that Braze would drop or cut later', async (field, fields, says) => {
    const outcomes = await send('users', 'upsert', [u('a'), fields], [u('b'), { plan: 'pro' }])
    expect(outcomes).toMatchObject([
      { key: 'k0', result: 'rejected', field },
      { key: 'k1', result: 'accepted' },
    ])
    expect(outcomes[0]?.['message']).toMatch(says)
  })

  it('may have attributes called as what every object has, and lists that are edited in a repeatable way', async () => {
    const fields = { constructor: 'x', toString: 'y', $: undefined, born: { at: { $time: '1969-07-20T20:17:40Z' } }, tags: { add: ['a'] } }
    const { $: _, ...all } = fields
    const own = JSON.parse(`{"__proto__":"z","deep.__proto__":"w"}`) as Fields
    expect(await send('users', 'upsert', [u('a'), { ...all, ...own }])).toEqual([{ key: 'k0', result: 'accepted' }])
    expect(served.exchanges.at(-1)?.request.text).toContain('"__proto__":"z"')
    expect(users()).toMatchObject([{ custom_attributes: { constructor: 'x', tags: ['a'] } }])
  })

  it('found by phone is not written an e-mail, for Braze would look for that', async () => {
    await send('users', 'upsert', [u('other'), { email: 'ada@example.com' }])
    const row: Row = [{ phone: '+15551234567' }, { email: 'ada@example.com', plan: 'pro' }]
    expect(await send('users', 'upsert', row)).toMatchObject([{ result: 'rejected', code: 'two_identifiers', field: 'email' }])
    expect(users()).toHaveLength(1)
    expect(users()[0]?.['custom_attributes']).toEqual({})
  })

  it('is rejected for an e-mail in the match that is none', async () => {
    expect(await send('users', 'upsert', [{ email: 'ada' }, {}])).toMatchObject([{ result: 'rejected', field: 'email' }])
    expect(await send('events', 'append', [{ phone: 'x' }, event])).toMatchObject([{ result: 'rejected', field: 'phone' }])
    expect(served.exchanges).toEqual([])
  })

  it('of an update is asked for first, and absent where it is not', async () => {
    const alias = { 'user_alias.alias_name': 'n', 'user_alias.alias_label': 'l' }
    await send('users', 'upsert', [u('a'), { plan: 'free' }])
    await send('users', 'upsert', [alias, { plan: 'free' }])
    expect(await send('users', 'update', [u('a'), { plan: 'pro' }], [u('b'), { plan: 'pro' }])).toEqual([
      { key: 'k1', result: 'absent' },
      { key: 'k0', result: 'accepted' },
    ])
    expect(lastBody()).toEqual({ attributes: [{ external_id: 'a', plan: 'pro', _update_existing_only: true }] })
    expect(await send('users', 'update', [alias, { plan: 'pro' }])).toMatchObject([{ result: 'accepted' }])
    expect(await send('users', 'update', [{ ...alias, 'user_alias.alias_name': 'x' }, { plan: 'pro' }])).toMatchObject([
      { result: 'absent' },
    ])
    expect(users()).toHaveLength(2)
  })

  it('of an update by e-mail is accepted unasked and never created', async () => {
    expect(await send('users', 'update', [{ email: 'ada@example.com' }, { plan: 'pro' }])).toEqual([{ key: 'k0', result: 'accepted' }])
    expect(users()).toEqual([])
    expect(served.exchanges).toHaveLength(1)
  })

  it('is not created by an export that says nothing', async () => {
    await against(200, { message: 'success' }, async (base_url) => {
      const { outcomes, error } = await write(open({ base_url }), rows('users', 'update', [u('a'), { plan: 'pro' }]))
      expect([outcomes, error]).toMatchObject([[], { name: 'UnknownOutcome' }])
    })
  })

  it('is deleted for good by its id or alias, and not by an e-mail', async () => {
    await send('users', 'upsert', [u('a'), {}], [u('b'), {}])
    expect(await send('users', 'delete', [u('a')], [u('gone')])).toEqual([
      { key: 'k0', result: 'accepted' },
      { key: 'k1', result: 'accepted' },
    ])
    expect(users()).toMatchObject([{ external_id: 'b' }])
    expect(await send('users', 'delete', [{ email: 'a@example.com' }])).toMatchObject([
      { result: 'rejected', code: 'no_delete_by', field: 'email' },
    ])
  })

  it('that left the model stays, until the sync says how to remove', async () => {
    await trial({ mode: 'mirror' }, async (it) => {
      expect((await it.run()).code).toBe(0)
      await it.rows([])
      expect((await it.run()).code).toBe(0)
      expect(users()).toHaveLength(1)
    })
    expect(served.exchanges.some(({ request }) => request.path === '/users/delete')).toBe(false)
  })

  it('is read back with its attributes by each kind of identifier', async () => {
    await send('users', 'upsert', [u('a'), { email: 'a@example.com', phone: '+15551234567', plan: 'pro' }])
    const there = { email: 'a@example.com', plan: 'pro' }
    for (const [match, missing] of [
      [u('a'), u('x')],
      [{ email: 'A@example.com' }, { email: 'x@example.com' }],
      [{ phone: '+15551234567' }, { phone: '+15550000000' }],
    ] as const)
      expect(await open().read?.('users', [missing, match])).toMatchObject([null, there])
  })
})

describe('a profile read back', () => {
  it('by an e-mail that several have is none', async () => {
    await against(201, { message: 'success', users: [{ external_id: 'a' }, { external_id: 'b' }] }, async (base_url) => {
      expect(await open({ base_url }).read?.('users', [{ email: 'a@example.com' }])).toEqual([null])
    })
  })
})

describe('a reply to several rows', () => {
  const two = [
    [u('a'), { plan: 'pro' }],
    [u('b'), { plan: 'pro' }],
  ] as const

  it('rejects by list and index whatever comes first, and accepts the others', async () => {
    served.refuseRows(1)
    expect(await send('users', 'upsert', ...two)).toEqual([
      { key: 'k0', result: 'rejected', code: 'refused', message: 'invalid value', field: undefined },
      { key: 'k1', result: 'accepted' },
    ])
  })

  it('with 400 that names every row rejects each with its field', async () => {
    const errors = [
      { type: "'price' is not valid", input_array: 'purchases', index: 1 },
      { type: "'price' is not valid", input_array: 'purchases', index: 0 },
    ]
    await against(400, { message: 'Valid data must be provided', errors }, async (base_url) => {
      const { outcomes } = await write(open({ base_url }), rows('purchases', 'append', [u('a'), purchase], [u('b'), purchase]))
      expect(outcomes).toMatchObject([
        { key: 'k1', result: 'rejected', field: 'price' },
        { key: 'k0', result: 'rejected', field: 'price' },
      ])
    })
  })

  it.each<[string, object]>([
    ['nobody', { message: 'Something is wrong.' }],
    ['only some', { message: 'x', errors: [{ type: 'bad', input_array: 'attributes', index: 0 }] }],
    ['no row of this list', { message: 'x', errors: [{ type: 'bad', input_array: 'events', index: 0 }] }],
  ])('with 400 that names %s is taken apart', async (_, body) => {
    await against(400, body, async (base_url) => {
      expect(await write(open({ base_url }), rows('users', 'upsert', ...two))).toMatchObject({
        outcomes: [],
        error: { name: 'Refused', status: 400 },
      })
    })
  })

  it.each<[string, object]>([
    ['has an error that names no row', { message: 'success', attributes_processed: 1, errors: [{ type: 'bad' }] }],
    ['has an error that is a text', { message: 'success', attributes_processed: 2, errors: ['bad'] }],
    ['has errors that are no list', { message: 'success', attributes_processed: 2, errors: { type: 'bad' } }],
    ['has an error that is null', { message: 'success', attributes_processed: 2, errors: [null] }],
    ['counts fewer than were sent', { message: 'success', attributes_processed: 1 }],
    ['does not say success', { attributes_processed: 2 }],
  ])('that %s leaves its rows unknown', async (_, body) => {
    await against(201, body, async (base_url) => {
      expect(await write(open({ base_url }), rows('users', 'upsert', ...two))).toEqual({ outcomes: [], error: null })
    })
  })

  it('to a delete without its number leaves them unknown', async () => {
    await against(201, { message: 'success' }, async (base_url) => {
      expect(await write(open({ base_url }), rows('users', 'delete', ...two))).toEqual({ outcomes: [], error: null })
    })
  })
})

describe('events and purchases', () => {
  it('go with properties as an object, and without nulls', async () => {
    await send('events', 'append', [u('a'), { ...event, 'properties.plan': 'pro', 'properties.items.count': 2, app_id: null }])
    expect(lastBody()).toEqual({ events: [{ ...event, external_id: 'a', properties: { plan: 'pro', items: { count: 2 } } }] })
    await send('purchases', 'append', [
      { email: 'a@example.com' },
      { ...purchase, price: exactNumber('19.999999999999999999'), quantity: 2 },
    ])
    expect(served.exchanges.at(-1)?.request.text).toContain('"price":19.999999999999999999')
  })

  it.each<['events' | 'purchases', Fields, string, RegExp]>([
    ['events', { time: event.time }, 'name', /missing/],
    ['events', { name: 'x', time: null }, 'time', /missing/],
    ['events', { ...event, time: 'yesterday' }, 'time', /ISO 8601/],
    ['events', { ...event, name: 'x'.repeat(256) }, 'name', /256 characters/],
    ['events', { ...event, properties: 'x' }, 'properties', /an object/],
    ['events', { ...event, 'properties.note': 'x'.repeat(256) }, 'properties', /256 characters/],
    ['events', { ...event, 'properties.$note': 'x' }, 'properties', /"\$note" inside/],
    ['events', { ...event, 'properties.time': 'x' }, 'properties', /time, a name that Braze reserves/],
    ['purchases', { ...purchase, 'properties.price': 1 }, 'properties', /price, a name that Braze reserves/],
    [
      'events',
      { ...event, properties: Object.fromEntries(Array.from({ length: 257 }, (_, i) => [`p${i}`, i])) },
      'properties',
      /257 members/,
    ],
    ['events', { ...event, constructor: 'x' }, 'constructor', /put it into properties/],
    ['events', { ...event, time: '2026-13-01' }, 'time', /ISO 8601/],
    ['events', { ...event, plan: 'x' }, 'plan', /put it into properties/],
    ['purchases', { ...purchase, currency: 'Euro' }, 'currency', /ISO 4217/],
    ['purchases', { ...purchase, price: '9.50' }, 'price', /a number/],
    ['purchases', { ...purchase, quantity: 0 }, 'quantity', /1 to 100/],
    ['purchases', { ...purchase, quantity: 1.5 }, 'quantity', /1 to 100/],
    ['purchases', { ...purchase, product_id: null }, 'product_id', /missing/],
  ])('of %s with %j are rejected for %s', async (object, fields, field, says) => {
    const [outcome] = await send(object, 'append', [u('a'), fields])
    expect(outcome).toMatchObject({ result: 'rejected', field })
    expect(outcome?.['message']).toMatch(says)
    expect(served.exchanges).toEqual([])
  })

  it('whose reply was lost are held, and not sent again', async () => {
    await trial(
      { object: 'events', mode: 'append', sync: { fields: { name: { column: 'c1' }, time: { value: event.time } } } },
      async (it) => {
        served.fault(({ write: writes }) => (writes ? { kind: 'reset', when: 'after' } : undefined))
        expect((await it.run()).code).toBe(3)
        served.fault(() => undefined)
        expect((await it.run()).record.counts).toMatchObject({ held: 1, accepted: 0 })
      },
    )
    expect(served.records()['events']).toHaveLength(1)
  })
})

describe('a catalog', () => {
  const items = () => served.records()['catalog products'] as readonly Record<string, unknown>[]

  it('that is not there, or is not named, ends the run before anything is sent', async () => {
    const catalog = (options: object) => ({
      object: 'catalog-items',
      options,
      sync: { match: { id: { column: 'c0' } }, fields: { name: { column: 'c1' } } },
    })
    await trial(catalog({ catalog: 'nowhere' }), async (it) => {
      const { code, stdout, stderr } = await it.run()
      expect(code).toBe(1)
      expect(stdout + stderr).toMatch(/CDP3200.*no catalog "nowhere".*products, companies/s)
    })
    await trial(catalog({}), async (it) => {
      expect((await it.command('validate')).stderr).toContain('the name of the catalog')
    })
    expect(served.exchanges.filter((exchange) => exchange.write)).toEqual([])
  })

  it('has fields with types', async () => {
    const fields = await open().describe?.('catalog-items')
    expect(fields).toContainEqual({ name: 'price', type: 'number', readOnly: false, accepts: ['integer', 'decimal', 'float'] })
    expect(fields).toContainEqual({ name: 'id', type: 'string', readOnly: true })
  })

  it('gets new items whole, and of known ones only what is sent', async () => {
    await send('catalog-items', 'upsert', [{ id: 'a' }, { name: 'A', price: 1.5 }], [{ id: 'b' }, { name: 'B' }])
    await send('catalog-items', 'upsert', [{ id: 'a' }, { price: 2.5 }, { changed: ['price'] }], [{ id: 'c' }, { name: 'C' }])
    expect(items()).toEqual([
      { id: 'a', name: 'A', price: 2.5 },
      { id: 'b', name: 'B' },
      { id: 'c', name: 'C' },
    ])
    expect(served.exchanges.map(({ request }) => request.method)).toEqual(['PUT', 'PUT', 'PATCH'])
    expect(await open().read?.('catalog-items', [{ id: 'x' }, { id: 'a' }])).toEqual([null, { name: 'A', price: 2.5 }])
  })

  it('refuses items by their ids, and takes the others when they are sent again', async () => {
    const outcomes = await send(
      'catalog-items',
      'upsert',
      [{ id: 'a' }, { name: 'A' }],
      [{ id: 'b' }, { released_at: 'never' }],
      [{ id: 'c' }, { nope: 1 }],
      [{ id: 7 }, { name: 'D' }],
    )
    expect(outcomes).toMatchObject([
      { key: 'k2', result: 'rejected', code: 'fields-do-not-match' },
      { key: 'k1', result: 'rejected', code: 'unable-to-coerce-value' },
      { key: 'k0', result: 'accepted' },
      { key: 'k3', result: 'accepted' },
    ])
    expect(items()).toMatchObject([{ id: 'a' }, { id: '7' }])
  })

  it.each<[Row, string]>([
    [[{ id: 'a b' }, {}], 'id'],
    [[{ id: 'x'.repeat(251) }, {}], 'id'],
    [[{ id: 'a' }, { name: 'x'.repeat(5001) }], 'name'],
  ])('is not sent what it takes in no case', async (row, field) => {
    expect(await send('catalog-items', 'upsert', row)).toMatchObject([{ result: 'rejected', field }])
    expect(served.exchanges).toEqual([])
  })

  it.each<[object, object]>([
    [
      { errors: [{ id: 'request-includes-too-many-items', message: 'no', parameter_values: [99] }] },
      { name: 'Refused', code: 'request-includes-too-many-items' },
    ],
    [{ errors: [{ id: 'arbitrary-error', message: 'later' }] }, { name: 'UnknownOutcome', code: 'arbitrary-error' }],
    [{}, { name: 'Refused', code: 'refused' }],
  ])('that refuses with %j is what it means', async (body, error) => {
    await against(400, body, async (base_url) => {
      expect(await write(open({ base_url }), rows('catalog-items', 'upsert', [{ id: 'a' }, {}], [{ id: 'b' }, {}]))).toMatchObject({
        outcomes: [],
        error,
      })
    })
  })

  it('that is gone meanwhile ends the run', async () => {
    const errors = [
      { id: 'catalog-not-found', message: 'Could not find catalog', parameters: ['catalog_name'], parameter_values: ['products'] },
    ]
    await against(404, { errors, message: 'Invalid Request' }, async (base_url) => {
      const { outcomes, error } = await write(open({ base_url }), rows('catalog-items', 'upsert', [{ id: 'a' }, {}], [{ id: 'b' }, {}]))
      expect([outcomes, error]).toMatchObject([[], { code: 'CDP3200' }])
    })
  })

  it('that does not say that it took new items leaves them unknown before it is asked to change others', async () => {
    const made: string[] = []
    const server = createServer((request, response) => {
      made.push(request.method ?? '')
      const [status, body] = request.method === 'PUT' ? [202, {}] : [429, { message: 'slow down' }]
      request.resume().on('end', () => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body)))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      const base_url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const both = rows('catalog-items', 'upsert', [{ id: 'a' }, {}], [{ id: 'b' }, { name: 'B' }, { changed: ['name'] }])
      const { outcomes, error } = await write(open({ base_url }), both)
      expect(made).toEqual(['PUT', 'PATCH'])
      expect([outcomes, error]).toMatchObject([[{ key: 'k0', result: 'unknown' }], { name: 'RateLimited' }])
    } finally {
      server.close()
    }
  })

  it.each(['$add', '$remove'])('takes values, and not %s, which changes one', async (edit) => {
    const outcomes = await send('catalog-items', 'upsert', [{ id: 'a' }, { tags: { [edit]: ['x'] } }])
    expect(outcomes).toMatchObject([{ result: 'rejected', field: 'tags' }])
  })

  it('is read by ids that it can have, and believed about those only', async () => {
    await against(200, { items: [{ id: 'other', name: 'X' }] }, async (base_url) => {
      expect(await open({ base_url }).read?.('catalog-items', [{ id: '..' }, { id: 'a/b' }, { id: 'a' }, { id: 'other' }])).toEqual([
        null,
        null,
        null,
        { name: 'X' },
      ])
    })
  })

  it('names the item also where several parameters are wrong', async () => {
    const errors = [{ id: 'invalid-fields', message: 'no', parameters: ['id', 'price'], parameter_values: [{ id: 'a', price: 'x' }] }]
    await against(400, { errors, message: 'Invalid Request' }, async (base_url) => {
      const { outcomes } = await write(open({ base_url }), rows('catalog-items', 'upsert', [{ id: 'a' }, {}]))
      expect(outcomes).toMatchObject([{ key: 'k0', result: 'rejected', code: 'invalid-fields' }])
    })
  })

  it('loses items that left', async () => {
    await send('catalog-items', 'upsert', [{ id: 'a' }, {}], [{ id: 'b' }, {}])
    expect(await send('catalog-items', 'delete', [{ id: 'a' }], [{ id: 'gone' }])).toMatchObject([
      { result: 'accepted' },
      { result: 'accepted' },
    ])
    expect(items()).toEqual([{ id: 'b' }])
  })
})
