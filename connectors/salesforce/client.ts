/** Talks to one Salesforce org: logs in, sends requests with the session, and says what a refusal means. */
import { createSign } from 'node:crypto'
import {
  AuthError,
  type ConnectorIO,
  type FailedReply,
  type Http,
  type HttpReply,
  type HttpRequest,
  NotSent,
  RateLimited,
  UnknownOutcome,
  type Value,
} from '../../src/index.ts'
import type { Config } from './config.ts'

/** Salesforce gives a request up to ten minutes; a collection of 200 rows with triggers takes one or two at most. */
const TIMEOUT = 120_000
/** Milliseconds. The daily limit counts the last 24 hours, so some of it is back after one. */
const HOUR = 3_600_000
/** Seconds; Salesforce takes assertions of up to three minutes (OAuth 2.0 JWT Bearer Flow). */
const ASSERTION_LIFE = 170

/** Else assignment rules may give a lead, case or account another owner than the row says; jobs don't apply them (REST API Developer Guide, "Assignment Rule Header"). */
const UNASSIGNED = { 'sforce-auto-assign': 'FALSE' }

export type Json = Readonly<Record<string, Value>>

/** Requests of one org, relative to its REST API of one version. */
export interface Api {
  /** `path` follows `/services/data/vXX.0`. Logs in when there is no session, and once more when it has ended. */
  request(request: HttpRequest): Promise<HttpReply>
  /** All records of a SOQL query, page by page. */
  query(soql: string): AsyncIterable<Json>
}

export function openApi(config: Config, io: ConnectorIO): Api {
  const http = io.http(config.instance_url, { timeout: TIMEOUT, failure: refusal })
  const login = io.http(config.private_key === undefined ? config.instance_url : loginUrl(config), { failure: loginRefusal })
  const root = `/services/data/v${config.api_version}`
  let session: Promise<string> | undefined

  function token(): Promise<string> {
    if (session === undefined) {
      const fresh = logIn(login, config, io.now())
      session = fresh
      // A login that failed is no session; whoever asks next tries again.
      void fresh.then(undefined, () => {
        if (session === fresh) session = undefined
      })
    }
    return session
  }

  const send = async (request: HttpRequest, session: string): Promise<HttpReply> =>
    http.request({
      ...request,
      path: request.path.startsWith('/services/') ? request.path : root + request.path,
      headers: { ...request.headers, ...UNASSIGNED, authorization: `Bearer ${session}` },
    })

  async function request(request: HttpRequest): Promise<HttpReply> {
    const used = token()
    const reply = await send({ ...request, accept: [...(request.accept ?? []), 401] }, await used)
    if (reply.status !== 401) return reply
    // Tokens don't say how long they live: a session that ended is noticed here, and nothing was done.
    if (session === used) session = undefined
    return send(request, await token())
  }

  async function* query(soql: string): AsyncIterable<Json> {
    let next: HttpRequest = { method: 'GET', path: '/query', query: { q: soql } }
    for (;;) {
      const page = objectOf((await request(next)).json())
      const { records, nextRecordsUrl } = page
      if (!Array.isArray(records)) throw new UnknownOutcome('bad_reply', 'The reply to a query has no records.')
      for (const record of records as readonly Value[]) yield objectOf(record)
      if (typeof nextRecordsUrl !== 'string') return
      next = { method: 'GET', path: nextRecordsUrl, route: `${root}/query/…` }
    }
  }

  return { request, query }
}

export function objectOf(value: Value | undefined): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json
  throw new UnknownOutcome('bad_reply', 'The reply is not of the form that Salesforce documents.')
}

/** '' for what is no text. */
export const textOf = (value: Value | undefined): string => (typeof value === 'string' ? value : '')

/** Sandboxes log in at their own host; the audience of an assertion is one of the two. */
function loginUrl({ login_url, instance_url }: Config): string {
  return login_url ?? `https://${/\.sandbox\.|--/.test(new URL(instance_url).host) ? 'test' : 'login'}.salesforce.com`
}

async function logIn(http: Http, config: Config, now: number): Promise<string> {
  const { client_id, client_secret } = config
  const form: Record<string, string> =
    client_secret === undefined
      ? { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: assertion(config, now) }
      : { grant_type: 'client_credentials', client_id, client_secret }
  const reply = await http.request({ method: 'POST', path: '/services/oauth2/token', form })
  const { access_token } = objectOf(reply.json())
  if (typeof access_token !== 'string') throw new NotSent('no_token', 'Salesforce answered the login without an access_token.')
  return access_token
}

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A JWT signed with the key whose certificate the app in Salesforce has. */
function assertion(config: Config, now: number): string {
  const claims = { iss: config.client_id, sub: config.username, aud: loginUrl(config), exp: Math.floor(now / 1000) + ASSERTION_LIFE }
  const text = `${part({ alg: 'RS256' })}.${part(claims)}`
  return `${text}.${createSign('RSA-SHA256')
    .update(text)
    .sign(config.private_key ?? '', 'base64url')}`
}

interface Said {
  readonly code: string
  readonly message: string
}

/** The first error of a reply: `[{ errorCode, message }]`, or of a login `{ error, error_description }`. */
function saidBy(body: Value | undefined): Said {
  const [first] = [body].flat() as readonly (Value | undefined)[]
  const { errorCode, message, error, error_description } = (typeof first === 'object' && first !== null ? first : {}) as Json
  return { code: textOf(errorCode) || textOf(error), message: textOf(message) || textOf(error_description) }
}

/** What the service said stays in the cause: it may quote values. */
const login = (message: string, hint: string, said: Said): AuthError =>
  new AuthError('CDP3001', message, { hint, cause: new Error(said.message) })

/** What a refused request means where its status does not say it (REST API Developer Guide, "Status Codes and Error Responses"). */
export function refusal({ status, body, method }: Pick<FailedReply, 'status' | 'body'> & { readonly method?: string }): Error | undefined {
  const said = saidBy(body)
  // What became of a question is of no concern: the rows did not leave with it.
  if (method === 'GET' && status >= 500) return new NotSent(said.code || `http_${status}`, `Salesforce answered ${status} to a question.`)
  if (said.code === 'REQUEST_LIMIT_EXCEEDED' && /TotalRequests/i.test(said.message))
    return new RateLimited('Salesforce: the API requests that this org may make in 24 hours are used up.', HOUR)
  // Too many long requests at once, said with 403.
  if (said.code === 'REQUEST_LIMIT_EXCEEDED' && status === 403) return new RateLimited(`Salesforce: ${said.message}`)
  if (status === 401)
    return login(
      `Salesforce refused the session it had just given (${said.code || 'no reason given'}): the login does not hold.`,
      'Check in Setup that the user of the External Client App is active, may use the API, and is not kept out by IP ranges or session settings.',
      said,
    )
  if (status !== 403) return undefined
  const why = said.code.startsWith('API_') ? 'the API is not enabled for this user or org' : 'the user lacks a permission'
  return new AuthError('CDP3002', `Salesforce answered 403 (${said.code || 'no reason given'}): ${why}.`, {
    hint: 'Give the user of the External Client App a permission set with "API Enabled", access to the object (Read, Create, Edit; Delete for removals), and Edit access to each mapped field.',
    cause: new Error(said.message),
  })
}

/** Of the token endpoint (Salesforce Help, "OAuth 2.0 flow errors"). */
function loginRefusal(reply: FailedReply): Error | undefined {
  const said = saidBy(reply.body)
  // No row was sent with a login, so what became of it is of no concern.
  if (reply.status >= 500) return new NotSent(`http_${reply.status}`, `The login at Salesforce failed with ${reply.status}.`)
  if (reply.status === 429) return undefined
  const hints: Readonly<Record<string, string>> = {
    invalid_client_id: 'client_id is the consumer key of the External Client App; it may take ten minutes after its creation to work.',
    invalid_client: 'client_secret is the consumer secret of the External Client App; was it rotated?',
    invalid_grant:
      'Client credentials: enable that flow in the app and give it a "Run As" user. JWT: upload the certificate of private_key, pre-authorize the user, and set login_url to https://test.salesforce.com for a sandbox.',
    unsupported_grant_type: 'Enable the client credentials or the JWT bearer flow in the External Client App.',
    unauthorized_client: 'Enable the client credentials or the JWT bearer flow in the External Client App.',
  }
  const hint =
    hints[said.code] ?? 'Is instance_url the My Domain of the org (https://NAME.my.salesforce.com), as Setup > My Domain shows it?'
  return login(`Salesforce refused the login (${said.code || `status ${reply.status}`}).`, hint, said)
}
