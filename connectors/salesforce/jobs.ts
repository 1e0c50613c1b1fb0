/** Ingest jobs of Bulk API 2.0: one file, asked about until it is done, with a result for each row by its own columns. */
import {
  type Change,
  type ConnectorIO,
  type JobToken,
  NotSent,
  type Fields,
  type Op,
  type Outcome,
  UnknownOutcome,
} from '../../src/index.ts'
import { type Api, type Json, objectOf, refusal } from './client.ts'
import { cellOf, decodeCsv, encodeCsv, NOTHING } from './csv.ts'
import { type Column, failed, type Row } from './rows.ts'
import { convert, isProblem } from './schema.ts'

/** Milliseconds between two looks at a job: short for small ones, since each look is an API request of the daily quota. */
const FIRST_WAIT = 250
const LONGEST_WAIT = 30_000
/** Milliseconds that one run follows a job; the next one asks again. A batch may be tried 20 times, minutes each. */
const PATIENCE = 3_600_000
/** Characters of a cell and of a row ("Bulk API and Bulk API 2.0 Limits"; long text areas may have more, but not surely). */
const CELL = 32_000
const ROW = 400_000

/** What a job is about. `by` is the column that tells its rows apart: the match field. */
export interface Job {
  readonly object: string
  readonly op: 'upsert' | 'insert'
  readonly by: Column
  /** Insert: the field by which there may be one already. */
  readonly exists?: string | undefined
}

/** Begins a job with these rows and follows it to its end. Yields its id before anything can be applied. */
export async function* runJob(api: Api, io: ConnectorIO, job: Job, rows: readonly Row[]): AsyncIterable<Outcome | JobToken> {
  const created = await api.request({
    method: 'POST',
    path: '/jobs/ingest',
    json: {
      object: job.object,
      operation: job.op,
      ...(job.op === 'upsert' ? { externalIdFieldName: job.by.name } : {}),
      contentType: 'CSV',
      columnDelimiter: 'COMMA',
      lineEnding: 'LF',
    },
    accept: [500, 502, 503, 504],
  })
  // An empty job does nothing, whether it was made or not.
  if (created.status >= 500) throw new NotSent('job_not_created', `Salesforce answered ${created.status} when a job was to be created.`)
  const { id } = objectOf(created.json())
  if (typeof id !== 'string') throw new NotSent('job_not_created', 'Salesforce gave no id for a job that was to be created.')
  yield { token: id }
  await api.request({
    method: 'PUT',
    path: `/jobs/ingest/${id}/batches`,
    route: '/jobs/ingest/…/batches',
    body: fileOf(rows),
    headers: { 'content-type': 'text/csv; charset=UTF-8' },
  })
  const changes = rows.map(({ change }) => change)
  const closed = await api.request({
    method: 'PATCH',
    path: `/jobs/ingest/${id}`,
    route: '/jobs/ingest/…',
    json: { state: 'UploadComplete' },
    accept: [400, 401, 403, 404, 409, 429],
  })
  if (closed.status >= 400) {
    // Refused to be closed: nothing of it was applied, whatever else the refusal means.
    yield* later(changes, 'job_not_started')
    const error = refusal({ status: closed.status, body: closed.json() })
    if (error !== undefined) throw error
    return
  }
  yield* followJob(api, io, id, job, changes)
}

/**
 * Whether a CSV file can say it: not the text that clears, not that a row has no parent, for how a file with parents'
 * external ids does that Salesforce does not say, and not what is too long: it may fail the whole job.
 */
export function fitsFile({ values }: Row): boolean {
  let characters = 0
  for (const [{ parent }, value] of values) {
    const cell = cellOf(value)
    characters += cell.length
    if (cell.length > CELL || characters > ROW || (parent !== null && value === null)) return false
    if (typeof value === 'string' && value.trim().toUpperCase() === NOTHING) return false
  }
  return true
}

/** The match field is in every row. */
function fileOf(rows: readonly Row[]): string {
  const columns = new Set<Column>()
  for (const { values } of rows) for (const column of values.keys()) columns.add(column)
  const header = [...columns]
  const lines = rows.map(({ values }) => header.map((column) => cellOf(values.get(column))))
  return encodeCsv([header.map(({ name }) => name), ...lines])
}

/** Waits for a job and yields what became of these changes; rows it does not name are left unknown. */
export async function* followJob(
  api: Api,
  io: ConnectorIO,
  id: string,
  job: Omit<Job, 'object'>,
  changes: readonly Change[],
): AsyncIterable<Outcome> {
  const request = { method: 'GET', path: `/jobs/ingest/${id}`, route: '/jobs/ingest/…', accept: [404] } as const
  const until = io.now() + PATIENCE
  let state: Json
  for (let wait = FIRST_WAIT; ; wait = Math.min(wait * 2, LONGEST_WAIT)) {
    const reply = await api.request(request)
    // Deleted there: jobs are kept for seven days.
    if (reply.status === 404) return
    state = objectOf(reply.json())
    if (state['state'] === 'JobComplete' || state['state'] === 'Failed' || state['state'] === 'Aborted') break
    if (state['state'] === 'Open') {
      // Its file did not arrive, or it was not closed: what was not closed is not worked on.
      const aborted = { method: 'PATCH', json: { state: 'Aborted' }, accept: [400, 404, 409] } as const
      const { status } = await api.request({ ...request, ...aborted })
      if (status < 400) return yield* later(changes, 'job_not_started')
    }
    if (io.now() >= until) throw new UnknownOutcome('job_slow', 'Salesforce has not ended a job after an hour.', { afterMs: PATIENCE })
    await pause(wait, io.signal)
  }
  yield* resultsOf(api, id, job, changes, state)
}

function* later(changes: readonly Change[], code: string): Iterable<Outcome> {
  for (const { key } of changes) yield { key, result: 'retry', code, message: 'The job was not started; nothing of it was applied.' }
}

/** Resolves after `ms`; rejects as soon as the run is stopped. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer)
      reject(new UnknownOutcome('interrupted', 'The run stopped while a job of Salesforce was working.'))
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop)
      resolve()
    }, ms)
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
  })
}

/** The cell of the match field, as it was uploaded. */
function echoOf({ name, field }: Column, match: Fields): string {
  const value = convert(field, match[name] ?? null)
  return isProblem(value) ? '' : cellOf(value)
}

async function* resultsOf(
  api: Api,
  id: string,
  { op, by, exists }: Omit<Job, 'object'>,
  changes: readonly Change[],
  { state, errorMessage }: Json,
): AsyncIterable<Outcome> {
  // The order of results is not promised, and all columns are echoed.
  const keys = new Map(changes.map(({ key, match }) => [echoOf(by, match), key]))
  async function* lines(what: string): AsyncIterable<{ key: string; cells: ReadonlyMap<string, string> }> {
    const reply = await api.request({ method: 'GET', path: `/jobs/ingest/${id}/${what}`, route: `/jobs/ingest/…/${what}` })
    const [header = [], ...rows] = decodeCsv(reply.text)
    // Without rows there may be no columns of ours; a page of HTML has neither.
    if (!header.includes(by.name) && (rows.length > 0 || !header.every((name) => name.startsWith('sf__'))))
      throw new UnknownOutcome('bad_results', `The results of a job have no column "${by.name}".`)
    for (const row of rows) {
      // Cut: what stands in a row's last cell may be the beginning of another row's.
      if (row.length !== header.length) continue
      const cells = new Map(header.map((name, i) => [name, row[i] ?? '']))
      const key = keys.get(cells.get(by.name) ?? '')
      if (key !== undefined) yield { key, cells }
    }
  }
  for await (const { key, cells } of lines('successfulResults')) yield { key, result: 'ok', remoteId: cells.get('sf__Id') || undefined }
  for await (const { key, cells } of lines('failedResults')) yield failed(key, op, { ...errorIn(cells.get('sf__Error') ?? ''), exists })
  if (state === 'JobComplete') return
  // A header or a file that Salesforce can't read is refused again; what broke off on the way may pass.
  const message = typeof errorMessage === 'string' ? errorMessage : `The job ended as ${state === 'Aborted' ? 'aborted' : 'failed'}.`
  const [, code = 'job_failed'] = /^(\w+) ?:/.exec(message) ?? []
  const result = /^(InvalidBatch|ClientInputError)/.test(code) ? 'rejected' : 'retry'
  for await (const { key } of lines('unprocessedrecords')) yield { key, result, code, message }
}

/** `REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --`; without fields `…:--`. */
function errorIn(cell: string): { code: string; message: string; field: string | undefined } {
  const [, code = 'UNKNOWN_EXCEPTION', message = cell, fields = ''] = /^([A-Z][A-Z0-9_]*):(.*?)(?::([\w., ]*)--\s*)?$/s.exec(cell) ?? []
  return { code, message, field: fields.split(/[ ,]+/).find(Boolean) }
}

export const opOfJob = (op: Op): op is Job['op'] => op === 'upsert' || op === 'insert'
