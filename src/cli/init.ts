/** `cdp-sync init`: a project that validates, from a few answers. Never overwrites a file. */
import { access, appendFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { Option, type Command } from 'commander'
import { CdpError } from '../errors.ts'
import type { Act } from './options.ts'
import { SCHEMA_FILES, SCHEMA_FOLDER, writeSchemas } from './schema.ts'
import type { Session } from './session.ts'

interface Flags {
  warehouse?: 'postgres' | 'duckdb'
  url?: string
  path?: string
  destinationUrl?: string
  model?: string
  key?: string
  template?: string
}

export function initCommand(program: Command, act: Act): void {
  program
    .command('init')
    .description('write a first project: asks on a terminal, else takes flags')
    .argument('[folder]', 'where to put it', '.')
    .addOption(new Option('--warehouse <type>', 'where models are queried').choices(['postgres', 'duckdb']))
    .option('--url <url>', 'postgres: connection URL; goes to .env, not to the YAML')
    .option('--path <file>', 'duckdb: database file')
    .option('--destination-url <url>', 'where the webhook destination posts; goes to .env')
    .option('--model <sql>', 'the query whose rows are to be delivered')
    .option('--key <column>', 'the column that identifies a row')
    .option('--template <name>', 'a ready project instead: demo')
    .action(act(async (session, folder: string, flags: Flags) => init(session, folder, flags)))
}

type Answers = Required<Pick<Flags, 'warehouse' | 'destinationUrl' | 'model' | 'key'>> & { source: string }

async function init(session: Session, folder: string, flags: Flags): Promise<number> {
  const root = resolve(session.io.cwd, session.globals.cwd ?? '.', folder)
  if (flags.template !== undefined) {
    const { writeTemplate } = await import('./demo.ts')
    return writeTemplate(session, flags.template, root)
  }
  const files = filesOf(await answers(session, flags), root)
  const there: string[] = []
  for (const path of files.keys()) if (await exists(join(root, path))) there.push(path)
  if (there.length > 0) {
    throw new CdpError('CDP5031', `${there.join(', ')} ${there.length === 1 ? 'is' : 'are'} there already, and init overwrites nothing.`, {
      where: root,
      hint: 'Choose an empty folder: cdp-sync init FOLDER.',
    })
  }
  for (const [path, text] of files) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text, { flag: 'wx', mode: path === '.env' ? 0o600 : 0o666 })
    session.print(`${path}\n`)
  }
  if (await ignore(join(root, '.gitignore'))) session.print('.gitignore\n')
  await writeSchemas(join(root, SCHEMA_FOLDER))
  const go = relative(session.io.cwd, root) === '' ? '' : `cd ${relative(session.io.cwd, root)} && `
  session.say(`Next: ${go}cdp-sync validate --live, then cdp-sync plan.`)
  return 0
}

async function answers(session: Session, flags: Flags): Promise<Answers> {
  const missing: string[] = []
  const ask = async (flag: string, given: string | undefined, message: string, initial?: string): Promise<string> => {
    if (given !== undefined) return given
    if (session.interactive) return (await session.io.ask.text(message, initial)).trim()
    missing.push(flag)
    return ''
  }
  const choose = async (): Promise<'postgres' | 'duckdb'> => {
    if (flags.warehouse) return flags.warehouse
    if (session.interactive)
      return (await session.io.ask.choose('Where are models queried?', ['postgres', 'duckdb'])) as 'postgres' | 'duckdb'
    missing.push('--warehouse postgres|duckdb')
    return 'postgres'
  }
  const warehouse = await choose()
  const source =
    warehouse === 'postgres'
      ? await ask('--url URL', flags.url, 'Its URL (goes to .env)', 'postgres://user:password@localhost:5432/database')
      : await ask('--path FILE', flags.path, 'Its database file', 'warehouse.duckdb')
  const model = await ask('--model SQL', flags.model, 'The query whose rows are to be delivered', 'select id, email, plan from users')
  const key = await ask('--key COLUMN', flags.key, 'The column that identifies a row', 'id')
  const destinationUrl = await ask(
    '--destination-url URL',
    flags.destinationUrl,
    'Where to post changes (goes to .env)',
    'http://localhost:8080/',
  )
  if (missing.length > 0) throw new CdpError('CDP5032', `init can't ask here; it needs ${missing.join(', ')}.`)
  return { warehouse, source, model, key, destinationUrl }
}

const schema = (file: string, from: string): string => `# yaml-language-server: $schema=${from}${SCHEMA_FOLDER}/${file}\n`

/** Path -> text. Strings go into YAML and .env quoted, whatever they hold. */
function filesOf({ warehouse, source, model, key, destinationUrl }: Answers, root: string): Map<string, string> {
  const connection = warehouse === 'postgres' ? 'url: ${env:DATABASE_URL}' : `path: ${JSON.stringify(source)}`
  const project = `${schema(SCHEMA_FILES.project, '')}warehouses:
  main:
    type: ${warehouse}
    ${connection}
destinations:
  app:
    type: webhook
    url: \${env:DESTINATION_URL}
`
  const sync = `${schema(SCHEMA_FILES.sync, '../')}# Sends every column of the model to \`app\`; see \`cdp-sync plan\` before the first run.
model:
  file: models/example.sql
  key: ${JSON.stringify(key)}
destination: app
mode: upsert # mirror also removes what left the model
fields:
  "*": {} # or one by one: destination_field: column
`
  const env = [...(warehouse === 'postgres' ? [`DATABASE_URL=${quoteEnv(source)}`] : []), `DESTINATION_URL=${quoteEnv(destinationUrl)}`]
  return new Map([
    ['cdp-sync.yaml', project],
    ['syncs/example.yaml', sync],
    ['models/example.sql', `-- The rows ${basename(root)} wants at the destination.\n${model.replace(/;\s*$/, '')}\n`],
    ['.env', env.join('\n') + '\n'],
  ])
}

/** The quotes of .env files have no escapes: the first kind that the value does not hold. */
function quoteEnv(value: string): string {
  const quote = [`'`, '"', '`'].find((it) => !value.includes(it))
  if (quote === undefined || value.includes('\n'))
    throw new CdpError('CDP5033', "A URL with line breaks or all kinds of quotes can't be written to .env.")
  return quote + value + quote
}

/** Adds what must not be committed; leaves what is there as it is. */
async function ignore(path: string): Promise<boolean> {
  const text = await readFile(path, 'utf8').catch(() => '')
  const lines = text.split(/\r?\n/)
  const missing = ['.cdp-sync/', '.env'].filter((it) => !lines.includes(it))
  if (missing.length === 0) return false
  await appendFile(path, (text === '' || text.endsWith('\n') ? '' : '\n') + missing.join('\n') + '\n')
  return true
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
