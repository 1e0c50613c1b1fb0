/** `cdp-sync run`: sends what changed. */
import type { Command } from 'commander'
import type { GuardName } from '../config/types.ts'
import { summaryJson } from '../render/json.ts'
import { many } from '../render/text.ts'
import { addChanges, allowFlag, runOptions, type Act, type ChangeFlags, type SelectFlags } from './options.ts'
import { plan, selected } from './plan.ts'
import { jsonEvents, watch } from './progress.ts'
import type { Session } from './session.ts'

interface Flags extends ChangeFlags, SelectFlags {
  dryRun?: boolean
  fullRefresh?: boolean
  allow?: (GuardName | 'null_keys')[]
  yes?: boolean
}

export function runCommand(program: Command, act: Act): void {
  addChanges(program.command('run').description('send what changed since the last confirmed delivery'))
    .option('--dry-run', 'the same as plan')
    .option('--full-refresh', 'send every row again')
    .addOption(allowFlag())
    .option('--yes', 'answer questions with yes; lifts no guard')
    .action(
      act(async (session, selectors: string[], flags: Flags) =>
        flags.dryRun ? plan(session, selectors, flags) : run(session, selectors, flags),
      ),
    )
}

async function run(session: Session, selectors: string[], flags: Flags): Promise<number> {
  const { project, syncs } = await selected(session, selectors, flags)
  const { runAll } = await import('../schedule.ts')
  const style = session.style(flags.showValues)
  const { signal, trace, io } = session
  const seen = await watch(session, style.showValues)
  const events = flags.json ? jsonEvents(session, session.print, style.showValues) : null
  session.say(`Running ${many(syncs.length, 'sync')}.`)
  const engine = await import('../run.ts')
  const report: typeof seen.report = (event) => {
    seen.report(event)
    events?.report(event)
  }
  const given = { engine, signal, trace, now: io.now, random: io.random, report }
  const { records, exitCode, failures } = await runAll(project, syncs, runOptions(flags), given).finally(seen.end)
  // A blocked sync never reached the engine; `status` should know of it all the same.
  const { prepareState, writeRecord } = await import('../records.ts')
  const { openKeeper } = await import('../state/keepers.ts')
  for (const record of records) {
    if (record.status !== 'blocked') continue
    await writeRecord(await prepareState(project, { name: record.sync }), record)
    // Elsewhere too, where that can be: nothing was sent, so nothing depends on it.
    await openKeeper(project)
      .then((keeper) => keeper.recorded(record.sync, record.run))
      .catch(() => undefined)
  }
  if (flags.json) {
    session.print(summaryJson(records, exitCode))
  } else {
    const { renderSummary } = await import('../render/summary.ts')
    session.print(renderSummary(records, style))
  }
  session.complainOf(failures)
  return exitCode
}
