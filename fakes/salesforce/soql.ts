/** The part of SOQL that a sync needs: SELECT … FROM … WHERE … ORDER BY … LIMIT, with the errors Salesforce gives. */
import { type Field, findField, findObject, type ObjectType } from './schema.ts'
import type { Store, Stored } from './store.ts'
import { textOf } from './values.ts'

export interface QueryError {
  readonly errorCode: 'MALFORMED_QUERY' | 'INVALID_FIELD' | 'INVALID_TYPE'
  readonly message: string
}

export interface Selected {
  readonly type: ObjectType
  /** Null for COUNT(). */
  readonly fields: readonly string[] | null
  readonly records: readonly Stored[]
}

/** Salesforce app limits cheatsheet: SOQL statements are at most 100,000 characters. */
const MAX_QUERY = 100_000

type Test = (record: Stored) => boolean

/** A class: the place in a text that is being read. */
class Reader {
  readonly #tokens: string[]
  #at = 0

  constructor(text: string) {
    this.#tokens = text.match(/'(?:[^'\\]|\\.)*'|[A-Za-z_][\w.]*(?:\(\))?|-?\d[\w.:+-]*|!=|<>|<=|>=|[=<>(),]|\S/g) ?? []
  }

  peek(): string {
    return this.#tokens[this.#at] ?? ''
  }

  next(): string {
    return this.#tokens[this.#at++] ?? ''
  }

  is(word: string): boolean {
    if (this.peek().toUpperCase() !== word) return false
    this.#at++
    return true
  }

  expect(word: string): void {
    if (!this.is(word)) throw malformed(`unexpected token: '${this.peek()}'`)
  }
}

const malformed = (message: string): QueryError => ({ errorCode: 'MALFORMED_QUERY', message })

/** Runs a query. Returns the error Salesforce would answer with. */
export function runQuery(store: Store, text: string): Selected | QueryError {
  if (text.length > MAX_QUERY) return malformed('SOQL statements cannot be longer than 100000 characters.')
  try {
    return select(store, new Reader(text))
  } catch (error) {
    if (error instanceof Error) throw error
    return error as QueryError
  }
}

function select(store: Store, reader: Reader): Selected {
  reader.expect('SELECT')
  const names: string[] = []
  do names.push(reader.next())
  while (reader.is(','))
  reader.expect('FROM')
  const object = reader.next()
  const type = findObject(object)
  if (type === undefined) {
    const message = `sObject type '${object}' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the entity name.`
    throw { errorCode: 'INVALID_TYPE', message } satisfies QueryError
  }
  const count = names.length === 1 && names[0]?.toUpperCase() === 'COUNT()'
  if (!count) for (const name of names) read(store, type, name)
  let records = store.all(type)
  if (reader.is('WHERE')) records = records.filter(either(store, type, reader))
  if (reader.is('ORDER')) {
    reader.expect('BY')
    const by = read(store, type, reader.next())
    const back = reader.is('DESC') ? -1 : reader.is('ASC') ? 1 : 1
    records.sort((a, b) => back * compare(by.get(a), by.get(b)))
  }
  if (reader.is('LIMIT')) records = records.slice(0, Number(reader.next()))
  if (reader.peek() !== '') throw malformed(`unexpected token: '${reader.peek()}'`)
  return { type, fields: count ? null : names, records }
}

/** Reads a field, or one of a parent: `Account.Name`. */
function read(store: Store, type: ObjectType, name: string): { readonly field: Field; readonly get: (record: Stored) => unknown } {
  const [first = '', ...rest] = name.split('.')
  if (rest.length > 0) {
    const link = type.fields.find((one) => one.relationshipName?.toLowerCase() === first.toLowerCase())
    const parent = findObject(link?.referenceTo ?? '')
    if (link === undefined || parent === undefined)
      throw {
        errorCode: 'INVALID_FIELD',
        message: `Didn't understand relationship '${first}' in field path.`,
      } satisfies QueryError
    const inner = read(store, parent, rest.join('.'))
    return {
      field: inner.field,
      get: (record) => {
        const found = store.byId(parent, textOf(record[link.name]))
        return found === undefined ? null : inner.get(found)
      },
    }
  }
  const field = findField(type, name)
  if (field === undefined)
    throw { errorCode: 'INVALID_FIELD', message: `No such column '${name}' on entity '${type.name}'.` } satisfies QueryError
  return { field, get: (record) => record[field.name] ?? null }
}

function either(store: Store, type: ObjectType, reader: Reader): Test {
  const tests = [both(store, type, reader)]
  while (reader.is('OR')) tests.push(both(store, type, reader))
  return (record) => tests.some((test) => test(record))
}

function both(store: Store, type: ObjectType, reader: Reader): Test {
  const tests = [one(store, type, reader)]
  while (reader.is('AND')) tests.push(one(store, type, reader))
  return (record) => tests.every((test) => test(record))
}

function one(store: Store, type: ObjectType, reader: Reader): Test {
  if (reader.is('NOT')) {
    const test = one(store, type, reader)
    return (record) => !test(record)
  }
  if (reader.is('(')) {
    const test = either(store, type, reader)
    reader.expect(')')
    return test
  }
  const { field, get } = read(store, type, reader.next())
  if (field.type === 'textarea' && field.length > 255)
    throw { errorCode: 'INVALID_FIELD', message: `field '${field.name}' can not be filtered in a query call` } satisfies QueryError
  const negated = reader.is('NOT')
  if (reader.is('IN')) {
    reader.expect('(')
    const values: unknown[] = []
    do values.push(literal(field, reader.next()))
    while (reader.is(','))
    reader.expect(')')
    return (record) => values.some((value) => compare(get(record), value) === 0) !== negated
  }
  const operator = reader.next()
  const value = literal(field, reader.next())
  const order = (record: Stored): number => compare(get(record), value)
  switch (operator) {
    case '=':
      return (record) => order(record) === 0
    case '!=':
    case '<>':
      return (record) => order(record) !== 0
    case '<':
      return (record) => order(record) < 0
    case '>':
      return (record) => order(record) > 0
    case '<=':
      return (record) => order(record) <= 0
    case '>=':
      return (record) => order(record) >= 0
    default:
      throw malformed(`unexpected token: '${operator}'`)
  }
}

/** Texts stand in quotes, all else without. */
function literal(field: Field, token: string): unknown {
  if (/^null$/i.test(token)) return null
  const quoted = token.startsWith("'") && token.endsWith("'") && token.length > 1
  const bare = ['double', 'currency', 'int', 'boolean', 'date', 'datetime'].includes(field.type)
  if (token === '' || token === ')') throw malformed(`unexpected token: '${token || '<EOF>'}'`)
  if (quoted === bare)
    throw {
      errorCode: 'INVALID_FIELD',
      message: `value of filter criterion for field '${field.name}' must be of type ${field.type} and should ${bare ? 'not ' : ''}be enclosed in quotes`,
    } satisfies QueryError
  if (!quoted) return field.type === 'boolean' ? /^true$/i.test(token) : field.type.startsWith('date') ? token : numberOf(token)
  const text = token.slice(1, -1).replace(/\\(.)/g, (_, character: string) => ({ n: '\n', r: '\r', t: '\t' })[character] ?? character)
  return field.type === 'id' || field.type === 'reference' ? text.slice(0, 15) : text
}

/** Whole numbers that no float holds stay text, as they are stored. */
function numberOf(token: string): number | string {
  const exact = /^-?\d+(\.0+)?$/.test(token) && !Number.isSafeInteger(Number(token))
  return exact ? token.replace(/\..*/, '') : Number(token)
}

/** Texts compare without case; ids by their first 15 characters, with case. */
function compare(a: unknown, b: unknown): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? -1 : 1
  if (typeof a === 'number' && typeof b === 'number') return a - b
  const isId = typeof a === 'string' && /^[a-zA-Z0-9]{18}$/.test(a) && typeof b === 'string' && b.length === 15 && a.startsWith(b)
  if (isId) return 0
  const left = textOf(a).toLowerCase()
  const right = textOf(b).toLowerCase()
  return left < right ? -1 : left > right ? 1 : 0
}

/** A record as a query returns it: with `attributes`, and parents nested. */
export function shown(store: Store, type: ObjectType, names: readonly string[], record: Stored, version: string): Stored {
  const id = String(record['Id'])
  const out: Stored = { attributes: { type: type.name, url: `/services/data/${version}/sobjects/${type.name}/${id}` } }
  const parents = new Map<string, string[]>()
  for (const name of names) {
    const [first = '', ...rest] = name.split('.')
    if (rest.length > 0) parents.set(first, [...(parents.get(first) ?? []), rest.join('.')])
    else out[findField(type, name)?.name ?? name] = read(store, type, name).get(record)
  }
  for (const [relationship, inner] of parents) {
    const link = type.fields.find((field) => field.relationshipName?.toLowerCase() === relationship.toLowerCase())
    const target = findObject(link?.referenceTo ?? '')
    const parent = target && store.byId(target, textOf(record[link?.name ?? '']))
    out[link?.relationshipName ?? relationship] = target && parent ? shown(store, target, inner, parent, version) : null
  }
  return out
}
