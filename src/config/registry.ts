/** Finds connectors by name: the user's own first, then those that come along. Each loads only when a config names it. */
import { existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import * as zod from 'zod'
import type { Connector } from '../connector.ts'
import { CdpError, nearest } from '../errors.ts'
import * as api from '../index.ts'

export interface ConnectorFile {
  readonly name: string
  /** Absolute path of the module. */
  readonly file: string
  readonly builtin: boolean
}

/** connectors/ beside src/, in the repository as in the package. */
const BUILTIN = fileURLToPath(new URL('../../connectors/', import.meta.url))
const ENDING = /^([A-Za-z0-9][A-Za-z0-9_-]*)\.(ts|mts|js|mjs)$/

function scan(folder: string, builtin: boolean): Map<string, ConnectorFile> {
  return new Map([...modulesIn(folder)].map(([name, file]) => [name, { name, file, builtin }]))
}

/** The modules of a folder, name -> absolute path: `NAME.ts` or `NAME/index.ts`. Throws CDP1053 when two have one name. */
export function modulesIn(folder: string): Map<string, string> {
  const found = new Map<string, string>()
  if (!existsSync(folder)) return found
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const inner = ['index.ts', 'index.mts', 'index.js', 'index.mjs'].map((name) => join(folder, entry.name, name))
    const file = entry.isDirectory() ? inner.find((path) => existsSync(path)) : join(folder, entry.name)
    const name = entry.isDirectory() ? entry.name : ENDING.exec(entry.name)?.[1]
    if (!file || !name || /\.d\.m?ts$/.test(file)) continue
    const other = found.get(name)
    if (other) throw new CdpError('CDP1053', `Two files are connector "${name}": ${other} and ${file}.`, { hint: 'Remove one.' })
    found.set(name, file)
  }
  return found
}

/** Every connector this project can name, by name; the user's own stand before built-in ones. Throws CDP1053. */
export function listConnectors(root: string | null): ConnectorFile[] {
  const all = scan(BUILTIN, true)
  const own = root === null ? undefined : resolve(root, 'connectors')
  if (own && own !== resolve(BUILTIN)) for (const [name, file] of scan(own, false)) all.set(name, file)
  return [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Loads a connector. Throws CdpError CDP1050 (no such), CDP1051 (its file fails), CDP1052 (its file is no connector). */
export async function loadConnector(
  root: string | null,
  name: string,
): Promise<{ connector: Connector; file: ConnectorFile; warning: string | null }> {
  const all = listConnectors(root)
  const file = all.find((candidate) => candidate.name === name)
  if (!file) {
    const names = all.map((candidate) => candidate.name)
    const near = nearest(name, names)
    const hint = near ? `Did you mean "${near}"?` : `There are ${names.join(', ') || 'none'}; your own go to connectors/${name}.ts.`
    throw new CdpError('CDP1050', `There is no connector "${name}".`, { hint })
  }
  const connector = await importConnector(file)
  const shadows = !file.builtin && scan(BUILTIN, true).has(name)
  return {
    connector,
    file,
    warning: shadows ? `connectors/${name} of this project is used instead of the built-in connector "${name}".` : null,
  }
}

/** Throws CdpError CDP1051 (the file fails), CDP1052 (it is no connector). */
export async function importConnector(file: ConnectorFile): Promise<Connector> {
  let module: unknown
  try {
    module = file.builtin ? await import(/* @vite-ignore */ pathToFileURL(file.file).href) : await importUsers(file.file)
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause)
    throw new CdpError('CDP1051', `The connector "${file.name}" can’t be loaded: ${message.split('\n')[0]}`, {
      hint: `Look at ${file.file}.`,
      cause,
    })
  }
  const connector = (module as { default?: unknown }).default
  const fault = faultOf(connector, file.name)
  if (fault)
    throw new CdpError('CDP1052', `${file.file} ${fault}.`, { hint: 'Its default export must be made with defineConnector({ … }).' })
  return connector as Connector
}

/**
 * A user's project may have no node_modules at all: 'cdp-sync' and 'zod' are handed in as they are here, so that an
 * error thrown by the connector is of the class that the engine knows. TypeScript works on every Node that way.
 */
async function importUsers(path: string): Promise<unknown> {
  // Loaded here, for only a user's own connector needs it.
  const { createJiti } = await import('jiti')
  const jiti = createJiti(import.meta.url, { fsCache: false, interopDefault: false, virtualModules: { 'cdp-sync': api, zod } })
  return jiti.import(pathToFileURL(path).href)
}

function faultOf(value: unknown, name: string): string | null {
  if (typeof value !== 'object' || value === null) return 'has no default export'
  const connector = value as Partial<Record<keyof Connector, unknown>>
  for (const key of ['config', 'options'] as const) {
    if (typeof (connector[key] as { safeParse?: unknown } | undefined)?.safeParse !== 'function') return `has no zod schema in "${key}"`
  }
  if (typeof connector.objects !== 'object' || connector.objects === null || Object.keys(connector.objects).length === 0)
    return 'has no objects'
  if (typeof connector.limits !== 'object' && typeof connector.limits !== 'function') return 'has no limits'
  if (typeof connector.open !== 'function') return 'has no function open'
  if (typeof connector.version !== 'number') return 'has no version'
  if (connector.name !== name) return `calls itself "${String(connector.name)}", but its file is "${name}"`
  return null
}
