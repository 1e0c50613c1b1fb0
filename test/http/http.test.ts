import http from 'node:http'
import https from 'node:https'
import net, { type AddressInfo } from 'node:net'
import { gunzipSync, gzipSync } from 'node:zlib'
import { Agent, type Dispatcher } from 'undici'
import { afterEach, describe, expect, it } from 'vitest'
import { type HttpDefaults, type HttpRequest, NotSent, RateLimited, Refused, UnknownOutcome } from '../../src/connector.ts'
import { AuthError, CdpError } from '../../src/errors.ts'
import { createDispatcher, createHttp } from '../../src/http.ts'
import { RawJson } from '../../src/json.ts'
import { createRedactor } from '../../src/redact.ts'
import { startTcpProxy, type TcpFault } from '../support/tcp-proxy.ts'
import { cert, key } from './self-signed.ts'

const opened: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close()
})

type Handler = (request: http.IncomingMessage, response: http.ServerResponse, body: Buffer) => void

async function serve(
  handler: Handler,
  tls = false,
): Promise<{ url: string; port: number; seen: { method: string; path: string; headers: http.IncomingHttpHeaders; body: Buffer }[] }> {
  const seen: { method: string; path: string; headers: http.IncomingHttpHeaders; body: Buffer }[] = []
  const listener: http.RequestListener = (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks)
      seen.push({ method: request.method ?? '', path: request.url ?? '', headers: request.headers, body })
      handler(request, response, body)
    })
  }
  const server = tls ? https.createServer({ cert, key }, listener) : http.createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  opened.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  const { port } = server.address() as AddressInfo
  return { url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`, port, seen }
}

interface Around {
  readonly signal?: AbortSignal
  readonly dispatcher?: Dispatcher
  readonly lines?: string[]
  readonly secrets?: string[]
}

function client(
  base: string,
  defaults: HttpDefaults = {},
  around: Around = {},
): (request: Partial<HttpRequest>) => ReturnType<ReturnType<ReturnType<typeof createHttp>>['request']> {
  const dispatcher = around.dispatcher ?? new Agent()
  opened.push(() => dispatcher.destroy())
  const open = createHttp({
    signal: around.signal ?? new AbortController().signal,
    redact: createRedactor(around.secrets ?? []),
    trace: around.lines === undefined ? null : (line) => around.lines?.push(line),
    now: () => Date.parse('2026-01-01T00:00:00Z'),
    timeout: 5000,
    dispatcher,
  })
  const opening = open(base, defaults)
  return (one) => opening.request({ method: 'POST', path: '/things', ...one })
}

const status =
  (code: number, body = '', headers: http.OutgoingHttpHeaders = {}): Handler =>
  (_, response) =>
    response.writeHead(code, headers).end(body)

async function failure(promise: Promise<unknown>): Promise<any> {
  const result = await promise.then(
    () => new Error('nothing was thrown'),
    (error: unknown) => error,
  )
  return result
}

async function closedPort(): Promise<number> {
  const server = net.createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function proxyServer(answer?: number): Promise<{ url: string; connects: string[] }> {
  const connects: string[] = []
  const server = http.createServer((_, response) => response.writeHead(500).end())
  server.on('connect', (request: http.IncomingMessage, socket: net.Socket) => {
    connects.push(`${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim())
    socket.on('error', () => {})
    if (answer !== undefined) {
      socket.end(`HTTP/1.1 ${answer} No\r\n\r\n`)
      return
    }
    const [host, port] = (request.url ?? '').split(':')
    const upstream = net.connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      upstream.pipe(socket).pipe(upstream)
    })
    upstream.on('error', () => socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  opened.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return { url: `http://me:pw-1234@127.0.0.1:${(server.address() as AddressInfo).port}`, connects }
}

describe('a request', () => {
  it('carries JSON with exact numbers, default headers and a query', async () => {
    const server = await serve(status(200, '{"ok":true}', { 'content-type': 'application/json' }))
    const send = client(`${server.url}/v1/?token=a%2Fb`, { headers: { 'X-Team': 'growth' } })
    const reply = await send({ json: { id: new RawJson('12345678901234567890'), gone: undefined }, query: { limit: 2, none: undefined } })
    expect(reply.json()).toEqual({ ok: true })
    const [seen] = server.seen
    expect(seen?.path).toBe('/v1/things?token=a%2Fb&limit=2')
    expect(seen?.body.toString()).toBe('{"id":12345678901234567890}')
    expect(seen?.headers).toMatchObject({ 'content-type': 'application/json', 'x-team': 'growth' })
  })

  it('goes to the base exactly as written when the path is empty', async () => {
    const server = await serve(status(200))
    await client(`${server.url}/hook/abc/?sig=1`)({ path: '' })
    expect(server.seen[0]?.path).toBe('/hook/abc/?sig=1')
  })

  it('carries a form', async () => {
    const server = await serve(status(200))
    await client(server.url)({ form: { grant_type: 'a b', x: '1&2' } })
    expect(server.seen[0]?.body.toString()).toBe('grant_type=a+b&x=1%262')
    expect(server.seen[0]?.headers['content-type']).toBe('application/x-www-form-urlencoded')
  })

  it('turns a login in the URL into a header and shows it nowhere', async () => {
    const server = await serve(status(500))
    const lines: string[] = []
    const error = await failure(client(server.url.replace('//', '//me:s3cr%40t@'), {}, { lines })({}))
    expect(server.seen[0]?.headers.authorization).toBe(`Basic ${Buffer.from('me:s3cr@t').toString('base64')}`)
    expect(`${error.message} ${lines.join('\n')}`).not.toMatch(/s3cr|bWU6/)
  })

  it('is packed with gzip when asked, and signed before that', async () => {
    const server = await serve(status(200))
    let signed = ''
    await client(server.url, { gzip: true })({
      json: { a: 'x'.repeat(5000) },
      sign: (body) => {
        signed = body
        return { 'X-Signature': 'yes' }
      },
    })
    const [seen] = server.seen
    expect(seen?.headers).toMatchObject({ 'content-encoding': 'gzip', 'x-signature': 'yes' })
    expect(seen?.body.length).toBeLessThan(200)
    expect(gunzipSync(seen?.body ?? '').toString()).toBe(signed)
  })

  it('understands a reply packed with gzip', async () => {
    const server = await serve((_, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('{"a":1}')))
    expect((await client(server.url)({})).json()).toEqual({ a: 1 })
  })

  it.each(['/contacts/..', '/contacts/../lists', '/contacts/%2E%2e/', '/.'])(
    'never leaves with the path %s, which would hit another resource',
    async (path) => {
      const server = await serve(status(200))
      expect(await failure(client(server.url)({ method: 'DELETE', path }))).toMatchObject({ name: 'Refused', code: 'bad_path' })
      expect(server.seen).toEqual([])
    },
  )

  it('is refused, not sent, when a header can not stand in HTTP', async () => {
    const server = await serve(status(200))
    const error = await failure(client(server.url)({ headers: { 'x-id': 'a\r\nb: c' } }))
    expect(error).toBeInstanceOf(Refused)
    expect(error.code).toBe('invalid_request')
    expect(server.seen).toEqual([])
  })

  it('refuses a base that is no http URL', () => {
    expect(() => client('ftp://example.com')).toThrow(CdpError)
    expect(() => client('example.com')).toThrow(/not an http/)
  })
})

describe('a status', () => {
  it.each([
    [401, 'CDP3001'],
    [403, 'CDP3002'],
  ])('%i is a failed login that does not quote the service', async (code, cdp) => {
    const server = await serve(status(code, '{"message":"no scope for anna@example.com","code":"MISSING_SCOPES"}'))
    const error = await failure(client(server.url)({}))
    expect(error).toBeInstanceOf(AuthError)
    expect(error).toMatchObject({ code: cdp, exitCode: 4, cause: { message: 'no scope for anna@example.com' } })
    expect(error.message).toContain('MISSING_SCOPES')
    expect(error.message).not.toContain('anna')
    expect(error.hint).toMatch(/account|credentials/)
  })

  it('429 asks to wait as long as the service says', async () => {
    const server = await serve(status(429, '{"message":"slow down"}', { 'retry-after': '7' }))
    const error = await failure(client(server.url)({}))
    expect(error).toBeInstanceOf(RateLimited)
    expect(error.afterMs).toBe(7000)
  })

  it.each([400, 404, 409, 413, 422])('%i is a refusal with the code and message of the service', async (code) => {
    const server = await serve(status(code, '{"error":{"code":"INVALID","message":"no"}}'))
    const error = await failure(client(server.url)({}))
    expect(error).toBeInstanceOf(Refused)
    expect(error).toMatchObject({ code: 'INVALID', message: 'no', status: code })
  })

  it('gives a refusal without a body a code of its own', async () => {
    const server = await serve(status(422))
    expect(await failure(client(server.url)({}))).toMatchObject({ code: 'http_422' })
  })

  it.each([408, 425, 500, 502, 503, 504])('%i leaves the outcome unknown', async (code) => {
    const server = await serve(status(code, '', { 'retry-after': '2' }))
    const error = await failure(client(server.url)({}))
    expect(error).toBeInstanceOf(UnknownOutcome)
    expect(error).toMatchObject({ code: `http_${code}`, afterMs: 2000 })
  })

  it.each([301, 302, 307, 308])('%i is not followed', async (code) => {
    const goal = await serve(status(200))
    const server = await serve(status(code, '', { location: `${goal.url}/login?next=secret` }))
    const error = await failure(client(server.url)({}))
    expect(error).toBeInstanceOf(UnknownOutcome)
    expect(error.code).toBe('redirect')
    expect(error.message).toContain(`${goal.url}/login`)
    expect(error.message).not.toContain('secret')
    expect(goal.seen).toEqual([])
  })

  it('does not show the path of the base in a redirect, which is often a capability', async () => {
    const server = await serve(status(301, '', { location: 'https://example.com/hooks/s3cr3t' }))
    const error = await failure(client(`${server.url}/hooks/s3cr3t`)({ path: '' }))
    expect(error.message).toContain('https://example.com')
    expect(error.message).not.toContain('s3cr3t')
  })

  it('is returned when the connector accepts it', async () => {
    const server = await serve(status(404, 'none'))
    expect(await client(server.url)({ accept: [404] })).toMatchObject({ status: 404, text: 'none' })
  })

  it('means what the connector says it means at this service', async () => {
    const server = await serve(status(403, '{"code":"REQUEST_LIMIT_EXCEEDED"}'))
    const failing = (meant: (text: string) => Error | undefined) =>
      failure(client(server.url, { failure: ({ body, method }) => meant(`${method} ${JSON.stringify(body)}`) })({}))
    expect(await failing((text) => new RateLimited(text, 5))).toMatchObject({
      message: 'POST {"code":"REQUEST_LIMIT_EXCEEDED"}',
      afterMs: 5,
    })
    expect(await failing(() => undefined)).toBeInstanceOf(AuthError)
  })

  it('redacts what the service echoes', async () => {
    const server = await serve(status(400, '{"message":"bad token tok-123456"}'))
    expect((await failure(client(server.url, {}, { secrets: ['tok-123456'] })({}))).message).toBe('bad token ***')
  })
})

describe('a reply', () => {
  it.each(['{"results":[{"key"', '<html>', ''])('%j is no JSON: unknown, and not quoted', async (body) => {
    const server = await serve(status(200, body, { 'content-type': 'text/html' }))
    const reply = await client(server.url)({})
    expect(() => reply.json()).toThrow(UnknownOutcome)
    expect(() => reply.json()).not.toThrow(/results|<html/)
  })

  it('keeps numbers that no float holds', async () => {
    const server = await serve(status(200, '{"id":12345678901234567890}'))
    expect((await client(server.url)({})).json()).toEqual({ id: new RawJson('12345678901234567890') })
  })

  it('that is too large is unknown, and not read to its end', async () => {
    const server = await serve((_, response) => {
      const chunk = Buffer.alloc(1 << 20)
      const write = (): void => void (response.destroyed || response.write(chunk, () => setImmediate(write)))
      write()
    })
    expect(await failure(client(server.url)({}))).toMatchObject({ name: 'UnknownOutcome', code: 'reply_lost' })
  })

  it('that unpacks to something huge is unknown', async () => {
    const bomb = gzipSync(Buffer.alloc(64 << 20))
    const server = await serve((_, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb))
    expect(await failure(client(server.url)({}))).toMatchObject({ name: 'UnknownOutcome', code: 'reply_lost' })
  })

  it('whose refusal was cut is still a refusal, for its status had arrived', async () => {
    const server = await serve((_, response) => {
      response.writeHead(422, { 'content-length': 100 })
      response.write('{"mess')
      setTimeout(() => response.socket?.resetAndDestroy(), 20)
    })
    expect(await failure(client(server.url)({}))).toMatchObject({ name: 'Refused', code: 'http_422' })
  })
})

describe('a connection', () => {
  it('that is refused means nothing was sent', async () => {
    const error = await failure(client(`http://127.0.0.1:${await closedPort()}`)({}))
    expect(error).toBeInstanceOf(NotSent)
    expect(error.code).toBe('ECONNREFUSED')
  })

  it('to a name that does not exist means nothing was sent', async () => {
    const error = await failure(client('http://nowhere.invalid')({}))
    expect(error).toBeInstanceOf(NotSent)
    expect(error.code).toMatch(/ENOTFOUND|EAI_AGAIN/)
  })

  it('to a server whose certificate nobody signed means nothing was sent', async () => {
    const server = await serve(status(200), true)
    const error = await failure(client(server.url)({}))
    expect(error).toBeInstanceOf(NotSent)
    expect(error.code).toBe('DEPTH_ZERO_SELF_SIGNED_CERT')
    expect(server.seen).toEqual([])
  })

  it('that speaks no TLS means nothing was sent', async () => {
    const server = await serve(status(200))
    expect(await failure(client(server.url.replace('http:', 'https:'))({}))).toBeInstanceOf(NotSent)
  })

  it('that is never accepted ends with the time-out and means nothing was sent', async () => {
    // Accepts TCP but never speaks TLS, so the request stays queued.
    const held: net.Socket[] = []
    const server = net.createServer((socket) => held.push(socket.on('error', () => {})))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    opened.push(() => {
      for (const socket of held) socket.destroy()
      return new Promise((resolve) => server.close(resolve))
    })
    const started = Date.now()
    const error = await failure(client(`https://127.0.0.1:${(server.address() as AddressInfo).port}`, { timeout: 150 })({}))
    expect(error).toMatchObject({ name: 'NotSent', code: 'timeout' })
    expect(Date.now() - started).toBeLessThan(2000)
  })

  it.each<[string, TcpFault, string]>([
    ['reset before the server saw the request', { cutUpAfter: 0 }, 'UnknownOutcome'],
    ['reset when the reply began', { cutDownAfter: 0 }, 'UnknownOutcome'],
    ['reset within the reply', { cutDownAfter: 120 }, 'UnknownOutcome'],
    ['closed within the reply', { cutDownAfter: 120, how: 'end' }, 'UnknownOutcome'],
    ['silent after the request', { cutDownAfter: 0, how: 'hang' }, 'UnknownOutcome'],
    ['silent within the reply', { cutDownAfter: 120, how: 'hang' }, 'UnknownOutcome'],
    ['dripping', { drip: 20 }, 'UnknownOutcome'],
  ])('%s: the outcome is unknown', async (_, fault, name) => {
    const server = await serve(status(200, JSON.stringify({ results: 'x'.repeat(200) }), { 'content-type': 'application/json' }))
    const proxy = await startTcpProxy({ port: server.port })
    opened.push(() => proxy.close())
    proxy.fault(() => fault)
    expect((await failure(client(proxy.url, { timeout: 250 })({}))).name).toBe(name)
    expect(server.seen.length).toBe('cutUpAfter' in fault ? 0 : 1)
  })

  it('that was kept alive and is reset leaves the second request unknown', async () => {
    const server = await serve((request, response) => {
      if (server.seen.length === 1) response.end('ok')
      else request.socket.resetAndDestroy()
    })
    const proxy = await startTcpProxy({ port: server.port })
    opened.push(() => proxy.close())
    const send = client(proxy.url, {}, { dispatcher: new Agent({ connections: 1 }) })
    expect((await send({})).status).toBe(200)
    const error = await failure(send({}))
    expect(error).toBeInstanceOf(UnknownOutcome)
    expect(proxy.connections()).toBe(1)
    expect(server.seen.length).toBe(2)
  })

  it('is used again', async () => {
    const server = await serve(status(200, 'ok'))
    const proxy = await startTcpProxy({ port: server.port })
    opened.push(() => proxy.close())
    const send = client(proxy.url)
    for (let i = 0; i < 20; i++) await send({})
    // The second may find the first not yet free.
    expect(proxy.connections()).toBeLessThanOrEqual(2)
  })

  it('is broken off at once when the run is stopped, and what was sent is unknown', async () => {
    const server = await serve(() => {})
    const stop = new AbortController()
    const pending = failure(client(server.url, {}, { signal: stop.signal })({}))
    while (server.seen.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    const started = Date.now()
    stop.abort()
    expect(await pending).toMatchObject({ name: 'UnknownOutcome', code: 'aborted' })
    expect(Date.now() - started).toBeLessThan(500)
  })

  it('is not opened once the run is stopped', async () => {
    const server = await serve(status(200))
    expect(await failure(client(server.url, {}, { signal: AbortSignal.abort() })({}))).toMatchObject({ name: 'NotSent', code: 'aborted' })
    expect(server.seen).toEqual([])
  })
})

describe('a trace', () => {
  it('says method, host, route, status, time and sizes, but no query, no body and no row value', async () => {
    const server = await serve(status(200, '{"email":"anna@example.com"}'))
    const lines: string[] = []
    const send = client(`${server.url}/base?token=s3cr3t`, {}, { lines })
    await send({ path: '/contacts/42?x=1', route: '/contacts/{{ key }}', json: { name: 'Anna' } })
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatch(/^POST 127\.0\.0\.1:\d+\/contacts\/\{\{ key \}\} 200, 15 B sent, 28 B received, \d+ ms$/)
  })

  it('says why a request failed and whether it left', async () => {
    const lines: string[] = []
    const server = await serve((request) => request.socket.resetAndDestroy())
    await failure(client(server.url, {}, { lines })({}))
    expect(lines[0]).toMatch(/failed: \w+, sent \d+ ms$/)
  })
})

describe('proxies from the environment', () => {
  const login = `Basic ${Buffer.from('me:pw-1234').toString('base64')}`

  it('takes http and https requests through them', async () => {
    const proxy = await proxyServer()
    const plain = await serve(status(200, 'plain'))
    const tls = await serve(status(200, 'tls'), true)
    const dispatcher = createDispatcher({ HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url })
    expect((await client(plain.url, {}, { dispatcher })({})).text).toBe('plain')
    // The certificate is checked behind the proxy too.
    expect(await failure(client(tls.url, {}, { dispatcher })({}))).toBeInstanceOf(NotSent)
    expect(proxy.connects).toEqual([`127.0.0.1:${plain.port} ${login}`, `127.0.0.1:${tls.port} ${login}`])
    expect(plain.seen[0]?.headers['proxy-authorization']).toBeUndefined()
  })

  it('leaves out hosts that NO_PROXY names', async () => {
    const proxy = await proxyServer()
    const server = await serve(status(200, 'direct'))
    const dispatcher = createDispatcher({ http_proxy: proxy.url, no_proxy: 'example.com,127.0.0.1' })
    expect((await client(server.url, {}, { dispatcher })({})).text).toBe('direct')
    expect(proxy.connects).toEqual([])
  })

  it.each([407, 502])('that answer %i mean nothing was sent', async (code) => {
    const proxy = await proxyServer(code)
    const server = await serve(status(200))
    const error = await failure(
      client(server.url, {}, { dispatcher: createDispatcher({ HTTP_PROXY: proxy.url }), secrets: ['pw-1234'] })({}),
    )
    expect(error).toBeInstanceOf(NotSent)
    expect(error.message).toContain(String(code))
    expect(error.message).not.toContain('pw-1234')
    expect(server.seen).toEqual([])
  })
})
