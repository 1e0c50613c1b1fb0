/** From raw columns to what Google identifies people by: normalised, hashed with SHA-256, in hexadecimal. */
import { createHash } from 'node:crypto'
import { type Fields, RawJson, type Value } from '../../src/index.ts'
import type { Options } from './settings.ts'

/** Why a row is not sent. `field` as in the mapping. */
export class Unfit extends Error {
  readonly code: string
  readonly field: string
  constructor(code: string, field: string, message: string) {
    super(message)
    this.code = code
    this.field = field
  }
}

export type Identifier =
  | { readonly emailAddress: string }
  | { readonly phoneNumber: string }
  | {
      readonly address: {
        readonly givenName: string
        readonly familyName: string
        readonly regionCode: string
        readonly postalCode: string
      }
    }

const hash = (text: string): string => createHash('sha256').update(text).digest('hex')

/** The text of a value; undefined for none. */
export function textOf(fields: Fields, name: string): string | undefined {
  const value: Value | undefined = fields[name]
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value === 'object' && !(value instanceof RawJson)) throw new Unfit('wrong_type', name, `${name} must be a text.`)
  return String(value)
}

// What follows folds spellings of identifiers no further than the engine does when it compares matches (`mailbox`, `e164`,
// `lower_ascii`): two members there that are one person here would, when one of them goes, take the other along.

/** White space and capitals outside ASCII. */
const ODD = /[^\S \t\n\v\f\r]|(?![A-Z])[\p{Lu}\p{Lt}]/u

/**
 * "Format user data" of the Data Manager API: without white space, lower case; at gmail.com and googlemail.com without dots
 * and what follows a plus. White space inside of other addresses is a mistake, and named.
 */
export function normalEmail(text: string, field = 'email'): string {
  const [local = '', domain = '', more] = text.trim().toLowerCase().split('@')
  const google = domain === 'gmail.com' || domain === 'googlemail.com'
  const name = google ? local.replace(/\+.*/s, '').replace(/[\s.]+/g, '') : local
  if (!/^\S+$/.test(name) || !/^[^.\s]+(\.[^.\s]+)+$/.test(domain) || more !== undefined || ODD.test(text))
    throw new Unfit('invalid_email', field, `${field} is no e-mail address.`)
  return `${name}@${domain}`
}

/** The same page: E.164, with plus and country code. A number without them is not guessed at. */
export function normalPhone(text: string, field = 'phone'): string {
  const number = text.replace(/[ \t\n\v\f\r()./-]+/g, '').replace(/^00/, '+')
  if (!/^\+[1-9]\d{6,14}$/.test(number))
    throw new Unfit('invalid_phone', field, `${field} is no number with + and country code, such as +18005550100.`)
  return number
}

/** As Google's own Data Manager utility library does: lower case, without Mr., Mrs., Ms. and Dr. */
export function normalGivenName(text: string, field = 'given_name'): string {
  return filled(
    text
      .trim()
      .toLowerCase()
      .replace(/(?:mrs|mr|ms|dr)\.(?:\s|$)/g, '')
      .trim(),
    field,
  )
}

/** The same, without Jr., III, PhD and the like at the end. */
export function normalFamilyName(text: string, field = 'family_name'): string {
  const suffix = /(?:,\s*|\s+)(?:jr\.|sr\.|2nd|3rd|ii|iii|iv|v|vi|cpa|dc|dds|vm|jd|md|phd)\s?$/
  let name = text.trim().toLowerCase()
  while (suffix.test(name)) name = name.replace(suffix, '')
  return filled(name, field)
}

function filled(text: string, field: string): string {
  // The hash of an empty text would be one person whom all incomplete rows share.
  if (text === '') throw new Unfit('invalid_name', field, `${field} is empty once titles are taken off.`)
  return text
}

/** ISO 3166-1 alpha-2; sent as it is, not hashed. */
function regionCode(text: string, field: string): string {
  const code = text.trim().toUpperCase()
  if (!/^[A-Z]{2}$/.test(code)) throw new Unfit('invalid_country', field, `${field} is no country code of two letters, such as US.`)
  return code
}

const lower = (text: string): string => text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())

function hashed(text: string, field: string): string {
  const value = text.toLowerCase()
  if (!/^[0-9a-f]{64}$/.test(value)) throw new Unfit('invalid_hash', field, `${field} is no SHA-256 in 64 hexadecimal digits.`)
  return value
}

/** Identifiers of a person out of columns named email, email_sha256, phone and phone_sha256. */
export function contactsOf(fields: Fields): Identifier[] {
  const email = textOf(fields, 'email')
  const emailHash = textOf(fields, 'email_sha256')
  const phone = textOf(fields, 'phone')
  const phoneHash = textOf(fields, 'phone_sha256')
  return [
    ...(email === undefined ? [] : [{ emailAddress: hash(normalEmail(email)) }]),
    ...(emailHash === undefined ? [] : [{ emailAddress: hashed(emailHash, 'email_sha256') }]),
    ...(phone === undefined ? [] : [{ phoneNumber: hash(normalPhone(phone)) }]),
    ...(phoneHash === undefined ? [] : [{ phoneNumber: hashed(phoneHash, 'phone_sha256') }]),
  ]
}

/** An address identifies only as a whole: given name, family name, country and postal code. `fields`: how they are called in the mapping. */
export function addressOf(
  given: string,
  family: string,
  country: string,
  postal: string,
  fields: readonly [string, string, string, string],
): Identifier {
  const postalCode = postal.trim().toUpperCase()
  if (postalCode === '') throw new Unfit('invalid_postal_code', fields[3], `${fields[3]} is empty.`)
  return {
    address: {
      givenName: hash(normalGivenName(given, fields[0])),
      familyName: hash(normalFamilyName(family, fields[1])),
      regionCode: regionCode(country, fields[2]),
      postalCode,
    },
  }
}

/**
 * `given|family|country|postal code`: one text, because a member is found by each match field alone. What conversions leave
 * away for themselves must be left away by the model here, for the engine compares the whole text.
 */
export function addressMatch(text: string): Identifier {
  const parts = text.split('|')
  const [given = '', family = '', country = '', postal = ''] = parts
  if (parts.length !== 4 || parts.some((part) => part.trim() === ''))
    throw new Unfit(
      'invalid_address',
      'address',
      'address must be "given name|family name|country|postal code", or null when one is missing.',
    )
  const plain = normalGivenName(given, 'address') === lower(given) && normalFamilyName(family, 'address') === lower(family)
  if (!plain || parts.some((part) => part !== part.trim()))
    throw new Unfit(
      'invalid_address',
      'address',
      'address must have no white space around its parts, names without titles such as Mrs. or Jr., and no capitals such as É: use lower(trim(…)) in SQL.',
    )
  return addressOf(given, family, country, postal, ['address', 'address', 'address', 'address'])
}

/** Consent in the vendor's words; undefined when nothing is said. */
export interface Consent {
  readonly adUserData?: string
  readonly adPersonalization?: string
}

const CONSENT = { granted: 'CONSENT_GRANTED', denied: 'CONSENT_DENIED' } as const

/** What the sync's options say of everybody. */
export function commonConsent({ consent }: Options): Consent | undefined {
  if (consent?.ad_user_data === undefined && consent?.ad_personalization === undefined) return undefined
  return {
    ...(consent.ad_user_data === undefined ? {} : { adUserData: CONSENT[consent.ad_user_data] }),
    ...(consent.ad_personalization === undefined ? {} : { adPersonalization: CONSENT[consent.ad_personalization] }),
  }
}

/** What a row says of itself in ad_user_data and ad_personalization: true, false, granted or denied. */
export function consentOf(fields: Fields): Consent | undefined {
  const adUserData = decision(fields, 'ad_user_data')
  const adPersonalization = decision(fields, 'ad_personalization')
  if (adUserData === undefined && adPersonalization === undefined) return undefined
  return { ...(adUserData === undefined ? {} : { adUserData }), ...(adPersonalization === undefined ? {} : { adPersonalization }) }
}

function decision(fields: Fields, name: string): string | undefined {
  const value = fields[name]
  if (value === undefined || value === null || value === '') return undefined
  if (value === true || value === 'granted') return CONSENT.granted
  if (value === false || value === 'denied') return CONSENT.denied
  throw new Unfit('invalid_consent', name, `${name} must be a boolean, or the text granted or denied.`)
}
