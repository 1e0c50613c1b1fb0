/** What a state needs of an S3 service: objects, conditional writes, the server's clock, and errors in words. */
import { createWriteStream } from 'node:fs'
import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { GetObjectCommandOutput } from '@aws-sdk/client-s3'
import type { StateEntry } from '../config/types.ts'
import { AuthError, CdpError } from '../errors.ts'

/** Milliseconds without a byte, after which a request has failed; the SDK tries each six times. */
const SILENCE = 20_000
const CONNECT = 5_000

/** A small JSON object as it lies in the bucket. */
export interface Note<T> {
  readonly value: T
  readonly etag: string
  /** By the server's clock, in milliseconds, to the second: when it was written, and when it was read. */
  readonly writtenAt: number
  readonly readAt: number
}

/** Keys are whole names of objects. Every call throws CDP4030 (no answer, a refusal), CDP4031 (no permission). */
export interface Bucket {
  /** For messages: `s3://bucket`. */
  readonly url: string
  note<T>(key: string): Promise<Note<T> | null>
  /**
   * Writes a note only where the one with this ETag stands (null: where none stands). Gives the new ETag; null when somebody
   * else was faster. A write whose answer was lost is told from a lost race by an id in it.
   */
  replace(key: string, value: object, etag: string | null): Promise<string | null>
  put(key: string, body: string | Buffer): Promise<void>
  /** Null when there is no such object. */
  bytes(key: string): Promise<Buffer | null>
  /** False when there is no such object. */
  download(key: string, file: string): Promise<boolean>
  text(key: string): Promise<string | null>
  copy(from: string, to: string): Promise<void>
  /** All keys under a prefix, in order. */
  list(prefix: string): Promise<string[]>
  /** Names of the folders right under a prefix that ends in a slash. */
  folders(prefix: string): Promise<string[]>
  remove(keys: readonly string[]): Promise<void>
}

export type BucketEntry = Extract<StateEntry, { readonly type: 's3' }>

const opened = new Map<string, Promise<Bucket>>()

/** One client for each bucket of the process; the SDK is loaded now. */
export function openBucket(entry: BucketEntry): Promise<Bucket> {
  const name = JSON.stringify([entry.bucket, entry.endpoint, entry.region])
  const known = opened.get(name) ?? connect(entry)
  opened.set(name, known)
  return known
}

async function connect({ bucket, endpoint, region }: BucketEntry): Promise<Bucket> {
  // It would print on stderr, in each run, which versions of Node it is going to leave behind.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true'
  const sdk = await import('@aws-sdk/client-s3')
  const client = new sdk.S3Client({
    // Services that are not AWS take any region.
    ...(region === null ? (endpoint === null ? {} : { region: 'auto' }) : { region }),
    ...(endpoint === null ? {} : { endpoint, forcePathStyle: true }),
    // R2 is said to take one write a second of one object; lease and head are written more often in a short run.
    maxAttempts: 6,
    requestHandler: { connectionTimeout: CONNECT, socketTimeout: SILENCE },
    // Checksums that S3 does not require are unknown to some services.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  const url = `s3://${bucket}`
  const explain = (error: unknown): CdpError => explainBucket(url, error)
  const at = (key: string): { Bucket: string; Key: string } => ({ Bucket: bucket, Key: key })
  const asked = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work
    } catch (error) {
      throw explain(error)
    }
  }
  const get = async (key: string): Promise<(GetObjectCommandOutput & { readAt: number }) | null> => {
    const command = new sdk.GetObjectCommand(at(key))
    let readAt = Number.NaN
    command.middlewareStack.add(
      (next) => async (args) => {
        const result = await next(args)
        const { headers } = result.response as { headers?: Record<string, string> }
        readAt = Date.parse(headers?.['date'] ?? '')
        return result
      },
      { step: 'deserialize', priority: 'low' },
    )
    try {
      return { ...(await client.send(command)), readAt }
    } catch (error) {
      if (statusOf(error) === 404 && nameOf(error) !== 'NoSuchBucket') return null
      throw explain(error)
    }
  }
  const self: Bucket = {
    url,
    // oxlint-disable-next-line no-unnecessary-type-parameters -- the caller knows what it wrote there
    async note<T>(key: string) {
      const found = await get(key)
      if (!found) return null
      const text = await asked(found.Body?.transformToString() ?? Promise.resolve(''))
      const { ETag: etag, LastModified: written, readAt } = found
      if (etag === undefined || written === undefined || Number.isNaN(readAt)) throw explain(new Error('an answer without ETag or Date'))
      return { value: parse(text, `${url}/${key}`) as T, etag, writtenAt: written.getTime(), readAt }
    },
    async replace(key, value, etag) {
      const write = randomUUID()
      for (;;) {
        const condition = etag === null ? { IfNoneMatch: '*' } : { IfMatch: etag }
        try {
          const body = JSON.stringify({ ...value, write })
          const done = await client.send(
            new sdk.PutObjectCommand({ ...at(key), ...condition, Body: body, ContentType: 'application/json' }),
          )
          return done.ETag ?? null
        } catch (error) {
          // 404: the one that should be replaced is gone. 409: two writes at the same moment, either may have won.
          if (![404, 409, 412].includes(statusOf(error)) || nameOf(error) === 'NoSuchBucket') throw explain(error)
        }
        const now = await self.note<{ write?: string }>(key)
        if (now?.value.write === write) return now.etag
        if ((now?.etag ?? null) !== etag) return null
      }
    },
    async put(key, body) {
      // The SDK takes an empty text for a stream without an end.
      const bytes = typeof body === 'string' ? Buffer.from(body) : body
      await asked(client.send(new sdk.PutObjectCommand({ ...at(key), Body: bytes, ContentLength: bytes.length })))
    },
    async bytes(key) {
      const found = await get(key)
      return found ? Buffer.from((await asked(found.Body?.transformToByteArray() ?? Promise.resolve(null))) ?? []) : null
    },
    async download(key, file) {
      const found = await get(key)
      if (!found) return false
      await asked(pipeline(found.Body as Readable, createWriteStream(file, { mode: 0o600 })))
      return true
    },
    async text(key) {
      const found = await get(key)
      return found ? await asked(found.Body?.transformToString() ?? Promise.resolve('')) : null
    },
    async copy(from, to) {
      const source = `${bucket}/${from}`.split('/').map(encodeURIComponent).join('/')
      await asked(client.send(new sdk.CopyObjectCommand({ ...at(to), CopySource: source })))
    },
    async list(prefix) {
      const keys: string[] = []
      const pages = sdk.paginateListObjectsV2({ client }, { Bucket: bucket, Prefix: prefix })
      await asked(
        (async () => {
          for await (const page of pages) for (const { Key } of page.Contents ?? []) if (Key !== undefined) keys.push(Key)
        })(),
      )
      return keys.sort()
    },
    async folders(prefix) {
      const names: string[] = []
      const pages = sdk.paginateListObjectsV2({ client }, { Bucket: bucket, Prefix: prefix, Delimiter: '/' })
      await asked(
        (async () => {
          for await (const page of pages)
            for (const { Prefix } of page.CommonPrefixes ?? []) if (Prefix !== undefined) names.push(Prefix.slice(prefix.length, -1))
        })(),
      )
      return names.sort()
    },
    async remove(keys) {
      // One by one: DeleteObjects wants a checksum that not every service computes alike.
      for (const key of keys) await asked(client.send(new sdk.DeleteObjectCommand(at(key))))
    },
  }
  return self
}

/** Throws CDP4001. `place`: for the message. */
export function parse(text: string, place: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new CdpError('CDP4001', `${place} can't be read as part of a state: it is no JSON.`, {
      hint: 'Restore it from a version of the bucket, or a backup. Nothing was sent.',
      cause,
    })
  }
}

const statusOf = (error: unknown): number => (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode ?? 0
const nameOf = (error: unknown): string => (error instanceof Error ? error.name : '')

function explainBucket(url: string, error: unknown): CdpError {
  if (error instanceof CdpError) return error
  const name = nameOf(error)
  const said = error instanceof Error ? (error.message.split('\n', 1)[0] ?? '') : String(error)
  const status = statusOf(error)
  if (status === 401 || status === 403 || name === 'CredentialsProviderError') {
    return new AuthError('CDP4031', `The state in ${url} may not be read or written: ${said || name}.`, {
      hint: 'The AWS SDK looks for credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, profiles and roles. They need s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket.',
      cause: error,
    })
  }
  const what = status === 0 ? 'gave no answer' : `answered ${status}`
  return new CdpError(
    'CDP4030',
    `The state in ${url} can't be reached: the service ${what} (${[name, said].filter(Boolean).join(': ')}).`,
    {
      hint:
        name === 'NoSuchBucket'
          ? 'Make the bucket, or correct `state.bucket`.'
          : 'Run again when it is up: what was confirmed and stored is not sent twice.',
      cause: error,
    },
  )
}
