/** Form bodies with brackets, as Stripe reads them (`metadata[plan]=pro` is a member, `preferred_locales[0]=fr` an item), and its errors. */
import type { FakeReply } from '../../src/testing/fake.ts'

export type Form = { readonly [name: string]: string | Form | readonly (string | Form)[] }

/** A parameter that Stripe refuses with 400. */
export class FormError extends Error {
  readonly detail: { message: string; code?: string; param?: string }
  constructor(detail: { message: string; code?: string; param?: string }) {
    super(detail.message)
    this.detail = detail
  }
}

export function refusal(status: number, error: { message: string; type?: string; code?: string; param?: string }): FakeReply {
  const doc = error.code === undefined ? {} : { doc_url: `https://stripe.com/docs/error-codes/${error.code.replaceAll('_', '-')}` }
  return { status, json: { error: { type: 'invalid_request_error', ...error, ...doc } } }
}

/** Throws FormError for a parameter that is none of these. */
export function allow(form: Form, names: readonly string[]): void {
  for (const name of Object.keys(form))
    if (!names.includes(name))
      throw new FormError({ code: 'parameter_unknown', message: `Received unknown parameter: ${name}`, param: name })
}

type Node = { [name: string]: string | Node }

/** Throws FormError for a name twice, or a name that is both a value and a hash. */
export function readForm(pairs: URLSearchParams): Form {
  const root: Node = {}
  let appended = 0
  for (const [name, value] of pairs) {
    const parts = /^([^[\]]+)((?:\[[^[\]]*\])*)$/.exec(name)
    if (parts === null) throw new FormError({ code: 'parameter_unknown', message: `Received unknown parameter: ${name}`, param: name })
    const path = [parts[1] ?? '', ...[...(parts[2] ?? '').matchAll(/\[([^[\]]*)\]/g)].map((part) => part[1] || String(appended++))]
    let at = root
    for (const part of path.slice(0, -1)) {
      const next = (at[part] ??= {})
      if (typeof next === 'string') throw new FormError({ message: `Invalid hash`, param: name })
      at = next
    }
    const last = path.at(-1) ?? ''
    if (Object.hasOwn(at, last)) throw new FormError({ message: `Invalid request: ${name} occurs twice`, param: name })
    at[last] = value
  }
  return shaped(root) as Form
}

/** A hash whose names are 0, 1, 2 … is a list. */
function shaped(node: Node): Form | (string | Form)[] {
  const entries = Object.entries(node).map(([name, value]) => [name, typeof value === 'string' ? value : shaped(value)] as const)
  const isList = entries.length > 0 && entries.every(([name], at) => name === String(at))
  return isList ? entries.map(([, value]) => value as string | Form) : (Object.fromEntries(entries) as Form)
}
