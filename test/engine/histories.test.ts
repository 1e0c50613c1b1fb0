/** Histories of several edits, faults and hands in a row, each of which once ended in a wrong state. */
import { afterEach, expect, it } from 'vitest'
import { RateLimited } from '../../src/connector.ts'
import { baseline, resolve } from '../../src/maintain.ts'
import { column, world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { service } from '../support/destinations.ts'
import { pending, people, person, ran, there } from './support.ts'

let w: World
afterEach(() => w?.close())

const marked = { ...column('plan'), source: { kind: 'template' as const, template: '{{ plan }}!' } }

it('a mapping that is taken back after a killed run is sent again to the rows that the run had reached', async () => {
  w = await world(service('match'))
  const rows = people(30)
  await ran(w, rows)
  const before = w.sync
  w.sync = { ...w.sync, fields: [marked] }
  w.service.fate = ({ key }) => (key === '9' ? 'crash-after' : 'ok')
  await ran(w)
  w.sync = before
  w.service.fate = () => 'ok'
  await ran(w)
  expect(new Set(Object.values(there(w)))).toEqual(new Set(['free']))
})

it('a field that returns after a killed run without it is sent', async () => {
  const both = [column('plan'), column('copy', 'plan')]
  w = await world(service('match'), { fields: both })
  const rows = (plan: string) => people(30, plan)
  await ran(w, rows('free'))
  w.sync = { ...w.sync, fields: [column('plan')] }
  w.service.fate = ({ key }) => (key === '9' ? 'crash-after' : 'ok')
  await ran(w, rows('pro'))
  w.sync = { ...w.sync, fields: both }
  w.service.fate = () => 'ok'
  await ran(w)
  expect(new Set([...w.service.records().values()].map((r) => r['copy']))).toEqual(new Set(['pro']))
})

it('a row that returns after its removal was refused gets the mapping that was edited meanwhile', async () => {
  w = await world(service('match'))
  const rows = [person('1', 'a@x.io'), person('2', 'b@x.io')]
  await ran(w, rows)
  w.service.fate = ({ op }) => (op === 'delete' ? 'rejected' : 'ok')
  await ran(w, rows.slice(1))
  w.sync = { ...w.sync, fields: [marked] }
  await ran(w)
  await ran(w, rows)
  expect(there(w)).toEqual({ 'a@x.io': 'free!', 'b@x.io': 'free!' })
})

it('a row that was away when the edited mapping was adopted gets it when it returns', async () => {
  w = await world(service('match'))
  const rows = [person('1', 'a@x.io'), person('2', 'b@x.io')]
  await ran(w, rows)
  w.service.fate = ({ op }) => (op === 'delete' ? 'rejected' : 'ok')
  await ran(w, rows.slice(1))
  w.sync = { ...w.sync, fields: [marked] }
  await baseline(w.project, w.sync, w.context(), { mappingOnly: true })
  await ran(w, rows)
  expect(there(w)).toEqual({ 'a@x.io': 'free!', 'b@x.io': 'free' })
})

it.each([{ limit: 1 }, { keys: ['1'] }])(
  'a first run with `backfill: false` adopts every row, whatever it was narrowed to (%o)',
  async (options) => {
    w = await world(service('key'), { mode: 'append', onRemove: null, backfill: false })
    await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io'), person('3', 'c@x.io')], options)
    expect((await ran(w)).sent).toEqual([])
  },
)

it('a held unknown that was settled as delivered is compared with what was delivered', async () => {
  w = await world(service('match', { replay: {} }))
  await ran(w, [person('1', 'a@x.io', 'v1')])
  w.service.fate = () => 'unanswered'
  await ran(w, [person('1', 'a@x.io', 'v2')])
  w.service.fate = () => 'ok'
  await w.model([person('1', 'a@x.io', 'v1')])
  await resolve(w.project, w.sync, '1', true)
  await ran(w)
  expect(there(w)).toEqual({ 'a@x.io': 'v1' })
})

it('a held removal that was settled as delivered is over', async () => {
  w = await world(service('match', { replay: { upsert: 'harmless' } }))
  const rows = [person('1', 'a@x.io'), person('2', 'b@x.io')]
  await ran(w, rows)
  w.service.fate = () => 'unanswered'
  await ran(w, rows.slice(1))
  w.service.fate = () => 'ok'
  await resolve(w.project, w.sync, '1', true)
  expect(await pending(w)).toEqual({})
  expect((await ran(w)).sent).toEqual([])
  const { sent } = await ran(w, rows)
  expect(sent.map(({ op, fields }) => [op, fields])).toEqual([['upsert', { plan: 'free' }]])
})

it('a mapping edited while the mode was insert reaches its rows when the mode becomes upsert', async () => {
  w = await world(service('match'), { mode: 'insert', onRemove: null, backfill: true })
  await ran(w, [person('1', 'a@x.io')])
  w.sync = { ...w.sync, fields: [marked] }
  await ran(w)
  w.sync = { ...w.sync, mode: 'upsert' }
  await ran(w)
  expect(there(w)).toEqual({ 'a@x.io': 'free!' })
})

it('a wait that is no number, made of a header that was not there, is taken for none', async () => {
  w = await world(service('match'))
  Object.defineProperty(w, 'now', { get: Date.now, set() {} })
  let told = false
  w.service.fate = () => {
    if (told) return 'ok'
    told = true
    throw new RateLimited('slow down', Number.NaN)
  }
  const { record } = await ran(w, [person('1', 'a@x.io')])
  expect(record).toMatchObject({ status: 'ok', counts: { delivered: 1 } })
})
