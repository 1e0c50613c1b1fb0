/** Sends changes to any HTTP endpoint: in a fixed JSON body, or as the requests that templates describe. */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import {
  type Change,
  defineConnector,
  duration,
  type Http,
  type Mode,
  type ObjectSpec,
  type Op,
  Refused,
  type Removal,
  secret,
} from '../../src/index.ts'
import { confirmed, gone, readReply, uncomputable } from './reply.ts'
import { bodyOf, compileRequests, type RequestTemplate, requestTemplates, scopeOf, signer, usesTemplates } from './request.ts'

const config = z.strictObject({
  url: z
    .url({ protocol: /^https?$/, error: 'is not an http or https URL' })
    .describe('Where requests go. A login in it is sent as basic auth.'),
  headers: z.record(z.string(), z.string()).optional().describe('Further headers of every request.'),
  signing_secret: secret()
    .regex(/^whsec_[A-Za-z0-9+/]{16,}={0,2}$/, 'is not `whsec_` and a key in base64')
    .optional()
    .describe('Signs every request as Standard Webhooks says: `whsec_` and the key in base64.'),
  batch_size: z.int().min(1).max(100_000).default(1000).describe('Changes in one request of the default body.'),
  concurrency: z.int().min(1).max(100).default(8).describe('Requests in flight at once.'),
  requests_per_second: z.number().positive().optional().describe('Requests per second. Default: no limit.'),
  timeout: duration().prefault('30s').describe('The longest one request may take.'),
  gzip: z.boolean().default(false).describe('Send bodies packed with gzip.'),
  deduplicates: z
    .boolean()
    .default(false)
    .describe('The receiver drops an insert or append whose `id` it has seen: then they may be repeated.'),
  ...requestTemplates,
})

const options = z.strictObject(requestTemplates)

type Config = z.infer<typeof config>
type Options = z.infer<typeof options>

/** The template of an operation; a sync's own comes before the destination's. */
function templateOf(settings: { config: Config; options: Options }, op: Op): RequestTemplate | undefined {
  return op === 'archive' ? undefined : (settings.options[op] ?? settings.config[op])
}

/** With templates only what they describe can be sent: nobody's API knows the default body. */
function specOf(settings: { config: Config; options: Options }): ObjectSpec {
  const can = (op: Op): boolean => !usesTemplates(settings) || templateOf(settings, op) !== undefined
  const removes: Removal[] = [
    ...(can('delete') ? (['delete'] as const) : []),
    ...(can('update') ? (['clear', 'set'] as const) : []),
    'none',
  ]
  const modes = (['upsert', 'update', 'insert', 'mirror', 'append'] as const).filter((mode: Mode) =>
    can(mode === 'mirror' ? 'upsert' : mode),
  )
  const added = settings.config.deduplicates ? 'deduplicated' : 'none'
  return {
    description: 'A record that the receiver keeps by its key, or an event (append).',
    modes,
    address: 'key',
    match: { '*': 'exact' },
    confirms: 'row',
    replay: { upsert: 'harmless', update: 'harmless', delete: 'harmless', insert: added, append: added },
    removes,
    targetOptions: ['upsert', 'update', 'insert', 'append', 'delete'].map((op) => `${op}.path`),
    namesSync: true,
  }
}

export default defineConnector<Config, Options>({
  name: 'webhook',
  description: 'Any HTTP endpoint: a fixed JSON body with signatures, or any JSON API by request templates.',
  version: 1,
  config,
  options,
  objects: { record: specOf },
  limits: (settings, op) => ({
    rows: templateOf(settings, op)?.rows ?? settings.config.batch_size,
    concurrency: settings.config.concurrency,
    timeout: settings.config.timeout,
    ...(settings.config.requests_per_second === undefined ? {} : { perSecond: settings.config.requests_per_second }),
  }),
  validate: (settings) => compileRequests((op) => templateOf(settings, op)).problems,
  open(settings, io) {
    const { url, headers, timeout, gzip, signing_secret } = settings.config
    const http: Http = io.http(url, { timeout, gzip, ...(headers === undefined ? {} : { headers }) })
    const { requests } = compileRequests((op) => templateOf(settings, op))
    const sign = (changes: readonly Change[]) => (signing_secret === undefined ? undefined : signer(signing_secret, changes, io.now()))
    return {
      /** Sends nothing: there is no request that every receiver takes as harmless. */
      async check() {
        const { host, origin, pathname } = new URL(url)
        return {
          id: createHash('sha256')
            .update(origin + pathname)
            .digest('hex'),
          name: host,
        }
      },
      async *write(batch) {
        const request = requests.get(batch.op)
        if (request === undefined) {
          // A change left over from an earlier configuration; the default body is nothing for a templated API.
          if (usesTemplates(settings)) throw new Refused('no_template', `There is no request template for ${batch.op}.`, 0)
          const { changes } = batch
          const json = { 'content-type': 'application/json', accept: 'application/json' }
          const reply = await http.request({ method: 'POST', path: '', headers: json, body: bodyOf(batch), sign: sign(changes) })
          yield* readReply(reply, changes, (message) => io.log(message))
          return
        }
        for (let first = 0; first < batch.changes.length; first += request.rows) {
          const changes = batch.changes.slice(first, first + request.rows)
          const rendered = request.render(scopeOf(batch, changes))
          if (rendered instanceof Refused) {
            // Of several rows the engine finds the one that can't be computed.
            if (changes.length > 1) throw rendered
            yield* uncomputable(changes, rendered.message)
            continue
          }
          const mayBeGone = request.namesRecord && (batch.op === 'delete' || batch.op === 'update')
          const reply = await http.request({ ...rendered, sign: sign(changes), accept: mayBeGone ? [404, 410] : undefined })
          if (reply.status >= 400) yield* gone(changes)
          else yield* confirmed(request, reply, changes, (message) => io.log(message))
        }
      },
    }
  },
})
