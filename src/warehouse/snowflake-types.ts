/** Snowflake's types and names: what they are to us, and the SQL of a column's raw text (src/values.ts). */
import type { Column, LogicalType } from '../types.ts'

/** A column as the server describes it, by its own name and type. */
export interface ServerColumn {
  readonly name: string
  /** In lower case, as the protocol has it: `fixed`, `text`, `timestamp_ntz`, … */
  readonly type: string
  readonly precision: number
  readonly scale: number
}

/** `'text'`. A backslash escapes here: https://docs.snowflake.com/en/sql-reference/data-types-text#escape-sequences-in-single-quoted-string-constants */
export const snowflakeText = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`

/**
 * A name as users write it. Snowflake folds names without quotes to upper case, so what folding gives is shown in lower case,
 * and any other name is shown as it is.
 * https://docs.snowflake.com/en/sql-reference/identifiers-syntax
 */
export const shownName = (name: string): string => (/^[A-Z_][A-Z0-9_$]*$/.test(name) ? name.toLowerCase() : name)

const TYPES: Readonly<Record<string, LogicalType>> = {
  real: 'float',
  text: 'string',
  boolean: 'boolean',
  date: 'date',
  time: 'time',
  timestamp_ntz: 'timestamp',
  timestamp_ltz: 'timestamptz',
  timestamp_tz: 'timestamptz',
  variant: 'json',
  object: 'json',
  array: 'json',
  map: 'json',
  binary: 'bytes',
}

const NATIVE: Readonly<Record<string, string>> = { real: 'FLOAT', text: 'VARCHAR' }

/** The column for users; null for a type that can't be read. */
export function toColumn({ name, type, precision, scale }: ServerColumn): Column | null {
  const shown = shownName(name)
  if (type === 'fixed') return { name: shown, native: `NUMBER(${precision},${scale})`, type: scale === 0 ? 'integer' : 'decimal' }
  const logical = TYPES[type]
  if (logical === undefined) return null
  const native = NATIVE[type] ?? type.toUpperCase()
  return { name: shown, native: native.startsWith('TIME') ? `${native}(${scale})` : native, type: logical }
}

const TIME = 'HH24:MI:SS.FF9'
const TIMESTAMP = `YYYY-MM-DD ${TIME}`

/** The raw text of a value of this column's type, as a VARCHAR expression. Naive timestamps are in `timezone` (default UTC). */
export function snowflakeRaw(value: string, { type, native }: Pick<Column, 'type' | 'native'>, timezone: string | undefined): string {
  switch (type) {
    case 'string':
      return value
    case 'integer':
    case 'decimal':
      // Printed exactly, with as many places as the type has: https://docs.snowflake.com/en/sql-reference/sql-format-models
      return `TO_VARCHAR(${value})`
    case 'boolean':
      return `TO_VARCHAR(${value})`
    case 'float':
      return floatSql(value)
    case 'date':
      return `TO_VARCHAR(${value}, 'YYYY-MM-DD')`
    case 'time':
      return timeSql(`TO_VARCHAR(${value}, '${TIME}')`)
    case 'timestamp':
      return `TO_VARCHAR(${timezone === undefined ? value : `CONVERT_TIMEZONE(${snowflakeText(timezone)}, 'UTC', ${value})`}, '${TIMESTAMP}')`
    case 'timestamptz':
      return `TO_VARCHAR(CONVERT_TIMEZONE('UTC', ${value}), '${TIMESTAMP}')`
    case 'json':
      return native === 'VARIANT' ? `TO_JSON(${value})` : `TO_JSON(TO_VARIANT(${value}))`
    case 'bytes':
      return `'\\\\x' || LOWER(TO_VARCHAR(${value}, 'HEX'))`
  }
}

/** Behind the 8 characters of a time zeros go first, then the point where nothing stands behind it. */
const timeSql = (text: string): string => `LEFT(${text}, 8) || RTRIM(RTRIM(SUBSTR(${text}, 9), '0'), '.')`

/**
 * Without a format a float is cut to some 12 digits; in this one it has 17, which any float survives.
 * https://github.com/markddrake/YADAMU---Yet-Another-DAta-Migration-Utility/issues/42
 */
function floatSql(value: string): string {
  const special = [
    ['NaN', 'NaN'],
    ['inf', 'Infinity'],
    ['-inf', '-Infinity'],
  ].map(([literal, text]) => `WHEN ${value} = '${literal}'::FLOAT THEN '${text}'`)
  return `CASE ${special.join(' ')} ELSE TO_VARCHAR(${value}, 'tme') END`
}

/**
 * One token of Snowflake's SQL. Block comments do not nest; `//` begins a comment as `--` does. `->>` begins another statement,
 * in what counts as one: https://docs.snowflake.com/en/sql-reference/operators-flow
 */
const TOKEN = /'(?:[^'\\]|\\[\s\S]|'')*'|"[^"]*"|\$\$[\s\S]*?\$\$|(?:--|\/\/)[^\n]*|\/\*[\s\S]*?\*\/|->>|;|[\s\S]/g

/**
 * The statement without the `;` that ends it, and whether there is more than comments behind it, or in front by `->>`. The server parses what is cut
 * as one statement: a wrong cut is an error there, never another meaning.
 */
export function snowflakeBody(sql: string): { body: string; more: boolean } {
  let end: number | null = null
  let more = false
  for (const { 0: token, index } of sql.matchAll(TOKEN)) {
    if (token === '->>') more = true
    if (end === null && token === ';') end = index
    else if (end !== null && !/^(;|\s|--|\/\/|\/\*)/.test(token)) more = true
  }
  return { body: end === null ? sql : sql.slice(0, end), more }
}
