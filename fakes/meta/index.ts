/** Meta's Graph API v25.0: custom audiences of an ad account, and the Conversions API of a dataset. */
import { createHmac } from 'node:crypto'
import { defineFake, type FakeControl, type FakeReply, type FakeRequest, type FakeService } from '../../src/testing/fake.ts'
import { type Audience, changeMembers, type Contents } from './audience.ts'
import { badProof, badToken, invalidParameter, missingPermission, noSuchObject, noToken, serverFailure, tooManyCalls } from './errors.ts'
import { receiveEvents, type StoredEvent } from './events.ts'

const VERSION = 'v25.0'
const TOKEN = 'EAAexampletoken'
const APP_SECRET = 'example-app-secret'
const ACCOUNT = '123456789012345'
const USER = '100000000000001'
const PIXEL = '7000001'

export default defineFake({
  name: 'meta',
  description:
    `Meta ad account ${ACCOUNT} behind the Graph API ${VERSION}, from the SDK's machine-readable descriptions and the ` +
    `Marketing API's pages: custom audiences 6001, 6002 and the blocked 6003, dataset ${PIXEL}.`,
  destination: (url) => ({ access_token: TOKEN, ad_account_id: ACCOUNT, base_url: url }),
  intruder: (url) => ({ access_token: 'EAAforeign', ad_account_id: ACCOUNT, base_url: url }),
  create,
})

function create(control: FakeControl): FakeService {
  const audiences = new Map<string, Audience>()
  const contents = new Map<string, Contents>()
  const events = new Map<string, StoredEvent>()
  const add = (name: string, more: Partial<Audience> = {}): Audience => {
    const made: Audience = {
      id: String(6001 + audiences.size),
      account_id: ACCOUNT,
      name,
      subtype: 'CUSTOM',
      customer_file_source: 'USER_PROVIDED_ONLY',
      operation_status: { code: 200, description: 'Normal' },
      time_created: Math.floor(control.now() / 1000),
      ...more,
    }
    audiences.set(made.id, made)
    contents.set(made.id, { members: new Map(), sessions: new Map() })
    return made
  }
  add('Customers')
  add('Trial users')
  add('Blocked', { operation_status: { code: 471, description: 'Your audience has been flagged.' } })

  function createAudience(params: Record<string, unknown>): FakeReply {
    const { name, subtype, customer_file_source: source, description } = params
    if (typeof name !== 'string' || name === '') return invalidParameter('The parameter name is required')
    if (subtype !== 'CUSTOM') return invalidParameter('The parameter subtype is required: only CUSTOM is known here')
    const sources = ['USER_PROVIDED_ONLY', 'PARTNER_PROVIDED_ONLY', 'BOTH_USER_AND_PARTNER_PROVIDED']
    if (!sources.includes(String(source)))
      return invalidParameter(`The parameter customer_file_source must be one of {${sources.join(', ')}}`)
    const made = add(name, { customer_file_source: String(source), ...(typeof description === 'string' ? { description } : {}) })
    return { status: 200, json: { id: made.id } }
  }

  function answer(request: FakeRequest, params: Record<string, unknown>): FakeReply {
    const [, version, id = '', edge, rest] = request.path.split('/')
    if (version !== VERSION || rest !== undefined) return noSuchObject(request.method, id)
    const asked = `${request.method} ${edge ?? ''}`
    if (id === 'me' || id === USER)
      return asked === 'GET ' ? node({ id: USER, name: 'System user' }, request) : noSuchObject(request.method, id)
    if (id === `act_${ACCOUNT}`) {
      if (asked === 'GET ')
        return node(
          { id, account_id: ACCOUNT, name: 'Example shop', account_status: 1, currency: 'EUR', timezone_name: 'Europe/Berlin' },
          request,
        )
      if (asked === 'GET customaudiences')
        return { status: 200, json: { data: control.anyOrder([...audiences.values()]).map((one) => pick(one, request)) } }
      if (asked === 'POST customaudiences') return createAudience(params)
      if (asked === 'GET adspixels') return { status: 200, json: { data: [{ id: PIXEL }] } }
    }
    if (id === PIXEL) {
      if (asked === 'GET ') return node({ id: PIXEL, name: 'Shop dataset' }, request)
      if (asked === 'POST events') return receiveEvents(control, id, events, params)
    }
    const audience = audiences.get(id)
    const inside = contents.get(id)
    if (!audience || !inside) return noSuchObject(request.method, id)
    if (asked === 'GET ') return node({ ...audience }, request)
    if (asked === 'POST users' || asked === 'DELETE users')
      return changeMembers(control, audience, inside, params, request.method === 'DELETE')
    if (asked === 'GET sessions') {
      const wanted = request.query.get('session_id')
      const data = [...inside.sessions.values()].filter((one) => wanted === null || one.session_id === wanted)
      return {
        status: 200,
        json: { data: data.map((one) => ({ ...one, num_matched: '-1', progress: one.stage === 'uploading' ? '50' : '100' })) },
      }
    }
    if (asked === 'DELETE ') {
      audiences.delete(id)
      contents.delete(id)
      return { status: 200, json: { success: true } }
    }
    return noSuchObject(request.method, id)
  }

  return {
    handle(request) {
      const read = readParams(request)
      if ('status' in read) return read
      const refused = checkLogin(request, read.params)
      return refused ?? answer(request, read.params)
    },
    isWrite: (request) => request.method !== 'GET',
    records: () => ({
      custom_audiences: [...audiences.values()] as unknown as Record<string, unknown>[],
      members: [...contents.values()].flatMap((one) => [...one.members.values()]),
      events: [...events.values()].map((one) => ({ dataset: one.pixel, ...one.event })),
    }),
    failure(status, { retryAfter, daily }) {
      if (status === 401) return badToken()
      if (status === 403) return missingPermission()
      if (status === 429) return tooManyCalls(ACCOUNT, daily === true ? 3600 * 6 : (retryAfter ?? 60))
      return serverFailure(status)
    },
  }
}

function checkLogin(request: FakeRequest, params: Record<string, unknown>): FakeReply | null {
  const bearer = /^(?:Bearer|OAuth) (.+)$/.exec(request.headers['authorization'] ?? '')?.[1]
  const token = bearer ?? request.query.get('access_token') ?? params['access_token']
  if (token === undefined || token === null || token === '') return noToken()
  if (token !== TOKEN) return badToken()
  const proof = request.query.get('appsecret_proof') ?? params['appsecret_proof']
  if (proof === undefined || proof === null) return null
  return proof === createHmac('sha256', APP_SECRET).update(TOKEN).digest('hex') ? null : badProof()
}

/** Parameters of the body, sent as JSON or as a form whose values are JSON. */
function readParams(request: FakeRequest): { params: Record<string, unknown> } | FakeReply {
  if (request.text === '') return { params: {} }
  const type = request.headers['content-type'] ?? ''
  if (type.startsWith('application/x-www-form-urlencoded'))
    return { params: Object.fromEntries([...request.form()].map(([name, value]) => [name, readValue(value)])) }
  if (!type.startsWith('application/json')) return invalidParameter(`The content type ${type === '' ? '(none)' : type} can't be read`)
  try {
    const params = request.json()
    if (typeof params === 'object' && params !== null && !Array.isArray(params)) return { params: params as Record<string, unknown> }
  } catch {
    // Said below: the Graph API makes no difference.
  }
  return invalidParameter('The request body is not a JSON object')
}

function readValue(text: string): unknown {
  if (!/^[[{]/.test(text)) return text
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text
  }
}

/** A node shows its id, and the fields that were asked for; names it does not have are an error. */
function node(record: Record<string, unknown>, request: FakeRequest): FakeReply {
  const wanted = fieldsOf(request)
  const unknown = wanted.find((name) => !(name in record) && !OPTIONAL.includes(name))
  if (unknown !== undefined) return invalidParameter(`Tried accessing nonexisting field (${unknown}) on node type (Node)`)
  return { status: 200, json: pick(record, request) }
}

const OPTIONAL = [
  'description',
  'business',
  'permissions',
  'delivery_status',
  'approximate_count_lower_bound',
  'approximate_count_upper_bound',
]

const fieldsOf = (request: FakeRequest): string[] => (request.query.get('fields') ?? '').split(',').filter((name) => name !== '')

function pick(record: object, request: FakeRequest): Record<string, unknown> {
  const wanted = ['id', ...fieldsOf(request)]
  return Object.fromEntries(Object.entries(record).filter(([name]) => wanted.includes(name)))
}
