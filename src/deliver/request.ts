/** One request from its turn to its end: sends it, and decides what each answer, silence or error means for its rows. */
import type { Batch, Outcome } from '../connector.ts'
import { step } from '../crash.ts'
import type { Session } from '../deliver.ts'
import type { Wave } from '../outbox.ts'
import { type Cause, type Task } from './batch.ts'
import { bisect, type Refusal } from './bisect.ts'
import { connectorBug, destinationDown, quotaUsedUp, refusedRequest, stateError, tooManyRejected } from './errors.ts'
import { backoff, MAX_TRIES, MAX_WAIT } from './retry.ts'
import { ABORTED, type Answer, collect, createAnswer, type Failure, failureOf, finalOf } from './send.ts'
import type { Final } from './tally.ts'

/** Changes to be sent again at a time; `whole`: as the request they were. */
export interface Later {
  readonly at: number
  readonly tasks: readonly Task[]
  readonly whole: boolean
}

/** What a request needs of the wave it belongs to. */
export interface Lane {
  readonly session: Session
  readonly wave: Wave
  /** Repeats are harmless or deduplicated. */
  readonly replays: boolean
  /** Makes the intent to send these durable. False when the state refused: then nothing more may be sent. */
  readonly intend: (tasks: readonly Task[]) => Promise<boolean>
  /** Gives a change its final outcome. `journalled: false` leaves its intent without one. */
  readonly settle: (task: Task, outcome: Final, journalled?: boolean) => void
  readonly again: (later: Later) => void
}

/** Outcomes of a row of which something may have been applied. */
const APPLIED: ReadonlySet<string> = new Set<Outcome['result']>(['ok', 'accepted', 'unknown'])

const UNNAMED: Cause = { code: 'unnamed', message: 'The destination did not say what became of this row.' }

/** Sends changes as one request, takes it apart when it is refused, and settles every row or hands it back. Never rejects. */
export async function deliverRequest(lane: Lane, tasks: readonly Task[]): Promise<void> {
  const { session } = lane
  try {
    const refusal = await attempt(lane, tasks)
    if (refusal === null) return
    const { asSuch, rest } = await bisect(refusal, {
      send: (part) => attempt(lane, part),
      reject: (task, cause) => lane.settle(task, { result: 'rejected', ...cause }),
      stopped: () => session.ending.aborted,
      random: session.settings.random,
    })
    if (asSuch) {
      session.cut('refused', refusedRequest(refusal.cause))
      for (const task of rest) session.tally.waits(task, refusal.cause)
    }
    giveBack(lane, rest)
    judge(session)
  } catch (error) {
    session.cut('bug', stateError(error))
  } finally {
    session.tally.close()
    session.settings.report({ settled: session.tally.settled(), total: session.total })
  }
}

/** Intended and not sent, or proven not applied, when the delivery ends: the journal must not leave them in doubt. */
export function giveBack(lane: Lane, tasks: readonly Task[]): void {
  for (const task of tasks) {
    if (task.doubt) lane.settle(task, { result: 'unknown', ...task.doubt })
    else if (task.open) lane.session.tally.interim(task, null)
  }
  lane.session.tally.close()
}

/** One call of the connector. Null: each row is settled, will be sent again or is given back; else the service refused them. */
async function attempt(lane: Lane, tasks: readonly Task[]): Promise<Refusal | null> {
  const { settings, budget, ending } = lane.session
  const release = await settings.limiter.acquire(ending).catch((error: unknown) => {
    if (!ending.aborted) noTurn(lane.session, error)
    return null
  })
  try {
    const intended = release !== null && !ending.aborted && (tasks.every((task) => task.open) || (await lane.intend(tasks)))
    if (!intended || ending.aborted || !stillOurs(lane.session)) {
      giveBack(lane, tasks)
      return null
    }
    budget.sent()
    const startedAt = settings.clock.now()
    step('sending')
    const answer = await exchange(lane, tasks)
    step('answered')
    return gather(lane, tasks, answer, startedAt)
  } finally {
    release?.()
  }
}

/** Another runner may have the sync by now: then it alone sends. */
function stillOurs({ settings, cut }: Session): boolean {
  try {
    settings.alive?.()
    return true
  } catch (error) {
    cut('bug', stateError(error))
    return false
  }
}

/** The limiter gives no turn: a window of the account is used up for longer than a run waits, or its shared file failed. */
function noTurn(session: Session, error: unknown): void {
  const failure = failureOf(error)
  if (failure.kind !== 'limited') return session.cut('bug', stateError(error))
  const ms = failure.afterMs ?? MAX_WAIT
  session.cut('quota', quotaUsedUp(ms), session.settings.clock.now() + ms)
}

/** Calls the connector. A job that has begun and could not be asked about is asked about again, not begun again. */
async function exchange({ session, wave }: Lane, tasks: readonly Task[]): Promise<Answer> {
  const { settings, abandons, ending } = session
  const { sync, run, object, destination, outbox, clock } = settings
  const batch: Batch = { sync, run, object, op: wave.op, changes: tasks.map((task) => task.change) }
  const answer = createAnswer(tasks)
  async function keep(token: string): Promise<void> {
    const numbers = tasks.map((task) => task.row.n)
    try {
      await session.store(() => outbox.token(token, numbers))
    } catch (error) {
      session.cut('bug', stateError(error))
      throw error
    }
  }
  await collect(answer, tasks, () => destination.write(batch), keep, abandons)
  const resume = destination.resume?.bind(destination)
  if (!resume) return answer
  for (let tries = 1; answer.token !== null && answer.failure && tries < MAX_TRIES; tries++) {
    const failure = failureOf(answer.failure.thrown)
    if (failure.kind !== 'limited' && failure.kind !== 'not_sent' && failure.kind !== 'unknown') break
    const wait = ('afterMs' in failure ? failure.afterMs : undefined) ?? backoff(tries, settings.random)
    if (wait > MAX_WAIT) break
    await clock.sleep(wait, ending).catch(() => {})
    if (ending.aborted) break
    const { token } = answer
    answer.failure = null
    await collect(answer, tasks, () => resume(token, batch), keep, abandons)
  }
  return answer
}

/** Settles what was answered row by row, then what the request came to for the rows it did not name. */
function gather(lane: Lane, tasks: readonly Task[], answer: Answer, startedAt: number): Refusal | null {
  const { settings, tally, health, ending } = lane.session
  const accepts = settings.spec.confirms === 'accepted'
  const again: Task[] = []
  const unnamed: Task[] = []
  // An error speaks for every row that was not named, but for those before one that an earlier request of this write may have
  // applied: they may have been in it. Rows of which nothing was applied prove no such request: most are refused, or found
  // absent or existing, before anything is written.
  const passed = answer.failure ? answer.outcomes.findLastIndex((outcome) => outcome && APPLIED.has(outcome.result)) : -1
  const repeats = answer.failure !== null && answer.token === null && lane.replays
  let afterMs = 0
  // Something came of the request: not only rows to be sent again.
  let answered = false
  for (let i = 0; i < tasks.length; i++) {
    const task = tasks[i] as Task
    const outcome = answer.outcomes[i]
    if (outcome === undefined) {
      if (i > passed) unnamed.push(task)
      else unknown(lane, task, UNNAMED, answer.token)
      continue
    }
    const final = finalOf(outcome, task, lane.wave.removes, accepts)
    if (outcome.result === 'unknown' && final.result === 'unknown' && repeats) {
      // Perhaps half done when the next request failed: it is sent again with the others, and stays in doubt.
      task.doubt = { code: final.code, message: final.message }
      unnamed.push(task)
      continue
    }
    answered ||= outcome.result !== 'retry'
    if (outcome.result === 'retry' && final.result === 'retry' && mayRepeat(task, outcome.afterMs)) {
      task.tries++
      task.asked = final
      tally.interim(task, final)
      again.push(task)
      afterMs = Math.max(afterMs, outcome.afterMs ?? 0)
    } else lane.settle(task, final)
  }
  if (answer.foreign > 0)
    settings.note('warn', `The destination named ${answer.foreign} keys that were not in the request; they are ignored.`)
  if (again.length > 0) repeat(lane, again, false, afterMs || undefined)
  let refusal: Refusal | null = null
  if (answer.failure) refusal = fail(lane, unnamed, answer.token, failureOf(answer.failure.thrown), startedAt)
  else {
    const cause = answer.abandoned ? ABORTED : UNNAMED
    for (const task of unnamed) unknown(lane, task, cause, answer.abandoned ? answer.token : null)
    answered ||= unnamed.length > 0
    if (!answered && !ending.aborted && health.failed(startedAt)) lane.session.cut('budget', destinationDown())
  }
  if (answered) health.answered()
  tally.close()
  judge(lane.session)
  return refusal
}

/** The request failed: what that means for the rows it did not name. */
function fail(lane: Lane, unnamed: readonly Task[], token: string | null, failure: Failure, startedAt: number): Refusal | null {
  const { session } = lane
  const { cause } = failure
  if (failure.kind === 'auth') session.cut('auth', failure.error)
  if (failure.kind === 'bug') session.cut('bug', connectorBug(failure.error))
  if (failure.kind === 'limited') limited(lane, unnamed, token, failure.afterMs, cause, startedAt)
  // Once a job has begun, no error of a later request says that nothing was applied.
  else if (token !== null || failure.kind === 'bug') for (const task of unnamed) unknown(lane, task, cause, token)
  else if (failure.kind === 'auth') for (const task of unnamed) lane.settle(task, { result: 'retry', ...cause })
  else if (failure.kind === 'not_sent') unanswered(lane, unnamed, false, undefined, cause, startedAt)
  else if (failure.kind === 'unknown') unanswered(lane, unnamed, true, failure.afterMs, cause, startedAt)
  else {
    session.health.answered()
    // Nothing was applied. Without harmless repeats the halves get intents of their own.
    if (!lane.replays) for (const task of unnamed) session.tally.interim(task, cause)
    if (unnamed.length > 0) return { tasks: unnamed, cause }
  }
  return null
}

/** No connection, or no answer (`sent`): repeated as the request it was, under the budget, where that does no harm. */
function unanswered(
  lane: Lane,
  unnamed: readonly Task[],
  sent: boolean,
  afterMs: number | undefined,
  cause: Cause,
  startedAt: number,
): void {
  const { session } = lane
  if (session.health.failed(startedAt)) session.cut('budget', destinationDown())
  if (afterMs !== undefined) {
    const until = session.settings.clock.now() + afterMs
    if (afterMs > MAX_WAIT) session.cut('quota', quotaUsedUp(afterMs), until)
    else pause(session, afterMs, true)
  }
  if (sent) for (const task of unnamed) task.doubt = cause
  const able = unnamed.filter((task) => (lane.replays || !sent) && mayRepeat(task, afterMs))
  const repeats = able.length > 0 && !session.ending.aborted && session.budget.retry()
  const repeated = new Set(repeats ? able : [])
  for (const task of unnamed) {
    if (!repeated.has(task)) {
      lane.settle(task, { result: sent ? 'unknown' : 'retry', ...cause })
      continue
    }
    task.tries++
    task.asked = cause
    session.tally.interim(task, cause)
  }
  if (repeats) repeat(lane, able, true, afterMs)
}

/** A pause the service asks for: costs neither budget nor tries. */
function limited(
  lane: Lane,
  unnamed: readonly Task[],
  token: string | null,
  afterMs: number | undefined,
  cause: Cause,
  startedAt: number,
): void {
  const { session } = lane
  const { wait, until, news } = session.health.limited(startedAt, afterMs)
  if (wait === null) session.cut('quota', quotaUsedUp(until - session.settings.clock.now()), until)
  else pause(session, wait, news)
  for (const task of unnamed) {
    if (token !== null) unknown(lane, task, cause, token)
    else if (wait === null) lane.settle(task, { result: 'retry', ...cause })
    else session.tally.interim(task, cause)
  }
  if (token === null && wait !== null && unnamed.length > 0) lane.again({ at: until, tasks: unnamed, whole: true })
}

/** Pauses are noted when a person would wonder about them. */
const NOTED_MS = 5_000

function pause({ settings }: Session, ms: number, news: boolean): void {
  settings.limiter.pause(ms)
  if (news && ms >= NOTED_MS) settings.note('info', `The destination asks to wait ${Math.ceil(ms / 1_000)} s.`)
}

const mayRepeat = (task: Task, afterMs = 0): boolean => task.tries + 1 < MAX_TRIES && afterMs <= MAX_WAIT

function repeat({ session, again }: Lane, tasks: readonly Task[], whole: boolean, afterMs: number | undefined): void {
  const { clock, random } = session.settings
  const tries = tasks.reduce((most, task) => Math.max(most, task.tries), 1)
  again({ at: clock.now() + (afterMs ?? backoff(tries, random)), tasks, whole })
}

/** Unknown at the end of its request. With a job's token only the intent stands in the journal, so that the next run can resume the job. */
function unknown(lane: Lane, task: Task, cause: Cause, token: string | null): void {
  lane.settle(task, { result: 'unknown', ...cause }, token === null)
}

function judge(session: Session): void {
  if (session.tally.tripped()) session.cut('breaker', tooManyRejected())
}
