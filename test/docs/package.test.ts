/** The package as npm installs it: packed, installed in an empty folder, and its demo run from there. */
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const run = promisify(execFile)
const repository = join(import.meta.dirname, '../..')
let folder: string
let tarball: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cdp-sync-package-'))
  // A copy, because packing builds and others may be using dist/.
  const source = join(folder, 'source')
  await mkdir(source)
  for (const part of [
    'package.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'README.md',
    'LICENSE',
    'CHANGELOG.md',
    'bin',
    'src',
    'connectors',
    'fakes',
    'scripts',
    'docs',
    'schema',
  ])
    await cp(join(repository, part), join(source, part), { recursive: true })
  await symlink(join(repository, 'node_modules'), join(source, 'node_modules'))
  await run('npm', ['pack', '--pack-destination', folder], { cwd: source })
  tarball = join(
    folder,
    `cdp-sync-${(JSON.parse(await readFile(join(source, 'package.json'), 'utf8')) as { version: string }).version}.tgz`,
  )
}, 120_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('the package', () => {
  it('holds what it needs and nothing of the workshop', async () => {
    const { stdout } = await run('tar', ['-tzf', tarball])
    const files = stdout.split('\n').filter(Boolean)
    for (const path of [
      'bin/cdp-sync.js',
      'dist/src/index.js',
      'dist/src/index.d.ts',
      'dist/connectors/webhook/index.js',
      'dist/fakes/webhook.js',
      'dist/src/testing/index.d.ts',
      'dist/src/sandbox/page/app.js',
      'dist/src/scaffold/connector.ts.txt',
      'schema/sync.schema.json',
      'LICENSE',
      'README.md',
    ])
      expect(files).toContain(`package/${path}`)
    expect(files.filter((it) => /^package\/(src|test|scripts|bench|syncs|\.ci)\/|\.env|tsbuildinfo/.test(it))).toEqual([])
  })

  it('runs its demo with npx in an empty folder', async ({ skip }) => {
    const home = join(folder, 'empty')
    await mkdir(home)
    await writeFile(join(home, 'package.json'), '{"private":true}')
    try {
      await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball], { cwd: home })
    } catch (error) {
      const { stderr } = error as { stderr: string }
      if (/ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|ENOTCACHED|E40[134]/.test(stderr)) skip('no registry here')
      throw error
    }
    const { stdout } = await run('npx', ['cdp-sync', 'demo', '--rows', '500'], { cwd: home })
    expect(stdout).toContain('That was it.')
    expect(stdout).toContain('npx cdp-sync sandbox --only hubspot,statsig,meta')
    const { stdout: validated } = await run('npx', ['cdp-sync', 'validate'], { cwd: join(home, 'cdp-sync-demo') })
    expect(validated).toContain('ok: 3 syncs')
    await writeFile(
      join(home, 'own.mjs'),
      `import { defineConnector, decodeJson } from 'cdp-sync'; console.log(typeof defineConnector, typeof decodeJson)`,
    )
    expect((await run(process.execPath, ['own.mjs'], { cwd: home })).stdout).toBe('function function\n')
  }, 240_000)

  it('writes a connector whose types are right and whose test passes at once', async () => {
    // As installed, without asking a registry.
    const home = join(folder, 'an empty project')
    const installed = join(home, 'node_modules/cdp-sync')
    await mkdir(installed, { recursive: true })
    await run('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1'])
    await symlink(join(repository, 'node_modules'), join(installed, 'node_modules'))
    await symlink(join(repository, 'node_modules/zod'), join(home, 'node_modules/zod'))
    const { stderr } = await run(process.execPath, [join(installed, 'bin/cdp-sync.js'), 'connectors', 'new', 'my-crm'], { cwd: home })
    expect(stderr).not.toContain('npm install')
    const strict = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--skipLibCheck']
    const tsc = join(repository, 'node_modules/typescript/bin/tsc')
    await run(process.execPath, [tsc, ...strict, '--module', 'nodenext', '--target', 'es2023', 'connectors/my-crm.ts'], { cwd: home })
    const { stdout } = await run(process.execPath, ['--test', '--test-reporter=tap', 'connectors/my-crm.test.mjs'], { cwd: home })
    expect(stdout).toMatch(/^# fail 0$/m)
    expect(Number(/^# pass (\d+)$/m.exec(stdout)?.[1])).toBeGreaterThan(20)
  }, 120_000)
})
