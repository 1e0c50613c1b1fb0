/**
 * `npx tsx bench/snowflake-read.ts [rows]`: rows a second out of Snowflake's protocol into an extract, beside the bare driver that
 * streams the same pieces to nowhere. The server is a stand-in on this machine, in a process of its own; so is each reader.
 */
import { fork } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { SnowflakeSettings } from '../src/config/types.ts'
import { openSnowflake } from '../src/warehouse/snowflake.ts'
import { connectSnowflake } from '../src/warehouse/snowflake-session.ts'
import { fakeSnowflake, snowflakeEntry } from '../test/warehouse/snowflake-server.ts'
import { median, script } from './measure.ts'

/** Rows in a piece: about 6 MB, as the service makes them. */
const PIECE = 50_000
const COLUMNS = Array.from({ length: 10 }, (_, i) => ({ name: `C${i}`, type: 'text' }))
const ROUNDS = 3

const [mode, ...args] = process.argv.slice(2)
if (mode === 'serve') await serve(Number(args[0]))
else if (mode === 'bare' || mode === 'read') await read(mode, JSON.parse(args[0] ?? '') as SnowflakeSettings)
else await compare(Number(mode ?? 1_000_000))

async function serve(rows: number): Promise<void> {
  const text = Array.from({ length: PIECE }, (_, i) =>
    JSON.stringify(COLUMNS.map((_column, j) => (j === 7 && i % 3 === 0 ? null : j === 0 ? `${1_000_000_000 + i}` : `value ${i * j}`))),
  ).join(',')
  const pieces = Array.from({ length: rows / PIECE }, () => ({ count: PIECE, text: () => text }))
  const server = await fakeSnowflake({ query: (_, describe) => ({ columns: COLUMNS, ...(describe ? {} : { pieces }) }) })
  process.send?.({ ...server.settings, warehouse: 'BENCH' })
}

async function read(how: 'bare' | 'read', settings: SnowflakeSettings): Promise<void> {
  const entry = snowflakeEntry(settings)
  const { signal } = new AbortController()
  const from = performance.now()
  let rows = 0
  if (how === 'bare') {
    const session = await connectSnowflake(entry, { tag: 'bench', signal })
    const stream = await session.stream('SELECT * FROM t')
    stream.rows.on('data', () => rows++)
    await new Promise((resolve) => stream.rows.on('end', resolve))
    await session.close()
  } else {
    const folder = await mkdtemp(join(tmpdir(), 'cdp-sync-bench-'))
    const warehouse = openSnowflake(entry)
    const query = { sync: 'bench', run: 'bench', sql: 'SELECT * FROM t', where: 'bench:1:1', condition: null }
    const columns = COLUMNS.map(({ name }) => ({ name: name.toLowerCase(), type: 'string' as const, native: 'VARCHAR' }))
    ;({ rows } = await warehouse.extract(query, columns, folder, { signal, progress: () => undefined }))
    await rm(folder, { recursive: true })
  }
  process.stdout.write(JSON.stringify({ rows, seconds: (performance.now() - from) / 1000 }))
  process.exit(0)
}

async function compare(rows: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'cdp-sync-bench-'))
  const server = fork(fileURLToPath(import.meta.url), ['serve', String(rows)], { execArgv: ['--import', 'tsx'] })
  try {
    const settings = await new Promise<unknown>((resolve) => server.once('message', resolve))
    const found = { bare: [] as number[], read: [] as number[] }
    const memory = { bare: 0, read: 0 }
    for (let round = 0; round < ROUNDS; round++) {
      for (const how of ['bare', 'read'] as const) {
        const usage = await script('snowflake-read.ts', [how, JSON.stringify(settings)], folder)
        const said = JSON.parse(usage.stdout) as { rows: number; seconds: number }
        if (said.rows !== rows) throw new Error(`${said.rows} of ${rows} rows`)
        found[how].push(rows / said.seconds)
        memory[how] = Math.max(memory[how], usage.memory)
      }
    }
    const [bare, ours] = [median(found.bare), median(found.read)]
    const line = (name: string, speed: number, bytes: number): string =>
      `${name}: ${Math.round(speed / 1000)} k rows/s, ${Math.round(bytes / 1_048_576)} MB at most\n`
    process.stdout.write(line('bare driver to nowhere', bare, memory.bare))
    process.stdout.write(line('extract to a file', ours, memory.read))
    process.stdout.write(`ratio: ${(ours / bare).toFixed(2)} (${rows} rows of ${COLUMNS.length} columns, median of ${ROUNDS})\n`)
  } finally {
    server.kill()
    await rm(folder, { recursive: true, force: true })
  }
}
