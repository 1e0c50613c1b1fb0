/** CampaignMember: contacts and leads of one campaign, as a set. */
import { type Batch, type Change, type Fields, type Outcome, Refused, type Value } from '../../src/index.ts'
import type { Api } from './client.ts'
import { find } from './query.ts'
import { badId, chunks, columnsOf, deleteIds, isRow, namesIn, recordOf, type Row, rowOf, sendRows } from './rows.ts'
import type { Schema } from './schema.ts'

export const MEMBER = 'CampaignMember'

/** SOQL. The id was checked to be one. */
export const inCampaign = (campaign: string): string => `CampaignId = '${campaign}'`

/** Every member of a campaign. */
export async function* listMembers(api: Api, campaign: string): AsyncIterable<Fields> {
  for await (const { ContactId, LeadId } of api.query(`SELECT ContactId, LeadId FROM ${MEMBER} WHERE ${inCampaign(campaign)}`))
    yield { ContactId: ContactId ?? null, LeadId: LeadId ?? null }
}

/** The campaign of the options. Throws Refused when there is none, or Salesforce has none of this id. */
export async function checkCampaign(api: Api, schema: Schema, id: string | undefined): Promise<string> {
  if (id === undefined) throw new Refused('no_campaign', 'A sync to CampaignMember needs options: campaign_id.', 400)
  const [[campaign] = []] = await find(api, await schema('Campaign'), [{ Id: id }])
  if (campaign === undefined) throw new Refused('no_campaign', `Salesforce has no campaign ${id}, or the user may not see it.`, 404)
  return id
}

/** The one field that names who is meant. */
function whoOf({ match }: Change): 'ContactId' | 'LeadId' {
  const [name, ...more] = Object.keys(match)
  if (more.length === 0 && (name === 'ContactId' || name === 'LeadId')) return name
  throw new Refused('bad_match', 'A member of a campaign is matched by ContactId or by LeadId, one of them in a sync.', 400)
}

export async function* writeMembers(api: Api, schema: Schema, campaign: string, { op, changes }: Batch): AsyncIterable<Outcome> {
  const good: Change[] = []
  for (const change of changes) {
    const bad = badId(change)
    if (bad === null) good.push(change)
    else yield bad
  }
  for (const some of chunks(good)) {
    if (op === 'delete') yield* removeMembers(api, schema, campaign, some)
    else yield* addMembers(api, schema, campaign, some)
  }
}

/** Ids of members by change; several are not possible. */
async function idsOf(api: Api, schema: Schema, campaign: string, changes: readonly Change[]): Promise<Map<Change, string>> {
  const members = await schema(MEMBER)
  const matches = changes.map((change) => ({ [whoOf(change)]: change.match[whoOf(change)] ?? null }))
  const found = await find(api, members, matches, [], inCampaign(campaign))
  const ids = changes.map((change, i) => [change, found[i]?.[0]?.['Id']] as const)
  return new Map(ids.filter((entry): entry is readonly [Change, string] => typeof entry[1] === 'string'))
}

async function* addMembers(api: Api, schema: Schema, campaign: string, changes: readonly Change[]): AsyncIterable<Outcome> {
  const columns = await columnsOf(schema, MEMBER, namesIn(changes))
  const ids = await idsOf(api, schema, campaign, changes)
  const news: { change: Change; record: Record<string, Value> }[] = []
  const known: { change: Change; record: Record<string, Value> }[] = []
  for (const change of changes) {
    const id = ids.get(change)
    // Who a member is can't be changed.
    const row: Row | Outcome = rowOf(change, id === undefined ? { ...change.match, ...change.fields } : change.fields, columns)
    if (!isRow(row)) yield row
    else if (id === undefined) news.push({ change, record: { ...recordOf(MEMBER, row), CampaignId: campaign } })
    else if (row.values.size === 0) yield { key: change.key, result: 'ok', remoteId: id }
    else known.push({ change, record: recordOf(MEMBER, row, id) })
  }
  yield* sendRows(api, { method: 'PATCH', path: '/composite/sobjects' }, 'upsert', known)
  const twice = new Map<Change, Outcome>()
  for await (const outcome of sendRows(api, { method: 'POST', path: '/composite/sobjects' }, 'upsert', news)) {
    const change = news.find(({ change }) => change.key === outcome.key)?.change
    if (outcome.result === 'rejected' && outcome.code === 'DUPLICATE_VALUE' && change) twice.set(change, outcome)
    else yield outcome
  }
  // Somebody may have added them since they were looked for; then what the row says of them is still to be written.
  const since = await idsOf(api, schema, campaign, [...twice.keys()])
  for (const [change, outcome] of twice)
    yield since.has(change)
      ? { key: change.key, result: 'retry', code: 'added_since', message: 'The member was added by somebody else.' }
      : outcome
}

async function* removeMembers(api: Api, schema: Schema, campaign: string, changes: readonly Change[]): AsyncIterable<Outcome> {
  const ids = await idsOf(api, schema, campaign, changes)
  const there: { change: Change; id: string }[] = []
  for (const change of changes) {
    const id = ids.get(change)
    if (id === undefined) yield { key: change.key, result: 'absent' }
    else there.push({ change, id })
  }
  yield* deleteIds(api, there)
}
