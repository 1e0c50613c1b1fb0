/** Bulk API 2.0 of the Salesforce fake: ingest jobs, their CSV files and their results. */
import type { FakeControl, FakeReply, FakeRequest } from '../../src/testing/fake.ts'
import { findField, findObject, type ObjectType } from './schema.ts'
import { longId, type Result, type Row, type Store } from './store.ts'
import { type Problem, problem, textOf, unreadableCell } from './values.ts'

/** Bulk API 2.0 and Bulk API Developer Guide, limits: a file is at most 150 MB after base64. */
const MAX_FILE = 100 * 1024 * 1024
const SEPARATORS: Readonly<Record<string, string>> = { COMMA: ',', SEMICOLON: ';', TAB: '\t', PIPE: '|', CARET: '^', BACKQUOTE: '`' }
const OPERATIONS = ['insert', 'update', 'upsert', 'delete', 'hardDelete']

interface Job {
  readonly id: string
  readonly operation: string
  readonly type: ObjectType
  readonly externalIdFieldName: string | undefined
  readonly lineEnding: string
  readonly columnDelimiter: string
  readonly createdDate: string
  readonly version: string
  state: 'Open' | 'UploadComplete' | 'InProgress' | 'JobComplete' | 'Failed' | 'Aborted'
  file: string | undefined
  errorMessage: string | undefined
  /** Looks at the job since it was uploaded: the second one finds it complete. */
  looks: number
  header: readonly string[]
  rows: { readonly cells: readonly string[]; readonly result: Result | undefined }[]
}

const reply = (status: number, json: unknown): FakeReply => ({ status, json })
const failed = (status: number, errorCode: string, message: string): FakeReply => reply(status, [{ errorCode, message }])

/** A class: the jobs of one org. */
export class BulkJobs {
  readonly #jobs = new Map<string, Job>()
  readonly #store: Store
  readonly #control: FakeControl

  constructor(store: Store, control: FakeControl) {
    this.#store = store
    this.#control = control
  }

  list(): readonly Record<string, unknown>[] {
    return [...this.#jobs.values()].map(info)
  }

  /** Answers what comes after `/jobs/ingest`. */
  handle(request: FakeRequest, parts: readonly string[], version: string): FakeReply {
    const [id, what] = parts
    if (id === undefined) {
      if (request.method === 'POST') return this.#create(request, version)
      if (request.method === 'GET') return reply(200, { done: true, records: this.list(), nextRecordsUrl: null })
      return failed(405, 'METHOD_NOT_ALLOWED', `HTTP Method '${request.method}' not allowed. Allowed are GET,POST`)
    }
    const job = this.#jobs.get(longId(id))
    if (job === undefined) return failed(404, 'NOT_FOUND', 'The requested resource does not exist')
    if (what === undefined) {
      if (request.method === 'GET') return this.#look(job)
      if (request.method === 'PATCH') return this.#close(job, request)
      if (request.method === 'DELETE') return this.#delete(job)
    }
    if (what === 'batches' && request.method === 'PUT') return upload(job, request)
    if (request.method === 'GET' && job.state !== 'Open') {
      if (what === 'successfulResults') return this.#csv(job, ['sf__Id', 'sf__Created'], (result) => result?.success === true)
      if (what === 'failedResults') return this.#csv(job, ['sf__Id', 'sf__Error'], (result) => result?.success === false)
      if (what === 'unprocessedrecords') return this.#csv(job, [], (result) => result === undefined)
    }
    return failed(405, 'METHOD_NOT_ALLOWED', `HTTP Method '${request.method}' not allowed.`)
  }

  #create(request: FakeRequest, version: string): FakeReply {
    const body = request.json() as Row
    const known = ['object', 'operation', 'externalIdFieldName', 'contentType', 'lineEnding', 'columnDelimiter', 'assignmentRuleId']
    const unknown = Object.keys(body).find((name) => !known.includes(name))
    if (unknown !== undefined) return failed(400, 'INVALID_FIELD', `Unrecognized field "${unknown}"`)
    const { operation, lineEnding = 'LF', columnDelimiter = 'COMMA', contentType = 'CSV', externalIdFieldName } = body
    const type = findObject(textOf(body['object']))
    if (type === undefined || !type.writable)
      return failed(400, 'INVALIDENTITY', `Entity '${textOf(body['object'])}' is not supported by the Bulk API.`)
    if (!OPERATIONS.includes(textOf(operation))) return failed(400, 'INVALIDJOB', 'InvalidJob : Operation is missing or not supported')
    if (operation === 'hardDelete')
      return failed(400, 'FEATURENOTENABLED', 'FeatureNotEnabled : hardDelete operation requires special user profile permission')
    if (contentType !== 'CSV' || !(textOf(columnDelimiter) in SEPARATORS) || !['LF', 'CRLF'].includes(textOf(lineEnding)))
      return failed(400, 'INVALIDJOB', 'InvalidJob : contentType, lineEnding or columnDelimiter is not supported')
    const by = findField(type, textOf(externalIdFieldName))
    if (operation === 'upsert' && !(by?.externalId === true || by?.idLookup === true))
      return failed(
        400,
        'INVALIDJOB',
        `InvalidJob : Field name provided, ${textOf(externalIdFieldName)} does not match an External ID, Salesforce Id, or indexed field for ${type.name}`,
      )
    const id = longId(`750gK${String(this.#jobs.size + 1).padStart(10, '0')}`)
    const job: Job = {
      id,
      operation: textOf(operation),
      type,
      externalIdFieldName: operation === 'upsert' ? by?.name : undefined,
      lineEnding: textOf(lineEnding),
      columnDelimiter: textOf(columnDelimiter),
      createdDate: new Date(this.#control.now()).toISOString().replace('Z', '+0000'),
      version,
      state: 'Open',
      file: undefined,
      errorMessage: undefined,
      looks: 0,
      header: [],
      rows: [],
    }
    this.#jobs.set(id, job)
    return reply(200, { ...info(job), contentUrl: `services/data/${version}/jobs/ingest/${id}/batches` })
  }

  #look(job: Job): FakeReply {
    if (job.state === 'InProgress' && job.looks++ > 0) job.state = 'JobComplete'
    if (job.state === 'UploadComplete') job.state = job.errorMessage === undefined ? 'InProgress' : 'Failed'
    if (job.state === 'InProgress' && job.looks === 0) job.looks = 1
    return reply(200, info(job))
  }

  #close(job: Job, request: FakeRequest): FakeReply {
    const { state, ...more } = request.json() as Row
    if (Object.keys(more).length > 0 || (state !== 'UploadComplete' && state !== 'Aborted'))
      return failed(400, 'INVALIDJOBSTATE', `InvalidJobState : Job state ${String(state)} is not allowed.`)
    if (state === 'Aborted' ? !['Open', 'UploadComplete', 'InProgress'].includes(job.state) : job.state !== 'Open')
      return failed(400, 'INVALIDJOBSTATE', `InvalidJobState : Changing state from ${job.state} to ${state} is not allowed.`)
    if (state === 'UploadComplete' && job.file === undefined)
      return failed(400, 'INVALIDJOBSTATE', 'InvalidJobState : No data was uploaded for this job.')
    job.state = state
    if (state === 'UploadComplete') this.#process(job)
    const { id, operation, type, createdDate, version } = job
    return reply(200, { id, operation, object: type.name, createdDate, state: job.state, apiVersion: Number(version.slice(1)) })
  }

  #delete(job: Job): FakeReply {
    if (job.state === 'Open' || job.state === 'InProgress')
      return failed(400, 'INVALIDJOBSTATE', `InvalidJobState : Job in state ${job.state} can't be deleted.`)
    this.#jobs.delete(job.id)
    return { status: 204 }
  }

  /** Salesforce does it in the background; here it is done at once, and only shown later. */
  #process(job: Job): void {
    const text = job.file ?? ''
    if (text.slice(0, text.indexOf('\n') + 1).endsWith('\r\n') !== (job.lineEnding === 'CRLF')) {
      job.errorMessage = `ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is ${job.lineEnding}`
      return
    }
    const [header = [], ...lines] = parseCsv(text, SEPARATORS[job.columnDelimiter] ?? ',')
    job.header = header
    const bad = header.find((name) => !knownColumn(job.type, name))
    const needsId = job.operation === 'update' || job.operation === 'delete'
    if (bad !== undefined) job.errorMessage = `InvalidBatch : Field name not found : ${bad}`
    // The words for it are not documented; a column that stands twice can't be told from itself.
    else if (new Set(header).size < header.length) job.errorMessage = 'InvalidBatch : A field stands twice in the header'
    else if (needsId && !header.includes('Id')) job.errorMessage = 'InvalidBatch : Id not specified'
    else if (job.operation === 'delete' && header.length > 1) job.errorMessage = 'InvalidBatch : Too many columns for a delete'
    const broken = lines.some((cells) => cells.length !== header.length)
    if (broken) job.errorMessage = 'ClientInputError : The number of columns in a row does not match the header'
    if (job.errorMessage !== undefined) {
      job.rows = lines.map((cells) => ({ cells, result: undefined }))
      return
    }
    const twice = duplicates(job, lines)
    job.rows = lines.map((cells) => ({ cells, result: this.#apply(job, cells, twice) }))
  }

  #apply(job: Job, cells: readonly string[], twice: ReadonlySet<string>): Result {
    const row: Record<string, unknown> = {}
    for (const [column, name] of job.header.entries()) {
      const cell = cells[column] ?? ''
      // Prepare CSV files: an empty cell leaves the field as it is, #N/A clears it.
      if (cell === '') continue
      const field = findField(job.type, name)
      const wrong = field && cell !== '#N/A' ? unreadableCell(field, cell, column) : undefined
      if (wrong !== undefined) return refused(wrong)
      const value = cell === '#N/A' ? null : cell
      const [relationship = '', inner] = name.split('.')
      if (inner === undefined) row[name] = value
      else row[relationship] = value === null ? null : { [inner]: value }
    }
    const id = textOf(row['Id'])
    if (job.operation === 'insert') return this.#store.create(job.type, row)
    if (job.operation === 'delete') return this.#store.delete(job.type, id)
    if (job.operation === 'update') {
      if (id === '') return refused(problem('MISSING_ARGUMENT', 'Id not specified in an update call', []))
      return this.#store.update(job.type, id, row)
    }
    const by = findField(job.type, job.externalIdFieldName ?? '')
    if (by === undefined) throw new Error('an upsert without its field')
    const value = textOf(row[by.name])
    if (twice.has(value.toLowerCase())) return refused(problem('DUPLICATE_VALUE', `Duplicate external id specified: ${value}`, [by.name]))
    return this.#store.upsert(job.type, by, row)
  }

  /** Results: what Salesforce adds, then the columns that were uploaded. The order of rows is not promised. */
  #csv(job: Job, added: readonly string[], belongs: (result: Result | undefined) => boolean): FakeReply {
    const done = job.state === 'JobComplete' || job.state === 'Failed' || job.state === 'Aborted'
    const rows = this.#control.anyOrder(job.rows.filter((row) => done && belongs(row.result)))
    const lines = rows.map(({ cells, result }) => [...(added.length > 0 ? said(job, result) : []), ...cells].map(quoted).join(','))
    const header = [...added.map(quoted), ...job.header].join(',')
    return { status: 200, headers: { 'content-type': 'text/csv' }, text: `${[header, ...lines].join('\n')}\n` }
  }
}

/** The first two cells of a result: the record's id, and whether it was created or what is wrong. */
function said(job: Job, result: Result | undefined): [string, string] {
  const [error] = result?.success === false ? result.errors : []
  if (error !== undefined) return ['', `${error.statusCode}:${error.message}:${error.fields.map((name) => `${name} `).join('')}--`]
  return [result?.id ?? '', String(result?.created ?? job.operation === 'insert')]
}

const refused = (error: Problem): Result => ({ success: false, errors: [error] })

function upload(job: Job, request: FakeRequest): FakeReply {
  if (!/^text\/csv/i.test(request.headers['content-type'] ?? ''))
    return failed(415, 'UNSUPPORTED_MEDIA_TYPE', 'The content type of job data is text/csv.')
  if (job.state !== 'Open' || job.file !== undefined)
    return failed(
      400,
      'INVALIDJOBSTATE',
      `InvalidJobState : Found multiple contents for job: <${job.id}>, please 'Close' / 'Abort' / 'Delete' the current Job then create a new Job.`,
    )
  if (Buffer.byteLength(request.text) > MAX_FILE) return failed(413, 'REQUEST_LIMIT_EXCEEDED', 'The content is larger than allowed.')
  job.file = request.text
  return { status: 201 }
}

function knownColumn(type: ObjectType, name: string): boolean {
  const [first = '', inner] = name.replace(/^\w+:/, '').split('.')
  if (inner === undefined) return findField(type, first) !== undefined
  const link = type.fields.find((field) => field.relationshipName?.toLowerCase() === first.toLowerCase())
  const target = findObject(link?.referenceTo ?? '')
  return target !== undefined && findField(target, inner) !== undefined
}

function duplicates(job: Job, lines: readonly (readonly string[])[]): Set<string> {
  const column = job.header.indexOf(job.externalIdFieldName ?? '')
  const seen = new Set<string>()
  const twice = new Set<string>()
  for (const cells of lines) {
    const value = (cells[column] ?? '').toLowerCase()
    if (value !== '' && seen.has(value)) twice.add(value)
    seen.add(value)
  }
  return twice
}

function info(job: Job): Record<string, unknown> {
  const { id, operation, type, createdDate, state, version, lineEnding, columnDelimiter, externalIdFieldName, errorMessage } = job
  const known = { id, operation, object: type.name, createdDate, systemModstamp: createdDate, state, concurrencyMode: 'Parallel' }
  const done = state === 'JobComplete' || state === 'Failed'
  const count = (success: boolean): number => job.rows.filter((row) => row.result?.success === success).length
  return {
    ...known,
    ...(externalIdFieldName === undefined ? {} : { externalIdFieldName }),
    contentType: 'CSV',
    apiVersion: Number(version.slice(1)),
    ...(state === 'Open' ? {} : { jobType: 'V2Ingest' }),
    lineEnding,
    columnDelimiter,
    ...(done ? { numberRecordsProcessed: count(true) + count(false), numberRecordsFailed: count(false), retries: 0 } : {}),
    ...(state === 'Failed' ? { errorMessage } : {}),
  }
}

const quoted = (cell: string): string => `"${cell.replaceAll('"', '""')}"`

/** RFC 4180. */
function parseCsv(text: string, separator: string): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  let at = 0
  while (at < text.length) {
    let cell = ''
    if (text[at] === '"') {
      for (at++; at < text.length; at++) {
        if (text[at] !== '"') cell += text[at]
        else if (text[at + 1] === '"') cell += text[at++]
        else break
      }
      at++
    } else while (at < text.length && text[at] !== separator && text[at] !== '\n') cell += text[at++]
    row.push(cell.replace(/\r$/, ''))
    if (text[at] === '\r') at++
    if (text[at] !== separator) {
      rows.push(row)
      row = []
    }
    at++
  }
  return rows
}
