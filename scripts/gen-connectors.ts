/** The generated part of each connector's page: settings, objects and limits, from what the connector declares. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { listConnectors } from '../src/config/registry.ts'
import { toJson } from '../src/config/schema-walk.ts'
import type { Connector, Limits, ObjectSpec } from '../src/connector.ts'
import { limitsOf, specOf } from '../src/testing/ground.ts'
import type { Subject } from '../src/testing/index.ts'
import type { Op } from '../src/types.ts'
import { table } from './tables.ts'

const MARKED = /(<!-- generated: settings -->\n)[\s\S]*?(<!-- \/generated -->)/

/** Absolute path -> page, of every page with a generated part. */
export async function connectorPages(): Promise<Map<string, string>> {
  const pages = new Map<string, string>()
  for (const { name } of listConnectors(null)) {
    const file = fileURLToPath(new URL(`../docs/connectors/${name}.md`, import.meta.url))
    const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
    if (!MARKED.test(text)) continue
    const subjectFile = new URL(`../test/connectors/subjects/${name}.ts`, import.meta.url)
    const { connector, objects } = existsSync(subjectFile)
      ? fromSubject(((await import(subjectFile.href)) as { subject: Subject }).subject)
      : await alone(name)
    const made = settingsOf(connector) + objects
    pages.set(
      file,
      text.replace(MARKED, (_, head: string, tail: string) => `${head}\n${made}\n${tail}`),
    )
  }
  return pages
}

function settingsOf(connector: Connector): string {
  const options = table(toJson(connector.options))
  return `### Settings of the destination\n\n${table(toJson(connector.config))}\n### Options of a sync\n\n${options}\n`
}

function fromSubject(subject: Subject): { connector: Connector; objects: string } {
  const seen = new Set<string>()
  const rows: [string, ObjectSpec][] = []
  const limits: [string, Limits][] = []
  for (const one of subject.objects) {
    const name = subject.connector.objects[one.object] ? one.object : '*'
    if (seen.has(name)) continue
    seen.add(name)
    const spec = specOf(subject, one)
    rows.push([name, spec])
    for (const op of opsOf(spec)) limits.push([`${name}, ${op}`, limitsOf(subject, one, op)])
  }
  return { connector: subject.connector, objects: objectTable(rows) + limitTable(limits) }
}

/** A connector that the suite can't try says the same without settings. */
async function alone(name: string): Promise<{ connector: Connector; objects: string }> {
  const file = listConnectors(null).find((one) => one.name === name)?.file ?? ''
  const { default: connector } = (await import(file)) as { default: Connector }
  const specs = Object.entries(connector.objects).flatMap(([object, spec]): [string, ObjectSpec][] =>
    typeof spec === 'function' ? [] : [[object, spec]],
  )
  const limits: [string, Limits][] = typeof connector.limits === 'function' ? [] : [['any', connector.limits]]
  return { connector, objects: objectTable(specs) + limitTable(limits) }
}

const opsOf = (spec: ObjectSpec): Op[] => [
  ...new Set<Op>([
    ...spec.modes.map((mode) => (mode === 'mirror' ? ('upsert' as const) : mode)),
    ...(spec.removes ?? []).filter((how) => how === 'delete' || how === 'archive'),
  ]),
]

function objectTable(rows: readonly [string, ObjectSpec][]): string {
  const lines = rows.map(([name, spec]) => {
    const by = spec.address === 'key' ? 'the key of the row' : matchText(spec)
    const removes = spec.modes.includes('mirror') ? (spec.removes ?? ['delete']).map((how) => `\`${how}\``).join(', ') : '-'
    const repeats = Object.entries(spec.replay)
      .map(([op, what]) => `${op}: ${what}`)
      .join(', ')
    return `| \`${name}\` | ${spec.description} | ${spec.modes.join(', ')} | ${by} | ${removes} | ${spec.confirms} | ${repeats || 'none'} |`
  })
  const head = '| object | what it is | modes | found by | removed by (first: default) | confirmed per | a repeat is |'
  const notes = rows.flatMap(([name, spec]) => notesOf(name, spec))
  return `### Objects\n\n${head}\n| --- | --- | --- | --- | --- | --- | --- |\n${lines.join('\n')}\n\n${notes.length > 0 ? `${notes.join('\n')}\n\n` : ''}`
}

function matchText({ match, address, membership }: ObjectSpec): string {
  const any = typeof address === 'object' && address.match === 'any'
  const fields = Object.entries(match).map(([name, how]) => `${name === '*' ? 'any field' : `\`${name}\``} (${how})`)
  return `${any ? 'any of ' : ''}${fields.join(', ')}${membership === true ? '; a membership' : ''}`
}

function notesOf(name: string, spec: ObjectSpec): string[] {
  const notes: string[] = []
  if (typeof spec.address === 'object' && spec.address.renames === true)
    notes.push(`- \`${name}\`: a record whose match changes keeps its id, and so stays the same record.`)
  if (spec.onCreate === true) notes.push(`- \`${name}\`: \`write: on_create\` is possible.`)
  if (spec.ifEmpty === true) notes.push(`- \`${name}\`: \`write: if_empty\` is possible.`)
  if (spec.nested === true) notes.push(`- \`${name}\`: a dot in a field's name leads into a nested object.`)
  if (spec.refreshAfter !== undefined)
    notes.push(`- \`${name}\`: each member is sent again ${Math.round(spec.refreshAfter / 86_400_000)} days after it was last confirmed.`)
  return notes
}

function rate({ perSecond, windows = [] }: Limits): string {
  const parts = windows.map(({ requests, seconds }) => `${requests} in ${seconds} s`)
  return [...(perSecond === undefined ? [] : [`${perSecond} a second`]), ...parts].join(', ') || 'no limit'
}

function limitTable(rows: readonly [string, Limits][]): string {
  const lines = rows.map(
    ([name, limits]) => `| ${name} | ${limits.rows} | ${limits.bytes ?? '-'} | ${limits.concurrency} | ${rate(limits)} |`,
  )
  return `### Limits\n\n| object, operation | rows a request | bytes a request | at once | requests |\n| --- | --- | --- | --- | --- |\n${lines.join('\n')}\n`
}
