/** A sandbox and a project that delivers into it, for tests. */
import { existsSync } from 'node:fs'
import { chromium, type Browser } from 'playwright-core'
import webhook from '../../fakes/webhook.ts'
import { startSandbox, type Sandbox } from '../../src/sandbox/serve.ts'
import type { Fake } from '../../src/testing/fake.ts'
import { cli, type Ran } from '../support/run-cli.ts'
import { writeProject } from '../support/cli-project.ts'

/** Of Debian, Fedora and macOS; CHROMIUM names another. */
const BROWSERS = [
  process.env['CHROMIUM'],
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]
const executablePath = BROWSERS.find((path) => path !== undefined && existsSync(path))

/** Why the page can't be looked at here, or null. */
export const NO_BROWSER = executablePath === undefined ? 'no Chromium here: apt-get install chromium' : null

export function startBrowser(): Promise<Browser> {
  // As root, which CI is, its own sandbox can't work; it sees nothing but this page. Containers have little shared memory.
  return chromium.launch({ ...(executablePath === undefined ? {} : { executablePath }), args: ['--no-sandbox', '--disable-dev-shm-usage'] })
}

interface Body {
  readonly records: readonly { readonly key: string }[]
}

/** A service that asks for no login: for what is the sandbox's own. */
export const box: Fake = {
  name: 'box',
  description: 'Keeps what is posted to /records.',
  destination: (url) => ({ url }),
  create(control) {
    const records = new Map<string, { readonly key: string }>()
    return {
      isWrite: ({ method }) => method === 'POST',
      records: () => ({ records: [...records.values()] }),
      failure: (status) => ({ status, json: { message: `failed with ${status}` } }),
      handle(request) {
        const sent = (request.json() as Body).records
        for (const record of sent) if (!control.refusesRow()) records.set(record.key, record)
        return { status: 200, json: {} }
      },
    }
  },
}

/** A second service, so that there is something to choose. */
const other: Fake = { ...webhook, name: 'other', description: 'Another one.' }

export interface Stage {
  readonly sandbox: Sandbox
  readonly cdp: (...argv: string[]) => Promise<Ran>
  close(): Promise<void>
}

/** `rows`: SQL of a table `t(id, email, note)`. */
export async function startStage(rows: string): Promise<Stage> {
  const sandbox = await startSandbox([webhook, other], 0)
  const { root, remove } = await writeProject({
    'cdp-sync.yaml': `warehouses: { main: { type: duckdb } }\ndestinations: { app: ${JSON.stringify(sandbox.destinations['webhook'])} }\n`,
    'syncs/companies.yaml': 'enabled: false\nmodel: { sql: select 1 as id, key: id }\ndestination: app\nfields: { id: id }\n',
    'syncs/contacts.yaml': `model: { sql: "select * from (${rows}) t(id, email, note)", key: id }\ndestination: app\nmatch: { email: email }\nfields: { note: note }\n`,
  })
  return {
    sandbox,
    cdp: (...argv) => cli(argv, { cwd: root }),
    close: async () => {
      await sandbox.close()
      await remove()
    },
  }
}
