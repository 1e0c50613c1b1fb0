/** Statsig: members of ID-list segments, and events. */
import { z } from 'zod'
import { AuthError, type ConnectorIO, defineConnector, type FailedReply, type Limits, type Op, secret } from '../../src/index.ts'
import { appendEvents, describeEvents, sendWebhook } from './events.ts'
import { type Options, segmentOf } from './segment.ts'

const config = z.strictObject({
  console_api_key: secret().describe('A Console API key (`console-…`) that may write. It also tells which project this is.'),
  server_secret: secret().optional().describe('A Server Secret Key (`secret-…`); needed for events only.'),
  base_url: z.url().default('https://statsigapi.net').describe('Where the Console API is.'),
  events_url: z.url().default('https://events.statsigapi.net').describe('Where events are logged.'),
  webhooks_url: z.url().default('https://api.statsig.com').describe('Where the event webhook is.'),
})

/** Names and ids: SegmentCreateContractDto in Statsig's Console API specification 20240601. */
const options = z.strictObject({
  segment: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,100}$/, 'is the id of a segment: letters, digits, - and _, at most 100')
    .optional()
    .describe('Id of the ID-list segment. Needed for `id-list`.'),
  create: z.boolean().default(false).describe('Make the segment in the first run when it is not there.'),
  id_type: z.string().min(1).default('userID').describe('What the ids are, when the segment is made: a unit ID type of the project.'),
})

type Config = z.infer<typeof config>

/** Changes of ID lists, per project: "900 requests /15m or 12 requests /10s" (Console API, "Segments", id_list). */
const LIST_WINDOWS = [
  { requests: 12, seconds: 10 },
  { requests: 900, seconds: 900 },
]

const LIMITS: Readonly<Record<string, Limits>> = {
  // Statsig takes 100,000 (maxItems of SegmentIDListContractDto), all or none: fewer keep a refusal and the memory small,
  // and still fill the largest lists in minutes. One at a time: a second update is refused while one is in progress.
  'id-list': { rows: 25_000, concurrency: 1, windows: LIST_WINDOWS, timeout: 120_000 },
  // No limit is published; Statsig's Node SDK 6.5.2 sends at most 1,000 events at a time.
  event: { rows: 500, concurrency: 4 },
  // One event a call (Integrations, "Event Webhook").
  'event-webhook': { rows: 1, concurrency: 4 },
}

const events = {
  modes: ['append'],
  address: 'key',
  match: {},
  confirms: 'accepted',
  // Nothing that Statsig documents drops a repeated event.
  replay: {},
  nested: true,
} as const

export default defineConnector<Config, Options>({
  name: 'statsig',
  description: 'Statsig: members of ID-list segments, and events.',
  version: 1,
  config,
  options,
  objects: {
    'id-list': {
      description: 'A member of an ID-list segment, found by its id.',
      modes: ['mirror'],
      address: { match: 'all' },
      match: { id: 'exact' },
      membership: true,
      confirms: 'request',
      replay: { upsert: 'harmless', delete: 'harmless' },
      removes: ['delete'],
      targetOptions: ['segment'],
    },
    event: { description: 'An event, logged in batches (`log_event`).', ...events },
    'event-webhook': { description: 'An event through the inbound Event Webhook, one a request.', ...events },
  },
  limits: (_, __: Op, object) => LIMITS[object] ?? { rows: 1, concurrency: 1 },
  validate({ config: given, options: chosen }, object) {
    if (object === 'id-list') {
      const { segment, create } = chosen
      if (segment === undefined) return [{ path: ['options', 'segment'], message: 'names the segment; an id-list needs one' }]
      // "minLength" of SegmentCreateContractDto.
      return create && segment.length < 3 ? [{ path: ['options', 'segment'], message: 'needs 3 characters for a segment to be made' }] : []
    }
    return given.server_secret === undefined
      ? [{ path: ['config', 'server_secret'], message: 'is needed for events: a Server Secret Key of the project' }]
      : []
  },
  open({ config: given, options: chosen }, io) {
    const http = io.http(given.base_url, {
      headers: { 'statsig-api-key': given.console_api_key, 'statsig-api-version': '20240601' },
      timeout: LIMITS['id-list']?.timeout ?? 0,
      failure: consoleFailure,
    })
    const eventsAt = eventClient(io, given)
    const segment = segmentOf(http, chosen)
    return {
      async check() {
        const project = await http.request({ method: 'GET', path: '/console/v1/project' })
        const id = textAt(project.json(), 'data', 'id')
        if (id === undefined) throw new AuthError('CDP3001', 'Statsig did not say which project the Console API key belongs to.')
        // The company is a nicety: keys of some roles may not see it.
        const company = await http.request({ method: 'GET', path: '/console/v1/company', accept: [403, 404] })
        const name = company.status === 200 ? textAt(company.json(), 'data', 'companyName') : undefined
        return { id, name: name === undefined ? id : `${name} (${id})` }
      },
      async describe(object) {
        if (object !== 'id-list') return describeEvents()
        await segment.find()
        // A member has no fields.
        return []
      },
      async *write(batch) {
        if (batch.object === 'event') yield* appendEvents(eventsAt(given.events_url), batch)
        else if (batch.object === 'event-webhook') yield* sendWebhook(eventsAt(given.webhooks_url), batch)
        else yield* segment.write(batch)
      },
      list: () => segment.list(),
      read: (_, matches) => segment.read(matches),
    }
  },
})

const eventClient =
  (io: ConnectorIO, { server_secret }: Config) =>
  (base: string) =>
    io.http(base, { headers: { 'statsig-api-key': server_secret ?? '' }, failure: eventFailure })

function consoleFailure({ status, method }: FailedReply): Error | undefined {
  if (status === 401)
    return new AuthError('CDP3001', 'Statsig refused the Console API key.', {
      hint: 'Set console_api_key to an active key from Settings, Keys & Environments: it begins with "console-". A server secret is none.',
    })
  if (status === 403)
    return new AuthError('CDP3002', `The Console API key of Statsig lacks the permission to ${method === 'GET' ? 'read' : 'write'}.`, {
      hint: 'Create a Console API key with read and write access in Settings, Keys & Environments.',
    })
  return undefined
}

function eventFailure({ status }: FailedReply): Error | undefined {
  if (status === 401 || status === 403)
    return new AuthError(status === 401 ? 'CDP3001' : 'CDP3002', 'Statsig refused the Server Secret Key.', {
      hint: 'Set server_secret to an active key from Settings, Keys & Environments that has access to events: it begins with "secret-".',
    })
  return undefined
}

function textAt(value: unknown, ...path: readonly string[]): string | undefined {
  for (const name of path) value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined
  return typeof value === 'string' && value !== '' ? value : undefined
}
