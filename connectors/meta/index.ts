/** Keeps Meta's custom audiences in step with the warehouse, and sends events through the Conversions API. */
import { createHmac } from 'node:crypto'
import {
  CdpError,
  type ConnectorIO,
  defineConnector,
  type Destination,
  type FieldInfo,
  type HttpReply,
  type HttpRequest,
  type ObjectSpec,
  type Settings,
  UnknownOutcome,
} from '../../src/index.ts'
import { HELPERS, uploaded, uploadOf } from './audience.ts'
import { EVENT_FIELDS, eventsOf } from './event.ts'
import { membersOf, READ, refuse } from './reply.ts'
import { type Config, config, type Options, options } from './settings.ts'

type Given = Settings<Config, Options>

/** The newest version in Meta's documents of 2026; each lives two years. */
const VERSION = 'v25.0'
/** "Custom Audiences", session: rows of one request. "Using the API" of the Conversions API: events of one request. */
const MAX_ROWS = 10_000
const MAX_EVENTS = 1_000

const audience: ObjectSpec = {
  description: 'Members of a custom audience, found by e-mail address, phone number, your own id or mobile advertising id.',
  modes: ['mirror'],
  address: { match: 'any' },
  match: {
    email: 'email',
    email_sha256: 'lower_ascii',
    phone: 'digits',
    phone_sha256: 'lower_ascii',
    external_id: 'exact',
    mobile_id: 'lower_ascii',
  },
  membership: true,
  confirms: 'accepted',
  replay: { upsert: 'harmless', delete: 'harmless' },
  removes: ['delete'],
  targetOptions: ['audience'],
}

const event: ObjectSpec = {
  description: 'An event of the Conversions API, such as Purchase or Lead.',
  modes: ['append'],
  address: 'key',
  match: {},
  confirms: 'request',
  // "Handling duplicate events": a second event with the same name and id within 48 hours is dropped.
  replay: { append: 'deduplicated' },
  targetOptions: ['dataset'],
}

export default defineConnector<Config, Options>({
  name: 'meta',
  description: 'Meta (Facebook, Instagram): custom audiences and Conversions API.',
  version: 1,
  config,
  options,
  objects: { audience, event },
  limits: (_, __, object) => ({
    rows: object === 'event' ? MAX_EVENTS : MAX_ROWS,
    // The limit is a share of an hour's computing time that only Meta knows ("Rate limiting"): a few at once leave room for others.
    concurrency: 4,
    timeout: 120_000,
  }),
  open: (settings, io) => openAccount(settings, io),
})

function openAccount({ config: entry, options: chosen }: Given, io: ConnectorIO): Destination {
  const http = io.http(entry.base_url, { headers: { authorization: `Bearer ${entry.access_token}` }, timeout: 120_000 })
  // "Securing Graph API calls": proves that the token is used by its app.
  const proof =
    entry.app_secret === undefined
      ? {}
      : { appsecret_proof: createHmac('sha256', entry.app_secret).update(entry.access_token).digest('hex') }

  async function call(request: HttpRequest): Promise<HttpReply> {
    const path = `/${VERSION}${request.path}`
    const reply = await http.request({ ...request, path, query: { ...request.query, ...proof }, accept: READ })
    return reply.status < 300 ? reply : refuse(reply)
  }

  return {
    async check() {
      const reply = await call({ method: 'GET', path: `/act_${entry.ad_account_id}`, query: { fields: 'account_id,name' } })
      const { account_id: id, name } = membersOf(reply)
      if (typeof id !== 'string' || id === '') throw new UnknownOutcome('no_account', 'Meta’s reply names no ad account.')
      return { id, name: typeof name === 'string' && name !== '' ? name : `act_${id}` }
    },
    async describe(object) {
      if (object === 'event') {
        await call({ method: 'GET', path: `/${chosen.dataset ?? required('dataset')}`, query: { fields: 'id' } })
        return EVENT_FIELDS.map(fieldInfo)
      }
      const path = `/${chosen.audience ?? required('audience')}`
      const reply = membersOf(await call({ method: 'GET', path, query: { fields: 'id,name,operation_status' } }))
      const status = reply['operation_status'] as { code?: number } | undefined
      // "Custom Audiences": 471 says that it was flagged and can't be edited.
      if (status?.code === 471)
        throw new CdpError('CDP1170', 'options.audience: Meta flagged this custom audience, so its members can’t be changed.', {
          hint: 'Resolve the restriction in Audiences of Ads Manager, or use another audience.',
        })
      return HELPERS.map(fieldInfo)
    },
    async *write({ object, op, changes }) {
      if (object === 'event') {
        const { data, keys, rejected } = eventsOf(changes, io.now())
        if (data.length === 0) return yield* rejected
        const code = chosen.test_event_code === undefined ? {} : { test_event_code: chosen.test_event_code }
        const path = `/${chosen.dataset ?? required('dataset')}/events`
        const reply = membersOf(await call({ method: 'POST', path, json: { data, ...code } }))
        if (reply['events_received'] !== data.length)
          throw new UnknownOutcome('not_all_received', `Meta does not say that it received ${data.length} events.`)
        for (const key of keys) yield { key, result: 'ok' }
        return yield* rejected
      }
      const upload = uploadOf(changes)
      if (upload.keys.length === 0) return yield* upload.rejected
      const path = `/${chosen.audience ?? required('audience')}/users`
      yield* uploaded(await call({ method: op === 'delete' ? 'DELETE' : 'POST', path, json: upload.body }), upload)
      // After the others: an error above speaks for every row of the request.
      yield* upload.rejected
    },
  }
}

const TYPES: Readonly<Record<string, FieldInfo>> = {
  event_time: { name: 'event_time', type: 'timestamptz', accepts: ['timestamptz', 'timestamp', 'date', 'integer', 'string'] },
  opt_out: { name: 'opt_out', type: 'boolean', accepts: ['boolean'] },
  value: { name: 'value', type: 'decimal', accepts: ['decimal', 'integer', 'float'] },
  predicted_ltv: { name: 'predicted_ltv', type: 'decimal', accepts: ['decimal', 'integer', 'float'] },
  num_items: { name: 'num_items', type: 'integer', accepts: ['integer', 'decimal'] },
  content_ids: { name: 'content_ids', type: 'json', accepts: ['json'] },
  contents: { name: 'contents', type: 'json', accepts: ['json'] },
  custom_data: { name: 'custom_data', type: 'json', accepts: ['json'] },
}

const fieldInfo = (name: string): FieldInfo => TYPES[name] ?? { name, type: 'string' }

function required(option: string): never {
  throw new CdpError('CDP1170', `options.${option} is missing.`, {
    hint: `Write the id of the ${option}: options: { ${option}: "1234567" }. Ads Manager and Events Manager show it.`,
  })
}
