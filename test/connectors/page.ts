/** The examples on a connector's page, and the warehouse that they are tried on. */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DuckDBInstance } from '../../src/duckdb.ts'

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
export function filesOf(page: string): Map<string, string> {
  const blocks = [...page.matchAll(/^```yaml\n# ([\w./-]+)\n(.*?)^```/gms)]
  return new Map(blocks.map(([, path = '', text = '']) => [path, text]))
}

/** `warehouse.duckdb` in this folder: customers, companies and orders of `analytics`. */
export async function makeWarehouse(root: string): Promise<void> {
  const db = await (await DuckDBInstance.create(join(root, 'warehouse.duckdb'))).connect()
  await db.run(WAREHOUSE)
  db.closeSync()
}

export async function write(root: string, path: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true })
  await writeFile(join(root, path), text)
}
