/** Finds records by values of their fields, with SOQL. */
import { encodeJson, type Fields, RawJson, Refused, UnknownOutcome, type Value } from '../../src/index.ts'
import type { Api, Json } from './client.ts'
import { type Described, type Field, fullId, ID } from './schema.ts'

/** Characters of a query once encoded: the URL with all headers may have 16,384 bytes (Salesforce app limits cheatsheet). */
const LONGEST = 12_000
const BARE = new Set(['int', 'long', 'double', 'currency', 'percent', 'boolean', 'date', 'datetime'])

/** Index i answers matches[i]: every record that has these values, with its Id and the fields asked for. */
export async function find(
  api: Api,
  described: Described,
  matches: readonly Fields[],
  select: readonly string[] = [],
  where?: string,
): Promise<readonly (readonly Json[])[]> {
  const found = matches.map((): Json[] => [])
  const byNames = new Map<string, number[]>()
  for (const [i, match] of matches.entries()) {
    const names = Object.keys(match).sort()
    const conditions = names.map((name) => literal(fieldOf(described, name), match[name] ?? null))
    // What can't be a value of the field can't be found by it.
    if (names.length > 0 && !conditions.includes(null)) byNames.set(names.join(' '), [...(byNames.get(names.join(' ')) ?? []), i])
  }
  for (const [joined, indexes] of byNames) {
    const fields = joined.split(' ').map((name) => fieldOf(described, name))
    const columns = [...new Set(['Id', ...fields.map(({ name }) => name), ...select])].join(', ')
    const byValue = new Map<string, number[]>()
    for (const i of indexes) {
      const key = keyOf(fields, matches[i] ?? {})
      byValue.set(key, [...(byValue.get(key) ?? []), i])
    }
    for (const condition of conditionsOf(
      fields,
      [...byValue.values()].map(([i = 0]) => matches[i] ?? {}),
    )) {
      const also = where === undefined ? '' : ` AND ${where}`
      for await (const record of api.query(`SELECT ${columns} FROM ${described.name} WHERE (${condition})${also}`))
        for (const i of byValue.get(keyOf(fields, record)) ?? []) found[i]?.push(record)
    }
  }
  return found
}

/** The id of a record that was read. Throws when the reply has none. */
export function idOf(record: Json | undefined): string {
  const id = record?.['Id']
  if (typeof id === 'string') return id
  throw new UnknownOutcome('bad_reply', 'A record in the reply has no Id.')
}

function fieldOf(described: Described, name: string): Field {
  const field = described.fields.get(name)
  if (field === undefined) throw new Refused('INVALID_FIELD', `${described.name} has no field "${name}", or the user may not see it.`, 400)
  return field
}

/** One field: `A IN (…)`; several: `(A = … AND B = …) OR …`; as many as fit a URL each. */
function* conditionsOf(fields: readonly Field[], matches: readonly Fields[]): Iterable<string> {
  const [only, ...more] = fields
  const single = more.length === 0 ? only : undefined
  const partOf = (match: Fields): string =>
    single === undefined
      ? `(${fields.map((field) => `${field.name} = ${literal(field, match[field.name] ?? null)}`).join(' AND ')})`
      : (literal(single, match[single.name] ?? null) ?? '')
  const joinParts = (parts: readonly string[]): string =>
    single === undefined ? parts.join(' OR ') : `${single.name} IN (${parts.join(',')})`
  let parts: string[] = []
  let length = 0
  for (const match of matches) {
    const part = partOf(match)
    const size = new URLSearchParams({ q: part }).toString().length + 12
    if (parts.length > 0 && length + size > LONGEST) {
      yield joinParts(parts)
      parts = []
      length = 0
    }
    parts.push(part)
    length += size
  }
  if (parts.length > 0) yield joinParts(parts)
}

/** A value as SOQL has it; null when no record can have it. */
function literal(field: Field, value: Value): string | null {
  if (value === null || (typeof value === 'object' && !(value instanceof RawJson))) return null
  const text = (typeof value === 'string' ? value : encodeJson(value)).trim()
  // Nothing in quotes would find the records that have no value.
  if (text === '') return null
  if (field.type === 'id' || field.type === 'reference') return ID.test(text) ? `'${text}'` : null
  // Bare literals are taken apart by Salesforce: only what has their form may stand there.
  if (BARE.has(field.type)) return /^[\w.:+-]+$/.test(text) ? text : null
  return `'${text.replace(/[\\']/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\r', '\\r').replaceAll('\t', '\\t')}'`
}

const keyOf = (fields: readonly Field[], values: Fields): string =>
  JSON.stringify(fields.map((field) => comparable(field, values[field.name] ?? null)))

/** Two values that SOQL takes for equal have one text: case does not count, nor what follows the 15th character of an id. */
export function comparable({ type, caseSensitive }: Pick<Field, 'type' | 'caseSensitive'>, value: Value): string {
  const text = (typeof value === 'string' ? value : encodeJson(value)).trim()
  if (type === 'id' || type === 'reference') return fullId(text).slice(0, 15)
  if (type === 'datetime' || type === 'date') return String(Date.parse(text.replace(/\+0000$/, 'Z')))
  // A float does not tell numbers of 17 digits apart.
  if (BARE.has(type))
    return type === 'boolean' ? text : /^-?\d+(\.0+)?$/.test(text) ? String(BigInt(text.replace(/\..*/, ''))) : String(Number(text))
  return caseSensitive ? text : text.toLowerCase()
}
