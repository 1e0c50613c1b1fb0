/** What a person sees while syncs run: bars on a terminal, else a line every 10 s; or every event as JSON. */
import type { MultiBar, SingleBar } from 'cli-progress'
import type { RunEvent } from '../context.ts'
import { eventJson } from '../render/json.ts'
import { printable } from '../render/text.ts'
import { isCi, progressText, type Session } from './session.ts'

/** Between two lines of one sync off a terminal, in milliseconds. */
const EVERY = 10_000
/** Between two progress events of one sync in JSON. */
const JSON_EVERY = 1000

export interface Watch {
  readonly report: (event: RunEvent) => void
  readonly end: () => void
}

export async function watch(session: Session, showValues: boolean): Promise<Watch> {
  const { io, globals } = session
  if (globals.logFormat === 'json')
    return jsonEvents(session, (text) => io.stderr.write(session.redact(text)), showValues || io.stderr.isTTY)
  if (globals.quiet) return { report: () => undefined, end: () => undefined }
  // A trace and bars would overwrite each other.
  if (io.stderr.isTTY && !session.debug && !isCi(io) && io.env['TERM'] !== 'dumb') return bars(session)
  return plainLines(session)
}

/** Every event on a line of its own; progress at most once a second for each sync. */
export function jsonEvents(session: Session, write: (text: string) => void, showValues: boolean): Watch {
  const last = new Map<string, number>()
  return {
    report: (event) => {
      const now = session.io.now()
      if (event.type === 'progress') {
        if (now - (last.get(event.sync) ?? -Infinity) < JSON_EVERY) return
        last.set(event.sync, now)
      }
      write(eventJson(event, new Date(now).toISOString(), showValues))
    },
    end: () => undefined,
  }
}

interface Line {
  began: number
  told: number
}

function plainLines(session: Session): Watch {
  const syncs = new Map<string, Line>()
  const lineOf = (sync: string): Line => {
    const now = session.io.now()
    const line = syncs.get(sync) ?? { began: now, told: now }
    syncs.set(sync, line)
    return line
  }
  return {
    report: (event) => {
      if (event.type === 'started') session.say(`${event.sync}: started, run ${event.run}`)
      if (event.type === 'note') session.say(`${event.sync}: ${printable(event.message)}`, event.level === 'warn' ? 'yellow' : undefined)
      const line = lineOf(event.sync)
      if (event.type !== 'phase' && event.type !== 'progress') return
      const now = session.io.now()
      if (now - line.told < EVERY) return
      line.told = now
      session.say(`${event.sync}: still ${progressText(event, (now - line.began) / 1000)}`)
    },
    end: () => undefined,
  }
}

/** Bars need a stream with cursor methods: the real stderr. Notes go above them. */
async function bars(session: Session): Promise<Watch> {
  const { default: progress } = await import('cli-progress')
  const format = '{sync}  {bar}  {text}'
  const shared = { format, hideCursor: true, clearOnComplete: true, stopOnComplete: false, barsize: 24, autopadding: true }
  const multi: MultiBar = new progress.MultiBar({ ...shared, stream: process.stderr }, progress.Presets.legacy)
  const syncs = new Map<string, { bar: SingleBar; began: number }>()
  return {
    report: (event) => {
      const { sync } = event
      if (event.type === 'ended') {
        const own = syncs.get(sync)
        if (own) multi.remove(own.bar)
        syncs.delete(sync)
        return
      }
      const now = session.io.now()
      const own = syncs.get(sync) ?? { bar: multi.create(1, 0, { sync, text: 'starting' }), began: now }
      syncs.set(sync, own)
      if (event.type === 'note') multi.log(session.redact(`${sync}: ${printable(event.message)}\n`))
      if (event.type !== 'phase' && event.type !== 'progress') return
      const total = event.type === 'progress' ? event.total : null
      own.bar.setTotal(total ?? 1)
      own.bar.update(event.type === 'progress' && total !== null ? event.done : 0, { text: progressText(event, (now - own.began) / 1000) })
    },
    end: () => multi.stop(),
  }
}
