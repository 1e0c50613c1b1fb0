/** Customers as Stripe takes them: form parameters with brackets, and the limits that Stripe documents. */
import { encodeJson, type Fields, nest, RawJson, type Value } from '../../src/index.ts'

/** Why a row can't be sent, and its field. */
export interface Problem {
  readonly code: string
  readonly message: string
  readonly field: string
}

/** What can be written ("Create a customer", "Update a customer", version 2026-10-28) and the most characters of a text. */
export const FIELDS: Readonly<Record<string, { readonly type: string; readonly most?: number }>> = {
  address: { type: 'hash' },
  balance: { type: 'integer, in the smallest unit of the currency' },
  business_name: { type: 'text', most: 150 },
  cash_balance: { type: 'hash' },
  description: { type: 'text', most: 5000 },
  email: { type: 'text', most: 512 },
  individual_name: { type: 'text', most: 150 },
  invoice_prefix: { type: 'text' },
  invoice_settings: { type: 'hash' },
  metadata: { type: 'hash of texts' },
  name: { type: 'text', most: 256 },
  next_invoice_sequence: { type: 'integer' },
  phone: { type: 'text', most: 20 },
  preferred_locales: { type: 'list' },
  shipping: { type: 'hash' },
  tax: { type: 'hash' },
  tax_exempt: { type: 'none, exempt or reverse' },
}

/** "You can specify up to 50 keys, with key names up to 40 characters long and values up to 500 characters long" (Metadata). */
const METADATA = { keys: 50, key: 40, value: 500 }

/**
 * Form parameters of a customer, or why there are none. Null, empty lists and empty texts clear ("Unsetting"); a customer that
 * is `fresh` has nothing to clear, and not every parameter may be empty then.
 */
export function formOf(fields: Fields, fresh = false): { readonly form: Record<string, string> } | { readonly problem: Problem } {
  const form: Record<string, string> = {}
  for (const [name, value] of Object.entries(nest(fields))) {
    const problem = checkText(name, value) ?? (name === 'metadata' ? checkMetadata(value) : undefined)
    if (problem !== undefined) return { problem }
    flatten(form, name, value, fresh)
  }
  return { form }
}

function flatten(form: Record<string, string>, name: string, value: Value, fresh: boolean): void {
  if (Array.isArray(value)) {
    if (value.length === 0 && !fresh) form[name] = ''
    for (const [i, item] of (value as readonly Value[]).entries()) flatten(form, `${name}[${i}]`, item, fresh)
  } else if (isHash(value)) for (const [key, item] of Object.entries(value)) flatten(form, `${name}[${key}]`, item, fresh)
  else if (!fresh || textOf(value) !== '') form[name] = textOf(value)
}

/** Scalars as text, numbers with all their digits; null is empty. */
export function textOf(value: Value): string {
  return value === null ? '' : typeof value === 'string' ? value : encodeJson(value)
}

function checkText(field: string, value: Value): Problem | undefined {
  const most = FIELDS[field]?.most
  return most === undefined || lengthOf(value) <= most ? undefined : tooLong(field, value, most)
}

const lengthOf = (value: Value): number => Array.from(textOf(value)).length

const tooLong = (field: string, value: Value, most: number): Problem => ({
  code: 'too_long',
  message: `${field} has ${lengthOf(value)} characters; Stripe takes ${most}.`,
  field,
})

function checkMetadata(value: Value): Problem | undefined {
  if (value === null) return undefined
  if (!isHash(value)) return { code: 'bad_metadata', message: 'metadata must be an object of texts.', field: 'metadata' }
  const entries = Object.entries(value)
  const most = { code: 'too_many_keys', message: `metadata has ${entries.length} keys; Stripe takes ${METADATA.keys}.`, field: 'metadata' }
  if (entries.length > METADATA.keys) return most
  for (const [key, item] of entries) {
    const field = `metadata.${key}`
    if (/[[\]]/.test(key)) return { code: 'bad_key', message: 'Stripe takes no brackets in a metadata key.', field }
    if (key === '' || lengthOf(key) > METADATA.key)
      return { code: 'bad_key', message: `A metadata key has 1 to ${METADATA.key} characters.`, field }
    if (typeof item === 'object' && item !== null && !(item instanceof RawJson))
      return { code: 'bad_value', message: 'A metadata value is a text: cast the column to a string.', field }
    if (lengthOf(item) > METADATA.value) return tooLong(field, item, METADATA.value)
  }
  return undefined
}

/** `metadata[plan]` as a sync names it: `metadata.plan`. */
export const fieldOf = (param: string): string => param.replaceAll(/\[([^\]]*)\]/g, '.$1')

/** A customer's fields by the names a sync gives them: `address.city`, `metadata.plan`. */
export function flat(customer: Readonly<Record<string, Value>>): Fields {
  const fields: Record<string, Value> = {}
  const add = (name: string, value: Value): void => {
    if (!isHash(value)) fields[name] = value
    else for (const [part, item] of Object.entries(value)) add(`${name}.${part.replaceAll('.', '\\.')}`, item)
  }
  for (const name of Object.keys(FIELDS)) if (customer[name] !== undefined) add(name, customer[name])
  return fields
}

export function isHash(value: Value | undefined): value is Readonly<Record<string, Value>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof RawJson)
}
