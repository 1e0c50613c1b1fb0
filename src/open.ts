/** Opens everything a sync needs, in the order in which a mistake is cheapest to find: lock, destination, state. */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { asked } from './asked.ts'
import type { Account, Destination, Limits, Normaliser, ObjectSpec } from './connector.ts'
import type { Project, Sync } from './config/types.ts'
import type { RunContext } from './context.ts'
import { step } from './crash.ts'
import { CdpError } from './errors.ts'
import { MAX_WAIT } from './deliver/retry.ts'
import { createHttp } from './http.ts'
import { openLimiter } from './limiter.ts'
import type { Limiter } from './limiter.ts'
import { createMeter } from './meter.ts'
import type { Meter } from './meter.ts'
import { prepareState, statePaths, targetFile } from './records.ts'
import type { StatePaths } from './records.ts'
import { createRedactor } from './redact.ts'
import { isUnused } from './rename.ts'
import { sleep } from './sleep.ts'
import { referencesOf, withReferences } from './references.ts'
import type { Fetched, Hold, Keeper } from './state/keeper.ts'
import type { Narrow } from './state/warehouse/narrow.ts'
import { openKeeper } from './state/keepers.ts'
import { lookThrough, openState, readMemory } from './state/local.ts'
import type { Memory, State } from './state/local.ts'
import type { Addressing } from './state/stage.ts'
import type { Mapping } from './mapping.ts'
import type { Op } from './types.ts'

/** One sync, opened. */
export interface Session {
  readonly project: Project
  readonly sync: Sync
  readonly context: RunContext
  readonly run: string
  readonly startedAt: number
  readonly paths: StatePaths
  /** A folder of this session alone: spool and spill. */
  readonly work: string
  readonly destination: Destination
  readonly account: Account
  /** Connector, account id, object and the options that select it, as one text. */
  readonly target: string
  readonly limits: (op: Op) => Limits
  /** Turns at the account for requests of this operation. */
  readonly limiter: (op: Op) => Limiter
  readonly state: State
  readonly memory: Memory
  /** What a killed run left: addresses whose content is not known. Null when it left nothing. */
  readonly unfinished: { readonly uncertain: number } | null
  /** Aborts requests in flight. */
  readonly stop: () => void
  /** What keeps others from this sync while a run has it, and carries its state where they find it. */
  readonly hold: Hold
  /** Compares a model where the snapshot lies; null: here. */
  readonly narrow: Narrow | null
  close(): Promise<void>
}

/** What a run does at its destination. */
export const opOf = (sync: Sync): Op => (sync.mode === 'mirror' ? 'upsert' : sync.mode)

/** Operations whose repeat may do harm: an unknown outcome of theirs is held. */
export const unsafeOps = (spec: ObjectSpec): Op[] =>
  (['upsert', 'update', 'insert', 'append', 'delete', 'archive'] as const).filter((op) => (spec.replay[op] ?? 'none') === 'none')

/**
 * For a run: takes the lock, makes the state's folders. For a look (`plan`): no lock, nothing written but in a temporary folder.
 * Throws LockedError, AuthError, CDP4003 (another target), CDP4004 (another key or mode), CDP4005 (renamed sync).
 */
export async function open(
  project: Project,
  sync: Sync,
  context: RunContext,
  run: string,
  purpose: 'run' | 'look',
  rebind = false,
): Promise<Session> {
  const paths = statePaths(project, sync)
  const keeper = await openKeeper(project)
  const request = {
    name: sync.name,
    timeout: context.options.lockTimeout,
    now: context.now,
    signal: context.signal,
    run,
    waiting: (message: string) => context.report({ type: 'note', level: 'info', sync: sync.name, message }),
  }
  const closers: (() => Promise<void> | void)[] = []
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  try {
    let work: string
    let hold = NO_HOLD
    if (purpose === 'run') {
      hold = await keeper.hold(request)
      closers.push(() => hold.release())
      step('locked')
      await prepareState(project, sync)
      // Only the holder of the lock may sweep: what lies here belongs to runs that died.
      await rm(paths.work, { recursive: true, force: true })
      await mkdir(paths.work, { recursive: true, mode: 0o700 })
      work = paths.work
    } else {
      await keeper.waitFree(request)
      work = await mkdtemp(join(tmpdir(), 'cdp-sync-'))
    }
    closers.push(() => rm(work, { recursive: true, force: true }))

    const { destination: opened, meter, stop } = openDestination(project, sync, context, hold.alive)
    const destination = withReferences(opened, { references: referencesOf(sync), writes: opOf(sync), byKey: isByKey(sync) })
    closers.push(async () => destination.close?.())
    const account = await asked(destination.check())
    const target = targetOf(sync, account)

    // A state that is bound anew may not be compared, and what is held is listed from all of it.
    const {
      file,
      narrow,
      close: closeFetched,
    } = purpose === 'run' ? await hold.fetch(rebind ? 'whole' : 'part') : await lookAt(keeper, sync, work)
    closers.push(closeFetched)
    if (purpose === 'run') await sweepUnborn(paths)
    // Before a state is made: it would stand in the way of the rename that this asks for.
    if (!rebind && !existsSync(file)) await checkOrphans(project, sync, keeper, target)
    const state = await openState({
      file,
      // What is compared elsewhere is brought into a file of our own.
      writable: purpose === 'run' || narrow !== null,
      spill: work,
      memory: context.memory,
      threads: context.threads,
    })
    closers.push(() => state.close())
    const before = await readMemory(state.db)
    if (!rebind) await checkMemory(project, sync, keeper, before, target, account)
    const unfinished = before.header && purpose === 'look' ? await lookThrough(state.db, before.header) : null
    const memory = unfinished ? await readMemory(state.db) : before
    const { connector, config } = sync.destination
    const limits = (op: Op): Limits =>
      typeof connector.limits === 'function' ? connector.limits({ config, options: sync.options }, op, sync.object) : connector.limits
    const limiter = (op: Op): Limiter =>
      meter.bind(openLimiter({ account: account.id, limits: limits(op), folder: paths.limits, now: context.now, sleep, maxWait: MAX_WAIT }))
    // From here on every request counts.
    limiter(opOf(sync))
    return {
      project,
      sync,
      context,
      run,
      startedAt: context.now(),
      paths,
      work,
      destination,
      account,
      target,
      limits,
      limiter,
      state,
      memory,
      unfinished,
      stop,
      hold,
      narrow,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** A look holds nothing. */
const NO_HOLD: Hold = {
  alive: () => undefined,
  fetch: () => Promise.reject(new Error('a look fetches nothing')),
  cost: () => null,
  outboxWritten: () => Promise.resolve(),
  journal: () => null,
  store: () => Promise.resolve(),
  forget: () => Promise.resolve(),
  release: () => Promise.resolve(),
}

/** A run moves the old name's state; a look only reads it there. */
async function lookAt(keeper: Keeper, sync: Sync, work: string): Promise<Fetched> {
  const found = await keeper.look(sync.name, work, 'part')
  if (sync.renamedFrom === null || existsSync(found.file)) return found
  await found.close()
  return keeper.look(sync.renamedFrom, work, 'part')
}

/** Opens the destination with its HTTP client; requests end with `stop`, not with the user's first interrupt. */
export function openDestination(
  project: Project,
  sync: Sync,
  context: Pick<RunContext, 'trace' | 'now' | 'report'>,
  alive: () => void = () => undefined,
): { destination: Destination; meter: Meter; stop: () => void } {
  const controller = new AbortController()
  const meter = createMeter(controller.signal)
  const { connector, config } = sync.destination
  const redact = createRedactor(project.secrets)
  const turn = async (): Promise<void> => {
    await meter.turn()
    alive()
  }
  const destination = connector.open(
    { config, options: sync.options },
    {
      http: createHttp({ signal: controller.signal, redact, trace: context.trace, now: context.now, turn }),
      log: (message) => context.trace?.(redact(message)),
      signal: controller.signal,
      now: context.now,
    },
  )
  return { destination, meter, stop: () => controller.abort() }
}

/** The identity of what a sync writes to; state is bound to it. */
export function targetOf(sync: Sync, account: Account): string {
  const at = (path: string): unknown =>
    path.split('.').reduce<unknown>((value, name) => (value as Record<string, unknown> | undefined)?.[name], sync.options ?? {})
  const selected = (sync.spec.targetOptions ?? []).map((name) => [name, at(name) ?? null])
  return JSON.stringify([sync.destination.connector.name, account.id, sync.object, ...selected])
}

/** What binds a state to its target, key and mode, as entries of its meta table. */
export const identity = ({ sync, target, account }: Session): Record<string, string> => ({
  target,
  account: account.name,
  key: JSON.stringify(sync.model.key),
  mode: sync.mode,
  // What is held until a person says so is listed from the state alone.
  unsafe: JSON.stringify(unsafeOps(sync.spec)),
})

async function checkMemory(project: Project, sync: Sync, keeper: Keeper, memory: Memory, target: string, account: Account): Promise<void> {
  if (memory.target === null) return checkOrphans(project, sync, keeper, target)
  // Nothing was ever delivered: there is nothing to be bound to.
  if (memory.first && memory.header === null) return
  if (memory.target !== target) {
    const [, , object] = JSON.parse(memory.target) as string[]
    throw new CdpError(
      'CDP4003',
      `The state of ${sync.name} belongs to another target: ${memory.account ?? 'an account'}, ${object}. This configuration writes to ${account.name}, ${sync.object}.`,
      {
        where: sync.where,
        hint: `If the credentials or options are wrong, correct them. If the target moved and holds the same records: \`cdp-sync adopt-target ${sync.name}\`. To start over there: \`cdp-sync reset ${sync.name}\`.`,
      },
    )
  }
  const key = JSON.stringify(sync.model.key)
  if (memory.key !== null && memory.key !== key) {
    throw new CdpError(
      'CDP4004',
      `The key of ${sync.name} was ${describeKey(memory.key)} and is now ${describeKey(key)}: every row would look removed and new.`,
      {
        where: sync.locate(['model', 'key']),
        hint: `If it is a mistake, correct \`key\`. To keep the records and adopt today's rows under the new key: \`cdp-sync baseline ${sync.name}\`. To forget what was delivered: \`cdp-sync reset ${sync.name}\`.`,
      },
    )
  }
  if (memory.mode !== null && (memory.mode === 'append') !== (sync.mode === 'append')) {
    throw new CdpError(
      'CDP4004',
      `${sync.name} was in mode ${memory.mode} and is now in mode ${sync.mode}: an event log and a table of records have no state in common.`,
      {
        where: sync.locate(['mode']),
        hint: `Give the new mode a sync of its own, or forget what was sent: \`cdp-sync reset ${sync.name}\`.`,
      },
    )
  }
}

const describeKey = (text: string): string => (JSON.parse(text) as string[]).join(', ')

/** After a pull, or before a push, the state of a sync whose states lie elsewhere is on this machine. */
async function isHere(project: Project, { name }: Sync): Promise<boolean> {
  if (project.state.type === 'local') return false
  const here = await openKeeper({ ...project, state: { type: 'local', path: dirname(project.state.path) } })
  return (await here.exists(name)) && !(await isUnused(here, name))
}

/** A state that was this sync's, under another name or in another warehouse: a first run would send everything again. */
async function checkOrphans(project: Project, sync: Sync, keeper: Keeper, target: string): Promise<void> {
  const names = new Set(project.syncs.map(({ name }) => name))
  const states = await keeper.list()
  if (states.includes(sync.name) && !(await keeper.exists(sync.name)))
    throw new CdpError('CDP4036', `${sync.name} has no state in the warehouse that it is read from now, and has one in another.`, {
      where: sync.where,
      hint: `Take it along: \`cdp-sync state pull ${sync.name}\` with the old \`warehouse:\`, \`cdp-sync state push ${sync.name}\` with the new one. To send everything again, forget it with the old one: \`cdp-sync reset ${sync.name}\`.`,
    })
  if (await isHere(project, sync))
    throw new CdpError('CDP4036', `${sync.name} has no state where \`state:\` says, and has one on this machine.`, {
      where: sync.where,
      hint: `Take it along: \`cdp-sync state push ${sync.name}\`. To send everything again, forget it under \`state: { type: local }\`: \`cdp-sync reset ${sync.name}\`.`,
    })
  for (const name of states) {
    if (names.has(name) || (await keeper.target(name)) !== target) continue
    throw new CdpError('CDP4005', `${sync.name} has no state, and the state of ${name}, which is no sync any more, has the same target.`, {
      where: sync.where,
      hint: `If it was renamed: \`cdp-sync rename ${name} ${sync.name}\`, or write \`renamed_from: ${name}\` in its file. If not, delete that state: \`cdp-sync reset ${name}\`.`,
    })
  }
}

/**
 * A kill while the state file was made leaves it empty. Nothing was sent by then, unless somebody emptied a file that was in
 * use: then a run has noted its target beside it, and the refusal to open it stands.
 */
async function sweepUnborn(paths: StatePaths): Promise<void> {
  const size = await stat(paths.file).then(
    ({ size }) => size,
    () => null,
  )
  if (size === 0 && !existsSync(`${paths.file}.wal`) && !existsSync(targetFile(paths))) await rm(paths.file)
}

const isByKey = ({ mode, spec }: Sync): boolean => mode === 'append' || spec.address === 'key'

/** How rows of this sync are addressed. */
export function addressingOf(sync: Sync, mapping: Mapping): Addressing {
  const { spec } = sync
  const byKey = isByKey(sync)
  return {
    byKey,
    any: !byKey && typeof spec.address === 'object' && spec.address.match === 'any',
    membership: spec.membership === true && sync.mode !== 'append',
    keepOnNullMatch: sync.onNullMatch === 'keep',
    key: sync.model.key,
    match: mapping.match.map((field) => ({ field, normaliser: normaliserOf(sync, field.name) })),
  }
}

/** A reference is compared by what it is looked up by, which is normalised already. */
export const normaliserOf = (sync: Sync, field: string): Normaliser =>
  sync.match.some(({ name, source }) => name === field && source.kind === 'lookup')
    ? 'exact'
    : (sync.spec.match[field] ?? sync.spec.match['*'] ?? 'exact')
