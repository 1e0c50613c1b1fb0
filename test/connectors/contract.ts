/** Holds requests against the vendor's published OpenAPI documents, which lie in the folder that CDP_SYNC_SPECS names. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { OpenAPIValidator, type Document } from 'openapi-backend'
import { parse } from 'yaml'
import type { Exchange, FakeRequest } from '../../src/testing/index.ts'

/** Which document speaks of which requests. */
export interface Contract {
  /** Path of an OpenAPI document (JSON or YAML) in the folder. */
  readonly spec: string
  /** Which requests it is for; default all. The first contract that takes a request counts. */
  readonly takes?: (request: FakeRequest) => boolean
  /** The path of a request as the document has it; default as it is. */
  readonly path?: (path: string) => string
  /** Mends what the document has wrong, with the source that says so in a comment. */
  readonly mend?: (document: Document) => void
}

/** What was looked at, and what did not fit. */
export interface Verdict {
  readonly validated: number
  /** `METHOD path`, without ids, of requests that no document speaks of. */
  readonly unspoken: readonly string[]
  readonly faults: readonly string[]
}

const folder = process.env['CDP_SYNC_SPECS']
export const hasSpecs = folder !== undefined && folder !== ''

const validators = new Map<Contract, Promise<OpenAPIValidator>>()

async function load({ spec, mend }: Contract): Promise<OpenAPIValidator> {
  // A vendor's document may hold dates and long numbers; all that counts here is its shape.
  const definition = parse(await readFile(join(folder ?? '', spec), 'utf8'), { schema: 'core' }) as Document
  mend?.(definition)
  // The validator finds operations by their ids, and not every document gives them one.
  for (const [path, item] of Object.entries(definition.paths ?? {}))
    for (const [method, operation] of Object.entries(item ?? {}))
      if (typeof operation === 'object' && !Array.isArray(operation)) operation.operationId ??= `${method} ${path}`
  const whole = absolute(definition, definition) as Document
  return new OpenAPIValidator({
    definition: whole,
    customizeAjv: (ajv) => ajv.addSchema({ $id: WHOLE, components: whole.components }),
    ajvOpts: { strict: false, allErrors: true, validateFormats: false },
    lazyCompileValidators: true,
  })
}

/** A name for the whole document, so that schemas may refer to each other, in circles too. */
const WHOLE = 'whole'

/** References to schemas as names within the whole; others (parameters, bodies) as what they refer to. */
function absolute(node: unknown, root: unknown): unknown {
  if (Array.isArray(node)) return node.map((one) => absolute(one, root))
  if (typeof node !== 'object' || node === null) return node
  const { nullable, ...rest } = node as { $ref?: unknown; nullable?: unknown; type?: unknown }
  // The validator knows `nullable` only beside a type.
  if (nullable === true && rest.type === undefined) return { anyOf: [absolute(rest, root), { type: 'null' }] }
  const { $ref } = rest
  if (typeof $ref === 'string' && $ref.startsWith('#/')) {
    if ($ref.startsWith('#/components/schemas/')) return { $ref: WHOLE + $ref }
    const parts = $ref
      .slice(2)
      .split('/')
      .map((part) => decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~'))
    return absolute(
      parts.reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], root),
      root,
    )
  }
  return Object.fromEntries(Object.entries(node).map(([name, value]) => [name, absolute(value, root)]))
}

export async function judge(contracts: readonly Contract[], exchanges: readonly Exchange[]): Promise<Verdict> {
  const unspoken = new Set<string>()
  const faults = new Set<string>()
  let validated = 0
  const seen = new Set<string>()
  for (const { request } of exchanges) {
    const contract = contracts.find(({ takes }) => takes?.(request) ?? true)
    const shape = `${request.method} ${request.path.replaceAll(/\/[^/]*\d[^/]*/g, '/…')}`
    if (contract === undefined) {
      unspoken.add(shape)
      continue
    }
    validated++
    // The same request many times over says nothing new.
    const same = `${request.method} ${request.path}?${request.query.toString()} ${request.text}`
    if (seen.has(same)) continue
    seen.add(same)
    if (!validators.has(contract)) validators.set(contract, load(contract))
    const validator = await (validators.get(contract) as Promise<OpenAPIValidator>)
    const asked = { method: request.method, path: contract.path?.(request.path) ?? request.path, query: request.query.toString() }
    const operation = validator.router.matchOperation({ ...asked, headers: { ...request.headers } })
    if (operation === undefined) {
      faults.add(`${shape}: ${contract.spec} has no such operation`)
      continue
    }
    const result = validator.validateRequest({ ...asked, headers: { ...request.headers }, body: bodyOf(request) }, operation)
    for (const error of result.errors ?? [])
      faults.add(`${shape}: ${error.instancePath} ${error.message ?? ''} ${JSON.stringify(error.params)} in ${request.text.slice(0, 300)}`)
  }
  return { validated, unspoken: [...unspoken].sort(), faults: [...faults].sort() }
}

function bodyOf(request: FakeRequest): unknown {
  const type = request.headers['content-type'] ?? ''
  if (type.includes('json')) return request.json()
  return request.text === '' ? undefined : request.text
}
