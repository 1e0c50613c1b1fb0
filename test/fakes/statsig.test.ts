/** The fake of Statsig answers and refuses as its specifications say. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import statsig from '../../fakes/statsig/index.ts'
import { type FakeHost, type ServedFake, serveFakes } from '../../src/testing/host.ts'

let host: FakeHost
let fake: ServedFake

beforeAll(async () => {
  host = await serveFakes([statsig])
  fake = host.fakes.get('statsig') as ServedFake
})
afterAll(() => host.close())
beforeEach(() => fake.reset())

type Reply = { status: number; headers: Headers; body: Record<string, unknown> }

async function call(method: string, path: string, json?: unknown, headers: Record<string, string> = {}): Promise<Reply> {
  const reply = await fetch(fake.url + path, {
    method,
    headers: {
      'statsig-api-key': path.startsWith('/console') ? 'console-sandbox' : 'secret-sandbox',
      'content-type': 'application/json',
      ...headers,
    },
    ...(json === undefined ? {} : { body: typeof json === 'string' ? json : JSON.stringify(json) }),
  })
  return { status: reply.status, headers: reply.headers, body: (await reply.json()) as Record<string, unknown> }
}

const LIST = '/console/v1/segments/pro_customers/id_list'
const idsOf = (segment: string): unknown => fake.records()['segments']?.find(({ id }) => id === segment)?.['ids']

test('ids are added, read, removed and replaced as a set', async () => {
  expect(await call('PATCH', LIST, { ids: ['u1', 'u2'] })).toMatchObject({
    status: 200,
    body: { message: 'IDs successfully added to Segment ID List' },
  })
  expect((await call('PATCH', LIST, { ids: ['u2', 'u3'] })).status).toBe(200)
  expect(idsOf('pro_customers')).toEqual(['u1', 'u2', 'u3'])
  expect((await call('DELETE', LIST, { ids: ['u1', 'never there'] })).body['message']).toBe('IDs successfully removed from Segment ID List')
  const { body } = await call('GET', `${LIST}?limit=1&page=2`)
  expect(body).toMatchObject({
    data: { name: 'pro_customers', count: 2, ids: ['u3'] },
    pagination: { totalItems: 2, nextPage: null, previousPage: `${LIST}?limit=1&page=1` },
  })
  expect((await call('POST', `${LIST}/reset`, { ids: ['u9'] })).status).toBe(200)
  expect(fake.records()['members']).toEqual([{ segment: 'pro_customers', id: 'u9' }])
})

test('a segment is created, read, listed, archived and deleted', async () => {
  const made = await call('POST', '/console/v1/segments', { name: 'VIP list', id: 'vip_list', type: 'id_list', idType: 'companyID' })
  expect(made).toMatchObject({ status: 201, body: { data: { id: 'vip_list', type: 'id_list', idType: 'companyID', count: 0 } } })
  expect((await call('POST', '/console/v1/segments', { name: 'VIP list', id: 'vip_list', type: 'id_list' })).status).toBe(400)
  await call('PATCH', '/console/v1/segments/vip_list/id_list', { ids: ['c1'] })
  expect((await call('GET', '/console/v1/segments/vip_list')).body['data']).toMatchObject({ id: 'vip_list', count: 1 })
  const listed = (await call('GET', '/console/v1/segments')).body['data'] as { id: string }[]
  expect(listed.map(({ id }) => id)).toEqual(['pro_customers', 'pro_companies', 'beta_by_rule', 'vip_list'])
  expect((await call('PUT', '/console/v1/segments/vip_list/archive')).status).toBe(200)
  expect((await call('DELETE', '/console/v1/segments/vip_list')).status).toBe(200)
  expect((await call('GET', '/console/v1/segments/vip_list')).status).toBe(404)
})

test('project, company and id types can be read', async () => {
  expect((await call('GET', '/console/v1/project')).body['data']).toEqual({ id: 'sandbox-project' })
  expect((await call('GET', '/console/v1/company')).body['data']).toMatchObject({ companyID: 'sandbox-company', orgID: null })
  expect((await call('GET', '/console/v1/unit_id_types')).body['data']).toContainEqual({ name: 'userID', description: 'The primary user.' })
  expect(fake.exchanges.some(({ write }) => write)).toBe(false)
})

test('only a console key reads segments, only a server secret or client key logs events', async () => {
  for (const key of ['secret-sandbox', 'console-wrong', '']) {
    const refused = await call('GET', '/console/v1/segments', undefined, { 'statsig-api-key': key })
    expect(refused).toMatchObject({ status: 401, body: { status: 401, message: expect.stringContaining('active CONSOLE key') as string } })
  }
  const events = { events: [{ eventName: 'e', user: { userID: 'u' } }] }
  expect((await call('POST', '/v1/log_event', events, { 'statsig-api-key': 'console-sandbox' })).status).toBe(401)
  expect((await call('POST', '/v1/log_event', events, { 'statsig-api-key': 'client-sandbox' })).status).toBe(202)
  const event = { event: 'e', user: { userID: 'u' } }
  expect((await call('POST', '/v1/webhooks/event_webhook', event, { 'statsig-api-key': 'client-sandbox' })).status).toBe(401)
})

test.each<[string, unknown]>([
  ['no ids', {}],
  ['a further member', { ids: ['a'], version: 1 }],
  ['ids that are numbers', { ids: [1] }],
  ['an empty id', { ids: [''] }],
  ['an id twice', { ids: ['a', 'a'] }],
  ['more than 100,000 ids', { ids: Array.from({ length: 100_001 }, (_, i) => String(i)) }],
  ['no JSON', '{"ids":'],
])('a change of ids with %s is refused whole', async (_, body) => {
  expect(await call('PATCH', LIST, body)).toMatchObject({ status: 400, body: { status: 400 } })
  expect(idsOf('pro_customers')).toEqual([])
})

test('unknown paths, methods, segments, content types and segments of another type are refused', async () => {
  expect((await call('GET', '/console/v1/nothing')).status).toBe(404)
  expect((await call('GET', '/v2/log_event')).status).toBe(404)
  expect((await call('PUT', LIST, { ids: ['a'] })).status).toBe(404)
  expect((await call('GET', '/v1/log_event')).status).toBe(404)
  expect((await call('PATCH', '/console/v1/segments/unknown/id_list', { ids: ['a'] })).status).toBe(404)
  expect((await call('PATCH', LIST, { ids: ['a'] }, { 'content-type': 'text/plain' })).status).toBe(400)
  const rules = await call('PATCH', '/console/v1/segments/beta_by_rule/id_list', { ids: ['a'] })
  expect(rules.body).toEqual({ status: 400, message: "Segment must be of type 'id_list' to be modified on this endpoint" })
})

test.each<[string, unknown]>([
  ['a name that is too short', { name: 'ab', type: 'id_list' }],
  ['a name with a dot', { name: 'a.b.c', type: 'id_list' }],
  ['an id with a space', { name: 'abc', id: 'a b c', type: 'id_list' }],
  ['no type', { name: 'abc' }],
  ['an unknown type', { name: 'abc', type: 'list' }],
  ['an unknown idType', { name: 'abc', type: 'id_list', idType: 'orgID' }],
  ['an unknown member', { name: 'abc', type: 'id_list', ids: [] }],
])('a segment with %s is not created', async (_, body) => {
  expect((await call('POST', '/console/v1/segments', body)).status).toBe(400)
  expect(fake.records()['segments']).toHaveLength(3)
})

test('events are accepted, and a repeat counts twice', async () => {
  const event = {
    eventName: 'purchase',
    value: 29.99,
    time: 1616826986211,
    user: {
      userID: 'u1',
      email: 'u1@example.com',
      customIDs: { companyID: 'c' },
      custom: { n: 1 },
      statsigEnvironment: { tier: 'staging' },
    },
    metadata: { plan: 'pro' },
  }
  for (let i = 0; i < 2; i++)
    expect(await call('POST', '/v1/log_event', { events: [event] })).toMatchObject({ status: 202, body: { success: true } })
  expect(fake.records()['events']).toEqual([
    { via: 'log_event', ...event },
    { via: 'log_event', ...event },
  ])
})

test('the webhook takes one event with names of its own', async () => {
  const event = { user: { userID: 'u' }, event: 'signup', value: 'x', metadata: {}, timestamp: '2026-11-01T10:00:00Z' }
  expect((await call('POST', '/v1/webhooks/event_webhook', event)).status).toBe(200)
  expect(fake.records()['events']).toEqual([{ via: 'event_webhook', ...event }])
  expect((await call('POST', '/v1/webhooks/event_webhook', { eventName: 'signup' })).status).toBe(400)
  expect((await call('POST', '/v1/webhooks/event_webhook', [event])).status).toBe(400)
})

test.each<[string, unknown]>([
  ['no name', { value: 1 }],
  ['an unknown member', { eventName: 'e', timestamp: 1 }],
  ['a long name', { eventName: 'e'.repeat(129) }],
  ['a value that is a boolean', { eventName: 'e', value: true }],
  ['a time in seconds', { eventName: 'e', time: 1616826986 }],
  ['metadata that is a number', { eventName: 'e', metadata: { n: 1 } }],
  ['metadata over 4096 bytes', { eventName: 'e', metadata: { n: 'x'.repeat(4096) } }],
  ['a user without an id', { eventName: 'e', user: { email: 'a@example.com' } }],
  ['an unknown tier', { eventName: 'e', user: { userID: 'u', statsigEnvironment: { tier: 'prod' } } }],
])('an event with %s refuses its request', async (_, event) => {
  expect((await call('POST', '/v1/log_event', { events: [{ eventName: 'good', user: { userID: 'u' } }, event] })).status).toBe(400)
  expect(fake.records()['events']).toEqual([])
})

test('no events are refused', async () => {
  expect((await call('POST', '/v1/log_event', { events: [] })).status).toBe(400)
  expect((await call('POST', '/v1/log_event', { events: [{ eventName: 'e' }], more: 1 })).status).toBe(400)
})

test('a row to be refused spoils its requests until it has stood alone', async () => {
  fake.refuseRows(1)
  expect((await call('PATCH', LIST, { ids: ['a', 'b'] })).status).toBe(400)
  expect((await call('PATCH', LIST, { ids: ['b'] })).status).toBe(200)
  expect((await call('PATCH', LIST, { ids: ['a'] })).status).toBe(400)
  expect(idsOf('pro_customers')).toEqual(['b'])
  expect((await call('PATCH', LIST, { ids: ['a'] })).status).toBe(200)
})

test('failures have the form of the service', async () => {
  for (const [status, message] of [
    [401, expect.stringContaining('CONSOLE key')],
    [403, 'Forbidden resource'],
    [409, 'Another update is already in progress for this ID list'],
    [500, 'Internal server error'],
  ] as const) {
    fake.fault(() => ({ kind: 'status', status }))
    expect((await call('PATCH', LIST, { ids: ['a'] })).body).toEqual({ status, message })
  }
  fake.fault(() => ({ kind: 'status', status: 429, retryAfter: 7 }))
  expect((await call('PATCH', LIST, { ids: ['a'] })).headers.get('retry-after')).toBe('7')
  expect(idsOf('pro_customers')).toEqual([])
})
