/** The files of the demo's project, as a user would write them. */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { SCHEMA_FILES, SCHEMA_FOLDER, writeSchemas } from '../cli/schema.ts'

/** The services of the sandbox that the demo delivers to, in the order of its syncs. */
export const SERVICES = ['hubspot', 'statsig', 'meta'] as const

const schema = (file: string, from: string): string => `# yaml-language-server: $schema=${from}${SCHEMA_FOLDER}/${file}\n`

const PROJECT = `${schema(SCHEMA_FILES.project, '')}warehouses:
  shop: { type: duckdb, path: warehouse.duckdb }
destinations: # services that cdp-sync sandbox plays; without base_url and with tokens of yours these are the real ones
  crm:
    type: hubspot
    access_token: \${env:HUBSPOT_TOKEN}
    base_url: \${env:SANDBOX_URL}/hubspot
  experiments:
    type: statsig
    console_api_key: \${env:STATSIG_KEY}
    base_url: \${env:SANDBOX_URL}/statsig
  ads:
    type: meta
    access_token: \${env:META_TOKEN}
    ad_account_id: \${env:META_ACCOUNT}
    base_url: \${env:SANDBOX_URL}/meta
`

const CONTACTS = `${schema(SCHEMA_FILES.sync, '../')}description: Every customer, as a contact of the CRM
model: { file: models/customers.sql, key: customer_id }
destination: crm
object: contacts
mode: mirror # what left the model is removed there, but never more than the guards let pass
on_remove: archive
match: { email: email }
fields:
  firstname: first_name
  lastname: last_name
  phone: phone
  country: { column: country, default: unknown }
  plan: { column: plan, map: { free: Free, pro: Pro, business: Business } } # any other plan: an invalid row, not sent
  seats: seats
  mrr: mrr # a decimal: all its digits arrive
  marketing_consent: consent
  signed_up_at: signed_up_at # with a time zone: sent in UTC
`

const PAYING = `${schema(SCHEMA_FILES.sync, '../')}description: Who pays, as a segment to experiment on
model: { file: models/customers.sql, key: customer_id, where: mrr > 0 }
destination: experiments
object: id-list
options: { segment: pro_customers }
mode: mirror
match: { id: customer_id }
`

const AUDIENCE = `${schema(SCHEMA_FILES.sync, '../')}description: Who agreed to advertising, as an audience; hashed before it leaves
model: { file: models/customers.sql, key: customer_id, where: consent }
destination: ads
object: audience
options: { audience: "6001" }
mode: mirror
match: { email: email, phone: phone } # a person with both is found by either
`

const MODEL = `-- One row a customer, for all three syncs.
select
  customer_id,
  email,
  first_name,
  last_name,
  phone,
  country,
  plan,
  seats,
  seats * case plan when 'business' then 49.00 when 'pro' then 19.90 else 0.00 end as mrr,
  consent,
  signed_up_at,
  last_seen_at -- no field uses it, so it is never a reason to send
from customers
`

/** `url`: where the sandbox listens; `destinations`: what it prints, for the tokens that its services take. */
export async function writeProject(
  folder: string,
  url: string,
  destinations: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
): Promise<void> {
  const setting = (service: (typeof SERVICES)[number], name: string): string => String(destinations[service]?.[name])
  const env = {
    SANDBOX_URL: url,
    HUBSPOT_TOKEN: setting('hubspot', 'access_token'),
    STATSIG_KEY: setting('statsig', 'console_api_key'),
    META_TOKEN: setting('meta', 'access_token'),
    META_ACCOUNT: setting('meta', 'ad_account_id'),
  }
  const files = {
    'cdp-sync.yaml': PROJECT,
    'syncs/crm-contacts.yaml': CONTACTS,
    'syncs/paying-users.yaml': PAYING,
    'syncs/ad-audience.yaml': AUDIENCE,
    'models/customers.sql': MODEL,
    '.env': Object.entries(env)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
    '.gitignore': '.cdp-sync/\n.env\nwarehouse.duckdb\n',
  }
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  await writeSchemas(join(folder, SCHEMA_FOLDER))
}
