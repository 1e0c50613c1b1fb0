/** `--key` and `--limit`: which changes of a plan go now; the others stay in the next one. */
import { litList } from './db.ts'
import type { Db } from './db.ts'

export interface Selection {
  /** Only these keys; null: all. */
  readonly keys: readonly string[] | null
  /** At most so many changes, in the order of delivery; null: all. */
  readonly limit: number | null
}

/** `depths (key, depth)`: how many changes must be ok before this one; keys that wait for none are not in it. */
export async function findDepths(db: Db): Promise<void> {
  await db.run(`
CREATE OR REPLACE TABLE depths AS
WITH RECURSIVE chain(key, depth) AS (
  SELECT key, 1 FROM classified WHERE forerunner IS NOT NULL AND forerunner NOT IN (SELECT key FROM classified WHERE forerunner IS NOT NULL)
  UNION ALL SELECT c.key, chain.depth + 1 FROM classified c JOIN chain ON c.forerunner = chain.key
) SELECT key, max(depth) AS depth FROM chain GROUP BY key`)
}

const within = (n: number | null): string => (n === null ? 'TRUE' : `n <= ${n}`)

/** Gives `classified` and `removals` the status `left` where the selection leaves them out. Removals go only after every upsert. */
export async function leaveOut(db: Db, { keys, limit }: Selection): Promise<void> {
  const chosen = keys === null ? 'TRUE' : `list_contains(${litList(keys)}, key)`
  await findDepths(db)
  await db.run(`
UPDATE classified SET status = 'left' WHERE status = 'send' AND address NOT IN (
  SELECT address FROM (
    SELECT c.address, row_number() OVER (ORDER BY coalesce(d.depth, 0), c.attempts > 0, c.key) AS n
    FROM classified c LEFT JOIN depths d ON d.key = c.key WHERE c.status = 'send' AND ${chosen.replace(', key)', ', c.key)')}
  ) WHERE ${within(limit)})`)
  const { upserts, rest } = await db.one<{ upserts: number; rest: number }>(
    `SELECT count(*) FILTER (status = 'send') AS upserts, count(*) FILTER (status = 'left') AS rest FROM classified`,
  )
  const room = rest > 0 ? 0 : limit === null ? null : Math.max(0, limit - upserts)
  await db.run(`
UPDATE removals SET status = 'left' WHERE status = 'send' AND address NOT IN (
  SELECT address FROM (
    SELECT address, row_number() OVER (ORDER BY attempts > 0, confirmed_at, address) AS n FROM removals WHERE status = 'send' AND ${chosen}
  ) WHERE ${within(room)})`)
}
