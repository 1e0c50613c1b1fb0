/** A YAML file that knows its places: parse it, walk it, point at it, draw the line it is about. */
import { isAlias, isMap, isScalar, isSeq, parseDocument } from 'yaml'
import type { Document, Node, Pair, Scalar, YAMLError } from 'yaml'
import { CdpError, ConfigErrors } from '../errors.ts'

export type Path = readonly (string | number)[]

export interface Source {
  /** Relative to the project root. */
  readonly file: string
  readonly text: string
  readonly doc: Document
  /** Parts of the text that a frame never shows: what stands where a secret belongs. */
  readonly hidden: (readonly [start: number, end: number])[]
}

/** A part of a file's text, in UTF-16 units from its start. */
export interface Spot {
  readonly source: Pick<Source, 'file' | 'text' | 'hidden'>
  readonly start: number
  readonly end: number
}

export interface Problem {
  readonly code: string
  readonly message: string
  readonly hint?: string | undefined
  readonly spot: Spot
}

/** Parses one YAML file; syntax errors go to `problems`. Only then is the tree not to be trusted: null. */
export function parseSource(file: string, text: string, problems: Problem[]): Source | null {
  const doc = parseDocument(text, { prettyErrors: false, uniqueKeys: sameKey })
  const source: Source = { file, text, doc, hidden: [] }
  // What follows the first syntax error is mostly its echo; duplicate keys each stand for themselves.
  const syntax = doc.errors.find((error) => error.code !== 'DUPLICATE_KEY')
  for (const error of doc.errors) if (error === syntax || error.code === 'DUPLICATE_KEY') problems.push(syntaxProblem(source, error))
  for (const warning of doc.warnings)
    problems.push({ code: 'CDP1003', message: sentence(warning.message), spot: spotOf(source, warning.pos) })
  return syntax ? null : source
}

function syntaxProblem(source: Source, error: YAMLError): Problem {
  const spot = spotOf(source, error.pos)
  if (error.code === 'DUPLICATE_KEY') {
    const key = /^("[^"\n]*"|'[^'\n]*'|[^:\s]+)/.exec(source.text.slice(error.pos[0]))?.[0] ?? ''
    const full = { ...spot, end: spot.start + key.length }
    return {
      code: 'CDP1004',
      message: `The key ${/^["']/.test(key) ? key : `"${key}"`} is written twice.`,
      hint: 'Keep one of the two.',
      spot: full,
    }
  }
  const line = lineAt(source.text, error.pos[0]).text
  if (line.includes('{{')) {
    const at = source.text.indexOf('{{', lineAt(source.text, error.pos[0]).start)
    return unquotedTemplate({ source, start: at, end: at + 2 })
  }
  const variable = /\$\{[^}\s]*\}?/.exec(line)?.[0]
  if (variable) {
    const at = source.text.indexOf(variable, lineAt(source.text, error.pos[0]).start)
    return {
      code: 'CDP1003',
      message: 'Inside { } or [ ] a variable must be quoted.',
      hint: `Write "${variable}".`,
      spot: { source, start: at, end: at + variable.length },
    }
  }
  const plain: Record<string, [message: string, hint: string]> = {
    TAB_AS_INDENT: ['A tab can’t indent YAML.', 'Indent with spaces.'],
    MULTIPLE_DOCS: ['The file holds several documents.', 'Keep one; in syncs/ write one sync a file.'],
    BLOCK_AS_IMPLICIT_KEY: ['A value can’t hold ": " unless it is quoted.', 'Put the value in quotes, or check the indentation.'],
    BAD_SCALAR_START: ['A value can’t start with this character unless it is quoted.', 'Put the value in quotes.'],
  }
  const known = plain[error.code]
  if (known) return { code: 'CDP1003', message: known[0], hint: known[1], spot }
  return { code: 'CDP1003', message: `This is not valid YAML: ${error.message}.`, spot }
}

export function unquotedTemplate(spot: Spot): Problem {
  return {
    code: 'CDP1006',
    message: 'A template must be quoted.',
    hint: 'YAML reads { as the start of a mapping; write "{{ … }}" with quotes.',
    spot,
  }
}

const sentence = (text: string): string => `${text.replace(/\.?$/, '')}.`

/** Keys are names: `1` and "1" are one, `01` and `1` are two. */
const sameKey = (a: unknown, b: unknown): boolean => keyText(a) !== null && keyText(a) === keyText(b)

/** The text a key is found by; null for a key that is no plain text. */
export function keyText(key: unknown): string | null {
  if (!isScalar(key)) return null
  if (typeof key.value === 'string') return key.value
  if (key.value === null || key.value === undefined) return null
  return key.source ?? JSON.stringify(key.value)
}

export function resolve(source: Source, node: unknown): Node | null {
  if (isAlias(node)) return (node.resolve(source.doc) as Node | undefined) ?? null
  return (node ?? null) as Node | null
}

/** The pair and the node at `path`; of the longest part of it that exists. */
function walk(source: Source, path: Path): { found: number; pair: Pair | null; node: Node | null } {
  let node = resolve(source, source.doc.contents)
  let pair: Pair | null = null
  for (const [i, part] of path.entries()) {
    if (isMap(node)) {
      const next: Pair | undefined = node.items.find((item) => keyText(item.key) === String(part))
      if (!next) return { found: i, pair, node }
      pair = next
      node = resolve(source, next.value)
    } else if (isSeq(node) && typeof part === 'number' && node.items[part] !== undefined) {
      pair = null
      node = resolve(source, node.items[part])
    } else return { found: i, pair, node }
  }
  return { found: path.length, pair, node }
}

/** The node at `path`, aliases resolved; null when there is none. */
export function nodeAt(source: Source, path: Path): Node | null {
  const { found, node } = walk(source, path)
  return found === path.length ? node : null
}

export function has(source: Source, path: Path): boolean {
  return walk(source, path).found === path.length
}

/** Points at the value at `path`, or at its key; what does not exist is pointed at by its nearest parent's key. */
export function spotAt(source: Source, path: Path, side: 'key' | 'value' = 'value'): Spot {
  const { found, pair, node } = walk(source, path)
  const key = pair?.key as Scalar | undefined
  const atKey = side === 'key' || found < path.length || !node?.range || (isScalar(node) && node.value === null)
  if (atKey && key?.range) return spotOf(source, [key.range[0], key.range[1]])
  if (node?.range) return spotOf(source, [node.range[0], node.range[1]])
  return spotOf(source, [0, 0])
}

export function spotOf(source: Source, [start, end]: readonly [number, number]): Spot {
  return { source, start, end: Math.max(end, start) }
}

/** Hides the value at `path` from every frame. */
export function hide(source: Source, path: Path): void {
  const range = nodeAt(source, path)?.range
  if (range) source.hidden.push([range[0], range[1]])
}

function lineAt(text: string, offset: number): { number: number; start: number; text: string } {
  const at = Math.min(offset, text.length)
  const start = text.lastIndexOf('\n', at - 1) + 1
  const end = text.indexOf('\n', at)
  return {
    number: text.slice(0, start).split('\n').length,
    start,
    text: text.slice(start, end < 0 ? text.length : end).replace(/\r$/, ''),
  }
}

/** `file:line:column`, both from 1. */
export function whereOf({ source, start }: Spot): string {
  const line = lineAt(source.text, start)
  return `${source.file}:${line.number}:${start - line.start + 1}`
}

/** The line of the spot with a mark below it. Undefined for an empty file. */
export function frameOf({ source, start, end }: Spot): string | undefined {
  if (source.text.trim() === '') return undefined
  const line = lineAt(source.text, start)
  let text = line.text
  for (const [from, to] of source.hidden) {
    const [a, b] = [Math.max(from - line.start, 0), Math.min(to - line.start, text.length)]
    if (a < b) text = text.slice(0, a) + '*'.repeat(b - a) + text.slice(b)
  }
  // A password written into a URL is as secret as one in its own key.
  text = text.replace(/(:\/\/[^:@/\s]*:)([^@\s]+)@/g, (_, head: string, password: string) => `${head}${'*'.repeat(password.length)}@`)
  const column = start - line.start
  const width = Math.max(1, Math.min(end, line.start + line.text.length) - start)
  const margin = ' '.repeat(String(line.number).length)
  const indent = text.slice(0, column).replace(/[^\t]/g, ' ')
  return `${margin} |\n${line.number} | ${text}\n${margin} | ${indent}${'^'.repeat(width)}`
}

/** All problems as one error, by file and line, each said once. */
export function toConfigErrors(problems: readonly Problem[], others: readonly CdpError[] = []): ConfigErrors {
  const order = [...problems].sort((a, b) => compare(a.spot.source.file, b.spot.source.file) || a.spot.start - b.spot.start)
  const seen = new Set<string>()
  const errors: CdpError[] = []
  for (const { code, message, hint, spot } of order) {
    const where = whereOf(spot)
    const name = `${where} ${code} ${message}`
    if (seen.has(name)) continue
    seen.add(name)
    const frame = frameOf(spot)
    errors.push(new CdpError(code, message, { where, ...(hint ? { hint } : {}), ...(frame ? { frame } : {}) }))
  }
  return new ConfigErrors([...others, ...errors])
}

/** By code units: the same everywhere, unlike a locale's order. */
export const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
