/** Errors as the Graph API words them: a code says what it is, the HTTP status often does not. */
import type { FakeReply } from '../../src/testing/fake.ts'

interface More {
  readonly type?: string
  readonly subcode?: number
  readonly transient?: boolean
  readonly title?: string
  readonly userMessage?: string
  readonly headers?: Readonly<Record<string, string>>
}

let traces = 0
export const trace = (): string => `A${(++traces).toString(36).padStart(22, '0')}`

export function graphError(status: number, code: number, message: string, more: More = {}): FakeReply {
  return {
    status,
    headers: { ...more.headers },
    json: {
      error: {
        message,
        type: more.type ?? 'OAuthException',
        code,
        ...(more.subcode === undefined ? {} : { error_subcode: more.subcode }),
        ...(more.transient === undefined ? {} : { is_transient: more.transient }),
        ...(more.title === undefined ? {} : { error_user_title: more.title }),
        ...(more.userMessage === undefined ? {} : { error_user_msg: more.userMessage }),
        fbtrace_id: trace(),
      },
    },
  }
}

export const invalidParameter = (why: string, more: More = {}): FakeReply =>
  graphError(400, 100, more.subcode === undefined ? `(#100) ${why}` : 'Invalid parameter', { transient: false, ...more })

/** v25.0 and v26.0 answer 401 to a token that can't be read; older versions said 400. */
export const badToken = (): FakeReply =>
  graphError(401, 190, 'Invalid OAuth access token - Cannot parse access token', {
    headers: { 'www-authenticate': 'OAuth "Facebook Platform" "invalid_token" "Invalid OAuth access token - Cannot parse access token"' },
  })

export const noToken = (): FakeReply =>
  graphError(400, 2500, 'An active access token must be used to query information about the current user.')

export const badProof = (): FakeReply =>
  graphError(400, 100, 'Invalid appsecret_proof provided in the API argument', { type: 'GraphMethodException' })

export const missingPermission = (): FakeReply =>
  graphError(403, 200, '(#200) Ad account owner has NOT grant ads_management or ads_read permission', { transient: false })

/** What the Graph API says of ids that are not there, that the token may not see, and of edges that do not exist. */
export const noSuchObject = (method: string, id: string): FakeReply =>
  graphError(
    400,
    100,
    `Unsupported ${method.toLowerCase()} request. Object with ID '${id}' does not exist, cannot be loaded due to missing permissions, ` +
      'or does not support this operation. Please read the Graph API documentation at https://developers.facebook.com/docs/graph-api',
    { type: 'GraphMethodException', subcode: 33, transient: false },
  )

/**
 * Too many calls: HTTP 400, not 429 (Marketing API, "Rate limiting"): 80003 for custom audiences of an ad account. How
 * long to wait stands in headers only: whole minutes, and seconds (X-Ad-Account-Usage).
 */
export function tooManyCalls(accountId: string, seconds: number): FakeReply {
  const usage = {
    type: 'custom_audience',
    call_count: 100,
    total_cputime: 40,
    total_time: 45,
    estimated_time_to_regain_access: seconds < 60 ? 0 : Math.ceil(seconds / 60),
  }
  return graphError(
    400,
    80003,
    '(#80003) There have been too many calls to this ad-account. Wait a bit and try again. For more info, please refer to https://developers.facebook.com/docs/graph-api/overview/rate-limiting#custom-audience.',
    {
      subcode: 2446079,
      transient: true,
      headers: {
        'x-business-use-case-usage': JSON.stringify({ [accountId]: [usage] }),
        'x-ad-account-usage': JSON.stringify({
          acc_id_util_pct: 100,
          reset_time_duration: seconds,
          ads_api_access_tier: 'standard_access',
        }),
      },
    },
  )
}

export function serverFailure(status: number): FakeReply {
  return status === 503
    ? graphError(503, 2, 'Service temporarily unavailable', { transient: true })
    : graphError(status, 1, 'An unknown error occurred', { transient: true })
}
