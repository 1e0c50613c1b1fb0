/** What the tests of crashes share: projects after a first run, and what must hold between a kill and the next run, and after it. */
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import {
  expectConverged,
  expectNoFalseDone,
  held,
  makeProject,
  people,
  person,
  wanted,
  type Person,
  type TestProject,
} from '../support/project.ts'
import { withPostgres, type Postgres } from '../support/postgres.ts'
import { startReceiver, type Receiver, type Stored } from '../support/receiver.ts'

const BATCH = 5
const CONCURRENCY = 2
/** Changes that a kill may repeat: design, promise I6. */
const BOUND = 3 * CONCURRENCY * BATCH

const BEFORE = people(0, 60)
/** 30 changed (two of them trade their e-mails), 15 left, 15 new: 45 upserts in 9 requests, 15 removals in 3. */
const AFTER: Person[] = [
  person(0, { email: person(1).email }),
  person(1, { email: person(0).email }),
  ...people(2, 30).map((it) => ({ ...it, plan: 'cnry-pro' })),
  ...people(30, 45),
  ...people(60, 75),
]

let postgres: Postgres
export let receiver: Receiver
/** A project whose first run delivered BEFORE, by warehouse, and what the receiver held then. */
const delivered: { [warehouse: string]: TestProject } = {}
const fresh: { [warehouse: string]: TestProject } = {}
let base: [string, Stored][]
const open: TestProject[] = []

beforeAll(async () => {
  postgres = await withPostgres()
  receiver = await startReceiver()
  for (const [name, more] of [
    ['DuckDB', {}],
    ['PostgreSQL', { postgres }],
  ] as const) {
    const project = await makeProject({ url: receiver.url, ...more })
    fresh[name] = await project.copy()
    await project.rows(BEFORE)
    expect((await project.run(['run'])).code).toBe(0)
    delivered[name] = project
  }
  base = [...receiver.records]
})
afterEach(async () => {
  receiver.fault(() => undefined)
  for (const project of open.splice(0)) await project.remove()
})
afterAll(async () => {
  for (const project of [...Object.values(delivered), ...Object.values(fresh)]) await project.remove()
  await receiver.close()
  await postgres.stop()
})

/** A copy of the project after its first run (or before any), with the receiver as it was then. */
export async function begin(warehouse: string, first = false): Promise<TestProject> {
  const from = (first ? fresh : delivered)[warehouse]
  if (!from) throw new Error(warehouse)
  const project = await from.copy()
  open.push(project)
  receiver.records.clear()
  if (!first) for (const [key, record] of base) receiver.records.set(key, { ...record })
  await project.rows(AFTER)
  return project
}

/** Between a kill and the next run: nothing is falsely done, and the plan has every row that differs. */
export async function expectHonest(project: TestProject, kills = 1): Promise<void> {
  await expectNoFalseDone(project, receiver)
  const there = held(receiver)
  const want = wanted(AFTER)
  const same = [...want].filter(([key, fields]) => JSON.stringify(sorted(there.get(key))) === JSON.stringify(sorted(fields))).length
  const surplus = [...there.keys()].filter((key) => !want.has(key)).length
  const { counts } = await project.plan()
  expect(counts.unchanged).toBeLessThanOrEqual(same)
  expect(counts.add + counts.change).toBeGreaterThanOrEqual(want.size - same)
  expect(counts.remove).toBeGreaterThanOrEqual(surplus)
  expect(counts.uncertain).toBeLessThanOrEqual(kills * BOUND)
}

const sorted = (fields: Record<string, unknown> | undefined): unknown =>
  fields && Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1))

/** The run after a kill: converges, repeats no more than what the plan before it called uncertain, and says so. */
export async function expectRecovery(project: TestProject, kills = 1): Promise<void> {
  const there = held(receiver)
  const from = receiver.requests.length
  const { uncertain } = (await project.plan()).counts
  const { code, stdout, stderr } = await project.run(['run'])
  expect([code, stdout, stderr]).toEqual([0, expect.anything(), expect.anything()])
  await expectConverged(project, receiver, AFTER)
  const repeated = receiver.requests
    .slice(from)
    .flatMap(({ changes }) => changes)
    .filter(({ op, key, match, fields }) => {
      const record = there.get(key)
      if (op === 'delete') return record === undefined
      return record !== undefined && Object.entries({ ...match, ...fields }).every(([name, value]) => (record[name] ?? null) === value)
    }).length
  expect(repeated).toBeLessThanOrEqual(uncertain)
  expect(uncertain).toBeLessThanOrEqual(kills * BOUND)
  // The record tells of the journal that this run found; what an earlier recovery left in doubt is in its plan alone.
  const { recovered } = await project.record()
  if (kills === 1) expect(recovered?.uncertain ?? 0).toBe(uncertain)
  else expect(recovered?.uncertain ?? 0).toBeLessThanOrEqual(uncertain)
}

export async function killAt(project: TestProject, at: string): Promise<void> {
  const { signal, stderr } = await project.run(['run'], { env: { CDP_SYNC_CRASH_AT: at } })
  expect([at, signal, stderr]).toEqual([at, 'SIGKILL', expect.anything()])
}
