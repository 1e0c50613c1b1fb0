/** What the conformance suite must know of the Zendesk connector, and which of Zendesk's documents its requests are held against. */
import connector from '../../../connectors/zendesk/index.ts'
import fake from '../../../fakes/zendesk/index.ts'
import type { ObjectSubject, Subject } from '../../../src/testing/index.ts'
import type { Document } from 'openapi-backend'
import type { Contract } from '../contract.ts'

const lower = (value: unknown): string => (value as string).toLowerCase()

/** The fields of a record under the names that a sync writes; dates as they are written. */
function fieldsOf(record: Readonly<Record<string, unknown>>, names: readonly string[]): Record<string, unknown> {
  const valueOf = (path: string): unknown => {
    const value = path.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown> | null)?.[part], record)
    return typeof value === 'string' ? value.replace(/T00:00:00\+00:00$/, '') : value
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
  'user_fields.plan': version === 0 ? 'free' : 'pro',
  'user_fields.mrr': 19.5 + i,
  'user_fields.seats': i,
  'user_fields.is_active': i % 2 === 0,
  'user_fields.signed_up_at': '2026-11-01',
  'user_fields.interests': ['api', 'billing'],
})

const users: ObjectSubject = {
  object: 'users',
  row: (i, version) => ({
    match: { external_id: `U-${i}` },
    fields: { name: `User ${i}`, email: `user${i}@example.com`, tags: ['a', `t${version}`], ...custom(i, version) },
  }),
  held: held('users', 'external_id'),
  count: ({ users: list = [] }) => list.length,
  text: 'notes',
  clears: { field: 'user_fields.plan' },
  refused: {
    row: { match: { external_id: 'bad' }, fields: { ...custom(1, 0), name: 'Bad', email: 'error@example.com_', tags: [] } },
    says: /not properly formatted/,
  },
}

const usersByEmail: ObjectSubject = {
  object: 'users',
  row: (i, version) => ({ match: { email: `user${i}@example.com` }, fields: { name: `User ${i}`, ...custom(i, version) } }),
  held: held('users', 'email'),
  count: ({ users: list = [] }) => list.length,
}

const organizations: ObjectSubject = {
  object: 'organizations',
  row: (i, version) => ({
    match: { external_id: `O-${i}` },
    fields: {
      name: `Company ${i}`,
      domain_names: [`company${i}.example.com`],
      'organization_fields.industry': version === 0 ? 'Retail' : 'Energy',
      'organization_fields.employees': i,
      'organization_fields.renews_on': '2027-01-31',
    },
  }),
  held: held('organizations', 'external_id'),
  count: ({ organizations: list = [] }) => list.length,
  text: 'notes',
  clears: { field: 'organization_fields.industry' },
  refused: {
    row: {
      match: { external_id: 'bad' },
      fields: {
        name: '  ',
        domain_names: [],
        'organization_fields.industry': 'Retail',
        'organization_fields.employees': 0,
        'organization_fields.renews_on': '2027-01-31',
      },
    },
    says: /cannot be blank/,
  },
}

export const subject: Subject = { connector, fake, objects: [users, usersByEmail, organizations] }

/** What the documents of single resources refer to and do not have: bodies of requests get the shape their descriptions give, the rest any. */
function mend(document: Document): void {
  const many = (name: string) => ({
    type: 'object',
    required: [name],
    properties: { [name]: { type: 'array', maxItems: 100, items: { type: 'object' } } },
  })
  const one = (name: string) => ({ type: 'object', required: [name], properties: { [name]: { type: 'object' } } })
  const shapes: Readonly<Record<string, object>> = { UsersRequest: many('users'), UserRequest: one('user') }
  const components = (document.components ??= {}) as Record<string, Record<string, unknown>>
  for (const [, section = '', name = ''] of JSON.stringify(document).matchAll(/"#\/components\/(\w+)\/([\w-]+)"/g))
    (components[section] ??= {})[name] ??= section === 'parameters' ? parameter(document, name) : (shapes[name] ?? {})
  // "Using Cursor Pagination": every list that says so takes page[size] and page[after].
  const page = { name: 'page', in: 'query', style: 'deepObject', explode: true, schema: { type: 'object' } }
  for (const [path, { get }] of Object.entries((document.paths ?? {}) as Record<string, { get?: { parameters?: object[] } }>))
    if (get && /(_fields|identities)$/.test(path)) get.parameters = [...(get.parameters ?? []), page]
}

/** `UserId` is `user_id` in paths; `OrganizationExternalIds` is `external_ids` in a query. */
function parameter(document: Document, name: string): object {
  const snake = name.replaceAll(/\B[A-Z]/g, '_$&').toLowerCase()
  const inPath = JSON.stringify(document.paths).includes(`{${snake}}`)
  return inPath
    ? { name: snake, in: 'path', required: true, schema: { type: 'integer' } }
    : { name: snake.replace('organization_', ''), in: 'query', schema: { type: 'string' } }
}

const of = (spec: string, pattern: RegExp): Contract => ({ spec: `zendesk/${spec}.yml`, takes: ({ path }) => pattern.test(path), mend })

export const contract: readonly Contract[] = [
  of('users', /^\/api\/v2\/users\b/),
  of('organizations', /^\/api\/v2\/organizations\b/),
  of('job-statuses', /^\/api\/v2\/job_statuses\b/),
  of('user-fields', /^\/api\/v2\/user_fields\b/),
  of('organization-fields', /^\/api\/v2\/organization_fields\b/),
  of('oauth', /^\/oauth\//),
]
