/**
 * Connectors for the engine's tests, with a service that keeps state: by key, by match (with and without renames by remote
 * id), and memberships with one or several identifiers. A script decides what happens to each change.
 */
import { z } from 'zod'
import type { Change, Connector, ObjectSpec, Outcome } from '../../src/connector.ts'
import { UnknownOutcome } from '../../src/connector.ts'
import { normalise } from '../../src/normalise.ts'
import type { Fields } from '../../src/json.ts'

/** What happens to one change at the service. */
export type Fate = 'ok' | 'accepted' | 'rejected' | 'lost' | 'unanswered' | 'crash-before' | 'crash-after' | 'retry'

export interface SentChange {
  run: string
  op: string
  key: string
  match: Fields
  fields: Fields
  previousMatch: Fields | null
  remoteId: string | null
  id: string
  changed: readonly string[] | null
  onCreate: Fields
  attempts: number
  applied: boolean
  fate: Fate | Outcome
}

interface Stored {
  match: Record<string, unknown>
  fields: Record<string, unknown>
}

export interface Service {
  readonly kind: Kind
  /** Address -> what is there. For renaming services by remote id underneath. */
  records(): Map<string, Record<string, unknown>>
  readonly sent: SentChange[]
  /** The account that the credentials belong to. */
  account: { id: string; name: string }
  /** Decides the fate of a change before it is applied; an outcome is answered as it stands and nothing is applied. May throw, for the whole request. */
  fate: (change: Change) => Fate | Outcome
  /** Called where the process would be killed. */
  onCrash: () => void
  /** A record put there by somebody else. */
  put(match: Record<string, unknown>, fields: Record<string, unknown>): void
  /** A record that somebody else takes away. */
  remove(match: Record<string, unknown>): void
  readonly connector: Connector
}

export type Kind = 'key' | 'match' | 'renames' | 'membership' | 'any'

const MATCH: Record<Kind, ObjectSpec['match']> = {
  key: { '*': 'exact' },
  match: { email: 'email' },
  renames: { email: 'email' },
  membership: { email: 'email' },
  any: { email: 'email', phone: 'digits' },
}

export class Crash extends Error {}

export function service(kind: Kind, over: Partial<ObjectSpec> = {}): Service {
  const records = new Map<string, Stored>()
  const sent: SentChange[] = []
  let ids = 0
  const spec: ObjectSpec = {
    description: `test records by ${kind}`,
    modes: ['upsert', 'update', 'insert', 'mirror', 'append'],
    address: kind === 'key' ? 'key' : { match: kind === 'any' ? 'any' : 'all', renames: kind === 'renames' },
    match: MATCH[kind],
    ...(kind === 'membership' || kind === 'any' ? { membership: true } : {}),
    confirms: 'row',
    replay: { upsert: 'harmless', update: 'harmless', delete: 'harmless', archive: 'harmless' },
    removes: ['delete', 'archive', 'clear', 'set'],
    ...over,
  }
  const norm = (name: string, value: unknown): string => normalise(spec.match[name] ?? spec.match['*'] ?? 'exact', String(value)) ?? ''
  const addressOf = (key: string, match: Readonly<Record<string, unknown>>): string =>
    kind === 'key'
      ? key
      : Object.entries(match)
          .map(([name, value]) => norm(name, value))
          .join('|')
  const find = (address: string): string | undefined => [...records].find(([, stored]) => addressOf('', stored.match) === address)?.[0]

  /** Applies a change as the service would; gives the outcome it would answer. */
  function apply(change: Change): Outcome {
    const { key, op, match, fields, remoteId } = change
    if (kind === 'any') {
      for (const [name, value] of Object.entries(match)) {
        const member = `${name}:${norm(name, value)}`
        if (op === 'delete') records.delete(member)
        else records.set(member, { match: { [name]: value }, fields: {} })
      }
      return { key, result: 'ok' }
    }
    if (kind !== 'renames') {
      const address = addressOf(key, match)
      if (op === 'delete' || op === 'archive') records.delete(address)
      else if (op === 'update' && !records.has(address)) return { key, result: 'absent' }
      else if (op === 'insert' && records.has(address)) return { key, result: 'exists' }
      else records.set(address, { match: { ...match }, fields: { ...records.get(address)?.fields, ...fields } })
      return { key, result: 'ok' }
    }
    const address = addressOf(key, match)
    const byMatch = find(address)
    if (op === 'delete') {
      const id = remoteId !== null && records.has(remoteId) ? remoteId : byMatch
      if (id !== undefined) records.delete(id)
      return { key, result: 'ok' }
    }
    const id = remoteId !== null && records.has(remoteId) ? remoteId : byMatch
    if (id !== undefined && byMatch !== undefined && byMatch !== id)
      return { key, result: 'rejected', code: 'CONFLICT', message: 'another record has this match' }
    const target = id ?? `R${++ids}`
    records.set(target, { match: { ...match }, fields: { ...records.get(target)?.fields, ...fields } })
    return { key, result: 'ok', remoteId: target }
  }

  const self: Service = {
    kind,
    sent,
    account: { id: 'account-1', name: 'Account 1' },
    fate: () => 'ok',
    onCrash: () => undefined,
    records() {
      const out = new Map<string, Record<string, unknown>>()
      for (const [id, { match, fields }] of records) out.set(kind === 'renames' ? addressOf('', match) : id, { ...match, ...fields })
      return out
    },
    put(match, fields) {
      if (kind === 'any')
        for (const [name, value] of Object.entries(match))
          records.set(`${name}:${norm(name, value)}`, { match: { [name]: value }, fields: {} })
      else records.set(kind === 'renames' ? `R${++ids}` : addressOf('', match), { match, fields })
    },
    remove(match) {
      for (const [id, stored] of records) if (addressOf('', stored.match) === addressOf('', match)) records.delete(id)
    },
    connector: {
      name: `test-${kind}`,
      description: 'for tests',
      version: 1,
      config: z.object({}).loose(),
      options: z.object({}).loose(),
      objects: { record: spec },
      limits: { rows: 2, concurrency: 2 },
      open: () => ({
        check: () => Promise.resolve(self.account),
        async *write(batch) {
          for (const change of batch.changes) {
            const fate = self.fate(change)
            const note: SentChange = {
              run: batch.run,
              op: change.op,
              key: change.key,
              match: change.match,
              fields: change.fields,
              previousMatch: change.previousMatch,
              remoteId: change.remoteId,
              id: change.id,
              changed: change.changed,
              onCreate: change.onCreate,
              attempts: change.attempts,
              applied: false,
              fate,
            }
            sent.push(note)
            if (fate === 'crash-before') {
              self.onCrash()
              throw new Crash('killed')
            }
            if (typeof fate === 'object') {
              yield fate
              continue
            }
            if (fate === 'rejected') {
              yield { key: change.key, result: 'rejected', code: 'BAD', message: 'refused' }
              continue
            }
            if (fate === 'retry') {
              yield { key: change.key, result: 'retry', code: 'BUSY', message: 'busy', afterMs: 0 }
              continue
            }
            if (fate === 'lost') throw new UnknownOutcome('TIMEOUT', 'no answer', { afterMs: 0 })
            const outcome = apply(change)
            note.applied = outcome.result === 'ok'
            if (fate === 'crash-after') {
              self.onCrash()
              throw new Crash('killed')
            }
            if (fate === 'unanswered') throw new UnknownOutcome('TIMEOUT', 'no answer', { afterMs: 0 })
            yield fate === 'accepted' && outcome.result === 'ok' ? { ...outcome, result: 'accepted' } : outcome
          }
        },
      }),
    },
  }
  return self
}
