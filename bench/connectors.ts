/**
 * `npm run bench:connectors`: how near each connector comes to the rate its vendor permits, against its fake on this machine.
 *
 *     npm run bench:connectors -- [--only NAME] [--seconds 20]
 */
import { existsSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { listConnectors } from '../src/config/registry.ts'
import { windowsOf } from '../src/limit-ledger.ts'
import { mainMode, onGround, specOf, type Ground } from '../src/testing/ground.ts'
import type { Subject } from '../src/testing/index.ts'

const { values: flags } = parseArgs({ options: { only: { type: 'string' }, seconds: { type: 'string', default: '20' } } })
/** A run ought to last so long where the rate limits it. */
const SECONDS = Number(flags.seconds)
/** Rows and requests of one run at most: beyond them the rate of this machine is measured, not that of the connector. */
const MOST_ROWS = 50_000
const MOST_REQUESTS = 3_000

interface Figures {
  readonly connector: string
  readonly object: string
  readonly rows: number
  readonly requests: number
  readonly rowsPerSecond: number
  readonly requestsPer1000: number
  /** Of the requests that the declared limits permit in the time the run took; null where they did not bind. */
  readonly share: number | null
}

const all: Figures[] = []
for (const { name } of listConnectors(null)) {
  const file = new URL(`../test/connectors/subjects/${name}.ts`, import.meta.url)
  if ((flags.only !== undefined && flags.only !== name) || !existsSync(file)) continue
  const { subject } = (await import(file.href)) as { subject: Subject }
  for (const object of subject.objects) {
    const mode = mainMode(object, specOf(subject, object))
    await onGround(subject, object, async (ground) => void all.push(show(await measure(ground))), mode)
  }
}

async function measure({ subject, object, trial, served, limits, row }: Ground): Promise<Figures> {
  const windows = windowsOf(limits())
  // Each window once over at its start, then as time goes by.
  const permitted = (ms: number): number => Math.min(...windows.map((window) => window.requests * (1 + ms / window.ms)))
  const requests = Math.min(MOST_REQUESTS, permitted(SECONDS * 1000))
  const n = Math.max(20, Math.min(MOST_ROWS, Math.floor(requests * limits().rows)))
  await trial.rows(Array.from({ length: n }, (_, i) => row(i)))
  const { record, code, stdout } = await trial.run()
  if (code !== 0) throw new Error(`${subject.connector.name} ${object.object}: ended with ${code}\n${stdout}`)
  const times = served.exchanges.map(({ at }) => at)
  const ms = Math.max(1, Math.max(...times) - Math.min(...times))
  const made = served.exchanges.length
  // Less than one window's worth says nothing of a rate.
  const binds = windows.some((window) => made > window.requests)
  return {
    connector: subject.connector.name,
    object: object.object,
    rows: n,
    requests: made,
    rowsPerSecond: Math.round((record.counts.delivered + record.counts.accepted) / (ms / 1000)),
    requestsPer1000: Math.round((made / n) * 100_000) / 100,
    share: binds ? made / permitted(ms) : null,
  }
}

function show(figures: Figures): Figures {
  const { connector, object, rows, requests, rowsPerSecond, requestsPer1000, share } = figures
  const part = share === null ? 'the rate did not bind' : `${Math.round(share * 100)} % of the permitted rate`
  console.log(
    `${connector} ${object}: ${rows} rows, ${requests} requests (${requestsPer1000} per 1,000 rows), ${rowsPerSecond} rows/s, ${part}`,
  )
  return figures
}
