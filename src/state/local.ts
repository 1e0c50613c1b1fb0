/** Opens the state of one sync on this machine, and commits a run to it. */
import { existsSync } from 'node:fs'
import { chmod, rename, rm } from 'node:fs/promises'
import { CdpError } from '../errors.ts'
import type { Normaliser } from '../connector.ts'
import type { CompiledField } from '../mapping.ts'
import { lit, openDb } from './db.ts'
import type { Db } from './db.ts'
import { COUNT_ROWS, foldSql, prepareFold, transaction, viewFolded, viewStored } from './fold.ts'
import { readHeader, readMeta, setMeta } from './header.ts'
import type { Header } from './header.ts'
import type { PlacedField } from './payload.ts'
import { createTables, FORMAT } from './schema.ts'

export interface State {
  readonly db: Db
  /** Whether a run may write; `plan` only reads. */
  readonly writable: boolean
  /** Rewrites the file where most of it is free: room of an outbox that was once large. */
  shrink(): Promise<void>
  /** Closes the state file while `work` reads it by other means. */
  detached<T>(work: (file: string) => Promise<T>): Promise<T>
  close(): void
}

export interface StateSettings {
  readonly file: string
  readonly writable: boolean
  /** Where the embedded database may spill. */
  readonly spill: string
  readonly memory: number
  readonly threads: number
}

/**
 * Opens the state file through DuckDB alone: opening and closing it by other means in this process would drop the lock on it.
 * Throws CDP4001 (not a state file, damaged, or of a newer version), CDP4002 (can't be opened or written).
 */
export async function openState(settings: StateSettings): Promise<State> {
  const { file, writable } = settings
  const { db, close } = await openDb(settings)
  const attach = (): Promise<void> => db.run(`ATTACH ${lit(file)} AS state${writable ? '' : ' (READ_ONLY)'}`)
  try {
    const exists = existsSync(file)
    if (!exists && !writable) await db.run(`ATTACH ':memory:' AS state`)
    else await attach()
    if (!exists) {
      await createTables(db)
      if (writable) await chmod(file, 0o600)
    } else await checkFormat(db, file)
    await viewStored(db)
    return {
      db,
      writable,
      close,
      async detached(work) {
        await db.run('DETACH state')
        try {
          return await work(file)
        } finally {
          await attach()
        }
      },
      async shrink() {
        if (!(await isMostlyFree(db))) return
        const fresh = shrunk(file)
        await rm(fresh, { force: true })
        try {
          await db.run(`ATTACH ${lit(fresh)} AS shrunk; COPY FROM DATABASE state TO shrunk; DETACH shrunk`)
          await chmod(fresh, 0o600)
        } catch {
          // Without room for it the file stays as it is, which is as good.
          await db.run('DETACH DATABASE IF EXISTS shrunk').catch(() => undefined)
          for (const path of [fresh, `${fresh}.wal`]) await rm(path, { force: true })
          return
        }
        await db.run('DETACH state')
        await rename(fresh, file)
        await attach()
      },
    }
  } catch (error) {
    close()
    throw explainOpen(error, file)
  }
}

const shrunk = (file: string): string => `${file}.shrunk`
/** Files that may lie beside a state file after its process was killed, and are a part of it or worth nothing. */
export const besides = (file: string): string[] => [`${file}.wal`, shrunk(file), `${shrunk(file)}.wal`]

/** Blocks have 256 KiB; below 16 MiB there is nothing to gain. */
async function isMostlyFree(db: Db): Promise<boolean> {
  await db.run('CHECKPOINT state')
  const { used, free } = await db.one<{ used: number; free: number }>(
    `SELECT used_blocks AS used, free_blocks AS free FROM pragma_database_size() WHERE database_name = 'state'`,
  )
  return free > Math.max(used, 64)
}

async function checkFormat(db: Db, file: string): Promise<void> {
  const tables = await db.rows<{ name: string }>(`SELECT table_name AS name FROM duckdb_tables() WHERE database_name = 'state'`)
  const names = new Set(tables.map(({ name }) => name))
  if (names.size === 0) return createTables(db)
  if (!names.has('meta') || !names.has('snapshot')) {
    throw new CdpError('CDP4001', `${file} is a database, but no state of cdp-sync.`, {
      hint: 'Move the file away, or point `state: { path }` elsewhere.',
    })
  }
  const format = Number((await readMeta(db, 'format')) ?? 0)
  if (format > FORMAT) {
    throw new CdpError(
      'CDP4001',
      `${file} was written by a newer version of cdp-sync (state format ${format}, this version knows ${FORMAT}).`,
      {
        hint: 'Upgrade cdp-sync on this machine.',
      },
    )
  }
  const rows = await readMeta(db, 'rows')
  const found = await db.one<{ n: number }>('SELECT count(*) AS n FROM state.snapshot')
  if (rows !== null && Number(rows) !== found.n) {
    throw new CdpError('CDP4001', `${file} is damaged: it should hold ${rows} addresses and holds ${found.n}.`, {
      hint: 'Restore it from a backup. Or `cdp-sync baseline` adopts what the model says today; `cdp-sync reset` forgets everything.',
    })
  }
}

function explainOpen(error: unknown, file: string): unknown {
  if (error instanceof CdpError) return error
  const message = error instanceof Error ? error.message : String(error)
  if (
    /not a valid DuckDB database|Could not read enough bytes|Corrupt|checksum|deserialize|Serialization|truncated|trying to read a database file with version/i.test(
      message,
    )
  ) {
    return new CdpError('CDP4001', `${file} can't be read as a state: ${firstLine(message)}`, {
      hint: 'Restore it from a backup. Nothing was sent.',
      cause: error,
    })
  }
  return new CdpError('CDP4002', `The state ${file} can't be opened: ${firstLine(message)}`, {
    hint: 'Check that the folder can be written, that the disk has room, and that no other program has the file open. Nothing was sent.',
    cause: error,
  })
}

/** An error of the disk or of rights, in words; others as they are. */
export function explainDisk(error: unknown): unknown {
  if (error instanceof CdpError || !(error instanceof Error)) return error
  const { code = '' } = error as NodeJS.ErrnoException
  const words = /No space left|Disk quota|Could not write file|Permission denied|Read-only file system|Input\/output error|File too large/i
  if (!['ENOSPC', 'EDQUOT', 'EROFS', 'EACCES', 'EPERM', 'EIO', 'EFBIG'].includes(code) && !words.test(error.message)) return error
  return new CdpError('CDP4002', `A file of the state can't be written: ${firstLine(error.message)}`, {
    hint: 'Check that the folder can be written and that the disk has room, then run again: what was confirmed is not sent twice.',
    cause: error,
  })
}

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? ''

/** What the state remembers of the last committed run. */
export interface Memory {
  readonly target: string | null
  readonly account: string | null
  readonly key: string | null
  readonly mode: string | null
  readonly hashColumns: readonly string[] | null
  readonly nullKeys: number
  readonly confirmedAt: string | null
  readonly position: string | null
  readonly header: Header | null
  /** Nothing was ever delivered or adopted. */
  readonly first: boolean
}

export async function readMemory(db: Db): Promise<Memory> {
  const [columns, empty] = [
    await readMeta(db, 'hash_columns'),
    await db.one<{ n: number }>('SELECT count(*) AS n FROM (FROM snap LIMIT 1)'),
  ]
  return {
    target: await readMeta(db, 'target'),
    account: await readMeta(db, 'account'),
    key: await readMeta(db, 'key'),
    mode: await readMeta(db, 'mode'),
    hashColumns: columns === null ? null : (JSON.parse(columns) as string[]),
    nullKeys: Number((await readMeta(db, 'null_keys')) ?? 0),
    confirmedAt: await readMeta(db, 'confirmed_at'),
    position: await readMeta(db, 'position'),
    header: await readHeader(db),
    first: empty.n === 0 && Number((await readMeta(db, 'elsewhere')) ?? 0) === 0,
  }
}

/** Makes `snap` and `said` show an unfinished run as if it were folded, without writing. */
export async function lookThrough(db: Db, header: Header): Promise<{ uncertain: number }> {
  const found = await prepareFold(db, header)
  await viewFolded(db)
  return found
}

export interface Placement {
  readonly fields: readonly PlacedField[]
  /** Every field name of the state by position, new ones at the end. */
  readonly names: readonly string[]
  /** Fields whose mapping is not the one the snapshot was compared under. */
  readonly edited: ReadonlySet<string>
  /** SQL that makes today's mapping the one the snapshot was compared under. */
  readonly commit: string
  /** SQL that gives new fields their positions and forgets what edited ones were compared under; durable before any payload uses them. */
  readonly reserve: string
}

/** Gives each field of the mapping its position: for ever the same, so that a field that returns finds what it had. */
export async function placeFields(
  db: Db,
  match: readonly CompiledField[],
  fields: readonly CompiledField[],
  normaliser: (name: string) => Normaliser,
): Promise<Placement> {
  const stored = await db.rows<{ position: number; name: string; signature: string | null }>(
    'SELECT position, name, signature FROM state.fields ORDER BY position',
  )
  const known = new Map(stored.map((field) => [field.name, field]))
  const names = stored.map(({ name }) => name)
  const placed: PlacedField[] = []
  const edited = new Set<string>()
  const reserve: string[] = []
  const signatures = new Map<string, string>()
  const commit = ['UPDATE state.fields SET signature = NULL;']
  for (const field of [...match, ...fields]) {
    if (field.meta !== null) continue
    const compare = field.match ? normaliser(field.name) : null
    const signature = compare === null ? field.signature : `${field.signature} ${compare}`
    signatures.set(field.name, signature)
    let position = known.get(field.name)?.position
    if (position === undefined) {
      position = names.push(field.name)
      reserve.push(`INSERT INTO state.fields VALUES (${position}, ${lit(field.name)}, NULL);`)
    }
    if (known.get(field.name)?.signature !== signature) edited.add(field.name)
    commit.push(`UPDATE state.fields SET signature = ${lit(signature)} WHERE position = ${position};`)
    placed.push({ field, position, normaliser: compare })
  }
  // From the first confirmation on rows differ in the mapping they were compared under: a killed run must not leave the old
  // one standing for all, or an edit that is taken back would find nothing to send.
  for (const { name, position, signature } of stored)
    if (signature !== null && signatures.get(name) !== signature)
      reserve.push(`UPDATE state.fields SET signature = NULL WHERE position = ${position};`)
  return { fields: placed, names, edited, commit: commit.join('\n'), reserve: reserve.join('\n') }
}

export interface CommitInput {
  /** Null when nothing was to be sent. */
  readonly header: Header | null
  readonly placement: Placement
  readonly meta: Readonly<Record<string, string | number | null>>
  /** Nothing was in the snapshot before this run. */
  readonly first: boolean
  readonly rehash: boolean
  readonly any: boolean
  /** Rows whose change is decided by payload; not in insert and append. */
  readonly compares: boolean
  /** Rows that left are marked, for nothing is sent for them. */
  readonly marksGone: boolean
}

/** Folds the journal and everything the diff learnt into the snapshot, and empties outbox and journal: one transaction. */
export async function commit(db: Db, input: CommitInput): Promise<void> {
  const fold = input.header ? await prepareFold(db, input.header) : null
  const statements: string[] = []
  if (input.rehash)
    statements.push(
      `UPDATE state.snapshot SET hash = w.hash FROM wanted w WHERE snapshot.address = w.address AND snapshot.hash = w.old_hash;`,
    )
  const status = input.any ? 'own_status' : 'classified'
  const found = input.first
    ? { quiet: 0, rest: 0 }
    : await db.one<{ quiet: number; rest: number }>(
        `SELECT count(*) FILTER (status = 'quiet') AS quiet, count(*) FILTER (status <> 'quiet') AS rest FROM ${status}`,
      )
  const { verdicts } = await db.one<{ verdicts: number }>('SELECT count(*) AS verdicts FROM state.verdicts')
  // An update scans the snapshot, whether it finds something or not.
  if (input.compares && !input.first) {
    const unsettled = input.header ? ` AND address NOT IN (SELECT address FROM folded WHERE NOT uncertain)` : ''
    if (found.quiet > 0)
      statements.push(
        // Equal payload: the row is as delivered, whoever has it now and whatever else changed in it.
        `UPDATE state.snapshot SET key = q.key, hash = q.hash, gone = FALSE FROM (SELECT address, key, hash FROM ${status} WHERE status = 'quiet') q WHERE snapshot.address = q.address;`,
      )
    if (found.rest > 0)
      statements.push(
        // What did not arrive must be looked at again even if its columns do not change: the mapping may have.
        `UPDATE state.snapshot SET hash = NULL WHERE address IN (SELECT address FROM ${status} WHERE status <> 'quiet')${unsettled};`,
      )
    if ((await db.one<{ n: number }>('SELECT count(*) AS n FROM gone')).n > 0)
      statements.push(
        `DELETE FROM state.snapshot WHERE address IN (SELECT address FROM gone WHERE forgotten);`,
        `UPDATE state.snapshot SET gone = TRUE WHERE address IN (SELECT address FROM gone WHERE NOT forgotten${input.marksGone ? '' : ' AND NOT owned'});`,
      )
  }
  // Not compared under today's mapping: looked at again when its row returns, or the mode does.
  if (input.placement.edited.size > 0 && !input.first)
    statements.push(
      `UPDATE state.snapshot SET hash = NULL WHERE hash IS NOT NULL${input.compares ? ' AND address NOT IN (SELECT address FROM wanted)' : ''};`,
    )
  if (fold) statements.push(foldSql(fold))
  statements.push(
    verdicts === 0
      ? ''
      : `DELETE FROM state.verdicts WHERE (op = 'write' AND address NOT IN (SELECT address FROM wanted)) OR (op = 'remove' AND address NOT IN (SELECT address FROM state.snapshot));`,
    input.placement.reserve && !input.header ? input.placement.reserve : '',
    input.placement.commit,
    ...Object.entries(input.meta).map(([name, value]) => setMeta(name, value)),
    COUNT_ROWS,
  )
  await transaction(db, statements.join('\n'))
}

/** Marks everything uncertain, durably: the next plan sends whatever the model wants, whole. */
export async function markUncertain(db: Db): Promise<void> {
  await transaction(db, 'UPDATE state.snapshot SET uncertain = TRUE, pending = NULL WHERE NOT uncertain;')
}

/** An upgrade of DuckDB must never meet the log of an older version. */
export async function checkpoint(db: Db): Promise<void> {
  await db.run('CHECKPOINT state')
}
