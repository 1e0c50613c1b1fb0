/** A project on disk whose commands run as processes of the built program, on a real warehouse, with state where `engine` has it. Needs `npm run build`. */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DuckDBInstance } from '@duckdb/node-api'
import { expect, vi } from 'vitest'
import { loadProject } from '../../src/config/load.ts'
import type { Project } from '../../src/config/types.ts'
import { openKeeper } from '../../src/state/keepers.ts'
import { openState, lookThrough, readMemory } from '../../src/state/local.ts'
import { encodeJson } from '../../src/json.ts'
import type { Plan, RunRecord } from '../../src/types.ts'
import { cellValue } from '../../src/values.ts'
import { engine, forgetMachine, stateFile, type StatePlace } from './engines.ts'
import type { Postgres } from './postgres.ts'
import type { Receiver } from './receiver.ts'
import { cli, type Ran } from './run-cli.ts'

/** The program under test; CDP_SYNC_BIN names another build of it. */
const BIN = process.env['CDP_SYNC_BIN'] ?? fileURLToPath(new URL('../../bin/cdp-sync.js', import.meta.url))

/** Every value of every row holds this, and nothing else does: what of a row is shown is found. */
export const CANARY = 'cnry'

export interface Person {
  readonly id: string
  readonly email: string
  readonly plan: string | null
}

export const person = (n: number, more: Partial<Person> = {}): Person => ({
  id: `${CANARY}-k${n}`,
  email: `${CANARY}-${n}@example.com`,
  plan: n % 5 === 0 ? null : `${CANARY}-free`,
  ...more,
})
export const people = (from: number, to: number): Person[] => Array.from({ length: to - from }, (_, i) => person(from + i))

export const SECRETS = {
  URL_PASSWORD: 'S3cr3t-url:pw/word',
  API_KEY: 'key_live_51Hq8sZpX2w',
  SIGNING_SECRET: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  EXTRA: 'from-the-env-and-unused-in-urls',
} as const

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Child {
  readonly process: ChildProcess
  readonly end: Promise<Ended>
  /** What it has written to stdout so far. */
  shown(): string
  /** Resolves when stderr holds the text. */
  said(text: string): Promise<void>
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>
  /** A program and its arguments that start Node: `['prlimit', '--fsize=…']`. */
  readonly through?: readonly string[]
}

export interface TestProject {
  readonly root: string
  readonly env: Readonly<Record<string, string>>
  readonly place: StatePlace
  write(path: string, text: string): Promise<void>
  /** Replaces syncs/people.yaml by this text, whose model is the table `people`. */
  sync(text: string): Promise<void>
  /** Replaces the rows of the model's table. */
  rows(rows: readonly Person[]): Promise<void>
  start(argv: readonly string[], options?: RunOptions): Child
  /** Every output is searched for secrets, and, without --show-values, for values of rows. */
  run(argv: readonly string[], options?: RunOptions): Promise<Ended>
  /** The same inside this process, which is faster. */
  look(...argv: string[]): Promise<Ran>
  plan(): Promise<Plan['syncs'][number]>
  /** The newest run record of a sync. */
  record(sync?: string): Promise<RunRecord>
  /** As the program reads it. */
  loaded(): Promise<Project>
  /** Another project with the same files and destination, and with the same state: a copy of it where it lies in the folder. */
  copy(): Promise<TestProject>
  /** The same on a machine that never saw it, for states that lie elsewhere. */
  elsewhere(): Promise<TestProject>
  remove(): Promise<void>
}

export interface ProjectSettings {
  /** Where requests go. */
  readonly url: string
  /** Default: a DuckDB file in the project. */
  readonly postgres?: Postgres
  /** Further settings of the destination, as YAML flow members. */
  readonly destination?: string
  /** Further lines of cdp-sync.yaml, and variables that they read. */
  readonly more?: string
  readonly env?: Readonly<Record<string, string>>
  /** More of syncs/people.yaml; default mode mirror. */
  readonly sync?: string
  readonly files?: Readonly<Record<string, string>>
}

export const syncText = (more = 'mode: mirror\non_remove: delete', fields = 'plan: plan'): string => `model: { table: people, key: id }
destination: app
match: { email: email }
fields: { ${fields} }
guards: { deletes: false, identities: false, empty: false, mapping: false }
${more}
`

let made = 0

export async function makeProject(settings: ProjectSettings): Promise<TestProject> {
  expect(existsSync(BIN), 'npm run build comes first').toBe(true)
  const root = await mkdtemp(join(tmpdir(), 'cdp-sync-project-'))
  const schema = `p${process.pid}_${++made}`
  const place = engine.place()
  const postgres = settings.postgres ?? place.postgres
  const url = new URL('/hook', settings.url)
  url.username = 'agent'
  url.password = SECRETS.URL_PASSWORD
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOOK_URL: url.href,
    API_KEY: SECRETS.API_KEY,
    SIGNING_SECRET: SECRETS.SIGNING_SECRET,
    EXTRA: SECRETS.EXTRA,
    ...(postgres ? { DATABASE_URL: postgres.url } : {}),
    ...place.env,
    ...settings.env,
  }
  const warehouse = postgres ? '{ type: postgres, url: "${env:DATABASE_URL}" }' : '{ type: duckdb, path: warehouse.duckdb }'
  const destination = `{ type: webhook, url: "\${env:HOOK_URL}", signing_secret: "\${env:SIGNING_SECRET}", headers: { x-api-key: "\${env:API_KEY}", x-more: "\${env:EXTRA}" }, ${settings.destination ?? 'batch_size: 5, concurrency: 2'} }`
  const project = open(root, env, place, postgres, schema)
  await project.write(
    'cdp-sync.yaml',
    `warehouses: { main: ${warehouse}${place.yamlWarehouses} }\ndestinations: { app: ${destination} }\n${place.yaml}${settings.more ?? ''}`,
  )
  await project.sync(syncText(settings.sync))
  for (const [path, text] of Object.entries(settings.files ?? {})) await project.write(path, text)
  return project
}

function open(
  root: string,
  env: Readonly<Record<string, string>>,
  place: StatePlace,
  postgres: Postgres | undefined,
  schema: string,
): TestProject {
  const children: ChildProcess[] = []
  const self: TestProject = {
    root,
    env,
    place,
    async write(path, text) {
      await mkdir(dirname(join(root, path)), { recursive: true })
      await writeFile(join(root, path), text)
    },
    sync: (text) => self.write('syncs/people.yaml', postgres ? text.replace('table: people', `table: ${schema}.people`) : text),
    rows: (rows) => (postgres ? fillPostgres(postgres, schema, rows) : fillDuckdb(join(root, 'warehouse.duckdb'), rows)),
    start(argv, { env: more = {}, through = [] } = {}) {
      const [program = '', ...args] = [...through, process.execPath, BIN, '-C', root, ...argv]
      const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...env, ...more } })
      children.push(child)
      return follow(child, argv)
    },
    run: (argv, options) => self.start(argv, options).end,
    async look(...argv) {
      const ran = await cli(['-C', root, ...argv], { env: { ...env } })
      refuseLeaks(argv, ran)
      return ran
    },
    async plan() {
      const { code, stdout, stderr } = await self.look('--quiet', 'plan', '--json', 'people')
      expect([code, stderr]).toEqual([0, ''])
      const [plan] = (JSON.parse(stdout) as Plan).syncs
      if (!plan) throw new Error(stdout)
      return plan
    },
    async record(sync = 'people') {
      const { runs } = await (await openKeeper(await self.loaded())).records(sync)
      const records = await Promise.all(
        (await readdir(runs)).map(async (name) => JSON.parse(await readFile(join(runs, name), 'utf8')) as RunRecord),
      )
      const [newest] = records.sort((a, b) => (a.started_at < b.started_at ? 1 : -1))
      if (!newest) throw new Error('no record')
      return newest
    },
    loaded: () => loadProject({ root, environ: env }),
    async copy() {
      const twin = await mkdtemp(join(tmpdir(), 'cdp-sync-project-'))
      await cp(root, twin, { recursive: true })
      return open(twin, env, place, postgres, schema)
    },
    async elsewhere() {
      const twin = await self.copy()
      await forgetMachine(twin.root)
      return twin
    },
    async remove() {
      for (const child of children) child.kill('SIGKILL')
      await rm(root, { recursive: true, force: true })
    },
  }
  return self
}

function follow(child: ChildProcess, argv: readonly string[]): Child {
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const end = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      try {
        refuseLeaks(argv, { stdout, stderr })
        resolve({ code, signal, stdout, stderr })
      } catch (error) {
        reject(error)
      }
    })
  })
  // A test that kills it may never look.
  end.catch(() => undefined)
  return {
    process: child,
    end,
    shown: () => stdout,
    said: (text) => vi.waitFor(() => expect(stderr).toContain(text), { timeout: 20_000, interval: 20 }),
  }
}

function refuseLeaks(argv: readonly string[], { stdout, stderr }: { stdout: string; stderr: string }): void {
  const shown = leaks(stdout + stderr, !argv.includes('--show-values'))
  if (shown.length > 0) throw new Error(`${argv.join(' ')} shows ${shown.join(' and ')}:\n${stdout}\n${stderr}`)
}

/** What of the secrets, in any usual encoding, and of the rows a text shows. */
export function leaks(text: string, values: boolean): string[] {
  const found = Object.entries(SECRETS).filter(([, secret]) => formsOf(secret).some((form) => text.includes(form)))
  return [
    ...found.map(([name]) => `the secret ${name}`),
    ...(values && text.includes(CANARY) ? [`the value ${/\S*cnry\S*/.exec(text)?.[0]}`] : []),
  ]
}

function formsOf(secret: string): string[] {
  const base64 = [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), Buffer.from(secret)]).toString('base64')
    return text.slice(4, -4)
  })
  return [
    secret,
    encodeURIComponent(secret),
    new URL(`http://a:${secret.replaceAll('/', '%2F')}@b`).password,
    JSON.stringify(secret).slice(1, -1),
    ...base64,
  ]
}

async function fillDuckdb(file: string, rows: readonly Person[]): Promise<void> {
  const instance = await DuckDBInstance.create(file)
  const db = await instance.connect()
  await db.run(tableSql('', rows))
  db.closeSync()
  instance.closeSync()
}

async function fillPostgres(postgres: Postgres, schema: string, rows: readonly Person[]): Promise<void> {
  await postgres.query(`CREATE SCHEMA IF NOT EXISTS ${schema}; ${tableSql(`${schema}.`, rows)}`)
}

const cell = (value: string | null): string => (value === null ? 'NULL' : `'${value.replaceAll("'", "''")}'`)

function tableSql(prefix: string, rows: readonly Person[]): string {
  const values = rows.map(({ id, email, plan }) => `(${cell(id)}, ${cell(email)}, ${cell(plan)})`).join(', ')
  return `DROP TABLE IF EXISTS ${prefix}people; CREATE TABLE ${prefix}people (id VARCHAR, email VARCHAR, plan VARCHAR);${values && ` INSERT INTO ${prefix}people VALUES ${values}`}`
}

/** What the state counts as known, journal of an unfinished run included: address -> delivered fields. Leaves the state alone. */
export async function known(project: TestProject, sync = 'people'): Promise<Map<string, Record<string, unknown>>> {
  const folder = await mkdtemp(join(tmpdir(), 'cdp-sync-known-'))
  try {
    const file = await stateFile(await project.loaded(), sync, folder)
    if (file === null) return new Map()
    const state = await openState({ file, writable: true, spill: folder, memory: 128 * 2 ** 20, threads: 1 })
    try {
      const { header } = await readMemory(state.db)
      if (header) await lookThrough(state.db, header)
      const names = (await state.db.rows<{ name: string }>('SELECT name FROM state.fields ORDER BY position')).map(({ name }) => name)
      const rows = await state.db.rows<{ address: string; payload: (string | null)[] }>(
        'SELECT address, payload FROM snap WHERE NOT uncertain AND payload IS NOT NULL',
      )
      return new Map(rows.map(({ address, payload }) => [address, fieldsOf(names, payload)]))
    } finally {
      state.close()
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function fieldsOf(names: readonly string[], payload: readonly (string | null)[]): Record<string, unknown> {
  const cells = payload.flatMap((cell, i) => (cell === null ? [] : [[names[i], JSON.parse(encodeJson(cellValue(cell)))] as const]))
  return Object.fromEntries(cells) as Record<string, unknown>
}

/** What a receiver holds: key -> match and fields together, nulls left out. */
export function held(receiver: Receiver): Map<string, Record<string, unknown>> {
  return new Map([...receiver.records].map(([key, { match, fields }]) => [key, withoutNulls({ ...match, ...fields })]))
}

export const wanted = (rows: readonly Person[]): Map<string, Record<string, unknown>> =>
  new Map(rows.map(({ id, email, plan }) => [id, withoutNulls({ email, plan })]))

export const withoutNulls = (fields: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null))

/** Everything the state counts as delivered is at the receiver, value by value. */
export async function expectNoFalseDone(project: TestProject, receiver: Receiver): Promise<void> {
  const there = held(receiver)
  for (const [key, fields] of await known(project)) expect({ key, ...there.get(key) }).toEqual({ key, ...withoutNulls(fields) })
}

/** The receiver holds exactly these rows, and the next plan is empty. */
export async function expectConverged(project: TestProject, receiver: Receiver, rows: readonly Person[]): Promise<void> {
  expect(held(receiver)).toEqual(wanted(rows))
  const { counts } = await project.plan()
  expect(counts).toMatchObject({ add: 0, change: 0, remove: 0, uncertain: 0, held: 0, unchanged: rows.length })
}
