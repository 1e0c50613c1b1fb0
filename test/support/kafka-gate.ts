/** TLS and a SASL PLAIN login in front of a broker that knows neither: what it lets through is rewritten to lead through it. */
import net from 'node:net'
import tls from 'node:tls'
import type { AddressInfo } from 'node:net'

export interface Gate {
  readonly address: string
  close(): Promise<void>
}

/** API keys of the Kafka protocol. */
const PRODUCE = 0
const SASL_HANDSHAKE = 17
const API_VERSIONS = 18
const SASL_AUTHENTICATE = 36
const SASL_AUTHENTICATION_FAILED = 58

export interface GateOptions {
  readonly key: string
  readonly cert: string
  readonly username: string
  readonly password: string
  /** Whether the connection breaks instead of bringing the reply to a produce request, which has taken effect. */
  readonly loses?: () => boolean
}

export async function startGate(broker: string, { key, cert, username, password, loses = () => false }: GateOptions): Promise<Gate> {
  const inside = Number(broker.split(':')[1])
  const sockets = new Set<net.Socket>()
  const server = tls.createServer({ key, cert }, (client) => {
    const upstream = net.connect(inside, '127.0.0.1')
    let welcome = false
    const asked = new Map<number, number>()
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined).on('close', () => (client.destroy(), upstream.destroy()))
    }
    eachFrame(client, (frame) => {
      const api = frame.readInt16BE(0)
      const correlation = frame.readInt32BE(4)
      if (api === SASL_HANDSHAKE) return send(client, correlation, Buffer.concat([int16(0), int32(1), string('PLAIN')]))
      if (api === SASL_AUTHENTICATE) {
        const rest = frame.subarray(10 + Math.max(0, frame.readInt16BE(8)))
        welcome = rest.subarray(4).toString('utf8') === `\0${username}\0${password}`
        return send(
          client,
          correlation,
          Buffer.concat([int16(welcome ? 0 : SASL_AUTHENTICATION_FAILED), string('no such login'), int32(0)]),
        )
      }
      if (!welcome && api !== API_VERSIONS) return void client.destroy()
      asked.set(correlation, api)
      upstream.write(Buffer.concat([int32(frame.length), frame]))
    })
    eachFrame(upstream, (frame) => {
      const correlation = frame.readInt32BE(0)
      if (asked.get(correlation) === PRODUCE && loses()) return void client.destroy()
      const body = asked.get(correlation) === API_VERSIONS ? withSasl(frame.subarray(4)) : frame.subarray(4)
      send(client, correlation, replaced(body, int32(inside), int32((server.address() as AddressInfo).port)))
    })
  })
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

/** ApiVersions response: error, entries of key, least and greatest version, and what follows. */
function withSasl(body: Buffer): Buffer {
  const count = body.readInt32BE(2)
  const end = 6 + count * 6
  const more = [SASL_HANDSHAKE, 1, 1, SASL_AUTHENTICATE, 0, 0].map(int16)
  return Buffer.concat([body.subarray(0, 2), int32(count + 2), body.subarray(6, end), ...more, body.subarray(end)])
}

function replaced(body: Buffer, from: Buffer, to: Buffer): Buffer {
  const copy = Buffer.from(body)
  for (let at = copy.indexOf(from); at >= 0; at = copy.indexOf(from, at + 4)) to.copy(copy, at)
  return copy
}

function eachFrame(socket: net.Socket, take: (frame: Buffer) => void): void {
  let rest = Buffer.alloc(0)
  socket.on('data', (data: Buffer) => {
    rest = Buffer.concat([rest, data])
    while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
      const end = 4 + rest.readInt32BE(0)
      take(rest.subarray(4, end))
      rest = rest.subarray(end)
    }
  })
}

function send(socket: net.Socket, correlation: number, body: Buffer): void {
  socket.write(Buffer.concat([int32(4 + body.length), int32(correlation), body]))
}

function int16(value: number): Buffer {
  const buffer = Buffer.alloc(2)
  buffer.writeInt16BE(value)
  return buffer
}

function int32(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeInt32BE(value)
  return buffer
}

const string = (text: string): Buffer => Buffer.concat([int16(Buffer.byteLength(text)), Buffer.from(text)])
