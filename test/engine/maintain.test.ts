/** What people do to a state by hand, and what a state refuses to be used for. */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { adoptTarget, baseline, inspectReset, rename, reset, resolve, why } from '../../src/maintain.ts'
import { statePaths } from '../../src/records.ts'
import { openKeeper } from '../../src/state/keepers.ts'
import { service } from '../support/destinations.ts'
import { LOCAL } from '../support/engines.ts'
import { column, world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { brief, pending, people, person, ran, rejected, there } from './support.ts'

let w: World
afterEach(() => w?.close())

const adopt = (mappingOnly = false) => baseline(w.project, w.sync, w.context(), { mappingOnly })

describe('baseline', () => {
  it('adopts the rows of today as delivered, as ours, and sends nothing', async () => {
    w = await world(service('match'))
    await w.model(people(3))
    expect(await adopt()).toEqual({ adopted: 3, kept: 0 })
    expect(w.service.sent).toEqual([])
    expect(await pending(w)).toEqual({})
    // Ours: a row that leaves is removed.
    expect(brief((await ran(w, people(2))).sent)).toEqual(['delete 3 p3@x.io'])
    expect(brief((await ran(w, people(2, 'pro'))).sent).sort()).toEqual(['upsert 1 p1@x.io', 'upsert 2 p2@x.io'])
  })

  it('drops no owned address, no remote id and no pending removal', async () => {
    w = await world(service('renames'))
    await ran(w, people(3))
    await w.model([person('1', 'p1@x.io', 'pro'), person('2', 'p2@x.io')])
    expect(await adopt()).toEqual({ adopted: 2, kept: 1 })
    expect(await w.state('SELECT key, remote_id, owned FROM state.snapshot ORDER BY key')).toEqual(
      ['1', '2', '3'].map((key) => ({ key, remote_id: `R${key}`, owned: true })),
    )
    expect(await pending(w)).toEqual({ remove: 1 })
  })

  it('folds an unfinished run first', async () => {
    w = await world(service('match'))
    w.service.fate = ({ key }) => (key === '3' ? 'crash-after' : 'ok')
    await ran(w, people(4))
    expect(await w.state(`SELECT name FROM state.meta WHERE name = 'header'`)).toHaveLength(1)
    await w.model(people(2))
    await adopt()
    expect(await w.state(`SELECT name FROM state.meta WHERE name = 'header'`)).toEqual([])
    // What the killed run may have put there is owned and in doubt: mirror removes it.
    w.service.fate = () => 'ok'
    await ran(w)
    expect(Object.keys(there(w)).sort()).not.toContain('p3@x.io')
    expect(await pending(w)).toEqual({})
  })

  it('leaves invalid rows alone', async () => {
    w = await world(service('match'))
    await w.model([person('1', 'a@x.io'), person('2', 'b@x.io'), person('3', 'b@x.io'), person('4', null)])
    expect(await adopt()).toEqual({ adopted: 1, kept: 0 })
    expect(await pending(w)).toEqual({ invalid: 3 })
  })

  it('in append takes the keys of today as sent', async () => {
    w = await world(service('key'), { mode: 'append', onRemove: null, backfill: true })
    await w.model(people(2))
    await adopt()
    expect((await ran(w, people(3))).sent.map(({ key }) => key)).toEqual(['3'])
  })

  it('takes a new key definition', async () => {
    w = await world(service('match'))
    await ran(w, people(2))
    w.sync = { ...w.sync, model: { ...w.sync.model, key: ['email'] } }
    expect((await ran(w)).record).toMatchObject({ exit_code: 1, error: { code: 'CDP4004' } })
    await adopt()
    expect(await pending(w)).toEqual({})
    expect(brief((await ran(w, people(1))).sent)).toEqual(['delete p2@x.io p2@x.io'])
  })
})

describe('baseline --mapping-only', () => {
  it('takes an edited field as delivered and keeps other differences in the plan', async () => {
    w = await world(service('match'), { fields: [column('plan'), column('phone')] })
    await ran(w, [person('1', 'a@x.io', 'free', '1'), person('2', 'b@x.io', 'free', '1')])
    w.sync = { ...w.sync, fields: [column('plan', 'plan', { transform: ['upcase'] }), column('phone')] }
    await w.model([person('1', 'a@x.io', 'free', '2'), person('2', 'b@x.io', 'free', '1')])
    expect(await pending(w)).toEqual({ change: 2 })
    expect(await adopt(true)).toEqual({ adopted: 1, kept: 1 })
    const plan = await w.plan()
    expect(plan.counts).toMatchObject({ change: 1 })
    expect(plan.changed_fields).toEqual({ phone: 1 })
    await ran(w)
    expect(await pending(w)).toEqual({})
  })

  it('takes a new field too, and refuses an edited match', async () => {
    w = await world(service('match'))
    await ran(w, people(2))
    w.sync = {
      ...w.sync,
      fields: [column('plan'), { ...column('source'), source: { kind: 'value', value: { kind: 'string', text: 'x' } } }],
    }
    await adopt(true)
    expect(await pending(w)).toEqual({})
    w.sync = { ...w.sync, match: [column('email', 'plan')] }
    await expect(adopt(true)).rejects.toMatchObject({ code: 'CDP4015' })
  })
})

describe('a state', () => {
  it('is refused for another account, until the target is adopted', async () => {
    w = await world(service('renames'))
    await ran(w, people(2))
    w.service.account = { id: 'account-2', name: 'Sandbox' }
    const { record, sent } = await ran(w, people(2, 'pro'))
    expect(sent).toEqual([])
    expect(record).toMatchObject({ exit_code: 1, error: { code: 'CDP4003' } })
    await expect(w.plan()).rejects.toMatchObject({ code: 'CDP4003' })
    expect(await adoptTarget(w.project, w.sync, w.context())).toEqual({ from: 'Account 1', to: 'Sandbox' })
    expect((await ran(w)).sent.map(({ remoteId }) => String(remoteId)).sort()).toEqual(['R1', 'R2'])
  })

  it('is refused for another list, where options select the target', async () => {
    w = await world(service('match', { targetOptions: ['list'] }), { options: { list: 7 } })
    await ran(w, people(1))
    w.sync = { ...w.sync, options: { list: 8 } }
    expect((await ran(w)).record.error?.code).toBe('CDP4003')
    w.sync = { ...w.sync, options: { list: 7, other: true } }
    expect((await ran(w)).record.status).toBe('ok')
  })

  it('of a killed first run is bound to its target too', async () => {
    w = await world(service('match'))
    w.service.fate = () => 'crash-after'
    await ran(w, people(1))
    w.service.fate = () => 'ok'
    w.service.account = { id: 'account-2', name: 'Sandbox' }
    expect((await ran(w)).record.error?.code).toBe('CDP4003')
  })

  it('is kept apart by environment', async () => {
    w = await world(service('match'))
    await ran(w, people(1))
    Object.assign(w.project, { environment: 'dev' })
    expect((await w.plan()).first_run).toBe(true)
    if (LOCAL) expect(statePaths(w.project, w.sync).file).toContain('/state/dev/test.duckdb')
  })

  it('of a sync that was renamed stops a first run that would send everything again', async () => {
    w = await world(service('match'))
    await ran(w, people(2))
    const renamed = { ...w.sync, name: 'contacts' }
    w.sync = renamed
    Object.assign(w.project, { syncs: [renamed] })
    const { record, sent } = await ran(w)
    expect(sent).toEqual([])
    expect(record).toMatchObject({
      exit_code: 1,
      error: { code: 'CDP4005', hint: expect.stringContaining('cdp-sync rename test contacts') },
    })
    await rename(w.project, 'test', 'contacts')
    expect((await ran(w)).record).toMatchObject({ status: 'ok', counts: { unchanged: 2 } })
    await expect(rename(w.project, 'test', 'other')).rejects.toMatchObject({ code: 'CDP4013' })
  })

  it('goes along by itself with renamed_from', async () => {
    w = await world(service('match'))
    await ran(w, people(2))
    const renamed = { ...w.sync, name: 'contacts', renamedFrom: 'test' }
    w.sync = renamed
    Object.assign(w.project, { syncs: [renamed] })
    expect(await ran(w)).toMatchObject({ sent: [], record: { status: 'ok', counts: { unchanged: 2 } } })
    expect(await (await openKeeper(w.project)).exists('test')).toBe(false)
  })
})

describe('a renamed sync that was not run yet', () => {
  it('plans as if it had been: nothing to send', async () => {
    w = await world(service('match'))
    await ran(w, people(2))
    const renamed = { ...w.sync, name: 'contacts', renamedFrom: 'test' }
    w.sync = renamed
    Object.assign(w.project, { syncs: [renamed] })
    expect(await pending(w)).toEqual({})
    expect(await (await openKeeper(w.project)).exists('test')).toBe(true)
  })
})

describe('reset', () => {
  it('says what it orphans, forgets everything, and the next run is a first run', async () => {
    w = await world(service('match'))
    await ran(w, people(3))
    expect(await inspectReset(w.project, w.sync)).toEqual({ owned: 3, keys: 3, mode: 'mirror' })
    await reset(w.project, w.sync)
    const plan = await w.plan()
    expect(plan).toMatchObject({ first_run: true, since: null, counts: { add: 3 } })
    // Also of the target: another account is as good as any.
    w.service.account = { id: 'account-2', name: 'Sandbox' }
    expect((await ran(w)).record.status).toBe('ok')
  })

  it('of a sync without a state has nothing to forget', async () => {
    w = await world(service('match'))
    expect(await inspectReset(w.project, w.sync)).toEqual({ owned: 0, keys: 0, mode: null })
  })
})

describe('resolve', () => {
  it('refuses a key of which everything is known', async () => {
    w = await world(service('match'))
    await ran(w, people(1))
    await expect(resolve(w.project, w.sync, '1', true)).rejects.toMatchObject({ code: 'CDP4016' })
  })

  it.each([true, false])('settles what may have been sent (delivered: %s), and it is listed until then', async (delivered) => {
    w = await world(service('match', { replay: { delete: 'harmless' } }))
    w.service.fate = () => (delivered ? 'unanswered' : 'lost')
    await ran(w, people(1))
    w.service.fate = () => 'ok'
    expect(await rejected(w)).toMatchObject([{ key: '1', outcome: 'unknown', held: true }])
    expect(await resolve(w.project, w.sync, '1', delivered)).toEqual({ resolved: 1 })
    expect((await ran(w)).sent).toHaveLength(delivered ? 0 : 1)
    expect(there(w)).toEqual({ 'p1@x.io': 'free' })
    expect(await pending(w)).toEqual({})
  })
})

describe('why', () => {
  it('tells the story of a row: what the model says, what was delivered, what is next', async () => {
    w = await world(service('match'))
    await ran(w, people(2))
    await w.model([person('1', 'p1@x.io', 'pro'), person('3', null)])
    const story = await why(w.project, w.sync, { key: '1' }, w.context())
    expect(story).toMatchObject({
      key: '1',
      model: { id: '1', email: 'p1@x.io', plan: 'pro' },
      payload: { plan: 'pro' },
      snapshot: [{ address: 'p1@x.io', payload: { plan: 'free' }, flags: ['owned'] }],
      next: 'the next run changes it (data)',
    })
    expect((await why(w.project, w.sync, { key: '2' }, w.context())).next).toBe('the next run removes it')
    expect((await why(w.project, w.sync, { key: '3' }, w.context())).next).toContain('null_match')
    expect((await why(w.project, w.sync, { match: { email: 'P1@x.io' } }, w.context())).key).toBe('1')
  })
})

it.runIf(LOCAL)('a lost state file is a first run, not an error: addresses are put there again', async () => {
  w = await world(service('match'))
  await ran(w, people(2))
  await rm(statePaths(w.project, w.sync).file)
  expect(await pending(w)).toEqual({ add: 2 })
})

describe.runIf(LOCAL)('an empty state file', () => {
  it('is made anew when a kill left it empty before anything was sent', async () => {
    w = await world(service('key'))
    await w.model(people(2))
    const { file } = statePaths(w.project, w.sync)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, '')
    expect(await w.run()).toMatchObject({ status: 'ok', counts: { delivered: 2 } })
    await writeFile(file, '')
    expect((await w.run()).error?.code).toBe('CDP4001')
  })
})
