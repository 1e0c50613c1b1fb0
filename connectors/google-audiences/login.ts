/** Access tokens of Google's OAuth: for a service account by a signed JWT, for a user by a refresh token. */
import { createSign } from 'node:crypto'
import { AuthError, type ConnectorIO, NotSent, UnknownOutcome, type Value } from '../../src/index.ts'
import { type Config, type Key, keyOf } from './settings.ts'

const SCOPE = 'https://www.googleapis.com/auth/datamanager'
const TOKEN_URL = 'https://oauth2.googleapis.com/token'
/** Seconds; the longest life of an assertion ("Using OAuth 2.0 for Server to Server Applications"). */
const LIFE = 3600
/** A token is given up this long before it ends, so that no request is on its way with a dead one. Milliseconds. */
const MARGIN = 60_000

/** Gives the headers that log in. One token serves all requests until it ends. Throws AuthError. */
export function createLogin(config: Config, io: ConnectorIO): () => Promise<{ authorization: string }> {
  const key = config.service_account === undefined ? null : keyOf(config.service_account)
  const url = config.token_url ?? key?.token_uri ?? TOKEN_URL
  const http = io.http(url)
  let current: { readonly until: number; readonly token: Promise<string> } | null = null

  async function request(): Promise<string> {
    const form: Record<string, string> = key
      ? { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: assertionOf(key, key.token_uri ?? url, io.now()) }
      : {
          grant_type: 'refresh_token',
          client_id: config.client_id ?? '',
          client_secret: config.client_secret ?? '',
          refresh_token: config.refresh_token ?? '',
        }
    const reply = await http.request({ method: 'POST', path: '', form, accept: [400, 401, 403] })
    const body = reply.json() as Readonly<Record<string, Value>> | null
    if (reply.status >= 400) throw refused(body?.['error'], key !== null)
    const token = body?.['access_token']
    if (typeof token !== 'string' || token === '') throw refused('no_access_token', key !== null)
    current = { until: io.now() + Number(body?.['expires_in'] ?? LIFE) * 1000 - MARGIN, token: Promise.resolve(token) }
    return token
  }

  return async () => {
    if (current === null || io.now() >= current.until) {
      const token = request().catch(notSent)
      // Requests that come meanwhile share it; one that failed is asked for again.
      current = { until: Number.POSITIVE_INFINITY, token }
      token.catch(() => (current = null))
    }
    return { authorization: `Bearer ${await current.token}` }
  }
}

/** No token, whatever became of the asking: the request it was for has not left. */
function notSent(error: unknown): never {
  throw error instanceof UnknownOutcome ? new NotSent(error.code, error.message, error) : error
}

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** "Using OAuth 2.0 for Server to Server Applications": RS256 over header and claims, all in base64url. */
function assertionOf(key: Key, audience: string, now: number): string {
  const issued = Math.floor(now / 1000)
  const head = part({ alg: 'RS256', typ: 'JWT', ...(key.private_key_id === undefined ? {} : { kid: key.private_key_id }) })
  const claims = part({ iss: key.client_email, scope: SCOPE, aud: audience, iat: issued, exp: issued + LIFE })
  try {
    return `${head}.${claims}.${createSign('RSA-SHA256').update(`${head}.${claims}`).sign(key.private_key, 'base64url')}`
  } catch {
    throw new AuthError('CDP3001', 'The private_key in service_account can’t be read.', {
      hint: 'Give the key file as Google made it: the line breaks of private_key are written \\n in its JSON.',
    })
  }
}

function refused(reason: Value | undefined, service: boolean): AuthError {
  const code = typeof reason === 'string' && /^\w{1,40}$/.test(reason) ? reason : 'unknown'
  return new AuthError('CDP3001', `Google refused the login (${code}).`, {
    hint: service
      ? 'Check that the key of the service account was not deleted or disabled, and that the clock of this machine is right.'
      : 'Grant the access again: a refresh token ends when the user revokes it or the consent screen is in testing for 7 days.',
  })
}
