/** What a destination holds of the rows of today: read, and compared with what they would be sent as. */
import pLimit from 'p-limit'
import type { Destination } from './connector.ts'
import { encodeJson, RawJson, type Fields } from './json.ts'
import { normalise } from './normalise.ts'
import { opOf } from './open.ts'
import type { Session } from './open.ts'
import { asker, type Ask } from './reading.ts'
import { answerKey, createResolver, isWhole, type Answers, type Wanted } from './lookups.ts'
import { deliveredAs, wantedOf } from './references.ts'
import { cellOf, isEmpty, sameValue, valueOf } from './same-value.ts'
import { CHUNK_ROWS } from './state/db.ts'
import type { Appender, Db } from './state/db.ts'
import type { Placement } from './state/local.ts'
import type { PlacedField } from './state/payload.ts'
import type { Addressing } from './state/stage.ts'
import { cellValue, type Cell } from './values.ts'

/** What was found there, of rows that can be sent. */
export interface There {
  /** Held as they would be sent. */
  readonly same: number
  readonly different: number
  /** field -> rows in which it differs, most first. */
  readonly fields: Readonly<Record<string, number>>
  readonly missing: number
  /** Members that no row of the model is and that this sync does not own; null where the connector can't list them. */
  readonly extra: { readonly count: number; readonly samples: readonly Fields[] } | null
}

type Payload = readonly (Cell | null)[]
interface Row {
  readonly address: string
  readonly payload: Payload
}
interface Verdict {
  readonly address: string
  /** The address by what its references stand for. */
  readonly reached: string
  /** What stands for the record where its match has references. */
  readonly remoteId: string | null
  readonly verdict: 'same' | 'different' | 'missing'
  readonly payload: Payload
  readonly differs: readonly string[]
}

const MATCHES_PER_CALL = 100
const ROWS_PER_READ = 5_000
const SAMPLES = 5

/**
 * Asks for every row of the table `adopted` and fills `there (address, reached, remote_id, verdict, payload)`: where a record differs,
 * `payload` is what it holds. Changes nothing, there or in the state.
 */
export async function compareThere(session: Session, placement: Placement, addressing: Addressing): Promise<There> {
  const { context, stop } = session
  const { db } = session.state
  const width = placement.names.length
  const positions = Array.from({ length: width }, (_, i) => `p${i + 1}`)
  await db.run(
    `CREATE OR REPLACE TABLE cells (address VARCHAR, reached VARCHAR, remote_id VARCHAR, verdict VARCHAR, ${positions.map((name) => `${name} VARCHAR`).join(', ')})`,
  )
  // A question changes nothing there: nobody waits for its answer.
  context.signal.addEventListener('abort', stop, { once: true })
  const ask = asker(session)
  const counts = { same: 0, different: 0, missing: 0 }
  const fields = new Map<string, number>()
  const compareRows = comparer(session, placement.fields, addressing, ask)
  const appender = await db.append('cells', width + 4)
  try {
    for await (const rows of readRows(db, session)) {
      const verdicts = await compareRows(rows)
      for (const { verdict, differs } of verdicts) {
        counts[verdict]++
        for (const name of differs) fields.set(name, (fields.get(name) ?? 0) + 1)
      }
      append(appender, verdicts, width)
    }
  } finally {
    appender.close()
  }
  await db.run(
    `CREATE OR REPLACE TABLE there AS SELECT address, reached, remote_id, verdict, [${positions.join(', ')}]::VARCHAR[] AS payload FROM cells; DROP TABLE cells`,
  )
  const most = [...fields].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))
  return { ...counts, fields: Object.fromEntries(most), extra: await findExtra(session, addressing, ask) }
}

/** The rows of `adopted`, some thousands at a time. */
async function* readRows(db: Db, { sync, context }: Session): AsyncIterable<Row[]> {
  const { total } = await db.one<{ total: number }>('SELECT count(*) AS total FROM adopted')
  let after = ''
  for (let done = 0; done < total;) {
    context.report({ type: 'progress', sync: sync.name, phase: 'diff', done, total })
    const from = done === 0 ? '' : `WHERE address > ${quoted(after)}`
    const rows = await db.rows<Row>(`SELECT address, payload FROM adopted ${from} ORDER BY address LIMIT ${ROWS_PER_READ}`)
    done += rows.length
    after = rows.at(-1)?.address ?? after
    yield rows
    if (rows.length === 0) return
  }
}

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`

function append(appender: Appender, verdicts: readonly Verdict[], width: number): void {
  for (let from = 0; from < verdicts.length; from += CHUNK_ROWS) {
    const part = verdicts.slice(from, from + CHUNK_ROWS)
    appender.chunk([
      part.map(({ address }) => address),
      part.map(({ reached }) => reached),
      part.map(({ remoteId }) => remoteId),
      part.map(({ verdict }) => verdict),
      ...Array.from({ length: width }, (_, i) => part.map(({ payload }) => payload[i] ?? null)),
    ])
  }
}

/** Reads and compares rows, as many requests at once as the account allows. */
function comparer(
  session: Session,
  fields: readonly PlacedField[],
  addressing: Addressing,
  ask: Ask,
): (rows: readonly Row[]) => Promise<Verdict[]> {
  const { sync, destination, limits } = session
  const turns = pLimit(Math.max(1, limits(opOf(sync)).concurrency))
  const read = reader(destination)
  const resolver = createResolver((object, matches) => ask(() => lookup(destination, object, matches)))
  const match = fields.filter(({ field }) => field.match)
  const looksUp = !addressing.byKey && match.some(({ field }) => field.lookup !== null)
  const names = fields.filter(({ field }) => !field.match && field.write !== 'on_create').map(({ field }) => field.name)

  async function compareBatch(rows: readonly Row[]): Promise<Verdict[]> {
    const { found: ids } = await resolver.resolve(wantedBy(rows, fields))
    const wanted = rows.map(({ payload }) => matchOf(match, payload, ids))
    const asked = wanted.filter((one) => one !== null)
    const records = asked.length > 0 ? await ask(() => read(sync.object, asked, names)) : []
    let next = 0
    return rows.map(({ address, payload }, i): Verdict => {
      const fieldsOfMatch = wanted[i] ?? null
      const record = fieldsOfMatch === null ? null : (records[next++] ?? null)
      const reached = fieldsOfMatch === null ? address : (addressesOf(addressing, fieldsOfMatch)[0] ?? address)
      const remoteId = fieldsOfMatch !== null && looksUp ? deliveredAs(new RawJson(encodeJson(fieldsOfMatch))) : null
      const found = { address, reached, remoteId }
      if (record === null) return { ...found, verdict: 'missing', payload: [], differs: [] }
      // What an insert finds there it never writes.
      if (sync.mode === 'insert') return { ...found, verdict: 'same', payload: [], differs: [] }
      const compared = compareRecord(fields, payload, record, sync.spec.nested === true, ids)
      return { ...found, verdict: compared.differs.length > 0 ? 'different' : 'same', ...compared }
    })
  }

  return async (rows) => {
    const parts: Row[][] = []
    for (let from = 0; from < rows.length; from += MATCHES_PER_CALL) parts.push(rows.slice(from, from + MATCHES_PER_CALL))
    let failed = false
    const compareUnlessFailed = async (part: readonly Row[]): Promise<Verdict[]> => {
      if (failed) return []
      try {
        return await compareBatch(part)
      } catch (error) {
        failed = true
        throw error
      }
    }
    // What is in flight ends before its destination is closed.
    const ended = await Promise.allSettled(parts.map((part) => turns(() => compareUnlessFailed(part))))
    return ended.flatMap((one) => {
      if (one.status === 'rejected') throw one.reason
      return one.value
    })
  }
}

function reader(destination: Destination): NonNullable<Destination['read']> {
  return async (object, matches, fields) => {
    const records = (await destination.read?.(object, matches, fields)) ?? []
    if (records.length !== matches.length)
      throw new TypeError(`read was asked for ${matches.length} records and answered ${records.length}`)
    return records
  }
}

const lookup = (destination: Destination, object: string, matches: readonly Fields[]): Promise<readonly (string | null)[]> =>
  destination.lookup?.(object, matches) ?? Promise.reject(new TypeError('the connector has no lookup'))

/** The record that a cell refers to; null when it is no reference. */
function referenceOf({ field }: PlacedField, cell: Cell | null | undefined): Wanted | null {
  return field.lookup !== null && cell ? wantedOf(cellValue(cell)) : null
}

function wantedBy(rows: readonly Row[], fields: readonly PlacedField[]): Map<string, Wanted> {
  const wanted = new Map<string, Wanted>()
  for (const placed of fields) {
    if (placed.field.lookup === null) continue
    for (const { payload } of rows) {
      const reference = referenceOf(placed, payload[placed.position - 1])
      if (reference && isWhole(reference.match)) wanted.set(answerKey(reference), reference)
    }
  }
  return wanted
}

/** What the destination finds the record by; null when there is nothing, or a reference of it leads nowhere. */
function matchOf(match: readonly PlacedField[], payload: Payload, found: Answers['found']): Fields | null {
  const entries: [string, Fields[string]][] = []
  for (const placed of match) {
    const cell = payload[placed.position - 1] ?? null
    if (cell === null || cell === 'jnull') continue
    const reference = referenceOf(placed, cell)
    const value = reference ? (found.get(answerKey(reference)) ?? null) : cellValue(cell)
    if (value === null) return null
    entries.push([placed.field.name, value])
  }
  return entries.length === 0 ? null : Object.fromEntries(entries)
}

/** What the record holds, as a payload, and the fields in which that is another. */
function compareRecord(
  fields: readonly PlacedField[],
  wanted: Payload,
  record: Fields,
  nested: boolean,
  found: Answers['found'],
): { payload: Payload; differs: string[] } {
  const payload = [...wanted]
  const differs: string[] = []
  for (const placed of fields) {
    const { field, position } = placed
    const cell = wanted[position - 1] ?? null
    // Written to new records alone; left out of this row.
    if (field.match || field.write === 'on_create' || cell === null) continue
    const there = valueOf(record, field.name, nested)
    if (field.write === 'if_empty' && !isEmpty(there)) continue
    const reference = referenceOf(placed, cell)
    const id = reference && (isWhole(reference.match) ? found.get(answerKey(reference)) : null)
    if (reference && (id ?? null) === null && field.lookup?.onMiss === 'omit') continue
    const same = reference
      ? (id ?? null) === null
        ? field.lookup?.onMiss === 'null' && isEmpty(there)
        : sameValue(`s${id}`, there)
      : sameValue(cell, there)
    if (same) continue
    differs.push(field.name)
    payload[position - 1] = cellOf(there)
  }
  return { payload, differs }
}

/** The addresses of a member, or of a match: one, or one for each identifier. */
function addressesOf({ match, any }: Addressing, fields: Fields): string[] {
  const texts = match.map(({ field, normaliser }) => {
    const value = fields[field.name]
    const text = value === undefined || value === null ? null : normalise(normaliser, typeof value === 'string' ? value : encodeJson(value))
    return text !== null && any ? `${field.name}:${text}` : text
  })
  if (any) return texts.filter((text) => text !== null)
  if (texts.some((text) => text === null)) return []
  return [texts.length === 1 ? String(texts[0]) : JSON.stringify(texts)]
}

/** Members that are nobody's: in no row of the model, valid or not, and not put there by this sync. */
async function findExtra({ sync, destination, state }: Session, addressing: Addressing, ask: Ask): Promise<There['extra']> {
  const { db } = state
  const list = destination.list?.bind(destination)
  if (!list || !addressing.membership) return null
  await ask(async () => {
    await db.run('CREATE OR REPLACE TABLE listed (n VARCHAR, address VARCHAR, member VARCHAR)')
    const appender = await db.append('listed', 3)
    try {
      let rows: (string | null)[][] = []
      let n = 0
      const flush = (): void => {
        if (rows.length > 0) appender.chunk([0, 1, 2].map((i) => rows.map((row) => row[i] ?? null)))
        rows = []
      }
      for await (const member of list(sync.object)) {
        const addresses = addressesOf(addressing, member)
        const text = encodeJson(member)
        n++
        for (const address of addresses.length > 0 ? addresses : [null]) {
          rows.push([String(n), address, text])
          if (rows.length === CHUNK_ROWS) flush()
        }
      }
      flush()
    } finally {
      appender.close()
    }
  })
  const unnested = addressing.any ? 'unnest(address)' : 'address'
  await db.run(`
CREATE OR REPLACE TABLE expected AS
SELECT reached AS address FROM there UNION SELECT address FROM wanted UNION SELECT ${unnested} FROM doubtful WHERE address IS NOT NULL
UNION SELECT address FROM state.snapshot WHERE owned;
CREATE OR REPLACE TABLE extra AS
SELECT n, any_value(member) AS member FROM listed LEFT JOIN expected ON listed.address = expected.address GROUP BY n HAVING count(expected.address) = 0`)
  const { count } = await db.one<{ count: number }>('SELECT count(*) AS count FROM extra')
  const samples = await db.rows<{ member: string }>(`SELECT member FROM extra ORDER BY member LIMIT ${SAMPLES}`)
  return { count, samples: samples.map(({ member }) => JSON.parse(member) as Fields) }
}
