/** Templates and transforms: exact, pure, bounded; what is null, what is a text, what makes a row invalid. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FILTERS } from '../../src/liquid/filters.ts'
import { InvalidRow } from '../../src/mapping.ts'
import type { LogicalType } from '../../src/types.ts'
import { cell, compiled, field, problems, template } from './project.ts'

const TYPES = {
  n: 'integer',
  d: 'decimal',
  f: 'float',
  s: 'string',
  t: 'string',
  b: 'boolean',
  at: 'timestamptz',
  day: 'date',
  j: 'json',
  'odd name': 'string',
} as const

const render = (source: string, row: Record<string, string | null> = {}): string | null => cell(field('f', template(source)), TYPES, row)
const transform = (column: keyof typeof TYPES, filters: string[], raw: string | null): string | null =>
  cell(field('f', column, { transform: filters }), TYPES, { [column]: raw })

const halves = (value: string | null): boolean => /\p{Surrogate}/u.test(value ?? '')

/** Why a row is invalid. */
function reason(source: string, row: Record<string, string | null>): { code: string; message: string } {
  try {
    return { code: 'valid', message: String(render(source, row)) }
  } catch (error) {
    if (!(error instanceof InvalidRow)) throw error
    return error
  }
}

describe('one expression', () => {
  it.each([
    ['{{ n }}', { n: '12345678901234567890' }, 'j12345678901234567890'],
    ['{{ d }}', { d: '0.10' }, 'j0.1'],
    ['{{ f }}', { f: '1e+300' }, 'j1e+300'],
    ['{{ b }}', { b: 't' }, 'jtrue'],
    ['{{ at }}', { at: '2024-05-01 10:00:00' }, 's2024-05-01T10:00:00Z'],
    ['{{ j }}', { j: '{"b":12345678901234567890.50,"10":1,"9":2}' }, 'j{"10":1,"9":2,"b":12345678901234567890.5}'],
    ['{{ j.city }}', { j: '{"city":"Köln"}' }, 'sKöln'],
    ['{{ j.list[1].n }}', { j: '{"list":[0,{"n":0.30000000000000000001}]}' }, 'j0.30000000000000000001'],
    ['{{ j.__proto__ }}', { j: '{"__proto__":"x"}' }, 'sx'],
    ['{{ ["odd name"] }}', { 'odd name': 'x' }, 'sx'],
    ['{{ s }}', { s: '5' }, 's5'],
    ['{{ "a" }}', {}, 'sa'],
    ['{{ s }}\n', { s: 'x' }, 'sx'],
  ])('%s keeps its type', (source, row, expected) => {
    expect(render(source, row)).toBe(expected)
  })

  it('gives null for null, whatever filter is behind it', () => {
    expect(render('{{ n }}', { n: null })).toBe('jnull')
    expect(render('{{ j.city }}', { j: null })).toBe('jnull')
    for (const filter of ['strip', 'sha256', 'plus: 1', 'json', 'size', 'split: ","', 'date: "%Y"'])
      expect(render(`{{ s | ${filter} }}`, { s: null })).toBe('jnull')
    expect(render('{{ s | strip | default: "none" }}', { s: null })).toBe('snone')
    expect(render('{{ s | append: "!" }}', { s: null })).toBe('s!')
  })

  it('is absent for null where nulls are skipped', () => {
    expect(cell(field('f', template('{{ s | strip }}'), { nulls: 'skip' }), TYPES, { s: null })).toBe(null)
  })
})

describe('a longer template', () => {
  it('is a text in which null is nothing', () => {
    expect(render('{{ s }} {{ t }}', { s: 'Ann', t: null })).toBe('sAnn ')
    expect(render('{{ s }}{{ t }}', { s: null, t: null })).toBe('s')
    expect(render('{% if b %}{{ n }}{% else %}no{% endif %}', { b: 't', n: '12345678901234567890' })).toBe('s12345678901234567890')
    expect(render('{{ n }}:{{ d }}:{{ b }}', { n: '-7', d: '1.50', b: 'f' })).toBe('s-7:1.5:false')
  })

  it('writes objects as JSON, never as [object Object]', () => {
    expect(render('x {{ j }}', { j: '{"b":[1.0],"a":null}' })).toBe('sx {"a":null,"b":[1]}')
    expect(render('x {{ j }}', { j: '["a","b"]' })).toBe('sx ab')
  })

  it('loses only the line end that YAML adds', () => {
    expect(render('{{ s }} a\n', { s: 'x' })).toBe('sx a')
    expect(render('{{ s }} a\n\n', { s: 'x' })).toBe('sx a\n')
  })

  it('finds the columns it reads, and not its own variables', () => {
    const source =
      '{% assign x = s | upcase %}{% for item in j.list %}{{ item.n }}{{ x }}{{ forloop.index }}{% endfor %}{% capture y %}{{ t }}{% endcapture %}{{ y }}{{ j[day] }}'
    expect(compiled(field('f', template(source)), TYPES).inputs.toSorted()).toEqual(['day', 'j', 's', 't'])
    expect(render('{% assign s = s | upcase %}{{ s }}!', { s: 'a' })).toBe('sA!')
  })
})

describe('arithmetic', () => {
  it.each([
    ['{{ d | times: 100 }}', { d: '19.99' }, 'j1999'],
    ['{{ n | plus: 1 }}', { n: '12345678901234567890' }, 'j12345678901234567891'],
    ['{{ d | plus: 0.2 }}', { d: '0.1' }, 'j0.3'],
    ['{{ n | minus: n }}', { n: '99999999999999999999' }, 'j0'],
    ['{{ n | divided_by: 4 }}', { n: '10' }, 'j2.5'],
    ['{{ n | divided_by: 3 }}', { n: '10' }, 'j3.3333333333333333'],
    ['{{ n | modulo: 3 }}', { n: '-7' }, 'j2'],
    ['{{ n | modulo: 97 }}', { n: '12345678901234567890' }, 'j3'],
    ['{{ d | round: 2 }}', { d: '1.005' }, 'j1.01'],
    ['{{ d | round: 2 }}', { d: '-1.005' }, 'j-1.01'],
    ['{{ d | round }}', { d: '12345678901234567890.5' }, 'j12345678901234567891'],
    ['{{ n | round: -2 }}', { n: '12355' }, 'j12400'],
    ['{{ d | floor }}', { d: '-1.2' }, 'j-2'],
    ['{{ d | ceil }}', { d: '-0.2' }, 'j0'],
    ['{{ d | abs }}', { d: '-12345678901234567890.25' }, 'j12345678901234567890.25'],
    ['{{ n | at_least: 5 | at_most: 7 }}', { n: '99999999999999999999' }, 'j7'],
    ['{{ j | sum }}', { j: '[0.1, 0.2, null, 12345678901234567890]' }, 'j12345678901234567890.3'],
    ['{{ s | plus: 1 }}', { s: ' 41 ' }, 'j42'],
    ['{{ n | plus: d }}', { n: '1', d: null }, 'jnull'],
  ])('%s of %j is exact: %s', (source, row, expected) => {
    expect(render(source, row)).toBe(expected)
  })

  it('compares digits, not texts and not floats', () => {
    const n = '9007199254740993'
    expect(render('{% if n > 9007199254740992 %}more{% endif %}', { n })).toBe('smore')
    expect(render('{% if n == j.n %}same{% endif %}', { n, j: `{"n":${n}}` })).toBe('ssame')
    expect(render('{% if n == j.n %}same{% endif %}', { n, j: '{"n":9007199254740992}' })).toBe('s')
    expect(render('{% if n < j.n %}less{% endif %}', { n, j: '{"n":10000000000000000000000}' })).toBe('sless')
    expect(render('{% case n %}{% when "x" %}x{% else %}no{% endcase %}', { n })).toBe('sno')
  })

  it('gives what integers give, whatever their length', () => {
    const big = fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n })
    const [plus, minus, times] = ['plus', 'minus', 'times'].map((name) =>
      compiled(field('f', template(`{{ n | ${name}: m }}`)), { n: 'integer', m: 'decimal' }),
    )
    fc.assert(
      fc.property(big, big, (a, b) => {
        expect(plus?.evaluate([String(a), String(b)])).toBe(`j${a + b}`)
        expect(minus?.evaluate([String(a), String(b)])).toBe(`j${a - b}`)
        expect(times?.evaluate([String(a), String(b)])).toBe(`j${a * b}`)
      }),
    )
  })

  it('makes a row invalid rather than guess', () => {
    expect(reason('{{ s | plus: 1 }}', { s: 'ten' }).code).toBe('not_a_number')
    expect(reason('{{ s | times: 2 }}', { s: '' }).code).toBe('not_a_number')
    expect(reason('{{ n | divided_by: 0 }}', { n: '1' }).code).toBe('division_by_zero')
    expect(reason('{{ f }}', { f: 'NaN' }).code).toBe('not_finite')
    expect(reason('{% assign x = n %}{% for i in (1..20) %}{% assign x = x | times: x %}{% endfor %}{{ x }}!', { n: '99' }).code).toBe(
      'number_too_long',
    )
  })
})

describe('lists', () => {
  it.each<[string[], string, string]>([
    [['sort'], '["b","a","B"]', 'j["B","a","b"]'],
    [['sort'], '[10,9,12345678901234567890,2.5]', 'j[2.5,9,10,12345678901234567890]'],
    [['sort'], '[true,null,"a",1]', 'j[1,"a",true,null]'],
    [['uniq'], '[1,1.0,"1",{"a":1,"b":2},{"b":2,"a":1}]', 'j[1,"1",{"a":1,"b":2}]'],
    [['sort: "n"'], '[{"n":2},{"n":1},{}]', 'j[{"n":1},{"n":2},{}]'],
    [['map: "n"', 'compact'], '[{"n":2},{}]', 'j[2]'],
    [['where: "p", true', 'map: "m"', 'first'], '[{"m":"a"},{"m":"b","p":true}]', 'sb'],
    [['find: "p"'], '[{"p":false}]', 'jnull'],
    [['join: ";"'], '["a",1.50,{"x":1}]', 'sa;1.5;{"x":1}'],
    [['json'], '{"b":12345678901234567890,"a":1}', 's{"a":1,"b":12345678901234567890}'],
    [['size'], '["a","b"]', 'j2'],
  ])('%j of %s is %s', (filters, raw, expected) => {
    expect(transform('j', filters, raw)).toBe(expected)
  })

  it('sorts the same whatever the order before', () => {
    const sort = compiled(field('f', 'j', { transform: ['sort'] }), TYPES)
    fc.assert(
      fc.property(fc.array(fc.jsonValue({ maxDepth: 1 })), fc.nat(), (items, turn) => {
        const by = items.length === 0 ? 0 : turn % items.length
        const turned = [...items.slice(by), ...items.slice(0, by)]
        expect(sort.evaluate([JSON.stringify(turned)])).toBe(sort.evaluate([JSON.stringify(items)]))
      }),
    )
  })
})

describe('texts', () => {
  it('keeps the letters of every alphabet', () => {
    expect(transform('s', ['strip', 'downcase'], ' ÉVE ')).toBe('séve')
  })

  it('hashes what the field would send as text', () => {
    // Of FIPS 180-4 and RFC 1321.
    expect(transform('s', ['sha256'], 'abc')).toBe('sba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
    expect(transform('s', ['sha1'], 'abc')).toBe('sa9993e364706816aba3e25717850c26c9cd0d89d')
    expect(transform('s', ['md5'], 'abc')).toBe('s900150983cd24fb0d6963f7d28e17f72')
    expect(transform('d', ['sha256'], '1.50')).toBe(transform('s', ['sha256'], '1.5'))
    expect(transform('n', ['sha256'], '12345678901234567890')).toBe(transform('s', ['sha256'], '12345678901234567890'))
  })

  it('makes lists of texts and texts of lists', () => {
    expect(transform('s', ['split: ","', 'sort'], 'b,a')).toBe('j["a","b"]')
    expect(transform('s', ['split: ","', 'join: "|"'], 'b,a')).toBe('sb|a')
    expect(transform('s', ["default: 'none'"], '')).toBe('snone')
  })

  it('refuses a list or an object where a filter takes text', () => {
    for (const filter of ['sha256', 'downcase', 'append: "x"', 'md5'])
      expect(reason(`{{ j | ${filter} }}`, { j: '["a"]' }).code).toBe('not_text')
    expect(reason('{{ s | append: j }}', { s: 'a', j: '{"a":1}' }).code).toBe('not_text')
  })

  it('never sends half a character', () => {
    expect(halves(transform('s', ['first'], '😀'))).toBe(false)
    expect(halves(transform('s', ['split: ""', 'first'], '😀'))).toBe(false)
    expect(transform('s', ['slice: 0'], '😀x')).toBe('s😀')
  })
})

describe('dates', () => {
  it.each([
    ['{{ at | date: "%Y-%m-%d %H:%M:%S.%L" }}', { at: '2024-05-01 23:05:09.5' }, 's2024-05-01 23:05:09.500'],
    ['{{ at | date: "%d.%m.%y %H:%M %z", "Europe/Berlin" }}', { at: '2024-05-01 23:05:09' }, 's02.05.24 01:05 +0200'],
    ['{{ at | date: "%H:%M %:z", "Asia/Kolkata" }}', { at: '2024-05-01 00:00:00' }, 's05:30 +05:30'],
    ['{{ at | date: "%A %-d %B %j %I%p %u %s" }}', { at: '2024-12-31 13:00:00' }, 'sTuesday 31 December 366 01PM 2 1735650000'],
    ['{{ at | date: "%j %e %^b" }}', { at: '2023-03-01 00:00:00' }, 's060  1 MAR'],
    ['{{ day | date: "%a, %F" }}', { day: '2024-02-29' }, 'sThu, 2024-02-29'],
    ['{{ s | date: "%s" }}', { s: '2024-05-01 10:00' }, 's1714557600'],
    ['{{ s | date: "%F %T" }}', { s: '2024-05-01T10:00:00+02:00' }, 's2024-05-01 08:00:00'],
    ['{{ n | date: "%F" }}', { n: '0' }, 's1970-01-01'],
  ])('%s', (source, row, expected) => {
    expect(render(source, row)).toBe(expected)
  })

  it('makes a row invalid when its text is no date, also when it says now', () => {
    for (const s of ['soon', 'now', 'today', '2024-02-30', '']) expect(reason('{{ s | date: "%F" }}', { s }).code).toBe('not_a_date')
    expect(reason('{{ "n" | append: "ow" | date: "%F" }}', {}).code).toBe('not_a_date')
  })

  it('says the same in every time zone and locale of the runner', () => {
    const script = `
      import { cell, field, template } from './test/mapping/project.ts'
      const types = { s: 'string', t: 'string' }
      const spec = field('f', template('{{ s | date: "%F %T %A %z" }} {{ t | date: "%F %T" }} {{ t | date: "%T", "America/New_York" }}'))
      process.stdout.write(cell(spec, types, { s: '2024-03-10 02:30:00', t: '2024-03-31' }))`
    const outputs = ['UTC', 'America/New_York', 'Pacific/Apia'].map((TZ) => {
      const child = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
        env: { ...process.env, TZ, LANG: 'de_DE.UTF-8' },
        encoding: 'utf8',
      })
      return child.stdout || child.stderr
    })
    expect(outputs[0]).toBe('s2024-03-10 02:30:00 Sunday +0000 2024-03-31 00:00:00 20:00:00')
    expect(new Set(outputs).size).toBe(1)
  })
})

describe('refused when the mapping is compiled', () => {
  it.each([
    ['{{ s', 'CDP1301'],
    ['{% if s %}', 'CDP1301'],
    ['{% if n > 12345678901234567890 %}x{% endif %}', 'CDP1301'],
    ['{{ n | plus: 0.12345678901234567890 }}', 'CDP1301'],
    ['{{ s | nope }}', 'CDP1302'],
    ['{% if b %}{{ s | nope }}{% endif %}', 'CDP1302'],
    ['{{ j | sample }}', 'CDP1302'],
    ['{{ s | hmac_sha256: "k" }}', 'CDP1302'],
    ['{{ nothing }}', 'CDP1303'],
    ['{{ j[nothing] }}', 'CDP1303'],
    ['{% for x in nothing %}{% endfor %}', 'CDP1303'],
    ['{{ "now" | date: "%F" }}', 'CDP1304'],
    ['{% assign x = "today" | date: "%F" %}{{ x }}', 'CDP1304'],
    ['{% if b %}{{ "now" | date: "%s" }}{% endif %}', 'CDP1304'],
    ['{{ now }}', 'CDP1304'],
    ['{% include "a" %}', 'CDP1305'],
    ['{% render "a" %}', 'CDP1305'],
    ['{% layout "a" %}', 'CDP1305'],
    ['{% increment x %}', 'CDP1305'],
    ['{{ at | date }}', 'CDP1306'],
    ['{{ n | plus }}', 'CDP1306'],
    ['{{ s | replace: "a" }}', 'CDP1306'],
    ['{{ at | date: "%Q" }}', 'CDP1306'],
    ['{{ at | date: "%F", "Mars/Base" }}', 'CDP1306'],
  ])('%s: %s', (source, code) => {
    expect(problems(() => render(source))).toMatchObject([{ code, where: 'syncs/a.yaml:9:3', hint: expect.any(String) as unknown }])
  })

  it.each([
    [['nope'], 'CDP1302'],
    [['strip }} {{ value'], 'CDP1306'],
    [[''], 'CDP1306'],
    [['default: t'], 'CDP1306'],
    [['append: "a", t'], 'CDP1306'],
    [['include: "x"'], 'CDP1302'],
    [['date: "%Q"'], 'CDP1306'],
  ])('the transform %j: %s', (filters, code) => {
    expect(problems(() => transform('s', filters, 'x'))).toMatchObject([{ code }])
  })

  it('says where in the template', () => {
    expect(problems(() => render('a\n b {{ s | nope }}'))[0]?.message).toContain('line 2')
  })
})

describe('a row that can not be rendered', () => {
  it('is invalid when a member is missing, unless the template allows it', () => {
    expect(reason('{{ j.city }}', { j: '{}' })).toMatchObject({ code: 'template', message: expect.stringContaining('j.city') as unknown })
    expect(render('{{ j.city | default: nil }}', { j: '{}' })).toBe('jnull')
    expect(render('{% if j.city %}y{% else %}n{% endif %}', { j: '{}' })).toBe('sn')
  })

  it('never quotes the row', () => {
    for (const [source, row] of [
      ['{{ j[s] }}', { j: '{}', s: 'private' }],
      ['{{ s | base64_decode }}', { s: 'private!' }],
      ['{{ s | url_decode }}', { s: 'private%zz' }],
      ['{{ s | plus: 1 }}', { s: 'private' }],
      ['{{ s | date: t }}', { s: '2024-01-01', t: '%Q' }],
    ] as const) {
      const { code, message } = reason(source, row)
      expect(code).not.toBe('valid')
      expect(message).not.toContain('private')
    }
  })

  it('can not run away', () => {
    const loops = (depth: number): string => (depth === 0 ? 'x' : `{% for i in (1..100000) %}${loops(depth - 1)}{% endfor %}`)
    expect(reason(loops(3) + '{{ s }}', { s: 'a' })).toMatchObject({ code: 'template', message: expect.stringContaining('too') as unknown })
    expect(reason('{% for i in (1..1000000000) %}{% endfor %}{{ s }}', { s: 'a' }).code).toBe('template')
    const doubling = '{% assign x = s %}{% for i in (1..60) %}{% assign x = x | append: x %}{% endfor %}{{ x }}!'
    expect(reason(doubling, { s: 'abcdefgh' }).code).toBe('template')
  })
})

it('gives plain templates the cell of their column', () => {
  const values: readonly [LogicalType, fc.Arbitrary<string>][] = [
    ['integer', fc.bigInt().map(String)],
    ['decimal', fc.tuple(fc.bigInt({ min: 0n, max: 10n ** 25n }), fc.nat()).map(([a, b]) => `${a}.${b}`)],
    ['float', fc.double({ noNaN: true, noDefaultInfinity: true }).map(String)],
    ['string', fc.string({ unit: 'binary' }).filter((each) => !/\p{Surrogate}/u.test(each))],
    ['json', fc.json()],
  ]
  for (const [type, arbitrary] of values) {
    const plain = compiled(field('f', 'x'), { x: type })
    const rendered = compiled(field('f', template('{{ x }}')), { x: type })
    fc.assert(
      fc.property(arbitrary, (raw) => {
        expect(rendered.evaluate([raw])).toBe(plain.evaluate([raw]))
      }),
    )
  }
})

it('has the filters that docs/mapping.md lists, and no others', () => {
  const page = readFileSync(new URL('../../docs/mapping.md', import.meta.url), 'utf8')
  const listed = [...page.matchAll(/^Filters on .*$/gm)].flatMap(([line]) => [...line.matchAll(/[a-z0-9_]+/g)].map(([word]) => word))
  expect(Object.keys(FILTERS).filter((name) => !listed.includes(name))).toEqual([])
  const prose = [
    'ilters',
    'on',
    'text',
    'list',
    'or',
    'an',
    'object',
    'makes',
    'the',
    'row',
    'invalid',
    'lists',
    'numbers',
    'n',
    'anything',
  ]
  expect(listed.filter((name) => FILTERS[name] === undefined && !prose.includes(name))).toEqual([])
})
