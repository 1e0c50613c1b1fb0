import { defineConfig } from 'vitest/config'

/** Where a sync's state may lie besides the local folder: names of test/support/engines.ts. */
const ENGINES = ['s3'] as const

/** What must hold wherever the state lies. */
const PROMISES = [
  'test/{crash,differential,model}/*.test.ts',
  'test/engine/{first,guards,held,histories,identity,invalid,maintain,mapping,modes,plan,removals,selection,torture,uncertain}.test.ts',
]

/** What only states of one engine have. */
const OWN: Readonly<Record<string, readonly string[]>> = { s3: ['test/bucket/*.test.ts'] }

export default defineConfig({
  test: {
    // Two cores: more workers only fight over them.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'local',
          include: ['test/**/*.test.ts'],
          exclude: Object.values(OWN).flat(),
          provide: { engine: 'local' },
        },
      },
      ...ENGINES.map((engine) => ({
        extends: true as const,
        test: {
          name: engine,
          include: [...PROMISES, ...(OWN[engine] ?? [])],
          setupFiles: ['test/support/on-engine.ts'],
          provide: { engine },
        },
      })),
    ],
  },
})
