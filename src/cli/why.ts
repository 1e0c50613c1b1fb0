/** `cdp-sync why`: everything known of one row: in the model, in the snapshot, and what happened to it. */
import type { Command } from 'commander'
import { CdpError } from '../errors.ts'
import type { WhyReport } from '../maintain.ts'
import { hideValues } from '../render/json.ts'
import { HIDDEN, moment, printable } from '../render/text.ts'
import { jsonFlag, showValuesFlag, type Act } from './options.ts'
import type { Session } from './session.ts'

interface Flags {
  match?: Record<string, string>
  json?: boolean
  showValues?: boolean
}

export function whyCommand(program: Command, act: Act): void {
  program
    .command('why')
    .description('what is known of one row, and what happens to it next')
    .argument('[sync]')
    .argument('[key]')
    .option('--match <field=value>', 'find it by a match field, in one sync or in all (repeatable)', parseMatch)
    .addOption(jsonFlag())
    .addOption(showValuesFlag())
    .addHelpText('after', '\nExamples:\n  cdp-sync why crm-contacts 42\n  cdp-sync why --match email=ada@example.com')
    .action(act(async (session, name: string | undefined, key: string | undefined, flags: Flags) => why(session, name, key, flags)))
}

function parseMatch(value: string, before: Record<string, string> | undefined): Record<string, string> {
  const at = value.indexOf('=')
  if (at < 1)
    throw new CdpError('CDP5013', `--match must be field=value, not "${value}".`, { hint: 'For example --match email=ada@example.com' })
  return { ...before, [value.slice(0, at)]: value.slice(at + 1) }
}

async function why(session: Session, name: string | undefined, key: string | undefined, flags: Flags): Promise<number> {
  if ((key === undefined) === (flags.match === undefined) || (key !== undefined && name === undefined)) {
    throw new CdpError('CDP5013', 'why needs a sync and a key, or --match.', {
      hint: 'cdp-sync why SYNC KEY, or cdp-sync why --match email=ada@example.com',
    })
  }
  const project = await session.project()
  const syncs = name === undefined ? project.syncs.filter((it) => it.enabled) : [(await session.sync(name)).sync]
  const query = { ...(key === undefined ? {} : { key }), ...(flags.match === undefined ? {} : { match: flags.match }) }
  const engine = await import('../maintain.ts')
  const reports: WhyReport[] = []
  for (const sync of syncs) reports.push(await engine.why(project, sync, query, session.context()))
  const { showValues } = session.style(flags.showValues)
  const shown = showValues ? reports : reports.map(hideReport)
  if (flags.json) session.print(JSON.stringify({ format_version: 1, reports: shown }, null, 2) + '\n')
  else session.print(shown.map(reportText).join('\n'))
  return 0
}

function hideReport(report: WhyReport): WhyReport {
  return {
    ...report,
    key: HIDDEN,
    model: report.model && (hideValues(report.model) as Record<string, string>),
    payload: report.payload && hideValues(report.payload),
    snapshot: report.snapshot.map((it) => ({
      ...it,
      address: HIDDEN,
      remote_id: it.remote_id && HIDDEN,
      payload: it.payload && hideValues(it.payload),
    })),
    attempts: report.attempts.map((it) => ({ ...it, message: it.message && HIDDEN })),
  }
}

function reportText({ sync, key, model, payload, snapshot, attempts, next }: WhyReport): string {
  const lines = [
    `${sync}  ${printable(key)}`,
    '',
    ...part('model', model, 'not in the model'),
    ...part('wanted', payload, 'nothing to send'),
  ]
  if (snapshot.length === 0) lines.push('  delivered  nothing yet')
  for (const it of snapshot) {
    const when = it.confirmed_at === null ? 'never confirmed' : `confirmed ${moment(it.confirmed_at)}`
    const flags = it.flags.length > 0 ? `, ${it.flags.join(', ')}` : ''
    lines.push(
      `  delivered at ${printable(it.address)}  (${when}${it.run ? `, run ${it.run}` : ''}${it.remote_id ? `, id ${printable(it.remote_id)}` : ''}${flags})`,
    )
    lines.push(...part('', it.payload, 'no payload'))
  }
  for (const it of attempts) {
    lines.push(`  ${moment(it.at)}  ${it.op} ${it.outcome}  ${printable([it.code, it.message].filter(Boolean).join(': '))}`)
  }
  return [...lines, '', next, ''].map((it) => it.trimEnd()).join('\n')
}

function part(name: string, values: Record<string, unknown> | null, none: string): string[] {
  if (values === null) return [`  ${name.padEnd(9)}  ${none}`]
  const width = Math.max(0, ...Object.keys(values).map((it) => it.length))
  return [
    ...(name === '' ? [] : [`  ${name}`]),
    ...Object.entries(values).map(([field, value]) => `      ${printable(field).padEnd(width)}  ${show(value)}`),
  ]
}

const show = (value: unknown): string => (value === HIDDEN ? HIDDEN : printable(JSON.stringify(value)))
