/** A Zendesk Support account: users, organizations, their fields and bulk jobs. */
import { defineFake, type FakeControl, type FakeReply, type FakeRequest, type FakeService } from '../../src/testing/fake.ts'
import { issueToken, type Login, loginOf, scopesFor, TOKEN } from './auth.ts'
import { type Account, body, createMany, destroyMany, one, refusal, showMany, undeletable, updateMany } from './bulk.ts'
import { defined, shown } from './fields.ts'
import { Jobs } from './jobs.ts'
import { forbidden, invalidEndpoint, type Json, missingScopes, notFound, recordInvalid, Refusal, unauthorised } from './replies.ts'
import { type Kind, restricted, type Row, Store } from './store.ts'

/** Requests per minute of the plan it plays, Support Professional ("Rate limits"); only told, not enforced. */
const PER_MINUTE = 400

export default defineFake({
  name: 'zendesk',
  description:
    'Users, organizations, fields and bulk jobs of the Zendesk Support API v2, after its OpenAPI document and its pages on rate limits and job statuses.',
  destination: (url) => ({ subdomain: 'sandbox', access_token: TOKEN, base_url: url }),
  intruder: (url) => ({ subdomain: 'sandbox', access_token: 'zendesk-wrong-token', base_url: url }),
  create,
})

function create(control: FakeControl): FakeService {
  const store = new Store(control)
  const account: Account = { control, store, jobs: new Jobs(control) }
  const issued = new Map<string, Login>()
  return {
    handle(request) {
      try {
        return withHeaders(answer(account, issued, request))
      } catch (error) {
        if (error instanceof Refusal) return withHeaders(error.reply)
        throw error
      }
    },
    isWrite: (request) => request.method !== 'GET' && !request.path.startsWith('/oauth/'),
    records: () => ({
      users: [...store.users.values()].map(({ record, identities }) => ({
        ...record,
        secondary_emails: identities.filter((identity) => identity.type === 'email' && !identity.primary).map((identity) => identity.value),
      })),
      organizations: [...store.organizations.values()].map(({ record }) => record),
    }),
    failure,
  }
}

function answer(account: Account, issued: Map<string, Login>, request: FakeRequest): FakeReply {
  const path = request.path.replace(/\.json$/, '')
  if (path === '/oauth/tokens') return request.method === 'POST' ? issueToken(account.control, issued, request) : invalidEndpoint()
  if (!path.startsWith('/api/v2/')) return invalidEndpoint()
  const rest = path.slice('/api/v2/'.length)
  const authorization = request.headers['authorization']
  // Without credentials this one request is answered, as nobody.
  if (authorization === undefined && rest === 'users/me')
    return { status: 200, json: { user: { id: null, name: 'Anonymous user', role: 'end-user' } } }
  const login = loginOf(authorization, issued)
  if (login === undefined || (login.expires ?? Infinity) < account.control.now()) return unauthorised()
  const needed = scopesFor(request.method, rest)
  if (!needed.some((scope) => login.scopes.includes(scope))) return missingScopes(needed.slice(0, 1))
  if (!login.bulkImport && /^users\/create(_or_update)?_many$/.test(rest)) return forbidden()
  return route(account, request, rest)
}

function route(account: Account, request: FakeRequest, rest: string): FakeReply {
  const { store, jobs } = account
  const { method } = request
  const [, kind, action = ''] = (/^(user|organization)s(?:\/(.+))?$/.exec(rest) ?? []) as [string?, Kind?, string?]
  const [, fieldKind] = (/^(user|organization)_fields$/.exec(rest) ?? []) as [string?, Kind?]
  const [, job] = /^job_statuses\/([^/]+)$/.exec(rest) ?? []
  const deleted = /^deleted_users\/(\d+)$/.exec(rest)
  if (method === 'GET' && rest === 'account/settings')
    return {
      status: 200,
      json: { settings: { branding: { header_color: '78A300' }, active_features: { sandbox: true, user_org_fields: true } } },
    }
  if (fieldKind !== undefined) return fields(account, request, fieldKind)
  if (method === 'GET' && rest === 'job_statuses') return { status: 200, json: { job_statuses: jobs.all() } }
  if (method === 'GET' && rest === 'job_statuses/show_many') {
    const ids = (request.query.get('ids') ?? '').split(',')
    return {
      status: 200,
      json: { job_statuses: account.control.anyOrder(ids.map((id) => jobs.look(id)).filter((found) => found !== undefined)) },
    }
  }
  if (method === 'GET' && job !== undefined) {
    const found = jobs.look(job)
    return found === undefined ? notFound() : { status: 200, json: { job_status: found } }
  }
  if (deleted !== null && method === 'DELETE') {
    const row = store.deleted.get(Number(deleted[1]))
    if (row === undefined) return notFound()
    store.deleted.delete(row.record.id)
    return { status: 200, json: { deleted_user: row.record } }
  }
  if (kind === undefined) return invalidEndpoint()
  switch (`${method} ${action}`) {
    case 'GET me':
      if (kind === 'user')
        return {
          status: 200,
          json: {
            user: {
              id: 35_436,
              name: 'Sandbox agent',
              email: 'agent@example.com',
              role: 'admin',
              active: true,
              verified: true,
              url: `${account.control.url}/api/v2/users/35436.json`,
            },
          },
        }
      return invalidEndpoint()
    case 'GET show_many':
      return records(kind, showMany(account, kind, request))
    case 'GET search':
      return records(kind, search(account, kind, request))
    case 'POST create_many':
      return createMany(account, kind, request, false)
    case 'POST create_or_update_many':
      return kind === 'user' ? createMany(account, kind, request, true) : invalidEndpoint()
    case 'PUT update_many':
      return updateMany(account, kind, request)
    case 'DELETE destroy_many':
      return destroyMany(account, kind, request)
    case 'POST ':
    case 'POST create_or_update':
      return save(account, kind, request, rest, undefined, action !== '')
    default:
      return single(account, kind, request, rest, action)
  }
}

function fields({ control, store }: Account, request: FakeRequest, kind: Kind): FakeReply {
  const all = store.fields[kind]
  const name = `${kind}_field`
  if (request.method === 'GET') {
    const list = all.map((field, i) => shown(field, control.url, kind, i))
    return { status: 200, json: { [`${name}s`]: list, next_page: null, previous_page: null, count: list.length } }
  }
  if (request.method !== 'POST') return invalidEndpoint()
  const field = defined(6000 + all.length, (body(request, `${name}s`)[name] ?? {}) as Json)
  all.push(field)
  for (const row of store.rows(kind).values()) (row.record[`${kind}_fields`] as Json)[field.key] = null
  return { status: 201, json: { [name]: shown(field, control.url, kind, all.length - 1) } }
}

/** One record: GET, PUT, DELETE, and the identities of a user. */
function single(account: Account, kind: Kind, request: FakeRequest, rest: string, action: string): FakeReply {
  const { control, store } = account
  const [, id = '', part] = /^(\d+)(?:\/(.+))?$/.exec(action) ?? []
  if (id === '') return invalidEndpoint()
  const row = store.rows(kind).get(Number(id))
  if (row === undefined) return notFound()
  if (part !== undefined) return kind === 'user' ? identities(account, request, row, part) : invalidEndpoint()
  switch (request.method) {
    case 'GET':
      return { status: 200, json: { [kind]: row.record } }
    case 'PUT':
      return save(account, kind, request, rest, row, false)
    case 'DELETE':
      if (control.refusesRow()) return recordInvalid(undeletable(kind))
      store.remove(kind, row)
      return kind === 'user' ? { status: 200, json: { user: row.record } } : { status: 204 }
    default:
      return invalidEndpoint()
  }
}

function save(account: Account, kind: Kind, request: FakeRequest, path: string, row: Row | undefined, find: boolean): FakeReply {
  const { control, store } = account
  const input = one(body(request, path), kind, path)
  const found = find ? store.find(kind, input) : row
  if (control.refusesRow()) return refusal(kind)
  const saved = store.save(kind, input, found)
  const dropped = restricted(kind, input)
  return {
    status: saved.created ? 201 : 200,
    headers: {
      location: String(saved.row.record['url']),
      ...(dropped.length === 0
        ? {}
        : { 'x-zendesk-api-warn': `Removed restricted keys ${JSON.stringify(dropped)} from parameters according to whitelist` }),
    },
    json: { [kind]: saved.row.record },
  }
}

/** Addresses and phone numbers of a user ("User Identities"). */
function identities({ store }: Account, request: FakeRequest, row: Row, part: string): FakeReply {
  const [, id, action] = /^identities(?:\/(\d+)(?:\/(\w+))?)?$/.exec(part) ?? []
  if (!part.startsWith('identities')) return invalidEndpoint()
  const all = (status: number): FakeReply => ({
    status,
    json: { identities: row.identities, next_page: null, previous_page: null, count: row.identities.length },
  })
  if (id === undefined && request.method === 'GET') return all(200)
  if (id === undefined && request.method === 'POST') {
    const { type, value } = (body(request, `users/${part}`)['identity'] ?? {}) as Json
    if (typeof type !== 'string' || typeof value !== 'string')
      return recordInvalid({ value: [{ description: 'Value: cannot be blank', error: 'BlankValue' }] })
    const problem = type === 'email' ? store.emailProblem(value.toLowerCase(), row) : undefined
    if (problem !== undefined) return recordInvalid({ value: [problem] })
    const identity = { id: store.nextId(), type, value: type === 'email' ? value.toLowerCase() : value, primary: false, verified: false }
    row.identities.push(identity)
    return { status: 201, json: { identity } }
  }
  const at = row.identities.findIndex((identity) => identity.id === Number(id))
  const identity = row.identities[at]
  if (identity === undefined) return notFound()
  if (action === 'make_primary' && request.method === 'PUT') {
    for (const other of row.identities) if (other.type === identity.type) other.primary = other === identity
    if (identity.type === 'email') row.record['email'] = identity.value
    return all(200)
  }
  if (action !== undefined || request.method !== 'DELETE') return invalidEndpoint()
  row.identities.splice(at, 1)
  return { status: 204 }
}

/** `external_id`, `name` (organizations), or of users `query=email:"a@b.c"` and free words. */
function search({ control, store }: Account, kind: Kind, request: FakeRequest): Row[] {
  const { query } = request
  const externalId = query.get('external_id')
  const words = (kind === 'organization' ? query.get('name') : query.get('query'))?.trim().toLowerCase()
  if (externalId !== null) return [store.byExternalId(kind, externalId)].filter((row) => row !== undefined)
  if (words === undefined || words === '') return []
  const rows = [...store.rows(kind).values()]
  if (kind === 'organization') return rows.filter((row) => String(row.record['name']).toLowerCase() === words)
  const [, email] = /^email:"?([^"]+)"?$/.exec(words) ?? []
  if (email !== undefined) return [store.byEmail(email)].filter((row) => row !== undefined)
  return control.anyOrder(
    rows.filter((row) =>
      JSON.stringify([row.record['name'], row.record['email'], row.record['notes'], row.record['phone']]).toLowerCase().includes(words),
    ),
  )
}

function records(kind: Kind, rows: readonly Row[]): FakeReply {
  return { status: 200, json: { [`${kind}s`]: rows.map((row) => row.record), next_page: null, previous_page: null, count: rows.length } }
}

function withHeaders(reply: FakeReply): FakeReply {
  const limits = { 'x-rate-limit': String(PER_MINUTE), 'x-rate-limit-remaining': String(PER_MINUTE - 1), 'x-zendesk-api-version': 'v2' }
  return { ...reply, headers: { ...limits, ...reply.headers } }
}

/** There is no quota of the day: `daily` is a long wait only. */
function failure(status: number, { retryAfter, daily }: { retryAfter?: number; daily?: boolean }): FakeReply {
  const wait = retryAfter ?? (daily === true ? 3600 : undefined)
  switch (status) {
    case 401:
      return unauthorised()
    case 403:
      return forbidden()
    case 429:
      return {
        status,
        headers: {
          'content-type': 'text/html',
          'x-rate-limit': String(PER_MINUTE),
          'x-rate-limit-remaining': '0',
          ...(wait === undefined ? {} : { 'retry-after': String(wait) }),
        },
        text: 'Number of allowed API requests per minute exceeded',
      }
    case 503:
      return {
        status,
        headers: wait === undefined ? {} : { 'retry-after': String(wait) },
        json: { error: 'ServiceUnavailable', description: 'Service is temporarily unavailable.' },
      }
    default:
      return { status, json: { error: 'InternalError', description: 'An unexpected error occurred.' } }
  }
}
