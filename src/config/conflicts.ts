/** Checks syncs against each other: names, depends_on, and two syncs that write one thing. */
import { isDeepStrictEqual } from 'node:util'
import { nearest } from '../errors.ts'
import { valueAt } from './check.ts'
import { spotAt } from './source.ts'
import type { Path, Problem } from './source.ts'
import type { SyncDraft } from './sync.ts'
import type { Sync } from './types.ts'

function at(draft: SyncDraft, path: Path, side?: 'key' | 'value'): Problem['spot'] {
  const place = draft.part.locate(path)
  return spotAt(place.reading.source, place.path, side)
}

/** Names are unique without regard to case: they become file names. */
export function checkNames(drafts: readonly SyncDraft[], problems: Problem[]): void {
  const seen = new Map<string, SyncDraft>()
  for (const draft of drafts) {
    const other = seen.get(draft.name.toLowerCase())
    if (other) {
      const message = `Two syncs are called "${draft.name}": ${other.reading.source.file} and ${draft.reading.source.file}.`
      problems.push({ code: 'CDP1101', message, hint: 'Rename one; state is kept by name.', spot: at(draft, ['name']) })
    }
    seen.set(draft.name.toLowerCase(), draft)
  }
  for (const draft of drafts) {
    const from = draft.file.renamed_from
    if (from === undefined || !seen.has(from)) continue
    const message = `renamed_from: ${from} is a sync of this project, so its state is in use.`
    problems.push({ code: 'CDP1102', message, hint: 'Name a sync that is no more.', spot: at(draft, ['renamed_from']) })
  }
}

/** Every name in `depends_on` of an active sync is an active sync, and none depends on itself. */
export function checkDependencies(drafts: readonly SyncDraft[], problems: Problem[]): void {
  const byName = new Map(drafts.map((draft) => [draft.name, draft]))
  for (const draft of drafts) {
    for (const [i, name] of (draft.file.depends_on ?? []).entries()) {
      const other = byName.get(name)
      const spot = at(draft, ['depends_on', i])
      if (!other) {
        const near = nearest(name, byName.keys())
        problems.push({ code: 'CDP1150', message: `There is no sync "${name}".`, hint: near ? `Did you mean "${near}"?` : undefined, spot })
      } else if (draft.active && !other.active) {
        const message = `"${draft.name}" depends on "${name}", which is disabled here.`
        problems.push({ code: 'CDP1152', message, hint: `Enable ${other.reading.source.file}, or disable this sync too.`, spot })
      }
    }
  }
  reportCycles(drafts, byName, problems)
}

function reportCycles(drafts: readonly SyncDraft[], byName: ReadonlyMap<string, SyncDraft>, problems: Problem[]): void {
  const done = new Set<string>()
  const visit = (draft: SyncDraft, trail: readonly string[]): void => {
    const start = trail.indexOf(draft.name)
    if (start >= 0) {
      const message = `Syncs depend on each other in a circle: ${[...trail.slice(start), draft.name].join(' → ')}.`
      problems.push({ code: 'CDP1151', message, hint: 'Take one of them out of depends_on.', spot: at(draft, ['depends_on'], 'key') })
      return
    }
    if (done.has(draft.name)) return
    for (const name of draft.file.depends_on ?? []) {
      const next = byName.get(name)
      if (next) visit(next, [...trail, draft.name])
    }
    done.add(draft.name)
  }
  for (const draft of drafts) visit(draft, [])
}

/** Two active syncs with one target that write one field, or that both mirror it, would undo each other for ever. */
export function checkTargets(built: readonly { readonly draft: SyncDraft; readonly sync: Sync }[], problems: Problem[]): void {
  const writers = built.filter(({ draft, sync }) => draft.active && sync.mode !== 'append' && !sync.spec.namesSync)
  for (const [i, { draft, sync }] of writers.entries()) {
    for (const { sync: other } of writers.slice(0, i)) {
      if (!sameTarget(sync, other)) continue
      const place = `${other.file} and ${sync.file}`
      const field = sync.fields.find((candidate) => other.fields.some((theirs) => theirs.name === candidate.name))
      if (sync.mode === 'mirror' && other.mode === 'mirror') {
        const message = `Two syncs mirror ${sync.object} of "${sync.destination.name}": ${place}.`
        const hint = 'Each would remove what the other puts there: make one model of the two, or use mode: upsert.'
        problems.push({ code: 'CDP1161', message, hint, spot: at(draft, ['mode']) })
      } else if (field) {
        const message = `Two syncs write "${field.name}" of ${sync.object} at "${sync.destination.name}": ${place} (${other.locate(['fields', field.name])}).`
        problems.push({ code: 'CDP1160', message, hint: 'Let one of them write it.', spot: at(draft, ['fields', field.name], 'key') })
      }
    }
  }
}

function sameTarget(a: Sync, b: Sync): boolean {
  const sameAccount =
    a.destination.name === b.destination.name ||
    (a.destination.connector.name === b.destination.connector.name && isDeepStrictEqual(a.destination.config, b.destination.config))
  if (!sameAccount || a.object !== b.object) return false
  return (a.spec.targetOptions ?? []).every((name) =>
    isDeepStrictEqual(valueAt(a.options, name.split('.')), valueAt(b.options, name.split('.'))),
  )
}
