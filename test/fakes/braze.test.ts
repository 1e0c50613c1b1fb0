/** The fake of Braze answers as Braze does. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import braze from '../../fakes/braze/index.ts'
import { serveFakes, type ServedFake } from '../../src/testing/host.ts'

const host = await serveFakes([braze])
const fake = host.fakes.get('braze') as ServedFake
afterAll(() => host.close())
beforeEach(() => fake.reset())

async function ask(method: string, path: string, body?: unknown, key: string | null = 'braze-sandbox-key', type = 'application/json') {
  const reply = await fetch(fake.url + path, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': type }), ...(key === null ? {} : { authorization: `Bearer ${key}` }) },
    body: body === undefined ? null : JSON.stringify(body),
  })
  // oxlint-disable-next-line typescript/no-explicit-any
  return { status: reply.status, headers: reply.headers, json: (await reply.json()) as any }
}

const track = (body: object) => ask('POST', '/users/track', body)
const users = () => fake.records()['users'] ?? []
const time = '2026-11-01T10:00:00Z'

describe('/users/track', () => {
  it('writes attributes of profiles, known and custom ones, and makes those that are missing', async () => {
    const reply = await track({
      attributes: [
        { external_id: '1', first_name: 'Ann', plan: 'pro', score: 1.5 },
        { email: 'b@example.com', x: true },
      ],
    })
    expect(reply).toMatchObject({ status: 201, json: { message: 'success', attributes_processed: 2 } })
    expect(reply.json).not.toHaveProperty('errors')
    expect(users()).toMatchObject([
      { external_id: '1', first_name: 'Ann', custom_attributes: { plan: 'pro', score: 1.5 } },
      { email: 'b@example.com', custom_attributes: { x: true } },
    ])
    await track({ attributes: [{ external_id: '1', first_name: null, plan: null, tier: 'a' }] })
    expect(users()[0]).not.toHaveProperty('first_name')
    expect(users()[0]).toMatchObject({ custom_attributes: { score: 1.5, tier: 'a' } })
  })

  it('adds to and removes from lists, adds to numbers, merges objects when asked', async () => {
    await track({ attributes: [{ external_id: '1', tags: ['a', 'b'], n: 1, o: { x: 1 } }] })
    await track({
      attributes: [{ external_id: '1', _merge_objects: true, tags: { add: ['c'], remove: ['a'] }, n: { inc: 2 }, o: { y: 2 } }],
    })
    expect(users()[0]).toMatchObject({ custom_attributes: { tags: ['b', 'c'], n: 3, o: { x: 1, y: 2 } } })
  })

  it('passes over users that are not there without a word when only existing ones are asked for', async () => {
    const alias = { alias_name: 'a', alias_label: 'crm' }
    expect(
      await track({
        attributes: [
          { external_id: '9', _update_existing_only: true, x: 1 },
          { user_alias: alias, x: 1 },
        ],
      }),
    ).toMatchObject({
      status: 201,
      json: { attributes_processed: 2 },
    })
    expect(users()).toEqual([])
    await track({ attributes: [{ user_alias: alias, _update_existing_only: false, x: 1 }] })
    expect(users()).toMatchObject([{ user_aliases: [alias], custom_attributes: { x: 1 } }])
  })

  it('drops values that do not fit without a word, and cuts long texts', async () => {
    const reply = await track({
      attributes: [{ external_id: '1', email: 'nobody', country: 'Norway', dob: '1.2.90', gender: 'x', $x: 1, long: 'x'.repeat(300) }],
    })
    expect(reply.status).toBe(201)
    expect(Object.keys(users()[0] ?? {})).toEqual(['braze_id', 'external_id', 'created_at', 'custom_attributes'])
    expect(users()[0]).toMatchObject({ custom_attributes: { long: 'x'.repeat(255) } })
  })

  it('takes events and purchases', async () => {
    const event = { external_id: '1', name: 'signed_up', time, properties: { plan: 'pro' } }
    const purchase = { external_id: '1', product_id: 'p', currency: 'USD', price: 9.5, quantity: 2, time }
    expect((await track({ events: [event], purchases: [purchase] })).json).toEqual({
      message: 'success',
      events_processed: 1,
      purchases_processed: 1,
    })
    expect(fake.records()).toMatchObject({ events: [event], purchases: [purchase], users: [{ external_id: '1' }] })
    expect((await ask('GET', '/events/list')).json).toEqual({ events: ['signed_up'], message: 'success' })
  })

  it('names the bad objects by list and index, and takes the others', async () => {
    const reply = await track({
      attributes: [{ external_id: '1', a: 1 }, { a: 1 }, { external_id: 7, a: 1 }],
      events: [{ external_id: '1', name: 'x' }],
    })
    expect(reply.status).toBe(201)
    expect(reply.json).toMatchObject({ message: 'success', attributes_processed: 1 })
    expect(reply.json).not.toHaveProperty('events_processed')
    expect(reply.json.errors.map(({ input_array, index }: { input_array: string; index: number }) => [input_array, index])).toEqual([
      ['attributes', 1],
      ['attributes', 2],
      ['events', 0],
    ])
    expect(users()).toHaveLength(1)
    fake.reverse(true)
    expect((await track({ attributes: [{}, { external_id: '1' }, {}] })).json.errors).toMatchObject([{ index: 2 }, { index: 0 }])
  })

  it('answers 400 when nothing is valid', async () => {
    const reply = await track({ attributes: [{ a: 1 }] })
    expect(reply).toMatchObject({
      status: 400,
      json: { errors: [{ input_array: 'attributes', index: 0, type: expect.stringContaining('is required') }] },
    })
    expect(reply.json.message).toContain('Valid data must be provided')
    expect((await track({})).status).toBe(400)
  })

  it.each([
    { external_id: '1', time },
    { external_id: '1', name: 'x', time: 'yesterday' },
    { external_id: '1', name: 'x'.repeat(256), time },
    { external_id: '1', name: 'x', time, properties: [] },
    { user_alias: { alias_name: 'x' }, name: 'x', time },
  ])('refuses the event %o', async (event) => {
    expect((await track({ events: [event] })).status).toBe(400)
  })

  it.each([{ price: '9' }, { currency: 'usd' }, { quantity: 0 }, { quantity: 101 }, { product_id: undefined }])(
    'refuses a purchase with %o',
    async (part) => {
      const purchase = { external_id: '1', product_id: 'p', currency: 'USD', price: 9.5, time, ...part }
      expect((await track({ purchases: [purchase] })).status).toBe(400)
    },
  )

  it('refuses more than 75 objects, all lists together, and unknown members', async () => {
    const many = (n: number) => Array.from({ length: n }, (_, i) => ({ external_id: String(i), name: 'x', time }))
    expect((await track({ attributes: many(40), events: many(36) })).status).toBe(400)
    expect((await track({ attributes: many(40), events: many(35) })).status).toBe(201)
    expect((await track({ users: [] })).status).toBe(400)
    expect((await track({ attributes: {} })).status).toBe(400)
  })

  it('refuses bodies over 4 MB', async () => {
    expect((await track({ attributes: [{ external_id: '1', x: 'x'.repeat(5_000_000) }] })).status).toBe(413)
  })

  it('refuses a row when it is told to', async () => {
    fake.refuseRows(1)
    const reply = await track({ attributes: [{ external_id: '1' }, { external_id: '2' }] })
    expect(reply.json).toMatchObject({ attributes_processed: 1, errors: [{ input_array: 'attributes', index: 0 }] })
  })
})

describe('users', () => {
  it('are deleted, counting only those that were there', async () => {
    await track({ attributes: [{ external_id: '1' }, { external_id: '2' }] })
    expect(await ask('POST', '/users/delete', { external_ids: ['1', '9'] })).toMatchObject({
      status: 201,
      json: { deleted: 1, message: 'success' },
    })
    expect(users()).toMatchObject([{ external_id: '2' }])
  })

  it.each([
    {},
    { external_ids: [] },
    { external_ids: [1] },
    { external_ids: ['1'], braze_ids: ['2'] },
    { ids: ['1'] },
    { external_ids: Array(51).fill('1') },
  ])('are not deleted by a wrong body (%#)', async (body) => {
    expect((await ask('POST', '/users/delete', body)).status).toBe(400)
  })

  it('are exported, with the ids that were not found', async () => {
    await track({ attributes: [{ external_id: '1', first_name: 'Ann', plan: 'pro' }] })
    const { status, json } = await ask('POST', '/users/export/ids', {
      external_ids: ['1', '9'],
      fields_to_export: ['external_id', 'first_name'],
    })
    expect([status, json]).toEqual([201, { users: [{ external_id: '1', first_name: 'Ann' }], invalid_user_ids: ['9'], message: 'success' }])
  })

  it('have their custom attributes listed, 50 a page', async () => {
    await track({ attributes: [{ external_id: '1', ...Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`a${i}`, i])) }] })
    const first = await ask('GET', '/custom_attributes')
    expect(first.json.attributes).toHaveLength(50)
    expect(first.json.attributes[0]).toMatchObject({ name: 'a0', data_type: 'Number (Automatically Detected)', status: 'Active' })
    const next = /<.*\/braze(\/[^>]*)>; rel="next"/.exec(first.headers.get('link') ?? '')?.[1] ?? ''
    expect((await ask('GET', next)).json.attributes).toHaveLength(10)
  })
})

describe('catalogs', () => {
  const path = '/catalogs/products/items'
  const items = () => fake.records()['catalog products'] ?? []
  const first = (reply: { json: { errors: { id: string; parameter_values: unknown[] }[] } }) => reply.json.errors[0]

  it('are listed with fields and types, and made', async () => {
    expect((await ask('GET', '/catalogs')).json.catalogs[0]).toMatchObject({
      name: 'products',
      num_items: 0,
      fields: [{ name: 'id', type: 'string' }, { name: 'name' }, { name: 'price', type: 'number' }, {}, {}, {}, {}, {}],
    })
    const fields = [
      { name: 'id', type: 'string' },
      { name: 'x', type: 'number' },
    ]
    expect((await ask('POST', '/catalogs', { catalogs: [{ name: 'mine', fields }] })).status).toBe(201)
    expect((await ask('PUT', '/catalogs/mine/items', { items: [{ id: 'a', x: 1 }] })).status).toBe(202)
  })

  it('replace items with PUT, change them with PATCH, add with POST, delete with DELETE', async () => {
    expect(await ask('PUT', path, { items: [{ id: 'a', name: 'A', price: 1, tags: ['x'] }] })).toMatchObject({
      status: 202,
      json: { message: 'success' },
    })
    await ask('PATCH', path, {
      items: [
        { id: 'a', price: 2, tags: { $add: ['y'], $remove: ['x'] } },
        { id: 'nobody', price: 1 },
      ],
    })
    expect(items()).toEqual([{ id: 'a', name: 'A', price: 2, tags: ['y'] }])
    expect((await ask('GET', `${path}/a`)).json).toMatchObject({ items: [{ id: 'a', price: 2 }] })
    await ask('PUT', path, { items: [{ id: 'a', name: 'B' }] })
    expect(items()).toEqual([{ id: 'a', name: 'B' }])
    expect(first(await ask('POST', path, { items: [{ id: 'a' }] }))).toMatchObject({ id: 'items-already-exist', parameter_values: ['a'] })
    expect((await ask('DELETE', path, { items: [{ id: 'a' }, { id: 'never' }] })).status).toBe(202)
    expect(items()).toEqual([])
    expect(await ask('GET', `${path}/a`)).toMatchObject({ status: 404, json: { errors: [{ id: 'item-not-found' }] } })
  })

  it.each([
    ['fields-do-not-match', 'PUT', [{ id: 'a' }, { id: 'b', color: 1 }], ['b']],
    [
      'invalid-fields',
      'PATCH',
      [
        { id: 'a', color: 1 },
        { id: 'b', color: 1 },
      ],
      ['a', 'b'],
    ],
    ['items-missing-ids', 'PUT', [{ name: 'a' }], [null]],
    ['ids-not-strings', 'PUT', [{ id: 1 }], [1]],
    ['invalid-ids', 'PUT', [{ id: 'a b' }], ['a b']],
    ['ids-too-large', 'PUT', [{ id: 'a'.repeat(251) }], ['a'.repeat(251)]],
    ['ids-not-unique', 'PUT', [{ id: 'a' }, { id: 'a' }], ['a', 'a']],
    ['items-too-large', 'PUT', [{ id: 'a', name: 'x'.repeat(5001) }], ['a']],
    ['unable-to-coerce-value', 'PUT', [{ id: 'a', price: 'cheap' }], ['a']],
    ['invalid-keys-in-value-object', 'PUT', [{ id: 'a', details: { 'x.y': 1 } }], ['a']],
    ['request-includes-too-many-items', 'DELETE', Array.from({ length: 51 }, (_, i) => ({ id: `i${i}` })), [51]],
    ['item-array-invalid', 'PUT', [1], []],
  ])('refuse a whole request with %s', async (id, method, list, parameter_values) => {
    const reply = await ask(method, path, { items: list })
    expect(reply.status).toBe(400)
    expect(first(reply)).toMatchObject({ id, parameter_values })
    expect(items()).toEqual([])
  })

  it('are not found by another name', async () => {
    expect(await ask('PUT', '/catalogs/none/items', { items: [{ id: 'a' }] })).toMatchObject({
      status: 404,
      json: { errors: [{ id: 'catalog-not-found' }] },
    })
  })

  it('refuse the whole request for a row when they are told to', async () => {
    fake.refuseRows(2)
    const reply = await ask('PUT', path, { items: [{ id: 'a' }, { id: 'b' }, { id: 'c' }] })
    expect(first(reply)).toMatchObject({ parameter_values: ['a', 'b'] })
    expect(items()).toEqual([])
    expect((await ask('PUT', path, { items: [{ id: 'c' }] })).status).toBe(202)
  })
})

it('refuses missing and wrong keys, missing permissions, other paths, types and bodies', async () => {
  const body = { attributes: [{ external_id: '1' }] }
  expect((await ask('POST', '/users/track', body, null)).status).toBe(401)
  expect((await ask('POST', '/users/track', body, 'braze-nobody')).status).toBe(401)
  expect((await ask('POST', '/users/track', body, 'braze-catalogs-only')).status).toBe(403)
  expect((await ask('GET', '/catalogs', undefined, 'braze-users-only')).status).toBe(403)
  expect((await ask('GET', '/users/track')).status).toBe(404)
  expect((await ask('POST', '/users/track', body, 'braze-sandbox-key', 'text/plain')).status).toBe(400)
  expect((await ask('POST', '/users/track', [])).status).toBe(400)
  expect(users()).toEqual([])
})

it('fails as Braze fails', async () => {
  const plan = [401, 403, 429, 500]
  fake.fault(({ request }) => ({ kind: 'status', status: plan[request.n - 1] ?? 503, retryAfter: 7 }))
  for (const status of [...plan, 503]) {
    const reply = await ask('GET', '/catalogs')
    expect([reply.status, typeof reply.json.message]).toEqual([status, 'string'])
    expect(reply.headers.get('x-ratelimit-retry-after')).toBe(status === 429 ? '7' : null)
  }
})
