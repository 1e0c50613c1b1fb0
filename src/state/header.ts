/** What is recorded with an outbox, so that reading and folding it never looks at today's configuration. */
import type { Mode, Op, Removal } from '../types.ts'
import { lit } from './db.ts'
import type { Db } from './db.ts'

/** Written in the same transaction as the outbox; a state with a header has an unfinished run. */
export interface Header {
  readonly run: string
  readonly target: string
  readonly mode: Mode
  readonly op: Op
  readonly object: string
  /** Milliseconds: when sending began; the value of `{ meta: sent_at }`. */
  readonly sentAt: number
  /** Field names by position (index 0 is position 1). */
  readonly fields: readonly string[]
  /** Positions of the match fields. */
  readonly match: readonly number[]
  /** Positions of fields with `write: on_create` and `if_empty`. */
  readonly onCreate: readonly number[]
  readonly ifEmpty: readonly number[]
  /** Positions of fields whose null an add sends. */
  readonly nullsWritten: readonly number[]
  /** Fields that are rendered when they are sent. */
  readonly meta: readonly { readonly name: string; readonly meta: 'sent_at' | 'run' | 'sync' }[]
  readonly sync: string
  readonly send: 'row' | 'changed'
  /** Each match field is an address by itself. */
  readonly any: boolean
  readonly removal: Removal | null
  /** `on_remove: { set: … }` as the JSON text of the fields. */
  readonly removeSet: string | null
  /** Mapping, options, target and connector version in one text: rejected rows are tried again when it changes. */
  readonly context: string
}

/** Modes under which what was sent is ours to remove. */
export const OWNING: readonly Mode[] = ['upsert', 'insert', 'mirror']

export async function readMeta(db: Db, name: string): Promise<string | null> {
  const [row] = await db.rows<{ value: string | null }>(`SELECT value FROM state.meta WHERE name = ${lit(name)}`)
  return row?.value ?? null
}

/** SQL that sets a meta entry. */
export const setMeta = (name: string, value: string | number | null): string =>
  `DELETE FROM state.meta WHERE name = ${lit(name)}; INSERT INTO state.meta VALUES (${lit(name)}, ${lit(value === null ? null : String(value))});`

export async function readHeader(db: Db): Promise<Header | null> {
  const text = await readMeta(db, 'header')
  return text === null ? null : (JSON.parse(text) as Header)
}

/**
 * SQL of what an outbox row leaves out because it follows from the header: its idempotency id, and the run and the time that
 * `meta` fields name. Only a repeat under an old id, and an append, store their own.
 */
export const recorded = (header: Header, row: string): { id: string; run: string; sentAt: string } => ({
  id: `coalesce(${row}.id, ${lit(`${header.run}-`)} || ${row}.n)`,
  run: `coalesce(${row}.run, ${lit(header.run)})`,
  sentAt: `coalesce(${row}.sent_at, ${lit(new Date(header.sentAt).toISOString())})`,
})
