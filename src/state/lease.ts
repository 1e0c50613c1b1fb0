/**
 * A lease on a sync whose state lies where others reach it: one note that is written only on condition. Its age is told by the
 * server's clock alone, and its holder stops by clocks of its own before anybody else may begin.
 */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as wait } from 'node:timers/promises'
import { CdpError, LockedError } from '../errors.ts'
import type { Holder } from '../lock.ts'
import type { Note } from './bucket.ts'
import type { HoldRequest } from './keeper.ts'

/** A lease lasts this long after it was written; CDP_SYNC_LEASE_MS shortens it in tests. */
const LEASE_MS = Number(process.env['CDP_SYNC_LEASE_MS'] ?? 60_000)
/** A request that was started under a lease is over this long after its end: twice the time-out of a request. */
const LONGEST_REQUEST_MS = Math.min(LEASE_MS, 60_000)
/** Times in HTTP are whole seconds. */
const CLOCK_MS = 1_000
/** How often a waiter looks again. */
const POLL_MS = 1_000

export interface LeaseNote {
  /** Rises with every holder. */
  readonly fence: number
  /** Null: free. */
  readonly holder: Pick<Holder, 'token' | 'host' | 'pid' | 'since' | 'run'> | null
  /** How long it lasts after it was written, in milliseconds. */
  readonly lasts: number
}

/** Where the note of one lease lies: an object of a bucket, a row of a table. */
export interface LeaseCell {
  /** For messages. */
  readonly where: string
  /** As long as this process has it open nobody else can write it: the lease does not end by the clock. */
  readonly exclusive?: boolean
  read(): Promise<Note<LeaseNote> | null>
  /** Writes only over the note of this version (null: only where none stands). The new version; null when somebody was faster. */
  replace(note: LeaseNote, version: string | null): Promise<string | null>
  /** Proves, after the first note was written, that the service keeps to conditions. Throws CDP4032. */
  prove(note: LeaseNote): Promise<void>
}

export interface Lease {
  readonly fence: number
  /** Throws CDP4033 when the lease is over or taken. */
  readonly alive: () => void
  release(): Promise<void>
}

/** Waits until the lease is free, has expired, or the request's time is up. Throws LockedError, CDP4032. */
export async function takeLease(cell: LeaseCell, request: HoldRequest): Promise<Lease> {
  const holder = {
    token: randomUUID(),
    host: hostname(),
    pid: process.pid,
    since: new Date(request.now()).toISOString(),
    run: request.run,
  }
  const deadline = performance.now() + request.timeout
  const tell = teller(request)
  for (;;) {
    request.signal.throwIfAborted()
    const found = await cell.read()
    if (found === null || isFree(found)) {
      const note = { fence: (found?.value.fence ?? 0) + 1, holder, lasts: LEASE_MS }
      const started = clocks()
      const etag = await cell.replace(note, found?.etag ?? null)
      if (etag !== null) {
        if (found === null) await cell.prove(note)
        return keepLease(cell, request.name, note, etag, started)
      }
      continue
    }
    if (performance.now() >= deadline) throw lockedError(cell, request.name, found)
    tell(found)
    await wait(Math.min(POLL_MS, Math.max(1, deadline - performance.now())))
  }
}

/** The holder of a lease; null when a run could take it. */
export async function leaseHolder(cell: LeaseCell): Promise<Holder | null> {
  const found = await cell.read()
  if (!found?.value.holder || isFree(found)) return null
  return { ...found.value.holder, machine: null, boot: null, namespace: null, start: null }
}

/** For readers: resolves when nobody holds it. Throws LockedError. */
export async function waitForLease(cell: LeaseCell, request: HoldRequest): Promise<void> {
  const deadline = performance.now() + request.timeout
  const tell = teller(request)
  for (;;) {
    request.signal.throwIfAborted()
    const found = await cell.read()
    if (found === null || isFree(found)) return
    if (performance.now() >= deadline) throw lockedError(cell, request.name, found)
    tell(found)
    await wait(Math.min(POLL_MS, Math.max(1, deadline - performance.now())))
  }
}

const takeoverAt = ({ value, writtenAt }: Note<LeaseNote>): number => writtenAt + value.lasts + LONGEST_REQUEST_MS + CLOCK_MS
const isFree = (note: Note<LeaseNote>): boolean => note.value.holder === null || note.readAt > takeoverAt(note)

/** The monotonic clock stands still while a machine is suspended, the other one may be set: both must agree that there is time. */
interface Clocks {
  readonly monotonic: number
  readonly wall: number
}
const clocks = (): Clocks => ({ monotonic: performance.now(), wall: Date.now() })

function keepLease(cell: LeaseCell, name: string, note: LeaseNote, first: string, started: Clocks): Lease {
  let etag = first
  // Counted from before the write began: the server's time of writing is later.
  let from = started
  let lost: CdpError | null = null
  let released = false
  let timer: NodeJS.Timeout | undefined
  let renewal: Promise<void> = Promise.resolve()
  const schedule = (): void => {
    timer = setTimeout(() => void (renewal = renew()), LEASE_MS / 4).unref()
  }
  // A renewal may have to wait for what this process writes itself.
  const over = (): boolean =>
    cell.exclusive !== true && (performance.now() - from.monotonic >= note.lasts || Date.now() - from.wall >= note.lasts)
  const renew = async (): Promise<void> => {
    const at = clocks()
    try {
      const next = await cell.replace(note, etag)
      if (next === null) lost = await raceError(cell, name)
      else {
        etag = next
        from = at
      }
    } catch {
      // The next one may get through; if none does, the lease ends by itself.
    }
    if (!released && lost === null) schedule()
  }
  schedule()
  return {
    fence: note.fence,
    alive() {
      if (lost) throw lost
      if (over()) throw goneError(name)
    },
    async release() {
      released = true
      clearTimeout(timer)
      await renewal
      // Whoever took it over has it; and the fence stays, or it would not rise.
      if (lost === null) await cell.replace({ ...note, holder: null }, etag).catch(() => null)
    },
  }
}

const describe = ({ holder }: LeaseNote): string =>
  holder ? `pid ${holder.pid} on ${holder.host}, since ${holder.since}${holder.run ? `, run ${holder.run}` : ''}` : 'nobody any more'

const AFTER_LOSS = 'This run sent nothing more and wrote nothing. What it had sent and stored is known; run again when the other is done.'

/** Another run has the sync, and may have moved its state: a write lost its race. */
export async function raceError(cell: LeaseCell, name: string): Promise<CdpError> {
  const now = await cell.read().catch(() => null)
  return new CdpError('CDP4033', `${name} was taken over by another run (${now ? describe(now.value) : 'its lease is gone'}).`, {
    where: name,
    hint: AFTER_LOSS,
  })
}

/** The lease ended before it could be renewed: this machine stood still, or the service did not answer. */
const goneError = (name: string): CdpError =>
  new CdpError('CDP4033', `The lease on ${name} ended before it could be renewed: another run may have the sync.`, {
    where: name,
    hint: AFTER_LOSS,
  })

/** Says once whom a run waits for, and for how long at most if that one is gone. */
function teller({ waiting }: HoldRequest): (found: Note<LeaseNote>) => void {
  let told = false
  return (found) => {
    if (!told) waiting?.(`waiting for another run (${describe(found.value)}); if that machine is gone, until ${endOf(found)}`)
    told = true
  }
}

const endOf = (found: Note<LeaseNote>): string => new Date(takeoverAt(found)).toISOString()

function lockedError(cell: LeaseCell, name: string, found: Note<LeaseNote>): LockedError {
  return new LockedError('CDP5000', `${name} is locked by another run (${describe(found.value)})`, {
    where: name,
    hint: `Its lease is ${cell.where}. If that machine is gone, a run may take over after ${endOf(found)}; --lock-timeout 3m waits here.`,
  })
}
