/** The benchmark itself still runs: the smallest of its measurements, from data to table. Needs the build that `npm test` makes. */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const repository = join(import.meta.dirname, '../..')

it('measures a sync to a slow endpoint, prints a table and writes JSON', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'cdp-sync-bench-test-'))
  try {
    const file = join(folder, 'result.json')
    const args = ['--import', 'tsx', 'bench/main.ts', '--rows', '2000', '--only', 'slow', '--json', file]
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: repository })
    expect(stdout).toMatch(/^\| measure \| measured \| target \| met \|\n\| --- .*\n\| 2,000 changed rows to an endpoint that takes 200 ms/)
    const report = JSON.parse(await readFile(file, 'utf8')) as { figures: { name: string; raw: { seconds: number[] } }[] }
    const [figure] = report.figures
    expect(figure?.name).toBe('slow')
    // Twenty requests, eight at a time.
    expect(Math.min(...(figure?.raw.seconds ?? []))).toBeGreaterThan(0.6)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}, 120_000)
