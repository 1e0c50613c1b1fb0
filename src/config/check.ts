/** Validates a part of a file with a zod schema and says what is wrong in words, each at its place. */
import { z } from 'zod'
import { nearest } from '../errors.ts'
import { keysAt, toJson } from './schema-walk.ts'
import { hide, spotAt } from './source.ts'
import type { Path, Problem, Spot } from './source.ts'
import { pathKey } from './values.ts'
import type { Reading } from './values.ts'

/** A value to validate and the places its parts come from (a sync's may come from defaults). */
export interface Part {
  readonly value: unknown
  readonly locate: (path: Path) => { readonly reading: Reading; readonly path: Path }
  /** What the part is called in messages when the path is empty. */
  readonly name: string
  /** Literals here may be secrets: frames hide what stands under an unknown key. */
  readonly secretive?: boolean
}

type Issue = z.core.$ZodIssue

/** The part of a reading under `base`. */
export function partOf(reading: Reading, base: Path, name: string, secretive = false): Part {
  return { value: valueAt(reading.value, base), locate: (path) => ({ reading, path: [...base, ...path] }), name, secretive }
}

export function valueAt(value: unknown, path: Path): unknown {
  let at = value
  for (const part of path) {
    if (at === null || typeof at !== 'object' || !Object.hasOwn(at, part)) return undefined
    at = (at as Record<string | number, unknown>)[part]
  }
  return at
}

/** The validated value; undefined when there are problems. */
export function check<T>(schema: z.ZodType<T>, part: Part, problems: Problem[]): T | undefined {
  let value = part.value
  // Text from a variable satisfies settings that want a number or a boolean; unions may need a second look.
  for (let round = 0; ; round++) {
    const result = schema.safeParse(value)
    if (result.success) return result.data
    const coerced = round < 3 ? coerce(value, result.error.issues, part) : value
    if (coerced === value) {
      for (const issue of result.error.issues)
        if (!isEcho(issue, result.error.issues, part)) problems.push(...describe(issue, schema, part))
      return undefined
    }
    value = coerced
  }
}

function variableAt(part: Part, path: Path): { readonly missing: readonly Problem[] } | undefined {
  const place = part.locate(path)
  return place.reading.variables.get(pathKey(place.path))
}

function coerce(value: unknown, issues: readonly Issue[], part: Part): unknown {
  let out = value
  for (const { issue, path } of flatten(issues, [])) {
    const text = valueAt(value, path)
    if (issue.code !== 'invalid_type' || typeof text !== 'string' || !variableAt(part, path)) continue
    const expected = String(issue.expected)
    const number = text.trim() === '' ? Number.NaN : Number(text)
    const next = ['number', 'int'].includes(expected) && Number.isFinite(number) ? number : expected === 'boolean' ? boolean(text) : text
    if (next === text) continue
    if (out === value) out = structuredClone(value)
    const parent = valueAt(out, path.slice(0, -1)) as Record<string | number, unknown>
    parent[path.at(-1) ?? ''] = next
  }
  return out
}

const boolean = (text: string): boolean | string => (/^true$/i.test(text) ? true : /^false$/i.test(text) ? false : text)

/** Issues with those inside unions, each with its whole path. */
function flatten(issues: readonly Issue[], base: Path): { issue: Issue; path: Path }[] {
  return issues.flatMap((issue) => {
    const path = [...base, ...(issue.path as Path)]
    if (issue.code === 'invalid_union') return issue.errors.flatMap((branch) => flatten(branch, path))
    return [{ issue, path }]
  })
}

/** What a mapping lacks is mostly what a mistyped key of it was meant to say. */
function isEcho(issue: Issue, issues: readonly Issue[], part: Part): boolean {
  const place = part.locate(issue.path as Path)
  if (place.reading.broken.has(pathKey(place.path))) return true
  const path = pathKey(issue.path as Path)
  return issue.code === 'custom' && issues.some((other) => other.code === 'unrecognized_keys' && pathKey(other.path as Path) === path)
}

/** The spot of a value, or of its key; the key too when the value is not there. */
function spot(part: Part, path: Path, side: 'key' | 'value' = 'value'): Spot {
  const place = part.locate(path)
  return spotAt(place.reading.source, place.path, side)
}

/** How messages call a path: as it stands in the file. */
export function label(part: Part, path: Path): string {
  const place = part.locate(path)
  return place.path.length === 0 ? part.name : place.path.join('.')
}

interface Said {
  readonly code: string
  readonly message: string
  readonly hint?: string | undefined
  readonly side?: 'key' | 'value'
}

function describe(issue: Issue, schema: z.ZodType, part: Part): Problem[] {
  const path = issue.path as Path
  if (variableAt(part, path)?.missing.length) return []
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(key, path, schema, part))
  const said = say(issue, path, part)
  return [{ code: said.code, message: said.message, hint: said.hint, spot: spot(part, path, said.side) }]
}

function unknownKey(key: string, path: Path, schema: z.ZodType, part: Part): Problem {
  const known = keysAt(toJson(schema), path, valueAt(part.value, []))
  const near = nearest(key, known)
  const place = part.locate([...path, key])
  if (part.secretive) hide(place.reading.source, place.path)
  const hint = near ? `Did you mean "${near}"?` : known.length ? `Known here: ${known.join(', ')}.` : undefined
  const message = `Unknown key "${key}" in ${label(part, path)}.`
  return { code: 'CDP1010', message, hint, spot: spot(part, [...path, key], 'key') }
}

function say(issue: Issue, path: Path, part: Part): Said {
  const value = valueAt(part.value, path)
  const name = label(part, path)
  if (issue.code === 'custom') {
    const params = (issue.params ?? {}) as { code?: string; hint?: string; side?: 'key' }
    return {
      code: params.code ?? 'CDP1012',
      message: `${name} ${issue.message}.`,
      hint: params.hint,
      ...(params.side ? { side: params.side } : {}),
    }
  }
  if (issue.code === 'invalid_key') {
    return { code: 'CDP1012', message: `"${String(path.at(-1))}" can’t be used as a name: ${issue.issues[0]?.message ?? ''}.`, side: 'key' }
  }
  if (issue.code === 'invalid_union' && issue.discriminator !== undefined) {
    const options = ((issue as { options?: unknown[] }).options ?? []).map(String)
    if (value === undefined) return missing(path, part, `One of: ${options.join(', ')}.`)
    return choice(name, value, options)
  }
  const top = issue.code === 'invalid_union' ? unionIssue(issue) : issue
  if (value === undefined && path.length > 0) return missing(path, part)
  if (value === null) return { code: 'CDP1012', message: `${name} has no value.`, hint: 'Give it one, or remove the key.' }
  if (top.code === 'invalid_value') return choice(name, value, top.values.map(String))
  if (issue.code === 'invalid_union')
    return wrong(name, issue.message === 'Invalid input' ? `must be ${expectedOf(issue)}` : issue.message, value)
  if (issue.code === 'invalid_type') {
    const text = issue.message.startsWith('Invalid input') ? `must be ${article(String(issue.expected))}` : issue.message
    return wrong(name, text, value)
  }
  const message = /^(Invalid|Too)/.test(issue.message) ? `: ${lower(issue.message)}` : ` ${issue.message}`
  return { code: 'CDP1012', message: `${name}${message}.` }
}

/** Where each branch is a list of words, the union is one list of words. */
function unionIssue(issue: Extract<Issue, { code: 'invalid_union' }>): Issue {
  const values = issue.errors.flatMap((branch) => branch).filter((inner) => inner.code === 'invalid_value' && inner.path.length === 0)
  const first = values[0]
  return values.length === issue.errors.length && first?.code === 'invalid_value' ? first : issue
}

const expectedOf = (issue: Extract<Issue, { code: 'invalid_union' }>): string =>
  [
    ...new Set(
      issue.errors.flatMap((branch) => branch.flatMap((inner) => (inner.code === 'invalid_type' ? [article(String(inner.expected))] : []))),
    ),
  ].join(' or ') || 'something else'

function missing(path: Path, part: Part, hint?: string): Said {
  const key = String(path.at(-1))
  return { code: 'CDP1011', message: `"${key}" is missing in ${label(part, path.slice(0, -1))}.`, hint, side: 'key' }
}

function choice(name: string, value: unknown, options: readonly string[]): Said {
  const near = nearest(String(value), options)
  const list = options.length === 1 ? `${options[0]}` : `one of ${options.join(', ')}`
  return { code: 'CDP1013', message: `${name} must be ${list}.`, hint: near ? `Did you mean ${near}?` : undefined }
}

/** Says what was found too, but never the value: it may be a secret. */
function wrong(name: string, expected: string, value: unknown): Said {
  const found = Array.isArray(value)
    ? 'a list'
    : typeof value === 'object'
      ? 'a mapping'
      : typeof value === 'string'
        ? 'text'
        : `a ${typeof value}`
  const quote = /text|string/.test(expected) && (typeof value === 'number' || typeof value === 'boolean')
  return { code: 'CDP1012', message: `${name} ${expected}; this is ${found}.`, hint: quote ? 'Put it in quotes.' : undefined }
}

function article(type: string): string {
  const words: Record<string, string> = {
    string: 'text',
    array: 'a list',
    object: 'a mapping',
    record: 'a mapping',
    int: 'a whole number',
    boolean: 'true or false',
  }
  return words[type] ?? `a ${type}`
}

const lower = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)

/** Reports the variables without a value in a part that is used. */
export function reportMissing(reading: Reading, base: Path, problems: Problem[]): void {
  for (const { path, missing } of reading.variables.values()) if (startsWith(path, base)) problems.push(...missing)
}

export const startsWith = (path: Path, base: Path): boolean => base.every((part, i) => String(path[i]) === String(part))
