/** What the tests of states in a bucket share besides what those of crashes do: the objects of a sync, and who else may use them. */
import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'vitest'
import { openBucket } from '../../src/state/bucket.ts'
import type { Bucket } from '../../src/state/bucket.ts'
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

export const openStates = (): Promise<Bucket> =>
  openBucket({ type: 's3', path: '', bucket: 'states', prefix: '', region: 'us-east-1', endpoint: s3.url })

export interface Gate {
  readonly url: string
  /** How many requests wait. */
  readonly waiting: () => number
  /** Says which wait. */
  hold(which: (method: string, url: string) => boolean): void
  /** Lets all go on, and later ones too; `drop`: breaks the connections of those that wait instead. */
  open(drop?: boolean): void
  close(): Promise<void>
}

/** Stands before the server, and lets some requests wait. */
export async function startGate(): Promise<Gate> {
  let holds = (_method: string, _url: string): boolean => false
  let held: { readonly go: () => void; readonly drop: () => void }[] = []
  const server = createServer((request, response) => {
    const { method = '', url = '', headers } = request
    const go = (): void => {
      const onward = httpRequest({ host: '127.0.0.1', port: s3.port, method, path: url, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers)
        answer.pipe(response)
      })
      onward.on('error', () => response.destroy())
      request.pipe(onward)
    }
    if (holds(method, decodeURIComponent(url))) held.push({ go, drop: () => request.socket.destroy() })
    else go()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    waiting: () => held.length,
    hold(which) {
      holds = which
    },
    open(drop = false) {
      holds = () => false
      for (const it of held) (drop ? it.drop : it.go)()
      held = []
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

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
