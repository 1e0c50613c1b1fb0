/** What the page shows, as JSON: every fake in a line, and one of them whole. */
import type { Exchange } from '../testing/fake.ts'
import type { ServedFake } from '../testing/host.ts'
import type { Broken } from './faults.ts'

/** Records shown per collection, requests shown per fake, characters shown of a body and of a cell. */
const ROWS = 100
const REQUESTS = 50
const BODY = 4_000
const CELL = 300

export interface Seen {
  readonly served: ServedFake
  readonly broken: Broken
  /** Entry of `destinations:` as YAML. */
  readonly yaml: string
}

/** `find`: only records that hold this text, capitals or not. */
export function stateOf(all: readonly Seen[], shown: string | null, find: string): object {
  const whole = all.find(({ served }) => served.fake.name === shown) ?? all[0]
  return {
    fakes: all.map(({ served, broken }) => ({
      name: served.fake.name,
      description: served.fake.description,
      url: served.url,
      requests: served.exchanges.at(-1)?.request.n ?? 0,
      records: Object.values(served.records()).reduce((sum, list) => sum + list.length, 0),
      broken: { ...broken, rows: served.refusals() },
    })),
    shown: whole && {
      name: whole.served.fake.name,
      yaml: whole.yaml,
      collections: Object.entries(whole.served.records()).map(([name, list]) => collectionOf(name, list, find.toLowerCase())),
      requests: whole.served.exchanges.slice(-REQUESTS).map(requestOf).reverse(),
    },
  }
}

function collectionOf(name: string, list: readonly Readonly<Record<string, unknown>>[], find: string): object {
  const found = find === '' ? list : list.filter((record) => JSON.stringify(record).toLowerCase().includes(find))
  const rows = found.slice(0, ROWS)
  const columns = [...new Set(rows.flatMap((record) => Object.keys(record)))]
  return { name, total: list.length, found: found.length, columns, rows: rows.map((record) => columns.map((it) => cell(record[it]))) }
}

/** A text as it is, null and what is not there as nothing, all else as JSON. */
function cell(value: unknown): string {
  if (value === undefined || value === null) return ''
  return short(typeof value === 'string' ? value : JSON.stringify(value), CELL)
}

function requestOf({ request, reply, write, at }: Exchange): object {
  const query = request.query.size > 0 ? `?${request.query.toString()}` : ''
  return {
    n: request.n,
    at,
    method: request.method,
    path: request.path + query,
    write,
    // Null: no answer, or not yet.
    status: reply?.status ?? null,
    sent: short(request.text, BODY),
    answered: short(reply?.text ?? (reply?.json === undefined ? '' : JSON.stringify(reply.json)), BODY),
  }
}

function short(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most)}… (${text.length.toLocaleString('en-US')} characters)` : text
}
