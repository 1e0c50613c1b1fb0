/** SQL that every database reads alike, for the dialects: normalisers, JSON texts, one row for each of several texts. */
import { createHash } from 'node:crypto'
import type { Normaliser } from '../../connector.ts'

const SPACE = ' \t\n\v\f\r'

/** What `normaliseText` needs of a dialect; the expressions are of text that compares byte by byte. */
export interface TextSql {
  readonly lit: (text: string) => string
  /** A-Z in lower case, other letters as they are. */
  readonly lower: (text: string) => string
  /** Without these characters, none of which means something between the brackets of a regular expression but a last `-`. */
  readonly without: (text: string, characters: string) => string
  /** Without anything but 0-9. */
  readonly digits: (text: string) => string
  /** A text without punctuation and white space if it is a number by E.164, with a plus for 00; NULL if not. */
  readonly e164: (bare: string) => string
}

/**
 * `normalise` (src/normalise.ts) over a text, which may be evaluated more than once.
 */
export function normaliseText(sql: TextSql, normaliser: Normaliser, text: string): string {
  return `nullif(${convert(sql, normaliser, text)}, '')`
}

function convert({ lit, lower, without, digits, e164 }: TextSql, normaliser: Normaliser, text: string): string {
  const trim = `trim(${text}, ${lit(SPACE)})`
  switch (normaliser) {
    case 'exact':
      return text
    case 'trim':
      return trim
    case 'lower_ascii':
      return lower(text)
    case 'email':
      return lower(trim)
    case 'mailbox': {
      const address = lower(trim)
      const [local, domain] = [`split_part(${address}, '@', 1)`, `split_part(${address}, '@', 2)`]
      // One @ and no more: the address is what stands before and after the first.
      const dotless = `${domain} IN ('gmail.com', 'googlemail.com') AND ${address} = ${local} || '@' || ${domain}`
      return `CASE WHEN ${dotless} THEN ${without(`split_part(${local}, '+', 1)`, `${SPACE}.`)} || '@' || ${domain} ELSE ${address} END`
    }
    case 'digits':
      return digits(text)
    case 'e164':
      return e164(without(text, `${SPACE}()./-`))
  }
}

/** Characters below the space that JSON writes by a letter; the others as \u and their number. */
const LETTERS: Readonly<Record<string, string>> = { '\b': '\\b', '\t': '\\t', '\n': '\\n', '\f': '\\f', '\r': '\\r' }

/**
 * A text as DuckDB writes it in JSON: hexadecimal digits in capitals, everything from the space on as it is but for quotes and
 * backslashes. `controls` are the characters below the space that the database can hold; `some` is a condition that holds
 * where the text has one of them, as hardly any has.
 */
export function jsonText(lit: (text: string) => string, text: string, controls: readonly string[], some: string): string {
  const replace = (x: string, from: string, to: string): string => `replace(${x}, ${lit(from)}, ${lit(to)})`
  const plain = replace(replace(text, '\\', '\\\\'), '"', '\\"')
  const all = controls.reduce((x, character) => {
    const code = character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')
    return replace(x, character, LETTERS[character] ?? `\\u${code}`)
  }, plain)
  return `'"' || CASE WHEN ${some} THEN ${all} ELSE ${plain} END || '"'`
}

/** See `Dialect.unpivot`. */
export function unpivot(from: string, columns: readonly string[], texts: readonly string[]): string {
  const keep = columns.length > 0 ? `${columns.join(', ')}, ` : ''
  const [only] = texts
  if (texts.length === 1 && only !== undefined) return `(SELECT ${keep}${only} AS address FROM ${from} AS r WHERE ${only} IS NOT NULL)`
  // Not one SELECT for each text: the model would be read as often, and need not give the same rows.
  const each = texts.map((text, i) => `WHEN ${i} THEN ${text}`).join(' ')
  const numbers = texts.map((_, i) => `(${i})`).join(', ')
  return `(SELECT * FROM (
  SELECT ${keep}CASE cdp_n ${each} END AS address FROM ${from} AS r CROSS JOIN (VALUES ${numbers}) AS cdp_numbers (cdp_n)
) AS u WHERE address IS NOT NULL)`
}

/** Mixed into a hash, so that columns of other types hash differently even where their bytes are the same. 63 bits. */
export function seed(types: readonly string[]): bigint {
  return createHash('sha256').update(types.join('\0')).digest().readBigUInt64BE() >> 1n
}

/** See `Dialect.split`. What does not differ is one group. */
export function split(from: string, picked: readonly string[], totals: readonly string[]): string {
  const list = picked.map((name) => `CASE WHEN differs THEN ${name} END AS ${name}`)
  return `SELECT ${[...list, ...totals].join(', ')} FROM ${from} GROUP BY ${picked.map((_, i) => i + 1).join(', ')}`
}
