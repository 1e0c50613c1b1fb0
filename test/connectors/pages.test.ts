/** The examples on the connectors' pages are projects that load, run and then have nothing left to do. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'yaml'
import { describe, expect, it } from 'vitest'
import { listConnectors } from '../../src/config/registry.ts'
import { serveFakes, type ServedFake, type Subject } from '../../src/testing/index.ts'
import { cli } from '../support/run-cli.ts'
import { filesOf, makeWarehouse, write } from './page.ts'

const PAGES = join(import.meta.dirname, '../../docs/connectors')

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
        await makeWarehouse(root)
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

/** The page's destination, reached at the fake with credentials it accepts. */
function projectOf(files: ReadonlyMap<string, string>, served: ServedFake): { env: Record<string, string>; text: string } {
  const source = files.get('cdp-sync.yaml') ?? ''
  const env = Object.fromEntries([...source.matchAll(/\$\{env:(\w+)/g)].map(([, name = '']) => [name, `value-of-${name}`]))
  const { destinations } = parse(source) as { destinations: Record<string, object> }
  const entries = Object.entries(destinations).map(([name, entry]) => [name, { ...entry, ...served.destination }])
  const warehouses = { warehouse: { type: 'duckdb', path: 'warehouse.duckdb' } }
  return { env, text: JSON.stringify({ warehouses, destinations: Object.fromEntries(entries) }) }
}
