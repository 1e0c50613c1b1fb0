/** From raw columns to what Meta identifies people by: normalised as its documents say, then hashed with SHA-256. */
import { createHash } from 'node:crypto'
import { type Fields, RawJson } from '../../src/index.ts'

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

interface Kind {
  /** Key in the schema of a custom audience. */
  readonly audience?: string
  /** Member of `user_data` in an event. */
  readonly event?: string
  /** The text that counts; throws Unfit when it can't be one. */
  readonly normal: (text: string, field: string) => string
  readonly hashed: boolean
}

/** Columns about a person, by their names in the mapping ("Customer information parameters", "Custom Audiences"). */
export const PEOPLE: Readonly<Record<string, Kind>> = {
  email: { audience: 'EMAIL', event: 'em', normal: email, hashed: true },
  email_sha256: { audience: 'EMAIL', event: 'em', normal: digest, hashed: false },
  phone: { audience: 'PHONE', event: 'ph', normal: phone, hashed: true },
  phone_sha256: { audience: 'PHONE', event: 'ph', normal: digest, hashed: false },
  external_id: { audience: 'EXTERN_ID', event: 'external_id', normal: asIs, hashed: false },
  mobile_id: { audience: 'MADID', event: 'madid', normal: mobileId, hashed: false },
  first_name: { audience: 'FN', event: 'fn', normal: name, hashed: true },
  last_name: { audience: 'LN', event: 'ln', normal: name, hashed: true },
  city: { audience: 'CT', event: 'ct', normal: place, hashed: true },
  state: { audience: 'ST', event: 'st', normal: place, hashed: true },
  postal_code: { audience: 'ZIP', event: 'zp', normal: postalCode, hashed: true },
  country: { audience: 'COUNTRY', event: 'country', normal: country, hashed: true },
  gender: { audience: 'GEN', event: 'ge', normal: gender, hashed: true },
  birth_year: { audience: 'DOBY', normal: number(/^(19|20)\d{2}$/, 4), hashed: true },
  birth_month: { audience: 'DOBM', normal: number(/^(0[1-9]|1[0-2])$/, 2), hashed: true },
  birth_day: { audience: 'DOBD', normal: number(/^(0[1-9]|[12]\d|3[01])$/, 2), hashed: true },
  birth_date: { event: 'db', normal: birthDate, hashed: true },
  client_ip_address: { event: 'client_ip_address', normal: asIs, hashed: false },
  client_user_agent: { event: 'client_user_agent', normal: asIs, hashed: false },
  fbc: { event: 'fbc', normal: asIs, hashed: false },
  fbp: { event: 'fbp', normal: asIs, hashed: false },
  lead_id: { event: 'lead_id', normal: asIs, hashed: false },
  subscription_id: { event: 'subscription_id', normal: asIs, hashed: false },
}

/** The value of a person's column as it is sent; undefined for none. Throws Unfit. */
export function personal(fields: Fields, field: string): string | undefined {
  const kind = PEOPLE[field]
  const text = textOf(fields, field)
  if (kind === undefined || text === undefined) return undefined
  const normal = kind.normal(text, field)
  // The hash of an empty text would be one person whom all such rows share.
  if (normal === '') throw new Unfit(`invalid_${field}`, field, `Nothing of ${field} is left once it is normalised.`)
  return kind.hashed ? createHash('sha256').update(normal).digest('hex') : normal
}

/** The text of a value; undefined for none. */
export function textOf(fields: Fields, field: string): string | undefined {
  const value = fields[field]
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value === 'object' && !(value instanceof RawJson)) throw new Unfit('wrong_type', field, `${field} must be a text.`)
  return String(value)
}

function asIs(text: string): string {
  return text
}

// What follows folds spellings of identifiers no further than the engine does when it compares matches (`email`, `digits`,
// `lower_ascii`): two members there that are one person here would, when one of them goes, take the other along.

/** White space and capitals outside ASCII. */
const ODD = /[^\S \t\n\v\f\r]|(?![A-Z])[\p{Lu}\p{Lt}]/u

function email(text: string, field: string): string {
  const address = text.trim().toLowerCase()
  if (!/^[^\s@]+@[^\s@.]+(\.[^\s@.]+)+$/.test(address) || ODD.test(text))
    throw new Unfit('invalid_email', field, `${field} is no e-mail address.`)
  return address
}

/** Digits with country code, no plus; 7 to 16 of them, as Meta's SDK (24.0.1) checks. A leading zero says that it is missing, or two that it follows. */
function phone(text: string, field: string): string {
  const digits = text.replace(/\D/g, '')
  if (/[A-Za-z]/.test(text) || digits.startsWith('0') || digits.length < 7 || digits.length > 16)
    throw new Unfit('invalid_phone', field, `${field} is no phone number that starts with its country code, such as +1 650 555 1212.`)
  return digits
}

function digest(text: string, field: string): string {
  const value = text.toLowerCase()
  if (!/^[0-9a-f]{64}$/.test(value)) throw new Unfit('invalid_hash', field, `${field} is no SHA-256 in 64 hexadecimal digits.`)
  return value
}

function mobileId(text: string, field: string): string {
  const value = text.toLowerCase()
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value))
    throw new Unfit('invalid_mobile_id', field, `${field} is no advertising id, such as 38400000-8cf0-11bd-b23e-10b96e40000d.`)
  return value
}

/** Lower case, no punctuation; letters of any script stay, with their accents. */
function name(text: string): string {
  return text
    .toLowerCase()
    .replace(/[\p{P}\p{S}]/gu, '')
    .trim()
}

/** Lower case, letters only: "Menlo Park" is menlopark. */
function place(text: string): string {
  return text.toLowerCase().replace(/[\p{P}\p{S}\d\s]/gu, '')
}

/** Lower case, without spaces and dashes; of a ZIP+4 the first five digits ("Customer information parameters", zp). */
function postalCode(text: string): string {
  const code = text.toLowerCase().replace(/\s/g, '')
  return /^\d{5}-\d{4}$/.test(code) ? code.slice(0, 5) : code.replaceAll('-', '')
}

function country(text: string, field: string): string {
  const code = text.trim().toLowerCase()
  if (!/^[a-z]{2}$/.test(code)) throw new Unfit('invalid_country', field, `${field} is no country code of two letters, such as US.`)
  return code
}

function gender(text: string, field: string): string {
  const value = text.trim().toLowerCase()
  if (!/^(m|f|male|female)$/.test(value)) throw new Unfit('invalid_gender', field, `${field} must be m or f.`)
  return value.slice(0, 1)
}

/** YYYYMMDD. */
function birthDate(text: string, field: string): string {
  const digits = /^(\d{4})-?(\d{2})-?(\d{2})(T|$)/.exec(text)?.slice(1, 4).join('')
  if (digits === undefined) throw new Unfit('invalid_date', field, `${field} is no date, such as 1990-05-24.`)
  return digits
}

function number(shape: RegExp, length: number): Kind['normal'] {
  return (text, field) => {
    const digits = text.trim().padStart(length, '0')
    if (!shape.test(digits)) throw new Unfit('invalid_date', field, `${field} is out of range.`)
    return digits
  }
}
