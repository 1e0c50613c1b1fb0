/** An unfinished run on its way between machines: its outbox as a Parquet file, everything else as texts. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { CdpError } from '../errors.ts'
import { lit } from './db.ts'
import type { Db } from './db.ts'
import { COUNT_ROWS, transaction } from './fold.ts'
import { setMeta } from './header.ts'
import { openState } from './local.ts'
import { insertJob, writeJournal } from './outbox.ts'
import type { JobRow, JournalRow } from './outbox.ts'

/** What a run changed in its state before it sent anything, but for the outbox. */
export interface RunNote {
  readonly meta: readonly { readonly name: string; readonly value: string | null }[]
  readonly fields: readonly { readonly position: number; readonly name: string; readonly signature: string | null }[]
  /** Rows of the outbox file. */
  readonly rows: number
}

/** Intents, outcomes and jobs, in the order in which they became durable. */
export interface JournalNote {
  readonly rows: readonly JournalRow[]
  readonly jobs: readonly JobRow[]
}

/** Memory and threads for a state file that is only put together. */
const SMALL = { memory: 256 * 1_048_576, threads: 1 }

export async function packRun(db: Db, outbox: string): Promise<RunNote> {
  await db.run(`COPY (FROM state.outbox) TO ${lit(outbox)} (FORMAT parquet, COMPRESSION zstd)`)
  const { rows } = await db.one<{ rows: number }>('SELECT count(*) AS rows FROM state.outbox')
  return {
    meta: await db.rows('SELECT name, value FROM state.meta'),
    fields: await db.rows('SELECT position, name, signature FROM state.fields ORDER BY position'),
    rows,
  }
}

/** Makes a state file that holds an unfinished run as if it had been killed here. The file is the snapshot that the run began with, or missing. */
export async function unpackRun(
  file: string,
  spill: string,
  note: RunNote,
  outbox: string,
  journal: readonly JournalNote[],
): Promise<void> {
  const state = await openState({ file, writable: true, spill, ...SMALL })
  try {
    const { db } = state
    // A part that was stored twice, because nobody heard of the first time, counts once.
    const rows = [...new Map(journal.flatMap((part) => part.rows).map((row) => [row.seq, row])).values()]
    const jobs = [...new Map(journal.flatMap((part) => part.jobs).map((job) => [`${job.at} ${job.token}`, job])).values()]
    const fields = note.fields.map(({ position, name, signature }) => `(${position}, ${lit(name)}, ${lit(signature)})`)
    await transaction(
      db,
      [
        ...['outbox', 'journal', 'jobs', 'fields', 'meta'].map((table) => `DELETE FROM state.${table};`),
        `INSERT INTO state.outbox FROM read_parquet(${lit(outbox)});`,
        fields.length > 0 ? `INSERT INTO state.fields VALUES ${fields.join(', ')};` : '',
        ...note.meta.map(({ name, value }) => setMeta(name, value)),
        ...jobs.map(insertJob),
        COUNT_ROWS,
      ].join('\n'),
    )
    await writeJournal(db, rows)
    const found = await db.one<{ rows: number }>('SELECT count(*) AS rows FROM state.outbox')
    if (found.rows !== note.rows) throw new Error(`the outbox of an unfinished run holds ${found.rows} rows instead of ${note.rows}`)
    await db.run('CHECKPOINT state')
  } finally {
    state.close()
  }
}

export const unfinishedError = (name: string): CdpError =>
  new CdpError('CDP4034', `A run of ${name} is unfinished: its state can't be moved.`, {
    hint: `\`cdp-sync run ${name}\` takes it up and ends it.`,
  })

export async function readIfThere(path: string): Promise<string | null> {
  return existsSync(path) ? readFile(path, 'utf8') : null
}
