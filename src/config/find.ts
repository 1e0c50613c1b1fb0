/** Finds the project folder. */
import { statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { CdpError } from '../errors.ts'

export const PROJECT_FILE = 'cdp-sync.yaml'

/**
 * Absolute path of the project folder: `chosen` (of `-C DIR`), else the nearest parent of `cwd` with a cdp-sync.yaml.
 * Throws CdpError CDP1001 when there is none.
 */
export function findRoot(cwd: string, chosen?: string): string {
  if (chosen !== undefined) {
    const root = resolve(cwd, chosen)
    if (hasProject(root)) return root
    throw new CdpError('CDP1001', `There is no ${PROJECT_FILE} in ${root}.`, { hint: 'Check the folder given with -C.' })
  }
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    if (hasProject(folder)) return folder
    if (folder === dirname(folder)) break
  }
  throw new CdpError('CDP1001', `There is no ${PROJECT_FILE} here or in a parent folder.`, {
    hint: 'Go to your project, name it with -C DIR, or make one with `cdp-sync init`.',
  })
}

const hasProject = (folder: string): boolean => statSync(join(folder, PROJECT_FILE), { throwIfNoEntry: false })?.isFile() ?? false
