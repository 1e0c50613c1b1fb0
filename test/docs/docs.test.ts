/** What the documentation says is tried here: commands exist, YAML loads, links lead somewhere, generated pages are fresh. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { describe, expect, it } from 'vitest'
import { ERRORS_PAGE, errorsPage } from '../../scripts/gen-errors.ts'
import { README, readmePage } from '../../scripts/gen-readme.ts'
import { loadProject } from '../../src/config/load.ts'
import { cli } from '../support/run-cli.ts'
import { writeProject } from '../support/cli-project.ts'

const repository = join(import.meta.dirname, '../..')
const read = (path: string): string => readFileSync(join(repository, path), 'utf8')
const under = (folder: string): string[] =>
  readdirSync(join(repository, folder))
    .filter((it) => it.endsWith('.md'))
    .map((it) => `${folder}/${it}`)
const PAGES = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...under('docs'), ...under('docs/connectors')]

interface Block {
  readonly page: string
  /** The heading it stands under. */
  readonly heading: string
  readonly language: string
  readonly text: string
}

const blocks: Block[] = PAGES.flatMap((page) => {
  let heading = ''
  return [...read(page).matchAll(/^#+ ([^\n]*)$|^```(\w*)\n(.*?)^```/gms)].flatMap(([, title, language = '', text = '']) => {
    if (title !== undefined) heading = title
    return title === undefined ? [{ page, heading, language, text }] : []
  })
})

describe('commands in the documentation', () => {
  const lines = blocks
    .flatMap(({ page, language, text }) =>
      ['sh', 'text', 'yaml', ''].includes(language) ? text.split('\n').map((line) => ({ page, line })) : [],
    )
    .flatMap(({ page, line }) =>
      [...line.matchAll(/(?:^|\$ |npx |&& |\|\| |run: )cdp-sync (.*?)(?:  +| #| \||$)/g)].map(([, argv = '']) => ({
        page,
        argv: argv.trim(),
      })),
    )
  const inline = PAGES.flatMap((page) => [...read(page).matchAll(/`cdp-sync ([a-z][^`]*)`/g)].map(([, argv = '']) => ({ page, argv })))

  it('are many enough for this test to mean something', () => {
    expect(lines.length).toBeGreaterThan(20)
    expect(inline.length).toBeGreaterThan(20)
  })

  it('exist, with these flags', async () => {
    const helps = new Map<string, Promise<string>>()
    const help = (...argv: string[]): Promise<string> => {
      const found = helps.get(argv.join()) ?? cli([...argv, '--help']).then(({ code, stdout }) => (code === 0 ? stdout : ''))
      helps.set(argv.join(), found)
      return found
    }
    const known = (await help()).match(/^ {2}[a-z-]+/gm)!.map((it) => it.trim())
    const wrong: string[] = []
    for (const { page, argv } of [...lines, ...inline]) {
      const words = argv.split(/\s+/)
      const command = words.find((it) => /^[a-z]/.test(it)) ?? ''
      if (!known.includes(command)) wrong.push(`${page}: cdp-sync ${argv}`)
      const flags = `${await help()}\n${await help(command)}`
      for (const flag of argv.match(/--[a-z-]+/g) ?? []) if (!flags.includes(flag)) wrong.push(`${page}: ${flag} of cdp-sync ${argv}`)
    }
    expect(wrong).toEqual([])
  })

  it('of npm are scripts of the package', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    for (const { text } of blocks.filter((it) => it.language === 'sh'))
      for (const [, script = ''] of text.matchAll(/npm run (\w+)/g)) expect(Object.keys(scripts)).toContain(script)
  })
})

describe('YAML in the documentation', () => {
  const yaml = blocks.filter((it) => it.language === 'yaml')

  it('is YAML', () => {
    for (const { page, text } of yaml)
      for (const document of parseAllDocuments(text)) expect(document.errors, `${page}\n${text}`).toEqual([])
  })

  /** Blocks under one heading that begin with a path are the files of one project: heading -> path -> text. */
  const projects = new Map<string, Map<string, string>>()
  for (const { page, heading, text } of blocks) {
    const path = /^(?:#|--) ([\w/-]+\.(?:ya?ml|sql))\n/.exec(text)?.[1]
    if (page === 'README.md' && path) projects.set(heading, (projects.get(heading) ?? new Map<string, string>()).set(path, text))
  }

  it.each([...projects.keys()])('under "%s" is a project that loads', async (heading) => {
    const root = await mkdtemp(join(tmpdir(), 'cdp-sync-docs-'))
    const files = projects.get(heading)!
    for (const [path, text] of files) {
      await mkdir(dirname(join(root, path)), { recursive: true })
      await writeFile(join(root, path), text)
    }
    const url = 'http://127.0.0.1:1/'
    const secret = `whsec_${Buffer.alloc(32).toString('base64')}`
    const environ = {
      DATABASE_URL: 'postgres://u@h/d',
      CRM_URL: url,
      WEBHOOK_URL: url,
      CRM_SECRET: secret,
      HUBSPOT_TOKEN: 'pat-na1-example',
    }
    const project = await loadProject({ root, env: undefined, vars: undefined, environ })
    await rm(root, { recursive: true })
    expect(project.syncs.map((it) => it.file)).toEqual([...files.keys()].filter((it) => it.startsWith('syncs/')))
  })

  it('makes two projects in the README', () => {
    expect(projects.size).toBe(2)
  })
})

describe('the connector in CONTRIBUTING.md', () => {
  it('loads, and does what it says', async () => {
    const { text } = blocks.find((it) => it.page === 'CONTRIBUTING.md' && it.language === 'ts')!
    const { root, remove } = await writeProject({ 'connectors/notes.ts': text })
    const { stdout } = await cli(['connectors'], { cwd: root })
    expect(stdout).toMatch(/notes +note +upsert,mirror +match \(all\)/)
    await remove()
  })
})

const slug = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replaceAll(' ', '-')

describe('links', () => {
  it('lead to files and headings that are there', () => {
    const broken: string[] = []
    for (const page of PAGES) {
      for (const [, target = ''] of read(page)
        .replace(/```.*?```/gs, '')
        .matchAll(/\]\(((?!https?:)[^)\s]+)\)/g)) {
        const [path = '', anchor] = target.split('#')
        const file = path === '' ? join(repository, page) : join(repository, dirname(page), path)
        if (!existsSync(file)) broken.push(`${page}: ${target}`)
        else if (
          anchor !== undefined &&
          ![...readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm)].some(([, it = '']) => slug(it) === anchor)
        )
          broken.push(`${page}: ${target}`)
      }
    }
    expect(broken).toEqual([])
  })

  it('in the architecture name files and tests that are there', () => {
    for (const [, path = ''] of read('docs/ARCHITECTURE.md').matchAll(/`((?:src|test|connectors)\/[\w./*-]+)`/g))
      expect(existsSync(join(repository, path.replace(/\/?\*$/, ''))), path).toBe(true)
  })
})

describe('generated pages', () => {
  it('explain every code, once: else run `npm run docs`', () => {
    expect(readFileSync(ERRORS_PAGE, 'utf8')).toBe(errorsPage())
    const sources = readdirSync(join(repository, 'src'), { recursive: true, encoding: 'utf8' }).filter((it) => it.endsWith('.ts'))
    const used = new Set(sources.flatMap((it) => read(join('src', it)).match(/(?<=')CDP\d{4}(?=')/g) ?? []))
    const explained = new Set([...errorsPage().matchAll(/^## (CDP\d{4}) /gm)].map(([, code]) => code))
    expect([...used].filter((it) => !explained.has(it)).sort()).toEqual([])
  })

  it('show what the demo shows today: else run `npm run docs`', async () => {
    expect(readFileSync(README, 'utf8')).toBe(await readmePage())
  }, 180_000)
})
