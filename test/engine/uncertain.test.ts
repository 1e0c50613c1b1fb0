/** Changes whose outcome nobody knows: what is done about them, and under which id. */
import { afterEach, describe, expect, it } from 'vitest'
import { column, world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { service } from '../support/destinations.ts'
import type { Fate } from '../support/destinations.ts'
import { brief, pending, person, ran, there } from './support.ts'

let w: World
afterEach(() => w?.close())

const UNKNOWN: Fate[] = ['lost', 'unanswered', 'crash-before', 'crash-after']

describe.each(['key', 'match'] as const)('an unknown outcome, addressed by %s', (kind) => {
  it.each(UNKNOWN)('of a change is sent again when the row went back to what was confirmed (%s)', async (fate) => {
    w = await world(service(kind))
    await ran(w, [person('1', 'a@x.io', 'v1')])
    w.service.fate = () => fate
    await ran(w, [person('1', 'a@x.io', 'v2')])
    w.service.fate = () => 'ok'
    await w.model([person('1', 'a@x.io', 'v1')])
    expect(await pending(w)).toEqual({ change: 1, uncertain: 1 })
    expect((await w.plan()).because).toEqual({ uncertain: 1, data: 0, mapping: 0, refresh: 0 })
    const { sent } = await ran(w)
    expect(sent).toHaveLength(1)
    expect(Object.values(there(w))).toEqual(['v1'])
    expect(await pending(w)).toEqual({})
  })

  it.each(UNKNOWN)('of a removal puts the record back when the row returned unchanged (%s)', async (fate) => {
    w = await world(service(kind))
    const both = [person('1', 'a@x.io', 'v1'), person('2', 'b@x.io', 'v1')]
    await ran(w, both)
    w.service.fate = () => fate
    await ran(w, both.slice(1))
    w.service.fate = () => 'ok'
    const { sent } = await ran(w, both)
    expect(sent).toHaveLength(1)
    expect(Object.values(there(w))).toEqual(['v1', 'v1'])
    expect(await pending(w)).toEqual({})
  })

  it.each(UNKNOWN)('of an add is removed when its row left (%s)', async (fate) => {
    w = await world(service(kind))
    await ran(w, [person('1', 'a@x.io')])
    w.service.fate = () => fate
    await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
    w.service.fate = () => 'ok'
    const { sent } = await ran(w, [person('1', 'a@x.io')])
    expect(brief(sent)).toEqual([`delete 2 b@x.io`])
    expect(w.service.records().size).toBe(1)
    expect(await pending(w)).toEqual({})
  })
})

it('a refused add needs no removal when its row left', async () => {
  w = await world(service('match'))
  w.service.fate = ({ key }) => (key === '2' ? 'rejected' : 'ok')
  await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
  expect((await ran(w, [person('1', 'a@x.io')])).sent).toEqual([])
  expect(await pending(w)).toEqual({})
})

describe('the id of a change', () => {
  const meta = {
    fields: [
      column('plan'),
      { ...column('at'), source: { kind: 'meta' as const, meta: 'sent_at' as const } },
      { ...column('by'), source: { kind: 'meta' as const, meta: 'run' as const } },
    ],
  }

  it.each(UNKNOWN)('and its whole body are the same when the very same change goes again (%s)', async (fate) => {
    w = await world(service('match'), meta)
    w.service.fate = () => fate
    const first = await ran(w, [person('1', 'a@x.io', 'v1')])
    w.now += 3_600_000
    w.service.fate = () => 'ok'
    const again = await ran(w)
    expect(again.sent).toHaveLength(1)
    expect(again.sent[0]).toMatchObject({ id: first.sent[0]?.id, fields: first.sent[0]?.fields, match: first.sent[0]?.match })
    expect(again.sent[0]?.fields['by']).toBe(first.record.run)
  })

  it('is a new one for another payload, and the whole payload goes', async () => {
    w = await world(service('match'), { send: 'changed', fields: [column('plan'), column('phone')] })
    await ran(w, [person('1', 'a@x.io', 'v1', '11')])
    w.service.fate = () => 'lost'
    const lost = await ran(w, [person('1', 'a@x.io', 'v2', '11')])
    expect(lost.sent[0]?.fields).toEqual({ plan: 'v2' })
    w.service.fate = () => 'ok'
    const { sent } = await ran(w, [person('1', 'a@x.io', 'v3', '11')])
    expect(sent[0]?.id).not.toBe(lost.sent[0]?.id)
    expect(sent[0]).toMatchObject({ fields: { plan: 'v3', phone: '11' }, changed: null })
  })

  it('is a new one each time a row changes, also back to what it was', async () => {
    w = await world(service('match'))
    const ids = new Set<string>()
    for (const plan of ['free', 'pro', 'free', 'pro']) {
      const { sent } = await ran(w, [person('1', 'a@x.io', plan)])
      expect(sent.map(({ fields }) => fields)).toEqual([{ plan }])
      ids.add(sent[0]?.id ?? '')
    }
    expect(ids.size).toBe(4)
  })

  it('is kept with the body of a change of some fields only', async () => {
    w = await world(service('match'), { send: 'changed', fields: [column('plan'), column('phone')] })
    await ran(w, [person('1', 'a@x.io', 'v1', '11')])
    w.service.fate = () => 'lost'
    const lost = await ran(w, [person('1', 'a@x.io', 'v2', '11')])
    w.service.fate = () => 'ok'
    const { sent } = await ran(w)
    expect(sent[0]).toMatchObject({ id: lost.sent[0]?.id, fields: lost.sent[0]?.fields })
  })
})

it('a repeat that is not harmless is held until a person says, and is not freed by a day', async () => {
  w = await world(service('match', { replay: { delete: 'harmless' } }))
  w.service.fate = () => 'unanswered'
  const first = await ran(w, [person('1', 'a@x.io')])
  expect(first.record).toMatchObject({ exit_code: 3, counts: { unknown: 1 } })
  w.service.fate = () => 'ok'
  w.now += 3 * 86_400_000
  const { sent, record } = await ran(w)
  expect(sent).toEqual([])
  expect(record).toMatchObject({ status: 'incomplete', exit_code: 3, counts: { held: 1 } })
})

it('an unknown outcome that a later answer of the same run contradicts stays unknown', async () => {
  w = await world(service('match'))
  let n = 0
  w.service.fate = () => (n++ === 0 ? 'unanswered' : 'rejected')
  await ran(w, [person('1', 'a@x.io', 'v1')])
  // The first attempt may have been applied: the address is owned and uncertain.
  expect(await w.state('SELECT owned, uncertain FROM state.snapshot')).toEqual([{ owned: true, uncertain: true }])
})
