/** Fields that name a record of the destination: what is compared, who is asked, and what becomes of a miss. */
import { afterEach, describe, expect, it } from 'vitest'
import { UnknownOutcome, NotSent, RateLimited, Refused } from '../../src/connector.ts'
import type { Destination, ObjectSpec } from '../../src/connector.ts'
import { AuthError } from '../../src/errors.ts'
import { encodeJson } from '../../src/json.ts'
import { renderPlan } from '../../src/render/terminal.ts'
import { why } from '../../src/maintain.ts'
import { people, pending, person, ran } from '../engine/support.ts'
import { column, world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { directory, owner } from './support.ts'
import type { Directory } from './support.ts'

let w: World
let d: Directory
afterEach(() => w?.close())

async function begin(onMiss: 'reject' | 'null' | 'omit' = 'reject', more: Parameters<typeof directory>[2] = () => ({})): Promise<void> {
  d = directory('match', { onCreate: true, ifEmpty: true }, more)
  d.ids.set('{"Email":"o1@x.io"}', 'U1').set('{"Email":"o2@x.io"}', 'U2')
  w = await world(d.service, { fields: [column('plan'), owner(onMiss)] })
}

/** Rows owned by these, in turn. */
const owned = (...owners: (string | null)[]) => owners.map((one, i) => person(String(i + 1), `p${i + 1}@x.io`, 'free', one))
const fieldsSent = (sent: { key: string; fields: unknown }[]) =>
  Object.fromEntries(sent.map(({ key, fields }) => [key, fields]).sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)))

describe('a reference', () => {
  it('is sent as the id of the record, asked for once a run', async () => {
    await begin()
    const { record, sent } = await ran(w, owned('o1@x.io', 'o2@x.io', 'o1@x.io', null))
    expect(record.status).toBe('ok')
    expect(fieldsSent(sent)).toEqual({
      1: { plan: 'free', owner: 'U1' },
      2: { plan: 'free', owner: 'U2' },
      3: { plan: 'free', owner: 'U1' },
      4: { plan: 'free' },
    })
    expect(d.asked.flatMap(({ matches }) => matches).sort()).toEqual(['{"Email":"o1@x.io"}', '{"Email":"o2@x.io"}'])
    expect(d.asked.every(({ object }) => object === 'User')).toBe(true)
  })

  it('asks nobody for rows that did not change, nor in a plan', async () => {
    await begin()
    await ran(w, owned('o1@x.io', 'o2@x.io'))
    d.asked.length = 0
    expect(await pending(w)).toEqual({})
    expect((await ran(w)).sent).toEqual([])
    await w.model(owned('o2@x.io', 'o2@x.io'))
    expect(await pending(w)).toEqual({ change: 1 })
    expect(d.asked).toEqual([])
    expect(fieldsSent((await ran(w)).sent)).toEqual({ 1: { plan: 'free', owner: 'U2' } })
    expect(d.asked).toHaveLength(1)
  })

  it('is cleared by a null', async () => {
    await begin()
    await ran(w, owned('o1@x.io'))
    expect(fieldsSent((await ran(w, owned(null))).sent)).toEqual({ 1: { plan: 'free', owner: null } })
  })

  it('travels alone with send: changed', async () => {
    await begin()
    w.sync = { ...w.sync, send: 'changed' }
    await ran(w, owned('o1@x.io'))
    const { sent } = await ran(w, owned('o2@x.io'))
    expect(sent).toMatchObject([{ fields: { owner: 'U2' }, changed: ['owner'] }])
  })

  it('is resolved in the part for new records too', async () => {
    await begin()
    w.sync = { ...w.sync, fields: [column('plan'), owner('reject', { write: 'on_create' })] }
    expect((await ran(w, owned('o1@x.io'))).sent).toMatchObject([{ fields: { plan: 'free' }, onCreate: { owner: 'U1' } }])
  })

  it('gives a connector the same values as text and as objects', async () => {
    const seen: string[] = []
    await begin('reject', (opened) => ({
      async *write(batch) {
        for (const change of batch.changes)
          seen.push(`${change.matchJson.text} ${change.fieldsJson.text}`, `${encodeJson(change.match)} ${encodeJson(change.fields)}`)
        yield* opened.write(batch)
      },
    }))
    await ran(w, owned('o1@x.io'))
    expect(seen).toEqual(Array(2).fill('{"email":"p1@x.io"} {"plan":"free","owner":"U1"}'))
  })

  it('is shown in a plan by what it is looked up by', async () => {
    await begin()
    await ran(w, owned('o1@x.io'))
    await w.model(owned('o2@x.io'))
    const plan = await w.plan()
    expect(plan.samples).toEqual([
      {
        op: 'change',
        key: '1',
        before: { owner: { lookup: 'User', match: { Email: 'o1@x.io' } } },
        after: { owner: { lookup: 'User', match: { Email: 'o2@x.io' } } },
        because: 'data',
      },
    ])
    const summary = { add: 0, change: 1, remove: 0, unchanged: 0, invalid: 0 }
    const text = renderPlan(
      { format_version: 1, cdp_sync_version: '0', summary, syncs: [plan], failed: [] },
      { colour: false, width: 100, showValues: true },
    )
    expect(text).toContain('owner  User by Email "o1@x.io" -> User by Email "o2@x.io"')
    const report = await why(w.project, w.sync, { key: '1' }, w.context())
    expect(report.payload).toMatchObject({ owner: { lookup: 'User', match: { Email: 'o2@x.io' } } })
  })

  it('asks for at most 100 records in one call', async () => {
    d = directory('match')
    Object.assign(d.service.connector, { limits: { rows: 250, concurrency: 1 } })
    w = await world(d.service, { fields: [owner()] })
    const rows = people(250).map((row, i) => ({ ...row, phone: `o${i}@x.io` }))
    for (const { phone } of rows) d.ids.set(`{"Email":"${phone}"}`, `U-${phone}`)
    const { record } = await ran(w, rows)
    expect(record.counts.delivered).toBe(250)
    expect(d.asked.map(({ matches }) => matches.length)).toEqual([100, 100, 50])
  })
})

describe('a miss', () => {
  it('rejects its row alone, without its values, and asks once', async () => {
    await begin()
    const { record, sent } = await ran(w, owned('nobody@x.io', 'o2@x.io', 'nobody@x.io'))
    expect(sent.map(({ key }) => key)).toEqual(['2'])
    expect(record.counts).toMatchObject({ delivered: 1, rejected: 2 })
    expect(record.reasons).toMatchObject([
      { outcome: 'rejected', code: 'no_reference', rows: 2, example: { message: 'There is no User with this Email.' } },
    ])
    expect(d.asked.flatMap(({ matches }) => matches).filter((one) => one.includes('nobody'))).toHaveLength(1)
    const [verdict] = await w.state<{ field: string }>('SELECT DISTINCT field FROM state.verdicts')
    expect(verdict).toEqual({ field: 'owner' })
  })

  it('arrives in the next run after the record has come to be', async () => {
    await begin()
    await ran(w, owned('o3@x.io'))
    expect(await pending(w)).toEqual({ add: 1 })
    d.ids.set('{"Email":"o3@x.io"}', 'U3')
    expect(fieldsSent((await ran(w)).sent)).toEqual({ 1: { plan: 'free', owner: 'U3' } })
    expect(await pending(w)).toEqual({})
  })

  it('is held after five runs, and tried again when what it looks up changes', async () => {
    await begin()
    await w.model(owned('o3@x.io'))
    for (let i = 0; i < 5; i++) await ran(w)
    expect(await pending(w)).toEqual({ held: 1 })
    d.ids.set('{"Email":"o4@x.io"}', 'U4')
    expect(fieldsSent((await ran(w, owned('o4@x.io'))).sent)).toEqual({ 1: { plan: 'free', owner: 'U4' } })
  })

  it('is held after five runs, and tried again when its mapping changes', async () => {
    await begin()
    await w.model(owned('o3@x.io'))
    for (let i = 0; i < 5; i++) await ran(w)
    w.sync = { ...w.sync, fields: [column('plan'), owner('omit')] }
    expect(fieldsSent((await ran(w)).sent)).toEqual({ 1: { plan: 'free' } })
    expect(await pending(w)).toEqual({})
  })

  it('writes null, or nothing, where the field says so', async () => {
    await begin('null')
    expect(fieldsSent((await ran(w, owned('nobody@x.io'))).sent)).toEqual({ 1: { plan: 'free', owner: null } })
    await w.close()
    await begin('omit')
    w.sync = { ...w.sync, send: 'changed' }
    await ran(w, owned('o1@x.io'))
    const { sent } = await ran(w, [person('1', 'p1@x.io', 'pro', 'nobody@x.io')])
    expect(sent).toMatchObject([{ fields: { plan: 'pro' }, changed: ['plan'] }])
    expect(await pending(w)).toEqual({})
  })

  it('of half a match asks nobody', async () => {
    await begin()
    const half = owner('reject', {
      source: { kind: 'lookup', object: 'User', match: { Email: 'phone', Region: 'region' }, onMiss: 'reject' },
    })
    w.sync = { ...w.sync, fields: [half] }
    const { record } = await ran(w, [{ ...owned('o1@x.io')[0]!, region: null }])
    expect(record.reasons).toMatchObject([{ code: 'no_reference', rows: 1 }])
    expect(d.asked).toEqual([])
  })
})

describe('a lookup that fails', () => {
  it.each([
    ['without an answer', () => new UnknownOutcome('http_503', 'busy', { afterMs: 0 })],
    ['before it left', () => new NotSent('ECONNREFUSED', 'no')],
  ])('%s keeps its rows back and lets the others go; nothing is in doubt', async (_, error) => {
    await begin()
    d.before = () => {
      throw error()
    }
    const { record, sent } = await ran(w, owned('o1@x.io', null))
    expect(fieldsSent(sent)).toEqual({ 2: { plan: 'free' } })
    expect(record.counts).toMatchObject({ delivered: 1, unknown: 0, rejected: 0, waiting: 1 })
    expect(await w.state('SELECT address FROM state.snapshot WHERE uncertain')).toEqual([])
    d.before = () => undefined
    expect(fieldsSent((await ran(w)).sent)).toEqual({ 1: { plan: 'free', owner: 'U1' } })
  })

  it('once is asked again in the same run', async () => {
    await begin()
    let asked = 0
    d.before = () => {
      if (asked++ === 0) throw new UnknownOutcome('http_503', 'busy', { afterMs: 0 })
    }
    expect((await ran(w, owned('o1@x.io'))).record.counts).toMatchObject({ delivered: 1 })
  })

  it('for its login ends the sync, with nothing sent', async () => {
    await begin()
    d.before = () => {
      throw new AuthError('CDP3401', 'the token may not read users')
    }
    const { record, sent } = await ran(w, owned('o1@x.io', null))
    expect(record).toMatchObject({ exit_code: 4, error: { code: 'CDP3401' }, counts: { unknown: 0 } })
    expect(sent.filter(({ key }) => key === '1')).toEqual([])
  })

  it('for a used-up quota ends the sync cleanly', async () => {
    await begin()
    d.before = () => {
      throw new RateLimited('daily limit', 3_600_000)
    }
    const { record, sent } = await ran(w, owned('o1@x.io', 'o2@x.io'))
    expect(record).toMatchObject({ exit_code: 3, error: { code: 'CDP3304' }, counts: { unknown: 0, rejected: 0, waiting: 2 } })
    expect(sent).toEqual([])
  })

  it('for a value that the service refuses rejects that row alone', async () => {
    await begin()
    d.before = (matches) => {
      if (matches.some((match) => match['Email'] === 'no mail')) throw new Refused('INVALID', 'malformed', 400)
    }
    const { record, sent } = await ran(w, owned('o1@x.io', 'no mail', 'o2@x.io'))
    expect(sent.map(({ key }) => key).sort()).toEqual(['1', '3'])
    expect(record.reasons).toMatchObject([{ outcome: 'rejected', code: 'INVALID', rows: 1 }])
  })

  it('by a fault of the connector leaves no row in doubt', async () => {
    await begin()
    d.before = () => {
      throw new TypeError('x is undefined')
    }
    const { record, sent } = await ran(w, owned('o1@x.io', 'o2@x.io'))
    expect(record).toMatchObject({ exit_code: 1, error: { code: 'CDP3300' }, counts: { unknown: 0, waiting: 2 } })
    expect(sent).toEqual([])
  })

  it('is not known to a connector without lookup: the sync is refused before anything is read', async () => {
    await begin('reject', () => ({ lookup: undefined }) as unknown as Partial<Destination>)
    await w.model(owned('o1@x.io'))
    expect((await w.run()).error).toMatchObject({ code: 'CDP4008', message: expect.stringContaining(`"owner" is a lookup`) as string })
  })
})

describe('a match of references', () => {
  const member = () => column('user', 'phone', { source: { kind: 'lookup', object: 'User', match: { Email: 'phone' }, onMiss: 'reject' } })
  const group = () => column('group', 'email', { source: { kind: 'lookup', object: 'Group', match: { Name: 'email' }, onMiss: 'reject' } })

  /** An association table: both sides are looked up. */
  async function associations(): Promise<void> {
    d = directory('match', { match: { user: 'exact', group: 'exact' } })
    d.ids.set('{"Email":"o1@x.io"}', 'U1').set('{"Email":"o2@x.io"}', 'U2').set('{"Name":"g1"}', 'G1')
    w = await world(d.service, { match: [member(), group()], fields: [] })
  }
  const link = (id: string, user: string | null, name: string | null) => person(id, name, 'free', user)

  it('is an address made of what is looked up; ids are found for adds and removals alike', async () => {
    await associations()
    const first = await ran(w, [link('1', 'o1@x.io', 'g1'), link('2', 'o2@x.io', 'g1')])
    expect(first.sent.map(({ op, match }) => ({ op, match }))).toEqual([
      { op: 'upsert', match: { user: 'U1', group: 'G1' } },
      { op: 'upsert', match: { user: 'U2', group: 'G1' } },
    ])
    expect(await pending(w)).toEqual({})
    const { sent } = await ran(w, [link('1', 'o1@x.io', 'g1')])
    expect(sent).toMatchObject([{ op: 'delete', match: { user: 'U2', group: 'G1' } }])
    expect([...d.service.records().keys()]).toEqual(['U1|G1'])
  })

  it('without a record is rejected, with half of its values null it is invalid', async () => {
    await associations()
    const { record, sent } = await ran(w, [link('1', 'o9@x.io', 'g1'), link('2', 'o1@x.io', null), link('3', 'o1@x.io', 'g1')])
    expect(sent.map(({ key }) => key)).toEqual(['3'])
    expect(record.counts).toMatchObject({ delivered: 1, rejected: 1, invalid: 1 })
  })

  it('of which a part is gone is no removal that counts as done', async () => {
    await associations()
    // Nobody knows the id under which it may have arrived.
    d.service.fate = ({ key }) => (key === '2' ? 'unanswered' : 'ok')
    await ran(w, [link('1', 'o1@x.io', 'g1'), link('2', 'o2@x.io', 'g1')])
    d.service.fate = () => 'ok'
    d.ids.delete('{"Email":"o2@x.io"}')
    const { record, sent } = await ran(w, [link('1', 'o1@x.io', 'g1')])
    expect(sent).toEqual([])
    expect(record.reasons).toMatchObject([{ outcome: 'rejected', code: 'no_reference' }])
    expect(await pending(w)).toEqual({ remove: 1, uncertain: 1 })
  })

  it('in two spellings of one record is one address', async () => {
    await associations()
    const { objects } = d.service.connector
    const user = { ...(objects['record'] as ObjectSpec), match: { Email: 'email' } }
    Object.assign(d.service.connector, { objects: { ...objects, User: user } })
    await w.model([link('1', 'o1@x.io', 'g1'), link('2', ' O1@X.io', 'g1')])
    expect(await pending(w)).toEqual({ invalid: 2 })
  })

  it('is refused where any one match field finds the record', async () => {
    d = directory('any')
    w = await world(d.service, { match: [column('email'), { ...member(), name: 'phone' }] })
    await w.model(people(1))
    expect((await w.run()).error).toMatchObject({ code: 'CDP4008' })
  })
})
