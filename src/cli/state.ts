/** `cdp-sync state push|pull|mv`: moves what was delivered to where later runs look for it, without sending anything. */
import type { Command } from 'commander'
import { count, many } from '../render/text.ts'
import { giveName } from './adopt.ts'
import { jsonFlag, type Act } from './options.ts'
import type { Session } from './session.ts'

export function stateCommand(program: Command, act: Act): void {
  const state = program
    .command('state')
    .description('move states between this machine and where the configuration keeps them; nothing is sent')
  for (const [direction, description] of [
    ['push', "move a sync's state from this machine to the bucket or database of the configuration"],
    ['pull', "move a sync's state from the bucket or database of the configuration to this machine"],
  ] as const)
    state
      .command(direction)
      .description(description)
      .argument('<sync>')
      .addOption(jsonFlag())
      .action(act(async (session, name: string, flags: { json?: boolean }) => move(session, name, direction, flags)))
  state
    .command('mv')
    .description('give a state to the sync of another name, where it lies; the same as rename')
    .argument('<old>', 'the name the state has')
    .argument('<new>', 'the name of the sync now')
    .addOption(jsonFlag())
    .action(act(async (session, from: string, to: string, flags: { json?: boolean }) => giveName(session, from, to, flags)))
}

async function move(session: Session, name: string, direction: 'push' | 'pull', flags: { json?: boolean }): Promise<void> {
  const { project, sync } = await session.sync(name)
  const { transfer } = await import('../transfer.ts')
  const { addresses, bytes, where } = await transfer(project, sync, direction)
  if (flags.json) return session.print(JSON.stringify({ format_version: 1, sync: sync.name, direction, addresses, bytes }) + '\n')
  session.print(`${sync.name}: its state (${many(addresses, 'address', 'addresses')}, ${count(bytes)} bytes) is ${where} now.\n`)
  if (direction === 'pull')
    session.say(
      'Runs look for it here once the configuration says `state: { type: local }`. Elsewhere a run finds no state until then, and sends everything.',
    )
}
