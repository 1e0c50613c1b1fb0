/** `retry` and `resolve`: what a person decides about rows that are held. */
import type { Command } from 'commander'
import { CdpError } from '../errors.ts'
import { many } from '../render/text.ts'
import { jsonFlag, type Act } from './options.ts'

export function retryCommand(program: Command, act: Act): void {
  program
    .command('retry')
    .description('send held rows again in the next run (not those whose outcome is unknown: see resolve)')
    .argument('<sync>')
    .argument('[key...]', 'only these keys; none: all held rows')
    .addOption(jsonFlag())
    .action(
      act(async (session, name: string, keys: string[], flags: { json?: boolean }) => {
        const { project, sync } = await session.sync(name)
        const { retry } = await import('../maintain.ts')
        const { released } = await retry(project, sync, keys.length > 0 ? keys : null)
        if (flags.json) session.print(JSON.stringify({ format_version: 1, sync: sync.name, released }) + '\n')
        else session.print(`${sync.name}: ${many(released, 'held row')} released. Next: cdp-sync run ${sync.name}\n`)
      }),
    )
}

interface ResolveFlags {
  delivered?: boolean
  notDelivered?: boolean
  json?: boolean
}

export function resolveCommand(program: Command, act: Act): void {
  program
    .command('resolve')
    .description('settle a held row whose outcome nobody knows: you looked, and it is there or not')
    .argument('<sync>')
    .argument('<key>')
    .option('--delivered', 'it is there: never send it again')
    .option('--not-delivered', 'it is not there: send it in the next run')
    .addOption(jsonFlag())
    .action(
      act(async (session, name: string, key: string, flags: ResolveFlags) => {
        if (Boolean(flags.delivered) === Boolean(flags.notDelivered)) {
          throw new CdpError('CDP5011', 'resolve needs one of --delivered and --not-delivered.', { hint: 'Look at the destination first.' })
        }
        const { project, sync } = await session.sync(name)
        const { resolve } = await import('../maintain.ts')
        const { resolved } = await resolve(project, sync, key, flags.delivered === true)
        if (resolved === 0) {
          throw new CdpError('CDP5012', `${sync.name} holds no row of that key whose outcome is unknown.`, {
            hint: `See cdp-sync why ${sync.name} KEY.`,
          })
        }
        if (flags.json) session.print(JSON.stringify({ format_version: 1, sync: sync.name, resolved }) + '\n')
        else session.print(`${sync.name}: settled as ${flags.delivered ? 'delivered' : 'not delivered'}.\n`)
      }),
    )
}
