/** Bulk jobs of the Zendesk Support API: what they did is known at once here, but told only to who asks: of a large one only to who asks twice. */
import type { FakeControl } from '../../src/testing/fake.ts'
import { describe, type Details, type Json, Refusal, tooManyJobs } from './replies.ts'

/** At most so many queued or running at once ("Rate limits", Job limit). */
const MAX_JOBS = 30
/** A job of so few records has ended before anybody can ask. */
const SMALL = 10
/** A job that nobody asks about ends by itself. */
const ENDS_AFTER_MS = 2000
/** Kept for a day ("Job Statuses"). */
const KEPT_MS = 86_400_000

interface Job {
  readonly id: string
  readonly type: string
  readonly total: number
  readonly results: readonly Json[]
  readonly begun: number
  looks: number
}

export class Jobs {
  readonly #jobs = new Map<string, Job>()
  readonly #control: FakeControl
  #count = 0

  constructor(control: FakeControl) {
    this.#control = control
  }

  /** Throws Refusal 429 when 30 are under way. Ask before anything is applied. */
  admit(): void {
    const busy = [...this.#jobs.values()].filter((job) => !this.#ended(job)).length
    if (busy >= MAX_JOBS) throw new Refusal(tooManyJobs())
  }

  begin(type: string, results: readonly Json[]): Json {
    const id = `V3-${(++this.#count).toString(16).padStart(32, '0')}`
    const job: Job = { id, type, total: results.length, results, begun: this.#control.now(), looks: 0 }
    this.#jobs.set(id, job)
    return this.#shown(job)
  }

  /** Queued when begun, completed at the first look; a large one is working then, and completed at the second. */
  look(id: string): Json | undefined {
    const job = this.#jobs.get(id)
    if (job === undefined || this.#control.now() - job.begun > KEPT_MS) return undefined
    job.looks++
    return this.#shown(job)
  }

  all(): Json[] {
    return [...this.#jobs.values()].map((job) => this.#shown(job)).reverse()
  }

  #ended(job: Job): boolean {
    return job.looks > (job.total > SMALL ? 1 : 0) || this.#control.now() - job.begun > ENDS_AFTER_MS
  }

  #shown(job: Job): Json {
    const common = { id: job.id, job_type: job.type, url: `${this.#control.url}/api/v2/job_statuses/${job.id}.json` }
    if (this.#ended(job)) {
      const at = new Date(job.begun + 1000).toISOString().replace('T', ' ').replace(/\..*/, ' +0000')
      return { ...common, total: job.total, progress: job.total, status: 'completed', message: `Completed at ${at}`, results: job.results }
    }
    if (job.looks === 0) return { ...common, total: null, progress: null, status: 'queued', message: null, results: null }
    return { ...common, total: job.total, progress: 0, status: 'working', message: null, results: null }
  }
}

/** Does one row of a job; what was refused is a result, not an error of the request. */
export function attempt(work: () => Json, failed: (name: string, text: string) => Json): Json {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    const body = error.reply.json as { error: string; description?: string; details?: Details }
    return failed(body.error, body.details === undefined ? (body.description ?? '') : describe(body.details))
  }
}
