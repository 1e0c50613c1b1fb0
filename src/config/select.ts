/** Chooses syncs by the selectors of the command line. */
import { CdpError, nearest } from '../errors.ts'
import { compare } from './source.ts'
import type { Project, Sync } from './types.ts'

/** True when the sync runs in the chosen environment. */
export function isActive(sync: Pick<Sync, 'enabled' | 'environments'>, project: Pick<Project, 'environment'>): boolean {
  return sync.enabled && (sync.environments === null || (project.environment !== null && sync.environments.includes(project.environment)))
}

/**
 * The syncs named by `selectors`, without those named by `exclude`, each after the ones it depends on, ties by name.
 * A selector is a name, a glob (`crm-*`), `tag:NAME`, `destination:NAME`; with `+` before it also everything it
 * depends on. No selector means every sync that runs in this environment.
 * Throws CdpError CDP1200 (unknown) and CDP1201 (disabled).
 */
export function select(project: Project, selectors: readonly string[] = [], exclude: readonly string[] = []): Sync[] {
  const chosen = new Set<Sync>()
  for (const selector of selectors.length ? selectors : ['*']) for (const sync of matching(project, selector)) chosen.add(sync)
  for (const selector of exclude) for (const sync of matching(project, selector, true)) chosen.delete(sync)
  return inOrder(
    project.syncs.filter((sync) => chosen.has(sync)),
    project,
  )
}

function matching(project: Project, selector: string, excluding = false): Sync[] {
  const upstream = selector.startsWith('+')
  const term = upstream ? selector.slice(1) : selector
  const named = project.syncs.filter(matcher(term, project))
  const found = named.filter((sync) => isActive(sync, project))
  if (named.length === 0 && term !== '*') throw unknown(term, project)
  // What is left out may as well be disabled; a pattern passes over what is.
  if (found.length === 0 && named.length > 0 && !excluding && term !== '*') throw disabled(term, named, project)
  return upstream ? withUpstream(found, project) : found
}

function matcher(term: string, project: Project): (sync: Sync) => boolean {
  const [, kind, name = ''] = /^(tag|destination):(.*)$/s.exec(term) ?? []
  if (kind === 'tag') return (sync) => sync.tags.some((tag) => glob(name).test(tag))
  if (kind === 'destination') return (sync) => glob(name).test(sync.destination.name)
  const exact = project.syncs.find((sync) => sync.name === term)
  return exact ? (sync) => sync === exact : (sync) => glob(term).test(sync.name)
}

/** `*` any characters, `?` one. */
const glob = (pattern: string): RegExp =>
  new RegExp(
    `^${pattern
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.')}$`,
  )

function unknown(term: string, project: Project): CdpError {
  const [, kind] = /^(tag|destination):/.exec(term) ?? []
  const names =
    kind === 'tag'
      ? project.syncs.flatMap((sync) => sync.tags)
      : kind === 'destination'
        ? Object.keys(project.destinations)
        : project.syncs.map((sync) => sync.name)
  const near = nearest(kind ? term.slice(kind.length + 1) : term, names)
  const list = [...new Set(names)].sort(compare).join(', ')
  const hint = near ? `Did you mean "${kind ? `${kind}:` : ''}${near}"?` : list ? `There are ${list}.` : 'There are none.'
  const message = kind ? `No sync has the ${kind} "${term.slice(kind.length + 1)}".` : `No sync is called "${term}".`
  return new CdpError('CDP1200', message, { hint })
}

function disabled(term: string, named: readonly Sync[], project: Project): CdpError {
  const [sync] = named
  const message =
    named.length > 1
      ? `Every sync that "${term}" names is disabled here.`
      : `The sync "${sync?.name}" is disabled${sync?.enabled ? ` in environment "${project.environment}"` : ''}.`
  const hint = sync?.enabled ? `It runs in ${sync.environments?.join(', ')}.` : `Remove enabled: false from ${sync?.file}.`
  return new CdpError('CDP1201', message, { ...(sync ? { where: sync.where } : {}), hint })
}

function withUpstream(syncs: readonly Sync[], project: Project): Sync[] {
  const byName = new Map(project.syncs.map((sync) => [sync.name, sync]))
  const all = new Set(syncs)
  // A set hands out what is added while it is walked.
  for (const sync of all) {
    for (const name of sync.dependsOn) {
      const upstream = byName.get(name)
      if (upstream) all.add(upstream)
    }
  }
  return [...all]
}

/** Upstream first, ties by name; what stands between two chosen syncs counts though it was not chosen. */
function inOrder(syncs: readonly Sync[], project: Project): Sync[] {
  const left = new Set([...syncs].sort((a, b) => compare(a.name, b.name)))
  const upstream = new Map(syncs.map((sync) => [sync, withUpstream([sync], project).filter((other) => other !== sync)]))
  const out: Sync[] = []
  while (left.size) {
    // Circles are refused when a project is loaded, so there always is one.
    const next = [...left].find((sync) => !upstream.get(sync)?.some((other) => left.has(other)))
    if (!next) throw new Error('syncs depend on each other in a circle')
    left.delete(next)
    out.push(next)
  }
  return out
}
