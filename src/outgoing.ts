/** From a plan that passed its guards to a delivery: write the outbox, send it. */
import type { Comparison } from './compare.ts'
import { step } from './crash.ts'
import { deliver } from './deliver.ts'
import type { Delivery } from './deliver.ts'
import { identity, opOf } from './open.ts'
import { sleep } from './sleep.ts'
import type { Session } from './open.ts'
import { createRedactor } from './redact.ts'
import type { SyncPlan } from './types.ts'
import type { Constant } from './config/types.ts'
import { createOutbox } from './state/changes.ts'
import type { OutboxCounts } from './state/changes.ts'
import { transaction, viewStored } from './state/fold.ts'
import type { Header } from './state/header.ts'
import { markUncertain } from './state/local.ts'
import { openOutbox } from './state/outbox.ts'

/** What was sent; `header` is null when there was nothing to send. */
export interface Sent {
  readonly header: Header | null
  readonly outbox: OutboxCounts
  readonly delivery: Delivery | null
}

export async function send(session: Session, comparison: Comparison, plan: SyncPlan): Promise<Sent> {
  const { sync, state, context, memory } = session
  if (context.options.fullRefresh) {
    // Durable before anything is sent: a crash forgets nothing of it.
    await markUncertain(state.db)
    await session.hold.store(state, false)
    await viewStored(state.db)
  }
  const adopts = sync.backfill === false && memory.target === null
  const { add, change, remove } = plan.counts
  if (adopts || add + change + remove === 0) return { header: null, outbox: { upserts: 0, removals: 0 }, delivery: null }
  const header = headerOf(session, comparison)
  // Positions are durable before any payload uses them.
  if (comparison.placement.reserve) await transaction(state.db, comparison.placement.reserve)
  const counts = await createOutbox(state.db, header, comparison.addressing.any, identity(session))
  await session.hold.outboxWritten(state, header)
  step('outbox-written')
  context.report({ type: 'phase', sync: sync.name, phase: 'deliver' })
  return { header, outbox: counts, delivery: await deliverOutbox(session, header) }
}

async function deliverOutbox(session: Session, header: Header): Promise<Delivery> {
  const { sync, context, state, destination, limits, run, stop } = session
  const outbox = await openOutbox(state.db, header, context.now, createRedactor(session.project.secrets), session.hold.journal())
  // Small statements only, and a second thread that waits for its share costs more than it does.
  await state.db.run('SET threads = 1')
  try {
    return await deliver({
      sync: sync.name,
      run,
      object: sync.object,
      destination,
      spec: sync.spec,
      limits,
      outbox,
      limiter: session.limiter(header.op),
      clock: { now: context.now, sleep },
      random: context.random,
      signal: context.signal,
      stop,
      alive: session.hold.alive,
      report: ({ settled, total }) => context.report({ type: 'progress', sync: sync.name, phase: 'deliver', done: settled, total }),
      note: (level, message) => context.report({ type: 'note', sync: sync.name, level, message }),
      // A delivery that was cut short calls this too; only one that goes on to its removals lets dependents start.
      upsertsEnded: () => undefined,
      beforeRemovals: () => {
        context.upsertsEnded()
        return context.beforeRemovals()
      },
    })
  } finally {
    await state.db.run(`SET threads = ${context.threads}`)
    outbox.close()
  }
}

function headerOf(session: Session, comparison: Comparison): Header {
  const { sync, run, target, context } = session
  const { placement, mapping, addressing } = comparison
  const where = (test: (field: (typeof placement.fields)[number]['field']) => boolean): number[] =>
    placement.fields.filter(({ field }) => test(field)).map(({ position }) => position)
  return {
    run,
    target,
    mode: sync.mode,
    op: opOf(sync),
    object: sync.object,
    sentAt: context.now(),
    fields: placement.names,
    match: where((field) => field.match),
    onCreate: where((field) => field.write === 'on_create'),
    ifEmpty: where((field) => field.write === 'if_empty'),
    nullsWritten: where((field) => field.nullsWritten && field.nulls === 'clear'),
    meta: mapping.fields.flatMap(({ name, meta }) => (meta === null ? [] : [{ name, meta }])),
    sync: sync.name,
    send: sync.send,
    any: addressing.any,
    removal: sync.onRemove,
    removeSet:
      sync.removeSet &&
      `{${Object.entries(sync.removeSet)
        .map(([name, constant]) => `${JSON.stringify(name)}:${constantJson(constant)}`)
        .join(',')}}`,
    context: comparison.context,
  }
}

/** A constant as JSON text; a number keeps its digits. */
function constantJson(constant: Constant): string {
  switch (constant.kind) {
    case 'null':
      return 'null'
    case 'json':
      return constant.json
    case 'string':
      return JSON.stringify(constant.text)
    case 'number':
      return constant.text
    case 'boolean':
      return constant.text.toLowerCase()
  }
}
