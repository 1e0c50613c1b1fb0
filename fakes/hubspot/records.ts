/** The records of the fake portal: found by id or by a unique value, written a property at a time, each write with its undoing. */
import type { FakeControl } from '../../src/testing/fake.ts'
import { type BadValue, convert, type ObjectType, STAGES, TYPES } from './schema.ts'

/** Writes show in search this many milliseconds later: HubSpot's index lags behind by seconds. */
const INDEX_LAG = 2000
/** Longest value of a text property (HubSpot Knowledge Base, "Property field types": 65,536 characters). */
const LONGEST_TEXT = 65_536

export interface Stored {
  readonly id: string
  readonly createdAt: number
  updatedAt: number
  properties: Record<string, string>
  /** As search still shows it; null: not at all. */
  searchable: Record<string, string> | null
}

/** Properties to write, as JSON had them. */
export type Values = Readonly<Record<string, string | number | boolean | null>>

/** Why a record can't be written. */
export type Trouble =
  | { readonly kind: 'values'; readonly values: readonly BadValue[] }
  | { readonly kind: 'conflict'; readonly existing: string }
  | { readonly kind: 'incomplete'; readonly message: string }

/** A class: one store with an index that every endpoint shares. */
export class Records {
  readonly #control: FakeControl
  readonly #byType = new Map(TYPES.map((type) => [type.id, new Map<string, Stored>()]))
  /** `type property value` -> record id. A contact's further addresses are under `email` too. */
  readonly #unique = new Map<string, string>()
  /** Ids rise from the second of the start on: those that an earlier portal gave are nobody's in this one. */
  #lastId: number

  constructor(control: FakeControl) {
    this.#control = control
    this.#lastId = Math.floor(control.now() / 1000) * 100
  }

  all(type: ObjectType): Stored[] {
    return [...(this.#byType.get(type.id)?.values() ?? [])]
  }

  byId(type: ObjectType, id: string): Stored | undefined {
    return this.#byType.get(type.id)?.get(id)
  }

  /** By a property whose values are unique; a contact also by its further e-mail addresses. */
  byUnique(type: ObjectType, property: string, value: string): Stored | undefined {
    return this.byId(type, this.#unique.get(uniqueKey(type, property, value)) ?? '')
  }

  /** A property by whose value records can be found and upserted. */
  isUnique(type: ObjectType, property: string): boolean {
    return (type.id === '0-1' && property === 'email') || type.properties.get(property)?.unique === true
  }

  /** Creates a record or says why not, and what takes it back. */
  create(type: ObjectType, properties: Values): { stored: Stored; undo: () => void } | Trouble {
    const now = this.#control.now()
    const stored: Stored = { id: String(++this.#lastId), createdAt: now, updatedAt: now, properties: {}, searchable: null }
    this.#byType.get(type.id)?.set(stored.id, stored)
    const remove = (): void => void this.#byType.get(type.id)?.delete(stored.id)
    const trouble = this.#write(type, stored, properties)
    if ('kind' in trouble) {
      remove()
      return trouble
    }
    const { email, firstname, lastname } = stored.properties
    if (type.id === '0-1' && !email && !firstname && !lastname) {
      trouble.undo()
      remove()
      return { kind: 'incomplete', message: 'A contact needs at least one of: email, firstname, lastname' }
    }
    const undo = (): void => {
      trouble.undo()
      remove()
    }
    return { stored, undo }
  }

  update(type: ObjectType, stored: Stored, properties: Values): { stored: Stored; undo: () => void } | Trouble {
    const now = this.#control.now()
    const before = { updatedAt: stored.updatedAt, searchable: stored.searchable }
    if (now - stored.updatedAt >= INDEX_LAG) stored.searchable = { ...stored.properties }
    const done = this.#write(type, stored, properties)
    if ('kind' in done) {
      Object.assign(stored, before)
      return done
    }
    stored.updatedAt = now
    const undo = (): void => {
      done.undo()
      Object.assign(stored, before)
    }
    return { stored, undo }
  }

  /** True when there was one. Restorable for 90 days there; forgotten here. */
  archive(type: ObjectType, id: string): boolean {
    const stored = this.byId(type, id)
    if (stored === undefined) return false
    for (const key of this.#keysOf(type, stored)) this.#unique.delete(key)
    return this.#byType.get(type.id)?.delete(id) === true
  }

  /** As search sees it now. */
  searchView(stored: Stored): Record<string, string> | null {
    return this.#control.now() - stored.updatedAt >= INDEX_LAG ? stored.properties : stored.searchable
  }

  #keysOf(type: ObjectType, { properties }: Stored): string[] {
    const names = Object.keys(properties).filter((name) => this.isUnique(type, name))
    const more = type.id === '0-1' ? (properties['hs_additional_emails'] ?? '').split(';').filter(Boolean) : []
    return [...names.map((name) => uniqueKey(type, name, properties[name] ?? '')), ...more.map((email) => uniqueKey(type, 'email', email))]
  }

  #write(type: ObjectType, stored: Stored, values: Values): { undo: () => void } | Trouble {
    const before = stored.properties
    const keysBefore = this.#keysOf(type, stored)
    const next = { ...before }
    const bad: BadValue[] = []
    for (const [name, value] of Object.entries(values)) {
      const property = type.properties.get(name)
      if (property === undefined) {
        bad.push({ isValid: false, message: `Property "${name}" does not exist`, error: 'PROPERTY_DOESNT_EXIST', name })
        continue
      }
      // Taken without a word, and nothing is cleared: only '' clears (HubSpot/hubspot-api-nodejs, issue 324).
      if (value === null) continue
      const text = String(value)
      const converted = text.length > LONGEST_TEXT ? tooLong(name, text) : convert(type, property, text)
      if (typeof converted !== 'string') bad.push(converted)
      else if (converted === '') delete next[name]
      else next[name] = merged(name, property.fieldType, before[name], converted)
    }
    if (bad.length > 0) return { kind: 'values', values: bad }
    if (type.id === '0-1') keepAddresses(before, next)
    stored.properties = next
    const keys = this.#keysOf(type, stored)
    const taken = keys.find((key) => (this.#unique.get(key) ?? stored.id) !== stored.id)
    if (taken !== undefined) {
      stored.properties = before
      return this.#conflict(type, stored, taken)
    }
    for (const key of keysBefore) this.#unique.delete(key)
    for (const key of keys) this.#unique.set(key, stored.id)
    const undo = (): void => {
      stored.properties = before
      for (const key of keys) this.#unique.delete(key)
      for (const key of keysBefore) this.#unique.set(key, stored.id)
    }
    return { undo }
  }

  #conflict(type: ObjectType, stored: Stored, key: string): Trouble {
    const existing = this.#unique.get(key) ?? ''
    const [, name = '', value = ''] = key.split('\n')
    if (type.id === '0-1' && name === 'email') return { kind: 'conflict', existing }
    const message = `Cannot set ${name}=${value} on ${stored.id}. ${existing} already has that value.`
    return { kind: 'values', values: [{ isValid: false, message, error: 'CONFLICTING_UNIQUE_VALUE', name }] }
  }
}

function uniqueKey(type: ObjectType, property: string, value: string): string {
  const email = type.id === '0-1' && property === 'email'
  return `${type.id}\n${property}\n${email ? value.trim().toLowerCase() : value.trim()}`
}

function tooLong(name: string, text: string): BadValue {
  return { isValid: false, message: `${name} is ${text.length} characters long, more than ${LONGEST_TEXT}`, error: 'VALUE_TOO_LONG', name }
}

function merged(name: string, fieldType: string, before: string | undefined, value: string): string {
  // A leading semicolon adds to what is ticked.
  if (fieldType === 'checkbox' && value.startsWith(';'))
    return [...new Set([...(before ?? '').split(';'), ...value.split(';')])].filter(Boolean).join(';')
  // Backwards only after the stage was cleared; otherwise the write is taken and changes nothing.
  if (name === 'lifecyclestage' && before !== undefined && STAGES.indexOf(value) < STAGES.indexOf(before)) return before
  return value
}

/** A new first address that was one of the others swaps places with it. */
function keepAddresses(before: Readonly<Record<string, string>>, next: Record<string, string>): void {
  const email = next['email']
  const others = (next['hs_additional_emails'] ?? '')
    .split(';')
    .map((other) => other.trim().toLowerCase())
    .filter(Boolean)
  const rest =
    email !== undefined && others.includes(email) ? others.map((other) => (other === email ? (before['email'] ?? '') : other)) : others
  const kept = [...new Set(rest)].filter((other) => other !== '' && other !== email)
  if (kept.length > 0) next['hs_additional_emails'] = kept.join(';')
  else delete next['hs_additional_emails']
}
