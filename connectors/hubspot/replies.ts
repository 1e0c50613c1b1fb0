/** What the replies to batches of records mean for each row. A row that the reply does not name stays unknown. */
import type { Change, Op, Outcome, Value } from '../../src/index.ts'
import { decodeJson } from '../../src/index.ts'
import { isObject, type Json, listOf, textOf, textsOf } from './json.ts'

/** One input of a batch and the change it is for. */
export interface Input {
  readonly change: Change
  /** Echoed with what became of it: HubSpot's replies are in no order. */
  readonly trace: string
  /** By which HubSpot finds the record; undefined for a new one. */
  readonly id?: string | undefined
  readonly idProperty?: string | undefined
  readonly properties: Readonly<Record<string, string>>
}

/** What was said of one input; `properties` are those of the record after a success. */
export interface Said {
  readonly input: Input
  readonly outcome: Outcome
  readonly properties: Json
}

export interface Asked {
  readonly op: Op
  /** The property by which the sync finds records. */
  readonly match: string
}

const VALUES = 'Property values were not valid: '

/**
 * 200, 201 and 207 alike: `results` confirm, `errors` refuse, each by the trace id it carries. An error by `context.ids` is
 * for the inputs of these ids. Positions mean nothing.
 */
export function readBatch(reply: Value, inputs: readonly Input[], asked: Asked, log: (message: string) => void): Said[] {
  const byTrace = new Map(inputs.map((input) => [input.trace, input]))
  const said: Said[] = []
  let unnamed = 0
  for (const result of listOf(reply, 'results')) {
    const properties = isObject(result['properties']) ? result['properties'] : {}
    const id = textOf(result['id'])
    const input = byTrace.get(textOf(result['objectWriteTraceId']) ?? '') ?? byValue(inputs, id, properties)
    if (input === undefined || id === undefined) unnamed++
    else said.push({ input, properties, outcome: { key: input.change.key, result: 'ok', remoteId: id } })
  }
  for (const error of listOf(reply, 'errors')) {
    const traces = textsOf(error['context'], 'objectWriteTraceId') ?? []
    const ids = textsOf(error['context'], 'ids') ?? []
    const named = inputs.filter(({ trace, id }) => traces.includes(trace) || (id !== undefined && traces.length === 0 && ids.includes(id)))
    if (named.length === 0) unnamed++
    for (const input of named) said.push({ input, properties: {}, outcome: outcomeOf(error, input, asked) })
  }
  if (unnamed > 0) log(`${unnamed} entries of a batch reply name no row of the request; ignored.`)
  return said
}

/** Where the trace id is not echoed: by the value that was asked for, if one input alone has it. */
function byValue(inputs: readonly Input[], id: string | undefined, properties: Json): Input | undefined {
  const fits = inputs.filter((input) => {
    if (input.idProperty === undefined) return input.id !== undefined && input.id === id
    return textOf(properties[input.idProperty])?.toLowerCase() === input.id?.trim().toLowerCase()
  })
  return fits.length === 1 ? fits[0] : undefined
}

function outcomeOf(error: Json, { change: { key } }: Input, { op, match }: Asked): Outcome {
  const category = textOf(error['category']) ?? 'none'
  const message = textOf(error['message']) ?? ''
  switch (category) {
    case 'OBJECT_NOT_FOUND':
      return { key, result: 'absent' }
    case 'RATE_LIMITS':
      return { key, result: 'retry', code: category, message }
    case 'CONFLICT':
      // Another contact has the address of this row: the one looked for, or one that stands in its fields. Nothing says that
      // no other object is refused so.
      if (op === 'insert' && match === 'email') return { key, result: 'exists' }
      return { key, result: 'rejected', code: category, message, ...(message.startsWith('Contact ') ? { field: 'email' } : {}) }
    default: {
      const [first, ...more] = badValues(message)
      if (first === undefined) return { key, result: 'rejected', code: category, message: message.slice(0, 500) }
      if (op === 'insert' && first.name === match && first.error === 'CONFLICTING_UNIQUE_VALUE') return { key, result: 'exists' }
      const words = [first, ...more].map((value) => value.message).join(' ')
      return { key, result: 'rejected', code: first.error, message: words.slice(0, 500), field: first.name }
    }
  }
}

/** The values that were refused stand as JSON in the message. */
function badValues(message: string): { readonly name: string; readonly error: string; readonly message: string }[] {
  if (!message.startsWith(VALUES)) return []
  let values: Value
  try {
    values = decodeJson(message.slice(VALUES.length))
  } catch {
    return []
  }
  return listOf({ values }, 'values').map((value) => ({
    name: textOf(value['name']) ?? '',
    error: textOf(value['error']) ?? 'VALIDATION_ERROR',
    message: textOf(value['message']) ?? '',
  }))
}
