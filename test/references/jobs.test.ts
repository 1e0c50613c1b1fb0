/** A vendor's job with references: whoever resumes it gets what was resolved for it, and nothing is asked twice. */
import { afterEach, describe, expect, it } from 'vitest'
import type { Batch, Destination } from '../../src/connector.ts'
import { NotSent } from '../../src/connector.ts'
import { pending, person, ran } from '../engine/support.ts'
import { Crash } from '../support/destinations.ts'
import { column, world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { directory, owner } from './support.ts'
import type { Directory } from './support.ts'

let w: World
let d: Directory
afterEach(() => w?.close())

const rows = [person('1', 'p1@x.io', 'free', 'o1@x.io'), person('2', 'p2@x.io', 'free', 'nobody@x.io')]

interface Resumed {
  token: string
  keys: string[]
  fields: unknown[]
  text: string[]
}

/** A service of jobs: `begin` is called once the job's token was taken, `resumed` notes what `resume` was given. */
async function jobs(begin: (batch: Batch) => void): Promise<Resumed[]> {
  const resumed: Resumed[] = []
  const more = (): Partial<Destination> => ({
    async *write(batch) {
      await Promise.resolve()
      yield { token: 'J1' }
      begin(batch)
    },
    async *resume(token, { changes }) {
      await Promise.resolve()
      resumed.push({
        token,
        keys: changes.map(({ key }) => key),
        fields: changes.map(({ fields }) => fields),
        text: changes.map(({ fieldsJson }) => fieldsJson.text),
      })
      for (const { key } of changes) yield { key, result: 'ok' }
    },
  })
  d = directory('match', {}, more)
  d.ids.set('{"Email":"o1@x.io"}', 'U1')
  w = await world(d.service, { fields: [column('plan'), owner()] })
  return resumed
}

const WHOLE = { token: 'J1', keys: ['1'], fields: [{ plan: 'free', owner: 'U1' }], text: ['{"plan":"free","owner":"U1"}'] }

describe('a job that a run began', () => {
  it('is resumed in the same run with the ids it was begun with', async () => {
    const resumed = await jobs(() => {
      throw new NotSent('ECONNRESET', 'poll')
    })
    const { record } = await ran(w, rows)
    expect(resumed).toEqual([WHOLE])
    expect(record.counts).toMatchObject({ delivered: 1, rejected: 1, unknown: 0 })
    expect(d.asked).toHaveLength(1)
  })

  it('is resumed after a kill with the ids it was begun with, whatever the mapping says by then', async () => {
    const resumed = await jobs(() => {
      d.service.onCrash()
      throw new Crash('killed')
    })
    await ran(w, rows)
    d.ids.clear()
    d.asked.length = 0
    w.sync = { ...w.sync, fields: [column('plan')] }
    const { record } = await ran(w)
    expect(resumed[0]).toEqual(WHOLE)
    // The row that was never part of the job is no riddle: it was rejected.
    expect(record.recovered).toEqual({ uncertain: 0 })
    expect(d.asked).toEqual([])
    expect(await w.state(`SELECT key FROM state.snapshot WHERE NOT uncertain AND key = '1'`)).toEqual([{ key: '1' }])
  })

  it('without references keeps its own token', async () => {
    const resumed = await jobs(() => {
      throw new NotSent('ECONNRESET', 'poll')
    })
    w.sync = { ...w.sync, fields: [column('plan')] }
    await ran(w, rows)
    expect(resumed[0]).toMatchObject({ token: 'J1', fields: [{ plan: 'free' }, { plan: 'free' }] })
    expect(await pending(w)).toEqual({})
  })
})
