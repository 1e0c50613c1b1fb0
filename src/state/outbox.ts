/** The outbox of a run in the state file: changes read in order as JSON texts, intents and outcomes journalled. */
import { step } from '../crash.ts'
import type { Outbox, OutboxRow, Wave } from '../outbox.ts'
import type { Op } from '../types.ts'
import { guarded, lit, litTime, unguard } from './db.ts'
import type { Db } from './db.ts'
import type { Header } from './header.ts'
import { cellJsonSql } from './payload.ts'

/** Entries of one INSERT; longer statements parse slowly. */
const ENTRIES_PER_STATEMENT = 500

/** `now` gives milliseconds. `redact` takes secrets out of what services say. Opens connections of its own: readers and the journal never share one. */
export async function openOutbox(
  db: Db,
  header: Header,
  now: () => number,
  redact: (text: string) => string,
): Promise<Outbox & { close(): void }> {
  const reader = await db.connect()
  const writer = await db.connect()
  let seq = (await writer.one<{ seq: number }>('SELECT coalesce(max(seq), 0) AS seq FROM state.journal')).seq
  let buffer: string[] = []

  const entry = (
    first: number,
    last: number,
    result: string,
    detail: { remoteId?: string | undefined; code?: string | undefined; message?: string | undefined; field?: string | undefined } = {},
  ): string =>
    `(${++seq}, ${first}, ${last}, ${lit(result)}, ${lit(detail.remoteId ?? null)}, ${lit(detail.code === undefined ? null : redact(detail.code))}, ${lit(detail.message === undefined ? null : redact(detail.message))}, ${lit(detail.field ?? null)}, ${litTime(now())})`

  /** Everything in `buffer` and `further` in one durable transaction. */
  const write = async (further = ''): Promise<void> => {
    const values = buffer
    if (values.length === 0 && further === '') return
    buffer = []
    await writer.run('BEGIN')
    try {
      for (let i = 0; i < values.length; i += ENTRIES_PER_STATEMENT) {
        await writer.run(`INSERT INTO state.journal VALUES ${values.slice(i, i + ENTRIES_PER_STATEMENT).join(', ')}`)
      }
      if (further) await writer.run(further)
      await writer.run('COMMIT')
    } catch (error) {
      buffer = [...values, ...buffer]
      await writer.run('ROLLBACK').catch(() => undefined)
      throw error
    }
  }

  const select = selectSql(header)
  const ends = new Map(
    (await reader.rows<{ wave: number; last: number }>('SELECT wave, max(n) AS last FROM state.outbox GROUP BY wave')).map((w) => [
      w.wave,
      w.last,
    ]),
  )
  const bounded = await reader.rows<{ wave: number }>(`SELECT DISTINCT wave FROM state.outbox WHERE after IS NOT NULL OR kind = 'remove'`)
  const conditional = new Set(bounded.map(({ wave }) => wave))
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
        const rows = await reader.rows<RawRow>(
          `${select} WHERE o.n > ${from} AND o.n <= ${Math.min(last, from + limit)} AND o.wave = ${wave} ${condition} ORDER BY o.n`,
        )
        if (rows.length) return rows.map(toRow)
      }
      return []
    },
    async intend(numbers) {
      for (const [first, last] of ranges(numbers)) buffer.push(entry(first, last, 'intent'))
      step('intending')
      await write()
      step('intended')
    },
    record(item) {
      if ('first' in item) buffer.push(entry(item.first, item.last, item.result))
      else buffer.push(entry(item.n, item.n, item.result, item))
    },
    async token(token, numbers) {
      await write(`INSERT INTO state.jobs VALUES (${lit(token)}, [${numbers.join(', ')}]::BIGINT[], ${litTime(now())})`)
    },
    flush: () => write(),
    close() {
      reader.close()
      writer.close()
    },
  }
}

/** The changes of a vendor job that an earlier run began, in order. */
export async function jobRows(db: Db, header: Header, numbers: readonly number[]): Promise<OutboxRow[]> {
  const rows = await db.rows<RawRow>(`${selectSql(header)} WHERE o.n IN (${numbers.join(', ') || 'NULL'}) ORDER BY o.n`)
  return rows.map(toRow)
}

type RawRow = Omit<OutboxRow, 'shared'> & { shared: string[] | null }

const toRow = (row: RawRow): OutboxRow => ({ ...row, key: unguard(row.key) ?? '', shared: row.shared ?? [] })

/**
 * A change whose forerunner is not ok waits; a removal is not sent where this run confirmed something: at its address, or
 * on its record.
 */
const ELIGIBLE = `
(o.after IS NULL OR EXISTS (FROM state.journal j WHERE j.result IN ('ok', 'accepted') AND o.after BETWEEN j.first AND j.last))
AND (o.kind <> 'remove' OR (
  NOT EXISTS (FROM state.outbox u WHERE u.kind <> 'remove' AND u.address = o.address)
  AND (o.remote_id IS NULL OR o.remote_id NOT IN (SELECT remote_id FROM state.journal WHERE remote_id IS NOT NULL))))`

/** Members that each begin with a comma, as an object. */
const object = (inner: string): string => `'{' || substr(${inner}, 2) || '}'`

function selectSql(header: Header): string {
  const list = (positions: readonly number[], from: string, keep: (position: number, cell: string) => string): string => {
    const parts = positions.map((position) => {
      const cell = `${from}[${position}]`
      const name = JSON.stringify(header.fields[position - 1] ?? '')
      return `CASE WHEN ${keep(position, cell)} THEN ${lit(`,${name}:`)} || ${cellJsonSql(cell)} ELSE '' END`
    })
    return parts.join(' || ') || `''`
  }
  const written = new Set(header.nullsWritten)
  const special = new Set([...header.match, ...header.onCreate, ...header.ifEmpty])
  const plain = header.fields.map((_, i) => i + 1).filter((position) => !special.has(position))
  const sent = (position: number, cell: string): string => {
    const nulls = written.has(position) ? '' : ` AND (o.kind <> 'add' OR ${cell} <> 'jnull')`
    const changed =
      header.send === 'changed' ? ` AND (o.differs IS NULL OR list_contains(o.differs, ${lit(header.fields[position - 1] ?? '')}))` : ''
    return `${cell} IS NOT NULL${nulls}${changed}`
  }
  const fields = object(`(${list(plain, 'o.payload', sent)}${metaSql(header)})`)
  const match = header.any
    ? object(`(${anyMatchSql(header)})`)
    : object(`(${list(header.match, `coalesce(o.payload, o.known)`, (_, cell) => `${cell} IS NOT NULL AND ${cell} <> 'jnull'`)})`)
  const moved = header.match.map((p) => `(o.payload[${p}] IS DISTINCT FROM o.known[${p}])`).join(' OR ') || 'FALSE'
  const previous = header.any
    ? 'NULL'
    : `CASE WHEN o.known IS NOT NULL AND o.payload IS NOT NULL AND (${moved}) THEN ${object(`(${list(header.match, 'o.known', (_, cell) => `${cell} IS NOT NULL AND ${cell} <> 'jnull'`)})`)} END`
  const bag = (positions: readonly number[]): string =>
    positions.length ? `CASE WHEN o.kind <> 'remove' THEN ${object(`(${list(positions, 'o.payload', sent)})`)} END` : 'NULL'
  return `
SELECT o.n, o.op, ${guarded('o.key')} AS key, ${header.any ? '[o.address] || coalesce(o.more, [])' : 'NULL'} AS shared, ${match} AS match, ${previous} AS "previousMatch",
  CASE WHEN o.kind = 'remove' THEN ${removalSql(header, plain)} ELSE ${fields} END AS fields,
  ${bag(header.onCreate)} AS "onCreate", ${bag(header.ifEmpty)} AS "ifEmpty", o.differs AS changed, o.remote_id AS "remoteId", o.id, o.attempts
FROM state.outbox o`
}

/** Fields that are rendered when they are sent; a repeat under one id carries what the first one did. */
function metaSql(header: Header): string {
  return header.meta
    .map(({ name, meta }) => {
      const value = meta === 'sync' ? lit(header.sync) : meta === 'run' ? 'o.run' : 'o.sent_at'
      return ` || ${lit(`,${JSON.stringify(name)}:`)} || to_json(${value})::VARCHAR`
    })
    .join('')
}

/** Fields of a removal: none for a delete, nulls for `clear`, the constants for `set`. */
function removalSql(header: Header, plain: readonly number[]): string {
  if (header.removal === 'set') return lit(header.removeSet ?? '{}')
  if (header.removal !== 'clear') return `'{}'`
  const parts = plain.map(
    (position) =>
      `CASE WHEN o.known[${position}] IS NOT NULL THEN ${lit(`,${JSON.stringify(header.fields[position - 1] ?? '')}:null`)} ELSE '' END`,
  )
  return object(`(${parts.join(' || ') || `''`})`)
}

/** An any-of member names the identifiers it stands for: all it has when it is added, those that go when it is removed. */
function anyMatchSql(header: Header): string {
  const parts = header.match.map((position) => {
    const name = header.fields[position - 1] ?? ''
    const prefix = `${name}:`
    const found = `list_filter([o.address] || coalesce(o.more, []), lambda x: starts_with(x, ${lit(prefix)}))[1]`
    return `CASE WHEN ${found} IS NOT NULL THEN ${lit(`,${JSON.stringify(name)}:`)} || to_json(substr(${found}, ${prefix.length + 1}))::VARCHAR ELSE '' END`
  })
  return parts.join(' || ') || `''`
}

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
