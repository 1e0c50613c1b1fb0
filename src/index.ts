/** All that a connector imports. */
export { defineConnector, NotSent, RateLimited, Refused, UnknownOutcome } from './connector.ts'
export type * from './connector.ts'
export { AuthError, CdpError } from './errors.ts'
export { secret } from './secret.ts'
export { decodeJson, encodeJson, exactNumber, RawJson } from './json.ts'
export type { Fields, Value } from './json.ts'
export type { Column, LogicalType, Mode, Op, Removal } from './types.ts'
