/** What the conformance suite must know of the Statsig connector. */
import connector from '../../../connectors/statsig/index.ts'
import fake from '../../../fakes/statsig/index.ts'
import type { Held, ObjectSubject, Plain, Row, Subject } from '../../../src/testing/index.ts'
import type { Contract } from '../contract.ts'

const members = (records: Held): readonly Readonly<Record<string, unknown>>[] =>
  (records['members'] ?? []).filter(({ segment }) => segment === 'pro_customers')

const idList: ObjectSubject = {
  object: 'id-list',
  options: { segment: 'pro_customers' },
  row: (i) => ({ match: { id: `user-${i}` }, fields: {} }),
  held: (records, { match }) => (members(records).some(({ id }) => id === match['id']) ? {} : null),
  count: (records) => members(records).length,
}

const START = Date.parse('2026-01-01T00:00:00Z')

/** An event has no name of its own there: its number stands in the metadata. */
function event(object: string): ObjectSubject {
  const names = object === 'event' ? (['eventName', 'time'] as const) : (['event', 'timestamp'] as const)
  const found = (records: Held, { fields }: Row) =>
    (records['events'] ?? []).find((one) => Number((one['metadata'] as Record<string, unknown>)['n']) === fields['metadata.n'])
  return {
    object,
    row: (i, version) => ({
      match: {},
      fields: {
        eventName: 'plan_changed',
        value: version === 0 ? 'free' : 'pro',
        time: new Date(START + i * 1000).toISOString(),
        'user.userID': `user-${i}`,
        'user.customIDs.companyID': `company-${i}`,
        'metadata.n': i,
        'metadata.note': 'a note',
      },
    }),
    held: (records, row) => {
      const one = found(records, row)
      if (!one) return null
      const { userID, customIDs } = one['user'] as Record<string, Record<string, Plain>>
      const { n, note } = one['metadata'] as Record<string, Plain>
      return {
        eventName: one[names[0]],
        value: one['value'],
        time: new Date(one[names[1]] as number).toISOString(),
        'user.userID': userID,
        'user.customIDs.companyID': customIDs?.['companyID'],
        'metadata.n': n,
        'metadata.note': note,
      }
    },
    count: (records) => (records['events'] ?? []).length,
    text: 'metadata.note',
    refused: {
      row: { match: {}, fields: { eventName: 'x'.repeat(129), time: '2026-01-01T00:00:00Z', 'user.userID': 'user-99', 'metadata.n': 99 } },
      says: /eventName has 129 characters/,
    },
  }
}

export const subject: Subject = { connector, fake, objects: [idList, event('event'), event('event-webhook')] }

export const contract: readonly Contract[] = [
  {
    spec: 'statsig/capiopenapi.json',
    takes: ({ path }) => path.startsWith('/console/'),
    // It wants `limit` and `page` to be either a text or a number, and in a query every number is both.
    mend: ({ paths = {} }) => {
      const operations = Object.values(paths).flatMap((item) => Object.values(item ?? {}) as unknown[])
      for (const { parameters = [] } of operations as { parameters?: { in: string; schema?: { oneOf?: unknown } }[] }[])
        for (const one of parameters) if (one.in === 'query') delete one.schema?.oneOf
    },
  },
  { spec: 'statsig/httpopenapi.json', takes: ({ path }) => path === '/v1/log_event' },
]
