/** Reads the model and finds what differs from what was delivered: describe, map, extract, stage, diff. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createHash } from 'node:crypto'
import { CdpError, ConfigErrors } from './errors.ts'
import { checkFields } from './field-checks.ts'
import { compileMapping } from './mapping.ts'
import type { Mapping } from './mapping.ts'
import { addressingOf, normaliserOf, opOf, unsafeOps } from './open.ts'
import type { Session } from './open.ts'
import { diff } from './state/diff.ts'
import { viewUncertain } from './state/fold.ts'
import type { DiffCounts } from './state/diff.ts'
import { placeFields } from './state/local.ts'
import type { Placement } from './state/local.ts'
import { hashColumns, stage, wantedColumns } from './state/stage.ts'
import type { Addressing, HashSql, Staged } from './state/stage.ts'
import { NOTHING } from './state/warehouse/narrow.ts'
import type { Elsewhere } from './state/warehouse/narrow.ts'
import type { Sync } from './config/types.ts'
import type { Column } from './types.ts'
import { openWarehouse } from './warehouse/open.ts'
import type { Extract, ModelQuery } from './warehouse/warehouse.ts'

/** What the model's rows say against the snapshot; the rows themselves lie in the session's database. */
export interface Comparison {
  readonly mapping: Mapping
  readonly addressing: Addressing
  readonly placement: Placement
  readonly staged: Staged
  readonly elsewhere: Elsewhere
  readonly counts: DiffCounts
  /** Before `--key` and `--limit`: what guards look at. */
  readonly whole: DiffCounts
  readonly context: string
  readonly position: string | null
  /** SQL name of a model column in the staged relation. */
  readonly raw: (column: string) => string
}

/** The model's rows beside the snapshot: all of both, or what may differ. */
export interface Reading {
  readonly mapping: Mapping
  readonly addressing: Addressing
  readonly placement: Placement
  readonly extract: Extract
  /** Rows of the model, here and elsewhere. */
  readonly staged: Staged
  readonly elsewhere: Elsewhere
  readonly raw: (column: string) => string
}

/**
 * Brings the model's rows beside the snapshot. The warehouse's transaction ends here. `also` are keys whose rows are brought
 * whether they differ or not.
 */
export async function readModel(session: Session, also: 'all' | readonly string[]): Promise<Reading> {
  const { sync, context, memory, run } = session
  const warehouse = await openWarehouse(sync.warehouse, { root: session.project.root, memory: context.memory, threads: context.threads })
  try {
    const query: ModelQuery = { sync: sync.name, run, sql: sync.model.sql, where: sync.model.where, condition: sync.model.condition }
    const columns = await warehouse.describe(query)
    checkKey(session, columns)
    const mapping = compileMapping(sync, columns)
    const problems = await checkFields(sync, session.destination, mapping)
    if (problems.length > 0) throw new ConfigErrors(problems)
    const addressing = addressingOf(sync, mapping)
    const folder = join(session.work, 'spool')
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const progress = (bytes: number): void =>
      context.report({ type: 'progress', sync: sync.name, phase: 'stage', done: bytes, total: null })
    const wanted = wantedColumns(mapping, columns, memory.hashColumns)
    const io = { signal: context.signal, progress }
    const stored = memory.first ? null : memory.hashColumns
    const placement = await placeFields(session.state.db, mapping.match, mapping.fields, (name) => normaliserOf(sync, name))
    const read = (): Promise<Extract> => warehouse.extract(query, wanted, folder, io)
    const put = (extract: Extract, hash?: HashSql, holdsNul?: boolean): Promise<Staged> =>
      stage(session.state.db, extract, mapping, addressing, stored, hash, holdsNul)
    const { extract, staged, elsewhere } = session.narrow
      ? await session.narrow({
          db: session.state.db,
          query,
          columns: wanted,
          addressing,
          match: matchColumns(sync, addressing, wanted),
          hashed: hashColumns(mapping),
          stored,
          adding: sync.mode === 'insert' || sync.mode === 'append',
          removes: sync.mode === 'mirror' && sync.onRemove !== 'none',
          dueBefore: sync.spec.refreshAfter === undefined ? null : session.startedAt - sync.spec.refreshAfter,
          all: also === 'all' || looksAtAll(session, mapping, placement),
          keys: also === 'all' ? [] : also,
          folder,
          signal: context.signal,
          extract: read,
          stage: put,
        })
      : await read().then(async (found) => ({ extract: found, staged: await put(found), elsewhere: NOTHING }))
    checkPosition(session, extract.position)
    const position = new Map(extract.columns.map(({ name }, index) => [name, `c${index}`]))
    const whole = { ...staged, rows: staged.rows + elsewhere.rows, nullKeys: staged.nullKeys + elsewhere.nullKeys }
    return { mapping, addressing, placement, staged: whole, extract, elsewhere, raw: (column) => position.get(column) ?? 'NULL' }
  } finally {
    await warehouse.close()
  }
}

/** Whether unchanged rows must be looked at too: a field means something else now, or nothing there can be trusted. */
function looksAtAll(session: Session, mapping: Mapping, placement: Placement): boolean {
  const { memory, context } = session
  // A look sees what a killed run left folded here alone.
  const folded = memory.header !== null
  const rehashed = memory.hashColumns?.join('\0') !== hashColumns(mapping).join('\0')
  return memory.first || placement.edited.size > 0 || rehashed || context.options.fullRefresh || folded
}

/** The columns of match fields that are nothing but a column. */
function matchColumns(sync: Sync, { match }: Addressing, columns: readonly Column[]): (Column | null)[] {
  return match.map(({ field }) => {
    const spec = sync.match.find(({ name }) => name === field.name)
    const plain = spec?.source.kind === 'column' && !spec.map && !spec.default && spec.type === undefined && spec.transform.length === 0
    const [input] = field.inputs
    return (plain && columns.find(({ name }) => name === input)) || null
  })
}

/** The diff. `sampleOnly`: on a first run compute the payloads of so many rows only. */
export async function compare(session: Session, sampleOnly: number | null, also: 'all' | readonly string[] = []): Promise<Comparison> {
  const { sync, context, memory, state } = session
  context.report({ type: 'phase', sync: sync.name, phase: 'stage' })
  const { mapping, addressing, placement, staged, elsewhere, extract, raw } = await readModel(session, also)
  context.report({ type: 'phase', sync: sync.name, phase: 'diff' })
  const attempt = contextOf(session, mapping)
  if (context.options.fullRefresh) {
    checkRefresh(session)
    await viewUncertain(state.db)
  }
  const { whole, counts } = await diff(state.db, {
    mode: sync.mode,
    op: opOf(sync),
    removal: sync.onRemove,
    addressing,
    renames: !addressing.byKey && typeof sync.spec.address === 'object' && sync.spec.address.renames === true && !addressing.membership,
    staged,
    elsewhere,
    fields: placement.fields,
    width: placement.names.length,
    edited: memory.first ? new Set() : placement.edited,
    raw,
    first: memory.first,
    now: session.startedAt,
    refreshAfter: sync.spec.refreshAfter ?? null,
    unsafe: unsafeOps(sync.spec),
    context: attempt,
    nullKeysBefore: memory.nullKeys,
    allowNullKeys: context.options.allow.has('null_keys'),
    sampleOnly,
    selection: { keys: context.options.keys, limit: context.options.limit },
  })
  return { mapping, addressing, placement, staged, elsewhere, counts, whole, context: attempt, position: extract.position, raw }
}

/** Sending everything again must do no harm. */
function checkRefresh({ sync }: Session): void {
  const op = opOf(sync)
  if (sync.mode !== 'append' && !(op === 'insert' && unsafeOps(sync.spec).includes(op))) return
  throw new CdpError('CDP4018', `${sync.name} can't be refreshed: in mode ${sync.mode} every row would arrive a second time.`, {
    where: sync.locate(['mode']),
    hint: `To send all rows as new ones, forget what was sent: \`cdp-sync reset ${sync.name}\`.`,
  })
}

/** What a rejected row is tried again for: mapping, options, target, connector version. */
function contextOf(session: Session, mapping: Mapping): string {
  const parts = [
    session.target,
    session.sync.options,
    session.sync.destination.connector.version,
    [...mapping.match, ...mapping.fields].map(({ name, signature }) => [name, signature]),
  ]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16)
}

function checkKey({ sync }: Session, columns: readonly Column[]): void {
  for (const name of sync.model.key) {
    const column = columns.find((candidate) => candidate.name === name)
    // A missing one is reported with all other problems of the mapping.
    if (column && (column.type === 'float' || column.type === 'json')) {
      throw new CdpError('CDP4006', `The key column "${name}" is a ${column.native}: two texts of one such value may differ.`, {
        where: sync.locate(['model', 'key']),
        hint: 'Use an integer, a text or a UUID as the key, or cast it in the model.',
      })
    }
  }
  if (typeof sync.spec.address === 'object' && sync.match.length === 0 && sync.mode !== 'append') {
    throw new CdpError('CDP4007', `${sync.name} has no match, and ${sync.destination.connector.name} finds its records by it.`, {
      where: sync.where,
      hint: `Write \`match:\` with one of: ${Object.keys(sync.spec.match).join(', ')}.`,
    })
  }
}

/** A replica that is behind the one read last time would show rows as removed. */
function checkPosition({ sync, memory }: Session, position: string | null): void {
  if (position === null || memory.position === null || !olderPosition(position, memory.position)) return
  throw new CdpError(
    'CDP4010',
    `The warehouse shows an older state (${position}) than the last run read (${memory.position}): a replica that is behind.`,
    {
      where: sync.model.where,
      hint: 'Run again when the replica has caught up, or read from the primary.',
    },
  )
}

/** PostgreSQL log positions: two hexadecimal numbers. */
function olderPosition(a: string, b: string): boolean {
  return /^[0-9A-F]+\/[0-9A-F]+$/i.test(a) && /^[0-9A-F]+\/[0-9A-F]+$/i.test(b) && number(a) < number(b)
}

function number(position: string): bigint {
  const [high = '0', low = '0'] = position.split('/')
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`)
}

export const storedHashColumns = (mapping: Mapping): string => JSON.stringify(hashColumns(mapping))
