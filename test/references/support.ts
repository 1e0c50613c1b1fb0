/** A service of the engine's tests that also looks records up: a directory of users, and a note of each question. */
import type { Connector, Destination, ObjectSpec } from '../../src/connector.ts'
import { encodeJson, type Fields } from '../../src/json.ts'
import { service } from '../support/destinations.ts'
import type { Kind, Service } from '../support/destinations.ts'
import { column } from '../support/world.ts'
import type { FieldSpec } from '../../src/config/types.ts'

export interface Directory {
  readonly service: Service
  /** `{"Email":"o@x.io"}` -> id, of every object that can be looked up. */
  readonly ids: Map<string, string>
  /** Each call of `lookup`. */
  readonly asked: { object: string; matches: string[] }[]
  /** Called before each answer; may throw. */
  before: (matches: readonly Fields[]) => void
}

export function directory(
  kind: Kind,
  over: Partial<ObjectSpec> = {},
  more: (destination: Destination) => Partial<Destination> = () => ({}),
): Directory {
  const there = service(kind, over)
  const { connector } = there
  const self: Directory = {
    service: there,
    ids: new Map(),
    asked: [],
    before: () => undefined,
  }
  const open: Connector['open'] = (settings, io) => {
    const opened = connector.open(settings, io)
    return {
      ...opened,
      lookup: async (object, matches) => {
        await Promise.resolve()
        self.asked.push({ object, matches: matches.map(encodeJson) })
        self.before(matches)
        return matches.map((match) => self.ids.get(encodeJson(match)) ?? null)
      },
      ...more(opened),
    }
  }
  Object.assign(there, { connector: { ...connector, open } })
  return self
}

/** `owner: { lookup: User, match: { Email: phone } }`: the test world has a column to spare. */
export const owner = (onMiss: 'reject' | 'null' | 'omit' = 'reject', more: Partial<FieldSpec> = {}): FieldSpec =>
  column('owner', 'phone', { source: { kind: 'lookup', object: 'User', match: { Email: 'phone' }, onMiss }, ...more })
