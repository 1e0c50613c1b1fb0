/** `cdp-sync reset`: forgets what was delivered. Asks for the sync's name, because nothing brings it back. */
import type { Command } from 'commander'
import { CdpError } from '../errors.ts'
import { many } from '../render/text.ts'
import { jsonFlag, type Act } from './options.ts'
import type { Session } from './session.ts'

interface Flags {
  confirm?: string
  json?: boolean
}

export function resetCommand(program: Command, act: Act): void {
  program
    .command('reset')
    .description('forget what was delivered; sends nothing and deletes nothing at the destination')
    .argument('<sync>')
    .option('--confirm <sync>', "the sync's name once more, instead of the question")
    .addOption(jsonFlag())
    .action(act(async (session, name: string, flags: Flags) => reset(session, name, flags)))
}

async function reset(session: Session, name: string, flags: Flags): Promise<void> {
  const { project, sync } = await session.sync(name)
  const engine = await import('../maintain.ts')
  const { owned, keys, mode } = await engine.inspectReset(project, sync)
  session.say(consequence(sync.name, mode ?? sync.mode, owned, keys), 'yellow')
  const answer = flags.confirm ?? (session.interactive ? await session.io.ask.text(`Type ${sync.name} to forget it`) : undefined)
  if (answer === undefined) {
    throw new CdpError('CDP5015', 'reset asks before it forgets, and there is nobody to ask.', { hint: `Give --confirm ${sync.name}.` })
  }
  if (answer !== sync.name) throw new CdpError('CDP5016', `"${answer}" is not "${sync.name}": nothing was forgotten.`)
  await engine.reset(project, sync)
  if (flags.json) session.print(JSON.stringify({ format_version: 1, sync: sync.name, orphaned: owned, forgotten: keys }) + '\n')
  else
    session.print(
      `${sync.name}: forgotten. Next: cdp-sync plan ${sync.name}, or cdp-sync baseline ${sync.name} if the destination is up to date.\n`,
    )
}

function consequence(name: string, mode: string, owned: number, keys: number): string {
  if (mode === 'append') return `${name} has sent ${many(keys, 'event')}; after a reset the next run sends them all again.`
  const orphans = owned > 0 ? ` ${many(owned, 'owned record')} there will not be removed any more.` : ''
  return `The next run of ${name} sends every row again.${mode === 'mirror' || owned > 0 ? orphans : ''}`
}
