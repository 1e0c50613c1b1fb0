/** A mapping whose references are edited: what was delivered under the old one is known, and removed by what it was looked up by. */
import { afterEach, describe, expect, it } from 'vitest'
import { brief, pending, person, ran } from '../engine/support.ts'
import { column, world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { directory, owner } from './support.ts'
import type { Directory } from './support.ts'

let w: World
let d: Directory
afterEach(() => w?.close())

const lookup = (name: string, object: string, field: string, source: string) =>
  column(name, source, { source: { kind: 'lookup', object, match: { [field]: source }, onMiss: 'reject' } })

/** An association table: `user` and `group` are looked up. */
async function associations(): Promise<void> {
  d = directory('match', { match: { user: 'exact', group: 'exact' } })
  d.ids.set('{"Email":"o1@x.io"}', 'U1').set('{"Email":"o2@x.io"}', 'U2').set('{"Name":"g1"}', 'G1')
  w = await world(d.service, { match: [lookup('user', 'User', 'Email', 'phone'), lookup('group', 'Group', 'Name', 'email')], fields: [] })
}
const link = (id: string, user: string, group: string) => person(id, group, 'free', user)

describe('an edited reference', () => {
  it('to another object is a change: its ids are others', async () => {
    d = directory('match')
    d.ids.set('{"Email":"o1@x.io"}', 'U1')
    w = await world(d.service, { fields: [column('plan'), owner()] })
    await ran(w, [person('1', 'p1@x.io', 'free', 'o1@x.io')])
    const queue = owner('reject', { source: { kind: 'lookup', object: 'Queue', match: { Email: 'phone' }, onMiss: 'reject' } })
    w.sync = { ...w.sync, fields: [column('plan'), queue] }
    d.ids.set('{"Email":"o1@x.io"}', 'Q1')
    expect((await w.plan()).because).toMatchObject({ mapping: 1 })
    expect((await ran(w)).sent).toMatchObject([{ fields: { owner: 'Q1' } }])
    expect(d.asked.at(-1)).toMatchObject({ object: 'Queue' })
    expect(await pending(w)).toEqual({})
  })

  it.each([
    ['none any more', () => [column('user', 'phone')], () => [link('1', 'U1', 'g1')]],
    ['looked up by another field', () => [lookup('user', 'User', 'Name', 'phone')], () => [link('1', 'one', 'g1')]],
  ])('in a match that is %s removes nothing: it may be what another row wants', async (_, user, rows) => {
    await associations()
    d.ids.set('{"Name":"one"}', 'U1')
    await ran(w, [link('1', 'o1@x.io', 'g1'), link('2', 'o2@x.io', 'g1')])
    w.sync = { ...w.sync, match: [...user(), w.sync.match[1]!] }
    const { record, sent } = await ran(w, rows())
    expect(sent.map(({ op, match }) => [op, match])).toEqual([['upsert', { user: 'U1', group: 'G1' }]])
    expect(record.reasons).toMatchObject([{ outcome: 'rejected', code: 'stale_reference' }])
    expect(d.service.records().has('U1|G1')).toBe(true)
  })

  it('that was none removes nothing either', async () => {
    await associations()
    const { match } = w.sync
    w.sync = { ...w.sync, match: [column('user', 'phone'), match[1]!] }
    await ran(w, [link('1', 'U1', 'g1')])
    w.sync = { ...w.sync, match }
    expect((await ran(w, [link('1', 'o1@x.io', 'g1')])).sent.map(({ op }) => op)).toEqual(['upsert'])
    expect([...d.service.records().keys()]).toEqual(['U1|G1'])
  })

  it('by key tells the match before the change as an id', async () => {
    d = directory('key', { match: { user: 'exact' } })
    d.ids.set('{"Email":"o1@x.io"}', 'U1')
    w = await world(d.service, { match: [lookup('user', 'User', 'Email', 'phone')] })
    await ran(w, [person('1', null, 'free', 'o1@x.io')])
    w.sync = { ...w.sync, match: [column('user', 'phone')] }
    expect((await ran(w, [person('1', null, 'free', 'U7')])).sent).toMatchObject([{ match: { user: 'U7' }, previousMatch: { user: 'U1' } }])
  })
})

describe('a record that two addresses look up', () => {
  it('stays when one of them goes: in the run that moves it, and in a later one', async () => {
    await associations()
    d.ids.set('{"Email":"alias@x.io"}', 'U1')
    await ran(w, [link('1', 'alias@x.io', 'g1')])
    expect(brief((await ran(w, [link('1', 'o1@x.io', 'g1')])).sent)).toEqual(['upsert 1 U1|G1'])
    expect([...d.service.records().keys()]).toEqual(['U1|G1'])
    expect((await ran(w)).sent).toEqual([])
    expect(await pending(w)).toEqual({})
    expect([...d.service.records().keys()]).toEqual(['U1|G1'])
  })

  it('stays after a kill between the two', async () => {
    await associations()
    d.ids.set('{"Email":"alias@x.io"}', 'U1')
    await ran(w, [link('1', 'alias@x.io', 'g1')])
    d.service.fate = ({ key }) => (key === '1' ? 'crash-after' : 'ok')
    await ran(w, [link('1', 'o1@x.io', 'g1')])
    d.service.fate = () => 'ok'
    await ran(w)
    await ran(w)
    expect([...d.service.records().keys()]).toEqual(['U1|G1'])
    expect(await pending(w)).toEqual({})
  })
})

describe('a removal', () => {
  it('removes what was delivered, whoever has the address or is gone by now', async () => {
    await associations()
    d.ids.set('{"Email":"o3@x.io"}', 'U3')
    await ran(w, [link('1', 'o1@x.io', 'g1'), link('2', 'o2@x.io', 'g1'), link('3', 'o3@x.io', 'g1')])
    d.ids.delete('{"Email":"o2@x.io"}')
    d.ids.set('{"Email":"o3@x.io"}', 'U1')
    d.asked.length = 0
    expect(brief((await ran(w, [link('1', 'o1@x.io', 'g1')])).sent).sort()).toEqual(['delete 2 U2|G1', 'delete 3 U3|G1'])
    expect(d.asked).toEqual([])
    expect([...d.service.records().keys()]).toEqual(['U1|G1'])
    expect(await pending(w)).toEqual({})
  })

  it('shows the service no id that is the engine’s own', async () => {
    await associations()
    await ran(w, [link('1', 'o1@x.io', 'g1')])
    const { sent } = await ran(w, [link('2', 'o2@x.io', 'g1')], { fullRefresh: true })
    expect(sent.map(({ op, remoteId }) => [op, remoteId])).toEqual([
      ['upsert', null],
      ['delete', null],
    ])
  })
})
