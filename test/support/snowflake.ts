/**
 * Snowflake as far as a machine without an account can have it: fakesnow (Snowflake's SQL, rewritten for DuckDB) behind a server
 * that speaks the protocol of the driver `snowflake-sdk`, one for each test file, gone when the file ends.
 *
 *     describe.skipIf(SNOWFLAKE === null)('models in Snowflake', () => {
 *       let db: Snowflake
 *       beforeAll(async () => { db = await withSnowflake() })
 *       afterAll(() => db.stop())
 *       it('…', async () => {
 *         await db.query('CREATE TABLE people (id NUMBER, name VARCHAR)')
 *         const driver = snowflake.createConnection({ account: db.account, accessUrl: db.url, username: db.user, … })
 *
 * It needs Python with the packages of snowflake/requirements.txt: a virtual environment, either the one whose interpreter
 * CDP_SYNC_SNOWFLAKE_PYTHON names, or one in the cache (see `PYTHON_HOME`), which .ci/run makes.
 *
 * What it does as Snowflake does (test/warehouse/snowflake-emulator.test.ts proves it): logins by password, token and key pair;
 * sessions with parameters, the time zone of a new account (not UTC) and QUERY_TAG; describing without running; results in
 * several files; several statements in a request; arrays of binds; row counts; temporary tables, in schemas too; READ COMMITTED
 * transactions with locks that others wait for, LOCK_TIMEOUT, DDL that commits, a failed statement that takes back itself alone,
 * an idle transaction that is rolled back; cancelling and time limits; a repeated request that is answered, not run again; codes,
 * places and words of the usual errors; names that differ in upper and lower case are two names; no key is enforced.
 *
 * Over fakesnow that is our own, in snowflake/: all of the protocol (server.py, rows.py, login.py), transactions and locks
 * (sessions.py), errors (errors.py), exactness of names (names.py) and in cursor.py: a signed HASH; 38 digits for NUMBER, as
 * HUGEINT; TO_VARCHAR with formats of times, HEX, BASE64 and TME; TRIM, LTRIM and RTRIM of given characters; OCTET_LENGTH;
 * CURRENT_ROLE and the like; COLLATE ''; columns named by words that DuckDB reserves; ALTER SESSION; grants, roles and warehouses,
 * which are taken and do nothing; TO_TIMESTAMP of a number in any time zone; PUBLIC in a new database; arrays bound by UNNEST.
 *
 * What it can't, and what passes here may fail there or the other way round:
 * - Rights: everybody may do everything. A virtual warehouse is never missing or suspended (`refuse` can say so).
 * - Times have microseconds, not nanoseconds; a TIMESTAMP_TZ forgets its own offset; TIMESTAMP_LTZ is told as timestamp_tz;
 *   ARRAY, OBJECT and MAP are told as variant, every column as nullable, every text as 16777216 long; no GEOGRAPHY, no VECTOR.
 * - VARCHAR(n) takes longer texts; a collation other than '' is not known; 1/0 is no error; 1/3 has more digits.
 * - A VARIANT is text: its keys keep their order, its numbers their spelling, TYPEOF says JSON.
 * - TO_VARCHAR of a timestamp, time, binary or NaN without a format is DuckDB's; TZHTZM is the session's zone, without minutes.
 * - Columns without an alias are named by DuckDB.
 * - HASH is another number than Snowflake's, and may differ where the types of equal numbers do.
 * - MERGE and UPDATE … FROM do not notice a row that several rows match.
 * - INSERT takes no lock; after its first write a transaction sees other tables as they were then; deadlocks are not noticed.
 * - A database and a schema of the same name; two names in one schema that differ in upper and lower case alone.
 * - No scripts (EXECUTE IMMEDIATE, BEGIN … END), EXPLAIN, time travel, streams, tasks, AUTOCOMMIT = FALSE, COPY INTO a stage,
 *   PUT of the Node driver (and so binds by file; the server says that all arrays may come inline), `SELECT $1 FROM …`,
 *   REGEXP_REPLACE with more than three arguments, HASH_AGG, AS_VARCHAR and its like, SYSTEM$ functions, ALTER TABLE … SWAP.
 * - Each statement costs 5 to 40 ms, however small.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const FOLDER = join(import.meta.dirname, 'snowflake')

/** Where .ci/run puts the virtual environment: a folder for each version of the list of packages. */
export const PYTHON_HOME = join(
  process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'),
  'cdp-sync',
  `python-${createHash('sha256')
    .update(readFileSync(join(FOLDER, 'requirements.txt')))
    .digest('hex')
    .slice(0, 12)}`,
)

function find(): string | null {
  const places = [process.env['CDP_SYNC_SNOWFLAKE_PYTHON'], join(PYTHON_HOME, 'bin/python')]
  return places.find((path) => path !== undefined && path !== '' && existsSync(path)) ?? null
}

/** The interpreter that has the packages; tests that need it are skipped where there is none. */
export const SNOWFLAKE = find()
if (SNOWFLAKE === null) console.warn('Python with fakesnow is not installed: Snowflake is not tested here')

export interface Snowflake {
  readonly account: string
  readonly user: string
  readonly password: string
  /** What a login by OAuth or by a programmatic access token shows. */
  readonly token: string
  readonly host: string
  readonly port: number
  readonly protocol: 'http'
  /** `http://host:port`, the driver's `accessUrl`. */
  readonly url: string
  readonly database: string
  readonly schema: string
  readonly warehouse: string
  readonly role: string
  /** Runs one statement in the test's own session; its rows by column name, every value a raw text of the protocol or null. */
  query(sql: string): Promise<Record<string, string | null>[]>
  /** What others than `query` asked, oldest first, each with its QUERY_TAG. */
  statements(): Promise<Asked[]>
  /** The connection breaks before the reply to the next statement like this, which has taken effect. */
  lose(statement: RegExp): Promise<void>
  /** The next statement like this is refused so, and not run. */
  refuse(statement: RegExp, refusal: { code: string; state: string; message: string }): Promise<void>
  stop(): void
}

export interface Asked {
  readonly sql: string
  readonly tag: string
  /** Whether it was only to be described. */
  readonly describe: boolean
}

export interface SnowflakeOptions {
  /** Schemas in the database besides PUBLIC. */
  readonly schemas?: readonly string[]
  /** PEM of the key that a login by key pair is checked with. */
  readonly publicKey?: string
  /** Seconds after which an idle transaction that others wait for is rolled back: 300, as in Snowflake. */
  readonly idleTransaction?: number
}

const USER = { user: 'TESTER', password: 'S3cr3t of the warehouse', token: 'S3cr3t-token-of-the-warehouse' } as const
const PLACE = { database: 'TEST', schema: 'PUBLIC', warehouse: 'COMPUTE_WH', role: 'SYSADMIN' } as const

/** Starts a server (about a second) with the empty database TEST. */
export async function withSnowflake({ schemas = [], ...options }: SnowflakeOptions = {}): Promise<Snowflake> {
  if (SNOWFLAKE === null) throw new Error('Python with fakesnow is not installed')
  const child = spawn(SNOWFLAKE, ['-B', '-W', 'ignore', join(FOLDER, 'server.py')], { stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.write(`${JSON.stringify({ ...USER, ...options, database: PLACE.database, schemas: ['PUBLIC', ...schemas] })}\n`)
  const port = await said(child)
  const url = `http://127.0.0.1:${port}`
  let session: Promise<string> | null = null
  return {
    account: 'test',
    ...USER,
    ...PLACE,
    host: '127.0.0.1',
    port,
    protocol: 'http',
    url,
    async query(sql) {
      session ??= login(url)
      const { rowtype, rowset, chunks } = (await post(`${url}/queries/v1/query-request`, { sqlText: sql }, await session)) as Rows
      const rows = [...rowset]
      for (const chunk of chunks) rows.push(...(JSON.parse(`[${await (await fetch(chunk.url)).text()}]`) as Rows['rowset']))
      return rows.map((row) => Object.fromEntries(rowtype.map(({ name }, at) => [name, row[at] ?? null])))
    },
    statements: async () => (await (await fetch(`${url}/test/statements`)).json()) as Asked[],
    lose: async (statement) => void (await post(`${url}/test/wrong`, { pattern: statement.source })),
    refuse: async (statement, refusal) => void (await post(`${url}/test/wrong`, { pattern: statement.source, ...refusal })),
    stop: () => void child.kill('SIGKILL'),
  }
}

interface Rows {
  readonly rowtype: readonly { readonly name: string }[]
  readonly rowset: readonly (readonly (string | null)[])[]
  readonly chunks: readonly { readonly url: string }[]
}

/** The port that the server names when it listens. */
function said(child: ChildProcess): Promise<number> {
  const noise: string[] = []
  child.stderr?.on('data', (data: Buffer) => noise.push(data.toString()))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`The Snowflake emulator did not start:\n${noise.join('')}`)))
    if (child.stdout) createInterface(child.stdout).once('line', (line) => resolve(Number(line)))
  })
}

async function login(url: string): Promise<string> {
  const data = { CLIENT_APP_ID: 'test', LOGIN_NAME: USER.user, PASSWORD: USER.password }
  const place = `databaseName=${PLACE.database}&schemaName=${PLACE.schema}`
  return ((await post(`${url}/session/v1/login-request?${place}`, { data })) as { token: string }).token
}

async function post(url: string, body: object, token?: string): Promise<unknown> {
  const headers = token === undefined ? {} : { authorization: `Snowflake Token="${token}"` }
  const reply = await fetch(url, { method: 'POST', body: JSON.stringify(body), headers })
  const { success, code, message, data } = (await reply.json()) as { success: boolean; code: string; message: string; data: unknown }
  if (!success) throw new Error(`${code}: ${message}`)
  return data
}

/**
 * What sqlglot's Snowflake dialect has against these statements: `statement: error` for each that it can't parse, so an empty
 * list is well. It parses alone: it knows neither tables nor which functions there are.
 */
export async function sqlglotCheck(statements: readonly string[]): Promise<string[]> {
  const program = SNOWFLAKE
  if (program === null) throw new Error('Python with sqlglot is not installed')
  const answer = await new Promise<string>((resolve, reject) => {
    const done = (error: Error | null, stdout: string): void => (error ? reject(error) : resolve(stdout))
    execFile(program, ['-B', join(FOLDER, 'parse.py')], { maxBuffer: 2 ** 28 }, done).stdin?.end(JSON.stringify(statements))
  })
  const problems = JSON.parse(answer) as (string | null)[]
  return statements.flatMap((sql, at) => (problems[at] == null ? [] : [`${sql}: ${problems[at]}`]))
}
