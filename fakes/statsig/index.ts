/** Plays Statsig: segments of the Console API (`/console/v1`), `log_event` and the inbound event webhook. */
import { defineFake, type FakeControl, type FakeReply, type FakeRequest, type FakeService } from '../../src/testing/fake.ts'
import { eventProblem, type SentEvent, webhookProblem } from './events.ts'

const CONSOLE_KEY = 'console-sandbox'
const SERVER_SECRET = 'secret-sandbox'

/** "maxItems" of SegmentIDListContractDto in Statsig's Console API specification 20240601. */
const MAX_IDS = 100_000

type Type = 'id_list' | 'rule_based' | 'analysis_list' | 'user_store_id_list'

interface Segment {
  readonly id: string
  readonly name: string
  readonly type: Type
  readonly idType: string
  readonly description: string
  readonly tags: readonly string[]
  readonly createdTime: number
  lastModifiedTime: number
  archived: boolean
  ids: Set<string>
}

interface State {
  readonly control: FakeControl
  readonly segments: Map<string, Segment>
  readonly events: SentEvent[]
  readonly bad: Set<string>
}

const said = (status: number, message: string): FakeReply => ({ status, json: { status, message } })
const done = (message: string, data?: unknown): FakeReply => ({ status: 200, json: { message, ...(data === undefined ? {} : { data }) } })

const INVALID = 'Invalid request. Please check the request input and try again.'
const NOT_FOUND = 'Not Found. The requested resource could not be found.'
/** The specification quotes a key; ours is never echoed, so that no log can show one. */
const BAD_CONSOLE_KEY = 'This endpoint only accepts an active CONSOLE key, but an invalid key was sent. Key: console-xxxXXXxxxXXXxxx'

const ID_TYPES = [
  { name: 'userID', description: 'The primary user.' },
  { name: 'stableID', description: 'A device.' },
  { name: 'companyID', description: 'A company.' },
]

export default defineFake({
  name: 'statsig',
  description:
    'ID-list segments, log_event and event_webhook, from Statsig’s Console API (20240601) and HTTP API specifications. Rate limits are not played.',
  destination: (url) => ({ console_api_key: CONSOLE_KEY, server_secret: SERVER_SECRET, base_url: url, events_url: url, webhooks_url: url }),
  intruder: (url) => ({
    console_api_key: 'console-wrong',
    server_secret: 'secret-wrong',
    base_url: url,
    events_url: url,
    webhooks_url: url,
  }),
  create,
})

function create(control: FakeControl): FakeService {
  const state: State = { control, segments: new Map(), events: [], bad: new Set() }
  addSegment(state, { name: 'pro_customers', type: 'id_list' })
  addSegment(state, { name: 'pro_companies', type: 'id_list', idType: 'companyID' })
  addSegment(state, { name: 'beta_by_rule', type: 'rule_based' })
  return {
    handle: (request) => handle(state, request),
    isWrite: ({ method, path }) => method !== 'GET' && /^\/(console\/v1\/segments|v1\/(log_event|webhooks))/.test(path),
    records: () => ({
      segments: [...state.segments.values()].map(({ id, name, type, idType, archived, ids }) => ({
        id,
        name,
        type,
        idType,
        archived,
        ids: [...ids],
      })),
      members: [...state.segments.values()].flatMap((segment) => [...segment.ids].map((id) => ({ segment: segment.id, id }))),
      events: state.events,
    }),
    failure: (status, { retryAfter }) => {
      // The specification has neither a 429 nor rate headers; Retry-After is the one header that any client knows.
      if (status === 429)
        return {
          ...said(429, 'Too many requests. Please try again later.'),
          ...(retryAfter === undefined ? {} : { headers: { 'retry-after': String(retryAfter) } }),
        }
      if (status === 401) return said(401, BAD_CONSOLE_KEY)
      if (status === 403) return said(403, 'Forbidden resource')
      if (status === 409) return said(409, 'Another update is already in progress for this ID list')
      return said(status, 'Internal server error')
    },
  }
}

function addSegment(state: State, { name, id, type, idType, description, tags }: NewSegment): Segment {
  const now = state.control.now()
  const segment: Segment = {
    // A space can't stand in an id; how Statsig derives an id from a name with one is not documented.
    id: id ?? name.replaceAll(' ', '_'),
    name,
    type,
    idType: idType ?? 'userID',
    description: description ?? '',
    tags: tags ?? [],
    createdTime: now,
    lastModifiedTime: now,
    archived: false,
    ids: new Set(),
  }
  state.segments.set(segment.id, segment)
  return segment
}

function handle(state: State, request: FakeRequest): FakeReply {
  const { method, path } = request
  if (path === '/v1/log_event' || path === '/v1/webhooks/event_webhook') return receiveEvents(state, request)
  if (!path.startsWith('/console/v1/')) return said(404, NOT_FOUND)
  if (request.headers['statsig-api-key'] !== CONSOLE_KEY) return said(401, BAD_CONSOLE_KEY)
  const [first = '', id, ...rest] = path.slice('/console/v1/'.length).split('/')
  const route = `${method} ${first}`
  if (id === undefined) {
    if (route === 'GET project') return done('Project Info Retrieved Successfully', { id: 'sandbox-project' })
    if (route === 'GET company') return done('Company info retrieved successfully.', COMPANY)
    if (route === 'GET unit_id_types') return paged('Unit ID Types listed successfully.', state.control.anyOrder(ID_TYPES), request)
    if (route === 'GET segments') {
      const all = state.control.anyOrder([...state.segments.values()].map(shown))
      return paged('Segments listed successfully.', all, request)
    }
    if (route === 'POST segments') return createSegment(state, request)
  }
  if (first !== 'segments' || id === undefined) return said(404, NOT_FOUND)
  const segment = state.segments.get(decodeURIComponent(id))
  if (segment === undefined) return said(404, NOT_FOUND)
  return onSegment(state, segment, `${method} ${rest.join('/')}`.trim(), request)
}

const COMPANY = { companyID: 'sandbox-company', companyName: 'Sandbox Inc.', isWarehouseNative: false, orgID: null, orgName: null }

function onSegment(state: State, segment: Segment, what: string, request: FakeRequest): FakeReply {
  switch (what) {
    case 'GET':
      return done('Segment read successfully.', shown(segment))
    case 'DELETE':
      state.segments.delete(segment.id)
      return done('Segment deleted successfully.')
    case 'PUT archive':
      segment.archived = true
      return done('Segment archived successfully.')
    case 'GET id_list': {
      const { page, pagination } = pageOf([...segment.ids], request)
      return {
        status: 200,
        json: { message: 'IDs read successfully', data: { name: segment.name, count: segment.ids.size, ids: page }, pagination },
      }
    }
    case 'PATCH id_list':
      return changeIds(state, segment, request, 'IDs successfully added to Segment ID List', (id) => segment.ids.add(id))
    case 'DELETE id_list':
      return changeIds(state, segment, request, 'IDs successfully removed from Segment ID List', (id) => segment.ids.delete(id))
    case 'POST id_list/reset':
      return changeIds(
        state,
        segment,
        request,
        'Segment Reset reset successfully.',
        (id) => segment.ids.add(id),
        () => segment.ids.clear(),
      )
    default:
      return said(404, NOT_FOUND)
  }
}

/** All ids or none: the service tells nothing of single ids. */
function changeIds(
  state: State,
  segment: Segment,
  request: FakeRequest,
  message: string,
  apply: (id: string) => void,
  before?: () => void,
): FakeReply {
  if (segment.type !== 'id_list') return said(400, `Segment must be of type 'id_list' to be modified on this endpoint`)
  const body = bodyOf(request)
  if (body === null || Object.keys(body).some((name) => name !== 'ids')) return said(400, INVALID)
  const { ids } = body
  if (!Array.isArray(ids) || ids.length > MAX_IDS) return said(400, INVALID)
  // Whether empty and repeated ids pass is documented nowhere: refused, so that nobody comes to rely on it.
  if (!ids.every((id) => typeof id === 'string' && id !== '') || new Set(ids).size < ids.length) return said(400, INVALID)
  if (refuses(state, ids as string[])) return said(400, INVALID)
  before?.()
  for (const id of ids as string[]) apply(id)
  segment.lastModifiedTime = state.control.now()
  return done(message)
}

/** Rows that are to be refused spoil every request they are in, until one has carried them alone. */
function refuses({ control, bad }: State, rows: readonly string[]): boolean {
  for (const row of rows) if (control.refusesRow()) bad.add(row)
  const refused = rows.some((row) => bad.has(row))
  if (refused && rows.length === 1) bad.delete(rows[0] ?? '')
  return refused
}

interface NewSegment {
  name: string
  type: Type
  id?: string
  idType?: string
  description?: string
  tags?: string[]
}

const TYPES: readonly unknown[] = ['id_list', 'rule_based', 'analysis_list', 'user_store_id_list']
const KNOWN = ['name', 'id', 'description', 'type', 'idType', 'tags', 'creatorID', 'creatorEmail', 'team', 'teamID', 'rules']

const text = (value: unknown, shape: RegExp): boolean => typeof value === 'string' && shape.test(value)

/** Limits of SegmentCreateContractDto. */
function createSegment(state: State, request: FakeRequest): FakeReply {
  const body = bodyOf(request)
  if (body === null || Object.keys(body).some((name) => !KNOWN.includes(name))) return said(400, INVALID)
  const { name, id, type, idType, description, tags } = body
  const valid =
    text(name, /^[a-zA-Z0-9_\- ]{3,100}$/) &&
    TYPES.includes(type) &&
    (id === undefined || text(id, /^[a-zA-Z0-9_-]{3,100}$/)) &&
    (description === undefined || text(description, /^[^]{0,1000}$/)) &&
    (tags === undefined || (Array.isArray(tags) && tags.every((tag) => typeof tag === 'string'))) &&
    (idType === undefined || ID_TYPES.some((known) => known.name === idType))
  if (!valid) return said(400, INVALID)
  const wanted = body as unknown as NewSegment
  if (state.segments.has(wanted.id ?? wanted.name.replaceAll(' ', '_')))
    return said(400, `A segment named '${wanted.name}' already exists.`)
  return { status: 201, json: { message: 'Segment created successfully.', data: shown(addSegment(state, wanted)) } }
}

/** SegmentDto. */
function shown(segment: Segment): Record<string, unknown> {
  const { id, name, type, idType, description, tags, createdTime, lastModifiedTime, ids } = segment
  const nobody = { lastModifierID: null, lastModifierEmail: null, lastModifierName: 'CONSOLE API' }
  const creator = { creatorID: null, creatorName: 'CONSOLE API', creatorEmail: null }
  return {
    id,
    name,
    isEnabled: true,
    type,
    idType,
    description,
    tags,
    count: ids.size,
    createdTime,
    lastModifiedTime,
    ...nobody,
    ...creator,
  }
}

function paged(message: string, all: readonly unknown[], request: FakeRequest): FakeReply {
  const { page, pagination } = pageOf(all, request)
  return { status: 200, json: { message, data: page, pagination } }
}

function pageOf<T>(all: readonly T[], { query, path }: FakeRequest): { page: T[]; pagination: Record<string, unknown> } {
  const limit = Number(query.get('limit') ?? 100)
  const number = Number(query.get('page') ?? 1)
  const at = (n: number): string => `${path}?limit=${limit}&page=${n}`
  return {
    page: all.slice((number - 1) * limit, number * limit),
    pagination: {
      itemsPerPage: limit,
      pageNumber: number,
      totalItems: all.length,
      nextPage: number * limit < all.length ? at(number + 1) : null,
      previousPage: number > 1 ? at(number - 1) : null,
      all: path,
    },
  }
}

/**
 * Events are taken without a look at their meaning and without a check for repeats: a 202 is an acceptance. log_event
 * takes a server secret or a client key, the webhook a server secret only.
 */
function receiveEvents(state: State, request: FakeRequest): FakeReply {
  const { headers, method, path } = request
  if (method !== 'POST') return said(404, NOT_FOUND)
  const webhook = path !== '/v1/log_event'
  const key = headers['statsig-api-key']
  // What a refused key is told here is not documented; the envelope is that of the Console API.
  if (key !== SERVER_SECRET && (webhook || key !== 'client-sandbox')) return said(401, 'Invalid API key')
  const body = bodyOf(request)
  if (body === null) return said(400, INVALID)
  if (!webhook && Object.keys(body).some((name) => !['events', 'user', 'statsigMetadata'].includes(name))) return said(400, INVALID)
  const sent = webhook ? [body] : body['events']
  if (!Array.isArray(sent) || sent.length === 0) return said(400, INVALID)
  for (const event of sent) {
    const problem = webhook ? webhookProblem(event) : eventProblem(event)
    if (problem !== undefined) return said(400, problem)
  }
  if (
    refuses(
      state,
      sent.map((event) => JSON.stringify(event)),
    )
  )
    return said(400, INVALID)
  for (const event of sent as SentEvent[]) state.events.push({ via: webhook ? 'event_webhook' : 'log_event', ...event })
  return { status: webhook ? 200 : 202, json: { success: true } }
}

function bodyOf(request: FakeRequest): Record<string, unknown> | null {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) return null
  try {
    const body = request.json()
    return typeof body === 'object' && body !== null && !Array.isArray(body) ? (body as Record<string, unknown>) : null
  } catch {
    return null
  }
}
