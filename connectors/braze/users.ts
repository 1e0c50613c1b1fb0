/** Profiles, events and purchases: POST /users/track, and what it takes to know, read and delete profiles. */
import {
  type Batch,
  type Change,
  type Fields,
  type Http,
  nest,
  type Outcome,
  Refused,
  UnknownOutcome,
  type Value,
} from '../../src/index.ts'
import { type Identity, identityKey, identityOf, type Kind } from './identity.ts'
import { isObject, type Json, objectOf, objectsIn, type Problem, textIn } from './json.ts'
import { PROFILE_FIELDS, wrongAttribute, wrongEvent } from './values.ts'

type Listed = 'attributes' | 'events' | 'purchases'

/** "Up to 50 external_ids or user_aliases can be included in a single request", of other identifiers one (Export user profile by identifier). */
const EXPORTED: Partial<Record<Kind, { readonly list: string; readonly rows: number }>> = {
  external_id: { list: 'external_ids', rows: 50 },
  user_alias: { list: 'user_aliases', rows: 50 },
}
const EXPORTED_ALONE: Partial<Record<Kind, string>> = { braze_id: 'braze_id', email: 'email_address', phone: 'phone' }

const DELETED: Partial<Record<Kind, string>> = { external_id: 'external_ids', user_alias: 'user_aliases', braze_id: 'braze_ids' }

/** Upserts, and updates of profiles that are there. */
export async function* writeProfiles(http: Http, { op, changes }: Batch): AsyncGenerator<Outcome> {
  const known = op === 'update' ? await profilesThere(http, changes) : null
  const sent: Change[] = []
  for (const change of changes) {
    if (known !== null && !known.has(identityKey(identityOf(change.match)))) yield { key: change.key, result: 'absent' }
    else sent.push(change)
  }
  yield* track(http, 'attributes', sent, (change) => {
    const attributes = nest(change.fields)
    const problem = wrongIdentity(change.match) ?? otherIdentity(change.match, attributes) ?? wrongAttribute(attributes)
    return problem ? { problem } : { object: profileOf(identityOf(change.match), change.fields, attributes, op === 'update') }
  })
}

/** An e-mail or phone that is none would be dropped later, row and all. */
const wrongIdentity = ({ email, phone }: Fields): Problem | undefined =>
  wrongAttribute({ ...(email === undefined ? {} : { email }), ...(phone === undefined ? {} : { phone }) })

/** "If both email and phone are specified, email takes precedence" (Identifier resolution): it would be written to somebody else. */
const otherIdentity = (match: Fields, attributes: Fields): Problem | undefined =>
  match['phone'] === undefined || !Object.hasOwn(attributes, 'email')
    ? undefined
    : {
        code: 'two_identifiers',
        message: 'email can’t be written to a profile that is found by phone: Braze would look for the email.',
        field: 'email',
      }

function profileOf({ kind, value }: Identity, fields: Fields, attributes: Fields, onlyThere: boolean): Json {
  return {
    ...attributes,
    [kind]: value,
    // "When using a user_alias, Update Only defaults to true."
    ...(onlyThere ? { _update_existing_only: true } : kind === 'user_alias' ? { _update_existing_only: false } : {}),
    // Without it a nested attribute replaces the whole object ("Nested custom attributes").
    ...(Object.keys(fields).some((name) => /(?<!\\)\./.test(name)) ? { _merge_objects: true } : {}),
  }
}

/** Events and purchases; each is counted, so none is ever sent twice. */
export async function* writeEvents(http: Http, kind: 'events' | 'purchases', { changes }: Batch): AsyncGenerator<Outcome> {
  yield* track(http, kind, changes, ({ match, fields }) => {
    const present = nest(Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null)))
    const problem = wrongIdentity(match) ?? wrongEvent(kind, present)
    const { kind: identifier, value } = identityOf(match)
    return problem ? { problem } : { object: { ...present, [identifier]: value } }
  })
}

async function* track(
  http: Http,
  list: Listed,
  changes: readonly Change[],
  make: (change: Change) => { readonly object: Json } | { readonly problem: Problem },
): AsyncGenerator<Outcome> {
  const sent: Change[] = []
  const objects: Json[] = []
  for (const change of changes) {
    const made = make(change)
    if ('problem' in made) yield { key: change.key, result: 'rejected', ...made.problem }
    else {
      sent.push(change)
      objects.push(made.object)
    }
  }
  if (sent.length === 0) return
  // "We recommend adding the bulk update header so that Braze can properly identify, observe, and route your request."
  const headers = { 'x-braze-bulk': 'true' }
  const reply = await http.request({ method: 'POST', path: '/users/track', headers, json: { [list]: objects }, accept: [400] })
  yield* readTracked(objectOf(reply), reply.status, list, sent)
}

/** Errors name their row by list and index; all others were taken, if the reply says so and the numbers agree. */
function* readTracked(body: Json, status: number, list: Listed, sent: readonly Change[]): Generator<Outcome> {
  const refused = new Map<Change, string>()
  const { errors = [] } = body
  for (const error of Array.isArray(errors) ? (errors as readonly Value[]) : [errors]) {
    const { type, input_array: array, index } = isObject(error) ? error : {}
    const change = array === list && typeof index === 'number' ? sent[index] : undefined
    if (change !== undefined) refused.set(change, textIn(type) ?? 'Braze refused it.')
    // It may mean any of them.
    else if (status !== 400) return
  }
  // Nothing of such a request was taken: of several rows the engine finds those that are meant.
  if (status === 400 && refused.size < sent.length) {
    const [first] = refused.values()
    throw new Refused('refused', first ?? textIn(body['message']) ?? 'Braze refused the request.', 400)
  }
  for (const [{ key }, message] of refused) yield { key, result: 'rejected', code: 'refused', message, field: fieldIn(message) }
  if (status === 400 || body['message'] !== 'success') return
  // "The number of external_ids with attributes that were queued": of other identifiers nobody says how they count.
  const taken = body[`${list}_processed`]
  const counted = sent.every(({ match }) => match['external_id'] !== undefined)
  if (counted && taken !== undefined && taken !== sent.length - refused.size) return
  for (const change of sent) if (!refused.has(change)) yield { key: change.key, result: 'accepted' }
}

/** `'price' is not valid` speaks of price. */
const fieldIn = (message: string): string | undefined => /^'(\w+)' [^']*$/.exec(message)?.[1]

/** Which of the profiles are there; null where Braze tells of one at a time only. What is not there, an update passes over silently. */
async function profilesThere(http: Http, changes: readonly Change[]): Promise<ReadonlySet<string> | null> {
  const identities = changes.map(({ match }) => identityOf(match))
  if (EXPORTED[identities[0]?.kind ?? 'email'] === undefined) return null
  const found = await exportProfiles(http, identities, ['external_id', 'user_aliases'])
  return new Set(found.keys())
}

/** Profiles by `identityKey`, without those of which there are several. Throws UnknownOutcome for a reply without the list. */
export async function exportProfiles(http: Http, identities: readonly Identity[], fields?: readonly string[]): Promise<Map<string, Json>> {
  const found = new Map<string, Json>()
  const [{ kind } = { kind: 'external_id' as const }] = identities
  const many = EXPORTED[kind]
  const rows = many?.rows ?? 1
  for (let first = 0; first < identities.length; first += rows) {
    const asked = identities.slice(first, first + rows)
    const values = asked.map(({ value }) => value as Value)
    const who = many === undefined ? { [EXPORTED_ALONE[kind] ?? kind]: values[0] } : { [many.list]: values }
    const json = { ...who, ...(fields === undefined ? {} : { fields_to_export: fields }) }
    const { users } = objectOf(await http.request({ method: 'POST', path: '/users/export/ids', json }))
    if (!Array.isArray(users)) throw new UnknownOutcome('no_users', 'Braze answered an export without its users.')
    // An e-mail or phone may be that of several: nobody says which is meant.
    if (many === undefined && users.length > 1) continue
    for (const user of objectsIn(users)) for (const key of keysOf(kind, user, asked)) found.set(key, user)
  }
  return found
}

/** A reply names its profiles by external id and aliases; where one was asked for, it is that one. */
function keysOf(kind: Kind, user: Json, asked: readonly Identity[]): string[] {
  if (kind === 'external_id') return [textIn(user['external_id'])].filter((id) => id !== undefined)
  if (kind !== 'user_alias') return asked.slice(0, 1).map(identityKey)
  return objectsIn(user['user_aliases']).map(({ alias_name: name, alias_label: label }) => JSON.stringify([label, name]))
}

/** What a profile holds, by the names a sync gives it. Braze exports no null. */
export function fieldsOf(profile: Json): Fields {
  const standard = PROFILE_FIELDS.filter((name) => profile[name] !== undefined).map((name) => [name, profile[name] ?? null] as const)
  const custom = profile['custom_attributes']
  return { ...Object.fromEntries(standard), ...(isObject(custom) ? custom : {}) }
}

/** Deletes profiles for good. Who is not there is not named; the reply is a number. */
export async function* deleteProfiles(http: Http, { changes }: Batch): AsyncGenerator<Outcome> {
  const identities = changes.map(({ match }) => identityOf(match))
  const list = DELETED[identities[0]?.kind ?? 'email']
  if (list === undefined) {
    const message = 'Braze deletes profiles by external_id, braze_id or user_alias: match by one of them.'
    for (const { key, match } of changes) yield { key, result: 'rejected', code: 'no_delete_by', message, field: Object.keys(match)[0] }
    return
  }
  const json = { [list]: identities.map(({ value }) => value as Value) }
  const { message, deleted } = objectOf(await http.request({ method: 'POST', path: '/users/delete', json }))
  if (message === 'success' && typeof deleted === 'number') for (const { key } of changes) yield { key, result: 'accepted' }
}
