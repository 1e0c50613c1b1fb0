/** Keeps Google's Customer Match lists and offline conversions in step with the warehouse, through the Data Manager API. */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  CdpError,
  type ConnectorIO,
  defineConnector,
  type Destination,
  type FieldInfo,
  type JobToken,
  type ObjectSpec,
  type Outcome,
  Refused,
  type Settings,
  UnknownOutcome,
  type Value,
} from '../../src/index.ts'
import { createClient, missing } from './client.ts'
import { processed, WITH_OTHERS } from './reply.ts'
import { EVENT_FIELDS, prepare, type Row } from './rows.ts'
import { type Config, config, type Options, options } from './settings.ts'

type Given = Settings<Config, Options>

/** "Limits" of the Data Manager API: audience members and events in one request. */
const MAX_MEMBERS = 10_000
const MAX_EVENTS = 2_000
/** The same page: requests of one Google Cloud project. */
const PER_MINUTE = { requests: 300, seconds: 60 }

/** Looks at a request that is processed: after a second, then ever more seldom. Milliseconds. */
const FIRST_LOOK = 1_000
const SELDOM = 300_000
/** "Diagnostics": wait 30 minutes before the status is asked for. Milliseconds. */
const USUAL = 1_800_000

/** How members are confirmed, how they expire and how they are removed is the same for both kinds of list. */
function listSpec(
  { config: { wait }, options: { membership_duration } }: Given,
  description: string,
  match: ObjectSpec['match'],
): ObjectSpec {
  return {
    description,
    modes: ['mirror'],
    address: { match: 'any' },
    match,
    membership: true,
    confirms: wait === undefined ? 'accepted' : 'job',
    replay: { upsert: 'harmless', delete: 'harmless' },
    removes: ['delete'],
    refreshAfter: Math.round(membership_duration * 0.8),
    targetOptions: ['list'],
  }
}

const audience = (settings: Given): ObjectSpec =>
  listSpec(settings, 'Members of a Customer Match list, found by e-mail address, phone number or postal address.', {
    email: 'mailbox',
    email_sha256: 'lower_ascii',
    phone: 'e164',
    phone_sha256: 'lower_ascii',
    address: 'lower_ascii',
  })

const mobileAudience = (settings: Given): ObjectSpec =>
  listSpec(settings, 'Members of a list of mobile advertising ids.', { mobile_id: 'lower_ascii' })

const conversion = ({ config: { wait } }: Given): ObjectSpec => ({
  description: 'An offline conversion, credited to the click or person it belongs to.',
  modes: ['append'],
  address: 'key',
  match: {},
  confirms: wait === undefined ? 'accepted' : 'job',
  replay: { append: 'deduplicated' },
  targetOptions: ['conversion_action'],
})

export default defineConnector<Config, Options>({
  name: 'google-audiences',
  description: 'Google Ads and Display & Video 360: Customer Match lists and offline conversions.',
  version: 1,
  config,
  options,
  objects: { audience, 'mobile-audience': mobileAudience, conversion },
  limits: ({ config: { wait } }, _, object) => ({
    rows: object === 'conversion' ? MAX_EVENTS : MAX_MEMBERS,
    // Requests that wait for Google do nothing meanwhile: many may wait together.
    concurrency: wait === undefined ? 4 : 50,
    windows: [PER_MINUTE],
    // 10,000 members are some 2 MB, on which the service may work for 120 s (datamanager_grpc_service_config.json).
    timeout: 120_000,
  }),
  open: (settings, io) => openAccount(settings, io),
})

function openAccount(settings: Given, io: ConnectorIO): Destination {
  const { config: entry, options: chosen } = settings
  const { operating_account: account, wait } = entry
  const client = createClient(settings, io)

  /**
   * Waits until Google has processed a request. When that takes longer than the run waits: throws UnknownOutcome, so that it
   * is asked for `again`; then Google has taken it, and that is all that is known.
   */
  async function* follow(requestId: string, rows: readonly Row[], again: boolean): AsyncGenerator<Outcome> {
    const until = io.now() + (wait ?? 0)
    for (let pause = FIRST_LOOK; ; pause = Math.min(pause * 3, SELDOM)) {
      const outcomes = processed(await client.status(requestId), rows, (message) => io.log(message))
      if (outcomes !== null) return yield* outcomes
      if (io.now() + pause > until) {
        if (again) return yield* rows.map(({ key }): Outcome => ({ key, result: 'accepted' }))
        // A wait this long ends the attempts of this run; the next one asks for the same request.
        throw new UnknownOutcome('processing', 'Google still processes this request.', { afterMs: USUAL })
      }
      await sleep(pause, undefined, { signal: io.signal })
    }
  }

  return {
    async check() {
      await client.lists()
      return { id: `${account.product}/${account.id}`, name: `${PRODUCTS[account.product]} ${dashed(account.id)}` }
    },
    async describe(object) {
      if (object === 'conversion') {
        if (chosen.conversion_action === undefined) missing('conversion_action')
        return Object.entries(EVENT_FIELDS).map(([name, accepts]): FieldInfo => ({ name, type: accepts[0], accepts }))
      }
      const id = chosen.list ?? missing('list')
      const list = await client.list(id)
      if (list === null)
        wrong(`the account ${dashed(account.id)} has no list ${id}.`, 'Google Ads shows the id of a list in the address of its page.')
      checkList(list, object, settings)
      const consents = ['ad_user_data', 'ad_personalization']
      return consents.map((name): FieldInfo => ({ name, type: 'boolean', accepts: ['boolean', 'string'] }))
    },
    async *write(batch): AsyncGenerator<Outcome | JobToken> {
      const { rows, rejected } = prepare(batch.object, batch.changes, chosen, io.now())
      const sent = rows.length === 0 ? [] : await client.send(batch, rows)
      if (typeof sent !== 'string') {
        yield* [...rejected, ...sent]
        // The engine sends them in halves, until the bad ones among them stand alone.
        if (sent.length < rows.length) throw new Refused(WITH_OTHERS.code, WITH_OTHERS.message, 400)
        return
      }
      if (wait !== undefined) yield { token: sent }
      yield* rejected
      if (wait !== undefined) yield* follow(sent, rows, false)
      else for (const { key } of rows) yield { key, result: 'accepted' }
    },
    async *resume(token, batch) {
      // The job carries what was young enough when it was sent.
      const { rows, rejected } = prepare(batch.object, batch.changes, chosen, Number.NEGATIVE_INFINITY)
      yield* rejected
      yield* follow(token, rows, true)
    },
  }
}

const PRODUCTS = {
  GOOGLE_ADS: 'Google Ads',
  DISPLAY_VIDEO_ADVERTISER: 'Display & Video 360',
  DISPLAY_VIDEO_PARTNER: 'Display & Video 360',
  DATA_PARTNER: 'Data partner',
} as const

/** As Google Ads writes it: 123-456-7890. */
const dashed = (id: string): string => (id.length === 10 ? id.replace(/^(\d{3})(\d{3})(\d{4})$/, '$1-$2-$3') : id)

function wrong(message: string, hint: string): never {
  throw new CdpError('CDP1170', `options.list: ${message}`, { hint })
}

/** Whether a list takes what is to be sent, and keeps it as long as the sync believes. Throws CdpError. */
function checkList(found: Readonly<Record<string, Value>>, object: string, { options: chosen }: Given): void {
  const info = found['ingestedUserListInfo'] as Readonly<Record<string, Value>> | undefined
  const types = (info?.['uploadKeyTypes'] ?? []) as readonly string[]
  // "MobileData": advertising ids go into Customer Match lists of MOBILE_ID and into basic lists, which have PSEUDONYMOUS_ID.
  const takes = object === 'audience' ? ['CONTACT_ID'] : ['MOBILE_ID', 'PSEUDONYMOUS_ID']
  if (types.length > 0 && !takes.some((type) => types.includes(type)))
    wrong(`the list takes ${types.join(', ')}, not ${takes[0]}.`, 'A list takes one kind of data for ever: make one for this kind.')
  if (found['readOnly'] === true) wrong('the list can’t be edited by this account.', 'Use a list that the account owns.')
  if (found['membershipStatus'] === 'CLOSED')
    wrong('the list is closed: it takes no new members.', 'Open it in Google Ads, or use another one.')
  const seconds = Number(/^(\d+)(?:\.\d+)?s$/.exec(found['membershipDuration'] as string)?.[1] ?? Number.NaN)
  // Members would leave before they are sent again.
  if (seconds > 0 && seconds * 1000 < chosen.membership_duration) {
    const days = Math.floor(seconds / 86_400)
    wrong(
      `the list keeps members for ${days} days.`,
      `Write options: { membership_duration: ${days}d }, so that they are sent again in time.`,
    )
  }
}
