/** What only the systems themselves can say: logins, columns of models, fields of objects. Writes nothing. */
import { tmpdir } from 'node:os'
import { asked } from '../asked.ts'
import type { Account } from '../connector.ts'
import type { Project, Sync, WarehouseEntry } from '../config/types.ts'
import { CdpError, ConfigErrors, nearest } from '../errors.ts'
import { checkFields } from '../field-checks.ts'
import { compileMapping, type Mapping } from '../mapping.ts'
import { openDestination, targetOf } from '../open.ts'
import { openKeeper } from '../state/keepers.ts'
import { openWarehouse } from '../warehouse/open.ts'
import type { Warehouse } from '../warehouse/warehouse.ts'
import type { Session } from './session.ts'

/** Every problem of every sync; one that fails keeps no other from being checked. */
export async function checkLive(project: Project, syncs: readonly Sync[], session: Session): Promise<CdpError[]> {
  const problems: CdpError[] = []
  const collect = async (work: () => Promise<void>, where?: string): Promise<void> => {
    session.signal.throwIfAborted()
    try {
      await work()
    } catch (error) {
      if (error instanceof ConfigErrors) problems.push(...error.errors)
      else if (error instanceof CdpError) {
        error.where ??= where
        problems.push(error)
      } else throw error
    }
  }
  const mappings = new Map<Sync, Mapping>()
  for (const entry of new Set(syncs.map((it) => it.warehouse))) {
    session.say(`Checking warehouse ${entry.name}.`)
    await collect(() => checkWarehouse(project, entry, syncs, mappings, collect))
  }
  for (const entry of statesIn(project, syncs)) {
    session.say(`Checking the state in ${entry.name}.`)
    await collect(() => checkState(project, entry, session), entry.where)
  }
  if (project.state.type === 's3') {
    session.say(`Checking the state in s3://${project.state.bucket}.`)
    await collect(async () => void (await (await openKeeper(project)).list()))
  }
  const targets = new Map<string, Sync>()
  for (const sync of syncs) {
    session.say(`Checking ${sync.destination.name} for ${sync.name}.`)
    await collect(
      () => checkDestination(project, sync, session, targets, mappings.get(sync) ?? null, problems),
      sync.locate(['destination']),
    )
  }
  return problems
}

async function checkWarehouse(
  project: Project,
  entry: WarehouseEntry,
  syncs: readonly Sync[],
  mappings: Map<Sync, Mapping>,
  collect: (work: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const warehouse = await openWarehouse(entry, { root: project.root })
  try {
    await warehouse.check()
    for (const sync of syncs) if (sync.warehouse === entry) await collect(() => checkModel(warehouse, sync, mappings))
  } finally {
    await warehouse.close()
  }
}

/** The warehouses that keep the states of these syncs. */
function statesIn({ state, warehouses }: Project, syncs: readonly Sync[]): Set<WarehouseEntry> {
  if (state.type !== 'warehouse') return new Set()
  const named = state.warehouse === null ? null : warehouses[state.warehouse]
  return new Set(named ? [named] : syncs.map(({ warehouse }) => warehouse))
}

async function checkState({ root, state }: Project, entry: WarehouseEntry, { signal }: Session): Promise<void> {
  if (state.type !== 'warehouse') return
  const { checkStates } = await import('../state/warehouse/check.ts')
  await checkStates(entry, { root, signal, schema: state.schema, folder: tmpdir() })
}

async function checkModel(warehouse: Warehouse, sync: Sync, mappings: Map<Sync, Mapping>): Promise<void> {
  const { sql, where, condition } = sync.model
  const columns = await warehouse.describe({ sync: sync.name, run: 'validate', sql, where, condition })
  const names = columns.map((it) => it.name)
  const missing = sync.model.key.filter((it) => !names.includes(it))
  const problems: CdpError[] = missing.map((name) => {
    const near = nearest(name, names)
    const hint = near ? `Did you mean "${near}"?` : `Its columns: ${names.join(', ')}.`
    return new CdpError('CDP5020', `The model has no column "${name}", which model.key names.`, {
      where: sync.locate(['model', 'key']),
      hint,
    })
  })
  try {
    mappings.set(sync, compileMapping(sync, columns))
  } catch (error) {
    if (!(error instanceof ConfigErrors)) throw error
    problems.push(...error.errors)
  }
  if (problems.length > 0) throw new ConfigErrors(problems)
}

async function checkDestination(
  project: Project,
  sync: Sync,
  session: Session,
  targets: Map<string, Sync>,
  mapping: Mapping | null,
  problems: CdpError[],
): Promise<void> {
  const { destination, stop } = openDestination(project, sync, session.context())
  try {
    const account = await asked(destination.check())
    problems.push(...sameTarget(sync, account, targets))
    problems.push(...(await checkFields(sync, destination, mapping)))
  } finally {
    await destination.close?.()
    stop()
  }
}

/** Two entries may be one account, which only the account's id tells. */
function sameTarget(sync: Sync, account: Account, targets: Map<string, Sync>): CdpError[] {
  if (sync.mode === 'append' || sync.spec.namesSync) return []
  const target = targetOf(sync, account)
  const other = targets.get(target)
  if (!other) {
    targets.set(target, sync)
    return []
  }
  const own = new Set(other.fields.map((it) => it.name))
  const shared = sync.fields.filter((it) => own.has(it.name)).map((it) => it.name)
  const both = sync.mode === 'mirror' && other.mode === 'mirror'
  if (!both && shared.length === 0) return []
  const what = both ? 'both mirror' : `both write ${shared.join(', ')} in`
  const message = `${sync.name} and ${other.name} ${what} ${sync.object} of one account, ${account.name} (${account.id}).`
  return [new CdpError('CDP5021', message, { where: sync.where, hint: 'Let one sync write it, or give them different fields.' })]
}
