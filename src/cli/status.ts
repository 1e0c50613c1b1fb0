/** `cdp-sync status`: one screen on every sync, from small files only, so it answers while a run holds the state. */
import type { Command } from 'commander'
import type { Project, Sync } from '../config/types.ts'
import type { RunRecord } from '../types.ts'
import type { Progress } from '../records.ts'
import type { Keeper } from '../state/keeper.ts'
import { count, duration, moment, table } from '../render/text.ts'
import { jsonFlag, type Act } from './options.ts'
import { progressText, type Session } from './session.ts'

export function statusCommand(program: Command, act: Act): void {
  program
    .command('status')
    .description('the last run of every sync, and what to do next')
    .addOption(jsonFlag())
    .action(act(async (session, flags: { json?: boolean }) => status(session, flags)))
}

interface Row {
  name: string
  enabled: boolean
  /** `running`, `never ran`, or the status of the last run. */
  status: string
  last_run: { run: string; status: string; ended_at: string | null; exit_code: number; counts: RunRecord['counts'] } | null
  /** `phase` is null for a run on another machine: how far it is stands beside it. */
  running: { run: string; phase: string | null; done: number; total: number | null; started_at: string; pid: number } | null
  next: string | null
}

async function status(session: Session, flags: { json?: boolean }): Promise<void> {
  const project = await session.project()
  const { openKeeper } = await import('../state/keepers.ts')
  const keeper = await openKeeper(project)
  const rows: Row[] = []
  for (const sync of project.syncs) rows.push(await rowOf(project, keeper, sync))
  const orphans = (await keeper.list()).filter((name) => !project.syncs.some((sync) => sync.name === name))
  if (flags.json) {
    session.print(JSON.stringify({ format_version: 1, syncs: rows, states_without_sync: orphans }, null, 2) + '\n')
    return
  }
  const cells = rows.map((row) => {
    const { counts, ended_at } = row.last_run ?? { counts: null, ended_at: null }
    const when = row.running ? nowText(session, row.running) : ended_at ? moment(ended_at) : ''
    return [
      row.name,
      row.status,
      when,
      ...[counts?.delivered, counts?.rejected, counts?.held].map((n) => (n ? count(n) : '')),
      row.next ?? '',
    ]
  })
  session.print(table(['sync', 'status', 'last run', 'delivered', 'rejected', 'held', 'next'], cells, ['delivered', 'rejected', 'held']))
  for (const name of orphans) {
    session.print(`\n${name}: there is a state, but no sync of this name. If it was renamed: cdp-sync rename ${name} NEW\n`)
  }
}

async function rowOf(project: Project, keeper: Keeper, sync: Sync): Promise<Row> {
  const { readProgress, readRecords } = await import('../records.ts')
  const { isActive } = await import('../config/select.ts')
  const paths = await keeper.records(sync.name)
  const [last] = await readRecords(paths)
  const holder = await keeper.holder(sync.name)
  const running = holder ? runningOf(holder, await readProgress(paths)) : null
  const here = isActive(sync, project)
  return {
    name: sync.name,
    enabled: here,
    status: running ? 'running' : (last?.status ?? (here ? 'never ran' : 'disabled')),
    last_run: last ? { run: last.run, status: last.status, ended_at: last.ended_at, exit_code: last.exit_code, counts: last.counts } : null,
    running,
    next: running || !here ? null : nextOf(sync, last),
  }
}

/** Progress is the holder's only if it says so: a killed run leaves its own behind. */
function runningOf(holder: { run: string | null; pid: number; since: string }, progress: Progress | null): NonNullable<Row['running']> {
  const own = progress?.pid === holder.pid ? progress : null
  const { run = holder.run ?? '', phase = null, done = 0, total = null, started_at = holder.since } = own ?? {}
  return { run, phase, done, total, started_at, pid: holder.pid }
}

function nowText(session: Session, running: NonNullable<Row['running']>): string {
  const seconds = (session.io.now() - Date.parse(running.started_at)) / 1000
  // What a run on another machine does is known there alone.
  if (running.phase === null) return `for ${duration(seconds)}`
  return progressText({ ...running, type: 'progress', sync: '', phase: running.phase as Progress['phase'] }, seconds)
}

function nextOf({ name }: Sync, last: RunRecord | undefined): string | null {
  if (!last) return `cdp-sync plan ${name}`
  if (last.counts.rejected + last.counts.held > 0) return `cdp-sync rejected ${name}`
  if (last.status === 'ok') return null
  return last.status === 'refused' || last.status === 'failed' ? `cdp-sync plan ${name}` : `cdp-sync run ${name}`
}
