/** The fake of LaunchDarkly answers and refuses as its specification says. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import launchdarkly from '../../fakes/launchdarkly/index.ts'
import { type FakeHost, type ServedFake, serveFakes } from '../../src/testing/host.ts'

let host: FakeHost
let fake: ServedFake

beforeAll(async () => {
  host = await serveFakes([launchdarkly], { now: () => 1_000_000 })
  fake = host.fakes.get('launchdarkly') as ServedFake
})
afterAll(() => host.close())
beforeEach(() => fake.reset())

type Reply = { status: number; headers: Headers; body: Record<string, unknown> }

const SEMANTIC = 'application/json; domain-model=launchdarkly.semanticpatch'

async function call(method: string, path: string, json?: unknown, headers: Record<string, string> = {}): Promise<Reply> {
  const reply = await fetch(`${fake.url}/api/v2${path}`, {
    method,
    headers: { authorization: 'api-sandbox', 'ld-api-version': '20240415', 'content-type': 'application/json', ...headers },
    ...(json === undefined ? {} : { body: typeof json === 'string' ? json : JSON.stringify(json) }),
  })
  const text = await reply.text()
  return { status: reply.status, headers: reply.headers, body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) }
}

const STANDARD = '/segments/growth/production/pro-customers'
const BIG = '/segments/growth/production/all-customers'

const patch = (instructions: unknown[], path = STANDARD, headers: Record<string, string> = {}): Promise<Reply> =>
  call('PATCH', path, { environmentKey: 'production', instructions }, { 'content-type': SEMANTIC, ...headers })
const add = (...values: unknown[]): unknown => ({ kind: 'addIncludedTargets', contextKind: 'user', values })
const members = (): unknown => fake.records()['members']?.map(({ key }) => key)

test('targets of a standard segment are added and removed as a set', async () => {
  const reply = await patch([add('a', 'b'), { kind: 'addIncludedTargets', contextKind: 'organization', values: ['o'] }])
  expect(reply).toMatchObject({
    status: 200,
    body: { key: 'pro-customers', included: ['a', 'b'], includedContexts: [{ contextKind: 'organization', values: ['o'] }], version: 2 },
  })
  expect((await patch([add('b', 'c'), { kind: 'removeIncludedUsers', values: ['a', 'never there'] }])).status).toBe(200)
  expect(fake.records()['members']).toEqual([
    { environment: 'production', segment: 'pro-customers', contextKind: 'user', key: 'b' },
    { environment: 'production', segment: 'pro-customers', contextKind: 'user', key: 'c' },
    { environment: 'production', segment: 'pro-customers', contextKind: 'organization', key: 'o' },
  ])
  expect((await call('GET', STANDARD)).body['included']).toEqual(['b', 'c'])
})

test('contexts of a big segment are added and removed, and each can be looked up', async () => {
  expect(await call('POST', `${BIG}/contexts`, { included: { add: ['a', 'b'] } })).toMatchObject({ status: 204, body: {} })
  expect((await call('POST', `${BIG}/users`, { included: { add: ['c'], remove: ['a', 'never there'] } })).status).toBe(204)
  expect(members()).toEqual(['b', 'c'])
  expect((await call('GET', `${BIG}/contexts/b`)).body).toEqual({ userKey: 'b', included: true, excluded: false })
  expect((await call('GET', `${BIG}/contexts/a`)).body).toEqual({ userKey: 'a', included: false, excluded: false })
  expect((await call('GET', BIG)).body).toMatchObject({ unbounded: true, unboundedContextKind: 'user', included: [] })
  expect((await patch([{ kind: 'addBigSegmentIncludedTargets', values: ['d'] }], BIG)).status).toBe(200)
  expect(members()).toEqual(['b', 'c', 'd'])
})

test('a segment is created, listed and deleted', async () => {
  const big = { key: 'vip', name: 'VIP', unbounded: true, unboundedContextKind: 'device' }
  expect(await call('POST', '/segments/growth/test', big)).toMatchObject({ status: 201, body: big })
  expect((await call('POST', '/segments/growth/test', big)).status).toBe(409)
  const { body } = await call('GET', '/segments/growth/test?limit=2&offset=2')
  expect(body).toMatchObject({ totalCount: 4, items: [{ key: 'pro-companies' }, { key: 'vip' }] })
  expect((await call('DELETE', '/segments/growth/test/vip')).status).toBe(204)
  expect((await call('GET', '/segments/growth/test/vip')).status).toBe(404)
})

test('caller, versions, project, environment and context kinds can be read', async () => {
  expect((await call('GET', '/caller-identity')).body).toMatchObject({ accountId: '57be1db38b75bf0772d11000', tokenKind: 'auth' })
  expect((await call('GET', '/versions')).body['latestVersion']).toBe(20240415)
  expect((await call('GET', '/projects/growth')).body).toMatchObject({ key: 'growth', name: 'Growth' })
  expect((await call('GET', '/projects/growth/environments/test')).body).toMatchObject({ _id: '57be1db38b75bf0772d11385', key: 'test' })
  expect((await call('GET', '/projects/growth/context-kinds')).body['items']).toHaveLength(3)
  expect(fake.exchanges.some(({ write }) => write)).toBe(false)
})

test.each(['Bearer api-sandbox', 'api-wrong', ''])('the token %j is refused', async (authorization) => {
  expect(await call('GET', STANDARD, undefined, { authorization })).toMatchObject({
    status: 401,
    body: { code: 'unauthorized', message: 'Invalid access token' },
  })
})

test.each([
  ['GET', '/nothing', 404],
  ['GET', '/segments/other/production/pro-customers', 404],
  ['GET', '/segments/growth/staging/pro-customers', 404],
  ['GET', '/segments/growth/production/unknown', 404],
  ['GET', '/projects/growth/environments/staging', 404],
  ['POST', '/caller-identity', 405],
  ['PUT', STANDARD, 405],
  ['DELETE', `${BIG}/contexts`, 405],
  ['POST', `${BIG}/imports`, 404],
])('%s %s is answered with %i', async (method, path, status) => {
  expect((await call(method, path)).status).toBe(status)
})

test('an unknown version of the API is refused', async () => {
  expect((await call('GET', STANDARD, undefined, { 'ld-api-version': '20990101' })).body['code']).toBe('invalid_request')
})

test.each<[string, unknown[]]>([
  ['no instructions', []],
  ['an unknown kind', [{ kind: 'addTargets', contextKind: 'user', values: ['a'] }]],
  ['no context kind', [{ kind: 'addIncludedTargets', values: ['a'] }]],
  ['the context kind "kind"', [{ kind: 'addIncludedTargets', contextKind: 'kind', values: ['a'] }]],
  ['no values', [{ kind: 'addIncludedTargets', contextKind: 'user' }]],
  ['values that are numbers', [add(1)]],
  ['an empty key', [add('')]],
  ['a key twice', [add('a', 'a')]],
  ['an unknown parameter', [{ kind: 'addIncludedUsers', contextKind: 'user', values: ['a'] }]],
  ['more than 1,500 targets', [add(...Array.from({ length: 1501 }, (_, i) => `k${i}`))]],
  ['a key included and excluded', [add('a'), { kind: 'addExcludedTargets', contextKind: 'user', values: ['a'] }]],
  ['an instruction for big segments', [{ kind: 'addBigSegmentIncludedTargets', values: ['a'] }]],
])('a patch with %s is refused whole', async (_, instructions) => {
  const reply = await patch([...(instructions.length === 0 ? [] : [add('good')]), ...instructions])
  expect(reply).toMatchObject({ status: 400, body: { code: 'invalid_request' } })
  expect(members()).toEqual([])
})

test('a patch needs its content type and the key of its environment', async () => {
  expect(await patch([add('a')], STANDARD, { 'content-type': 'application/json' })).toMatchObject({
    status: 422,
    body: { code: 'patch_failed' },
  })
  expect((await patch([add('a')], '/segments/growth/test/pro-customers')).status).toBe(400)
  expect((await call('PATCH', STANDARD, '{"instructions":', { 'content-type': SEMANTIC })).status).toBe(400)
  expect(members()).toEqual([])
})

test('a dry run is validated and shown, not kept', async () => {
  expect((await patch([add('a')], `${STANDARD}?dryRun=true`)).body['included']).toEqual(['a'])
  expect(members()).toEqual([])
  expect(fake.exchanges[0]?.write).toBe(false)
})

test('a standard segment holds 15,000 targets', async () => {
  for (let i = 0; i < 10; i++) await patch([add(...Array.from({ length: 1500 }, (_, n) => `k${i}-${n}`))])
  expect(members()).toHaveLength(15_000)
  expect((await patch([add('one more')])).status).toBe(400)
})

test.each<[string, unknown]>([
  ['an unknown list', { includes: { add: ['a'] } }],
  ['an unknown action', { included: { set: ['a'] } }],
  ['values that are numbers', { included: { add: [1] } }],
  ['a key twice', { included: { add: ['a', 'a'] } }],
  ['nothing', {}],
])('a change of a big segment with %s is refused', async (_, body) => {
  expect((await call('POST', `${BIG}/contexts`, body)).status).toBe(400)
  expect((await call('POST', `${STANDARD}/contexts`, { included: { add: ['a'] } })).status).toBe(400)
  expect(members()).toEqual([])
})

test.each<[string, unknown]>([
  ['no key', { name: 'A' }],
  ['no name', { key: 'a' }],
  ['a key with a space', { name: 'A', key: 'a b' }],
  ['an unknown member', { name: 'A', key: 'a', included: [] }],
  ['an unknown context kind', { name: 'A', key: 'a', unbounded: true, unboundedContextKind: 'planet' }],
])('a segment with %s is not created', async (_, body) => {
  expect((await call('POST', '/segments/growth/production', body)).status).toBe(400)
})

test('a row to be refused spoils its requests until it has stood alone', async () => {
  fake.refuseRows(1)
  expect((await patch([add('a', 'b')])).status).toBe(400)
  expect((await patch([add('b')])).status).toBe(200)
  expect((await patch([add('a')])).status).toBe(400)
  expect(members()).toEqual(['b'])
  expect((await patch([add('a')])).status).toBe(200)
})

test('failures have the form of the service, and limits their headers', async () => {
  for (const [status, code] of [
    [401, 'unauthorized'],
    [403, 'forbidden'],
    [409, 'optimistic_locking_error'],
    [503, 'internal_service_error'],
  ] as const) {
    fake.fault(() => ({ kind: 'status', status }))
    expect(await patch([add('a')])).toMatchObject({ status, body: { code } })
  }
  fake.fault(() => ({ kind: 'status', status: 429, retryAfter: 7 }))
  const limited = await patch([add('a')])
  expect(limited.body['code']).toBe('rate_limited')
  expect(limited.headers.get('x-ratelimit-reset')).toBe('1007000')
  expect(limited.headers.get('x-ratelimit-global-remaining')).toBe('0')
  expect(members()).toEqual([])
})
