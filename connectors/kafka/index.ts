/** Apache Kafka: a topic that holds the newest payload of every row by its key, or a log of events. */
import type { Admin, Kafka, KafkaConfig, Message, Producer } from 'kafkajs'
import { z } from 'zod'
import { type Account, CdpError, defineConnector, NotSent, secret } from '../../src/index.ts'
import { thrownFor, translated } from './errors.ts'
import { recordOf, sendRecords, watch } from './records.ts'

const config = z.strictObject({
  brokers: z
    .array(z.string().regex(/^[^\s:/]+:\d{1,5}$/, 'is a host and a port, like kafka.example.com:9092'))
    .min(1)
    .describe('Brokers to begin with, `host:port`; the others are learned from them.'),
  tls: z
    .union([
      z.boolean(),
      z.strictObject({
        ca: z.string().optional().describe('Certificates (PEM) to trust instead of the usual ones.'),
        cert: z.string().optional().describe('Certificate (PEM) of this client.'),
        key: secret().optional().describe('Private key (PEM) of this client.'),
      }),
    ])
    .default(false)
    .describe('Speak TLS to the brokers: `true`, or certificates.'),
  sasl: z
    .strictObject({
      mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']),
      username: z.string().min(1),
      password: secret(),
    })
    .optional()
    .describe('Login at the brokers. `plain` shows the password to whoever listens: use it with `tls`.'),
  client_id: z.string().min(1).default('cdp-sync').describe('Name in the brokers’ logs and quotas.'),
  max_message_bytes: z
    .int()
    .min(1000)
    .default(1_000_000)
    .describe('The largest message, and the most bytes sent to a partition at once: below `message.max.bytes` of the brokers.'),
})

/** Legal names: Topic.validate of Apache Kafka. */
const options = z.strictObject({
  topic: z
    .string()
    .regex(/^(?!\.\.?$)[A-Za-z0-9._-]{1,249}$/, 'is the name of a topic: letters, digits, . _ and -, at most 249')
    .describe('The topic; it must be there.'),
})

type Config = z.infer<typeof config>
type Options = z.infer<typeof options>

/** Milliseconds for a broker to be reached, and for it and its replicas to store what was sent. */
const CONNECT_MS = 10_000
const REQUEST_MS = 30_000
/** What is sent to a broker that no longer leads is in doubt, so who leads is asked often. */
const METADATA_MS = 5_000

export default defineConnector<Config, Options>({
  name: 'kafka',
  description: 'Apache Kafka: the newest payload of every row by its key, or a log of events.',
  version: 1,
  config,
  options,
  objects: {
    topic: {
      description: 'A message whose key is the row’s key; a removal is a tombstone.',
      modes: ['upsert', 'mirror', 'append'],
      address: 'key',
      match: { '*': 'exact' },
      confirms: 'row',
      // The same key and value once more changes nothing in a compacted topic; an event would be there twice.
      replay: { upsert: 'harmless', delete: 'harmless' },
      removes: ['delete'],
      targetOptions: ['topic'],
      nested: true,
    },
  },
  // Not the brokers' limits, which are bytes (`max_message_bytes`), but what is in doubt when a connection breaks.
  limits: { rows: 1000, concurrency: 4, timeout: REQUEST_MS },
  open({ config: given, options: { topic } }, io) {
    const client = clientOf(given)
    const aborted = new Promise<never>((_, reject) => {
      const stop = (): void =>
        reject(Object.assign(new Error('The run was stopped before the broker answered.'), { name: 'AbortError', code: 'aborted' }))
      if (io.signal.aborted) stop()
      else io.signal.addEventListener('abort', stop, { once: true })
    })
    aborted.catch(() => undefined)
    /** What a broker is asked; ends with the run, whatever the broker does. `sent`: whether messages may have left. */
    const ask = <T>(work: Promise<T>, sent = (): boolean => false): Promise<T> => translated(Promise.race([work, aborted]), sent)
    return {
      async check() {
        const { admin } = await ask(client())
        return ask(accountOf(admin, given.brokers))
      },
      async describe() {
        const { admin } = await ask(client())
        // Asked for by its name, a topic that is not there would be made where the brokers allow it.
        const topics = await ask(admin.listTopics())
        if (!topics.includes(topic))
          throw new CdpError('CDP3200', `The brokers have no topic "${topic}", or the login may not see it.`, {
            hint: 'Create the topic (with cleanup.policy=compact for modes upsert and mirror), or grant Describe and Write on it.',
          })
        // A payload is JSON of any shape.
        return []
      },
      async *write(batch) {
        const { admin, producer } = await ask(client())
        await ask(producer.connect())
        const partitions = await ask(partitionsOf(admin, topic))
        const records = batch.changes.map((change) => recordOf(change, batch, io.now()))
        const send = (messages: readonly Message[]): Promise<unknown> => {
          const { watched, left } = watch(messages)
          return ask(producer.send({ topic, acks: -1, timeout: REQUEST_MS, messages: watched }), left)
        }
        yield* sendRecords(records, { topic, partitions, maxBytes: given.max_message_bytes, partitioner: await partitioner(), send })
      },
      async close() {
        await client.close()
      },
    }
  },
})

interface Client {
  readonly admin: Admin
  readonly producer: Producer
}

/** One client per destination, made and connected when it is first needed: kafkajs loads only then. */
function clientOf(given: Config): { (): Promise<Client>; close(): Promise<void> } {
  let made: Client | undefined
  async function client(): Promise<Client> {
    const { Kafka: Constructor, Partitioners } = await import('kafkajs')
    made ??= create(new Constructor(kafkaConfig(given)), Partitioners.DefaultPartitioner)
    await made.admin.connect()
    return made
  }
  return Object.assign(client, {
    async close() {
      await Promise.allSettled([made?.admin.disconnect(), made?.producer.disconnect()])
    },
  })
}

function create(kafka: Kafka, createPartitioner: Awaited<ReturnType<typeof partitioner>>): Client {
  return {
    admin: kafka.admin(),
    // Sending again is the engine's decision: after a lost reply kafkajs would send an event twice.
    producer: kafka.producer({
      createPartitioner,
      allowAutoTopicCreation: false,
      metadataMaxAge: METADATA_MS,
      retry: { retries: 0 },
    }),
  }
}

/** The partition of a key as Java clients choose it (murmur2), so that other producers of the topic agree. */
async function partitioner() {
  return (await import('kafkajs')).Partitioners.DefaultPartitioner
}

/** What kafkajs is given. Retries here are those of connecting: as many as it takes to try every broker once. */
export function kafkaConfig({ brokers, tls, sasl, client_id }: Config): KafkaConfig {
  const { ca, cert, key } = typeof tls === 'object' ? tls : {}
  return {
    clientId: client_id,
    brokers: [...brokers],
    connectionTimeout: CONNECT_MS,
    authenticationTimeout: CONNECT_MS,
    requestTimeout: REQUEST_MS,
    retry: { retries: brokers.length - 1, initialRetryTime: 100 },
    // What goes wrong is told by the errors; kafkajs would write it to the terminal as well.
    logCreator: () => () => undefined,
    ssl: typeof tls === 'boolean' ? tls : { ...(ca && { ca: [ca] }), ...(cert && { cert }), ...(key && { key }) },
    ...(sasl && { sasl: sasl as NonNullable<KafkaConfig['sasl']> }),
  }
}

async function accountOf(admin: Admin, brokers: readonly string[]): Promise<Account> {
  // Clusters of one name do not share an id; a cluster keeps it when its brokers change.
  const { clusterId } = await admin.describeCluster()
  if (clusterId === '' || clusterId === null) throw new NotSent('no_cluster_id', 'The brokers do not say which cluster they are.')
  return { id: clusterId, name: brokers[0] ?? clusterId }
}

async function partitionsOf(admin: Admin, topic: string) {
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
  const partitions = topics[0]?.partitions ?? []
  if (partitions.length === 0) throw thrownFor({ kind: 'later', code: 'NO_PARTITIONS', message: `The topic "${topic}" has no partitions.` })
  return partitions
}
