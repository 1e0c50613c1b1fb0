import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import intercom from '../../fakes/intercom/index.ts'
import { type FakeHost, type ServedFake, serveFakes } from '../../src/testing/host.ts'

const NOW = Date.parse('2026-11-01T00:00:00Z')
let host: FakeHost
let fake: ServedFake

beforeAll(async () => {
  host = await serveFakes([intercom], { now: () => NOW })
  fake = host.fakes.get('intercom')!
})
afterAll(() => host.close())
beforeEach(() => fake.reset())

type Reply = { status: number; headers: Headers; body: any } // oxlint-disable-line typescript/no-explicit-any

async function ask(method: string, path: string, json?: unknown, more: Record<string, string> = {}): Promise<Reply> {
  const headers: Record<string, string> = {
    authorization: `Bearer ${String(fake.destination['access_token'])}`,
    'intercom-version': '2.15',
    ...(json === undefined ? {} : { 'content-type': 'application/json' }),
    ...more,
  }
  const reply = await fetch(fake.url + path, { method, headers, ...(json === undefined ? {} : { body: JSON.stringify(json) }) })
  const text = await reply.text()
  return { status: reply.status, headers: reply.headers, body: text === '' ? undefined : JSON.parse(text) }
}

const errorOf = ({ body }: Reply): { code: string; message: string } => body.errors[0]

const ada = { external_id: 'a1', email: 'Ada@example.com', name: 'Ada', custom_attributes: { mrr: 12.5, seats: 3 } }
const create = async (input: object = ada): Promise<string> => (await ask('POST', '/contacts', input)).body.id

async function searched(query: object, pagination?: object): Promise<Reply> {
  await ask('POST', '/contacts/search', { query })
  return ask('POST', '/contacts/search', { query, pagination })
}

describe('logins', () => {
  it('tells which admin and workspace a token is for', async () => {
    expect((await ask('GET', '/me')).body).toMatchObject({ id: '991267459', app: { id_code: 'sandbox1', region: 'US' } })
  })

  it.each<[string, Record<string, string>, number, string]>([
    ['a wrong token', { authorization: 'Bearer x' }, 401, 'unauthorized'],
    ['a version that is not there', { 'intercom-version': '9.9' }, 400, 'intercom_version_invalid'],
    ['the version of an old app, where none is asked for', { 'intercom-version': '1.4' }, 400, 'intercom_version_invalid'],
    ['another type of reply', { accept: 'text/html' }, 406, 'media_type_not_acceptable'],
  ])('refuses %s', async (_, headers, status, code) => {
    const refused = await ask('GET', '/me', undefined, headers)
    expect(refused).toMatchObject({ status, body: { type: 'error.list', errors: [{ code }] } })
  })

  it('refuses a body of another type, and writes with a token that may only read', async () => {
    expect((await ask('POST', '/contacts', ada, { 'content-type': 'text/plain' })).status).toBe(415)
    const readOnly = { authorization: 'Bearer intercom-sandbox-read-only' }
    expect((await ask('GET', '/tags', undefined, readOnly)).status).toBe(200)
    expect(errorOf(await ask('POST', '/contacts', ada, readOnly)).code).toBe('token_unauthorized')
  })
})

describe('a contact', () => {
  it('is created, read, and merged with what comes later; null clears', async () => {
    const id = await create()
    const changed = await ask('PUT', `/contacts/${id}`, { name: null, custom_attributes: { mrr: null, plan: 'pro' } })
    expect(changed).toMatchObject({
      status: 200,
      body: { id, name: null, email: 'Ada@example.com', custom_attributes: { seats: 3, plan: 'pro' } },
    })
    expect((await ask('GET', `/contacts/${id}`)).body.custom_attributes).toEqual({ seats: 3, plan: 'pro' })
    expect((await ask('GET', '/contacts/find_by_external_id/a1')).body.id).toBe(id)
    expect((await ask('GET', '/contacts/find_by_external_id/zz')).status).toBe(404)
  })

  it('is not created twice: the conflict names the one that is there', async () => {
    const id = await create()
    const twin = await ask('POST', '/contacts', { external_id: 'a1' })
    expect(twin.status).toBe(409)
    expect(errorOf(twin)).toEqual({ code: 'conflict', message: `A contact matching those details already exists with id=${id}` })
    expect((await ask('POST', '/contacts', { email: 'ada@example.com' })).status).toBe(409)
    expect((await ask('POST', '/contacts', { email: 'ada@example.com', external_id: 'a2' })).status).toBe(200)
    expect((await ask('POST', '/contacts', { email: 'ada@example.com', role: 'lead' })).status).toBe(200)
  })

  it('says of an archived twin that it is archived, and comes back', async () => {
    const id = await create()
    expect((await ask('POST', `/contacts/${id}/archive`)).body).toMatchObject({ id, external_id: 'a1', archived: true })
    expect(errorOf(await ask('POST', '/contacts', ada)).message).toContain('An archived contact')
    expect((await ask('PUT', `/contacts/${id}`, { name: 'x' })).status).toBe(404)
    expect((await ask('POST', `/contacts/${id}/unarchive`)).body.archived).toBe(false)
    expect((await ask('PUT', `/contacts/${id}`, { name: 'x' })).status).toBe(200)
    expect((await ask('DELETE', `/contacts/${id}`)).body.deleted).toBe(true)
    expect((await ask('DELETE', `/contacts/${id}`)).status).toBe(404)
  })

  it('that was merged points to the one it became', async () => {
    const user = await create()
    const lead = await create({ role: 'lead', external_id: 'lead1' })
    expect((await ask('POST', '/contacts/merge', { from: lead, into: user })).body.id).toBe(user)
    const gone = await ask('GET', '/contacts/find_by_external_id/lead1')
    expect(gone.status).toBe(410)
    expect(gone.headers.get('link')).toContain(`/contacts/${user}`)
    expect((await ask('GET', `/contacts/${lead}`)).status).toBe(404)
    expect((await ask('GET', `/contacts/${lead}`, undefined, { 'intercom-version': '2.16' })).status).toBe(410)
  })

  it.each<[string, object, string]>([
    ['nothing to know it by', { name: 'x' }, 'parameter_not_found'],
    ['a name Intercom does not take', { ...ada, colour: 'red' }, 'bad_request'],
    ['a custom attribute that is not there', { ...ada, custom_attributes: { nope: 1 } }, 'parameter_invalid'],
    ['a text in a number', { ...ada, custom_attributes: { seats: 'three' } }, 'parameter_invalid'],
    ['a fraction in a whole number', { ...ada, custom_attributes: { seats: 1.5 } }, 'parameter_invalid'],
    ['a text in a boolean', { ...ada, custom_attributes: { is_active: 'yes' } }, 'parameter_invalid'],
    ['a date as text', { ...ada, custom_attributes: { renews_at: '2026-01-01' } }, 'parameter_invalid'],
    ['an option that is not there', { ...ada, custom_attributes: { tier: 'gold' } }, 'parameter_invalid'],
    ['a text that is too long', { ...ada, custom_attributes: { plan: 'x'.repeat(256) } }, 'parameter_invalid'],
    ['an e-mail that is none', { email: 'ada' }, 'parameter_invalid'],
    ['a phone without its country', { ...ada, phone: '555 123' }, 'parameter_invalid'],
    ['a time as text', { ...ada, signed_up_at: '2026-01-01T00:00:00Z' }, 'parameter_invalid'],
    ['an owner who is no admin', { ...ada, owner_id: 1 }, 'parameter_invalid'],
    ['a role nobody has', { ...ada, role: 'boss' }, 'parameter_invalid'],
  ])('is refused with %s', async (_, input, code) => {
    const refused = await ask('POST', '/contacts', input)
    expect(refused.status).toBe(400)
    expect(errorOf(refused).code).toBe(code)
    expect(fake.records()['contacts']).toEqual([])
  })

  it('is refused when told to', async () => {
    fake.refuseRows(1)
    expect((await ask('POST', '/contacts', ada)).status).toBe(400)
    expect((await ask('POST', '/contacts', ada)).status).toBe(200)
  })
})

describe('the search', () => {
  it('does not know a contact that was created since the last one', async () => {
    await create()
    const query = { field: 'external_id', operator: '=', value: 'a1' }
    expect((await ask('POST', '/contacts/search', { query })).body.total_count).toBe(0)
    expect((await ask('POST', '/contacts/search', { query })).body).toMatchObject({ total_count: 1, data: [{ external_id: 'a1' }] })
  })

  it('finds by lists and groups, page by page', async () => {
    for (const n of [1, 2, 3]) await create({ external_id: `e${n}`, email: `e${n}@example.com` })
    const query = {
      operator: 'OR',
      value: [
        { field: 'external_id', operator: 'IN', value: ['e1', 'e2'] },
        { field: 'email', operator: '=', value: 'E3@example.com' },
      ],
    }
    const first = await searched(query, { per_page: 2 })
    expect(first.body).toMatchObject({ total_count: 3, pages: { per_page: 2, total_pages: 2 } })
    const second = await ask('POST', '/contacts/search', { query, pagination: first.body.pages.next })
    expect(second.body.data).toMatchObject([{ external_id: 'e3' }])
    expect(second.body.pages).not.toHaveProperty('next')
  })

  it.each<[string, object]>([
    ['a field that is not searchable', { field: 'nope', operator: '=', value: 'x' }],
    ['16 filters in a group', { operator: 'OR', value: Array.from({ length: 16 }, () => ({ field: 'email', operator: '=', value: 'x' })) }],
    ['IN without a list', { field: 'email', operator: 'IN', value: 'x' }],
    ['IN on a date', { field: 'created_at', operator: 'IN', value: [1] }],
    ['IN on a tag', { field: 'tag_id', operator: 'IN', value: ['1'] }],
  ])('refuses %s', async (_, query) => {
    expect((await ask('POST', '/contacts/search', { query })).status).toBe(400)
  })

  it('refuses pages of more than 150', async () => {
    expect((await searched({ field: 'email', operator: '=', value: 'x' }, { per_page: 151 })).status).toBe(400)
  })
})

describe('companies', () => {
  it('are created or changed by company_id, which stays', async () => {
    const made = await ask('POST', '/companies', {
      company_id: 'c1',
      name: 'Acme',
      plan: 'Pro',
      monthly_spend: 9.9,
      custom_attributes: { arr: 10.5 },
    })
    expect(made).toMatchObject({
      status: 200,
      body: { company_id: 'c1', plan: { name: 'Pro' }, monthly_spend: 9, custom_attributes: { arr: 10.5 } },
    })
    const again = await ask('POST', '/companies', { company_id: 'c1', size: 7, custom_attributes: { arr: null } })
    expect(again.body).toMatchObject({ id: made.body.id, name: 'Acme', size: 7, custom_attributes: {} })
    expect((await ask('PUT', `/companies/${made.body.id}`, { name: 'Acme Ltd' })).body.name).toBe('Acme Ltd')
    expect((await ask('PUT', `/companies/${made.body.id}`, { company_id: 'c2' })).status).toBe(400)
    expect((await ask('GET', '/companies?company_id=c1')).body).toMatchObject({ type: 'company', id: made.body.id })
    expect(errorOf(await ask('GET', '/companies?company_id=zz')).code).toBe('company_not_found')
    expect((await ask('DELETE', `/companies/${made.body.id}`)).body).toEqual({ id: made.body.id, object: 'company', deleted: true })
    expect((await ask('DELETE', `/companies/${made.body.id}`)).status).toBe(404)
  })

  it('are refused without company_id, with other names and with values of another type', async () => {
    expect(errorOf(await ask('POST', '/companies', { name: 'Acme' })).code).toBe('parameter_not_found')
    expect(errorOf(await ask('POST', '/companies', { company_id: 'c1', test: 1 })).message).toBe("bad 'test' parameter")
    expect((await ask('POST', '/companies', { company_id: 'c1', size: 'big' })).status).toBe(400)
    expect((await ask('POST', '/companies', { company_id: 'c1', monthly_spend: 2 ** 31 })).status).toBe(400)
    expect((await ask('POST', '/companies', { company_id: 'c1', custom_attributes: { nope: 1 } })).status).toBe(400)
  })

  it('are attached to contacts and detached', async () => {
    const contact = await create()
    const { id } = (await ask('POST', '/companies', { company_id: 'c1' })).body
    expect((await ask('POST', `/contacts/${contact}/companies`, { id })).body.user_count).toBe(1)
    expect((await ask('GET', `/contacts/${contact}/companies`)).body.data).toMatchObject([{ company_id: 'c1' }])
    expect((await ask('POST', `/contacts/${contact}/companies`, { id: '123' })).status).toBe(404)
    expect((await ask('DELETE', `/contacts/${contact}/companies/${id}`)).body.user_count).toBe(0)
  })
})

describe('tags', () => {
  it('are made once, whatever the case, and put on contacts', async () => {
    const contact = await create()
    const { id } = (await ask('POST', '/tags', { name: 'VIP' })).body
    expect((await ask('POST', '/tags', { name: 'vip' })).body).toEqual({ type: 'tag', id, name: 'VIP' })
    expect((await ask('POST', `/contacts/${contact}/tags`, { id })).body).toMatchObject({ id, name: 'VIP' })
    expect((await ask('POST', `/contacts/${contact}/tags`, { id })).status).toBe(200)
    expect((await searched({ field: 'tag_id', operator: '=', value: id })).body.total_count).toBe(1)
    expect(fake.records()['contacts']).toMatchObject([{ tags: ['VIP'] }])
    expect((await ask('DELETE', `/contacts/${contact}/tags/${id}`)).status).toBe(200)
    expect((await ask('DELETE', `/contacts/${contact}/tags/${id}`)).status).toBe(404)
    expect((await ask('POST', `/contacts/${contact}/tags`, { id: '9' })).status).toBe(404)
    expect((await ask('POST', '/contacts/nobody/tags', { id })).status).toBe(404)
  })

  it('are put on many at once, or on none when one is not there', async () => {
    const contact = await create()
    await ask('POST', '/companies', { company_id: 'c1' })
    expect((await ask('POST', '/tags', { name: 't', users: [{ id: contact }, { id: 'nobody' }] })).status).toBe(404)
    expect(fake.records()['contacts']).toMatchObject([{ tags: [] }])
    await ask('POST', '/tags', { name: 't', users: [{ id: contact }] })
    await ask('POST', '/tags', { name: 't', companies: [{ company_id: 'c1' }] })
    expect(fake.records()).toMatchObject({ contacts: [{ tags: ['t'] }], companies: [{ tags: ['t'] }] })
    await ask('POST', '/tags', { name: 't', companies: [{ company_id: 'c1', untag: true }] })
    expect(fake.records()['companies']).toMatchObject([{ tags: [] }])
    expect(errorOf(await ask('POST', '/tags', { test: 'invalid' })).message).toBe('invalid tag parameters')
  })
})

describe('the rest', () => {
  it('lists data attributes by model and takes new ones', async () => {
    const { data } = (await ask('GET', '/data_attributes?model=company')).body
    expect(data).toContainEqual(expect.objectContaining({ full_name: 'custom_attributes.arr', data_type: 'float', api_writable: true }))
    expect(data).toContainEqual(expect.objectContaining({ name: 'company_id', api_writable: false, custom: false }))
    expect((await ask('POST', '/data_attributes', { model: 'contact', name: 'score', data_type: 'float' })).status).toBe(200)
    expect((await ask('POST', '/contacts', { ...ada, custom_attributes: { score: 1 } })).status).toBe(200)
    expect((await ask('POST', '/data_attributes', { model: 'contact', name: 'score', data_type: 'mithril' })).status).toBe(400)
  })

  it('knows no other path', async () => {
    expect((await ask('GET', '/nope')).status).toBe(404)
    expect((await ask('PATCH', '/contacts/1', {})).status).toBe(404)
    expect((await ask('POST', '/contacts/bulk', {})).status).toBe(404)
  })

  it.each([401, 403, 429, 500, 503])('fails as Intercom does with %i', async (status) => {
    fake.fault(() => ({ kind: 'status', status, retryAfter: 7 }))
    const failed = await ask('GET', '/me')
    expect(failed).toMatchObject({ status, body: { type: 'error.list' } })
    expect(failed.headers.get('x-ratelimit-reset')).toBe(status === 429 ? String(NOW / 1000 + 7) : null)
  })
})
