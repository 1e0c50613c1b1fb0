/** One run of one sync. Read this file and the ones it names, in order, and you know the product. */
import { compare } from './compare.ts'
import type { Comparison } from './compare.ts'
import type { Project, Sync } from './config/types.ts'
import type { RunContext } from './context.ts'
import { step } from './crash.ts'
import { GuardError } from './errors.ts'
import { commitRun } from './finish.ts'
import { open } from './open.ts'
import type { Session } from './open.ts'
import { makePlan } from './plan.ts'
import type { PlanInput } from './plan.ts'
import { newRunId } from './records.ts'
import { recover } from './recover.ts'
import { reporter } from './report.ts'
import { opOf } from './open.ts'
import { send } from './outgoing.ts'
import { adoptOldName } from './rename.ts'
import { changedFields, invalidRows, samples } from './state/changes.ts'
import type { RunRecord, SyncPlan } from './types.ts'

/** Sends what changed. Expected failures are in the record, not thrown. */
export async function runSync(project: Project, sync: Sync, context: RunContext): Promise<RunRecord> {
  const report = await reporter(project, sync, context, newRunId(context.now()))
  let session: Session | null = null
  try {
    await adoptOldName(project, sync)
    session = await open(project, sync, report.context, report.run, 'run')
    step('opened')
    session = await recover(session, report)
    step('recovered')
    const comparison = await compare(session, null)
    step('staged')
    const plan = await planOf(session, comparison, null)
    report.planned(plan)
    step('planned')
    guard(plan)
    const delivery = await send(session, comparison, plan)
    step('delivered')
    report.delivered(delivery)
    await commitRun(session, comparison, delivery)
    step('committed')
  } catch (error) {
    report.failed(error)
  } finally {
    if (session) report.cost(session.hold.cost())
    await session?.close().catch(report.failed)
  }
  return report.end()
}

/** What a run would do. Takes no lock, writes nothing outside a temporary folder, changes nothing. */
export async function planSync(project: Project, sync: Sync, context: RunContext): Promise<SyncPlan> {
  const session = await open(project, sync, context, newRunId(context.now()), 'look')
  try {
    const comparison = await compare(session, context.options.samples)
    return await planOf(session, comparison, context.options.samples)
  } finally {
    await session.close()
  }
}

function guard(plan: SyncPlan): void {
  const refused = plan.guards.filter(({ ok }) => !ok)
  const [first] = refused
  if (!first) return
  throw new GuardError(
    'CDP4011',
    `${plan.name} was stopped by ${refused.length === 1 ? 'a guard' : 'guards'}: ${refused.map(({ name, message }) => `${name}: ${message}`).join('; ')}.`,
    {
      hint: `Nothing was sent. Look at \`cdp-sync plan ${plan.name}\`; if it is right, run again with ${refused.map(({ name }) => `--allow ${name}`).join(' ')}.`,
    },
  )
}

async function planOf(session: Session, comparison: Comparison, sampled: number | null): Promise<SyncPlan> {
  const { sync, account, memory, limits, context, state } = session
  const { counts, whole, placement, staged } = comparison
  const hidden = new Set(placement.fields.filter(({ field }) => !field.nullsWritten).map(({ field }) => field.name))
  const sensitive = new Set(placement.fields.filter(({ field }) => field.sensitive).map(({ field }) => field.name))
  const adopts = sync.backfill === false && memory.target === null
  const input: PlanInput = {
    sync,
    account,
    diff: adopts ? { ...counts, add: 0, unchanged: counts.unchanged + counts.add } : counts,
    whole: adopts ? { ...whole, add: 0 } : whole,
    rows: staged.rows,
    first: memory.first,
    since: memory.confirmedAt,
    changedFields: memory.first ? {} : await changedFields(state.db),
    samples: adopts ? [] : await samples(state.db, placement.names, sensitive, context.options.samples, hidden),
    invalid: await invalidRows(state.db, context.options.samples, comparison.elsewhere),
    limits,
    op: opOf(sync),
    allowed: context.options.allow,
    counted: memory.first && sampled !== null && !adopts,
    adopts,
    nullKeys: { now: staged.nullKeys, before: memory.nullKeys },
  }
  return makePlan(input)
}
