/** What the engine's scenarios say over and over: people as rows, a run with what it sent, a plan as its counts. */
import type { RunOptions } from '../../src/context.ts'
import { readRejected } from '../../src/records.ts'
import type { RejectedRow } from '../../src/records.ts'
import { openKeeper } from '../../src/state/keepers.ts'
import type { RunRecord } from '../../src/types.ts'
import type { SentChange } from '../support/destinations.ts'
import type { Row, World } from '../support/world.ts'

export const DAY = 86_400_000

export const person = (id: string | null, email: string | null, plan: string | null = 'free', phone: string | null = null): Row => ({
  id,
  email,
  phone,
  plan,
})

/** `n` people from `from` on, each with an e-mail of its own. */
export const people = (n: number, plan: string | null = 'free', from = 1): Row[] =>
  Array.from({ length: n }, (_, i) => person(String(from + i), `p${from + i}@x.io`, plan))

/** Sets the model, runs, and gives the record and what this run sent. */
export async function ran(
  w: World,
  rows: readonly Row[] | null = null,
  options: Partial<RunOptions> = {},
): Promise<{ record: RunRecord; sent: SentChange[] }> {
  if (rows) await w.model(rows)
  const from = w.service.sent.length
  const record = await w.run(options)
  if (record.error?.code === 'CDP4000') throw new Error(record.error.message)
  return { record, sent: w.service.sent.slice(from) }
}

/** `upsert 1 a@x.io`, in the order of sending. */
export const brief = (sent: readonly SentChange[]): string[] =>
  sent.map(({ op, key, match }) => `${op} ${key} ${Object.values(match).map(String).join('|')}`.trim())

/** The counts of the plan that are not 0, without `unchanged`. */
export async function pending(w: World, options: Partial<RunOptions> = {}): Promise<Record<string, number>> {
  const { unchanged: _, ...counts } = (await w.plan(options)).counts
  return Object.fromEntries(Object.entries(counts).filter(([, n]) => n > 0))
}

/** Address -> plan, of what is at the service. */
export const there = (w: World): Record<string, unknown> =>
  Object.fromEntries(
    [...w.service.records()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([address, fields]) => [address, fields['plan'] ?? null]),
  )

/** What `rejected` lists. */
export async function rejected(w: World): Promise<RejectedRow[]> {
  const rows: RejectedRow[] = []
  for await (const row of readRejected(await (await openKeeper(w.project)).records(w.sync.name))) rows.push(row)
  return rows
}
