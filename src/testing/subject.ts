/** What the conformance suite must be told of a connector, because only its author knows it. */
import type { Connector } from '../connector.ts'
import type { Mode } from '../types.ts'
import type { Fake } from './fake.ts'
import type { ServedFake } from './host.ts'

export type Plain = string | number | boolean | null | readonly Plain[] | { readonly [name: string]: Plain }

/** One row of the model, as it is to arrive. */
export interface Row {
  /** By match field. Empty where the object is addressed by key. */
  readonly match: Readonly<Record<string, Plain>>
  /** By field; empty for a membership. */
  readonly fields: Readonly<Record<string, Plain>>
}

/** What the fake holds: collection -> records. */
export type Held = ReturnType<ServedFake['records']>

export interface ObjectSubject {
  /** Name of the object; for `'*'` any name that stands for it. */
  readonly object: string
  /** `options:` of the sync. */
  readonly options?: Readonly<Record<string, unknown>>
  /** Further settings of the destination for this object. */
  readonly destination?: Readonly<Record<string, unknown>>
  /** Puts into the fake what the object needs to be there (a list, records to refer to), through its HTTP interface. */
  readonly prepare?: (fake: ServedFake) => Promise<void>
  /**
   * Row `i` (from 0) in its version 0 or 1: the two have the same match and differ in at least one field; rows of different `i`
   * differ in each match value. Memberships have no versions.
   */
  readonly row: (i: number, version: 0 | 1) => Row
  /**
   * What the fake holds for a row: its fields as written in `row`, whatever form the vendor gives them; null when there
   * is no such record or member. Of an event: the event.
   */
  readonly held: (records: Held, row: Row & { readonly key: string }) => Readonly<Record<string, unknown>> | null
  /** How many records, members or events of this object the fake holds. */
  readonly count: (records: Held) => number
  /** Name of a field that takes any text; the suite sends odd ones through it. Absent: no such field. */
  readonly text?: string
  /** Name of a field that can be cleared, and what `held` gives for it then (default null). Absent: nothing can be cleared. */
  readonly clears?: { readonly field: string; readonly reads?: unknown }
  /** A row that the service refuses for what is in it, and what its message says. */
  readonly refused?: { readonly row: Row; readonly says: RegExp }
  /** Modes to try; default all that the object declares. */
  readonly modes?: readonly Mode[]
}

/** A case that this connector can't pass, and why. The list may only shrink. */
export interface Exception {
  /** Name of the case, as the suite prints it. */
  readonly case: string
  /** Default: every object. */
  readonly object?: string
  readonly reason: string
}

export interface Subject {
  readonly connector: Connector
  readonly fake: Fake
  /** One or more for each object that the connector declares. */
  readonly objects: readonly ObjectSubject[]
  readonly exceptions?: readonly Exception[]
}
