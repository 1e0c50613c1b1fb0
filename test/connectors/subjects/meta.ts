/** What the conformance suite must know of the Meta connector. */
import { createHash } from 'node:crypto'
import connector from '../../../connectors/meta/index.ts'
import fake from '../../../fakes/meta/index.ts'
import type { Held, ObjectSubject, Subject } from '../../../src/testing/index.ts'

const sha256 = (text: unknown): string => createHash('sha256').update(String(text)).digest('hex')

/** Members of the audience, each identifier by itself. */
const members = (held: Held): readonly Readonly<Record<string, unknown>>[] =>
  (held['members'] ?? []).filter((one) => one['audience_id'] === '6001')

const audience: ObjectSubject = {
  object: 'audience',
  options: { audience: '6001' },
  row: (i) => ({ match: { email: `person${i}@example.com`, phone: `1650555${1000 + i}` }, fields: {} }),
  held: (held, { match }) => {
    const wanted = [
      ...(match['email'] == null ? [] : [['EMAIL', sha256(match['email'])] as const]),
      ...(match['phone'] == null ? [] : [['PHONE', sha256(match['phone'])] as const]),
    ]
    return wanted.every(([name, value]) => members(held).some((one) => one[name] === value)) ? {} : null
  },
  count: (held) => members(held).filter((one) => one['EMAIL'] !== undefined).length,
  refused: { row: { match: { email: 'no address', phone: null }, fields: {} }, says: /email is no e-mail address/ },
}

/** Old events are refused, so it can't be a fixed time. */
const AN_HOUR_AGO = Math.floor(Date.now() / 1000) - 3600
const iso = (seconds: unknown): string => new Date(Number(seconds) * 1000).toISOString().replace('.000', '')

const event: ObjectSubject = {
  object: 'event',
  options: { dataset: '7000001' },
  row: (i, version) => ({
    match: {},
    fields: {
      event_id: `event-${i}`,
      event_name: 'Lead',
      event_time: iso(AN_HOUR_AGO),
      action_source: 'system_generated',
      external_id: `person-${i}`,
      content_name: version === 0 ? 'Free' : 'Pro',
    },
  }),
  held: (held, { fields }) => {
    const found = (held['events'] ?? []).find((one) => one['event_id'] === fields['event_id'])
    if (!found) return null
    const [user, custom] = [found['user_data'], found['custom_data']] as Readonly<Record<string, unknown>>[]
    return {
      event_id: found['event_id'],
      event_name: found['event_name'],
      event_time: iso(found['event_time']),
      action_source: found['action_source'],
      external_id: user?.['external_id'],
      content_name: custom?.['content_name'],
    }
  },
  count: (held) => (held['events'] ?? []).length,
  text: 'content_name',
  refused: {
    row: {
      match: {},
      fields: {
        event_id: 'bad',
        event_name: 'Lead',
        event_time: 'yesterday',
        action_source: 'system_generated',
        external_id: 'x',
        content_name: 'x',
      },
    },
    says: /event_time must be a timestamp/,
  },
}

export const subject: Subject = { connector, fake, objects: [audience, event] }
