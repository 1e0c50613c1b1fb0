/** A stand-in for Snowflake's protocol alone, which takes every login and answers what a test says: for logins, pieces of results, faults. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { SnowflakeSettings, WarehouseEntry } from '../../src/config/types.ts'

export interface ColumnType {
  readonly name: string
  readonly type: string
  readonly precision?: number
  readonly scale?: number
}

/** What the server says to a statement: a result, whole or in pieces that are fetched one by one; an error; an HTTP status; silence. */
export type Reply =
  | { readonly columns: readonly ColumnType[]; readonly rows?: readonly (readonly (string | null)[])[]; readonly pieces?: readonly Piece[] }
  | { readonly code: string; readonly message: string; readonly state?: string; readonly line?: number; readonly pos?: number }
  | { readonly status: number }
  | 'silence'

export interface Piece {
  /** What the result promises. */
  readonly count: number
  /** JSON arrays of rows without the outer brackets, as the service has them. */
  text(): string
  /** Whether the connection breaks in the middle of it this time. */
  cut?(): boolean
}

export interface Login {
  readonly place: Readonly<Record<string, string>>
  readonly data: Readonly<Record<string, unknown>>
}

export interface FakeSnowflake {
  readonly settings: SnowflakeSettings
  readonly logins: Login[]
  readonly asked: { sql: string; describe: boolean }[]
  /** Texts for the question marks of all statements, in the order they came. */
  readonly bound: string[]
  /** Request ids that were to be cancelled. */
  readonly cancelled: string[]
  /** Paths of everything that was asked for. */
  readonly paths: string[]
  readonly ended: () => number
  stop(): void
}

export interface Script {
  login?: (login: Login) => { code: string; message: string } | { status: number } | 'silence' | null
  query?: (sql: string, describe: boolean) => Reply
  /** Names the session begins with; null for those that do not exist. */
  place?: Readonly<Record<string, string | null>>
}

interface Asked {
  readonly data?: Login['data']
  readonly sqlText?: string
  readonly describeOnly?: boolean
  readonly requestId?: string
  readonly bindings?: Readonly<Record<string, { readonly value: string }>>
}

const DONE: Reply = { columns: [{ name: 'status', type: 'text' }], rows: [['Statement executed successfully.']] }
const SELECT = 0x1000

export async function fakeSnowflake(script: Script = {}): Promise<FakeSnowflake> {
  const logins: Login[] = []
  const asked: { sql: string; describe: boolean }[] = []
  const bound: string[] = []
  const cancelled: string[] = []
  const paths: string[] = []
  const pieces: Piece[] = []
  let ended = 0

  const place = (): object => {
    const last = logins.at(-1)?.place ?? {}
    const given = {
      warehouse: last['warehouse'],
      database: last['databaseName'],
      schema: last['schemaName'],
      role: last['roleName'],
      ...script.place,
    }
    return Object.fromEntries(
      Object.entries(given).map(([name, value]) => [`final${name[0]?.toUpperCase()}${name.slice(1)}Name`, value ?? null]),
    )
  }
  const answer = (reply: Exclude<Reply, 'silence' | { status: number }>): object => {
    if ('code' in reply) {
      const { code, message, state, line = -1, pos = -1 } = reply
      return { success: false, code, message, data: { errorCode: code, sqlState: state, line, pos, queryId: crypto.randomUUID() } }
    }
    const { columns, rows = [], pieces: more = [] } = reply
    const chunks = more.map((piece) => ({ url: `${url}/piece/${pieces.push(piece) - 1}`, rowCount: piece.count }))
    const count = rows.length + more.reduce((sum, piece) => sum + piece.count, 0)
    const rowtype = columns.map((column) => ({ precision: null, scale: null, nullable: true, ...column }))
    const result = { rowtype, rowset: rows, total: count, returned: count, ...(chunks.length ? { chunks, chunkHeaders: {} } : {}) }
    return {
      success: true,
      data: { ...result, ...place(), parameters: [], queryId: crypto.randomUUID(), statementTypeId: SELECT, version: 1 },
    }
  }
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://localhost')
    paths.push(pathname)
    const send = (body: object, status = 200): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    }
    const body = (await text(request)) as Asked
    const piece = pieces[Number(/^\/piece\/(\d+)$/.exec(pathname)?.[1] ?? -1)]
    if (piece?.cut?.() === true) {
      response.writeHead(200, { 'content-length': String(piece.text().length) })
      return void response.write(piece.text().slice(0, -8), () => setImmediate(() => response.destroy()))
    }
    if (piece !== undefined) return void response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(piece.text())
    if (pathname === '/session/v1/login-request') {
      const login = { place: Object.fromEntries(searchParams), data: body.data ?? {} }
      logins.push(login)
      const refused = script.login?.(login) ?? null
      if (refused === 'silence') return
      if (refused === null) return send({ success: true, data: { token: 't', masterToken: 'm', sessionId: logins.length, parameters: [] } })
      return 'status' in refused ? send({}, refused.status) : send({ success: false, data: {}, ...refused })
    }
    if (pathname === '/session/token-request') return send({ success: true, data: { sessionToken: 't2', masterToken: 'm2' } })
    if (pathname === '/queries/v1/query-request') {
      const sql = body.sqlText ?? ''
      asked.push({ sql, describe: body.describeOnly === true })
      bound.push(...Object.values(body.bindings ?? {}).map(({ value }) => value))
      const reply = sql.startsWith('ALTER SESSION') ? DONE : (script.query?.(sql, body.describeOnly === true) ?? DONE)
      if (reply === 'silence') return
      return 'status' in reply ? send({}, reply.status) : send(answer(reply))
    }
    if (pathname === '/queries/v1/abort-request') cancelled.push(body.requestId ?? '')
    if (pathname === '/session') ended++
    send({ success: true, data: null })
  }
  const server = createServer((request, response) => void serve(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`
  return {
    settings: {
      account: 'myorg-myaccount',
      host: '127.0.0.1',
      port,
      protocol: 'http',
      user: 'cdp_sync',
      password: 'S3cr3t of the warehouse',
    },
    logins,
    asked,
    bound,
    cancelled,
    paths,
    ended: () => ended,
    stop() {
      server.close()
      server.closeAllConnections()
    },
  }
}

async function text(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return parts.length === 0 ? {} : JSON.parse(Buffer.concat(parts).toString())
}

export const snowflakeEntry = (settings: SnowflakeSettings): WarehouseEntry => ({
  name: 'prod',
  type: 'snowflake',
  settings,
  where: 'cdp-sync.yaml:3:5',
})
