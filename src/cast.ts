/** Values between columns, templates and cells: reading a raw text, casting to `type`, writing a cell. */
import { parse } from 'lossless-json'
import type { FieldSpec } from './config/types.ts'
import { isNested, jsonText } from './liquid/filters.ts'
import { decimal, digits, exact, Uncomputable, isNumber } from './liquid/number.ts'
import { formatInstant, parseInstant } from './liquid/time.ts'
import type { LogicalType } from './types.ts'
import { canonical, toCell, type Cell } from './values.ts'

/** What `type:` of a field can say. */
export type CastType = NonNullable<FieldSpec['type']>

/** How a column's raw text looks to templates and casts: numbers exact, json decoded, everything else its canonical text. Throws InvalidValue. */
export function reader(type: LogicalType): (raw: string) => unknown {
  switch (type) {
    case 'integer':
    case 'decimal':
    case 'float':
      return (raw) => exact(toCell(type, raw).slice(1))
    case 'boolean':
      return (raw) => canonical(type, raw) === 'true'
    case 'json':
      return (raw) => decode(canonical(type, raw))
    case 'string':
    case 'date':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
    case 'bytes':
      return (raw) => toCell(type, raw).slice(1)
  }
}

function decode(json: string): unknown {
  return parse(json, null, { parseNumber: exact })
}

/** The text of a value, as a `map` key or a string sees it. */
export function valueText(value: unknown): string {
  return isNested(value) ? jsonText(value) : String(value)
}

/** The cell of a value that keeps its own type; null for nothing. */
export function valueCell(value: unknown): Cell | null {
  if (value === null || value === undefined) return null
  if (typeof value === 'string') return textCell(value)
  if (typeof value === 'boolean') return `j${value}`
  if (isNumber(value)) return numberCell(value)
  return 'j' + jsonText(value)
}

function textCell(text: string): Cell {
  // Cutting a text can halve a surrogate pair; UTF-8 has no half, so it would differ from itself once it is stored.
  return 's' + text.replace(/\p{Surrogate}/gu, '\ufffd')
}

function numberCell(value: unknown): Cell {
  if (typeof value === 'number' && !Number.isFinite(value)) throw new Uncomputable('not_finite', 'the result is no JSON number')
  // Not String(): -0 is 0 here.
  return 'j' + (typeof value === 'number' ? JSON.stringify(value) : String(value))
}

const TEMPORAL: ReadonlySet<LogicalType> = new Set(['date', 'time', 'timestamp', 'timestamptz', 'bytes'])
const NUMERIC: ReadonlySet<LogicalType> = new Set(['integer', 'decimal', 'float', 'boolean'])

/**
 * - `same`        every value has this type already: the plain cell
 * - `possible`    each value is tried
 * - `impossible`  no value of the column's type can have it
 */
export function castability(from: LogicalType, to: CastType): 'same' | 'possible' | 'impossible' {
  if (from === to || (from === 'integer' && to === 'decimal') || (from === 'timestamptz' && to === 'timestamp')) return 'same'
  switch (to) {
    case 'string':
      return 'possible'
    case 'json':
      return from === 'string' ? 'possible' : 'same'
    case 'integer':
    case 'decimal':
    case 'float':
    case 'boolean':
      return TEMPORAL.has(from) ? 'impossible' : 'possible'
    case 'date':
    case 'timestamp':
      return NUMERIC.has(from) || from === 'time' || from === 'bytes' ? 'impossible' : 'possible'
  }
}

/** Casts a column's raw text. To string every value has a text, NaN and infinite times too. Throws InvalidValue, Uncomputable. */
export function castRaw(from: LogicalType, to: CastType): (raw: string) => Cell | null {
  if (to === 'string' && from !== 'json') return (raw) => 's' + canonical(from, raw)
  const [read, cast] = [reader(from), castValue(to)]
  return (raw) => cast(read(raw))
}

/** Casts a value of a template, a transform or a constant; null stays null. Throws Uncomputable when it can't be that type. */
export function castValue(to: CastType): (value: unknown) => Cell | null {
  const cast = CASTS[to]
  return (value) => (value === null || value === undefined ? null : cast(value))
}

const CASTS: Readonly<Record<CastType, (value: unknown) => Cell | null>> = {
  string: (value) => textCell(valueText(value)),
  integer: (value) => {
    const number = numeric(value)
    if (!number.round(0, 0).eq(number)) throw new Uncomputable('not_an_integer', 'the value is not a whole number')
    return 'j' + digits(number)
  },
  decimal: (value) => 'j' + digits(numeric(value)),
  float: (value) => numberCell(Number(numeric(value).toString())),
  boolean: (value) => `j${truth(value)}`,
  date: (value) => instantCell(value, 'not_a_date', 10),
  timestamp: (value) => instantCell(value, 'not_a_timestamp'),
  json: (value) => (typeof value === 'string' ? jsonCell(value) : valueCell(value)),
}

function numeric(value: unknown): ReturnType<typeof decimal> {
  return decimal(typeof value === 'boolean' ? Number(value) : value)
}

/** What PostgreSQL reads as a boolean. */
const TRUE = new Set(['true', 't', 'yes', 'y', 'on', '1'])
const FALSE = new Set(['false', 'f', 'no', 'n', 'off', '0'])

function truth(value: unknown): boolean {
  const text = isNested(value) ? '' : String(value).trim().toLowerCase()
  if (!TRUE.has(text) && !FALSE.has(text)) throw new Uncomputable('not_a_boolean', 'the value is neither true nor false')
  return TRUE.has(text)
}

function instantCell(value: unknown, code: string, length?: number): Cell {
  const at = typeof value === 'string' ? parseInstant(value) : null
  const text = at === null ? null : formatInstant(at)
  if (text === null) throw new Uncomputable(code, 'the value is not an ISO 8601 date or time')
  return 's' + text.slice(0, length)
}

function jsonCell(text: string): Cell | null {
  try {
    return valueCell(decode(canonical('json', text)))
  } catch {
    throw new Uncomputable('not_json', 'the value is not JSON')
  }
}
