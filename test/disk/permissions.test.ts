/** Everything a run writes is for its owner alone: while it runs, after kill -9, and under a umask that closes nothing. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { makeProject, people, type TestProject } from '../support/project.ts'
import { startReceiver, type Receiver } from '../support/receiver.ts'

let receiver: Receiver
let project: TestProject
beforeEach(async () => {
  receiver = await startReceiver()
  project = await makeProject({ url: receiver.url })
  await project.rows(people(0, 40))
})
afterEach(async () => {
  await project.remove()
  await receiver.close()
})

const through = ['sh', '-c', 'umask 000; exec "$@"', 'sh']

/** Path and mode of everything under the state folder, that folder included, which is not 0700 or 0600. */
function openTo(path = join(project.root, '.cdp-sync')): string[] {
  const { mode } = statSync(path)
  const folder = (mode & 0o170_000) === 0o040_000
  const wrong = (mode & 0o777) === (folder ? 0o700 : 0o600) ? [] : [`${path} ${(mode & 0o777).toString(8)}`]
  return folder ? [...wrong, ...readdirSync(path).flatMap((name) => openTo(join(path, name)))] : wrong
}
const files = (path = join(project.root, '.cdp-sync')): string[] => readdirSync(path, { recursive: true }).map(String)

it('while it runs and when it has ended', async () => {
  const seen: string[][] = []
  const names = new Set<string>()
  receiver.fault(() => {
    seen.push(openTo())
    for (const name of files()) names.add(name.replace(/^.*\./, '.'))
    return undefined
  })
  expect((await project.run(['run'], { through })).code).toBe(0)
  expect(seen.flat()).toEqual([])
  expect([...names]).toEqual(expect.arrayContaining(['.duckdb', '.wal', '.lock']))
  expect(openTo()).toEqual([])
})

it.each(['staged', 'answered:3', 'checkpointing'])('after kill -9 at %s', async (at) => {
  expect((await project.run(['run'], { through, env: { CDP_SYNC_CRASH_AT: at } })).signal).toBe('SIGKILL')
  expect(openTo()).toEqual([])
  expect((await project.run(['run'], { through })).code).toBe(0)
  expect(openTo()).toEqual([])
  expect(files().filter((name) => /work\/|\.tmp$|\.wal$|\.lock/.test(name))).toEqual([])
})
