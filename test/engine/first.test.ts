import { afterEach, describe, expect, it } from 'vitest'
import { service } from '../support/destinations.ts'
import type { Kind } from '../support/destinations.ts'
import { world } from '../support/world.ts'
import type { World } from '../support/world.ts'

let w: World
afterEach(() => w?.close())

describe.each<Kind>(['key', 'match', 'renames', 'membership', 'any'])('a sync addressed by %s', (kind) => {
  it('delivers, sends only what changed, and plans nothing after it', async () => {
    w = await world(service(kind))
    await w.model([
      { id: '1', email: 'A@x.io', phone: '+1 1', plan: 'free' },
      { id: '2', email: 'b@x.io', phone: '+1 2', plan: 'pro' },
    ])
    const plan = await w.plan()
    expect(plan.counts).toMatchObject({ add: 2, change: 0, remove: 0, unchanged: 0 })
    const first = await w.run()
    expect(first.error).toBeUndefined()
    expect(first).toMatchObject({ status: 'ok', exit_code: 0, counts: { delivered: 2 } })
    expect((await w.plan()).counts).toMatchObject({ add: 0, change: 0, remove: 0, unchanged: 2 })
    const before = w.service.sent.length
    await w.run()
    expect(w.service.sent.length).toBe(before)
    await w.model([{ id: '1', email: 'a@x.io', phone: '+1 1', plan: 'pro' }])
    const second = await w.plan()
    expect(second.counts).toMatchObject({ add: 0, change: kind === 'membership' || kind === 'any' ? 0 : 1, remove: 1 })
    expect(await w.run()).toMatchObject({ status: 'ok' })
    expect([...w.service.records().keys()].sort()).toEqual(
      kind === 'any' ? ['email:a@x.io', 'phone:11'] : [kind === 'key' ? '1' : 'a@x.io'],
    )
    expect((await w.plan()).counts).toMatchObject({ add: 0, change: 0, remove: 0 })
  })
})
