/** Recovery: what a killed run recorded is folded into the snapshot, whatever today's configuration says. */
import { step } from './crash.ts'
import { Refused } from './connector.ts'
import { toChange } from './deliver/batch.ts'
import { CdpError } from './errors.ts'
import type { Session } from './open.ts'
import { createRedactor } from './redact.ts'
import type { Reporter } from './report.ts'
import { recoverFold } from './state/fold.ts'
import { readMemory } from './state/local.ts'
import { jobRows, openOutbox } from './state/outbox.ts'
import { lit } from './state/db.ts'
import type { Header } from './state/header.ts'

/** A vendor's job is asked for its outcomes within this time; after it they are unknown. */
const JOB_LIFETIME = 86_400_000

/** Folds an unfinished run; with `--full-refresh` everything is uncertain after it. Gives the session as it is then. */
export async function recover(session: Session, report: Pick<Reporter, 'recovered'>): Promise<Session> {
  const { header } = session.memory
  if (header === null) return session
  session.context.report({ type: 'phase', sync: session.sync.name, phase: 'recover' })
  await resumeJobs(session, header)
  step('recovering')
  const { uncertain } = await recoverFold(session.state.db, header)
  // From here on the killed run is part of the snapshot, for whoever goes on after this one.
  await session.hold.store(session.state, false)
  report.recovered(uncertain)
  return { ...session, memory: await readMemory(session.state.db), unfinished: { uncertain } }
}

/** Outcomes of jobs that the killed run began; a job of another target is nobody's to ask. */
async function resumeJobs(session: Session, header: Header): Promise<void> {
  const { destination, state, context, target } = session
  if (!destination.resume || header.target !== target) return
  const since = new Date(context.now() - JOB_LIFETIME).toISOString().replace('T', ' ').replace('Z', '')
  const jobs = await state.db.rows<{ token: string; numbers: number[] }>(
    `SELECT token, numbers FROM state.jobs WHERE noted_at > ${lit(since)}::TIMESTAMP ORDER BY noted_at`,
  )
  if (jobs.length === 0) return
  const outbox = await openOutbox(state.db, header, context.now, createRedactor(session.project.secrets), null)
  try {
    for (const { token, numbers } of jobs) {
      const rows = await jobRows(state.db, header, numbers)
      const [first] = rows
      if (!first) continue
      const number = new Map(rows.map((row) => [row.key, row.n]))
      const batch = { sync: header.sync, run: header.run, object: header.object, op: first.op, changes: rows.map(toChange) }
      try {
        for await (const { key, ...outcome } of destination.resume(token, batch)) {
          const n = number.get(key)
          if (n !== undefined) outbox.record({ n, ...outcome })
        }
      } catch (error) {
        // A job that can't be asked leaves its rows unknown; a login that fails ends the run before anything is folded.
        if (error instanceof CdpError && error.exitCode === 4) throw error
        context.report({
          type: 'note',
          sync: session.sync.name,
          level: 'warn',
          message: `a job of the last run can't be resumed (${error instanceof Refused ? error.code : 'no answer'}): its rows are unknown`,
        })
      }
    }
    await outbox.flush()
  } finally {
    outbox.close()
  }
}
