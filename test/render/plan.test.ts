import { describe, expect, it } from 'vitest'
import { hide, planJson } from '../../src/render/json.ts'
import { renderPlan } from '../../src/render/terminal.ts'
import type { Plan } from '../../src/types.ts'
import { plan, planOf } from '../support/plans.ts'

const style = { colour: false, width: 80, showValues: true }
const show = (it: Plan, more: Partial<typeof style> & { samples?: number } = {}) => '\n' + renderPlan(it, { ...style, ...more })

const usual = planOf([
  plan({
    rows: 1_204_554,
    owned: 1_203_350,
    counts: { add: 1204, change: 88, remove: 3, unchanged: 1_203_259, invalid: 12, renames: 1, uncertain: 2 },
    changed_fields: { lifecyclestage: 61, plan: 30, phone: 4, city: 2, zip: 2, fax: 1 },
    because: { data: 80, mapping: 6, uncertain: 2, refresh: 0 },
    invalid_reasons: { duplicate_key: 8, null_key: 4 },
    invalid_samples: [{ key: '7', code: 'unmapped', message: 'no entry in map', field: 'plan' }],
    samples: [
      { op: 'add', key: '1', after: { email: 'new@example.com', plan: 'free', score: 1.5, a: 1, b: 2, c: 3, d: 4 } },
      { op: 'change', key: 'ada', before: { plan: 'free', phone: null }, after: { plan: 'team', phone: '' } },
      { op: 'change', key: 'bob', before: { ssn: '(sensitive)' }, after: { ssn: '(sensitive)' }, because: 'mapping' },
      { op: 'remove', key: 'old', before: { email: 'old@example.com' } },
    ],
    guards: [{ name: 'deletes', ok: true, message: '3 of 1,203,350' }],
    warnings: ['2 columns that no field uses changed type'],
    estimate: { requests: 13, seconds: 4 },
  }),
])

describe('a plan on a terminal', () => {
  it('at 80 columns', () =>
    expect(show(usual)).toMatchInlineSnapshot(`
      "
      crm-contacts
          prod  ->  hubspot portal 4471209, contacts  (mode: mirror, on_remove:
          archive)

        +     1,204 to add
        ~        88 to change    lifecyclestage 61, plan 30, phone 4, city 2, zip 2, +
                                 1 field
        -         3 to remove    no longer in the model, of 1,203,350 owned
          1,203,259 unchanged    since 2026-11-22 02:00 UTC
        !        12 invalid      not sent: duplicate_key 8, null_key 4
          changes because of data 80, an edited mapping 6, an unknown outcome 2; 2 may
          have arrived in an interrupted run and are sent again; 1 record keeps its id
          under a new match
        ! 2 columns that no field uses changed type

        ~ ada
            plan   "free" -> "team"
            phone  null -> ""
        ~ bob
            ssn  (sensitive) -> (sensitive)
            (because of an edited mapping)
        + 1
            email  "new@example.com"
            plan   "free"
            score  1.5
            a      1
            b      2
            c      3
            (1 more field)
        - old
            (because the row is no longer in the model)
        ... 1,291 more. Use --limit N, --key KEY or --json.
        ! 7  unmapped in plan: no entry in map

      Plan: 1,204 to add, 88 to change, 3 to remove, in 1 sync. About 13 requests, 4 s.
      Nothing was sent. To apply: cdp-sync run crm-contacts
      "
    `))

  it('at 120 columns', () =>
    expect(show(usual, { width: 120 })).toMatchInlineSnapshot(`
      "
      crm-contacts    prod  ->  hubspot portal 4471209, contacts  (mode: mirror, on_remove: archive)

        +     1,204 to add
        ~        88 to change    lifecyclestage 61, plan 30, phone 4, city 2, zip 2, + 1 field
        -         3 to remove    no longer in the model, of 1,203,350 owned
          1,203,259 unchanged    since 2026-11-22 02:00 UTC
        !        12 invalid      not sent: duplicate_key 8, null_key 4
          changes because of data 80, an edited mapping 6, an unknown outcome 2; 2 may have arrived in an interrupted run and
          are sent again; 1 record keeps its id under a new match
        ! 2 columns that no field uses changed type

        ~ ada
            plan   "free" -> "team"
            phone  null -> ""
        ~ bob
            ssn  (sensitive) -> (sensitive)
            (because of an edited mapping)
        + 1
            email  "new@example.com"
            plan   "free"
            score  1.5
            a      1
            b      2
            c      3
            (1 more field)
        - old
            (because the row is no longer in the model)
        ... 1,291 more. Use --limit N, --key KEY or --json.
        ! 7  unmapped in plan: no entry in map

      Plan: 1,204 to add, 88 to change, 3 to remove, in 1 sync. About 13 requests, 4 s.
      Nothing was sent. To apply: cdp-sync run crm-contacts
      "
    `))

  it('off a terminal shows no key and no value', () =>
    expect(show(usual, { showValues: false })).toMatchInlineSnapshot(`
      "
      crm-contacts
          prod  ->  hubspot portal 4471209, contacts  (mode: mirror, on_remove:
          archive)

        +     1,204 to add
        ~        88 to change    lifecyclestage 61, plan 30, phone 4, city 2, zip 2, +
                                 1 field
        -         3 to remove    no longer in the model, of 1,203,350 owned
          1,203,259 unchanged    since 2026-11-22 02:00 UTC
        !        12 invalid      not sent: duplicate_key 8, null_key 4
          changes because of data 80, an edited mapping 6, an unknown outcome 2; 2 may
          have arrived in an interrupted run and are sent again; 1 record keeps its id
          under a new match
        ! 2 columns that no field uses changed type

        ~ (hidden)
            plan   (hidden) -> (hidden)
            phone  (hidden) -> (hidden)
        ~ (hidden)
            ssn  (sensitive) -> (sensitive)
            (because of an edited mapping)
        + (hidden)
            email  (hidden)
            plan   (hidden)
            score  (hidden)
            a      (hidden)
            b      (hidden)
            c      (hidden)
            (1 more field)
        - (hidden)
            (because the row is no longer in the model)
        ... 1,291 more. Use --limit N, --key KEY or --json.
        ! (hidden)  unmapped in plan

      Plan: 1,204 to add, 88 to change, 3 to remove, in 1 sync. About 13 requests, 4 s.
      Nothing was sent. To apply: cdp-sync run crm-contacts
      "
    `))

  it('with nothing to do says what was compared', () => {
    const quiet = planOf([plan({ rows: 4112, owned: 4112, counts: { unchanged: 4112 } })])
    expect(show(quiet)).toMatchInlineSnapshot(`
      "
      crm-contacts
          prod  ->  hubspot portal 4471209, contacts  (mode: mirror, on_remove:
          archive)
        No changes. 4,112 rows compared; hubspot portal 4471209 has what was last
        delivered.

          4,112 unchanged    since 2026-11-22 02:00 UTC

      Plan: no changes in 1 sync.
      Nothing was sent.
      "
    `)
  })

  it('of a first run says so', () => {
    const first = plan({
      first_run: true,
      since: null,
      rows: 1_204_551,
      counts: { add: 1_204_551 },
      estimate: { requests: 12_046, seconds: 1205 },
    })
    expect(show(planOf([first]))).toMatchInlineSnapshot(`
      "
      crm-contacts
          prod  ->  hubspot portal 4471209, contacts  (mode: mirror, on_remove:
          archive)
        first run: nothing was delivered yet, all 1,204,551 rows would be sent (about
        12,046 requests, 20 min 5 s).

        + 1,204,551 to add
                  0 unchanged

      Plan: 1,204,551 to add, 0 to change, 0 to remove, in 1 sync. About 12,046 requests, 20 min 5 s.
      Nothing was sent. To apply: cdp-sync run crm-contacts
      "
    `)
  })

  it('says which guard refuses, and how to let it pass once', () => {
    const refused = plan({
      name: 'ads',
      on_remove: 'delete',
      rows: 10,
      owned: 1000,
      counts: { remove: 410, unchanged: 590, held: 2, waiting: 1, kept: 5 },
      guards: [
        { name: 'deletes', ok: false, message: 'would remove 410 of 1,000 owned addresses, 41 %; the limit is 10 %' },
        { name: 'empty', ok: false, message: 'the model returned no rows' },
      ],
    })
    const failed = {
      name: 'crm',
      status: 'locked' as const,
      error: { code: 'CDP5000', message: 'crm is locked', hint: 'Wait for it to end.' },
    }
    expect(show(planOf([refused], [failed]))).toMatchInlineSnapshot(`
      "
      ads
          prod  ->  hubspot portal 4471209, contacts  (mode: mirror, on_remove:
          delete)

        - 410 to remove    no longer in the model, of 1,000 owned
          590 unchanged    since 2026-11-22 02:00 UTC
        !   2 held         refused or unknown before, unchanged since: not sent until
                           retry or resolve
        !   1 waiting      withheld by rule; they stay in the next plan
        !   5 kept         match turned null, record stays
        ! refused by guard deletes: would remove 410 of 1,000 owned addresses, 41 %;
          the limit is 10 %
        ! refused by guard empty: the model returned no rows

      crm
        ! locked: CDP5000 crm is locked
          Wait for it to end.

      Plan: 0 to add, 0 to change, 410 to remove, in 1 sync. 1 sync could not be planned.
      Nothing was sent. A guard refuses ads; to let it pass once:
      cdp-sync run ads --allow deletes --allow empty
      "
    `)
  })

  it('colours words, never only by colour', () => {
    const text = show(usual, { colour: true })
    expect(text).toContain('\u001b[32m  +     1,204 to add\u001b[39m')
    // oxlint-disable-next-line no-control-regex -- colours are control characters
    expect(text.replace(/\u001b\[\d+m/g, '')).toBe(show(usual))
  })

  it('lets no text of a row steer the terminal', () => {
    const evil = '\u001b]0;title\u0007\u009b31m\u202egpj.exe'
    const sample = { op: 'change' as const, key: evil, before: { [evil]: evil }, after: { [evil]: `${evil}2` } }
    const text = show(planOf([plan({ rows: 1, counts: { change: 1 }, samples: [sample], warnings: [evil] })]))
    // oxlint-disable-next-line no-control-regex -- control characters are what this is about
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
  })

  it('cuts long values in the middle and stays within the width', () => {
    const sample = {
      op: 'change' as const,
      key: 'k'.repeat(300),
      before: { bio: `a${'x'.repeat(500)}1` },
      after: { bio: `a${'x'.repeat(500)}2` },
    }
    const lines = show(planOf([plan({ rows: 1, counts: { change: 1 }, samples: [sample] })])).split('\n')
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80)
    expect(lines.find((line) => line.includes('bio'))).toMatch(/"ax+\.\.\.x+1" -> "ax+\.\.\.x+2"/)
  })

  it('shows as many samples as were asked for', () => {
    const samples = Array.from({ length: 9 }, (_, i) => ({ op: 'remove' as const, key: `k${i}` }))
    const it = planOf([plan({ rows: 1, counts: { remove: 9 }, samples })])
    expect(show(it).match(/^ {2}- k/gm)).toHaveLength(3)
    expect(show(it, { samples: 9 }).match(/^ {2}- k/gm)).toHaveLength(9)
  })
})

describe('a plan as JSON', () => {
  it('off a terminal keeps counts, codes and field names, and nothing of a row', () => {
    const text = planJson(hide(usual))
    for (const value of ['new@example.com', 'ada', 'free', '1.5', 'no entry in map']) expect(text).not.toContain(`"${value}"`)
    const [sync] = (JSON.parse(text) as Plan).syncs
    expect(sync?.samples[1]).toEqual({
      op: 'change',
      key: '(hidden)',
      before: { plan: '(hidden)', phone: '(hidden)' },
      after: { plan: '(hidden)', phone: '(hidden)' },
    })
    expect(sync?.samples[2]?.after).toEqual({ ssn: '(sensitive)' })
    expect(sync?.invalid_samples).toEqual([{ key: '(hidden)', code: 'unmapped', message: '(hidden)', field: 'plan' }])
    expect(sync?.counts).toEqual(usual.syncs[0]?.counts)
  })

  it('shown, is the plan itself', () => expect(JSON.parse(planJson(usual))).toEqual(usual))
})
