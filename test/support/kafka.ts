/** A Kafka broker to test against: librdkafka's mock cluster, run by Debian's kcat, which prints what it stores. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'

/** One stored message. */
export interface Stored {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly key: string | null
  readonly payload: string | null
  /** Name, value, name, value … */
  readonly headers?: readonly string[]
}

export interface Broker {
  readonly address: string
  /** Waits until so many messages are stored, 10 s at most. */
  stored(count: number): Promise<readonly Stored[]>
  /** kill -9. */
  kill(): void
}

export const hasKcat = spawnSync('kcat', ['-V']).status === 0

/** Starts a broker with one topic of four partitions. */
export async function startBroker(topic: string): Promise<Broker> {
  const mock = ['-X', 'test.mock.num.brokers=1', '-X', 'allow.auto.create.topics=true', '-d', 'mock']
  // The address after -b has to be there and is not used.
  const kcat: ChildProcess = spawn('kcat', ['-C', '-b', 'localhost:1', '-t', topic, '-u', '-J', '-q', ...mock], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const messages: Stored[] = []
  const listeners = new Set<() => void>()
  createInterface({ input: kcat.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    messages.push(JSON.parse(line) as Stored)
    for (const listener of listeners) listener()
  })
  const address = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('kcat did not say where its mock cluster listens')), 10_000)
    createInterface({ input: kcat.stderr as NodeJS.ReadableStream }).on('line', (line) => {
      const found = /bootstrap\.servers=(127\.0\.0\.1:\d+)/.exec(line)?.[1]
      if (found === undefined) return
      clearTimeout(timer)
      resolve(found)
    })
    kcat.once('exit', () => reject(new Error('kcat ended')))
  })
  return {
    address,
    stored: (count) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`${messages.length} messages are stored, and ${count} are expected`)), 10_000)
        const look = (): void => {
          if (messages.length < count) return
          clearTimeout(timer)
          listeners.delete(look)
          resolve([...messages])
        }
        listeners.add(look)
        look()
      }),
    kill: () => void kcat.kill('SIGKILL'),
  }
}
