/** States in a bucket, for test/support/engines.ts: a prefix for each project. */
import { join } from 'node:path'
import { BUCKET_STEPS } from '../../src/crash.ts'
import { forgetMachine } from './engines.ts'
import type { Engine, StatePlace } from './engines.ts'
import { startS3, VERSITYGW, type S3 } from './s3.ts'

/** The server of this test file, where states lie in a bucket. */
export let s3: S3
let prefixes = 0

export interface BucketPlace extends StatePlace {
  /** The folder of a sync's objects. */
  folder(sync: string): string
}

/** `ENDPOINT` leads to the server; a test may put something in between. */
export function bucketPlace(): BucketPlace {
  const prefix = `p${++prefixes}`
  const folder = (sync: string): string => `${prefix}/shop/_/${sync}`
  const expire = async (sync: string): Promise<void> => {
    const lease = `${folder(sync)}/lease.json`
    if ((await s3.keys()).includes(lease)) await s3.age(lease, 600)
  }
  let putBack = (): void => undefined
  return {
    entry: (root) => ({
      type: 's3',
      path: join(root, '.cdp-sync', 's3'),
      bucket: 'states',
      prefix,
      region: 'us-east-1',
      endpoint: s3.url,
    }),
    warehouses: {},
    models: () => null,
    yaml: `project: shop\nstate: { type: s3, bucket: states, prefix: ${prefix}, endpoint: "\${env:ENDPOINT}", region: us-east-1 }\n`,
    yamlWarehouses: '',
    env: { ...s3.env, ENDPOINT: s3.url },
    kill() {
      putBack = s3.remember(prefix)
    },
    async revive({ root }, sync) {
      putBack()
      await expire(sync)
      await forgetMachine(root)
    },
    expire,
    folder,
    leftovers: (sync) => leftoversIn(folder(sync)),
  }
}

/** Of the objects in a sync's folder those that head does not name, and `head` when what it names is unfinished or missing. */
export async function leftoversIn(folder: string): Promise<string[]> {
  const names = (await s3.keys()).filter((key) => key.startsWith(`${folder}/`)).map((key) => key.slice(folder.length + 1))
  const { run, snapshot } = JSON.parse(await s3.read(`${folder}/head.json`)) as { snapshot: string; run: string | null }
  const { parts } = JSON.parse(await s3.read(`${folder}/${snapshot}`)) as { parts: string[] }
  const needed = new Set([snapshot, ...parts.map((part) => `parts/${part}`)])
  const whole = run === null && [...needed].every((name) => names.includes(name))
  return [...names.filter((name) => /^(snapshot-|run-|parts\/)/.test(name) && !needed.has(name)), ...(whole ? [] : ['head'])]
}

export const bucket: Engine = {
  missing: VERSITYGW === null ? 'versitygw is not installed' : null,
  steps: BUCKET_STEPS,
  reads: null,
  async start() {
    s3 = await startS3()
    Object.assign(process.env, s3.env)
  },
  stop: async () => s3?.close(),
  place: bucketPlace,
}
