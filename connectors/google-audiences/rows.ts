/** From changes to audience members and events; what Google would not take is found here, before anything is sent. */
import { type Change, type Fields, type Outcome, RawJson } from '../../src/index.ts'
import { addressMatch, addressOf, commonConsent, type Consent, consentOf, contactsOf, type Identifier, textOf, Unfit } from './people.ts'
import type { Options } from './settings.ts'

export interface Row {
  readonly key: string
  readonly body: object
}

export interface Prepared {
  readonly rows: readonly Row[]
  readonly rejected: readonly Outcome[]
}

/** "Maximum number of user identifiers allowed per audience member is 10" (ErrorReason TOO_MANY_USER_IDENTIFIERS). */
const MAX_IDENTIFIERS = 10
/** Older clicks are not credited (Google Ads Help, "About offline conversion imports": 90 days). Milliseconds. */
const MAX_AGE = 90 * 86_400_000

/** Each change as the service's object. `now`: milliseconds since 1970, by which clicks are too old. */
export function prepare(object: string, changes: readonly Change[], options: Options, now: number): Prepared {
  const build = object === 'conversion' ? eventOf : object === 'audience' ? memberOf : deviceOf
  const rows: Row[] = []
  const rejected: Outcome[] = []
  for (const change of changes) {
    try {
      rows.push({ key: change.key, body: build(change, options, now) })
    } catch (error) {
      if (!(error instanceof Unfit)) throw error
      rejected.push({ key: change.key, result: 'rejected', code: error.code, message: error.message, field: error.field })
    }
  }
  return { rows, rejected }
}

function memberOf(change: Change, options: Options): object {
  const { match, fields } = change
  // Once one of the columns is null, removing what it held would remove the other's person.
  for (const name of ['email', 'phone'])
    if (textOf(match, name) !== undefined && textOf(match, `${name}_sha256`) !== undefined)
      throw new Unfit('two_values', `${name}_sha256`, `A row has one ${name}: map either the raw column or the hashed one.`)
  const address = textOf(match, 'address')
  const userIdentifiers: Identifier[] = [...contactsOf(match), ...(address === undefined ? [] : [addressMatch(address)])]
  if (userIdentifiers.length > MAX_IDENTIFIERS)
    throw new Unfit('too_many_identifiers', 'email', `A person has at most ${MAX_IDENTIFIERS} identifiers.`)
  return { userData: { userIdentifiers }, ...memberConsent(change, fields, options) }
}

/** Advertising ids are not hashed ("Format user data", MobileData). */
function deviceOf(change: Change, options: Options): object {
  const id = textOf(change.match, 'mobile_id') ?? ''
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id))
    throw new Unfit('invalid_mobile_id', 'mobile_id', 'mobile_id is no advertising id, such as 38400000-8cf0-11bd-b23e-10b96e40000d.')
  return { mobileData: { mobileIds: [id] }, ...memberConsent(change, change.fields, options) }
}

/** Removals carry no consent: RemoveAudienceMembersRequest knows none. */
function memberConsent({ op }: Change, fields: Fields, options: Options): { readonly consent?: Consent } {
  if (op === 'delete') return {}
  const unknown = Object.keys(fields).find((name) => name !== 'ad_user_data' && name !== 'ad_personalization')
  if (unknown !== undefined) throw new Unfit('unknown_field', unknown, `A member has no field ${unknown}.`)
  const consent = consentOf(fields)
  const both = { ...commonConsent(options), ...consent }
  // Google would drop the row and leave a member who is in the list already where it is.
  for (const [name, field] of [
    ['adUserData', 'ad_user_data'],
    ['adPersonalization', 'ad_personalization'],
  ] as const)
    if (both[name] === 'CONSENT_DENIED')
      throw new Unfit(
        'consent_denied',
        field,
        `${field} is denied. Leave such rows out of the model (where: …): then the member is removed.`,
      )
  return consent === undefined ? {} : { consent }
}

const SOURCES = ['WEB', 'APP', 'IN_STORE', 'PHONE', 'OTHER']

/** Names of the fields of a conversion, with the types of columns they take. */
export const EVENT_FIELDS = {
  event_timestamp: ['timestamptz', 'timestamp', 'date', 'string'],
  transaction_id: ['string', 'integer'],
  gclid: ['string'],
  gbraid: ['string'],
  wbraid: ['string'],
  email: ['string'],
  email_sha256: ['string'],
  phone: ['string'],
  phone_sha256: ['string'],
  given_name: ['string'],
  family_name: ['string'],
  region_code: ['string'],
  postal_code: ['string', 'integer'],
  conversion_value: ['decimal', 'integer', 'float'],
  currency: ['string'],
  event_source: ['string'],
  ad_user_data: ['boolean', 'string'],
  ad_personalization: ['boolean', 'string'],
} as const

function eventOf(change: Change, _: Options, now: number): object {
  const { fields } = change
  const unknown = Object.keys(fields).find((name) => !Object.hasOwn(EVENT_FIELDS, name))
  if (unknown !== undefined) throw new Unfit('unknown_field', unknown, `A conversion has no field ${unknown}.`)
  const ids = ['gclid', 'gbraid', 'wbraid'].flatMap((name) => {
    const value = textOf(fields, name)
    return value === undefined ? [] : [[name, value] as const]
  })
  const userIdentifiers = [...contactsOf(fields), ...eventAddress(fields)]
  if (ids.length === 0 && userIdentifiers.length === 0)
    throw new Unfit('no_identifier', 'gclid', 'A conversion needs gclid, gbraid or wbraid, or an e-mail address, phone number or address.')
  const consent = consentOf(fields)
  const source = textOf(fields, 'event_source')
  if (source !== undefined && !SOURCES.includes(source))
    throw new Unfit('invalid_event_source', 'event_source', `event_source must be one of ${SOURCES.join(', ')}.`)
  const value = fields['conversion_value'] ?? undefined
  if (value !== undefined && typeof value !== 'number' && !(value instanceof RawJson))
    throw new Unfit('not_a_number', 'conversion_value', 'conversion_value must be a number.')
  const currency = textOf(fields, 'currency')
  if (currency !== undefined && !/^[A-Z]{3}$/.test(currency))
    throw new Unfit('invalid_currency', 'currency', 'currency must be a code of three capital letters, such as EUR.')
  return {
    // The change's id is the same in every repeat: Google drops a second event with it.
    transactionId: textOf(fields, 'transaction_id') ?? change.id,
    eventTimestamp: timestampOf(fields, now),
    ...(ids.length === 0 ? {} : { adIdentifiers: Object.fromEntries(ids) }),
    ...(userIdentifiers.length === 0 ? {} : { userData: { userIdentifiers } }),
    ...(value === undefined ? {} : { conversionValue: value }),
    ...(currency === undefined ? {} : { currency }),
    ...(source === undefined ? {} : { eventSource: source }),
    ...(consent === undefined ? {} : { consent }),
  }
}

/** RFC 3339; a date is its first moment in UTC. */
function timestampOf(fields: Fields, now: number): string {
  const text = textOf(fields, 'event_timestamp')
  if (text === undefined) throw new Unfit('required', 'event_timestamp', 'A conversion needs event_timestamp.')
  const at = /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00Z` : text
  if (!/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/.test(at) || Number.isNaN(Date.parse(at)))
    throw new Unfit('invalid_timestamp', 'event_timestamp', 'event_timestamp must be a timestamp, such as 2026-11-01T12:00:00Z.')
  if (now - Date.parse(at) > MAX_AGE)
    throw new Unfit('too_old', 'event_timestamp', 'event_timestamp is more than 90 days ago: Google credits no click for it.')
  return at
}

function eventAddress(fields: Fields): Identifier[] {
  const names = ['given_name', 'family_name', 'region_code', 'postal_code'] as const
  const [given, family, country, postal] = names.map((name) => textOf(fields, name))
  // Only the whole of it identifies somebody; without it the other identifiers do.
  if (given === undefined || family === undefined || country === undefined || postal === undefined) return []
  return [addressOf(given, family, country, postal, names)]
}
