/** Semantic patches of a segment: a list of instructions that are all carried out, or none. */
import type { FakeReply, FakeRequest } from '../../src/testing/fake.ts'
import { bodyOf, detail, invalid, isKeys, refuses, type Segment, shown, type State, type Targets, targetsOf } from './segments.ts'

/** "Update segment" in the REST API specification: operations on targets in one patch. */
const MAX_TARGETS = 1500
/** The same page: standard segments hold so many individual targets; above that it must be a big segment. */
const MAX_STANDARD = 15_000

type Instruction = Readonly<Record<string, unknown>>

const TARGETS = /^(add|remove)(Included|Excluded)(Targets|Users)$/
const BIG_TARGETS = /^(add|remove)BigSegment(Included|Excluded)Targets$/

export function patchSegment(state: State, segment: Segment, request: FakeRequest): FakeReply {
  const body = bodyOf(request)
  if (body === null) return invalid('Invalid request body')
  // Without this parameter the body is read as a JSON patch, which it can't be.
  if (!/;\s*domain-model=launchdarkly\.semanticpatch\s*(;|$)/.test(request.headers['content-type'] ?? ''))
    return detail(422, 'patch_failed', 'Unprocessable entity. Could not apply patch.')
  const { environmentKey, instructions, comment } = body
  if (Object.keys(body).some((name) => !['environmentKey', 'instructions', 'comment'].includes(name)))
    return invalid('Invalid request body')
  if (environmentKey !== segment.environment) return invalid('environmentKey is required and must be that of the path')
  if (comment !== undefined && typeof comment !== 'string') return invalid('Invalid request body')
  if (!Array.isArray(instructions) || instructions.length === 0) return invalid('instructions are required')
  const copy: Segment = { ...segment, included: copyOf(segment.included), excluded: copyOf(segment.excluded) }
  const keys: string[] = []
  for (const instruction of instructions as Instruction[]) {
    const problem = apply(copy, instruction, keys)
    if (problem !== undefined) return invalid(problem)
  }
  const problem = problemOf(copy, keys)
  if (problem !== undefined) return invalid(problem)
  if (refuses(state, keys)) return invalid('Invalid request body')
  copy.version++
  if (request.query.get('dryRun') !== 'true') state.segments.set(`${segment.environment}/${segment.key}`, copy)
  return { status: 200, json: shown(copy) }
}

function copyOf(targets: Targets): Targets {
  return new Map([...targets].map(([kind, keys]) => [kind, new Set(keys)]))
}

/** Carries out one instruction and adds the keys it names to `keys`; what is wrong with it, if anything is. */
function apply(segment: Segment, instruction: Instruction, keys: string[]): string | undefined {
  const { kind, values, value } = instruction
  if (typeof kind !== 'string') return 'kind is required'
  if (kind === 'updateName') {
    if (typeof value !== 'string' || value === '') return 'value is required'
    segment.name = value
    return undefined
  }
  if (!isKeys(values)) return 'values must be a list of different texts'
  if (kind === 'addTags' || kind === 'removeTags') {
    segment.tags = [...new Set([...segment.tags, ...values])].filter((tag) => kind === 'addTags' || !values.includes(tag))
    return undefined
  }
  const [, action, side, type] = TARGETS.exec(kind) ?? BIG_TARGETS.exec(kind) ?? []
  if (action === undefined) return `Unknown instruction kind ${kind}`
  if (segment.unbounded !== BIG_TARGETS.test(kind)) return `${kind} is not supported for this type of segment`
  const contextKind = segment.unbounded ? segment.unboundedContextKind : type === 'Users' ? 'user' : instruction['contextKind']
  if (typeof contextKind !== 'string' || !/^(?!kind$)[A-Za-z0-9._-]+$/.test(contextKind)) return 'contextKind is required'
  const known = ['kind', 'values', ...(type === 'Targets' ? ['contextKind'] : [])]
  const unknown = Object.keys(instruction).find((name) => !known.includes(name))
  if (unknown !== undefined) return `Unknown parameter ${unknown}`
  const targets = side === 'Included' ? segment.included : segment.excluded
  const held = targets.get(contextKind) ?? new Set()
  targets.set(contextKind, held)
  for (const key of values) {
    if (action === 'add') held.add(key)
    else held.delete(key)
  }
  keys.push(...values)
  return undefined
}

function problemOf(segment: Segment, keys: readonly string[]): string | undefined {
  if (!segment.unbounded && keys.length > MAX_TARGETS)
    return `The number of operations on targets exceeds the batch limit of ${MAX_TARGETS.toLocaleString('en')}`
  for (const [kind, included] of segment.included)
    for (const key of segment.excluded.get(kind) ?? [])
      if (included.has(key)) return 'The same context key can not be both included and excluded'
  const count = [segment.included, segment.excluded].flatMap(targetsOf).reduce((sum, { values }) => sum + values.length, 0)
  if (!segment.unbounded && count > MAX_STANDARD) return 'A standard segment holds at most 15,000 individual targets'
  return undefined
}
