/** How Snowflake's driver is loaded, and what it is told to log in with. */
import { createPrivateKey } from 'node:crypto'
import { tmpdir } from 'node:os'
import type { ConnectionOptions } from 'snowflake-sdk'
import type { SnowflakeSettings, WarehouseEntry } from '../config/types.ts'
import { AuthError, CdpError } from '../errors.ts'
import type { Server } from './snowflake-errors.ts'

/**
 * Loads the driver so that it stays quiet: it would log into a file, ask the clouds' metadata services where it runs, send
 * Snowflake the form of the settings, and make a folder in the home. Certificates are checked by Node's own TLS; the driver's
 * further question to the issuers goes over plain HTTP, is skipped where it fails, and is on its way out.
 * Found in snowflake-sdk 3.3.0: lib/logger, lib/telemetry/platform_detection.js, lib/services/sf.js, lib/agent.
 * https://docs.snowflake.com/en/user-guide/ocsp
 */
export async function driver(entry: WarehouseEntry): Promise<typeof import('snowflake-sdk')> {
  process.env['SNOWFLAKE_DISABLE_PLATFORM_DETECTION'] ??= 'true'
  process.env['SNOWFLAKE_DISABLE_MINICORE'] ??= 'true'
  process.env['SF_TELEMETRY_DISABLE_CONNECTION_SHAPE'] ??= 'true'
  process.env['SF_OCSP_RESPONSE_CACHE_DIR'] ??= tmpdir()
  try {
    const { default: sdk } = (await import('snowflake-sdk')) as unknown as { default: typeof import('snowflake-sdk') }
    sdk.configure({ logLevel: 'OFF', customLogger: NO_LOG, disableOCSPChecks: true })
    // A later driver may have it elsewhere, and be patient again.
    await limitRetries().catch(() => {})
    return sdk
  } catch (error) {
    if (!/Cannot find (package|module) 'snowflake-sdk'/.test(String(error))) throw error
    throw new CdpError('CDP2300', 'the driver of Snowflake is not installed', {
      where: entry.where,
      hint: 'Install it beside cdp-sync: npm install snowflake-sdk',
      cause: error,
    })
  }
}

const quiet = (): void => {}
const NO_LOG = { error: quiet, warn: quiet, info: quiet, debug: quiet, trace: quiet }

/** Requests the driver repeats after the network failed or the server was busy: with pauses of up to 16 s, some two minutes. */
const RETRIES = 10

/** It would go on a thousand times, for hours, and has no setting. Found in snowflake-sdk 3.3.0, lib/connection/connection_config.js. */
async function limitRetries(): Promise<void> {
  const path = 'snowflake-sdk/dist/lib/connection/connection_config.js'
  const { default: config } = (await import(path)) as { default: { prototype: { getRetrySfMaxNumRetries?: () => number } } }
  config.prototype.getRetrySfMaxNumRetries = () => RETRIES
}

export function serverOf({ account = '', host, port, user, role }: SnowflakeSettings): Server {
  const name = host ?? `${account}.snowflakecomputing.com`
  return { address: port === undefined ? name : `${name}:${port}`, user: user ?? 'the token', role }
}

export function connectionOptions(settings: SnowflakeSettings, entry: WarehouseEntry, tag: string): ConnectionOptions {
  const { account, host, port, protocol = 'https', user, role, warehouse, database, schema } = settings
  const url = host === undefined ? undefined : `${protocol}://${host}${port === undefined ? '' : `:${port}`}`
  const given = { account, accessUrl: url, port, protocol, username: user, role, warehouse, database, schema }
  return {
    ...(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as ConnectionOptions),
    ...login(settings, entry),
    ...proxyOf(settings, entry),
    application: 'cdp-sync',
    queryTag: tag,
    rowMode: 'array',
    // The default is 10 rows between the driver and its reader.
    rowStreamHighWaterMark: 1000,
    // Pieces of a result that are fetched ahead: the default is 2, and each may be 48 MB of text.
    resultPrefetch: 1,
    // A large number would be counted as a loss of precision, and that be told to Snowflake.
    jsTreatIntegerAsBigInt: true,
    representNullAsStringNull: false,
    // A session that is idle for 4 hours ends, and one that keeps a state may be idle for as long as a delivery lasts.
    // https://docs.snowflake.com/en/user-guide/session-policies
    clientSessionKeepAlive: true,
    sfRetryMaxLoginRetries: 2,
  }
}

function login(settings: SnowflakeSettings, entry: WarehouseEntry): ConnectionOptions {
  const { private_key, private_key_passphrase, oauth_token, access_token, password } = settings
  if (private_key !== undefined) {
    return { authenticator: 'SNOWFLAKE_JWT', privateKey: openKey(private_key, private_key_passphrase, entry) }
  }
  if (oauth_token !== undefined) return { authenticator: 'OAUTH', token: oauth_token.trim() }
  if (access_token !== undefined) return { authenticator: 'PROGRAMMATIC_ACCESS_TOKEN', token: access_token.trim() }
  return { authenticator: 'SNOWFLAKE', password: password ?? '' }
}

/** The key without a passphrase, in the one form that the driver takes. */
function openKey(pem: string, passphrase: string | undefined, entry: WarehouseEntry): string {
  try {
    const key = createPrivateKey({ key: pem, format: 'pem', ...(passphrase === undefined ? {} : { passphrase }) })
    if (key.asymmetricKeyType !== 'rsa') throw new Error(`a key of type ${key.asymmetricKeyType}, not RSA`)
    return key.export({ format: 'pem', type: 'pkcs8' }).toString()
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new AuthError('CDP2307', `the private key of the warehouse can't be used: ${why}`, {
      where: entry.where,
      hint: 'It is an RSA key as PEM text, -----BEGIN … PRIVATE KEY----- with its newlines: private_key: ${file:keys/snowflake.p8}. An encrypted one needs private_key_passphrase.',
      cause: error,
    })
  }
}

function proxyOf({ proxy }: SnowflakeSettings, entry: WarehouseEntry): ConnectionOptions {
  if (proxy === undefined) return {}
  const url = URL.canParse(proxy) ? new URL(proxy) : null
  if (url === null || url.hostname === '') {
    throw new CdpError('CDP2301', 'the `proxy` of the warehouse is no URL', {
      where: entry.where,
      hint: 'Write http://user:password@host:8080.',
    })
  }
  const user = url.username === '' ? {} : { proxyUser: decodeURIComponent(url.username), proxyPassword: decodeURIComponent(url.password) }
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
  return { proxyHost: url.hostname, proxyPort: port, proxyProtocol: url.protocol.slice(0, -1), ...user }
}
