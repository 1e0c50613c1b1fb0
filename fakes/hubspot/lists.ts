/** Lists and who is in them. Only lists of kind MANUAL and SNAPSHOT take members. */
import type { FakeControl, FakeReply, FakeRequest } from '../../src/testing/fake.ts'
import type { Records } from './records.ts'
import { batchReply, bodyOf, inputsOf, invalid, objectOf, refuse, textsOf } from './replies.ts'
import { type ObjectType, typeNamed } from './schema.ts'

interface List {
  readonly listId: string
  readonly name: string
  readonly objectTypeId: string
  readonly processingType: string
  readonly createdAt: number
  /** Record id -> when it joined, milliseconds since 1970. */
  readonly members: Map<string, number>
}

const CREATE_MEMBERS = [
  'name',
  'objectTypeId',
  'processingType',
  'customProperties',
  'filterBranch',
  'listFolderId',
  'listPermissions',
  'membershipSettings',
]
const SEARCH_MEMBERS = ['additionalProperties', 'count', 'listIds', 'objectTypeId', 'offset', 'processingTypes', 'query', 'sort']

/** A class: lists have state. */
export class Lists {
  readonly #control: FakeControl
  readonly #records: Records
  readonly #lists = new Map<string, List>()

  constructor(control: FakeControl, records: Records) {
    this.#control = control
    this.#records = records
    this.#add('Customers', '0-1', 'MANUAL')
    this.#add('Newsletter', '0-1', 'SNAPSHOT')
    this.#add('Recently active', '0-1', 'DYNAMIC')
    this.#add('Key accounts', '0-2', 'MANUAL')
  }

  /** Answers /crm/lists/{version}/…; `parts` is the rest of the path. */
  reply(parts: readonly string[], request: FakeRequest): FakeReply | undefined {
    const { method } = request
    const [first = '', second, third = '', fourth = ''] = parts
    if (method === 'POST' && parts.length === 0) return this.#create(request)
    if (method === 'POST' && parts.join('/') === 'search') return this.#search(request)
    if (method === 'POST' && parts.join('/') === 'records/memberships/batch/read') return this.#memberships(request)
    if (method === 'GET' && first === 'object-type-id' && third === 'name' && parts.length === 4) return this.#byName(second ?? '', fourth)
    if (first === '' || !/^\d+$/.test(first)) return undefined
    const rest = `${method} ${parts.slice(1).join('/')}`
    if (
      !['GET ', 'DELETE ', 'GET memberships', 'PUT memberships/add', 'PUT memberships/remove', 'PUT memberships/add-and-remove'].includes(
        rest,
      )
    )
      return undefined
    const list = this.#lists.get(first) ?? refuse(404, `List does not exist with ID ${first}.`, { category: 'OBJECT_NOT_FOUND' })
    if (rest === 'GET ') return { status: 200, json: { list: this.#shown(list) } }
    if (rest === 'GET memberships') return this.#members(list, request)
    if (rest === 'DELETE ') {
      this.#lists.delete(list.listId)
      return { status: 204 }
    }
    if (rest === 'PUT memberships/add') return this.#change(list, textsOf(bodyOf(request), 'the body'), [])
    if (rest === 'PUT memberships/remove') return this.#change(list, [], textsOf(bodyOf(request), 'the body'))
    const { recordIdsToAdd, recordIdsToRemove } = objectOf(bodyOf(request), ['recordIdsToAdd', 'recordIdsToRemove'])
    return this.#change(list, textsOf(recordIdsToAdd, 'recordIdsToAdd'), textsOf(recordIdsToRemove, 'recordIdsToRemove'))
  }

  /** For people: a list with its members. */
  list(): Record<string, unknown>[] {
    return [...this.#lists.values()].map((list) => ({
      listId: list.listId,
      name: list.name,
      objectTypeId: list.objectTypeId,
      processingType: list.processingType,
      members: this.#alive(list),
    }))
  }

  #add(name: string, objectTypeId: string, processingType: string): List {
    const listId = String(this.#lists.size + 1)
    const list: List = { listId, name, objectTypeId, processingType, createdAt: this.#control.now(), members: new Map() }
    this.#lists.set(listId, list)
    return list
  }

  #alive(list: List): string[] {
    const type = typeNamed(list.objectTypeId)
    return type === undefined ? [] : [...list.members.keys()].filter((id) => this.#records.byId(type, id) !== undefined)
  }

  #shown(list: List): Record<string, unknown> {
    const { listId, name, objectTypeId, processingType } = list
    const createdAt = new Date(list.createdAt).toISOString()
    return {
      listId,
      listVersion: 1,
      name,
      objectTypeId,
      processingType,
      processingStatus: 'COMPLETE',
      createdAt,
      size: this.#alive(list).length,
    }
  }

  #create(request: FakeRequest): FakeReply {
    const { name, objectTypeId, processingType } = objectOf(bodyOf(request), CREATE_MEMBERS)
    if (typeof name !== 'string' || typeof objectTypeId !== 'string' || typeof processingType !== 'string')
      return invalid('Some required fields were not set: [name, objectTypeId, processingType]')
    const type: ObjectType = typeNamed(objectTypeId) ?? refuse(400, `Unable to infer object type from: ${objectTypeId}`)
    if (!['MANUAL', 'SNAPSHOT'].includes(processingType)) invalid(`The fake makes no lists of processing type ${processingType}`)
    if (this.#named(type.id, name) !== undefined)
      invalid('A list with this name already exists for this object type.', { subCategory: 'ILS.DUPLICATE_LIST_NAMES' })
    return { status: 200, json: { list: this.#shown(this.#add(name, type.id, processingType)) } }
  }

  #named(objectTypeId: string, name: string): List | undefined {
    return [...this.#lists.values()].find((list) => list.objectTypeId === objectTypeId && list.name.toLowerCase() === name.toLowerCase())
  }

  #byName(objectTypeId: string, name: string): FakeReply {
    const list = this.#named(objectTypeId, name) ?? refuse(404, `List does not exist with name ${name}.`, { category: 'OBJECT_NOT_FOUND' })
    return { status: 200, json: { list: this.#shown(list) } }
  }

  #search(request: FakeRequest): FakeReply {
    const { query = '', objectTypeId, offset = 0, count = 20 } = objectOf(bodyOf(request), SEARCH_MEMBERS)
    if (typeof query !== 'string' || typeof offset !== 'number' || typeof count !== 'number')
      return invalid('query, offset or count is of the wrong type')
    const found = [...this.#lists.values()].filter(
      (list) => list.name.toLowerCase().includes(query.toLowerCase()) && (objectTypeId === undefined || list.objectTypeId === objectTypeId),
    )
    const lists = this.#control.anyOrder(found).slice(offset, offset + count)
    const end = offset + lists.length
    return {
      status: 200,
      json: {
        lists: lists.map((list) => ({ ...this.#shown(list), additionalProperties: {} })),
        total: found.length,
        offset: end,
        hasMore: end < found.length,
      },
    }
  }

  #members(list: List, request: FakeRequest): FakeReply {
    const limit = Number(request.query.get('limit') ?? 100)
    if (!Number.isInteger(limit) || limit < 1 || limit > 250) return invalid('limit must be 1 to 250')
    const after = request.query.get('after') ?? ''
    const ids = this.#alive(list).sort()
    const rest = ids.filter((id) => id > after)
    const page = rest.slice(0, limit)
    const results = page.map((recordId) => ({ recordId, membershipTimestamp: new Date(list.members.get(recordId) ?? 0).toISOString() }))
    const next = rest.length > limit ? { paging: { next: { after: page.at(-1) } } } : {}
    return { status: 200, json: { total: ids.length, results, ...next } }
  }

  /** Which lists each record is in. */
  #memberships(request: FakeRequest): FakeReply {
    const results = inputsOf(request, 100, ['objectTypeId', 'recordId']).map(({ objectTypeId, recordId }) => ({
      objectTypeId,
      recordId,
      recordListMemberships: [...this.#lists.values()].flatMap((list) => {
        const joined = list.objectTypeId === objectTypeId ? list.members.get(String(recordId)) : undefined
        const added = new Date(joined ?? 0).toISOString()
        return joined === undefined
          ? []
          : [{ listId: list.listId, listVersion: 1, firstAddedTimestamp: added, lastAddedTimestamp: added, isPublicList: true }]
      }),
    }))
    return batchReply(200, this.#control.anyOrder(results), [], this.#control.now())
  }

  /** Who is a member already, or none to be removed, is passed over without a word; who does not exist is named as missing. */
  #change(list: List, add: readonly string[], remove: readonly string[]): FakeReply {
    if (list.processingType === 'DYNAMIC') invalid('Records of a list with processing type DYNAMIC can not be changed.')
    const type = typeNamed(list.objectTypeId)
    const reply = { recordsIdsAdded: [] as string[], recordIdsRemoved: [] as string[], recordIdsMissing: [] as string[] }
    const take = (id: string): boolean => {
      if (!this.#control.refusesRow() && type !== undefined && this.#records.byId(type, id) !== undefined) return true
      reply.recordIdsMissing.push(id)
      return false
    }
    for (const id of add) {
      if (!take(id) || list.members.has(id)) continue
      list.members.set(id, this.#control.now())
      reply.recordsIdsAdded.push(id)
    }
    for (const id of remove) if (take(id) && list.members.delete(id)) reply.recordIdsRemoved.push(id)
    for (const ids of Object.values(reply)) ids.splice(0, ids.length, ...this.#control.anyOrder(ids))
    return { status: 200, json: reply }
  }
}
