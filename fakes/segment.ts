/** Plays Segment's HTTP Tracking API: it takes nearly everything with 200 and drops in silence what it can't use. */
import { defineFake, type FakeControl, type FakeReply, type FakeRequest, type FakeService } from '../src/testing/fake.ts'

const WRITE_KEY = 'fake-write-key'

// HTTP API source, "Errors": a message is at most 32 KB, a batch 500 KB; of a batch 2,500 messages are read.
const MAX_MESSAGE = 32 * 1024
const MAX_BATCH = 500 * 1024
const MAX_MESSAGES = 2500
/** "Handling Duplicate Data": a message id is at most 100 characters. */
const MAX_ID = 100

const TYPES = ['identify', 'group', 'track', 'page', 'screen', 'alias'] as const
type Type = (typeof TYPES)[number]
type Message = Readonly<Record<string, unknown>>
type Thing = Record<string, unknown>

/** One source: what it received, and what came of it. */
interface Source {
  readonly messages: Thing[]
  readonly dropped: Thing[]
  /** Users by user id, groups by group id: their traits, merged. */
  readonly users: Map<string, Thing>
  readonly groups: Map<string, Thing>
  readonly ids: Set<string>
}

export default defineFake({
  name: 'segment',
  description: 'Segment’s HTTP Tracking API (batch and single calls), written from the documentation of the HTTP API source.',
  destination: (url) => ({ write_key: WRITE_KEY, base_url: url }),
  // No intruder: a wrong write key is answered with 200, and the messages are dropped.
  create(control): FakeService {
    const source: Source = { messages: [], dropped: [], users: new Map(), groups: new Map(), ids: new Set() }
    return {
      handle: (request) => answer(source, control, request),
      isWrite: ({ method, path }) => method === 'POST' && path.startsWith('/v1/'),
      records: () => ({
        users: [...source.users.values()],
        groups: [...source.groups.values()],
        messages: source.messages,
        dropped: source.dropped,
      }),
      failure,
    }
  },
})

function failure(status: number, { retryAfter }: { readonly retryAfter?: number; readonly daily?: boolean }): FakeReply {
  const said: Record<number, string> = { 401: 'Unauthorized', 403: 'Forbidden', 429: 'Too Many Requests', 503: 'Service Unavailable' }
  const wait = String(retryAfter ?? 1)
  return {
    status,
    headers: { 'content-type': 'text/plain', ...(status === 429 ? { 'retry-after': wait, 'x-ratelimit-reset': wait } : {}) },
    text: said[status] ?? 'Internal Server Error',
  }
}

const refused = (text: string, status = 400): FakeReply => ({ status, headers: { 'content-type': 'text/plain' }, text })

function answer(source: Source, control: FakeControl, request: FakeRequest): FakeReply {
  const [, called = ''] = /^\/v1\/(\w+)$/.exec(request.path) ?? []
  const single = TYPES.find((type) => type === called)
  if (single === undefined && called !== 'batch') return refused('Not Found', 404)
  if (request.method !== 'POST') return refused('Method Not Allowed', 405)
  if (!/^application\/json/i.test(request.headers['content-type'] ?? '')) return refused('Bad Request')
  if (Buffer.byteLength(request.text) > (single ? MAX_MESSAGE : MAX_BATCH)) return refused('Exceed payload limit')
  let body: unknown
  try {
    body = request.json()
  } catch {
    return refused('Bad Request')
  }
  if (!isObject(body)) return refused('Bad Request')
  const messages = single === undefined ? body['batch'] : [{ ...body, type: single }]
  if (!Array.isArray(messages) || !messages.every(isObject)) return refused('Bad Request')
  if (messages.some((message) => Buffer.byteLength(JSON.stringify(message)) > MAX_MESSAGE)) return refused('Exceed payload limit')
  // There is no refusal of one message: the batch with it goes as a whole.
  if (messages.map(() => control.refusesRow()).includes(true)) return refused('Bad Request')
  const key = keyOf(request, body)
  for (const [n, message] of messages.entries()) {
    const why = key !== WRITE_KEY ? 'wrong write key' : n >= MAX_MESSAGES ? 'more than 2,500 in a batch' : unusable(message, source)
    if (why !== undefined) source.dropped.push({ why, ...message })
    else apply(source, { ...shared(body), ...message }, control)
  }
  return { status: 200, json: { success: true } }
}

/** The write key is the user of basic auth, or stands in the body. */
function keyOf({ headers }: FakeRequest, body: Message): unknown {
  const [, basic] = /^Basic (.+)$/i.exec(headers['authorization'] ?? '') ?? []
  return basic === undefined ? body['writeKey'] : Buffer.from(basic, 'base64').toString().split(':')[0]
}

/** What a batch says for all its messages. */
function shared(body: Message): Message {
  const { context, integrations } = body
  return { ...(context === undefined ? {} : { context }), ...(integrations === undefined ? {} : { integrations }) }
}

/** Why a message is dropped; undefined that it is taken. */
function unusable(message: Message, source: Source): string | undefined {
  const { type, userId, anonymousId, messageId, timestamp } = message
  if (!TYPES.includes(type as Type)) return `unknown type ${String(type)}`
  if (!isId(userId) && !isId(anonymousId)) return 'no userId and no anonymousId'
  if (type === 'track' && !isId(message['event'])) return 'a track without an event'
  if (type === 'group' && !isId(message['groupId'])) return 'a group without a groupId'
  if (type === 'alias' && !isId(message['previousId'])) return 'an alias without a previousId'
  for (const name of ['traits', 'properties', 'context'])
    if (message[name] !== undefined && !isObject(message[name])) return `${name} are no object`
  if (timestamp !== undefined && (typeof timestamp !== 'string' || Number.isNaN(Date.parse(timestamp))))
    return 'the timestamp is no ISO 8601 date'
  if (messageId === undefined) return undefined
  if (typeof messageId !== 'string' || messageId.length > MAX_ID) return 'a messageId of more than 100 characters'
  return source.ids.has(messageId) ? 'a messageId that was seen before' : undefined
}

function apply(source: Source, message: Message, control: FakeControl): void {
  const { type, messageId, userId, anonymousId } = message
  if (typeof messageId === 'string') source.ids.add(messageId)
  source.messages.push({ receivedAt: new Date(control.now()).toISOString(), ...message })
  const traits = (message['traits'] ?? {}) as Message
  if (type === 'identify') merge(source.users, String(userId ?? anonymousId), 'userId', traits)
  if (type === 'group') merge(source.groups, String(message['groupId']), 'groupId', traits)
}

/** A trait that is null is deleted. */
function merge(things: Map<string, Thing>, id: string, name: string, traits: Message): void {
  const thing = things.get(id) ?? { [name]: id, traits: {} }
  const all: Thing = { ...(thing['traits'] as Thing), ...traits }
  for (const [trait, value] of Object.entries(all)) if (value === null) delete all[trait]
  things.set(id, { ...thing, traits: all })
}

const isId = (value: unknown): boolean => typeof value === 'string' && value !== ''

function isObject(value: unknown): value is Message {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
