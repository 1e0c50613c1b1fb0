/** State that can't be written, has no room, or is not what it should be: a clear error, nothing sent twice, nothing lost. */
import { execFileSync } from 'node:child_process'
import { chownSync } from 'node:fs'
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { expectConverged, expectNoFalseDone, makeProject, people, type Ended, type TestProject } from '../support/project.ts'
import { canMount, fillDisk, isRoot, works } from '../support/rights.ts'
import { startReceiver, type Receiver } from '../support/receiver.ts'

const BEFORE = people(0, 40)
const AFTER = [...people(0, 20).map((it) => ({ ...it, plan: 'cnry-pro' })), ...people(20, 30), ...people(40, 50)]

let receiver: Receiver
let project: TestProject
let mounted: string | null = null
beforeEach(async () => {
  receiver = await startReceiver()
  project = await makeProject({ url: receiver.url })
})
afterEach(async () => {
  if (mounted) execFileSync('umount', ['-l', mounted])
  mounted = null
  await project.remove()
  await receiver.close()
})

async function deliver(): Promise<void> {
  await project.rows(BEFORE)
  expect((await project.run(['run'])).code).toBe(0)
  await project.rows(AFTER)
}

/** Exit 1, a code that is not that of a bug, and no request. */
async function expectRefusal(run: Promise<Ended>, code: RegExp): Promise<void> {
  const requests = receiver.requests.length
  const { code: exit, stdout, stderr } = await run
  expect([exit, stdout + stderr]).toEqual([1, expect.stringMatching(code)])
  expect(stdout + stderr).not.toContain('CDP4000')
  expect(receiver.requests.length).toBe(requests)
}

async function expectRecovery(): Promise<void> {
  receiver.fault(() => undefined)
  const { code, stdout, stderr } = await project.run(['run'])
  expect([code, stdout, stderr]).toEqual([0, expect.anything(), expect.anything()])
  await expectConverged(project, receiver, AFTER)
}

const NOBODY = 65_534
/** Rights bind no superuser: then the program runs as somebody else. */
const through = isRoot ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'] : []
const canDrop = !isRoot || works(...through, process.execPath, '--version')

function give(): void {
  if (isRoot) execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, project.root])
}

describe.skipIf(!canDrop)('a state folder that may not be written', () => {
  it('stops the run before anything is sent', async () => {
    await deliver()
    give()
    const folder = join(project.root, '.cdp-sync/state')
    await chmod(folder, 0o500)
    await expectRefusal(project.run(['run'], { through }), /CDP\d{4}/)
    await chmod(folder, 0o700)
    await expectNoFalseDone(project, receiver)
    const { code } = await project.run(['run'], { through })
    expect(code).toBe(0)
    await expectConverged(project, receiver, AFTER)
  })

  it('is no hindrance for plan', async () => {
    await deliver()
    give()
    await chmod(join(project.root, '.cdp-sync/state'), 0o500)
    const { code, stdout } = await project.run(['plan', '--json'], { through })
    await chmod(join(project.root, '.cdp-sync/state'), 0o700)
    expect([code, JSON.parse(stdout).summary]).toEqual([0, expect.objectContaining({ add: 10, change: 20, remove: 10 })])
  })

  it('is made known in a first run too', async () => {
    await project.rows(AFTER)
    give()
    await chmod(project.root, 0o500)
    await expectRefusal(project.run(['run'], { through }), /CDP\d{4}/)
    await chmod(project.root, 0o700)
  })

  it('may belong to somebody else: the run says so', async () => {
    await deliver()
    give()
    if (isRoot) chownSync(join(project.root, '.cdp-sync/state/people.duckdb'), 0, 0)
    else await chmod(join(project.root, '.cdp-sync/state/people.duckdb'), 0)
    await expectRefusal(project.run(['run'], { through }), /CDP4002/)
  })
})

const MOUNT = ['-t', 'tmpfs', '-o', 'size=24m,mode=0700', 'tmpfs']

const state = (): string => join(project.root, '.cdp-sync')
const ballast = (): string => join(state(), 'ballast')

describe.skipIf(!canMount)('a disk that is full', () => {
  beforeEach(async () => {
    await mkdir(state())
    execFileSync('mount', [...MOUNT, state()])
    mounted = state()
    await deliver()
  })

  it('before the run: nothing is sent', async () => {
    fillDisk(ballast())
    await expectRefusal(project.run(['run']), /CDP\d{4}/)
    await rm(ballast())
    await expectRecovery()
  })

  it('while the model is read: nothing is sent', async () => {
    const wide = Array.from({ length: 8_000 }, (_, i) => ({
      id: `cnry-w${i}`,
      email: `cnry-w${i}@example.com`,
      plan: `cnry-${Math.sin(i)}-${Math.cos(i)}`,
    }))
    await project.rows(wide)
    fillDisk(ballast(), 64 * 1024)
    await expectRefusal(project.run(['run']), /CDP\d{4}/)
    await rm(ballast())
    await project.rows(AFTER)
    await expectRecovery()
  })

  it.each([16, 64, 300])('with %i kB left', async (kilobytes) => {
    fillDisk(ballast(), kilobytes * 1024)
    const { code, stdout, stderr } = await project.run(['run'])
    expect([[0, 1].includes(code ?? -1), stdout + stderr]).toEqual([true, expect.not.stringContaining('CDP4000')])
    await rm(ballast())
    await expectNoFalseDone(project, receiver)
    await expectRecovery()
  })

  it.each([1, 20, 39])('from request %i on: what has no intent is not sent, and what has no outcome is in doubt', async (n) => {
    // One change a request, so that the journal outgrows the room left in its last block.
    const yaml = await readFile(join(project.root, 'cdp-sync.yaml'), 'utf8')
    await project.write('cdp-sync.yaml', yaml.replace('batch_size: 5, concurrency: 2', 'batch_size: 1, concurrency: 1'))
    const from = receiver.requests.length
    receiver.fault((request) => {
      if (request.n - from === n) fillDisk(ballast())
      return undefined
    })
    const { code, stdout, stderr } = await project.run(['run'])
    expect([code, stdout + stderr]).toEqual([1, expect.stringMatching(/CDP(3305|4002)/)])
    await rm(ballast())
    await expectNoFalseDone(project, receiver)
    if (n === 1) expect(receiver.requests.length - from).toBeLessThan(40)
    await expectRecovery()
    // A kill repeats at most 3 × concurrency batches, and so does a full disk.
    expect(receiver.requests.length - from).toBeLessThanOrEqual(40 + 3)
  })
})

const file = (): string => join(project.root, '.cdp-sync/state/people.duckdb')

/** The file with other content: refused by run and plan, untouched, and good again when it is put back. */
async function refused(bytes: Buffer | string, code = /CDP4001/): Promise<void> {
  const good = await readFile(file())
  await writeFile(file(), bytes)
  await expectRefusal(project.run(['run']), code)
  await expectRefusal(project.run(['plan']), code)
  expect((await readFile(file())).equals(Buffer.from(bytes))).toBe(true)
  await writeFile(file(), good)
  await expectRecovery()
}

async function altered(sql: string): Promise<Buffer> {
  const copy = join(project.root, 'altered.duckdb')
  await writeFile(copy, await readFile(file()))
  const instance = await DuckDBInstance.create(copy)
  const db = await instance.connect()
  await db.run(sql)
  await db.run('CHECKPOINT')
  db.closeSync()
  instance.closeSync()
  return readFile(copy)
}

describe('a state file that', () => {
  beforeEach(deliver)

  it('lost its end', async () => refused((await readFile(file())).subarray(0, 300_000)))
  it('lost almost all', async () => refused((await readFile(file())).subarray(0, 5_000)))
  it('lost everything', async () => refused(''))
  it('is no database', async () => refused('-- a note that somebody saved here\n'.repeat(500)))
  it('is a database of something else', async () =>
    refused(
      await altered(
        'DROP TABLE snapshot; DROP TABLE meta; DROP TABLE fields; DROP TABLE outbox; DROP TABLE journal; DROP TABLE verdicts; DROP TABLE jobs; CREATE TABLE invoices (id INTEGER)',
      ),
    ))
  it('was written by a newer version', async () => refused(await altered(`UPDATE meta SET value = '99' WHERE name = 'format'`)))
  it('lost some of its addresses', async () => refused(await altered('DELETE FROM snapshot WHERE rowid % 2 = 0')))
  it('has flipped bytes in its middle', async () => {
    const bytes = Buffer.from(await readFile(file()))
    for (let i = 12_288 + 100; i < bytes.length; i += 4096) bytes[i] = (bytes[i] ?? 0) ^ 0xff
    await refused(bytes, /CDP400[12]/)
  })
})
