/** `cdp-sync history`: the runs of a sync, or of all, newest first. */
import type { Command } from 'commander'
import { hideRecord } from '../render/json.ts'
import { count, duration, moment, table } from '../render/text.ts'
import type { RunRecord } from '../types.ts'
import { jsonFlag, parseCount, showValuesFlag, type Act } from './options.ts'
import type { Session } from './session.ts'

interface Flags {
  json?: boolean
  limit: number
  showValues?: boolean
}

export function historyCommand(program: Command, act: Act): void {
  program
    .command('history')
    .description('past runs, newest first (the last 100 of each sync are kept)')
    .argument('[sync]', 'one sync; none: all')
    .option('--limit <n>', 'at most this many runs', parseCount, 20)
    .addOption(jsonFlag())
    .addOption(showValuesFlag())
    .action(act(async (session, name: string | undefined, flags: Flags) => history(session, name, flags)))
}

async function history(session: Session, name: string | undefined, flags: Flags): Promise<void> {
  const { readRecords } = await import('../records.ts')
  const { openKeeper } = await import('../state/keepers.ts')
  const project = await session.project()
  const syncs = name === undefined ? project.syncs : [(await session.sync(name)).sync]
  const keeper = await openKeeper(project)
  const all: RunRecord[] = []
  for (const sync of syncs) all.push(...(await readRecords(await keeper.records(sync.name))))
  const records = all.sort((a, b) => (a.started_at < b.started_at ? 1 : -1)).slice(0, flags.limit)
  if (flags.json) {
    const runs = session.style(flags.showValues).showValues ? records : records.map(hideRecord)
    session.print(JSON.stringify({ format_version: 1, runs }, null, 2) + '\n')
    return
  }
  if (records.length === 0) session.say('No runs yet.')
  const numbers = ['add', 'change', 'remove', 'rejected'] as const
  const rows = records.map((it) => {
    const sent = numbers.map((name) => count(it.counts[name]))
    return [moment(it.started_at), it.sync, it.status, ...sent, duration(it.seconds), it.error?.code ?? it.reasons[0]?.code ?? '', it.run]
  })
  session.print(table(['started', 'sync', 'status', ...numbers, 'took', 'code', 'run'], rows, numbers))
}
