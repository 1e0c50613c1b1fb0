/** Renames: where a record keeps its remote id under a new match, the order in which addresses change hands matters. */
import { lit } from './db.ts'
import type { Db } from './db.ts'

interface Move {
  key: string
  to: string
  from: string
  /** The key that holds `to` in the snapshot; null when it is free. */
  holder: string | null
}

/**
 * Marks in `candidates` which changes are renames (`previous` is the address given up, `known` and `remote_id` those of the
 * record that moves) and which must wait for the `ok` of another one (`forerunner` is its key). A cycle, and a rename into an
 * address whose holder does not move, stay plain upserts by match: remote ids follow the address there.
 */
export async function findMoves(db: Db): Promise<void> {
  const found = await db.rows<Move>(`
SELECT c.key, c.address AS "to", arg_max(s.address, s.confirmed_at) AS "from", any_value(c.known_key) AS holder
FROM candidates c JOIN snap s ON s.key = c.key AND s.address <> c.address
WHERE s.remote_id IS NOT NULL AND NOT s.uncertain AND NOT c.uncertain AND (NOT c.stored OR c.known_key <> c.key)
GROUP BY c.key, c.address`)
  const moves = new Map(found.map((move) => [move.key, move]))
  for (const key of blocked(moves)) moves.delete(key)
  await db.run(`CREATE OR REPLACE TABLE moves (key VARCHAR, from_address VARCHAR, forerunner VARCHAR)`)
  const all = [...moves.values()]
  for (let i = 0; i < all.length; i += 1000) {
    const values = all.slice(i, i + 1000).map((move) => `(${lit(move.key)}, ${lit(move.from)}, ${lit(move.holder)})`)
    await db.run(`INSERT INTO moves VALUES ${values.join(', ')}`)
  }
  if (all.length === 0) return
  await db.run(`
CREATE OR REPLACE TABLE candidates AS
SELECT c.* REPLACE (
  CASE WHEN m.key IS NOT NULL THEN s.payload WHEN taken.key IS NOT NULL THEN NULL ELSE c.known END AS known,
  CASE WHEN m.key IS NOT NULL THEN s.remote_id WHEN taken.key IS NOT NULL THEN NULL ELSE c.remote_id END AS remote_id,
  m.from_address AS previous,
  -- The record that is here now moves away first; a new one takes its place.
  coalesce(m.forerunner, taken.key) AS forerunner)
FROM candidates c LEFT JOIN moves m ON m.key = c.key LEFT JOIN snap s ON s.address = m.from_address
LEFT JOIN moves taken ON taken.from_address = c.address AND taken.key <> c.key`)
}

/** Keys that can't be renamed: in a cycle, or behind an address whose holder stays. */
function blocked(moves: ReadonlyMap<string, Move>): Set<string> {
  const state = new Map<string, 'walking' | 'free' | 'blocked'>()
  for (const start of moves.keys()) {
    const path: string[] = []
    let key: string | null = start
    let end: 'free' | 'blocked' = 'free'
    while (key !== null) {
      const seen = state.get(key)
      if (seen !== undefined) {
        end = seen === 'free' ? 'free' : 'blocked'
        break
      }
      const move = moves.get(key)
      if (!move) {
        end = 'blocked'
        break
      }
      state.set(key, 'walking')
      path.push(key)
      key = move.holder
    }
    for (const walked of path) state.set(walked, end)
  }
  return new Set([...state].filter(([key, end]) => end !== 'free' && moves.has(key)).map(([key]) => key))
}
