/** LaunchDarkly beyond the conformance suite: messages, both kinds of segments, contention, contradictions. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import connector from '../../connectors/launchdarkly/index.ts'
import fake from '../../fakes/launchdarkly/index.ts'
import { RawJson, type Value } from '../../src/json.ts'
import { type FakeHost, serveFakes, type ServedFake } from '../../src/testing/index.ts'
import { startTrial } from '../../src/testing/trial.ts'
import type { Op } from '../../src/types.ts'
import { batch, change, openDestination, type Opened, write } from '../support/destination.ts'

let host: FakeHost
let served: ServedFake
const opened: Opened[] = []

beforeAll(async () => {
  host = await serveFakes([fake])
  served = host.fakes.get('launchdarkly') as ServedFake
})
afterAll(async () => {
  for (const one of opened) await one.close()
  await host.close()
})
beforeEach(() => served.reset())

function open(options: object = {}, config: object = {}): Opened['destination'] {
  const one = openDestination(connector, { ...served.destination, ...config }, { segment: 'pro-customers', ...options })
  opened.push(one)
  return one.destination
}

const BIG = { segment: 'pro-companies', context_kind: 'organization' }
const keys = (object: string, op: Op, ...list: Value[]) => ({
  ...batch(
    op,
    list.map((key, i) => change(String(i), {}, { match: { key } })),
  ),
  object,
})

describe('the account', () => {
  it('is the environment', async () => {
    expect(await open().check()).toEqual({ id: '57be1db38b75bf0772d11384', name: 'growth / Production' })
    expect((await open({}, { environment: 'test' }).check()).id).not.toBe('57be1db38b75bf0772d11384')
  })

  it('that is not there, and a token that is wrong or may not write, say what to mend', async () => {
    await expect(open({}, { environment: 'prod' }).check()).rejects.toMatchObject({ code: 'CDP3200' })
    await expect(open({}, { access_token: 'sdk-1' }).check()).rejects.toMatchObject({
      code: 'CDP3001',
      hint: expect.stringContaining('begins with "api-"') as string,
    })
    served.fault(() => ({ kind: 'status', status: 403 }))
    await expect(open().check()).rejects.toMatchObject({ code: 'CDP3002', hint: expect.stringContaining('viewProject') as string })
    expect((await write(open(), keys('segment', 'upsert', 'a'))).error).toMatchObject({
      code: 'CDP3002',
      hint: expect.stringContaining('updateIncluded on proj/growth:env/production:segment/pro-customers') as string,
    })
  })
})

describe('a segment', () => {
  it.each<[string, string, object, RegExp]>([
    ['that is not there', 'segment', { segment: 'nowhere' }, /no segment "nowhere" in growth/],
    ['that is big', 'segment', { segment: 'all-customers' }, /is a big segment.*/],
    ['that is not big', 'big-segment', {}, /is a standard segment/],
    ['of another kind of contexts', 'big-segment', { segment: 'pro-companies' }, /another kind than "user"/],
  ])('%s ends the run before anything is sent', async (_, object, options, says) => {
    const trial = await startTrial({
      connector,
      destination: served.destination,
      object,
      options: { segment: 'pro-customers', ...options },
      mode: 'mirror',
    })
    await trial.rows([{ key: '1', match: { key: 'u1' }, fields: {} }])
    const { code, record, stdout, stderr } = await trial.run()
    await trial.remove()
    expect([code, record.error?.code]).toEqual([1, 'CDP3200'])
    expect(stdout + stderr).toMatch(says)
    expect(served.exchanges.filter((one) => one.write)).toEqual([])
  })

  it('of the standard kind is changed by a semantic patch that says who did it', async () => {
    expect(await write(open(), keys('segment', 'upsert', 'a', new RawJson('12345678901234567890')))).toMatchObject({
      outcomes: [
        { key: '0', result: 'ok' },
        { key: '1', result: 'ok' },
      ],
    })
    const { request } = served.exchanges.at(-1) ?? {}
    expect(request?.headers['content-type']).toBe('application/json; domain-model=launchdarkly.semanticpatch')
    expect(request?.json()).toEqual({
      environmentKey: 'production',
      comment: 'cdp-sync: crm-contacts, run run-1',
      instructions: [{ kind: 'addIncludedTargets', contextKind: 'user', values: ['a', '12345678901234567890'] }],
    })
    await write(open(), keys('segment', 'delete', 'a'))
    expect(served.records()['members']).toEqual([
      { environment: 'production', segment: 'pro-customers', contextKind: 'user', key: '12345678901234567890' },
    ])
  })

  it('of the big kind is changed by lists of keys', async () => {
    await write(open(BIG), keys('big-segment', 'upsert', 'a', 'b'))
    await write(open(BIG), keys('big-segment', 'delete', 'a'))
    expect(served.exchanges.map(({ request }) => request.json())).toEqual([
      { included: { add: ['a', 'b'] } },
      { included: { remove: ['a'] } },
    ])
    expect(served.records()['members']).toEqual([
      { environment: 'production', segment: 'pro-companies', contextKind: 'organization', key: 'b' },
    ])
  })

  it('tells who is in it, for users and other kinds', async () => {
    for (const [object, options] of [
      ['segment', {}],
      ['segment', { context_kind: 'device' }],
      ['big-segment', BIG],
    ] as const) {
      const destination = open(options)
      await write(destination, keys(object, 'upsert', 'a/b c', 'd'))
      expect(await destination.read?.(object, [{ key: 'd' }, { key: 'x' }, { key: 'a/b c' }])).toEqual([
        { key: 'd' },
        null,
        { key: 'a/b c' },
      ])
    }
  })

  it('that somebody else changes at the same moment asks its rows to come back', async () => {
    served.fault(() => ({ kind: 'status', status: 409 }))
    expect(await write(open(), keys('segment', 'upsert', 'a', 'b'))).toMatchObject({
      outcomes: [
        { key: '0', result: 'retry', code: 'optimistic_locking_error' },
        { key: '1', result: 'retry' },
      ],
      error: null,
    })
  })

  it('whose change is answered with anything else is not confirmed', async () => {
    for (const kind of ['empty', 'html'] as const) {
      served.fault(() => ({ kind }))
      for (const [object, options] of [
        ['segment', {}],
        ['big-segment', BIG],
      ] as const)
        expect(await write(open(options), keys(object, 'upsert', 'a'))).toMatchObject({ outcomes: [], error: { name: 'UnknownOutcome' } })
    }
  })

  it('that is deleted while it is written to ends the run, and no row is rejected for it', async () => {
    for (const object of ['segment', 'big-segment']) {
      const { outcomes, error } = await write(open({ segment: 'gone' }), keys(object, 'upsert', 'a'))
      expect([outcomes, error?.code]).toEqual([[], 'CDP3200'])
    }
  })

  it('of the standard kind is read by one request, and anew after it was written to', async () => {
    const destination = open()
    const ask = (): unknown => destination.read?.('segment', [{ key: 'a' }])
    expect([await ask(), await ask()]).toEqual([[null], [null]])
    expect(served.exchanges).toHaveLength(1)
    await write(destination, keys('segment', 'upsert', 'a'))
    expect(await ask()).toEqual([{ key: 'a' }])
    served.fault(({ request }) => (request.method === 'GET' ? { kind: 'status', status: 500 } : undefined))
    await write(destination, keys('segment', 'delete', 'a'))
    await expect(ask()).rejects.toMatchObject({ name: 'UnknownOutcome' })
    served.fault(() => undefined)
    expect(await ask()).toEqual([null])
  })

  it('is asked for odd keys as they are, and not for those that no URL can name', async () => {
    const destination = open(BIG)
    const odd = ['a%2Fb', '..', '.', '?x=1#y', 'ключ', ' a ', '…'.repeat(100)]
    await write(destination, keys('big-segment', 'upsert', ...odd))
    const read = await destination.read?.(
      'big-segment',
      odd.map((key) => ({ key })),
    )
    expect(read?.map((one) => one?.['key'] ?? null)).toEqual(['a%2Fb', null, null, '?x=1#y', 'ключ', ' a ', '…'.repeat(100)])
  })

  it('that is full refuses with the words of LaunchDarkly', async () => {
    const destination = open()
    for (let from = 0; from < 15_000; from += 1500)
      await write(destination, keys('segment', 'upsert', ...Array.from({ length: 1500 }, (_, i) => `u${from + i}`)))
    expect((await write(destination, keys('segment', 'upsert', 'one more'))).error).toMatchObject({
      name: 'Refused',
      message: expect.stringContaining('15,000') as string,
    })
  })
})

it('a throttle waits until the time that the reset header names', async () => {
  served.fault(() => ({ kind: 'status', status: 429, retryAfter: 5 }))
  const before = Date.now()
  const one = openDestination(connector, served.destination, { segment: 'pro-customers' }, before)
  opened.push(one)
  const { error } = await write(one.destination, keys('segment', 'upsert', 'a'))
  expect(error).toMatchObject({ name: 'RateLimited' })
  expect(error.afterMs).toBeGreaterThanOrEqual(5000)
  expect(error.afterMs).toBeLessThan(10_000)
})
