/** Finding users and organizations by what a sync matches them by. */
import type { Fields, Http, Value } from '../../src/index.ts'
import type { Kind } from './fields.ts'
import { incomplete } from './login.ts'
import { member, objects, same, text } from './reply.ts'

export interface Wanted {
  readonly match: Fields
  /** Where it was when it was last written; only looked at first, never trusted. */
  readonly remoteId?: string | null
}

/** "Accepts a comma-separated list of up to 100 ids or external ids" (Show Many Users, Show Many Organizations). */
const MOST_IDS = 100
/** Characters of one list in a URL; percent-encoded it may be three times as long, and servers take 8,000 or more. */
const MOST_TEXT = 1500

/** The records, at the places of what was wanted; null where there is none that agrees with every field of the match. */
export async function find(http: Http, kind: Kind, wanted: readonly Wanted[]): Promise<(Fields | null)[]> {
  const found: (Fields | null)[] = wanted.map(() => null)
  const toSearch = new Set<number>()
  for (const [query, valueOf] of [
    ['external_ids', listed],
    ['ids', known],
  ] as const) {
    const places = indexBy(wanted, valueOf)
    for (const values of lists([...places.keys()])) {
      const records = await many(http, kind, { [query]: values.join(',') })
      for (const i of values.flatMap((value) => places.get(value) ?? [])) {
        found[i] = matching(records, wanted[i]?.match ?? {}) ?? null
        if (found[i] === null && query === 'ids') toSearch.add(i)
      }
    }
  }
  for (const [i, one] of wanted.entries()) if (listed(one) === undefined && known(one) === undefined) toSearch.add(i)
  for (const i of toSearch) found[i] = await search(http, kind, wanted[i]?.match ?? {})
  return found
}

/** The external id, where it can stand in a list: a comma would be two. */
function listed({ match }: Wanted): string | undefined {
  const externalId = text(match['external_id'])
  return externalId?.includes(',') ? undefined : externalId
}

/** The id, where there is no external id to ask by. */
const known = ({ match, remoteId }: Wanted): string | undefined =>
  text(match['external_id']) === undefined ? (remoteId ?? undefined) : undefined

function indexBy(wanted: readonly Wanted[], valueOf: (one: Wanted) => string | undefined): Map<string, number[]> {
  const places = new Map<string, number[]>()
  for (const [i, one] of wanted.entries()) {
    const value = valueOf(one)
    if (value !== undefined) places.set(value, [...(places.get(value) ?? []), i])
  }
  return places
}

function* lists(values: readonly string[]): Iterable<string[]> {
  let list: string[] = []
  let length = 0
  for (const value of values) {
    if (list.length === MOST_IDS || (length + value.length > MOST_TEXT && list.length > 0)) {
      yield list
      list = []
      length = 0
    }
    list.push(value)
    length += value.length + 1
  }
  if (list.length > 0) yield list
}

/** Users and organizations by id, those that are not deleted. */
export async function many(http: Http, kind: Kind, query: Readonly<Record<string, string>>): Promise<Fields[]> {
  return recordsOf(kind, (await http.request({ method: 'GET', path: `/api/v2/${kind}s/show_many`, query })).json())
}

async function search(http: Http, kind: Kind, match: Fields): Promise<Fields | null> {
  const [externalId, email, name] = [text(match['external_id']), text(match['email']), text(match['name'])]
  const query =
    externalId !== undefined
      ? { external_id: externalId }
      : email !== undefined
        ? { query: `email:"${email.trim().replaceAll('"', '')}"` }
        : name !== undefined
          ? { name }
          : null
  if (query === null) return null
  const records = recordsOf(kind, (await http.request({ method: 'GET', path: `/api/v2/${kind}s/search`, query })).json())
  const found = matching(records, match)
  if (found !== undefined || email === undefined || externalId !== undefined) return found ?? null
  // It may be another address of one of these users.
  for (const record of records) {
    const addresses = await identities(http, text(record['id']) ?? '')
    if (addresses.some(({ value }) => same(value, email.trim()))) return record
  }
  return null
}

function recordsOf(kind: Kind, reply: Value): Fields[] {
  const records = objects(member(reply, `${kind}s`))
  if (records === undefined) throw incomplete(`${kind}s`)
  return records.filter((record) => record['active'] !== false)
}

/** The record that agrees with all of the match. No document says what becomes of white space at the ends: it counts where it tells two apart. */
function matching(records: readonly Fields[], match: Fields): Fields | undefined {
  const fields = Object.entries(match)
  return (
    records.find((record) => fields.every(([name, value]) => same(text(record[name]), text(value)))) ??
    records.find((record) => fields.every(([name, value]) => same(text(record[name])?.trim(), text(value)?.trim())))
  )
}

export interface Identity {
  readonly id: string
  readonly value: string
}

/** The e-mail addresses of a user. */
export async function identities(http: Http, user: string): Promise<Identity[]> {
  const reply = (await http.request({ method: 'GET', path: `/api/v2/users/${user}/identities`, query: { 'page[size]': 100 } })).json()
  const list = objects(member(reply, 'identities'))
  if (list === undefined) throw incomplete('identities')
  return list.flatMap((one) => {
    const [id, value] = [text(one['id']), text(one['value'])]
    return one['type'] === 'email' && id !== undefined && value !== undefined ? [{ id, value }] : []
  })
}
