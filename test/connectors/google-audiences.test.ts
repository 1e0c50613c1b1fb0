/** What the suite can't know of the Google connector: hashes, consent, logins, lists, refusals by index, and requests that Google processes for a while. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import connector from '../../connectors/google-audiences/index.ts'
import {
  addressMatch,
  contactsOf,
  normalEmail,
  normalFamilyName,
  normalGivenName,
  normalPhone,
} from '../../connectors/google-audiences/people.ts'
import { processed, refuse, rowsRefused } from '../../connectors/google-audiences/reply.ts'
import fake from '../../fakes/google-audiences/index.ts'
import { createHttp } from '../../src/http.ts'
import {
  type Change,
  decodeJson,
  type Destination,
  encodeJson,
  type Fields,
  type HttpReply,
  type JobToken,
  type Op,
  type Outcome,
  RawJson,
} from '../../src/index.ts'
import { normalise } from '../../src/normalise.ts'
import { type FakeHost, type ServedFake, serveFakes } from '../../src/testing/host.ts'
import { startTrial } from '../../src/testing/trial.ts'

const T0 = Date.parse('2026-11-20T12:00:00Z')
let clock = T0
let host: FakeHost
let served: ServedFake
let log: string[]

beforeAll(async () => {
  host = await serveFakes([fake], { now: () => clock })
  served = host.fakes.get('google-audiences') as ServedFake
})
afterAll(() => host.close())
beforeEach(() => {
  clock = T0
  log = []
  served.reset()
})

function open(options: object = {}, more: object = {}): Destination {
  const config = connector.config.parse({ ...served.destination, ...more })
  const signal = new AbortController().signal
  const http = createHttp({ signal, redact: (text) => text, trace: null, now: () => clock })
  const io = { http, log: (message: string) => void log.push(message), signal, now: () => clock }
  return connector.open({ config, options: connector.options.parse(options) }, io)
}

function change(op: Op, key: string, match: Fields, fields: Fields = {}): Change {
  const raw = (value: Fields): RawJson => new RawJson(encodeJson(value))
  const nothing = { onCreate: {}, ifEmpty: {}, changed: null, previousMatch: null, remoteId: null, attempts: 0 }
  return { key, op, match, matchJson: raw(match), fields, fieldsJson: raw(fields), id: `id-${key}`, ...nothing }
}

async function write(destination: Destination, object: string, changes: readonly Change[]): Promise<(Outcome | JobToken)[]> {
  const said: (Outcome | JobToken)[] = []
  const [first] = changes
  for await (const one of destination.write({ sync: 's', run: 'r', object, op: first?.op ?? 'upsert', changes })) said.push(one)
  return said
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const bodies = (): Record<string, unknown>[] =>
  served.exchanges.filter(({ write: isWrite }) => isWrite).map(({ request }) => request.json() as Record<string, unknown>)

const reply = (status: number, body: unknown, headers: Record<string, string> = {}): HttpReply => {
  const text = JSON.stringify(body)
  return { status, headers, text, json: () => decodeJson(text) }
}
const error = (status: number, reason: string, more: object = {}): HttpReply =>
  reply(status, {
    error: {
      code: status,
      status: 'SOME_STATUS',
      message: 'in words',
      details: [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason, ...more }],
    },
  })
const violations = (...fieldViolations: { field: string; reason: string }[]): HttpReply =>
  reply(400, {
    error: {
      code: 400,
      status: 'INVALID_ARGUMENT',
      message: 'There was a problem with the request.',
      details: [
        {
          '@type': 'type.googleapis.com/google.rpc.BadRequest',
          fieldViolations: fieldViolations.map((one) => ({ description: 'why', ...one })),
        },
      ],
    },
  })
const rows = (n: number): { key: string; body: object }[] => Array.from({ length: n }, (_, i) => ({ key: `k${i}`, body: {} }))

function thrownBy(run: () => unknown): Record<string, unknown> {
  try {
    run()
  } catch (thrown) {
    const { name, code, message, hint, afterMs } = thrown as Record<string, unknown>
    return { name, code, message, hint, afterMs }
  }
  throw new Error('nothing was thrown')
}

describe('normalisation', () => {
  test.each([
    [
      'cloudy.sanfrancisco+shopping@gmail.com',
      'cloudysanfrancisco@gmail.com',
      '223ebda6f6889b1494551ba902d9d381daf2f642bae055888e96343d53e9f9c4',
    ],
    ['user.name+NYC@Example.com', 'user.name+nyc@example.com', 'f109a2a632fbcea5fc82049f50beed3d8621bf9034399f437fb622222acccdac'],
    [' AlexZ@example.com\t', 'alexz@example.com', '509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a'],
    ['J. Doe@GoogleMail.com', 'jdoe@googlemail.com', sha256('jdoe@googlemail.com')],
  ])('the e-mail address %j is %j', (raw, normal, hash) => {
    expect(normalEmail(raw)).toBe(normal)
    expect(contactsOf({ email: raw })).toEqual([{ emailAddress: hash }])
  })

  test.each([
    '',
    'nobody',
    '@example.com',
    'a@b@example.com',
    'a@localhost',
    '+only@gmail.com',
    '...@gmail.com',
    'a@example.',
    'a lex@example.com',
  ])('%j is no e-mail address', (raw) => {
    expect(() => normalEmail(raw)).toThrow('is no e-mail address')
  })

  test('a phone number keeps its plus', () => {
    expect(normalPhone('+1 (800) 555-0100')).toBe('+18005550100')
    expect(contactsOf({ phone: '0018005550100' })).toEqual([
      { phoneNumber: 'fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30' },
    ])
    for (const raw of ['(800)555-0100', '+0123456789', '+12', 'none', '+1800555010012345'])
      expect(() => normalPhone(raw)).toThrow('country code')
  })

  test('titles are no part of a name', () => {
    expect([normalGivenName(' Mrs. Jane '), normalGivenName('Givenname'), normalGivenName('Drew')]).toEqual(['jane', 'givenname', 'drew'])
    expect([normalFamilyName('Smith, Jr.'), normalFamilyName('Doe III PhD'), normalFamilyName('García')]).toEqual([
      'smith',
      'doe',
      'garcía',
    ])
    expect(() => normalGivenName('Mr.')).toThrow('empty once titles are taken off')
  })

  test('hashes that are there already are sent as they are', () => {
    const hash = sha256('a@example.com')
    expect(contactsOf({ email_sha256: hash.toUpperCase(), phone_sha256: hash })).toEqual([{ emailAddress: hash }, { phoneNumber: hash }])
    expect(() => contactsOf({ email_sha256: 'a@example.com' })).toThrow('email_sha256 is no SHA-256')
  })

  test('an address is one identifier, of which only the names are hashed', () => {
    expect(addressMatch('Givenname|Familyname|us|94045')).toEqual({
      address: {
        givenName: '128a07bfe2df877c52076e60d7774cf5baaa046c5a6c48daf30ff43ecca2f814',
        familyName: '77762c287e61ce065bee5c15464012c6fbe088398b8057627d5577249430d574',
        regionCode: 'US',
        postalCode: '94045',
      },
    })
    for (const text of ['Jane|Doe|US', 'Jane||US|94045', 'Jane|Doe|USA|94045']) expect(() => addressMatch(text)).toThrow(/address/)
  })
})

describe('members', () => {
  const hash = sha256('a')
  test.each<[string, string[]]>([
    [
      'email',
      [
        'a.b@gmail.com',
        'A B+news@Gmail.com ',
        'ab@gmail.com\u00a0',
        'ab\u00a0@gmail.com',
        'ab@googlemail.com',
        'ab@example.com',
        'a b@example.com',
        'ab@exam ple.com',
        '\tAB@example.com',
        'ab@example.com\u2003',
        'ä@example.com',
        'Ä@example.com',
      ],
    ],
    ['email_sha256', [hash, hash.toUpperCase(), ` ${hash}`]],
    ['phone', ['+18005550100', '0018005550100', '+1 (800) 555-0100', '+1\u00a0800 555 0100']],
    ['phone_sha256', [hash, `${hash}\n`]],
    [
      'address',
      [
        'Jane|Doe|US|94045',
        'jane|doe|us|94045',
        'Mrs. Jane|Doe|US|94045',
        'Jane|Doe, Jr.|US|94045',
        ' Jane|Doe |US| 94045',
        'jane|özil|us|94045',
        'Jane|Özil|us|94045',
      ],
    ],
  ])('what is one %s to Google is one member here: cleaning a spelling must not remove the person', async (field, spellings) => {
    const spec = connector.objects['audience']
    const settings = { config: connector.config.parse(served.destination), options: connector.options.parse({}) }
    const normaliser = typeof spec === 'function' ? spec(settings).match[field] : undefined
    const google = open({ list: '1001' })
    const members = new Map<string, Set<string | null>>()
    for (const text of spellings) {
      const before = bodies().length
      await write(google, 'audience', [change('upsert', 'a', { [field]: text })])
      if (bodies().length === before) continue
      const sent = JSON.stringify(bodies().at(-1)?.['audienceMembers'])
      members.set(sent, (members.get(sent) ?? new Set()).add(normalise(normaliser ?? 'exact', text)))
    }
    expect(members.size).toBeGreaterThan(0)
    expect([...members.values()].map(({ size }) => size)).toEqual([...members.values()].map(() => 1))
  })

  test('with the raw and the hashed column, or an unknown one, are rejected', async () => {
    const email = 'a@example.com'
    const said = await write(open({ list: '1001' }), 'audience', [
      change('upsert', 'both', { email, email_sha256: sha256(email) }),
      change('upsert', 'unknown', { email }, { shoe_size: 42 }),
      change('upsert', 'odd', { email }, { constructor: 'x' }),
    ])
    expect(said).toMatchObject([
      { key: 'both', result: 'rejected', code: 'two_values', field: 'email_sha256' },
      { key: 'unknown', result: 'rejected', code: 'unknown_field', field: 'shoe_size' },
      { key: 'odd', result: 'rejected', code: 'unknown_field', field: 'constructor' },
    ])
    expect(bodies()).toEqual([])
  })

  test('a person is sent with all identifiers, and removed by those that are to go, without consent', async () => {
    const google = open({ list: '1001', consent: { ad_user_data: 'granted' } })
    const match = { email: 'a@example.com', phone: '+18005550100', address: 'jane|doe|us|94045' }
    expect(await write(google, 'audience', [change('upsert', 'a', match, { ad_personalization: true })])).toEqual([
      { key: 'a', result: 'accepted' },
    ])
    expect(served.records()['audience_members']).toHaveLength(3)
    expect(bodies()[0]).toMatchObject({
      destinations: [{ operatingAccount: { accountType: 'GOOGLE_ADS', accountId: '1234567890' }, productDestinationId: '1001' }],
      audienceMembers: [{ consent: { adPersonalization: 'CONSENT_GRANTED' } }],
      consent: { adUserData: 'CONSENT_GRANTED' },
      encoding: 'HEX',
      termsOfService: { customerMatchTermsOfServiceStatus: 'ACCEPTED' },
    })
    await write(google, 'audience', [change('delete', 'a', { email: 'a@example.com', address: 'jane|doe|us|94045' })])
    expect(served.records()['audience_members']).toMatchObject([{ phoneNumber: sha256('+18005550100') }])
    expect(Object.keys(bodies()[1] ?? {}).sort()).toEqual(['audienceMembers', 'destinations', 'encoding'])
  })

  test('who denied consent is not sent, and is told how to leave', async () => {
    const google = open({ list: '1001' })
    const said = await write(google, 'audience', [
      change('upsert', 'no', { email: 'no@example.com' }, { ad_user_data: false }),
      change('upsert', 'what', { email: 'what@example.com' }, { ad_user_data: 'perhaps' }),
      change('upsert', 'yes', { email: 'yes@example.com' }, { ad_user_data: 'granted', ad_personalization: null }),
    ])
    expect(said).toEqual([
      {
        key: 'no',
        result: 'rejected',
        code: 'consent_denied',
        field: 'ad_user_data',
        message: expect.stringContaining('where:') as string,
      },
      { key: 'what', result: 'rejected', code: 'invalid_consent', field: 'ad_user_data', message: expect.any(String) as string },
      { key: 'yes', result: 'accepted' },
    ])
    expect(served.records()['audience_members']).toHaveLength(1)
  })

  test('a manager account and a linked account travel with every request', async () => {
    const google = open({ list: '1001' }, { login_account: { id: 999 }, linked_account: { product: 'DATA_PARTNER', id: '77' } })
    await google.check()
    expect(served.exchanges.at(-1)?.request.headers).toMatchObject({
      'login-account': 'accountTypes/GOOGLE_ADS/accounts/999',
      'linked-account': 'accountTypes/DATA_PARTNER/accounts/77',
    })
    await write(google, 'audience', [change('upsert', 'a', { email: 'a@example.com' })])
    expect(bodies()[0]?.['destinations']).toMatchObject([
      { loginAccount: { accountType: 'GOOGLE_ADS', accountId: '999' }, linkedAccount: { accountType: 'DATA_PARTNER', accountId: '77' } },
    ])
  })

  test('two spellings of one Gmail address are one member, removed with the last of them', async () => {
    clock = Date.now()
    const trial = await startTrial({
      connector,
      destination: served.destination,
      object: 'audience',
      options: { list: '1001' },
      mode: 'mirror',
    })
    try {
      const row = (key: string, email: string) => ({ key, match: { email }, fields: {} })
      await trial.rows([row('a', 'ann.lee@gmail.com'), row('b', 'AnnLee+news@gmail.com'), row('c', 'c@example.com')])
      expect((await trial.run()).code).toBe(0)
      expect(served.records()['audience_members']).toHaveLength(2)
      await trial.rows([row('b', 'AnnLee+news@gmail.com'), row('c', 'c@example.com')])
      expect((await trial.run()).code).toBe(0)
      expect(served.records()['audience_members']).toHaveLength(2)
      await trial.rows([row('c', 'c@example.com')])
      expect((await trial.run()).code).toBe(0)
      expect(served.records()['audience_members']).toMatchObject([{ emailAddress: sha256('c@example.com') }])
    } finally {
      await trial.remove()
    }
  })

  test('a member is sent again before the list forgets it', () => {
    const spec = connector.objects['audience']
    const config = connector.config.parse(served.destination)
    const refresh = (options: object): number | undefined =>
      typeof spec === 'function' ? spec({ config, options: connector.options.parse(options) }).refreshAfter : undefined
    expect(refresh({})).toBe(432 * 86_400_000)
    expect(refresh({ membership_duration: '30d' })).toBe(24 * 86_400_000)
  })
})

describe('the list', () => {
  const lists = async (method: string, path: string, json: object): Promise<unknown> => {
    await open().check()
    const authorization = served.exchanges.at(-1)?.request.headers['authorization'] ?? ''
    const url = `${served.url}/v1/accountTypes/GOOGLE_ADS/accounts/1234567890/userLists${path}`
    const headers = { authorization, 'content-type': 'application/json' }
    return (await fetch(url, { method, headers, body: JSON.stringify(json) })).json()
  }
  const patch = async (id: string, json: object): Promise<unknown> => {
    await lists('PATCH', `/${id}`, json)
    return open({ list: id }).describe?.('audience')
  }

  test('of a basic kind takes advertising ids too', async () => {
    const info = { displayName: 'Basic', ingestedUserListInfo: { uploadKeyTypes: ['PSEUDONYMOUS_ID'] } }
    const { id } = (await lists('POST', '', info)) as { id: string }
    const google = open({ list: id })
    await expect(google.describe?.('mobile-audience')).resolves.toHaveLength(2)
    await expect(google.describe?.('audience')).rejects.toThrow('takes PSEUDONYMOUS_ID, not CONTACT_ID')
    const device = change('upsert', 'a', { mobile_id: '38400000-8cf0-11bd-b23e-10b96e40000d' })
    expect(await write(google, 'mobile-audience', [device])).toEqual([{ key: 'a', result: 'accepted' }])
  })

  test('is looked at before a run', async () => {
    await expect(open({ list: '1001' }).describe?.('audience')).resolves.toHaveLength(2)
    await expect(open({ list: 1001 }).describe?.('audience')).resolves.toHaveLength(2)
    await expect(open().describe?.('audience')).rejects.toThrow('options.list is missing')
    await expect(open({ list: '4711' }).describe?.('audience')).rejects.toThrow('the account 123-456-7890 has no list 4711')
    await expect(open({ list: '1003' }).describe?.('audience')).rejects.toThrow('takes MOBILE_ID, not CONTACT_ID')
    await expect(open({ list: '1003' }).describe?.('mobile-audience')).resolves.toHaveLength(2)
    await expect(open({ list: '1002' }).describe?.('mobile-audience')).rejects.toThrow('takes CONTACT_ID, not MOBILE_ID')
    await expect(open().describe?.('conversion')).rejects.toThrow('options.conversion_action is missing')
    await expect(open({ conversion_action: '7001' }).describe?.('conversion')).resolves.toHaveLength(18)
  })

  test('that keeps members for less time than the sync believes is named', async () => {
    await expect(patch('1001', { membershipDuration: '2592000s' })).rejects.toMatchObject({
      message: expect.stringContaining('keeps members for 30 days') as string,
      hint: expect.stringContaining('membership_duration: 30d') as string,
    })
  })

  test('that is closed is named', async () => {
    await expect(patch('1002', { membershipStatus: 'CLOSED' })).rejects.toThrow('is closed')
  })
})

describe('logins', () => {
  const user = (more: object = {}): object => ({
    service_account: undefined,
    client_id: '4711-example.apps.googleusercontent.com',
    client_secret: 'GOCSPX-example',
    refresh_token: '1//example-refresh-token',
    ...more,
  })
  const asked = (): number => served.exchanges.filter(({ request }) => request.path === '/token').length

  test('where no token is given nothing was sent', async () => {
    const fails = (kind: 'status' | 'html'): void =>
      served.fault(({ request }) => (request.path !== '/token' ? undefined : kind === 'html' ? { kind } : { kind, status: 503 }))
    for (const kind of ['status', 'html'] as const) {
      fails(kind)
      await expect(write(open({ list: '1001' }), 'audience', [change('upsert', 'a', { email: 'a@example.com' })])).rejects.toMatchObject({
        name: 'NotSent',
      })
    }
  })

  test('one token serves requests that come together, and is renewed before it ends', async () => {
    const google = open()
    await Promise.all([google.check(), google.check(), google.check()])
    expect(asked()).toBe(1)
    clock += 3_500_000
    await google.check()
    expect(asked()).toBe(1)
    clock += 60_000
    await google.check()
    expect(asked()).toBe(2)
  })

  test('a user’s refresh token is a login too', async () => {
    await expect(open({}, user()).check()).resolves.toEqual({ id: 'GOOGLE_ADS/1234567890', name: 'Google Ads 123-456-7890' })
  })

  test('a refresh token that was revoked says how to get another', async () => {
    const google = open({}, user({ refresh_token: 'old' }))
    await expect(google.check()).rejects.toMatchObject({
      name: 'AuthError',
      message: 'Google refused the login (invalid_grant).',
      hint: expect.stringContaining('Grant the access again') as string,
    })
    // The next attempt asks again.
    await expect(google.check()).rejects.toThrow('invalid_grant')
    expect(asked()).toBe(2)
  })

  test('a private key that is none is told apart from one that Google refuses', async () => {
    const key = { client_email: 'x@example.iam.gserviceaccount.com', private_key: 'none' }
    await expect(open({}, { service_account: JSON.stringify(key) }).check()).rejects.toThrow('private_key in service_account can’t be read')
    await expect(open({}, fake.intruder?.(served.url)).check()).rejects.toThrow('Google refused the login')
  })

  test.each<[string, object, RegExp]>([
    ['no login', { service_account: undefined }, /needs service_account, or client_id/],
    ['two logins', { client_id: 'x' }, /goes without service_account/],
    ['a key file’s path', { service_account: 'key.json' }, /is no key file/],
    ['an account with dashes', { operating_account: { id: '123-456-7890' } }, /without dashes/],
  ])('%s is found in the configuration', (_, more, says) => {
    expect(connector.config.safeParse({ ...served.destination, ...more }).error?.message).toMatch(says)
  })
})

describe('refusals', () => {
  test('rows that Google names by index are rejected, the others may come again', async () => {
    served.refuseRows(2)
    const changes = ['a', 'b', 'c'].map((key) => change('upsert', key, { email: `${key}@example.com` }))
    expect(await write(open({ list: '1001' }), 'audience', changes)).toEqual([
      { key: 'a', result: 'rejected', code: 'INVALID_AUDIENCE_MEMBER', message: 'This audience member is not valid.', field: undefined },
      { key: 'b', result: 'rejected', code: 'INVALID_AUDIENCE_MEMBER', message: 'This audience member is not valid.', field: undefined },
      { key: 'c', result: 'retry', code: 'refused_with_others', message: expect.any(String) as string },
    ])
  })

  test('many bad rows keep none of the good ones waiting, even if Google names only the first of each request', async () => {
    const curt: typeof connector = {
      ...connector,
      open: (settings, io) =>
        connector.open(settings, {
          ...io,
          http: (...base) => ({
            async request(request) {
              const said = await io.http(...base).request(request)
              if (said.status !== 400) return said
              const body = JSON.parse(said.text) as { error: { details: { fieldViolations?: object[] }[] } }
              for (const { fieldViolations } of body.error.details) fieldViolations?.splice(1)
              const text = JSON.stringify(body)
              return { ...said, text, json: () => decodeJson(text) }
            },
          }),
        }),
    }
    const trial = await startTrial({
      connector: curt,
      destination: served.destination,
      object: 'audience',
      options: { list: '1001' },
      mode: 'mirror',
    })
    try {
      clock = Date.now()
      const row = (i: number) => ({
        key: `k${i}`,
        match: { address: `jane|doe${String.fromCodePoint(97 + i)}|us|${i % 3 === 1 ? '!' : '94045'}` },
        fields: {},
      })
      await trial.rows(Array.from({ length: 24 }, (_, i) => row(i)))
      const ran = await trial.run()
      expect(ran.record.counts).toMatchObject({ accepted: 16, rejected: 8, waiting: 0 })
      expect(served.records()['audience_members']).toHaveLength(16)
    } finally {
      await trial.remove()
    }
  })

  test('the field of a violation is told in the mapping’s words', () => {
    const said = rowsRefused(
      violations({
        field: 'audience_members.audience_members[1].user_data.user_identifiers[0].email_address',
        reason: 'INVALID_HEX_ENCODING',
      }),
      rows(2),
    )
    expect(said?.[1]).toMatchObject({ key: 'k1', result: 'rejected', code: 'INVALID_HEX_ENCODING', field: 'email' })
  })

  test.each([
    [{ field: 'audience_members[0]', reason: 'INVALID_USER_LIST_TYPE' }],
    [{ field: 'audience_members[0]', reason: 'SOMETHING_NEW' }],
    [{ field: 'destinations[0].product_destination_id', reason: 'INVALID_DESTINATION' }],
    [{ field: 'audience_members[9]', reason: 'INVALID_AUDIENCE_MEMBER' }],
  ])('a mistake of the request is not blamed on a row: %j', (violation) => {
    expect(rowsRefused(violations(violation), rows(3))).toBeNull()
    expect(thrownBy(() => refuse(violations(violation)))).toMatchObject({ name: 'Refused', code: violation.reason })
  })

  test.each<[string, HttpReply, object]>([
    ['a token that ended', error(401, 'ACCESS_TOKEN_EXPIRED'), { code: 'CDP3001', message: /ACCESS_TOKEN_EXPIRED/ }],
    ['a missing scope', error(403, 'ACCESS_TOKEN_SCOPE_INSUFFICIENT'), { code: 'CDP3002', hint: /auth\/datamanager/ }],
    ['an API that is turned off', error(403, 'SERVICE_DISABLED'), { code: 'CDP3002', hint: /Turn on the Data Manager API/ }],
    ['an account without access', error(403, 'PERMISSION_DENIED'), { code: 'CDP3002', hint: /Access and security.*login_account/ }],
    [
      'terms that were not accepted',
      violations({ field: 'terms_of_service', reason: 'TERMS_AND_CONDITIONS_NOT_SIGNED' }),
      { code: 'CDP3002', hint: /Accept the Customer Match terms/ },
    ],
    [
      'the limit of a minute',
      error(429, 'RATE_LIMIT_EXCEEDED', { metadata: { quota_limit: 'IngestionMutateRequestsPerMinutePerProject' } }),
      { name: 'RateLimited', message: /slow down/ },
    ],
    [
      'the quota of the day',
      error(429, 'RATE_LIMIT_EXCEEDED', { metadata: { quota_limit: 'IngestionMutateRequestsPerDayPerProject' } }),
      { name: 'RateLimited', message: /midnight Pacific/, afterMs: 3_600_000 },
    ],
  ])('%s says what to do', (_, answer, expected) => {
    const thrown = thrownBy(() => refuse(answer))
    for (const [name, value] of Object.entries(expected))
      if (value instanceof RegExp) expect(thrown[name]).toMatch(value)
      else expect(thrown[name]).toBe(value)
  })

  test('a wrong list or conversion action is told in the option’s words', async () => {
    const click = { gclid: 'c', event_timestamp: new Date(T0).toISOString() }
    await expect(write(open({ conversion_action: '99' }), 'conversion', [change('append', 'a', {}, click)])).rejects.toMatchObject({
      name: 'Refused',
      code: 'INVALID_CONVERSION_ACTION_ID',
      message: 'Conversion action ID is not valid. (check list or conversion_action in options)',
    })
  })

  test('a request that another one crossed may be repeated', () => {
    expect(thrownBy(() => refuse(error(409, 'ABORTED')))).toMatchObject({ name: 'UnknownOutcome', code: 'ABORTED' })
  })

  test('of a page the status alone counts', () => {
    const page = (status: number): HttpReply => ({ status, headers: {}, text: '<html>', json: () => decodeJson('<html>') })
    expect([401, 403, 429, 404].map((status) => thrownBy(() => refuse(page(status)))['name'])).toEqual([
      'AuthError',
      'AuthError',
      'RateLimited',
      'Refused',
    ])
  })

  test('a reply without an id confirms nothing', async () => {
    served.fault(({ write: isWrite }) => (isWrite ? { kind: 'empty' } : undefined))
    await expect(write(open({ list: '1001' }), 'audience', [change('upsert', 'a', { email: 'a@example.com' })])).rejects.toMatchObject({
      name: 'UnknownOutcome',
      code: 'no_request_id',
    })
  })
})

describe('requests that Google processes', () => {
  const status = (requestStatus: string, errorCounts: object[] = []): HttpReply =>
    reply(200, { requestStatusPerDestination: [{ requestStatus, errorInfo: { errorCounts } }] })
  const count = (reason: string): object => ({ reason: `PROCESSING_ERROR_REASON_${reason}`, recordCount: '2' })
  const results = (answer: HttpReply): unknown =>
    processed(answer, rows(2), (message) => log.push(message))?.map(({ result }) => result) ?? null

  test('come to an outcome for each row', () => {
    expect(results(status('PROCESSING'))).toBeNull()
    expect(results(status('SUCCESS'))).toEqual(['ok', 'ok'])
    expect(results(status('FAILED', [count('INVALID_GCLID')]))).toEqual(['rejected', 'rejected'])
    expect(results(status('FAILED', [count('INTERNAL_ERROR')]))).toEqual(['retry', 'retry'])
    expect(results(status('FAILED', [count('INVALID_GCLID'), count('INTERNAL_ERROR')]))).toEqual(['retry', 'retry'])
    expect(results(status('FAILED'))).toEqual(['rejected', 'rejected'])
    // Some arrived and some did not, by no fault of theirs: none of them counts as taken.
    expect(results(status('PARTIAL_SUCCESS', [count('INTERNAL_ERROR')]))).toEqual(['unknown', 'unknown'])
    // Which rows failed nobody says: they were taken, and that is all that is known.
    expect(results(status('PARTIAL_SUCCESS', [count('EVENT_TOO_OLD')]))).toEqual(['accepted', 'accepted'])
    expect(log).toEqual([expect.stringContaining('2 × PROCESSING_ERROR_REASON_EVENT_TOO_OLD')])
    expect(() => results(status('REQUEST_STATUS_UNKNOWN'))).toThrow('REQUEST_STATUS_UNKNOWN')
    expect(() => results(reply(200, {}))).toThrow('Google gives the status ""')
  })

  test('and that Google has already are delivered', () => {
    expect(results(status('FAILED', [count('DUPLICATE_TRANSACTION_ID'), count('DUPLICATE_GCLID')]))).toEqual(['ok', 'ok'])
    expect(results(status('PARTIAL_SUCCESS', [count('DUPLICATE_TRANSACTION_ID')]))).toEqual(['ok', 'ok'])
    expect(results(status('FAILED', [count('DUPLICATE_GCLID'), count('INVALID_GCLID')]))).toEqual(['rejected', 'rejected'])
  })

  test('are waited for when the destination says so, their id first', async () => {
    const google = open({ list: '1001' }, { wait: '1m' })
    const said = await write(google, 'audience', [
      change('upsert', 'bad', { email: 'none' }),
      change('upsert', 'a', { email: 'a@example.com' }),
    ])
    expect(said).toEqual([
      { token: 't-000000000001' },
      expect.objectContaining({ key: 'bad', result: 'rejected' }),
      { key: 'a', result: 'ok' },
    ])
  })

  test('are taken for what they were when they were sent: a conversion does not get too old meanwhile', async () => {
    const google = open({ conversion_action: '7001' }, { wait: '1m' })
    const late = [change('append', 'a', {}, { gclid: 'c', event_timestamp: new Date(T0 - 90 * 86_400_000 + 60_000).toISOString() })]
    const [begun] = await write(google, 'conversion', late)
    clock += 120_000
    const said: unknown[] = []
    const { token } = begun as JobToken
    for await (const one of google.resume?.(token, { sync: 's', run: 'r', object: 'conversion', op: 'append', changes: late }) ?? [])
      said.push(one)
    expect(said).toEqual([{ key: 'a', result: 'ok' }])
  })

  test('that Google is still at in the next run were taken: they are not sent over and over', async () => {
    const config = connector.config.parse({ ...served.destination, wait: 0 })
    const answers: Record<string, object> = {
      '': { access_token: 'x' },
      '/v1/audienceMembers:ingest': { requestId: 't-1' },
      '/v1/requestStatus:retrieve': { requestStatusPerDestination: [{ requestStatus: 'PROCESSING' }] },
    }
    const http = () => ({ request: ({ path }: { path: string }) => Promise.resolve(reply(200, answers[path])) })
    const io = { http, log: () => undefined, signal: new AbortController().signal, now: () => clock }
    const google = connector.open({ config, options: connector.options.parse({ list: '1001' }) }, io)
    const changes = [change('upsert', 'a', { email: 'a@example.com' })]
    await expect(write(google, 'audience', changes)).rejects.toMatchObject({ name: 'UnknownOutcome', code: 'processing' })
    const said: unknown[] = []
    for await (const one of google.resume?.('t-1', { sync: 's', run: 'r', object: 'audience', op: 'upsert', changes }) ?? []) said.push(one)
    expect(said).toEqual([{ key: 'a', result: 'accepted' }])
  })

  test('longer than the run waits are asked for by the next run, and not sent again', async () => {
    const trial = await startTrial({
      connector,
      destination: { ...served.destination, wait: 0 },
      object: 'audience',
      options: { list: '1001' },
      mode: 'mirror',
    })
    try {
      clock = Date.now()
      await trial.rows([{ key: 'a', match: { email: 'a@example.com' }, fields: {} }])
      const first = await trial.run()
      expect([first.code, first.record.counts.unknown]).toEqual([3, 1])
      const second = await trial.run()
      expect([second.code, second.stdout]).toEqual([0, expect.anything()])
      expect(bodies()).toHaveLength(1)
      const plan = await trial.plan()
      expect(plan.counts).toMatchObject({ add: 0, change: 0, remove: 0 })
    } finally {
      await trial.remove()
    }
  })
})

describe('conversions', () => {
  const send = (fields: Fields, key = 'a'): Promise<(Outcome | JobToken)[]> =>
    write(open({ conversion_action: '7001' }), 'conversion', [change('append', key, {}, fields)])
  const click = { gclid: 'c', event_timestamp: '2026-11-20T10:00:00Z' }

  test('carry what Google credits them by, with exact values', async () => {
    const value = decodeJson('12345678901234567890.12') as RawJson
    await send({
      ...click,
      email: 'A@Example.com',
      given_name: 'Jane',
      family_name: 'Doe',
      region_code: 'us',
      postal_code: 94045,
      conversion_value: value,
      currency: 'EUR',
      event_source: 'WEB',
      ad_user_data: true,
    })
    expect(served.exchanges.at(-1)?.request.text).toContain('"conversionValue":12345678901234567890.12')
    expect(bodies()[0]?.['events']).toMatchObject([
      {
        transactionId: 'id-a',
        eventTimestamp: '2026-11-20T10:00:00Z',
        adIdentifiers: { gclid: 'c' },
        userData: {
          userIdentifiers: [
            { emailAddress: sha256('a@example.com') },
            { address: { givenName: sha256('jane'), familyName: sha256('doe'), regionCode: 'US', postalCode: '94045' } },
          ],
        },
        currency: 'EUR',
        eventSource: 'WEB',
        consent: { adUserData: 'CONSENT_GRANTED' },
      },
    ])
  })

  test('that are sent twice count once', async () => {
    await send(click)
    await send(click)
    expect(served.records()['conversions']).toHaveLength(1)
  })

  test.each<[string, Fields, string, string]>([
    ['no time', { gclid: 'c' }, 'required', 'event_timestamp'],
    ['a time that is none', { gclid: 'c', event_timestamp: '20.11.2026' }, 'invalid_timestamp', 'event_timestamp'],
    ['an old click', { gclid: 'c', event_timestamp: '2026-08-01' }, 'too_old', 'event_timestamp'],
    ['nobody to credit', { event_timestamp: click.event_timestamp }, 'no_identifier', 'gclid'],
    ['half an address only', { event_timestamp: click.event_timestamp, given_name: 'Jane' }, 'no_identifier', 'gclid'],
    ['a currency in words', { ...click, currency: 'Euro' }, 'invalid_currency', 'currency'],
    ['a value in words', { ...click, conversion_value: '12' }, 'not_a_number', 'conversion_value'],
    ['an unknown source', { ...click, event_source: 'web' }, 'invalid_event_source', 'event_source'],
    ['an unknown field', { ...click, colour: 'red' }, 'unknown_field', 'colour'],
    ['a field that every object has', { ...click, constructor: 'red' }, 'unknown_field', 'constructor'],
    ['a list for a text', { ...click, transaction_id: ['a'] }, 'wrong_type', 'transaction_id'],
  ])('with %s are rejected', async (_, fields, code, field) => {
    expect(await send(fields)).toEqual([{ key: 'a', result: 'rejected', code, field, message: expect.any(String) as string }])
    expect(bodies()).toEqual([])
  })
})
