/** A project whose models and state both lie in Snowflake, by the commands that a user has. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cli, type Ran } from '../support/run-cli.ts'
import { SNOWFLAKE, withSnowflake, type Snowflake } from '../support/snowflake.ts'

describe.skipIf(SNOWFLAKE === null)('a project in Snowflake', () => {
  let db: Snowflake
  let receiver: Server
  let root: string
  const sent: { op: string; key: string }[] = []
  const go = (...argv: string[]): Promise<Ran> => cli(argv, { cwd: root })

  beforeAll(async () => {
    db = await withSnowflake()
    receiver = createServer((request, response) => {
      const parts: Buffer[] = []
      request.on('data', (part: Buffer) => parts.push(part))
      request.on('end', () => {
        sent.push(...(JSON.parse(Buffer.concat(parts).toString()) as { changes: typeof sent }).changes)
        response.end()
      })
    })
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
    root = await mkdtemp(join(tmpdir(), 'cdp-sync-test-'))
    await mkdir(join(root, 'syncs'))
    const login = `account: test, user: ${db.user}, password: "${db.password}", host: ${db.host}, port: ${db.port}, protocol: http`
    await writeFile(
      join(root, 'cdp-sync.yaml'),
      `project: shop
warehouses:
  prod: { type: snowflake, ${login}, database: ${db.database}, schema: ${db.schema}, warehouse: ${db.warehouse}, role: ${db.role} }
destinations:
  hook: { type: webhook, url: "http://127.0.0.1:${(receiver.address() as AddressInfo).port}/" }
state: { type: warehouse, schema: cdp_sync }
`,
    )
    await writeFile(
      join(root, 'syncs/people.yaml'),
      `model: { sql: "SELECT user_id, email, plan, joined FROM people", key: user_id }
destination: hook
mode: mirror
match: { email: email }
fields: { plan: plan, joined: joined }
guards: { deletes: false }
`,
    )
    await db.query('CREATE TABLE people (user_id NUMBER, email VARCHAR, plan VARCHAR, joined TIMESTAMP_NTZ)')
    const rows = Array.from({ length: 100 }, (_, i) => `(${i}, 'p${i}@example.com', 'free', '2020-01-01 00:00:00')`)
    await db.query(`INSERT INTO people VALUES ${rows.join(', ')}`)
  })
  afterAll(async () => {
    db?.stop()
    receiver?.close()
    await rm(root, { recursive: true, force: true })
  })

  it('is planned, run, and run again for what changed alone, on whatever machine', { timeout: 240_000 }, async () => {
    expect(await go('validate', '--live')).toMatchObject({ code: 0 })
    expect((await go('plan')).stdout).toContain('Plan: 100 to add, 0 to change, 0 to remove')
    expect(await go('run')).toMatchObject({ code: 0 })
    expect(sent.splice(0)).toHaveLength(100)
    await db.query("UPDATE people SET plan = 'pro' WHERE user_id < 3")
    await db.query('DELETE FROM people WHERE user_id = 50')
    // Another machine.
    await rm(join(root, '.cdp-sync'), { recursive: true })
    expect((await go('plan')).stdout).toContain('Plan: 0 to add, 3 to change, 1 to remove')
    const { code, stdout } = await go('run')
    expect(code).toBe(0)
    expect(stdout).toMatch(/4 delivered, 96 unchanged\n +warehouse: \d+ statements/)
    const changes = sent.splice(0).map(({ op, key }) => `${op} ${key}`)
    expect(changes.sort()).toStrictEqual(['delete 50', 'upsert 0', 'upsert 1', 'upsert 2'])
    expect(await go('run')).toMatchObject({ code: 0 })
    expect(sent).toStrictEqual([])
    expect((await go('status')).stdout).toMatch(/people +ok/)
  })
})
