/** Where a sync's state lives between runs: what the engine asks of a folder on this machine and of a bucket alike. */
import type { Project, Sync } from '../config/types.ts'
import type { Holder } from '../lock.ts'
import type { StatePaths } from '../records.ts'
import type { Header } from './header.ts'
import type { State } from './local.ts'
import type { JournalSink } from './outbox.ts'

/** What a keeper needs to know of a project: with `state` in a warehouse also which one keeps which sync. */
export type Place = Pick<Project, 'root' | 'name' | 'state' | 'environment' | 'warehouses'> & {
  readonly syncs: readonly Pick<Sync, 'name' | 'warehouse'>[]
}

/** Who wants a sync, and for how long it waits. */
export interface HoldRequest {
  readonly name: string
  /** Milliseconds to wait for another holder. */
  readonly timeout: number
  readonly now: () => number
  readonly signal: AbortSignal
  readonly run: string | null
}

/** Keeps the states of one project and environment. */
export interface Keeper {
  /** Takes a sync: until the release nobody else writes its state. Throws LockedError. */
  hold(request: HoldRequest): Promise<Hold>
  /** For readers: resolves when nobody holds the sync. Throws LockedError. */
  waitFree(request: HoldRequest): Promise<void>
  /** Who holds it now, for `status`. */
  holder(name: string): Promise<Holder | null>
  /** The state file to read, brought to `folder` where it lies elsewhere. It need not exist. */
  look(name: string, folder: string): Promise<string>
  /** Whether there is a state, be it one that never delivered anything. */
  exists(name: string): Promise<boolean>
  /** Names of all states, whether or not they are of syncs of the project. */
  list(): Promise<string[]>
  /** The target that a state was last bound to; null when none is noted. */
  target(name: string): Promise<string | null>
  /** Moves a state to a name that has none. Throws LockedError, CDP4034 (a run is unfinished). */
  move(from: string, to: string): Promise<void>
  /** Records, rejections and attempts of a sync as files, brought here where they lie elsewhere. */
  records(name: string): Promise<StatePaths>
  /** The record of a run, and its attempts, were written. Needs no hold: they are the run's own. */
  recorded(name: string, run: string): Promise<void>
}

/** A sync that is held. */
export interface Hold {
  /** Throws CDP4033 when the hold is over, or may be: then nothing may be sent and nothing written. Cheap. */
  readonly alive: () => void
  /** Brings the state here, with what an unfinished run left; gives its file, which may not exist. */
  fetch(): Promise<string>
  /** The outbox stands in the state, and nothing of it was sent. */
  outboxWritten(state: State, header: Header): Promise<void>
  /** Where intents and outcomes go besides the state file; null: nowhere. */
  journal(): JournalSink | null
  /** Everything in the state file is durable where others find it. `last`: nothing will be written to it any more. */
  store(state: State, last: boolean): Promise<void>
  /** Removes the state and its records: it is elsewhere now. */
  forget(): Promise<void>
  release(): Promise<void>
}
