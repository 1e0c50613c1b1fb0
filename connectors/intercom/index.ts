/** Keeps contacts, companies, tags and the contacts of companies of an Intercom workspace as the model has them. */
import { z } from 'zod'
import {
  type Account,
  type Batch,
  type Change,
  defineConnector,
  type FieldInfo,
  type Fields,
  type Http,
  type ObjectSpec,
  type Outcome,
  Refused,
  UnknownOutcome,
} from '../../src/index.ts'
import { type Config, config, connect, member, objects, text } from './api.ts'
import * as companies from './companies.ts'
import * as contacts from './contacts.ts'
import { describe, fieldsOf, type Model, recordOf } from './fields.ts'
import { employ, members, tag, tagged, untag } from './members.ts'

const options = z.strictObject({
  tag: z.string().min(1).max(255).optional().describe('`tags`: the name of the tag; made when there is none.'),
})

type Options = z.infer<typeof options>

const MODES = ['upsert', 'update', 'mirror'] as const
/** `external_id` is compared as written; e-mail addresses without regard to case. */
const CONTACT = { external_id: 'exact', email: 'email' } as const

const OBJECTS: Readonly<Record<string, ObjectSpec>> = {
  contacts: {
    description: 'Contacts: users and, by their role, leads.',
    modes: MODES,
    address: { match: 'all', renames: true },
    match: CONTACT,
    confirms: 'row',
    // Intercom itself refuses a second user with one external id or e-mail address.
    replay: { upsert: 'harmless', update: 'harmless', archive: 'harmless', delete: 'harmless' },
    removes: ['archive', 'delete', 'clear', 'set', 'none'],
    nested: true,
  },
  companies: {
    description: 'Companies. Intercom shows them once a contact is attached.',
    modes: MODES,
    // "Can't be updated" (company_id).
    address: { match: 'all' },
    match: { company_id: 'exact' },
    confirms: 'row',
    replay: { upsert: 'harmless', update: 'harmless', archive: 'harmless' },
    removes: ['archive', 'clear', 'set', 'none'],
    nested: true,
  },
  tags: {
    description: 'The users that have a tag: `options.tag`.',
    modes: ['mirror'],
    address: { match: 'all' },
    match: CONTACT,
    membership: true,
    confirms: 'request',
    replay: { upsert: 'harmless', delete: 'harmless' },
    removes: ['delete'],
    targetOptions: ['tag'],
  },
  'company-contacts': {
    description: 'The users of companies: pairs of a user and a company.',
    modes: ['mirror'],
    address: { match: 'all' },
    match: { ...CONTACT, company_id: 'exact' },
    membership: true,
    confirms: 'row',
    replay: { upsert: 'harmless', delete: 'harmless' },
    removes: ['delete'],
  },
}

export default defineConnector<Config, Options>({
  name: 'intercom',
  description: 'Contacts, companies and tags of Intercom.',
  version: 1,
  config,
  options,
  objects: OBJECTS,
  limits: (_, __, object) => {
    // There are no bulk requests for contacts and companies; contacts of a set are looked for together.
    const rows = OBJECTS[object]?.membership ? contacts.MOST_SEARCHED : 1
    // "10,000 API calls per minute … evenly distributed over 10 second periods", 1,666 in each ("Rate limiting").
    return { rows, concurrency: 8, windows: [{ requests: 1600, seconds: 10 }] }
  },
  validate: ({ options: { tag: name } }, object) =>
    object === 'tags' && name === undefined ? [{ path: ['tag'], message: 'is needed: the name of the tag' }] : [],
  open(settings, io) {
    const http = connect(settings.config, io)
    const name = settings.options.tag ?? ''
    const known = new Map<Model, Promise<readonly FieldInfo[]>>()
    const fields = (model: Model): Promise<readonly FieldInfo[]> => {
      const asked = known.get(model) ?? describe(http, model)
      // A failure is not remembered.
      asked.catch(() => known.delete(model))
      known.set(model, asked)
      return asked
    }
    const dates = async (model: Model): Promise<ReadonlySet<string>> =>
      new Set((await fields(model)).filter(({ type }) => type === 'date').map((field) => field.name))
    return {
      check: () => check(http),
      describe: async (object) => (object === 'contacts' || object === 'companies' ? fields(modelOf(object)) : []),
      write(batch) {
        if (batch.object === 'company-contacts') return employ(http, batch)
        if (batch.object === 'tags') return batch.op === 'delete' ? untag(http, batch, name) : tag(http, batch, name)
        return writeRecords(http, batch, () => dates(modelOf(batch.object)))
      },
      // Of pairs of contacts and companies there is no list.
      ...(settings.options.tag === undefined ? {} : { list: () => tagged(http, name) }),
      lookup: (object, matches) => lookup(http, object, matches),
      async read(object, matches) {
        if (OBJECTS[object]?.membership) return (await members(http, matches, name)).map((is) => (is ? {} : null))
        const model = modelOf(object)
        const found =
          model === 'company' ? await one(matches, (match) => companies.find(http, match)) : await contacts.findMany(http, matches)
        const names = await dates(model)
        return found.map((record) => (record === null || record === 'ambiguous' ? null : fieldsOf(model, record, names)))
      },
    }
  },
})

const modelOf = (object: string): Model => (object === 'companies' ? 'company' : 'contact')

async function check(http: Http): Promise<Account> {
  const app = member((await http.request({ method: 'GET', path: '/me' })).json(), 'app')
  const id = text(member(app, 'id_code'))
  if (id === undefined) throw new UnknownOutcome('incomplete_reply', 'Intercom answered without the workspace of the token.')
  return { id, name: text(member(app, 'name')) ?? id }
}

async function* writeRecords(http: Http, batch: Batch, dates: () => Promise<ReadonlySet<string>>): AsyncIterable<Outcome> {
  const { object, op, changes } = batch
  const removes = op === 'archive' || op === 'delete'
  const names = removes ? new Set<string>() : await dates()
  for (const change of changes) {
    const made = recordOf(change, names)
    if ('refused' in made) yield made.refused
    else if (object === 'companies') yield await writeCompany(http, op, change, made.record)
    else if (removes) yield await contacts.remove(http, change, op)
    else yield await (op === 'update' ? contacts.update : contacts.upsert)(http, change, made.record)
  }
}

function writeCompany(http: Http, op: Batch['op'], change: Change, record: Fields): Promise<Outcome> {
  if (op === 'archive') return companies.archive(http, change)
  return (op === 'update' ? companies.update : companies.upsert)(http, change, record)
}

/** In order, one after the other. */
async function one<T>(matches: readonly Fields[], ask: (match: Fields) => Promise<T>): Promise<T[]> {
  const found: T[] = []
  for (const match of matches) found.push(await ask(match))
  return found
}

const idOf = (record: Fields | null | 'ambiguous'): string | null =>
  record === null || record === 'ambiguous' ? null : (text(record['id']) ?? null)

const lower = (value: Fields[string] | undefined): string => (text(value) ?? '').trim().toLowerCase()

/** What `lookup` finds records by. */
const FOUND_BY: Readonly<Record<string, readonly string[]>> = {
  contacts: ['external_id', 'email'],
  companies: ['company_id', 'name'],
  admins: ['email', 'name'],
  tags: ['name'],
}

/** Ids of contacts, companies, admins (owners) and tags. Admins and tags are few: all are read. */
async function lookup(http: Http, object: string, matches: readonly Fields[]): Promise<(string | null)[]> {
  const by = Object.hasOwn(FOUND_BY, object) ? FOUND_BY[object] : undefined
  if (by === undefined)
    throw new Refused('unknown_object', `Intercom’s ${object} can’t be looked up: \`lookup\` is ${Object.keys(FOUND_BY).join(', ')}.`, 0)
  if (!matches.every((match) => by.some((name) => name in match)))
    throw new Refused('unknown_match', `Intercom’s ${object} are looked up by ${by.join(' or ')}.`, 0)
  if (object === 'companies') return (await one(matches, (match) => companies.find(http, match))).map(idOf)
  if (object === 'contacts') return (await contacts.findMany(http, matches)).map(idOf)
  const [path, name] = object === 'admins' ? ['/admins', 'admins'] : ['/tags', 'data']
  const list = objects(member((await http.request({ method: 'GET', path })).json(), name))
  return matches.map((match) => {
    const found = list.filter((record) =>
      Object.entries(match).every(([name, value]) => lower(value) !== '' && lower(record[name]) === lower(value)),
    )
    return found.length === 1 ? idOf(found[0] ?? null) : null
  })
}
