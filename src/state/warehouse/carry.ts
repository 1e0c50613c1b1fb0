/** A state on its way between a database and the run's own file: rows as texts, lists and structures as JSON. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { CdpError } from '../../errors.ts'
import { extractSql } from '../../warehouse/extract.ts'
import type { Extract } from '../../warehouse/warehouse.ts'
import type { JournalNote } from '../carry.ts'
import { lit } from '../db.ts'
import type { Db } from '../db.ts'
import { COUNT_ROWS, transaction } from '../fold.ts'
import { setMeta } from '../header.ts'
import { openState } from '../local.ts'
import { insertJob, writeJournal } from '../outbox.ts'
import { PENDING } from '../schema.ts'
import type { Sql } from './sql.ts'
import { SCOPE_COLUMNS, SNAPSHOT, sameAddress, snapshotSql, within, WAREHOUSE_FORMAT } from './tables.ts'
import type { Scope, TableName } from './tables.ts'

/** What stands in `states` about one state. */
export interface StateNote {
  readonly format: number
  /** The run whose outbox and journal are there: it may have sent. */
  readonly run: string | null
  readonly meta: readonly { readonly name: string; readonly value: string | null }[]
  readonly fields: readonly { readonly position: number; readonly name: string; readonly signature: string | null }[]
  /** Addresses in the snapshot, and how many of them are owned. */
  readonly rows: number
  readonly owned: number
  /** Rows in `changes`, for those databases that append. */
  readonly changes: number
}

export interface Versioned {
  readonly version: number
  readonly note: StateNote
}

export const table = (sql: Sql, scope: Scope, name: TableName): string => sql.dialect.table(scope.schema, name)

export async function readNote(sql: Sql, scope: Scope): Promise<Versioned | null> {
  const [row] = await sql.rows<{ version: number; note: string }>(
    `SELECT version, note FROM ${table(sql, scope, 'states')} WHERE ${within(sql.dialect, scope)}`,
  )
  if (!row) return null
  const note = JSON.parse(row.note) as StateNote
  if (note.format <= WAREHOUSE_FORMAT) return { version: row.version, note }
  throw new CdpError('CDP4001', `The state of ${scope.sync} was written by a newer version of cdp-sync (format ${note.format}).`, {
    hint: 'Upgrade cdp-sync on this machine.',
  })
}

const JSON_TYPES: Readonly<Record<string, string>> = { 'VARCHAR[]': '["VARCHAR"]', 'BIGINT[]': '["BIGINT"]' }

/** How JSON made of a row of a local table is read back. */
async function structureOf(db: Db, name: string): Promise<{ columns: string[]; structure: string }> {
  const columns = await db.rows<{ column_name: string; column_type: string }>(`DESCRIBE state.${name}`)
  const members = columns.map((it) => `${JSON.stringify(it.column_name)}:${JSON_TYPES[it.column_type] ?? JSON.stringify(it.column_type)}`)
  return { columns: columns.map((it) => it.column_name), structure: `{${members.join(',')}}` }
}

/** SQL: rows of a local table out of JSON texts. */
async function rowsFromJson(db: Db, name: string, from: string, text: string): Promise<string> {
  const { columns, structure } = await structureOf(db, name)
  return `SELECT ${columns.map((column) => `r.${column}`).join(', ')} FROM (SELECT from_json(${text}, ${lit(structure)}) AS r FROM ${from})`
}

const PENDING_JSON =
  '{"op":"VARCHAR","key":"VARCHAR","payload":["VARCHAR"],"id":"VARCHAR","run":"VARCHAR","sent_at":"VARCHAR","changed":["VARCHAR"]}'

const LISTED: Readonly<Record<string, string>> = {
  payload: `'["VARCHAR"]'`,
  pending: lit(PENDING_JSON),
}
const TYPED: Readonly<Record<string, string>> = {
  hash: 'UBIGINT',
  confirmed_at: 'TIMESTAMP',
  owned: 'BOOLEAN',
  accepted: 'BOOLEAN',
  gone: 'BOOLEAN',
  uncertain: 'BOOLEAN',
  pending: PENDING,
}

/** SQL: the columns of a snapshot row as texts, as they lie in the database. */
export const SNAPSHOT_TEXTS: readonly string[] = SNAPSHOT.map((column) =>
  column in LISTED
    ? `CASE WHEN ${column} IS NULL THEN NULL ELSE to_json(${column})::VARCHAR END AS ${column}`
    : `${column}::VARCHAR AS ${column}`,
)

/** SQL: the same back, out of the columns c0, c1, … of an extract. */
const SNAPSHOT_VALUES = SNAPSHOT.map((column, i) => {
  const value = column in LISTED ? `from_json(c${i}, ${LISTED[column]})` : `c${i}`
  return column in TYPED ? `${value}::${TYPED[column]}` : value
}).join(', ')

/** Tables that remember what was brought: what a run changed is the difference to them. */
const LOADED = `
CREATE TABLE IF NOT EXISTS state.loaded_snapshot AS FROM state.snapshot LIMIT 0;
CREATE TABLE IF NOT EXISTS state.loaded_verdicts AS FROM state.verdicts LIMIT 0;`

/** What is there now is what the database has. */
const REMEMBER_SNAPSHOT = 'DELETE FROM state.loaded_snapshot; INSERT INTO state.loaded_snapshot FROM state.snapshot;'
const REMEMBER_VERDICTS = 'DELETE FROM state.loaded_verdicts; INSERT INTO state.loaded_verdicts FROM state.verdicts;'

/** Puts these rows into the file as its snapshot; `total` are in the database. */
export async function replaceSnapshot(db: Db, extract: Extract | null, total: number): Promise<void> {
  await db.run(LOADED)
  await transaction(
    db,
    `DELETE FROM state.snapshot; ${extract ? `INSERT INTO state.snapshot SELECT ${SNAPSHOT_VALUES} FROM ${extractSql(extract)};` : ''}
${REMEMBER_SNAPSHOT} ${COUNT_ROWS}`,
  )
  const { n } = await db.one<{ n: number }>('SELECT count(*) AS n FROM state.snapshot')
  if (n !== (extract?.rows ?? 0)) throw new Error(`the snapshot has ${extract?.rows} rows to compare, ${n} were read`)
  await transaction(db, setMeta('elsewhere', total - n))
}

export const readSnapshot = (sql: Sql, scope: Scope): string =>
  `SELECT ${SNAPSHOT.join(', ')} FROM ${snapshotSql(sql.dialect, scope, SNAPSHOT)} s`

/** Memory and threads for a state file that is only put together. */
const SMALL = { memory: 256 * 1_048_576, threads: 1 }

/** The snapshot has another number of addresses than the last run left there. */
export const damagedError = (sql: Sql, scope: Scope, rows: number, seen: number): CdpError =>
  new CdpError('CDP4001', `The state of ${scope.sync} in ${sql.address} is damaged: it should hold ${rows} addresses and holds ${seen}.`, {
    where: scope.sync,
    hint: 'Restore the tables of its schema from a backup, all of them. Or `cdp-sync reset` forgets what was delivered.',
  })

/** Makes the state file: whole, or but for what of the snapshot no unfinished run touches. */
export async function bringState(
  sql: Sql,
  scope: Scope,
  found: Versioned | null,
  file: string,
  folder: string,
  whole: boolean,
): Promise<void> {
  for (const path of [file, `${file}.wal`]) await rm(path, { force: true })
  const state = await openState({ file, writable: true, spill: join(folder, 'spill'), ...SMALL })
  try {
    const { db } = state
    await db.run(LOADED)
    if (found === null) return
    const { note } = found
    const fields = note.fields.map(({ position, name, signature }) => `(${position}, ${lit(name)}, ${lit(signature)})`)
    await transaction(
      db,
      [
        ...(fields.length > 0 ? [`INSERT INTO state.fields VALUES ${fields.join(', ')};`] : []),
        ...note.meta.map(({ name, value }) => setMeta(name, value)),
      ].join('\n'),
    )
    await bringTexts(sql, scope, db, folder, 'verdicts', 'verdict')
    if (note.run !== null) await bringRun(sql, scope, db, folder)
    const snapshot = readSnapshot(sql, scope)
    const path = join(folder, 'snapshot')
    if (whole) await replaceSnapshot(db, await sql.fetch(snapshot, SNAPSHOT.length, path), note.rows)
    else if (note.run !== null) await bringTouched(sql, db, snapshot, path, note.rows)
    else await replaceSnapshot(db, null, note.rows)
    await rm(path, { force: true })
    await transaction(db, REMEMBER_VERDICTS)
    await db.run('CHECKPOINT state')
  } finally {
    state.close()
  }
}

async function bringTexts(sql: Sql, scope: Scope, db: Db, folder: string, name: 'verdicts' | 'outbox', column: string): Promise<number> {
  const path = join(folder, name)
  const extract = await sql.fetch(`SELECT ${column} FROM ${table(sql, scope, name)} WHERE ${within(sql.dialect, scope)}`, 1, path)
  if (extract.rows > 0) await db.run(`INSERT INTO state.${name} ${await rowsFromJson(db, name, extractSql(extract), 'c0')}`)
  await rm(path, { force: true })
  return extract.rows
}

async function bringRun(sql: Sql, scope: Scope, db: Db, folder: string): Promise<void> {
  await bringTexts(sql, scope, db, folder, 'outbox', 'change')
  const parts = await sql.rows<{ part: string }>(
    `SELECT part FROM ${table(sql, scope, 'journal')} WHERE ${within(sql.dialect, scope)} ORDER BY number`,
  )
  const journal = parts.map(({ part }) => JSON.parse(part) as JournalNote)
  // A part that was stored twice, because nobody heard of the first time, counts once.
  const rows = [...new Map(journal.flatMap((part) => part.rows).map((row) => [row.seq, row])).values()]
  const jobs = [...new Map(journal.flatMap((part) => part.jobs).map((job) => [`${job.at} ${job.token}`, job])).values()]
  await writeJournal(db, rows)
  if (jobs.length > 0) await db.run(jobs.map(insertJob).join('\n'))
}

/** The rows of the snapshot at addresses of the outbox. */
async function bringTouched(sql: Sql, db: Db, snapshot: string, path: string, total: number): Promise<void> {
  const extract = await sql.workspace({ touched: [`address ${sql.dialect.types.text}`] }, null, async ({ temporary }) => {
    const addresses = `SELECT address FROM state.outbox UNION SELECT unnest(more) FROM state.outbox UNION SELECT previous FROM state.outbox WHERE previous IS NOT NULL`
    await sql.load(temporary('touched'), ['address'], db, addresses)
    return sql.fetch(
      `SELECT w.* FROM (${snapshot}) w JOIN ${temporary('touched')} t ON ${sameAddress(sql.dialect, 't.address', 'w.address')}`,
      SNAPSHOT.length,
      path,
    )
  })
  await replaceSnapshot(db, extract, total)
}

/** What of the state a run wrote before it sends, but for the outbox; the counts are those of the last commit. */
export async function noteOf(db: Db, run: string | null, counts: Pick<StateNote, 'rows' | 'owned' | 'changes'>): Promise<StateNote> {
  return {
    format: WAREHOUSE_FORMAT,
    run,
    meta: await db.rows(`SELECT name, value FROM state.meta WHERE name NOT IN ('format', 'rows', 'elsewhere') ORDER BY name`),
    fields: await db.rows('SELECT position, name, signature FROM state.fields ORDER BY position'),
    ...counts,
  }
}

/** SQL: the rows of a local table as JSON texts, with what the table in the database has before them. */
export const jsonRows = (scope: Scope, name: string, columns: string): string =>
  `SELECT ${localScope(scope)}, ${columns}, to_json(r)::VARCHAR FROM ${name} r`

/** SQL for this machine: project, environment and sync as values. */
export const localScope = ({ project, environment, sync }: Scope): string => [project, environment, sync].map(lit).join(', ')

/**
 * Writes what changed since the file was brought: within the caller's transaction. Gives the counts after it. `number` is
 * higher than that of any earlier change.
 */
export async function storeChanges(
  sql: Sql,
  scope: Scope,
  db: Db,
  before: StateNote | null,
  number: number,
): Promise<Pick<StateNote, 'rows' | 'owned' | 'changes'>> {
  // A file that came from elsewhere has none of these.
  await db.run(LOADED)
  const { loaded } = await db.one<{ loaded: number }>('SELECT count(*) AS loaded FROM state.loaded_snapshot')
  // Nothing was there, as on a first run: to compare all rows whole with nothing takes as long as to write them.
  await db.run(`
CREATE OR REPLACE TEMP TABLE newer AS FROM state.snapshot${loaded === 0 ? '' : ' EXCEPT FROM state.loaded_snapshot'};
CREATE OR REPLACE TEMP TABLE older AS SELECT address FROM state.loaded_snapshot SEMI JOIN (SELECT address FROM state.loaded_snapshot EXCEPT SELECT address FROM state.snapshot UNION SELECT address FROM newer) USING (address)`)
  const found = await db.one<{
    newer: number
    older: number
    gone: number
    rows: number
    owned: number
    rejudged: number
    judged: number
  }>(`
SELECT (SELECT count(*) FROM newer) AS newer, (SELECT count(*) FROM older) AS older,
  (SELECT count(*) FROM state.snapshot) + coalesce((SELECT value::BIGINT FROM state.meta WHERE name = 'elsewhere'), 0) AS rows,
  (SELECT count(*) FILTER (owned) FROM state.snapshot) - (SELECT count(*) FILTER (owned) FROM state.loaded_snapshot) AS owned,
  (SELECT count(*) FROM (FROM state.verdicts EXCEPT FROM state.loaded_verdicts)) + (SELECT count(*) FROM (FROM state.loaded_verdicts EXCEPT FROM state.verdicts)) AS rejudged,
  (SELECT count(*) FROM state.verdicts) AS judged`)
  const owned = found.rows === 0 ? 0 : (before?.owned ?? 0) + found.owned
  const counts = { rows: found.rows, owned, changes: before?.changes ?? 0 }
  const columns = [SCOPE_COLUMNS, ...SNAPSHOT]
  // In order: an index over texts grows by its end then, in two thirds of the time and to half the size.
  const newer = `SELECT ${localScope(scope)}, ${SNAPSHOT_TEXTS.join(', ')} FROM newer ORDER BY newer.address`
  if ((before?.rows ?? 0) === 0 && counts.changes === 0) {
    if (found.newer > 0) await sql.load(table(sql, scope, 'snapshot'), columns, db, newer)
  } else if (sql.dialect.appends) {
    const target = table(sql, scope, 'changes')
    const gone = `SELECT ${localScope(scope)}, '${number}', 'true', ${SNAPSHOT.map((column) => (column === 'address' ? column : `NULL AS ${column}`)).join(', ')} FROM older ANTI JOIN newer USING (address)`
    const rows = `SELECT ${localScope(scope)}, '${number}', 'false', ${SNAPSHOT_TEXTS.join(', ')} FROM newer UNION ALL ${gone}`
    if (found.newer + found.older > 0) counts.changes += await sql.load(target, [SCOPE_COLUMNS, 'number', 'removed', ...SNAPSHOT], db, rows)
    if (counts.changes > counts.rows / 10) counts.changes = await compact(sql, scope)
  } else {
    if (found.older > 0) await removeRows(sql, scope, db)
    if (found.newer > 0) await sql.load(table(sql, scope, 'snapshot'), columns, db, newer)
  }
  if (found.rejudged > 0) {
    await sql.run(`DELETE FROM ${table(sql, scope, 'verdicts')} WHERE ${within(sql.dialect, scope)}`)
    if (found.judged > 0)
      await sql.load(
        table(sql, scope, 'verdicts'),
        [SCOPE_COLUMNS, 'address', 'op', 'verdict'],
        db,
        jsonRows(scope, 'state.verdicts', 'address, op'),
      )
  }
  return counts
}

/** After the transaction: what is in the file is what the database has. */
export const remember = (db: Db): Promise<void> => transaction(db, REMEMBER_SNAPSHOT + REMEMBER_VERDICTS)

async function removeRows(sql: Sql, scope: Scope, db: Db): Promise<void> {
  const { create, end } = sql.dialect.temporary
  await sql.run(`${create} cdp_older (address ${sql.dialect.types.text}) ${end}`)
  await sql.load('cdp_older', ['address'], db, 'SELECT address FROM older')
  const same = sameAddress(sql.dialect, 's.address', 'o.address')
  await sql.run(`DELETE FROM ${table(sql, scope, 'snapshot')} s USING cdp_older o WHERE ${within(sql.dialect, scope, 's.')} AND ${same}`)
}

/** Folds the changes into the snapshot: rewrites a part of it that is worth a rewrite. Gives the changes left. */
async function compact(sql: Sql, scope: Scope): Promise<number> {
  const [snapshot, changes] = [table(sql, scope, 'snapshot'), table(sql, scope, 'changes')]
  const own = within(sql.dialect, scope)
  const list = SNAPSHOT.join(', ')
  await sql.run(`DELETE FROM ${snapshot} WHERE ${own} AND address IN (SELECT address FROM ${changes} WHERE ${own})`)
  await sql.run(`
INSERT INTO ${snapshot} (${SCOPE_COLUMNS}, ${list})
SELECT ${SCOPE_COLUMNS}, ${list} FROM (
  SELECT c.*, row_number() OVER (PARTITION BY address ORDER BY number DESC) AS turn FROM ${changes} c WHERE ${own}
) latest WHERE turn = 1 AND NOT removed`)
  await sql.run(`DELETE FROM ${changes} WHERE ${own}`)
  return 0
}
