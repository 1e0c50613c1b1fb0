/** Contacts and companies of one Intercom workspace: how they are found, created, changed, archived and merged. */
import type { FakeControl } from '../../src/testing/fake.ts'
import { type Attribute, ATTRIBUTES, merge, text, whole } from './attributes.ts'
import { badParameter, invalid, type Json, missing, noCompany, noContact, refused, Refusal } from './replies.ts'

export const CONTACT_FIELDS = [
  'role',
  'external_id',
  'email',
  'phone',
  'name',
  'avatar',
  'signed_up_at',
  'last_seen_at',
  'owner_id',
  'unsubscribed_from_emails',
  'custom_attributes',
]
const COMPANY_FIELDS = [
  'name',
  'company_id',
  'plan',
  'size',
  'website',
  'industry',
  'custom_attributes',
  'remote_created_at',
  'monthly_spend',
]

export const ADMINS = [
  { type: 'admin', id: '991267459', email: 'admin1@example.com', name: 'Sandbox admin' },
  { type: 'admin', id: '991267460', email: 'admin2@example.com', name: 'Second admin' },
]

/** A contact has at most so many companies ("Attach a Contact to a Company"). */
const MAX_COMPANIES = 1000

export interface Contact {
  readonly id: string
  fields: Json
  custom: Json
  archived: boolean
  mergedInto: string | null
  /** False until the search index has seen it. */
  indexed: boolean
  readonly tags: Map<string, number>
  readonly companies: Set<string>
}

export interface Company {
  readonly id: string
  fields: Json
  custom: Json
  readonly tags: Set<string>
}

// A workspace is state: contacts, companies, tags, attributes and the counter of ids.
export class Workspace {
  readonly contacts = new Map<string, Contact>()
  readonly companies = new Map<string, Company>()
  readonly tags = new Map<string, string>()
  readonly attributes: Attribute[] = [...ATTRIBUTES]
  readonly #control: FakeControl
  #ids = 0

  constructor(control: FakeControl) {
    this.#control = control
  }

  now(): number {
    return Math.floor(this.#control.now() / 1000)
  }

  #nextId(): string {
    return `6762f0dd1bb69f9f${(++this.#ids).toString(16).padStart(8, '0')}`
  }

  /** A contact that is neither archived, merged nor gone. Throws Refusal 404. */
  contact(id: string): Contact {
    const contact = this.contacts.get(id)
    if (contact === undefined || contact.archived || contact.mergedInto !== null) throw noContact()
    return contact
  }

  company(id: unknown): Company {
    const company = typeof id === 'string' ? this.companies.get(id) : undefined
    if (company === undefined) throw noCompany()
    return company
  }

  companyByCompanyId(companyId: unknown): Company | undefined {
    return [...this.companies.values()].find((company) => company.fields['company_id'] === companyId)
  }

  createContact(input: Json): Contact {
    const { fields, custom } = this.#contactOf(input, {}, {})
    const { email, external_id: externalId, role } = input
    if ([email, externalId, role].every((value) => value === undefined || value === null || value === ''))
      throw missing('email, external_id or role not specified')
    this.#checkUnique(fields, undefined)
    const id = this.#nextId()
    const at = { created_at: this.now(), updated_at: this.now() }
    const all = { role: 'user', ...fields, ...at }
    const contact: Contact = {
      id,
      fields: all,
      custom,
      archived: false,
      mergedInto: null,
      indexed: false,
      tags: new Map(),
      companies: new Set(),
    }
    this.contacts.set(id, contact)
    return contact
  }

  updateContact(contact: Contact, input: Json): Contact {
    const { fields, custom } = this.#contactOf(input, contact.fields, contact.custom)
    this.#checkUnique(fields, contact.id)
    contact.fields = { ...fields, updated_at: this.now() }
    contact.custom = custom
    return contact
  }

  /** A lead becomes part of a user and is found under its own id no more. */
  mergeContacts(from: unknown, into: unknown): Contact {
    const lead = this.contact(String(from))
    const user = this.contact(String(into))
    if (lead.fields['role'] !== 'lead' || user.fields['role'] !== 'user') throw invalid('Only leads can be merged, and only into users')
    lead.mergedInto = user.id
    return user
  }

  attach(contact: Contact, company: Company): void {
    if (contact.companies.size >= MAX_COMPANIES)
      throw new Refusal(
        refused(400, 'contact_company_limit_exceeded', `Contact has reached the maximum of ${MAX_COMPANIES} company associations`),
      )
    contact.companies.add(company.id)
  }

  /** POST /companies: found by `company_id`, which is set once and for all. */
  saveCompany(input: Json, known?: Company): Company {
    for (const name of Object.keys(input)) if (!COMPANY_FIELDS.includes(name)) throw badParameter(name)
    if (known !== undefined && input['company_id'] !== undefined) throw badParameter('company_id')
    const companyId = text('company_id', input['company_id'] ?? null)
    if (known === undefined && (companyId === null || companyId === '')) throw missing('company not specified')
    const company = known ?? this.companyByCompanyId(companyId)
    const custom = merge(this.attributes, 'company', company?.custom ?? {}, input['custom_attributes'])
    const fields: Json = { ...company?.fields }
    for (const name of ['name', 'plan', 'website', 'industry'] as const)
      if (input[name] !== undefined) fields[name] = text(name, input[name])
    for (const name of ['size', 'remote_created_at'] as const) if (input[name] !== undefined) fields[name] = whole(name, input[name])
    if (input['monthly_spend'] !== undefined) fields['monthly_spend'] = spend(input['monthly_spend'])
    if (company !== undefined) {
      company.fields = { ...fields, updated_at: this.now() }
      company.custom = custom
      return company
    }
    const at = { created_at: this.now(), updated_at: this.now() }
    const created: Company = { id: this.#nextId(), fields: { ...fields, company_id: companyId, ...at }, custom, tags: new Set() }
    this.companies.set(created.id, created)
    return created
  }

  removeCompany(company: Company): void {
    this.companies.delete(company.id)
    for (const contact of this.contacts.values()) contact.companies.delete(company.id)
  }

  /** Names are compared without regard to case. */
  tagByName(name: string): string | undefined {
    return [...this.tags].find(([, other]) => other.toLowerCase() === name.toLowerCase())?.[0]
  }

  createTag(name: string): string {
    const id = this.tagByName(name) ?? String(81 + this.tags.size)
    if (!this.tags.has(id)) this.tags.set(id, name)
    return id
  }

  #contactOf(input: Json, fields: Json, custom: Json): { fields: Json; custom: Json } {
    for (const name of Object.keys(input)) if (!CONTACT_FIELDS.includes(name)) throw badParameter(name)
    const next = { ...fields }
    for (const name of ['external_id', 'email', 'phone', 'name', 'avatar'] as const)
      if (input[name] !== undefined) next[name] = text(name, input[name])
    for (const name of ['signed_up_at', 'last_seen_at'] as const) if (input[name] !== undefined) next[name] = whole(name, input[name])
    const { role, owner_id: owner, unsubscribed_from_emails: unsubscribed } = input
    if (role !== undefined) {
      if (role !== 'user' && role !== 'lead') throw invalid('role must be either user or lead')
      next['role'] = role
    }
    if (owner !== undefined) {
      if (owner !== null && !ADMINS.some((admin) => admin.id === owner || Number(admin.id) === owner)) throw invalid('Owner not found')
      next['owner_id'] = owner === null ? null : Number(owner)
    }
    if (unsubscribed !== undefined) {
      if (unsubscribed !== null && typeof unsubscribed !== 'boolean') throw invalid('unsubscribed_from_emails must be a boolean')
      next['unsubscribed_from_emails'] = unsubscribed ?? false
    }
    const { email, phone } = next
    if (typeof email === 'string' && email !== '' && !/^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(email)) throw invalid('Email is not valid')
    if (typeof phone === 'string' && phone !== '' && !/^\+[1-9][\d ()-]{6,20}$/.test(phone))
      throw invalid('Phone number is invalid. It must be in E.164 format')
    if (typeof email === 'string') next['email'] = email === '' ? null : email
    return { fields: next, custom: merge(this.attributes, 'contact', custom, input['custom_attributes']) }
  }

  /** No two contacts share an external id; users share an e-mail only when their external ids tell them apart. Leads may. */
  #checkUnique(fields: Json, self: string | undefined): void {
    for (const other of this.contacts.values()) {
      if (other.id === self || other.mergedInto !== null) continue
      const sameId = filled(fields['external_id']) && other.fields['external_id'] === fields['external_id']
      const bothUsers = (fields['role'] ?? 'user') === 'user' && other.fields['role'] === 'user'
      const sameEmail = filled(fields['email']) && lower(other.fields['email']) === lower(fields['email'])
      const apart = filled(fields['external_id']) && filled(other.fields['external_id'])
      if (!sameId && !(bothUsers && sameEmail && !apart)) continue
      const which = other.archived ? 'An archived contact' : 'A contact'
      throw new Refusal(refused(409, 'conflict', `${which} matching those details already exists with id=${other.id}`))
    }
  }
}

/** Truncated to a whole number; at most 2^31-1 ("Create or Update a company"). */
function spend(value: unknown): number | null {
  if (value === null) return null
  if (typeof value !== 'number' || value > 2_147_483_647) throw invalid('monthly_spend must be a number up to 2147483647')
  return Math.trunc(value)
}

const filled = (value: unknown): boolean => typeof value === 'string' && value !== ''

const lower = (value: unknown): string => (typeof value === 'string' ? value.toLowerCase() : '')
