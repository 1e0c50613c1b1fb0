/** The command, and what the sandbox's API does and refuses. */
import { request } from 'node:http'
import { parse } from 'yaml'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { main } from '../../src/cli/main.ts'
import { startSandbox, type Sandbox } from '../../src/sandbox/serve.ts'
import { cli, terminal } from '../support/run-cli.ts'
import { box } from './support.ts'

let sandbox: Sandbox
beforeAll(async () => void (sandbox = await startSandbox([box], 0)))
afterAll(() => sandbox.close())

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

/** `fetch` would not let a test lie about its host. */
function ask(method: string, path: string, headers: Record<string, string> = {}, body?: unknown): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(`${sandbox.url}${path}`, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    })
    call.on('error', reject).on('response', (reply) => {
      let text = ''
      reply.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      reply.on('end', () => resolve({ status: reply.statusCode ?? 0, headers: reply.headers, text }))
    })
    call.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body))
  })
}

const state = async (query = ''): Promise<any> => JSON.parse((await ask('GET', `/api/state${query}`)).text)
const deliver = (...keys: string[]): Promise<Response> =>
  fetch(`${sandbox.url}/box/records`, {
    method: 'POST',
    body: JSON.stringify({ records: keys.map((key) => ({ key, name: `name ${key}` })) }),
  })
const order = (it: object): Promise<Answer> => ask('POST', '/api/fault', {}, { fake: 'box', order: it })

describe("the sandbox's API", () => {
  it('tells records, requests and how to reach the service, and nothing when nothing moved', async () => {
    await deliver('1', '2')
    const { version, fakes, shown } = await state()
    expect(fakes).toMatchObject([{ name: 'box', requests: 1, records: 2, broken: { failure: null, delay: 0, rows: 0 } }])
    expect(shown.collections[0]).toEqual({
      name: 'records',
      total: 2,
      found: 2,
      columns: ['key', 'name'],
      rows: [
        ['1', 'name 1'],
        ['2', 'name 2'],
      ],
    })
    expect(shown.requests[0]).toMatchObject({ n: 1, method: 'POST', path: '/records', write: true, status: 200 })
    expect(parse(shown.yaml)).toEqual({ destinations: { box: sandbox.destinations['box'] } })
    expect((await ask('GET', `/api/state?seen=${version}`)).status).toBe(204)
    await deliver('3')
    expect((await state(`?seen=${version}`)).shown.collections[0].total).toBe(3)
    expect((await state('?find=NAME%203')).shown.collections[0]).toMatchObject({ total: 3, found: 1 })
  })

  it('shows the first hundred of many records and the beginning of a long body', async () => {
    await deliver(...Array.from({ length: 500 }, (_, i) => `k${i}`))
    const { collections, requests } = (await state()).shown
    expect([collections[0].total, collections[0].rows.length]).toEqual([503, 100])
    expect(requests[0].sent.length).toBeLessThan(4_100)
  })

  it('makes requests fail as often as it is told, then never again', async () => {
    await order({ kind: 'fail', failure: '500', requests: 2 })
    expect((await state()).fakes[0].broken).toMatchObject({ failure: '500', requests: 2 })
    expect([(await deliver('1')).status, (await deliver('1')).status, (await deliver('1')).status]).toEqual([500, 500, 200])
    await order({ kind: 'fail', failure: 'lost', requests: 1 })
    await expect(deliver('lost')).rejects.toThrow('fetch failed')
    expect((await state('?find=name%20lost')).shown.collections[0].found).toBe(1)
    expect((await state()).fakes[0].broken).toMatchObject({ failure: null })
  })

  it('forgets everything, and what was to go wrong', async () => {
    await order({ kind: 'refuse', rows: 3 })
    await order({ kind: 'delay', ms: 50_000 })
    expect((await ask('POST', '/api/reset', {}, { fake: null })).status).toBe(200)
    const { fakes, shown } = await state()
    expect(fakes[0]).toMatchObject({ requests: 0, records: 0, broken: { failure: null, delay: 0, rows: 0 } })
    expect(shown.requests).toEqual([])
    // What is ordered afterwards works as before.
    await order({ kind: 'fail', failure: '500', requests: 1 })
    expect((await deliver('1')).status).toBe(500)
  })

  it.each([
    ['GET', '/'],
    ['GET', '/api/state'],
    ['POST', '/api/reset'],
    ['POST', '/box/records'],
  ])('refuses %s %s under a name that is not of this machine', async (method, path) => {
    expect((await ask(method, path, { host: 'rebound.example:8765' }, method === 'POST' ? { fake: null } : undefined)).status).toBe(403)
    expect((await ask(method, path, { host: '127.0.0.1.example.com' }, method === 'POST' ? { fake: null } : undefined)).status).toBe(403)
  })

  it('lets no page of another origin drive it', async () => {
    for (const origin of ['https://evil.example', 'http://localhost:3000', 'null'])
      expect((await ask('POST', '/api/reset', { origin }, { fake: null })).status).toBe(403)
    expect((await ask('POST', '/api/reset', { origin: sandbox.url }, { fake: null })).status).toBe(200)
    expect((await ask('POST', '/api/reset', { 'content-type': 'text/plain' }, { fake: null })).status).toBe(415)
    expect((await ask('GET', '/api/reset')).status).toBe(405)
  })

  it('says what is wrong with an order', async () => {
    expect(await order({ kind: 'fail', failure: '999', requests: 1 })).toMatchObject({
      status: 400,
      text: expect.stringContaining('failure'),
    })
    expect((await ask('POST', '/api/fault', {}, { fake: 'nobody', order: { kind: 'none' } })).text).toContain('no such service')
    expect((await ask('POST', '/api/fault', {}, 'no json')).status).toBe(400)
    expect((await ask('POST', '/api/reset', {}, 'x'.repeat(20_000))).status).toBe(400)
    expect((await ask('GET', '/api/elsewhere')).status).toBe(404)
  })

  it('allows its page nothing from elsewhere and nothing inline', async () => {
    const { headers, text } = await ask('GET', '/')
    expect(headers['content-security-policy']).toContain("default-src 'none'; script-src 'self'")
    expect(headers['content-security-policy']).not.toContain('unsafe')
    expect(text).not.toMatch(/ style=| on\w+=|<script>|https?:\/\//)
  })
})

describe('cdp-sync sandbox', () => {
  it('prints what to write into cdp-sync.yaml, serves until it is interrupted, and ends well', async () => {
    const { io, signal, read } = terminal({})
    const running = main(['sandbox', '--port', '0', '--only', 'webhook'], io)
    await vi.waitFor(() => expect(read().stderr).toContain('listens'), { timeout: 20_000 })
    const { destinations } = parse(read().stdout) as { destinations: Record<string, { type: string; url: string }> }
    expect(Object.keys(destinations)).toEqual(['webhook'])
    expect(destinations['webhook']?.type).toBe('webhook')
    const { origin } = new URL(destinations['webhook']!.url)
    expect((await fetch(`${origin}/`)).status).toBe(200)
    const second = await cli(['sandbox', '--only', 'webhook', '--port', new URL(origin).port])
    expect([second.code, second.stderr]).toEqual([1, expect.stringContaining('CDP6010')])
    signal('SIGINT')
    expect(await running).toBe(0)
    await expect(fetch(`${origin}/`)).rejects.toThrow('fetch failed')
  })

  it('tells the same as JSON', async () => {
    const { io, signal, read } = terminal({})
    const running = main(['sandbox', '--port', '0', '--only', 'webhook', '--json'], io)
    await vi.waitFor(() => expect(read().stderr).toContain('listens'), { timeout: 20_000 })
    expect(JSON.parse(read().stdout)).toMatchObject({ format_version: 1, destinations: { webhook: { type: 'webhook' } } })
    signal('SIGTERM')
    expect(await running).toBe(0)
  })

  it('knows which services there are', async () => {
    expect((await cli(['sandbox', '--only', 'webhok'])).stderr).toMatch(/CDP6011[\s\S]*Did you mean "webhook"/)
    expect((await cli(['sandbox', '--port', '70000'])).stderr).toContain('65535')
  })
})
