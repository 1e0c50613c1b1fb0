/** What every command is given: the global flags, redacted output, and the project, loaded when it is first asked for. */
import { availableParallelism } from 'node:os'
import type { Project, Sync } from '../config/types.ts'
import { DEFAULT_OPTIONS, type RunContext, type RunEvent } from '../context.ts'
import { CdpError, nearest } from '../errors.ts'
import { duration, many, paint, type Colour, type Style } from '../render/text.ts'
import { Interrupt, type Failure } from '../schedule.ts'
import { errorText } from './errors.ts'
import type { Io, Out } from './io.ts'

export interface Globals {
  cwd?: string
  env?: string
  var?: Record<string, string>
  quiet?: boolean
  color?: boolean
  input?: boolean
  logFormat?: 'text' | 'json'
  debug?: boolean
}

export interface Session {
  readonly io: Io
  readonly globals: Globals
  readonly signal: AbortSignal
  readonly debug: boolean
  /** May ask questions. */
  readonly interactive: boolean
  /** Takes the project's secrets out of a text; print, say and complain do it by themselves. */
  readonly redact: (text: string) => string
  /** Data, to stdout. */
  readonly print: (text: string) => void
  /** About the work, to stderr; not with --quiet. One line, without its end. */
  say(line: string, colour?: Colour): void
  /** Errors, to stderr, always. */
  complain(error: unknown): void
  /** What went wrong beyond what the records say: bugs, and with --debug every stack. */
  complainOf(failures: readonly Failure[]): void
  /** For stdout. `showValues` is the flag; on a terminal values are shown anyway. */
  style(showValues?: boolean): Style
  project(): Promise<Project>
  /** The sync of this name, enabled or not. */
  sync(name: string): Promise<{ project: Project; sync: Sync }>
  /** For engine functions outside the schedule. */
  context(more?: Partial<RunContext>): RunContext
  readonly trace: ((line: string) => void) | null
}

export function newSession(io: Io, globals: Globals): Session & { stop(): void } {
  const controller = new AbortController()
  const debug = globals.debug === true || io.env['CDP_SYNC_DEBUG'] === '1'
  let redact = plain
  let loaded: Promise<Project> | undefined
  const toErr = (text: string): void => io.stderr.write(redact(text))
  const json = globals.logFormat === 'json'
  const log = (level: string, fields: object): void =>
    toErr(JSON.stringify({ time: new Date(io.now()).toISOString(), level, ...fields }) + '\n')
  const colour = (out: Out): boolean => wantsColour(out, io, globals)
  const stop = listen(io, controller, (line) => (json ? log('warn', { message: line }) : toErr(`${io.stderr.isTTY ? '\n' : ''}${line}\n`)))
  const trace = debug ? (line: string): void => (json ? log('debug', { message: line }) : toErr(`debug: ${line}\n`)) : null

  async function load(): Promise<Project> {
    const [{ findRoot }, { loadProject }, { createRedactor }] = await Promise.all([
      import('../config/find.ts'),
      import('../config/load.ts'),
      import('../redact.ts'),
    ])
    const root = findRoot(io.cwd, globals.cwd)
    const project = await loadProject({ root, env: globals.env, vars: globals.var, environ: io.env })
    redact = createRedactor(project.secrets)
    io.enter?.(project.root)
    for (const warning of project.warnings) session.say(`warning: ${warning}`, 'yellow')
    return project
  }

  const session: Session & { stop(): void } = {
    io,
    globals,
    signal: controller.signal,
    debug,
    interactive: globals.input !== false && io.stdinTTY && io.stderr.isTTY && !isCi(io),
    redact: (text) => redact(text),
    print: (text) => io.stdout.write(redact(text)),
    say: (line, tone) => {
      if (globals.quiet) return
      if (json) log('info', { message: line })
      else toErr((tone ? paint({ colour: colour(io.stderr) }, tone, line) : line) + '\n')
    },
    complain: (error) => {
      if (json && error instanceof CdpError)
        log('error', { code: error.code, message: error.message, where: error.where, hint: error.hint })
      else toErr(errorText(error, { colour: colour(io.stderr), debug, values: io.stderr.isTTY }))
    },
    complainOf: (failures) => {
      for (const { error } of failures) if (debug || !(error instanceof CdpError)) session.complain(error)
    },
    style: (showValues = false) => ({ colour: colour(io.stdout), width: io.stdout.columns, showValues: showValues || io.stdout.isTTY }),
    project: () => (loaded ??= load()),
    async sync(name) {
      const project = await session.project()
      const sync = project.syncs.find((it) => it.name === name)
      if (sync) return { project, sync }
      const near = nearest(
        name,
        project.syncs.map((it) => it.name),
      )
      throw new CdpError('CDP5010', `There is no sync "${name}".`, {
        hint: near ? `Did you mean "${near}"?` : 'cdp-sync status lists them.',
      })
    },
    context: (more = {}) => ({
      options: DEFAULT_OPTIONS,
      signal: controller.signal,
      now: io.now,
      random: io.random,
      report: () => undefined,
      memory: 512 * 1024 * 1024,
      threads: availableParallelism(),
      upsertsEnded: () => undefined,
      beforeRemovals: () => Promise.resolve(),
      trace,
      ...more,
    }),
    trace,
    stop,
  }
  return session
}

/** First signal: a clean stop. Second: out at once; the state is safe at every step. */
function listen(io: Io, controller: AbortController, say: (line: string) => void): () => void {
  return io.onSignal((signal) => {
    const stop = new Interrupt(signal)
    if (controller.signal.aborted) return io.exit(stop.exitCode)
    say('Stopping: no new requests; waiting for those in flight. Once more to stop at once.')
    controller.abort(stop)
  })
}

const plain = (text: string): string => text

export function isCi(io: Io): boolean {
  return Boolean(io.env['CI']) && io.env['CI'] !== 'false'
}

/** Per stream: a terminal has colour unless told not to; FORCE_COLOR gives it to a pipe. */
function wantsColour(out: Out, { env }: Io, { color }: Globals): boolean {
  if (color === false || env['NO_COLOR']) return false
  if (env['FORCE_COLOR'] && env['FORCE_COLOR'] !== '0') return true
  return out.isTTY && env['TERM'] !== 'dumb'
}

const PHASES = {
  open: 'connecting',
  recover: 'recovering',
  stage: 'reading',
  diff: 'comparing',
  deliver: 'sending',
  commit: 'recording',
} as const

/** `still sending: 40,000 of 120,000 rows, 1 min 20 s`. */
export function progressText(event: Extract<RunEvent, { type: 'phase' | 'progress' }>, seconds: number): string {
  const phase = PHASES[event.phase]
  if (event.type === 'phase' || (event.total === null && event.done === 0)) return `${phase}, ${duration(seconds)}`
  const done =
    event.total === null
      ? many(Math.ceil(event.done / 1e6), 'MB', 'MB')
      : `${event.done.toLocaleString('en-US')} of ${many(event.total, 'row')}`
  return `${phase}: ${done}, ${duration(seconds)}`
}
