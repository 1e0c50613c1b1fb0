import { describe, expect, it } from 'vitest'
import { eventJson, summaryJson } from '../../src/render/json.ts'
import { renderSummary } from '../../src/render/summary.ts'
import { duration, hang, size, table } from '../../src/render/text.ts'
import { plan } from '../support/plans.ts'
import { record } from '../support/records.ts'

const style = { colour: false, width: 80, showValues: true }
const partly = record({
  status: 'incomplete',
  exit_code: 3,
  requests: 13,
  recovered: { uncertain: 4 },
  counts: { add: 1000, change: 290, delivered: 1205, rejected: 80, unknown: 5, held: 12, unchanged: 12_000, invalid: 2 },
  reasons: [
    { outcome: 'rejected', code: 'INVALID_EMAIL', rows: 78, example: { key: '42', message: 'Property values were not valid: ada@' } },
    { outcome: 'rejected', code: 'PROPERTY_DOESNT_EXIST', rows: 2, example: { key: '43', message: 'no such property' } },
    { outcome: 'unknown', code: 'timeout', rows: 5, example: { key: '44', message: 'no reply in 30 s' } },
    { outcome: 'retry', code: 'busy', rows: 1, example: { key: '45', message: 'later' } },
  ],
})

describe('the last lines of a run', () => {
  it('say counts, reasons with an example, whether it heals, and the next command', () =>
    expect('\n' + renderSummary([partly], style)).toMatchInlineSnapshot(`
      "
      crm: incomplete  hubspot portal 4471209, contacts  (13 requests, 4 s)
        1,205 delivered, 80 rejected, 5 unknown, 12 held, 2 invalid, 12,000 unchanged
        an interrupted run left 4 rows whose outcome nobody knew
        rejected 78: INVALID_EMAIL, for example key 42: Property values were not
          valid: ada@
        rejected 2: PROPERTY_DOESNT_EXIST, for example key 43: no such property
        unknown 5: timeout, for example key 44: no reply in 30 s
        + 1 further reason
        The next run sends the 5 unknown and waiting rows again by itself.
        Rejected rows are tried again in the next runs, and held after 5 refusals. To
        see them: cdp-sync rejected crm
        Held rows wait for a change, a day, or: cdp-sync retry crm
      "
    `))

  it('off a terminal name codes, no keys and no messages', () =>
    expect('\n' + renderSummary([partly], { ...style, showValues: false })).not.toMatch(/42|Property values/))

  it('say what the database that keeps the state was asked, where one does', () => {
    const asked = (warehouse: { statements: number; seconds: number; rows: number; bytes: number }): string | undefined =>
      renderSummary([record({ warehouse })], style).split('\n')[2]
    expect(asked({ statements: 14, seconds: 2.13, rows: 1204, bytes: 310_000 })).toBe(
      '  warehouse: 14 statements, 2.1 s; 1,204 rows (0.3 MB) brought here',
    )
    expect(asked({ statements: 1, seconds: 0.02, rows: 0, bytes: 0 })).toBe('  warehouse: 1 statement, under 0.1 s')
  })

  it('add up several syncs', () => {
    const refused = record({
      sync: 'ads',
      status: 'refused',
      exit_code: 5,
      requests: 0,
      target: null,
      error: { code: 'CDP4001', message: 'guard deletes', hint: 'To let it pass once: cdp-sync run ads --allow deletes' },
    })
    const interrupted = record({ sync: 'mail', status: 'interrupted', counts: { delivered: 10, waiting: 90 } })
    expect('\n' + renderSummary([record(), refused, interrupted], style)).toMatchInlineSnapshot(`
      "
      crm: ok  hubspot portal 4471209, contacts  (2 requests, 4 s)
        nothing to send

      ads: refused
        CDP4001: guard deletes
        To let it pass once: cdp-sync run ads --allow deletes
        To see what is pending: cdp-sync plan ads

      mail: interrupted  hubspot portal 4471209, contacts  (2 requests, 4 s)
        10 delivered, 90 waiting
        Stopped; what was confirmed is recorded. To go on: cdp-sync run mail

      3 syncs: 1 ok, 1 refused, 1 interrupted; 10 rows delivered.
      "
    `)
  })
})

describe('a run as JSON', () => {
  it('ends with one summary line', () => {
    const line = summaryJson([record({ counts: { add: 1, delivered: 1 } })], 0)
    expect(line.endsWith('\n')).toBe(true)
    expect(JSON.parse(line)).toEqual({
      type: 'summary',
      format_version: 1,
      exit_code: 0,
      syncs: [{ name: 'crm', status: 'ok', run: 'r1', counts: record({ counts: { add: 1, delivered: 1 } }).counts, seconds: 4 }],
    })
  })

  it('hides keys and values in its events', () => {
    const time = '2026-11-22T02:00:00.000Z'
    const event = {
      type: 'plan' as const,
      sync: 'crm',
      plan: plan({ samples: [{ op: 'add', key: 'ada', after: { mail: 'ada@example.com' } }] }),
    }
    expect(eventJson(event, time, false)).not.toContain('ada')
    expect(JSON.parse(eventJson(event, time, true))).toEqual({ time, ...event })
    expect(eventJson({ type: 'ended', sync: 'crm', record: partly }, time, false)).not.toMatch(/"42"|Property values/)
  })
})

describe('text', () => {
  it.each([
    [0, '0 s'],
    [4.24, '4.2 s'],
    [59.6, '1 min'],
    [125, '2 min 5 s'],
    [3600, '1 h'],
    [11_400, '3 h 10 min'],
  ])('%d seconds are %s', (seconds, text) => expect(duration(seconds)).toBe(text))

  it.each([
    [1, '1 byte'],
    [999, '999 bytes'],
    [1500, '1.5 kB'],
    [48_000, '48 kB'],
    [100_000, '0.1 MB'],
    [48_300_000, '48 MB'],
    [2_500_000_000, '2.5 GB'],
  ])('%d bytes are %s', (bytes, text) => expect(size(bytes)).toBe(text))

  it('of a table has no borders and no trailing space', () =>
    expect(
      table(
        ['sync', 'rows'],
        [
          ['crm', '5'],
          ['ads', '12,000'],
        ],
        ['rows'],
      ),
    ).toBe('sync    rows\ncrm        5\nads   12,000\n'))

  it('wraps between words', () =>
    expect(hang('- ', 'aaaaaaaaa bbbbbbbbb cccccccc ddddd', 30)).toEqual(['- aaaaaaaaa bbbbbbbbb cccccccc', '  ddddd']))
})
