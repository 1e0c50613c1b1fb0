/** Delivers one wave: reads ahead, forms requests, makes their intents durable, and keeps as many in flight as may be. */
import type { Limits } from '../connector.ts'
import type { Session } from '../deliver.ts'
import type { Wave } from '../outbox.ts'
import { createClaims, createQueue, takeBatch, type Task, toTask } from './batch.ts'
import { stateError } from './errors.ts'
import { deliverRequest, giveBack, type Lane, type Later } from './request.ts'

/** Rows that one intent may cover beyond its first batch, and rows of one read: they bound memory where requests are large. */
const WINDOW_ROWS = 10_000
/** Small requests are not worth a read each. */
const READ_LEAST = 1_000

/** Sends every change of a wave that may go. Resolves when each has an outcome, or the delivery was cut and nothing is in flight. */
export async function deliverWave(session: Session, wave: Wave): Promise<void> {
  await new WaveDelivery(session, wave).run()
}

/** A class: the state of a wave is one thing that many small steps change. */
class WaveDelivery {
  readonly #session: Session
  readonly #wave: Wave
  readonly #limits: Limits
  readonly #lane: Lane
  /** Rows that one intent covers at most. */
  readonly #window: number
  readonly #claims = createClaims()

  /** Read and free to go. `early`: retries that are due, and changes that waited for others. */
  readonly #fresh = createQueue()
  readonly #early = createQueue()
  #later: Later[] = []
  /** Formed and, where repeats are harmless, intended. */
  #ready: (readonly Task[])[] = []
  readonly #flying = new Set<Promise<void>>()
  /** Changes read and not settled. */
  #live = 0
  #after = 0
  #exhausted = false
  #reading = false
  #changed: Promise<void> = Promise.resolve()
  #notify: () => void = () => {}

  constructor(session: Session, wave: Wave) {
    const limits = session.settings.limits(wave.op)
    const rows = Math.max(1, limits.rows)
    const concurrency = Math.max(1, limits.concurrency)
    this.#session = session
    this.#wave = wave
    this.#limits = { ...limits, rows, concurrency }
    this.#window = Math.min(2 * concurrency * rows, Math.max(rows, WINDOW_ROWS))
    this.#lane = {
      session,
      wave,
      replays: (session.settings.spec.replay[wave.op] ?? 'none') !== 'none',
      intend: (tasks) => this.#intend(tasks),
      settle: (task, outcome, journalled) => {
        session.tally.final(task, outcome, journalled)
        this.#live--
        // A vendor's job that may still run: what shares a key or address with it can't go in this run.
        if (journalled === false) return
        for (const free of this.#claims.release(task)) this.#early.push(free)
      },
      again: (later) => void this.#later.push(later),
    }
  }

  async run(): Promise<void> {
    const { ending } = this.#session
    const wake = (): void => this.#notify()
    ending.addEventListener('abort', wake)
    while (!ending.aborted) {
      // One look at the clock a turn: what was not due when it was looked for must be in the future when it is waited for.
      const now = this.#session.settings.clock.now()
      this.#renew()
      this.#launch(now)
      this.#prefetch()
      if (this.#ready.length > 0) await this.#wait(now)
      else {
        const batches = this.#form(now)
        if (batches.length > 0) await this.#prepare(batches)
        else if (!this.#readable() && !this.#reading && this.#flying.size === 0 && this.#later.length === 0) break
        else await this.#wait(now)
      }
    }
    for (const tasks of this.#ready) giveBack(this.#lane, tasks)
    await Promise.all(this.#flying)
    ending.removeEventListener('abort', wake)
    // What was to be sent again and could not be: in doubt it is unknown, else it waits.
    for (const { tasks } of this.#later) giveBack(this.#lane, tasks)
    giveBack(this.#lane, this.#early.rest())
  }

  /** Starts requests as far as concurrency and the destination's health allow. */
  #launch(now: number): void {
    const { width, from } = this.#session.health.gate(this.#limits.concurrency)
    if (now < from) return
    while (this.#ready.length > 0 && this.#flying.size < width) {
      const flight = deliverRequest(this.#lane, this.#ready.shift() as readonly Task[]).finally(() => {
        this.#flying.delete(flight)
        this.#notify()
      })
      this.#flying.add(flight)
    }
  }

  /** Reads the next changes beside the requests in flight, so that the next intent finds them there. */
  #prefetch(): void {
    if (this.#reading || !this.#readable() || this.#fresh.size() >= this.#window) return
    this.#reading = true
    void this.#read().finally(() => {
      this.#reading = false
      this.#notify()
    })
  }

  /** There are more changes to read, and memory has room for them. */
  #readable(): boolean {
    return !this.#exhausted && this.#live < this.#limits.concurrency * this.#limits.rows + 2 * Math.max(this.#window, READ_LEAST)
  }

  async #read(): Promise<void> {
    const limit = Math.max(this.#window, READ_LEAST)
    try {
      const rows = await this.#session.store(() => this.#session.settings.outbox.read(this.#wave.wave, this.#after, limit))
      // Only an empty answer is the end: what must wait is left out, so a short one is not.
      this.#exhausted = rows.length === 0
      this.#live += rows.length
      for (const row of rows) {
        const task = toTask(row, this.#limits.bytes !== undefined)
        if (this.#claims.take(task)) this.#fresh.push(task)
        this.#after = row.n
      }
    } catch (error) {
      this.#session.cut('bug', stateError(error))
    }
  }

  /** The next requests, at most what one intent may cover. */
  #form(now: number): (readonly Task[])[] {
    const most = 2 * this.#limits.concurrency
    const batches: (readonly Task[])[] = []
    let rows = 0
    for (const later of this.#due(now, most)) {
      if (later.whole) {
        batches.push(later.tasks)
        rows += later.tasks.length
      } else for (const task of later.tasks) this.#early.push(task)
    }
    while (batches.length < most && rows < this.#window) {
      // A fuller request comes with the read that is under way.
      const more = this.#reading || this.#readable()
      if (more && this.#early.size() + this.#fresh.size() < this.#limits.rows) break
      const batch = takeBatch([this.#early, this.#fresh], this.#limits)
      if (batch.length === 0) break
      if (!this.#affords(batch)) continue
      batches.push(batch)
      rows += batch.length
    }
    return batches
  }

  /** Takes at most `most` repeats that are due. */
  #due(now: number, most: number): Later[] {
    const due: Later[] = []
    this.#later = this.#later.filter((later) => !(later.at <= now && due.length < most && due.push(later)))
    return due
  }

  /** A request of nothing but repeats needs room in the budget; without it they end as they are. */
  #affords(batch: readonly Task[]): boolean {
    if (batch.some((task) => task.asked === null) || this.#session.budget.retry()) return true
    for (const task of batch) if (task.asked) this.#lane.settle(task, { result: 'retry', ...task.asked })
    this.#session.tally.close()
    return false
  }

  /** Makes the intents of several batches durable at once: only when all intended before have been taken, so that a kill repeats few. */
  async #prepare(batches: readonly (readonly Task[])[]): Promise<void> {
    if (!this.#lane.replays || (await this.#intend(batches.flat()))) this.#ready.push(...batches)
    else for (const tasks of batches) giveBack(this.#lane, tasks)
  }

  async #intend(tasks: readonly Task[]): Promise<boolean> {
    const { store, settings, cut } = this.#session
    try {
      await store(() => settings.outbox.intend(tasks.map((task) => task.row.n)))
    } catch (error) {
      cut('bug', stateError(error))
      return false
    }
    for (const task of tasks) task.open = true
    return true
  }

  /** Waits until something ends, or a repeat or probe falls due. What is due already waits for a turn, not for time. */
  async #wait(now: number): Promise<void> {
    const { clock } = this.#session.settings
    const { from } = this.#session.health.gate(this.#limits.concurrency)
    let next = from > now ? from : Infinity
    for (const { at } of this.#later) if (at > now && at < next) next = at
    if (next === Infinity) return this.#changed
    const timer = new AbortController()
    await Promise.race([this.#changed, clock.sleep(next - now, timer.signal).catch(() => {})])
    timer.abort()
  }

  #renew(): void {
    this.#changed = new Promise((resolve) => (this.#notify = resolve))
  }
}
