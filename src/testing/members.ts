/** Cases about addresses: memberships, shared members, any-of identifiers, and matches that change. */
import assert from 'node:assert/strict'
import type { Plot } from './cases.ts'
import { said } from './ground.ts'

const isMembership: Plot['applies'] = (spec) => spec.membership === true

export const MEMBERS: readonly Plot[] = [
  {
    name: 'two rows that swap their matches change nothing in the set',
    applies: isMembership,
    async run({ deliver, row, rows, expectHeld, expectQuiet, trial }) {
      await deliver(rows(4))
      await trial.rows([{ ...row(1), key: 'k0' }, { ...row(0), key: 'k1' }, row(2), row(3)])
      expectHeld(rows(4))
      await expectQuiet()
    },
  },
  {
    name: 'a member that two rows share leaves with the last of them',
    applies: isMembership,
    async run({ deliver, row, rows, expectHeld, expectAbsent }) {
      const shared = { ...row(0), key: 'other' }
      await deliver([...rows(3), shared])
      expectHeld(rows(3))
      await deliver([row(1), row(2), shared])
      expectHeld([shared, row(1), row(2)])
      await deliver([row(1), row(2)])
      expectAbsent(row(0))
    },
  },
  {
    name: 'members that somebody else put there stay, until the model takes them over',
    applies: isMembership,
    async run({ deliver, another, row, rows, expectHeld, expectAbsent }) {
      const others = await another('mirror')
      await others.rows([row(8), row(9)])
      const ran = await others.run()
      assert.equal(ran.code, 0, said(ran))
      await deliver(rows(2))
      expectHeld([...rows(2), row(8), row(9)])
      await deliver([row(0), row(8)])
      expectHeld([row(0), row(8), row(9)])
      await deliver([row(0)])
      expectAbsent(row(8))
      expectHeld([row(0), row(9)])
    },
  },
  {
    name: 'of several identifiers only those that changed are added and removed',
    applies: (spec, object) =>
      isMembership(spec, object, 'mirror') &&
      typeof spec.address === 'object' &&
      spec.address.match === 'any' &&
      Object.keys(object.row(0, 0).match).length > 1,
    async run({ deliver, row, expectAbsent, object, served }) {
      const [first = '', second = ''] = Object.keys(row(0).match)
      await deliver([row(0), row(1)])
      const changed = { ...row(0), match: { ...row(0).match, [second]: row(9).match[second] ?? null } }
      await deliver([changed, row(1)])
      const only = (name: string, from: number) => ({ ...row(from), match: { [name]: row(from).match[name] ?? null } })
      expectAbsent(only(second, 0))
      for (const [name, from] of [
        [first, 0],
        [second, 9],
      ] as const)
        assert(object.held(served.records(), only(name, from)) !== null, `the identifier "${name}" is not there`)
      // A row that has only one of them is a member too.
      await deliver([only(first, 0), row(1)])
      expectAbsent(only(second, 9))
      assert(object.held(served.records(), only(first, 0)) !== null, 'the identifier that stayed is gone')
    },
  },
  {
    name: 'a row whose match changes is found under the new one and not under the old',
    mode: 'mirror',
    applies: (spec, object) =>
      spec.membership !== true &&
      spec.modes.includes('mirror') &&
      typeof spec.address === 'object' &&
      Object.keys(object.row(0, 0).match).length > 0 &&
      (spec.removes ?? ['delete']).some((how) => how === 'delete' || how === 'archive'),
    async run({ trial, spec, deliver, row, rows, expectHeld, expectAbsent, expectQuiet }) {
      const how = (spec.removes ?? ['delete']).find((kind) => kind === 'delete' || kind === 'archive')
      await trial.configure({ sync: { on_remove: how } })
      await deliver(rows(3))
      const moved = { ...row(0), match: row(9).match }
      await deliver([moved, row(1), row(2)])
      expectHeld([moved, row(1), row(2)])
      expectAbsent(row(0))
      await expectQuiet()
    },
  },
]
