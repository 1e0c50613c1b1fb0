/** `cdp-sync grants`: the SQL by which an administrator gives cdp-sync what it needs in a warehouse, and no more. */
import type { Command } from 'commander'
import type { Project, SnowflakeSettings, Sync, WarehouseEntry } from '../config/types.ts'
import { CdpError, nearest } from '../errors.ts'
import { printable } from '../render/text.ts'
import type { Dialect } from '../state/warehouse/dialect.ts'
import { jsonFlag, type Act } from './options.ts'
import type { Session } from './session.ts'

interface Flags {
  role?: string
  reader?: string
  json?: boolean
}

const ROLE = 'cdp_sync'
const READER = 'cdp_sync_reader'

export function grantsCommand(program: Command, act: Act): void {
  program
    .command('grants')
    .description('print the SQL that gives cdp-sync its rights in a warehouse; runs nothing')
    .argument('[warehouse]', 'one warehouse; none: all that syncs read or that keep state')
    .option('--role <name>', 'the role that runs (default: the one the warehouse entry logs in as)')
    .option('--reader <name>', `the role that only plans (default: ${READER})`)
    .addOption(jsonFlag())
    .action(act(async (session, name: string | undefined, flags: Flags) => grants(session, name, flags)))
}

/** Of the syncs that run here. */
async function grants(session: Session, name: string | undefined, flags: Flags): Promise<void> {
  const project = await session.project()
  const { isActive } = await import('../config/select.ts')
  const here = { ...project, syncs: project.syncs.filter((it) => isActive(it, project)) }
  const all: Granted[] = []
  for (const entry of chosen(here, name)) all.push(await grantedIn(here, entry, flags))
  if (flags.json) session.print(JSON.stringify({ format_version: 1, warehouses: all }, null, 2) + '\n')
  else session.print(all.map(({ sql }) => sql).join('\n'))
}

function chosen(project: Project, name: string | undefined): WarehouseEntry[] {
  const entries = Object.values(project.warehouses)
  const names = entries.map((it) => it.name)
  if (name === undefined) return entries.filter((it) => readFrom(project, it).length > 0 || schemaIn(project, it) !== null)
  const entry = entries.find((it) => it.name === name)
  if (entry) return [entry]
  const near = nearest(name, names)
  throw new CdpError('CDP5017', `There is no warehouse "${name}".`, {
    hint: near ? `Did you mean "${near}"?` : `There are ${names.join(', ')}.`,
  })
}

/** What one warehouse is to give; a line of `--json`. */
interface Granted {
  warehouse: string
  type: WarehouseEntry['type']
  role: string
  reader: string
  /** Null: no state is kept there. */
  schema: string | null
  sql: string
}

async function grantedIn(project: Project, entry: WarehouseEntry, flags: Flags): Promise<Granted> {
  const login = await loginOf(entry)
  const [role, reader] = [flags.role ?? login.role ?? ROLE, flags.reader ?? READER]
  const models = readFrom(project, entry)
  const schema = schemaIn(project, entry)
  const lines = [
    `-- ${entry.name} (${entry.type}). ${printable(role)} runs syncs; ${printable(reader)} plans them and changes nothing. Both must exist.`,
  ]
  if (entry.type === 'duckdb' && schema === null) lines.push('-- A file that is only read: the system’s rights on the file decide.')
  else if (models.length > 0) {
    const files = [...new Set(models.map(({ model }) => model.where.replace(/:\d+:\d+$/, '')))]
    lines.push(`-- Models are read with SELECT, which this can't list: give both roles USAGE on the schemas and SELECT on the tables of`)
    lines.push(`-- ${files.map(printable).join(', ')}`)
  }
  if (schema === null) lines.push('-- No state is kept here, so nothing else is needed.')
  else
    lines.push(
      '-- The state of syncs is kept here.',
      (await DIALECTS[entry.type]()).grants({ schema, role, reader, ...login.place }).trimEnd(),
    )
  return { warehouse: entry.name, type: entry.type, role, reader, schema, sql: `${lines.join('\n')}\n` }
}

const DIALECTS: Readonly<Record<Dialect['name'], () => Promise<Dialect>>> = {
  postgres: async () => (await import('../state/warehouse/postgres.ts')).postgres,
  duckdb: async () => (await import('../state/warehouse/duckdb.ts')).duckdb,
  snowflake: async () => (await import('../state/warehouse/snowflake.ts')).snowflake,
}

const readFrom = ({ syncs }: Project, { name }: WarehouseEntry): Sync[] => syncs.filter((it) => it.warehouse.name === name)

/** Of the tables that keep state in this warehouse; null: none do. */
function schemaIn(project: Project, entry: WarehouseEntry): string | null {
  const { state } = project
  if (state.type !== 'warehouse') return null
  const here = state.warehouse === null ? readFrom(project, entry).length > 0 : state.warehouse === entry.name
  return here ? state.schema : null
}

type Place = Pick<Parameters<Dialect['grants']>[0], 'database' | 'warehouse'>

/** Who the entry logs in as, and where. */
async function loginOf(entry: WarehouseEntry): Promise<{ role: string | null; place: Place }> {
  if (entry.type === 'postgres') {
    const { Client } = await import('pg')
    const { clientConfig } = await import('../warehouse/postgres.ts')
    const { user, database } = new Client(clientConfig(entry.settings, entry))
    return { role: user ?? null, place: { database: database ?? null, warehouse: null } }
  }
  const { role, database, warehouse } = entry.settings as Pick<SnowflakeSettings, 'role' | 'database' | 'warehouse'>
  return { role: role ?? null, place: { database: database ?? null, warehouse: warehouse ?? null } }
}
