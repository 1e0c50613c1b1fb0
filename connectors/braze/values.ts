/** What a profile, an event and a purchase take. Braze says 201 first and drops what does not fit later, so it is looked at here. */
import { encodeJson, type Fields, RawJson, type Value } from '../../src/index.ts'
import { isObject, type Problem } from './json.ts'

type Check = (value: Value) => string | undefined

const text: Check = (value) => (typeof value !== 'string' ? 'must be a text' : lengthOf(value) > LONGEST ? tooLong(value) : undefined)
const flag: Check = (value) => (typeof value === 'boolean' ? undefined : 'must be true or false')
const oneOf =
  (...values: readonly string[]): Check =>
  (value) =>
    values.includes(value as string) ? undefined : `must be one of ${values.join(', ')}`
const like =
  (pattern: RegExp, what: string): Check =>
  (value) =>
    typeof value === 'string' && pattern.test(value) ? undefined : `must be ${what}`
/** A text of this form that is on the calendar. */
const dated =
  (pattern: RegExp, what: string): Check =>
  (value) =>
    typeof value === 'string' && pattern.test(value) && !Number.isNaN(Date.parse(value)) ? undefined : `must be ${what}`
const time = dated(/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/, 'a date or time in ISO 8601')
const any: Check = () => undefined

/** "String … 255 characters maximum" and attribute names likewise; longer texts are cut there ("User attributes object"). */
const LONGEST = 255
/** "The maximum number of elements … 500" (Custom attributes, Arrays). */
const MOST_ITEMS = 500

/** Fields of a profile that Braze knows by name ("User attributes object", Braze user profile fields). */
const PROFILE: Readonly<Record<string, Check>> = {
  country: like(/^[A-Z]{2}$/, 'a country of ISO 3166-1, two capital letters'),
  current_location: (value) => (isObject(value) ? undefined : 'must be an object with longitude and latitude'),
  date_of_first_session: time,
  date_of_last_session: time,
  dob: dated(/^\d{4}-\d{2}-\d{2}$/, 'a date, YYYY-MM-DD'),
  email: like(/^[^\s@]+@[^\s@]+\.[^\s@]+$/, 'an e-mail address'),
  email_click_tracking_disabled: flag,
  email_open_tracking_disabled: flag,
  email_subscribe: oneOf('opted_in', 'subscribed', 'unsubscribed'),
  facebook: any,
  first_name: text,
  gender: oneOf('M', 'F', 'O', 'N', 'P'),
  home_city: text,
  image_url: text,
  language: like(/^[a-z]{2}$/, 'a language of ISO 639-1, two small letters'),
  last_name: text,
  marked_email_as_spam_at: time,
  phone: like(/^\+?[0-9 ()./-]{5,25}$/, 'a phone number, best in E.164'),
  push_subscribe: oneOf('opted_in', 'subscribed', 'unsubscribed'),
  push_tokens: (value) => (Array.isArray(value) ? undefined : 'must be a list'),
  subscription_groups: (value) => (Array.isArray(value) ? undefined : 'must be a list'),
  time_zone: like(/^([A-Za-z]+(\/[A-Za-z0-9_+-]+)+|UTC)$/, 'a time zone of the IANA database'),
  twitter: any,
}

export const PROFILE_FIELDS = Object.keys(PROFILE)

/** The check of a field, which may be called `constructor`. */
const named = (checks: Readonly<Record<string, Check>>, field: string): Check | undefined =>
  Object.hasOwn(checks, field) ? checks[field] : undefined

/** They say whose profile it is, or how it is written: the match does. */
const RESERVED = ['external_id', 'user_alias', 'braze_id', 'app_id', 'push_token_import', '_update_existing_only', '_merge_objects']

/** What is wrong with the attributes of a profile; null clears any of them. */
export function wrongAttribute(attributes: Fields): Problem | undefined {
  for (const [field, value] of Object.entries(attributes)) {
    if (RESERVED.includes(field)) return problem(field, 'is no attribute; a profile is found by `match`')
    if (value === null) continue
    const said = (named(PROFILE, field) ?? custom(field))(value)
    if (said !== undefined) return problem(field, said)
  }
  return undefined
}

const custom =
  (field: string): Check =>
  (value) => {
    if (field.startsWith('$') || field === '') return 'can’t be the name of an attribute'
    if (lengthOf(field) > LONGEST) return `has a name of more than ${LONGEST} characters`
    if (Array.isArray(value) && value.length > MOST_ITEMS) return `has ${value.length} items; Braze keeps ${MOST_ITEMS}`
    // Of all ways to edit a value these count again when a request is repeated.
    if (isObject(value) && ['inc', '$add'].some((edit) => Object.hasOwn(value, edit))) return 'must be the value, not a change to it'
    return within(value, badKey) ?? tooLarge(value)
  }

/** "Objects have a maximum size of 100 KB" (Nested custom attributes), and so have the properties of an event. */
const MOST_BYTES = 100_000

const tooLarge = (value: Value): string | undefined => {
  if (!isObject(value) && !Array.isArray(value)) return undefined
  const bytes = Buffer.byteLength(encodeJson(value))
  return bytes > MOST_BYTES ? `has ${bytes} bytes; Braze keeps ${MOST_BYTES}` : undefined
}

/** Looks into lists and objects for texts that are too long and for names that can't be. */
function within(value: Value, bad: (key: string) => string | undefined): string | undefined {
  if (typeof value === 'string') return lengthOf(value) > LONGEST ? tooLong(value) : undefined
  if (typeof value !== 'object' || value === null || value instanceof RawJson) return undefined
  for (const [key, item] of Object.entries(value)) {
    const said = (Array.isArray(value) ? undefined : bad(key)) ?? within(item, bad)
    if (said !== undefined) return said
  }
  return undefined
}

/** `$time` marks a time ("Nested custom attributes"), the others edit lists in a way that can be repeated ("Arrays of objects"). */
const MARKS = ['$time', '$remove', '$update', '$identifier_key', '$identifier_value', '$new_object']

/** Names inside an attribute ("Nested custom attributes", limitations). */
const badKey = (key: string): string | undefined =>
  lengthOf(key) > LONGEST || /[ .]/.test(key) || (key.startsWith('$') && !MARKS.includes(key))
    ? `has the name ${JSON.stringify(key)} inside; Braze takes none with spaces, dots or $, nor of more than ${LONGEST} characters`
    : undefined

/** "Non-empty strings less than or equal to 255 characters, with no leading dollar signs" (Custom event properties). */
const badProperty = (key: string): string | undefined =>
  key === '' || key.startsWith('$') || lengthOf(key) > LONGEST
    ? `has the name ${JSON.stringify(key)} inside; Braze takes 1 to ${LONGEST} characters without a leading $`
    : undefined

/** "Reserved keys … can't be used" and "up to 256 distinct properties" (Custom event properties). */
const MOST_PROPERTIES = 256
const properties =
  (...reserved: readonly string[]): Check =>
  (value) => {
    if (!isObject(value)) return 'must be an object'
    const names = Object.keys(value)
    if (names.length > MOST_PROPERTIES) return `has ${names.length} members; Braze keeps ${MOST_PROPERTIES}`
    const taken = names.find((name) => reserved.includes(name))
    if (taken !== undefined) return `can’t have ${taken}, a name that Braze reserves`
    return within(value, badProperty) ?? tooLarge(value)
  }

const EVENT: Readonly<Record<string, Check>> = { name: text, time, properties: properties('time', 'event_name'), app_id: text }

/** "quantity … must be <= 100", "currency … ISO 4217 Alphabetic Currency Code" ("Purchase object"). */
const PURCHASE: Readonly<Record<string, Check>> = {
  product_id: text,
  currency: like(/^[A-Z]{3}$/, 'a currency of ISO 4217, three capital letters'),
  price: (value) => (typeof value === 'number' || value instanceof RawJson ? undefined : 'must be a number'),
  quantity: (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 100 ? undefined : 'must be a whole number from 1 to 100',
  time,
  properties: properties('time', 'product_id', 'quantity', 'event_name', 'price', 'currency'),
  app_id: text,
}

const NEEDED = { events: ['name', 'time'], purchases: ['product_id', 'currency', 'price', 'time'] } as const

export const EVENT_FIELDS = { events: Object.keys(EVENT), purchases: Object.keys(PURCHASE) }

/** What is wrong with an event or a purchase. Nulls are left out before. */
export function wrongEvent(kind: 'events' | 'purchases', fields: Fields): Problem | undefined {
  const missing = NEEDED[kind].find((field) => fields[field] === undefined)
  if (missing !== undefined) return { code: 'missing', message: `${missing} is missing.`, field: missing }
  const checks = kind === 'events' ? EVENT : PURCHASE
  for (const [field, value] of Object.entries(fields)) {
    const check = named(checks, field)
    const said = check === undefined ? `is no field of ${kind}; put it into properties` : check(value)
    if (said !== undefined) return problem(field, said)
  }
  return undefined
}

const problem = (field: string, said: string): Problem => ({ code: 'bad_value', message: `${field} ${said}.`, field })

const tooLong = (value: string): string => `has ${lengthOf(value)} characters; Braze keeps ${LONGEST}`

const lengthOf = (value: string): number => Array.from(value).length
