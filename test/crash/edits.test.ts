/** kill -9 where a repeat would do harm, and recovery under a configuration that was edited in between. */
import { beforeEach, describe, expect, it } from 'vitest'
import { expectConverged, expectNoFalseDone, held, people, syncText, wanted, withoutNulls, type TestProject } from '../support/project.ts'
import { killAt, make, receiver } from './support.ts'

let project: TestProject

const eventKeys = (): string[] => receiver.events.map(({ key }) => key).sort()

describe('a killed append', () => {
  const ROWS = people(0, 30)

  it.each(['uncommitted:2', 'intended:2', 'sending:3', 'answered:1', 'answered:4', 'delivered', 'folding'])(
    'at %s sends nothing twice: what is in doubt is held until a person looked',
    async (at) => {
      project = await make({ sync: 'mode: append\nbackfill: true' })
      await project.rows(ROWS)
      project = await killAt(project, at)
      await expectNoFalseDone(project, receiver)
      const { counts } = await project.plan()
      expect(counts.held).toBeLessThanOrEqual(2 * 5)

      const second = await project.run(['run'])
      expect(second.code).toBe(counts.held > 0 ? 3 : 0)
      expect(new Set(eventKeys()).size).toBe(receiver.events.length)
      // Held rows cost no request, however often it runs.
      const requests = receiver.requests.length
      expect((await project.look('run')).code).toBe(second.code)
      expect(receiver.requests.length).toBe(requests)

      const { stdout } = await project.look('rejected', 'people', '--json', '--show-values')
      const doubtful = (JSON.parse(stdout) as { rows: { key: string; outcome: string }[] }).rows
      expect(doubtful.length).toBe(counts.held)
      for (const { key } of doubtful) {
        const there = receiver.events.some((event) => event.key === key)
        expect((await project.look('resolve', 'people', key, there ? '--delivered' : '--not-delivered')).code).toBe(0)
      }
      expect((await project.look('run')).code).toBe(0)
      expect(eventKeys()).toEqual(ROWS.map(({ id }) => id).sort())
      expect((await project.plan()).counts).toMatchObject({ add: 0, held: 0, unchanged: 30 })
    },
  )
})

describe('between a kill and the next run', () => {
  const ROWS = people(0, 30)
  const NEXT = [...people(0, 20).map((it) => ({ ...it, plan: 'cnry-pro' })), ...people(30, 40)]

  beforeEach(async () => {
    project = await make()
    await project.rows(ROWS)
    expect((await project.look('run')).code).toBe(0)
    await project.rows(NEXT)
    project = await killAt(project, 'answered:4')
  })

  it('the mapping may be edited: what was sent before counts as it was sent', async () => {
    await project.sync(syncText('mode: mirror', 'tier: plan, source: { value: cnry-w }'))
    await expectNoFalseDone(project, receiver)
    expect((await project.run(['run'])).code).toBe(0)
    expect([...held(receiver).keys()].sort()).toEqual([...wanted(NEXT).keys()].sort())
    for (const { id, plan } of NEXT) expect(held(receiver).get(id)).toMatchObject(withoutNulls({ tier: plan, source: 'cnry-w' }))
    expect((await project.plan()).counts).toMatchObject({ add: 0, change: 0, remove: 0, unchanged: NEXT.length })
  })

  it('the match may be edited', async () => {
    await project.sync(syncText().replace('email: email', 'login: id'))
    await expectNoFalseDone(project, receiver)
    expect((await project.run(['run'])).code).toBe(0)
    for (const { id } of NEXT) expect(receiver.records.get(id)?.match).toEqual({ login: id })
    expect(receiver.records.size).toBe(NEXT.length)
    expect((await project.plan()).counts).toMatchObject({ add: 0, change: 0, remove: 0 })
  })

  it('the mode may become one that deletes nothing, and mirror again: nothing that left is forgotten', async () => {
    await project.sync(syncText('mode: upsert'))
    expect((await project.run(['run'])).code).toBe(0)
    expect(receiver.records.size).toBe(40)
    await project.sync(syncText())
    expect((await project.run(['run'])).code).toBe(0)
    await expectConverged(project, receiver, NEXT)
  })

  it('another target stops the run before anything is folded or sent, and the old one goes on', async () => {
    const requests = receiver.requests.length
    const env = { HOOK_URL: (project.env['HOOK_URL'] ?? '').replace('/hook', '/elsewhere') }
    const moved = await project.run(['run'], { env })
    expect([moved.code, moved.stdout + moved.stderr]).toEqual([1, expect.stringContaining('CDP4003')])
    expect(receiver.requests.length).toBe(requests)
    await expectNoFalseDone(project, receiver)
    expect((await project.run(['run'])).code).toBe(0)
    await expectConverged(project, receiver, NEXT)
  })

  it('the key may not change unseen', async () => {
    await project.sync(syncText().replace('key: id', 'key: email'))
    const requests = receiver.requests.length
    const rekeyed = await project.run(['run'])
    expect([rekeyed.code, rekeyed.stdout + rekeyed.stderr]).toEqual([1, expect.stringContaining('CDP4004')])
    expect(receiver.requests.length).toBe(requests)
  })

  it('a new password is no new target', async () => {
    const env = { HOOK_URL: (project.env['HOOK_URL'] ?? '').replace('agent:', 'other:') }
    expect((await project.run(['run'], { env })).code).toBe(0)
    await expectConverged(project, receiver, NEXT)
  })
})
