/** Writes to Braze: user profiles, events, purchases and the items of catalogs. */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import {
  type Account,
  AuthError,
  CdpError,
  defineConnector,
  type FailedReply,
  type FieldInfo,
  type Limits,
  type Op,
  Refused,
  secret,
} from '../../src/index.ts'
import { describeCatalog, readItems, writeItems } from './catalogs.ts'
import { identityKey, identityOf } from './identity.ts'
import { isObject, objectOf, objectsIn, textIn } from './json.ts'
import { deleteProfiles, exportProfiles, fieldsOf, writeEvents, writeProfiles } from './users.ts'
import { EVENT_FIELDS } from './values.ts'

const config = z.strictObject({
  api_key: secret().describe('A REST API key, with the permissions of what is written.'),
  base_url: z
    .url({ protocol: /^https?$/ })
    .describe('The REST endpoint of your instance, for example https://rest.iad-01.braze.com or https://rest.fra-01.braze.eu.'),
  workspace: z
    .string()
    .min(1)
    .optional()
    .describe('A name for the workspace. Braze does not tell which one a key belongs to; with a name, a new key is no new destination.'),
})

const options = z.strictObject({
  catalog: z.string().min(1).optional().describe('Of catalog-items: the name of the catalog.'),
})

type Config = z.infer<typeof config>
type Options = z.infer<typeof options>

const IDENTIFIERS = {
  external_id: 'exact',
  email: 'email',
  phone: 'e164',
  braze_id: 'exact',
  'user_alias.alias_name': 'exact',
  'user_alias.alias_label': 'exact',
} as const

const event = (description: string) =>
  ({
    description,
    modes: ['append'],
    address: 'key',
    match: IDENTIFIERS,
    // 201 means queued.
    confirms: 'accepted',
    // There is no key that drops a repeat.
    replay: {},
    nested: true,
  }) as const

export default defineConnector<Config, Options>({
  name: 'braze',
  description: 'Users, events, purchases and catalogs of a Braze workspace.',
  version: 1,
  config,
  options,
  objects: {
    users: {
      description: 'A profile, found by one of `external_id`, `email`, `phone`, `braze_id`, or a user alias.',
      modes: ['upsert', 'update', 'mirror'],
      address: { match: 'all' },
      match: IDENTIFIERS,
      confirms: 'accepted',
      replay: { upsert: 'harmless', update: 'harmless', delete: 'harmless' },
      // Deleting takes a person's history along and can't be undone: only who writes it gets it.
      removes: ['none', 'delete', 'clear', 'set'],
      nested: true,
    },
    events: event('An event of a user: `name`, `time` and `properties.…`.'),
    purchases: event('A purchase of a user: `product_id`, `currency`, `price`, `quantity`, `time` and `properties.…`.'),
    'catalog-items': {
      description: 'An item of the catalog that the option `catalog` names, found by `id`.',
      modes: ['upsert', 'mirror'],
      address: { match: 'all' },
      match: { id: 'exact' },
      confirms: 'accepted',
      replay: { upsert: 'harmless', delete: 'harmless' },
      removes: ['delete', 'none'],
      targetOptions: ['catalog'],
    },
  },
  limits: (_, op, object) => limitsOf(op, object),
  validate: (settings, object) =>
    object === 'catalog-items' && settings.options.catalog === undefined
      ? [{ path: ['catalog'], message: 'is needed: the name of the catalog' }]
      : [],
  open({ config: { api_key: key, base_url: base, workspace }, options: { catalog } }, io) {
    const http = io.http(base, { headers: { authorization: `Bearer ${key}` }, failure })
    return {
      async check(): Promise<Account> {
        // Whatever a key may do, with 401 it is none.
        const reply = await http.request({ method: 'GET', path: '/campaigns/list', query: { page: 0 }, accept: [403] })
        // A page of the dashboard, or of a proxy, is no answer.
        objectOf(reply)
        const { host } = new URL(base)
        const known = workspace ?? `key ${createHash('sha256').update(key).digest('hex').slice(0, 12)}`
        return { id: `${host}/${known}`, name: workspace === undefined ? host : `${workspace} (${host})` }
      },
      async describe(object): Promise<readonly FieldInfo[]> {
        if (object === 'catalog-items') return describeCatalog(http, catalogOf(catalog))
        // Any attribute can be written to a profile: the first value makes it.
        if (object === 'users') return []
        return EVENT_FIELDS[object === 'events' ? 'events' : 'purchases'].map((name) => ({
          name,
          type: name === 'properties' ? 'object' : 'text',
        }))
      },
      async *write(batch) {
        if (batch.object === 'catalog-items') yield* writeItems(http, catalogOf(catalog), batch)
        else if (batch.object === 'events' || batch.object === 'purchases') yield* writeEvents(http, batch.object, batch)
        else if (batch.op === 'delete') yield* deleteProfiles(http, batch)
        else yield* writeProfiles(http, batch)
      },
      async read(object, matches) {
        if (object === 'catalog-items') return readItems(http, catalogOf(catalog), matches)
        const identities = matches.map(identityOf)
        const found = await exportProfiles(http, identities)
        return identities.map((identity) => {
          const profile = found.get(identityKey(identity))
          return profile === undefined ? null : fieldsOf(profile)
        })
      },
    }
  },
})

/** From the pages "API limits" and of each endpoint. */
function limitsOf(op: Op, object: string): Limits {
  // "All API endpoints have a data payload limit of 4 MB" (Errors, 413), of which the request's frame takes some.
  const bytes = 3_500_000
  // "Up to 50 item objects", "a shared rate limit of 16,000 requests per minute" (asynchronous catalog items).
  if (object === 'catalog-items') return { rows: 50, bytes, concurrency: 4, windows: [{ requests: 16_000, seconds: 60 }] }
  // "Up to 50 external_ids …", 20,000 requests a minute together with the endpoints of aliases.
  if (op === 'delete') return { rows: 50, bytes, concurrency: 4, windows: [{ requests: 20_000, seconds: 60 }] }
  // Each update asks first who is there: 50 users, "250 requests per minute" to /users/export/ids.
  if (op === 'update') return { rows: 50, bytes, concurrency: 4, windows: [{ requests: 500, seconds: 60 }] }
  // "Up to 75 objects combined from attributes, events, and purchases", "3,000 requests per three seconds" (/users/track).
  return { rows: 75, bytes, concurrency: 8, windows: [{ requests: 3000, seconds: 3 }] }
}

/** `validate` has seen to it. */
function catalogOf(catalog: string | undefined): string {
  if (catalog === undefined) throw new Refused('no_catalog', 'The option "catalog" names no catalog.', 0)
  return catalog
}

const PERMISSIONS: Readonly<Record<string, string>> = {
  'POST /users/track': 'users.track',
  'POST /users/delete': 'users.delete',
  'POST /users/export/ids': 'users.export.ids',
  'GET /catalogs': 'catalogs.get',
  'PUT /catalogs/…/items': 'catalogs.replace_items',
  'PATCH /catalogs/…/items': 'catalogs.update_items',
  'DELETE /catalogs/…/items': 'catalogs.delete_items',
  'GET /catalogs/…/items/…': 'catalogs.get_item',
}

function failure({ status, method, route, body }: FailedReply): Error | undefined {
  if (status === 401)
    return new AuthError('CDP3001', 'Braze refused the API key: the login failed.', {
      hint: 'Check the key (Settings, APIs and Identifiers), and that base_url is the REST endpoint of the instance it belongs to.',
    })
  if (status === 404 && route.startsWith('/catalogs/') && isObject(body)) {
    const missing = objectsIn(body['errors']).some(({ id }) => textIn(id) === 'catalog-not-found')
    if (missing)
      return new CdpError('CDP3200', 'Braze does not have this catalog any more.', { hint: 'Create it, or correct the option "catalog".' })
  }
  if (status !== 403) return undefined
  const permission = PERMISSIONS[`${method} ${route}`]
  return new AuthError(
    'CDP3002',
    `Braze: the API key lacks ${permission === undefined ? 'a permission' : `the permission ${permission}`}.`,
    {
      hint: 'Make a key with it (Settings, APIs and Identifiers): permissions of a key can’t be changed later.',
    },
  )
}
