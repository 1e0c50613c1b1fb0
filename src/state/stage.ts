/**
 * Staging: the model's rows beside the snapshot. Builds in memory, from an extract:
 *
 * - `rows`      key, address(es), hash and columns c0… of every row (a view over the extract's file where it can be one)
 * - `wanted`    one row per valid address: address, key, hash (old_hash after a mapping edit)
 * - `doubtful`  rows that can't be sent, with the reason; their keys and addresses are wanted all the same
 */
import type { Extract } from '../warehouse/warehouse.ts'
import { extractSql } from '../warehouse/extract.ts'
import { InvalidRow } from '../mapping.ts'
import type { CompiledField, Mapping } from '../mapping.ts'
import { normalise, normaliseSql } from '../normalise.ts'
import { canonicalSql } from '../values.ts'
import type { Normaliser } from '../connector.ts'
import type { Column } from '../types.ts'
import { CHUNK_ROWS, lit, text } from './db.ts'
import type { Db } from './db.ts'

/** What of a sync decides how rows are addressed. */
export interface Addressing {
  /** The row's key is its address. */
  readonly byKey: boolean
  /** Each match field is an address by itself. */
  readonly any: boolean
  /** Several rows with one address are one member. */
  readonly membership: boolean
  /** A delivered row whose match turned null keeps its record. */
  readonly keepOnNullMatch: boolean
  readonly key: readonly string[]
  readonly match: readonly { readonly field: CompiledField; readonly normaliser: Normaliser }[]
}

export interface Staged {
  /** Rows of the model. */
  readonly rows: number
  readonly nullKeys: number
  /** Rows that are equal in every mapped column were taken as one. */
  readonly collapsed: boolean
  /** Wanted, valid addresses. */
  readonly wanted: number
  /** The stored hash columns are not those of today's mapping: `wanted.old_hash` is the hash over the stored ones. */
  readonly rehash: boolean
  /** Some stored hash column is gone from the model: no hash can be compared. */
  readonly incomparable: boolean
}

/**
 * SQL of the hash over columns of the model, today's or those of the stored hashes. `raw` is the SQL of one column's text. A
 * filter: rows whose hashes are equal are taken for equal.
 */
export type HashSql = (columns: readonly string[], raw: (name: string) => string, which: 'today' | 'stored') => string

const duckdbHash: HashSql = (columns, raw) => `hash(${columns.map(raw).join(', ')})`

/** Columns that an extract must bring: today's mapping and, to compare hashes after an edit, yesterday's. */
export function wantedColumns(mapping: Mapping, columns: readonly Column[], storedHash: readonly string[] | null): Column[] {
  const names = new Set([...mapping.columns, ...(storedHash ?? [])])
  return columns.filter((column) => names.has(column.name))
}

/** Names of the columns that the hash is over: order-free. */
export const hashColumns = (mapping: Mapping): string[] => [...mapping.columns].sort()

export async function stage(
  db: Db,
  extract: Extract,
  mapping: Mapping,
  addressing: Addressing,
  storedHash: readonly string[] | null,
  hash: HashSql = duckdbHash,
  /** Whether what keeps the state can hold a key or an address with the character NUL. */
  holdsNul = true,
): Promise<Staged> {
  const position = new Map(extract.columns.map((column, index) => [column.name, index]))
  const raw = (name: string): string => {
    const index = position.get(name)
    if (index === undefined) throw new Error(`column ${name} was not extracted`)
    return `c${index}`
  }
  const today = hashColumns(mapping)
  const incomparable = storedHash !== null && storedHash.some((name) => !position.has(name))
  const rehash = storedHash !== null && !incomparable && storedHash.join('\0') !== today.join('\0')

  let source = extractSql(extract)
  if (!addressing.byKey && !addressing.match.every(({ field }) => addressSql(field, raw) !== null)) {
    source = await computeMatches(db, source, addressing, raw)
  }
  const types = new Map(extract.columns.map((column) => [column.name, column.type]))
  const key = keySql(addressing.key.map((name) => canonicalSql(types.get(name) ?? 'string', raw(name))))
  const address = addressing.byKey ? key : matchSql(addressing, raw)
  const old = rehash ? `, ${hash(storedHash, raw, 'stored')} AS old_hash` : ''
  await db.run(`
CREATE OR REPLACE VIEW rows AS
SELECT ${key} AS key, ${address} AS address, ${hash(today, raw, 'today')} AS hash${old}, ${extract.columns.map((_, i) => `c${i}`).join(', ')}
FROM ${source}`)
  return { ...(await sortOut(db, addressing, rehash, extract.rows, holdsNul)), rehash, incomparable }
}

/** Moves what can't be sent from `stage` to `doubtful` and builds `wanted`. */
async function sortOut(
  db: Db,
  addressing: Addressing,
  rehash: boolean,
  rows: number,
  holdsNul: boolean,
): Promise<Pick<Staged, 'rows' | 'nullKeys' | 'wanted' | 'collapsed'>> {
  const old = rehash ? ', old_hash' : ''
  const addressType = addressing.any ? 'VARCHAR[]' : 'VARCHAR'
  await db.run(`CREATE OR REPLACE TABLE stage AS SELECT ${addressing.byKey ? '' : 'key, '}address, hash${old} FROM rows`)
  await db.run(`CREATE OR REPLACE TABLE doubtful (key VARCHAR, address ${addressType}, reason VARCHAR, field VARCHAR)`)
  const staged = await db.one<{ n: number; nulls: number }>(
    `SELECT count(*) AS n, count(*) FILTER (${addressing.byKey ? 'address' : 'key'} IS NULL) AS nulls FROM stage`,
  )
  if (staged.n !== rows) throw new Error(`the extract has ${rows} rows, ${staged.n} were staged`)
  const key = addressing.byKey ? 'address' : 'key'
  if (staged.nulls > 0) {
    await db.run(
      `INSERT INTO doubtful SELECT NULL, address, 'null_key', NULL FROM stage WHERE ${key} IS NULL; DELETE FROM stage WHERE ${key} IS NULL`,
    )
  }
  const collapsed = await duplicateKeys(db, key, old)
  if (!holdsNul) await withoutNul(db, addressing)
  if (!addressing.byKey) {
    const nothing = addressing.any ? 'len(address) = 0' : 'address IS NULL'
    await db.run(
      `INSERT INTO doubtful SELECT key, NULL, 'null_match', NULL FROM stage WHERE ${nothing}; DELETE FROM stage WHERE ${nothing}`,
    )
  }
  await db.run(`DROP VIEW IF EXISTS wanted; DROP TABLE IF EXISTS members`)
  if (addressing.membership || addressing.any) {
    // The lowest key stands for a member of several rows.
    const pick = rehash ? ', arg_min(old_hash, key) AS old_hash' : ''
    const source = addressing.any ? `(SELECT unnest(address) AS address, key, hash${old} FROM stage)` : 'stage'
    await db.run(
      `CREATE TABLE members AS SELECT address, min(key) AS key, arg_min(hash, key) AS hash${pick} FROM ${source} GROUP BY address`,
    )
    await db.run(`CREATE VIEW wanted AS SELECT * FROM members`)
  } else {
    await db.run(`CREATE VIEW wanted AS SELECT address, ${key} AS key, hash${old} FROM stage`)
  }
  const { wanted } = await db.one<{ wanted: number }>(`SELECT count(*) AS wanted FROM wanted`)
  return { rows, nullKeys: staged.nulls, wanted, collapsed }
}

/** Rows whose state could not be stored are invalid. */
async function withoutNul(db: Db, { byKey, any }: Addressing): Promise<void> {
  const texts = [any ? `array_to_string(address, '')` : 'address', ...(byKey ? [] : ['key'])]
  const found = texts.map((it) => `coalesce(contains(${it}, chr(0)), FALSE)`).join(' OR ')
  await db.run(
    `INSERT INTO doubtful SELECT ${byKey ? 'address' : 'key'}, NULL, 'nul', NULL FROM stage WHERE ${found}; DELETE FROM stage WHERE ${found}`,
  )
}

/** Rows that are equal in all mapped columns are one row; others that share a key are invalid, all of them. */
async function duplicateKeys(db: Db, key: string, old: string): Promise<boolean> {
  await db.run(
    `CREATE OR REPLACE TABLE doubled AS SELECT ${key} AS key, min(hash) = max(hash) AS same FROM stage GROUP BY ${key} HAVING count(*) > 1`,
  )
  const { found, same } = await db.one<{ found: number; same: number }>(
    `SELECT count(*) AS found, count(*) FILTER (same) AS same FROM doubled`,
  )
  if (found === 0) return false
  const byKey = key === 'address'
  await db.run(`
INSERT INTO doubtful SELECT stage.${key}, ${byKey ? 'NULL' : 'stage.address'}, 'duplicate_key', NULL FROM stage JOIN doubled ON doubled.key = stage.${key} WHERE NOT same;
CREATE OR REPLACE TABLE once AS SELECT ${byKey ? '' : 'stage.key, '}any_value(stage.address) AS address, any_value(hash) AS hash${old ? ', any_value(old_hash) AS old_hash' : ''}
  FROM stage JOIN doubled ON doubled.key = stage.${key} WHERE same GROUP BY stage.${key};
DELETE FROM stage WHERE ${key} IN (SELECT key FROM doubled);
INSERT INTO stage SELECT * FROM once;
DROP TABLE once`)
  return same > 0
}

/** One column: its canonical text. Several: the compact JSON array of their texts. NULL when any is NULL. */
function keySql(parts: readonly string[]): string {
  const [first] = parts
  if (parts.length === 1 && first) return first
  return `CASE WHEN ${parts.map((part) => `(${part}) IS NOT NULL`).join(' AND ')} THEN to_json([${parts.join(', ')}])::VARCHAR END`
}

/** The address by match: the normalised texts of the match fields. */
function matchSql(addressing: Addressing, raw: (name: string) => string): string {
  const parts = addressing.match.map(({ field, normaliser }, i) => {
    const text = addressSql(field, raw) ?? `m${i}`
    return { name: field.name, text: normaliseSql(normaliser, text) }
  })
  if (!addressing.any) return keySql(parts.map((part) => part.text))
  return `list_filter([${parts.map((part) => `${lit(`${part.name}:`)} || ${part.text}`).join(', ')}], lambda x: x IS NOT NULL)`
}

/** The text of a match field in SQL; null when it needs JavaScript. */
function addressSql(field: CompiledField, raw: (name: string) => string): string | null {
  const sql = field.sql?.(raw)
  if (!sql || sql.fits !== null) return null
  return `CASE WHEN (${sql.expr}) <> 'jnull' THEN substr(${sql.expr}, 2) END`
}

/** Evaluates match fields that SQL can't, for every row; gives a table with the columns and m0, m1, … */
async function computeMatches(db: Db, source: string, addressing: Addressing, raw: (name: string) => string): Promise<string> {
  await db.run(`CREATE OR REPLACE TABLE raw_rows AS SELECT row_number() OVER () AS n, * FROM ${source}`)
  const fields = addressing.match.map(({ field }) => field)
  await db.run(`CREATE OR REPLACE TABLE matches (n VARCHAR, ${fields.map((_, i) => `m${i} VARCHAR`).join(', ')})`)
  const inputs = [...new Set(fields.flatMap((field) => field.inputs))]
  const at = fields.map((field) => field.inputs.map((name) => inputs.indexOf(name) + 1))
  const appender = await db.append('matches', fields.length + 1)
  try {
    await db.columns(`SELECT ${['n::VARCHAR', ...inputs.map(raw)].join(', ')} FROM raw_rows`, (columns, count) => {
      const out: (string | null)[][] = Array.from({ length: fields.length + 1 }, () => [])
      for (let row = 0; row < count; row++) {
        out[0]?.push(columns[0]?.[row] as string)
        fields.forEach((field, i) =>
          out[i + 1]?.push(
            matchText(
              field,
              (at[i] ?? []).map((p) => text(columns[p]?.[row])),
            ),
          ),
        )
      }
      for (let from = 0; from < count; from += CHUNK_ROWS) appender.chunk(out.map((column) => column.slice(from, from + CHUNK_ROWS)))
    })
  } finally {
    appender.close()
  }
  return `(SELECT raw_rows.*, ${fields.map((_, i) => `m${i}`).join(', ')} FROM raw_rows JOIN matches ON matches.n = raw_rows.n::VARCHAR)`
}

/** A match value that can't be computed is none: the row is invalid by its null match. */
function matchText(field: CompiledField, values: readonly (string | null)[]): string | null {
  try {
    const cell = field.evaluate(values)
    return cell === null || cell === 'jnull' ? null : cell.slice(1)
  } catch (error) {
    if (error instanceof InvalidRow) return null
    throw error
  }
}

/** What a match field's cell becomes in the payload: the text as the destination compares it. */
export function matchCell(normaliser: Normaliser, cell: string | null): string | null {
  if (cell === null || cell === 'jnull' || normaliser === 'exact') return cell
  const text = normalise(normaliser, cell.slice(1))
  return text === null ? 'jnull' : `s${text}`
}

/** The same in SQL, over a cell. */
export function matchCellSql(normaliser: Normaliser, cell: string): string {
  if (normaliser === 'exact') return cell
  return `CASE WHEN (${cell}) IS NULL OR (${cell}) = 'jnull' THEN (${cell}) ELSE coalesce('s' || ${normaliseSql(normaliser, `substr(${cell}, 2)`)}, 'jnull') END`
}
