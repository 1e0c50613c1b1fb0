/** Attributes of contacts and companies: which there are, and how values are written and read. */
import { type Change, type Column, type FieldInfo, type Fields, type Http, nest, type Outcome, type Value } from '../../src/index.ts'
import { isObject, member, objects, text } from './api.ts'

export type Model = 'contact' | 'company'

type Accepts = readonly Column['type'][]
const TEXT: Accepts = ['string', 'date', 'time', 'timestamp', 'timestamptz']
const DATE: Accepts = ['timestamptz', 'timestamp', 'date', 'string', 'integer']
const ID: Accepts = ['string', 'integer']
const INTEGER: Accepts = ['integer']
const BOOLEAN: Accepts = ['boolean']

/** By `data_type` of a custom attribute. */
const TYPES: Readonly<Record<string, Accepts>> = {
  string: TEXT,
  integer: INTEGER,
  float: ['decimal', 'float', 'integer'],
  boolean: BOOLEAN,
  date: DATE,
}

/** What can be written at the top of a record ("Create contact", "Create or Update a company"). */
const OWN: Readonly<Record<Model, Readonly<Record<string, readonly [type: string, accepts: Accepts]>>>> = {
  contact: {
    external_id: ['string', ID],
    email: ['string', TEXT],
    email_verified: ['boolean', BOOLEAN],
    phone: ['string', TEXT],
    name: ['string', TEXT],
    role: ['string', TEXT],
    avatar: ['string', TEXT],
    signed_up_at: ['date', DATE],
    last_seen_at: ['date', DATE],
    owner_id: ['id', ID],
    unsubscribed_from_emails: ['boolean', BOOLEAN],
  },
  company: {
    company_id: ['string', ID],
    name: ['string', TEXT],
    plan: ['string', TEXT],
    size: ['integer', INTEGER],
    website: ['string', TEXT],
    industry: ['string', TEXT],
    remote_created_at: ['date', DATE],
    // Fractions are cut off there without a word ("it only allow for whole integers").
    monthly_spend: ['integer', INTEGER],
  },
}

/** Sent as text even when the column holds numbers. */
const IDS = ['external_id', 'company_id', 'owner_id']

/** The attributes of a workspace; custom ones as `custom_attributes.NAME`. */
export async function describe(http: Http, model: Model): Promise<FieldInfo[]> {
  const query = { model, include_archived: 'false' }
  const attributes = objects(member((await http.request({ method: 'GET', path: '/data_attributes', query })).json(), 'data'))
  const own = Object.entries(OWN[model]).map(([name, [type, accepts]]): FieldInfo => ({ name, type, accepts }))
  const others = attributes.flatMap((attribute): FieldInfo[] => {
    const [name, type] = [text(attribute['name']), text(attribute['data_type']) ?? 'string']
    if (name === undefined || attribute['archived'] === true || Object.hasOwn(OWN[model], name)) return []
    if (attribute['custom'] !== true) return [{ name, type, readOnly: true }]
    const readOnly = attribute['api_writable'] === false ? { readOnly: true } : {}
    // In a name a dot is no path.
    return [{ name: `custom_attributes.${name.replaceAll('.', '\\.')}`, type, accepts: TYPES[type] ?? TEXT, ...readOnly }]
  })
  return [...own, ...others]
}

const SECONDS = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d+)?Z)?$/

/** The record to send: match and fields, dates as whole seconds since 1970. `dates`: names of the date attributes. */
export function recordOf(
  { key, match, fields }: Change,
  dates: ReadonlySet<string>,
): { readonly record: Fields } | { readonly refused: Outcome } {
  const flat: Record<string, Value> = {}
  for (const [name, value] of Object.entries({ ...match, ...fields })) {
    flat[name] = IDS.includes(name) ? (text(value) ?? null) : value
    if (!dates.has(name) || typeof value !== 'string') continue
    const at = SECONDS.test(value) ? Date.parse(value) : Number.NaN
    // A day that no month has would be read as one of the next month.
    if (Number.isNaN(at) || new Date(at).toISOString().slice(0, 10) !== value.slice(0, 10))
      return { refused: { key, result: 'rejected', code: 'not_a_date', message: `"${value}" is no date.`, field: name } }
    flat[name] = Math.floor(at / 1000)
  }
  return { record: nest(flat) }
}

/** A record as it was read, under the names and in the form that a sync writes. */
export function fieldsOf(model: Model, record: Fields, dates: ReadonlySet<string>): Fields {
  const read: Record<string, Value> = {}
  const take = (name: string, value: Value): void => {
    read[name] = dates.has(name) && typeof value === 'number' ? new Date(value * 1000).toISOString().replace('.000Z', 'Z') : value
  }
  for (const name of Object.keys(OWN[model])) {
    const value = record[name]
    if (value === undefined) continue
    // Read as an object, written as a text.
    if (isObject(value)) take(name, member(value, name === 'avatar' ? 'image_url' : 'name') ?? null)
    else take(name, name === 'owner_id' ? (text(value) ?? null) : value)
  }
  const custom = record['custom_attributes']
  if (isObject(custom)) for (const [name, value] of Object.entries(custom)) take(`custom_attributes.${name.replaceAll('.', '\\.')}`, value)
  return read
}
