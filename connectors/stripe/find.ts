/** Finds customers: by their own id, by e-mail (a list, always up to date) or by metadata (the search, which lags). */
import { encodeJson, type Fields, type Http, type HttpReply, Refused, UnknownOutcome, type Value } from '../../src/index.ts'
import { isHash, textOf } from './form.ts'

export type Customer = Readonly<Record<string, Value>> & { readonly id: string }

/**
 * How far the search may lag: "data is searchable in less than a minute … propagation of new or updated data could be
 * delayed by up to an hour during outages" (API reference, Search).
 */
const LAG_SECONDS = 3600
/** "Limit can range between 1 and 100." */
const PAGE = '100'

export interface Finder {
  /** Every customer that this match means; more than one: it is ambiguous. Throws Refused for a match nothing can be found by. */
  find(match: Fields): Promise<readonly Customer[]>
}

/** `now`: milliseconds since 1970. */
export function createFinder(http: Http, now: () => number): Finder {
  /** Only what finds them: in an hour there may be many. */
  let recent: Promise<readonly Customer[]> | undefined

  /** Follows the pages of a list or search. */
  async function pages(
    path: string,
    query: Readonly<Record<string, string>>,
    keep = (customer: Customer): Customer => customer,
  ): Promise<Customer[]> {
    const all: Customer[] = []
    let next: Record<string, string> = {}
    for (;;) {
      const {
        data,
        has_more: more,
        next_page: page,
      } = objectOf(await http.request({ method: 'GET', path, query: { ...query, ...next, limit: PAGE } }))
      if (!Array.isArray(data) || !data.every(isCustomer))
        throw new UnknownOutcome('no_list', `GET ${path} answered without a list of customers.`)
      all.push(...data.map(keep))
      const last = all.at(-1)
      if (more !== true || last === undefined) return all
      const before = encodeJson(next)
      next = typeof page === 'string' ? { page } : { starting_after: last.id }
      if (encodeJson(next) === before) throw new UnknownOutcome('no_end', `GET ${path} answers the same page again.`)
    }
  }

  /**
   * Customers created before this run that the search may not know yet, so that nobody is created twice after a crash. The list
   * "is strongly consistent" with what was written; those this run creates are known by their ids or by idempotency keys.
   */
  function createdLately(): Promise<readonly Customer[]> {
    const since = String(Math.floor(now() / 1000) - LAG_SECONDS)
    return (recent ??= pages('/v1/customers', { 'created[gte]': since }, ({ id, email = null, metadata = null }) => ({
      id,
      email,
      metadata,
    })).catch((error: unknown) => {
      recent = undefined
      throw error
    }))
  }

  return {
    async find(match) {
      const wanted = Object.entries(match).map(([name, value]) => [name, textOf(value)] as const)
      const isIt = (customer: Customer): boolean => wanted.every(([name, value]) => valueOf(customer, name) === value)
      const { id, email } = match
      if (id !== undefined) return (await byId(http, textOf(id))).filter(isIt)
      if (email !== undefined) return (await pages('/v1/customers', { email: textOf(email) })).filter(isIt)
      const clauses = wanted.map(([name, value]) => `metadata[${quoted(metadataKey(name))}]:${quoted(value)}`)
      // The search does not mind case.
      const found = (await pages('/v1/customers/search', { query: clauses.join(' AND ') })).filter(isIt)
      if (found.length > 0) return found
      for (const late of (await createdLately()).filter(isIt)) found.push(...(await byId(http, late.id)))
      return found.filter(isIt)
    },
  }
}

async function byId(http: Http, id: string): Promise<Customer[]> {
  const path = `/v1/customers/${encodeURIComponent(id)}`
  const reply = await http.request({ method: 'GET', path, route: '/v1/customers/…', accept: [404] })
  const customer = objectOf(reply)
  if (reply.status === 404) {
    if (isMissing(customer)) return []
    // A proxy, or a wrong base_url, knows nothing of customers.
    throw new Refused('http_404', 'Stripe answered 404, but not that the customer is missing: is base_url right?', 404)
  }
  // A deleted customer is still answered, as such.
  return customer['deleted'] === true ? [] : [customer as Customer]
}

/** `metadata.user_id` → `user_id`. Throws Refused for another name. */
function metadataKey(name: string): string {
  const [, key] = /^metadata\.(.+)$/s.exec(name) ?? []
  if (key === undefined) throw new Refused('bad_match', `Customers can't be found by "${name}": match id, email or metadata.… .`, 0)
  return key.replaceAll('\\.', '.')
}

function valueOf(customer: Customer, name: string): string | undefined {
  if (name === 'id' || name === 'email') return typeof customer[name] === 'string' ? customer[name] : undefined
  const { metadata } = customer
  const value = isHash(metadata) ? metadata[metadataKey(name)] : undefined
  return typeof value === 'string' ? value : undefined
}

/** A text in a search query ("Search query language"). */
const quoted = (text: string): string => `'${text.replaceAll(/['\\]/g, '\\$&')}'`

const isCustomer = (value: Value): value is Customer => isHash(value) && typeof value['id'] === 'string'

/** An error that says that the customer itself is missing, not something that a parameter names. */
export const isMissing = ({ error }: Readonly<Record<string, Value>>): boolean =>
  isHash(error) && error['code'] === 'resource_missing' && (error['param'] ?? 'id') === 'id'

/** The reply's object. Throws UnknownOutcome when it is none. */
export function objectOf(reply: HttpReply): Readonly<Record<string, Value>> {
  const body = reply.json()
  if (!isHash(body)) throw new UnknownOutcome('no_object', 'Stripe answered with JSON that is no object.')
  return body
}
