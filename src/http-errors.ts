/** Turns a reply that is no success into the error the engine understands. */
import { NotSent, RateLimited, Refused, UnknownOutcome } from './connector.ts'
import { AuthError } from './errors.ts'

/** Vendors' messages are cut here: they go into journals and reports, a row each. */
const MAX_MESSAGE = 500

export interface BadReply {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
}

/** What was asked, for messages: no query, no row values. */
export interface Asked {
  readonly method: string
  readonly host: string
  readonly route: string
  /** Where a redirect points, fit to be shown. */
  readonly redirect: string | undefined
}

/** The error a status stands for; only for statuses outside 2xx. */
export function errorOf(reply: BadReply, asked: Asked, now: number): Error {
  const { status } = reply
  const what = `${asked.method} ${asked.host}${asked.route}`
  const said = saidBy(reply.text)
  const code = said.code ?? `http_${status}`
  if (status === 401 || status === 403) return authError(reply, what, said)
  const afterMs = retryAfter(reply.headers, now)
  if (status === 429) return new RateLimited(`${what} answered 429: ${said.message ?? 'too many requests'}`, afterMs)
  if (status >= 300 && status < 400) {
    const to = asked.redirect === undefined ? '' : ` to ${asked.redirect}`
    return new UnknownOutcome('redirect', `${what} answered ${status}, a redirect${to}. Redirects are not followed: set the final address.`)
  }
  // 408: it may have taken what had arrived. 425: a proxy may have passed it on. Neither says "refused".
  if (status >= 400 && status < 500 && status !== 408 && status !== 425)
    return new Refused(code, said.message ?? `${what} answered ${status}`, status)
  return new UnknownOutcome(code, `${what} answered ${status}${said.message ? `: ${said.message}` : ''}`, { afterMs })
}

/** The service's words stay in `cause`: they may quote values, and this error is shown in shared logs. */
function authError(reply: BadReply, what: string, said: Said): AuthError {
  const login = reply.status === 401
  const reason = said.code === undefined ? '' : `, ${said.code}`
  return new AuthError(
    login ? 'CDP3001' : 'CDP3002',
    `${what} answered ${reply.status}${reason}: ${login ? 'the login was refused' : 'the login lacks a permission'}.`,
    {
      hint: login
        ? 'Check the credentials of this destination: expired, revoked, or of another environment?'
        : 'Grant the account of this destination the permission or scope for this object, or use another account.',
      ...(said.message === undefined ? {} : { cause: new Error(said.message) }),
    },
  )
}

/** A failure below HTTP. `sent`: whether the first byte may have left. */
export function lostError(sent: boolean, code: string, message: string, cause?: unknown): NotSent | UnknownOutcome {
  return sent ? new UnknownOutcome(code, message, { cause }) : new NotSent(code, message, cause)
}

interface Said {
  readonly code: string | undefined
  readonly message: string | undefined
}

/** The service's own code and message, from where services usually put them. */
export function saidBy(text: string): Said {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    // A page of HTML says nothing to a person reading a log.
    const plain = text.trim()
    return { code: undefined, message: plain === '' || plain.startsWith('<') ? undefined : cut(plain) }
  }
  const places = [body, member(body, 'error'), first(member(body, 'errors')), first(body), member(body, 'detail')]
  let code: string | undefined
  let message: string | undefined
  for (const place of places) {
    message ??= ['message', 'error_description', 'detail', 'title', 'reason', 'msg'].map((name) => words(member(place, name))).find(Boolean)
    code ??= ['code', 'errorCode', 'error_code', 'category', 'type', 'error'].map((name) => identifier(member(place, name))).find(Boolean)
  }
  message ??= places.map(words).find(Boolean)
  return { code, message: message === undefined ? undefined : cut(message) }
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>)[name] : undefined
}

function first(value: unknown): unknown {
  return Array.isArray(value) ? value[0] : typeof value === 'object' && value !== null ? undefined : value
}

function words(value: unknown): string | undefined {
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined
}

/** Codes reach shared logs, so only what looks like one counts. */
function identifier(value: unknown): string | undefined {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value)
  return typeof value === 'string' && /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/.test(value) ? value : undefined
}

function cut(message: string): string {
  return message.length <= MAX_MESSAGE ? message : `${message.slice(0, MAX_MESSAGE - 1)}…`
}

/**
 * Milliseconds the service asks to wait, from the first header that says so; undefined when none does.
 * Forms: `retry-after-ms`; `retry-after` in seconds or as an HTTP date (RFC 9110 10.2.3); `x-ratelimit-retry-after` in
 * seconds; `ratelimit-reset` in seconds; `x-ratelimit-reset` as epoch seconds, epoch milliseconds or seconds.
 */
export function retryAfter(headers: Readonly<Record<string, string>>, now: number): number | undefined {
  const number = (name: string): number | undefined => {
    const text = headers[name]?.trim()
    return text !== undefined && /^\d+(\.\d+)?$/.test(text) ? Number(text) : undefined
  }
  const seconds = (name: string): number | undefined => {
    const found = number(name)
    return found === undefined ? undefined : Math.ceil(found * 1000)
  }
  const direct = number('retry-after-ms') ?? seconds('retry-after') ?? untilDate(headers, now) ?? seconds('x-ratelimit-retry-after')
  if (direct !== undefined) return direct
  // Something is left in this window, so it is another limit that was hit: its reset says nothing.
  if ((number('ratelimit-remaining') ?? number('x-ratelimit-remaining') ?? 0) > 0) return undefined
  return seconds('ratelimit-reset') ?? untilReset(number('x-ratelimit-reset'), now)
}

/** Measured on the service's own clock where it sends one. */
function untilDate(headers: Readonly<Record<string, string>>, now: number): number | undefined {
  const at = Date.parse(headers['retry-after'] ?? '')
  if (Number.isNaN(at)) return undefined
  const there = Date.parse(headers['date'] ?? '')
  return Math.max(0, at - (Number.isNaN(there) ? now : there))
}

/** Anything over 10^9 is a time since 1970 (seconds from 2001 on), over 10^11 in milliseconds. */
function untilReset(reset: number | undefined, now: number): number | undefined {
  if (reset === undefined) return undefined
  if (reset > 1e11) return Math.max(0, Math.ceil(reset - now))
  return reset > 1e9 ? Math.max(0, Math.ceil(reset * 1000 - now)) : Math.ceil(reset * 1000)
}
