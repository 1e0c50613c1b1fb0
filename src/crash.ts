/** Named steps at which tests kill the process, to prove that the next run converges. Does nothing unless the variable is set. */

/** In the order of a run. */
export const STEPS = [
  'opened',
  'recovering',
  'recovered',
  'staged',
  'planned',
  'outbox-written',
  'delivering',
  'delivered',
  'folding',
  'committed',
  'recorded',
] as const

export function step(name: (typeof STEPS)[number]): void {
  if (process.env['CDP_SYNC_CRASH_AT'] === name) process.kill(process.pid, 'SIGKILL')
}
