/** A receiver of the webhook connector's default body: keeps records by key, events in order, and answers per row. */
import { createHmac } from 'node:crypto'
import { defineFake, type FakeReply, type FakeRequest } from '../src/testing/fake.ts'

interface Change {
  readonly op: string
  readonly key: string
  readonly match: Readonly<Record<string, unknown>>
  readonly fields?: Readonly<Record<string, unknown>>
}
const KEY = Buffer.from('the key of the sandbox').toString('base64')

/** As https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md says. */
function signed({ headers, text }: FakeRequest): boolean {
  const content = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${text}`
  const signature = createHmac('sha256', Buffer.from(KEY, 'base64')).update(content).digest('base64')
  return (headers['webhook-signature'] ?? '').split(' ').includes(`v1,${signature}`)
}

type Stored = Readonly<Record<string, unknown>>

export default defineFake({
  name: 'webhook',
  description: 'An HTTP endpoint that receives the default body (docs/connectors/webhook.md) and answers with a result per row.',
  destination: (url) => ({ url: `${url.replace('//', '//sandbox:receiver-password@')}/changes`, signing_secret: `whsec_${KEY}` }),
  intruder: (url) => ({ url: `${url.replace('//', '//sandbox:wrong-password@')}/changes`, signing_secret: `whsec_${KEY}` }),
  create(control) {
    const records = new Map<string, Stored>()
    const events: Stored[] = []

    function apply({ op, key, match, fields = {} }: Change): Record<string, unknown> {
      if (control.refusesRow()) return { key, status: 'rejected', code: 'REFUSED', message: 'This record is refused.' }
      if (Object.values(fields).includes('refuse me'))
        return { key, status: 'rejected', code: 'BAD_VALUE', message: 'This value is not taken.' }
      const before = records.get(key)
      switch (op) {
        case 'append':
          events.push({ key, ...match, ...fields })
          break
        case 'delete':
          records.delete(key)
          break
        case 'insert':
          if (before) return { key, status: 'exists' }
          records.set(key, { key, ...match, ...fields })
          break
        case 'update':
          if (!before) return { key, status: 'absent' }
          records.set(key, { ...before, ...match, ...fields })
          break
        default:
          records.set(key, { ...before, key, ...match, ...fields })
      }
      return { key, status: 'ok' }
    }

    return {
      isWrite: (request) => request.method !== 'GET',
      records: () => ({ records: [...records.values()], events }),
      failure: (status, { retryAfter }) => ({
        status,
        ...(retryAfter === undefined ? {} : { headers: { 'retry-after': String(retryAfter) } }),
        json: { message: `The receiver answers ${status}.` },
      }),
      handle(request: FakeRequest): FakeReply {
        if (request.headers['authorization'] !== `Basic ${Buffer.from('sandbox:receiver-password').toString('base64')}`)
          return { status: 401, json: { message: 'Who are you?' } }
        if (!signed(request)) return { status: 401, json: { message: 'The signature is wrong.' } }
        if (request.method !== 'POST' || request.path !== '/changes') return { status: 404, json: { message: 'There is nothing here.' } }
        const { changes } = request.json() as { changes: readonly Change[] }
        return { status: 200, json: { results: control.anyOrder(changes.map(apply)) } }
      },
    }
  },
})
