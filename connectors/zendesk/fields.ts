/** Fields of users and organizations: what the account has, what is sent, and what comes back. */
import { type Change, exactNumber, type FieldInfo, type Fields, type Http, nest, type Outcome, type Value } from '../../src/index.ts'
import { incomplete } from './login.ts'
import { isObject, member, objects, text } from './reply.ts'

export type Kind = 'user' | 'organization'

export const kindOf = (object: string): Kind => (object === 'organizations' ? 'organization' : 'user')

type Accepts = NonNullable<FieldInfo['accepts']>
const TEXT: Accepts = ['string', 'date', 'time', 'timestamp', 'timestamptz']
/** Ids come from columns, or as texts from a lookup. */
const ID: Accepts = ['string', 'integer']
const LIST: Accepts = ['json']
const BOOLEAN: Accepts = ['boolean']

/** Writable attributes ("Users" and "Organizations", JSON format). Zendesk drops other names without a word, so they must be known here. */
const SYSTEM: Readonly<Record<Kind, Readonly<Record<string, Accepts>>>> = {
  user: {
    alias: TEXT,
    custom_role_id: ID,
    default_group_id: ID,
    details: TEXT,
    email: TEXT,
    external_id: ID,
    locale: TEXT,
    locale_id: ID,
    moderator: BOOLEAN,
    name: TEXT,
    notes: TEXT,
    only_private_comments: BOOLEAN,
    organization_id: ID,
    phone: TEXT,
    remote_photo_url: TEXT,
    role: TEXT,
    shared_phone_number: BOOLEAN,
    signature: TEXT,
    skip_verify_email: BOOLEAN,
    suspended: BOOLEAN,
    tags: LIST,
    ticket_restriction: TEXT,
    time_zone: TEXT,
    verified: BOOLEAN,
  },
  organization: {
    details: TEXT,
    domain_names: LIST,
    external_id: ID,
    group_id: ID,
    name: TEXT,
    notes: TEXT,
    shared_comments: BOOLEAN,
    shared_tickets: BOOLEAN,
    tags: LIST,
  },
}

/** By type of a custom field ("User Fields", JSON format). */
const CUSTOM: Readonly<Record<string, Accepts>> = {
  checkbox: BOOLEAN,
  date: ['date', 'string'],
  decimal: ['decimal', 'float', 'integer'],
  integer: ['integer'],
  lookup: ID,
  multiselect: LIST,
}

/** Cleared by a list without items. */
const LISTS = ['tags', 'domain_names']

/** Attributes that are ids: a text of digits, as a lookup gives it, is sent as the number it is. */
const NUMBERS = ['custom_role_id', 'default_group_id', 'group_id', 'locale_id', 'organization_id']

export async function describe(http: Http, kind: Kind): Promise<FieldInfo[]> {
  const system = Object.entries(SYSTEM[kind]).map(([name, accepts]) => ({ name, type: typeOf(accepts), accepts }))
  return [...system, ...(await customFields(http, kind))]
}

const typeOf = (accepts: Accepts): string => (accepts === LIST ? 'list' : accepts === BOOLEAN ? 'boolean' : accepts === ID ? 'id' : 'text')

/** Custom fields as `user_fields.KEY` and `organization_fields.KEY`; those that are switched off can't be written. */
async function customFields(http: Http, kind: Kind): Promise<FieldInfo[]> {
  const found: FieldInfo[] = []
  let after: string | undefined
  do {
    const query = { 'page[size]': 100, 'page[after]': after }
    const reply = (await http.request({ method: 'GET', path: `/api/v2/${kind}_fields`, query })).json()
    const fields = objects(member(reply, `${kind}_fields`))
    if (fields === undefined) throw incomplete(`${kind}_fields`)
    for (const field of fields) {
      const [key, type] = [text(field['key']), text(field['type']) ?? 'text']
      if (key === undefined) continue
      const readOnly = field['active'] === false ? { readOnly: true } : {}
      found.push({ name: `${kind}_fields.${key}`, type, accepts: CUSTOM[type] ?? TEXT, ...readOnly })
    }
    const meta = member(reply, 'meta')
    after = member(meta, 'has_more') === true ? text(member(meta, 'after_cursor')) : undefined
  } while (after !== undefined)
  return found
}

/** What is sent for a change, match included; or why nothing can be. */
export function recordOf(kind: Kind, { key, op, match, fields }: Change): { readonly record: Fields } | { readonly refused: Outcome } {
  const record: Record<string, Value> = { ...nest({ ...match, ...fields }) }
  const refused = (field: string, code: string, message: string) => ({
    refused: { key, result: 'rejected', code, message, field } as const,
  })
  // Zendesk takes the request, keeps the address and says nothing.
  if (record['email'] === null)
    return refused('email', 'email_not_clearable', 'Zendesk can’t take a user’s e-mail address away. Use `nulls: skip` for it.')
  for (const name of NUMBERS) {
    const value = record[name]
    if (typeof value !== 'string') continue
    if (!/^\d+$/.test(value)) return refused(name, 'not_an_id', `"${value}" is no id of Zendesk.`)
    record[name] = exactNumber(value)
  }
  for (const name of LISTS) if (record[name] === null) record[name] = []
  const externalId = text(record['external_id'])
  if (externalId !== undefined) record['external_id'] = externalId
  // Without it Zendesk writes to everybody whom a sync adds ("Create User", Create user without sending out a verification email).
  if (kind === 'user' && (op === 'upsert' || 'email' in record) && !('skip_verify_email' in record)) record['skip_verify_email'] = true
  return { record }
}

/** A record as it was read, under the names that a sync writes; dates of custom fields as they are written. */
export function fieldsOf(kind: Kind, record: Fields): Fields {
  const read: Record<string, Value> = {}
  for (const name of Object.keys(SYSTEM[kind])) if (record[name] !== undefined) read[name] = record[name]
  const custom = record[`${kind}_fields`]
  if (isObject(custom))
    for (const [key, value] of Object.entries(custom))
      read[`${kind}_fields.${key}`] =
        typeof value === 'string' ? value.replace(/^(\d{4}-\d{2}-\d{2})T00:00:00(\.0+)?(Z|[+-]00:00)$/, '$1') : value
  return read
}
