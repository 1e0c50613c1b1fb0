/** The Liquid filters that templates and transforms may use: a closed list, pure, exact, the same on every machine. */
// Hashing is a pure function; the engine itself reads nothing from Node here.
import { createHash } from 'node:crypto'
import { Drop, filters as liquidFilters, type FilterImplOptions } from 'liquidjs'
import { encodeJson } from '../json.ts'
import { canonical } from '../values.ts'
import { compareNumbers, decimal, digits, exact, Uncomputable, isNumber, numberFilters } from './number.ts'
import { formatTime, parseInstant, unknownDirective } from './time.ts'

type Handler = Extract<FilterImplOptions, (...args: never[]) => unknown>

/** Liquid's own filters that take text. Of a list or an object they would silently make `ab` or `[object Object]`. */
const TEXT = (
  'append prepend strip lstrip rstrip downcase upcase capitalize squish normalize_whitespace strip_newlines remove remove_first ' +
  'remove_last replace replace_first replace_last truncate truncatewords split number_of_words slugify url_encode url_decode ' +
  'cgi_escape uri_escape escape escape_once xml_escape strip_html newline_to_br base64_encode base64_decode sha256'
).split(' ')

/** Liquid's own filters that take lists, and `default`. Left out: random (`sample`), the runner's zone (`date_to_*`), code in texts (`*_exp`), keys (`hmac_sha256`). */
const OTHER = 'first last reverse compact concat push pop unshift shift map size slice sort_natural array_to_sentence_string default'.split(
  ' ',
)

/** These see a null; every other filter gives null for it, so that a missing value is not hashed, counted or sent as ''. */
const SEES_NULL: ReadonlySet<string> = new Set(['default', 'append', 'prepend'])

/** Lists and objects, as far as templates are concerned. */
export function isNested(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !isNumber(value) && !(value instanceof Drop)
}

/** One JSON text for one value: sorted keys, exact numbers. */
export function jsonText(value: unknown): string {
  return canonical('json', encodeJson(value as object))
}

/** How a value stands in a longer text: null is '', lists are joined as in Liquid, objects are JSON. */
export function print(value: unknown): string {
  const plain = (value instanceof Drop ? value.valueOf() : value) as string | number | boolean | object | null | undefined
  if (plain === null || plain === undefined) return ''
  if (Array.isArray(plain)) return plain.map(print).join('')
  if (isNumber(plain)) return String(plain)
  return typeof plain === 'object' ? jsonText(plain) : String(plain)
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value]
}

function member(item: unknown, path: string): unknown {
  let value = item
  for (const name of path.split('.'))
    value = isNested(value) && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : null
  return value
}

const RANK = ['number', 'string', 'boolean', 'object'] as const

/** A total order, so that a sorted list does not depend on how it stood: numbers, texts by code unit, booleans, nested, null. */
function compare(a: unknown, b: unknown): number {
  if (isNumber(a) && isNumber(b)) return compareNumbers(a, b)
  const [left, right] = [rank(a), rank(b)]
  if (left !== right) return left - right
  const [x, y] = isNested(a) ? [jsonText(a), jsonText(b)] : [String(a), String(b)]
  return x < y ? -1 : x > y ? 1 : 0
}

function rank(value: unknown): number {
  if (value === null || value === undefined) return RANK.length
  return isNumber(value) ? 0 : RANK.indexOf(typeof value as (typeof RANK)[number])
}

function matches(item: unknown, path: string, expected: unknown): boolean {
  const value = member(item, path)
  if (expected === undefined) return value !== null && value !== false
  return compare(value, expected instanceof Drop ? expected.valueOf() : expected) === 0
}

const sorted = (value: unknown, path?: string): unknown[] =>
  [...list(value)].sort((a, b) => (path === undefined ? compare(a, b) : compare(member(a, path), member(b, path))))

/** ISO 8601 texts and Unix seconds. */
function date(value: unknown, format?: unknown, zone?: unknown): string {
  if (typeof format !== 'string') throw new Uncomputable('template', 'date needs a format: `date: "%Y-%m-%d"`')
  const unix = isNumber(value) || (typeof value === 'string' && /^\d+$/.test(value))
  const at = unix ? parseUnix(decimal(value).toFixed()) : parseInstant(String(value))
  if (at === null) throw new Uncomputable('not_a_date', 'the value is not an ISO 8601 date or time')
  return formatTime(at, format, typeof zone === 'string' ? zone : undefined)
}

function parseUnix(text: string): { second: number; fraction: string } | null {
  const [, whole, fraction = ''] = /^(-?\d{1,11})(?:\.(\d{1,9}))?$/.exec(text) ?? []
  return whole === undefined || (fraction !== '' && text.startsWith('-')) ? null : { second: Number(whole) * 1000, fraction }
}

const hash = (name: string) => (value: unknown) => createHash(name).update(String(value), 'utf8').digest('hex')

const OWN: Readonly<Record<string, Handler>> = {
  ...numberFilters,
  sum: (value, path?: string) => {
    const items = list(value).map((item) => (path === undefined ? item : member(item, path)))
    const present = items.filter((item) => item !== null && item !== undefined)
    return exact(digits(present.reduce((total: ReturnType<typeof decimal>, item) => total.plus(decimal(item)), decimal(0))))
  },
  sort: sorted,
  uniq: (value) => [...new Map(list(value).map((item) => [jsonText(item), item])).values()],
  join: (value, by?: unknown) =>
    list(value)
      .map(print)
      .join(typeof by === 'string' ? by : ' '),
  where: (value, path, expected?: unknown) => list(value).filter((item) => matches(item, path, expected)),
  reject: (value, path, expected?: unknown) => list(value).filter((item) => !matches(item, path, expected)),
  find: (value, path, expected?: unknown) => list(value).find((item) => matches(item, path, expected)) ?? null,
  has: (value, path, expected?: unknown) => list(value).some((item) => matches(item, path, expected)),
  json: jsonText,
  date,
  md5: onText(hash('md5')),
  sha1: onText(hash('sha1')),
}

function onText(handler: Handler): Handler {
  return function (value, ...args) {
    if (isNested(value) || args.some(isNested)) {
      throw new Uncomputable('not_text', 'a list or object where the filter needs text; `join` or `json` makes text of it')
    }
    return handler.call(this, value, ...args)
  }
}

function nullIsNull(handler: Handler): Handler {
  return function (value, ...args) {
    const plain: unknown = value instanceof Drop ? value.valueOf() : value
    return plain === null || plain === undefined ? null : handler.call(this, plain, ...args)
  }
}

function builtIn(name: string): Handler {
  const filter = liquidFilters[name]
  // A filter that a new version of liquidjs no longer has must stop the tests, not a row.
  if (typeof filter !== 'function') throw new TypeError(`liquidjs has no filter ${name}`)
  return filter
}

/** Every filter there is, by name. */
export const FILTERS: Readonly<Record<string, Handler>> = Object.fromEntries(
  [
    ...TEXT.map((name) => [name, onText(builtIn(name))] as const),
    ...OTHER.map((name) => [name, builtIn(name)] as const),
    ...Object.entries(OWN),
  ].map(([name, handler]) => [name, SEES_NULL.has(name) ? handler : nullIsNull(handler)]),
)

/** Filters that mean nothing without arguments, and how many they need. */
const NEEDED: ReadonlyMap<string, number> = new Map([
  ...'append prepend remove remove_first remove_last split plus minus times divided_by modulo at_least at_most'
    .split(' ')
    .map((name) => [name, 1] as const),
  ...'where reject find has map concat push unshift default date'.split(' ').map((name) => [name, 1] as const),
  ...'replace replace_first replace_last'.split(' ').map((name) => [name, 2] as const),
])

/** What is wrong with the constant arguments of a filter, found before any row is read; null when nothing is. */
export function checkArguments(name: string, args: readonly unknown[]): string | null {
  const needed = NEEDED.get(name) ?? 0
  if (args.length < needed) return `The filter ${name} needs ${needed === 1 ? 'an argument' : `${needed} arguments`} behind its colon`
  if (name !== 'date') return null
  const [format, zone] = args
  const unknown = typeof format === 'string' ? unknownDirective(format) : null
  if (unknown !== null) return `date knows no "${unknown}"`
  if (typeof zone !== 'string') return null
  try {
    formatTime({ second: 0, fraction: '' }, '', zone)
    return null
  } catch {
    return `date knows no time zone "${zone}"`
  }
}
