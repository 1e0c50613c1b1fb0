/** States in a DuckDB file: its SQL, in a session whose time zone is UTC. */
import { normaliseSql } from '../../normalise.ts'
import type { Column } from '../../types.ts'
import { canonicalSql } from '../../values.ts'
import { rawSql } from '../../warehouse/duckdb-types.ts'
import { ident, lit } from '../db.ts'
import type { Dialect } from './dialect.ts'
import { split, unpivot } from './portable.ts'

/** A collation of a column (NOCASE) goes through casts and functions, and makes comparing as loose as it is. */
const BYTES = 'COLLATE C'

export const duckdb: Dialect = {
  name: 'duckdb',
  holdsNul: true,
  types: { text: 'VARCHAR', integer: 'BIGINT', boolean: 'BOOLEAN' },
  table: (schema, name) => `${ident(schema)}.${ident(name)}`,
  // It ends with the connection.
  temporary: { create: 'CREATE OR REPLACE TEMPORARY TABLE', end: '' },
  ident,
  lit,
  // The start of the transaction: DuckDB has no other clock.
  now: 'epoch_ms(now())',
  key: (column, timezone) => {
    if (column.type === 'float' || column.type === 'json') return null
    const raw = `(${rawSql(column, timezone)})`
    return column.type === 'string' ? `(${raw} ${BYTES})` : canonicalSql(column.type, raw)
  },
  list: (texts) =>
    `CASE WHEN ${texts.map((text) => `(${text}) IS NOT NULL`).join(' AND ')} THEN to_json([${texts.join(', ')}])::VARCHAR END`,
  normalise: (normaliser, text) => normaliseSql(normaliser, `((${text}) ${BYTES})`),
  hash,
  unpivot,
  split,
  lowest: (from) => `(SELECT address, min(key) AS key, arg_min(hash, key) AS hash FROM ${from} AS r GROUP BY address)`,
  digests: () => [],
  undoesTables: true,
  appends: true,
  grants: () => '-- DuckDB knows no roles. Who may write the file may run, who may read it may plan.\n',
}

/**
 * The types are part of the hash: those of one size hash alike (1 and true; 150 and the decimal 1.50), and a column may change
 * its type from one run to the next.
 */
function hash(columns: readonly Column[], timezone: string | undefined): string {
  const types = columns.map((column) => (NATIVE.test(column.native) ? column.native : column.type))
  return `(hash(${[lit(types.join()), ...columns.map((column) => hashed(column, timezone))].join(', ')}) >> 1)::BIGINT`
}

/**
 * Types whose own hash tells all values apart: a quarter of the time that the hashes of their texts take. Not HUGEINT and what
 * is kept as one (wide decimals, UUID: the halves of 2^64 + 1 cancel out), INTERVAL (30 days are a month), ENUM (the hash is
 * of the place in the list).
 */
const NATIVE =
  /^(U?(TINYINT|SMALLINT|INTEGER|BIGINT)|BOOLEAN|VARCHAR|BLOB|DATE|TIME|TIMESTAMP(_S|_MS|_NS| WITH TIME ZONE)?|FLOAT|DOUBLE|DECIMAL\((\d|1[0-8]),\d+\))$/

function hashed(column: Column, timezone: string | undefined): string {
  const name = ident(column.name)
  if (!NATIVE.test(column.native)) return rawSql(column, timezone)
  return column.type === 'timestamp' && timezone !== undefined ? `(${name} AT TIME ZONE ${lit(timezone)})` : name
}
