/** What the Graph API's replies mean: its codes say what went wrong, the HTTP status often does not. */
import { AuthError, type HttpReply, RateLimited, RawJson, Refused, UnknownOutcome, type Value } from '../../src/index.ts'

type Json = Readonly<Record<string, Value>>

/** Statuses that this file reads; others are errors of `io.http`. */
export const READ = [400, 401, 403, 404, 429, 500, 503]

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof RawJson)
const text = (value: unknown): string => (typeof value === 'string' ? value : '')

/** "Handling errors" and "Rate limiting" of the Graph and Marketing APIs. */
const LOGIN = [102, 190, 2500]
const isPermission = (code: number): boolean => code === 3 || code === 10 || code === 294 || (code >= 200 && code <= 299)
const isLimit = (code: number): boolean => [4, 17, 32, 341, 368, 613].includes(code) || (code >= 80_000 && code <= 80_014)
/** The service failed; whether it had taken the request nobody knows. */
const FAILURES = [1, 2, 5000]
/** "Terms of service has not been accepted": of a customer list, of the app. */
const TERMS = [2655, 2663]
/** Subcodes of audiences that nobody can change: flagged, not available, deleted. */
const AUDIENCE = [1_713_230, 1_487_301, 1_487_366]

/** Throws what a reply outside 2xx comes to. */
export function refuse(reply: HttpReply): never {
  // A proxy answers with a page: then the status alone counts.
  const body = reply.text.trimStart().startsWith('{') ? membersOf(reply) : {}
  const error = isObject(body['error']) ? body['error'] : {}
  const code = Number(error['code'] ?? Number.NaN)
  const subcode = Number(error['error_subcode'] ?? Number.NaN)
  const said = text(error['error_user_msg']) || text(error['message']) || `Meta answered ${reply.status}.`
  const label = Number.isNaN(code) ? `http_${reply.status}` : Number.isNaN(subcode) ? String(code) : `${code}/${subcode}`
  const cause = new Error(said)
  if (LOGIN.includes(code) || reply.status === 401)
    throw new AuthError('CDP3001', `Meta refused the access token (${label}).`, {
      hint: 'Make a new token of the system user in Business settings: this one ended, was revoked, or is of another app.',
      cause,
    })
  if (/appsecret_proof/.test(said))
    throw new AuthError('CDP3001', `Meta refused the login: app_secret does not belong to the app of the access token (${label}).`, {
      hint: 'Copy app_secret from the settings of the app that made the token, or leave it out.',
      cause,
    })
  if (AUDIENCE.includes(subcode) || AUDIENCE.includes(code))
    throw new AuthError('CDP3002', `The custom audience can’t be edited: it is flagged, deleted or not available (${label}).`, {
      hint: 'Look at it in Audiences of Ads Manager and resolve the restriction, or use another audience. No permission of the login helps.',
      cause,
    })
  if (TERMS.includes(code) || TERMS.includes(subcode))
    throw new AuthError('CDP3002', `The ad account lacks a permission: the terms for custom audiences were not accepted (${label}).`, {
      hint: 'Accept the custom audience terms of the ad account in Ads Manager, Audiences.',
      cause,
    })
  if (isPermission(code) || reply.status === 403)
    throw new AuthError('CDP3002', `The login lacks a permission at Meta (${label}).`, {
      hint: 'Grant the token ads_management, and assign the ad account and the dataset to its system user in Business settings.',
      cause,
    })
  if (isLimit(code) || reply.status === 429) {
    const wait = waitOf(reply)
    const minutes = wait === undefined ? '' : ` for ${Math.ceil(wait / 60_000)} minutes`
    throw new RateLimited(`Meta’s rate limit of the ad account is used up (${label})${minutes}. Run again later.`, wait)
  }
  if (FAILURES.includes(code) || error['is_transient'] === true || reply.status >= 500)
    throw new UnknownOutcome(label, `Meta failed (${label}).`, { afterMs: retryAfterOf(reply), cause })
  // The service's own words for that speak of the Graph API only.
  const missing = code === 100 && subcode === 33
  throw new Refused(
    label,
    missing ? 'Meta has no object of that id, or the token may not see it: check the id in options, and ad_account_id.' : said,
    reply.status,
  )
}

/**
 * Milliseconds to wait, the longest that a header tells: minutes in `estimated_time_to_regain_access`, seconds in
 * `reset_time_duration` and Retry-After.
 */
function waitOf(reply: HttpReply): number | undefined {
  let wait = retryAfterOf(reply) ?? 0
  const find = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    for (const [name, member] of Object.entries(value)) {
      if (name === 'estimated_time_to_regain_access') wait = Math.max(wait, Number(member) * 60_000)
      else if (name === 'reset_time_duration') wait = Math.max(wait, Number(member) * 1000)
      else find(member)
    }
  }
  for (const name of ['x-business-use-case-usage', 'x-ad-account-usage', 'x-app-usage']) find(parsed(reply.headers[name]))
  return wait > 0 ? wait : undefined
}

function retryAfterOf({ headers }: HttpReply): number | undefined {
  const seconds = Number(headers['retry-after'] ?? Number.NaN)
  return seconds > 0 ? seconds * 1000 : undefined
}

function parsed(header: string | undefined): unknown {
  try {
    return JSON.parse(header ?? '')
  } catch {
    return null
  }
}

/** The members of a reply's object. */
export function membersOf(reply: HttpReply): Json {
  const body = reply.json()
  return isObject(body) ? body : {}
}
