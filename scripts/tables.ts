/** Tables of settings from JSON Schema, for the generated parts of the documentation. */
import type { Json } from '../src/config/schema-walk.ts'

export function table(schema: Json): string {
  const required = new Set((schema['required'] as string[] | undefined) ?? [])
  const rows = Object.entries((schema['properties'] as Record<string, Json> | undefined) ?? {})
  if (rows.length === 0) return 'No settings.\n'
  const lines = rows.map(([key, value]) => {
    const about = [describe(value), required.has(key) ? 'Required.' : '', fallback(value)].filter(Boolean).join(' ')
    return `| \`${key}\` | ${type(value)} | ${about.replaceAll('|', '\\|')} |`
  })
  return `| key | value | meaning |\n| --- | --- | --- |\n${lines.join('\n')}\n`
}

function describe(schema: Json): string {
  const text = schema['description']
  return `${typeof text === 'string' ? text : ''}${schema['secret'] === true ? ' Secret: never shown.' : ''}`
}

const fallback = (schema: Json): string => ('default' in schema ? `Default: \`${JSON.stringify(schema['default'])}\`.` : '')

function type(schema: Json): string {
  const inner = (schema['anyOf'] ?? schema['oneOf']) as Json[] | undefined
  if (inner) return [...new Set(inner.map(type))].join(' or ')
  if ('const' in schema) return `\`${String(schema['const'])}\``
  if (Array.isArray(schema['enum'])) return (schema['enum'] as unknown[]).map((word) => `\`${String(word)}\``).join(', ')
  if (schema['type'] === 'array') return `list of ${type((schema['items'] as Json | undefined) ?? {})}`
  const words: Record<string, string> = {
    string: 'text',
    integer: 'whole number',
    number: 'number',
    boolean: '`true`, `false`',
    object: 'mapping',
  }
  const types = [schema['type']].flat().map((name) => words[String(name)] ?? 'anything')
  return [...new Set(types)].join(' or ')
}
