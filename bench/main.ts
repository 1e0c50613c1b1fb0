/**
 * `npm run bench`: time and memory of the built command line against the least work there is for the same result, and
 * against what people write without a tool. Everything on this machine, in one run, medians of three.
 *
 *     npm run bench -- [--rows 5000000] [--quick] [--large] [--only NAME] [--json FILE]
 */
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { measurements, type Figure, type Sizes } from './measurements.ts'
import { machine, tableOf } from './table.ts'
import { openWorld, SEED } from './world.ts'

const { values: flags } = parseArgs({
  options: {
    rows: { type: 'string' },
    quick: { type: 'boolean', default: false },
    large: { type: 'boolean', default: false },
    only: { type: 'string' },
    json: { type: 'string' },
  },
})
const rows = Number(flags.rows ?? (flags.quick ? 200_000 : 5_000_000))
if (!Number.isSafeInteger(rows) || rows < 1000) throw new Error('--rows takes a number from 1,000')
const sizes: Sizes = {
  rows,
  firstRows: Math.min(rows, 1_000_000),
  slowRows: Math.min(rows, 10_000),
  largeRows: flags.large ? 20_000_000 : null,
}

const chosen = Object.entries(measurements).filter(([name]) => flags.only === undefined || flags.only === name)
if (chosen.length === 0) throw new Error(`--only takes one of ${Object.keys(measurements).join(', ')}`)

const figures: Figure[] = []
const world = await openWorld()
try {
  for (const [name, measure] of chosen) {
    process.stderr.write(`${name} …\n`)
    figures.push(...(await measure(world, sizes)))
  }
} finally {
  await world.close()
}
const command = ['npm run bench --', `--rows ${rows}`, flags.large ? '--large' : '', flags.only ? `--only ${flags.only}` : '']
  .filter(Boolean)
  .join(' ')
const report = { format_version: 1, command, seed: SEED, at: new Date().toISOString(), machine: machine(), figures }
if (flags.json !== undefined) await writeFile(flags.json, JSON.stringify(report, null, 2) + '\n')
console.log(tableOf(report))
