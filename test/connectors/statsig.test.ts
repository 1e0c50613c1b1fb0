/** Statsig beyond the conformance suite: messages, the segment that is made, values of events, contradictions. */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'
import statsigNode, { type Statsig } from 'statsig-node'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import connector from '../../connectors/statsig/index.ts'
import fake from '../../fakes/statsig/index.ts'
import { type Fields, RawJson } from '../../src/json.ts'
import { type FakeHost, serveFakes, type ServedFake } from '../../src/testing/index.ts'
import { startTrial, type Trial } from '../../src/testing/trial.ts'
import { batch, change, openDestination, type Opened, write } from '../support/destination.ts'

let host: FakeHost
let served: ServedFake
const opened: Opened[] = []
const servers: Server[] = []

beforeAll(async () => {
  host = await serveFakes([fake])
  served = host.fakes.get('statsig') as ServedFake
})
afterAll(async () => {
  for (const one of opened) await one.close()
  for (const server of servers) server.close()
  await host.close()
})
beforeEach(() => served.reset())

function open(options: object = {}, config: object = {}): Opened['destination'] {
  const one = openDestination(connector, { ...served.destination, ...config }, options)
  opened.push(one)
  return one.destination
}

/** A service that answers what no fake would; its address. */
async function answering(reply: (request: IncomingMessage) => { status: number; json?: unknown }): Promise<string> {
  const server = createServer((request, response) => {
    request.resume()
    const { status, json = {} } = reply(request)
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  servers.push(server)
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const member = (id: string | RawJson, op: 'upsert' | 'delete' = 'upsert') => change(`key-${String(id)}`, {}, { op, match: { id } })
const members = (...ids: string[]) => ({
  ...batch(
    'upsert',
    ids.map((id) => member(id)),
  ),
  object: 'id-list',
})
const events = (object: string, ...list: Fields[]) => ({
  ...batch(
    'append',
    list.map((fields, i) => change(String(i), { eventName: 'e', 'user.userID': 'u', ...fields }, { op: 'append' })),
  ),
  object,
})

async function trial(more: Record<string, unknown>, work: (trial: Trial) => Promise<void>): Promise<void> {
  const one = await startTrial({
    connector,
    destination: served.destination,
    object: 'id-list',
    options: { segment: 'pro_customers' },
    mode: 'mirror',
    ...more,
  })
  try {
    const event = { eventName: 'e', time: '2026-01-01T00:00:00Z', 'user.userID': 'u' }
    await one.rows([more['object'] === 'event' ? { key: '1', match: {}, fields: event } : { key: '1', match: { id: 'u1' }, fields: {} }])
    await work(one)
  } finally {
    await one.remove()
  }
}

describe('the account', () => {
  it('is the project, with the name of the company where the key may see it', async () => {
    expect(await open().check()).toEqual({ id: 'sandbox-project', name: 'Sandbox Inc. (sandbox-project)' })
    served.fault(({ request }) => (request.path.endsWith('/company') ? { kind: 'status', status: 403 } : undefined))
    expect(await open().check()).toEqual({ id: 'sandbox-project', name: 'sandbox-project' })
  })

  it.each([
    ['check', () => open({}, { console_api_key: 'console-x' }).check(), /console_api_key.*begins with "console-"/],
    [
      'events',
      async () => {
        const { error } = await write(open({}, { server_secret: 'secret-x' }), events('event', {}))
        throw error as Error
      },
      /server_secret.*begins with "secret-"/,
    ],
  ])('with a wrong key for %s says which setting to mend', async (_, ask, hint) => {
    const error = await ask().then(
      () => null,
      (thrown: unknown) => thrown,
    )
    expect(error).toMatchObject({ name: 'AuthError', code: 'CDP3001', hint: expect.stringMatching(hint) as string })
  })

  it('of a key that may only read says what to grant', async () => {
    served.fault(({ write: writes }) => (writes ? { kind: 'status', status: 403 } : undefined))
    const { error } = await write(open({ segment: 'pro_customers' }), members('u1'))
    expect(error).toMatchObject({ code: 'CDP3002', hint: expect.stringContaining('read and write') as string })
  })
})

describe('a service that is not there', () => {
  it('is no bug: the run says that it could not be asked', async () => {
    await trial({ destination: { ...served.destination, base_url: 'http://127.0.0.1:1' } }, async (it) => {
      const { code, record } = await it.run()
      expect([code, record.error?.code]).toEqual([1, 'CDP3201'])
    })
  })
})

describe('a segment', () => {
  it('that is not there, or is no ID list, ends the run before anything is sent', async () => {
    for (const [segment, says] of [
      ['nowhere', 'Statsig has no segment "nowhere".'],
      ['beta_by_rule', 'only an id_list has members'],
    ] as const)
      await trial({ options: { segment } }, async (it) => {
        const { code, stdout, stderr, record } = await it.run()
        expect([code, record.error?.code]).toEqual([1, 'CDP3200'])
        expect(stdout + stderr).toContain(says)
      })
    expect(served.exchanges.filter((one) => one.write)).toEqual([])
  })

  it('must be named, and events need a server secret: found without a request', async () => {
    await trial({ options: {} }, async (it) => {
      expect((await it.command('validate')).stderr).toContain('an id-list needs one')
    })
    const { server_secret: _, ...without } = served.destination
    await trial({ destination: without, object: 'event', options: {}, mode: 'append' }, async (it) => {
      expect((await it.command('validate')).stderr).toContain('is needed for events')
    })
    expect(served.exchanges).toEqual([])
  })

  it('is made once when asked, with its kind of id', async () => {
    const destination = open({ segment: 'new_list', create: true, id_type: 'companyID' })
    expect(await destination.describe?.('id-list')).toEqual([])
    expect(await open({ segment: 'new_list', create: true }).read?.('id-list', [{ id: 'a' }])).toEqual([null])
    expect(served.records()['segments']).toHaveLength(3)
    await write(destination, members('a'))
    await write(destination, members('b'))
    expect(served.records()['segments']?.at(-1)).toMatchObject({ id: 'new_list', type: 'id_list', idType: 'companyID', ids: ['a', 'b'] })
    expect(served.exchanges.filter(({ request }) => request.method === 'POST')).toHaveLength(1)
  })

  it('that is there is not made, and one of other ids is not filled', async () => {
    await write(open({ segment: 'pro_companies', create: true, id_type: 'companyID' }), members('c'))
    expect(served.exchanges.map(({ request }) => request.method)).toEqual(['GET', 'PATCH'])
    await expect(open({ segment: 'pro_companies', create: true }).describe?.('id-list')).rejects.toThrow('is a list of companyID')
  })

  it('whose kind of id the project does not know is not made, and no row is blamed for it', async () => {
    const { outcomes, error } = await write(open({ segment: 'new_list', create: true, id_type: 'accountID' }), members('a'))
    expect(outcomes).toEqual([])
    expect(error).toMatchObject({ code: 'CDP3200', hint: expect.stringContaining('id_type') as string })
  })

  it('that another sync makes at the same moment is filled', async () => {
    let there = false
    const url = await answering(({ method }) => {
      if (method === 'GET') return there ? { status: 200, json: { data: { type: 'id_list', idType: 'userID' } } } : { status: 404 }
      if (method === 'POST') {
        there = true
        return { status: 400, json: { status: 400, message: 'it exists' } }
      }
      return { status: 200, json: { message: 'IDs successfully added to Segment ID List' } }
    })
    const destination = open({ segment: 'new_list', create: true }, { base_url: url })
    expect(await write(destination, members('a'))).toMatchObject({ outcomes: [{ result: 'ok' }], error: null })
  })

  it('whose id is too short to be made is found without a request', async () => {
    await trial({ options: { segment: 'ab', create: true } }, async (it) => {
      expect((await it.command('validate')).stderr).toContain('needs 3 characters')
    })
  })

  it('that is deleted while it is written to ends the run, and no row is rejected for it', async () => {
    const { outcomes, error } = await write(open({ segment: 'gone' }), members('a'))
    expect([outcomes, error?.code]).toEqual([[], 'CDP3200'])
  })

  it('that is answered 200 with an error is not confirmed', async () => {
    const url = await answering(() => ({ status: 200, json: { status: 400, message: 'Invalid request.' } }))
    expect(await write(open({ segment: 'pro_customers' }, { base_url: url }), members('a'))).toMatchObject({
      outcomes: [],
      error: { name: 'UnknownOutcome' },
    })
  })

  it('that gives one page again and again is read to no end, and one without pages to its own', async () => {
    const url = await answering(() => ({ status: 200, json: { data: { ids: ['a'], count: 9 }, pagination: { nextPage: 'x' } } }))
    const endless = open({ segment: 'pro_customers' }, { base_url: url })
    await expect(endless.read?.('id-list', [{ id: 'b' }])).rejects.toMatchObject({ name: 'UnknownOutcome', code: 'same_page' })
    const whole = await answering(() => ({ status: 200, json: { data: { ids: ['a', 'b'], count: 2 } } }))
    const short = open({ segment: 'pro_customers' }, { base_url: whole })
    expect(await short.read?.('id-list', [{ id: 'b' }, { id: 'c' }])).toEqual([{ id: 'b' }, null])
  })

  it('is read anew after it was written to', async () => {
    const destination = open({ segment: 'pro_customers' })
    expect(await destination.read?.('id-list', [{ id: 'a' }])).toEqual([null])
    await write(destination, members('a'))
    expect(await destination.read?.('id-list', [{ id: 'a' }])).toEqual([{ id: 'a' }])
  })

  it('keeps numbers as texts with all their digits', async () => {
    await write(open({ segment: 'pro_customers' }), {
      ...batch('upsert', [member(new RawJson('12345678901234567890'))]),
      object: 'id-list',
    })
    expect(served.records()['members']).toEqual([{ segment: 'pro_customers', id: '12345678901234567890' }])
  })

  it('lists its members, page by page', async () => {
    const ids = Array.from({ length: 2100 }, (_, i) => `u${i}`)
    const destination = open({ segment: 'pro_customers' })
    await write(destination, members(...ids))
    const listed: unknown[] = []
    for await (const one of destination.list?.('id-list') ?? []) listed.push(one['id'])
    expect(listed).toEqual(ids)
    served.fault(({ request }) => (request.query.get('page') === '2' ? { kind: 'status', status: 500 } : undefined))
    await expect(destination.read?.('id-list', [{ id: 'u0' }])).rejects.toMatchObject({ name: 'UnknownOutcome' })
    served.fault(() => undefined)
    expect(await destination.read?.('id-list', [{ id: 'u2099' }, { id: 'x' }])).toEqual([{ id: 'u2099' }, null])
  })

  it('that is busy asks its rows to come back', async () => {
    served.fault(() => ({ kind: 'status', status: 409 }))
    const { outcomes, error } = await write(open({ segment: 'pro_customers' }), members('u1'))
    expect(error).toBeNull()
    expect(outcomes).toMatchObject([{ key: 'key-u1', result: 'retry', code: 'busy', afterMs: 5000 }])
  })

  it('whose change is answered with nothing is not confirmed', async () => {
    served.fault(() => ({ kind: 'empty' }))
    expect(await write(open({ segment: 'pro_customers' }), members('u1'))).toMatchObject({
      outcomes: [],
      error: { name: 'UnknownOutcome' },
    })
  })
})

describe('an event', () => {
  const time = '2026-01-01T00:00:00Z'

  it('arrives as Statsig names things: ids and metadata as texts, numbers exact, nulls left out', async () => {
    const fields = {
      value: new RawJson('12345678901234567890.5'),
      time,
      'user.userID': 7,
      'user.email': null,
      'user.custom.vip': true,
      'user.customIDs.companyID': new RawJson('12345678901234567890'),
      'user.statsigEnvironment.tier': 'staging',
      'metadata.n': 1.5,
      'metadata.list': [1, 'a'],
      'metadata.none': null,
    }
    expect(await write(open(), events('event', fields))).toEqual({ outcomes: [{ key: '0', result: 'accepted' }], error: null })
    const body = served.exchanges[0]?.request.text ?? ''
    expect(body).toContain('"value":12345678901234567890.5')
    expect(JSON.parse(body).events[0]).toMatchObject({
      eventName: 'e',
      time: Date.parse(time),
      user: {
        userID: '7',
        custom: { vip: true },
        customIDs: { companyID: '12345678901234567890' },
        statsigEnvironment: { tier: 'staging' },
      },
      metadata: { n: '1.5', list: '[1,"a"]' },
    })
    expect(body).not.toContain('null')
  })

  it('of JSON columns leaves nulls out, too', async () => {
    const user = { userID: 'u', email: null, customIDs: { companyID: 'c', deviceID: null } }
    await write(open(), events('event', { 'user.userID': null, user, metadata: { a: 'x', b: null } }))
    expect(served.records()['events']).toMatchObject([{ user: { userID: 'u', customIDs: { companyID: 'c' } }, metadata: { a: 'x' } }])
    expect(served.exchanges[0]?.request.text).not.toContain('null')
  })

  it('is the same as Statsig’s own Node SDK makes of it', async () => {
    const bodies: string[] = []
    const server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const body = Buffer.concat(chunks)
        if (request.url === '/v1/log_event')
          bodies.push((request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString('utf8'))
        response.writeHead(202, { 'content-type': 'application/json' }).end('{"success":true}')
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const api = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
    // Its types speak of a module that it is not when Node loads it.
    const sdk = statsigNode as unknown as typeof Statsig
    await sdk.initialize('secret-sandbox', { api, disableDiagnostics: true, disableIdListsSync: true, disableRulesetsSync: true })
    const user = {
      userID: '7',
      email: 'a@b.c',
      customIDs: { companyID: '9' },
      custom: { vip: true },
      statsigEnvironment: { tier: 'staging' },
    }
    sdk.logEventObject({ eventName: 'e', user, value: 9.5, metadata: { currency: 'EUR' }, time: Date.parse(time) as never })
    await sdk.flush()
    await sdk.shutdownAsync()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    const theirs = bodies.flatMap<any>((body) => JSON.parse(body).events).find(({ eventName }) => eventName === 'e')
    const { secondaryExposures: _, statsigMetadata: __, ...event } = theirs
    delete event.user.privateAttributes

    const fields = { 'user.userID': 7, 'user.email': 'a@b.c', 'user.customIDs.companyID': 9, 'user.custom.vip': true }
    const more = { 'user.statsigEnvironment.tier': 'staging', value: 9.5, 'metadata.currency': 'EUR', time }
    await write(open(), events('event', { ...fields, ...more }))
    expect(JSON.parse(served.exchanges[0]?.request.text ?? '').events).toEqual([event])
  })

  it('goes through the webhook under the names of the webhook', async () => {
    await write(open(), events('event-webhook', { time, value: 'x' }))
    expect(served.exchanges[0]?.request).toMatchObject({ method: 'POST', path: '/v1/webhooks/event_webhook' })
    expect(served.exchanges[0]?.request.json()).toEqual({
      event: 'e',
      value: 'x',
      timestamp: Date.parse(time),
      user: { userID: 'u' },
    })
  })

  it.each<[string, Fields, string, RegExp]>([
    ['no name', { eventName: null }, 'eventName', /not empty/],
    ['a long name', { eventName: 'x'.repeat(129) }, 'eventName', /129 characters/],
    ['a long value', { value: 'x'.repeat(129) }, 'value', /129 characters/],
    ['a value that is neither number nor text', { value: true }, 'value', /number or a text/],
    ['a date for a time', { time: '2026-01-01' }, 'time', /cast it/],
    ['seconds for a time', { time: 1767225600 }, 'time', /milliseconds/],
    ['a long user id', { 'user.userID': 'x'.repeat(129) }, 'user.userID', /129 characters/],
    ['nobody', { 'user.userID': null }, 'user.userID', /needs user.userID/],
    ['a time without a zone', { time: '2026-01-01T00:00:00' }, 'time', /zone/],
    ['microseconds for a time', { time: 1767225600000000 }, 'time', /microseconds/],
    ['a user that is no object', { 'user.userID': null, user: 'u' }, 'user', /object/],
    ['custom ids that are no object', { 'user.customIDs': 'c1' }, 'user.customIDs', /object/],
    ['attributes that are no object', { 'user.custom': ['vip'] }, 'user.custom', /object/],
    ['private attributes that are no object', { 'user.privateAttributes': 1 }, 'user.privateAttributes', /object/],
    ['a user field of its own', { 'user.plan': 'pro' }, 'user.plan', /user\.custom\.plan/],
    ['a tier that is none', { 'user.statsigEnvironment.tier': 'prod' }, 'user.statsigEnvironment.tier', /production/],
    ['an id that is no text', { 'user.customIDs.x': { a: 1 } }, 'user.customIDs.x', /must be a text/],
    ['metadata that is no object', { metadata: 'x' }, 'metadata', /object/],
    ['large metadata', { 'metadata.x': 'x'.repeat(4096) }, 'metadata', /bytes/],
    ['another field', { colour: 'red' }, 'colour', /no field "colour"/],
  ])('with %s is rejected with its field, and the others go', async (_, bad, field, says) => {
    const { outcomes, error } = await write(open(), events('event', { value: 1 }, bad, { value: 2 }))
    expect(error).toBeNull()
    expect(outcomes).toEqual([
      { key: '1', result: 'rejected', code: 'invalid_field', field, message: expect.stringMatching(says) as string },
      { key: '0', result: 'accepted' },
      { key: '2', result: 'accepted' },
    ])
    expect(served.records()['events']?.map(({ value }) => value)).toEqual([1, 2])
  })

  it('whose fate is unknown is held, for Statsig drops no repeats', async () => {
    await trial({ object: 'event', options: {}, mode: 'append' }, async (it) => {
      served.fault(({ write: writes }) => (writes ? { kind: 'reset', when: 'after' } : undefined))
      const first = await it.run()
      expect([first.code, first.record.counts.unknown]).toEqual([3, 1])
      served.fault(() => undefined)
      const second = await it.run()
      expect([second.code, second.record.counts.held]).toEqual([3, 1])
      expect(served.records()['events']).toHaveLength(1)
    })
  })

  it('that is answered success: false, or with a page, is not accepted', async () => {
    let reply = { status: 202, type: 'application/json', text: '{"success":false}' }
    const server = createServer((request, response) => {
      request.resume()
      response.writeHead(reply.status, { 'content-type': reply.type }).end(reply.text)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const destination = open({}, { events_url: url, webhooks_url: url })
    const doubt = { outcomes: [], error: { name: 'UnknownOutcome' } }
    for (const object of ['event', 'event-webhook']) expect(await write(destination, events(object, {}))).toMatchObject(doubt)
    reply = { status: 200, type: 'text/html', text: '<html></html>' }
    for (const object of ['event', 'event-webhook']) expect(await write(destination, events(object, {}))).toMatchObject(doubt)
    reply = { status: 200, type: 'text/plain', text: 'ok' }
    expect(await write(destination, events('event-webhook', {}))).toMatchObject({ outcomes: [{ result: 'accepted' }], error: null })
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
})

it('what is sent in a window is limited as Statsig says', () => {
  const limits = connector.limits as (settings: unknown, op: string, object: string) => { windows?: unknown; rows: number }
  expect(limits({}, 'upsert', 'id-list')).toMatchObject({
    rows: 25_000,
    windows: [
      { requests: 12, seconds: 10 },
      { requests: 900, seconds: 900 },
    ],
  })
  expect([limits({}, 'append', 'event').rows, limits({}, 'append', 'event-webhook').rows]).toEqual([500, 1])
})
