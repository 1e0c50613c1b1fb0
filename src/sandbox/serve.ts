/** The sandbox: fakes on one local port, with a page to look at them and to break them. */
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { stringify } from 'yaml'
import { z } from 'zod'
import { CdpError } from '../errors.ts'
import type { Fake } from '../testing/fake.ts'
import { serveFakes, type FakeHost } from '../testing/host.ts'
import { breakable, orderSchema, type Breakable } from './faults.ts'
import { stateOf, type Seen } from './state.ts'

export interface Sandbox {
  readonly url: string
  /** Entries of `destinations:` that reach the fakes. */
  readonly destinations: Readonly<Record<string, Record<string, unknown>>>
  readonly host: FakeHost
  close(): Promise<void>
}

/** Requests that the page can still show. */
const REMEMBER = 60
/** The largest order the page sends is far below. */
const MAX_ORDER = 10_000

/** Port 0: any free one. Throws CDP6010 when the port is taken. */
export async function startSandbox(fakes: readonly Fake[], port: number): Promise<Sandbox> {
  const parts: Part[] = []
  // Whoever shows the state asks for it again only when this number has moved; another sandbox begins at another one.
  let version = Date.now()
  const site = pageFiles()
  const other = (request: IncomingMessage, response: ServerResponse): void => {
    answer({ parts, site, version: () => version, moved: () => void version++ }, request, response).catch(() => response.destroy())
  }
  const host = await serveFakes(fakes, { port, other, remember: REMEMBER }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EADDRINUSE') throw error
    throw new CdpError('CDP6010', `Port ${port} is taken.`, {
      hint: `Another sandbox? End it, or choose a port: --port ${port + 1}.`,
      cause: error,
    })
  })
  const destinations: Record<string, Record<string, unknown>> = {}
  for (const [name, served] of host.fakes) {
    destinations[name] = { type: name, ...served.destination }
    served.onExchange(() => void version++)
    parts.push({ served, yaml: destinationsYaml({ [name]: destinations[name] }), ...breakable(served) })
  }
  return { url: host.url, destinations, host, close: () => host.close() }
}

/** A block that can be pasted into cdp-sync.yaml. */
export function destinationsYaml(destinations: Sandbox['destinations']): string {
  return stringify({ destinations }, { lineWidth: 0 })
}

type Part = Seen & Breakable

interface Site {
  readonly parts: readonly Part[]
  readonly site: ReadonlyMap<string, { type: string; body: Buffer }>
  version(): number
  moved(): void
}

const fakeName = { fake: z.string() }
const faultBody = z.strictObject({ ...fakeName, order: orderSchema })
const resetBody = z.strictObject({ fake: z.string().nullable() })

/** The page itself and its small API. Requests of other origins do not get here: the host refuses them. */
async function answer(site: Site, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://sandbox')
  const file = site.site.get(pathname)
  const reads = request.method === 'GET'
  if (file && reads) return send(response, 200, file.type, file.body)
  if (pathname === '/api/state' && reads) {
    const version = site.version()
    if (searchParams.get('seen') === String(version)) return send(response, 204)
    return json(response, 200, { version, ...stateOf(site.parts, searchParams.get('fake'), searchParams.get('find') ?? '') })
  }
  if (pathname !== '/api/fault' && pathname !== '/api/reset') return json(response, 404, { message: 'There is nothing here.' })
  if (request.method !== 'POST') return json(response, 405, { message: 'POST it.' })
  // A form of another page could not send this type without asking first.
  if (request.headers['content-type'] !== 'application/json') return json(response, 415, { message: 'Send application/json.' })
  const body = await readJson(request)
  const problem = pathname === '/api/fault' ? fault(site, body) : reset(site, body)
  return problem === null ? json(response, 200, {}) : json(response, 400, { message: problem })
}

function fault(site: Site, body: unknown): string | null {
  const order = faultBody.safeParse(body)
  if (!order.success) return z.prettifyError(order.error)
  const part = site.parts.find(({ served }) => served.fake.name === order.data.fake)
  if (!part) return 'There is no such service.'
  part.obey(order.data.order)
  site.moved()
  return null
}

/** `fake: null` means all. */
function reset(site: Site, body: unknown): string | null {
  const which = resetBody.safeParse(body)
  if (!which.success) return z.prettifyError(which.error)
  const parts = site.parts.filter(({ served }) => which.data.fake === null || served.fake.name === which.data.fake)
  if (parts.length === 0) return 'There is no such service.'
  for (const part of parts) part.reset()
  site.moved()
  return null
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk as string
    if (text.length > MAX_ORDER) return null
  }
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

const TYPES = { html: 'text/html', css: 'text/css', js: 'text/javascript', svg: 'image/svg+xml' } as const

/** Path -> what is served there. */
function pageFiles(): Site['site'] {
  const files = ['index.html', 'style.css', 'app.js', 'icon.svg'].map((name) => {
    const type = TYPES[name.split('.')[1] as keyof typeof TYPES]
    return [
      `/${name === 'index.html' ? '' : name}`,
      { type: `${type}; charset=utf-8`, body: readFileSync(new URL(`page/${name}`, import.meta.url)) },
    ] as const
  })
  return new Map(files)
}

/** Nothing from elsewhere, nothing inline, no HTML made by script: whatever a record holds, it stays text. */
const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; " +
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
}

function send(response: ServerResponse, status: number, type?: string, body?: string | Buffer): void {
  response.writeHead(status, { ...HEADERS, ...(type === undefined ? {} : { 'content-type': type }) }).end(body)
}

function json(response: ServerResponse, status: number, body: object): void {
  send(response, status, 'application/json; charset=utf-8', JSON.stringify(body))
}
