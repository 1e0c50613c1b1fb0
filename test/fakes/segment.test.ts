/** The Segment fake: 200 for nearly everything, and what it can't use is dropped in silence. */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import segment from '../../fakes/segment.ts'
import { type FakeHost, type ServedFake, serveFakes } from '../../src/testing/host.ts'

let host: FakeHost
let fake: ServedFake

beforeAll(async () => {
  host = await serveFakes([segment])
  fake = host.fakes.get('segment') as ServedFake
})
afterAll(() => host.close())
beforeEach(() => fake.reset())

async function post(path: string, body: unknown, headers: Record<string, string> = {}) {
  const basic = `Basic ${Buffer.from('fake-write-key:').toString('base64')}`
  const reply = await fetch(`${fake.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: basic, ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return { status: reply.status, text: await reply.text(), headers: reply.headers }
}

const dropped = () => fake.records()['dropped']?.map((message) => message['why'])

it('merges traits of users and groups, deletes those that are null and keeps events', async () => {
  const batch = [
    { type: 'identify', userId: '1', traits: { email: 'a@example.com', plan: 'pro' } },
    { type: 'group', userId: '1', groupId: 'g', traits: { name: 'Example' } },
    { type: 'track', anonymousId: 'x', event: 'Signed Up', properties: { plan: 'pro' }, timestamp: '2026-01-02T03:04:05Z' },
  ]
  expect(await post('/v1/batch', { batch, context: { app: 'x' } })).toMatchObject({ status: 200, text: '{"success":true}' })
  await post('/v1/identify', { userId: '1', traits: { plan: null } })
  const { users, groups, messages } = fake.records()
  expect(users).toEqual([{ userId: '1', traits: { email: 'a@example.com' } }])
  expect(groups).toEqual([{ groupId: 'g', traits: { name: 'Example' } }])
  expect(messages).toMatchObject([{}, {}, { event: 'Signed Up', context: { app: 'x' } }, { type: 'identify' }])
})

it('says success of what it drops', async () => {
  const batch = [
    { type: 'identify', traits: {} },
    { type: 'track', userId: '1' },
    { type: 'group', userId: '1' },
    { type: 'nonsense', userId: '1' },
    { type: 'identify', userId: 5 },
    { type: 'identify', userId: '1', messageId: 'x'.repeat(101) },
    { type: 'track', userId: '1', event: 'e', timestamp: 'yesterday' },
    { type: 'track', userId: '1', event: 'e', messageId: 'm' },
    { type: 'track', userId: '1', event: 'e', messageId: 'm' },
  ]
  expect(await post('/v1/batch', { batch })).toMatchObject({ status: 200 })
  expect(dropped()).toEqual([
    'no userId and no anonymousId',
    'a track without an event',
    'a group without a groupId',
    'unknown type nonsense',
    'no userId and no anonymousId',
    'a messageId of more than 100 characters',
    'the timestamp is no ISO 8601 date',
    'a messageId that was seen before',
  ])
  const many = Array.from({ length: 2501 }, (_, n) => ({ type: 'track', userId: '1', event: 'e', messageId: `${n}` }))
  await post('/v1/batch', { batch: many })
  expect(dropped()?.at(-1)).toBe('more than 2,500 in a batch')
})

it('knows no login that fails: with a wrong key all is dropped', async () => {
  const wrong = await post('/v1/batch', { batch: [{ type: 'identify', userId: '1' }] }, { authorization: 'Basic eDo=' })
  expect([wrong.status, dropped()]).toEqual([200, ['wrong write key']])
  await fetch(`${fake.url}/v1/identify`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ userId: '2', writeKey: 'fake-write-key' }),
  })
  expect(fake.records()['users']).toEqual([{ userId: '2', traits: {} }])
})

it('refuses requests that are too large, no JSON, or for a path that does not exist', async () => {
  const huge = { type: 'identify', userId: '1', traits: { text: 'x'.repeat(33_000) } }
  expect(await post('/v1/batch', { batch: [huge] })).toMatchObject({ status: 400, text: 'Exceed payload limit' })
  const large = { ...huge, traits: { text: 'x'.repeat(31_000) } }
  expect(await post('/v1/batch', { batch: Array.from({ length: 17 }, () => large) })).toMatchObject({ status: 400 })
  expect(await post('/v1/batch', '{"batch":[')).toMatchObject({ status: 400 })
  expect(await post('/v1/batch', { messages: [] })).toMatchObject({ status: 400 })
  expect(await post('/v1/batch', { batch: [] }, { 'content-type': 'text/plain' })).toMatchObject({ status: 400 })
  expect(await post('/v1/nothing', {})).toMatchObject({ status: 404 })
  fake.refuseRows(1)
  expect(await post('/v1/batch', { batch: [{ type: 'identify', userId: '1' }] })).toMatchObject({ status: 400 })
  expect(fake.records()).toEqual({ users: [], groups: [], messages: [], dropped: [] })
})

it('says how long to wait when asked too often', async () => {
  fake.fault(() => ({ kind: 'status', status: 429, retryAfter: 3 }))
  const busy = await post('/v1/batch', { batch: [] })
  expect([busy.status, busy.headers.get('retry-after'), busy.headers.get('x-ratelimit-reset')]).toEqual([429, '3', '3'])
})
