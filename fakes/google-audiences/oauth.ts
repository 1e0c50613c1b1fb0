/** Google's token endpoint: access tokens for a service account (signed JWT) or for a user's refresh token. */
import { createVerify, generateKeyPairSync } from 'node:crypto'
import type { FakeControl, FakeReply, FakeRequest } from '../../src/testing/fake.ts'

export const SCOPE = 'https://www.googleapis.com/auth/datamanager'
const CLIENT_EMAIL = 'cdp-sync@example-project.iam.gserviceaccount.com'
const KEY_ID = '5f0c1d'
export const CLIENT = { id: '4711-example.apps.googleusercontent.com', secret: 'GOCSPX-example', refreshToken: '1//example-refresh-token' }
/** Seconds (Using OAuth 2.0 for Server to Server Applications: `expires_in` 3600). */
const LIFE = 3600

let pair: { publicKey: string; privateKey: string } | undefined

/** Made once a process: a fixed key in the repository would set off every scanner of secrets. */
function keys(): { publicKey: string; privateKey: string } {
  pair ??= generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  return pair
}

/** The key file of a service account, as its JSON text. */
export function keyFile(tokenUri: string, privateKey = keys().privateKey): string {
  return JSON.stringify({
    type: 'service_account',
    project_id: 'example-project',
    private_key_id: KEY_ID,
    private_key: privateKey,
    client_email: CLIENT_EMAIL,
    client_id: '100000000000000000001',
    auth_uri: 'https://accounts.google.com/o/oauth2/auth',
    token_uri: tokenUri,
  })
}

/** A key file whose key nobody registered. */
export function foreignKeyFile(tokenUri: string): string {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  return keyFile(tokenUri, privateKey)
}

export interface Tokens {
  /** Answers `POST /token`. */
  issue(request: FakeRequest): FakeReply
  /** Null when the header carries a token that is good now; else the reason of the 401, or the missing scope. */
  refuses(authorization: string | undefined): 'ACCESS_TOKEN_TYPE_UNSUPPORTED' | 'ACCESS_TOKEN_EXPIRED' | 'scope' | null
}

export function createTokens(control: FakeControl): Tokens {
  const issued = new Map<string, { until: number; scopes: readonly string[] }>()
  const grant = (scope: string): FakeReply => {
    const token = `ya29.example-${issued.size + 1}`
    issued.set(token, { until: control.now() + LIFE * 1000, scopes: scope.split(' ') })
    return { status: 200, json: { access_token: token, expires_in: LIFE - 1, scope, token_type: 'Bearer' } }
  }
  return {
    issue(request) {
      if (request.method !== 'POST') return { status: 404, headers: { 'content-type': 'text/html' }, text: '<html>404</html>' }
      if (!request.headers['content-type']?.startsWith('application/x-www-form-urlencoded'))
        return oauthError(400, 'invalid_request', 'Required parameter is missing: grant_type')
      const form = request.form()
      switch (form.get('grant_type')) {
        case 'urn:ietf:params:oauth:grant-type:jwt-bearer': {
          const scope = readAssertion(form.get('assertion') ?? '', control)
          return typeof scope === 'string' ? grant(scope) : scope
        }
        case 'refresh_token':
          if (form.get('client_id') !== CLIENT.id) return oauthError(401, 'invalid_client', 'The OAuth client was not found.')
          if (form.get('client_secret') !== CLIENT.secret)
            return oauthError(401, 'invalid_client', 'The provided client secret is invalid.')
          if (form.get('refresh_token') !== CLIENT.refreshToken)
            return oauthError(400, 'invalid_grant', 'Token has been expired or revoked.')
          return grant(SCOPE)
        case null:
          return oauthError(400, 'invalid_request', 'Required parameter is missing: grant_type')
        default:
          return oauthError(400, 'unsupported_grant_type', `Invalid grant_type: ${form.get('grant_type')}`)
      }
    },
    refuses(authorization) {
      const found = issued.get(/^Bearer (.+)$/.exec(authorization ?? '')?.[1] ?? '')
      if (!found) return 'ACCESS_TOKEN_TYPE_UNSUPPORTED'
      if (found.until <= control.now()) return 'ACCESS_TOKEN_EXPIRED'
      return found.scopes.includes(SCOPE) ? null : 'scope'
    },
  }
}

/** The scope that the JWT asks for; a reply when Google would not take it. */
function readAssertion(assertion: string, control: FakeControl): string | FakeReply {
  const [head = '', payload = '', signature = ''] = assertion.split('.')
  const header = decode(head)
  const claims = decode(payload)
  if (!header || !claims) return oauthError(400, 'invalid_grant', 'Invalid JWT: Failed to parse.')
  if (header['alg'] !== 'RS256') return oauthError(400, 'invalid_grant', 'Invalid JWT: unsupported algorithm.')
  if (claims['iss'] !== CLIENT_EMAIL) return oauthError(400, 'invalid_grant', 'Invalid grant: account not found')
  const good = createVerify('RSA-SHA256').update(`${head}.${payload}`).verify(keys().publicKey, signature, 'base64url')
  if (!good) return oauthError(400, 'invalid_grant', 'Invalid JWT Signature.')
  if (claims['aud'] !== `${control.url}/token` && claims['aud'] !== 'https://oauth2.googleapis.com/token')
    return oauthError(400, 'invalid_grant', 'Invalid JWT: the audience must be the token endpoint.')
  const [iat, exp] = [Number(claims['iat']), Number(claims['exp'])]
  const now = control.now() / 1000
  // Five minutes: how far clocks may differ is not published.
  if (!(exp > iat) || exp - iat > LIFE || iat > now + 300 || exp < now)
    return oauthError(
      400,
      'invalid_grant',
      'Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.',
    )
  const scope = claims['scope']
  if (typeof scope !== 'string' || scope === '')
    return oauthError(400, 'invalid_scope', 'Invalid OAuth scope or ID token audience provided.')
  return scope
}

function decode(part: string): Record<string, unknown> | null {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString('utf8')) as Record<string, unknown>
  } catch {
    return null
  }
}

function oauthError(status: number, error: string, description: string): FakeReply {
  return { status, json: { error, error_description: description } }
}
