import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  appendAttempts,
  clearProgress,
  listStates,
  newRunId,
  prepareState,
  readAttempts,
  readProgress,
  readRecords,
  readRejected,
  statePaths,
  writeProgress,
  writeRecord,
  writeRejected,
  type Attempt,
  type RejectedRow,
} from '../../src/records.ts'
import { record } from '../support/records.ts'

let root: string
const project = (environment: string | null = null, path = join(root, '.cdp-sync')) => ({
  root,
  environment,
  state: { type: 'local' as const, path },
})
const sync = { name: 'crm' }

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'cdp-records-'))
})
afterEach(() => rm(root, { recursive: true, force: true }))

describe('the folder of a sync', () => {
  it('is apart per environment', () => {
    expect(statePaths(project(), sync).file).toBe(join(root, '.cdp-sync/state/crm.duckdb'))
    expect(statePaths(project('dev'), sync)).toMatchObject({
      file: join(root, '.cdp-sync/state/dev/crm.duckdb'),
      lock: join(root, '.cdp-sync/state/dev/crm.lock'),
      folder: join(root, '.cdp-sync/state/dev/crm'),
    })
  })

  it('is readable by its owner alone, and ignored by git', async () => {
    const paths = await prepareState(project(), sync)
    await prepareState(project(), sync)
    for (const folder of [join(root, '.cdp-sync'), paths.folder, paths.runs, paths.work])
      expect((await stat(folder)).mode & 0o777).toBe(0o700)
    expect(await readFile(join(root, '.cdp-sync/.gitignore'), 'utf8')).toBe('*\n')
  })

  it('never makes git ignore the project itself', async () => {
    await prepareState(project(null, root), sync)
    expect(await readdir(root)).not.toContain('.gitignore')
    expect(await readdir(join(root, 'state'))).toContain('.gitignore')
  })

  it('is listed by the state files there are', async () => {
    expect(await listStates(project())).toEqual([])
    const paths = await prepareState(project(), sync)
    await writeFile(paths.file, '')
    expect(await listStates(project())).toEqual(['crm'])
  })
})

describe('run records', () => {
  it('are read newest first, past files that are torn or foreign', async () => {
    const paths = await prepareState(project(), sync)
    for (const day of [1, 3, 2]) await writeRecord(paths, record({ run: `r${day}`, started_at: `2026-11-0${day}T00:00:00.000Z` }))
    await writeFile(join(paths.runs, 'torn.json'), '{"run":"torn","sy')
    await writeFile(join(paths.runs, 'foreign.json'), '[1,2]')
    await writeFile(join(paths.runs, 'r9.json'), JSON.stringify(record({ run: 'r1' })))
    expect((await readRecords(paths)).map((it) => it.run)).toEqual(['r3', 'r2', 'r1'])
    expect((await stat(join(paths.runs, 'r1.json'))).mode & 0o777).toBe(0o600)
  })

  it('are kept for the last 100 runs, with what their rows met', async () => {
    const paths = await prepareState(project(), sync)
    const runs = Array.from({ length: 103 }, (_, i) => newRunId(Date.UTC(2026, 0, 1) + i * 60_000))
    for (const [i, run] of runs.entries()) {
      if (i < 3) await appendAttempts(paths, run, [attempt('1')])
      await writeRecord(paths, record({ run, started_at: new Date(Date.UTC(2026, 0, 1) + i * 60_000).toISOString() }))
    }
    expect((await readRecords(paths)).map((it) => it.run)).toEqual(runs.slice(3).reverse())
    expect(await readdir(paths.attempts)).toEqual([])
  })
})

describe('progress', () => {
  it('is there while a run says so', async () => {
    const paths = await prepareState(project(), sync)
    expect(await readProgress(paths)).toBeNull()
    const now = '2026-11-22T02:00:00.000Z'
    await writeProgress(paths, { run: 'r1', phase: 'deliver', done: 5, total: 10, started_at: now, at: now })
    expect(await readProgress(paths)).toMatchObject({ run: 'r1', phase: 'deliver', done: 5, total: 10, pid: process.pid })
    await writeFile(paths.progress, '{"run":')
    expect(await readProgress(paths)).toBeNull()
    await clearProgress(paths)
    await clearProgress(paths)
    expect(await readdir(paths.folder)).not.toContain('progress.json')
  })
})

describe('rejected rows', () => {
  it('are replaced as a whole and read in order, a torn line apart', async () => {
    const paths = await prepareState(project(), sync)
    expect(await all(readRejected(paths))).toEqual([])
    await writeRejected(paths, [rejected('1'), rejected('2')])
    await writeRejected(paths, [rejected('3'), rejected('4 "\n')])
    await writeFile(paths.rejected, (await readFile(paths.rejected, 'utf8')) + '{"key":"5","co')
    expect((await all(readRejected(paths))).map((it) => it.key)).toEqual(['3', '4 "\n'])
  })

  it('keep the old list when writing the new one fails', async () => {
    const paths = await prepareState(project(), sync)
    await writeRejected(paths, [rejected('1')])
    const broken = async function* () {
      yield rejected('2')
      throw new Error('lost')
    }
    await expect(writeRejected(paths, broken())).rejects.toThrow('lost')
    expect((await all(readRejected(paths))).map((it) => it.key)).toEqual(['1'])
    expect((await readdir(paths.folder)).filter((name) => name.endsWith('.tmp'))).toEqual([])
  })
})

describe('attempts', () => {
  it('of one key are found over all runs, newest first', async () => {
    const paths = await prepareState(project(), sync)
    await appendAttempts(paths, 'r1', [attempt('1', '2026-11-01'), attempt('2', '2026-11-01')])
    await appendAttempts(paths, 'r2', [attempt('1', '2026-11-02')])
    await appendAttempts(paths, 'r2', [])
    await appendAttempts(paths, 'r2', [attempt('1', '2026-11-03')])
    expect((await readAttempts(paths, '1')).map((it) => `${it.run} ${it.at}`)).toEqual(['r2 2026-11-03', 'r2 2026-11-02', 'r1 2026-11-01'])
  })
})

function attempt(key: string, at = '2026-11-01'): Attempt {
  return { key, at, op: 'upsert', outcome: 'rejected', code: 'INVALID_EMAIL', message: 'no' }
}

function rejected(key: string): RejectedRow {
  const run = { first_run: 'r1', run: 'r1', at: '2026-11-01T00:00:00.000Z' }
  return { key, op: 'upsert', outcome: 'rejected', code: 'INVALID_EMAIL', message: 'no', field: 'email', attempts: 1, held: false, ...run }
}

async function all<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const row of rows) list.push(row)
  return list
}
