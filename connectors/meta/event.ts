/** From changes to events of the Conversions API; what Meta would not take is found here, for one bad event refuses them all. */
import { type Change, type Fields, type Outcome, RawJson, type Value } from '../../src/index.ts'
import { PEOPLE, personal, textOf, Unfit } from './people.ts'

/** "Conversions API parameters", action_source. */
const SOURCES = ['email', 'website', 'app', 'phone_call', 'chat', 'physical_store', 'system_generated', 'business_messaging', 'other']
/** "Using the API": events may be 7 days old, those of a physical store 62. Seconds. */
const DAY = 86_400
const MAX_AGE = { physical_store: 62 * DAY, other: 7 * DAY }

const ABOUT_PEOPLE = Object.keys(PEOPLE).filter((name) => PEOPLE[name]?.event !== undefined)
const ABOUT_EVENT = ['event_name', 'event_time', 'event_id', 'action_source', 'event_source_url', 'opt_out'] as const
/** "Custom data parameters". Whatever else goes into `custom_data` stands in the field of that name, as JSON. */
const ABOUT_SALE = [
  'value',
  'currency',
  'order_id',
  'content_ids',
  'contents',
  'content_type',
  'content_name',
  'content_category',
  'num_items',
  'search_string',
  'status',
  'delivery_category',
  'predicted_ltv',
  'custom_data',
] as const

export const EVENT_FIELDS: readonly string[] = [...ABOUT_EVENT, ...ABOUT_PEOPLE, ...ABOUT_SALE]

export interface Events {
  readonly data: readonly object[]
  readonly keys: readonly string[]
  readonly rejected: readonly Outcome[]
}

/** `now` in milliseconds. */
export function eventsOf(changes: readonly Change[], now: number): Events {
  const data: object[] = []
  const keys: string[] = []
  const rejected: Outcome[] = []
  for (const change of changes) {
    try {
      data.push(eventOf(change, now))
      keys.push(change.key)
    } catch (error) {
      if (!(error instanceof Unfit)) throw error
      rejected.push({ key: change.key, result: 'rejected', code: error.code, message: error.message, field: error.field })
    }
  }
  return { data, keys, rejected }
}

function eventOf({ fields, id }: Change, now: number): object {
  const unknown = Object.keys(fields).find((name) => !EVENT_FIELDS.includes(name))
  if (unknown !== undefined) throw new Unfit('unknown_field', unknown, `An event has no field ${unknown}.`)
  const source = required(fields, 'action_source')
  if (!SOURCES.includes(source))
    throw new Unfit('invalid_action_source', 'action_source', `action_source must be one of ${SOURCES.join(', ')}.`)
  const name = required(fields, 'event_name')
  const time = timeOf(fields, source, now)
  const url = textOf(fields, 'event_source_url')
  // "Conversions API parameters": required of events on a website.
  if (source === 'website')
    for (const [field, value] of [
      ['event_source_url', url],
      ['client_user_agent', textOf(fields, 'client_user_agent')],
    ] as const)
      if (value === undefined) throw new Unfit('required', field, `An event on a website needs ${field}.`)
  const optOut = fields['opt_out'] ?? undefined
  if (optOut !== undefined && typeof optOut !== 'boolean') throw new Unfit('not_a_boolean', 'opt_out', 'opt_out must be a boolean.')
  const custom = saleOf(fields, name)
  return {
    event_name: name,
    event_time: time,
    // The change's id is the same in every repeat: Meta drops a second event of that name with it.
    event_id: textOf(fields, 'event_id') ?? id,
    action_source: source,
    ...(url === undefined ? {} : { event_source_url: url }),
    ...(optOut === undefined ? {} : { opt_out: optOut }),
    user_data: userOf(fields),
    ...(custom === undefined ? {} : { custom_data: custom }),
  }
}

function required(fields: Fields, name: string): string {
  const text = textOf(fields, name)
  if (text === undefined) throw new Unfit('required', name, `An event needs ${name}.`)
  return text
}

/** A date (midnight in UTC), or a time with its zone: without one it would be another moment on every machine. */
const TIME = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2}))?$/

/** Seconds since 1970, from a timestamp or from such a number. */
function timeOf(fields: Fields, source: string, now: number): number {
  const text = required(fields, 'event_time')
  const seconds = /^\d{9,10}$/.test(text) ? Number(text) : TIME.test(text) ? Math.floor(Date.parse(text) / 1000) : Number.NaN
  if (Number.isNaN(seconds))
    throw new Unfit('invalid_timestamp', 'event_time', 'event_time must be a timestamp with its time zone, or seconds since 1970.')
  const limit = source === 'physical_store' ? MAX_AGE.physical_store : MAX_AGE.other
  if (now / 1000 - seconds > limit)
    throw new Unfit('too_old', 'event_time', `event_time is more than ${limit / DAY} days ago: Meta takes no such event any more.`)
  return seconds
}

function userOf(fields: Fields): object {
  const user: Record<string, string> = {}
  for (const name of ABOUT_PEOPLE) {
    const key = PEOPLE[name]?.event
    const value = personal(fields, name)
    if (value === undefined || key === undefined) continue
    if ((user[key] ?? value) !== value)
      throw new Unfit('two_values', name, `An event has one ${key}: map either the raw column or the hashed one.`)
    user[key] = value
  }
  if (Object.keys(user).length === 0) throw new Unfit('no_identifier', 'email', 'An event needs at least one column about the person.')
  return user
}

function saleOf(fields: Fields, name: string): Readonly<Record<string, Value>> | undefined {
  const more = fields['custom_data'] ?? undefined
  if (more !== undefined && (typeof more !== 'object' || Array.isArray(more) || more instanceof RawJson))
    throw new Unfit('wrong_type', 'custom_data', 'custom_data must be a JSON object.')
  const sale: Record<string, Value> = { ...(more as Fields | undefined) }
  for (const field of ABOUT_SALE) {
    const value = fields[field]
    if (field !== 'custom_data' && value !== undefined && value !== null && value !== '') sale[field] = value
  }
  const { value, currency } = sale
  if (value !== undefined && typeof value !== 'number' && !(value instanceof RawJson))
    throw new Unfit('not_a_number', 'value', 'value must be a number.')
  if (currency !== undefined && (typeof currency !== 'string' || !/^[A-Za-z]{3}$/.test(currency)))
    throw new Unfit('invalid_currency', 'currency', 'currency must be a code of three letters, such as EUR.')
  // "Custom data parameters": required of purchases.
  if (name === 'Purchase')
    for (const field of ['value', 'currency'] as const)
      if (sale[field] === undefined) throw new Unfit('required', field, `A Purchase needs ${field}.`)
  return Object.keys(sale).length === 0 ? undefined : sale
}
