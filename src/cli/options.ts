/** Flags that several commands share, so that one name means one thing everywhere. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { GUARD_NAMES, type GuardName } from '../config/types.ts'
import { DEFAULT_OPTIONS, type RunOptions } from '../context.ts'
import { nearest } from '../errors.ts'
import type { Session } from './session.ts'

/** Turns a command's work into a commander action: gives it the session, and keeps its exit code. */
export type Act = <Args extends unknown[]>(
  work: (session: Session, ...args: Args) => Promise<number | void>,
) => (...args: Args) => Promise<void>

export interface SelectFlags {
  exclude?: string[]
}
export interface ChangeFlags {
  key?: string[]
  limit?: number
  lockTimeout?: number
  showValues?: boolean
  json?: boolean
}

const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value]

export const jsonFlag = (): Option => new Option('--json', 'print JSON (versioned, see docs/cli.md)')
export const showValuesFlag = (): Option => new Option('--show-values', 'show keys and values even off a terminal')
export const lockTimeoutFlag = (): Option =>
  new Option('--lock-timeout <time>', 'wait for a lock that another run holds: 30s, 10m (default 0)').argParser(parseDuration)

export function addSelection(command: Command): Command {
  return command
    .argument('[sync...]', 'names, globs, tag:NAME, destination:NAME, +NAME (with what it depends on); none: all enabled')
    .addOption(new Option('--exclude <sync>', 'leave these out (repeatable)').argParser(collect))
}

export function addChanges(command: Command): Command {
  return addSelection(command)
    .addOption(new Option('--key <key>', 'only the change of this key (repeatable)').argParser(collect))
    .addOption(new Option('--limit <n>', 'at most this many changes').argParser(parseCount))
    .addOption(jsonFlag())
    .addOption(showValuesFlag())
    .addOption(lockTimeoutFlag())
}

export function allowFlag(): Option {
  return new Option('--allow <guard>', `lift a guard for this run (repeatable): ${ALLOWED.join(', ')}`).argParser(
    (value: string, before: (GuardName | 'null_keys')[] | undefined) => [...(before ?? []), parseGuard(value)],
  )
}

export function runOptions(flags: ChangeFlags & { fullRefresh?: boolean; allow?: (GuardName | 'null_keys')[] }): RunOptions {
  return {
    fullRefresh: flags.fullRefresh ?? false,
    keys: flags.key ?? null,
    limit: flags.limit ?? null,
    allow: new Set(flags.allow),
    lockTimeout: flags.lockTimeout ?? 0,
    samples: flags.limit ?? DEFAULT_OPTIONS.samples,
  }
}

const ALLOWED: readonly (GuardName | 'null_keys')[] = [...GUARD_NAMES, 'null_keys']

function parseGuard(value: string): GuardName | 'null_keys' {
  const guard = ALLOWED.find((it) => it === value)
  if (guard) return guard
  const near = nearest(value, ALLOWED)
  throw new InvalidArgumentError(`There is no guard "${value}".${near ? ` Did you mean ${near}?` : ` Guards: ${ALLOWED.join(', ')}.`}`)
}

export function parseCount(value: string): number {
  const n = Number(value)
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(n) || n < 1) throw new InvalidArgumentError('It must be a whole number from 1.')
  return n
}

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `30s`, `10m`, `1h`, or seconds; gives milliseconds. */
export function parseDuration(value: string): number {
  const [, digits, unit = 's'] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(value) ?? []
  if (digits === undefined) throw new InvalidArgumentError('Write it as 30s, 10m, 1h or a number of seconds.')
  return Number(digits) * (UNITS[unit] ?? 1)
}

export function parseVar(value: string, before: Record<string, string> | undefined): Record<string, string> {
  const at = value.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('Write it as name=value.')
  return { ...before, [value.slice(0, at)]: value.slice(at + 1) }
}
