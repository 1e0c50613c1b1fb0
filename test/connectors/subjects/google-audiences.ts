/** What the conformance suite must know of the Google connector. */
import { createHash } from 'node:crypto'
import connector from '../../../connectors/google-audiences/index.ts'
import fake from '../../../fakes/google-audiences/index.ts'
import type { Held, ObjectSubject, Row, Subject } from '../../../src/testing/index.ts'

const sha256 = (text: unknown): string => createHash('sha256').update(String(text)).digest('hex')

/** A row of this list as the fake keeps it: each identifier by itself. */
const members = (held: Held, list: string): readonly Readonly<Record<string, unknown>>[] =>
  (held['audience_members'] ?? []).filter(({ userList }) => userList === list)

function heldContact(held: Held, { match }: Row): Readonly<Record<string, unknown>> | null {
  const wanted = [
    ...(match['email'] == null ? [] : [{ name: 'emailAddress', value: sha256(match['email']) }]),
    ...(match['phone'] == null ? [] : [{ name: 'phoneNumber', value: sha256(match['phone']) }]),
  ]
  return wanted.every(({ name, value }) => members(held, '1001').some((one) => one[name] === value)) ? {} : null
}

const audience: ObjectSubject = {
  object: 'audience',
  options: { list: '1001' },
  row: (i) => ({ match: { email: `person${i}@example.com`, phone: `+4930${1_000_000 + i}` }, fields: {} }),
  held: heldContact,
  count: (held) => members(held, '1001').filter(({ emailAddress }) => emailAddress !== undefined).length,
  refused: { row: { match: { email: 'no address', phone: null }, fields: {} }, says: /email is no e-mail address/ },
}

const mobileAudience: ObjectSubject = {
  object: 'mobile-audience',
  options: { list: '1003' },
  row: (i) => ({ match: { mobile_id: `38400000-8cf0-11bd-b23e-${String(i).padStart(12, '0')}` }, fields: {} }),
  held: (held, { match }) => (members(held, '1003').some(({ mobileId }) => mobileId === match['mobile_id']) ? {} : null),
  count: (held) => members(held, '1003').length,
  refused: { row: { match: { mobile_id: '00000000-0000-0000-0000-000000000000 ' }, fields: {} }, says: /mobile_id is no advertising id/ },
}

/** Old events are refused, so it can't be a fixed time. */
const AN_HOUR_AGO = new Date(Date.now() - 3_600_000).toISOString().replace(/\.\d+/, '')

const conversion: ObjectSubject = {
  object: 'conversion',
  options: { conversion_action: '7001' },
  row: (i, version) => ({
    match: {},
    fields: {
      transaction_id: `order-${i}`,
      gclid: `click-${i}`,
      event_timestamp: AN_HOUR_AGO,
      conversion_value: version === 0 ? 12.5 : 99,
      currency: 'EUR',
    },
  }),
  held: (held, { fields }) => {
    const found = (held['conversions'] ?? []).find(({ transactionId }) => transactionId === fields['transaction_id'])
    if (!found) return null
    const { gclid } = found['adIdentifiers'] as { gclid?: string }
    return {
      transaction_id: found['transactionId'],
      gclid,
      event_timestamp: found['eventTimestamp'],
      conversion_value: found['conversionValue'],
      currency: found['currency'],
    }
  },
  count: (held) => (held['conversions'] ?? []).length,
  text: 'gclid',
  refused: {
    row: {
      match: {},
      fields: { transaction_id: 'bad', gclid: 'click', event_timestamp: 'yesterday', conversion_value: 1, currency: 'EUR' },
    },
    says: /event_timestamp must be a timestamp/,
  },
}

/** Google processes a request in its own time: here the run waits for it. */
const awaited: ObjectSubject = { ...mobileAudience, destination: { wait: '1m' } }

export const subject: Subject = { connector, fake, objects: [audience, mobileAudience, conversion, awaited] }
