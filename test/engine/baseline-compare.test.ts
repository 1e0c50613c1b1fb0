/** `baseline --compare`: what the destination holds decides what is adopted. */
import { afterEach, describe, expect, it } from 'vitest'
import * as fc from 'fast-check'
import { NotSent, RateLimited, Refused, UnknownOutcome } from '../../src/connector.ts'
import type { Destination } from '../../src/connector.ts'
import { AuthError } from '../../src/errors.ts'
import type { Fields } from '../../src/json.ts'
import { baseline } from '../../src/maintain.ts'
import { directory, owner } from '../references/support.ts'
import type { Directory } from '../references/support.ts'
import type { Kind } from '../support/destinations.ts'
import { column, world } from '../support/world.ts'
import type { Row, World } from '../support/world.ts'
import { brief, pending, people, person, ran, there } from './support.ts'

let w: World
let d: Directory
let asked: Fields[][]
let before: (matches: readonly Fields[]) => void
afterEach(() => w?.close())

/** The test service with a `read` that answers from its records, and a `list` for memberships. */
async function begin(kind: Kind, over: Parameters<typeof world>[1] = {}, more: Partial<Destination> = {}): Promise<void> {
  asked = []
  before = () => undefined
  const recordOf = (match: Fields): Fields | null => {
    const records = d.service.records()
    if (kind === 'any') {
      const [[name, value] = ['', '']] = Object.entries(match)
      return (records.get(`${name}:${value as string}`) as Fields | undefined) ?? null
    }
    return (records.get(Object.values(match).map(String).join('|')) as Fields | undefined) ?? null
  }
  d = directory(kind, kind === 'match' ? { onCreate: true, ifEmpty: true } : {}, () => ({
    read: async (_, matches) => {
      await Promise.resolve()
      asked.push([...matches])
      before(matches)
      return matches.map(recordOf)
    },
    async *list() {
      await Promise.resolve()
      for (const record of d.service.records().values()) yield record as Fields
    },
    ...more,
  }))
  w = await world(d.service, over)
}

const compareAll = () => baseline(w.project, w.sync, w.context(), { mappingOnly: false, compare: true })
const put = (email: string, fields: Record<string, unknown>) => d.service.put({ email }, fields)

describe('baseline --compare', () => {
  it('adopts what is there as it would be sent, and keeps the rest in the plan', async () => {
    await begin('match')
    put('p1@x.io', { plan: 'free' })
    put('p2@x.io', { plan: 'pro' })
    await w.model(people(3))
    expect(await compareAll()).toEqual({
      adopted: 1,
      kept: 0,
      there: { same: 1, different: 1, fields: { plan: 1 }, missing: 1, extra: null },
    })
    expect(d.service.sent).toEqual([])
    const plan = await w.plan()
    expect(plan.counts).toMatchObject({ add: 1, change: 1, remove: 0, unchanged: 1 })
    // What is there is known: the plan shows what it will become.
    expect(plan.samples).toMatchObject([
      { op: 'add', key: '3' },
      { op: 'change', key: '2', before: { plan: 'pro' }, after: { plan: 'free' } },
    ])
    expect(brief((await ran(w)).sent).sort()).toEqual(['upsert 2 p2@x.io', 'upsert 3 p3@x.io'])
    expect(await pending(w)).toEqual({})
  })

  it('owns what it adopted, and of the rest only what it owned before', async () => {
    await begin('match')
    put('p1@x.io', { plan: 'free' })
    put('p2@x.io', { plan: 'pro' })
    await w.model(people(2))
    await compareAll()
    expect(await w.state('SELECT key, owned FROM state.snapshot ORDER BY key')).toEqual([
      { key: '1', owned: true },
      { key: '2', owned: false },
    ])
    // A mirror removes the one and never the other.
    await w.model([person('9', 'p9@x.io')])
    expect(brief((await ran(w)).sent)).toEqual(['upsert 9 p9@x.io', 'delete 1 p1@x.io'])
  })

  it('finds what somebody else changed or deleted there since it was delivered', async () => {
    await begin('match')
    await ran(w, people(3))
    put('p1@x.io', { plan: 'gone wild' })
    d.service.remove({ email: 'p2@x.io' })
    expect(await pending(w)).toEqual({})
    expect((await compareAll()).there).toMatchObject({ same: 1, different: 1, missing: 1 })
    expect(await pending(w)).toEqual({ add: 1, change: 1 })
    // What was ours stays ours, there or not.
    expect(await w.state('SELECT count(*)::INTEGER AS n FROM state.snapshot WHERE owned')).toEqual([{ n: 3 }])
    await ran(w)
    expect(there(w)).toMatchObject({ 'p1@x.io': 'free', 'p2@x.io': 'free' })
    expect(await pending(w)).toEqual({})
  })

  it('settles what an interrupted run left in doubt', async () => {
    await begin('match')
    d.service.fate = () => 'unanswered'
    await ran(w, people(1))
    d.service.fate = () => 'ok'
    expect((await compareAll()).there).toMatchObject({ same: 1 })
    expect(await pending(w)).toEqual({})
    expect((await ran(w)).sent).toEqual([])
  })

  it('takes null, empty and absent for one, and does not ask of fields for new records or of fields that are set already', async () => {
    await begin('match', {
      fields: [column('plan'), column('phone', 'phone', { write: 'on_create' }), column('note', 'phone', { write: 'if_empty' })],
    })
    put('p1@x.io', { plan: '', phone: 'other', note: 'theirs' })
    await w.model([person('1', 'p1@x.io', null, '1')])
    expect((await compareAll()).there).toMatchObject({ same: 1 })
    expect(await pending(w)).toEqual({})
  })

  it('leaves alone what a row does not write', async () => {
    await begin('match', { fields: [column('plan', 'plan', { nulls: 'skip' })] })
    put('p1@x.io', { plan: 'theirs' })
    await w.model([person('1', 'p1@x.io', null)])
    expect((await compareAll()).there).toMatchObject({ same: 1 })
  })

  it('compares references by the ids they stand for', async () => {
    await begin('match', { fields: [owner()] })
    d.ids.set('{"Email":"o1"}', 'U1')
    put('p1@x.io', { owner: 'U1' })
    put('p2@x.io', { owner: 'U2' })
    put('p3@x.io', { owner: 'U1' })
    const rows = ['o1', 'o1', 'nobody'].map((one, i) => person(String(i + 1), `p${i + 1}@x.io`, 'free', one))
    await w.model(rows)
    expect((await compareAll()).there).toMatchObject({ same: 1, different: 2, fields: { owner: 2 } })
    expect((await w.plan()).samples).toContainEqual({
      op: 'change',
      key: '2',
      before: { owner: 'U2' },
      after: { owner: { lookup: 'User', match: { Email: 'o1' } } },
      because: 'data',
    })
  })

  it('adopts in insert what is there, however it looks', async () => {
    await begin('match', { mode: 'insert', onRemove: null, backfill: true })
    put('p1@x.io', { plan: 'theirs' })
    await w.model(people(2))
    expect((await compareAll()).there).toMatchObject({ same: 1, different: 0, missing: 1 })
    expect(brief((await ran(w)).sent)).toEqual(['insert 2 p2@x.io'])
  })

  it('asks nobody for a row without a match, where the key is the address', async () => {
    await begin('key', { match: [column('email')] })
    d.service.put({ email: 'p1@x.io' }, { plan: 'free' })
    await w.model([person('1', null), person('2', null)])
    expect((await compareAll()).there).toMatchObject({ missing: 2 })
    expect(asked.flat()).toEqual([])
  })

  it('knows under which ids it found a record: it stays when another row comes to look it up', async () => {
    await begin('match', {})
    const lookup = (name: string, object: string, field: string, source: string) =>
      column(name, source, { source: { kind: 'lookup', object, match: { [field]: source }, onMiss: 'reject' } })
    await w.close()
    d = directory('match', { match: { user: 'exact', group: 'exact' } }, () => ({
      read: (_, matches) =>
        Promise.resolve(matches.map((match) => (d.service.records().get(Object.values(match).map(String).join('|')) as Fields) ?? null)),
    }))
    w = await world(d.service, { match: [lookup('user', 'User', 'Email', 'phone'), lookup('group', 'Group', 'Name', 'email')], fields: [] })
    d.ids.set('{"Email":"alias"}', 'U1').set('{"Email":"o1"}', 'U1').set('{"Name":"g1"}', 'G1')
    d.service.put({ user: 'U1', group: 'G1' }, {})
    await w.model([person('1', 'g1', 'free', 'alias')])
    expect((await compareAll()).adopted).toBe(1)
    expect(brief((await ran(w, [person('1', 'g1', 'free', 'o1')])).sent)).toEqual(['upsert 1 U1|G1'])
    await ran(w)
    expect(await pending(w)).toEqual({})
    expect([...d.service.records().keys()]).toEqual(['U1|G1'])
  })

  it('reads at most 100 at once, and sends nothing', async () => {
    await begin('match')
    await w.model(people(250))
    await compareAll()
    expect(asked.map((matches) => matches.length).sort((a, b) => b - a)).toEqual([100, 100, 50])
    expect(d.service.sent).toEqual([])
  })

  it('leaves invalid rows alone', async () => {
    await begin('match')
    await w.model([...people(2), person('3', 'p2@x.io')])
    put('p1@x.io', { plan: 'free' })
    expect((await compareAll()).there).toMatchObject({ same: 1, missing: 0 })
    expect(await pending(w)).toEqual({ invalid: 2 })
  })
})

describe('of a membership', () => {
  it.each(['membership', 'any'] as const)('counts members that are nobody’s, and adopts none of them: %s', async (kind) => {
    await begin(kind)
    for (const email of ['p1@x.io', 'x1@x.io', 'x2@x.io']) put(email, {})
    await w.model(people(2))
    const { there: found } = await compareAll()
    expect(found).toEqual({
      same: 1,
      different: 0,
      fields: {},
      missing: 1,
      extra: { count: 2, samples: [{ email: 'x1@x.io' }, { email: 'x2@x.io' }] },
    })
    expect(brief((await ran(w)).sent)).toEqual(['upsert 2 p2@x.io'])
    expect(await pending(w)).toEqual({})
  })

  it('does not call extra what this sync put there and is about to remove', async () => {
    await begin('membership')
    await ran(w, people(3))
    await w.model(people(1))
    expect((await compareAll()).there?.extra).toEqual({ count: 0, samples: [] })
    expect(await pending(w)).toEqual({ remove: 2 })
  })

  it('reads a list from its start again when it breaks off', async () => {
    let reads = 0
    await begin(
      'membership',
      {},
      {
        async *list() {
          await Promise.resolve()
          yield { email: 'x1@x.io' }
          if (reads++ === 0) throw new UnknownOutcome('http_502', 'cut', { afterMs: 0 })
          yield { email: 'x2@x.io' }
        },
      },
    )
    await w.model(people(1))
    expect((await compareAll()).there?.extra?.count).toBe(2)
  })
})

describe('when the destination does not answer', () => {
  it('asks again as a delivery would', async () => {
    await begin('match')
    let calls = 0
    const faults = [
      new UnknownOutcome('http_503', 'busy', { afterMs: 0 }),
      new NotSent('ECONNREFUSED', 'no'),
      new RateLimited('slow down', 0),
      new UnknownOutcome('timeout', 'slow'),
    ]
    before = () => {
      const fault = faults[calls++]
      if (fault) throw fault
    }
    put('p1@x.io', { plan: 'free' })
    await w.model(people(1))
    expect((await compareAll()).adopted).toBe(1)
    expect(calls).toBe(5)
  })

  it.each([
    ['a refusal', () => new Refused('INVALID_FIELD', 'no such field p1@x.io', 400), 'CDP4021', 1],
    ['five silences', () => new UnknownOutcome('http_503', 'p1@x.io', { afterMs: 0 }), 'CDP4021', 1],
    ['a login', () => new AuthError('CDP3401', 'may not read'), 'CDP3401', 4],
    ['a daily quota', () => new RateLimited('tomorrow', 86_400_000), 'CDP3304', 1],
  ])('ends with %s, and nothing is adopted', async (_, fault, code, exitCode) => {
    await begin('match')
    put('p1@x.io', { plan: 'free' })
    await w.model(people(1))
    before = () => {
      throw fault()
    }
    const error = await compareAll().then(
      () => null,
      (thrown: unknown) => thrown as Error & { exitCode: number },
    )
    expect(error).toMatchObject({ code, exitCode })
    // Vendors quote values; they stay out of a message that may end up in a log.
    expect(error?.message).not.toContain('p1@x.io')
    expect(await pending(w)).toEqual({ add: 1 })
  })

  it('ends at once when it is interrupted, and adopts nothing', async () => {
    const interrupt = new AbortController()
    let io: AbortSignal | undefined
    await begin('match')
    const { connector } = d.service
    const open: typeof connector.open = (settings, given) => {
      io = given.signal
      const waits = (): Promise<never> =>
        new Promise((_, reject) => {
          given.signal.addEventListener('abort', () => reject(new NotSent('aborted', 'stopped')))
          interrupt.abort()
        })
      return { ...connector.open(settings, given), read: waits }
    }
    Object.assign(w.sync.destination, { connector: { ...connector, open } })
    await w.model(people(1))
    const context = { ...w.context(), signal: interrupt.signal }
    await expect(baseline(w.project, w.sync, context, { mappingOnly: false, compare: true })).rejects.toThrow('abort')
    expect(io?.aborted).toBe(true)
    expect(await pending(w)).toEqual({ add: 1 })
  }, 5_000)

  it('asks nothing more once it has failed', async () => {
    await begin('match')
    await w.model(people(3_000))
    before = () => {
      throw new AuthError('CDP3401', 'may not read')
    }
    await expect(compareAll()).rejects.toMatchObject({ code: 'CDP3401' })
    const calls = asked.length
    expect(calls).toBeLessThanOrEqual(2)
    await new Promise((resolve) => setImmediate(resolve))
    expect(asked.length).toBe(calls)
  })

  it.each([
    ['can’t read', 'match', {}, { read: undefined }],
    ['has no match to read by', 'key', { match: [] }, {}],
    ['is an event log', 'key', { mode: 'append', onRemove: null, backfill: true }, {}],
  ] as const)('says so when it %s', async (_, kind, over, more) => {
    await begin(kind, over, more as Partial<Destination>)
    await w.model(people(1))
    await expect(compareAll()).rejects.toMatchObject({ code: 'CDP4020', hint: expect.stringContaining('blindly') as string })
  })
})

it('converges with the next run, whatever is there', async () => {
  const plans = fc.constantFrom('free', 'pro', null)
  const rows = fc.array(fc.record({ model: fc.option(plans, { nil: undefined }), there: fc.option(plans, { nil: undefined }) }), {
    maxLength: 8,
  })
  await fc.assert(
    fc.asyncProperty(rows, rows, async (first, second) => {
      await begin('match')
      try {
        const model = (from: typeof first): Row[] =>
          from.flatMap((row, i) => (row.model === undefined ? [] : [person(String(i), `p${i}@x.io`, row.model)]))
        const wanted = (from: typeof first) => new Map(model(from).map(({ email, plan }) => [email, plan]))
        for (const [i, row] of first.entries()) if (row.there !== undefined) put(`p${i}@x.io`, { plan: row.there })
        const strangers = new Map([...d.service.records()].map(([email, { plan }]) => [email, plan]))
        await w.model(model(first))
        await compareAll()
        await w.model(model(second))
        await ran(w, null, { allow: new Set(['empty', 'deletes']) })
        const held = there(w)
        // Of a record that nobody compared nothing is known: an add leaves its nulls out.
        for (const [email, plan] of wanted(second))
          if (plan !== null || wanted(first).has(email)) expect(held).toHaveProperty([email!], plan)
        // What was never as we want it was never ours to remove.
        for (const [email, plan] of strangers)
          if (!wanted(second).has(email) && wanted(first).has(email) && (wanted(first).get(email) ?? null) !== (plan ?? null))
            expect(held).toHaveProperty([email])
        expect(await pending(w)).toEqual({})
      } finally {
        await w.close()
      }
    }),
    // One history takes seconds where other tests run beside it.
    { numRuns: Number(process.env['PBT_RUNS'] ?? 6) },
  )
}, 120_000)
