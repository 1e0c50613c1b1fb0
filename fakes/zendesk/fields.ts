/** Custom fields of users and organizations: their definitions, and what each type takes. */
import { type Details, type Json, recordInvalid, Refusal } from './replies.ts'

export interface Field {
  readonly id: number
  readonly key: string
  readonly title: string
  readonly type: string
  readonly regexp?: string
  readonly options?: readonly string[]
}

const TYPES = ['text', 'textarea', 'checkbox', 'date', 'integer', 'decimal', 'regexp', 'dropdown', 'lookup', 'multiselect']

export const USER_FIELDS: readonly Field[] = [
  { id: 4101, key: 'plan', title: 'Plan', type: 'dropdown', options: ['free', 'team', 'pro', 'enterprise'] },
  { id: 4102, key: 'mrr', title: 'MRR', type: 'decimal' },
  { id: 4103, key: 'seats', title: 'Seats', type: 'integer' },
  { id: 4104, key: 'is_active', title: 'Is active', type: 'checkbox' },
  { id: 4105, key: 'signed_up_at', title: 'Signed up', type: 'date' },
  { id: 4106, key: 'city', title: 'City', type: 'text' },
  { id: 4107, key: 'about', title: 'About', type: 'textarea' },
  { id: 4108, key: 'customer_code', title: 'Customer code', type: 'regexp', regexp: '^[A-Z]{2}[0-9]+$' },
  { id: 4109, key: 'interests', title: 'Interests', type: 'multiselect', options: ['billing', 'api', 'training'] },
]

export const ORGANIZATION_FIELDS: readonly Field[] = [
  { id: 5101, key: 'industry', title: 'Industry', type: 'text' },
  { id: 5102, key: 'employees', title: 'Employees', type: 'integer' },
  { id: 5103, key: 'plan', title: 'Plan', type: 'dropdown', options: ['free', 'team', 'pro', 'enterprise'] },
  { id: 5104, key: 'arr', title: 'ARR', type: 'decimal' },
  { id: 5105, key: 'is_partner', title: 'Is partner', type: 'checkbox' },
  { id: 5106, key: 'renews_on', title: 'Renews on', type: 'date' },
]

/** As GET /user_fields and GET /organization_fields show them. */
export function shown(field: Field, url: string, kind: 'user' | 'organization', position: number): Json {
  const options = (field.options ?? []).map((value, i) => ({
    id: field.id * 100 + i,
    name: capital(value),
    raw_name: capital(value),
    value,
  }))
  return {
    url: `${url}/api/v2/${kind}_fields/${field.id}.json`,
    id: field.id,
    type: field.type,
    key: field.key,
    title: field.title,
    raw_title: field.title,
    description: '',
    raw_description: '',
    position,
    active: true,
    system: false,
    regexp_for_validation: field.regexp ?? null,
    tag: null,
    ...(field.options === undefined ? {} : { custom_field_options: options }),
  }
}

const wrong = (name: string, description: string): Refusal =>
  new Refusal(recordInvalid({ [name]: [{ description, error: 'InvalidValue' }] }))

/** A field as POST /user_fields creates it; a text when the type is not said. Throws Refusal 422. */
export function defined(id: number, input: Json): Field {
  const { key, title, type = 'text' } = input
  if (typeof title !== 'string' || title === '') throw wrong('title', 'Title: cannot be blank')
  if (typeof key !== 'string' || !/^\w+$/.test(key)) throw wrong('key', 'Key: is invalid')
  if (typeof type !== 'string' || !TYPES.includes(type)) throw wrong('type', 'Type: is invalid')
  const options = Array.isArray(input['custom_field_options']) ? (input['custom_field_options'] as Json[]) : []
  const regexp = input['regexp_for_validation']
  return {
    id,
    key,
    title,
    type,
    ...(typeof regexp === 'string' ? { regexp } : {}),
    ...(options.length > 0 ? { options: options.map((option) => String(option['value'])) } : {}),
  }
}

/** Values of a record that has none: checkboxes are false, everything else null. */
export function blank(fields: readonly Field[]): Json {
  return Object.fromEntries(fields.map((field) => [field.key, field.type === 'checkbox' ? false : null]))
}

/** Writes what is given into `into`. Keys that no field has are dropped without a word, as Zendesk does. */
export function assign(fields: readonly Field[], given: Json, into: Json, details: Details): void {
  for (const field of fields) {
    if (!Object.hasOwn(given, field.key)) continue
    const value = taken(field, given[field.key])
    if (value === undefined)
      details[field.key] = [{ description: `${field.title}: ${String(given[field.key])} is invalid`, error: 'InvalidValue' }]
    else into[field.key] = value
  }
}

/** The value as it is stored; undefined when the field does not take it. */
function taken(field: Field, value: unknown): unknown {
  if (value === null || value === '') return field.type === 'checkbox' ? false : null
  const text = typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
  switch (field.type) {
    case 'checkbox':
      return typeof value === 'boolean' ? value : text === 'true' ? true : text === 'false' ? false : undefined
    case 'integer':
    case 'lookup':
      return text !== undefined && /^-?\d+$/.test(text) ? value : undefined
    case 'decimal':
      return text !== undefined && /^-?\d+(\.\d+)?$/.test(text) ? value : undefined
    case 'date':
      return text !== undefined && isDate(text) ? `${text.slice(0, 10)}T00:00:00+00:00` : undefined
    case 'regexp':
      return text !== undefined && new RegExp(field.regexp ?? '').test(text) ? text : undefined
    case 'dropdown':
      return text !== undefined && field.options?.includes(text) ? text : undefined
    case 'multiselect':
      return Array.isArray(value) && value.every((one) => field.options?.includes(String(one))) ? value : undefined
    default:
      return text
  }
}

/** YYYY-MM-DD, or the form in which dates are returned. */
function isDate(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}(T00:00:00(\.0+)?(Z|[+-]00:?00))?$/.test(text) && !Number.isNaN(Date.parse(text))
}

const capital = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1)
