/** Reading Zendesk's replies: members, texts and ids of JSON whose shape nobody vouches for. */
import { encodeJson, type Fields, RawJson, type Value } from '../../src/index.ts'

export function isObject(value: Value | undefined): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof RawJson)
}

/** A member of an object; undefined when there is none. */
export function member(value: Value | undefined, name: string): Value | undefined {
  return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined
}

/** The objects of a list; undefined when it is no list. */
export function objects(value: Value | undefined): Fields[] | undefined {
  return Array.isArray(value) ? (value as readonly Value[]).filter(isObject) : undefined
}

/** A text, or a number with all its digits; undefined for anything else and for an empty text. */
export function text(value: Value | undefined): string | undefined {
  if (typeof value === 'number' || value instanceof RawJson) return encodeJson(value)
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** How Zendesk compares external ids, e-mail addresses and names. */
export const same = (a: string | undefined, b: string | undefined): boolean =>
  a !== undefined && b !== undefined && a.toLowerCase() === b.toLowerCase()
