/** What a user sets for Meta: credentials and ad account of the destination, audience or dataset of a sync. */
import { z } from 'zod'
import { secret } from '../../src/index.ts'

/** YAML reads an id as a number; those beyond 2^53 it would round, so they must be texts. */
const id = z
  .union([z.string().regex(/^\d+$/, 'is no id: write its digits in quotes'), z.int().positive()])
  .transform((value) => String(value))

export const config = z.strictObject({
  access_token: secret().describe('The access token of a system user with the permission ads_management.'),
  app_secret: secret().optional().describe('The secret of the app: requests then carry an appsecret_proof.'),
  ad_account_id: z
    .union([z.string().regex(/^(act_)?\d+$/, 'is no ad account: write its digits in quotes'), z.int().positive()])
    .transform((value) => String(value).replace(/^act_/, ''))
    .describe('The ad account, with or without act_.'),
  base_url: z.url().default('https://graph.facebook.com').describe('Where the Graph API is.'),
})

export type Config = z.infer<typeof config>

export const options = z.strictObject({
  audience: id.optional().describe('The id of the custom audience (audience).'),
  dataset: id.optional().describe('The id of the dataset or pixel (event).'),
  test_event_code: z.string().min(1).optional().describe('Shows events under Test events in Events Manager; they are used all the same.'),
})

export type Options = z.infer<typeof options>
