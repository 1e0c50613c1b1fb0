/** Zendesk's bulk jobs: begun with up to 100 records, asked about until they end, one result per record. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Change, type ConnectorIO, type Fields, type Http, type Outcome, UnknownOutcome, type Value } from '../../src/index.ts'
import { incomplete } from './login.ts'
import { member, objects, same, text } from './reply.ts'

/** A job under way, as its token keeps it. */
export interface Job {
  readonly id: string
  /** Keys of the changes, in the order they were sent in. */
  readonly keys: readonly string[]
  /** Their records, where they were there before. */
  readonly ids?: readonly string[]
  /**
   * How a result names its record. Results of users that are created or updated come in the order of the request, and
   * `id` of a failed one is its place, not a user's id (Zendesk staff, community post 4408861015066). Elsewhere `index` says
   * which it is, or `id`.
   */
  readonly by: 'order' | 'index'
}

/** What a job said of one change. */
export interface Result {
  readonly change: Change
  readonly outcome: Outcome
  readonly created: boolean
}

const FIRST_WAIT_MS = 100
const LONGEST_WAIT_MS = 5000
/** After this the job is asked about later: by the engine, or by the next run. */
const PATIENCE_MS = 300_000
/** A job that was begun a moment ago may not be known everywhere: one that is missing is asked about so often. */
const LOOKS_FOR_MISSING = 3
/** "queued", "working", "failed" and "completed" ("Job Statuses"); older accounts also show "killed". */
const ENDED = ['completed', 'failed', 'killed']

/** The job that a request began. */
export function begun(reply: Value, job: Omit<Job, 'id'>): Job {
  const id = text(member(member(reply, 'job_status'), 'id'))
  if (id === undefined) throw incomplete('the id of the job')
  return { id, ...job }
}

export const tokenOf = (jobs: readonly Job[]): string => JSON.stringify(jobs)
export const jobsOf = (token: string): readonly Job[] => JSON.parse(token) as readonly Job[]

/** The status of each job when it ends; null for one that Zendesk no longer knows (kept for a day). */
export async function* follow(http: Http, io: ConnectorIO, jobs: readonly Job[]): AsyncIterable<readonly [Job, Fields | null]> {
  const open = new Map(jobs.map((job) => [job.id, job]))
  const until = io.now() + PATIENCE_MS
  let looks = 0
  for (let wait = FIRST_WAIT_MS; open.size > 0; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    if (io.now() > until)
      throw new UnknownOutcome('job_slow', `Zendesk has not ended the job ${[...open.keys()].join(', ')} after 5 minutes.`)
    await sleep(wait, undefined, { signal: io.signal })
    const query = { ids: [...open.keys()].join(',') }
    const reply = await http.request({ method: 'GET', path: '/api/v2/job_statuses/show_many', query, accept: [404] })
    const statuses = reply.status === 404 ? [] : objects(member(reply.json(), 'job_statuses'))
    if (statuses === undefined) throw incomplete('job_statuses')
    looks++
    for (const [id, job] of open) {
      const status = statuses.find((one) => one['id'] === id) ?? null
      if (status === null && looks < LOOKS_FOR_MISSING) continue
      if (status !== null && !ENDED.includes(text(status['status']) ?? '')) continue
      open.delete(id)
      yield [job, status]
    }
  }
}

/** What an ended job says of the changes; those it does not name are left out. */
export function* resultsOf(job: Job, status: Fields | null, changes: ReadonlyMap<string, Change>): Iterable<Result> {
  const sent = job.keys.map((key) => changes.get(key))
  const results = objects(status?.['results'])
  if (status === null || results === undefined || (results.length === 0 && status['status'] !== 'completed')) {
    const why =
      status === null
        ? 'Zendesk no longer knows the job.'
        : `The job ended as ${text(status['status']) ?? ''}: ${text(status['message']) ?? ''}`
    for (const change of sent) if (change) yield { change, outcome: unknown(change, 'job_failed', why), created: false }
    return
  }
  // Without one result for each record the order says nothing.
  if (job.by === 'order' && results.length !== sent.length) return
  for (const [i, result] of results.entries()) {
    const index = placeOf(result, job, i)
    const change = index === undefined ? undefined : sent[index]
    if (index === undefined || change === undefined) continue
    const outcome = contradicts(result, change, job.ids?.[index]) ? contradiction(change) : outcomeOf(result, change, job, index)
    yield { change, outcome, created: result['status'] === 'Created' }
  }
}

function placeOf({ index, id }: Fields, { by, ids = [] }: Job, i: number): number | undefined {
  if (typeof index === 'number') return index
  if (by === 'order') return i
  const at = ids.indexOf(text(id) ?? '')
  return at < 0 ? undefined : at
}

const differs = (there: string | undefined, wanted: string | undefined): boolean =>
  there !== undefined && wanted !== undefined && !same(there.trim(), wanted.trim())

/** A result that names another record than the one at its place. A user who was there may have been found by a further address. */
function contradicts(result: Fields, { match }: Change, known: string | undefined): boolean {
  if (result['status'] === 'Failed' || result['success'] === false) return false
  return (
    differs(text(result['id']), known) ||
    differs(text(result['external_id']), text(match['external_id'])) ||
    (result['status'] === 'Created' && differs(text(result['email']), text(match['email'])))
  )
}

const unknown = ({ key }: Change, code: string, message: string): Outcome => ({ key, result: 'unknown', code, message })
const contradiction = (change: Change): Outcome => unknown(change, 'contradiction', 'The job’s result names another record.')

function outcomeOf(result: Fields, { key, op }: Change, { by, ids }: Job, index: number): Outcome {
  const status = text(result['status']) ?? ''
  // Deleted between the look at it and the job; an upsert makes it anew.
  if (result['error'] === 'RecordNotFound')
    return op === 'upsert' ? { key, result: 'retry', code: 'gone', message: 'It was deleted meanwhile.' } : { key, result: 'absent' }
  if (result['success'] === false || status === 'Failed') {
    const [code, message] = [text(result['error']), text(result['details'])]
    // An organization that was made by a request whose answer was lost: next time it is found.
    if (by === 'index' && ids === undefined && message !== undefined && /(^|, )External[^,]*taken/i.test(message))
      return { key, result: 'retry', code: code ?? 'taken', message }
    return refusedAs(key, code, message)
  }
  if (result['success'] === true || ['Created', 'Updated', 'Deleted'].includes(status))
    return { key, result: 'ok', remoteId: ids?.[index] ?? text(result['id']) }
  return { key, result: 'unknown', code: 'bad_status', message: `The job’s result has the status "${status}".` }
}

/** A record that Zendesk refused, by the name of the error and its words. */
export function refusedAs(
  key: string,
  code = 'rejected',
  message = 'Zendesk refused the record without saying why.',
  field?: string,
): Outcome {
  // A user takes about five changes a minute ("Update User", rate limit); a collision with another change passes.
  if (/single unique user/i.test(message)) return { key, result: 'retry', code: 'too_many_updates', message, afterMs: 60_000 }
  if (/Conflict/.test(code)) return { key, result: 'retry', code, message }
  return { key, result: 'rejected', code, message, field: field ?? fieldIn(message) }
}

/** "Email: a@b is already being used …": the attribute stands first. */
function fieldIn(message: string): string | undefined {
  const label = /^(Email|Name|External|Phone|Role|Organization|Tags): /.exec(message)?.[1]
  const names: Readonly<Record<string, string>> = { External: 'external_id', Organization: 'organization_id' }
  return label === undefined ? undefined : (names[label] ?? label.toLowerCase())
}
