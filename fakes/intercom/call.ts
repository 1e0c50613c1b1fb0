/** What every endpoint needs: the request, its body, and the question whether its row is to be refused. */
import type { FakeControl, FakeReply, FakeRequest } from '../../src/testing/fake.ts'
import { invalid, type Json, missing, Refusal, refused } from './replies.ts'
import type { Workspace } from './workspace.ts'

/** One request and what it may touch. */
export interface Call {
  readonly control: FakeControl
  readonly workspace: Workspace
  readonly request: FakeRequest
}

export const unknownPath = (): FakeReply => refused(404, 'not_found', 'The requested resource was not found')

/** The body as an object. Throws Refusal 400. */
export function bodyOf(request: FakeRequest): Json {
  let parsed: unknown
  try {
    parsed = request.json()
  } catch {
    throw new Refusal(refused(400, 'bad_request', 'The request body is not valid JSON'))
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw missing('The request body must be an object')
  return parsed as Json
}

/** One row of a write: refused when somebody asked for it. */
export function admit({ control }: Call): void {
  if (control.refusesRow()) throw invalid('The record could not be saved')
}
