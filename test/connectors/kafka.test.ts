/** Kafka against an independent broker (librdkafka's mock cluster): messages, tombstones, partitions, failures. */
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { failureOf, thrownFor } from '../../connectors/kafka/errors.ts'
import connector, { kafkaConfig } from '../../connectors/kafka/index.ts'
import { recordOf, sendRecords, watch } from '../../connectors/kafka/records.ts'
import { Refused, UnknownOutcome } from '../../src/connector.ts'
import { AuthError } from '../../src/errors.ts'
import { RawJson } from '../../src/json.ts'
import { startTrial, type KeyedRow, type Trial } from '../../src/testing/trial.ts'
import type { Op } from '../../src/types.ts'
import { batch, change, openDestination, type Opened, write } from '../support/destination.ts'
import { cli } from '../support/run-cli.ts'
import * as SELF_SIGNED from '../http/self-signed.ts'
import { startGate } from '../support/kafka-gate.ts'
import { type Broker, hasKcat, startBroker, type Stored } from '../support/kafka.ts'
import { filesOf, makeWarehouse, write as writeFiles } from './page.ts'

const headersOf = ({ headers = [] }: Stored): Record<string, string> =>
  Object.fromEntries(headers.flatMap((name, i) => (i % 2 === 0 ? [[name, headers[i + 1] ?? '']] : [])))

describe.skipIf(!hasKcat)('a topic (needs kcat)', () => {
  let broker: Broker
  const opened: Opened[] = []
  const trials: Trial[] = []

  beforeEach(async () => {
    broker = await startBroker('rows')
  })
  afterEach(async () => {
    for (const one of opened.splice(0)) {
      await one.destination.close?.()
      await one.close()
    }
    for (const trial of trials.splice(0)) await trial.remove()
    broker.kill()
  })

  function open(config: object = {}): Opened['destination'] {
    const one = openDestination(connector, { brokers: [broker.address], ...config }, { topic: 'rows' })
    opened.push(one)
    return one.destination
  }

  async function trial(mode: string, options: object = { topic: 'rows' }, brokers = [broker.address]): Promise<Trial> {
    const one = await startTrial({ connector, destination: { brokers }, object: 'topic', options: { ...options }, mode })
    trials.push(one)
    return one
  }

  const row = (i: number, plan = 'free'): KeyedRow => ({ key: `k${i}`, match: {}, fields: { plan, 'address.city': `City ${i}` } })

  it('holds the newest payload of every row, and a tombstone for one that left', async () => {
    const it = await trial('mirror')
    await it.rows([row(0), row(1), row(2)])
    expect((await it.run()).code).toBe(0)
    const first = await broker.stored(3)
    expect(first.map(({ key, payload }) => [key, JSON.parse(payload ?? '')]).sort()).toEqual([
      ['k0', { plan: 'free', address: { city: 'City 0' } }],
      ['k1', { plan: 'free', address: { city: 'City 1' } }],
      ['k2', { plan: 'free', address: { city: 'City 2' } }],
    ])
    expect(headersOf(first[0] as Stored)).toMatchObject({
      op: 'upsert',
      sync: 'trial',
      run: expect.any(String) as string,
      id: expect.any(String) as string,
    })

    await it.rows([row(0), row(1, 'pro')])
    const { code, record } = await it.run()
    expect([code, record.counts.delivered]).toEqual([0, 2])
    const later = (await broker.stored(5)).slice(3)
    expect(later.map(({ key, payload }) => [key, payload && JSON.parse(payload).plan]).sort()).toEqual([
      ['k1', 'pro'],
      ['k2', null],
    ])
    expect(later.map((one) => headersOf(one)['op']).sort()).toEqual(['delete', 'upsert'])
    // A key stays in its partition, or compaction would keep both.
    const partitions = new Map((await broker.stored(5)).map(({ key, partition }) => [key, partition]))
    for (const { key, partition } of later) expect(partitions.get(key)).toBe(partition)

    const plan = await it.plan()
    expect([plan.counts.add, plan.counts.change, plan.counts.remove]).toEqual([0, 0, 0])
    expect((await it.run()).record.counts.delivered).toBe(0)
  })

  it('takes each key once as an event', async () => {
    const it = await trial('append')
    await it.rows([row(0), row(1)])
    expect((await it.run()).code).toBe(0)
    await it.rows([row(0, 'pro'), row(1), row(2)])
    expect((await it.run()).record.counts.delivered).toBe(1)
    expect((await broker.stored(3)).map(({ key }) => key).sort()).toEqual(['k0', 'k1', 'k2'])
  })

  it('takes more rows than a request, odd keys and texts, and exact numbers', async () => {
    const odd = ['a "b"', 'ключ', '{"n":1}', 'line\nbreak']
    const many = Array.from({ length: 1200 }, (_, i) => change(`k${i}`, { n: i }))
    const all = [...many, ...odd.map((key) => change(key, { text: 'Zoë 👩🏽‍🚀', n: new RawJson('12345678901234567890.12') }))]
    const { outcomes, error } = await write(open(), batch('upsert', all))
    expect([error, outcomes.length]).toEqual([null, 1204])
    expect(outcomes.every((one) => 'result' in one && one.result === 'ok')).toBe(true)
    const stored = await broker.stored(1204)
    expect(new Set(stored.map(({ partition }) => partition)).size).toBe(4)
    for (const key of odd) expect(stored.find((one) => one.key === key)?.payload).toBe('{"text":"Zoë 👩🏽‍🚀","n":12345678901234567890.12}')
  })

  it('gets keys into the partitions that Java clients choose', async () => {
    await write(
      open(),
      batch(
        'upsert',
        ['21', 'foobar', 'a-little-bit-long-string', 'lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8'].map((key) => change(key)),
      ),
    )
    const stored = await broker.stored(4)
    // toPositive(murmur2(key)) % 4, with the hashes of Apache Kafka's UtilsTest.testMurmur2.
    const hashes: Record<string, number> = {
      '21': -973932308,
      foobar: -790332482,
      'a-little-bit-long-string': -985981536,
      lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8: -58897971,
    }
    for (const { key, partition } of stored) expect(partition, key ?? '').toBe(((hashes[key ?? ''] ?? 0) & 0x7fffffff) % 4)
  })

  it('rejects a message that is too large, and sends the others in requests that are not', async () => {
    const rows = [
      change('big', { text: 'x'.repeat(3000) }),
      ...Array.from({ length: 30 }, (_, i) => change(`k${i}`, { text: 'x'.repeat(300) })),
    ]
    const { outcomes, error } = await write(open({ max_message_bytes: 2000 }), batch('upsert', rows))
    expect(error).toBeNull()
    expect(outcomes).toContainEqual({
      key: 'big',
      result: 'rejected',
      code: 'message_too_large',
      message: expect.stringContaining('max_message_bytes (2000)') as string,
    })
    expect(outcomes.filter((one) => 'result' in one && one.result === 'ok')).toHaveLength(30)
    await broker.stored(30)
  })

  it('is named by its cluster, and must be there', async () => {
    const first = await open().check()
    expect(first.id).not.toBe('')
    expect(await open().check()).toEqual(first)
    expect(first.name).toBe(broker.address)
    const it = await trial('upsert', { topic: 'nowhere' })
    await it.rows([row(0)])
    const { code, record, stdout, stderr } = await it.run()
    expect([code, record.error?.code]).toEqual([1, 'CDP3200'])
    expect(stdout + stderr).toContain('no topic "nowhere"')
  })

  it('of brokers of which one is down is reached through the others; of none it says so', async () => {
    await expect(open({ brokers: ['127.0.0.1:1', broker.address] }).check()).resolves.toMatchObject({ id: expect.any(String) as string })
    const it = await trial('upsert', { topic: 'rows' }, ['127.0.0.1:1'])
    await it.rows([row(0)])
    const { code, record } = await it.run()
    expect([code, record.error?.code]).toEqual([1, 'CDP3201'])
  })

  it('is written by the example of its page, and then nothing is left to do', async () => {
    const files = filesOf(readFileSync(join(import.meta.dirname, '../../docs/connectors/kafka.md'), 'utf8'))
    const root = await mkdtemp(join(tmpdir(), 'cdp-sync-page-'))
    const warehouses = { warehouse: { type: 'duckdb', path: 'warehouse.duckdb' } }
    const { destinations } = parse(files.get('cdp-sync.yaml') ?? '') as { destinations: Record<string, Record<string, unknown>> }
    const [name = '', { tls: _, sasl: __, ...entry } = {}] = Object.entries(destinations)[0] ?? []
    const reached = { ...entry, brokers: [broker.address] }
    await writeFiles(root, 'cdp-sync.yaml', JSON.stringify({ warehouses, destinations: { [name]: reached } }))
    for (const [path, sync] of files)
      if (path.startsWith('syncs/')) await writeFiles(root, path, sync.replaceAll(/topic: [\w.-]+/g, 'topic: rows'))
    await makeWarehouse(root)
    const ran = await cli(['run'], { cwd: root })
    expect([ran.code, ran.stdout, ran.stderr]).toEqual([0, expect.anything(), expect.anything()])
    await broker.stored(5)
    expect((await cli(['plan', '--detailed-exitcode'], { cwd: root })).code).toBe(0)
    await rm(root, { recursive: true, force: true })
  })

  it('behind TLS and a login is reached with the right ones, and says what to mend with wrong ones', async () => {
    const login = { username: 'cdp', password: 'a secret' }
    const gate = await startGate(broker.address, { ...SELF_SIGNED, ...login })
    const destination = { brokers: [gate.address], tls: { ca: SELF_SIGNED.cert }, sasl: { mechanism: 'plain', ...login } }
    const run = async (more: object): Promise<Awaited<ReturnType<Trial['run']>>> => {
      const it = await startTrial({
        connector,
        destination: { ...destination, ...more },
        object: 'topic',
        options: { topic: 'rows' },
        mode: 'upsert',
      })
      trials.push(it)
      await it.rows([row(0)])
      return it.run()
    }
    expect((await run({})).code).toBe(0)
    expect((await broker.stored(1)).map(({ key }) => key)).toEqual(['k0'])

    const wrong = await run({ sasl: { ...destination.sasl, password: 'another secret' } })
    expect([wrong.code, wrong.record.error?.code]).toEqual([4, 'CDP3001'])
    expect(wrong.stdout + wrong.stderr).not.toContain('another secret')
    const untrusted = await run({ tls: true })
    expect([untrusted.code, untrusted.record.error?.code]).toEqual([1, 'CDP3201'])
    expect(untrusted.stdout + untrusted.stderr).toMatch(/self.signed/)
    const { sasl: _, ...anonymous } = destination
    for (const config of [anonymous, { ...destination, tls: false }, { brokers: [broker.address], tls: true }])
      await expect(open(config).check()).rejects.toThrow(/want tls, or a login \(sasl\)/)
    await gate.close()
  })

  it('whose reply is lost is sent again where a repeat does no harm, and held where it would', async () => {
    const login = { username: 'cdp', password: 'a secret' }
    let lost = 0
    const gate = await startGate(broker.address, { ...SELF_SIGNED, ...login, loses: () => lost-- > 0 })
    const destination = { brokers: [gate.address], tls: { ca: SELF_SIGNED.cert }, sasl: { mechanism: 'plain', ...login } }
    const start = async (mode: string): Promise<Trial> => {
      const it = await startTrial({ connector, destination, object: 'topic', options: { topic: 'rows' }, mode })
      trials.push(it)
      await it.rows([row(0)])
      return it
    }
    const kept = await start('upsert')
    lost = 1
    const { code, record } = await kept.run()
    expect([code, record.counts.delivered]).toEqual([0, 1])
    const [first, second] = await broker.stored(2)
    expect([first?.key, first?.payload]).toEqual([second?.key, second?.payload])

    const log = await start('append')
    lost = 1
    const doubtful = await log.run()
    expect([doubtful.code, doubtful.record.counts.unknown, doubtful.record.counts.delivered]).toEqual([3, 1, 0])
    const later = await log.run()
    expect([later.code, later.record.counts.held]).toEqual([3, 1])
    expect(await broker.stored(3)).toHaveLength(3)
    await gate.close()
  })

  it('whose broker dies with the message has no event sent again, though nobody is there when kafkajs comes back', async () => {
    const login = { username: 'cdp', password: 'a secret' }
    const loses = (): boolean => {
      void gate.close()
      return true
    }
    const gate = await startGate(broker.address, { ...SELF_SIGNED, ...login, loses })
    const destination = open({ brokers: [gate.address], tls: { ca: SELF_SIGNED.cert }, sasl: { mechanism: 'plain', ...login } })
    const { outcomes, error } = await write(destination, batch('append', [change('a')]))
    expect([outcomes, error?.name]).toEqual([[], 'UnknownOutcome'])
    await broker.stored(1)
    // The next one finds nobody: it is in no doubt.
    expect((await write(destination, batch('append', [change('b')]))).error).toMatchObject({ name: 'NotSent' })
  })

  it('whose broker dies is not delivered to; what was sent in silence is in doubt', async () => {
    const destination = open()
    await write(destination, batch('upsert', [change('a')]))
    broker.kill()
    const { outcomes, error } = await write(destination, batch('upsert', [change('b')]))
    expect(outcomes.filter((one) => 'result' in one && one.result === 'ok')).toEqual([])
    expect(['NotSent', 'UnknownOutcome']).toContain(error?.name)
  })
})

describe('a broker that says nothing', () => {
  let server: Server
  let address: string
  const sockets = new Set<Socket>()
  beforeEach(async () => {
    server = createServer((socket) => void sockets.add(socket.on('error', () => undefined)))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterEach(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })

  function silent(signal: AbortSignal): Opened['destination'] {
    const settings = { config: connector.config.parse({ brokers: [address] }), options: { topic: 'rows' } }
    const none = (): never => {
      throw new Error('Kafka has no HTTP')
    }
    return connector.open(settings, { http: none, log: () => undefined, signal, now: () => 0 })
  }

  it('is left at once when the run is interrupted', async () => {
    const controller = new AbortController()
    const destination = silent(controller.signal)
    const asked = destination.check()
    controller.abort()
    await expect(asked).rejects.toMatchObject({ name: 'NotSent', code: 'aborted' })
    await destination.close?.()
  })

  it('was sent nothing: events of an interrupted run are in no doubt', async () => {
    const controller = new AbortController()
    const destination = silent(controller.signal)
    const written = write(destination, batch('append', [change('a')]))
    controller.abort()
    expect(await written).toMatchObject({ outcomes: [], error: { name: 'NotSent', code: 'aborted' } })
    await destination.close?.()
  })
})

describe('an error of the client', () => {
  const protocol = (type: string, retriable = false): Error =>
    Object.assign(new Error(type), { name: 'KafkaJSProtocolError', type, retriable })
  const wrapped = (cause: Error): Error => Object.assign(new Error('gave up', { cause }), { name: 'KafkaJSNumberOfRetriesExceeded' })
  const connection = (code: string): Error => Object.assign(new Error(code), { name: 'KafkaJSConnectionError', code })

  it.each<[string, Error, string]>([
    ['a wrong password', Object.assign(new Error('SASL PLAIN authentication failed'), { name: 'KafkaJSSASLAuthenticationError' }), 'auth'],
    ['a missing right', protocol('TOPIC_AUTHORIZATION_FAILED'), 'auth'],
    ['a message the topic does not take', protocol('MESSAGE_TOO_LARGE'), 'refused'],
    ['too few replicas', wrapped(protocol('NOT_ENOUGH_REPLICAS', true)), 'later'],
    ['too few replicas after the leader stored it', wrapped(protocol('NOT_ENOUGH_REPLICAS_AFTER_APPEND', true)), 'unknown'],
    ['a leader that moved, maybe while it waited for replicas', wrapped(protocol('NOT_LEADER_FOR_PARTITION', true)), 'unknown'],
    ['a time-out at the broker', wrapped(protocol('REQUEST_TIMED_OUT', true)), 'unknown'],
    ['a disk that failed', wrapped(protocol('KAFKA_STORAGE_ERROR', true)), 'unknown'],
    ['an error the broker has no name for', protocol('UNKNOWN'), 'unknown'],
    ['a broker that is gone when kafkajs comes back to it', wrapped(connection('ECONNREFUSED')), 'unknown'],
    ['a route that broke under the connection', wrapped(connection('EHOSTUNREACH')), 'unknown'],
    ['a connection that broke', wrapped(connection('ECONNRESET')), 'unknown'],
    ['a reply that did not come', Object.assign(new Error('x'), { name: 'KafkaJSRequestTimeoutError' }), 'unknown'],
  ])('after messages may have left: %s', (_, error, kind) => {
    expect(failureOf(error, true).kind).toBe(kind)
  })

  it.each<[string, Error, string]>([
    ['a wrong password', Object.assign(new Error('x'), { name: 'KafkaJSSASLAuthenticationError' }), 'auth'],
    ['a certificate that is not trusted', wrapped(connection('SELF_SIGNED_CERT_IN_CHAIN')), 'later'],
    ['a connection that broke', wrapped(connection('ECONNRESET')), 'later'],
    ['a reply that did not come', Object.assign(new Error('x'), { name: 'KafkaJSRequestTimeoutError' }), 'later'],
    ['an error the broker has no name for', protocol('UNKNOWN'), 'later'],
  ])('before any left: %s', (_, error, kind) => {
    expect(failureOf(error, false).kind).toBe(kind)
  })

  it('of the login says what to mend', () => {
    expect(thrownFor(failureOf(protocol('TOPIC_AUTHORIZATION_FAILED'), true))).toMatchObject({
      code: 'CDP3002',
      hint: expect.stringContaining('Write') as string,
    })
    expect(thrownFor(failureOf(protocol('SASL_AUTHENTICATION_FAILED'), false))).toMatchObject({
      code: 'CDP3001',
      hint: expect.stringContaining('sasl') as string,
    })
  })
})

describe('messages', () => {
  it('may have left once they were encoded, and can not leave any more once they are given up', () => {
    const { message } = recordOf(change('a', { n: 1 }), batch('append', []), 0)
    const gone = watch([message])
    expect({ ...gone.watched[0] }.headers).toEqual(message.headers)
    expect(gone.left()).toBe(true)
    const kept = watch([message])
    expect([kept.watched[0]?.key, kept.watched[0]?.value, kept.left()]).toEqual(['a', '{"n":1}', false])
    expect(() => kept.watched[0]?.headers).toThrow('no longer to be sent')
  })
})

describe('partitions that fare differently', () => {
  const partitions = [0, 1].map((partitionId) => ({ partitionErrorCode: 0, partitionId, leader: 1, replicas: [], isr: [] }))
  const records = ['a0', 'b1', 'c0', 'd1'].map((key) => recordOf(change(key, { n: 1 }), batch('upsert', []), 0))

  async function outcomes(fail: (keys: readonly string[]) => Error | null): Promise<[Record<string, string>, Error | null]> {
    const named: Record<string, string> = {}
    const way = {
      topic: 't',
      partitions,
      maxBytes: 1e6,
      partitioner:
        () =>
        ({ message }: { message: { key?: unknown } }) =>
          Number(String(message.key).slice(1)),
      send: async (messages: readonly { key?: unknown }[]) => {
        const error = fail(messages.map(({ key }) => String(key)))
        if (error) throw error
      },
    }
    try {
      for await (const one of sendRecords(records, way)) named[one.key] = one.result
      return [named, null]
    } catch (error) {
      return [named, error as Error]
    }
  }
  const on = (partition: number, error: Error) => (keys: readonly string[]) => (keys[0]?.endsWith(String(partition)) ? error : null)

  it('give each row the outcome of its own', async () => {
    expect(await outcomes(on(1, new UnknownOutcome('x', 'x')))).toEqual([{ a0: 'ok', c0: 'ok', b1: 'unknown', d1: 'unknown' }, null])
  })
  it('end the run for a login, with the rows of the others confirmed', async () => {
    const [named, error] = await outcomes(on(1, new AuthError('CDP3002', 'x')))
    expect(named).toEqual({ a0: 'ok', c0: 'ok', b1: 'retry', d1: 'retry' })
    expect(error).toBeInstanceOf(AuthError)
  })
  it('are taken apart when one message is refused', async () => {
    expect(await outcomes((keys) => (keys.includes('c0') ? new Refused('MESSAGE_TOO_LARGE', 'x', 0) : null))).toEqual([
      { a0: 'ok', b1: 'ok', c0: 'rejected', d1: 'ok' },
      null,
    ])
  })
  it('fail as one request when they fail alike', async () => {
    expect(await outcomes(() => new UnknownOutcome('x', 'x'))).toMatchObject([{}, { name: 'UnknownOutcome' }])
  })
})

describe('what is configured', () => {
  const configure = (more: object): ReturnType<typeof kafkaConfig> =>
    kafkaConfig(connector.config.parse({ brokers: ['a:9092', 'b:9092'], ...more }))
  it('reaches the client: login, certificates, one try for every broker', () => {
    expect(configure({})).toMatchObject({ brokers: ['a:9092', 'b:9092'], ssl: false, retry: { retries: 1 }, clientId: 'cdp-sync' })
    const sasl = { mechanism: 'scram-sha-512', username: 'u', password: 'p' }
    expect(configure({ tls: true, sasl })).toMatchObject({ ssl: true, sasl })
    expect(configure({ tls: { ca: 'CA', cert: 'C', key: 'K' } })).toMatchObject({ ssl: { ca: ['CA'], cert: 'C', key: 'K' } })
  })
  it.each(['a', 'http://a:1', 'a:b', '', '[::1]:9092'])('a broker is a host and a port, and not "%s"', (broker) => {
    expect(connector.config.safeParse({ brokers: [broker] }).success).toBe(false)
  })
  it('modes say what a repeat does: an event is never sent twice on suspicion', () => {
    const { topic } = connector.objects as unknown as { topic: { replay: Partial<Record<Op, string>> } }
    expect(topic.replay).toEqual({ upsert: 'harmless', delete: 'harmless' })
  })
})
