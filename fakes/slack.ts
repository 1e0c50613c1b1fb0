/** A Slack workspace that takes messages: chat.postMessage with a bot token, and an incoming webhook. */
import { defineFake, type FakeControl, type FakeReply, type FakeRequest } from '../src/testing/fake.ts'

const TOKEN = 'xoxb-000000000000-sandbox'
const TEAM = 'T0SANDBOX'
/** The last part is the secret. It posts to #alerts. */
const HOOK = ['services', TEAM, 'B0SANDBOX', 'sandboxwebhooksecret0000']
const HOOK_CHANNEL = 'C0ALERTS'

/** Slack API, "chat.postMessage": text; "Block Kit reference": blocks of a message, text of a section, of a header. */
const LONGEST_TEXT = 40_000
const MOST_BLOCKS = 50
const LONGEST_SECTION = 3000
const LONGEST_HEADER = 150
const BLOCKS = ['actions', 'context', 'divider', 'file', 'header', 'image', 'input', 'markdown', 'rich_text', 'section', 'video', 'table']

interface Channel {
  readonly id: string
  readonly name: string
  readonly member: boolean
  readonly archived: boolean
}

const CHANNELS: readonly Channel[] = [
  { id: 'C0GENERAL', name: 'general', member: true, archived: false },
  { id: 'C0ALERTS', name: 'alerts', member: true, archived: false },
  { id: 'C0SALES', name: 'sales', member: true, archived: false },
  { id: 'C0RANDOM', name: 'random', member: false, archived: false },
  { id: 'C0OLD', name: 'old-alerts', member: true, archived: true },
]

type Json = Readonly<Record<string, unknown>>

/** Slack ignores arguments that it does not know; here they are refused, so that a misspelt one shows. */
const ARGUMENTS =
  'channel text blocks attachments thread_ts reply_broadcast unfurl_links unfurl_media metadata mrkdwn parse link_names username icon_emoji icon_url markdown_text token'.split(
    ' ',
  )

const no = (error: string, more: Json = {}): FakeReply => ({ status: 200, json: { ok: false, error, ...more } })
const plain = (status: number, text: string): FakeReply => ({ status, headers: { 'content-type': 'text/plain; charset=utf-8' }, text })

export default defineFake({
  name: 'slack',
  description: 'Slack’s chat.postMessage, auth.test and conversations.list, and an incoming webhook. From Slack’s API reference.',
  destination: (url) => ({ bot_token: TOKEN, base_url: `${url}/api` }),
  intruder: (url) => ({ bot_token: 'xoxb-000000000000-revoked', base_url: `${url}/api` }),
  create(control) {
    const messages: Json[] = []
    const post = poster(control, messages)
    return {
      handle(request) {
        const parts = request.path.split('/').slice(1)
        if (parts[0] === 'services') return webhook(parts, request, control, post)
        const [area, method = '', ...more] = parts
        if (area !== 'api' || more.length > 0) return plain(404, 'not found')
        return api(method, request, control, post)
      },
      isWrite: ({ path }) => path.startsWith('/services/') || path.endsWith('/chat.postMessage'),
      records: () => ({ messages }),
      failure,
    }
  },
})

type Poster = (channel: Channel, message: Json) => Json

/** Keeps a message and gives it back as Slack shows it. */
function poster(control: FakeControl, messages: Json[]): Poster {
  let last = 0
  return (channel, { text = '', blocks, attachments, thread_ts, metadata, username }) => {
    // Seconds and a counter: unique in a channel, and rising.
    const ts = `${Math.floor(control.now() / 1000)}.${String(++last).padStart(6, '0')}`
    const parts = { blocks, attachments, thread_ts, metadata, username }
    const given = Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined))
    messages.push({ channel: channel.name, ts, text, ...given })
    return { type: 'message', subtype: 'bot_message', bot_id: 'B0SANDBOX', team: TEAM, ts, text, ...given }
  }
}

function api(method: string, request: FakeRequest, control: FakeControl, post: Poster): FakeReply {
  if (!['auth.test', 'chat.postMessage', 'conversations.list', 'conversations.info'].includes(method))
    return no('unknown_method', { req_method: method })
  if (method === 'chat.postMessage' && request.method !== 'POST') return no('invalid_post_type')
  const given = argumentsOf(request)
  if (typeof given === 'string') return no(given)
  const token = request.headers['authorization']?.replace(/^Bearer /, '') ?? given['token']
  if (token === undefined || token === '') return no('not_authed')
  if (token !== TOKEN) return no('invalid_auth')
  if (method === 'auth.test')
    return {
      status: 200,
      headers: { 'x-oauth-scopes': 'chat:write,channels:read' },
      json: {
        ok: true,
        url: 'https://sandbox.slack.com/',
        team: 'Sandbox',
        user: 'cdp-sync',
        team_id: TEAM,
        user_id: 'U0SANDBOX',
        bot_id: 'B0SANDBOX',
      },
    }
  if (method === 'conversations.list') return list(given, control)
  const channel = channelNamed(given['channel'])
  if (method === 'conversations.info')
    return channel ? { status: 200, json: { ok: true, channel: shown(channel) } } : no('channel_not_found')
  const unknown = Object.keys(given).filter((name) => !ARGUMENTS.includes(name))
  if (unknown.length > 0)
    return no('invalid_arguments', {
      response_metadata: { messages: unknown.map((name) => `[ERROR] no more than the known arguments: ${name}`) },
    })
  if (given['channel'] === undefined)
    return no('invalid_arguments', { response_metadata: { messages: ['[ERROR] missing required field: channel'] } })
  if (channel === undefined) return no('channel_not_found')
  if (channel.archived) return no('is_archived')
  if (!channel.member) return no('not_in_channel')
  const wrong = problemOf(given)
  if (wrong !== null) return no(wrong.error, wrong.messages === undefined ? {} : { response_metadata: { messages: wrong.messages } })
  if (control.refusesRow()) return no('restricted_action')
  const message = post(channel, given)
  // Slack reads JSON without a charset too, and says so.
  const charset = /charset=/i.test(request.headers['content-type'] ?? '')
    ? {}
    : { warning: 'missing_charset', response_metadata: { warnings: ['missing_charset'] } }
  return { status: 200, json: { ok: true, channel: channel.id, ts: message['ts'], message, ...charset } }
}

/** From the query, a form, or JSON; an error's name when they can't be read. */
function argumentsOf(request: FakeRequest): Json | string {
  const type = request.headers['content-type'] ?? ''
  if (request.method === 'GET') return Object.fromEntries(request.query)
  if (request.text === '') return {}
  if (/^application\/x-www-form-urlencoded/i.test(type)) {
    const form: Record<string, unknown> = Object.fromEntries(request.form())
    for (const name of ['blocks', 'attachments', 'metadata'])
      if (typeof form[name] === 'string') {
        const parsed = parse(form[name])
        if (parsed === undefined) return `invalid_${name}_format`
        form[name] = parsed
      }
    return form
  }
  if (!/^application\/json/i.test(type)) return 'invalid_form_data'
  const parsed = parse(request.text)
  if (parsed === undefined) return 'invalid_json'
  return isObject(parsed) ? parsed : 'json_not_object'
}

function list(given: Json, control: FakeControl): FakeReply {
  const limit = Number(given['limit'] ?? 100)
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) return no('invalid_limit')
  const first = given['cursor'] === undefined || given['cursor'] === '' ? 0 : Number(given['cursor'])
  if (!Number.isInteger(first)) return no('invalid_cursor')
  const all = CHANNELS.filter((channel) => !channel.archived || ![true, 'true'].includes(given['exclude_archived'] as boolean | string))
  const next = first + limit < all.length ? String(first + limit) : ''
  const channels = control.anyOrder(all.slice(first, first + limit)).map(shown)
  return { status: 200, json: { ok: true, channels, response_metadata: { next_cursor: next } } }
}

const shown = ({ id, name, member, archived }: Channel): Json => ({
  id,
  name,
  is_channel: true,
  is_private: false,
  is_archived: archived,
  is_member: member,
})

function channelNamed(value: unknown): Channel | undefined {
  return CHANNELS.find(({ id, name }) => value === id || value === name || value === `#${name}`)
}

/** What is wrong with a message, whichever way it came. */
function problemOf({ text, blocks, attachments, markdown_text }: Json): { error: string; messages?: string[] } | null {
  for (const value of [text, markdown_text]) if (value !== undefined && typeof value !== 'string') return { error: 'invalid_arguments' }
  if (blocks !== undefined && !Array.isArray(blocks)) return { error: 'invalid_blocks_format' }
  const messages = (blocks ?? []).flatMap((block: unknown, i: number) => blockProblems(block, i))
  if (blocks !== undefined && blocks.length > MOST_BLOCKS)
    messages.push(`[ERROR] no more than ${MOST_BLOCKS} items allowed [json-pointer:/blocks]`)
  if (messages.length > 0) return { error: 'invalid_blocks', messages }
  if (typeof text === 'string' && text.length > LONGEST_TEXT) return { error: 'msg_too_long' }
  return [text, blocks, attachments, markdown_text].every(empty) ? { error: 'no_text' } : null
}

const empty = (value: unknown): boolean => value === undefined || value === '' || (Array.isArray(value) && value.length === 0)

function blockProblems(block: unknown, i: number): string[] {
  const at = (message: string, path: string): string => `[ERROR] ${message} [json-pointer:/blocks/${i}${path}]`
  if (!isObject(block)) return [at('must be an object', '')]
  const { type, text, fields } = block
  if (typeof type !== 'string') return [at('missing required field: type', '')]
  if (!BLOCKS.includes(type)) return [at(`unsupported type: ${type}`, '/type')]
  if (type === 'section' && text === undefined && fields === undefined) return [at('missing required field: text', '')]
  if (type === 'header' && !(isObject(text) && text['type'] === 'plain_text')) return [at('must be a plain_text object', '/text')]
  if (text === undefined || !['section', 'header'].includes(type)) return []
  if (!isObject(text) || !['plain_text', 'mrkdwn'].includes(String(text['type'])) || typeof text['text'] !== 'string')
    return [at('must provide an object with type and text', '/text')]
  const longest = type === 'section' ? LONGEST_SECTION : LONGEST_HEADER
  if (text['text'] === '') return [at('must be more than 0 characters', '/text/text')]
  return text['text'].length > longest ? [at(`must be less than ${longest + 1} characters`, '/text/text')] : []
}

/** POST to the secret URL: plain text replies (Slack API, "Sending messages using incoming webhooks"). */
function webhook(parts: readonly string[], request: FakeRequest, control: FakeControl, post: Poster): FakeReply {
  const [, team, service, secret] = parts
  if (request.method !== 'POST' || parts.length !== HOOK.length) return plain(404, 'not found')
  if (team !== HOOK[1]) return plain(404, 'no_team')
  if (service !== HOOK[2]) return plain(404, 'no_service')
  if (secret !== HOOK[3]) return plain(403, 'invalid_token')
  const form = /^application\/x-www-form-urlencoded/i.test(request.headers['content-type'] ?? '')
  const payload = parse(form ? (request.form().get('payload') ?? '') : request.text)
  if (!isObject(payload)) return plain(400, 'invalid_payload')
  const wrong = problemOf(payload)
  if (wrong !== null) return plain(400, wrong.error)
  const channel = channelNamed(HOOK_CHANNEL)
  if (channel === undefined) return plain(404, 'channel_not_found')
  if (control.refusesRow()) return plain(403, 'action_prohibited')
  post(channel, payload)
  return plain(200, 'ok')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A refused login or permission is a 200 here too; only too many requests and faults have a status of their own. */
function failure(status: number, detail: { readonly retryAfter?: number; readonly daily?: boolean }): FakeReply {
  const wait = detail.retryAfter ?? (detail.daily ? 86_400 : undefined)
  const headers: Record<string, string> = wait === undefined ? {} : { 'retry-after': String(wait) }
  switch (status) {
    case 401:
      return no('invalid_auth')
    case 403:
      return {
        ...no('missing_scope', { needed: 'chat:write', provided: 'channels:read' }),
        headers: { 'x-accepted-oauth-scopes': 'chat:write' },
      }
    case 429:
      return { status, headers, json: { ok: false, error: 'ratelimited' } }
    case 503:
      return { status, headers, json: { ok: false, error: 'service_unavailable' } }
    default:
      return { status, json: { ok: false, error: 'internal_error' } }
  }
}
