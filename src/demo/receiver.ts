/** The demo's CRM: a small HTTP service that keeps what it is sent in plain files, one line a record, to look at. */
import { createWriteStream, existsSync, type WriteStream } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Value } from '../json.ts'
import { decodeJson, encodeJson } from '../json.ts'

export interface Receiver {
  readonly port: number
  /** Name of the sync -> number of records or events it put here. */
  counts(): Record<string, number>
  /** Requests and changes taken since the last call. */
  taken(): { requests: number; changes: number }
  /** Ends it; the files are complete then. */
  close(): Promise<void>
}

interface Change {
  readonly op: string
  readonly key: string
  readonly match: Kept
  readonly fields?: Kept
  readonly id: string
}
type Kept = Readonly<Record<string, Value>>

interface Body {
  readonly sync: string
  readonly changes: readonly Change[]
}

interface Store {
  /** Sync -> key (or id of an event) -> what is kept. */
  readonly syncs: Map<string, Map<string, Kept>>
  /** Syncs whose file is older than what is kept. */
  readonly stale: Set<string>
}

interface Reply {
  readonly status: number
  readonly body: string
  readonly told: string
  readonly changes: number
}

const LOG = 'requests.ndjson'
/** Milliseconds without a request after which the files of records are written anew. */
const IDLE = 1000

/**
 * Listens on 127.0.0.1. `folder` gets `requests.ndjson`, every body as it came, and `<sync>.ndjson`, what is held now. A
 * body is in the first before it is answered. Rejects with EADDRINUSE when the port is taken.
 */
export async function startReceiver(folder: string, port: number, heard: (line: string) => void = () => undefined): Promise<Receiver> {
  await mkdir(folder, { recursive: true })
  const store = await load(folder)
  const taken = { requests: 0, changes: 0 }
  let idle: NodeJS.Timeout | undefined
  let saved: Promise<void> = Promise.resolve()
  const save = (): void => void (saved = saved.then(() => writeStale(folder, store)))
  const serve = async (incoming: http.IncomingMessage, outgoing: http.ServerResponse): Promise<void> => {
    const { status, body, told, changes } = await answer(store, log, incoming)
    if (changes > 0) {
      taken.requests++
      taken.changes += changes
      clearTimeout(idle)
      idle = setTimeout(save, IDLE)
    }
    heard(told)
    outgoing.writeHead(status, { 'content-type': 'application/json' }).end(body)
  }
  const server = http.createServer((incoming, outgoing) => {
    serve(incoming, outgoing).catch((error: unknown) => outgoing.destroy(error as Error))
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
  const log = createWriteStream(join(folder, LOG), { flags: 'a' })
  return {
    port: (server.address() as AddressInfo).port,
    counts: () => counts(store),
    taken: () => {
      const before = { ...taken }
      taken.requests = taken.changes = 0
      return before
    },
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await new Promise<void>((resolve) => log.end(resolve))
      clearTimeout(idle)
      save()
      await saved
    },
  }
}

const counts = ({ syncs }: Store): Record<string, number> => Object.fromEntries([...syncs].map(([sync, kept]) => [sync, kept.size]))

/** Exact where a float would lose digits; JSON.parse is ten times as fast elsewhere. */
const parse = (text: string): Body => (/\d[\d.]{15}/.test(text) ? decodeJson(text) : JSON.parse(text)) as Body

async function load(folder: string): Promise<Store> {
  const store: Store = { syncs: new Map(), stale: new Set() }
  const path = join(folder, LOG)
  if (!existsSync(path)) return store
  for (const line of (await readFile(path, 'utf8')).split('\n')) {
    // The last line may be cut where the process was killed: it was not answered, so it will come again.
    if (line.endsWith('}')) take(store, parse(line))
  }
  return store
}

async function answer(store: Store, log: WriteStream, incoming: http.IncomingMessage): Promise<Reply> {
  const { method = '', url = '/' } = incoming
  if (method === 'GET') return { ...show(store, url), told: `${method} ${url}`, changes: 0 }
  let text = ''
  for await (const chunk of incoming.setEncoding('utf8')) text += chunk as string
  const body = parse(text)
  // It becomes the name of a file.
  if (!/^[a-z0-9][a-z0-9_-]*$/.test(body.sync)) return { ...NO_SYNC, told: 'no name of a sync', changes: 0 }
  const results = take(store, body)
  await new Promise<void>((resolve, reject) => log.write(text + '\n', (error) => (error ? reject(error) : resolve())))
  const refused = results.filter((it) => it.status !== 'ok').length
  const told = `${body.sync}: ${body.changes[0]?.op ?? 'nothing'} of ${results.length}${refused > 0 ? `, ${refused} refused` : ''}`
  return { status: 200, body: JSON.stringify({ results }), told, changes: results.length }
}

const NO_SYNC = { status: 400, body: '{"message":"not the name of a sync"}\n' }

function take(store: Store, { sync, changes }: Body): { key: string; status: string }[] {
  const kept = store.syncs.get(sync) ?? new Map<string, Kept>()
  store.syncs.set(sync, kept)
  store.stale.add(sync)
  return changes.map((change) => {
    const refused = refusal(change)
    if (!refused) apply(kept, change)
    return { key: change.key, status: 'ok', ...refused }
  })
}

/** What every CRM refuses. */
function refusal({ match: { email }, op }: Change): { status: string; code: string; message: string; field: string } | null {
  if (op === 'delete' || typeof email !== 'string' || email.includes('@')) return null
  return { status: 'rejected', code: 'INVALID_EMAIL', message: `"${email}" is no e-mail address`, field: 'email' }
}

function apply(kept: Map<string, Kept>, { op, key, match, fields, id }: Change): void {
  if (op === 'delete') kept.delete(key)
  else if (op === 'append') kept.set(id, { key, ...fields })
  else kept.set(key, { ...kept.get(key), key, ...match, ...fields })
}

/** `/` counts, `/customers/42` is a record. */
function show(store: Store, url: string): Pick<Reply, 'status' | 'body'> {
  const [, sync = '', key = ''] = url.split('/')
  if (sync === '') return { status: 200, body: JSON.stringify(counts(store)) + '\n' }
  const kept = store.syncs.get(sync)?.get(key)
  return kept ? { status: 200, body: encodeJson(kept) + '\n' } : { status: 404, body: '{"message":"not here"}\n' }
}

/** Beside and then over: a reader finds the old file or the new one. */
async function writeStale(folder: string, { syncs, stale }: Store): Promise<void> {
  for (const sync of stale) {
    stale.delete(sync)
    const path = join(folder, `${sync}.ndjson`)
    await writeFile(`${path}.part`, [...(syncs.get(sync)?.values() ?? [])].map((it) => encodeJson(it) + '\n').join(''))
    await rename(`${path}.part`, path)
  }
}
