/** `connectors new`: what it writes and what it refuses. That what it writes works is shown with the packed program (test/docs/package.test.ts). */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadConnector } from '../../src/testing/index.ts'
import { writeProject } from '../support/cli-project.ts'
import { cli } from '../support/run-cli.ts'

describe('connectors new', () => {
  let root: string
  let remove: () => Promise<void>
  beforeEach(async () => void ({ root, remove } = await writeProject()))
  afterEach(() => remove())

  it('writes a connector that the project finds, and a test of it', async () => {
    const { code, stdout, stderr } = await cli(['connectors', 'new', 'my-crm'], { cwd: join(root, 'syncs') })
    expect([code, stdout]).toEqual([0, 'connectors/my-crm.ts\nconnectors/my-crm.test.mjs\n'])
    expect(stderr).toContain('npm install --save-dev cdp-sync')
    expect(stderr).toContain('node --test connectors/my-crm.test.mjs')
    expect((await cli(['connectors'], { cwd: root })).stdout).toMatch(/^my-crm +contact +upsert,mirror +match \(all\) +this project's$/m)
    for (const file of ['my-crm.ts', 'my-crm.test.mjs']) {
      const text = await readFile(join(root, 'connectors', file), 'utf8')
      expect(text).toContain('My Crm')
      expect(text).not.toMatch(/acme/i)
    }
  })

  it('writes a destination that validates as it says', async () => {
    const { stderr } = await cli(['connectors', 'new', 'my-crm'], { cwd: root })
    const entry = /In cdp-sync\.yaml: {2}(.*)/.exec(stderr)?.[1]
    await writeFile(join(root, 'cdp-sync.yaml'), `warehouses: { main: { type: duckdb } }\n${entry}\n`)
    await rm(join(root, 'syncs/contacts.yaml'))
    await writeFile(
      join(root, 'syncs/companies.yaml'),
      'model: { sql: "select 1 as id, 2 as email, 3 as name", key: id }\ndestination: my-crm\nmatch: { email: email }\nfields: { name: name }\n',
    )
    expect(await cli(['validate'], { cwd: root, env: { MY_CRM_TOKEN: 'token-of-mine' } })).toMatchObject({ code: 0 })
  })

  it.each(['Box', '1st', 'a_b', 'a--b', '-a', '../x', 'new', 'a'.repeat(41), ''])('refuses "%s" as a name', async (name) => {
    const { code, stderr } = await cli(['connectors', 'new', '--', name], { cwd: root })
    expect([code, stderr]).toEqual([1, expect.stringContaining('CDP5040')])
    expect(await readdir(join(root, 'connectors'))).toEqual(['box.ts'])
  })

  it.each(['box', 'webhook'])('refuses "%s", which is there, and writes nothing', async (name) => {
    const before = await readFile(join(root, 'connectors/box.ts'), 'utf8')
    const { code, stderr } = await cli(['connectors', 'new', name], { cwd: root })
    expect([code, stderr]).toEqual([1, expect.stringContaining('CDP5041')])
    expect(await readdir(join(root, 'connectors'))).toEqual(['box.ts'])
    expect(await readFile(join(root, 'connectors/box.ts'), 'utf8')).toBe(before)
  })

  it('writes neither file when one of them is there', async () => {
    await writeFile(join(root, 'connectors/mine.test.mjs'), 'mine')
    expect((await cli(['connectors', 'new', 'mine'], { cwd: root })).stderr).toContain('CDP5041')
    expect(await readFile(join(root, 'connectors/mine.test.mjs'), 'utf8')).toBe('mine')
    expect(await readdir(join(root, 'connectors'))).toEqual(['box.ts', 'mine.test.mjs'])
  })

  it('refuses one whose folder is there', async () => {
    await mkdir(join(root, 'connectors/mine'))
    await writeFile(join(root, 'connectors/mine/index.js'), 'export default {}')
    expect((await cli(['connectors', 'new', 'mine'], { cwd: root })).stderr).toContain('CDP5041')
  })

  it('works where there is no project yet, and says so', async () => {
    const empty = await mkdtemp(join(tmpdir(), 'cdp-sync-scaffold-'))
    const { code, stderr } = await cli(['connectors', 'new', 'mine'], { cwd: empty })
    expect([code, stderr]).toEqual([0, expect.stringContaining('no project here yet')])
    expect(await readdir(join(empty, 'connectors'))).toEqual(['mine.test.mjs', 'mine.ts'])
    await rm(empty, { recursive: true })
  })
})

describe('connectors NAME', () => {
  it('tells settings, options and objects', async () => {
    const { root, remove } = await writeProject()
    await cli(['connectors', 'new', 'mine'], { cwd: root })
    const { stdout } = await cli(['connectors', 'mine'], { cwd: root })
    expect(stdout).toMatch(/^ {2}token +Required\. API token .*Secret: never shown\.$/m)
    expect(stdout).toMatch(/^ {2}base_url .*Default: "https:\/\/api\.mine\.example"\.$/m)
    expect(stdout).toContain('object contact: A contact, found by its e-mail address.')
    expect(stdout).toContain('match (all): email (email)')
    const { connector } = JSON.parse((await cli(['connectors', 'mine', '--json'], { cwd: root })).stdout) as {
      connector: { name: string; builtin: boolean; settings: { required: string[] } }
    }
    expect(connector).toMatchObject({ name: 'mine', builtin: false, settings: { required: ['token'] } })
    expect((await cli(['connectors', 'mime'], { cwd: root })).stderr).toMatch(/CDP1050[\s\S]*Did you mean "mine"/)
    await remove()
  })
})

describe('loadConnector of cdp-sync/testing', () => {
  it('loads TypeScript, whatever the folder is called, and a folder with an index', async () => {
    const root = await mkdtemp(join(tmpdir(), 'cdp sync #1 ä-'))
    await cli(['connectors', 'new', 'mine'], { cwd: root })
    expect((await loadConnector(join(root, 'connectors/mine.ts'))).name).toBe('mine')
    expect((await loadConnector('./mine.ts', pathToFileURL(join(root, 'connectors/mine.test.mjs')).href)).name).toBe('mine')
    await mkdir(join(root, 'connectors/other'))
    await writeFile(
      join(root, 'connectors/other/index.ts'),
      (await readFile(join(root, 'connectors/mine.ts'), 'utf8')).replaceAll('mine', 'other'),
    )
    expect((await loadConnector(join(root, 'connectors/other/index.ts'))).name).toBe('other')
    await rm(root, { recursive: true })
  })

  it('says what is wrong with a file that is no connector', async () => {
    const root = await mkdtemp(join(tmpdir(), 'cdp-sync-scaffold-'))
    await writeFile(join(root, 'broken.ts'), 'export default (')
    await writeFile(join(root, 'empty.ts'), 'export const x = 1')
    await expect(loadConnector(join(root, 'broken.ts'))).rejects.toMatchObject({ code: 'CDP1051' })
    await expect(loadConnector(join(root, 'empty.ts'))).rejects.toMatchObject({ code: 'CDP1052' })
    await rm(root, { recursive: true })
  })
})
