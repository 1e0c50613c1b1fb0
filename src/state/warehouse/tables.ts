/** The tables that keep states in a database: one set for all projects, environments and syncs of a schema. */
import type { Dialect } from './dialect.ts'
import { isMissing } from './errors.ts'
import type { Sql } from './sql.ts'

/** Raised when a table changes; stands in the note of every state. */
export const WAREHOUSE_FORMAT = 1

/** Columns of a snapshot row but for project, environment and sync; lists and what may have been sent are JSON texts. */
export const SNAPSHOT = [
  'address',
  'key',
  'hash',
  'payload',
  'remote_id',
  'mode',
  'owned',
  'confirmed_at',
  'run',
  'accepted',
  'gone',
  'uncertain',
  'pending',
] as const

const SCOPE = ['project', 'environment', 'sync'] as const

type Kind = 'text' | 'integer' | 'boolean'
const KINDS: Readonly<Record<string, Kind>> = {
  hash: 'integer',
  owned: 'boolean',
  accepted: 'boolean',
  gone: 'boolean',
  uncertain: 'boolean',
  removed: 'boolean',
  fence: 'integer',
  version: 'integer',
  written: 'integer',
  number: 'integer',
}
/** The type of one of our columns. */
export const typeOf = (dialect: Dialect, column: string): string => dialect.types[KINDS[column] ?? 'text']

/**
 * - leases      who has a sync: the fence rises with every holder, the version with every write
 * - states      one row per state: meta entries, fields, counts and whether a run is unfinished, as JSON
 * - snapshot    what was last delivered at each address
 * - changes     newer rows of the snapshot where changing one would rewrite the table; the highest number of an address counts
 * - verdicts    what destinations said of rows they did not take, as JSON
 * - outbox      the changes of an unfinished run, as JSON
 * - journal     its intents and outcomes, as JSON, several a row
 * - runs        run records, as JSON
 * - attempts    what destinations said of rows that a run could not deliver, as JSON
 * - rejections  rows that did not arrive at the end of the last run, as JSON
 */
const TABLES: Readonly<Record<string, readonly string[]>> = {
  leases: ['fence', 'version', 'written', 'note'],
  states: ['version', 'target', 'note'],
  snapshot: SNAPSHOT,
  changes: ['number', 'removed', ...SNAPSHOT],
  verdicts: ['address', 'op', 'verdict'],
  outbox: ['number', 'change'],
  journal: ['number', 'part'],
  runs: ['run', 'record'],
  attempts: ['run', 'number', 'attempt'],
  rejections: ['number', 'rejection'],
}
export type TableName =
  | 'leases'
  | 'states'
  | 'snapshot'
  | 'changes'
  | 'verdicts'
  | 'outbox'
  | 'journal'
  | 'runs'
  | 'attempts'
  | 'rejections'
export const TABLE_NAMES = Object.keys(TABLES) as TableName[]

/** One row per sync: the database refuses a second one where it can. */
const SINGLE: readonly TableName[] = ['leases', 'states']

/** Statements that make the tables of a schema that exists, each of them harmless where its table is there. */
export function createSql(dialect: Dialect, schema: string): string[] {
  return TABLE_NAMES.flatMap((name) => {
    const table = dialect.table(schema, name)
    const columns = [...SCOPE, ...(TABLES[name] ?? [])].map((column) => `${column} ${typeOf(dialect, column)}`)
    const key = SINGLE.includes(name) ? `, PRIMARY KEY (${SCOPE_COLUMNS})` : ''
    const create = `CREATE TABLE IF NOT EXISTS ${table} (${columns.join(', ')}${key})`
    const digests = name === 'snapshot' ? dialect.digests('address') : []
    if (digests.length === 0) return [create]
    // One row per address, and a few are found among millions. Before the other tables: those that are all there are complete.
    return [create, `CREATE UNIQUE INDEX IF NOT EXISTS snapshot_addresses ON ${table} (${[SCOPE_COLUMNS, ...digests].join(', ')})`]
  })
}

/** Whether all of them are there. */
export async function hasTables(sql: Sql, schema: string): Promise<boolean> {
  try {
    await sql.run(TABLE_NAMES.map((name) => `SELECT 1 AS n FROM ${sql.dialect.table(schema, name)} WHERE 1 = 0`).join(' UNION ALL '))
    return true
  } catch (error) {
    if (isMissing(error)) return false
    throw error
  }
}

/** SQL: two addresses are the same, in words that the index of the snapshot understands. */
export const sameAddress = (dialect: Dialect, a: string, b: string): string =>
  [...dialect.digests(a).map((it, i) => `${it} = ${dialect.digests(b)[i]}`), `${a} = ${b}`].join(' AND ')

/** One state: its tables, and the rows of them that are its own. */
export interface Scope {
  readonly project: string
  /** '' where the project has no environments. */
  readonly environment: string
  readonly sync: string
  readonly schema: string
}

/** SQL: the condition under which a row of a table is of this state. */
export function within(dialect: Dialect, scope: Scope, prefix = ''): string {
  return SCOPE.map((column) => `${prefix}${column} = ${dialect.lit(scope[column])}`).join(' AND ')
}

/** SQL: the three columns as values. */
export const scopeValues = (dialect: Dialect, scope: Scope): string => SCOPE.map((column) => dialect.lit(scope[column])).join(', ')
export const SCOPE_COLUMNS = SCOPE.join(', ')

/** SQL: a relation of these columns of the snapshot as it is now, in brackets. */
export function snapshotSql(dialect: Dialect, scope: Scope, columns: readonly string[]): string {
  const list = columns.join(', ')
  const base = dialect.table(scope.schema, 'snapshot')
  if (!dialect.appends) return `(SELECT ${list} FROM ${base} WHERE ${within(dialect, scope)})`
  const changes = dialect.table(scope.schema, 'changes')
  return `(
SELECT ${columns.map((column) => `b.${column}`).join(', ')} FROM ${base} b
LEFT JOIN (SELECT DISTINCT address FROM ${changes} WHERE ${within(dialect, scope)}) c ON c.address = b.address
WHERE ${within(dialect, scope, 'b.')} AND c.address IS NULL
UNION ALL SELECT ${list} FROM (
  SELECT ${list}, removed, row_number() OVER (PARTITION BY address ORDER BY number DESC) AS turn FROM ${changes} WHERE ${within(dialect, scope)}
) latest WHERE turn = 1 AND NOT removed)`
}
