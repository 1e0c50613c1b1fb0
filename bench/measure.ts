/** Runs programs as processes of their own and measures wall time and peak memory. */
import { spawn } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const CLI = join(HERE, '../bin/cdp-sync.js')

export interface Usage {
  /** Wall time from start to exit, start of Node included. */
  readonly seconds: number
  /** Peak resident memory in bytes. */
  readonly memory: number
  readonly stdout: string
}

/** Runs Node with these arguments. Throws with its stderr when it fails. */
export async function node(args: readonly string[], folder: string): Promise<Usage> {
  const usage = join(folder, `usage-${process.hrtime.bigint()}`)
  const started = performance.now()
  const child = spawn(process.execPath, ['--import', join(HERE, 'usage.js'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, BENCH_USAGE: usage, CDP_SYNC_ENV: '' },
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const code = await new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve))
  const seconds = (performance.now() - started) / 1000
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}:\n${stderr}`)
  const memory = Number(await readFile(usage, 'utf8'))
  await rm(usage)
  if (process.env['BENCH_VERBOSE']) process.stderr.write(stderr)
  return { seconds, memory, stdout }
}

/** Runs a script of this folder. */
export const script = (name: string, args: readonly string[], folder: string, flags: readonly string[] = []): Promise<Usage> =>
  node([...flags, '--import', 'tsx', join(HERE, name), ...args], folder)

export interface Counts {
  readonly add: number
  readonly change: number
  readonly remove: number
  readonly unchanged: number
  readonly delivered: number
}

/** Runs one sync of a project by the built command line. */
export async function cli(root: string, sync: string): Promise<Usage & { readonly counts: Counts }> {
  const usage = await node([CLI, '--cwd', root, 'run', sync, '--json'], root)
  const { syncs } = JSON.parse(usage.stdout.trim().split('\n').at(-1) ?? '') as { syncs: [{ counts: Counts }] }
  return { ...usage, counts: syncs[0].counts }
}

export const help = (folder: string): Promise<Usage> => node([CLI, '--help'], folder)

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] ?? NaN) : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2
}
