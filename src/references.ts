/**
 * References: fields that name another record of the destination by what it is found by. What is compared and stored is what
 * the lookup reads, so unchanged rows ask nobody; ids are looked up at delivery, for the changes of one batch at a time.
 */
import type { Sync } from './config/types.ts'
import type { Batch, Change, Destination, JobToken, Outcome } from './connector.ts'
import type { Cause } from './deliver/batch.ts'
import { failureOf } from './deliver/send.ts'
import { answerKey, createResolver, isWhole, type Answers, type Resolver, type Wanted } from './lookups.ts'
import { decodeJson, encodeJson, RawJson, type Fields, type Value } from './json.ts'
import type { Op } from './types.ts'

export interface Reference {
  readonly field: string
  /** The object of the destination in which the record is looked up. */
  readonly object: string
  /** Names of the fields it is found by, sorted. */
  readonly by: readonly string[]
  /** In a match always `reject`: without an id there is nothing to find the record by. */
  readonly onMiss: 'reject' | 'null' | 'omit'
  readonly inMatch: boolean
}

/** Every reference of a sync, those of its match included. */
export function referencesOf(sync: Sync): Reference[] {
  return [...sync.match, ...sync.fields].flatMap((spec) => {
    const { name, source } = spec
    if (source.kind !== 'lookup') return []
    const by = Object.keys(source.match).sort()
    return [{ field: name, object: source.object, by, onMiss: source.onMiss, inMatch: sync.match.includes(spec) }]
  })
}

/**
 * The destination with its references resolved: `write` gets remote ids (as texts) where a sync looks something up. A row
 * whose record is not there is rejected, or goes without, as its field says. When a lookup gets no answer, the rows that
 * need it come back later and the others go; a login, a limit and a refusal of a lookup end the whole request, of which
 * nothing was sent. (So a refused request is halved until the row whose values the service refuses stands alone.)
 * `writes` is the operation that carries fields; a removal has references in its match alone.
 */
export function withReferences(destination: Destination, kind: Kind): Destination {
  const lookup = destination.lookup?.bind(destination)
  const resume = destination.resume?.bind(destination)
  const resolver = createResolver(lookup ?? (() => Promise.reject(new TypeError('the connector has no lookup'))))
  return {
    check: () => destination.check(),
    ...(destination.describe && { describe: destination.describe.bind(destination) }),
    write: (batch) => write(destination, kind, resolver, batch),
    ...(resume && { resume: (token, batch) => resumeResolved(resume, resolver, token, batch) }),
    ...(lookup && { lookup }),
    ...(destination.read && { read: destination.read.bind(destination) }),
    ...(destination.list && { list: destination.list.bind(destination) }),
    ...(destination.close && { close: destination.close.bind(destination) }),
  }
}

/** Which fields of a batch are references: a job of an earlier run had its own. */
interface Kind {
  readonly references: readonly Reference[]
  readonly writes: Op
  /** The destination finds its records by the row's key, whatever the match says. */
  readonly byKey: boolean
}

async function* write(destination: Destination, kind: Kind, resolver: Resolver, batch: Batch): AsyncIterable<Outcome | JobToken> {
  if (!batch.changes.some((change) => concerns(change, kind))) return yield* destination.write(batch)
  let answers: Answers
  try {
    answers = await resolver.resolve(wantedBy(batch, kind))
  } catch (thrown) {
    // A bug leaves the rows of a request unknown; of these nothing was sent.
    const { kind: what, cause } = failureOf(thrown)
    if (what === 'bug') for (const { key } of batch.changes) yield { key, result: 'retry', ...cause }
    throw thrown
  }
  const { outcomes, changes } = sortOut(batch, kind, answers)
  yield* outcomes
  if (changes.length === 0) return
  for await (const item of identified(destination.write({ ...batch, changes }), changes, kind))
    yield 'token' in item ? { token: wrap({ ...kind, token: item.token, answers: [...answers.found] }) } : item
}

/** Whether a change is not to be sent as it stands. */
const concerns = (change: Change, kind: Kind): boolean =>
  cellsOf(change, kind).length > 0 || deliveredMatch(change) !== null || isStale(change, kind)

async function* resumeResolved(
  resume: NonNullable<Destination['resume']>,
  resolver: Resolver,
  token: string,
  batch: Batch,
): AsyncIterable<Outcome> {
  const job = unwrap(token)
  if (job === null) return yield* resume(token, batch)
  for (const [key, id] of job.answers) resolver.learn(key, id)
  const unanswered: Cause = { code: 'no_answer', message: 'The record it refers to could not be looked up.' }
  const { outcomes, changes } = sortOut(batch, job, { found: new Map(job.answers), failure: { ...unanswered, afterMs: undefined } })
  yield* outcomes
  yield* identified(resume(job.token, { ...batch, changes }), changes, job)
}

/** A vendor's job with what was resolved for it: whoever resumes it needs the same changes, whatever has changed since. */
interface Job extends Kind {
  readonly token: string
  readonly answers: readonly (readonly [string, string | null])[]
}

const WRAPPED = 'cdp-sync:references:'
const wrap = (job: Job): string => WRAPPED + JSON.stringify(job)
const unwrap = (token: string): Job | null => (token.startsWith(WRAPPED) ? (JSON.parse(token.slice(WRAPPED.length)) as Job) : null)

/** A reference of one change that is not resolved yet. */
interface Cell {
  readonly field: string
  readonly wanted: Wanted
  readonly onMiss: Reference['onMiss']
  /** Of the match before the change: the record may be gone with the row. */
  readonly previous: boolean
}

/** The record that a stored value names: `{"lookup":"User","match":{"Email":"…"}}`. Null for any other value. */
export function wantedOf(value: Value | undefined): Wanted | null {
  if (!isFields(value) || Object.keys(value).join() !== 'lookup,match') return null
  const { lookup: object, match } = value
  return typeof object === 'string' && isFields(match) ? { object, match } : null
}

const isFields = (value: Value | undefined): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof RawJson)

function cellsOf(change: Change, kind: Kind): Cell[] {
  const { references, writes } = kind
  const cells: Cell[] = []
  if (isStale(change, kind)) return cells
  const take = (fields: Fields, field: string, onMiss: Reference['onMiss'], previous: boolean): void => {
    const wanted = wantedOf(fields[field])
    if (wanted) cells.push({ field, wanted, onMiss, previous })
  }
  const delivered = deliveredMatch(change)
  if (change.matchJson.text.includes('{"lookup":') && !(delivered && change.op !== writes))
    for (const field of Object.keys(change.match)) take(change.match, field, 'reject', false)
  if (change.previousMatch && !delivered)
    for (const field of Object.keys(change.previousMatch)) take(change.previousMatch, field, 'null', true)
  if (change.op === writes)
    for (const { field, onMiss } of references)
      for (const part of [change.fields, change.onCreate, change.ifEmpty]) take(part, field, onMiss, false)
  return cells
}

function wantedBy(batch: Batch, kind: Kind): Map<string, Wanted> {
  const wanted = new Map<string, Wanted>()
  for (const change of batch.changes)
    for (const cell of cellsOf(change, kind)) if (isWhole(cell.wanted.match)) wanted.set(answerKey(cell.wanted), cell.wanted)
  return wanted
}

/** Changes that can be sent, with ids in place, and outcomes for those that can't. */
function sortOut(batch: Batch, kind: Kind, { found, failure }: Answers): { outcomes: Outcome[]; changes: Change[] } {
  const outcomes: Outcome[] = []
  const changes: Change[] = []
  for (const change of batch.changes) {
    const cells = cellsOf(change, kind)
    const idOf = ({ wanted }: Cell): string | null | undefined => (isWhole(wanted.match) ? found.get(answerKey(wanted)) : null)
    const missed = cells.find((cell) => !cell.previous && idOf(cell) === null && cell.onMiss === 'reject')
    const { key } = change
    if (isStale(change, kind)) outcomes.push({ key, result: 'rejected', ...STALE })
    else if (failure && cells.some((cell) => idOf(cell) === undefined)) outcomes.push({ key, result: 'retry', ...failure })
    else if (missed) outcomes.push(noReference(key, missed))
    else changes.push(replace(change, kind, (wanted) => (isWhole(wanted.match) ? (found.get(answerKey(wanted)) ?? null) : null)))
  }
  return { outcomes, changes }
}

const noReference = (key: string, { field, wanted }: Cell): Outcome => ({
  key,
  result: 'rejected',
  code: 'no_reference',
  message: `There is no ${wanted.object} with this ${Object.keys(wanted.match).join(' and ')}.`,
  field,
})

const STALE: Cause = {
  code: 'stale_reference',
  message: 'It was put there when the match looked up something else, so it may be what another row wants: remove it there by hand.',
}

/** A removal of what was put there under another kind of match: in ids it may be an address that is wanted. */
function isStale({ op, match, matchJson }: Change, { references, writes }: Kind): boolean {
  const looked = references.filter(({ inMatch }) => inMatch)
  if (op === writes || (looked.length === 0 && !matchJson.text.includes('{"lookup":'))) return false
  return Object.entries(match).some(([name, value]) => {
    const reference = looked.find(({ field }) => field === name)
    const wanted = wantedOf(value)
    if (!reference || !wanted) return Boolean(reference) !== Boolean(wanted)
    return reference.object !== wanted.object || reference.by.join('\0') !== Object.keys(wanted.match).join('\0')
  })
}

/** A match in ids, kept as the remote id of a record that has none: two addresses with one are one record. */
const DELIVERED = 'cdp-sync:match:'

/** The remote id that stands for a match in ids. */
export const deliveredAs = (match: RawJson): string => DELIVERED + match.text

/** SQL: it is such an id, or there is none. */
export const namesNoRecord = (column: string): string => `(${column} IS NULL OR starts_with(${column}, '${DELIVERED}'))`

/** The match in ids under which a record was delivered, whatever its lookups would find today. */
const deliveredMatch = ({ remoteId }: Change): Fields | null =>
  remoteId?.startsWith(DELIVERED) ? (decodeJson(remoteId.slice(DELIVERED.length)) as Fields) : null

/** Names the record of each change whose match has references by that match, where the service gives no id. */
async function* identified<Item extends Outcome | JobToken>(
  items: AsyncIterable<Item>,
  changes: readonly Change[],
  { references, writes, byKey }: Kind,
): AsyncIterable<Item> {
  if (byKey || !references.some(({ inMatch }) => inMatch)) return yield* items
  const matches = new Map(changes.filter(({ op }) => op === writes).map(({ key, matchJson }) => [key, deliveredAs(matchJson)]))
  for await (const item of items) {
    const named = 'result' in item && (item.result === 'ok' || item.result === 'accepted') && !item.remoteId
    const remoteId = named ? matches.get(item.key) : undefined
    yield remoteId === undefined ? item : { ...item, remoteId }
  }
}

function replace(change: Change, { references, writes }: Kind, idOf: (wanted: Wanted) => string | null): Change {
  const omitted = new Set<string>()
  const ids = (fields: Fields): Fields =>
    Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, within(wantedOf(value), value)]))
  const within = (wanted: Wanted | null, value: Value): Value => (wanted ? idOf(wanted) : value)
  function written(fields: Fields): Fields {
    if (change.op !== writes) return fields
    const replaced = Object.entries(fields).flatMap(([name, value]): [string, Value][] => {
      const reference = references.find(({ field }) => field === name)
      const wanted = reference ? wantedOf(value) : null
      if (!reference || !wanted) return [[name, value]]
      const id = idOf(wanted)
      if (id !== null || reference.onMiss !== 'omit') return [[name, id]]
      omitted.add(name)
      return []
    })
    return Object.fromEntries(replaced)
  }
  const delivered = deliveredMatch(change)
  const match = delivered && change.op !== writes ? delivered : ids(change.match)
  const fields = written(change.fields)
  const [onCreate, ifEmpty] = [written(change.onCreate), written(change.ifEmpty)]
  const previous = change.previousMatch && (delivered ?? ids(change.previousMatch))
  return {
    key: change.key,
    op: change.op,
    match,
    matchJson: new RawJson(encodeJson(match)),
    fields,
    fieldsJson: new RawJson(encodeJson(fields)),
    onCreate,
    ifEmpty,
    changed: change.changed?.filter((name) => !omitted.has(name)) ?? null,
    // Half of where a record was says nothing.
    previousMatch: previous && isWhole(previous) ? previous : null,
    remoteId: delivered ? null : change.remoteId,
    id: change.id,
    attempts: change.attempts,
  }
}
