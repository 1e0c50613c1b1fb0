/** Settings and options of the Salesforce connector. */
import { createPrivateKey } from 'node:crypto'
import { z } from 'zod'
import { secret } from '../../src/index.ts'

const isUrl = { protocol: /^https?$/, error: 'is not an http or https URL' }

export const config = z
  .strictObject({
    instance_url: z
      .url(isUrl)
      .refine(
        (url) => !hostOf(url).endsWith('.lightning.force.com'),
        'is the address of the app: the API is at https://NAME.my.salesforce.com',
      )
      .refine(
        (url) => !/^(login|test)\.salesforce\.com$/.test(hostOf(url)),
        'is where all orgs log in: the org’s own API is at https://NAME.my.salesforce.com',
      )
      .describe(
        'The My Domain of the org: `https://NAME.my.salesforce.com`, or a sandbox’s `https://NAME--SANDBOX.sandbox.my.salesforce.com`.',
      ),
    client_id: z.string().min(1).describe('Consumer key of the External Client App.'),
    client_secret: secret().optional().describe('Consumer secret, for the client credentials flow.'),
    username: z.string().min(1).optional().describe('User to act as, for the JWT bearer flow.'),
    private_key: secret()
      .refine(isKey, 'is no private key in PEM')
      .optional()
      .describe('Private key in PEM whose certificate the app has, for the JWT bearer flow.'),
    login_url: z
      .url(isUrl)
      .optional()
      .describe('Where the JWT bearer flow logs in. Default: `https://login.salesforce.com`, for a sandbox `https://test.salesforce.com`.'),
    // v46 is the first whose collections can upsert.
    api_version: z
      .string()
      .regex(/^(4[6-9]|[5-9]\d)\.0$/, 'is no version from 46.0 on')
      .default('64.0')
      .describe('Version of the REST API.'),
    // Salesforce advises Bulk API 2.0 for more than 2,000 rows (Bulk API 2.0 Developer Guide, "How Bulk API 2.0 works").
    bulk_above: z
      .int()
      .min(1)
      .max(10_000)
      .default(2000)
      .describe('Batches of upserts with more rows than this go as one job of Bulk API 2.0, smaller ones 200 rows a request.'),
  })
  .refine(
    ({ client_secret, username, private_key }) =>
      client_secret === undefined
        ? username !== undefined && private_key !== undefined
        : username === undefined && private_key === undefined,
    'Give either client_secret, or username and private_key.',
  )

export const options = z.strictObject({
  campaign_id: z
    .string()
    .regex(/^701[A-Za-z0-9]{12}([A-Za-z0-9]{3})?$/, 'is no id of a campaign (701… with 15 or 18 characters)')
    .optional()
    .describe('CampaignMember: id of the campaign.'),
  case_sensitive: z
    .boolean()
    .default(false)
    .describe('The match field is marked "case sensitive" in Salesforce: `Ab` and `aB` are two records.'),
})

export type Config = z.infer<typeof config>
export type Options = z.infer<typeof options>

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).hostname : ''
}

function isKey(pem: string): boolean {
  try {
    return createPrivateKey(pem).type === 'private'
  } catch {
    return false
  }
}
