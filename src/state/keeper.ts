/** Where a sync's state lives between runs: what the engine asks of a folder on this machine and of a bucket alike. */
import type { Project, Sync } from '../config/types.ts'
import type { Holder } from '../lock.ts'
import type { StatePaths } from '../records.ts'
import type { Header } from './header.ts'
import type { State } from './local.ts'
import type { JournalSink } from './outbox.ts'
import type { Narrow } from './warehouse/narrow.ts'

/** What a keeper needs to know of a project: with `state` in a warehouse also which one keeps which sync. */
export type Place = Pick<Project, 'root' | 'name' | 'state' | 'environment' | 'warehouses'> & {
  readonly syncs: readonly Pick<Sync, 'name' | 'warehouse' | 'enabled' | 'environments'>[]
}

/** Who wants a sync, and for how long it waits. */
export interface HoldRequest {
  readonly name: string
  /** Milliseconds to wait for another holder. */
  readonly timeout: number
  readonly now: () => number
  readonly signal: AbortSignal
  readonly run: string | null
  /** Told once, in words, when a lease is waited for: that may take minutes. */
  readonly waiting?: (message: string) => void
}

/** What a run asked of the database that keeps its state. */
export interface Cost {
  statements: number
  /** How long it was at work on them. */
  seconds: number
  /** Rows and bytes that left it. */
  rows: number
  bytes: number
}

/** The whole state as a file. */
export const whole = (file: string): Fetched => ({ file, narrow: null, close: () => Promise.resolve() })

/** A state brought here. */
export interface Fetched {
  /** The state file; it need not exist. */
  readonly file: string
  /**
   * Compares a model with the snapshot where that lies, and brings what may differ into the file. Null: the file holds the
   * whole snapshot and models are compared here.
   */
  readonly narrow: Narrow | null
  readonly close: () => Promise<void>
}

/** `part`: of a snapshot that is compared elsewhere only what an unfinished run touches. */
export type Extent = 'whole' | 'part'

/** Keeps the states of one project and environment. */
export interface Keeper {
  /** Takes a sync: until the release nobody else writes its state. Throws LockedError. */
  hold(request: HoldRequest): Promise<Hold>
  /** For readers: resolves when nobody holds the sync. Throws LockedError. */
  waitFree(request: HoldRequest): Promise<void>
  /** Who holds it now, for `status`. */
  holder(name: string): Promise<Holder | null>
  /** The state to read, brought to `folder` where it lies elsewhere. */
  look(name: string, folder: string, extent: Extent): Promise<Fetched>
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
  /** Brings the state here, with what an unfinished run left. */
  fetch(extent: Extent): Promise<Fetched>
  /** What was asked of the database that keeps the state until now; null where none does. */
  readonly cost: () => Cost | null
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
