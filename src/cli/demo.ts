/** `cdp-sync demo` and `init --template demo`: a project to try everything on, with no account. */
import type { Command } from 'commander'
import { CdpError } from '../errors.ts'
import type { Act } from './options.ts'
import type { Session } from './session.ts'

export function demoCommand(program: Command, act: Act): void {
  program
    .command('demo')
    .description('a guided run of a small project, with no account')
    .argument('[folder]', 'where to put it', 'cdp-sync-demo')
    .action(act(async (session, folder: string) => writeTemplate(session, 'demo', folder)))
}

/** Writes the template into a folder that does not hold a project yet. */
export function writeTemplate(_session: Session, name: string, _folder: string): Promise<number> {
  return Promise.reject(
    new CdpError('CDP5030', `There is no template "${name}" in this version.`, { hint: 'Use cdp-sync init without --template.' }),
  )
}
