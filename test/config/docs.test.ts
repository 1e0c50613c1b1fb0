import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { generate } from '../../scripts/gen-config-docs.ts'
import { jsonSchema } from '../../src/config/json-schema.ts'
import { SHARED_KEYS } from '../../src/config/schema-sync.ts'
import { load, problems } from './project.ts'

const repository = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const page = readFileSync(repository('docs/configuration.md'), 'utf8')

describe('what is generated from the schemas', () => {
  it('is fresh: else run `npm run docs`', async () => {
    for (const [file, text] of await generate()) {
      expect(existsSync(file), file).toBe(true)
      expect(readFileSync(file, 'utf8'), file).toBe(text)
    }
  })

  it('describes every key', async () => {
    const undescribed: string[] = []
    const visit = (node: unknown, path: string): void => {
      if (typeof node !== 'object' || node === null) return
      const { properties } = node as { properties?: Record<string, { description?: string; const?: unknown }> }
      for (const [key, value] of Object.entries(properties ?? {}))
        if (!value.description && value.const === undefined) undescribed.push(`${path}.${key}`)
      for (const [key, member] of Object.entries(node)) visit(member, key === 'properties' ? path : `${path}.${key}`)
    }
    visit((await jsonSchema('sync'))['properties'], 'sync')
    expect(undescribed).toEqual([])
  })

  it('names every code of the loader on the page of errors, and no other', () => {
    const codes = new Set<string>()
    for (const file of readdirSync(repository('src/config'))) {
      for (const [code] of readFileSync(repository(`src/config/${file}`), 'utf8').matchAll(/CDP1[0-2]\d\d/g)) codes.add(code)
    }
    codes.add('CDP1000')
    const named = [...readFileSync(repository('docs/errors/config.md'), 'utf8').matchAll(/^## (CDP\d{4}) /gm)].map(([, code]) => code)
    expect([...codes].sort()).toEqual(named)
  })
})

describe('configurations of states', () => {
  const shown = ['docs/state.md', 'docs/github-actions.md'].flatMap((page) =>
    [...readFileSync(repository(page), 'utf8').matchAll(/```yaml\n([\s\S]*?)```/g)].flatMap(([, text = '']) =>
      /^state:/m.test(text) ? [{ page, text }] : [],
    ),
  )
  const environ = { DATABASE_URL: 'postgres://u@h/d', STATE_URL: 'postgres://u@h/s', HUBSPOT_TOKEN: 'pat-na1-example' }

  it('are shown', () => {
    expect(shown.length).toBeGreaterThan(2)
  })

  it.each(shown)('load as they stand in $page: $text', async ({ text }) => {
    const warehouses = /^warehouses:/m.test(text) ? '' : 'warehouses: { main: { type: duckdb, path: shop.duckdb } }\n'
    expect(await problems({ 'cdp-sync.yaml': warehouses + text }, { environ })).toBe('no problems')
  })
})

describe('docs/configuration.md', () => {
  const examples = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = '']) => text)

  it('shows a smallest project that loads', async () => {
    const [, project = '', sync = ''] = examples
    const files = { 'cdp-sync.yaml': project, 'syncs/customers.yaml': sync }
    const loaded = await load(files, { environ: { DATABASE_URL: 'postgres://u@h/d', WEBHOOK_URL: 'http://h' } })
    expect(loaded.syncs.map((one) => one.name)).toEqual(['customers'])
  })

  it('shows fields that load', async () => {
    const fields = examples.find((text) => text.startsWith('fields:'))!
    const guards = examples.find((text) => text.startsWith('guards:'))!
    const text = `model: { table: t, key: id }\ndestination: crm\nobject: contacts\nmatch: { email: email }\n${fields}${guards}`
    expect(await problems({ 'syncs/a.yaml': text })).toBe('no problems')
  })

  it('holds nothing but YAML', () => {
    expect(examples.map((text) => typeof parse(text))).toEqual(examples.map(() => expect.stringMatching('object')))
  })

  it('lists what defaults may set', () => {
    for (const key of SHARED_KEYS) expect(page).toContain(`\`${key}\``)
  })
})

describe('the JSON Schemas', () => {
  it('let a variable stand for a number, for true and for a word, and keep names of keys strict', async () => {
    const text = JSON.stringify(await jsonSchema('project'))
    const schema = JSON.parse(text)
    expect(schema.properties.warehouses.additionalProperties.oneOf[0].properties.port.anyOf[1]).toEqual({ $ref: '#/definitions/variable' })
    expect(schema.properties.defaults.properties.mode.anyOf[0].enum).toContain('mirror')
    expect(schema.properties.warehouses.propertyNames.anyOf).toBeUndefined()
    expect(schema.properties.destinations.additionalProperties).toEqual({ $ref: '#/definitions/destination' })
    expect(schema.properties.environments.additionalProperties.properties.destinations.additionalProperties).toEqual({
      $ref: '#/definitions/destination',
    })
  })
})
