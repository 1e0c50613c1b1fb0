/** Serves fakes on one local port, each under its name, remembers what was asked, and breaks what it is told to break. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate } from 'node:zlib'
import { parse } from 'lossless-json'
import type { Exchange, Fake, FakeControl, FakeReply, FakeRequest, FakeService, Fault } from './fake.ts'

const REMEMBERED = 10_000

/** One fake, served. */
export interface ServedFake {
  readonly fake: Fake
  readonly url: string
  /** Entry of `destinations:` without `type`. */
  readonly destination: Record<string, unknown>
  readonly exchanges: readonly Exchange[]
  /** Most requests in progress at once since the last reset. */
  mostAtOnce(): number
  records(): ReturnType<FakeService['records']>
  /** Decides for each request what goes wrong with it; undefined: nothing. Replaces what was set before. */
  fault(plan: (exchange: Exchange) => Fault | undefined): void
  /** The next so many rows are refused. */
  refuseRows(count: number): void
  /** Rows that are still to be refused. */
  refusals(): number
  /** Lists whose order the vendor does not promise come reversed. */
  reverse(on: boolean): void
  /** Forgets all state, requests and faults. */
  reset(): void
  /** Forgets the requests so far and keeps what they did: what comes next is counted alone. */
  forget(): void
  /** Called with each request that was answered. */
  onExchange(listener: (exchange: Exchange) => void): void
}

export interface FakeHost {
  readonly url: string
  readonly fakes: ReadonlyMap<string, ServedFake>
  close(): Promise<void>
}

export interface HostOptions {
  /** Default: any free one. */
  readonly port?: number
  readonly now?: () => number
  /** Requests that are remembered per fake (default 10,000); older ones are forgotten. */
  readonly remember?: number
  /** Answers requests that belong to no fake. */
  readonly other?: (request: IncomingMessage, response: ServerResponse) => void
}

/** Listens on 127.0.0.1 only: nobody else can reach it. */
export async function serveFakes(fakes: readonly Fake[], options: HostOptions = {}): Promise<FakeHost> {
  const served = new Map<string, Served>()
  const server = createServer((request, response) => {
    if (isForeign(request)) return void response.writeHead(403).end('not for web pages of other origins')
    const [, name = ''] = (request.url ?? '').split(/[/?]/)
    const found = served.get(name)
    if (found) void found.answer(request, response)
    else if (options.other) options.other(request, response)
    else response.writeHead(404).end('no fake of this name')
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(options.port ?? 0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  for (const fake of fakes) served.set(fake.name, new Served(fake, `${url}/${fake.name}`, options))
  return {
    url,
    fakes: served,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

/**
 * A web page elsewhere must not reach what listens here: neither from its own origin, nor under a name that it lets point
 * at 127.0.0.1 (DNS rebinding). Programs send no Origin.
 */
function isForeign({ headers: { host = '', origin } }: IncomingMessage): boolean {
  return !/^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/.test(host) || (origin !== undefined && origin !== `http://${host}`)
}

/** A class: one thing with state that requests, tests and the page share. */
class Served implements ServedFake {
  readonly fake: Fake
  readonly url: string
  readonly destination: Record<string, unknown>
  exchanges: Exchange[] = []
  readonly #control: FakeControl
  readonly #remember: number
  #service: FakeService
  #count = 0
  #flying = 0
  #most = 0
  #refusals = 0
  #reverse = false
  #plan: (exchange: Exchange) => Fault | undefined = () => undefined
  #listeners: ((exchange: Exchange) => void)[] = []

  constructor(fake: Fake, url: string, { now = Date.now, remember = REMEMBERED }: HostOptions) {
    this.fake = fake
    this.url = url
    this.#remember = remember
    this.destination = fake.destination(url)
    this.#control = {
      url,
      now,
      refusesRow: () => this.#refusals > 0 && this.#refusals-- > 0,
      anyOrder: (list) => (this.#reverse ? [...list].reverse() : [...list]),
    }
    this.#service = fake.create(this.#control)
  }

  mostAtOnce(): number {
    return this.#most
  }

  records(): ReturnType<FakeService['records']> {
    return this.#service.records()
  }

  fault(plan: (exchange: Exchange) => Fault | undefined): void {
    this.#plan = plan
  }

  refuseRows(count: number): void {
    this.#refusals = count
  }

  refusals(): number {
    return this.#refusals
  }

  reverse(on: boolean): void {
    this.#reverse = on
  }

  reset(): void {
    this.#service = this.fake.create(this.#control)
    this.exchanges = []
    this.#count = this.#most = this.#refusals = 0
    this.#reverse = false
    this.#plan = () => undefined
  }

  forget(): void {
    this.exchanges = []
    this.#most = 0
  }

  onExchange(listener: (exchange: Exchange) => void): void {
    this.#listeners.push(listener)
  }

  async answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    this.#most = Math.max(this.#most, ++this.#flying)
    outgoing.on('close', () => this.#flying--)
    try {
      const request = await read(incoming, ++this.#count, `/${this.fake.name}`)
      const exchange: Exchange = { request, write: this.#service.isWrite(request), at: this.#control.now(), reply: null }
      this.exchanges.push(exchange)
      if (this.exchanges.length > this.#remember) this.exchanges.shift()
      await this.#reply(exchange, this.#plan(exchange), outgoing)
      for (const listener of this.#listeners) listener(exchange)
    } catch (error) {
      if (outgoing.headersSent) outgoing.destroy()
      else outgoing.writeHead(500, { 'content-type': 'text/plain' }).end(`the fake failed: ${String((error as Error).stack)}`)
    }
  }

  async #reply(exchange: Exchange, fault: Fault | undefined, outgoing: ServerResponse): Promise<void> {
    const handle = (): Promise<FakeReply> => Promise.resolve(this.#service.handle(exchange.request))
    const say = (reply: FakeReply): void => {
      exchange.reply = reply
      write(reply, outgoing)
    }
    switch (fault?.kind) {
      case undefined:
        return say(await handle())
      case 'delay':
        await sleep(fault.ms)
        return say(await handle())
      case 'status': {
        if (fault.apply === true) await handle()
        return say(this.#service.failure(fault.status, fault))
      }
      case 'empty':
        return say({ status: 200, json: {} })
      case 'html':
        return say({ status: 200, headers: { 'content-type': 'text/html' }, text: '<html><body>Please sign in</body></html>' })
      case 'cut': {
        const reply = await handle()
        const body = bodyOf(reply)
        exchange.reply = reply
        outgoing.writeHead(reply.status, { ...headersOf(reply), 'content-length': String(Buffer.byteLength(body) + 1) })
        outgoing.write(body.slice(0, Math.floor(body.length / 2)))
        await sleep(5)
        return void outgoing.destroy()
      }
      case 'reset': {
        if (fault.when === 'after') await handle()
        return void outgoing.socket?.resetAndDestroy()
      }
      case 'hang':
        return
    }
  }
}

const UNPACK = { gzip: promisify(gunzip), deflate: promisify(inflate), br: promisify(brotliDecompress) } as const

async function read(incoming: IncomingMessage, n: number, prefix: string): Promise<FakeRequest> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(incoming.headers)) headers[name] = [value ?? ''].flat().join(', ')
  const unpack = UNPACK[headers['content-encoding'] as keyof typeof UNPACK] as (typeof UNPACK)['gzip'] | undefined
  const packed = Buffer.concat(chunks)
  const text = (unpack && packed.length > 0 ? await unpack(packed) : packed).toString('utf8')
  // Not `new URL`: it would resolve `..` and hide what was really asked for.
  const [path = '', query = ''] = (incoming.url ?? '/').slice(prefix.length).split(/\?(.*)/s)
  return {
    n,
    method: incoming.method ?? 'GET',
    path: path === '' ? '/' : path,
    query: new URLSearchParams(query),
    headers,
    text,
    json: () => parse(text, null, { parseNumber: plainNumber }),
    form: () => new URLSearchParams(text),
  }
}

/** A number as JavaScript has it, or its text where that would lose digits. */
function plainNumber(text: string): number | string {
  const number = Number(text)
  return Number.isInteger(number) && !Number.isSafeInteger(number) ? text : number
}

const bodyOf = (reply: FakeReply): string => reply.text ?? (reply.json === undefined ? '' : JSON.stringify(reply.json))

const headersOf = (reply: FakeReply): Record<string, string> => ({
  ...(reply.json === undefined ? {} : { 'content-type': 'application/json' }),
  ...reply.headers,
})

function write(reply: FakeReply, outgoing: ServerResponse): void {
  outgoing.writeHead(reply.status, headersOf(reply)).end(reply.status === 204 ? undefined : bodyOf(reply))
}
