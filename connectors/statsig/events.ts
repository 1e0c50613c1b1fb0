/** Events: as Statsig has them, looked through before they go, because it takes almost anything and says nothing of single events. */
import {
  type Batch,
  type Change,
  encodeJson,
  type FieldInfo,
  type Fields,
  type Http,
  type Outcome,
  nest,
  RawJson,
  UnknownOutcome,
  type Value,
} from '../../src/index.ts'

/** Statsig cuts longer names and text values (its Node SDK 6.5.2; "Data mapping" of its warehouse ingestion: below 128). */
const MAX_TEXT = 128
/** Bytes of `user` and of `metadata` as JSON; the same SDK cuts what is larger. */
const MAX_OBJECT = 4096
/** Numbers below are surely seconds, numbers above microseconds: as milliseconds they lie in 1973 and in 5138. */
const LEAST_MS = 1e11
const MOST_MS = 1e14
/** Without a zone it would mean another moment on every machine. */
const ISO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/

/** StatsigUser in Statsig's HTTP API specification. */
const USER_TEXTS = ['userID', 'email', 'ip', 'userAgent', 'country', 'locale', 'appVersion']
const USER_OBJECTS = ['customIDs', 'custom', 'privateAttributes', 'statsigEnvironment']
const TIERS = ['production', 'staging', 'development']

/** `user.custom.x`, `user.customIDs.x` and `metadata.x` take any name. */
export function describeEvents(): readonly FieldInfo[] {
  return [
    { name: 'eventName', type: 'text, at most 128 characters' },
    { name: 'value', type: 'number or text of at most 128 characters' },
    { name: 'time', type: 'time, or milliseconds since 1970', accepts: ['timestamp', 'timestamptz', 'integer', 'string'] },
    ...USER_TEXTS.map((name) => ({ name: `user.${name}`, type: 'text' })),
    { name: 'user.customIDs', type: 'ids by unit ID type', accepts: ['json'] },
    { name: 'user.custom', type: 'attributes by name', accepts: ['json'] },
    { name: 'user.privateAttributes', type: 'attributes by name, not logged', accepts: ['json'] },
    { name: 'user.statsigEnvironment.tier', type: TIERS.join(', ') },
    { name: 'metadata', type: 'texts by name', accepts: ['json'] },
  ]
}

type Event = Readonly<Record<string, Value>>

interface Problem {
  readonly field: string
  readonly message: string
}

/** Sends what is right of a batch in one request; the rest is rejected here, with the field. */
export async function* appendEvents(http: Http, { changes }: Batch): AsyncIterable<Outcome> {
  const sent: Change[] = []
  const events: Event[] = []
  for (const change of changes) {
    const read = readEvent(change.fields)
    if ('field' in read) yield rejected(change.key, read)
    else {
      sent.push(change)
      events.push(read.event)
    }
  }
  if (sent.length === 0) return
  const reply = await http.request({ method: 'POST', path: '/v1/log_event', json: { events } })
  const { success } = record(reply.json())
  if (success !== true) throw new UnknownOutcome('no_confirmation', 'Statsig answered 2xx, but not that it took the events.')
  for (const { key } of sent) yield { key, result: 'accepted' }
}

/** One event a request. What this endpoint answers is not published: a page is no confirmation, `success: false` neither. */
export async function* sendWebhook(http: Http, { changes }: Batch): AsyncIterable<Outcome> {
  for (const { key, fields } of changes) {
    const read = readEvent(fields)
    if ('field' in read) {
      yield rejected(key, read)
      continue
    }
    const { eventName, time, ...rest } = read.event
    const json = { event: eventName, ...rest, ...(time === undefined ? {} : { timestamp: time }) }
    const reply = await http.request({ method: 'POST', path: '/v1/webhooks/event_webhook', json })
    const plain = reply.text === '' || reply.headers['content-type']?.startsWith('text/plain') === true
    if (!plain && record(reply.json())['success'] === false)
      throw new UnknownOutcome('no_confirmation', 'Statsig answered 2xx, but not that it took the event.')
    yield { key, result: 'accepted' }
  }
}

const rejected = (key: string, { field, message }: Problem): Outcome => ({ key, result: 'rejected', code: 'invalid_field', message, field })

/** The event of a row, or what is wrong with it. */
function readEvent(fields: Fields): { readonly event: Event } | Problem {
  const { eventName, value, time, user, metadata, ...others } = nest(withoutNulls(fields))
  const [other] = Object.keys(others)
  if (other !== undefined) return { field: other, message: `An event has no field "${other}".` }
  if (typeof eventName !== 'string' || eventName === '')
    return { field: 'eventName', message: 'eventName must be a text that is not empty.' }
  const problem = longText('eventName', eventName) ?? valueProblem(value)
  if (problem) return problem
  const ms = readTime(time)
  if (typeof ms === 'object') return ms
  const who = readUser(user)
  if ('field' in who) return who
  const more = readMetadata(metadata)
  if ('field' in more) return more
  return {
    event: {
      eventName,
      ...(value === undefined ? {} : { value }),
      ...(ms === undefined ? {} : { time: ms }),
      user: who.user,
      ...(more.metadata === undefined ? {} : { metadata: more.metadata }),
    },
  }
}

/** An event has nothing to clear: what is null is left out. */
const withoutNulls = (fields: Fields): Fields => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null))

function longText(field: string, text: string): Problem | undefined {
  return text.length > MAX_TEXT
    ? { field, message: `${field} has ${text.length} characters; Statsig would cut it after ${MAX_TEXT}.` }
    : undefined
}

function valueProblem(value: Value | undefined): Problem | undefined {
  if (value === undefined || typeof value === 'number' || value instanceof RawJson) return undefined
  return typeof value === 'string' ? longText('value', value) : { field: 'value', message: 'value must be a number or a text.' }
}

/** Milliseconds since 1970, as all of Statsig's SDKs send a time; the specification takes ISO texts too, the SDKs refuse them. */
function readTime(time: Value | undefined): number | undefined | Problem {
  if (time === undefined) return undefined
  const iso = typeof time === 'string' && ISO_TIME.test(time)
  const ms = iso ? Date.parse(time) : time
  if (typeof ms === 'number' && Number.isInteger(ms) && (iso || (ms >= LEAST_MS && ms < MOST_MS))) return ms
  const message =
    'time must be a timestamp with its zone, or whole milliseconds since 1970 (a date, seconds or microseconds: cast it in the model).'
  return { field: 'time', message }
}

function readUser(given: Value = {}): { readonly user: Event } | Problem {
  if (!isObject(given)) return noObject('user')
  const user: Record<string, Value> = {}
  for (const [name, value] of Object.entries(given)) {
    const field = `user.${name}`
    if (value === null) continue
    if (USER_TEXTS.includes(name)) {
      const text = textOf(value)
      if (text === undefined) return { field, message: `${field} must be a text.` }
      const long = name === 'userID' ? longText(field, text) : undefined
      if (long) return long
      user[name] = text
    } else if (!USER_OBJECTS.includes(name))
      return { field, message: `A user has no field "${name}"; attributes of your own go into user.custom.${name}.` }
    else if (!isObject(value)) return noObject(field)
    else if (name === 'customIDs') {
      const ids = Object.entries(withoutNulls(value)).map(([type, id]) => [type, textOf(id)] as const)
      const [bad] = ids.find(([, id]) => id === undefined) ?? []
      if (bad !== undefined) return { field: `${field}.${bad}`, message: `${field}.${bad} must be a text.` }
      user[name] = Object.fromEntries(ids) as Event
    } else if (name === 'statsigEnvironment' && !TIERS.some((tier) => tier === value['tier']))
      return { field: `${field}.tier`, message: `${field}.tier must be one of ${TIERS.join(', ')}.` }
    else user[name] = value
  }
  // "At minimum, provide at least one identifier" (StatsigUser).
  const known = user['userID'] || Object.values(record(user['customIDs'])).some((id) => id !== '')
  if (!known) return { field: 'user.userID', message: 'An event needs user.userID, or an id in user.customIDs.' }
  return largeObject('user', user) ?? { user }
}

function readMetadata(given: Value | undefined): { readonly metadata: Event | undefined } | Problem {
  if (given === undefined) return { metadata: undefined }
  if (!isObject(given)) return noObject('metadata')
  // All values are texts there ("additionalProperties" of StatsigEvent.metadata).
  const texts = Object.entries(withoutNulls(given)).map(([name, value]): [string, string] => [
    name,
    typeof value === 'string' ? value : encodeJson(value),
  ])
  const metadata = Object.fromEntries(texts)
  return largeObject('metadata', metadata) ?? { metadata }
}

function largeObject(field: string, value: Event): Problem | undefined {
  const bytes = Buffer.byteLength(encodeJson(value))
  return bytes > MAX_OBJECT
    ? { field, message: `${field} has ${bytes} bytes as JSON; Statsig would drop what is beyond ${MAX_OBJECT}.` }
    : undefined
}

/** Ids and other texts: a number of the model keeps its digits. */
function textOf(value: Value): string | undefined {
  if (typeof value === 'string') return value
  return typeof value === 'number' || value instanceof RawJson ? encodeJson(value) : undefined
}

const noObject = (field: string): Problem => ({
  field,
  message: `${field} must be an object: write ${field}.name for each of its members, or give a JSON object.`,
})

const isObject = (value: Value): value is Event =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof RawJson)

const record = (value: unknown): Readonly<Record<string, unknown>> => (isObject(value as Value) ? (value as Record<string, unknown>) : {})
