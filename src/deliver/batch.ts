/** Changes on their way into requests: what a connector sees of one, how large it is, and which must not travel together. */
import type { Change, Limits } from '../connector.ts'
import { decodeJson, type Fields, RawJson } from '../json.ts'
import type { OutboxRow } from '../outbox.ts'
import type { Op } from '../types.ts'

/** Why a row did not arrive, in the service's words or the engine's. */
export interface Cause {
  readonly code: string
  readonly message: string
}

/** A change while it is being delivered. */
export interface Task {
  readonly row: OutboxRow
  readonly change: Change
  /** Bytes of the change as JSON; 0 where requests have no limit in bytes. */
  readonly bytes: number
  /** Requests so far that failed or said `retry`. */
  tries: number
  /** Set once an earlier request may have applied it: then only `ok` and its like settle it, a refusal of the repeat proves nothing. */
  doubt: Cause | null
  /** What the service last said when it asked to come back. */
  asked: Cause | null
  /** It has an intent and no outcome after it. */
  open: boolean
  done: boolean
  /** Claims that earlier changes hold. */
  waits: number
}

const NOTHING: Fields = Object.freeze({})
const fieldsOf = (text: string | null): Fields => (text === null || text === '{}' ? NOTHING : (decodeJson(text) as Fields))

/**
 * Decodes on first use: most connectors read few members, and a million rows are decoded for nothing otherwise.
 * A class, because accessors of object literals cost 40 times as much (1.4 µs a row).
 */
class OutboxChange implements Change {
  readonly key: string
  readonly op: Op
  readonly matchJson: RawJson
  readonly fieldsJson: RawJson
  readonly changed: readonly string[] | null
  readonly remoteId: string | null
  readonly id: string
  readonly attempts: number
  readonly #row: OutboxRow
  #match: Fields | undefined
  #fields: Fields | undefined
  constructor(row: OutboxRow) {
    this.#row = row
    this.key = row.key
    this.op = row.op
    this.matchJson = new RawJson(row.match)
    this.fieldsJson = new RawJson(row.fields)
    this.changed = row.changed
    this.remoteId = row.remoteId
    this.id = row.id
    this.attempts = row.attempts
  }
  get match(): Fields {
    return (this.#match ??= fieldsOf(this.#row.match))
  }
  get fields(): Fields {
    return (this.#fields ??= fieldsOf(this.#row.fields))
  }
  get onCreate(): Fields {
    return fieldsOf(this.#row.onCreate)
  }
  get ifEmpty(): Fields {
    return fieldsOf(this.#row.ifEmpty)
  }
  get previousMatch(): Fields | null {
    return this.#row.previousMatch === null ? null : fieldsOf(this.#row.previousMatch)
  }
}

/** What a connector sees of an outbox row. */
export const toChange = (row: OutboxRow): Change => new OutboxChange(row)

export const toTask = (row: OutboxRow, sized: boolean): Task => ({
  row,
  change: toChange(row),
  bytes: sized ? changeBytes(row) : 0,
  tries: 0,
  doubt: null,
  asked: null,
  open: false,
  done: false,
  waits: 0,
})

/** The names, quotes and commas around the members of a change. */
const FRAME_BYTES = 150

/** Bytes of a change written as one JSON object with every member it has; never too few. */
export function changeBytes(row: OutboxRow): number {
  let bytes = FRAME_BYTES + row.op.length + Buffer.byteLength(JSON.stringify(row.key)) + Buffer.byteLength(JSON.stringify(row.id))
  for (const text of [row.match, row.fields, row.previousMatch, row.onCreate, row.ifEmpty])
    if (text !== null) bytes += Buffer.byteLength(text)
  return row.remoteId === null ? bytes : bytes + Buffer.byteLength(JSON.stringify(row.remoteId))
}

/** Takes the next request's worth off the front of `queues`, first queue first. A change larger than the limit travels alone. */
export function takeBatch(queues: readonly Queue[], limits: Limits): Task[] {
  const batch: Task[] = []
  let bytes = 2
  for (const queue of queues) {
    for (let task = queue.peek(); task; task = queue.peek()) {
      bytes += task.bytes + 1
      if (batch.length >= limits.rows || (batch.length > 0 && limits.bytes !== undefined && bytes > limits.bytes)) return batch
      batch.push(task)
      queue.drop()
    }
  }
  return batch
}

export interface Queue {
  push(task: Task): void
  peek(): Task | undefined
  drop(): void
  size(): number
  /** What is in it, in order. */
  rest(): readonly Task[]
}

/** First in, first out, without moving what remains at each step. */
export function createQueue(): Queue {
  let tasks: Task[] = []
  let head = 0
  return {
    push: (task) => void tasks.push(task),
    peek: () => tasks[head],
    size: () => tasks.length - head,
    rest: () => tasks.slice(head),
    drop() {
      head++
      if (head < 1_024 || head * 2 < tasks.length) return
      tasks = tasks.slice(head)
      head = 0
    },
  }
}

export interface Claims {
  /** Claims the key and every shared address of a change; false when it must wait for earlier ones. */
  take(task: Task): boolean
  /** Gives up the claims of a settled change; returns those that may go now. */
  release(task: Task): Task[]
}

/**
 * Keeps changes that share a key or an address apart and in order: each claim has one holder and a line behind it, and
 * a change goes when it holds all its claims. Claims are taken in the order of delivery, so no two can wait for each other.
 */
export function createClaims(): Claims {
  type Lines = Map<string, Task[] | null>
  const keys: Lines = new Map()
  const addresses: Lines = new Map()

  function claim(lines: Lines, name: string, task: Task): void {
    const line = lines.get(name)
    if (line === undefined) return void lines.set(name, null)
    if (line === null) lines.set(name, [task])
    else line.push(task)
    task.waits++
  }
  function free(lines: Lines, name: string, ready: Task[]): void {
    const line = lines.get(name)
    if (!line) return void lines.delete(name)
    const next = line.shift()
    if (line.length === 0) lines.set(name, null)
    if (next && --next.waits === 0) ready.push(next)
  }
  return {
    take(task) {
      claim(keys, task.row.key, task)
      for (const address of sharedOf(task)) claim(addresses, address, task)
      return task.waits === 0
    },
    release(task) {
      const ready: Task[] = []
      free(keys, task.row.key, ready)
      for (const address of sharedOf(task)) free(addresses, address, ready)
      return ready
    },
  }
}

/** A change that named one address twice would wait for itself. */
const sharedOf = ({ row }: Task): Iterable<string> => (row.shared.length > 1 ? new Set(row.shared) : row.shared)
