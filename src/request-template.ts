/** Templates of requests: paths, texts and whole YAML bodies, in the template language of mappings. */
import { Refused } from './connector.ts'
import { CdpError, nearest } from './errors.ts'
import { type Fields, RawJson, type Value } from './json.ts'
import { print } from './liquid/filters.ts'
import { exact } from './liquid/number.ts'
import { compileTemplate, templateFault } from './template.ts'

/** What a request template sees of one change. */
export interface RowScope {
  readonly key: string
  readonly op: string
  readonly match: Fields
  readonly fields: Fields
  readonly previous_match: Fields | null
  readonly remote_id: string | null
  readonly id: string
}

/** What a request template sees. With `many` the row's own variables stand only in lists that repeat (`compileBody`). */
export interface RequestScope {
  readonly run: string
  readonly sync: string
  readonly rows: readonly RowScope[]
}

const ROW_VARIABLES = ['key', 'op', 'match', 'fields', 'previous_match', 'remote_id', 'id']
const BATCH_VARIABLES = ['run', 'sync', 'rows']

/**
 * A compiled part of a request; what it renders is ready to be sent. `undefined` where it is one expression whose value the
 * change does not carry. Throws Refused `template` where a value can't be computed.
 */
export type Compiled<T> = (scope: RequestScope) => T

interface Piece<T> {
  /** It reads variables of one row. */
  readonly perRow: boolean
  render(scope: Record<string, unknown>): T
}

/** Many rows in one request: the variables of one row have no meaning by themselves. */
export interface CompileOptions {
  readonly many: boolean
}

/**
 * A path: each `{{ expression }}` is percent-encoded and must not be empty, for `/contacts/` is not `/contacts/42`.
 * Throws CdpError for what can't be compiled: CDP3101, CDP3102, and those of `compileTemplate`.
 */
export function compilePath(source: string, options: CompileOptions): Compiled<string> {
  if (source.includes('{%'))
    throw new CdpError('CDP3102', 'A path takes {{ expressions }}, no {% tags %}.', { hint: 'Put the logic into filters.' })
  const pieces = source.split(/(\{\{.*?\}\})/s).map((part, i) => (i % 2 === 0 ? part : expression(part, options)))
  return (scope) => {
    const values = scopeOf(scope, options)
    return pieces.map((piece) => (typeof piece === 'string' ? piece : segment(piece.source, print(piece.render(values))))).join('')
  }
}

function segment(source: string, text: string): string {
  if (text === '') throw new Refused('template', `${source} is empty in this row, and the path needs it`, 0)
  try {
    return encodeURIComponent(text)
  } catch {
    throw new Refused('template', `${source} holds half a character and can't stand in a path`, 0)
  }
}

function expression(source: string, options: CompileOptions): Piece<Value | undefined> & { source: string } {
  const piece = compilePiece(source, options)
  return { ...piece, source }
}

/** A text, for headers. Throws as `compilePath`. */
export function compileText(source: string, options: CompileOptions): Compiled<string> {
  const piece = compilePiece(source, options)
  return (scope) => print(piece.render(scopeOf(scope, options)))
}

/**
 * A body: strings are templates, a string that is exactly one `{{ expression }}` keeps its type, and a member whose
 * expression the change does not carry is left out. With `many`, a list of one item that reads a row's variables is
 * repeated for each row. `problem` is told of each string that can't be compiled, with its path in the body.
 */
export function compileBody(
  body: unknown,
  options: CompileOptions,
  problem: (path: readonly (string | number)[], error: CdpError) => void,
): Compiled<Value | undefined> {
  const piece = compileMember(body, { options, problem, path: [], repeats: false })
  return (scope) => piece.render(scopeOf(scope, options))
}

interface Place {
  readonly options: CompileOptions
  readonly problem: (path: readonly (string | number)[], error: CdpError) => void
  readonly path: readonly (string | number)[]
  /** Inside a list that is repeated for each row. */
  readonly repeats: boolean
}

function compileMember(value: unknown, place: Place): Piece<Value | undefined> {
  if (typeof value === 'string') {
    try {
      return compilePiece(value, { many: place.options.many && !place.repeats })
    } catch (error) {
      if (!(error instanceof CdpError)) throw error
      place.problem(place.path, error)
    }
  }
  if (typeof value !== 'object' || value === null || value instanceof RawJson) return { perRow: false, render: () => value as Value }
  if (Array.isArray(value)) return compileList(value, place)
  const members = Object.entries(value).map(
    ([name, member]) => [name, compileMember(member, { ...place, path: [...place.path, name] })] as const,
  )
  return {
    perRow: members.some(([, piece]) => piece.perRow),
    render: (scope) => {
      const made: Record<string, Value> = {}
      for (const [name, piece] of members) {
        const rendered = piece.render(scope)
        if (rendered !== undefined) Object.defineProperty(made, name, { value: rendered, enumerable: true })
      }
      return made
    },
  }
}

function compileList(list: readonly unknown[], place: Place): Piece<Value> {
  const canRepeat = place.options.many && !place.repeats && list.length === 1
  const items = list.map((item, i) => compileMember(item, { ...place, path: [...place.path, i], repeats: place.repeats || canRepeat }))
  const [only] = items
  if (canRepeat && only?.perRow === true) {
    return {
      perRow: false,
      render: (scope) => (scope['rows'] as Record<string, unknown>[]).map((row) => only.render({ ...scope, ...row }) ?? null),
    }
  }
  return { perRow: items.some((item) => item.perRow), render: (scope) => items.map((item) => item.render(scope) ?? null) }
}

function compilePiece(source: string, { many }: CompileOptions): Piece<Value | undefined> {
  if (!/\{[{%]/.test(source)) return { perRow: false, render: () => source }
  const template = compileTemplate(source)
  for (const name of template.inputs) checkVariable(name, many)
  return {
    perRow: template.inputs.some((name) => ROW_VARIABLES.includes(name)),
    render: (scope) => {
      try {
        return template.render(scope) as Value
      } catch (error) {
        if (template.single && isAbsent(error)) return undefined
        throw new Refused('template', templateFault(error).message, 0)
      }
    },
  }
}

function checkVariable(name: string, many: boolean): void {
  const known = [...ROW_VARIABLES, ...BATCH_VARIABLES]
  if (!known.includes(name)) {
    const like = nearest(name, known)
    throw new CdpError('CDP3101', `A request template sees no "${name}".`, {
      hint: like === undefined ? `It sees ${known.join(', ')}; columns stand in fields.` : `Did you mean "${like}"?`,
    })
  }
  if (many && ROW_VARIABLES.includes(name))
    throw new CdpError('CDP3101', `"${name}" belongs to one row, but this request carries several.`, {
      hint: 'Write it in a list of one item, which is repeated for each row, or read `rows`.',
    })
}

/** The change does not carry the field: a null that an add leaves out, or one that did not change. */
function isAbsent(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = (at as { originalError?: unknown }).originalError)
    if (at.name === 'UndefinedVariableError') return true
  return false
}

function scopeOf({ run, sync, rows }: RequestScope, { many }: CompileOptions): Record<string, unknown> {
  const seen = rows.map((row) => ({
    ...row,
    match: seenBy(row.match),
    fields: seenBy(row.fields),
    previous_match: seenBy(row.previous_match),
  }))
  return { run, sync, rows: seen, ...(many ? {} : seen[0]) }
}

/** Templates count and compare exact numbers in a form of their own. */
function seenBy(value: Value): unknown {
  if (value instanceof RawJson) return exact(value.text)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item: Value) => seenBy(item))
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, seenBy(member)]))
}
