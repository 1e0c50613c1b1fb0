/** A plan for people to read before anything is sent. Pure: the plan and a style in, text out. */
import type { InvalidSample, Plan, PlanSample, SyncFailure, SyncPlan } from '../types.ts'
import { hide } from './json.ts'
import { command, count, cut, duration, hang, HIDDEN, many, moment, paint, printable, SENSITIVE, type Colour, type Style } from './text.ts'

export interface PlanStyle extends Style {
  /** Samples of each kind; null: 3 adds, 5 changes, 3 removals. */
  readonly samples?: number | null
  /** What the plan was narrowed by, as flags: the run that applies it takes the same. */
  readonly narrowed?: readonly string[]
}

const SAMPLES = { add: 3, change: 5, remove: 3 } as const
/** Fields shown of an added row. */
const FIELDS = 6
/** Names on the line of changed fields. */
const CHANGED = 5

export function renderPlan(given: Plan, style: PlanStyle): string {
  const plan = style.showValues ? given : hide(given)
  const blocks = [...plan.syncs.map((it) => syncBlock(it, style)), ...plan.failed.map((it) => failedBlock(it, style))]
  return [...blocks, lastLines(plan, style)].map((lines) => lines.join('\n') + '\n').join('\n')
}

function syncBlock(plan: SyncPlan, style: PlanStyle): string[] {
  const lines = header(plan, style)
  const numbers = countLines(plan, style)
  if (numbers.length > 0) lines.push('', ...numbers)
  for (const warning of plan.warnings) lines.push(...item('!', printable(warning), 'yellow', style))
  for (const guard of plan.guards)
    if (!guard.ok) lines.push(...item('!', `refused by guard ${guard.name}: ${printable(guard.message)}`, 'red', style))
  const samples = sampleLines(plan, style)
  if (samples.length > 0) lines.push('', ...samples)
  return lines
}

function header(plan: SyncPlan, style: PlanStyle): string[] {
  const { connector, account, object } = plan.destination
  const name = printable(plan.name)
  const target = printable(`${plan.warehouse}  ->  ${connector} ${account}, ${object}`)
  const removal = plan.on_remove === null ? '' : `, on_remove: ${plan.on_remove}`
  const text = `${target}  (mode: ${plan.mode}${removal})`
  const line = `${name}    ${text}`
  const lines =
    line.length <= style.width
      ? [paint(style, 'bold', name) + line.slice(name.length)]
      : [paint(style, 'bold', name), ...hang('    ', text, style.width)]
  if (isEmpty(plan) && !plan.first_run) {
    const told = `${many(plan.rows, 'row')} compared; ${printable(connector)} ${printable(account)} has what was last delivered.`
    lines.push(
      ...hang('  ', `No changes. ${told}`, style.width).map((it) => it.replace('No changes.', paint(style, 'green', 'No changes.'))),
    )
  }
  if (plan.first_run) lines.push(...hang('  ', firstRun(plan), style.width).map((it) => paint(style, 'yellow', it)))
  return lines
}

function firstRun(plan: SyncPlan): string {
  const { add } = plan.counts
  if (add === 0) return 'first run: nothing was delivered yet.'
  const effort = plan.estimate.requests > 0 ? ` (about ${effortText(plan.estimate)})` : ''
  return `first run: nothing was delivered yet, ${add === 1 ? 'one row' : `all ${count(add)} rows`} would be sent${effort}.`
}

/** From declared limits: without a declared rate nobody knows the time. */
function effortText({ requests, seconds }: SyncPlan['estimate']): string {
  return seconds >= 1 ? `${many(requests, 'request')}, ${duration(seconds)}` : many(requests, 'request')
}

function isEmpty({ counts }: SyncPlan): boolean {
  return counts.add + counts.change + counts.remove === 0
}

/** The count lines: numbers in one column, right-aligned; only `unchanged` is shown when it is 0. */
function countLines(plan: SyncPlan, style: PlanStyle): string[] {
  const { counts } = plan
  const unchanged = plan.since === null ? '' : `since ${moment(plan.since)}`
  const rows: [symbol: string, n: number, words: string, note: string, colour: Colour | null][] = [
    ['+', counts.add, 'to add', '', 'green'],
    ['~', counts.change, 'to change', changedFields(plan), 'yellow'],
    ['-', counts.remove, 'to remove', removalNote(plan), 'red'],
    [' ', counts.unchanged, 'unchanged', unchanged, 'dim'],
    ['!', counts.invalid, 'invalid', `not sent: ${topCounts(plan.invalid_reasons, 'reason')}`, 'yellow'],
    ['!', counts.held, 'held', 'refused or unknown before, unchanged since: not sent until retry or resolve', 'yellow'],
    ['!', counts.waiting, 'waiting', 'withheld by rule; they stay in the next plan', 'yellow'],
    ['!', counts.kept, 'kept', 'match turned null, record stays', 'yellow'],
  ]
  const shown = rows.filter(([, n, words]) => n > 0 || words === 'unchanged')
  const width = Math.max(...shown.map(([, n]) => count(n).length))
  const lines = shown.flatMap(([symbol, n, words, note, colour]) => {
    const start = `  ${symbol} ${count(n).padStart(width)} ${words}`
    const column = width + 18
    const wrapped = note === '' ? [start] : hang(start.padEnd(column), note, style.width)
    return wrapped.map((it, i) => (i === 0 && colour !== null ? paint(style, colour, start) + it.slice(start.length) : it))
  })
  const because = reasons(plan)
  return because === '' ? lines : [...lines, ...hang(' '.repeat(4), because, style.width)]
}

function changedFields(plan: SyncPlan): string {
  return topCounts(plan.changed_fields, 'field')
}

/** `plan 30, phone 4, + 3 fields`. */
function topCounts(counts: Record<string, number>, rest: string): string {
  const all = Object.entries(counts).sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))
  const shown = all.slice(0, CHANGED).map(([name, n]) => `${printable(name)} ${count(n)}`)
  if (all.length > CHANGED) shown.push(`+ ${many(all.length - CHANGED, rest)}`)
  return shown.join(', ')
}

function removalNote(plan: SyncPlan): string {
  return `no longer in the model${plan.owned > 0 ? `, of ${count(plan.owned)} owned` : ''}`
}

/** Only what is not plain data: mapping edits, refreshes, addresses whose content nobody knows, renames. */
function reasons({ because, counts }: SyncPlan): string {
  const parts: string[] = []
  const edited = because.mapping + because.refresh + because.uncertain
  if (edited > 0) {
    const causes = [
      ['data', because.data],
      ['an edited mapping', because.mapping],
      ['a refresh', because.refresh],
      ['an unknown outcome', because.uncertain],
    ] as const
    parts.push(
      `changes because of ${causes
        .filter(([, n]) => n > 0)
        .map(([cause, n]) => `${cause} ${count(n)}`)
        .join(', ')}`,
    )
  }
  if (counts.uncertain > 0) parts.push(`${count(counts.uncertain)} may have arrived in an interrupted run and are sent again`)
  if (counts.renames > 0)
    parts.push(many(counts.renames, 'record keeps its id under a new match', 'records keep their ids under a new match'))
  return parts.join('; ')
}

function sampleLines(plan: SyncPlan, style: PlanStyle): string[] {
  const lines: string[] = []
  let shown = 0
  for (const op of ['change', 'add', 'remove'] as const) {
    const some = plan.samples.filter((it) => it.op === op).slice(0, style.samples ?? SAMPLES[op])
    shown += some.length
    for (const it of some) lines.push(...sample(it, style))
  }
  const { add, change, remove } = plan.counts
  const rest = add + change + remove - shown
  if (shown > 0 && rest > 0) lines.push(`  ... ${count(rest)} more. Use --limit N, --key KEY or --json.`)
  for (const it of plan.invalid_samples.slice(0, style.samples ?? SAMPLES.add)) lines.push(...invalid(it, style))
  return lines
}

function sample({ op, key, before = {}, after = {}, because }: PlanSample, style: PlanStyle): string[] {
  const symbol = { add: '+', change: '~', remove: '-' }[op]
  const colour = ({ add: 'green', change: 'yellow', remove: 'red' } as const)[op]
  const lines = [paint(style, colour, `  ${symbol} ${cut(printable(key), style.width - 4)}`)]
  if (op === 'remove') return [...lines, '      (because the row is no longer in the model)']
  const names = op === 'change' ? [...new Set([...Object.keys(before), ...Object.keys(after)])] : Object.keys(after).slice(0, FIELDS)
  const width = Math.min(24, Math.max(0, ...names.map((it) => it.length)))
  for (const name of names) {
    const lead = `      ${cut(printable(name), 24).padEnd(width)}  `
    const room = style.width - lead.length
    const text =
      op === 'add'
        ? value(after[name], room)
        : `${value(before[name], Math.floor((room - 4) / 2))} -> ${value(after[name], Math.floor((room - 4) / 2))}`
    lines.push(lead + text)
  }
  const more = Object.keys(after).length - names.length
  if (op === 'add' && more > 0) lines.push(`      (${many(more, 'more field')})`)
  if (because !== undefined && because !== 'data')
    lines.push(`      (because of ${{ mapping: 'an edited mapping', refresh: 'a refresh', uncertain: 'an unknown outcome' }[because]})`)
  return lines
}

/** JSON notation, so that "1" and 1, null and "" differ to the eye. */
function value(of: unknown, width: number): string {
  if (of === undefined) return '(none)'
  if (of === HIDDEN || of === SENSITIVE) return of
  if (isReference(of)) return cut(printable(referenceText(of)), Math.max(12, width))
  return cut(printable(JSON.stringify(of)), Math.max(12, width))
}

interface ReferenceSample {
  readonly lookup: string
  readonly match: Readonly<Record<string, unknown>>
}

/** A field whose id is looked up when it is sent. */
const isReference = (of: unknown): of is ReferenceSample =>
  typeof of === 'object' && of !== null && Object.keys(of).join() === 'lookup,match' && typeof (of as ReferenceSample).match === 'object'

const referenceText = ({ lookup, match }: ReferenceSample): string =>
  `${lookup} by ${Object.entries(match)
    .map(([field, part]) => `${field} ${JSON.stringify(part)}`)
    .join(', ')}`

function invalid({ key, code, message, field }: InvalidSample, style: PlanStyle): string[] {
  const told = message === HIDDEN ? '' : `: ${printable(message)}`
  return item('!', `${printable(key)}  ${printable(code)}${field === undefined ? '' : ` in ${printable(field)}`}${told}`, 'yellow', style)
}

function item(symbol: string, text: string, colour: Colour, style: PlanStyle): string[] {
  return hang(`  ${symbol} `, text, style.width).map((it) => paint(style, colour, it))
}

function failedBlock({ name, status, error }: SyncFailure, style: PlanStyle): string[] {
  const lines = [paint(style, 'bold', printable(name)), ...item('!', `${status}: ${error.code} ${printable(error.message)}`, 'red', style)]
  return error.hint === undefined ? lines : [...lines, ...hang('    ', printable(error.hint), style.width)]
}

/** What it comes to, and what to do next. */
function lastLines(plan: Plan, style: PlanStyle): string[] {
  const { add, change, remove } = plan.summary
  const failed = plan.failed.length > 0 ? ` ${many(plan.failed.length, 'sync')} could not be planned.` : ''
  const names = plan.syncs.filter((it) => !isEmpty(it)).map((it) => it.name)
  if (names.length === 0) {
    const none = plan.failed.length === 0 ? paint(style, 'green', 'no changes') : 'no changes'
    const compared = plan.syncs.length > 0 || failed === '' ? ` ${none} in ${many(plan.syncs.length, 'sync')}.` : ''
    return [`Plan:${compared}${failed}`, 'Nothing was sent.']
  }
  const parts = [`${count(add)} to add`, `${count(change)} to change`, `${count(remove)} to remove`]
  const requests = plan.syncs.reduce((sum, it) => sum + it.estimate.requests, 0)
  const seconds = Math.max(0, ...plan.syncs.map((it) => it.estimate.seconds))
  const effort = requests > 0 ? ` About ${effortText({ requests, seconds })}.` : ''
  return [
    `Plan: ${parts.join(', ')}, in ${many(names.length, 'sync')}.${effort}${failed}`,
    ...hang('', `Nothing was sent. ${next(plan, names, style.narrowed ?? [])}`, style.width),
  ]
}

function next(plan: Plan, names: readonly string[], narrowed: readonly string[]): string {
  const flags = narrowed.map((flag) => ` ${flag}`).join('')
  const refused = plan.syncs.find((it) => it.guards.some((guard) => !guard.ok))
  if (!refused) return `To apply: ${command(`${`cdp-sync run ${names.length <= 4 ? names.join(' ') : ''}`.trimEnd()}${flags}`)}`
  const lifts = refused.guards.filter((it) => !it.ok).map((it) => `--allow ${it.name}`)
  return `A guard refuses ${refused.name}; to let it pass once: ${command(`cdp-sync run ${refused.name} ${lifts.join(' ')}${flags}`)}`
}
