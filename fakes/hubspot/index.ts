/** A HubSpot portal with contacts, companies, deals and a custom object, their associations, and lists. */
import { defineFake, type FakeControl, type FakeReply, type FakeRequest, type FakeService } from '../../src/testing/fake.ts'
import { Associations } from './associations.ts'
import { Lists } from './lists.ts'
import { type Objects, objectsReply } from './objects.ts'
import { Records } from './records.ts'
import { errorBody, invalid, notFound, Refusal, refuse } from './replies.ts'
import { describeProperty, type ObjectType, PORTAL, typeNamed, TYPES } from './schema.ts'

const TOKEN = 'pat-na1-sandbox-0000'
/** Versions in paths; those of before (v1 to v4) end in 2027 (HubSpot changelog, "Legacy APIs: what is going unsupported and when"). */
const VERSION = /^(2026-03|2026-09)$/
/** What a private app of a Professional account may send in 10 seconds and in a day (HubSpot, "API usage guidelines and limits"). */
const BURST = 190
const DAILY = 650_000

/** Owners, by address. */
const OWNERS = ['sales@example.com', 'success@example.com', 'owner@example.com'].map((email, i) => ({
  id: String(7001 + i),
  email,
  type: 'PERSON',
  firstName: '',
  lastName: '',
  userId: 8001 + i,
  createdAt: '2025-01-01T00:00:00.000Z',
  updatedAt: '2025-01-01T00:00:00.000Z',
  archived: false,
}))

export default defineFake({
  name: 'hubspot',
  description:
    'HubSpot’s CRM: batch endpoints of objects, search, properties, associations, lists, owners. From HubSpot’s published OpenAPI (2026-03), its guides, and replies that others recorded.',
  destination: (url) => ({ access_token: TOKEN, base_url: url }),
  intruder: (url) => ({ access_token: 'pat-na1-revoked-0000', base_url: url }),
  create(control): FakeService {
    const records = new Records(control)
    const associations = new Associations(control, records)
    const lists = new Lists(control, records)
    const objects: Objects = { control, records, associate: (type, id, raw) => associations.associate(type, id, raw) }
    let used = 0
    const route = (request: FakeRequest): FakeReply => {
      authorise(request)
      const parts = request.path.split('/').slice(1).map(decoded)
      const [area, kind, version, ...rest] = parts
      if (area === 'account-info') return account(request.method, parts, used, control)
      if (area === 'crm-object-schemas') return schemas(request.method, parts)
      if (area !== 'crm' || !VERSION.test(version ?? '')) return notFound()
      return crm({ objects, associations, lists }, kind ?? '', rest, request) ?? notFound()
    }
    return {
      handle(request) {
        used++
        // Search tells nothing of limits (HubSpot CRM API guide, "Search the CRM").
        const headers = request.path.endsWith('/search') ? {} : limits(BURST - 1, DAILY - used)
        try {
          return { ...route(request), headers }
        } catch (error) {
          if (error instanceof Refusal) return { ...error.reply, headers }
          throw error
        }
      },
      isWrite: ({ method, path }) => method !== 'GET' && !/\/(batch\/read|search)$/.test(path),
      records: () => ({
        ...Object.fromEntries(
          TYPES.map((type) => [collection(type), records.all(type).map(({ id, properties }) => ({ id, ...properties }))]),
        ),
        associations: associations.list(),
        lists: lists.list(),
      }),
      failure,
    }
  },
})

const collection = (type: ObjectType): string => (type.custom ? type.entity.replace(/^p\d+_/, '') : (type.names[0] ?? type.id))

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return notFound()
  }
}

function authorise(request: FakeRequest): void {
  const { authorization } = request.headers
  if (authorization === `Bearer ${TOKEN}`) return
  const message =
    authorization === undefined
      ? 'Authentication credentials not found. This API supports OAuth 2.0 authentication.'
      : 'The OAuth token used to make this call is not known, expired or revoked.'
  refuse(401, message, { category: 'INVALID_AUTHENTICATION' })
}

function limits(remaining: number, dailyRemaining: number): Record<string, string> {
  return {
    'x-hubspot-ratelimit-max': String(BURST),
    'x-hubspot-ratelimit-remaining': String(remaining),
    'x-hubspot-ratelimit-interval-milliseconds': '10000',
    'x-hubspot-ratelimit-daily': String(DAILY),
    'x-hubspot-ratelimit-daily-remaining': String(dailyRemaining),
  }
}

interface Portal {
  readonly objects: Objects
  readonly associations: Associations
  readonly lists: Lists
}

/** Answers /crm/{kind}/{version}/…; `rest` is what follows the version. */
function crm({ objects, associations, lists }: Portal, kind: string, rest: readonly string[], request: FakeRequest): FakeReply | undefined {
  const [first = '', second = '', ...more] = rest
  const { method } = request
  switch (kind) {
    case 'objects':
      return method === 'POST' ? objectsReply(objects, typeOf(first), rest.slice(1).join('/'), request) : undefined
    case 'associations':
      return more.length > 0 ? associations.reply(first, second, more.join('/'), request) : undefined
    case 'lists':
      return lists.reply(rest, request)
    case 'properties':
      return method === 'GET' ? properties(typeOf(first), rest.slice(1)) : undefined
    case 'owners':
      return method === 'GET' ? owners(rest, request) : undefined
    default:
      return undefined
  }
}

function typeOf(name: string): ObjectType {
  return typeNamed(name) ?? refuse(400, `Unable to infer object type from: ${name}`)
}

function properties(type: ObjectType, rest: readonly string[]): FakeReply | undefined {
  if (rest.length > 1) return undefined
  const [name] = rest
  if (name === undefined) return { status: 200, json: { results: [...type.properties.values()].map(describeProperty) } }
  const found = type.properties.get(name) ?? notFound(`Property ${name} does not exist`)
  return { status: 200, json: describeProperty(found) }
}

function owners(rest: readonly string[], { query }: FakeRequest): FakeReply | undefined {
  const [id] = rest
  if (id !== undefined) {
    const owner = OWNERS.find((one) => one.id === id || String(one.userId) === id) ?? notFound(`Owner ${id} does not exist`)
    return rest.length === 1 ? { status: 200, json: owner } : undefined
  }
  const limit = Number(query.get('limit') ?? 100)
  if (!Number.isInteger(limit) || limit < 1 || limit > 500) return invalid('limit must be 1 to 500')
  const email = query.get('email')?.toLowerCase()
  const after = query.get('after') ?? ''
  const found = OWNERS.filter((owner) => (email === undefined || owner.email === email) && owner.id > after)
  const results = found.slice(0, limit)
  const next = found.length > limit ? { paging: { next: { after: results.at(-1)?.id, link: '' } } } : {}
  return { status: 200, json: { results, ...next } }
}

function account(method: string, parts: readonly string[], used: number, control: FakeControl): FakeReply {
  const [, version, ...rest] = parts
  if (method !== 'GET' || !VERSION.test(version ?? '')) return notFound()
  if (rest.join('/') === 'details')
    return {
      status: 200,
      json: {
        portalId: PORTAL,
        accountType: 'STANDARD',
        timeZone: 'Europe/Dublin',
        companyCurrency: 'EUR',
        additionalCurrencies: [],
        utcOffset: '+00:00',
        utcOffsetMilliseconds: 0,
        uiDomain: 'app.hubspot.com',
        dataHostingLocation: 'na1',
      },
    }
  if (rest.join('/') !== 'api-usage/daily/private-apps') return notFound()
  const collectedAt = new Date(control.now()).toISOString()
  const usage = { name: 'private-apps-api-calls-daily', usageLimit: DAILY, currentUsage: used, collectedAt, fetchStatus: 'SUCCESS' }
  return { status: 200, json: { results: [usage] } }
}

/** GET /crm-object-schemas/{version}/schemas[/{type}]: the portal's own types only. */
function schemas(method: string, parts: readonly string[]): FakeReply {
  const [, version, kind, name, ...more] = parts
  if (method !== 'GET' || !VERSION.test(version ?? '') || kind !== 'schemas' || more.length > 0) return notFound()
  const custom = TYPES.filter((type) => type.custom).map((type) => {
    const short = type.entity.replace(/^p\d+_/, '')
    return {
      id: type.id.replace('2-', ''),
      objectTypeId: type.id,
      fullyQualifiedName: type.entity,
      name: short,
      labels: { singular: short, plural: `${short}s` },
      properties: [...type.properties.values()].map(describeProperty),
      requiredProperties: [],
      searchableProperties: [],
      secondaryDisplayProperties: [],
      primaryDisplayProperty: 'name',
      associations: [],
      allowsSensitiveProperties: false,
      archived: false,
    }
  })
  if (name === undefined) return { status: 200, json: { results: custom } }
  const found = custom.find((schema) => typeNamed(name)?.id === schema.objectTypeId) ?? notFound(`Unable to find schema ${name}`)
  return { status: 200, json: found }
}

/** Bodies: HubSpot, "API usage guidelines and limits" and "Error handling". */
function failure(status: number, detail: { readonly retryAfter?: number; readonly daily?: boolean }): FakeReply {
  const reply = (message: string, more: Readonly<Record<string, unknown>>, headers: Record<string, string> = {}): FakeReply => ({
    status,
    headers,
    json: errorBody(message, more),
  })
  switch (status) {
    case 401:
      return reply('The OAuth token used to make this call is not known, expired or revoked.', { category: 'INVALID_AUTHENTICATION' })
    case 403:
      return reply('This app hasn’t been granted all required scopes to make this call.', {
        category: 'MISSING_SCOPES',
        errors: [
          {
            message: 'One or more of the following scopes are required.',
            context: { requiredGranularScopes: ['crm.objects.contacts.write'] },
          },
        ],
      })
    case 429: {
      // A wait is not promised here; sent when it was asked for.
      const wait: Record<string, string> = detail.retryAfter === undefined ? {} : { 'retry-after': String(detail.retryAfter) }
      const [message, policyName] = detail.daily
        ? ['You have reached your daily limit.', 'DAILY']
        : ['You have reached your ten_secondly_rolling limit.', 'TEN_SECONDLY_ROLLING']
      return reply(message, { errorType: 'RATE_LIMIT', policyName }, { ...limits(0, detail.daily ? 0 : DAILY / 2), ...wait })
    }
    case 503:
      return reply(
        'Service temporarily unavailable',
        {},
        detail.retryAfter === undefined ? {} : { 'retry-after': String(detail.retryAfter) },
      )
    default:
      return reply('internal error', {})
  }
}
