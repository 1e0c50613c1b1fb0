/** The diff in SQL against a naive one in JavaScript, over chains of random tables: the same adds, changes, removals and fields. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { service } from '../support/destinations.ts'
import { LOCAL } from '../support/engines.ts'
import { column, world } from '../support/world.ts'
import type { Row } from '../support/world.ts'
import { ran } from '../engine/support.ts'

type Kind = 'key' | 'match'
const byText = (a: unknown, b: unknown): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)
interface Known {
  key: string
  fields: Record<string, string | null>
}

const FIELDS = ['plan', 'phone']
const fold = (email: string | null | undefined): string | null => {
  const text = email?.trim().toLowerCase() ?? null
  return text === '' ? null : text
}

/** Forty lines that say what the engine's SQL must do. */
function naive(kind: Kind, rows: readonly Row[], snapshot: Map<string, Known>) {
  const distinct = [...new Map(rows.map((row) => [row['id'] === null ? Symbol('null key') : JSON.stringify(row), row])).values()]
  const count = (of: (row: Row) => string | null | undefined): Map<unknown, number> => {
    const counts = new Map<unknown, number>()
    for (const row of distinct) counts.set(of(row), (counts.get(of(row)) ?? 0) + 1)
    return counts
  }
  const keys = count((row) => row['id'])
  const single = (row: Row): boolean => row['id'] !== null && keys.get(row['id']) === 1
  const emails = new Map<unknown, number>()
  for (const row of distinct.filter(single)) emails.set(fold(row['email']), (emails.get(fold(row['email'])) ?? 0) + 1)
  const valid = (row: Row): boolean =>
    single(row) && (kind === 'key' || (fold(row['email']) !== null && emails.get(fold(row['email'])) === 1))
  const wanted = new Map<string, Known>()
  for (const row of distinct.filter(valid)) {
    const fields = {
      ...Object.fromEntries(FIELDS.map((name) => [name, row[name] ?? null])),
      ...(kind === 'key' ? { email: row['email'] ?? null } : {}),
    }
    wanted.set(kind === 'key' ? String(row['id']) : String(fold(row['email'])), { key: String(row['id']), fields })
  }
  const doubtful = distinct.filter((row) => !valid(row))
  const spared = new Set(
    doubtful.flatMap((row) => [
      row['id'] === null ? null : `key ${row['id']}`,
      kind === 'match' && fold(row['email']) !== null ? fold(row['email']) : null,
    ]),
  )
  const adds = [...wanted].filter(([address]) => !snapshot.has(address))
  const changes = [...wanted].flatMap(([address, { key, fields }]) => {
    const known = snapshot.get(address)
    const differs = known ? Object.keys(fields).filter((name) => fields[name] !== known.fields[name]) : []
    return differs.length ? [{ address, key, differs: differs.sort() }] : []
  })
  const removals = [...snapshot].filter(([address, { key }]) => !wanted.has(address) && !spared.has(address) && !spared.has(`key ${key}`))
  const next = new Map([...snapshot].filter(([address]) => !removals.some(([gone]) => gone === address)))
  for (const [address, it] of wanted) next.set(address, it)
  const invalid = rows.filter((row) =>
    doubtful.some((it) => it === row || (row['id'] !== null && it['id'] === row['id'] && JSON.stringify(it) === JSON.stringify(row))),
  ).length
  return { adds, changes, removals, next, invalid }
}

const row = fc.record({
  id: fc.oneof({ weight: 30, arbitrary: fc.nat(7).map(String) }, { weight: 1, arbitrary: fc.constant(null) }),
  email: fc.oneof(
    { weight: 10, arbitrary: fc.constantFrom('a@x.io', 'b@x.io', 'C@x.io', 'c@x.io ', 'd@x.io', 'e@x.io', 'f@x.io') },
    { weight: 1, arbitrary: fc.constantFrom(null, ' ') },
  ),
  phone: fc.constantFrom('1', '2', '', null),
  plan: fc.constantFrom('free', 'pro', 'ünïcode\n"', null),
})
/** Mostly one row a key, as models are; now and then several. */
const table = fc.oneof(
  { weight: 4, arbitrary: fc.uniqueArray(row, { maxLength: 9, selector: ({ id }) => id ?? 'null' }) },
  { weight: 1, arbitrary: fc.array(row, { maxLength: 12 }) },
)
// 25 chains of 4 tables by each kind of address: 200 diffs. Fewer where the state is far.
const chains = {
  numRuns: Number(process.env['PBT_RUNS'] ?? (LOCAL ? 25 : 5)),
  // A chain is slow to shrink, and short enough to read.
  endOnFailure: true,
  // The same tables each time; another seed draws others.
  seed: Number(process.env['PBT_SEED'] ?? 20261122),
}

describe.each<Kind>(['key', 'match'])('rows addressed by %s', (kind) => {
  it('differ from what was delivered exactly as a naive comparison says', { timeout: 600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(table, { minLength: 4, maxLength: 4 }), fc.boolean(), async (tables, template) => {
        const fields = template
          ? FIELDS.map((name) => ({ ...column(name), source: { kind: 'template' as const, template: `{{ ${name} }}` } }))
          : FIELDS.map((name) => column(name))
        const w = await world(service(kind), { fields })
        try {
          let snapshot = new Map<string, Known>()
          for (const rows of tables) {
            const expected = naive(kind, rows, snapshot)
            const { record } = await ran(w, rows, { allow: new Set(['null_keys']), samples: 1000 })
            expect(record.error).toBeUndefined()
            const plan = w.events.findLast((event) => event.type === 'plan')?.plan
            const of = (op: string) => plan?.samples.filter((sample) => sample.op === op) ?? []
            expect(
              of('add')
                .map(({ key }) => key)
                .sort(byText),
            ).toEqual(expected.adds.map(([, { key }]) => key).sort(byText))
            expect(
              of('change')
                .map(({ key, after }) => [key, Object.keys(after ?? {}).sort()])
                .sort(byText),
            ).toEqual(expected.changes.map(({ key, differs }) => [key, differs]).sort(byText))
            expect(
              of('remove')
                .map(({ key }) => key)
                .sort(byText),
            ).toEqual(expected.removals.map(([, { key }]) => key).sort(byText))
            expect(plan?.counts).toMatchObject({
              add: expected.adds.length,
              change: expected.changes.length,
              remove: expected.removals.length,
              invalid: expected.invalid,
            })
            snapshot = expected.next
            expect([...w.service.records().keys()].sort(byText)).toEqual([...snapshot.keys()].sort(byText))
          }
        } finally {
          await w.close()
        }
      }),
      chains,
    )
  })
})
