/** Whose profile a row is about: the one kind of identifier that its match names. */
import { encodeJson, type Fields, Refused, type Value } from '../../src/index.ts'

export type Kind = 'external_id' | 'user_alias' | 'braze_id' | 'email' | 'phone'

export interface Identity {
  readonly kind: Kind
  /** As it stands in a request: a text, or the alias as an object. */
  readonly value: string | { readonly alias_name: string; readonly alias_label: string }
}

const ALIAS = ['user_alias.alias_name', 'user_alias.alias_label'] as const

/** Throws Refused for a match of none or several kinds. */
export function identityOf(match: Fields): Identity {
  const names = Object.keys(match)
  const [first = ''] = names
  const [name, label] = ALIAS.map((part) => match[part])
  if (names.length === 2 && name !== undefined && label !== undefined)
    return { kind: 'user_alias', value: { alias_name: textOf(name), alias_label: textOf(label) } }
  if (names.length !== 1 || first.startsWith('user_alias'))
    throw new Refused('bad_match', `A profile is found by external_id, email, phone, braze_id, or both of ${ALIAS.join(' and ')}.`, 0)
  return { kind: first as Kind, value: textOf(match[first]) }
}

/** An id that is a number is sent as its digits: Braze knows texts only. */
const textOf = (value: Value | undefined): string => (typeof value === 'string' ? value : encodeJson(value))

/** One text per identity; e-mails do not mind case. */
export const identityKey = ({ kind, value }: Identity): string =>
  typeof value === 'string' ? (kind === 'email' ? value.toLowerCase() : value) : JSON.stringify([value.alias_label, value.alias_name])
