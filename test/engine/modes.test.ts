/** What each mode sends, owns and leaves alone, and what switching between them does. */
import { afterEach, describe, expect, it } from 'vitest'
import { resolve, retry } from '../../src/maintain.ts'
import { service } from '../support/destinations.ts'
import { column, world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { brief, DAY, pending, person, ran, there } from './support.ts'

let w: World
afterEach(() => w?.close())

const UPDATE = { mode: 'update', onRemove: null } as const
const UPSERT = { mode: 'upsert', onRemove: null } as const
const INSERT = { mode: 'insert', onRemove: null, backfill: true } as const
const APPEND = { mode: 'append', onRemove: null, backfill: true } as const
const MIRROR = { mode: 'mirror', onRemove: 'delete', backfill: null } as const

describe('mode update', () => {
  it('changes what is there, and an absent record is no error', async () => {
    w = await world(service('match'), UPDATE)
    w.service.put({ email: 'a@x.io' }, { plan: 'old' })
    const { record } = await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
    expect(record).toMatchObject({ status: 'ok', exit_code: 0, counts: { delivered: 1, absent: 1 } })
    expect(there(w)).toEqual({ 'a@x.io': 'free' })
    expect(await pending(w)).toEqual({})
    expect((await w.plan()).counts.unchanged).toBe(2)
  })

  it('looks at an absent record again after a day, or when its row changes', async () => {
    w = await world(service('match'), UPDATE)
    const rows = [person('1', 'a@x.io'), person('2', 'b@x.io')]
    await ran(w, rows)
    expect((await ran(w)).sent).toEqual([])
    expect(brief((await ran(w, [rows[0]!, person('2', 'b@x.io', 'pro')])).sent)).toEqual(['update 2 b@x.io'])
    w.now += DAY
    w.service.put({ email: 'a@x.io' }, {})
    expect(brief((await ran(w)).sent).sort()).toEqual(['update 1 a@x.io', 'update 2 b@x.io'])
    expect(there(w)).toEqual({ 'a@x.io': 'free' })
  })

  it('owns nothing: after a switch to mirror a row that leaves removes nothing', async () => {
    w = await world(service('match'), UPDATE)
    w.service.put({ email: 'a@x.io' }, {})
    w.service.put({ email: 'b@x.io' }, {})
    const rows = [person('1', 'a@x.io'), person('2', 'b@x.io')]
    await ran(w, rows)
    w.sync = { ...w.sync, ...MIRROR }
    expect(await pending(w)).toEqual({})
    expect((await ran(w, rows.slice(1))).sent).toEqual([])
    expect(await pending(w)).toEqual({})
    // What mirror itself writes there is its own from then on.
    await ran(w, [person('2', 'b@x.io', 'pro'), person('3', 'c@x.io')])
    expect(brief((await ran(w, [person('3', 'c@x.io')])).sent)).toEqual(['delete 2 b@x.io'])
  })
})

describe('mode insert', () => {
  it('adds new keys only, and a record that is there already is no error', async () => {
    w = await world(service('match'), INSERT)
    w.service.put({ email: 'a@x.io' }, { plan: 'theirs' })
    const { record } = await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
    expect(record).toMatchObject({ status: 'ok', exit_code: 0, counts: { delivered: 1, exists: 1 } })
    expect((await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io', 'pro'), person('3', 'c@x.io')])).sent.map(({ key }) => key)).toEqual(
      ['3'],
    )
    expect(there(w)).toEqual({ 'a@x.io': 'theirs', 'b@x.io': 'free', 'c@x.io': 'free' })
    expect(await pending(w)).toEqual({})
  })

  it('does not insert a key again under a new match', async () => {
    w = await world(service('match'), INSERT)
    await ran(w, [person('1', 'a@x.io')])
    expect((await ran(w, [person('1', 'a2@x.io')])).sent).toEqual([])
  })

  it('with backfill: false takes the first rows as delivered and sends none', async () => {
    w = await world(service('match'), { ...INSERT, backfill: false })
    await w.model([person('1', 'a@x.io'), person('2', 'b@x.io')])
    const plan = await w.plan()
    expect(plan.counts).toMatchObject({ add: 0, unchanged: 2 })
    expect(plan.warnings.join()).toContain('2 rows are taken as delivered')
    const first = await ran(w)
    expect(first).toMatchObject({ sent: [], record: { status: 'ok' } })
    expect((await ran(w, [person('1', 'a@x.io'), person('3', 'c@x.io')])).sent.map(({ key }) => key)).toEqual(['3'])
  })

  it('remembers an empty first run with backfill: false: the second one sends', async () => {
    w = await world(service('match'), { ...INSERT, backfill: false })
    await ran(w, [])
    expect((await ran(w, [person('1', 'a@x.io')])).sent.map(({ key }) => key)).toEqual(['1'])
  })

  it('sends an insert again that nobody answered, where that is harmless', async () => {
    w = await world(service('match', { replay: { insert: 'deduplicated' } }), INSERT)
    w.service.fate = () => 'lost'
    const first = await ran(w, [person('1', 'a@x.io')])
    w.service.fate = () => 'ok'
    expect(await pending(w)).toMatchObject({ add: 1, uncertain: 1 })
    const { sent } = await ran(w)
    expect(sent.map(({ key, id }) => [key, id])).toEqual([['1', first.sent[0]?.id]])
    expect(await pending(w)).toEqual({})
  })

  it('holds an insert that nobody answered where a repeat may do harm, also when its row left', async () => {
    w = await world(service('match'), INSERT)
    w.service.fate = () => 'unanswered'
    await ran(w, [person('1', 'a@x.io')])
    w.service.fate = () => 'ok'
    expect((await ran(w)).record).toMatchObject({ exit_code: 3, counts: { held: 1 } })
    expect(await ran(w, [person('2', 'b@x.io')])).toMatchObject({ sent: [{ key: '2' }], record: { exit_code: 3, counts: { held: 1 } } })
    await resolve(w.project, w.sync, '1', true)
    expect((await ran(w)).record).toMatchObject({ status: 'ok', counts: { held: 0 } })
  })

  it('then upsert, sends what changed since the insert', async () => {
    w = await world(service('match'), INSERT)
    await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
    await ran(w, [person('1', 'a@x.io', 'pro'), person('2', 'b@x.io')])
    w.sync = { ...w.sync, ...UPSERT, backfill: null }
    expect(brief((await ran(w)).sent)).toEqual(['upsert 1 a@x.io'])
    expect(there(w)).toEqual({ 'a@x.io': 'pro', 'b@x.io': 'free' })
  })
})

describe('mode append', () => {
  it('sends each key once, for ever, whatever its row says later', async () => {
    w = await world(service('key'), APPEND)
    await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
    expect((await ran(w, [person('1', 'a@x.io', 'pro')])).sent).toEqual([])
    expect((await ran(w, [person('2', 'b@x.io'), person('3', 'c@x.io')])).sent.map(({ key }) => key)).toEqual(['3'])
    // An empty window is no removal.
    expect(await ran(w, [])).toMatchObject({ sent: [], record: { status: 'ok' } })
    w.now += 400 * DAY
    expect((await ran(w, [person('1', 'a@x.io')])).sent).toEqual([])
  })

  it('has one id for a key for ever', async () => {
    w = await world(service('key', { replay: { append: 'deduplicated' } }), APPEND)
    w.service.fate = () => 'lost'
    const first = await ran(w, [person('1', 'a@x.io')])
    w.service.fate = () => 'ok'
    const { sent } = await ran(w)
    expect(sent).toHaveLength(1)
    expect(sent[0]?.id).toBe(first.sent[0]?.id)
  })

  it.each(['unanswered', 'crash-before', 'crash-after'] as const)(
    'holds an event that may have been sent (%s) until it is resolved',
    async (fate) => {
      w = await world(service('key'), APPEND)
      w.service.fate = ({ key }) => (key === '1' ? fate : 'ok')
      await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
      w.service.fate = () => 'ok'
      const later = await ran(w)
      expect(later.sent.filter(({ key }) => key === '1')).toEqual([])
      expect(later.record).toMatchObject({ exit_code: 3 })
      expect(later.record.counts.held).toBeGreaterThan(0)
      // Neither time nor `retry` frees it.
      await retry(w.project, w.sync, null)
      w.now += 30 * DAY
      expect((await ran(w)).sent).toEqual([])
      const arrived = fate !== 'crash-before'
      await resolve(w.project, w.sync, '1', arrived)
      const settled = await ran(w)
      expect(settled.sent.filter(({ key }) => key === '1')).toHaveLength(arrived ? 0 : 1)
      expect(there(w)).toHaveProperty(['1'])
    },
  )

  it('and other modes do not change into each other', async () => {
    w = await world(service('key'), APPEND)
    await ran(w, [person('1', 'a@x.io')])
    w.sync = { ...w.sync, ...UPSERT, backfill: null }
    expect((await ran(w)).record).toMatchObject({ exit_code: 1, error: { code: 'CDP4004' } })
    await w.close()
    w = await world(service('key'), UPSERT)
    await ran(w, [person('1', 'a@x.io')])
    w.sync = { ...w.sync, ...APPEND }
    expect((await ran(w)).record).toMatchObject({ exit_code: 1, error: { code: 'CDP4004' } })
  })

  it('refuses --full-refresh: it would send every event again', async () => {
    w = await world(service('key'), APPEND)
    await ran(w, [person('1', 'a@x.io')])
    const { record, sent } = await ran(w, null, { fullRefresh: true })
    expect(sent).toEqual([])
    expect(record).toMatchObject({ status: 'failed', exit_code: 1 })
    // Nothing became uncertain by asking.
    expect((await ran(w)).record.status).toBe('ok')
  })

  it('with backfill: false sends only what comes later', async () => {
    w = await world(service('key'), { ...APPEND, backfill: false })
    expect((await ran(w, [person('1', 'a@x.io')])).sent).toEqual([])
    expect((await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])).sent.map(({ key }) => key)).toEqual(['2'])
  })

  it('tries a refused event again, and an exact double of a row is one event', async () => {
    w = await world(service('key'), APPEND)
    w.service.fate = () => 'rejected'
    await ran(w, [person('1', 'a@x.io'), person('1', 'a@x.io')])
    w.service.fate = () => 'ok'
    expect((await ran(w)).sent).toHaveLength(1)
    expect(await pending(w)).toEqual({})
  })
})

describe('rows that left under mode upsert', () => {
  const two = [person('1', 'a@x.io'), person('2', 'b@x.io')]
  it('are marked, and a switch to mirror removes them', async () => {
    w = await world(service('match'), UPSERT)
    await ran(w, two)
    expect((await ran(w, two.slice(1))).sent).toEqual([])
    expect(await w.state(`SELECT address FROM state.snapshot WHERE gone`)).toEqual([{ address: 'a@x.io' }])
    w.sync = { ...w.sync, ...MIRROR }
    expect(await pending(w)).toEqual({ remove: 1 })
    expect(brief((await ran(w)).sent)).toEqual(['delete 1 a@x.io'])
    expect(await pending(w)).toEqual({})
  })

  it('are no change when they return as they were', async () => {
    w = await world(service('match'), UPSERT)
    await ran(w, two)
    await ran(w, two.slice(1))
    expect(await pending(w)).toEqual({})
    expect((await ran(w, two)).sent).toEqual([])
    expect(await w.state(`SELECT address FROM state.snapshot WHERE gone`)).toEqual([])
    // Owned and back: mirror keeps it.
    w.sync = { ...w.sync, ...MIRROR }
    expect(await pending(w)).toEqual({})
  })

  it('are changes when they return with other data', async () => {
    w = await world(service('match'), UPSERT)
    await ran(w, two)
    await ran(w, two.slice(1))
    expect(brief((await ran(w, [person('1', 'a@x.io', 'pro'), two[1]!])).sent)).toEqual(['upsert 1 a@x.io'])
  })
})

describe('on_remove', () => {
  const two = [person('1', 'a@x.io', 'pro', '11'), person('2', 'b@x.io', 'pro', '22')]
  const fields = [column('plan'), column('phone')]
  it('archive archives', async () => {
    w = await world(service('match'), { onRemove: 'archive' })
    await ran(w, two)
    expect(brief((await ran(w, two.slice(1))).sent)).toEqual(['archive 1 a@x.io'])
    expect(await pending(w)).toEqual({})
  })

  it('clear sends an update with nulls, and the address is not ours any more', async () => {
    w = await world(service('match'), { onRemove: 'clear', fields })
    await ran(w, two)
    const { sent } = await ran(w, two.slice(1))
    expect(sent).toMatchObject([{ op: 'update', key: '1', match: { email: 'a@x.io' }, fields: { plan: null, phone: null } }])
    expect(await w.state(`SELECT address FROM state.snapshot WHERE owned`)).toEqual([{ address: 'b@x.io' }])
    expect(await pending(w)).toEqual({})
    // It returns as an add.
    expect((await ran(w, two)).record.counts).toMatchObject({ add: 1 })
    expect(there(w)).toEqual({ 'a@x.io': 'pro', 'b@x.io': 'pro' })
  })

  it('set sends an update with the constants', async () => {
    w = await world(service('match'), {
      onRemove: 'set',
      removeSet: { plan: { kind: 'string', text: 'former' }, rank: { kind: 'number', text: '1.10' } },
      fields,
    })
    await ran(w, two)
    const { sent } = await ran(w, two.slice(1))
    expect(sent).toHaveLength(1)
    expect(sent[0]).toMatchObject({ op: 'update', key: '1', fields: { plan: 'former' } })
    expect(sent[0]?.fields['rank']).toBe(1.1)
    expect(await pending(w)).toEqual({})
  })

  it('none sends nothing; the address stays, marked, and is removed when the sync says delete', async () => {
    w = await world(service('match'), { onRemove: 'none' })
    await ran(w, two)
    expect((await ran(w, two.slice(1))).sent).toEqual([])
    expect(await w.state(`SELECT address, owned, gone FROM state.snapshot WHERE gone`)).toEqual([
      { address: 'a@x.io', owned: true, gone: true },
    ])
    expect(await pending(w)).toEqual({})
    w.sync = { ...w.sync, onRemove: 'delete' }
    expect(brief((await ran(w)).sent)).toEqual(['delete 1 a@x.io'])
  })

  it('a removal of what is gone already is done', async () => {
    w = await world(service('match'), { onRemove: 'clear', fields })
    await ran(w, two)
    w.service.fate = ({ key, op }) => (op === 'update' ? { key, result: 'absent' } : 'ok')
    const { record } = await ran(w, two.slice(1))
    expect(record.exit_code).toBe(0)
    expect(await pending(w)).toEqual({})
  })
})

describe('accepted', () => {
  it('is folded like ok, marked, and not sent again until it changes', async () => {
    w = await world(service('match', { confirms: 'accepted' }))
    w.service.fate = () => 'accepted'
    const { record } = await ran(w, [person('1', 'a@x.io')])
    expect(record).toMatchObject({ status: 'ok', counts: { accepted: 1, delivered: 0 } })
    expect(await w.state('SELECT accepted FROM state.snapshot')).toEqual([{ accepted: true }])
    expect((await ran(w)).sent).toEqual([])
    expect((await ran(w, [person('1', 'a@x.io', 'pro')])).sent).toHaveLength(1)
  })
})
