/**
 * `npm run bench:state`: what it costs to keep a state on this machine, in a bucket, in the warehouse, in another database.
 * Each run without the start of Node; places take turns, medians of three.
 *
 *     npm run bench:state -- [--rows 1000000] [--large 5000000] [--only places|large] [--json FILE]
 */
import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { useCredentials, startS3, VERSITYGW } from '../test/support/s3.ts'
import type { S3 } from '../test/support/s3.ts'
import type { Figure } from './measurements.ts'
import { median } from './measure.ts'
import { columnsOf, fillState, handJoin, sqlOf } from './state-large.ts'
import { placeAt } from './state-runs.ts'
import type { Place, Timed } from './state-runs.ts'
import { machine, tableOf } from './table.ts'
import { openWorld, SEED } from './world.ts'
import type { World } from './world.ts'

const { values: flags } = parseArgs({
  options: { rows: { type: 'string' }, large: { type: 'string' }, only: { type: 'string' }, json: { type: 'string' } },
})
const rows = Number(flags.rows ?? 1_000_000)
const large = Number(flags.large ?? 5_000_000)
if (![rows, large].every((it) => Number.isSafeInteger(it) && it >= 10_000)) throw new Error('--rows and --large take a number from 10,000')

const ROUNDS = 3
const count = (n: number): string => n.toLocaleString('en-US')
const s = (seconds: number): string => `${seconds.toFixed(1)} s`
const times = (ratio: number): string => `${ratio.toFixed(2)} ×`

/** A project of its own for each place, over the same table and receiver. */
async function projectAt(world: World, name: string, state: string): Promise<Place> {
  const root = join(world.root, name)
  await mkdir(root)
  const yaml = `project: bench_${name}
warehouses:
  main: { type: postgres, url: "${world.database}" }
  app: { type: postgres, url: "${world.database.replace(/postgres$/, 'app')}" }
defaults: { warehouse: main }
destinations: { sink: { type: webhook, url: "${world.origin}/" } }
state: ${state}
`
  await writeFile(join(root, 'cdp-sync.yaml'), yaml)
  await cp(join(world.root, 'syncs'), join(root, 'syncs'), { recursive: true })
  return placeAt(root)
}

/** On a runner that is new each time. */
async function thrownAway(world: World, name: string, state: string): Promise<Place> {
  const place = await projectAt(world, name, state)
  return {
    ...place,
    async run(expected) {
      await rm(join(world.root, name, '.cdp-sync'), { recursive: true, force: true })
      return place.run(expected)
    },
  }
}

const inBucket = ({ url }: S3): string => `{ type: s3, bucket: states, region: us-east-1, endpoint: "${url}" }`
const WAREHOUSE = '{ type: warehouse, schema: cdp_sync }'

/** The same runs with the state in each place, taking turns: a first one, nothing changed, 1 % changed. */
async function places(world: World, s3: S3 | null): Promise<Figure[]> {
  await world.generate('contacts', rows)
  await world.sync('contacts', 'contacts', 'sink')
  await world.query('CREATE DATABASE app')
  const all: Record<string, Place> = {
    local: await projectAt(world, 'local', '{ type: local }'),
    ...(s3 ? { bucket: await projectAt(world, 'bucket', inBucket(s3)), runner: await thrownAway(world, 'runner', inBucket(s3)) } : {}),
    warehouse: await projectAt(world, 'warehouse', WAREHOUSE),
    another: await projectAt(world, 'another', '{ type: warehouse, warehouse: app, schema: cdp_sync }'),
  }
  const each = async (expected: Timed['counts']): Promise<Record<string, Timed>> => {
    const found: Record<string, Timed> = {}
    for (const [name, place] of Object.entries(all)) {
      found[name] = await place.run(expected)
      process.stderr.write(`  ${name} ${JSON.stringify(found[name])}\n`)
    }
    return found
  }
  const first = [await each({ add: rows })]
  await analyse(world, ['main', 'app'])
  const quiet: Record<string, Timed>[] = []
  const changed: Record<string, Timed>[] = []
  for (let round = 1; round <= ROUNDS; round++) {
    quiet.push(await each({ unchanged: rows }))
    await world.query(`UPDATE contacts SET score = score + 1, updated_at = now() WHERE id % 100 = ${round}`)
    changed.push(await each({ change: rows / 100 }))
  }
  const of = (kind: readonly Record<string, Timed>[], name: string): number => median(kind.flatMap((it) => it[name]?.seconds ?? []))
  const local = { first: of(first, 'local'), quiet: of(quiet, 'local'), changed: of(changed, 'local') }
  return Object.keys(all).map((name) => {
    const [f, q, c] = [of(first, name), of(quiet, name), of(changed, name)]
    const against = name === 'local' ? '' : `, ${times(c / local.changed)} local`
    const limited = name === 'bucket'
    return {
      name: `place-${name}`,
      what: `state: ${name === 'runner' ? 'bucket, folder emptied before each run' : name}, ${count(rows)} rows × 10 columns: nothing changed, 1 % changed, first run`,
      measured: `${s(q)}, ${s(c)}${against}, ${s(f)}`,
      target: limited ? '1 % changed ≤ 1.5 × local' : '',
      met: limited ? c / local.changed <= 1.5 : null,
      raw: { quiet: quiet.map((it) => it[name]?.seconds ?? NaN), changed: changed.map((it) => it[name]?.seconds ?? NaN), first: f },
    }
  })
}

/** As autovacuum does, which these servers leave out. */
async function analyse(world: World, databases: readonly string[]): Promise<void> {
  for (const database of databases) {
    const sql = await sqlOf(world.database, database === 'main' ? 'postgres' : database)
    await sql.query('VACUUM (ANALYZE) cdp_sync.snapshot')
    await sql.end()
  }
}

/** A snapshot so large that comparing is what costs: a plan, and a run with 50,000 changes. */
async function inWarehouse(world: World): Promise<Figure[]> {
  const seed = 1_000
  await world.generate('crowd', seed)
  await world.sync('contacts', 'crowd', 'sink')
  const place = await projectAt(world, 'large', WAREHOUSE)
  await place.run({ add: seed })
  await world.generate('crowd', large)
  const sql = await sqlOf(world.database, 'postgres')
  await fillState(sql, 'bench_large', 'crowd', await columnsOf(world.database, 'crowd'), seed)
  const [hands, plans, runs]: [number[], number[], Timed[]] = [[], [], []]
  for (let round = 0; round <= ROUNDS; round++) {
    const [hand, plan] = [await handJoin(sql, 'bench_large', 'crowd'), await place.plan({ unchanged: large })]
    process.stderr.write(`  by hand ${hand}, plan ${plan}\n`)
    // The first time brings the server's buffers to where they stay.
    if (round > 0) hands.push(hand)
    if (round > 0) plans.push(plan)
  }
  const changes = Math.min(50_000, large / 100)
  for (let round = 1; round <= ROUNDS; round++) {
    await sql.query(`UPDATE crowd SET score = score + 1, updated_at = now() WHERE id % ${large / changes} = ${round}`)
    const run = await place.run({ change: changes, unchanged: large - changes })
    process.stderr.write(`  ${JSON.stringify(run)}\n`)
    runs.push(run)
  }
  await sql.end()
  const [hand, plan] = [median(hands), median(plans)]
  const of = (pick: (run: Timed) => number): number => median(runs.map(pick))
  const [compared, committed, left] = [of((it) => it.compare), of((it) => it.commit), of((it) => it.rows)]
  return [
    {
      name: 'plan',
      what: `no-change plan, ${count(large)} rows × 10 columns in PostgreSQL with its state there, against a full outer join of both tables written by hand (${s(hand)})`,
      measured: `${s(plan)}, ${times(plan / hand)}`,
      target: '≤ 1.3 ×',
      met: plan / hand <= 1.3,
      raw: { plans, hands },
    },
    {
      name: 'commit',
      what: `run with ${count(changes)} changes of ${count(large)}: from the last answer to the end, against reading and comparing (${s(compared)})`,
      measured: `${s(committed)}, ${times(committed / compared)}`,
      target: '≤ 0.3 ×',
      met: committed / compared <= 0.3,
      raw: { compare: runs.map((it) => it.compare), commit: runs.map((it) => it.commit) },
    },
    {
      name: 'travel',
      what: 'the same: rows that leave the database, for each that changed',
      measured: `${(left / changes).toFixed(2)} (${count(of((it) => it.statements))} statements)`,
      target: '≤ 2',
      // As it is shown: lease, note and totals are three rows of any run.
      met: Math.round((left / changes) * 100) <= 200,
      raw: { rows: runs.map((it) => it.rows), bytes: runs.map((it) => it.bytes) },
    },
  ]
}

const figures: Figure[] = []
const world = await openWorld()
const s3 = VERSITYGW === null ? null : await startS3()
if (s3) useCredentials(s3)
else process.stderr.write('versitygw is not installed: no state in a bucket is measured\n')
try {
  if (flags.only !== 'large') figures.push(...(await places(world, s3)))
  if (flags.only !== 'places') figures.push(...(await inWarehouse(world)))
} finally {
  await s3?.close()
  await world.close()
}
const report = {
  format_version: 1,
  command: `npm run bench:state -- --rows ${rows} --large ${large}${flags.only ? ` --only ${flags.only}` : ''}`,
  seed: SEED,
  at: new Date().toISOString(),
  machine: machine(),
  figures,
}
if (flags.json !== undefined) await writeFile(flags.json, JSON.stringify(report, null, 2) + '\n')
console.log(tableOf(report))
