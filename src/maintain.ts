/** What people do to a state by hand: adopt, rebind, rename, forget, release, settle, and ask why. Each takes the lock itself. */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { compare } from './compare.ts'
import type { Project, Sync } from './config/types.ts'
import { DEFAULT_OPTIONS } from './context.ts'
import type { RunContext } from './context.ts'
import { CdpError } from './errors.ts'
import { finishFiles, isoTime, rejectedRows } from './finish.ts'
import { open } from './open.ts'
import { newRunId, prepareState, readAttempts, statePaths, writeRejected } from './records.ts'
import { COUNT_ROWS, recoverFold, transaction } from './state/fold.ts'
import { lit, litList } from './state/db.ts'
import type { Db } from './state/db.ts'
import { readHeader, readMeta, setMeta } from './state/header.ts'
import { openKeeper } from './state/keepers.ts'
import { checkpoint, openState } from './state/local.ts'
import { computePayloads } from './state/payload.ts'
import { normalise } from './normalise.ts'
import type { Normaliser } from './connector.ts'
import { cellValue } from './values.ts'
import { RawJson } from './json.ts'
import type { Op } from './types.ts'

export { baseline } from './baseline.ts'
export { rename } from './rename.ts'

/** Memory for commands that look at a state without a model. */
const SMALL = { memory: 256 * 1_048_576, threads: 2 }

/** Binds the state to the target of today's configuration: the records moved there with their ids. */
export async function adoptTarget(project: Project, sync: Sync, context: RunContext): Promise<{ from: string; to: string }> {
  const session = await open(project, sync, context, newRunId(context.now()), 'run', true)
  try {
    const { db } = session.state
    const from = session.memory.account ?? 'nothing'
    // What the killed run sent went to the old target.
    if (session.memory.header) await recoverFold(db, session.memory.header)
    await transaction(db, `${setMeta('target', session.target)} ${setMeta('account', session.account.name)}`)
    await finishFiles(session, false)
    return { from, to: session.account.name }
  } finally {
    await session.close()
  }
}

/** Opens a state without its warehouse and destination. */
async function withState<Result>(
  project: Project,
  name: string,
  work: (db: Db, folder: ReturnType<typeof statePaths>) => Promise<Result>,
): Promise<Result> {
  const paths = statePaths(project, { name })
  const keeper = await openKeeper(project)
  const hold = await keeper.hold({ name, timeout: 0, now: Date.now, signal: new AbortController().signal, run: null })
  try {
    await prepareState(project, { name })
    await mkdir(paths.work, { recursive: true, mode: 0o700 })
    const state = await openState({ file: (await hold.fetch('whole')).file, writable: true, spill: paths.work, ...SMALL })
    try {
      const result = await work(state.db, paths)
      await checkpoint(state.db)
      await hold.store(state, true)
      return result
    } finally {
      state.close()
    }
  } finally {
    await hold.release()
  }
}

/** What a reset would orphan. */
export async function inspectReset(
  project: Project,
  sync: Pick<Sync, 'name'>,
): Promise<{ owned: number; keys: number; mode: string | null }> {
  if (!(await (await openKeeper(project)).exists(sync.name))) return { owned: 0, keys: 0, mode: null }
  return withState(project, sync.name, async (db) => ({
    ...(await db.one<{ owned: number; keys: number }>('SELECT count(*) FILTER (owned) AS owned, count(*) AS keys FROM state.snapshot')),
    mode: await readMeta(db, 'mode'),
  }))
}

/** Forgets everything: the next run is a first run. Clears tables; a file that is unlinked while DuckDB has it open protects nobody. */
export async function reset(project: Project, sync: Pick<Sync, 'name'>): Promise<void> {
  await withState(project, sync.name, async (db, paths) => {
    const tables = ['snapshot', 'verdicts', 'outbox', 'journal', 'jobs', 'fields']
    await transaction(
      db,
      `${tables.map((table) => `DELETE FROM state.${table};`).join(' ')} DELETE FROM state.meta WHERE name <> 'format';`,
    )
    await writeRejected(paths, [])
    await rm(join(paths.folder, 'target'), { force: true })
  })
}

/** Releases held rows (all, or these keys): they are tried again at the next run. A held unknown is freed only by `resolve`. */
export async function retry(project: Project, sync: Pick<Sync, 'name'>, keys: string[] | null): Promise<{ released: number }> {
  return withState(project, sync.name, async (db, paths) => {
    const chosen = keys === null ? 'TRUE' : `key IN (SELECT unnest(${litList(keys)}))`
    const { released } = await db.one<{ released: number }>(`SELECT count(*) AS released FROM state.verdicts WHERE ${chosen}`)
    await transaction(db, `DELETE FROM state.verdicts WHERE ${chosen};`)
    await writeRejected(paths, await rejectedRows(db, Date.now()))
    return { released }
  })
}

/** Settles a held unknown: it arrived, or it did not and is sent again. Folds an unfinished run first. */
export async function resolve(project: Project, sync: Pick<Sync, 'name'>, key: string, delivered: boolean): Promise<{ resolved: number }> {
  return withState(project, sync.name, async (db, paths) => {
    const header = await readHeader(db)
    if (header) await recoverFold(db, header)
    const held = `uncertain AND pending.key = ${lit(key)}`
    const { resolved } = await db.one<{ resolved: number }>(`SELECT count(*) AS resolved FROM state.snapshot WHERE ${held}`)
    if (resolved === 0) {
      throw new CdpError('CDP4016', `No outcome of the key ${key} is unknown.`, {
        hint: `\`cdp-sync rejected ${sync.name}\` lists what is held.`,
      })
    }
    // Only a mirror removes; what is removed by an update was cleared.
    const removal = `pending.op IN ('delete', 'archive'${(await readMeta(db, 'mode')) === 'mirror' ? `, 'update'` : ''})`
    const settle = delivered
      ? `DELETE FROM state.snapshot WHERE ${held} AND ${removal}; UPDATE state.snapshot SET uncertain = FALSE, hash = NULL, confirmed_at = now()::TIMESTAMP, payload = CASE WHEN pending.op = 'append' THEN NULL ELSE pending.payload END, run = pending.run, pending = NULL WHERE ${held};`
      : `DELETE FROM state.snapshot WHERE ${held} AND payload IS NULL; UPDATE state.snapshot SET uncertain = FALSE, pending = NULL, hash = NULL WHERE ${held};`
    await transaction(db, `${settle} ${COUNT_ROWS}`)
    await writeRejected(paths, await rejectedRows(db, Date.now()))
    return { resolved }
  })
}

/** One row's story. */
export interface WhyReport {
  sync: string
  key: string
  /** The model's row now, raw texts by column; null when it has none. */
  model: Record<string, string | null> | null
  /** What it would be sent as; null when it can't be computed. */
  payload: Record<string, unknown> | null
  snapshot: {
    address: string
    payload: Record<string, unknown> | null
    remote_id: string | null
    confirmed_at: string | null
    run: string | null
    flags: string[]
  }[]
  attempts: { run: string; at: string; op: Op; outcome: string; code: string | null; message: string | null }[]
  /** What the next run does with it, in a sentence. */
  next: string
}

export async function why(
  project: Project,
  sync: Sync,
  query: { key?: string; match?: Record<string, string> },
  context: RunContext,
): Promise<WhyReport> {
  const run = newRunId(context.now())
  const session = await open(project, sync, { ...context, options: { ...DEFAULT_OPTIONS, ...context.options } }, run, 'look')
  try {
    const { db } = session.state
    const comparison = await compare(session, null, query.key === undefined ? 'all' : [query.key])
    const key = query.key ?? (await keyByMatch(db, comparison, query.match ?? {}))
    const columns = comparison.mapping.columns
    const [row] = await db.rows<Record<string, string | null>>(
      `SELECT ${columns.map((name) => comparison.raw(name)).join(', ')} FROM rows WHERE key = ${lit(key)} LIMIT 1`,
    )
    const model = row ? Object.fromEntries(columns.map((name) => [name, row[comparison.raw(name)] ?? null])) : null
    await computePayloads(
      db,
      `(SELECT * FROM rows WHERE key = ${lit(key)} LIMIT 1)`,
      comparison.placement.fields,
      comparison.placement.names.length,
      comparison.raw,
    )
    const [computed] = await db.rows<{ payload: (string | null)[] | null }>('SELECT payload FROM computed')
    const stored = await db.rows<{
      address: string
      payload: (string | null)[] | null
      remote_id: string | null
      confirmed_at: Date | null
      run: string | null
      accepted: boolean
      gone: boolean
      uncertain: boolean
      owned: boolean
    }>(`SELECT * EXCLUDE (pending, hash, key, mode) FROM snap WHERE key = ${lit(key)} OR pending.key = ${lit(key)} ORDER BY address`)
    const { names, fields } = comparison.placement
    const sensitive = new Set(fields.filter(({ field }) => field.sensitive).map(({ field }) => field.name))
    return {
      sync: sync.name,
      key,
      model,
      payload: computed?.payload ? bag(names, computed.payload, sensitive) : null,
      snapshot: stored.map(({ address, payload, remote_id, confirmed_at, run: by, ...flags }) => ({
        address,
        payload: payload && bag(names, payload, sensitive),
        remote_id,
        confirmed_at: confirmed_at && isoTime(confirmed_at),
        run: by,
        flags: (['owned', 'accepted', 'gone', 'uncertain'] as const).filter((name) => flags[name]),
      })),
      attempts: await readAttempts(await (await openKeeper(project)).records(sync.name), key),
      next: await nextStep(db, key),
    }
  } finally {
    await session.close()
  }
}

const asCompared = (normaliser: Normaliser | null, text: string): string =>
  normaliser === null ? text : (normalise(normaliser, text) ?? '')

async function keyByMatch(db: Db, comparison: Awaited<ReturnType<typeof compare>>, match: Record<string, string>): Promise<string> {
  const texts = comparison.addressing.match.map(({ field, normaliser }) => {
    const text = match[field.name]
    return text === undefined ? undefined : asCompared(normaliser, text)
  })
  if (comparison.addressing.byKey || comparison.addressing.any || texts.some((text) => text === undefined)) {
    const wanted = comparison.placement.fields.filter(({ field }) => field.match && match[field.name] !== undefined)
    const conditions = wanted.map(
      ({ field, position, normaliser }) => `payload[${position}][2:] = ${lit(asCompared(normaliser, match[field.name] ?? ''))}`,
    )
    const [row] = conditions.length ? await db.rows<{ key: string }>(`SELECT key FROM snap WHERE ${conditions.join(' AND ')} LIMIT 1`) : []
    return row?.key ?? ''
  }
  const address = texts.length === 1 ? texts[0] : JSON.stringify(texts)
  const [row] = await db.rows<{ key: string }>(
    `SELECT key FROM wanted WHERE address = ${lit(address ?? '')} UNION ALL SELECT key FROM snap WHERE address = ${lit(address ?? '')} LIMIT 1`,
  )
  return row?.key ?? ''
}

async function nextStep(db: Db, key: string): Promise<string> {
  const [doubt] = await db.rows<{ reason: string }>(`SELECT reason FROM doubtful WHERE key = ${lit(key)} LIMIT 1`)
  if (doubt) return `invalid (${doubt.reason}): it is not sent until the model is right`
  const [removal] = await db.rows<{ status: string }>(`SELECT status FROM removals WHERE key = ${lit(key)} LIMIT 1`)
  const [change] = await db.rows<{ status: string; fresh: boolean; code: string | null; because: string }>(
    `SELECT status, fresh, code, because FROM classified WHERE key = ${lit(key)} LIMIT 1`,
  )
  if (change) {
    if (change.status === 'send') return change.fresh ? 'the next run adds it' : `the next run changes it (${change.because})`
    if (change.status === 'invalid') return `invalid (${change.code}): it is not sent until the model or the mapping is right`
    if (change.status === 'held') return 'held: it is not sent until something changes, a day has passed, or a person says so'
    if (change.status === 'settled')
      return 'nothing: the destination said that there is nothing to write to; it is looked at again within a day'
  }
  if (removal) return removal.status === 'send' ? 'the next run removes it' : `its removal is ${removal.status}`
  const [wanted] = await db.rows<object>(`SELECT 1 AS found FROM wanted WHERE key = ${lit(key)} LIMIT 1`)
  return wanted ? 'nothing: what was delivered is what the model wants' : 'nothing: the model has no such row'
}

function bag(names: readonly string[], payload: readonly (string | null)[], sensitive: ReadonlySet<string>): Record<string, unknown> {
  return Object.fromEntries(
    names.flatMap((name, i) => {
      const cell = payload[i]
      if (cell === null || cell === undefined) return []
      const value = sensitive.has(name) ? '(sensitive)' : cellValue(cell)
      return [[name, value instanceof RawJson ? value.text : value]]
    }),
  )
}
