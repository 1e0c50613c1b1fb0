/** POST /contacts/search: filters, nesting, pages, and an index that lags behind. */
import type { FakeControl } from '../../src/testing/fake.ts'
import { invalid, type Json, missing } from './replies.ts'
import type { Contact, Workspace } from './workspace.ts'

/** "There's a limit of max 15 filters for each AND or OR group", "max 2 nested filters" (Search contacts). */
const MAX_FILTERS = 15
const MAX_DEPTH = 2
const MAX_PAGE = 150

const DATES = ['created_at', 'updated_at', 'signed_up_at', 'last_seen_at']
const FIELDS = [
  'id',
  'role',
  'name',
  'owner_id',
  'email',
  'email_domain',
  'phone',
  'external_id',
  'unsubscribed_from_emails',
  'tag_id',
  ...DATES,
]

/** Contacts created since the last search are not in it yet: Intercom says that it can take minutes. */
export function search(workspace: Workspace, control: FakeControl, input: Json): { found: Contact[]; pages: Json; total: number } {
  const { query, pagination } = input
  if (!isObject(query)) throw missing('query not specified')
  const matches = compile(workspace, query, 1)
  const all = [...workspace.contacts.values()].filter((contact) => !contact.archived && contact.mergedInto === null)
  const hits = control.anyOrder(all.filter((contact) => contact.indexed && matches(contact)))
  for (const contact of all) contact.indexed = true
  const { per_page: size = 50, starting_after: after } = isObject(pagination) ? pagination : {}
  if (typeof size !== 'number' || !Number.isInteger(size) || size < 1 || size > MAX_PAGE)
    throw invalid(`per_page must be between 1 and ${MAX_PAGE}`)
  const first = typeof after === 'string' ? Number(Buffer.from(after, 'base64').toString()) : 0
  const last = first + size
  const next = last < hits.length ? { next: { per_page: size, starting_after: Buffer.from(String(last)).toString('base64') } } : {}
  const pages = { type: 'pages', page: Math.floor(first / size) + 1, per_page: size, total_pages: Math.ceil(hits.length / size), ...next }
  return { found: hits.slice(first, last), pages, total: hits.length }
}

type Test = (contact: Contact) => boolean

function compile(workspace: Workspace, query: Json, depth: number): Test {
  const { operator, value, field } = query
  if (operator !== 'AND' && operator !== 'OR') return compileOne(workspace, String(field), operator, value)
  if (!Array.isArray(value) || value.length === 0) throw invalid('value must be an array of filters')
  if (value.length > MAX_FILTERS) throw invalid(`Maximum of ${MAX_FILTERS} filters in a group`)
  if (depth > MAX_DEPTH) throw invalid(`Maximum of ${MAX_DEPTH} nested groups`)
  const tests = value.map((one) => compile(workspace, one as Json, depth + 1))
  return operator === 'AND' ? (contact) => tests.every((test) => test(contact)) : (contact) => tests.some((test) => test(contact))
}

function compileOne(workspace: Workspace, field: string, operator: unknown, value: unknown): Test {
  const [, own] = /^custom_attributes\.(.+)$/.exec(field) ?? []
  const known =
    own === undefined
      ? FIELDS.includes(field)
      : workspace.attributes.some((one) => one.model === 'contact' && one.custom && one.name === own)
  if (!known) throw invalid(`Field '${field}' is not searchable`)
  const isDate = DATES.includes(field)
  const allowed = field === 'tag_id' ? ['=', '!='] : isDate ? ['=', '>', '<'] : ['=', '!=', 'IN', 'NIN', '~', '!~', '^', '$']
  if (typeof operator !== 'string' || !allowed.includes(operator))
    throw invalid(`Operator '${String(operator)}' is not supported for '${field}'`)
  if ((operator === 'IN' || operator === 'NIN') !== Array.isArray(value)) throw invalid(`value of '${field}' has the wrong type`)
  return (contact) => {
    if (field === 'tag_id') return contact.tags.has(String(value)) === (operator === '=')
    const has = lower(
      own === undefined
        ? field === 'id'
          ? contact.id
          : field === 'email_domain'
            ? lower(contact.fields['email']).split('@')[1]
            : contact.fields[field]
        : contact.custom[own],
    )
    return compare(operator, has, Array.isArray(value) ? value.map(lower) : lower(value), isDate)
  }
}

function compare(operator: string, has: string, value: string | string[], isDate: boolean): boolean {
  const one = String(value)
  switch (operator) {
    case '=':
      return isDate ? day(has) === day(one) : has === one
    case '!=':
      return has !== one
    case 'IN':
      return value.includes(has)
    case 'NIN':
      return !value.includes(has)
    case '>':
      return day(has) > day(one)
    case '<':
      return day(has) < day(one)
    case '~':
      return has.includes(one)
    case '!~':
      return !has.includes(one)
    case '^':
      return has.startsWith(one)
    default:
      return has.endsWith(one)
  }
}

/** Dates are compared by the day. */
const day = (text: string): number => Math.floor(Number(text) / 86_400)

const lower = (value: unknown): string =>
  (typeof value === 'string' ? value : (JSON.stringify(value) ?? '')).toLowerCase().replace(/^null$/, '')

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
