/** One field of one row: from raw texts to a cell, in JavaScript and, where the same can be said there, in DuckDB SQL. */
import { castability, castRaw, castValue, reader, valueCell, valueText } from './cast.ts'
import type { Constant, FieldSpec } from './config/types.ts'
import type { ErrorDetail } from './errors.ts'
import { Uncomputable } from './liquid/number.ts'
import { compileTemplate, compileTransforms } from './template.ts'
import type { LogicalType } from './types.ts'
import { canonical, canonicalSql, cellSql, toCell, type Cell } from './values.ts'

/** Raw texts of the inputs, in order -> cell; null for nothing. */
export type Evaluate = (values: readonly (string | null)[]) => Cell | null
export type Sql = (column: (name: string) => string) => { expr: string; fits: string | null }

/** The cell a field has for null: absent under `nulls: skip`. */
export function nullCell(spec: Pick<FieldSpec, 'nulls'>): Cell | null {
  return spec.nulls === 'skip' ? null : 'jnull'
}

/** A YAML number that JSON writes the same way; others (`01`, `0x1F`, `.5`) were text all along. */
const JSON_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/

/** The cell of a constant, cast when the field says so. Throws Uncomputable when it can't be that type. */
function constantCell(constant: Constant, spec: FieldSpec): Cell | null {
  const exact = constant.kind === 'number' && JSON_NUMBER.test(constant.text) && spec.type === undefined
  const cell = exact ? 'j' + constant.text : (spec.type === undefined ? valueCell : castValue(spec.type))(constantValue(constant))
  return cell === null || cell === 'jnull' ? nullCell(spec) : cell
}

function constantValue(constant: Constant): unknown {
  switch (constant.kind) {
    case 'string':
      return constant.text
    case 'number':
      return JSON_NUMBER.test(constant.text) ? reader('json')(constant.text) : constant.text
    case 'boolean':
      return constant.text.toLowerCase() === 'true'
    case 'json':
      return reader('json')(constant.json)
    case 'null':
      return null
  }
}

/** `map` and `default` of a field as cells; null is absent. */
export interface Choices {
  readonly cells: ReadonlyMap<string, Cell | null> | null
  /** Undefined: there is none. */
  readonly fallback: Cell | null | undefined
}

/** Throws Uncomputable when a constant can't have the field's type. */
export function compileChoices(spec: FieldSpec): Choices {
  const cells = spec.map && new Map([...spec.map].map(([key, constant]) => [key, constantCell(constant, spec)]))
  return { cells: cells ?? null, fallback: spec.default && constantCell(spec.default, spec) }
}

/** The function of a constant, a column or a template. `types` are those of the inputs. */
export function compileEvaluate(spec: FieldSpec, types: readonly LogicalType[], choices: Choices, detail: ErrorDetail): Evaluate {
  const whenNull = choices.fallback === undefined ? nullCell(spec) : choices.fallback
  // JSON's own null is nothing too; what `map` says is final.
  const finish = (cell: Cell | null): Cell | null => (choices.cells === null && (cell === null || cell === 'jnull') ? whenNull : cell)
  if (spec.source.kind === 'value' && spec.transform.length === 0) {
    const { value } = spec.source
    return () => constantCell(value, spec)
  }
  if (spec.source.kind === 'column' && spec.transform.length === 0) {
    const cell = compileColumn(spec, types[0] ?? 'string', choices)
    return ([raw = null]) => (raw === null ? whenNull : finish(cell(raw)))
  }
  const value = compileValue(spec, types, detail)
  const cell = compileResult(spec, choices)
  return (values) => {
    const result = value(values)
    return result === null || result === undefined ? whenNull : finish(cell(result))
  }
}

function compileColumn(spec: FieldSpec, type: LogicalType, { cells, fallback }: Choices): (raw: string) => Cell | null {
  if (cells !== null) return (raw) => choose(cells, fallback, canonical(type, raw))
  if (needsCast(spec, type)) return castRaw(type, spec.type)
  if (type === 'json') return (raw) => jsonCell(toCell(type, raw))
  return (raw) => toCell(type, raw)
}

/** A JSON string is sent as a text column would be: one value, one cell. */
function jsonCell(cell: Cell): Cell | null {
  return cell.startsWith('j"') ? valueCell(JSON.parse(cell.slice(1))) : cell
}

function needsCast(spec: FieldSpec, type: LogicalType): spec is FieldSpec & { type: NonNullable<FieldSpec['type']> } {
  return spec.type !== undefined && castability(type, spec.type) !== 'same'
}

function choose(cells: ReadonlyMap<string, Cell | null>, fallback: Cell | null | undefined, key: string): Cell | null {
  const cell = cells.get(key) ?? (cells.has(key) ? null : fallback)
  if (cell === undefined) throw new Uncomputable('unmapped', 'the value is not in `map`, and there is no `default`')
  return cell
}

/** Source, then transforms. */
function compileValue(
  spec: FieldSpec,
  types: readonly LogicalType[],
  detail: ErrorDetail,
): (values: readonly (string | null)[]) => unknown {
  const source = compileSource(spec, types, detail)
  if (spec.transform.length === 0) return source
  const transform = compileTransforms(spec.transform, detail)
  return (values) => transform(source(values))
}

function compileSource(
  spec: FieldSpec,
  types: readonly LogicalType[],
  detail: ErrorDetail,
): (values: readonly (string | null)[]) => unknown {
  if (spec.source.kind === 'value') {
    const value = constantValue(spec.source.value)
    return () => value
  }
  const readers = types.map(reader)
  const read = (values: readonly (string | null)[], i: number): unknown => {
    const raw = values[i] ?? null
    return raw === null ? null : readers[i]?.(raw)
  }
  if (spec.source.kind !== 'template') return (values) => read(values, 0)
  const { inputs, render } = compileTemplate(spec.source.template, detail)
  return (values) => {
    const scope: Record<string, unknown> = {}
    inputs.forEach((name, i) => (scope[name] = read(values, i)))
    return render(scope)
  }
}

/** `map`, else the cast, else the value's own cell. */
function compileResult(spec: FieldSpec, { cells, fallback }: Choices): (value: unknown) => Cell | null {
  if (cells !== null) return (value) => choose(cells, fallback, valueText(value))
  return spec.type === undefined ? valueCell : castValue(spec.type)
}

/** A CASE with more branches than this costs more than the rows that reach JavaScript. */
const MAX_BRANCHES = 100

/** The SQL of a column field without transforms; null when only JavaScript can. */
export function compileSql(spec: FieldSpec, type: LogicalType, choices: Choices): Sql | null {
  if (spec.source.kind !== 'column' || spec.transform.length > 0) return null
  const { source } = spec
  const form = choices.cells === null ? plainSql(spec, type) : chosenSql(type, choices.cells, choices.fallback)
  if (form === null) return null
  const whenNull = literal(choices.fallback === undefined ? nullCell(spec) : choices.fallback)
  return (column) => {
    const x = column(source.column)
    const { expr, fits } = form(x)
    return {
      expr: `CASE WHEN ${x} IS NULL THEN ${whenNull} ELSE ${expr} END`,
      fits: fits === 'true' ? null : `(${x} IS NULL OR ${fits})`,
    }
  }
}

type Form = (x: string) => { expr: string; fits: string }

function plainSql(spec: FieldSpec, type: LogicalType): Form | null {
  if (cellSql(type, 'x') === null) return null
  const form: Form = (x) => cellSql(type, x) ?? { expr: 'NULL', fits: 'false' }
  if (!needsCast(spec, type)) return form
  if (spec.type !== 'string') return null
  // As a string every value has a text, so only a float can fail to fit.
  return type === 'float'
    ? (x) => ({ ...form(x), expr: `'s' || ${x}` })
    : (x) => ({ expr: `'s' || ${canonicalSql(type, x)}`, fits: 'true' })
}

function chosenSql(type: LogicalType, cells: ReadonlyMap<string, Cell | null>, fallback: Cell | null | undefined): Form | null {
  // Their canonical text is JavaScript's to make.
  if (type === 'float' || type === 'json' || cells.size > MAX_BRANCHES) return null
  return (x) => {
    const key = canonicalSql(type, x)
    const branches = [...cells].map(([from, cell]) => `WHEN ${literal(from)} THEN ${literal(cell)}`)
    const known = [...cells.keys()].map(literal).join(', ')
    return {
      expr: `CASE ${key} ${branches.join(' ')} ELSE ${literal(fallback ?? null)} END`,
      fits: fallback === undefined ? `${key} IN (${known})` : 'true',
    }
  }
}

/** A DuckDB string literal. */
export function literal(text: string | null): string {
  return text === null ? 'NULL' : `'${text.replaceAll("'", "''")}'`
}
