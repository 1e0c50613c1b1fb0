/** HubSpot: contacts, companies, deals, any other object, members of static lists, and associations between records. */
import { z } from 'zod'
import {
  type Batch,
  CdpError,
  defineConnector,
  type Normaliser,
  type ObjectSpec,
  type Outcome,
  secret,
  type Settings,
} from '../../src/index.ts'
import { createAssociations } from './associations.ts'
import { createClient, MOST_INPUTS, NO_TARGET } from './client.ts'
import { createLookup, readRecords } from './lookup.ts'
import { createMembers } from './members.ts'
import { writeRecords } from './records.ts'
import { fieldInfo } from './values.ts'

const config = z.strictObject({
  access_token: secret().describe('A service key, or the access token of a private app.'),
  base_url: z
    .url({ protocol: /^https?$/ })
    .default('https://api.hubapi.com')
    .describe('Where the API is. The same for every region.'),
  api_version: z
    .enum(['2026-03', '2026-09'])
    .default('2026-03')
    .describe('Version for records. From 2026-09 on HubSpot holds writes against the account’s own validation rules.'),
})

const end = (what: string) =>
  z
    .strictObject({
      object: z.string().min(1).describe('Its kind: contacts, companies, deals, …'),
      by: z.string().min(1).describe('The property that finds it, or hs_object_id.'),
    })
    .describe(`associations: ${what}.`)

const options = z.strictObject({
  list: z
    .union([z.string().regex(/^\d+$/, 'is not the number of a list'), z.int().positive()])
    .transform(String)
    .optional()
    .describe('list-members: the number of the static list (in its URL, or List details › ILS list ID).'),
  from: end('the record that `match.from` finds').optional(),
  to: end('the record that `match.to` finds').optional(),
  label: z.string().min(1).optional().describe('associations: a label (or its number). Default: the plain association.'),
})

type Config = z.infer<typeof config>
type Options = z.infer<typeof options>

const record = (what: string, match: ObjectSpec['match']): ObjectSpec => ({
  description: `${what}, found by a property with unique values.`,
  modes: ['upsert', 'update', 'insert', 'mirror'],
  address: { match: 'all', renames: true },
  match,
  confirms: 'row',
  // A second insert finds the unique value taken and creates nothing.
  replay: { upsert: 'harmless', update: 'harmless', insert: 'harmless', archive: 'harmless' },
  removes: ['archive', 'clear', 'set', 'none'],
})

const members: ObjectSpec = {
  description: 'Members of a static list (options.list), found by a property with unique values.',
  modes: ['mirror'],
  address: { match: 'all' },
  match: { email: 'email', '*': 'trim' },
  membership: true,
  confirms: 'request',
  replay: { upsert: 'harmless', delete: 'harmless' },
  removes: ['delete', 'none'],
  targetOptions: ['list'],
}

const normaliser = (by: string | undefined): Normaliser => (by === 'email' ? 'email' : 'trim')

function associations({ options: { from, to } }: Settings<Config, Options>): ObjectSpec {
  return {
    description: 'Associations between two records (options.from, options.to), with or without a label.',
    modes: ['mirror'],
    address: { match: 'all' },
    match: { from: normaliser(from?.by), to: normaliser(to?.by) },
    membership: true,
    confirms: 'row',
    replay: { upsert: 'harmless', delete: 'harmless' },
    removes: ['delete', 'none'],
    targetOptions: ['from.object', 'to.object', 'label'],
  }
}

/** What is wrong with a target shows before anything is written: no row is in doubt for it. */
async function* untouched({ changes }: Batch, outcomes: AsyncIterable<Outcome>): AsyncGenerator<Outcome> {
  try {
    yield* outcomes
  } catch (error) {
    if (error instanceof CdpError && error.code === NO_TARGET)
      for (const { key } of changes) yield { key, result: 'retry', code: error.code, message: error.message }
    throw error
  }
}

/** Which options an object takes, and which it needs. */
const OPTIONS: Readonly<Record<string, readonly (keyof Options)[]>> = { 'list-members': ['list'], associations: ['from', 'to', 'label'] }

export default defineConnector<Config, Options>({
  name: 'hubspot',
  description: 'HubSpot CRM: contacts, companies, deals, custom objects, static lists and associations.',
  version: 1,
  config,
  options,
  objects: {
    contacts: record('Contacts', { email: 'email', '*': 'trim' }),
    companies: record('Companies', { '*': 'trim' }),
    deals: record('Deals', { '*': 'trim' }),
    'list-members': members,
    associations,
    '*': record('Records of any other object: tickets, products, your own (p_NAME or 2-NUMBER)', { '*': 'trim' }),
  },
  limits: {
    // CRM API guides: 100 records a batch.
    rows: MOST_INPUTS,
    // HubSpot publishes no limit in bytes; this is the safe side.
    bytes: 3_000_000,
    concurrency: 4,
    // API usage guidelines: a private app or service key of a Free or Starter account has 100 requests in 10 seconds, others 190.
    windows: [{ requests: 100, seconds: 10 }],
  },
  validate({ options: given }, object) {
    const takes = OPTIONS[object] ?? []
    const stray = (Object.keys(given) as (keyof Options)[]).filter((name) => given[name] !== undefined && !takes.includes(name))
    const missing = takes.filter((name) => name !== 'label' && given[name] === undefined)
    return [
      ...stray.map((name) => ({ path: [name], message: `is nothing for ${object}` })),
      ...missing.map((name) => ({ path: [name], message: `is missing, and ${object} needs it` })),
    ]
  },
  open({ config: settings, options: chosen }, io) {
    const client = createClient(io, settings)
    const lookup = createLookup(client)
    const list = chosen.list === undefined ? null : createMembers(client, chosen.list)
    const { from, to, label } = chosen
    const pairs = from && to ? createAssociations(client, { from, to, label }) : null
    // What is not a record; validate() has seen to the options.
    const set = (object: string) => (object === 'list-members' ? list : object === 'associations' ? pairs : null)
    return {
      async check() {
        const { portal, name } = await client.account()
        await list?.check()
        await pairs?.check()
        return { id: portal, name }
      },
      async describe(object) {
        if (set(object) !== null) return []
        return [...(await client.properties(object)).values()].map(fieldInfo)
      },
      write: (batch) => untouched(batch, set(batch.object)?.write(batch) ?? writeRecords(client, io, batch)),
      lookup,
      ...(list === null ? {} : { list: () => list.list() }),
      read: async (object, matches, fields) => set(object)?.read(matches) ?? readRecords(client, object, matches, fields),
    }
  },
})
