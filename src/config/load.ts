/** Loads a project: reads every file, and either gives all of it, checked, or says everything that is wrong with it. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { isMap, isScalar } from 'yaml'
import { CdpError, nearest } from '../errors.ts'
import { check, partOf, reportMissing, valueAt } from './check.ts'
import { checkDependencies, checkNames, checkTargets } from './conflicts.ts'
import { buildDestination, buildWarehouse } from './entries.ts'
import type { Collected } from './entries.ts'
import { PROJECT_FILE } from './find.ts'
import { newScope } from './interpolate.ts'
import type { Scope, Variable } from './interpolate.ts'
import { projectSchema } from './schema.ts'
import { compare, keyText, nodeAt, parseSource, spotAt, toConfigErrors } from './source.ts'
import type { Path, Problem, Source } from './source.ts'
import { readState, statePath, stateWarehouse } from './state.ts'
import { buildSync, draftSync } from './sync.ts'
import type { SyncDraft } from './sync.ts'
import type { Project, Sync, VariableUse } from './types.ts'
import { readSource, scalarConstant } from './values.ts'
import type { Reading } from './values.ts'

export interface LoadOptions {
  /** Absolute path of the project folder (`findRoot`). */
  readonly root: string
  /** `--env`. */
  readonly env?: string | undefined
  /** `--var name=value`. */
  readonly vars?: Readonly<Record<string, string>> | undefined
  /** The environment, in place of process.env. `.env` in the root stands behind it. */
  readonly environ: Readonly<Record<string, string | undefined>>
}

/** Throws ConfigErrors with every problem of every file, by file and line. */
export async function loadProject(options: LoadOptions): Promise<Project> {
  const problems: Problem[] = []
  const environ = { ...readDotEnv(options.root), ...options.environ }
  const source = parseSource(PROJECT_FILE, readText(options.root, PROJECT_FILE), problems)
  const sources = syncFiles(options.root).map((file) => parseSource(file, readText(options.root, file), problems))
  if (!source) throw toConfigErrors(problems)
  const environment = chooseEnvironment(source, options.env, environ['CDP_SYNC_ENV'], problems)
  if (environment === undefined) throw toConfigErrors(problems)

  const scope = newScope(options.root, environ, collectVars(source, environment, options.vars ?? {}))
  const project = readSource(source, scope, problems)
  if (!project) throw toConfigErrors(problems)
  check(projectSchema, partOf(project, [], PROJECT_FILE, true), problems)
  const environments = Object.keys(objectAt(project, ['environments']))
  const drafts = sources.flatMap((sync) => {
    const reading = sync && readSource(sync, scope, problems)
    const draft = reading && draftSync(reading, project, environment, environments, problems)
    return draft ? [draft] : []
  })

  const into: Collected = { root: options.root, problems, secrets: new Set(), warnings: new Set() }
  const places = { warehouses: placesOf(project, 'warehouses', environment), destinations: placesOf(project, 'destinations', environment) }
  reportUsed(project, drafts, environment, places, problems)
  const syncs = await buildSyncs(project, drafts, scope, places, into)
  const state = readState(project, environment, {
    root: options.root,
    warehouses: places.warehouses.chosen,
    used: warehousesOf(drafts, places.warehouses.chosen),
    problems,
  })
  const name = valueAt(project.value, ['project'])
  const stray = strayVars(options.vars ?? {}, project, scope)
  if (problems.length || stray.length || !state) throw toConfigErrors(problems, stray)
  return {
    root: options.root,
    name: typeof name === 'string' ? name : null,
    environment,
    ...syncs.entries,
    state,
    syncs: syncs.built,
    secrets: [...into.secrets],
    variables: usesOf(scope),
    warnings: [...into.warnings],
  }
}

function readText(root: string, file: string): string {
  try {
    return readFileSync(join(root, file), 'utf8').replace(/^\uFEFF/, '')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? ''
    throw new CdpError('CDP1002', `${file} can’t be read (${code}).`, { where: file, hint: 'Check the file and its permissions.', cause })
  }
}

function readDotEnv(root: string): Record<string, string | undefined> {
  try {
    return parseEnv(readFileSync(join(root, '.env'), 'utf8'))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw new CdpError('CDP1002', '.env can’t be read.', { where: '.env', hint: 'Check the file and its permissions.', cause })
  }
}

/** `syncs/**` by name, with forward slashes on every system. */
function syncFiles(root: string): string[] {
  const visit = (folder: string): string[] =>
    readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
      if (entry.name.startsWith('.')) return []
      if (entry.isDirectory()) return visit(`${folder}/${entry.name}`)
      return /\.ya?ml$/.test(entry.name) ? [`${folder}/${entry.name}`] : []
    })
  try {
    return visit('syncs').sort(compare)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new CdpError('CDP1002', 'The folder syncs can’t be read.', { where: 'syncs', hint: 'Check its permissions.', cause })
  }
}

/** The environment's name; null where the file has none; undefined when none was chosen that exists. */
function chooseEnvironment(
  source: Source,
  flag: string | undefined,
  variable: string | undefined,
  problems: Problem[],
): string | null | undefined {
  const node = nodeAt(source, ['environments'])
  const names = isMap(node) ? node.items.map((item) => keyText(item.key) ?? '') : []
  const chosen = flag ?? (variable === '' ? undefined : variable)
  const spot = spotAt(source, ['environments'], 'key')
  const list = `There are ${names.join(', ')}.`
  if (names.length === 0) {
    if (flag === undefined) return null
    problems.push({
      code: 'CDP1031',
      message: `There is no environment "${flag}": ${PROJECT_FILE} has no environments.`,
      hint: 'Leave --env out.',
      spot,
    })
    return undefined
  }
  if (chosen === undefined) {
    problems.push({ code: 'CDP1030', message: 'No environment was chosen.', hint: `${list} Choose with --env NAME or CDP_SYNC_ENV.`, spot })
    return undefined
  }
  if (names.includes(chosen)) return chosen
  const near = nearest(chosen, names)
  problems.push({ code: 'CDP1031', message: `There is no environment "${chosen}".`, hint: near ? `Did you mean "${near}"?` : list, spot })
  return undefined
}

/** `vars`, then those of the environment, then the command line's. */
function collectVars(source: Source, environment: string | null, given: Readonly<Record<string, string>>): Map<string, Variable> {
  const vars = new Map<string, Variable>()
  for (const path of [['vars'], ...(environment === null ? [] : [['environments', environment, 'vars']])]) {
    const node = nodeAt(source, path)
    if (!isMap(node)) continue
    for (const { key } of node.items) {
      const name = keyText(key)
      const value = name === null ? null : nodeAt(source, [...path, name])
      if (name === null || !isScalar(value)) continue
      const constant = scalarConstant(value)
      if ('text' in constant) vars.set(name, { text: constant.text, spot: spotAt(source, [...path, name]) })
    }
  }
  for (const [name, text] of Object.entries(given)) vars.set(name, { text, spot: null })
  return vars
}

function objectAt(reading: Reading, path: Path): Record<string, unknown> {
  const value = valueAt(reading.value, path)
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

type Section = 'warehouses' | 'destinations'
interface Places {
  /** Where each entry of the chosen environment stands. */
  readonly chosen: ReadonlyMap<string, Path>
  /** Entries that only other environments have: syncs that do not run here may name them. */
  readonly others: ReadonlyMap<string, Path>
}

function placesOf(project: Reading, section: Section, environment: string | null): Places {
  const chosen = new Map<string, Path>()
  for (const base of [[section], ...(environment === null ? [] : [['environments', environment, section]])])
    for (const name of Object.keys(objectAt(project, base))) chosen.set(name, [...base, name])
  const others = new Map<string, Path>()
  for (const other of Object.keys(objectAt(project, ['environments'])))
    for (const name of Object.keys(objectAt(project, ['environments', other, section])))
      if (!chosen.has(name)) others.set(name, ['environments', other, section, name])
  return { chosen, others }
}

/** Missing variables are errors only in what runs here. */
function reportUsed(
  project: Reading,
  drafts: readonly SyncDraft[],
  environment: string | null,
  places: Record<Section, Places>,
  problems: Problem[],
): void {
  const bases: Path[] = [['project'], statePath(project, environment)]
  for (const draft of drafts.filter((draft) => draft.active)) {
    reportMissing(draft.reading, [], problems)
    bases.push(['defaults'])
    if (environment !== null) bases.push(['environments', environment, 'defaults'])
    const destination = places.destinations.chosen.get(draft.file.destination ?? '')
    if (destination) bases.push(destination)
  }
  const warehouses = places.warehouses.chosen
  for (const name of [...warehousesOf(drafts, warehouses), stateWarehouse(project, environment) ?? '']) {
    const path = warehouses.get(name)
    if (path) bases.push(path)
  }
  for (const base of bases) reportMissing(project, base, problems)
}

/** Names of the warehouses that the syncs which run here are read from. */
function warehousesOf(drafts: readonly SyncDraft[], chosen: ReadonlyMap<string, Path>): Set<string> {
  const only = chosen.size === 1 ? [...chosen.keys()][0] : undefined
  return new Set(drafts.filter((draft) => draft.active).flatMap((draft) => draft.file.warehouse ?? only ?? []))
}

async function buildAll<T>(places: ReadonlyMap<string, Path>, build: (path: Path) => T | Promise<T>): Promise<Map<string, T>> {
  const entries = new Map<string, T>()
  for (const [name, path] of places) entries.set(name, await build(path))
  return entries
}

async function buildSyncs(project: Reading, drafts: readonly SyncDraft[], scope: Scope, places: Record<Section, Places>, into: Collected) {
  const warehouse = (path: Path) => buildWarehouse(project, path, into)
  const destination = (path: Path) => buildDestination(project, path, into)
  const here = {
    warehouses: await buildAll(places.warehouses.chosen, warehouse),
    destinations: await buildAll(places.destinations.chosen, destination),
  }
  const elsewhere = {
    warehouses: new Map([...(await buildAll(places.warehouses.others, warehouse)), ...here.warehouses]),
    destinations: new Map([...(await buildAll(places.destinations.others, destination)), ...here.destinations]),
  }
  const destinationAt = (name: string) => ({
    reading: project,
    path: places.destinations.chosen.get(name) ?? places.destinations.others.get(name) ?? [],
  })
  const built = drafts.flatMap((draft) => {
    const sync = buildSync(draft, { ...into, scope, destinationAt, ...(draft.active ? here : elsewhere) })
    return sync ? [{ draft, sync }] : []
  })
  checkNames(drafts, into.problems)
  checkDependencies(drafts, into.problems)
  checkTargets(built, into.problems)
  const syncs: Sync[] = built.map(({ sync }) => sync).sort((a, b) => compare(a.name, b.name))
  return { built: syncs, entries: { warehouses: present(here.warehouses), destinations: present(here.destinations) } }
}

const present = <T>(entries: ReadonlyMap<string, T | null>): Record<string, T> =>
  Object.fromEntries([...entries].filter((entry): entry is [string, T] => entry[1] !== null))

/** A `--var` that nothing declares and nothing reads is a typing mistake. */
function strayVars(given: Readonly<Record<string, string>>, project: Reading, scope: Scope): CdpError[] {
  const known = new Set(scope.uses.filter((use) => use.kind === 'var').map((use) => use.name))
  for (const name of Object.keys(objectAt(project, ['vars']))) known.add(name)
  for (const other of Object.keys(objectAt(project, ['environments'])))
    for (const name of Object.keys(objectAt(project, ['environments', other, 'vars']))) known.add(name)
  return Object.keys(given)
    .filter((name) => !known.has(name))
    .map((name) => {
      const near = nearest(name, known)
      return new CdpError('CDP1032', `--var ${name}: nothing reads a variable of this name.`, {
        hint: near ? `Did you mean ${near}?` : 'Leave it out.',
      })
    })
}

function usesOf(scope: Scope): VariableUse[] {
  const uses = new Map(scope.uses.map((use) => [`${use.kind} ${use.name} ${use.where}`, use]))
  return [...uses.values()]
}
