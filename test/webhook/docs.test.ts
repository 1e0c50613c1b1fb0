import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import webhook from '../../connectors/webhook/index.ts'
import { batch, change, openDestination, write } from '../support/destination.ts'

const root = path.join(import.meta.dirname, '../..')
const page = fs.readFileSync(path.join(root, 'docs/connectors/webhook.md'), 'utf8')
const blocks = (language: string): string[] =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map(([, code = '']) => code)

it('the receiver in the docs takes signed requests and answers each row', async () => {
  const [code = ''] = blocks('js')
  const secret = `whsec_${Buffer.from('0123456789abcdef01234567').toString('base64')}`
  const announced = code.replace('.listen(8080)', ".listen(0, '127.0.0.1', function () { console.log(this.address().port) })")
  const child = spawn(process.execPath, ['--input-type=module', '-e', announced], {
    cwd: root,
    env: { ...process.env, WEBHOOK_SECRET: secret },
  })
  try {
    const port = await new Promise<string>((resolve, reject) => {
      child.stdout.once('data', (data: Buffer) => resolve(data.toString().trim()))
      child.stderr.once('data', (data: Buffer) => reject(new Error(data.toString())))
    })
    const url = `http://127.0.0.1:${port}/`
    const signed = openDestination(webhook, { url, signing_secret: secret }, {}, Date.now())
    const sent = batch('upsert', [change('1', { a: 1 }), change('2')])
    expect(await write(signed.destination, sent)).toMatchObject({
      error: null,
      outcomes: [
        { key: '1', result: 'ok' },
        { key: '2', result: 'ok' },
      ],
    })
    expect(await write(signed.destination, batch('delete', sent.changes))).toMatchObject({
      error: null,
      outcomes: [{ result: 'ok' }, { result: 'ok' }],
    })
    const forged = openDestination(webhook, { url, signing_secret: `whsec_${'b'.repeat(32)}` }, {}, Date.now())
    expect((await write(forged.destination, sent)).error).toMatchObject({ name: 'AuthError' })
    await Promise.all([signed.close(), forged.close()])
  } finally {
    child.kill()
  }
})

it('the templates in the docs are good ones', () => {
  const examples = blocks('yaml').map((text) => parse(text) as Record<string, any>)
  const templates = examples.flatMap((example) =>
    example['options'] ? [example['options']] : example['upsert'] ? [{ upsert: example['upsert'] }] : [],
  )
  expect(templates).toHaveLength(2)
  for (const options of templates) {
    const settings = { config: webhook.config.parse({ url: 'https://example.com' }), options: webhook.options.parse(options) }
    expect(webhook.validate?.(settings, 'record')).toEqual([])
  }
})

it('the docs name every setting', () => {
  const described = [...page.matchAll(/^\| ((?:`\w+`(?:, )?)+) \|/gm)].flatMap(([, names = '']) =>
    [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name),
  )
  const shape = (webhook.config as unknown as { shape: Record<string, unknown> }).shape
  expect(described).toEqual(expect.arrayContaining(Object.keys(shape)))
})
