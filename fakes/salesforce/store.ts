/** The records of the Salesforce fake: ids, validation of each row as Salesforce does it, create, change and delete. */
import type { FakeControl } from '../../src/testing/fake.ts'
import { checkValue, type Problem, problem, textOf } from './values.ts'
import { type Field, findField, findObject, type ObjectType } from './schema.ts'

export type Stored = Record<string, unknown>
export type Row = Readonly<Record<string, unknown>>

/** What became of one row. `created` is there for upserts only. */
export type Result =
  | { readonly id: string; readonly success: true; readonly errors: readonly []; readonly created?: boolean }
  | { readonly id?: string; readonly success: false; readonly errors: readonly Problem[]; readonly created?: boolean }

const CHARACTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ012345'

/** The 18 character form: three characters that tell the case of the 15 before. */
export function longId(id: string): string {
  if (id.length !== 15) return id
  let suffix = ''
  for (let part = 0; part < 3; part++) {
    let bits = 0
    for (let i = 0; i < 5; i++) if (/[A-Z]/.test(id[part * 5 + i] ?? '')) bits |= 1 << i
    suffix += CHARACTERS[bits] ?? ''
  }
  return id + suffix
}

/** A class: one org's records, shared by all ways to reach them. */
export class Store {
  readonly #tables = new Map<string, Map<string, Stored>>()
  readonly #deleted = new Set<string>()
  /** `object.field` of what records are found by -> value in lower case -> records. */
  readonly #index = new Map<string, Map<string, Set<Stored>>>()
  readonly #control: FakeControl
  #count = 0
  readonly me: string
  readonly org: string

  constructor(control: FakeControl) {
    this.#control = control
    const add = (name: string, values: Row): string => this.#insert(findObject(name) as ObjectType, values)
    this.org = add('Organization', { Name: 'Example Ltd', IsSandbox: false, OrganizationType: 'Developer Edition' })
    this.me = add('User', { Username: 'sync@example.com', Name: 'Sync User', Email: 'sync@example.com', IsActive: true })
    add('User', { Username: 'ada@example.com', Name: 'Ada Example', Email: 'ada@example.com', IsActive: true })
    add('Campaign', { Name: 'Newsletter', IsActive: true, External_Id__c: 'newsletter' })
    add('Campaign', { Name: 'Webinar', IsActive: true, External_Id__c: 'webinar' })
  }

  all(type: ObjectType): Stored[] {
    return [...(this.#tables.get(type.name)?.values() ?? [])]
  }

  byId(type: ObjectType, id: string): Stored | undefined {
    return this.#tables.get(type.name)?.get(longId(id))
  }

  find(type: ObjectType, field: Field, value: unknown): Stored[] {
    if (field.type === 'id') return [this.byId(type, textOf(value)) ?? []].flat()
    return [...(this.#index.get(`${type.name}.${field.name}`)?.get(textOf(value).toLowerCase()) ?? [])]
  }

  records(): Record<string, readonly Stored[]> {
    return Object.fromEntries([...this.#tables].map(([name, table]) => [name, [...table.values()]]))
  }

  create(type: ObjectType, row: Row): Result {
    const checked = this.#check(type, row, 'create')
    if (Array.isArray(checked)) return { success: false, errors: checked }
    return { id: this.#insert(type, checked), success: true, errors: [] }
  }

  update(type: ObjectType, id: string, row: Row): Result {
    const found = this.#existing(type, id)
    if ('errors' in found) return found
    const checked = this.#check(type, row, 'update', found.record)
    if (Array.isArray(checked)) return { success: false, errors: checked }
    this.#note(type, found.record, false)
    Object.assign(found.record, checked, { LastModifiedDate: this.#time(), SystemModstamp: this.#time() })
    nameOf(type, found.record)
    this.#note(type, found.record, true)
    return { id: String(found.record['Id']), success: true, errors: [] }
  }

  upsert(type: ObjectType, by: Field, row: Row): Result {
    const value = row[by.name]
    if (by.type !== 'id' && (value === null || value === undefined || value === ''))
      return { success: false, created: false, errors: [problem('MISSING_ARGUMENT', `${by.name} not specified`, [])] }
    const found = value === null || value === undefined ? [] : this.find(type, by, value)
    if (found.length > 1) {
      const ids = found.map((record) => String(record['Id'])).join(', ')
      const message = `${by.label}: more than one record found for external id field: [${ids}]`
      return { success: false, created: false, errors: [problem('DUPLICATE_EXTERNAL_ID', message, [by.name])] }
    }
    const rest = by.type === 'id' ? Object.fromEntries(Object.entries(row).filter(([name]) => name !== by.name)) : row
    const [record] = found
    if (record === undefined) return { ...this.create(type, rest), created: true }
    return { ...this.update(type, String(record['Id']), rest), created: false }
  }

  delete(type: ObjectType, id: string): Result {
    const found = this.#existing(type, id)
    if ('errors' in found) return found
    if (!type.writable) return refused('INSUFFICIENT_ACCESS_OR_READONLY', 'insufficient access rights on object id')
    if (this.#control.refusesRow()) return refused('DELETE_FAILED', 'Your attempt to delete this record could not be completed.')
    const gone = String(found.record['Id'])
    this.#tables.get(type.name)?.delete(gone)
    this.#note(type, found.record, false)
    this.#deleted.add(gone)
    // Salesforce removes the memberships of a contact or lead with it.
    const members = this.#tables.get('CampaignMember')
    for (const [key, member] of members ?? [])
      if ([member['ContactId'], member['LeadId'], member['CampaignId']].includes(gone)) members?.delete(key)
    return { id: gone, success: true, errors: [] }
  }

  #existing(type: ObjectType, given: string): { readonly record: Stored } | Extract<Result, { success: false }> {
    const id = longId(given)
    if (!/^[a-zA-Z0-9]{18}$/.test(id)) return refused('MALFORMED_ID', `malformed id ${given}`)
    if (this.#deleted.has(id)) return refused('ENTITY_IS_DELETED', 'entity is deleted')
    const record = this.byId(type, id)
    return record === undefined ? refused('INVALID_CROSS_REFERENCE_KEY', 'invalid cross reference id') : { record }
  }

  #insert(type: ObjectType, values: Row): string {
    const id = longId(type.prefix + 'gK' + String(++this.#count).padStart(10, '0'))
    const now = this.#time()
    const record: Stored = { Id: id }
    for (const field of type.fields) {
      if (field.name === 'Id') continue
      const fallback = field.fallback === '$me' ? this.me : (field.fallback ?? null)
      record[field.name] = values[field.name] ?? fallback
    }
    Object.assign(record, { IsDeleted: false, CreatedDate: now, LastModifiedDate: now, SystemModstamp: now })
    nameOf(type, record)
    const table = this.#tables.get(type.name) ?? new Map<string, Stored>()
    this.#tables.set(type.name, table.set(id, record))
    this.#note(type, record, true)
    return id
  }

  /** Keeps the index: a record is there, or no longer. */
  #note(type: ObjectType, record: Stored, there: boolean): void {
    for (const field of type.fields) {
      const value = textOf(record[field.name]).toLowerCase()
      if (!(field.idLookup || field.externalId) || field.type === 'id' || value === '') continue
      const name = `${type.name}.${field.name}`
      const values = this.#index.get(name) ?? new Map<string, Set<Stored>>()
      const records = values.get(value) ?? new Set()
      if (there) records.add(record)
      else records.delete(record)
      this.#index.set(name, values.set(value, records))
    }
  }

  #time(): string {
    return new Date(this.#control.now()).toISOString().replace('Z', '+0000')
  }

  /** The values to store, or what is wrong with the row. */
  #check(type: ObjectType, row: Row, op: 'create' | 'update', before?: Stored): Stored | Problem[] {
    if (!type.writable) return [problem('INSUFFICIENT_ACCESS_OR_READONLY', 'insufficient access rights on object id', [])]
    if (this.#control.refusesRow())
      return [problem('FIELD_CUSTOM_VALIDATION_EXCEPTION', 'This record breaks the validation rule of the fake.', [])]
    const values: Stored = {}
    for (const [name, value] of Object.entries(row)) {
      if (name === 'attributes' || (name.toLowerCase() === 'id' && op === 'update')) continue
      const resolved = this.#resolve(type, name, value)
      if ('statusCode' in resolved) return [resolved]
      const { field } = resolved
      if (!(op === 'create' ? field.createable : field.updateable)) return [unwritable(field)]
      const checked = checkValue(field, resolved.value)
      if (typeof checked === 'object' && checked !== null) return [checked]
      if (field.type === 'reference' && typeof checked === 'string') {
        const target = findObject(field.referenceTo ?? '')
        if (target === undefined || this.byId(target, checked) === undefined)
          return [problem('INVALID_CROSS_REFERENCE_KEY', 'invalid cross reference id', [])]
      }
      values[field.name] = field.type === 'reference' && typeof checked === 'string' ? longId(checked) : checked
    }
    return this.#missing(type, values, op) ?? this.#taken(type, values, before) ?? values
  }

  /** A field by its name, or a reference that names its parent by one of the parent's external ids. */
  #resolve(type: ObjectType, name: string, value: unknown): { readonly field: Field; readonly value: unknown } | Problem {
    const field = findField(type, name)
    if (field !== undefined) return { field, value }
    const link = type.fields.find((one) => one.relationshipName?.toLowerCase() === name.toLowerCase())
    const target = findObject(link?.referenceTo ?? '')
    if (link === undefined || target === undefined)
      return problem('INVALID_FIELD', `No such column '${name}' on sobject of type ${type.name}`, [])
    if (value === null) return { field: link, value: null }
    const [[by, wanted] = ['', undefined], ...more] = Object.entries(value as Row).filter(([key]) => key !== 'attributes')
    const key = findField(target, by)
    if (more.length > 0 || key === undefined || !(key.idLookup || key.externalId))
      return problem('INVALID_FIELD', `Field name provided, ${by} is not an External ID or indexed field for ${target.name}`, [])
    const [parent, second] = this.find(target, key, wanted)
    if (parent === undefined || second !== undefined)
      return problem(
        'INVALID_FIELD',
        `Foreign key external ID: ${textOf(wanted)} not found for field ${key.name} in entity ${target.name}`,
        [],
      )
    return { field: link, value: parent['Id'] }
  }

  #missing(type: ObjectType, values: Stored, op: 'create' | 'update'): Problem[] | undefined {
    const absent = type.fields.filter(
      (field) => field.required && (op === 'create' ? (values[field.name] ?? null) === null : values[field.name] === null),
    )
    const names = absent.map((field) => field.name)
    if (names.length > 0) return [problem('REQUIRED_FIELD_MISSING', `Required fields are missing: [${names.join(', ')}]`, names)]
    if (type.name === 'CampaignMember' && op === 'create' && !values['ContactId'] && !values['LeadId'])
      return [problem('REQUIRED_FIELD_MISSING', 'Required fields are missing: [ContactId, LeadId]', ['ContactId', 'LeadId'])]
    return undefined
  }

  #taken(type: ObjectType, values: Stored, before: Stored | undefined): Problem[] | undefined {
    for (const field of type.fields.filter((one) => one.unique && (values[one.name] ?? null) !== null)) {
      const other = this.find(type, field, values[field.name]).find((record) => record !== before)
      if (other !== undefined) {
        const message = `duplicate value found: ${field.name} duplicates value on record with id: ${String(other['Id'])}`
        return [problem('DUPLICATE_VALUE', message, [])]
      }
    }
    if (type.name !== 'CampaignMember' || before !== undefined) return undefined
    const same = (record: Stored): boolean =>
      record['CampaignId'] === values['CampaignId'] &&
      (['ContactId', 'LeadId'] as const).some((name) => values[name] && record[name] === values[name])
    return this.all(type).some(same) ? [problem('DUPLICATE_VALUE', 'Already a campaign member.', [])] : undefined
  }
}

function refused(code: string, message: string): Extract<Result, { success: false }> {
  return { success: false, errors: [problem(code, message, [])] }
}

function unwritable(field: Field): Problem {
  const message = `Unable to create/update fields: ${field.name}. Please check the security settings of this field and verify that it is read/write for your profile or permission set.`
  return problem('INVALID_FIELD_FOR_INSERT_UPDATE', message, [field.name])
}

/** The name of a person is put together by Salesforce. */
function nameOf(type: ObjectType, record: Stored): void {
  if (type.name === 'Contact' || type.name === 'Lead') record['Name'] = [record['FirstName'], record['LastName']].filter(Boolean).join(' ')
}
