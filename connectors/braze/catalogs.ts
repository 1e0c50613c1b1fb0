/** Items of a catalog: up to 50 a request, all or none; the ids of the wrong ones are named. */
import {
  type Batch,
  CdpError,
  type Change,
  type Column,
  encodeJson,
  type FieldInfo,
  type Fields,
  type Http,
  type Outcome,
  Refused,
  UnknownOutcome,
  type Value,
} from '../../src/index.ts'
import { isObject, type Json, objectOf, objectsIn, type Problem, textIn } from './json.ts'

/** "Item IDs can't be more than 250 characters", "… can only include letters, numbers, hyphens, and underscores", "Item values can't exceed 5,000 characters". */
const ID = /^[A-Za-z0-9_-]{1,250}$/
const LONGEST = 5000

const ACCEPTS: Readonly<Record<string, readonly Column['type'][]>> = {
  number: ['integer', 'decimal', 'float'],
  boolean: ['boolean'],
  time: ['date', 'timestamp', 'timestamptz', 'string'],
  object: ['json'],
  array: ['json'],
}

/** The fields of a catalog. Throws CDP3200 where it is not there. */
export async function describeCatalog(http: Http, catalog: string): Promise<readonly FieldInfo[]> {
  const { catalogs } = objectOf(await http.request({ method: 'GET', path: '/catalogs' }))
  if (!Array.isArray(catalogs)) throw new UnknownOutcome('no_list', 'Braze answered without its catalogs.')
  const all = objectsIn(catalogs)
  const found = all.find(({ name }) => name === catalog)
  if (found === undefined) {
    const names = all.map(({ name }) => textIn(name)).filter((name) => name !== undefined)
    throw new CdpError('CDP3200', `Braze has no catalog "${catalog}".`, {
      hint: `Create it first. There are: ${names.join(', ') || 'none'}.`,
    })
  }
  return objectsIn(found['fields']).map(({ name, type }) => {
    const accepts = ACCEPTS[textIn(type) ?? '']
    return {
      name: textIn(name) ?? '',
      type: textIn(type) ?? 'unknown',
      readOnly: name === 'id',
      ...(accepts === undefined ? {} : { accepts }),
    }
  })
}

export async function* writeItems(http: Http, catalog: string, { op, changes }: Batch): AsyncGenerator<Outcome> {
  const good: Change[] = []
  for (const change of changes) {
    const problem = wrongItem(change)
    if (problem === undefined) good.push(change)
    else yield { key: change.key, result: 'rejected', ...problem }
  }
  if (op === 'delete') return yield* sendItems(http, catalog, 'DELETE', good)
  // PUT puts the whole item; of one that was delivered before, PATCH leaves what the sync does not write as it is.
  yield* sendItems(
    http,
    catalog,
    'PUT',
    good.filter(({ changed }) => changed === null),
  )
  yield* sendItems(
    http,
    catalog,
    'PATCH',
    good.filter(({ changed }) => changed !== null),
  )
}

const UNCONFIRMED = { code: 'unconfirmed', message: 'Braze’s reply does not say that it took the items.' }

/** Sends; rejects the items that the refusal names; sends the others again, until it is taken. */
async function* sendItems(
  http: Http,
  catalog: string,
  method: 'PUT' | 'PATCH' | 'DELETE',
  changes: readonly Change[],
): AsyncGenerator<Outcome> {
  let left = changes
  while (left.length > 0) {
    const items = left.map(({ match, fields }) => (method === 'DELETE' ? { id: idOf(match) } : { ...fields, id: idOf(match) }))
    const path = `/catalogs/${encodeURIComponent(catalog)}/items`
    const reply = await http.request({ method, path, route: '/catalogs/…/items', json: { items }, accept: [400] })
    const body = objectOf(reply)
    if (reply.status !== 400) {
      const taken = body['message'] === 'success'
      // Said of each row, for the error of a request that follows would call them not applied.
      for (const { key } of left) yield taken ? { key, result: 'accepted' } : { key, result: 'unknown', ...UNCONFIRMED }
      return
    }
    const refused = refusedItems(body)
    const named = left.filter(({ match }) => refused.has(idOf(match)))
    if (named.length === 0) throw refusalOf(body)
    for (const { key, match } of named) {
      const { id: code, message } = refused.get(idOf(match)) ?? {}
      yield { key, result: 'rejected', code: textIn(code) ?? 'refused', message: textIn(message) ?? 'Braze refused the item.' }
    }
    left = left.filter((change) => !named.includes(change))
  }
}

/** The errors by the id of the item they name: `parameter_values` are ids, or objects with one where there are several parameters. */
function refusedItems({ errors }: Json): Map<string, Json> {
  const refused = new Map<string, Json>()
  for (const error of objectsIn(errors)) {
    const values = error['parameter_values']
    for (const value of Array.isArray(values) ? (values as readonly Value[]) : []) {
      const id = textIn(isObject(value) ? value['id'] : value)
      if (id !== undefined) refused.set(id, error)
    }
  }
  return refused
}

function refusalOf({ errors, message }: Json): Error {
  const [first = {}] = objectsIn(errors)
  const code = textIn(first['id']) ?? 'refused'
  const said = textIn(first['message']) ?? textIn(message) ?? 'Braze refused the request.'
  // "Something went wrong … try again later" (Catalogs, Troubleshooting).
  return code === 'arbitrary-error' ? new UnknownOutcome(code, said) : new Refused(code, said, 400)
}

const idOf = ({ id }: Fields): string => (typeof id === 'string' ? id : encodeJson(id))

function wrongItem({ match, fields }: Change): Problem | undefined {
  if (!ID.test(idOf(match))) {
    const message = 'The id of an item has 1 to 250 letters, digits, hyphens and underscores.'
    return { code: 'bad_id', message, field: 'id' }
  }
  for (const [field, value] of Object.entries(fields)) {
    if (isObject(value) && ['$add', '$remove'].some((edit) => Object.hasOwn(value, edit)))
      return { code: 'bad_value', message: `${field} must be the value, not a change to it.`, field }
    const length = Array.from(typeof value === 'string' ? value : encodeJson(value)).length
    if (length > LONGEST) return { code: 'too_long', message: `${field} has ${length} characters; Braze takes ${LONGEST}.`, field }
  }
  return undefined
}

/** Items one by one, null for each that is not there: "50 requests per minute" (synchronous catalog items). */
export async function readItems(http: Http, catalog: string, matches: readonly Fields[]): Promise<(Fields | null)[]> {
  const found: (Fields | null)[] = []
  for (const match of matches) {
    const wanted = idOf(match)
    if (!ID.test(wanted)) {
      found.push(null)
      continue
    }
    const path = `/catalogs/${encodeURIComponent(catalog)}/items/${wanted}`
    const reply = await http.request({ method: 'GET', path, route: '/catalogs/…/items/…', accept: [404] })
    const item = objectsIn(objectOf(reply)['items']).find(({ id }) => id === wanted)
    const { id: _, ...fields } = item ?? {}
    found.push(reply.status === 404 || item === undefined ? null : fields)
  }
  return found
}
