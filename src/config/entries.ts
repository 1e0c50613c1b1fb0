/** Builds the entries of `warehouses` and `destinations`, and collects the secrets they carry. */
import { resolve } from 'node:path'
import type { z } from 'zod'
import { CdpError } from '../errors.ts'
import { check, partOf, startsWith, valueAt } from './check.ts'
import type { Part } from './check.ts'
import { loadConnector } from './registry.ts'
import { duckdbSchema, postgresSchema, snowflakeSchema } from './schema.ts'
import { secretPaths, toJson } from './schema-walk.ts'
import { hide, spotAt, whereOf } from './source.ts'
import type { Path, Problem } from './source.ts'
import type { DestinationEntry, WarehouseEntry } from './types.ts'
import { pathKey } from './values.ts'
import type { Reading } from './values.ts'

/** What building a project collects on its way. */
export interface Collected {
  readonly root: string
  readonly problems: Problem[]
  readonly secrets: Set<string>
  readonly warnings: Set<string>
}

const WAREHOUSES = { postgres: postgresSchema, duckdb: duckdbSchema, snowflake: snowflakeSchema } as const
type WarehouseFile = z.output<(typeof WAREHOUSES)[keyof typeof WAREHOUSES]>

/** Null when the entry has problems, which are then reported. */
export function buildWarehouse(project: Reading, path: Path, into: Collected): WarehouseEntry | null {
  const name = String(path.at(-1))
  const type = valueAt(project.value, [...path, 'type'])
  if (type !== 'postgres' && type !== 'duckdb' && type !== 'snowflake') return null
  const part = partOf(project, path, name, true)
  const schema = WAREHOUSES[type]
  collectSecrets(part, schema, into)
  const before = into.problems.length
  const checked = check<WarehouseFile>(schema, part, into.problems)
  if (into.problems.length > before) return null
  // Without problems and without a value: variables are missing. Then either that is reported, or nothing here uses it.
  const { type: _, ...settings } = checked ?? { type }
  if ('path' in settings && settings.path !== undefined) settings.path = resolve(into.root, settings.path)
  return { name, type, settings, where: whereOf(spotAt(project.source, path, 'key')) }
}

/** Null when the entry has problems, which are then reported. `config` is undefined where variables are missing. */
export async function buildDestination(project: Reading, path: Path, into: Collected): Promise<DestinationEntry | null> {
  const name = String(path.at(-1))
  const entry = valueAt(project.value, path)
  if (typeof entry !== 'object' || entry === null || typeof (entry as { type?: unknown }).type !== 'string') return null
  const { type, ...value } = entry as { type: string }
  try {
    const { connector, warning } = await loadConnector(into.root, type)
    if (warning) into.warnings.add(warning)
    const part = { ...partOf(project, path, name, true), value }
    collectSecrets(part, connector.config, into)
    const before = into.problems.length
    const config = check(connector.config, part, into.problems)
    return into.problems.length > before ? null : { name, connector, config, where: whereOf(spotAt(project.source, path, 'key')) }
  } catch (error) {
    if (!(error instanceof CdpError)) throw error
    into.problems.push({ code: error.code, message: error.message, hint: error.hint, spot: spotAt(project.source, [...path, 'type']) })
    return null
  }
}

/** Shorter values would blot out half of every message. Secrets proper are taken at any length. */
const MIN_SECRET = 6

/**
 * Takes every value that must never be shown: what stands in a `secret()` setting or comes from the environment or a
 * file into `headers`, passwords of URLs, and all else from outside that is 6 characters or longer.
 */
export function collectSecrets(part: Part, schema: z.ZodType, into: Collected): void {
  const { value } = part
  const add = (text: unknown): void => {
    if (typeof text === 'string' || typeof text === 'number') addSecret(String(text), into.secrets)
  }
  for (const path of secretPaths(toJson(schema), value)) {
    const place = part.locate(path)
    const variable = place.reading.variables.get(pathKey(place.path))
    add(valueAt(value, path))
    if (variable) for (const text of variable.external) add(text)
    else hide(place.reading.source, place.path)
  }
  const base = part.locate([])
  for (const { path, external } of base.reading.variables.values()) {
    if (!startsWith(path, base.path)) continue
    const header = path.includes('headers')
    for (const text of external) if (header || text.length >= MIN_SECRET) add(text)
  }
  visitStrings(value, (text) => {
    for (const password of urlPasswords(text)) add(password)
  })
}

function addSecret(text: string, secrets: Set<string>): void {
  if (text.trim() === '') return
  secrets.add(text)
  secrets.add(text.trim())
}

/** The passwords of all URLs in a text, as written and decoded: drivers report the one or the other. */
export function urlPasswords(text: string): string[] {
  const found: string[] = []
  for (const match of text.matchAll(/:\/\/[^:@/?#\s]*:([^\s]*)@/g)) {
    const password = match[1] ?? ''
    if (password === '') continue
    found.push(password)
    try {
      found.push(decodeURIComponent(password))
    } catch {
      // A lone % is no escape: the text as written is all there is.
    }
  }
  return [...new Set(found)]
}

function visitStrings(value: unknown, take: (text: string) => void): void {
  if (typeof value === 'string') take(value)
  else if (typeof value === 'object' && value !== null) for (const member of Object.values(value)) visitStrings(member, take)
}
