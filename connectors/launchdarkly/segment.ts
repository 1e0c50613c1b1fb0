/** The members of one segment: standard ones are changed by semantic patches, big ones by lists of keys. */
import {
  type Batch,
  CdpError,
  encodeJson,
  type Fields,
  type Http,
  type Outcome,
  Refused,
  UnknownOutcome,
  type Value,
} from '../../src/index.ts'

export interface Options {
  readonly segment: string
  readonly context_kind: string
}

export interface Place extends Options {
  readonly project: string
  readonly environment: string
}

export interface Segment {
  /** The segment as LaunchDarkly shows it. Throws CDP3200 where it is missing, or of the other kind than the object says. */
  find(object: string): Promise<Shown>
  write(batch: Batch): AsyncIterable<Outcome>
  read(object: string, matches: readonly Fields[]): Promise<(Fields | null)[]>
}

/** UserSegment of the REST API, as far as it matters here. */
interface Shown {
  readonly unbounded?: unknown
  readonly unboundedContextKind?: unknown
  readonly included?: unknown
  readonly includedContexts?: unknown
}

const SEMANTIC_PATCH = { 'content-type': 'application/json; domain-model=launchdarkly.semanticpatch' }

export function segmentOf(http: Http, { project, environment, segment, context_kind: kind }: Place): Segment {
  const path = `/api/v2/segments/${[project, environment, segment].map(encodeURIComponent).join('/')}`

  const missing = (): CdpError =>
    new CdpError('CDP3200', `LaunchDarkly has no segment "${segment}" in ${project} / ${environment}.`, {
      hint: 'Correct options.segment (the key, not the name), or create the segment there.',
    })

  async function find(object: string): Promise<Shown> {
    const reply = await http.request({ method: 'GET', path, accept: [404] })
    if (reply.status === 404) throw missing()
    const shown = record(reply.json()) as Shown
    const big = shown.unbounded === true
    if (big !== (object === 'big-segment'))
      throw new CdpError('CDP3200', `The segment "${segment}" is a ${big ? 'big' : 'standard'} segment.`, {
        hint: `Write object: ${big ? 'big-segment' : 'segment'}, or name another segment.`,
      })
    if (big && shown.unboundedContextKind !== undefined && shown.unboundedContextKind !== kind)
      throw new CdpError('CDP3200', `The big segment "${segment}" holds contexts of another kind than "${kind}".`, {
        hint: `Set options.context_kind to ${JSON.stringify(shown.unboundedContextKind)}.`,
      })
    return shown
  }

  /** Null: somebody else changed the segment at the same moment. */
  async function patch({ op, sync, run }: Batch, values: readonly string[]): Promise<true | null> {
    const instruction = { kind: op === 'delete' ? 'removeIncludedTargets' : 'addIncludedTargets', contextKind: kind, values }
    const json = { environmentKey: environment, comment: `cdp-sync: ${sync}, run ${run}`, instructions: [instruction] }
    const reply = await http.request({ method: 'PATCH', path, headers: SEMANTIC_PATCH, json, accept: [404, 409] })
    if (reply.status === 404) throw missing()
    const body = record(reply.json())
    if (reply.status === 409) {
      if (body['code'] === 'optimistic_locking_error') return null
      throw new Refused(textOf(body['code']) ?? 'http_409', textOf(body['message']) ?? 'LaunchDarkly answered 409.', 409)
    }
    if (body['key'] !== segment) throw new UnknownOutcome('no_confirmation', 'LaunchDarkly answered 2xx, but not with the changed segment.')
    return true
  }

  async function change({ op }: Batch, keys: readonly string[]): Promise<true> {
    const json = { included: { [op === 'delete' ? 'remove' : 'add']: keys } }
    const { status } = await http.request({ method: 'POST', path: `${path}/contexts`, json, accept: [404] })
    if (status === 404) throw missing()
    if (status !== 204) throw new UnknownOutcome('no_confirmation', `LaunchDarkly answered ${status}, and 204 is what confirms a change.`)
    return true
  }

  // Many questions come in a row, and one answer has all members: it is kept, unless it is none.
  let held: Promise<Set<unknown>> | undefined
  function members(): Promise<Set<unknown>> {
    const asked = find('segment').then((shown) => membersOf(shown, kind))
    asked.catch(() => (held = undefined))
    return asked
  }

  return {
    find,
    async *write(batch) {
      held = undefined
      const keys = batch.changes.map(({ match }) => keyOf(match))
      const done = batch.object === 'big-segment' ? await change(batch, keys) : await patch(batch, keys)
      for (const { key } of batch.changes)
        if (done) yield { key, result: 'ok' }
        else
          yield { key, result: 'retry', code: 'optimistic_locking_error', message: 'The segment was changed by somebody else meanwhile.' }
    },
    async read(object, matches) {
      if (object !== 'big-segment') {
        const all = await (held ??= members())
        return matches.map((match) => (all.has(keyOf(match)) ? match : null))
      }
      const found: (Fields | null)[] = []
      for (const match of matches) {
        // No URL can name these: they would be resolved, and ask for another resource. Adding one that is there changes nothing.
        if (/^\.\.?$/.test(keyOf(match))) {
          found.push(null)
          continue
        }
        const route = `${path}/contexts/…`
        const reply = await http.request({
          method: 'GET',
          path: `${path}/contexts/${encodeURIComponent(keyOf(match))}`,
          route,
          accept: [404],
        })
        found.push(reply.status !== 404 && record(reply.json())['included'] === true ? match : null)
      }
      return found
    },
  }
}

/** Users stand in `included`, other kinds in `includedContexts`. */
function membersOf({ included, includedContexts }: Shown, kind: string): Set<unknown> {
  const others = (Array.isArray(includedContexts) ? (includedContexts as unknown[]) : []).map(record)
  const lists = [kind === 'user' ? included : [], ...others.filter(({ contextKind }) => contextKind === kind).map(({ values }) => values)]
  return new Set(lists.flatMap((list) => (Array.isArray(list) ? (list as unknown[]) : [])))
}

/** Keys are texts there: a number of the model keeps its digits. */
function keyOf({ key }: Fields): string {
  return typeof key === 'string' ? key : encodeJson(key satisfies Value | undefined)
}

const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)

const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
