/** Reads the entry `state`: which settings go with which type, and whether the place it names can keep states. */
import { join, resolve } from 'node:path'
import { nearest } from '../errors.ts'
import { valueAt } from './check.ts'
import { has, spotAt } from './source.ts'
import type { Path, Problem } from './source.ts'
import type { StateEntry } from './types.ts'
import type { Reading } from './values.ts'

/** What the entry is checked against. */
export interface StateScope {
  readonly root: string
  /** Where each warehouse of the chosen environment stands. */
  readonly warehouses: ReadonlyMap<string, Path>
  /** Names of the warehouses of the syncs that run here. */
  readonly used: ReadonlySet<string>
  readonly problems: Problem[]
}

type Type = StateEntry['type']
const SETTINGS: Readonly<Record<Type, readonly string[]>> = {
  local: ['path'],
  s3: ['path', 'bucket', 'prefix', 'region', 'endpoint'],
  warehouse: ['path', 'warehouse', 'schema'],
}
const SHARED = { s3: 'a bucket', warehouse: 'a warehouse' } as const
const DEFAULT_SCHEMA = 'cdp_sync'

/** An environment replaces the entry whole. */
export function statePath(project: Reading, environment: string | null): Path {
  const own = ['environments', environment ?? '', 'state']
  return environment !== null && has(project.source, own) ? own : ['state']
}

/** The warehouse that the entry names; null: none by name. */
export function stateWarehouse(project: Reading, environment: string | null): string | null {
  const name = valueAt(project.value, [...statePath(project, environment), 'warehouse'])
  return typeof name === 'string' ? name : null
}

/** Null when there are problems, which are then reported. */
export function readState(project: Reading, environment: string | null, scope: StateScope): StateEntry | null {
  const path = statePath(project, environment)
  const { problems } = scope
  const before = problems.length
  // What the schema of the file refuses is reported by it: an entry without a type is, and no entry is local.
  const named = valueAt(project.value, [...path, 'type'])
  if (named === undefined && valueAt(project.value, path) !== undefined) return null
  const type = (named ?? 'local') as Type
  const allowed = SETTINGS[type] as readonly string[] | undefined
  if (allowed === undefined) return null
  for (const key of Object.values(SETTINGS).flat()) {
    if (allowed.includes(key) || valueAt(project.value, [...path, key]) === undefined) continue
    problems.push({
      code: 'CDP1012',
      message: `state.${key} does not go with type ${type}.`,
      hint: 'Remove it.',
      spot: spotAt(project.source, [...path, key], 'key'),
    })
  }
  const text = (key: string): string | null => {
    const value = valueAt(project.value, [...path, key])
    return typeof value === 'string' ? value : null
  }
  const folder = resolve(scope.root, text('path') ?? '.cdp-sync')
  if (type === 'local') return { type, path: folder }
  // Working copies are kept apart from states that live in the folder.
  const copies = join(folder, type)
  const lacks = (what: string, name: string, hint: string): void => {
    const message = `State in ${SHARED[type]} needs \`${name}\`${what}.`
    problems.push({ code: 'CDP1061', message, hint, spot: spotAt(project.source, path) })
  }
  const bucket = text('bucket')
  if (type === 's3' && bucket === null) lacks('', 'bucket', 'Add it: { type: s3, bucket: my-bucket }.')
  else if (typeof valueAt(project.value, ['project']) !== 'string')
    lacks(', a name of this project there', 'project', 'Add a line to cdp-sync.yaml: project: my-project.')
  if (type === 's3') {
    const prefix = (text('prefix') ?? '').replace(/^\/+|\/+$/g, '')
    const entry = { type, path: copies, bucket: bucket ?? '', prefix, region: text('region'), endpoint: text('endpoint') }
    return problems.length > before ? null : entry
  }
  const warehouse = text('warehouse')
  checkWarehouses(project, path, warehouse, scope)
  return problems.length > before ? null : { type, path: copies, warehouse, schema: text('schema') ?? DEFAULT_SCHEMA }
}

/** The warehouse that is named, or those of the syncs, are there and can be written to. */
function checkWarehouses(project: Reading, path: Path, named: string | null, { warehouses, used, problems }: StateScope): void {
  const names = [...warehouses.keys()]
  if (named !== null && !warehouses.has(named)) {
    const near = nearest(named, names)
    const list = names.length ? `There are ${names.join(', ')}.` : 'Add it under warehouses in cdp-sync.yaml.'
    const spot = spotAt(project.source, [...path, 'warehouse'])
    problems.push({ code: 'CDP1040', message: `There is no warehouse "${named}".`, hint: near ? `Did you mean "${near}"?` : list, spot })
    return
  }
  for (const name of named === null ? used : [named]) {
    const entry = warehouses.get(name)
    // A path that is to come out of a variable is a path.
    if (!entry || valueAt(project.value, [...entry, 'type']) !== 'duckdb' || has(project.source, [...entry, 'path'])) continue
    problems.push({
      code: 'CDP1060',
      message: `The warehouse "${name}" can’t keep state: it reads files and has no database, for it has no \`path\`.`,
      hint:
        named === null
          ? `Give ${name} a path, or name a warehouse that keeps the state: { type: warehouse, warehouse: … }.`
          : `Give ${name} a path, or name another warehouse.`,
      spot: spotAt(project.source, named === null ? [...path, 'type'] : [...path, 'warehouse']),
    })
  }
}
