/** Builds one sync from its file, what `defaults` add, and what its connector says it can do. */
import { check, reportMissing, valueAt } from './check.ts'
import type { Part } from './check.ts'
import { nearest } from '../errors.ts'
import type { ObjectSpec } from '../connector.ts'
import type { Mode } from '../types.ts'
import type { Collected } from './entries.ts'
import { buildFields } from './fields.ts'
import type { Scope } from './interpolate.ts'
import { buildModel } from './model.ts'
import { MERGED_KEYS, SHARED_KEYS, SYNC_NAME, syncSchema } from './schema-sync.ts'
import type { SyncFile } from './schema-sync.ts'
import { frameOf, spotAt, whereOf } from './source.ts'
import type { Path, Problem } from './source.ts'
import { buildBackfill, buildMode, buildRemoval, buildTarget } from './target.ts'
import type { DestinationEntry, Sync, WarehouseEntry } from './types.ts'
import { pathKey } from './values.ts'
import type { Reading } from './values.ts'

/** Where a key of a sync may stand: its own file first, then defaults. */
interface Layer {
  readonly reading: Reading
  readonly base: Path
}

/** A sync's file, validated by itself. */
export interface SyncDraft {
  readonly reading: Reading
  readonly part: Part
  readonly file: SyncFile
  readonly name: string
  /** Runs in the chosen environment. */
  readonly active: boolean
  /** A key's value stands in the sync's own file, not in defaults. */
  readonly own: (key: string) => boolean
}

/** What a sync refers to, in the chosen environment. `null` stands for an entry that is there and has problems. */
export interface Known extends Collected {
  readonly scope: Scope
  readonly warehouses: ReadonlyMap<string, WarehouseEntry | null>
  readonly destinations: ReadonlyMap<string, DestinationEntry | null>
  /** Where a destination's entry stands. */
  readonly destinationAt: (name: string) => { readonly reading: Reading; readonly path: Path }
}

/** Validates a sync's file together with the defaults. Null when its shape has problems. */
export function draftSync(
  reading: Reading,
  project: Reading,
  environment: string | null,
  environments: readonly string[],
  problems: Problem[],
): SyncDraft | null {
  const layers: Layer[] = [{ reading, base: [] }]
  if (environment !== null) layers.push({ reading: project, base: ['environments', environment, 'defaults'] })
  layers.push({ reading: project, base: ['defaults'] })
  const fileName = reading.source.file.replace(/^.*\//, '').replace(/\.ya?ml$/, '')
  const part: Part = {
    value: merge(layers),
    locate: (path) => {
      const layer = layers.find((layer) => valueAt(layer.reading.value, [...layer.base, ...ownPart(path)]) !== undefined) ?? layers[0]!
      return { reading: layer.reading, path: [...layer.base, ...path] }
    },
    name: reading.source.file,
  }
  const before = problems.length
  const file = check(syncSchema, part, problems)
  if (!file) {
    // No problem and no value: variables are missing where that is no text.
    if (problems.length === before && valueAt(part.value, ['enabled']) !== false) reportMissing(reading, [], problems)
    return null
  }
  const name = file.name ?? fileName
  if (!SYNC_NAME.test(name)) {
    const message = `The file’s name "${fileName}" is no name for a sync.`
    problems.push({
      code: 'CDP1100',
      message,
      hint: 'Names are made of a-z, 0-9, _ and -; set name: in the file.',
      spot: spotAt(reading.source, []),
    })
    return null
  }
  for (const [i, named] of (file.environments ?? []).entries()) {
    if (environments.includes(named)) continue
    const near = nearest(named, environments)
    const hint = near
      ? `Did you mean "${near}"?`
      : environments.length
        ? `There are ${environments.join(', ')}.`
        : 'cdp-sync.yaml has no environments.'
    const place = part.locate(['environments', i])
    problems.push({ code: 'CDP1031', message: `There is no environment "${named}".`, hint, spot: spotAt(place.reading.source, place.path) })
  }
  const active =
    (file.enabled ?? true) && (file.environments === undefined || (environment !== null && file.environments.includes(environment)))
  return { reading, part, file, name, active, own: (key) => valueAt(reading.value, [key]) !== undefined }
}

const ownPart = (path: Path): Path => path.slice(0, MERGED_KEYS.includes(String(path[0])) ? 2 : 1)

function merge(layers: readonly Layer[]): unknown {
  const own = layers[0]?.reading.value
  if (typeof own !== 'object' || own === null || Array.isArray(own)) return own ?? {}
  const out: Record<string, unknown> = {}
  for (const { reading, base } of layers.toReversed()) {
    const value = base.length ? valueAt(reading.value, base) : own
    if (typeof value !== 'object' || value === null) continue
    for (const [key, member] of Object.entries(value)) {
      if (base.length && !SHARED_KEYS.includes(key)) continue
      const both = MERGED_KEYS.includes(key) && isObject(out[key]) && isObject(member)
      out[key] = both ? { ...(out[key] as object), ...member } : member
    }
  }
  return out
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value)

/** What the builders of a sync's parts work with. */
export interface Building {
  readonly draft: SyncDraft
  readonly known: Known
  readonly spec: ObjectSpec
  readonly mode: Mode
  readonly fail: Fail
}
export type Fail = (code: string, path: Path, message: string, hint?: string, side?: 'key' | 'value') => void

/** The whole sync. Null when it has problems, which are then reported. */
export function buildSync(draft: SyncDraft, known: Known): Sync | null {
  const { file, part, reading } = draft
  const before = known.problems.length
  const fail: Fail = (code, path, message, hint, side) => {
    const place = part.locate(path)
    // What a variable without a value leads to is its echo.
    if (place.reading.variables.get(pathKey(place.path))?.missing.length) return
    known.problems.push({ code, message, hint, spot: spotAt(place.reading.source, place.path, side) })
  }
  const warehouse = reference('warehouse', draft, known.warehouses, fail)
  const destination = reference('destination', draft, known.destinations, fail)
  const model = buildModel(draft, known, fail)
  const target = destination && buildTarget(draft, destination, known, fail)
  if (!target) return null
  const mode = buildMode(draft, target.spec, target.object, fail)
  const building: Building = { draft, known, spec: target.spec, mode, fail }
  const removal = buildRemoval(building)
  const { match, fields, star } = buildFields(building)
  const backfill = buildBackfill(building)
  if (!warehouse || !model || known.problems.length > before) return null
  const tolerance = file.tolerance
  const spot = (path: Path, side?: 'key' | 'value'): { where: string; frame: string | undefined } => {
    const place = part.locate(path)
    const found = spotAt(place.reading.source, place.path, side)
    return { where: whereOf(found), frame: frameOf(found) }
  }
  return {
    name: draft.name,
    file: reading.source.file,
    where: whereOf(spotAt(reading.source, [])),
    owner: file.owner ?? null,
    description: file.description ?? null,
    tags: file.tags ?? [],
    enabled: file.enabled ?? true,
    environments: file.environments ?? null,
    renamedFrom: file.renamed_from ?? null,
    warehouse,
    model,
    destination,
    object: target.object,
    spec: target.spec,
    mode,
    onRemove: removal.onRemove,
    removeSet: removal.set,
    onNullMatch: file.on_null_match ?? (target.spec.membership ? 'remove' : 'keep'),
    match,
    fields,
    star,
    send: file.send ?? 'row',
    backfill,
    dependsOn: file.depends_on ?? [],
    guards: (file.guards ?? {}) as Sync['guards'],
    // One limit alone is the only limit; the other is then out of the way.
    tolerance: {
      rejected_percent: tolerance?.rejected_percent ?? (tolerance?.rejected_rows === undefined ? 0 : 100),
      rejected_rows: tolerance?.rejected_rows ?? (tolerance?.rejected_percent === undefined ? 0 : Number.MAX_SAFE_INTEGER),
    },
    options: target.options,
    locate: (path) => spot(path).where,
    frame: (path, side) => spot(path, side).frame,
  }
}

function reference<T extends { name: string }>(
  kind: 'warehouse' | 'destination',
  draft: SyncDraft,
  entries: ReadonlyMap<string, T | null>,
  fail: Fail,
): T | null {
  const names = [...entries.keys()]
  const name = draft.file[kind] ?? (kind === 'warehouse' && names.length === 1 ? names[0] : undefined)
  if (name === undefined) {
    const hint = names.length ? `There are ${names.join(', ')}.` : `Add one under ${kind}s in cdp-sync.yaml.`
    fail('CDP1041', [], `${draft.reading.source.file} names no ${kind}.`, hint)
    return null
  }
  const entry = entries.get(name)
  if (entry !== undefined) return entry
  const near = nearest(name, names)
  const hint = near
    ? `Did you mean "${near}"?`
    : names.length
      ? `There are ${names.join(', ')}.`
      : `Add it under ${kind}s in cdp-sync.yaml.`
  fail('CDP1040', [kind], `There is no ${kind} "${name}".`, hint)
  return null
}
