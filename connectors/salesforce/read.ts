/** Reads records back, in the form in which they are written. */
import { type Fields, UnknownOutcome, type Value } from '../../src/index.ts'
import type { Api, Json } from './client.ts'
import { find, idOf } from './query.ts'
import type { Described, Field, Schema } from './schema.ts'

/** Ids that one request reads (REST API Developer Guide, "Get Records Using sObject Collections"). */
const READ = 2000

/** The records found by these matches, with every field; null where there is none, or several. `where`: SOQL they must fit too. */
export async function readRecords(
  api: Api,
  schema: Schema,
  object: string,
  matches: readonly Fields[],
  where: string | undefined,
): Promise<readonly (Fields | null)[]> {
  const described = await schema(object)
  const found = await find(api, described, matches, [], where)
  const ids = found.map((records) => (records.length === 1 ? idOf(records[0]) : null))
  const wanted = [...new Set(ids.filter((id) => id !== null))]
  const byId = new Map<string, Fields>()
  for (let first = 0; first < wanted.length; first += READ) {
    const json = { ids: wanted.slice(first, first + READ), fields: [...described.fields.keys()] }
    const reply = await api.request({ method: 'POST', path: `/composite/sobjects/${encodeURIComponent(object)}`, json })
    const records = reply.json()
    if (!Array.isArray(records)) throw new UnknownOutcome('bad_reply', 'The reply is no list of records.')
    for (const record of records as readonly (Json | null)[]) if (record !== null) byId.set(idOf(record), readable(described, record))
  }
  return ids.map((id) => (id === null ? null : (byId.get(id) ?? null)))
}

/** Values as they are sent: moments in UTC with Z, without zeros at their end. */
function readable({ fields }: Described, record: Json): Fields {
  const entries = Object.entries(record).filter(([name]) => name !== 'attributes')
  return Object.fromEntries(entries.map(([name, value]) => [name, momentOf(fields.get(name), value)]))
}

function momentOf(field: Field | undefined, value: Value): Value {
  if (field?.type !== 'datetime' || typeof value !== 'string') return value
  const at = Date.parse(value)
  return Number.isNaN(at) ? value : new Date(at).toISOString().replace(/\.?0+Z$/, 'Z')
}
