/** What may stand in cdp-sync.yaml: the one source of validation, JSON Schema and reference. */
import { z } from 'zod'
import { secret } from '../secret.ts'
import { defaultsSchema } from './schema-sync.ts'

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const NO_DURATION = 'is no duration: write 30s, 5m, 1d or a number of seconds'
const DURATION = /^(\d+(?:\.\d+)?) *(ms|s|m|h|d)?$/

/** A duration, written `500ms`, `30s`, `5m`, `2h`, `1d` or as a number of seconds. Gives milliseconds. */
export const duration = (): z.ZodType<number, string | number> =>
  z.union([z.number().nonnegative(), z.string().regex(DURATION, { error: NO_DURATION })], { error: NO_DURATION }).transform((value) => {
    const [, amount = '0', unit = 's'] = DURATION.exec(String(value)) ?? []
    return Math.round(Number(amount) * (UNITS[unit] ?? 1000))
  })

const timezone = z
  .string()
  .refine(isTimezone, { error: 'is no time zone: write an IANA name such as Europe/Berlin' })
  .optional()
  .describe('IANA time zone of timestamps that carry none. Default: UTC.')

function isTimezone(name: string): boolean {
  try {
    return Boolean(new Intl.DateTimeFormat('en', { timeZone: name }))
  } catch {
    return false
  }
}

const ssl = z.union(
  [
    z.boolean(),
    z.strictObject({
      ca: z.string().optional().describe('Certificate of the authority, as PEM text: `${file:certs/ca.pem}`.'),
      cert: z.string().optional().describe('Client certificate, as PEM text.'),
      key: secret().optional().describe('Key of the client certificate, as PEM text.'),
      verify: z.boolean().optional().describe('Check the server’s certificate. Default: true.'),
    }),
  ],
  { error: 'must be true, false or a mapping with ca, cert, key, verify' },
)

export const postgresSchema = z
  .strictObject({
    type: z.literal('postgres').describe('PostgreSQL 12 or later.'),
    url: z
      .string()
      .regex(/^postgres(ql)?:\/\//, { error: 'must start with postgres:// or postgresql://' })
      .optional()
      .describe('Connection URL. Instead of host, port, database, user and password.'),
    host: z.string().min(1).optional().describe('Name or address of the server.'),
    port: z.number().int().min(1).max(65_535).optional().describe('Default: 5432.'),
    database: z.string().min(1).optional().describe('Name of the database.'),
    user: z.string().min(1).optional().describe('Role to log in as. It needs SELECT alone.'),
    password: secret().optional().describe('Its password.'),
    ssl: ssl.optional().describe('true, false, or certificates.'),
    statement_timeout: duration().optional().describe('How long the server may work on one statement. Default: no limit.'),
    connect_timeout: duration().optional().describe('How long to wait for a connection. Default: 10s.'),
    timezone,
  })
  .superRefine((entry, context) => {
    const parts = (['host', 'port', 'database', 'user', 'password'] as const).filter((name) => entry[name] !== undefined)
    if (entry.url !== undefined)
      for (const name of parts) context.addIssue({ code: 'custom', path: [name], message: `stands in url already: write url, or ${name}` })
    else if (entry.host === undefined || entry.database === undefined)
      context.addIssue({ code: 'custom', path: [], message: 'needs url, or host and database', params: { side: 'key' } })
  })

export const duckdbSchema = z.strictObject({
  type: z.literal('duckdb').describe('A DuckDB file, or CSV, Parquet and JSON files read by the models.'),
  path: z.string().min(1).optional().describe('The database file, opened read-only. Without it models read files.'),
  timezone,
})

const LOGINS = ['private_key', 'oauth_token', 'access_token', 'password'] as const

export const snowflakeSchema = z
  .strictObject({
    type: z.literal('snowflake').describe('Snowflake. Needs its driver beside cdp-sync: `npm install snowflake-sdk`.'),
    account: z
      .string()
      .regex(/^(?!.*\.snowflakecomputing\.)[A-Za-z0-9][A-Za-z0-9_.-]*$/i, {
        error: 'is no account: write myorg-myaccount, without https:// and .snowflakecomputing.com',
      })
      .describe('Account identifier, `myorg-myaccount`, or a locator with its region, `xy12345.eu-central-1`.'),
    user: z.string().min(1).optional().describe('User to log in as. An OAuth or access token may stand without.'),
    private_key: secret().optional().describe('Log in with a key pair: the RSA key as PEM text, `${file:keys/snowflake.p8}`.'),
    private_key_passphrase: secret().optional().describe('Opens the private key where it is encrypted.'),
    oauth_token: secret().optional().describe('Log in with an OAuth access token. Tokens end soon: have each run started with a new one.'),
    access_token: secret().optional().describe('Log in with a programmatic access token.'),
    password: secret()
      .optional()
      .describe('Log in with a password. Snowflake asks people, and may ask services, for a second factor: then take a key.'),
    role: z.string().min(1).optional().describe('Default: the user’s own.'),
    warehouse: z.string().min(1).optional().describe('Virtual warehouse that does the work. Default: the user’s own.'),
    database: z.string().min(1).optional().describe('Database that names in models start from. Default: the user’s own.'),
    schema: z.string().min(1).optional().describe('Schema that names in models start from. Default: PUBLIC.'),
    host: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9.-]*$/, { error: 'is no host name: no https://, no path' })
      .optional()
      .describe('Name of the server, for private links. Default: made of the account.'),
    port: z.number().int().min(1).max(65_535).optional().describe('Default: 443.'),
    protocol: z.enum(['https', 'http']).optional().describe('`http` is for tests on this machine. Default: https.'),
    proxy: z
      .string()
      .regex(/^https?:\/\//, { error: 'must start with http:// or https://' })
      .optional()
      .describe('URL of a proxy. Default: that of HTTPS_PROXY.'),
    statement_timeout: duration().optional().describe('How long Snowflake may work on one statement. Default: its own limit.'),
    connect_timeout: duration().optional().describe('How long to wait for the login. Default: 30s.'),
    timezone,
  })
  .superRefine((entry, context) => {
    const issue = (path: string[], message: string): void =>
      context.addIssue({ code: 'custom', path, message, ...(path.length ? {} : { params: { side: 'key' } }) })
    const [first, ...more] = LOGINS.filter((name) => entry[name] !== undefined)
    if (first === undefined) issue([], `needs one way to log in: ${LOGINS.slice(0, -1).join(', ')} or ${LOGINS.at(-1)}`)
    for (const name of more) issue([name], `is a second way to log in, beside ${first}: leave one`)
    if (entry.user === undefined && (first === 'private_key' || first === 'password'))
      issue([], `needs user: ${first} is the one of a user`)
    if (entry.private_key_passphrase !== undefined && entry.private_key === undefined)
      issue(['private_key_passphrase'], 'opens a private_key, and there is none')
    if (entry.protocol === 'http' && !['127.0.0.1', 'localhost'].includes(entry.host ?? ''))
      issue(['protocol'], 'would send what logs in unencrypted: http is for a host of 127.0.0.1 or localhost')
  })

export const warehouseSchema = z
  .discriminatedUnion('type', [postgresSchema, duckdbSchema, snowflakeSchema])
  .describe('Where models are queried. Reading needs no right but SELECT.')

/** Checked further by the connector's own schema. */
export const destinationSchema = z
  .looseObject({ type: z.string().min(1).describe('Name of the connector, built in or from connectors/.') })
  .describe('A configured account of a connector.')

export const stateSchema = z
  .strictObject({
    type: z
      .enum(['local', 'warehouse', 's3'])
      .describe('`local`: files beside the project. `s3`: objects in a bucket. `warehouse`: tables in a database.'),
    path: z.string().min(1).optional().describe('local: the folder; else the folder of the working copies. Default: `.cdp-sync`.'),
    schema: z
      .string()
      .regex(/^[a-z_][a-z0-9_]{0,62}$/, { error: 'must begin with a-z or _ and be made of a-z, 0-9 and _, at most 63' })
      .optional()
      .describe('warehouse: the schema that holds the tables. Default: `cdp_sync`.'),
    warehouse: z
      .string()
      .min(1)
      .optional()
      .describe('warehouse: the entry of `warehouses` that keeps the state. Default: each sync’s own.'),
    bucket: z.string().min(1).optional().describe('s3: the bucket. Its credentials are found as the AWS SDK does.'),
    prefix: z.string().optional().describe('s3: what the names of the objects start with, a folder. Default: none.'),
    region: z.string().min(1).optional().describe('s3: the region. Default: the one of the environment, or `auto` with an endpoint.'),
    endpoint: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe('s3: the URL of a service that is not AWS. Default: AWS.'),
  })
  .describe('Where cdp-sync remembers what was delivered.')

const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/
const named = <T extends z.ZodType>(value: T): z.ZodRecord<z.ZodString, T> =>
  z.record(z.string().regex(NAME, { error: 'a name is made of letters, digits, _ and -, at most 63' }), value)

const warehouses = named(warehouseSchema).optional().describe('Warehouses by name.')
const destinations = named(destinationSchema).optional().describe('Destinations by name.')
const vars = named(z.union([z.string(), z.number(), z.boolean()], { error: 'must be text or a number' }))
  .optional()
  .describe('Values for `${var:name}` in YAML and SQL. `--var name=value` overrides them.')

export const environmentSchema = z
  .strictObject({
    warehouses: warehouses.describe('Replace entries of the same name, whole.'),
    destinations: destinations.describe('Replace entries of the same name, whole.'),
    state: stateSchema.optional().describe('Replaces state, whole.'),
    vars: vars.describe('Merged with vars, name by name.'),
    defaults: defaultsSchema.optional().describe('Merged with defaults, key by key.'),
  })
  .describe('What differs in this environment.')

export const projectSchema = z.strictObject({
  project: z
    .string()
    .regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, { error: 'must be made of a-z, 0-9, _ and -, at most 63' })
    .optional()
    .describe('Names this project in shared state.'),
  warehouses,
  destinations,
  state: stateSchema.optional(),
  vars,
  defaults: defaultsSchema.optional().describe('For every sync that does not say otherwise. `guards` and `tolerance` are merged by name.'),
  environments: named(environmentSchema)
    .optional()
    .describe('Named variations, chosen with --env or CDP_SYNC_ENV. Once there are any, one must be chosen.'),
})

export type ProjectFile = z.output<typeof projectSchema>
