/** What is measured. Each measurement makes what it needs, and checks that the program did what was timed. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { cli, help, median, script, type Counts, type Usage } from './measure.ts'
import type { World } from './world.ts'

export interface Sizes {
  readonly rows: number
  readonly firstRows: number
  readonly slowRows: number
  readonly largeRows: number | null
}

export interface Figure {
  readonly name: string
  readonly what: string
  readonly measured: string
  readonly target: string
  /** Null: there is no target. */
  readonly met: boolean | null
  /** The numbers behind it: seconds, bytes, ratios. */
  readonly raw: Readonly<Record<string, number | readonly number[]>>
}

type Measure = (world: World, sizes: Sizes) => Promise<Figure[]>

const ROUNDS = 3
const count = (n: number): string => n.toLocaleString('en-US')
const s = (seconds: number): string => `${seconds.toFixed(seconds < 1 ? 2 : 1)} s`
const mb = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MB`
const times = (ratio: number): string => `${ratio.toFixed(2)} ×`

function check(found: Counts, expected: Partial<Counts>): void {
  for (const [name, n] of Object.entries(expected)) {
    if (found[name as keyof Counts] !== n) throw new Error(`expected ${JSON.stringify(expected)}, got ${JSON.stringify(found)}`)
  }
}

/** Runs the same thing several times; `each` gives what is to be kept of a round. */
async function rounds<T>(each: (round: number) => Promise<T>): Promise<T[]> {
  const all: T[] = []
  for (let round = 1; round <= ROUNDS; round++) all.push(await each(round))
  return all
}

const medianOf = <T>(all: readonly T[], pick: (one: T) => number): number => median(all.map(pick))
const most = (all: readonly Usage[]): number => Math.max(...all.map(({ memory }) => memory))

export const measurements: Readonly<Record<string, Measure>> = {
  help: async ({ root }) => {
    const all = []
    for (let i = 0; i < 10; i++) all.push(await help(root))
    const seconds = medianOf(all, (run) => run.seconds)
    return [
      {
        name: 'help',
        what: '`cdp-sync --help`',
        measured: `${Math.round(seconds * 1000)} ms`,
        target: '≤ 150 ms',
        met: seconds <= 0.15,
        raw: { seconds: all.map((run) => run.seconds) },
      },
    ]
  },

  slow: async (world, { slowRows }) => {
    await world.generate('patient', slowRows)
    await world.sync('patient', 'patient', 'slow')
    check((await cli(world.root, 'patient')).counts, { delivered: slowRows })
    const all = await rounds(async () => {
      await world.query(`UPDATE patient SET score = score + 1`)
      const run = await cli(world.root, 'patient')
      check(run.counts, { change: slowRows, delivered: slowRows })
      return run
    })
    const seconds = medianOf(all, (run) => run.seconds)
    const least = Math.ceil(Math.ceil(slowRows / 100) / 8) * 0.2
    return [
      {
        name: 'slow',
        what: `${count(slowRows)} changed rows to an endpoint that takes 200 ms, batch 100, concurrency 8; the whole process against the arithmetic minimum of ${s(least)}`,
        measured: `${s(seconds)}, ${times(seconds / least)}`,
        target: '≤ 1.2 ×',
        met: seconds / least <= 1.2,
        raw: { seconds: all.map((run) => run.seconds), least },
      },
    ]
  },

  first: async (world, { firstRows }) => {
    await world.generate('newcomers', firstRows)
    await world.sync('kept', 'newcomers', 'keep')
    check((await cli(world.root, 'kept')).counts, { delivered: firstRows })
    await world.sync('newcomers', 'newcomers', 'sink')
    await forget(world, 'kept')
    await rm(join(world.root, 'syncs', 'kept.yaml'))
    await world.received()
    const all = await rounds(async () => {
      const bare = Number((await script('bare.ts', [world.kept, world.origin], world.root)).stdout)
      const posted = await world.received()
      await forget(world, 'newcomers')
      const run = await cli(world.root, 'newcomers')
      check(run.counts, { add: firstRows, delivered: firstRows })
      const sent = await world.received()
      if (posted.rows !== firstRows || sent.rows !== firstRows) throw new Error(`${posted.rows} and ${sent.rows} rows arrived`)
      return { bare, ...run }
    })
    const ours = firstRows / medianOf(all, (run) => run.seconds)
    const theirs = firstRows / medianOf(all, (run) => run.bare)
    return [
      {
        name: 'first',
        what: `first run, ${count(firstRows)} rows, against a loop that posts the same bodies from memory (${count(Math.round(theirs / 1000))} thousand rows/s)`,
        measured: `${count(Math.round(ours / 1000))} thousand rows/s, ${times(ours / theirs)}`,
        target: '≥ 0.25 ×',
        met: ours / theirs >= 0.25,
        raw: { seconds: all.map((run) => run.seconds), bare: all.map((run) => run.bare), memory: most(all) },
      },
    ]
  },

  large: async (world, { largeRows }) => (largeRows === null ? [] : [(await steady(world, largeRows, 'big', 2 ** 30)).memory]),

  steady: async (world, { rows }) => {
    const { figures, memory } = await steady(world, rows, 'contacts', 700 * 2 ** 20)
    return [...figures, memory, ...(await baselines(world, rows))]
  },
}

const forget = (world: World, sync: string): Promise<void> =>
  rm(join(world.root, '.cdp-sync/state'), { recursive: true, force: true }).then(() => void sync)

/** A big table that mostly stays as it is: nothing changed, little changed, the mapping changed. */
async function steady(world: World, rows: number, table: string, limit: number): Promise<{ figures: Figure[]; memory: Figure }> {
  await world.generate(table, rows)
  await world.sync(table, table, 'sink')
  const first = await cli(world.root, table)
  check(first.counts, { add: rows, delivered: rows })
  // A second run brings file caches and the server's buffers to where they stay.
  check((await cli(world.root, table)).counts, { unchanged: rows })
  const quiet = await rounds(async () => {
    const floor = await world.copyAway(table)
    const run = await cli(world.root, table)
    check(run.counts, { unchanged: rows, delivered: 0 })
    return { floor, ...run }
  })
  await world.received()
  const changing = await rounds(async (round) => {
    await world.query(
      `UPDATE ${table} SET score = score + 1, updated_at = now() WHERE id % 100 = ${round}; DELETE FROM ${table} WHERE id % 1000 = ${round * 7 + 50}`,
    )
    const floor = await world.copyAway(table)
    const run = await cli(world.root, table)
    const { rows: arrived } = await world.received()
    if (run.counts.change !== rows / 100 || run.counts.remove !== rows / 1000 || arrived !== run.counts.delivered)
      throw new Error(`unexpected: ${JSON.stringify(run.counts)}, ${arrived} arrived`)
    return { floor, ...run }
  })
  const left = quiet.length === 0 ? 0 : rows - (ROUNDS * rows) / 1000
  const edits = [
    '{ column: plan, map: { free: free, pro: pro, team: team, enterprise: enterprise } }',
    '{ column: plan, transform: [strip] }',
    'plan',
  ]
  const edited = await rounds(async (round) => {
    await world.sync(table, table, 'sink', edits[round - 1])
    const run = await cli(world.root, table)
    check(run.counts, { unchanged: left, delivered: 0 })
    return run
  })
  const seconds = (all: readonly Usage[]): number => medianOf(all, (run) => run.seconds)
  const [still, moved, mapped] = [seconds(quiet), seconds(changing), seconds(edited)]
  const floors = [...quiet, ...changing].map((run) => run.floor)
  const floor = median(floors)
  const memory = most([first, ...quiet, ...changing, ...edited])
  const figure = (name: string, what: string, measured: string, target: string, met: boolean, raw: Figure['raw']): Figure => ({
    name,
    what,
    measured,
    target,
    met,
    raw,
  })
  return {
    figures: [
      figure(
        'quiet',
        `no-change run, ${count(rows)} rows × 10 columns in PostgreSQL, against \`COPY … TO STDOUT\` thrown away (${s(floor)})`,
        `${s(still)}, ${times(still / floor)}`,
        '≤ 2.4 ×',
        still / floor <= 2.4,
        {
          seconds: quiet.map((run) => run.seconds),
          floor: floors,
        },
      ),
      figure(
        'changing',
        'the same with 1 % changed and 0.1 % removed, delivered to a local HTTP sink, batch 1000',
        `${s(moved)}, ${times(moved / floor)}`,
        '≤ 2.8 ×',
        moved / floor <= 2.8,
        {
          seconds: changing.map((run) => run.seconds),
        },
      ),
      figure(
        'edited',
        `mapping edit of one field over ${count(rows)} rows, nothing to send, against the no-change run`,
        `${s(mapped)}, ${times(mapped / still)}`,
        '≤ 3 ×',
        mapped / still <= 3,
        {
          seconds: edited.map((run) => run.seconds),
        },
      ),
    ],
    memory: figure(
      `memory-${table}`,
      `peak memory, ${count(rows)} rows: first run (${s(first.seconds)}), no change, changes, mapping edit`,
      mb(memory),
      `≤ ${mb(limit)}`,
      memory <= limit,
      {
        first: first.memory,
        first_seconds: first.seconds,
        quiet: most(quiet),
        changing: most(changing),
        edited: most(edited),
      },
    ),
  }
}

/** The same table without a tool. */
async function baselines(world: World, rows: number): Promise<Figure[]> {
  const run = (kind: string): Promise<Usage> =>
    script('baseline.ts', [kind, world.database, 'contacts', world.origin, join(world.root, 'map')], world.root, [
      '--max-old-space-size=16384',
    ])
  const touch = (round: number): Promise<void> =>
    world.query(
      `UPDATE contacts SET score = score + 1 WHERE id % 100 = ${round + 20}; DELETE FROM contacts WHERE id % 1000 = ${round * 7 + 250}`,
    )
  await run('map')
  await touch(1)
  const map = await run('map')
  const all = await run('all')
  await touch(2)
  const ours = await cli(world.root, 'contacts')
  const figure = (name: string, what: string, usage: Usage): Figure => ({
    name,
    what: `${what}: ${s(usage.seconds)}, ${mb(usage.memory)}; cdp-sync: ${s(ours.seconds)}, ${mb(ours.memory)}`,
    measured: `${(usage.seconds / ours.seconds).toFixed(1)} × the time, ${(usage.memory / ours.memory).toFixed(1)} × the memory`,
    target: 'ahead in both',
    met: usage.seconds > ours.seconds && usage.memory > ours.memory,
    raw: { seconds: usage.seconds, memory: usage.memory, ours: ours.seconds, ours_memory: ours.memory },
  })
  return [
    figure('map', `${count(rows)} rows, 1 % changed: a script that fetches all rows and compares them in a Map`, map),
    figure('all', `${count(rows)} rows, 1 % changed: a script that sends everything each time`, all),
  ]
}
