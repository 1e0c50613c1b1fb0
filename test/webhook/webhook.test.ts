import { Webhook } from 'standardwebhooks'
import { afterEach, describe, expect, it } from 'vitest'
import webhook from '../../connectors/webhook/index.ts'
import { decodeJson, RawJson } from '../../src/json.ts'
import { batch, change, openDestination, type Opened, write } from '../support/destination.ts'
import { type Fault, type Receiver, type ReceiverOptions, startReceiver } from '../support/receiver.ts'

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function setUp(config: object = {}, options: object = {}, receiving: ReceiverOptions = {}): Promise<{ receiver: Receiver } & Opened> {
  const receiver = await startReceiver(receiving)
  const opened = openDestination(webhook, { url: `${receiver.url}/hook`, timeout: '300ms', ...config }, options)
  closing.push(
    () => receiver.close(),
    () => opened.close(),
  )
  return { receiver, ...opened }
}

/** Headers of a request that was received, by name. */
function headersOf(receiver: Receiver, n = 0): Record<string, string> {
  return receiver.requests[n]?.headers as Record<string, string>
}

const three = [change('1', { a: 1 }), change('2', { a: 2 }), change('3', { a: 3 })]
const ok = (...keys: string[]): object[] => keys.map((key) => expect.objectContaining({ key, result: 'ok' }))

const results = (...entries: unknown[]): Fault => ({ body: { text: JSON.stringify({ results: entries }) } })

const settings = (config: object = {}, options: object = {}): any => ({
  config: webhook.config.parse({ url: 'https://example.com/x', ...config }),
  options: webhook.options.parse(options),
})
const spec = (config: object = {}, options: object = {}): any => (webhook.objects['record'] as any)(settings(config, options))
const problems = (template: object): any[] => [...(webhook.validate?.(settings({}, { upsert: template }), 'record') ?? [])]

describe('the default body', () => {
  it('is exactly the documented one', async () => {
    const { receiver, destination } = await setUp()
    const anna = change('42', { plan: 'pro', score: new RawJson('12345678901234567890'), none: null }, { match: { email: 'a@b.c' } })
    const renamed = change('["a","b"]', {}, { previousMatch: { email: 'old@b.c' }, remoteId: 'r 7', match: { email: 'n@b.c' } })
    await write(destination, batch('upsert', [anna, renamed]))
    const [request] = receiver.requests
    expect(request).toMatchObject({ method: 'POST', path: '/hook', headers: { 'content-type': 'application/json' } })
    expect(request?.text).toBe(
      '{"sync":"crm-contacts","run":"run-1","changes":[' +
        '{"op":"upsert","key":"42","match":{"email":"a@b.c"},"fields":{"plan":"pro","score":12345678901234567890,"none":null},"id":"id-42"},' +
        '{"op":"upsert","key":"[\\"a\\",\\"b\\"]","match":{"email":"n@b.c"},"fields":{},"previous_match":{"email":"old@b.c"},"remote_id":"r 7","id":"id-[\\"a\\",\\"b\\"]"}' +
        ']}',
    )
  })

  it('has no fields in a delete, and {} where a sync has no match', async () => {
    const { receiver, destination } = await setUp()
    await write(destination, batch('delete', [change('42', { left: 'over' })]))
    expect(JSON.parse(receiver.requests[0]?.text ?? '')).toEqual({
      sync: 'crm-contacts',
      run: 'run-1',
      changes: [{ op: 'delete', key: '42', match: {}, id: 'id-42' }],
    })
  })

  it('upserts, updates, inserts, appends and deletes at the receiver', async () => {
    const { receiver, destination } = await setUp()
    expect((await write(destination, batch('upsert', [change('1', { a: 1, b: 1 })]))).outcomes).toEqual([
      { key: '1', result: 'ok', remoteId: 'r1' },
    ])
    expect((await write(destination, batch('update', [change('1', { a: 2 }), change('2', { a: 2 })]))).outcomes).toEqual([
      { key: '1', result: 'ok', remoteId: 'r1' },
      { key: '2', result: 'absent' },
    ])
    expect((await write(destination, batch('insert', [change('1'), change('3')]))).outcomes).toMatchObject([
      { key: '1', result: 'exists' },
      { key: '3', result: 'ok' },
    ])
    expect(receiver.records.get('1')?.fields).toEqual({ a: 2, b: 1 })
    await write(destination, batch('append', [change('e1', { at: 'now' })]))
    expect(receiver.events.map(({ key }) => key)).toEqual(['e1'])
    expect((await write(destination, batch('delete', [change('1'), change('9')]))).outcomes).toEqual(ok('1', '9'))
    expect([...receiver.records.keys()]).toEqual(['3'])
  })

  it('carries odd values unharmed', async () => {
    const { receiver, destination } = await setUp()
    const fields = { 'a "b"\\': 'Zoë 💥 \u2028 \0', '': '', long: 'x'.repeat(10_000), list: [1, [], {}] }
    await write(destination, batch('upsert', [change('a/b+c "d" é', fields)]))
    expect(receiver.records.get('a/b+c "d" é')?.fields).toEqual(fields)
  })

  it('goes out packed with gzip when asked, with further headers and basic auth from the URL', async () => {
    const { receiver, destination } = await setUp({ gzip: true, headers: { 'X-Team': 'growth' } })
    await write(destination, batch('upsert', three))
    expect(receiver.requests[0]?.headers).toMatchObject({ 'content-encoding': 'gzip', 'x-team': 'growth' })
    expect(receiver.records.size).toBe(3)
    const login = openDestination(webhook, { url: receiver.url.replace('//', '//me:pass@') })
    closing.push(() => login.close())
    await write(login.destination, batch('upsert', three))
    expect(receiver.requests[1]?.headers.authorization).toBe(`Basic ${Buffer.from('me:pass').toString('base64')}`)
    expect(login.notes.join()).not.toContain('pass')
  })
})

describe('a reply', () => {
  it.each<[string, Fault]>([
    ['empty', { body: 'empty' }],
    ['empty with the type of a page', { body: { text: '', type: 'text/html' } }],
    ['plain text', { body: { text: 'thanks', type: 'text/plain; charset=utf-8' } }],
    ['JSON without results', { body: { text: '{"received":3}' } }],
    ['JSON that is no object', { body: { text: '"ok"' } }],
    ['202', { status: 202, body: 'empty' }],
    ['results in another order', { results: 'shuffled' }],
  ])('%s confirms every row', async (_, fault) => {
    const { receiver, destination } = await setUp()
    receiver.fault(() => fault)
    const { outcomes, error } = await write(destination, batch('upsert', three))
    expect(error).toBeNull()
    expect(outcomes).toHaveLength(3)
    expect(outcomes).toEqual(expect.arrayContaining(ok('1', '2', '3')))
  })

  it.each<[string, Fault, string]>([
    ['a page of HTML', { body: 'html' }, 'html_reply'],
    ['HTML that calls itself plain text', { body: { text: ' <html>', type: 'text/plain' } }, 'html_reply'],
    ['cut JSON', { body: 'truncated' }, 'not_json'],
    ['cut JSON that calls itself plain text', { body: { text: '{"results":[', type: 'text/plain' } }, 'not_json'],
    ['words of no type', { body: { text: 'thanks', type: 'application/octet-stream' } }, 'not_json'],
    ['results that are no list', { body: { text: '{"results":{}}' } }, 'bad_results'],
    ['a 500', { status: 500 }, 'e500'],
    ['a 500 after it was applied', { status: 500, apply: true }, 'e500'],
    ['a 503 that says when', { status: 503, headers: { 'retry-after': '1' } }, 'e503'],
    ['a redirect', { status: 302, headers: { location: '/login' } }, 'redirect'],
    ['a reset before the request was read', { reset: 'before' }, 'UND_ERR_SOCKET|ECONNRESET'],
    ['a reset after it was applied', { reset: 'after' }, 'UND_ERR_SOCKET|ECONNRESET'],
    ['half a reply', { reset: 'half' }, 'reply_lost'],
    ['silence', { hang: true }, 'timeout'],
    ['a reply byte by byte', { drip: 15 }, 'reply_lost'],
  ])('%s leaves every row unknown', async (_, fault, code) => {
    const { receiver, destination } = await setUp()
    receiver.fault(() => fault)
    const { outcomes, error } = await write(destination, batch('upsert', three))
    expect(outcomes).toEqual([])
    expect(error).toMatchObject({ name: 'UnknownOutcome', code: expect.stringMatching(code) })
  })

  it('with results speaks for the rows it names and for no other', async () => {
    const { receiver, destination } = await setUp()
    receiver.fault(() => ({ results: 'half' }))
    expect((await write(destination, batch('upsert', three))).outcomes).toEqual(ok('1'))
    receiver.fault(() => ({ results: 'none' }))
    expect((await write(destination, batch('upsert', three))).outcomes).toEqual([])
  })

  it('may refuse and put off single rows', async () => {
    const { receiver, destination } = await setUp()
    receiver.fault(() => ({
      reject: ({ key }) => (key === '1' ? { code: 'BAD_EMAIL', message: `no: ${'x'.repeat(900)}` } : undefined),
      retry: ({ key }) => key === '2',
    }))
    const { outcomes } = await write(destination, batch('upsert', three))
    expect(outcomes).toMatchObject([
      { key: '1', result: 'rejected', code: 'BAD_EMAIL' },
      { key: '2', result: 'retry', code: 'retry', message: 'later' },
      { key: '3', result: 'ok' },
    ])
    expect((outcomes[0] as { message: string }).message).toHaveLength(500)
    expect([...receiver.records.keys()]).toEqual(['3'])
  })

  it('that names keys nobody sent is noted without them, and the rest counts', async () => {
    const { receiver, destination, notes } = await setUp()
    receiver.fault(() => ({ results: 'foreign' }))
    expect((await write(destination, batch('upsert', three))).outcomes).toEqual(ok('1', '2', '3'))
    expect(notes.join('\n')).toContain('1 of 4 results for keys that were not in the request')
    expect(notes.join('\n')).not.toContain('nobody')
  })

  it('that contradicts itself leaves the row unknown', async () => {
    const { receiver, destination } = await setUp()
    receiver.fault(() =>
      results({ key: '1', status: 'ok' }, { key: '2', status: 'ok' }, { key: '1', status: 'rejected' }, { key: '2', status: 'ok' }),
    )
    expect((await write(destination, batch('upsert', three))).outcomes).toMatchObject([
      { key: '1', result: 'unknown', code: 'contradiction' },
      { key: '2', result: 'ok' },
    ])
  })

  it('may name keys as numbers, remote ids as numbers of any size, and a code that is no code', async () => {
    const { receiver, destination } = await setUp()
    const text =
      '{"results":[{"key":1,"status":"ok","remote_id":12345678901234567890},{"key":"2","status":"rejected","code":"anna@example.com"},null,7]}'
    receiver.fault(() => ({ body: { text } }))
    expect((await write(destination, batch('upsert', three))).outcomes).toEqual([
      { key: '1', result: 'ok', remoteId: '12345678901234567890' },
      { key: '2', result: 'rejected', code: 'rejected', message: '', field: undefined },
    ])
  })

  it('with a status that means nothing for the operation leaves the row unknown; a delete of what is absent is done', async () => {
    const { receiver, destination } = await setUp()
    receiver.fault(() => results({ key: '1', status: 'absent' }, { key: '2', status: 'done' }, { key: '3', status: 'exists' }))
    expect((await write(destination, batch('upsert', three))).outcomes).toMatchObject([
      { result: 'unknown' },
      { result: 'unknown' },
      { result: 'unknown' },
    ])
    expect((await write(destination, batch('delete', three))).outcomes).toMatchObject([
      { result: 'ok' },
      { result: 'unknown' },
      { result: 'unknown' },
    ])
  })

  it.each([
    [401, 'AuthError'],
    [403, 'AuthError'],
    [429, 'RateLimited'],
    [400, 'Refused'],
    [413, 'Refused'],
    [422, 'Refused'],
  ])('%i is the error %s', async (status, name) => {
    const { receiver, destination } = await setUp()
    receiver.fault(() => ({ status, headers: { 'retry-after': '3' } }))
    const { outcomes, error } = await write(destination, batch('upsert', three))
    expect([outcomes, error.name]).toEqual([[], name])
  })
})

describe('a signature', () => {
  const secret = `whsec_${Buffer.from('0123456789abcdef01234567').toString('base64')}`

  it('is one that the standardwebhooks package verifies over the exact body', async () => {
    const { receiver, destination } = await setUp({ signing_secret: secret, gzip: true })
    await write(destination, batch('upsert', [change('é', { a: '💥' })]))
    const headers = headersOf(receiver)
    const text = receiver.requests[0]?.text ?? ''
    const verifier = new Webhook(secret)
    // Its clock is real, ours is not.
    const check = (body: string): unknown => verifier.verify(body, { ...headers, 'webhook-timestamp': stamp, 'webhook-signature': signed })
    const stamp = String(Math.floor(Date.now() / 1000))
    const id = String(headers['webhook-id'])
    expect(verifier.sign(id, new Date(Number(headers['webhook-timestamp']) * 1000), text)).toBe(headers['webhook-signature'])
    const signed = verifier.sign(id, new Date(Number(stamp) * 1000), text)
    expect(check(text)).toEqual(JSON.parse(text))
    expect(() => check(`${text} `)).toThrow()
  })

  it('has the same id for a repeat of the same changes and another for others', async () => {
    const { receiver, destination } = await setUp({ signing_secret: secret })
    for (const changes of [three, three, three.slice(1)]) await write(destination, batch('upsert', changes))
    const [first, second, third] = receiver.requests.map(({ headers }) => headers['webhook-id'])
    expect(first).toBe(second)
    expect(first).not.toBe(third)
  })
})

describe('request templates', () => {
  const put = {
    method: 'PUT',
    path: '/v1/accounts/{{ match.id }}',
    body: { plan: '{{ fields.plan }}', note: 'row {{ key }}', n: '{{ fields.n }}' },
  }

  it('call any JSON API: path encoded, types kept, absent members left out', async () => {
    const { receiver, destination, notes } = await setUp(
      { headers: { 'X-Team': 'growth' } },
      { upsert: { ...put, headers: { 'Idempotency-Key': '{{ id }}' } } },
    )
    receiver.fault(() => ({ body: 'empty' }))
    const changes = [
      change('1', { plan: 'pro', n: new RawJson('12345678901234567890') }, { match: { id: 'a/b ü?' } }),
      change('2', { plan: null }, { match: { id: 7 } }),
    ]
    expect((await write(destination, batch('upsert', changes))).outcomes).toEqual(ok('1', '2'))
    expect(receiver.requests.map(({ method, path, text }) => [method, path, text])).toEqual([
      ['PUT', '/hook/v1/accounts/a%2Fb%20%C3%BC%3F', '{"plan":"pro","note":"row 1","n":12345678901234567890}'],
      ['PUT', '/hook/v1/accounts/7', '{"plan":null,"note":"row 2"}'],
    ])
    expect(receiver.requests[0]?.headers).toMatchObject({
      'idempotency-key': 'id-1',
      'x-team': 'growth',
      'content-type': 'application/json',
    })
    expect(notes.join('\n')).toContain('/v1/accounts/{{ match.id }} 200')
    expect(notes.join('\n')).not.toContain('a%2Fb')
  })

  it('repeat a list of one item for each row of a request', async () => {
    const body = {
      run: '{{ run }}',
      list: [{ id: '{{ key }}', tags: ['{{ fields.tag }}', 'x'] }],
      all: '{{ rows | map: "key" }}',
      fixed: ['a'],
    }
    const { receiver, destination } = await setUp({}, { upsert: { method: 'POST', path: '/batch', rows: 2, body } })
    receiver.fault(() => ({ body: 'empty' }))
    const changes = ['1', '2', '3'].map((key) => change(key, { tag: `t${key}` }))
    expect((await write(destination, batch('upsert', changes))).outcomes).toEqual(ok('1', '2', '3'))
    expect(receiver.requests.map(({ text }) => JSON.parse(text))).toEqual([
      {
        run: 'run-1',
        list: [
          { id: '1', tags: ['t1', 'x'] },
          { id: '2', tags: ['t2', 'x'] },
        ],
        all: ['1', '2'],
        fixed: ['a'],
      },
      { run: 'run-1', list: [{ id: '3', tags: ['t3', 'x'] }], all: ['3'], fixed: ['a'] },
    ])
  })

  it('never let the default body go to an API that does not know it', async () => {
    const { receiver, destination } = await setUp({}, { upsert: put })
    expect((await write(destination, batch('delete', three))).error).toMatchObject({ name: 'Refused', code: 'no_template' })
    expect(receiver.requests).toEqual([])
  })

  it('may make the whole body of one expression', async () => {
    const { receiver, destination } = await setUp({}, { upsert: { method: 'POST', body: '{{ fields }}' } })
    receiver.fault(() => ({ body: 'empty' }))
    await write(destination, batch('upsert', [change('1', { big: new RawJson('1.000000000000000000001'), a: [1] })]))
    expect(decodeJson(receiver.requests[0]?.text ?? '')).toEqual({ big: new RawJson('1.000000000000000000001'), a: [1] })
  })

  it.each([
    ['an empty value in a path', { path: '/a/{{ match.id }}' }, { id: '' }],
    ['a null in a path', { path: '/a/{{ match.id }}' }, { id: null }],
    ['a missing value in a path', { path: '/a/{{ match.id }}' }, {}],
    ['half a character in a path', { path: '/a/{{ match.id }}' }, { id: '\uD800' }],
    ['a missing value within a text', { body: { a: 'x {{ match.id }}' } }, {}],
  ])('reject a row with %s by itself, and go on', async (_, template, match) => {
    const { receiver, destination } = await setUp({}, { delete: { method: 'DELETE', ...template } })
    receiver.fault(() => ({ body: 'empty' }))
    const rows = [change('1', {}, { match }), change('2', {}, { match: { id: 2 } })]
    expect(await write(destination, batch('delete', rows))).toMatchObject({
      error: null,
      outcomes: [
        { key: '1', result: 'rejected', code: 'template' },
        { key: '2', result: 'ok' },
      ],
    })
    expect(receiver.requests).toHaveLength(1)
  })

  it.each([
    ['dots that would climb in a path', { path: '/a/{{ match.id }}' }, { id: '..' }],
    ['a line break in a header', { headers: { 'X-Id': '{{ match.id }}' } }, { id: 'a\r\nX-Admin: 1' }],
    ['a value that can not be computed in a request of several rows', { rows: 2, body: [{ a: 'x {{ match.id }}' }] }, {}],
  ])('refuse %s, and nothing is sent', async (_, template, match) => {
    const { receiver, destination } = await setUp({}, { delete: { method: 'DELETE', ...template } })
    const { outcomes, error } = await write(
      destination,
      batch('delete', [change('1', {}, { match }), change('2', {}, { match: { id: 2 } })]),
    )
    expect([outcomes, error.name]).toEqual([[], 'Refused'])
    expect(error.message).not.toContain('Admin')
    expect(receiver.requests).toEqual([])
  })

  it('confirm by what the reply contains', async () => {
    const { receiver, destination } = await setUp(
      {},
      { upsert: { ...put, success: { json: { ok: true, list: [{ id: 1 }] } }, remote_id: 'data.0.id' } },
    )
    const one = batch('upsert', [change('1', {}, { match: { id: 1 } })])
    receiver.fault(() => ({ body: { text: '{"ok":true,"more":1,"list":[{"id":1,"x":2}],"data":[{"id":98765432109876543210}]}' } }))
    expect((await write(destination, one)).outcomes).toEqual([{ key: '1', result: 'ok', remoteId: '98765432109876543210' }])
    receiver.fault(() => ({ body: { text: '{"ok":true,"list":[]}' } }))
    expect((await write(destination, one)).outcomes).toEqual([
      { key: '1', result: 'rejected', code: 'unsuccessful', message: '{"ok":true,"list":[]}' },
    ])
    receiver.fault(() => ({ body: 'html' }))
    expect((await write(destination, one)).error).toMatchObject({ name: 'UnknownOutcome' })
  })

  it('do not know which of several rows a reply without success means', async () => {
    const { receiver, destination } = await setUp(
      {},
      { upsert: { method: 'POST', rows: 3, body: ['{{ fields }}'], success: { json: { ok: true } } } },
    )
    receiver.fault(() => ({ body: { text: '{"ok":false}' } }))
    expect(await write(destination, batch('upsert', three))).toMatchObject({
      outcomes: [],
      error: { name: 'UnknownOutcome', code: 'unsuccessful' },
    })
  })

  it('take a record that is not there as deleted, and as absent for an update, where the path names it', async () => {
    const template = { method: 'DELETE', path: '/a/{{ key }}' }
    const { receiver, destination } = await setUp(
      {},
      { delete: template, update: { ...put, path: '/a/{{ key }}' }, upsert: { ...put, path: '/a/{{ key }}' } },
    )
    receiver.fault(() => ({ status: 404 }))
    expect((await write(destination, batch('delete', [change('1')]))).outcomes).toEqual([{ key: '1', result: 'ok' }])
    expect((await write(destination, batch('update', [change('1')]))).outcomes).toEqual([{ key: '1', result: 'absent' }])
    expect((await write(destination, batch('upsert', [change('1')]))).error).toMatchObject({ name: 'Refused', status: 404 })
  })

  it('stop at the first request that fails, and what was confirmed before stays confirmed', async () => {
    const { receiver, destination } = await setUp({}, { upsert: put })
    receiver.fault(({ n }) => (n === 2 ? { status: 500 } : { body: 'empty' }))
    const changes = ['1', '2', '3'].map((key) => change(key, {}, { match: { id: key } }))
    const { outcomes, error } = await write(destination, batch('upsert', changes))
    expect([outcomes, error.name, receiver.requests.length]).toEqual([ok('1'), 'UnknownOutcome', 2])
  })

  it('of the sync come before those of the destination, and are signed', async () => {
    const signing_secret = `whsec_${'a'.repeat(32)}`
    const { receiver, destination } = await setUp(
      { upsert: put, signing_secret, gzip: true },
      { upsert: { method: 'PATCH', path: '/own', body: { a: 1 } } },
    )
    receiver.fault(() => ({ body: 'empty' }))
    await write(destination, batch('upsert', [change('1')]))
    const { method, path, text = '' } = receiver.requests[0] ?? {}
    const headers = headersOf(receiver)
    expect([method, path, text]).toEqual(['PATCH', '/hook/own', '{"a":1}'])
    expect(
      new Webhook(signing_secret).sign(String(headers['webhook-id']), new Date(Number(headers['webhook-timestamp']) * 1000), text),
    ).toBe(headers['webhook-signature'])
  })
})

describe('what is configured', () => {
  it('gives limits, defaults first', () => {
    const limits = webhook.limits as any
    expect(limits(settings(), 'upsert')).toEqual({ rows: 1000, concurrency: 8, timeout: 30_000 })
    expect(limits(settings({ batch_size: 5, concurrency: 2, requests_per_second: 0.5, timeout: 3 }), 'upsert')).toEqual({
      rows: 5,
      concurrency: 2,
      timeout: 3000,
      perSecond: 0.5,
    })
    expect(limits(settings({}, { upsert: { method: 'POST', rows: 20 } }), 'upsert').rows).toBe(20)
    expect(limits(settings({}, { upsert: { method: 'POST' } }), 'upsert').rows).toBe(1)
  })

  it('says what can be done and repeated', () => {
    expect(spec()).toMatchObject({
      modes: ['upsert', 'update', 'insert', 'mirror', 'append'],
      removes: ['delete', 'clear', 'set', 'none'],
      address: 'key',
    })
    expect(spec().replay).toEqual({ upsert: 'harmless', update: 'harmless', delete: 'harmless', insert: 'none', append: 'none' })
    expect(spec({ deduplicates: true }).replay).toMatchObject({ insert: 'deduplicated', append: 'deduplicated' })
  })

  it('offers with templates only what they describe: the default body never goes to another API', () => {
    expect(spec({}, { upsert: { method: 'PUT' } })).toMatchObject({ modes: ['upsert', 'mirror'], removes: ['none'] })
    expect(spec({ delete: { method: 'DELETE' } }, { upsert: { method: 'PUT' } })).toMatchObject({
      modes: ['upsert', 'mirror'],
      removes: ['delete', 'none'],
    })
    expect(spec({}, { append: { method: 'POST' } })).toMatchObject({ modes: ['append'], removes: ['none'] })
  })

  it.each([
    ['a variable that is none', { path: '/{{ feilds.id }}' }, ['upsert', 'path'], /feilds.*Did you mean "fields"/],
    ['a filter that is none', { body: { a: { b: ['{{ key | upcas }}'] } } }, ['upsert', 'body', 'a', 'b', 0], /upcas/],
    ['braces left open', { headers: { 'X-A': '{{ key' } }, ['upsert', 'headers', 'X-A'], /./],
    ['a tag in a path', { path: '/{% if key %}a{% endif %}' }, ['upsert', 'path'], /tags/],
    ['one row’s variable in a request of several', { rows: 2, body: { a: '{{ key }}' } }, ['upsert', 'body', 'a'], /list of one item/],
    ['one row’s variable in a path of several', { rows: 2, path: '/{{ key }}' }, ['upsert', 'path'], /one row/],
    ['one remote id for several rows', { rows: 2, body: ['{{ key }}'], remote_id: 'id' }, ['upsert', 'remote_id'], /one record/],
  ])('finds %s before a run', (_, template, path, message) => {
    expect(problems({ method: 'PUT', ...template })).toEqual([{ path, message: expect.stringMatching(message) }])
  })

  it('has nothing to say about good templates', () => {
    expect(
      problems({ method: 'POST', path: '/x?run={{ run }}', rows: 2, body: { all: [{ id: '{{ key }}', f: '{{ fields }}' }] } }),
    ).toEqual([])
  })

  it.each([
    [{ url: 'ftp://example.com' }],
    [{ url: 'example.com' }],
    [{ signing_secret: 'plain' }],
    [{ batch_size: 0 }],
    [{ timeout: 'soon' }],
    [{ colour: 'red' }],
    [{ upsert: { method: 'GET' } }],
  ])('refuses %j', (config) => {
    expect(webhook.config.safeParse({ url: 'https://example.com', ...config }).success).toBe(false)
  })

  it('checks without a request, and names the account by its URL without login and query', async () => {
    const { receiver, destination } = await setUp()
    const account = await destination.check()
    expect(receiver.requests).toEqual([])
    const other = openDestination(webhook, { url: `${receiver.url.replace('//', '//me:pass@')}/hook?token=abc` })
    closing.push(() => other.close())
    expect(await other.destination.check()).toEqual(account)
    expect(account).toEqual({ id: expect.stringMatching(/^[0-9a-f]{64}$/), name: new URL(receiver.url).host })
  })
})

describe('speed', () => {
  it('encodes the default body without decoding a field', async () => {
    const { receiver, destination } = await setUp({ timeout: '20s', gzip: true })
    const changes = Array.from({ length: 1000 }, (_, i) => {
      const one = change(String(i), { plan: 'pro', n: i }, { match: { email: `u${i}@example.com` } })
      return Object.defineProperty({ ...one }, 'fields', { get: () => expect.unreachable('fields were decoded'), enumerable: false })
    })
    const sent = { ...batch('upsert', []), changes }
    expect((await write(destination, sent)).outcomes).toHaveLength(1000)
    expect(receiver.records.size).toBe(1000)
  })
})
