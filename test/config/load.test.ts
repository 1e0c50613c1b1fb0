import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { AuthError } from '../../src/errors.ts'
import { loadConnector } from '../../src/config/registry.ts'
import { folder, load, loadSync, problems, PROJECT, SYNC, sync } from './project.ts'

describe('loading a project', () => {
  it('gives a sync with everything resolved', async () => {
    const found = await loadSync(SYNC)
    expect(found).toMatchObject({
      name: 'contacts',
      file: 'syncs/contacts.yaml',
      where: 'syncs/contacts.yaml:1:1',
      object: 'contacts',
      mode: 'upsert',
      onRemove: null,
      onNullMatch: 'keep',
      send: 'row',
      backfill: null,
      star: null,
      tolerance: { rejected_percent: 0, rejected_rows: 0 },
      model: { sql: 'select * from "people"', key: ['id'], condition: null },
      warehouse: { name: 'main', type: 'duckdb' },
    })
    expect(found.destination.config).toEqual({ access_token: 'token-of-the-test', region: 'eu' })
    expect(found.match.map((field) => field.name)).toEqual(['email'])
    expect(found.fields[0]).toMatchObject({
      name: 'firstname',
      source: { kind: 'column', column: 'first_name' },
      nulls: 'clear',
      nullsWritten: false,
      write: 'always',
    })
    expect(found.locate(['fields', 'firstname'])).toBe('syncs/contacts.yaml:6:14')
    expect(found.frame(['fields', 'firstname'])).toContain('6 |   firstname: first_name')
  })

  it('reads every form of a value', async () => {
    const { fields, star } = await loadSync(
      sync(`  plan: { column: plan, map: { pro: Pro, 01: One, 1.0: Dot, true: Yes, "": Empty }, default: Other }
  source: { value: warehouse }
  full_name: { template: "{{ first_name }} {{ last_name }}" }
  tags: { column: tags, transform: [sort, "round: 2"] }
  stage: { column: stage, write: on_create }
  score: { column: score, nulls: clear, type: decimal, sensitive: true }
  synced_at: { meta: sent_at }
  owner: { lookup: users, match: { Email: owner_email }, on_miss: omit }
  "*": { except: [loaded_at], nulls: skip }
`),
    )
    const byName = Object.fromEntries(fields.map((field) => [field.name, field]))
    expect([...byName['plan']!.map!.keys()]).toEqual(['pro', '01', '1.0', 'true', ''])
    expect(byName['plan']!.default).toEqual({ kind: 'string', text: 'Other' })
    expect(byName['source']!.source).toEqual({ kind: 'value', value: { kind: 'string', text: 'warehouse' } })
    expect(byName['full_name']!.source).toEqual({ kind: 'template', template: '{{ first_name }} {{ last_name }}' })
    expect(byName['tags']!.transform).toEqual(['sort', 'round: 2'])
    expect(byName['stage']!.write).toBe('on_create')
    expect(byName['score']).toMatchObject({ nulls: 'clear', nullsWritten: true, type: 'decimal', sensitive: true })
    expect(byName['synced_at']!.source).toEqual({ kind: 'meta', meta: 'sent_at' })
    expect(byName['owner']!.source).toEqual({ kind: 'lookup', object: 'users', match: { Email: 'owner_email' }, onMiss: 'omit' })
    expect(star).toMatchObject({ except: ['loaded_at'], nulls: 'skip', nullsWritten: false })
  })

  it('keeps the text of constants', async () => {
    const written = [
      '01',
      '1.10',
      '12345678901234567890',
      '0x1F',
      '1.0',
      'true',
      'null',
      '"5"',
      '2024-01-01',
      '[1.0, "a", 12345678901234567890]',
      '{ a: 01 }',
    ]
    const { fields } = await loadSync(SYNC + written.map((text, i) => `  f${i}: { value: ${text} }\n`).join(''))
    expect(fields.slice(1).map((field) => field.source.kind === 'value' && field.source.value)).toEqual([
      { kind: 'string', text: '01' },
      { kind: 'number', text: '1.10' },
      { kind: 'number', text: '12345678901234567890' },
      { kind: 'string', text: '0x1F' },
      { kind: 'number', text: '1.0' },
      { kind: 'boolean', text: 'true' },
      { kind: 'null' },
      { kind: 'string', text: '5' },
      { kind: 'string', text: '2024-01-01' },
      { kind: 'json', json: '[1.0,"a",12345678901234567890]' },
      { kind: 'json', json: '{"a":"01"}' },
    ])
  })

  it('lets defaults set what a sync leaves out, guards by name, and passes over what does not apply', async () => {
    const project = `${PROJECT}defaults:
  nulls: clear
  on_remove: archive
  backfill: true
  guards: { deletes: { max_rows: 5 }, empty: false }
  destination: crm
`
    const found = await loadSync(
      SYNC.replace('destination: crm\n', '') + 'guards: { adds: { max_rows: 9 }, deletes: false }\n',
      {},
      { 'cdp-sync.yaml': project },
    )
    expect(found.guards).toEqual({ deletes: false, empty: false, adds: { max_rows: 9 } })
    expect(found.fields[0]).toMatchObject({ nulls: 'clear', nullsWritten: true })
    expect(found).toMatchObject({ onRemove: null, backfill: null })
  })

  it('takes the first removal a connector can, and constants to set', async () => {
    expect(await loadSync(sync('mode: mirror\n'))).toMatchObject({ onRemove: 'archive', removeSet: null })
    expect(await loadSync(sync('mode: mirror\non_remove: { set: { status: former, code: 007 } }\n'))).toMatchObject({
      onRemove: 'set',
      removeSet: { status: { kind: 'string', text: 'former' }, code: { kind: 'string', text: '007' } },
    })
  })

  it('drops a null match from a membership', async () => {
    const text = 'model: { sql: select 1, key: id }\ndestination: crm\nobject: audience\nmode: mirror\nmatch: { email: email }\n'
    expect(await loadSync(text)).toMatchObject({ mode: 'mirror', onRemove: 'delete', onNullMatch: 'remove', fields: [] })
  })

  it('reads SQL from a file with variables, from YAML and from a table, each with its place', async () => {
    const files = { 'models/people.sql': 'select *\nfrom ${var:schema}.people' }
    const text = SYNC.replace('table: people', 'file: models/people.sql')
    const found = await loadSync(text, { vars: { schema: 'dbt_me' } }, files)
    expect(found.model).toMatchObject({ sql: 'select *\nfrom dbt_me.people', where: 'models/people.sql:1:1' })
    const inline = await loadSync(SYNC.replace('{ table: people, key: id }', '\n  key: id\n  sql: |\n    select 1'))
    expect(inline.model).toMatchObject({ sql: 'select 1\n', where: 'syncs/contacts.yaml:4:5' })
    const table = await loadSync(SYNC.replace('table: people', `table: 'My.app."odd ""name"'`.replace(/'/g, "'")))
    expect(table.model.sql).toBe('select * from "My"."app"."odd ""name"')
  })

  it('takes names that objects have by themselves', async () => {
    const { fields } = await loadSync(
      sync('  constructor: toString\n  valueOf: { column: v, map: { constructor: a, hasOwnProperty: b } }\n'),
    )
    expect(fields.map((field) => field.name)).toEqual(['firstname', 'constructor', 'valueOf'])
    expect([...fields[2]!.map!.keys()]).toEqual(['constructor', 'hasOwnProperty'])
  })

  it('counts one written tolerance as the only limit', async () => {
    expect((await loadSync(sync('tolerance: { rejected_percent: 1 }\n'))).tolerance).toEqual({
      rejected_percent: 1,
      rejected_rows: Number.MAX_SAFE_INTEGER,
    })
    expect((await loadSync(sync('tolerance: { rejected_rows: 7 }\n'))).tolerance).toEqual({ rejected_percent: 100, rejected_rows: 7 })
  })

  it('reads anchors, byte order marks, Windows line ends and .yml files', async () => {
    const text = `\uFEFF${SYNC}  a: &first { column: x }\n  b: *first\n`.replaceAll('\n', '\r\n')
    const project = await load({ 'syncs/deep/er/people.yml': text })
    expect(project.syncs[0]).toMatchObject({ name: 'people', file: 'syncs/deep/er/people.yml' })
    expect(project.syncs[0]!.fields.map((field) => field.name)).toEqual(['firstname', 'a', 'b'])
  })

  it('turns durations into milliseconds and paths into absolute ones', async () => {
    const project = await load({
      'cdp-sync.yaml': `warehouses:
  pg: { type: postgres, url: "postgres://me@localhost/db", statement_timeout: 5m, connect_timeout: 2 }
  file: { type: duckdb, path: data/x.duckdb }
state: { type: local, path: elsewhere }
`,
    })
    expect(project.warehouses['pg']!.settings).toMatchObject({ statement_timeout: 300_000, connect_timeout: 2000 })
    expect(project.warehouses['file']!.settings).toEqual({ path: `${project.root}/data/x.duckdb` })
    expect(project.state).toEqual({ type: 'local', path: `${project.root}/elsewhere` })
  })

  it('an environment replaces where state lies, whole', async () => {
    const text = `project: shop
warehouses: { app: { type: duckdb, path: app.duckdb } }
state: { type: s3, bucket: b, path: own }
environments:
  dev: {}
  prod: { state: { type: warehouse, warehouse: app } }
  own: { state: { type: warehouse, schema: _sync, path: other } }
`
    const state = async (env: string): Promise<unknown> => {
      const project = await load({ 'cdp-sync.yaml': text }, { env })
      return { ...project.state, path: project.state.path.slice(project.root.length) }
    }
    expect(await state('dev')).toEqual({ type: 's3', bucket: 'b', path: '/own/s3', prefix: '', region: null, endpoint: null })
    expect(await state('prod')).toEqual({ type: 'warehouse', path: '/.cdp-sync/warehouse', warehouse: 'app', schema: 'cdp_sync' })
    expect(await state('own')).toEqual({ type: 'warehouse', path: '/other/warehouse', warehouse: null, schema: '_sync' })
  })
})

describe('environments', () => {
  const file = `vars: { schema: analytics, other: kept }
warehouses:
  main: { type: postgres, url: "\${env:PROD_URL}" }
defaults: { nulls: skip, send: changed }
destinations:
  crm: { type: crm, access_token: "\${env:PROD_TOKEN}" }
environments:
  dev:
    vars: { schema: "dbt_\${env:USER_NAME}" }
    warehouses: { main: { type: duckdb } }
    destinations: { crm: { type: crm, access_token: "\${env:SANDBOX}" } }
    defaults: { nulls: clear }
  prod:
    destinations: { ads: { type: crm, access_token: "\${env:ADS_TOKEN}" } }
`
  const text = SYNC.replace('{ table: people, key: id }', '{ sql: "select * from ${var:schema}.${var:other}", key: id }')
  const environ = { USER_NAME: 'ada', SANDBOX: 'sandbox-token' }

  it('replace entries, merge vars and defaults, and leave other environments’ secrets alone', async () => {
    const project = await load({ 'cdp-sync.yaml': file, 'syncs/a.yaml': text }, { env: 'dev', environ })
    expect(project.environment).toBe('dev')
    expect(project.syncs[0]!.model.sql).toBe('select * from dbt_ada.kept')
    expect(project.syncs[0]!.warehouse.type).toBe('duckdb')
    expect(project.syncs[0]).toMatchObject({ send: 'changed', fields: [{ nulls: 'clear' }] })
    expect(project.variables).toContainEqual({
      kind: 'env',
      name: 'PROD_TOKEN',
      where: 'cdp-sync.yaml:6:35',
      set: false,
      hasDefault: false,
    })
    expect(project.variables).toContainEqual({ kind: 'env', name: 'USER_NAME', where: 'cdp-sync.yaml:9:21', set: true, hasDefault: false })
  })

  it('are chosen by CDP_SYNC_ENV too, also from .env, and --env wins', async () => {
    const files = {
      'cdp-sync.yaml': file,
      '.env': 'CDP_SYNC_ENV=prod\nPROD_URL=postgres://x@h/d\nPROD_TOKEN=abcdef\nSANDBOX=sandbox\nUSER_NAME=ada',
    }
    expect((await load(files, { environ: {} })).environment).toBe('prod')
    expect((await load(files, { environ: { CDP_SYNC_ENV: 'dev' } })).environment).toBe('dev')
    expect((await load(files, { environ: { CDP_SYNC_ENV: 'dev' }, env: 'prod' })).environment).toBe('prod')
  })

  it('leave a sync of another environment in the list, though its destination is only there', async () => {
    const ads = `${SYNC.replace('destination: crm', 'destination: ads')}environments: [prod]\n`
    const project = await load({ 'cdp-sync.yaml': file, 'syncs/a.yaml': text, 'syncs/ads.yaml': ads }, { env: 'dev', environ })
    expect(project.syncs.map((one) => [one.name, one.destination.name])).toEqual([
      ['a', 'crm'],
      ['ads', 'ads'],
    ])
    expect(Object.keys(project.destinations)).toEqual(['crm'])
  })

  it('must be chosen once there are any', async () => {
    expect(await problems({ 'cdp-sync.yaml': file })).toContain('= There are dev, prod. Choose with --env NAME or CDP_SYNC_ENV.')
    expect(await problems({ 'cdp-sync.yaml': file }, { env: 'prd' })).toContain('= Did you mean "prod"?')
    expect(await problems({}, { env: 'dev' })).toContain('cdp-sync.yaml has no environments')
  })
})

describe('variables', () => {
  it('make up numbers and booleans, from a file without its last newline, with .env behind the environment', async () => {
    const project = await load(
      {
        'cdp-sync.yaml': PROJECT.replace(
          'access_token: "${env:TOKEN}"',
          'access_token: "${file:token.txt}", batch_size: "${env:SIZE}", gzip: "${env:GZIP:-true}", region: "${env:REGION}"',
        ),
        'token.txt': 'from-a-file\n',
        '.env': 'SIZE=1\nREGION=us\n',
      },
      { environ: { SIZE: '50' } },
    )
    expect(project.destinations['crm']!.config).toEqual({ access_token: 'from-a-file', batch_size: 50, gzip: true, region: 'us' })
  })

  it('are data: what they hold is never read as YAML or as a variable again', async () => {
    const value = '"}, evil: true # ${env:TOKEN} {{ x }}'
    const { fields } = await loadSync(
      sync('  a: { value: "${env:EVIL}" }\n  b: { value: "<${env:EVIL}>" }\n  c: { value: "$${env:EVIL}" }\n'),
      { environ: { TOKEN: 'token!', EVIL: value } },
    )
    expect(fields.slice(1).map((field) => field.source)).toEqual([
      { kind: 'value', value: { kind: 'string', text: value } },
      { kind: 'value', value: { kind: 'string', text: `<${value}>` } },
      { kind: 'value', value: { kind: 'string', text: '${env:EVIL}' } },
    ])
  })

  it('stay text where a constant is made of them', async () => {
    const { fields } = await loadSync(sync('  a: { value: "${var:n}" }\n'), { vars: { n: '5' } })
    expect(fields[1]!.source).toEqual({ kind: 'value', value: { kind: 'string', text: '5' } })
  })

  it('may be missing where nothing runs', async () => {
    const off = `enabled: false\n${SYNC}  x: { value: "\${env:NOT_SET}" }\noptions: { depth: "\${env:DEPTH}" }\n`
    const project = await load({ 'syncs/off.yaml': off }, { environ: {} })
    expect(project.syncs.map((one) => one.name)).toEqual(['off'])
    expect(project.variables.filter((use) => !use.set).map((use) => use.name)).toEqual(['TOKEN', 'NOT_SET', 'DEPTH'])
  })

  it('hand over every secret: marked settings, headers, passwords in URLs as written and decoded, and long values', async () => {
    const project = await load(
      {
        'cdp-sync.yaml': `warehouses:
  pg: { type: postgres, url: "\${env:DB}" }
  two: { type: postgres, host: h, database: d, password: literal }
destinations:
  crm: { type: crm, access_token: "\${env:T}", headers: { X: "Bearer \${env:H}" }, url: "https://u:\${env:P}@host/" }
`,
      },
      { environ: { DB: 'postgres://me:p%40ss@host/db', T: 'tok', H: 'hdr', P: 'pw' } },
    )
    expect([...project.secrets].sort()).toEqual(['hdr', 'literal', 'p%40ss', 'p@ss', 'postgres://me:p%40ss@host/db', 'pw', 'tok'])
  })
})

describe('connectors', () => {
  it('of the project share error classes with the engine', async () => {
    const root = folder({
      'connectors/mine.ts': `import { AuthError, defineConnector, type Connector } from 'cdp-sync'\nimport { z } from 'zod'\nexport default defineConnector({ name: 'mine', description: '', version: 1, config: z.strictObject({}), options: z.strictObject({}), objects: { x: {} }, limits: { rows: 1, concurrency: 1 }, open(): never { throw new AuthError('X', 'no') } }) satisfies Connector`,
    })
    const { connector, file, warning } = await loadConnector(root, 'mine')
    expect([file.builtin, warning]).toEqual([false, null])
    expect(() => connector.open({ config: {}, options: {} }, {} as never)).toThrow(AuthError)
  })

  it('that come along are there without a file, and one of the project with that name is used with a warning', async () => {
    const text =
      'warehouses: { main: { type: duckdb } }\ndestinations: { crm: { type: webhook, url: "${env:URL}", batch_size: "${env:SIZE}" } }\n'
    const files = { 'cdp-sync.yaml': text, 'syncs/a.yaml': 'model: { table: t, key: id }\ndestination: crm\nfields: { a: b }\n' }
    const environ = { URL: 'https://u:pass@host/', SIZE: '7' }
    const project = await load(files, { environ })
    expect(project.warnings).toEqual([])
    expect(project.destinations['crm']!.config).toMatchObject({ batch_size: 7, timeout: 30_000 })
    expect(project.syncs[0]).toMatchObject({ object: 'record', mode: 'upsert', match: [] })
    const crm = readFileSync(new URL('fixtures/connectors/crm.js', import.meta.url), 'utf8')
    const root = folder({ 'connectors/webhook.js': crm.replace("name: 'crm'", "name: 'webhook'") })
    expect(await loadConnector(root, 'webhook')).toMatchObject({
      file: { builtin: false },
      warning: 'connectors/webhook of this project is used instead of the built-in connector "webhook".',
    })
  })

  it('say what is wrong with a file that is none', async () => {
    const root = folder({
      'connectors/empty.js': 'export default {}',
      'connectors/broken.ts': 'export default {',
      'connectors/throws.mjs': 'throw new Error("boom")',
    })
    await expect(loadConnector(root, 'empty')).rejects.toMatchObject({ code: 'CDP1052' })
    await expect(loadConnector(root, 'broken')).rejects.toMatchObject({ code: 'CDP1051' })
    await expect(loadConnector(root, 'throws')).rejects.toThrow('can’t be loaded: boom')
    await expect(loadConnector(root, 'crn')).rejects.toMatchObject({ code: 'CDP1050', hint: 'Did you mean "crm"?' })
    await expect(loadConnector(root, '../crm')).rejects.toMatchObject({ code: 'CDP1050' })
  })
})
