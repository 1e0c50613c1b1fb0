/** Runs and plans of a project within this process, with the time that each part took. */
import { availableParallelism } from 'node:os'
import { loadProject } from '../src/config/load.ts'
import type { Project, Sync } from '../src/config/types.ts'
import { DEFAULT_OPTIONS } from '../src/context.ts'
import type { RunContext, RunEvent } from '../src/context.ts'
import { planSync, runSync } from '../src/run.ts'

/** Seconds; and what left the database that keeps the state. */
export interface Timed {
  readonly counts: Readonly<Record<string, number>>
  readonly seconds: number
  /** Reading the model and comparing it. */
  readonly compare: number
  /** From the last answer of the destination to the end. */
  readonly commit: number
  readonly statements: number
  readonly rows: number
  readonly bytes: number
}

export interface Place {
  /** Throws unless it ends well, and with these counts. */
  run(expected: Readonly<Record<string, number>>): Promise<Timed>
  /** Seconds. */
  plan(expected: Readonly<Record<string, number>>): Promise<number>
}

export async function placeAt(root: string): Promise<Place> {
  const project = await loadProject({ root, environ: process.env })
  const [sync] = project.syncs
  if (!sync) throw new Error('no sync')
  return { run: (expected) => run(project, sync, expected), plan: (expected) => plan(project, sync, expected) }
}

function contextOf(report: (event: RunEvent) => void): RunContext {
  return {
    options: DEFAULT_OPTIONS,
    signal: new AbortController().signal,
    now: Date.now,
    random: Math.random,
    report,
    memory: 512 * 2 ** 20,
    threads: availableParallelism(),
    upsertsEnded: () => undefined,
    beforeRemovals: () => Promise.resolve(),
    trace: null,
  }
}

async function run(project: Project, sync: Sync, expected: Readonly<Record<string, number>>): Promise<Timed> {
  const at = new Map<string, number>()
  const began = performance.now()
  const context = contextOf((event) => {
    at.set(event.type === 'phase' ? event.phase : event.type, performance.now())
  })
  const record = await runSync(project, sync, context)
  const seconds = (performance.now() - began) / 1000
  if (record.status !== 'ok') throw new Error(`a run ended ${record.status}: ${JSON.stringify(record)}`)
  check(record.counts, expected)
  const between = (from: string, to: string): number => ((at.get(to) ?? NaN) - (at.get(from) ?? NaN)) / 1000
  const { statements = 0, rows = 0, bytes = 0 } = record.warehouse ?? {}
  return { counts: expected, seconds, compare: between('stage', 'plan'), commit: between('commit', 'ended'), statements, rows, bytes }
}

async function plan(project: Project, sync: Sync, expected: Readonly<Record<string, number>>): Promise<number> {
  const began = performance.now()
  const { counts } = await planSync(
    project,
    sync,
    contextOf(() => undefined),
  )
  check(counts, expected)
  return (performance.now() - began) / 1000
}

function check(found: object, expected: Readonly<Record<string, number>>): void {
  for (const [name, n] of Object.entries(expected))
    if ((found as Record<string, number>)[name] !== n) throw new Error(`expected ${JSON.stringify(expected)}, got ${JSON.stringify(found)}`)
}
