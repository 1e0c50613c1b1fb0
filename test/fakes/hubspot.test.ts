/** The HubSpot fake answers as HubSpot's documents and recorded replies say. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import hubspot from '../../fakes/hubspot/index.ts'
import { type FakeHost, serveFakes, type ServedFake } from '../../src/testing/host.ts'

let host: FakeHost
let fake: ServedFake
let now = Date.parse('2026-11-20T12:00:00Z')

beforeAll(async () => {
  host = await serveFakes([hubspot], { now: () => now })
  fake = host.fakes.get('hubspot')!
})
afterAll(() => host.close())
beforeEach(() => fake.reset())

// oxlint-disable-next-line typescript/no-explicit-any
type Reply = { status: number; headers: Headers; body: any }

async function ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Reply> {
  const token = fake.destination['access_token'] as string
  const reply = await fetch(fake.url + path, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  const text = await reply.text()
  return { status: reply.status, headers: reply.headers, body: text === '' ? undefined : JSON.parse(text) }
}

const batch = (type: string, what: string, inputs: unknown[], more: object = {}) =>
  ask('POST', `/crm/objects/2026-03/${type}/batch/${what}`, { inputs, ...more })

const contact = (email: string, properties: object = {}, objectWriteTraceId?: string) => ({
  id: email,
  idProperty: 'email',
  properties,
  ...(objectWriteTraceId === undefined ? {} : { objectWriteTraceId }),
})

async function create(type: string, properties: object): Promise<string> {
  const { body } = await batch(type, 'create', [{ properties, associations: [] }])
  return body.results[0].id
}

test('Contacts are upserted by e-mail in lower case, changed without touching other properties, and cleared by an empty text only', async () => {
  const first = await batch('contacts', 'upsert', [contact('Ada@Example.com', { firstname: 'Ada', city: 'Rome' }, 't1')])
  expect(first.status).toBe(200)
  expect(first.headers.get('x-hubspot-ratelimit-max')).toBe('190')
  expect(first.body).toMatchObject({
    status: 'COMPLETE',
    results: [{ new: true, objectWriteTraceId: 't1', properties: { email: 'ada@example.com', firstname: 'Ada' } }],
  })
  const again = await batch('0-1', 'upsert', [contact('ada@example.com', { city: null, phone: '1' }, 't1')])
  expect(again.body.results[0]).toMatchObject({ new: false, id: first.body.results[0].id })
  expect(fake.records()['contacts']).toEqual([
    { id: first.body.results[0].id, email: 'ada@example.com', firstname: 'Ada', city: 'Rome', phone: '1' },
  ])
  await batch('contacts', 'upsert', [contact('ada@example.com', { city: '' })])
  expect(fake.records()['contacts']?.[0]).not.toHaveProperty('city')
})

test('With a trace id each, bad rows are named in a 207 and the others are written', async () => {
  fake.reverse(true)
  const { status, body } = await batch('contacts', 'upsert', [
    contact('a@example.com', { firstname: 'A' }, 'a'),
    contact('b@example.com', { nickname: 'B' }, 'b'),
    contact('c@example.com', { seats: 'many', tier: 'gold', birthday: '2026-02-30' }, 'c'),
    contact('d@example.com', { hs_object_id: '1' }, 'd'),
    contact('e@example.com', { lastname: 'E' }, 'e'),
  ])
  expect(status).toBe(207)
  expect(body.results.map((row: { objectWriteTraceId: string }) => row.objectWriteTraceId)).toEqual(['e', 'a'])
  expect(body.numErrors).toBe(3)
  const byTrace = Object.fromEntries(
    body.errors.map((error: { context: { objectWriteTraceId: string[] }; message: string }) => [
      error.context.objectWriteTraceId[0],
      error.message,
    ]),
  )
  expect(byTrace['b']).toContain('PROPERTY_DOESNT_EXIST')
  for (const code of ['INVALID_INTEGER', 'INVALID_OPTION', 'INVALID_DATE']) expect(byTrace['c']).toContain(code)
  expect(byTrace['d']).toContain('READ_ONLY_VALUE')
  expect(fake.records()['contacts']).toHaveLength(2)
})

test('Without trace ids one bad row refuses the batch, and nothing of it stays', async () => {
  const { status, body } = await batch('contacts', 'upsert', [
    contact('a@example.com', { firstname: 'A' }),
    contact('b@example.com', { x: '1' }),
  ])
  expect(status).toBe(400)
  expect(body).toMatchObject({
    category: 'VALIDATION_ERROR',
    errors: [{ code: 'PROPERTY_DOESNT_EXIST', context: { propertyName: ['x'] } }],
  })
  expect(fake.records()['contacts']).toEqual([])
  expect((await batch('contacts', 'upsert', [contact('a@example.com', { firstname: 'A' })])).body.results[0].new).toBe(true)
})

test('A batch is refused for an id that occurs twice, for no rows, for 101, and by a property that is not unique', async () => {
  const twice = await batch('contacts', 'upsert', [contact('a@example.com', {}, '1'), contact('A@example.com ', {}, '2')])
  expect(twice).toMatchObject({ status: 400, body: { category: 'VALIDATION_ERROR', context: { ids: ['a@example.com'] } } })
  expect((await batch('contacts', 'upsert', [])).status).toBe(400)
  const many = Array.from({ length: 101 }, (_, i) => contact(`p${i}@example.com`, { firstname: 'P' }, String(i)))
  expect((await batch('contacts', 'upsert', many)).status).toBe(400)
  const byDomain = await batch('companies', 'upsert', [{ id: 'example.com', idProperty: 'domain', properties: {} }])
  expect(byDomain.body.message).toBe('Unable to perform update/upsert by non-unique 0-2 property domain')
  const byEmail = await batch('contacts', 'update', [contact('a@example.com', { firstname: 'A' })])
  expect(byEmail.body.message).toBe('Unable to perform update/upsert by non-unique 0-1 property email')
})

test('A contact is found by a further address of its own, and keeps its first', async () => {
  const id = await create('contacts', { email: 'ada@example.com', hs_additional_emails: 'a@home.example.com;b@home.example.com' })
  const { body } = await batch('contacts', 'upsert', [contact('A@home.example.com', { city: 'Rome' }, 't')])
  expect(body.results[0]).toMatchObject({ id, new: false, properties: { email: 'ada@example.com', city: 'Rome' } })
  const read = await batch('contacts', 'read', [{ id: 'b@home.example.com' }, { id: 'nobody@example.com' }], {
    idProperty: 'email',
    properties: ['city', 'zip'],
  })
  expect(read.status).toBe(207)
  expect(read.body.results).toMatchObject([{ id, properties: { email: 'ada@example.com', city: 'Rome', zip: null } }])
  expect(read.body.errors).toMatchObject([{ category: 'OBJECT_NOT_FOUND', context: { ids: ['nobody@example.com'] } }])
})

test('Two records never share a unique value', async () => {
  const id = await create('contacts', { email: 'ada@example.com', customer_id: '7' })
  const untraced = await batch('contacts', 'create', [{ properties: { email: 'ADA@example.com' } }])
  expect(untraced).toMatchObject({ status: 409, body: { category: 'CONFLICT', message: 'Contact already exists' } })
  const traced = await batch('contacts', 'create', [
    { properties: { email: 'ada@example.com' }, objectWriteTraceId: 'x' },
    { properties: { email: 'new@example.com' }, objectWriteTraceId: 'y' },
  ])
  expect(traced).toMatchObject({
    status: 207,
    body: {
      results: [{ objectWriteTraceId: 'y' }],
      errors: [{ category: 'CONFLICT', context: { objectWriteTraceId: ['x'], existingId: [id] } }],
    },
  })
  const other = await batch('contacts', 'upsert', [contact('new@example.com', { customer_id: '7' }, 'z')])
  expect(other.body.errors[0].message).toContain('CONFLICTING_UNIQUE_VALUE')
})

test('An update names the records that are not there by their ids, an archive says nothing of them', async () => {
  const id = await create('deals', { dealname: 'D', amount: 5 })
  const { status, body } = await batch('deals', 'update', [
    { id, properties: { amount: '12.50' } },
    { id: '1', properties: { amount: '1' } },
    { id: '2', properties: { amount: '1' } },
  ])
  expect(status).toBe(207)
  expect(body.results).toMatchObject([{ id, properties: { amount: '12.50' } }])
  expect(body.errors).toMatchObject([{ category: 'OBJECT_NOT_FOUND', context: { ids: ['1', '2'] } }])
  expect((await batch('deals', 'archive', [{ id }, { id: '1' }])).status).toBe(204)
  expect(fake.records()['deals']).toEqual([])
})

test('Values are kept in HubSpot’s form', async () => {
  const id = await create('contacts', {
    email: 'a@example.com',
    is_active: 'TRUE',
    birthday: '946684800000',
    signed_up_at: '2026-01-02T05:04:05+02:00',
    interests: 'api',
    lifecyclestage: 'customer',
    mrr: 12.5,
  })
  await batch('contacts', 'update', [{ id, properties: { interests: ';billing', lifecyclestage: 'lead' } }])
  expect(fake.records()['contacts']?.[0]).toMatchObject({
    is_active: 'true',
    birthday: '2000-01-01',
    signed_up_at: '2026-01-02T03:04:05Z',
    interests: 'api;billing',
    lifecyclestage: 'customer',
    mrr: '12.5',
  })
  await batch('contacts', 'update', [{ id, properties: { lifecyclestage: '' } }])
  await batch('contacts', 'update', [{ id, properties: { lifecyclestage: 'lead' } }])
  expect(fake.records()['contacts']?.[0]).toMatchObject({ lifecyclestage: 'lead' })
})

test('Search finds by equality and in lists, a while after the write, and tells nothing of limits', async () => {
  const id = await create('companies', { name: 'Acme', domain: 'Acme.example.com' })
  const search = () =>
    ask('POST', '/crm/objects/2026-03/companies/search', {
      filterGroups: [{ filters: [{ propertyName: 'domain', operator: 'IN', values: ['acme.example.com', 'x.example.com'] }] }],
      properties: ['domain'],
      limit: 200,
    })
  expect((await search()).body.total).toBe(0)
  now += 5000
  const found = await search()
  expect(found.body).toMatchObject({ total: 1, results: [{ id, properties: { domain: 'acme.example.com' } }] })
  expect(found.headers.get('x-hubspot-ratelimit-max')).toBeNull()
})

test('Lists take existing records of their type, name those that are missing, and a dynamic one takes none', async () => {
  const id = await create('contacts', { email: 'a@example.com' })
  const add = (list: string, ids: unknown) => ask('PUT', `/crm/lists/2026-03/${list}/memberships/add`, ids)
  expect((await add('1', [id, '9'])).body).toEqual({ recordsIdsAdded: [id], recordIdsRemoved: [], recordIdsMissing: ['9'] })
  expect((await add('1', [id])).body).toEqual({ recordsIdsAdded: [], recordIdsRemoved: [], recordIdsMissing: [] })
  expect((await ask('GET', '/crm/lists/2026-03/1/memberships')).body.results).toMatchObject([{ recordId: id }])
  expect((await add('3', [id])).status).toBe(400)
  expect((await add('99', [id])).status).toBe(404)
  expect((await add('1', { ids: [id] })).status).toBe(400)
  const change = await ask('PUT', '/crm/lists/2026-03/1/memberships/add-and-remove', { recordIdsToAdd: [], recordIdsToRemove: [id] })
  expect(change.body.recordIdsRemoved).toEqual([id])
  const made = await ask('POST', '/crm/lists/2026-03', { name: 'VIP', objectTypeId: '0-1', processingType: 'MANUAL' })
  expect((await ask('GET', '/crm/lists/2026-03/object-type-id/0-1/name/vip')).body.list.listId).toBe(made.body.list.listId)
  expect((await ask('POST', '/crm/lists/2026-03', { name: 'VIP', objectTypeId: '0-1', processingType: 'MANUAL' })).status).toBe(400)
})

test('Associations join two records with labels, are read from both sides, and name ids that do not exist', async () => {
  const person = await create('contacts', { email: 'a@example.com' })
  const company = await create('companies', { name: 'Acme' })
  const link = (what: string, inputs: unknown[], types = 'contacts/companies') =>
    ask('POST', `/crm/associations/2026-03/${types}/batch/${what}`, { inputs })
  const labels = await ask('GET', '/crm/associations/2026-03/contacts/companies/labels')
  expect(labels.body.results).toContainEqual({ category: 'HUBSPOT_DEFINED', typeId: 279, label: null })
  const types = [{ associationCategory: 'HUBSPOT_DEFINED', associationTypeId: 1 }]
  const made = await link('create', [
    { from: { id: person }, to: { id: company }, types },
    { from: { id: '5' }, to: { id: company }, types },
  ])
  expect(made).toMatchObject({
    status: 207,
    body: {
      results: [{ fromObjectId: person, toObjectId: company, labels: ['Primary'] }],
      errors: [{ context: { INVALID_OBJECT_IDS: ['CONTACT=5 is not valid'], objectId: ['5'] } }],
    },
  })
  const read = await link('read', [{ id: company }], 'companies/contacts')
  expect(read.body.results[0].to).toMatchObject([
    { toObjectId: person, associationTypes: [{ typeId: 280 }, { typeId: 2, label: 'Primary' }] },
  ])
  expect((await link('archive', [{ from: { id: person }, to: [{ id: company }, { id: '6' }] }])).status).toBe(200)
  expect(fake.records()['associations']).toEqual([])
  expect((await link('associate/default', [{ from: { id: person }, to: { id: company } }])).body.results).toHaveLength(2)
  expect(fake.records()['associations']).toHaveLength(1)
})

test('A custom object is known by its type id and its qualified name', async () => {
  await batch('p40404040_subscription', 'upsert', [{ id: 's1', idProperty: 'subscription_id', properties: { plan: 'pro' } }])
  const { body } = await batch('2-1001', 'read', [{ id: 's1' }], { idProperty: 'subscription_id', properties: ['plan'] })
  expect(body.results[0].properties).toMatchObject({ subscription_id: 's1', plan: 'pro' })
  expect((await ask('GET', '/crm-object-schemas/2026-03/schemas')).body.results).toMatchObject([{ objectTypeId: '2-1001' }])
})

test('Metadata tells types, options, unique and read-only properties; the account its id', async () => {
  const { body } = await ask('GET', '/crm/properties/2026-03/contacts?archived=false')
  const named = (name: string) => body.results.find((one: { name: string }) => one.name === name)
  expect(named('customer_id')).toMatchObject({ hasUniqueValue: true, type: 'string' })
  expect(named('hs_object_id')).toMatchObject({ modificationMetadata: { readOnlyValue: true } })
  expect(named('tier').options.map((option: { value: string }) => option.value)).toEqual(['free', 'pro', 'enterprise'])
  expect((await ask('GET', '/account-info/2026-03/details')).body).toMatchObject({ portalId: 40404040, timeZone: 'Europe/Dublin' })
  expect((await ask('GET', '/crm/owners/2026-03?email=Sales@example.com')).body.results).toMatchObject([{ id: '7001' }])
})

test('What is not HubSpot is refused: token, path, method, version, type, content type, broken JSON, unknown members', async () => {
  const path = '/crm/objects/2026-03/contacts/batch/upsert'
  const body = { inputs: [contact('a@example.com', {})] }
  expect(await ask('POST', path, body, { authorization: 'Bearer wrong' })).toMatchObject({
    status: 401,
    body: { category: 'INVALID_AUTHENTICATION' },
  })
  expect((await fetch(fake.url + path, { method: 'POST' })).status).toBe(401)
  expect((await ask('POST', '/crm/v3/objects/contacts/batch/upsert', body)).status).toBe(404)
  expect((await ask('PUT', path, body)).status).toBe(404)
  expect(await ask('POST', '/crm/objects/2026-03/widgets/batch/upsert', body)).toMatchObject({
    status: 400,
    body: { message: 'Unable to infer object type from: widgets' },
  })
  expect((await ask('POST', path, body, { 'content-type': 'text/plain' })).status).toBe(415)
  expect((await ask('POST', path, '{"inputs":')).status).toBe(400)
  expect((await ask('POST', path, { ...body, upsert: true })).status).toBe(400)
  expect((await ask('POST', path, { inputs: [{ ...contact('a@example.com'), email: 'x' }] })).status).toBe(400)
  expect((await ask('POST', path, { inputs: [contact('a@example.com', { city: ['Rome'] })] })).status).toBe(400)
  expect(fake.records()['contacts']).toEqual([])
})

test('Rows are refused on request in HubSpot’s own form', async () => {
  fake.refuseRows(1)
  const { status, body } = await batch('contacts', 'upsert', [contact('a@example.com', {}, 'a'), contact('b@example.com', {}, 'b')])
  expect(status).toBe(207)
  expect(body.errors[0].context.objectWriteTraceId).toEqual(['a'])
  fake.refuseRows(1)
  const added = await ask('PUT', '/crm/lists/2026-03/1/memberships/add', [body.results[0].id])
  expect(added.body.recordIdsMissing).toEqual([body.results[0].id])
})

test('Failures of the whole request look like HubSpot’s', async () => {
  const fail = async (status: number, more: object = {}) => {
    fake.fault(() => ({ kind: 'status', status, ...more }))
    return ask('GET', '/account-info/2026-03/details')
  }
  expect((await fail(429)).body).toMatchObject({ errorType: 'RATE_LIMIT', policyName: 'TEN_SECONDLY_ROLLING' })
  expect((await fail(429)).headers.get('retry-after')).toBeNull()
  const daily = await fail(429, { daily: true, retryAfter: 3600 })
  expect(daily.body).toMatchObject({ policyName: 'DAILY' })
  expect(daily.headers.get('retry-after')).toBe('3600')
  expect((await fail(403)).body).toMatchObject({ category: 'MISSING_SCOPES' })
  expect((await fail(500)).status).toBe(500)
})
