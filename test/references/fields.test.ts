/** Fields that the destination does not have, does not let be written, or takes as another type: found before anything is sent. */
import { afterEach, describe, expect, it } from 'vitest'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { FieldInfo } from '../../src/connector.ts'
import { cli } from '../support/run-cli.ts'
import { writeProject } from '../support/cli-project.ts'

let remove: () => Promise<void> = () => Promise.resolve()
afterEach(() => remove())

interface Found {
  code: string
  message: string
  where: string
  hint: string
}

/** A project with one sync, `contacts`, whose destination describes these fields. */
async function project(known: readonly FieldInfo[], lines: readonly string[], nested = false, more = ''): Promise<string> {
  const made = await writeProject()
  remove = made.remove
  const connector = (await readFile(join(made.root, 'connectors/box.ts'), 'utf8'))
    .replace(/describe: async[^\n]*\n/, `describe: async () => (${JSON.stringify(known)}),\n`)
    .replace("removes: ['delete']", "removes: ['delete', 'set']")
    .replace("match: { email: 'email' },", `match: { email: 'email', '*': 'exact' }, nested: ${nested},`)
  const sync = `model:
  sql: select 1 as id, 'a@x.io' as email, 'free' as plan, 1.5 as score, true as on, date '2024-01-01' as day, timestamp '2024-01-01' as at
  key: id
destination: box
${more || 'match: { email: email }'}
fields:
${lines.map((line) => `  ${line}\n`).join('')}`
  await remove()
  const own = await writeProject({
    'connectors/box.ts': connector,
    'syncs/contacts.yaml': sync,
    'syncs/companies.yaml': `enabled: false\n${sync}`,
  })
  remove = own.remove
  return own.root
}

async function problems(...args: Parameters<typeof project>): Promise<Found[]> {
  const { stdout } = await cli(['validate', '--live', '--json'], { cwd: await project(...args) })
  return (JSON.parse(stdout) as { errors: Found[] }).errors
}

const text = (name: string, more: Partial<FieldInfo> = {}): FieldInfo => ({ name, type: 'text', ...more })

describe('a field at the destination', () => {
  it('is checked with all others: each at its place, the same in validate --live, plan and run', async () => {
    const known = [
      text('email'),
      text('plan'),
      text('created', { readOnly: true }),
      { name: 'score', type: 'number', accepts: ['integer'] as const },
    ]
    const root = await project(known, ['plann: plan', 'created: at', 'score: score'])
    const { errors } = JSON.parse((await cli(['validate', '--live', '--json'], { cwd: root })).stdout) as { errors: Found[] }
    expect(errors.map(({ code, where, message, hint }) => `${where} ${code} ${message} ${hint}`)).toEqual([
      'syncs/contacts.yaml:7:3 CDP4009 things has no field "plann". Did you mean "plan"?',
      'syncs/contacts.yaml:8:3 CDP4009 The field "created" of things can\'t be written: it is read-only there. Take it out of the sync.',
      'syncs/contacts.yaml:9:3 CDP4019 The field "score" of things takes integer, and the column "score" gives decimal. Cast it in the model, or here: { column: score, type: integer }.',
    ])
    for (const command of ['plan', 'run']) {
      const { code, stdout, stderr } = await cli([command, 'contacts'], { cwd: root })
      expect(code).toBe(1)
      for (const { message, where } of errors) expect((stdout + stderr).replace(/\s+/g, ' ')).toContain(`${where}: ${message}`)
    }
  })

  it.each([
    ['a number', ['decimal'], 'score', []],
    ['a whole number for a decimal', ['decimal'], 'id', []],
    ['a timestamp, with or without its zone', ['timestamptz'], 'at', []],
    ['a text for a number', ['integer', 'decimal'], 'plan', ['type: integer']],
    ['a date for a timestamp', ['timestamp'], 'day', ['type: timestamp']],
    ['a boolean for a date, which no cast gives', ['date'], 'on', ['Cast it in the model.']],
    ['a number that is cast', ['string'], '{ column: score, type: string }', []],
    ['what a template gives, which depends on the row', ['integer'], '{ template: "{{ plan }}" }', []],
    ['a constant in quotes', ['integer'], '{ value: "5" }', ['Write the constant as integer.']],
    ['any type where none is named', [], 'plan', []],
  ] as const)('takes by its type: %s', async (_, accepts, value, hints) => {
    const found = await problems([text('email'), { name: 'f', type: 't', accepts }], [`f: ${value}`])
    expect(found.map(({ hint }) => hint).join()).toContain(hints.join())
    expect(found).toHaveLength(hints.length)
  })

  it('of a nested object is known by its first part, or by all of it where the service lists that', async () => {
    const known = [text('email'), text('address'), text('seen', { readOnly: true }), text('geo.lat'), text('a.b')]
    const lines = ['address.city: plan', 'geo.lat: plan', 'a\\.b: plan', 'seen.at: at', 'geo.lon: plan', 'other.x: plan']
    const found = await problems(known, lines, true)
    expect(found.map(({ message }) => message)).toEqual([
      'things has no field "a\\.b".',
      'The field "seen.at" of things can\'t be written: it is read-only there.',
      'things has no field "geo.lon".',
      'things has no field "other.x".',
    ])
  })

  it('is no path where the object is flat', async () => {
    expect(await problems([text('email'), text('address')], ['address.city: plan'])).toMatchObject([{ code: 'CDP4009' }])
  })

  it('may be a match field that the object names itself, listed or not; any other must be listed', async () => {
    expect(await problems([text('plan')], ['plan: plan'])).toEqual([])
    const found = await problems([text('plan'), text('ref', { readOnly: true })], ['plan: plan'], false, 'match: { ref: id, reff: id }')
    expect(found).toMatchObject([{ message: 'things has no field "reff".', hint: 'Did you mean "ref"?' }])
  })

  it('is checked under "*" and in on_remove too', async () => {
    const mirror = 'mode: mirror\nmatch: { email: email }\non_remove: { set: { state: gone } }'
    const connector = [text('email'), text('id'), text('plan')]
    const found = await problems(connector, ['"*": { except: [score, on, day] }'], false, mirror)
    expect(found.map(({ message }) => message)).toEqual(['things has no field "at".', 'things has no field "state".'])
  })

  it('is not checked where the service takes any', async () => {
    expect(await problems([], ['anything: plan'])).toEqual([])
  })
})
