/** The bodies in which Google's APIs say that a request failed (google.rpc.Status as JSON). */
import type { FakeReply } from '../../src/testing/fake.ts'

const DOMAIN = 'datamanager.googleapis.com'

/** One entry of google.rpc.BadRequest. */
export interface Violation {
  /** Path with indexes, in snake case. */
  readonly field: string
  readonly description: string
  /** Of google.ads.datamanager.v1.ErrorReason; absent where the JSON itself could not be read. */
  readonly reason?: string
}

export function rpcError(code: number, status: string, message: string, details: readonly object[] = []): FakeReply {
  return { status: code, json: { error: { code, message, status, ...(details.length === 0 ? {} : { details }) } } }
}

const errorInfo = (reason: string, domain = DOMAIN, metadata: object = {}): object => ({
  '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
  reason,
  domain,
  metadata,
})

const badRequest = (fieldViolations: readonly Violation[]): object => ({
  '@type': 'type.googleapis.com/google.rpc.BadRequest',
  fieldViolations,
})

/** The whole request is refused; nothing of it is processed (Data Manager API, "Understand API errors": fast fail). */
export function invalidArgument(violations: readonly Violation[], requestId: string): FakeReply {
  return rpcError(400, 'INVALID_ARGUMENT', 'There was a problem with the request.', [
    errorInfo('INVALID_ARGUMENT'),
    badRequest(violations),
    { '@type': 'type.googleapis.com/google.rpc.RequestInfo', requestId },
  ])
}

/** What the JSON front of every Google API says of bodies that do not fit the message: no reason, no request id. */
export function invalidJson(violations: readonly Violation[]): FakeReply {
  const message = violations.map((one) => one.description).join('\n')
  return rpcError(400, 'INVALID_ARGUMENT', message, [badRequest(violations)])
}

export function unauthenticated(reason: string): FakeReply {
  const message =
    'Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. ' +
    'See https://developers.google.com/identity/sign-in/web/devconsole-project.'
  const reply = rpcError(401, 'UNAUTHENTICATED', message, [errorInfo(reason, 'googleapis.com', { service: DOMAIN })])
  return { ...reply, headers: { 'www-authenticate': 'Bearer realm="https://accounts.google.com/", error="invalid_token"' } }
}

export function permissionDenied(requestId: string): FakeReply {
  return rpcError(403, 'PERMISSION_DENIED', 'The caller does not have permission', [
    errorInfo('PERMISSION_DENIED'),
    { '@type': 'type.googleapis.com/google.rpc.RequestInfo', requestId },
  ])
}

export function scopeInsufficient(): FakeReply {
  return rpcError(403, 'PERMISSION_DENIED', 'Request had insufficient authentication scopes.', [
    errorInfo('ACCESS_TOKEN_SCOPE_INSUFFICIENT', 'googleapis.com', { service: DOMAIN }),
  ])
}

export function notFound(message: string): FakeReply {
  return rpcError(404, 'NOT_FOUND', message, [errorInfo('NOT_FOUND')])
}

/** Quota limits by name: Data Manager API, "Limits and quotas". */
export function exhausted(daily: boolean, retryAfter: number | undefined): FakeReply {
  const quota = daily ? 'IngestionMutateRequestsPerDayPerProject' : 'IngestionMutateRequestsPerMinutePerProject'
  const limit = daily ? '100000' : '300'
  const metadata = {
    quota_limit: quota,
    quota_limit_value: limit,
    quota_unit: daily ? '1/d/{project}' : '1/min/{project}',
    service: DOMAIN,
  }
  const reply = rpcError(
    429,
    'RESOURCE_EXHAUSTED',
    `Quota exceeded for quota metric 'Ingestion mutate requests' and limit '${quota}' of service '${DOMAIN}' for consumer 'project_number:4711'.`,
    [
      errorInfo('RATE_LIMIT_EXCEEDED', 'googleapis.com', metadata),
      ...(retryAfter === undefined ? [] : [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: `${retryAfter}s` }]),
    ],
  )
  return retryAfter === undefined ? reply : { ...reply, headers: { 'retry-after': String(retryAfter) } }
}
