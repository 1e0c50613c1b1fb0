/** What databases that keep states say, as errors a user can act on. */
import { AuthError, CdpError } from '../../errors.ts'

/** `state` is the SQLSTATE where there is one. Messages of databases name tables and columns; what quotes values is hidden. */
export function stateError(address: string, message: string, state: string | undefined, cause: unknown): CdpError {
  const said = `${address}, which keeps the state, said: ${message.split('\n', 1)[0]?.replaceAll(/'[^']*'/g, "'(hidden)'")}`
  if (state === '42501' || /permission denied|not authorized|insufficient privileges/i.test(message))
    return new AuthError('CDP4041', said, {
      hint: '`cdp-sync grants` prints what an administrator must grant, in which schema; the role that only plans can not run. Nothing more was sent.',
      cause,
    })
  if (
    state === '42P01' ||
    state === '3F000' ||
    /^(Catalog|Binder) Error: .*(does not exist|not found)|Object '.*' does not exist/.test(message)
  )
    return new CdpError('CDP4042', said, {
      hint: 'The first `cdp-sync run` makes the tables; `cdp-sync grants` prints what it needs to do so.',
      cause,
    })
  return new CdpError('CDP4040', said, { hint: hintOf(state), cause })
}

/** The schema or its tables do not exist. */
export const isMissing = (error: unknown): boolean => error instanceof CdpError && error.code === 'CDP4042'

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
function hintOf(state: string | undefined): string {
  switch (state) {
    case '25006':
      return 'It only reads: a standby, or a role whose transactions only read. Name the primary, and a role that may write.'
    case '55P03':
      return 'Another session holds rows of the state, a run that stands still, say: the server ends it within ten minutes. Run again then.'
    case '53100':
      return 'Its disk is full. What was confirmed and stored is not sent twice: run again when it has room.'
    case undefined:
    default:
      return 'What was confirmed and stored is not sent twice: run again when the database answers.'
  }
}

/** The schema that `state:` names is not there, and the role may not make it. */
export const noSchema = (address: string, schema: string, cause: unknown): AuthError =>
  new AuthError('CDP4041', `${address} has no schema ${schema}, and this role may not make one.`, {
    hint: 'If the name in `state: { schema: … }` is misspelt, correct it; if not, `cdp-sync grants` prints what an administrator must run.',
    cause,
  })
