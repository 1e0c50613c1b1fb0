/** The ids of one ID-list segment: found, made when asked, added to, removed from, listed. */
import { type Batch, CdpError, encodeJson, type Fields, type Http, type Outcome, UnknownOutcome, type Value } from '../../src/index.ts'

export interface Options {
  readonly segment?: string | undefined
  readonly create: boolean
  readonly id_type: string
}

export interface Segment {
  /** Throws CDP3200 where the segment is missing and is not to be made, or is of another kind. */
  find(): Promise<boolean>
  write(batch: Batch): AsyncIterable<Outcome>
  list(): AsyncIterable<Fields>
  read(matches: readonly Fields[]): Promise<(Fields | null)[]>
}

/** Ids per page of the list; the largest that Statsig takes is not published. */
const PAGE = 1000
/** How long an update of a list takes that is in progress is not published. */
const BUSY_MS = 5_000

export function segmentOf(http: Http, { segment = '', create, id_type }: Options): Segment {
  const path = `/console/v1/segments/${encodeURIComponent(segment)}`
  // What is not to be made is not looked for: the write itself finds out.
  let made = !create

  const missing = (): CdpError =>
    new CdpError('CDP3200', `Statsig has no segment "${segment}".`, {
      hint: 'Correct options.segment (the id, not the name), or let the first run make it with `create: true`.',
    })

  async function find(): Promise<boolean> {
    const reply = await http.request({ method: 'GET', path, accept: [404] })
    if (reply.status === 404) {
      if (create) return false
      throw missing()
    }
    const { type, idType } = record(record(reply.json())['data'])
    if (type !== 'id_list')
      throw new CdpError('CDP3200', `The segment "${segment}" is of type ${JSON.stringify(type)}; only an id_list has members.`, {
        hint: 'Name a segment of type "ID list", or make one.',
      })
    if (create && typeof idType === 'string' && idType !== id_type)
      throw new CdpError('CDP3200', `The segment "${segment}" is a list of ${idType}, and the sync says ${id_type}.`, {
        hint: 'Correct options.id_type, or name another segment.',
      })
    return true
  }

  async function make(): Promise<void> {
    if (made) return
    if (!(await find())) {
      const json = { id: segment, name: segment, type: 'id_list', idType: id_type, description: 'Kept by cdp-sync.' }
      const reply = await http.request({ method: 'POST', path: '/console/v1/segments', json, accept: [400] })
      // Refused also where another sync has made it meanwhile.
      if (reply.status === 400 && !(await find()))
        throw new CdpError('CDP3200', `Statsig did not make the segment "${segment}".`, {
          hint: 'Correct options.id_type (a unit ID type of the project), or make the segment in Statsig.',
          cause: new Error(reply.text),
        })
    }
    made = true
  }

  async function* list(): AsyncIterable<Fields> {
    let seen = 0
    let first: unknown
    for (let page = 1; ; page++) {
      const query = { limit: PAGE, page }
      const reply = await http.request({ method: 'GET', path: `${path}/id_list`, query, accept: create ? [404] : undefined })
      // A segment that the first run is to make has no members.
      if (reply.status === 404) return
      const body = record(reply.json())
      const { ids, count } = record(body['data'])
      if (!Array.isArray(ids)) throw new UnknownOutcome('no_ids', 'Statsig answered without a list of ids.')
      // A set has no id twice: without this, one page given again and again would never end.
      if (page > 1 && ids.length > 0 && ids[0] === first) throw new UnknownOutcome('same_page', 'Statsig answered with the same ids twice.')
      first = ids[0]
      seen += ids.length
      for (const id of ids as Value[]) yield { id }
      const { nextPage } = record(body['pagination'])
      // The examples of the specification leave the pagination out.
      if (ids.length === 0 || nextPage === null || (nextPage === undefined && seen >= Number(count))) return
    }
  }

  // Single ids can't be asked for. Many questions come in a row, so the answer is kept, unless it is none.
  let listed: Promise<Set<string>> | undefined
  async function collect(): Promise<Set<string>> {
    const ids = new Set<string>()
    let whole = false
    try {
      for await (const { id } of list()) ids.add(idOf(id))
      whole = true
    } finally {
      if (!whole) listed = undefined
    }
    return ids
  }

  return {
    find,
    async *write({ op, changes }) {
      await make()
      listed = undefined
      const ids = changes.map(({ match }) => idOf(match['id']))
      const method = op === 'delete' ? 'DELETE' : 'PATCH'
      const reply = await http.request({ method, path: `${path}/id_list`, json: { ids }, accept: [404, 409] })
      if (reply.status === 404) throw missing()
      if (reply.status === 409) {
        const busy = { code: 'busy', message: 'Another update of this ID list is in progress.', afterMs: BUSY_MS }
        for (const { key } of changes) yield { key, result: 'retry', ...busy }
        return
      }
      // All ids or none: nothing is said of single ones.
      const { message, status } = record(reply.json())
      // Errors have the same form, and a status.
      if (typeof message !== 'string' || status !== undefined)
        throw new UnknownOutcome('no_confirmation', 'Statsig answered 2xx, but not that it changed the list.')
      for (const { key } of changes) yield { key, result: 'ok' }
    },
    list,
    async read(matches) {
      const ids = await (listed ??= collect())
      return matches.map((match) => (ids.has(idOf(match['id'])) ? match : null))
    },
  }
}

/** Ids are texts there: a number of the model keeps its digits. */
const idOf = (value: Value | undefined): string => (typeof value === 'string' ? value : encodeJson(value))

const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
