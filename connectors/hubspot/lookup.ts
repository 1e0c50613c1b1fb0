/** Finds ids of records and owners for references, and reads records back. */
import { CdpError, type Fields, UnknownOutcome, type Value } from '../../src/index.ts'
import { canonical, type Client, findRecords, MOST_INPUTS, noTarget, type Property } from './client.ts'
import { isObject, listOf, textOf } from './json.ts'
import { propertyText, propertyValues } from './values.ts'

/** Owners API: 500 a page. */
const OWNERS_PAGE = 500
/** CRM API guides, "Search the CRM": 200 results a page, 10,000 in all. */
const SEARCH_PAGE = 200
const SEARCH_MOST = 10_000

type Lookup = (object: string, matches: readonly Fields[]) => Promise<readonly (string | null)[]>

export function createLookup(client: Client): Lookup {
  let owners: Promise<Map<string, string>> | undefined
  return async (object, matches) => {
    const name = onlyField(object, matches)
    if (name === null) return matches.map(() => null)
    const values = matches.map((match) => valueOf(match, name))
    if (object === 'owners') {
      if (name !== 'email')
        throw noTarget(`HubSpot's owners are found by email, not by "${name}".`, 'Write `lookup: owners, match: { email: … }`.')
      owners ??= allOwners(client)
      owners.catch(() => (owners = undefined))
      const byEmail = await owners
      return values.map((value) => byEmail.get(value.trim().toLowerCase()) ?? null)
    }
    const property = await propertyOf(client, object, name)
    if (!property.unique) return searched(client, object, name, values)
    const found = await findRecords(client, object, property, values)
    return values.map((value) => found.get(canonical(object, property, value))?.id ?? null)
  }
}

/** The records found by their matches; `fields` names the properties that matter, default all. */
export async function readRecords(
  client: Client,
  object: string,
  matches: readonly Fields[],
  fields?: readonly string[],
): Promise<(Fields | null)[]> {
  const name = onlyField(object, matches)
  if (name === null) return matches.map(() => null)
  const property = await propertyOf(client, object, name)
  if (!property.unique)
    throw noTarget(`The values of "${name}" are not unique in HubSpot.`, 'Find records by a property with unique values.')
  const known = await client.properties(object)
  const values = matches.map((match) => valueOf(match, name))
  const found = await findRecords(client, object, property, values, fields ?? [...known.keys()])
  return values.map((value) => {
    const record = found.get(canonical(object, property, value))
    return record ? propertyValues(record.properties, known) : null
  })
}

function onlyField(object: string, matches: readonly Fields[]): string | null {
  const [first] = matches
  if (first === undefined) return null
  const names = Object.keys(first)
  if (names.length === 1 && names[0] !== undefined) return names[0]
  throw noTarget(`HubSpot finds ${object} by one property; the match has ${names.join(' and ') || 'none'}.`, 'Leave one of them.')
}

export function valueOf(match: Fields, name: string): string {
  const text = propertyText(name, match[name] ?? null)
  return typeof text === 'string' ? text : ''
}

export async function propertyOf(client: Client, object: string, name: string): Promise<Property> {
  if (name === 'hs_object_id') return { name, type: 'string', readOnly: true, unique: true }
  const property = (await client.properties(object)).get(name)
  if (property === undefined)
    throw noTarget(`HubSpot's ${object} have no property "${name}".`, 'Look up the internal name under Settings › Properties.')
  return property
}

async function allOwners(client: Client): Promise<Map<string, string>> {
  const owners = new Map<string, string>()
  let after: string | undefined
  do {
    const page = await client.get('/crm/owners/{version}', { limit: OWNERS_PAGE, after })
    if (!isObject(page) || !Array.isArray(page['results'])) throw new UnknownOutcome('bad_reply', 'HubSpot did not list its owners.')
    for (const owner of listOf(page, 'results')) {
      const [email, id] = [textOf(owner['email']), textOf(owner['id'])]
      if (email !== undefined && id !== undefined) owners.set(email.toLowerCase(), id)
    }
    after = afterOf(page['paging'])
  } while (after !== undefined)
  return owners
}

/**
 * By a property whose values need not be unique, such as a company's domain. Several records with one value are none: which
 * of them is meant, nobody knows. The search index lags some seconds behind writes.
 */
async function searched(client: Client, object: string, name: string, values: readonly string[]): Promise<(string | null)[]> {
  const wanted = [...new Set(values.map((value) => value.trim().toLowerCase()))].filter((value) => value !== '')
  const ids = new Map<string, Set<string>>()
  for (let from = 0; from < wanted.length; from += MOST_INPUTS) {
    const filter = { propertyName: name, operator: 'IN', values: wanted.slice(from, from + MOST_INPUTS) }
    let after: string | undefined = '0'
    while (after !== undefined) {
      const reply = await client.post(`objects/{version}/${encodeURIComponent(object)}/search`, {
        filterGroups: [{ filters: [filter] }],
        properties: [name],
        sorts: [],
        limit: SEARCH_PAGE,
        after,
      })
      const page = reply.json()
      if (!isObject(page) || !Array.isArray(page['results']))
        throw new UnknownOutcome('bad_reply', `HubSpot did not say which ${object} it found.`)
      for (const { id, properties } of listOf(page, 'results')) {
        const value = isObject(properties) ? textOf(properties[name])?.trim().toLowerCase() : undefined
        if (value !== undefined) ids.set(value, (ids.get(value) ?? new Set()).add(textOf(id) ?? ''))
      }
      after = nextPage(page['paging'], object, name)
    }
  }
  return values.map((value) => {
    const found = [...(ids.get(value.trim().toLowerCase()) ?? [])]
    return found.length === 1 ? (found[0] ?? null) : null
  })
}

/** Where the next page begins. */
export function afterOf(paging: Value | undefined): string | undefined {
  const next = isObject(paging) ? paging['next'] : undefined
  return isObject(next) ? textOf(next['after']) : undefined
}

function nextPage(paging: Value | undefined, object: string, name: string): string | undefined {
  const after = afterOf(paging)
  if (after === undefined || Number(after) + SEARCH_PAGE <= SEARCH_MOST) return after
  throw new CdpError('CDP3200', `More than ${SEARCH_MOST} ${object} share these values of "${name}": nobody can tell which are meant.`, {
    hint: 'Look records up by a property with unique values.',
  })
}
