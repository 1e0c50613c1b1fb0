/** Sends users, groups and events to a Segment source through the HTTP Tracking API. */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import {
  type Batch,
  type Change,
  defineConnector,
  encodeJson,
  type Fields,
  nest,
  type ObjectSpec,
  type Outcome,
  RawJson,
  secret,
  UnknownOutcome,
  type Value,
} from '../src/index.ts'

const BASES = { us: 'https://api.segment.io', eu: 'https://events.eu1.segmentapis.com' } as const

const config = z.strictObject({
  write_key: secret().describe('Write key of the source.'),
  region: z
    .enum(['us', 'eu'])
    .default('us')
    .describe('Where the workspace lies. What is sent to the other region is taken and lost: Segment does not say so.'),
  base_url: z
    .url({ protocol: /^https?$/, error: 'is not an http or https URL' })
    .optional()
    .describe('Address of the API, without a path. Default: that of the region.'),
})

const options = z.strictObject({})

type Config = z.infer<typeof config>

// Segment, "HTTP API source", Errors: a message has at most 32 KB, a batch 500 KB and 2,500 messages; of more messages the
// rest is dropped with a 200. KB are taken for 1,000 bytes, the smaller reading.
const MOST_MESSAGES = 2500
const MESSAGE_BYTES = 32_000
const BATCH_BYTES = 500_000
/** Of what the engine counts: a message's frame is larger than that of a change. */
const CHANGE_BYTES = 400_000

const person = { userId: 'exact', anonymousId: 'exact' } as const

const objects: Readonly<Record<'identify' | 'group' | 'track', ObjectSpec>> = {
  identify: {
    description: 'A user with traits, found by `userId` or `anonymousId`. Fields are traits; `context.…` goes into the context.',
    modes: ['upsert', 'mirror'],
    address: { match: 'all' },
    match: person,
    confirms: 'accepted',
    replay: { upsert: 'harmless', update: 'harmless' },
    // Users are deleted through another API, for good and for all sources; here their traits are.
    removes: ['clear', 'set', 'none'],
    nested: true,
  },
  group: {
    description: 'A user’s membership of a group, and the group’s traits: `groupId` with `userId` or `anonymousId`. Fields are traits.',
    modes: ['upsert'],
    address: { match: 'all' },
    match: { groupId: 'exact', ...person },
    confirms: 'accepted',
    replay: { upsert: 'harmless' },
    nested: true,
  },
  track: {
    description: 'An event: fields `event`, `userId` or `anonymousId`, `timestamp`, `context.…`; all others are its properties.',
    modes: ['append'],
    address: 'key',
    match: {},
    confirms: 'accepted',
    // By messageId, 99 % of them over 24 hours and more (Segment, "Handling Duplicate Data").
    replay: { append: 'deduplicated' },
    nested: true,
  },
}

export default defineConnector<Config, z.infer<typeof options>>({
  name: 'segment',
  description: 'Segment: identify, group and track through the HTTP Tracking API.',
  version: 1,
  config,
  options,
  objects,
  // 1,000 requests a second are allowed, more than five at once can make.
  limits: { rows: MOST_MESSAGES, bytes: CHANGE_BYTES, concurrency: 5 },
  open({ config }, io) {
    const { write_key, region, base_url } = config
    const authorization = `Basic ${Buffer.from(`${write_key}:`).toString('base64')}`
    const http = io.http(base_url ?? BASES[region], { headers: { authorization } })
    const source = sha256(write_key)
    return {
      /** Sends nothing: Segment answers every write key alike, and what it takes can't be read back. */
      check: () => Promise.resolve({ id: source, name: `source ${source.slice(0, 8)} (${region.toUpperCase()})` }),
      async *write(batch) {
        const messages: Message[] = []
        for (const change of batch.changes) {
          const message = messageOf(batch, change, source)
          if ('result' in message) yield message
          else messages.push(message)
        }
        for (const some of parts(messages)) {
          const body = `{"batch":[${some.map(({ text }) => text).join(',')}]}`
          const reply = await http.request({ method: 'POST', path: '/v1/batch', body, headers: { 'content-type': 'application/json' } })
          const said = reply.json()
          if (typeof said !== 'object' || said === null || (said as Fields)['success'] !== true)
            throw new UnknownOutcome('bad_reply', 'Segment did not say that it took the batch.')
          for (const { key } of some) yield { key, result: 'accepted' }
        }
      },
    }
  },
})

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

interface Message {
  readonly key: string
  readonly text: string
  readonly bytes: number
}

/** The message of a change as JSON, or why there is none. */
function messageOf({ object, sync }: Batch, change: Change, source: string): Message | Outcome {
  const track = object === 'track'
  const body: Record<string, Value> = {}
  // By entries: a trait may be called `__proto__`.
  const inner: [string, Value][] = []
  const context: [string, Value][] = []
  const values = [...Object.entries(change.match), ...Object.entries(change.fields)]
  for (const [name, value] of values) {
    if (Object.hasOwn(change.match, name) || (track && OWN.has(name))) {
      const own = ownValue(name, value)
      if (typeof own !== 'string') return { key: change.key, result: 'rejected', ...own, field: name }
      if (own !== '') body[name] = own
    } else if (name.startsWith('context.')) context.push([name.slice('context.'.length), value])
    else inner.push([name, value])
  }
  const missing = [...(track ? ['event'] : []), ...(object === 'group' ? ['groupId'] : [])].find((name) => body[name] === undefined)
  const lacks = missing ?? (body['userId'] === undefined && body['anonymousId'] === undefined ? 'userId' : undefined)
  if (lacks !== undefined) return required(change.key, object, lacks)
  const message = {
    type: object,
    // Segment compares ids over all its customers, so this one has to be unique in the world. An event's own id names its sync
    // and stays; other ids are numbers within a run of a sync.
    messageId: `cdp-sync-${sha256(JSON.stringify([source, object, track ? null : sync, change.id]))}`,
    ...body,
    [track ? 'properties' : 'traits']: nest(Object.fromEntries(inner)),
    ...(context.length > 0 ? { context: nest(Object.fromEntries(context)) } : {}),
  }
  const text = encodeJson(message)
  const bytes = Buffer.byteLength(text)
  if (bytes <= MESSAGE_BYTES) return { key: change.key, text, bytes }
  const [largest] = values.sort(([, a], [, b]) => encodeJson(b).length - encodeJson(a).length)[0] ?? []
  const why = `The message has ${bytes} bytes, and Segment takes ${MESSAGE_BYTES}.`
  return { key: change.key, result: 'rejected', code: 'too_large', message: why, field: largest }
}

/** What a track message says of itself; all else is a property. */
const OWN = new Set(['event', 'userId', 'anonymousId', 'timestamp'])

/** ISO 8601, a day or a moment (Segment, "HTTP API source", Timestamps); `Date.parse` alone takes much more. */
const MOMENT = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/

/** Ids are texts, whatever the column's type; '' stands for none. */
function ownValue(name: string, value: Value): string | { readonly code: string; readonly message: string } {
  if (value === null) return ''
  if (typeof value === 'object' && !(value instanceof RawJson))
    return { code: 'invalid_value', message: `${name} is a text, not a list or an object.` }
  const text = typeof value === 'string' ? value : encodeJson(value)
  if (name === 'timestamp' && (!MOMENT.test(text) || Number.isNaN(Date.parse(text))))
    return { code: 'invalid_value', message: 'timestamp is no moment in ISO 8601.' }
  return text
}

function required(key: string, object: string, name: string): Outcome {
  const what = name === 'userId' ? 'userId or anonymousId' : name
  return { key, result: 'rejected', code: 'required', message: `Segment drops a ${object} without ${what}.`, field: name }
}

/** As many messages as one request takes. */
function* parts(messages: readonly Message[]): Iterable<readonly Message[]> {
  let part: Message[] = []
  let bytes = 0
  for (const message of messages) {
    if (part.length > 0 && (part.length >= MOST_MESSAGES || bytes + message.bytes + 1 > BATCH_BYTES - 100)) {
      yield part
      part = []
      bytes = 0
    }
    part.push(message)
    bytes += message.bytes + 1
  }
  if (part.length > 0) yield part
}
