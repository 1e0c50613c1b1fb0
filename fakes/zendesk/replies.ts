/** The error bodies of the Zendesk Support API, one shape per kind of refusal. */
import type { FakeReply } from '../../src/testing/fake.ts'

export type Json = Record<string, unknown>

/** Problems of a record: attribute -> what is wrong with it. */
export type Details = Record<string, { description: string; error: string }[]>

/** Thrown wherever a request is refused; the router answers with it. */
export class Refusal extends Error {
  readonly reply: FakeReply
  constructor(reply: FakeReply) {
    super('refused')
    this.reply = reply
  }
}

export const notFound = (): FakeReply => ({ status: 404, json: { error: 'RecordNotFound', description: 'Not found' } })

export const invalidEndpoint = (): FakeReply => ({ status: 404, json: { error: 'InvalidEndpoint', description: 'Not found' } })

export const recordInvalid = (details: Details): FakeReply => ({
  status: 422,
  json: { error: 'RecordInvalid', description: 'Record validation errors', details },
})

/** A parameter that has the wrong type, or is missing: the whole request is refused. */
export const invalidAttribute = (name: string, problem: string, path: string): FakeReply => ({
  status: 400,
  json: {
    error: {
      title: 'Invalid attribute',
      message: `You passed an invalid value for the ${name} attribute. Invalid parameter: ${problem} from api/v2/${path}`,
    },
  },
})

export const forbidden = (): FakeReply => ({
  status: 403,
  json: {
    error: {
      title: 'Forbidden',
      message: 'You do not have access to this page. Please contact the account owner of this help desk for further help.',
    },
  },
})

export const missingScopes = (scopes: readonly string[]): FakeReply => ({
  status: 403,
  json: { error: 'Forbidden', description: `You are missing the following required scopes: ${scopes.join(', ')}` },
})

export const unauthorised = (): FakeReply => ({ status: 401, json: { error: "Couldn't authenticate you" } })

/** At most 30 bulk jobs may be queued or running ("Rate limits", Job limit). The name of the error is not in any document. */
export const tooManyJobs = (): FakeReply => ({
  status: 429,
  headers: { 'retry-after': '5' },
  json: { error: 'TooManyJobs', description: 'Too many jobs are currently queued or running. Try again later.' },
})

/** What a job's result or a log line says of a refused record. */
export function describe(details: Details): string {
  return Object.entries(details)
    .flatMap(([, problems]) => problems.map((problem) => problem.description))
    .join(', ')
}
