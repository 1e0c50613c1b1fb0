/** What the tests of crashes share: projects after a first run, and what must hold between a kill and the next run, and after it. */
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { engine, LOCAL } from '../support/engines.ts'
import {
  expectConverged,
  expectNoFalseDone,
  held,
  makeProject,
  people,
  person,
  wanted,
  type Person,
  type ProjectSettings,
  type TestProject,
} from '../support/project.ts'
import { withPostgres, type Postgres } from '../support/postgres.ts'
import { startReceiver, type Receiver } from '../support/receiver.ts'

const BATCH = 5
const CONCURRENCY = 2
/** Changes that a kill may repeat: design, promise I6. */
const BOUND = 3 * CONCURRENCY * BATCH

export const BEFORE = people(0, 60)
/** 30 changed (two of them trade their e-mails), 15 left, 15 new: 45 upserts in 9 requests, 15 removals in 3. */
export const AFTER: Person[] = [
  person(0, { email: person(1).email }),
  person(1, { email: person(0).email }),
  ...people(2, 30).map((it) => ({ ...it, plan: 'cnry-pro' })),
  ...people(30, 45),
  ...people(60, 75),
]

let postgres: Postgres | undefined
export let receiver: Receiver
const open: TestProject[] = []

beforeAll(async () => {
  if (engine.missing !== null) return
  receiver = await startReceiver()
  if (LOCAL) postgres = await withPostgres()
})
afterEach(async () => {
  receiver?.fault(() => undefined)
  for (const project of open.splice(0)) await project.remove()
})
afterAll(async () => {
  await receiver?.close()
  await postgres?.stop()
})

export interface Beginning extends Partial<ProjectSettings> {
  /** Before any run. */
  readonly first?: boolean
  /** What models are read from. */
  readonly reading?: 'DuckDB' | 'PostgreSQL'
}

/** A project with nothing in its model. */
export async function make({ reading = 'DuckDB', ...settings }: Omit<Beginning, 'first'> = {}): Promise<TestProject> {
  receiver.records.clear()
  receiver.events.length = 0
  receiver.requests.length = 0
  const project = await makeProject({ url: receiver.url, ...(reading === 'PostgreSQL' && postgres ? { postgres } : {}), ...settings })
  open.push(project)
  return project
}

/** A project whose model is AFTER, after a run that delivered BEFORE, or before any. */
export async function begin({ first = false, ...settings }: Beginning = {}): Promise<TestProject> {
  const project = await make(settings)
  if (!first) {
    await project.rows(BEFORE)
    const { code, stderr } = await project.look('run')
    expect([code, stderr]).toEqual([0, expect.anything()])
  }
  await project.rows(AFTER)
  return project
}

/** Runs until the step, and no further; gives the project in which things go on: that of another machine, unless the state is here. */
export async function killAt(project: TestProject, at: string): Promise<TestProject> {
  const { signal, stdout, stderr } = await project.run(['run'], { env: { CDP_SYNC_CRASH_AT: at } })
  expect([at, signal, stdout, stderr]).toEqual([at, 'SIGKILL', '', expect.anything()])
  return afterKill(project)
}

export async function afterKill(project: TestProject): Promise<TestProject> {
  await project.place.expire('people', project.root)
  return LOCAL ? project : elsewhere(project)
}

/** The same project on a machine that never saw it. */
export async function elsewhere(project: TestProject): Promise<TestProject> {
  const there = await project.elsewhere()
  open.push(there)
  return there
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

/** The run after a kill: converges, repeats no more than the plan before it called uncertain, says so, and leaves nothing lying about. */
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
  expect(await project.place.leftovers('people', project.root)).toEqual([])
}
