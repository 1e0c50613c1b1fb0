/** States in a folder on this machine: the state file is the state, and a lock file beside it says who has it. */
import { existsSync } from 'node:fs'
import { readFile, rename, rm } from 'node:fs/promises'
import { lockHolder, lockSync, waitUnlocked } from '../lock.ts'
import type { LockRequest } from '../lock.ts'
import { listStates, stateFolder, statePaths } from '../records.ts'
import { whole } from './keeper.ts'
import type { HoldRequest, Keeper, Place } from './keeper.ts'
import { targetFile } from '../records.ts'

export function folderKeeper(project: Place): Keeper {
  const folder = stateFolder(project)
  const at = ({ run, ...request }: HoldRequest): LockRequest => ({ ...request, folder, run: run ?? undefined })
  const paths = (name: string): ReturnType<typeof statePaths> => statePaths(project, { name })
  return {
    async hold(request) {
      const lock = await lockSync(at(request))
      return {
        alive: () => undefined,
        fetch: () => Promise.resolve(whole(paths(request.name).file)),
        cost: () => null,
        outboxWritten: () => Promise.resolve(),
        journal: () => null,
        store: () => Promise.resolve(),
        async forget() {
          const { file, folder: beside } = paths(request.name)
          for (const path of [`${file}.wal`, file, beside]) await rm(path, { recursive: true, force: true })
        },
        release: () => lock.release(),
      }
    },
    waitFree: (request) => waitUnlocked(at(request)),
    holder: (name) => lockHolder({ folder, name }),
    look: (name) => Promise.resolve(whole(paths(name).file)),
    exists: (name) => Promise.resolve(existsSync(paths(name).file)),
    list: () => listStates(project),
    async target(name) {
      const note = await readFile(targetFile(paths(name)), 'utf8').catch(() => null)
      return note?.trim() ?? null
    },
    async move(from, to) {
      const [source, target] = [paths(from), paths(to)]
      const request = { folder, timeout: 0, now: Date.now, signal: new AbortController().signal }
      const locks = [await lockSync({ ...request, name: from })]
      try {
        locks.push(await lockSync({ ...request, name: to }))
        // The log of a run that was killed belongs to the file. The state itself goes last: until then the old name is whole.
        for (const path of [target.file, `${target.file}.wal`]) await rm(path, { force: true })
        if (existsSync(source.folder)) {
          await rm(target.folder, { recursive: true, force: true })
          await rename(source.folder, target.folder)
        }
        if (existsSync(`${source.file}.wal`)) await rename(`${source.file}.wal`, `${target.file}.wal`)
        await rename(source.file, target.file)
      } finally {
        for (const lock of locks) await lock.release()
      }
    },
    records: (name) => Promise.resolve(paths(name)),
    recorded: () => Promise.resolve(),
  }
}
