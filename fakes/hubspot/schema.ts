/** Object types of the fake portal with their properties, and what HubSpot makes of a value of each property type. */

export const PORTAL = 40404040

export interface Property {
  readonly name: string
  readonly label: string
  readonly type: 'string' | 'number' | 'bool' | 'enumeration' | 'date' | 'datetime' | 'phone_number'
  readonly fieldType: string
  /** Internal values of an enumeration; written as they are, case-sensitive. */
  readonly options: readonly string[]
  readonly unique: boolean
  readonly readOnly: boolean
  /** Made by HubSpot; others are the portal's own. */
  readonly builtIn: boolean
}

export interface ObjectType {
  readonly id: string
  /** The first is its name in lists of records. */
  readonly names: readonly string[]
  /** In messages. */
  readonly entity: string
  readonly custom: boolean
  readonly properties: ReadonlyMap<string, Property>
}

const FIELD_TYPES = {
  string: 'text',
  number: 'number',
  bool: 'booleancheckbox',
  enumeration: 'select',
  date: 'date',
  datetime: 'date',
  phone_number: 'phonenumber',
} as const

function property(text: string): Property {
  // name:type, then flags: !unique ~readOnly +custom *multi, and options behind "="
  const [head = '', options = ''] = text.split('=')
  const [name = '', rest = 'string'] = head.split(':')
  const type = rest.replace(/[^a-z_]/g, '') as Property['type']
  return {
    name,
    label: name.replace(/^hs_/, '').replaceAll('_', ' '),
    type,
    fieldType: rest.includes('*') ? 'checkbox' : FIELD_TYPES[type],
    options: type === 'bool' ? ['true', 'false'] : options === '' ? [] : options.split(','),
    unique: rest.includes('!'),
    readOnly: rest.includes('~'),
    builtIn: !rest.includes('+'),
  }
}

const EVERYWHERE = ['hs_object_id:number~', 'hs_lastmodifieddate:datetime~', 'hubspot_owner_id:string']

function objectType(id: string, entity: string, names: readonly string[], properties: readonly string[]): ObjectType {
  const all = [...EVERYWHERE, ...properties].map(property)
  return { id, entity, names, custom: id.startsWith('2-'), properties: new Map(all.map((item) => [item.name, item])) }
}

/** From the first to the last; a contact moves forward only. */
export const STAGES = [
  'subscriber',
  'lead',
  'marketingqualifiedlead',
  'salesqualifiedlead',
  'opportunity',
  'customer',
  'evangelist',
  'other',
]

export const TYPES: readonly ObjectType[] = [
  objectType(
    '0-1',
    'CONTACT',
    ['contacts', 'contact'],
    [
      'email:string',
      'hs_additional_emails:string',
      'firstname:string',
      'lastname:string',
      'phone:phone_number',
      'company:string',
      'jobtitle:string',
      'address:string',
      'city:string',
      'state:string',
      'zip:string',
      'country:string',
      'website:string',
      'createdate:datetime~',
      'lastmodifieddate:datetime~',
      `lifecyclestage:enumeration=${STAGES.join(',')}`,
      'hs_lead_status:enumeration=NEW,OPEN,IN_PROGRESS,CONNECTED,UNQUALIFIED',
      'associatedcompanyid:number',
      'customer_id:string!+',
      'plan:string+',
      'tier:enumeration+=free,pro,enterprise',
      'interests:enumeration*+=api,billing,reports',
      'mrr:number+',
      'seats:number+',
      'is_active:bool+',
      'marketing_consent:bool+',
      'signed_up_at:datetime+',
      'birthday:date+',
      'gclid:string+',
      'note:string+',
    ],
  ),
  objectType(
    '0-2',
    'COMPANY',
    ['companies', 'company'],
    [
      'name:string',
      'domain:string',
      'phone:phone_number',
      'city:string',
      'country:string',
      'industry:string',
      'numberofemployees:number',
      'annualrevenue:number',
      'description:string',
      'createdate:datetime~',
      `lifecyclestage:enumeration=${STAGES.join(',')}`,
      'company_id:string!+',
      'account_number:number!+',
      'plan:string+',
      'mrr:number+',
      'is_active:bool+',
    ],
  ),
  objectType(
    '0-3',
    'DEAL',
    ['deals', 'deal'],
    [
      'dealname:string',
      'amount:number',
      'pipeline:enumeration=default',
      'dealstage:enumeration=appointmentscheduled,qualifiedtobuy,presentationscheduled,decisionmakerboughtin,contractsent,closedwon,closedlost',
      'closedate:datetime',
      'createdate:datetime',
      'description:string',
      'deal_currency_code:string',
      'order_id:string!+',
      'plan:string+',
    ],
  ),
  objectType(
    '2-1001',
    `p${PORTAL}_subscription`,
    [`p${PORTAL}_subscription`, 'p_subscription'],
    [
      'hs_createdate:datetime~',
      'subscription_id:string!',
      'name:string',
      'plan:string',
      'status:enumeration=active,paused,cancelled',
      'amount:number',
      'is_active:bool',
      'started_on:date',
      'renews_at:datetime',
      'note:string',
    ],
  ),
]

/** The type a path names: by name in either number, by type id, or by a custom object's qualified name. */
export function typeNamed(name: string): ObjectType | undefined {
  return TYPES.find((type) => type.id === name || type.names.includes(name.toLowerCase()))
}

/** What is wrong with a value, in HubSpot's own form. */
export interface BadValue {
  readonly isValid: false
  readonly message: string
  readonly error: string
  readonly name: string
}

const EMAIL = /^[^\s@<>,;]+@[^\s@<>,;]+\.[^\s@<>,;]{2,}$/

/** The value as HubSpot keeps it; '' clears. */
export function convert(type: ObjectType, { name, ...property }: Property, value: string): string | BadValue {
  const bad = (error: string, message: string): BadValue => ({ isValid: false, message, error, name })
  if (property.readOnly) return bad('READ_ONLY_VALUE', `"${name}" is a read only property; its value cannot be set.`)
  const text = value.trim()
  if (text === '') return ''
  switch (property.type) {
    case 'number':
      return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? text : bad('INVALID_INTEGER', `${text} was not a valid number.`)
    case 'bool':
      return ['true', 'false'].includes(text.toLowerCase())
        ? text.toLowerCase()
        : bad('INVALID_OPTION', `${text} was not one of the allowed options: [true, false]`)
    case 'date':
      return dateOf(text) ?? bad('INVALID_DATE', `${text} is not a date at midnight UTC.`)
    case 'datetime':
      return momentOf(text) ?? bad('INVALID_LONG', `${text} was not a valid long.`)
    case 'enumeration': {
      const wrong = (property.fieldType === 'checkbox' ? text.split(';').filter(Boolean) : [text]).find(
        (option) => !property.options.includes(option),
      )
      return wrong === undefined
        ? text
        : bad('INVALID_OPTION', `${wrong} was not one of the allowed options: [${property.options.join(', ')}]`)
    }
    case 'string':
    case 'phone_number':
  }
  if (name === 'email' && type.id === '0-1')
    return EMAIL.test(text) ? text.toLowerCase() : bad('INVALID_EMAIL', `Email address ${text} is invalid`)
  return name === 'domain' ? text.toLowerCase() : text
}

/** YYYY-MM-DD, from itself or from milliseconds at midnight UTC. */
function dateOf(text: string): string | undefined {
  const ms = /^-?\d+$/.test(text) ? Number(text) : /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN
  if (Number.isNaN(ms) || ms % 86_400_000 !== 0) return undefined
  const date = new Date(ms).toISOString().slice(0, 10)
  // Date.parse rolls 31 February over.
  return text.includes('-', 1) && date !== text ? undefined : date
}

/** ISO 8601 in UTC, from a moment with a zone, a date, or milliseconds. */
function momentOf(text: string): string | undefined {
  const iso = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2}))?$/.test(text)
  const ms = /^-?\d+$/.test(text) ? Number(text) : iso ? Date.parse(text) : Number.NaN
  return Number.isNaN(ms) ? undefined : new Date(ms).toISOString().replace('.000Z', 'Z')
}

/** A property as the metadata endpoint shows it. */
export function describeProperty(property: Property): Record<string, unknown> {
  return {
    name: property.name,
    label: property.label,
    type: property.type,
    fieldType: property.fieldType,
    description: '',
    groupName: 'information',
    options: property.options.map((value, displayOrder) => ({ value, label: value, displayOrder, hidden: false })),
    hasUniqueValue: property.unique,
    hidden: false,
    calculated: false,
    externalOptions: false,
    formField: true,
    archived: false,
    hubspotDefined: property.builtIn,
    modificationMetadata: { archivable: !property.builtIn, readOnlyDefinition: property.builtIn, readOnlyValue: property.readOnly },
  }
}
