/** What the conformance suite must know of the Stripe connector. */
import connector from '../../../connectors/stripe/index.ts'
import fake from '../../../fakes/stripe/index.ts'
import type { Held, ObjectSubject, Row, Subject } from '../../../src/testing/index.ts'
import type { Contract } from '../contract.ts'

type Customer = Readonly<Record<string, unknown>> & { readonly metadata: Readonly<Record<string, string>> }

const customers = (held: Held): readonly Customer[] => (held['customers'] ?? []) as readonly Customer[]

function customer(name: string, value: (i: number) => string, read: (customer: Customer) => unknown): ObjectSubject {
  const fields = (i: number, version: 0 | 1): Row['fields'] => ({
    name: `Customer ${i}`,
    description: version === 0 ? 'on the free plan' : 'on the pro plan',
    phone: `+1555000${1000 + i}`,
  })
  return {
    object: 'customers',
    options: { allow_delete: true },
    row: (i, version) => ({ match: { [name]: value(i) }, fields: fields(i, version) }),
    held: (held, row) => {
      const found = customers(held).find((one) => read(one) === row.match[name])
      return found ? Object.fromEntries(Object.keys(row.fields).map((field) => [field, found[field]])) : null
    },
    count: (held) => customers(held).length,
    text: 'description',
    clears: { field: 'phone' },
    refused: {
      row: { match: { [name]: value(99) }, fields: { ...fields(99, 0), phone: '5'.repeat(21) } },
      says: /21 characters/,
    },
  }
}

export const subject: Subject = {
  connector,
  fake,
  objects: [
    customer(
      'email',
      (i) => `user${i}@example.com`,
      (one) => one['email'],
    ),
    customer(
      'metadata.user_id',
      (i) => `it's "user" ${i}\\`,
      ({ metadata }) => metadata['user_id'],
    ),
  ],
}

/** An older document (2023-10-16) of the customers' endpoints. */
export const contract: readonly Contract[] = [
  {
    spec: 'stripe/customers-slice.yml',
    takes: ({ path }) => path.startsWith('/v1/customers'),
    // Its forms have lost their parameters and still must be there: paths and queries are all it tells.
    mend: ({ paths }) => {
      for (const path of Object.values(paths ?? {}) as Record<string, { requestBody?: unknown }>[])
        for (const method of ['get', 'post', 'delete']) delete path[method]?.requestBody
    },
  },
]
