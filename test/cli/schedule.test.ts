import * as fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Sync } from '../../src/config/types.ts'
import { DEFAULT_OPTIONS, type RunContext, type RunEvent } from '../../src/context.ts'
import { AuthError, CdpError, LockedError } from '../../src/errors.ts'
import { Interrupt, planAll, runAll, worstExit, type Engine, type ScheduleIO } from '../../src/schedule.ts'
import { VERSION } from '../../src/version.ts'
import { record } from '../support/records.ts'
import { plan } from '../support/plans.ts'
import { project, sync } from '../support/syncs.ts'

const MB = 1024 * 1024
type Run = (sync: Sync, context: RunContext) => Promise<ReturnType<typeof record>>

function io(run: Run, more: Partial<ScheduleIO> = {}): ScheduleIO {
  const engine: Engine = {
    runSync: (_, it, context) => run(it, context),
    planSync: (_, it) => Promise.resolve(plan({ name: it.name })),
  }
  const quiet = { report: () => undefined, trace: null, signal: new AbortController().signal }
  return { engine, now: () => Date.UTC(2026, 10, 22), random: Math.random, cores: 2, ...quiet, ...more }
}

const go = (syncs: Sync[], given: ScheduleIO) => runAll(project(syncs), syncs, DEFAULT_OPTIONS, given)
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

const chain = () => [sync('companies'), sync('contacts', { dependsOn: ['companies'] }), sync('deals', { dependsOn: ['contacts'] })]

describe('syncs that depend on each other', () => {
  it('start when the upserts of what they depend on have ended; removals go in the opposite order', async () => {
    const log: string[] = []
    const { exitCode } = await go(
      chain(),
      io(async (it, context) => {
        log.push(`${it.name} upserts`)
        await turn()
        context.upsertsEnded()
        await context.beforeRemovals()
        log.push(`${it.name} removals`)
        return record({ sync: it.name })
      }),
    )
    expect(log).toEqual([
      'companies upserts',
      'contacts upserts',
      'deals upserts',
      'deals removals',
      'contacts removals',
      'companies removals',
    ])
    expect(exitCode).toBe(0)
  })

  it('are blocked by an error or a guard upstream, and carry its exit code', async () => {
    for (const [status, exit_code] of [
      ['failed', 4],
      ['refused', 5],
      ['locked', 6],
    ] as const) {
      const started: string[] = []
      const result = await go(
        chain(),
        io(async (it) => {
          started.push(it.name)
          return record({ sync: it.name, status, exit_code, error: { code: 'CDP9', message: 'no' } })
        }),
      )
      expect(started).toEqual(['companies'])
      expect(result.records.map((it) => it.status)).toEqual([status, 'blocked', 'blocked'])
      expect(result.records[1]?.error?.message).toBe(`not run: companies, which it depends on, is ${status} (CDP9)`)
      expect(result.exitCode).toBe(exit_code)
    }
  })

  it('are not blocked by rejected rows', async () => {
    const result = await go(
      chain(),
      io(async (it) => (it.name === 'companies' ? record({ status: 'incomplete', exit_code: 3 }) : record({ sync: it.name }))),
    )
    expect(result.records.map((it) => it.status)).toEqual(['incomplete', 'ok', 'ok'])
    expect(result.exitCode).toBe(3)
  })

  it('do not wait for what was not selected', async () => {
    const only = chain().slice(2)
    expect(
      (
        await go(
          only,
          io(async (it) => record({ sync: it.name })),
        )
      ).records.map((it) => it.status),
    ).toEqual(['ok'])
  })

  it('never wait for each other for ever: any graph, few slots, any failures', async () => {
    const graphs = fc.array(
      fc.record({ up: fc.array(fc.nat(7), { maxLength: 3 }), how: fc.constantFrom('ok', 'early', 'fails', 'throws', 'late') }),
      {
        minLength: 1,
        maxLength: 8,
      },
    )
    await fc.assert(
      fc.asyncProperty(graphs, fc.integer({ min: 1, max: 3 }), async (nodes, slots) => {
        const syncs = nodes.map(({ up }, i) => sync(`s${i}`, { dependsOn: [...new Set(up.filter((it) => it < i))].map((it) => `s${it}`) }))
        let running = 0
        const ended = new Set<string>()
        const result = await go(
          syncs,
          io(
            async (it, context) => {
              running += 1
              expect(running).toBeLessThanOrEqual(slots)
              await turn()
              const { how } = nodes[Number(it.name.slice(1))] ?? { how: 'ok' }
              if (how === 'throws') {
                running -= 1
                throw new Error('bug')
              }
              if (how === 'early' || how === 'late') {
                if (how === 'early') context.upsertsEnded()
                running -= 1
                await context.beforeRemovals()
                running += 1
                for (const other of syncs) if (other.dependsOn.includes(it.name)) expect(ended).toContain(other.name)
              }
              running -= 1
              ended.add(it.name)
              return record({ sync: it.name, ...(how === 'fails' ? { status: 'failed', exit_code: 1 } : {}) })
            },
            { memory: slots * 128 * MB, report: (event) => void (event.type === 'ended' && ended.add(event.sync)) },
          ),
        )
        expect(result.records.map((it) => it.sync)).toEqual(syncs.map((it) => it.name))
      }),
      { numRuns: 200 },
    )
  })
})

describe('syncs side by side', () => {
  it('share memory, and those that would get less than 128 MB wait', async () => {
    const seen: number[] = []
    let running = 0
    let most = 0
    const run: Run = async (it, context) => {
      seen.push(context.memory / MB)
      most = Math.max(most, ++running)
      await turn()
      running -= 1
      return record({ sync: it.name })
    }
    await go(
      ['a', 'b'].map((name) => sync(name)),
      io(run),
    )
    expect(seen.splice(0)).toEqual([256, 256])
    await go(
      ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => sync(name)),
      io(run),
    )
    expect(seen).toEqual([128, 128, 128, 128, 128, 128])
    expect(most).toBe(4)
  })

  it('do not hurt each other: a bug in one is its own record', async () => {
    const events: RunEvent[] = []
    const { records, exitCode, failures } = await go(
      [sync('bad'), sync('good')],
      io(
        async (it) => {
          if (it.name === 'bad') throw new TypeError('x is undefined')
          return record({ sync: it.name })
        },
        { report: (event) => events.push(event) },
      ),
    )
    expect(records.map((it) => [it.sync, it.status, it.error?.code])).toEqual([
      ['bad', 'failed', 'CDP5002'],
      ['good', 'ok', undefined],
    ])
    expect(exitCode).toBe(1)
    expect(failures).toMatchObject([{ sync: 'bad', error: { message: 'x is undefined' } }])
    expect(events).toMatchObject([{ type: 'ended', sync: 'bad' }])
  })

  it('that had not begun when the user stopped are interrupted, with the exit code of the signal', async () => {
    for (const [name, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const stop = new AbortController()
      const result = await go(
        ['a', 'b', 'c', 'd', 'e'].map((it) => sync(it)),
        io(
          async (it) => {
            stop.abort(new Interrupt(name))
            await turn()
            return record({ sync: it.name, status: 'interrupted', exit_code: 130 })
          },
          { signal: stop.signal },
        ),
      )
      expect(result.records.map((it) => it.status)).toEqual(Array(5).fill('interrupted'))
      expect(result.exitCode).toBe(code)
    }
  })
})

describe('a plan of several syncs', () => {
  it('adds up what could be planned and lists what could not', async () => {
    const given = io(async () => record())
    given.engine.planSync = async (_, it) => {
      if (it.name === 'locked') throw new LockedError('CDP5000', 'held')
      if (it.name === 'auth') throw new AuthError('CDP3000', 'no', { hint: 'Renew the token.' })
      await turn()
      return plan({ name: it.name, counts: { add: 2, change: 1 } })
    }
    const syncs = ['a', 'locked', 'b', 'auth'].map((name) => sync(name))
    const { plan: all, exitCode } = await planAll(project(syncs), syncs, DEFAULT_OPTIONS, given)
    expect(all.summary).toMatchObject({ add: 4, change: 2, remove: 0 })
    expect(all.syncs.map((it) => it.name)).toEqual(['a', 'b'])
    expect(all.failed).toEqual([
      { name: 'locked', status: 'locked', error: { code: 'CDP5000', message: 'held' } },
      { name: 'auth', status: 'failed', error: { code: 'CDP3000', message: 'no', hint: 'Renew the token.' } },
    ])
    expect(exitCode).toBe(4)
  })
})

describe('the exit code of several syncs', () => {
  it.each([
    [[0, 0], 0],
    [[3, 0], 3],
    [[3, 6], 6],
    [[6, 5], 5],
    [[5, 4], 4],
    [[4, 1], 1],
    [[1, 143], 143],
    [[143, 130], 130],
  ])('of %j is %i', (codes, worst) => expect(worstExit(codes)).toBe(worst))
})

it('the version is that of the package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
  expect(VERSION).toBe(version)
  expect(new CdpError('X', 'y').exitCode).toBe(1)
})
