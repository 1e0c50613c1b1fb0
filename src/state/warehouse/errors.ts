/** What databases that keep states say, as errors a user can act on. */
import { AuthError, CdpError } from '../../errors.ts'

/** `state` is the SQLSTATE where there is one. Messages of databases name tables and columns; what quotes values is hidden. */
export function stateError(address: string, message: string, state: string | undefined, cause: unknown): CdpError {
  const said = `${address}, which keeps the state, said: ${message.split('\n', 1)[0]?.replaceAll(/'[^']*'/g, "'(hidden)'")}`
  if (state === '42501' || /permission denied|not authorized|insufficient privileges/i.test(message))
    return new AuthError('CDP4041', said, {
      hint: '`cdp-sync grants` prints what an administrator must grant. Nothing more was sent.',
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
  return new CdpError('CDP4040', said, {
    hint: 'What was confirmed and stored is not sent twice: run again when the database answers.',
    cause,
  })
}
