/**
 * State files of earlier formats open, and what they know is known. Each fixture was written by the version that had this
 * format: WRITE_FIXTURE=1 writes the one of today's format, once, before it is released.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterEach, describe, expect, it } from 'vitest'
import { openDb } from '../../src/state/db.ts'
import { FORMAT } from '../../src/state/schema.ts'
import { statePaths } from '../../src/records.ts'
import { service } from '../support/destinations.ts'
import { world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { brief, pending, people, person, ran } from './support.ts'

let w: World
afterEach(() => w?.close())

const fixture = (format: number): string => join(import.meta.dirname, 'fixtures', `state-format-${format}.duckdb.gz`)

/** Three delivered rows, one refused, and a run that was killed over a fourth. */
async function history(): Promise<void> {
  w.service.fate = ({ key }) => (key === '4' ? 'rejected' : 'ok')
  await ran(w, people(4))
  w.service.fate = ({ key }) => (key === '3' ? 'crash-after' : 'ok')
  await ran(w, [...people(2), person('3', 'p3@x.io', 'pro'), person('4', 'p4@x.io')])
  w.service.fate = () => 'ok'
}

it.runIf(process.env['WRITE_FIXTURE'])('writes the fixture of today’s format', async () => {
  w = await world(service('match'))
  await history()
  const { file } = statePaths(w.project, w.sync)
  // The log is folded into the file; the unfinished run stays unfinished.
  const { db, close } = await openDb({ memory: 128 * 1_048_576, threads: 1, spill: w.project.root })
  await db.run(`ATTACH '${file}' AS state; CHECKPOINT state; DETACH state`)
  close()
  await mkdir(dirname(fixture(FORMAT)), { recursive: true })
  await writeFile(fixture(FORMAT), gzipSync(await readFile(file), { level: 9 }))
})

describe.each(Array.from({ length: FORMAT }, (_, i) => i + 1))('a state of format %i', (format) => {
  it('opens, is recovered, and nothing is sent that is known', async () => {
    w = await world(service('match'))
    const paths = statePaths(w.project, w.sync)
    await mkdir(dirname(paths.file), { recursive: true })
    await writeFile(paths.file, gunzipSync(await readFile(fixture(format))))
    await w.model([...people(2), person('3', 'p3@x.io', 'pro'), person('4', 'p4@x.io')])
    const plan = await w.plan()
    expect(plan.counts).toMatchObject({ unchanged: 2, uncertain: 2 })
    const { sent, record } = await ran(w)
    expect(record).toMatchObject({ status: 'ok', recovered: { uncertain: expect.any(Number) } })
    expect(brief(sent).sort()).toEqual(['upsert 3 p3@x.io', 'upsert 4 p4@x.io'])
    expect(await pending(w)).toEqual({})
    expect(await w.state(`SELECT value FROM state.meta WHERE name = 'format'`)).toEqual([{ value: String(FORMAT) }])
  })
})

describe('a state file that can not be used', () => {
  it('of a newer version is refused with what to do', async () => {
    w = await world(service('match'))
    await ran(w, people(2))
    const { file } = statePaths(w.project, w.sync)
    const { db, close } = await openDb({ memory: 128 * 1_048_576, threads: 1, spill: w.project.root })
    await db.run(`ATTACH '${file}' AS state; UPDATE state.meta SET value = '999' WHERE name = 'format'; CHECKPOINT state; DETACH state`)
    close()
    const { record, sent } = await ran(w, people(2, 'pro'))
    expect(sent).toEqual([])
    expect(record).toMatchObject({ exit_code: 1, error: { code: 'CDP4001', hint: 'Upgrade cdp-sync on this machine.' } })
  })

  it('is found when its end was lost', async () => {
    w = await world(service('match'))
    await ran(w, people(3))
    const { file } = statePaths(w.project, w.sync)
    const { db, close } = await openDb({ memory: 128 * 1_048_576, threads: 1, spill: w.project.root })
    await db.run(`ATTACH '${file}' AS state; DELETE FROM state.snapshot WHERE key = '2'; CHECKPOINT state; DETACH state`)
    close()
    expect((await ran(w)).record).toMatchObject({
      exit_code: 1,
      error: { code: 'CDP4001', message: expect.stringContaining('should hold 3 addresses and holds 2') },
    })
  })

  it('is found when it is no database', async () => {
    w = await world(service('match'))
    await ran(w, people(1))
    await writeFile(statePaths(w.project, w.sync).file, 'not a database')
    const { record, sent } = await ran(w)
    expect(sent).toEqual([])
    expect(record).toMatchObject({ exit_code: 1, error: { code: 'CDP4001' } })
  })
})
