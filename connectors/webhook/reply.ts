/** What the replies to a webhook mean for each row. A row that nobody confirmed stays unknown. */
import { type Change, encodeJson, type HttpReply, type Outcome, RawJson, UnknownOutcome, type Value } from '../../src/index.ts'
import type { CompiledRequest } from './request.ts'

/** Messages go into reports, one a row. */
const MAX_MESSAGE = 500

type Log = (message: string) => void

/**
 * A 2xx reply. Empty, `text/plain` and JSON without `results` confirm every row; `results` speak for the rows they name.
 * Throws UnknownOutcome for HTML (a login page, a proxy), cut JSON and anything else.
 */
export function readReply(reply: HttpReply, changes: readonly Change[], log: Log): Outcome[] {
  const text = reply.text.trim()
  const type = reply.headers['content-type'] ?? ''
  if (text === '') return allOk(changes)
  if (text.startsWith('<') || /^text\/html/i.test(type))
    throw new UnknownOutcome('html_reply', 'The reply is a page of HTML: is this the right URL?')
  if (/^text\/plain/i.test(type) && !text.startsWith('{')) return allOk(changes)
  const body = reply.json()
  return isObject(body) && Object.hasOwn(body, 'results') ? readResults(body['results'], changes, log) : allOk(changes)
}

function allOk(changes: readonly Change[]): Outcome[] {
  return changes.map(({ key }) => ({ key, result: 'ok' }))
}

function readResults(results: Value | undefined, changes: readonly Change[], log: Log): Outcome[] {
  if (!Array.isArray(results)) throw new UnknownOutcome('bad_results', '`results` in the reply is not a list.')
  const asked = new Map(changes.map((change) => [change.key, change]))
  const outcomes = new Map<string, Outcome>()
  let foreign = 0
  for (const entry of results as readonly Value[]) {
    const key = isObject(entry) ? textOf(entry['key']) : undefined
    const change = key === undefined ? undefined : asked.get(key)
    if (!isObject(entry) || change === undefined) {
      foreign++
      continue
    }
    const outcome = outcomeOf(entry, change)
    const before = outcomes.get(change.key)
    outcomes.set(change.key, before === undefined || same(before, outcome) ? outcome : contradiction(change.key))
  }
  if (foreign > 0) log(`The reply has ${foreign} of ${results.length} results for keys that were not in the request; ignored.`)
  return [...outcomes.values()]
}

function outcomeOf(entry: Readonly<Record<string, Value>>, { key, op }: Change): Outcome {
  const status = entry['status']
  const remoteId = textOf(entry['remote_id'])
  const code = textOf(entry['code'])
  // Codes are shown where row values are not, so only what looks like one counts.
  const named = code !== undefined && /^[\w.-]{1,64}$/.test(code) ? code : undefined
  const message = (textOf(entry['message']) ?? '').slice(0, MAX_MESSAGE)
  if (status === 'ok' || (status === 'absent' && op === 'delete')) return { key, result: 'ok', remoteId }
  if (status === 'rejected') return { key, result: 'rejected', code: named ?? 'rejected', message, field: textOf(entry['field']) }
  if (status === 'retry') return { key, result: 'retry', code: named ?? 'retry', message }
  if (status === 'absent' && op === 'update') return { key, result: 'absent' }
  if (status === 'exists' && op === 'insert') return { key, result: 'exists' }
  return { key, result: 'unknown', code: 'bad_status', message: `The reply gives this row a status that means nothing for ${op}.` }
}

function same(a: Outcome, b: Outcome): boolean {
  return a.result === b.result && ('remoteId' in a ? a.remoteId : null) === ('remoteId' in b ? b.remoteId : null)
}

function contradiction(key: string): Outcome {
  return { key, result: 'unknown', code: 'contradiction', message: 'The reply has two different results for this row.' }
}

/** A 2xx reply to a request from a template. */
export function confirmed(request: CompiledRequest, reply: HttpReply, changes: readonly Change[], log: Log): Outcome[] {
  const { success, remoteId } = request
  let outcomes: Outcome[]
  if (success === undefined) outcomes = readReply(reply, changes, log)
  else if (contains(reply.json(), success.json)) outcomes = allOk(changes)
  else outcomes = unsuccessful(reply, changes)
  const [first] = outcomes
  if (remoteId === undefined || first?.result !== 'ok' || !/^\s*[[{]/.test(reply.text)) return outcomes
  return [{ ...first, remoteId: textOf(memberAt(reply.json(), remoteId)) ?? first.remoteId }]
}

function unsuccessful(reply: HttpReply, changes: readonly Change[]): Outcome[] {
  const [only] = changes
  // Which of several rows it means, nobody says.
  if (changes.length !== 1 || only === undefined) throw new UnknownOutcome('unsuccessful', 'The reply lacks what `success.json` asks for.')
  return [{ key: only.key, result: 'rejected', code: 'unsuccessful', message: reply.text.trim().slice(0, MAX_MESSAGE) }]
}

/** The record is not there: what a delete wants, and what an update can't change. */
export function gone(changes: readonly Change[]): Outcome[] {
  return changes.map(({ key, op }) => ({ key, result: op === 'delete' ? 'ok' : 'absent' }))
}

/** A request was not even made: its template needs a value that the row does not have. */
export function uncomputable(changes: readonly Change[], message: string): Outcome[] {
  return changes.map(({ key }) => ({ key, result: 'rejected', code: 'template', message }))
}

/** Whether `expected` is a part of `value`: members of objects may be more, lists and plain values must be equal. */
export function contains(value: Value | undefined, expected: unknown): boolean {
  if (Array.isArray(expected))
    return (
      Array.isArray(value) &&
      value.length === expected.length &&
      expected.every((item, i) => contains((value as readonly Value[])[i], item))
    )
  if (typeof expected === 'object' && expected !== null && !(expected instanceof RawJson))
    return (
      isObject(value) && Object.entries(expected).every(([name, member]) => Object.hasOwn(value, name) && contains(value[name], member))
    )
  return value !== undefined && encodeJson(value) === encodeJson(expected as Value)
}

function memberAt(value: Value, path: string): Value | undefined {
  let at: Value | undefined = value
  for (const name of path.split('.'))
    at = typeof at === 'object' && at !== null && Object.hasOwn(at, name) ? (at as Readonly<Record<string, Value>>)[name] : undefined
  return at
}

function isObject(value: Value | undefined): value is Readonly<Record<string, Value>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof RawJson)
}

/** A text or a number as text. */
function textOf(value: Value | undefined): string | undefined {
  if (typeof value === 'string') return value
  return typeof value === 'number' || value instanceof RawJson ? encodeJson(value) : undefined
}
