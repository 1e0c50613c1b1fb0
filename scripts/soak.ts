/**
 * Many more random histories than `npm test` takes the time for: `npm run soak [-- RUNS [ENGINE]]`, 5,000 by default, over all
 * kinds of addresses. ENGINE: where the state lies, a project of vitest.config.ts; default `local`.
 */
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'

const KINDS = 5
const [total = '5000', engine = 'local'] = process.argv.slice(2)
const { status } = spawnSync('npx', ['vitest', 'run', 'test/model', '--project', engine], {
  stdio: 'inherit',
  env: { PBT_SEED: String(randomInt(2 ** 31)), ...process.env, PBT_RUNS: String(Math.ceil(Number(total) / KINDS)) },
})
process.exitCode = status ?? 1
