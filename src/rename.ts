/** A sync under a new name takes its state along. */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Project, Sync } from './config/types.ts'
import { CdpError, nearest } from './errors.ts'
import type { Keeper } from './state/keeper.ts'
import { openKeeper } from './state/keepers.ts'
import { openState, readMemory } from './state/local.ts'

/** `renamed_from: old`: moves the state at the first run under the new name. */
export async function adoptOldName(project: Project, sync: Sync): Promise<void> {
  if (sync.renamedFrom === null) return
  const keeper = await openKeeper(project)
  if (!(await keeper.exists(sync.renamedFrom)) || !(await isUnused(keeper, sync.name))) return
  await keeper.move(sync.renamedFrom, sync.name)
}

/** Moves the state of `from` to `to`. Throws CDP4013 (no such state), CDP4014 (`to` has one), LockedError. */
export async function rename(project: Project, from: string, to: string): Promise<void> {
  const keeper = await openKeeper(project)
  if (!(await keeper.exists(from))) {
    const near = nearest(from, await keeper.list())
    throw new CdpError(
      'CDP4013',
      `There is no state of a sync named ${from}.`,
      near ? { hint: `Did you mean ${near}?` } : { hint: '`cdp-sync status` lists all states.' },
    )
  }
  if (!(await isUnused(keeper, to))) {
    throw new CdpError('CDP4014', `${to} has a state of its own already.`, {
      hint: `If it holds nothing of worth: \`cdp-sync reset ${to}\`, then rename again.`,
    })
  }
  await keeper.move(from, to)
}

/** There is no state, or only what a run left that was stopped before it delivered anything: nobody misses it. */
export async function isUnused(keeper: Keeper, name: string): Promise<boolean> {
  const work = await mkdtemp(join(tmpdir(), 'cdp-sync-'))
  try {
    const { file, close } = await keeper.look(name, work, 'part')
    await close()
    if (!existsSync(file)) return true
    const state = await openState({ file, writable: false, spill: join(work, 'spill'), memory: 64 * 1_048_576, threads: 1 })
    try {
      const { target, header, first } = await readMemory(state.db)
      return target === null && header === null && first
    } finally {
      state.close()
    }
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}
