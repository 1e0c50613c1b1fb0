/** States in a bucket under rivals and faults: who may send, who may write, and what is said when it may not be. */
import { readFile, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import type { Fault } from '../support/receiver.ts'
import { held, wanted, type Ended } from '../support/project.ts'
import {
  AFTER,
  BEFORE,
  begin,
  elsewhere,
  expectHonest,
  expectRecovery,
  expectTidy,
  expireLease,
  killAt,
  openStates,
  receiver,
  s3,
  SKIPPED,
  startGate,
  type Shared,
} from './support.ts'

const sent = (): number => receiver.requests.length
/** Resolves when the service has had so many requests of the run that goes. */
const requests = (n: number): Promise<void> => vi.waitFor(() => expect(sent()).toBeGreaterThanOrEqual(n), { timeout: 60_000, interval: 10 })
const text = ({ stdout, stderr }: Ended): string => stdout + stderr
const parse = async <T>(key: string): Promise<T> => JSON.parse(await s3.read(key)) as T

/** Starts a run whose requests take a while, and waits until it has sent `n` of them. */
async function sending(
  { project }: Shared,
  n: number,
  env: Record<string, string> = {},
  fault: Fault = { delay: 400 },
): Promise<ReturnType<typeof project.start>> {
  receiver.fault(() => fault)
  receiver.requests.length = 0
  const run = project.start(['run'], { env })
  await requests(n)
  return run
}

describe.skipIf(SKIPPED)('two runners', () => {
  it('a head that somebody else moved is not overwritten', async () => {
    const one = await begin()
    const run = await sending(one, 3)
    const foreign = JSON.stringify({ ...(await parse<object>(`${one.folder}/head.json`)), write: 'somebody else' })
    const { PutObjectCommand, S3Client } = await import('@aws-sdk/client-s3')
    const client = new S3Client({ endpoint: s3.url, region: 'us-east-1', forcePathStyle: true })
    await client.send(new PutObjectCommand({ Bucket: 'states', Key: `${one.folder}/head.json`, Body: foreign }))
    const ended = await run.end
    expect([ended.code, text(ended)]).toEqual([1, expect.stringMatching(/CDP4033.*taken over by another run/s)])
    expect(await s3.read(`${one.folder}/head.json`)).toBe(foreign)
    await expectHonest(one)
    await expectRecovery(await elsewhere(one))
  })
})

describe.skipIf(SKIPPED)('a runner that stood still past its lease', () => {
  it('deletes nothing of what the next one has stored', async () => {
    const lease = { CDP_SYNC_LEASE_MS: '3000' }
    const one = await begin()
    const head = await s3.read(`${one.folder}/head.json`)
    const { snapshot } = JSON.parse(head) as { snapshot: string }
    const paused = one.project.start(['run'], { env: { ...lease, CDP_SYNC_CRASH_AT: 'head-moved:1:SIGSTOP' } })
    const moved = async (): Promise<boolean> => (await parse<{ snapshot: string }>(`${one.folder}/head.json`)).snapshot !== snapshot
    await vi.waitFor(async () => expect(await moved()).toBe(true), { timeout: 60_000, interval: 50 })
    const two = await elsewhere(one)
    await two.project.rows(BEFORE)
    const second = await two.project.run(['run', '--lock-timeout', '2m'], { env: lease })
    expect([second.code, text(second)]).toEqual([0, expect.anything()])
    await expectTidy(one.folder)
    paused.process.kill('SIGCONT')
    await paused.end
    await expectTidy(one.folder)
    expect((await (await elsewhere(two)).project.plan()).counts).toMatchObject({ add: 0, change: 0, remove: 0, unchanged: BEFORE.length })
  })
})

describe.skipIf(SKIPPED)('a request that comes late', () => {
  it('deletes nothing that was stored again', async () => {
    const gate = await startGate()
    try {
      const lease = { CDP_SYNC_LEASE_MS: '3000' }
      const one = await begin(false, gate.url)
      const two = await elsewhere(one)
      const yaml = await readFile(join(one.project.root, 'syncs/people.yaml'), 'utf8')
      await rm(join(one.project.root, 'syncs/people.yaml'))
      await one.project.write('syncs/persons.yaml', yaml)
      gate.hold((method, url) => method === 'DELETE' && url.includes('/people/parts/'))
      const late = one.project.start(['state', 'mv', 'people', 'persons'], { env: lease })
      await vi.waitFor(() => expect(gate.waiting()).toBeGreaterThan(0), { timeout: 60_000, interval: 20 })
      late.process.kill('SIGSTOP')
      const direct = { env: { ...lease, ENDPOINT: s3.url } }
      await vi.waitFor(async () => expect((await two.project.run(['state', 'mv', 'persons', 'people'], direct)).code).toBe(0), {
        timeout: 120_000,
        interval: 1000,
      })
      // The client asks again for what it got no answer to.
      gate.open(true)
      late.process.kill('SIGCONT')
      await late.end
      const { code, stdout, stderr } = await (await elsewhere(two)).project.run(['plan'], direct)
      expect([code, stdout + stderr]).toEqual([0, expect.stringContaining('people')])
      await expectTidy(one.folder)
    } finally {
      await gate.close()
    }
  })

  it('shows no reader a run without its journal', async () => {
    const gate = await startGate()
    try {
      const one = await begin()
      await killAt(one, 'answered:4')
      await expireLease(one)
      gate.hold((method, url) => method === 'GET' && /prefix=.*\/journal-/.test(url))
      const reader = (await elsewhere(one)).project.start(['plan', '--json'], { env: { ENDPOINT: gate.url } })
      await vi.waitFor(() => expect(gate.waiting()).toBeGreaterThan(0), { timeout: 60_000, interval: 20 })
      expect((await (await elsewhere(one)).project.run(['run'])).code).toBe(0)
      gate.open()
      const { code, stdout } = await reader.end
      expect(code).toBe(0)
      expect(JSON.parse(stdout)).toMatchObject({ syncs: [{ counts: { add: 0, change: 0, remove: 0, uncertain: 0 } }] })
    } finally {
      await gate.close()
    }
  })
})

describe.skipIf(SKIPPED)('a bucket that fails', () => {
  it('and lost a list or a part has them again after a run that holds a copy; to others its state is damaged', async () => {
    const one = await begin()
    const bucket = await openStates()
    const { snapshot } = await parse<{ snapshot: string }>(`${one.folder}/head.json`)
    await bucket.put(`${one.folder}/${snapshot}`, 'no list')
    const damaged = await (await elsewhere(one)).project.run(['plan'])
    expect([damaged.code, text(damaged)]).toEqual([1, expect.stringContaining('CDP4001')])
    await bucket.remove([`${one.folder}/${snapshot}`, ...(await bucket.list(`${one.folder}/parts/`)).slice(0, 1)])
    const lost = await (await elsewhere(one)).project.run(['plan'])
    expect([lost.code, text(lost)]).toEqual([1, expect.stringMatching(/CDP4001.*is\s+missing/s)])
    expect((await one.project.run(['run'])).code).toBe(0)
    await expectTidy(one.folder)
    expect(held(receiver)).toEqual(wanted(AFTER))
    expect((await (await elsewhere(one)).project.plan()).counts).toMatchObject({ add: 0, change: 0, remove: 0, unchanged: AFTER.length })
  })

  it('sends nothing whose intent could not be stored, when the server goes down in the middle', async () => {
    const one = await begin()
    const run = await sending(one, 2)
    s3.stop()
    const ended = await run.end
    await s3.start()
    expect([ended.code, text(ended)]).toEqual([1, expect.stringMatching(/CDP4030.*can't be reached/s)])
    const journal = (await s3.keys()).filter((key) => key.includes('/journal-') && key.startsWith(`${one.folder}/`))
    const intended = new Set<number>()
    for (const key of journal)
      for (const { first, last, result } of (await parse<{ rows: { first: number; last: number; result: string }[] }>(key)).rows)
        if (result === 'intent') for (let n = first; n <= last; n++) intended.add(n)
    const keys = new Set(receiver.requests.flatMap(({ changes }) => changes.map((change) => change.key)))
    expect(keys.size).toBeGreaterThan(0)
    expect(keys.size).toBeLessThanOrEqual(intended.size)
    receiver.fault(() => undefined)
    await expireLease(one)
    await expectHonest(one)
    await expectRecovery(await elsewhere(one))
  })

  it('is asked again when connections break, and a write whose answer was lost is not taken for a lost race', async () => {
    const proxy = await startTcpProxy({ port: s3.port })
    try {
      const one = await begin(true, proxy.url)
      proxy.fault((n) => (n % 3 === 1 ? { cutDownAfter: 0 } : n % 7 === 0 ? { cutUpAfter: 200 } : undefined))
      const ended = await one.project.run(['run'])
      expect([ended.code, text(ended)]).toEqual([0, expect.anything()])
      proxy.fault(() => undefined)
      expect(held(receiver)).toEqual(wanted(AFTER))
      expect(proxy.connections()).toBeGreaterThan(3)
      await expectTidy(one.folder)
    } finally {
      await proxy.close()
    }
  })

  it('that refuses the login ends with exit 4; one that is not there says so', async () => {
    const one = await begin()
    const wrong = await one.project.run(['run'], { env: { AWS_SECRET_ACCESS_KEY: 'wrong' } })
    expect([wrong.code, text(wrong)]).toEqual([4, expect.stringContaining('CDP4031')])
    const silent = await one.project.run(['plan'], { env: { ENDPOINT: 'http://127.0.0.1:9' } })
    expect([silent.code, text(silent)]).toEqual([1, expect.stringContaining('CDP4030')])
  })

  it('that ignores conditions is refused before anything is sent', async () => {
    const careless = await startCareless()
    try {
      const one = await begin(true, `http://127.0.0.1:${(careless.address() as AddressInfo).port}`)
      const ended = await one.project.run(['run'])
      expect([ended.code, text(ended)]).toEqual([1, expect.stringContaining('CDP4032')])
      expect(sent()).toBe(0)
    } finally {
      careless.close()
    }
  })
})

/** As little of S3 as a lease needs, and without conditions. */
async function startCareless(): Promise<Server> {
  const objects = new Map<string, Buffer>()
  const server = createServer((request, response) => {
    const key = (request.url ?? '').replace(/\?.*/, '')
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const etag = `"${String(objects.get(key)?.length ?? 0)}"`
      if (request.method === 'PUT') objects.set(key, Buffer.concat(chunks))
      if (request.method === 'DELETE') objects.delete(key)
      const found = objects.get(key)
      if (request.method === 'GET' && !found)
        return response.writeHead(404, { 'content-type': 'application/xml' }).end('<Error><Code>NoSuchKey</Code></Error>')
      response.writeHead(200, { etag, 'last-modified': new Date().toUTCString() }).end(request.method === 'GET' ? found : '')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}
