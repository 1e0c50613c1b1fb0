/** `cdp-sync/testing`: proves that a connector keeps its contract, against a local fake of its service. */
import { basename, dirname, extname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Connector } from '../connector.ts'
import { importConnector } from '../config/registry.ts'
import { casesOf } from './cases.ts'
import type { Subject } from './subject.ts'

export type { Case } from './cases.ts'
export { casesOf } from './cases.ts'
export { defineFake } from './fake.ts'
export type * from './fake.ts'
export { serveFakes } from './host.ts'
export type { FakeHost, HostOptions, ServedFake } from './host.ts'
export type * from './subject.ts'

/** What a test runner gives; `node:test`, vitest and jest all do. */
export interface Runner {
  readonly describe: (name: string, body: () => void) => unknown
  readonly it: ((name: string, run: () => Promise<void>) => unknown) & {
    readonly skip: (name: string, run: () => Promise<void>) => unknown
  }
}

/** Registers every case of the suite as a test. Without a runner with `node:test`. */
export async function conformance(subject: Subject, runner?: Runner): Promise<void> {
  const { describe, it } = runner ?? (await import('node:test'))
  const cases = casesOf(subject)
  describe(`the connector ${subject.connector.name}`, () => {
    for (const { name, skip, run } of cases) {
      if (skip === null) it(name, run)
      else it.skip(`${name} (${skip})`, run)
    }
  })
}

/**
 * Loads a connector from its file, TypeScript too, as the command line does. `from`: `import.meta.url` of the test. Throws
 * CdpError when the file fails or is no connector.
 */
export async function loadConnector(path: string, from?: string): Promise<Connector> {
  const file = from === undefined ? resolve(path) : fileURLToPath(new URL(path, from))
  const name = basename(file, extname(file))
  return importConnector({ name: name === 'index' ? basename(dirname(file)) : name, file, builtin: false })
}
