/** What a fake of a vendor's API is: a small service with state, written from the vendor's documents, that refuses what the vendor refuses. */

/** One request as it arrived, unpacked. */
export interface FakeRequest {
  /** From 1, per fake. */
  readonly n: number
  readonly method: string
  /** Percent-decoded nowhere; begins with `/`, without query and without the prefix the fake is served under. */
  readonly path: string
  readonly query: URLSearchParams
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>
  /** The body as text, after `content-encoding`. */
  readonly text: string
  /** The body as JSON: numbers beyond the safe range become text of their digits. Throws SyntaxError. */
  json(): unknown
  /** The body as application/x-www-form-urlencoded. */
  form(): URLSearchParams
}

export interface FakeReply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON with its content type. */
  readonly json?: unknown
  /** Sent as it stands; `content-type` is in `headers`. */
  readonly text?: string
}

/** What a test or a person may ask of a fake while it runs. */
export interface FakeControl {
  /** Where the fake is served, without a slash at the end: for absolute URLs in replies. */
  readonly url: string
  /** Milliseconds since 1970. */
  now(): number
  /** Call it once for each row of a write, before applying it: true when somebody asked that this row be refused, as the vendor refuses one. */
  refusesRow(): boolean
  /** Pass lists through it whose order the vendor does not promise. */
  anyOrder<T>(list: readonly T[]): T[]
}

/** A running fake. */
export interface FakeService {
  /** Answers one request as the vendor would. A throw is a fault of the fake: 500 with its message. */
  handle(request: FakeRequest): FakeReply | Promise<FakeReply>
  /** True for requests that change records; false for logins, reads, searches and metadata. */
  isWrite(request: FakeRequest): boolean
  /** What the vendor holds now: collection -> records, newest state, in the vendor's own field names. */
  records(): Readonly<Record<string, readonly Readonly<Record<string, unknown>>[]>>
  /**
   * The vendor's own reply for a failure of the whole request: 401 (bad token), 403 (missing permission), 429 (with the
   * vendor's headers for `retryAfter` seconds; `daily`: the quota of the day is used up), 500, 503.
   */
  failure(status: number, detail: { readonly retryAfter?: number; readonly daily?: boolean }): FakeReply
}

/** A file of `fakes/`: its default export. */
export interface Fake {
  /** The connector it is for. */
  readonly name: string
  /** One sentence: what of the vendor it plays, and where that is known from. */
  readonly description: string
  /** Entry of `destinations:` (without `type`) that reaches the fake with credentials it accepts. */
  destination(url: string): Record<string, unknown>
  /** The same with credentials it refuses; absent where the service knows no credentials. */
  intruder?(url: string): Record<string, unknown>
  create(control: FakeControl): FakeService
}

export function defineFake(fake: Fake): Fake {
  return fake
}

/** What goes wrong with one request, whatever the vendor. */
export type Fault =
  /** Answered with the vendor's own failure; `apply`: after the request took effect. */
  | { readonly kind: 'status'; readonly status: number; readonly retryAfter?: number; readonly daily?: boolean; readonly apply?: boolean }
  /** 200 and `{}`, nothing applied. */
  | { readonly kind: 'empty' }
  /** 200 and a page, nothing applied. */
  | { readonly kind: 'html' }
  /** Applied; the reply's body ends in the middle. */
  | { readonly kind: 'cut' }
  /** The connection breaks: before the request is looked at, or after it took effect. */
  | { readonly kind: 'reset'; readonly when: 'before' | 'after' }
  /** Never answered. */
  | { readonly kind: 'hang' }
  /** Answered after so many milliseconds. */
  | { readonly kind: 'delay'; readonly ms: number }

/** A request and what came of it. */
export interface Exchange {
  readonly request: FakeRequest
  readonly write: boolean
  /** When it arrived, milliseconds since 1970. */
  readonly at: number
  /** Null while unanswered, and when the connection was broken. */
  reply: FakeReply | null
}
