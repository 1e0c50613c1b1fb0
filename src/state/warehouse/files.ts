/** Run records, attempts and rejections: files here, rows in the database. */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { KEEP_RUNS } from '../../records.ts'
import type { StatePaths } from '../../records.ts'
import { lit, openDb } from '../db.ts'
import { localScope, table } from './carry.ts'
import type { Sql } from './sql.ts'
import { SCOPE_COLUMNS, within } from './tables.ts'
import type { Scope, TableName } from './tables.ts'

/** Adds a row for each line of a file (or one for all of it) to a table; the texts of `more` stand before them. */
async function loadFile(
  sql: Sql,
  scope: Scope,
  name: TableName,
  columns: readonly string[],
  more: readonly string[],
  file: string,
  by: 'line' | 'file',
): Promise<void> {
  if (!existsSync(file)) return
  const { db, close } = await openDb({ memory: 256 * 1_048_576, threads: 1, spill: join(file, '..') })
  try {
    const fixed = [localScope(scope), ...more.map(lit)].join(', ')
    const lines = `SELECT ${fixed}, n::VARCHAR, lines[n] FROM (SELECT string_split(content, chr(10)) AS lines FROM read_text(${lit(file)})), range(1, len(lines) + 1) t(n) WHERE lines[n] <> ''`
    const from = by === 'line' ? lines : `SELECT ${fixed}, content FROM read_text(${lit(file)})`
    await sql.load(table(sql, scope, name), [SCOPE_COLUMNS, ...columns], db, from)
  } finally {
    close()
  }
}

/** Rows that did not arrive, as `rejected` reads them; within the caller's transaction. */
export async function storeRejections(sql: Sql, scope: Scope, file: string): Promise<void> {
  await sql.run(`DELETE FROM ${table(sql, scope, 'rejections')} WHERE ${within(sql.dialect, scope)}`)
  await loadFile(sql, scope, 'rejections', ['number', 'rejection'], [], file, 'line')
}

/** The record of a run and its attempts; those of the oldest runs go. */
export async function storeRecord(sql: Sql, scope: Scope, paths: StatePaths, run: string): Promise<void> {
  const { dialect } = sql
  const own = within(dialect, scope)
  const runs = table(sql, scope, 'runs')
  await sql.transaction(async () => {
    for (const name of ['runs', 'attempts'] as const)
      await sql.run(`DELETE FROM ${table(sql, scope, name)} WHERE ${own} AND run = ${dialect.lit(run)}`)
    await loadFile(sql, scope, 'runs', ['run', 'record'], [run], join(paths.runs, `${run}.json`), 'file')
    await loadFile(sql, scope, 'attempts', ['run', 'number', 'attempt'], [run], join(paths.attempts, `${run}.ndjson`), 'line')
    // Ids of runs begin with their time.
    const [oldest] = await sql.rows<{ run: string }>(
      `SELECT run FROM ${runs} WHERE ${own} ORDER BY run DESC LIMIT 1 OFFSET ${KEEP_RUNS - 1}`,
    )
    if (!oldest) return
    for (const name of ['runs', 'attempts'] as const)
      await sql.run(`DELETE FROM ${table(sql, scope, name)} WHERE ${own} AND run < ${dialect.lit(oldest.run)}`)
  })
}

/** The files of a sync as the database has them; what never changes is fetched once. */
export async function bringRecords(sql: Sql, scope: Scope, paths: StatePaths): Promise<void> {
  const { dialect } = sql
  const own = within(dialect, scope)
  for (const folder of [paths.runs, paths.attempts]) await mkdir(folder, { recursive: true, mode: 0o700 })
  const there = (await sql.rows<{ run: string }>(`SELECT run FROM ${table(sql, scope, 'runs')} WHERE ${own}`)).map(({ run }) => run)
  const here = new Set((await readdir(paths.runs)).map((name) => name.replace(/\.json$/, '')))
  const missing = there.filter((run) => /^[\w.-]+$/.test(run) && !here.has(run))
  if (missing.length > 0) {
    const among = `${own} AND run IN (${missing.map((run) => dialect.lit(run)).join(', ')})`
    const attempts = await sql.rows<{ run: string; attempt: string }>(
      `SELECT run, attempt FROM ${table(sql, scope, 'attempts')} WHERE ${among} ORDER BY run, number`,
    )
    const lines = new Map<string, string[]>()
    for (const { run, attempt } of attempts) lines.set(run, [...(lines.get(run) ?? []), `${attempt}\n`])
    for (const [run, text] of lines) await writeFile(join(paths.attempts, `${run}.ndjson`), text.join(''), { mode: 0o600 })
    const records = await sql.rows<{ run: string; record: string }>(`SELECT run, record FROM ${table(sql, scope, 'runs')} WHERE ${among}`)
    for (const { run, record } of records) await writeFile(join(paths.runs, `${run}.json`), record, { mode: 0o600 })
  }
  for (const run of here)
    if (!there.includes(run)) {
      await rm(join(paths.runs, `${run}.json`), { force: true })
      await rm(join(paths.attempts, `${run}.ndjson`), { force: true })
    }
  const rejected = await sql.rows<{ rejection: string }>(
    `SELECT rejection FROM ${table(sql, scope, 'rejections')} WHERE ${own} ORDER BY number`,
  )
  await rm(paths.rejected, { force: true })
  if (rejected.length > 0) await writeFile(paths.rejected, rejected.map(({ rejection }) => `${rejection}\n`).join(''), { mode: 0o600 })
}
