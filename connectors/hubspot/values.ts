/** Values as HubSpot writes and reads them: every one is a text. */
import {
  type Change,
  type Column,
  exactNumber,
  encodeJson,
  type FieldInfo,
  type Fields,
  type Outcome,
  RawJson,
  type Value,
} from '../../src/index.ts'
import type { Property } from './client.ts'
import type { Json } from './json.ts'

/** Knowledge base, "Property field types": the longest value of a text property. */
const LONGEST_TEXT = 65_536

/** A row that is not sent: which field, and why. */
export class BadValue {
  readonly field: string
  readonly message: string
  constructor(field: string, message: string) {
    this.field = field
    this.message = message
  }
}

export const rejected = ({ key }: Change, { field, message }: BadValue): Outcome => ({
  key,
  result: 'rejected',
  code: 'bad_value',
  message,
  field,
})

/**
 * A value as a property's text: null clears, which is '' here; a list is the options of a multiple selection, `a;b`
 * (CRM API guides, "Properties": "Add values to checkbox type properties").
 */
export function propertyText(field: string, value: Value): string | BadValue {
  const text = Array.isArray(value) ? optionsText(field, value as readonly Value[]) : scalarText(field, value)
  if (typeof text !== 'string' || text.length <= LONGEST_TEXT) return text
  return new BadValue(field, `${field} has ${text.length} characters; HubSpot takes ${LONGEST_TEXT}.`)
}

function scalarText(field: string, value: Value): string | BadValue {
  if (value === null) return ''
  if (typeof value === 'string') return value
  if (typeof value === 'object' && !(value instanceof RawJson))
    return new BadValue(field, `${field} is an object; a property holds a text.`)
  return encodeJson(value)
}

function optionsText(field: string, values: readonly Value[]): string | BadValue {
  const texts: string[] = []
  for (const value of values) {
    const text =
      value === null || Array.isArray(value) ? new BadValue(field, `${field} has an option that is no text.`) : scalarText(field, value)
    if (typeof text !== 'string') return text
    if (text.includes(';') || text.trim() === '')
      return new BadValue(field, `${field} has an option that is empty or contains a semicolon, which separates options.`)
    texts.push(text)
  }
  return texts.join(';')
}

/** The properties to write, as texts. */
export function propertyTexts(fields: Fields): Record<string, string> | BadValue {
  const texts: [string, string][] = []
  for (const [name, value] of Object.entries(fields)) {
    const text = propertyText(name, value)
    if (typeof text !== 'string') return text
    texts.push([name, text])
  }
  return Object.fromEntries(texts)
}

/** Columns whose values HubSpot can read as a property's type; undefined: any. */
const ACCEPTS: Readonly<Record<string, readonly Column['type'][]>> = {
  number: ['integer', 'decimal', 'float', 'string'],
  bool: ['boolean', 'string'],
  // A time of day within a date is refused; milliseconds must be midnight in UTC.
  date: ['date', 'string', 'integer'],
  datetime: ['timestamptz', 'timestamp', 'date', 'string', 'integer'],
}

export function fieldInfo({ name, type, readOnly }: Property): FieldInfo {
  const accepts = ACCEPTS[type]
  return { name, type, ...(accepts === undefined ? {} : { accepts }), ...(readOnly ? { readOnly } : {}) }
}

/** A record's properties as values of their types; what is empty is null. */
export function propertyValues(properties: Json, known: ReadonlyMap<string, Property>): Fields {
  return Object.fromEntries(
    Object.entries(properties).map(([name, value]) => [name, typeof value === 'string' ? valueOf(value, known.get(name)?.type) : value]),
  )
}

function valueOf(text: string, type: string | undefined): Value {
  if (text === '') return null
  if (type === 'bool') return text === 'true'
  return type === 'number' && /^-?\d+(\.\d+)?$/.test(text) ? exactNumber(text) : text
}
