/** Opens a connector against a local server as the engine does, and collects what it says of a batch. */
import { Agent } from 'undici'
import type { Batch, Change, Connector, Destination, JobToken, Outcome } from '../../src/connector.ts'
import { createHttp } from '../../src/http.ts'
import { encodeJson, type Fields, RawJson } from '../../src/json.ts'
import { createRedactor } from '../../src/redact.ts'
import type { Op } from '../../src/types.ts'

export const NOW = Date.parse('2026-01-01T00:00:00Z')

export interface Opened {
  readonly destination: Destination
  /** What it said for --debug: its own notes and a line per request. */
  readonly notes: string[]
  close(): Promise<void>
}

export function openDestination(connector: Connector, config: object, options: object = {}, now: number | (() => number) = NOW): Opened {
  const settings = { config: connector.config.parse(config) as unknown, options: connector.options.parse(options) as unknown }
  const clock = typeof now === 'number' ? (): number => now : now
  const notes: string[] = []
  const { signal } = new AbortController()
  const dispatcher = new Agent()
  const http = createHttp({ signal, redact: createRedactor([]), trace: (line) => notes.push(line), now: clock, dispatcher })
  const destination = connector.open(settings, { http, log: (message) => notes.push(message), signal, now: clock })
  return { destination, notes, close: () => dispatcher.destroy() }
}

export function change(key: string, fields: Fields = {}, more: Partial<Change> = {}): Change {
  return {
    key,
    op: 'upsert',
    match: {},
    fields,
    fieldsJson: new RawJson(encodeJson(fields)),
    matchJson: new RawJson(encodeJson(more.match ?? {})),
    onCreate: {},
    ifEmpty: {},
    changed: null,
    previousMatch: null,
    remoteId: null,
    id: `id-${key}`,
    attempts: 0,
    ...more,
  }
}

export function batch(op: Op, changes: readonly Change[]): Batch {
  return { sync: 'crm-contacts', run: 'run-1', object: 'record', op, changes: changes.map((one) => ({ ...one, op })) }
}

/** The outcomes, and the error that ended them if one did. */
export async function write(destination: Destination, sent: Batch): Promise<{ outcomes: (Outcome | JobToken)[]; error: any }> {
  const outcomes: (Outcome | JobToken)[] = []
  try {
    for await (const outcome of destination.write(sent)) outcomes.push(outcome)
    return { outcomes, error: null }
  } catch (error) {
    return { outcomes, error }
  }
}
