/** Writes what follows from the schemas: schema/*.json, the tables of docs/configuration.md and those of docs/connectors/. `npm run docs`. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { jsonSchema } from '../src/config/json-schema.ts'
import { listConnectors, loadConnector } from '../src/config/registry.ts'
import { duckdbSchema, environmentSchema, postgresSchema, projectSchema, snowflakeSchema, stateSchema } from '../src/config/schema.ts'
import { syncSchema } from '../src/config/schema-sync.ts'
import { toJson } from '../src/config/schema-walk.ts'
import type { Json } from '../src/config/schema-walk.ts'
import { connectorPages } from './gen-connectors.ts'
import { table } from './tables.ts'

const PAGE = fileURLToPath(new URL('../docs/configuration.md', import.meta.url))
const SCHEMAS = new URL('../schema/', import.meta.url)

/** Absolute path -> content, of every generated file. */
export async function generate(): Promise<Map<string, string>> {
  const files = new Map<string, string>()
  for (const [kind, name] of [
    ['project', 'cdp-sync'],
    ['sync', 'sync'],
  ] as const) {
    const text = `${JSON.stringify(await jsonSchema(kind), null, 2)}\n`
    files.set(fileURLToPath(new URL(`${name}.schema.json`, SCHEMAS)), text)
  }
  const tables = await allTables()
  const page = readFileSync(PAGE, 'utf8').replace(
    /(<!-- generated:([\w.]+) -->\n)[\s\S]*?(<!-- \/generated -->)/g,
    (_, head: string, name: string, tail: string) => {
      const table = tables[name]
      if (table === undefined) throw new Error(`docs/configuration.md asks for an unknown table "${name}"`)
      return `${head}${table}${tail}`
    },
  )
  for (const [file, text] of await connectorPages()) files.set(file, text)
  return files.set(PAGE, page)
}

async function allTables(): Promise<Record<string, string>> {
  const sync = toJson(syncSchema)
  const fields = at(sync, 'fields')
  return {
    project: table(toJson(projectSchema)),
    'warehouse.postgres': table(toJson(postgresSchema)),
    'warehouse.duckdb': table(toJson(duckdbSchema)),
    'warehouse.snowflake': table(toJson(snowflakeSchema)),
    connectors: await connectors(),
    state: table(toJson(stateSchema)),
    environment: table(toJson(environmentSchema)),
    sync: table(sync),
    model: table(at(sync, 'model')),
    field: table(object(fields['additionalProperties'])),
    star: table(at(fields, '*')),
    guards: table(at(sync, 'guards')),
    tolerance: table(at(sync, 'tolerance')),
  }
}

async function connectors(): Promise<string> {
  const lines: string[] = []
  for (const { name } of listConnectors(null)) {
    const { connector } = await loadConnector(null, name)
    lines.push(`| [${name}](connectors/${name}.md) | ${connector.description} |`)
  }
  return `| type | what it writes to |\n| --- | --- |\n${lines.join('\n')}\n`
}

const at = (schema: Json, key: string): Json => (schema['properties'] as Record<string, Json>)[key] ?? {}

/** The branch of a union that is a mapping. */
function object(schema: unknown): Json {
  const { anyOf } = schema as { anyOf?: Json[] }
  return anyOf?.find((branch) => branch['type'] === 'object') ?? (schema as Json)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [file, text] of await generate()) {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
  }
}
