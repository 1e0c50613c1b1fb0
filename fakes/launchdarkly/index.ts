/** Plays LaunchDarkly's REST API v2 as far as segments go: standard and big ones, semantic patches, caller identity, projects. */
import { defineFake, type FakeControl, type FakeReply, type FakeRequest, type FakeService } from '../../src/testing/fake.ts'
import { patchSegment } from './patch.ts'
import { addSegment, bodyOf, detail, invalid, isKeys, notFound, refuses, type Segment, shown, type State, targetsOf } from './segments.ts'

const TOKEN = 'api-sandbox'
const PROJECT = { _id: '57be1db38b75bf0772d11383', key: 'growth', name: 'Growth' }
const ENVIRONMENTS = [
  { _id: '57be1db38b75bf0772d11384', key: 'production', name: 'Production' },
  { _id: '57be1db38b75bf0772d11385', key: 'test', name: 'Test' },
]

export default defineFake({
  name: 'launchdarkly',
  description:
    'Standard and big segments, from LaunchDarkly’s REST API specification (2026-08). Of patches only semantic ones; no approvals, no imports.',
  destination: (url) => ({ access_token: TOKEN, project: PROJECT.key, environment: 'production', base_url: url }),
  intruder: (url) => ({ access_token: 'api-wrong', project: PROJECT.key, environment: 'production', base_url: url }),
  create,
})

function create(control: FakeControl): FakeService {
  const state: State = { control, segments: new Map(), bad: new Set() }
  for (const { key } of ENVIRONMENTS) {
    addSegment(state, key, { key: 'pro-customers', name: 'Pro customers' })
    addSegment(state, key, { key: 'all-customers', name: 'All customers', unbounded: true, unboundedContextKind: 'user' })
    addSegment(state, key, { key: 'pro-companies', name: 'Pro companies', unbounded: true, unboundedContextKind: 'organization' })
  }
  return {
    handle: (request) => {
      const reply = handle(state, request)
      return { ...reply, headers: { ...rateHeaders(control.now(), 10), ...reply.headers } }
    },
    isWrite: ({ method, query }) => method !== 'GET' && query.get('dryRun') !== 'true',
    records: () => {
      const segments = [...state.segments.values()]
      return {
        segments: segments.map((segment) => ({
          environment: segment.environment,
          key: segment.key,
          name: segment.name,
          unbounded: segment.unbounded,
          version: segment.version,
          included: targetsOf(segment.included),
          excluded: targetsOf(segment.excluded),
        })),
        members: segments.flatMap((segment) =>
          targetsOf(segment.included).flatMap(({ contextKind, values }) =>
            values.map((key) => ({ environment: segment.environment, segment: segment.key, contextKind, key })),
          ),
        ),
      }
    },
    failure: (status, { retryAfter }) => failure(control, status, retryAfter ?? 10),
  }
}

/** "Rate limiting" of the API reference: the reset is in milliseconds since 1970; Retry-After comes with limits by IP address only. */
function rateHeaders(now: number, seconds: number, remaining = 100): Record<string, string> {
  return {
    'x-ratelimit-global-remaining': String(remaining),
    'x-ratelimit-route-remaining': String(remaining),
    'x-ratelimit-reset': String(now + seconds * 1000),
  }
}

function failure(control: FakeControl, status: number, seconds: number): FakeReply {
  if (status === 429)
    return {
      ...detail(429, 'rate_limited', "You've exceeded the API rate limit. Try again later."),
      headers: rateHeaders(control.now(), seconds, 0),
    }
  if (status === 401) return detail(401, 'unauthorized', 'Invalid access token')
  if (status === 403) return detail(403, 'forbidden', 'Forbidden. Access to the requested resource was denied.')
  if (status === 409) return detail(409, 'optimistic_locking_error', 'Conflict. Optimistic lock error. Try again later.')
  return detail(status, 'internal_service_error', 'An unexpected error occurred.')
}

function handle(state: State, request: FakeRequest): FakeReply {
  const { method, path, headers } = request
  if (!path.startsWith('/api/v2/')) return notFound()
  // The token as it is: with "Bearer" before it, it is another text.
  if (headers['authorization'] !== TOKEN) return detail(401, 'unauthorized', 'Invalid access token')
  const version = headers['ld-api-version']
  if (version !== undefined && !VERSIONS.includes(version)) return invalid('Invalid API version')
  const [first = '', ...rest] = path
    .slice('/api/v2/'.length)
    .split('/')
    .map((part) => decodeURIComponent(part))
  const get = (json: unknown): FakeReply =>
    method === 'GET' ? { status: 200, json } : detail(405, 'method_not_allowed', 'Method not allowed')
  if (first === 'caller-identity' && rest.length === 0) return get(CALLER)
  if (first === 'versions' && rest.length === 0)
    return get({ validVersions: [20160426, 20191212, 20210729, 20220603, 20240415], latestVersion: 20240415, currentVersion: 20240415 })
  if (rest[0] !== PROJECT.key) return notFound()
  if (first === 'projects') return onProject(get, rest.slice(1))
  const environment = ENVIRONMENTS.find(({ key }) => key === rest[1])
  if (first !== 'segments' || environment === undefined) return notFound()
  if (rest.length === 2) return onSegments(state, environment.key, request)
  const segment = state.segments.get(`${environment.key}/${rest[2]}`)
  return segment === undefined ? notFound() : onSegment(state, segment, request, rest.slice(3))
}

const VERSIONS = ['20160426', '20191212', '20210729', '20220603', '20240415', 'beta']

const CALLER = {
  accountId: '57be1db38b75bf0772d11000',
  authKind: 'token',
  tokenKind: 'auth',
  tokenName: 'cdp-sync sandbox',
  tokenId: '57be1db38b75bf0772d11001',
  serviceToken: true,
  scopes: ['reader', 'writer'],
}

const link = (href: string): unknown => ({ self: { href, type: 'application/json' } })

const KINDS = ['user', 'organization', 'device']

function onProject(get: (json: unknown) => FakeReply, [what, key, more]: readonly string[]): FakeReply {
  const self = `/api/v2/projects/${PROJECT.key}`
  if (what === undefined) return get({ _links: link(self), ...PROJECT, includeInSnippetByDefault: false, tags: [] })
  if (what === 'context-kinds' && key === undefined) {
    const items = KINDS.map((kind) => ({
      key: kind,
      name: kind,
      description: '',
      version: 1,
      creationDate: 0,
      lastModified: 0,
      createdFrom: kind === 'user' ? 'default' : 'manual',
    }))
    return get({ items, _links: link(`${self}/context-kinds`) })
  }
  const environment = ENVIRONMENTS.find((known) => known.key === key)
  if (what !== 'environments' || environment === undefined || more !== undefined) return notFound()
  return get({
    _links: link(`${self}/environments/${environment.key}`),
    ...environment,
    apiKey: 'sdk-sandbox',
    mobileKey: 'mob-sandbox',
    color: '417505',
    defaultTtl: 0,
    secureMode: false,
    tags: [],
    defaultTrackEvents: false,
    requireComments: false,
    confirmChanges: false,
    critical: environment.key === 'production',
  })
}

function onSegments(state: State, environment: string, request: FakeRequest): FakeReply {
  if (request.method === 'GET') {
    const all = state.control.anyOrder([...state.segments.values()].filter((segment) => segment.environment === environment))
    const offset = Number(request.query.get('offset') ?? 0)
    const items = all.slice(offset, offset + Number(request.query.get('limit') ?? 20)).map(shown)
    return { status: 200, json: { items, _links: {}, totalCount: all.length } }
  }
  if (request.method !== 'POST') return detail(405, 'method_not_allowed', 'Method not allowed')
  const body = bodyOf(request)
  if (body === null || Object.keys(body).some((name) => !MEMBERS.includes(name))) return invalid('Invalid request body')
  const { key, name, unbounded, unboundedContextKind } = body
  if (typeof name !== 'string' || name === '') return invalid('name is required')
  if (typeof key !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(key)) return invalid('key is not valid')
  if (state.segments.has(`${environment}/${key}`)) return detail(409, 'conflict', `Segment with key ${key} already exists.`)
  if (unbounded !== undefined && typeof unbounded !== 'boolean') return invalid('unbounded must be a boolean')
  if (unboundedContextKind !== undefined && !KINDS.includes(unboundedContextKind as string)) return invalid('Unknown context kind')
  const segment = addSegment(state, environment, body as { key: string; name: string })
  return { status: 201, json: shown(segment) }
}

const MEMBERS = ['name', 'key', 'description', 'tags', 'unbounded', 'unboundedContextKind']

function onSegment(state: State, segment: Segment, request: FakeRequest, [what, contextKey, more]: readonly string[]): FakeReply {
  const { method } = request
  if (what === undefined) {
    if (method === 'GET') return { status: 200, json: shown(segment) }
    if (method === 'PATCH') return patchSegment(state, segment, request)
    if (method === 'DELETE') {
      state.segments.delete(`${segment.environment}/${segment.key}`)
      return { status: 204 }
    }
    return detail(405, 'method_not_allowed', 'Method not allowed')
  }
  // `users` is the older name of `contexts`.
  if (!['contexts', 'users'].includes(what) || more !== undefined) return notFound()
  if (!segment.unbounded) return invalid('This operation is only supported for big segments')
  if (contextKey !== undefined) {
    if (method !== 'GET') return detail(405, 'method_not_allowed', 'Method not allowed')
    const has = (targets: Segment['included']): boolean => targets.get(segment.unboundedContextKind)?.has(contextKey) === true
    const [included, excluded] = [has(segment.included), has(segment.excluded)]
    // What a key that nobody added is told is not documented; with neither flag it can't be mistaken for a member.
    return { status: 200, json: { userKey: contextKey, included, excluded } }
  }
  return method === 'POST' ? changeBig(state, segment, request) : detail(405, 'method_not_allowed', 'Method not allowed')
}

type Lists = Partial<Record<'included' | 'excluded', Partial<Record<'add' | 'remove', string[]>>>>

/** SegmentUserState: `{ included: { add, remove }, excluded: { add, remove } }`, all or nothing. */
function changeBig(state: State, segment: Segment, request: FakeRequest): FakeReply {
  const body = bodyOf(request)
  if (body === null) return invalid('Invalid request body')
  const values: string[] = []
  for (const [side, lists] of Object.entries(body)) {
    if (!['included', 'excluded'].includes(side) || typeof lists !== 'object' || lists === null) return invalid('Invalid request body')
    for (const [list, keys] of Object.entries(lists)) {
      if (!['add', 'remove'].includes(list) || !isKeys(keys)) return invalid('Invalid request body')
      values.push(...keys)
    }
  }
  if (values.length === 0) return invalid('No targets given')
  if (refuses(state, values)) return invalid('Invalid request body')
  for (const [side, { add, remove }] of Object.entries(body as Lists)) {
    const targets = side === 'included' ? segment.included : segment.excluded
    const kind = segment.unboundedContextKind
    const keys = targets.get(kind) ?? new Set()
    targets.set(kind, keys)
    for (const key of add ?? []) keys.add(key)
    for (const key of remove ?? []) keys.delete(key)
  }
  segment.version++
  return { status: 204 }
}
