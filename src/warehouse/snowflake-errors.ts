/** What Snowflake, its driver and the network say, as errors a user can act on. Secrets and row values never pass. */
import { AuthError, CdpError, type ErrorDetail } from '../errors.ts'
import { length, placeAt, point } from './model.ts'
import type { ModelQuery } from './warehouse.ts'

/** What a message may say about the server. */
export interface Server {
  /** Host name, with a port where it is not the usual one. */
  readonly address: string
  readonly user: string
  readonly role: string | undefined
}

/** What the driver's errors carry, of what is used here. */
interface Said {
  readonly message: string
  /** Six digits of Snowflake, or a number of the driver (40xxxx): https://github.com/snowflakedb/snowflake-connector-nodejs */
  readonly code: string
  readonly state: string
  readonly line: number
  readonly column: number
  readonly status: number
  /** Why the network failed, and its code (`ENOTFOUND`). */
  readonly cause: string
  /** The error without the request it carries: that holds passwords and tokens. */
  readonly error: Error
}

/** An error while logging in or setting up the session. */
export function connectError(error: unknown, server: Server): CdpError {
  if (error instanceof CdpError) return error
  const said = read(error)
  const place = `Snowflake at ${server.address}`
  const login = (hint: string): AuthError =>
    new AuthError('CDP2302', `${place} refused ${server.user}: ${said.message}`, { hint, cause: said.error })
  switch (said.code) {
    // Codes of logins: https://docs.snowflake.com/en/user-guide/key-pair-auth-troubleshooting and gs_errors of the drivers.
    case '390144':
      return login('Check account and user, and that the public key of this private key is set: ALTER USER … SET RSA_PUBLIC_KEY = …')
    case '390318':
    case '390303':
      return login('The OAuth token ended or is of another account: have the run started with a new one.')
    case '390422':
    case '390420':
      return login('A network policy does not let this address in: have it added, or run where it is allowed.')
    case '390189':
    case '390186':
      return new AuthError('CDP2303', `role ${server.role ?? ''} does not exist, or ${server.user} does not have it: ${said.message}`, {
        hint: 'Correct `role` of the warehouse, or: GRANT ROLE … TO USER ….',
        cause: said.error,
      })
    default:
      break
  }
  if (/^39\d{4}$/.test(said.code))
    return login('Check user and login of the warehouse. A locked or disabled user, and a missing second factor, end here too.')
  if (said.status === 403 || said.status === 404) {
    return new CdpError('CDP2304', `there is no Snowflake account at ${server.address} (it answered ${said.status})`, {
      hint: "Correct `account` of the warehouse: SELECT CURRENT_ORGANIZATION_NAME() || '-' || CURRENT_ACCOUNT_NAME() says it.",
      cause: said.error,
    })
  }
  if (/CERT|TLS|SSL|SELF_SIGNED|LEAF_SIGNATURE/.test(said.cause)) {
    return new CdpError('CDP2305', `no TLS connection to ${place}: ${said.cause}`, {
      hint: 'A proxy that opens TLS needs its certificate in NODE_EXTRA_CA_CERTS. An account with _ in its name is reached with - instead.',
      cause: said.error,
    })
  }
  if (said.state !== '') return queryError(error, null, server, '')
  const why = [said.status > 0 ? `it answered ${said.status}` : '', said.cause].filter(Boolean).join(', ') || said.message
  return new CdpError('CDP2301', `${place} is not reachable: ${why}`, {
    hint: 'Check account, host and proxy of the warehouse, and that this machine may reach them (VPN, firewall).',
    cause: said.error,
  })
}

/** An error of a statement. `before` is the text in front of the model in what was sent; a null query: it was our own. */
export function queryError(error: unknown, query: ModelQuery | null, server: Server, before: string): CdpError {
  if (error instanceof CdpError) return error
  const said = read(error)
  const place = query === null ? {} : placed(said, query, before)
  const detail = (hint: string): ErrorDetail => ({ ...place, hint, cause: said.error })
  const where = query === null ? {} : { where: query.where }
  switch (said.code) {
    case '000606':
      return new CdpError('CDP2310', `no virtual warehouse is set for ${server.user}`, {
        ...where,
        hint: 'Set `warehouse` of the warehouse entry, or: ALTER USER … SET DEFAULT_WAREHOUSE = ….',
        cause: said.error,
      })
    case '000604':
    case '000630':
      return new CdpError(
        'CDP2313',
        `Snowflake stopped the statement: ${said.message}`,
        detail('Raise `statement_timeout`, make the model faster, or take a larger warehouse. Somebody may have cancelled it too.'),
      )
    case '002003':
    case '002043':
      return new CdpError(
        'CDP2311',
        said.message,
        detail(`Correct the name, or grant ${server.role ?? 'the role'} the right: SELECT, and USAGE on its database and schema.`),
      )
    case '003001':
      return new AuthError(
        'CDP2312',
        `${server.role === undefined ? server.user : `role ${server.role}`} may not do what this needs: ${said.message}`,
        detail('docs/snowflake.md has the grants.'),
      )
    case '000008':
      return new CdpError('CDP2102', 'the model is more than one statement', { ...where, hint: 'Leave one SELECT.', cause: said.error })
    default:
      break
  }
  if (said.code === '090073' || /cannot be resumed|exceeded its quota|is suspended/i.test(said.message)) {
    return new CdpError('CDP2310', `the virtual warehouse does not run: ${said.message}`, {
      ...where,
      hint: 'Have it resumed (ALTER WAREHOUSE … RESUME, or AUTO_RESUME = TRUE), or its resource monitor raised.',
      cause: said.error,
    })
  }
  // The driver's own codes, and those of sessions that ended.
  if (/^(?:(?:39|40)\d{4})?$/.test(said.code)) {
    return new CdpError('CDP2314', `the connection to Snowflake at ${server.address} was lost: ${said.cause || said.message}`, {
      ...where,
      hint: 'No row was taken over. Run again.',
      cause: said.error,
    })
  }
  return new CdpError('CDP2100', said.message, detail('Correct the SQL of the model.'))
}

function placed({ line, column }: Said, query: ModelQuery, before: string): { where: string; frame?: string } {
  const at = { line: line - placeAt(before, length(before)).line + 1, column: column + 1 }
  const text = query.sql.split('\n')[at.line - 1]
  return text === undefined || at.column < 1 || column > length(text) ? { where: query.where } : point(query, at)
}

function read(error: unknown): Said {
  const it = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>
  const data = object(it['data'])
  const cause = object(it['cause'])
  const state = text(it['sqlState'] ?? data['sqlState'])
  const whole = error instanceof Error ? error.message : String(error)
  const [, line = -1, column = -1] =
    Number(data['line']) > 0 ? [0, data['line'], data['pos']] : (/line (\d+) at position (\d+)/.exec(whole) ?? [])
  return {
    message: shown(whole, state),
    code: text(it['code']),
    state,
    line: Number(line),
    column: Number(column),
    status: Number(object(it['response'])['statusCode'] ?? object(it['response'])['status'] ?? 0),
    cause: [cause['code'], cause['message']].filter((part) => typeof part === 'string' && part !== '').join(': '),
    error: new Error(shown(whole, state)),
  }
}

const object = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}

const text = (value: unknown): string => (typeof value === 'string' || typeof value === 'number' ? String(value) : '')

/**
 * On one line, without the place (it is given apart). Only what fails to compile quotes names and no values; rows that a MERGE
 * finds twice (42P18) it shows. Quotes within a value are not escaped, and what no string is has none: `value 42 to …`.
 */
function shown(message: string, state: string): string {
  const line = message
    .replace(/^SQL compilation error:\s*/, '')
    .replace(/^(syntax )?error line \d+ at position \d+\s*/i, (_, syntax: string | undefined) =>
      syntax === undefined ? '' : 'syntax error: ',
    )
    .replaceAll(/\s*\n\s*/g, '; ')
    .trim()
  if (/^(42(?!P18)|02|08|0A)/.test(state) || state === '') return line
  return line.replaceAll(/("|(?<!\w)')(?:[^]*\1|[^]*$)/g, '"(hidden)"').replace(/\b(values?:?) (?!"\(hidden\)").*$/i, '$1 (hidden)')
}
