/** What the measurements share: a PostgreSQL with generated rows, a receiver, and a project between them. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import { withPostgres } from '../test/support/postgres.ts'
import { connectionOf } from '../src/warehouse/postgres-wire.ts'

export const SEED = 42

export interface World {
  readonly root: string
  readonly database: string
  readonly origin: string
  /** Bodies that were posted to `/keep`. */
  readonly kept: string
  query(sql: string): Promise<void>
  /** Makes a table of so many generated rows. */
  generate(table: string, rows: number): Promise<void>
  /** Writes a sync of the table. `more` is YAML: further or other lines of `fields`. */
  sync(name: string, table: string, destination: 'sink' | 'slow' | 'keep', plan?: string): Promise<void>
  /** Seconds for the whole table as CSV over the wire, thrown away unread. */
  copyAway(table: string): Promise<number>
  /** What the receiver got since the last call. */
  received(): Promise<{ requests: number; rows: number }>
  close(): Promise<void>
}

export async function openWorld(): Promise<World> {
  const root = await mkdtemp(join(tmpdir(), 'cdp-sync-bench-'))
  const kept = join(root, 'kept')
  const postgres = await withPostgres({ settings: ['shared_buffers=256MB', 'max_wal_size=4GB', 'autovacuum=off', 'jit=off'] })
  const sink = fork(fileURLToPath(new URL('sink.ts', import.meta.url)), [kept], { execArgv: ['--import', 'tsx'] })
  const [{ port }] = (await once(sink, 'message')) as [{ port: number }]
  const origin = `http://127.0.0.1:${port}`
  await mkdir(join(root, 'syncs'))
  await writeFile(
    join(root, 'cdp-sync.yaml'),
    `warehouses: { main: { type: postgres, url: "${postgres.url}" } }
destinations:
  sink: { type: webhook, url: "${origin}/" }
  slow: { type: webhook, url: "${origin}/slow", batch_size: 100, concurrency: 8 }
  keep: { type: webhook, url: "${origin}/keep" }
`,
  )
  return {
    root,
    origin,
    kept,
    database: postgres.url,
    query: async (sql) => void (await postgres.query(sql)),
    generate: async (table, rows) => void (await postgres.query(tableSql(table, rows))),
    sync: (name, table, destination, plan = 'plan') => writeFile(join(root, 'syncs', `${name}.yaml`), syncYaml(table, destination, plan)),
    copyAway: (table) => copyAway(postgres.url, table),
    received: () => ask(sink),
    async close() {
      if (sink.connected) sink.disconnect()
      await postgres.stop()
      await rm(root, { recursive: true, force: true })
    },
  }
}

async function ask(sink: ChildProcess): Promise<{ requests: number; rows: number }> {
  sink.send('counts')
  const [counts] = (await once(sink, 'message')) as [{ requests: number; rows: number }]
  return counts
}

const syncYaml = (table: string, destination: string, plan: string): string => `model: { table: ${table}, key: id }
destination: ${destination}
mode: mirror
match: { email: email }
fields:
  first_name: first_name
  last_name: last_name
  plan: ${plan}
  score: score
  active: active
  city: city
  updated_at: updated_at
  note: note
`

/** Ten columns as a table of customers has them; every value follows from the row's number and the seed. */
function tableSql(table: string, rows: number): string {
  const pick = (list: string, salt: number): string =>
    `('{${list}}'::text[])[1 + (hashint8extended(i, ${SEED + salt}) & 1023) % ${list.split(',').length}]`
  return `
DROP TABLE IF EXISTS ${table};
CREATE TABLE ${table} AS SELECT
  i AS id,
  lower(first || '.' || last || i || '@' || domain) AS email,
  first AS first_name, last AS last_name,
  ${pick('free,free,free,pro,team,enterprise', 1)} AS plan,
  ((hashint8extended(i, ${SEED + 2}) & 1048575) / 100.0)::numeric(10,2) AS score,
  hashint8extended(i, ${SEED + 3}) % 5 <> 0 AS active,
  ${pick('Berlin,Lagos,São Paulo,Osaka,Toronto,Kraków,Nairobi,Lyon,Austin,Pune', 4)} AS city,
  timestamptz '2026-01-01' - make_interval(secs => (hashint8extended(i, ${SEED + 5}) & 67108863)) AS updated_at,
  CASE WHEN hashint8extended(i, ${SEED + 6}) % 4 = 0 THEN NULL ELSE 'Spoke on the phone, ' || substr(md5(i::text || ${SEED}), 1, 24) END AS note
FROM (
  SELECT i, ${pick('Ada,Noor,Kofi,Mei,Lars,Ines,Omar,Yuki,Zoe,Ravi,Sara,Tom', 7)} AS first,
    ${pick('Okafor,Silva,Novak,Tanaka,Berg,Haddad,Kim,Moreau,Singh,Costa', 8)} AS last,
    ${pick('example.com,example.org,example.net,mail.example', 9)} AS domain
  FROM generate_series(1::bigint, ${rows}) i
) people;
ANALYZE ${table};`
}

/** No value is looked at: no client can take the table faster. */
async function copyAway(database: string, table: string): Promise<number> {
  const client = new Client(database)
  await client.connect()
  // It ends in the middle of a query as far as the driver knows.
  client.on('error', () => {})
  const connection = connectionOf(client)
  const started = performance.now()
  connection.stream.removeAllListeners('data')
  await new Promise<void>((resolve) => {
    let end = ''
    connection.stream.on('data', (chunk: Buffer) => {
      end = (end + chunk.subarray(-40).toString('latin1')).slice(-40)
      // CommandComplete, then ReadyForQuery: 'Z', a length of 5, 'I'.
      if (end.includes('COPY ') && end.endsWith('Z\0\0\0\x05I')) resolve()
    })
    connection.query(`COPY (SELECT * FROM ${table}) TO STDOUT (FORMAT csv)`)
  })
  connection.stream.destroy()
  return (performance.now() - started) / 1000
}
