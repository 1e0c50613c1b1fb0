/** The errors that end a delivery. They name codes; what a service wrote in words is in the reasons, for it may quote values. */
import { CdpError } from '../errors.ts'
import type { Cause } from './batch.ts'

export const connectorBug = (error: unknown): CdpError =>
  error instanceof CdpError
    ? error
    : new CdpError(
        'CDP3300',
        `The connector failed while it wrote (${error instanceof Error ? error.name : typeof error}). This is a bug of the connector.`,
        {
          hint: 'Run again with --debug to see the stack. The rows of this request are sent again in the next run where a repeat does no harm.',
          cause: error,
        },
      )

export const refusedRequest = ({ code }: Cause): CdpError =>
  new CdpError('CDP3301', `The destination refuses every request alike (${code}), whichever rows it carries.`, {
    hint: 'Compare fields, object and options of the sync with the account (`cdp-sync validate --live`). No row counts as rejected.',
  })

export const tooManyRejected = (): CdpError =>
  new CdpError('CDP3302', 'More than half of the rows were rejected, so the rest was not sent.', {
    hint: 'See `cdp-sync rejected` for the reasons, correct the mapping or the model, then run again.',
  })

export const destinationDown = (): CdpError =>
  new CdpError('CDP3303', 'The destination did not answer 20 requests in a row.', {
    hint: 'Run again when the service is up: what was confirmed is not sent twice.',
  })

export const quotaUsedUp = (ms: number): CdpError =>
  new CdpError('CDP3304', `The destination asks to wait ${Math.ceil(ms / 60_000)} minutes, longer than a run waits.`, {
    hint: 'Run again after that time: it goes on where this run stopped.',
  })

/** The state failed: nothing may be sent that it does not know of. */
export const stateError = (error: unknown): CdpError =>
  error instanceof CdpError
    ? error
    : new CdpError(
        'CDP3305',
        `The state could not be read or written during delivery: ${error instanceof Error ? error.message : String(error)}`,
        {
          hint: 'Nothing more was sent. Restore disk space or access to the state, then run again: what was confirmed is not sent twice.',
          cause: error,
        },
      )
