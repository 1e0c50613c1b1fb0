/** The OAuth 2.0 token endpoint of the Salesforce fake: client credentials and JWT bearer. */
import { createVerify, generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { FakeControl, FakeReply, FakeRequest } from '../../src/testing/fake.ts'

export const CLIENT_ID = '3MVG9-fake-consumer-key'
export const CLIENT_SECRET = 'fake-consumer-secret'
export const USERNAME = 'sync@example.com'

let pair: { readonly publicKey: KeyObject; readonly privateKey: KeyObject } | undefined

/** The key pair whose certificate is uploaded to the External Client App; made when first asked for. */
function keys(): NonNullable<typeof pair> {
  return (pair ??= generateKeyPairSync('rsa', { modulusLength: 2048 }))
}

/** The private key to sign assertions with, as PEM. */
export function privateKey(): string {
  return keys().privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

/** A session lives for two hours without use; Salesforce's tokens do not say so. */
const LIFE = 2 * 3600 * 1000

/** A class: the sessions of one org. */
export class Sessions {
  readonly #tokens = new Map<string, number>()
  readonly #control: FakeControl
  readonly #org: string
  readonly #user: string
  #count = 0

  constructor(control: FakeControl, org: string, user: string) {
    this.#control = control
    this.#org = org
    this.#user = user
  }

  valid(authorization: string | undefined): boolean {
    const token = /^(?:Bearer|OAuth) (\S+)$/i.exec(authorization ?? '')?.[1]
    const until = this.#tokens.get(token ?? '')
    if (token === undefined || until === undefined || until < this.#control.now()) return false
    this.#tokens.set(token, this.#control.now() + LIFE)
    return true
  }

  /** `POST /services/oauth2/token` */
  login(request: FakeRequest): FakeReply {
    if (request.method !== 'POST') return refused('invalid_request', 'must use HTTP POST')
    if (!/^application\/x-www-form-urlencoded/i.test(request.headers['content-type'] ?? ''))
      return refused('unsupported_grant_type', 'grant type not supported')
    const form = request.form()
    switch (form.get('grant_type') ?? '') {
      case 'client_credentials':
        if (form.get('client_id') !== CLIENT_ID) return refused('invalid_client_id', 'client identifier invalid')
        if (form.get('client_secret') !== CLIENT_SECRET) return refused('invalid_client', 'invalid client credentials')
        return this.#grant()
      case 'urn:ietf:params:oauth:grant-type:jwt-bearer':
        return this.#assertion(form.get('assertion') ?? '')
      default:
        return refused('unsupported_grant_type', 'grant type not supported')
    }
  }

  #assertion(assertion: string): FakeReply {
    const [header = '', claims = '', signature = '', ...more] = assertion.split('.')
    const head = decode(header)
    const said = decode(claims)
    if (more.length > 0 || head?.['alg'] !== 'RS256' || said === undefined) return refused('invalid_grant', 'invalid assertion')
    if (said['iss'] !== CLIENT_ID) return refused('invalid_client_id', 'client identifier invalid')
    const audiences = ['https://login.salesforce.com', 'https://test.salesforce.com', this.#control.url]
    if (!audiences.includes(String(said['aud']).replace(/\/$/, ''))) return refused('invalid_grant', 'audience is invalid')
    const left = Number(said['exp']) - this.#control.now() / 1000
    // OAuth 2.0 JWT Bearer Flow: the token must not be older than 3 minutes; up to 5 are let through.
    if (!(left > 0 && left <= 300)) return refused('invalid_grant', 'expired authorization code')
    if (said['sub'] !== USERNAME) return refused('invalid_grant', "user hasn't approved this consumer")
    const genuine = createVerify('RSA-SHA256').update(`${header}.${claims}`).verify(keys().publicKey, signature, 'base64url')
    return genuine ? this.#grant() : refused('invalid_grant', 'invalid assertion')
  }

  #grant(): FakeReply {
    const token = `${this.#org.slice(0, 15)}!fake.${++this.#count}`
    this.#tokens.set(token, this.#control.now() + LIFE)
    const id = `${this.#control.url}/id/${this.#org}/${this.#user}`
    const issued = { issued_at: String(this.#control.now()), signature: 'c2lnbmF0dXJl' }
    return {
      status: 200,
      json: { access_token: token, instance_url: this.#control.url, id, token_type: 'Bearer', scope: 'api', ...issued },
    }
  }

  /** `GET /services/oauth2/userinfo` */
  userinfo(): FakeReply {
    const { url } = this.#control
    const user = { user_id: this.#user, organization_id: this.#org, preferred_username: USERNAME, nickname: 'sync', name: 'Sync User' }
    return {
      status: 200,
      json: {
        sub: `${url}/id/${this.#org}/${this.#user}`,
        ...user,
        email: USERNAME,
        email_verified: true,
        user_type: 'STANDARD',
        active: true,
      },
    }
  }
}

function refused(error: string, description: string): FakeReply {
  return { status: error === 'invalid_client' ? 401 : 400, json: { error, error_description: description } }
}

function decode(part: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>
  } catch {
    return undefined
  }
}
