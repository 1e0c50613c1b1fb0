/** Small files beside the state: run records, progress, rejections, attempts. Readable while a run holds the state. */
import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { appendFile, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { createInterface } from 'node:readline'
import type { Project } from './config/types.ts'
import type { Phase } from './context.ts'
import type { Op, RunCounts, RunRecord } from './types.ts'

/** Run records (and their attempts) kept per sync. */
export const KEEP_RUNS = 100

/** The counts of a run that has not counted yet. */
export const NO_COUNTS: RunCounts = {
  add: 0,
  change: 0,
  remove: 0,
  unchanged: 0,
  invalid: 0,
  delivered: 0,
  accepted: 0,
  absent: 0,
  exists: 0,
  rejected: 0,
  unknown: 0,
  held: 0,
  waiting: 0,
  kept: 0,
}

/** Where a sync keeps things. Nothing but DuckDB may open `file`, and nothing but src/lock.ts `lock`. */
export interface StatePaths {
  /** The snapshot: `<path>/state/[<environment>/]<sync>.duckdb`. */
  readonly file: string
  readonly lock: string
  /** 0700; everything of this sync but the snapshot and the lock. */
  readonly folder: string
  /** Spool and spill; swept only by the holder of the lock. */
  readonly work: string
  readonly runs: string
  readonly attempts: string
  readonly rejected: string
  readonly progress: string
  /** Rate limits, shared by all syncs of the project. */
  readonly limits: string
}

type Place = Pick<Project, 'root' | 'state' | 'environment'>

/** Where the states of this project and environment lie. */
export function stateFolder(project: Pick<Project, 'state' | 'environment'>): string {
  return join(project.state.path, 'state', project.environment ?? '')
}

export function statePaths(project: Pick<Project, 'state' | 'environment'>, sync: { readonly name: string }): StatePaths {
  const states = stateFolder(project)
  const folder = join(states, sync.name)
  return {
    file: join(states, `${sync.name}.duckdb`),
    lock: join(states, `${sync.name}.lock`),
    folder,
    work: join(folder, 'work'),
    runs: join(folder, 'runs'),
    attempts: join(folder, 'attempts'),
    rejected: join(folder, 'rejected.ndjson'),
    progress: join(folder, 'progress.json'),
    limits: join(project.state.path, 'limits'),
  }
}

/** Beside the state, so that a renamed sync is found without opening other states. */
export const targetFile = (paths: StatePaths): string => join(paths.folder, 'target')

/** Makes the folders of a sync, 0700, with a .gitignore that keeps all of it out of git. */
export async function prepareState(project: Place, sync: { readonly name: string }): Promise<StatePaths> {
  const paths = statePaths(project, sync)
  for (const folder of [paths.folder, paths.work, paths.runs, paths.attempts, paths.limits]) {
    await mkdir(folder, { recursive: true, mode: 0o700 })
  }
  // `state: { path: . }` must not make git ignore the project itself.
  const holdsProject = !relative(project.state.path, project.root).startsWith('..')
  const home = holdsProject ? join(project.state.path, 'state') : project.state.path
  await writeFile(join(home, '.gitignore'), '*\n', { flag: 'wx', mode: 0o600 }).catch(ignore('EEXIST'))
  return paths
}

/** Names of the syncs that have a state here, whether or not they are still in the project; sorted. */
export async function listStates(project: Pick<Project, 'state' | 'environment'>): Promise<string[]> {
  const names = await readdir(stateFolder(project)).catch(ignore('ENOENT', []))
  return names
    .filter((name) => name.endsWith('.duckdb'))
    .map((name) => name.slice(0, -'.duckdb'.length))
    .sort()
}

/** An id for a run: sorts by time, unique enough to name a file. `20261122T020000Z-3f9a1c`. */
export function newRunId(now: number): string {
  return `${new Date(now).toISOString().replace(/[-:]|\.\d+/g, '')}-${randomUUID().slice(0, 6)}`
}

/** Writes the record of a run, atomically and durably, and forgets all but the last 100. */
export async function writeRecord(paths: StatePaths, record: RunRecord): Promise<void> {
  await mkdir(paths.runs, { recursive: true, mode: 0o700 })
  await replaceFile(join(paths.runs, `${record.run}.json`), [JSON.stringify(record, null, 2) + '\n'])
  const names = (await readdir(paths.runs)).filter((name) => name.endsWith('.json'))
  if (names.length <= KEEP_RUNS) return
  for (const old of (await readRecords(paths)).slice(KEEP_RUNS)) {
    await rm(join(paths.runs, `${old.run}.json`), { force: true })
    await rm(join(paths.attempts, `${old.run}.ndjson`), { force: true })
  }
}

/** The records of a sync, newest first. Files that are half-written or not ours are passed over. */
export async function readRecords(paths: StatePaths): Promise<RunRecord[]> {
  const names = await readdir(paths.runs).catch(ignore('ENOENT', []))
  const records: RunRecord[] = []
  for (const name of names) {
    if (!name.endsWith('.json')) continue
    const record = parseAs<RunRecord>(await readFile(join(paths.runs, name), 'utf8').catch(ignore('ENOENT', '')), isRecord)
    if (record && `${record.run}.json` === name) records.push(record)
  }
  return records.sort((a, b) => compare(b.started_at, a.started_at) || compare(b.run, a.run))
}

/** What a run that holds the state is doing. */
export interface Progress {
  readonly run: string
  readonly pid: number
  readonly host: string
  readonly phase: Phase
  readonly done: number
  /** Null while it is not known. */
  readonly total: number | null
  readonly started_at: string
  readonly at: string
}

export async function writeProgress(paths: StatePaths, progress: Omit<Progress, 'pid' | 'host'>): Promise<void> {
  const text = JSON.stringify({ ...progress, pid: process.pid, host: hostname() }) + '\n'
  await replaceFile(paths.progress, [text], { durable: false })
}

export async function clearProgress(paths: StatePaths): Promise<void> {
  await rm(paths.progress, { force: true })
}

/** Null when there is none. A run that was killed leaves one behind: ask the lock whether it is alive. */
export async function readProgress(paths: StatePaths): Promise<Progress | null> {
  const text = await readFile(paths.progress, 'utf8').catch(ignore('ENOENT', ''))
  return parseAs<Progress>(text, (it) => typeof it.run === 'string' && typeof it.phase === 'string')
}

/** A row that did not arrive, as it stands after the last run. */
export interface RejectedRow {
  readonly key: string
  readonly op: Op
  readonly outcome: 'rejected' | 'unknown'
  readonly code: string
  readonly message: string
  readonly field: string | null
  /** How often the row itself was refused with this payload. */
  readonly attempts: number
  /** Not sent again until something changes or a person says so. */
  readonly held: boolean
  readonly first_run: string
  readonly run: string
  /** ISO 8601. */
  readonly at: string
}

/** Replaces the list of current rejections and held rows, atomically. */
export async function writeRejected(paths: StatePaths, rows: Iterable<RejectedRow> | AsyncIterable<RejectedRow>): Promise<void> {
  await mkdir(paths.folder, { recursive: true, mode: 0o700 })
  await replaceFile(paths.rejected, lines(rows))
}

/** Current rejections and held rows, in the order they were written; lines that can't be read are passed over. */
export function readRejected(paths: StatePaths): AsyncIterable<RejectedRow> {
  return readLines<RejectedRow>(paths.rejected, (it) => typeof it.key === 'string' && typeof it.code === 'string')
}

/** One outcome that was not ok. */
export interface Attempt {
  readonly key: string
  /** ISO 8601. */
  readonly at: string
  readonly op: Op
  readonly outcome: string
  readonly code: string | null
  readonly message: string | null
}

export async function appendAttempts(paths: StatePaths, run: string, attempts: Iterable<Attempt>): Promise<void> {
  let text = ''
  for (const attempt of attempts) text += JSON.stringify(attempt) + '\n'
  if (text === '') return
  await mkdir(paths.attempts, { recursive: true, mode: 0o700 })
  await appendFile(join(paths.attempts, `${run}.ndjson`), text, { mode: 0o600 })
}

/** What happened to one key, newest first, as far back as records are kept. */
export async function readAttempts(paths: StatePaths, key: string): Promise<(Attempt & { readonly run: string })[]> {
  const names = await readdir(paths.attempts).catch(ignore('ENOENT', []))
  const found: (Attempt & { readonly run: string })[] = []
  for (const name of names) {
    if (!name.endsWith('.ndjson')) continue
    const run = name.slice(0, -'.ndjson'.length)
    for await (const attempt of readLines<Attempt>(join(paths.attempts, name), (it) => it.key === key)) found.push({ ...attempt, run })
  }
  return found.sort((a, b) => compare(b.at, a.at) || compare(b.run, a.run))
}

/** Writes beside, syncs, renames: a reader sees the old file or the new one, never half of one. */
async function replaceFile(
  path: string,
  chunks: Iterable<string> | AsyncIterable<string>,
  { durable = true }: { durable?: boolean } = {},
): Promise<void> {
  const temp = `${path}.${randomUUID()}.tmp`
  try {
    const file = await open(temp, 'wx', 0o600)
    try {
      for await (const chunk of chunks) await file.writeFile(chunk)
      if (durable) await file.sync()
    } finally {
      await file.close()
    }
    await rename(temp, path)
    if (durable) await syncFolder(dirname(path))
  } catch (error) {
    await rm(temp, { force: true })
    throw error
  }
}

/** A rename is durable once its folder is; Windows can't open one and needs none of this. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => null)
  await folder?.sync().catch(() => undefined)
  await folder?.close()
}

/** Chunks of about 64 kB, so that a million rows are not a million writes. */
async function* lines(rows: Iterable<unknown> | AsyncIterable<unknown>): AsyncGenerator<string> {
  let chunk = ''
  for await (const row of rows) {
    chunk += JSON.stringify(row) + '\n'
    if (chunk.length < 65_536) continue
    yield chunk
    chunk = ''
  }
  yield chunk
}

async function* readLines<T>(path: string, test: (it: Loose<T>) => boolean): AsyncGenerator<T> {
  if (!(await stat(path).catch(() => null))) return
  const reader = createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Infinity })
  for await (const line of reader) {
    const row = parseAs<T>(line, test)
    if (row) yield row
  }
}

/** An object that may be a T: what a file claims. */
type Loose<T> = Readonly<Partial<Record<keyof T, unknown>>>

function isRecord(it: Loose<RunRecord>): boolean {
  const text = [it.run, it.sync, it.status, it.started_at].every((value) => typeof value === 'string')
  return text && typeof it.counts === 'object' && it.counts !== null && Array.isArray(it.reasons)
}

function parseAs<T>(text: string, test: (it: Loose<T>) => boolean): T | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && test(value as Loose<T>) ? (value as T) : null
  } catch {
    return null
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** A `catch` for one system error; others are thrown on. */
function ignore<T = undefined>(code: string, instead?: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code !== code) throw error
    return instead as T
  }
}
