/** Reading Braze's JSON without believing in its shape. */
import { type HttpReply, RawJson, UnknownOutcome, type Value } from '../../src/index.ts'

export type Json = Readonly<Record<string, Value>>

export function isObject(value: Value | undefined): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof RawJson)
}

/** The reply's object. Throws UnknownOutcome when it is none. */
export function objectOf(reply: HttpReply): Json {
  const body = reply.json()
  if (!isObject(body)) throw new UnknownOutcome('no_object', 'Braze answered with JSON that is no object.')
  return body
}

/** The objects of a list; none when it is no list. */
export const objectsIn = (value: Value | undefined): readonly Json[] =>
  (Array.isArray(value) ? (value as readonly Value[]) : []).filter(isObject)

export const textIn = (value: Value | undefined): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)

/** Why a row is not sent. */
export interface Problem {
  readonly code: string
  readonly message: string
  readonly field: string
}
