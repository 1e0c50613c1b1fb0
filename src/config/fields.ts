/** Builds the mapping of a sync: match, fields and the star. */
import { isMap } from 'yaml'
import { nearest } from '../errors.ts'
import { splitPath } from '../nest.ts'
import type { FieldFile } from './schema-sync.ts'
import { keyText, nodeAt, spotAt, whereOf } from './source.ts'
import type { Path } from './source.ts'
import type { Building } from './sync.ts'
import type { Constant, FieldSource, FieldSpec, Sync } from './types.ts'
import { constantAt } from './values.ts'

export type Mapping = Pick<Sync, 'match' | 'fields' | 'star'>

export function buildFields(building: Building): Mapping {
  const { draft } = building
  const match = buildMatch(building)
  const fields: FieldSpec[] = []
  let star: Sync['star'] = null
  for (const [name, value] of Object.entries(draft.file.fields ?? {})) {
    if (name === '*') continue
    if (name === '') building.fail('CDP1142', ['fields'], 'A field must have a name.', undefined, 'key')
    const field = fieldSpec(building, name, value as string | FieldFile, ['fields', name])
    checkWrite(building, field)
    if (!repeatsMatch(building, field, match)) fields.push(field)
  }
  const written = draft.file.fields?.['*']
  if (written) {
    const nulls = written.nulls ?? draft.file.nulls
    star = {
      except: written.except ?? [],
      nulls: nulls ?? 'clear',
      nullsWritten: nulls === 'clear',
      where: whereAt(building, ['fields', '*']),
    }
  }
  if (building.spec.nested)
    checkNesting(building, [...match.map((field) => ['match', field.name]), ...fields.map((field) => ['fields', field.name])])
  return { match, fields, star }
}

function whereAt({ draft }: Building, path: Path): string {
  const place = draft.part.locate(path)
  return whereOf(spotAt(place.reading.source, place.path, 'key'))
}

function buildMatch(building: Building): FieldSpec[] {
  const { draft, spec, fail } = building
  const known = Object.keys(spec.match)
  const takesAny = known.includes('*')
  const written = Object.entries(draft.file.match ?? {})
  // A default for destinations that match is no fault of one that does not.
  if (known.length === 0 && !draft.own('match')) return []
  if (spec.address !== 'key' && written.length === 0) {
    const names = known.filter((name) => name !== '*')
    fail(
      'CDP1130',
      [draft.own('match') ? 'match' : draft.own('object') ? 'object' : 'destination'],
      `${draft.reading.source.file} has no match: this destination finds its records by it.`,
      names.length ? `It knows ${names.join(', ')}.` : 'For example match: { email: email }.',
    )
  }
  return written.map(([name, value]) => {
    if (!takesAny && !Object.hasOwn(spec.match, name)) {
      const near = nearest(name, known)
      const hint = near
        ? `Did you mean "${near}"?`
        : known.length
          ? `It knows ${known.join(', ')}.`
          : 'Remove match; records are found by the key.'
      fail('CDP1131', ['match', name], `"${name}" is no match field of this object.`, hint, 'key')
    }
    return fieldSpec(building, name, value, ['match', name])
  })
}

function fieldSpec({ draft }: Building, name: string, value: string | FieldFile, path: Path): FieldSpec {
  const place = draft.part.locate(path)
  const { reading } = place
  const where = whereOf(spotAt(reading.source, place.path, 'key'))
  const file: Partial<FieldFile> = typeof value === 'string' ? { column: value } : value
  const nulls = file.nulls ?? draft.file.nulls
  const node = nodeAt(reading.source, [...place.path, 'map'])
  const map = new Map<string, Constant>()
  if (isMap(node)) {
    for (const { key } of node.items) {
      const text = keyText(key)
      if (text !== null) map.set(text, constantAt(reading, [...place.path, 'map', text]))
    }
  }
  return {
    name,
    source: sourceOf(file, () => constantAt(reading, [...place.path, 'value'])),
    ...(file.map ? { map } : {}),
    ...(file.default !== undefined ? { default: constantAt(reading, [...place.path, 'default']) } : {}),
    transform: file.transform ?? [],
    ...(file.type ? { type: file.type } : {}),
    nulls: nulls ?? 'clear',
    nullsWritten: nulls === 'clear',
    write: file.write ?? 'always',
    sensitive: file.sensitive ?? false,
    where,
  }
}

function sourceOf(file: Partial<FieldFile>, value: () => Constant): FieldSource {
  if (file.column !== undefined) return { kind: 'column', column: file.column }
  if (file.template !== undefined) return { kind: 'template', template: file.template }
  if (file.meta !== undefined) return { kind: 'meta', meta: file.meta }
  if (file.lookup !== undefined) return { kind: 'lookup', object: file.lookup, match: file.match ?? {}, onMiss: file.on_miss ?? 'reject' }
  return { kind: 'value', value: value() }
}

function checkWrite({ spec, fail }: Building, field: FieldSpec): void {
  const can = field.write === 'always' || (field.write === 'on_create' ? spec.onCreate : spec.ifEmpty)
  if (can) return
  const hint = 'Remove write, or leave the field out.'
  fail(
    'CDP1141',
    ['fields', field.name, 'write'],
    `This object can’t write a field ${field.write === 'on_create' ? 'on create only' : 'only if it is empty'}.`,
    hint,
  )
}

/** The column of a field that is nothing but a column. */
const plainColumn = ({ source, map, transform, type, default: fallback }: FieldSpec): string | null =>
  source.kind === 'column' && !map && !transform.length && !type && fallback === undefined ? source.column : null

/** A match field is part of the payload already: naming it again with the same column adds nothing. */
function repeatsMatch({ fail }: Building, field: FieldSpec, match: readonly FieldSpec[]): boolean {
  const same = match.find((other) => other.name === field.name)
  if (!same) return false
  if (plainColumn(field) === null || plainColumn(field) !== plainColumn(same)) {
    fail(
      'CDP1132',
      ['fields', field.name],
      `"${field.name}" is a match field and would get another value here.`,
      'A match field is written on create; remove it from fields.',
    )
  }
  return true
}

/** A dot is a path there: `a` can’t be a value and hold `a.b` at once. */
function checkNesting({ fail }: Building, names: readonly (readonly string[])[]): void {
  const parts = new Map(names.map(([, name = '']) => [splitPath(name).join('\u0000'), name]))
  for (const [section = '', name = ''] of names) {
    const path = splitPath(name)
    for (let i = 1; i < path.length; i++) {
      const outer = parts.get(path.slice(0, i).join('\u0000'))
      if (outer === undefined) continue
      fail(
        'CDP1142',
        [section, name],
        `"${name}" lies inside "${outer}", which is a field of its own.`,
        'Write \\. for a dot that is no path.',
        'key',
      )
    }
  }
}
