/** Salesforce beyond the conformance suite: logins, values, how records are found, jobs and campaigns. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { refusal } from '../../connectors/salesforce/client.ts'
import { decodeCsv, encodeCsv } from '../../connectors/salesforce/csv.ts'
import connector from '../../connectors/salesforce/index.ts'
import fake from '../../fakes/salesforce/index.ts'
import { privateKey, USERNAME } from '../../fakes/salesforce/login.ts'
import { longId } from '../../fakes/salesforce/store.ts'
import { type Batch, type Change, type Outcome } from '../../src/connector.ts'
import { type Fields, RawJson, type Value } from '../../src/json.ts'
import type { FakeControl, FakeReply, FakeRequest, FakeService } from '../../src/testing/fake.ts'
import { type FakeHost, serveFakes, type ServedFake } from '../../src/testing/index.ts'
import { startTrial } from '../../src/testing/trial.ts'
import type { Op } from '../../src/types.ts'
import { batch, change, openDestination, type Opened, write } from '../support/destination.ts'
import { session } from './subjects/salesforce.ts'

let host: FakeHost
let served: ServedFake
const opened: Opened[] = []
const hosts: FakeHost[] = []
let clock = Date.parse('2026-01-01T00:00:00Z')

beforeAll(async () => {
  host = await serveFakes([fake], { now: () => clock })
  served = host.fakes.get('salesforce') as ServedFake
})
afterAll(async () => {
  for (const one of opened) await one.close()
  for (const one of [host, ...hosts]) await one.close()
})
beforeEach(() => served.reset())

function open(config: object = {}, options: object = {}): Opened['destination'] {
  const one = openDestination(connector, { ...served.destination, ...config }, options, clock)
  opened.push(one)
  return one.destination
}

const thrown = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => null,
    (error: unknown) => error,
  )

const settings = connector.config.parse({ instance_url: 'https://acme.my.salesforce.com', client_id: 'id', client_secret: 'secret' })

/** A contact by its external id. */
const contact = (id: string | RawJson, fields: Fields = {}, more: Partial<Change> = {}): Change =>
  change(`key-${String(id)}`, { LastName: 'L', ...fields }, { match: { External_Id__c: id }, ...more })

const contacts = (op: Op, ...changes: Change[]): Batch => ({ ...batch(op, changes), object: 'Contact' })

const held = (object = 'Contact'): readonly Readonly<Record<string, unknown>>[] => served.records()[object] ?? []

const asked = (): string[] =>
  served.exchanges.map(({ request }) => `${request.method} ${request.path.replace(/^\/services\/data\/v\d+\.0/, '')}`)

/** Puts contacts there without the connector; gives their ids. */
async function put(...records: Record<string, unknown>[]): Promise<string[]> {
  const post = await session(served)
  const body = { allOrNone: false, records: records.map((one) => ({ attributes: { type: 'Contact' }, LastName: 'L', ...one })) }
  const made = (await post('/composite/sobjects', body)) as { id: string }[]
  served.forget()
  return made.map(({ id }) => id)
}

describe('the login', () => {
  it('is proved by a read, which tells the org and its name', async () => {
    expect(await open().check()).toEqual({ id: expect.stringMatching(/^00D\w{15}$/) as string, name: 'Example Ltd' })
  })

  it.each([
    ['a wrong secret', { client_secret: 'x' }, 'invalid_client', /consumer secret/],
    ['a wrong id', { client_id: 'x' }, 'invalid_client_id', /consumer key/],
  ])('with %s says which setting is wrong, and nothing of what was sent', async (_, config, code, hint) => {
    expect(await thrown(open(config).check())).toMatchObject({
      name: 'AuthError',
      code: 'CDP3001',
      message: `Salesforce refused the login (${code}).`,
      hint: expect.stringMatching(hint) as string,
    })
  })

  it('with a signed assertion needs no secret', async () => {
    const jwt = { client_secret: undefined, username: USERNAME, private_key: privateKey(), login_url: served.url }
    expect(await open(jwt).check()).toMatchObject({ name: 'Example Ltd' })
    expect(await thrown(open({ ...jwt, username: 'other@example.com' }).check())).toMatchObject({
      message: 'Salesforce refused the login (invalid_grant).',
      hint: expect.stringContaining('pre-authorize') as string,
    })
  })

  it('that has ended is made once more, and nothing is lost', async () => {
    const destination = open()
    await destination.check()
    clock += 3 * 3_600_000
    const { outcomes, error } = await write(destination, contacts('upsert', contact('1')))
    expect([outcomes.map((one) => 'result' in one && one.result), error]).toEqual([['ok'], null])
    expect(asked().filter((one) => one.endsWith('/token'))).toHaveLength(2)
  })

  it.each([
    ['the address of the app', { instance_url: 'https://acme.lightning.force.com' }, /my\.salesforce\.com/],
    ['the login page of all orgs', { instance_url: 'https://login.salesforce.com' }, /where all orgs log in/],
    ['two ways to log in', { username: 'a@b.c', private_key: privateKey() }, /either client_secret/],
    ['no way to log in', { client_secret: undefined }, /either client_secret/],
    ['a key that is none', { client_secret: undefined, username: 'a@b.c', private_key: 'x' }, /no private key/],
    ['a version without upserts', { api_version: '44.0' }, /46\.0/],
  ])('is refused in the configuration with %s', (_, config, says) => {
    const parsed = connector.config.safeParse({ ...served.destination, ...config })
    expect(parsed.error?.message).toMatch(says)
  })

  it.each([
    ['a login', '/services/oauth2/token'],
    ['a question', '/services/data/v64.0/query'],
  ])('is no write: what became of %s leaves no row in doubt', async (_, path) => {
    await put({ Email: 'other@example.com' })
    served.fault(({ request }) => (request.path === path ? { kind: 'status', status: 503 } : undefined))
    const one = change('1', { LastName: 'L' }, { match: { Email: 'a@example.com' } })
    const { outcomes, error } = await write(open(), contacts('insert', one))
    expect([outcomes, (error as Error).name]).toEqual([[], 'NotSent'])
  })

  it('lacks a permission: says which, not what was in the rows', () => {
    const body = (errorCode: string, message = 'secret words'): { status: number; body: Value } => ({
      status: 403,
      body: [{ errorCode, message }],
    })
    expect(refusal(body('INSUFFICIENT_ACCESS'))).toMatchObject({ code: 'CDP3002', hint: expect.stringContaining('API Enabled') as string })
    expect(refusal(body('API_DISABLED_FOR_ORG'))?.message).toBe(
      'Salesforce answered 403 (API_DISABLED_FOR_ORG): the API is not enabled for this user or org.',
    )
    expect(refusal(body('REQUEST_LIMIT_EXCEEDED', 'TotalRequests Limit exceeded.'))).toMatchObject({
      name: 'RateLimited',
      afterMs: 3_600_000,
    })
    expect(refusal(body('REQUEST_LIMIT_EXCEEDED', 'ConcurrentPerOrgLongTxn Limit exceeded.'))).toMatchObject({
      name: 'RateLimited',
      afterMs: undefined,
    })
    expect(refusal({ status: 400, body: { any: 'thing' } })).toBeUndefined()
  })
})

describe('an object', () => {
  it('is described with types, what they take, what can’t be written, and parents', async () => {
    const infos = new Map((await open().describe?.('Contact'))?.map((info) => [info.name, info]))
    expect(infos.get('Signed_Up_On__c')).toEqual({ name: 'Signed_Up_On__c', type: 'date', accepts: ['date', 'string'], readOnly: false })
    expect(infos.get('Mrr__c')?.accepts).toContain('decimal')
    expect(infos.get('Interests__c')?.accepts).toContain('json')
    expect(infos.get('CreatedDate')?.readOnly).toBe(true)
    expect(infos.get('Account')).toMatchObject({ type: 'parent', readOnly: false })
  })

  it('that is not there, or may not be seen, is named', async () => {
    await expect(open().describe?.('Invoice__c')).rejects.toThrow('Salesforce has no object "Invoice__c", or the user may not see it.')
  })
})

describe('a run', () => {
  it.each([
    ['an object that is not there', { object: 'Invoice__c' }, undefined, 1, /Salesforce has no object "Invoice__c"/],
    ['a campaign without an id', { object: 'CampaignMember', mode: 'mirror' }, undefined, 1, /campaign_id.*is missing/],
    ['a permission that is missing', {}, { kind: 'status', status: 403 }, 4, /INSUFFICIENT_ACCESS.*permission set with "API Enabled"/s],
    ['a session that does not hold', {}, { kind: 'status', status: 401 }, 4, /INVALID_SESSION_ID.*is active/s],
    ['a quota that is used up', {}, { kind: 'status', status: 429, daily: true }, 3, /used up|60 minutes/],
  ] as const)('with %s ends with what to do', async (_, more, fault, code, says) => {
    const trial = await startTrial({ connector, destination: served.destination, object: 'Contact', mode: 'upsert', ...more })
    try {
      const match: Record<string, string> = 'mode' in more ? { ContactId: 'x' } : { External_Id__c: '1' }
      await trial.rows([{ key: '1', match, fields: 'mode' in more ? {} : { LastName: 'L' } }])
      if (fault) served.fault((exchange) => (exchange.write ? fault : undefined))
      const said = await trial.command('run')
      expect([said.code, said.stdout + said.stderr]).toEqual([code, expect.stringMatching(says)])
    } finally {
      await trial.remove()
    }
  })
})

describe('a value', () => {
  it('takes the form of its field, with all its digits', async () => {
    const fields = {
      Big_Number__c: new RawJson('123456789012345678'),
      Mrr__c: 12.5,
      Score__c: '0012.5',
      Plan__c: 7,
      Is_Active__c: 'true',
      Signed_Up_At__c: '2026-01-02T03:04:05Z',
      Interests__c: ['Sports', 'Books'],
      FirstName: '',
    }
    const { outcomes } = await write(open(), contacts('upsert', contact(new RawJson('12345678901234567890'), fields)))
    expect(outcomes).toEqual([{ key: 'key-12345678901234567890', result: 'ok', remoteId: expect.any(String) as string }])
    const sent = served.exchanges.at(-1)?.request.text ?? ''
    expect(sent).toContain('"External_Id__c":"12345678901234567890"')
    expect(sent).toContain('"Big_Number__c":123456789012345678')
    expect(sent).toContain('"Score__c":12.5')
    expect(sent).toContain('"Plan__c":"7"')
    expect(held()[0]).toMatchObject({ Is_Active__c: true, Interests__c: 'Sports;Books', FirstName: null })
  })

  it.each<[string, Fields, string, RegExp]>([
    ['a date that is none', { Signed_Up_On__c: '2026-02-30' }, 'Signed_Up_On__c', /no date/],
    ['a moment for a date', { Signed_Up_On__c: '2026-01-02T03:04:05Z' }, 'Signed_Up_On__c', /no date/],
    ['a moment without a zone', { Signed_Up_At__c: '2026-01-02T03:04:05' }, 'Signed_Up_At__c', /with a zone/],
    ['a text for a number', { Mrr__c: 'much' }, 'Mrr__c', /no number/],
    ['nothing for a number', { Mrr__c: '' }, 'Mrr__c', /no number/],
    ['a number for a checkbox', { Is_Active__c: 1 }, 'Is_Active__c', /boolean/],
    ['a long text', { FirstName: '😀'.repeat(41) }, 'FirstName', /41 characters, at most 40/],
    ['an id that is none', { AccountId: 'acme' }, 'AccountId', /no Salesforce id/],
    ['a list in a text', { FirstName: ['a'] }, 'FirstName', /multi-select/],
    ['a semicolon in a list', { Interests__c: ['a;b'] }, 'Interests__c', /semicolon/],
    ['an object', { FirstName: { a: 1 } }, 'FirstName', /objects nowhere/],
  ])('that does not fit is rejected with its field, and the others go: %s', async (_, bad, field, says) => {
    const { outcomes, error } = await write(open(), contacts('upsert', contact('1'), contact('2', bad), contact('3')))
    expect(error).toBeNull()
    expect(outcomes).toContainEqual({
      key: 'key-2',
      result: 'rejected',
      code: expect.any(String) as string,
      field,
      message: expect.stringMatching(says) as string,
    })
    expect(held()).toHaveLength(2)
  })

  it('of 40 characters fits in 40, however many units they have', async () => {
    await write(open(), contacts('upsert', contact('1', { Title: '😀'.repeat(64) })))
    expect(held()).toHaveLength(1)
  })

  it('names a parent by its external id, clears it, and is rejected where there is none', async () => {
    const accounts = { ...batch('upsert', [change('a', { Name: 'Acme' }, { match: { External_Id__c: 'a1' } })]), object: 'Account' }
    const destination = open()
    const [made] = (await write(destination, accounts)).outcomes
    await write(destination, contacts('upsert', contact('1', { 'Account.External_Id__c': 'a1' })))
    expect(held()[0]?.['AccountId']).toBe(made && 'remoteId' in made && made.remoteId)
    const { outcomes } = await write(destination, contacts('upsert', contact('2', { 'Account.External_Id__c': 'none' })))
    expect(outcomes[0]).toMatchObject({ result: 'rejected', code: 'INVALID_FIELD' })
    await write(destination, contacts('upsert', contact('1', { 'Account.External_Id__c': null })))
    expect(held()[0]?.['AccountId']).toBeNull()
  })

  it.each([
    ['Nothing.External_Id__c', /RELATIONSHIP\.EXTERNAL_ID_FIELD/],
    ['Account.Parent.Name', /RELATIONSHIP\.EXTERNAL_ID_FIELD/],
  ])('of a path that leads nowhere refuses the request: %s', async (name, says) => {
    const { error } = await write(open(), contacts('upsert', contact('1', { [name]: 'x' })))
    expect(error).toMatchObject({ name: 'Refused', message: expect.stringMatching(says) as string })
  })
})

describe('a record', () => {
  it('is upserted only by what Salesforce upserts by', async () => {
    const { error } = await write(open(), contacts('upsert', change('1', { LastName: 'L' }, { match: { Title: 'x' } })))
    expect(error).toMatchObject({ name: 'Refused', message: expect.stringContaining('mark the field as External ID') as string })
    const two = await write(open(), contacts('upsert', change('1', {}, { match: { External_Id__c: '1', Email: 'a@example.com' } })))
    expect(two.error).toMatchObject({ message: expect.stringContaining('one match field') as string })
  })

  it('that is found by its id is not renamed: a new id is another record', async () => {
    const [a = '', b = ''] = await put({ Title: 'a' }, { Title: 'b' })
    const by = (Id: string, more: Partial<Change> = {}): Change => change(Id, { Title: 'new' }, { match: { Id }, ...more })
    const destination = open()
    expect((await write(destination, contacts('upsert', by(a)))).outcomes).toEqual([{ key: a, result: 'ok' }])
    expect((await write(destination, contacts('update', by(b)))).outcomes).toEqual([{ key: b, result: 'ok' }])
    const inJob = await write(open({ bulk_above: 1 }), contacts('upsert', by(a), by(b)))
    expect(inJob.outcomes.slice(1)).toEqual([a, b].map((key) => ({ key, result: 'ok' })))
    for (const [op, id] of [
      ['upsert', a.slice(0, 15)],
      ['update', a.toLowerCase()],
      ['delete', a.slice(0, 15)],
    ] as const)
      expect((await write(destination, contacts(op, by(id)))).outcomes).toMatchObject([
        { result: 'rejected', code: 'MALFORMED_ID', field: 'Id' },
      ])
    expect(held()).toHaveLength(2)
  })

  it('gets no other id from a field', async () => {
    const [a = '', b = ''] = await put({ Title: 'a' }, { Title: 'b' })
    const { error } = await write(open(), contacts('update', change('1', { Id: b, LastName: 'x' }, { match: { Title: 'a' } })))
    expect(error).toMatchObject({ name: 'Refused', message: expect.stringContaining('Id of a record') as string })
    expect(held().map(({ Id, LastName }) => [Id, LastName])).toEqual([
      [a, 'L'],
      [b, 'L'],
    ])
  })

  it('keeps the owner that its row names: assignment rules are told to rest', async () => {
    await write(open(), contacts('upsert', contact('1')))
    expect(served.exchanges.at(-1)?.request.headers['sforce-auto-assign']).toBe('FALSE')
  })

  it('keeps its id under a new match, and is made anew when it is gone', async () => {
    const destination = open()
    const [made] = (await write(destination, contacts('upsert', contact('old', { Title: 'T' })))).outcomes as unknown as [
      { remoteId: string },
    ]
    const moved = contact('new', { Title: 'U' }, { previousMatch: { External_Id__c: 'old' }, remoteId: made.remoteId })
    const { outcomes } = await write(destination, contacts('upsert', contact('other'), moved))
    expect(outcomes).toContainEqual({ key: 'key-new', result: 'ok', remoteId: made.remoteId })
    expect(held()).toHaveLength(2)
    expect(held().find(({ Id }) => Id === made.remoteId)).toMatchObject({ External_Id__c: 'new', Title: 'U' })
    await write(destination, contacts('delete', contact('new', {}, { remoteId: made.remoteId })))
    const again = { ...moved, match: { External_Id__c: 'newer' } }
    const [last] = (await write(destination, contacts('upsert', again))).outcomes as unknown as [{ result: string; remoteId: string }]
    expect(last.result).toBe('ok')
    expect(last.remoteId).not.toBe(made.remoteId)
    const purged = contact('newest', {}, { previousMatch: { External_Id__c: 'x' }, remoteId: '003gK0000000999AAA' })
    expect((await write(destination, contacts('upsert', purged))).outcomes).toMatchObject([{ key: 'key-newest', result: 'ok' }])
  })

  it('that is not there is absent for an update; one of several is ambiguous, and none of them is touched', async () => {
    await put({ Title: 'twice' }, { Title: 'twice' }, { Title: 'once' })
    const by = (Title: string): Change => change(Title, { LastName: 'new' }, { match: { Title } })
    const { outcomes } = await write(open(), contacts('update', by('twice'), by('ONCE '), by('never')))
    expect(outcomes).toMatchObject([
      { key: 'twice', result: 'rejected', code: 'ambiguous', field: 'Title' },
      { key: 'never', result: 'absent' },
      { key: 'ONCE ', result: 'ok' },
    ])
    expect(held().map(({ LastName }) => LastName)).toEqual(['L', 'L', 'new'])
    const removed = await write(open(), contacts('delete', by('twice'), by('never')))
    expect(removed.outcomes).toMatchObject([
      { key: 'twice', result: 'rejected', code: 'ambiguous' },
      { key: 'never', result: 'absent' },
    ])
    expect(held()).toHaveLength(3)
  })

  it('is removed by the id it was given, and once only', async () => {
    const [id = ''] = await put({ External_Id__c: '1' })
    const gone = contacts('delete', contact('1', {}, { remoteId: id }))
    expect((await write(open(), gone)).outcomes).toMatchObject([{ result: 'ok' }])
    expect((await write(open(), gone)).outcomes).toEqual([{ key: 'key-1', result: 'ok' }])
    expect(asked().filter((one) => one.startsWith('DELETE'))).toHaveLength(2)
  })

  it('that is locked asks to come back', async () => {
    const reply = [
      { success: false, errors: [{ statusCode: 'UNABLE_TO_LOCK_ROW', message: 'unable to obtain exclusive access', fields: [] }] },
    ]
    const { outcomes } = await answered(reply, contacts('upsert', contact('1')))
    expect(outcomes).toMatchObject([{ result: 'retry', code: 'UNABLE_TO_LOCK_ROW' }])
  })

  it.each([
    ['fewer results than records', [], /one result for each of 1/],
    ['no list', { ok: true }, /one result for each of 1/],
  ])('is not confirmed by %s', async (_, reply, says) => {
    const { outcomes, error } = await answered(reply, contacts('upsert', contact('1')))
    expect(outcomes).toEqual([])
    expect(error).toMatchObject({ name: 'UnknownOutcome', message: expect.stringMatching(says) as string })
  })

  it.each([[{ success: false, errors: [] }], [null], ['ok'], [{ success: 'true' }], [{ success: false, errors: [null] }]])(
    'without success and without an error is not done, and the next one is: %j',
    async (odd) => {
      const { outcomes, error } = await answered(
        [odd, { success: true, id: 'x', errors: [] }],
        contacts('upsert', contact('1'), contact('2')),
      )
      expect([(outcomes[0] as { result: string }).result, error]).toEqual([expect.stringMatching(/unknown|rejected/) as string, null])
      expect(outcomes[1]).toEqual({ key: 'key-2', result: 'ok', remoteId: 'x' })
    },
  )

  it('whose trigger met a lock asks to come back', async () => {
    const message = 'AccountTrigger: execution of BeforeUpdate caused by: System.DmlException: UNABLE_TO_LOCK_ROW'
    const reply = [{ success: false, errors: [{ statusCode: 'CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY', message, fields: [] }] }]
    expect((await answered(reply, contacts('upsert', contact('1')))).outcomes).toMatchObject([{ result: 'retry' }])
  })
})

/** What the connector makes of a reply that the fake would not give. */
async function answered(reply: unknown, sent: Batch): Promise<{ outcomes: unknown[]; error: unknown }> {
  const other = await serveStrange((request, service) => (service.isWrite(request) ? { status: 200, json: reply } : undefined))
  return write(other.open(), sent)
}

/** The fake, but for the requests that `answer` answers by itself. */
async function serveStrange(
  answer: (request: FakeRequest, service: FakeService) => FakeReply | undefined,
): Promise<{ served: ServedFake; open(config?: object, options?: object, now?: () => number): Opened['destination'] }> {
  const create = (control: FakeControl): FakeService => {
    const service = fake.create(control)
    return { ...service, handle: (request) => answer(request, service) ?? service.handle(request) }
  }
  const other = await serveFakes([{ ...fake, create }])
  hosts.push(other)
  const its = other.fakes.get('salesforce') as ServedFake
  return {
    served: its,
    open(config = {}, options = {}, now = () => clock) {
      const one = openDestination(connector, { ...its.destination, ...config }, options, now)
      opened.push(one)
      return one.destination
    },
  }
}

describe('an insert', () => {
  it('by a unique field leaves it to Salesforce to find the one that is there', async () => {
    await put({ External_Id__c: '1' })
    const { outcomes } = await write(open(), contacts('insert', contact('1'), contact('2')))
    expect(outcomes).toMatchObject([
      { key: 'key-1', result: 'exists' },
      { key: 'key-2', result: 'ok' },
    ])
    expect(asked().some((one) => one.includes('/query'))).toBe(false)
  })

  it('that another unique field stops is rejected, not there already', async () => {
    const message = 'duplicate value found: My_External_Id__c duplicates value on record with id: 003gK0000000006'
    const reply = [{ success: false, errors: [{ statusCode: 'DUPLICATE_VALUE', message, fields: [] }] }]
    const { outcomes } = await answered(reply, contacts('insert', contact('1')))
    expect(outcomes).toMatchObject([{ result: 'rejected', code: 'DUPLICATE_VALUE' }])
  })

  it('by another field looks first', async () => {
    await put({ Email: 'a@example.com' })
    const by = (Email: string): Change => change(Email, { LastName: 'new' }, { match: { Email } })
    const { outcomes } = await write(open(), contacts('insert', by('A@example.com'), by('b@example.com')))
    expect(outcomes).toMatchObject([{ result: 'exists' }, { result: 'ok' }])
    expect(held().map(({ Email, LastName }) => [Email, LastName])).toEqual([
      ['a@example.com', 'L'],
      ['b@example.com', 'new'],
    ])
  })

  it('of more rows than one request takes is a job, so that no row is in doubt for another’s sake', async () => {
    await put({ External_Id__c: '7' })
    const rows = Array.from({ length: 201 }, (_, i) => contact(String(i)))
    const { outcomes } = await write(open(), contacts('insert', ...rows))
    expect(outcomes[0]).toHaveProperty('token')
    expect(outcomes.filter((one) => 'result' in one && one.result === 'ok')).toHaveLength(200)
    expect(outcomes).toContainEqual({ key: 'key-7', result: 'exists' })
  })
})

describe('a job', () => {
  const inJobs = { bulk_above: 1 }
  const results = (list: readonly unknown[]): Outcome[] =>
    list.filter((one): one is Outcome => typeof one === 'object' && one !== null && 'result' in one)

  it('is named before its file is closed, and speaks of each row in any order', async () => {
    served.reverse(true)
    const odd = 'two\nlines, "quoted"'
    const sent = contacts(
      'upsert',
      contact('1', { Notes__c: odd }),
      contact('2', { Signed_Up_On__c: null, Tier__c: 'Gold' }),
      contact('3', { Plan__c: '' }),
    )
    const { outcomes, error } = await write(open(inJobs), sent)
    expect(error).toBeNull()
    const [{ token }] = outcomes as [{ token: string }]
    expect(asked().indexOf(`PATCH /jobs/ingest/${token}`)).toBeGreaterThan(asked().indexOf('POST /jobs/ingest'))
    expect(results(outcomes)).toHaveLength(3)
    expect(outcomes).toContainEqual({
      key: 'key-2',
      result: 'rejected',
      code: 'INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST',
      message: expect.stringContaining('Gold') as string,
      field: 'Tier__c',
    })
    expect(held().map(({ External_Id__c, Notes__c }) => [External_Id__c, Notes__c])).toEqual([
      ['1', odd],
      ['3', null],
    ])
  })

  it('clears what is null, leaves what is not sent, and says beside the file what a file can’t', async () => {
    await put({ External_Id__c: '1', Plan__c: 'pro', Title: 'stays' }, { External_Id__c: '2', Plan__c: 'free', Title: 'T' })
    const sent = contacts(
      'upsert',
      contact('1', { Plan__c: null }),
      contact('2', { Title: 'new', 'Account.External_Id__c': null }),
      contact('3', { Title: '#N/A' }),
      contact('4', { Title: '' }),
    )
    const { outcomes, error } = await write(open(inJobs), sent)
    expect([
      results(outcomes)
        .map(({ key, result }) => `${key} ${result}`)
        .sort(),
      error,
    ]).toEqual([['key-1 ok', 'key-2 ok', 'key-3 ok', 'key-4 ok'], null])
    const file = served.exchanges.find(({ request }) => request.method === 'PUT')?.request.text
    expect(file).toBe('External_Id__c,LastName,Plan__c,Title\n1,L,#N/A,\n4,L,,#N/A\n')
    expect(held().map(({ Plan__c, Title }) => [Plan__c, Title])).toEqual([
      [null, 'stays'],
      ['free', 'new'],
      [null, null],
      [null, '#N/A'],
    ])
  })

  it('begun by an earlier run is asked for its results, and nothing is sent again', async () => {
    const sent = contacts('upsert', contact('1'), contact('2', { Tier__c: 'Gold' }))
    const [{ token }] = (await write(open(inJobs), sent)).outcomes as [{ token: string }]
    served.forget()
    const resumed: Outcome[] = []
    for await (const outcome of open(inJobs).resume?.(token, sent) ?? []) resumed.push(outcome)
    expect(resumed).toMatchObject([
      { key: 'key-1', result: 'ok' },
      { key: 'key-2', result: 'rejected' },
    ])
    expect(served.exchanges.filter((one) => one.write)).toEqual([])
  })

  it('that was never closed is aborted, and its rows come again', async () => {
    const sent = contacts('upsert', contact('1'), contact('2'))
    served.fault(({ request }) => (request.method === 'PUT' ? { kind: 'status', status: 500 } : undefined))
    const { outcomes, error } = await write(open(inJobs), sent)
    expect(error).toMatchObject({ name: 'UnknownOutcome' })
    const [{ token }] = outcomes as [{ token: string }]
    const resumed: Outcome[] = []
    for await (const outcome of open(inJobs).resume?.(token, sent) ?? []) resumed.push(outcome)
    expect(resumed.map(({ result }) => result)).toEqual(['retry', 'retry'])
    expect(held()).toEqual([])
  })

  it('beside which a row is too long goes without it: a file that can’t be read fails as a whole', async () => {
    const sent = contacts('upsert', contact('1'), contact('2', { Notes__c: 'x'.repeat(32_001) }), contact('3'))
    const { outcomes } = await write(open(inJobs), sent)
    expect(results(outcomes).map(({ result }) => result)).toEqual(['ok', 'ok', 'ok'])
    expect(served.exchanges.find(({ request }) => request.method === 'PUT')?.request.text).toBe('External_Id__c,LastName\n1,L\n3,L\n')
  })

  it.each([
    ['a lock', 'UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record or 1 records: 001gK0000000006:--', 'retry', undefined],
    ['an error without a field', 'INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--', 'rejected', undefined],
    ['an error with fields', 'REQUIRED_FIELD_MISSING:Required fields are missing: [LastName, A]:LastName A --', 'rejected', 'LastName'],
    ['words alone', 'Something else', 'rejected', undefined],
  ])('tells errors as Salesforce writes them: %s', async (_, cell, result, field) => {
    const other = await serveStrange(({ path }) => {
      const text = path.endsWith('/failedResults')
        ? `"sf__Id","sf__Error",External_Id__c\n"","${cell}","1"\n`
        : '"sf__Id","sf__Created",External_Id__c\n'
      return path.endsWith('Results') ? { status: 200, headers: { 'content-type': 'text/csv' }, text } : undefined
    })
    const { outcomes } = await write(other.open(inJobs), contacts('upsert', contact('1'), contact('2')))
    expect(results(outcomes)).toEqual([
      {
        key: 'key-1',
        result,
        code: /^[A-Z_]+(?=:)/.exec(cell)?.[0] ?? 'UNKNOWN_EXCEPTION',
        message: cell.replace(/^[A-Z_]+:/, '').replace(/:[\w ]*--$/, ''),
        ...(result === 'rejected' ? { field } : {}),
      },
    ])
  })

  it.each([
    ['a page of HTML', '<html>Down for maintenance</html>', 'UnknownOutcome'],
    ['a row that was cut', '"sf__Id","sf__Created",LastName,External_Id__c\n"x","true","L","1', undefined],
    ['a row that lacks cells', '"sf__Id","sf__Created",External_Id__c,LastName\n"x","true","1"\n', undefined],
    ['nothing at all', '', undefined],
  ])('is not believed when its results are %s', async (_, text, error) => {
    const other = await serveStrange(({ path }) =>
      path.endsWith('/successfulResults') ? { status: 200, headers: { 'content-type': 'text/csv' }, text } : undefined,
    )
    const said = await write(other.open(inJobs), contacts('upsert', contact('1'), contact('11')))
    expect([results(said.outcomes), (said.error as Error | null)?.name]).toEqual([[], error])
  })

  it.each([
    ['never ends', 'InProgress'],
    ['is in a state that nobody knows', 'Pondering'],
    ['is open and can’t be aborted', 'Open'],
  ])('that %s is left to the next run after an hour', async (_, state) => {
    const other = await serveStrange(({ method, path, text }) => {
      if (!/\/jobs\/ingest\/\w+$/.test(path) || text.includes('UploadComplete')) return undefined
      return method === 'GET' ? { status: 200, json: { state } } : { status: 409, json: [{ errorCode: 'INVALIDJOBSTATE', message: 'no' }] }
    })
    const now = clock
    const destination = other.open(inJobs, {}, () => (clock += 1_800_000))
    const { outcomes, error } = await write(destination, contacts('upsert', contact('1'), contact('2')))
    clock = now
    expect(outcomes).toEqual([{ token: expect.any(String) as string }])
    expect(error).toMatchObject({ name: 'UnknownOutcome', code: 'job_slow' })
    expect(other.served.exchanges.filter(({ request }) => request.method === 'GET').length).toBeLessThan(8)
  })

  it('that Salesforce has forgotten says nothing of its rows', async () => {
    const resumed: Outcome[] = []
    for await (const outcome of open(inJobs).resume?.('750gK0000000009', contacts('upsert', contact('1'))) ?? []) resumed.push(outcome)
    expect(resumed).toEqual([])
  })

  it('whose header is refused rejects its rows with what Salesforce said', async () => {
    const sent = contacts('upsert', contact('1', { Nope__c: 'x' }), contact('2', { Nope__c: 'x' }))
    const { outcomes } = await write(open(inJobs), sent)
    expect(results(outcomes)).toEqual(
      ['key-1', 'key-2'].map((key) => ({
        key,
        result: 'rejected',
        code: 'InvalidBatch',
        message: 'InvalidBatch : Field name not found : Nope__c',
      })),
    )
  })

  it('that could not be created did nothing: its rows are not in doubt', async () => {
    served.fault(({ request }) =>
      request.method === 'POST' && request.path.endsWith('/ingest') ? { kind: 'status', status: 503 } : undefined,
    )
    const { outcomes, error } = await write(open(inJobs), contacts('upsert', contact('1'), contact('2')))
    expect([outcomes, (error as Error).name]).toEqual([[], 'NotSent'])
  })

  it('survives a run that could not follow it: the next run asks for it and sends nothing twice', async () => {
    const destination = { ...served.destination, ...inJobs }
    const trial = await startTrial({ connector, destination, object: 'Contact', mode: 'insert' })
    try {
      await trial.rows([1, 2, 3].map((i) => ({ key: String(i), match: { External_Id__c: `c${i}` }, fields: { LastName: `N${i}` } })))
      served.fault(({ request }) =>
        request.method === 'GET' && /\/jobs\/ingest\/\w+$/.test(request.path) ? { kind: 'status', status: 503 } : undefined,
      )
      const first = await trial.run()
      expect([first.code, first.record.counts.delivered, first.record.counts.unknown]).toEqual([3, 0, 3])
      served.fault(() => undefined)
      const second = await trial.run()
      expect(second.code).toBe(0)
      expect(served.exchanges.filter((one) => one.write)).toHaveLength(1)
      expect(held()).toHaveLength(3)
      const { counts } = await trial.plan()
      expect([counts.add, counts.change, counts.held, counts.uncertain]).toEqual([0, 0, 0, 0])
    } finally {
      await trial.remove()
    }
  })
})

describe('records', () => {
  it('are looked up by many values at once, in URLs that Salesforce takes', async () => {
    const emails = Array.from({ length: 450 }, (_, i) => `a-rather-long-address-of-somebody-${i}@example.com`)
    const [id] = await put({ Email: emails[440] })
    const found = await open().lookup?.(
      'Contact',
      emails.map((Email) => ({ Email })),
    )
    expect(found?.findIndex((one) => one !== null)).toBe(440)
    expect(found?.[440]).toBe(id)
    const urls = served.exchanges.map(({ request }) => request.path.length + request.query.toString().length)
    expect(Math.max(...urls)).toBeLessThan(16_000)
  })

  it('are found by values that look like SOQL, and by two fields together', async () => {
    const [odd, both] = await put({ Title: `O'Neil \\ ' OR Id != '` }, { Title: 'x', Plan__c: 'pro' }, { Title: 'x', Plan__c: 'free' })
    const destination = open()
    expect(await destination.lookup?.('Contact', [{ Title: `o'neil \\ ' or id != '` }, { Title: 'none' }])).toEqual([odd, null])
    expect(await destination.lookup?.('Contact', [{ Title: 'x', Plan__c: 'pro' }, { Title: 'x' }])).toEqual([both, null])
    expect(await destination.lookup?.('Contact', [{ Mrr__c: '1 OR Id != null' }, { Id: 'x' }])).toEqual([null, null])
  })

  it('are told apart by all digits of a number, and nothing finds those without a value', async () => {
    const [a, b] = await put({ Big_Number__c: '90071992547409921' }, { Big_Number__c: '90071992547409922' }, { Title: '' })
    const match = (digits: string): Fields => ({ Big_Number__c: new RawJson(digits) })
    expect(await open().lookup?.('Contact', [match('90071992547409922'), match('90071992547409921.0')])).toEqual([b, a])
    expect(await open().lookup?.('Contact', [{ Title: ' ' }, { Title: 'null' }])).toEqual([null, null])
  })

  it('are looked up in URLs that hold, whatever stands in the values', async () => {
    const titles = Array.from({ length: 100 }, (_, i) => `${"'(!)~".repeat(24)}${i}`)
    const [id] = await put({ Title: titles[99] })
    const found = await open().lookup?.(
      'Contact',
      titles.map((Title) => ({ Title })),
    )
    expect(found?.[99]).toBe(id)
    const urls = served.exchanges.map(({ request }) => `${request.path}?${request.query.toString()}`.length)
    expect(Math.max(...urls)).toBeLessThan(13_000)
  })

  it('of more than one page are all counted', async () => {
    for (let n = 0; n < 2100; n += 150) await put(...Array.from({ length: 150 }, () => ({ Title: 'many' })))
    const { outcomes } = await write(open(), contacts('update', change('many', { LastName: 'new' }, { match: { Title: 'many' } })))
    expect(outcomes).toMatchObject([{ result: 'rejected', message: '2100 records of Contact have this Title.' }])
  })

  it('are read with moments as they are sent', async () => {
    await put({ External_Id__c: '1', Signed_Up_At__c: '2026-01-02T05:04:05.500+02:00', Is_Active__c: true })
    const [one, none] = (await open().read?.('Contact', [{ External_Id__c: '1' }, { External_Id__c: '2' }])) ?? []
    expect(one).toMatchObject({ Signed_Up_At__c: '2026-01-02T03:04:05.5Z', Is_Active__c: true, Plan__c: null })
    expect(none).toBeNull()
  })

  it('of a field marked case sensitive are two when they differ in case', () => {
    const spec = (options: object) => {
      const found = connector.objects['*']
      return typeof found === 'function' ? found({ config: settings, options: connector.options.parse(options) }).match['*'] : null
    }
    expect([spec({}), spec({ case_sensitive: true })]).toEqual(['email', 'trim'])
  })

  it('of a field that is not marked case sensitive are not taken for two', async () => {
    const { error } = await write(open({}, { case_sensitive: true }), contacts('upsert', contact('a')))
    expect(error).toMatchObject({ name: 'Refused', message: expect.stringContaining('leave out options: case_sensitive') as string })
    const [id = ''] = await put({})
    const byId = await write(open({}, { case_sensitive: true }), contacts('upsert', change('1', { Title: 'x' }, { match: { Id: id } })))
    expect(byId.outcomes).toMatchObject([{ result: 'ok' }])
  })
})

describe('a campaign', () => {
  const [newsletter, webinar] = ['newsletter', 'webinar']
  const campaign = (name: string | undefined): string =>
    String(held('Campaign').find(({ External_Id__c }) => External_Id__c === name)?.['Id'])
  const member = (ContactId: string, fields: Fields = {}, more: Partial<Change> = {}): Change =>
    change(ContactId, fields, { match: { ContactId }, ...more })
  const members = (op: Op, ...changes: Change[]): Batch => ({ ...batch(op, changes), object: 'CampaignMember' })

  it('must be named, and be there', async () => {
    expect(connector.validate?.({ config: settings, options: { case_sensitive: false } }, 'CampaignMember')).toMatchObject([
      { path: ['campaign_id'] },
    ])
    expect(connector.validate?.({ config: settings, options: { case_sensitive: false } }, 'Contact')).toEqual([])
    await expect(open({}, { campaign_id: '701gK0000000009' }).describe?.('CampaignMember')).rejects.toThrow(
      'Salesforce has no campaign 701gK0000000009',
    )
    expect(connector.options.safeParse({ campaign_id: 'Newsletter' }).success).toBe(false)
  })

  it('takes members once, changes their status, and leaves other campaigns alone', async () => {
    const [a = '', b = ''] = await put({}, {})
    await write(open({}, { campaign_id: campaign(webinar) }), members('upsert', member(a)))
    const destination = open({}, { campaign_id: campaign(newsletter) })
    await write(destination, members('upsert', member(a), member(b)))
    const { outcomes } = await write(destination, members('upsert', member(a, { Status: 'Responded' }), member(b)))
    expect(outcomes.map((one) => 'result' in one && one.result)).toEqual(['ok', 'ok'])
    const of = (name: string | undefined) => held('CampaignMember').filter(({ CampaignId }) => CampaignId === campaign(name))
    expect(of(newsletter).map(({ ContactId, Status }) => [ContactId, Status])).toEqual([
      [a, 'Responded'],
      [b, 'Sent'],
    ])
    expect(await destination.read?.('CampaignMember', [{ ContactId: a }])).toMatchObject([
      { CampaignId: campaign(newsletter), Status: 'Responded' },
    ])
    const listed: Fields[] = []
    for await (const one of destination.list?.('CampaignMember') ?? []) listed.push(one)
    expect(listed).toEqual([a, b].map((ContactId) => ({ ContactId, LeadId: null })))
    await write(destination, members('delete', member(a), member(b)))
    expect([of(newsletter).length, of(webinar).length]).toEqual([0, 1])
    expect((await write(destination, members('delete', member(a)))).outcomes).toEqual([{ key: a, result: 'absent' }])
  })

  it('rejects who does not exist', async () => {
    const [a = ''] = await put({})
    const destination = open({}, { campaign_id: campaign(newsletter) })
    const nobody = longId('003gK0000000999')
    const { outcomes } = await write(destination, members('upsert', member(nobody), member(a)))
    expect(outcomes).toMatchObject([
      { key: nobody, result: 'rejected', code: 'INVALID_CROSS_REFERENCE_KEY' },
      { key: a, result: 'ok' },
    ])
  })

  it('says nothing is done of a member whom somebody else added in between: what the row says is still to be written', async () => {
    let added = true
    const refused = { success: false, errors: [{ statusCode: 'DUPLICATE_VALUE', message: 'Bereits Kampagnenmitglied.', fields: [] }] }
    const other = await serveStrange((request, service) => {
      if (request.method !== 'POST' || !request.text.includes('CampaignMember')) return undefined
      if (added) void service.handle(request)
      return { status: 200, json: [refused] }
    })
    const post = await session(other.served)
    const [made] = (await post('/composite/sobjects', { records: [{ attributes: { type: 'Contact' }, LastName: 'L' }] })) as [
      { id: string },
    ]
    const destination = other.open({}, { campaign_id: campaign(newsletter) })
    const sent = members('upsert', member(made.id, { Status: 'Responded' }))
    expect((await write(destination, sent)).outcomes).toMatchObject([{ key: made.id, result: 'retry', code: 'added_since' }])
    expect((await write(destination, sent)).outcomes).toMatchObject([{ key: made.id, result: 'ok' }])
    await write(destination, { ...sent, op: 'delete' })
    added = false
    expect((await write(destination, sent)).outcomes).toMatchObject([{ key: made.id, result: 'rejected', code: 'DUPLICATE_VALUE' }])
  })

  it('knows a member by one form of its id only, else another form could take it out', async () => {
    const [a = ''] = await put({})
    const destination = open({}, { campaign_id: campaign(newsletter) })
    await write(destination, members('upsert', member(a)))
    for (const form of [a.slice(0, 15), a.toLowerCase(), 'nobody'])
      for (const op of ['upsert', 'delete'] as const)
        expect((await write(destination, members(op, member(form)))).outcomes).toEqual([
          {
            key: form,
            result: 'rejected',
            code: 'MALFORMED_ID',
            field: 'ContactId',
            message: expect.stringContaining('18 characters') as string,
          },
        ])
    expect(held('CampaignMember')).toHaveLength(1)
  })

  it('is matched by one field, a contact’s or a lead’s id', async () => {
    const { error } = await write(
      open({}, { campaign_id: campaign(newsletter) }),
      members('upsert', change('1', {}, { match: { Email: 'a@b.c' } })),
    )
    expect(error).toMatchObject({ name: 'Refused', message: expect.stringContaining('ContactId or by LeadId') as string })
  })
})

describe('CSV', () => {
  it('is read as it was written', () => {
    const rows = [
      ['Id', 'Name', 'Note'],
      ['1', 'a,"b"', ' spaces '],
      ['', 'two\nlines', '\r\n'],
      ['#N/A', '"', ''],
    ]
    expect(decodeCsv(encodeCsv(rows))).toEqual(rows)
    expect(decodeCsv('"a","b"\r\n"1",""\r\n')).toEqual([
      ['a', 'b'],
      ['1', ''],
    ])
    expect(decodeCsv('a,b\n1,')).toEqual([
      ['a', 'b'],
      ['1', ''],
    ])
    expect(decodeCsv('')).toEqual([])
  })
})
