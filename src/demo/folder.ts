/** A demo's folder: what it is recognised by, where its parts lie, and how it comes to be without touching anybody's files. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PORT } from '../cli/sandbox.ts'
import { CdpError } from '../errors.ts'
import { loadFakes } from '../sandbox/fakes.ts'
import { startSandbox, type Sandbox } from '../sandbox/serve.ts'
import { SERVICES, writeProject } from './project.ts'
import { createWarehouse } from './warehouse.ts'

export interface Demo {
  readonly folder: string
  readonly customers: number
  readonly seed: number
  /** Where its services listen. */
  readonly port: number
}

const MARK = 'demo.json'

export const warehousePath = ({ folder }: Pick<Demo, 'folder'>): string => join(folder, 'warehouse.duckdb')

/** The demo in a folder. Throws CDP6002 when there is none. */
export async function readDemo(folder: string): Promise<Demo> {
  const text = await readFile(join(folder, MARK), 'utf8').catch(() => null)
  if (text === null)
    throw new CdpError('CDP6002', `There is no demo in ${folder}.`, { hint: 'Write one with `cdp-sync demo`, or name its folder.' })
  return { folder, ...(JSON.parse(text) as Omit<Demo, 'folder'>) }
}

/**
 * Writes a demo and starts its services, where the sandbox listens if that is free, else elsewhere. A folder that holds a
 * demo is begun anew; one that holds anything else is refused (CDP6001).
 */
export async function newDemo(folder: string, customers: number, seed: number): Promise<{ demo: Demo; sandbox: Sandbox }> {
  const there = await readdir(folder).catch((): string[] => [])
  const again = there.includes(MARK)
  if (there.length > 0 && !again)
    throw new CdpError('CDP6001', `${folder} holds files that are not a demo, and demo overwrites nothing.`, {
      hint: 'Choose another folder: cdp-sync demo FOLDER.',
    })
  if (again)
    for (const part of ['.cdp-sync', 'syncs', 'models', 'warehouse.duckdb']) await rm(join(folder, part), { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  const fakes = await loadFakes(SERVICES)
  const sandbox = await startSandbox(fakes, PORT).catch((error: unknown) => {
    if (!(error instanceof CdpError)) throw error
    return startSandbox(fakes, 0)
  })
  try {
    const demo = { folder, customers, seed, port: Number(new URL(sandbox.url).port) }
    await writeFile(join(folder, MARK), JSON.stringify({ customers, seed, port: demo.port }) + '\n')
    await writeProject(folder, sandbox.url, sandbox.destinations)
    await createWarehouse(warehousePath(demo), customers, seed)
    return { demo, sandbox }
  } catch (error) {
    await sandbox.close()
    throw error
  }
}
