/** Looks up records of a destination by what they are found by: each once a run, at most 100 in one call. */
import type { Destination } from './connector.ts'
import type { Cause } from './deliver/batch.ts'
import { failureOf } from './deliver/send.ts'
import { encodeJson, type Fields } from './json.ts'

/** Matches of one call of `lookup`, and answers that are kept. */
const MATCHES_PER_CALL = 100
const MAX_ANSWERS = 100_000

export interface Answers {
  /** By `answerKey`; null: there is no such record. */
  readonly found: ReadonlyMap<string, string | null>
  /** Why what is not in `found` was not answered. */
  readonly failure: (Cause & { readonly afterMs: number | undefined }) | null
}

export interface Resolver {
  /**
   * Looks up what it does not know yet: each match once, in calls of at most 100. No answer and no connection are an
   * answer (`failure`); whatever else `lookup` throws passes.
   */
  resolve(wanted: ReadonlyMap<string, Wanted>): Promise<Answers>
  learn(key: string, id: string | null): void
}

/** A record to be looked up. */
export interface Wanted {
  readonly object: string
  readonly match: Fields
}

export const answerKey = ({ object, match }: Wanted): string => `${object}\0${encodeJson(match)}`

/** Half a match finds nothing, and nobody is asked for it. */
export const isWhole = (match: Fields): boolean => Object.values(match).every((value) => value !== null)

/** A resolver that remembers what it was told, misses too, while it lives: one run. */
export function createResolver(lookup: NonNullable<Destination['lookup']>): Resolver {
  // Promises, so that batches in flight together don't ask the same.
  const answers = new Map<string, Promise<string | null>>()

  function keep(key: string, answer: Promise<string | null>): void {
    answers.set(key, answer)
    answer.catch(() => answers.delete(key))
    const [oldest] = answers.keys()
    if (answers.size > MAX_ANSWERS && oldest !== undefined) answers.delete(oldest)
  }

  async function ask(object: string, matches: readonly Fields[]): Promise<readonly (string | null)[]> {
    const ids = await lookup(object, matches)
    if (ids.length !== matches.length) throw new TypeError(`lookup was asked for ${matches.length} records and answered ${ids.length}`)
    // An empty id is none.
    return ids.map((id) => id || null)
  }

  return {
    learn: (key, id) => keep(key, Promise.resolve(id)),
    async resolve(wanted) {
      const found = new Map<string, string | null>()
      const known: [string, Promise<string | null>][] = []
      const fresh = new Map<string, [string, Fields][]>()
      for (const [key, { object, match }] of wanted) {
        const answer = answers.get(key)
        const ofObject = fresh.get(object) ?? []
        if (answer) known.push([key, answer])
        else fresh.set(object, ofObject).get(object)?.push([key, match])
      }
      let failure: Answers['failure'] = null
      const take = async (answer: Promise<void>): Promise<void> => {
        try {
          await answer
        } catch (thrown) {
          failure ??= noAnswer(thrown)
        }
      }
      for (const part of callsOf(fresh)) {
        const call = ask(
          part.object,
          part.entries.map(([, match]) => match),
        )
        part.entries.forEach(([key], i) =>
          keep(
            key,
            call.then((ids) => ids[i] ?? null),
          ),
        )
        await take(call.then((ids) => part.entries.forEach(([key], i) => found.set(key, ids[i] ?? null))))
        // A service that does not answer is not asked for the rest.
        if (failure !== null) break
      }
      for (const [key, answer] of known) await take(answer.then((id) => void found.set(key, id)))
      return { found, failure }
    },
  }
}

/** What one call asks for. */
function* callsOf(
  byObject: ReadonlyMap<string, readonly [string, Fields][]>,
): Iterable<{ object: string; entries: readonly [string, Fields][] }> {
  for (const [object, entries] of byObject)
    for (let from = 0; from < entries.length; from += MATCHES_PER_CALL)
      yield { object, entries: entries.slice(from, from + MATCHES_PER_CALL) }
}

/** Of what stands for no answer; anything else passes. */
function noAnswer(thrown: unknown): NonNullable<Answers['failure']> {
  const failure = failureOf(thrown)
  if (failure.kind !== 'not_sent' && failure.kind !== 'unknown') throw thrown
  return { ...failure.cause, afterMs: 'afterMs' in failure ? failure.afterMs : undefined }
}
