/** Keeps users and organizations of Zendesk Support as the model has them, by bulk jobs of 100. */
import { z } from 'zod'
import {
  type Account,
  AuthError,
  type Batch,
  type Change,
  type ConnectorIO,
  defineConnector,
  exactNumber,
  type Fields,
  type Http,
  type JobToken,
  type ObjectSpec,
  type Outcome,
  Refused,
} from '../../src/index.ts'
import { madePrimary, settled, wantedEmail } from './email.ts'
import { describe, fieldsOf, type Kind, kindOf, recordOf } from './fields.ts'
import { find, many } from './find.ts'
import { begun, follow, type Job, jobsOf, refusedAs, resultsOf, tokenOf } from './jobs.ts'
import { type Config, config, connect } from './login.ts'
import { isObject, member, objects, text } from './reply.ts'

/** Keyed by what only one record has, so that a repeat changes nothing. */
const REPLAY = { upsert: 'harmless', update: 'harmless', delete: 'harmless' } as const
const COMMON = {
  modes: ['upsert', 'update', 'mirror'],
  address: { match: 'all', renames: true },
  confirms: 'job',
  replay: REPLAY,
  removes: ['delete', 'clear', 'set', 'none'],
  nested: true,
} as const

const OBJECTS: Readonly<Record<string, ObjectSpec>> = {
  users: {
    ...COMMON,
    description: 'Users: end users, and agents by their role.',
    // "The search for the user record is not case sensitive" (Create Or Update User); e-mail addresses are kept in lower case.
    match: { external_id: 'lower_ascii', email: 'email' },
  },
  organizations: {
    ...COMMON,
    description: 'Organizations. Their names are unique.',
    // "Name is not available as a matching criteria" (Create Or Update Organization).
    match: { external_id: 'lower_ascii' },
  },
}

/** The part of the plan's requests that a sync takes; the rest is for whoever else works with the account. */
const SHARE = 3 / 4

/** What `lookup` finds records by. */
const FOUND_BY: Readonly<Record<Kind, readonly string[]>> = { user: ['external_id', 'email'], organization: ['external_id', 'name'] }

export default defineConnector<Config, Record<string, never>>({
  name: 'zendesk',
  description: 'Users and organizations of Zendesk Support.',
  version: 1,
  config,
  options: z.strictObject({}),
  objects: OBJECTS,
  limits: ({ config: { requests_per_minute } }) => ({
    // "Up to 100 user objects", for every bulk endpoint ("Users", "Organizations").
    rows: 100,
    // At most 30 jobs of an account may be queued or running ("Rate limits", Job limit): others want some of them too.
    concurrency: 4,
    // "Rate limits": requests per minute by plan; looks at what is there and questions about jobs count as well.
    windows: [{ requests: Math.floor(requests_per_minute * SHARE), seconds: 60 }],
    timeout: 60_000,
  }),
  open(settings, io) {
    const http = connect(settings.config, io)
    const account = { http, io, bulk: { imports: true } }
    return {
      check: () => check(http, settings.config.subdomain),
      describe: (object) => describe(http, kindOf(object)),
      write: (batch) => (batch.op === 'delete' ? remove(account, batch) : save(account, batch)),
      resume: (token, batch) => results(account, jobsOf(token), batch),
      lookup: (object, matches) => lookup(http, object, matches),
      read: async (object, matches) =>
        (
          await find(
            http,
            kindOf(object),
            matches.map((match) => ({ match })),
          )
        ).map((record) => record && fieldsOf(kindOf(object), record)),
    }
  },
})

interface Open {
  readonly http: Http
  readonly io: ConnectorIO
  /** Whether the account takes bulk imports of users; until it refuses one it is taken to. */
  readonly bulk: { imports: boolean }
}

/** `/users/me` answers 200 to anybody: without a login as an anonymous end user. */
async function check(http: Http, subdomain: string): Promise<Account> {
  const user = member((await http.request({ method: 'GET', path: '/api/v2/users/me' })).json(), 'user')
  const role = text(member(user, 'role'))
  if (text(member(user, 'id')) === undefined)
    throw new AuthError('CDP3001', 'Zendesk does not know this login.', { hint: 'Check the credentials of this destination.' })
  if (role !== 'admin' && role !== 'agent')
    throw new AuthError('CDP3002', 'This login belongs to an end user, who may change nobody.', {
      hint: 'Use the login of an admin, or of an agent whose custom role may manage users and organizations.',
    })
  // Zendesk tells no number of the account; the subdomain is what everything of it is addressed by.
  const name = subdomain.toLowerCase()
  return { id: name, name: `${name}.zendesk.com` }
}

async function lookup(http: Http, object: string, matches: readonly Fields[]): Promise<(string | null)[]> {
  if (!Object.hasOwn(OBJECTS, object))
    throw new Refused('unknown_object', `Zendesk’s ${object} can’t be looked up: \`lookup\` is users or organizations.`, 0)
  const kind = kindOf(object)
  const by = FOUND_BY[kind]
  if (!matches.every((match) => by.some((name) => name in match)))
    throw new Refused('unknown_match', `Zendesk’s ${object} are looked up by ${by.join(' or ')}.`, 0)
  const found = await find(
    http,
    kind,
    matches.map((match) => ({ match })),
  )
  return found.map((record) => text(record?.['id']) ?? null)
}

interface Row {
  readonly change: Change
  readonly record: Fields
  /** The user or organization that is there; undefined when there is none, or Zendesk finds it by itself. */
  readonly id: string | undefined
}

/** A record that gets another match is still the one that was written. */
const moved = ({ previousMatch, remoteId }: Change): string | undefined => (previousMatch === null ? undefined : (remoteId ?? undefined))

async function* save(account: Open, batch: Batch): AsyncIterable<Outcome | JobToken> {
  const { http, bulk } = account
  const kind = kindOf(batch.object)
  let rows: Row[] = []
  for (const change of batch.changes) {
    const made = recordOf(kind, change)
    if ('refused' in made) yield made.refused
    else rows.push({ change, ...made, id: moved(change) })
  }
  rows = await withoutGone(http, kind, rows)
  // Users are found by Zendesk as it creates or updates them.
  const finds = kind === 'user' && batch.op === 'upsert'
  if (!finds) rows = await withIds(http, kind, rows)
  const fresh = rows.filter(({ id }) => id === undefined)
  const known = rows.filter(({ id }) => id !== undefined)
  const jobs: Job[] = []
  if (fresh.length > 0 && batch.op === 'upsert') {
    const job = finds && !bulk.imports ? null : await create(account, kind, fresh)
    if (job === null) {
      for (const row of rows) yield await saveOne(http, row)
      return
    }
    jobs.push(job)
  }
  // Both jobs are begun before anybody is told: were one lost on the way, its rows are sent again, which does no harm.
  if (known.length > 0) jobs.push(await update(http, kind, known))
  if (batch.op === 'update') for (const { change } of fresh) yield { key: change.key, result: 'absent' }
  if (jobs.length === 0) return
  yield { token: tokenOf(jobs) }
  yield* results(account, jobs, batch)
}

/** What was deleted there since can't be changed: its row is one like any other. */
async function withoutGone(http: Http, kind: Kind, rows: readonly Row[]): Promise<Row[]> {
  const ids = rows.flatMap(({ id }) => id ?? [])
  const there = new Set(ids.length > 0 ? (await many(http, kind, { ids: ids.join(',') })).map((record) => text(record['id'])) : [])
  return rows.map((row) => ({ ...row, id: there.has(row.id) ? row.id : undefined }))
}

async function withIds(http: Http, kind: Kind, rows: readonly Row[]): Promise<Row[]> {
  const open = rows.filter(({ id }) => id === undefined)
  const found = await find(
    http,
    kind,
    open.map(({ change }) => change),
  )
  const ids = new Map(open.map(({ change }, i) => [change.key, text(found[i]?.['id'])]))
  return rows.map((row) => ({ ...row, id: row.id ?? ids.get(row.change.key) }))
}

/** Null: the account takes no bulk imports of users. "A 403 Forbidden error is returned if data imports are not enabled" (Create Or Update Many Users). */
async function create({ http, io, bulk }: Open, kind: Kind, rows: readonly Row[]): Promise<Job | null> {
  const path = `/api/v2/${kind}s/${kind === 'user' ? 'create_or_update_many' : 'create_many'}`
  const json = { [`${kind}s`]: rows.map(({ record }) => record) }
  // A missing scope is a 403 too; then the single requests that follow say so.
  const reply = await http.request({ method: 'POST', path, json, accept: kind === 'user' ? [403] : undefined })
  if (reply.status === 403) {
    io.log('bulk imports of users are not enabled in this account: users are sent one by one')
    bulk.imports = false
    return null
  }
  return begun(reply.json(), { keys: keysOf(rows), by: kind === 'user' ? 'order' : 'index' })
}

async function update(http: Http, kind: Kind, rows: readonly Row[]): Promise<Job> {
  const json = { [`${kind}s`]: rows.map(({ record, id = '' }) => ({ ...record, id: exactNumber(id) })) }
  const reply = await http.request({ method: 'PUT', path: `/api/v2/${kind}s/update_many`, json })
  return begun(reply.json(), { keys: keysOf(rows), ids: rows.map(({ id = '' }) => id), by: 'index' })
}

const keysOf = (rows: readonly { readonly change: Change }[]): string[] => rows.map(({ change }) => change.key)

/** One user by a request of its own. */
async function saveOne(http: Http, { change, record, id }: Row): Promise<Outcome> {
  const { key } = change
  const way =
    id === undefined
      ? ({ method: 'POST', path: '/api/v2/users/create_or_update' } as const)
      : ({ method: 'PUT', path: `/api/v2/users/${id}` } as const)
  const reply = await http.request({ ...way, json: { user: record }, accept: [400, 409, 422] })
  const body = reply.json()
  if (reply.status >= 400) return refusal(key, body)
  const user = member(body, 'user')
  const remoteId = text(member(user, 'id'))
  if (!isObject(user) || remoteId === undefined)
    return { key, result: 'unknown', code: 'incomplete_reply', message: 'Zendesk answered without the user.' }
  const outcome: Outcome = { key, result: 'ok', remoteId }
  return wantedEmail(change) === undefined ? outcome : madePrimary(http, user, change, outcome)
}

/** `{"error":"RecordInvalid","details":{"email":[{"description","error"}]}}`, or `{"error":{"title","message"}}`. */
function refusal(key: string, body: Parameters<typeof member>[0]): Outcome {
  const [error, details] = [member(body, 'error'), member(body, 'details')]
  const [field, problems] = (isObject(details) ? Object.entries(details)[0] : undefined) ?? []
  const first = objects(problems)?.[0]
  const message = text(first?.['description']) ?? text(member(error, 'message')) ?? text(member(body, 'description'))
  return refusedAs(key, text(error) ?? text(member(error, 'title')), message, field === 'base' ? undefined : field)
}

async function* remove(account: Open, batch: Batch): AsyncIterable<Outcome | JobToken> {
  const { http } = account
  const kind = kindOf(batch.object)
  const found = await find(http, kind, batch.changes)
  const rows = batch.changes.map((change, i) => ({ change, id: text(found[i]?.['id']) }))
  const there = rows.filter(({ id }) => id !== undefined)
  const jobs: Job[] = []
  if (there.length > 0) {
    const ids = there.map(({ id = '' }) => id)
    const reply = await http.request({ method: 'DELETE', path: `/api/v2/${kind}s/destroy_many`, query: { ids: ids.join(',') } })
    jobs.push(begun(reply.json(), { keys: keysOf(there), ids, by: 'index' }))
  }
  for (const { change, id } of rows) if (id === undefined) yield { key: change.key, result: 'ok' }
  if (jobs.length === 0) return
  yield { token: tokenOf(jobs) }
  yield* results(account, jobs, batch)
}

/** The outcomes of jobs, for those of the changes that were in them. */
async function* results({ http, io }: Open, jobs: readonly Job[], batch: Batch): AsyncIterable<Outcome> {
  const changes = new Map(batch.changes.map((change) => [change.key, change]))
  for await (const [job, status] of follow(http, io, jobs)) {
    const list = [...resultsOf(job, status, changes)]
    if (batch.object === 'users' && batch.op !== 'delete') yield* settled(http, list)
    else yield* list.map(({ outcome }) => outcome)
  }
}
