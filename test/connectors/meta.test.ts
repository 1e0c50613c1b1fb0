/** What the suite can't know of the Meta connector: hashes, schemas, counts without rows, codes of the Graph API, and rules of events. */
import { createHash, createHmac } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import connector from '../../connectors/meta/index.ts'
import { personal } from '../../connectors/meta/people.ts'
import { refuse } from '../../connectors/meta/reply.ts'
import fake from '../../fakes/meta/index.ts'
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

let host: FakeHost
let served: ServedFake

beforeAll(async () => {
  host = await serveFakes([fake])
  served = host.fakes.get('meta') as ServedFake
})
afterAll(() => host.close())
beforeEach(() => served.reset())

function open(options: object = {}, more: object = {}): Destination {
  const config = connector.config.parse({ ...served.destination, ...more })
  const signal = new AbortController().signal
  const http = createHttp({ signal, redact: (text) => text, trace: null, now: Date.now })
  return connector.open({ config, options: connector.options.parse(options) }, { http, log: () => undefined, signal, now: Date.now })
}

function change(op: Op, key: string, match: Fields, fields: Fields = {}): Change {
  const raw = (value: Fields): RawJson => new RawJson(encodeJson(value))
  const nothing = { onCreate: {}, ifEmpty: {}, changed: null, previousMatch: null, remoteId: null, attempts: 0 }
  return { key, op, match, matchJson: raw(match), fields, fieldsJson: raw(fields), id: `id-${key}`, ...nothing }
}

async function write(destination: Destination, object: string, changes: readonly Change[]): Promise<(Outcome | JobToken)[]> {
  const said: (Outcome | JobToken)[] = []
  for await (const one of destination.write({ sync: 's', run: 'r', object, op: changes[0]?.op ?? 'upsert', changes })) said.push(one)
  return said
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const last = (): Record<string, unknown> => served.exchanges.at(-1)?.request.json() as Record<string, unknown>

describe('normalisation', () => {
  test.each([
    ['email', ' John_Smith@gmail.com', '62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f'],
    ['phone', '+1 (650)555-1212', 'e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176'],
    ['first_name', 'Mary', '6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec'],
    ['last_name', '정', '8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14'],
    ['first_name', 'Valéry', '08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c'],
    ['city', 'Menlo Park', '0007a3d64c01e23d5075203c5977c14e4f7e01a3fc570686fcc50b5e1dd42685'],
    ['state', 'CA', '6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126'],
    ['postal_code', '94035-1234', '1794327a4d443904421f5ca1f3d72d0a62ba2f0770d80755ec2220fc0efb052e'],
    ['country', 'US', '79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621'],
    ['postal_code', 'SW1A 1AA', sha256('sw1a1aa')],
    ['postal_code', '00-950', sha256('00950')],
    ['last_name', "O'Neill-Šmit", sha256('oneillšmit')],
    ['gender', 'Female', sha256('f')],
    ['birth_year', '1990', sha256('1990')],
    ['birth_month', '5', sha256('05')],
    ['birth_day', '24', sha256('24')],
    ['birth_date', '1990-05-24', sha256('19900524')],
    ['email_sha256', sha256('a@example.com').toUpperCase(), sha256('a@example.com')],
    ['external_id', 'Kd-7', 'Kd-7'],
    ['mobile_id', '38400000-8CF0-11BD-B23E-10B96E40000D', '38400000-8cf0-11bd-b23e-10b96e40000d'],
  ])('%s %j', (field, raw, sent) => {
    expect(personal({ [field]: raw }, field)).toBe(sent)
  })

  test.each([
    ['email', 'John.Smith'],
    ['phone', '555'],
    ['phone', '1-800-FLOWERS'],
    ['phone', '0171 1234567'],
    ['phone', '0016505551212'],
    ['email', 'a@example.com\u00a0'],
    ['email', 'Ä@example.com'],
    ['email_sha256', ` ${sha256('a')}`],
    ['email_sha256', 'a@example.com'],
    ['country', 'USA'],
    ['gender', 'x'],
    ['birth_month', '13'],
    ['birth_date', '24.5.1990'],
    ['mobile_id', 'abc'],
    ['city', '123'],
    ['first_name', '...'],
  ])('%s %j is refused', (field, raw) => {
    expect(() => personal({ [field]: raw }, field)).toThrow(expect.objectContaining({ field }) as Error)
  })

  test('gmail addresses keep their dots and what follows a plus', () => {
    expect(personal({ email: 'a.b+c@gmail.com' }, 'email')).toBe(sha256('a.b+c@gmail.com'))
  })

  const spec = connector.objects['audience']
  const match = typeof spec === 'object' ? spec.match : {}
  test.each([
    ['email', ['a@example.com', ' A@Example.com\n', 'a@example.com\u00a0', '\u200aa@example.com', 'ä@example.com', 'Ä@example.com']],
    ['email_sha256', [sha256('a'), sha256('a').toUpperCase(), ` ${sha256('a')}`]],
    ['phone', ['16505551212', '+1 (650) 555-1212', '0016505551212', '00 1 650 555 1212', '016505551212']],
    ['phone_sha256', [sha256('a'), `${sha256('a')}\t`]],
    ['external_id', ['B-1', 'b-1', ' B-1']],
    [
      'mobile_id',
      ['38400000-8cf0-11bd-b23e-10b96e40000d', '38400000-8CF0-11BD-B23E-10B96E40000D', '38400000-8cf0-11bd-b23e-10b96e40000d '],
    ],
  ])('what is one %s to Meta is one member here: cleaning a spelling must not remove the person', (field, spellings) => {
    const members = new Map<string | undefined, Set<string | null>>()
    for (const text of spellings) {
      let sent: string | undefined
      try {
        sent = personal({ [field]: text }, field)
      } catch {
        continue
      }
      members.set(sent, (members.get(sent) ?? new Set()).add(normalise(match[field] ?? 'exact', text)))
    }
    expect([...members.values()].map(({ size }) => size)).toEqual([...members.values()].map(() => 1))
  })

  test('nothing is never hashed', () => {
    for (const value of ['', null]) expect(personal({ email: value }, 'email')).toBeUndefined()
  })
})

describe('members', () => {
  const audience = { audience: '6001' }

  test('of one request share a schema, with blanks for what a row does not have', async () => {
    const said = await write(open(audience), 'audience', [
      change('upsert', 'a', { email: 'a@example.com' }, { first_name: 'Ada', country: 'GB' }),
      change('upsert', 'b', { phone: '16505551212', external_id: 'B-1' }, { first_name: null }),
    ])
    expect(said).toEqual([
      { key: 'a', result: 'accepted' },
      { key: 'b', result: 'accepted' },
    ])
    expect(last()).toEqual({
      session: { session_id: expect.any(Number) as number, batch_seq: 1, last_batch_flag: true, estimated_num_total: 2 },
      payload: {
        schema: ['EMAIL', 'PHONE', 'EXTERN_ID', 'FN', 'COUNTRY'],
        data: [
          [sha256('a@example.com'), '', '', sha256('ada'), sha256('gb')],
          ['', sha256('16505551212'), 'B-1', '', ''],
        ],
      },
    })
  })

  test('are removed by the identifiers that are to go alone', async () => {
    const meta = open(audience)
    await write(meta, 'audience', [change('upsert', 'a', { email: 'a@example.com', phone: '16505551212' })])
    await write(meta, 'audience', [change('delete', 'a', { email: 'a@example.com' })])
    expect(served.exchanges.at(-1)?.request.method).toBe('DELETE')
    expect(last()['payload']).toEqual({ schema: ['EMAIL'], data: [[sha256('a@example.com')]] })
    expect(served.records()['members']).toEqual([{ audience_id: '6001', PHONE: sha256('16505551212') }])
  })

  test('two uploads are two sessions', async () => {
    const meta = open(audience)
    const ids: unknown[] = []
    for (let i = 0; i < 2; i++) {
      await write(meta, 'audience', [change('upsert', 'a', { email: 'a@example.com' })])
      ids.push((last()['session'] as Record<string, unknown>)['session_id'])
    }
    expect(new Set(ids).size).toBe(2)
  })

  test('that can’t be sent are rejected with their field, after those that were', async () => {
    const said = await write(open(audience), 'audience', [
      change('upsert', 'bad', { phone: '1' }),
      change('upsert', 'good', { email: 'a@example.com' }),
      change('upsert', 'two', { email: 'a@example.com', email_sha256: sha256('b@example.com') }),
      change('upsert', 'same', { email: 'a@example.com', email_sha256: sha256('a@example.com') }),
      change('upsert', 'unknown', { email: 'c@example.com' }, { shoe_size: 42 }),
      change('upsert', 'odd', { email: 'd@example.com' }, { constructor: 'x' }),
    ])
    expect(said).toEqual([
      { key: 'good', result: 'accepted' },
      { key: 'bad', result: 'rejected', code: 'invalid_phone', field: 'phone', message: expect.any(String) as string },
      { key: 'two', result: 'rejected', code: 'two_values', field: 'email_sha256', message: expect.any(String) as string },
      { key: 'same', result: 'rejected', code: 'two_values', field: 'email_sha256', message: expect.any(String) as string },
      { key: 'unknown', result: 'rejected', code: 'unknown_field', field: 'shoe_size', message: expect.any(String) as string },
      { key: 'odd', result: 'rejected', code: 'unknown_field', field: 'constructor', message: expect.any(String) as string },
    ])
  })

  test('that Meta counts as invalid are looked for, and no count is taken for another', async () => {
    const row = [change('upsert', 'a', { email: 'a@example.com' })]
    served.refuseRows(1)
    await expect(write(open(audience), 'audience', row)).rejects.toMatchObject({ name: 'Refused', code: 'invalid_entry' })
    served.fault(({ write: isWrite }) => (isWrite ? { kind: 'empty' } : undefined))
    await expect(write(open(audience), 'audience', row)).rejects.toMatchObject({ name: 'UnknownOutcome', code: 'not_all_received' })
  })
})

describe('the account and what is in it', () => {
  test('is told by id and name, with act_ or without', async () => {
    for (const id of ['123456789012345', 'act_123456789012345', 123456789012345])
      await expect(open({}, { ad_account_id: id }).check()).resolves.toEqual({ id: '123456789012345', name: 'Example shop' })
  })

  test('no secret stands in an address, and the app’s secret becomes a proof', async () => {
    await open({}, { app_secret: 'example-app-secret' }).check()
    const { query, headers } = served.exchanges.at(-1)?.request ?? {}
    expect(query?.get('access_token')).toBeNull()
    expect(headers?.['authorization']).toBe('Bearer EAAexampletoken')
    expect(query?.get('appsecret_proof')).toBe(createHmac('sha256', 'example-app-secret').update('EAAexampletoken').digest('hex'))
    await expect(open({}, { app_secret: 'of another app' }).check()).rejects.toMatchObject({
      name: 'AuthError',
      message: expect.stringContaining('app_secret does not belong') as string,
    })
  })

  test('audience and dataset are looked at before a run', async () => {
    await expect(open({ audience: '6001' }).describe?.('audience')).resolves.toContainEqual({ name: 'first_name', type: 'string' })
    await expect(open({ dataset: '7000001' }).describe?.('event')).resolves.toContainEqual({ name: 'event_name', type: 'string' })
    await expect(open().describe?.('audience')).rejects.toThrow('options.audience is missing')
    await expect(open().describe?.('event')).rejects.toThrow('options.dataset is missing')
    await expect(open({ audience: '6003' }).describe?.('audience')).rejects.toThrow('Meta flagged this custom audience')
    await expect(open({ audience: '999' }).describe?.('audience')).rejects.toMatchObject({
      name: 'Refused',
      code: '100/33',
      message: expect.stringContaining('check the id in options') as string,
    })
  })

  test('an audience that was flagged meanwhile ends the run and says where to look', async () => {
    await expect(write(open({ audience: '6003' }), 'audience', [change('upsert', 'a', { email: 'a@example.com' })])).rejects.toMatchObject({
      name: 'AuthError',
      hint: expect.stringContaining('Ads Manager') as string,
    })
  })
})

describe('errors of the Graph API', () => {
  const error = (status: number, detail: object, headers: Record<string, string> = {}): HttpReply => {
    const text = JSON.stringify({ error: { message: 'in words', type: 'OAuthException', ...detail } })
    return { status, headers, text, json: () => decodeJson(text) }
  }
  const thrownBy = (reply: HttpReply): Record<string, unknown> => {
    try {
      refuse(reply)
    } catch (thrown) {
      return { ...(thrown as object), name: (thrown as Error).name, message: (thrown as Error).message }
    }
  }
  const hour = { 'x-business-use-case-usage': JSON.stringify({ '1': [{ type: 'custom_audience', estimated_time_to_regain_access: 60 }] }) }

  test.each<[string, HttpReply, object]>([
    ['a token that ended', error(400, { code: 190, error_subcode: 463 }), { name: 'AuthError', code: 'CDP3001', hint: /Make a new token/ }],
    ['no token', error(400, { code: 2500 }), { name: 'AuthError', code: 'CDP3001' }],
    ['a missing permission', error(403, { code: 200 }), { name: 'AuthError', code: 'CDP3002', hint: /ads_management/ }],
    ['a missing permission as a 400', error(400, { code: 294 }), { name: 'AuthError', code: 'CDP3002' }],
    [
      'terms that were not accepted',
      error(400, { code: 2655 }),
      { name: 'AuthError', code: 'CDP3002', hint: /Accept the custom audience terms/ },
    ],
    [
      'terms that an app’s user did not accept',
      error(400, { code: 2663 }),
      { name: 'AuthError', hint: /Accept the custom audience terms/ },
    ],
    [
      'an audience that takes other data',
      error(400, { code: 2650, message: '(#2650) Failed to update the custom audience: why' }),
      { name: 'Refused', code: '2650', message: /Failed to update the custom audience: why/ },
    ],
    ['a pause that a failing service asks for', error(503, { code: 2 }, { 'retry-after': '7' }), { name: 'UnknownOutcome', afterMs: 7000 }],
    ['too many calls', error(400, { code: 80003 }, hour), { name: 'RateLimited', afterMs: 3_600_000, message: /for 60 minutes/ }],
    ['too many calls, for nobody knows how long', error(400, { code: 17 }), { name: 'RateLimited', afterMs: undefined }],
    ['the app’s limit', error(400, { code: 4 }, { 'x-app-usage': '{"call_count":100}' }), { name: 'RateLimited', afterMs: undefined }],
    ['a failure as a 400', error(400, { code: 100, is_transient: true }), { name: 'UnknownOutcome' }],
    ['a failure', error(500, { code: 1 }), { name: 'UnknownOutcome', code: '1' }],
    [
      'a refused parameter',
      error(400, { code: 100, error_subcode: 2804003, error_user_msg: 'too old' }),
      { name: 'Refused', code: '100/2804003', message: 'too old' },
    ],
  ])('%s', (_, reply, expected) => {
    const thrown = thrownBy(reply)
    for (const [name, value] of Object.entries(expected))
      if (value instanceof RegExp) expect(thrown[name]).toMatch(value)
      else expect(thrown[name]).toBe(value)
  })

  test('of a page the status alone counts', () => {
    const page = (status: number): HttpReply => ({ status, headers: {}, text: '<html>', json: () => decodeJson('<html>') })
    expect([403, 400, 503].map((status) => thrownBy(page(status))['name'])).toEqual(['AuthError', 'Refused', 'UnknownOutcome'])
  })
})

describe('events', () => {
  const now = Math.floor(Date.now() / 1000)
  const lead = {
    event_name: 'Lead',
    event_time: new Date((now - 60) * 1000).toISOString(),
    action_source: 'system_generated',
    email: 'a@example.com',
  }
  const send = (fields: Fields, options: object = {}): Promise<(Outcome | JobToken)[]> =>
    write(open({ dataset: '7000001', ...options }), 'event', [change('append', 'a', {}, fields)])

  test('carry hashes of the person and exact values of the sale', async () => {
    const said = await send(
      {
        ...lead,
        event_name: 'Purchase',
        phone: '+1 650 555 1212',
        client_ip_address: '192.0.2.1',
        fbp: 'fb.1.1',
        value: decodeJson('12345678901234567890.12'),
        currency: 'EUR',
        content_ids: ['p1'],
        custom_data: { plan: 'pro' },
        opt_out: false,
      },
      { test_event_code: 'TEST1' },
    )
    expect(said).toEqual([{ key: 'a', result: 'ok' }])
    expect(served.exchanges.at(-1)?.request.text).toContain('"value":12345678901234567890.12')
    expect(last()).toMatchObject({
      test_event_code: 'TEST1',
      data: [
        {
          event_name: 'Purchase',
          event_time: now - 60,
          event_id: 'id-a',
          action_source: 'system_generated',
          opt_out: false,
          user_data: { em: sha256('a@example.com'), ph: sha256('16505551212'), client_ip_address: '192.0.2.1', fbp: 'fb.1.1' },
          custom_data: { plan: 'pro', currency: 'EUR', content_ids: ['p1'] },
        },
      ],
    })
  })

  test('that are sent twice count once', async () => {
    await send(lead)
    await send(lead)
    expect(served.records()['events']).toHaveLength(1)
  })

  test('a time may be a number of seconds', async () => {
    await send({ ...lead, event_time: now - 10 })
    expect(served.records()['events']).toMatchObject([{ event_time: now - 10 }])
  })

  test('of a shop may be 62 days old, others 7', async () => {
    const old = { ...lead, event_time: now - 30 * 86_400 }
    expect(await send(old)).toMatchObject([{ result: 'rejected', code: 'too_old', field: 'event_time' }])
    expect(await send({ ...old, action_source: 'physical_store' })).toEqual([{ key: 'a', result: 'ok' }])
  })

  test.each<[string, Fields, string, string]>([
    ['no name', { event_name: null }, 'required', 'event_name'],
    ['no time', { event_time: null }, 'required', 'event_time'],
    ['a time that is none', { event_time: '1.11.2026' }, 'invalid_timestamp', 'event_time'],
    ['a time of no zone', { event_time: '2026-11-20 10:00:00' }, 'invalid_timestamp', 'event_time'],
    ['a time of no zone, in ISO', { event_time: '2026-11-20T10:00:00' }, 'invalid_timestamp', 'event_time'],
    ['no source', { action_source: '' }, 'required', 'action_source'],
    ['an unknown source', { action_source: 'shop' }, 'invalid_action_source', 'action_source'],
    ['nobody', { email: null }, 'no_identifier', 'email'],
    ['no address of its website', { action_source: 'website', client_user_agent: 'x' }, 'required', 'event_source_url'],
    ['no browser of its website', { action_source: 'website', event_source_url: 'https://example.com' }, 'required', 'client_user_agent'],
    ['no value of a purchase', { event_name: 'Purchase', currency: 'EUR' }, 'required', 'value'],
    ['no currency of a purchase', { event_name: 'Purchase', value: 1 }, 'required', 'currency'],
    ['a value in words', { value: '12' }, 'not_a_number', 'value'],
    ['a currency in words', { currency: 'Euro' }, 'invalid_currency', 'currency'],
    ['a list for custom_data', { custom_data: [1] }, 'wrong_type', 'custom_data'],
    ['an opt_out in words', { opt_out: 'no' }, 'not_a_boolean', 'opt_out'],
    ['an unknown field', { colour: 'red' }, 'unknown_field', 'colour'],
    ['a field that every object has', { constructor: 'red' }, 'unknown_field', 'constructor'],
    ['two addresses', { email_sha256: sha256('b@example.com') }, 'two_values', 'email_sha256'],
  ])('with %s are rejected', async (_, fields, code, field) => {
    expect(await send({ ...lead, ...fields })).toEqual([
      { key: 'a', result: 'rejected', code, field, message: expect.any(String) as string },
    ])
    expect(served.exchanges).toEqual([])
  })

  test('a count that differs confirms nothing', async () => {
    served.fault(({ write: isWrite }) => (isWrite ? { kind: 'empty' } : undefined))
    await expect(send(lead)).rejects.toMatchObject({ name: 'UnknownOutcome', code: 'not_all_received' })
  })

  test('one that Meta refuses is found among the others, which arrive', async () => {
    const trial = await startTrial({
      connector,
      destination: served.destination,
      object: 'event',
      options: { dataset: '7000001' },
      mode: 'append',
    })
    try {
      const event = (key: string, person: Record<string, string | null>) => ({
        key,
        match: {},
        fields: {
          event_name: 'Lead',
          event_time: lead.event_time,
          action_source: 'system_generated',
          external_id: null,
          country: null,
          ...person,
        },
      })
      const good = ['a', 'b', 'c', 'd', 'e', 'f'].map((key) => event(key, { external_id: key }))
      // A country alone finds nobody: that is Meta's to judge.
      await trial.rows([...good, event('broad', { country: 'US' })])
      const ran = await trial.run()
      expect([ran.code, ran.record.counts.rejected, ran.record.counts.delivered]).toEqual([3, 1, 6])
      expect((await trial.command('rejected', 'trial', '--json', '--show-values')).stdout).toMatch(/sufficient customer information/)
      expect(served.records()['events']).toHaveLength(6)
    } finally {
      await trial.remove()
    }
  })
})

const specs = process.env['CDP_SYNC_SPECS']
test.skipIf(!specs)('requests to audiences have the parameters that Meta’s own SDK knows (CDP_SYNC_SPECS)', async () => {
  const { apis } = JSON.parse(await readFile(join(specs ?? '', 'meta/CustomAudience.json'), 'utf8')) as {
    apis: { method: string; endpoint?: string; params: { name: string }[] }[]
  }
  const meta = open({ audience: '6001' })
  for (const op of ['upsert', 'delete'] as const) {
    await write(meta, 'audience', [change(op, 'a', { email: 'a@example.com' })])
    const { method } = served.exchanges.at(-1)?.request ?? {}
    const known = apis.find((api) => api.method === method && api.endpoint === 'users')?.params.map(({ name }) => name)
    expect(known).toEqual(expect.arrayContaining(Object.keys(last())))
  }
})
