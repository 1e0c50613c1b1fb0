/** Writes contacts, companies, deals and any other object: upsert, update, insert and archive in batches. */
import { type Batch, CdpError, type Change, type ConnectorIO, type Outcome, UnknownOutcome } from '../../src/index.ts'
import { canonical, type Client, findRecords, isContact, missingIn, noTarget, type Property } from './client.ts'
import { textOf } from './json.ts'
import { type Asked, type Input, readBatch, type Said } from './replies.ts'
import { BadValue, propertyText, propertyTexts, rejected } from './values.ts'

/** A stage only moves forward: to go back it must be empty in between (CRM API guides, "Contacts": lifecycle stage). */
const STAGE = 'lifecyclestage'

interface Work {
  readonly client: Client
  readonly io: Pick<ConnectorIO, 'log'>
  readonly type: string
  readonly property: Property
  readonly asked: Asked
}

/** An input before its place in a batch is known. */
type Wanted = Omit<Input, 'trace'>

/** A change with its match as text. */
interface Row {
  readonly change: Change
  readonly value: string
  readonly properties: Readonly<Record<string, string>>
}

export async function* writeRecords(client: Client, io: Pick<ConnectorIO, 'log'>, batch: Batch): AsyncGenerator<Outcome> {
  const property = await matchProperty(client, batch)
  const work: Work = { client, io, type: batch.object, property, asked: { op: batch.op, match: property.name } }
  const rows: Row[] = []
  for (const change of batch.changes) {
    const row = rowOf(change, property)
    if (row instanceof BadValue) yield rejected(change, row)
    else rows.push(row)
  }
  if (rows.length === 0) return
  switch (batch.op) {
    case 'upsert':
      return yield* upsert(work, rows)
    case 'update':
      return yield* update(work, rows)
    case 'insert':
      return yield* insert(work, rows)
    case 'archive':
      return yield* archive(work, rows)
    case 'append':
    case 'delete':
      throw new TypeError(`HubSpot records know no ${batch.op}`)
  }
}

/** The one property that finds records; it must be unique, or a write would hit any of several. */
async function matchProperty(client: Client, { object, changes, op }: Batch): Promise<Property> {
  const names = Object.keys(changes[0]?.match ?? {})
  const [name = ''] = names
  const unique = 'Use a property with unique values (Settings › Properties › Require unique values), for contacts also email.'
  const wrong = (message: string): CdpError => noTarget(message, unique)
  if (names.length !== 1) throw wrong(`HubSpot finds ${object} by one property; the match has ${names.join(' and ') || 'none'}.`)
  if (name === 'hs_object_id') {
    if (op === 'update' || op === 'archive') return { name, type: 'string', readOnly: true, unique: true }
    throw wrong(`HubSpot gives ${object} their ids: by hs_object_id records can be updated, and none created.`)
  }
  const property = (await client.properties(object)).get(name)
  if (property === undefined) throw wrong(`${object} has no property "${name}" to find records by.`)
  if (!property.unique) throw wrong(`The values of "${name}" are not unique in HubSpot, so it can't find one of ${object}.`)
  return property
}

function rowOf(change: Change, property: Property): Row | BadValue {
  const text = propertyText(property.name, change.match[property.name] ?? null)
  if (typeof text !== 'string') return text
  if (text.trim() === '') return new BadValue(property.name, `${property.name} is empty.`)
  const properties = propertyTexts(change.fields)
  return properties instanceof BadValue ? properties : { change, value: text, properties }
}

/** An id of HubSpot's own needs no property. */
const byMatch = ({ property }: Work, { value }: Row): { id: string; idProperty?: string } =>
  property.name === 'hs_object_id' ? { id: value.trim() } : { id: value.trim(), idProperty: property.name }

/** The record keeps its id and takes the new match with the other fields. */
const isMove = ({ change }: Row): boolean =>
  change.previousMatch !== null && change.remoteId !== null && !Object.hasOwn(change.match, 'hs_object_id')

const moved = ({ property }: Work, { change, value, properties }: Row): Wanted => ({
  change,
  id: change.remoteId ?? '',
  properties: { ...properties, [property.name]: value },
})

/**
 * Only some of the row's fields, with `send: changed`. "Partial upserts are not supported when using email as the idProperty
 * for contacts" (CRM API guides, "Contacts"), so they go by id to the record that has the address now: the one that had it
 * when the row was last sent may have another by today.
 */
const isPart = ({ type, property }: Work, { change: { changed, fields } }: Row): boolean =>
  isContact(type) && property.name === 'email' && changed !== null && Object.keys(fields).every((name) => changed.includes(name))

/**
 * By match. HubSpot creates what is not there with the match as its value; the match is not repeated in the properties: of
 * a contact found by a further address it would make that the first one.
 */
async function* upsert(work: Work, rows: readonly Row[]): AsyncGenerator<Outcome> {
  const { client, type, property } = work
  const parts = rows.filter((row) => !isMove(row) && isPart(work, row))
  const found = await findRecords(
    client,
    type,
    property,
    parts.map(({ value }) => value),
  )
  const byId: Wanted[] = []
  const keyed: Row[] = []
  for (const row of rows) {
    const id = parts.includes(row) ? found.get(canonical(type, property, row.value))?.id : undefined
    if (isMove(row)) byId.push(moved(work, row))
    else if (id !== undefined) byId.push({ change: row.change, id, properties: row.properties })
    else keyed.push(row)
  }
  const byValue = (row: Row): Wanted => ({ change: row.change, ...byMatch(work, row), properties: row.properties })
  yield* deliver(work, 'upsert', keyed.map(byValue))
  const gone: Row[] = []
  for (const round of rounds(byId, idOf)) {
    for await (const outcome of deliver(work, 'update', round)) {
      const row = rows.find(({ change }) => change.key === outcome.key)
      // The record was deleted there meanwhile.
      if (outcome.result === 'absent' && row !== undefined) gone.push(row)
      else yield outcome
    }
  }
  yield* deliver(work, 'upsert', gone.map(byValue))
}

/** By match, but an update by e-mail is refused (HubSpot/hubspot-api-nodejs, issue 548): such records are looked up first. */
async function* update(work: Work, rows: readonly Row[]): AsyncGenerator<Outcome> {
  const byEmail = isContact(work.type) && work.property.name === 'email'
  const plain = byEmail ? rows.filter((row) => !isMove(row)).map(({ value }) => value) : []
  const found = await findRecords(work.client, work.type, work.property, plain)
  const moves = rows.filter(isMove).map((row) => moved(work, row))
  const inputs: Wanted[] = []
  for (const row of rows) {
    const record = found.get(canonical(work.type, work.property, row.value))
    if (isMove(row)) continue
    if (!byEmail) inputs.push({ change: row.change, ...byMatch(work, row), properties: row.properties })
    else if (record) inputs.push({ change: row.change, id: record.id, properties: row.properties })
    else yield { key: row.change.key, result: 'absent' }
  }
  // Two addresses may be one contact, and one id twice refuses the whole batch.
  for (const part of [...rounds(moves, idOf), ...rounds(inputs, idOf)]) yield* deliver(work, 'update', part)
}

const idOf = ({ id }: Wanted): string => id ?? ''

async function* insert(work: Work, rows: readonly Row[]): AsyncGenerator<Outcome> {
  const inputs = rows.map(({ change, value, properties }) => ({ change, properties: { ...properties, [work.property.name]: value } }))
  yield* deliver(work, 'create', inputs)
}

/** By record id alone; those that are not known are looked up, and what is not there needs no archiving. */
async function* archive({ client, type, property }: Work, rows: readonly Row[]): AsyncGenerator<Outcome> {
  const unknown = rows.filter(({ change }) => change.remoteId === null).map(({ value }) => value)
  const found = await findRecords(client, type, property, unknown)
  const known = ({ change, value }: Row): string | undefined => change.remoteId ?? found.get(canonical(type, property, value))?.id
  const ids = [...new Set(rows.flatMap((row) => known(row) ?? []))]
  if (ids.length > 0) {
    const reply = await client.batch(type, 'archive', { inputs: ids.map((id) => ({ id })) })
    if (reply.status !== 204)
      throw new UnknownOutcome('bad_reply', `HubSpot answered ${reply.status} to an archive, which it confirms with 204.`)
  }
  for (const { change } of rows) yield { key: change.key, result: 'ok' }
}

/** Sends one batch and yields what became of each row. */
async function* deliver(work: Work, operation: 'upsert' | 'update' | 'create', wanted: readonly Wanted[]): AsyncGenerator<Outcome> {
  if (wanted.length === 0) return
  const inputs = wanted.map((input, i) => ({ ...input, trace: String(i) }))
  const said = await send(work, operation, inputs)
  const kept = said.filter(isKept)
  for (const one of said) if (!kept.includes(one)) yield one.outcome
  if (kept.length > 0) yield* stepBack(work, kept)
}

async function send({ client, io, type, asked }: Work, operation: string, inputs: readonly Input[]): Promise<Said[]> {
  const reply = await client.batch(type, operation, {
    inputs: inputs.map(({ trace, id, idProperty, properties }) => ({
      ...(operation === 'create' ? { associations: [] } : { id }),
      ...(idProperty === undefined ? {} : { idProperty }),
      objectWriteTraceId: trace,
      properties,
    })),
  })
  if (reply.status === 404) return notFound(missingIn(reply.json()), inputs)
  return readBatch(reply.json(), inputs, asked, (message) => io.log(message))
}

/** The whole batch was refused for the records that are not there: the others may go without them. */
function notFound(ids: readonly string[], inputs: readonly Input[]): Said[] {
  const message = 'HubSpot refused the batch for another record of it.'
  return inputs.map((input): Said => {
    const { key } = input.change
    const gone = ids.some((id) => id.toLowerCase() === input.id?.toLowerCase())
    return { input, properties: {}, outcome: gone ? { key, result: 'absent' } : { key, result: 'retry', code: 'not_found', message } }
  })
}

/** HubSpot said yes and left the stage where it was, for it lies behind. */
function isKept({ input, outcome, properties }: Said): boolean {
  const wanted = input.properties[STAGE]
  const now = textOf(properties[STAGE])
  return outcome.result === 'ok' && wanted !== undefined && wanted !== '' && now !== undefined && now !== '' && now !== wanted.trim()
}

const recordId = ({ outcome }: Said): string => (outcome.result === 'ok' ? (outcome.remoteId ?? '') : '')

async function* stepBack(work: Work, kept: readonly Said[]): AsyncGenerator<Outcome> {
  const open = new Map(kept.map(({ input }) => [input.change.key, 'The row was written, but not its stage.']))
  /** Keys of the rows that were confirmed; what is said of others is kept for the end. */
  const confirmed = (said: readonly Said[]): Set<string> => {
    const keys = new Set(said.map(({ outcome }) => outcome.key))
    for (const { outcome } of said) {
      if (outcome.result === 'ok') continue
      keys.delete(outcome.key)
      if ('message' in outcome) open.set(outcome.key, `The row was written, but not its stage: ${outcome.message}`)
    }
    return keys
  }
  try {
    for (const part of rounds(kept, recordId)) {
      const inputs = (stage: (said: Said) => string): Input[] =>
        part.map((said, i) => ({ change: said.input.change, trace: String(i), id: recordId(said), properties: { [STAGE]: stage(said) } }))
      const empty = confirmed(
        await send(
          work,
          'update',
          inputs(() => ''),
        ),
      )
      const again = inputs(({ input }) => input.properties[STAGE] ?? '').filter(({ change }) => empty.has(change.key))
      if (again.length === 0) continue
      const set = await send(work, 'update', again)
      const done = confirmed(set)
      for (const { outcome } of set) if (done.has(outcome.key) && open.delete(outcome.key)) yield outcome
    }
  } finally {
    // Their other fields are written: neither a refusal nor an error that comes later speaks for all of such a row.
    for (const [key, message] of open) yield { key, result: 'unknown', code: 'half_done', message }
  }
}

/** Parts in which no id occurs twice, in order. */
function rounds<T>(items: readonly T[], idOf: (item: T) => string): T[][] {
  const parts: T[][] = []
  const times = new Map<string, number>()
  for (const item of items) {
    const id = idOf(item)
    const n = times.get(id) ?? 0
    times.set(id, n + 1)
    ;(parts[n] ??= []).push(item)
  }
  return parts
}
