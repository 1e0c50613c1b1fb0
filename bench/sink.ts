/**
 * The receiver, a process of its own. Takes any POST, counts the changes in it and answers 200 with nothing, after 200 ms
 * under `/slow`. Under `/keep` it appends the body to the file given, behind its length, to be posted again.
 * Tells its port by IPC; every message to it is answered with the counts since the last one.
 */
import { appendFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

const [file = ''] = process.argv.slice(2)
const MARK = Buffer.from('{"op":"')
let requests = 0
let rows = 0

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const body = Buffer.concat(chunks)
    requests++
    for (let at = body.indexOf(MARK); at !== -1; at = body.indexOf(MARK, at + 100)) rows++
    if (request.url === '/keep') {
      const length = Buffer.alloc(4)
      length.writeUInt32LE(body.length)
      appendFileSync(file, Buffer.concat([length, body]))
    }
    if (request.url === '/slow') setTimeout(() => response.end(), 200)
    else response.end()
  })
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }))

process.on('message', () => {
  process.send?.({ requests, rows })
  requests = rows = 0
})
process.on('disconnect', () => process.exit(0))
