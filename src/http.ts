/** The HTTP client every connector gets: one request, no retry, no redirect, and an error that says whether it left. */
import { setMaxListeners } from 'node:events'
import { promisify } from 'node:util'
import { brotliDecompress, gunzip, gzip, inflate } from 'node:zlib'
import { Agent, EnvHttpProxyAgent, type Dispatcher } from 'undici'
import { type ConnectorIO, type Http, type HttpDefaults, type HttpReply, type HttpRequest, Refused, UnknownOutcome } from './connector.ts'
import { CdpError } from './errors.ts'
import { errorOf, lostError } from './http-errors.ts'
import { decodeJson, encodeJson } from './json.ts'

/** The longest reply that is read, in bytes, as sent and as unpacked. Replies to 10,000 rows with messages are below 4 MB. */
const MAX_REPLY = 32 * 2 ** 20
const DEFAULT_TIMEOUT = 30_000

export interface HttpIO {
  /** Aborts what is in flight. */
  readonly signal: AbortSignal
  readonly redact: (text: string) => string
  /** One line per request for --debug: method, host, route, status, time, sizes; never a query, a body or a row value. */
  readonly trace: ((line: string) => void) | null
  readonly now: () => number
  /** Resolves when the account's rate permits a request. Its errors are the request's. */
  readonly turn?: () => Promise<void>
  /** Milliseconds for one request where the connector names none (default 30,000). */
  readonly timeout?: number
  /** Default: one for the process, with its proxies from the environment. */
  readonly dispatcher?: Dispatcher
}

/** A pool of connections that goes through the proxies HTTP_PROXY and HTTPS_PROXY name, but for hosts in NO_PROXY. */
export function createDispatcher(env: Readonly<Record<string, string | undefined>> = process.env): Dispatcher {
  const httpProxy = env['http_proxy'] || env['HTTP_PROXY']
  const httpsProxy = env['https_proxy'] || env['HTTPS_PROXY']
  if (!httpProxy && !httpsProxy) return new Agent()
  const noProxy = env['no_proxy'] || env['NO_PROXY'] || ''
  // '' keeps undici from reading the environment of the process by itself.
  return new EnvHttpProxyAgent({ httpProxy: httpProxy ?? '', httpsProxy: httpsProxy ?? '', noProxy })
}

let shared: Dispatcher | undefined

/** Gives `ConnectorIO.http`. Idle connections close by themselves and keep no process alive. */
export function createHttp(io: HttpIO): ConnectorIO['http'] {
  // Every request in flight listens: Node would warn at the eleventh.
  setMaxListeners(0, io.signal)
  return (base, defaults = {}) => {
    const dispatcher = io.dispatcher ?? (shared ??= createDispatcher())
    const target = parseBase(base)
    return { request: (request) => send({ io, dispatcher, target, defaults }, request) } satisfies Http
  }
}

interface Client {
  readonly io: HttpIO
  readonly dispatcher: Dispatcher
  readonly target: { readonly url: URL; readonly authorization: string | undefined }
  readonly defaults: HttpDefaults
}

/** A login in the URL becomes a header, so that no message can show it. */
function parseBase(base: string): Client['target'] {
  const url = parseUrl(base)
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new CdpError('CDP3003', 'The URL of a destination is not an http or https URL.', {
      hint: 'Write it like https://example.com/path.',
    })
  const login = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
  url.username = url.password = url.hash = ''
  return { url, authorization: login === ':' ? undefined : `Basic ${Buffer.from(login).toString('base64')}` }
}

async function send(client: Client, request: HttpRequest): Promise<HttpReply> {
  const { io, target } = client
  const url = join(target.url, request)
  const route = request.route ?? request.path.replace(/\?.*/s, '')
  const what = `${request.method} ${target.url.host}${route}`
  await io.turn?.()
  const started = performance.now()
  const done = (end: string): void => io.trace?.(io.redact(`${what} ${end} ${Math.round(performance.now() - started)} ms`))
  const { headers, body } = await encode(client, request)
  const exchange = await exchangeOnce(client, request.method, url, headers, body)
  const { status } = exchange
  if (status === undefined) {
    const { sent, failure } = exchange
    done(`failed: ${failure.code}, ${sent ? 'sent' : 'not sent'}`)
    if (failure.code === 'UND_ERR_INVALID_ARG') throw new Refused('invalid_request', `${what}: ${io.redact(failure.message)}`, 0)
    throw lostError(sent, failure.code, `${what}: ${io.redact(failure.message)}`, failure.cause)
  }
  const text = await unpack(exchange)
  done(`${status}, ${body?.length ?? 0} B sent, ${exchange.bytes} B received${text === undefined ? ' (cut)' : ''},`)
  if ((status < 200 || status > 299) && !request.accept?.includes(status)) {
    const redirect = whereTo(exchange.headers['location'], url, target.url, request.route !== undefined)
    const reply = { status, headers: exchange.headers, text: io.redact(text ?? '') }
    const meant = client.defaults.failure?.({ ...reply, body: decoded(reply.text), method: request.method, route })
    if (meant !== undefined) throw meant
    throw errorOf(reply, { method: request.method, host: target.url.host, route, redirect }, io.now())
  }
  // The status alone confirms nothing: what would have followed may have named rows that failed.
  if (text === undefined)
    throw new UnknownOutcome(
      'reply_lost',
      `${what} answered ${status}, but its reply was lost: ${exchange.failure?.message ?? 'not decodable'}`,
    )
  return { status, headers: exchange.headers, text, json: () => json(text, what, exchange.headers['content-type']) }
}

function parseUrl(text: string, base?: string): URL | null {
  return URL.canParse(text, base) ? new URL(text, base) : null
}

/** Appends the path to that of the base; the base's query stays. */
function join(base: URL, request: HttpRequest): URL {
  const [path = '', query = ''] = request.path.split(/\?(.*)/s)
  // `new URL` would resolve these and hit another resource: DELETE /contacts/.. is DELETE /.
  if (path.split('/').some((part) => /^(\.|%2e){1,2}$/i.test(part))) throw new Refused('bad_path', 'The path has a part "." or "..".', 0)
  const url = new URL(base)
  if (path !== '') url.pathname = `${base.pathname.replace(/\/+$/, '')}/${path.replace(/^\/+/, '')}`
  if (query !== '') url.search = url.search === '' ? query : `${url.search}&${query}`
  for (const [name, value] of Object.entries(request.query ?? {})) if (value !== undefined) url.searchParams.append(name, String(value))
  return url
}

async function encode(
  client: Client,
  request: HttpRequest,
): Promise<{ headers: Record<string, string>; body: string | Uint8Array | null }> {
  const headers: Record<string, string> = { 'accept-encoding': 'gzip, deflate, br', 'user-agent': 'cdp-sync' }
  if (client.target.authorization !== undefined) headers['authorization'] = client.target.authorization
  let body: string | Uint8Array | null = request.body ?? null
  if (request.json !== undefined) {
    body = encodeJson(request.json)
    headers['content-type'] = headers['accept'] = 'application/json'
  } else if (request.form !== undefined) {
    body = new URLSearchParams(request.form).toString()
    headers['content-type'] = 'application/x-www-form-urlencoded'
  }
  for (const more of [client.defaults.headers, request.headers, request.sign?.(typeof body === 'string' ? body : '')])
    for (const name of Object.keys(more ?? {})) headers[name.toLowerCase()] = more?.[name] ?? ''
  if (client.defaults.gzip === true && body !== null && body.length > 0) {
    body = await promisify(gzip)(body)
    headers['content-encoding'] = 'gzip'
  }
  return { headers, body }
}

interface Failure {
  readonly code: string
  readonly message: string
  readonly cause: unknown
}

type Exchange = {
  readonly headers: Record<string, string>
  readonly chunks: readonly Buffer[]
  readonly bytes: number
} & (
  | { readonly status: number; readonly failure: Failure | undefined }
  | { readonly status: undefined; readonly sent: boolean; readonly failure: Failure }
)

/**
 * One request on the wire, never an exception. `sent` is exact: undici calls `onRequestStart` when it has a connection
 * (TCP, proxy tunnel and TLS done) and writes in the same tick, so without that call not a byte has left.
 */
function exchangeOnce(
  client: Client,
  method: Dispatcher.HttpMethod,
  url: URL,
  headers: Record<string, string>,
  body: string | Uint8Array | null,
): Promise<Exchange> {
  const { io, defaults } = client
  const timeout = defaults.timeout ?? io.timeout ?? DEFAULT_TIMEOUT
  return new Promise((resolve) => {
    let controller: Dispatcher.DispatchController | undefined
    let settled = false
    let status: number | undefined
    let bytes = 0
    const chunks: Buffer[] = []
    const replied: Record<string, string> = {}
    const settle = (failure?: Failure): void => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      io.signal.removeEventListener('abort', aborted)
      const reply = { headers: replied, chunks, bytes }
      if (status !== undefined) return resolve({ ...reply, status, failure })
      resolve({
        ...reply,
        status,
        sent: controller !== undefined,
        failure: failure ?? { code: 'no_reply', message: 'the connection ended', cause: undefined },
      })
    }
    // Settles first: while undici still connects there is nothing to abort, and it would not report back in time.
    const stop = (code: string, message: string): void => {
      settle({ code, message, cause: undefined })
      controller?.abort(new Error(message))
    }
    const aborted = (): void => stop('aborted', 'stopped')
    const timer = setTimeout(() => stop('timeout', `no complete reply within ${timeout} ms`), timeout)
    io.signal.addEventListener('abort', aborted)
    if (io.signal.aborted) return aborted()
    const options = { origin: url.origin, path: url.pathname + url.search, method, headers, body, headersTimeout: 0, bodyTimeout: 0 }
    client.dispatcher.dispatch(options, {
      onRequestStart(started) {
        if (settled) return started.abort(new Error('stopped'))
        controller = started
      },
      onResponseStart(_, code, incoming) {
        if (code < 200) return
        status = code
        for (const name of Object.keys(incoming)) replied[name.toLowerCase()] = [incoming[name] ?? ''].flat().join(', ')
      },
      onResponseData(_, chunk) {
        bytes += chunk.length
        if (bytes > MAX_REPLY) return stop('reply_too_large', `the reply is larger than ${MAX_REPLY} bytes`)
        chunks.push(chunk)
      },
      onResponseEnd: () => settle(),
      onResponseError: (_, error) => settle({ code: codeOf(error), message: error.message || codeOf(error), cause: error }),
    })
  })
}

function codeOf(error: unknown): string {
  const { code, cause } = error as { code?: unknown; cause?: unknown }
  if (typeof code === 'string') return code
  return cause === undefined ? 'network' : codeOf(cause ?? {})
}

const UNPACK = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  deflate: promisify(inflate),
  br: promisify(brotliDecompress),
} as const

/** The body as text; undefined when it was cut or can't be unpacked. */
async function unpack(exchange: Exchange): Promise<string | undefined> {
  if (exchange.failure !== undefined) return undefined
  const packed = Buffer.concat(exchange.chunks)
  const encoding = exchange.headers['content-encoding']?.trim().toLowerCase() ?? 'identity'
  if (packed.length === 0 || encoding === 'identity') return packed.toString('utf8')
  const unpacker = UNPACK[encoding as keyof typeof UNPACK] as (typeof UNPACK)['gzip'] | undefined
  try {
    return (await unpacker?.(packed, { maxOutputLength: MAX_REPLY }))?.toString('utf8')
  } catch {
    return undefined
  }
}

/** A redirect's goal without query and without what may be secret in ours: the base's path is often a capability. */
function whereTo(location: string | undefined, from: URL, base: URL, hidePath: boolean): string | undefined {
  const to = location === undefined ? null : parseUrl(location, from.href)
  if (to === null) return undefined
  if (hidePath) return to.origin
  return to.origin + (base.pathname.length > 1 ? to.pathname.replace(base.pathname, '/…') : to.pathname)
}

function decoded(text: string): ReturnType<HttpReply['json']> | undefined {
  try {
    return decodeJson(text)
  } catch {
    return undefined
  }
}

function json(text: string, what: string, type: string | undefined): ReturnType<HttpReply['json']> {
  try {
    return decodeJson(text)
  } catch {
    throw new UnknownOutcome(
      'not_json',
      `${what} answered with ${text.length} characters of ${type ?? 'no content type'} that are not JSON`,
    )
  }
}
