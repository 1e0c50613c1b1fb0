/** The Salesforce fake answers as Salesforce's guides say: each way to read and write, and each way to be refused. */
import { createSign } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import salesforce from '../../fakes/salesforce/index.ts'
import { CLIENT_ID, CLIENT_SECRET, privateKey, USERNAME } from '../../fakes/salesforce/login.ts'
import { type FakeHost, type ServedFake, serveFakes } from '../../src/testing/host.ts'

let host: FakeHost
let fake: ServedFake
let token = ''

beforeAll(async () => {
  host = await serveFakes([salesforce])
  fake = host.fakes.get('salesforce') as ServedFake
})
afterAll(() => host.close())

const form = (values: Record<string, string>): Promise<Response> =>
  fetch(`${fake.url}/services/oauth2/token`, { method: 'POST', body: new URLSearchParams(values) })

async function login(): Promise<string> {
  const reply = await form({ grant_type: 'client_credentials', client_id: CLIENT_ID, client_secret: CLIENT_SECRET })
  return ((await reply.json()) as { access_token: string }).access_token
}

beforeEach(async () => {
  fake.reset()
  token = await login()
})

async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const reply = await fetch(`${fake.url}/services/data/v62.0${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: text }),
  })
  const answer = await reply.text()
  return {
    status: reply.status,
    headers: reply.headers,
    text: answer,
    json: answer.startsWith('[') || answer.startsWith('{') ? JSON.parse(answer) : null,
  }
}

const contact = (values: Record<string, unknown>) => ({ attributes: { type: 'Contact' }, ...values })
const upsert = (...rows: Record<string, unknown>[]) =>
  call('PATCH', '/composite/sobjects/Contact/External_Id__c', { allOrNone: false, records: rows.map(contact) })
const soql = (text: string) => call('GET', `/query?q=${encodeURIComponent(text)}`)

describe('logging in', () => {
  it('takes a signed assertion, and refuses one that is too long-lived or signed by another key', async () => {
    const assert = (exp: number, key = privateKey()): string => {
      const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
      const head = `${part({ alg: 'RS256' })}.${part({ iss: CLIENT_ID, sub: USERNAME, aud: 'https://login.salesforce.com', exp })}`
      return `${head}.${createSign('RSA-SHA256').update(head).sign(key, 'base64url')}`
    }
    const grant = (assertion: string) => form({ grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion })
    const soon = Math.floor(Date.now() / 1000) + 120
    expect((await grant(assert(soon))).status).toBe(200)
    expect(await (await grant(assert(soon + 3600))).json()).toMatchObject({ error: 'invalid_grant' })
    expect(await (await grant(`${assert(soon).slice(0, -8)}AAAAAAAA`)).json()).toMatchObject({ error: 'invalid_grant' })
  })

  it('refuses a wrong secret, a wrong client and a wrong token', async () => {
    const wrong = await form({ grant_type: 'client_credentials', client_id: CLIENT_ID, client_secret: 'x' })
    expect([wrong.status, await wrong.json()]).toMatchObject([401, { error: 'invalid_client' }])
    expect(await (await form({ grant_type: 'client_credentials', client_id: 'x', client_secret: 'x' })).json()).toMatchObject({
      error: 'invalid_client_id',
    })
    token = 'nonsense'
    expect(await soql('SELECT Id FROM Contact')).toMatchObject({ status: 401, json: [{ errorCode: 'INVALID_SESSION_ID' }] })
  })
})

describe('collections', () => {
  it('create, change, find and delete records, and tell what a reply to each must', async () => {
    const first = await upsert({ External_Id__c: '1', LastName: 'Lovelace', Email: 'ada@example.com', Mrr__c: 12.5 })
    expect(first).toMatchObject({ status: 200, json: [{ success: true, created: true, errors: [] }] })
    const id = first.json[0].id
    expect(id).toMatch(/^003\w{15}$/)
    expect((await upsert({ External_Id__c: '1', FirstName: ' Ada ', Mrr__c: null })).json).toEqual([
      { id, success: true, errors: [], created: false },
    ])
    const found = await soql("SELECT Id, Name, Mrr__c FROM Contact WHERE External_Id__c IN ('1', '2') AND Email = 'ADA@example.com'")
    expect(found.json).toMatchObject({ totalSize: 1, done: true, records: [{ Id: id, Name: 'Ada Lovelace', Mrr__c: null }] })
    const read = await call('POST', '/composite/sobjects/Contact', { ids: [id, '003000000000000AAA'], fields: ['FirstName'] })
    expect(read.json).toMatchObject([{ FirstName: 'Ada' }, null])
    expect((await call('DELETE', `/composite/sobjects?ids=${id}&allOrNone=false`)).json).toEqual([{ id, success: true, errors: [] }])
    const again = await call('DELETE', `/composite/sobjects?ids=${id}`)
    expect(again.json).toMatchObject([{ success: false, errors: [{ statusCode: 'ENTITY_IS_DELETED' }] }])
    expect(again.headers.get('sforce-limit-info')).toMatch(/^api-usage=\d+\/15000$/)
  })

  it('refuse each bad row for itself, with its field', async () => {
    await upsert({ External_Id__c: 'taken', LastName: 'T' })
    const cases: [Record<string, unknown>, string, string[]][] = [
      [{ External_Id__c: '1' }, 'REQUIRED_FIELD_MISSING', ['LastName']],
      [{ External_Id__c: '2', LastName: 'A', Email: 'nonsense' }, 'INVALID_EMAIL_ADDRESS', ['Email']],
      [{ External_Id__c: '3', LastName: 'x'.repeat(81) }, 'STRING_TOO_LONG', ['LastName']],
      [{ External_Id__c: '4', LastName: 'A', Tier__c: 'Gold' }, 'INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST', ['Tier__c']],
      [{ External_Id__c: '5', LastName: 'A', Interests__c: 'Music;Chess' }, 'INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST', ['Interests__c']],
      [{ External_Id__c: '6', LastName: 'A', Nonsense__c: 1 }, 'INVALID_FIELD', []],
      [{ External_Id__c: '7', LastName: 'A', Name: 'A' }, 'INVALID_FIELD_FOR_INSERT_UPDATE', ['Name']],
      [{ External_Id__c: '8', LastName: 'A', AccountId: '001000000000000AAA' }, 'INVALID_CROSS_REFERENCE_KEY', []],
      [{ External_Id__c: '9', LastName: 'A', Account: { External_Id__c: 'nobody' } }, 'INVALID_FIELD', []],
      [{ External_Id__c: '10', LastName: 'A', Is_Active__c: null }, 'INVALID_TYPE_ON_FIELD_IN_RECORD', ['Is_Active__c']],
      [{ External_Id__c: '11', LastName: 'A', Mrr__c: 1e17 }, 'NUMBER_OUTSIDE_VALID_RANGE', ['Mrr__c']],
      [{ External_Id__c: '', LastName: 'A' }, 'MISSING_ARGUMENT', []],
    ]
    const { json } = await upsert(...cases.map(([row]) => row), { External_Id__c: 'good', LastName: 'Good' })
    expect(json.map((result: any) => [result.success, result.errors[0]?.statusCode, result.errors[0]?.fields])).toEqual([
      ...cases.map(([, code, fields]) => [false, code, fields]),
      [true, undefined, undefined],
    ])
    const insert = await call('POST', '/composite/sobjects', { records: [contact({ External_Id__c: 'TAKEN', LastName: 'T' })] })
    expect(insert.json[0].errors[0]).toMatchObject({ statusCode: 'DUPLICATE_VALUE' })
    fake.refuseRows(1)
    const refused = await upsert({ External_Id__c: 'a', LastName: 'A' }, { External_Id__c: 'b', LastName: 'B' })
    expect(refused.json.map((one: any) => one.success)).toEqual([false, true])
  })

  it('refuse both rows with one external id, and a row whose id fits several records', async () => {
    const twice = await upsert({ External_Id__c: 'x', LastName: 'A' }, { External_Id__c: 'X', LastName: 'B' })
    expect(twice.json.map((one: any) => one.errors[0]?.statusCode)).toEqual(['DUPLICATE_VALUE', 'DUPLICATE_VALUE'])
    await upsert(
      { External_Id__c: '1', LastName: 'A', Email: 'a@example.com' },
      { External_Id__c: '2', LastName: 'B', Email: 'a@example.com' },
    )
    const several = await call('PATCH', '/composite/sobjects/Contact/Email', {
      records: [contact({ Email: 'a@example.com', LastName: 'C' })],
    })
    expect(several.json[0].errors[0].statusCode).toBe('DUPLICATE_EXTERNAL_ID')
  })

  it('refuse a request that is wrong as a whole', async () => {
    const rows = (count: number) => Array.from({ length: count }, (_, i) => contact({ External_Id__c: `${i}`, LastName: 'A' }))
    const path = '/composite/sobjects/Contact/External_Id__c'
    expect(await call('PATCH', path, { records: rows(201) })).toMatchObject({ status: 400, json: [{ errorCode: 'EXCEEDED_ID_LIMIT' }] })
    expect(await call('PATCH', path, { records: [] })).toMatchObject({ status: 400, json: [{ errorCode: 'REQUIRED_FIELD_MISSING' }] })
    expect(await call('PATCH', path, '{"records":[')).toMatchObject({ status: 400, json: [{ errorCode: 'JSON_PARSER_ERROR' }] })
    expect(await call('PATCH', path, { records: rows(1) }, { 'content-type': 'text/plain' })).toMatchObject({ status: 415 })
    expect(await upsert({ External_Id__c: '1', LastName: 'A', Signed_Up_On__c: '01/02/2026' })).toMatchObject({
      status: 400,
      json: [{ errorCode: 'JSON_PARSER_ERROR', message: expect.stringContaining('instance of date from VALUE_STRING value 01/02/2026') }],
    })
    expect(await upsert({ External_Id__c: '1', LastName: 'A', Signed_Up_At__c: '2026-01-02 03:04:05' })).toMatchObject({ status: 400 })
    expect(await call('PATCH', '/composite/sobjects/Contact/Phone', { records: rows(1) })).toMatchObject({ status: 404 })
    expect(await call('PATCH', '/composite/sobjects/Nothing/Id', { records: rows(1) })).toMatchObject({ status: 400 })
    expect(await call('GET', '/nothing')).toMatchObject({ status: 404, json: [{ errorCode: 'NOT_FOUND' }] })
    expect(await soql(`SELECT Id FROM Contact WHERE Email = '${'x'.repeat(17_000)}'`)).toMatchObject({ status: 431 })
  })

  it('let nobody join a campaign twice', async () => {
    const { json } = await upsert({ External_Id__c: '1', LastName: 'A' })
    const campaign = (await soql("SELECT Id FROM Campaign WHERE Name = 'Newsletter'")).json.records[0].Id
    const row = { attributes: { type: 'CampaignMember' }, CampaignId: campaign, ContactId: json[0].id }
    const join = () => call('POST', '/composite/sobjects', { allOrNone: false, records: [row] })
    expect((await join()).json).toMatchObject([{ success: true }])
    expect((await join()).json).toMatchObject([{ success: false, errors: [{ statusCode: 'DUPLICATE_VALUE' }] }])
    expect(fake.records()['CampaignMember']).toMatchObject([{ CampaignId: campaign, ContactId: json[0].id, Status: 'Sent' }])
  })
})

describe('queries', () => {
  it('page after 2,000 records, reach parents, and name what is wrong', async () => {
    for (let n = 0; n < 11; n++)
      await upsert(...Array.from({ length: 200 }, (_, i) => ({ External_Id__c: `${n}-${i}`, LastName: "O'Neil" })))
    const first = await soql("SELECT Id, Owner.Name FROM Contact WHERE LastName = 'O\\'Neil'")
    expect(first.json).toMatchObject({ totalSize: 2200, done: false })
    expect(first.json.records[0]).toMatchObject({ Owner: { Name: 'Sync User' } })
    const rest = await call('GET', first.json.nextRecordsUrl.replace('/services/data/v62.0', ''))
    expect([rest.json.records.length, rest.json.done]).toEqual([200, true])
    expect((await soql('SELECT Nonsense FROM Contact')).json[0].errorCode).toBe('INVALID_FIELD')
    expect((await soql('SELECT Id FROM Nonsense')).json[0].errorCode).toBe('INVALID_TYPE')
    expect((await soql('SELECT Id FROM Contact WHERE')).json[0].errorCode).not.toBe(undefined)
    expect((await soql("SELECT Id FROM Contact WHERE Is_Active__c = 'true'")).json[0].errorCode).toBe('INVALID_FIELD')
  })

  it('describe objects with keys, picklists and references', async () => {
    const { fields } = (await call('GET', '/sobjects/Contact/describe')).json
    const byName = (name: string) => fields.find((field: any) => field.name === name)
    expect(byName('External_Id__c')).toMatchObject({ externalId: true, unique: true, type: 'string', length: 255 })
    expect(byName('Name')).toMatchObject({ createable: false, updateable: false })
    expect(byName('LastName')).toMatchObject({ nillable: false })
    expect(byName('Tier__c')).toMatchObject({
      restrictedPicklist: true,
      picklistValues: [{ value: 'Free' }, { value: 'Pro' }, { value: 'Enterprise' }],
    })
    expect(byName('AccountId')).toMatchObject({ type: 'reference', referenceTo: ['Account'], relationshipName: 'Account' })
    expect((await call('GET', '/sobjects/Nothing/describe')).status).toBe(404)
  })
})

describe('single rows', () => {
  it('are made, changed only where they exist, and deleted', async () => {
    const path = '/sobjects/Contact/External_Id__c/a%2Fb'
    expect((await call('PATCH', `${path}?updateOnly=true`, { LastName: 'A' })).status).toBe(404)
    expect(await call('PATCH', path, { LastName: 'A' })).toMatchObject({ status: 201, json: { created: true } })
    expect(await call('PATCH', path, { LastName: 'B' })).toMatchObject({ status: 200, json: { created: false } })
    expect((await call('GET', path)).json).toMatchObject({ LastName: 'B', External_Id__c: 'a/b' })
    expect((await call('DELETE', path)).status).toBe(204)
    expect(await call('PATCH', path, { Email: 'a@example.com' })).toMatchObject({
      status: 400,
      json: [{ errorCode: 'REQUIRED_FIELD_MISSING' }],
    })
  })
})

describe('Bulk API 2.0', () => {
  const job = async (body: object) => (await call('POST', '/jobs/ingest', body)).json
  const put = (id: string, csv: string) => call('PUT', `/jobs/ingest/${id}/batches`, csv, { 'content-type': 'text/csv' })
  const close = (id: string) => call('PATCH', `/jobs/ingest/${id}`, { state: 'UploadComplete' })
  const finish = async (id: string) => {
    const states: string[] = []
    for (let n = 0; n < 4; n++) {
      const { json } = await call('GET', `/jobs/ingest/${id}`)
      states.push(json.state)
      if (['JobComplete', 'Failed'].includes(json.state)) return { states, job: json }
    }
    throw new Error(`the job does not end: ${states.join()}`)
  }

  it('applies each row, clears with #N/A, leaves empty cells alone and reports by row', async () => {
    await upsert({ External_Id__c: '1', LastName: 'A', Title: 'Boss', Phone: '123' })
    const { id, contentUrl } = await job({
      object: 'Contact',
      operation: 'upsert',
      externalIdFieldName: 'External_Id__c',
      lineEnding: 'LF',
    })
    expect(contentUrl).toBe(`services/data/v62.0/jobs/ingest/${id}/batches`)
    const file = 'External_Id__c,LastName,Title,Phone,Signed_Up_On__c\n1,B,#N/A,,\n2,"C, ""D""\nE",,,2026-01-02\n3,F,,,01/02/2026\n'
    expect(await put(id, file)).toMatchObject({ status: 201, text: '' })
    expect((await put(id, file)).status).toBe(400)
    expect((await close(id)).json).toMatchObject({ id, state: 'UploadComplete' })
    const done = await finish(id)
    expect(done.states).toEqual(['InProgress', 'JobComplete'])
    expect(done.job).toMatchObject({ numberRecordsProcessed: 3, numberRecordsFailed: 1 })
    const contacts = fake.records()['Contact'] ?? []
    expect(contacts).toMatchObject([
      { LastName: 'B', Title: null, Phone: '123' },
      { LastName: 'C, "D"\nE', Signed_Up_On__c: '2026-01-02' },
    ])
    const good = (await call('GET', `/jobs/ingest/${id}/successfulResults/`)).text
    expect(good.split('\n')[0]).toBe('"sf__Id","sf__Created",External_Id__c,LastName,Title,Phone,Signed_Up_On__c')
    expect(good).toContain(`"${String(contacts[0]?.['Id'])}","false","1","B"`)
    const bad = (await call('GET', `/jobs/ingest/${id}/failedResults/`)).text
    expect(bad).toContain(
      `"","INVALID_FIELD:Failed to deserialize field at col 4. Due to, '01/02/2026' is not a valid value for the type xsd:date:Signed_Up_On__c --","3"`,
    )
    fake.reverse(true)
    const reversed = (await call('GET', `/jobs/ingest/${id}/successfulResults/`)).text
    expect(reversed.indexOf('"2"')).toBeLessThan(reversed.indexOf('"1","B"'))
  })

  it('fails as a whole for a column nobody knows and for other line ends, and then has touched nothing', async () => {
    const run = async (csv: string) => {
      const { id } = await job({ object: 'Contact', operation: 'insert' })
      await put(id, csv)
      await close(id)
      return { id, ...(await finish(id)).job }
    }
    const unknown = await run('LastName,Nonsense__c\nA,1\n')
    expect(unknown).toMatchObject({ state: 'Failed', errorMessage: 'InvalidBatch : Field name not found : Nonsense__c' })
    expect((await call('GET', `/jobs/ingest/${unknown.id}/unprocessedrecords/`)).text).toBe('LastName,Nonsense__c\n"A","1"\n')
    expect(await run('LastName\r\nA\r\n')).toMatchObject({
      state: 'Failed',
      errorMessage: expect.stringContaining('LineEnding is invalid'),
    })
    expect(fake.records()['Contact']).toBe(undefined)
  })

  it('refuses a job that makes no sense, and a file that is no CSV', async () => {
    expect((await call('POST', '/jobs/ingest', { object: 'Nothing', operation: 'insert' })).json[0].errorCode).toBe('INVALIDENTITY')
    expect((await call('POST', '/jobs/ingest', { object: 'Contact', operation: 'upsert' })).json[0].errorCode).toBe('INVALIDJOB')
    const { id } = await job({ object: 'Contact', operation: 'delete' })
    expect((await call('PUT', `/jobs/ingest/${id}/batches`, 'Id\n', { 'content-type': 'application/json' })).status).toBe(415)
    expect((await close(id)).json[0].errorCode).toBe('INVALIDJOBSTATE')
    expect((await call('PATCH', `/jobs/ingest/${id}`, { state: 'Aborted' })).json.state).toBe('Aborted')
    expect((await call('DELETE', `/jobs/ingest/${id}`)).status).toBe(204)
    expect((await call('GET', `/jobs/ingest/${id}`)).status).toBe(404)
  })
})

it('fails as the org does: an ended session, a missing permission, and both limits', async () => {
  const failing = async (status: number, more = {}) => {
    fake.fault(() => ({ kind: 'status', status, ...more }))
    return soql('SELECT Id FROM Contact')
  }
  expect(await failing(401)).toMatchObject({ status: 401, json: [{ errorCode: 'INVALID_SESSION_ID' }] })
  expect(await failing(403)).toMatchObject({ status: 403 })
  const busy = await failing(429, { retryAfter: 2 })
  expect([busy.status, busy.headers.get('retry-after')]).toEqual([429, '2'])
  expect(await failing(429, { daily: true })).toMatchObject({ status: 403, json: [{ errorCode: 'REQUEST_LIMIT_EXCEEDED' }] })
  expect(await failing(503)).toMatchObject({ status: 503, json: [{ errorCode: 'SERVER_UNAVAILABLE' }] })
})
