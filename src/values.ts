/**
 * Values as text: the raw text an extract carries, its canonical form, and the cell that is stored, compared and sent.
 *
 * Raw texts allowed per logical type (every warehouse casts to these, so the canonical text is the same from each):
 * - string       any text
 * - integer      digits, `-` before them when negative; no `+`, no leading zeros, no `-0`
 * - decimal      digits with an optional fraction, no exponent, no `-0`; or NaN, Infinity, -Infinity
 * - float        a number that reads back as the same float (`1e+20`, `0.1`, `-0`); or NaN, Infinity, -Infinity
 * - boolean      t, f, true, false
 * - date         YYYY-MM-DD, more digits after year 9999, ` BC` at the end before year 1; or infinity, -infinity
 * - time         HH:MM:SS, with a fraction without trailing zeros, with an offset (`+02`, `+05:30`) when the type has one
 * - timestamp    a date, a space, a time, in UTC; `+00` may follow, then ` BC`; or infinity, -infinity
 * - timestamptz  the same
 * - json         JSON text
 * - bytes        `\x` and lower-case hex digits
 *
 * Infinite times, years after 9999 and before 1 have a canonical text (a key may hold them), but no ISO 8601 form a
 * service would understand: as a payload value they are invalid, like NaN, unless the field says `type: string`.
 */
import { parse } from 'lossless-json'
import { decodeJson, RawJson, type Value } from './json.ts'
import type { LogicalType } from './types.ts'

/**
 * A payload value: 's' + text for a JSON string, 'j' + JSON text for anything else (exact number, true, null, object,
 * array). Two cells are equal if and only if the texts are.
 */
export type Cell = string

/**
 * A value that can't be written as its type. `code` is `not_finite` (NaN, an infinity), `date_range` (no year 0001 to
 * 9999) or `malformed`. The message never quotes the value.
 */
export class InvalidValue extends Error {
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.name = 'InvalidValue'
    this.code = code
  }
}

const NOT_FINITE = new Set(['NaN', 'Infinity', '-Infinity'])
const ENDLESS = new Set(['infinity', '-infinity'])

const CANONICAL: Readonly<Record<LogicalType, (raw: string) => string | null>> = {
  string: (raw) => raw,
  integer: (raw) => (/^(0|-?[1-9]\d*)$/.test(raw) ? raw : null),
  decimal: (raw) => (/^-?(0|[1-9]\d*)(\.\d+)?$/.test(raw) ? trimFraction(raw) : NOT_FINITE.has(raw) ? raw : null),
  float: canonicalFloat,
  boolean: (raw) => (/^t(rue)?$/.test(raw) ? 'true' : /^f(alse)?$/.test(raw) ? 'false' : null),
  date: (raw) => (/^\d{4,}-\d\d-\d\d( BC)?$/.test(raw) || ENDLESS.has(raw) ? raw : null),
  time: (raw) => (/^\d\d:\d\d:\d\d(\.\d*[1-9])?([+-]\d\d(:\d\d){0,2})?$/.test(raw) ? raw : null),
  timestamp: canonicalTimestamp,
  timestamptz: canonicalTimestamp,
  json: canonicalJson,
  bytes: (raw) => (/^\\x([0-9a-f]{2})*$/.test(raw) ? Buffer.from(raw.slice(2), 'hex').toString('base64') : null),
}

/**
 * The canonical text of a raw text, by value: `1.50` and `1.5` are one decimal, however the warehouse writes them.
 * Numbers without trailing zeros (floats as JSON.stringify writes them), true|false, ISO 8601 in UTC with `Z`, JSON with
 * sorted keys and exact numbers, bytes in base64. Throws InvalidValue (`malformed`) for a text outside the list above.
 */
export function canonical(type: LogicalType, raw: string): string {
  const text = CANONICAL[type](raw)
  if (text === null) throw new InvalidValue('malformed', `not the text of a value of type ${type}`)
  return text
}

/**
 * The payload cell of a raw text: numbers are JSON numbers with exact digits, booleans and JSON are themselves, all else
 * is a string. Throws InvalidValue: `not_finite`, `date_range`, `malformed`.
 */
export function toCell(type: LogicalType, raw: string): Cell {
  const text = canonical(type, raw)
  if ((type === 'decimal' || type === 'float') && NOT_FINITE.has(text)) {
    throw new InvalidValue('not_finite', `${text} is no JSON number; \`type: string\` sends it as text`)
  }
  if ((type === 'date' || type === 'timestamp' || type === 'timestamptz') && (text[4] !== '-' || text.endsWith('BC'))) {
    throw new InvalidValue('date_range', `a ${type} outside the years 0001 to 9999; \`type: string\` sends it as text`)
  }
  return (IN_JSON.has(type) ? 'j' : 's') + text
}

const IN_JSON: ReadonlySet<LogicalType> = new Set(['integer', 'decimal', 'float', 'boolean', 'json'])

/** The JSON text of a cell. */
export function cellJson(cell: Cell): string {
  return cell.startsWith('s') ? JSON.stringify(cell.slice(1)) : cell.slice(1)
}

/** The value of a cell; numbers no float holds are RawJson. */
export function cellValue(cell: Cell): Value {
  return cell.startsWith('s') ? cell.slice(1) : decodeJson(cell.slice(1))
}

/**
 * DuckDB SQL that gives `canonical()` of a raw text: `expr` is a VARCHAR expression, evaluated more than once; null stays
 * null. For every type that a key or a match may have: all but float and json. Throws RangeError for those two.
 */
export function canonicalSql(type: LogicalType, expr: string): string {
  const sql = CANONICAL_SQL[type](expr)
  if (sql === null) throw new RangeError(`no key or match can be a ${type}`)
  return sql
}

const CANONICAL_SQL: Readonly<Record<LogicalType, (x: string) => string | null>> = {
  string: (x) => x,
  integer: (x) => x,
  decimal: trimFractionSql,
  float: () => null,
  boolean: (x) => `CASE ${x} WHEN 't' THEN 'true' WHEN 'f' THEN 'false' ELSE ${x} END`,
  date: (x) => x,
  time: (x) => x,
  timestamp: timestampSql,
  timestamptz: timestampSql,
  json: () => null,
  bytes: (x) => `to_base64(from_hex(substr(${x}, 3)))`,
}

/**
 * DuckDB SQL that gives `toCell()` of a raw text that is not null, where the boolean SQL `fits` holds; the other rows need
 * JavaScript. Null when only JavaScript can.
 */
export function cellSql(type: LogicalType, x: string): { expr: string; fits: string } | null {
  const fits = FITS[type](x)
  if (fits === null) return null
  // A float that fits is its own canonical text.
  const text = type === 'float' ? x : canonicalSql(type, x)
  return { expr: `'${IN_JSON.has(type) ? 'j' : 's'}' || ${text}`, fits }
}

const FITS: Readonly<Record<LogicalType, (x: string) => string | null>> = {
  string: () => 'true',
  integer: () => 'true',
  decimal: (x) => `${x} NOT IN ('NaN', 'Infinity', '-Infinity')`,
  // Up to 15 digits a text is the shortest form of its float already, and JSON.stringify uses no exponent there.
  float: (x) => `length(${x}) <= 15 AND regexp_full_match(${x}, '-?(0|[1-9][0-9]*)(\\.[0-9]{0,5}[1-9])?') AND ${x} <> '-0'`,
  boolean: () => 'true',
  date: (x) => `length(${x}) = 10`,
  time: () => 'true',
  timestamp: (x) => `substr(${x}, 5, 1) = '-' AND NOT suffix(${x}, 'BC')`,
  timestamptz: (x) => `substr(${x}, 5, 1) = '-' AND NOT suffix(${x}, 'BC')`,
  json: () => null,
  bytes: () => 'true',
}

function trimFractionSql(x: string): string {
  return `CASE WHEN contains(${x}, '.') THEN coalesce(nullif(rtrim(rtrim(${x}, '0'), '.'), '-0'), '0') ELSE ${x} END`
}

function timestampSql(x: string): string {
  return `CASE WHEN suffix(${x}, 'y') THEN ${x} WHEN suffix(${x}, 'BC') THEN ${isoSql(`left(${x}, -3)`)} || ' BC' ELSE ${isoSql(x)} END`
}

function isoSql(x: string): string {
  return `replace(${trimFractionSql(`replace(${x}, '+00', '')`)}, ' ', 'T') || 'Z'`
}

function canonicalTimestamp(raw: string): string | null {
  if (ENDLESS.has(raw)) return raw
  const [, date, time, era = ''] = /^(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(?:\+00)?( BC)?$/.exec(raw) ?? []
  return date === undefined || time === undefined ? null : `${date}T${trimFraction(time)}Z${era}`
}

function trimFraction(text: string): string {
  if (!text.includes('.')) return text
  const trimmed = text.replace(/\.?0*$/, '')
  return trimmed === '-0' ? '0' : trimmed
}

function canonicalFloat(raw: string): string | null {
  if (NOT_FINITE.has(raw)) return raw
  const float = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/.test(raw) ? Number(raw) : Number.NaN
  return Number.isFinite(float) ? JSON.stringify(float) : null
}

function canonicalJson(raw: string): string | null {
  try {
    const value = parse(raw, null, {
      parseNumber: (digits: string) => new RawJson(canonicalNumber(digits)),
      // PostgreSQL's json keeps both; everyone who reads it, jsonb included, takes the last.
      onDuplicateKey: ({ newValue }) => newValue,
    })
    return sortedJson(value)
  } catch {
    // SyntaxError, or RangeError: nesting deeper than the stack, an exponent beyond all use.
    return null
  }
}

function sortedJson(value: unknown): string {
  if (value instanceof RawJson) return value.text
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return '[' + value.map(sortedJson).join(',') + ']'
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return '{' + members.map(([name, member]) => JSON.stringify(name) + ':' + sortedJson(member)).join(',') + '}'
}

/**
 * One text for each number, whatever its exponent or trailing zeros: plain digits up to 40 places before or after the
 * point (numeric(38) fits), an exponent beyond.
 */
function canonicalNumber(text: string): string {
  const [, minus = '', whole = '', fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? []
  const all = (whole + fraction).replace(/^0+/, '')
  const digits = all.replace(/0+$/, '')
  if (digits === '') return '0'
  // The value is 0.digits × 10^point.
  const point = Number(exponent) + all.length - fraction.length
  if (!Number.isSafeInteger(point)) throw new RangeError('exponent')
  if (point > 40 || point < -40) {
    const tail = digits.length > 1 ? '.' + digits.slice(1) : ''
    return `${minus}${digits[0]}${tail}e${point > 0 ? '+' : ''}${point - 1}`
  }
  if (point <= 0) return `${minus}0.${'0'.repeat(-point)}${digits}`
  if (digits.length <= point) return minus + digits.padEnd(point, '0')
  return `${minus}${digits.slice(0, point)}.${digits.slice(point)}`
}
