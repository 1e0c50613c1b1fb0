/** Times in templates and casts: ISO 8601 in, formatted out, in UTC unless a zone is named; never the runner's zone. */
import { Uncomputable } from './number.ts'

/** A point in time. */
export interface Instant {
  /** Milliseconds since 1970 of the whole second. */
  readonly second: number
  /** Digits of the fraction without trailing zeros; '' when 0. */
  readonly fraction: string
}

const ISO = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:\.(\d{1,9}))?\s?(Z|[+-]\d\d(?::?\d\d)?)?)?$/

/** Reads an ISO 8601 date or time; without an offset it is UTC. Null for anything else, also for 30 February. */
export function parseInstant(text: string): Instant | null {
  const [whole, day, minute = '00:00', second = ':00', fraction = '', offset = 'Z'] = ISO.exec(text.trim()) ?? []
  if (whole === undefined || day === undefined) return null
  const local = new Date(`${day}T${minute}${second}Z`)
  // 2024-02-30 and 24:00 roll over into another day.
  if (Number.isNaN(local.getTime()) || local.toISOString().slice(0, 10) !== day) return null
  const minutes = offset === 'Z' ? 0 : Number(offset.slice(1, 3)) * 60 + Number(offset.slice(3).replace(':', ''))
  const shift = (offset.startsWith('-') ? -1 : 1) * minutes * 60_000
  return { second: local.getTime() - shift, fraction: fraction.replace(/0+$/, '') }
}

/** `2024-05-01T10:00:00.5Z`. Null outside the years 0001 to 9999. */
export function formatInstant({ second, fraction }: Instant): string | null {
  const text = new Date(second).toISOString()
  return /^\d{4}-/.test(text) && !text.startsWith('0000') ? text.slice(0, 19) + (fraction && `.${fraction}`) + 'Z' : null
}

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const MONTHS = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December']

/** A time on the wall clock of a zone: `wall`'s UTC getters say what the clock shows. */
interface Clock {
  readonly wall: Date
  readonly at: Instant
  /** Minutes east of UTC. */
  readonly offset: number
  readonly zone: string
}

const pad = (value: number, width: number, fill = '0'): string => String(value).padStart(width, fill)
const dayOfYear = (wall: Date): number =>
  Math.floor((Date.UTC(2000, wall.getUTCMonth(), wall.getUTCDate()) - Date.UTC(2000, 0, 1)) / 86_400_000)
const isLeap = (year: number): boolean => (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0

const FORMATS: Readonly<Record<string, (clock: Clock) => string>> = {
  Y: ({ wall }) => pad(wall.getUTCFullYear(), 4),
  y: ({ wall }) => pad(wall.getUTCFullYear() % 100, 2),
  m: ({ wall }) => pad(wall.getUTCMonth() + 1, 2),
  d: ({ wall }) => pad(wall.getUTCDate(), 2),
  e: ({ wall }) => pad(wall.getUTCDate(), 2, ' '),
  j: ({ wall }) => pad(dayOfYear(wall) + 1 - (wall.getUTCMonth() > 1 && !isLeap(wall.getUTCFullYear()) ? 1 : 0), 3),
  H: ({ wall }) => pad(wall.getUTCHours(), 2),
  I: ({ wall }) => pad(wall.getUTCHours() % 12 || 12, 2),
  l: ({ wall }) => pad(wall.getUTCHours() % 12 || 12, 2, ' '),
  M: ({ wall }) => pad(wall.getUTCMinutes(), 2),
  S: ({ wall }) => pad(wall.getUTCSeconds(), 2),
  L: ({ at }) => at.fraction.padEnd(3, '0').slice(0, 3),
  N: ({ at }) => at.fraction.padEnd(9, '0'),
  p: ({ wall }) => (wall.getUTCHours() < 12 ? 'AM' : 'PM'),
  P: ({ wall }) => (wall.getUTCHours() < 12 ? 'am' : 'pm'),
  A: ({ wall }) => DAYS[wall.getUTCDay()] ?? '',
  a: ({ wall }) => (DAYS[wall.getUTCDay()] ?? '').slice(0, 3),
  B: ({ wall }) => MONTHS[wall.getUTCMonth()] ?? '',
  b: ({ wall }) => (MONTHS[wall.getUTCMonth()] ?? '').slice(0, 3),
  u: ({ wall }) => String(wall.getUTCDay() || 7),
  w: ({ wall }) => String(wall.getUTCDay()),
  s: ({ at }) => String(at.second / 1000),
  F: ({ wall }) => wall.toISOString().slice(0, 10),
  T: ({ wall }) => wall.toISOString().slice(11, 19),
  z: ({ offset }) => offsetText(offset, ''),
  ':z': ({ offset }) => offsetText(offset, ':'),
  Z: ({ zone }) => zone,
  '%': () => '%',
}

function offsetText(offset: number, colon: string): string {
  const minutes = Math.abs(offset)
  return (offset < 0 ? '-' : '+') + pad(Math.floor(minutes / 60), 2) + colon + pad(Math.floor(minutes % 60), 2)
}

/** `%-d` without padding, `%^a` in capitals. */
const DIRECTIVE = /%([-^]?)(:z|.)?/gs

/** The first directive of a format that `formatTime` does not know; null when it knows them all. */
export function unknownDirective(format: string): string | null {
  for (const [text, , code] of format.matchAll(DIRECTIVE)) if (code === undefined || FORMATS[code] === undefined) return text
  return null
}

/** strftime. `zone` is an IANA name. Throws Uncomputable for an unknown directive or zone. */
export function formatTime(at: Instant, format: string, zone = 'UTC'): string {
  const offset = zone === 'UTC' ? 0 : zoneOffset(at.second, zone)
  const clock = { wall: new Date(at.second + offset * 60_000), at, offset, zone }
  return format.replace(DIRECTIVE, (text, flag: string, code: string | undefined) => {
    const part = code === undefined ? undefined : FORMATS[code]?.(clock)
    if (part === undefined) throw new Uncomputable('template', `date knows no "${text}"`)
    return flag === '-' ? part.replace(/^[0 ]+(?=.)/, '') : flag === '^' ? part.toUpperCase() : part
  })
}

const clocks = new Map<string, Intl.DateTimeFormat>()

function zoneOffset(second: number, zone: string): number {
  let clock = clocks.get(zone)
  if (clock === undefined) {
    const numeric = 'numeric'
    const parts = { year: numeric, month: numeric, day: numeric, hour: numeric, minute: numeric, second: numeric } as const
    try {
      clock = new Intl.DateTimeFormat('en-US', { timeZone: zone, hourCycle: 'h23', ...parts })
    } catch {
      throw new Uncomputable('template', 'date knows no such time zone')
    }
    // Zones come from the mapping or, rarely, from rows: a bound keeps the latter from filling memory.
    if (clocks.size > 1000) clocks.clear()
    clocks.set(zone, clock)
  }
  const at = Object.fromEntries(clock.formatToParts(second).map(({ type, value }) => [type, Number(value)]))
  const { year = 0, month = 1, day, hour = 0, minute, second: seconds } = at
  // Not Date.UTC: it takes the year 50 for 1950.
  const wall = new Date(0)
  wall.setUTCFullYear(year, month - 1, day)
  return (wall.setUTCHours(hour, minute, seconds) - second) / 60_000
}
