/** Edits of the mapping: exactly the rows whose payload they change are sent, and nothing that is only gone. */
import { afterEach, describe, expect, it } from 'vitest'
import type { FieldSpec } from '../../src/config/types.ts'
import { service } from '../support/destinations.ts'
import { column, world } from '../support/world.ts'
import type { Row, World } from '../support/world.ts'
import { brief, pending, people, person, ran, there } from './support.ts'

let w: World
afterEach(() => w?.close())

const text = (value: string) => ({ kind: 'string' as const, text: value })
const constant = (name: string, value: string): FieldSpec => ({ ...column(name), source: { kind: 'value', value: text(value) } })
const template = (name: string, liquid: string, more: Partial<FieldSpec> = {}): FieldSpec => ({
  ...column(name),
  source: { kind: 'template', template: liquid },
  ...more,
})
const edit = (...fields: FieldSpec[]): void => {
  w.sync = { ...w.sync, fields }
}

const three = [person('1', 'a@x.io', 'free'), person('2', 'b@x.io', 'pro'), person('3', 'c@x.io', null)]

describe.each(['key', 'match'] as const)('an edited mapping, addressed by %s', (kind) => {
  it('sends the rows whose payload it changes and says why', async () => {
    w = await world(service(kind))
    await ran(w, three)
    edit(
      column('plan', 'plan', {
        map: new Map([
          ['pro', text('PRO')],
          ['free', text('free')],
        ]),
        default: { kind: 'null' },
      }),
    )
    const plan = await w.plan()
    expect(plan.counts).toMatchObject({ add: 0, change: 1, remove: 0, unchanged: 2 })
    expect(plan.because).toEqual({ uncertain: 0, data: 0, mapping: 1, refresh: 0 })
    expect(plan.changed_fields).toEqual({ plan: 1 })
    expect(plan.samples).toEqual([{ op: 'change', key: '2', before: { plan: 'pro' }, after: { plan: 'PRO' }, because: 'mapping' }])
    const { sent } = await ran(w)
    expect(sent.map(({ key }) => key)).toEqual(['2'])
    expect(await pending(w)).toEqual({})
  })

  it('names data as the cause when the row changed too', async () => {
    w = await world(service(kind), { fields: [column('plan'), column('phone')] })
    await ran(w, [person('1', 'a@x.io', 'free', '1'), person('2', 'b@x.io', 'free', '1')])
    edit(template('plan', '{{ plan }}!'), column('phone'))
    await w.model([person('1', 'a@x.io', 'free', '2'), person('2', 'b@x.io', 'free', '1')])
    expect((await w.plan()).because).toEqual({ uncertain: 0, data: 1, mapping: 1, refresh: 0 })
  })

  it('sends nothing for a field that is taken out, nor when it returns as it was', async () => {
    w = await world(service(kind), { fields: [column('plan'), column('phone')] })
    const rows = [person('1', 'a@x.io', 'free', '11'), person('2', 'b@x.io', 'free', '22')]
    await ran(w, rows)
    edit(column('plan'))
    expect((await ran(w)).sent).toEqual([])
    edit(column('plan'), column('phone'))
    expect(await pending(w)).toEqual({})
    // While it was out of the mapping one phone changed.
    edit(column('plan'))
    await ran(w, [person('1', 'a@x.io', 'free', '12'), rows[1]!])
    edit(column('plan'), column('phone'))
    expect((await ran(w)).sent.map(({ key, fields }) => [key, fields])).toEqual([['1', { plan: 'free', phone: '12' }]])
  })

  it('keeps a refused edit pending, though no column changed since', async () => {
    w = await world(service(kind))
    await ran(w, three)
    edit(column('plan'), constant('source', 'warehouse'))
    w.service.fate = ({ key }) => (key === '2' ? 'rejected' : 'ok')
    expect((await ran(w)).sent).toHaveLength(3)
    expect(await pending(w)).toEqual({ change: 1 })
    w.service.fate = () => 'ok'
    expect((await ran(w)).sent.map(({ key }) => key)).toEqual(['2'])
    expect(await pending(w)).toEqual({})
  })

  it('keeps an edit pending that --limit cut off, under a further edit too', async () => {
    w = await world(service(kind))
    await ran(w, three)
    edit(column('plan'), constant('source', 'one'))
    await ran(w, null, { limit: 1 })
    expect(await pending(w)).toEqual({ change: 2 })
    edit(column('plan'), constant('source', 'one'), constant('tier', 'gold'))
    expect(await pending(w)).toEqual({ change: 3 })
    await ran(w)
    expect(await pending(w)).toEqual({})
  })
})

describe('nulls', () => {
  const rows = [person('1', 'a@x.io', null), person('2', 'b@x.io', 'pro')]
  it('are left out of an add and are no change after it', async () => {
    w = await world(service('match'))
    const { sent } = await ran(w, rows)
    expect(sent.map(({ key, fields }) => [key, fields])).toEqual([
      ['1', {}],
      ['2', { plan: 'pro' }],
    ])
    expect(await pending(w)).toEqual({})
    expect((await w.plan()).counts.unchanged).toBe(2)
  })

  it('are sent with an add when nulls: clear is written', async () => {
    w = await world(service('match'), { fields: [column('plan', 'plan', { nullsWritten: true })] })
    expect((await ran(w, rows)).sent[0]?.fields).toEqual({ plan: null })
  })

  it('clear what was there', async () => {
    w = await world(service('match'))
    await ran(w, rows)
    expect((await ran(w, [rows[0]!, person('2', 'b@x.io', null)])).sent.map(({ fields }) => fields)).toEqual([{ plan: null }])
  })

  it('skipped are no change, and neither is the return of the value', async () => {
    w = await world(service('match'), { fields: [column('plan', 'plan', { nulls: 'skip' }), column('phone')] })
    await ran(w, [person('1', 'a@x.io', 'pro', '1')])
    expect((await ran(w, [person('1', 'a@x.io', null, '1')])).sent).toEqual([])
    expect((await ran(w, [person('1', 'a@x.io', 'pro', '1')])).sent).toEqual([])
    expect((await ran(w, [person('1', 'a@x.io', null, '2')])).sent.map(({ fields }) => fields)).toEqual([{ phone: '2' }])
    expect((await ran(w, [person('1', 'a@x.io', 'pro', '2')])).sent).toEqual([])
  })

  it('become a change when the policy turns to clear', async () => {
    w = await world(service('match'), { fields: [column('plan', 'plan', { nulls: 'skip' })] })
    await ran(w, [person('1', 'a@x.io', 'pro')])
    await ran(w, [person('1', 'a@x.io', null)])
    edit(column('plan'))
    expect((await ran(w)).sent.map(({ fields }) => fields)).toEqual([{ plan: null }])
    expect(await pending(w)).toEqual({})
  })
})

describe('fields that are written on create', () => {
  it('never cause a change, and travel apart', async () => {
    w = await world(service('match', { onCreate: true }), { fields: [column('plan'), column('stage', 'phone', { write: 'on_create' })] })
    const { sent } = await ran(w, [person('1', 'a@x.io', 'free', 'lead')])
    expect(sent[0]).toMatchObject({ fields: { plan: 'free' }, onCreate: { stage: 'lead' } })
    expect((await ran(w, [person('1', 'a@x.io', 'free', 'customer')])).sent).toEqual([])
    expect((await ran(w, [person('1', 'a@x.io', 'pro', 'customer')])).sent[0]?.changed).toEqual(['plan'])
    expect(await pending(w)).toEqual({})
  })
})

describe('send: changed', () => {
  it('sends the fields that differ, all of them on an add, and the match always', async () => {
    w = await world(service('match'), { send: 'changed', fields: [column('plan'), column('phone')] })
    expect((await ran(w, [person('1', 'a@x.io', 'free', '1')])).sent[0]?.fields).toEqual({ plan: 'free', phone: '1' })
    const { sent } = await ran(w, [person('1', 'a@x.io', 'free', '2')])
    expect(sent[0]).toMatchObject({ match: { email: 'a@x.io' }, fields: { phone: '2' }, changed: ['phone'] })
    expect(there(w)).toEqual({ 'a@x.io': 'free' })
  })
})

describe('meta fields', () => {
  it('are rendered when sent and never compared', async () => {
    w = await world(service('match'), {
      fields: [
        column('plan'),
        ...(['sent_at', 'run', 'sync'] as const).map((meta) => ({ ...column(meta), source: { kind: 'meta' as const, meta } })),
      ],
    })
    const { sent, record } = await ran(w, [person('1', 'a@x.io')])
    expect(sent[0]?.fields).toEqual({ plan: 'free', sent_at: new Date(w.now).toISOString(), run: record.run, sync: 'test' })
    w.now += 86_400_000
    expect(await pending(w)).toEqual({})
  })
})

const sql = (columns: string): void => {
  w.sync = {
    ...w.sync,
    model: {
      ...w.sync.model,
      sql: `select ${columns} from (${w.project.syncs[0]?.model.sql}) as rows`,
    },
  }
}

describe('columns that come, go and change their type', () => {
  it('that no field uses cause no change', async () => {
    w = await world(service('match'))
    await ran(w, [person('1', 'a@x.io', 'free', '1')])
    expect((await ran(w, [person('1', 'a@x.io', 'free', '2')])).sent).toEqual([])
    sql('id, email, plan')
    expect(await pending(w)).toEqual({})
  })

  it('are fields by "*", and only a new value is a change', async () => {
    w = await world(service('match'), { fields: [], star: { except: ['id'], nulls: 'clear', nullsWritten: false, where: 'x' } })
    const { sent } = await ran(w, [person('1', 'a@x.io', 'free', '1')])
    expect(sent[0]?.fields).toEqual({ plan: 'free', phone: '1' })
    sql('*, NULL::VARCHAR AS extra')
    expect((await w.plan()).counts).toMatchObject({ change: 1, unchanged: 0 })
    sql("*, 'x' AS extra")
    const changed = await ran(w)
    expect(changed.sent[0]).toMatchObject({ changed: ['extra'], fields: { plan: 'free', phone: '1', extra: 'x' } })
    sql('id, email, plan')
    expect((await ran(w)).sent).toEqual([])
    expect(await pending(w)).toEqual({})
  })

  it('send the new form when a column turns from text to number', async () => {
    w = await world(service('match'), { fields: [column('plan')] })
    await ran(w, [person('1', 'a@x.io', '42'), person('2', 'b@x.io', null)])
    sql('id, email, plan::INTEGER AS plan')
    const plan = await w.plan()
    expect(plan.counts).toMatchObject({ change: 1, unchanged: 1 })
    expect((await ran(w)).sent.map(({ fields }) => fields)).toEqual([{ plan: 42 }])
    expect(await pending(w)).toEqual({})
  })

  it('are no change when only the scale of a decimal differs', async () => {
    w = await world(service('match'), { fields: [column('plan')] })
    sql('id, email, plan::DECIMAL(10,2) AS plan')
    await ran(w, [person('1', 'a@x.io', '1.50')])
    sql('id, email, plan::DECIMAL(12,4) AS plan')
    expect((await ran(w)).sent).toEqual([])
    expect(await pending(w)).toEqual({})
  })
})

describe('an edited match', () => {
  it('moves every record, which the guards see as identities and deletes', async () => {
    w = await world(service('match'), { guards: {} })
    await ran(
      w,
      people(20).map((row) => ({ ...row, phone: `${row['id']}@work.io` })),
    )
    w.sync = { ...w.sync, match: [column('email', 'phone')] }
    const plan = await w.plan()
    expect(plan.counts).toMatchObject({ add: 20, remove: 20 })
    expect(plan.guards.filter(({ ok }) => !ok).map(({ name }) => name)).toEqual(['deletes', 'identities'])
    expect(await ran(w)).toMatchObject({ sent: [], record: { exit_code: 5 } })
  })

  it('is one change each where the key is the address', async () => {
    w = await world(service('key'))
    await ran(w, [person('1', 'a@x.io', 'free', 'b@x.io')])
    w.sync = { ...w.sync, match: [column('email', 'phone')] }
    const { sent } = await ran(w)
    expect(sent).toMatchObject([{ key: '1', match: { email: 'b@x.io' }, previousMatch: { email: 'a@x.io' } }])
    expect(await pending(w)).toEqual({})
  })
})

it('a template in JavaScript and a column in SQL give the same payloads, and no change between them', async () => {
  const hostile: Row[] = ['plain', '', '  spaced ', 'quote "\' \\', 'line\nbreak\r\n', '\uFEFFbom', 'ünïcödé 🐘', '{{ liquid }}', null].map(
    (plan, i) => person(String(i), `p${i}@x.io`, plan),
  )
  w = await world(service('match'), { fields: [column('plan')] })
  const first = await ran(w, hostile)
  edit(template('plan', '{{ plan }}'))
  expect(await pending(w)).toEqual({})
  await w.close()
  w = await world(service('match'), { fields: [template('plan', '{{ plan }}')] })
  const second = await ran(w, hostile)
  const byKey = (sent: typeof first.sent) => new Map(sent.map(({ key, fields }) => [key, fields]))
  expect(byKey(second.sent)).toEqual(byKey(first.sent))
})

it('a row that was refused under the old mapping is compared with what was delivered, not with what was meant', async () => {
  w = await world(service('match'))
  await ran(w, [person('1', 'a@x.io', 'v1')])
  w.service.fate = () => 'rejected'
  await ran(w, [person('1', 'a@x.io', 'v2')])
  w.service.fate = () => 'ok'
  edit(template('plan', '{{ plan }}!'))
  expect((await w.plan()).samples).toMatchObject([{ before: { plan: 'v1' }, after: { plan: 'v2!' } }])
  edit(template('plan', "{{ plan | replace: '2', '1' }}"))
  // The edit makes it what was delivered: nothing to do.
  expect(await pending(w)).toEqual({})
  expect(brief((await ran(w)).sent)).toEqual([])
})
