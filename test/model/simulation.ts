/**
 * The state model under random histories: the real engine on real state, a service with a memory, and a plain model to
 * check both against. After each run: nothing is believed that is not so, nothing of ours is forgotten, nothing is sent for
 * nothing; after a few quiet runs: everything is as the model wants it, and the plan is empty.
 *
 * PBT_RUNS, PBT_SEED and PBT_PATH choose and replay histories.
 */
import * as fc from 'fast-check'
import { cellValue } from '../../src/values.ts'
import type { FieldSpec } from '../../src/config/types.ts'
import type { Mode } from '../../src/types.ts'
import { service } from '../support/destinations.ts'
import type { Fate, Kind } from '../support/destinations.ts'
import { LOCAL } from '../support/engines.ts'
import { column, world } from '../support/world.ts'
import type { Row, World } from '../support/world.ts'

const KEYS = ['1', '2', '3', '4']
const EMAILS = ['a@x.io', 'b@x.io', 'c@x.io', 'd@x.io', 'e@x.io']
const PHONES = ['11', '22', '33']
const PLANS = ['free', 'pro', null]

interface Person {
  email: string | null
  phone: string | null
  plan: string | null
}

export type Step =
  | { edit: 'set'; key: string; person: Person }
  | { edit: 'leave'; key: string }
  | { edit: 'return'; key: string }
  | { edit: 'swap'; a: string; b: string }
  | { edit: 'takeover'; from: string; to: string }
  | { edit: 'twice'; key: string }
  | { edit: 'mapping'; tier: string | null; map: boolean }
  | { edit: 'mode'; mode: Mode }
  | { edit: 'run'; fates: readonly Fate[]; options: 'plain' | 'full-refresh' | 'limit' }

const person = fc.record({
  email: fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...EMAILS) }, { weight: 1, arbitrary: fc.constant(null) }),
  phone: fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...PHONES) }, { weight: 1, arbitrary: fc.constant(null) }),
  plan: fc.constantFrom(...PLANS),
})
const key = fc.constantFrom(...KEYS)
const fate = fc.constantFrom<Fate>(
  'ok',
  'ok',
  'ok',
  'ok',
  'ok',
  'ok',
  'rejected',
  'lost',
  'unanswered',
  'crash-before',
  'crash-after',
  'retry',
)

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ edit: fc.constant('set' as const), key, person }) },
  { weight: 2, arbitrary: fc.record({ edit: fc.constant('leave' as const), key }) },
  { weight: 2, arbitrary: fc.record({ edit: fc.constant('return' as const), key }) },
  { weight: 2, arbitrary: fc.record({ edit: fc.constant('swap' as const), a: key, b: key }) },
  { weight: 2, arbitrary: fc.record({ edit: fc.constant('takeover' as const), from: key, to: key }) },
  { weight: 1, arbitrary: fc.record({ edit: fc.constant('twice' as const), key }) },
  {
    weight: 1,
    arbitrary: fc.record({ edit: fc.constant('mapping' as const), tier: fc.constantFrom(null, 'gold', 'silver'), map: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ edit: fc.constant('mode' as const), mode: fc.constantFrom<Mode>('mirror', 'upsert', 'mirror') }) },
  {
    weight: 8,
    arbitrary: fc.record({
      edit: fc.constant('run' as const),
      fates: fc.array(fate, { maxLength: 8 }),
      options: fc.constantFrom(
        'plain' as const,
        'plain' as const,
        'plain' as const,
        'plain' as const,
        'full-refresh' as const,
        'limit' as const,
      ),
    }),
  },
)

export const history = fc.array(step, { minLength: 3, maxLength: 14 })

/** What the model wants at the service: address -> fields; null where several rows or none can say. */
class Wanted {
  readonly people = new Map<string, Person>()
  readonly left = new Map<string, Person>()
  twice: string | null = null
  tier: string | null = null
  map = false
  readonly kind: Kind
  constructor(kind: Kind) {
    this.kind = kind
  }

  rows(): Row[] {
    const rows = [...this.people].map(([id, it]): Row => ({ id, ...it }))
    const again = this.twice === null ? undefined : this.people.get(this.twice)
    if (this.twice !== null && again) rows.push({ id: this.twice, ...again, plan: 'other' })
    return rows
  }

  private addresses(id: string, it: Person): string[] {
    if (this.kind === 'key') return [id]
    if (this.kind === 'any') return [...(it.email ? [`email:${it.email}`] : []), ...(it.phone ? [`phone:${it.phone}`] : [])]
    return it.email ? [it.email] : []
  }

  /** Addresses that must not be removed: those of every row, valid or not. */
  mentioned(): Set<string> {
    return new Set([...this.people].flatMap(([id, it]) => this.addresses(id, it)))
  }

  /** Addresses whose content is decided, with that content. */
  decided(): Map<string, Record<string, unknown>> {
    const claims = new Map<string, string[]>()
    for (const [id, it] of this.people)
      for (const address of this.addresses(id, it)) claims.set(address, [...(claims.get(address) ?? []), id])
    const found = new Map<string, Record<string, unknown>>()
    const shared = this.kind === 'membership' || this.kind === 'any'
    for (const [address, ids] of claims) {
      if (ids.includes(this.twice ?? '')) continue
      if (ids.length > 1 && !shared) continue
      const it = this.people.get(ids[0] ?? '')
      if (it) found.set(address, this.content(it))
    }
    return found
  }

  content(it: Person): Record<string, unknown> {
    if (this.kind === 'membership' || this.kind === 'any') return {}
    const plan = this.map ? (it.plan === 'pro' ? 'PRO' : 'none') : it.plan
    return { plan, ...(this.tier === null ? {} : { tier: this.tier }), ...(this.kind === 'key' ? { email: it.email } : {}) }
  }
}

const PLAN_MAP: Partial<FieldSpec> = { map: new Map([['pro', { kind: 'string', text: 'PRO' }]]), default: { kind: 'string', text: 'none' } }

function remap(w: World, wanted: Wanted): void {
  const membership = wanted.kind === 'membership' || wanted.kind === 'any'
  const fields = membership ? [] : [column('plan', 'plan', wanted.map ? PLAN_MAP : {})]
  if (wanted.tier !== null && !membership)
    fields.push({ ...column('tier'), source: { kind: 'value', value: { kind: 'string', text: wanted.tier } } })
  w.sync = { ...w.sync, fields }
}

function edit(wanted: Wanted, it: Exclude<Step, { edit: 'run' | 'mapping' | 'mode' }>): void {
  const { people, left } = wanted
  switch (it.edit) {
    case 'set':
      people.set(it.key, it.person)
      return
    case 'leave': {
      const was = people.get(it.key)
      if (was) left.set(it.key, was)
      people.delete(it.key)
      return
    }
    case 'return': {
      const was = left.get(it.key)
      if (was) people.set(it.key, was)
      return
    }
    case 'swap': {
      const [a, b] = [people.get(it.a), people.get(it.b)]
      if (!a || !b) return
      people.set(it.a, { ...a, email: b.email, phone: b.phone })
      people.set(it.b, { ...b, email: a.email, phone: a.phone })
      return
    }
    case 'takeover': {
      const was = people.get(it.from)
      if (!was) return
      people.delete(it.from)
      people.set(it.to, was)
      return
    }
    case 'twice':
      wanted.twice = wanted.twice === it.key ? null : it.key
  }
}

interface SnapshotRow {
  address: string
  key: string
  payload: (string | null)[] | null
  owned: boolean
  uncertain: boolean
}

interface Snapshot {
  rows: Map<string, SnapshotRow>
  names: string[]
  unfinished: boolean
}

async function snapshot(w: World): Promise<Snapshot> {
  const rows = await w.state<SnapshotRow>('SELECT address, key, payload, owned, uncertain FROM state.snapshot')
  const names = await w.state<{ name: string }>('SELECT name FROM state.fields ORDER BY position')
  const [header] = await w.state<{ value: string }>(`SELECT value FROM state.meta WHERE name = 'header'`)
  if (new Set(rows.map(({ address }) => address)).size !== rows.length) throw new Error('an address stands twice in the snapshot')
  return { rows: new Map(rows.map((row) => [row.address, row])), names: names.map(({ name }) => name), unfinished: header !== undefined }
}

const bag = (names: readonly string[], payload: readonly (string | null)[]): Record<string, unknown> =>
  Object.fromEntries(names.flatMap((name, i) => (payload[i] == null ? [] : [[name, cellValue(payload[i])]])))

/** I2: what the snapshot calls delivered is there. I3: what is there is known. */
function checkBelief(w: World, now: Snapshot, kind: Kind): void {
  const there = w.service.records()
  for (const [address, row] of now.rows) {
    if (row.uncertain || row.payload === null) continue
    const record = there.get(address)
    if (!record) throw new Error(`I2: the snapshot says ${address} was delivered, and it is not there`)
    for (const [name, value] of Object.entries(bag(now.names, row.payload))) {
      // A null that an add leaves out is stored as null.
      const found = record[name] ?? null
      if (name === 'email' && kind !== 'key' && kind !== 'any') continue
      if (kind === 'any' && !address.startsWith(name)) continue
      if (JSON.stringify(found) !== JSON.stringify(value))
        throw new Error(`I2: at ${address} ${name} should be ${JSON.stringify(value)}, there is ${JSON.stringify(found)}`)
    }
  }
  for (const address of there.keys()) {
    if (!now.rows.has(address)) throw new Error(`I3: ${address} was put there and is forgotten`)
  }
}

/** I4: no payload travels that did not change, but for uncertain addresses. */
function checkMinimal(w: World, before: Snapshot, from: number, refresh: boolean): void {
  if (refresh || before.unfinished) return
  for (const change of w.service.sent.slice(from)) {
    if (change.op === 'delete') continue
    const addresses =
      w.service.kind === 'key'
        ? [change.key]
        : w.service.kind === 'any'
          ? Object.entries(change.match).map(([name, value]) => `${name}:${value as string}`)
          : [change.match['email'] as string]
    const rows = addresses.map((address) => before.rows.get(address))
    if (rows.some((row) => row === undefined || row.uncertain || row.payload === null)) continue
    const wants: Record<string, unknown> = { ...change.match, ...change.fields }
    const same = rows.every((row) => {
      const known = bag(before.names, row?.payload ?? [])
      return Object.entries(wants).every(
        ([name, value]) => (w.service.kind === 'any' && !(name in known)) || JSON.stringify(known[name]) === JSON.stringify(value),
      )
    })
    // A match that turned null is named by nothing but what it was.
    if (same && change.remoteId === null && change.previousMatch === null)
      throw new Error(`I4: ${change.key} was sent again unchanged: ${JSON.stringify(change)}`)
  }
}

/** I8: one address is never written by two changes of one run in the wrong order: an upsert never follows a removal of its address. */
function checkOrder(w: World, from: number): void {
  const removed = new Set<string>()
  for (const change of w.service.sent.slice(from)) {
    const address = w.service.kind === 'key' ? change.key : JSON.stringify(change.match)
    if (change.op === 'delete') removed.add(address)
    else if (removed.has(address)) throw new Error(`I8: ${address} was upserted after its removal`)
  }
}

export async function simulate(kind: Kind, steps: readonly Step[]): Promise<void> {
  const w = await world(service(kind))
  const wanted = new Wanted(kind)
  let queue: Fate[] = []
  w.service.fate = () => queue.shift() ?? 'ok'
  const run = async (fates: readonly Fate[], options: 'plain' | 'full-refresh' | 'limit'): Promise<void> => {
    const before = (await hasState(w)) ? await snapshot(w) : { rows: new Map<string, SnapshotRow>(), names: [], unfinished: false }
    queue = [...fates]
    const from = w.service.sent.length
    await w.model(wanted.rows())
    const record = await w.run({ fullRefresh: options === 'full-refresh', limit: options === 'limit' ? 1 : null })
    if (record.error && !/CDP33/.test(record.error.code)) throw new Error(`${record.error.code} ${record.error.message}`)
    checkMinimal(w, before, from, options === 'full-refresh')
    checkOrder(w, from)
    const now = await snapshot(w)
    // After a kill the journal still holds outcomes; recovery folds them at the next run.
    if (!now.unfinished) checkBelief(w, now, kind)
  }
  try {
    for (const it of steps) {
      if (it.edit === 'run') await run(it.fates, it.options)
      else if (it.edit === 'mode') {
        if (kind === 'membership' || kind === 'any') continue
        w.sync = { ...w.sync, mode: it.mode, onRemove: it.mode === 'mirror' ? 'delete' : null }
      } else if (it.edit === 'mapping') {
        wanted.tier = it.tier
        wanted.map = it.map
        remap(w, wanted)
      } else edit(wanted, it)
    }
    w.sync = { ...w.sync, mode: 'mirror', onRemove: 'delete' }
    // A day later, so that rows held after refusals are tried again.
    w.now += 2 * 86_400_000
    for (let i = 0; i < 4; i++) {
      const before = w.service.sent.length
      await run([], 'plain')
      // Whatever was left open is settled by now; more quiet runs would do the same nothing.
      if (i > 0 && w.service.sent.length === before) break
    }
    await checkConverged(w, wanted)
  } finally {
    await w.close()
  }
}

async function hasState(w: World): Promise<boolean> {
  return w.state('SELECT 1 AS one').then(
    () => true,
    () => false,
  )
}

/** I1 and I5 and I11. */
async function checkConverged(w: World, wanted: Wanted): Promise<void> {
  const [plan, again] = [await w.plan(), await w.plan()]
  if (JSON.stringify(plan) !== JSON.stringify(again)) throw new Error('I11: two plans of one state differ')
  const { add, change, remove } = plan.counts
  if (add + change + remove > 0)
    throw new Error(`I1: after quiet runs the plan is not empty: ${JSON.stringify(plan.counts)} ${JSON.stringify(plan.samples)}`)
  const there = w.service.records()
  for (const [address, content] of wanted.decided()) {
    const record = there.get(address)
    if (!record) throw new Error(`I1: ${address} is wanted and not there`)
    for (const [name, value] of Object.entries(content)) {
      if (JSON.stringify(record[name] ?? null) !== JSON.stringify(value))
        throw new Error(`I1: at ${address} ${name} is ${JSON.stringify(record[name])}, wanted ${JSON.stringify(value)}`)
    }
  }
  const mentioned = wanted.mentioned()
  const keys = new Set(wanted.people.keys())
  const known = await snapshot(w)
  for (const address of there.keys()) {
    if (mentioned.has(address)) continue
    // A row that can't be sent keeps the record it has.
    const holder = known.rows.get(address)?.key
    if (holder !== undefined && keys.has(holder)) continue
    throw new Error(`I1: ${address} is not wanted and still there`)
  }
}

/** The same histories each time, so that a change is judged by itself; the soak draws new ones. Fewer where the state is far. */
const SEED = 20261122

export const runs = (each: number): { numRuns: number; seed: number; path?: string } => ({
  numRuns: Number(process.env['PBT_RUNS'] ?? (LOCAL ? each : each / 15)),
  seed: Number(process.env['PBT_SEED'] ?? SEED),
  ...(process.env['PBT_PATH'] ? { path: process.env['PBT_PATH'] } : {}),
})
