/** Many more random histories than `npm test` takes the time for: `npm run soak [-- RUNS]`, 5,000 by default, over all kinds of addresses. */
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'

const KINDS = 5
const total = Number(process.argv[2] ?? 5000)
const { status } = spawnSync('npx', ['vitest', 'run', 'test/model'], {
  stdio: 'inherit',
  env: { PBT_SEED: String(randomInt(2 ** 31)), ...process.env, PBT_RUNS: String(Math.ceil(total / KINDS)) },
})
process.exitCode = status ?? 1
