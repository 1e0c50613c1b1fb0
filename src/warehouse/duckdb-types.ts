/** DuckDB's types: what they are to us, and the SQL of their raw text (src/values.ts). */
import type { Column, LogicalType } from '../types.ts'
import { quoteName, quoteText } from './model.ts'

const TYPES: Readonly<Record<string, LogicalType>> = {
  BOOLEAN: 'boolean',
  TINYINT: 'integer',
  SMALLINT: 'integer',
  INTEGER: 'integer',
  BIGINT: 'integer',
  HUGEINT: 'integer',
  UTINYINT: 'integer',
  USMALLINT: 'integer',
  UINTEGER: 'integer',
  UBIGINT: 'integer',
  UHUGEINT: 'integer',
  BIGNUM: 'integer',
  FLOAT: 'float',
  DOUBLE: 'float',
  DATE: 'date',
  TIME: 'time',
  TIME_NS: 'time',
  'TIME WITH TIME ZONE': 'time',
  TIMESTAMP: 'timestamp',
  TIMESTAMP_S: 'timestamp',
  TIMESTAMP_MS: 'timestamp',
  TIMESTAMP_NS: 'timestamp',
  'TIMESTAMP WITH TIME ZONE': 'timestamptz',
  JSON: 'json',
  VARIANT: 'json',
  BLOB: 'bytes',
}

/** `DECIMAL(10,2)`, `INTEGER[]`, `STRUCT(…)`, … What is not listed is text: UUID, ENUM, BIT, INTERVAL, VARCHAR. */
export function logicalType(native: string): LogicalType {
  if (native.endsWith(']') || /^(STRUCT|MAP|UNION)\(/.test(native)) return 'json'
  if (native.startsWith('DECIMAL(')) return 'decimal'
  return TYPES[native] ?? 'string'
}

/** The raw text of a column, as a VARCHAR expression. Naive timestamps are in `timezone` (default UTC). */
export function rawSql({ name, type, native }: Column, timezone: string | undefined): string {
  const column = quoteName(name)
  const text = `${column}::VARCHAR`
  switch (type) {
    case 'decimal':
      // A decimal without places before the point is written without a zero there.
      return isFraction(native) ? `regexp_replace(${text}, '^(-?)\\.', '\\10.')` : text
    case 'float':
      return floatSql(column, native === 'FLOAT')
    case 'date':
      return eraSql(text)
    case 'timestamp':
      return eraSql(timezone === undefined ? text : `(${column} AT TIME ZONE ${quoteText(timezone)} AT TIME ZONE 'UTC')::VARCHAR`)
    case 'timestamptz':
      return eraSql(`(${column} AT TIME ZONE 'UTC')::VARCHAR`)
    case 'json':
      return native === 'JSON' ? text : native === 'VARIANT' ? `${column}::JSON::VARCHAR` : `to_json(${column})::VARCHAR`
    case 'bytes':
      return `'\\x' || lower(hex(${column}))`
    case 'string':
      return native === 'INTERVAL' ? intervalSql(column) : text
    case 'boolean':
    case 'integer':
    case 'time':
      break
  }
  return text
}

/** A double's own text is its shortest. */
function floatSql(column: string, single: boolean): string {
  const text = single ? singleSql(`${column}::DOUBLE`) : `regexp_replace(${column}::VARCHAR, '\\.0$', '')`
  return `CASE WHEN isnan(${column}) THEN 'NaN' WHEN isinf(${column}) THEN replace(${column}::VARCHAR, 'inf', 'Infinity') ELSE ${text} END`
}

/**
 * The shortest text that reads back as the same 32-bit float, which DuckDB's own is not. Like PostgreSQL's it never lies
 * half way to the next float, where readers may round differently: text t of float x does if 2t − x is a float.
 */
function singleSql(x: string): string {
  const text = (digits: number): string => `format('{:.${digits}g}', ${x})`
  const shorter = [1, 2, 3, 4, 5, 6, 7, 8].map((digits) => {
    const t = `${text(digits)}::DOUBLE`
    const beyond = `(2 * ${t} - ${x})`
    const midway = `TRY_CAST(${beyond} AS FLOAT)::DOUBLE IS NOT DISTINCT FROM ${beyond}`
    return `WHEN ${t} = ${x} OR (TRY_CAST(${t} AS FLOAT)::DOUBLE = ${x} AND NOT ${midway}) THEN ${text(digits)}`
  })
  return `CASE ${shorter.join(' ')} ELSE ${text(9)} END`
}

function isFraction(native: string): boolean {
  const [, width, scale] = /^DECIMAL\((\d+),(\d+)\)$/.exec(native) ?? []
  return width === scale
}

/** `0044-03-15 (BC) 12:00:00` with ` BC` at the end. */
function eraSql(text: string): string {
  return `CASE WHEN contains(${text}, '(BC)') THEN replace(${text}, ' (BC)', '') || ' BC' ELSE ${text} END`
}

/** ISO 8601, part by part with a sign each, as PostgreSQL writes it under intervalstyle iso_8601. */
function intervalSql(column: string): string {
  const part = (unit: string, letter: string): string =>
    `CASE WHEN datepart('${unit}', ${column}) <> 0 THEN datepart('${unit}', ${column}) || '${letter}' ELSE '' END`
  const seconds = `(datepart('microsecond', ${column})::DECIMAL(10, 0) * 0.000001::DECIMAL(7, 6))::VARCHAR`
  const second = `CASE WHEN datepart('microsecond', ${column}) <> 0 THEN rtrim(rtrim(${seconds}, '0'), '.') || 'S' ELSE '' END`
  const date = `${part('year', 'Y')} || ${part('month', 'M')} || ${part('day', 'D')}`
  const whole = `'P' || ${date} || 'T' || ${part('hour', 'H')} || ${part('minute', 'M')} || ${second}`
  return `CASE WHEN ${column} IS NOT NULL THEN replace(rtrim(${whole}, 'T'), 'P', CASE WHEN length(${whole}) = 2 THEN 'PT0S' ELSE 'P' END) END`
}
