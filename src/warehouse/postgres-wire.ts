/** Two things the driver has no call for: describing a statement without running it, and a COPY straight into a file. */
import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'
import type { Client, Connection, FieldDef, Submittable } from 'pg'
import { CdpError } from '../errors.ts'

/**
 * Parses and describes one statement by the extended protocol, unnamed (it outlives nothing, so PgBouncer may be
 * between), and runs nothing. The fields of its rows; null when it returns none. Throws the server's error: for syntax,
 * for several statements, for whatever tries to end the statement early.
 */
export function describeStatement(client: Client, text: string): Promise<readonly FieldDef[] | null> {
  return new Promise((resolve, reject) => {
    let fields: readonly FieldDef[] | null = null
    const statement: Submittable & Replies = {
      submit(connection) {
        connection.parse({ name: '', text, types: [] }, true)
        connection.describe({ type: 'S', name: '' }, true)
        connection.sync()
      },
      handleRowDescription(message) {
        fields = message.fields
      },
      handleError: reject,
      handleReadyForQuery() {
        resolve(fields)
      },
    }
    client.query(statement)
  })
}

/** What the driver calls on whatever it was given to submit. */
interface Replies {
  handleRowDescription?(message: { fields: readonly FieldDef[] }): void
  handleCopyData?(message: { chunk: Buffer }): void
  handleCommandComplete?(message: { text: string }): void
  handleCopyInResponse?(connection: CopyConnection): void
  handleError(error: Error): void
  handleReadyForQuery(): void
}

export interface Spooled {
  readonly rows: number
  readonly maxLineBytes: number
  readonly multiline: boolean
}

const BLOCK = 1024 * 1024
const NEWLINE = 10
const BOM = Buffer.from([0xef, 0xbb, 0xbf])

/**
 * Runs a `COPY … TO STDOUT (FORMAT csv)` into a new file at `path`. The protocol sends one message per row
 * (https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY), so rows are counted and measured without a
 * look at quotes. Resolves when the server has said that it is done and counted the same rows, and the file is written.
 */
export async function copyToFile(client: Client, sql: string, path: string, progress: (bytes: number) => void): Promise<Spooled> {
  const file = createWriteStream(path, { flags: 'wx', mode: 0o600, highWaterMark: 2 * BLOCK })
  const written = finished(file).catch((error: unknown) => {
    const why = error instanceof Error ? error.message : String(error)
    throw new CdpError('CDP2014', `the extract can't be written: ${why}`, {
      hint: 'Make room on that disk, or move the state to another.',
      cause: error,
    })
  })
  const received = receive(client, sql, file, progress).then((spooled) => {
    file.end()
    return spooled
  })
  try {
    const [spooled] = await Promise.all([received, written])
    return spooled
  } catch (error) {
    file.destroy()
    throw error
  }
}

function receive(client: Client, sql: string, file: NodeJS.WritableStream, progress: (bytes: number) => void): Promise<Spooled> {
  return new Promise((resolve, reject) => {
    const { stream } = connectionOf(client)
    let block = Buffer.allocUnsafe(BLOCK)
    let used = 0
    let bytes = 0
    let rows = 0
    let maxLineBytes = 0
    let multiline = false
    let counted = -1

    const write = (data: Buffer): void => {
      bytes += data.length
      if (!file.write(data)) stream.pause()
      progress(bytes)
    }
    const flush = (): void => {
      if (used > 0) write(block.subarray(0, used))
      block = Buffer.allocUnsafe(BLOCK)
      used = 0
    }
    file.on('drain', () => stream.resume())
    file.on('error', ({ message }) => {
      reject(
        new CdpError('CDP2014', `the extract can't be written: ${message}`, {
          hint: 'Make room on that disk, or move the state to another.',
        }),
      )
    })

    const copy: Submittable & Replies = {
      submit: (connection: Connection) => connection.query(sql),
      handleCopyData({ chunk }) {
        // A reader drops the BOM a file begins with: this one is a value's.
        if (rows === 0 && chunk.subarray(0, 3).equals(BOM)) write(BOM)
        rows++
        if (chunk.length > maxLineBytes) maxLineBytes = chunk.length
        if (!multiline) multiline = chunk.indexOf(NEWLINE) !== chunk.length - 1
        if (used + chunk.length > BLOCK) flush()
        // The driver reuses the memory of a chunk, so it is copied either way.
        if (chunk.length > BLOCK) write(Buffer.from(chunk))
        else used += chunk.copy(block, used)
      },
      handleCommandComplete({ text }) {
        counted = Number(/^COPY (\d+)$/.exec(text)?.[1] ?? -1)
      },
      handleError: reject,
      handleReadyForQuery() {
        flush()
        // A file that ends says no more when it drains.
        stream.resume()
        if (counted === rows) resolve({ rows, maxLineBytes, multiline })
        else
          reject(
            new CdpError('CDP2013', `PostgreSQL counted ${counted} rows and sent ${rows}`, { hint: 'Nothing was taken over. Run again.' }),
          )
      },
    }
    client.query(copy)
  })
}

/** What the driver's types leave out of sending rows. */
interface CopyConnection extends Connection {
  sendCopyFromChunk(chunk: Buffer): void
  endCopyFrom(): void
  sendCopyFail(message: string): void
}

/** Runs a `COPY … FROM STDIN` out of a file; gives the rows that the server counted. */
export function copyFromFile(client: Client, sql: string, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let counted = -1
    let failed: unknown = null
    const copy: Submittable & Replies = {
      submit: (connection: Connection) => connection.query(sql),
      handleCopyInResponse(connection) {
        void sendFile(connection, path).catch((error: unknown) => {
          failed = error
          connection.sendCopyFail('the file could not be read')
        })
      },
      handleCommandComplete({ text }) {
        counted = Number(/^COPY (\d+)$/.exec(text)?.[1] ?? -1)
      },
      handleError: (error) => reject(failed instanceof Error ? failed : error),
      handleReadyForQuery: () => resolve(counted),
    }
    client.query(copy)
  })
}

async function sendFile(connection: CopyConnection, path: string): Promise<void> {
  const { stream } = connection
  for await (const chunk of createReadStream(path, { highWaterMark: BLOCK })) {
    connection.sendCopyFromChunk(chunk as Buffer)
    // What the server has not taken yet would pile up here.
    if (stream.writableNeedDrain) await once(stream, 'drain')
  }
  connection.endCopyFrom()
}

/** The driver's connection, which its types leave out: to pause a server that is faster than the disk, or to drop it. */
export function connectionOf(client: Client): Connection {
  return (client as unknown as { connection: Connection }).connection
}
