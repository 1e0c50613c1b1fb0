/** HubSpot: whom a write reaches, when records have moved on there, when it ends half way, and with odd values. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import hubspot from '../../connectors/hubspot/index.ts'
import fake from '../../fakes/hubspot/index.ts'
import type { Change, Fields, Op, Outcome } from '../../src/index.ts'
import type { FakeReply, FakeRequest } from '../../src/testing/fake.ts'
import { type FakeHost, type ServedFake, serveFakes } from '../../src/testing/host.ts'
import { startTrial, type Trial } from '../../src/testing/trial.ts'
import { batch, change, openDestination, type Opened, write } from '../support/destination.ts'

/** Answers instead of the fake; undefined leaves it the request. */
let instead: (request: FakeRequest) => FakeReply | undefined = () => undefined

const twisted = {
  ...fake,
  create(control: Parameters<typeof fake.create>[0]) {
    const service = fake.create(control)
    return { ...service, handle: (request: FakeRequest) => instead(request) ?? service.handle(request) }
  },
}

let host: FakeHost
let served: ServedFake
let opened: Opened
let trial: Trial | null = null

beforeAll(async () => {
  host = await serveFakes([twisted])
  served = host.fakes.get('hubspot') as ServedFake
})
afterAll(() => host.close())
beforeEach(() => {
  served.reset()
  instead = () => undefined
  opened = openDestination(hubspot, served.destination)
})
afterEach(async () => {
  await opened.close()
  await trial?.remove()
  trial = null
})

const put = async (op: Op, object: string, ...changes: readonly Change[]): Promise<Outcome[]> => {
  const { outcomes, error } = await write(opened.destination, { ...batch(op, changes), object })
  if (error) throw error
  return outcomes as Outcome[]
}
const contact = (key: string, email: string, fields: Fields = {}, more: Partial<Change> = {}): Change =>
  change(key, fields, { match: { email }, ...more })
const company = (key: string, fields: Fields = {}): Change => change(key, fields, { match: { company_id: key } })
const contacts = () => served.records()['contacts'] ?? []
const idOf = (outcomes: readonly Outcome[]): string => (outcomes[0] as { remoteId: string }).remoteId
/** Bodies as they were sent: a test looks only where it knows what stands there, hence any. */
const sent = (path: string): any[] =>
  served.exchanges.filter(({ request }) => request.path.endsWith(path)).map(({ request }) => request.json())
const failing = (path: string, status: number, n = 1) => {
  served.fault(({ request }) => (request.path.endsWith(path) && n-- === 1 ? { kind: 'status', status } : undefined))
}

describe('a stage that is set back', () => {
  const customer = contact('1', 'a@example.com', { lifecyclestage: 'customer', note: 'old' })
  const lead = contact('1', 'a@example.com', { lifecyclestage: 'lead', note: 'new' })

  it.each([
    [401, 1],
    [429, 1],
    [429, 2],
    [400, 2],
  ])('and meets a %i in its update %i is in doubt, for its other fields are written', async (status, n) => {
    await put('upsert', 'contacts', customer)
    failing('batch/update', status, n)
    const { outcomes, error } = await write(opened.destination, { ...batch('upsert', [lead]), object: 'contacts' })
    expect(outcomes).toMatchObject([{ key: '1', result: 'unknown', code: 'half_done' }])
    expect(error).not.toBe(null)
    expect(contacts()[0]?.['note']).toBe('new')
  })

  it('and is refused says why', async () => {
    await put('upsert', 'contacts', customer)
    const error = { category: 'VALIDATION_ERROR', message: 'not empty', context: { objectWriteTraceId: ['0'] } }
    instead = ({ path }) => (path.endsWith('batch/update') ? { status: 207, json: { results: [], errors: [error] } } : undefined)
    expect(await put('upsert', 'contacts', lead)).toEqual([
      { key: '1', result: 'unknown', code: 'half_done', message: 'The row was written, but not its stage: not empty' },
    ])
  })

  it('and breaks off leaves nothing behind when the row becomes what it was', async () => {
    trial = await startTrial({ connector: hubspot, destination: served.destination, object: 'contacts', mode: 'upsert' })
    const row = (stage: string, note: string) => ({ key: '1', match: { email: 'a@example.com' }, fields: { lifecyclestage: stage, note } })
    await trial.rows([row('customer', 'old')])
    expect((await trial.run()).code).toBe(0)
    failing('batch/update', 401, 2)
    await trial.rows([row('lead', 'new')])
    expect((await trial.run()).code).not.toBe(0)
    served.fault(() => undefined)
    await trial.rows([row('customer', 'old')])
    expect((await trial.run()).code).toBe(0)
    expect(contacts()).toMatchObject([{ lifecyclestage: 'customer', note: 'old' }])
  })
})

describe('a part of a row', () => {
  it('goes to the contact that has the address now', async () => {
    const id = idOf(await put('upsert', 'contacts', contact('1', 'a@example.com', { note: 'x' })))
    await put('update', 'contacts', change('1', { email: 'elsewhere@example.com' }, { match: { hs_object_id: id } }))
    const other = idOf(await put('upsert', 'contacts', contact('2', 'a@example.com', { note: 'x' })))
    const part = contact('1', 'a@example.com', { note: 'y' }, { changed: ['note'], remoteId: id })
    expect(await put('upsert', 'contacts', part)).toEqual([{ key: '1', result: 'ok', remoteId: other }])
    expect(contacts().map(({ email, note }) => `${email as string} ${note as string}`)).toEqual([
      'elsewhere@example.com x',
      'a@example.com y',
    ])
  })

  it('goes by id where no id is known', async () => {
    const id = idOf(await put('upsert', 'contacts', contact('1', 'a@example.com', { note: 'x' })))
    expect(await put('upsert', 'contacts', contact('1', 'A@example.com', { note: 'y' }, { changed: ['note'] }))).toEqual([
      { key: '1', result: 'ok', remoteId: id },
    ])
    expect(sent('batch/update')).toMatchObject([{ inputs: [{ id, properties: { note: 'y' } }] }])
  })
})

describe('a batch of which nothing is found', () => {
  const missing = (...ids: string[]): FakeReply => ({
    status: 404,
    json: { status: 'error', category: 'OBJECT_NOT_FOUND', message: 'Could not get some objects', context: { ids } },
  })
  const answers = (path: string, ...replies: FakeReply[]) => {
    instead = (request) => (request.path.endsWith(path) ? replies.shift() : undefined)
  }
  const byId = (key: string, id: string) => change(key, { note: 'x' }, { match: { hs_object_id: id } })

  it('and that is refused as a whole is absent, and what else was in it goes again', async () => {
    answers('batch/update', missing('1'))
    expect(await put('update', 'contacts', byId('a', '1'), byId('b', '2'))).toMatchObject([
      { key: 'a', result: 'absent' },
      { key: 'b', result: 'retry' },
    ])
    answers('batch/read', missing('a@example.com'))
    expect(await put('update', 'contacts', contact('1', 'a@example.com', { note: 'x' }))).toEqual([{ key: '1', result: 'absent' }])
  })

  it('is refused where no record is named', async () => {
    answers('batch/update', missing())
    await expect(put('update', 'contacts', byId('a', '1'))).rejects.toMatchObject({ name: 'Refused', status: 404 })
  })
})

describe('odd values', () => {
  it('of a unique number keep their digits: two long ones are two records', async () => {
    const numbered = (key: string, account_number: string): Change => change(key, {}, { match: { account_number } })
    const [one, two] = [numbered('1', '9007199254740992'), numbered('2', '9007199254740993')]
    await put('upsert', 'companies', one, two)
    expect(await put('archive', 'companies', two)).toEqual([{ key: '2', result: 'ok' }])
    expect(served.records()['companies']?.map((record) => record['account_number'])).toEqual(['9007199254740992'])
    const found = await opened.destination.lookup?.('companies', [{ account_number: '09007199254740992.0' }, { account_number: '-1' }])
    expect(found).toEqual([served.records()['companies']?.[0]?.['id'], null])
  })

  it('in a match are sent without the space around them, as HubSpot keeps them', async () => {
    await put('upsert', 'companies', company(' c/1 "ü", 50% '))
    expect(sent('batch/upsert')[0].inputs[0].id).toBe('c/1 "ü", 50%')
  })

  it.each(['__proto__', 'constructor', 'id'])('in a field named %s are sent, and refused there', async (name) => {
    const fields = JSON.parse(`{ "${name}": "x" }`) as Fields
    expect(await put('upsert', 'contacts', contact('1', 'a@example.com', fields))).toMatchObject([
      { key: '1', result: 'rejected', code: 'PROPERTY_DOESNT_EXIST', field: name },
    ])
  })
})

describe('a target that is not fit for it', () => {
  it('leaves no row in doubt, whether it shows in a property, a list or an end', async () => {
    const ends = { from: { object: 'contacts', by: 'firstname' }, to: { object: 'companies', by: 'company_id' } }
    for (const [object, options, match] of [
      ['contacts', {}, { firstname: 'A' }],
      ['list-members', { list: 1 }, { firstname: 'A' }],
      ['list-members', { list: 99 }, { email: 'a@example.com' }],
      ['associations', ends, { from: 'A', to: 'c1' }],
    ] as const) {
      const it = openDestination(hubspot, served.destination, options)
      const { outcomes, error } = await write(it.destination, { ...batch('upsert', [change('1', {}, { match })]), object })
      expect([outcomes, error.code]).toEqual([[expect.objectContaining({ key: '1', result: 'retry' })], 'CDP3200'])
      await it.close()
    }
  })
})

describe('members and pairs', () => {
  const row = (key: string, match: Readonly<Record<string, string>>) => ({ key, match, fields: {} })
  const rename = (id: unknown, email: string): Promise<Outcome[]> =>
    put('update', 'contacts', change('x', { email }, { match: { hs_object_id: String(id) } }))
  const inList = () => served.records()['lists']?.[0]?.['members'] as readonly unknown[]
  const pairs = () => served.records()['associations']?.length

  async function start(object: string, options: Readonly<Record<string, unknown>>): Promise<Trial> {
    await put('upsert', 'contacts', contact('1', 'first@example.com', { hs_additional_emails: 'second@example.com' }))
    await put('upsert', 'contacts', contact('2', 'other@example.com'))
    await put('upsert', 'companies', company('c1'))
    trial = await startTrial({ connector: hubspot, destination: served.destination, object, mode: 'mirror', options })
    return trial
  }
  async function run(it: Trial, ...rows: ReturnType<typeof row>[]): Promise<void> {
    await it.rows(rows)
    const { code, stdout, stderr } = await it.run()
    expect([code, code === 0 ? '' : stdout + stderr]).toEqual([0, ''])
  }

  it('of a contact with two addresses stay until the last of its rows leaves', async () => {
    const it = await start('list-members', { list: 1 })
    const [first, second, other] = ['first', 'second', 'other'].map((name) => row(name, { email: `${name}@example.com` })) as [
      any,
      any,
      any,
    ]
    await run(it, first, second, other)
    await run(it, second, other)
    expect(inList()).toHaveLength(2)
    await run(it, other)
    expect(inList()).toHaveLength(1)
  })

  it('of companies likewise', async () => {
    const it = await start('associations', { from: { object: 'contacts', by: 'email' }, to: { object: 'companies', by: 'company_id' } })
    const of = (name: string) => row(name, { from: `${name}@example.com`, to: 'c1' })
    const [first, second, other] = [of('first'), of('second'), of('other')]
    await run(it, first, second, other)
    await run(it, second, other)
    expect(pairs()).toBe(2)
    await run(it, other)
    expect(pairs()).toBe(1)
  })

  it('go with the record that was put there, under whatever address it has by now', async () => {
    const it = await start('list-members', { list: 1 })
    const of = (name: string) => row(name, { email: `${name}@example.com` })
    const [first, other] = [of('first'), of('other')]
    await run(it, first, other)
    await rename(contacts()[1]?.['id'], 'renamed@example.com')
    await run(it, first)
    expect(inList()).toEqual([contacts()[0]?.['id']])
  })

  it('of associations likewise, and a record that is gone takes its pairs along', async () => {
    const it = await start('associations', { from: { object: 'contacts', by: 'email' }, to: { object: 'companies', by: 'company_id' } })
    await put('upsert', 'contacts', contact('3', 'third@example.com'))
    const of = (name: string) => row(name, { from: `${name}@example.com`, to: 'c1' })
    const [first, other, third] = [of('first'), of('other'), of('third')]
    await run(it, first, other, third)
    await rename(contacts()[1]?.['id'], 'renamed@example.com')
    await put('archive', 'contacts', contact('3', 'third@example.com'))
    await run(it, first)
    expect(pairs()).toBe(1)
    expect(sent('batch/archive').at(-1).inputs).toMatchObject([{ from: { id: contacts()[1]?.['id'] } }])
  })
})
