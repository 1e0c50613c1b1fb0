/** Removals that nobody answered: the record is found again, whatever was edited meanwhile. */
import { afterEach, expect, it } from 'vitest'
import { world } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { service } from '../support/destinations.ts'
import { person, ran, there } from './support.ts'

let w: World
afterEach(() => w?.close())

it.each(['lost', 'unanswered', 'crash-before', 'crash-after'] as const)(
  'a removal of an unknown add names its record each time (%s)',
  async (fate) => {
    w = await world(service('match'))
    await ran(w, [person('1', 'a@x.io')])
    w.service.fate = () => 'unanswered'
    await ran(w, [person('1', 'a@x.io'), person('2', 'b@x.io')])
    w.service.fate = () => fate
    await ran(w, [person('1', 'a@x.io')])
    w.service.fate = () => 'ok'
    const { sent } = await ran(w)
    expect(sent.map(({ op, match }) => [op, match])).toEqual([['delete', { email: 'b@x.io' }]])
    expect(there(w)).toEqual({ 'a@x.io': 'free' })
  },
)

it('a removal with another body has another id', async () => {
  w = await world(service('match'), { onRemove: 'clear' })
  const rows = [person('1', 'a@x.io'), person('2', 'b@x.io')]
  await ran(w, rows)
  w.service.fate = () => 'unanswered'
  const first = await ran(w, rows.slice(1))
  w.service.fate = () => 'ok'
  w.sync = { ...w.sync, onRemove: 'set', removeSet: { plan: { kind: 'string', text: 'former' } } } as never
  const second = await ran(w)
  expect(second.sent.map(({ fields }) => fields)).toEqual([{ plan: 'former' }])
  expect(second.sent[0]?.id).not.toBe(first.sent[0]?.id)
})
