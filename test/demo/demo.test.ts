/** The guided tour as a user sees it, and whether what it leaves behind is true and usable. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DuckDBInstance } from '../../src/duckdb.ts'
import { readDemo, startCrm } from '../../src/demo/folder.ts'
import { cli, terminal, type Ran } from '../support/run-cli.ts'
import { main } from '../../src/cli/main.ts'

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

const lines = async (file: string): Promise<Record<string, any>[]> =>
  (await readFile(join(folder, 'crm', file), 'utf8'))
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, any>)

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

describe('the demo', () => {
  it('walks to its end', () => {
    expect(tour.stderr).not.toMatch(/CDP\d{4}|debug|bug/)
    expect(tour.code).toBe(0)
    expect(tour.stdout).toContain('That was it.')
  })

  it('shows the plan of what happened, no more and no less', () => {
    const [, day = ''] = tour.stdout.split('2. A day passes')
    const [happened = '', plan = ''] = day.split('$ cdp-sync plan')
    const told = (what: string): number => Number(new RegExp(`(\\d+) ${what}`).exec(happened)?.[1])
    const invalid = told('customers got a plan')
    const changed =
      told('customers changed their plan') + told('customers moved') + told('customers changed their pref') + told('customers swapped')
    const ordered = told('customers ordered')
    expect(plan).toMatch(new RegExp(`\\+ +${told('customers signed up')} to add\n`))
    expect(plan).toMatch(new RegExp(`~ +${changed + ordered} to change`))
    expect(plan).toMatch(new RegExp(`- +${told('customers left')} to remove`))
    expect(plan).toMatch(new RegExp(`! +${invalid} invalid +not sent: unmapped`))
    expect(plan).toContain(`${ROWS - changed - ordered - told('customers left') - invalid} unchanged`.replace(/\B(?=(\d{3}) )/, ','))
  })

  it('is stopped by a guard when most of the warehouse is gone, and sends nothing', () => {
    const [, accident = ''] = tour.stdout.split('3. An accident')
    expect(accident).toContain('CDP4011')
    expect(accident).toContain('(exit code 5)')
    expect(accident).toContain('the CRM got no request')
    expect(accident).toContain('Plan: no changes in 2 syncs.')
  })

  it('leaves a CRM that holds exactly what the warehouse holds', async () => {
    const there = new Map((await lines('customers.ndjson')).map((it) => [it['key'] as string, it]))
    const here = await warehouse(`
      select customer_id::varchar as key, email, phone, plan, preferences, epoch_ms(signed_up_at)::varchar as signed,
        coalesce((select sum(total) from orders o where o.customer_id = c.customer_id), 0)::varchar as value
      from customers c`)
    expect([...there.keys()].sort()).toEqual(here.map((it) => it['key'] as string).sort())
    for (const row of here) {
      const record = there.get(row['key'] as string)!
      // A row that can't be computed keeps what was delivered before.
      if (row['plan'] === 'team') continue
      expect(record['email'] ?? null).toBe(row['email'])
      expect(record['phone'] ?? null).toBe(row['phone'])
      expect(record['plan']?.toLowerCase() ?? null).toBe(row['plan'])
      expect(record['preferences'] ?? null).toEqual(JSON.parse((row['preferences'] as string | null) ?? 'null'))
      expect(Date.parse(record['signed_up_at'] as string)).toBe(Number(row['signed']))
      expect(record['lifetime_value']).toBe(Number(row['value']))
    }
  })

  it('sent each row of the first run once, and afterwards only what changed', async () => {
    const keys = (await lines('requests.ndjson')).flatMap(({ sync, changes }) =>
      sync === 'customers' ? changes.map((it: any) => it.key) : [],
    )
    expect(new Set(keys.slice(0, ROWS)).size).toBe(ROWS)
    expect(keys.length).toBe(ROWS + 6 + 32 + 9)
  })

  it('invents messy people: nulls, shared addresses, names of many scripts', async () => {
    const [found] = await warehouse(`
      select count(*) filter (email is null) as none, count(email) - count(distinct lower(trim(email))) as shared,
        count(*) filter (regexp_matches(first_name, '[^ -ÿ]')) as scripts, count(*) filter (email <> trim(email)) as blanks from customers`)
    for (const [what, n] of Object.entries(found!)) expect(Number(n), what).toBeGreaterThan(0)
  })
})

describe('a demo that was written', () => {
  it('refuses a folder that holds anything else', async () => {
    const other = await mkdtemp(join(tmpdir(), 'cdp-sync-demo-'))
    await writeFile(join(other, 'letter.txt'), 'dear')
    const { code, stderr } = await cli(['demo', other])
    expect([code, stderr.includes('CDP6001')]).toEqual([1, true])
    await rm(other, { recursive: true })
  })

  it('goes on as its last lines say: another day, one refused e-mail, and an edited mapping', async () => {
    const crm = await startCrm(await readDemo(folder))
    const cdp = (...argv: string[]): Promise<Ran> => cli(argv, { cwd: folder })
    try {
      expect((await cdp('demo', '--day')).stdout).toContain('without an @')
      expect((await cdp('plan', '--detailed-exitcode')).code).toBe(2)
      const run = await cdp('run')
      expect(run.stdout).toContain('INVALID_EMAIL')
      expect(run.code).toBe(3)
      expect((await cdp('rejected', 'customers')).stdout).toContain('INVALID_EMAIL')
      for (const argv of [['status'], ['why', 'customers', '42'], ['validate', '--live']])
        expect((await cdp(...argv)).code, argv.join(' ')).toBe(0)

      const file = join(folder, 'syncs/customers.yaml')
      await writeFile(file, (await readFile(file, 'utf8')).replace('business: Business', 'business: Business, team: Team'))
      const plan = JSON.parse((await cdp('plan', 'customers', '--json')).stdout) as { summary: { change: number; invalid: number } }
      expect(plan.summary).toMatchObject({ invalid: 0 })
      expect(plan.summary.change).toBeLessThan(12)
    } finally {
      await crm.close()
    }
  })

  it('serves its CRM until it is interrupted, with everything it held, and tells when its port is taken', async () => {
    const before = await lines('customers.ndjson')
    const { port } = await readDemo(folder)
    const { io, signal, read } = terminal({ cwd: folder })
    const serving = main(['demo', '--serve'], io)
    for (let n = 0; n < 400 && !read().stderr.includes('listens'); n++) await new Promise((resolve) => setTimeout(resolve, 25))
    const counted = (await (await fetch(`http://127.0.0.1:${port}/`)).json()) as Record<string, number>
    expect(counted['customers']).toBe(before.length)
    const [some] = before
    expect(await (await fetch(`http://127.0.0.1:${port}/customers/${some!['key'] as string}`)).json()).toEqual(some)
    const second = await cli(['demo', '--serve'], { cwd: folder })
    expect([second.code, second.stderr.includes('CDP6003')]).toEqual([1, true])
    const again = await cli(['demo', folder, '--rows', '100'])
    expect([again.code, again.stderr.includes('CDP6003')]).toEqual([1, true])
    signal('SIGINT')
    expect(await serving).toBe(0)
    expect((await lines('customers.ndjson')).length).toBe(before.length)
  })

  it('is begun anew by a second demo in its folder', async () => {
    const { code, stdout } = await cli(['demo', folder, '--rows', '100', '--seed', '7'])
    expect(code).toBe(0)
    expect(stdout).toContain('first run')
    expect(await readDemo(folder)).toMatchObject({ customers: 100, seed: 7 })
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

describe("the demo's CRM", () => {
  it('takes another port when its own is in use', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.once('error', () => resolve()).listen(8787, '127.0.0.1', resolve))
    const other = join(parent, 'other')
    expect((await cli(['demo', other, '--rows', '100'])).code).toBe(0)
    expect((await readDemo(other)).port).not.toBe(8787)
    const address = server.address() as AddressInfo | null
    if (address) await new Promise((resolve) => server.close(resolve))
  })
})
