/** Rows of texts to a CSV file as src/warehouse/extract.ts reads it, as fast as the disk takes them. */
import { open } from 'node:fs/promises'
import { Writable, type Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { callbackify } from 'node:util'
import { CdpError } from '../errors.ts'

export interface Written {
  readonly rows: number
  readonly bytes: number
  readonly maxLineBytes: number
  readonly multiline: boolean
}

/** Rows that may wait for the disk. */
const WAITING = 4096
/** The driver forgets a piece of a result that is no JSON, and would be silent for ever. Longer than all its retries, in milliseconds. */
const SILENCE = 20 * 60_000

/** Writes a new file at `path`. Throws CDP2316 where the disk fails, CDP2315 where rows stop coming; and what `rows` throws. */
export async function writeRows(
  rows: Readable,
  path: string,
  progress: (bytes: number) => void,
  { signal, silence = SILENCE }: { signal: AbortSignal; silence?: number },
): Promise<Written> {
  const file = await open(path, 'wx', 0o600).catch(failed)
  let [count, bytes, maxLineBytes, multiline] = [0, 0, 0, false]
  const stalled = new CdpError('CDP2315', 'Snowflake sends no more rows, and does not say why', {
    hint: 'Nothing was taken over. Run again.',
  })
  const timer = setTimeout(() => rows.destroy(stalled), silence)
  // The driver may still report a piece after its stream was given up, and nobody listens then.
  rows.on('error', () => {})

  const take = async (batch: readonly Row[]): Promise<void> => {
    timer.refresh()
    let text = ''
    for (const row of batch) {
      const line = csvLine(row)
      // 3 bytes at most for each of JavaScript's characters: most lines need no counting.
      if (line.length * 3 > maxLineBytes) maxLineBytes = Math.max(maxLineBytes, Buffer.byteLength(line))
      multiline ||= line.indexOf('\n') !== line.length - 1
      text += line
    }
    const block = Buffer.from(text)
    await file.writeFile(block).catch(failed)
    count += batch.length
    bytes += block.length
    progress(bytes)
  }
  const taken = callbackify(take)
  const sink = new Writable({
    objectMode: true,
    highWaterMark: WAITING,
    write: (row: Row, _, done) => taken([row], done),
    writev: (chunks, done) =>
      taken(
        chunks.map(({ chunk }) => chunk as Row),
        done,
      ),
  })
  try {
    await pipeline(rows, sink, { signal })
    return { rows: count, bytes, maxLineBytes, multiline }
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    clearTimeout(timer)
    await file.close()
  }
}

/** All rows of a statement in a new file; CDP2315 also where the server counted others. */
export async function bringRows(
  { rows, count }: { readonly rows: Readable; readonly count: number },
  path: string,
  progress: (bytes: number) => void,
  { signal }: { readonly signal: AbortSignal },
): Promise<Written> {
  const written = await writeRows(rows, path, progress, { signal })
  if (written.rows === count) return written
  throw new CdpError('CDP2315', `Snowflake counted ${count} rows and sent ${written.rows}`, { hint: 'Nothing was taken over. Run again.' })
}

type Row = readonly (string | null)[]

function failed(error: unknown): never {
  const why = error instanceof Error ? error.message : String(error)
  throw new CdpError('CDP2316', `the extract can't be written: ${why}`, {
    hint: 'Make room on that disk, or move the state to another.',
    cause: error,
  })
}

/** A lone value has an empty neighbour: the reader drops blank lines, and the line of a lone NULL is blank. */
export function csvLine(row: Row): string {
  let line = ''
  for (let i = 0; i < row.length; i++) {
    if (i > 0) line += ','
    const value = row[i]
    if (value !== null && value !== undefined) line += field(value)
  }
  return row.length === 1 ? `${line},\n` : `${line}\n`
}

/** A file's own byte order mark is dropped by the reader: one that begins a value is hidden behind a quote. */
const SPECIAL = /[",\r\n\ufeff]/

const field = (value: string): string => (value === '' || SPECIAL.test(value) ? `"${value.replaceAll('"', '""')}"` : value)
