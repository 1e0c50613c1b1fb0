/** What the Data Manager API's replies mean: refusals of the login, of the request, or of single rows; and the end of a request's processing. */
import { AuthError, type HttpReply, type Outcome, RateLimited, RawJson, Refused, UnknownOutcome, type Value } from '../../src/index.ts'
import type { Row } from './rows.ts'

type Json = Readonly<Record<string, Value>>

/** Statuses that this file reads; others are errors of `io.http`. */
export const READ = [400, 401, 403, 404, 409, 429]

interface Violation {
  readonly field: string
  readonly description: string
  readonly reason: string
}

/** google.rpc.Status as JSON, taken apart. */
interface Status {
  readonly status: string
  readonly message: string
  /** Of google.rpc.ErrorInfo. */
  readonly reason: string
  readonly quota: string
  readonly violations: readonly Violation[]
  readonly retryMs: number | undefined
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof RawJson)
const list = (value: unknown): readonly Json[] => (Array.isArray(value) ? value.filter(isObject) : [])
const text = (value: unknown): string => (typeof value === 'string' ? value : '')

function statusOf(reply: HttpReply): Status {
  // A proxy answers with a page: then the status alone counts.
  const body = reply.text.trimStart().startsWith('{') ? reply.json() : {}
  const error = isObject(body) && isObject(body['error']) ? body['error'] : {}
  const details = list(error['details'])
  const detail = (type: string): Json => details.find((one) => text(one['@type']).endsWith(`google.rpc.${type}`)) ?? {}
  const info = detail('ErrorInfo')
  const metadata = isObject(info['metadata']) ? info['metadata'] : {}
  const delay = /^(\d+(?:\.\d+)?)s$/.exec(text(detail('RetryInfo')['retryDelay']))?.[1] ?? reply.headers['retry-after']
  return {
    status: text(error['status']),
    message: text(error['message']) || `Google answered ${reply.status}.`,
    reason: text(info['reason']),
    quota: text(metadata['quota_limit']),
    violations: list(detail('BadRequest')['fieldViolations']).map((one) => ({
      field: text(one['field']),
      description: text(one['description']),
      reason: text(one['reason']),
    })),
    retryMs: delay === undefined || !/^\d/.test(delay) ? undefined : Math.ceil(Number.parseFloat(delay) * 1000),
  }
}

/** Reasons that only a person can do away with, and how (ErrorReason in error.proto). */
const FOR_A_PERSON: Readonly<Record<string, string>> = {
  TERMS_AND_CONDITIONS_NOT_SIGNED: 'Accept the Customer Match terms in Google Ads: Tools, Shared library, Audience manager.',
  DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED: 'Accept the customer data terms in Google Ads: Goals, Conversions, Settings.',
  DESTINATION_ACCOUNT_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS:
    'Turn on enhanced conversions for leads in Google Ads: Goals, Conversions, Settings.',
  DESTINATION_ACCOUNT_DATA_POLICY_PROHIBITS_ENHANCED_CONVERSIONS:
    'Google’s data policies exclude this account: ask your Google representative.',
  EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED: 'Declare in Google Ads whether the account runs political advertising in the EU.',
  CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE: 'The account may not use this yet: ask your Google representative.',
  CLOUD_PROJECT_NOT_APPROVED_FOR_PRODUCTION: 'Apply for production access of the Google Cloud project that owns the login.',
}

const NO_ACCESS =
  'Add the login’s e-mail address as a user of the account in Google Ads (Admin, Access and security), or set login_account to the manager account it belongs to.'

/** Daily quotas start anew at midnight Pacific time (Google Cloud, "Rate limiting"); a run does not wait for that. Milliseconds. */
const DAILY_WAIT = 3_600_000

/** Throws what a refused request comes to. 400 throws Refused, or AuthError where only a person can help. */
export function refuse(reply: HttpReply): never {
  const { status, message, reason, quota, violations, retryMs } = statusOf(reply)
  if (reply.status === 401)
    throw new AuthError('CDP3001', `Google refused the access token (${reason || status || reply.status}).`, {
      hint: 'Check the credentials of this destination: the key or grant may have been revoked meanwhile.',
    })
  if (reply.status === 403) {
    const scope = reason === 'ACCESS_TOKEN_SCOPE_INSUFFICIENT'
    const disabled = reason === 'SERVICE_DISABLED'
    throw new AuthError('CDP3002', `The login lacks a permission at Google (${reason || status || reply.status}).`, {
      hint: scope
        ? 'Grant the scope https://www.googleapis.com/auth/datamanager to the refresh token.'
        : disabled
          ? 'Turn on the Data Manager API in the Google Cloud project that owns the login.'
          : NO_ACCESS,
      cause: new Error(message),
    })
  }
  if (reply.status === 429) {
    const daily = /PerDay/i.test(quota)
    throw new RateLimited(
      daily
        ? `Google’s quota of the day is used up (${quota}); it starts anew at midnight Pacific time. Run again then.`
        : `Google asks to slow down (${quota || status || 429}).`,
      daily ? Math.max(retryMs ?? 0, DAILY_WAIT) : retryMs,
    )
  }
  // ABORTED: another request was at the same data; it may pass when it is repeated.
  if (reply.status === 409) throw new UnknownOutcome(reason || status || 'ABORTED', 'Google was changing the same data meanwhile.')
  const [first] = violations
  const code = first?.reason || reason || status || `http_${reply.status}`
  const blocked = violations.find((one) => FOR_A_PERSON[one.reason] !== undefined)
  if (blocked)
    throw new AuthError('CDP3002', `Google does not let this account do that (${blocked.reason}).`, {
      hint: FOR_A_PERSON[blocked.reason] ?? '',
    })
  const where = first?.field.includes('product_destination_id') ? 'check list or conversion_action in options' : first?.field
  throw new Refused(code, first === undefined ? message : `${first.description} (${where})`, reply.status)
}

/** Reasons that are the request's fault, at whichever row they are reported: list, destination, account, terms. */
const OF_THE_REQUEST =
  /USER_LIST|DESTINATION|ACCOUNT|TERMS|CONVERSION_ACTION|PERMISSION|NOT_ALLOWED|POLITICAL|TOO_MANY_(AUDIENCE|EVENTS|DEST)/
/** Reasons that speak of a whole row. */
const OF_A_ROW = ['INVALID_AUDIENCE_MEMBER', 'INVALID_EVENT', 'NO_IDENTIFIERS_PROVIDED', 'TOO_MANY_USER_IDENTIFIERS']

/** Vendor's name of a part of a row -> the mapping's. */
const FIELDS: Readonly<Record<string, string>> = {
  email_address: 'email',
  phone_number: 'phone',
  address: 'address',
  mobile_ids: 'mobile_id',
}

/** What is said of a row that was in a request with a bad one. */
export const WITH_OTHERS = { code: 'refused_with_others', message: 'Google refused the request for other rows.' }

/**
 * A 400 names rows by their index, and nothing of the request was applied: those rows are rejected. Others may pass: one
 * is to be sent again, several are left out, to be looked through, for nobody promises that all bad rows are named at once.
 * Null when the request as such is refused, or when it can't be told: mistakes of the list are reported at row 0.
 */
export function rowsRefused(reply: HttpReply, rows: readonly Row[]): Outcome[] | null {
  const { violations } = statusOf(reply)
  const blamed = new Map<number, Violation & { readonly inside: string }>()
  for (const violation of violations) {
    const [, digits, inside = ''] = /(?:audience_members|events)\[(\d+)\](.*)$/.exec(violation.field) ?? []
    const index = Number(digits)
    if (digits === undefined || index >= rows.length || OF_THE_REQUEST.test(violation.reason)) return null
    if (index === 0 && inside === '' && !OF_A_ROW.includes(violation.reason)) return null
    if (!blamed.has(index)) blamed.set(index, { ...violation, inside })
  }
  if (blamed.size === 0) return null
  return rows.flatMap(({ key }, index): Outcome[] => {
    const violation = blamed.get(index)
    if (violation === undefined) return rows.length - blamed.size === 1 ? [{ key, result: 'retry', ...WITH_OTHERS }] : []
    const { reason, description, inside } = violation
    const [, part = ''] = /\.(\w+)(?:\[\d+\])?$/.exec(inside) ?? []
    const field = FIELDS[part] ?? (part === '' ? undefined : part)
    return [{ key, result: 'rejected', code: reason || 'invalid', message: description, field }]
  })
}

/** The id under which a request is processed; without it nothing was taken. */
export function requestIdOf(reply: HttpReply): string {
  const body = reply.json()
  const id = isObject(body) ? text(body['requestId']) : ''
  if (id === '') throw new UnknownOutcome('no_request_id', 'Google’s reply has no requestId.')
  return id
}

/** Failures that mean that Google has the row already. */
const REPEATED = ['PROCESSING_ERROR_REASON_DUPLICATE_TRANSACTION_ID', 'PROCESSING_ERROR_REASON_DUPLICATE_GCLID']

/** What became of a request; null while it is processed. Google tells counts, never which rows. */
export function processed(reply: HttpReply, rows: readonly Row[], note: (message: string) => void): Outcome[] | null {
  const body = reply.json()
  const [status] = list(isObject(body) ? body['requestStatusPerDestination'] : undefined)
  const said = text(status?.['requestStatus'])
  if (said === 'PROCESSING') return null
  const all = (result: 'ok' | 'accepted'): Outcome[] => rows.map(({ key }) => ({ key, result }))
  if (said === 'SUCCESS') return all('ok')
  if (said !== 'PARTIAL_SUCCESS' && said !== 'FAILED') throw new UnknownOutcome('no_status', `Google gives the status "${said}".`)
  const info = isObject(status?.['errorInfo']) ? status['errorInfo'] : {}
  const counts = list(info['errorCounts']).map((one) => ({
    reason: text(one['reason']),
    count: String(one['recordCount'] as string | number),
  }))
  const internal = counts.some(({ reason }) => reason === 'PROCESSING_ERROR_REASON_INTERNAL_ERROR')
  const reasons = counts.map(({ reason, count }) => `${count} × ${reason}`).join(', ')
  if (counts.length > 0 && counts.every(({ reason }) => REPEATED.includes(reason))) return all('ok')
  // Some rows would have passed: all of them again, in the next run, loses none.
  if (said === 'PARTIAL_SUCCESS' && internal) {
    const message = `Google failed at some of ${rows.length} rows and does not say at which: ${reasons}.`
    return rows.map(({ key }) => ({ key, result: 'unknown', code: 'INTERNAL_ERROR', message }))
  }
  if (said === 'PARTIAL_SUCCESS') {
    note(`Google could not use some of ${rows.length} rows and does not say which: ${reasons || 'no reason given'}.`)
    return all('accepted')
  }
  const [first] = counts
  const code = (first?.reason ?? 'FAILED').replace(/^PROCESSING_ERROR_(REASON_)?/, '')
  const message = `Google could not use any row of this request: ${reasons || 'no reason given'}.`
  return rows.map(({ key }) =>
    internal ? { key, result: 'retry', code: 'INTERNAL_ERROR', message } : { key, result: 'rejected', code, message },
  )
}
