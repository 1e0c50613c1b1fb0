/** The journal of a run where others reach it: a part with each intent before its batches go out, outcomes every second or two. */
import { step } from '../crash.ts'
import type { JournalNote } from './carry.ts'
import type { JobRow, JournalRow, JournalSink } from './outbox.ts'

/** Milliseconds after which outcomes are stored, when no intent took them along. */
const OUTCOMES_WITHIN = 1_500

/** Rows of one part: a statement that carries it stays below 1 MB, which is all that Snowflake takes. */
const ROWS = 1_000

function* parts({ rows, jobs }: JournalNote): Generator<string> {
  for (let from = 0; from === 0 || from < rows.length; from += ROWS)
    yield JSON.stringify({ rows: rows.slice(from, from + ROWS), jobs: from === 0 ? jobs : [] } satisfies JournalNote)
}

/** `put` makes a part durable under a number that no part of this run had before. */
export function journalSink(put: (number: number, text: string) => Promise<void>, alive: () => void): JournalSink {
  let rows: JournalRow[] = []
  let jobs: JobRow[] = []
  let number = 0
  let timer: NodeJS.Timeout | undefined
  /** One upload at a time: whoever waits for a later one has waited for all before it. */
  let line: Promise<void> = Promise.resolve()

  const upload = async (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    if (rows.length === 0 && jobs.length === 0) return
    const taken: JournalNote = { rows, jobs }
    rows = []
    jobs = []
    try {
      for (const part of parts(taken)) {
        alive()
        // A new number each time: a write that was given up may still arrive, and must not come over a later one.
        await put(++number, part)
      }
      step('journal-stored')
    } catch (error) {
      rows = [...taken.rows, ...rows]
      jobs = [...taken.jobs, ...jobs]
      throw error
    }
  }
  const store = (): Promise<void> => {
    const next = line.then(upload)
    line = next.catch(() => undefined)
    return next
  }
  return {
    add(more, tokens) {
      rows.push(...more)
      jobs.push(...tokens)
      // What fails here fails again with the next intent, and then the delivery ends.
      timer ??= setTimeout(() => void store().catch(() => undefined), OUTCOMES_WITHIN).unref()
    },
    store,
    close: () => clearTimeout(timer),
  }
}
