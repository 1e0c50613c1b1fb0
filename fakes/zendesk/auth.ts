/** Logins of the Zendesk fake: OAuth tokens with their scopes, an API token, and the OAuth token endpoint. */
import type { FakeControl, FakeReply, FakeRequest } from '../../src/testing/fake.ts'
import { body } from './bulk.ts'
import type { Json } from './replies.ts'

export interface Login {
  readonly scopes: readonly string[]
  /** Bulk imports of users are off in an account until Zendesk's support turns them on. */
  readonly bulkImport: boolean
  readonly expires?: number
}

export const TOKEN = 'zendesk-sandbox-token'
const LOGINS: Readonly<Record<string, Login>> = {
  [TOKEN]: { scopes: ['read', 'write'], bulkImport: true },
  // For tests: the same account, seen with less.
  'zendesk-sandbox-no-bulk-import': { scopes: ['read', 'write'], bulkImport: false },
  'zendesk-sandbox-read-only': { scopes: ['read'], bulkImport: true },
  'zendesk-sandbox-users-only': { scopes: ['users:read', 'users:write'], bulkImport: true },
}
const API_LOGIN = 'agent@example.com/token:zendesk-sandbox-api-token'
const CLIENT = { id: 'cdp-sync', secret: 'zendesk-sandbox-client-secret' }

/** The login behind an Authorization header; undefined when it is none. */
export function loginOf(authorization: string | undefined, issued: Map<string, Login>): Login | undefined {
  const [, scheme = '', credentials = ''] = /^(\w+) +(.+)$/.exec(authorization ?? '') ?? []
  if (/^bearer$/i.test(scheme)) return issued.get(credentials) ?? (Object.hasOwn(LOGINS, credentials) ? LOGINS[credentials] : undefined)
  if (/^basic$/i.test(scheme) && Buffer.from(credentials, 'base64').toString() === API_LOGIN) return LOGINS[TOKEN]
  return undefined
}

/** Any of these will do. Of users and organizations there are narrower ones; a finished job is anybody's to read. */
export function scopesFor(method: string, rest: string): string[] {
  const right = method === 'GET' ? 'read' : 'write'
  const [, resource] = /^(user|organization)(s|_fields)(\/|$)/.exec(rest) ?? []
  if (rest === 'users/me' || rest.startsWith('job_statuses'))
    return ['read', 'write', 'users:read', 'users:write', 'organizations:read', 'organizations:write']
  return resource === undefined ? [right] : [right, `${resource}s:${right}`]
}

/** OAuth 2, grants client_credentials and refresh_token. A refresh deletes the tokens it replaces. */
export function issueToken(control: FakeControl, issued: Map<string, Login>, request: FakeRequest): FakeReply {
  const form = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded') === true
  const input: Json = form ? Object.fromEntries(request.form()) : body(request, 'oauth/tokens')
  if (input['client_id'] !== CLIENT.id || input['client_secret'] !== CLIENT.secret)
    return failed('invalid_client', 'Client authentication failed due to unknown client or no client authentication.')
  if (input['grant_type'] !== 'client_credentials') return failed('unsupported_grant_type', 'The grant type is not supported here.')
  if (typeof input['scope'] !== 'string' || input['scope'] === '')
    return failed('invalid_scope', 'The requested scope is invalid, unknown, or malformed.')
  const seconds = Number(input['expires_in'] ?? 1800)
  if (!(seconds >= 300 && seconds <= 172_800)) return failed('invalid_request', 'expires_in must be between 300 and 172800.')
  const token = `zendesk-sandbox-issued-${issued.size + 1}`
  issued.set(token, { scopes: input['scope'].split(' '), bulkImport: true, expires: control.now() + seconds * 1000 })
  return { status: 201, json: { access_token: token, token_type: 'bearer', scope: input['scope'], expires_in: seconds } }
}

const failed = (error: string, description: string): FakeReply => ({
  status: error === 'invalid_client' ? 401 : 400,
  json: { error, error_description: description },
})
