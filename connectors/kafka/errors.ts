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
/** Of the errors that kafkajs calls retriable these come after the leader may have stored the messages. */
const MAYBE_STORED = ['REQUEST_TIMED_OUT', 'NOT_ENOUGH_REPLICAS_AFTER_APPEND', 'NETWORK_EXCEPTION']
/** Errors of sockets that never were connected. A reset may have come after the request. */
const NO_CONNECTION = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ERR_TLS_.*|.*CERT.*)$/

interface KafkaError extends Error {
  readonly type?: string
  readonly code?: unknown
  readonly retriable?: boolean
}

/** The error that kafkajs wrapped when it gave up. */
function root(thrown: unknown): KafkaError {
  let error = thrown as KafkaError
  while (/^KafkaJS(NumberOfRetriesExceeded|NonRetriableError)$/.test(error.name) && error.cause instanceof Error) error = error.cause
  return error
}

export function failureOf(thrown: unknown): Failure {
  const error = root(thrown)
  const { name, type, message } = error
  const code = type ?? (typeof error.code === 'string' ? error.code : name)
  const is = (kind: Failure['kind']): Failure => ({ kind, code, message })
  if (name === 'KafkaJSSASLAuthenticationError' || LOGIN.includes(code) || RIGHTS.includes(code)) return is('auth')
  if (REFUSED.includes(code)) return is('refused')
  if (MAYBE_STORED.includes(code)) return is('unknown')
  if (name === 'KafkaJSProtocolError') return is(error.retriable === false ? 'refused' : 'later')
  if (/^KafkaJS(MetadataNotLoaded|TopicMetadataNotLoaded|BrokerNotFound|LockTimeout)$/.test(name)) return is('later')
  if (name === 'KafkaJSConnectionError' && (NO_CONNECTION.test(code) || message === 'Connection timeout')) return is('later')
  return is('unknown')
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

/** Kafka has no HTTP: here, and only here, its client's errors become those of the contract. */
export async function translated<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    if (!(thrown instanceof Error) || !thrown.name.startsWith('KafkaJS')) throw thrown
    throw thrownFor(failureOf(thrown))
  }
}
