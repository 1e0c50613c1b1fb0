/** What the Data Manager API finds wrong in a request that is well-formed: each finding refuses the whole request. */
import type { Violation } from './status.ts'

export interface Account {
  readonly product?: string
  readonly accountType?: string
  readonly accountId?: string
}
export interface Destination {
  readonly reference?: string
  readonly operatingAccount?: Account
  readonly productDestinationId?: string
}
export interface Consent {
  readonly adUserData?: string
  readonly adPersonalization?: string
}
export interface Address {
  readonly givenName?: string
  readonly familyName?: string
  readonly regionCode?: string
  readonly postalCode?: string
}
export interface Identifier {
  readonly emailAddress?: string
  readonly phoneNumber?: string
  readonly address?: Address
}
export interface Member {
  readonly destinationReferences?: readonly string[]
  readonly userData?: { readonly userIdentifiers?: readonly Identifier[] }
  readonly mobileData?: { readonly mobileIds?: readonly string[] }
  readonly consent?: Consent
}
export interface Event extends Member {
  readonly transactionId?: string
  readonly eventTimestamp?: string
  readonly adIdentifiers?: { readonly gclid?: string; readonly gbraid?: string; readonly wbraid?: string }
  readonly currency?: string
  readonly conversionValue?: number | string
  readonly eventSource?: string
}
export interface Request {
  readonly destinations?: readonly Destination[]
  readonly audienceMembers?: readonly Member[]
  readonly events?: readonly Event[]
  readonly consent?: Consent
  readonly encoding?: string
  readonly validateOnly?: boolean
  readonly termsOfService?: { readonly customerMatchTermsOfServiceStatus?: string }
}

const MAX = { destinations: 10, members: 10_000, events: 2_000, identifiers: 10 }

const missing = (field: string): Violation => ({ field, description: 'Required field is missing.', reason: 'REQUIRED_FIELD_MISSING' })

/** Problems of the frame: destinations, encoding, terms, counts. `known` tells whether an id is a list or conversion action of the account. */
export function checkFrame(request: Request, method: string, known: (id: string) => Violation | null): Violation[] {
  const found: Violation[] = []
  const destinations = request.destinations ?? []
  if (destinations.length === 0) found.push(missing('destinations'))
  if (destinations.length > MAX.destinations)
    found.push({
      field: 'destinations',
      description: 'Maximum number of destinations allowed per request is 10.',
      reason: 'TOO_MANY_DESTINATIONS',
    })
  const references = new Set<string>()
  for (const [index, one] of destinations.entries()) {
    const at = `destinations[${index}]`
    const account = one.operatingAccount
    if (!account?.accountId) found.push(missing(`${at}.operating_account.account_id`))
    if (!account?.accountType && !account?.product) found.push(missing(`${at}.operating_account.account_type`))
    if (account?.accountType && account.product && account.accountType !== account.product)
      found.push({
        field: `${at}.operating_account`,
        description: 'account_type and product differ.',
        reason: 'INVALID_DESTINATION',
      })
    if (!one.productDestinationId) found.push(missing(`${at}.product_destination_id`))
    else {
      const problem = known(one.productDestinationId)
      if (problem) found.push(problem.field === '' ? { ...problem, field: `${at}.product_destination_id` } : problem)
    }
    if (one.reference && references.has(one.reference))
      found.push({
        field: at,
        description: 'Two or more destinations in the request have the same reference.',
        reason: 'DUPLICATE_DESTINATION_REFERENCE',
      })
    references.add(one.reference ?? '')
  }
  const rows = request.audienceMembers ?? request.events ?? []
  const events = method === '/v1/events:ingest'
  const name = events ? 'events' : 'audience_members'
  if (rows.length === 0) found.push(missing(name))
  if (rows.length > (events ? MAX.events : MAX.members))
    found.push(
      events
        ? { field: name, description: 'Maximum number of events allowed per request is 2,000.', reason: 'TOO_MANY_EVENTS' }
        : {
            field: name,
            description: 'Maximum number of audience members allowed per request is 10,000.',
            reason: 'TOO_MANY_AUDIENCE_MEMBERS',
          },
    )
  if (rows.some((row) => row.userData) && !/^(HEX|BASE64)$/.test(request.encoding ?? '')) found.push(missing('encoding'))
  if (method === '/v1/audienceMembers:ingest' && request.termsOfService?.customerMatchTermsOfServiceStatus !== 'ACCEPTED')
    found.push({
      field: 'terms_of_service.customer_match_terms_of_service_status',
      description: 'Required terms and conditions are not accepted.',
      reason: 'TERMS_AND_CONDITIONS_NOT_SIGNED',
    })
  if (rows.some((row) => row.userData) && rows.some((row) => row.mobileData))
    found.push({
      field: name,
      description: 'Multiple data types are not allowed to be ingested in a single request.',
      reason: 'MULTIPLE_DATA_TYPES_NOT_ALLOWED',
    })
  return found
}

/** Problems of one audience member. */
export function checkMember(member: Member, encoding: string, at: string): Violation[] {
  if (member.mobileData) {
    const ids = member.mobileData.mobileIds ?? []
    if (ids.length === 0) return [missing(`${at}.mobile_data.mobile_ids`)]
    return ids.flatMap((id, index) =>
      /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)
        ? []
        : [
            {
              field: `${at}.mobile_data.mobile_ids[${index}]`,
              description: 'Mobile ID format is not valid.',
              reason: 'INVALID_MOBILE_ID_FORMAT',
            },
          ],
    )
  }
  if (!member.userData) return [{ field: at, description: 'This audience member is not valid.', reason: 'INVALID_AUDIENCE_MEMBER' }]
  return checkUserData(member.userData, encoding, at)
}

/** Problems of one event. */
export function checkEvent(event: Event, encoding: string, at: string): Violation[] {
  const found: Violation[] = []
  if (!event.eventTimestamp) found.push(missing(`${at}.event_timestamp`))
  const { gclid, gbraid, wbraid } = event.adIdentifiers ?? {}
  if (!gclid && !gbraid && !wbraid && !event.userData)
    found.push({
      field: at,
      description: 'Events data contains no user identifiers or ad identifiers.',
      reason: 'NO_IDENTIFIERS_PROVIDED',
    })
  if (event.currency !== undefined && !/^[A-Z]{3}$/.test(event.currency))
    found.push({ field: `${at}.currency`, description: 'The currency code is not supported.', reason: 'INVALID_CURRENCY_CODE' })
  if (event.userData) found.push(...checkUserData(event.userData, encoding, at))
  return found
}

function checkUserData(data: NonNullable<Member['userData']>, encoding: string, at: string): Violation[] {
  const identifiers = data.userIdentifiers ?? []
  const here = `${at}.user_data.user_identifiers`
  if (identifiers.length === 0) return [missing(here)]
  if (identifiers.length > MAX.identifiers)
    return [
      {
        field: here,
        description: 'Maximum number of user identifiers allowed per record is 10.',
        reason: 'TOO_MANY_USER_IDENTIFIERS',
      },
    ]
  return identifiers.flatMap((one, index) => checkIdentifier(one, encoding, `${here}[${index}]`))
}

function checkIdentifier(one: Identifier, encoding: string, at: string): Violation[] {
  if (one.emailAddress !== undefined) return checkHash(one.emailAddress, encoding, `${at}.email_address`)
  if (one.phoneNumber !== undefined) return checkHash(one.phoneNumber, encoding, `${at}.phone_number`)
  if (!one.address) return [missing(at)]
  const { givenName, familyName, regionCode, postalCode } = one.address
  return [
    ...(givenName ? checkHash(givenName, encoding, `${at}.address.given_name`) : [missing(`${at}.address.given_name`)]),
    ...(familyName ? checkHash(familyName, encoding, `${at}.address.family_name`) : [missing(`${at}.address.family_name`)]),
    ...(regionCode ? [] : [missing(`${at}.address.region_code`)]),
    ...(postalCode ? [] : [missing(`${at}.address.postal_code`)]),
    ...(regionCode && !/^[A-Za-z]{2}$/.test(regionCode)
      ? [{ field: `${at}.address.region_code`, description: 'Format is invalid.', reason: 'INVALID_FORMAT' }]
      : []),
    ...(postalCode && !/^[A-Za-z0-9][A-Za-z0-9 -]{1,11}$/.test(postalCode)
      ? [{ field: `${at}.address.postal_code`, description: 'Postal code is not valid.', reason: 'INVALID_POSTAL_CODE' }]
      : []),
  ]
}

function checkHash(value: string, encoding: string, field: string): Violation[] {
  const hex = encoding === 'HEX'
  const readable = hex ? /^([0-9a-f]{2})+$/i.test(value) : /^[A-Za-z0-9+/]+={0,2}$/.test(value) && value.length % 4 === 0
  if (!readable)
    return hex
      ? [{ field, description: 'The HEX encoded value is malformed.', reason: 'INVALID_HEX_ENCODING' }]
      : [{ field, description: 'The base64 encoded value is malformed.', reason: 'INVALID_BASE64_ENCODING' }]
  return Buffer.from(value, hex ? 'hex' : 'base64').length === 32
    ? []
    : [{ field, description: 'The SHA256 encoded value is malformed.', reason: 'INVALID_SHA256_FORMAT' }]
}
