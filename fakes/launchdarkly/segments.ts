/** The segments that the fake of LaunchDarkly holds, how they are shown, and the form of errors. */
import type { FakeControl, FakeReply, FakeRequest } from '../../src/testing/fake.ts'

/** Context kind -> keys. */
export type Targets = Map<string, Set<string>>

export interface Segment {
  readonly environment: string
  readonly key: string
  name: string
  tags: string[]
  readonly description: string | undefined
  /** A big segment: its targets are of one kind and are shown nowhere as a list. */
  readonly unbounded: boolean
  readonly unboundedContextKind: string
  readonly creationDate: number
  version: number
  included: Targets
  excluded: Targets
}

export interface State {
  readonly control: FakeControl
  /** By `environment/key`. */
  readonly segments: Map<string, Segment>
  readonly bad: Set<string>
}

export interface NewSegment {
  readonly key: string
  readonly name: string
  readonly description?: string
  readonly tags?: string[]
  readonly unbounded?: boolean
  readonly unboundedContextKind?: string
}

export function addSegment(state: State, environment: string, wanted: NewSegment): Segment {
  const segment: Segment = {
    environment,
    key: wanted.key,
    name: wanted.name,
    tags: wanted.tags ?? [],
    description: wanted.description,
    unbounded: wanted.unbounded ?? false,
    unboundedContextKind: wanted.unboundedContextKind ?? 'user',
    creationDate: state.control.now(),
    version: 1,
    included: new Map(),
    excluded: new Map(),
  }
  state.segments.set(`${environment}/${segment.key}`, segment)
  return segment
}

/** SegmentTarget, kinds without keys left out. */
export function targetsOf(targets: Targets): { contextKind: string; values: string[] }[] {
  return [...targets].filter(([, keys]) => keys.size > 0).map(([contextKind, keys]) => ({ contextKind, values: [...keys] }))
}

const lists = (targets: Targets): { users: string[]; others: unknown[] } => ({
  users: [...(targets.get('user') ?? [])],
  others: targetsOf(targets).filter(({ contextKind }) => contextKind !== 'user'),
})

/** UserSegment: users stand in `included`, other kinds in `includedContexts`; a big segment shows no targets. */
export function shown(segment: Segment): Record<string, unknown> {
  const { key, name, tags, description, creationDate, version, environment, unbounded, unboundedContextKind } = segment
  const [included, excluded] = [lists(segment.included), lists(segment.excluded)]
  return {
    key,
    name,
    tags,
    creationDate,
    lastModifiedDate: creationDate,
    version,
    rules: [],
    deleted: false,
    generation: 1,
    ...(description === undefined ? {} : { description }),
    _links: { self: { href: `/api/v2/segments/growth/${environment}/${key}`, type: 'application/json' } },
    ...(unbounded
      ? { unbounded, unboundedContextKind, included: [], excluded: [] }
      : {
          included: included.users,
          excluded: excluded.users,
          includedContexts: included.others,
          excludedContexts: excluded.others,
        }),
  }
}

export function detail(status: number, code: string, message: string): FakeReply {
  return { status, json: { code, message } }
}

export function invalid(message: string): FakeReply {
  return detail(400, 'invalid_request', message)
}

export function notFound(): FakeReply {
  return detail(404, 'not_found', 'Invalid resource identifier')
}

/** Rows that are to be refused spoil every request they are in, until one has carried them alone. */
export function refuses({ control, bad }: State, keys: readonly string[]): boolean {
  for (const key of keys) if (control.refusesRow()) bad.add(key)
  const refused = keys.some((key) => bad.has(key))
  if (refused && keys.length === 1) bad.delete(keys[0] ?? '')
  return refused
}

/** Whether an empty key or one given twice passes is documented nowhere: refused, so that nobody comes to rely on it. */
export function isKeys(value: unknown): value is string[] {
  return (
    Array.isArray(value) && value.every((key) => typeof key === 'string' && key !== '') && new Set<unknown>(value).size === value.length
  )
}

/** The body as an object; null when it is none or comes with another content type. */
export function bodyOf(request: FakeRequest): Record<string, unknown> | null {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) return null
  try {
    const body = request.json()
    return typeof body === 'object' && body !== null && !Array.isArray(body) ? (body as Record<string, unknown>) : null
  } catch {
    return null
  }
}
