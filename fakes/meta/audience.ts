/** Members of a custom audience: what `/users` takes, counts and refuses. */
import type { FakeControl, FakeReply } from '../../src/testing/fake.ts'
import { invalidParameter } from './errors.ts'

/** Per request (Marketing API, "Custom Audiences", parameter session). */
const MAX_ROWS = 10_000
const HASHED = ['EMAIL', 'PHONE', 'GEN', 'DOBY', 'DOBM', 'DOBD', 'LN', 'FN', 'FI', 'CT', 'ST', 'ZIP', 'COUNTRY']
const PLAIN = ['EXTERN_ID', 'MADID', 'LOOKALIKE_VALUE', 'APPUID', 'PAGEUID', 'DATA_PROCESSING_OPTIONS']
/** Schemas of one column by their old names. */
const SINGLE: Readonly<Record<string, string>> = { EMAIL_SHA256: 'EMAIL', PHONE_SHA256: 'PHONE', MOBILE_ADVERTISER_ID: 'MADID' }

export interface Audience {
  readonly id: string
  readonly account_id: string
  readonly name: string
  readonly description?: string
  readonly subtype: string
  readonly customer_file_source: string
  readonly operation_status: { readonly code: number; readonly description: string }
  readonly time_created: number
}

interface Session {
  readonly session_id: string
  num_received: number
  num_invalid_entries: number
  stage: string
}

/** Of one audience: its members by what identifies them, and the sessions that brought them. */
export interface Contents {
  readonly members: Map<string, Record<string, unknown>>
  readonly sessions: Map<string, Session>
}

type Row = readonly unknown[]

/** Adds or removes the rows of one request; counts what is no hash and takes the rest. */
export function changeMembers(
  control: FakeControl,
  audience: Audience,
  contents: Contents,
  params: Record<string, unknown>,
  remove: boolean,
): FakeReply {
  for (const name of Object.keys(params))
    if (!['payload', 'session', 'namespace', 'access_token', 'appsecret_proof'].includes(name))
      return invalidParameter(`Param ${name} is not a known parameter of this edge`)
  if (audience.operation_status.code === 471)
    return invalidParameter('blocked', {
      subcode: 1713230,
      title: 'Audience Upload Blocked',
      userMessage: 'Before updating user memberships, you must resolve integrity restrictions on this Data File Custom Audience.',
    })
  const read = readPayload(params['payload'])
  if ('status' in read) return read
  const session = readSession(params['session'], contents.sessions.size)
  if ('status' in session) return session
  let invalid = 0
  const samples: Record<string, string> = {}
  for (const row of read.rows) {
    const problem = control.refusesRow() ? 'Invalid entry' : problemOf(row, read.schema)
    if (problem !== null) {
      invalid++
      if (Object.keys(samples).length < 5) samples[JSON.stringify(row)] = problem
      continue
    }
    for (const member of identities(row, read.schema)) {
      if (remove) contents.members.delete(member.id)
      else contents.members.set(member.id, { audience_id: audience.id, ...member.fields })
    }
  }
  const known = contents.sessions.get(session.id) ?? { session_id: session.id, num_received: 0, num_invalid_entries: 0, stage: 'uploading' }
  known.num_received += read.rows.length
  known.num_invalid_entries += invalid
  known.stage = session.last ? 'postprocess_done' : 'uploading'
  contents.sessions.set(session.id, known)
  return {
    status: 200,
    json: {
      audience_id: audience.id,
      session_id: session.id,
      num_received: read.rows.length,
      num_invalid_entries: invalid,
      invalid_entry_samples: samples,
    },
  }
}

function readPayload(given: unknown): { schema: readonly string[]; rows: readonly Row[] } | FakeReply {
  if (given === undefined) return invalidParameter('The parameter payload is required')
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return invalidParameter('Param payload must be a JSON object.')
  const payload = given as Record<string, unknown>
  for (const name of Object.keys(payload))
    if (!['schema', 'data', 'is_raw', 'data_source', 'app_ids', 'page_ids', 'ig_account_ids'].includes(name))
      return invalidParameter(`Unexpected key "${name}" on param "payload"`)
  const single = typeof payload['schema'] === 'string'
  const schema = single ? [payload['schema']] : payload['schema']
  if (!Array.isArray(schema) || schema.length === 0) return invalidParameter('Param payload[schema] is missing or is of an unexpected type')
  const names = schema.map((name) => (single ? (SINGLE[String(name)] ?? String(name)) : String(name)))
  const unknown = names.find((name) => !HASHED.includes(name) && !PLAIN.includes(name))
  if (unknown !== undefined) return invalidParameter(`Param payload[schema] must be one of the known keys, got ${unknown}`)
  if (new Set(names).size !== names.length) return invalidParameter('Param payload[schema] names a key twice')
  const data = payload['data']
  if (!Array.isArray(data) || data.length === 0) return invalidParameter('Param payload[data] must be a non-empty array')
  if (data.length > MAX_ROWS) return invalidParameter(`Param payload[data] must have at most ${MAX_ROWS} elements`)
  const rows = (data as unknown[]).map((row) => (Array.isArray(row) ? (row as Row) : single ? [row] : null))
  const bad = rows.findIndex((row) => row === null || row.length !== names.length)
  if (bad >= 0) return invalidParameter(`Param payload[data][${bad}] must be an array with as many elements as the schema`)
  return { schema: names, rows: rows as Row[] }
}

function readSession(given: unknown, count: number): { id: string; last: boolean } | FakeReply {
  // The guide calls it required, the reference optional; the service makes one up.
  if (given === undefined) return { id: String(9_000_000 + count), last: true }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return invalidParameter('Param session must be a JSON object.')
  const session = given as Record<string, unknown>
  for (const name of Object.keys(session))
    if (!['session_id', 'batch_seq', 'last_batch_flag', 'estimated_num_total'].includes(name))
      return invalidParameter(`Unexpected key "${name}" on param "session"`)
  const id = String(session['session_id'])
  if (!/^[1-9]\d{0,18}$/.test(id)) return invalidParameter('Param session[session_id] must be a 64-bit integer')
  if (!Number.isInteger(session['batch_seq']) || Number(session['batch_seq']) < 1)
    return invalidParameter('Param session[batch_seq] must be a number greater than or equal to 1')
  if (session['last_batch_flag'] !== undefined && typeof session['last_batch_flag'] !== 'boolean')
    return invalidParameter('Param session[last_batch_flag] must be a boolean')
  return { id, last: session['last_batch_flag'] === true }
}

function problemOf(row: Row, schema: readonly string[]): string | null {
  let given = 0
  for (const [index, name] of schema.entries()) {
    const value = row[index]
    if (name === 'DATA_PROCESSING_OPTIONS') {
      if (!Array.isArray(value) || value.some((one) => one !== 'LDU')) return 'Invalid data processing options'
      continue
    }
    if (value === '') continue
    if (name === 'LOOKALIKE_VALUE') {
      if (typeof value !== 'number' || value < 0) return 'Invalid value'
      continue
    }
    if (typeof value !== 'string') return 'Invalid entry'
    if (HASHED.includes(name) && !/^[0-9a-f]{64}$/.test(value)) return 'Invalid hash'
    if (name === 'MADID' && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value)) return 'Invalid mobile advertiser id'
    given++
  }
  return given === 0 ? 'Empty row' : null
}

/** A row finds a person by each of its strong identifiers; names and places only help, so without a strong one they count together. */
function identities(row: Row, schema: readonly string[]): { id: string; fields: Record<string, unknown> }[] {
  const pairs = schema.map((name, index) => [name, row[index]] as const).filter(([, value]) => value !== '' && !Array.isArray(value))
  const strong = pairs.filter(([name]) => ['EMAIL', 'PHONE', 'EXTERN_ID', 'MADID', 'APPUID', 'PAGEUID'].includes(name))
  if (strong.length > 0) return strong.map(([name, value]) => ({ id: `${name} ${String(value)}`, fields: { [name]: value } }))
  const weak = pairs.filter(([name]) => name !== 'LOOKALIKE_VALUE').sort(([a], [b]) => (a < b ? -1 : 1))
  return [{ id: JSON.stringify(weak), fields: Object.fromEntries(weak) }]
}
