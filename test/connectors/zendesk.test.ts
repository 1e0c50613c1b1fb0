/** Zendesk beyond the conformance suite: logins, jobs and what they say, addresses of users, and what is found by what. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import connector from '../../connectors/zendesk/index.ts'
import fake from '../../fakes/zendesk/index.ts'
import type { Change, HttpReply, HttpRequest, JobToken, Outcome } from '../../src/connector.ts'
import { decodeJson, type Fields } from '../../src/json.ts'
import { type FakeHost, serveFakes, type ServedFake } from '../../src/testing/index.ts'
import { startTrial } from '../../src/testing/trial.ts'
import type { Op } from '../../src/types.ts'
import { batch, change, openDestination, type Opened, write } from '../support/destination.ts'

let host: FakeHost
let served: ServedFake
let now = Date.UTC(2026, 10, 1)
const opened: Opened[] = []

beforeAll(async () => {
  host = await serveFakes([fake], { now: () => now })
  served = host.fakes.get('zendesk') as ServedFake
})
afterAll(async () => {
  for (const one of opened) await one.close()
  await host.close()
})
beforeEach(() => served.reset())

function open(config: object = served.destination): Opened['destination'] {
  const one = openDestination(connector, config)
  opened.push(one)
  return one.destination
}

const entry = (login: object): object => ({ subdomain: 'sandbox', base_url: served.url, ...login })
const row = (key: string, match: Fields, fields: Fields = {}, more: Partial<Change> = {}): Change => change(key, fields, { match, ...more })
const many = (op: Op, changes: readonly Change[], object = 'users') => ({ ...batch(op, changes), object })

/** The outcomes without tokens; throws what ended them. */
async function send(op: Op, changes: readonly Change[], object = 'users', to = open()): Promise<Outcome[]> {
  const { outcomes, error } = await write(to, many(op, changes, object))
  if (error !== null) throw error as Error
  return outcomes.filter((one): one is Outcome => 'key' in one)
}

const users = () => served.records()['users'] as readonly Record<string, any>[]
const organizations = () => served.records()['organizations'] as readonly Record<string, any>[]
const asked = () => served.exchanges.map(({ request }) => `${request.method} ${request.path.replaceAll(/\d{5,}/g, '…')}`)
const sent = (): any => served.exchanges.findLast(({ write: writes }) => writes)?.request.json()
const ada = { external_id: 'A1' }
const idOf = (outcome: Outcome | undefined): string => (outcome?.result === 'ok' ? (outcome.remoteId ?? '') : '')

describe('the login', () => {
  it.each([
    [{}, 'needs one way to log in'],
    [{ access_token: 'a', email: 'a@b.c', api_token: 'b' }, 'needs one way to log in'],
    [{ client_id: 'a' }, 'belong together'],
    [{ api_token: 'a' }, 'belong together'],
    [{ subdomain: 'https://acme.zendesk.com', access_token: 'a' }, 'the first part of the address'],
  ])('%o is refused before any request', (login, message) => {
    expect(() => open(entry(login))).toThrow(message)
  })

  it('by an API token is basic auth', async () => {
    const account = await open(entry({ email: 'agent@example.com', api_token: 'zendesk-sandbox-api-token' })).check()
    expect(account).toEqual({ id: 'sandbox', name: 'sandbox.zendesk.com' })
  })

  it('by an OAuth client asks for one token, and for another before it ends', async () => {
    let clock = now
    const login = connector.config.parse(entry({ client_id: 'cdp-sync', client_secret: 'zendesk-sandbox-client-secret' }))
    const { http } = { http: openIo() }
    const to = connector.open(
      { config: login, options: {} },
      { http, log: () => undefined, signal: new AbortController().signal, now: () => clock },
    )
    await Promise.all([to.check(), to.check()])
    await to.check()
    const tokens = () => asked().filter((one) => one === 'POST /oauth/tokens').length
    expect(tokens()).toBe(1)
    clock += 1_790_000
    await to.check()
    expect(tokens()).toBe(2)
  })

  it.each([
    [{ access_token: 'wrong' }, 'CDP3001', /expired or revoked/],
    [{ email: 'agent@example.com', api_token: 'wrong' }, 'CDP3001', /30 April 2027/],
    [{ client_id: 'cdp-sync', client_secret: 'wrong' }, 'CDP3001', /client_secret/],
  ])('%o is refused with what to do', async (login, code, hint) => {
    await expect(open(entry(login)).check()).rejects.toMatchObject({ code, hint: expect.stringMatching(hint) })
  })

  it('that lacks a scope names it', async () => {
    const readOnly = open(entry({ access_token: 'zendesk-sandbox-read-only' }))
    await expect(send('upsert', [row('1', { external_id: 'O' }, { name: 'O' })], 'organizations', readOnly)).rejects.toMatchObject({
      code: 'CDP3002',
      message: 'The Zendesk token lacks the scope write.',
    })
    await expect(open(entry({ access_token: 'zendesk-sandbox-users-only' })).describe?.('organizations')).rejects.toMatchObject({
      message: 'The Zendesk token lacks the scope read.',
    })
  })

  it('to an account that does not exist names it', async () => {
    served.fault(() => ({ kind: 'status', status: 404 }))
    await expect(open().check()).rejects.toMatchObject({
      code: 'CDP3001',
      message: 'There is no Zendesk account sandbox.zendesk.com.',
      hint: expect.stringContaining('subdomain'),
    })
  })

  it('of nobody and of an end user is no login, though Zendesk answers 200', async () => {
    const anonymous = stub(() => ({ user: { id: null, name: 'Anonymous user', role: 'end-user' } }))
    await expect(anonymous.check()).rejects.toMatchObject({ code: 'CDP3001' })
    const endUser = stub(() => ({ user: { id: 1, role: 'end-user' } }))
    await expect(endUser.check()).rejects.toMatchObject({ code: 'CDP3002', message: expect.stringContaining('end user') })
  })
})

const openIo = () => {
  const one = openDestination(connector, served.destination)
  opened.push(one)
  return (base: string, defaults = {}) => ({
    request: async ({ method, path, json, headers }: HttpRequest): Promise<HttpReply> => {
      void defaults
      const type = json === undefined ? {} : { 'content-type': 'application/json' }
      const reply = await fetch(base + path, {
        method,
        headers: { ...type, ...headers },
        body: json === undefined ? null : JSON.stringify(json),
      })
      const text = await reply.text()
      return { status: reply.status, headers: {}, text, json: () => decodeJson(text) }
    },
  })
}

/** A Zendesk that answers what it is told to. */
function stub(answer: (request: HttpRequest) => unknown) {
  const http = () => ({
    request: (request: HttpRequest): Promise<HttpReply> => {
      const text = JSON.stringify(answer(request))
      return Promise.resolve({ status: 200, headers: {}, text, json: () => decodeJson(text) })
    },
  })
  const config = connector.config.parse({ subdomain: 'acme', access_token: 'x' })
  return connector.open({ config, options: {} }, { http, log: () => undefined, signal: new AbortController().signal, now: () => now })
}

/** A Zendesk whose job ends with these results. */
const withResults = (results: unknown, status = 'completed') =>
  stub(({ path }) =>
    path.includes('job_statuses')
      ? { job_statuses: [{ id: 'J', status, message: 'words', results }] }
      : { job_status: { id: 'J', status: 'queued' } },
  )

describe('values', () => {
  it('have their paths, ids become numbers, external ids texts, and nobody is written to', async () => {
    const [organization] = await send('upsert', [row('o', { external_id: 'O1' }, { name: 'Acme' })], 'organizations')
    const fields = { name: 'Ada', organization_id: idOf(organization), 'user_fields.plan': 'pro', 'user_fields.signed_up_at': '2026-11-01' }
    await send('upsert', [row('1', { external_id: 42 }, fields)])
    expect(sent()).toEqual({
      users: [
        {
          external_id: '42',
          name: 'Ada',
          organization_id: Number(idOf(organization)),
          user_fields: { plan: 'pro', signed_up_at: '2026-11-01' },
          skip_verify_email: true,
        },
      ],
    })
    await send('upsert', [row('2', { external_id: 'B' }, { name: 'B', skip_verify_email: false })])
    expect(sent().users[0].skip_verify_email).toBe(false)
  })

  it('that Zendesk would pass over in silence are rejected with their field', async () => {
    const outcomes = await send('upsert', [
      row('1', ada, { name: 'Ada', email: null }),
      row('2', { external_id: 'B' }, { name: 'B', organization_id: 'acme' }),
      row('3', { external_id: 'C' }, { name: 'C' }),
    ])
    expect(outcomes).toMatchObject([
      { key: '1', result: 'rejected', code: 'email_not_clearable', field: 'email' },
      { key: '2', result: 'rejected', code: 'not_an_id', field: 'organization_id' },
      { key: '3', result: 'ok' },
    ])
    expect(users()).toHaveLength(1)
  })

  it('refused by Zendesk are rejected with its words and the field', async () => {
    await send('upsert', [row('0', { external_id: 'Z' }, { name: 'Z', email: 'taken@example.com' })])
    const outcomes = await send('upsert', [
      row('1', { external_id: 'A' }, { name: 'A', email: 'no_' }),
      row('2', { external_id: 'B' }, { name: 'B', 'user_fields.plan': 'gold' }),
      row('3', { external_id: 'C' }, {}),
    ])
    expect(outcomes).toMatchObject([
      { key: '1', result: 'rejected', code: 'UserCreateError', message: expect.stringContaining('not properly formatted'), field: 'email' },
      { key: '2', result: 'rejected', message: expect.stringContaining('Plan') },
      { key: '3', result: 'rejected', field: 'name' },
    ])
  })
})

describe('an account without bulk imports', () => {
  it('gets users one by one, and is asked for a bulk import once', async () => {
    const to = open(entry({ access_token: 'zendesk-sandbox-no-bulk-import' }))
    const rows = [
      row('1', ada, { name: 'Ada' }),
      row('2', { external_id: 'B' }, { name: '' }),
      row('3', { external_id: 'C' }, { name: 'C' }),
    ]
    expect(await send('upsert', rows, 'users', to)).toMatchObject([
      { key: '1', result: 'ok', remoteId: expect.stringMatching(/^\d+$/) },
      { key: '2', result: 'rejected', code: 'RecordInvalid', field: 'name' },
      { key: '3', result: 'ok' },
    ])
    await send('upsert', [row('4', { external_id: 'D' }, { name: 'D' })], 'users', to)
    expect(asked()).toEqual([
      'POST /api/v2/users/create_or_update_many',
      ...Array.from({ length: 4 }, () => 'POST /api/v2/users/create_or_update'),
    ])
  })

  it('keeps a user whose match changed', async () => {
    const to = open(entry({ access_token: 'zendesk-sandbox-no-bulk-import' }))
    const [first] = await send('upsert', [row('1', { email: 'old@example.com' }, { name: 'Ada' })], 'users', to)
    const moved = row(
      '1',
      { email: 'new@example.com' },
      { name: 'Ada' },
      { previousMatch: { email: 'old@example.com' }, remoteId: idOf(first) },
    )
    expect(await send('upsert', [moved], 'users', to)).toMatchObject([{ result: 'ok', remoteId: idOf(first) }])
    expect(users()).toMatchObject([{ email: 'new@example.com', secondary_emails: [] }])
  })
})

describe('the primary e-mail address', () => {
  it('follows the column, and the one before stays a further address', async () => {
    await send('upsert', [
      row('1', ada, { name: 'Ada', email: 'old@example.com' }),
      row('2', { external_id: 'B' }, { name: 'B', email: 'b@example.com' }),
    ])
    const outcomes = await send('upsert', [
      row('1', ada, { name: 'Ada', email: 'New@example.com' }, { changed: ['email'] }),
      row('2', { external_id: 'B' }, { name: 'BB', email: 'b@example.com' }, { changed: ['name'] }),
    ])
    expect(outcomes).toMatchObject([{ result: 'ok' }, { result: 'ok' }])
    expect(users()).toMatchObject([
      { email: 'new@example.com', secondary_emails: ['old@example.com'] },
      { email: 'b@example.com', name: 'BB' },
    ])
  })

  it('is left as it is when it did not change', async () => {
    const same = row('1', ada, { name: 'Ada', email: 'A@example.com' })
    await send('upsert', [same])
    await send('upsert', [same])
    await send('upsert', [{ ...same, changed: ['name'] }])
    expect(asked().filter((one) => one.includes('identities'))).toEqual([])
    expect(asked().filter((one) => one.includes('users/show_many'))).toHaveLength(1)
  })

  it('as a changed match moves the user, and the address before finds nobody', async () => {
    const [first] = await send('upsert', [row('1', { email: 'old@example.com' }, { name: 'Ada' })])
    const moved = row(
      '1',
      { email: 'new@example.com' },
      { name: 'Ada' },
      { previousMatch: { email: 'old@example.com' }, remoteId: idOf(first) },
    )
    expect(await send('upsert', [moved])).toMatchObject([{ result: 'ok', remoteId: idOf(first) }])
    expect(users()).toMatchObject([{ email: 'new@example.com', secondary_emails: [] }])
    expect(await open().lookup?.('users', [{ email: 'old@example.com' }])).toEqual([null])
  })
})

describe('an address that the job did not add', () => {
  const zendesk = (identity: unknown) =>
    stub(({ method, path }) => {
      if (path.endsWith('/identities'))
        return method === 'GET' ? { identities: [{ id: 1, type: 'email', value: 'old@example.com' }] } : identity
      if (path.includes('show_many') && path.includes('users')) return { users: [{ id: 7, email: 'old@example.com' }] }
      if (path.includes('job_statuses'))
        return { job_statuses: [{ id: 'J', status: 'completed', results: [{ id: 7, status: 'Updated' }] }] }
      return { job_status: { id: 'J' } }
    })
  const sends = row('1', ada, { email: 'new@example.com' })

  it('is added and made primary', async () => {
    expect(await send('upsert', [sends], 'users', zendesk({ identity: { id: 2 } }))).toEqual([{ key: '1', result: 'ok', remoteId: '7' }])
  })

  it('is no address of the user as long as Zendesk does not say so', async () => {
    await expect(send('upsert', [sends], 'users', zendesk({}))).rejects.toMatchObject({ name: 'UnknownOutcome' })
  })
})

it('lists are cleared by a list without items', async () => {
  await send('upsert', [row('1', ada, { name: 'Ada', tags: ['a'] })])
  await send('upsert', [row('1', ada, { tags: null })])
  expect(sent().users[0].tags).toEqual([])
  expect(users()).toMatchObject([{ tags: [] }])
})

describe('a changed external id', () => {
  it('is written to the record that was there', async () => {
    const [first] = await send('upsert', [row('1', { external_id: 'O1' }, { name: 'Acme' })], 'organizations')
    const moved = row('1', { external_id: 'O2' }, { name: 'Acme' }, { previousMatch: { external_id: 'O1' }, remoteId: idOf(first) })
    const fresh = row('2', { external_id: 'O3' }, { name: 'Other' })
    const outcomes = await send('upsert', [moved, fresh], 'organizations')
    expect(outcomes.toSorted((a, b) => a.key.localeCompare(b.key))).toMatchObject([
      { result: 'ok', remoteId: idOf(first) },
      { result: 'ok' },
    ])
    expect(organizations()).toMatchObject([{ external_id: 'O2' }, { external_id: 'O3' }])
  })
})

describe('a record that was deleted there', () => {
  it('is made anew for a row whose match changed', async () => {
    const [first] = await send('upsert', [row('1', ada, { name: 'Ada' })])
    await send('delete', [row('1', ada)])
    const moved = row('1', { external_id: 'A2' }, { name: 'Ada' }, { previousMatch: ada, remoteId: idOf(first) })
    expect(await send('upsert', [moved])).toMatchObject([{ result: 'ok', remoteId: expect.not.stringMatching(idOf(first)) }])
    expect(users()).toMatchObject([{ external_id: 'A2' }])
  })

  it.each(['update', 'delete'] as const)('while its job ran is absent for %s', async (op) => {
    const gone = stub(({ path }) => {
      if (path.includes('users/show_many')) return { users: [{ id: 7, external_id: 'A1' }] }
      if (!path.includes('job_statuses')) return { job_status: { id: 'J' } }
      return { job_statuses: [{ id: 'J', status: 'completed', results: [{ index: 0, id: 7, success: false, error: 'RecordNotFound' }] }] }
    })
    const { outcomes } = await write(gone, many(op, [row('1', ada, op === 'update' ? { name: 'A' } : {})]))
    expect(outcomes.at(-1)).toEqual({ key: '1', result: 'absent' })
  })
})

describe('records are found', () => {
  it('by an external id with a comma, whatever its case', async () => {
    await send('upsert', [row('1', { external_id: 'a,b' }, { name: 'Ada' }), row('2', { external_id: 'Plain' }, { name: 'P' })])
    const found = await open().lookup?.('users', [{ external_id: 'A,B' }, { external_id: 'plain' }, { external_id: 'a' }])
    expect(found).toEqual([expect.stringMatching(/^\d+$/), expect.stringMatching(/^\d+$/), null])
  })

  it('by any of their addresses, and organizations by their name', async () => {
    await send('upsert', [row('1', ada, { name: 'Ada', email: 'one@example.com' })])
    await send('upsert', [row('1', ada, { name: 'Ada', email: 'two@example.com' })])
    await send('upsert', [row('o', { external_id: 'O1' }, { name: 'Acme' })], 'organizations')
    const [one, two, none] =
      (await open().lookup?.('users', [{ email: 'one@example.com' }, { email: 'TWO@example.com' }, { email: 'x@example.com' }])) ?? []
    expect([one === two, typeof one, none]).toEqual([true, 'string', null])
    expect(await open().lookup?.('organizations', [{ name: 'acme' }, { name: 'Other' }])).toEqual([
      String(organizations()[0]?.['id']),
      null,
    ])
  })

  it('by the hundred with one request, and in lists that fit a URL', async () => {
    const matches = Array.from({ length: 100 }, (_, i) => ({ external_id: `customer-${i}` }))
    await open().lookup?.('users', matches)
    expect(served.exchanges).toHaveLength(1)
    served.reset()
    await open().lookup?.(
      'users',
      matches.map(({ external_id }) => ({ external_id: external_id.padEnd(250, 'x') })),
    )
    expect(served.exchanges.length).toBeGreaterThan(10)
    for (const { request } of served.exchanges) expect(request.query.toString().length).toBeLessThan(5000)
  })

  it('and read back under the names and in the form that a sync writes', async () => {
    const fields = { name: 'Ada', 'user_fields.signed_up_at': '2026-11-01', 'user_fields.mrr': 1.5, tags: ['a'] }
    await send('upsert', [row('1', ada, fields)])
    expect(await open().read?.('users', [ada])).toMatchObject([{ external_id: 'A1', ...fields }])
  })
})

describe('white space at the ends of an external id', () => {
  it.each(['users', 'organizations'])('finds the record of %s again', async (object) => {
    const spaced = row('1', { external_id: ' S1 ' }, { name: 'One' })
    const [first] = await send('upsert', [spaced], object)
    expect(first).toMatchObject({ result: 'ok' })
    expect(await send('upsert', [spaced], object)).toMatchObject([{ result: 'ok', remoteId: idOf(first) }])
    expect(await send('delete', [spaced], object)).toMatchObject([{ result: 'ok' }])
    expect(served.records()[object]).toEqual([])
  })

  it('tells two records apart that differ in nothing else', async () => {
    const [, bare] = await send('upsert', [
      row('1', { external_id: ' S1 ' }, { name: 'One' }),
      row('2', { external_id: 'S1' }, { name: 'Two' }),
    ])
    expect(await open().lookup?.('users', [{ external_id: 'S1' }])).toEqual([idOf(bare)])
  })
})

describe('a lookup', () => {
  it.each([
    ['groups', { name: 'Support' }, 'users or organizations'],
    ['users', { name: 'Ada' }, 'external_id or email'],
  ])('of %s by %o says what can be looked up', async (object, match, says) => {
    await expect(open().lookup?.(object, [match])).rejects.toMatchObject({ name: 'Refused', message: expect.stringContaining(says) })
    expect(served.exchanges).toEqual([])
  })
})

it('requests stay below what the plan allows, whatever a batch costs', () => {
  const config = connector.config.parse(entry({ access_token: 'x', requests_per_minute: 400 }))
  const limits = connector.limits
  const { windows } = typeof limits === 'function' ? limits({ config, options: {} }, 'upsert', 'users') : limits
  // Every request counts against it, not every batch.
  expect(windows).toEqual([{ requests: 300, seconds: 60 }])
})

describe('fields', () => {
  it('are described with what they take', async () => {
    const fields = new Map(((await open().describe?.('users')) ?? []).map((field) => [field.name, field]))
    expect(fields.get('user_fields.is_active')).toMatchObject({ type: 'checkbox', accepts: ['boolean'] })
    expect(fields.get('user_fields.signed_up_at')?.accepts).toEqual(['date', 'string'])
    expect(fields.get('external_id')?.accepts).toContain('integer')
    expect(fields.has('organization_fields.industry')).toBe(false)
  })
})

describe('mode update', () => {
  it('finds users by e-mail, and says of whom there is none', async () => {
    await send('upsert', [row('1', ada, { name: 'Ada', email: 'a@example.com' })])
    const outcomes = await send('update', [
      row('1', { email: 'A@example.com' }, { notes: 'x' }),
      row('2', { email: 'b@example.com' }, { notes: 'x' }),
    ])
    expect(outcomes.toSorted((a, b) => a.key.localeCompare(b.key))).toMatchObject([
      { key: '1', result: 'ok' },
      { key: '2', result: 'absent' },
    ])
    expect(users()).toMatchObject([{ notes: 'x' }])
  })
})

describe('a removal', () => {
  it('removes who is there; who is not is removed already', async () => {
    await send('upsert', [row('1', ada, { name: 'Ada' }), row('2', { external_id: 'B' }, { name: 'B' })])
    const outcomes = await send('delete', [row('1', ada), row('3', { external_id: 'C' })])
    expect(outcomes.map(({ key, result }) => [key, result]).toSorted()).toEqual([
      ['1', 'ok'],
      ['3', 'ok'],
    ])
    expect(users()).toMatchObject([{ external_id: 'B' }])
  })

  it('by e-mail never takes the user that a remote id of old stands for', async () => {
    const [first] = await send('upsert', [row('1', { email: 'a@example.com' }, { name: 'Ada' })])
    await send('update', [
      row(
        '1',
        { email: 'a@example.com' },
        { email: 'other@example.com' },
        { previousMatch: { email: 'a@example.com' }, remoteId: idOf(first) },
      ),
    ])
    expect(await send('delete', [row('9', { email: 'nobody@example.com' }, {}, { remoteId: idOf(first) })])).toEqual([
      { key: '9', result: 'ok' },
    ])
    expect(users()).toHaveLength(1)
  })
})

describe('a job', () => {
  it('tells its token before its outcomes, and is resumed by it', async () => {
    const rows = many('upsert', [row('1', ada, { name: 'Ada' }), row('2', { external_id: 'B' }, { name: '' })])
    let token = ''
    for await (const item of open().write(rows)) {
      token = (item as JobToken).token
      break
    }
    const outcomes: Outcome[] = []
    for await (const outcome of open().resume?.(token, rows) ?? []) outcomes.push(outcome)
    expect(outcomes).toMatchObject([
      { key: '1', result: 'ok' },
      { key: '2', result: 'rejected' },
    ])
    expect(served.exchanges.filter(({ write: writes }) => writes)).toHaveLength(1)
  })

  it('that Zendesk no longer knows leaves its rows unknown', async () => {
    const rows = many('upsert', [row('1', ada, { name: 'Ada' })])
    let token = ''
    for await (const item of open().write(rows)) {
      token = (item as JobToken).token
      break
    }
    now += 25 * 3600_000
    const outcomes: Outcome[] = []
    for await (const outcome of open().resume?.(token, rows) ?? []) outcomes.push(outcome)
    expect(outcomes).toMatchObject([{ key: '1', result: 'unknown', code: 'job_failed' }])
  })

  const two = [row('1', ada, { name: 'Ada' }), row('2', { external_id: 'B' }, { name: 'B' })]

  it.each(['failed', 'killed'])('that %s as a whole leaves its rows unknown, with its words', async (status) => {
    expect(await send('upsert', two, 'users', withResults(null, status))).toMatchObject([
      { key: '1', result: 'unknown', message: expect.stringContaining('words') },
      { key: '2', result: 'unknown' },
    ])
  })

  it('with fewer results than users says nothing of any', async () => {
    expect(await send('upsert', two, 'users', withResults([{ id: 5, status: 'Created' }]))).toEqual([])
  })

  it('whose result names another user is in doubt', async () => {
    const results = [
      { id: 5, status: 'Updated', external_id: 'B' },
      { id: 6, status: 'Created', external_id: 'b' },
    ]
    expect(await send('upsert', two, 'users', withResults(results))).toMatchObject([
      { key: '1', result: 'unknown', code: 'contradiction' },
      { key: '2', result: 'ok', remoteId: '6' },
    ])
  })

  it('counts a failed user by its place, for its id is no user’s', async () => {
    const results = [
      { id: 7, status: 'Updated' },
      { id: 1, status: 'Failed', error: 'UserUpdateError', details: 'Phone: is wrong' },
    ]
    expect(await send('upsert', two, 'users', withResults(results))).toMatchObject([
      { key: '1', result: 'ok', remoteId: '7' },
      { key: '2', result: 'rejected', code: 'UserUpdateError', field: 'phone' },
    ])
  })

  it.each([
    ['DatabaseConflict', 'collided', undefined],
    ['UserUpdateError', 'You have exceeded the rate limit for updating a single unique user', 60_000],
  ])('sends a row again that failed with %s', async (error, details, afterMs) => {
    const outcomes = await send('upsert', two.slice(0, 1), 'users', withResults([{ id: 0, status: 'Failed', error, details }]))
    expect(outcomes).toMatchObject([{ key: '1', result: 'retry', ...(afterMs === undefined ? {} : { afterMs }) }])
  })

  it('that finds an organization made already sends its row again, as an update; of a user it is a refusal', async () => {
    const taken = [{ index: 0, id: 1, status: 'Failed', error: 'Taken', details: 'External: A1 has already been taken' }]
    const zendesk = stub(({ path }) => {
      if (path.includes('organizations/show_many')) return { organizations: [] }
      return path.includes('job_statuses')
        ? { job_statuses: [{ id: 'J', status: 'completed', results: taken }] }
        : { job_status: { id: 'J' } }
    })
    expect(await send('upsert', two.slice(0, 1), 'organizations', zendesk)).toMatchObject([{ result: 'retry' }])
    expect(await send('upsert', two.slice(0, 1), 'users', zendesk)).toMatchObject([{ result: 'rejected', field: 'external_id' }])
  })

  it('that found its record deleted sends the row of an upsert again', async () => {
    const zendesk = stub(({ path }) => {
      if (path.includes('organizations/show_many')) return { organizations: [{ id: 7, external_id: 'A1' }] }
      if (!path.includes('job_statuses')) return { job_status: { id: 'J' } }
      return { job_statuses: [{ id: 'J', status: 'completed', results: [{ index: 0, id: 7, success: false, error: 'RecordNotFound' }] }] }
    })
    expect(await send('upsert', two.slice(0, 1), 'organizations', zendesk)).toMatchObject([{ result: 'retry' }])
  })

  it('whose result names another id than the one that was changed is in doubt', async () => {
    const zendesk = stub(({ path }) => {
      if (path.includes('users/show_many')) return { users: [{ id: 7, external_id: 'A1' }] }
      if (!path.includes('job_statuses')) return { job_status: { id: 'J' } }
      return { job_statuses: [{ id: 'J', status: 'completed', results: [{ index: 0, id: 8, success: true, status: 'Updated' }] }] }
    })
    expect(await send('update', [row('1', ada, { name: 'A' })], 'users', zendesk)).toMatchObject([
      { result: 'unknown', code: 'contradiction' },
    ])
  })

  it('that made a user with another e-mail address is in doubt', async () => {
    const made = [{ id: 5, status: 'Created', email: 'b@example.com' }]
    expect(await send('upsert', [row('1', { email: 'a@example.com' }, { name: 'A' })], 'users', withResults(made))).toMatchObject([
      { result: 'unknown', code: 'contradiction' },
    ])
  })

  it('that is not known yet is asked about again', async () => {
    let looks = 0
    const late = stub(({ path }) => {
      if (!path.includes('job_statuses')) return { job_status: { id: 'J' } }
      return { job_statuses: ++looks === 1 ? [] : [{ id: 'J', status: 'completed', results: [{ id: 5, status: 'Created' }] }] }
    })
    expect(await send('upsert', two.slice(0, 1), 'users', late)).toEqual([{ key: '1', result: 'ok', remoteId: '5' }])
  })

  it.each([400, 404])('whose status is refused with %i refuses none of its rows', async (status) => {
    served.fault(({ request }) => (request.path.includes('job_statuses') ? { kind: 'status', status } : undefined))
    const { outcomes, error } = await write(open(), many('upsert', two))
    if (status === 404) expect(outcomes.slice(1)).toMatchObject([{ result: 'unknown' }, { result: 'unknown' }])
    else expect(error).toMatchObject({ name: 'UnknownOutcome' })
  })

  it('with a status that nobody knows is in doubt', async () => {
    expect(await send('upsert', two.slice(0, 1), 'users', withResults([{ id: 1, status: 'Maybe' }]))).toMatchObject([
      { result: 'unknown', code: 'bad_status' },
    ])
  })
})

it('a collision with another change is sent again', async () => {
  served.fault(({ write: writes, request }) => (writes && request.n === 1 ? { kind: 'status', status: 409 } : undefined))
  const { error } = await write(open(), many('upsert', [row('1', ada, { name: 'Ada' })]))
  expect(error).toMatchObject({ name: 'NotSent', code: 'DatabaseConflict' })
})

it('a lookup in a sync writes the id of the organization', async () => {
  await send('upsert', [row('o', { external_id: 'O1' }, { name: 'Acme' })], 'organizations')
  const trial = await startTrial({
    connector,
    destination: served.destination,
    object: 'users',
    mode: 'upsert',
    sync: { fields: { name: { column: 'c1' }, organization_id: { lookup: 'organizations', match: { external_id: 'c2' } } } },
  })
  try {
    await trial.rows([{ key: '1', match: ada, fields: { name: 'Ada', company: 'o1' } }])
    const ran = await trial.run()
    expect(ran.code, ran.stdout + ran.stderr).toBe(0)
    expect(users()).toMatchObject([{ organization_id: organizations()[0]?.['id'] }])
  } finally {
    await trial.remove()
  }
})

it('a run that could not learn what its job did leaves it to the next, which asks and sends nothing again', async () => {
  const trial = await startTrial({ connector, destination: served.destination, object: 'users', mode: 'mirror' })
  try {
    await trial.rows([1, 2, 3].map((i) => ({ key: `${i}`, match: { external_id: `U${i}` }, fields: { name: `User ${i}` } })))
    served.fault(({ request }) => (request.path.includes('job_statuses') ? { kind: 'status', status: 500 } : undefined))
    const first = await trial.run()
    expect([first.code, first.record.counts.delivered, first.record.counts.unknown], first.stdout + first.stderr).toEqual([3, 0, 3])
    served.fault(() => undefined)
    const second = await trial.run()
    expect(second.code, second.stdout + second.stderr).toBe(0)
    expect(served.exchanges.filter(({ write: writes }) => writes)).toHaveLength(1)
    expect((await trial.plan()).counts).toMatchObject({ add: 0, change: 0, remove: 0, uncertain: 0 })
  } finally {
    await trial.remove()
  }
})
