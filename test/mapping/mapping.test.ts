/** What each kind of field makes of a row, and what is refused before any row is read. */
import { describe, expect, it } from 'vitest'
import type { FieldSpec } from '../../src/config/types.ts'
import { checkMapping, compileMapping, InvalidRow } from '../../src/mapping.ts'
import type { LogicalType } from '../../src/types.ts'
import { cell, columns, compiled, field, number, problems, sync, template, text } from './project.ts'

const TYPES = {
  id: 'integer',
  plan: 'string',
  price: 'decimal',
  score: 'float',
  on: 'boolean',
  at: 'timestamptz',
  day: 'date',
  tags: 'json',
} as const

const signature = (spec: FieldSpec, types: Record<string, LogicalType> = TYPES): string => compiled(spec, types).signature

/** The reason for which a row is invalid. */
function reason(spec: FieldSpec, types: Record<string, LogicalType>, row: Record<string, string | null>): string {
  try {
    return `valid: ${cell(spec, types, row)}`
  } catch (error) {
    if (!(error instanceof InvalidRow)) throw error
    expect(error.field).toBe(spec.name)
    return error.code
  }
}

describe('columns', () => {
  it.each([
    ['plan', ' Pro😀"\n', 's Pro😀"\n'],
    ['plan', '', 's'],
    ['id', '12345678901234567890', 'j12345678901234567890'],
    ['price', '1.50', 'j1.5'],
    ['score', '-0', 'j0'],
    ['on', 't', 'jtrue'],
    ['at', '2024-05-01 10:00:00.120', 's2024-05-01T10:00:00.12Z'],
    ['tags', '{"b":1,"a":[1.0]}', 'j{"a":[1],"b":1}'],
  ])('sends %s %j as %j', (name, raw, expected) => {
    expect(cell(field('f', name), TYPES, { [name]: raw })).toBe(expected)
  })

  it('sends null where nulls clear, and leaves it out where they are skipped', () => {
    expect(cell(field('f', 'plan'), TYPES, { plan: null })).toBe('jnull')
    expect(cell(field('f', 'plan', { nulls: 'skip' }), TYPES, { plan: null })).toBe(null)
  })

  it('takes the null of JSON for null', () => {
    expect(cell(field('f', 'tags', { nulls: 'skip' }), TYPES, { tags: ' null ' })).toBe(null)
    expect(cell(field('f', 'tags', { default: text('none') }), TYPES, { tags: 'null' })).toBe('snone')
  })

  it('uses `default` for null alone, not for an empty text', () => {
    const spec = field('f', 'plan', { default: text('none'), nulls: 'skip' })
    expect(cell(spec, TYPES, { plan: null })).toBe('snone')
    expect(cell(spec, TYPES, { plan: '' })).toBe('s')
  })

  it('calls a row with NaN invalid, unless the field is a string', () => {
    expect(reason(field('f', 'score'), TYPES, { score: 'NaN' })).toBe('not_finite')
    expect(cell(field('f', 'score', { type: 'string' }), TYPES, { score: 'NaN' })).toBe('sNaN')
    expect(cell(field('f', 'price', { type: 'string' }), TYPES, { price: '-Infinity' })).toBe('s-Infinity')
  })
})

describe('map', () => {
  const map = new Map([
    ['pro', text('Pro')],
    ['', text('empty')],
    ['null', number('7')],
    ['gone', { kind: 'null' } as const],
  ])
  it('compares keys as written', () => {
    expect(cell(field('f', 'plan', { map }), TYPES, { plan: 'pro' })).toBe('sPro')
    expect(cell(field('f', 'plan', { map }), TYPES, { plan: '' })).toBe('sempty')
    expect(cell(field('f', 'plan', { map }), TYPES, { plan: 'null' })).toBe('j7')
    expect(reason(field('f', 'plan', { map }), TYPES, { plan: 'Pro' })).toBe('unmapped')
  })

  it('never finds null in a map; `default` serves null and unmapped', () => {
    expect(cell(field('f', 'plan', { map }), TYPES, { plan: null })).toBe('jnull')
    expect(cell(field('f', 'plan', { map, default: text('Other') }), TYPES, { plan: null })).toBe('sOther')
    expect(cell(field('f', 'plan', { map, default: text('Other') }), TYPES, { plan: 'x' })).toBe('sOther')
  })

  it('sends the null that a key stands for, not the default', () => {
    expect(cell(field('f', 'plan', { map, default: text('Other') }), TYPES, { plan: 'gone' })).toBe('jnull')
    expect(cell(field('f', 'plan', { map, default: text('Other'), nulls: 'skip' }), TYPES, { plan: 'gone' })).toBe(null)
  })

  it('looks up the canonical text, so 1.50 is the key 1.5', () => {
    const prices = new Map([['1.5', text('low')]])
    expect(cell(field('f', 'price', { map: prices }), TYPES, { price: '1.50' })).toBe('slow')
  })

  it('looks up what the transforms made', () => {
    const spec = field('f', 'plan', { transform: ['strip', 'downcase'], map: new Map([['pro', text('P')]]) })
    expect(cell(spec, TYPES, { plan: ' PRO ' })).toBe('sP')
    expect(reason(spec, TYPES, { plan: 'x' })).toBe('unmapped')
  })

  it.each([
    ['price', '1.50', 'Write "1.5"'],
    ['on', 'yes', 'boolean'],
    ['id', 'abc', 'integer'],
    ['at', '2024-05-01T10:00:00.50Z', 'Write "2024-05-01T10:00:00.5Z"'],
  ])('refuses the key of %s that never occurs: %s', (name, key, hint) => {
    const [problem] = problems(() => compiled(field('f', name, { map: new Map([[key, text('x')]]) }), TYPES))
    expect(problem).toMatchObject({ code: 'CDP1309', hint: expect.stringContaining(hint) as unknown, where: 'syncs/a.yaml:9:3' })
  })

  it.each([
    ['at', '2024-05-01T10:00:00.5Z'],
    ['on', 'true'],
    ['id', '-3'],
    ['day', '2024-05-01'],
    ['score', 'NaN'],
  ])('takes the key of %s that does: %s', (name, key) => {
    expect(problems(() => compiled(field('f', name, { map: new Map([[key, text('x')]]) }), TYPES))).toEqual([])
  })
})

describe('constants', () => {
  it.each([
    [text('warehouse'), 'swarehouse'],
    [number('1.10'), 'j1.10'],
    [number('12345678901234567890'), 'j12345678901234567890'],
    [number('01'), 's01'],
    [number('0x1F'), 's0x1F'],
    [{ kind: 'boolean', text: 'True' } as const, 'jtrue'],
    [{ kind: 'json', json: '{"b": 1, "a": 2}' } as const, 'j{"a":2,"b":1}'],
    [{ kind: 'null' } as const, 'jnull'],
  ])('sends %j as %j', (value, expected) => {
    expect(cell(field('f', { kind: 'value', value }), {}, {})).toBe(expected)
  })

  it('casts and transforms them when the mapping is compiled', () => {
    expect(cell(field('f', { kind: 'value', value: number('7') }, { type: 'string' }), {}, {})).toBe('s7')
    expect(cell(field('f', { kind: 'value', value: text(' A ') }, { transform: ['strip'] }), {}, {})).toBe('sA')
    const spec = field('f', { kind: 'value', value: text('seven') }, { type: 'integer' })
    expect(problems(() => compiled(spec, {}))).toMatchObject([{ code: 'CDP1308' }])
    expect(checkMapping(sync({ fields: [field('f', 'x', { type: 'integer', default: text('seven') })] }))).toMatchObject([
      { code: 'CDP1308' },
    ])
  })
})

describe('type', () => {
  it.each<[string, string, NonNullable<FieldSpec['type']>, string]>([
    ['id', '12345678901234567890', 'string', 's12345678901234567890'],
    ['price', '1.50', 'string', 's1.5'],
    ['at', '2024-05-01 10:00:00', 'string', 's2024-05-01T10:00:00Z'],
    ['at', 'infinity', 'string', 'sinfinity'],
    ['tags', '"x"', 'string', 'sx'],
    ['tags', '{"b":1,"a":2}', 'string', 's{"a":2,"b":1}'],
    ['on', 'f', 'string', 'sfalse'],
    ['plan', ' 042 ', 'integer', 'j42'],
    ['plan', '1e3', 'integer', 'j1000'],
    ['plan', '12345678901234567890', 'integer', 'j12345678901234567890'],
    ['price', '3.00', 'integer', 'j3'],
    ['on', 't', 'integer', 'j1'],
    ['plan', '-1.50', 'decimal', 'j-1.5'],
    ['plan', '.5', 'float', 'j0.5'],
    ['id', '12345678901234567890', 'float', 'j12345678901234567000'],
    ['plan', 'Yes', 'boolean', 'jtrue'],
    ['id', '0', 'boolean', 'jfalse'],
    ['at', '2024-05-01 23:59:59', 'date', 's2024-05-01'],
    ['day', '2024-05-01', 'timestamp', 's2024-05-01T00:00:00Z'],
    ['plan', '2024-05-01T01:30:00.1200+02:00', 'timestamp', 's2024-04-30T23:30:00.12Z'],
    ['plan', '2024-05-01T01:30:00+02:00', 'date', 's2024-04-30'],
    ['plan', '{"b":1.0,"a":12345678901234567890}', 'json', 'j{"a":12345678901234567890,"b":1}'],
    ['id', '5', 'json', 'j5'],
    ['day', '2024-05-01', 'json', 's2024-05-01'],
  ])('casts %s %j to %s: %j', (name, raw, type, expected) => {
    expect(cell(field('f', name, { type }), TYPES, { [name]: raw })).toBe(expected)
  })

  it.each<[string, string, NonNullable<FieldSpec['type']>, string]>([
    ['plan', '', 'integer', 'not_a_number'],
    ['plan', '0x10', 'integer', 'not_a_number'],
    ['price', '1.5', 'integer', 'not_an_integer'],
    ['plan', '123e999', 'integer', 'number_too_long'],
    ['plan', '1e999', 'float', 'not_finite'],
    ['score', 'NaN', 'decimal', 'not_finite'],
    ['plan', 'maybe', 'boolean', 'not_a_boolean'],
    ['id', '2', 'boolean', 'not_a_boolean'],
    ['plan', '2024-02-30', 'date', 'not_a_date'],
    ['plan', 'May 1 2024', 'timestamp', 'not_a_timestamp'],
    ['plan', '{a:1}', 'json', 'not_json'],
    ['tags', '[1]', 'integer', 'not_a_number'],
  ])('has no cast of %s %j to %s: the row is invalid, %s', (name, raw, type, code) => {
    expect(reason(field('f', name, { type }), TYPES, { [name]: raw })).toBe(code)
  })

  it('refuses a cast that no value has', () => {
    expect(problems(() => compiled(field('f', 'at', { type: 'integer' }), TYPES))).toMatchObject([{ code: 'CDP1307' }])
    expect(problems(() => compiled(field('f', 'on', { type: 'date' }), TYPES))).toMatchObject([{ code: 'CDP1307' }])
  })
})

describe('meta and lookup', () => {
  it('leaves what is rendered at sending out of the payload', () => {
    const sent = compiled(field('f', { kind: 'meta', meta: 'sent_at' }), {})
    expect(sent).toMatchObject({ meta: 'sent_at', inputs: [] })
    expect(sent.evaluate([])).toBe(null)
  })

  const owner = field('f', { kind: 'lookup', object: 'User', match: { 'Org"': 'id', Email: 'plan' }, onMiss: 'null' })

  it('gives the match values of a reference, by name, as the destination compares them', () => {
    expect(compiled(owner, TYPES).lookup).toEqual({ object: 'User', match: { Email: 'plan', 'Org"': 'id' }, onMiss: 'null' })
    expect(cell(owner, TYPES, { plan: ' A"b ', id: '5' })).toBe(String.raw`j{"lookup":"User","match":{"Email":"a\"b","Org\"":5}}`)
  })

  it('is null where all values of a reference are, and keeps a half of one for delivery to miss', () => {
    expect(cell(owner, TYPES, { plan: null, id: null })).toBe('jnull')
    expect(cell(owner, TYPES, { plan: ' ', id: null })).toBe('jnull')
    expect(cell(owner, TYPES, { plan: 'a', id: null })).toBe(String.raw`j{"lookup":"User","match":{"Email":"a","Org\"":null}}`)
    expect(cell({ ...owner, nulls: 'skip' }, TYPES, { plan: null, id: null })).toBe(null)
    const [match] = compileMapping(sync({ match: [owner] }), columns(TYPES)).match
    expect(match!.evaluate(match!.inputs.map((name) => (name === 'id' ? null : 'a')))).toBe('jnull')
  })

  it('says of what type the value is that every row sends', () => {
    expect(compiled(field('f', 'price'), TYPES).type).toBe('decimal')
    expect(compiled(field('f', 'price', { type: 'string' }), TYPES).type).toBe('string')
    expect(compiled(field('f', 'price', { transform: ['round'] }), TYPES).type).toBe(null)
    expect(compiled(field('f', { kind: 'value', value: number('7') }), TYPES).type).toBe('integer')
    expect(compiled(field('f', { kind: 'value', value: text('7') }), TYPES).type).toBe('string')
    expect(compiled(owner, TYPES).type).toBe(null)
  })
})

describe('a whole mapping', () => {
  const model = columns({ id: 'integer', email: 'string', first: 'string', last: 'string', loaded: 'timestamptz', 'a.b': 'string' })
  const star = { except: ['loaded'], nulls: 'skip', nullsWritten: true, where: 'syncs/a.yaml:20:3' } as const

  it('gives `*` every column that nothing reads, in model order, the key included', () => {
    const fields = [field('name', template('{{ first }} {{ last }}'))]
    const mapping = compileMapping(sync({ key: ['id'], match: [field('mail', 'email')], fields, star }), model)
    expect(mapping.fields.map(({ name }) => name)).toEqual(['name', 'id', 'a.b'])
    expect(mapping.fields[1]).toMatchObject({ nulls: 'skip', nullsWritten: true })
    expect(mapping.columns).toEqual(['id', 'email', 'first', 'last', 'a.b'])
  })

  it('keeps a dot of a column name literal where dots are paths', () => {
    const mapping = compileMapping(sync({ star: { ...star, except: ['loaded', 'id', 'email', 'first', 'last'] }, nested: true }), model)
    expect(mapping.fields.map(({ name }) => name)).toEqual([String.raw`a\.b`])
  })

  it('does not repeat a match field among the fields', () => {
    const mapping = compileMapping(sync({ match: [field('mail', 'email')], fields: [field('mail', 'email'), field('n', 'first')] }), model)
    expect(mapping.match.map(({ name }) => name)).toEqual(['mail'])
    expect(mapping.fields.map(({ name }) => name)).toEqual(['n'])
  })

  it('refuses a `*` that writes one field twice', () => {
    const clash = sync({ fields: [field('first', 'last')], star })
    expect(problems(() => compileMapping(clash, model))).toMatchObject([{ code: 'CDP1310', where: star.where }])
  })

  it('reports every problem at once, each with its place and what was meant', () => {
    const fields = [
      field('a', 'frist'),
      field('b', template('{{ lsat }}')),
      field('c', template('{{ first | striip }}')),
      field('d', 'first'),
    ]
    const found = problems(() => compileMapping(sync({ key: ['idd'], match: [field('mail', 'emial')], fields }), model))
    expect(found.map(({ code, hint, where }) => [code, hint, where])).toEqual([
      ['CDP1300', 'Did you mean "id"?', 'syncs/a.yaml:4:3'],
      ['CDP1300', 'Did you mean "email"?', 'syncs/a.yaml:9:3'],
      ['CDP1300', 'Did you mean "first"?', 'syncs/a.yaml:9:3'],
      ['CDP1303', 'Did you mean "last"?', 'syncs/a.yaml:9:3'],
      ['CDP1302', 'Did you mean "strip"?', 'syncs/a.yaml:9:3'],
    ])
    expect(problems(() => compileMapping(sync({ star: { ...star, except: ['laoded'] } }), model))).toMatchObject([
      { code: 'CDP1300', where: star.where },
    ])
  })

  it('finds offline what needs no columns', () => {
    const fields = [field('a', 'nowhere'), field('b', template('{{ x | nope }}')), field('c', 'x', { transform: ['upcase', 'nope'] })]
    expect(checkMapping(sync({ fields })).map(({ code }) => code)).toEqual(['CDP1302', 'CDP1302'])
  })
})

describe('the signature', () => {
  const base = field('f', 'plan', {
    map: new Map([
      ['a', text('1')],
      ['b', text('2')],
    ]),
  })

  it('stays when no cell can change', () => {
    const reordered = {
      ...base,
      map: new Map([
        ['b', text('2')],
        ['a', text('1')],
      ]),
    }
    const moved = { ...base, where: 'syncs/a.yaml:77:1', name: 'g', write: 'on_create', sensitive: true, nullsWritten: true } as const
    expect(signature(reordered)).toBe(signature(base))
    expect(signature(moved)).toBe(signature(base))
    const answered = { ...base, default: text('x') }
    expect(signature({ ...answered, nulls: 'skip' })).toBe(signature(answered))
    expect(signature(base, { ...TYPES, id: 'string' })).toBe(signature(base))
  })

  it.each<[string, FieldSpec]>([
    ['a map', { ...base, map: new Map([['a', text('1')]]) }],
    [
      'the type of a constant',
      {
        ...base,
        map: new Map([
          ['a', number('1')],
          ['b', text('2')],
        ]),
      },
    ],
    ['a default', { ...base, default: text('x') }],
    ['a transform', { ...base, transform: ['strip'] }],
    ['a cast', { ...base, type: 'string' }],
    ['the policy for nulls', { ...base, nulls: 'skip' }],
    ['the column', field('f', 'tags')],
    ['a template', field('f', template('{{ plan }}'))],
  ])('changes with %s', (_, spec) => {
    expect(signature(spec)).not.toBe(signature(base))
  })

  it('changes with the type of a column it reads', () => {
    expect(signature(field('f', 'plan'), { plan: 'decimal' })).not.toBe(signature(field('f', 'plan')))
  })
})
