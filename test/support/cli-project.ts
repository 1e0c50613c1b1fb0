/** A small project on disk with a connector of its own, for tests of commands. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

const CONNECTOR = `import { defineConnector, secret } from 'cdp-sync'
import { z } from 'zod'
export default defineConnector({
  name: 'box',
  description: 'A box that takes anything.',
  version: 1,
  config: z.strictObject({ token: secret(), fields: z.array(z.string()).optional() }),
  options: z.strictObject({}),
  objects: {
    things: {
      description: 'Things.',
      modes: ['upsert', 'mirror'],
      address: { match: 'all' },
      match: { email: 'email' },
      confirms: 'row',
      replay: { upsert: 'harmless', delete: 'harmless' },
      removes: ['delete'],
    },
  },
  limits: { rows: 100, concurrency: 1 },
  open: ({ config }) => ({
    check: async () => ({ id: 'box-1', name: 'the box' }),
    describe: async () => (config.fields ?? ['email', 'plan', 'name']).map((name) => ({ name, type: 'string' })),
    async *write(batch) {
      for (const { key } of batch.changes) yield { key, result: 'ok' }
    },
  }),
})
`

const PROJECT = `warehouses: { main: { type: duckdb } }
destinations: { box: { type: box, token: "\${env:BOX_TOKEN}" } }
`

const sync = (more: string): string => `model:
  sql: select 1 as id, 'ada@example.com' as email, 'free' as plan
  key: id
destination: box
match: { email: email }
fields: { plan: plan }
${more}`

export const TOKEN = 'box-token-123456'

/** Files by path, over those of a project with two syncs, `companies` and `contacts` (which depends on it). */
export async function writeProject(files: Record<string, string> = {}): Promise<{ root: string; remove: () => Promise<void> }> {
  const root = await mkdtemp(join(tmpdir(), 'cdp-cli-'))
  const all = {
    'cdp-sync.yaml': PROJECT,
    'connectors/box.ts': CONNECTOR,
    '.env': `BOX_TOKEN=${TOKEN}\n`,
    'syncs/companies.yaml': sync('mode: mirror\n'),
    'syncs/contacts.yaml': sync('depends_on: [companies]\n').replace('plan: plan', 'name: plan'),
    ...files,
  }
  for (const [path, text] of Object.entries(all)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text)
  }
  return { root, remove: () => rm(root, { recursive: true, force: true }) }
}
