/** Syncs with only the parts that a mapping reads. */
import type { Constant, FieldSource, FieldSpec, Sync } from '../../src/config/types.ts'
import { ConfigErrors, type CdpError } from '../../src/errors.ts'
import { compileMapping, type CompiledField } from '../../src/mapping.ts'
import type { Column, LogicalType } from '../../src/types.ts'

export function field(name: string, source: FieldSource | string, rest: Partial<FieldSpec> = {}): FieldSpec {
  return {
    name,
    source: typeof source === 'string' ? { kind: 'column', column: source } : source,
    transform: [],
    nulls: 'clear',
    nullsWritten: false,
    write: 'always',
    sensitive: false,
    where: `syncs/a.yaml:9:3`,
    ...rest,
  }
}

export const template = (text: string): FieldSource => ({ kind: 'template', template: text })
export const text = (value: string): Constant => ({ kind: 'string', text: value })
export const number = (value: string): Constant => ({ kind: 'number', text: value })

export function sync(parts: { match?: FieldSpec[]; fields?: FieldSpec[]; star?: Sync['star']; key?: string[]; nested?: boolean }): Sync {
  return {
    name: 'a',
    model: { key: parts.key ?? [] },
    spec: { nested: parts.nested ?? false },
    destination: { connector: { objects: { User: { match: { Email: 'email' } } } }, config: {} },
    options: {},
    match: parts.match ?? [],
    fields: parts.fields ?? [],
    star: parts.star ?? null,
    locate: () => 'syncs/a.yaml:4:3',
    frame: () => undefined,
  } as unknown as Sync
}

export function columns(types: Record<string, LogicalType>): Column[] {
  return Object.entries(types).map(([name, type]) => ({ name, type, native: type }))
}

/** One field compiled against columns of these types. */
export function compiled(spec: FieldSpec, types: Record<string, LogicalType>): CompiledField {
  const [only] = compileMapping(sync({ fields: [spec] }), columns(types)).fields
  if (only === undefined) throw new Error('no field')
  return only
}

/** The cell of one field for one row. */
export function cell(spec: FieldSpec, types: Record<string, LogicalType>, row: Record<string, string | null>): string | null {
  const { inputs, evaluate } = compiled(spec, types)
  return evaluate(inputs.map((name) => row[name] ?? null))
}

/** The problems that compiling reports. */
export function problems(compile: () => unknown): readonly CdpError[] {
  try {
    compile()
  } catch (error) {
    if (error instanceof ConfigErrors) return error.errors
    throw error
  }
  return []
}
