/** The outbox of a run in the state file: changes read in order as JSON texts, intents and outcomes journalled. */
import { step } from '../crash.ts'
import type { Outbox, OutboxRow, Wave } from '../outbox.ts'
import type { Op } from '../types.ts'
import { lit, litTime } from './db.ts'
import type { Db } from './db.ts'
import type { Header } from './header.ts'
import { selectSql } from './outbox-sql.ts'

/** Entries of one INSERT; longer statements parse slowly. */
const ENTRIES_PER_STATEMENT = 500

/** A line of the journal. */
export interface JournalRow {
  readonly seq: number
  /** Numbers of the outbox, both inclusive. */
  readonly first: number
  readonly last: number
  readonly result: string
  readonly remoteId: string | null
  readonly code: string | null
  readonly message: string | null
  readonly field: string | null
  /** Milliseconds since 1970. */
  readonly at: number
}

/** A vendor's job that carries these numbers. */
export interface JobRow {
  readonly token: string
  readonly numbers: readonly number[]
  readonly at: number
}

/** Where the journal goes besides the state file. */
export interface JournalSink {
  /** Taken along with the next `store`, or in a second or two. */
  add(rows: readonly JournalRow[], jobs: readonly JobRow[]): void
  /** Resolves when everything added is durable there. */
  store(): Promise<void>
  close(): void
}

/**
 * `now` gives milliseconds. `redact` takes secrets out of what services say. Opens connections of its own: readers and the
 * journal never share one. What is durable is so in the state file and in `sink`.
 */
export async function openOutbox(
  db: Db,
  header: Header,
  now: () => number,
  redact: (text: string) => string,
  sink: JournalSink | null,
): Promise<Outbox & { close(): void }> {
  const reader = await db.connect()
  const writer = await db.connect()
  let seq = (await writer.one<{ seq: number }>('SELECT coalesce(max(seq), 0) AS seq FROM state.journal')).seq
  let buffer: JournalRow[] = []

  const enter = (
    first: number,
    last: number,
    result: string,
    detail: { remoteId?: string | undefined; code?: string | undefined; message?: string | undefined; field?: string | undefined } = {},
  ): void => {
    const row = {
      seq: ++seq,
      first,
      last,
      result,
      remoteId: detail.remoteId ?? null,
      code: detail.code === undefined ? null : redact(detail.code),
      message: detail.message === undefined ? null : redact(detail.message),
      field: detail.field ?? null,
      at: now(),
    }
    buffer.push(row)
    sink?.add([row], [])
  }

  /** Everything in `buffer` and `further` in one durable transaction. */
  const write = async (further = ''): Promise<void> => {
    const values = buffer
    if (values.length === 0 && further === '') return
    buffer = []
    await writer.run('BEGIN')
    try {
      await writeJournal(writer, values)
      if (further) await writer.run(further)
      await writer.run('COMMIT')
    } catch (error) {
      buffer = [...values, ...buffer]
      await writer.run('ROLLBACK').catch(() => undefined)
      throw error
    }
  }

  const selects = { upserts: selectSql(header, false), removals: selectSql(header, true) }
  const ends = new Map(
    (await reader.rows<{ wave: number; last: number }>('SELECT wave, max(n) AS last FROM state.outbox GROUP BY wave')).map((w) => [
      w.wave,
      w.last,
    ]),
  )
  const bounded = await reader.rows<{ wave: number; removes: boolean }>(
    `SELECT wave, bool_or(kind = 'remove') AS removes FROM state.outbox WHERE after IS NOT NULL OR kind = 'remove' GROUP BY wave`,
  )
  const conditional = new Map(bounded.map(({ wave, removes }) => [wave, removes]))
  return {
    async waves() {
      const found = await reader.rows<{ wave: number; op: Op; removes: boolean; rows: number }>(
        `SELECT wave, any_value(op) AS op, bool_or(kind = 'remove') AS removes, count(*) AS rows FROM state.outbox GROUP BY wave ORDER BY wave`,
      )
      return found satisfies Wave[]
    },
    async read(wave, after, limit) {
      await write()
      const last = ends.get(wave) ?? 0
      // Numbers of a wave are contiguous; what must not go leaves gaps.
      const condition = conditional.has(wave) ? `AND ${ELIGIBLE}` : ''
      for (let from = after; from < last; from += limit) {
        const select = conditional.get(wave) ? selects.removals : selects.upserts
        const rows = await readRows(
          reader,
          `${select} WHERE o.n > ${from} AND o.n <= ${Math.min(last, from + limit)} AND o.wave = ${wave} ${condition}`,
        )
        if (rows.length) return rows
      }
      return []
    },
    async intend(numbers) {
      for (const [first, last] of ranges(numbers)) enter(first, last, 'intent')
      step('intending')
      await write()
      await sink?.store()
      step('intended')
    },
    record(item) {
      if ('first' in item) enter(item.first, item.last, item.result)
      else enter(item.n, item.n, item.result, item)
    },
    async token(token, numbers) {
      const job = { token, numbers, at: now() }
      await write(insertJob(job))
      sink?.add([], [job])
      await sink?.store()
    },
    async flush() {
      await write()
      await sink?.store()
    },
    close() {
      sink?.close()
      reader.close()
      writer.close()
    },
  }
}

/** Appends to the journal; within a transaction of the caller's. */
export async function writeJournal(db: Db, rows: readonly JournalRow[]): Promise<void> {
  for (let i = 0; i < rows.length; i += ENTRIES_PER_STATEMENT) {
    const values = rows.slice(i, i + ENTRIES_PER_STATEMENT).map((row) => {
      const { seq, first, last, result, remoteId, code, message, field, at } = row
      return `(${seq}, ${first}, ${last}, ${[result, remoteId, code, message, field].map(lit).join(', ')}, ${litTime(at)})`
    })
    await db.run(`INSERT INTO state.journal VALUES ${values.join(', ')}`)
  }
}

/** SQL that notes a vendor's job. */
export const insertJob = ({ token, numbers, at }: JobRow): string =>
  `INSERT INTO state.jobs VALUES (${lit(token)}, [${numbers.join(', ')}]::BIGINT[], ${litTime(at)});`

/** The changes of a vendor job that an earlier run began, in order. */
export async function jobRows(db: Db, header: Header, numbers: readonly number[]): Promise<OutboxRow[]> {
  const chosen = `o.n IN (${numbers.join(', ') || 'NULL'})`
  const [upserts, removals] = [
    `${selectSql(header, false)} WHERE ${chosen} AND o.kind <> 'remove'`,
    `${selectSql(header, true)} WHERE ${chosen} AND o.kind = 'remove'`,
  ]
  return [...(await readRows(db, upserts)), ...(await readRows(db, removals))].sort((a, b) => a.n - b.n)
}

/** Rows of one text: what DuckDB holds in a value has an end, and rows may be megabytes. */
const ROWS_PER_TEXT = 500

/**
 * The rows of a `selectSql`, in order. They come as a few long texts, rows apart by U+001E: the driver takes a microsecond
 * for each value it hands over, ten times as much as splitting a text takes.
 */
async function readRows(db: Db, select: string): Promise<OutboxRow[]> {
  const texts = await db.rows<{ text: string }>(
    `SELECT string_agg(text, chr(30) ORDER BY n) AS text FROM (${select}) GROUP BY n // ${ROWS_PER_TEXT} ORDER BY n // ${ROWS_PER_TEXT}`,
  )
  return texts.flatMap(({ text }) => text.split('\x1e').map(toRow))
}

function toRow(text: string): OutboxRow {
  const [n, op, key = '', shared, match = '', previousMatch, fields = '', onCreate, ifEmpty, changed, remoteId, id = '', attempts] =
    text.split('\x1f')
  return {
    n: Number(n),
    op: op as Op,
    key: decode(key),
    shared: shared ? (JSON.parse(shared) as string[]) : NONE,
    match,
    previousMatch: previousMatch || null,
    fields,
    onCreate: onCreate || null,
    ifEmpty: ifEmpty || null,
    changed: changed ? (JSON.parse(changed) as string[]) : null,
    remoteId: remoteId ? decode(remoteId) : null,
    id,
    attempts: Number(attempts),
  }
}

const NONE: readonly string[] = []
/** The text of a JSON string. */
const decode = (json: string): string => (json.includes('\\') ? (JSON.parse(json) as string) : json.slice(1, -1))

/**
 * A change whose forerunner is not ok waits; a removal is not sent where this run confirmed something: at its address, or
 * on its record.
 */
const ELIGIBLE = `
(o.after IS NULL OR EXISTS (FROM state.journal j WHERE j.result IN ('ok', 'accepted') AND o.after BETWEEN j.first AND j.last))
AND (o.kind <> 'remove' OR (
  NOT EXISTS (FROM state.outbox u WHERE u.kind <> 'remove' AND u.address = o.address)
  AND (o.remote_id IS NULL OR o.remote_id NOT IN (SELECT remote_id FROM state.journal WHERE remote_id IS NOT NULL))))`

/** Contiguous runs of ascending numbers. */
function ranges(numbers: readonly number[]): [number, number][] {
  const found: [number, number][] = []
  for (const n of [...numbers].sort((a, b) => a - b)) {
    const last = found.at(-1)
    if (last && last[1] === n - 1) last[1] = n
    else found.push([n, n])
  }
  return found
}
