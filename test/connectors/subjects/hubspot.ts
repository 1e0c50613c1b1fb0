/** What the conformance suite must know of the HubSpot connector. */
import connector from '../../../connectors/hubspot/index.ts'
import fake from '../../../fakes/hubspot/index.ts'
import type { FakeRequest, Held, ObjectSubject, Plain, ServedFake, Subject } from '../../../src/testing/index.ts'
import type { Contract } from '../contract.ts'

type Texts = Readonly<Record<string, Plain>>

/** HubSpot keeps texts; they are compared as such, and what is not there is null. */
const shown = (record: Readonly<Record<string, unknown>> | undefined, fields: Texts): Record<string, unknown> | null =>
  record ? Object.fromEntries(Object.keys(fields).map((name) => [name, record[name] ?? null])) : null

const record = (
  object: string,
  match: string,
  value: (i: number) => string,
  fields: (i: number, version: 0 | 1) => Texts,
  more: Partial<ObjectSubject>,
): ObjectSubject => ({
  object,
  row: (i, version) => ({ match: { [match]: value(i) }, fields: fields(i, version) }),
  held: (records, row) =>
    shown(
      records[more.object ?? object]?.find((one) => one[match] === row.match[match]),
      row.fields,
    ),
  count: (records) => records[more.object ?? object]?.length ?? 0,
  ...more,
  ...(more.object === undefined ? {} : { object }),
})

const contacts = record(
  'contacts',
  'email',
  (i) => `row${i}@example.com`,
  (i, version) => ({ firstname: `Name ${i}`, plan: version === 0 ? 'free' : 'pro', seats: i, is_active: i % 2 === 0, note: `note ${i}` }),
  {
    text: 'note',
    clears: { field: 'note' },
    refused: { row: { match: { email: 'no-address' }, fields: { firstname: 'X' } }, says: /no-address is invalid/ },
  },
)

const companies = record(
  'companies',
  'company_id',
  (i) => `c${i}`,
  (i, version) => ({ name: `Company ${i}`, plan: version === 0 ? 'free' : 'pro', mrr: i }),
  {
    text: 'name',
    clears: { field: 'plan' },
  },
)

const deals = record(
  'deals',
  'order_id',
  (i) => `o${i}`,
  (i, version) => ({ dealname: `Order ${i}`, dealstage: version === 0 ? 'contractsent' : 'closedwon', amount: i }),
  { text: 'dealname', refused: { row: { match: { order_id: 'bad' }, fields: { dealstage: 'unheard of' } }, says: /allowed options/ } },
)

const subscriptions = record(
  'p_subscription',
  'subscription_id',
  (i) => `s${i}`,
  (i, version) => ({ name: `Subscription ${i}`, status: version === 0 ? 'active' : 'paused', started_on: '2026-01-02' }),
  { object: 'subscription', text: 'name', clears: { field: 'started_on' } },
)

const token = 'pat-na1-sandbox-0000'

async function create(served: ServedFake, type: string, rows: readonly object[]): Promise<void> {
  for (let from = 0; from < rows.length; from += 100) {
    const inputs = rows.slice(from, from + 100).map((properties) => ({ properties, associations: [] }))
    await fetch(`${served.url}/crm/objects/2026-03/${type}/batch/create`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ inputs }),
    })
  }
}

/** As many as the largest case has rows. */
const MANY = Array.from({ length: 110 }, (_, i) => i)
const people = (served: ServedFake): Promise<void> =>
  create(
    served,
    'contacts',
    MANY.map((i) => ({ email: `row${i}@example.com` })),
  )

const idOf = (records: Held, type: string, name: string, value: unknown): unknown =>
  records[type]?.find((one) => one[name] === value)?.['id']

const members: ObjectSubject = {
  object: 'list-members',
  options: { list: 1 },
  prepare: people,
  row: (i) => ({ match: { email: `row${i}@example.com` }, fields: {} }),
  held: (records, { match }) => {
    const ids = records['lists']?.[0]?.['members'] as readonly unknown[] | undefined
    return ids?.includes(idOf(records, 'contacts', 'email', match['email'])) ? {} : null
  },
  count: ({ lists = [] }) => (lists[0]?.['members'] as readonly unknown[] | undefined)?.length ?? 0,
  refused: { row: { match: { email: 'nobody@example.com' }, fields: {} }, says: /no record with this email/ },
}

const associations: ObjectSubject = {
  object: 'associations',
  options: { from: { object: 'contacts', by: 'email' }, to: { object: 'companies', by: 'company_id' } },
  async prepare(served) {
    await people(served)
    await create(
      served,
      'companies',
      MANY.map((i) => ({ company_id: `c${i}` })),
    )
  },
  row: (i) => ({ match: { from: `row${i}@example.com`, to: `c${i}` }, fields: {} }),
  held: (records, { match }) => {
    const from = `0-1/${String(idOf(records, 'contacts', 'email', match['from']))}`
    const to = `0-2/${String(idOf(records, 'companies', 'company_id', match['to']))}`
    return records['associations']?.some((link) => link['from'] === from && link['to'] === to) ? {} : null
  },
  count: (records) => records['associations']?.length ?? 0,
  refused: { row: { match: { from: 'row0@example.com', to: 'nothing' }, fields: {} }, says: /no record of companies with this company_id/ },
}

export const subject: Subject = { connector, fake, objects: [contacts, companies, deals, subscriptions, members, associations] }

const at =
  (start: string) =>
  ({ path }: FakeRequest): boolean =>
    path.startsWith(start)

export const contract: readonly Contract[] = [
  { spec: 'hubspot/associationsSchema.2026-03.json', takes: ({ path }) => path.endsWith('/labels') },
  { spec: 'hubspot/associations.2026-03.json', takes: at('/crm/associations/') },
  { spec: 'hubspot/lists.2026-03.json', takes: at('/crm/lists/') },
  { spec: 'hubspot/properties.2026-03.json', takes: at('/crm/properties/') },
  { spec: 'hubspot/crmOwners.2026-03.json', takes: at('/crm/owners/') },
  { spec: 'hubspot/accountInfo.2026-03.json', takes: at('/account-info/') },
  { spec: 'hubspot/objects.2026-03.json', takes: at('/crm/objects/') },
]
