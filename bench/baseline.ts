/**
 * What people write before they look for a tool. `all`: every row is sent, each time. `map`: all rows are fetched and
 * compared with those of the last time, held in a Map and kept in a file. Both read by a cursor and post 1,000 rows at a
 * time, eight at once.
 */
import { createReadStream, createWriteStream, existsSync, renameSync } from 'node:fs'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Client } from 'pg'
import { Pool } from 'undici'

const [kind = '', database = '', table = '', origin = '', file = ''] = process.argv.slice(2)
type Row = { id: string } & Record<string, unknown>

const pool = new Pool(origin, { connections: 8 })
const flying = new Set<Promise<void>>()
let batch: string[] = []

async function push(change: string): Promise<void> {
  if (batch.push(change) >= 1000) await post()
}

async function post(): Promise<void> {
  if (batch.length === 0) return
  const body = `{"changes":[${batch.join(',')}]}`
  batch = []
  const flight = pool.request({ path: '/', method: 'POST', body }).then((reply) => reply.body.dump())
  flying.add(flight)
  void flight.finally(() => flying.delete(flight))
  if (flying.size >= 8) await Promise.race(flying)
}

async function* rows(): AsyncGenerator<Row> {
  const client = new Client(database)
  await client.connect()
  await client.query(`BEGIN READ ONLY; DECLARE model CURSOR FOR SELECT * FROM ${table}`)
  for (;;) {
    const { rows: page } = await client.query<Row>('FETCH 10000 FROM model')
    if (page.length === 0) break
    yield* page
  }
  await client.end()
}

const upsert = (row: Row): string => `{"op":"upsert","key":"${row.id}","fields":${JSON.stringify(row)}}`

if (kind === 'all') {
  for await (const row of rows()) await push(upsert(row))
} else {
  const before = new Map<string, string>()
  if (existsSync(file)) {
    for await (const line of createInterface({ input: createReadStream(file) }))
      before.set(line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1))
  }
  const out = createWriteStream(`${file}.new`, { highWaterMark: 1 << 20 })
  for await (const row of rows()) {
    const text = JSON.stringify(row)
    // The first time only fills the file.
    if (before.size > 0 && before.get(row.id) !== text) await push(upsert(row))
    before.delete(row.id)
    if (!out.write(`${row.id} ${text}\n`)) await once(out, 'drain')
  }
  for (const key of before.keys()) await push(`{"op":"delete","key":"${key}"}`)
  out.end()
  await once(out, 'close')
  renameSync(`${file}.new`, file)
}
await post()
await Promise.all(flying)
await pool.close()
