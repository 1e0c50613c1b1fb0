/** Slack: one message a row, by a bot or an incoming webhook. */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { type Account, defineConnector, type Http, secret, UnknownOutcome } from '../../src/index.ts'
import { compileMessage } from './message.ts'
import { hooked, posted, said } from './reply.ts'

const config = z
  .strictObject({
    bot_token: secret().optional().describe('A bot’s token (xoxb-…) with the scope chat:write. Posts to any channel.'),
    webhook_url: secret()
      .regex(/^https?:\/\/\S+$/, 'is not an http or https URL')
      .optional()
      .describe('The URL of an incoming webhook, instead of a bot. Posts to the channel it was made for.'),
    base_url: z
      .url({ protocol: /^https?$/ })
      .default('https://slack.com/api')
      .describe('Where the Web API is, for a bot.'),
  })
  .refine((it) => (it.bot_token === undefined) !== (it.webhook_url === undefined), 'needs either bot_token or webhook_url')

const options = z.strictObject({
  channel: z.string().min(1).optional().describe('With a bot: the channel’s id or name. A template, for channels that differ by row.'),
  text: z
    .string()
    .min(1)
    .optional()
    .describe('The message, a template in Slack’s mrkdwn. With `blocks` it is what notifications show. Default: `{{ fields.text }}`.'),
  blocks: z
    .union([z.array(z.unknown()), z.string().min(1)])
    .optional()
    .describe('The message as Block Kit: a list of blocks as YAML, its strings are templates; or one expression that gives the list.'),
})

type Config = z.infer<typeof config>
type Options = z.infer<typeof options>

export default defineConnector<Config, Options>({
  name: 'slack',
  description: 'Messages in Slack channels, one a row, by a bot or an incoming webhook.',
  version: 1,
  config,
  options,
  objects: {
    message: {
      description: 'A message: each new key of the model is posted once.',
      modes: ['append'],
      address: 'key',
      match: {},
      confirms: 'row',
      // There is no key by which Slack would drop a repeat: a message of unknown outcome is held.
      replay: {},
      targetOptions: ['channel'],
    },
  },
  // "Rate limits": one message a second in a channel.
  limits: { rows: 1, concurrency: 1, perSecond: 1 },
  validate({ config: { webhook_url }, options: chosen }) {
    const problems = [...compileMessage(chosen).problems]
    if (webhook_url === undefined && chosen.channel === undefined) problems.push({ path: ['channel'], message: 'A bot needs `channel`.' })
    if (webhook_url !== undefined && chosen.channel !== undefined)
      problems.push({ path: ['channel'], message: 'A webhook posts to the channel it was made for: leave `channel` out.' })
    return problems
  },
  open({ config: { bot_token, webhook_url, base_url }, options: chosen }, io) {
    const { make } = compileMessage(chosen)
    // Slack asks for the character set.
    const headers = { 'content-type': 'application/json; charset=utf-8' }
    const hook = webhook_url === undefined ? null : io.http(webhook_url, { headers })
    const api = io.http(base_url, { headers: { ...headers, ...(bot_token === undefined ? {} : { authorization: `Bearer ${bot_token}` }) } })
    // Of a channel that depends on the row, a refusal is the row's.
    const { channel } = chosen
    const fixed = channel === undefined || channel.includes('{{') || channel.includes('{%') ? null : channel
    return {
      check: () => (webhook_url === undefined ? workspace(api) : Promise.resolve(webhookAccount(webhook_url))),
      async *write(batch) {
        for (const change of batch.changes) {
          const message = make(batch, change)
          if ('code' in message) yield { key: change.key, result: 'rejected', ...message }
          else if (hook === null)
            yield posted(await api.request({ method: 'POST', path: '/chat.postMessage', json: message }), change, fixed)
          else {
            // The path of a webhook is a secret. These statuses carry a word that says what is wrong.
            const request = { method: 'POST', path: '', route: '/services/…', json: message, accept: [400, 403, 404, 410] } as const
            yield hooked(await hook.request(request), change)
          }
        }
      },
    }
  },
})

async function workspace(api: Http): Promise<Account> {
  const { team, team_id: id, url } = said(await api.request({ method: 'POST', path: '/auth.test', json: {} }))
  if (typeof id !== 'string') throw new UnknownOutcome('bad_reply', 'Slack did not say which workspace this is.')
  return { id, name: typeof team === 'string' ? team : typeof url === 'string' ? url : id }
}

/** Nothing can be asked of a webhook but to post, so its first message proves it. Workspace and app stand in its URL. */
function webhookAccount(url: string): Account {
  const { origin, pathname } = new URL(url)
  const [, team, app] = /\/services\/([^/]+)\/([^/]+)\//.exec(pathname) ?? []
  if (team !== undefined && app !== undefined) return { id: `${team}/${app}`, name: `webhook ${app} of workspace ${team}` }
  const id = createHash('sha256')
    .update(origin + pathname)
    .digest('hex')
  return { id, name: new URL(url).host }
}
