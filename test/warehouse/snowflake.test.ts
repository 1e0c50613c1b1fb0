/** Snowflake's protocol: logins, sessions, results in pieces, errors in words. The SQL itself is in snowflake-sql.test.ts. */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash, createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { loadProject } from '../../src/config/load.ts'
import type { SnowflakeSettings } from '../../src/config/types.ts'
import { AuthError, CdpError } from '../../src/errors.ts'
import { openWarehouse } from '../../src/warehouse/open.ts'
import { writeRows } from '../../src/warehouse/snowflake-csv.ts'
import { connectSnowflake } from '../../src/warehouse/snowflake-session.ts'
import type { Warehouse } from '../../src/warehouse/warehouse.ts'
import { fakeSnowflake, snowflakeEntry, type FakeSnowflake, type Reply, type Script } from './snowflake-server.ts'
import { failure, inFolder, model, run } from './support.ts'

const hasOpenssl = spawnSync('openssl', ['version']).status === 0
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const pem = (passphrase?: string): string =>
  rsa.privateKey
    .export({ format: 'pem', type: 'pkcs8', ...(passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase }) })
    .toString()

let fake: FakeSnowflake
afterEach(() => fake.stop())

/** A server that does as `script` says, and the warehouse of an entry that names it. */
async function warehouse(script: Script = {}, settings: SnowflakeSettings = {}): Promise<Warehouse> {
  fake = await fakeSnowflake(script)
  const login = ['private_key', 'oauth_token', 'access_token'].some((name) => name in settings) ? { password: undefined } : {}
  return openWarehouse(snowflakeEntry({ ...fake.settings, warehouse: 'LOADING', ...login, ...settings }), { root: '/' })
}

const TEXTS = (...names: string[]): Reply & object => ({ columns: names.map((name) => ({ name, type: 'text' })) })

describe('logging in', () => {
  it('signs with the key of a key pair, which the account knows by its fingerprint', async () => {
    for (const settings of [{ private_key: pem() }, { private_key: pem('open sesame'), private_key_passphrase: 'open sesame' }]) {
      await (await warehouse({}, settings)).check()
      const { AUTHENTICATOR, TOKEN } = fake.logins[0]?.data ?? {}
      expect(AUTHENTICATOR).toBe('SNOWFLAKE_JWT')
      const [head = '', claims = '', signature = ''] = String(TOKEN).split('.')
      expect(verify('RSA-SHA256', Buffer.from(`${head}.${claims}`), rsa.publicKey, Buffer.from(signature, 'base64url'))).toBe(true)
      const print = createHash('sha256')
        .update(createPublicKey(rsa.privateKey).export({ format: 'der', type: 'spki' }))
        .digest('base64')
      expect(JSON.parse(Buffer.from(claims, 'base64url').toString())).toMatchObject({
        iss: `MYORG-MYACCOUNT.CDP_SYNC.SHA256:${print}`,
        sub: 'MYORG-MYACCOUNT.CDP_SYNC',
      })
      fake.stop()
    }
  })

  it('says why a private key can not be used', async () => {
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
    for (const settings of [
      { private_key: 'not a key' },
      { private_key: ec },
      { private_key: pem('open sesame') },
      { private_key: pem('open sesame'), private_key_passphrase: 'close sesame' },
    ]) {
      const error = await failure((await warehouse({}, settings)).check())
      expect(error).toBeInstanceOf(AuthError)
      expect(error).toMatchObject({ code: 'CDP2307', where: 'cdp-sync.yaml:3:5' })
      expect(error.message).not.toContain('sesame')
      expect(fake.logins).toHaveLength(0)
      fake.stop()
    }
  })

  it('sends a token as what it is, and a password', async () => {
    for (const [settings, sent] of [
      [{ oauth_token: 'o-token\n' }, { AUTHENTICATOR: 'OAUTH', TOKEN: 'o-token' }],
      [{ access_token: 'p-token' }, { AUTHENTICATOR: 'PROGRAMMATIC_ACCESS_TOKEN', TOKEN: 'p-token' }],
      [{}, { LOGIN_NAME: 'cdp_sync', PASSWORD: 'S3cr3t of the warehouse' }],
    ] as const) {
      await (await warehouse({}, settings)).check()
      expect(fake.logins[0]?.data).toMatchObject({ ACCOUNT_NAME: 'myorg-myaccount', ...sent })
      fake.stop()
    }
  })

  it('asks for role, warehouse, database and schema', async () => {
    await (await warehouse({}, { role: 'READER', database: 'SHOP', schema: 'CRM' })).check()
    expect(fake.logins[0]?.place).toMatchObject({ roleName: 'READER', warehouse: 'LOADING', databaseName: 'SHOP', schemaName: 'CRM' })
  })

  it.each([
    ['390100', 'Incorrect username or password was specified.', 'CDP2302', 'cdp_sync'],
    ['390144', 'JWT token is invalid.', 'CDP2302', 'RSA_PUBLIC_KEY'],
    ['390318', 'OAuth access token expired.', 'CDP2302', 'new one'],
    ['390422', 'Incoming request with IP/Token 1.2.3.4 is not allowed to access Snowflake.', 'CDP2302', 'network policy'],
    ['390189', "Role 'READER' specified in the connect string does not exist or not authorized.", 'CDP2303', 'GRANT ROLE'],
  ])('says what to do when the login is refused with %s', async (code, message, expected, hint) => {
    const error = await failure((await warehouse({ login: () => ({ code, message }) }, { role: 'READER' })).check())
    expect(error).toBeInstanceOf(AuthError)
    expect(error.code).toBe(expected)
    expect(`${error.message} ${error.hint}`).toContain(hint)
    expect(fake.logins).toHaveLength(1)
  })

  it('tells an account that is not there from a server that is down', async () => {
    expect(await failure((await warehouse({ login: () => ({ status: 404 }) })).check())).toMatchObject({ code: 'CDP2304' })
    const down = await warehouse()
    fake.stop()
    const error = await failure(down.check())
    expect(error).toMatchObject({ code: 'CDP2301' })
    expect(error.message).toContain('ECONNREFUSED')
  }, 20_000)

  it.skipIf(!hasOpenssl)('says when a certificate is not trusted, and does not send the login', async () => {
    await warehouse()
    await inFolder(async (folder) => {
      const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
      const request = [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=localhost',
        '-keyout',
        key,
        '-out',
        cert,
      ]
      execFileSync('openssl', request, { stdio: 'ignore' })
      const asked = vi.fn<() => void>()
      const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, asked)
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as AddressInfo
      const secure = snowflakeEntry({ account: 'a-b', user: 'u', password: 'p', host: 'localhost', port })
      expect(await failure((await openWarehouse(secure, { root: '/' })).check())).toMatchObject({ code: 'CDP2305' })
      expect(asked).not.toHaveBeenCalled()
      server.close()
    })
  })

  it('waits no longer than it may for a login', async () => {
    const error = await failure((await warehouse({ login: () => 'silence' }, { connect_timeout: 200 })).check())
    expect(error.message).toMatch(/not reachable: no login within 0.2 s/)
  })

  it('names the warehouse, database or schema that is not there: the login takes them all', async () => {
    for (const [kind, name] of [
      ['warehouse', 'LOADNIG'],
      ['database', 'SHPO'],
      ['schema', 'CMR'],
    ] as const) {
      const error = await failure((await warehouse({ place: { [kind]: null } }, { [kind]: name })).check())
      expect(error).toMatchObject({ code: 'CDP2303', where: 'cdp-sync.yaml:3:5' })
      expect(error.message).toContain(`no ${kind} ${name}`)
      fake.stop()
    }
  })

  it('wants a virtual warehouse from the entry or from the user', async () => {
    expect(await failure((await warehouse({}, { warehouse: undefined })).check())).toMatchObject({ code: 'CDP2310' })
  })

  it('never shows what it logs in with, not even in what caused an error', async () => {
    const error = await failure((await warehouse({ login: () => ({ status: 500 }) }, { connect_timeout: 300 })).check())
    const all: string[] = []
    for (let at: unknown = error; at instanceof Error; at = at.cause) all.push(JSON.stringify(at, Object.getOwnPropertyNames(at)))
    expect(all.join()).not.toContain('S3cr3t')
  })

  it('calls nobody but the server, writes no log and prints nothing', async () => {
    const printed = [vi.spyOn(process.stdout, 'write'), vi.spyOn(process.stderr, 'write')]
    const before = readdirSync('.')
    await (await warehouse()).check()
    await failure((await warehouse({ login: () => ({ code: '390100', message: 'no' }) })).check())
    expect(fake.paths).toStrictEqual(['/session/v1/login-request'])
    expect(readdirSync('.')).toStrictEqual(before)
    for (const spy of printed) {
      expect(spy).not.toHaveBeenCalled()
      spy.mockRestore()
    }
    expect(process.env['SNOWFLAKE_DISABLE_PLATFORM_DETECTION']).toBe('true')
  })
})

describe('a session', () => {
  it('pins in one statement what decides how values are written, and is ended', async () => {
    const it = await warehouse({}, { statement_timeout: 90_000 })
    await it.check()
    expect(fake.asked).toHaveLength(1)
    for (const part of [
      "TIMEZONE = 'UTC'",
      'ROWS_PER_RESULTSET = 0',
      'MULTI_STATEMENT_COUNT = 1',
      'QUOTED_IDENTIFIERS_IGNORE_CASE = false',
      'ABORT_DETACHED_QUERY = true',
      'STATEMENT_TIMEOUT_IN_SECONDS = 90',
    ])
      expect(fake.asked[0]?.sql).toContain(part)
    expect(fake.ended()).toBe(1)
  })

  it('carries sync and run in QUERY_TAG and in a comment', async () => {
    const it = await warehouse({ query: () => TEXTS('ID') })
    await run(it, model('SELECT id FROM people'))
    expect(fake.asked.filter(({ sql }) => sql.includes("QUERY_TAG = 'cdp-sync sync=crm-contacts run=01J'"))).toHaveLength(2)
    expect(fake.asked.at(-1)?.sql).toMatch(/^\/\* cdp-sync sync=crm-contacts run=01J \*\/ SELECT/)
  })

  it('cancels at the server what is aborted', async () => {
    await warehouse({ query: (sql) => (sql.includes('SLOW') ? 'silence' : TEXTS('ID')) })
    const stop = new AbortController()
    const session = await connectSnowflake(snowflakeEntry(fake.settings), { tag: 'cdp-sync', signal: stop.signal })
    const slow = session.run('SELECT SLOW()')
    await vi.waitFor(() => expect(fake.asked.at(-1)?.sql).toBe('SELECT SLOW()'))
    stop.abort(new Error('interrupted'))
    await expect(slow).rejects.toThrow('interrupted')
    expect(fake.cancelled).toHaveLength(1)
    await session.close()
  })

  it('does not wait for a login that is aborted', async () => {
    await warehouse({ login: () => 'silence' })
    const stop = new AbortController()
    const login = connectSnowflake(snowflakeEntry(fake.settings), { tag: 'cdp-sync', signal: stop.signal })
    await vi.waitFor(() => expect(fake.logins).toHaveLength(1))
    stop.abort(new Error('interrupted'))
    await expect(login).rejects.toThrow('interrupted')
  })
})

describe('a result', () => {
  const pieces = (texts: readonly string[], counts: readonly number[]): Reply => ({
    ...TEXTS('A', 'B'),
    rows: [['first', null]],
    pieces: texts.map((text, i) => ({ count: counts[i] ?? 0, text: () => text })),
  })

  it('arrives in pieces, whole and in order', async () => {
    const it = await warehouse({
      query: (_, describe) => (describe ? TEXTS('A', 'B') : pieces(['["x, y","quo\\"te"],["","\\n"]', '["\\ufeffbom",null]'], [2, 1])),
    })
    const progress = vi.fn<(bytes: number) => void>()
    const { rows, extract } = await run(it, model('SELECT a, b FROM t'), { progress })
    expect(rows).toStrictEqual([
      ['first', null],
      ['x, y', 'quo"te'],
      ['', '\n'],
      ['\ufeffbom', null],
    ])
    expect(extract).toMatchObject({ rows: 4, multiline: true })
    expect(progress).toHaveBeenCalled()
  })

  it('of one column keeps its NULLs and its first byte order mark', async () => {
    const texts = ['\ufeffbom', null, '', 'a\0b', '\r', 'ö€😀']
    const it = await warehouse({
      query: (_, describe) => ({ ...TEXTS('A'), rows: describe ? [] : texts.map((text) => [text]) }),
    })
    expect((await run(it, model('SELECT a FROM t'))).rows).toStrictEqual(texts.map((text) => [text]))
  })

  it('is refused when rows are missing', async () => {
    const it = await warehouse({ query: (_, describe) => (describe ? TEXTS('A', 'B') : pieces(['["x",null]'], [2])) })
    expect(await failure(run(it, model('SELECT a, b FROM t')))).toMatchObject({
      code: 'CDP2315',
      message: 'Snowflake counted 3 rows and sent 2',
    })
  })

  it('is refused when rows stop coming', async () => {
    const error = await failure(
      inFolder((folder) =>
        writeRows(new PassThrough({ objectMode: true }), join(folder, 'x.csv'), () => {}, {
          signal: new AbortController().signal,
          silence: 20,
        }),
      ),
    )
    expect(error.code).toBe('CDP2315')
    await warehouse()
  })

  it('does not run ahead of the disk', async () => {
    await warehouse()
    let made = 0
    const rows = Readable.from(
      (function* () {
        for (; made < 200_000; made++) yield [String(made)]
      })(),
      { highWaterMark: 1000 },
    )
    let ahead = 0
    let lines = 0
    await inFolder(async (folder) => {
      const written = await writeRows(rows, join(folder, 'x.csv'), () => (ahead = Math.max(ahead, made - (lines = made))), {
        signal: new AbortController().signal,
      })
      expect(written.rows).toBe(200_000)
    })
    expect(lines).toBe(200_000)
    expect(ahead).toBe(0)
  })

  it('leaves nothing behind when it is aborted half way', async () => {
    const stop = new AbortController()
    const it = await warehouse({
      query: (_, describe) => (describe ? TEXTS('A', 'B') : pieces(['["x",null]', '["y",null]'], [1, 1])),
    })
    const progress = (): void => stop.abort(new Error('interrupted'))
    await expect(run(it, model('SELECT a, b FROM t'), { signal: stop.signal, progress })).rejects.toThrow('interrupted')
  })
})

describe('a column that has no text', () => {
  it('is refused by its name and type, with the way out', async () => {
    const vector = await warehouse({ query: () => ({ columns: [{ name: 'EMBEDDING', type: 'vector' }] }) })
    expect(await failure(vector.describe(model('SELECT embedding FROM t')))).toMatchObject({
      code: 'CDP2317',
      message: "column EMBEDDING is a VECTOR, which can't be read",
      hint: expect.stringContaining('column::ARRAY') as string,
    })
    fake.stop()
    // The protocol calls this one an object.
    const message = "SQL compilation error:\nInvalid argument types for function 'TO_VARIANT': (GEOGRAPHY)"
    const place = await warehouse({
      query: (sql) =>
        sql.includes('TO_JSON') ? { code: '001044', message, state: '42P13' } : { columns: [{ name: 'PLACE', type: 'object' }] },
    })
    expect(await failure(place.describe(model('SELECT place FROM t')))).toMatchObject({
      code: 'CDP2317',
      message: "column place is a GEOGRAPHY, which can't be read",
    })
  })
})

describe('errors of a statement', () => {
  const refused = async (reply: Reply, sql = 'SELECT id,\n  foo\nFROM people'): Promise<CdpError> =>
    failure((await warehouse({ query: () => reply })).describe(model(sql)))

  it('point into the model', async () => {
    const message = "SQL compilation error: error line 3 at position 2\ninvalid identifier 'FOO'"
    // Line 1 of what was sent is `SELECT * FROM (`.
    const error = await refused({ code: '000904', message, state: '42000', line: 3, pos: 2 })
    expect(error).toMatchObject({ code: 'CDP2100', message: "invalid identifier 'FOO'", where: 'models/contacts.sql:2:3' })
    expect(error.frame).toBe('2 |   foo\n  |   ^')
    expect((await refused({ code: '000904', message, state: '42000' })).where).toBe('models/contacts.sql:2:3')
  })

  it('show no value of a row', async () => {
    const error = await refused({ code: '100038', message: "Numeric value 'secret@example.com' is not recognized", state: '22018' })
    expect(error.message).toBe('Numeric value "(hidden)" is not recognized')
  })

  it.each([
    [{ code: '002003', message: "SQL compilation error:\nObject 'PEOPLE' does not exist or not authorized.", state: '42S02' }, 'CDP2311'],
    [{ code: '003001', message: 'SQL access control error: Insufficient privileges', state: '42501' }, 'CDP2312'],
    [{ code: '000606', message: 'No active warehouse selected in the current session.', state: '57P03' }, 'CDP2310'],
    [
      {
        code: '090073',
        message: "Warehouse 'LOADING' cannot be resumed because resource monitor 'M' has exceeded its quota.",
        state: '57014',
      },
      'CDP2310',
    ],
    [
      { code: '000630', message: 'Statement reached its statement or warehouse timeout of 90 second(s) and was canceled.', state: '57014' },
      'CDP2313',
    ],
    [{ code: '000008', message: 'Actual statement count 2 did not match the desired statement count 1.', state: '0A000' }, 'CDP2102'],
    [{ status: 400 }, 'CDP2314'],
  ] as const)('have a code of ours: %o', async (reply, code) => {
    expect(await refused(reply)).toMatchObject({ code, where: expect.stringMatching(/^models\/contacts\.sql:/) as string })
  })
})

describe('docs/snowflake.md', () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/snowflake.md'), 'utf8')
  const entries = [...page.matchAll(/^```yaml\n(.*?)^```/gms)].map(([, text = '']) => text)

  it('shows entries that load, one for each way to log in', async () => {
    expect(entries).toHaveLength(4)
    for (const text of entries) {
      await inFolder(async (root) => {
        await mkdir(join(root, 'keys'))
        await writeFile(join(root, 'keys/snowflake.p8'), pem())
        await writeFile(join(root, 'cdp-sync.yaml'), text)
        const environ = { SNOWFLAKE_TOKEN: 'a', SNOWFLAKE_OAUTH: 'b', SNOWFLAKE_PASSWORD: 'c' }
        const { warehouses } = await loadProject({ root, env: undefined, vars: undefined, environ })
        expect(warehouses['prod']).toMatchObject({ type: 'snowflake', settings: { account: 'myorg-myaccount' } })
      })
    }
    fake = await fakeSnowflake()
  })
})
