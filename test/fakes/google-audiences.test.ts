/** The fake of the Data Manager API refuses what Google refuses and remembers what Google would remember. */
import { createHash, createSign } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import fake from '../../fakes/google-audiences/index.ts'
import { type FakeHost, serveFakes, type ServedFake } from '../../src/testing/host.ts'

const NOW = Date.parse('2026-11-01T00:00:00Z')
let now = NOW
let host: FakeHost
let served: ServedFake
let token: string

const sha = (text: string): Buffer => createHash('sha256').update(text).digest()
const hex = (text: string): string => sha(text).toString('hex')

function assertion(claims: object = {}, keyFile = String(served.destination['service_account'])): string {
  const key = JSON.parse(keyFile) as { client_email: string; private_key: string; token_uri: string }
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const iat = now / 1000
  const body = {
    iss: key.client_email,
    scope: 'https://www.googleapis.com/auth/datamanager',
    aud: key.token_uri,
    iat,
    exp: iat + 3600,
    ...claims,
  }
  const signed = `${part({ alg: 'RS256', typ: 'JWT' })}.${part(body)}`
  return `${signed}.${createSign('RSA-SHA256').update(signed).sign(key.private_key, 'base64url')}`
}

async function login(form: Record<string, string>): Promise<{ status: number; body: any }> {
  const reply = await fetch(`${served.url}/token`, { method: 'POST', body: new URLSearchParams(form) })
  return { status: reply.status, body: await reply.json() }
}

const jwt = (text: string): Record<string, string> => ({ grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: text })

async function call(
  method: string,
  path: string,
  json?: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: any }> {
  const reply = await fetch(served.url + path, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
  })
  return { status: reply.status, body: await reply.json() }
}

const DESTINATION = { operatingAccount: { accountType: 'GOOGLE_ADS', accountId: '1234567890' }, productDestinationId: '1001' }
const TERMS = { customerMatchTermsOfServiceStatus: 'ACCEPTED' }
const email = (text: string): object => ({ userData: { userIdentifiers: [{ emailAddress: hex(text) }] } })
const members = (...list: object[]): object => ({ destinations: [DESTINATION], audienceMembers: list, encoding: 'HEX' })
const ingest = (body: object): Promise<{ status: number; body: any }> =>
  call('POST', '/v1/audienceMembers:ingest', { termsOfService: TERMS, ...body })
const violations = (reply: { body: any }): { field: string; reason?: string }[] =>
  reply.body.error.details.find((one: any) => one['@type'].endsWith('BadRequest')).fieldViolations

beforeAll(async () => {
  host = await serveFakes([fake], { now: () => now })
  served = host.fakes.get('google-audiences') as ServedFake
})
afterAll(() => host.close())
beforeEach(async () => {
  now = NOW
  served.reset()
  token = (await login(jwt(assertion()))).body.access_token
})

describe('logins', () => {
  test('a token lasts an hour, a service account or a refresh token gets one', async () => {
    expect(await call('GET', '/v1/accountTypes/GOOGLE_ADS/accounts/1234567890/userLists')).toMatchObject({ status: 200 })
    now += 3_600_000
    expect(await call('GET', '/v1/accountTypes/GOOGLE_ADS/accounts/1234567890/userLists')).toMatchObject({
      status: 401,
      body: { error: { code: 401, status: 'UNAUTHENTICATED' } },
    })
    expect(
      await login({
        grant_type: 'refresh_token',
        client_id: '4711-example.apps.googleusercontent.com',
        client_secret: 'GOCSPX-example',
        refresh_token: '1//example-refresh-token',
      }),
    ).toMatchObject({ status: 200, body: { expires_in: 3599, token_type: 'Bearer' } })
  })

  test.each([
    ['a foreign key', () => jwt(assertion({}, String(fake.intruder?.(served.url)['service_account']))), 400, 'invalid_grant'],
    ['a JWT that lasts a day', () => jwt(assertion({ exp: now / 1000 + 86_400 })), 400, 'invalid_grant'],
    ['a JWT of yesterday', () => jwt(assertion({ iat: now / 1000 - 86_400, exp: now / 1000 - 82_800 })), 400, 'invalid_grant'],
    ['a JWT for somebody else', () => jwt(assertion({ aud: 'https://example.com/token' })), 400, 'invalid_grant'],
    ['no grant', () => ({}), 400, 'invalid_request'],
    ['an unknown client', () => ({ grant_type: 'refresh_token', client_id: 'x' }), 401, 'invalid_client'],
  ])('%s is refused', async (_, form, status, error) => {
    expect(await login(form())).toMatchObject({ status, body: { error } })
  })

  test('a token without the scope is refused by the API, not by the login', async () => {
    token = (await login(jwt(assertion({ scope: 'https://www.googleapis.com/auth/adwords' })))).body.access_token
    expect(await ingest(members(email('a@b.c')))).toMatchObject({ status: 403, body: { error: { status: 'PERMISSION_DENIED' } } })
  })

  test('another account is not this login’s', async () => {
    const foreign = { ...DESTINATION, operatingAccount: { accountType: 'GOOGLE_ADS', accountId: '9999999999' } }
    expect(await ingest({ ...members(email('a@b.c')), destinations: [foreign] })).toMatchObject({ status: 403 })
  })
})

describe('audience members', () => {
  test('are added once, whatever the encoding, and removed identifier by identifier', async () => {
    const both = { userData: { userIdentifiers: [{ emailAddress: hex('a@b.c') }, { phoneNumber: hex('+18005550100') }] } }
    expect(await ingest(members(both))).toMatchObject({ status: 200, body: { requestId: expect.any(String) } })
    const base64 = { userData: { userIdentifiers: [{ emailAddress: sha('a@b.c').toString('base64') }] } }
    expect(await ingest({ ...members(base64), encoding: 'BASE64' })).toMatchObject({ status: 200 })
    expect(served.records()['audience_members']).toEqual([
      { userList: '1001', emailAddress: hex('a@b.c') },
      { userList: '1001', phoneNumber: hex('+18005550100') },
    ])
    expect(await call('POST', '/v1/audienceMembers:remove', members(email('a@b.c')))).toMatchObject({ status: 200 })
    expect(served.records()['audience_members']).toEqual([{ userList: '1001', phoneNumber: hex('+18005550100') }])
  })

  test('one bad member refuses all, with its index and the reason', async () => {
    const bad = { userData: { userIdentifiers: [{ emailAddress: 'a@b.c' }] } }
    const reply = await ingest(members(email('a@b.c'), bad))
    expect(reply).toMatchObject({ status: 400, body: { error: { status: 'INVALID_ARGUMENT' } } })
    expect(violations(reply)).toEqual([
      {
        field: 'audience_members.audience_members[1].user_data.user_identifiers[0].email_address',
        description: 'The HEX encoded value is malformed.',
        reason: 'INVALID_HEX_ENCODING',
      },
    ])
    expect(served.records()['audience_members']).toEqual([])
  })

  test('a row that somebody wants refused is refused like an invalid one', async () => {
    served.refuseRows(1)
    expect(violations(await ingest(members(email('a@b.c'), email('d@e.f'))))).toMatchObject([
      { field: 'audience_members.audience_members[0]', reason: 'INVALID_AUDIENCE_MEMBER' },
    ])
    expect(await ingest(members(email('a@b.c'), email('d@e.f')))).toMatchObject({ status: 200 })
  })

  test.each<[string, object, string]>([
    ['a short hash', members({ userData: { userIdentifiers: [{ phoneNumber: 'abcd' }] } }), 'INVALID_SHA256_FORMAT'],
    ['no identifier', members({ userData: { userIdentifiers: [] } }), 'REQUIRED_FIELD_MISSING'],
    [
      'eleven identifiers',
      members({ userData: { userIdentifiers: Array.from({ length: 11 }, () => ({ emailAddress: hex('x') })) } }),
      'TOO_MANY_USER_IDENTIFIERS',
    ],
    ['half an address', members({ userData: { userIdentifiers: [{ address: { givenName: hex('ann') } }] } }), 'REQUIRED_FIELD_MISSING'],
    ['no encoding', { ...members(email('a@b.c')), encoding: undefined }, 'REQUIRED_FIELD_MISSING'],
    ['terms not accepted', { ...members(email('a@b.c')), termsOfService: undefined }, 'TERMS_AND_CONDITIONS_NOT_SIGNED'],
    [
      'an unknown list',
      { ...members(email('a@b.c')), destinations: [{ ...DESTINATION, productDestinationId: '9' }] },
      'INVALID_USER_LIST_ID',
    ],
    [
      'a list of mobile ids',
      { ...members(email('a@b.c')), destinations: [{ ...DESTINATION, productDestinationId: '1003' }] },
      'INVALID_USER_LIST_TYPE',
    ],
    ['nobody', members(), 'REQUIRED_FIELD_MISSING'],
    ['too many', members(...Array.from({ length: 10_001 }, () => email('x'))), 'TOO_MANY_AUDIENCE_MEMBERS'],
  ])('%s is refused', async (_, body, reason) => {
    const reply = await ingest(body)
    expect(reply.status).toBe(400)
    expect(violations(reply).map((one) => one.reason)).toContain(reason)
  })

  test('a name the message does not have is refused, and so is a value of another type', async () => {
    const unknown = await ingest(members({ ...email('a@b.c'), emailAddress: 'x' }))
    expect(unknown.body.error.message).toContain('Unknown name "emailAddress" at \'audience_members[0]\': Cannot find field.')
    expect((await ingest({ ...members(email('a@b.c')), validateOnly: 'yes' })).status).toBe(400)
    expect((await ingest({ ...members(email('a@b.c')), encoding: 'hex' })).status).toBe(400)
  })

  test('validateOnly changes nothing and is no write', async () => {
    expect(await ingest({ ...members(email('a@b.c')), validateOnly: true })).toEqual({ status: 200, body: {} })
    expect(served.records()['audience_members']).toEqual([])
    expect(served.exchanges.at(-1)?.write).toBe(false)
  })

  test('who denied consent is counted in the status, and not added', async () => {
    const denied = { ...email('d@e.f'), consent: { adUserData: 'CONSENT_DENIED' } }
    const { body } = await ingest(members(email('a@b.c'), denied))
    const status = (): Promise<{ status: number; body: any }> => call('GET', `/v1/requestStatus:retrieve?requestId=${body.requestId}`)
    expect((await status()).body.requestStatusPerDestination).toMatchObject([{ requestStatus: 'PROCESSING' }])
    expect((await status()).body.requestStatusPerDestination).toMatchObject([
      {
        destination: DESTINATION,
        requestStatus: 'PARTIAL_SUCCESS',
        errorInfo: { errorCounts: [{ recordCount: '1', reason: 'PROCESSING_ERROR_REASON_DENIED_CONSENT' }] },
        audienceMembersIngestionStatus: { userDataIngestionStatus: { recordCount: '2', userIdentifierCount: '2' } },
      },
    ])
    expect(served.records()['audience_members']).toHaveLength(1)
    expect((await call('GET', '/v1/requestStatus:retrieve?requestId=nope')).status).toBe(400)
  })
})

describe('events', () => {
  const event = {
    transactionId: 'o-1',
    eventTimestamp: '2026-10-30T10:00:00Z',
    adIdentifiers: { gclid: 'Cj0' },
    currency: 'EUR',
    conversionValue: 9.5,
  }
  const send = (...events: object[]): Promise<{ status: number; body: any }> =>
    call('POST', '/v1/events:ingest', { destinations: [{ ...DESTINATION, productDestinationId: '7001' }], events, encoding: 'HEX' })

  test('are kept once per transaction id', async () => {
    await send(event)
    const { body } = await send({ ...event, conversionValue: 10 })
    expect(served.records()['conversions']).toEqual([{ conversionAction: '7001', ...event }])
    await call('GET', `/v1/requestStatus:retrieve?requestId=${body.requestId}`)
    const status = await call('GET', `/v1/requestStatus:retrieve?requestId=${body.requestId}`)
    expect(status.body.requestStatusPerDestination[0]).toMatchObject({
      requestStatus: 'FAILED',
      errorInfo: { errorCounts: [{ reason: 'PROCESSING_ERROR_REASON_DUPLICATE_TRANSACTION_ID' }] },
      eventsIngestionStatus: { recordCount: '1' },
    })
  })

  test.each<[string, object, string | undefined]>([
    ['no time', { ...event, eventTimestamp: undefined }, 'REQUIRED_FIELD_MISSING'],
    ['nobody to credit', { ...event, adIdentifiers: {} }, 'NO_IDENTIFIERS_PROVIDED'],
    ['a currency of no country', { ...event, currency: 'euro' }, 'INVALID_CURRENCY_CODE'],
    ['a time that is none', { ...event, eventTimestamp: '30.10.2026' }, undefined],
  ])('%s is refused', async (_, bad, reason) => {
    const reply = await send(event, bad)
    expect(reply.status).toBe(400)
    expect(violations(reply)[0]?.reason).toBe(reason)
    expect(violations(reply)[0]?.field).toContain('events[1]')
    expect(served.records()['conversions']).toEqual([])
  })

  test('an unknown conversion action and too many events are refused', async () => {
    const unknown = { destinations: [DESTINATION], events: [event], encoding: 'HEX' }
    expect(violations(await call('POST', '/v1/events:ingest', unknown))[0]?.reason).toBe('INVALID_CONVERSION_ACTION_ID')
    expect(violations(await send(...Array.from({ length: 2001 }, () => event)))[0]?.reason).toBe('TOO_MANY_EVENTS')
  })
})

test('user lists are listed, read, made, changed and deleted', async () => {
  const path = '/v1/accountTypes/GOOGLE_ADS/accounts/1234567890/userLists'
  expect((await call('GET', path)).body.userLists).toHaveLength(3)
  expect((await call('GET', `${path}/1001`)).body).toMatchObject({ displayName: 'Customers', membershipDuration: '46656000s' })
  expect((await call('GET', `${path}/1`)).status).toBe(404)
  const made = await call('POST', path, { displayName: 'New', ingestedUserListInfo: { uploadKeyTypes: ['CONTACT_ID'] } })
  expect(made).toMatchObject({ status: 200, body: { displayName: 'New', id: expect.any(String) } })
  expect((await call('POST', path, { displayName: 'New' })).status).toBe(400)
  expect((await call('PATCH', `${path}/${made.body.id}`, { membershipDuration: '5s' })).status).toBe(400)
  expect((await call('DELETE', `${path}/${made.body.id}`)).status).toBe(200)
  expect((await call('GET', path)).body.userLists).toHaveLength(3)
})

test('unknown methods, missing logins and other content types are refused', async () => {
  expect((await call('POST', '/v1/audienceMembers:replace', {})).status).toBe(404)
  expect((await call('GET', '/v1/audienceMembers:ingest')).status).toBe(404)
  expect((await call('POST', '/v1/events:ingest', {}, { authorization: '' })).status).toBe(401)
  expect((await call('POST', '/v1/events:ingest', {}, { 'content-type': 'text/plain' })).status).toBe(400)
})

test('failures look like Google’s', async () => {
  served.fault(() => ({ kind: 'status', status: 429, daily: true }))
  expect((await ingest(members(email('a@b.c')))).body.error).toMatchObject({
    code: 429,
    status: 'RESOURCE_EXHAUSTED',
    details: [{ metadata: { quota_limit: 'IngestionMutateRequestsPerDayPerProject' } }],
  })
  served.fault(() => ({ kind: 'status', status: 503 }))
  expect((await ingest(members(email('a@b.c')))).body.error.status).toBe('UNAVAILABLE')
})
