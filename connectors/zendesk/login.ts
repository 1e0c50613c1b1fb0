/** How the connector logs in to Zendesk, and what the replies mean that refuse it. */
import { z } from 'zod'
import { AuthError, type ConnectorIO, type FailedReply, type Http, NotSent, secret, UnknownOutcome } from '../../src/index.ts'
import { member, text } from './reply.ts'

export const config = z
  .strictObject({
    subdomain: z
      .string()
      .regex(/^[a-z0-9][a-z0-9-]*$/i, 'is the first part of the address only: `acme` of acme.zendesk.com')
      .describe('The account: `acme` of acme.zendesk.com.'),
    client_id: z
      .string()
      .min(1)
      .optional()
      .describe('Identifier of an OAuth client; with `client_secret`. The best way to log in: tokens renew themselves.'),
    client_secret: secret().optional().describe('Secret of the OAuth client.'),
    access_token: secret().optional().describe('An OAuth access token instead.'),
    email: z.string().min(1).optional().describe('E-mail address of the agent that `api_token` belongs to.'),
    api_token: secret().optional().describe('An API token instead. Zendesk turns them off on 30 April 2027.'),
    requests_per_minute: z
      .int()
      .min(10)
      .max(2500)
      .default(400)
      .describe(
        'Requests per minute that the plan allows: Team 200, Growth and Professional 400, Enterprise 700, High Volume add-on 2500.',
      ),
    base_url: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe('Where the API is. Default: `https://SUBDOMAIN.zendesk.com`.'),
  })
  .superRefine((entry, context) => {
    const ways = [
      entry.client_id !== undefined || entry.client_secret !== undefined,
      entry.access_token !== undefined,
      entry.email !== undefined || entry.api_token !== undefined,
    ]
    const problem = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
    if (ways.filter(Boolean).length !== 1)
      return problem('subdomain', 'needs one way to log in: client_id and client_secret, or access_token, or email and api_token')
    if ((entry.client_id === undefined) !== (entry.client_secret === undefined))
      problem(entry.client_id === undefined ? 'client_secret' : 'client_id', 'client_id and client_secret belong together')
    if ((entry.email === undefined) !== (entry.api_token === undefined))
      problem(entry.email === undefined ? 'api_token' : 'email', 'email and api_token belong together')
  })

export type Config = z.infer<typeof config>

/** A token is renewed this long before it ends, so that no request carries one that ends on the way. */
const EARLY_MS = 60_000

/** A client that logs in with every request. */
export function connect(config: Config, io: ConnectorIO): Http {
  const { subdomain, base_url, client_id, client_secret, access_token, email, api_token } = config
  const http = io.http(base_url ?? `https://${subdomain}.zendesk.com`, { failure: (reply) => failure(reply, config) })
  const issued = client_id === undefined ? null : tokens(http, io, { client_id, client_secret: client_secret ?? '' })
  const basic = `Basic ${Buffer.from(`${email ?? ''}/token:${api_token ?? ''}`).toString('base64')}`
  const authorization = async (): Promise<string> =>
    issued ? `Bearer ${await issued()}` : access_token === undefined ? basic : `Bearer ${access_token}`
  return {
    request: async (request) => http.request({ ...request, headers: { authorization: await authorization(), ...request.headers } }),
  }
}

interface Token {
  readonly token: string
  readonly until: number
}

/**
 * Access tokens by the client-credentials grant ("OAuth Tokens for Grant Types", Zendesk developer docs), one for all
 * requests that go on at a time. `read write`: what a job did is read under no narrower scope that is documented.
 */
function tokens(http: Http, io: ConnectorIO, client: { client_id: string; client_secret: string }): () => Promise<string> {
  let held: Token | null = null
  let asking: Promise<Token> | null = null
  const ask = async (): Promise<Token> => {
    const json = { grant_type: 'client_credentials', ...client, scope: 'read write' }
    const reply = (await http.request({ method: 'POST', path: '/oauth/tokens', json })).json()
    const token = text(member(reply, 'access_token'))
    // Nothing of a row was sent with it.
    if (token === undefined) throw new NotSent('no_token', 'Zendesk answered the login without an access token.')
    const seconds = Number(text(member(reply, 'expires_in')) ?? Infinity)
    return { token, until: io.now() + seconds * 1000 - EARLY_MS }
  }
  return async () => {
    if (held !== null && held.until > io.now()) return held.token
    asking ??= ask().finally(() => (asking = null))
    const fresh = await asking
    held = fresh
    return fresh.token
  }
}

function failure({ status, body, route }: FailedReply, config: Config): Error | undefined {
  if (status === 404 && (route === '/oauth/tokens' || route === '/api/v2/users/me'))
    return new AuthError('CDP3001', `There is no Zendesk account ${config.subdomain}.zendesk.com.`, {
      hint: 'Set `subdomain` to the first part of the address at which agents log in.',
    })
  // Requests for a token change nothing, so what became of one is of no concern.
  if (route === '/oauth/tokens' && (status >= 500 || status === 408))
    return new NotSent(`http_${status}`, `The login at Zendesk failed with ${status}.`)
  if (status === 401 || (route === '/oauth/tokens' && status === 400))
    return new AuthError('CDP3001', `Zendesk refused the login to ${config.subdomain}.`, { hint: loginHint(config) })
  if (status === 403) {
    const scopes = /scopes?: ([\w:, ]+)/.exec(text(member(body, 'description')) ?? '')?.[1]
    return scopes === undefined
      ? new AuthError('CDP3002', 'The Zendesk user behind this login lacks the permission for this.', {
          hint: 'Use the login of an admin, or of an agent whose custom role may manage users and organizations.',
        })
      : new AuthError('CDP3002', `The Zendesk token lacks the scope ${scopes.trim()}.`, {
          hint: 'Create a token with this scope, or configure an OAuth client (client_id, client_secret).',
        })
  }
  // A question about a job that is refused says nothing of its rows.
  if (route.startsWith('/api/v2/job_statuses') && status >= 400 && status < 500 && status !== 429)
    return new UnknownOutcome(`http_${status}`, `Zendesk refused to tell what became of a job: ${status}.`)
  // "Conflict: merge conflict … or the resource collided with another change": nothing was saved ("Requests", HTTP status codes).
  if (status === 409) return new NotSent('DatabaseConflict', 'Zendesk was changing the record at the same time.')
  return undefined
}

function loginHint({ client_id, access_token }: Config): string {
  if (client_id !== undefined)
    return 'Check client_id (the identifier, not the number) and client_secret, and that the client is of this account.'
  if (access_token !== undefined)
    return 'The access token is wrong, expired or revoked: create another, or configure client_id and client_secret, whose tokens renew themselves.'
  return 'Check email and api_token. Zendesk turns off tokens that nobody uses, and all of them on 30 April 2027: configure an OAuth client (client_id, client_secret) instead.'
}

/** A reply without what it must have confirms nothing. */
export function incomplete(what: string): UnknownOutcome {
  return new UnknownOutcome('incomplete_reply', `Zendesk answered without ${what}.`)
}
