/** Slack: what the conformance suite can't know of it. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import slack from '../../connectors/slack/index.ts'
import fake from '../../fakes/slack.ts'
import { decodeJson, type Fields } from '../../src/index.ts'
import type { FakeReply } from '../../src/testing/fake.ts'
import { type FakeHost, type ServedFake, serveFakes } from '../../src/testing/host.ts'
import { startTrial } from '../../src/testing/trial.ts'
import { batch, change, openDestination, write } from '../support/destination.ts'

/** Answers instead of the fake. */
let instead: FakeReply | null = null

const twisted = {
  ...fake,
  create(control: Parameters<typeof fake.create>[0]) {
    const service = fake.create(control)
    return { ...service, handle: (request: Parameters<typeof service.handle>[0]) => instead ?? service.handle(request) }
  },
}

let host: FakeHost
let served: ServedFake
const closers: (() => Promise<void>)[] = []

beforeAll(async () => {
  host = await serveFakes([twisted])
  served = host.fakes.get('slack') as ServedFake
})
afterAll(() => host.close())
beforeEach(() => {
  served.reset()
  instead = null
})
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

function opened(options: object, config: object = served.destination) {
  const it = openDestination(slack, config, options)
  closers.push(() => it.close())
  return it
}
const post = (options: object, ...rows: Fields[]) =>
  write(
    opened({ channel: 'C0SALES', ...options }).destination,
    batch(
      'append',
      rows.map((fields, i) => change(`k${i}`, fields)),
    ),
  )
const hook = (path: string): object => ({ webhook_url: `${served.url}/services/${path}` })
const GOOD_HOOK = 'T0SANDBOX/B0SANDBOX/sandboxwebhooksecret0000'
const messages = () => served.records()['messages'] ?? []

describe('a message', () => {
  it('is the field text, and its id is kept', async () => {
    const { outcomes } = await post({}, { text: 'Hello' })
    expect(outcomes).toEqual([{ key: 'k0', result: 'ok', remoteId: `C0SALES:${String(messages()[0]?.['ts'])}` }])
    expect(messages()).toMatchObject([{ channel: 'sales', text: 'Hello' }])
  })

  it('pings nobody and links nowhere because of what a row holds', async () => {
    await post(
      { text: '*New:* {{ fields.name }} <{{ fields.url }}|open>' },
      { name: '<!channel> & <@U1>', url: 'https://example.com/?a=1&b=2' },
    )
    expect(messages()[0]?.['text']).toBe('*New:* &lt;!channel&gt; &amp; &lt;@U1&gt; <https://example.com/?a=1&amp;b=2|open>')
  })

  it('is escaped after its template has worked with the values as they are', async () => {
    const text =
      '{% if fields.name == "A&B" %}<https://example.com/?q={{ fields.name | url_encode }}|{{- fields.name | truncate: 2, "" -}}>{% endif %}{% raw %} {{ x }}{% endraw %}{{ "}}" }}{{ fields.none }}'
    await post({ text }, { name: 'A&B', none: null })
    expect(messages()[0]?.['text']).toBe('<https://example.com/?q=A%26B|A&amp;> {{ x }}}}')
  })

  it('is escaped once where a part of it was captured, and again where that name stands for a value too', async () => {
    const capture = '{% capture link %}<https://example.com|{{ fields.name }}>{% endcapture %}'
    await post({ text: `${capture}{{ link }}` }, { name: 'A&B <!here>' })
    await post({ text: `${capture}{% assign link = fields.name %}{{ link }}` }, { name: '<!here>' })
    expect(messages().map(({ text }) => text)).toEqual(['<https://example.com|A&amp;B &lt;!here&gt;>', '&lt;!here&gt;'])
  })

  it('shows numbers with all their digits', async () => {
    const big = decodeJson('{ "n": 12345678901234567890.125 }') as Fields
    await post({ text: '{{ fields.n }}' }, big)
    expect(messages()[0]?.['text']).toBe('12345678901234567890.125')
  })

  it('is all blocks of a column where one expression gives them', async () => {
    const section = { type: 'section', text: { type: 'mrkdwn', text: '<https://example.com|x>' } }
    await post({ blocks: '{{ fields.blocks }}' }, { blocks: [section] })
    expect(messages()[0]?.['blocks']).toEqual([section])
    expect((await post({ blocks: '{{ fields.blocks }}' }, { blocks: 'x' })).outcomes).toMatchObject([{ code: 'invalid_blocks' }])
  })

  it('in blocks is escaped in formatted texts alone: URLs, plain texts and columns that hold blocks stay', async () => {
    const text = (type: string, value: string) => ({ type, text: value })
    const blocks = [
      {
        type: 'section',
        text: text('mrkdwn', 'a {{ fields.name }}'),
        accessory: { type: 'button', url: '{{ fields.url }}', text: text('plain_text', '{{ fields.name }}') },
      },
      { type: 'context', elements: [text('mrkdwn', '{{ fields.name }}')] },
      { type: 'section', text: '{{ fields.block }}' },
      { type: 'markdown', text: '**{{ fields.name }}** {{ fields.count }}' },
    ]
    const row = { name: 'A & <B>', url: 'https://example.com/?a&b', block: { type: 'mrkdwn', text: '<https://example.com|x>' }, count: 3 }
    expect((await post({ blocks }, row)).outcomes).toMatchObject([{ result: 'ok' }])
    expect(messages()[0]?.['blocks']).toEqual([
      {
        type: 'section',
        text: text('mrkdwn', 'a A &amp; &lt;B&gt;'),
        accessory: { type: 'button', url: row.url, text: text('plain_text', 'A & <B>') },
      },
      { type: 'context', elements: [text('mrkdwn', 'A &amp; &lt;B&gt;')] },
      { type: 'section', text: row.block },
      { type: 'markdown', text: '**A &amp; &lt;B&gt;** 3' },
    ])
    expect(messages()[0]?.['text']).toBe('')
  })

  it('that Slack would cut or refuse is rejected before it is sent, with the part that is wrong', async () => {
    const section = (length: number) => ({ type: 'section', text: { type: 'mrkdwn', text: 'x'.repeat(length) } })
    const only = async (options: object, row: Fields) => (await post(options, row)).outcomes[0]
    expect(await only({}, { text: 'x'.repeat(40_001) })).toMatchObject({ result: 'rejected', code: 'msg_too_long', field: 'text' })
    expect(await only({}, { text: ' ' })).toMatchObject({ code: 'no_text', field: 'text' })
    expect(await only({}, {})).toMatchObject({ code: 'no_text' })
    expect(await only({ text: 'Hi {{ fields.gone }}' }, {})).toMatchObject({
      result: 'rejected',
      code: 'template',
      message: expect.stringContaining('gone'),
    })
    expect(await only({ blocks: [section(3001)] }, {})).toMatchObject({
      code: 'invalid_blocks',
      field: 'blocks',
      message: expect.stringContaining('Block 1: its text has 3001'),
    })
    expect(await only({ blocks: Array.from({ length: 51 }, () => section(1)) }, {})).toMatchObject({ code: 'invalid_blocks' })
    expect(await only({ channel: '{{ fields.where }}', text: 'x' }, { where: '' })).toMatchObject({
      code: 'channel_not_found',
      field: 'channel',
    })
    expect(served.exchanges).toEqual([])
  })

  it('that Slack refuses is rejected with its words', async () => {
    const { outcomes } = await post({ blocks: [{ type: 'nonsense' }] }, {})
    expect(outcomes).toMatchObject([
      { result: 'rejected', code: 'invalid_blocks', field: 'blocks', message: expect.stringContaining('unsupported type: nonsense') },
    ])
  })
})

describe('a channel', () => {
  it.each([
    ['C0NOWHERE', 'channel_not_found', /invite the bot/],
    ['C0RANDOM', 'not_in_channel', /Invite it there/],
    ['C0OLD', 'is_archived', /Unarchive it/],
  ])('%s that takes no messages ends the run: %s', async (channel, code, hint) => {
    const { outcomes, error } = await post({ channel }, { text: 'a' }, { text: 'b' })
    expect(outcomes).toEqual([])
    expect(error).toMatchObject({
      name: 'AuthError',
      code: 'CDP3002',
      message: expect.stringContaining(code),
      hint: expect.stringMatching(hint),
    })
  })

  it('that differs by row is a matter of the row', async () => {
    const { outcomes } = await post({ channel: '{{ fields.where }}' }, { where: 'C0NOWHERE', text: 'a' }, { where: '#alerts', text: 'b' })
    expect(outcomes).toMatchObject([
      { key: 'k0', result: 'rejected', code: 'channel_not_found', field: 'channel' },
      { key: 'k1', result: 'ok' },
    ])
  })

  it('that is wrong loses no message: once it is right, all are posted', async () => {
    const trial = await startTrial({
      connector: slack,
      destination: served.destination,
      object: 'message',
      mode: 'append',
      options: { channel: 'C0RANDOM' },
    })
    try {
      await trial.rows([{ key: '1', match: {}, fields: { text: 'one' } }])
      const ran = await trial.run()
      expect([ran.code, ran.stderr + ran.stdout]).toEqual([4, expect.stringMatching(/nothing be posted to C0RANDOM[\s\S]*Invite it there/)])
      await trial.command('reset', 'trial', '--yes')
      await trial.configure({ options: { channel: 'C0SALES' } })
      expect((await trial.run()).code).toBe(0)
      expect(messages()).toMatchObject([{ channel: 'sales', text: 'one' }])
    } finally {
      await trial.remove()
    }
  })
})

describe('a reply', () => {
  const reply = (json: unknown, more: Partial<FakeReply> = {}) => {
    instead = { status: 200, json, ...more }
    return post({}, { text: 'a' })
  }

  it.each(['internal_error', 'fatal_error', 'service_unavailable'])('%s may have posted: nobody knows', async (error) => {
    expect(await reply({ ok: false, error })).toMatchObject({ outcomes: [], error: { name: 'UnknownOutcome', code: error } })
  })

  it('that does not say ok, or names no message, confirms nothing', async () => {
    for (const json of [{}, { ok: 'true' }, { ok: true, channel: 'C1' }, []])
      expect(await reply(json)).toMatchObject({ outcomes: [], error: { name: 'UnknownOutcome', code: 'bad_reply' } })
  })

  it('that asks to wait is waited for', async () => {
    const limited = await reply({ ok: false, error: 'ratelimited' }, { headers: { 'retry-after': '30' } })
    expect(limited.error).toMatchObject({ name: 'RateLimited', afterMs: 30_000 })
    expect((await reply({ ok: false, error: 'message_limit_exceeded' })).outcomes).toMatchObject([
      { result: 'retry', code: 'message_limit_exceeded' },
    ])
  })

  it('names the scope that is missing, and a token that is gone', async () => {
    expect((await reply({ ok: false, error: 'missing_scope', needed: 'chat:write' })).error).toMatchObject({
      code: 'CDP3002',
      message: expect.stringContaining('chat:write'),
    })
    expect((await reply({ ok: false, error: 'token_revoked' })).error).toMatchObject({
      code: 'CDP3001',
      message: expect.stringContaining('token_revoked'),
    })
  })

  it('that refuses one message for a reason of its own rejects it', async () => {
    expect((await reply({ ok: false, error: 'duplicate_message_not_found' })).outcomes).toMatchObject([
      { result: 'rejected', code: 'duplicate_message_not_found' },
    ])
  })
})

describe('the account', () => {
  it('of a bot is its workspace', async () => {
    expect(await opened({ channel: 'x' }).destination.check()).toEqual({ id: 'T0SANDBOX', name: 'Sandbox' })
  })

  it('of a webhook is known by its URL, without the secret in it', async () => {
    expect(await opened({}, hook(GOOD_HOOK)).destination.check()).toEqual({
      id: 'T0SANDBOX/B0SANDBOX',
      name: 'webhook B0SANDBOX of workspace T0SANDBOX',
    })
    const other = await opened({}, { webhook_url: `${served.url}/triggers/secret` }).destination.check()
    expect(JSON.stringify(other)).not.toContain('secret')
    expect(served.exchanges).toEqual([])
  })
})

describe('a webhook', () => {
  const by = async (path: string, fields: Fields = { text: 'Hi <all>' }) => {
    const it = opened({}, hook(path))
    return { ...(await write(it.destination, batch('append', [change('k', fields)]))), notes: it.notes.join('\n') }
  }

  it('posts to its channel, and its URL is in no trace', async () => {
    const { outcomes, notes } = await by(GOOD_HOOK)
    expect(outcomes).toEqual([{ key: 'k', result: 'ok' }])
    expect(messages()).toMatchObject([{ channel: 'alerts', text: 'Hi &lt;all&gt;' }])
    expect(notes).toContain('/services/… 200')
    expect(notes).not.toContain('sandboxwebhooksecret')
  })

  it.each([
    ['T0SANDBOX/B0SANDBOX/wrong', 'CDP3001', /invalid_token/],
    ['T0SANDBOX/B0GONE/x', 'CDP3002', /no_service/],
    ['T0GONE/B0SANDBOX/x', 'CDP3002', /no_team/],
  ])('%s that is gone ends the run', async (path, code, says) => {
    expect(await by(path)).toMatchObject({ outcomes: [], error: { name: 'AuthError', code, message: expect.stringMatching(says) } })
  })

  it('confirms with the word ok alone', async () => {
    instead = { status: 200, headers: { 'content-type': 'text/html' }, text: '<html>' }
    expect(await by(GOOD_HOOK)).toMatchObject({ outcomes: [], error: { name: 'UnknownOutcome' } })
    instead = { status: 400, text: 'invalid_payload' }
    expect(await by(GOOD_HOOK)).toMatchObject({ outcomes: [{ result: 'rejected', code: 'invalid_payload' }] })
    instead = { status: 404, text: '<html>gone</html>' }
    expect(await by(GOOD_HOOK)).toMatchObject({ error: { name: 'AuthError', message: expect.stringContaining('404') } })
  })
})

describe('settings', () => {
  const problems = (config: object, options: object) =>
    slack.validate?.({ config: slack.config.parse(config), options: slack.options.parse(options) }, 'message')

  it('name a bot or a webhook, not both and not neither', () => {
    expect(slack.config.safeParse({}).success).toBe(false)
    expect(slack.config.safeParse({ bot_token: 'x', webhook_url: 'https://hooks.slack.com/x' }).success).toBe(false)
    expect(slack.config.safeParse({ bot_token: 'x' }).success).toBe(true)
  })

  it('give a bot a channel, and a webhook none', () => {
    expect(problems({ bot_token: 'x' }, {})).toMatchObject([{ path: ['channel'] }])
    expect(problems({ webhook_url: 'https://hooks.slack.com/x' }, { channel: 'y' })).toMatchObject([{ path: ['channel'] }])
    expect(problems({ webhook_url: 'https://hooks.slack.com/x' }, {})).toEqual([])
  })

  it('with a template that can’t be read say where', () => {
    const options = { channel: 'C1', text: '{{ nope }}', blocks: [{ type: 'section', text: { type: 'mrkdwn', text: '{{ fields.x' } }] }
    expect(problems({ bot_token: 'x' }, options)?.map(({ path }) => path)).toEqual([['text'], ['blocks', 0, 'text', 'text']])
  })
})
