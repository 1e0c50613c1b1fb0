/** Rows that are refused again and again: held, shown, and freed by what may help. */
import { afterEach, describe, expect, it } from 'vitest'
import { Refused } from '../../src/connector.ts'
import { retry } from '../../src/maintain.ts'
import { service } from '../support/destinations.ts'
import { column, world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { DAY, pending, people, person, ran, rejected } from './support.ts'

let w: World
afterEach(() => w?.close())

/** Key 1 is refused five times; the others pass. */
async function held(): Promise<void> {
  w.service.fate = ({ key }) => (key === '1' ? 'rejected' : 'ok')
  for (let i = 1; i <= 5; i++) {
    const { sent } = await ran(w, i === 1 ? people(2) : null)
    expect(sent.filter(({ key }) => key === '1').map(({ attempts }) => attempts)).toEqual([i - 1])
  }
}

describe('a row that was refused five times with the same payload', () => {
  it('is not sent again, is listed, and keeps exit code 3', async () => {
    w = await world(service('match'))
    await held()
    const { sent, record } = await ran(w)
    expect(sent).toEqual([])
    expect(record).toMatchObject({ status: 'incomplete', exit_code: 3, counts: { held: 1 } })
    expect(await pending(w)).toEqual({ held: 1 })
    expect(await rejected(w)).toMatchObject([{ key: '1', outcome: 'rejected', code: 'BAD', attempts: 5, held: true }])
  })

  const freeing: Record<string, () => Promise<void> | void> = {
    'its row changes': () => w.model(people(2, 'pro')),
    'the mapping changes': () => {
      w.sync = { ...w.sync, fields: [column('plan', 'plan', { transform: ['upcase'] })] }
    },
    'the options change': () => {
      w.sync = { ...w.sync, options: { list: 7 } }
    },
    'the connector has a new version': () => {
      const { connector } = w.sync.destination
      w.sync = { ...w.sync, destination: { ...w.sync.destination, connector: { ...connector, version: 2 } } }
    },
    'a day has passed': () => {
      w.now += DAY + 1
    },
    'the user says retry': async () => {
      expect(await retry(w.project, w.sync, ['1'])).toEqual({ released: 1 })
    },
  }
  it.each(Object.keys(freeing))('is sent again when %s', async (cause) => {
    w = await world(service('match'))
    await held()
    await freeing[cause]?.()
    const { sent } = await ran(w)
    expect(sent.map(({ key }) => key)).toContain('1')
    expect(sent.find(({ key }) => key === '1')?.attempts).toBe(cause === 'a day has passed' ? 5 : 0)
  })

  it('is not freed by retry of another key', async () => {
    w = await world(service('match'))
    await held()
    expect(await retry(w.project, w.sync, ['2'])).toEqual({ released: 0 })
    expect((await ran(w)).sent).toEqual([])
  })

  it('is forgotten when its row leaves', async () => {
    w = await world(service('match'))
    await held()
    expect((await ran(w, people(1, 'free', 2))).record).toMatchObject({ status: 'ok', counts: { held: 0, remove: 0 } })
    expect(await rejected(w)).toEqual([])
  })

  it('stops being listed once it is taken', async () => {
    w = await world(service('match'))
    await held()
    w.service.fate = () => 'ok'
    await ran(w, people(2, 'pro'))
    expect(await rejected(w)).toEqual([])
    expect((await ran(w)).record.status).toBe('ok')
  })
})

describe('attempts', () => {
  it('start again with another payload', async () => {
    w = await world(service('match'))
    w.service.fate = () => 'rejected'
    for (const plan of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) {
      const { sent } = await ran(w, [person('1', 'a@x.io', plan)])
      expect(sent.map(({ attempts }) => attempts)).toEqual([0])
    }
  })

  it('do not count for a request that was refused as such', async () => {
    const refusing = service('match')
    w = await world({ ...refusing, connector: { ...refusing.connector, limits: { rows: 8, concurrency: 1 } } })
    refusing.fate = () => {
      throw new Refused('NO_SUCH_FIELD', 'no such field', 400)
    }
    await w.model(people(8))
    for (let i = 0; i < 7; i++) expect((await ran(w)).record).toMatchObject({ exit_code: 1, counts: { held: 0 } })
    refusing.fate = () => 'ok'
    const { sent, record } = await ran(w)
    expect(record).toMatchObject({ status: 'ok', counts: { delivered: 8 } })
    expect(new Set(sent.map(({ attempts }) => attempts))).toEqual(new Set([0]))
  })

  it.each(['retry', 'lost'] as const)('do not count for %s', async (fate) => {
    w = await world(service('match'))
    w.service.fate = () => fate
    await w.model(people(1))
    for (let i = 0; i < 6; i++) await ran(w)
    expect((await w.plan()).counts).toMatchObject({ add: 1, held: 0 })
  })

  it('of a removal are counted too, and the removal is not counted again by a guard', async () => {
    w = await world(service('match'), { guards: { deletes: { max_rows: 1 } } })
    await ran(w, people(4))
    w.service.fate = ({ op }) => (op === 'delete' ? 'rejected' : 'ok')
    await w.model(people(2))
    expect((await ran(w)).record.exit_code).toBe(5)
    expect((await ran(w, null, { allow: new Set(['deletes']) })).record.exit_code).toBe(3)
    // Let through once: the same two are no surprise any more, a third one is within its limit.
    expect((await ran(w, people(1))).record).toMatchObject({ exit_code: 3, counts: { remove: 3 } })
    for (let i = 0; i < 4; i++) await ran(w)
    expect(await pending(w)).toEqual({ held: 3 })
    w.now += DAY + 1
    w.service.fate = () => 'ok'
    await ran(w)
    expect(w.service.records().size).toBe(1)
  })
})

describe('the tolerance', () => {
  it('makes a few rejected and held rows a warning', async () => {
    w = await world(service('match'), { tolerance: { rejected_percent: 50, rejected_rows: 1 } })
    w.service.fate = ({ key }) => (key === '1' ? 'rejected' : 'ok')
    expect((await ran(w, people(4))).record).toMatchObject({ status: 'ok', exit_code: 0, counts: { rejected: 1 } })
    for (let i = 0; i < 5; i++) await ran(w)
    expect((await ran(w)).record).toMatchObject({ exit_code: 0, counts: { held: 1 } })
  })

  it('needs both limits kept', async () => {
    w = await world(service('match'), { tolerance: { rejected_percent: 10, rejected_rows: 1 } })
    w.service.fate = ({ key }) => (key === '1' ? 'rejected' : 'ok')
    expect((await ran(w, people(4))).record.exit_code).toBe(3)
  })

  it('covers no unknown rows', async () => {
    w = await world(service('match'), { tolerance: { rejected_percent: 100, rejected_rows: 100 } })
    w.service.fate = () => 'lost'
    expect((await ran(w, people(1))).record).toMatchObject({ status: 'incomplete', exit_code: 3 })
  })
})

it('rows that were refused before go last', async () => {
  w = await world(service('match'))
  w.service.fate = ({ key }) => (key === '1' ? 'rejected' : 'ok')
  await ran(w, people(4))
  const { sent } = await ran(
    w,
    people(4, 'pro').map((row, i) => (i === 0 ? people(1)[0]! : row)),
  )
  expect(sent.at(-1)?.key).toBe('1')
})

it('a service that answers with a NUL and quotes in its message breaks nothing', async () => {
  w = await world(service('match'))
  w.service.fate = ({ key }) => ({ key, result: 'rejected', code: "it's", message: "a\0b'c\\" })
  await ran(w, people(1))
  expect(await rejected(w)).toMatchObject([{ code: "it's", message: "a\0b'c\\" }])
})
