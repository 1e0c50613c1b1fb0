/** From columns of a row to the fields of a payload: a sync's mapping, compiled against the columns its model has. */
import type { Constant, FieldSpec, Sync } from './config/types.ts'
import { CdpError, ConfigErrors, type ErrorDetail } from './errors.ts'
import { compileChoices, compileEvaluate, compileSql, literal, nullCell, type Choices, type Evaluate, type Sql } from './evaluate.ts'
import { Uncomputable } from './liquid/number.ts'
import { checkInputs, checkNames, checkTypes } from './mapping-checks.ts'
import { normalise } from './normalise.ts'
import { compileTemplate, compileTransforms, templateFault } from './template.ts'
import type { Normaliser } from './connector.ts'
import type { Column, LogicalType } from './types.ts'
import { canonical, cellJson, InvalidValue, toCell, type Cell } from './values.ts'

/**
 * Raised when a change of this code or an upgrade of liquidjs can give another cell for the same inputs: every field is
 * then evaluated again for all rows, and what differs is sent.
 */
export const MAPPING_VERSION = 1

export interface CompiledField {
  /** Destination field. */
  readonly name: string
  readonly match: boolean
  /** Model columns it reads. */
  readonly inputs: readonly string[]
  /** A text that differs whenever the same inputs might give another cell. */
  readonly signature: string
  readonly nulls: 'skip' | 'clear'
  readonly nullsWritten: boolean
  readonly write: 'always' | 'on_create' | 'if_empty'
  readonly sensitive: boolean
  /** Never compared nor stored, rendered at sending: `evaluate` gives null. */
  readonly meta: 'sent_at' | 'run' | 'sync' | null
  /**
   * Resolved at delivery (references.ts): `evaluate` gives `{"lookup":object,"match":{…}}` as JSON, the values as the
   * destination compares them and in the order of their names; the null cell when all are null, and in a match when one is.
   */
  readonly lookup: {
    readonly object: string
    readonly match: Readonly<Record<string, string>>
    readonly onMiss: 'reject' | 'null' | 'omit'
  } | null
  /** What is sent, as far as the mapping alone says; null: it depends on the row, or on the destination. */
  readonly type: LogicalType | null
  readonly where: string
  /** `values[i]` is the raw text of `inputs[i]`. Null: absent (`nulls: skip`). Throws InvalidRow. */
  readonly evaluate: Evaluate
  /** The same in DuckDB SQL where `fits` holds (null: always); NULL is absent. `column(name)` is the SQL of an input, written more than once. */
  readonly sql: Sql | null
}

export interface Mapping {
  readonly match: readonly CompiledField[]
  /** Match fields are not repeated. */
  readonly fields: readonly CompiledField[]
  /** Every model column that key, match or fields read, in model order. */
  readonly columns: readonly string[]
}

/**
 * A row whose payload can't be computed. `code` is one of unmapped, not_a_number, not_an_integer, not_a_boolean, not_a_date,
 * not_a_timestamp, not_json, not_text, not_finite, date_range, malformed, division_by_zero, number_too_long, template. No row
 * values in the message.
 */
export class InvalidRow extends Error {
  readonly code: string
  readonly field: string
  constructor(code: string, field: string, message: string) {
    super(message)
    this.name = 'InvalidRow'
    this.code = code
    this.field = field
  }
}

/**
 * Compiles the mapping of a sync against the columns of its model. Throws ConfigErrors with every problem: CDP1300 (no such
 * column), CDP1303 (a template reads none), CDP1307 to CDP1310, and those of `checkMapping`.
 */
export function compileMapping(sync: Sync, columns: readonly Column[]): Mapping {
  const errors: CdpError[] = []
  const types = new Map(columns.map(({ name, type }) => [name, type]))
  const compileAll = (specs: readonly FieldSpec[], match: boolean): CompiledField[] =>
    specs.flatMap((spec) => collect(errors, () => [compileField(sync, spec, match, types)]) ?? [])

  checkNames(sync.model.key, types, { where: sync.locate(['model', 'key']) }, errors)
  const match = compileAll(sync.match, true)
  const inMatch = new Set(sync.match.map(({ name }) => name))
  const written = sync.fields.filter(({ name }) => !inMatch.has(name))
  const fields = compileAll(written, false)
  // With a field missing, `*` would take its columns and report errors of its own.
  if (errors.length === 0)
    fields.push(...compileAll(collect(errors, () => starFields(sync, [...match, ...fields], columns, errors)) ?? [], false))
  if (errors.length > 0) throw new ConfigErrors(errors)

  const read = new Set([...sync.model.key, ...[...match, ...fields].flatMap(({ inputs }) => inputs)])
  return { match, fields, columns: columns.map(({ name }) => name).filter((name) => read.has(name)) }
}

/** What can be checked without a warehouse: templates and transforms compile, constants have the type the field says. */
export function checkMapping(sync: Sync): CdpError[] {
  const errors: CdpError[] = []
  for (const spec of [...sync.match, ...sync.fields]) {
    const detail = detailOf(sync, spec)
    if (spec.source.kind === 'value') {
      collect(errors, () => compile(spec, [], checkedChoices(spec, detail), detail))
      continue
    }
    collect(errors, () => fieldInputs(spec, detail))
    collect(errors, () => compileTransforms(spec.transform, detail))
    collect(errors, () => checkedChoices(spec, detail))
  }
  return errors
}

/** The columns a field names; a template's are the variables it reads. Throws CdpError when the template does not compile. */
export function fieldInputs(spec: FieldSpec, detail: ErrorDetail = {}): readonly string[] {
  switch (spec.source.kind) {
    case 'column':
      return [spec.source.column]
    case 'template':
      return compileTemplate(spec.source.template, detail).inputs
    case 'lookup':
      return Object.values(spec.source.match)
    case 'value':
    case 'meta':
      return []
  }
}

function collect<T>(errors: CdpError[], compile: () => T): T | undefined {
  try {
    return compile()
  } catch (error) {
    if (!(error instanceof CdpError)) throw error
    errors.push(...(error instanceof ConfigErrors ? error.errors : [error]))
    return undefined
  }
}

/** The place of a field, for messages. */
export function detailOf(sync: Sync, spec: FieldSpec): ErrorDetail {
  const frame = sync.frame([sync.match.includes(spec) ? 'match' : 'fields', spec.name], 'key')
  return { where: spec.where, ...(frame === undefined ? {} : { frame }) }
}

function compileField(sync: Sync, spec: FieldSpec, match: boolean, columns: ReadonlyMap<string, LogicalType>): CompiledField {
  const detail = detailOf(sync, spec)
  const { source } = spec
  const inputs = fieldInputs(spec, detail)
  checkInputs(spec, inputs, columns, detail)
  const types = inputs.map((name) => columns.get(name) ?? 'string')
  const choices = checkedChoices(spec, detail)
  checkTypes(spec, types, choices, detail)
  const normalisers = lookupNormalisers(sync, spec)
  const compiled =
    source.kind === 'lookup'
      ? { evaluate: compileLookup(spec, types, normalisers, match), sql: null }
      : compile(spec, types, choices, detail)
  return {
    name: spec.name,
    match,
    inputs,
    signature: signature(spec, types, choices, normalisers),
    nulls: spec.nulls,
    nullsWritten: spec.nullsWritten,
    write: spec.write,
    sensitive: spec.sensitive,
    meta: source.kind === 'meta' ? source.meta : null,
    lookup: source.kind === 'lookup' ? { object: source.object, match: source.match, onMiss: source.onMiss } : null,
    type: sentType(spec, types),
    where: spec.where,
    evaluate: named(spec, compiled.evaluate),
    sql: compiled.sql,
  }
}

function compile(
  spec: FieldSpec,
  types: readonly LogicalType[],
  choices: Choices,
  detail: ErrorDetail,
): { evaluate: Evaluate; sql: Sql | null } {
  switch (spec.source.kind) {
    case 'meta':
    case 'lookup':
      return always(null)
    case 'value': {
      const evaluate = compileEvaluate(spec, types, choices, detail)
      return always(constant(spec, evaluate, detail))
    }
    case 'column':
    case 'template':
      return { evaluate: compileEvaluate(spec, types, choices, detail), sql: compileSql(spec, types[0] ?? 'string', choices) }
  }
}

function always(cell: Cell | null): { evaluate: Evaluate; sql: Sql } {
  return { evaluate: () => cell, sql: () => ({ expr: literal(cell), fits: null }) }
}

function constant(spec: FieldSpec, evaluate: Evaluate, detail: ErrorDetail): Cell | null {
  try {
    return named(spec, evaluate)([])
  } catch (error) {
    if (!(error instanceof InvalidRow)) throw error
    throw constantError(error.message, detail)
  }
}

function constantError(why: string, detail: ErrorDetail): CdpError {
  return new CdpError('CDP1308', `A constant can't have the type of its field: ${why}.`, {
    hint: 'Change the constant or `type`.',
    ...detail,
  })
}

/** How the destination compares the fields by which a record is looked up, where its connector says so. */
function lookupNormalisers(sync: Sync, { source }: FieldSpec): Readonly<Record<string, Normaliser>> | undefined {
  if (source.kind !== 'lookup') return undefined
  const { connector, config } = sync.destination
  const found = Object.hasOwn(connector.objects, source.object) ? connector.objects[source.object] : connector.objects['*']
  const spec = typeof found === 'function' ? found({ config, options: sync.options }) : found
  return Object.fromEntries(Object.keys(source.match).map((name) => [name, spec?.match[name] ?? spec?.match['*'] ?? 'exact']))
}

/** Values that find the same record give the same cell: two rows that name one record in two spellings have one address. */
function compileLookup(
  spec: FieldSpec,
  types: readonly LogicalType[],
  normalisers: Readonly<Record<string, Normaliser>> = {},
  match: boolean,
): Evaluate {
  const nothing = nullCell(spec)
  const names = spec.source.kind === 'lookup' ? Object.keys(spec.source.match) : []
  const object = JSON.stringify(spec.source.kind === 'lookup' ? spec.source.object : '')
  const parts = names
    .map((name, i) => ({ name, i, type: types[i] ?? 'string', normaliser: normalisers[name] ?? 'exact' }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  return (values) => {
    const cells = parts.map(({ i, type, normaliser }) => {
      const raw = values[i] ?? null
      if (raw === null) return null
      if (normaliser === 'exact') return toCell(type, raw)
      const text = normalise(normaliser, toCell(type, raw).slice(1))
      return text === null ? null : `s${text}`
    })
    const empty = cells.filter((cell) => cell === null || cell === 'jnull').length
    // Half a match finds no record, but is no null either: delivery calls it a miss. An address has no halves.
    if (empty === cells.length || (match && empty > 0)) return nothing
    const members = parts.map(({ name }, i) => `${JSON.stringify(name)}:${cellJson(cells[i] ?? 'jnull')}`).join(',')
    return `j{"lookup":${object},"match":{${members}}}`
  }
}

/** The type of what is sent, where every row has the same. */
function sentType(spec: FieldSpec, types: readonly LogicalType[]): LogicalType | null {
  if (spec.type !== undefined) return spec.type
  switch (spec.source.kind) {
    case 'column':
      return spec.map || spec.transform.length > 0 ? null : (types[0] ?? null)
    case 'value':
      return constantType(spec.source.value)
    case 'meta':
      return spec.source.meta === 'sent_at' ? 'timestamptz' : 'string'
    case 'template':
    case 'lookup':
      return null
  }
}

function constantType(value: Constant): LogicalType | null {
  if (value.kind === 'null') return null
  if (value.kind === 'number') return /^-?\d+$/.test(value.text) ? 'integer' : 'decimal'
  return value.kind
}

/** Gives every failure of a row its field; anything else is a bug and passes. */
function named(spec: FieldSpec, evaluate: Evaluate): Evaluate {
  const rendered = spec.source.kind === 'template' || spec.transform.length > 0
  return (values) => {
    try {
      return evaluate(values)
    } catch (error) {
      if (error instanceof InvalidValue || error instanceof Uncomputable) throw new InvalidRow(error.code, spec.name, error.message)
      if (!rendered) throw error
      const { code, message } = templateFault(error)
      throw new InvalidRow(code, spec.name, message)
    }
  }
}

function signature(
  spec: FieldSpec,
  types: readonly LogicalType[],
  { fallback }: Choices,
  normalisers: Readonly<Record<string, Normaliser>> | undefined,
): string {
  const { source, transform, type } = spec
  const map = spec.map && [...spec.map].sort(([a], [b]) => (a < b ? -1 : 1))
  // Where `default` answers for null, the policy for nulls decides nothing.
  const nulls = typeof fallback === 'string' ? undefined : spec.nulls
  return canonical(
    'json',
    JSON.stringify({ version: MAPPING_VERSION, source, types, map, default: spec.default, transform, type, nulls, normalisers }),
  )
}

function checkedChoices(spec: FieldSpec, detail: ErrorDetail): Choices {
  try {
    return compileChoices(spec)
  } catch (error) {
    if (error instanceof Uncomputable) throw constantError(error.message, detail)
    throw error
  }
}

/** `"*"`: a field for every column that nothing reads, under its own name. */
function starFields(sync: Sync, compiled: readonly CompiledField[], columns: readonly Column[], errors: CdpError[]): FieldSpec[] {
  const { star } = sync
  if (star === null) return []
  checkNames(star.except, new Map(columns.map(({ name, type }) => [name, type])), { where: star.where }, errors)
  const apart = new Set([...star.except, ...compiled.flatMap(({ inputs }) => inputs)])
  return columns
    .filter(({ name }) => !apart.has(name))
    .map(({ name: column }) => {
      const name = sync.spec.nested ? column.replaceAll('.', '\\.') : column
      const other = compiled.find((field) => field.name === name || (sync.spec.nested === true && field.name.startsWith(`${name}.`)))
      if (other !== undefined) {
        const hint = `Add it to \`except\`, or read it in the field.`
        throw new CdpError('CDP1310', `\`*\` would write "${name}" beside the field "${other.name}".`, { where: star.where, hint })
      }
      const { nulls, nullsWritten, where } = star
      return { name, source: { kind: 'column', column }, transform: [], nulls, nullsWritten, write: 'always', sensitive: false, where }
    })
}
