/** What the conformance suite must know of the webhook connector. */
import connector from '../../../connectors/webhook/index.ts'
import fake from '../../../fakes/webhook.ts'
import type { ObjectSubject, Subject } from '../../../src/testing/index.ts'

const record: ObjectSubject = {
  object: 'record',
  row: (i, version) => ({ match: {}, fields: { name: `Name ${i}`, plan: version === 0 ? 'free' : 'pro', seats: i } }),
  held: ({ records = [], events = [] }, { key, fields }) => {
    const found = [...records, ...events].find((one) => one['key'] === key)
    return found ? Object.fromEntries(Object.keys(fields).map((name) => [name, found[name]])) : null
  },
  count: ({ records = [], events = [] }) => records.length + events.length,
  text: 'name',
  clears: { field: 'plan' },
  refused: { row: { match: {}, fields: { name: 'refuse me', plan: 'free', seats: 0 } }, says: /not taken/ },
}

export const subject: Subject = {
  connector,
  fake,
  objects: [record],
  exceptions: [
    {
      case: 'wrong credentials end the run before anything is sent, and say so',
      reason: 'No request is harmless at every receiver, so its check sends none: the first write finds out.',
    },
    {
      case: 'an empty reply confirms no row',
      reason: 'A 2xx with JSON that has no results confirms the request: the default body is received by anything.',
    },
  ],
}
