/** The row that says who has a sync: one per state, written only over the version that was read. */
import { CdpError } from '../../errors.ts'
import type { Note } from '../bucket.ts'
import type { LeaseCell, LeaseNote } from '../lease.ts'
import { table } from './carry.ts'
import type { Sql } from './sql.ts'
import { SCOPE_COLUMNS, scopeValues, within } from './tables.ts'
import type { Scope } from './tables.ts'

export function leaseCell(sql: Sql, scope: Scope): LeaseCell {
  const { dialect } = sql
  const leases = table(sql, scope, 'leases')
  const own = within(dialect, scope)
  const read = async (): Promise<Note<LeaseNote> | null> => {
    const [row] = await sql.rows<{ version: number; written: number; note: string; now: number }>(
      `SELECT version, written, note, ${dialect.now} AS now FROM ${leases} WHERE ${own}`,
    )
    return row ? { value: JSON.parse(row.note) as LeaseNote, etag: String(row.version), writtenAt: row.written, readAt: row.now } : null
  }
  return {
    where: `${sql.address}, ${leases}`,
    // The file is locked to write by the process that has it open, whether or not it stands still.
    exclusive: dialect.name === 'duckdb',
    read,
    async replace(note, version) {
      const text = dialect.lit(JSON.stringify(note))
      const written =
        version === null
          ? await sql.insertNew(
              leases,
              `${SCOPE_COLUMNS}, fence, version, written, note`,
              `${scopeValues(dialect, scope)}, ${note.fence}, 1, ${dialect.now}, ${text}`,
              own,
            )
          : await sql.run(
              `UPDATE ${leases} SET fence = ${note.fence}, version = version + 1, written = ${dialect.now}, note = ${text} WHERE ${own} AND version = ${version}`,
            )
      return written === 1 ? String(Number(version ?? 0) + 1) : null
    },
    async prove() {
      // Where nothing keeps a second row out, two first runs at one moment would both have the sync.
      const [found] = await sql.rows<{ n: number }>(`SELECT count(*) AS n FROM ${leases} WHERE ${own}`)
      if (found?.n === 1) return
      await sql.run(`DELETE FROM ${leases} WHERE ${own}`)
      throw new CdpError('CDP4032', `Two runs took ${scope.sync} for the first time at one moment.`, { hint: 'Run again.' })
    },
  }
}
