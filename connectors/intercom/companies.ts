/** Companies: found by the id that the workspace's owner gave them. */
import { type Change, type Fields, type Http, type Outcome } from '../../src/index.ts'
import { confirmed, member, objects, part, recordIn, rejected, text } from './api.ts'

const BAD = [400, 422]

/** A company by its `company_id` or name; null when there is none. */
export async function find(http: Http, match: Fields): Promise<Fields | null> {
  const companyId = text(match['company_id'])
  const query = companyId === undefined ? { name: text(match['name']) ?? '' } : { company_id: companyId }
  const reply = await http.request({ method: 'GET', path: '/companies', query, accept: [404] })
  if (reply.status === 404) return null
  // By name it is a list.
  const list = companyId === undefined ? objects(member(reply.json(), 'data')) : [recordIn(reply)]
  const found = list.filter((company) =>
    Object.entries(match).every(([name, value]) => text(company[name]) !== undefined && text(company[name]) === text(value)),
  )
  return found.length === 1 ? (found[0] ?? null) : null
}

/** "Companies are looked up via company_id in a POST request" (Create or Update a company). */
export async function upsert(http: Http, { key }: Change, record: Fields): Promise<Outcome> {
  const reply = await http.request({ method: 'POST', path: '/companies', json: record, accept: BAD })
  return reply.status < 300 ? confirmed(key, reply) : rejected(key, reply)
}

export async function update(http: Http, { key, match }: Change, whole: Fields): Promise<Outcome> {
  const record = Object.fromEntries(Object.entries(whole).filter(([name]) => name !== 'company_id'))
  const id = text((await find(http, match))?.['id'])
  if (id === undefined) return { key, result: 'absent' }
  const reply = await http.request({ method: 'PUT', path: `/companies/${part(id)}`, json: record, accept: [...BAD, 404] })
  if (reply.status === 404) return { key, result: 'absent' }
  return reply.status < 300 ? confirmed(key, reply, id) : rejected(key, reply)
}

/** "This endpoint does not permanently remove the company. It archives the company record" (Delete a company). */
export async function archive(http: Http, { key, match }: Change): Promise<Outcome> {
  const id = text((await find(http, match))?.['id'])
  if (id === undefined) return { key, result: 'ok' }
  const reply = await http.request({ method: 'DELETE', path: `/companies/${part(id)}`, accept: [...BAD, 404] })
  if (reply.status === 404) return { key, result: 'ok' }
  return reply.status < 300 ? confirmed(key, reply, id) : rejected(key, reply)
}
