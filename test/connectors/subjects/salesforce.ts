/** What the conformance suite must know of the Salesforce connector. */
import connector from '../../../connectors/salesforce/index.ts'
import fake from '../../../fakes/salesforce/index.ts'
import { longId } from '../../../fakes/salesforce/store.ts'
import type { Held, ObjectSubject, Row, ServedFake, Subject } from '../../../src/testing/index.ts'

const found = (records: Held, object: string, name: string, { match, fields }: Row) => {
  const record = (records[object] ?? []).find((one) => one[name] === match[name])
  return record === undefined ? null : Object.fromEntries(Object.keys(fields).map((field) => [field, record[field]]))
}

const contact: ObjectSubject = {
  object: 'Contact',
  row: (i, version) => ({
    match: { External_Id__c: `c-${i}` },
    fields: {
      LastName: `Name ${i}`,
      Plan__c: version === 0 ? 'free' : 'pro',
      Mrr__c: 12.5,
      Is_Active__c: true,
      Signed_Up_On__c: '2026-01-05',
      Interests__c: 'Sports;Books',
      Notes__c: 'a note',
    },
  }),
  held: (records, row) => found(records, 'Contact', 'External_Id__c', row),
  count: (records) => (records['Contact'] ?? []).length,
  text: 'Notes__c',
  clears: { field: 'Plan__c' },
  refused: {
    row: {
      match: { External_Id__c: 'bad' },
      fields: {
        LastName: 'Bad',
        Plan__c: 'x'.repeat(256),
        Mrr__c: 1,
        Is_Active__c: false,
        Signed_Up_On__c: null,
        Interests__c: null,
        Notes__c: null,
      },
    },
    says: /Plan__c: the value has 256 characters/,
  },
}

/** The same in jobs: every batch of two rows or more is one. */
const inJobs: ObjectSubject = {
  ...contact,
  destination: { bulk_above: 1 },
  refused: {
    row: {
      ...contact.row(99, 0),
      match: { External_Id__c: 'bad' },
      fields: { ...contact.row(99, 0).fields, Interests__c: 'Sports;Chess' },
    },
    says: /bad value for restricted picklist/,
  },
}

const ORG = { type: 'application/json' }

/** A session of the fake, for what a test puts there. */
export async function session(fake: ServedFake): Promise<(path: string, body: unknown) => Promise<unknown>> {
  const { client_id, client_secret } = fake.destination as Record<string, string>
  const form = new URLSearchParams({ grant_type: 'client_credentials', client_id: client_id ?? '', client_secret: client_secret ?? '' })
  const login = (await (await fetch(`${fake.url}/services/oauth2/token`, { method: 'POST', body: form })).json()) as {
    access_token: string
  }
  return async (path, body) => {
    const headers = { authorization: `Bearer ${login.access_token}`, 'content-type': ORG.type }
    return (await fetch(`${fake.url}/services/data/v64.0${path}`, { method: 'POST', headers, body: JSON.stringify(body) })).json()
  }
}

/** The fake numbers its records; an org, two users and two campaigns come first. */
const CONTACTS = 210
const contactId = (i: number): string => longId(`003gK${String(6 + i).padStart(10, '0')}`)
const campaignId = longId(`701gK${String(4).padStart(10, '0')}`)

const members: ObjectSubject = {
  object: 'CampaignMember',
  options: { campaign_id: campaignId },
  async prepare(fake) {
    const post = await session(fake)
    for (let first = 0; first < CONTACTS; first += 105) {
      const records = Array.from({ length: 105 }, (_, i) => ({ attributes: { type: 'Contact' }, LastName: `Contact ${first + i}` }))
      await post('/composite/sobjects', { allOrNone: false, records })
    }
  },
  row: (i) => ({ match: { ContactId: contactId(i) }, fields: {} }),
  held: (records, { match }) =>
    (records['CampaignMember'] ?? []).some((one) => one['ContactId'] === match['ContactId'] && one['CampaignId'] === campaignId)
      ? {}
      : null,
  count: (records) => (records['CampaignMember'] ?? []).length,
}

export const subject: Subject = { connector, fake, objects: [contact, inJobs, members] }
