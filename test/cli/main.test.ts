import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { cli } from '../support/run-cli.ts'

describe('help and versions', () => {
  it('without arguments is the help, on stdout, exit 0', async () => {
    const { code, stdout, stderr } = await cli([])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('Usage: cdp-sync')
    expect(stdout).toContain('Exit codes: 0 ok')
    for (const name of ['init', 'validate', 'plan', 'run', 'status', 'history', 'rejected', 'retry', 'resolve', 'why'])
      expect(stdout).toContain(`  ${name} `)
    for (const name of ['baseline', 'rename', 'adopt-target', 'reset', 'connectors', 'schema', 'sandbox', 'demo'])
      expect(stdout).toContain(`  ${name} `)
  })

  it('names cdp-sync, Node and DuckDB', async () => {
    const { code, stdout } = await cli(['--version'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^cdp-sync \d+\.\d+\.\d+ \(node v\d+\.\d+\.\d+, duckdb \d+\.\d+\.\d+\)\n$/)
  })

  it('of a command is exit 0', async () => {
    const { code, stdout } = await cli(['run', '--help'])
    expect(code).toBe(0)
    for (const flag of [
      '--dry-run',
      '--full-refresh',
      '--key',
      '--limit',
      '--allow',
      '--json',
      '--yes',
      '--lock-timeout',
      '--show-values',
      '--exclude',
    ]) {
      expect(stdout).toContain(flag)
    }
  })
})

describe('mistakes on the command line are exit 1, on stderr, with a suggestion', () => {
  it.each([
    [['plam'], 'Did you mean plan?'],
    [['run', '--dryrun'], 'Did you mean --dry-run?'],
    [['run', '--limit', '0'], 'It must be a whole number from 1.'],
    [['run', '--allow', 'delete'], 'Did you mean deletes?'],
    [['plan', '--lock-timeout', 'soon'], 'Write it as 30s, 10m, 1h or a number of seconds.'],
    [['plan', '--var', 'x'], 'Write it as name=value.'],
    [['why', '--match', 'x'], '--match must be field=value'],
    [['reset'], "missing required argument 'sync'"],
    [['schema', 'syncs'], 'Allowed choices are project, sync.'],
  ])('%j', async (argv, told) => {
    const { code, stdout, stderr } = await cli(argv)
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain(told)
  })

  it('outside a project says so', async () => {
    const { code, stderr } = await cli(['plan'], { cwd: '/' })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error CDP1001: There is no cdp-sync\.yaml/)
    expect(stderr).not.toContain('    at ')
  })

  it('with --debug adds the stack', async () => {
    expect((await cli(['plan', '--debug'], { cwd: '/' })).stderr).toContain('    at ')
    expect((await cli(['plan'], { cwd: '/', env: { CDP_SYNC_DEBUG: '1' } })).stderr).toContain('    at ')
  })

  it('as JSON is one line of JSON', async () => {
    const { stderr } = await cli(['plan', '--log-format', 'json'], { cwd: '/' })
    expect(JSON.parse(stderr)).toMatchObject({ level: 'error', code: 'CDP1001' })
  })
})

describe('the program', () => {
  it('loads nothing heavy before a command asks for it: no driver, no parser, no schema library', () => {
    const packages = new Set<string>()
    const seen = new Set<string>()
    const walk = (file: string): void => {
      if (seen.has(file)) return
      seen.add(file)
      for (const [, from = ''] of readFileSync(file, 'utf8').matchAll(/^(?:import|export) (?!type\b)[^'\n]*from '([^']+)'/gm)) {
        if (from.startsWith('.')) walk(resolve(dirname(file), from))
        else if (!from.startsWith('node:')) packages.add(from)
      }
    }
    walk(fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url)))
    walk(fileURLToPath(new URL('../../src/cli/io.ts', import.meta.url)))
    expect(seen.size).toBeGreaterThan(20)
    expect([...packages].sort()).toEqual(['commander', 'p-limit'])
  })
})
