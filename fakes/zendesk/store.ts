/** Users and organizations of one Zendesk account: how they are found, created, changed and deleted. */
import type { FakeControl } from '../../src/testing/fake.ts'
import { assign, blank, type Field, ORGANIZATION_FIELDS, USER_FIELDS } from './fields.ts'
import { type Details, invalidAttribute, type Json, notFound, recordInvalid, Refusal } from './replies.ts'

export type Kind = 'user' | 'organization'

type Type = 'string' | 'boolean' | 'integer' | 'array' | 'object'

/** Attributes that a request may set ("Users" and "Organizations", JSON format). All others are dropped. */
const WRITABLE: Readonly<Record<Kind, Readonly<Record<string, Type>>>> = {
  user: {
    alias: 'string',
    custom_role_id: 'integer',
    default_group_id: 'integer',
    details: 'string',
    email: 'string',
    external_id: 'string',
    identities: 'array',
    locale: 'string',
    locale_id: 'integer',
    moderator: 'boolean',
    name: 'string',
    notes: 'string',
    only_private_comments: 'boolean',
    organization: 'object',
    organization_id: 'integer',
    phone: 'string',
    remote_photo_url: 'string',
    restricted_agent: 'boolean',
    role: 'string',
    shared_phone_number: 'boolean',
    signature: 'string',
    skip_verify_email: 'boolean',
    suspended: 'boolean',
    tags: 'array',
    ticket_restriction: 'string',
    time_zone: 'string',
    user_fields: 'object',
    verified: 'boolean',
  },
  organization: {
    details: 'string',
    domain_names: 'array',
    external_id: 'string',
    group_id: 'integer',
    name: 'string',
    notes: 'string',
    organization_fields: 'object',
    shared_comments: 'boolean',
    shared_tickets: 'boolean',
    tags: 'array',
  },
}

export interface Identity {
  id: number
  type: string
  value: string
  primary: boolean
  verified: boolean
}

/** One record; `identities` are e-mail addresses and phone numbers of a user, kept beside the record. */
export interface Row {
  readonly record: Json & { id: number }
  readonly identities: Identity[]
}

/** Whether the record is new, and the record. */
export interface Saved {
  readonly created: boolean
  readonly row: Row
}

// An account is state: users, organizations and the counter of ids.
export class Store {
  readonly users = new Map<number, Row>()
  readonly organizations = new Map<number, Row>()
  readonly deleted = new Map<number, Row>()
  readonly fields: Record<Kind, Field[]> = { user: [...USER_FIELDS], organization: [...ORGANIZATION_FIELDS] }
  readonly #control: FakeControl
  #ids = 32_149_551_391_000

  constructor(control: FakeControl) {
    this.#control = control
  }

  nextId(): number {
    return (this.#ids += 17)
  }

  rows(kind: Kind): Map<number, Row> {
    return kind === 'user' ? this.users : this.organizations
  }

  now(): string {
    return new Date(this.#control.now()).toISOString().replace(/\.\d+Z$/, 'Z')
  }

  /** External ids are compared without regard to case. */
  byExternalId(kind: Kind, externalId: unknown): Row | undefined {
    if (typeof externalId !== 'string' || externalId === '') return undefined
    return [...this.rows(kind).values()].find((row) => same(row.record['external_id'], externalId))
  }

  /** By any of the user's addresses, primary or not. */
  byEmail(email: unknown): Row | undefined {
    if (typeof email !== 'string' || email === '') return undefined
    return [...this.users.values()].find((row) =>
      row.identities.some((identity) => identity.type === 'email' && same(identity.value, email)),
    )
  }

  /** `id`, `external_id` and, of a user, `email` name the record. Throws Refusal 404 for an unknown id. */
  find(kind: Kind, input: Json): Row | undefined {
    if (input['id'] !== undefined && input['id'] !== null) {
      const row = this.rows(kind).get(Number(input['id']))
      if (row === undefined) throw new Refusal(notFound())
      return row
    }
    return this.byExternalId(kind, input['external_id']) ?? (kind === 'user' ? this.byEmail(input['email']) : undefined)
  }

  /** Creates or, given `row`, changes a record. Throws Refusal 422. Returns the names that were dropped with it. */
  save(kind: Kind, input: Json, row: Row | undefined): Saved {
    const details: Details = {}
    const record: Json = row === undefined ? this.#blank(kind) : structuredClone(row.record)
    const identities = structuredClone(row?.identities ?? [])
    const given = allowed(kind, input)
    const {
      user_fields: userFields,
      organization_fields: organizationFields,
      email,
      identities: more,
      skip_verify_email: _,
      ...plain
    } = given
    Object.assign(record, plain)
    const custom = userFields ?? organizationFields
    if (custom !== undefined && custom !== null) {
      const key = `${kind}_fields`
      assign(this.fields[kind], custom as Json, record[key] as Json, details)
    }
    this.#checkExternalId(kind, record, row, details)
    if (kind === 'user') {
      this.#addEmail(email, record, identities, row, details)
      for (const identity of (more ?? []) as Json[]) this.#addIdentity(identity, identities)
      this.#checkUser(record, plain, details)
    } else this.#checkOrganization(record, row, details)
    if (Object.keys(details).length > 0) throw new Refusal(recordInvalid(details))
    record['updated_at'] = this.now()
    const saved: Row = { record: record as Row['record'], identities }
    this.rows(kind).set(saved.record.id, saved)
    return { created: row === undefined, row: saved }
  }

  /** Deleted users stay, for permanent deletion; deleted organizations are gone. */
  remove(kind: Kind, row: Row): void {
    this.rows(kind).delete(row.record.id)
    row.record['active'] = false
    if (kind === 'user') this.deleted.set(row.record.id, row)
    else for (const user of this.users.values()) if (user.record['organization_id'] === row.record.id) user.record['organization_id'] = null
  }

  #blank(kind: Kind): Json {
    const id = this.nextId()
    const common = { id, url: `${this.#control.url}/api/v2/${kind}s/${id}.json`, name: null, external_id: null, details: null, notes: null }
    const made = { tags: [], created_at: this.now(), updated_at: this.now() }
    if (kind === 'organization')
      return {
        ...common,
        ...made,
        domain_names: [],
        group_id: null,
        shared_tickets: false,
        shared_comments: false,
        organization_fields: blank(this.fields.organization),
      }
    return {
      ...common,
      ...made,
      email: null,
      phone: null,
      shared_phone_number: null,
      alias: null,
      role: 'end-user',
      organization_id: null,
      locale: 'en-US',
      time_zone: 'Eastern Time (US & Canada)',
      active: true,
      verified: false,
      suspended: false,
      user_fields: blank(this.fields.user),
    }
  }

  #checkExternalId(kind: Kind, record: Json, row: Row | undefined, details: Details): void {
    if (record['external_id'] === '') record['external_id'] = null
    const other = this.byExternalId(kind, record['external_id'])
    if (other !== undefined && other.record.id !== row?.record.id)
      details['external_id'] = [
        { description: `External: ${String(record['external_id'])} has already been taken`, error: 'DuplicateValue' },
      ]
    if (text(record['external_id']).length > 255)
      details['external_id'] = [{ description: 'External: is too long (maximum is 255 characters)', error: 'ValueTooLong' }]
  }

  /** A further address of a known user becomes a secondary identity: the primary one stays until it is made primary. */
  #addEmail(email: unknown, record: Json, identities: Identity[], row: Row | undefined, details: Details): void {
    if (typeof email !== 'string' || email === '') return
    const value = email.trim().toLowerCase()
    const problem = this.emailProblem(value, row)
    if (problem !== undefined) details['email'] = [problem]
    else if (!identities.some((identity) => identity.type === 'email' && identity.value === value)) {
      const primary = !identities.some((identity) => identity.type === 'email')
      identities.push({ id: this.nextId(), type: 'email', value, primary, verified: false })
      if (primary) record['email'] = value
    }
  }

  emailProblem(value: string, row: Row | undefined): Details[string][number] | undefined {
    if (!/^[^\s@<>,;]+@[^\s@_]+\.[^\s@._]+$/.test(value))
      return { description: `Email:  ${value} is not properly formatted`, error: 'InvalidValue' }
    const owner = this.byEmail(value)
    if (owner === undefined || owner.record.id === row?.record.id) return undefined
    return { description: `Email: ${value} is already being used by another user`, error: 'DuplicateValue' }
  }

  #addIdentity(identity: Json, identities: Identity[]): void {
    const { type, value } = identity
    if (typeof type === 'string' && typeof value === 'string')
      identities.push({ id: this.nextId(), type, value: type === 'email' ? value.toLowerCase() : value, primary: false, verified: false })
  }

  #checkUser(record: Json, given: Json, details: Details): void {
    const name = text(record['name']).trim()
    if (name === '') details['name'] = [{ description: 'Name: is too short (minimum one character)', error: 'ValueTooShort' }]
    if (name.length > 255) details['name'] = [{ description: 'Name: is too long (maximum is 255 characters)', error: 'ValueTooLong' }]
    if (!['end-user', 'agent', 'admin'].includes(String(record['role'])))
      details['role'] = [{ description: `Role: ${String(record['role'])} is invalid`, error: 'InvalidValue' }]
    const organization = given['organization_id']
    if (typeof organization === 'number' && !this.organizations.has(organization))
      details['organization'] = [{ description: 'Organization: is invalid', error: 'InvalidValue' }]
  }

  /** White space around a name goes before it is compared; no two organizations share one. */
  #checkOrganization(record: Json, row: Row | undefined, details: Details): void {
    const name = text(record['name']).trim()
    record['name'] = name
    const twin = [...this.organizations.values()].find((other) => same(other.record['name'], name) && other.record.id !== row?.record.id)
    if (name === '') details['name'] = [{ description: 'Name: cannot be blank', error: 'BlankValue' }]
    else if (name.length > 255) details['name'] = [{ description: 'Name: is too long (maximum is 255 characters)', error: 'ValueTooLong' }]
    else if (twin !== undefined) details['name'] = [{ description: `Name: ${name} has already been taken`, error: 'DuplicateValue' }]
  }
}

/** Wrong types refuse the whole request, before a record is looked at. Throws Refusal 400. */
export function checkTypes(kind: Kind, input: Json, path: string): void {
  for (const [name, type] of Object.entries(WRITABLE[kind])) {
    const value = input[name]
    if (value === undefined || value === null || is(type, value)) continue
    throw new Refusal(
      invalidAttribute(
        name,
        `${kind}.${name} must be ${type === 'array' || type === 'object' || type === 'integer' ? 'an' : 'a'} ${type}`,
        path,
      ),
    )
  }
}

function is(type: Type, value: unknown): boolean {
  if (type === 'array') return Array.isArray(value)
  if (type === 'object') return typeof value === 'object' && !Array.isArray(value)
  if (type === 'integer') return typeof value === 'number' ? Number.isInteger(value) : typeof value === 'string' && /^\d+$/.test(value)
  // A number is taken for a text: many send numeric external ids.
  return type === 'boolean' ? typeof value === 'boolean' : typeof value === 'string' || typeof value === 'number'
}

/** The attributes that can be written, as they are kept. */
function allowed(kind: Kind, input: Json): Json {
  const kept: Json = {}
  for (const [name, type] of Object.entries(WRITABLE[kind])) {
    const value = input[name]
    if (value === undefined) continue
    kept[name] = value === null ? null : type === 'string' ? text(value) : type === 'integer' ? Number(value) : value
    if (name === 'tags' && value === null) kept[name] = []
  }
  return kept
}

/** Names in a request that nobody may write; replies say so in a header. */
export function restricted(kind: Kind, input: Json): string[] {
  return Object.keys(input).filter((name) => name !== 'id' && !Object.hasOwn(WRITABLE[kind], name))
}

const text = (value: unknown): string => (typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '')

const same = (a: unknown, b: unknown): boolean => typeof a === 'string' && typeof b === 'string' && a.toLowerCase() === b.toLowerCase()
