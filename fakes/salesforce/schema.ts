/** The org that the Salesforce fake plays: its objects, their fields, and what a describe says of them. */

export type FieldType =
  | 'id'
  | 'string'
  | 'textarea'
  | 'email'
  | 'phone'
  | 'url'
  | 'picklist'
  | 'multipicklist'
  | 'reference'
  | 'boolean'
  | 'double'
  | 'currency'
  | 'int'
  | 'date'
  | 'datetime'

export interface Field {
  readonly name: string
  readonly label: string
  readonly type: FieldType
  /** Characters; 0 where the type has none. */
  readonly length: number
  /** Digits before and after the point, of numbers. */
  readonly digits: readonly [number, number]
  readonly required: boolean
  readonly createable: boolean
  readonly updateable: boolean
  readonly externalId: boolean
  readonly unique: boolean
  /** An upsert and a reference can find the record by it. */
  readonly idLookup: boolean
  readonly calculated: boolean
  /** Filled by Salesforce when a create leaves it out. */
  readonly fallback: string | boolean | undefined
  readonly referenceTo: string | undefined
  readonly relationshipName: string | undefined
  /** Values of a picklist; `restricted`: no others are taken. */
  readonly values: readonly string[]
  readonly restricted: boolean
}

export interface ObjectType {
  readonly name: string
  readonly label: string
  /** The first three characters of its records' ids. */
  readonly prefix: string
  readonly writable: boolean
  readonly fields: readonly Field[]
}

type Extra = Partial<Omit<Field, 'name' | 'type'>>

function field(name: string, type: FieldType, extra: Extra = {}): Field {
  const label = name
    .replace(/__c$/, '')
    .replaceAll('_', ' ')
    .replace(/([a-z])([A-Z])/g, '$1 $2')
  const plain = {
    length: 0,
    digits: [0, 0] as const,
    required: false,
    createable: true,
    updateable: true,
    externalId: false,
    unique: false,
  }
  const rest = { idLookup: false, calculated: false, fallback: undefined, referenceTo: undefined, relationshipName: undefined }
  return { name, label, type, ...plain, ...rest, values: [], restricted: false, ...extra }
}

const text = (name: string, length = 255, extra: Extra = {}): Field => field(name, 'string', { length, ...extra })
const readOnly = { createable: false, updateable: false }
const externalId = (name: string): Field => text(name, 255, { externalId: true, unique: true, idLookup: true })
const email = (name: string, extra: Extra = {}): Field => field(name, 'email', { length: 80, ...extra })
const phone = (name: string): Field => field(name, 'phone', { length: 40 })
const long = (name: string, length: number): Field => field(name, 'textarea', { length })
const flag = (name: string): Field => field(name, 'boolean', { fallback: false })
const number = (name: string, whole: number, fraction: number): Field =>
  field(name, fraction === 2 ? 'currency' : 'double', { digits: [whole, fraction] })
const pick = (name: string, values: readonly string[], extra: Extra = {}): Field =>
  field(name, 'picklist', { length: 255, values, ...extra })
const reference = (name: string, referenceTo: string, extra: Extra = {}): Field =>
  field(name, 'reference', { length: 18, referenceTo, relationshipName: name.replace(/Id$/, '').replace(/__c$/, '__r'), ...extra })

const SYSTEM = [
  field('Id', 'id', { length: 18, idLookup: true, ...readOnly }),
  field('IsDeleted', 'boolean', readOnly),
  field('CreatedDate', 'datetime', readOnly),
  field('LastModifiedDate', 'datetime', readOnly),
  field('SystemModstamp', 'datetime', readOnly),
]
const OWNER = reference('OwnerId', 'User', { fallback: '$me' })
const ADDRESS = (prefix: string): Field[] => [
  text(`${prefix}Street`),
  text(`${prefix}City`, 40),
  text(`${prefix}State`, 80),
  text(`${prefix}PostalCode`, 20),
  text(`${prefix}Country`, 80),
]

/** Fields that an administrator added, the same on every object, so that any column has a place to go. */
const CUSTOM = [
  externalId('External_Id__c'),
  text('Plan__c'),
  number('Mrr__c', 16, 2),
  number('Score__c', 12, 6),
  number('Big_Number__c', 18, 0),
  flag('Is_Active__c'),
  field('Signed_Up_On__c', 'date'),
  field('Signed_Up_At__c', 'datetime'),
  pick('Tier__c', ['Free', 'Pro', 'Enterprise'], { restricted: true }),
  field('Interests__c', 'multipicklist', { length: 4099, values: ['Sports', 'Music', 'Books'], restricted: true }),
  long('Notes__c', 131_072),
]

function object(name: string, prefix: string, fields: readonly Field[], writable = true): ObjectType {
  return { name, label: name.replace(/__c$/, ''), prefix, writable, fields: [...SYSTEM, ...fields] }
}

const PERSON = [
  text('FirstName', 40),
  text('LastName', 80, { required: true }),
  text('Name', 121, { calculated: true, ...readOnly }),
  email('Email', { idLookup: true }),
  phone('Phone'),
  phone('MobilePhone'),
  text('Title', 128),
  pick('LeadSource', ['Web', 'Phone Inquiry', 'Partner Referral', 'Other']),
  long('Description', 32_000),
  flag('HasOptedOutOfEmail'),
  OWNER,
]

export const OBJECTS: readonly ObjectType[] = [
  object('Contact', '003', [...PERSON, field('Birthdate', 'date'), reference('AccountId', 'Account'), ...ADDRESS('Mailing'), ...CUSTOM]),
  object('Lead', '00Q', [
    ...PERSON,
    text('Company', 255, { required: true }),
    pick('Status', ['Open - Not Contacted', 'Working - Contacted', 'Closed - Converted'], { fallback: 'Open - Not Contacted' }),
    ...ADDRESS(''),
    ...CUSTOM,
  ]),
  object('Account', '001', [
    text('Name', 255, { required: true }),
    field('Website', 'url', { length: 255 }),
    phone('Phone'),
    pick('Industry', ['Banking', 'Retail', 'Technology', 'Other']),
    field('NumberOfEmployees', 'int', { digits: [8, 0] }),
    number('AnnualRevenue', 18, 2),
    long('Description', 32_000),
    OWNER,
    reference('ParentId', 'Account'),
    ...ADDRESS('Billing'),
    externalId('Domain__c'),
    ...CUSTOM,
  ]),
  object('Opportunity', '006', [
    text('Name', 120, { required: true }),
    pick('StageName', ['Prospecting', 'Closed Won', 'Closed Lost'], { required: true }),
    field('CloseDate', 'date', { required: true }),
    number('Amount', 16, 2),
    reference('AccountId', 'Account'),
    OWNER,
    ...CUSTOM,
  ]),
  object('Order_Line__c', 'a01', [
    text('Name', 80, { fallback: 'Order line' }),
    reference('Contact__c', 'Contact'),
    number('Amount__c', 16, 2),
    text('Currency__c', 3),
    field('Ordered_At__c', 'datetime'),
    OWNER,
    ...CUSTOM,
  ]),
  object('Campaign', '701', [text('Name', 80, { required: true }), flag('IsActive'), externalId('External_Id__c')]),
  object('CampaignMember', '00v', [
    reference('CampaignId', 'Campaign', { required: true, updateable: false }),
    reference('ContactId', 'Contact', { updateable: false }),
    reference('LeadId', 'Lead', { updateable: false }),
    pick('Status', ['Sent', 'Responded'], { fallback: 'Sent' }),
  ]),
  object(
    'User',
    '005',
    [
      text('Username', 80, { idLookup: true }),
      text('Name', 121, { calculated: true, ...readOnly }),
      email('Email', { idLookup: true }),
      flag('IsActive'),
    ],
    false,
  ),
  object('Organization', '00D', [text('Name', 80), flag('IsSandbox'), text('OrganizationType', 40)], false),
]

export function findObject(name: string): ObjectType | undefined {
  return OBJECTS.find((type) => type.name.toLowerCase() === name.toLowerCase())
}

export function findField(type: ObjectType, name: string): Field | undefined {
  return type.fields.find((candidate) => candidate.name.toLowerCase() === name.toLowerCase())
}

/** An object as `GET /sobjects/NAME/describe` shows it. */
export function describe(type: ObjectType): Record<string, unknown> {
  const { name, label, prefix, writable, fields } = type
  return {
    name,
    label,
    labelPlural: `${label}s`,
    keyPrefix: prefix,
    custom: name.endsWith('__c'),
    createable: writable,
    updateable: writable,
    deletable: writable,
    queryable: true,
    retrieveable: true,
    fields: fields.map((one) => ({
      name: one.name,
      label: one.label,
      type: one.type,
      length: one.length,
      precision: one.digits[0] + one.digits[1],
      scale: one.digits[1],
      digits: one.type === 'int' ? one.digits[0] : 0,
      nillable: !one.required && one.type !== 'boolean' && one.type !== 'id',
      createable: writable && one.createable,
      updateable: writable && one.updateable,
      defaultedOnCreate: one.fallback !== undefined || one.type === 'boolean',
      externalId: one.externalId,
      unique: one.unique,
      idLookup: one.idLookup,
      caseSensitive: false,
      calculated: one.calculated,
      autoNumber: false,
      custom: one.name.endsWith('__c'),
      filterable: one.type !== 'textarea' || one.length <= 255,
      restrictedPicklist: one.restricted,
      picklistValues: one.values.map((value) => ({ active: true, defaultValue: false, label: value, validFor: null, value })),
      referenceTo: one.referenceTo === undefined ? [] : [one.referenceTo],
      relationshipName: one.relationshipName ?? null,
      polymorphicForeignKey: false,
    })),
  }
}
