/** What is wrong with a field's columns and types, found before any row is read. */
import { castability } from './cast.ts'
import type { FieldSpec } from './config/types.ts'
import { CdpError, ConfigErrors, nearest, type ErrorDetail } from './errors.ts'
import type { Choices } from './evaluate.ts'
import { impure } from './template.ts'
import type { LogicalType } from './types.ts'
import { canonical } from './values.ts'

/** Refuses a field that reads what the model does not have: CDP1300, CDP1303; CDP1304 for the time of day. */
export function checkInputs(
  spec: FieldSpec,
  inputs: readonly string[],
  columns: ReadonlyMap<string, LogicalType>,
  detail: ErrorDetail,
): void {
  if (spec.source.kind !== 'template') {
    const errors: CdpError[] = []
    checkNames(inputs, columns, detail, errors)
    if (errors.length > 0) throw new ConfigErrors(errors)
    return
  }
  for (const name of inputs) {
    if (columns.has(name)) continue
    if (name === 'now' || name === 'today') throw impure(name, detail)
    throw new CdpError('CDP1303', `The template reads "${name}", and the model has no such column.`, {
      hint: hintFor(name, columns),
      ...detail,
    })
  }
}

/** Adds CDP1300 for every name that is no column. */
export function checkNames(
  names: readonly string[],
  columns: ReadonlyMap<string, LogicalType>,
  detail: ErrorDetail,
  errors: CdpError[],
): void {
  for (const name of names) {
    if (columns.has(name)) continue
    errors.push(new CdpError('CDP1300', `The model has no column "${name}".`, { hint: hintFor(name, columns), ...detail }))
  }
}

function hintFor(name: string, columns: ReadonlyMap<string, LogicalType>): string {
  const like = nearest(name, columns.keys())
  return like === undefined ? `Its columns are ${[...columns.keys()].join(', ')}.` : `Did you mean "${like}"?`
}

/** Refuses keys of `map` that no value has (CDP1309) and casts that no value survives (CDP1307). */
export function checkTypes(spec: FieldSpec, [type]: readonly LogicalType[], { cells }: Choices, detail: ErrorDetail): void {
  if (spec.source.kind !== 'column' || type === undefined || spec.transform.length > 0) return
  for (const key of cells?.keys() ?? []) {
    const meant = canonicalKey(type, key)
    if (meant === key) continue
    const hint = meant === null ? `Its column holds ${type} values.` : `Write "${meant}": keys are compared as written.`
    throw new CdpError('CDP1309', `The \`map\` key "${key}" can't occur.`, { hint, ...detail })
  }
  if (spec.type === undefined || cells !== null || castability(type, spec.type) !== 'impossible') return
  const hint = 'Cast it in the model, or leave `type` out.'
  throw new CdpError('CDP1307', `A column of type ${type} can't become ${spec.type}.`, { hint, ...detail })
}

/** The canonical text that a key of `map` means; null when no value of the type has it. */
function canonicalKey(type: LogicalType, key: string): string | null {
  // Texts in base64 are no raw texts; whatever is written there may occur.
  if (type === 'bytes') return key
  try {
    return canonical(type, type.startsWith('timestamp') ? key.replace('T', ' ').replace(/Z$/, '') : key)
  } catch {
    return null
  }
}
