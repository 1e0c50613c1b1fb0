/**
 * States in a bucket. A run works on a copy in a folder of its own; what it leaves there is worth nothing to anybody else.
 * In the bucket `head.json` says which snapshot counts and whether a run is unfinished; it is only replaced on condition,
 * by the holder of the lease. Everything else is written under names that nobody wrote before.
 */
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { step } from '../crash.ts'
import { CdpError } from '../errors.ts'
import { lockSync } from '../lock.ts'
import { KEEP_RUNS, statePaths, targetFile } from '../records.ts'
import type { StatePaths } from '../records.ts'
import { openBucket } from './bucket.ts'
import type { Bucket, BucketEntry, Note } from './bucket.ts'
import { copyParts, each, fetchParts, listOf, Missing, partKey, promised, storeParts } from './bucket-parts.ts'
import type { PartList } from './bucket-parts.ts'
import { packRun, readIfThere, unfinishedError, unpackRun } from './carry.ts'
import type { JournalNote, RunNote } from './carry.ts'
import { journalSink } from './journal-sink.ts'
import { whole } from './keeper.ts'
import type { Hold, HoldRequest, Keeper, Place } from './keeper.ts'
import { leaseHolder, raceError, takeLease, waitForLease } from './lease.ts'
import type { Lease, LeaseCell, LeaseNote } from './lease.ts'
import { besides } from './local.ts'

interface Head {
  readonly fence: number
  /** Name under the sync's folder of the list of its parts; null before the first commit. */
  readonly snapshot: string | null
  /** The run whose outbox and journal lie beside the snapshot: it may have sent. */
  readonly run: string | null
}

/** Readers may find that what head named was replaced while they read. */
const LOOKS = 5

export async function bucketKeeper(project: Place, entry: BucketEntry): Promise<Keeper> {
  const bucket = await openBucket(entry)
  // A null environment has a name of its own that no environment can have.
  const root = [entry.prefix, project.name ?? '', project.environment ?? '_'].filter((part) => part !== '').join('/')
  const place = (name: string): SyncPlace => {
    const folder = `${root}/${name}`
    return {
      bucket,
      name,
      folder,
      lease: leaseCell(bucket, `${folder}/lease.json`),
      head: `${folder}/head.json`,
      paths: statePaths(project, { name }),
    }
  }
  const self: Keeper = {
    hold: (request) => hold(place(request.name), request),
    waitFree: (request) => waitForLease(place(request.name).lease, request),
    holder: (name) => leaseHolder(place(name).lease),
    async look(name, folder) {
      const file = join(folder, `${name}.duckdb`)
      for (let tries = 1; ; tries++) {
        const head = await bucket.note<Head>(place(name).head)
        if (!head) return whole(file)
        const brought = await ifThere(() => bring(place(name), head.value, file, folder), tries)
        // A run that ended meanwhile has taken away its journal, which would be missing without a word.
        const now = await bucket.note<Head>(place(name).head)
        const same = now?.value.snapshot === head.value.snapshot && now.value.run === head.value.run
        if (brought !== null && (same || tries === LOOKS)) return whole(file)
      }
    },
    async exists(name) {
      const head = await bucket.note<Head>(place(name).head)
      return head !== null && (head.value.snapshot !== null || head.value.run !== null)
    },
    async list() {
      const names: string[] = []
      for (const name of await bucket.folders(`${root}/`)) if (await self.exists(name)) names.push(name)
      return names
    },
    target: async (name) => (await bucket.text(`${place(name).folder}/target`))?.trim() ?? null,
    move: (from, to) => move(place(from), place(to)),
    records: (name) => bringRecords(place(name)),
    recorded: (name, run) => storeRecord(place(name), run),
  }
  return self
}

/** Where one sync lies: here and there. */
interface SyncPlace {
  readonly bucket: Bucket
  readonly name: string
  readonly folder: string
  readonly lease: LeaseCell
  readonly head: string
  readonly paths: StatePaths
}

function leaseCell(bucket: Bucket, key: string): LeaseCell {
  return {
    where: `${bucket.url}/${key}`,
    read: () => bucket.note<LeaseNote>(key),
    replace: (note, etag) => bucket.replace(key, note, etag),
    async prove(note) {
      // A service that takes any write would let two runners go at once.
      const [second, third] = [await bucket.replace(key, note, null), await bucket.replace(key, note, '"00000000000000000000000000000000"')]
      if (second === null && third === null) return
      await bucket.remove([key])
      throw new CdpError('CDP4032', `The service behind ${bucket.url} does not honour conditional writes: two runs could go at once.`, {
        hint: 'Use AWS S3, Cloudflare R2, MinIO or another service that supports If-Match and If-None-Match on PUT.',
      })
    },
  }
}

async function hold(place: SyncPlace, request: HoldRequest): Promise<Hold> {
  const { bucket, name, paths } = place
  // Two runs that share a folder would share the working copy.
  const lock = await lockSync({ ...request, folder: dirname(paths.file), run: request.run ?? undefined })
  const lease = await takeLease(place.lease, request).catch(async (error: unknown) => {
    await lock.release()
    throw error
  })
  step('leased')
  let head: Note<Head> | null = null
  let uploads = 0
  const upload = (): string => `${lease.fence}-${++uploads}`
  /** Of the snapshot that head names: what nobody deletes while we hold the sync. */
  let parts: readonly string[] = []
  let run: string | null = null
  /** The working copy is what head names. */
  let settled = false

  const moveHead = async (next: Omit<Head, 'fence'>): Promise<void> => {
    lease.alive()
    const value = { ...next, fence: lease.fence }
    const etag = await bucket.replace(place.head, value, head?.etag ?? null)
    if (etag === null) throw await raceError(place.lease, name)
    head = { value, etag, writtenAt: 0, readAt: 0 }
  }
  return {
    alive: lease.alive,
    async fetch() {
      // Under our fence: a write of the last holder that is still on its way finds another head and fails.
      for (head = null; head === null;) head = await claim(place, lease)
      await mkdir(paths.work, { recursive: true, mode: 0o700 })
      const copy = await readIfThere(copyFile(paths))
      await rm(copyFile(paths), { force: true })
      const current = copy !== null && copy === copyOf(place, head.value) && head.value.run === null && existsSync(paths.file)
      parts = current ? await partsThere(place, head.value) : await bring(place, head.value, paths.file, paths.work)
      return whole(paths.file)
    },
    cost: () => null,
    async outboxWritten(state, header) {
      lease.alive()
      const file = join(paths.work, 'outbox.parquet')
      const folder = `${place.folder}/run-${header.run}`
      const note = await packRun(state.db, file)
      const outbox = await storeParts(bucket, place.folder, upload(), file, [])
      await bucket.put(`${folder}/state.json`, JSON.stringify({ note, outbox } satisfies StoredRun))
      await rm(file, { force: true })
      step('outbox-uploaded')
      await moveHead({ snapshot: head?.value.snapshot ?? null, run: header.run })
      run = header.run
      step('sending-noted')
    },
    journal: () =>
      run === null
        ? null
        : journalSink(
            (number, text) => bucket.put(`${place.folder}/run-${run}/journal-${String(number).padStart(9, '0')}.json`, text),
            lease.alive,
          ),
    async store(state, last) {
      lease.alive()
      if (last) await state.shrink()
      // Somebody else's rule for old objects may have taken some.
      const there = new Set(await bucket.list(`${place.folder}/parts/`))
      const known = parts.filter((part) => there.has(partKey(place.folder, part)))
      const name = upload()
      const list = await state.detached((file) => storeParts(bucket, place.folder, name, file, known))
      const snapshot = `snapshot-${name}.json`
      await bucket.put(`${place.folder}/${snapshot}`, JSON.stringify(list))
      step('snapshot-uploaded')
      if (last) await storeFiles(place, lease)
      await moveHead({ snapshot, run: null })
      step('head-moved')
      settled = last
      parts = list.parts
      await sweep(place, lease, [...there], snapshot, parts)
      step('swept')
    },
    async forget() {
      await moveHead({ snapshot: null, run: null })
      await clear(place, lease)
      for (const path of [paths.file, ...besides(paths.file)]) await rm(path, { force: true })
    },
    async release() {
      try {
        if (settled && head) await writeFile(copyFile(paths), copyOf(place, head.value), { mode: 0o600 })
        await lease.release()
      } finally {
        await lock.release()
      }
    },
  }
}

/** Notes beside the working copy what it is a copy of. */
const copyFile = (paths: StatePaths): string => join(paths.folder, 'copy')
const copyOf = ({ bucket, folder }: SyncPlace, { snapshot }: Head): string => `${bucket.url}/${folder}/${snapshot ?? ''}`

/** Puts our fence on head; null when somebody else wrote it meanwhile: then it is another one. */
async function claim({ bucket, head: key }: SyncPlace, lease: Lease): Promise<Note<Head> | null> {
  const found = await bucket.note<Head>(key)
  const value: Head = { snapshot: found?.value.snapshot ?? null, run: found?.value.run ?? null, fence: lease.fence }
  lease.alive()
  const etag = await bucket.replace(key, value, found?.etag ?? null)
  return etag === null ? null : { value, etag, writtenAt: 0, readAt: 0 }
}

/** An unfinished run as it lies there. */
interface StoredRun {
  readonly note: RunNote
  readonly outbox: PartList
}

const EMPTY: PartList = { bytes: 0, parts: [] }
async function snapshotOf({ bucket, folder }: SyncPlace, { snapshot }: Head): Promise<PartList> {
  const key = `${folder}/${snapshot}`
  return snapshot === null ? EMPTY : listOf(bucket, key, await promised(bucket, key))
}

/** Of a snapshot that is here, whole: where its list is lost or damaged, all of it is stored again. */
async function partsThere(place: SyncPlace, head: Head): Promise<readonly string[]> {
  try {
    return (await snapshotOf(place, head)).parts
  } catch (error) {
    if (error instanceof CdpError && error.code === 'CDP4001') return []
    throw error
  }
}

/** Makes `file` what head says: the snapshot, and the unfinished run in it. Gives the snapshot's parts. */
async function bring(place: SyncPlace, head: Head, file: string, work: string): Promise<readonly string[]> {
  const { bucket, folder } = place
  for (const path of [file, ...besides(file)]) await rm(path, { force: true })
  const snapshot = await snapshotOf(place, head)
  if (head.snapshot !== null) await fetchParts(bucket, folder, snapshot, file)
  if (head.run === null) return snapshot.parts
  const from = `${folder}/run-${head.run}`
  const outbox = join(work, 'outbox.parquet')
  const run = (await promised(bucket, `${from}/state.json`)) as StoredRun
  await fetchParts(bucket, folder, listOf(bucket, `${from}/state.json`, run.outbox), outbox)
  const journal: JournalNote[] = []
  for (const key of await bucket.list(`${from}/journal-`)) journal.push((await promised(bucket, key)) as JournalNote)
  await unpackRun(file, work, run.note, outbox, journal)
  await rm(outbox, { force: true })
  return snapshot.parts
}

/** Null where an object is missing that may have been replaced meanwhile. */
async function ifThere<Result>(work: () => Promise<Result>, tries: number): Promise<Result | null> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof Missing && tries < LOOKS) return null
    throw error
  }
}

/** Deletes what head names no more, also what killed runs left. What can't be deleted now is at the next time. */
async function sweep(
  { bucket, folder }: SyncPlace,
  lease: Lease,
  before: readonly string[],
  snapshot: string,
  parts: readonly string[],
): Promise<void> {
  const needed = new Set([`${folder}/${snapshot}`, ...parts.map((part) => partKey(folder, part))])
  try {
    const found = [...before, ...(await bucket.list(`${folder}/snapshot-`)), ...(await bucket.list(`${folder}/run-`))]
    await removeHeld(
      bucket,
      lease,
      found.filter((key) => !needed.has(key)),
    )
  } catch {
    // Nothing depends on it.
  }
}

/** Deletes everything of a sync but lease and head, whose fence must go on rising. */
async function clear({ bucket, folder, head }: SyncPlace, lease: Lease): Promise<void> {
  const found = await bucket.list(`${folder}/`)
  await removeHeld(
    bucket,
    lease,
    found.filter((key) => key !== head && key !== `${folder}/lease.json`),
  )
}

/** A holder that stood still must not delete what the next one has stored meanwhile. */
async function removeHeld(bucket: Bucket, lease: Lease, keys: readonly string[]): Promise<void> {
  await each(keys, async (key) => {
    lease.alive()
    await bucket.remove([key])
  })
}

/** Rejections and the target: small files that `rejected` and a rename look at. */
async function storeFiles({ bucket, folder, paths }: SyncPlace, lease: Lease): Promise<void> {
  for (const [name, path] of [
    ['rejected.ndjson', paths.rejected],
    ['target', targetFile(paths)],
  ] as const) {
    lease.alive()
    const text = await readIfThere(path)
    if (text === null) await bucket.remove([`${folder}/${name}`])
    else await bucket.put(`${folder}/${name}`, text)
  }
}

async function storeRecord({ bucket, folder, paths }: SyncPlace, run: string): Promise<void> {
  const attempts = await readIfThere(join(paths.attempts, `${run}.ndjson`))
  if (attempts !== null) await bucket.put(`${folder}/attempts/${run}.ndjson`, attempts)
  await bucket.put(`${folder}/runs/${run}.json`, await readFile(join(paths.runs, `${run}.json`), 'utf8'))
  // Ids of runs begin with their time.
  const old = (await bucket.list(`${folder}/runs/`)).slice(0, -KEEP_RUNS)
  await bucket.remove([...old, ...old.map((key) => key.replace(/\/runs\/([^/]+)\.json$/, '/attempts/$1.ndjson'))])
}

/** The files of a sync as the bucket has them; what never changes is fetched once. */
async function bringRecords({ bucket, folder, paths }: SyncPlace): Promise<StatePaths> {
  for (const [kind, here, ending] of [
    ['runs', paths.runs, '.json'],
    ['attempts', paths.attempts, '.ndjson'],
  ] as const) {
    await mkdir(here, { recursive: true, mode: 0o700 })
    const names = (await bucket.list(`${folder}/${kind}/`))
      .map((key) => key.slice(`${folder}/${kind}/`.length))
      .filter((name) => /^[\w.-]+$/.test(name))
    const known = new Set(await readdir(here))
    for (const name of names)
      if (name.endsWith(ending) && !known.has(name)) await bucket.download(`${folder}/${kind}/${name}`, join(here, name))
    for (const name of known) if (name.endsWith(ending) && !names.includes(name)) await rm(join(here, name))
  }
  if (!(await bucket.download(`${folder}/rejected.ndjson`, paths.rejected))) await rm(paths.rejected, { force: true })
  return paths
}

/** Under both leases. The old name is whole until its head is emptied; the new one is, from when its head is written. */
async function move(from: SyncPlace, to: SyncPlace): Promise<void> {
  const { bucket } = from
  const request = { timeout: 0, now: Date.now, signal: new AbortController().signal, run: null }
  const left = await takeLease(from.lease, { ...request, name: from.name })
  const leases = [left]
  try {
    const lease = await takeLease(to.lease, { ...request, name: to.name })
    leases.push(lease)
    const [source, target] = [await bucket.note<Head>(from.head), await bucket.note<Head>(to.head)]
    if (source?.value.run !== null || source.value.snapshot === null) throw unfinishedError(from.name)
    const upload = `${lease.fence}-0`
    const list = await copyParts(bucket, from.folder, to.folder, upload, await snapshotOf(from, source.value))
    const snapshot = `snapshot-${upload}.json`
    await bucket.put(`${to.folder}/${snapshot}`, JSON.stringify(list))
    await each(await bucket.list(`${from.folder}/`), async (key) => {
      const name = key.slice(from.folder.length + 1)
      if (/^(runs|attempts)\/|^(rejected\.ndjson|target)$/.test(name)) await bucket.copy(key, `${to.folder}/${name}`)
    })
    for (const held of leases) held.alive()
    if ((await bucket.replace(to.head, { fence: lease.fence, snapshot, run: null }, target?.etag ?? null)) === null)
      throw await raceError(to.lease, to.name)
    if ((await bucket.replace(from.head, { fence: left.fence, snapshot: null, run: null }, source.etag)) === null)
      throw await raceError(from.lease, from.name)
    await clear(from, left)
  } finally {
    for (const lease of leases) await lease.release()
  }
}
