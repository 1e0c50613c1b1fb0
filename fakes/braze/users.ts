/** The users of the fake Braze: profiles with attributes, and the events and purchases tracked for them. */
import type { FakeControl, FakeReply, FakeRequest } from '../../src/testing/fake.ts'
import { type Attributes, type Profile, setAttributes } from './profile.ts'

export interface Users {
  records(): Readonly<Record<string, readonly Readonly<Record<string, unknown>>[]>>
  readonly track: (request: FakeRequest) => FakeReply
  readonly remove: (request: FakeRequest) => FakeReply
  readonly export: (request: FakeRequest) => FakeReply
  readonly customAttributes: (request: FakeRequest) => FakeReply
  readonly eventNames: (request: FakeRequest) => FakeReply
}

const ARRAYS = ['attributes', 'events', 'purchases'] as const
/** Objects in one request to /users/track, all three lists together. */
const MOST_OBJECTS = 75
/** Users in one request to /users/delete and /users/export/ids. */
const MOST_USERS = 50
const PAGE = 50
const LONGEST_NAME = 255
const IDENTIFIERS = ['external_id', 'user_alias', 'braze_id', 'email', 'phone']
const NO_IDENTIFIER = "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"

interface Tracked {
  readonly type: string
  readonly input_array: string
  readonly index: number
}

const success = (status: number, more: object = {}): FakeReply => ({ status, json: { ...more, message: 'success' } })
const refusal = (message: string): FakeReply => ({ status: 400, json: { message } })

export function createUsers(control: FakeControl): Users {
  const profiles: Profile[] = []
  const events: Attributes[] = []
  const purchases: Attributes[] = []
  let count = 0
  const find = (object: Attributes): Profile | undefined => profiles.find((profile) => isOf(profile, object))
  const create = (object: Attributes): Profile => {
    const id = String(++count).padStart(24, '0')
    const { external_id, user_alias } = object
    const profile: Profile = {
      braze_id: id,
      ...(typeof external_id === 'string' ? { external_id } : {}),
      ...(user_alias === undefined ? {} : { user_aliases: [user_alias] }),
      created_at: new Date(control.now()).toISOString(),
      custom_attributes: {},
    }
    if (external_id === undefined && user_alias === undefined)
      for (const name of ['email', 'phone']) if (typeof object[name] === 'string') profile[name] = object[name]
    profiles.push(profile)
    return profile
  }
  const take: Record<(typeof ARRAYS)[number], (object: Attributes) => void> = {
    attributes(object) {
      // "This value defaults to true for alias-only profiles"; who is not there is passed over without a word.
      const onlyExisting = object['_update_existing_only'] ?? onlyAlias(object)
      const profile = find(object) ?? (onlyExisting === true ? undefined : create(object))
      if (profile !== undefined) setAttributes(profile, object)
    },
    events: (object) => keep(events, object),
    purchases: (object) => keep(purchases, object),
  }
  const keep = (list: Attributes[], object: Attributes): void => {
    if (find(object) === undefined && (object['_update_existing_only'] ?? onlyAlias(object)) === true) return
    if (find(object) === undefined) create(object)
    list.push(object)
  }
  return {
    records: () => ({ users: profiles.map((profile) => ({ ...profile })), events: [...events], purchases: [...purchases] }),
    track: (request) => track(request, control, take),
    remove(request) {
      const asked = idsOf(request, ['external_ids', 'user_aliases', 'braze_ids', 'email_addresses'])
      if ('status' in asked) return asked
      if (asked.ids.filter(() => control.refusesRow()).length > 0) return refusal(`Invalid value in '${asked.kind}'.`)
      const before = profiles.length
      for (const id of asked.ids) {
        const at = profiles.findIndex((profile) => isOf(profile, { [SINGULAR[asked.kind] ?? '']: id }))
        if (at >= 0) profiles.splice(at, 1)
      }
      return success(201, { deleted: before - profiles.length })
    },
    export(request) {
      const asked = idsOf(request, ['external_ids', 'user_aliases', 'braze_id', 'email_address', 'phone', 'device_id'])
      if ('status' in asked) return asked
      const found = asked.ids.map((id) => [id, find({ [SINGULAR[asked.kind] ?? '']: id })] as const)
      const { fields_to_export: fields } = request.json() as { fields_to_export?: string[] }
      const users = found.flatMap(([, profile]) => (profile ? [only(profile, fields)] : []))
      const missing = found.filter(([, profile]) => profile === undefined).map(([id]) => id)
      return success(201, { users: control.anyOrder(users), ...(missing.length > 0 ? { invalid_user_ids: missing } : {}) })
    },
    customAttributes: (request) => customAttributes(request, profiles, control),
    eventNames: () =>
      success(200, { events: [...new Set(events.map((event) => event['name'] as string))].toSorted((a, b) => a.localeCompare(b)) }),
  }
}

/** Kinds of ids that are given as lists; of the others a request names one. */
const LISTS = ['external_ids', 'user_aliases', 'braze_ids', 'email_addresses']

const SINGULAR: Readonly<Record<string, string>> = {
  external_ids: 'external_id',
  user_aliases: 'user_alias',
  braze_ids: 'braze_id',
  braze_id: 'braze_id',
  email_addresses: 'email',
  email_address: 'email',
  phone: 'phone',
}

const onlyAlias = (object: Attributes): boolean =>
  object['user_alias'] !== undefined && object['external_id'] === undefined && object['braze_id'] === undefined

/** By the first identifier the object has; e-mails compare without regard to case. */
function isOf(profile: Profile, object: Attributes): boolean {
  const { external_id, braze_id, user_alias, email, phone } = object
  if (external_id !== undefined) return profile['external_id'] === external_id
  if (braze_id !== undefined) return profile['braze_id'] === braze_id
  if (user_alias !== undefined) {
    const { alias_name, alias_label } = user_alias as Attributes
    const aliases = (profile['user_aliases'] ?? []) as Attributes[]
    return aliases.some((alias) => alias['alias_name'] === alias_name && alias['alias_label'] === alias_label)
  }
  if (typeof email === 'string') return typeof profile['email'] === 'string' && profile['email'].toLowerCase() === email.toLowerCase()
  return phone !== undefined && profile['phone'] === phone
}

function only(profile: Profile, fields: readonly string[] | undefined): Attributes {
  if (fields === undefined) return profile
  return Object.fromEntries(Object.entries(profile).filter(([name]) => fields.includes(name)))
}

/** The one list of ids in the body; Braze takes one kind a request. */
function idsOf(request: FakeRequest, kinds: readonly string[]): FakeReply | { readonly kind: string; readonly ids: readonly unknown[] } {
  const body = request.json() as Attributes
  const unknown = Object.keys(body).find((name) => !kinds.includes(name) && name !== 'fields_to_export')
  if (unknown !== undefined) return refusal(`Unknown parameter '${unknown}'.`)
  const given = kinds.filter((kind) => body[kind] !== undefined)
  const [kind] = given
  if (kind === undefined || given.length > 1) return refusal(`Exactly one of ${kinds.join(', ')} is required.`)
  const ids = LISTS.includes(kind) ? body[kind] : [body[kind]]
  if (!Array.isArray(ids) || ids.length === 0) return refusal(`'${kind}' must be a list that is not empty.`)
  if (ids.length > MOST_USERS) return refusal(`'${kind}' can have up to ${MOST_USERS} entries.`)
  if (kind !== 'user_aliases' && ids.some((id) => typeof id !== 'string')) return refusal(`'${kind}' must be a list of strings.`)
  return { kind, ids }
}

function track(request: FakeRequest, control: FakeControl, take: Readonly<Record<string, (object: Attributes) => void>>): FakeReply {
  const body = request.json() as Record<string, unknown>
  const unknown = Object.keys(body).find((name) => !['attributes', 'events', 'purchases', 'partner'].includes(name))
  if (unknown !== undefined) return refusal(`Unknown parameter '${unknown}'.`)
  const given = ARRAYS.filter((name) => body[name] !== undefined)
  const wrong = given.find((name) => !Array.isArray(body[name]))
  if (wrong !== undefined) return refusal(`'${wrong}' must be an array.`)
  const total = given.reduce((sum, name) => sum + (body[name] as unknown[]).length, 0)
  if (total > MOST_OBJECTS) return refusal(`The request has ${total} objects; up to ${MOST_OBJECTS} are allowed.`)
  const errors: Tracked[] = []
  const counts: Record<string, number> = {}
  const valid: [string, Attributes][] = []
  for (const name of given)
    for (const [index, object] of (body[name] as Attributes[]).entries()) {
      const type = wrongWith(name, object) ?? (control.refusesRow() ? 'invalid value' : undefined)
      if (type !== undefined) errors.push({ type, input_array: name, index })
      else {
        valid.push([name, object])
        counts[`${name}_processed`] = (counts[`${name}_processed`] ?? 0) + 1
      }
    }
  const shown = errors.length > 0 ? { errors: control.anyOrder(errors) } : {}
  if (valid.length === 0)
    return {
      status: 400,
      json: { message: "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields.", ...shown },
    }
  // What is in one request is worked on side by side.
  for (const [name, object] of control.anyOrder(valid)) take[name]?.(object)
  return success(201, { ...counts, ...shown })
}

/** Names that properties can't have (Custom event properties, Reserved keys). */
const RESERVED: Readonly<Record<(typeof ARRAYS)[number], readonly string[]>> = {
  attributes: [],
  events: ['time', 'event_name'],
  purchases: ['time', 'product_id', 'quantity', 'event_name', 'price', 'currency'],
}

/** What Braze sees at once; the rest it drops later without a word. */
function wrongWith(array: (typeof ARRAYS)[number], object: Attributes): string | undefined {
  if (typeof object !== 'object' || object === null || Array.isArray(object)) return 'must be an object'
  if (!IDENTIFIERS.some((name) => object[name] !== undefined && object[name] !== null && object[name] !== '')) return NO_IDENTIFIER
  const { external_id, user_alias } = object
  if (external_id !== undefined && typeof external_id !== 'string') return "'external_id' must be a string"
  if (user_alias !== undefined) {
    const { alias_name, alias_label } = (user_alias ?? {}) as Attributes
    if (typeof alias_name !== 'string' || typeof alias_label !== 'string') return "'user_alias' needs 'alias_name' and 'alias_label'"
  }
  const text = (name: string): string | undefined =>
    typeof object[name] !== 'string' || object[name] === ''
      ? `'${name}' is required`
      : object[name].length > LONGEST_NAME
        ? `'${name}' is too long`
        : undefined
  const time = (): string | undefined =>
    typeof object['time'] === 'string' && !Number.isNaN(Date.parse(object['time'])) ? undefined : "'time' must be a valid ISO 8601 time"
  const properties = (): string | undefined => {
    const { properties: given = {} } = object
    if (typeof given !== 'object' || given === null || Array.isArray(given)) return "'properties' must be an object"
    return Object.keys(given).some((name) => RESERVED[array].includes(name)) ? "Invalid 'properties' field" : undefined
  }
  if (array === 'events') return text('name') ?? time() ?? properties()
  if (array === 'purchases') {
    const { currency, price, quantity } = object
    return (
      text('product_id') ??
      (typeof currency === 'string' && /^[A-Z]{3}$/.test(currency) ? undefined : "'currency' must be an ISO 4217 code") ??
      (typeof price === 'number' ? undefined : "'price' must be a number") ??
      (quantity === undefined || (Number.isInteger(quantity) && (quantity as number) >= 1 && (quantity as number) <= 100)
        ? undefined
        : "'quantity' must be between 1 and 100") ??
      time() ??
      properties()
    )
  }
  return undefined
}

/** Attributes exist once they were written. */
function customAttributes({ query }: FakeRequest, profiles: readonly Profile[], control: FakeControl): FakeReply {
  const types = new Map<string, string>()
  for (const { custom_attributes } of profiles)
    for (const [name, value] of Object.entries(custom_attributes)) if (!types.has(name)) types.set(name, detected(value))
  const from = Number(query.get('cursor') ?? '0')
  if (!Number.isInteger(from)) return refusal("'cursor' is not valid")
  const all = [...types].map(([name, data_type]) => ({
    name,
    description: null,
    data_type,
    array_length: null,
    status: 'Active',
    tag_names: [],
  }))
  const next = from + PAGE < all.length ? { link: `<${control.url}/custom_attributes?cursor=${from + PAGE}>; rel="next"` } : {}
  return { ...success(200, { attributes: all.slice(from, from + PAGE) }), headers: next }
}

function detected(value: unknown): string {
  const named = Array.isArray(value)
    ? 'Array'
    : typeof value === 'object'
      ? 'Object'
      : typeof value === 'number'
        ? 'Number'
        : typeof value === 'boolean'
          ? 'Boolean'
          : 'String'
  return `${named} (Automatically Detected)`
}
