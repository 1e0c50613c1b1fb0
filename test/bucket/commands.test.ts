/** Commands on states in a bucket: what a reader sees from any machine, and what people do to a state by hand. */
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { held, wanted, type TestProject } from '../support/project.ts'
import { AFTER, begin, BEFORE, elsewhere, expectTidy, killAt, receiver, s3, SKIPPED, type Shared } from './support.ts'

async function ok(project: TestProject, ...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await project.run(argv)
  expect([argv, code, stderr]).toEqual([argv, 0, expect.anything()])
  return stdout
}

const objects = async ({ folder }: Shared): Promise<string[]> => (await s3.keys()).filter((key) => key.startsWith(`${folder}/`))

/** The project with its state on this machine instead. */
async function withLocalState(project: TestProject, work: () => Promise<void>): Promise<void> {
  const file = join(project.root, 'cdp-sync.yaml')
  const text = await readFile(file, 'utf8')
  await writeFile(file, text.replace(/^state:.*\n/m, ''))
  await work()
  await writeFile(file, text)
}

const EMPTY = { add: 0, change: 0, remove: 0, uncertain: 0 }

describe.skipIf(SKIPPED)('readers', () => {
  it('see the same from any machine, and change nothing in the bucket', async () => {
    const here = await begin()
    receiver.fault(() => ({ reject: ({ key }) => (key === 'cnry-k3' ? { message: 'no' } : undefined) }))
    await here.project.run(['run'])
    const there = await elsewhere(here)
    const before = await objects(here)
    const runs = JSON.parse(await ok(there.project, 'history', '--json')) as { runs: unknown[] }
    expect(runs.runs).toHaveLength(2)
    expect(JSON.parse(await ok(there.project, 'status', '--json'))).toMatchObject({ syncs: [{ name: 'people', running: null }] })
    expect(await ok(there.project, 'rejected', 'people', '--json')).toBe(await ok(here.project, 'rejected', 'people', '--json'))
    await there.project.plan()
    expect(await objects(here)).toEqual(before)
  })

  it('find no state where none is, and leave none', async () => {
    const here = await begin(true)
    expect((await here.project.plan()).counts).toMatchObject({ add: AFTER.length })
    expect(await objects(here)).toEqual([])
  })
})

describe.skipIf(SKIPPED)('validate --live', () => {
  it('asks the bucket, and writes nothing', async () => {
    const here = await begin(true)
    await ok(here.project, 'validate', '--live')
    expect(await objects(here)).toEqual([])
    const login = await here.project.run(['validate', '--live'], { env: { AWS_SECRET_ACCESS_KEY: 'wrong' } })
    expect([login.code, login.stderr]).toEqual([4, expect.stringContaining('CDP4031')])
    const silent = await here.project.run(['validate', '--live'], { env: { ENDPOINT: 'http://127.0.0.1:9' } })
    expect([silent.code, silent.stderr]).toEqual([1, expect.stringContaining('CDP4030')])
  })
})

describe.skipIf(SKIPPED)('by hand', () => {
  it('reset, then baseline: nothing is sent, and the next plan is empty', async () => {
    const here = await begin()
    await ok(here.project, 'run')
    await ok(here.project, 'reset', 'people', '--confirm', 'people')
    const there = await elsewhere(here)
    expect((await there.project.plan()).counts).toMatchObject({ add: AFTER.length })
    const from = receiver.requests.length
    await ok(there.project, 'baseline', 'people')
    expect((await here.project.plan()).counts).toMatchObject(EMPTY)
    expect(receiver.requests.length).toBe(from)
    await expectTidy(here.folder)
  })

  it('pull and push move a state without sending; it is in one place at a time', async () => {
    const here = await begin()
    await here.project.rows(BEFORE)
    const from = receiver.requests.length
    await ok(here.project, 'state', 'pull', 'people')
    expect((await objects(here)).map((key) => key.slice(here.folder.length + 1))).toEqual(['head.json', 'lease.json'])
    await withLocalState(here.project, async () => {
      expect((await here.project.plan()).counts).toMatchObject({ ...EMPTY, unchanged: BEFORE.length })
    })
    await ok(here.project, 'state', 'push', 'people')
    await withLocalState(here.project, async () => {
      expect((await here.project.plan()).counts).toMatchObject({ add: BEFORE.length })
    })
    const there = await elsewhere(here)
    expect((await there.project.plan()).counts).toMatchObject({ ...EMPTY, unchanged: BEFORE.length })
    const { runs } = JSON.parse(await ok(there.project, 'history', '--json')) as { runs: unknown[] }
    expect(runs).toHaveLength(1)
    expect(receiver.requests.length).toBe(from)
    await there.project.rows(AFTER)
    await ok(there.project, 'run')
    expect(held(receiver)).toEqual(wanted(AFTER))
    await expectTidy(here.folder)
  })

  it('a state is not moved while a run is unfinished or goes, nor over another', async () => {
    const here = await begin()
    await withLocalState(here.project, () => ok(here.project, 'run').then(() => undefined))
    const over = await here.project.run(['state', 'push', 'people'])
    expect([over.code, over.stderr]).toEqual([1, expect.stringContaining('CDP4014')])
    await rm(join(here.project.root, '.cdp-sync/state'), { recursive: true })
    await killAt(here, 'answered:2')
    const locked = await here.project.run(['state', 'pull', 'people'])
    expect([locked.code, locked.stderr]).toEqual([6, expect.stringContaining('CDP5000')])
    await s3.age(`${here.folder}/lease.json`, 600)
    const unfinished = await here.project.run(['state', 'pull', 'people'])
    expect([unfinished.code, unfinished.stderr]).toEqual([1, expect.stringContaining('CDP4034')])
  })

  it('a renamed sync takes its state along in the bucket', async () => {
    const here = await begin()
    const text = await readFile(join(here.project.root, 'syncs/people.yaml'), 'utf8')
    await rm(join(here.project.root, 'syncs/people.yaml'))
    await here.project.write('syncs/persons.yaml', text)
    const lost = await here.project.run(['plan'])
    expect([lost.code, lost.stdout]).toEqual([1, expect.stringContaining('CDP4005')])
    await ok(here.project, 'state', 'mv', 'people', 'persons')
    await ok(here.project, 'run')
    expect(held(receiver)).toEqual(wanted(AFTER))
    await expectTidy(here.folder.replace(/people$/, 'persons'))
    expect((await objects(here)).map((key) => key.slice(here.folder.length + 1))).toEqual(['head.json', 'lease.json'])
  })
})
