/** Plans for tests: an empty plan of one sync, with what a test wants different. */
import type { Plan, PlanCounts, SyncPlan } from '../../src/types.ts'

const NONE: PlanCounts = { add: 0, change: 0, remove: 0, unchanged: 0, invalid: 0, held: 0, uncertain: 0, waiting: 0, kept: 0, renames: 0 }

export function plan(more: Partial<Omit<SyncPlan, 'counts'>> & { counts?: Partial<PlanCounts> } = {}): SyncPlan {
  return {
    name: 'crm-contacts',
    mode: 'mirror',
    warehouse: 'prod',
    destination: { connector: 'hubspot', name: 'crm', account: 'portal 4471209', account_id: '4471209', object: 'contacts' },
    on_remove: 'archive',
    first_run: false,
    since: '2026-11-22T02:00:00.000Z',
    rows: 0,
    owned: 0,
    changed_fields: {},
    because: { data: 0, mapping: 0, uncertain: 0, refresh: 0 },
    samples: [],
    invalid_reasons: {},
    invalid_samples: [],
    guards: [],
    warnings: [],
    estimate: { requests: 0, seconds: 0 },
    ...more,
    counts: { ...NONE, ...more.counts },
  }
}

export function planOf(syncs: SyncPlan[], failed: Plan['failed'] = []): Plan {
  const sum = (count: keyof Plan['summary']) => syncs.reduce((total, it) => total + it.counts[count], 0)
  const summary = { add: sum('add'), change: sum('change'), remove: sum('remove'), unchanged: sum('unchanged'), invalid: sum('invalid') }
  return { format_version: 1, cdp_sync_version: '0.1.0', summary, syncs, failed }
}
