/** The command line: flags in, exit code out. The one place where an error becomes an exit code. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Command, CommanderError, Option } from 'commander'
import { EXIT } from '../errors.ts'
import { exitCodeFor } from '../schedule.ts'
import { VERSION } from '../version.ts'
import { adoptTargetCommand, baselineCommand, renameCommand } from './adopt.ts'
import { connectorsCommand } from './connectors.ts'
import { demoCommand } from './demo.ts'
import { errorText } from './errors.ts'
import { grantsCommand } from './grants.ts'
import { historyCommand } from './history.ts'
import { initCommand } from './init.ts'
import { Cancelled, type Io } from './io.ts'
import { parseVar, type Act } from './options.ts'
import { planCommand } from './plan.ts'
import { rejectedCommand } from './rejected.ts'
import { resetCommand } from './reset.ts'
import { runCommand } from './run.ts'
import { sandboxCommand } from './sandbox.ts'
import { schemaCommand } from './schema.ts'
import { newSession, type Globals } from './session.ts'
import { resolveCommand, retryCommand } from './settle.ts'
import { stateCommand } from './state.ts'
import { statusCommand } from './status.ts'
import { validateCommand } from './validate.ts'
import { whyCommand } from './why.ts'

/** In the order of the help. */
const COMMANDS = [
  initCommand,
  validateCommand,
  planCommand,
  runCommand,
  statusCommand,
  historyCommand,
  rejectedCommand,
  retryCommand,
  resolveCommand,
  whyCommand,
  baselineCommand,
  renameCommand,
  adoptTargetCommand,
  resetCommand,
  stateCommand,
  grantsCommand,
  connectorsCommand,
  schemaCommand,
  sandboxCommand,
  demoCommand,
]

/** Runs one command. `argv` is without node and script. Never throws. */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  let exitCode: number = EXIT.ok
  const program = newProgram(io)
  const act: Act =
    (work) =>
    async (...args) => {
      const session = newSession(io, program.opts<Globals>())
      try {
        exitCode = (await work(session, ...args)) ?? EXIT.ok
      } catch (error) {
        exitCode = exitOfThrown(error)
        if (!(error instanceof Cancelled)) session.complain(error)
      } finally {
        session.stop()
      }
    }
  for (const register of COMMANDS) register(program, act)
  for (const command of program.commands) command.configureHelp(program.configureHelp()).showHelpAfterError('(run with --help for usage)')
  if (argv.length === 0) {
    program.outputHelp()
    return EXIT.ok
  }
  try {
    await program.parseAsync([...argv], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.error
    io.stderr.write(errorText(error, { colour: false, debug: false, values: false }))
    return exitCodeFor(error)
  }
  return exitCode
}

function exitOfThrown(error: unknown): number {
  return error instanceof Cancelled ? EXIT.sigint : exitCodeFor(error)
}

function newProgram(io: Io): Command {
  const program = new Command('cdp-sync')
  program
    .description('Sends what changed in your warehouse to the tools your business runs on.')
    .option('-C, --cwd <dir>', 'the project folder (default: here or the nearest parent with cdp-sync.yaml)')
    .option('--env <name>', 'which of `environments` (or CDP_SYNC_ENV)')
    .addOption(new Option('--var <name=value>', 'set ${var:name} (repeatable)').argParser(parseVar))
    .option('-q, --quiet', 'no progress and no notes; errors stay')
    .option('--no-color', 'no colours (or NO_COLOR)')
    .option('--no-input', 'never ask')
    .addOption(new Option('--log-format <format>', 'how stderr is written').choices(['text', 'json']))
    .option('--debug', 'stacks and a trace of requests (or CDP_SYNC_DEBUG=1)')
    .option('--version', 'versions of cdp-sync, Node and DuckDB')
    .on('option:version', () => {
      io.stdout.write(versionText())
      throw new CommanderError(0, 'commander.version', VERSION)
    })
    .addHelpText('after', EXIT_CODES)
    .exitOverride()
    .showSuggestionAfterError()
    .showHelpAfterError('(run with --help for usage)')
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => io.stdout.columns,
      getErrHelpWidth: () => io.stderr.columns,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
  return program
}

const EXIT_CODES = `
Examples:
  cdp-sync init                     a first project
  cdp-sync plan                     what would be sent, and where to
  cdp-sync run crm-contacts         send it
  cdp-sync run tag:hourly --json    from cron

Exit codes: 0 ok, 1 error, 2 plan --detailed-exitcode found changes, 3 rows did not arrive,
4 login refused, 5 a guard refused, 6 locked, 130/143 interrupted.`

/** `cdp-sync 0.1.0 (node v20.20.2, duckdb 1.5.6)`. */
function versionText(): string {
  return `cdp-sync ${VERSION} (node ${process.version}, duckdb ${duckdbVersion()})\n`
}

/** Read from its package: loading the library for a version would take longer than everything else here. */
function duckdbVersion(): string {
  try {
    const entry = createRequire(import.meta.url).resolve('@duckdb/node-api')
    const { version } = JSON.parse(readFileSync(join(dirname(entry), '..', 'package.json'), 'utf8')) as { version: string }
    return version.replace(/-r\.\d+$/, '')
  } catch {
    return 'unknown'
  }
}
