/** The guided tour as a user sees it, and whether what it leaves behind is true and usable. */
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DuckDBInstance } from '../../src/duckdb.ts'
import { readDemo } from '../../src/demo/folder.ts'
import { SERVICES } from '../../src/demo/project.ts'
import { loadFakes } from '../../src/sandbox/fakes.ts'
import { startSandbox, type Sandbox } from '../../src/sandbox/serve.ts'
import { cli, type Ran } from '../support/run-cli.ts'

const ROWS = 2000
let parent: string
let folder: string
let tour: Ran

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), 'cdp-sync-demo-'))
  folder = join(parent, 'demo')
  tour = await cli(['demo', 'demo', '--rows', String(ROWS)], { cwd: parent })
}, 120_000)
afterAll(() => rm(parent, { recursive: true, force: true }))

async function warehouse(sql: string): Promise<Record<string, any>[]> {
  const instance = await DuckDBInstance.create(join(folder, 'warehouse.duckdb'), { access_mode: 'READ_ONLY' })
  try {
    const db = await instance.connect()
    const rows = (await db.runAndReadAll(sql)).getRowObjectsJson()
    db.closeSync()
    return rows
  } finally {
    instance.closeSync()
  }
}

/** What the tour told after its runs, in their order: what each service got and holds. */
function arrivals(): { hubspot: number[]; statsig: number[]; meta: number[] }[] {
  const flat = tour.stdout.replace(/\s+/g, ' ')
  const told = [
    ...flat.matchAll(
      /\(HubSpot got ([\d,]+) \w+ and holds ([\d,]+) .*?; Statsig got ([\d,]+) \w+ and holds ([\d,]+) .*?; Meta got ([\d,]+) \w+ and holds ([\d,]+)/g,
    ),
  ]
  return told.map((match) => {
    const [a, b, c, d, e, f] = match.slice(1).map((it) => Number(it.replaceAll(',', ''))) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ]
    return { hubspot: [a, b], statsig: [c, d], meta: [e, f] }
  })
}

const PAYING = `plan in ('pro', 'business')`
/** As Meta compares them: e-mail in small letters, phone in digits alone. */
const IDENTIFIERS = `
  select lower(trim(email)) as it from customers where consent
  union select regexp_replace(phone, '[^0-9]', '', 'g') from customers where consent and phone is not null`

describe('the demo', () => {
  it('walks to its end', () => {
    expect(tour.stderr).not.toMatch(/CDP\d{4}|debug|bug/)
    expect(tour.code).toBe(0)
    expect(tour.stdout).toContain('That was it.')
  })

  it('shows the plan of what happened, no more and no less', () => {
    const [, day = ''] = tour.stdout.split('2. A day passes')
    const [happened = '', plan = ''] = day.split('$ cdp-sync plan')
    const contacts = plan.slice(plan.indexOf('crm-contacts'), plan.indexOf('paying-users'))
    const told = (what: string): number => Number(new RegExp(`(\\d+) ${what}`).exec(happened)?.[1])
    const [left, invalid] = [told('customers left'), told('customers got a plan')]
    const changed =
      told('customers changed their plan') + told('customers moved') + told('customers gave their consent') + told('customers swapped')
    expect(contacts).toMatch(new RegExp(`\\+ +${told('customers signed up')} to add\n`))
    expect(contacts).toMatch(new RegExp(`~ +${changed} to change`))
    expect(contacts).toMatch(new RegExp(`- +${left} to remove`))
    expect(contacts).toMatch(new RegExp(`! +${invalid} invalid +not sent: unmapped`))
    expect(contacts).toContain(`${ROWS - changed - left - invalid} unchanged`.replace(/\B(?=(\d{3}) )/, ','))
  })

  it('delivers to all three what the warehouse holds, and on the second day in one request for each operation', async () => {
    const [first, second, accident] = arrivals()
    const [{ paying, identifiers }] = (await warehouse(
      `select count(*) filter (${PAYING})::integer as paying, (select count(*) from (${IDENTIFIERS}))::integer as identifiers from customers`,
    )) as [{ paying: number; identifiers: number }]
    expect(first).toMatchObject({ hubspot: [ROWS / 100, ROWS], statsig: [1, expect.any(Number)], meta: [1, expect.any(Number)] })
    // A contact that got another address is changed by its id, in a request of its own.
    expect(second).toEqual({ hubspot: [3, ROWS - 1], statsig: [2, paying], meta: [2, identifiers] })
    expect(accident).toEqual({ hubspot: [0, ROWS - 1], statsig: [0, paying], meta: [0, identifiers] })
  })

  it('is stopped by guards when most of the warehouse is gone, and sends nothing', () => {
    const [, accident = ''] = tour.stdout.split('3. An accident')
    expect(accident.match(/CDP4011/g)).toHaveLength(3)
    expect(accident).toContain('(exit code 5)')
    expect(accident).toContain('Plan: no changes in 3 syncs.')
  })

  it('invents messy people: nulls, capitals, blanks, names of many scripts, phones in two forms', async () => {
    const [found] = await warehouse(`
      select count(*) filter (first_name is null) as none, count(*) filter (phone is null) as silent, count(*) filter (phone like '% %') as phones,
        count(*) filter (regexp_matches(first_name, '[^ -ÿ]')) as scripts, count(*) filter (email <> trim(email)) as blanks,
        count(*) filter (email <> lower(email)) as capitals from customers`)
    for (const [what, n] of Object.entries(found!)) expect(Number(n), what).toBeGreaterThan(0)
  })
})

describe('a demo that was written', () => {
  const cdp = (...argv: string[]): Promise<Ran> => cli(argv, { cwd: folder })
  const records = (sandbox: Sandbox, service: (typeof SERVICES)[number], collection: string) =>
    sandbox.host.fakes.get(service)?.records()[collection] as readonly Record<string, any>[]
  let sandbox: Sandbox
  beforeAll(async () => {
    sandbox = await startSandbox(await loadFakes(SERVICES), (await readDemo(folder)).port)
  })
  afterAll(() => sandbox.close())

  it('goes on with services that have forgotten everything: a full refresh gives them exactly what the warehouse holds', async () => {
    expect((await cdp('plan', '--detailed-exitcode')).code).toBe(0)
    expect(await cdp('run', '--full-refresh')).toMatchObject({ code: 0 })
    const here = await warehouse(`
      select lower(trim(email)) as email, first_name, last_name, phone, coalesce(country, 'unknown') as country, plan, seats, consent,
        epoch_ms(signed_up_at)::varchar as signed from customers where plan <> 'team'`)
    const there = new Map(records(sandbox, 'hubspot', 'contacts').map((it) => [it['email'] as string, it]))
    // What can't be computed is not sent: it is nowhere now.
    expect([...there.keys()].sort()).toEqual(here.map((it) => it['email'] as string).sort())
    for (const row of here) {
      const record = there.get(row['email'] as string)!
      const { firstname, lastname, phone, country, plan, seats, marketing_consent: consent } = record
      expect({
        first_name: firstname || null,
        last_name: lastname,
        phone: phone || null,
        country,
        plan: plan.toLowerCase(),
        seats,
        consent,
      }).toEqual({
        ...Object.fromEntries(['first_name', 'last_name', 'phone', 'country', 'plan'].map((name) => [name, row[name]])),
        seats: String(row['seats']),
        consent: String(row['consent']),
      })
      expect(Date.parse(record['signed_up_at'] as string)).toBe(Number(row['signed']))
      expect(Number(record['mrr'])).toBeCloseTo(row['seats'] * ({ Pro: 19.9, Business: 49 }[plan as string] ?? 0), 6)
    }
    const users = await warehouse(`select customer_id::varchar as id from customers where ${PAYING}`)
    expect(
      records(sandbox, 'statsig', 'members')
        .map((it) => it['id'])
        .sort(),
    ).toEqual(users.map((it) => it['id']).sort())
    const hashes = (await warehouse(IDENTIFIERS)).map(({ it }) => createHash('sha256').update(String(it)).digest('hex'))
    expect(
      records(sandbox, 'meta', 'members')
        .map((it) => it['EMAIL'] ?? it['PHONE'])
        .sort(),
    ).toEqual(hashes.sort())
    expect((await cdp('plan', '--detailed-exitcode')).code).toBe(0)
  })

  it('goes on as its last lines say: another day, one refused e-mail, and an edited mapping', async () => {
    expect((await cdp('demo', '--day')).stdout).toContain('without an @')
    expect((await cdp('plan', '--detailed-exitcode')).code).toBe(2)
    const run = await cdp('run')
    expect(run.code).toBe(3)
    expect((await cdp('rejected', 'crm-contacts')).stdout).toMatch(/email/i)
    for (const argv of [['status'], ['why', 'crm-contacts', '42'], ['validate', '--live']])
      expect((await cdp(...argv)).code, argv.join(' ')).toBe(0)

    const file = join(folder, 'syncs/crm-contacts.yaml')
    await writeFile(file, (await readFile(file, 'utf8')).replace('business: Business', 'business: Business, team: Team'))
    const plan = JSON.parse((await cdp('plan', 'crm-contacts', '--json')).stdout) as { summary: { change: number; invalid: number } }
    expect(plan.summary).toMatchObject({ invalid: 0 })
    expect(plan.summary.change).toBeLessThan(12)
  })

  it('refuses a folder that holds anything else', async () => {
    const other = await mkdtemp(join(tmpdir(), 'cdp-sync-demo-'))
    await writeFile(join(other, 'letter.txt'), 'dear')
    const { code, stderr } = await cli(['demo', other])
    expect([code, stderr.includes('CDP6001')]).toEqual([1, true])
    await rm(other, { recursive: true })
  })

  it('is begun anew by a second demo in its folder, though its port is taken', async () => {
    const { code, stdout } = await cli(['demo', folder, '--rows', '100', '--seed', '7'])
    expect(code).toBe(0)
    expect(stdout).toContain('first run')
    const { customers, seed, port } = await readDemo(folder)
    expect([customers, seed]).toEqual([100, 7])
    expect(port).not.toBe(Number(new URL(sandbox.url).port))
    expect(stdout).toContain(`sandbox --only hubspot,statsig,meta --port ${port}`)
  })

  it('is what init --template demo writes', async () => {
    const other = join(parent, 'template')
    const { code } = await cli(['init', '--template', 'demo', other])
    expect(code).toBe(0)
    expect((await cli(['validate'], { cwd: other })).code).toBe(0)
    expect((await cli(['init', '--template', 'nothing', other])).stderr).toContain('CDP5030')
  })

  it('says so where there is none', async () => {
    expect((await cli(['demo', '--day'], { cwd: parent })).stderr).toContain('CDP6002')
  })
})
