/** What `baseline --compare` says of what it found. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { There } from '../../src/there.ts'
import { cli } from '../support/run-cli.ts'
import { writeProject } from '../support/cli-project.ts'

const engine = vi.hoisted(() => ({ baseline: vi.fn() }))
vi.mock('../../src/maintain.ts', () => engine)

let root: string
let remove: () => Promise<void>
beforeEach(async () => {
  ;({ root, remove } = await writeProject())
})
afterEach(() => remove())

const found: There = {
  same: 1204,
  different: 12,
  fields: { plan: 11, phone: 3 },
  missing: 2,
  extra: { count: 7, samples: [{ email: 'x@x.io' }] },
}
const here = (argv: string[], more: Parameters<typeof cli>[1] = {}) => cli(['baseline', 'contacts', ...argv], { cwd: root, ...more })

it('says what was adopted, what differs in which fields, what is missing and what is extra, and what to do', async () => {
  engine.baseline.mockResolvedValue({ adopted: 1204, kept: 3, there: found })
  const { code, stdout } = await here(['--compare'], { tty: true })
  expect([code, stdout]).toEqual([
    0,
    `contacts: 1,204 rows adopted as delivered, 12 different (plan 11, phone 3), 2 missing there, 7 extra there. Nothing was sent.
3 known before and not in the model.
  {"email":"x@x.io"}
Members that are in no row of the model stay there: contacts removes only what it put there. Remove them in box itself.
Next: cdp-sync plan contacts
`,
  ])
  expect(engine.baseline.mock.calls[0]?.[3]).toEqual({ mappingOnly: false, compare: true })
})

it('shows members off a terminal only when asked to', async () => {
  engine.baseline.mockResolvedValue({ adopted: 1204, kept: 3, there: found })
  expect((await here(['--compare'])).stdout).toContain('  (hidden)\n')
  expect(JSON.parse((await here(['--compare', '--json'])).stdout)).toEqual({
    format_version: 1,
    sync: 'contacts',
    adopted: 1204,
    kept: 3,
    different: 12,
    different_fields: { plan: 11, phone: 3 },
    missing: 2,
    extra: 7,
    extra_samples: [{ email: '(hidden)' }],
  })
  expect((await here(['--compare', '--json', '--show-values'])).stdout).toContain('x@x.io')
})

it('says nothing of what it does not know', async () => {
  engine.baseline.mockResolvedValue({ adopted: 5, kept: 0, there: { ...found, different: 0, fields: {}, missing: 0, extra: null } })
  expect((await here(['--compare'])).stdout).toBe(
    'contacts: 5 rows adopted as delivered, 0 different, 0 missing there. Nothing was sent.\n',
  )
  expect(JSON.parse((await here(['--compare', '--json'])).stdout)).toMatchObject({ extra: null, extra_samples: [] })
})

it('tells how far it is', async () => {
  let now = 0
  engine.baseline.mockImplementation((_p, _s, context: { report: (event: object) => void }) => {
    for (const done of [0, 5_000, 10_000]) {
      context.report({ type: 'progress', sync: 'contacts', phase: 'diff', done, total: 12_000 })
      now += 10_000
    }
    return Promise.resolve({ adopted: 0, kept: 0, there: found })
  })
  expect((await here(['--compare'], { now: () => now })).stderr).toBe('Compared 5,000 of 12,000 rows.\nCompared 10,000 of 12,000 rows.\n')
})

it('is not told to adopt a mapping alone and to compare at once', async () => {
  const { code, stderr } = await here(['--compare', '--mapping-only'])
  expect(code).toBe(1)
  expect(stderr).toContain('cannot be used with')
})
