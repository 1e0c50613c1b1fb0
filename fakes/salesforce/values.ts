/** What Salesforce takes as the value of a field, in JSON and in the cells of a CSV, and the error it gives otherwise. */
import type { Field } from './schema.ts'

/** An error of one row, as collections report it. */
export interface Problem {
  readonly statusCode: string
  readonly message: string
  readonly fields: readonly string[]
}

export function problem(statusCode: string, message: string, fields: readonly string[]): Problem {
  return { statusCode, message, fields }
}

/** Whatever stood in a request, as text; '' for nothing. */
export function textOf(value: unknown): string {
  if (value === null || value === undefined) return ''
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** ISO 8601 with a zone: XML Schema's dateTime, which REST reads too. */
const DATE_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/
const DATE = /^\d{4}-\d\d-\d\d$/

/**
 * A type in the JSON that Salesforce's parser can't read refuses the whole request with JSON_PARSER_ERROR; the text says
 * so, undefined that it can be read.
 */
export function unreadable(field: Field, value: unknown): string | undefined {
  const from = tokenOf(value)
  const message = `Cannot deserialize instance of ${field.type} from ${from} value ${typeof value === 'object' ? '' : textOf(value)}`
  if (value === null || (field.type === 'boolean' && typeof value === 'boolean')) return undefined
  if (from.startsWith('START_')) return message
  if (field.type === 'boolean') return value === 'true' || value === 'false' ? undefined : message
  if (field.type === 'date') return isDate(value) ? undefined : message
  if (field.type === 'datetime') return isDateTime(value) ? undefined : message
  if (['double', 'currency', 'int'].includes(field.type)) return isNumber(field, value) ? undefined : message
  return undefined
}

function tokenOf(value: unknown): string {
  if (Array.isArray(value)) return 'START_ARRAY'
  if (typeof value === 'object') return 'START_OBJECT'
  if (typeof value === 'number') return Number.isInteger(value) ? 'VALUE_NUMBER_INT' : 'VALUE_NUMBER_FLOAT'
  return typeof value === 'boolean' ? `VALUE_${String(value).toUpperCase()}` : 'VALUE_STRING'
}

function isDate(value: unknown): boolean {
  return typeof value === 'string' && DATE.test(value) && new Date(value).toString() !== 'Invalid Date'
}

function isDateTime(value: unknown): boolean {
  return typeof value === 'string' && DATE_TIME.test(value) && !Number.isNaN(Date.parse(value))
}

function isNumber(field: Field, value: unknown): boolean {
  const form = field.type === 'int' ? /^-?\d+$/ : /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/
  return (typeof value === 'number' || typeof value === 'string') && form.test(String(value))
}

/** A cell of a CSV that can't be read is an error of its row. `column` counts from 0. */
export function unreadableCell(field: Field, value: string, column: number): Problem | undefined {
  if (unreadable(field, value) === undefined) return undefined
  const kind = field.type === 'datetime' ? 'dateTime' : field.type === 'currency' ? 'double' : field.type
  const message = `Failed to deserialize field at col ${column}. Due to, '${value}' is not a valid value for the type xsd:${kind}`
  return problem('INVALID_FIELD', message, [field.name])
}

/** The value as it is stored, or what is wrong with it. Texts are trimmed and empty ones are null, as Salesforce does. */
export function checkValue(field: Field, given: unknown): string | number | boolean | null | Problem {
  if (given === null || given === undefined) {
    if (field.type !== 'boolean') return null
    return problem('INVALID_TYPE_ON_FIELD_IN_RECORD', `${field.label}: value not of required type: null`, [field.name])
  }
  if (field.type === 'boolean') return given === true || given === 'true'
  if (['double', 'currency', 'int'].includes(field.type)) return checkNumber(field, given)
  if (field.type === 'datetime') return new Date(textOf(given)).toISOString().replace('Z', '+0000')
  const value = textOf(given).trim()
  return value === '' ? null : checkText(field, value)
}

function checkNumber(field: Field, given: unknown): string | number | Problem {
  const [whole = '', fraction = ''] = textOf(given).replace('-', '').split('.')
  const [left, right] = field.digits
  if (whole.replace(/^0+/, '').length > left)
    return problem('NUMBER_OUTSIDE_VALID_RANGE', `${field.label}: value outside of valid range on numeric field: ${textOf(given)}`, [
      field.name,
    ])
  if (typeof given !== 'number' && Number.isSafeInteger(Number(given))) return Number(given)
  // Digits beyond the field's scale are rounded away; numbers no float holds stay text.
  if (fraction.length > right && !/e/i.test(textOf(given))) return Number(Number(given).toFixed(right))
  return given as string | number
}

function checkText(field: Field, value: string): string | Problem {
  const { name, label } = field
  if (field.length > 0 && value.length > field.length && field.type !== 'multipicklist')
    return problem('STRING_TOO_LONG', `${label}: data value too large: ${value.slice(0, 255)} (max length=${field.length})`, [name])
  if (field.type === 'email' && !/^[^\s@]+@[^\s@]+\.[^\s@.]+$/.test(value))
    return problem('INVALID_EMAIL_ADDRESS', `${label}: invalid email address: ${value}`, [name])
  if (field.type === 'reference' && !/^[a-zA-Z0-9]{15}([a-zA-Z0-9]{3})?$/.test(value))
    return problem('MALFORMED_ID', `${label}: id value of incorrect type: ${value}`, [name])
  if (field.restricted) {
    const parts = field.type === 'multipicklist' ? value.split(';') : [value]
    const bad = parts.find((part) => !field.values.includes(part))
    if (bad !== undefined)
      return problem('INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST', `${label}: bad value for restricted picklist field: ${bad}`, [name])
  }
  return value
}
