/** Two runners of one sync, where both reach its state: one goes, and one that lost its lease starts nothing more. */
import { describe, expect, inject, it, vi } from 'vitest'
import { held, wanted, type Ended, type TestProject } from '../support/project.ts'
import type { Fault } from '../support/receiver.ts'
import { AFTER, begin, elsewhere, receiver } from './support.ts'

const sent = (): number => receiver.requests.length
const text = ({ stdout, stderr }: Ended): string => stdout + stderr
/** On one machine the kernel tells runners apart (test/lock); a DuckDB file is open in one process at a time. */
const ALONE = ['local', 'warehouse-duckdb'].includes(inject('engine'))

/** Starts a run whose requests take a while, and waits until it has sent `n` of them. */
async function sending(project: TestProject, n: number, env: Record<string, string> = {}, fault: Fault = { delay: 400 }) {
  receiver.fault(() => fault)
  receiver.requests.length = 0
  const run = project.start(['run'], { env })
  await vi.waitFor(() => expect(sent()).toBeGreaterThanOrEqual(n), { timeout: 60_000, interval: 10 })
  return run
}

describe.skipIf(ALONE)('of two runners', () => {
  it('one refuses while the other goes, and says who has it; or it waits', async () => {
    const one = await begin()
    const two = await elsewhere(one)
    let open = (): void => undefined
    const until = new Promise<void>((resolve) => (open = resolve))
    const first = await sending(one, 1, {}, { until })
    const refused = await two.run(['run'])
    expect([refused.code, text(refused)]).toEqual([6, expect.stringMatching(/people is locked by another run \(pid \d+ on .*, since 20/)])
    const status = await two.run(['status', '--json'])
    expect(JSON.parse(status.stdout)).toMatchObject({ syncs: [{ name: 'people', status: 'running', running: { pid: first.process.pid } }] })
    const second = two.start(['run', '--lock-timeout', '2m'])
    await second.said('started')
    receiver.fault(() => undefined)
    open()
    const patient = await second.end
    expect([patient.code, text(patient)]).toEqual([0, expect.anything()])
    expect((await first.end).code).toBe(0)
    expect(held(receiver)).toEqual(wanted(AFTER))
    expect(await one.place.leftovers('people', one.root)).toEqual([])
  })

  it('one that stood still past its lease starts no request and writes nothing', async () => {
    const lease = { CDP_SYNC_LEASE_MS: '3000' }
    const one = await begin()
    const paused = await sending(one, 2, lease)
    paused.process.kill('SIGSTOP')
    // What it had handed over arrives; nothing else may.
    await new Promise((resolve) => setTimeout(resolve, 1000))
    receiver.fault(() => undefined)
    const two = await elsewhere(one)
    const second = await two.run(['run', '--lock-timeout', '2m'], { env: lease })
    expect([second.code, text(second)]).toEqual([0, expect.anything()])
    expect(held(receiver)).toEqual(wanted(AFTER))
    const before = sent()
    paused.process.kill('SIGCONT')
    const ended = await paused.end
    expect([ended.code, text(ended)]).toEqual([1, expect.stringContaining('CDP4033')])
    expect(sent()).toBe(before)
    expect(await two.place.leftovers('people', two.root)).toEqual([])
    expect((await two.plan()).counts).toMatchObject({ add: 0, change: 0, remove: 0, uncertain: 0 })
  })
})
