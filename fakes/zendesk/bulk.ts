/** The bulk endpoints of users and organizations: up to 100 records each, one job, one result per record. */
import type { FakeControl, FakeReply, FakeRequest } from '../../src/testing/fake.ts'
import { attempt, type Jobs } from './jobs.ts'
import { type Details, invalidAttribute, type Json, notFound, recordInvalid, Refusal } from './replies.ts'
import { checkTypes, type Kind, type Row, type Store } from './store.ts'

const MAX_ROWS = 100

export interface Account {
  readonly control: FakeControl
  readonly store: Store
  readonly jobs: Jobs
}

/** What a row that somebody asked to be refused is refused with. */
export const refusal = (kind: Kind): FakeReply =>
  recordInvalid({ base: [{ description: `${kind === 'user' ? 'User' : 'Organization'} could not be saved`, error: 'InvalidValue' }] })

/** POST create_many and create_or_update_many. */
export function createMany({ control, store, jobs }: Account, kind: Kind, request: FakeRequest, update: boolean): FakeReply {
  const path = `${kind}s/${update ? 'create_or_update_many' : 'create_many'}`
  const inputs = list(body(request, path), kind, path)
  jobs.admit()
  const results = inputs.map((input, index) => {
    const found = update ? attemptFind(store, kind, input) : undefined
    return attempt(
      () => {
        if (control.refusesRow()) throw new Refusal(refusal(kind))
        const { created, row } = store.save(kind, input, found)
        const { id, email, external_id } = row.record
        if (kind === 'organization') return { id, index, status: 'Created' }
        return { id, status: created ? 'Created' : 'Updated', email, external_id }
      },
      // Of users `id` is then the position in the request, and nothing else tells which row it was.
      (_, details) =>
        kind === 'user'
          ? { id: index, error: found === undefined ? 'UserCreateError' : 'UserUpdateError', details, status: 'Failed' }
          : { index, error: 'OrganizationCreateError', details, status: 'Failed' },
    )
  })
  // The results of users come in the order of the request; those of organizations carry an index.
  const ordered = kind === 'user' ? results : control.anyOrder(results)
  return { status: 200, json: { job_status: jobs.begin(`Bulk Create ${title(kind)}`, ordered) } }
}

/** PUT update_many: many records each with its own changes, or `?ids=` with one set of changes for all. */
export function updateMany({ control, store, jobs }: Account, kind: Kind, request: FakeRequest): FakeReply {
  const path = `${kind}s/update_many`
  const given = body(request, path)
  const named = idsOf(request, path)
  const inputs: Json[] =
    named === undefined ? list(given, kind, path) : named.values.map((value) => ({ ...one(given, kind, path), [named.by]: value }))
  for (const input of inputs)
    if (input['id'] === undefined && input['external_id'] === undefined)
      throw new Refusal(invalidAttribute('id', `${kind}s.id must be present`, path))
  jobs.admit()
  const results = inputs.map((input, index) => {
    const id = input['id'] === undefined ? store.byExternalId(kind, input['external_id'])?.record.id : Number(input['id'])
    const common = { ...(id === undefined ? {} : { id }), index, action: 'update' }
    return attempt(
      () => {
        const row = id === undefined ? undefined : store.rows(kind).get(id)
        if (row === undefined) throw new Refusal(notFound())
        if (control.refusesRow()) throw new Refusal(refusal(kind))
        store.save(kind, input, row)
        return { ...common, success: true, status: 'Updated' }
      },
      (error, details) => ({
        ...common,
        success: false,
        status: 'Failed',
        error: error === 'RecordInvalid' ? `${title(kind)}UpdateError` : error,
        details,
      }),
    )
  })
  return { status: 200, json: { job_status: jobs.begin(`Bulk Update ${title(kind)}`, control.anyOrder(results)) } }
}

/** DELETE destroy_many. An external id that nobody has leaves no trace in the results. */
export function destroyMany({ control, store, jobs }: Account, kind: Kind, request: FakeRequest): FakeReply {
  const path = `${kind}s/destroy_many`
  const named = idsOf(request, path)
  if (named === undefined) throw new Refusal(invalidAttribute('ids', 'ids must be present', path))
  jobs.admit()
  const ids = named.values
    .map((value) => (named.by === 'id' ? Number(value) : store.byExternalId(kind, value)?.record.id))
    .filter((id) => id !== undefined)
  const results = ids.map((id, index) =>
    attempt(
      () => {
        const row = store.rows(kind).get(id)
        if (row === undefined) throw new Refusal(notFound())
        if (control.refusesRow()) throw new Refusal(recordInvalid(undeletable(kind)))
        store.remove(kind, row)
        return { id, action: 'delete', success: true, status: 'Deleted' }
      },
      (error, details) => ({ id, index, action: 'delete', success: false, status: 'Failed', error, details }),
    ),
  )
  return { status: 200, json: { job_status: jobs.begin(`Bulk Delete ${title(kind)}`, control.anyOrder(results)) } }
}

export const undeletable = (kind: Kind): Details => ({
  base: [{ description: `Cannot delete ${kind}: is requester on 1 ticket(s) that is/are not closed.`, error: 'InvalidValue' }],
})

/** GET show_many: those that exist, in no promised order. */
export function showMany({ control, store }: Account, kind: Kind, request: FakeRequest): Row[] {
  const named = idsOf(request, `${kind}s/show_many`)
  if (named === undefined) throw new Refusal(invalidAttribute('ids', 'ids must be present', `${kind}s/show_many`))
  const rows = named.values.map((value) => (named.by === 'id' ? store.rows(kind).get(Number(value)) : store.byExternalId(kind, value)))
  return control.anyOrder([...new Set(rows.filter((row) => row !== undefined))])
}

/** A body that is no JSON object, or of another content type, holds no attributes at all. Throws Refusal 422 for broken JSON. */
export function body(request: FakeRequest, path: string): Json {
  if (!/^application\/json\b/.test(request.headers['content-type'] ?? '')) return {}
  let parsed: unknown
  try {
    parsed = request.json()
  } catch {
    throw new Refusal({ status: 422, json: { error: 'Unprocessable Entity', message: 'Server could not parse JSON' } })
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new Refusal(invalidAttribute('body', 'body must be an object', path))
  return parsed as Json
}

/** The one record under `user` or `organization`. Throws Refusal 400. */
export function one(given: Json, kind: Kind, path: string): Json {
  const input = given[kind]
  if (typeof input !== 'object' || input === null || Array.isArray(input))
    throw new Refusal(invalidAttribute(kind, `${kind} must be an object`, path))
  checkTypes(kind, input as Json, path)
  return input as Json
}

function list(given: Json, kind: Kind, path: string): Json[] {
  const inputs = given[`${kind}s`]
  if (!Array.isArray(inputs) || !inputs.every((input) => typeof input === 'object' && input !== null && !Array.isArray(input)))
    throw new Refusal(invalidAttribute(`${kind}s`, `${kind}s must be an array of objects`, path))
  atMost(inputs.length, `${kind}s`)
  for (const input of inputs as Json[]) checkTypes(kind, input, path)
  return inputs as Json[]
}

function idsOf(request: FakeRequest, path: string): { by: 'id' | 'external_id'; values: string[] } | undefined {
  const ids = request.query.get('ids')
  const externalIds = request.query.get('external_ids')
  if (ids === null && externalIds === null) return undefined
  const values = (ids ?? externalIds ?? '').split(',').filter((value) => value !== '')
  if (ids !== null && !values.every((value) => /^\d+$/.test(value)))
    throw new Refusal(invalidAttribute('ids', 'ids must be a comma-separated list of ids', path))
  atMost(values.length, ids === null ? 'external_ids' : 'ids')
  return { by: ids === null ? 'external_id' : 'id', values }
}

/** Every bulk endpoint says "up to 100"; what it answers to more is in no document. */
function atMost(count: number, name: string): void {
  if (count > MAX_ROWS)
    throw new Refusal({
      status: 400,
      json: { error: 'TooManyValues', description: `Parameter ${name} accepts a maximum of ${MAX_ROWS} values.` },
    })
}

function attemptFind(store: Store, kind: Kind, input: Json): Row | undefined {
  return store.find(kind, { ...input, id: undefined })
}

const title = (kind: Kind): string => (kind === 'user' ? 'User' : 'Organization')
