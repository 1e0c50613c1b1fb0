/** The batch endpoints of objects: create, update, upsert, read, archive; and search. */
import type { FakeControl, FakeReply, FakeRequest } from '../../src/testing/fake.ts'
import type { Records, Stored, Trouble, Values } from './records.ts'
import {
  batchReply,
  bodyOf,
  errorBody,
  inputsOf,
  invalid,
  isObject,
  objectOf,
  refuse,
  refuseDuplicates,
  Refusal,
  type RowError,
  textsOf,
} from './replies.ts'
import { convert, type ObjectType } from './schema.ts'

/** Inputs of one batch (HubSpot CRM API guides, "Contacts": 100 records per batch). */
const MOST_INPUTS = 100

export interface Objects {
  readonly control: FakeControl
  readonly records: Records
  /** Joins a new record to others, as `associations` of a create says; the message of what is wrong, else null. */
  associate(type: ObjectType, id: string, associations: unknown): string | null
}

interface Input {
  readonly id: string
  readonly idProperty: string | undefined
  readonly trace: string | undefined
  readonly properties: Values
  readonly associations: unknown
}

type Kind = 'create' | 'update' | 'upsert'

/** Answers POST /crm/objects/{version}/{type}/{operation}. */
export function objectsReply(objects: Objects, type: ObjectType, operation: string, request: FakeRequest): FakeReply | undefined {
  switch (operation) {
    case 'batch/create':
    case 'batch/update':
    case 'batch/upsert':
      return write(objects, type, operation.slice(6) as Kind, request)
    case 'batch/read':
      return read(objects, type, request)
    case 'batch/archive':
      return archive(objects, type, request)
    case 'search':
      return search(objects, type, request)
    case 'gdpr-delete':
      return type.id === '0-1' ? gdprDelete(objects, type, request) : undefined
    default:
      return undefined
  }
}

const MEMBERS = {
  create: ['properties', 'associations', 'objectWriteTraceId'],
  update: ['id', 'idProperty', 'properties', 'objectWriteTraceId'],
  upsert: ['id', 'idProperty', 'properties', 'objectWriteTraceId'],
} as const

function inputOf(raw: Readonly<Record<string, unknown>>, kind: Kind): Input {
  const { id, idProperty, objectWriteTraceId: trace, properties, associations } = raw
  if (!isObject(properties)) return invalid('Some required fields were not set: [properties]')
  if (kind !== 'create' && (typeof id !== 'string' || id.trim() === '')) invalid('Some required fields were not set: [id]')
  if (idProperty !== undefined && typeof idProperty !== 'string')
    refuse(400, 'Invalid input JSON on line 1, column 1: idProperty must be a string')
  if (trace !== undefined && typeof trace !== 'string')
    refuse(400, 'Invalid input JSON on line 1, column 1: objectWriteTraceId must be a string')
  for (const value of Object.values(properties))
    if (typeof value === 'object' && value !== null)
      refuse(400, 'Invalid input JSON on line 1, column 1: Cannot deserialize a property value')
  return { id: typeof id === 'string' ? id.trim() : '', idProperty, trace, properties: properties as Values, associations }
}

function write(objects: Objects, type: ObjectType, kind: Kind, request: FakeRequest): FakeReply {
  const { control, records } = objects
  const inputs = inputsOf(request, MOST_INPUTS, MEMBERS[kind]).map((raw) => inputOf(raw, kind))
  for (const { idProperty } of inputs) checkIdProperty(records, type, kind, idProperty)
  if (kind !== 'create') refuseDuplicates(inputs.map(({ id, idProperty }) => (idProperty === 'email' ? id.toLowerCase() : id)))
  const traces = new Set(inputs.map(({ trace }) => trace))
  const traced = traces.size === inputs.length && !traces.has(undefined)
  const results: Record<string, unknown>[] = []
  const errors: RowError[] = []
  const missing: string[] = []
  const undone: (() => void)[] = []
  for (const input of inputs) {
    const done = control.refusesRow() ? refusedRow() : writeOne(objects, type, kind, input)
    if (done === null) {
      missing.push(input.id)
    } else if ('kind' in done) {
      if (!traced) {
        for (const undo of undone.reverse()) undo()
        throw new Refusal(wholeBatch(done))
      }
      errors.push({ ...rowError(done), context: { objectWriteTraceId: [input.trace ?? ''], ...existing(done) } })
    } else {
      undone.push(done.undo)
      results.push({
        ...shown(type, done.stored, Object.keys(input.properties)),
        ...(kind === 'upsert' ? { new: done.created } : {}),
        ...(input.trace === undefined ? {} : { objectWriteTraceId: input.trace }),
      })
    }
  }
  if (missing.length > 0) errors.push(missingError(type, missing))
  return batchReply(kind === 'create' ? 201 : 200, control.anyOrder(results), control.anyOrder(errors), control.now())
}

function checkIdProperty(records: Records, type: ObjectType, kind: Kind, idProperty: string | undefined): void {
  if (kind === 'upsert' && idProperty === undefined) invalid('Some required fields were not set: [idProperty]')
  if (idProperty === undefined) return
  // An update by e-mail is refused too (HubSpot/hubspot-api-nodejs, issue 548).
  if (records.isUnique(type, idProperty) && !(kind === 'update' && idProperty === 'email')) return
  invalid(`Unable to perform update/upsert by non-unique ${type.id} property ${idProperty}`)
}

type Done = { readonly stored: Stored; readonly created: boolean; readonly undo: () => void }

function writeOne(objects: Objects, type: ObjectType, kind: Kind, input: Input): Done | Trouble | null {
  const { records } = objects
  const { id, idProperty, properties } = input
  if (kind === 'create') {
    const done = records.create(type, properties)
    if ('kind' in done) return done
    const wrong = objects.associate(type, done.stored.id, input.associations)
    if (wrong === null) return { ...done, created: true }
    done.undo()
    return { kind: 'incomplete', message: wrong }
  }
  const found = idProperty === undefined ? records.byId(type, id) : records.byUnique(type, idProperty, id)
  if (found !== undefined) {
    const done = records.update(type, found, properties)
    return 'kind' in done ? done : { ...done, created: false }
  }
  if (kind === 'update' || idProperty === undefined) return null
  const done = records.create(type, { [idProperty]: id, ...properties })
  return 'kind' in done ? done : { ...done, created: true }
}

function refusedRow(): Trouble {
  return {
    kind: 'values',
    values: [{ isValid: false, message: 'This record was refused on request', error: 'INVALID_VALUE', name: 'note' }],
  }
}

function rowError(trouble: Trouble): { status: 'error'; category: string; message: string } {
  if (trouble.kind === 'conflict')
    return { status: 'error', category: 'CONFLICT', message: `Contact already exists. Existing ID: ${trouble.existing}` }
  if (trouble.kind === 'incomplete') return { status: 'error', category: 'VALIDATION_ERROR', message: trouble.message }
  const message = `Property values were not valid: ${JSON.stringify(trouble.values)}`
  return { status: 'error', category: 'VALIDATION_ERROR', message }
}

const existing = (trouble: Trouble): Record<string, string[]> => (trouble.kind === 'conflict' ? { existingId: [trouble.existing] } : {})

/** Without trace ids one bad row refuses all, and nothing says which it was. */
function wholeBatch(trouble: Trouble): FakeReply {
  const { category, message } = rowError(trouble)
  if (trouble.kind === 'conflict') return { status: 409, json: errorBody('Contact already exists', { category }) }
  if (trouble.kind === 'incomplete') return { status: 400, json: errorBody(message, { category }) }
  const errors = trouble.values.map((value) => ({ message: value.message, code: value.error, context: { propertyName: [value.name] } }))
  return { status: 400, json: errorBody(message, { category, errors }) }
}

function missingError(type: ObjectType, ids: readonly string[]): RowError {
  const message = `Could not get some ${type.entity} objects, they may be deleted or not exist. Check that ids are valid.`
  return { status: 'error', category: 'OBJECT_NOT_FOUND', message, context: { ids } }
}

/** A record as replies have it: the properties asked for, with null for empty ones, and what every reply has. */
function shown(type: ObjectType, stored: Stored, names: readonly string[], values = stored.properties): Record<string, unknown> {
  const created = new Date(stored.createdAt).toISOString()
  const updated = new Date(stored.updatedAt).toISOString()
  const modified = type.id === '0-1' ? 'lastmodifieddate' : 'hs_lastmodifieddate'
  const always: Record<string, string> = { createdate: created, [modified]: updated, hs_object_id: stored.id }
  if (values['email'] !== undefined) always['email'] = values['email']
  const asked = names.filter((name) => type.properties.has(name)).map((name) => [name, always[name] ?? values[name] ?? null] as const)
  return { id: stored.id, properties: { ...always, ...Object.fromEntries(asked) }, createdAt: created, updatedAt: updated, archived: false }
}

function read({ control, records }: Objects, type: ObjectType, request: FakeRequest): FakeReply {
  const beside = ['idProperty', 'properties', 'propertiesWithHistory'] as const
  const ids = inputsOf(request, MOST_INPUTS, ['id'], beside).map(({ id }) =>
    typeof id === 'string' ? id.trim() : invalid('Some required fields were not set: [id]'),
  )
  const { idProperty, properties = [] } = objectOf(bodyOf(request), ['inputs', ...beside])
  if (idProperty !== undefined && typeof idProperty !== 'string') return invalid('idProperty must be a string')
  const names = textsOf(properties, 'properties')
  const byId = idProperty === undefined || idProperty === 'hs_object_id'
  if (!byId && !records.isUnique(type, idProperty)) invalid(`${idProperty} is not a unique property of ${type.id}`)
  refuseDuplicates(ids)
  const found = new Map<string, Stored>()
  const missing: string[] = []
  for (const id of ids) {
    const stored = byId ? records.byId(type, id) : records.byUnique(type, idProperty, id)
    if (stored === undefined) missing.push(id)
    else found.set(stored.id, stored)
  }
  const results = [...found.values()].map((stored) => shown(type, stored, byId ? names : [...names, idProperty]))
  return batchReply(200, control.anyOrder(results), missing.length > 0 ? [missingError(type, missing)] : [], control.now())
}

function archive({ control, records }: Objects, type: ObjectType, request: FakeRequest): FakeReply {
  const ids = inputsOf(request, MOST_INPUTS, ['id']).map(({ id }) =>
    typeof id === 'string' ? id : invalid('Some required fields were not set: [id]'),
  )
  refuseDuplicates(ids)
  // There are no errors by row here, and unknown ids are ignored.
  if (ids.map(() => control.refusesRow()).some(Boolean)) invalid('A record was refused on request')
  for (const id of ids) records.archive(type, id)
  return { status: 204 }
}

function gdprDelete({ control, records }: Objects, type: ObjectType, request: FakeRequest): FakeReply {
  const { objectId, idProperty } = objectOf(bodyOf(request), ['objectId', 'idProperty'])
  if (typeof objectId !== 'string') return invalid('Some required fields were not set: [objectId]')
  if (control.refusesRow()) invalid('This record was refused on request')
  const found = idProperty === 'email' ? records.byUnique(type, 'email', objectId) : records.byId(type, objectId)
  if (found !== undefined) records.archive(type, found.id)
  return { status: 204 }
}

const SEARCH_MEMBERS = ['filterGroups', 'sorts', 'query', 'properties', 'limit', 'after'] as const

/** At most 5 groups of 6 filters, 18 in all, 200 results a page, 10,000 in all (HubSpot CRM API guide, "Search the CRM"). */
function search({ control, records }: Objects, type: ObjectType, request: FakeRequest): FakeReply {
  const { filterGroups = [], properties = [], limit = 10, after = '0' } = objectOf(bodyOf(request), SEARCH_MEMBERS)
  if (!Array.isArray(filterGroups) || filterGroups.length > 5) invalid('At most 5 filterGroups')
  const groups = (filterGroups as unknown[]).map((group) => objectOf(group, ['filters'])['filters'])
  if (!groups.every((group): group is unknown[] => Array.isArray(group) && group.length <= 6) || groups.flat().length > 18)
    return invalid('At most 6 filters a group and 18 in all')
  if (typeof limit !== 'number' || limit < 1 || limit > 200) return invalid('limit must be 1 to 200')
  const first = Number(after)
  if (!Number.isInteger(first) || first + limit > 10_000) return invalid('Paging beyond 10,000 results')
  const names = textsOf(properties, 'properties')
  const tests = groups.map((group) => group.map((filter) => testOf(type, filter)))
  const found: Record<string, unknown>[] = []
  for (const stored of records.all(type)) {
    const view = records.searchView(stored)
    if (view === null) continue
    const values = { ...view, hs_object_id: stored.id }
    if (tests.length === 0 || tests.some((group) => group.every((test) => test(values)))) found.push(shown(type, stored, names, view))
  }
  const results = control.anyOrder(found).slice(first, first + limit)
  const next = first + limit < found.length ? { paging: { next: { after: String(first + limit) } } } : {}
  return { status: 200, json: { total: found.length, results, ...next } }
}

type Test = (values: Readonly<Record<string, string>>) => boolean

function testOf(type: ObjectType, raw: unknown): Test {
  const { propertyName, operator, value, values } = objectOf(raw, ['propertyName', 'operator', 'value', 'values', 'highValue'])
  const property = typeof propertyName === 'string' ? type.properties.get(propertyName) : undefined
  if (property === undefined) return invalid(`There was a problem with the request: property "${String(propertyName)}" does not exist`)
  const at = (record: Readonly<Record<string, string>>): string | undefined => record[property.name]
  const wanted = (text: unknown): string => {
    const converted = property.readOnly ? String(text) : convert(type, property, String(text))
    return typeof converted === 'string' ? converted.toLowerCase() : invalid(converted.message)
  }
  switch (operator) {
    case 'EQ':
    case 'NEQ': {
      if (typeof value !== 'string') return invalid('value is required')
      const text = wanted(value)
      return (record) => (at(record)?.toLowerCase() === text) === (operator === 'EQ')
    }
    case 'IN': {
      const list = textsOf(values, 'values')
      if (list.length === 0 || list.length > 100) invalid('IN takes 1 to 100 values')
      // Compared in lower case, so values of text properties must be given in it.
      const set = new Set(property.type === 'string' ? list : list.map(wanted))
      return (record) => set.has(at(record)?.toLowerCase() ?? '')
    }
    case 'HAS_PROPERTY':
      return (record) => at(record) !== undefined
    case 'NOT_HAS_PROPERTY':
      return (record) => at(record) === undefined
    default:
      return invalid(`The fake does not know the operator ${String(operator)}`)
  }
}
