/** Segment beyond the conformance suite: what a message looks like, ids, sizes, regions, and Segment's own library. */
import { Analytics } from '@segment/analytics-node'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import connector from '../../connectors/segment.ts'
import fake from '../../fakes/segment.ts'
import type { Batch, Change } from '../../src/connector.ts'
import { type Fields, RawJson } from '../../src/json.ts'
import { type FakeHost, serveFakes, type ServedFake } from '../../src/testing/index.ts'
import type { Op } from '../../src/types.ts'
import { batch, change, openDestination, type Opened, write } from '../support/destination.ts'

let host: FakeHost
let served: ServedFake
const opened: Opened[] = []

beforeAll(async () => {
  host = await serveFakes([fake])
  served = host.fakes.get('segment') as ServedFake
})
afterAll(async () => {
  for (const one of opened) await one.close()
  await host.close()
})
beforeEach(() => served.reset())

function open(config: object = {}): Opened['destination'] {
  const one = openDestination(connector, { ...served.destination, ...config })
  opened.push(one)
  return one.destination
}

const of = (object: string, op: Op, ...changes: Change[]): Batch => ({ ...batch(op, changes), object })
const user = (userId: string, traits: Fields = {}, more: Partial<Change> = {}): Change =>
  change(userId, traits, { match: { userId }, ...more })
const event = (key: string, fields: Fields = {}): Change => change(key, { event: 'Order Completed', userId: 'u1', ...fields })

type Message = Record<string, unknown> & { messageId: string }
const sent = (): Message[] => served.exchanges.flatMap(({ request }) => (request.json() as { batch: Message[] }).batch)

describe('a message', () => {
  it('has ids as texts, exact numbers, nested traits, and a context of its own', async () => {
    const traits = {
      seats: new RawJson('12345678901234567890'),
      'address.city': 'Rome',
      'context.ip': '203.0.113.7',
      plan: null,
      'a\\.b': 1,
    }
    const { outcomes } = await write(
      open(),
      of('identify', 'upsert', change('k', traits, { match: { userId: new RawJson('12345678901234567890') } })),
    )
    expect(outcomes).toEqual([{ key: 'k', result: 'accepted' }])
    const { text = '', headers, path } = served.exchanges[0]?.request ?? {}
    expect([path, headers?.['authorization']]).toEqual(['/v1/batch', `Basic ${Buffer.from('fake-write-key:').toString('base64')}`])
    expect(text).toContain('"userId":"12345678901234567890"')
    expect(text).toContain('"seats":12345678901234567890')
    expect(sent()[0]).toMatchObject({
      type: 'identify',
      traits: { address: { city: 'Rome' }, plan: null, 'a.b': 1 },
      context: { ip: '203.0.113.7' },
    })
    expect(text).not.toContain('fake-write-key')
  })

  it('has traits and contexts of any name', async () => {
    const traits = Object.fromEntries(
      ['constructor', 'toString', '__proto__', 'id', 'type', 'context.__proto__', 'context.constructor'].map((name) => [name, 'x']),
    )
    await write(open(), of('identify', 'upsert', user('u1', traits)))
    const { text = '' } = served.exchanges[0]?.request ?? {}
    expect(text).toContain('"traits":{"constructor":"x","toString":"x","__proto__":"x","id":"x","type":"x"}')
    expect(text).toContain('"context":{"__proto__":"x","constructor":"x"}')
    expect(Object.keys(sent()[0] ?? {}).sort()).toEqual(['context', 'messageId', 'traits', 'type', 'userId'])
  })

  it.each(['1969-12-31T23:59:59.5Z', '2026-01-05', '2026-01-05T09:30:00+02:00'])('of an event may be of %s', async (timestamp) => {
    const { outcomes } = await write(open(), of('track', 'append', event('k', { timestamp })))
    expect(outcomes).toEqual([{ key: 'k', result: 'accepted' }])
    expect(sent()[0]?.['timestamp']).toBe(timestamp)
  })

  it('of a group has the group’s traits and who is in it', async () => {
    const one = change('k', { name: 'Acme' }, { match: { groupId: 10, anonymousId: 'a1' } })
    await write(open(), of('group', 'upsert', one))
    expect(sent()[0]).toMatchObject({ type: 'group', groupId: '10', anonymousId: 'a1', traits: { name: 'Acme' } })
  })

  it('of an event takes what is not its own for properties', async () => {
    const fields = { timestamp: '2026-01-05T09:30:00Z', total: 10.5, 'shipping.city': 'Rome', 'context.ip': '203.0.113.7' }
    await write(open(), of('track', 'append', event('k', fields)))
    expect(sent()[0]).toEqual({
      type: 'track',
      messageId: expect.any(String) as string,
      event: 'Order Completed',
      userId: 'u1',
      timestamp: '2026-01-05T09:30:00Z',
      properties: { total: 10.5, shipping: { city: 'Rome' } },
      context: { ip: '203.0.113.7' },
    })
  })

  it('that clears the traits of a user who left is an identify', async () => {
    await write(open(), of('identify', 'update', user('u1', { plan: null })))
    expect(sent()[0]).toMatchObject({ type: 'identify', userId: 'u1', traits: { plan: null } })
  })

  it.each<[string, Batch, string, RegExp]>([
    ['an event without a name', of('track', 'append', event('k', { event: null })), 'event', /drops a track without event/],
    ['an event of nobody', of('track', 'append', event('k', { userId: '' })), 'userId', /userId or anonymousId/],
    ['a time that is none', of('track', 'append', event('k', { timestamp: 'yesterday' })), 'timestamp', /ISO 8601/],
    ['a time in words', of('track', 'append', event('k', { timestamp: 'Jan 5, 2026' })), 'timestamp', /ISO 8601/],
    ['a number for a time', of('track', 'append', event('k', { timestamp: 5 })), 'timestamp', /ISO 8601/],
    ['a long id', of('identify', 'upsert', change('k', { a: 'x' }, { match: { userId: 'u'.repeat(33_000) } })), 'userId', /takes 32000/],
    ['a list for an id', of('track', 'append', event('k', { userId: ['a'] })), 'userId', /a text/],
    ['a group without an id', of('group', 'upsert', change('k', {}, { match: { userId: 'u1' } })), 'groupId', /without groupId/],
    ['a group of nobody', of('group', 'upsert', change('k', {}, { match: { groupId: 'g1' } })), 'userId', /userId or anonymousId/],
    [
      'too much',
      of('identify', 'upsert', change('k', { a: 'x', bio: 'ü'.repeat(16_000) }, { match: { userId: 'u' } })),
      'bio',
      /takes 32000/,
    ],
  ])('that Segment would drop without a word is rejected: %s', async (_, one, field, says) => {
    const { outcomes, error } = await write(open(), {
      ...one,
      changes: [...one.changes, ...of(one.object, one.op, good(one.object)).changes],
    })
    expect(error).toBeNull()
    expect(outcomes).toEqual([
      { key: 'k', result: 'rejected', code: expect.any(String) as string, field, message: expect.stringMatching(says) as string },
      { key: 'good', result: 'accepted' },
    ])
    expect([sent().length, served.records()['dropped']]).toEqual([1, []])
  })

  const good = (object: string): Change =>
    object === 'track'
      ? event('good')
      : change('good', { a: 1 }, { match: object === 'group' ? { groupId: 'g', userId: 'u' } : { userId: 'u' } })
})

describe('the message id', () => {
  const idsOf = async (sync: string, object: string, config: object, ...changes: Change[]): Promise<string[]> => {
    served.reset()
    await write(open(config), { ...of(object, object === 'track' ? 'append' : 'upsert', ...changes), sync })
    return sent().map(({ messageId }) => messageId)
  }

  it('is the same for the same change only, and Segment drops the second', async () => {
    const destination = open()
    await write(destination, of('track', 'append', event('1'), event('2')))
    const { outcomes } = await write(destination, of('track', 'append', event('1'), event('2')))
    expect(outcomes.map((one) => 'result' in one && one.result)).toEqual(['accepted', 'accepted'])
    expect(served.records()['messages']).toHaveLength(2)
    const ids = sent().map(({ messageId }) => messageId)
    expect([ids[2], ids[3], new Set(ids).size]).toEqual([ids[0], ids[1], 2])
    for (const id of ids) expect(id.length).toBeLessThanOrEqual(100)
  })

  it('differs between sources and syncs, and an event keeps its own when its sync is renamed', async () => {
    const [a] = await idsOf('one', 'identify', {}, user('u'))
    const [b] = await idsOf('two', 'identify', {}, user('u'))
    const [c] = await idsOf('one', 'identify', { write_key: 'another' }, user('u'))
    expect(new Set([a, b, c]).size).toBe(3)
    expect(await idsOf('one', 'track', {}, event('1'))).toEqual(await idsOf('two', 'track', {}, event('1')))
  })
})

describe('a batch', () => {
  it('of large messages goes in several requests, none over the limit', async () => {
    const users = Array.from({ length: 40 }, (_, i) => user(`u${i}`, { bio: 'ü'.repeat(15_000) }))
    const { outcomes, error } = await write(open(), of('identify', 'upsert', ...users))
    expect([outcomes.length, error]).toEqual([40, null])
    expect(served.exchanges.length).toBeGreaterThan(1)
    for (const { request } of served.exchanges) expect(Buffer.byteLength(request.text)).toBeLessThanOrEqual(500_000)
    expect(served.records()['users']).toHaveLength(40)
  })

  it('is not taken when Segment does not say so', async () => {
    for (const kind of ['empty', 'html'] as const) {
      served.fault(() => ({ kind }))
      const { outcomes, error } = await write(open(), of('identify', 'upsert', user('u')))
      expect([outcomes, (error as Error).name]).toEqual([[], 'UnknownOutcome'])
    }
  })

  it('of several requests counts as far as Segment took it', async () => {
    let n = 0
    served.fault(() => (++n === 2 ? { kind: 'status', status: 429, retryAfter: 7 } : undefined))
    const users = Array.from({ length: 40 }, (_, i) => user(`u${i}`, { bio: 'ü'.repeat(15_000) }))
    const { outcomes, error } = await write(open(), of('identify', 'upsert', ...users))
    expect(outcomes).toHaveLength((served.records()['users'] ?? []).length)
    expect(outcomes.length).toBeGreaterThan(0)
    expect(error).toMatchObject({ name: 'RateLimited', afterMs: 7000 })
  })

  it('that is refused is refused with Segment’s words', async () => {
    served.refuseRows(1)
    expect((await write(open(), of('identify', 'upsert', user('u')))).error).toMatchObject({
      name: 'Refused',
      message: 'Bad Request',
      status: 400,
    })
  })

  it('of rejected rows alone asks nobody', async () => {
    await write(open(), of('track', 'append', event('1', { event: '' })))
    expect(served.exchanges).toEqual([])
  })
})

describe('the account', () => {
  it('is the source, by a hash of its key, which it does not show', async () => {
    const { id, name } = await open().check()
    expect(id).toMatch(/^[0-9a-f]{64}$/)
    expect(name).toBe(`source ${id.slice(0, 8)} (US)`)
    expect((await open({ write_key: 'another' }).check()).id).not.toBe(id)
    expect(served.exchanges).toEqual([])
  })

  it.each([
    ['us', 'https://api.segment.io/v1/batch'],
    ['eu', 'https://events.eu1.segmentapis.com/v1/batch'],
  ])('in region %s is asked at its own address', async (region, url) => {
    const asked: string[] = []
    const config = connector.config.parse({ write_key: 'k', region })
    const destination = connector.open(
      { config, options: {} },
      {
        http: (base) => ({
          request: ({ path }) => {
            asked.push(base + path)
            return Promise.reject(new Error('offline'))
          },
        }),
        log: () => undefined,
        signal: new AbortController().signal,
        now: () => 0,
      },
    )
    await write(destination, of('identify', 'upsert', user('u')))
    expect(asked).toEqual([url])
  })
})

it('Segment’s own library sends the same messages, but for what it adds of itself', async () => {
  const bodies: Message[] = []
  const recorder = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      bodies.push(...(JSON.parse(Buffer.concat(chunks).toString()) as { batch: Message[] }).batch)
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"success":true}')
    })
  })
  await new Promise<void>((resolve) => recorder.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(recorder.address() as AddressInfo).port}`
  const timestamp = '2026-01-05T09:30:00.000Z'
  const analytics = new Analytics({ writeKey: 'k', host: url, flushAt: 3 })
  analytics.identify({ userId: 'u1', traits: { plan: 'pro', address: { city: 'Rome' }, gone: null } })
  analytics.group({ userId: 'u1', groupId: 'g1', traits: { name: 'Acme' } })
  analytics.track({
    userId: 'u1',
    event: 'Order Completed',
    properties: { total: 10.5 },
    timestamp: new Date(timestamp),
    context: { ip: '203.0.113.7' },
  })
  await analytics.closeAndFlush()
  const theirs = bodies.splice(0)

  const destination = open({ base_url: url })
  await write(destination, of('identify', 'upsert', user('u1', { plan: 'pro', 'address.city': 'Rome', gone: null })))
  await write(destination, of('group', 'upsert', change('g', { name: 'Acme' }, { match: { userId: 'u1', groupId: 'g1' } })))
  await write(destination, of('track', 'append', event('e', { total: 10.5, timestamp, 'context.ip': '203.0.113.7' })))
  recorder.close()

  const common = (message: Message): Record<string, unknown> => {
    const { type, userId, groupId, event: name, traits, properties } = message
    const { ip } = (message['context'] ?? {}) as Record<string, unknown>
    return { type, userId, groupId, event: name, traits, properties, ip, timestamp: type === 'track' ? message['timestamp'] : undefined }
  }
  expect(bodies.map(common)).toEqual(theirs.map(common))
  expect(theirs).toHaveLength(3)
  // Nothing of ours is unknown to the library.
  for (const [i, message] of bodies.entries()) expect(Object.keys(theirs[i] ?? {})).toEqual(expect.arrayContaining(Object.keys(message)))
})
