/** One call of a connector's `write`: collects an outcome per change by key, and lets nothing a connector says count twice or for another row. */
import { type JobToken, NotSent, type Outcome, RateLimited, Refused, UnknownOutcome } from '../connector.ts'
import { AuthError } from '../errors.ts'
import type { Cause, Task } from './batch.ts'
import type { Final } from './tally.ts'

/** What one request came to. */
export interface Answer {
  /** Index i answers task i; undefined where nothing was said. */
  readonly outcomes: (Outcome | undefined)[]
  /** What ended it early; null when it came to its end. */
  failure: { readonly thrown: unknown } | null
  /** The id of the vendor's job, once it is journalled: from then on nothing can be taken for not applied. */
  token: string | null
  /** Outcomes that named no row of this request, or were none. */
  foreign: number
  /** Nobody waited for the end: the run had to stop. */
  abandoned: boolean
}

export const createAnswer = (tasks: readonly Task[]): Answer => ({
  outcomes: Array.from<Outcome | undefined>({ length: tasks.length }),
  failure: null,
  token: null,
  foreign: 0,
  abandoned: false,
})

const RESULTS: ReadonlySet<unknown> = new Set<Outcome['result']>(['ok', 'accepted', 'rejected', 'absent', 'exists', 'retry', 'unknown'])

/**
 * Reads what `open` yields into `answer`. Never rejects. `onToken` makes a job's id durable before the next item is asked for.
 * `abandons` takes a function that ends the waiting when a connector does not react to its signal.
 */
export async function collect(
  answer: Answer,
  tasks: readonly Task[],
  open: () => AsyncIterable<Outcome | JobToken>,
  onToken: (token: string) => Promise<void>,
  abandons: Set<() => void>,
): Promise<void> {
  const find = finder(tasks)
  let given = true
  async function read(): Promise<void> {
    try {
      for await (const item of open()) {
        // Whatever comes after the waiting ended is about rows that are already recorded as unknown.
        if (!given) return
        if (typeof item === 'object' && item !== null && 'token' in item) {
          await onToken(item.token)
          answer.token = item.token
        } else take(answer, find(item?.key), item)
      }
    } catch (thrown) {
      if (given) answer.failure = { thrown }
    }
  }
  await new Promise<void>((resolve) => {
    const abandon = (): void => {
      answer.abandoned = true
      resolve()
    }
    abandons.add(abandon)
    void read().finally(() => {
      abandons.delete(abandon)
      resolve()
    })
  })
  given = false
}

/** Index of the task with a key. Outcomes mostly come in order, so the next row is looked at before a map is built. */
function finder(tasks: readonly Task[]): (key: string) => number | undefined {
  let next = 0
  let byKey: Map<string, number> | null = null
  return (key) => {
    if (tasks[next]?.row.key === key) return next++
    byKey ??= new Map(tasks.map((task, i) => [task.row.key, i]))
    return byKey.get(key)
  }
}

function take(answer: Answer, i: number | undefined, outcome: Outcome): void {
  if (i === undefined) return void answer.foreign++
  const before = answer.outcomes[i]
  if (!RESULTS.has(outcome.result)) {
    answer.outcomes[i] = doubtful(outcome.key, 'invalid_outcome', 'The connector yielded a result that is not part of its contract.')
  } else if (before === undefined || (before.result === 'unknown' && !OWN_CODES.has(before.code))) answer.outcomes[i] = outcome
  else if (before.result !== outcome.result || remoteIdOf(before) !== remoteIdOf(outcome)) {
    answer.outcomes[i] = doubtful(outcome.key, 'contradiction', 'The destination gave two different results for this row.')
  }
}

/** Of what the engine calls unknown; a later word does not mend it. */
const OWN_CODES: ReadonlySet<unknown> = new Set(['contradiction', 'invalid_outcome'])
const doubtful = (key: string, code: string, message: string): Outcome => ({ key, result: 'unknown', code, message })
const remoteIdOf = (outcome: Outcome): string | undefined => ('remoteId' in outcome ? outcome.remoteId : undefined)

/** The run stopped before the destination answered. */
export const ABORTED: Cause = { code: 'interrupted', message: 'The run was interrupted before the destination answered.' }

export type Failure =
  | { readonly kind: 'auth'; readonly cause: Cause; readonly error: AuthError }
  | { readonly kind: 'limited'; readonly cause: Cause; readonly afterMs: number | undefined }
  | { readonly kind: 'not_sent'; readonly cause: Cause }
  | { readonly kind: 'unknown'; readonly cause: Cause; readonly afterMs: number | undefined }
  | { readonly kind: 'refused'; readonly cause: Cause; readonly status: number }
  | { readonly kind: 'bug'; readonly cause: Cause; readonly error: unknown }

/** By name too: a user's connector may have been loaded with its own copy of the classes. */
function is<E extends Error>(thrown: unknown, kind: abstract new (...args: never[]) => E): thrown is E {
  return thrown instanceof kind || (thrown instanceof Error && thrown.name === kind.name)
}

/** A wait that is no number, made of a header that was not there, would never end. */
const waitOf = ({ afterMs }: { afterMs: number | undefined }): number | undefined =>
  typeof afterMs === 'number' && !Number.isNaN(afterMs) ? afterMs : undefined

/** Which of the contract's errors was thrown. */
export function failureOf(thrown: unknown): Failure {
  if (is(thrown, AuthError)) {
    const { code, message } = thrown
    const error = thrown instanceof AuthError ? thrown : new AuthError(code, message, { cause: thrown })
    return { kind: 'auth', cause: { code, message }, error }
  }
  if (is(thrown, RateLimited)) return { kind: 'limited', cause: { code: 'rate_limited', message: thrown.message }, afterMs: waitOf(thrown) }
  if (is(thrown, NotSent)) return { kind: 'not_sent', cause: { code: thrown.code, message: thrown.message } }
  if (is(thrown, UnknownOutcome)) return { kind: 'unknown', cause: { code: thrown.code, message: thrown.message }, afterMs: waitOf(thrown) }
  if (is(thrown, Refused)) return { kind: 'refused', cause: { code: thrown.code, message: thrown.message }, status: thrown.status }
  if (thrown instanceof Error && thrown.name === 'AbortError') return { kind: 'unknown', cause: ABORTED, afterMs: undefined }
  return { kind: 'bug', cause: { code: 'connector_error', message: 'The connector failed while it wrote this row.' }, error: thrown }
}

/** An outcome as it counts: what a service can't have meant by it is unknown. */
export function finalOf(outcome: Outcome, task: Task, removes: boolean, onlyAccepts: boolean): Final {
  const { op } = task.row
  switch (outcome.result) {
    case 'ok':
    case 'accepted':
      return { result: onlyAccepts ? 'accepted' : outcome.result, remoteId: outcome.remoteId ?? undefined }
    case 'absent':
      // What is to be removed and is not there is removed.
      if (removes) return { result: 'ok' }
      return op === 'update' ? { result: 'absent' } : misplaced(outcome.result, op)
    case 'exists':
      return op === 'insert' ? { result: 'exists' } : misplaced(outcome.result, op)
    case 'rejected':
      return { result: 'rejected', ...causeOf(outcome), ...(typeof outcome.field === 'string' ? { field: outcome.field } : {}) }
    case 'retry':
    case 'unknown':
      break
  }
  return { result: outcome.result, ...causeOf(outcome) }
}

/** Connectors written in JavaScript may leave out what the types ask for. */
const causeOf = ({ code, message }: { code: unknown; message: unknown }): Cause => ({
  code: textOf(code) || 'none',
  message: textOf(message),
})
const textOf = (value: unknown): string => (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''))

const misplaced = (result: string, op: string): Final => ({
  result: 'unknown',
  code: 'invalid_outcome',
  message: `The connector answered "${result}" to the operation ${op}.`,
})
