/** Contacts: found, created, changed and archived one by one, for Intercom has no bulk requests for them. */
import { type Change, type Fields, type Http, type Outcome, UnknownOutcome, type Value } from '../../src/index.ts'
import { confirmed, member, objects, part, recordIn, rejected, text } from './api.ts'

/** Not there: never was, archived, deleted, or (410) merged into another. */
const GONE = [404, 410]
/** Refused for what is in it. */
const BAD = [400, 422]
/** "Max is 150" (Pagination); a group takes 15 filters, a list of values is not limited by any document. */
export const MOST_SEARCHED = 50

const same = (name: string, a: string | undefined, b: string | undefined): boolean =>
  a !== undefined && b !== undefined && (name === 'email' ? a.trim().toLowerCase() === b.trim().toLowerCase() : a === b)

const isMatch = (contact: Fields, match: Fields): boolean =>
  Object.entries(match).every(([name, value]) => same(name, text(contact[name]), text(value)))

/** No identifier of the match is another one there. */
const mayBe = (contact: Fields, match: Fields): boolean =>
  Object.entries(match).every(([name, value]) => text(contact[name]) === undefined || same(name, text(contact[name]), text(value)))

/** A contact, `null` when there is none, `ambiguous` when several share the e-mail address. */
export async function find(http: Http, match: Fields, remoteId: string | null = null): Promise<Fields | null | 'ambiguous'> {
  if (remoteId !== null) {
    const contact = await get(http, `/contacts/${part(remoteId)}`)
    if (contact !== null && isMatch(contact, match)) return contact
  }
  const field = text(match['external_id']) === undefined ? 'email' : 'external_id'
  const user = field === 'external_id' ? await findUser(http, match) : null
  if (user !== null) return user
  return oneOf(await search(http, field, [text(match[field]) ?? '']), match)
}

/** At once, unlike the search, whose index takes minutes to know a new contact; but leads are not found by it. */
async function findUser(http: Http, match: Fields): Promise<Fields | null> {
  const path = `/contacts/find_by_external_id/${part(text(match['external_id']) ?? '')}`
  const contact = await get(http, path, '/contacts/find_by_external_id/…')
  return contact !== null && isMatch(contact, match) ? contact : null
}

/** Of several a user comes before leads. */
function oneOf(contacts: readonly Fields[], match: Fields): Fields | null | 'ambiguous' {
  const hits = contacts.filter((contact) => isMatch(contact, match))
  const users = hits.filter((contact) => contact['role'] === 'user')
  const [first, ...others] = users.length > 0 ? users : hits
  return others.length > 0 ? 'ambiguous' : (first ?? null)
}

export async function get(http: Http, path: string, route?: string): Promise<Fields | null> {
  const reply = await http.request({ method: 'GET', path, route, accept: GONE })
  return reply.status < 300 ? recordIn(reply) : null
}

/** Contacts that have one of the values. */
export async function search(http: Http, field: 'email' | 'external_id', values: readonly string[]): Promise<Fields[]> {
  const query = { field, operator: 'IN', value: [...values] }
  const found: Fields[] = []
  for await (const contact of pages(http, query)) found.push(contact)
  return found
}

export async function* pages(http: Http, query: Fields): AsyncIterable<Fields> {
  let after: string | undefined
  do {
    const pagination = { per_page: 150, ...(after === undefined ? {} : { starting_after: after }) }
    const body = (await http.request({ method: 'POST', path: '/contacts/search', json: { query, pagination } })).json()
    yield* objects(member(body, 'data'))
    const next = text(member(member(member(body, 'pages'), 'next'), 'starting_after'))
    if (next !== undefined && next === after) throw new UnknownOutcome('incomplete_reply', 'Intercom answered with the same page again.')
    after = next
  } while (after !== undefined)
}

const put = (http: Http, id: string, json: Fields) =>
  http.request({ method: 'PUT', path: `/contacts/${part(id)}`, json, accept: [...BAD, ...GONE, 409] })

export const ambiguous = (key: string): Outcome => ({
  key,
  result: 'rejected',
  code: 'ambiguous',
  message: 'Several users have this e-mail address: match by external_id.',
  field: 'email',
})

/** Changes the contact that an earlier write made, else creates one, else changes the one that a refused creation names. */
export async function upsert(http: Http, { key, match, remoteId }: Change, record: Fields): Promise<Outcome> {
  if (remoteId !== null) {
    const reply = await put(http, remoteId, record)
    if (reply.status < 300) return confirmed(key, reply, remoteId)
    if (!GONE.includes(reply.status)) return rejected(key, reply)
  }
  // Several leads may share an e-mail address: were an answer lost, a repeat would make another one.
  if (record['role'] === 'lead' && text(match['external_id']) === undefined) {
    const lead = await find(http, match)
    if (lead === 'ambiguous') return ambiguous(key)
    const id = text(lead?.['id'])
    if (id === undefined)
      return {
        key,
        result: 'rejected',
        code: 'lead_by_email',
        message: 'A new lead needs an external_id: match by it.',
        field: 'external_id',
      }
    const changed = await put(http, id, record)
    return changed.status < 300 ? confirmed(key, changed, id) : rejected(key, changed)
  }
  const made = await http.request({ method: 'POST', path: '/contacts', json: { role: 'user', ...record }, accept: [...BAD, 409] })
  if (made.status < 300) return confirmed(key, made)
  const conflict = made.status === 409 ? rejected(key, made) : null
  // "A contact matching those details already exists with id=5ba682d23d7cf92bef87bfd4", or "An archived contact …".
  const [, archived, id] = /^(An archived)?.*\bid=(\w+)/.exec(conflict?.result === 'rejected' ? conflict.message : '') ?? []
  if (conflict === null || id === undefined) return rejected(key, made)
  if (archived !== undefined) await end(http, id, 'unarchive')
  const contact = await get(http, `/contacts/${part(id)}`)
  if (contact === null || !mayBe(contact, match)) {
    // Somebody else's contact, which only shares another identifier with this row.
    if (archived !== undefined) await end(http, id, 'archive')
    return conflict
  }
  // By e-mail the conflict names one of several.
  if (text(match['external_id']) === undefined && (await find(http, match)) === 'ambiguous') return ambiguous(key)
  const changed = await put(http, id, record)
  return changed.status < 300 ? confirmed(key, changed, id) : rejected(key, changed)
}

export async function update(http: Http, { key, match, remoteId, previousMatch }: Change, record: Fields): Promise<Outcome> {
  let id = previousMatch === null ? null : remoteId
  if (id === null) {
    const contact = await find(http, match, remoteId)
    if (contact === 'ambiguous') return ambiguous(key)
    id = contact === null ? null : (text(contact['id']) ?? null)
  }
  const reply = id === null ? null : await put(http, id, record)
  if (id === null || reply === null || GONE.includes(reply.status)) return { key, result: 'absent' }
  return reply.status < 300 ? confirmed(key, reply, id) : rejected(key, reply)
}

export async function remove(http: Http, { key, match, remoteId }: Change, how: 'archive' | 'delete'): Promise<Outcome> {
  const contact = await find(http, match, remoteId)
  if (contact === 'ambiguous') return ambiguous(key)
  if (contact === null) return { key, result: 'ok' }
  const id = text(contact['id']) ?? ''
  const reply = await end(http, id, how)
  if (GONE.includes(reply.status)) return { key, result: 'ok' }
  return reply.status < 300 ? confirmed(key, reply, id) : rejected(key, reply)
}

function end(http: Http, id: string, how: 'archive' | 'unarchive' | 'delete') {
  const path = `/contacts/${part(id)}`
  const accept = [...BAD, ...GONE]
  return how === 'delete'
    ? http.request({ method: 'DELETE', path, accept })
    : http.request({ method: 'POST', path: `${path}/${how}`, accept })
}

/** Contacts by one identifier each, many at a time; what the search does not know yet is asked for by itself. */
export async function findMany(http: Http, matches: readonly Fields[]): Promise<(Fields | null | 'ambiguous')[]> {
  const found: (Fields | null | 'ambiguous')[] = matches.map(() => null)
  for (const field of ['external_id', 'email'] as const) {
    const places = matches.flatMap((match, i) => {
      const by: Value | undefined = match['external_id'] ?? undefined
      return (by === undefined) === (field === 'email') ? [i] : []
    })
    for (let from = 0; from < places.length; from += MOST_SEARCHED) {
      const some = places.slice(from, from + MOST_SEARCHED)
      const contacts = await search(
        http,
        field,
        some.map((i) => text(matches[i]?.[field]) ?? ''),
      )
      for (const i of some) {
        const match = matches[i] ?? {}
        const hit = oneOf(contacts, match)
        found[i] = hit === null && field === 'external_id' ? await findUser(http, match) : hit
      }
    }
  }
  return found
}
