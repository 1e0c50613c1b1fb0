/** HubSpot: what the conformance suite can't know of it. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import hubspot from '../../connectors/hubspot/index.ts'
import fake from '../../fakes/hubspot/index.ts'
import type { Change, Fields, Op, Outcome } from '../../src/index.ts'
import type { FakeReply, FakeRequest } from '../../src/testing/fake.ts'
import { type FakeHost, type ServedFake, serveFakes } from '../../src/testing/host.ts'
import { startTrial, type Trial, type TrialSettings } from '../../src/testing/trial.ts'
import { batch, change, openDestination, type Opened, write } from '../support/destination.ts'

/** Changes the fake's reply to a request; undefined leaves it. */
let twist: (request: FakeRequest, reply: FakeReply) => FakeReply | undefined = () => undefined

const twisted = {
  ...fake,
  create(control: Parameters<typeof fake.create>[0]) {
    const service = fake.create(control)
    return {
      ...service,
      async handle(request: FakeRequest) {
        const reply = await service.handle(request)
        return twist(request, reply) ?? reply
      },
    }
  },
}

let host: FakeHost
let served: ServedFake
let opened: Opened

beforeAll(async () => {
  host = await serveFakes([twisted])
  served = host.fakes.get('hubspot') as ServedFake
})
afterAll(() => host.close())
beforeEach(() => {
  served.reset()
  twist = () => undefined
  opened = openDestination(hubspot, served.destination)
})
afterEach(() => opened.close())

const put = async (op: Op, object: string, changes: readonly Change[], by = opened): Promise<Outcome[]> => {
  const { outcomes, error } = await write(by.destination, { ...batch(op, changes), object })
  if (error) throw error
  return outcomes as Outcome[]
}
const contact = (key: string, email: string, fields: Fields = {}, more: Partial<Change> = {}): Change =>
  change(key, fields, { match: { email }, ...more })
const contacts = () => served.records()['contacts'] ?? []
const idOf = (outcomes: readonly Outcome[], n = 0): string => (outcomes[n] as { remoteId: string }).remoteId
/** Bodies of the requests to a path, oldest first: a test looks only where it knows what stands there, hence any. */
const sent = (path: string): any[] =>
  served.exchanges.filter(({ request }) => request.path.endsWith(path)).map(({ request }) => request.json())

describe('values', () => {
  it('are texts: null and empty clear, lists are options, numbers keep their digits', async () => {
    const fields = {
      firstname: 'Ada',
      interests: ['api', 'billing'],
      seats: 3,
      is_active: true,
      birthday: '1990-02-03',
      signed_up_at: '2026-01-05T09:30:00Z',
    }
    await put('upsert', 'contacts', [contact('1', 'Ada@Example.com', fields)])
    expect(sent('batch/upsert')[0].inputs).toEqual([
      {
        id: 'Ada@Example.com',
        idProperty: 'email',
        objectWriteTraceId: '0',
        properties: {
          firstname: 'Ada',
          interests: 'api;billing',
          seats: '3',
          is_active: 'true',
          birthday: '1990-02-03',
          signed_up_at: '2026-01-05T09:30:00Z',
        },
      },
    ])
    expect(contacts()).toMatchObject([{ email: 'ada@example.com', interests: 'api;billing', is_active: 'true' }])
    await put('upsert', 'contacts', [contact('1', 'ada@example.com', { firstname: null, interests: ';reports', seats: '' })])
    const [kept] = contacts()
    expect([kept?.['firstname'], kept?.['seats'], kept?.['interests']]).toEqual([undefined, undefined, 'api;billing;reports'])
  })

  it('that no property can hold are rejected with the name of the field, and nothing else is held up', async () => {
    const outcomes = await put('upsert', 'contacts', [
      contact('object', 'a@example.com', { note: { deep: 1 } }),
      contact('option', 'b@example.com', { interests: ['a;b'] }),
      contact('long', 'c@example.com', { note: 'x'.repeat(65_537) }),
      contact('blank', ' '),
      contact('good', 'd@example.com', { note: 'x'.repeat(65_536) }),
    ])
    expect(outcomes).toMatchObject([
      { key: 'object', result: 'rejected', field: 'note' },
      { key: 'option', result: 'rejected', field: 'interests', message: expect.stringContaining('semicolon') },
      { key: 'long', result: 'rejected', field: 'note', message: expect.stringContaining('65537 characters') },
      { key: 'blank', result: 'rejected', field: 'email' },
      { key: 'good', result: 'ok' },
    ])
  })

  it('that HubSpot refuses are rejected with its code, its words and the field', async () => {
    const outcomes = await put('upsert', 'contacts', [
      contact('1', 'a@example.com', { tier: 'gold', mrr: 'much' }),
      contact('2', 'b@example.com', { birthday: '2026-01-05T09:30:00Z' }),
      contact('3', 'c@example.com', { no_such_property: 'x' }),
    ])
    expect(outcomes).toMatchObject([
      {
        key: '1',
        result: 'rejected',
        code: 'INVALID_OPTION',
        field: 'tier',
        message: expect.stringMatching(/gold was not one of.*much was not a valid number/),
      },
      { key: '2', result: 'rejected', code: 'INVALID_DATE', field: 'birthday' },
      { key: '3', result: 'rejected', code: 'PROPERTY_DOESNT_EXIST', field: 'no_such_property' },
    ])
  })

  it('are read back in their types', async () => {
    await put('upsert', 'contacts', [contact('1', 'ada@example.com', { seats: 3, mrr: '12.50', is_active: false, note: 'x' })])
    const [read, none] = (await opened.destination.read?.('contacts', [{ email: 'ADA@example.com' }, { email: 'no@example.com' }])) ?? []
    expect(read).toMatchObject({ seats: 3, is_active: false, note: 'x', firstname: null })
    expect(none).toBe(null)
  })
})

describe('a stage that lies behind', () => {
  it('is emptied first, for HubSpot takes the write and keeps the later stage', async () => {
    await put('upsert', 'contacts', [
      contact('1', 'a@example.com', { lifecyclestage: 'customer' }),
      contact('2', 'b@example.com', { lifecyclestage: 'lead' }),
    ])
    const outcomes = await put('upsert', 'contacts', [
      contact('1', 'a@example.com', { lifecyclestage: 'lead' }),
      contact('2', 'b@example.com', { lifecyclestage: 'customer' }),
    ])
    expect(outcomes.map(({ key, result }) => [key, result]).sort()).toEqual([
      ['1', 'ok'],
      ['2', 'ok'],
    ])
    expect(contacts().map((one) => one['lifecyclestage'])).toEqual(['lead', 'customer'])
    expect(sent('batch/update').map(({ inputs }) => inputs.map((input: any) => input.properties))).toEqual([
      [{ lifecyclestage: '' }],
      [{ lifecyclestage: 'lead' }],
    ])
  })
})

describe('addresses of one contact', () => {
  async function twoAddresses(): Promise<string> {
    const [{ remoteId } = { remoteId: '' }] = (await put('upsert', 'contacts', [
      contact('1', 'first@example.com', { hs_additional_emails: 'second@example.com' }),
    ])) as { remoteId: string }[]
    return remoteId
  }

  it('give the same remote id, and a further one does not become the first', async () => {
    const id = await twoAddresses()
    const outcomes = await put('upsert', 'contacts', [contact('2', 'second@example.com', { firstname: 'B' })])
    expect(outcomes).toEqual([{ key: '2', result: 'ok', remoteId: id }])
    expect(contacts()).toMatchObject([{ email: 'first@example.com', firstname: 'B' }])
  })

  it('are updated one after the other: one id twice refuses a batch', async () => {
    const id = await twoAddresses()
    const outcomes = await put('update', 'contacts', [
      contact('1', 'first@example.com', { note: 'one' }),
      contact('2', 'Second@example.com', { note: 'two' }),
      contact('3', 'third@example.com', { note: 'three' }),
    ])
    expect(outcomes.sort((a, b) => (a.key < b.key ? -1 : 1))).toEqual([
      { key: '1', result: 'ok', remoteId: id },
      { key: '2', result: 'ok', remoteId: id },
      { key: '3', result: 'absent' },
    ])
    expect(sent('batch/update')).toHaveLength(2)
  })

  it('are archived once', async () => {
    const id = await twoAddresses()
    const both = [contact('1', 'first@example.com', {}, { remoteId: id }), contact('2', 'second@example.com')]
    expect(await put('archive', 'contacts', both)).toEqual([
      { key: '1', result: 'ok' },
      { key: '2', result: 'ok' },
    ])
    expect(sent('batch/archive')).toEqual([{ inputs: [{ id }] }])
    expect(await put('archive', 'contacts', both)).toMatchObject([{ result: 'ok' }, { result: 'ok' }])
    expect(contacts()).toEqual([])
  })
})

describe('a changed match', () => {
  it('moves the record, which keeps its id', async () => {
    const id = idOf(await put('upsert', 'contacts', [contact('1', 'old@example.com', { firstname: 'A' })]))
    const move = contact('1', 'new@example.com', { firstname: 'A' }, { previousMatch: { email: 'old@example.com' }, remoteId: id })
    expect(await put('upsert', 'contacts', [move, contact('2', 'other@example.com')])).toContainEqual({
      key: '1',
      result: 'ok',
      remoteId: id,
    })
    expect(contacts()).toMatchObject([{ id, email: 'new@example.com' }, { email: 'other@example.com' }])
  })

  it('makes a new record when the old one was deleted meanwhile', async () => {
    const move = contact('1', 'new@example.com', {}, { previousMatch: { email: 'old@example.com' }, remoteId: '123' })
    const [outcome] = await put('upsert', 'contacts', [move])
    expect(outcome).toMatchObject({ key: '1', result: 'ok' })
    expect(contacts()).toMatchObject([{ email: 'new@example.com' }])
    expect(await put('update', 'contacts', [{ ...move, match: { email: 'x@example.com' } }])).toEqual([{ key: '1', result: 'absent' }])
  })

  it('into an address that another contact has is rejected, with that contact’s id', async () => {
    const outcomes = await put('upsert', 'contacts', [contact('1', 'a@example.com'), contact('2', 'b@example.com')])
    const move = contact('1', 'b@example.com', {}, { previousMatch: { email: 'a@example.com' }, remoteId: idOf(outcomes) })
    expect(await put('upsert', 'contacts', [move])).toEqual([
      {
        key: '1',
        result: 'rejected',
        code: 'CONFLICT',
        message: `Contact already exists. Existing ID: ${idOf(outcomes, 1)}`,
        field: 'email',
      },
    ])
  })
})

describe('a part of a row', () => {
  it('goes to a known contact by its id, for an upsert by e-mail takes whole rows alone', async () => {
    const id = idOf(await put('upsert', 'contacts', [contact('1', 'a@example.com', { firstname: 'A', note: 'x' })]))
    const part = contact('1', 'a@example.com', { note: 'y' }, { changed: ['note'], remoteId: id })
    expect(await put('upsert', 'contacts', [part])).toEqual([{ key: '1', result: 'ok', remoteId: id }])
    expect(sent('batch/update')).toMatchObject([{ inputs: [{ id, properties: { note: 'y' } }] }])
    expect(contacts()).toMatchObject([{ email: 'a@example.com', firstname: 'A', note: 'y' }])
    await put('archive', 'contacts', [contact('1', 'a@example.com', {}, { remoteId: id })])
    expect(idOf(await put('upsert', 'contacts', [part]))).not.toBe(id)
    const whole = contact('2', 'b@example.com', { firstname: 'B', note: 'y' }, { changed: ['note'], remoteId: id })
    await put('upsert', 'contacts', [whole])
    expect(sent('batch/upsert').at(-1).inputs).toMatchObject([{ id: 'b@example.com' }])
  })
})

describe('mode update', () => {
  it('finds records by HubSpot’s own id too, and creates nothing by it', async () => {
    const id = idOf(await put('upsert', 'contacts', [contact('1', 'a@example.com')]))
    const byId = (key: string, value: string): Change => change(key, { note: 'x' }, { match: { hs_object_id: value } })
    expect(await put('update', 'contacts', [byId('1', id), byId('2', '999')])).toEqual([
      { key: '1', result: 'ok', remoteId: id },
      { key: '2', result: 'absent' },
    ])
    const { outcomes, error } = await write(opened.destination, { ...batch('upsert', [byId('1', id)]), object: 'contacts' })
    expect([outcomes, error.code]).toEqual([[expect.objectContaining({ key: '1', result: 'retry' })], 'CDP3200'])
  })
})

describe('mode insert', () => {
  it('tells what exists from what is refused, by the property that finds records', async () => {
    await put('insert', 'contacts', [contact('1', 'a@example.com', { customer_id: 'c1' })])
    expect(
      await put('insert', 'contacts', [contact('1', 'A@example.com'), contact('2', 'b@example.com', { customer_id: 'c1' })]),
    ).toMatchObject([
      { key: '1', result: 'exists' },
      { key: '2', result: 'rejected', field: 'customer_id' },
    ])
    const byId = (key: string, id: string, email: string): Change => change(key, { email }, { match: { customer_id: id } })
    expect(await put('insert', 'contacts', [byId('1', 'c1', 'z@example.com'), byId('2', 'c2', 'a@example.com')])).toMatchObject([
      { key: '1', result: 'exists' },
      { key: '2', result: 'rejected', code: 'CONFLICT', field: 'email' },
    ])
  })
})

describe('replies', () => {
  const json = (reply: FakeReply): any => reply.json
  const two = [contact('1', 'a@example.com'), contact('2', 'b@example.com')]

  it('without trace ids are read by value, never by position', async () => {
    twist = (_, reply) => {
      const { results } = json(reply)
      return (
        results && {
          ...reply,
          json: { ...json(reply), results: results.toReversed().map(({ objectWriteTraceId: _trace, ...rest }: any) => rest) },
        }
      )
    }
    // The match is among the properties of a reply to an upsert by e-mail.
    const outcomes = await put('upsert', 'contacts', two)
    const ids = new Map(contacts().map((one) => [one['email'], one['id']]))
    expect(new Map(outcomes.map((one) => [one.key, (one as { remoteId: string }).remoteId]))).toEqual(
      new Map([
        ['1', ids.get('a@example.com')],
        ['2', ids.get('b@example.com')],
      ]),
    )
  })

  it('that name no row confirm none', async () => {
    twist = ({ path }, reply) => (path.endsWith('upsert') ? { ...reply, json: { status: 'COMPLETE', results: [], errors: [] } } : undefined)
    expect(await put('upsert', 'contacts', two)).toEqual([])
    twist = ({ path }, reply) => (path.endsWith('upsert') ? { ...reply, json: { results: [{ id: '9', properties: {} }] } } : undefined)
    expect(await put('upsert', 'contacts', two)).toEqual([])
    expect(opened.notes.join('\n')).toContain('1 entries of a batch reply name no row')
  })

  it('that confirm and refuse one row say both, so it counts as unknown', async () => {
    twist = ({ path }, reply) => {
      const error = { category: 'VALIDATION_ERROR', message: 'no', context: { objectWriteTraceId: ['0'] } }
      return path.endsWith('upsert') ? { ...reply, status: 207, json: { ...json(reply), errors: [error] } } : undefined
    }
    expect((await put('upsert', 'contacts', two)).map(({ key, result }) => `${key} ${result}`)).toEqual(['1 ok', '2 ok', '1 rejected'])
  })

  it('to a search for records that leave one out stop the request: it is neither there nor missing', async () => {
    twist = ({ path }, reply) =>
      path.endsWith('batch/read') ? { ...reply, status: 200, json: { status: 'COMPLETE', results: [] } } : undefined
    await expect(put('update', 'contacts', two)).rejects.toMatchObject({ code: 'incomplete_reply' })
    expect(sent('batch/update')).toEqual([])
  })

  it('to an archive confirm by 204 alone', async () => {
    twist = ({ path }) => (path.endsWith('archive') ? { status: 200, json: {} } : undefined)
    await expect(put('archive', 'contacts', [contact('1', 'a@example.com', {}, { remoteId: '1' })])).rejects.toMatchObject({
      code: 'bad_reply',
    })
  })

  it('to a row that met a limit ask to come back', async () => {
    twist = ({ path }, reply) => {
      const error = { category: 'RATE_LIMITS', message: 'slow down', context: { objectWriteTraceId: ['0'] } }
      return path.endsWith('upsert') ? { ...reply, status: 207, json: { results: [], errors: [error] } } : undefined
    }
    expect(await put('upsert', 'contacts', two)).toEqual([{ key: '1', result: 'retry', code: 'RATE_LIMITS', message: 'slow down' }])
  })

  it.each([
    [423, {}, 2000],
    [477, { 'retry-after': '600' }, 600_000],
  ])('%i pauses the account', async (status, headers, afterMs) => {
    twist = ({ path }) => (path.endsWith('upsert') ? { status, headers, json: { message: 'locked' } } : undefined)
    await expect(put('upsert', 'contacts', two)).rejects.toMatchObject({ name: 'RateLimited', afterMs })
  })

  it('that end the daily quota say when it begins anew: midnight of the account', async () => {
    const account = openDestination(hubspot, served.destination, {}, Date.parse('2026-01-01T21:30:00Z'))
    await account.destination.check()
    served.fault(() => ({ kind: 'status', status: 429, daily: true }))
    const { error } = await write(account.destination, { ...batch('upsert', two), object: 'contacts' })
    expect(error).toMatchObject({ name: 'RateLimited', afterMs: 2.5 * 3_600_000, message: expect.stringContaining('daily quota') })
    await account.close()
  })
})

describe('references', () => {
  const lookup = (object: string, matches: Fields[]) => opened.destination.lookup?.(object, matches)

  it('find owners by e-mail, all asked for at once', async () => {
    expect(await lookup('owners', [{ email: 'Sales@example.com' }, { email: 'nobody@example.com' }])).toEqual(['7001', null])
    await lookup('owners', [{ email: 'owner@example.com' }])
    expect(served.exchanges.filter(({ request }) => request.path.includes('/owners/'))).toHaveLength(1)
    await expect(lookup('owners', [{ name: 'Sales' }])).rejects.toMatchObject({ code: 'CDP3200' })
  })

  it('find records by unique properties, and companies by their domain unless two have it', async () => {
    const company = (id: string, domain: string): Change => change(id, { domain }, { match: { company_id: id } })
    const made = await put('upsert', 'companies', [
      company('c1', 'one.example'),
      company('c2', 'two.example'),
      company('c3', 'two.example'),
    ])
    expect(await lookup('companies', [{ company_id: 'c2' }, { company_id: 'c9' }])).toEqual([idOf(made, 1), null])
    twist = ({ path }, reply) => {
      if (!path.endsWith('/search')) return undefined
      const results = (served.records()['companies'] ?? []).map(({ id, ...properties }) => ({ id, properties }))
      return { ...reply, json: { total: results.length, results } }
    }
    expect(await lookup('companies', [{ domain: 'ONE.example' }, { domain: 'two.example' }, { domain: 'three.example' }])).toEqual([
      idOf(made),
      null,
      null,
    ])
    await expect(lookup('companies', [{ nonsense: 'x' }])).rejects.toMatchObject({
      code: 'CDP3200',
      message: expect.stringContaining('"nonsense"'),
    })
  })

  it('follow the pages of a search', async () => {
    let asked = 0
    twist = ({ path }) => {
      if (!path.endsWith('/search')) return undefined
      const first = asked++ === 0
      const results = [{ id: first ? '1' : '2', properties: { domain: first ? 'a.example' : 'b.example' } }]
      return { status: 200, json: { total: 2, results, ...(first ? { paging: { next: { after: '200' } } } : {}) } }
    }
    expect(await lookup('companies', [{ domain: 'a.example' }, { domain: 'b.example' }])).toEqual(['1', '2'])
    expect(sent('/search').map(({ after }) => after)).toEqual(['0', '200'])
  })
})

describe('lists', () => {
  const members = (list: number | string) => openDestination(hubspot, served.destination, { list })

  it('that fill themselves, or are not there, are found by check()', async () => {
    for (const [list, message] of [
      [3, /is an active list/],
      [99, /no list 99/],
    ] as const) {
      const it = members(list)
      await expect(it.destination.check()).rejects.toMatchObject({ code: 'CDP3200', message: expect.stringMatching(message) })
      await it.close()
    }
  })

  it('hold two addresses of one contact as one member, and let it go once', async () => {
    await put('upsert', 'contacts', [contact('1', 'a@example.com', { hs_additional_emails: 'b@example.com' })])
    const it = members('1')
    const both = [contact('1', 'a@example.com'), contact('2', 'b@example.com')]
    const outcomes = await put('upsert', 'list-members', both, it)
    expect(new Set(outcomes.map((one) => (one as { remoteId: string }).remoteId)).size).toBe(1)
    expect(served.records()['lists']?.[0]?.['members']).toHaveLength(1)
    expect(await put('delete', 'list-members', [...both, contact('3', 'gone@example.com')], it)).toMatchObject([
      { result: 'ok' },
      { result: 'ok' },
      { key: '3', result: 'ok' },
    ])
    expect(served.records()['lists']?.[0]?.['members']).toEqual([])
    await it.close()
  })

  it('list their members by everything that could find them', async () => {
    await put(
      'upsert',
      'contacts',
      Array.from({ length: 100 }, (_, i) => contact(`${i}`, `m${i}@example.com`, { customer_id: `c${i}` })),
    )
    await put('upsert', 'contacts', [contact('last', 'last@example.com')])
    const it = members(1)
    await put(
      'upsert',
      'list-members',
      contacts().map(({ id, email }) => contact(String(id), String(email))),
      it,
    )
    const listed: Fields[] = []
    for await (const member of it.destination.list?.('list-members') ?? []) listed.push(member)
    expect(listed).toHaveLength(101)
    const [first, last] = [listed.find(({ customer_id }) => customer_id === 'c0'), listed.find(({ email }) => email === 'last@example.com')]
    expect([first?.['email'], last?.['hs_object_id']]).toEqual(['m0@example.com', contacts().at(-1)?.['id']])
    expect('list' in opened.destination).toBe(false)
    await it.close()
  })

  it('whose reply does not say who is missing confirm nothing', async () => {
    await put('upsert', 'contacts', [contact('1', 'a@example.com')])
    const it = members(1)
    twist = ({ path }, reply) => (path.endsWith('memberships/add') ? { ...reply, json: {} } : undefined)
    await expect(put('upsert', 'list-members', [contact('1', 'a@example.com')], it)).rejects.toMatchObject({ code: 'bad_reply' })
    await it.close()
  })
})

describe('associations', () => {
  const between = (label?: string) =>
    openDestination(hubspot, served.destination, {
      from: { object: 'contacts', by: 'email' },
      to: { object: 'companies', by: 'company_id' },
      ...(label === undefined ? {} : { label }),
    })
  const link = (key: string, from: string, to: string): Change => change(key, {}, { match: { from, to } })
  const labels = () => served.records()['associations']?.map((one) => one['labels'])

  beforeEach(async () => {
    await put('upsert', 'contacts', [contact('1', 'a@example.com')])
    await put('upsert', 'companies', [change('1', {}, { match: { company_id: 'c1' } })])
  })

  it('under a label are made and removed by it, and the plain one stays', async () => {
    const [plain, labelled] = [between(), between('decision maker')]
    await put('upsert', 'associations', [link('1', 'a@example.com', 'c1')], plain)
    await put('upsert', 'associations', [link('1', 'A@example.com', 'c1')], labelled)
    expect(labels()).toEqual([['unlabelled', 'Decision maker']])
    expect(await put('delete', 'associations', [link('1', 'a@example.com', 'c1')], labelled)).toEqual([{ key: '1', result: 'ok' }])
    expect(labels()).toEqual([['unlabelled']])
    expect(
      await put('delete', 'associations', [link('1', 'a@example.com', 'c1'), link('2', 'gone@example.com', 'c1')], plain),
    ).toMatchObject([{ result: 'ok' }, { result: 'ok' }])
    expect(labels()).toEqual([])
    await plain.close()
    await labelled.close()
  })

  it('to records that are not there are rejected, each with its end', async () => {
    const it = between()
    expect(await put('upsert', 'associations', [link('1', 'no@example.com', 'c1'), link('2', 'a@example.com', 'no')], it)).toMatchObject([
      { key: '1', result: 'rejected', code: 'no_record', field: 'from' },
      { key: '2', result: 'rejected', code: 'no_record', field: 'to' },
    ])
    await it.close()
  })

  it('whose error names an id are refused for the pairs with it', async () => {
    await put('upsert', 'contacts', [contact('2', 'b@example.com')])
    const it = between()
    served.refuseRows(1)
    const outcomes = await put('upsert', 'associations', [link('1', 'a@example.com', 'c1'), link('2', 'b@example.com', 'c1')], it)
    expect(outcomes.map(({ key, result }) => `${key} ${result}`).sort()).toEqual(['1 rejected', '2 ok'])
    await it.close()
  })

  it('under an unknown label are found by check(), with the labels there are', async () => {
    const it = between('Nemesis')
    await expect(it.destination.check()).rejects.toMatchObject({ code: 'CDP3200', hint: expect.stringContaining('Decision maker') })
    await it.close()
  })
})

describe('a whole run', () => {
  let trial: Trial
  const start = async (more: Partial<TrialSettings> = {}): Promise<void> => {
    trial = await startTrial({ connector: hubspot, destination: served.destination, object: 'contacts', mode: 'upsert', ...more })
    await trial.rows([{ key: '1', match: { email: 'a@example.com' }, fields: { firstname: 'A' } }])
  }
  afterEach(() => trial.remove())

  it('names the scope that is missing', async () => {
    await start()
    served.fault(({ write: changes }) => (changes ? { kind: 'status', status: 403 } : undefined))
    const ran = await trial.run()
    expect([ran.code, ran.stdout + ran.stderr]).toEqual([4, expect.stringContaining('lacks the scope crm.objects.contacts.write')])
  })

  it('names what to do about a wrong token', async () => {
    await start({ destination: fake.intruder?.(served.url) ?? {} })
    const ran = await trial.run()
    expect([ran.code, ran.stdout + ran.stderr]).toEqual([
      4,
      expect.stringMatching(/refuses the access token \(INVALID_AUTHENTICATION\)[\s\S]*Copy it anew/),
    ])
  })

  it('names an object that is not there', async () => {
    await start({ object: 'p_nothing' })
    const ran = await trial.run()
    expect([ran.code, ran.stdout + ran.stderr]).toEqual([1, expect.stringMatching(/HubSpot has no object "p_nothing"/)])
  })

  it('names a property that finds nothing for sure', async () => {
    await start({ object: 'companies' })
    await trial.rows([{ key: '1', match: { email: 'engines.example.com' }, fields: { firstname: 'A' } }])
    await trial.configure({ sync: { match: { domain: { column: 'c0' } }, fields: { name: { column: 'c1' } } } })
    const ran = await trial.run()
    expect([ran.code, ran.stdout + ran.stderr]).toEqual([1, expect.stringMatching(/"domain" are not unique[\s\S]*Require unique values/)])
  })

  it('refuses a column whose values a property can’t take, before anything is sent', async () => {
    await start()
    await trial.rows([{ key: '1', match: { email: 'a@example.com' }, fields: { firstname: 'x' } }])
    await trial.configure({ sync: { fields: { birthday: { value: true } } } })
    const ran = await trial.run()
    expect([ran.code, ran.stdout + ran.stderr]).toEqual([1, expect.stringMatching(/"birthday" of contacts takes date, string or integer/)])
    expect(contacts()).toEqual([])
  })

  it('archives a contact with two addresses when the last of its rows leaves', async () => {
    await put('upsert', 'contacts', [contact('x', 'first@example.com', { hs_additional_emails: 'second@example.com' })])
    await start({ mode: 'mirror', sync: { on_remove: 'archive' } })
    const row = (key: string, email: string) => ({ key, match: { email }, fields: { firstname: 'A' } })
    const emails = () => contacts().map((one) => one['email'])
    const run = async (...rows: ReturnType<typeof row>[]) => {
      await trial.rows(rows)
      expect((await trial.run()).code).toBe(0)
      return emails()
    }
    const others = row('3', 'other@example.com')
    expect(await run(row('1', 'first@example.com'), row('2', 'second@example.com'), others)).toEqual([
      'first@example.com',
      'other@example.com',
    ])
    expect(await run(row('2', 'second@example.com'), others)).toEqual(['first@example.com', 'other@example.com'])
    expect(await run(others)).toEqual(['other@example.com'])
  })

  it('without the options that an object needs says which', async () => {
    await start()
    await trial.configure({ object: 'list-members', mode: 'mirror', options: { label: 'x' }, sync: { fields: {} } })
    const said = await trial.command('validate')
    expect([said.code, said.stdout + said.stderr]).toEqual([
      1,
      expect.stringMatching(/list: is missing[\s\S]*label: is nothing for list-members/),
    ])
  })
})
