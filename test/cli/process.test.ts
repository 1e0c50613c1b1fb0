/** The built program as a process: signals, pipes, kill -9. Needs `npm run build`, which `npm test` does first. */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { writeProject } from '../support/cli-project.ts'

const BIN = fileURLToPath(new URL('../../bin/cdp-sync.js', import.meta.url))
let root: string
let remove: () => Promise<void>
let server: Server
/** Requests are answered when this says so. */
let answering: Promise<void>
let answer: () => void
let requests: number
const children: ChildProcess[] = []

beforeEach(async () => {
  expect(existsSync(join(BIN, '../../dist/src/cli/main.js')), 'npm run build comes first').toBe(true)
  requests = 0
  answering = new Promise((resolve) => (answer = resolve))
  server = createServer((request, response) => {
    requests += 1
    request.resume().on('end', () => void answering.then(() => response.end()))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  ;({ root, remove } = await writeProject({
    'cdp-sync.yaml': `warehouses: { main: { type: duckdb } }\ndestinations: { app: { type: webhook, url: "${url}", batch_size: 10, concurrency: 1 } }\n`,
    'syncs/companies.yaml':
      'model: { sql: "select i as id, i % 7 as plan from range(100) t(i)", key: id }\ndestination: app\nfields: { plan: plan }\n',
    'syncs/contacts.yaml': 'model: { sql: select 1 as id, key: id }\ndestination: app\nfields: { id: id }\nenabled: false\n',
  }))
})
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await remove()
})

interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

function start(...argv: string[]): { child: ChildProcess; said: (text: string) => Promise<void>; end: Promise<Ended> } {
  const child = spawn(process.execPath, [BIN, '-C', root, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
  children.push(child)
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const end = new Promise<Ended>((resolve) => child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr })))
  const said = (text: string) => vi.waitFor(() => expect(stderr).toContain(text), { timeout: 20_000, interval: 20 })
  return { child, said, end }
}

const sending = () => vi.waitFor(() => expect(requests).toBeGreaterThan(0), { timeout: 20_000, interval: 20 })

describe('the program', () => {
  it('ends cleanly at SIGINT, records what was confirmed, and goes on next time', async () => {
    const run = start('run')
    await sending()
    run.child.kill('SIGINT')
    answer()
    const { code, stdout, stderr } = await run.end
    expect(code).toBe(130)
    expect(stderr).toContain('Stopping: no new requests')
    expect(stdout).toContain('companies: interrupted')
    const rest = await start('run').end
    expect(rest.code).toBe(0)
    expect((await start('plan', '--detailed-exitcode').end).code).toBe(0)
  })

  it('ends at once at the second signal', async () => {
    const run = start('run')
    await sending()
    run.child.kill('SIGTERM')
    await run.said('Once more to stop at once.')
    run.child.kill('SIGTERM')
    expect((await run.end).code).toBe(143)
  })

  it('holds its lock against a second run, answers status meanwhile, and leaves it behind when killed', async () => {
    const run = start('run')
    await sending()
    const second = await start('run').end
    expect(second.code).toBe(6)
    expect(second.stdout).toContain(`pid ${run.child.pid}`)
    expect((await start('plan').end).code).toBe(6)
    const status = JSON.parse((await start('status', '--json').end).stdout) as { syncs: { status: string; running: { pid: number } }[] }
    expect(status.syncs[0]).toMatchObject({ status: 'running', running: { pid: run.child.pid } })
    run.child.kill('SIGKILL')
    await run.end
    answer()
    expect((await start('run').end).code).toBe(0)
  })

  it('keeps what it writes from everybody else', async () => {
    answer()
    expect((await start('run').end).code).toBe(0)
    for (const path of ['.cdp-sync', '.cdp-sync/state/companies']) expect((await stat(join(root, path))).mode & 0o77).toBe(0)
    expect((await stat(join(root, '.cdp-sync/state/companies.duckdb'))).mode & 0o77).toBe(0)
    expect(await readFile(join(root, '.cdp-sync/.gitignore'), 'utf8')).toBe('*\n')
  })

  it('goes on with a run when nobody reads its output any more', async () => {
    answer()
    const run = start('run', '--json')
    run.child.stdout?.destroy()
    const { code, stderr } = await run.end
    expect([code, stderr.includes('EPIPE')]).toEqual([0, false])
    expect((await start('plan', '--detailed-exitcode').end).code).toBe(0)
  })
})
