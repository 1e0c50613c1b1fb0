import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Project, Sync } from '../../src/config/types.ts'
import type { RunContext } from '../../src/context.ts'
import { AuthError, GuardError } from '../../src/errors.ts'
import { lockSync } from '../../src/lock.ts'
import { main } from '../../src/cli/main.ts'
import { prepareState, clearProgress, writeProgress, writeRecord, writeRejected, type RejectedRow } from '../../src/records.ts'
import type { RunRecord, SyncPlan } from '../../src/types.ts'
import { TOKEN, writeProject } from '../support/cli-project.ts'
import { plan } from '../support/plans.ts'
import { record } from '../support/records.ts'
import { cli, terminal } from '../support/run-cli.ts'

/** The engine behind the commands; what commands do with it is the subject here. */
const engine = vi.hoisted(() => ({
  planSync: vi.fn(),
  runSync: vi.fn(),
  reset: vi.fn(),
  inspectReset: vi.fn(),
  retry: vi.fn(),
  resolve: vi.fn(),
  rename: vi.fn(),
  baseline: vi.fn(),
  adoptTarget: vi.fn(),
  why: vi.fn(),
}))
vi.mock('../../src/run.ts', () => ({ planSync: engine.planSync, runSync: engine.runSync }))
vi.mock('../../src/maintain.ts', () => engine)

let root: string
let remove: () => Promise<void>
beforeEach(async () => {
  ;({ root, remove } = await writeProject())
  vi.resetAllMocks()
  engine.planSync.mockImplementation(async (_: Project, it: Sync): Promise<SyncPlan> => plan({ name: it.name }))
  engine.runSync.mockImplementation(async (_: Project, it: Sync): Promise<RunRecord> => record({ sync: it.name }))
})
afterEach(() => remove())

const here = (argv: string[], more: Parameters<typeof cli>[1] = {}) => cli(argv, { cwd: root, ...more })
const state = (name: string) => prepareState({ root, environment: null, state: { type: 'local', path: join(root, '.cdp-sync') } }, { name })
const parsed = (text: string) => JSON.parse(text) as Record<string, any>
const lines = (text: string) => text.trimEnd().split('\n').map(parsed)
const sample = { op: 'change' as const, key: 'ada-key', before: { plan: 'free' }, after: { plan: 'team' } }
const changed = (it: Sync) => plan({ name: it.name, counts: { change: 1 }, samples: [sample] })

describe('plan', () => {
  it('plans every enabled sync, in the order of their dependencies; data on stdout, the rest on stderr', async () => {
    const { code, stdout, stderr } = await here(['plan'])
    expect(code).toBe(0)
    expect(stdout.match(/^(companies|contacts)/gm)).toEqual(['companies', 'contacts'])
    expect(stderr).toBe('Planning 2 syncs.\n')
  })

  it('prints one JSON object, without keys and values unless asked', async () => {
    engine.planSync.mockImplementation(async (_: Project, it: Sync) => changed(it))
    const hidden = await here(['plan', 'contacts', '--json'])
    expect(parsed(hidden.stdout)).toMatchObject({
      format_version: 1,
      summary: { change: 1 },
      syncs: [{ name: 'contacts', samples: [{ key: '(hidden)' }] }],
    })
    expect(hidden.stdout).not.toMatch(/ada-key|free|team/)
    expect(parsed((await here(['plan', 'contacts', '--json', '--show-values'])).stdout)).toMatchObject({ syncs: [{ samples: [sample] }] })
    expect((await here(['plan', 'contacts'])).stdout).not.toMatch(/ada-key|free|team/)
    expect((await here(['plan', 'contacts'], { tty: true })).stdout).toContain('"free" -> "team"')
  })

  it('exits 2 for changes only when asked to, and never 3 or 5', async () => {
    expect((await here(['plan', '--detailed-exitcode'])).code).toBe(0)
    const refused = [{ name: 'deletes', ok: false, message: 'too many' }]
    engine.planSync.mockImplementation(async (_: Project, it: Sync) => ({ ...changed(it), guards: refused }))
    expect((await here(['plan'])).code).toBe(0)
    expect((await here(['plan', '--detailed-exitcode'])).code).toBe(2)
  })

  it('exits with what failed, and lists it', async () => {
    engine.planSync.mockRejectedValueOnce(new AuthError('CDP3000', 'the login was refused', { hint: 'Renew the token.' }))
    const { code, stdout } = await here(['plan', '--detailed-exitcode'])
    expect(code).toBe(4)
    expect(stdout).toContain('failed: CDP3000 the login was refused')
    expect(stdout).toContain('1 sync could not be planned.')
  })

  it('tells the engine what the flags say', async () => {
    await here(['plan', 'contacts', '--key', 'a', '--key', 'b', '--limit', '7', '--lock-timeout', '2m'])
    const [, , context] = engine.planSync.mock.calls[0] as [Project, Sync, RunContext]
    expect(context.options).toMatchObject({ keys: ['a', 'b'], limit: 7, samples: 7, lockTimeout: 120_000, fullRefresh: false })
  })

  it('is what run --dry-run does', async () => {
    expect((await here(['run', '--dry-run'])).stdout).toContain('Nothing was sent.')
    expect(engine.runSync).not.toHaveBeenCalled()
  })
})

describe('run', () => {
  it('prints a summary and takes the exit code of the worst', async () => {
    engine.runSync.mockImplementation(async (_: Project, it: Sync) =>
      it.name === 'companies'
        ? record({ sync: it.name, status: 'incomplete', exit_code: 3, counts: { rejected: 1 } })
        : record({ sync: it.name }),
    )
    const { code, stdout } = await here(['run'])
    expect(code).toBe(3)
    expect(stdout).toContain('companies: incomplete')
    expect(stdout).toContain('cdp-sync rejected companies')
    expect(stdout).toContain('2 syncs: 1 incomplete, 1 ok')
  })

  it('with --json prints events and, last, the summary', async () => {
    engine.runSync.mockImplementation(async (_: Project, it: Sync, context: RunContext) => {
      context.report({ type: 'started', sync: it.name, run: 'r1' })
      context.report({ type: 'plan', sync: it.name, plan: changed(it) })
      const done = record({
        sync: it.name,
        reasons: [{ outcome: 'rejected', code: 'BAD', rows: 1, example: { key: 'ada-key', message: 'no ada' } }],
      })
      context.report({ type: 'ended', sync: it.name, record: done })
      return done
    })
    const { stdout } = await here(['run', 'contacts', '--json'])
    const events = lines(stdout)
    expect(events.map((it) => it['type'])).toEqual(['started', 'plan', 'ended', 'summary'])
    expect(events.at(-1)).toMatchObject({
      type: 'summary',
      format_version: 1,
      exit_code: 0,
      syncs: [{ name: 'contacts', status: 'ok', run: 'r1', seconds: 4 }],
    })
    expect(stdout).not.toMatch(/ada|free|team/)
  })

  it('passes the guards to lift, by name', async () => {
    await here(['run', 'contacts', '--allow', 'deletes', '--allow', 'null_keys', '--full-refresh', '--yes'])
    const [, , context] = engine.runSync.mock.calls[0] as [Project, Sync, RunContext]
    expect([...context.options.allow]).toEqual(['deletes', 'null_keys'])
    expect(context.options.fullRefresh).toBe(true)
  })

  it('leaves a record of what was blocked, for status', async () => {
    engine.runSync.mockImplementation(async (_: Project, it: Sync) => record({ sync: it.name, status: 'refused', exit_code: 5 }))
    expect((await here(['run'])).code).toBe(5)
    const { syncs } = parsed((await here(['status', '--json'])).stdout)
    expect(syncs).toMatchObject([{ name: 'companies' }, { name: 'contacts', status: 'blocked', last_run: { exit_code: 5 } }])
  })

  it('shows a bug as a bug, with its stack, and goes on with the other syncs', async () => {
    engine.runSync.mockImplementation(async (_: Project, it: Sync) => {
      if (it.name === 'companies') throw new TypeError('x is undefined')
      return record({ sync: it.name })
    })
    const { code, stderr } = await here(['run'])
    expect(code).toBe(1)
    expect(stderr).toContain('This is a bug in cdp-sync')
    expect(stderr).toContain('    at ')
  })

  it('stops cleanly at the first signal and at once at the second', async () => {
    const it = terminal({ cwd: root })
    engine.runSync.mockImplementation(async (_: Project, sync: Sync, { signal }: RunContext) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      return record({ sync: sync.name, status: 'interrupted', exit_code: 130 })
    })
    const code = main(['run', 'contacts'], it.io)
    await vi.waitFor(() => expect(engine.runSync).toHaveBeenCalled())
    it.signal('SIGTERM')
    it.signal('SIGINT')
    expect(it.exits).toEqual([130])
    expect(await code).toBe(143)
    expect(it.read().stderr).toContain('Stopping: no new requests')
  })

  it('says every 10 s how far it is, off a terminal, and nothing with --quiet', async () => {
    let now = 0
    engine.runSync.mockImplementation(async (_: Project, { name: sync }: Sync, { report }: RunContext) => {
      report({ type: 'started', sync, run: 'r1' })
      for (const done of [0, 40_000, 80_000]) {
        report({ type: 'progress', sync, phase: 'deliver', done, total: 120_000 })
        now += 8000
      }
      report({ type: 'note', sync, level: 'warn', message: 'the service asks to wait 10 s' })
      return record({ sync })
    })
    const { stderr } = await here(['run', 'contacts'], { now: () => now })
    expect(stderr).toBe(
      'Running 1 sync.\ncontacts: started, run r1\ncontacts: still sending: 80,000 of 120,000 rows, 16 s\ncontacts: the service asks to wait 10 s\n',
    )
    expect((await here(['run', 'contacts', '-q'])).stderr).toBe('')
    for (const it of lines((await here(['run', 'contacts', '--log-format', 'json'])).stderr)) expect(it).toHaveProperty('time')
  })
})

describe('secrets', () => {
  it('occur in no stream, whoever says them', async () => {
    engine.runSync.mockImplementation(async (_: Project, { name: sync }: Sync, { report, trace }: RunContext) => {
      report({ type: 'note', sync, level: 'info', message: `refused token ${TOKEN}` })
      trace?.(`POST https://x/?token=${TOKEN}`)
      throw new Error(`bug with ${TOKEN}`)
    })
    for (const argv of [[], ['--json'], ['--log-format', 'json'], ['--debug']]) {
      const { stdout, stderr } = await here(['run', 'contacts', ...argv])
      expect(stderr).toContain('bug with ***')
      expect(stdout + stderr).not.toContain(TOKEN)
    }
  })
})

describe('status', () => {
  it('shows every sync, what runs now, and states without a sync', async () => {
    const paths = await state('contacts')
    await writeRecord(paths, record({ sync: 'contacts', status: 'incomplete', counts: { delivered: 1204, rejected: 3, held: 2 } }))
    const old = await state('old-name')
    await writeFile(old.file, '')
    expect((await here(['status'])).stdout).toMatchInlineSnapshot(`
      "sync       status      last run              delivered  rejected  held  next
      companies  never ran                                                    cdp-sync plan companies
      contacts   incomplete  2026-11-22 02:00 UTC      1,204         3     2  cdp-sync rejected contacts

      old-name: there is a state, but no sync of this name. If it was renamed: cdp-sync rename old-name NEW
      "
    `)
    const now = Date.UTC(2026, 10, 22, 3)
    const lock = await lockSync({
      folder: dirname(paths.lock),
      name: 'contacts',
      timeout: 0,
      now: () => now,
      signal: new AbortController().signal,
      run: 'r2',
    })
    const times = { started_at: new Date(now).toISOString(), at: new Date(now).toISOString() }
    await writeProgress(paths, { run: 'r2', phase: 'deliver', done: 40_000, total: 120_000, ...times })
    const running = await here(['status'], { now: () => now + 80_000 })
    expect(running.stdout).toContain('contacts   running    sending: 40,000 of 120,000 rows, 1 min 20 s')
    // How far a run on another machine is stands beside that one alone.
    await clearProgress(paths)
    expect((await here(['status'], { now: () => now + 80_000 })).stdout).toContain('contacts   running    for 1 min 20 s')
    await lock.release()
    const { syncs, states_without_sync } = parsed((await here(['status', '--json'])).stdout)
    expect(states_without_sync).toEqual(['old-name'])
    expect(syncs[1]).toMatchObject({ name: 'contacts', status: 'incomplete', running: null, next: 'cdp-sync rejected contacts' })
  })
})

describe('history and rejected', () => {
  it('list runs, newest first', async () => {
    const paths = await state('contacts')
    await writeRecord(paths, record({ run: 'r1', sync: 'contacts', counts: { add: 1204 } }))
    await writeRecord(
      paths,
      record({
        run: 'r2',
        sync: 'contacts',
        started_at: '2026-11-23T02:00:00.000Z',
        status: 'failed',
        error: { code: 'CDP9', message: '' },
      }),
    )
    expect((await here(['history'])).stdout).toMatchInlineSnapshot(`
      "started               sync      status    add  change  remove  rejected  took  code  run
      2026-11-23 02:00 UTC  contacts  failed      0       0       0         0  4 s   CDP9  r2
      2026-11-22 02:00 UTC  contacts  ok      1,204       0       0         0  4 s         r1
      "
    `)
    expect(parsed((await here(['history', 'contacts', '--json', '--limit', '1'])).stdout)).toMatchObject({
      format_version: 1,
      runs: [{ run: 'r2' }],
    })
  })

  it('list rows without keys and messages off a terminal', async () => {
    const row: RejectedRow = {
      key: 'ada-key',
      op: 'upsert',
      outcome: 'rejected',
      code: 'INVALID_EMAIL',
      message: 'ada@ is no address',
      field: 'email',
      attempts: 2,
      held: false,
      first_run: 'r1',
      run: 'r2',
      at: '2026-11-22T02:00:00.000Z',
    }
    await writeRejected(await state('contacts'), [row, { ...row, key: 'bob-key', code: 'OTHER', held: true }])
    const hidden = await here(['rejected', 'contacts'])
    expect(hidden.stdout).toMatchInlineSnapshot(`
      "(hidden)  upsert rejected, 2 attempts  INVALID_EMAIL in email
      (hidden)  upsert held  OTHER in email

      2 rows: INVALID_EMAIL 1, OTHER 1.
      To look into one: cdp-sync why contacts KEY. To send held rows again: cdp-sync retry contacts
      "
    `)
    const shown = await here(['rejected', 'contacts', '--show-values', '--code', 'INVALID_EMAIL', '--json'])
    expect(parsed(shown.stdout)).toEqual({
      format_version: 1,
      sync: 'contacts',
      total: 1,
      codes: { INVALID_EMAIL: 1, OTHER: 1 },
      rows: [row],
    })
  })
})

describe('commands that change the state', () => {
  it('reset forgets only what was named twice', async () => {
    engine.inspectReset.mockResolvedValue({ owned: 1204, keys: 1204, mode: 'mirror' })
    const alone = await here(['reset', 'contacts'])
    expect([alone.code, engine.reset.mock.calls.length]).toEqual([1, 0])
    expect(alone.stderr).toContain('1,204 owned records there will not be removed any more')
    expect(alone.stderr).toContain('Give --confirm contacts.')
    expect((await here(['reset', 'contacts', '--confirm', 'companies'])).code).toBe(1)
    expect((await here(['reset', 'contacts'], { tty: true, answers: ['no'] })).code).toBe(1)
    expect(engine.reset).not.toHaveBeenCalled()
    expect((await here(['reset', 'contacts'], { tty: true, answers: ['contacts'] })).code).toBe(0)
    const { code, stdout } = await here(['reset', 'contacts', '--confirm', 'contacts', '--json'])
    expect([code, parsed(stdout)]).toEqual([0, { format_version: 1, sync: 'contacts', orphaned: 1204, forgotten: 1204 }])
    expect(engine.reset).toHaveBeenCalledTimes(2)
  })

  it('reset of append says how many events would be sent again', async () => {
    engine.inspectReset.mockResolvedValue({ owned: 0, keys: 5000, mode: 'append' })
    expect((await here(['reset', 'contacts'])).stderr).toContain('has sent 5,000 events; after a reset the next run sends them all again')
  })

  it('retry, resolve, baseline, adopt-target and rename say what they did', async () => {
    engine.retry.mockResolvedValue({ released: 2 })
    engine.resolve.mockResolvedValue({ resolved: 1 })
    engine.baseline.mockResolvedValue({ adopted: 1204, kept: 3 })
    engine.adoptTarget.mockResolvedValue({ from: 'portal 1', to: 'portal 2' })
    expect((await here(['retry', 'contacts', 'k1', 'k2'])).stdout).toContain('2 held rows released')
    expect(engine.retry.mock.calls[0]?.[2]).toEqual(['k1', 'k2'])
    await here(['retry', 'contacts'])
    expect(engine.retry.mock.calls[1]?.[2]).toBeNull()
    expect((await here(['resolve', 'contacts', 'k1', '--not-delivered'])).stdout).toContain('settled as not delivered')
    expect(engine.resolve.mock.calls[0]?.slice(2)).toEqual(['k1', false])
    expect((await here(['resolve', 'contacts', 'k1'])).stderr).toContain('CDP5011')
    engine.resolve.mockResolvedValue({ resolved: 0 })
    expect((await here(['resolve', 'contacts', 'k1', '--delivered'])).code).toBe(1)
    expect((await here(['baseline', 'contacts', '--mapping-only', '--lock-timeout', '5s'])).stdout).toContain(
      '1,204 rows adopted as delivered',
    )
    expect(engine.baseline.mock.calls[0]?.[3]).toEqual({ mappingOnly: true })
    expect((await here(['adopt-target', 'contacts'])).stdout).toContain('portal 1 -> portal 2')
    expect((await here(['rename', 'old', 'contacts'])).stdout).toContain('The state of old is now that of contacts.')
    expect((await here(['rename', 'companies', 'contacts'])).stderr).toContain('CDP5014')
    expect((await here(['retry', 'contact'])).stderr).toContain('Did you mean "contacts"?')
  })

  it('take the exit code of the error', async () => {
    engine.baseline.mockRejectedValue(new GuardError('CDP4000', 'no'))
    expect((await here(['baseline', 'contacts'])).code).toBe(5)
  })
})

const report = (sync: string) => ({
  sync,
  key: 'ada-key',
  model: { email: 'ada@example.com', plan: null },
  payload: { plan: 'team' },
  snapshot: [
    {
      address: 'ada@example.com',
      payload: { plan: 'free' },
      remote_id: '77',
      confirmed_at: '2026-11-22T02:00:00.000Z',
      run: 'r1',
      flags: ['left'],
    },
  ],
  attempts: [{ run: 'r2', at: '2026-11-23T02:00:00.000Z', op: 'upsert', outcome: 'rejected', code: 'BAD', message: 'ada is bad' }],
  next: 'It is sent again in the next run.',
})

describe('why', () => {
  it('tells all about a row, hidden off a terminal', async () => {
    engine.why.mockImplementation(async (_: Project, it: Sync) => report(it.name))
    expect((await here(['why', 'contacts', 'ada-key', '--show-values'])).stdout).toMatchInlineSnapshot(`
      "contacts  ada-key

        model
            email  "ada@example.com"
            plan   null
        wanted
            plan  "team"
        delivered at ada@example.com  (confirmed 2026-11-22 02:00 UTC, run r1, id 77, left)
            plan  "free"
        2026-11-23 02:00 UTC  upsert rejected  BAD: ada is bad

      It is sent again in the next run.
      "
    `)
    for (const argv of [[], ['--json']]) {
      expect((await here(['why', 'contacts', 'ada-key', ...argv])).stdout).not.toMatch(/ada|free|team|77/)
    }
  })

  it('looks through all syncs for a match', async () => {
    engine.why.mockImplementation(async (_: Project, it: Sync) => report(it.name))
    const { stdout } = await here(['why', '--match', 'email=ada@example.com', '--json'])
    expect((parsed(stdout)['reports'] as { sync: string }[]).map((it) => it.sync)).toEqual(['companies', 'contacts'])
    expect(engine.why.mock.calls[0]?.[2]).toEqual({ match: { email: 'ada@example.com' } })
    expect((await here(['why', 'contacts'])).stderr).toContain('CDP5013')
  })
})

describe('validate', () => {
  it('lists the variables and says ok', async () => {
    const { code, stdout } = await here(['validate'])
    expect(code).toBe(0)
    expect(stdout).toContain('${env:BOX_TOKEN}  set    cdp-sync.yaml:2:')
    expect(stdout).toContain('ok: 2 syncs.')
    expect(parsed((await here(['validate', '--json'])).stdout)).toMatchObject({
      format_version: 1,
      ok: true,
      errors: [],
      variables: [{ name: 'BOX_TOKEN', set: true }],
    })
  })

  it('says every problem of every file with its place, the count last', async () => {
    await writeFile(join(root, 'syncs/contacts.yaml'), 'model: { sql: select 1, key: id }\ndestination: bax\nfieldz: {}\nmodee: x\n')
    const { code, stdout, stderr } = await here(['validate'])
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain('syncs/contacts.yaml:3:1')
    expect(stderr).toContain('Did you mean "fields"?')
    expect(stderr.trimEnd().split('\n').at(-1)).toMatch(/^\d+ problems in the configuration\.$/)
    const json = parsed((await here(['validate', '--json'])).stdout)
    expect(json['ok']).toBe(false)
    expect(json['errors'][0]).toMatchObject({ where: expect.stringMatching(/^syncs\/contacts\.yaml:/) })
  })
})

describe('connectors and schema', () => {
  it('list what can be written to, the project apart', async () => {
    const { connectors } = parsed((await here(['connectors', '--json'])).stdout)
    expect(connectors).toContainEqual(expect.objectContaining({ name: 'box', builtin: false }))
    expect((await here(['connectors'])).stdout).toMatch(/^box {2,}things +upsert,mirror +match \(all\) +this project's$/m)
    expect((await here(['connectors'], { cwd: '/' })).code).toBe(0)
  })

  it('print and write JSON Schema', async () => {
    expect(parsed((await here(['schema', 'project'])).stdout)).toHaveProperty('properties.warehouses')
    expect((await here(['schema', '--write'])).code).toBe(0)
    expect(await readdir(join(root, '.cdp-sync/schema'))).toEqual(['cdp-sync.schema.json', 'sync.schema.json'])
  })
})

describe('init', () => {
  const flags = [
    '--warehouse',
    'postgres',
    '--url',
    "postgres://u:p$s#'w@localhost/db",
    '--model',
    'select 1 as id;',
    '--key',
    'id',
    '--destination-url',
    'http://localhost:9/',
  ]
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cdp-init-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  it('writes a project that validates, with its secrets in .env, and never overwrites', async () => {
    await writeFile(join(folder, '.gitignore'), 'node_modules')
    const { code, stdout } = await cli(['init', ...flags], { cwd: folder })
    expect([code, stdout.trimEnd().split('\n')]).toEqual([
      0,
      ['cdp-sync.yaml', 'syncs/example.yaml', 'models/example.sql', '.env', '.gitignore'],
    ])
    expect(await readFile(join(folder, '.gitignore'), 'utf8')).toBe('node_modules\n.cdp-sync/\n.env\n')
    expect(await readFile(join(folder, 'cdp-sync.yaml'), 'utf8')).not.toContain('p$s')
    expect(await readFile(join(folder, 'models/example.sql'), 'utf8')).toMatch(/\nselect 1 as id\n$/)
    for (const [file, schema] of [
      ['cdp-sync.yaml', '.cdp-sync/schema/cdp-sync.schema.json'],
      ['syncs/example.yaml', '../.cdp-sync/schema/sync.schema.json'],
    ] as const) {
      expect((await readFile(join(folder, file), 'utf8')).split('\n')[0]).toBe(`# yaml-language-server: $schema=${schema}`)
      expect(await readFile(join(folder, dirname(file), schema), 'utf8')).toContain('$schema')
    }
    const again = await cli(['init', ...flags], { cwd: folder })
    expect(again.code).toBe(1)
    expect(again.stderr).toContain('cdp-sync.yaml, syncs/example.yaml, models/example.sql, .env are there already')
  })

  it('asks on a terminal', async () => {
    const answers = ['duckdb', 'my.duckdb', 'select * from users', 'user_id', 'http://localhost:9/']
    expect((await cli(['init', 'sub'], { cwd: folder, tty: true, answers })).code).toBe(0)
    expect(await readFile(join(folder, 'sub/cdp-sync.yaml'), 'utf8')).toContain('path: "my.duckdb"')
    expect(await readFile(join(folder, 'sub/syncs/example.yaml'), 'utf8')).toContain('key: "user_id"')
  })

  it('names the flags it needs where it cannot ask, and writes nothing', async () => {
    const { code, stderr } = await cli(['init', '--warehouse', 'duckdb'], { cwd: folder })
    expect(code).toBe(1)
    expect(stderr).toContain('--path FILE, --model SQL, --key COLUMN, --destination-url URL')
    expect(await readdir(folder)).toEqual([])
  })
})
