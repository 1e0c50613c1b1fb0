/** A network and a service that fail in every way: the exit code says so, nothing is falsely done, and the next clean run converges. */
import { afterAll, describe, expect, it } from 'vitest'
import { expectConverged, expectNoFalseDone, makeProject, people, type TestProject } from '../support/project.ts'
import { startReceiver, type Fault, type ReceivedRequest, type Receiver } from '../support/receiver.ts'
import { startTcpProxy, type TcpFault, type TcpProxy } from '../support/tcp-proxy.ts'

/** Delivered before the fault; then 20 rows change, 10 leave and 10 come: 6 requests of upserts, 2 of removals. */
const BEFORE = people(0, 40)
const AFTER = [...people(0, 20).map((it) => ({ ...it, plan: 'cnry-pro' })), ...people(20, 30), ...people(40, 50)]

interface World {
  receiver: Receiver
  proxy: TcpProxy
  project: TestProject
}
const worlds: World[] = []
afterAll(async () => {
  for (const { project, proxy, receiver } of worlds) {
    await project.remove()
    await proxy.close()
    await receiver.close()
  }
})

/** A project whose first run went well, with the changes of the second in its model. */
async function world(): Promise<World> {
  const receiver = await startReceiver()
  const proxy = await startTcpProxy({ port: Number(new URL(receiver.url).port) })
  const project = await makeProject({ url: proxy.url, destination: 'batch_size: 5, concurrency: 2, timeout: 1s' })
  const made = { receiver, proxy, project }
  worlds.push(made)
  await project.rows(BEFORE)
  expect((await project.look('run')).code).toBe(0)
  await project.rows(AFTER)
  return made
}

/** One faulty run with this exit code, then a clean one. */
async function faulty(made: World, exits: number, more: { counts?: object; cleanRuns?: number } = {}): Promise<string> {
  const { receiver, proxy, project } = made
  const { code, stdout, stderr } = await project.run(['run'])
  expect([code, stdout, stderr]).toEqual([exits, expect.anything(), expect.anything()])
  await expectNoFalseDone(project, receiver)
  const record = await project.record()
  expect(record.exit_code).toBe(exits)
  expect(record.counts).toMatchObject(more.counts ?? {})
  receiver.fault(() => undefined)
  proxy.fault(() => undefined)
  const clean = await project.look('run')
  expect([clean.code, clean.stdout, clean.stderr]).toEqual([0, expect.anything(), expect.anything()])
  await expectConverged(project, receiver, AFTER)
  return stdout
}

/** The fault for the requests with these numbers, counted from now. */
function only(receiver: Receiver, numbers: readonly number[], fault: Fault): void {
  const from = receiver.requests.length
  receiver.fault((request) => (numbers.includes(request.n - from) ? fault : undefined))
}

const always = (receiver: Receiver, fault: Fault | ((request: ReceivedRequest) => Fault | undefined)): void =>
  receiver.fault(typeof fault === 'function' ? fault : () => fault)

describe.concurrent('a connection that', () => {
  const broken: [string, TcpFault][] = [
    ['is reset before the request arrived', { cutUpAfter: 0 }],
    ['is reset within the request', { cutUpAfter: 300 }],
    ['is reset before the reply', { cutDownAfter: 0 }],
    ['is reset within the reply', { cutDownAfter: 100 }],
    ['ends within the reply', { cutDownAfter: 100, how: 'end' }],
    ['goes silent within the request', { cutUpAfter: 300, how: 'hang' }],
    ['goes silent within the reply', { cutDownAfter: 100, how: 'hang' }],
    ['lets the reply drip longer than the time-out', { drip: 20 }],
  ]
  it.each(broken)('%s, twice: the run repeats it and is well', async (_, fault) => {
    const made = await world()
    const from = made.proxy.connections()
    made.proxy.fault((n) => (n - from <= 2 ? fault : undefined))
    await faulty(made, 0, { counts: { unknown: 0, delivered: 40 } })
  })

  it('is always reset: the run gives up', async () => {
    const made = await world()
    made.proxy.fault(() => ({ cutUpAfter: 0 }))
    await faulty(made, 3, { counts: { delivered: 0 } })
  })

  it('is always refused: nothing was sent, so nothing is in doubt', async () => {
    const made = await world()
    const { proxy, receiver, project } = made
    await proxy.close()
    const { code } = await project.run(['run'])
    expect([code, (await project.record()).counts]).toEqual([3, expect.objectContaining({ delivered: 0, unknown: 0, waiting: 40 })])
    await expectNoFalseDone(project, receiver)
    expect((await project.plan()).counts.uncertain).toBe(0)
  })
})

describe.concurrent('a service that', { timeout: 120_000 }, () => {
  it('answers 500 for ever ends the run as incomplete', async () => {
    const made = await world()
    always(made.receiver, { status: 500 })
    await faulty(made, 3, { counts: { delivered: 0 } })
  })

  it('answers 500 after it applied leaves the rows in doubt, and they are sent again', async () => {
    const made = await world()
    always(made.receiver, { status: 503, apply: true })
    await faulty(made, 3, { counts: { delivered: 0 } })
  })

  it('says 429 with Retry-After in a storm is waited for, and loses nothing', async () => {
    const made = await world()
    const from = made.receiver.requests.length
    always(made.receiver, ({ n }) => (n - from <= 6 ? { status: 429, headers: { 'retry-after': '1' } } : undefined))
    await faulty(made, 0, { counts: { delivered: 40 } })
  })

  it('says 429 without Retry-After is waited for too', async () => {
    const made = await world()
    only(made.receiver, [1, 2, 3], { status: 429 })
    await faulty(made, 0, { counts: { delivered: 40 } })
  })

  it('asks to come back tomorrow ends the run at once, and nothing is in doubt', async () => {
    const made = await world()
    always(made.receiver, { status: 429, headers: { 'retry-after': '86400' } })
    const began = performance.now()
    await faulty(made, 3, { counts: { delivered: 0, unknown: 0, waiting: 40 } })
    expect(performance.now() - began).toBeLessThan(15_000)
  })

  it.each<[string, Fault]>([
    ['answers 2xx with no results', { results: 'none' }],
    ['answers 2xx with results for half of the rows', { results: 'half' }],
    ['answers HTML with 200', { body: 'html' }],
    ['answers HTML with 200 and applied nothing', { body: 'html', apply: false }],
    ['answers cut JSON with 200', { body: 'truncated' }],
    ['redirects', { status: 302, headers: { location: '/login' } }],
    ['redirects after it applied', { status: 307, headers: { location: '/login' }, apply: true }],
    ['never answers', { hang: true }],
  ])('%s: never done, exit 3', async (_, fault) => {
    const made = await world()
    always(made.receiver, fault)
    await faulty(made, 3)
  })

  it('names the rows in another order is understood', async () => {
    const made = await world()
    always(made.receiver, { results: 'shuffled' })
    await faulty(made, 0, { counts: { delivered: 40, unknown: 0 } })
  })

  it('names rows that nobody sent is believed for the others alone', async () => {
    const made = await world()
    always(made.receiver, { results: 'foreign' })
    await faulty(made, 0, { counts: { delivered: 40, unknown: 0 } })
  })

  it('names rows of another request for these confirms nothing', async () => {
    const made = await world()
    always(made.receiver, ({ changes }) => ({
      body: {
        text: JSON.stringify({
          results: AFTER.filter(({ id }) => !changes.some(({ key }) => key === id)).map(({ id }) => ({ key: id, status: 'ok' })),
        }),
      },
      apply: false,
    }))
    await faulty(made, 3, { counts: { delivered: 0, unknown: 40 } })
  })

  it('contradicts itself confirms nothing', async () => {
    const made = await world()
    always(made.receiver, ({ changes }) => ({
      body: {
        text: JSON.stringify({
          results: changes.flatMap(({ key }) => [
            { key, status: 'ok' },
            { key, status: 'rejected', message: 'no' },
          ]),
        }),
      },
    }))
    await faulty(made, 3, { counts: { delivered: 0, unknown: 40 } })
  })

  it('refuses the login ends the run with 4, and nothing is in doubt', async () => {
    const made = await world()
    always(made.receiver, { status: 401 })
    await faulty(made, 4, { counts: { delivered: 0, unknown: 0 } })
  })

  it('refuses every request alike ends the run with 1, and no row is to blame', async () => {
    const made = await world()
    always(made.receiver, { status: 400 })
    await faulty(made, 1, { counts: { delivered: 0, rejected: 0, unknown: 0 } })
  })

  it('refuses two rows: the others arrive, exit 3, and the two arrive when it takes them', async () => {
    const made = await world()
    always(made.receiver, { reject: ({ key }) => (/-k[37]$/.test(key) ? { code: 'BAD', message: `cnry says no to ${key}` } : undefined) })
    const stdout = await faulty(made, 3, { counts: { delivered: 38, rejected: 2, unknown: 0 } })
    expect(stdout).toContain('BAD')
  })

  it('refuses a whole request for one bad row: only that row is rejected', async () => {
    const made = await world()
    always(made.receiver, ({ changes }) => (changes.some(({ key }) => key === 'cnry-k3') ? { status: 422 } : undefined))
    await faulty(made, 3, { counts: { delivered: 39, rejected: 1, unknown: 0 } })
  })

  it('says anything at all in its message breaks nothing', async () => {
    const made = await world()
    always(made.receiver, {
      reject: ({ key }) =>
        key.endsWith('k3')
          ? { code: '\u0000', message: `\u0000'; DROP TABLE state.snapshot; --\u001b[2J\ud800 ${'x'.repeat(5000)}` }
          : undefined,
    })
    await faulty(made, 3, { counts: { delivered: 39, rejected: 1 } })
  })
})
