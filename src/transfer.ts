/** Moves the state of a sync between this machine and where the configuration keeps it: nothing is sent again, and there is never more than one. */
import { existsSync } from 'node:fs'
import { copyFile, cp, mkdir, stat, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Project, Sync } from './config/types.ts'
import { CdpError } from './errors.ts'
import { prepareState, readRecords, statePaths, targetFile } from './records.ts'
import type { StatePaths } from './records.ts'
import { isUnused } from './rename.ts'
import { unfinishedError } from './state/carry.ts'
import { lit } from './state/db.ts'
import type { Db } from './state/db.ts'
import { transaction } from './state/fold.ts'
import { readHeader } from './state/header.ts'
import type { HoldRequest, Place } from './state/keeper.ts'
import { openKeeper } from './state/keepers.ts'
import { checkpoint, openState } from './state/local.ts'

const SMALL = { memory: 256 * 1_048_576, threads: 2 }

/** What was moved: `bytes` as a file, and where it is now, in words. */
export interface Moved {
  readonly addresses: number
  readonly bytes: number
  readonly where: string
}

/**
 * `push`: from the folder on this machine to the bucket or database of the configuration; `pull`: back. The state that was
 * moved is gone where it was. Throws CDP4013 (there is none), CDP4014 (there is one where it goes), CDP4034 (a run is
 * unfinished), CDP4035 (the configuration keeps states on this machine), LockedError.
 */
export async function transfer(project: Project, sync: Sync, direction: 'push' | 'pull'): Promise<Moved> {
  const { name } = sync
  if (project.state.type === 'local')
    throw new CdpError(
      'CDP4035',
      `state ${direction} moves states between this machine and a bucket or database, and the configuration keeps them on this machine.`,
      {
        hint: 'Write `state: { type: s3, … }` or `state: { type: warehouse, … }`, move the states, and leave or take back the entry as they are to stay.',
      },
    )
  const here: Place = { ...project, state: { type: 'local', path: dirname(project.state.path) } }
  const [source, goal] = direction === 'push' ? [here, project] : [project, here]
  const [from, to] = [await openKeeper(source), await openKeeper(goal)]
  if (!(await from.exists(name)))
    throw new CdpError('CDP4013', `There is no state of a sync named ${name} ${whereOf(source, sync)}.`, {
      hint: `Nothing has to be moved; \`cdp-sync plan ${name}\` shows what a run would do.`,
    })
  const request: HoldRequest = { name, timeout: 0, now: Date.now, signal: new AbortController().signal, run: null }
  const [paths, beside] = [statePaths(source, { name }), statePaths(goal, { name })]
  const left = await from.hold(request)
  try {
    const taken = await to.hold(request)
    try {
      if (!(await isUnused(to, name)))
        throw new CdpError('CDP4014', `${name} has a state ${whereOf(goal, sync)} already.`, {
          hint: 'Only one of them can be right: forget the other with `cdp-sync reset` under the configuration that it belongs to.',
        })
      const { file } = await left.fetch('whole')
      const addresses = await settle(name, file, paths)
      await prepareState(goal, { name })
      const { file: copy } = await taken.fetch('whole')
      await copyRecords(await from.records(name), beside)
      const target = await from.target(name)
      if (target !== null) await writeFile(targetFile(beside), `${target}\n`, { mode: 0o600 })
      const state = await openState({ file: copy, writable: true, spill: beside.work, ...SMALL })
      try {
        await copyTables(state.db, file, project.state.type === 's3')
        await checkpoint(state.db)
        await taken.store(state, true)
      } finally {
        state.close()
      }
      for (const { run } of await readRecords(beside)) await to.recorded(name, run)
      const { size: bytes } = await stat(copy)
      await left.forget()
      return { addresses, bytes, where: whereOf(goal, sync) }
    } finally {
      await taken.release()
    }
  } finally {
    await left.release()
  }
}

function whereOf({ state }: Pick<Place, 'state'>, { warehouse }: Sync): string {
  if (state.type === 'local') return 'on this machine'
  return state.type === 's3' ? 'in the bucket' : `in the database of ${state.warehouse ?? warehouse.name}`
}

/**
 * Replaces what the state says by what another file says. The files are not alike: each keeper notes things of its own in them.
 * `hashes`: both places hash a row in one way. Else rows are looked at once by what was delivered.
 */
async function copyTables(db: Db, file: string, hashes: boolean): Promise<void> {
  await db.run(`ATTACH ${lit(file)} AS moved (READ_ONLY)`)
  const copies = ['fields', 'snapshot', 'verdicts', 'meta'].map(
    (table) => `DELETE FROM state.${table}; INSERT INTO state.${table} BY NAME FROM moved.${table};`,
  )
  // How many addresses are elsewhere is true of the one file alone.
  copies.push(`DELETE FROM state.meta WHERE name = 'elsewhere';`)
  if (!hashes) copies.push('UPDATE state.snapshot SET hash = NULL;')
  await transaction(db, copies.join('\n'))
  await db.run('DETACH moved')
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
  if (existsSync(from.rejected)) await copyFile(from.rejected, to.rejected)
}
