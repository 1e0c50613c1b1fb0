/** What an error of kafkajs means for the messages that were being sent. */
import { AuthError, NotSent, Refused, UnknownOutcome } from '../../src/index.ts'

export interface Failure {
  /**
   * - auth     the login or its rights
   * - refused  the broker looked at the messages and took none
   * - later    nothing was stored, and the next time it may be
   * - unknown  they may have been stored
   */
  readonly kind: 'auth' | 'refused' | 'later' | 'unknown'
  readonly code: string
  readonly message: string
}

// Names of errors: "Error codes" of the Apache Kafka protocol guide.
const LOGIN = ['SASL_AUTHENTICATION_FAILED', 'UNSUPPORTED_SASL_MECHANISM', 'ILLEGAL_SASL_STATE']
const RIGHTS = ['TOPIC_AUTHORIZATION_FAILED', 'CLUSTER_AUTHORIZATION_FAILED']
const REFUSED = [
  'MESSAGE_TOO_LARGE',
  'RECORD_LIST_TOO_LARGE',
  'INVALID_RECORD',
  'INVALID_TIMESTAMP',
  'INVALID_TOPIC_EXCEPTION',
  'POLICY_VIOLATION',
  'UNSUPPORTED_FOR_MESSAGE_FORMAT',
]
/**
 * A leader answers these before it stores. No others count once messages have left: one that loses its leadership while it waits
 * for replicas answers NOT_LEADER_OR_FOLLOWER (DelayedProduce of Apache Kafka), though they are stored; and kafkajs asks for
 * metadata after a failure, and throws what went wrong with that instead.
 */
const NOT_STORED = ['NOT_ENOUGH_REPLICAS', 'CORRUPT_MESSAGE']

/** How a listener shows that it was spoken to in another way than it wants. */
const SHUT = ['KafkaJSConnectionClosedError', 'ECONNRESET', 'EPROTO']

interface KafkaError extends Error {
  readonly type?: string
  readonly code?: unknown
}

/** The error that kafkajs wrapped when it gave up. */
function root(thrown: unknown): KafkaError {
  let error = thrown as KafkaError
  while (/^KafkaJS(NumberOfRetriesExceeded|NonRetriableError)$/.test(error.name) && error.cause instanceof Error) error = error.cause
  return error
}

/** `sent`: whether messages may have left. */
export function failureOf(thrown: unknown, sent: boolean): Failure {
  const error = root(thrown)
  const { name, type, message } = error
  const code = type ?? (typeof error.code === 'string' ? error.code : name)
  const is = (kind: Failure['kind']): Failure => ({ kind, code, message })
  if (name === 'KafkaJSSASLAuthenticationError' || LOGIN.includes(code) || RIGHTS.includes(code)) return is('auth')
  if (REFUSED.includes(code)) return is('refused')
  if (sent && !NOT_STORED.includes(code)) return is('unknown')
  const wants = SHUT.includes(code) ? '. Does this listener want tls, or a login (sasl), or neither?' : ''
  return { kind: 'later', code, message: `${message}${wants}` }
}

/** The same as the error that the engine understands. */
export function thrownFor({ kind, code, message }: Failure): Error {
  switch (kind) {
    case 'auth':
      return RIGHTS.includes(code)
        ? new AuthError('CDP3002', `The login at the Kafka brokers lacks a permission (${code}).`, {
            hint: 'Grant its principal Describe and Write on the topic, and Describe on the cluster.',
          })
        : new AuthError('CDP3001', `The Kafka brokers refused the login (${code}).`, {
            hint: 'Check mechanism, username and password under sasl, and whether this listener wants tls.',
          })
    case 'refused':
      return new Refused(code, message, 0)
    case 'later':
      return new NotSent(code, message)
    case 'unknown':
      return new UnknownOutcome(code, message)
  }
}

/** Kafka has no HTTP: here, and only here, its client's errors become those of the contract. `sent`: see `failureOf`. */
export async function translated<T>(work: Promise<T>, sent: () => boolean): Promise<T> {
  try {
    return await work
  } catch (thrown) {
    if (!(thrown instanceof Error) || !/^(KafkaJS|AbortError$)/.test(thrown.name)) throw thrown
    throw thrownFor(failureOf(thrown, sent()))
  }
}
