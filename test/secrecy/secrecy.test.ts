/** No secret in any output or file, and off a terminal no value of a row, whatever goes wrong and however much is logged. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CANARY, leaks, makeProject, people, person, SECRETS, syncText, type TestProject } from '../support/project.ts'
import { withPostgres, type Postgres } from '../support/postgres.ts'
import { startReceiver, type Fault, type ReceivedRequest, type Receiver } from '../support/receiver.ts'

/** Every output of `run` and `look` is searched there; here they are made in as many ways as there are, and files searched too. */
const LEVELS = [[], ['--debug'], ['--log-format', 'json'], ['--debug', '--log-format', 'json']]

interface World {
  receiver: Receiver
  project: TestProject
}
const worlds: World[] = []
afterAll(async () => {
  for (const { project, receiver } of worlds) {
    await project.remove()
    await receiver.close()
  }
})

async function world(): Promise<World> {
  const receiver = await startReceiver()
  const project = await makeProject({ url: receiver.url, destination: 'batch_size: 20, timeout: 1s' })
  worlds.push({ receiver, project })
  // An invalid row, a duplicate and a null match are told of in words of their own.
  await project.rows([...people(0, 10), person(3), person(11, { email: person(4).email })])
  return { receiver, project }
}

/** Secrets in any file that the program wrote. */
async function secretsInFiles({ root }: TestProject): Promise<string[]> {
  const names = await readdir(join(root, '.cdp-sync'), { recursive: true, withFileTypes: true })
  const files = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  expect(files.length).toBeGreaterThan(3)
  const found = await Promise.all(
    files.map(async (file) => leaks((await readFile(file)).toString('latin1'), false).map((what) => `${file}: ${what}`)),
  )
  return found.flat()
}

/** What a careless service says: everything it was sent. */
const echo = ({ headers, text }: ReceivedRequest): string => {
  const basic = (headers.authorization ?? '').replace(/^Basic /, '')
  return `${String(headers['x-api-key'])} of ${Buffer.from(basic, 'base64').toString()}, ${basic}: you sent ${JSON.stringify(headers)} with ${text}`
}

const FAULTS: [string, (request: ReceivedRequest) => Fault | undefined][] = [
  ['nothing fails', () => undefined],
  [
    'the login is refused in words that quote it',
    (request) => ({ status: 401, body: { text: JSON.stringify({ code: 'no', message: echo(request) }) } }),
  ],
  [
    'requests are refused in words that quote them',
    (request) => ({ status: 400, body: { text: JSON.stringify({ code: 'bad', message: echo(request) }) } }),
  ],
  [
    'the service fails with a page that quotes the request',
    (request) => ({ status: 500, body: { text: `<html>${echo(request)}`, type: 'text/html' } }),
  ],
  [
    'it redirects to a place that quotes the request',
    ({ headers }) => ({ status: 302, headers: { location: `/x?token=${String(headers['x-api-key'])}&cnry-k1` } }),
  ],
  [
    'rows are refused in words that quote everything',
    (request) => ({ reject: ({ key }) => ({ code: `cnry ${key}`, message: `${key}: ${echo(request)}` }) }),
  ],
  ['rows are put off', () => ({ retry: () => true })],
  ['the connection breaks', () => ({ reset: 'half' })],
  ['HTML comes with 200', () => ({ body: 'html' })],
]

describe.concurrent('neither outputs nor files tell', () => {
  it.each(FAULTS)('when %s', async (_, fault) => {
    const { receiver, project } = await world()
    receiver.fault(fault)
    await project.run(['--debug', 'run', '--json'])
    await project.run(['--log-format', 'json', 'run'])
    expect(receiver.requests[0]?.headers['x-api-key']).toBe(SECRETS.API_KEY)
    for (const command of [
      'plan',
      'plan --json',
      'status',
      'history',
      'history --json',
      'rejected people',
      'rejected people --json',
      `why people ${person(1).id}`,
    ])
      await project.look('--debug', ...command.split(' '))
    // Values are shown when asked for; secrets never.
    for (const command of ['plan', 'plan --json', 'rejected people --json', `why people ${person(1).id} --json`])
      await project.look(...command.split(' '), '--show-values')
    await project.look('--debug', 'run', '--show-values')
    expect(await secretsInFiles(project)).toEqual([])
  })
})

it('shows values when asked, so that this file can fail', async () => {
  const { project } = await world()
  const { stdout } = await project.run(['plan', '--show-values'])
  expect(stdout).toContain(CANARY)
  expect(leaks(`x ${Buffer.from(`agent:${SECRETS.URL_PASSWORD}`).toString('base64')} y`, true)).toEqual(['the secret URL_PASSWORD'])
  expect(leaks(project.env['HOOK_URL'] ?? '', true)).toEqual(['the secret URL_PASSWORD'])
})

it('a crash leaves no secret, and the next run tells no value', async () => {
  const { receiver, project } = await world()
  receiver.fault((request) => ({ reject: ({ key }) => (key.endsWith('1') ? { message: echo(request) } : undefined) }))
  expect((await project.run(['--debug', 'run'], { env: { CDP_SYNC_CRASH_AT: 'answered' } })).signal).toBe('SIGKILL')
  expect(await secretsInFiles(project)).toEqual([])
  await project.run(['--debug', 'run'])
  expect(await secretsInFiles(project)).toEqual([])
})

describe('mistakes in the project', () => {
  const wrong: [string, string][] = [
    [
      'a query that fails on a value',
      syncText().replace('table: people', 'sql: "select cast(id as integer) as id, email, plan from people"'),
    ],
    ['a column that is not there', syncText().replace('plan: plan', 'plan: nowhere')],
    ['a value that can’t be mapped', syncText('mode: upsert', 'plan: { column: plan, map: { gold: Gold } }')],
    [
      'a key that is null',
      syncText().replace('table: people', 'sql: "select case when plan is not null then id end as id, email, plan from people"'),
    ],
  ]
  it.each(wrong)('%s is told without the value', async (_, text) => {
    const { project } = await world()
    await project.write('syncs/people.yaml', text)
    for (const level of LEVELS) {
      await project.look(...level, 'plan')
      await project.look(...level, 'run')
    }
    await project.look('validate')
  })

  it('a setting with a secret in it that is wrong is told without the secret', async () => {
    const { project } = await world()
    const yaml = await readFile(join(project.root, 'cdp-sync.yaml'), 'utf8')
    await project.write(
      'cdp-sync.yaml',
      yaml.replace('batch_size: 5', 'batch_size: "${env:API_KEY}"').replace('"${env:SIGNING_SECRET}"', '"x${env:SIGNING_SECRET}"'),
    )
    for (const level of LEVELS) expect((await project.run([...level, 'plan'])).code).toBe(1)
    expect((await project.run(['validate'])).code).toBe(1)
  })
})

describe('a PostgreSQL', () => {
  let postgres: Postgres
  beforeAll(async () => {
    postgres = await withPostgres()
  })
  afterAll(() => postgres.stop())

  it('that refuses, is away, or fails on a value is told without password or value', async () => {
    const { receiver } = await world()
    const other = await makeProject({ url: receiver.url, postgres })
    const text = await readFile(join(other.root, 'syncs/people.yaml'), 'utf8')
    const asked = async (url: string): Promise<void> => {
      for (const argv of [
        ['--debug', 'run'],
        ['plan', '--json'],
      ]) {
        const { code, stdout, stderr } = await other.run(argv, { env: { DATABASE_URL: url } })
        expect([code === 0 && argv.includes('run'), stdout + stderr]).toEqual([
          false,
          expect.not.stringMatching(/correct(%20| |\+)horse|Y29ycmVjdCBob3JzZ/),
        ])
      }
    }
    await other.rows(people(0, 5))
    await asked(postgres.url.replace('horse', 'horse-but-wrong'))
    await asked(postgres.url.replace(String(postgres.port), '1'))
    await asked(postgres.url.replace('/postgres?', '/nowhere?').replace(/\/postgres$/, '/nowhere'))
    await other.write(
      'syncs/people.yaml',
      text.replace(/table: (\S+people)/, 'sql: "select cast(id as integer) as id, email, plan from $1"'),
    )
    await asked(postgres.url)
    await other.remove()
  })
})
