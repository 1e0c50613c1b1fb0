/** States in Snowflake: its SQL, in a session whose time zone is UTC. */
import type { Column } from '../../types.ts'
import { quoteName } from '../../warehouse/model.ts'
import { snowflakeRaw, snowflakeText } from '../../warehouse/snowflake-types.ts'
import type { Scalar } from '../db.ts'
import type { Dialect } from './dialect.ts'
import { jsonText, normaliseText, type TextSql, split, unpivot } from './portable.ts'

export const snowflake: Dialect = {
  name: 'snowflake',
  holdsNul: true,
  // A schema may have a default collation: https://docs.snowflake.com/en/sql-reference/collation
  types: { text: "VARCHAR COLLATE ''", integer: 'NUMBER(38, 0)', boolean: 'BOOLEAN' },
  table: (schema, name) => `${ident(schema)}.${ident(name)}`,
  // It ends with the session; to make it ends a transaction.
  temporary: { create: 'CREATE OR REPLACE TEMPORARY TABLE', end: '' },
  ident,
  lit,
  // In UTC, and not when the statement began: https://docs.snowflake.com/en/sql-reference/functions/sysdate
  now: 'DATE_PART(EPOCH_MILLISECOND, SYSDATE())',
  key,
  list: (texts) => `('[' || ${texts.map(json).join(` || ',' || `)} || ']')`,
  normalise: (normaliser, text) => normaliseText(TEXT, normaliser, `(${text})`),
  hash,
  unpivot,
  split,
  lowest: (from) => `(SELECT address, MIN(key) AS key, MIN_BY(hash, key) AS hash FROM ${from} AS r GROUP BY address)`,
  digests: () => [],
  undoesTables: false,
  appends: true,
  grants,
}

/**
 * Snowflake folds a plain name to upper case, and columns so named are described in lower case
 * (src/warehouse/snowflake-types.ts). So a plain name in lower case is the folded one; every other is as it is written.
 */
function ident(name: string): string {
  return quoteName(/^[a-z_][a-z0-9_$]*$/.test(name) ? name.toUpperCase() : name)
}

function lit(value: Scalar): string {
  if (value === null) return 'NULL'
  if (typeof value !== 'string') return String(value)
  const parts = value.split('\0').map(snowflakeText)
  return parts.length === 1 ? String(parts[0]) : `(${parts.join(' || CHR(0) || ')})`
}

/** TRANSLATE leaves out what has no counterpart: https://docs.snowflake.com/en/sql-reference/functions/translate */
const TEXT: TextSql = {
  lit,
  // LOWER knows the letters of all languages.
  lower: (text) => `TRANSLATE(${text}, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')`,
  without: (text, characters) => `TRANSLATE(${text}, ${lit(characters)}, '')`,
  digits: (text) => `REGEXP_REPLACE(${text}, '[^0-9]+', '')`,
  e164,
}

/** By the places of its characters: whether `$` in a regular expression stands before a last line break too is nowhere said. */
function e164(bare: string): string {
  const number = `CASE WHEN LEFT(${bare}, 2) = '00' THEN '+' || SUBSTR(${bare}, 3) ELSE ${bare} END`
  // A plus at the start and nowhere else, then 2 to 15 digits of which the first is no 0.
  const plus = `LEFT(${number}, 1) = '+' AND TRANSLATE(${number}, '0123456789', '') = '+'`
  return `CASE WHEN ${plus} AND SUBSTR(${number}, 2, 1) <> '0' AND LENGTH(${number}) BETWEEN 3 AND 16 THEN ${number} END`
}

function key(column: Column, timezone: string | undefined): string | null {
  const raw = rawSql(column, timezone)
  switch (column.type) {
    case 'string':
    case 'integer':
    case 'boolean':
    case 'date':
    case 'time':
      return raw
    case 'decimal':
      return trimmed(raw)
    case 'timestamp':
    case 'timestamptz':
      // With a fraction of nine digits always.
      return `(REPLACE(${trimmed(raw)}, ' ', 'T') || 'Z')`
    case 'bytes':
      // In one line: https://docs.snowflake.com/en/sql-reference/functions/base64_encode
      return `BASE64_ENCODE(${ident(column.name)})`
    case 'float':
    case 'json':
      return null
  }
}

/** The text of a number that has a fraction, without trailing zeros. */
function trimmed(text: string): string {
  return `RTRIM(RTRIM(${text}, '0'), '.')`
}

/** The raw text; one of a column with a collation compares byte by byte, as all others do. */
function rawSql(column: Column, timezone: string | undefined): string {
  const name = ident(column.name)
  return column.type === 'string' ? `COLLATE(${name}, '')` : snowflakeRaw(name, column, timezone)
}

const CONTROLS = Array.from({ length: 32 }, (_, i) => String.fromCharCode(i))

/** How TO_JSON writes control characters is nowhere said. */
function json(text: string): string {
  return jsonText(lit, text, CONTROLS, `TRANSLATE(${text}, ${lit(CONTROLS.join(''))}, '') <> ${text}`)
}

/**
 * Not the values themselves: of a VARIANT, say, it is not told which of its values hash alike. Texts do when they are the same;
 * NULL is told from all of them. The types take part, for a text and a number may be written alike.
 * https://docs.snowflake.com/en/sql-reference/functions/hash
 */
function hash(columns: readonly Column[], timezone: string | undefined): string {
  const types = lit(columns.map(({ type }) => type).join())
  const signed = `HASH(${[types, ...columns.map((column) => rawSql(column, timezone))].join(', ')})`
  return `MOD(${signed} + 9223372036854775808, 9223372036854775808)`
}

/** What temporary tables need: https://docs.snowflake.com/en/user-guide/security-access-control-privileges#schema-privileges */
function grants({ schema, role, reader, database, warehouse }: Parameters<Dialect['grants']>[0]): string {
  const place = database === null ? ident(schema) : `${ident(database)}.${ident(schema)}`
  const [runs, plans] = [ident(role), ident(reader)]
  const both = (privilege: string): string => [runs, plans].map((name) => `GRANT ${privilege} TO ROLE ${name};`).join('\n')
  return `-- For ACCOUNTADMIN, or for a role with CREATE SCHEMA on the database and MANAGE GRANTS.${
    database === null
      ? '\n-- First: USE DATABASE …, the one of the warehouse in cdp-sync.yaml, and GRANT USAGE ON DATABASE … to both roles.'
      : ''
  }
CREATE SCHEMA IF NOT EXISTS ${place};
${database === null ? '' : `${both(`USAGE ON DATABASE ${ident(database)}`)}\n`}${
    warehouse === null ? '-- And GRANT USAGE ON WAREHOUSE … to both roles.' : both(`USAGE ON WAREHOUSE ${ident(warehouse)}`)
  }

-- Runs: makes its tables there and owns them.
GRANT USAGE, CREATE TABLE ON SCHEMA ${place} TO ROLE ${runs};

-- Plans: reads them, those that are made later too. Temporary tables need no privilege.
GRANT USAGE ON SCHEMA ${place} TO ROLE ${plans};
GRANT SELECT ON ALL TABLES IN SCHEMA ${place} TO ROLE ${plans};
GRANT SELECT ON FUTURE TABLES IN SCHEMA ${place} TO ROLE ${plans};
`
}
