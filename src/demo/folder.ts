/** A demo's folder: what it is recognised by, where its parts lie, and how it comes to be without touching anybody's files. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CdpError } from '../errors.ts'
import { writeProject } from './project.ts'
import { startReceiver, type Receiver } from './receiver.ts'
import { createWarehouse } from './warehouse.ts'

export interface Demo {
  readonly folder: string
  readonly customers: number
  readonly seed: number
  /** Where its CRM listens. */
  readonly port: number
}

const MARK = 'demo.json'
/** Tried first, so that most demos look alike. */
const PORT = 8787

export const warehousePath = ({ folder }: Pick<Demo, 'folder'>): string => join(folder, 'warehouse.duckdb')
const crmFolder = ({ folder }: Pick<Demo, 'folder'>): string => join(folder, 'crm')

/** The demo in a folder. Throws CDP6002 when there is none. */
export async function readDemo(folder: string): Promise<Demo> {
  const text = await readFile(join(folder, MARK), 'utf8').catch(() => null)
  if (text === null)
    throw new CdpError('CDP6002', `There is no demo in ${folder}.`, { hint: 'Write one with `cdp-sync demo`, or name its folder.' })
  return { folder, ...(JSON.parse(text) as Omit<Demo, 'folder'>) }
}

/**
 * Writes a demo and starts its CRM. A folder that holds a demo is begun anew; one that holds anything else is refused
 * (CDP6001), and so is a demo whose CRM runs (CDP6003).
 */
export async function newDemo(folder: string, customers: number, seed: number): Promise<{ demo: Demo; crm: Receiver; orders: number }> {
  const there = await readdir(folder).catch((): string[] => [])
  const again = there.includes(MARK)
  if (there.length > 0 && !again)
    throw new CdpError('CDP6001', `${folder} holds files that are not a demo, and demo overwrites nothing.`, {
      hint: 'Choose another folder: cdp-sync demo FOLDER.',
    })
  if (again) {
    await (await startCrm(await readDemo(folder))).close()
    for (const part of ['.cdp-sync', 'crm', 'syncs', 'models', 'warehouse.duckdb'])
      await rm(join(folder, part), { recursive: true, force: true })
  }
  await mkdir(folder, { recursive: true })
  const crm = await startReceiver(crmFolder({ folder }), PORT).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EADDRINUSE') throw error
    return startReceiver(crmFolder({ folder }), 0)
  })
  try {
    const demo = { folder, customers, seed, port: crm.port }
    await writeFile(join(folder, MARK), JSON.stringify({ customers, seed, port: crm.port }) + '\n')
    await writeProject(folder, crm.port)
    return { demo, crm, ...(await createWarehouse(warehousePath(demo), customers, seed)) }
  } catch (error) {
    await crm.close()
    throw error
  }
}

/** Starts the CRM of a demo where it listened before: another port would be another account. Throws CDP6003. */
export async function startCrm(demo: Demo, heard?: (line: string) => void): Promise<Receiver> {
  try {
    return await startReceiver(crmFolder(demo), demo.port, heard)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    throw new CdpError('CDP6003', `Port ${demo.port}, on which the CRM of this demo listens, is taken.`, {
      where: demo.folder,
      hint: 'Most likely `cdp-sync demo --serve` runs in another terminal; end that first.',
      cause: error,
    })
  }
}
