/**
 * Files in a bucket as parts: one that the bucket has is not sent again. A run changes a few blocks of a state file, and its
 * free blocks not at all (1 % of 500,000 rows changed: 9 of 672 blocks).
 *
 * The name of a part is that of the upload that brought it, which no other has, and what it holds. Under its contents alone a
 * holder that stood still could delete, in a request that is repeated late, what the next one has stored again.
 */
import { createHash } from 'node:crypto'
import { open, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import pLimit from 'p-limit'
import { z } from 'zod'
import { CdpError } from '../errors.ts'
import type { Bucket } from './bucket.ts'
import { parse } from './bucket.ts'

/** A file: its size, and its parts in order. */
export interface PartList {
  readonly bytes: number
  /** Names below `parts/`: an upload, a hyphen, and SHA-256 in hexadecimal. */
  readonly parts: readonly string[]
}
const LIST = z.object({ bytes: z.int().nonnegative(), parts: z.array(z.string()) })
const digestOf = (part: string): string => part.slice(-64)

/**
 * DuckDB's file begins with three headers of 4 KiB, and blocks of 256 KiB follow: BLOCK_START and DEFAULT_BLOCK_ALLOC_SIZE in
 * https://github.com/duckdb/duckdb/blob/main/src/include/duckdb/storage/storage_info.hpp. A part is the headers, or four blocks.
 */
const HEADERS = 3 * 4096
const PART = 4 * 262_144
const REQUESTS = 8

/** An object that another one promises: a reader may be too late, for a run replaced both. */
export class Missing extends CdpError {}
const missing = (bucket: Bucket, key: string): Missing =>
  new Missing('CDP4001', `The state in ${bucket.url} is damaged: ${key} is missing.`, {
    hint: 'Restore it from a version of the bucket, or a backup. Or `cdp-sync baseline` adopts what the model says today. Nothing was sent.',
  })

export const partKey = (folder: string, part: string): string => `${folder}/parts/${part}`

/** Stores what of a file is not in `known`. The file must not change meanwhile. `upload`: never used before in this folder. */
export async function storeParts(
  bucket: Bucket,
  folder: string,
  upload: string,
  file: string,
  known: readonly string[],
): Promise<PartList> {
  const there = new Map(known.map((part) => [digestOf(part), part]))
  const handle = await open(file)
  try {
    const { size } = await handle.stat()
    const parts = await each(rangesOf(size), async ([from, to]) => {
      const body = await readRange(handle, from, to)
      const digest = sha256(body)
      const found = there.get(digest)
      if (found !== undefined) return found
      const part = `${upload}-${digest}`
      there.set(digest, part)
      await bucket.put(partKey(folder, part), body)
      return part
    })
    return { bytes: size, parts }
  } finally {
    await handle.close()
  }
}

/** What stands at `key`, or in it, as a list. Throws CDP4001. */
export function listOf(bucket: Bucket, key: string, value: unknown): PartList {
  const found = LIST.safeParse(value)
  if (found.success && countOf(found.data.bytes) === found.data.parts.length) return found.data
  throw damaged(bucket, `${key} is no list of parts`)
}

/** JSON that another object promises. Throws Missing, CDP4001. */
export async function promised(bucket: Bucket, key: string): Promise<unknown> {
  const text = await bucket.text(key)
  if (text === null) throw missing(bucket, key)
  return parse(text, `${bucket.url}/${key}`)
}

/** Copies the parts of a list to another folder, as an upload of its own there. */
export async function copyParts(bucket: Bucket, from: string, to: string, upload: string, { bytes, parts }: PartList): Promise<PartList> {
  const named = parts.map((part) => `${upload}-${digestOf(part)}`)
  await each([...new Map(named.map((part, i) => [part, parts[i] ?? ''])).entries()], ([part, old]) =>
    bucket.copy(partKey(from, old), partKey(to, part)),
  )
  return { bytes, parts: named }
}

/** Puts a file together. Throws Missing, CDP4001 (what is there is something else). */
export async function fetchParts(bucket: Bucket, folder: string, { bytes, parts }: PartList, file: string): Promise<void> {
  const ranges = rangesOf(bytes)
  await rm(file, { force: true })
  const handle = await open(file, 'w', 0o600)
  try {
    await each(ranges, async ([from, to], i) => {
      const part = parts[i] ?? ''
      const key = partKey(folder, part)
      const body = await bucket.bytes(key)
      if (body === null) throw missing(bucket, key)
      if (body.length !== to - from || sha256(body) !== digestOf(part)) throw damaged(bucket, `${key} holds other bytes than were stored`)
      await writeRange(handle, body, from)
    })
  } finally {
    await handle.close()
  }
}

const damaged = (bucket: Bucket, what: string): CdpError =>
  new CdpError('CDP4001', `The state in ${bucket.url} is damaged: ${what}.`, {
    hint: 'Restore it from a version of the bucket, or a backup. Nothing was sent.',
  })

const sha256 = (body: Buffer): string => createHash('sha256').update(body).digest('hex')

const countOf = (bytes: number): number => (bytes > 0 ? 1 : 0) + Math.max(0, Math.ceil((bytes - HEADERS) / PART))

function rangesOf(bytes: number): [from: number, to: number][] {
  const ranges: [number, number][] = bytes > 0 ? [[0, Math.min(HEADERS, bytes)]] : []
  for (let from = HEADERS; from < bytes; from += PART) ranges.push([from, Math.min(from + PART, bytes)])
  return ranges
}

async function readRange(handle: FileHandle, from: number, to: number): Promise<Buffer> {
  const body = Buffer.alloc(to - from)
  for (let at = 0; at < body.length;) {
    const { bytesRead } = await handle.read(body, at, body.length - at, from + at)
    if (bytesRead === 0) throw new Error('the state file became shorter while it was read')
    at += bytesRead
  }
  return body
}

/** A disk without room may take a part of what it is given, and say nothing. */
async function writeRange(handle: FileHandle, body: Buffer, from: number): Promise<void> {
  for (let at = 0; at < body.length;) {
    const { bytesWritten } = await handle.write(body, at, body.length - at, from + at)
    if (bytesWritten === 0) throw Object.assign(new Error('No space left on device'), { code: 'ENOSPC' })
    at += bytesWritten
  }
}

/** Several at a time. After one that failed none begins, and all have ended when this throws. */
export async function each<Item, Result>(items: readonly Item[], work: (item: Item, i: number) => Promise<Result>): Promise<Result[]> {
  const limit = pLimit(REQUESTS)
  let failed = false
  const settled = await Promise.allSettled(
    items.map((item, i) =>
      limit(async () => {
        if (failed) return null
        try {
          return { result: await work(item, i) }
        } catch (error) {
          failed = true
          throw error
        }
      }),
    ),
  )
  return settled.flatMap((it) => {
    if (it.status === 'rejected') throw it.reason
    return it.value === null ? [] : [it.value.result]
  })
}
