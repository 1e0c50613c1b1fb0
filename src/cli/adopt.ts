/** `baseline`, `rename`, `adopt-target`: change what the state says without sending anything. */
import type { Command } from 'commander'
import { CdpError } from '../errors.ts'
import { count, many, printable } from '../render/text.ts'
import { jsonFlag, lockTimeoutFlag, type Act } from './options.ts'
import { DEFAULT_OPTIONS } from '../context.ts'

interface BaselineFlags {
  mappingOnly?: boolean
  lockTimeout?: number
  json?: boolean
}

export function baselineCommand(program: Command, act: Act): void {
  program
    .command('baseline')
    .description("take today's rows as delivered without sending them")
    .argument('<sync>')
    .option('--mapping-only', 'only what an edited mapping changed; other differences are still sent')
    .addOption(lockTimeoutFlag())
    .addOption(jsonFlag())
    .action(
      act(async (session, name: string, flags: BaselineFlags) => {
        const { project, sync } = await session.sync(name)
        const { baseline } = await import('../maintain.ts')
        const context = session.context({ options: { ...DEFAULT_OPTIONS, lockTimeout: flags.lockTimeout ?? 0 } })
        const { adopted, kept } = await baseline(project, sync, context, { mappingOnly: flags.mappingOnly ?? false })
        if (flags.json) session.print(JSON.stringify({ format_version: 1, sync: sync.name, adopted, kept }) + '\n')
        else
          session.print(
            `${sync.name}: ${many(adopted, 'row')} adopted as delivered, ${count(kept)} owned before and not in the model. Nothing was sent.\n`,
          )
      }),
    )
}

export function renameCommand(program: Command, act: Act): void {
  program
    .command('rename')
    .description('give the state of a renamed sync its new name')
    .argument('<old>', 'the name the state has')
    .argument('<new>', 'the name of the sync now')
    .addOption(jsonFlag())
    .action(
      act(async (session, from: string, to: string, flags: { json?: boolean }) => {
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
      }),
    )
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
