/** Associations between records: labels of a pair of types, and the batch endpoints. */
import type { FakeControl, FakeReply, FakeRequest } from '../../src/testing/fake.ts'
import type { Records } from './records.ts'
import { batchReply, inputsOf, invalid, isObject, objectOf, refuse, type RowError } from './replies.ts'
import { type ObjectType, typeNamed } from './schema.ts'

/** HubSpot changelog, February 2025 ("associations batch read limit"); the figure for writes is from its v4 associations guide. */
const MOST_READ = 1000
const MOST_WRITTEN = 2000

interface Label {
  /** Type ids of the pair and of its reverse. */
  readonly ids: readonly [number, number]
  readonly category: 'HUBSPOT_DEFINED' | 'USER_DEFINED'
  readonly label: string | null
}

const label = (there: number, back: number, text: string | null = null, category: Label['category'] = 'HUBSPOT_DEFINED'): Label => ({
  ids: [there, back],
  category,
  label: text,
})

/** Type ids that HubSpot defines are from its associations guide, "Association type IDs". The unlabelled one comes first. */
const PAIRS: readonly { readonly from: string; readonly to: string; readonly labels: readonly Label[] }[] = [
  { from: '0-1', to: '0-2', labels: [label(279, 280), label(1, 2, 'Primary'), label(101, 102, 'Decision maker', 'USER_DEFINED')] },
  { from: '0-3', to: '0-1', labels: [label(3, 4)] },
  { from: '0-3', to: '0-2', labels: [label(341, 342), label(5, 6, 'Primary')] },
  { from: '2-1001', to: '0-1', labels: [label(45, 46, null, 'USER_DEFINED')] },
  { from: '2-1001', to: '0-2', labels: [label(47, 48, null, 'USER_DEFINED')] },
  { from: '2-1001', to: '0-3', labels: [label(49, 50, null, 'USER_DEFINED')] },
]

/** One pair of types, seen from one of its sides. */
interface Side {
  readonly from: ObjectType
  readonly to: ObjectType
  readonly labels: readonly Label[]
  /** Which of a label's ids is this side's. */
  readonly at: 0 | 1
}

function sideOf(fromName: string, toName: string): Side {
  const [from, to] = [fromName, toName].map((name) => typeNamed(name) ?? refuse(400, `Unable to infer object type from: ${name}`)) as [
    ObjectType,
    ObjectType,
  ]
  for (const pair of PAIRS) {
    if (pair.from === from.id && pair.to === to.id) return { from, to, labels: pair.labels, at: 0 }
    if (pair.from === to.id && pair.to === from.id) return { from, to, labels: pair.labels, at: 1 }
  }
  return invalid(`No association is defined between ${from.id} and ${to.id}`)
}

interface Link {
  readonly pair: readonly Label[]
  /** Records in the pair's own order. */
  readonly ends: readonly [string, string]
  readonly labels: Set<Label>
}

/** A class: links have state that several endpoints share. */
export class Associations {
  readonly #control: FakeControl
  readonly #records: Records
  readonly #links = new Map<string, Link>()

  constructor(control: FakeControl, records: Records) {
    this.#control = control
    this.#records = records
  }

  /** Answers /crm/associations/{version}/{from}/{to}/{operation}. */
  reply(fromName: string, toName: string, operation: string, request: FakeRequest): FakeReply | undefined {
    const key = `${request.method} ${operation}`
    if (
      !['GET labels', ...['create', 'associate/default', 'archive', 'labels/archive', 'read'].map((name) => `POST batch/${name}`)].includes(
        key,
      )
    )
      return undefined
    const side = sideOf(fromName, toName)
    if (key === 'GET labels') return this.#labels(side)
    if (operation === 'batch/read') return this.#read(side, request)
    if (operation === 'batch/archive') return this.#archive(side, request)
    if (operation === 'batch/labels/archive') return this.#archiveLabels(side, request)
    return this.#create(side, request, operation === 'batch/create')
  }

  /** `associations` of a new record. Returns what is wrong with them, else null. */
  associate(type: ObjectType, id: string, raw: unknown): string | null {
    for (const item of Array.isArray(raw) ? (raw as unknown[]) : []) {
      const { to, types } = objectOf(item, ['to', 'types'])
      const specs = Array.isArray(types) ? types : []
      const pair = PAIRS.find((candidate) => specs.some((spec) => isObject(spec) && namesLabel(candidate, type, spec)))
      const toType = pair && typeNamed(pair.from === type.id ? pair.to : pair.from)
      if (toType === undefined) return 'One or more associations are invalid'
      const wrong = this.#join(sideOf(type.id, toType.id), id, idOf(to), specs)
      if (wrong !== null) return wrong.message
    }
    return null
  }

  /** For people: one line a link. */
  list(): Record<string, unknown>[] {
    const rows: Record<string, unknown>[] = []
    for (const { from, to, labels } of PAIRS)
      for (const link of this.#links.values())
        if (link.pair === labels && this.#alive(from, to, link))
          rows.push({
            from: `${from}/${link.ends[0]}`,
            to: `${to}/${link.ends[1]}`,
            labels: [...link.labels].map((one) => one.label ?? 'unlabelled'),
          })
    return rows
  }

  #alive(from: string, to: string, link: Link): boolean {
    const types = [typeNamed(from), typeNamed(to)]
    return types.every((type, i) => type !== undefined && this.#records.byId(type, link.ends[i] ?? '') !== undefined)
  }

  #labels({ labels, at }: Side): FakeReply {
    const results = labels.map((one) => ({ category: one.category, typeId: one.ids[at], label: one.label }))
    return { status: 200, json: { results: this.#control.anyOrder(results) } }
  }

  #create(side: Side, request: FakeRequest, withTypes: boolean): FakeReply {
    const results: Record<string, unknown>[] = []
    const errors: RowError[] = []
    for (const input of inputsOf(request, MOST_WRITTEN, withTypes ? ['from', 'to', 'types'] : ['from', 'to'])) {
      const [from, to] = [idOf(input['from']), idOf(input['to'])]
      const plain = side.labels[0]
      const types = withTypes ? input['types'] : [{ associationCategory: plain?.category, associationTypeId: plain?.ids[side.at] }]
      if (!Array.isArray(types) || types.length === 0) return invalid('Some required fields were not set: [types]')
      const wrong = this.#control.refusesRow() ? invalidIds([[side.from, from]]) : this.#join(side, from, to, types)
      if (wrong !== null) errors.push(wrong)
      else if (withTypes) results.push(this.#shownPair(side, from, to))
      else results.push(...defaultPair(side, from, to))
    }
    const now = this.#control.now()
    if (withTypes) return batchReply(201, this.#control.anyOrder(results), this.#control.anyOrder(errors), now)
    const reply = batchReply(200, this.#control.anyOrder(results), this.#control.anyOrder(errors), now)
    // Only 200 is documented for this one; its body has `errors` too.
    return { ...reply, status: 200 }
  }

  #join(side: Side, from: string, to: string, specs: readonly unknown[]): RowError | null {
    const bad: [ObjectType, string][] = []
    if (this.#records.byId(side.from, from) === undefined) bad.push([side.from, from])
    if (this.#records.byId(side.to, to) === undefined) bad.push([side.to, to])
    if (bad.length > 0) return invalidIds(bad)
    const labels = specs.map((spec) => {
      const { associationCategory, associationTypeId } = objectOf(spec, ['associationCategory', 'associationTypeId'])
      return side.labels.find((one) => one.category === associationCategory && one.ids[side.at] === associationTypeId)
    })
    if (labels.includes(undefined))
      return {
        status: 'error',
        category: 'VALIDATION_ERROR',
        message: 'One or more association types are invalid',
        context: { objectId: [from] },
      }
    const link = this.#link(side, from, to) ?? this.#add(side, from, to)
    for (const one of [side.labels[0], ...labels]) {
      if (one === undefined) continue
      if (one.label === 'Primary') this.#dropPrimary(side, link, one)
      link.labels.add(one)
    }
    return null
  }

  /** A record has one primary company. */
  #dropPrimary(side: Side, link: Link, primary: Label): void {
    for (const other of this.#links.values()) if (other.pair === side.labels && other.ends[0] === link.ends[0]) other.labels.delete(primary)
  }

  #add(side: Side, from: string, to: string): Link {
    const link: Link = { pair: side.labels, ends: side.at === 0 ? [from, to] : [to, from], labels: new Set() }
    this.#links.set(keyOf(side, from, to), link)
    return link
  }

  #link(side: Side, from: string, to: string): Link | undefined {
    return this.#links.get(keyOf(side, from, to))
  }

  #shownPair(side: Side, from: string, to: string): Record<string, unknown> {
    const labels = [...(this.#link(side, from, to)?.labels ?? [])].flatMap((one) => one.label ?? [])
    return { fromObjectTypeId: side.from.id, fromObjectId: from, toObjectTypeId: side.to.id, toObjectId: to, labels }
  }

  #archive(side: Side, request: FakeRequest): FakeReply {
    const inputs = inputsOf(request, MOST_WRITTEN, ['from', 'to'])
    const pairs = inputs.flatMap(({ from, to }) => {
      if (!Array.isArray(to)) return invalid('Some required fields were not set: [to]')
      return to.map((one: unknown) => [idOf(from), idOf(one)] as const)
    })
    if (pairs.map(() => this.#control.refusesRow()).some(Boolean)) invalid('An association was refused on request')
    for (const [from, to] of pairs) this.#links.delete(keyOf(side, from, to))
    return batchReply(200, [], [], this.#control.now())
  }

  #archiveLabels(side: Side, request: FakeRequest): FakeReply {
    const inputs = inputsOf(request, MOST_WRITTEN, ['from', 'to', 'types'])
    if (inputs.map(() => this.#control.refusesRow()).some(Boolean)) invalid('An association was refused on request')
    for (const { from, to, types } of inputs) {
      const link = this.#link(side, idOf(from), idOf(to))
      const ids = (Array.isArray(types) ? types : []).map(
        (spec: unknown) => objectOf(spec, ['associationCategory', 'associationTypeId'])['associationTypeId'],
      )
      for (const one of link?.labels ?? []) if (ids.includes(one.ids[side.at])) link?.labels.delete(one)
      // Without the unlabelled one nothing is left.
      if (ids.includes(side.labels[0]?.ids[side.at])) this.#links.delete(keyOf(side, idOf(from), idOf(to)))
    }
    return batchReply(200, [], [], this.#control.now())
  }

  #read(side: Side, request: FakeRequest): FakeReply {
    const results: Record<string, unknown>[] = []
    const errors: RowError[] = []
    for (const { id } of inputsOf(request, MOST_READ, ['id', 'after'])) {
      if (typeof id !== 'string') return invalid('Some required fields were not set: [id]')
      const ends = [...this.#links.values()].filter((link) => link.pair === side.labels && link.ends[side.at] === id)
      const to = ends
        .map((link) => ({ toObjectId: link.ends[side.at === 0 ? 1 : 0], labels: [...link.labels] }))
        .filter(({ toObjectId }) => this.#records.byId(side.to, toObjectId) !== undefined)
        .map(({ toObjectId, labels }) => ({
          toObjectId,
          associationTypes: labels.map((one) => ({ category: one.category, typeId: one.ids[side.at], label: one.label })),
        }))
      if (to.length > 0) results.push({ from: { id }, to: this.#control.anyOrder(to) })
      else
        errors.push({
          status: 'error',
          category: 'OBJECT_NOT_FOUND',
          message: `No ${side.to.entity.toLowerCase()} is associated with ${side.from.entity.toLowerCase()} ${id}.`,
          context: { fromObjectId: [id] },
        })
    }
    return batchReply(200, this.#control.anyOrder(results), this.#control.anyOrder(errors), this.#control.now())
  }
}

function namesLabel(pair: (typeof PAIRS)[number], type: ObjectType, spec: Readonly<Record<string, unknown>>): boolean {
  const at = pair.from === type.id ? 0 : pair.to === type.id ? 1 : null
  return at !== null && pair.labels.some((one) => one.ids[at] === spec['associationTypeId'] && one.category === spec['associationCategory'])
}

function keyOf(side: Side, from: string, to: string): string {
  const ends = side.at === 0 ? [side.from.id, from, side.to.id, to] : [side.to.id, to, side.from.id, from]
  return ends.join(' ')
}

function idOf(value: unknown): string {
  const { id } = objectOf(value, ['id'])
  return typeof id === 'string' ? id : invalid('Some required fields were not set: [id]')
}

/** Shape and words: HubSpot/hubspot-api-nodejs, issue 646. */
function invalidIds(bad: readonly [ObjectType, string][]): RowError {
  return {
    status: 'error',
    category: 'VALIDATION_ERROR',
    message: 'One or more associations are invalid',
    context: {
      INVALID_OBJECT_IDS: bad.map(([type, id]) => `${type.entity}=${id} is not valid`),
      objectId: bad.map(([, id]) => id),
      objectType: bad.map(([type]) => type.entity),
    },
  }
}

/** Both directions, as the reply for unlabelled associations has them. */
function defaultPair(side: Side, from: string, to: string): Record<string, unknown>[] {
  const spec = (at: 0 | 1): Record<string, unknown> => ({
    associationCategory: side.labels[0]?.category,
    associationTypeId: side.labels[0]?.ids[at],
  })
  return [
    { from: { id: from }, to: { id: to }, associationSpec: spec(side.at) },
    { from: { id: to }, to: { id: from }, associationSpec: spec(side.at === 0 ? 1 : 0) },
  ]
}
