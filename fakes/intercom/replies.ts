/** The error bodies of the Intercom API: always an `error.list`. */
import type { FakeReply } from '../../src/testing/fake.ts'

export type Json = Record<string, unknown>

/** Thrown wherever a request is refused; the router answers with it. */
export class Refusal extends Error {
  readonly reply: FakeReply
  constructor(reply: FakeReply) {
    super('refused')
    this.reply = reply
  }
}

let requests = 0

export function refused(status: number, code: string, message: string, headers: Record<string, string> = {}): FakeReply {
  const request_id = `00000000-0000-4000-8000-${String(++requests).padStart(12, '0')}`
  return { status, headers, json: { type: 'error.list', request_id, errors: [{ code, message }] } }
}

/** "bad 'colour' parameter": a name that the endpoint does not take. */
export const badParameter = (name: string): Refusal => new Refusal(refused(400, 'bad_request', `bad '${name}' parameter`))

export const invalid = (message: string): Refusal => new Refusal(refused(400, 'parameter_invalid', message))

export const missing = (message: string): Refusal => new Refusal(refused(400, 'parameter_not_found', message))

export const noContact = (): Refusal => new Refusal(refused(404, 'not_found', 'User Not Found'))

export const noCompany = (): Refusal => new Refusal(refused(404, 'company_not_found', 'Company Not Found'))

export const noResource = (): Refusal => new Refusal(refused(404, 'not_found', 'Resource Not Found'))
