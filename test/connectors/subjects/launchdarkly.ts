/** What the conformance suite must know of the LaunchDarkly connector. */
import connector from '../../../connectors/launchdarkly/index.ts'
import fake from '../../../fakes/launchdarkly/index.ts'
import type { Held, ObjectSubject, Subject } from '../../../src/testing/index.ts'
import type { Contract } from '../contract.ts'

function members(object: string, segment: string, contextKind: string): ObjectSubject {
  const all = (records: Held) =>
    (records['members'] ?? []).filter(
      (one) => one['environment'] === 'production' && one['segment'] === segment && one['contextKind'] === contextKind,
    )
  return {
    object,
    options: { segment, context_kind: contextKind },
    row: (i) => ({ match: { key: `key ${i}/ä` }, fields: {} }),
    held: (records, { match }) => (all(records).some(({ key }) => key === match['key']) ? {} : null),
    count: (records) => all(records).length,
  }
}

export const subject: Subject = {
  connector,
  fake,
  objects: [members('segment', 'pro-customers', 'user'), members('big-segment', 'pro-companies', 'organization')],
}

export const contract: readonly Contract[] = [
  {
    spec: 'launchdarkly/ld-openapi.json',
    // The document shows JSON patches; semantic ones ("Updates using semantic patch") are described in words only.
    takes: ({ method }) => method !== 'PATCH',
  },
]
