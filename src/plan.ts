/** The plan of one sync, from counts, samples and limits. Pure: the same input gives the same plan, byte for byte. */
import type { Limits } from './connector.ts'
import type { Sync } from './config/types.ts'
import { checkGuards } from './guard.ts'
import type { DiffCounts } from './state/diff.ts'
import type { InvalidSample, Op, PlanSample, SyncPlan } from './types.ts'

export interface PlanInput {
  readonly sync: Sync
  readonly account: { readonly id: string; readonly name: string }
  readonly diff: DiffCounts
  /** Before `--key` and `--limit`: what guards look at. */
  readonly whole: DiffCounts
  /** Rows the model returned. */
  readonly rows: number
  readonly first: boolean
  readonly since: string | null
  readonly changedFields: Readonly<Record<string, number>>
  readonly samples: readonly PlanSample[]
  readonly invalid: { readonly reasons: Readonly<Record<string, number>>; readonly samples: readonly InvalidSample[] }
  readonly limits: (op: Op) => Limits
  readonly op: Op
  readonly allowed: ReadonlySet<string>
  /** Payloads were computed for the samples only. */
  readonly counted: boolean
  /** `backfill: false`: today's rows count as delivered, nothing is sent. */
  readonly adopts: boolean
  readonly nullKeys: { readonly now: number; readonly before: number }
}

export function makePlan(input: PlanInput): SyncPlan {
  const { sync, diff, whole } = input
  const counts = {
    add: diff.add,
    change: diff.change,
    remove: diff.remove,
    unchanged: diff.unchanged,
    invalid: diff.invalid,
    held: diff.held,
    uncertain: diff.uncertain,
    waiting: diff.waiting,
    kept: diff.kept,
    renames: diff.renames,
  }
  const removes = sync.mode === 'mirror' && sync.onRemove !== 'none'
  return {
    name: sync.name,
    mode: sync.mode,
    warehouse: sync.warehouse.name,
    destination: {
      connector: sync.destination.connector.name,
      name: sync.destination.name,
      account: input.account.name,
      account_id: input.account.id,
      object: sync.object,
    },
    on_remove: sync.onRemove,
    first_run: input.first,
    since: input.since,
    counts,
    rows: input.rows,
    owned: diff.owned,
    changed_fields: { ...input.changedFields },
    because: { ...diff.because },
    samples: [...input.samples],
    invalid_reasons: { ...input.invalid.reasons },
    invalid_samples: [...input.invalid.samples],
    guards: checkGuards(
      sync.guards,
      {
        counts: { ...counts, add: whole.add, change: whole.change },
        rows: input.rows,
        owned: whole.owned,
        removals: whole.newRemovals,
        identities: whole.identities,
        mapping: whole.because.mapping,
        removes,
      },
      input.allowed,
    ),
    warnings: warnings(input),
    estimate: estimate(input),
  }
}

function warnings({ sync, diff, first, counted, adopts, rows, nullKeys }: PlanInput): string[] {
  const found: string[] = []
  const known = diff.change + diff.unchanged
  if (adopts) found.push(`first run with backfill: false: ${rows} rows are taken as delivered, nothing is sent`)
  if (counted && diff.add > 0)
    found.push('first run: rows are counted, their values are computed when it runs; rows that can not be computed are found then')
  if (!first && diff.because.data >= 100 && diff.because.data === known) {
    found.push('every row changed: does the model use now() or random()?')
  }
  if (diff.waiting > 0 && nullKeys.now > nullKeys.before) {
    found.push(
      `${diff.waiting} removals wait: ${nullKeys.now} rows have a null key, more than in the last run that removed anything (${nullKeys.before}), and can't be told from rows that left. Use --allow null_keys to let them pass`,
    )
  } else if (diff.waiting > 0) found.push(`${diff.waiting} removals wait until their row has arrived under its new address`)
  if (diff.kept > 0)
    found.push(`${diff.kept} delivered rows have a null match now; their records are kept (on_null_match: remove removes them)`)
  if (diff.held > 0) found.push(`${diff.held} changes are held and not sent: see \`cdp-sync rejected ${sync.name}\``)
  return found
}

/** From declared limits alone, never from the clock. */
function estimate({ diff, limits, op, sync }: PlanInput): { requests: number; seconds: number } {
  const removal: Op = sync.onRemove === 'clear' || sync.onRemove === 'set' ? 'update' : sync.onRemove === 'archive' ? 'archive' : 'delete'
  const parts = [
    { rows: diff.add + diff.change, limits: limits(op) },
    { rows: diff.remove, limits: limits(removal) },
  ]
  let requests = 0
  let seconds = 0
  for (const part of parts) {
    const n = Math.ceil(part.rows / part.limits.rows)
    requests += n
    const rates = [part.limits.perSecond ?? Infinity, ...(part.limits.windows ?? []).map((window) => window.requests / window.seconds)]
    seconds += n / Math.min(...rates)
  }
  return { requests, seconds: Math.round(seconds) }
}
