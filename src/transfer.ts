/** Moves the state of a sync between this machine and the bucket: nothing is sent again, and there is never more than one. */
import { existsSync } from 'node:fs'
import { copyFile, cp, mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Project } from './config/types.ts'
import { CdpError } from './errors.ts'
import { prepareState, readRecords, statePaths, targetFile } from './records.ts'
import type { StatePaths } from './records.ts'
import { isUnused } from './rename.ts'
import { unfinishedError } from './state/carry.ts'
import { readHeader } from './state/header.ts'
import type { HoldRequest, Place } from './state/keeper.ts'
import { openKeeper } from './state/keepers.ts'
import { checkpoint, openState } from './state/local.ts'

const SMALL = { memory: 256 * 1_048_576, threads: 2 }

/**
 * `push`: from the folder on this machine to the bucket of the configuration; `pull`: back. The state that was moved is gone
 * where it was. Throws CDP4013 (there is none), CDP4014 (there is one where it goes), CDP4034 (a run is unfinished), CDP4035
 * (the configuration names no bucket), LockedError.
 */
export async function transfer(project: Project, name: string, direction: 'push' | 'pull'): Promise<{ addresses: number; bytes: number }> {
  if (project.state.type !== 's3')
    throw new CdpError(
      'CDP4035',
      `state ${direction} moves states between this machine and a bucket, and the configuration names no bucket.`,
      {
        hint: 'Write `state: { type: s3, bucket: … }`, move the states, and leave or take back the entry as they are to stay.',
      },
    )
  const here: Place = { ...project, state: { type: 'local', path: dirname(project.state.path) } }
  const [source, goal] = direction === 'push' ? [here, project] : [project, here]
  const [from, to] = [await openKeeper(source), await openKeeper(goal)]
  if (!(await from.exists(name)))
    throw new CdpError(
      'CDP4013',
      `There is no state of a sync named ${name} ${direction === 'push' ? 'on this machine' : 'in the bucket'}.`,
      {
        hint: `Nothing has to be moved; \`cdp-sync plan ${name}\` shows what a run would do.`,
      },
    )
  if (!(await isUnused(to, name)))
    throw new CdpError('CDP4014', `${name} has a state ${direction === 'push' ? 'in the bucket' : 'on this machine'} already.`, {
      hint: 'Only one of them can be right: forget the other with `cdp-sync reset` under the configuration that it belongs to.',
    })
  const request: HoldRequest = { name, timeout: 0, now: Date.now, signal: new AbortController().signal, run: null }
  const [paths, beside] = [statePaths(source, { name }), statePaths(goal, { name })]
  const left = await from.hold(request)
  try {
    const file = await left.fetch()
    const addresses = await settle(name, file, paths)
    const taken = await to.hold(request)
    try {
      await prepareState(goal, { name })
      const copy = await taken.fetch()
      await copyFile(file, copy)
      await copyRecords(await from.records(name), beside)
      const state = await openState({ file: copy, writable: true, spill: beside.work, ...SMALL })
      try {
        await taken.store(state, true)
      } finally {
        state.close()
      }
      for (const { run } of await readRecords(beside)) await to.recorded(name, run)
      await left.forget()
      const { size: bytes } = await stat(copy)
      return { addresses, bytes }
    } finally {
      await taken.release()
    }
  } finally {
    await left.release()
  }
}

/** Everything in the file itself, and nothing unfinished; gives the number of its addresses. */
async function settle(name: string, file: string, { work }: StatePaths): Promise<number> {
  await mkdir(work, { recursive: true, mode: 0o700 })
  const state = await openState({ file, writable: true, spill: work, ...SMALL })
  try {
    if ((await readHeader(state.db)) !== null) throw unfinishedError(name)
    await checkpoint(state.db)
    return (await state.db.one<{ n: number }>('SELECT count(*) AS n FROM state.snapshot')).n
  } finally {
    state.close()
  }
}

async function copyRecords(from: StatePaths, to: StatePaths): Promise<void> {
  for (const folder of ['runs', 'attempts'] as const) if (existsSync(from[folder])) await cp(from[folder], to[folder], { recursive: true })
  for (const [path, copy] of [
    [from.rejected, to.rejected],
    [targetFile(from), targetFile(to)],
  ] as const)
    if (existsSync(path)) await copyFile(path, copy)
}
