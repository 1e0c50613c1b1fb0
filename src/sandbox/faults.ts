/** What a person breaks from the page: kept per fake, and told to the fake's host. */
import { z } from 'zod'
import type { Fault } from '../testing/fake.ts'
import type { ServedFake } from '../testing/host.ts'

/** The kinds of failure that the page offers, by name. */
const FAILURES = {
  '429': { kind: 'status', status: 429, retryAfter: 1 },
  quota: { kind: 'status', status: 429, retryAfter: 3600, daily: true },
  '500': { kind: 'status', status: 500 },
  '401': { kind: 'status', status: 401 },
  '403': { kind: 'status', status: 403 },
  lost: { kind: 'reset', when: 'after' },
} as const satisfies Record<string, Fault>

/** One order of the page. */
export const orderSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('fail'),
    failure: z.enum(Object.keys(FAILURES) as [keyof typeof FAILURES]),
    requests: z.int().min(1).max(100_000),
  }),
  z.strictObject({ kind: z.literal('delay'), ms: z.int().min(0).max(120_000) }),
  z.strictObject({ kind: z.literal('refuse'), rows: z.int().min(0).max(1_000_000) }),
  z.strictObject({ kind: z.literal('none') }),
])
export type Order = z.infer<typeof orderSchema>

/** What is still to go wrong at one fake. */
export interface Broken {
  failure: keyof typeof FAILURES | null
  /** Requests that are still to fail so. */
  requests: number
  /** Milliseconds before each answer. */
  delay: number
}

export interface Breakable {
  /** What is still to go wrong, live. */
  readonly broken: Broken
  obey(order: Order): void
  /** Forgets records, requests and what was to go wrong. */
  reset(): void
}

/** Makes a fake break as it is told from now on. */
export function breakable(fake: ServedFake): Breakable {
  const broken: Broken = { failure: null, requests: 0, delay: 0 }
  const plan = (): Fault | undefined => {
    const { failure } = broken
    if (failure === null) return broken.delay > 0 ? { kind: 'delay', ms: broken.delay } : undefined
    if (--broken.requests === 0) broken.failure = null
    return FAILURES[failure]
  }
  const heal = (): void => {
    Object.assign(broken, { failure: null, requests: 0, delay: 0 })
    fake.refuseRows(0)
  }
  fake.fault(plan)
  return {
    broken,
    obey(order) {
      if (order.kind === 'fail') Object.assign(broken, { failure: order.failure, requests: order.requests })
      else if (order.kind === 'delay') broken.delay = order.ms
      else if (order.kind === 'refuse') fake.refuseRows(order.rows)
      else heal()
    },
    reset() {
      heal()
      fake.reset()
      fake.fault(plan)
    },
  }
}
