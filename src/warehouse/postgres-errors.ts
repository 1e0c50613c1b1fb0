/** What PostgreSQL, its driver and the network say, as errors a user can act on. Passwords and row values never pass. */
import { DatabaseError } from 'pg'
import { AuthError, CdpError, type ErrorDetail } from '../errors.ts'
import { length, placeAt, point } from './model.ts'
import type { ModelQuery } from './warehouse.ts'

/** What a message may say about the server: `host:port/database as user`. */
export interface Server {
  readonly address: string
  readonly user: string
  readonly database: string
}

/** SQLSTATE of a server's error; undefined for any other. */
export const sqlState = (error: unknown): string | undefined => (error instanceof DatabaseError ? error.code : undefined)

/** An error while connecting. */
export function connectError(error: unknown, server: Server): CdpError {
  if (error instanceof CdpError) return error
  const { message, code } = described(error)
  const login = { hint: 'Check user and password of the warehouse, and pg_hba.conf of the server.', cause: error }
  switch (sqlState(error)) {
    case '28P01':
    case '28000':
      return new AuthError('CDP2002', `PostgreSQL at ${server.address} refused user ${server.user}: ${message}`, login)
    case '3D000':
      return new CdpError('CDP2003', `PostgreSQL at ${server.address} has no database ${server.database}`, {
        hint: 'Check the name of the database in the warehouse entry.',
        cause: error,
      })
    case '42501':
      return new AuthError('CDP2002', `user ${server.user} may not connect to database ${server.database}: ${message}`, login)
    case '53300':
    case '57P03':
      return new CdpError('CDP2005', `PostgreSQL at ${server.address} takes no connection now: ${message}`, {
        hint: 'Run again when it does; with too many connections, lower the number of syncs that run at once.',
        cause: error,
      })
    case undefined:
      break
    default:
      return new CdpError('CDP2001', `PostgreSQL at ${server.address} refused the connection: ${message}`, { cause: error })
  }
  if (/SASL|password must be a string/.test(message)) {
    return new AuthError('CDP2002', `PostgreSQL at ${server.address} wants a password for user ${server.user}: ${message}`, login)
  }
  if (/SSL|TLS|certificate/i.test(message) || /CERT|TLS|SSL|SELF_SIGNED|LEAF_SIGNATURE/.test(code)) {
    return new CdpError('CDP2004', `no TLS connection to PostgreSQL at ${server.address}: ${message}`, {
      hint: tlsHint(message, code),
      cause: error,
    })
  }
  return new CdpError('CDP2001', `PostgreSQL at ${server.address} is not reachable: ${message || code}`, {
    hint: 'Check host and port of the warehouse, and that this machine may reach them (VPN, firewall, IP allow list).',
    cause: error,
  })
}

function tlsHint(message: string, code: string): string {
  if (message.includes('does not support SSL')) return 'The server has no TLS: set `ssl: false` on the warehouse, or turn TLS on there.'
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'The certificate is for another host name: use the name it was made for.'
  if (code === 'CERT_HAS_EXPIRED') return 'The certificate of the server has expired: renew it.'
  return 'Name the authority that signed the certificate: `ssl: { ca: "${file:certs/ca.pem}" }`. `verify: false` trusts any server.'
}

/** An error of a statement. `before` is the text in front of the model in what was sent: the position counts from there. */
export function queryError(error: unknown, query: ModelQuery, server: Server, before: string): CdpError {
  if (error instanceof CdpError) return error
  const { message, code } = described(error)
  const state = sqlState(error)
  const place = placed(error, query, before)
  const detail = (hint: string): ErrorDetail => ({ ...place, hint, cause: error })
  // The server went down (57P01 to 57P05) or the connection broke (08…).
  if (state === undefined || /^(57P|08)/.test(state)) {
    return new CdpError('CDP2012', `the connection to PostgreSQL at ${server.address} was lost: ${message || code}`, {
      where: query.where,
      hint: 'No row was taken over. Run again.',
      cause: error,
    })
  }
  switch (state) {
    case '42501':
      return new AuthError('CDP2006', `user ${server.user} may not read what the model reads: ${message}`, {
        ...detail(`Grant it, for example: GRANT SELECT ON <table> TO ${server.user}, and USAGE on its schema.`),
      })
    case '57014':
      return new CdpError('CDP2007', `PostgreSQL stopped the model: ${message}`, {
        ...detail('Raise `statement_timeout` of the warehouse, or make the model faster (EXPLAIN shows where time goes).'),
      })
    case '55P03':
      return new CdpError('CDP2008', `a table of the model was locked: ${message}`, {
        ...detail('Something rewrites or alters the table now. Run again when it is done.'),
      })
    case '40001':
      return new CdpError('CDP2009', `the replica cancelled the model in favour of its recovery: ${message}`, {
        ...detail('Raise max_standby_streaming_delay there, set hot_standby_feedback = on, or read from the primary.'),
      })
    case '25006':
      return new CdpError(
        'CDP2101',
        `the model writes: ${message}`,
        detail('A model only reads. Move the writing part to where the data is made.'),
      )
    case '42601':
      if (/multiple commands/.test(message)) {
        return new CdpError('CDP2102', 'the model is more than one statement', {
          where: query.where,
          hint: 'Leave one SELECT.',
          cause: error,
        })
      }
      break
    case '22021':
      return new CdpError(
        'CDP2011',
        'the model returns text that is not UTF-8',
        detail("The database checks no encoding (SQL_ASCII). Convert the column in the model: convert_from(name::bytea, 'LATIN1')."),
      )
    default:
      break
  }
  // Data exceptions quote the value that failed.
  const shown = state.startsWith('22') ? message.replaceAll(/"[^"]*"|'[^']*'/g, '"(hidden)"') : message
  return new CdpError('CDP2100', shown, detail('Correct the SQL of the model.'))
}

function placed(error: unknown, query: ModelQuery, before: string): { where: string; frame?: string } {
  const position = error instanceof DatabaseError ? Number(error.position ?? Number.NaN) : Number.NaN
  const offset = position - 1 - length(before)
  const inside = Number.isInteger(offset) && offset >= 0 && offset <= length(query.sql)
  return inside ? point(query, placeAt(query.sql, offset)) : { where: query.where }
}

function described(error: unknown): { message: string; code: string } {
  // Node tries every address of a name and reports all failures at once, with an empty message.
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error
  if (!(first instanceof Error)) return { message: String(first), code: '' }
  return { message: first.message, code: 'code' in first ? String(first.code) : '' }
}
