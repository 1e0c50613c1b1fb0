/** Keeps customers of a Stripe account: their details and metadata. */
import { z } from 'zod'
import {
  type Account,
  AuthError,
  type Change,
  defineConnector,
  type FailedReply,
  type Fields,
  type Http,
  type Outcome,
  secret,
  UnknownOutcome,
  type Value,
} from '../../src/index.ts'
import { type Customer, createFinder, type Finder, isMissing, objectOf } from './find.ts'
import { FIELDS, fieldOf, flat, formOf, isHash } from './form.ts'

/** The version that these parameters and replies are of; without it the account's own would decide. */
const VERSION = '2026-10-28.endive'

const config = z.strictObject({
  api_key: secret()
    .regex(/^[sr]k_(live|test)_\w+$/, 'is not a secret or restricted key (sk_…, rk_…)')
    .describe('A restricted key with the permission Customers: Write, or a secret key.'),
  base_url: z
    .url({ protocol: /^https?$/ })
    .default('https://api.stripe.com')
    .describe('Where the API is.'),
})

const options = z.strictObject({
  allow_delete: z
    .boolean()
    .default(false)
    .describe('Lets `on_remove: delete` delete customers. That can’t be undone, and cancels their subscriptions at once.'),
})

type Config = z.infer<typeof config>
type Options = z.infer<typeof options>

export default defineConnector<Config, Options>({
  name: 'stripe',
  description: 'Customers of a Stripe account: details and metadata.',
  version: 1,
  config,
  options,
  objects: {
    customers: ({ options: { allow_delete: deletes } }) => ({
      description: 'A customer, found by `email`, by `metadata.…`, or (mode update) by `id`.',
      modes: ['upsert', 'update', 'insert', 'mirror'],
      // A customer keeps its id when its e-mail or metadata change.
      address: { match: 'all', renames: true },
      // "A case-sensitive filter on the list based on the customer's email field" (List all customers).
      match: { id: 'exact', email: 'exact', '*': 'exact' },
      confirms: 'row',
      // Creating is looked up first and carries an Idempotency-Key; all else sets values.
      replay: { upsert: 'deduplicated', insert: 'deduplicated', update: 'harmless', delete: 'harmless' },
      removes: deletes ? ['none', 'delete', 'clear', 'set'] : ['none', 'clear', 'set'],
      onCreate: true,
      nested: true,
    }),
  },
  // "Rate limits": 25 requests a second at each endpoint and in all of a sandbox, 20 for search; 100 in all of a live account.
  limits: { rows: 1, concurrency: 8, perSecond: 20 },
  open({ config: { api_key: key, base_url: base } }, io) {
    const http = io.http(base, { headers: { authorization: `Bearer ${key}`, 'stripe-version': VERSION }, failure })
    const finder = createFinder(http, () => io.now())
    return {
      check: () => check(http, key),
      async describe() {
        return [{ name: 'id', type: 'text', readOnly: true }, ...Object.entries(FIELDS).map(([name, { type }]) => ({ name, type }))]
      },
      async *write({ changes }) {
        for (const change of changes) yield* send(http, finder, change)
      },
      lookup: async (_, matches) => one(await all(matches, finder)).map((customer) => customer?.id ?? null),
      read: async (_, matches) => one(await all(matches, finder)).map((customer) => (customer === undefined ? null : flat(customer))),
    }
  },
})

async function all(matches: readonly Fields[], finder: Finder): Promise<(readonly Customer[])[]> {
  const found: (readonly Customer[])[] = []
  for (const match of matches) found.push(await finder.find(match))
  return found
}

/** A match that means two customers means none. */
const one = (found: readonly (readonly Customer[])[]): (Customer | undefined)[] =>
  found.map((some) => (some.length === 1 ? some[0] : undefined))

/**
 * The account and, for their data are apart, its mode. A restricted key may not read the account whatever it is granted; the
 * refusal names the account ("… permissions for this endpoint on account 'acct_…'").
 */
async function check(http: Http, key: string): Promise<Account> {
  await http.request({ method: 'GET', path: '/v1/customers', query: { limit: 1 } })
  const reply = await http.request({ method: 'GET', path: '/v1/account', accept: [403] })
  const account = objectOf(reply)
  const id = reply.status === 403 ? /\bacct_\w+/.exec(reply.text)?.[0] : account['id']
  if (typeof id !== 'string')
    throw new AuthError('CDP3002', 'Stripe does not tell which account the API key belongs to.', {
      hint: 'Use another restricted key, or a secret key.',
    })
  const { settings, business_profile: business } = account
  const dashboard = isHash(settings) ? settings['dashboard'] : undefined
  const names = [isHash(dashboard) ? dashboard['display_name'] : undefined, isHash(business) ? business['name'] : undefined]
  const name = names.find((some): some is string => typeof some === 'string' && some !== '') ?? id
  return /^.k_test_/.test(key) ? { id: `${id}/test`, name: `${name} (test)` } : { id, name }
}

async function* send(http: Http, finder: Finder, change: Change): AsyncGenerator<Outcome> {
  const { key, op, match, previousMatch, remoteId } = change
  if ('id' in match && op !== 'update' && op !== 'delete')
    return yield rejected(key, 'id_needs_update', 'Stripe gives customers their ids: match by id in mode update.', 'id')
  // What Stripe makes of such an e-mail is not documented: one that it trims would not be found again, and be made twice.
  if (op !== 'delete' && typeof match['email'] === 'string' && /^\s|\s$/.test(match['email']))
    return yield rejected(key, 'bad_email', 'The e-mail begins or ends with white space: trim it in the model.', 'email')
  // By the id of an earlier write a customer is found whatever became of its e-mail; where `id` is the match it says which.
  const known = 'id' in match || op === 'insert' ? null : remoteId
  if (known !== null) {
    const outcome = await apply(http, change, known)
    if (outcome !== 'gone') return yield outcome
    // Whoever has the e-mail now is somebody else.
    if (op === 'delete') return yield { key, result: 'ok' }
  }
  let found = await finder.find(match)
  if (found.length === 0 && previousMatch !== null && op !== 'delete') found = await finder.find(previousMatch)
  const [customer] = found
  if (found.length > 1) {
    const ids = found.map(({ id }) => id).join(', ')
    return yield rejected(key, 'ambiguous', `Stripe has ${found.length} such customers: ${ids}.`, Object.keys(match)[0])
  }
  if (customer !== undefined && op === 'insert') return yield { key, result: 'exists' }
  const outcome = customer === undefined ? 'gone' : await apply(http, change, customer.id)
  if (outcome !== 'gone') yield outcome
  else if (op === 'delete') yield { key, result: 'ok' }
  else if (op === 'update') yield { key, result: 'absent' }
  else yield await create(http, change)
}

/** Changes or deletes a known customer; `gone` when there is none under this id. */
async function apply(http: Http, { key, op, match, fields, previousMatch }: Change, id: string): Promise<Outcome | 'gone'> {
  const at = { path: `/v1/customers/${encodeURIComponent(id)}`, route: '/v1/customers/…', accept: [400, 402, 404] }
  if (op === 'delete') {
    const reply = await http.request({ method: 'DELETE', ...at })
    const body = objectOf(reply)
    if (reply.status === 404 && isMissing(body)) return 'gone'
    if (reply.status >= 400) return refused(key, body)
    return body['deleted'] === true && body['id'] === id ? { key, result: 'ok', remoteId: id } : unconfirmed(key)
  }
  const renamed = previousMatch !== null && !('id' in match)
  const made = formOf(renamed ? { ...fields, ...match } : fields)
  if ('problem' in made) return { key, result: 'rejected', ...made.problem }
  const reply = await http.request({ method: 'POST', ...at, form: made.form })
  const body = objectOf(reply)
  if (reply.status === 404 && isMissing(body)) return 'gone'
  if (reply.status >= 400) return refused(key, body)
  return body['id'] === id && body['deleted'] !== true ? { key, result: 'ok', remoteId: id } : unconfirmed(key)
}

async function create(http: Http, { key, id, match, fields, onCreate }: Change): Promise<Outcome> {
  const made = formOf({ ...fields, ...onCreate, ...match }, true)
  if ('problem' in made) return { key, result: 'rejected', ...made.problem }
  // The first answer to a key is repeated for at least 24 hours ("Idempotent requests"); by then the customer is found.
  const reply = await http.request({
    method: 'POST',
    path: '/v1/customers',
    form: made.form,
    headers: { 'idempotency-key': id },
    accept: [400, 402, 404],
  })
  const body = objectOf(reply)
  if (reply.status >= 400) return refused(key, body)
  const { id: remoteId } = body
  return typeof remoteId === 'string' && remoteId !== '' ? { key, result: 'ok', remoteId } : unconfirmed(key)
}

function refused(key: string, { error }: Readonly<Record<string, Value>>): Outcome {
  const { type, code, message, param } = isHash(error) ? error : {}
  const said = typeof message === 'string' ? message : 'Stripe refused the request.'
  // An earlier request under this key was another one: whether it was applied, this one does not say.
  if (type === 'idempotency_error') return { key, result: 'unknown', code: type, message: said }
  const named = [code, type].find((some) => typeof some === 'string')
  return rejected(key, typeof named === 'string' ? named : 'refused', said, typeof param === 'string' ? fieldOf(param) : undefined)
}

const rejected = (key: string, code: string, message: string, field: string | undefined): Outcome => ({
  key,
  result: 'rejected',
  code,
  message,
  field,
})

const unconfirmed = (key: string): Outcome => ({
  key,
  result: 'unknown',
  code: 'unconfirmed',
  message: 'Stripe’s reply does not name the customer.',
})

function failure({ status, text }: FailedReply): Error | undefined {
  if (status === 401)
    return new AuthError('CDP3001', 'Stripe refused the API key: the login failed.', {
      hint: 'Check that the key was not rolled or deleted, in the Dashboard under Developers, API keys.',
    })
  if (status === 403) {
    const [, permission] = /'(rak_\w+)'/.exec(text) ?? []
    const lacks = permission === undefined ? 'a permission' : `the permission ${permission}`
    return new AuthError('CDP3002', `Stripe: the API key lacks ${lacks}.`, {
      hint: 'Give the restricted key Customers: Write, in the Dashboard under Developers, API keys.',
    })
  }
  // Another request holds the customer, or this idempotency key ("Errors"): it can be asked again.
  if (status === 409)
    return new UnknownOutcome('conflict', 'Stripe answered 409: another request is at work on this customer.', { afterMs: 1000 })
  return undefined
}
