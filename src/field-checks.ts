/** What is wrong with a sync's fields, as its destination describes the object: for `run`, `plan` and `validate --live` alike. */
import { asked } from './asked.ts'
import { castability, type CastType } from './cast.ts'
import type { FieldSpec, Sync } from './config/types.ts'
import type { Destination, FieldInfo } from './connector.ts'
import { CdpError, nearest, type ErrorDetail } from './errors.ts'
import { detailOf } from './mapping.ts'
import type { CompiledField, Mapping } from './mapping.ts'
import { splitPath } from './nest.ts'
import type { LogicalType } from './types.ts'

/**
 * Every problem of a sync's fields at its destination, each at its place. Writes nothing. Without a mapping (the model could
 * not be read) columns and their types are left out. Throws what `describe` throws: the object is not there, a login fails.
 */
export async function checkFields(sync: Sync, destination: Destination, mapping: Mapping | null): Promise<CdpError[]> {
  const problems = lookupProblems(sync, destination)
  const known = destination.describe ? await asked(destination.describe(sync.object)) : []
  // A service that takes any field lists none.
  if (known.length === 0) return problems
  for (const field of mappedFields(sync, mapping)) {
    const problem = fieldProblem(sync, field, known)
    if (problem) problems.push(problem)
  }
  return problems
}

interface MappedField {
  readonly name: string
  readonly match: boolean
  readonly detail: ErrorDetail
  readonly spec: FieldSpec | undefined
  /** What is sent; null: not known. */
  readonly type: LogicalType | null
}

function mappedFields(sync: Sync, mapping: Mapping | null): MappedField[] {
  const specs = [...sync.match, ...sync.fields]
  const compiled: CompiledField[] = mapping ? [...mapping.match, ...mapping.fields] : []
  const byName = new Map(compiled.map((field) => [field.name, field]))
  const written = specs.map((spec): MappedField => {
    const type = byName.get(spec.name)?.type ?? null
    return { name: spec.name, match: sync.match.includes(spec), detail: detailOf(sync, spec), spec, type }
  })
  const names = new Set(specs.map(({ name }) => name))
  const starred = compiled
    .filter(({ name }) => !names.has(name))
    .map(({ name, match, where, type }): MappedField => ({ name, match, detail: { where }, spec: undefined, type }))
  const set = Object.keys(sync.removeSet ?? {}).map((name): MappedField => {
    const path = ['on_remove', 'set', name]
    const frame = sync.frame(path)
    const detail = { where: sync.locate(path), ...(frame === undefined ? {} : { frame }) }
    return { name, match: false, detail, spec: undefined, type: null }
  })
  return [...written, ...starred, ...set]
}

function fieldProblem(sync: Sync, field: MappedField, known: readonly FieldInfo[]): CdpError | null {
  const { name, match, detail } = field
  const info = known.find((one) => one.name === name)
  if (info) {
    // What a record is found by is not written to it.
    if (info.readOnly && !match) return readOnly(sync, field)
    return typeProblem(sync, field, info)
  }
  // What finds a record need not be one of its fields: an id, a member's e-mail.
  if (match && Object.hasOwn(sync.spec.match, name)) return null
  const outer = sync.spec.nested ? outerField(name, known) : undefined
  if (outer) return outer.readOnly && !match ? readOnly(sync, field) : null
  const near = nearest(
    name,
    known.filter(({ readOnly }) => match || !readOnly).map((one) => one.name),
  )
  const hint = near === undefined ? 'Create it there, or take it out of the sync.' : `Did you mean "${near}"?`
  return new CdpError('CDP4009', `${sync.object} has no field "${name}".`, { ...detail, hint })
}

const readOnly = ({ object }: Sync, { name, detail }: MappedField): CdpError =>
  new CdpError('CDP4009', `The field "${name}" of ${object} can't be written: it is read-only there.`, {
    ...detail,
    hint: 'Take it out of the sync.',
  })

/** Where `address.city` is written into a field `address` that the service describes as one. */
function outerField(name: string, known: readonly FieldInfo[]): FieldInfo | undefined {
  const path = splitPath(name)
  const same = (one: FieldInfo): boolean => {
    const outer = splitPath(one.name)
    return outer.length <= path.length && outer.every((part, i) => part === path[i])
  }
  return known.find(same)
}

/** Types whose texts are the same when they are sent: a service that takes one takes the other. */
const ALIKE: readonly (readonly LogicalType[])[] = [
  ['timestamp', 'timestamptz'],
  ['decimal', 'float'],
]
const WIDER: Readonly<Partial<Record<LogicalType, readonly LogicalType[]>>> = { integer: ['decimal', 'float'] }

function takes(accepts: readonly LogicalType[], type: LogicalType): boolean {
  const alike = ALIKE.find((types) => types.includes(type)) ?? [type]
  return [...alike, ...(WIDER[type] ?? [])].some((one) => accepts.includes(one))
}

function typeProblem(sync: Sync, { name, detail, spec, type }: MappedField, { accepts }: FieldInfo): CdpError | null {
  if (!accepts || accepts.length === 0 || type === null || takes(accepts, type)) return null
  const column = spec === undefined ? name : spec.source.kind === 'column' ? spec.source.column : null
  const what = column === null ? `its value is of type ${type}` : `the column "${column}" gives ${type}`
  return new CdpError('CDP4019', `The field "${name}" of ${sync.object} takes ${either(accepts)}, and ${what}.`, {
    ...detail,
    hint: castHint(accepts, type, spec, column),
  })
}

const CASTS: readonly CastType[] = ['string', 'integer', 'decimal', 'float', 'boolean', 'date', 'timestamp', 'json']

function castHint(accepts: readonly LogicalType[], type: LogicalType, spec: FieldSpec | undefined, column: string | null): string {
  if (spec?.source.kind === 'value') return `Write the constant as ${either(accepts)}.`
  if (spec?.source.kind === 'meta') return 'Write it to another field.'
  const cast = CASTS.find((one) => takes(accepts, one) && castability(type, one) !== 'impossible')
  if (cast === undefined || column === null) return 'Cast it in the model.'
  const written = /^[\w]+$/.test(column) ? column : JSON.stringify(column)
  return `Cast it in the model, or here: { column: ${written}, type: ${cast} }.`
}

const either = (types: readonly string[]): string =>
  types.length < 2 ? types.join('') : `${types.slice(0, -1).join(', ')} or ${types.at(-1)}`

/** What looks up a record needs a connector that can, and an address needs all its parts. */
function lookupProblems(sync: Sync, destination: Destination): CdpError[] {
  const { name: connector } = sync.destination.connector
  return [...sync.match, ...sync.fields].flatMap((spec) => {
    if (spec.source.kind !== 'lookup') return []
    const any = sync.match.includes(spec) && typeof sync.spec.address === 'object' && sync.spec.address.match === 'any'
    if (destination.lookup && !any) return []
    const message = any
      ? `The match field "${spec.name}" is a lookup, and ${sync.object} finds its records by any one of its match fields.`
      : `The field "${spec.name}" is a lookup, and ${connector} can't look up records.`
    return [new CdpError('CDP4008', message, { ...detailOf(sync, spec), hint: 'Join the id in the model instead.' })]
  })
}
