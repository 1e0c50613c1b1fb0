import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { findRoot } from '../../src/config/find.ts'
import { folder } from './project.ts'

it('finds the project from any folder inside it, or where -C says', () => {
  const root = folder({ 'cdp-sync.yaml': '' })
  const inner = join(root, 'syncs/deep')
  mkdirSync(inner, { recursive: true })
  expect(findRoot(root)).toBe(root)
  expect(findRoot(inner)).toBe(root)
  expect(findRoot('/', root)).toBe(root)
  expect(findRoot(inner, '../..')).toBe(root)
})

it('says what to do when there is no project', () => {
  const root = folder({ 'cdp-sync.yaml': '' })
  expect(() => findRoot(dirname(root))).toThrow(
    expect.objectContaining({ code: 'CDP1001', hint: expect.stringContaining('cdp-sync init') }),
  )
  expect(() => findRoot(root, 'connectors')).toThrow(`There is no cdp-sync.yaml in ${join(root, 'connectors')}.`)
})
