/** LaunchDarkly: individual targets of standard segments, and members of big segments. */
import { z } from 'zod'
import { AuthError, CdpError, defineConnector, type FailedReply, type Limits, type ObjectSpec, secret } from '../../src/index.ts'
import { type Options, segmentOf } from './segment.ts'

const KEY = /^[A-Za-z0-9][A-Za-z0-9._-]*$/
const key = (what: string) => z.string().regex(KEY, `is the key of a ${what}, not its name: letters, digits, . _ and -`)

const config = z.strictObject({
  access_token: secret().describe('An API access token (`api-…`) with the role Writer, or a custom role that may update segments.'),
  project: key('project').describe('Key of the project.'),
  environment: key('environment').describe('Key of the environment.'),
  base_url: z
    .url()
    .default('https://app.launchdarkly.com')
    .describe('Where LaunchDarkly is: `https://app.eu.launchdarkly.com` for EU instances, `https://app.launchdarkly.us` for federal ones.'),
})

const options = z.strictObject({
  segment: key('segment').describe('Key of the segment.'),
  context_kind: z
    .string()
    .regex(/^[A-Za-z0-9._-]+$/, 'is the key of a context kind')
    .default('user')
    .describe('Kind of the contexts whose keys are the members.'),
})

type Config = z.infer<typeof config>

const membership: Omit<ObjectSpec, 'description'> = {
  modes: ['mirror'],
  address: { match: 'all' },
  match: { key: 'exact' },
  membership: true,
  confirms: 'request',
  // Sets: adding what is there and removing what is not changes nothing.
  replay: { upsert: 'harmless', delete: 'harmless' },
  removes: ['delete'],
  targetOptions: ['segment', 'context_kind'],
}

const LIMITS: Readonly<Record<string, Limits>> = {
  // "the batch limit of 1,500" operations on targets (REST API, "Patch segment"). One at a time: two patches of one
  // segment at once end in optimistic_locking_error. How many requests are allowed is not published.
  segment: { rows: 1500, concurrency: 1 },
  // No limit is published; 1,000 keys is what partner integrations send at a time.
  'big-segment': { rows: 1000, concurrency: 4 },
}

export default defineConnector<Config, Options>({
  name: 'launchdarkly',
  description: 'LaunchDarkly: individual targets of standard segments, and members of big segments.',
  version: 1,
  config,
  options,
  objects: {
    segment: { description: 'An individual target that a standard segment includes; at most 15,000 in a segment.', ...membership },
    'big-segment': { description: 'A member of a big segment (more than 15,000 targets), found by its context key.', ...membership },
  },
  limits: (_, __, object) => LIMITS[object] ?? { rows: 1, concurrency: 1 },
  open({ config: { access_token, project, environment, base_url }, options: chosen }, io) {
    const http = io.http(base_url, {
      // The token as it is, without "Bearer" (REST API, "Authentication").
      headers: { authorization: access_token, 'ld-api-version': '20240415' },
      failure: (reply) => failure(reply, `proj/${project}:env/${environment}:segment/${chosen.segment}`),
    })
    const segment = segmentOf(http, { project, environment, ...chosen })
    return {
      async check() {
        const path = `/api/v2/projects/${encodeURIComponent(project)}/environments/${encodeURIComponent(environment)}`
        const reply = await http.request({ method: 'GET', path, accept: [404] })
        if (reply.status === 404)
          throw new CdpError('CDP3200', `LaunchDarkly has no environment "${environment}" in a project "${project}".`, {
            hint: 'Use the keys, not the names, and a token that may see the project.',
          })
        const { _id: id, name } = reply.json() as { _id?: unknown; name?: unknown }
        if (typeof id !== 'string') throw new AuthError('CDP3001', 'LaunchDarkly did not say which environment this is.')
        return { id, name: `${project} / ${typeof name === 'string' ? name : environment}` }
      },
      async describe(object) {
        await segment.find(object)
        // A member has no fields.
        return []
      },
      write: (batch) => segment.write(batch),
      read: (object, matches) => segment.read(object, matches),
    }
  },
})

function failure({ status, method }: FailedReply, resource: string): Error | undefined {
  if (status === 401)
    return new AuthError('CDP3001', 'LaunchDarkly refused the access token.', {
      hint: 'Set access_token to an active API access token from Organization settings, Authorization: it begins with "api-". An SDK key is none.',
    })
  if (status === 403)
    return new AuthError('CDP3002', 'The access token of LaunchDarkly lacks a permission.', {
      hint: `Give its role the action ${method === 'GET' ? 'viewProject on the project' : `updateIncluded on ${resource}`}, or use a token with the role Writer.`,
    })
  return undefined
}
