/** What a user sets for Google: credentials and accounts of the destination, list or conversion action of a sync. */
import { z } from 'zod'
import { duration, secret } from '../../src/index.ts'

/** YAML reads an account number as a number. */
const id = z
  .union([z.string().regex(/^\d+$/, 'is no id: write its digits, without dashes'), z.int().positive()])
  .transform((value) => String(value))

/** AccountType in destination.proto of the Data Manager API. */
const account = z.strictObject({
  product: z
    .enum(['GOOGLE_ADS', 'DISPLAY_VIDEO_ADVERTISER', 'DISPLAY_VIDEO_PARTNER', 'DATA_PARTNER'])
    .default('GOOGLE_ADS')
    .describe('The Google product the account belongs to.'),
  id: id.describe('The number of the account, without dashes.'),
})

export type Account = z.infer<typeof account>

const consent = z.enum(['granted', 'denied']).optional()

export const config = z
  .strictObject({
    service_account: secret().optional().describe('The JSON text of a service account’s key file.'),
    client_id: z.string().min(1).optional().describe('The OAuth client, for a login as a user instead.'),
    client_secret: secret().optional().describe('The secret of the OAuth client.'),
    refresh_token: secret().optional().describe('The refresh token that the user granted to the client.'),
    operating_account: account.describe('The account that owns the lists and conversion actions.'),
    login_account: account.optional().describe('The manager account through which the login reaches it.'),
    linked_account: account.optional().describe('The account linked to the login account through which it reaches it.'),
    wait: duration()
      .optional()
      .describe('How long a run waits for Google to process a request. Default: not at all, and rows count as accepted.'),
    base_url: z.url().default('https://datamanager.googleapis.com').describe('Where the Data Manager API is.'),
    token_url: z.url().optional().describe('Where access tokens are asked for. Default: what the key file says, else Google’s.'),
  })
  .superRefine((entry, context) => {
    const names = ['client_id', 'client_secret', 'refresh_token'] as const
    const given = names.filter((name) => entry[name] !== undefined)
    const fail = (path: string[], message: string): void => context.addIssue({ code: 'custom', path, message })
    if (entry.service_account === undefined) {
      if (given.length < names.length) fail([], 'needs service_account, or client_id, client_secret and refresh_token')
    } else if (given.length > 0) fail([given[0] as string], 'goes without service_account: write one login')
    else if (keyOf(entry.service_account) === null)
      fail(['service_account'], 'is no key file: it needs the whole JSON text, with client_email and private_key')
  })

export type Config = z.infer<typeof config>

export const options = z.strictObject({
  list: id.optional().describe('The id of the list (audience, mobile-audience). Google Ads shows it in the address of the segment’s page.'),
  conversion_action: id.optional().describe('The id of the conversion action (conversion).'),
  membership_duration: duration()
    .prefault('540d')
    .describe('How long the list keeps a member. Each is sent again when four fifths of it have passed.'),
  consent: z
    .strictObject({
      ad_user_data: consent.describe('Consent to send user data to Google for ads.'),
      ad_personalization: consent.describe('Consent to personalised ads.'),
    })
    .optional()
    .describe('The consent of everybody in the model; fields of the same names say it of a row.'),
})

export type Options = z.infer<typeof options>

/** The parts of a service account's key file that a login needs; null when the text is none. */
export interface Key {
  readonly client_email: string
  readonly private_key: string
  readonly private_key_id?: string
  readonly token_uri?: string
}

export function keyOf(text: string): Key | null {
  try {
    const key = JSON.parse(text) as Partial<Record<keyof Key, unknown>> | null
    return typeof key?.client_email === 'string' && typeof key.private_key === 'string' ? (key as Key) : null
  } catch {
    return null
  }
}
