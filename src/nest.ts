/** Field names as paths into a nested payload: `address.city`, with `\.` for a dot that is none. */
import { CdpError } from './errors.ts'
import type { Fields, Value } from './json.ts'

/** `a.b\.c` → a, b.c */
export const splitPath = (name: string): string[] => name.split(/(?<!\\)\./).map((part) => part.replaceAll('\\.', '.'))

type Leaf = { readonly name: string; readonly value: Value }
type Tree = Map<string, Leaf | Tree>

/**
 * Dotted names as nested objects: `{ 'a.b': 1, 'a.c': 2 }` → `{ a: { b: 1, c: 2 } }`. Throws CDP3306 where one name lies
 * inside another (`a` and `a.b`), for one of the two values would be lost.
 */
export function nest(fields: Fields): Fields {
  const tree: Tree = new Map()
  for (const [name, value] of Object.entries(fields)) {
    const path = splitPath(name)
    const last = path.pop() ?? ''
    let at = tree
    for (const part of path) {
      const inner = at.get(part) ?? new Map()
      if (!(inner instanceof Map)) throw conflict(inner.name, name)
      at.set(part, inner)
      at = inner
    }
    const there = at.get(last)
    if (there !== undefined) throw conflict(name, anyName(there))
    at.set(last, { name, value })
  }
  return toFields(tree)
}

function conflict(a: string, b: string): CdpError {
  return new CdpError('CDP3306', `The fields "${a}" and "${b}" can't both be written: one lies inside the other.`, {
    hint: 'Write \\. for a dot that is no path.',
  })
}

/** A name that lies here. */
function anyName(node: Leaf | Tree): string {
  while (node instanceof Map) node = [...node.values()][0] ?? { name: '', value: null }
  return node.name
}

/** By entries: a field may be called `__proto__`. */
const toFields = (tree: Tree): Fields =>
  Object.fromEntries([...tree].map(([name, node]): [string, Value] => [name, node instanceof Map ? toFields(node) : node.value]))
