/** A receiver of the webhook connector's default body: keeps records, remembers every request, and fails as told. */
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { decodeJson, encodeJson } from '../../src/json.ts'

/** One change as it stands in the body. */
export interface ReceivedChange {
  readonly op: 'upsert' | 'update' | 'insert' | 'append' | 'delete'
  readonly key: string
  readonly match: Record<string, unknown>
  readonly fields?: Record<string, unknown>
  readonly id: string
  readonly previous_match?: Record<string, unknown>
  readonly remote_id?: string
}

export interface Result {
  readonly key: string
  readonly status: string
  readonly code?: string
  readonly message?: string
  readonly remote_id?: string
}

export interface ReceivedRequest {
  /** From 1. */
  readonly n: number
  readonly method: string
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
  /** The body as sent, unpacked. */
  readonly text: string
  readonly sync: string | undefined
  readonly run: string | undefined
  /** Empty when the body is not the default one. */
  readonly changes: readonly ReceivedChange[]
  /** applied[i]: whether changes[i] took effect here. A delete of a missing record and a dropped repeat did. */
  applied: boolean[]
  /** What was answered; undefined when the connection was broken before. */
  answered: { status: number; text: string } | undefined
}

export interface Stored {
  key: string
  match: Record<string, unknown>
  fields: Record<string, unknown>
  remote_id: string
  /** Number of the request that wrote it last. */
  request: number
}

/** What goes wrong with one request; nothing set: all is applied and each row is answered `ok`. */
export interface Fault {
  /** Whether the changes take effect. Default: yes, unless `status` is outside 2xx or `reset` is `before`. */
  readonly apply?: boolean
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Milliseconds between having the request and answering. */
  readonly delay?: number
  /** Answers only when it resolves. */
  readonly until?: Promise<unknown>
  /** Breaks the connection: before the body is read · after applying, no byte of a reply · after half the reply. */
  readonly reset?: 'before' | 'after' | 'half'
  /** Never answers. */
  readonly hang?: boolean
  /** Milliseconds between the bytes of the reply. */
  readonly drip?: number
  /** The reply's body: whole JSON that was cut with a correct length, a page with status 200, nothing, or this text. */
  readonly body?: 'truncated' | 'html' | 'empty' | { readonly text: string; readonly type?: string }
  /** Of the results: `[]`, in another order, plus rows nobody sent, or only the first half. */
  readonly results?: 'none' | 'shuffled' | 'foreign' | 'half'
  /** Rows to refuse, not applied. */
  readonly reject?: (change: ReceivedChange) => { code?: string; message: string } | undefined
  /** Rows to put off, not applied. */
  readonly retry?: (change: ReceivedChange) => boolean
}

export interface Receiver {
  readonly url: string
  /** Address (the key, or the match as JSON with sorted names) -> record. */
  readonly records: Map<string, Stored>
  /** Applied appends, in order. */
  readonly events: ReceivedChange[]
  readonly requests: ReceivedRequest[]
  /** Most requests in progress at once so far. */
  inFlight(): number
  fault(plan: (request: ReceivedRequest) => Fault | undefined): void
  close(): Promise<void>
}

export interface ReceiverOptions {
  /** What finds a record (default key). */
  readonly addressBy?: 'key' | 'match'
  /** Drop inserts and appends whose id was applied before (default false). */
  readonly deduplicates?: boolean
  /** Answer per row (default), or 200 with an empty body. */
  readonly reply?: 'results' | 'empty'
}

interface Store {
  readonly options: ReceiverOptions
  readonly records: Map<string, Stored>
  readonly events: ReceivedChange[]
  readonly ids: Set<string>
}

export async function startReceiver(options: ReceiverOptions = {}): Promise<Receiver> {
  const store: Store = { options, records: new Map(), events: [], ids: new Set() }
  const requests: ReceivedRequest[] = []
  let plan: ((request: ReceivedRequest) => Fault | undefined) | undefined
  let flying = 0
  let most = 0
  const server = http.createServer((incoming, outgoing) => {
    most = Math.max(most, ++flying)
    outgoing.on('close', () => flying--)
    serve(store, requests, (request) => plan?.(request) ?? {}, incoming, outgoing).catch((error: unknown) =>
      outgoing.destroy(error as Error),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    records: store.records,
    events: store.events,
    requests,
    inFlight: () => most,
    fault: (next) => {
      plan = next
    },
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

async function serve(
  store: Store,
  requests: ReceivedRequest[],
  plan: (request: ReceivedRequest) => Fault,
  incoming: http.IncomingMessage,
  outgoing: http.ServerResponse,
): Promise<void> {
  const request = await receive(requests, incoming)
  const fault = plan(request)
  // Read by Node, but by the receiver's account never seen.
  if (fault.reset === 'before') return void incoming.socket.resetAndDestroy()
  const refused = fault.status !== undefined && (fault.status < 200 || fault.status > 299)
  const results = (fault.apply ?? !refused) ? request.changes.map((change, i) => apply(store, request, change, i, fault)) : []
  if (fault.hang) return
  if (fault.delay !== undefined) await sleep(fault.delay)
  await fault.until
  if (fault.reset === 'after') return void incoming.socket.resetAndDestroy()
  await answer(store, request, fault, refused ? undefined : results, outgoing)
}

async function receive(requests: ReceivedRequest[], incoming: http.IncomingMessage): Promise<ReceivedRequest> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  const bytes = Buffer.concat(chunks)
  const text = (incoming.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes).toString('utf8')
  const body = parse(text)
  const changes = Array.isArray(body?.changes) ? body.changes : []
  const request: ReceivedRequest = {
    n: requests.length + 1,
    method: incoming.method ?? '',
    path: incoming.url ?? '',
    headers: incoming.headers,
    text,
    sync: body?.sync,
    run: body?.run,
    changes,
    applied: changes.map(() => false),
    answered: undefined,
  }
  requests.push(request)
  return request
}

function parse(text: string): { sync?: string; run?: string; changes?: ReceivedChange[] } | undefined {
  try {
    // Exact where a float would lose digits; JSON.parse is ten times as fast elsewhere.
    return (/\d[\d.]{15}/.test(text) ? decodeJson(text) : JSON.parse(text)) as ReturnType<typeof parse>
  } catch {
    return undefined
  }
}

function apply(store: Store, request: ReceivedRequest, change: ReceivedChange, index: number, fault: Fault): Result {
  const { key } = change
  const refused = fault.reject?.(change)
  if (refused !== undefined) return { key, status: 'rejected', ...refused }
  if (fault.retry?.(change)) return { key, status: 'retry', message: 'later' }
  const result = write(store, request.n, change)
  request.applied[index] = result.status === 'ok'
  return result
}

function write(store: Store, request: number, change: ReceivedChange): Result {
  const { key } = change
  const { records, ids, events, options } = store
  const address = options.addressBy === 'match' ? addressOf(change.match) : key
  const record = records.get(address)
  if (change.op === 'delete') {
    records.delete(address)
    return { key, status: 'ok' }
  }
  if ((change.op === 'insert' || change.op === 'append') && options.deduplicates && ids.has(change.id)) return { key, status: 'ok' }
  if (change.op === 'update' && record === undefined) return { key, status: 'absent' }
  if (change.op === 'insert' && record !== undefined) return { key, status: 'exists' }
  ids.add(change.id)
  if (change.op === 'append') {
    events.push(change)
    return { key, status: 'ok' }
  }
  const remote_id = record?.remote_id ?? `r${address}`
  records.set(address, { key, match: change.match, fields: { ...record?.fields, ...change.fields }, remote_id, request })
  return { key, status: 'ok', remote_id }
}

/** The address of a match where records are found by it: JSON with sorted names. */
export function addressOf(match: Record<string, unknown>): string {
  return encodeJson(Object.fromEntries(Object.entries(match).sort(([a], [b]) => (a < b ? -1 : 1))))
}

async function answer(
  store: Store,
  request: ReceivedRequest,
  fault: Fault,
  results: Result[] | undefined,
  outgoing: http.ServerResponse,
): Promise<void> {
  const status = fault.status ?? 200
  const { text, type } = bodyOf(store, fault, results)
  const bytes = Buffer.from(text)
  const headers = { ...(type === undefined ? {} : { 'content-type': type }), 'content-length': bytes.length, ...fault.headers }
  outgoing.writeHead(status, headers)
  if (fault.reset === 'half') {
    // Without a wait the reset overtakes what was written.
    outgoing.flushHeaders()
    outgoing.write(bytes.subarray(0, bytes.length >> 1))
    await sleep(20)
    return void outgoing.socket?.resetAndDestroy()
  }
  request.answered = { status, text }
  for (let i = 0; fault.drip !== undefined && i < bytes.length - 1 && !outgoing.destroyed; i++) {
    outgoing.write(bytes.subarray(i, i + 1))
    await sleep(fault.drip)
  }
  outgoing.end(fault.drip === undefined ? bytes : bytes.subarray(-1))
}

function bodyOf(store: Store, fault: Fault, results: Result[] | undefined): { text: string; type?: string | undefined } {
  if (typeof fault.body === 'object') return { text: fault.body.text, type: fault.body.type ?? 'application/json' }
  if (fault.body === 'html') return { text: '<!doctype html><title>Sign in</title>', type: 'text/html; charset=utf-8' }
  if (fault.body === 'empty' || (results !== undefined && store.options.reply === 'empty')) return { text: '' }
  const type = 'application/json'
  if (results === undefined) return { text: JSON.stringify({ code: `e${fault.status}`, message: `status ${fault.status}` }), type }
  const text = JSON.stringify({ results: arrange(results, fault.results) })
  return { text: fault.body === 'truncated' ? text.slice(0, text.length >> 1) : text, type }
}

function arrange(results: Result[], how: Fault['results']): Result[] {
  if (how === 'none') return []
  if (how === 'shuffled') return [...results.slice(1).reverse(), ...results.slice(0, 1)]
  if (how === 'foreign') return [{ key: 'nobody-sent-this', status: 'ok' }, ...results]
  return how === 'half' ? results.slice(0, results.length >> 1) : results
}
