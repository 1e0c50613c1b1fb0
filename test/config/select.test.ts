import { beforeAll, describe, expect, it } from 'vitest'
import { select } from '../../src/config/select.ts'
import type { Project } from '../../src/config/types.ts'
import { load, SYNC } from './project.ts'

const file = (name: string, rest = ''): string => `${SYNC.replace('firstname', `f_${name.replace('-', '_')}`)}${rest}`
let project: Project
beforeAll(async () => {
  project = await load({
    'syncs/crm-contacts.yaml': file('crm-contacts', 'depends_on: [crm-companies]\ntags: [hourly]\n'),
    'syncs/crm-companies.yaml': file('crm-companies', 'depends_on: [z-base]\n'),
    'syncs/z-base.yaml': file('z-base'),
    'syncs/ads.yaml': file('ads', 'tags: [hourly, paid]\n'),
    'syncs/old.yaml': file('old', 'enabled: false\ntags: [hourly]\n'),
  })
})
const names = (selectors: string[], exclude: string[] = []): string[] => select(project, selectors, exclude).map((sync) => sync.name)

describe('selecting syncs', () => {
  it('takes every enabled one when nothing is named, upstream first, ties by name', () => {
    expect(names([])).toEqual(['ads', 'z-base', 'crm-companies', 'crm-contacts'])
  })
  it('takes names, globs, tags and destinations', () => {
    expect(names(['ads'])).toEqual(['ads'])
    expect(names(['crm-*'])).toEqual(['crm-companies', 'crm-contacts'])
    expect(names(['tag:hourly'])).toEqual(['ads', 'crm-contacts'])
    expect(names(['destination:crm'])).toHaveLength(4)
    expect(names(['a?s', 'tag:paid'])).toEqual(['ads'])
  })
  it('adds what a sync depends on with +', () => {
    expect(names(['+crm-contacts'])).toEqual(['z-base', 'crm-companies', 'crm-contacts'])
  })
  it('orders two syncs by what stands between them though that was not chosen', () => {
    expect(names(['crm-contacts', 'z-base'])).toEqual(['z-base', 'crm-contacts'])
  })
  it('leaves out what is excluded, disabled or not', () => {
    expect(names([], ['tag:hourly', 'old'])).toEqual(['z-base', 'crm-companies'])
  })
  it('says that a named sync is disabled, and what a mistyped one may be', () => {
    expect(() => names(['old'])).toThrow('The sync "old" is disabled.')
    expect(() => names(['crm-contact'])).toThrow(expect.objectContaining({ code: 'CDP1200', hint: 'Did you mean "crm-contacts"?' }))
    expect(() => names(['tag:hourl'])).toThrow(expect.objectContaining({ hint: 'Did you mean "tag:hourly"?' }))
    expect(() => names(['destination:x'])).toThrow('No sync has the destination "x".')
    expect(() => names([], ['nope'])).toThrow('No sync is called "nope".')
  })
  it('takes nothing for a pattern of regular expressions', () => {
    expect(() => names(['.*'])).toThrow('No sync is called ".*".')
  })
})
