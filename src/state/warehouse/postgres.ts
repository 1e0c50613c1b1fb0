/** States in PostgreSQL (12 and later): its SQL, under the settings that src/warehouse/postgres.ts begins a transaction with. */
import { quoteName } from '../../warehouse/model.ts'
import type { Column } from '../../types.ts'
import type { Scalar } from '../db.ts'
import type { Dialect } from './dialect.ts'
import { jsonText, normaliseText, seed, type TextSql, unpivot } from './portable.ts'

/** Databases sort by language and may take different texts as equal (nondeterministic collations); "C" compares bytes. */
const BYTES = 'COLLATE "C"'

export const postgres: Dialect = {
  name: 'postgres',
  holdsNul: false,
  types: { text: `text ${BYTES}`, integer: 'bigint', boolean: 'boolean' },
  table: (schema, name) => `${quoteName(schema)}.${quoteName(name)}`,
  temporary: { create: 'CREATE TEMPORARY TABLE', end: 'ON COMMIT DROP' },
  ident: quoteName,
  lit,
  // now() is when the transaction began.
  now: 'floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint',
  key,
  list: (texts) => `(('[' || ${texts.map(json).join(` || ',' || `)} || ']') ${BYTES})`,
  normalise: (normaliser, text) => normaliseText(TEXT, normaliser, `((${text}) ${BYTES})`),
  hash,
  unpivot,
  split,
  lowest: (from) =>
    `(SELECT DISTINCT ON (address ${BYTES}) address, key, hash FROM ${from} AS r ORDER BY address ${BYTES}, key ${BYTES}, hash)`,
  // An entry of an index ends at 2,704 bytes: https://www.postgresql.org/docs/current/btree.html
  digests: (text) => [`left(${text}, 200)`, `hashtextextended(${text}, 0)`],
  undoesTables: true,
  appends: false,
  grants,
}

/** Measured: translate() takes ten times as long as either of lower() and regexp_replace(). */
const TEXT: TextSql = {
  lit,
  // Under "C" it knows the letters of ASCII and no others.
  lower: (text) => `lower(${text})`,
  without: (text, characters) => `regexp_replace(${text}, ${lit(`[${characters}]+`)}, '', 'g')`,
  digits: (text) => `regexp_replace(${text}, '[^0-9]+', '', 'g')`,
  // NULL without a match. `$` is the end of the text, and not of a line in it.
  e164: (bare) => `substring(regexp_replace(${bare}, '^00', '+') from '^[+][1-9][0-9]{1,14}$')`,
}

/** Throws RangeError for a text with NUL, which PostgreSQL can't hold. */
function lit(value: Scalar): string {
  if (value === null) return 'NULL'
  if (typeof value !== 'string') return String(value)
  if (value.includes('\0')) throw new RangeError('PostgreSQL holds no text with NUL')
  const quoted = `'${value.replaceAll("'", "''")}'`
  // What a backslash is between plain quotes depends on standard_conforming_strings.
  return value.includes('\\') ? `E${quoted.replaceAll('\\', '\\\\')}` : quoted
}

function key({ name, type, native }: Column, timezone: string | undefined): string | null {
  const column = quoteName(name)
  const text = `${column}::text`
  switch (type) {
    case 'integer':
    case 'boolean':
    case 'date':
    case 'time':
      return `(${text} ${BYTES})`
    case 'string':
      return `(${stringText(column, native)} ${BYTES})`
    case 'decimal':
      // trim_scale() is of PostgreSQL 13.
      return `(CASE WHEN strpos(${text}, '.') > 0 THEN rtrim(rtrim(${text}, '0'), '.') ELSE ${text} END ${BYTES})`
    case 'timestamp':
      return timestamp(timezone === undefined ? column : `(${column} AT TIME ZONE ${lit(timezone)} AT TIME ZONE 'UTC')`)
    case 'timestamptz':
      return timestamp(`(${column} AT TIME ZONE 'UTC')`)
    case 'bytes':
      // Base64 comes in lines of 76 characters.
      return `(replace(encode(${column}, 'base64'), chr(10), '') ${BYTES})`
    case 'float':
    case 'json':
      return null
  }
}

/** Types whose cast to text gives what COPY writes; that of inet, for one, does not. CHAR(n) loses its padding in both. */
const CAST = /^(text|uuid|citext|name|character\(.*|character varying.*)$/

function stringText(column: string, native: string): string {
  return CAST.test(native) ? `${column}::text` : `CASE WHEN ${column} IS NOT NULL THEN concat(${column}) END`
}

/** `naive` is in UTC. Infinite ones are written as they are, years before 1 with ` BC` at the end. */
function timestamp(naive: string): string {
  const iso = `replace(replace(${naive}::text, ' BC', ''), ' ', 'T')`
  const era = `CASE WHEN ${naive} < timestamp '0001-01-01' THEN 'Z BC' ELSE 'Z' END`
  return `(CASE WHEN isfinite(${naive}) THEN ${iso} || ${era} ELSE ${naive}::text END ${BYTES})`
}

/** No NUL, which PostgreSQL can't hold. */
const CONTROLS = Array.from({ length: 31 }, (_, i) => String.fromCharCode(i + 1))

/** Not to_json(): it writes hexadecimal digits small. */
function json(text: string): string {
  return jsonText(lit, text, CONTROLS, `${text} ~ ${lit('[\\u0001-\\u001f]')}`)
}

/**
 * The columns' binary forms (those of COPY in binary format): exact, and a third of the time that their texts take. Not the
 * types' own hash functions: they take 30 days as a month, 5 as -5, and 0 as 4294967297 (bigint, timestamps), which is right
 * for a hash join and would hide a change here.
 * https://github.com/postgres/postgres/blob/master/src/backend/access/hash/hashfunc.c
 */
function hash(columns: readonly Column[], timezone: string | undefined): string {
  const parts = columns.map((column) => bytes(column, timezone))
  const number = `hash_array_extended(ARRAY[${parts.join(', ')}], ${seed(columns.map((column) => column.type))})`
  return `((${number} >> 1) & 9223372036854775807)`
}

function bytes({ name, type, native }: Column, timezone: string | undefined): string {
  const column = quoteName(name)
  switch (type) {
    case 'integer':
      // Of an oid there is no cast that is implied.
      return `int8send(${column}::int8)`
    case 'decimal':
      return `numeric_send(${column})`
    case 'float':
      return native === 'real' ? `float4send(${column})` : `float8send(${column})`
    case 'boolean':
      return `boolsend(${column})`
    case 'date':
      return `date_send(${column})`
    case 'time':
      return native.endsWith('with time zone') ? `timetz_send(${column})` : `time_send(${column})`
    case 'timestamp':
      return timezone === undefined ? `timestamp_send(${column})` : `timestamptz_send(${column} AT TIME ZONE ${lit(timezone)})`
    case 'timestamptz':
      return `timestamptz_send(${column})`
    case 'bytes':
      return `${column}::bytea`
    case 'json':
      return native === 'json' ? `json_send(${column})` : native === 'jsonb' ? `jsonb_send(${column})` : `json_send(to_json(${column}))`
    case 'string':
      return native === 'uuid' ? `uuid_send(${column})` : `textsend(${stringText(column, native)})`
  }
}

/**
 * One pass of plain aggregates: several processes share it, which groups by key would prevent (measured: 1.0 to 1.1 times the
 * join alone, against 1.3 to 1.8). What differs is gathered in one array, which ends at 1 GB: about ten million changes.
 */
function split(from: string, picked: readonly string[], totals: readonly string[]): string {
  const names = totals.map((_, i) => `total_${i}`)
  const sums = totals.map((it, i) => `${it.replace(/ AS \w+$/, '')} AS ${names[i]}`)
  const gathered = `(SELECT ${sums.join(', ')}, array_agg(json_build_array(${picked.join(', ')})::text) FILTER (WHERE differs) AS found FROM ${from}) g`
  // The first row, without a change, has the totals.
  return `SELECT ${picked.map((_, i) => `f.change::json ->> ${i}`).join(', ')}, ${names.map((name) => `CASE WHEN f.n = 1 THEN ${name} ELSE 0 END`).join(', ')}
FROM ${gathered}, unnest(array_prepend(NULL, found)) WITH ORDINALITY f(change, n)`
}

function grants({ schema, role, reader, database }: Parameters<Dialect['grants']>[0]): string {
  const [place, runs, plans] = [quoteName(schema), quoteName(role), quoteName(reader)]
  const connect = (name: string): string => `GRANT CONNECT, TEMPORARY ON DATABASE ${name} TO ${runs}, ${plans}`
  // A statement can't say "this database".
  const here = `DO ${lit(`BEGIN EXECUTE format(${lit(connect('%I'))}, current_database()); END`)}`
  return `-- For a superuser, or the owner of the database who is a member of ${runs}. Connected to the database that keeps the state.
CREATE SCHEMA IF NOT EXISTS ${place};
${database === null ? here : connect(quoteName(database))};

-- Runs: makes its tables there and owns them.
GRANT USAGE, CREATE ON SCHEMA ${place} TO ${runs};

-- Plans: reads them, those that are made later too.
GRANT USAGE ON SCHEMA ${place} TO ${plans};
GRANT SELECT ON ALL TABLES IN SCHEMA ${place} TO ${plans};
ALTER DEFAULT PRIVILEGES FOR ROLE ${runs} IN SCHEMA ${place} GRANT SELECT ON TABLES TO ${plans};
`
}
