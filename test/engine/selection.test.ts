/** `--key`, `--limit` and `--full-refresh`: parts of a plan, and all of it again. */
import { afterEach, describe, expect, it } from 'vitest'
import { service } from '../support/destinations.ts'
import { world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { brief, pending, people, person, ran, there } from './support.ts'

let w: World
afterEach(() => w?.close())

describe('--limit', () => {
  it('sends so many changes, no removal before the last upsert, and leaves the rest in the next plan', async () => {
    w = await world(service('match'))
    await ran(w, people(3))
    await w.model([...people(1, 'pro', 3), ...people(3, 'free', 10)])
    expect(await pending(w)).toEqual({ add: 3, change: 1, remove: 2 })
    const sizes: string[][] = []
    for (let i = 0; i < 4; i++) {
      const { sent, record } = await ran(w, null, { limit: 2 })
      expect(record.exit_code).toBe(0)
      sizes.push(sent.map(({ op }) => op))
    }
    expect(sizes).toEqual([['upsert', 'upsert'], ['upsert', 'upsert'], ['delete', 'delete'], []])
    expect(await pending(w)).toEqual({})
  })

  it('fills up with removals after the last upsert', async () => {
    w = await world(service('match'))
    await ran(w, people(3))
    await w.model(people(1, 'pro', 3))
    expect((await w.plan({ limit: 2 })).counts).toMatchObject({ change: 1, remove: 1 })
    expect((await ran(w, null, { limit: 2 })).sent.map(({ op }) => op)).toEqual(['upsert', 'delete'])
    expect(await pending(w)).toEqual({ remove: 1 })
  })

  it('sends the one that gives an address up before the one that takes it', async () => {
    w = await world(service('renames'))
    await ran(w, [person('5', 'a@x.io', 'one')])
    await w.model([person('5', 'b@x.io', 'one'), person('1', 'a@x.io', 'two')])
    expect((await ran(w, null, { limit: 1 })).sent.map(({ key }) => key)).toEqual(['5'])
    expect((await ran(w, null, { limit: 1 })).sent.map(({ key }) => key)).toEqual(['1'])
    expect(there(w)).toEqual({ 'a@x.io': 'two', 'b@x.io': 'one' })
  })

  it('shows in the plan what it would send', async () => {
    w = await world(service('match'), { guards: {} })
    await ran(w, people(20))
    await w.model(people(5, 'pro'))
    const plan = await w.plan({ limit: 2 })
    expect(plan.counts).toMatchObject({ add: 0, change: 2, remove: 0, unchanged: 0 })
    expect(plan.because.data).toBe(2)
    expect(plan.samples.map(({ key }) => key).sort()).toEqual(['1', '2'])
    // The guard looks at all of it.
    expect(plan.guards.find(({ name }) => name === 'deletes')?.message).toContain('15 addresses')
    const whole = await w.plan()
    expect(whole.counts).toMatchObject({ change: 5, remove: 15 })
    w.sync = { ...w.sync, guards: { deletes: false } }
    expect((await ran(w, null, { limit: 2 })).sent.map(({ key }) => key).sort()).toEqual(['1', '2'])
  })

  it('on a first run shows samples of what it would send', async () => {
    w = await world(service('match'))
    await w.model(people(50))
    const plan = await w.plan({ limit: 3 })
    expect(plan.counts).toMatchObject({ add: 3, unchanged: 0 })
    expect(plan.samples).toHaveLength(3)
    const { sent } = await ran(w, null, { limit: 3 })
    expect(sent.map(({ key }) => key).sort()).toEqual(plan.samples.map(({ key }) => key).sort())
    expect(await pending(w)).toEqual({ add: 47 })
  })
})

describe('--key', () => {
  it('sends these keys only and shows them in the plan', async () => {
    w = await world(service('match'))
    await w.model(people(5))
    const plan = await w.plan({ keys: ['4', '2', 'nobody'] })
    expect(plan.counts).toMatchObject({ add: 2 })
    expect(plan.samples.map(({ key }) => key).sort()).toEqual(['2', '4'])
    expect(brief((await ran(w, null, { keys: ['4', '2', 'nobody'] })).sent).sort()).toEqual(['upsert 2 p2@x.io', 'upsert 4 p4@x.io'])
    expect(await pending(w)).toEqual({ add: 3 })
  })

  it('removes a row only when no upsert is left', async () => {
    w = await world(service('match'))
    await ran(w, people(2))
    await w.model([person('2', 'p2@x.io', 'pro')])
    expect((await ran(w, null, { keys: ['1'] })).sent).toEqual([])
    expect(brief((await ran(w, null, { keys: ['2'] })).sent)).toEqual(['upsert 2 p2@x.io'])
    expect(brief((await ran(w, null, { keys: ['1'] })).sent)).toEqual(['delete 1 p1@x.io'])
    expect(await pending(w)).toEqual({})
  })

  it('takes a key with a quote in it for what it is', async () => {
    w = await world(service('key'))
    await w.model([person("o'neil", 'o@x.io'), person('other', 'p@x.io')])
    expect((await ran(w, null, { keys: ["o'neil"] })).sent.map(({ key }) => key)).toEqual(["o'neil"])
  })

  it('is no fault of the run: what it left out does not count', async () => {
    w = await world(service('match'))
    const { record } = await ran(w, people(3), { keys: ['1'] })
    expect(record).toMatchObject({ status: 'ok', exit_code: 0, counts: { delivered: 1, waiting: 0 } })
  })
})

describe('--full-refresh', () => {
  it('sends every row again in this very run, whole and under new ids, and removes what left', async () => {
    w = await world(service('match'), { send: 'changed' })
    const first = await ran(w, people(3))
    w.service.records().clear()
    await w.model(people(2))
    expect((await w.plan({ fullRefresh: true })).counts).toMatchObject({ change: 2, remove: 1, uncertain: 3 })
    const { sent, record } = await ran(w, null, { fullRefresh: true })
    expect(brief(sent.slice(0, 2)).sort()).toEqual(['upsert 1 p1@x.io', 'upsert 2 p2@x.io'])
    expect(brief(sent.slice(2))).toEqual(['delete 3 p3@x.io'])
    expect(sent[0]?.fields).toEqual({ plan: 'free' })
    expect(first.sent.map(({ id }) => id)).not.toContain(sent[0]?.id)
    expect(record.status).toBe('ok')
    expect(await pending(w)).toEqual({})
  })

  it('is durable: a kill forgets nothing of it', async () => {
    w = await world(service('match'))
    await ran(w, people(4))
    let n = 0
    w.service.fate = () => (n++ < 1 ? 'ok' : 'crash-before')
    await ran(w, null, { fullRefresh: true })
    w.service.fate = () => 'ok'
    const { sent } = await ran(w)
    // Whatever was not confirmed goes now, without being asked again.
    expect(sent.length).toBeGreaterThanOrEqual(2)
    expect(await pending(w)).toEqual({})
  })

  it('keeps owned addresses and remote ids', async () => {
    w = await world(service('renames'))
    await ran(w, people(2))
    await ran(w, null, { fullRefresh: true })
    expect(await w.state('SELECT key, remote_id, owned FROM state.snapshot ORDER BY key')).toEqual([
      { key: '1', remote_id: 'R1', owned: true },
      { key: '2', remote_id: 'R2', owned: true },
    ])
  })

  it('with --key sends that key and leaves the others pending', async () => {
    w = await world(service('match'))
    await ran(w, people(3))
    expect((await ran(w, null, { fullRefresh: true, keys: ['2'] })).sent.map(({ key }) => key)).toEqual(['2'])
    expect(await pending(w)).toMatchObject({ change: 2, uncertain: 2 })
  })
})
