/** Writes to any object of Salesforce by an external id, in collections or bulk jobs, and keeps the members of campaigns. */
import {
  type Batch,
  type Change,
  type ConnectorIO,
  defineConnector,
  type Destination,
  type JobToken,
  type ObjectSpec,
  type Outcome,
  Refused,
  UnknownOutcome,
  type Value,
} from '../../src/index.ts'
import { type Api, openApi, textOf } from './client.ts'
import { type Config, config, type Options, options } from './config.ts'
import { fitsFile, followJob, type Job, opOfJob, runJob } from './jobs.ts'
import { checkCampaign, inCampaign, listMembers, MEMBER, writeMembers } from './members.ts'
import { find, idOf } from './query.ts'
import { readRecords } from './read.ts'
import { badId, COLLECTION, type Column, columnsOf, deleteIds, isRow, namesIn, recordOf, type Row, rowOf, sendRows } from './rows.ts'
import { fieldInfos, openSchema, type Schema } from './schema.ts'

/** Rows of a bulk job here: Salesforce works through them in batches of 10,000, of which an org has 15,000 a day. */
const JOB = 10_000
/** Bytes of a batch: a job's results echo its rows, and replies are read up to 32 MB. */
const BYTES = 16 * 2 ** 20
/** A trial or developer org takes 5 requests of 20 seconds and more at once, others 25 (Salesforce app limits cheatsheet). */
const CONCURRENCY = 5

const replay = { upsert: 'harmless', update: 'harmless', delete: 'harmless', insert: 'none' } as const

function record({ options }: { options: Options }): ObjectSpec {
  return {
    description: 'Records of the object of this API name (`Contact`, `Account`, `Order__c`, …).',
    modes: ['upsert', 'update', 'insert', 'mirror'],
    address: { match: 'all', renames: true },
    // Salesforce compares texts without case and without white space at the ends, unless a field is marked otherwise.
    match: { Id: 'exact', '*': options.case_sensitive ? 'trim' : 'email' },
    confirms: 'row',
    replay,
    removes: ['delete', 'clear', 'set', 'none'],
    nested: true,
  }
}

const member: ObjectSpec = {
  description: 'The contacts or leads of one campaign.',
  modes: ['mirror'],
  address: { match: 'all' },
  match: { ContactId: 'exact', LeadId: 'exact' },
  membership: true,
  confirms: 'row',
  replay,
  removes: ['delete'],
  targetOptions: ['campaign_id'],
}

export default defineConnector<Config, Options>({
  name: 'salesforce',
  description: 'Salesforce: any object by external id, in collections and bulk jobs; members of campaigns.',
  version: 1,
  config,
  options,
  objects: { [MEMBER]: member, '*': record },
  limits: (_, op, object) =>
    object !== MEMBER && opOfJob(op)
      ? { rows: JOB, bytes: BYTES, concurrency: CONCURRENCY }
      : { rows: COLLECTION, bytes: BYTES, concurrency: CONCURRENCY },
  validate: (settings, object) =>
    object === MEMBER && settings.options.campaign_id === undefined
      ? [{ path: ['campaign_id'], message: 'is missing: it says whose members these are' }]
      : [],
  open(settings, io) {
    const api = openApi(settings.config, io)
    const schema = openSchema(api)
    return destination({ api, schema, io, ...settings })
  },
})

interface Org {
  readonly api: Api
  readonly schema: Schema
  readonly io: ConnectorIO
  readonly config: Config
  readonly options: Options
}

function destination(org: Org): Destination {
  const { api, schema, options } = org
  return {
    async check() {
      for await (const { Id, Name, IsSandbox } of api.query('SELECT Id, Name, IsSandbox FROM Organization LIMIT 1'))
        if (typeof Id === 'string') return { id: Id, name: `${textOf(Name)}${IsSandbox === true ? ' (sandbox)' : ''}` }
      throw new UnknownOutcome('bad_reply', 'Salesforce did not say which org this is.')
    },
    async describe(object) {
      if (object === MEMBER) await checkCampaign(api, schema, options.campaign_id)
      return fieldInfos(await schema(object))
    },
    write: (batch) => (batch.object === MEMBER ? writeMembers(api, schema, options.campaign_id ?? '', batch) : writeRecords(org, batch)),
    async *resume(token, { object, op, changes }) {
      const by = await matchOf(org, object, changes)
      if (!opOfJob(op) || by === null) return
      const job = { op, by, exists: op === 'insert' ? by.name : undefined }
      const sent = changes.filter((change) => !moves(change))
      yield* isId(by) ? withoutIds(followJob(api, org.io, token, job, sent)) : followJob(api, org.io, token, job, sent)
    },
    async lookup(object, matches) {
      const found = await find(api, await schema(object), matches)
      // Which of several is meant, nobody knows.
      return found.map((records) => (records.length === 1 ? idOf(records[0]) : null))
    },
    read: (object, matches) =>
      readRecords(api, schema, object, matches, object === MEMBER ? inCampaign(options.campaign_id ?? '') : undefined),
    list: () => listMembers(api, options.campaign_id ?? ''),
  }
}

/** The one field that a record is found by; null without changes. */
async function matchOf({ schema, options }: Org, object: string, changes: readonly Change[]): Promise<Job['by'] | null> {
  const [first] = changes
  if (first === undefined) return null
  const [name, ...more] = Object.keys(first.match)
  if (name === undefined || more.length > 0)
    throw new Refused('bad_match', 'Salesforce finds a record by one field: give one match field.', 400)
  const column = (await columnsOf(schema, object, [name])).get(name) ?? null
  if (options.case_sensitive && column?.field?.caseSensitive === false && !isId(column))
    throw new Refused(
      'not_case_sensitive',
      `"${name}" of ${object} is not marked as case sensitive in Salesforce, for which two spellings are one record: leave out options: case_sensitive.`,
      400,
    )
  return column
}

const isId = ({ field }: Column): boolean => field?.type === 'id'

/** A record found by its id has no other name: with a remote id the engine would take a new match for a rename, and no id changes. */
async function* withoutIds<T extends Outcome | JobToken>(outcomes: AsyncIterable<T>): AsyncIterable<T | Outcome> {
  for await (const one of outcomes) yield 'result' in one && one.result === 'ok' ? { key: one.key, result: 'ok' } : one
}

async function* writeRecords(org: Org, batch: Batch): AsyncIterable<Outcome | JobToken> {
  const by = await matchOf(org, batch.object, batch.changes)
  if (by === null) return
  if (batch.changes.some(({ fields }) => Object.hasOwn(fields, 'Id')))
    throw new Refused('INVALID_FIELD', 'The Id of a record can’t be written: use it as the match, or leave it out.', 400)
  const changes: Change[] = []
  for (const change of batch.changes) {
    const bad = isId(by) ? badId(change) : null
    if (bad === null) changes.push(change)
    else yield bad
  }
  const outcomes = sendRecords(org, { ...batch, changes }, by)
  yield* isId(by) ? withoutIds(outcomes) : outcomes
}

function sendRecords(org: Org, batch: Batch, by: Column): AsyncIterable<Outcome | JobToken> {
  if (batch.op === 'delete') return deleteRecords(org, batch)
  if (batch.op === 'update') return updateRecords(org, batch.object, batch.changes)
  if (batch.op === 'upsert' && by.field?.findable !== true) throw notUpsertable(batch.object, by.name)
  return putRecords(org, batch, by)
}

/** An upsert whose record is known by its id and gets a new match. */
const moves = ({ op, previousMatch, remoteId }: Change): boolean => op === 'upsert' && previousMatch !== null && remoteId !== null

/** Upserts and inserts. */
async function* putRecords(org: Org, { object, op, changes }: Batch, by: Column): AsyncIterable<Outcome | JobToken> {
  const { api, schema } = org
  const described = await schema(object)
  const columns = await columnsOf(schema, object, namesIn(changes))
  // A record keeps its id under a new match: found by the old one it would be made anew.
  const renamed = changes.filter(moves)
  const rest = new Set(changes)
  for (const change of renamed) rest.delete(change)
  const there =
    op === 'insert' && !by.field?.unique
      ? await find(
          api,
          described,
          [...rest].map(({ match }) => match),
        )
      : []
  const rows: Row[] = []
  for (const [i, change] of [...rest].entries()) {
    const row = rowOf(change, { ...change.match, ...change.fields }, columns)
    if ((there[i]?.length ?? 0) > 0) yield { key: change.key, result: 'exists' }
    else if (isRow(row)) rows.push(row)
    else yield row
  }
  const job: Job = { object, op: op === 'insert' ? 'insert' : 'upsert', by, exists: op === 'insert' ? by.name : undefined }
  // Inserts that fit one request go in one, more of them as a job: no row may be in doubt because of another request.
  const most = op === 'insert' ? Math.min(COLLECTION, org.config.bulk_above) : org.config.bulk_above
  const inFile = rows.length > most ? rows.filter(fitsFile) : []
  const file = new Set(inFile)
  if (inFile.length > 0) yield* runJob(api, org.io, job, inFile)
  yield* collect(
    api,
    job,
    rows.filter((row) => !file.has(row)),
  )
  yield* renameRecords(org, object, job, renamed)
}

function notUpsertable(object: string, name: string): Refused {
  return new Refused(
    'not_an_external_id',
    `Salesforce can't upsert ${object} by "${name}": mark the field as External ID and Unique in Setup, or use mode update or insert.`,
    400,
  )
}

async function* collect(api: Api, { object, op, by, exists }: Job, rows: readonly Row[]): AsyncIterable<Outcome> {
  const records = rows.map((row) => ({ change: row.change, record: recordOf(object, row) }))
  if (op === 'insert') yield* sendRows(api, { method: 'POST', path: '/composite/sobjects' }, op, records, exists)
  else
    yield* sendRows(
      api,
      { method: 'PATCH', path: `/composite/sobjects/${encodeURIComponent(object)}/${encodeURIComponent(by.name)}` },
      op,
      records,
    )
}

async function* renameRecords(org: Org, object: string, job: Job, renamed: readonly Change[]): AsyncIterable<Outcome> {
  const columns = await columnsOf(org.schema, object, namesIn(renamed))
  const rows: { change: Change; record: Record<string, Value> }[] = []
  for (const change of renamed) {
    const row = rowOf(change, { ...change.match, ...change.fields }, columns)
    if (isRow(row)) rows.push({ change, record: recordOf(object, row, change.remoteId ?? '') })
    else yield row
  }
  const gone: Row[] = []
  for await (const outcome of sendRows(org.api, { method: 'PATCH', path: '/composite/sobjects' }, 'update', rows)) {
    const change = renamed.find(({ key }) => key === outcome.key)
    // Deleted, or deleted for good. (The same code for a parent that is not there comes back from the upsert.)
    const absent = outcome.result === 'absent' || (outcome.result === 'rejected' && outcome.code === 'INVALID_CROSS_REFERENCE_KEY')
    const row = absent && change ? rowOf(change, { ...change.match, ...change.fields }, columns) : null
    if (row !== null && isRow(row)) gone.push(row)
    else yield outcome
  }
  yield* collect(org.api, job, gone)
}

/** Records by their match, since only an upsert finds them by itself. */
async function* located(
  org: Org,
  object: string,
  changes: readonly Change[],
): AsyncIterable<Outcome | { change: Change; id: string | null }> {
  const found = await find(
    org.api,
    await org.schema(object),
    changes.map(({ match }) => match),
  )
  for (const [i, change] of changes.entries()) {
    const records = found[i] ?? []
    const message = `${records.length} records of ${object} have this ${Object.keys(change.match).join(', ')}.`
    if (records.length > 1) yield { key: change.key, result: 'rejected', code: 'ambiguous', message, field: Object.keys(change.match)[0] }
    else yield { change, id: records.length === 0 ? null : idOf(records[0]) }
  }
}

async function* updateRecords(org: Org, object: string, changes: readonly Change[]): AsyncIterable<Outcome> {
  const columns = await columnsOf(org.schema, object, namesIn(changes))
  const rows: { change: Change; record: Record<string, Value> }[] = []
  for await (const one of located(org, object, changes)) {
    if (!('change' in one)) {
      yield one
      continue
    }
    const row = rowOf(one.change, one.change.fields, columns)
    if (one.id === null) yield { key: one.change.key, result: 'absent' }
    else if (isRow(row)) rows.push({ change: one.change, record: recordOf(object, row, one.id) })
    else yield row
  }
  yield* sendRows(org.api, { method: 'PATCH', path: '/composite/sobjects' }, 'update', rows)
}

/** By the id an earlier write returned, else by the match. */
async function* deleteRecords(org: Org, { object, changes }: Batch): AsyncIterable<Outcome> {
  const rows: { change: Change; id: string }[] = []
  const unknown: Change[] = []
  for (const change of changes) {
    if (change.remoteId === null) unknown.push(change)
    else rows.push({ change, id: change.remoteId })
  }
  for await (const one of located(org, object, unknown)) {
    if (!('change' in one)) yield one
    else if (one.id === null) yield { key: one.change.key, result: 'absent' }
    else rows.push({ change: one.change, id: one.id })
  }
  yield* deleteIds(org.api, rows)
}
