/** The way to a HubSpot portal: what its failures mean, what it knows of properties, and its records by unique values. */
import {
  AuthError,
  CdpError,
  type ConnectorIO,
  type FailedReply,
  type Http,
  type HttpReply,
  RateLimited,
  Refused,
  UnknownOutcome,
  type Value,
} from '../../src/index.ts'
import { isObject, type Json, listOf, textOf, textsOf } from './json.ts'

/** Version of every path but those of records, whose version is a setting: associations and account have no later one published. */
const VERSION = '2026-03'
/** CRM API guides, "Batch read": 100 inputs. */
export const MOST_INPUTS = 100
/** API usage guidelines, "Error codes": 423 asks for at least two seconds. */
const LOCKED_MS = 2000
const DAY_MS = 86_400_000

export interface Property {
  readonly name: string
  readonly type: string
  readonly readOnly: boolean
  /** Finds at most one record. */
  readonly unique: boolean
}

/** Ids that an error says are not there. */
export function missingIn(error: Value): string[] {
  return isObject(error) && error['category'] === 'OBJECT_NOT_FOUND' ? (textsOf(error['context'], 'ids') ?? []) : []
}

/** What check() found out. */
export interface AccountDetails {
  readonly portal: string
  readonly name: string
}

export interface Client {
  account(): Promise<AccountDetails>
  get(path: string, query?: Readonly<Record<string, string | number | undefined>>): Promise<Value>
  /** `path` after `/crm/`, with `{version}` for the version. */
  post(path: string, json: object): Promise<HttpReply>
  put(path: string, json: object): Promise<HttpReply>
  /** POST /crm/objects/…/batch/… */
  batch(type: string, operation: string, json: object): Promise<HttpReply>
  /** Properties by name; asked for once. Throws CdpError when there is no such object. */
  properties(type: string): Promise<ReadonlyMap<string, Property>>
}

export function createClient(io: ConnectorIO, config: { base_url: string; access_token: string; api_version: string }): Client {
  // Of the account's clock; a daily quota ends at its midnight.
  let offset = 0
  const untilMidnight = (): number => DAY_MS - ((((io.now() + offset) % DAY_MS) + DAY_MS) % DAY_MS)
  const http: Http = io.http(config.base_url, {
    headers: { authorization: `Bearer ${config.access_token}` },
    failure: (reply) => failureOf(reply, untilMidnight),
  })
  const known = new Map<string, Promise<ReadonlyMap<string, Property>>>()
  const send = (method: 'POST' | 'PUT', path: string, json: object): Promise<HttpReply> =>
    http.request({ method, path: `/crm/${path}`.replace('{version}', VERSION), json })
  const get: Client['get'] = async (path, query) => {
    const reply = await http.request({ method: 'GET', path: path.replace('{version}', VERSION), query })
    return reply.json()
  }
  return {
    async account() {
      const details = await get('/account-info/{version}/details')
      const portal = isObject(details) ? textOf(details['portalId']) : undefined
      if (!isObject(details) || portal === undefined) throw new UnknownOutcome('bad_reply', 'HubSpot did not say which account this is.')
      offset = Number(details['utcOffsetMilliseconds'] ?? 0) || 0
      const kind = textOf(details['accountType'])?.toLowerCase().replaceAll('_', ' ')
      return { portal, name: `Hub ${portal}${kind === undefined ? '' : ` (${kind})`}` }
    },
    get,
    post: (path, json) => send('POST', path, json),
    put: (path, json) => send('PUT', path, json),
    async batch(type, operation, json) {
      const path = `/crm/objects/${config.api_version}/${encodeURIComponent(type)}/batch/${operation}`
      const reply = await http.request({ method: 'POST', path, json, accept: [404] })
      const body = reply.status === 404 ? reply.json() : undefined
      // Some batches of which nothing is found are answered so, others with 207; what counts is that the ids are named.
      if (body !== undefined && missingIn(body).length === 0)
        throw new Refused('OBJECT_NOT_FOUND', textOf(isObject(body) ? body['message'] : undefined) ?? 'HubSpot answered 404.', 404)
      return reply
    },
    properties(type) {
      const asked =
        known.get(type) ?? get(`/crm/properties/{version}/${encodeURIComponent(type)}`).then((reply) => propertiesIn(type, reply))
      known.set(type, asked)
      // A failure is no answer to keep.
      asked.catch(() => known.delete(type))
      return asked
    },
  }
}

function propertiesIn(type: string, reply: Value): ReadonlyMap<string, Property> {
  const found = new Map<string, Property>()
  for (const entry of listOf(reply, 'results')) {
    const name = textOf(entry['name'])
    if (name === undefined) continue
    const { modificationMetadata: more } = entry
    found.set(name, {
      name,
      type: textOf(entry['type']) ?? 'string',
      readOnly: entry['calculated'] === true || (isObject(more) && more['readOnlyValue'] === true),
      // A contact's e-mail address is unique without being declared so (CRM API guides, "Contacts").
      unique: entry['hasUniqueValue'] === true || (isContact(type) && name === 'email'),
    })
  }
  if (found.size === 0) throw new UnknownOutcome('bad_reply', `HubSpot named no properties of ${type}.`)
  return found
}

export const isContact = (type: string): boolean => ['contacts', 'contact', '0-1'].includes(type.toLowerCase())

/** The object, list, property or label a sync names is not in the account, or not fit for it. */
export const NO_TARGET = 'CDP3200'
export const noTarget = (message: string, hint: string): CdpError => new CdpError(NO_TARGET, message, { hint })

/** What a refusal means here. Undefined: what its status stands for. */
function failureOf(reply: FailedReply, untilMidnight: () => number): Error | undefined {
  const { status, body } = reply
  const said = isObject(body) ? body : {}
  const message = textOf(said['message']) ?? ''
  const code = textOf(said['category']) ?? 'none'
  switch (status) {
    case 401:
      return new AuthError('CDP3001', `HubSpot refuses the access token (${code}).`, {
        hint: 'It was rotated or revoked, or belongs to an app that was removed. Copy it anew from HubSpot: Development › Keys › Service keys, or the private app.',
      })
    case 403:
      return permission(said)
    case 423:
      return new RateLimited(`HubSpot has locked these records for a moment: ${message}`, LOCKED_MS)
    case 429: {
      const asked = Number(reply.headers['retry-after']) * 1000 || undefined
      if (said['policyName'] !== 'DAILY') return new RateLimited(`HubSpot answered 429: ${message}`, asked)
      const wait = Math.max(untilMidnight(), asked ?? 0)
      return new RateLimited(
        'The daily quota of requests of this HubSpot account is used up; it begins anew at midnight in its time zone.',
        wait,
      )
    }
    case 477:
      // Error codes: the account is being moved to another data centre; Retry-After says for how long.
      return new RateLimited(
        'HubSpot is moving this account to another data centre.',
        Number(reply.headers['retry-after']) * 1000 || DAY_MS,
      )
    case 404: {
      const list = /\/lists\/[^/]+\/(\d+)/.exec(reply.route)?.[1]
      if (list === undefined) return undefined
      return noTarget(`HubSpot has no list ${list}.`, 'The number of a static list stands in its URL and under List details.')
    }
    default:
      if (!message.startsWith('Unable to infer object type')) return undefined
      return noTarget(
        `HubSpot has no object "${/objects\/[^/]+\/([^/]+)|properties\/[^/]+\/([^/]+)/.exec(reply.route)?.slice(1).find(Boolean) ?? ''}".`,
        'Objects are contacts, companies, deals, tickets, …; your own are written p_NAME, pPORTAL_NAME or 2-NUMBER (Settings › Objects).',
      )
  }
}

/** Scopes stand in `errors[].context.requiredGranularScopes`. */
function permission(said: Json): AuthError {
  const scopes = listOf(said, 'errors').flatMap(({ context }) => {
    const named = isObject(context) ? (context['requiredGranularScopes'] ?? context['requiredScopes']) : undefined
    return Array.isArray(named) ? (named as readonly Value[]).flatMap((scope) => textOf(scope) ?? []) : []
  })
  const named = [...new Set(scopes)].join(', ')
  return new AuthError('CDP3002', `HubSpot’s access token lacks ${named === '' ? 'a permission' : `the scope ${named}`}.`, {
    hint: `Grant ${named === '' ? 'the scopes for this object' : 'it'} where the token was made (Service keys, or the private app’s Scopes), then run again.`,
  })
}

/** A value as HubSpot compares it: trimmed, an address in lower case, a number in its shortest form. */
export function canonical(type: string, property: Property, text: string): string {
  const trimmed = text.trim()
  if (isContact(type) && property.name === 'email') return trimmed.toLowerCase()
  return property.type === 'number' ? shortest(trimmed) : trimmed
}

/** A plain number without zeros that mean nothing; by its digits, for a float would make one of two long ones. */
function shortest(text: string): string {
  const [, sign = '', whole = '', fraction = ''] = /^([+-]?)0*(\d+)(?:\.(\d*?)0*)?$/.exec(text) ?? []
  if (whole === '') return text
  const digits = fraction === '' ? whole : `${whole}.${fraction}`
  return sign === '-' && digits !== '0' ? `-${digits}` : digits
}

/** A record that was read. */
export interface Found {
  readonly id: string
  readonly properties: Json
}

/**
 * Records by the values of a unique property, or by their ids (`hs_object_id`): value -> record, null where there is none.
 * Throws UnknownOutcome when the reply leaves a value out: to take it for missing would reject or create records.
 */
export async function findRecords(
  client: Client,
  type: string,
  property: Property,
  values: readonly string[],
  wanted: readonly string[] = [],
): Promise<Map<string, Found | null>> {
  const found = new Map<string, Found | null>()
  const asked = [...new Set(values.map((value) => canonical(type, property, value)))].filter((value) => value !== '')
  for (let from = 0; from < asked.length; from += MOST_INPUTS) {
    const part = asked.slice(from, from + MOST_INPUTS)
    const byId = property.name === 'hs_object_id'
    // A contact is found by its further addresses too; only they tell which one was asked for (CRM API guides, "Contacts").
    const addresses = isContact(type) && property.name === 'email' ? ['email', 'hs_additional_emails'] : [property.name]
    const reply = await client.batch(type, 'read', {
      ...(byId ? {} : { idProperty: property.name }),
      properties: [...new Set([...addresses, ...wanted])],
      propertiesWithHistory: [],
      inputs: part.map((id) => ({ id })),
    })
    readFound(reply.json(), (text) => canonical(type, property, text), byId ? null : addresses, new Set(part), found)
    const silent = part.find((value) => !found.has(value))
    if (silent !== undefined) throw new UnknownOutcome('incomplete_reply', 'HubSpot did not say of every record whether it exists.')
  }
  return found
}

function readFound(
  reply: Value,
  shorten: (text: string) => string,
  properties: readonly string[] | null,
  part: ReadonlySet<string>,
  found: Map<string, Found | null>,
): void {
  const folded = new Map([...part].map((value) => [value.toLowerCase(), value]))
  const note = (text: string, record: Found | null): void => {
    const value = shorten(text)
    const asked = part.has(value) ? value : folded.get(value.toLowerCase())
    if (asked !== undefined) found.set(asked, record)
  }
  for (const id of [reply, ...listOf(reply, 'errors')].flatMap(missingIn)) note(id, null)
  for (const result of listOf(reply, 'results')) {
    const id = textOf(result['id'])
    const values = isObject(result['properties']) ? result['properties'] : {}
    if (id === undefined) continue
    const record = { id, properties: values }
    if (properties === null) note(id, record)
    for (const name of properties ?? [])
      for (const text of (textOf(values[name]) ?? '').split(name === 'hs_additional_emails' ? ';' : '\0')) note(text, record)
  }
}
