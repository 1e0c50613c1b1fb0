/** What the tests of states in a bucket share: a server, projects on machines of their own, and what must hold between runs. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import type { Project } from '../../src/config/types.ts'
import { cellValue } from '../../src/values.ts'
import { encodeJson } from '../../src/json.ts'
import { lookThrough, openState, readMemory } from '../../src/state/local.ts'
import { openKeeper } from '../../src/state/keepers.ts'
import { held, makeProject, people, person, wanted, withoutNulls, type Person, type TestProject } from '../support/project.ts'
import { startReceiver, type Receiver } from '../support/receiver.ts'
import { startS3, useCredentials, VERSITYGW, type S3 } from '../support/s3.ts'

export const SKIPPED = VERSITYGW === null
if (SKIPPED) console.warn('versitygw is not installed: states in a bucket are not tested here')

export const BEFORE = people(0, 60)
/** 30 changed (two of them trade their e-mails), 15 left, 15 new: 45 upserts in 9 requests, 15 removals in 3. */
export const AFTER: Person[] = [
  person(0, { email: person(1).email }),
  person(1, { email: person(0).email }),
  ...people(2, 30).map((it) => ({ ...it, plan: 'cnry-pro' })),
  ...people(30, 45),
  ...people(60, 75),
]
/** Changes that a kill may repeat: 3 x concurrency x batch. */
export const BOUND = 3 * 2 * 5

export let s3: S3
export let receiver: Receiver
const open: TestProject[] = []
let made = 0

beforeAll(async () => {
  if (SKIPPED) return
  s3 = await startS3()
  useCredentials(s3)
  receiver = await startReceiver()
})
afterEach(async () => {
  if (SKIPPED) return
  receiver.fault(() => undefined)
  for (const project of open.splice(0)) await project.remove()
})
afterAll(async () => {
  if (SKIPPED) return
  await receiver.close()
  await s3.close()
})

export interface Shared {
  readonly project: TestProject
  readonly prefix: string
  /** The folder of the sync's objects. */
  readonly folder: string
}

/** A project whose state lies in the bucket, after a first run of BEFORE (or before any). */
export async function begin(first = false, endpoint = s3.url, sync?: string): Promise<Shared> {
  receiver.records.clear()
  receiver.requests.length = 0
  const prefix = `t${++made}`
  const project = await makeProject({
    url: receiver.url,
    env: { ...s3.env, ENDPOINT: endpoint },
    more: `project: shop\nstate: { type: s3, bucket: states, prefix: ${prefix}, endpoint: "\${env:ENDPOINT}", region: us-east-1 }\n`,
    ...(sync === undefined ? {} : { sync }),
  })
  open.push(project)
  if (!first) {
    await project.rows(BEFORE)
    const { code, stderr } = await project.run(['run'])
    expect([code, stderr]).toEqual([0, expect.anything()])
  }
  await project.rows(AFTER)
  return { project, prefix, folder: `${prefix}/shop/_/people` }
}

/** The same project on a machine that never saw it. */
export async function elsewhere({ project, ...shared }: Shared): Promise<Shared> {
  const twin = await project.copy()
  open.push(twin)
  await rm(join(twin.root, '.cdp-sync'), { recursive: true, force: true })
  return { project: twin, ...shared }
}

export async function killAt({ project }: Shared, at: string): Promise<void> {
  const { signal, stderr } = await project.run(['run'], { env: { CDP_SYNC_CRASH_AT: at } })
  expect([at, signal, stderr]).toEqual([at, 'SIGKILL', expect.anything()])
}

/** As if the killed run's lease had run out long ago. */
export const expireLease = ({ folder }: Shared): Promise<void> => s3.age(`${folder}/lease.json`, 600)

/** What the bucket counts as known: address -> delivered fields. */
async function known(prefix: string): Promise<Map<string, Record<string, unknown>>> {
  const work = await mkdtemp(join(tmpdir(), 'cdp-sync-known-'))
  try {
    const place = {
      root: work,
      name: 'shop',
      environment: null,
      state: { type: 's3', path: work, bucket: 'states', prefix, region: 'us-east-1', endpoint: s3.url },
    }
    const { file } = await (await openKeeper(place as unknown as Project)).look('people', work, 'whole')
    const state = await openState({ file, writable: true, spill: work, memory: 128 * 2 ** 20, threads: 1 })
    try {
      const { header } = await readMemory(state.db)
      if (header) await lookThrough(state.db, header)
      const names = (await state.db.rows<{ name: string }>('SELECT name FROM state.fields ORDER BY position')).map(({ name }) => name)
      const rows = await state.db.rows<{ address: string; payload: (string | null)[] }>(
        'SELECT address, payload FROM snap WHERE NOT uncertain AND payload IS NOT NULL',
      )
      return new Map(
        rows.map(({ address, payload }) => [
          address,
          Object.fromEntries(
            payload.flatMap((cell, i) => (cell === null ? [] : [[names[i], JSON.parse(encodeJson(cellValue(cell)))]])),
          ) as Record<string, unknown>,
        ]),
      )
    } finally {
      state.close()
    }
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Between a kill and the next run: nothing is falsely done. */
export async function expectHonest({ prefix }: Shared): Promise<void> {
  const there = held(receiver)
  for (const [key, fields] of await known(prefix)) expect({ key, ...there.get(key) }).toEqual({ key, ...withoutNulls(fields) })
}

/** The run after a kill: converges, repeats no more than the plan before it called uncertain, leaves nothing lying about. */
export async function expectRecovery(shared: Shared, kills = 1): Promise<void> {
  const { project, folder } = shared
  const there = held(receiver)
  const from = receiver.requests.length
  const { uncertain } = (await project.plan()).counts
  const { code, stdout, stderr } = await project.run(['run'])
  expect([code, stdout, stderr]).toEqual([0, expect.anything(), expect.anything()])
  expect(held(receiver)).toEqual(wanted(AFTER))
  const { counts } = await project.plan()
  expect(counts).toMatchObject({ add: 0, change: 0, remove: 0, uncertain: 0, held: 0, unchanged: AFTER.length })
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
  await expectTidy(folder)
}

/** One snapshot, no run, and what head says is there. */
export async function expectTidy(folder: string): Promise<void> {
  const names = (await s3.keys()).filter((key) => key.startsWith(`${folder}/`)).map((key) => key.slice(folder.length + 1))
  const head = JSON.parse(await s3.read(`${folder}/head.json`)) as { snapshot: { name: string }; run: string | null }
  expect(head.run).toBeNull()
  expect(names.filter((name) => /^(snapshot|run)-/.test(name))).toEqual([head.snapshot.name])
}
