/** The machine's view: plans, events and summaries as JSON. Fields may be added; a removal raises `format_version`. */
import type { RunEvent } from '../context.ts'
import type { InvalidSample, Plan, PlanSample, Reason, RunRecord, SyncPlan } from '../types.ts'
import { HIDDEN, SENSITIVE } from './text.ts'

/** One object, for `plan --json`. */
export function planJson(plan: Plan): string {
  return JSON.stringify(plan, null, 2) + '\n'
}

/** A plan for a shared place: no keys, no values, no words that may quote them. Codes, counts and field names stay. */
export function hide(plan: Plan): Plan {
  return { ...plan, syncs: plan.syncs.map(hideSync) }
}

function hideSync(plan: SyncPlan): SyncPlan {
  return { ...plan, samples: plan.samples.map(hideSample), invalid_samples: plan.invalid_samples.map(hideInvalid) }
}

function hideSample(sample: PlanSample): PlanSample {
  const { before, after } = sample
  return { ...sample, key: HIDDEN, ...(before ? { before: hideValues(before) } : {}), ...(after ? { after: hideValues(after) } : {}) }
}

/** Null stays hidden too: that a value is missing says something of the row. */
export function hideValues(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).map(([field, value]) => [field, value === SENSITIVE ? SENSITIVE : HIDDEN]))
}

function hideInvalid(sample: InvalidSample): InvalidSample {
  return { ...sample, key: HIDDEN, message: HIDDEN }
}

/** A record for a shared place: vendors' messages quote values. */
export function hideRecord(record: RunRecord): RunRecord {
  return { ...record, reasons: record.reasons.map((it): Reason => ({ ...it, example: { key: HIDDEN, message: HIDDEN } })) }
}

/** One line of `run --json` or `--log-format json`. `time` is ISO 8601. */
export function eventJson(event: RunEvent, time: string, showValues: boolean): string {
  return JSON.stringify({ time, ...(showValues ? event : hideEvent(event)) }) + '\n'
}

function hideEvent(event: RunEvent): RunEvent {
  if (event.type === 'plan') return { ...event, plan: hideSync(event.plan) }
  if (event.type === 'ended') return { ...event, record: hideRecord(event.record) }
  return event
}

/** The last line of `run --json`. */
export function summaryJson(records: readonly RunRecord[], exitCode: number): string {
  const syncs = records.map(({ sync, status, run, counts, seconds, error }) => {
    return { name: sync, status, run, counts, seconds, ...(error ? { error } : {}) }
  })
  return JSON.stringify({ type: 'summary', format_version: 1, exit_code: exitCode, syncs }) + '\n'
}
