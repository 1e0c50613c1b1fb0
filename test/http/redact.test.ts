import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createRedactor } from '../../src/redact.ts'

const SECRET = 'p@ss/w+rd "1"=?'

describe('createRedactor', () => {
  const redact = createRedactor([SECRET])

  it.each([
    ['as it stands', `login ${SECRET} failed`],
    ['percent-encoded', `?t=${encodeURIComponent(SECRET)}&x=1`],
    ['percent-encoded in lower case', encodeURIComponent(SECRET).replace(/%../g, (hex) => hex.toLowerCase())],
    ['form-encoded', new URLSearchParams({ token: SECRET }).toString()],
    ['escaped in JSON', JSON.stringify({ token: SECRET })],
    ['in base64', Buffer.from(SECRET).toString('base64')],
    ['in base64url', Buffer.from(SECRET).toString('base64url')],
  ])('masks a secret %s', (_, text) => {
    const masked = redact(text)
    expect(masked).toContain('***')
    expect(masked).not.toContain('w+rd')
    expect(masked).not.toContain(Buffer.from(SECRET).toString('base64').slice(0, 8))
  })

  it('masks a secret inside a longer base64 text at every offset', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 9 }), fc.string({ maxLength: 9 }), (before, after) => {
        const masked = createRedactor(['hunter2-hunter2'])(Buffer.from(`${before}hunter2-hunter2${after}`).toString('base64'))
        expect(Buffer.from(masked.replace('***', ''), 'base64').toString()).not.toContain('unter2')
        expect(masked).toContain('***')
      }),
    )
  })

  it('leaves no secret in any text', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ minLength: 4, maxLength: 12 }), { maxLength: 5 }), fc.string(), (secrets, filler) => {
        // A mask next to a rest may spell a secret made of stars.
        const plain = secrets.filter((secret) => !secret.includes('*') && secret.trim().length >= 4)
        const masked = createRedactor(plain)(plain.join(filler))
        for (const secret of plain) expect(masked.split('***').some((rest) => rest.includes(secret))).toBe(false)
      }),
    )
  })

  it('masks the longest of overlapping secrets', () => {
    expect(createRedactor(['abcd', 'abcdefgh'])('abcdefgh')).toBe('***')
  })

  it('masks the login of any URL, also with an @ in the password', () => {
    const none = createRedactor([])
    expect(none('postgres://me:p@ss@db:5432/x and https://token@host/')).toBe('postgres://***@db:5432/x and https://***@host/')
    expect(none('see https://example.com/a@b')).toBe('see https://example.com/a@b')
  })

  it('ignores secrets under 4 characters', () => {
    expect(createRedactor(['a', 'abc', ''])('abc a')).toBe('abc a')
  })

  it('masks a secret that came from a file with a line break at its end', () => {
    expect(createRedactor(['tok-123456\n'])('got tok-123456.')).toBe('got ***.')
  })

  it('masks the credential of an authorization header by itself', () => {
    expect(createRedactor(['Bearer tok-123456'])('got tok-123456')).toBe('got ***')
  })
})
