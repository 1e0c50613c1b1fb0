/** The last lines of a run: counts, why rows did not arrive, whether it heals by itself, and what to do next. */
import type { Reason, RunRecord, RunStatus } from '../types.ts'
import { hideRecord } from './json.ts'
import { command, count, duration, hang, HIDDEN, many, paint, printable, size, type Colour, type Style } from './text.ts'

const COLOURS: Record<RunStatus, Colour> = {
  ok: 'green',
  incomplete: 'yellow',
  failed: 'red',
  refused: 'red',
  blocked: 'yellow',
  locked: 'yellow',
  interrupted: 'yellow',
}
/** Reasons shown per sync. */
const REASONS = 3

export function renderSummary(records: readonly RunRecord[], style: Style): string {
  const blocks = records.map((it) => block(style.showValues ? it : hideRecord(it), style))
  if (records.length > 1) blocks.push([total(records)])
  return blocks.map((lines) => lines.map((it) => it + '\n').join('')).join('\n')
}

function block(record: RunRecord, style: Style): string[] {
  const { target, requests, seconds } = record
  const where = target ? `  ${target.connector} ${target.account}, ${target.object}` : ''
  const effort = requests > 0 ? `  (${many(requests, 'request')}, ${duration(seconds)})` : ''
  const lines = [
    `${paint(style, 'bold', printable(record.sync))}: ${paint(style, COLOURS[record.status], record.status)}${printable(where)}${effort}`,
  ]
  const told = counts(record)
  if (told !== '') lines.push(...hang('  ', told, style.width))
  if (record.warehouse) lines.push(paint(style, 'dim', `  ${costText(record.warehouse)}`))
  if (record.recovered && record.recovered.uncertain > 0) {
    lines.push(`  an interrupted run left ${many(record.recovered.uncertain, 'row')} whose outcome nobody knew`)
  }
  for (const reason of record.reasons.slice(0, REASONS)) lines.push(...hang('  ', reasonText(reason), style.width, 4))
  if (record.reasons.length > REASONS) lines.push(`  + ${many(record.reasons.length - REASONS, 'further reason')}`)
  if (record.error)
    lines.push(
      ...hang('  ', `${record.error.code}: ${printable(record.error.message)}`, style.width, 4).map((it) => paint(style, 'red', it)),
    )
  if (record.error?.hint) lines.push(...hang('  ', printable(record.error.hint), style.width))
  for (const line of outlook(record)) lines.push(...hang('  ', line, style.width))
  return lines
}

function costText({ statements, seconds, rows, bytes }: NonNullable<RunRecord['warehouse']>): string {
  const brought = rows > 0 ? `; ${many(rows, 'row')} (${size(bytes)}) brought here` : ''
  return `warehouse: ${many(statements, 'statement')}, ${duration(seconds)}${brought}`
}

function counts({ counts: it, status }: RunRecord): string {
  const done = it.delivered + it.accepted
  const parts = [
    [it.delivered, 'delivered'],
    [it.accepted, 'accepted'],
    [it.rejected, 'rejected'],
    [it.unknown, 'unknown'],
    [it.waiting, 'waiting'],
    [it.held, 'held'],
    [it.invalid, 'invalid'],
    [it.absent, 'absent there'],
    [it.exists, 'there already'],
    [it.kept, 'kept'],
  ] as const
  const shown = parts.filter(([n]) => n > 0).map(([n, word]) => `${count(n)} ${word}`)
  if (done === 0 && status === 'ok' && it.add + it.change + it.remove === 0) shown.unshift('nothing to send')
  if (it.unchanged > 0) shown.push(`${count(it.unchanged)} unchanged`)
  return shown.join(', ')
}

function reasonText({ outcome, code, rows, example }: Reason): string {
  const told = example.message === HIDDEN ? '' : `, for example key ${printable(example.key)}: ${printable(example.message)}`
  return `${outcome} ${count(rows)}: ${printable(code)}${told}`
}

/** Whether it heals by itself, and the next command. */
function outlook({ sync, status, counts: it }: RunRecord): string[] {
  if (status === 'interrupted') return [`Stopped; what was confirmed is recorded. To go on: ${command(`cdp-sync run ${sync}`)}`]
  if (status === 'locked') return []
  if (status === 'blocked' || status === 'failed' || status === 'refused')
    return [`To see what is pending: ${command(`cdp-sync plan ${sync}`)}`]
  const lines: string[] = []
  if (it.unknown + it.waiting > 0)
    lines.push(`The next run sends the ${count(it.unknown + it.waiting)} unknown and waiting rows again by itself.`)
  if (it.rejected > 0)
    lines.push(
      `Rejected rows are tried again in the next runs, and held after 5 refusals. To see them: ${command(`cdp-sync rejected ${sync}`)}`,
    )
  if (it.held > 0) lines.push(`Held rows wait for a change, a day, or: ${command(`cdp-sync retry ${sync}`)}`)
  if (it.invalid > 0 && it.rejected === 0)
    lines.push(`Invalid rows are never sent; the model or the mapping must change. To see them: ${command(`cdp-sync plan ${sync}`)}`)
  return lines
}

function total(records: readonly RunRecord[]): string {
  const sum = (pick: (it: RunRecord) => number) => records.reduce((all, it) => all + pick(it), 0)
  const statuses = new Map<RunStatus, number>()
  for (const { status } of records) statuses.set(status, (statuses.get(status) ?? 0) + 1)
  const told = [...statuses].map(([status, n]) => `${n} ${status}`).join(', ')
  return `${many(records.length, 'sync')}: ${told}; ${many(
    sum((it) => it.counts.delivered + it.counts.accepted),
    'row',
  )} delivered.`
}
