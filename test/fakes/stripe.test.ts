/** The fake of Stripe answers as Stripe does. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import stripe, { KEYS } from '../../fakes/stripe/index.ts'
import { serveFakes, type ServedFake } from '../../src/testing/host.ts'

let now = Date.UTC(2026, 10, 1)
const host = await serveFakes([stripe], { now: () => now })
const fake = host.fakes.get('stripe') as ServedFake
afterAll(() => host.close())
beforeEach(() => fake.reset())

interface Asked {
  form?: Record<string, string>
  key?: string | null
  headers?: Record<string, string>
  body?: string
}

/** Sends one request; the reply's status, headers and JSON. */
async function ask(method: string, path: string, { form, key = KEYS.full, headers = {}, body }: Asked = {}) {
  const login = key === null ? {} : { authorization: `Bearer ${key}` }
  const reply = await fetch(fake.url + path, {
    method,
    headers: { ...(form ? { 'content-type': 'application/x-www-form-urlencoded' } : {}), ...login, ...headers },
    body: form ? new URLSearchParams(form).toString() : (body ?? null),
  })
  // oxlint-disable-next-line typescript/no-explicit-any
  return { status: reply.status, headers: reply.headers, json: (await reply.json()) as any }
}

const create = async (form: Record<string, string>): Promise<string> => (await ask('POST', '/v1/customers', { form })).json.id as string

describe('customers', () => {
  it('are created, read, changed and deleted', async () => {
    const made = await ask('POST', '/v1/customers', {
      form: { email: 'Ann@example.com', 'metadata[plan]': 'pro', 'address[city]': 'Oslo', 'preferred_locales[0]': 'nb' },
    })
    expect(made.status).toBe(200)
    expect(made.json).toMatchObject({ object: 'customer', email: 'Ann@example.com', metadata: { plan: 'pro' }, preferred_locales: ['nb'] })
    expect(made.json.address).toEqual({ city: 'Oslo', country: null, line1: null, line2: null, postal_code: null, state: null })
    const path = `/v1/customers/${made.json.id}`
    const changed = await ask('POST', path, { form: { name: 'Ann', 'metadata[tier]': '1' } })
    expect(changed.json).toMatchObject({ name: 'Ann', email: 'Ann@example.com', metadata: { plan: 'pro', tier: '1' } })
    expect((await ask('GET', path)).json).toEqual(changed.json)
    expect((await ask('DELETE', path)).json).toEqual({ id: made.json.id, object: 'customer', deleted: true })
    expect(await ask('GET', path)).toMatchObject({ status: 200, json: { deleted: true } })
    expect(await ask('POST', path, { form: { name: 'B' } })).toMatchObject({ status: 404, json: { error: { code: 'resource_missing' } } })
    expect(await ask('DELETE', path)).toMatchObject({ status: 404, json: { error: { code: 'resource_missing', param: 'id' } } })
    expect(fake.records()['customers']).toEqual([])
  })

  it('lose what an empty text names: a field, one key of the metadata, all of it', async () => {
    const id = await create({
      name: 'Ann',
      phone: '1',
      'metadata[a]': '1',
      'metadata[b]': '2',
      'metadata[c]': '3',
      'address[city]': 'Oslo',
    })
    const path = `/v1/customers/${id}`
    const one = await ask('POST', path, { form: { phone: '', 'metadata[a]': '', address: '' } })
    expect(one.json).toMatchObject({ name: 'Ann', phone: null, metadata: { b: '2', c: '3' }, address: null })
    expect((await ask('POST', path, { form: { metadata: '' } })).json.metadata).toEqual({})
  })

  it('may share an e-mail, and are listed by it as written, newest first', async () => {
    const first = await create({ email: 'a@example.com' })
    const second = await create({ email: 'a@example.com' })
    await create({ email: 'A@example.com' })
    const { json } = await ask('GET', '/v1/customers?email=a%40example.com&limit=100')
    expect(json.data.map((customer: { id: string }) => customer.id)).toEqual([second, first])
    expect(json).toMatchObject({ object: 'list', has_more: false, url: '/v1/customers' })
  })

  it('are listed in pages', async () => {
    const ids = [await create({}), await create({}), await create({})]
    const page = await ask('GET', '/v1/customers?limit=2')
    expect(page.json).toMatchObject({ has_more: true, data: [{ id: ids[2] }, { id: ids[1] }] })
    expect((await ask('GET', `/v1/customers?limit=2&starting_after=${ids[1]}`)).json).toMatchObject({
      has_more: false,
      data: [{ id: ids[0] }],
    })
    expect(await ask('GET', '/v1/customers?limit=101')).toMatchObject({ status: 400, json: { error: { param: 'limit' } } })
  })
})

describe('search', () => {
  const search = (query: string, key: string = KEYS.full) => ask('GET', `/v1/customers/search?query=${encodeURIComponent(query)}`, { key })

  it('finds by metadata, with quotes escaped, and by several clauses', async () => {
    const id = await create({ 'metadata[ext id]': "O'Neil", email: 'o@example.com' })
    await create({ 'metadata[ext id]': '2' })
    expect((await search(`metadata['ext id']:'O\\'Neil'`)).json.data).toMatchObject([{ id }])
    expect((await search(`metadata["ext id"]:"O'Neil" AND email:"o@example.com"`)).json.data).toHaveLength(1)
    expect((await search(`metadata["ext id"]:"1" OR metadata["ext id"]:"2"`)).json.data).toHaveLength(1)
    expect((await search(`metadata["ext id"]:"3"`)).json).toMatchObject({
      object: 'search_result',
      data: [],
      has_more: false,
      next_page: null,
    })
  })

  it.each(['', 'plan=pro', `email:"a" AND name:"b" OR name:"c"`, `age:"3"`])('refuses %j', async (query) => {
    expect(await search(query)).toMatchObject({ status: 400, json: { error: { param: 'query' } } })
  })

  it('is a minute late for the key that says so', async () => {
    await ask('POST', '/v1/customers', { form: { 'metadata[id]': '7' }, key: KEYS.lateSearch })
    expect((await search(`metadata["id"]:"7"`, KEYS.lateSearch)).json.data).toEqual([])
    now += 61_000
    expect((await search(`metadata["id"]:"7"`, KEYS.lateSearch)).json.data).toHaveLength(1)
  })
})

describe('an idempotency key', () => {
  const headers = { 'idempotency-key': 'k1' }

  it('answers a repeat from memory for a day', async () => {
    const first = await ask('POST', '/v1/customers', { form: { name: 'Ann' }, headers })
    const second = await ask('POST', '/v1/customers', { form: { name: 'Ann' }, headers })
    expect(second.json).toEqual(first.json)
    expect([first, second].map((reply) => reply.headers.get('idempotent-replayed'))).toEqual([null, 'true'])
    expect(fake.records()['customers']).toHaveLength(1)
    now += 25 * 3600_000
    await ask('POST', '/v1/customers', { form: { name: 'Ann' }, headers })
    expect(fake.records()['customers']).toHaveLength(2)
  })

  it('is refused with other parameters', async () => {
    await ask('POST', '/v1/customers', { form: { name: 'Ann' }, headers })
    const other = await ask('POST', '/v1/customers', { form: { name: 'Bob' }, headers })
    expect(other).toMatchObject({ status: 400, json: { error: { type: 'idempotency_error' } } })
  })

  it('remembers no failed validation', async () => {
    expect((await ask('POST', '/v1/customers', { form: { email: 'no' }, headers })).status).toBe(400)
    expect((await ask('POST', '/v1/customers', { form: { email: 'a@example.com' }, headers })).status).toBe(200)
  })
})

describe('refuses', () => {
  it.each([
    [{ foo: '1' }, { code: 'parameter_unknown', param: 'foo' }],
    [{ 'address[town]': 'x' }, { code: 'parameter_unknown', param: 'address[town]' }],
    [{ email: 'nobody' }, { code: 'email_invalid', param: 'email' }],
    [{ name: 'x'.repeat(257) }, { param: 'name' }],
    [{ phone: '1'.repeat(21) }, { param: 'phone' }],
    [{ balance: '1.5' }, { code: 'parameter_invalid_integer', param: 'balance' }],
    [{ balance: '' }, { code: 'parameter_invalid_empty', param: 'balance' }],
    [{ tax_exempt: 'yes' }, { param: 'tax_exempt' }],
    [{ 'shipping[name]': 'Ann' }, { code: 'parameter_missing', param: 'shipping[address]' }],
    [{ [`metadata[${'k'.repeat(41)}]`]: '1' }, { param: 'metadata' }],
    [{ 'metadata[k]': 'v'.repeat(501) }, { param: 'metadata' }],
    [Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`metadata[k${i}]`, '1'])), { param: 'metadata' }],
  ])('%o', async (form: Record<string, string>, error) => {
    expect(await ask('POST', '/v1/customers', { form })).toMatchObject({
      status: 400,
      json: { error: { type: 'invalid_request_error', ...error } },
    })
    expect(fake.records()['customers']).toEqual([])
  })

  it('JSON bodies, unknown paths and malformed versions', async () => {
    const json = { 'content-type': 'application/json' }
    expect((await ask('POST', '/v1/customers', { headers: json, body: '{}' })).status).toBe(400)
    expect((await ask('PATCH', '/v1/customers/cus_1', { form: {} })).status).toBe(404)
    expect((await ask('GET', '/v2/customers')).status).toBe(404)
    expect((await ask('GET', '/v1/customers', { headers: { 'stripe-version': 'latest' } })).status).toBe(400)
    expect((await ask('GET', '/v1/customers', { headers: { 'stripe-account': 'acct_other' } })).status).toBe(403)
  })

  it('a missing and a wrong key, and what a restricted key lacks, by its name', async () => {
    expect((await ask('GET', '/v1/customers', { key: null })).status).toBe(401)
    const wrong = await ask('GET', '/v1/account', { key: 'sk_test_intruder' })
    expect(wrong).toMatchObject({ status: 401, json: { error: { message: expect.stringContaining('Invalid API Key') } } })
    expect(JSON.stringify(wrong.json)).not.toContain('sk_test_intruder')
    expect((await ask('GET', '/v1/customers', { key: KEYS.readOnly })).status).toBe(200)
    const write = await ask('POST', '/v1/customers', { form: {}, key: KEYS.readOnly })
    expect(write).toMatchObject({ status: 403, json: { error: { message: expect.stringContaining('rak_customer_write') } } })
    expect((await ask('GET', '/v1/account', { key: KEYS.customers })).status).toBe(403)
    expect((await ask('POST', '/v1/customers', { form: {}, key: KEYS.customers })).status).toBe(200)
  })

  it('a row when it is told to', async () => {
    fake.refuseRows(1)
    expect((await ask('POST', '/v1/customers', { form: { name: 'A' } })).status).toBe(400)
    expect((await ask('POST', '/v1/customers', { form: { name: 'A' } })).status).toBe(200)
  })
})

it('fails as Stripe fails', async () => {
  const plan = [401, 403, 429, 500]
  fake.fault(({ request }) => ({ kind: 'status', status: plan[request.n - 1] ?? 503, retryAfter: 7 }))
  for (const status of [...plan, 503]) {
    const reply = await ask('GET', '/v1/account')
    expect(reply.status).toBe(status)
    expect(reply.json.error).toMatchObject({ type: status < 500 ? 'invalid_request_error' : 'api_error', message: expect.any(String) })
    expect(reply.headers.get('retry-after')).toBe(status === 429 ? '7' : null)
  }
})
