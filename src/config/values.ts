/** YAML nodes as values: settings as plain data with variables read, constants with the text they were written with. */
import { isAlias, isMap, isScalar, isSeq, Scalar } from 'yaml'
import type { Node } from 'yaml'
import { isSafeNumber } from 'lossless-json'
import { encodeJson, exactNumber } from '../json.ts'
import type { Value } from '../json.ts'
import { hasVariable, interpolate } from './interpolate.ts'
import type { Interpolated, Scope } from './interpolate.ts'
import { keyText, nodeAt, resolve, spotAt, spotOf, unquotedTemplate } from './source.ts'
import type { Path, Problem, Source, Spot } from './source.ts'
import type { Constant } from './types.ts'

/** A file's content with its variables read. */
export interface Reading {
  readonly source: Source
  readonly value: unknown
  /** Scalars that hold a variable, by path (`pathKey`). */
  readonly variables: ReadonlyMap<string, Interpolated & { readonly path: Path }>
  /** Paths of mappings of which a key could not be read: what is said of the rest would be its echo. */
  readonly broken: ReadonlySet<string>
}

export const pathKey = (path: Path): string => JSON.stringify(path.map(String))

/** As many nodes as no real file has: aliases can multiply a small file into an endless one. */
const MAX_NODES = 100_000
const MAX_DEPTH = 100

/**
 * Reads a whole file. Names that can't be used go to `problems`; missing variables stay with their paths. Null when its
 * aliases never end, which is a problem too.
 */
export function readSource(source: Source, scope: Scope, problems: Problem[]): Reading | null {
  const variables = new Map<string, Interpolated & { path: Path }>()
  const broken = new Set<string>()
  let nodes = 0
  const read = (raw: unknown, path: Path): unknown => {
    const node = resolve(source, raw)
    if (++nodes > MAX_NODES || path.length > MAX_DEPTH) throw new RangeError('endless aliases')
    if (isMap(node)) {
      const out: Record<string, unknown> = {}
      for (const pair of node.items) {
        const name = usableKey(source, pair.key, problems)
        if (name === null) {
          broken.add(pathKey(path))
          continue
        }
        out[name] = read(pair.value, [...path, name])
      }
      return out
    }
    if (isSeq(node)) return node.items.map((item, i) => read(item, [...path, i]))
    if (!isScalar(node)) return null
    if (typeof node.value === 'string' && hasVariable(node.value)) {
      const spot = node.range ? spotOf(source, [node.range[0], node.range[1]]) : spotAt(source, path)
      const result = interpolate(node.value, spot, scope)
      variables.set(pathKey(path), { ...result, path })
      return result.missing.length ? node.value : result.text
    }
    return plainValue(node)
  }
  try {
    return { source, value: read(source.doc.contents, []) ?? {}, variables, broken }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    problems.push({
      code: 'CDP1003',
      message: 'The aliases of this file repeat it without end.',
      hint: 'Write the values out.',
      spot: spotAt(source, []),
    })
    return null
  }
}

function keySpot(source: Source, key: unknown): Spot {
  const range = (key as Node | null)?.range
  return range ? spotOf(source, [range[0], range[1]]) : spotAt(source, [])
}

function usableKey(source: Source, key: unknown, problems: Problem[]): string | null {
  const spot = keySpot(source, key)
  const refuse = (message: string, hint: string): null => {
    problems.push({ code: 'CDP1005', message, hint, spot })
    return null
  }
  if (isMap(key)) {
    problems.push(unquotedTemplate(spot))
    return null
  }
  if (isAlias(key) || isSeq(key)) return refuse('A key must be plain text.', 'Write the name itself, in quotes if needed.')
  const name = keyText(key)
  if (name === null) return refuse('A key can’t be null.', 'For the text "null" write it in quotes.')
  if (name === '__proto__') return refuse('"__proto__" can’t be used as a name.', 'Rename the column or field.')
  if (name === '<<') return refuse('Merge keys (<<) are not read.', 'Write the keys out, or use defaults in cdp-sync.yaml.')
  if (hasVariable(name)) return refuse('A key can’t hold a variable.', 'Variables are read in values only.')
  return name
}

/** A number only where that is what is written, exactly; `01`, `0x1F` and digits that no float holds stay text. */
function plainValue(node: Scalar): unknown {
  if (typeof node.value !== 'number') return node.value ?? null
  const text = node.source ?? String(node.value)
  return JSON_NUMBER.test(text) && isSafeNumber(text) ? Number(text) : text
}

const JSON_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/

/** The constant at `path`, as written: quoted and interpolated scalars are strings, numbers keep their digits. */
export function constantAt(reading: Reading, path: Path): Constant {
  const node = nodeAt(reading.source, path)
  if (isMap(node) || isSeq(node)) return { kind: 'json', json: encodeJson(jsonOf(reading, path, node)) }
  const variable = reading.variables.get(pathKey(path))
  if (variable) return { kind: 'string', text: variable.text }
  return isScalar(node) ? scalarConstant(node) : { kind: 'null' }
}

export function scalarConstant(node: Scalar): Constant {
  const { value } = node
  if (value === null || value === undefined) return { kind: 'null' }
  if (typeof value === 'string') return { kind: 'string', text: value }
  if (typeof value === 'boolean') return { kind: 'boolean', text: String(value) }
  const text = node.source ?? JSON.stringify(value)
  const plain = node.type === undefined || node.type === Scalar.PLAIN
  return { kind: plain && JSON_NUMBER.test(text) ? 'number' : 'string', text }
}

function jsonOf(reading: Reading, path: Path, node: Node | null): Value {
  if (isMap(node)) {
    const out: Record<string, Value> = {}
    for (const { key } of node.items) {
      const name = keyText(key)
      if (name !== null && name !== '__proto__') out[name] = jsonOf(reading, [...path, name], nodeAt(reading.source, [...path, name]))
    }
    return out
  }
  if (isSeq(node)) return node.items.map((_, i) => jsonOf(reading, [...path, i], nodeAt(reading.source, [...path, i])))
  const constant = constantAt(reading, path)
  if (constant.kind === 'null' || constant.kind === 'json') return null
  if (constant.kind === 'number') return exactNumber(constant.text)
  return constant.kind === 'boolean' ? constant.text === 'true' : constant.text
}
