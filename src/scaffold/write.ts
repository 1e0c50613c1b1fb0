/** Writes a connector of the user's own: a working skeleton and the test that proves it. */
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join, relative } from 'node:path'
import type { Session } from '../cli/session.ts'
import { PROJECT_FILE } from '../config/find.ts'
import { listConnectors } from '../config/registry.ts'
import { CdpError } from '../errors.ts'

/** What the skeleton calls the service; everywhere replaced by the new name. */
const PLACEHOLDER = 'acme'
const NAME = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/

/** `root`: absolute path of the project. Throws CDP5040 (no such name possible), CDP5041 (there is one already). */
export async function newConnector(session: Session, root: string, name: string): Promise<void> {
  if (!NAME.test(name) || name.length > 40 || name === 'new')
    throw new CdpError('CDP5040', `"${name}" can't be the name of a connector.`, {
      hint: 'Small letters and digits, hyphens between them, a letter first, 40 characters at most: my-crm.',
    })
  const there = listConnectors(root).find((it) => it.name === name)
  if (there)
    throw new CdpError('CDP5041', `There is a connector "${name}" already: ${there.builtin ? 'it comes along' : there.file}.`, {
      hint: 'Choose another name. Nothing was written.',
    })
  const files = new Map([
    [`connectors/${name}.ts`, template('connector.ts.txt', name)],
    [`connectors/${name}.test.mjs`, template('connector.test.mjs.txt', name)],
  ])
  for (const path of files.keys())
    if (existsSync(join(root, path)))
      throw new CdpError('CDP5041', `${path} is there already.`, { where: root, hint: 'Choose another name. Nothing was written.' })
  await mkdir(join(root, 'connectors'), { recursive: true })
  for (const [path, text] of files) {
    await writeFile(join(root, path), text, { flag: 'wx' })
    session.print(`${path}\n`)
  }
  session.say(next(session, root, name).join('\n'))
}

function template(file: string, name: string): string {
  const title = name.replace(/(^|-)([a-z])/g, (_, hyphen: string, letter: string) => (hyphen ? ' ' : '') + letter.toUpperCase())
  return readFileSync(new URL(file, import.meta.url), 'utf8')
    .replaceAll(PLACEHOLDER, name)
    .replaceAll('Acme', title)
    .replaceAll('ACME', name.toUpperCase().replaceAll('-', '_'))
}

function next({ io }: Session, root: string, name: string): string[] {
  const go = relative(io.cwd, root) === '' ? '' : `cd ${relative(io.cwd, root)} && `
  const test = `${go}node --test connectors/${name}.test.mjs`
  return [
    ...(existsSync(join(root, PROJECT_FILE)) ? [] : [`There is no project here yet; cdp-sync init writes one.`]),
    ...(hasTesting(root) ? [] : [`First, for the test: ${go}npm install --save-dev cdp-sync`]),
    `Next: ${test}, which passes as it stands. Then make it your service's, from its documentation.`,
    `In cdp-sync.yaml:  destinations: { ${name}: { type: ${name}, token: "\${env:${name.toUpperCase().replaceAll('-', '_')}_TOKEN}" } }`,
  ]
}

/** Whether a test in the project finds `cdp-sync/testing`. */
function hasTesting(root: string): boolean {
  try {
    createRequire(join(root, 'connectors', 'x.js')).resolve('cdp-sync/testing')
    return true
  } catch {
    return false
  }
}
