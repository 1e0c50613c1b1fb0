/** The files of the demo's project, as a user would write them. */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { SCHEMA_FILES, SCHEMA_FOLDER, writeSchemas } from '../cli/schema.ts'

const schema = (file: string, from: string): string => `# yaml-language-server: $schema=${from}${SCHEMA_FOLDER}/${file}\n`

const PROJECT = `${schema(SCHEMA_FILES.project, '')}warehouses:
  shop: { type: duckdb, path: warehouse.duckdb }
destinations:
  crm:
    type: webhook
    url: \${env:CRM_URL}
    deduplicates: true # the demo's CRM drops an event whose id it has seen
`

const CUSTOMERS = `${schema(SCHEMA_FILES.sync, '../')}# Every customer of the shop, in the CRM: added, changed and removed as in the warehouse.
description: Customers of the shop
owner: lifecycle@example.com
model:
  file: models/customers.sql
  key: customer_id
destination: crm
mode: mirror # what left the model is removed there, but never more than the guards let pass
match: { email: email }
fields:
  name: { template: "{{ first_name }} {{ last_name }}", transform: [strip] }
  phone: phone
  country: { column: country, default: unknown }
  plan: { column: plan, map: { free: Free, pro: Pro, business: Business } } # any other plan: an invalid row, not sent
  lifetime_value: lifetime_value # a decimal: all its digits arrive
  orders: orders
  last_order_at: last_order_at # with a time zone: sent in UTC
  signed_up_at: signed_up_at
  preferences: preferences # JSON: arrives nested
  newsletter: { template: "{{ preferences.newsletter | default: nil }}" }
  source: { value: warehouse }
  synced_at: { meta: sent_at } # never a reason to send
`

const ORDERS = `${schema(SCHEMA_FILES.sync, '../')}# Each new order as an event, once. Orders from before the first run are not sent.
description: Orders as they come in
model: { table: orders, key: order_id }
destination: crm
mode: append
backfill: false
depends_on: [customers] # an order never arrives before its customer
fields:
  customer: customer_id
  total: total
  currency: currency
  placed_at: placed_at
  items: items
`

const MODEL = `-- The customers that the CRM should hold, one row each.
select
  c.customer_id,
  c.email,
  c.first_name,
  c.last_name,
  c.phone,
  c.country,
  c.plan,
  c.preferences,
  c.signed_up_at,
  c.last_seen_at, -- no field uses it, so it is never a reason to send
  coalesce(o.lifetime_value, 0)::decimal(14, 2) as lifetime_value,
  coalesce(o.orders, 0) as orders,
  o.last_order_at
from customers c
left join (
  select customer_id, sum(total) as lifetime_value, count(*) as orders, max(placed_at) as last_order_at
  from orders
  group by customer_id
) o using (customer_id)
`

/** Where the demo's CRM listens; the account that the state is bound to. */
export const crmUrl = (port: number): string => `http://127.0.0.1:${port}/`

/** Writes the project into a folder, over what an earlier demo wrote there. */
export async function writeProject(folder: string, port: number): Promise<void> {
  const files = {
    'cdp-sync.yaml': PROJECT,
    'syncs/customers.yaml': CUSTOMERS,
    'syncs/order-events.yaml': ORDERS,
    'models/customers.sql': MODEL,
    '.env': `CRM_URL=${crmUrl(port)}\n`,
    '.gitignore': '.cdp-sync/\n.env\nwarehouse.duckdb\ncrm/\n',
  }
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  await writeSchemas(join(folder, SCHEMA_FOLDER))
}
