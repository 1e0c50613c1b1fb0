/** `cdp-sync rejected`: the rows that did not arrive, and why. */
import type { Command } from 'commander'
import type { RejectedRow } from '../records.ts'
import { count, HIDDEN, many, printable } from '../render/text.ts'
import { jsonFlag, parseCount, showValuesFlag, type Act } from './options.ts'
import type { Session } from './session.ts'

interface Flags {
  json?: boolean
  showValues?: boolean
  limit: number
  code?: string
}

export function rejectedCommand(program: Command, act: Act): void {
  program
    .command('rejected')
    .description('rows that were refused or are held, with the reason')
    .argument('<sync>')
    .option('--limit <n>', 'at most this many rows', parseCount, 50)
    .option('--code <code>', 'only rows with this code')
    .addOption(jsonFlag())
    .addOption(showValuesFlag())
    .action(act(async (session, name: string, flags: Flags) => rejected(session, name, flags)))
}

async function rejected(session: Session, name: string, flags: Flags): Promise<void> {
  const { project, sync } = await session.sync(name)
  const { readRejected } = await import('../records.ts')
  const { openKeeper } = await import('../state/keepers.ts')
  const { showValues } = session.style(flags.showValues)
  const rows: RejectedRow[] = []
  const codes = new Map<string, number>()
  let total = 0
  for await (const row of readRejected(await (await openKeeper(project)).records(sync.name))) {
    codes.set(row.code, (codes.get(row.code) ?? 0) + 1)
    if (flags.code !== undefined && row.code !== flags.code) continue
    total += 1
    if (rows.length < flags.limit) rows.push(showValues ? row : { ...row, key: HIDDEN, message: HIDDEN })
  }
  if (flags.json) {
    session.print(JSON.stringify({ format_version: 1, sync: sync.name, total, codes: Object.fromEntries(codes), rows }, null, 2) + '\n')
    return
  }
  if (total === 0) return session.say(`${sync.name}: no rejected or held rows.`)
  for (const row of rows) session.print(rowText(row))
  if (total > rows.length) session.print(`... ${count(total - rows.length)} more. Use --limit N, --code CODE or --json.\n`)
  const top = [...codes].sort(([, a], [, b]) => b - a).map(([code, n]) => `${printable(code)} ${count(n)}`)
  session.print(`\n${many(total, 'row')}: ${top.join(', ')}.\n`)
  session.print(`To look into one: cdp-sync why ${sync.name} KEY. To send held rows again: cdp-sync retry ${sync.name}\n`)
}

function rowText({ key, op, outcome, code, message, field, attempts, held }: RejectedRow): string {
  const state = held ? 'held' : `${outcome}, ${many(attempts, 'attempt')}`
  const told = message === HIDDEN ? '' : `: ${printable(message)}`
  return `${printable(key)}  ${op} ${state}  ${printable(code)}${field === null ? '' : ` in ${printable(field)}`}${told}\n`
}
