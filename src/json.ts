/** JSON with exact numbers: a bigint or a decimal never passes through a float. */
import { isSafeNumber, parse } from 'lossless-json'

/** JSON text that is sent as it stands: how a number that no float can hold travels. */
export class RawJson {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
  /** For people and logs; `encodeJson` never calls it. */
  toString(): string {
    return this.text
  }
}

/** A value a destination can be sent. Numbers that a float holds exactly are `number`, others `RawJson`. */
export type Value = string | number | boolean | null | RawJson | readonly Value[] | { readonly [field: string]: Value }

/** Destination field -> value. */
export type Fields = Readonly<Record<string, Value>>

/** Encodes like JSON.stringify, but writes RawJson as it stands and leaves `undefined` members out. */
export function encodeJson(value: Value | undefined | object): string {
  if (value === null || value === undefined) return 'null'
  if (value instanceof RawJson) return value.text
  if (typeof value === 'bigint') return String(value)
  if (typeof value !== 'object') return JSON.stringify(value)
  if (Array.isArray(value)) {
    let text = '['
    for (let i = 0; i < value.length; i++) text += (i ? ',' : '') + encodeJson(value[i] as Value)
    return text + ']'
  }
  let text = '{'
  for (const name of Object.keys(value)) {
    const member = (value as Record<string, Value | undefined>)[name]
    if (member === undefined) continue
    text += (text.length > 1 ? ',' : '') + JSON.stringify(name) + ':' + encodeJson(member)
  }
  return text + '}'
}

/** Parses JSON; numbers that a float can't hold become RawJson with their digits. Throws SyntaxError. */
export function decodeJson(text: string): Value {
  return parse(text, null, {
    parseNumber: (digits: string) => (isSafeNumber(digits) ? Number(digits) : new RawJson(digits)),
  }) as Value
}

/** A number written exactly: a float where that holds all digits, else RawJson. */
export function exactNumber(digits: string): number | RawJson {
  const float = Number(digits)
  return String(float) === digits ? float : new RawJson(digits)
}
