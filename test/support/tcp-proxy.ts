/** A TCP proxy between client and server that breaks connections in chosen ways. */
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** What happens to one connection; all counts are bytes. */
export interface TcpFault {
  /** Milliseconds before each piece passes, both ways. */
  readonly latency?: number
  /** Once this much came from the client: 0 breaks before the server sees anything. */
  readonly cutUpAfter?: number
  /** Once this much of the server's reply has passed: 0 breaks when the reply begins, so the server had the request. */
  readonly cutDownAfter?: number
  /** How it breaks: a reset (default), a clean end, or silence with both sides left open. */
  readonly how?: 'reset' | 'end' | 'hang'
  /** The reply passes byte by byte, this many milliseconds apart. */
  readonly drip?: number
}

export interface TcpProxy {
  readonly port: number
  readonly url: string
  /** Connections accepted so far. */
  connections(): number
  /** Chooses the fault of each later connection, by its number from 1. */
  fault(plan: (connection: number) => TcpFault | undefined): void
  close(): Promise<void>
}

export async function startTcpProxy(target: { port: number; host?: string }): Promise<TcpProxy> {
  const open = new Set<net.Socket>()
  let plan: ((connection: number) => TcpFault | undefined) | undefined
  let count = 0
  const server = net.createServer((client) => {
    count++
    const fault = plan?.(count) ?? {}
    const upstream = net.connect(target.port, target.host ?? '127.0.0.1')
    for (const socket of [client, upstream]) {
      open.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {}).on('close', () => open.delete(socket))
    }
    const cut = (): void => {
      if (fault.how === 'hang') return
      if (fault.how === 'end') client.end()
      else client.resetAndDestroy()
      upstream.destroy()
    }
    pump(client, upstream, { ...fault, cutAfter: fault.cutUpAfter, drip: undefined }, cut)
    pump(upstream, client, { ...fault, cutAfter: fault.cutDownAfter }, cut)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    connections: () => count,
    fault: (next) => {
      plan = next
    },
    close: () => {
      for (const socket of open) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

interface Pump {
  readonly latency?: number
  readonly drip?: number | undefined
  readonly cutAfter: number | undefined
}

function pump(from: net.Socket, to: net.Socket, { latency = 0, drip, cutAfter = Infinity }: Pump, cut: () => void): void {
  let passed = 0
  let broken = false
  let turn = Promise.resolve()
  const pass = async (data: Buffer): Promise<void> => {
    if (broken) return
    if (latency > 0) await sleep(latency)
    const rest = data.subarray(0, cutAfter - passed)
    passed += data.length
    if (drip !== undefined) await dribble(to, rest, drip)
    else if (rest.length > 0) await new Promise((resolve) => to.write(rest, resolve))
    if (passed <= cutAfter && !(passed === cutAfter && cutAfter === 0)) return
    broken = true
    cut()
  }
  from.on('data', (data: Buffer) => {
    turn = turn.then(() => pass(data))
  })
  from.on('end', () => void turn.then(() => broken || to.end()))
  from.on('close', () => void turn.then(() => broken || to.destroy()))
}

async function dribble(to: net.Socket, bytes: Buffer, ms: number): Promise<void> {
  for (const byte of bytes) {
    if (to.destroyed) return
    to.write(Buffer.of(byte))
    await sleep(ms)
  }
}
