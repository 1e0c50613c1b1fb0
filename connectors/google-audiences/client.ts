/** The requests to the Data Manager API: who asks for whom, what goes into a body, and which refusals are the row's fault. */
import {
  type Batch,
  CdpError,
  type ConnectorIO,
  type HttpReply,
  type HttpRequest,
  type Outcome,
  type Settings,
  type Value,
} from '../../src/index.ts'
import { createLogin } from './login.ts'
import { commonConsent } from './people.ts'
import { READ, refuse, requestIdOf, rowsRefused } from './reply.ts'
import type { Row } from './rows.ts'
import type { Account, Config, Options } from './settings.ts'

const METHODS: Readonly<Record<string, string>> = {
  upsert: '/v1/audienceMembers:ingest',
  delete: '/v1/audienceMembers:remove',
  append: '/v1/events:ingest',
}

export interface Client {
  /** Any lists of the account. Throws AuthError. */
  lists(): Promise<void>
  /** A UserList; null when the account has none of this id. */
  list(id: string): Promise<Readonly<Record<string, Value>> | null>
  /** Sends rows as one request; its id, or what is known of the rows when it was refused for some of them. */
  send(batch: Batch, rows: readonly Row[]): Promise<string | Outcome[]>
  /** How far a request is. */
  status(requestId: string): Promise<HttpReply>
}

export function createClient({ config, options }: Settings<Config, Options>, io: ConnectorIO): Client {
  const { operating_account: account, login_account: login, linked_account: linked } = config
  const http = io.http(config.base_url, { timeout: 120_000 })
  const authorize = createLogin(config, io)
  const lists = `/v1/${resource(account)}/userLists`
  // "userLists.get": the accounts through which the login reaches the one that is read.
  const through = {
    ...(login === undefined ? {} : { 'login-account': resource(login) }),
    ...(linked === undefined ? {} : { 'linked-account': resource(linked) }),
  }

  async function call(request: HttpRequest): Promise<HttpReply> {
    return http.request({ ...request, headers: { ...(await authorize()), ...request.headers }, accept: READ })
  }

  return {
    async lists() {
      const reply = await call({ method: 'GET', path: lists, query: { pageSize: 1 }, headers: through })
      if (reply.status >= 400) refuse(reply)
    },
    async list(id) {
      const reply = await call({ method: 'GET', path: `${lists}/${id}`, headers: through })
      if (reply.status === 404) return null
      if (reply.status >= 400) refuse(reply)
      return reply.json() as Readonly<Record<string, Value>>
    },
    async send(batch, rows) {
      const reply = await call({ method: 'POST', path: METHODS[batch.op] ?? '', json: bodyOf(batch, rows) })
      if (reply.status < 400) return requestIdOf(reply)
      return (reply.status === 400 ? rowsRefused(reply, rows) : null) ?? refuse(reply)
    },
    async status(requestId) {
      const reply = await call({ method: 'GET', path: '/v1/requestStatus:retrieve', query: { requestId } })
      return reply.status >= 400 ? refuse(reply) : reply
    },
  }

  function bodyOf({ object, op }: Batch, rows: readonly Row[]): object {
    const events = object === 'conversion'
    const consent = commonConsent(options)
    const destination = {
      operatingAccount: named(account),
      ...(login === undefined ? {} : { loginAccount: named(login) }),
      ...(linked === undefined ? {} : { linkedAccount: named(linked) }),
      productDestinationId: events ? (options.conversion_action ?? missing('conversion_action')) : (options.list ?? missing('list')),
    }
    return {
      destinations: [destination],
      [events ? 'events' : 'audienceMembers']: rows.map(({ body }) => body),
      ...(object === 'mobile-audience' ? {} : { encoding: 'HEX' }),
      ...(consent === undefined || op === 'delete' ? {} : { consent }),
      // The user's word that they accepted the terms in Google Ads; without it lists take nobody.
      ...(op === 'upsert' ? { termsOfService: { customerMatchTermsOfServiceStatus: 'ACCEPTED' } } : {}),
    }
  }
}

const resource = ({ product, id }: Account): string => `accountTypes/${product}/accounts/${id}`
const named = ({ product, id }: Account): object => ({ accountType: product, accountId: id })

/** An option that this object can't do without. */
export function missing(option: string): never {
  throw new CdpError('CDP1170', `options.${option} is missing.`, {
    hint: `Write the id of the ${option.replace('_', ' ')}: options: { ${option}: "1234567" }.`,
  })
}
