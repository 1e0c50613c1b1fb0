/** What Salesforce says of its objects, and the form a value takes in a field of each type. */
import { type FieldInfo, type LogicalType, RawJson, Refused, type Value } from '../../src/index.ts'
import { type Api, type Json, objectOf, textOf } from './client.ts'

export interface Field {
  readonly name: string
  readonly type: string
  /** Characters; 0 where there is no limit. */
  readonly length: number
  readonly writable: boolean
  /** An upsert can find the record by it. */
  readonly findable: boolean
  readonly unique: boolean
  readonly caseSensitive: boolean
  /** Compound fields (Name, addresses) are read in their parts only. */
  readonly referenceTo: readonly string[]
  /** What stands before the dot in `Account.Domain__c`. */
  readonly relationship: string | null
}

export interface Described {
  readonly name: string
  readonly fields: ReadonlyMap<string, Field>
  /** Reference fields by what stands before the dot. */
  readonly relationships: ReadonlyMap<string, Field>
}

export type Schema = (object: string) => Promise<Described>

/** Describes each object once. */
export function openSchema(api: Api): Schema {
  const known = new Map<string, Described>()
  return async (object) => {
    const found = known.get(object) ?? (await describe(api, object))
    known.set(object, found)
    return found
  }
}

async function describe(api: Api, object: string): Promise<Described> {
  const reply = await api.request({ method: 'GET', path: `/sobjects/${encodeURIComponent(object)}/describe`, accept: [404] })
  if (reply.status === 404)
    throw new Refused(
      'NOT_FOUND',
      `Salesforce has no object "${object}", or the user may not see it. Names are API names: a custom object ends in __c.`,
      404,
    )
  const { name, fields } = objectOf(reply.json())
  const all = (Array.isArray(fields) ? (fields as readonly Value[]) : []).map((field) => fieldOf(objectOf(field)))
  return {
    name: typeof name === 'string' ? name : object,
    fields: new Map(all.map((field) => [field.name, field])),
    relationships: new Map(all.flatMap((field) => (field.relationship === null ? [] : [[field.relationship, field] as const]))),
  }
}

function fieldOf(raw: Json): Field {
  const { name, type, length, relationshipName, referenceTo } = raw
  return {
    name: textOf(name),
    type: textOf(type),
    length: typeof length === 'number' ? length : 0,
    writable: raw['createable'] === true || raw['updateable'] === true,
    findable: raw['externalId'] === true || raw['idLookup'] === true,
    unique: raw['unique'] === true || type === 'id',
    caseSensitive: raw['caseSensitive'] === true,
    referenceTo: Array.isArray(referenceTo) ? (referenceTo as readonly string[]) : [],
    relationship: typeof relationshipName === 'string' ? relationshipName : null,
  }
}

const NUMBERS = new Set(['int', 'long', 'double', 'currency', 'percent'])
const COMPOUND = new Set(['address', 'location', 'complexvalue'])
const TEXTS: readonly LogicalType[] = ['string', 'integer', 'decimal', 'float', 'boolean', 'date', 'time', 'timestamp', 'timestamptz']

/** Fields for `describe()`; a relationship is a field whose parts name a parent by its external id. */
export function fieldInfos({ fields, relationships }: Described): FieldInfo[] {
  const plain = [...fields.values()].map((field): FieldInfo => {
    const accepts = acceptedBy(field.type)
    return { name: field.name, type: field.type, ...(accepts && { accepts }), readOnly: !field.writable && field.type !== 'id' }
  })
  const parents = [...relationships].map(([name, field]): FieldInfo => ({ name, type: 'parent', readOnly: !field.writable }))
  return [...plain, ...parents.filter(({ name }) => !fields.has(name))]
}

function acceptedBy(type: string): readonly LogicalType[] | undefined {
  if (NUMBERS.has(type)) return ['integer', 'decimal', 'float', 'string']
  switch (type) {
    case 'boolean':
      return ['boolean', 'string']
    case 'date':
      return ['date', 'string']
    case 'datetime':
      return ['timestamp', 'timestamptz', 'string']
    case 'time':
      return ['time', 'string']
    case 'multipicklist':
      return [...TEXTS, 'json']
    case 'base64':
      return ['bytes', 'string']
    default:
      return COMPOUND.has(type) ? undefined : TEXTS
  }
}

/** Why a value can't be sent. */
export interface Problem {
  readonly code: string
  readonly message: string
}

export const isProblem = (value: Value | Problem): value is Problem =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof RawJson)

/** ISO 8601 with a zone, as REST and Bulk read it. */
const MOMENT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/
const TIME = /^\d{2}:\d{2}(:\d{2}(\.\d+)?)?Z?$/
const NUMBER = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/
export const ID = /^[A-Za-z0-9]{15}([A-Za-z0-9]{3})?$/
const SUFFIX = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ012345'

/** An id of 18 characters as Salesforce writes it: the last three say which of the 15 before are capitals. Others as they are. */
export function fullId(id: string): string {
  const suffix = id.slice(15).toUpperCase()
  if (!ID.test(id) || suffix === '') return id
  const capital = (i: number): boolean => ((SUFFIX.indexOf(suffix[Math.floor(i / 5)] ?? '') >> (i % 5)) & 1) === 1
  const letters = Array.from(id.slice(0, 15), (letter, i) => (capital(i) ? letter.toUpperCase() : letter.toLowerCase()))
  return letters.join('') + suffix
}

/**
 * A value in the form its field takes: texts in text fields whatever the column's type, since Salesforce refuses a whole
 * request for a number or date that it can't read. `null` clears.
 */
export function convert(field: Field | undefined, value: Value): Value | Problem {
  if (value === null) return null
  if (typeof value === 'object' && !(value instanceof RawJson)) return joined(field, value)
  if (field === undefined) return value
  const text = typeof value === 'string' ? value : value instanceof RawJson ? value.text : String(value)
  const no = (what: string): Problem => ({ code: 'INVALID_VALUE', message: `${field.name}: the value is no ${what}.` })
  if (NUMBERS.has(field.type)) {
    const form = field.type === 'int' || field.type === 'long' ? /^-?\d+$/ : NUMBER
    if (!form.test(text) || typeof value === 'boolean') return no(field.type === 'int' ? 'whole number' : 'number')
    return typeof value === 'string' ? new RawJson(canonical(text)) : value
  }
  switch (field.type) {
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : no('boolean (true or false)')
    case 'date':
      return isDate(text) ? text : no('date (YYYY-MM-DD)')
    case 'datetime':
      return MOMENT.test(text) && !Number.isNaN(Date.parse(text)) ? text : no('moment with a zone (2026-01-31T09:00:00Z)')
    case 'time':
      return TIME.test(text) ? text : no('time (09:00:00)')
    case 'id':
    case 'reference':
      return ID.test(text) ? text : { code: 'MALFORMED_ID', message: `${field.name}: the value is no Salesforce id.` }
    default:
      return fits(field, text)
  }
}

/** JSON has no leading zeros. */
const canonical = (text: string): string => text.replace(/^(-?)0+(?=\d)/, '$1')

function isDate(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false
  const at = Date.parse(`${text}T00:00:00Z`)
  return !Number.isNaN(at) && new Date(at).toISOString().startsWith(text)
}

/** Code points: at least what Salesforce counts. */
const charactersIn = (text: string): number => text.match(/./gsu)?.length ?? 0

function fits({ name, length, type }: Field, text: string): string | Problem {
  // A picklist's own values may be longer than what describe() says of it; those that don't exist are refused there.
  if (length === 0 || text.length <= length || /picklist|combobox/.test(type) || charactersIn(text) <= length) return text
  return { code: 'STRING_TOO_LONG', message: `${name}: the value has ${charactersIn(text)} characters, at most ${length} fit.` }
}

/** Several values of a multi-select picklist stand in one text, with semicolons between. */
function joined(field: Field | undefined, value: Value): string | Problem {
  const name = field?.name ?? 'The field'
  const parts = Array.isArray(value) ? (value as readonly Value[]) : []
  if (!Array.isArray(value) || (field !== undefined && field.type !== 'multipicklist'))
    return { code: 'INVALID_VALUE', message: `${name}: lists go into multi-select picklists only, and objects nowhere.` }
  if (!parts.every((part): part is string => typeof part === 'string' && !part.includes(';')))
    return { code: 'INVALID_VALUE', message: `${name}: the values of a multi-select picklist are texts without a semicolon.` }
  return parts.join(';')
}
