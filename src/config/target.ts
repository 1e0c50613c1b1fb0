/** What a sync may do at its target: object, options, mode, removal and backfill against what the connector says it can. */
import type { ObjectSpec } from '../connector.ts'
import { nearest } from '../errors.ts'
import { MODES } from '../types.ts'
import type { Mode, Removal } from '../types.ts'
import { check, label, partOf, valueAt } from './check.ts'
import type { Part } from './check.ts'
import { collectSecrets } from './entries.ts'
import type { Building, Fail, Known, SyncDraft } from './sync.ts'
import type { Constant, DestinationEntry } from './types.ts'
import { spotAt } from './source.ts'
import { constantAt } from './values.ts'

/** Stands for what a sync that does not run here can't say without its variables. */
const UNRESOLVED: ObjectSpec = {
  description: '',
  modes: MODES,
  address: 'key',
  match: { '*': 'exact' },
  confirms: 'request',
  replay: {},
  removes: ['delete', 'archive', 'clear', 'set'],
  onCreate: true,
  ifEmpty: true,
}

export function buildTarget(
  draft: SyncDraft,
  destination: DestinationEntry,
  known: Known,
  fail: Fail,
): { object: string; spec: ObjectSpec; options: unknown } | null {
  const { connector, config } = destination
  const { file, part } = draft
  const value = file.options ?? {}
  const optionsPart: Part = { value, locate: (path) => part.locate(['options', ...path]), name: 'options' }
  collectSecrets(optionsPart, connector.options, known)
  const before = known.problems.length
  const options = check(connector.options, optionsPart, known.problems)
  const names = Object.keys(connector.objects).filter((name) => name !== '*')
  const object = file.object ?? (names.length === 1 ? names[0] : undefined)
  if (object === undefined) {
    fail(
      'CDP1120',
      ['destination'],
      `${draft.reading.source.file} names no object.`,
      `The connector ${connector.name} has ${names.join(', ')}.`,
    )
    return null
  }
  const found = Object.hasOwn(connector.objects, object) ? connector.objects[object] : connector.objects['*']
  if (!found) {
    const near = nearest(object, names)
    fail(
      'CDP1120',
      ['object'],
      `The connector ${connector.name} has no object "${object}".`,
      near ? `Did you mean "${near}"?` : `It has ${names.join(', ')}.`,
    )
    return null
  }
  if (known.problems.length > before) return null
  if (config === undefined || options === undefined) {
    // Variables are missing: reported where the sync runs; elsewhere it is listed all the same.
    if (draft.active) return null
    return { object, spec: typeof found === 'function' ? UNRESOLVED : found, options }
  }
  const settings = { config, options }
  for (const problem of connector.validate?.(settings, object) ?? []) reportOwn(problem, settings, destination, optionsPart, known)
  return { object, spec: typeof found === 'function' ? found(settings) : found, options }
}

/** What a connector found itself. Its path leads into the sync's options, or into the destination where only that has it. */
function reportOwn(
  problem: { path: readonly (string | number)[]; message: string },
  settings: { config: unknown; options: unknown },
  destination: DestinationEntry,
  optionsPart: Part,
  known: Known,
): void {
  const [first] = problem.path
  const named = first === 'options' || first === 'config'
  const path = named ? problem.path.slice(1) : problem.path
  const inConfig = named
    ? first === 'config'
    : valueAt(settings.options, path) === undefined && valueAt(settings.config, path) !== undefined
  const entry = known.destinationAt(destination.name)
  const part = inConfig ? partOf(entry.reading, entry.path, destination.name) : optionsPart
  const place = part.locate(path)
  const message = `${label(part, path)}: ${problem.message.replace(/\.$/, '')}.`
  known.problems.push({ code: 'CDP1170', message, spot: spotAt(place.reading.source, place.path) })
}

export function buildMode(draft: SyncDraft, spec: ObjectSpec, object: string, fail: Fail): Mode {
  // No default removes anything: a membership says mode: mirror like any other.
  const mode = draft.file.mode ?? 'upsert'
  const place = draft.file.mode !== undefined ? 'mode' : draft.own('object') ? 'object' : 'destination'
  if (!spec.modes.includes(mode)) {
    const message = `The object ${object} can’t be written in mode ${mode}${draft.file.mode === undefined ? ', the default' : ''}.`
    fail('CDP1121', [place], message, spec.modes.length === 1 ? `Write mode: ${spec.modes[0]}.` : `It takes ${spec.modes.join(', ')}.`)
  } else if (mode === 'mirror' && !spec.removes?.length) {
    fail('CDP1121', ['mode'], `Nothing can be removed from the object ${object}, so it can’t be a mirror.`, 'Use mode: upsert.')
  }
  return mode
}

export function buildRemoval({ draft, spec, mode, fail }: Building): { onRemove: Removal | null; set: Record<string, Constant> | null } {
  const written = draft.file.on_remove
  if (mode !== 'mirror') {
    if (written !== undefined && draft.own('on_remove'))
      fail('CDP1123', ['on_remove'], `on_remove goes with mode: mirror; this is ${mode}.`, 'Remove it, or set mode: mirror.', 'key')
    return { onRemove: null, set: null }
  }
  const removes = spec.removes ?? []
  const onRemove: Removal | null = written === undefined ? (removes[0] ?? null) : typeof written === 'object' ? 'set' : written
  // `none` asks nothing of the service.
  if (onRemove && onRemove !== 'none' && !removes.includes(onRemove))
    fail(
      'CDP1123',
      ['on_remove'],
      `This object can’t be removed by ${onRemove}.`,
      `It can ${[...new Set([...removes, 'none'])].join(', ')}.`,
    )
  if (typeof written !== 'object') return { onRemove, set: null }
  const set: Record<string, Constant> = {}
  if (Object.keys(written.set).length === 0)
    fail('CDP1123', ['on_remove', 'set'], 'on_remove.set names no field.', 'For example { set: { status: former } }.', 'key')
  for (const field of Object.keys(written.set)) {
    const place = draft.part.locate(['on_remove', 'set', field])
    set[field] = constantAt(place.reading, place.path)
    if (Object.hasOwn(draft.file.match ?? {}, field))
      fail(
        'CDP1123',
        ['on_remove', 'set', field],
        `"${field}" is a match field: setting it would change who the record is.`,
        undefined,
        'key',
      )
  }
  return { onRemove, set }
}

export function buildBackfill({ draft, mode, fail }: Building): boolean | null {
  const { backfill } = draft.file
  const asked = mode === 'insert' || mode === 'append'
  if (asked && backfill === undefined) {
    const hint = 'true sends today’s rows; false adopts them without sending.'
    fail('CDP1122', ['mode'], `Mode ${mode} must say backfill: true or false.`, hint)
  }
  if (!asked && backfill !== undefined && draft.own('backfill'))
    fail('CDP1122', ['backfill'], `backfill goes with insert and append; this is ${mode}.`, 'Remove it.', 'key')
  return asked ? (backfill ?? null) : null
}
