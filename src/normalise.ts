/** How destinations compare match values: each normaliser in JavaScript and in DuckDB SQL, ASCII only so that both agree. */
import type { Normaliser } from './connector.ts'

/** Space, \t, \n, \v, \f, \r. No-break space and other Unicode white space stay: databases disagree about them. */
const SPACE = ' \\t\\n\\v\\f\\r'
const SPACE_SQL = "(' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13))"
const UPPER = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'

/** Where dots and what follows a plus make no other mailbox. */
const DOTLESS = '^([^@]*)@(gmail[.]com|googlemail[.]com)$'
const DOTLESS_ADDRESS = new RegExp(DOTLESS)
/** Nor do these. */
const DOTS = `[${SPACE}.]+`
const DOTS_ALL = new RegExp(DOTS, 'g')

const LEADING_SPACE = new RegExp(`^[${SPACE}]+`)
const NOT_DIGITS = /[^0-9]+/g
/** What people write between the digits of a phone number. */
const PHONE_PUNCTUATION = `[${SPACE}()./-]+`
const PHONE_PUNCTUATION_ALL = new RegExp(PHONE_PUNCTUATION, 'g')
/** '+', a country code (never 0) and at most 15 digits in all (ITU-T E.164, 6). */
const E164 = '^\\+[1-9][0-9]{1,14}$'
const E164_WHOLE = new RegExp(E164)

/**
 * The text by which a destination compares a match value; null when nothing is left that could find a record.
 *
 * - exact        as it is
 * - trim         without ASCII white space at both ends
 * - lower_ascii  A-Z in lower case, other letters as they are
 * - email        trim and lower_ascii
 * - mailbox      email, and at gmail.com and googlemail.com without dots, white space and what follows a plus
 * - digits       only 0-9
 * - e164         '+' and digits: punctuation and ASCII white space go, a leading 00 is '+'. A number without either names
 *                no country and gives null, like one that is too long.
 */
export function normalise(normaliser: Normaliser, text: string): string | null {
  return convert(normaliser, text) || null
}

function convert(normaliser: Normaliser, text: string): string {
  switch (normaliser) {
    case 'exact':
      return text
    case 'trim':
      return trim(text)
    case 'lower_ascii':
      return lower(text)
    case 'email':
      return lower(trim(text))
    case 'mailbox': {
      const address = lower(trim(text))
      const [, local, domain = ''] = DOTLESS_ADDRESS.exec(address) ?? []
      return local === undefined ? address : `${local.replace(/[+][^@]*/, '').replace(DOTS_ALL, '')}@${domain}`
    }
    case 'digits':
      return text.replace(NOT_DIGITS, '')
    case 'e164': {
      const number = text.replace(PHONE_PUNCTUATION_ALL, '').replace(/^00/, '+')
      return E164_WHOLE.test(number) ? number : ''
    }
  }
}

/** The same as `normalise` in DuckDB SQL, over an expression of type VARCHAR. NULL when nothing is left, or for NULL. */
export function normaliseSql(normaliser: Normaliser, expr: string): string {
  return `nullif(${convertSql(normaliser, expr)}, '')`
}

function convertSql(normaliser: Normaliser, expr: string): string {
  switch (normaliser) {
    case 'exact':
      return expr
    case 'trim':
      return `trim(${expr}, ${SPACE_SQL})`
    case 'lower_ascii':
      return lowerSql(expr)
    case 'email':
      return lowerSql(`trim(${expr}, ${SPACE_SQL})`)
    case 'mailbox': {
      const address = convertSql('email', expr)
      const local = `regexp_replace(regexp_replace(split_part(${address}, '@', 1), '[+][^@]*', ''), '${DOTS}', '', 'g')`
      return `CASE WHEN regexp_matches(${address}, '${DOTLESS}') THEN ${local} || '@' || split_part(${address}, '@', 2) ELSE ${address} END`
    }
    case 'digits':
      return `regexp_replace(${expr}, '[^0-9]+', '', 'g')`
    case 'e164':
      return `regexp_extract(regexp_replace(regexp_replace(${expr}, '${PHONE_PUNCTUATION}', '', 'g'), '^00', '+'), '${E164}')`
  }
}

function trim(text: string): string {
  let end = text.length
  // A regular expression anchored at the end alone is quadratic on long runs of white space.
  while (end > 0 && isSpace(text.charCodeAt(end - 1))) end--
  return text.slice(0, end).replace(LEADING_SPACE, '')
}

function isSpace(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13)
}

function lower(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

function lowerSql(expr: string): string {
  return `translate(${expr}, '${UPPER}', '${UPPER.toLowerCase()}')`
}
