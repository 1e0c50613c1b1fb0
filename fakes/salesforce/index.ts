/** Plays a Salesforce org: logins, describes, SOQL, sObject collections, single rows and Bulk API 2.0. */
import { defineFake, type FakeControl, type FakeReply, type FakeRequest, type FakeService } from '../../src/testing/fake.ts'
import { BulkJobs } from './bulk.ts'
import { CLIENT_ID, CLIENT_SECRET, Sessions } from './login.ts'
import { describe, findField, findObject, OBJECTS, type ObjectType } from './schema.ts'
import { runQuery, type Selected, shown } from './soql.ts'
import { type Result, type Row, Store } from './store.ts'
import { problem, textOf, unreadable } from './values.ts'

/** REST API Developer Guide, "Using sObject Collections": up to 200 records a request. */
const MAX_RECORDS = 200
/** REST API Developer Guide, "Query": up to 2,000 records in one reply. */
const PAGE = 2000
/** The daily API requests of a developer org. */
const DAILY = 15_000

interface Org {
  readonly store: Store
  readonly sessions: Sessions
  readonly bulk: BulkJobs
  readonly control: FakeControl
  /** Queries whose results did not fit one reply. */
  readonly cursors: Map<string, Selected>
  used: number
}

const failed = (status: number, errorCode: string, message: string, fields?: readonly string[]): FakeReply => ({
  status,
  json: [{ message, errorCode, ...(fields === undefined ? {} : { fields }) }],
})
const notFound = (): FakeReply => failed(404, 'NOT_FOUND', 'The requested resource does not exist')

export default defineFake({
  name: 'salesforce',
  description:
    'A Salesforce org with contacts, leads, accounts, opportunities, campaigns and a custom object, written from the REST API and Bulk API 2.0 Developer Guides.',
  destination: (url) => ({ instance_url: url, client_id: CLIENT_ID, client_secret: CLIENT_SECRET }),
  intruder: (url) => ({ instance_url: url, client_id: CLIENT_ID, client_secret: 'a-wrong-secret' }),
  create(control): FakeService {
    const store = new Store(control)
    const sessions = new Sessions(control, store.org, store.me)
    const org: Org = { store, sessions, bulk: new BulkJobs(store, control), control, cursors: new Map(), used: 0 }
    return {
      handle: (request) => answer(org, request),
      isWrite,
      records: () => store.records(),
      failure,
    }
  },
})

/** A bulk job changes records when it is closed; what came before only prepared it. */
function isWrite({ method, path, text }: FakeRequest): boolean {
  if (!path.startsWith('/services/data/') || method === 'GET') return false
  if (path.includes('/jobs/ingest')) return method === 'PATCH' && text.includes('UploadComplete')
  return !(method === 'POST' && /\/composite\/sobjects\/./.test(path))
}

/** The daily limit is a 403 (REST API Developer Guide, "Status Codes and Error Responses"). */
function failure(status: number, { retryAfter, daily }: { readonly retryAfter?: number; readonly daily?: boolean }): FakeReply {
  if (daily === true) return failed(403, 'REQUEST_LIMIT_EXCEEDED', 'TotalRequests Limit exceeded.')
  const said: Record<number, readonly [string, string]> = {
    401: ['INVALID_SESSION_ID', 'Session expired or invalid'],
    403: ['INSUFFICIENT_ACCESS', 'The user does not have the permission for this request.'],
    429: ['REQUEST_LIMIT_EXCEEDED', 'ConcurrentPerOrgLongTxn Limit exceeded.'],
    503: ['SERVER_UNAVAILABLE', 'Server is temporarily unavailable'],
  }
  const [code, message] = said[status] ?? [
    'UNKNOWN_EXCEPTION',
    'An unexpected error occurred. Please include this ErrorId if you contact support: 1-1',
  ]
  return { ...failed(status, code, message), ...(retryAfter === undefined ? {} : { headers: { 'retry-after': String(retryAfter) } }) }
}

/** A URI with headers beyond 16,384 bytes gets its 431 from Node, which has the same limit as Salesforce. */
function answer(org: Org, request: FakeRequest): FakeReply {
  const { path, method } = request
  if (path === '/services/oauth2/token') return org.sessions.login(request)
  if (!org.sessions.valid(request.headers['authorization'])) return failed(401, 'INVALID_SESSION_ID', 'Session expired or invalid')
  if (path === '/services/oauth2/userinfo') return org.sessions.userinfo()
  const [, version, rest = ''] = /^\/services\/data\/v(\d\d)\.0\/(.*?)\/?$/.exec(path) ?? []
  // Versions 31 to 68 exist; collections know upsert from 46 on.
  if (version === undefined || Number(version) < 46 || Number(version) > 68) return notFound()
  org.used++
  const sent = method === 'POST' || method === 'PATCH'
  if (sent && !/^application\/json/i.test(request.headers['content-type'] ?? ''))
    return failed(415, 'UNSUPPORTED_MEDIA_TYPE', 'Content-Type header specified in HTTP request is not supported')
  const reply = route(org, request, rest.split('/').map(decodeURIComponent), `v${version}.0`)
  return { ...reply, headers: { ...reply.headers, 'sforce-limit-info': `api-usage=${org.used}/${DAILY}` } }
}

function route(org: Org, request: FakeRequest, parts: readonly string[], version: string): FakeReply {
  const [first, second, ...rest] = parts
  try {
    if (first === 'limits' && second === undefined)
      return { status: 200, json: { DailyApiRequests: { Max: DAILY, Remaining: DAILY - org.used } } }
    if (first === 'query' && request.method === 'GET') return query(org, request, second, version)
    if (first === 'jobs' && second === 'ingest') return org.bulk.handle(request, rest, version)
    if (first === 'composite' && second === 'sobjects') return collections(org, request, rest, version)
    if (first === 'sobjects') return second === undefined ? list() : single(org, request, second, rest, version)
  } catch (error) {
    if (error instanceof SyntaxError) return failed(400, 'JSON_PARSER_ERROR', `${error.message} at [line:1, column:1]`)
    throw error
  }
  return notFound()
}

function list(): FakeReply {
  const sobjects = OBJECTS.map((type) => ({ ...describe(type), fields: undefined }))
  return { status: 200, json: { encoding: 'UTF-8', maxBatchSize: MAX_RECORDS, sobjects } }
}

function query({ store, cursors }: Org, request: FakeRequest, cursor: string | undefined, version: string): FakeReply {
  const selected = cursor === undefined ? runQuery(store, request.query.get('q') ?? '') : cursors.get(cursor.split('-')[0] ?? '')
  if (selected === undefined) return failed(400, 'INVALID_QUERY_LOCATOR', 'invalid query locator')
  if ('errorCode' in selected) return failed(400, selected.errorCode, selected.message)
  const { type, fields, records } = selected
  if (fields === null) return { status: 200, json: { totalSize: records.length, done: true, records: [] } }
  const from = Number(cursor?.split('-')[1] ?? 0)
  const page = records.slice(from, from + PAGE).map((record) => shown(store, type, fields, record, version))
  const done = from + PAGE >= records.length
  const id = cursor?.split('-')[0] ?? `01g${String(cursors.size + 1).padStart(12, '0')}AAA`
  if (!done) cursors.set(id, selected)
  const next = done ? {} : { nextRecordsUrl: `/services/data/${version}/query/${id}-${from + PAGE}` }
  return { status: 200, json: { totalSize: records.length, done, ...next, records: page } }
}

/** sObject collections: results are in the order of the request. */
function collections(org: Org, request: FakeRequest, [name, by, ...more]: readonly string[], version: string): FakeReply {
  const { store } = org
  if (more.length > 0) return notFound()
  if (request.method === 'DELETE' && name === undefined) return remove(store, request)
  const body = request.method === 'GET' ? {} : (request.json() as Row)
  if (request.method === 'POST' && name !== undefined && by === undefined) return read(store, name, body, version)
  const op = request.method === 'POST' ? 'create' : request.method === 'PATCH' ? (name === undefined ? 'update' : 'upsert') : undefined
  if (op === undefined || (op === 'upsert') !== (by !== undefined)) return notMethod(request)
  const { allOrNone, records, ...unknown } = body
  if (Object.keys(unknown).length > 0 || (allOrNone !== undefined && typeof allOrNone !== 'boolean'))
    return failed(400, 'JSON_PARSER_ERROR', `Unrecognized field "${Object.keys(unknown)[0] ?? 'allOrNone'}" at [line:1, column:2]`)
  if (!Array.isArray(records) || records.length === 0) return failed(400, 'REQUIRED_FIELD_MISSING', 'At least 1 record is required')
  if (records.length > MAX_RECORDS)
    return failed(400, 'EXCEEDED_ID_LIMIT', `record limit reached. cannot submit more than ${MAX_RECORDS} records into this call`)
  if (allOrNone === true) throw new Error('the fake does not play allOrNone: true')
  const rows = records as readonly Row[]
  const wrong = malformed(rows, name)
  if (wrong !== undefined) return wrong
  const key = by === undefined ? undefined : findField(findObject(name ?? '') as ObjectType, by)
  if (by !== undefined && (key === undefined || !(key.idLookup || key.externalId)))
    return failed(404, 'NOT_FOUND', `Provided external ID field does not exist or is not accessible: ${by}`)
  const twice = repeated(rows, key?.name ?? 'id')
  const results = rows.map((row): Result => {
    const type = typeOf(row) as ObjectType
    const value = textOf(row[key?.name ?? 'id'] ?? row['Id'])
    if (op !== 'create' && twice.has(value.toLowerCase()))
      return key === undefined
        ? { success: false, errors: [problem('DUPLICATE_VALUE', `Duplicate id specified: ${value}`, [])] }
        : { success: false, errors: [problem('DUPLICATE_VALUE', `Duplicate external id specified: ${value}`, [key.name])] }
    if (key !== undefined && key.type !== 'id' && ('id' in row || 'Id' in row))
      return {
        success: false,
        created: false,
        errors: [problem('INVALID_FIELD', 'The Id field should not be specified in the sobject data.', ['Id'])],
      }
    if (key !== undefined) return store.upsert(type, key, row)
    if (op === 'create') return store.create(type, row)
    if (value === '') return { success: false, errors: [problem('MISSING_ARGUMENT', 'Id not specified in an update call', [])] }
    return store.update(type, value, row)
  })
  return { status: 200, json: results }
}

const typeOf = (row: Row): ObjectType | undefined => findObject(textOf((row['attributes'] as Row | undefined)?.['type']))

/** Faults for which Salesforce refuses the whole request. */
function malformed(rows: readonly Row[], name: string | undefined): FakeReply | undefined {
  for (const row of rows) {
    const type = typeOf(row)
    if (type === undefined)
      return failed(400, 'INVALID_TYPE', `sObject type '${textOf((row['attributes'] as Row | undefined)?.['type'])}' is not supported.`)
    if (name !== undefined && type.name.toLowerCase() !== name.toLowerCase())
      return failed(400, 'INVALID_TYPE', `The type ${type.name} does not match the requested type ${name}.`)
    const text = unreadableField(type, row)
    if (text !== undefined) return failed(400, 'JSON_PARSER_ERROR', text)
  }
  return name !== undefined && findObject(name) === undefined ? notFound() : undefined
}

function unreadableField(type: ObjectType, row: Row): string | undefined {
  for (const [name, value] of Object.entries(row)) {
    const field = name === 'attributes' ? undefined : findField(type, name)
    const text = field === undefined ? undefined : unreadable(field, value)
    if (text !== undefined) return `${text} or request may be missing a required field at [line:1, column:1]`
  }
  return undefined
}

function repeated(rows: readonly Row[], name: string): Set<string> {
  const values = rows.map((row) => textOf(row[name] ?? row['Id']).toLowerCase())
  return new Set(values.filter((value, i) => value !== '' && values.indexOf(value) !== i))
}

function remove(store: Store, request: FakeRequest): FakeReply {
  const ids = (request.query.get('ids') ?? '').split(',').filter(Boolean)
  if (ids.length === 0) return failed(400, 'REQUIRED_FIELD_MISSING', 'At least 1 record is required')
  if (ids.length > MAX_RECORDS)
    return failed(400, 'EXCEEDED_ID_LIMIT', `record limit reached. cannot submit more than ${MAX_RECORDS} records into this call`)
  const results = ids.map((id): Result => {
    const type = OBJECTS.find(({ prefix }) => id.startsWith(prefix))
    return type === undefined ? { success: false, errors: [problem('MALFORMED_ID', `malformed id ${id}`, [])] } : store.delete(type, id)
  })
  return { status: 200, json: results }
}

function read(store: Store, name: string, { ids, fields }: Row, version: string): FakeReply {
  const type = findObject(name)
  if (type === undefined) return notFound()
  const names = fields as readonly string[]
  const unknown = names.find((field) => findField(type, field) === undefined)
  if (unknown !== undefined) return failed(400, 'INVALID_FIELD', `No such column '${unknown}' on entity '${type.name}'.`)
  const found = (ids as readonly string[]).map((id) => store.byId(type, id))
  return { status: 200, json: found.map((record) => (record === undefined ? null : shown(store, type, ['Id', ...names], record, version))) }
}

const notMethod = ({ method }: FakeRequest): FakeReply =>
  failed(405, 'METHOD_NOT_ALLOWED', `HTTP Method '${method}' not allowed. Allowed are HEAD,GET,POST`)

/** One record, by its id or by an external id. */
function single(org: Org, request: FakeRequest, name: string, rest: readonly string[], version: string): FakeReply {
  const { store } = org
  const type = findObject(name)
  if (type === undefined) return notFound()
  const [first, value] = rest
  if (first === 'describe' && request.method === 'GET') return { status: 200, json: describe(type) }
  if (first === undefined && request.method === 'GET')
    return { status: 200, json: { objectDescribe: { ...describe(type), fields: undefined } } }
  const body = request.method === 'POST' || request.method === 'PATCH' ? (request.json() as Row) : {}
  const text = unreadableField(type, body)
  if (text !== undefined) return failed(400, 'JSON_PARSER_ERROR', text)
  if (first === undefined) return request.method === 'POST' ? said(store.create(type, body), 201) : notMethod(request)
  const by = findField(type, value === undefined ? 'Id' : first)
  if (by === undefined || !(by.idLookup || by.externalId))
    return failed(404, 'NOT_FOUND', `Provided external ID field does not exist or is not accessible: ${first}`)
  const found = store.find(type, by, value ?? first)
  if (found.length > 1)
    return { status: 300, json: found.map((record) => `/services/data/${version}/sobjects/${type.name}/${String(record['Id'])}`) }
  const [record] = found
  if (request.method === 'PATCH' && value !== undefined && request.query.get('updateOnly') !== 'true') {
    const result = store.upsert(type, by, { ...body, [by.name]: value })
    return said(result, result.created === true ? 201 : 200)
  }
  if (record === undefined) return notFound()
  const id = String(record['Id'])
  if (request.method === 'GET') {
    const names = request.query.get('fields')?.split(',') ?? type.fields.map((field) => field.name)
    return { status: 200, json: shown(store, type, names, record, version) }
  }
  if (request.method === 'PATCH') return said(store.update(type, id, body), value === undefined ? 204 : 200)
  return request.method === 'DELETE' ? said(store.delete(type, id), 204) : notMethod(request)
}

function said(result: Result, status: number): FakeReply {
  if (result.success) return status === 204 ? { status } : { status, json: result }
  const [error] = result.errors
  const code = error?.statusCode ?? 'UNKNOWN_EXCEPTION'
  return failed(code === 'ENTITY_IS_DELETED' ? 404 : 400, code, error?.message ?? '', error?.fields ?? [])
}
