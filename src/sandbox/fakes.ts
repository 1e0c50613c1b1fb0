/** Finds the fakes that come along, by name: what `cdp-sync sandbox` can serve. */
import { fileURLToPath, pathToFileURL } from 'node:url'
import { modulesIn } from '../config/registry.ts'
import { CdpError, nearest } from '../errors.ts'
import type { Fake } from '../testing/fake.ts'

/** fakes/ beside src/, in the repository as in the package. */
const FOLDER = fileURLToPath(new URL('../../fakes/', import.meta.url))

/** Loads the fakes of these names, all without names. Throws CDP6011 for a name there is none of. */
export async function loadFakes(only: readonly string[] | null): Promise<Fake[]> {
  const files = modulesIn(FOLDER)
  const names = [...files.keys()]
  for (const name of only ?? []) {
    if (files.has(name)) continue
    const near = nearest(name, names)
    throw new CdpError('CDP6011', `The sandbox has no service "${name}".`, {
      hint: near ? `Did you mean "${near}"?` : `There are ${names.join(', ') || 'none'}.`,
    })
  }
  const wanted = [...files].filter(([name]) => only === null || only.includes(name))
  return Promise.all(
    wanted.map(async ([, file]) => ((await import(/* @vite-ignore */ pathToFileURL(file).href)) as { default: Fake }).default),
  )
}
