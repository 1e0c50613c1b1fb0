/**
 * Where a sync's state may lie. The suites of the promises run over each of these: vitest.config.ts has a project for each,
 * whose tests find theirs here as `engine`.
 */
import { copyFileSync, existsSync, rmSync } from 'node:fs'
import { copyFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { inject } from 'vitest'
import type { Project, StateEntry, WarehouseEntry } from '../../src/config/types.ts'
import { statePaths } from '../../src/records.ts'
import { openKeeper } from '../../src/state/keepers.ts'
import { bucket } from './engine-bucket.ts'
import { databases } from './engine-databases.ts'
import type { Postgres } from './postgres.ts'

/** The folder of the project; a bucket; the warehouse that models are read from; a database that they are not read from. */
export type EngineName = 'local' | 's3' | 'warehouse-postgres' | 'warehouse-duckdb' | 'warehouse-snowflake' | 'other-postgres'

declare module 'vitest' {
  interface ProvidedContext {
    engine: EngineName
  }
}

export interface Engine {
  /** Why its tests can't run on this machine; null: they can. */
  readonly missing: string | null
  /** Steps of src/crash.ts that only its runs have. */
  readonly steps: readonly string[]
  /** What models must be read from, where that is what keeps the state; null: from anything. */
  readonly reads: WarehouseEntry['type'] | null
  /** Starts what it needs; once for each test file. */
  start(): Promise<void>
  stop(): Promise<void>
  /** Where nothing lies yet, for the states of one project. */
  place(): StatePlace
}

/** Where the rows of a project inside this process lie. */
export interface Models {
  readonly entry: WarehouseEntry
  readonly sql: string
  /** Replaces the rows; all values are texts. */
  fill(columns: readonly string[], rows: readonly Readonly<Record<string, string | null>>[]): Promise<void>
}

/** The states of one project, named `shop` where names count. */
export interface StatePlace {
  /** The entry of a project inside this process. `root`: its folder. */
  entry(root: string): StateEntry
  /** Warehouses of the project besides that of its models. */
  readonly warehouses: Readonly<Record<string, WarehouseEntry>>
  /** Null: anywhere. */
  models(root: string): Models | null
  /** The same for a project on disk: lines of cdp-sync.yaml, members of its `warehouses`, and the variables that they and the program read. */
  readonly yaml: string
  readonly yamlWarehouses: string
  readonly env: Readonly<Record<string, string>>
  /** What its models are read from, if that is no file. */
  readonly postgres?: Postgres
  /** As if the process were killed now: what it writes from here on is undone by `revive`. */
  kill(project: Project, sync: string): void
  /** After the run that went on although it was killed: everything is as it was then, and its lease has expired. */
  revive(project: Project, sync: string): Promise<void>
  /** As if the lease of a killed run, where it had one, had ended long ago. */
  expire(sync: string, root: string): Promise<void>
  /** What runs that are over left lying about, by name; [] when a run ended well. */
  leftovers(sync: string, root: string): Promise<string[]>
}

/** Removes what a machine knows of states that lie elsewhere: the next run is on another one. */
export const forgetMachine = (root: string): Promise<void> => rm(join(root, '.cdp-sync'), { recursive: true, force: true })

const NOTHING = (): Promise<void> => Promise.resolve()

/** The folder of the project, or a copy of it. */
const local: Engine = {
  missing: null,
  steps: [],
  reads: null,
  start: NOTHING,
  stop: NOTHING,
  place: () => ({
    entry: (root) => ({ type: 'local', path: join(root, '.cdp-sync') }),
    warehouses: {},
    models: () => null,
    yaml: '',
    yamlWarehouses: '',
    env: {},
    kill(project, sync) {
      for (const path of filesOf(project, sync)) {
        rmSync(`${path}.killed`, { force: true })
        if (existsSync(path)) copyFileSync(path, `${path}.killed`)
      }
    },
    async revive(project, sync) {
      for (const path of filesOf(project, sync)) {
        await rm(path, { force: true })
        if (existsSync(`${path}.killed`)) await copyFile(`${path}.killed`, path)
        await rm(`${path}.killed`, { force: true })
      }
    },
    expire: NOTHING,
    leftovers: () => Promise.resolve([]),
  }),
}

function filesOf(project: Project, sync: string): string[] {
  const { file } = statePaths(project, { name: sync })
  return [file, `${file}.wal`]
}

const ENGINES: Readonly<Record<EngineName, Engine>> = { local, s3: bucket, ...databases }

/** Which engine these tests are for. */
export const engine: Engine = ENGINES[inject('engine')]
/** Whether states lie in the project's folder: then a run after a kill goes on there, else on another machine. */
export const LOCAL = engine === local

/** A copy of a whole state, in `folder`: it may be written to. Null when there is none. */
export async function stateFile(project: Project, sync: string, folder: string): Promise<string | null> {
  const keeper = await openKeeper(project)
  const { file, close } = await keeper.look(sync, folder, 'whole')
  await close()
  if (!existsSync(file)) return null
  const copy = join(folder, 'state.duckdb')
  for (const ending of ['', '.wal']) if (existsSync(file + ending)) await copyFile(file + ending, copy + ending)
  return copy
}
