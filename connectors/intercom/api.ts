/** The client of the Intercom API: its settings, the reading of its replies, and what its refusals mean. */
import { z } from 'zod'
import {
  AuthError,
  type ConnectorIO,
  encodeJson,
  type FailedReply,
  type Fields,
  type Http,
  type HttpReply,
  type Outcome,
  RawJson,
  Refused,
  secret,
  UnknownOutcome,
  type Value,
} from '../../src/index.ts'

/** "Intercom-hosted regions" (Intercom developer docs, REST API). */
const HOSTS = { us: 'https://api.intercom.io', eu: 'https://api.eu.intercom.io', au: 'https://api.au.intercom.io' } as const

export const config = z.strictObject({
  access_token: secret().describe('Access token of an app of the workspace.'),
  region: z.enum(['us', 'eu', 'au']).default('us').describe('Where the workspace is hosted.'),
  base_url: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe('Where the API is. Default: the one of the region.'),
})

export type Config = z.infer<typeof config>

/** Without it the app's own version would count, which may be an old one. */
const VERSION = '2.16'

export function connect({ access_token, region, base_url }: Config, io: ConnectorIO): Http {
  return io.http(base_url ?? HOSTS[region], {
    headers: { authorization: `Bearer ${access_token}`, 'intercom-version': VERSION, accept: 'application/json' },
    failure: (reply) => failure(reply, region),
  })
}

function failure(reply: FailedReply, region: Config['region']): Error | undefined {
  const { status, route } = reply
  if (status === 401)
    return new AuthError('CDP3001', 'Intercom refused the access token.', {
      hint: `Copy the access token of the app (Developer Hub > your app > Configure > Authentication), and check that the workspace is hosted in the region ${region}.`,
    })
  if (status === 403)
    return new AuthError(
      'CDP3002',
      `The app of the access token lacks the permission for ${reply.method} ${route} (${said(reply.body).code}).`,
      {
        hint: `Developer Hub > your app > Configure > Authentication > Edit: grant reading and writing of ${route.includes('tags') ? 'tags' : 'users and companies'}.`,
      },
    )
  if (status >= 400 && status < 500 && ![408, 425, 429].includes(status)) {
    const { code, message } = said(reply.body)
    return new Refused(code, message, status)
  }
  return undefined
}

export function isObject(value: Value | undefined): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof RawJson)
}

/** A member of an object; undefined when there is none. */
export function member(value: Value | undefined, name: string): Value | undefined {
  return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined
}

/** A text, or a number with all its digits; undefined for anything else and for an empty text. */
export function text(value: Value | undefined): string | undefined {
  if (typeof value === 'number' || value instanceof RawJson) return encodeJson(value)
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** The objects of a list. Throws UnknownOutcome when it is none. */
export function objects(value: Value | undefined): Fields[] {
  if (!Array.isArray(value)) throw new UnknownOutcome('incomplete_reply', 'Intercom answered without the list that was asked for.')
  return (value as readonly Value[]).filter(isObject)
}

/** Messages go into reports, one a row. */
const MAX_MESSAGE = 500

/** Every error is `{"type":"error.list","errors":[{code,message,field}]}` ("Errors", Intercom developer docs). */
export function said(body: Value | undefined): { code: string; message: string; field?: string } {
  const list = member(body, 'errors')
  const [first] = Array.isArray(list) ? (list as readonly Value[]) : []
  const message = (text(member(first, 'message')) ?? 'Intercom refused the request without saying why.').slice(0, MAX_MESSAGE)
  const attribute = /^Custom attribute '([^']+)'/.exec(message)?.[1]
  const field = attribute === undefined ? text(member(first, 'field')) : `custom_attributes.${attribute}`
  return { code: text(member(first, 'code')) ?? 'rejected', message, ...(field === undefined ? {} : { field }) }
}

export const rejected = (key: string, reply: HttpReply): Outcome => ({ key, result: 'rejected', ...said(reply.json()) })

/** What a 2xx says of a record: it is confirmed by its id, the one that was asked for, and by nothing less. */
export function confirmed(key: string, reply: HttpReply, asked?: string): Outcome {
  const id = text(member(reply.json(), 'id'))
  if (id !== undefined && asked !== undefined && id !== asked)
    return { key, result: 'unknown', code: 'contradiction', message: 'Intercom answered with another record.' }
  if (id !== undefined) return { key, result: 'ok', remoteId: id }
  return { key, result: 'unknown', code: 'incomplete_reply', message: 'Intercom answered without the id of the record.' }
}

/** The record in a 2xx reply. Throws UnknownOutcome when there is none: an empty reply is not "not there". */
export function recordIn(reply: HttpReply): Fields {
  const record = reply.json()
  if (isObject(record) && text(record['id']) !== undefined) return record
  throw new UnknownOutcome('incomplete_reply', 'Intercom answered without the record that was asked for.')
}

/** Ids of records go into paths. */
export const part = (id: string): string => encodeURIComponent(id)
