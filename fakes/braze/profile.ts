/** What attributes do to a profile of the fake Braze. Values that do not fit are dropped without a word, as Braze does after its 201. */

export type Attributes = Readonly<Record<string, unknown>>
export type Profile = Record<string, unknown> & { custom_attributes: Record<string, unknown> }

const isText = (value: unknown): boolean => typeof value === 'string'
const isTime = (value: unknown): boolean => typeof value === 'string' && !Number.isNaN(Date.parse(value))
const isBoolean = (value: unknown): boolean => typeof value === 'boolean'
const oneOf =
  (...values: readonly string[]) =>
  (value: unknown): boolean =>
    values.includes(value as string)
const like =
  (pattern: RegExp) =>
  (value: unknown): boolean =>
    typeof value === 'string' && pattern.test(value)

/** Profile fields that Braze knows by name, and what each takes ("User attributes object"). */
const STANDARD: Readonly<Record<string, (value: unknown) => boolean>> = {
  country: like(/^[A-Z]{2}$/),
  current_location: (value) => typeof value === 'object',
  date_of_first_session: isTime,
  date_of_last_session: isTime,
  dob: like(/^\d{4}-\d{2}-\d{2}$/),
  email: like(/^[^\s@]+@[^\s@.]+(\.[^\s@.]+)+$/),
  email_click_tracking_disabled: isBoolean,
  email_open_tracking_disabled: isBoolean,
  email_subscribe: oneOf('opted_in', 'subscribed', 'unsubscribed'),
  facebook: (value) => typeof value === 'object',
  first_name: isText,
  gender: oneOf('M', 'F', 'O', 'N', 'P'),
  home_city: isText,
  image_url: isText,
  language: like(/^[a-z]{2}$/),
  last_name: isText,
  marked_email_as_spam_at: isTime,
  phone: like(/^\+?[0-9 ()./-]{5,25}$/),
  push_subscribe: oneOf('opted_in', 'subscribed', 'unsubscribed'),
  push_tokens: Array.isArray,
  subscription_groups: Array.isArray,
  time_zone: like(/^[A-Za-z]+\/[A-Za-z_/+-]+$|^UTC$/),
  twitter: (value) => typeof value === 'object',
}
const NOT_ATTRIBUTES = new Set([
  'external_id',
  'user_alias',
  'braze_id',
  'app_id',
  '_update_existing_only',
  '_merge_objects',
  'push_token_import',
])
/** Longer texts are cut ("255 characters maximum"). */
const LONGEST = 255
/** Items of an array attribute ("the maximum is 500"). */
const MOST_ITEMS = 500

export function setAttributes(profile: Profile, object: Attributes): void {
  for (const [name, value] of Object.entries(object)) {
    if (NOT_ATTRIBUTES.has(name)) continue
    const fits = Object.hasOwn(STANDARD, name) ? STANDARD[name] : undefined
    if (fits === undefined) setCustom(profile.custom_attributes, name, value, object['_merge_objects'] === true)
    else if (value === null) delete profile[name]
    else if (fits(value)) profile[name] = value
  }
}

function setCustom(custom: Record<string, unknown>, name: string, value: unknown, merge: boolean): void {
  if (name.startsWith('$') || name.length > LONGEST) return
  const old = custom[name]
  if (value === null) delete custom[name]
  else if (typeof value === 'string') custom[name] = value.slice(0, LONGEST)
  else if (Array.isArray(value)) custom[name] = value.slice(0, MOST_ITEMS)
  else if (typeof value !== 'object') custom[name] = value
  else if ('add' in value || 'remove' in value) custom[name] = listed(old, value as { add?: unknown[]; remove?: unknown[] })
  else if ('inc' in value) custom[name] = (typeof old === 'number' ? old : 0) + Number(value.inc)
  else custom[name] = merge && typeof old === 'object' ? { ...old, ...value } : value
}

function listed(old: unknown, { add = [], remove = [] }: { add?: unknown[]; remove?: unknown[] }): unknown[] {
  const list = Array.isArray(old) ? (old as unknown[]) : []
  return [...new Set([...list, ...add])].filter((item) => !remove.includes(item))
}
