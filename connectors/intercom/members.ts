/** Sets of contacts: those that have a tag, and those of a company. */
import { type Batch, type Change, type Fields, type Http, type Outcome, Refused, UnknownOutcome } from '../../src/index.ts'
import { member, objects, part, rejected, text } from './api.ts'
import { find as findCompany } from './companies.ts'
import { ambiguous, findMany, pages } from './contacts.ts'

const personOf = (match: Fields): Fields => Object.fromEntries(Object.entries(match).filter(([name]) => name !== 'company_id'))

/**
 * The id of the contact of each change; or the outcome where there is none: a removal is done, an addition rejected. Who was
 * put there is taken out again under whatever e-mail address that contact has by now.
 */
async function contactsOf(http: Http, { changes, op }: Batch): Promise<(readonly [Change, string | Outcome])[]> {
  if (changes.some(({ match }) => Object.keys(personOf(match)).length === 0))
    throw new Refused('no_contact', 'The match names no contact: add external_id or email to it.', 0)
  const known = (change: Change): string | null => (op === 'delete' ? change.remoteId : null)
  const open = changes.filter((change) => known(change) === null)
  const people = await findMany(
    http,
    open.map(({ match }) => personOf(match)),
  )
  const contacts = new Map(open.map(({ key }, i) => [key, people[i] ?? null]))
  return changes.map((change) => {
    const { key } = change
    const id = known(change)
    if (id !== null) return [change, id]
    const contact = contacts.get(key) ?? null
    const [field = 'external_id'] = Object.keys(personOf(change.match))
    if (contact === 'ambiguous') return [change, ambiguous(key)]
    if (contact !== null) return [change, text(contact['id']) ?? '']
    if (op === 'delete') return [change, { key, result: 'ok' }]
    const message = `No user has this ${field}.${field === 'email' ? ' The search may take minutes to know a new one.' : ''}`
    return [change, { key, result: 'rejected', code: 'contact_not_found', message, field }]
  })
}

/** The tag by its name, which Intercom compares without regard to case; null when there is none. */
async function tagId(http: Http, name: string): Promise<string | null> {
  const tags = objects(member((await http.request({ method: 'GET', path: '/tags' })).json(), 'data'))
  return text(tags.find((tag) => text(tag['name'])?.toLowerCase() === name.toLowerCase())?.['id']) ?? null
}

/** All at once: Intercom makes the tag when there is none, and tags every contact or none. */
export async function* tag(http: Http, batch: Batch, name: string): AsyncIterable<Outcome> {
  const rows = await contactsOf(http, batch)
  const ids = new Set(rows.flatMap(([, found]) => (typeof found === 'string' ? [found] : [])))
  if (ids.size > 0) {
    const body = (await http.request({ method: 'POST', path: '/tags', json: { name, users: [...ids].map((id) => ({ id })) } })).json()
    if (text(member(body, 'id')) === undefined) throw new UnknownOutcome('incomplete_reply', 'Intercom answered without the tag.')
  }
  for (const [{ key }, found] of rows) yield typeof found === 'string' ? { key, result: 'ok', remoteId: found } : found
}

export async function* untag(http: Http, batch: Batch, name: string): AsyncIterable<Outcome> {
  const tag = await tagId(http, name)
  for (const [change, found] of await contactsOf(http, batch))
    if (typeof found !== 'string') yield found
    else if (tag === null) yield { key: change.key, result: 'ok' }
    else yield await taken(http, change, `/contacts/${part(found)}/tags/${part(tag)}`)
}

/** Takes a contact out of a set. */
async function taken(http: Http, { key }: Change, path: string): Promise<Outcome> {
  const reply = await http.request({ method: 'DELETE', path, accept: [400, 404, 422] })
  if (reply.status === 404) return { key, result: 'ok' }
  if (reply.status >= 400) return rejected(key, reply)
  if (text(member(reply.json(), 'id')) !== undefined) return { key, result: 'ok' }
  return { key, result: 'unknown', code: 'incomplete_reply', message: 'Intercom answered without what was removed.' }
}

/** Every user that has the tag. */
export async function* tagged(http: Http, name: string): AsyncIterable<Fields> {
  const id = await tagId(http, name)
  if (id === null) return
  for await (const contact of pages(http, { field: 'tag_id', operator: '=', value: id })) {
    const [externalId, email] = [text(contact['external_id']), text(contact['email'])]
    yield { ...(externalId === undefined ? {} : { external_id: externalId }), ...(email === undefined ? {} : { email }) }
  }
}

/** Of each match whether the user is in the set: of a tag, or where the match has one of a company. */
export async function members(http: Http, matches: readonly Fields[], name: string): Promise<boolean[]> {
  const tag = matches.some((match) => !('company_id' in match)) ? await tagId(http, name) : null
  const contacts = await findMany(http, matches.map(personOf))
  const found: boolean[] = []
  for (const [i, match] of matches.entries()) {
    const contact = contacts[i] ?? null
    const inCompany = 'company_id' in match
    const wanted = inCompany ? text((await findCompany(http, { company_id: match['company_id'] ?? null }))?.['id']) : (tag ?? undefined)
    if (contact === null || contact === 'ambiguous' || wanted === undefined) found.push(false)
    else {
      const path = `/contacts/${part(text(contact['id']) ?? '')}/${inCompany ? 'companies' : 'tags'}`
      // A first page of 50 companies; what is not on it is put there again, which changes nothing.
      const list = objects(member((await http.request({ method: 'GET', path })).json(), 'data'))
      found.push(list.some((one) => text(one['id']) === wanted))
    }
  }
  return found
}

/** Attaches contacts to companies, or detaches them: one request each. */
export async function* employ(http: Http, batch: Batch): AsyncIterable<Outcome> {
  const companies = new Map<string, string | null>()
  for (const [change, found] of await contactsOf(http, batch)) {
    if (typeof found !== 'string') {
      yield found
      continue
    }
    const companyId = text(change.match['company_id']) ?? ''
    if (!companies.has(companyId)) companies.set(companyId, text((await findCompany(http, { company_id: companyId }))?.['id']) ?? null)
    yield await employed(http, change, found, companies.get(companyId) ?? null)
  }
}

async function employed(http: Http, change: Change, contact: string, company: string | null): Promise<Outcome> {
  const { key } = change
  const removes = change.op === 'delete'
  const path = `/contacts/${part(contact)}/companies`
  if (company === null)
    return removes
      ? { key, result: 'ok' }
      : { key, result: 'rejected', code: 'company_not_found', message: 'There is no company with this company_id.', field: 'company_id' }
  if (removes) return taken(http, change, `${path}/${part(company)}`)
  const reply = await http.request({ method: 'POST', path, json: { id: company }, accept: [400, 404, 422] })
  if (reply.status >= 400) return rejected(key, reply)
  if (text(member(reply.json(), 'id')) !== undefined) return { key, result: 'ok', remoteId: contact }
  return { key, result: 'unknown', code: 'incomplete_reply', message: 'Intercom answered without the company.' }
}
