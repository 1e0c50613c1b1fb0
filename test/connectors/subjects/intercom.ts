/** What the conformance suite must know of the Intercom connector, and the document that its requests are held against. */
import connector from '../../../connectors/intercom/index.ts'
import fake from '../../../fakes/intercom/index.ts'
import type { Held, ObjectSubject, ServedFake, Subject } from '../../../src/testing/index.ts'
import type { Document } from 'openapi-backend'
import type { Contract } from '../contract.ts'

type Entry = Readonly<Record<string, unknown>>

const lower = (value: unknown): string => (value as string | null)?.toLowerCase() ?? ''

/** Fields under the names that a sync writes; dates, kept in seconds, as texts. */
function fieldsOf(record: Entry, names: readonly string[]): Record<string, unknown> {
  const valueOf = (name: string): unknown => {
    const value = name.split('.').reduce<unknown>((at, part) => (at as Entry | null)?.[part], record)
    return name.endsWith('_at') && typeof value === 'number' ? new Date(value * 1000).toISOString().replace('.000Z', 'Z') : value
  }
  return Object.fromEntries(names.map((name) => [name, valueOf(name)]))
}

const held =
  (collection: string, by: string): ObjectSubject['held'] =>
  (records, { match, fields }) => {
    const found = records[collection]?.find((one) => lower(one[by]) === lower(match[by]))
    return found ? fieldsOf(found, Object.keys(fields)) : null
  }

const custom = (i: number, version: 0 | 1) => ({
  'custom_attributes.tier': version === 0 ? 'free' : 'pro',
  'custom_attributes.mrr': 19.5 + i,
  'custom_attributes.seats': i,
  'custom_attributes.is_active': i % 2 === 0,
  'custom_attributes.renews_at': '2027-01-31T12:30:00Z',
})

const contacts: ObjectSubject = {
  object: 'contacts',
  row: (i, version) => ({
    match: { external_id: `u ${i}/a` },
    fields: { name: `User ${i}`, email: `user${i}@example.com`, signed_up_at: '2026-11-01T08:00:00Z', ...custom(i, version) },
  }),
  held: held('contacts', 'external_id'),
  count: ({ contacts: list = [] }) => list.length,
  text: 'custom_attributes.city',
  clears: { field: 'custom_attributes.tier' },
  refused: {
    row: {
      match: { external_id: 'bad' },
      fields: { name: 'Bad', email: 'nobody', signed_up_at: '2026-11-01T08:00:00Z', ...custom(1, 0) },
    },
    says: /Email is not valid/,
  },
}

/** Not in the suite: what it creates it reads back at once, and the search does not know it yet (test/connectors/intercom.test.ts). */
export const contactsByEmail: ObjectSubject = {
  object: 'contacts',
  // What was created a moment ago is not in the search yet, and nothing else finds a contact by its e-mail address.
  modes: ['upsert', 'mirror'],
  row: (i, version) => ({ match: { email: `User${i}@example.com` }, fields: { name: `User ${i}`, ...custom(i, version) } }),
  held: held('contacts', 'email'),
  count: ({ contacts: list = [] }) => list.length,
}

const companies: ObjectSubject = {
  object: 'companies',
  row: (i, version) => ({
    match: { company_id: `c-${i}` },
    fields: { name: `Company ${i}`, size: i, plan: version === 0 ? 'free' : 'pro', 'custom_attributes.arr': 100.5 + i },
  }),
  held: held('companies', 'company_id'),
  count: ({ companies: list = [] }) => list.length,
  text: 'name',
  clears: { field: 'plan' },
  refused: {
    row: { match: { company_id: 'bad' }, fields: { name: 'x'.repeat(256), size: 1, plan: 'free', 'custom_attributes.arr': 1.5 } },
    says: /too long/,
  },
}

async function put(fake_: ServedFake, path: string, body: object): Promise<Entry> {
  const headers = {
    authorization: `Bearer ${String(fake_.destination['access_token'])}`,
    'intercom-version': '2.16',
    'content-type': 'application/json',
  }
  const reply = await fetch(fake_.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
  return (await reply.json()) as Entry
}

/** Contacts to be put into sets, known to the search. */
async function people(fake_: ServedFake, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await put(fake_, '/contacts', { external_id: `u${i}`, email: `user${i}@example.com` })
  await put(fake_, '/contacts/search', { query: { field: 'role', operator: '=', value: 'user' } })
}

const tagged = ({ contacts: list = [] }: Held): Entry[] => list.filter((one) => (one['tags'] as string[]).includes('vip'))

const tags = (by: 'external_id' | 'email'): ObjectSubject => ({
  object: 'tags',
  options: { tag: 'vip' },
  prepare: (served) => people(served, 52),
  row: (i) => ({ match: by === 'email' ? { email: `user${i}@example.com` } : { external_id: `u${i}` }, fields: {} }),
  held: (records, { match }) => (tagged(records).some((one) => one[by] === match[by]) ? {} : null),
  count: (records) => tagged(records).length,
})

const employed = ({ contacts: list = [] }: Held): (readonly [unknown, string])[] =>
  list.flatMap((one) => (one['companies'] as string[]).map((company) => [one['external_id'], company] as const))

const companyContacts: ObjectSubject = {
  object: 'company-contacts',
  async prepare(served) {
    await people(served, 52)
    for (const company_id of ['c0', 'c1']) await put(served, '/companies', { company_id, name: company_id })
  },
  row: (i) => ({ match: { external_id: `u${i}`, company_id: `c${i % 2}` }, fields: {} }),
  held: (records, { match }) =>
    employed(records).some(([contact, company]) => contact === match['external_id'] && company === match['company_id']) ? {} : null,
  count: (records) => employed(records).length,
}

export const subject: Subject = {
  connector,
  fake,
  objects: [contacts, companies, tags('external_id'), tags('email'), companyContacts],
}

/** Where the document is narrower than what it describes. */
function mend(document: Document): void {
  const { schemas = {} } = (document.components ?? {}) as { schemas?: Record<string, { properties?: Record<string, object> }> }
  for (const name of ['create_or_update_company_request', 'update_company_request']) {
    const { properties } = schemas[name] ?? {}
    if (properties === undefined) continue
    // Data attributes of companies are numbers, dates and booleans too ("Data attributes", data_type).
    properties['custom_attributes'] = { type: 'object' }
    properties['plan'] = { type: 'string', nullable: true }
  }
  // Four kinds of body that overlap: one with `users` is also one with a name alone.
  const body = document.paths?.['/tags']?.post?.requestBody as { content?: Record<string, { schema: Record<string, unknown> }> } | undefined
  const schema = body?.content?.['application/json']?.schema ?? {}
  schema['anyOf'] = schema['oneOf']
  delete schema['oneOf']
}

export const contract: readonly Contract[] = [{ spec: 'intercom/intercom-2.16.yaml', mend }]
