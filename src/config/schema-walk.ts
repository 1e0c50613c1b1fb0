/** Walks the JSON Schema of a zod schema beside a value: which keys are known there, which values are secret. */
import { z } from 'zod'
import type { Path } from './source.ts'

export interface Json {
  readonly [key: string]: unknown
}

const cache = new WeakMap<z.ZodType, Json>()

/** The JSON Schema of what a user writes. */
export function toJson(schema: z.ZodType): Json {
  const known = cache.get(schema)
  if (known) return known
  const json = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any', target: 'draft-7' }) as Json
  cache.set(schema, json)
  return json
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** The schema itself, or each branch of it that `value` may be meant for. */
function branches(root: Json, schema: unknown, value: unknown, depth = 0): Json[] {
  if (!isObject(schema) || depth > 16) return []
  const ref = schema['$ref']
  if (typeof ref === 'string') {
    const target =
      ref === '#'
        ? root
        : ref
            .split('/')
            .slice(1)
            .reduce<unknown>((at, part) => (isObject(at) ? at[part] : undefined), root)
    return branches(root, target, value, depth + 1)
  }
  const inner = [schema['anyOf'], schema['oneOf'], schema['allOf']].flatMap((list) => (Array.isArray(list) ? (list as unknown[]) : []))
  const found = [schema, ...inner.flatMap((branch) => branches(root, branch, value, depth + 1))]
  return found.filter((branch) => meant(branch, value))
}

/** A branch with a constant word (`type: postgres`) is meant only for values that carry it. */
function meant(schema: Json, value: unknown): boolean {
  const properties = schema['properties']
  if (!isObject(properties) || !isObject(value)) return true
  return Object.entries(properties).every(
    ([key, property]) =>
      !isObject(property) || typeof property['const'] !== 'string' || !(key in value) || property['const'] === value[key],
  )
}

function step(root: Json, schemas: readonly Json[], key: string | number, value: unknown): Json[] {
  return schemas.flatMap((schema) => {
    const properties = schema['properties']
    if (isObject(properties) && Object.hasOwn(properties, key)) return branches(root, properties[key], value)
    if (typeof key === 'number') return branches(root, schema['items'], value)
    return branches(root, schema['additionalProperties'], value)
  })
}

/** The keys that a mapping at `path` of `value` may have. */
export function keysAt(json: Json, path: Path, value: unknown): string[] {
  let schemas = branches(json, json, value)
  let at = value
  for (const part of path) {
    at = isObject(at) || Array.isArray(at) ? (at as Record<string | number, unknown>)[part] : undefined
    schemas = step(json, schemas, part, at)
  }
  return [...new Set(schemas.flatMap((schema) => (isObject(schema['properties']) ? Object.keys(schema['properties']) : [])))]
}

/** Paths of the values that stand where the schema wants a secret. */
export function secretPaths(json: Json, value: unknown): Path[] {
  const found: Path[] = []
  const visit = (schemas: readonly Json[], at: unknown, path: Path): void => {
    if (schemas.length === 0) return
    if (!isObject(at) && !Array.isArray(at)) {
      if (schemas.some((schema) => schema['secret'] === true)) found.push(path)
      return
    }
    const entries: [string | number, unknown][] = Array.isArray(at) ? [...at.entries()] : Object.entries(at)
    for (const [key, member] of entries) visit(step(json, schemas, key, member), member, [...path, key])
  }
  visit(branches(json, json, value), value, [])
  return found
}
