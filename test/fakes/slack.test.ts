/** The Slack fake answers as Slack's reference says. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import slack from '../../fakes/slack.ts'
import { type FakeHost, serveFakes, type ServedFake } from '../../src/testing/host.ts'

let host: FakeHost
let fake: ServedFake

beforeAll(async () => {
  host = await serveFakes([slack], { now: () => 1_700_000_000_000 })
  fake = host.fakes.get('slack')!
})
afterAll(() => host.close())
beforeEach(() => fake.reset())

const json = { 'content-type': 'application/json; charset=utf-8' }

// oxlint-disable-next-line typescript/no-explicit-any
async function call(method: string, body: unknown, headers: Record<string, string> = {}): Promise<any> {
  const authorization = `Bearer ${String(fake.destination['bot_token'])}`
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const reply = await fetch(`${fake.url}/api/${method}`, { method: 'POST', headers: { authorization, ...json, ...headers }, body: text })
  return { status: reply.status, headers: reply.headers, ...((await reply.json()) as object) }
}

const post = (message: object) => call('chat.postMessage', message)

async function hook(body: string, path = '/services/T0SANDBOX/B0SANDBOX/sandboxwebhooksecret0000', headers: Record<string, string> = json) {
  const reply = await fetch(fake.url + path, { method: 'POST', headers, body })
  return `${reply.status} ${await reply.text()}`
}

test('A message arrives in its channel, named by id or by name, and gets a ts', async () => {
  const blocks = [{ type: 'section', text: { type: 'mrkdwn', text: '*hi*' } }]
  expect(await post({ channel: 'C0ALERTS', text: 'one', blocks })).toMatchObject({
    ok: true,
    channel: 'C0ALERTS',
    ts: '1700000000.000001',
    message: { text: 'one', blocks },
  })
  expect(await post({ channel: '#general', text: 'two' })).toMatchObject({ ok: true, channel: 'C0GENERAL' })
  expect(fake.records()['messages']).toEqual([
    { channel: 'alerts', ts: '1700000000.000001', text: 'one', blocks },
    { channel: 'general', ts: '1700000000.000002', text: 'two' },
  ])
})

test('A form does as well as JSON, and JSON without a charset is remarked on', async () => {
  const form = new URLSearchParams({ channel: 'C0ALERTS', text: 'x', blocks: '[{"type":"divider"}]' }).toString()
  expect(await call('chat.postMessage', form, { 'content-type': 'application/x-www-form-urlencoded' })).toMatchObject({ ok: true })
  expect(await call('chat.postMessage', { channel: 'C0ALERTS', text: 'x' }, { 'content-type': 'application/json' })).toMatchObject({
    ok: true,
    warning: 'missing_charset',
  })
})

test.each([
  ['an unknown channel', { channel: 'C0NONE', text: 'x' }, 'channel_not_found'],
  ['no channel', { text: 'x' }, 'invalid_arguments'],
  ['a channel it is not in', { channel: 'C0RANDOM', text: 'x' }, 'not_in_channel'],
  ['an archived channel', { channel: 'C0OLD', text: 'x' }, 'is_archived'],
  ['nothing to say', { channel: 'C0ALERTS', text: '' }, 'no_text'],
  ['a text too long', { channel: 'C0ALERTS', text: 'x'.repeat(40_001) }, 'msg_too_long'],
  ['blocks that are no list', { channel: 'C0ALERTS', blocks: {} }, 'invalid_blocks_format'],
  ['a block of no known type', { channel: 'C0ALERTS', blocks: [{ type: 'banner' }] }, 'invalid_blocks'],
  ['51 blocks', { channel: 'C0ALERTS', blocks: Array.from({ length: 51 }, () => ({ type: 'divider' })) }, 'invalid_blocks'],
  [
    'a section too long',
    { channel: 'C0ALERTS', blocks: [{ type: 'section', text: { type: 'mrkdwn', text: 'x'.repeat(3001) } }] },
    'invalid_blocks',
  ],
  [
    'a header that is no plain text',
    { channel: 'C0ALERTS', blocks: [{ type: 'header', text: { type: 'mrkdwn', text: 'x' } }] },
    'invalid_blocks',
  ],
  ['a text that is a number', { channel: 'C0ALERTS', text: 5 }, 'invalid_arguments'],
  ['an unknown argument', { channel: 'C0ALERTS', text: 'x', colour: 'red' }, 'invalid_arguments'],
])('Refused with status 200: %s', async (_, message, error) => {
  expect(await post(message)).toMatchObject({ status: 200, ok: false, error })
  expect(fake.records()['messages']).toEqual([])
})

test('What is wrong with a block is said with its place', async () => {
  const { response_metadata } = await post({
    channel: 'C0ALERTS',
    blocks: [{ type: 'divider' }, { type: 'section', text: { type: 'mrkdwn', text: '' } }],
  })
  expect(response_metadata.messages).toEqual(['[ERROR] must be more than 0 characters [json-pointer:/blocks/1/text/text]'])
})

test('Logins, methods and bodies that Slack does not know are refused with status 200', async () => {
  const message = { channel: 'C0ALERTS', text: 'x' }
  expect(await call('chat.postMessage', message, { authorization: '' })).toMatchObject({ status: 200, error: 'not_authed' })
  expect(await call('chat.postMessage', message, { authorization: 'Bearer xoxb-1' })).toMatchObject({ status: 200, error: 'invalid_auth' })
  expect(await call('chat.post', message)).toMatchObject({ error: 'unknown_method' })
  expect(await call('chat.postMessage', '{"channel"')).toMatchObject({ error: 'invalid_json' })
  expect(await call('chat.postMessage', '[]')).toMatchObject({ error: 'json_not_object' })
  expect(await call('chat.postMessage', 'x', { 'content-type': 'text/plain' })).toMatchObject({ error: 'invalid_form_data' })
  expect((await fetch(`${fake.url}/v2/x`)).status).toBe(404)
  expect(fake.records()['messages']).toEqual([])
})

test('auth.test names the workspace, conversations.list its channels by pages', async () => {
  expect(await call('auth.test', '')).toMatchObject({ ok: true, team: 'Sandbox', team_id: 'T0SANDBOX', bot_id: 'B0SANDBOX' })
  const first = await call('conversations.list', { limit: 3 })
  const second = await call('conversations.list', { limit: 3, cursor: first.response_metadata.next_cursor })
  expect([...first.channels, ...second.channels].map((channel: { name: string }) => channel.name)).toEqual([
    'general',
    'alerts',
    'sales',
    'random',
    'old-alerts',
  ])
  expect(second.response_metadata.next_cursor).toBe('')
})

test('The webhook answers in plain text', async () => {
  expect(await hook('{"text":"hello"}')).toBe('200 ok')
  expect(
    await hook(new URLSearchParams({ payload: '{"text":"form"}' }).toString(), undefined, {
      'content-type': 'application/x-www-form-urlencoded',
    }),
  ).toBe('200 ok')
  expect(fake.records()['messages']).toMatchObject([{ channel: 'alerts', text: 'hello' }, { text: 'form' }])
  expect(await hook('{"text":')).toBe('400 invalid_payload')
  expect(await hook('{}')).toBe('400 no_text')
  expect(await hook('{"blocks":[{"type":"x"}]}')).toBe('400 invalid_blocks')
  expect(await hook('{"text":"x"}', '/services/T0SANDBOX/B0SANDBOX/wrong')).toBe('403 invalid_token')
  expect(await hook('{"text":"x"}', '/services/T0SANDBOX/B9/x')).toBe('404 no_service')
  expect(await hook('{"text":"x"}', '/services/T9/B9/x')).toBe('404 no_team')
})

test('A row is refused on request, by either way', async () => {
  fake.refuseRows(2)
  expect(await post({ channel: 'C0ALERTS', text: 'x' })).toMatchObject({ status: 200, ok: false, error: 'restricted_action' })
  expect(await hook('{"text":"x"}')).toBe('403 action_prohibited')
  expect(await post({ channel: 'C0ALERTS', text: 'x' })).toMatchObject({ ok: true })
})

test('Failures look like Slack’s: a login is a 200, a rate limit has its wait', async () => {
  const fail = async (status: number, more: object = {}) => {
    fake.fault(() => ({ kind: 'status', status, ...more }))
    return post({ channel: 'C0ALERTS', text: 'x' })
  }
  expect(await fail(401)).toMatchObject({ status: 200, ok: false, error: 'invalid_auth' })
  expect(await fail(403)).toMatchObject({ status: 200, ok: false, error: 'missing_scope', needed: 'chat:write' })
  const limited = await fail(429, { retryAfter: 7 })
  expect(limited).toMatchObject({ status: 429, error: 'ratelimited' })
  expect(limited.headers.get('retry-after')).toBe('7')
  expect(await fail(503)).toMatchObject({ status: 503, error: 'service_unavailable' })
})
