/** Members of a static list: found by a property of theirs, added and removed by record id. */
import { type Batch, type Change, type Fields, type Outcome, UnknownOutcome } from '../../src/index.ts'
import { canonical, type Client, findRecords, MOST_INPUTS, noTarget } from './client.ts'
import { isObject, listOf, textOf, textsOf } from './json.ts'
import { afterOf, propertyOf, valueOf } from './lookup.ts'

/** Which list, and what kind of records it holds. */
interface List {
  readonly id: string
  readonly name: string
  /** Such as 0-1 for contacts. */
  readonly objectTypeId: string
}

export interface Members {
  /** Throws CdpError when the list is not there or fills itself. */
  check(): Promise<void>
  write(batch: Batch): AsyncGenerator<Outcome>
  read(matches: readonly Fields[]): Promise<(Fields | null)[]>
  /** Every member with all properties that could find it. */
  list(): AsyncGenerator<Fields>
}

export function createMembers(client: Client, listId: string): Members {
  let known: Promise<List> | undefined
  const list = (): Promise<List> => {
    known ??= findList(client, listId)
    known.catch(() => (known = undefined))
    return known
  }
  /** Record ids of matches; null where there is no such record. */
  async function idsOf(matches: readonly Fields[]): Promise<(string | null)[]> {
    if (matches.length === 0) return []
    const { objectTypeId } = await list()
    const [name = '', ...more] = Object.keys(matches[0] ?? {})
    if (more.length > 0 || name === '')
      throw noTarget('Members of a list are found by one property.', 'Leave one field in `match`, such as email.')
    const property = await propertyOf(client, objectTypeId, name)
    if (!property.unique)
      throw noTarget(
        `The values of "${name}" are not unique in HubSpot, so they can't find members.`,
        'Use email, or a property with unique values.',
      )
    const values = matches.map((match) => valueOf(match, name))
    const found = await findRecords(client, objectTypeId, property, values)
    return values.map((value) => found.get(canonical(objectTypeId, property, value))?.id ?? null)
  }
  return {
    check: async () => void (await list()),
    async *write({ op, changes }) {
      const { name } = await list()
      const adds = op === 'upsert'
      // Who was put there is taken out again, under whatever address that record has by now.
      const known = ({ remoteId }: Change): string | null => (adds ? null : remoteId)
      const looked = await idsOf(changes.flatMap((one) => (known(one) === null ? [one.match] : [])))
      const ids = changes.map((one) => known(one) ?? looked.shift() ?? null)
      const wanted = [...new Set(ids.flatMap((id) => id ?? []))]
      const missing = wanted.length === 0 ? new Set<string>() : await change(client, listId, adds ? 'add' : 'remove', wanted)
      for (const [i, { key, match }] of changes.entries()) {
        const remoteId = ids[i]
        const there = remoteId != null && !missing.has(remoteId)
        // What is not in the portal is not in the list.
        if (there || !adds) yield { key, result: 'ok', ...(remoteId == null ? {} : { remoteId }) }
        else
          yield {
            key,
            result: 'rejected',
            code: 'no_record',
            message: `HubSpot has no record with this ${Object.keys(match).join()} to put into the list "${name}".`,
          }
      }
    },
    async read(matches) {
      const ids = await idsOf(matches)
      const { objectTypeId } = await list()
      const inputs = [...new Set(ids.flatMap((id) => id ?? []))].map((recordId) => ({ objectTypeId, recordId }))
      if (inputs.length === 0) return matches.map(() => null)
      const reply = (await client.post('lists/{version}/records/memberships/batch/read', { inputs })).json()
      const members = new Set<string>()
      for (const { recordId, recordListMemberships } of listOf(reply, 'results'))
        if (
          listOf({ recordListMemberships: recordListMemberships ?? null }, 'recordListMemberships').some(
            (one) => textOf(one['listId']) === listId,
          )
        )
          members.add(textOf(recordId) ?? '')
      return matches.map((match, i) => (members.has(ids[i] ?? '') ? match : null))
    },
    async *list() {
      const { objectTypeId } = await list()
      const byId = await propertyOf(client, objectTypeId, 'hs_object_id')
      const unique = [...(await client.properties(objectTypeId)).values()].flatMap(({ name, unique: is }) => (is ? name : []))
      let after: string | undefined
      do {
        const page = await client.get(`/crm/lists/{version}/${listId}/memberships`, { limit: MOST_INPUTS, after })
        if (!isObject(page) || !Array.isArray(page['results'])) throw new UnknownOutcome('bad_reply', 'HubSpot did not list the members.')
        const ids = listOf(page, 'results').flatMap(({ recordId }) => textOf(recordId) ?? [])
        for (const record of (await findRecords(client, objectTypeId, byId, ids, unique)).values()) {
          const found = Object.entries(record?.properties ?? {}).filter(([name, value]) => unique.includes(name) && value !== null)
          if (record !== null) yield { hs_object_id: record.id, ...Object.fromEntries(found) }
        }
        after = afterOf(page['paging'])
      } while (after !== undefined)
    },
  }
}

async function findList(client: Client, listId: string): Promise<List> {
  const reply = await client.get(`/crm/lists/{version}/${listId}`)
  const found = isObject(reply) ? reply['list'] : undefined
  const [name, objectTypeId] = isObject(found) ? [textOf(found['name']), textOf(found['objectTypeId'])] : []
  if (!isObject(found) || name === undefined || objectTypeId === undefined)
    throw new UnknownOutcome('bad_reply', `HubSpot did not describe the list ${listId}.`)
  // Lists API guide: only lists of these kinds take members by hand.
  if (!['MANUAL', 'SNAPSHOT'].includes(textOf(found['processingType']) ?? ''))
    throw noTarget(
      `The list "${name}" (${listId}) is an active list: HubSpot fills it by its filters.`,
      'Name a static list in options.list, or make one: Contacts › Lists › Create list › Static.',
    )
  return { id: listId, name, objectTypeId }
}

/**
 * Ids that HubSpot does not know. Members that are there already, and those that are not to be removed, are passed over in
 * silence (Lists API: "Missing or already-member ids are ignored"), so the reply confirms the request as a whole.
 */
async function change(client: Client, listId: string, what: 'add' | 'remove', ids: readonly string[]): Promise<Set<string>> {
  const reply = (await client.put(`lists/{version}/${listId}/memberships/${what}`, ids)).json()
  const missing = textsOf(reply, 'recordIdsMissing')
  if (missing === undefined) throw new UnknownOutcome('bad_reply', 'HubSpot did not say which members it took.')
  return new Set(missing)
}
