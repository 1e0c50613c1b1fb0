/** Syncs and projects for tests of what never looks inside them. */
import type { Project, Sync } from '../../src/config/types.ts'

export function sync(name: string, more: Partial<Sync> = {}): Sync {
  return { name, dependsOn: [], enabled: true, tags: [], mode: 'upsert', file: `syncs/${name}.yaml`, ...more } as unknown as Sync
}

export function project(syncs: readonly Sync[], root = '/nowhere'): Project {
  const state = { type: 'local' as const, path: `${root}/.cdp-sync` }
  return { root, name: null, environment: null, warehouses: {}, destinations: {}, state, syncs, secrets: [], variables: [], warnings: [] }
}
