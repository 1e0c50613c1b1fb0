/**
 * The run lock: one file per sync that nothing else opens, and a registry for runs inside this process.
 * DuckDB's own file lock is no run lock: one process may open a file twice, and closing any descriptor of it drops the lock.
 */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readFile, readlink, realpath, rename, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { promisify } from 'node:util'
import { LockedError } from './errors.ts'

/** How often a waiter looks again, in milliseconds. */
const POLL = 100
/** An unreadable lock file is being written; after so many milliseconds its writer is dead. */
const WRITING = 10_000

/** Who holds a lock: enough to tell a dead process from a living one, whatever has reused its pid. */
export interface Holder {
  readonly token: string
  readonly host: string
  /** Tells two machines of one name apart; null where the system has no id. */
  readonly machine: string | null
  /** Changes with every boot; null where the system does not say. */
  readonly boot: string | null
  /** A pid means something only within its namespace; null where there are none. */
  readonly namespace: string | null
  readonly pid: number
  /** When the process started, as the system writes it. */
  readonly start: string | null
  /** ISO 8601. */
  readonly since: string
  readonly run: string | null
}

export interface LockRequest {
  /** Where the lock file lies; made when missing. */
  readonly folder: string
  /** Name of the sync; the file is `<name>.lock`. */
  readonly name: string
  /** Milliseconds to wait for a living holder. */
  readonly timeout: number
  readonly now: () => number
  readonly signal: AbortSignal
  /** The run that wants it, for messages. */
  readonly run?: string | undefined
}

/** Locks held by this process, by real path. */
const ours = new Map<string, Holder>()

/**
 * Takes the lock of a sync, at once when its holder died, also by kill -9.
 * Throws LockedError (CDP5000) when a living process, or one on another host, still has it after `timeout`;
 * throws the signal's reason when aborted.
 */
export async function lockSync(request: LockRequest): Promise<{ release(): Promise<void> }> {
  await mkdir(request.folder, { recursive: true, mode: 0o700 })
  const path = join(await realpath(request.folder), `${request.name}.lock`)
  const me = await thisProcess(request)
  await untilFree(request, path, async () => {
    const holder = ours.get(path)
    if (holder) return holder
    // Entered before the first await: of two runs in this process one sees the other.
    ours.set(path, me)
    try {
      const other = await take(path, me)
      if (other) ours.delete(path)
      return other
    } catch (error) {
      ours.delete(path)
      throw error
    }
  })
  let released = false
  return {
    async release() {
      if (released) return
      released = true
      try {
        // A person may have removed the file and another process made it anew: that one is not ours to delete.
        if ((await read(path))?.token === me.token) await rm(path, { force: true })
      } finally {
        ours.delete(path)
      }
    },
  }
}

/** For readers that take no lock: resolves once no living process holds the sync. Throws as `lockSync` does. */
export async function waitUnlocked(request: LockRequest): Promise<void> {
  await untilFree(request, join(request.folder, `${request.name}.lock`), () => lockHolder(request))
}

/** The living holder of a sync's lock (or one on another host, which may be dead); null when a run could take it. */
export async function lockHolder(place: { readonly folder: string; readonly name: string }): Promise<Holder | null> {
  const holder = await read(join(place.folder, `${place.name}.lock`))
  return holder && !(await isDead(holder)) ? holder : null
}

async function untilFree(request: LockRequest, path: string, attempt: () => Promise<Holder | null>): Promise<void> {
  const deadline = request.now() + request.timeout
  for (;;) {
    request.signal.throwIfAborted()
    const holder = await attempt()
    if (!holder) return
    if (request.now() >= deadline) throw await lockedError(request.name, path, holder)
    await wait(Math.min(POLL, Math.max(1, deadline - request.now())))
  }
}

/**
 * Makes `path` ours; gives the holder when somebody living has it.
 * A dead holder's lock is replaced by whoever owns the right to do so, which is a lock of its own named by the dead
 * holder's token: no other process may touch a lock with that token any more, so what is read under the right stays true.
 */
async function take(path: string, me: Holder): Promise<Holder | null> {
  for (;;) {
    if (await create(path, me)) return null
    const holder = await read(path)
    if (!holder) continue
    if (!(await isDead(holder))) return holder
    const right = `${path}.${holder.token}`
    const rival = await take(right, me)
    if (rival) return rival
    try {
      if ((await read(path))?.token !== holder.token) continue
      const temp = await writeTemp(path, me)
      await rename(temp, path)
      return null
    } finally {
      await rm(right, { force: true })
    }
  }
}

/** Creates the lock with its whole content in one step. False when there is one already. */
async function create(path: string, me: Holder): Promise<boolean> {
  const temp = await writeTemp(path, me)
  try {
    await link(temp, path)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(code ?? '')) throw error
    return await createWithoutLinks(path, me)
  } finally {
    await rm(temp, { force: true })
  }
}

/** For file systems without hard links. A reader may see the file before its content. */
async function createWithoutLinks(path: string, me: Holder): Promise<boolean> {
  const file = await open(path, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST') return null
    throw error
  })
  if (!file) return false
  await file.writeFile(JSON.stringify(me))
  await file.sync()
  await file.close()
  return true
}

async function writeTemp(path: string, me: Holder): Promise<string> {
  const temp = `${path}.${randomUUID()}.tmp`
  const file = await open(temp, 'wx', 0o600)
  await file.writeFile(JSON.stringify(me))
  await file.sync()
  await file.close()
  return temp
}

/** Null when there is no lock. One that can't be read gives a holder named by its inode: young ones live, old ones are dead. */
async function read(path: string): Promise<Holder | null> {
  try {
    const text = await readFile(path, 'utf8')
    const holder = parse(text)
    if (holder) return holder
    const { ino, mtimeMs } = await stat(path)
    const dead = Date.now() - mtimeMs > WRITING
    const unknown = { machine: null, namespace: null, start: null, run: null, since: new Date(mtimeMs).toISOString() }
    return { ...unknown, token: `unreadable-${ino}-${mtimeMs}`, host: hostname(), boot: dead ? 'none' : null, pid: dead ? 0 : process.pid }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

function parse(text: string): Holder | null {
  try {
    const it = JSON.parse(text) as Partial<Holder> | null
    return typeof it?.token === 'string' && /^[\w-]+$/.test(it.token) && typeof it.host === 'string' && typeof it.pid === 'number'
      ? (it as Holder)
      : null
  } catch {
    return null
  }
}

async function thisProcess(request: LockRequest): Promise<Holder> {
  return {
    token: randomUUID(),
    ...(await here()),
    pid: process.pid,
    start: (await processStart(process.pid)) ?? null,
    since: new Date(request.now()).toISOString(),
    run: request.run ?? null,
  }
}

async function here(): Promise<Pick<Holder, 'host' | 'machine' | 'boot' | 'namespace'>> {
  const [machine, boot, namespace] = await Promise.all([
    textOf('/etc/machine-id'),
    textOf('/proc/sys/kernel/random/boot_id'),
    readlink('/proc/self/ns/pid').catch(() => null),
  ])
  return { host: hostname(), machine, boot, namespace }
}

async function textOf(path: string): Promise<string | null> {
  return (await readFile(path, 'utf8').catch(() => '')).trim() || null
}

/** Only what is certain: on this machine, and gone. A process elsewhere, or in another container, can't be seen from here. */
async function isDead(holder: Holder): Promise<boolean> {
  const me = await here()
  if (holder.pid === 0) return true
  if (!isHere(holder, me)) return false
  if (holder.boot !== me.boot && holder.boot !== null && me.boot !== null) return true
  if (holder.namespace !== null && me.namespace !== null && holder.namespace !== me.namespace) return false
  const start = await processStart(holder.pid)
  return start === undefined || (holder.start !== null && start !== null && start !== holder.start)
}

function isHere(holder: Holder, me: Pick<Holder, 'host' | 'machine'>): boolean {
  return holder.host === me.host && (holder.machine === null || me.machine === null || holder.machine === me.machine)
}

/** When a process started, null when the system does not say; undefined when there is no such process (a zombie is none). */
async function processStart(pid: number): Promise<string | null | undefined> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return undefined
  }
  if (process.platform === 'linux') {
    const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null)
    if (line === null) return null
    // The second field is the command's name in brackets and may hold anything; field 22 is the 20th behind it.
    const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : (fields[19] ?? null)
  }
  if (process.platform === 'win32') return null
  const found = await promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)], {
    env: { PATH: process.env['PATH'], LC_ALL: 'C' },
  }).catch(() => null)
  return found?.stdout.trim() || null
}

async function lockedError(name: string, path: string, holder: Holder): Promise<LockedError> {
  const me = await here()
  const visible = isHere(holder, me) && (holder.namespace === null || me.namespace === null || holder.namespace === me.namespace)
  const who = `pid ${holder.pid} on ${holder.host}, since ${holder.since}${holder.run ? `, run ${holder.run}` : ''}`
  return new LockedError('CDP5000', `${name} is locked by another run (${who})`, {
    where: name,
    hint: visible
      ? 'Wait for it to end, or give --lock-timeout 10m to wait here.'
      : `That process can't be seen from here. Wait for it to end; if that machine or container is gone for good, delete ${path}.`,
  })
}
