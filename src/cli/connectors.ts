/** `cdp-sync connectors`: what can be written to, and how; the page of one; a new one of the user's own. */
import type { Command } from 'commander'
import type { Connector, ObjectSpec } from '../connector.ts'
import { CdpError } from '../errors.ts'
import { hang, table } from '../render/text.ts'
import { jsonFlag, type Act } from './options.ts'
import type { Session } from './session.ts'

interface Flags {
  json?: boolean
}

export function connectorsCommand(program: Command, act: Act): void {
  const command = program
    .command('connectors')
    .description("built-in connectors and the project's own, with their objects and modes; one with its settings")
    .argument('[name]', 'the connector to tell everything of')
    .addOption(jsonFlag())
    .action(act(async (session, name: string | undefined, flags: Flags) => (name === undefined ? list : page(name))(session, flags)))
  command
    .command('new')
    .description('write connectors/NAME.ts, a working skeleton, and a test of it')
    .argument('<name>', 'small letters, digits and hyphens')
    .action(
      act(async (session, name: string) => {
        const { newConnector } = await import('../scaffold/write.ts')
        await newConnector(session, (await rootOrNull(session)) ?? session.io.cwd, name)
      }),
    )
}

interface Entry {
  name: string
  description: string
  builtin: boolean
  objects: {
    name: string
    description: string
    modes: readonly string[]
    address: string
    match: Readonly<Record<string, string>>
    removes: readonly string[]
  }[]
}

async function list(session: Session, flags: Flags): Promise<void> {
  const { listConnectors, loadConnector } = await import('../config/registry.ts')
  const root = await rootOrNull(session)
  const entries: Entry[] = []
  for (const { name, builtin } of listConnectors(root)) entries.push(entryOf((await loadConnector(root, name)).connector, builtin))
  if (flags.json) return printJson(session, { format_version: 1, connectors: entries })
  const rows = entries.flatMap((it) =>
    it.objects.map(({ name, modes, address }) => [it.name, name, modes.join(','), address, it.builtin ? 'built-in' : "this project's"]),
  )
  session.print(table(['connector', 'object', 'modes', 'address', 'from'], rows))
}

const page = (name: string) => async (session: Session, flags: Flags) => {
  const [{ loadConnector }, { toJson }] = await Promise.all([import('../config/registry.ts'), import('../config/schema-walk.ts')])
  const { connector, file } = await loadConnector(await rootOrNull(session), name)
  const entry = entryOf(connector, file.builtin)
  const [settings, options] = [toJson(connector.config), toJson(connector.options)]
  if (flags.json) return printJson(session, { format_version: 1, connector: { ...entry, settings, options } })
  const width = session.io.stdout.columns
  const lines = [
    ...hang(`${name}: `, entry.description, width, 2),
    file.builtin ? `  docs/connectors/${name}.md has examples, permissions and limits.` : `  ${file.file}`,
    '',
    'settings, below `destinations:`',
    ...settingsOf(settings, width),
    '',
    'options of a sync',
    ...settingsOf(options, width),
  ]
  for (const { name: object, description, modes, address, match, removes } of entry.objects) {
    const fields = Object.entries(match).map(([field, form]) => `${field === '*' ? 'any field' : field} (${form})`)
    lines.push('', ...hang(`object ${object}: `, description, width, 2), `  modes    ${modes.join(', ')}`)
    lines.push(...hang('  address  ', fields.length > 0 ? `${address}: ${fields.join(', ')}` : address, width))
    if (removes.length > 0) lines.push(`  removes  ${removes.join(', ')}`)
  }
  session.print(lines.join('\n') + '\n')
}

/** A line a setting: what it is for, whether it must be there, what it is otherwise. */
function settingsOf(schema: Readonly<Record<string, unknown>>, width: number): string[] {
  const properties = Object.entries((schema['properties'] ?? {}) as Readonly<Record<string, Readonly<Record<string, unknown>>>>)
  const required = new Set((schema['required'] as readonly string[] | undefined) ?? [])
  if (properties.length === 0) return ['  none']
  const longest = Math.max(...properties.map(([name]) => name.length))
  return properties.flatMap(([name, setting]) => {
    const about = [
      ...(required.has(name) ? ['Required.'] : []),
      ...(typeof setting['description'] === 'string' ? [setting['description']] : []),
      ...(setting['secret'] === true ? ['Secret: never shown.'] : []),
      ...('default' in setting ? [`Default: ${JSON.stringify(setting['default'])}.`] : []),
    ]
    return hang(`  ${name.padEnd(longest)}  `, about.join(' '), width)
  })
}

/** Works outside a project too: then there are only the built-in ones. */
async function rootOrNull(session: Session): Promise<string | null> {
  const { findRoot } = await import('../config/find.ts')
  try {
    return findRoot(session.io.cwd, session.globals.cwd)
  } catch (error) {
    if (error instanceof CdpError && session.globals.cwd === undefined) return null
    throw error
  }
}

function entryOf(connector: Connector, builtin: boolean): Entry {
  const objects = Object.entries(connector.objects).map(([name, object]) => {
    // Some objects depend on the user's settings; what they are without any is shown, if they can be.
    const spec = typeof object === 'function' ? withoutSettings(object) : object
    const address = !spec ? 'by settings' : spec.address === 'key' ? 'key' : `match (${spec.address.match})`
    const { description = '', modes = ['by settings'], match = {}, removes = [] } = spec ?? {}
    return { name, description, modes, address, match, removes }
  })
  return { name: connector.name, description: connector.description, builtin, objects }
}

function withoutSettings(object: (settings: { config: unknown; options: unknown }) => ObjectSpec): ObjectSpec | null {
  try {
    return object({ config: {}, options: {} })
  } catch {
    return null
  }
}

function printJson(session: Session, value: object): void {
  session.print(JSON.stringify(value, null, 2) + '\n')
}
