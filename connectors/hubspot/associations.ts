/** Associations between two kinds of records: each end found by a property of its own, plain or under one label. */
import { type Batch, type Fields, type Outcome, UnknownOutcome, type Value } from '../../src/index.ts'
import { canonical, type Client, findRecords, noTarget } from './client.ts'
import { isObject, listOf, textOf, textsOf } from './json.ts'
import { afterOf, propertyOf, valueOf } from './lookup.ts'

/** One end of the association: a kind of record, and the property that finds it. */
export interface End {
  readonly object: string
  readonly by: string
}

export interface AssociationOptions {
  readonly from: End
  readonly to: End
  readonly label?: string | undefined
}

interface AssociationType {
  readonly associationCategory: string
  readonly associationTypeId: number
}

export interface Associations {
  /** Throws CdpError when the kinds can't be associated or there is no such label. */
  check(): Promise<void>
  write(batch: Batch): AsyncGenerator<Outcome>
  read(matches: readonly Fields[]): Promise<(Fields | null)[]>
}

/** The ids of both ends; null where there is no such record. */
interface Pair {
  readonly from: string | null
  readonly to: string | null
}

/** A row whose records are there. */
interface Link {
  readonly key: string
  readonly from: string
  readonly to: string
}

/** The ids of both ends, as the id of their association. HubSpot has none of its own. */
const idOf = ({ from, to }: Pair): string => `${from}>${to}`

function pairIn(id: string | null): { readonly from: string; readonly to: string } | null {
  const [, from, to] = /^(\d+)>(\d+)$/.exec(id ?? '') ?? []
  return from === undefined || to === undefined ? null : { from, to }
}

const NOWHERE: Pair = { from: null, to: null }
const RECORD_ID = 'hs_object_id'

export function createAssociations(client: Client, options: AssociationOptions): Associations {
  const path = `associations/{version}/${encodeURIComponent(options.from.object)}/${encodeURIComponent(options.to.object)}`
  let known: Promise<AssociationType> | undefined
  const type = (): Promise<AssociationType> => {
    known ??= findType(client, path, options)
    known.catch(() => (known = undefined))
    return known
  }
  async function pairsOf(matches: readonly Fields[], { from, to }: Pick<AssociationOptions, 'from' | 'to'> = options): Promise<Pair[]> {
    const [fromIds, toIds] = [
      await idsOf(
        client,
        from,
        matches.map((match) => valueOf(match, 'from')),
      ),
      await idsOf(
        client,
        to,
        matches.map((match) => valueOf(match, 'to')),
      ),
    ]
    return matches.map((_, i) => ({ from: fromIds[i] ?? null, to: toIds[i] ?? null }))
  }
  /** What was put there, whatever its values would find by now; of a record that is gone nothing is left. */
  async function pairsPut(ids: readonly (string | null)[]): Promise<Map<string, Pair>> {
    const put = ids.flatMap((id) => pairIn(id) ?? [])
    const byId = { from: { ...options.from, by: RECORD_ID }, to: { ...options.to, by: RECORD_ID } }
    const there = await pairsOf(put, byId)
    return new Map(put.map((pair, i) => [idOf(pair), there[i] ?? NOWHERE]))
  }
  return {
    check: async () => void (await type()),
    async *write({ op, changes }) {
      const put = await pairsPut(op === 'upsert' ? [] : changes.map(({ remoteId }) => remoteId))
      const open = changes.filter(({ remoteId }) => !put.has(remoteId ?? ''))
      const looked = await pairsOf(open.map(({ match }) => match))
      const rows = changes.map((one): [string, Pair] => [one.key, put.get(one.remoteId ?? '') ?? looked[open.indexOf(one)] ?? NOWHERE])
      if (op === 'upsert') yield* add(client, path, await type(), options, rows)
      else yield* remove(client, path, options.label === undefined ? null : await type(), rows)
    },
    async read(matches) {
      const pairs = await pairsOf(matches)
      const { associationTypeId } = await type()
      const there = new Set<string>()
      let inputs: { id: string; after?: string }[] = [...new Set(pairs.flatMap(({ from }) => from ?? []))].map((id) => ({ id }))
      // A record with many associations has several pages of them.
      while (inputs.length > 0) {
        const reply = (await client.post(`${path}/batch/read`, { inputs })).json()
        inputs = []
        for (const { from, to, paging } of listOf(reply, 'results')) {
          const id = isObject(from) ? (textOf(from['id']) ?? null) : null
          for (const end of listOf({ to: to ?? null }, 'to'))
            if (options.label === undefined || listOf(end, 'associationTypes').some(({ typeId }) => typeId === associationTypeId))
              there.add(idOf({ from: id, to: textOf(end['toObjectId']) ?? null }))
          const after = afterOf(paging)
          if (id !== null && after !== undefined) inputs.push({ id, after })
        }
      }
      return pairs.map((pair, i) => (there.has(idOf(pair)) ? (matches[i] ?? null) : null))
    },
  }
}

async function idsOf(client: Client, { object, by }: End, values: readonly string[]): Promise<(string | null)[]> {
  if (values.length === 0) return []
  const property = await propertyOf(client, object, by)
  if (!property.unique)
    throw noTarget(`The values of "${by}" are not unique in HubSpot's ${object}.`, 'Name a property with unique values in options.')
  const found = await findRecords(client, object, property, values)
  return values.map((value) => found.get(canonical(object, property, value))?.id ?? null)
}

/** The plain association has no label; others are named by theirs, or by their number. */
async function findType(client: Client, path: string, { from, to, label }: AssociationOptions): Promise<AssociationType> {
  const labels = listOf(await client.get(`/crm/${path}/labels`), 'results')
  const found = labels.find((one) =>
    label === undefined
      ? one['label'] === null
      : textOf(one['label'])?.toLowerCase() === label.toLowerCase() || textOf(one['typeId']) === label,
  )
  if (found === undefined || typeof found['typeId'] !== 'number') {
    const names = labels.flatMap((one) => textOf(one['label']) ?? []).join(', ')
    throw noTarget(
      label === undefined
        ? `HubSpot has no plain association from ${from.object} to ${to.object}.`
        : `HubSpot has no association label "${label}" from ${from.object} to ${to.object}.`,
      names === '' ? 'Labels are made under Settings › Objects › Associations.' : `There are: ${names}.`,
    )
  }
  return { associationCategory: textOf(found['category']) ?? 'HUBSPOT_DEFINED', associationTypeId: found['typeId'] }
}

async function* add(
  client: Client,
  path: string,
  type: AssociationType,
  { from, to }: AssociationOptions,
  rows: readonly (readonly [string, Pair])[],
): AsyncGenerator<Outcome> {
  const open = new Map<string, Link[]>()
  for (const [key, pair] of rows) {
    if (pair.from === null || pair.to === null) {
      const [field, { object, by }] = pair.from === null ? (['from', from] as const) : (['to', to] as const)
      yield { key, result: 'rejected', code: 'no_record', message: `HubSpot has no record of ${object} with this ${by}.`, field }
    } else {
      const id = idOf(pair)
      open.set(id, [...(open.get(id) ?? []), { key, from: pair.from, to: pair.to }])
    }
  }
  if (open.size === 0) return
  const inputs = [...open.values()].flatMap(([one]) => (one ? [{ from: { id: one.from }, to: { id: one.to }, types: [type] }] : []))
  const reply = (await client.post(`${path}/batch/create`, { inputs })).json()
  for (const result of listOf(reply, 'results')) {
    const id = idOf({ from: textOf(result['fromObjectId']) ?? null, to: textOf(result['toObjectId']) ?? null })
    // Two rows may find one pair: the id says so, and the pair goes with the last of them.
    for (const { key } of open.get(id) ?? []) yield { key, result: 'ok', remoteId: id }
    open.delete(id)
  }
  for (const error of listOf(reply, 'errors')) yield* refused(error, [...open.values()].flat())
}

/** An error names the ids it is about, not the pair: it is for every pair with one of them that was not confirmed. */
function* refused(error: Readonly<Record<string, Value>>, rows: readonly Link[]): Generator<Outcome> {
  const ids = textsOf(error['context'], 'objectId') ?? []
  const bad = textsOf(error['context'], 'INVALID_OBJECT_IDS') ?? []
  const code = textOf(error['category']) ?? 'refused'
  const message = [textOf(error['message']), ...bad].filter(Boolean).join(': ')
  for (const { key, from, to } of rows) if (ids.includes(from) || ids.includes(to)) yield { key, result: 'rejected', code, message }
}

/** Without a label the whole association goes, whatever labels it has. A record that is gone has none. */
async function* remove(
  client: Client,
  path: string,
  type: AssociationType | null,
  rows: readonly (readonly [string, Pair])[],
): AsyncGenerator<Outcome> {
  const pairs = new Map(
    rows.flatMap(([, { from, to }]) => (from === null || to === null ? [] : [[idOf({ from, to }), { from, to }] as const])),
  )
  if (pairs.size > 0) {
    const ends = [...pairs.values()]
    const reply =
      type === null
        ? await client.post(`${path}/batch/archive`, { inputs: ends.map(({ from, to }) => ({ from: { id: from }, to: [{ id: to }] })) })
        : await client.post(`${path}/batch/labels/archive`, {
            inputs: ends.map(({ from, to }) => ({ from: { id: from }, to: { id: to }, types: [type] })),
          })
    // 204 in version 4, 200 with the state of the batch in the dated ones.
    const body = reply.status === 204 ? undefined : reply.json()
    const errors = listOf(body, 'errors')
    if (reply.status !== 204 && (!isObject(body) || body['status'] !== 'COMPLETE' || errors.length > 0))
      throw new UnknownOutcome('bad_reply', 'HubSpot did not confirm that the associations are gone.')
  }
  for (const [key] of rows) yield { key, result: 'ok' }
}
