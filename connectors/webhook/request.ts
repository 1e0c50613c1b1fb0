/** What the webhook connector sends: the default body, requests from templates, and their signature. */
import { createHash, createHmac } from 'node:crypto'
import { z } from 'zod'
import {
  type Batch,
  CdpError,
  type Change,
  compileBody,
  compilePath,
  compileText,
  encodeJson,
  type HttpRequest,
  type Op,
  Refused,
  type RequestScope,
} from '../../src/index.ts'

const requestTemplate = z.strictObject({
  method: z.enum(['POST', 'PUT', 'PATCH', 'DELETE']).describe('The method.'),
  path: z.string().default('').describe('Appended to the URL; values in it are percent-encoded.'),
  body: z.unknown().optional().describe('The body as YAML: strings are templates. Sent as JSON. Default: none.'),
  headers: z.record(z.string(), z.string()).optional().describe('Further headers; values are templates.'),
  rows: z.int().min(1).max(100_000).default(1).describe('Changes in one request.'),
  success: z
    .strictObject({ json: z.unknown().describe('What the reply must contain.') })
    .optional()
    .describe('What tells success besides a status of 2xx.'),
  remote_id: z.string().min(1).optional().describe('Where the reply has the record’s id: names with dots between.'),
})

export type RequestTemplate = z.infer<typeof requestTemplate>

const OPS = ['upsert', 'update', 'insert', 'append', 'delete'] as const

export const requestTemplates = {
  upsert: requestTemplate.optional().describe('The request for an upsert.'),
  update: requestTemplate.optional().describe('The request for an update.'),
  insert: requestTemplate.optional().describe('The request for an insert.'),
  append: requestTemplate.optional().describe('The request for an append.'),
  delete: requestTemplate.optional().describe('The request for a delete.'),
}

type Templates = Partial<Record<(typeof OPS)[number], RequestTemplate | undefined>>

export function usesTemplates({ config, options }: { config: Templates; options: Templates }): boolean {
  return OPS.some((op) => config[op] !== undefined || options[op] !== undefined)
}

export interface CompiledRequest {
  readonly rows: number
  readonly success: RequestTemplate['success']
  readonly remoteId: string | undefined
  /** One row, and a path that depends on it: then "not found" speaks of the record. */
  readonly namesRecord: boolean
  /** The request, or why a value of it can't be computed. */
  render(scope: RequestScope): HttpRequest | Refused
}

export interface Problem {
  readonly path: readonly (string | number)[]
  readonly message: string
}

/** Compiles the template of each operation that has one; all that is wrong with them. */
export function compileRequests(templateOf: (op: Op) => RequestTemplate | undefined): {
  requests: Map<Op, CompiledRequest>
  problems: Problem[]
} {
  const requests = new Map<Op, CompiledRequest>()
  const problems: Problem[] = []
  for (const op of OPS) {
    const template = templateOf(op)
    if (template === undefined) continue
    const request = compileRequest(template, (path, message) => problems.push({ path: [op, ...path], message }))
    if (request !== undefined) requests.set(op, request)
  }
  return { requests, problems }
}

function compileRequest(
  template: RequestTemplate,
  problem: (path: readonly (string | number)[], message: string) => void,
): CompiledRequest | undefined {
  const many = { many: template.rows > 1 }
  let failed = false
  const fail = (path: readonly (string | number)[], error: CdpError): void => {
    failed = true
    problem(path, error.hint === undefined ? error.message : `${error.message} ${error.hint}`)
  }
  const attempt = <T>(path: readonly (string | number)[], compile: () => T): T | undefined => {
    try {
      return compile()
    } catch (error) {
      if (!(error instanceof CdpError)) throw error
      fail(path, error)
      return undefined
    }
  }
  const path = attempt(['path'], () => compilePath(template.path, many))
  const body = template.body === undefined ? undefined : compileBody(template.body, many, (at, error) => fail(['body', ...at], error))
  const headers = Object.entries(template.headers ?? {}).map(
    ([name, text]) => [name, attempt(['headers', name], () => compileText(text, many))] as const,
  )
  if (template.rows > 1 && template.remote_id !== undefined)
    fail(
      ['remote_id'],
      new CdpError('CDP3103', 'One reply can tell the id of one record only.', { hint: 'Set rows to 1, or leave remote_id out.' }),
    )
  if (failed || path === undefined) return undefined
  return {
    rows: template.rows,
    success: template.success,
    remoteId: template.remote_id,
    namesRecord: template.rows === 1 && template.path.includes('{{'),
    render: (scope) => {
      try {
        const filled = headers.map(([name, text]) => [name, text?.(scope) ?? ''] as const)
        const route = template.path.replace(/\?.*/s, '')
        return { method: template.method, path: path(scope), route, headers: Object.fromEntries(filled), json: body?.(scope) }
      } catch (error) {
        if (error instanceof Refused) return error
        throw error
      }
    },
  }
}

export function scopeOf(batch: Batch, changes: readonly Change[]): RequestScope {
  const rows = changes.map(({ key, op, match, fields, previousMatch, remoteId, id }) => ({
    key,
    op,
    match,
    fields,
    previous_match: previousMatch,
    remote_id: remoteId,
    id,
  }))
  return { run: batch.run, sync: batch.sync, rows }
}

/** The default body. Fields go from state to wire as text: nothing is decoded or encoded again. */
export function bodyOf({ sync, run, changes }: Batch): string {
  let text = `{"sync":${JSON.stringify(sync)},"run":${JSON.stringify(run)},"changes":[`
  let separator = ''
  for (const { op, key, matchJson, fieldsJson, previousMatch, remoteId, id } of changes) {
    text += `${separator}{"op":"${op}","key":${JSON.stringify(key)},"match":${matchJson.text}`
    if (op !== 'delete') text += `,"fields":${fieldsJson.text}`
    if (previousMatch !== null) text += `,"previous_match":${encodeJson(previousMatch)}`
    if (remoteId !== null) text += `,"remote_id":${JSON.stringify(remoteId)}`
    text += `,"id":${JSON.stringify(id)}}`
    separator = ','
  }
  return `${text}]}`
}

/**
 * Signs a body as Standard Webhooks says (HMAC-SHA256 over id, time and body). The id is that of the changes, so a
 * repeat of the same batch has the same one.
 */
export function signer(secret: string, changes: readonly Change[], now: number): (body: string) => Record<string, string> {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  const id = `msg_${createHash('sha256')
    .update(changes.map((change) => change.id).join('\n'))
    .digest('hex')
    .slice(0, 32)}`
  const timestamp = String(Math.floor(now / 1000))
  return (body) => ({
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`,
  })
}
