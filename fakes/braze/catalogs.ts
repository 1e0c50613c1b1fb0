/** The catalogs of the fake Braze: one wrong item refuses the whole request, by the ids of the wrong ones. */
import type { FakeControl, FakeReply, FakeRequest } from '../../src/testing/fake.ts'

type Item = Record<string, unknown> & { readonly id: string }
type FieldType = 'string' | 'number' | 'time' | 'boolean' | 'object' | 'array'

interface Catalog {
  readonly name: string
  readonly description: string
  readonly fields: readonly { readonly name: string; readonly type: FieldType }[]
  readonly items: Map<string, Item>
}

type Write = 'add' | 'update' | 'replace' | 'delete'

const TYPES = ['string', 'number', 'time', 'boolean', 'object', 'array']
/** "The item limit per request is 50", "Item IDs can't be more than 250 characters", "Item values can't exceed 5,000 characters". */
const MOST_ITEMS = 50
const LONGEST_ID = 250
const LONGEST_VALUE = 5000
const PAGE = 50

const success = (status: number, more: object = {}): FakeReply => ({ status, json: { ...more, message: 'success' } })

function refusal(status: number, id: string, message: string, parameters: readonly string[], values: readonly unknown[]): FakeReply {
  return { status, json: { errors: [{ id, message, parameters, parameter_values: values }], message: 'Invalid Request' } }
}

/** Two catalogs are there from the start; more by `POST /catalogs`. */
const START: readonly (readonly [string, Readonly<Record<string, FieldType>>])[] = [
  [
    'products',
    { name: 'string', price: 'number', available: 'boolean', released_at: 'time', tags: 'array', details: 'object', description: 'string' },
  ],
  ['companies', { name: 'string', domain: 'string', industry: 'string', employees: 'number', owner_email: 'string' }],
]

const unknown = (name: string): FakeReply => refusal(404, 'catalog-not-found', 'Could not find catalog', ['catalog_name'], [name])

export function createCatalogs(control: FakeControl) {
  const catalogs = new Map<string, Catalog>()
  const put = (name: string, description: string, fields: Catalog['fields']): void => {
    catalogs.set(name, { name, description, fields, items: new Map() })
  }
  for (const [name, fields] of START)
    put(name, '', [{ name: 'id', type: 'string' }, ...Object.entries(fields).map(([field, type]) => ({ name: field, type }))])
  const shown = ({ items, ...catalog }: Catalog): object => ({
    ...catalog,
    num_items: items.size,
    updated_at: new Date(control.now()).toISOString(),
  })
  return {
    records: () => Object.fromEntries([...catalogs].map(([name, { items }]) => [`catalog ${name}`, [...items.values()]])),
    list: (): FakeReply => success(200, { catalogs: control.anyOrder([...catalogs.values()].map(shown)) }),
    create: (request: FakeRequest): FakeReply => {
      const [asked] = ((request.json() as { catalogs?: unknown }).catalogs ?? []) as Partial<Catalog>[]
      const { name = '', description = '', fields = [] } = asked ?? {}
      if (!/^[A-Za-z0-9_-]{1,250}$/.test(name)) return refusal(400, 'invalid-catalog-name', 'Catalog name is invalid', ['name'], [name])
      if (catalogs.has(name))
        return refusal(400, 'catalog-name-already-exists', 'A catalog with that name already exists', ['name'], [name])
      if (fields[0]?.name !== 'id' || fields.some(({ type }) => !TYPES.includes(type)))
        return refusal(400, 'invalid-fields', 'Fields are invalid', ['fields'], [])
      put(name, description, fields)
      return success(201, { catalogs: [shown(catalogs.get(name) as Catalog)] })
    },
    items(name: string, { query, path }: FakeRequest): FakeReply {
      const catalog = catalogs.get(name)
      if (catalog === undefined) return unknown(name)
      const from = Number(query.get('cursor') ?? '0')
      if (!Number.isInteger(from)) return refusal(400, 'invalid-cursor', "'cursor' is not valid", ['cursor'], [query.get('cursor')])
      const items = [...catalog.items.values()]
      const next = from + PAGE < items.length ? { link: `<${control.url}${path}?cursor=${from + PAGE}>; rel="next"` } : {}
      return { ...success(200, { items: items.slice(from, from + PAGE) }), headers: next }
    },
    item(name: string, id: string): FakeReply {
      const item = catalogs.get(name)?.items.get(id)
      if (!catalogs.has(name)) return unknown(name)
      if (item === undefined) return refusal(404, 'item-not-found', 'Could not find item', ['item_id'], [id])
      return success(200, { items: [item] })
    },
    write(name: string, write: Write, request: FakeRequest): FakeReply {
      const catalog = catalogs.get(name)
      if (catalog === undefined) return unknown(name)
      const { items } = request.json() as { items?: unknown }
      const refused = refusedItems(items, catalog, write) ?? refusedOnes(items as Item[], control)
      if (refused) return refused
      for (const item of items as Item[]) apply(catalog, write, item)
      return success(202)
    },
  }
}

/** Somebody asked that some be refused: as too large, for that is said of single items. */
function refusedOnes(items: readonly Item[], control: FakeControl): FakeReply | undefined {
  const ids = items.filter(() => control.refusesRow()).map(({ id }) => id)
  return ids.length === 0 ? undefined : refusal(400, 'items-too-large', 'Item values exceed 5000 characters', ['id'], ids)
}

function refusedItems(items: unknown, catalog: Catalog, write: Write): FakeReply | undefined {
  if (!Array.isArray(items) || items.some((item) => typeof item !== 'object' || item === null))
    return refusal(400, 'item-array-invalid', "'items' must be an array of objects", ['items'], [])
  const list = items as Record<string, unknown>[]
  const bad = (id: string, message: string, wrong: (item: Record<string, unknown>) => boolean): FakeReply | undefined => {
    const found = list.filter(wrong)
    return found.length === 0
      ? undefined
      : refusal(
          400,
          id,
          message,
          ['id'],
          found.map((item) => item['id'] ?? null),
        )
  }
  const ids = list.map((item) => item['id'])
  const types = new Map(catalog.fields.map(({ name, type }) => [name, type]))
  if (list.length > MOST_ITEMS)
    return refusal(400, 'request-includes-too-many-items', 'Each request supports up to 50 items', ['items'], [list.length])
  return (
    bad('items-missing-ids', 'Some of the given items are missing ids', (item) => item['id'] === undefined) ??
    bad('ids-not-strings', 'IDs must be strings', (item) => typeof item['id'] !== 'string') ??
    bad('ids-too-large', 'IDs exceed 250 characters', (item) => (item['id'] as string).length > LONGEST_ID) ??
    bad(
      'invalid-ids',
      'IDs can only include letters, numbers, hyphens, and underscores',
      (item) => !/^[A-Za-z0-9_-]+$/.test(item['id'] as string),
    ) ??
    bad('ids-not-unique', 'IDs are not unique', (item) => ids.indexOf(item['id']) !== ids.lastIndexOf(item['id'])) ??
    (write === 'delete'
      ? undefined
      : (bad(
          // The documented example of PUT calls it so, that of PATCH `invalid-fields`.
          write === 'replace' ? 'fields-do-not-match' : 'invalid-fields',
          write === 'replace' ? 'Fields do not match with fields on the catalog' : 'Some of the fields given do not exist in the catalog',
          (item) => Object.keys(item).some((field) => !types.has(field)),
        ) ??
        bad('invalid-keys-in-value-object', 'Object keys cannot include . or $', (item) => Object.values(item).some(hasBadKey)) ??
        bad('items-too-large', 'Item values exceed 5000 characters', (item) =>
          Object.values(item).some((value) => lengthOf(value) > LONGEST_VALUE),
        ) ??
        bad('unable-to-coerce-value', 'Values could not be converted to the type of their field', (item) =>
          Object.entries(item).some(([field, value]) => value !== null && !fits(value, types.get(field) as FieldType)),
        ) ??
        (write === 'add'
          ? bad('items-already-exist', 'Some of the given items already exist', (item) => catalog.items.has(item['id'] as string))
          : undefined)))
  )
}

const lengthOf = (value: unknown): number => (typeof value === 'string' ? value : JSON.stringify(value ?? null)).length

function hasBadKey(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (Array.isArray(value)) return value.some(hasBadKey)
  return Object.entries(value).some(([key, member]) => (/[.$]/.test(key) && key !== '$add' && key !== '$remove') || hasBadKey(member))
}

function fits(value: unknown, type: FieldType): boolean {
  switch (type) {
    case 'string':
      return typeof value !== 'object'
    case 'number':
      // Digits beyond what JavaScript holds arrive as text.
      return typeof value === 'number' || (typeof value === 'string' && /^-?\d+(\.\d+)?$/.test(value))
    case 'boolean':
      return typeof value === 'boolean' || value === 'true' || value === 'false'
    case 'time':
      return typeof value === 'string' && !Number.isNaN(Date.parse(value))
    case 'array':
      return Array.isArray(value) || (typeof value === 'object' && value !== null && ('$add' in value || '$remove' in value))
    case 'object':
      return typeof value === 'object' && !Array.isArray(value)
  }
}

/** PUT replaces the item or makes it; PATCH changes what is there: of an item that is not, the 202 says nothing. */
function apply({ items }: Catalog, write: Write, item: Item): void {
  const old = items.get(item.id)
  if (write === 'delete') items.delete(item.id)
  else if (write !== 'update') items.set(item.id, { ...item })
  else if (old !== undefined) {
    const next: Item = { ...old }
    for (const [field, value] of Object.entries(item)) next[field] = edited(old[field], value)
    items.set(item.id, next)
  }
}

function edited(old: unknown, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('$add' in value || '$remove' in value)) return value
  const { $add = [], $remove = [] } = value as { $add?: unknown[]; $remove?: unknown[] }
  const list = Array.isArray(old) ? (old as unknown[]) : []
  return [...new Set([...list.filter((item) => !$remove.includes(item)), ...$add])]
}
