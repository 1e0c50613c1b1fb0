/** Run records for tests: a good run, with what a test wants different. */
import type { RunCounts, RunRecord } from '../../src/types.ts'

const NONE: RunCounts = {
  add: 0,
  change: 0,
  remove: 0,
  unchanged: 0,
  invalid: 0,
  delivered: 0,
  accepted: 0,
  absent: 0,
  exists: 0,
  rejected: 0,
  unknown: 0,
  held: 0,
  waiting: 0,
  kept: 0,
}

export function record(more: Partial<Omit<RunRecord, 'counts'>> & { counts?: Partial<RunCounts> } = {}): RunRecord {
  return {
    format_version: 1,
    run: 'r1',
    sync: 'crm',
    status: 'ok',
    started_at: '2026-11-22T02:00:00.000Z',
    ended_at: '2026-11-22T02:00:04.000Z',
    seconds: 4,
    exit_code: 0,
    target: { connector: 'hubspot', account: 'portal 4471209', account_id: '4471209', object: 'contacts' },
    requests: 2,
    recovered: null,
    reasons: [],
    ...more,
    counts: { ...NONE, ...more.counts },
  }
}
