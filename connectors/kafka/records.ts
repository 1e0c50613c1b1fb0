/** Changes as messages, sent partition by partition: what a broker says of one partition holds for its messages alone. */
import type { ICustomPartitioner, Message, PartitionMetadata } from 'kafkajs'
import { AuthError, type Batch, type Change, encodeJson, nest, NotSent, type Outcome, Refused, UnknownOutcome } from '../../src/index.ts'

export interface Sent {
  readonly key: string
  readonly message: Message
  /** Of the message: key, value, headers and what the format adds. */
  readonly bytes: number
}

/** Bytes of a record beside key, value and headers, and of a header beside its name and value, rounded up (record format v2). */
const RECORD = 64
const HEADER = 10
/** Bytes of a batch of records beside them (the same). */
const BATCH = 70

/** A removal has no value: compaction then drops the key. */
export function recordOf({ key, match, fields, id }: Change, { op, sync, run }: Batch, now: number): Sent {
  const value = op === 'delete' ? null : encodeJson(nest({ ...match, ...fields }))
  const headers = { op, sync, run, id }
  const texts = Object.entries(headers).reduce((sum, [name, text]) => sum + name.length + Buffer.byteLength(text) + HEADER, 0)
  const bytes = Buffer.byteLength(key) + Buffer.byteLength(value ?? '') + texts + RECORD
  return { key, message: { key, value, headers, timestamp: String(now) }, bytes }
}

/**
 * The messages, and whether they may have left, which no error of kafkajs tells: it reads their headers in the moment it writes a
 * request, not while it looks for the broker, connects or logs in. Once `left` has said no they can't leave any more.
 */
export function watch(messages: readonly Message[]): { readonly watched: Message[]; readonly left: () => boolean } {
  let read = false
  let withdrawn = false
  const watched = messages.map((message) => ({
    ...message,
    get headers() {
      if (withdrawn) throw new Error('These messages are no longer to be sent.')
      read = true
      return message.headers
    },
  }))
  const left = (): boolean => {
    withdrawn = !read
    return read
  }
  return { watched: watched as Message[], left }
}

export interface Way {
  readonly topic: string
  readonly partitions: PartitionMetadata[]
  readonly maxBytes: number
  readonly partitioner: ICustomPartitioner
  readonly send: (messages: readonly Message[]) => Promise<unknown>
}

/** Sends all; yields an outcome for every record. Throws when nothing was stored and there is one reason for it. */
export async function* sendRecords(records: readonly Sent[], way: Way): AsyncIterable<Outcome> {
  const fitting: Sent[] = []
  for (const record of records) {
    if (record.bytes + BATCH <= way.maxBytes) fitting.push(record)
    else {
      const message = `The message has ${record.bytes} bytes, more than max_message_bytes (${way.maxBytes}) allows.`
      yield { key: record.key, result: 'rejected', code: 'message_too_large', message }
    }
  }
  const chunks = chunksOf(fitting, way)
  const results = (await Promise.all(chunks.map((chunk) => sendChunk(chunk, way)))).flat()
  const failures = results.filter(({ failure }) => failure !== null)
  // One reason for all: the engine knows best what to do about a request as a whole.
  const [first] = failures
  if (
    first?.failure &&
    failures.length === results.length &&
    failures.every(({ failure }) => failure?.name === first.failure?.name && !(failure instanceof Refused))
  )
    throw first.failure
  for (const { records: these, failure } of results) for (const { key } of these) yield outcomeOf(key, failure)
  const login = failures.find(({ failure }) => failure instanceof AuthError)?.failure
  if (login) throw login
}

/** A chunk, or a part of one, and why it was not stored. */
interface Result {
  readonly records: readonly Sent[]
  readonly failure: Error | null
}

/** Messages of one partition that fit into one request, in their order. */
function chunksOf(records: readonly Sent[], { topic, partitions, maxBytes, partitioner }: Way): Sent[][] {
  const choose = partitioner()
  const byPartition = new Map<number, Sent[]>()
  for (const record of records) {
    const partition = choose({ topic, partitionMetadata: partitions, message: record.message })
    const list = byPartition.get(partition) ?? []
    list.push({ ...record, message: { ...record.message, partition } })
    byPartition.set(partition, list)
  }
  return [...byPartition.values()].flatMap((list) => {
    const chunks: Sent[][] = []
    let room = 0
    for (const record of list) {
      if (record.bytes > room) {
        chunks.push([])
        room = maxBytes - BATCH
      }
      chunks.at(-1)?.push(record)
      room -= record.bytes
    }
    return chunks
  })
}

/** All or nothing; a refused chunk is sent message by message, for one of them may be too large for this topic. */
async function sendChunk(records: readonly Sent[], way: Way): Promise<Result[]> {
  const failure = await way.send(records.map(({ message }) => message)).then(
    () => null,
    (thrown: Error) => thrown,
  )
  if (!(failure instanceof Refused) || records.length === 1) return [{ records, failure }]
  const parts: Result[] = []
  for (const record of records) parts.push(...(await sendChunk([record], way)))
  return parts
}

function outcomeOf(key: string, failure: Error | null): Outcome {
  if (failure === null) return { key, result: 'ok' }
  const { message } = failure
  if (failure instanceof Refused) return { key, result: 'rejected', code: failure.code, message }
  if (failure instanceof NotSent) return { key, result: 'retry', code: failure.code, message }
  // The others of this request go on; these wait until the login is mended.
  if (failure instanceof AuthError) return { key, result: 'retry', code: failure.code, message }
  if (failure instanceof UnknownOutcome) return { key, result: 'unknown', code: failure.code, message }
  throw failure
}
