/** Named steps at which tests kill the process, to prove that the next run converges. Does nothing unless the variable is set. */

/** In the order of a run. `uncommitted` stands in each transaction of the state, just before its commit. */
export const STEPS = [
  'locked',
  'opened',
  'recovering',
  'recovered',
  'staged',
  'planned',
  'uncommitted',
  'outbox-written',
  'intending',
  'intended',
  'sending',
  'answered',
  'delivered',
  'folding',
  'folded',
  'checkpointing',
  'committed',
  'unlocked',
  'recorded',
] as const

/** Steps that only a state in a bucket has. */
export const BUCKET_STEPS = [
  'leased',
  'outbox-uploaded',
  'sending-noted',
  'journal-stored',
  'snapshot-uploaded',
  'head-moved',
  'swept',
] as const

/** Steps that only a state in a database has; `uncommitted-there` stands in each of its transactions. */
export const WAREHOUSE_STEPS = ['leased', 'uncommitted-there', 'sending-noted', 'journal-stored', 'stored'] as const

let passed = 0

/** `CDP_SYNC_CRASH_AT=sending` kills at the first time that step is reached, `sending:3` at the third; `sending:3:SIGSTOP` stops it there. */
export function step(name: (typeof STEPS)[number] | (typeof BUCKET_STEPS)[number] | (typeof WAREHOUSE_STEPS)[number]): void {
  const [at, nth = '1', signal = 'SIGKILL'] = process.env['CDP_SYNC_CRASH_AT']?.split(':') ?? []
  if (at === name && ++passed === Number(nth)) process.kill(process.pid, signal)
}
