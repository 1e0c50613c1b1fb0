/** A state file gives back the room that a large outbox took. */
import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openState } from '../../src/state/local.ts'
import type { State } from '../../src/state/local.ts'
import { canMount, fillDisk } from '../support/rights.ts'

let folder: string
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'cdp-sync-shrink-'))))
afterEach(() => rm(folder, { recursive: true, force: true }))

const open = (): Promise<State> =>
  openState({ file: join(folder, 'state.duckdb'), writable: true, spill: join(folder, 'spill'), memory: 2 ** 28, threads: 2 })
const size = async (): Promise<number> => (await stat(join(folder, 'state.duckdb'))).size
const SNAPSHOT = 'SELECT address, key, hash, payload, remote_id, owned, uncertain, pending FROM state.snapshot ORDER BY address'

/** A thousand addresses in the snapshot, and much more room than they need. */
const freeRoom = ({ db }: State): Promise<void> =>
  db.run(`
INSERT INTO state.snapshot (address, key, hash, payload, owned, uncertain, pending) SELECT 'a' || i, 'k', i, ['s' || i, NULL, 'j' || i], TRUE, i = 7,
  CASE WHEN i = 7 THEN {op: 'upsert', key: 'k', payload: ['s', NULL], id: NULL, run: 'r', sent_at: NULL, changed: NULL} END FROM range(1000) t(i);
INSERT INTO state.outbox (n, key, payload) SELECT i, md5(i::VARCHAR), [md5(random()::VARCHAR), md5(random()::VARCHAR)] FROM range(400000) t(i);
CHECKPOINT state; DELETE FROM state.outbox; CHECKPOINT state`)

it('where most of it is free, and holds the same', async () => {
  const state = await open()
  const { db } = state
  await freeRoom(state)
  const rows = await db.rows(SNAPSHOT)
  const before = await size()
  await state.shrink()
  expect(await size()).toBeLessThan(before / 4)
  expect((await stat(join(folder, 'state.duckdb'))).mode & 0o77).toBe(0)
  expect(await db.rows(SNAPSHOT)).toEqual(rows)
  // It is the file itself that is open now.
  await db.run(`INSERT INTO state.snapshot (address, key) VALUES ('later', 'l')`)
  state.close()
  const again = await open()
  expect(await again.db.one(`SELECT count(*) AS n, count(*) FILTER (address = 'later') AS later FROM snap`)).toEqual({ n: 1001, later: 1 })
  again.close()
})

it('and is left alone where little is', async () => {
  const state = await open()
  await state.db.run(
    `INSERT INTO state.outbox (n, key) SELECT i, i::VARCHAR FROM range(1000) t(i); DELETE FROM state.outbox; CHECKPOINT state`,
  )
  const before = (await stat(join(folder, 'state.duckdb'))).ino
  await state.shrink()
  expect((await stat(join(folder, 'state.duckdb'))).ino).toBe(before)
  state.close()
})

it.skipIf(!canMount)('and stays as it is where there is no room for another', async () => {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128m', 'tmpfs', folder])
  try {
    const state = await open()
    await freeRoom(state)
    await state.db.run(`UPDATE state.snapshot SET remote_id = md5(address)`)
    const rows = await state.db.rows(SNAPSHOT)
    fillDisk(join(folder, 'ballast'), 65_536)
    await state.shrink()
    expect((await readdir(folder)).filter((name) => name.includes('shrunk'))).toEqual([])
    expect(await state.db.rows(SNAPSHOT)).toEqual(rows)
    await rm(join(folder, 'ballast'))
    await state.detached(async (file) => expect((await stat(file)).size).toBeGreaterThan(16 * 2 ** 20))
    expect(await state.db.rows(SNAPSHOT)).toEqual(rows)
    state.close()
  } finally {
    execFileSync('umount', ['-l', folder])
  }
})
