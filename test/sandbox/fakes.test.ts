/** Every service of the sandbox: it can be served, it shows what it holds, and what the sandbox prints reaches it. */
import { parse } from 'yaml'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Account } from '../../src/index.ts'
import { listConnectors, loadConnector } from '../../src/config/registry.ts'
import { createHttp } from '../../src/http.ts'
import { loadFakes } from '../../src/sandbox/fakes.ts'
import { destinationsYaml, startSandbox, type Sandbox } from '../../src/sandbox/serve.ts'
import type { Subject } from '../../src/testing/index.ts'

/** Spoken without HTTP: a broker is no service of the sandbox. */
const WITHOUT = ['kafka']
/** Their APIs name no account: where they are is a part of which one it is. */
const PLACES = ['webhook', 'braze']

const fakes = await loadFakes(null)
const connectors = listConnectors(null).map(({ name }) => name)
let sandbox: Sandbox
beforeAll(async () => void (sandbox = await startSandbox(fakes, 0)))
afterAll(() => sandbox.close())

it('has a service for every connector', () => {
  const names = fakes.map(({ name }) => name)
  expect(connectors.filter((name) => !names.includes(name) && !WITHOUT.includes(name))).toEqual([])
})

describe.each(fakes.filter(({ name }) => connectors.includes(name)).map(({ name }) => name))('%s', (name) => {
  it('is reached by what the sandbox prints, and tells which account that is', async () => {
    const printed = parse(destinationsYaml(sandbox.destinations)) as { destinations: Record<string, Record<string, unknown>> }
    const { type, ...entry } = printed.destinations[name]!
    expect(type).toBe(name)
    const { connector } = await loadConnector(null, name)
    const { signal } = new AbortController()
    const http = createHttp({ signal, redact: (text) => text, trace: null, now: Date.now })
    const { subject } = (await import(`../connectors/subjects/${name}.ts`)) as { subject: Subject }
    const options: unknown = connector.options.parse(subject.objects[0]?.options ?? {})
    const check = (config: unknown): Promise<Account> =>
      connector.open({ config: connector.config.parse(config), options }, { http, log: () => undefined, signal, now: Date.now }).check()
    const account = await check(entry)
    expect([account.id, account.name]).toEqual([expect.stringMatching(/./), expect.stringMatching(/./)])
    // The state is bound to it: a sandbox on another port is the same account.
    const elsewhere = await startSandbox(
      fakes.filter((fake) => fake.name === name),
      0,
    )
    const { type: _, ...there } = elsewhere.destinations[name]!
    const again = await check(there)
    await elsewhere.close()
    if (!PLACES.includes(name)) expect(again.id).toBe(account.id)
  })

  it('shows what it holds', async () => {
    const { shown } = (await (await fetch(`${sandbox.url}/api/state?fake=${name}`)).json()) as {
      shown: { name: string; collections: { name: string }[] }
    }
    expect(shown.name).toBe(name)
    expect(shown.collections.length).toBeGreaterThan(0)
  })
})
