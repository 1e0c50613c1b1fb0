/** Tags: made, renamed and deleted, and put on contacts and companies one by one or many at once. */
import type { FakeReply } from '../../src/testing/fake.ts'
import { only } from './attributes.ts'
import { admit, bodyOf, type Call, unknownPath } from './call.ts'
import { invalid, type Json, noResource } from './replies.ts'
import { ADMINS, type Contact } from './workspace.ts'

/** GET, POST and DELETE /contacts/{id}/tags. */
export function contactTags(call: Call, contact: Contact, tagId: string | undefined): FakeReply {
  const { workspace, request } = call
  const shown = (id: string): Json => ({
    type: 'tag',
    id,
    name: workspace.tags.get(id),
    applied_at: contact.tags.get(id) ?? workspace.now(),
    applied_by: { type: 'admin', id: ADMINS[0]?.id },
  })
  if (request.method === 'GET' && tagId === undefined)
    return { status: 200, json: { type: 'list', data: call.control.anyOrder([...contact.tags.keys()]).map(shown) } }
  if (request.method === 'POST' && tagId === undefined) {
    const { id } = only(bodyOf(request), ['id'], ['id'])
    if (typeof id !== 'string' || !workspace.tags.has(id)) throw noResource()
    admit(call)
    if (!contact.tags.has(id)) contact.tags.set(id, workspace.now())
    return { status: 200, json: shown(id) }
  }
  if (request.method !== 'DELETE' || tagId === undefined) return unknownPath()
  if (!contact.tags.has(tagId)) throw noResource()
  admit(call)
  const reply = shown(tagId)
  contact.tags.delete(tagId)
  return { status: 200, json: reply }
}

/** POST /tags makes or renames a tag, or tags many at once: all of them or, when one is not there, none. */
export function tags(call: Call, [id, ...more]: readonly string[]): FakeReply {
  const { workspace, request } = call
  const shown = (tagId: string): Json => ({ type: 'tag', id: tagId, name: workspace.tags.get(tagId) })
  if (more.length > 0) return unknownPath()
  if (request.method === 'GET' && id === undefined)
    return { status: 200, json: { type: 'list', data: call.control.anyOrder([...workspace.tags.keys()]).map(shown) } }
  if (id !== undefined) {
    if (!workspace.tags.has(id)) throw noResource()
    if (request.method === 'GET') return { status: 200, json: shown(id) }
    if (request.method !== 'DELETE') return unknownPath()
    workspace.tags.delete(id)
    for (const contact of workspace.contacts.values()) contact.tags.delete(id)
    for (const company of workspace.companies.values()) company.tags.delete(id)
    return { status: 200, text: '' }
  }
  if (request.method !== 'POST') return unknownPath()
  const input = bodyOf(request)
  const { name, users, companies: firms } = input
  const known = Object.keys(input).every((key) => ['id', 'name', 'users', 'companies'].includes(key))
  if (!known || typeof name !== 'string' || name === '') throw invalid('invalid tag parameters')
  if (users !== undefined) return tagContacts(call, name, users, shown)
  if (firms !== undefined) return tagCompanies(call, name, firms, shown)
  if (typeof input['id'] === 'string') {
    if (!workspace.tags.has(input['id'])) throw noResource()
    workspace.tags.set(input['id'], name)
    return { status: 200, json: shown(input['id']) }
  }
  return { status: 200, json: shown(workspace.createTag(name)) }
}

function tagContacts(call: Call, name: string, users: unknown, shown: (id: string) => Json): FakeReply {
  const { workspace } = call
  if (!Array.isArray(users)) throw invalid('invalid tag parameters')
  const found = users.map((user) => workspace.contact((only(user as Json, ['id'], ['id']) as { id: string }).id))
  for (const _ of found) admit(call)
  const tag = workspace.createTag(name)
  for (const contact of found) contact.tags.set(tag, contact.tags.get(tag) ?? workspace.now())
  return { status: 200, json: shown(tag) }
}

function tagCompanies(call: Call, name: string, firms: unknown, shown: (id: string) => Json): FakeReply {
  const { workspace } = call
  if (!Array.isArray(firms)) throw invalid('invalid tag parameters')
  const found = (firms as Json[]).map((firm) => {
    const { id, company_id: companyId, untag } = only(firm, ['id', 'company_id', 'untag'])
    return { company: workspace.company(id ?? workspace.companyByCompanyId(companyId)?.id), untag: untag === true }
  })
  for (const _ of found) admit(call)
  const tag = workspace.createTag(name)
  for (const { company, untag } of found)
    if (untag) company.tags.delete(tag)
    else company.tags.add(tag)
  return { status: 200, json: shown(tag) }
}
