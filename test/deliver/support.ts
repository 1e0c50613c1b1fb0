/** A virtual clock, an outbox in memory that checks the protocol at every step, and a destination that does what a test says. */
import { setImmediate as turn } from 'node:timers/promises'
import type { Batch, Change, Destination, JobToken, Limits, ObjectSpec, Outcome, Replay } from '../../src/connector.ts'
import { deliver, type Delivery, type DeliverySettings } from '../../src/deliver.ts'
import type { JournalEntry, Outbox, OutboxRow, Wave } from '../../src/outbox.ts'
import type { Op } from '../../src/types.ts'

export class VirtualClock {
  time = 1_000_000
  #sleepers: { at: number; wake: () => void }[] = []
  /** Milliseconds that pass between two looks at the clock. */
  tick = 0
  now = (): number => (this.time += this.tick)
  sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const sleeper = { at: this.time + ms, wake: resolve }
      this.#sleepers.push(sleeper)
      signal?.addEventListener('abort', () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper)
        resolve()
      })
      if (signal?.aborted) resolve()
    })
  /** Lets time pass, from one sleeper to the next, until `work` ends. Throws when nothing could ever wake it. */
  async until<T>(work: Promise<T>): Promise<T> {
    const state = { ended: false }
    void work.then(
      () => (state.ended = true),
      () => (state.ended = true),
    )
    for (let stuck = 0; ;) {
      await turn()
      if (state.ended) return work
      const next = Math.min(...this.#sleepers.map(({ at }) => at))
      if (next === Infinity) {
        if (++stuck > 100) throw new Error('deadlock: nothing in flight and nobody sleeps')
        continue
      }
      stuck = 0
      this.time = Math.max(this.time, next)
      const due = this.#sleepers.filter(({ at }) => at <= this.time)
      this.#sleepers = this.#sleepers.filter(({ at }) => at > this.time)
      for (const { wake } of due) wake()
    }
  }
}

export const row = (n: number, more: Partial<OutboxRow> = {}): OutboxRow => ({
  n,
  op: 'upsert',
  key: `k${n}`,
  shared: [],
  match: JSON.stringify({ email: `${n}@x.example` }),
  previousMatch: null,
  fields: JSON.stringify({ plan: 'pro', n }),
  onCreate: null,
  ifEmpty: null,
  changed: null,
  remoteId: null,
  id: `id${n}`,
  attempts: 0,
  ...more,
})
export const rows = (count: number, more: Partial<OutboxRow> = {}): OutboxRow[] => Array.from({ length: count }, (_, i) => row(i + 1, more))

export interface TestWave extends Omit<Wave, 'rows'> {
  readonly list: readonly OutboxRow[]
}

/** Keeps what is durable apart from what is only recorded, and throws on every breach of the protocol. */
export class MemoryOutbox implements Outbox {
  readonly list: readonly TestWave[]
  readonly byNumber = new Map<number, OutboxRow>()
  /** Durable: numbers with an intent and no durable outcome after it. */
  readonly open = new Set<number>()
  /** The last entry for each number, recorded or durable; ranges taken apart. */
  readonly last = new Map<number, { result: Outcome['result']; remoteId?: string | undefined; code?: string | undefined }>()
  readonly entries: JournalEntry[] = []
  readonly tokens: { token: string; numbers: readonly number[] }[] = []
  readonly intents: number[][] = []
  readonly steps: string[] = []
  readonly intended = new Set<number>()
  /** Most numbers that a kill would have repeated: open, and no job's token to resume. */
  mostOpen = 0
  mostRead = 0
  flushes = 0
  /** What each durable call waits for. */
  latency: () => Promise<void> = async () => {}
  fail: { intend?: number; token?: boolean; flush?: boolean; read?: boolean } = {}
  #pending: number[] = []
  #busy = false

  constructor(list: readonly TestWave[]) {
    this.list = list
    for (const wave of list) for (const row of wave.list) this.byNumber.set(row.n, row)
  }
  async #alone<T>(work: () => T): Promise<T> {
    if (this.#busy) throw new Error('protocol: two calls of the outbox at once')
    this.#busy = true
    await this.latency()
    this.#busy = false
    return work()
  }
  waves = async (): Promise<readonly Wave[]> => this.list.map(({ list, ...wave }) => ({ ...wave, rows: list.length }))
  read = (wave: number, after: number, limit: number): Promise<readonly OutboxRow[]> =>
    this.#alone(() => {
      if (this.fail.read) throw new Error('read failed')
      this.steps.push(`read ${wave}`)
      const found = this.list.find((one) => one.wave === wave)?.list.filter((row) => row.n > after) ?? []
      this.mostRead = Math.max(this.mostRead, limit)
      return found.slice(0, limit)
    })
  intend = (numbers: readonly number[]): Promise<void> =>
    this.#alone(() => {
      if (this.fail.intend !== undefined && this.intents.length >= this.fail.intend) throw new Error('disk full')
      this.#makeDurable()
      for (const n of numbers) {
        if (this.open.has(n)) throw new Error(`protocol: ${n} is intended while an intent of it is open`)
        if (this.last.get(n)?.result === 'ok') throw new Error(`protocol: ${n} is intended after ok`)
        this.open.add(n)
        this.intended.add(n)
      }
      this.intents.push([...numbers])
      this.steps.push('intend')
      const resumable = new Set(this.tokens.flatMap(({ numbers }) => numbers))
      this.mostOpen = Math.max(this.mostOpen, [...this.open].filter((n) => !resumable.has(n)).length)
    })
  record(entry: JournalEntry): void {
    this.entries.push(entry)
    const [first, last] = 'n' in entry ? [entry.n, entry.n] : [entry.first, entry.last]
    for (let n = first; n <= last; n++) {
      if (!this.intended.has(n)) throw new Error(`protocol: outcome ${entry.result} for ${n}, which was never intended`)
      this.last.set(n, entry)
      this.#pending.push(n)
    }
  }
  token = (token: string, numbers: readonly number[]): Promise<void> =>
    this.#alone(() => {
      if (this.fail.token) throw new Error('disk full')
      this.#makeDurable()
      this.tokens.push({ token, numbers })
      this.steps.push(`token ${token}`)
    })
  flush = (): Promise<void> =>
    this.#alone(() => {
      if (this.fail.flush) throw new Error('disk full')
      this.flushes++
      this.#makeDurable()
    })
  #makeDurable(): void {
    for (const n of this.#pending) this.open.delete(n)
    this.#pending = []
  }
}

export type Said = Outcome | JobToken
export type Behaviour = (batch: Batch, call: number, at: Bench) => AsyncIterable<Said>

export interface Options {
  readonly rows?: readonly OutboxRow[]
  readonly waves?: readonly TestWave[]
  readonly limits?: Partial<Limits>
  readonly replay?: Replay
  readonly spec?: Partial<ObjectSpec>
  /** Milliseconds a request takes. */
  readonly takes?: number
  readonly settings?: Partial<DeliverySettings>
  readonly resume?: (token: string, batch: Batch, at: Bench) => AsyncIterable<Outcome>
}

/** One delivery with everything around it. */
export class Bench {
  readonly clock = new VirtualClock()
  readonly outbox: MemoryOutbox
  readonly limits: Limits
  readonly interrupt = new AbortController()
  readonly io = new AbortController()
  readonly notes: string[] = []
  readonly progress: { settled: number; total: number }[] = []
  /** The changes of each call of `write`. */
  readonly sent: Change[][] = []
  readonly sentAt: number[] = []
  readonly breaches: string[] = []
  readonly pauses: number[] = []
  flying = 0
  mostFlying = 0
  upsertsEnded = 0
  beforeRemovals = 0
  readonly #options: Options
  readonly #behaviour: Behaviour
  readonly #claims = new Map<string, number>()
  readonly #latest = new Map<string, number>()
  #pausedUntil = 0

  constructor(behaviour: Behaviour, options: Options = {}) {
    this.#behaviour = behaviour
    this.#options = options
    this.limits = { rows: 10, concurrency: 2, ...options.limits }
    this.outbox = new MemoryOutbox(
      options.waves ?? [{ wave: 1, op: options.rows?.[0]?.op ?? 'upsert', removes: false, list: options.rows ?? [] }],
    )
  }

  run(): Promise<Delivery> {
    return this.clock.until(deliver(this.settings()))
  }

  settings(): DeliverySettings {
    const replay = this.#options.replay ?? 'harmless'
    const replays = Object.fromEntries((['upsert', 'update', 'insert', 'append', 'delete', 'archive'] as Op[]).map((op) => [op, replay]))
    let state = 42
    return {
      sync: 'contacts',
      run: 'r1',
      object: 'contact',
      destination: this.#destination(),
      spec: { description: '', modes: ['upsert'], address: 'key', match: {}, confirms: 'row', replay: replays, ...this.#options.spec },
      limits: () => this.limits,
      outbox: this.outbox,
      limiter: {
        acquire: async (signal) => {
          while (this.#pausedUntil > this.clock.now() && !signal.aborted)
            await this.clock.sleep(this.#pausedUntil - this.clock.now(), signal)
          if (signal.aborted) throw signal.reason
          return () => {}
        },
        pause: (ms) => {
          this.pauses.push(ms)
          this.#pausedUntil = Math.max(this.#pausedUntil, this.clock.now() + ms)
        },
      },
      clock: this.clock,
      random: () => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647,
      signal: this.interrupt.signal,
      stop: () => this.io.abort(),
      report: (progress) => void this.progress.push(progress),
      note: (_, message) => void this.notes.push(message),
      upsertsEnded: () => void this.upsertsEnded++,
      beforeRemovals: async () => void this.beforeRemovals++,
      ...this.#options.settings,
    }
  }

  #destination(): Destination {
    const resume = this.#options.resume
    return {
      check: async () => ({ id: 'a', name: 'A' }),
      write: (batch) => this.#write(batch),
      ...(resume ? { resume: (token: string, batch: Batch) => resume(token, batch, this) } : {}),
    }
  }

  async *#write(batch: Batch): AsyncGenerator<Said> {
    const sent = batch.changes.map((change) => this.#rowOf(change))
    const claims = sent.flatMap((row) => [`key ${row.key}`, ...new Set(row.shared.map((address) => `address ${address}`))])
    const call = this.sent.push([...batch.changes])
    this.sentAt.push(this.clock.now())
    this.outbox.steps.push('write')
    this.flying++
    this.mostFlying = Math.max(this.mostFlying, this.flying)
    if (batch.changes.length === 0) this.breaches.push('an empty request')
    if (batch.changes.length > this.limits.rows) this.breaches.push('more rows than the limit')
    if (this.flying > this.limits.concurrency) this.breaches.push('more requests in flight than the limit')
    for (const { n } of sent) if (!this.outbox.open.has(n)) this.breaches.push(`${n} is sent without an open intent`)
    for (const claim of claims) {
      if (this.#claims.has(claim)) this.breaches.push(`${claim} is in flight twice`)
      this.#claims.set(claim, 1)
    }
    for (const row of sent) {
      for (const claim of [`key ${row.key}`, ...row.shared.map((address) => `address ${address}`)]) {
        if ((this.#latest.get(claim) ?? 0) > row.n) this.breaches.push(`${row.n} is sent after a later change of ${claim}`)
        this.#latest.set(claim, row.n)
      }
    }
    try {
      await this.clock.sleep(this.#options.takes ?? 100)
      yield* this.#behaviour(batch, call, this)
    } finally {
      this.flying--
      for (const claim of claims) this.#claims.delete(claim)
    }
  }

  #rowOf(change: Change): OutboxRow {
    const found = [...this.outbox.byNumber.values()].find((row) => row.id === change.id)
    if (!found) throw new Error(`no row with id ${change.id}`)
    return found
  }

  /** Results by number, as the journal ends. */
  results(): Record<number, string> {
    return Object.fromEntries([...this.outbox.last].map(([n, { result }]) => [n, result]))
  }
}

export const ok = (change: Change, remoteId?: string): Outcome => ({ key: change.key, result: 'ok', ...(remoteId ? { remoteId } : {}) })
export async function* allOk(batch: Batch): AsyncGenerator<Said> {
  for (const change of batch.changes) yield ok(change)
}
export const sum = (counts: Delivery['counts']): number => Object.values(counts).reduce((total, n) => total + n, 0)
