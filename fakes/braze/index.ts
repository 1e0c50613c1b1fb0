/** A fake of Braze: user profiles, events, purchases and catalogs, as the REST API’s documentation and Postman collection describe them. */
import { defineFake, type FakeReply, type FakeRequest, type FakeService } from '../../src/testing/fake.ts'
import { createCatalogs } from './catalogs.ts'
import { createUsers, type Users } from './users.ts'

/** Every permission that the fake asks for ("API keys", per endpoint). */
const PERMISSIONS = ['users.track', 'users.delete', 'users.export.ids', 'custom_attributes.get', 'events.list', 'campaigns.list'].concat(
  ['catalogs.get', 'catalogs.create', 'catalogs.get_items', 'catalogs.get_item'],
  ['catalogs.add_items', 'catalogs.update_items', 'catalogs.replace_items', 'catalogs.delete_items'],
)

/** Keys the fake knows, and what each may do. */
export const KEYS: Readonly<Record<string, readonly string[]>> = {
  'braze-sandbox-key': PERMISSIONS,
  'braze-users-only': ['users.track', 'users.delete'],
  'braze-catalogs-only': PERMISSIONS.filter((name) => name.startsWith('catalogs.')),
}

/** "All API endpoints have a data payload limit of 4 MB." */
const MOST_BYTES = 4 * 2 ** 20

export default defineFake({
  name: 'braze',
  description: 'Braze users, events, purchases and catalogs; from the REST API’s documentation and Postman collection.',
  destination: (url) => ({ api_key: 'braze-sandbox-key', base_url: url }),
  intruder: (url) => ({ api_key: 'braze-nobody', base_url: url }),
  create(control): FakeService {
    const users = createUsers(control)
    const catalogs = createCatalogs(control)
    const limits = (): Record<string, string> => ({
      'x-ratelimit-limit': '250000',
      'x-ratelimit-remaining': '249999',
      'x-ratelimit-reset': String(Math.ceil(control.now() / 3600_000) * 3600),
    })
    return {
      isWrite: ({ method, path }) => method !== 'GET' && path !== '/users/export/ids',
      records: () => ({ ...users.records(), ...catalogs.records() }),
      failure: (status, detail) => failure(status, detail.retryAfter, control.now()),
      handle(request) {
        const reply = refusedShape(request) ?? answer(request, users, catalogs)
        return { ...reply, headers: { ...limits(), ...reply.headers } }
      },
    }
  },
})

function refusedShape({ method, headers, text }: FakeRequest): FakeReply | undefined {
  if (Buffer.byteLength(text) > MOST_BYTES) return { status: 413, json: { message: 'Request Entity Too Large' } }
  if (method === 'GET') return undefined
  if (!(headers['content-type'] ?? '').startsWith('application/json'))
    return { status: 400, json: { message: 'The request must have the content type application/json.' } }
  try {
    const body: unknown = JSON.parse(text)
    if (typeof body === 'object' && body !== null && !Array.isArray(body)) return undefined
  } catch {}
  return { status: 400, json: { message: 'The request body is not a JSON object.' } }
}

type Handler = (request: FakeRequest) => FakeReply

function answer(request: FakeRequest, users: Users, catalogs: ReturnType<typeof createCatalogs>): FakeReply {
  const path = request.path.replace(/\/$/, '')
  const [, name = '', id] = /^\/catalogs\/([^/]+)\/items(?:\/([^/]+))?$/.exec(path) ?? []
  const [catalog, item] = [decodeURIComponent(name), id === undefined ? undefined : decodeURIComponent(id)]
  const routes: Readonly<Record<string, readonly [permission: string, handle: Handler]>> = {
    'POST /users/track': ['users.track', users.track],
    'POST /users/delete': ['users.delete', users.remove],
    'POST /users/export/ids': ['users.export.ids', users.export],
    'GET /custom_attributes': ['custom_attributes.get', users.customAttributes],
    'GET /events/list': ['events.list', users.eventNames],
    'GET /campaigns/list': ['campaigns.list', () => ({ status: 200, json: { campaigns: [], message: 'success' } })],
    'GET /catalogs': ['catalogs.get', catalogs.list],
    'POST /catalogs': ['catalogs.create', catalogs.create],
    ...(name === '' || item !== undefined
      ? {}
      : {
          [`GET ${path}`]: ['catalogs.get_items', (asked) => catalogs.items(catalog, asked)],
          [`POST ${path}`]: ['catalogs.add_items', (asked) => catalogs.write(catalog, 'add', asked)],
          [`PATCH ${path}`]: ['catalogs.update_items', (asked) => catalogs.write(catalog, 'update', asked)],
          [`PUT ${path}`]: ['catalogs.replace_items', (asked) => catalogs.write(catalog, 'replace', asked)],
          [`DELETE ${path}`]: ['catalogs.delete_items', (asked) => catalogs.write(catalog, 'delete', asked)],
        }),
    ...(item === undefined ? {} : { [`GET ${path}`]: ['catalogs.get_item', () => catalogs.item(catalog, item)] }),
  }
  const route = routes[`${request.method} ${path}`]
  if (route === undefined) return { status: 404, json: { message: 'Invalid URL' } }
  const [scheme = '', key = ''] = (request.headers['authorization'] ?? '').split(' ')
  const may = /^bearer$/i.test(scheme) ? KEYS[key] : undefined
  if (may === undefined) return { status: 401, json: { message: 'Invalid API key' } }
  if (!may.includes(route[0])) return forbidden()
  return route[1](request)
}

/** Braze does not say which permission is missing. */
const forbidden = (): FakeReply => ({ status: 403, json: { message: 'This API key does not have permission for this endpoint.' } })

/** Braze has hourly and shorter windows; none of a day. */
function failure(status: number, retryAfter: number | undefined, now: number): FakeReply {
  if (status === 401) return { status, json: { message: 'Invalid API key' } }
  if (status === 403) return forbidden()
  if (status === 429) {
    const seconds = retryAfter === undefined ? {} : { 'x-ratelimit-retry-after': String(retryAfter) }
    const reset = String(Math.ceil(now / 1000) + (retryAfter ?? 60))
    return {
      status,
      headers: { 'x-ratelimit-limit': '250000', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': reset, ...seconds },
      json: { message: 'Rate limit exceeded' },
    }
  }
  return { status, json: { message: status === 503 ? 'Service Unavailable' : 'Internal Server Error' } }
}
