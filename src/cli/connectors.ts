/** `cdp-sync connectors`: what can be written to, and how. */
import type { Command } from 'commander'
import type { Connector, ObjectSpec } from '../connector.ts'
import { CdpError } from '../errors.ts'
import { table } from '../render/text.ts'
import { jsonFlag, type Act } from './options.ts'
import type { Session } from './session.ts'

export function connectorsCommand(program: Command, act: Act): void {
  program
    .command('connectors')
    .description("built-in connectors and the project's own, with their objects and modes")
    .addOption(jsonFlag())
    .action(act(async (session, flags: { json?: boolean }) => connectors(session, flags)))
}

interface Entry {
  name: string
  description: string
  builtin: boolean
  objects: { name: string; description: string; modes: readonly string[]; address: string; removes: readonly string[] }[]
}

async function connectors(session: Session, flags: { json?: boolean }): Promise<void> {
  const { listConnectors, loadConnector } = await import('../config/registry.ts')
  const root = await rootOrNull(session)
  const entries: Entry[] = []
  for (const { name, builtin } of listConnectors(root)) {
    const { connector } = await loadConnector(root, name)
    entries.push({ name, description: connector.description, builtin, objects: objectsOf(connector) })
  }
  if (flags.json) {
    session.print(JSON.stringify({ format_version: 1, connectors: entries }, null, 2) + '\n')
    return
  }
  const rows = entries.flatMap((it) =>
    it.objects.map(({ name, modes, address }) => [it.name, name, modes.join(','), address, it.builtin ? 'built-in' : "this project's"]),
  )
  session.print(table(['connector', 'object', 'modes', 'address', 'from'], rows))
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

function objectsOf(connector: Connector): Entry['objects'] {
  return Object.entries(connector.objects).map(([name, object]) => {
    // Some objects depend on the user's settings; what they are without any is shown, if they can be.
    const spec = typeof object === 'function' ? withoutSettings(object) : object
    const address = !spec ? 'by settings' : spec.address === 'key' ? 'key' : `match (${spec.address.match})`
    return { name, description: spec?.description ?? '', modes: spec?.modes ?? ['by settings'], address, removes: spec?.removes ?? [] }
  })
}

function withoutSettings(object: (settings: { config: unknown; options: unknown }) => ObjectSpec): ObjectSpec | null {
  try {
    return object({ config: {}, options: {} })
  } catch {
    return null
  }
}
