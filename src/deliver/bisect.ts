/** Finds the rows that make a service refuse a request, or that it is not the rows: one bad row of 100 in 15 requests. */
import type { Cause, Task } from './batch.ts'

/** Rows that one request carried when it was refused, with what the service said. */
export interface Refusal {
  readonly tasks: readonly Task[]
  readonly cause: Cause
}

export interface Bisection {
  /** Sends these rows as one request. Null: each is dealt with (or, once stopped, given back); else the refusal. */
  readonly send: (tasks: readonly Task[]) => Promise<Refusal | null>
  /** A row that was refused by itself. */
  readonly reject: (task: Task, cause: Cause) => void
  readonly stopped: () => boolean
  /** 0 ≤ x < 1. Chooses the rows that are asked alone: the same unlucky choice in every run would stop a sync for good. */
  readonly random: () => number
}

/** Fewer rows than this can all be bad by themselves: they are always taken apart to the last. */
const SMALL = 4
/** Levels running at which both halves fail like the whole before single rows are asked. */
const LEVELS = 2

export interface Bisected {
  /** The request as such is refused: it is not the rows. */
  readonly asSuch: boolean
  /** Rows that were not dealt with: because of that, or because the delivery stopped. */
  readonly rest: readonly Task[]
}

/**
 * Splits a refused request until each bad row stands alone. The request as such is refused (a wrong field or object)
 * when both halves failed with the same code and message twice running, and three rows by themselves did too. Three
 * rows, because a few equal faults spread over a batch look the same down to the quarters, and a sync that stops for
 * them would stop in every run.
 */
export async function bisect(whole: Refusal, io: Bisection): Promise<Bisected> {
  let suspect = whole.tasks.length >= SMALL
  const rest = new Set(whole.tasks)
  const asSuch = await split(whole, 0)
  return { asSuch, rest: [...rest] }

  async function send(tasks: readonly Task[]): Promise<Refusal | null> {
    const refusal = await io.send(tasks)
    const refused = new Set(refusal?.tasks)
    for (const task of tasks) if (!refused.has(task)) rest.delete(task)
    return refusal
  }

  async function split({ tasks, cause }: Refusal, levels: number): Promise<boolean> {
    if (io.stopped() && tasks.length > 1) return false
    if (tasks.length === 1) {
      io.reject(tasks[0] as Task, cause)
      rest.delete(tasks[0] as Task)
      return false
    }
    const middle = tasks.length >>> 1
    const left = await send(tasks.slice(0, middle))
    const right = await send(tasks.slice(middle))
    const alike = suspect && left !== null && right !== null && same(left.cause, cause) && same(right.cause, cause)
    if (alike && levels + 1 === LEVELS) return ask([left, right], cause)
    for (const half of [left, right]) if (half && (await split(half, alike ? levels + 1 : 0))) return true
    return false
  }

  /** Sends three rows of two refused halves by themselves; goes on with the rest unless all are refused alike. */
  async function ask(halves: readonly Refusal[], cause: Cause): Promise<boolean> {
    const alone: Refusal[] = []
    const asked = new Set<Task>()
    for (const { tasks } of [...halves, ...halves.slice(1)]) {
      const others = tasks.filter((task) => !asked.has(task))
      const task = others[Math.floor(io.random() * others.length)]
      if (!task) continue
      asked.add(task)
      const refusal = tasks.length === 1 ? { tasks, cause } : await send([task])
      if (refusal) alone.push(refusal)
      if (!refusal || !same(refusal.cause, cause)) {
        suspect = false
        break
      }
    }
    if (io.stopped()) return false
    if (suspect) return true
    for (const refusal of alone) await split(refusal, 0)
    for (const half of halves) {
      const others = half.tasks.filter((task) => !asked.has(task))
      const refusal = others.length === half.tasks.length ? half : others.length > 0 ? await send(others) : null
      if (refusal) await split(refusal, 0)
    }
    return false
  }
}

const same = (a: Cause, b: Cause): boolean => a.code === b.code && a.message === b.message
