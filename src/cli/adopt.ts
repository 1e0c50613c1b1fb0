/** `baseline`, `rename`, `adopt-target`: change what the state says without sending anything. */
import { Option, type Command } from 'commander'
import type { Sync } from '../config/types.ts'
import { DEFAULT_OPTIONS, type RunEvent } from '../context.ts'
import { CdpError } from '../errors.ts'
import { hideValues } from '../render/json.ts'
import { count, HIDDEN, many, printable } from '../render/text.ts'
import type { There } from '../there.ts'
import { jsonFlag, lockTimeoutFlag, showValuesFlag, type Act } from './options.ts'
import type { Session } from './session.ts'

interface BaselineFlags {
  mappingOnly?: boolean
  compare?: boolean
  lockTimeout?: number
  json?: boolean
  showValues?: boolean
}

export function baselineCommand(program: Command, act: Act): void {
  program
    .command('baseline')
    .description("take today's rows as delivered without sending them")
    .argument('<sync>')
    .addOption(new Option('--mapping-only', 'only what an edited mapping changed; other differences are still sent').conflicts('compare'))
    .option('--compare', 'only rows that the destination holds as they would be sent; reads it, writes nothing there')
    .addOption(lockTimeoutFlag())
    .addOption(jsonFlag())
    .addOption(showValuesFlag())
    .action(act((session, name: string, flags: BaselineFlags) => adopt(session, name, flags)))
}

async function adopt(session: Session, name: string, flags: BaselineFlags): Promise<void> {
  const { project, sync } = await session.sync(name)
  const { baseline } = await import('../maintain.ts')
  const options = { ...DEFAULT_OPTIONS, lockTimeout: flags.lockTimeout ?? 0 }
  const context = session.context({ options, report: flags.compare ? reporter(session) : () => undefined })
  const { adopted, kept, there } = await baseline(project, sync, context, {
    mappingOnly: flags.mappingOnly ?? false,
    ...(flags.compare ? { compare: true } : {}),
  })
  const { showValues } = session.style(flags.showValues)
  if (flags.json) {
    const found = there && {
      different: there.different,
      different_fields: there.fields,
      missing: there.missing,
      extra: there.extra?.count ?? null,
      extra_samples: there.extra?.samples.map((it) => (showValues ? it : hideValues(it))) ?? [],
    }
    session.print(JSON.stringify({ format_version: 1, sync: sync.name, adopted, kept, ...found }) + '\n')
  } else if (there) session.print(comparedText(sync, adopted, kept, there, showValues))
  else
    session.print(
      `${sync.name}: ${many(adopted, 'row')} adopted as delivered, ${count(kept)} owned before and not in the model. Nothing was sent.\n`,
    )
}

const SAY_EVERY_MS = 10_000

/** Reading a large destination takes long: a line now and then says how far it is. */
function reporter(session: Session): (event: RunEvent) => void {
  const { io } = session
  let last = io.now()
  return (event) => {
    if (event.type !== 'progress' || event.total === null || io.now() - last < SAY_EVERY_MS) return
    last = io.now()
    session.say(`Compared ${count(event.done)} of ${many(event.total, 'row')}.`)
  }
}

function comparedText(sync: Sync, adopted: number, kept: number, there: There, showValues: boolean): string {
  const fields = Object.entries(there.fields).map(([name, n]) => `${printable(name)} ${count(n)}`)
  const parts = [
    `${many(adopted, 'row')} adopted as delivered`,
    `${count(there.different)} different${fields.length > 0 ? ` (${fields.join(', ')})` : ''}`,
    `${count(there.missing)} missing there`,
    ...(there.extra ? [`${count(there.extra.count)} extra there`] : []),
  ]
  const lines = [`${sync.name}: ${parts.join(', ')}. Nothing was sent.`]
  if (kept > 0) lines.push(`${count(kept)} known before and not in the model.`)
  if (there.extra && there.extra.count > 0) {
    for (const member of there.extra.samples) lines.push(`  ${showValues ? printable(JSON.stringify(member)) : HIDDEN}`)
    lines.push(
      `Members that are in no row of the model stay there: ${sync.name} removes only what it put there. Remove them in ${sync.destination.name} itself.`,
    )
  }
  if (there.different + there.missing > 0) lines.push(`Next: cdp-sync plan ${sync.name}`)
  return lines.join('\n') + '\n'
}

export function renameCommand(program: Command, act: Act): void {
  program
    .command('rename')
    .description('give the state of a renamed sync its new name')
    .argument('<old>', 'the name the state has')
    .argument('<new>', 'the name of the sync now')
    .addOption(jsonFlag())
    .action(act(async (session, from: string, to: string, flags: { json?: boolean }) => giveName(session, from, to, flags)))
}

/** `rename` and `state mv`. */
export async function giveName(session: Session, from: string, to: string, flags: { json?: boolean }): Promise<void> {
  const { project } = await session.sync(to)
  if (project.syncs.some((it) => it.name === from)) {
    throw new CdpError('CDP5014', `There still is a sync "${from}": its state is its own.`, {
      hint: 'Rename the sync in its file first.',
    })
  }
  const { rename } = await import('../maintain.ts')
  await rename(project, from, to)
  if (flags.json) session.print(JSON.stringify({ format_version: 1, from, to }) + '\n')
  else session.print(`The state of ${from} is now that of ${to}.\n`)
}

export function adoptTargetCommand(program: Command, act: Act): void {
  program
    .command('adopt-target')
    .description('say that the destination a sync names now holds what its state says was delivered')
    .argument('<sync>')
    .addOption(lockTimeoutFlag())
    .addOption(jsonFlag())
    .action(
      act(async (session, name: string, flags: { lockTimeout?: number; json?: boolean }) => {
        const { project, sync } = await session.sync(name)
        const { adoptTarget } = await import('../maintain.ts')
        const context = session.context({ options: { ...DEFAULT_OPTIONS, lockTimeout: flags.lockTimeout ?? 0 } })
        const { from, to } = await adoptTarget(project, sync, context)
        if (flags.json) session.print(JSON.stringify({ format_version: 1, sync: sync.name, from, to }) + '\n')
        else session.print(`${sync.name}: ${printable(from)} -> ${printable(to)}. Nothing was sent. Next: cdp-sync plan ${sync.name}\n`)
      }),
    )
}
