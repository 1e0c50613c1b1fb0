/** `cdp-sync plan`: what a run would send, and to which account. Sends nothing, changes nothing. */
import type { Command } from 'commander'
import type { Project, Sync } from '../config/types.ts'
import { EXIT } from '../errors.ts'
import { hide, planJson } from '../render/json.ts'
import { many } from '../render/text.ts'
import { addChanges, runOptions, type Act, type ChangeFlags, type SelectFlags } from './options.ts'
import { watch } from './progress.ts'
import type { Session } from './session.ts'

type Flags = ChangeFlags & SelectFlags & { detailedExitcode?: boolean }

export function planCommand(program: Command, act: Act): void {
  addChanges(program.command('plan').description('show what a run would send; sends nothing'))
    .option('--detailed-exitcode', 'exit 2 when there are changes')
    .action(act(async (session, selectors: string[], flags: Flags) => plan(session, selectors, flags)))
}

export async function plan(session: Session, selectors: string[], flags: Flags): Promise<number> {
  const { project, syncs } = await selected(session, selectors, flags)
  const { planAll } = await import('../schedule.ts')
  const style = session.style(flags.showValues)
  const { signal, trace, io } = session
  const seen = await watch(session, style.showValues)
  session.say(`Planning ${many(syncs.length, 'sync')}.`)
  const engine = await import('../run.ts')
  const result = await planAll(project, syncs, runOptions(flags), {
    engine,
    signal,
    trace,
    now: io.now,
    random: io.random,
    report: seen.report,
  }).finally(seen.end)
  if (flags.json) {
    session.print(planJson(style.showValues ? result.plan : hide(result.plan)))
  } else {
    const { renderPlan } = await import('../render/terminal.ts')
    session.print(renderPlan(result.plan, { ...style, samples: flags.limit ?? null, narrowed: narrowed(flags, style.showValues) }))
  }
  session.complainOf(result.failures)
  const { add, change, remove } = result.plan.summary
  return result.exitCode === EXIT.ok && flags.detailedExitcode && add + change + remove > 0 ? EXIT.changes : result.exitCode
}

/** The flags that left changes out. A key is shown where values are. */
function narrowed({ key, limit }: ChangeFlags, showValues: boolean): string[] {
  const keys = (key ?? []).map((it) => `--key ${showValues ? JSON.stringify(it) : '(hidden)'}`)
  return limit === undefined ? keys : [...keys, `--limit ${limit}`]
}

/** The syncs that were meant, in the order of their dependencies. */
export async function selected(
  session: Session,
  selectors: string[],
  flags: SelectFlags,
): Promise<{ project: Project; syncs: readonly Sync[] }> {
  const project = await session.project()
  const { select } = await import('../config/select.ts')
  const syncs = select(project, selectors, flags.exclude ?? [])
  if (syncs.length === 0) session.say('No sync is enabled here: write one to syncs/NAME.yaml.', 'yellow')
  return { project, syncs }
}
