/** How contacts and companies look in replies, and in what a test reads back. */
import type { FakeService } from '../../src/testing/fake.ts'
import type { Json } from './replies.ts'
import type { Company, Contact, Workspace } from './workspace.ts'

/** A contact as replies have it. */
export function shownContact(contact: Contact): Json {
  const { id, fields, custom } = contact
  const list = (name: string, data: readonly Json[]): Json => ({
    type: 'list',
    data,
    url: `/contacts/${id}/${name}`,
    total_count: data.length,
    has_more: false,
  })
  const { avatar } = fields
  return {
    type: 'contact',
    id,
    workspace_id: 'sandbox1',
    external_id: null,
    email: null,
    phone: null,
    name: null,
    owner_id: null,
    signed_up_at: null,
    last_seen_at: null,
    has_hard_bounced: false,
    unsubscribed_from_emails: false,
    ...fields,
    avatar: typeof avatar === 'string' ? { type: 'avatar', image_url: avatar } : null,
    custom_attributes: custom,
    tags: list(
      'tags',
      [...contact.tags.keys()].map((tag) => ({ id: tag, type: 'tag', url: `/tags/${tag}` })),
    ),
    companies: list(
      'companies',
      [...contact.companies].map((company) => ({ id: company, type: 'company', url: `/companies/${company}` })),
    ),
  }
}

/** A company as replies have it. */
export function shownCompany(workspace: Workspace, company: Company): Json {
  const { id, fields, custom } = company
  const { plan, ...plain } = fields
  const users = [...workspace.contacts.values()].filter((contact) => contact.companies.has(id)).length
  const names = [...company.tags].map((tag) => ({ type: 'tag', id: tag, name: workspace.tags.get(tag) }))
  return {
    type: 'company',
    id,
    app_id: 'sandbox1',
    name: null,
    remote_created_at: null,
    monthly_spend: 0,
    session_count: 0,
    user_count: users,
    tags: { type: 'tag.list', tags: names },
    segments: { type: 'segment.list', segments: [] },
    ...plain,
    plan: typeof plan === 'string' ? { type: 'plan', id: plan, name: plan } : {},
    custom_attributes: custom,
  }
}

/** What the workspace holds, for people and tests: tags by name, companies by company_id. */
export function records(workspace: Workspace): ReturnType<FakeService['records']> {
  const tagNames = (ids: Iterable<string>): unknown[] => [...ids].map((id) => workspace.tags.get(id))
  const all = [...workspace.contacts.values()].filter((contact) => contact.mergedInto === null)
  const flat = ({ id, fields, custom, tags: tagged, companies: firms }: Contact): Json => ({
    id,
    ...fields,
    custom_attributes: custom,
    tags: tagNames(tagged.keys()),
    companies: [...firms].map((firm) => workspace.companies.get(firm)?.fields['company_id']),
  })
  return {
    contacts: all.filter((contact) => !contact.archived).map(flat),
    archived_contacts: all.filter((contact) => contact.archived).map(flat),
    companies: [...workspace.companies.values()].map(({ id, fields, custom, tags: tagged }) => ({
      id,
      ...fields,
      custom_attributes: custom,
      tags: tagNames(tagged),
    })),
    tags: [...workspace.tags].map(([id, name]) => ({ id, name })),
  }
}
