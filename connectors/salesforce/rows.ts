/** Rows on their way into requests: their values by column, and what Salesforce says of each in reply. */
import { type Change, type Fields, type HttpReply, type Op, type Outcome, Refused, UnknownOutcome, type Value } from '../../src/index.ts'
import type { Api } from './client.ts'
import { convert, type Field, fullId, isProblem, type Schema } from './schema.ts'

/** Rows of one collection (REST API Developer Guide, "Using sObject Collections"). */
export const COLLECTION = 200

/** A mapped field: one of the object, or `Account.Domain__c`, which names the parent by one of its external ids. */
export interface Column {
  readonly name: string
  readonly field: Field | undefined
  readonly parent: { readonly reference: string; readonly relationship: string; readonly by: string } | null
}

/** A row whose values have the form of their fields. */
export interface Row {
  readonly change: Change
  readonly values: ReadonlyMap<Column, Value>
}

/** The columns of these names. Throws Refused for a path that Salesforce does not take. */
export async function columnsOf(schema: Schema, object: string, names: Iterable<string>): Promise<ReadonlyMap<string, Column>> {
  const { fields, relationships } = await schema(object)
  const columns = new Map<string, Column>()
  for (const name of names) {
    const [relationship = '', by, ...more] = name.split('.')
    if (by === undefined) {
      columns.set(name, { name, field: fields.get(name), parent: null })
      continue
    }
    const reference = relationships.get(relationship)
    const [parent, ...others] = reference?.referenceTo ?? []
    if (reference === undefined || parent === undefined || more.length > 0)
      throw new Refused(
        'INVALID_FIELD',
        `${object} has no parent for "${name}": write RELATIONSHIP.EXTERNAL_ID_FIELD, like Account.Domain__c.`,
        400,
      )
    if (others.length > 0)
      throw new Refused(
        'INVALID_FIELD',
        `"${relationship}" of ${object} may name several objects: map ${reference.name} with a lookup instead.`,
        400,
      )
    columns.set(name, { name, field: (await schema(parent)).fields.get(by), parent: { reference: reference.name, relationship, by } })
  }
  return columns
}

/** Names of all fields in these changes, match included. */
export function namesIn(changes: readonly Change[]): Set<string> {
  const names = new Set<string>()
  for (const { match, fields } of changes) for (const name of [...Object.keys(match), ...Object.keys(fields)]) names.add(name)
  return names
}

/** The row of these values, or its rejection with the field that can't be sent. */
export function rowOf(change: Change, values: Fields, columns: ReadonlyMap<string, Column>): Row | Outcome {
  const converted = new Map<Column, Value>()
  for (const [name, value] of Object.entries(values)) {
    const column = columns.get(name) ?? { name, field: undefined, parent: null }
    const sent = convert(column.field, value)
    if (isProblem(sent)) return { key: change.key, result: 'rejected', ...sent, field: name }
    converted.set(column, sent)
  }
  return { change, values: converted }
}

/**
 * The rejection of a row whose match is an id in another form than Salesforce writes it: one record would have two
 * addresses, and be removed under one while it is wanted under the other.
 */
export function badId({ key, match }: Change): Outcome | null {
  const field = ['Id', 'ContactId', 'LeadId'].find((name) => Object.hasOwn(match, name))
  const id = match[field ?? '']
  if (field === undefined || (typeof id === 'string' && /^\w{18}$/.test(id) && fullId(id) === id)) return null
  const message = `${field}: give the id in its form of 18 characters, as the API writes it (in formulas CASESAFEID(Id)).`
  return { key, result: 'rejected', code: 'MALFORMED_ID', message, field }
}

export const isRow = (row: Row | Outcome): row is Row => 'values' in row

/** A record of a collection. */
export function recordOf(object: string, { values }: Row, id?: string): Record<string, Value> {
  const record = new Map<string, Value>([['attributes', { type: object }]])
  if (id !== undefined) record.set('id', id)
  for (const [{ name, parent }, value] of values) {
    if (parent === null) record.set(name, value)
    else if (value === null) record.set(parent.reference, null)
    else record.set(parent.relationship, { ...(record.get(parent.relationship) as Fields | undefined), [parent.by]: value })
  }
  return Object.fromEntries(record)
}

export function* chunks<T>(list: readonly T[], size = COLLECTION): Iterable<readonly T[]> {
  for (let first = 0; first < list.length; first += size) yield list.slice(first, first + size)
}

/** Results of a collection, which are in the order of its records. */
export function* outcomesOf(reply: HttpReply, changes: readonly Change[], op: Op, exists?: string): Iterable<Outcome> {
  const results = reply.json()
  if (!Array.isArray(results) || results.length !== changes.length)
    throw new UnknownOutcome('bad_reply', `The reply does not have one result for each of ${changes.length} records.`)
  for (const [i, change] of changes.entries()) yield outcomeOf(change, (results as readonly Value[])[i], op, exists)
}

function outcomeOf({ key }: Change, raw: Value | undefined, op: Op, exists: string | undefined): Outcome {
  const { success, id, errors } = membersOf(raw)
  if (success === true) return { key, result: 'ok', remoteId: typeof id === 'string' ? id : undefined }
  const [first] = Array.isArray(errors) ? (errors as readonly Value[]) : []
  if (success !== false || first === undefined)
    return { key, result: 'unknown', code: 'bad_result', message: 'Salesforce gave neither success nor an error for this row.' }
  const { statusCode, message, fields } = membersOf(first)
  const [field] = Array.isArray(fields) ? (fields as readonly Value[]) : []
  return failed(key, op, {
    code: typeof statusCode === 'string' ? statusCode : 'UNKNOWN_EXCEPTION',
    message: typeof message === 'string' ? message : '',
    field: typeof field === 'string' ? field : undefined,
    exists,
  })
}

/** None of what is no object: one odd result says nothing of the others. */
const membersOf = (raw: Value | undefined): Fields =>
  typeof raw === 'object' && raw !== null && !Array.isArray(raw) ? (raw as Fields) : {}

/** Another transaction holds the row, or the org is busy; nothing of the row was applied. */
const PASSING = new Set(['UNABLE_TO_LOCK_ROW', 'SERVER_UNAVAILABLE', 'QUERY_TIMEOUT'])
const GONE = new Set(['ENTITY_IS_DELETED', 'INVALID_CROSS_REFERENCE_KEY'])

/** What an error of one row means. `exists`: the field by which an insert finds that there is one already. */
export function failed(
  key: string,
  op: Op,
  { code, message, field, exists }: { code: string; message: string; field: string | undefined; exists?: string | undefined },
): Outcome {
  // A trigger that met a locked row says so in its own words.
  const locked = code === 'CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY' && message.includes('UNABLE_TO_LOCK_ROW')
  if (PASSING.has(code) || locked) return { key, result: 'retry', code, message }
  if (op === 'delete' && GONE.has(code)) return { key, result: 'ok' }
  if (op === 'update' && code === 'ENTITY_IS_DELETED') return { key, result: 'absent' }
  // "duplicate value found: External_Id__c duplicates value on record with id: 003…", in the language of the user
  if (op === 'insert' && code === 'DUPLICATE_VALUE' && message.split(/\W+/).includes(exists ?? '-')) return { key, result: 'exists' }
  return { key, result: 'rejected', code, message, field }
}

/** Sends rows to one endpoint of collections, 200 at a time. */
export async function* sendRows(
  api: Api,
  request: { readonly method: 'POST' | 'PATCH'; readonly path: string },
  op: Op,
  rows: readonly { readonly change: Change; readonly record: Record<string, Value> }[],
  exists?: string,
): AsyncIterable<Outcome> {
  for (const some of chunks(rows)) {
    // allOrNone would undo the good rows with the bad.
    const json = { allOrNone: false, records: some.map(({ record }) => record) }
    const reply = await api.request({ ...request, json })
    yield* outcomesOf(
      reply,
      some.map(({ change }) => change),
      op,
      exists,
    )
  }
}

export async function* deleteIds(api: Api, rows: readonly { readonly change: Change; readonly id: string }[]): AsyncIterable<Outcome> {
  for (const some of chunks(rows)) {
    const ids = some.map(({ id }) => id).join(',')
    const reply = await api.request({ method: 'DELETE', path: '/composite/sobjects', query: { ids, allOrNone: 'false' } })
    yield* outcomesOf(
      reply,
      some.map(({ change }) => change),
      'delete',
    )
  }
}
