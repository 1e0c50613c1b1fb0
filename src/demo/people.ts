/** Invented customers out of a seed: the same seed and number give the same rows, on any machine. */

export interface Customer {
  readonly id: number
  readonly email: string
  readonly firstName: string | null
  readonly lastName: string
  readonly phone: string | null
  readonly country: string | null
  readonly plan: string
  readonly seats: number
  /** May be written to. */
  readonly consent: boolean
  /** ISO 8601 with the offset of where the customer lives. */
  readonly signedUpAt: string
}

/** 0 ≤ x < 1, from a seed. mulberry32: 32 bits of state are plenty for invented people. */
export type Chance = () => number

export function chance(seed: number): Chance {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296
  }
}

export const whole = (random: Chance, from: number, to: number): number => from + Math.floor(random() * (to - from + 1))
export const one = <T>(random: Chance, of: readonly T[]): T => of[Math.floor(random() * of.length)] as T

const COUNTRIES = [
  {
    code: 'DE',
    offset: '+01:00',
    dial: '+49',
    first: ['Jürgen', 'Zoë', 'Anna-Lena', 'Björn', 'Käthe'],
    last: ['Müller', 'Weiß', 'von der Heide', 'Yılmaz'],
  },
  { code: 'BR', offset: '-03:00', dial: '+55', first: ['João', 'Conceição', 'Thaís', 'Luís'], last: ['da Silva', 'Gonçalves', 'Araújo'] },
  { code: 'JP', offset: '+09:00', dial: '+81', first: ['さくら', '健太', 'Yuki', '美咲'], last: ['佐藤', '鈴木', 'Tanaka'] },
  { code: 'IE', offset: '+00:00', dial: '+353', first: ['Siobhán', 'Oisín', 'Maeve'], last: ["O'Brien", 'Ní Dhomhnaill', 'Murphy'] },
  { code: 'IN', offset: '+05:30', dial: '+91', first: ['Priya', 'आरव', 'Ananya'], last: ['Sharma', 'Iyer', 'Patel'] },
  {
    code: 'US',
    offset: '-05:00',
    dial: '+1',
    first: ['Ada', 'Grace', 'Mary Jo', 'Xavier'],
    last: ['Lovelace', 'Hopper', 'Smith, Jr.', 'Nguyễn'],
  },
  { code: 'PL', offset: '+01:00', dial: '+48', first: ['Łukasz', 'Małgorzata', 'Żaneta'], last: ['Wójcik', 'Kamiński', 'Szczęsny'] },
] as const
const LATIN: Readonly<Record<string, string>> = { ß: 'ss', ł: 'l', ı: 'i', Ł: 'L' }

/** What goes before the @: ASCII, or the number where a name has no ASCII letter. */
function mailbox(first: string | null, last: string, id: number): string {
  const ascii = `${first ?? ''}.${last}`
    .replace(/[ßłıŁ]/g, (letter) => LATIN[letter] ?? '')
    .normalize('NFD')
    .replace(/[^A-Za-z.]/g, '')
    .replace(/^\.|\.$/g, '')
    .toLowerCase()
  return `${ascii || 'customer'}.${id}`
}

/** Some type a capital or a blank. */
function email(random: Chance, box: string): string {
  const kind = random()
  const address = `${box}@${one(random, ['example.com', 'example.net', 'example.org'])}`
  if (kind < 0.03) return address.replace(/^./, (letter) => letter.toUpperCase())
  return kind < 0.04 ? `${address} ` : address
}

const DAY = 86_400_000
/** The first day of the story; every date hangs on it, so that a seed gives one story. */
export const TODAY = Date.UTC(2026, 10, 2, 6)

/** An instant as a clock on that wall shows it, with its offset. */
function local(instant: number, offset: string): string {
  const sign = offset.startsWith('-') ? -1 : 1
  const minutes = sign * (Number(offset.slice(1, 3)) * 60 + Number(offset.slice(4)))
  return new Date(instant + minutes * 60_000).toISOString().replace('Z', offset)
}

export function customer(random: Chance, id: number, joined = TODAY - whole(random, 1, 1500) * DAY): Customer {
  const home = one(random, COUNTRIES)
  const firstName = random() < 0.03 ? null : one(random, home.first)
  const lastName = one(random, home.last)
  const digits = String(whole(random, 1_000_000, 99_999_999))
  const plan = one(random, ['free', 'free', 'free', 'pro', 'pro', 'business'])
  return {
    id,
    email: email(random, mailbox(firstName, lastName, id)),
    firstName,
    lastName,
    phone: random() < 0.35 ? null : random() < 0.1 ? `${home.dial} ${digits}` : `${home.dial}${digits}`,
    country: random() < 0.05 ? null : home.code,
    plan,
    seats: plan === 'free' ? 1 : whole(random, 1, 40),
    consent: random() < 0.7,
    signedUpAt: local(joined + whole(random, 0, DAY - 1), home.offset),
  }
}
