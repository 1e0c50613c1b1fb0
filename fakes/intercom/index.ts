/** An Intercom workspace: contacts, companies, tags and data attributes. */
import { defineFake, type FakeControl, type FakeReply, type FakeService } from '../../src/testing/fake.ts'
import { defined, only, shown as shownAttribute } from './attributes.ts'
import { admit, bodyOf, type Call, unknownPath } from './call.ts'
import { type Json, missing, noContact, Refusal, refused } from './replies.ts'
import { search } from './search.ts'
import { records, shownCompany, shownContact } from './shown.ts'
import { contactTags, tags } from './tags.ts'
import { ADMINS, type Contact, Workspace } from './workspace.ts'

const TOKEN = 'intercom-sandbox-token'
/** For tests: the same workspace without the permission to write. */
const READ_ONLY = 'intercom-sandbox-read-only'

/** Versions in which contacts are as they are here. The app is an old one: without the header it gets 1.4. */
const VERSIONS = ['2.14', '2.15', '2.16']

/** Calls per minute of one app, counted in windows of 10 seconds ("Rate limiting"); only told, not enforced. */
const PER_WINDOW = 1666

export default defineFake({
  name: 'intercom',
  description: 'Contacts, companies, tags and data attributes of the Intercom API 2.14 to 2.16, after its OpenAPI documents.',
  destination: (url) => ({ access_token: TOKEN, base_url: url }),
  intruder: (url) => ({ access_token: 'intercom-wrong-token', base_url: url }),
  create,
})

function create(control: FakeControl): FakeService {
  const workspace = new Workspace(control)
  const headers = (): Record<string, string> => ({
    'x-ratelimit-limit': String(PER_WINDOW),
    'x-ratelimit-remaining': String(PER_WINDOW - 1),
    'x-ratelimit-reset': String((Math.floor(control.now() / 10_000) + 1) * 10),
  })
  return {
    handle(request) {
      let reply: FakeReply
      try {
        reply = answer({ control, workspace, request })
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        reply = error.reply
      }
      return { ...reply, headers: { ...headers(), ...reply.headers } }
    },
    isWrite: (request) => request.method !== 'GET' && request.path !== '/contacts/search',
    records: () => records(workspace),
    failure: (status, detail) => failure(status, detail, Math.ceil(control.now() / 1000)),
  }
}

function answer(call: Call): FakeReply {
  const { request } = call
  const [, token] = /^Bearer +(.+)$/i.exec(request.headers['authorization'] ?? '') ?? []
  if (token !== TOKEN && token !== READ_ONLY) return refused(401, 'unauthorized', 'Access Token Invalid')
  if (!VERSIONS.includes(request.headers['intercom-version'] ?? '1.4'))
    return refused(400, 'intercom_version_invalid', 'The requested version could not be found')
  if (!/(application\/json|\*\/\*)/.test(request.headers['accept'] ?? '*/*'))
    return refused(406, 'media_type_not_acceptable', 'The Accept header should send a media type of application/json')
  const hasBody = request.text !== ''
  if (hasBody && !/^application\/json\b/.test(request.headers['content-type'] ?? ''))
    return refused(415, 'media_type_not_acceptable', 'The Content-Type header should send a media type of application/json')
  const writes = request.method !== 'GET' && request.path !== '/contacts/search'
  if (writes && token === READ_ONLY) return refused(403, 'token_unauthorized', 'Not authorized to access resource')
  const [first = '', ...rest] = request.path.slice(1).split('/').map(decodeURIComponent)
  switch (first) {
    case 'me':
      if (request.method === 'GET' && rest.length === 0) return { status: 200, json: me() }
      break
    case 'admins':
      if (request.method === 'GET' && rest.length === 0) return { status: 200, json: { type: 'admin.list', admins: ADMINS } }
      break
    case 'contacts':
      return contacts(call, rest)
    case 'companies':
      return companies(call, rest)
    case 'tags':
      return tags(call, rest)
    case 'data_attributes':
      if (rest.length === 0) return dataAttributes(call)
  }
  return unknownPath()
}

const me = (): Json => ({
  ...ADMINS[0],
  email_verified: true,
  app: {
    type: 'app',
    id_code: 'sandbox1',
    name: 'Sandbox workspace',
    created_at: 1_734_537_243,
    secure: false,
    timezone: 'Etc/UTC',
    region: 'US',
  },
  has_inbox_seat: true,
})

function contacts(call: Call, [id, part, partId, more]: readonly string[]): FakeReply {
  const { control, workspace, request } = call
  const { method } = request
  if (more !== undefined) return unknownPath()
  if (id === undefined) {
    if (method !== 'POST') return unknownPath()
    const input = bodyOf(request)
    admit(call)
    return { status: 200, json: shownContact(workspace.createContact(input)) }
  }
  if (method === 'POST' && id === 'search' && part === undefined) {
    const { found, pages, total } = search(workspace, control, bodyOf(request))
    return {
      status: 200,
      json: { type: 'list', data: found.map(shownContact), total_count: total, pages },
    }
  }
  if (method === 'POST' && id === 'merge' && part === undefined) {
    const { from, into } = only(bodyOf(request), ['from', 'into'], ['from', 'into'])
    return { status: 200, json: shownContact(workspace.mergeContacts(from, into)) }
  }
  if (method === 'GET' && id === 'find_by_external_id' && part !== undefined && partId === undefined) return byExternalId(workspace, part)
  if (part === 'tags') return contactTags(call, workspace.contact(id), partId)
  if (part === 'companies') return contactCompanies(call, workspace.contact(id), partId)
  if (partId !== undefined) return unknownPath()
  switch (`${method} ${part ?? ''}`) {
    case 'GET ':
      return contactById(workspace, id, request.headers['intercom-version'])
    case 'PUT ': {
      const contact = workspace.contact(id)
      const input = bodyOf(request)
      admit(call)
      return { status: 200, json: shownContact(workspace.updateContact(contact, input)) }
    }
    case 'DELETE ':
    case 'POST archive':
    case 'POST unarchive':
      return endContact(call, id, part ?? 'delete')
    default:
      return unknownPath()
  }
}

function endContact(call: Call, id: string, what: string): FakeReply {
  const { workspace } = call
  const contact = workspace.contacts.get(id)
  if (contact === undefined || contact.mergedInto !== null) throw noContact()
  admit(call)
  const reference = { type: 'contact', id, external_id: contact.fields['external_id'] ?? null }
  if (what === 'delete') {
    workspace.contacts.delete(id)
    return { status: 200, json: { ...reference, deleted: true } }
  }
  contact.archived = what === 'archive'
  return { status: 200, json: { ...reference, archived: contact.archived } }
}

/** From 2.16 on a merged contact is gone with a link; before, it was not found. */
function contactById(workspace: Workspace, id: string, version: string | undefined): FakeReply {
  const into = workspace.contacts.get(id)?.mergedInto
  return version === '2.16' && typeof into === 'string' ? merged(into) : { status: 200, json: shownContact(workspace.contact(id)) }
}

/** Users only: leads are not found by it. */
function byExternalId(workspace: Workspace, externalId: string): FakeReply {
  const found = [...workspace.contacts.values()].find((contact) => contact.fields['external_id'] === externalId)
  if (found?.mergedInto) return merged(found.mergedInto)
  if (found === undefined || found.archived || found.fields['role'] !== 'user') throw noContact()
  return { status: 200, json: shownContact(found) }
}

const merged = (into: string): FakeReply =>
  refused(410, 'contact_merged', "This contact has been merged. See the 'Link' header for the canonical contact.", {
    link: `</contacts/${into}>; rel="canonical"`,
  })

function contactCompanies(call: Call, contact: Contact, companyId: string | undefined): FakeReply {
  const { workspace, request } = call
  if (request.method === 'GET' && companyId === undefined) {
    const data = [...contact.companies].map((id) => shownCompany(workspace, workspace.company(id)))
    return {
      status: 200,
      json: { type: 'list', data, total_count: data.length, pages: { type: 'pages', page: 1, per_page: 50, total_pages: 1 } },
    }
  }
  if (request.method === 'POST' && companyId === undefined) {
    const { id } = bodyOf(request)
    if (id === undefined) throw missing('company not specified')
    const company = workspace.company(id)
    admit(call)
    workspace.attach(contact, company)
    return { status: 200, json: shownCompany(workspace, company) }
  }
  if (request.method !== 'DELETE' || companyId === undefined) return unknownPath()
  const company = workspace.company(companyId)
  admit(call)
  contact.companies.delete(company.id)
  return { status: 200, json: shownCompany(workspace, company) }
}

function companies(call: Call, [id, ...more]: readonly string[]): FakeReply {
  const { workspace, request } = call
  const { method, query } = request
  if (more.length > 0) return unknownPath()
  if (id === undefined && method === 'POST') {
    const input = bodyOf(request)
    admit(call)
    return { status: 200, json: shownCompany(workspace, workspace.saveCompany(input)) }
  }
  if (id === undefined && method === 'GET') {
    const companyId = query.get('company_id')
    // One company by its own id, a list by anything else.
    if (companyId !== null)
      return { status: 200, json: shownCompany(workspace, workspace.company(workspace.companyByCompanyId(companyId)?.id)) }
    const name = query.get('name')
    const found = [...workspace.companies.values()].filter((company) => name === null || company.fields['name'] === name)
    const data = call.control.anyOrder(found).map((company) => shownCompany(workspace, company))
    return {
      status: 200,
      json: { type: 'list', data, total_count: data.length, pages: { type: 'pages', next: null, page: 1, per_page: 15, total_pages: 1 } },
    }
  }
  const company = workspace.company(id)
  switch (method) {
    case 'GET':
      return { status: 200, json: shownCompany(workspace, company) }
    case 'PUT': {
      const input = bodyOf(request)
      admit(call)
      return { status: 200, json: shownCompany(workspace, workspace.saveCompany(input, company)) }
    }
    case 'DELETE':
      admit(call)
      workspace.removeCompany(company)
      return { status: 200, json: { id: company.id, object: 'company', deleted: true } }
    default:
      return unknownPath()
  }
}

function dataAttributes({ control, workspace, request }: Call): FakeReply {
  if (request.method === 'GET') {
    const model = request.query.get('model')
    const found = workspace.attributes.filter((attribute) => model === null || attribute.model === model)
    return { status: 200, json: { type: 'list', data: control.anyOrder(found).map(shownAttribute) } }
  }
  if (request.method !== 'POST') return unknownPath()
  const attribute = defined(workspace.attributes, bodyOf(request))
  workspace.attributes.push(attribute)
  return { status: 200, json: shownAttribute(attribute) }
}

/** There is no quota of the day: `daily` is a long wait only. Waits are told by the time at which the window ends. */
function failure(status: number, { retryAfter, daily }: { retryAfter?: number; daily?: boolean }, now: number): FakeReply {
  const wait = retryAfter ?? (daily === true ? 3600 : undefined)
  switch (status) {
    case 401:
      return refused(status, 'unauthorized', 'Access Token Invalid')
    case 403:
      return refused(status, 'token_unauthorized', 'Not authorized to access resource')
    case 429:
      return refused(status, 'rate_limit_exceeded', 'Exceeded rate limit of 1666 in 10_seconds', {
        'x-ratelimit-limit': String(PER_WINDOW),
        'x-ratelimit-remaining': '0',
        ...(wait === undefined ? {} : { 'x-ratelimit-reset': String(now + wait) }),
      })
    case 503:
      return refused(status, 'service_unavailable', 'Sorry, the API service is temporarily unavailable')
    default:
      return refused(status, 'server_error', 'Server error')
  }
}
