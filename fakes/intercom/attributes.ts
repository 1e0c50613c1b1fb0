/** Data attributes of contacts and companies: which there are, and which values each takes. */
import { invalid, type Json, missing } from './replies.ts'

export type Model = 'contact' | 'company'

export interface Attribute {
  readonly model: Model
  readonly name: string
  readonly label: string
  readonly type: string
  readonly custom: boolean
  readonly writable: boolean
  readonly id?: number
  readonly options?: readonly string[]
}

const TYPES = ['string', 'integer', 'float', 'boolean', 'date']

/** Attributes are at most 255 characters long ("Custom attributes"). */
const MAX_TEXT = 255

const standard = (model: Model, writable: boolean, fields: Readonly<Record<string, string>>): Attribute[] =>
  Object.entries(fields).map(([name, type]) => ({ model, name, label: name, type, custom: false, writable }))

const custom = (model: Model, first: number, fields: Readonly<Record<string, string | readonly string[]>>): Attribute[] =>
  Object.entries(fields).map(([name, type], i) => {
    const attribute = { id: first + i, model, name, label: name, custom: true, writable: true }
    return typeof type === 'string' ? { ...attribute, type } : { ...attribute, type: 'string', options: type }
  })

export const ATTRIBUTES: readonly Attribute[] = [
  ...standard('contact', true, {
    role: 'string',
    external_id: 'string',
    email: 'string',
    phone: 'string',
    name: 'string',
    avatar: 'string',
    signed_up_at: 'date',
    last_seen_at: 'date',
    owner_id: 'integer',
    unsubscribed_from_emails: 'boolean',
  }),
  ...standard('contact', false, { id: 'string', created_at: 'date', updated_at: 'date', has_hard_bounced: 'boolean' }),
  ...custom('contact', 101, {
    plan: 'string',
    mrr: 'float',
    seats: 'integer',
    is_active: 'boolean',
    renews_at: 'date',
    city: 'string',
    tier: ['free', 'pro', 'enterprise'],
  }),
  ...standard('company', true, {
    name: 'string',
    remote_created_at: 'date',
    monthly_spend: 'float',
    size: 'integer',
    industry: 'string',
    website: 'string',
  }),
  ...standard('company', false, { company_id: 'string', id: 'string', user_count: 'integer', created_at: 'date', updated_at: 'date' }),
  ...custom('company', 201, {
    domain: 'string',
    arr: 'float',
    employees: 'integer',
    is_partner: 'boolean',
    renews_at: 'date',
    tier: ['free', 'pro', 'enterprise'],
  }),
]

export function shown(attribute: Attribute): Json {
  const { id, name, model, label, type, options, custom: own, writable } = attribute
  return {
    ...(id === undefined ? {} : { id, admin_id: '991267459', created_at: 1_734_537_756, updated_at: 1_734_537_756 }),
    type: 'data_attribute',
    name,
    full_name: own ? `custom_attributes.${name}` : name,
    label,
    data_type: type,
    ...(options === undefined ? {} : { options }),
    api_writable: writable,
    ui_writable: own,
    messenger_writable: true,
    custom: own,
    archived: false,
    model,
  }
}

/** POST /data_attributes. Throws Refusal 400. */
export function defined(attributes: readonly Attribute[], input: Json): Attribute {
  const { name, model, data_type: type, options } = input
  if (model !== 'contact' && model !== 'company') throw invalid('The Data Attribute model field must be either contact or company')
  if (typeof name !== 'string' || !/^[\p{L}\p{N}\p{Sc}_ -]+$/u.test(name))
    throw invalid('Your name for this attribute must only contain alphanumeric characters, currency symbols, and hyphens')
  if (typeof type !== 'string' || !TYPES.includes(type)) throw invalid("Data Type isn't an option")
  if (attributes.some((other) => other.model === model && other.name === name))
    throw invalid(`You already have '${name}' in your ${model} data. To save this as new ${model} data, use a different name.`)
  if (options !== undefined && !Array.isArray(options)) throw invalid("Options isn't an array")
  const values = (options as Json[] | undefined)?.map((option) => String(option['value']))
  const attribute: Attribute = { id: 300 + attributes.length, model, name, label: name, type, custom: true, writable: true }
  return values === undefined ? attribute : { ...attribute, options: values }
}

/** Merges custom attributes into those of a record: null clears, names that are not given stay. Throws Refusal 400. */
export function merge(attributes: readonly Attribute[], model: Model, into: Json, given: unknown): Json {
  if (given === null || given === undefined) return into
  if (typeof given !== 'object' || Array.isArray(given)) throw invalid('custom_attributes must be an object')
  const merged = { ...into }
  for (const [name, value] of Object.entries(given)) {
    const attribute = attributes.find((one) => one.model === model && one.custom && one.name === name)
    if (attribute === undefined) throw invalid(`Custom attribute '${name}' does not exist`)
    if (value === null) delete merged[name]
    else if (fits(attribute, value)) merged[name] = value
    else throw invalid(`Custom attribute '${name}' has an invalid value for its type ${attribute.type}`)
  }
  return merged
}

function fits(attribute: Attribute, value: unknown): boolean {
  // Numbers that no float holds reach this service as their digits.
  const digits = typeof value === 'string' && /^-?\d{16,}$/.test(value)
  switch (attribute.type) {
    case 'integer':
    case 'date':
      return Number.isInteger(value) || digits
    case 'float':
      return typeof value === 'number' || digits
    case 'boolean':
      return typeof value === 'boolean'
    default:
      return typeof value === 'string' && value.length <= MAX_TEXT && (attribute.options?.includes(value) ?? true)
  }
}

/** Checks one top-level parameter that takes a text. Throws Refusal 400. */
export function text(name: string, value: unknown): string | null {
  if (value === null) return null
  if (typeof value !== 'string') throw invalid(`${name} must be a string`)
  if (value.length > MAX_TEXT) throw invalid(`${name} is too long (maximum is ${MAX_TEXT} characters)`)
  return value
}

/** Whole numbers; dates are seconds since 1970. Throws Refusal 400. */
export function whole(name: string, value: unknown): number | null {
  if (value === null) return null
  if (typeof value !== 'number' || !Number.isInteger(value)) throw invalid(`${name} must be an integer`)
  return value
}

/** The members that are named. Throws Refusal 400 for any other. */
export function only(input: Json, names: readonly string[], needed: readonly string[] = []): Json {
  for (const name of needed) if (input[name] === undefined || input[name] === null) throw missing(`${name} not specified`)
  for (const name of Object.keys(input)) if (!names.includes(name)) throw invalid(`bad '${name}' parameter`)
  return input
}
