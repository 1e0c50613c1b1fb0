/**
 * The contract between the engine and a connector. A connector says what its service can do (constants), and does two
 * things: `check` and `write`. Batching, order, retry, rate limits, time-outs, bisection, state and reports are the engine's.
 */
import type { z } from 'zod'
import type { Fields, RawJson, Value } from './json.ts'
import type { Column, Mode, Op, Removal } from './types.ts'

/** How two match values are compared at the destination. One SQL form and one JavaScript form each (src/normalise.ts). */
export type Normaliser = 'exact' | 'trim' | 'lower_ascii' | 'email' | 'mailbox' | 'digits' | 'e164'

/**
 * What repeating a write does when nobody knows whether the first one arrived.
 * - harmless      a keyed write: the second changes nothing
 * - deduplicated  the service drops a repeat that carries the same `Change.id`
 * - none          a repeat may do harm: an unknown outcome is held until a person resolves it
 */
export type Replay = 'harmless' | 'deduplicated' | 'none'

/** The finest grain at which the service confirms: per row, per request, per job, or never (accepted). */
export type Confirms = 'row' | 'request' | 'job' | 'accepted'

/** One kind of thing that a connector writes. Data, so that engine, docs and tests all read it. */
export interface ObjectSpec {
  readonly description: string
  readonly modes: readonly Mode[]
  /**
   * What the destination finds a record by.
   * - `key`              the row's key
   * - `{ match: 'all' }` all match fields together; `renames` when a record keeps its remote id under a new match
   * - `{ match: 'any' }` each match field by itself finds the record (memberships)
   */
  readonly address: 'key' | { readonly match: 'all' | 'any'; readonly renames?: boolean }
  /** The match fields the service knows and how it compares them. `'*'` stands for any other name; without it others are errors. */
  readonly match: Readonly<Record<string, Normaliser>>
  /** A set of members (list, audience, segment): several rows with one match are one member. Implies mode mirror only. */
  readonly membership?: boolean
  readonly confirms: Confirms
  /** What repeating each operation does; operations not named are `none`. */
  readonly replay: Readonly<Partial<Record<Op, Replay>>>
  /** How it can remove, the default first. `clear` and `set` need op `update`. Needed for mode mirror. */
  readonly removes?: readonly Removal[]
  /** The service itself can write a field only when it creates the record. Enables `write: on_create`. */
  readonly onCreate?: boolean
  /** The service itself can write a field only where it is empty. Enables `write: if_empty`. */
  readonly ifEmpty?: boolean
  /** Field names with dots are paths into a nested payload (`nest()`). */
  readonly nested?: boolean
  /** Members expire there: each is sent again this many milliseconds after it was last confirmed. */
  readonly refreshAfter?: number
  /** Names of `options` (dots lead inwards) that select the target (which list, topic, table), next to connector, account and object. */
  readonly targetOptions?: readonly string[]
  /** The request body names the sync, so two syncs on one target are no conflict. */
  readonly namesSync?: boolean
}

/** What one request may carry and how fast requests may go. The engine, the docs and the plan read it. */
export interface Limits {
  /** Rows per request. */
  readonly rows: number
  /** Bytes per request, of the changes encoded as JSON. */
  readonly bytes?: number
  /** Requests in flight at once, per account. */
  readonly concurrency: number
  /** Requests per second, per account. */
  readonly perSecond?: number
  /** Further windows: at most `requests` in `seconds`, per account. */
  readonly windows?: readonly { readonly requests: number; readonly seconds: number }[]
  /** The longest one request may take, in milliseconds (default 30,000). */
  readonly timeout?: number
}

/** What a user configured, after validation. */
export interface Settings<Config = unknown, Options = unknown> {
  readonly config: Config
  readonly options: Options
}

/** One change, as a connector sees it. */
export interface Change {
  /** The row's key as text; unique within a batch. */
  readonly key: string
  readonly op: Op
  /** The match fields with the values to find the record by. Of an any-of match only those to add or remove. */
  readonly match: Fields
  /** The same as JSON text, exact; cheaper than `match`, for nothing is decoded. */
  readonly matchJson: RawJson
  /** What to write, match fields apart: with `send: changed` only what differs, else all. Empty for a removal. */
  readonly fields: Fields
  /** The same as JSON text, exact; cheaper than `fields`, for nothing is decoded. */
  readonly fieldsJson: RawJson
  /** Fields to write only if the record is created by this change. */
  readonly onCreate: Fields
  /** Fields to write only where the record has no value. */
  readonly ifEmpty: Fields
  /** Names of the fields that differ from what was last delivered; null when that is not known (adds, uncertain). */
  readonly changed: readonly string[] | null
  /** The match before this change, when it differs. */
  readonly previousMatch: Fields | null
  /** The record's id at the destination, when an earlier write returned one. */
  readonly remoteId: string | null
  /** Idempotency id: the same only when the same change is sent again because its outcome is not known. */
  readonly id: string
  /** How often this change was refused in earlier runs. */
  readonly attempts: number
}

/** Changes that travel in one call of `write`: one op, no key and no address twice, within the limits. */
export interface Batch {
  readonly sync: string
  readonly run: string
  readonly object: string
  readonly op: Op
  readonly changes: readonly Change[]
}

/** What the service said of one change. A change without an outcome is unknown: never done. */
export type Outcome =
  /** Confirmed by the service. */
  | { readonly key: string; readonly result: 'ok'; readonly remoteId?: string | undefined }
  /** Taken, and the service never says more. */
  | { readonly key: string; readonly result: 'accepted'; readonly remoteId?: string | undefined }
  /** Refused; nothing of this row was applied, and it will be refused again until something changes. */
  | {
      readonly key: string
      readonly result: 'rejected'
      readonly code: string
      readonly message: string
      readonly field?: string | undefined
    }
  /** update: there is no such record. */
  | { readonly key: string; readonly result: 'absent' }
  /** insert: there is one already. */
  | { readonly key: string; readonly result: 'exists' }
  /** Nothing of this row was applied and it may pass later. */
  | {
      readonly key: string
      readonly result: 'retry'
      readonly code: string
      readonly message: string
      readonly afterMs?: number | undefined
    }
  /** Said explicitly where a reply contradicts itself; the same as saying nothing. */
  | { readonly key: string; readonly result: 'unknown'; readonly code: string; readonly message: string }

/** The first thing `write` yields for an asynchronous vendor job: its id, made durable before the engine goes on. */
export interface JobToken {
  readonly token: string
}

/** The account that the credentials belong to. `id` is stable: state is bound to it. */
export interface Account {
  readonly id: string
  readonly name: string
}

/** A field of an object at the destination. */
export interface FieldInfo {
  readonly name: string
  readonly type: string
  /** Types of columns that can be written to it; absent means any. */
  readonly accepts?: readonly Column['type'][]
  readonly readOnly?: boolean
}

/** What the engine gives a destination to work with. */
export interface ConnectorIO {
  /** A client for one base URL. It has time-outs, redaction, tracing, proxies, and turns replies into errors the engine understands. */
  http(base: string, defaults?: HttpDefaults): Http
  /** A note for `--debug`; secrets are redacted. Never log row values. */
  log(message: string): void
  readonly signal: AbortSignal
  /** Milliseconds since 1970; injected, so that tests own the time. */
  now(): number
}

export interface HttpDefaults {
  readonly headers?: Readonly<Record<string, string>>
  /** Milliseconds for one request. */
  readonly timeout?: number
  readonly gzip?: boolean
  /**
   * What a reply outside 2xx means at this service, where its status alone does not say it: a throttle answered with 403,
   * the scope that is missing, the end of a daily quota. Undefined: what the status stands for.
   */
  readonly failure?: (reply: FailedReply) => Error | undefined
}

/** A reply outside 2xx that the request did not accept. */
export interface FailedReply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** With secrets taken out; empty when the body was cut. */
  readonly text: string
  /** The body as JSON, undefined when it is none. */
  readonly body: Value | undefined
  readonly method: string
  /** The path asked for, without query; the route where the request named one. */
  readonly route: string
}

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Appended to the base's path; may carry a query. Values in it must be percent-encoded. */
  readonly path: string
  /** The path as traces and messages may show it, where `path` holds row values. */
  readonly route?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly query?: Readonly<Record<string, string | number | undefined>> | undefined
  /** Sent as JSON (exact numbers). */
  readonly json?: Value | object | undefined
  /** Sent as application/x-www-form-urlencoded. */
  readonly form?: Readonly<Record<string, string>> | undefined
  /** Sent as it stands. */
  readonly body?: string | Uint8Array | undefined
  /** Statuses to return instead of throwing the error they stand for. */
  readonly accept?: readonly number[] | undefined
  /** Called with the exact bytes-to-be of the body, for signatures; returns further headers. */
  readonly sign?: ((body: string) => Record<string, string>) | undefined
}

export interface HttpReply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  /** The body as JSON with exact numbers. Throws UnknownOutcome when it is none (cut, HTML). */
  json(): Value
}

/**
 * Sends one request; follows no redirects. Throws
 * AuthError (401, 403) · RateLimited (429) · Refused (other 4xx) · NotSent (no connection) ·
 * UnknownOutcome (5xx, 3xx, time-out, lost after sending). A connector does not catch them.
 */
export interface Http {
  request(request: HttpRequest): Promise<HttpReply>
}

/** One configured account, opened. */
export interface Destination {
  /** Proves credentials and target; writes nothing. Throws AuthError. */
  check(): Promise<Account>
  /** The fields of the object, where the API tells. Throws when the object does not exist. */
  describe?(object: string): Promise<readonly FieldInfo[]>
  /**
   * Sends one batch; yields an outcome per change, by key, as soon as it is known. No try/catch, no retry, no sleeping.
   * An error thrown speaks for every row that was not named: 429 and no connection call it not applied. So a write that goes
   * on to another request first names all rows of the one before, `unknown` where the reply said nothing, or where a row
   * is half done and the next request completes it; a later outcome takes the place of `unknown`.
   */
  write(batch: Batch): AsyncIterable<Outcome | JobToken>
  /** Yields the outcomes of a job begun by an earlier run. */
  resume?(token: string, batch: Batch): AsyncIterable<Outcome>
  /** match -> remote id, for references; at most 100. Index i answers matches[i]; null where there is none, or more than one. */
  lookup?(object: string, matches: readonly Fields[]): Promise<readonly (string | null)[]>
  /**
   * The records found by these matches, to compare before adopting; at most 100. Index i answers matches[i]. Values as the
   * service writes them: numbers and times are compared by value. `fields`: the names that matter, where the service must be
   * told which to answer; without it all.
   */
  read?(object: string, matches: readonly Fields[], fields?: readonly string[]): Promise<readonly (Fields | null)[]>
  /** Of a membership: every member, as match fields. */
  list?(object: string): AsyncIterable<Fields>
  close?(): Promise<void>
}

// A registry of connectors holds settings of every shape; each connector's own schema checks them.
// oxlint-disable-next-line typescript/no-explicit-any
export interface Connector<Config = any, Options = any> {
  readonly name: string
  readonly description: string
  /** Raised when a change of the connector may let rejected rows pass. */
  readonly version: number
  /** Validates an entry of `destinations:`, without `type`. Mark secrets with `secret()`. */
  readonly config: z.ZodType<Config>
  /** Validates `options:` of a sync. */
  readonly options: z.ZodType<Options>
  /** Object name -> what it can do; `'*'` stands for any other name. */
  readonly objects: Readonly<Record<string, ObjectSpec | ((settings: Settings<Config, Options>) => ObjectSpec)>>
  readonly limits: Limits | ((settings: Settings<Config, Options>, op: Op, object: string) => Limits)
  /** Checks what the schemas can't, for example templates. Returns problems with the path of the option. */
  validate?(settings: Settings<Config, Options>, object: string): readonly { path: readonly (string | number)[]; message: string }[]
  open(settings: Settings<Config, Options>, io: ConnectorIO): Destination
}

/** Declares a connector; only for its types. */
export function defineConnector<Config, Options>(connector: Connector<Config, Options>): Connector<Config, Options> {
  return connector
}

/** The request was refused as such: bisected when it carried several rows. Status and the service's code and message. */
export class Refused extends Error {
  readonly code: string
  readonly status: number
  constructor(code: string, message: string, status: number) {
    super(message)
    this.name = 'Refused'
    this.code = code
    this.status = status
  }
}

/** The service asks to wait (429). Pauses the account; costs no retry budget. */
export class RateLimited extends Error {
  /** Milliseconds to wait, when the service said so. */
  readonly afterMs: number | undefined
  constructor(message: string, afterMs?: number) {
    super(message)
    this.name = 'RateLimited'
    this.afterMs = afterMs
  }
}

/** The request did not leave: nothing was applied. */
export class NotSent extends Error {
  readonly code: string
  constructor(code: string, message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'NotSent'
    this.code = code
  }
}

/** The request may have been applied and nobody said so. */
export class UnknownOutcome extends Error {
  readonly code: string
  readonly afterMs: number | undefined
  constructor(code: string, message: string, detail: { afterMs?: number | undefined; cause?: unknown } = {}) {
    super(message, { cause: detail.cause })
    this.name = 'UnknownOutcome'
    this.code = code
    this.afterMs = detail.afterMs
  }
}
