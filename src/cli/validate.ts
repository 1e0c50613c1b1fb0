/** `cdp-sync validate`: reads every file and says everything that is wrong, offline; `--live` asks warehouses and destinations too. */
import type { Command } from 'commander'
import type { Project, VariableUse } from '../config/types.ts'
import { ConfigErrors, type CdpError } from '../errors.ts'
import { many, paint, table } from '../render/text.ts'
import { worstExit } from '../schedule.ts'
import { jsonFlag, type Act } from './options.ts'
import type { Session } from './session.ts'

interface Flags {
  live?: boolean
  json?: boolean
}

export function validateCommand(program: Command, act: Act): void {
  program
    .command('validate')
    .description('check every file of the project; says all problems at once')
    .option('--live', 'also check logins, columns and destination fields; writes nothing')
    .addOption(jsonFlag())
    .action(act(async (session, flags: Flags) => validate(session, flags)))
}

async function validate(session: Session, flags: Flags): Promise<number> {
  const problems: CdpError[] = []
  let project: Project | null = null
  try {
    project = await session.project()
    const { checkMapping } = await import('../mapping.ts')
    const { isActive } = await import('../config/select.ts')
    const syncs = project.syncs.filter((it) => isActive(it, project as Project))
    for (const sync of syncs) problems.push(...checkMapping(sync))
    if (flags.live && problems.length === 0) {
      const { checkLive } = await import('./live.ts')
      problems.push(...(await checkLive(project, syncs, session)))
    }
  } catch (error) {
    if (!(error instanceof ConfigErrors)) throw error
    problems.push(...error.errors)
  }
  const variables = project ? uniqueVariables(project) : []
  if (flags.json) {
    const errors = problems.map(({ code, message, where, hint }) => ({ code, message, where: where ?? null, hint: hint ?? null }))
    const syncs = project?.syncs.map(({ name, mode, object, destination }) => ({ name, mode, object, destination: destination.name })) ?? []
    session.print(JSON.stringify({ format_version: 1, ok: problems.length === 0, errors, syncs, variables }, null, 2) + '\n')
  } else {
    if (variables.length > 0) {
      const rows = variables.map((it) => [`\${${it.kind}:${it.name}}`, it.set ? 'set' : it.hasDefault ? 'default' : 'not set', it.where])
      session.print(table(['variable', 'value', 'read at'], rows) + '\n')
    }
    if (problems.length > 0) session.complain(new ConfigErrors(problems))
    else
      session.print(
        `${paint(session.style(), 'green', 'ok')}: ${many(project?.syncs.length ?? 0, 'sync')}${flags.live ? ', checked live' : ''}.\n`,
      )
  }
  return worstExit(problems.map((it) => it.exitCode))
}

/** One line per variable; the first place that reads it. */
function uniqueVariables(project: Project): VariableUse[] {
  const seen = new Map<string, VariableUse>()
  for (const use of project.variables) if (!seen.has(`${use.kind}:${use.name}`)) seen.set(`${use.kind}:${use.name}`, use)
  return [...seen.values()].sort((a, b) => (a.kind + a.name < b.kind + b.name ? -1 : 1))
}
