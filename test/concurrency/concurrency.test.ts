/** Several processes at once on one project: locks, shared limits, looking on, signals, order, and no harm from a neighbour. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { RunEvent } from '../../src/context.ts'
import { expectConverged, expectNoFalseDone, makeProject, people, syncText, type TestProject } from '../support/project.ts'
import { startReceiver, type Receiver } from '../support/receiver.ts'

const ROWS = people(0, 40)

let receiver: Receiver
let project: TestProject
/** Requests wait for it. */
let open: () => void
let gate: Promise<void>

beforeEach(async () => {
  receiver = await startReceiver()
  gate = new Promise((resolve) => (open = resolve))
})
afterEach(async () => {
  open()
  await project.remove()
  await receiver.close()
})

/** A run that has sent requests and waits for their replies. */
async function running(argv: readonly string[] = ['run']): Promise<ReturnType<TestProject['start']>> {
  receiver.fault(() => ({ until: gate }))
  const run = project.start(argv)
  await vi.waitFor(() => expect(receiver.requests.length).toBe(2), { timeout: 20_000, interval: 10 })
  return run
}

describe('two runs of one sync', () => {
  beforeEach(async () => {
    project = await makeProject({ url: receiver.url })
    await project.rows(ROWS)
  })

  it('never overlap: the second ends with 6 and names the holder', async () => {
    const first = await running()
    const requests = receiver.requests.length
    const second = await project.run(['run'])
    expect(second.code).toBe(6)
    expect(second.stdout).toContain(`pid ${first.process.pid}`)
    expect(receiver.requests.length).toBe(requests)
    open()
    expect((await first.end).code).toBe(0)
    await expectConverged(project, receiver, ROWS)
  })

  it('go one after the other with --lock-timeout, and the second finds nothing to send', async () => {
    const first = await running()
    const second = project.start(['run', '--lock-timeout', '60s', '--json'])
    await vi.waitFor(() => expect(second.shown()).toContain('"started"'), { timeout: 20_000, interval: 10 })
    open()
    expect((await first.end).code).toBe(0)
    const { code, stdout } = await second.end
    const summary = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as { syncs: { counts: object }[] }
    expect([code, summary.syncs[0]?.counts]).toEqual([0, expect.objectContaining({ delivered: 0, unchanged: 40 })])
    expect(receiver.requests.length).toBe(8)
  })

  it('five at once: every row is sent once, whoever comes first', async () => {
    receiver.fault(() => ({ delay: 200 }))
    const ends = await Promise.all(Array.from({ length: 5 }, () => project.run(['run', '--lock-timeout', '0s'])))
    const codes = ends.map(({ code }) => code)
    expect(codes.filter((code) => code !== 6)).toContain(0)
    expect(codes.every((code) => code === 0 || code === 6)).toBe(true)
    expect(receiver.requests.flatMap(({ changes }) => changes)).toHaveLength(40)
    await expectConverged(project, receiver, ROWS)
  })
})

describe('while a run goes on', () => {
  beforeEach(async () => {
    project = await makeProject({ url: receiver.url })
    await project.rows(ROWS)
  })

  it('status, history and rejected answer; plan says who holds the state, or waits', async () => {
    const run = await running()
    const status = await project.run(['status', '--json'])
    expect([status.code, JSON.parse(status.stdout)]).toEqual([
      0,
      expect.objectContaining({ syncs: [expect.objectContaining({ status: 'running' })] }),
    ])
    expect((await project.run(['history'])).code).toBe(0)
    expect((await project.run(['rejected', 'people'])).code).toBe(0)
    const plan = await project.run(['plan'])
    expect([plan.code, plan.stdout + plan.stderr]).toEqual([6, expect.stringContaining(`pid ${run.process.pid}`)])
    const patient = project.run(['plan', '--json', '--lock-timeout', '60s'])
    open()
    expect((await run.end).code).toBe(0)
    const { code, stdout } = await patient
    expect([code, JSON.parse(stdout).summary]).toEqual([0, expect.objectContaining({ add: 0, unchanged: 40 })])
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s ends it with %i: what is in flight is confirmed, the rest goes next time', async (signal, exit) => {
    const run = await running()
    run.process.kill(signal)
    await run.said('Stopping')
    open()
    const { code, stdout } = await run.end
    expect([code, stdout]).toEqual([exit, expect.stringContaining('interrupted')])
    await expectNoFalseDone(project, receiver)
    expect(receiver.requests.length).toBeLessThanOrEqual(2)
    const { counts } = await project.plan()
    expect(counts).toMatchObject({ uncertain: 0, unchanged: receiver.records.size })
    expect((await project.run(['run'])).code).toBe(0)
    await expectConverged(project, receiver, ROWS)
    expect(receiver.requests.flatMap(({ changes }) => changes)).toHaveLength(40)
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s twice ends it at once with %i, and the next run converges', async (signal, exit) => {
    const run = await running()
    run.process.kill(signal)
    await run.said('Stopping')
    run.process.kill(signal)
    expect((await run.end).code).toBe(exit)
    open()
    await expectNoFalseDone(project, receiver)
    expect((await project.run(['run'])).code).toBe(0)
    await expectConverged(project, receiver, ROWS)
  })
})

const plain = (name: string, more = '', mode = 'mode: upsert'): Record<string, string> => ({
  [`syncs/${name}.yaml`]: syncText(`${mode}\n${more}`),
})

describe('several syncs', () => {
  const MIRROR = 'mode: mirror\non_remove: delete'

  it('of several processes share the rate limit of their account', async () => {
    project = await makeProject({
      url: receiver.url,
      destination: 'batch_size: 5, concurrency: 4, requests_per_second: 5',
      sync: 'enabled: false',
      files: { ...plain('a'), ...plain('b'), ...plain('c') },
    })
    await project.rows(ROWS)
    const times: number[] = []
    receiver.fault(() => {
      times.push(Date.now())
      return undefined
    })
    const ends = await Promise.all(['a', 'b', 'c'].map((name) => project.run(['run', name])))
    expect(ends.map(({ code }) => code)).toEqual([0, 0, 0])
    expect(times).toHaveLength(24)
    // 24 at 5 a second take 3.8 s from the first to the last; three processes on their own would take a good second.
    expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(3_000)
  })

  it('start when what they depend on has sent its upserts, and its removals wait for them', async () => {
    const files = { ...plain('first', '', MIRROR), ...plain('second', 'depends_on: [first]', MIRROR) }
    project = await makeProject({ url: receiver.url, sync: 'enabled: false', files })
    await project.rows(ROWS)
    expect((await project.run(['run'])).code).toBe(0)
    const order = (): string[] => [...new Set(receiver.requests.map(({ sync, changes }) => `${sync} ${changes[0]?.op}`))]
    expect(order()).toEqual(['first upsert', 'second upsert'])
    receiver.requests.length = 0
    await project.rows([...people(0, 20), ...people(50, 60)])
    expect((await project.run(['run'])).code).toBe(0)
    expect(order()).toEqual(['first upsert', 'second upsert', 'second delete', 'first delete'])
  })

  it('are not hurt by one that fails', async () => {
    project = await makeProject({
      url: receiver.url,
      files: { ...plain('broken'), ...plain('well'), ...plain('after', 'depends_on: [broken]') },
    })
    await project.write('syncs/broken.yaml', syncText('mode: upsert').replace('table: people', 'sql: select no_such_column from people'))
    await project.rows(ROWS)
    const { code, stdout } = await project.run(['run', '--json'])
    const events = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as RunEvent & { syncs?: { name: string; status: string }[] })
    expect(code).toBe(1)
    expect(Object.fromEntries((events.at(-1)?.syncs ?? []).map(({ name, status }) => [name, status]))).toEqual({
      people: 'ok',
      well: 'ok',
      broken: 'failed',
      after: 'blocked',
    })
    await expectNoFalseDone(project, receiver)
  })

  it('of one process killed together all recover', async () => {
    project = await makeProject({ url: receiver.url, sync: 'enabled: false', files: { ...plain('a'), ...plain('b') } })
    await project.rows(ROWS)
    expect((await project.run(['run'], { env: { CDP_SYNC_CRASH_AT: 'answered:6' } })).signal).toBe('SIGKILL')
    expect((await project.run(['run'])).code).toBe(0)
    expect((await project.run(['plan', '--detailed-exitcode'])).code).toBe(0)
    expect(receiver.records.size).toBe(40)
  })
})
