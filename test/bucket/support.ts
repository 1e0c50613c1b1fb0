/** What the tests of states in a bucket share besides what those of crashes do: the objects of a sync, and who else may use them. */
import { expect } from 'vitest'
import * as crash from '../crash/support.ts'
import { leftoversIn, s3, type BucketPlace } from '../support/engine-bucket.ts'
import { engine } from '../support/engines.ts'
import { expectNoFalseDone, type TestProject } from '../support/project.ts'

export { AFTER, BEFORE, receiver } from '../crash/support.ts'
export { s3 } from '../support/engine-bucket.ts'

export const SKIPPED = engine.missing !== null

export interface Shared {
  readonly project: TestProject
  /** The folder of the sync's objects. */
  readonly folder: string
}

const shared = (project: TestProject): Shared => ({ project, folder: (project.place as BucketPlace).folder('people') })

/** A project after a first run of BEFORE (or before any). */
export const begin = async (first = false, endpoint = s3.url): Promise<Shared> =>
  shared(await crash.begin({ first, env: { ENDPOINT: endpoint } }))

/** The same project on a machine that never saw it. */
export const elsewhere = async ({ project }: Shared): Promise<Shared> => shared(await crash.elsewhere(project))

/** Leaves the lease as the killed run has it. */
export async function killAt({ project }: Shared, at: string): Promise<void> {
  const { signal, stderr } = await project.run(['run'], { env: { CDP_SYNC_CRASH_AT: at } })
  expect([at, signal, stderr]).toEqual([at, 'SIGKILL', expect.anything()])
}

/** As if the killed run's lease had run out long ago. */
export const expireLease = ({ project }: Shared): Promise<void> => project.place.expire('people', project.root)
export const expectHonest = ({ project }: Shared): Promise<void> => expectNoFalseDone(project, crash.receiver)
export const expectRecovery = ({ project }: Shared): Promise<void> => crash.expectRecovery(project)

/** One snapshot, no run, and what head says is there. */
export const expectTidy = async (folder: string): Promise<void> => expect(await leftoversIn(folder)).toEqual([])
