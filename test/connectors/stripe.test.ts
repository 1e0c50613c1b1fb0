/** Stripe beyond the conformance suite: accounts and keys, forms, limits, who is found, and what a crash must not do twice. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import connector from '../../connectors/stripe/index.ts'
import fake, { KEYS } from '../../fakes/stripe/index.ts'
import type { Change } from '../../src/connector.ts'
import { exactNumber, type Fields } from '../../src/json.ts'
import { type FakeHost, serveFakes, type ServedFake } from '../../src/testing/index.ts'
import { startTrial, type Trial } from '../../src/testing/trial.ts'
import type { Op } from '../../src/types.ts'
import { batch, change, openDestination, type Opened, write } from '../support/destination.ts'

let host: FakeHost
let served: ServedFake
const opened: Opened[] = []

beforeAll(async () => {
  host = await serveFakes([fake])
  served = host.fakes.get('stripe') as ServedFake
})
afterAll(async () => {
  for (const one of opened) await one.close()
  await host.close()
})
beforeEach(() => served.reset())

function open(config: object = {}, options: object = {}): Opened['destination'] {
  const one = openDestination(connector, { ...served.destination, ...config }, options)
  opened.push(one)
  return one.destination
}

let ids = 0
/** Each is a change of its own, unless `id` says otherwise. */
const one = (op: Op, match: Fields, fields: Fields = {}, more: Partial<Change> = {}) => ({
  ...batch(op, [change('k', fields, { match, id: `change-${++ids}`, ...more })]),
  object: 'customers',
})
const send = async (op: Op, match: Fields, fields: Fields = {}, more: Partial<Change> = {}, config: object = {}) => {
  const { outcomes, error } = await write(open(config), one(op, match, fields, more))
  if (error !== null) throw error as Error
  expect(outcomes).toHaveLength(1)
  return outcomes[0] as Record<string, unknown>
}
const ada = { email: 'ada@example.com' }
const customers = () => served.records()['customers'] as readonly Record<string, unknown>[]
const asked = () => served.exchanges.map(({ request }) => `${request.method} ${request.path}`)
const lastForm = () => Object.fromEntries(served.exchanges.findLast(({ write: writes }) => writes)?.request.form() ?? [])

async function trial(more: Record<string, unknown>, work: (trial: Trial) => Promise<void>): Promise<void> {
  const it = await startTrial({ connector, destination: served.destination, object: 'customers', mode: 'upsert', ...more })
  try {
    await it.rows([{ key: '1', match: ada, fields: { name: 'Ada' } }])
    await work(it)
  } finally {
    await it.remove()
  }
}

describe('the account', () => {
  it('is named, and test data are another account than live data', async () => {
    expect(await open().check()).toEqual({ id: 'acct_1CdpSyncSandbox/test', name: 'Sandbox Inc. (test)' })
  })

  it('is found with a restricted key, which may not read it', async () => {
    expect(await open({ api_key: KEYS.customers }).check()).toEqual({
      id: 'acct_1CdpSyncSandbox/test',
      name: 'acct_1CdpSyncSandbox (test)',
    })
  })

  it('with a key that may only read says which permission to grant, and nothing was sent', async () => {
    await trial({ destination: { ...served.destination, api_key: KEYS.readOnly } }, async (it) => {
      const { code, stdout, stderr } = await it.run()
      expect(code).toBe(4)
      expect(stdout + stderr).toMatch(/rak_customer_write.*\n.*Customers: Write/s)
    })
    expect(customers()).toEqual([])
  })

  it('refuses what is no secret key before any request', () => {
    expect(() => open({ api_key: 'pk_live_123' })).toThrow('sk_…, rk_…')
  })
})

describe('a form', () => {
  it('has brackets, plain numbers with all digits, and lists by number', async () => {
    const fields = {
      'address.city': 'Zürich',
      'address.line1': 'Bahnhofstr. 1',
      balance: -1200,
      preferred_locales: ['de', 'fr'],
      'metadata.big': exactNumber('9007199254740993'),
      'metadata.active': true,
      'metadata.a\\.b': 'dot',
    }
    expect(await send('upsert', ada, fields, { id: 'id-k' })).toMatchObject({ result: 'ok', remoteId: 'cus_00000000000001' })
    expect(lastForm()).toEqual({
      'address[city]': 'Zürich',
      'address[line1]': 'Bahnhofstr. 1',
      balance: '-1200',
      'preferred_locales[0]': 'de',
      'preferred_locales[1]': 'fr',
      'metadata[big]': '9007199254740993',
      'metadata[active]': 'true',
      'metadata[a.b]': 'dot',
      email: 'ada@example.com',
    })
    expect(served.exchanges.at(-1)?.request.headers).toMatchObject({ 'stripe-version': '2026-10-28.endive', 'idempotency-key': 'id-k' })
  })

  it('clears with empty values what is there, and leaves them out of a new customer', async () => {
    const empty = { name: null, 'metadata.plan': null, 'address.city': null, preferred_locales: [] }
    await send('upsert', ada, { ...empty, phone: '+1' })
    expect(lastForm()).toEqual({ phone: '+1', email: 'ada@example.com' })
    await send('upsert', ada, { name: 'Ada', 'metadata.plan': 'pro', 'metadata.seats': 3, preferred_locales: ['de'], 'address.city': 'X' })
    await send('upsert', ada, empty)
    expect(lastForm()).toEqual({ name: '', 'metadata[plan]': '', 'address[city]': '', preferred_locales: '' })
    expect(customers()).toMatchObject([{ name: null, metadata: { seats: '3' }, preferred_locales: [], phone: '+1' }])
  })

  it('writes on_create fields only when it creates', async () => {
    await send('upsert', ada, { name: 'A' }, { onCreate: { description: 'first' } })
    await send('upsert', ada, { name: 'B' }, { onCreate: { description: 'second' } })
    expect(customers()).toMatchObject([{ name: 'B', description: 'first' }])
  })

  it.each<[string, Fields, string]>([
    ['name', { name: 'x'.repeat(257) }, 'name has 257 characters; Stripe takes 256.'],
    ['phone', { phone: '1'.repeat(21) }, 'phone has 21 characters; Stripe takes 20.'],
    ['metadata.note', { 'metadata.note': '👩'.repeat(501) }, 'metadata.note has 501 characters; Stripe takes 500.'],
    ['metadata.a[b]', { 'metadata.a[b]': 'x' }, 'Stripe takes no brackets in a metadata key.'],
    [`metadata.${'k'.repeat(41)}`, { [`metadata.${'k'.repeat(41)}`]: 'x' }, 'A metadata key has 1 to 40 characters.'],
    ['metadata.tags', { 'metadata.tags': ['a'] }, 'A metadata value is a text: cast the column to a string.'],
    [
      'metadata',
      { metadata: Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`k${i}`, 'x'])) },
      'metadata has 51 keys; Stripe takes 50.',
    ],
    ['metadata', { metadata: 'x' }, 'metadata must be an object of texts.'],
  ])('that is too much of %s is rejected before it is sent', async (field, fields, message) => {
    expect(await send('upsert', ada, fields)).toMatchObject({ result: 'rejected', field, message })
    expect(served.exchanges.filter((exchange) => exchange.write)).toEqual([])
  })

  it('that Stripe refuses is rejected with its code, words and field', async () => {
    expect(await send('upsert', { 'metadata.id': '1' }, { email: 'nobody' })).toMatchObject({
      result: 'rejected',
      code: 'email_invalid',
      message: 'Invalid email address: nobody',
      field: 'email',
    })
    expect(await send('upsert', ada, { 'shipping.address.city': 'X' })).toMatchObject({ code: 'parameter_missing', field: 'shipping.name' })
    await send('upsert', ada, { name: 'x' })
    expect(await send('upsert', ada, { balance: null })).toMatchObject({ code: 'parameter_invalid_empty', field: 'balance' })
  })
})

describe('a customer', () => {
  it('with an e-mail that two have is not guessed', async () => {
    for (const id of ['1', '2']) await send('upsert', { 'metadata.id': id }, ada)
    const outcome = await send('upsert', ada, { name: 'Ada' })
    expect(outcome).toMatchObject({ result: 'rejected', code: 'ambiguous', field: 'email' })
    expect(outcome['message']).toContain('cus_00000000000002, cus_00000000000001')
    expect(await open().lookup?.('customers', [ada, { 'metadata.id': '2' }, { email: 'none@example.com' }])).toEqual([
      null,
      'cus_00000000000002',
      null,
    ])
  })

  it('is found by e-mail and metadata together', async () => {
    for (const id of ['1', '2']) await send('upsert', { ...ada, 'metadata.id': id }, { name: id })
    await send('upsert', { ...ada, 'metadata.id': '2' }, { name: 'second' })
    expect(customers()).toMatchObject([{ name: '1' }, { name: 'second' }])
  })

  it('is found by metadata exactly, though the search does not mind case', async () => {
    await send('upsert', { 'metadata.id': "o'Brien\\" }, { name: 'first' })
    await send('upsert', { 'metadata.id': "O'BRIEN\\" }, { name: 'other' })
    await send('upsert', { 'metadata.id': "o'Brien\\" }, { name: 'changed' })
    expect(customers()).toMatchObject([{ name: 'changed' }, { name: 'other' }])
  })

  it('keeps its id when its e-mail changes', async () => {
    await trial({ mode: 'mirror', options: { allow_delete: true }, sync: { on_remove: 'delete' } }, async (it) => {
      expect((await it.run()).code).toBe(0)
      await it.rows([{ key: '1', match: { email: 'ada@new.example' }, fields: { name: 'Ada' } }])
      expect((await it.plan()).counts).toMatchObject({ add: 0, change: 1, remove: 0, renames: 1 })
      expect((await it.run()).code).toBe(0)
    })
    expect(customers()).toMatchObject([{ id: 'cus_00000000000001', email: 'ada@new.example' }])
  })

  it('that lost its remote id is found under its old e-mail', async () => {
    await send('upsert', ada, { name: 'Ada' })
    await send('upsert', { email: 'ada@new.example' }, { name: 'Ada' }, { previousMatch: ada })
    expect(customers()).toMatchObject([{ id: 'cus_00000000000001', email: 'ada@new.example' }])
  })

  it('that was deleted there is found anew or created again', async () => {
    await send('upsert', ada, { name: 'Ada' })
    await send('delete', ada, {}, { remoteId: 'cus_00000000000001' })
    expect(await send('upsert', ada, { name: 'Ada' }, { remoteId: 'cus_00000000000001' })).toMatchObject({
      result: 'ok',
      remoteId: 'cus_00000000000002',
    })
    expect(await send('update', ada, { name: 'B' }, { remoteId: 'cus_00000000000001' })).toMatchObject({ remoteId: 'cus_00000000000002' })
  })

  it('whose remote id is gone is not deleted under its e-mail, for that is somebody else', async () => {
    await send('upsert', ada, { name: 'Another Ada' })
    expect(await send('delete', ada, {}, { remoteId: 'cus_gone' })).toEqual({ key: 'k', result: 'ok' })
    expect(customers()).toHaveLength(1)
    expect(await send('delete', ada)).toMatchObject({ result: 'ok', remoteId: 'cus_00000000000001' })
    expect(customers()).toEqual([])
  })

  it('is updated by its own id, and not created under one', async () => {
    await send('upsert', ada, { name: 'Ada' })
    expect(await send('update', { id: 'cus_00000000000001' }, { name: 'B' }, { remoteId: 'cus_other' })).toMatchObject({ result: 'ok' })
    expect(await send('update', { id: 'cus_2' }, { name: 'B' })).toEqual({ key: 'k', result: 'absent' })
    expect(await send('upsert', { id: 'cus_2' }, { name: 'B' })).toMatchObject({ result: 'rejected', code: 'id_needs_update' })
    expect(customers()).toMatchObject([{ name: 'B' }])
  })

  it.each([' ada@example.com', 'ada@example.com\u00a0'])('with the e-mail %j is neither sought nor made', async (email) => {
    expect(await send('upsert', { email }, { name: 'Ada' })).toMatchObject({ result: 'rejected', code: 'bad_email', field: 'email' })
    expect(served.exchanges).toEqual([])
  })

  it.each(['cus_1/sources', '..', 'a b%2F?x=1#y', 'search', 'Zoë', 'x'.repeat(300)])('with the id %j is not there', async (id) => {
    const { outcomes, error } = await write(open(), one('update', { id }, { name: 'B' }))
    expect(error?.name ?? (outcomes[0] as { result: string }).result).toMatch(/^(absent|Refused)$/)
    expect(customers()).toEqual([])
  })

  it.each(['a,b;c/d%\'"', 'Zoë 👩', ' spaced ', 'x'.repeat(300), 'NULL', '9007199254740993'])(
    'with the metadata %j is found again',
    async (value) => {
      const match = { 'metadata.id': value }
      const config = { api_key: KEYS.lateSearch }
      await send('upsert', match, { name: 'A' }, {}, config)
      await send('upsert', match, { name: 'B' }, {}, config)
      expect(await send('upsert', match, { name: 'C' })).toMatchObject({ result: 'ok' })
      expect(customers()).toMatchObject([{ name: 'C', metadata: { id: value } }])
    },
  )

  it('is found by nothing else', async () => {
    const { error } = await write(open(), one('upsert', { name: 'Ada' }))
    expect(error).toMatchObject({ name: 'Refused', message: expect.stringContaining('match id, email or metadata') as string })
    await trial({}, async (it) => {
      await it.configure({ sync: { match: { customer: { column: 'c0' } } } })
      const { code, stdout, stderr } = await it.run()
      expect(code).toBe(1)
      expect(stdout + stderr).toContain('customers has no field "customer"')
    })
  })

  it('is read back by the names a sync gives', async () => {
    await send('upsert', ada, { 'address.city': 'X', 'metadata.a\\.b': 'dot', 'metadata.plan': 'pro' })
    const [read] = (await open().read?.('customers', [ada])) ?? []
    expect(read).toMatchObject({
      email: 'ada@example.com',
      name: null,
      'address.city': 'X',
      'metadata.a\\.b': 'dot',
      'metadata.plan': 'pro',
    })
  })
})

describe('deleting', () => {
  it('is possible only where the sync allows it, and nothing is removed by itself', async () => {
    await trial({ mode: 'mirror' }, async (it) => {
      expect((await it.run()).code).toBe(0)
      await it.rows([])
      expect((await it.run()).code).toBe(0)
      await it.configure({ sync: { on_remove: 'delete' } })
      expect((await it.command('validate')).code).toBe(1)
    })
    expect(customers()).toHaveLength(1)
    expect(served.exchanges.some(({ request }) => request.method === 'DELETE')).toBe(false)
  })
})

describe('nobody is created twice', () => {
  const late = { api_key: KEYS.lateSearch }
  const match = { 'metadata.id': '1' }

  it('by a repeat in one run, before the search knows the first: the key of the request is the same', async () => {
    const destination = open(late)
    const first = await write(destination, one('upsert', match, { name: 'Ada' }, { id: 'same' }))
    const again = await write(destination, one('upsert', match, { name: 'Ada' }, { id: 'same' }))
    expect(again).toEqual(first)
    expect(served.exchanges.at(-1)?.reply?.headers).toMatchObject({ 'idempotent-replayed': 'true' })
    expect(customers()).toHaveLength(1)
  })

  it('by another run with changed values before the search knows: the list of late does', async () => {
    await send('upsert', match, { name: 'Ada' }, {}, late)
    expect(await send('upsert', match, { name: 'Ada L.' }, {}, late)).toMatchObject({ remoteId: 'cus_00000000000001' })
    expect(customers()).toMatchObject([{ name: 'Ada L.' }])
    expect(asked().filter((what) => what === 'GET /v1/customers')).toHaveLength(2)
  })

  it('after a reply that was lost and a process that ended', async () => {
    await trial({ destination: { ...served.destination, ...late } }, async (it) => {
      await it.rows([])
      await it.configure({ sync: { match: { 'metadata.id': { column: 'c0' } } } })
      await it.rows([{ key: '1', match: ada, fields: { name: 'Ada' } }])
      served.fault(({ write: writes }) => (writes ? { kind: 'reset', when: 'after' } : undefined))
      expect((await it.run()).code).toBe(3)
      served.fault(() => undefined)
      expect((await it.run()).code).toBe(0)
    })
    expect(customers()).toHaveLength(1)
  })

  it('and the list is followed over its pages, once', async () => {
    const destination = open(late)
    for (let i = 0; i < 101; i++) await write(destination, one('insert', { email: `u${i}@example.com`, 'metadata.n': `x${i}` }))
    served.reverse(false)
    const another = open(late)
    const found = await another.lookup?.('customers', [{ 'metadata.n': 'x0' }, { 'metadata.n': 'x100' }, { 'metadata.n': 'none' }])
    expect(found).toEqual(['cus_00000000000001', 'cus_00000000000101', null])
    const lists = served.exchanges.filter(({ request }) => request.query.has('created[gte]'))
    expect(lists.map(({ request }) => request.query.get('starting_after'))).toEqual([null, 'cus_00000000000002'])
  })
})

describe('an odd reply', () => {
  async function against(
    reply: (method: string, path: string) => [number, unknown],
    work: (base_url: string) => Promise<void>,
  ): Promise<void> {
    const server = createServer((request, response) => {
      const [status, body] = reply(request.method ?? '', request.url ?? '')
      request.resume().on('end', () => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body)))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    } finally {
      server.close()
    }
  }
  const list = { object: 'list', data: [], has_more: false }

  it.each<[string, unknown]>([
    ['without an id', { object: 'customer' }],
    ['that is a number', 7],
  ])('%s confirms nothing', async (_, body) => {
    await against(
      (method) => [200, method === 'GET' ? list : body],
      async (base_url) => {
        const { outcomes, error } = await write(open({ base_url }), one('upsert', ada))
        expect(error?.name ?? (outcomes[0] as { result: string }).result).toMatch(/^(unknown|UnknownOutcome)$/)
      },
    )
  })

  it('that names another customer confirms nothing', async () => {
    await against(
      () => [200, { id: 'cus_2', object: 'customer' }],
      async (base_url) => {
        expect(await send('upsert', ada, { name: 'x' }, { remoteId: 'cus_1' }, { base_url })).toMatchObject({
          result: 'unknown',
          code: 'unconfirmed',
        })
      },
    )
  })

  const notFound = { error: { type: 'invalid_request_error', message: 'Unrecognized request URL (GET: /v1/customers/x).' } }

  it.each<[Op, string, unknown, string | null]>([
    ['delete', 'no customer is missing', notFound, 'cus_1'],
    ['delete', 'the page is missing', 'not found', 'cus_1'],
    ['update', 'no customer is missing', notFound, null],
    ['delete', 'no customer is missing', notFound, null],
  ])('to %s of status 404 that says that %s, does not say that the customer is gone', async (op, _, body, remoteId) => {
    await against(
      () => [404, body],
      async (base_url) => {
        const match = remoteId === null && op === 'update' ? { id: 'cus_1' } : ada
        const { outcomes, error } = await write(open({ base_url }), one(op, match, {}, { remoteId }))
        expect(error?.name ?? (outcomes[0] as { result: string }).result).toMatch(/^(rejected|Refused|UnknownOutcome)$/)
      },
    )
  })

  it.each<[string, unknown]>([
    ['without a list', { object: 'list' }],
    ['with null in the list', { ...list, data: [null] }],
    ['with a customer that has no id', { ...list, data: [{ email: ada.email }] }],
    ['with the same page again and again', { data: [{ id: 'cus_1', email: ada.email }], has_more: true }],
    ['that is a list', []],
  ])('%s finds nobody, and nobody is created', async (_, body) => {
    const made: string[] = []
    await against(
      (method) => {
        made.push(method)
        return [200, body]
      },
      async (base_url) => {
        for (const match of [ada, { 'metadata.id': '1' }]) {
          const { outcomes, error } = await write(open({ base_url }), one('upsert', match))
          expect([outcomes, error]).toMatchObject([[], { name: 'UnknownOutcome' }])
        }
      },
    )
    expect(made).not.toContain('POST')
    expect(made.length).toBeLessThan(6)
  })

  it('that says the customer it changed is deleted confirms nothing', async () => {
    await against(
      () => [200, { id: 'cus_1', object: 'customer', deleted: true }],
      async (base_url) =>
        expect(await send('upsert', ada, { name: 'x' }, { remoteId: 'cus_1' }, { base_url })).toMatchObject({ result: 'unknown' }),
    )
  })

  it.each<[number, object, object]>([
    [409, { code: 'idempotency_key_in_use' }, { error: { name: 'UnknownOutcome', afterMs: 1000 } }],
    [429, { code: 'lock_timeout' }, { error: { name: 'RateLimited' } }],
    [400, { type: 'idempotency_error', message: 'same parameters' }, { outcomes: [{ result: 'unknown', code: 'idempotency_error' }] }],
    [
      402,
      { type: 'card_error', code: 'card_declined', message: 'no' },
      { outcomes: [{ result: 'rejected', code: 'card_declined', message: 'no' }] },
    ],
    [
      404,
      { code: 'resource_missing', param: 'default_source', message: 'No such source' },
      { outcomes: [{ result: 'rejected', field: 'default_source' }] },
    ],
  ])('of status %i with %j is what it means', async (status, error, expected) => {
    await against(
      (method) => (method === 'GET' ? [200, list] : [status, { error }]),
      async (base_url) => expect(await write(open({ base_url }), one('upsert', ada, {}, { remoteId: 'cus_1' }))).toMatchObject(expected),
    )
  })
})
