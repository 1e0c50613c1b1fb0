/** A sync under a new name takes its state along. */
import { existsSync } from 'node:fs'
import { rename as move, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Project, Sync } from './config/types.ts'
import { CdpError } from './errors.ts'
import { lockSync } from './lock.ts'
import { listStates, statePaths } from './records.ts'
import type { StatePaths } from './records.ts'
import { openState, readMemory } from './state/local.ts'
import { nearest } from './errors.ts'

/** `renamed_from: old`: moves the state at the first run under the new name. */
export async function adoptOldName(project: Project, sync: Sync): Promise<void> {
  if (sync.renamedFrom === null || !existsSync(statePaths(project, { name: sync.renamedFrom }).file)) return
  if (!(await isUnused(statePaths(project, sync)))) return
  await rename(project, sync.renamedFrom, sync.name)
}

/** Moves the state of `from` to `to`. Throws CDP4013 (no such state), CDP4014 (`to` has one), LockedError. */
export async function rename(project: Project, from: string, to: string): Promise<void> {
  const [source, target] = [statePaths(project, { name: from }), statePaths(project, { name: to })]
  if (!existsSync(source.file)) {
    const near = nearest(from, await listStates(project))
    throw new CdpError(
      'CDP4013',
      `There is no state of a sync named ${from}.`,
      near ? { hint: `Did you mean ${near}?` } : { hint: '`cdp-sync status` lists all states.' },
    )
  }
  if (!(await isUnused(target))) {
    throw new CdpError('CDP4014', `${to} has a state of its own already.`, {
      hint: `If it holds nothing of worth: \`cdp-sync reset ${to}\`, then rename again.`,
    })
  }
  const folder = join(source.file, '..')
  const request = { folder, timeout: 0, now: Date.now, signal: new AbortController().signal }
  const locks = [await lockSync({ ...request, name: from })]
  try {
    locks.push(await lockSync({ ...request, name: to }))
    // The log of a run that was killed belongs to the file. The state itself goes last: until then the old name is whole.
    for (const path of [target.file, `${target.file}.wal`]) await rm(path, { force: true })
    if (existsSync(source.folder)) {
      await rm(target.folder, { recursive: true, force: true })
      await move(source.folder, target.folder)
    }
    if (existsSync(`${source.file}.wal`)) await move(`${source.file}.wal`, `${target.file}.wal`)
    await move(source.file, target.file)
  } finally {
    for (const lock of locks) await lock.release()
  }
}

/** There is no state, or only what a run left that was stopped before it delivered anything: nobody misses it. */
async function isUnused(paths: StatePaths): Promise<boolean> {
  if (!existsSync(paths.file)) return true
  const state = await openState({ file: paths.file, writable: false, spill: paths.work, memory: 64 * 1_048_576, threads: 1 })
  try {
    const { target, header, first } = await readMemory(state.db)
    return target === null && header === null && first
  } finally {
    state.close()
  }
}
