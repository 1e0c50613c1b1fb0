/** The customers of the fake Stripe: what is stored, and what each parameter does to it. */
import type { FakeControl, FakeReply } from '../../src/testing/fake.ts'
import { allow, type Form, FormError, refusal } from './form.ts'

export type Customer = Record<string, unknown> & { readonly id: string; readonly metadata: Record<string, string> }

export interface Customers {
  /** Oldest first, without deleted ones; as they stood `lag` milliseconds ago as far as that is known. */
  all(lag?: number): Customer[]
  create(form: Form): FakeReply
  update(id: string, form: Form): FakeReply
  remove(id: string): FakeReply
  read(id: string, form: Form): FakeReply
}

/** Longest texts, in characters (types of the official SDK and the published spec). */
const TEXTS: Readonly<Record<string, number>> = {
  business_name: 150,
  individual_name: 150,
  description: 5000,
  email: 512,
  name: 256,
  phone: 20,
  default_source: 500,
  invoice_prefix: 5000,
}
const ADDRESS = ['city', 'country', 'line1', 'line2', 'postal_code', 'state']
const SHARED = Object.keys(TEXTS).concat(
  ['address', 'balance', 'cash_balance', 'expand', 'invoice_settings', 'metadata', 'next_invoice_sequence'],
  ['preferred_locales', 'shipping', 'source', 'tax', 'tax_exempt', 'validate'],
)
const ON_CREATE = [...SHARED.filter((name) => name !== 'default_source'), 'payment_method', 'tax_id_data', 'test_clock']

const missing = (id: string): FakeReply => refusal(404, { code: 'resource_missing', message: `No such customer: '${id}'`, param: 'id' })

export function createCustomers(control: FakeControl): Customers {
  const customers = new Map<string, Customer>()
  /** What search would still find: the state before the last change, and when that change was made. */
  const before = new Map<string, { readonly at: number; readonly customer: Customer | undefined }>()
  const deleted = new Set<string>()
  let count = 0
  const store = (id: string, customer: Customer | undefined): void => {
    before.set(id, { at: control.now(), customer: customers.get(id) })
    if (customer === undefined) customers.delete(id)
    else customers.set(id, customer)
  }
  const refused = (): FakeReply | undefined =>
    control.refusesRow() ? refusal(400, { code: 'email_invalid', message: 'Invalid email address: (refused)', param: 'email' }) : undefined
  return {
    all(lag = 0) {
      if (lag === 0) return [...customers.values()]
      const stale = (id: string): Customer | undefined => {
        const last = before.get(id)
        return last !== undefined && control.now() - last.at < lag ? last.customer : customers.get(id)
      }
      return [...new Set([...customers.keys(), ...before.keys()])].map(stale).filter((customer) => customer !== undefined)
    },
    create(form) {
      allow(form, ON_CREATE)
      const id = `cus_${String(++count).padStart(14, '0')}`
      const customer = applied(blank(id, count, control.now()), form)
      const no = refused()
      if (no) return no
      store(id, customer)
      return { status: 200, json: customer }
    },
    update(id, form) {
      allow(form, SHARED)
      const old = customers.get(id)
      if (old === undefined) return missing(id)
      const customer = applied(old, form)
      const no = refused()
      if (no) return no
      store(id, customer)
      return { status: 200, json: customer }
    },
    remove(id) {
      if (!customers.has(id)) return missing(id)
      const no = refused()
      if (no) return no
      store(id, undefined)
      deleted.add(id)
      return { status: 200, json: { id, object: 'customer', deleted: true } }
    },
    read(id, form) {
      allow(form, ['expand'])
      // A deleted customer is still answered, with 200.
      if (deleted.has(id)) return { status: 200, json: { id, object: 'customer', deleted: true } }
      const customer = customers.get(id)
      return customer === undefined ? missing(id) : { status: 200, json: customer }
    },
  }
}

function blank(id: string, count: number, now: number): Customer {
  return {
    id,
    object: 'customer',
    address: null,
    balance: 0,
    created: Math.floor(now / 1000),
    currency: null,
    default_source: null,
    delinquent: false,
    description: null,
    discount: null,
    email: null,
    invoice_prefix: count.toString(36).toUpperCase().padStart(8, '0'),
    invoice_settings: { custom_fields: null, default_payment_method: null, footer: null, rendering_options: null },
    livemode: false,
    metadata: {},
    name: null,
    next_invoice_sequence: 1,
    phone: null,
    preferred_locales: [],
    shipping: null,
    tax_exempt: 'none',
    test_clock: null,
  }
}

/** The customer with the parameters applied; the one given is left as it was. Throws FormError. */
function applied(old: Customer, form: Form): Customer {
  const customer: Customer = { ...old, metadata: { ...old.metadata } }
  for (const [name, value] of Object.entries(form)) {
    if (name === 'metadata') setMetadata(customer.metadata, value)
    else if (name === 'address') customer[name] = address(old[name], value, name)
    else if (name === 'shipping') customer[name] = shipping(old[name], value)
    else if (name === 'balance' || name === 'next_invoice_sequence') customer[name] = integer(value, name)
    else if (name === 'tax_exempt') customer[name] = oneOf(value, ['exempt', 'none', 'reverse'], name) || 'none'
    else if (name === 'preferred_locales') customer[name] = locales(value)
    else if (name === 'invoice_settings') customer[name] = { ...(old[name] as object), ...hash(value, name) }
    else if (Object.hasOwn(TEXTS, name)) customer[name] = text(value, name, TEXTS[name] ?? 0) || null
    else if (name !== 'expand' && name !== 'validate') customer[name] = value
  }
  const { email } = form
  if (typeof email === 'string' && email !== '' && !/^[^\s@]+@[^\s@.]+(\.[^\s@.]+)+$/.test(email))
    throw new FormError({ code: 'email_invalid', message: `Invalid email address: ${email}`, param: 'email' })
  return customer
}

type Param = Form[string]

/** At most 50 keys of 40 characters with values of 500 (API reference, Metadata). Empty unsets, one or all. */
function setMetadata(metadata: Record<string, string>, value: Param): void {
  if (value === '') {
    for (const key of Object.keys(metadata)) delete metadata[key]
    return
  }
  for (const [key, item] of Object.entries(value)) {
    if (typeof item !== 'string') throw new FormError({ message: `Invalid string: metadata[${key}]`, param: `metadata[${key}]` })
    if (key.length > 40)
      throw new FormError({
        message: `Metadata keys can have up to 40 characters, but you passed in a key that is ${key.length} characters. Invalid key: ${key}`,
        param: 'metadata',
      })
    if (item.length > 500)
      throw new FormError({
        message: `Metadata values can have up to 500 characters, but you passed in a value that is ${item.length} characters. Invalid value: ${item}`,
        param: 'metadata',
      })
    if (item === '') delete metadata[key]
    else metadata[key] = item
  }
  if (Object.keys(metadata).length > 50)
    throw new FormError({ message: 'You can have up to 50 metadata keys on an object.', param: 'metadata' })
}

function text(value: Param, name: string, most: number): string {
  if (typeof value !== 'string') throw new FormError({ message: `Invalid string: ${JSON.stringify(value)}`, param: name })
  if (value.length > most)
    throw new FormError({
      message: `Invalid string: ${value.slice(0, 10)}…${value.slice(-10)}; must be at most ${most} characters`,
      param: name,
    })
  return value
}

function integer(value: Param, name: string): number {
  if (value === '')
    throw new FormError({
      code: 'parameter_invalid_empty',
      message: `You passed an empty string for '${name}'. We assume empty values are an attempt to unset a parameter; however '${name}' cannot be unset.`,
      param: name,
    })
  if (typeof value !== 'string' || !/^-?\d+$/.test(value))
    throw new FormError({ code: 'parameter_invalid_integer', message: `Invalid integer: ${JSON.stringify(value)}`, param: name })
  return Number(value)
}

function oneOf(value: Param, values: readonly string[], name: string): string {
  if (typeof value !== 'string' || !(value === '' || values.includes(value)))
    throw new FormError({ message: `Invalid ${name}: must be one of ${values.join(', ')}`, param: name })
  return value
}

function hash(value: Param, name: string): Form {
  if (typeof value === 'string' || Array.isArray(value)) throw new FormError({ message: 'Invalid hash', param: name })
  return value as Form
}

function locales(value: Param): unknown {
  if (value === '') return []
  if (!Array.isArray(value)) throw new FormError({ message: 'Invalid array', param: 'preferred_locales' })
  return value
}

/** Empty takes the whole address away; a part alone leaves the others. */
function address(old: unknown, value: Param, name: string): unknown {
  if (value === '') return null
  const parts: Record<string, unknown> = { ...Object.fromEntries(ADDRESS.map((part) => [part, null])), ...(old as object | null) }
  for (const [part, item] of Object.entries(hash(value, name))) {
    const param = `${name}[${part}]`
    if (!ADDRESS.includes(part)) throw new FormError({ code: 'parameter_unknown', message: `Received unknown parameter: ${param}`, param })
    parts[part] = text(item, param, 5000) || null
  }
  return parts
}

/** A shipping address needs a name beside it. */
function shipping(old: unknown, value: Param): unknown {
  if (value === '') return null
  const form = hash(value, 'shipping')
  const now = { ...(old as Record<string, unknown> | null) }
  for (const [part, item] of Object.entries(form)) {
    const param = `shipping[${part}]`
    if (part === 'address') now[part] = address(now[part], item, param)
    else if (part === 'name' || part === 'phone') now[part] = text(item, param, part === 'phone' ? 20 : 5000) || null
    else throw new FormError({ code: 'parameter_unknown', message: `Received unknown parameter: ${param}`, param })
  }
  for (const part of ['address', 'name'])
    if (now[part] === undefined || now[part] === null)
      throw new FormError({ code: 'parameter_missing', message: `Missing required param: shipping[${part}].`, param: `shipping[${part}]` })
  return now
}
