/** The fake of the Graph API refuses what Meta refuses and remembers what Meta would remember. */
import { createHash, createHmac } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import fake from '../../fakes/meta/index.ts'
import { type FakeHost, serveFakes, type ServedFake } from '../../src/testing/host.ts'

const NOW = Date.parse('2026-11-01T00:00:00Z')
let now = NOW
let host: FakeHost
let served: ServedFake

const hex = (text: string): string => createHash('sha256').update(text).digest('hex')

async function call(
  method: string,
  path: string,
  json?: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: any; headers: Headers }> {
  const reply = await fetch(`${served.url}/v25.0${path}`, {
    method,
    headers: {
      authorization: `Bearer ${String(served.destination['access_token'])}`,
      ...(json === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
  })
  return { status: reply.status, body: await reply.json(), headers: reply.headers }
}

const SESSION = { session_id: 42, batch_seq: 1, last_batch_flag: true }
const users = (schema: unknown, ...data: unknown[]): object => ({ session: SESSION, payload: { schema, data } })

beforeAll(async () => {
  host = await serveFakes([fake], { now: () => now })
  served = host.fakes.get('meta') as ServedFake
})
afterAll(() => host.close())
beforeEach(() => {
  now = NOW
  served.reset()
})

describe('logins', () => {
  test('the token is read from the header, the query or the body, and its proof is checked', async () => {
    expect((await call('GET', '/me?fields=id')).body).toEqual({ id: '100000000000001' })
    const bare = await fetch(`${served.url}/v25.0/me?access_token=${String(served.destination['access_token'])}`)
    expect(bare.status).toBe(200)
    const proof = createHmac('sha256', 'example-app-secret').update(String(served.destination['access_token'])).digest('hex')
    expect((await call('GET', `/me?appsecret_proof=${proof}`)).status).toBe(200)
    expect((await call('GET', '/me?appsecret_proof=00')).body.error).toMatchObject({ code: 100, type: 'GraphMethodException' })
  })

  test('a wrong token is code 190, none is code 2500', async () => {
    const wrong = await call('GET', '/me', undefined, { authorization: `Bearer ${String(fake.intruder?.(served.url)['access_token'])}` })
    expect(wrong).toMatchObject({ status: 401, body: { error: { code: 190, type: 'OAuthException', fbtrace_id: expect.any(String) } } })
    expect((await fetch(`${served.url}/v25.0/me`).then((reply) => reply.json())) as object).toMatchObject({ error: { code: 2500 } })
  })
})

describe('custom audiences', () => {
  test('are listed, read with the fields asked for, and made', async () => {
    expect((await call('GET', '/act_123456789012345?fields=id,name')).body).toEqual({ id: 'act_123456789012345', name: 'Example shop' })
    expect((await call('GET', '/act_123456789012345/customaudiences?fields=id,name')).body.data).toHaveLength(3)
    expect((await call('GET', '/6001?fields=name,operation_status')).body).toMatchObject({
      id: '6001',
      name: 'Customers',
      operation_status: { code: 200 },
    })
    const made = await call('POST', '/act_123456789012345/customaudiences', {
      name: 'New',
      subtype: 'CUSTOM',
      customer_file_source: 'USER_PROVIDED_ONLY',
    })
    expect((await call('GET', `/${made.body.id}?fields=name`)).body.name).toBe('New')
    expect((await call('POST', '/act_123456789012345/customaudiences', { name: 'New' })).status).toBe(400)
    expect((await call('GET', '/6001?fields=colour')).body.error.code).toBe(100)
  })

  test('members are found by each strong identifier, added once and removed by it', async () => {
    const rows = users(['EMAIL', 'PHONE', 'FN'], [hex('a@b.c'), hex('16505551212'), hex('ann')], [hex('d@e.f'), '', ''])
    expect((await call('POST', '/6001/users', rows)).body).toEqual({
      audience_id: '6001',
      session_id: '42',
      num_received: 2,
      num_invalid_entries: 0,
      invalid_entry_samples: {},
    })
    await call('POST', '/6001/users', rows)
    expect(served.records()['members']).toHaveLength(3)
    await call('DELETE', '/6001/users', users('EMAIL', [hex('a@b.c')]))
    expect(served.records()['members']).toEqual([
      { audience_id: '6001', PHONE: hex('16505551212') },
      { audience_id: '6001', EMAIL: hex('d@e.f') },
    ])
  })

  test('a row that is no hash is counted and left out, the rest is taken', async () => {
    const reply = await call('POST', '/6001/users', users(['EMAIL'], ['a@b.c'], [hex('a@b.c')], ['']))
    expect(reply).toMatchObject({ status: 200, body: { num_received: 3, num_invalid_entries: 2 } })
    expect(reply.body.invalid_entry_samples).toEqual({ '["a@b.c"]': 'Invalid hash', '[""]': 'Empty row' })
    expect(served.records()['members']).toHaveLength(1)
    expect((await call('GET', '/6001/sessions?session_id=42')).body.data).toMatchObject([{ num_received: 3, num_invalid_entries: 2 }])
  })

  test('a row that somebody wants refused is counted as invalid', async () => {
    served.refuseRows(1)
    const reply = await call('POST', '/6001/users', users(['EMAIL'], [hex('a@b.c')], [hex('d@e.f')]))
    expect(reply.body).toMatchObject({ num_received: 2, num_invalid_entries: 1 })
    expect(served.records()['members']).toEqual([{ audience_id: '6001', EMAIL: hex('d@e.f') }])
  })

  test.each<[string, object]>([
    ['an unknown key', users(['EMAIL', 'COLOUR'], [hex('a'), 'x'])],
    ['a row of another length', users(['EMAIL', 'PHONE'], [hex('a')])],
    ['no rows', users(['EMAIL'])],
    ['10,001 rows', users(['EMAIL'], ...Array.from({ length: 10_001 }, () => [hex('a')]))],
    ['an unknown parameter', { ...users(['EMAIL'], [hex('a')]), colour: 'x' }],
    ['no payload', { session: SESSION }],
    ['a session without a sequence', { ...users(['EMAIL'], [hex('a')]), session: { session_id: 1 } }],
    ['a session id that is no number', { ...users(['EMAIL'], [hex('a')]), session: { ...SESSION, session_id: 'x' } }],
  ])('%s is refused', async (_, body) => {
    expect(await call('POST', '/6001/users', body)).toMatchObject({ status: 400, body: { error: { code: 100 } } })
    expect(served.records()['members']).toEqual([])
  })

  test('a blocked audience and an unknown one are refused', async () => {
    const rows = users(['EMAIL'], [hex('a')])
    expect((await call('POST', '/6003/users', rows)).body.error).toMatchObject({
      code: 100,
      error_subcode: 1713230,
      error_user_title: 'Audience Upload Blocked',
    })
    expect((await call('POST', '/9/users', rows)).body.error).toMatchObject({ code: 100, error_subcode: 33, type: 'GraphMethodException' })
  })

  test('a form whose values are JSON does the same', async () => {
    const form = new URLSearchParams({ payload: JSON.stringify({ schema: ['EMAIL'], data: [[hex('a@b.c')]] }) })
    const reply = await fetch(`${served.url}/v25.0/6001/users`, {
      method: 'POST',
      headers: { authorization: `Bearer ${String(served.destination['access_token'])}` },
      body: form,
    })
    expect(await reply.json()).toMatchObject({ num_received: 1, num_invalid_entries: 0 })
  })
})

describe('events', () => {
  const at = (ago: number): number => Math.floor(now / 1000) - ago
  const event = (more: object = {}): object => ({
    event_name: 'Purchase',
    event_time: at(60),
    event_id: 'o-1',
    action_source: 'system_generated',
    user_data: { em: [hex('a@b.c')] },
    custom_data: { value: 9.5, currency: 'EUR' },
    ...more,
  })
  const send = (...data: object[]): Promise<{ status: number; body: any; headers: Headers }> => call('POST', '/7000001/events', { data })

  test('are kept, and once per name and id within two days', async () => {
    expect((await send(event(), event({ event_id: 'o-2' }))).body).toEqual({
      events_received: 2,
      messages: [],
      fbtrace_id: expect.any(String),
    })
    await send(event())
    expect(served.records()['events']).toHaveLength(2)
    now += 49 * 3_600_000
    await send(event({ event_time: at(60) }))
    expect(served.records()['events']).toHaveLength(3)
  })

  test.each<[string, object, number | undefined]>([
    ['one of last week', { event_time: Math.floor(NOW / 1000) - 8 * 86_400 }, 2804003],
    ['one of tomorrow', { event_time: Math.floor(NOW / 1000) + 86_400 }, 2804004],
    ['one of nobody', { user_data: {} }, 2804050],
    ['one of a bare country', { user_data: { country: [hex('de')] } }, 2804050],
    ['one with a plain address', { user_data: { em: ['a@b.c'] } }, undefined],
    ['one with an unknown key', { colour: 'red' }, undefined],
    ['one with an unknown customer field', { user_data: { email: [hex('a@b.c')] } }, undefined],
    ['one without a name', { event_name: undefined }, undefined],
    ['one from nowhere', { action_source: 'mars' }, undefined],
    ['a purchase without currency', { custom_data: { value: 1 } }, undefined],
    ['a time in milliseconds as text', { event_time: String(NOW) }, undefined],
  ])('%s refuses the whole batch', async (_, bad, subcode) => {
    const reply = await send(event(), event({ event_id: 'o-2', ...bad }))
    expect(reply.status).toBe(400)
    expect(reply.body.error).toMatchObject({ code: 100, type: 'OAuthException' })
    expect(reply.body.error.error_subcode).toBe(subcode)
    expect(served.records()['events']).toEqual([])
  })

  test('an event of a shop may be two months old', async () => {
    expect((await send(event({ action_source: 'physical_store', event_time: at(60 * 86_400) }))).status).toBe(200)
  })

  test('a row that somebody wants refused refuses the batch, and so do 1,001 events', async () => {
    served.refuseRows(1)
    expect((await send(event(), event({ event_id: 'o-2' }))).status).toBe(400)
    expect((await send(...Array.from({ length: 1001 }, () => event()))).status).toBe(400)
    expect((await send()).status).toBe(400)
    expect(served.records()['events']).toEqual([])
  })
})

test('another version, other methods and other bodies are refused', async () => {
  const token = { authorization: `Bearer ${String(served.destination['access_token'])}` }
  expect((await fetch(`${served.url}/v19.0/me`, { headers: token })).status).toBe(400)
  expect((await call('PUT', '/6001/users')).status).toBe(400)
  expect((await call('POST', '/6001/users', 'text')).status).toBe(400)
  expect((await call('POST', '/6001/users', {}, { 'content-type': 'text/plain' })).status).toBe(400)
})

test('too many calls is a 400 with the minutes to wait in a header', async () => {
  served.fault(() => ({ kind: 'status', status: 429, retryAfter: 90 }))
  const reply = await call('POST', '/6001/users', users(['EMAIL'], [hex('a')]))
  expect(reply).toMatchObject({ status: 400, body: { error: { code: 80003, is_transient: true } } })
  expect(JSON.parse(reply.headers.get('x-business-use-case-usage') ?? '')).toMatchObject({
    '123456789012345': [{ estimated_time_to_regain_access: 2 }],
  })
  served.fault(() => ({ kind: 'status', status: 503 }))
  expect((await call('GET', '/me')).body.error).toMatchObject({ code: 2, is_transient: true })
  served.fault(() => ({ kind: 'status', status: 403 }))
  expect(await call('GET', '/me')).toMatchObject({ status: 403, body: { error: { code: 200 } } })
})
