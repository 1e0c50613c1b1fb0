/** `plan`: the same every time, writes nothing, sees through a killed run, and life spans. */
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import { afterEach, describe, expect, it } from 'vitest'
import { lockSync } from '../../src/lock.ts'
import { statePaths } from '../../src/records.ts'
import { service } from '../support/destinations.ts'
import type { Fate, Kind } from '../support/destinations.ts'
import { LOCAL } from '../support/engines.ts'
import { column, world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { DAY, pending, people, person, ran } from './support.ts'

let w: World
afterEach(() => w?.close())

async function listing(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const lines = await Promise.all(
    entries.map(async (entry) => {
      const path = join(entry.parentPath, entry.name)
      const { mtimeMs, size, mode } = await stat(path)
      return `${path} ${mtimeMs} ${size} ${mode}`
    }),
  )
  return lines.sort()
}

const mess = (): ReturnType<typeof person>[] => [
  ...people(30, 'pro', 5),
  person('40', 'z@x.io'),
  person('41', 'z@x.io'),
  person(null, 'n@x.io'),
  person('42', null),
]

/** Temporary folders of this test alone: other tests make theirs at the same time. */
async function ownTemporary<Result>(work: () => Promise<Result>): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'cdp-sync-test-'))
  const before = process.env['TMPDIR']
  process.env['TMPDIR'] = folder
  try {
    await work()
    return await readdir(folder)
  } finally {
    if (before === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = before
    await rm(folder, { recursive: true })
  }
}

describe('a plan', () => {
  it.each<Kind>(['key', 'match', 'renames', 'membership', 'any'])(
    'is the same every time, byte for byte, in whatever order the rows come, by %s',
    async (kind) => {
      w = await world(service(kind), { guards: {} })
      await ran(w, people(12))
      const rows = mess()
      await w.model(rows)
      const first = JSON.stringify(await w.plan())
      expect(JSON.stringify(await w.plan())).toBe(first)
      await w.model(rows.toReversed())
      expect(JSON.stringify(await w.plan())).toBe(first)
      w.now += 60_000
      expect(JSON.stringify(await w.plan())).toBe(first)
    },
  )

  it('writes nothing: no file of the project is made, touched or changed, and no temporary folder stays', async () => {
    w = await world(service('match'))
    await ran(w, people(3))
    await w.model(people(2, 'pro'))
    const before = await listing(w.project.root)
    expect(await ownTemporary(() => w.plan())).toEqual([])
    expect(await listing(w.project.root)).toEqual(before)
  })

  it('of a sync that never ran makes no state', async () => {
    w = await world(service('match'))
    await w.model(people(2))
    const before = await listing(w.project.root)
    expect((await w.plan()).first_run).toBe(true)
    expect(await listing(w.project.root)).toEqual(before)
  })

  it.runIf(LOCAL)('waits for a run that holds the state, then names the holder', async () => {
    w = await world(service('match'))
    await ran(w, people(1))
    const folder = join(statePaths(w.project, w.sync).file, '..')
    const lock = await lockSync({
      folder,
      name: 'test',
      timeout: 0,
      now: Date.now,
      signal: new AbortController().signal,
      run: 'the-other-run',
    })
    await expect(w.plan()).rejects.toMatchObject({ exitCode: 6, message: expect.stringContaining(String(process.pid)) })
    expect((await ran(w)).record).toMatchObject({ status: 'locked', exit_code: 6 })
    await lock.release()
    expect(await pending(w)).toEqual({})
  })
})

describe.each<Kind>(['key', 'match', 'renames', 'any'])('the plan over the state of a killed run, by %s', (kind) => {
  it.each<Fate>(['crash-before', 'crash-after'])('is the plan after its recovery, and changes nothing (%s)', async (fate) => {
    w = await world(service(kind))
    await ran(w, people(6))
    let n = 0
    w.service.fate = () => (n++ < 3 ? 'ok' : fate)
    await ran(w, [...people(4, 'pro', 2).map((row) => ({ ...row, email: `new${String(row['id'])}@x.io` })), person('9', 'i@x.io')])
    w.service.fate = () => 'ok'
    const before = await listing(w.project.root)
    const seen = await w.plan()
    expect(seen.counts.uncertain).toBeGreaterThan(0)
    expect(await listing(w.project.root)).toEqual(before)
    // A run that sends nothing recovers all the same: a guard stops it.
    w.sync = { ...w.sync, guards: { ...w.sync.guards, adds: { max_rows: 0 }, changes: { max_rows: 0 }, deletes: { max_rows: 0 } } }
    expect((await ran(w)).record).toMatchObject({ exit_code: 5, recovered: expect.anything() })
    w.sync = { ...w.sync, guards: { deletes: false, identities: false, invalid: false, mapping: false, empty: false } }
    expect(JSON.stringify(await w.plan())).toBe(JSON.stringify(seen))
    await ran(w)
    await ran(w)
    expect(await pending(w)).toEqual({})
  })
})

describe('a membership that expires', () => {
  it('is sent again when its life span is over, and only then', async () => {
    w = await world(service('membership', { refreshAfter: 7 * DAY }))
    await ran(w, people(2))
    w.now += 3 * DAY
    await ran(w, people(3))
    expect(await pending(w)).toEqual({})
    w.now += 4 * DAY + 1
    const plan = await w.plan()
    expect(plan.counts).toMatchObject({ change: 2, unchanged: 1 })
    expect(plan.because).toEqual({ uncertain: 0, data: 0, mapping: 0, refresh: 2 })
    expect((await ran(w)).sent.map(({ key }) => key).sort()).toEqual(['1', '2'])
    expect(await pending(w)).toEqual({})
  })
})

describe('what a plan shows', () => {
  it('warns of a model whose every row changed', async () => {
    w = await world(service('match'))
    await ran(w, people(100))
    await w.model(people(100, 'pro'))
    expect((await w.plan()).warnings.join()).toContain('every row changed')
  })

  it('hides sensitive values', async () => {
    w = await world(service('match'), { fields: [column('plan', 'plan', { sensitive: true })] })
    await ran(w, people(1, 'secret-one'))
    await w.model([person('1', 'p1@x.io', 'secret-two'), person('2', 'p2@x.io', 'secret-three')])
    const plan = await w.plan()
    expect(plan.samples).toHaveLength(2)
    expect(JSON.stringify(plan)).not.toContain('secret')
  })

  it('counts each address once', async () => {
    w = await world(service('match'))
    await ran(w, people(10))
    await w.model([...people(4, 'free', 1), ...people(3, 'pro', 5), ...people(2, 'free', 20)])
    const plan = await w.plan()
    expect(plan.counts).toMatchObject({ add: 2, change: 3, remove: 3, unchanged: 4 })
    expect(plan).toMatchObject({ rows: 9, owned: 10, changed_fields: { plan: 3 } })
    expect(plan.estimate.requests).toBe(5)
  })
})

describe('secrets', () => {
  it('of a service’s message are in no file beside the state and in no event', async () => {
    w = await world(service('match'))
    Object.assign(w.project, { secrets: ['hunter2-token'] })
    w.service.fate = ({ key }) => ({ key, result: 'rejected', code: 'BAD', message: 'the token hunter2-token is bad' })
    const { record } = await ran(w, people(1))
    expect(JSON.stringify(record)).not.toContain('hunter2-token')
    expect(JSON.stringify(w.events)).not.toContain('hunter2-token')
    for (const line of await listing(statePaths(w.project, w.sync).folder)) {
      const path = line.split(' ')[0] ?? ''
      if ((await stat(path)).isFile()) expect(await readFile(path, 'utf8'), path).not.toContain('hunter2-token')
    }
    expect(
      JSON.stringify(await w.state('SELECT * FROM state.verdicts'), (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v)),
    ).not.toContain('hunter2-token')
  })
})
