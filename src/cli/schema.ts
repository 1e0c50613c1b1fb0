/** `cdp-sync schema`: the JSON Schema of both files, so that an editor completes and checks them. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { Argument, type Command } from 'commander'
import type { Act } from './options.ts'

/** Where `--write` puts them, from the project's root; the first line of the files that init writes names them. */
export const SCHEMA_FOLDER = '.cdp-sync/schema'
export const SCHEMA_FILES = { project: 'cdp-sync.schema.json', sync: 'sync.schema.json' } as const

export function schemaCommand(program: Command, act: Act): void {
  program
    .command('schema')
    .description('print the JSON Schema of cdp-sync.yaml or of a sync, or write both for your editor')
    .addArgument(new Argument('[file]', 'which file').choices(['project', 'sync']).default('sync'))
    .option('--write [folder]', `write both files (default ${SCHEMA_FOLDER} of the project)`)
    .action(
      act(async (session, file: 'project' | 'sync', flags: { write?: string | true }) => {
        if (flags.write === undefined) {
          const { jsonSchema } = await import('../config/json-schema.ts')
          session.print(JSON.stringify(await jsonSchema(file), null, 2) + '\n')
          return
        }
        const { findRoot } = await import('../config/find.ts')
        const folder =
          flags.write === true ? join(findRoot(session.io.cwd, session.globals.cwd), SCHEMA_FOLDER) : resolve(session.io.cwd, flags.write)
        for (const path of await writeSchemas(folder)) session.print(`${relative(session.io.cwd, path)}\n`)
      }),
    )
}

export async function writeSchemas(folder: string): Promise<string[]> {
  const { jsonSchema } = await import('../config/json-schema.ts')
  await mkdir(folder, { recursive: true })
  const paths: string[] = []
  for (const file of ['project', 'sync'] as const) {
    const path = join(folder, SCHEMA_FILES[file])
    await writeFile(path, JSON.stringify(await jsonSchema(file), null, 2) + '\n')
    paths.push(path)
  }
  return paths
}
