/** Runs the command line inside the test's process, with streams that remember. */
import { main } from '../../src/cli/main.ts'
import type { Io } from '../../src/cli/io.ts'

export interface Ran {
  code: number
  stdout: string
  stderr: string
}

export interface Terminal {
  readonly io: Io
  readonly signal: (name: 'SIGINT' | 'SIGTERM') => void
  readonly exits: number[]
  readonly read: () => { stdout: string; stderr: string }
}

export function terminal(more: Partial<Io> & { tty?: boolean; answers?: string[] } = {}): Terminal {
  const { tty = false, answers = [], ...rest } = more
  const written = { stdout: '', stderr: '' }
  const out = (name: 'stdout' | 'stderr') => ({
    write: (text: string) => void (written[name] += text),
    isTTY: tty,
    columns: 100,
    closed: false,
  })
  let heard: ((name: 'SIGINT' | 'SIGTERM') => void) | null = null
  const exits: number[] = []
  const answer = () => {
    const next = answers.shift()
    if (next === undefined) throw new Error('a question that the test does not expect')
    return Promise.resolve(next)
  }
  const io: Io = {
    stdout: out('stdout'),
    stderr: out('stderr'),
    stdinTTY: tty,
    // bars are drawn on the real stderr only
    env: tty ? { TERM: 'dumb' } : {},
    cwd: process.cwd(),
    now: Date.now,
    random: Math.random,
    onSignal: (callback) => {
      heard = callback
      return () => {
        heard = null
      }
    },
    exit: (code) => void exits.push(code),
    ask: { text: answer, choose: answer },
    ...rest,
  }
  return { io, exits, signal: (name) => heard?.(name), read: () => ({ ...written }) }
}

export async function cli(argv: string[], more: Parameters<typeof terminal>[0] = {}): Promise<Ran> {
  const { io, read } = terminal(more)
  const code = await main(argv, io)
  return { code, ...read() }
}
