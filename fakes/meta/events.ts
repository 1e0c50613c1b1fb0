/** The Conversions API: one invalid event refuses all events of its request. */
import type { FakeControl, FakeReply } from '../../src/testing/fake.ts'
import { invalidParameter, trace } from './errors.ts'

/** Per request (Conversions API, "Using the API"). */
const MAX_EVENTS = 1000
const DAY = 86_400
/** Seconds an event may be old (same page): 7 days, 62 for events of a physical store. */
const OLDEST = { physical_store: 62 * DAY, other: 7 * DAY }
/** Seconds in which a second event of one name and id is the first again ("Handling duplicate events"). */
const DEDUPE = 48 * 3600

const SOURCES = ['email', 'website', 'app', 'phone_call', 'chat', 'physical_store', 'system_generated', 'business_messaging', 'other']
const EVENT_NAMES = [
  'event_name',
  'event_time',
  'event_id',
  'event_source_url',
  'action_source',
  'opt_out',
  'user_data',
  'custom_data',
  'app_data',
  'data_processing_options',
  'data_processing_options_country',
  'data_processing_options_state',
  'advanced_measurement_table',
  'original_event_data',
  'customer_segmentation',
  'attribution_data',
  'messaging_channel',
  'referrer_url',
]
const HASHED = ['em', 'ph', 'fn', 'ln', 'db', 'ge', 'ct', 'st', 'zp', 'country']
const PLAIN = [
  'external_id',
  'client_ip_address',
  'client_user_agent',
  'fbc',
  'fbp',
  'subscription_id',
  'fb_login_id',
  'lead_id',
  'anon_id',
  'madid',
  'page_id',
  'page_scoped_user_id',
  'ctwa_clid',
  'ig_account_id',
  'ig_sid',
]
/** Too broad to find a person by alone ("Customer information parameters", best practices). */
const BROAD = ['ct', 'st', 'zp', 'country', 'ge', 'db', 'fn', 'ln', 'client_user_agent']

export interface StoredEvent {
  readonly pixel: string
  readonly receivedAt: number
  readonly event: Record<string, unknown>
}

/** Takes all events of a request or none. */
export function receiveEvents(
  control: FakeControl,
  pixel: string,
  stored: Map<string, StoredEvent>,
  params: Record<string, unknown>,
): FakeReply {
  for (const name of Object.keys(params))
    if (
      ![
        'data',
        'test_event_code',
        'partner_agent',
        'namespace_id',
        'upload_id',
        'upload_tag',
        'upload_source',
        'trace',
        'platforms',
        'progress',
        'access_token',
        'appsecret_proof',
      ].includes(name)
    )
      return invalidParameter(`Param ${name} is not a known parameter of this edge`)
  const { data } = params
  if (data === undefined) return invalidParameter('The parameter data is required')
  if (!Array.isArray(data) || data.length === 0) return invalidParameter('param data must be non-empty.')
  if (data.length > MAX_EVENTS) return invalidParameter(`Param data must have at most ${MAX_EVENTS} elements`)
  const seconds = Math.floor(control.now() / 1000)
  for (const [index, event] of (data as unknown[]).entries()) {
    const problem = problemOf(event, index, seconds)
    if (problem !== null) return problem
    if (control.refusesRow()) return invalidParameter(`Param data[${index}] is invalid`)
  }
  for (const event of data as Record<string, unknown>[]) {
    const id = event['event_id']
    const key = id === undefined ? `${stored.size}` : `${pixel} ${JSON.stringify([event['event_name'], id])}`
    const before = stored.get(key)
    if (before && control.now() - before.receivedAt < DEDUPE * 1000) continue
    stored.set(before ? `${key} ${stored.size}` : key, { pixel, receivedAt: control.now(), event })
  }
  return { status: 200, json: { events_received: data.length, messages: [], fbtrace_id: trace() } }
}

function problemOf(event: unknown, index: number, seconds: number): FakeReply | null {
  const at = `data[${index}]`
  if (typeof event !== 'object' || event === null || Array.isArray(event)) return invalidParameter(`Param ${at} must be a JSON object.`)
  const given = event as Record<string, unknown>
  const unknown = Object.keys(given).find((name) => !EVENT_NAMES.includes(name))
  if (unknown !== undefined) return invalidParameter(`Unexpected key "${unknown}" on param "${at}".`)
  for (const name of ['event_name', 'event_time', 'user_data', 'action_source'])
    if (given[name] === undefined || given[name] === '') return invalidParameter(`The parameter ${at}[${name}] is required`)
  if (typeof given['event_name'] !== 'string') return invalidParameter(`Param ${at}[event_name] must be a string.`)
  if (given['event_id'] !== undefined && typeof given['event_id'] !== 'string')
    return invalidParameter(`Param ${at}[event_id] must be a string.`)
  if (!SOURCES.includes(String(given['action_source'])))
    return invalidParameter(`Param ${at}[action_source] must be one of {${SOURCES.join(', ')}}`)
  return problemOfTime(given, at, seconds) ?? problemOfUser(given['user_data'], at) ?? problemOfCustomData(given, at)
}

function problemOfTime(event: Record<string, unknown>, at: string, seconds: number): FakeReply | null {
  const time = event['event_time']
  if (typeof time !== 'number' || !Number.isInteger(time)) return invalidParameter(`Param ${at}[event_time] must be an integer`)
  if (time > seconds + 60)
    return invalidParameter('future', {
      subcode: 2804004,
      title: 'Event Timestamp In The Future',
      userMessage: 'The timestamp for this event is in the future. Enter a timestamp in the past.',
    })
  const store = event['action_source'] === 'physical_store'
  if (seconds - time <= (store ? OLDEST.physical_store : OLDEST.other)) return null
  return invalidParameter('old', {
    subcode: 2804003,
    title: 'Event Timestamp Too Old',
    userMessage: `The timestamp for this event is too far in the past. Events need to be sent from your server within ${store ? 62 : 7} days of when they occurred.`,
  })
}

function problemOfUser(data: unknown, at: string): FakeReply | null {
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    return invalidParameter(`Param ${at}[user_data] must be a JSON object.`)
  const user = data as Record<string, unknown>
  const unknown = Object.keys(user).find((name) => !HASHED.includes(name) && !PLAIN.includes(name))
  if (unknown !== undefined) return invalidParameter(`Unexpected key "${unknown}" on param "${at}[user_data]".`)
  for (const name of HASHED)
    for (const value of [user[name] ?? []].flat())
      if (typeof value !== 'string' || !/^[0-9a-f]{64}$/.test(value))
        return invalidParameter(`Param ${at}[user_data][${name}] must be hashed with SHA-256`)
  if (Object.keys(user).some((name) => !BROAD.includes(name))) return null
  // A browser's address and name together are enough for a website, one of the rest is not.
  return Object.keys(user).filter((name) => BROAD.includes(name)).length >= 3
    ? null
    : invalidParameter('customer information', {
        subcode: 2804050,
        title: "You haven't added sufficient customer information parameter data for this event",
        userMessage: 'This event does not have sufficient customer information parameters. Add more of them to the event.',
      })
}

function problemOfCustomData(event: Record<string, unknown>, at: string): FakeReply | null {
  const data = (event['custom_data'] ?? {}) as Record<string, unknown>
  if (typeof data !== 'object' || Array.isArray(data)) return invalidParameter(`Param ${at}[custom_data] must be a JSON object.`)
  const { value, currency } = data
  if (value !== undefined && (typeof value === 'boolean' || !Number.isFinite(Number(value))))
    return invalidParameter(`Param ${at}[custom_data][value] must be a number`)
  if (currency !== undefined && !(typeof currency === 'string' && /^[A-Za-z]{3}$/.test(currency)))
    return invalidParameter(`Param ${at}[custom_data][currency] must be a valid ISO 4217 currency code`)
  if (event['event_name'] === 'Purchase' && (value === undefined || currency === undefined))
    return invalidParameter(`The parameters ${at}[custom_data][currency] and ${at}[custom_data][value] are required for Purchase events`)
  return null
}
