/** What Slack's replies mean for a message: its failures come with status 200 as often as not. */
import { AuthError, type Change, type HttpReply, type Outcome, RateLimited, UnknownOutcome, type Value } from '../../src/index.ts'

type Json = Readonly<Record<string, Value>>

const isObject = (value: Value | undefined): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
const textOf = (value: Value | undefined): string | undefined => (typeof value === 'string' ? value : undefined)

/** "chat.postMessage", errors: of the token. */
const LOGIN = [
  'not_authed',
  'invalid_auth',
  'account_inactive',
  'token_revoked',
  'token_expired',
  'two_factor_setup_required',
  'invalid_token',
]
/** Of what the token may do. */
const PERMISSION = [
  'missing_scope',
  'no_permission',
  'not_allowed_token_type',
  'org_login_required',
  'ekm_access_denied',
  'access_denied',
  'accesslimited',
  'enterprise_is_restricted',
  'team_access_not_granted',
  'team_disabled',
]
/** Of the channel, or of the webhook that stands for one. */
const CHANNEL: Readonly<Record<string, string>> = {
  channel_not_found: 'Write its id (Channel details › About), and invite the bot if it is private: /invite @BOT.',
  not_in_channel: 'Invite it there: /invite @BOT. Or grant the scope chat:write.public for public channels.',
  is_archived: 'Unarchive it, or name another one.',
  channel_is_archived: 'Unarchive it, or make a webhook for another one.',
  restricted_action: 'A setting of the workspace keeps the bot from posting there.',
  restricted_action_read_only_channel: 'The channel is read-only.',
  posting_to_general_channel_denied: 'A setting of the workspace keeps apps from posting to #general.',
  action_prohibited: 'An administrator has restricted this webhook.',
  no_service: 'The webhook was removed: make a new one.',
  no_service_id: 'The webhook’s URL is not whole: copy it anew.',
  no_active_hooks: 'The webhook was switched off: make a new one.',
  no_team: 'The workspace is gone, or the webhook’s URL is wrong.',
}
/** "It's possible some aspect of the operation succeeded": nobody knows. */
const DOUBTFUL = ['internal_error', 'fatal_error', 'service_unavailable', 'rollup_error']
/** Nothing was posted, and it may pass later. */
const LATER = ['request_timeout', 'team_added_to_org', 'message_limit_exceeded']

/** The reply as an object that says `ok`; the errors of logins and limits are thrown. Throws UnknownOutcome for anything else. */
export function said(reply: HttpReply): Json {
  const body = reply.json()
  if (!isObject(body) || typeof body['ok'] !== 'boolean')
    throw new UnknownOutcome('bad_reply', 'Slack’s reply does not say whether it is ok.')
  const error = textOf(body['error']) ?? 'unknown_error'
  if (body['ok']) return body
  if (error === 'ratelimited' || error === 'rate_limited') throw new RateLimited('Slack asks to post more slowly.', waitOf(reply))
  if (DOUBTFUL.includes(error)) throw new UnknownOutcome(error, `Slack answered ${error}.`)
  const denied = deniedBy(error, textOf(body['needed']))
  if (denied !== undefined) throw denied
  return body
}

const waitOf = ({ headers }: HttpReply): number | undefined => Number(headers['retry-after']) * 1000 || undefined

export function deniedBy(error: string, needed?: string): AuthError | undefined {
  if (LOGIN.includes(error))
    return new AuthError('CDP3001', `Slack refuses the login (${error}).`, {
      hint: 'Copy the bot token (xoxb-…) or the webhook’s URL anew from the app’s settings: it was revoked, or belongs to another workspace.',
    })
  if (!PERMISSION.includes(error)) return undefined
  return new AuthError(
    'CDP3002',
    needed === undefined ? `Slack denies this permission (${error}).` : `Slack’s bot token lacks the scope ${needed}.`,
    {
      hint:
        needed === undefined ? 'Ask an administrator of the workspace.' : 'Add it under OAuth & Permissions, then install the app anew.',
    },
  )
}

/** Of a channel that is the same for every message nothing depends on the row: the run ends, and nothing is lost. */
export function channelDenied(error: string, channel: string): AuthError | undefined {
  const hint = CHANNEL[error]
  return hint === undefined ? undefined : new AuthError('CDP3002', `Slack lets nothing be posted to ${channel} (${error}).`, { hint })
}

/** What became of a message sent by `chat.postMessage`. */
export function posted(reply: HttpReply, { key }: Change, channel: string | null): Outcome {
  const body = said(reply)
  if (body['ok'] === true) {
    const [where, ts] = [textOf(body['channel']), textOf(body['ts'])]
    if (ts === undefined) throw new UnknownOutcome('bad_reply', 'Slack’s reply does not name the message.')
    return { key, result: 'ok', remoteId: where === undefined ? ts : `${where}:${ts}` }
  }
  const error = textOf(body['error']) ?? 'unknown_error'
  if (channel !== null) {
    const denied = channelDenied(error, channel)
    if (denied !== undefined) throw denied
  }
  if (LATER.includes(error)) return { key, result: 'retry', code: error, message: `Slack answered ${error}.` }
  return { key, result: 'rejected', code: error, message: `Slack answered ${error}.${details(body)}`, field: fieldOf(error) }
}

/** The reply of a webhook: `ok`, or a word that says what is wrong. */
export function hooked(reply: HttpReply, { key }: Change): Outcome {
  const word = reply.text.trim()
  if (reply.status === 200) {
    if (word === 'ok') return { key, result: 'ok' }
    throw new UnknownOutcome('bad_reply', 'The reply of the webhook is not "ok".')
  }
  const error = /^[a-z_]{1,64}$/.test(word) ? word : `http_${reply.status}`
  const denied = deniedBy(error) ?? channelDenied(error, 'the webhook’s channel')
  if (denied !== undefined) throw denied
  if (reply.status !== 400)
    throw new AuthError('CDP3002', `Slack’s webhook answered ${reply.status} (${error}).`, { hint: 'Make a new webhook and use its URL.' })
  return { key, result: 'rejected', code: error, message: `Slack answered ${error}.`, field: fieldOf(error) }
}

function fieldOf(error: string): string | undefined {
  if (error.startsWith('invalid_blocks')) return 'blocks'
  if (CHANNEL[error] !== undefined) return 'channel'
  return error === 'no_text' || error === 'msg_too_long' ? 'text' : undefined
}

/** Slack says of blocks and arguments what is wrong with them. */
function details(body: Json): string {
  const more = body['response_metadata']
  const messages = isObject(more) ? more['messages'] : undefined
  return Array.isArray(messages)
    ? ` ${(messages as readonly Value[]).flatMap((message) => textOf(message) ?? []).join(' ')}`.slice(0, 400)
    : ''
}
