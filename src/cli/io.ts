/** Everything a command touches outside: streams, environment, time, chance, signals, questions. Tests bring their own. */

export interface Out {
  write(text: string): void
  readonly isTTY: boolean
  readonly columns: number
  /** The reader went away (`| head`); what is written is dropped. */
  readonly closed: boolean
}

export interface Ask {
  text(message: string, initial?: string): Promise<string>
  choose(message: string, choices: readonly string[]): Promise<string>
}

export interface Io {
  readonly stdout: Out
  readonly stderr: Out
  readonly stdinTTY: boolean
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** Goes to the project's folder: DuckDB looks for a model's relative file where the process is, and only then in the project. */
  readonly enter?: (folder: string) => void
  readonly now: () => number
  readonly random: () => number
  /** Calls back for each SIGINT and SIGTERM; gives the way to stop that. */
  readonly onSignal: (heard: (signal: 'SIGINT' | 'SIGTERM') => void) => () => void
  /** Ends the process at once. */
  readonly exit: (code: number) => void
  readonly ask: Ask
}

/** The user pressed Ctrl+C or Escape in a question. */
export class Cancelled extends Error {}

export function processIo(): Io {
  return {
    stdout: outOf(process.stdout),
    stderr: outOf(process.stderr),
    stdinTTY: isTerminal(process.stdin),
    env: process.env,
    cwd: process.cwd(),
    enter: (folder) => process.chdir(folder),
    now: Date.now,
    random: Math.random,
    onSignal: (heard) => {
      process.on('SIGINT', heard)
      process.on('SIGTERM', heard)
      return () => void process.off('SIGINT', heard).off('SIGTERM', heard)
    },
    exit: (code) => process.exit(code),
    ask: promptUser,
  }
}

/** Node leaves the property out where its type says boolean. */
function isTerminal(stream: { readonly isTTY?: boolean }): boolean {
  return stream.isTTY ?? false
}

function outOf(stream: NodeJS.WriteStream): Out {
  let closed = false
  // A reader that left is no error, and a run goes on without one: half a delivery helps nobody.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    closed = true
  })
  return {
    write: (text) => void (closed || stream.write(text)),
    isTTY: isTerminal(stream),
    get columns() {
      // 0 where a terminal does not say; too narrow a text is no text.
      return Math.max(40, stream.columns || 100)
    },
    get closed() {
      return closed
    },
  }
}

/** Questions go to stderr: stdout is for data. */
const promptUser: Ask = {
  async text(message, initial) {
    const { isCancel, text } = await import('@clack/prompts')
    const answer = await text({ message, output: process.stderr, ...(initial === undefined ? {} : { initialValue: initial }) })
    if (isCancel(answer)) throw new Cancelled()
    return answer ?? ''
  },
  async choose(message, choices) {
    const { isCancel, select } = await import('@clack/prompts')
    const answer = await select({ message, output: process.stderr, options: choices.map((value) => ({ value })) })
    if (isCancel(answer)) throw new Cancelled()
    return answer
  },
}
