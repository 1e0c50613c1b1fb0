/** The JSON Schemas of both files, for editors: what zod says, with variables allowed wherever a scalar is. */
import { listConnectors, loadConnector } from './registry.ts'
import { projectSchema } from './schema.ts'
import { syncSchema } from './schema-sync.ts'
import { toJson } from './schema-walk.ts'
import type { Json } from './schema-walk.ts'

const VARIABLE = { $ref: '#/definitions/variable' }
const DEFINITIONS = {
  variable: {
    type: 'string',
    pattern: '\\$\\{(env|file|var):[^}]+\\}',
    description: '${env:NAME}, ${env:NAME:-default}, ${file:path} or ${var:name}',
  },
}

/**
 * The JSON Schema (draft 7) of cdp-sync.yaml or of a sync's file. Destinations are described by the built-in connectors'
 * own schemas; any other type is a connector of the project and may hold what it likes.
 */
export async function jsonSchema(kind: 'project' | 'sync'): Promise<Json> {
  const schema = allowVariables(toJson(kind === 'project' ? projectSchema : syncSchema)) as Record<string, unknown>
  const definitions: Record<string, unknown> = { ...(schema['definitions'] as object | undefined), ...DEFINITIONS }
  if (kind === 'project') {
    definitions['destination'] = await destinations(definitions)
    pointToDestinations(schema)
  }
  return { ...schema, title: kind === 'project' ? 'cdp-sync project' : 'cdp-sync sync', definitions }
}

async function destinations(definitions: Record<string, unknown>): Promise<Json> {
  const branches: Json[] = []
  const names = listConnectors(null).map((file) => file.name)
  for (const name of names) {
    const { connector } = await loadConnector(null, name)
    const { $schema: _, definitions: own, ...config } = allowVariables(toJson(connector.config)) as Record<string, unknown>
    Object.assign(definitions, own)
    const type = { const: name, description: connector.description }
    const properties = { type, ...(config['properties'] as object | undefined) }
    const required = ['type', ...((config['required'] as string[] | undefined) ?? [])]
    branches.push({ ...config, title: name, type: 'object', properties, required })
  }
  const other = {
    title: 'a connector of this project',
    type: 'object',
    properties: { type: { type: 'string', not: { enum: names } } },
    required: ['type'],
  }
  return { description: 'A configured account of a connector.', oneOf: [...branches, other] }
}

/** `destinations` stands in the project and in each environment. */
function pointToDestinations(schema: Json): void {
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return
    const properties = (node as { properties?: Record<string, Record<string, unknown>> }).properties
    const entry = properties?.['destinations']
    if (entry && entry['type'] === 'object') entry['additionalProperties'] = { $ref: '#/definitions/destination' }
    for (const member of Object.values(node)) visit(member)
  }
  visit(schema)
}

/** Where a number, true or false, a word of a list or text of a form is wanted, a variable may stand. */
function allowVariables(node: unknown, isKey = false): unknown {
  if (Array.isArray(node)) return node.map((member) => allowVariables(member))
  if (typeof node !== 'object' || node === null) return node
  const schema: Record<string, unknown> = {}
  for (const [key, member] of Object.entries(node)) {
    if (key === 'properties' || key === 'definitions') schema[key] = mapValues(member as Json, (value) => allowVariables(value))
    else
      schema[key] = ['enum', 'const', 'default', 'required', 'examples'].includes(key)
        ? member
        : allowVariables(member, key === 'propertyNames')
  }
  if (isKey || !isNarrow(schema)) return schema
  const { description, default: fallback, ...rest } = schema
  return {
    ...(description === undefined ? {} : { description }),
    ...(fallback === undefined ? {} : { default: fallback }),
    anyOf: [rest, VARIABLE],
  }
}

const mapValues = (object: Json, change: (value: unknown) => unknown): Json =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]))

function isNarrow(schema: Json): boolean {
  if ('const' in schema) return false
  const types = [schema['type']].flat()
  return (
    types.some((type) => type === 'number' || type === 'integer' || type === 'boolean') ||
    'enum' in schema ||
    ('pattern' in schema && types.includes('string'))
  )
}
