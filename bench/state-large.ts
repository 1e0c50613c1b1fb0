/** A large state in a short time: snapshot rows that PostgreSQL makes of the model, as a run would have written them. */
import { Client } from 'pg'
import { postgres } from '../src/state/warehouse/postgres.ts'
import type { StateNote } from '../src/state/warehouse/carry.ts'
import { SNAPSHOT } from '../src/state/warehouse/tables.ts'
import type { Column } from '../src/types.ts'
import { openWarehouse } from '../src/warehouse/open.ts'
import { pinned } from '../src/warehouse/postgres.ts'

export async function sqlOf(url: string, database: string): Promise<Client> {
  const client = new Client(url.replace(/[^/]+$/, database))
  await client.connect()
  return client
}

export async function columnsOf(url: string, table: string): Promise<readonly Column[]> {
  const entry = { name: 'main', type: 'postgres' as const, settings: { url }, where: 'cdp-sync.yaml:2:3' }
  const warehouse = await openWarehouse(entry, { root: '/', memory: 2 ** 28, threads: 1 })
  try {
    return await warehouse.describe({ sync: 'bench', run: 'none', sql: `SELECT * FROM ${table}`, where: '', condition: null })
  } finally {
    await warehouse.close()
  }
}

/**
 * Adds all rows of `table` after the first `known`, which a run has delivered: their fields have the names of their columns,
 * `id` is the key and the address. The next plan proves it: nothing may have changed.
 */
export async function fillState(sql: Client, project: string, table: string, columns: readonly Column[], known: number): Promise<void> {
  const own = `project = ${postgres.lit(project)}`
  const [found] = (await sql.query<{ note: string }>(`SELECT note FROM cdp_sync.states WHERE ${own}`)).rows
  if (!found) throw new Error('no state')
  const note = JSON.parse(found.note) as StateNote
  const column = (name: string): Column => {
    const it = columns.find((candidate) => candidate.name === name)
    if (!it) throw new Error(`no column ${name}`)
    return it
  }
  const hashed = JSON.parse(note.meta.find(({ name }) => name === 'hash_columns')?.value ?? '[]') as string[]
  const cells = [...note.fields].sort((a, b) => a.position - b.position).map(({ name }) => cellSql(column(name)))
  const key = postgres.key(column('id'), undefined) ?? 'NULL'
  const hash = postgres.hash(
    columns.filter(({ name }) => hashed.includes(name)).sort((a, b) => hashed.indexOf(a.name) - hashed.indexOf(b.name)),
    undefined,
  )
  const made: Readonly<Record<string, string>> = { address: key, key, hash, payload: postgres.list(cells) }
  const values = SNAPSHOT.map((name) => made[name] ?? `one.${name}`)
  await sql.query(`BEGIN; ${pinned({})};
INSERT INTO cdp_sync.snapshot (project, environment, sync, ${SNAPSHOT.join(', ')})
SELECT one.project, one.environment, one.sync, ${values.join(', ')}
FROM ${table} m CROSS JOIN (SELECT project, environment, sync, ${SNAPSHOT.filter((name) => !(name in made)).join(', ')} FROM cdp_sync.snapshot WHERE ${own} LIMIT 1) one
WHERE m.id > ${known};
COMMIT`)
  const { rows } = await sql.query<{ n: number }>(`SELECT count(*)::int AS n FROM cdp_sync.snapshot WHERE ${own}`)
  const total = rows[0]?.n ?? 0
  await sql.query(`UPDATE cdp_sync.states SET note = ${postgres.lit(JSON.stringify({ ...note, rows: total, owned: total }))} WHERE ${own}`)
  await sql.query('VACUUM (ANALYZE) cdp_sync.snapshot')
}

function cellSql(column: Column): string {
  const text = postgres.key(column, undefined) ?? 'NULL'
  const kind = ['integer', 'decimal', 'boolean'].includes(column.type) ? 'j' : 's'
  return `coalesce('${kind}' || ${text}, 'jnull')`
}

/** Seconds for what people write: both sides whole, joined in full, where their hashes differ. */
export async function handJoin(sql: Client, project: string, table: string): Promise<number> {
  const began = performance.now()
  await sql.query(`
SELECT count(*) FROM (SELECT id::text COLLATE "C" AS key, hashtextextended(m::text, 0) AS hash FROM ${table} m) m
FULL OUTER JOIN (SELECT address, hash FROM cdp_sync.snapshot WHERE project = '${project}' AND environment = '' AND sync = 'contacts') s ON s.address = m.key
WHERE s.hash IS DISTINCT FROM m.hash`)
  return (performance.now() - began) / 1000
}
