/** Reads JSON of which nothing is promised. */
import { encodeJson, RawJson, type Value } from '../../src/index.ts'

export type Json = Readonly<Record<string, Value>>

export function isObject(value: Value | undefined): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof RawJson)
}

/** The objects in a member that is a list; none when it is not there. */
export function listOf(value: Value | undefined, name: string): Json[] {
  const list = isObject(value) ? value[name] : undefined
  return Array.isArray(list) ? (list as readonly Value[]).filter(isObject) : []
}

/** The texts in a member that is a list; undefined when it is none. */
export function textsOf(value: Value | undefined, name: string): string[] | undefined {
  const list = isObject(value) ? value[name] : undefined
  return Array.isArray(list) ? (list as readonly Value[]).flatMap((item) => textOf(item) ?? []) : undefined
}

/** A text, or a number in its own digits. */
export function textOf(value: Value | undefined): string | undefined {
  if (typeof value === 'string') return value
  return typeof value === 'number' || value instanceof RawJson ? encodeJson(value) : undefined
}
