/** What Statsig's event endpoints take as one event: the members that are known, their types and their sizes. */

export type SentEvent = Readonly<Record<string, unknown>>

/** "LogEventRequest" in Statsig's HTTP API specification. */
const EVENT: Readonly<Record<string, (value: unknown) => boolean>> = {
  eventName: isName,
  value: isValue,
  time: isTime,
  user: isUser,
  metadata: isMetadata,
}

/** The page "Event Webhook" of Statsig's documentation: the same with other names. */
const WEBHOOK: Readonly<Record<string, (value: unknown) => boolean>> = {
  event: isName,
  value: isValue,
  timestamp: isTime,
  user: isUser,
  metadata: isMetadata,
}

/** "StatsigUser" in the HTTP API specification. */
const USER_TEXTS = ['userID', 'email', 'ip', 'userAgent', 'country', 'locale', 'appVersion']

/** Statsig's Node SDK 6.5.2 cuts an event's name and text value to so many characters, and user and metadata to so many bytes. */
const MAX_TEXT = 128
const MAX_OBJECT = 4096

/** What is wrong with an event of log_event. */
export function eventProblem(event: unknown): string | undefined {
  return problemOf(event, EVENT, 'eventName')
}

/** What is wrong with the event of the webhook. */
export function webhookProblem(event: unknown): string | undefined {
  return problemOf(event, WEBHOOK, 'event')
}

/**
 * The service documents no check beyond the required name, and takes what it does not know. Here unknown members and
 * what would be cut are refused instead, so that a mistake shows and nothing is lost in silence.
 */
function problemOf(event: unknown, known: typeof EVENT, required: string): string | undefined {
  if (!isObject(event)) return 'An event must be an object.'
  if (event[required] === undefined) return `${required} is required.`
  for (const [name, value] of Object.entries(event)) {
    const check = Object.hasOwn(known, name) ? known[name] : undefined
    if (check === undefined) return `${name} is not a member of an event.`
    if (!check(value)) return `${name} is not valid.`
  }
  return undefined
}

function isName(value: unknown): boolean {
  return typeof value === 'string' && value !== '' && value.length <= MAX_TEXT
}

function isValue(value: unknown): boolean {
  return typeof value === 'number' || (typeof value === 'string' && value.length <= MAX_TEXT)
}

/** Milliseconds since 1970 or an ISO 8601 text. */
function isTime(value: unknown): boolean {
  return typeof value === 'number' ? Number.isInteger(value) && value > 1e11 : typeof value === 'string' && !Number.isNaN(Date.parse(value))
}

/** All values are texts. */
function isMetadata(value: unknown): boolean {
  return isObject(value) && fits(value) && Object.values(value).every((member) => typeof member === 'string')
}

function isUser(value: unknown): boolean {
  if (!isObject(value) || !fits(value)) return false
  const { userID, customIDs } = value
  // "At minimum, provide at least one identifier."
  if (!userID && !(isObject(customIDs) && Object.values(customIDs).some(Boolean))) return false
  return Object.entries(value).every(([name, member]) => {
    if (USER_TEXTS.includes(name)) return typeof member === 'string'
    if (!isObject(member)) return false
    if (name === 'customIDs') return Object.values(member).every((id) => typeof id === 'string')
    if (name === 'statsigEnvironment') return ['production', 'staging', 'development'].includes(String(member['tier']))
    return name === 'custom' || name === 'privateAttributes'
  })
}

function fits(value: object): boolean {
  return JSON.stringify(value).length <= MAX_OBJECT
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
