/** The messages of the Data Manager API as JSON: which names they know, of which type. Anything else is refused as Google's JSON front refuses it. */
import type { Violation } from './status.ts'

type Type = 'string' | 'bool' | 'number' | 'timestamp' | readonly string[] | { readonly list: Type } | Shape
interface Shape {
  readonly fields: Readonly<Record<string, Type>>
  /** Names of which a message carries at most one. */
  readonly oneOf?: readonly string[]
}

const list = (of: Type): { readonly list: Type } => ({ list: of })

const ACCOUNT_TYPES = ['ACCOUNT_TYPE_UNSPECIFIED', 'GOOGLE_ADS', 'DISPLAY_VIDEO_PARTNER', 'DISPLAY_VIDEO_ADVERTISER', 'DATA_PARTNER']
const CONSENT_STATUS = ['CONSENT_STATUS_UNSPECIFIED', 'CONSENT_GRANTED', 'CONSENT_DENIED']
const TERMS_STATUS = ['TERMS_OF_SERVICE_STATUS_UNSPECIFIED', 'ACCEPTED', 'REJECTED']

// `product` is the deprecated name of `accountType`; either is taken.
const account: Shape = { fields: { product: ACCOUNT_TYPES, accountId: 'string', accountType: ACCOUNT_TYPES } }
const destination: Shape = {
  fields: {
    reference: 'string',
    loginAccount: account,
    linkedAccount: account,
    operatingAccount: account,
    productDestinationId: 'string',
  },
}
const consent: Shape = { fields: { adUserData: CONSENT_STATUS, adPersonalization: CONSENT_STATUS } }
const address: Shape = { fields: { givenName: 'string', familyName: 'string', regionCode: 'string', postalCode: 'string' } }
const identifier: Shape = {
  fields: { emailAddress: 'string', phoneNumber: 'string', address },
  oneOf: ['emailAddress', 'phoneNumber', 'address'],
}
const userData: Shape = { fields: { userIdentifiers: list(identifier) } }
const member: Shape = {
  fields: {
    destinationReferences: list('string'),
    userData,
    mobileData: { fields: { mobileIds: list('string') } },
    consent,
  },
  oneOf: ['userData', 'mobileData'],
}
const device: Shape = { fields: { userAgent: 'string', ipAddress: 'string' } }
const event: Shape = {
  fields: {
    destinationReferences: list('string'),
    transactionId: 'string',
    eventTimestamp: 'timestamp',
    lastUpdatedTimestamp: 'timestamp',
    userData,
    consent,
    adIdentifiers: {
      fields: { sessionAttributes: 'string', gclid: 'string', gbraid: 'string', wbraid: 'string', landingPageDeviceInfo: device },
    },
    currency: 'string',
    conversionValue: 'number',
    eventSource: ['EVENT_SOURCE_UNSPECIFIED', 'WEB', 'APP', 'IN_STORE', 'PHONE', 'OTHER'],
    eventDeviceInfo: device,
    customVariables: list({ fields: { variable: 'string', value: 'string', destinationReferences: list('string') } }),
  },
}
const request = {
  destinations: list(destination),
  validateOnly: 'bool',
  encoding: ['ENCODING_UNSPECIFIED', 'HEX', 'BASE64'],
} as const

/** google.ads.datamanager.v1 by the method's path (audience.proto, event.proto, ingestion_service.proto). */
export const SHAPES: Readonly<Record<string, Shape>> = {
  '/v1/audienceMembers:ingest': {
    fields: {
      ...request,
      audienceMembers: list(member),
      consent,
      termsOfService: { fields: { customerMatchTermsOfServiceStatus: TERMS_STATUS } },
    },
  },
  '/v1/audienceMembers:remove': { fields: { ...request, audienceMembers: list(member) } },
  '/v1/events:ingest': { fields: { ...request, events: list(event), consent } },
}

export const USER_LIST: Shape = {
  fields: {
    name: 'string',
    displayName: 'string',
    description: 'string',
    membershipStatus: ['MEMBERSHIP_STATUS_UNSPECIFIED', 'OPEN', 'CLOSED'],
    integrationCode: 'string',
    membershipDuration: 'string',
    ingestedUserListInfo: {
      fields: {
        uploadKeyTypes: list(['UPLOAD_KEY_TYPE_UNSPECIFIED', 'CONTACT_ID', 'MOBILE_ID', 'USER_ID', 'PAIR_ID', 'PSEUDONYMOUS_ID']),
        contactIdInfo: { fields: { dataSourceType: 'string' } },
      },
    },
  },
}

export const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** What of this JSON is not of that shape. */
export function misfits(value: unknown, shape: Shape, at = ''): Violation[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [wrong(at, 'Expected an object.')]
  const record = value as Record<string, unknown>
  const found: Violation[] = []
  for (const [name, one] of Object.entries(record)) {
    const type = shape.fields[name]
    const path = at === '' ? snake(name) : `${at}.${snake(name)}`
    // The front names the message that holds the unknown name, not the name itself.
    if (type === undefined)
      found.push({
        field: at,
        description: `Invalid JSON payload received. Unknown name "${name}"${at === '' ? '' : ` at '${at}'`}: Cannot find field.`,
      })
    else if (one !== null) found.push(...misfit(one, type, path))
  }
  const given = (shape.oneOf ?? []).filter((name) => record[name] !== undefined)
  if (given.length > 1) found.push(wrong(at, `oneof field is already set. Cannot set '${given[1]}'`))
  return found
}

function misfit(value: unknown, type: Type, at: string): Violation[] {
  if (typeof type === 'string') return fits(value, type) ? [] : [wrong(at, `Invalid value (${type}), ${JSON.stringify(value)}`)]
  if ('list' in type) {
    if (!Array.isArray(value)) return [wrong(at, 'Proto field is repeated, expected a list.')]
    return value.flatMap((one, index) => misfit(one, type.list, `${at}[${index}]`))
  }
  if ('fields' in type) return misfits(value, type, at)
  return type.includes(value as string) ? [] : [wrong(at, `Invalid value (enum), ${JSON.stringify(value)}`)]
}

function fits(value: unknown, type: 'string' | 'bool' | 'number' | 'timestamp'): boolean {
  switch (type) {
    case 'string':
      return typeof value === 'string'
    case 'bool':
      return typeof value === 'boolean'
    case 'number':
      return typeof value === 'number' || (typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value)))
    case 'timestamp':
      // Protocol Buffers, "JSON mapping": RFC 3339, with Z or an offset, up to nine digits of a second.
      return (
        typeof value === 'string' &&
        /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/.test(value) &&
        !Number.isNaN(Date.parse(value))
      )
  }
}

const wrong = (field: string, why: string): Violation => ({ field, description: `Invalid value at '${field}': ${why}` })
