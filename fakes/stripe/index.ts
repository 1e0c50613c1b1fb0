/** A fake of Stripe: customers, their metadata and search, as the API reference and the types of the official SDK (version 2026-10-28) describe them. */
import { defineFake, type FakeControl, type FakeReply, type FakeRequest, type FakeService } from '../../src/testing/fake.ts'
import { type Customer, type Customers, createCustomers } from './customers.ts'
import { allow, type Form, FormError, readForm, refusal } from './form.ts'

/** Keys the fake knows, as Stripe's test keys: the first can do all, the others show what goes wrong with lesser ones. */
export const KEYS = {
  /** A secret key. */
  full: 'sk_test_cdpsync',
  /** A secret key of an account whose search index is a minute behind ("searchable within a minute", API reference, Search). */
  lateSearch: 'sk_test_latesearch',
  /** A restricted key that can read customers and nothing else. */
  readOnly: 'rk_test_readonly',
  /** A restricted key that can read and write customers and nothing else. */
  customers: 'rk_test_customers',
} as const

const ACCOUNT = 'acct_1CdpSyncSandbox'
const SEARCH_LAG = 60_000
/** "Keys are eligible to be removed after at least 24 hours" (API reference, Idempotent requests). */
const REMEMBERED = 24 * 3600_000
const WRITES = ['POST', 'DELETE']

interface Remembered {
  readonly at: number
  readonly asked: string
  readonly reply: FakeReply
}

export default defineFake({
  name: 'stripe',
  description: 'Stripe customers: form bodies, metadata, idempotency keys, list, search; from the API reference and the SDK’s types.',
  destination: (url) => ({ api_key: KEYS.full, base_url: url }),
  intruder: (url) => ({ api_key: 'sk_test_intruder', base_url: url }),
  create(control): FakeService {
    const customers = createCustomers(control)
    const seen = new Map<string, Remembered>()
    return {
      isWrite: ({ method, path }) => WRITES.includes(method) && path.startsWith('/v1/'),
      records: () => ({ customers: customers.all().map((customer) => ({ ...customer })) }),
      failure,
      handle(request) {
        const reply = refusedLogin(request) ?? refusedShape(request) ?? idempotent(request, seen, control, () => answer(request, customers))
        const { 'idempotency-key': key, 'stripe-version': version } = request.headers
        const headers: Record<string, string> = { 'request-id': `req_${request.n}`, ...reply.headers }
        if (key !== undefined && WRITES.includes(request.method)) headers['idempotency-key'] = key
        if (version !== undefined) headers['stripe-version'] = version
        return { ...reply, headers }
      },
    }
  },
})

function keyOf({ headers }: FakeRequest): string {
  const [scheme = '', credentials = ''] = (headers['authorization'] ?? '').split(' ')
  if (/^bearer$/i.test(scheme)) return credentials
  if (/^basic$/i.test(scheme)) return Buffer.from(credentials, 'base64').toString().split(':')[0] ?? ''
  return ''
}

const masked = (key: string): string => `${key.slice(0, 8)}${'*'.repeat(Math.max(4, key.length - 12))}${key.slice(-4)}`

function refusedLogin(request: FakeRequest): FakeReply | undefined {
  const key = keyOf(request)
  if (key === '')
    return refusal(401, { message: 'You did not provide an API key. Provide it in the Authorization header, using Bearer auth.' })
  if (!(Object.values(KEYS) as string[]).includes(key)) return refusal(401, { message: `Invalid API Key provided: ${masked(key)}` })
  const connected = request.headers['stripe-account']
  if (connected !== undefined && connected !== ACCOUNT)
    return refusal(403, {
      code: 'account_invalid',
      message: `The provided key '${masked(key)}' does not have access to account '${connected}' (or that account does not exist).`,
    })
  const ofCustomers = request.path.startsWith('/v1/customers')
  const may = key.startsWith('sk_') || (ofCustomers && (key === KEYS.customers || request.method === 'GET'))
  if (may) return undefined
  const missing = ofCustomers ? 'rak_customer_write' : request.path === '/v1/balance' ? 'rak_balance_read' : 'rak_accounts_kyc_basic_read'
  return lacks(missing, key)
}

function lacks(permission: string, key: string): FakeReply {
  return refusal(403, {
    message: `The provided key '${masked(key)}' does not have the required permissions for this endpoint on account '${ACCOUNT}'. Having the '${permission}' permission would allow this request to continue.`,
  })
}

/** What is wrong with a request whoever asks. */
function refusedShape({ method, headers, text }: FakeRequest): FakeReply | undefined {
  const version = headers['stripe-version']
  if (version !== undefined && !/^\d{4}-\d{2}-\d{2}(\.[a-z]+)?$/.test(version))
    return refusal(400, { message: `Invalid Stripe API version: ${version}` })
  const type = headers['content-type'] ?? ''
  if (method === 'POST' && text !== '' && !type.startsWith('application/x-www-form-urlencoded'))
    return refusal(400, { message: 'Invalid request (check that your POST content type is application/x-www-form-urlencoded).' })
  if ((headers['idempotency-key'] ?? '').length > 255)
    return refusal(400, { type: 'idempotency_error', message: 'Idempotency keys can be up to 255 characters long.' })
  return undefined
}

/** A POST under a key seen before is answered from memory; what failed validation is not remembered (API reference, Idempotent requests). */
function idempotent(request: FakeRequest, seen: Map<string, Remembered>, control: FakeControl, answerIt: () => FakeReply): FakeReply {
  const key = request.headers['idempotency-key']
  if (key === undefined || request.method !== 'POST') return answerIt()
  const asked = `${request.path} ${request.text}`
  const before = seen.get(key)
  if (before !== undefined && control.now() - before.at < REMEMBERED) {
    if (before.asked !== asked)
      return refusal(400, {
        type: 'idempotency_error',
        message: `Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '${key}' if you meant to execute a different request.`,
      })
    return { ...before.reply, headers: { ...before.reply.headers, 'idempotent-replayed': 'true' } }
  }
  const reply = answerIt()
  if (reply.status === 200) seen.set(key, { at: control.now(), asked, reply: structuredClone(reply) })
  return reply
}

function answer(request: FakeRequest, customers: Customers): FakeReply {
  try {
    return route(request, customers)
  } catch (error) {
    if (error instanceof FormError) return refusal(400, error.detail)
    throw error
  }
}

function route(request: FakeRequest, customers: Customers): FakeReply {
  const { method, path } = request
  const asked = method === 'POST' ? request.form() : request.query
  if (method === 'GET' && path === '/v1/account') {
    allow(readForm(asked), ['expand'])
    return { status: 200, json: account() }
  }
  if (method === 'GET' && path === '/v1/balance') {
    allow(readForm(asked), ['expand'])
    return { status: 200, json: { object: 'balance', available: [], pending: [], livemode: false } }
  }
  if (path === '/v1/customers' && method === 'POST') return customers.create(readForm(asked))
  if (path === '/v1/customers' && method === 'GET') return list(readForm(asked), customers)
  if (path === '/v1/customers/search' && method === 'GET') {
    const lag = keyOf(request) === KEYS.lateSearch ? SEARCH_LAG : 0
    return search(readForm(asked), customers, lag)
  }
  const id = /^\/v1\/customers\/([^/]+)$/.exec(path)?.[1]
  if (id !== undefined) {
    const named = decodeURIComponent(id)
    if (method === 'POST') return customers.update(named, readForm(asked))
    if (method === 'DELETE') return customers.remove(named)
    if (method === 'GET') return customers.read(named, readForm(asked))
  }
  return refusal(404, { message: `Unrecognized request URL (${method}: ${path}).` })
}

const account = (): object => ({
  id: ACCOUNT,
  object: 'account',
  type: 'standard',
  country: 'US',
  default_currency: 'usd',
  email: 'billing@example.com',
  business_profile: { name: 'Sandbox Inc.' },
  settings: { dashboard: { display_name: 'Sandbox Inc.', timezone: 'Etc/UTC' } },
})

/** "Limit can range between 1 and 100, and the default is 10." */
function limitOf(form: Form): number {
  const { limit } = form
  if (limit === undefined) return 10
  if (typeof limit !== 'string' || !/^\d+$/.test(limit))
    throw new FormError({ code: 'parameter_invalid_integer', message: `Invalid integer: ${JSON.stringify(limit)}`, param: 'limit' })
  if (Number(limit) < 1 || Number(limit) > 100)
    throw new FormError({ code: 'parameter_invalid_integer', message: 'This value must be between 1 and 100.', param: 'limit' })
  return Number(limit)
}

/** Newest first; the e-mail is compared as written ("a case-sensitive filter"). */
function list(form: Form, customers: Customers): FakeReply {
  allow(form, ['created', 'email', 'ending_before', 'expand', 'limit', 'starting_after', 'test_clock'])
  const limit = limitOf(form)
  let found = customers.all().toReversed()
  if (form['email'] !== undefined) found = found.filter((customer) => customer['email'] === form['email'])
  for (const [name, cut] of [
    ['starting_after', (at: number) => found.slice(at + 1)],
    ['ending_before', (at: number) => found.slice(Math.max(0, at - limit), at)],
  ] as const) {
    const id = form[name]
    if (id === undefined) continue
    const at = found.findIndex((customer) => customer.id === id)
    if (at < 0) throw new FormError({ code: 'resource_missing', message: `No such customer: ${JSON.stringify(id)}`, param: name })
    found = cut(at)
  }
  return { status: 200, json: { object: 'list', url: '/v1/customers', has_more: found.length > limit, data: found.slice(0, limit) } }
}

function search(form: Form, customers: Customers, lag: number): FakeReply {
  allow(form, ['expand', 'limit', 'page', 'query'])
  const { query } = form
  if (typeof query !== 'string' || query === '')
    throw new FormError({ code: 'parameter_missing', message: 'Missing required param: query.', param: 'query' })
  const limit = limitOf(form)
  const matches = parseQuery(query)
  const found = customers.all(lag).toReversed().filter(matches)
  const { page: token } = form
  const from = typeof token === 'string' ? Number(token.replace('page_', '')) : 0
  const more = found.length > from + limit
  const page = more ? { next_page: `page_${from + limit}` } : { next_page: null }
  const data = found.slice(from, from + limit)
  return { status: 200, json: { object: 'search_result', url: '/v1/customers/search', has_more: more, ...page, data } }
}

const CLAUSE =
  /^\s*(-?)(?:(email|name|phone)|metadata\[(?:"([^"]*)"|'([^']*)')\])\s*([:~])\s*(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|(null))/

const unparsable = (): FormError => new FormError({ message: 'We were unable to parse your search query.', param: 'query' })

/** Clauses over email, name, phone and metadata, joined by one kind of AND or OR, at most ten (docs, Search query language). */
function parseQuery(query: string): (customer: Customer) => boolean {
  const clauses: ((customer: Customer) => boolean)[] = []
  const joins = new Set<string>()
  let rest = query
  for (;;) {
    const found = CLAUSE.exec(rest)
    if (found === null) throw unparsable()
    const [whole, minus, field, double, single, operator, quoted, quotedOnce, none] = found
    const wanted = none === undefined ? (quoted ?? quotedOnce ?? '').replace(/\\(.)/g, '$1') : null
    clauses.push((customer) => {
      const value = field === undefined ? (customer.metadata[double ?? single ?? ''] ?? null) : (customer[field] as string | null)
      // Stripe compares without regard to case here, unlike in the list.
      const [a, b] = [value?.toLowerCase() ?? null, wanted?.toLowerCase() ?? null]
      const hit = operator === ':' ? a === b : a !== null && b !== null && a.includes(b)
      return hit !== (minus === '-')
    })
    rest = rest.slice(whole.length)
    if (rest.trim() === '') break
    const join = /^\s+(AND|OR)\s+/i.exec(rest)
    if (join === null) throw unparsable()
    joins.add((join[1] ?? '').toUpperCase())
    rest = rest.slice(join[0].length)
  }
  if (joins.size > 1 || clauses.length > 10) throw unparsable()
  return (customer) => (joins.has('OR') ? clauses.some((clause) => clause(customer)) : clauses.every((clause) => clause(customer)))
}

/** Stripe has no daily quota: 429 is always a matter of seconds. */
function failure(status: number, { retryAfter }: { readonly retryAfter?: number }): FakeReply {
  if (status === 401) return refusal(401, { message: `Invalid API Key provided: ${masked('sk_test_revoked0000')}` })
  if (status === 403) return lacks('rak_customer_write', 'rk_test_restricted00')
  if (status === 429) {
    const headers = {
      'stripe-rate-limited-reason': 'global-rate',
      ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
    }
    return { ...refusal(429, { code: 'rate_limit', message: 'Request rate limit exceeded.' }), headers }
  }
  return refusal(status, { type: 'api_error', message: 'An unknown error occurred.' })
}
