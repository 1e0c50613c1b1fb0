/** The cases of the conformance suite, each a sentence about a connector. What they expect follows from what it declares. */
import assert from 'node:assert/strict'
import type { Exchange } from './fake.ts'
import { type Ground, mainMode, onGround, said, specOf } from './ground.ts'
import { FAULTS } from './faults.ts'
import { MEMBERS } from './members.ts'
import type { ObjectSubject, Subject } from './subject.ts'
import type { Mode } from '../types.ts'
import type { ObjectSpec } from '../connector.ts'

/** One case, ready to run. Runs on a fake of its own; throws an AssertionError. */
export interface Case {
  /** `contacts: a changed field is sent and nothing else`, or without an object: `the account is proved by reads alone`. */
  readonly name: string
  /** Why the connector is excepted from it. */
  readonly skip: string | null
  readonly run: () => Promise<void>
}

/** A case as it is written: for which objects, in which mode, and what happens. */
export interface Plot {
  readonly name: string
  readonly applies?: (spec: ObjectSpec, object: ObjectSubject, mode: Mode) => boolean
  /** Default: the object's main mode. */
  readonly mode?: Mode
  /** Its requests are wrong on purpose. */
  readonly bad?: true
  readonly run: (ground: Ground) => Promise<void>
}

const SEVEN = 7
/** Texts that break what was joined, escaped or cut without care. */
const ODD = [
  `Zoë "quoted" 'single' \\ back`,
  '日本語 👩🏽‍🚀 e\u0301',
  'two\nlines\tand a tab',
  '<b>&amp;</b> 100 %20 + ? # / ; , =',
  '{{ fields.x }} ${env:HOME}',
  'null',
  '007',
  'a'.repeat(200),
] as const
const ODD_KEYS = ['a "b"', "c'd", 'e/f?g=h&i#j', 'k+l%20m', 'ключ', '{"n":1}', 'o\\p'] as const

/** A path may lead into a field that takes any names. */
const nestedIn = (names: ReadonlySet<string>, name: string): boolean => [...names].some((one) => name === one || name.startsWith(`${one}.`))
const keeps = (_: ObjectSpec, __: ObjectSubject, mode: Mode): boolean => mode !== 'append'
const changes = (spec: ObjectSpec, _: ObjectSubject, mode: Mode): boolean =>
  spec.membership !== true && (mode === 'mirror' || mode === 'upsert')

const ACCOUNT: readonly Plot[] = [
  {
    name: 'the account is proved by reads alone, and its id stays the same',
    async run({ open, served }) {
      const [first, second] = [await open().check(), await open().check()]
      assert(first.id !== '' && first.name !== '', 'an account has an id and a name')
      assert.equal(first.id, second.id)
      assert.equal(served.exchanges.filter(({ write }) => write).length, 0, 'requests of check() that change something')
    },
  },
  {
    name: 'wrong credentials end the run before anything is sent, and say so',
    async run({ trial, subject, served, rows, object }) {
      if (subject.fake.intruder === undefined) return
      await trial.configure({ destination: { ...subject.fake.intruder(served.url), ...object.destination } })
      await trial.rows(rows(SEVEN))
      const ran = await trial.run()
      assert.equal(ran.code, 4, said(ran))
      assert.match(ran.stdout + ran.stderr, /login|token|credential|key/i, said(ran))
      assert.equal(served.exchanges.filter(({ write }) => write).length, 0, 'requests that change something')
    },
  },
]

const LIFE: readonly Plot[] = [
  {
    name: 'a first run delivers every row, and then nothing is left to do',
    async run({ deliver, rows, expectHeld, expectQuiet }) {
      const { record } = await deliver(rows(SEVEN))
      assert.equal(record.counts.delivered + record.counts.accepted, SEVEN)
      expectHeld(rows(SEVEN))
      await expectQuiet()
      await expectQuiet()
    },
  },
  {
    name: 'a changed field is sent and nothing else',
    applies: changes,
    async run({ deliver, rows, row, expectHeld, expectQuiet }) {
      await deliver(rows(SEVEN))
      const { record } = await deliver([...rows(SEVEN - 1), row(SEVEN - 1, 1)])
      assert.equal(record.counts.delivered + record.counts.accepted, 1)
      expectHeld([...rows(SEVEN - 1), row(SEVEN - 1, 1)])
      await expectQuiet()
    },
  },
  {
    name: 'a changed field sent alone leaves the others as they are',
    applies: changes,
    async run({ trial, deliver, rows, row, expectHeld }) {
      await trial.configure({ sync: { send: 'changed' } })
      await deliver(rows(3))
      await deliver([...rows(2), row(2, 1)])
      expectHeld([...rows(2), row(2, 1)])
    },
  },
  {
    name: 'sending everything again changes nothing',
    applies: changes,
    async run({ trial, deliver, rows, expectHeld, expectQuiet }) {
      await deliver(rows(SEVEN))
      const again = await trial.run('--full-refresh')
      assert.equal(again.code, 0, said(again))
      expectHeld(rows(SEVEN))
      await expectQuiet()
    },
  },
  {
    name: 'null clears a field',
    applies: (spec, object, mode) => object.clears !== undefined && changes(spec, object, mode),
    async run({ deliver, row, object, expectHeld, expectQuiet }) {
      const { field } = object.clears as NonNullable<ObjectSubject['clears']>
      const full = row(0)
      assert(field in full.fields && full.fields[field] !== null, `row 0 has a value for "${field}"`)
      await deliver([full, row(1)])
      const empty = { ...full, fields: { ...full.fields, [field]: null } }
      await deliver([empty, row(1)])
      expectHeld([empty, row(1)])
      await expectQuiet()
    },
  },
  {
    name: 'rows that left are removed, and only those',
    mode: 'mirror',
    applies: (spec) => spec.modes.includes('mirror') && (spec.removes ?? ['delete']).some((how) => how === 'delete' || how === 'archive'),
    async run({ trial, spec, deliver, rows, row, expectHeld, expectAbsent, expectQuiet }) {
      const how = (spec.removes ?? ['delete']).find((kind) => kind === 'delete' || kind === 'archive')
      await trial.configure({ sync: { on_remove: how } })
      await deliver(rows(SEVEN))
      await deliver(rows(SEVEN - 2))
      expectHeld(rows(SEVEN - 2))
      expectAbsent(row(SEVEN - 1))
      await expectQuiet()
      // One that comes back is a new one.
      await deliver(rows(SEVEN))
      expectHeld(rows(SEVEN))
    },
  },
  {
    bad: true,
    name: 'a row refused for what is in it is rejected with the service’s words, and the others arrive',
    applies: (_, object) => object.refused !== undefined,
    async run({ trial, object, rows, expectHeld }) {
      const { row, says } = object.refused as NonNullable<ObjectSubject['refused']>
      const bad = { key: 'bad', ...row }
      await trial.rows([...rows(3), bad, ...rows(SEVEN).slice(3)])
      const ran = await trial.run()
      assert.equal(ran.code, 3, said(ran))
      const { rejected, delivered, accepted, unknown } = ran.record.counts
      assert.deepEqual({ rejected, unknown, done: delivered + accepted }, { rejected: 1, unknown: 0, done: SEVEN }, said(ran))
      const told = await trial.command('rejected', 'trial', '--json', '--show-values')
      assert.match(told.stdout, says)
      expectHeld(rows(SEVEN))
    },
  },
  {
    name: 'odd texts arrive as they are',
    applies: (_, object) => object.text !== undefined,
    async run({ deliver, row, object, expectHeld, expectQuiet }) {
      const odd = ODD.map((text, i) => ({ ...row(i), fields: { ...row(i).fields, [object.text as string]: text } }))
      await deliver(odd)
      expectHeld(odd)
      await expectQuiet()
    },
  },
  {
    name: 'odd keys find their outcomes',
    async run({ deliver, row, expectHeld, expectQuiet }) {
      const odd = ODD_KEYS.map((key, i) => ({ ...row(i), key }))
      await deliver(odd)
      expectHeld(odd)
      await expectQuiet()
    },
  },
  {
    name: 'more rows than a request takes all arrive',
    applies: (_, object) => object.object !== '',
    async run({ deliver, limits, rows, expectHeld, served }) {
      const n = Math.min(Math.max(limits().rows + 1, 20), 1001)
      await deliver(rows(n))
      expectHeld(rows(n))
      const refused = served.exchanges.filter(({ write, reply }) => write && reply !== null && reply.status >= 400)
      assert.deepEqual(
        refused.map(({ reply }) => reply?.status),
        [],
        'requests that the service refused',
      )
    },
  },
  {
    name: 'outcomes are found in any order',
    async run({ deliver, rows, served, expectHeld }) {
      served.reverse(true)
      await deliver(rows(SEVEN))
      expectHeld(rows(SEVEN))
    },
  },
  {
    name: 'a field that does not exist is found before anything is sent',
    applies: (spec) => spec.membership !== true,
    async run({ trial, open, row, object, spec, served }) {
      const destination = open()
      const known = await destination.describe?.(object.object)
      await destination.close?.()
      // A service that takes any field lists none.
      if (known === undefined || known.length === 0) return
      const names = new Set(known.map(({ name }) => name))
      for (const name of Object.keys(row(0).fields))
        assert(spec.nested === true ? nestedIn(names, name) : names.has(name), `describe() does not name the field "${name}"`)
      await trial.rows([{ ...row(0), fields: { ...row(0).fields, no_such_field_here: 'x' } }])
      const ran = await trial.run()
      assert.equal(ran.code, 1, said(ran))
      assert.match(ran.stdout + ran.stderr, /no_such_field_here/)
      assert.equal(served.exchanges.filter(({ write }) => write).length, 0, 'requests that change something')
    },
  },
  {
    name: 'the plan names the account',
    async run({ trial, open, rows }) {
      await trial.rows(rows(1))
      const { id, name } = await open().check()
      const { destination } = await trial.plan()
      assert.deepEqual([destination.account_id, destination.account], [id, name])
    },
  },
  {
    name: 'records are read back by their match',
    applies: keeps,
    async run({ open, deliver, row, rows, object, spec }) {
      const destination = open()
      if (destination.read === undefined || Object.keys(row(0).match).length === 0) return
      await deliver(rows(2))
      const [first, none, second] = await destination.read(object.object, [row(0).match, row(20).match, row(1).match])
      assert(first != null && second != null && none === null, 'what was delivered is found, what was not is null')
      if (spec.membership === true) return
      for (const name of Object.keys(row(0).fields)) assert(name in first, `read() leaves out the field "${name}"`)
    },
  },
]

const MODES: readonly Plot[] = [
  {
    name: 'mode update changes what is there and creates nothing',
    mode: 'update',
    applies: (spec) => spec.modes.includes('update') && spec.modes.includes('upsert'),
    async run({ trial, another, rows, row, expectHeld, expectQuiet }) {
      const before = await another('upsert')
      await before.rows(rows(3))
      assert.equal((await before.run()).code, 0)
      await trial.rows([...rows(2), row(2, 1), row(9)])
      const ran = await trial.run()
      assert.equal(ran.code, 0, said(ran))
      assert.deepEqual([ran.record.counts.absent, ran.record.counts.delivered + ran.record.counts.accepted], [1, 3], said(ran))
      expectHeld([...rows(2), row(2, 1)])
      await expectQuiet()
    },
  },
  {
    name: 'mode insert creates what is not there and changes nothing',
    mode: 'insert',
    applies: (spec) => spec.modes.includes('insert') && spec.modes.includes('upsert'),
    async run({ trial, another, rows, row, expectHeld, expectQuiet }) {
      const before = await another('upsert')
      await before.rows(rows(2))
      assert.equal((await before.run()).code, 0)
      await trial.rows([row(0), row(1, 1), row(2)])
      const ran = await trial.run()
      assert.equal(ran.code, 0, said(ran))
      assert.deepEqual([ran.record.counts.exists, ran.record.counts.delivered + ran.record.counts.accepted], [2, 1], said(ran))
      expectHeld(rows(3))
      await expectQuiet()
    },
  },
  {
    name: 'mode append sends each key once',
    mode: 'append',
    applies: (spec) => spec.modes.includes('append'),
    async run({ deliver, rows, expectHeld, expectQuiet }) {
      await deliver(rows(3))
      // A changed row is an event that was sent; a new key is a new one.
      await deliver([...rows(2, 1), ...rows(5).slice(2)])
      expectHeld(rows(5))
      await expectQuiet()
    },
  },
]

/** Every case that applies to a subject. `observe` is given each request that ought to be right. Throws when the subject leaves an object out or excepts a case that does not exist. */
export function casesOf(subject: Subject, observe?: (exchange: Exchange) => void): Case[] {
  const { connector, objects, exceptions = [] } = subject
  for (const name of Object.keys(connector.objects))
    assert(
      objects.some(({ object }) => object === name || (name === '*' && connector.objects[object] === undefined)),
      `the subject has nothing for the object "${name}" of ${connector.name}`,
    )
  const unused = new Set(exceptions)
  const caseOf = (prefix: string, object: ObjectSubject, plot: Plot, mode: Mode): Case => {
    const exception = exceptions.find((one) => one.case === plot.name && (one.object === undefined || one.object === object.object))
    if (exception) unused.delete(exception)
    return {
      name: `${prefix}${plot.name}`,
      skip: exception?.reason ?? null,
      run: () => onGround(subject, object, plot.run, mode, plot.bad ? undefined : observe),
    }
  }
  const cases: Case[] = []
  const [first] = objects
  assert(first !== undefined, 'the subject has no object')
  for (const plot of ACCOUNT) cases.push(caseOf('', first, plot, mainMode(first, specOf(subject, first))))
  for (const object of objects) {
    const spec = specOf(subject, object)
    const main = mainMode(object, spec)
    for (const plot of [...LIFE, ...MODES, ...MEMBERS, ...FAULTS]) {
      const mode = plot.mode ?? main
      if (object.modes !== undefined && !object.modes.includes(mode)) continue
      if (plot.applies?.(spec, object, mode) === false) continue
      cases.push(caseOf(`${object.object}: `, object, plot, mode))
    }
  }
  assert.deepEqual(
    [...unused].map((one) => one.case),
    [],
    'exceptions for cases that there are not',
  )
  return cases
}
