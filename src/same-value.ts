/** Whether a destination holds what the mapping would write, though services write values in their own ways. */
import { encodeJson, RawJson, type Fields, type Value } from './json.ts'
import { splitPath } from './nest.ts'
import { canonical, cellValue, InvalidValue, type Cell } from './values.ts'

/**
 * Texts are compared as texts, numbers and times by value, lists and objects member by member; null, '' and absent are one.
 * A number is one as soon as one of the two sides says so: `"1.50"` at the destination is our 1.5.
 */
export function sameValue(cell: Cell, there: Value | undefined): boolean {
  const ours = cellValue(cell)
  if (isEmpty(ours) || isEmpty(there)) return isEmpty(ours) && isEmpty(there)
  if (isNumber(ours) || isNumber(there)) return sameNumber(ours, there)
  if (typeof ours === 'object' || typeof there === 'object') return canonicalJson(ours) === canonicalJson(there)
  const [a, b] = [String(ours), String(there)]
  return a === b || sameInstant(a, b)
}

/** What a destination holds, as the cell that would have written it. */
export const cellOf = (there: Value | undefined): Cell =>
  isEmpty(there) ? 'jnull' : typeof there === 'string' ? `s${there}` : `j${canonicalJson(there)}`

/** A record's value of a field: by its name, or by its path where a dot is one. */
export function valueOf(record: Fields, name: string, nested: boolean): Value | undefined {
  if (Object.hasOwn(record, name)) return record[name]
  if (!nested) return undefined
  const path = splitPath(name)
  const whole = path.join('.')
  if (Object.hasOwn(record, whole)) return record[whole]
  let at: Value | undefined = record
  for (const part of path) {
    if (typeof at !== 'object' || at === null || Array.isArray(at) || at instanceof RawJson || !Object.hasOwn(at, part)) return undefined
    at = (at as Fields)[part]
  }
  return at
}

export const isEmpty = (value: Value | undefined): boolean => value === undefined || value === null || value === ''
const isNumber = (value: Value | undefined): boolean => typeof value === 'number' || value instanceof RawJson

function sameNumber(a: Value | undefined, b: Value | undefined): boolean {
  const [left, right] = [numberText(a), numberText(b)]
  return left !== null && left === right
}

/** One text for each number; null for what is none. */
function numberText(value: Value | undefined): string | null {
  const text = typeof value === 'string' ? value.trim() : isNumber(value) ? encodeJson(value) : ''
  // JSON has no leading zeros; people's numbers do.
  return /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(text) ? canonicalText(text.replace(/^(-?)0+(?=\d)/, '$1')) : null
}

const canonicalJson = (value: Value | undefined): string | null => canonicalText(encodeJson(value))

function canonicalText(json: string): string | null {
  try {
    return canonical('json', json)
  } catch (error) {
    if (error instanceof InvalidValue) return null
    throw error
  }
}

const TIME = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d+))?)?(?: ?(Z|[+-]\d\d:?\d\d))?)?$/

/** An ISO 8601 text in UTC (so it is taken where it names no offset), as milliseconds since 1970 and the digits after them. */
function instantOf(text: string): { ms: number; finer: string } | null {
  const [, date, clock = '00:00', seconds = '00', fraction = '', zone = 'Z'] = TIME.exec(text) ?? []
  if (date === undefined) return null
  const offset = zone === 'Z' ? zone : `${zone.slice(0, 3)}:${zone.slice(-2)}`
  const ms = Date.parse(`${date}T${clock}:${seconds}.${fraction.padEnd(3, '0').slice(0, 3)}${offset}`)
  // The 30th of February would be read as the 1st of March.
  const day = Date.parse(`${date}T00:00:00Z`)
  if (Number.isNaN(ms) || new Date(day).toISOString().slice(0, 10) !== date) return null
  return { ms, finer: fraction.slice(3).replace(/0+$/, '') }
}

/** Most services keep milliseconds; two that are finer are compared as they are. */
function sameInstant(a: string, b: string): boolean {
  const [ours, there] = [instantOf(a), instantOf(b)]
  if (ours === null || there === null || ours.ms !== there.ms) return false
  return ours.finer === there.finer || there.finer === ''
}
