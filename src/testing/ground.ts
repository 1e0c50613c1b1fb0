/** Where one conformance case takes place: a served fake, a trial project against it, and the checks that every case ends with. */
import assert from 'node:assert/strict'
import { type Destination, type Limits, type ObjectSpec } from '../connector.ts'
import { secretPaths, toJson } from '../config/schema-walk.ts'
import { createHttp } from '../http.ts'
import type { Mode, Op } from '../types.ts'
import { type Exchange, type Fault } from './fake.ts'
import { serveFakes, type ServedFake } from './host.ts'
import type { ObjectSubject, Row, Subject } from './subject.ts'
import { startTrial, type KeyedRow, type Said, type Trial, type TrialSettings } from './trial.ts'

export interface Ground {
  readonly subject: Subject
  readonly object: ObjectSubject
  readonly spec: ObjectSpec
  readonly served: ServedFake
  readonly trial: Trial
  /** The mode the trial runs in. */
  readonly mode: Mode
  readonly limits: (op?: Op) => Limits
  /** The connector opened against the fake, without the engine. */
  readonly open: (signal?: AbortSignal) => Destination
  /** Another project, with a state of its own, on the same account. */
  readonly another: (mode: Mode, more?: Partial<TrialSettings>) => Promise<Trial>
  readonly row: (i: number, version?: 0 | 1) => KeyedRow
  /** Rows 0 to n − 1. */
  readonly rows: (n: number, version?: 0 | 1) => KeyedRow[]
  /** Replaces the model's rows and runs; fails unless the run ends well. */
  readonly deliver: (rows: readonly KeyedRow[]) => Promise<Awaited<ReturnType<Trial['run']>>>
  /** These faults for the writes from now on, first to last; then none. */
  readonly failWrites: (...faults: readonly (Fault | undefined)[]) => void
  readonly failAllWrites: (fault: Fault) => void
  readonly heal: () => void
  /** Requests that changed something, since the last call. */
  readonly writes: () => readonly Exchange[]
  readonly count: () => number
  /** The fake holds these rows, and of this object nothing else. */
  readonly expectHeld: (rows: readonly KeyedRow[]) => void
  readonly expectAbsent: (row: KeyedRow) => void
  /** A plan finds nothing to do, and neither does a run. */
  readonly expectQuiet: () => Promise<void>
}

/** The mode in which most is shown. */
export function mainMode({ modes = [] }: Pick<ObjectSubject, 'modes'>, spec: ObjectSpec): Mode {
  const possible = spec.modes.filter((mode) => modes.length === 0 || modes.includes(mode))
  const best = (['mirror', 'upsert', 'append', 'insert', 'update'] as const).find((mode) => possible.includes(mode))
  assert(best !== undefined, 'the object declares no mode')
  return best
}

/** What an object declares, with this subject's settings. */
export function specOf(subject: Subject, object: ObjectSubject): ObjectSpec {
  const { connector, fake } = subject
  const found = connector.objects[object.object] ?? connector.objects['*']
  assert(found !== undefined, `${connector.name} has no object "${object.object}"`)
  return typeof found === 'function' ? found(settingsOf(subject, object, fake.destination('http://127.0.0.1:1'))) : found
}

/** The limits of an operation, with this subject's settings. */
export function limitsOf(subject: Subject, object: ObjectSubject, op: Op): Limits {
  const { limits } = subject.connector
  return typeof limits === 'function'
    ? limits(settingsOf(subject, object, subject.fake.destination('http://127.0.0.1:1')), op, object.object)
    : limits
}

function settingsOf({ connector }: Subject, object: ObjectSubject, entry: Readonly<Record<string, unknown>>) {
  const config: unknown = connector.config.parse({ ...entry, ...object.destination })
  const options: unknown = connector.options.parse(object.options ?? {})
  return { config, options }
}

/** Runs `work` on a fresh ground and takes it down; fails when a secret was printed or the declared concurrency was passed. */
export async function onGround(
  subject: Subject,
  object: ObjectSubject,
  work: (ground: Ground) => Promise<void>,
  mode: Mode,
  observe?: (exchange: Exchange) => void,
): Promise<void> {
  const host = await serveFakes([subject.fake])
  const served = host.fakes.get(subject.fake.name) as ServedFake
  if (observe) served.onExchange(observe)
  const trials: Trial[] = []
  try {
    await object.prepare?.(served)
    served.forget()
    const another = async (kind: Mode, more: Partial<TrialSettings> = {}): Promise<Trial> => {
      const destination = { ...served.destination, ...object.destination }
      const trial = await startTrial({
        connector: subject.connector,
        destination,
        object: object.object,
        options: object.options,
        mode: kind,
        ...more,
      })
      trials.push(trial)
      return trial
    }
    const ground = makeGround(subject, object, served, await another(mode), mode, another)
    await work(ground)
    const { concurrency } = ground.limits()
    assert(served.mostAtOnce() <= concurrency, `${served.mostAtOnce()} requests at once, and ${concurrency} are declared`)
    const secrets = secretsIn(subject, { ...served.destination, ...object.destination })
    for (const trial of trials)
      for (const { stdout, stderr } of trial.said())
        for (const secret of secrets) assert(!(stdout + stderr).includes(secret), 'a secret of the destination was printed')
  } finally {
    for (const trial of trials) await trial.remove()
    await host.close()
  }
}

/** Texts of the entry that the schema marks as secret. */
function secretsIn({ connector }: Subject, entry: Readonly<Record<string, unknown>>): string[] {
  return secretPaths(toJson(connector.config), entry).flatMap((path) => {
    const value = path.reduce<unknown>((at, part) => (at as Readonly<Record<string | number, unknown>>)[part], entry)
    return typeof value === 'string' ? [value] : []
  })
}

function makeGround(
  subject: Subject,
  object: ObjectSubject,
  served: ServedFake,
  trial: Trial,
  mode: Mode,
  another: Ground['another'],
): Ground {
  const spec = specOf(subject, object)
  const { connector } = subject
  const settings = settingsOf(subject, object, served.destination)
  let seen = 0
  const clear = object.clears === undefined ? undefined : { [object.clears.field]: object.clears.reads ?? null }
  const ground: Ground = {
    subject,
    object,
    spec,
    served,
    trial,
    mode,
    another,
    limits: (op = mode === 'mirror' ? 'upsert' : mode) => limitsOf(subject, object, op),
    open: (signal = new AbortController().signal) =>
      connector.open(settings, {
        http: createHttp({ signal, redact: (text) => text, trace: null, now: Date.now }),
        log: () => undefined,
        signal,
        now: Date.now,
      }),
    row: (i, version = 0) => ({ key: `k${i}`, ...object.row(i, version) }),
    rows: (n, version = 0) => Array.from({ length: n }, (_, i) => ground.row(i, version)),
    async deliver(rows) {
      await trial.rows(rows)
      const ran = await trial.run()
      assert.equal(ran.code, 0, said(ran))
      return ran
    },
    failWrites(...faults) {
      const rest = [...faults]
      served.fault((exchange) => (exchange.write ? rest.shift() : undefined))
    },
    failAllWrites: (fault) => served.fault((exchange) => (exchange.write ? fault : undefined)),
    heal: () => served.fault(() => undefined),
    writes() {
      const news = served.exchanges.slice(seen).filter(({ write }) => write)
      seen = served.exchanges.length
      return news
    },
    count: () => object.count(served.records()),
    expectHeld(rows) {
      for (const row of rows) {
        const held = object.held(served.records(), row)
        assert(held !== null, `the service does not hold ${JSON.stringify(row)}`)
        assert.deepEqual(textOf(held), textOf({ ...row.fields, ...cleared(row, clear) }), `what the service holds of ${row.key}`)
      }
      assert.equal(ground.count(), rows.length, 'records at the service')
    },
    expectAbsent(row) {
      assert.equal(object.held(served.records(), row), null, `the service still holds ${row.key}`)
    },
    async expectQuiet() {
      const { counts } = await trial.plan()
      const { add, change, remove } = counts
      assert.deepEqual({ add, change, remove }, { add: 0, change: 0, remove: 0 }, 'what the plan would do')
      ground.writes()
      const again = await trial.run()
      assert.equal(again.code, 0, said(again))
      assert.deepEqual(
        ground.writes().map(({ request }) => `${request.method} ${request.path}`),
        [],
        'requests of a run with nothing to do',
      )
    },
  }
  return ground
}

export const said = ({ code, stdout, stderr }: Said): string => `the command ended with ${code}:\n${stdout}${stderr}`

function cleared(row: Row, clear: Readonly<Record<string, unknown>> | undefined): Readonly<Record<string, unknown>> {
  return clear && Object.keys(clear).some((name) => row.fields[name] === null) ? clear : {}
}

/** Scalars as text: `3` and `'3'` are one value to most services. Fields without a value are left out. */
function textOf(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const entries = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined)
  return Object.fromEntries(
    entries
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => [name, typeof value === 'object' ? value : String(value as string | number | boolean)]),
  )
}
