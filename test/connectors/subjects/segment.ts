/** What the conformance suite must know of the Segment connector. */
import connector from '../../../connectors/segment.ts'
import fake from '../../../fakes/segment.ts'
import type { Held, ObjectSubject, Row, Subject } from '../../../src/testing/index.ts'

type Thing = Readonly<Record<string, unknown>>

const things = (records: Held, collection: string, id: string, { match, fields }: Row): Thing | null => {
  const found = (records[collection] ?? []).find((one) => one[id] === match[id])
  if (found === undefined) return null
  const traits = found['traits'] as Thing
  return Object.fromEntries(Object.keys(fields).map((name) => [name, at(traits, name)]))
}

const at = (thing: Thing, path: string): unknown =>
  path.split('.').reduce<unknown>((value, name) => (value as Thing | undefined)?.[name], thing)

const identify: ObjectSubject = {
  object: 'identify',
  row: (i, version) => ({
    match: { userId: `user-${i}` },
    fields: { email: `user-${i}@example.com`, plan: version === 0 ? 'free' : 'pro', seats: i, 'address.city': 'Rome', note: 'a note' },
  }),
  held: (records, row) => things(records, 'users', 'userId', row),
  count: (records) => (records['users'] ?? []).length,
  text: 'note',
  clears: { field: 'plan' },
  refused: {
    row: { match: { userId: 'large' }, fields: { email: 'x', plan: 'x', seats: 1, 'address.city': 'x', note: 'x'.repeat(33_000) } },
    says: /Segment takes 32000/,
  },
}

const group: ObjectSubject = {
  object: 'group',
  row: (i, version) => ({
    match: { groupId: `group-${i}`, userId: `user-${i}` },
    fields: { name: `Group ${i}`, plan: version === 0 ? 'free' : 'pro', 'address.city': 'Rome' },
  }),
  held: (records, row) => things(records, 'groups', 'groupId', row),
  count: (records) => (records['groups'] ?? []).length,
  text: 'name',
  clears: { field: 'plan' },
}

const track: ObjectSubject = {
  object: 'track',
  row: (i, version) => ({
    match: {},
    fields: {
      event: 'Order Completed',
      userId: `user-${i}`,
      timestamp: '2026-01-05T09:30:00Z',
      total: version === 0 ? 10.5 : 11.5,
      n: i,
      'shipping.city': 'Rome',
      note: 'a note',
      'context.ip': '203.0.113.7',
    },
  }),
  held: (records, { fields }) => {
    const found = (records['messages'] ?? []).find((one) => (one['properties'] as Thing)['n'] === fields['n'])
    if (found === undefined) return null
    const { event, userId, timestamp, context } = found
    const properties = found['properties'] as Thing
    const own: Thing = { event, userId, timestamp, 'context.ip': (context as Thing)['ip'] }
    return Object.fromEntries(Object.keys(fields).map((name) => [name, own[name] ?? at(properties, name)]))
  },
  count: (records) => (records['messages'] ?? []).length,
  text: 'note',
  refused: {
    row: {
      match: {},
      fields: {
        event: 'x',
        userId: '',
        timestamp: '2026-01-05T09:30:00Z',
        total: 1,
        n: 99,
        'shipping.city': 'x',
        note: 'x',
        'context.ip': 'x',
      },
    },
    says: /userId or anonymousId/,
  },
}

export const subject: Subject = { connector, fake, objects: [identify, group, track] }
