/** The examples on the connectors' pages are projects that load, run and then have nothing left to do. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parse } from 'yaml'
import { describe, expect, it } from 'vitest'
import { listConnectors } from '../../src/config/registry.ts'
import { DuckDBInstance } from '../../src/duckdb.ts'
import { serveFakes, type ServedFake, type Subject } from '../../src/testing/index.ts'
import { cli } from '../support/run-cli.ts'

const PAGES = join(import.meta.dirname, '../../docs/connectors')

const WAREHOUSE = `
CREATE SCHEMA analytics;
CREATE TABLE analytics.customers AS SELECT * FROM (VALUES
  (1, 'ada@example.com', 'Ada', 'Lovelace', '+442071838750', 'London', 'GB', 'SW1A 1AA', 'pro', 120.50::DECIMAL(10, 2), true, TIMESTAMPTZ '2026-01-05 09:30:00+00', 10, 'sales@example.com', 'Cj0KCQjw1', true),
  (2, 'grace@example.com', 'Grace', 'Hopper', '+12125550123', 'New York', 'US', '10001', 'free', 0::DECIMAL(10, 2), true, TIMESTAMPTZ '2026-03-17 18:00:00+00', 11, 'sales@example.com', 'Cj0KCQjw2', true),
  (3, 'kurt@example.com', 'Kurt', 'Gödel', '+431234567', 'Wien', 'AT', '1010', 'pro', 99.99::DECIMAL(10, 2), false, TIMESTAMPTZ '2025-11-30 00:00:00+00', 10, 'sales@example.com', 'Cj0KCQjw3', true)
) t(id, email, first_name, last_name, phone, city, country, postal_code, plan, mrr, is_active, signed_up_at, company_id, owner_email, gclid, consent);
CREATE TABLE analytics.companies AS SELECT * FROM (VALUES
  (10, 'Analytical Engines', 'engines.example.com', 'SOFTWARE', 12, 'sales@example.com'),
  (11, 'Compilers & Co', 'compilers.example.com', 'SOFTWARE', 340, 'sales@example.com')
) t(id, name, domain, industry, employees, owner_email);
CREATE TABLE analytics.orders AS SELECT * FROM (VALUES
  (100, 1, 'ada@example.com', 42.00::DECIMAL(10, 2), 'EUR', now() - INTERVAL 1 DAY, 'pro'),
  (101, 2, 'grace@example.com', 7.50::DECIMAL(10, 2), 'USD', now() - INTERVAL 2 DAY, 'free')
) t(order_id, customer_id, email, amount, currency, ordered_at, plan);
CREATE VIEW customers AS SELECT * FROM analytics.customers;
`

/** The YAML blocks of a page by the path in their first line. */
function filesOf(page: string): Map<string, string> {
  const blocks = [...page.matchAll(/^```yaml\n# ([\w./-]+)\n(.*?)^```/gms)]
  return new Map(blocks.map(([, path = '', text = '']) => [path, text]))
}

describe.concurrent('the example on the page of', () => {
  const pages = readdirSync(PAGES).filter((file) => file.endsWith('.md'))

  it('every connector is there', () => {
    expect(listConnectors(null).filter(({ name }) => !pages.includes(`${name}.md`))).toEqual([])
  })

  for (const file of pages) {
    const name = file.replace('.md', '')
    const subjectFile = new URL(`subjects/${name}.ts`, import.meta.url)
    if (!existsSync(subjectFile)) continue
    it(`${name} runs, and then nothing is left to do`, async () => {
      const { subject } = (await import(subjectFile.href)) as { subject: Subject }
      const files = filesOf(readFileSync(join(PAGES, file), 'utf8'))
      const host = await serveFakes([subject.fake])
      const root = await mkdtemp(join(tmpdir(), 'cdp-sync-page-'))
      try {
        const served = host.fakes.get(name) as ServedFake
        for (const object of subject.objects) await object.prepare?.(served)
        const { env, text } = projectOf(files, served)
        const syncs = [...files].filter(([path]) => path.startsWith('syncs/'))
        expect(syncs.length).toBeGreaterThan(0)
        await write(root, 'cdp-sync.yaml', text)
        for (const [path, sync] of syncs) await write(root, path, sync)
        const db = await (await DuckDBInstance.create(join(root, 'warehouse.duckdb'))).connect()
        await db.run(WAREHOUSE)
        db.closeSync()
        const run = (...argv: string[]) => cli(argv, { cwd: root, env })
        const valid = await run('validate')
        expect([valid.code, valid.stdout, valid.stderr]).toEqual([0, expect.anything(), expect.anything()])
        const ran = await run('run')
        expect([ran.code, ran.stdout, ran.stderr]).toEqual([0, expect.anything(), expect.anything()])
        expect(served.exchanges.some((exchange) => exchange.write)).toBe(true)
        const plan = await run('plan', '--detailed-exitcode')
        expect([plan.code, plan.stdout, plan.stderr]).toEqual([0, expect.anything(), expect.anything()])
      } finally {
        await host.close()
        await rm(root, { recursive: true, force: true })
      }
    })
  }
})

async function write(root: string, path: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true })
  await writeFile(join(root, path), text)
}

/** The page's destination, reached at the fake with credentials it accepts. */
function projectOf(files: ReadonlyMap<string, string>, served: ServedFake): { env: Record<string, string>; text: string } {
  const source = files.get('cdp-sync.yaml') ?? ''
  const env = Object.fromEntries([...source.matchAll(/\$\{env:(\w+)/g)].map(([, name = '']) => [name, `value-of-${name}`]))
  const { destinations } = parse(source) as { destinations: Record<string, object> }
  const entries = Object.entries(destinations).map(([name, entry]) => [name, { ...entry, ...served.destination }])
  const warehouses = { warehouse: { type: 'duckdb', path: 'warehouse.duckdb' } }
  return { env, text: JSON.stringify({ warehouses, destinations: Object.fromEntries(entries) }) }
}
