/** Rows that can't be sent: never sent, never removed, counted and named. */
import { afterEach, describe, expect, it } from 'vitest'
import { service } from '../support/destinations.ts'
import { column, world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { brief, pending, people, person, ran, there } from './support.ts'

let w: World
afterEach(() => w?.close())

const UNMAPPED = [column('plan', 'plan', { map: new Map([['free', { kind: 'string' as const, text: 'FREE' }]]) })]

describe('a row with a null key', () => {
  it('is counted, named and not sent', async () => {
    w = await world(service('match'))
    await w.model([person(null, 'a@x.io'), person('2', 'b@x.io')])
    const plan = await w.plan()
    expect(plan.counts).toMatchObject({ add: 1, invalid: 1 })
    expect(plan.invalid_reasons).toEqual({ null_key: 1 })
    expect(plan.invalid_samples).toEqual([{ key: '', code: 'null_key', message: 'the key is null' }])
    expect(brief((await ran(w)).sent)).toEqual(['upsert 2 b@x.io'])
  })

  it('protects the address it carries', async () => {
    w = await world(service('match'))
    await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io'), person('3', 'c@x.io')])
    const { sent } = await ran(w, [person(null, 'A@x.io'), person('3', 'c@x.io')], { allow: new Set(['null_keys']) })
    expect(brief(sent)).toEqual(['delete 2 b@x.io'])
  })

  it('withholds removals until their number is no surprise any more', async () => {
    w = await world(service('key'))
    await ran(w, people(4))
    await w.model([person(null, 'p1@x.io'), ...people(2, 'pro', 3)])
    const plan = await w.plan()
    expect(plan.counts).toMatchObject({ change: 2, remove: 0, waiting: 2 })
    expect(plan.warnings.join()).toContain('2 removals wait: 1 rows have a null key, more than in the last run that removed anything (0)')
    const withheld = await ran(w)
    expect(withheld.record).toMatchObject({ status: 'ok', exit_code: 0, counts: { waiting: 2 } })
    expect(w.service.records().size).toBe(4)
    expect(await pending(w)).toMatchObject({ waiting: 2 })
    const allowed = await ran(w, null, { allow: new Set(['null_keys']) })
    expect(brief(allowed.sent)).toEqual(['delete 1 p1@x.io', 'delete 2 p2@x.io'])
    // One is known now: the next row that leaves beside it is removed.
    expect(brief((await ran(w, [person(null, 'p1@x.io'), person('4', 'p4@x.io', 'pro')])).sent)).toEqual(['delete 3 p3@x.io'])
  })
})

describe('rows that share a key', () => {
  it('are one row when they are equal in every mapped column', async () => {
    w = await world(service('match'))
    const { sent, record } = await ran(w, [person('1', 'a@x.io', 'free', '11'), person('1', 'a@x.io', 'free', '22')])
    expect(brief(sent)).toEqual(['upsert 1 a@x.io'])
    expect(record.counts).toMatchObject({ add: 1, invalid: 0 })
    expect(await pending(w)).toEqual({})
  })

  it.each(['key', 'match', 'renames', 'membership', 'any'] as const)(
    'are all invalid when they differ, and what was delivered stays, by %s',
    async (kind) => {
      w = await world(service(kind), { fields: kind === 'membership' || kind === 'any' ? [] : [column('plan')] })
      await ran(w, [person('1', 'a@x.io', 'free', '11'), person('2', 'b@x.io', 'free', '22')])
      const size = w.service.records().size
      const { sent, record } = await ran(w, [
        person('1', 'a@x.io', 'free', '11'),
        person('1', 'a2@x.io', 'pro', '33'),
        person('2', 'b@x.io', 'free', '22'),
      ])
      expect(sent).toEqual([])
      expect(record.counts).toMatchObject({ invalid: 2, remove: 0, add: 0 })
      expect(record.exit_code).toBe(0)
      expect(w.service.records().size).toBe(size)
      // Healed: what the row says now is compared with what was delivered.
      const healed = await ran(w, [person('1', 'a2@x.io', 'pro', '33'), person('2', 'b@x.io', 'free', '22')])
      expect(healed.sent.length).toBeGreaterThan(0)
      expect(await pending(w)).toEqual({})
    },
  )
})

describe('a row whose match is null', () => {
  it('keeps the record it has, and is counted as kept', async () => {
    w = await world(service('match'))
    await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
    const { sent, record } = await ran(w, [person('1', null, 'pro'), person('2', 'b@x.io')])
    expect(sent).toEqual([])
    expect(record).toMatchObject({ exit_code: 0, counts: { kept: 1, invalid: 1, remove: 0 } })
    expect(there(w)).toEqual({ 'a@x.io': 'free', 'b@x.io': 'free' })
    // It gets its match back and is sent as it is then.
    expect(brief((await ran(w, [person('1', 'a@x.io', 'pro'), person('2', 'b@x.io')])).sent)).toEqual(['upsert 1 a@x.io'])
  })

  it('gives its record up with on_null_match: remove, and always in a membership', async () => {
    for (const kind of ['match', 'membership'] as const) {
      w = await world(service(kind), { onNullMatch: 'remove' })
      await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
      expect(brief((await ran(w, [person('1', null), person('2', 'b@x.io')])).sent)).toEqual(['delete 1 a@x.io'])
      await w.close()
    }
  })

  it('is invalid in an any-of match only if every identifier is null', async () => {
    w = await world(service('any'))
    const { record } = await ran(w, [person('1', null, 'free', '11'), person('2', 'b@x.io'), person('3', null)])
    expect(record.counts).toMatchObject({ add: 2, invalid: 1 })
    expect([...w.service.records().keys()].sort()).toEqual(['email:b@x.io', 'phone:11'])
  })

  it('is no fault where the key is the address', async () => {
    w = await world(service('key'))
    const { sent } = await ran(w, [person('1', null), person('2', null)])
    expect(sent.map(({ key, match }) => [key, match])).toEqual([
      ['1', {}],
      ['2', {}],
    ])
    expect(await pending(w)).toEqual({})
  })
})

describe('rows that share a match', () => {
  it.each(['match', 'renames'] as const)('are all invalid, and the one that was delivered stays, by %s', async (kind) => {
    w = await world(service(kind))
    await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
    const { sent, record } = await ran(w, [person('1', 'a@x.io', 'pro'), person('2', 'b@x.io'), person('3', 'A@X.io', 'gold')])
    expect(sent).toEqual([])
    expect(record.counts).toMatchObject({ invalid: 2, remove: 0 })
    expect((await w.plan()).invalid_reasons).toEqual({ duplicate_match: 2 })
    expect(there(w)).toEqual({ 'a@x.io': 'free', 'b@x.io': 'free' })
    const healed = await ran(w, [person('1', 'a@x.io', 'pro'), person('2', 'b@x.io')])
    expect(brief(healed.sent)).toEqual(['upsert 1 a@x.io'])
  })

  it('keep the old addresses of their keys', async () => {
    w = await world(service('match'))
    await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
    expect((await ran(w, [person('1', 'c@x.io'), person('2', 'c@x.io')])).sent).toEqual([])
    expect(there(w)).toEqual({ 'a@x.io': 'free', 'b@x.io': 'free' })
  })

  it('are no fault where the key is the address, nor in append', async () => {
    w = await world(service('key'))
    expect((await ran(w, [person('1', 'a@x.io'), person('2', 'a@x.io')])).sent).toHaveLength(2)
    await w.close()
    w = await world(service('match'), { mode: 'append', onRemove: null, backfill: true })
    expect((await ran(w, [person('1', 'a@x.io'), person('2', 'a@x.io')])).sent).toHaveLength(2)
    expect(await pending(w)).toEqual({})
  })
})

describe('a row whose payload can not be computed', () => {
  it.each(['key', 'match', 'renames'] as const)('is named with its field, and its record stays, by %s', async (kind) => {
    w = await world(service(kind), { fields: UNMAPPED })
    await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
    await w.model([person('1', 'a@x.io', 'pro'), person('2', 'b2@x.io', 'gold')])
    const plan = await w.plan()
    expect(plan.counts).toMatchObject({ add: 0, change: 0, remove: 0, invalid: 2 })
    expect(plan.invalid_samples[0]).toMatchObject({ code: 'unmapped', field: 'plan' })
    expect((await ran(w)).sent).toEqual([])
    expect(w.service.records().size).toBe(2)
    await ran(w, [person('1', 'a@x.io'), person('2', 'b2@x.io')])
    expect(await pending(w)).toEqual({})
    expect(w.service.records().size).toBe(2)
  })

  it('is found on a first run too, when it runs', async () => {
    w = await world(service('match'), { fields: UNMAPPED })
    const { record, sent } = await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io', 'gold')])
    expect(brief(sent)).toEqual(['upsert 1 a@x.io'])
    expect(record).toMatchObject({ exit_code: 0, counts: { add: 1, invalid: 1 } })
    expect(await pending(w)).toEqual({ invalid: 1 })
  })

  it('is still invalid, and nothing else, at every later run', async () => {
    w = await world(service('match'), { fields: UNMAPPED })
    await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
    const bad = [person('1', 'a@x.io', 'pro'), person('2', 'b@x.io')]
    await ran(w, bad)
    await ran(w, bad)
    expect(await pending(w)).toEqual({ invalid: 1 })
  })
})
