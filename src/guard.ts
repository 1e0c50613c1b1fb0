/** Guards: limits that stop a run before it sends. Pure. */
import type { GuardLimit, GuardName, Sync } from './config/types.ts'
import type { GuardResult, PlanCounts } from './types.ts'

/** What guards count. */
export interface GuardInput {
  readonly counts: PlanCounts
  /** Rows the model returned. */
  readonly rows: number
  readonly owned: number
  /** Owned addresses to be removed that no run was refused before. */
  readonly removals: number
  /** Keys whose address or match changes. */
  readonly identities: number
  /** Changes that an edited mapping alone causes. */
  readonly mapping: number
  /** The mode deletes what left. */
  readonly removes: boolean
}

/** A default may have two arms: a share for large tables and one for small ones. */
const DEFAULTS: Readonly<Record<Exclude<GuardName, 'empty'>, readonly GuardLimit[]>> = {
  deletes: [
    { max_percent: 10, min_rows: 50 },
    { max_percent: 50, min_rows: 5 },
  ],
  identities: [
    { max_percent: 10, min_rows: 50 },
    { max_percent: 50, min_rows: 5 },
  ],
  invalid: [
    { max_percent: 10, min_rows: 50 },
    { max_percent: 50, min_rows: 5 },
  ],
  mapping: [{ max_percent: 10, min_rows: 1000 }],
  adds: [],
  changes: [],
}

const WORDS: Readonly<Record<Exclude<GuardName, 'empty'>, readonly [what: string, base: string]>> = {
  deletes: ['addresses would be removed', 'owned addresses'],
  identities: ['keys would change their identity', 'owned addresses'],
  invalid: ['rows are invalid', 'rows of the model'],
  mapping: ['changes come from the edited mapping', 'owned addresses'],
  adds: ['addresses would be added', 'owned addresses'],
  changes: ['addresses would be changed', 'owned addresses'],
}

/** The verdict of every guard that is on, in a fixed order. `allowed` guards pass and say so. */
export function checkGuards(guards: Sync['guards'], input: GuardInput, allowed: ReadonlySet<string>): GuardResult[] {
  const { counts } = input
  const numbers: Readonly<Record<Exclude<GuardName, 'empty'>, number>> = {
    deletes: input.removals,
    identities: input.identities,
    invalid: counts.invalid,
    mapping: input.mapping,
    adds: counts.add,
    changes: counts.change,
  }
  const results: GuardResult[] = []
  for (const name of Object.keys(DEFAULTS) as Exclude<GuardName, 'empty'>[]) {
    const written = guards[name]
    if (written === false) continue
    const limits = written ? [written] : DEFAULTS[name]
    if (limits.length === 0) continue
    const base = name === 'invalid' ? input.rows : input.owned
    const broken = limits.find((limit) => exceeds(limit, numbers[name], base))
    results.push(verdict(name, broken ? describe(name, numbers[name], base, broken) : null, allowed))
  }
  if (guards.empty !== false && input.removes) {
    const empty = input.rows === 0 && input.owned > 0
    const message = `the model returned no rows, and ${format(input.owned)} addresses are owned`
    results.push(verdict('empty', empty ? message : null, allowed))
  }
  return results
}

function exceeds(limit: GuardLimit, n: number, base: number): boolean {
  if (limit.max_rows !== undefined && n > limit.max_rows) return true
  // Shares say nothing while there is nothing to share.
  if (limit.max_percent === undefined || base === 0) return false
  return n > (limit.min_rows ?? 0) && n * 100 > limit.max_percent * base
}

function describe(name: Exclude<GuardName, 'empty'>, n: number, base: number, limit: GuardLimit): string {
  const [what, of] = WORDS[name]
  const share = base > 0 ? ` (${((n * 100) / base).toFixed(n * 100 < base ? 2 : 0)} % of ${format(base)} ${of})` : ''
  const bound = limit.max_rows !== undefined && n > limit.max_rows ? `${format(limit.max_rows)} rows` : `${limit.max_percent} %`
  return `${format(n)} ${what}${share}; the limit is ${bound}`
}

function verdict(name: GuardName, problem: string | null, allowed: ReadonlySet<string>): GuardResult {
  if (problem === null) return { name, ok: true, message: 'within its limit' }
  if (allowed.has(name)) return { name, ok: true, message: `${problem}; allowed for this run` }
  return { name, ok: false, message: `${problem}. Use --allow ${name} to let this run pass` }
}

const format = (n: number): string => n.toLocaleString('en-US')
