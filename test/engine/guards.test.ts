/** Guards: what stops a run before it sends, with the numbers from both sides of each limit. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { GuardName, Sync } from '../../src/config/types.ts'
import { checkGuards } from '../../src/guard.ts'
import type { GuardInput } from '../../src/guard.ts'
import { statePaths } from '../../src/records.ts'
import { service } from '../support/destinations.ts'
import { column, world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { pending, people, person, ran } from './support.ts'

let w: World
afterEach(() => w?.close())

const none = { add: 0, change: 0, remove: 0, unchanged: 0, invalid: 0, held: 0, uncertain: 0, waiting: 0, kept: 0, renames: 0 }
const input = (more: Partial<GuardInput> = {}): GuardInput => ({
  counts: none,
  rows: 0,
  owned: 0,
  removals: 0,
  identities: 0,
  mapping: 0,
  removes: true,
  ...more,
})
const refused = (guards: Sync['guards'], it_: GuardInput, allowed: readonly string[] = []): string[] =>
  checkGuards(guards, it_, new Set(allowed))
    .filter(({ ok }) => !ok)
    .map(({ name }) => name)

/** What a guard counts, put where it counts it. */
const counting: Record<string, (n: number, base: number) => GuardInput> = {
  deletes: (n, base) => input({ removals: n, owned: base, rows: 1 }),
  identities: (n, base) => input({ identities: n, owned: base, rows: 1 }),
  invalid: (n, base) => input({ counts: { ...none, invalid: n }, rows: base }),
  mapping: (n, base) => input({ mapping: n, owned: base, rows: 1 }),
  adds: (n, base) => input({ counts: { ...none, add: n }, owned: base, rows: 1 }),
  changes: (n, base) => input({ counts: { ...none, change: n }, owned: base, rows: 1 }),
}

const mapped = (n: number, base: number): boolean => refused({}, input({ mapping: n, owned: base, rows: 1 })).includes('mapping')

describe('a default', () => {
  it.each(['deletes', 'identities', 'invalid'])('of %s refuses above 10 % and 50, or 50 % and 5', (name) => {
    const at = (n: number, base: number): boolean => refused({}, counting[name]!(n, base)).includes(name)
    expect([at(50, 400), at(51, 400), at(51, 510), at(51, 511)]).toEqual([false, true, false, false])
    expect([at(5, 6), at(6, 11), at(6, 12), at(49, 60), at(49, 98)]).toEqual([false, true, false, true, false])
  })

  it('of mapping refuses above 10 % and 1,000', () => {
    expect([mapped(1000, 2000), mapped(1001, 2000), mapped(1001, 10_010), mapped(6, 6)]).toEqual([false, true, false, false])
  })

  it('of adds and changes is none', () => {
    expect(refused({}, counting['adds']!(1e9, 1))).toEqual([])
    expect(refused({}, counting['changes']!(1e9, 1))).toEqual([])
  })

  it('of empty refuses a model without rows where something is owned and the mode deletes', () => {
    expect(refused({}, input({ owned: 1 }))).toEqual(['empty'])
    expect(refused({}, input({ owned: 0 }))).toEqual([])
    expect(refused({}, input({ owned: 1, removes: false }))).toEqual([])
    expect(refused({}, input({ owned: 1, rows: 1 }))).toEqual([])
    expect(refused({ empty: false }, input({ owned: 1 }))).toEqual([])
  })
})

describe('a written guard', () => {
  it.each(Object.keys(counting))('replaces the default of %s, is absolute with max_rows, and false turns it off', (name) => {
    const at = (guard: object | false, n: number, base = 1000): boolean =>
      refused({ [name]: guard }, counting[name]!(n, base)).includes(name)
    expect([at({ max_rows: 3 }, 3), at({ max_rows: 3 }, 4)]).toEqual([false, true])
    expect([at({ max_rows: 0 }, 0), at({ max_rows: 0 }, 1)]).toEqual([false, true])
    expect([at({ max_percent: 1 }, 10), at({ max_percent: 1 }, 11)]).toEqual([false, true])
    expect([at({ max_percent: 1, min_rows: 20 }, 20), at({ max_percent: 1, min_rows: 20 }, 21)]).toEqual([false, true])
    expect([at({ max_percent: 90 }, 600), at(false, 1000)]).toEqual([false, false])
    // Shares say nothing while there is nothing to share; a number of rows does.
    expect([at({ max_percent: 0 }, 5, 0), at({ max_rows: 4 }, 5, 0)]).toEqual([false, true])
  })

  it('is lifted by its name alone, and says so', () => {
    const both = input({ removals: 10, owned: 10 })
    expect(refused({}, both)).toEqual(['deletes', 'empty'])
    expect(refused({}, both, ['deletes'])).toEqual(['empty'])
    expect(refused({}, both, ['empty'])).toEqual(['deletes'])
    expect(refused({}, both, ['deletes', 'empty'])).toEqual([])
    expect(checkGuards({}, both, new Set(['deletes'])).find(({ name }) => name === 'deletes')?.message).toContain('allowed for this run')
  })
})

const files = async (folder: string): Promise<Record<string, number>> => {
  const found: Record<string, number> = {}
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) found[join(entry.parentPath, entry.name)] = (await stat(join(entry.parentPath, entry.name))).mtimeMs
  }
  return found
}

describe('a run that a guard refuses', () => {
  it('sends nothing, leaves the snapshot as it was, and passes with --allow', async () => {
    w = await world(service('match'), { guards: {} })
    await ran(w, people(12))
    const before = await w.state('SELECT * FROM state.snapshot ORDER BY address')
    await w.model([...people(2, 'pro'), ...people(3, 'free', 20)])
    const { record, sent } = await ran(w)
    expect(sent).toEqual([])
    expect(record).toMatchObject({ status: 'refused', exit_code: 5, error: { code: 'CDP4011' } })
    expect(record.error?.message).toContain('10 addresses would be removed (83 % of 12 owned addresses); the limit is 50 %')
    expect(record.error?.hint).toContain('--allow deletes')
    expect(await w.state('SELECT * FROM state.snapshot ORDER BY address')).toEqual(before)
    expect(await w.state('SELECT * FROM state.outbox')).toEqual([])
    expect((await ran(w, null, { allow: new Set<GuardName>(['deletes']) })).record).toMatchObject({
      status: 'ok',
      counts: { add: 3, change: 2, remove: 10 },
    })
  })

  it('refuses an empty model, and --allow empty does not lift the limit of deletes', async () => {
    w = await world(service('match'), { guards: {} })
    await ran(w, people(8))
    expect((await ran(w, [])).record).toMatchObject({ exit_code: 5 })
    expect((await ran(w, [], { allow: new Set<GuardName>(['empty']) })).record).toMatchObject({ exit_code: 5 })
    expect((await ran(w, [], { allow: new Set<GuardName>(['empty', 'deletes']) })).record).toMatchObject({
      exit_code: 0,
      counts: { remove: 8 },
    })
  })

  it('makes nothing uncertain with --full-refresh', async () => {
    w = await world(service('match'), { guards: {} })
    await ran(w, people(8))
    await w.model([])
    expect((await ran(w, null, { fullRefresh: true })).record.exit_code).toBe(5)
    expect(await w.state('SELECT address FROM state.snapshot WHERE uncertain')).toEqual([])
  })

  it('shows its verdict in the plan, which stops nothing', async () => {
    w = await world(service('match'), { guards: {} })
    await ran(w, people(8))
    await w.model(people(1))
    const plan = await w.plan()
    expect(plan.guards.find(({ name }) => name === 'deletes')).toEqual({
      name: 'deletes',
      ok: false,
      message: '7 addresses would be removed (88 % of 8 owned addresses); the limit is 50 %. Use --allow deletes to let this run pass',
    })
  })
})

describe('what guards count', () => {
  it('is nothing on a first run, where nothing is owned', async () => {
    w = await world(service('match'), { guards: {} })
    expect((await ran(w, people(100))).record.exit_code).toBe(0)
  })

  it('is the key that turns into another person where the key is the address', async () => {
    w = await world(service('key'), { guards: {} })
    await ran(w, people(10))
    // The table was seeded again: the same keys, other people.
    await w.model(people(10).map((row, i) => ({ ...row, email: `other${i}@x.io` })))
    expect((await w.plan()).guards.filter(({ ok }) => !ok).map(({ name }) => name)).toEqual(['identities'])
    expect((await ran(w)).sent).toEqual([])
  })

  it('is the rename of every record', async () => {
    w = await world(service('renames'), { guards: {} })
    await ran(w, people(10))
    await w.model(people(10).map((row, i) => ({ ...row, email: `other${i}@x.io` })))
    const plan = await w.plan()
    expect(plan.counts).toMatchObject({ change: 10, renames: 10, remove: 0 })
    expect(plan.guards.filter(({ ok }) => !ok).map(({ name }) => name)).toEqual(['identities'])
  })

  it('is every identifier of a member', async () => {
    // 4 of 10 members leave, each with two identifiers: 8 of 12 addresses.
    const rows = Array.from({ length: 10 }, (_, i) =>
      i < 4 ? person(String(i), `p${i}@x.io`, null, `1${i}`) : person(String(i), null, null, `2${i}`),
    )
    w = await world(service('any'), { guards: {} })
    await ran(w, rows)
    await w.model(rows.slice(4))
    const plan = await w.plan()
    expect(plan.counts.remove).toBe(4)
    expect(plan.guards.find(({ name }) => name === 'deletes')).toMatchObject({
      ok: false,
      message: expect.stringContaining('8 addresses would be removed (57 % of 14'),
    })
  })

  it('is an edited mapping, by the changes it alone causes', async () => {
    w = await world(service('match'), { guards: { mapping: { max_rows: 2 } }, fields: [column('plan'), column('phone')] })
    const rows = people(3).map((row) => ({ ...row, phone: '1' }))
    await ran(w, rows)
    w.sync = { ...w.sync, fields: [column('plan', 'plan', { transform: ['upcase'] }), column('phone')] }
    expect((await ran(w)).record).toMatchObject({ exit_code: 5 })
    // One of the three changed in its data too.
    expect(
      (
        await ran(
          w,
          rows.map((row, i) => (i === 0 ? { ...row, phone: '2' } : row)),
        )
      ).record,
    ).toMatchObject({ exit_code: 0, counts: { change: 3 } })
  })

  it('is the whole plan under --key and --limit', async () => {
    w = await world(service('match'), { guards: { changes: { max_rows: 2 } } })
    await ran(w, people(5))
    await w.model(people(5, 'pro'))
    expect((await ran(w, null, { limit: 1 })).record.exit_code).toBe(5)
    expect((await ran(w, null, { keys: ['1'] })).record.exit_code).toBe(5)
    expect(await pending(w)).toEqual({ change: 5 })
  })

  it('never is a file beside the state: a refused run leaves only its record', async () => {
    w = await world(service('match'), { guards: {} })
    await ran(w, people(8))
    await w.model(people(1))
    const paths = statePaths(w.project, w.sync)
    const before = await files(paths.folder)
    await ran(w)
    const added = Object.keys(await files(paths.folder)).filter((path) => !(path in before))
    expect(added).toHaveLength(1)
    expect(added[0]).toContain('/runs/')
  })
})
