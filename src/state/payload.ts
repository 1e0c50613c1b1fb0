/** Payloads of staged rows: in SQL where every field of the mapping has an SQL form, else row by row in JavaScript. */
import type { Normaliser } from '../connector.ts'
import { InvalidRow } from '../mapping.ts'
import type { CompiledField } from '../mapping.ts'
import { CHUNK_ROWS, lit, text } from './db.ts'
import type { Db } from './db.ts'
import { matchCell, matchCellSql } from './stage.ts'

/** A field of the mapping at its position in the payload lists of this state (from 1). */
export interface PlacedField {
  readonly field: CompiledField
  readonly position: number
  /** How the destination compares it; null for a field that is no match field. */
  readonly normaliser: Normaliser | null
}

/** A cell of a field for one row. Throws InvalidRow. */
export function evaluate({ field, normaliser }: PlacedField, values: readonly (string | null)[]): string | null {
  const cell = field.evaluate(values)
  return normaliser === null ? cell : matchCell(normaliser, cell)
}

/** The same in SQL; null when only JavaScript can. `fits` null: always. */
export function fieldSql({ field, normaliser }: PlacedField, raw: (name: string) => string): { expr: string; fits: string | null } | null {
  const sql = field.sql?.(raw)
  if (!sql) return null
  return { expr: normaliser === null ? sql.expr : matchCellSql(normaliser, sql.expr), fits: sql.fits }
}

/**
 * Makes the view `computed (key, payload, code, field)` over a relation with `key` and the columns of the extract. `code`
 * says why a payload can't be computed. `width` is the number of positions. With `lazy` what SQL can say is computed whenever
 * the view is read, not stored: a first load reads it once, on its way to the outbox. `expected` rows found in SQL spare a
 * second look at the extract.
 */
export async function computePayloads(
  db: Db,
  from: string,
  fields: readonly PlacedField[],
  width: number,
  raw: (name: string) => string,
  { lazy = false, expected = null }: { lazy?: boolean; expected?: number | null } = {},
): Promise<void> {
  if (!fields.every((placed) => fieldSql(placed, raw) !== null)) {
    await db.run(NO_PAYLOADS)
    return computeRows(db, from, fields, width, raw)
  }
  const { list, fits } = payloadSql(fields, width, raw)
  const select = `SELECT key, ${list} AS payload, NULL::VARCHAR AS code, NULL::VARCHAR AS field FROM ${from} WHERE ${fits}`
  if (lazy) await db.run(`${EMPTY}; CREATE OR REPLACE VIEW computed AS ${select} UNION ALL FROM payloads`)
  else await db.run(`CREATE OR REPLACE TABLE payloads AS ${select}; CREATE OR REPLACE VIEW computed AS FROM payloads`)
  if (fits === 'TRUE' || (expected !== null && (await countRows(db, 'payloads')) >= expected)) return
  await computeRows(db, `(SELECT * FROM ${from} WHERE (${fits}) IS NOT TRUE)`, fields, width, raw)
}

/** SQL of a payload list where every field has an SQL form, and of the condition under which it holds. */
export function payloadSql(fields: readonly PlacedField[], width: number, raw: (name: string) => string): { list: string; fits: string } {
  const expressions = Array.from({ length: width }, () => 'NULL::VARCHAR')
  const conditions: string[] = []
  for (const placed of fields) {
    const sql = fieldSql(placed, raw)
    expressions[placed.position - 1] = sql?.expr ?? 'NULL'
    if (sql?.fits) conditions.push(`(${sql.fits})`)
  }
  return { list: `[${expressions.join(', ')}]`, fits: conditions.length ? conditions.join(' AND ') : 'TRUE' }
}

const countRows = async (db: Db, table: string): Promise<number> => (await db.one<{ n: number }>(`SELECT count(*) AS n FROM ${table}`)).n

const EMPTY = `CREATE OR REPLACE TABLE payloads (key VARCHAR, payload VARCHAR[], code VARCHAR, field VARCHAR)`
/** SQL: `computed` is empty. */
export const NO_PAYLOADS = `${EMPTY}; CREATE OR REPLACE VIEW computed AS FROM payloads`

async function computeRows(
  db: Db,
  from: string,
  fields: readonly PlacedField[],
  width: number,
  raw: (name: string) => string,
): Promise<void> {
  const inputs = [...new Set(fields.flatMap(({ field }) => field.inputs))]
  const plans = fields.map((placed) => ({ placed, at: placed.field.inputs.map((name) => inputs.indexOf(name) + 1) }))
  await db.run(
    `CREATE OR REPLACE TABLE cells (key VARCHAR, ${Array.from({ length: width }, (_, i) => `p${i + 1} VARCHAR, `).join('')}code VARCHAR, field VARCHAR)`,
  )
  const appender = await db.append('cells', width + 3)
  try {
    await db.columns(`SELECT ${['key', ...inputs.map(raw)].join(', ')} FROM ${from}`, (columns, count) => {
      const out: (string | null)[][] = Array.from({ length: width + 3 }, () => Array<string | null>(count).fill(null))
      for (let row = 0; row < count; row++) {
        ;(out[0] as (string | null)[])[row] = text(columns[0]?.[row])
        computeRow(plans, columns, row, out, width)
      }
      for (let start = 0; start < count; start += CHUNK_ROWS) appender.chunk(out.map((column) => column.slice(start, start + CHUNK_ROWS)))
    })
  } finally {
    appender.close()
  }
  const list = Array.from({ length: width }, (_, i) => `p${i + 1}`).join(', ')
  await db.run(`INSERT INTO payloads SELECT key, CASE WHEN code IS NULL THEN [${list}] END, code, field FROM cells; DROP TABLE cells`)
}

function computeRow(
  plans: readonly { placed: PlacedField; at: readonly number[] }[],
  columns: readonly (readonly unknown[])[],
  row: number,
  out: (string | null)[][],
  width: number,
): void {
  for (const { placed, at } of plans) {
    try {
      const cell = evaluate(
        placed,
        at.map((index) => text(columns[index]?.[row])),
      )
      ;(out[placed.position] as (string | null)[])[row] = cell
    } catch (error) {
      if (!(error instanceof InvalidRow)) throw error
      ;(out[width + 1] as (string | null)[])[row] = error.code
      ;(out[width + 2] as (string | null)[])[row] = placed.field.name
      return
    }
  }
}

/**
 * After a mapping edit: fills `edited (address)` with the rows whose data did not change but whose edited fields give
 * another value than was delivered (or none). Each field is evaluated once per distinct input. `same` is a relation
 * (address, key) of those rows.
 */
export async function findEdited(db: Db, same: string, fields: readonly PlacedField[], raw: (name: string) => string): Promise<void> {
  await db.run(`CREATE OR REPLACE TABLE edited (address VARCHAR)`)
  for (const placed of fields) {
    const sql = fieldSql(placed, raw)
    const delivered = `s.payload[${placed.position}]`
    const join = `${same} w JOIN rows r ON r.key = w.key JOIN snap s ON s.address = w.address`
    if (sql) {
      const differs = `(${sql.expr}) IS NOT NULL AND (${sql.expr}) IS DISTINCT FROM ${delivered}`
      const condition = sql.fits ? `CASE WHEN ${sql.fits} THEN ${differs} ELSE TRUE END` : differs
      await db.run(`INSERT INTO edited SELECT w.address FROM ${join} WHERE ${condition}`)
      continue
    }
    await evaluateDistinct(db, placed, raw)
    const on = placed.field.inputs.map((name, i) => `v.i${i} IS NOT DISTINCT FROM r.${raw(name)}`).join(' AND ') || 'TRUE'
    await db.run(
      `INSERT INTO edited SELECT w.address FROM ${join} JOIN inputs v ON ${on} WHERE v.failed OR (v.cell IS NOT NULL AND v.cell IS DISTINCT FROM ${delivered})`,
    )
  }
}

/** `inputs (i0…, cell, failed)`: the field's cell for each distinct input. */
async function evaluateDistinct(db: Db, placed: PlacedField, raw: (name: string) => string): Promise<void> {
  const { inputs } = placed.field
  const columns = inputs.map((name, i) => `${raw(name)} AS i${i}`)
  await db.run(`CREATE OR REPLACE TABLE cells (${inputs.map((_, i) => `i${i} VARCHAR, `).join('')}cell VARCHAR, failed VARCHAR)`)
  const appender = await db.append('cells', inputs.length + 2)
  try {
    await db.columns(inputs.length ? `SELECT DISTINCT ${columns.join(', ')} FROM rows` : 'SELECT NULL', (values, count) => {
      const out: (string | null)[][] = Array.from({ length: inputs.length + 2 }, () => [])
      for (let row = 0; row < count; row++) {
        const texts = inputs.map((_, i) => text(values[i]?.[row]))
        texts.forEach((text, i) => out[i]?.push(text))
        try {
          out[inputs.length]?.push(evaluate(placed, texts))
          out[inputs.length + 1]?.push(null)
        } catch (error) {
          if (!(error instanceof InvalidRow)) throw error
          out[inputs.length]?.push(null)
          out[inputs.length + 1]?.push('failed')
        }
      }
      for (let start = 0; start < count; start += CHUNK_ROWS) appender.chunk(out.map((column) => column.slice(start, start + CHUNK_ROWS)))
    })
  } finally {
    appender.close()
  }
  await db.run(`CREATE OR REPLACE TABLE inputs AS SELECT * REPLACE (failed IS NOT NULL AS failed) FROM cells; DROP TABLE cells`)
}

/** SQL: the JSON text of a cell. */
export const cellJsonSql = (cell: string): string =>
  `CASE WHEN starts_with(${cell}, 's') THEN to_json(substr(${cell}, 2))::VARCHAR ELSE substr(${cell}, 2) END`

/** SQL: the names of the positions at which `list` has something else than `base`. */
export function differsSql(fields: readonly PlacedField[], list: string, base: string): string {
  const parts = fields
    .filter(({ field }) => field.write !== 'on_create')
    .map(
      ({ field, position }) =>
        `CASE WHEN ${list}[${position}] IS NOT NULL AND ${list}[${position}] IS DISTINCT FROM ${base}[${position}] THEN ${lit(field.name)} END`,
    )
  return parts.length ? `list_filter([${parts.join(', ')}], lambda x: x IS NOT NULL)` : '[]::VARCHAR[]'
}
