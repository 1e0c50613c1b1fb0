/** Run records for tests: a good run, with what a test wants different. */
import { NO_COUNTS } from '../../src/records.ts'
import type { RunCounts, RunRecord } from '../../src/types.ts'

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
    counts: { ...NO_COUNTS, ...more.counts },
  }
}
