/** How HubSpot says no: its error bodies, and the refusal that carries one out of a handler. */
import { randomUUID } from 'node:crypto'
import type { FakeReply, FakeRequest } from '../../src/testing/fake.ts'

/** A whole request refused. */
export class Refusal extends Error {
  readonly reply: FakeReply
  constructor(reply: FakeReply) {
    super(`refused with ${reply.status}`)
    this.reply = reply
  }
}

type Context = Readonly<Record<string, readonly string[]>>

/** An entry of `errors` in a 207. */
export interface RowError {
  readonly status: 'error'
  readonly category: string
  readonly message: string
  readonly context: Context
}

export function errorBody(message: string, more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { status: 'error', message, correlationId: randomUUID(), ...more }
}

export function refuse(status: number, message: string, more?: Readonly<Record<string, unknown>>): never {
  throw new Refusal({ status, json: errorBody(message, more) })
}

export function invalid(message: string, more: Readonly<Record<string, unknown>> = {}): never {
  refuse(400, message, { ...more, category: 'VALIDATION_ERROR' })
}

export function notFound(message = 'resource not found'): never {
  refuse(404, message, { category: 'OBJECT_NOT_FOUND' })
}

type Json = Record<string, unknown>

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The body, which must be JSON and say so. */
export function bodyOf(request: FakeRequest): unknown {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) refuse(415, `HTTP 415 Unsupported Media Type`)
  if (request.text.trim() === '') invalid('Invalid JSON input: a request body was expected, but none found')
  try {
    return request.json()
  } catch {
    return refuse(400, 'Invalid input JSON on line 1, column 1: Unexpected character')
  }
}

/** An object with no members but these. HubSpot's tolerance of unknown ones is documented nowhere, so none are taken. */
export function objectOf(value: unknown, members: readonly string[]): Json {
  if (!isObject(value)) return refuse(400, 'Invalid input JSON on line 1, column 1: Cannot deserialize value from this token')
  for (const name of Object.keys(value))
    if (!members.includes(name)) refuse(400, `Invalid input JSON on line 1, column 1: Unrecognized field "${name}"`)
  return value
}

export function textsOf(value: unknown, what: string): string[] {
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string'))
    return refuse(400, `Invalid input JSON on line 1, column 1: ${what} must be a list of strings`)
  return value
}

/** Inputs of a batch: 1 to `most` objects. HubSpot's words for a batch that is too large are not documented. */
export function inputsOf(request: FakeRequest, most: number, members: readonly string[], beside: readonly string[] = []): Json[] {
  const { inputs } = objectOf(bodyOf(request), ['inputs', ...beside])
  if (!Array.isArray(inputs)) return invalid('Some required fields were not set: [inputs]')
  if (inputs.length === 0) invalid('inputs may not be empty')
  if (inputs.length > most) invalid(`The number of inputs (${inputs.length}) is more than the ${most} that one batch may have`)
  return inputs.map((input) => objectOf(input, members))
}

/** Ids that occur twice refuse the batch, with or without trace ids. */
export function refuseDuplicates(ids: readonly string[]): void {
  const twice = [...new Set(ids.filter((id, i) => ids.indexOf(id) !== i))]
  if (twice.length > 0)
    invalid(`Duplicate IDs found in batch input: [${twice.join(', ')}]. IDs must be unique`, { context: { ids: twice } })
}

/** The reply of a batch: 207 when something of it failed. `status` is that of a full success. */
export function batchReply(status: number, results: readonly unknown[], errors: readonly RowError[], now: number): FakeReply {
  const at = new Date(now).toISOString()
  const json = { status: 'COMPLETE', results, startedAt: at, completedAt: at }
  return errors.length === 0 ? { status, json } : { status: 207, json: { ...json, numErrors: errors.length, errors } }
}
