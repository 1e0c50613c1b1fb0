/** What a destination is asked before anything is sent: its answer, or an error that tells a person what to do. */
import { failureOf } from './deliver/send.ts'
import { CdpError } from './errors.ts'

const HINTS = {
  refused: 'Compare the settings of the destination and the options of the sync with the account.',
  limited: 'Run again later.',
  not_sent: 'Check the address, the network and the proxy settings of this machine.',
  unknown: 'Run again when the service is up.',
}

/** Turns the contract's errors into CDP3201, logins into AuthError; anything else is a bug of the connector and passes. */
export async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (thrown) {
    if (thrown instanceof CdpError) throw thrown
    const failure = failureOf(thrown)
    if (failure.kind === 'bug') throw thrown
    if (failure.kind === 'auth') throw failure.error
    throw new CdpError('CDP3201', `The destination could not be asked what it is: ${failure.cause.message.replace(/\.?$/, '.')}`, {
      hint: HINTS[failure.kind],
      cause: thrown,
    })
  }
}
