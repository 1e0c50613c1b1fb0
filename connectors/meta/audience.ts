/** Members of a custom audience: rows under one schema, added or removed, and what Meta says of them. */
import { randomInt } from 'node:crypto'
import { type Change, type HttpReply, type Outcome, Refused, UnknownOutcome } from '../../src/index.ts'
import { PEOPLE, personal, Unfit } from './people.ts'
import { membersOf } from './reply.ts'

/** By which Meta finds somebody; the other columns only help. */
export const IDENTIFIERS = ['email', 'email_sha256', 'phone', 'phone_sha256', 'external_id', 'mobile_id'] as const
export const HELPERS = Object.keys(PEOPLE).filter(
  (name) => PEOPLE[name]?.audience !== undefined && !(IDENTIFIERS as readonly string[]).includes(name),
)

export interface Upload {
  readonly body: object
  readonly keys: readonly string[]
  readonly rejected: readonly Outcome[]
}

/** One request for these changes. All rows share a schema; what a row does not have is an empty text. */
export function uploadOf(changes: readonly Change[]): Upload {
  const rejected: Outcome[] = []
  const keys: string[] = []
  const rows: Map<string, string>[] = []
  for (const change of changes) {
    try {
      rows.push(rowOf(change))
      keys.push(change.key)
    } catch (error) {
      if (!(error instanceof Unfit)) throw error
      rejected.push({ key: change.key, result: 'rejected', code: error.code, message: error.message, field: error.field })
    }
  }
  const schema = [...new Set(Object.values(PEOPLE).flatMap(({ audience }) => audience ?? []))].filter((key) =>
    rows.some((row) => row.has(key)),
  )
  const data = rows.map((row) => schema.map((key) => row.get(key) ?? ''))
  // Each request is a session of its own: which batches a run will have is not known when its first one leaves.
  const session = { session_id: randomInt(1, 2 ** 48 - 1), batch_seq: 1, last_batch_flag: true, estimated_num_total: data.length }
  return { body: { session, payload: { schema, data } }, keys, rejected }
}

function rowOf({ op, match, fields }: Change): Map<string, string> {
  const row = new Map<string, string>()
  for (const [name, values] of [
    ...IDENTIFIERS.map((one) => [one, match] as const),
    ...Object.keys(op === 'delete' ? {} : fields).map((one) => [one, fields] as const),
  ]) {
    const key = PEOPLE[name]?.audience
    if (key === undefined) throw new Unfit('unknown_field', name, `A custom audience has no column ${name}.`)
    const value = personal(values, name)
    if (value === undefined) continue
    // Even when they are equal: once one of the columns is null, removing what it held would remove the other's person.
    if (row.has(key)) throw new Unfit('two_values', name, `A row has one ${key}: map either the raw column or the hashed one.`)
    row.set(key, value)
  }
  return row
}

/**
 * Meta counts: received, and invalid without saying which. Every row was valid: all are accepted, for whether a person
 * was found it never says. Some were not: refused as a whole, so that the engine finds them; what was valid is in the
 * audience already, and being added again changes nothing there.
 */
export function uploaded(reply: HttpReply, { keys }: Upload): Outcome[] {
  const body = membersOf(reply)
  const received = body['num_received']
  const invalid = body['num_invalid_entries']
  if (received !== keys.length || typeof invalid !== 'number')
    throw new UnknownOutcome(
      'not_all_received',
      `Meta says it received ${typeof received === 'number' ? received : 'nothing'} of ${keys.length} rows.`,
    )
  if (invalid > 0) throw new Refused('invalid_entry', 'Meta could not read the row: one of its values is no valid hash or id.', 200)
  return keys.map((key) => ({ key, result: 'accepted' }))
}
