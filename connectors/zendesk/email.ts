/** A user's primary e-mail address: what Zendesk is given for a user that has one becomes a further address, and stays one until it is made primary. */
import { type Change, type Fields, type Http, type HttpReply, type Outcome } from '../../src/index.ts'
import { identities, many } from './find.ts'
import { refusedAs, type Result } from './jobs.ts'
import { incomplete } from './login.ts'
import { member, objects, same, text } from './reply.ts'

/** The address that a change wants to be the primary one; undefined when it says nothing new of it. */
export function wantedEmail({ match, fields, changed, previousMatch }: Change): string | undefined {
  if (previousMatch !== null && 'email' in match) return text(match['email'])
  return changed === null || changed.includes('email') ? text(fields['email']) : undefined
}

const idOf = ({ outcome }: Result): string => ('remoteId' in outcome ? outcome.remoteId : undefined) ?? ''

/** The outcomes of a job, once the addresses are as wanted. */
export async function* settled(http: Http, results: readonly Result[]): AsyncIterable<Outcome> {
  const doubtful = results.filter(
    ({ change, outcome, created }) => outcome.result === 'ok' && !created && wantedEmail(change) !== undefined,
  )
  for (const result of results) if (!doubtful.includes(result)) yield result.outcome
  if (doubtful.length === 0) return
  const users = await many(http, 'user', { ids: doubtful.map(idOf).join(',') })
  for (const result of doubtful) {
    const user = users.find((one) => text(one['id']) === idOf(result))
    if (user !== undefined) yield await madePrimary(http, user, result.change, result.outcome)
    else yield { key: result.change.key, result: 'unknown', code: 'gone', message: 'Zendesk no longer shows the user it has just changed.' }
  }
}

const REFUSED = [400, 422]

/** `{"error":"RecordInvalid","description","details":{"value":[{"description"}]}}` */
function refusedAddress(key: string, reply: HttpReply): Outcome {
  const body = reply.json()
  const problem = objects(member(member(body, 'details'), 'value'))?.[0]
  return refusedAs(key, text(member(body, 'error')), text(problem?.['description']) ?? text(member(body, 'description')), 'email')
}

/** Makes the wanted address the primary one; after a change of the match the one before goes, or it would find this user still. */
export async function madePrimary(http: Http, user: Fields, change: Change, outcome: Outcome): Promise<Outcome> {
  const { key, previousMatch } = change
  const [wanted, id] = [wantedEmail(change), text(user['id']) ?? '']
  const before = text(previousMatch?.['email'])
  const moved = before !== undefined && !same(before, wanted?.trim())
  if (wanted === undefined || (same(text(user['email']), wanted.trim()) && !moved)) return outcome
  const addresses = await identities(http, id)
  const path = `/api/v2/users/${id}/identities`
  let address = addresses.find(({ value }) => same(value, wanted.trim()))?.id
  // No document says that a bulk update adds the address, as a single one does.
  if (address === undefined) {
    const identity = { type: 'email', value: wanted.trim(), skip_verify_email: true }
    const reply = await http.request({ method: 'POST', path, json: { identity }, accept: REFUSED })
    if (reply.status >= 400) return refusedAddress(key, reply)
    address = text(member(member(reply.json(), 'identity'), 'id'))
    if (address === undefined) throw incomplete('the identity')
  }
  if (!same(text(user['email']), wanted.trim())) {
    const reply = await http.request({ method: 'PUT', path: `${path}/${address}/make_primary`, accept: REFUSED })
    if (reply.status >= 400) return refusedAddress(key, reply)
  }
  const old = moved ? addresses.find(({ value }) => same(value, before)) : undefined
  if (old) await http.request({ method: 'DELETE', path: `${path}/${old.id}`, accept: [404] })
  return outcome
}
