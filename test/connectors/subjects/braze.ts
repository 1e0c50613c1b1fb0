/** What the conformance suite must know of the Braze connector. */
import connector from '../../../connectors/braze/index.ts'
import fake from '../../../fakes/braze/index.ts'
import type { Held, ObjectSubject, Row, Subject } from '../../../src/testing/index.ts'
import type { Contract } from '../contract.ts'

type Object_ = Readonly<Record<string, unknown>>

const users = (held: Held): readonly Object_[] => held['users'] ?? []

/** Fields of a row as a record has them; a dot leads inwards. */
const read = (record: Object_ | undefined, { fields }: Row): Object_ | null =>
  record === undefined
    ? null
    : Object.fromEntries(
        Object.keys(fields).map((name) => [
          name,
          name.split('.').reduce<unknown>((at, part) => (at as Object_ | undefined)?.[part], record),
        ]),
      )

const profile = (match: string, value: (i: number) => string): ObjectSubject => ({
  object: 'users',
  row: (i, version) => ({
    match: { [match]: value(i) },
    fields: { first_name: `Name ${i}`, plan: version === 0 ? 'free' : 'pro', seats: i },
  }),
  held: (held, row) => {
    const found = users(held).find((user) => user[match] === row.match[match])
    return found ? read({ ...found, ...(found['custom_attributes'] as object) }, row) : null
  },
  count: (held) => users(held).length,
  text: 'plan',
  clears: { field: 'plan', reads: undefined },
  refused: {
    row: { match: { [match]: value(99) }, fields: { first_name: 'x'.repeat(256), plan: 'free', seats: 0 } },
    says: /256 characters/,
  },
})

const event = (object: 'events' | 'purchases', more: Row['fields'], refused: Row['fields'], says: RegExp): ObjectSubject => ({
  object,
  row: (i, version) => ({
    match: { external_id: `user-${i}` },
    fields: { time: `2026-11-0${1 + (i % 9)}T10:00:00Z`, 'properties.plan': version === 0 ? 'free' : 'pro', ...more },
  }),
  held: (held, row) =>
    read(
      (held[object] ?? []).find((one) => one['external_id'] === row.match['external_id']),
      row,
    ),
  count: (held) => held[object]?.length ?? 0,
  text: 'properties.plan',
  refused: {
    row: { match: { external_id: 'bad' }, fields: { time: '2026-11-01T10:00:00Z', 'properties.plan': 'free', ...more, ...refused } },
    says,
  },
})

const item: ObjectSubject = {
  object: 'catalog-items',
  options: { catalog: 'products' },
  row: (i, version) => ({
    match: { id: `product-${i}` },
    fields: { name: `Product ${i}`, price: i + (version === 0 ? 0.5 : 0.75), available: i % 2 === 0, description: 'A product' },
  }),
  held: (held, row) =>
    read(
      (held['catalog products'] ?? []).find((one) => one['id'] === row.match['id']),
      row,
    ),
  count: (held) => held['catalog products']?.length ?? 0,
  text: 'description',
  clears: { field: 'description' },
  refused: {
    row: { match: { id: 'not an id' }, fields: { name: 'Bad', price: 1.5, available: true, description: '' } },
    says: /letters, digits/,
  },
}

export const subject: Subject = {
  connector,
  fake,
  objects: [
    profile('external_id', (i) => `user-${i}`),
    // By e-mail Braze deletes nobody.
    { ...profile('email', (i) => `user${i}@example.com`), modes: ['upsert'] },
    event('events', { name: 'Plan changed' }, { name: 'x'.repeat(300) }, /300 characters/),
    event('purchases', { product_id: 'plan', currency: 'EUR', price: 9.5, quantity: 1 }, { quantity: 101 }, /from 1 to 100/),
    item,
  ],
}

/** Made from Braze's public Postman collection: paths and queries, and the outermost shape of bodies. */
export const contract: readonly Contract[] = [{ spec: 'braze/braze-postman-derived.yml' }]
