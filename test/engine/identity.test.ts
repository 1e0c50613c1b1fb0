/** Addresses that change hands: taken over, swapped, chained, left and taken again, by every kind of address. */
import { afterEach, describe, expect, it } from 'vitest'
import { service } from '../support/destinations.ts'
import type { Kind } from '../support/destinations.ts'
import { world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { brief, pending, person, ran, there } from './support.ts'

let w: World
afterEach(() => w?.close())

const removals = (world_: World): string[] => brief(world_.service.sent).filter((text) => text.startsWith('delete'))

describe.each<Kind>(['match', 'renames', 'membership'])('an account that was created again, addressed by %s', (kind) => {
  it('passes the record on without removing it', async () => {
    w = await world(service(kind))
    await ran(w, [person('1', 'a@x.io', 'free')])
    const { record } = await ran(w, [person('2', 'a@x.io', 'pro')])
    expect(record.status).toBe('ok')
    expect(removals(w)).toEqual([])
    expect(Object.keys(there(w))).toEqual(['a@x.io'])
    if (kind !== 'membership') expect(there(w)).toEqual({ 'a@x.io': 'pro' })
    expect(await pending(w)).toEqual({})
    // The new owner's leaving removes it: ownership went over.
    const { sent } = await ran(w, [person('3', 'c@x.io')])
    expect(brief(sent)).toEqual(['upsert 3 c@x.io', 'delete 2 a@x.io'])
  })

  it('sends nothing at all when what is wanted there is equal', async () => {
    w = await world(service(kind))
    await ran(w, [person('1', 'a@x.io')])
    const { sent, record } = await ran(w, [person('2', 'a@x.io')])
    expect(sent).toEqual([])
    expect(record.status).toBe('ok')
    expect((await w.state<{ key: string }>('SELECT key FROM state.snapshot'))[0]).toEqual({ key: '2' })
  })
})

describe('two rows that swap their match', () => {
  it.each<Kind>(['match', 'renames'])('end with their own fields at the other address and lose no record, by %s', async (kind) => {
    w = await world(service(kind))
    await ran(w, [person('1', 'a@x.io', 'one'), person('2', 'b@x.io', 'two')])
    const { record, sent } = await ran(w, [person('1', 'b@x.io', 'one'), person('2', 'a@x.io', 'two')])
    expect(record.status).toBe('ok')
    expect(removals(w)).toEqual([])
    expect(there(w)).toEqual({ 'a@x.io': 'two', 'b@x.io': 'one' })
    // A cycle can't be renamed: it goes as plain upserts by match, and each record keeps its address.
    if (kind === 'renames')
      expect(new Map(sent.map(({ match, remoteId }) => [match['email'], remoteId]))).toEqual(
        new Map([
          ['b@x.io', 'R2'],
          ['a@x.io', 'R1'],
        ]),
      )
    expect(await pending(w)).toEqual({})
  })

  it('send nothing where a member is only its match', async () => {
    w = await world(service('membership'))
    await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
    expect((await ran(w, [person('1', 'b@x.io'), person('2', 'a@x.io')])).sent).toEqual([])
    expect(Object.keys(there(w))).toEqual(['a@x.io', 'b@x.io'])
  })

  it('send one upsert each with the previous match where the key is the address', async () => {
    w = await world(service('key'))
    await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
    const { sent, record } = await ran(w, [person('1', 'b@x.io'), person('2', 'a@x.io')])
    expect(sent.map(({ key, op, previousMatch }) => [key, op, previousMatch])).toEqual([
      ['1', 'upsert', { email: 'a@x.io' }],
      ['2', 'upsert', { email: 'b@x.io' }],
    ])
    expect(record.counts).toMatchObject({ change: 2, remove: 0 })
  })

  it('are sent again when only half of it was taken and the source went back', async () => {
    w = await world(service('match'))
    const before = [person('1', 'a@x.io', 'one'), person('2', 'b@x.io', 'two')]
    await ran(w, before)
    w.service.fate = ({ key }) => (key === '2' ? 'rejected' : 'ok')
    await ran(w, [person('1', 'b@x.io', 'one'), person('2', 'a@x.io', 'two')])
    w.service.fate = () => 'ok'
    const { sent } = await ran(w, before)
    // Record b holds the fields of row 1; its old owner wants it back.
    expect(brief(sent)).toEqual(['upsert 2 b@x.io'])
    expect(there(w)).toEqual({ 'a@x.io': 'one', 'b@x.io': 'two' })
    expect(await pending(w)).toEqual({})
  })
})

describe('a chain: each row takes the address of the next', () => {
  it('removes only the address that nobody wants any more, by match', async () => {
    w = await world(service('match'))
    await ran(w, [person('1', 'a@x.io', 'one'), person('2', 'b@x.io', 'two')])
    const { sent } = await ran(w, [person('1', 'b@x.io', 'one'), person('2', 'c@x.io', 'two')])
    expect(brief(sent).at(-1)).toBe('delete 1 a@x.io')
    expect(removals(w)).toHaveLength(1)
    expect(there(w)).toEqual({ 'b@x.io': 'one', 'c@x.io': 'two' })
    expect(await pending(w)).toEqual({})
  })

  it('renames the last first, and every record keeps its id', async () => {
    w = await world(service('renames'))
    await ran(w, [person('1', 'a@x.io', 'one'), person('2', 'b@x.io', 'two'), person('3', 'c@x.io', 'three')])
    await w.model([person('1', 'b@x.io', 'one'), person('2', 'c@x.io', 'two'), person('3', 'd@x.io', 'three')])
    expect((await w.plan()).counts).toMatchObject({ add: 0, change: 3, remove: 0, renames: 3 })
    const { sent, record } = await ran(w)
    expect(record.status).toBe('ok')
    expect(sent.map(({ key, remoteId, match, previousMatch }) => [key, remoteId, match['email'], previousMatch?.['email']])).toEqual([
      ['3', 'R3', 'd@x.io', 'c@x.io'],
      ['2', 'R2', 'c@x.io', 'b@x.io'],
      ['1', 'R1', 'b@x.io', 'a@x.io'],
    ])
    expect(there(w)).toEqual({ 'b@x.io': 'one', 'c@x.io': 'two', 'd@x.io': 'three' })
    expect(await pending(w)).toEqual({})
  })

  it('moves a new row in only after the old one moved out', async () => {
    w = await world(service('renames'))
    await ran(w, [person('1', 'a@x.io', 'one')])
    const { sent, record } = await ran(w, [person('1', 'b@x.io', 'one'), person('2', 'a@x.io', 'two')])
    expect(record.status).toBe('ok')
    expect(sent.map(({ key, remoteId }) => [key, remoteId])).toEqual([
      ['1', 'R1'],
      ['2', null],
    ])
    expect(there(w)).toEqual({ 'a@x.io': 'two', 'b@x.io': 'one' })
  })

  it.each(['rejected', 'lost'] as const)('keeps the taker waiting while the one before it is %s, and sends both later', async (fate) => {
    w = await world(service('renames'))
    await ran(w, [person('1', 'a@x.io', 'one')])
    w.service.fate = ({ key }) => (key === '1' ? fate : 'ok')
    const { sent, record } = await ran(w, [person('1', 'b@x.io', 'one'), person('2', 'a@x.io', 'two')])
    expect(new Set(sent.map(({ key }) => key))).toEqual(new Set(['1']))
    expect(record).toMatchObject({ status: 'incomplete', exit_code: 3, counts: { waiting: 1 } })
    expect(there(w)).toEqual({ 'a@x.io': 'one' })
    w.service.fate = () => 'ok'
    await ran(w)
    await ran(w)
    expect(there(w)).toEqual({ 'a@x.io': 'two', 'b@x.io': 'one' })
    expect(await pending(w)).toEqual({})
  })
})

describe('a row whose match changed where nothing renames', () => {
  const before = [person('1', 'a@x.io', 'one'), person('9', 'z@x.io')]
  const after = [person('1', 'b@x.io', 'one'), person('9', 'z@x.io')]

  it('puts the new identity there before it removes the old one', async () => {
    w = await world(service('match'))
    await ran(w, before)
    expect(brief((await ran(w, after)).sent)).toEqual(['upsert 1 b@x.io', 'delete 1 a@x.io'])
  })

  it.each(['rejected', 'lost', 'retry'] as const)('keeps the old identity while the new one is %s', async (fate) => {
    w = await world(service('match'))
    await ran(w, before)
    w.service.fate = ({ op }) => (op === 'upsert' ? fate : 'ok')
    const { record } = await ran(w, after)
    expect(removals(w)).toEqual([])
    expect(record.exit_code).toBe(3)
    expect(there(w)).toHaveProperty(['a@x.io'])
    w.service.fate = () => 'ok'
    await ran(w)
    expect(there(w)).toEqual({ 'b@x.io': 'one', 'z@x.io': 'free' })
    expect(await pending(w)).toEqual({})
  })

  it.each(['rejected', 'lost', 'crash-before'] as const)('does not forget the old identity when its removal is %s', async (fate) => {
    w = await world(service('match'))
    await ran(w, before)
    w.service.fate = ({ op }) => (op === 'delete' ? fate : 'ok')
    await ran(w, after)
    expect(await pending(w)).toMatchObject({ remove: 1 })
    w.service.fate = () => 'ok'
    await ran(w)
    expect(there(w)).toEqual({ 'b@x.io': 'one', 'z@x.io': 'free' })
  })

  it('is no removal in mode upsert: the old record stays', async () => {
    w = await world(service('match'), { mode: 'upsert', onRemove: null })
    await ran(w, before)
    const { sent } = await ran(w, after)
    expect(brief(sent)).toEqual(['upsert 1 b@x.io'])
    expect(await pending(w)).toEqual({})
  })
})

describe('a record that has several addresses', () => {
  it('is not removed while another address has it', async () => {
    w = await world(service('renames'))
    // The service finds a secondary e-mail too: only the returned id shows that both are one record.
    w.service.fate = ({ key, op }) => (op === 'upsert' ? { key, result: 'ok', remoteId: 'R1' } : 'ok')
    await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io'), person('3', 'c@x.io')])
    const { sent, record } = await ran(w, [person('2', 'b@x.io'), person('3', 'c@x.io')])
    expect(sent).toEqual([])
    expect(record.status).toBe('ok')
    expect(await pending(w)).toEqual({})
  })

  it('is not removed when the same run confirmed it under another address', async () => {
    w = await world(service('renames'))
    w.service.fate = ({ key, op }) => (op === 'upsert' ? { key, result: 'ok', remoteId: 'R1' } : 'ok')
    await ran(w, [person('1', 'a@x.io'), person('9', 'z@x.io')].slice(0, 1))
    await ran(w, [person('2', 'b@x.io')])
    await ran(w)
    expect(removals(w)).toEqual([])
    expect(await pending(w)).toEqual({})
  })
})

const both = (id: string, email: string | null, phone: string | null) => person(id, email, 'free', phone)

describe('members with several identifiers', () => {
  it('lose only the identifiers that no other row has', async () => {
    w = await world(service('any'))
    await ran(w, [both('1', 'a@x.io', '11'), both('2', 'b@x.io', '11')])
    expect(Object.keys(there(w))).toEqual(['email:a@x.io', 'email:b@x.io', 'phone:11'])
    await ran(w, [both('2', 'b@x.io', '11')])
    expect(Object.keys(there(w))).toEqual(['email:b@x.io', 'phone:11'])
    expect(await pending(w)).toEqual({})
    await ran(w, [both('3', 'c@x.io', null)])
    expect(Object.keys(there(w))).toEqual(['email:c@x.io'])
  })

  it('change one identifier without touching the other', async () => {
    w = await world(service('any'))
    await ran(w, [both('1', 'a@x.io', '11'), both('2', 'b@x.io', '22')])
    const { sent } = await ran(w, [both('1', 'a2@x.io', '11'), both('2', 'b@x.io', '22')])
    expect(sent.filter(({ op }) => op === 'delete').map(({ match }) => match)).toEqual([{ email: 'a@x.io' }])
    expect(Object.keys(there(w))).toEqual(['email:a2@x.io', 'email:b@x.io', 'phone:11', 'phone:22'])
    expect(await pending(w)).toEqual({})
  })

  it('of one membership are removed when the last of their rows leaves', async () => {
    w = await world(service('membership'))
    await ran(w, [person('1', 'a@x.io'), person('2', 'A@x.io '), person('3', 'c@x.io')])
    expect(brief(w.service.sent)).toEqual(['upsert 1 a@x.io', 'upsert 3 c@x.io'])
    expect((await ran(w, [person('2', 'a@x.io'), person('3', 'c@x.io')])).sent).toEqual([])
    expect(brief((await ran(w, [person('3', 'c@x.io')])).sent)).toEqual(['delete 2 a@x.io'])
  })
})

describe.each<Kind>(['key', 'match', 'renames', 'membership', 'any'])('a row that left and returns, addressed by %s', (kind) => {
  it('is removed, and added as if it had never been there', async () => {
    w = await world(service(kind))
    const both = [person('1', 'a@x.io', 'free', '11'), person('2', 'b@x.io', 'free', '22')]
    await ran(w, both)
    expect((await ran(w, both.slice(1))).record.counts).toMatchObject({ remove: 1 })
    const { record } = await ran(w, both)
    expect(record).toMatchObject({ status: 'ok', counts: { add: 1, remove: 0 } })
    expect(w.service.records().size).toBe(kind === 'any' ? 4 : 2)
    expect(await pending(w)).toEqual({})
  })
})

describe('a member that is found by any of its identifiers', () => {
  it('is one change when it gets a further one, and the plan names it', async () => {
    w = await world(service('any'))
    await ran(w, [person('1', 'a@x.io', 'free', '11'), person('2', null, 'free', '22')])
    await w.model([person('1', 'new@x.io', 'free', '11'), person('2', null, 'free', '22')])
    const plan = await w.plan()
    expect(plan.counts).toMatchObject({ add: 0, change: 1, remove: 1 })
    expect([plan.changed_fields, plan.because]).toMatchObject([{ email: 1 }, { data: 1, refresh: 0 }])
    expect(plan.samples.find(({ op }) => op === 'change')).toMatchObject({ key: '1', after: { email: 'new@x.io' } })
    await ran(w)
    expect([...w.service.records().keys()].sort()).toEqual(['email:new@x.io', 'phone:11', 'phone:22'])
    expect(await pending(w)).toEqual({})
  })
})
