/** Google's Data Manager API: Customer Match lists and offline conversions, with the token endpoint in front of it. */
import { defineFake, type FakeControl, type FakeReply, type FakeRequest, type FakeService } from '../../src/testing/fake.ts'
import { checkEvent, checkFrame, checkMember, type Event, type Identifier, type Member, type Request } from './check.ts'
import { createTokens, foreignKeyFile, keyFile } from './oauth.ts'
import { misfits, SHAPES, USER_LIST } from './shape.ts'
import {
  exhausted,
  invalidArgument,
  invalidJson,
  notFound,
  permissionDenied,
  rpcError,
  scopeInsufficient,
  unauthenticated,
  type Violation,
} from './status.ts'

const ACCOUNT = '1234567890'
const DAY = 86_400_000
/** Older clicks are not credited (Google Ads Help, "Import offline conversions": 90 days). */
const OLDEST_EVENT = 90 * DAY

interface UserList {
  readonly name: string
  readonly id: string
  readonly readOnly: boolean
  readonly displayName: string
  readonly membershipStatus: string
  readonly membershipDuration: string
  readonly ingestedUserListInfo: { readonly uploadKeyTypes: readonly string[] }
  readonly [more: string]: unknown
}

/** What came of one request, for `requestStatus:retrieve`. */
interface Ingestion {
  readonly destinations: NonNullable<Request['destinations']>
  readonly status: object
  readonly total: number
  readonly errors: Map<string, number>
  polls: number
}

const listName = (id: string): string => `accountTypes/GOOGLE_ADS/accounts/${ACCOUNT}/userLists/${id}`

function seedList(id: string, displayName: string, keyType: string): UserList {
  return {
    name: listName(id),
    id,
    readOnly: false,
    displayName,
    membershipStatus: 'OPEN',
    membershipDuration: `${(540 * DAY) / 1000}s`,
    accessReason: 'OWNED',
    accountAccessStatus: 'ENABLED',
    ingestedUserListInfo: { uploadKeyTypes: [keyType] },
  }
}

export default defineFake({
  name: 'google-audiences',
  description:
    `Google Ads account ${ACCOUNT} behind the Data Manager API v1, from its protocol buffers: user lists 1001 and 1002 ` +
    '(contact data) and 1003 (mobile ids), conversion actions 7001 and 7002.',
  destination: (url) => ({
    service_account: keyFile(`${url}/token`),
    operating_account: { product: 'GOOGLE_ADS', id: ACCOUNT },
    base_url: url,
    token_url: `${url}/token`,
  }),
  intruder: (url) => ({
    service_account: foreignKeyFile(`${url}/token`),
    operating_account: { product: 'GOOGLE_ADS', id: ACCOUNT },
    base_url: url,
    token_url: `${url}/token`,
  }),
  create,
})

function create(control: FakeControl): FakeService {
  const tokens = createTokens(control)
  const lists = new Map<string, UserList>()
  for (const [id, title, keyType] of [
    ['1001', 'Customers', 'CONTACT_ID'],
    ['1002', 'Trial users', 'CONTACT_ID'],
    ['1003', 'App users', 'MOBILE_ID'],
  ] as const)
    lists.set(id, seedList(id, title, keyType))
  const members = new Map<string, Record<string, unknown>>()
  const conversions = new Map([
    ['7001', new Map<string, object>()],
    ['7002', new Map<string, object>()],
  ])
  const ingestions = new Map<string, Ingestion>()
  let ids = 0
  const nextId = (): string => `t-${(++ids).toString(16).padStart(12, '0')}`

  function ingest(request: FakeRequest): FakeReply {
    const read = readJson(request)
    if ('status' in read) return read
    const shape = SHAPES[request.path]
    const wrong = shape ? misfits(read.body, shape) : []
    if (wrong.length > 0) return invalidJson(wrong)
    const body = read.body as Request
    const events = request.path === '/v1/events:ingest'
    const requestId = nextId()
    if (
      (body.destinations ?? []).some((one) => one.operatingAccount?.accountId !== undefined && one.operatingAccount.accountId !== ACCOUNT)
    )
      return permissionDenied(requestId)
    const rows: readonly Event[] = body.audienceMembers ?? body.events ?? []
    const frame = checkFrame(body, request.path, (id) => (events ? checkAction(id) : checkList(id, rows)))
    if (frame.length > 0) return invalidArgument(frame, requestId)
    const found: Violation[] = []
    for (const [index, row] of rows.entries()) {
      // The API's own documents spell the paths with the list's name twice.
      const at = events ? `events.events[${index}]` : `audience_members.audience_members[${index}]`
      const problems = events ? checkEvent(row, body.encoding ?? '', at) : checkMember(row, body.encoding ?? '', at)
      if (control.refusesRow())
        problems.push(
          events
            ? { field: at, description: 'This event is not valid.', reason: 'INVALID_EVENT' }
            : { field: at, description: 'This audience member is not valid.', reason: 'INVALID_AUDIENCE_MEMBER' },
        )
      found.push(...problems)
    }
    if (found.length > 0) return invalidArgument(control.anyOrder(found), requestId)
    if (body.validateOnly === true) return { status: 200, json: {} }
    const errors = new Map<string, number>()
    for (const row of rows) {
      const reason = events ? convert(body, row) : move(body, row, request.path.endsWith(':remove'))
      if (reason !== null) errors.set(reason, (errors.get(reason) ?? 0) + 1)
    }
    ingestions.set(requestId, {
      destinations: body.destinations ?? [],
      status: statusOf(request.path, rows),
      total: rows.length,
      errors,
      polls: 0,
    })
    return { status: 200, json: { requestId } }
  }

  function checkList(id: string, rows: readonly Member[]): Violation | null {
    const found = lists.get(id)
    if (!found) return { field: '', description: 'User list is not valid.', reason: 'INVALID_USER_LIST_ID' }
    // "MobileData": for Customer Match lists (MOBILE_ID) and basic ones (PSEUDONYMOUS_ID).
    const wanted = rows.some((row) => row.mobileData) ? ['MOBILE_ID', 'PSEUDONYMOUS_ID'] : ['CONTACT_ID']
    if (found.ingestedUserListInfo.uploadKeyTypes.some((type) => wanted.includes(type))) return null
    // A fault of the list, reported at the first member: seen so in replies of the live service.
    return {
      field: 'audience_members[0]',
      description: 'Type of the user list is not applicable for this request.',
      reason: 'INVALID_USER_LIST_TYPE',
    }
  }

  const checkAction = (id: string): Violation | null =>
    conversions.has(id) ? null : { field: '', description: 'Conversion action ID is not valid.', reason: 'INVALID_CONVERSION_ACTION_ID' }

  /** Adds or removes one member, each identifier by itself: that is how Google matches them. */
  function move(body: Request, member: Member, remove: boolean): string | null {
    const consent = { ...body.consent, ...member.consent }
    if (!remove && consent.adUserData === 'CONSENT_DENIED') return 'PROCESSING_ERROR_REASON_DENIED_CONSENT'
    const all: object[] = [
      ...(member.userData?.userIdentifiers ?? []).map((one) => plain(one, body.encoding ?? '')),
      ...(member.mobileData?.mobileIds ?? []).map((mobileId) => ({ mobileId })),
    ]
    for (const id of targetsOf(body, member))
      for (const one of all) {
        const key = `${id} ${JSON.stringify(one)}`
        if (remove) members.delete(key)
        else members.set(key, { userList: id, ...one, ...(Object.keys(consent).length > 0 ? { consent } : {}) })
      }
    return null
  }

  function convert(body: Request, event: Event): string | null {
    const consent = { ...body.consent, ...event.consent }
    if (consent.adUserData === 'CONSENT_DENIED') return 'PROCESSING_ERROR_REASON_DENIED_CONSENT'
    if (control.now() - Date.parse(event.eventTimestamp ?? '') > OLDEST_EVENT) return 'PROCESSING_ERROR_REASON_EVENT_TOO_OLD'
    for (const id of targetsOf(body, event)) {
      const action = conversions.get(id)
      const { gclid } = event.adIdentifiers ?? {}
      const key = event.transactionId || (gclid ? `${gclid} ${event.eventTimestamp}` : `event ${action?.size ?? 0}`)
      if (action?.has(key))
        return event.transactionId ? 'PROCESSING_ERROR_REASON_DUPLICATE_TRANSACTION_ID' : 'PROCESSING_ERROR_REASON_DUPLICATE_GCLID'
      action?.set(key, { conversionAction: id, ...event, ...(Object.keys(consent).length > 0 ? { consent } : {}) })
    }
    return null
  }

  function retrieve(request: FakeRequest): FakeReply {
    const found = ingestions.get(request.query.get('requestId') ?? '')
    if (!found)
      return invalidArgument([{ field: 'request_id', description: 'The request ID is not valid.', reason: 'INVALID_REQUEST_ID' }], nextId())
    const failed = [...found.errors.values()].reduce((sum, one) => sum + one, 0)
    // Processing takes minutes to hours there; here it is over at the second look.
    const done = ++found.polls > 1
    const requestStatus = !done ? 'PROCESSING' : failed === 0 ? 'SUCCESS' : failed === found.total ? 'FAILED' : 'PARTIAL_SUCCESS'
    const errorCounts = [...found.errors].map(([reason, count]) => ({ recordCount: String(count), reason }))
    return {
      status: 200,
      json: {
        requestStatusPerDestination: control.anyOrder(found.destinations).map((destination) => ({
          destination,
          requestStatus,
          ...(done && failed > 0 ? { errorInfo: { errorCounts: control.anyOrder(errorCounts) } } : {}),
          ...(done ? found.status : {}),
        })),
      },
    }
  }

  function userLists(request: FakeRequest): FakeReply {
    const [, type, account, id] = /^\/v1\/accountTypes\/([^/]+)\/accounts\/([^/]+)\/userLists(?:\/([^/]+))?$/.exec(request.path) ?? []
    if (type !== 'GOOGLE_ADS' || account !== ACCOUNT) return permissionDenied(nextId())
    if (id === undefined && request.method === 'GET') return { status: 200, json: { userLists: control.anyOrder([...lists.values()]) } }
    const found = lists.get(id ?? '')
    if (id !== undefined && !found) return notFound('Resource not found.')
    if (found && request.method === 'GET') return { status: 200, json: found }
    if (found && request.method === 'DELETE') {
      lists.delete(found.id)
      for (const key of members.keys()) if (key.startsWith(`${found.id} `)) members.delete(key)
      return { status: 200, json: {} }
    }
    if (request.method !== (found ? 'PATCH' : 'POST')) return noSuchMethod()
    const read = readJson(request)
    if ('status' in read) return read
    const wrong = misfits(read.body, USER_LIST)
    if (wrong.length > 0) return invalidJson(wrong)
    return saveList(read.body as Partial<UserList>, found)
  }

  function saveList(body: Partial<UserList>, found: UserList | undefined): FakeReply {
    if (!found && !body.displayName) return invalidArgument([required('user_list.display_name')], nextId())
    if (!found && !body.ingestedUserListInfo?.uploadKeyTypes?.length)
      return invalidArgument([required('user_list.ingested_user_list_info.upload_key_types')], nextId())
    const seconds = Number(/^(\d+)s$/.exec(body.membershipDuration ?? '0s')?.[1] ?? Number.NaN)
    if (Number.isNaN(seconds) || seconds % 86_400 !== 0)
      return invalidArgument(
        [{ field: 'user_list.membership_duration', description: 'Format is invalid.', reason: 'INVALID_FORMAT' }],
        nextId(),
      )
    const id = found?.id ?? String(2000 + ++ids)
    const saved = { ...(found ?? seedList(id, '', 'CONTACT_ID')), ...body, id, name: listName(id) }
    lists.set(id, saved)
    return { status: 200, json: saved }
  }

  return {
    handle(request) {
      if (request.path === '/token') return tokens.issue(request)
      const refused = tokens.refuses(request.headers['authorization'])
      if (refused === 'scope') return scopeInsufficient()
      if (refused !== null) return unauthenticated(refused)
      if (SHAPES[request.path]) return request.method === 'POST' ? ingest(request) : noSuchMethod()
      if (request.path === '/v1/requestStatus:retrieve') return request.method === 'GET' ? retrieve(request) : noSuchMethod()
      if (/^\/v1\/accountTypes\/[^/]+\/accounts\/[^/]+\/userLists(\/[^/]+)?$/.test(request.path)) return userLists(request)
      return noSuchMethod()
    },
    isWrite: (request) => request.path !== '/token' && request.method !== 'GET' && !/"validateOnly"\s*:\s*true/.test(request.text),
    records: () => ({
      user_lists: [...lists.values()],
      audience_members: [...members.values()],
      conversions: [...conversions.values()].flatMap((one) => [...one.values()]) as Record<string, unknown>[],
    }),
    failure(status, { retryAfter, daily }) {
      if (status === 401) return unauthenticated('ACCESS_TOKEN_EXPIRED')
      if (status === 403) return permissionDenied(nextId())
      if (status === 429) return exhausted(daily === true, retryAfter)
      const headers = retryAfter === undefined ? {} : { headers: { 'retry-after': String(retryAfter) } }
      if (status === 503) return { ...rpcError(503, 'UNAVAILABLE', 'The service is currently unavailable.'), ...headers }
      return { ...rpcError(status, 'INTERNAL', 'Internal error encountered.'), ...headers }
    },
  }
}

const required = (field: string): Violation => ({ field, description: 'Required field is missing.', reason: 'REQUIRED_FIELD_MISSING' })

/** The lists or conversion actions that a row is meant for: those it names by reference, else all of the request. */
const targetsOf = (body: Request, row: Member): string[] =>
  (body.destinations ?? [])
    .filter((one) => !row.destinationReferences?.length || row.destinationReferences.includes(one.reference ?? ''))
    .map((one) => one.productDestinationId ?? '')

/** Google's front knows only the methods of the API's description. */
const noSuchMethod = (): FakeReply => rpcError(404, 'NOT_FOUND', 'Method not found.')

function readJson(request: FakeRequest): { body: unknown } | FakeReply {
  if (!request.headers['content-type']?.startsWith('application/json'))
    return rpcError(400, 'INVALID_ARGUMENT', `Unsupported content type: ${request.headers['content-type'] ?? 'none'}.`)
  try {
    return { body: request.json() }
  } catch (error) {
    return rpcError(400, 'INVALID_ARGUMENT', `Invalid JSON payload received. ${(error as Error).message}`)
  }
}

/** One identifier as it is kept: always in hexadecimal, so that both encodings name the same person. */
function plain(identifier: Identifier, encoding: string): Identifier {
  const hex = (hash: string): string => (encoding === 'BASE64' ? Buffer.from(hash, 'base64').toString('hex') : hash.toLowerCase())
  const { emailAddress, phoneNumber, address } = identifier
  if (emailAddress !== undefined) return { emailAddress: hex(emailAddress) }
  if (phoneNumber !== undefined) return { phoneNumber: hex(phoneNumber) }
  const { givenName = '', familyName = '', regionCode = '', postalCode = '' } = address ?? {}
  return { address: { givenName: hex(givenName), familyName: hex(familyName), regionCode: regionCode.toUpperCase(), postalCode } }
}

/** The part of a request's status that says what was counted (request_status_per_destination.proto). */
function statusOf(path: string, rows: readonly Member[]): object {
  const recordCount = String(rows.length)
  if (path === '/v1/events:ingest') return { eventsIngestionStatus: { recordCount } }
  const count = (of: (row: Member) => readonly unknown[] | undefined): string =>
    String(rows.reduce((sum, row) => sum + (of(row)?.length ?? 0), 0))
  const mobile = rows.some((row) => row.mobileData)
  const counts = mobile
    ? { recordCount, mobileIdCount: count((row) => row.mobileData?.mobileIds) }
    : { recordCount, userIdentifierCount: count((row) => row.userData?.userIdentifiers) }
  const part = mobile ? 'mobileData' : 'userData'
  return path.endsWith(':remove')
    ? { audienceMembersRemovalStatus: { [`${part}RemovalStatus`]: counts } }
    : {
        audienceMembersIngestionStatus: {
          [`${part}IngestionStatus`]: mobile ? counts : { ...counts, uploadMatchRateRange: 'MATCH_RATE_RANGE_UNKNOWN' },
        },
      }
}
