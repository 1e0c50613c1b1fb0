import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import zendesk from '../../fakes/zendesk/index.ts'
import { type FakeHost, type ServedFake, serveFakes } from '../../src/testing/host.ts'

let host: FakeHost
let fake: ServedFake
let now = Date.parse('2026-11-01T00:00:00Z')

beforeAll(async () => {
  host = await serveFakes([zendesk], { now: () => now })
  fake = host.fakes.get('zendesk')!
})
afterAll(() => host.close())
beforeEach(() => {
  fake.reset()
  now = Date.parse('2026-11-01T00:00:00Z')
})

type Reply = { status: number; headers: Headers; body: any } // oxlint-disable-line typescript/no-explicit-any

async function ask(method: string, path: string, json?: unknown, headers: Record<string, string> = {}): Promise<Reply> {
  const { access_token } = fake.destination
  const sent = { authorization: `Bearer ${String(access_token)}`, 'content-type': 'application/json', ...headers }
  const reply = await fetch(fake.url + path, { method, headers: sent, ...(json === undefined ? {} : { body: JSON.stringify(json) }) })
  const text = await reply.text()
  return { status: reply.status, headers: reply.headers, body: /^[{[]/.test(text) ? JSON.parse(text) : text }
}

async function finished(reply: Reply): Promise<any> {
  // oxlint-disable-line typescript/no-explicit-any
  expect(reply).toMatchObject({ status: 200, body: { job_status: { status: 'queued', results: null, message: null } } })
  const { id } = reply.body.job_status
  const { job_status: job } = (await ask('GET', `/api/v2/job_statuses/${id}.json`)).body
  expect(job.status).toBe('completed')
  return job.results
}

const user = (more: object = {}): object => ({ user: { name: 'Ada', email: 'Ada@Example.com', external_id: 'a1', ...more } })

describe('logins', () => {
  it('tells who asks, refuses a wrong token, and answers nobody as nobody', async () => {
    expect((await ask('GET', '/api/v2/users/me')).body.user).toMatchObject({ id: 35436, role: 'admin' })
    expect(await ask('GET', '/api/v2/users/me', undefined, { authorization: 'Bearer wrong' })).toMatchObject({
      status: 401,
      body: { error: "Couldn't authenticate you" },
    })
    const anonymous = await fetch(`${fake.url}/api/v2/users/me`)
    expect(await anonymous.json()).toMatchObject({ user: { id: null } })
  })

  it('takes an API token, and an OAuth token it issued until that ends', async () => {
    const basic = `Basic ${Buffer.from('agent@example.com/token:zendesk-sandbox-api-token').toString('base64')}`
    expect((await ask('GET', '/api/v2/users/me', undefined, { authorization: basic })).status).toBe(200)
    const login = {
      grant_type: 'client_credentials',
      client_id: 'cdp-sync',
      client_secret: 'zendesk-sandbox-client-secret',
      scope: 'users:read',
    }
    const issued = await ask('POST', '/oauth/tokens', login)
    expect(issued).toMatchObject({ status: 201, body: { token_type: 'bearer', expires_in: 1800 } })
    const bearer = { authorization: `Bearer ${issued.body.access_token}` }
    expect((await ask('GET', '/api/v2/users/show_many?ids=1', undefined, bearer)).status).toBe(200)
    expect(await ask('POST', '/api/v2/users/create_or_update', user(), bearer)).toMatchObject({
      status: 403,
      body: { description: /scopes: write/ },
    })
    now += 1_900_000
    expect((await ask('GET', '/api/v2/users/me', undefined, bearer)).status).toBe(401)
    expect((await ask('POST', '/oauth/tokens', { ...login, client_secret: 'x' })).body.error).toBe('invalid_client')
  })

  it('forbids bulk imports of users where they are not enabled, and only these', async () => {
    const login = { authorization: 'Bearer zendesk-sandbox-no-bulk-import' }
    expect((await ask('POST', '/api/v2/users/create_or_update_many', { users: [] }, login)).status).toBe(403)
    expect((await ask('POST', '/api/v2/users/create_or_update', user(), login)).status).toBe(201)
  })
})

describe('one user', () => {
  it('is created, found by external id in any case or by e-mail, and changed', async () => {
    const made = await ask('POST', '/api/v2/users/create_or_update', user({ user_fields: { mrr: 12.5, plan: 'pro' } }))
    expect(made).toMatchObject({
      status: 201,
      body: { user: { email: 'ada@example.com', user_fields: { mrr: 12.5, seats: null, is_active: false } } },
    })
    const again = await ask('POST', '/api/v2/users/create_or_update.json', { user: { external_id: 'A1', user_fields: { plan: null } } })
    expect(again).toMatchObject({
      status: 200,
      body: { user: { id: made.body.user.id, external_id: 'A1', name: 'Ada', user_fields: { mrr: 12.5, plan: null } } },
    })
    expect((await ask('POST', '/api/v2/users/create_or_update', { user: { email: 'ada@example.com', notes: 'n' } })).status).toBe(200)
    expect(fake.records()['users']).toHaveLength(1)
  })

  it('keeps its primary address when a new one comes: that is a second identity', async () => {
    const { id } = (await ask('POST', '/api/v2/users/create_or_update', user())).body.user
    const changed = await ask('POST', '/api/v2/users/create_or_update', user({ email: 'ada@new.example' }))
    expect(changed.body.user.email).toBe('ada@example.com')
    const { identities } = (await ask('GET', `/api/v2/users/${id}/identities`)).body
    expect(identities).toMatchObject([
      { value: 'ada@example.com', primary: true },
      { value: 'ada@new.example', primary: false },
    ])
    await ask('PUT', `/api/v2/users/${id}/identities/${identities[1].id}/make_primary`)
    expect((await ask('GET', `/api/v2/users/${id}`)).body.user.email).toBe('ada@new.example')
  })

  it.each<[string, object, string, string]>([
    ['a name that is missing', { name: undefined }, 'name', 'ValueTooShort'],
    ['a name that is too long', { name: 'x'.repeat(256) }, 'name', 'ValueTooLong'],
    ['an e-mail that is none', { email: 'ada@example' }, 'email', 'InvalidValue'],
    ['a role nobody has', { role: 'boss' }, 'role', 'InvalidValue'],
    ['an organization that is not there', { organization_id: 9 }, 'organization', 'InvalidValue'],
    ['an option of a dropdown that is not there', { user_fields: { plan: 'gold' } }, 'plan', 'InvalidValue'],
    ['a text in a number', { user_fields: { seats: 'many' } }, 'seats', 'InvalidValue'],
    ['a text in a checkbox', { user_fields: { is_active: 'yes' } }, 'is_active', 'InvalidValue'],
    ['a date that is none', { user_fields: { signed_up_at: '2026-13-01' } }, 'signed_up_at', 'InvalidValue'],
    ['a text that does not match', { user_fields: { customer_code: 'x' } }, 'customer_code', 'InvalidValue'],
  ])('is refused with %s', async (_, more, field, error) => {
    const refused = await ask('POST', '/api/v2/users/create_or_update', user(more))
    expect(refused).toMatchObject({ status: 422, body: { error: 'RecordInvalid', details: { [field]: [{ error }] } } })
    expect(fake.records()['users']).toEqual([])
  })

  it('is refused when external id and e-mail belong to two people', async () => {
    await ask('POST', '/api/v2/users/create_or_update', user())
    await ask('POST', '/api/v2/users/create_or_update', user({ external_id: 'b1', email: 'b@example.com' }))
    const mixed = await ask('POST', '/api/v2/users/create_or_update', user({ external_id: 'a1', email: 'b@example.com' }))
    expect(mixed).toMatchObject({ status: 422, body: { details: { email: [{ error: 'DuplicateValue' }] } } })
  })

  it('drops names it does not know, says so of attributes, and not of custom fields', async () => {
    const made = await ask('POST', '/api/v2/users/create_or_update', user({ colour: 'red', user_fields: { nope: 1 } }))
    expect(made.headers.get('x-zendesk-api-warn')).toContain('["colour"]')
    expect(made.body.user).not.toHaveProperty('colour')
    expect(made.body.user.user_fields).not.toHaveProperty('nope')
  })

  it('is deleted, and its addresses are free again', async () => {
    const { id } = (await ask('POST', '/api/v2/users/create_or_update', user())).body.user
    expect((await ask('DELETE', `/api/v2/users/${id}`)).body.user.active).toBe(false)
    expect((await ask('DELETE', `/api/v2/users/${id}`)).status).toBe(404)
    expect((await ask('POST', '/api/v2/users/create_or_update', user())).status).toBe(201)
    expect((await ask('DELETE', `/api/v2/deleted_users/${id}`)).status).toBe(200)
  })
})

describe('jobs', () => {
  it('of many records are working when one asks for the first time', async () => {
    const users = Array.from({ length: 11 }, (_, i) => ({ name: `User ${i}`, external_id: `u${i}` }))
    const { id } = (await ask('POST', '/api/v2/users/create_or_update_many', { users })).body.job_status
    const look = async () => (await ask('GET', `/api/v2/job_statuses/${id}`)).body.job_status
    expect(await look()).toMatchObject({ status: 'working', results: null })
    expect(await look()).toMatchObject({ status: 'completed', results: { length: 11 } })
  })

  it('create and change users: results in the order sent, a failed one by its position alone', async () => {
    await ask('POST', '/api/v2/users/create_or_update', user())
    fake.reverse(true)
    const sent = [
      { name: 'Bob', email: 'bob@example.com' },
      { email: 'bad', name: 'Bad' },
      { external_id: 'a1', notes: 'hi' },
    ]
    expect(await finished(await ask('POST', '/api/v2/users/create_or_update_many', { users: sent }))).toMatchObject([
      { status: 'Created', email: 'bob@example.com', external_id: null },
      { id: 1, status: 'Failed', error: 'UserCreateError', details: /not properly formatted/ },
      { status: 'Updated', external_id: 'a1' },
    ])
  })

  it('change known users only, with an index', async () => {
    const { id } = (await ask('POST', '/api/v2/users/create_or_update', user())).body.user
    const sent = [
      { id, notes: 'hi' },
      { external_id: 'nobody', notes: 'hi' },
      { id, role: 'boss' },
    ]
    const results = await finished(await ask('PUT', '/api/v2/users/update_many', { users: sent }))
    expect(results).toMatchObject([
      { id, index: 0, success: true, status: 'Updated' },
      { index: 1, success: false, error: 'RecordNotFound' },
      { id, index: 2, success: false, error: 'UserUpdateError', details: /boss is invalid/ },
    ])
    await finished(await ask('PUT', `/api/v2/users/update_many?ids=${id}`, { user: { notes: 'all' } }))
    expect(fake.records()['users']).toMatchObject([{ notes: 'all' }])
  })

  it('delete by id or external id, and say nothing of an external id that nobody has', async () => {
    const { id } = (await ask('POST', '/api/v2/users/create_or_update', user())).body.user
    expect(await finished(await ask('DELETE', '/api/v2/users/destroy_many?external_ids=a1,zz'))).toEqual([
      { id, action: 'delete', success: true, status: 'Deleted' },
    ])
    expect(await finished(await ask('DELETE', `/api/v2/users/destroy_many?ids=${id}`))).toMatchObject([
      { id, success: false, error: 'RecordNotFound' },
    ])
  })

  it('take 100 rows and not one more, nor a row of another shape', async () => {
    const users = Array.from({ length: 101 }, (_, i) => ({ name: `U${i}`, external_id: `u${i}` }))
    expect((await ask('POST', '/api/v2/users/create_or_update_many', { users })).status).toBe(400)
    expect((await ask('POST', '/api/v2/users/create_or_update_many', { users: users.slice(1) })).status).toBe(200)
    expect((await ask('POST', '/api/v2/users/create_or_update_many', { user: {} })).body.error.title).toBe('Invalid attribute')
    expect((await ask('POST', '/api/v2/users/create_or_update_many', { users: [{ name: ['x'] }] })).body.error.message).toContain(
      'must be a string',
    )
    expect((await ask('POST', '/api/v2/users/create_or_update_many', { users: [] }, { 'content-type': 'text/plain' })).status).toBe(400)
  })

  it('number 30 at once, and are kept for a day', async () => {
    let first = ''
    for (let i = 0; i < 30; i++) first = (await ask('POST', '/api/v2/users/create_or_update_many', { users: [] })).body.job_status.id
    const refused = await ask('POST', '/api/v2/users/create_or_update_many', user())
    expect(refused.status).toBe(400)
    const full = await ask('POST', '/api/v2/users/create_or_update_many', { users: [{ name: 'A', external_id: 'late' }] })
    expect(full).toMatchObject({ status: 429 })
    expect(full.headers.get('retry-after')).toBe('5')
    expect(fake.records()['users']).toEqual([])
    now += 3000
    expect((await ask('GET', `/api/v2/job_statuses/show_many?ids=${first}`)).body.job_statuses).toMatchObject([{ status: 'completed' }])
    now += 86_400_001
    expect((await ask('GET', `/api/v2/job_statuses/${first}`)).status).toBe(404)
  })

  it('refuse so many rows as they are told to', async () => {
    fake.refuseRows(1)
    const sent = [
      { name: 'A', external_id: '1' },
      { name: 'B', external_id: '2' },
    ]
    expect(await finished(await ask('POST', '/api/v2/users/create_or_update_many', { users: sent }))).toMatchObject([
      { status: 'Failed' },
      { status: 'Created' },
    ])
  })
})

describe('organizations', () => {
  const organization = (more: object = {}): object => ({ organization: { name: ' Acme ', external_id: 'o1', ...more } })

  it('are matched by external id and never by name', async () => {
    const made = await ask('POST', '/api/v2/organizations/create_or_update', organization({ organization_fields: { employees: 7 } }))
    expect(made).toMatchObject({ status: 201, body: { organization: { name: 'Acme', organization_fields: { employees: 7 } } } })
    expect((await ask('POST', '/api/v2/organizations/create_or_update', organization({ name: 'Acme Ltd' }))).status).toBe(200)
    const twin = await ask('POST', '/api/v2/organizations/create_or_update', { organization: { name: 'acme ltd', external_id: 'o2' } })
    expect(twin).toMatchObject({ status: 422, body: { details: { name: [{ error: 'DuplicateValue' }] } } })
  })

  it('have jobs to create, change and delete, but none that does either', async () => {
    expect((await ask('POST', '/api/v2/organizations/create_or_update_many', { organizations: [] })).status).toBe(404)
    const made = await finished(
      await ask('POST', '/api/v2/organizations/create_many', { organizations: [{ name: 'A', external_id: 'a' }, { name: 'a' }] }),
    )
    expect(made).toMatchObject([
      { index: 0, status: 'Created' },
      { index: 1, status: 'Failed' },
    ])
    expect(
      await finished(await ask('PUT', '/api/v2/organizations/update_many', { organizations: [{ id: made[0].id, notes: 'x' }] })),
    ).toMatchObject([{ success: true }])
    expect((await ask('GET', '/api/v2/organizations/show_many?external_ids=a,b')).body).toMatchObject({
      count: 1,
      organizations: [{ notes: 'x' }],
    })
    await finished(await ask('DELETE', '/api/v2/organizations/destroy_many?external_ids=a'))
    expect(fake.records()['organizations']).toEqual([])
  })
})

describe('the rest', () => {
  it('lists fields with their types and options, and takes new ones', async () => {
    const { user_fields: fields } = (await ask('GET', '/api/v2/user_fields')).body
    expect(fields[0]).toMatchObject({ key: 'plan', type: 'dropdown', custom_field_options: [{ value: 'free' }, {}, {}, {}] })
    expect((await ask('POST', '/api/v2/user_fields', { user_field: { key: 'score', title: 'Score', type: 'decimal' } })).status).toBe(201)
    expect((await ask('POST', '/api/v2/users/create_or_update', user({ user_fields: { score: 1.5 } }))).body.user.user_fields.score).toBe(
      1.5,
    )
  })

  it('searches by external id and by address', async () => {
    await ask('POST', '/api/v2/users/create_or_update', user())
    expect((await ask('GET', '/api/v2/users/search?external_id=a1')).body.count).toBe(1)
    expect((await ask('GET', `/api/v2/users/search?query=${encodeURIComponent('email:"ada@example.com"')}`)).body.count).toBe(1)
    expect((await ask('GET', '/api/v2/users/search?query=nobody')).body.count).toBe(0)
  })

  it('knows no other path', async () => {
    expect(await ask('GET', '/api/v2/nope')).toMatchObject({ status: 404, body: { error: 'InvalidEndpoint' } })
    expect((await ask('PATCH', '/api/v2/users/1', {})).status).toBe(404)
    expect((await ask('GET', '/nope')).status).toBe(404)
  })

  it.each([401, 403, 429, 500, 503])('fails as Zendesk does with %i', async (status) => {
    fake.fault(() => ({ kind: 'status', status, retryAfter: 7 }))
    const failed = await ask('GET', '/api/v2/users/me')
    expect(failed.status).toBe(status)
    expect(failed.headers.get('retry-after')).toBe(status === 429 || status === 503 ? '7' : null)
  })
})
