import { defineConfig } from 'vitest/config'

const scenarios = (...names: string[]): string[] => names.map((name) => `test/engine/${name}.test.ts`)
const DIFFERENTIAL = 'test/differential/*.test.ts'

/** What must hold wherever a state lies. */
const PROMISES = [
  'test/crash/*.test.ts',
  DIFFERENTIAL,
  'test/model/*.test.ts',
  ...scenarios('first', 'guards', 'held', 'histories', 'identity', 'invalid', 'maintain', 'mapping', 'modes', 'plan'),
  ...scenarios('removals', 'selection', 'torture', 'uncertain'),
]

/**
 * Where that may be besides the project's folder (test/support/engines.ts), and what of the promises is tried there each time:
 * about a hundred seconds of two cores for each place. EVERY_PROMISE=1 tries all of them everywhere.
 */
const ENGINES = {
  s3: ['test/crash/{random,steps}.test.ts', 'test/model/{match,renames}.test.ts', ...scenarios('first', 'histories', 'maintain')],
  'warehouse-postgres': [
    'test/crash/{random,steps}.test.ts',
    DIFFERENTIAL,
    'test/model/{any,key,match}.test.ts',
    ...scenarios('first', 'histories', 'maintain', 'removals', 'torture'),
  ],
  'warehouse-duckdb': [
    'test/crash/{edits,random}.test.ts',
    DIFFERENTIAL,
    'test/model/{any,match}.test.ts',
    ...scenarios('first', 'mapping', 'torture'),
  ],
  'other-postgres': [
    'test/crash/random.test.ts',
    DIFFERENTIAL,
    'test/model/{membership,renames}.test.ts',
    ...scenarios('first', 'histories', 'removals', 'torture'),
  ],
  'warehouse-snowflake': ['test/crash/random.test.ts', ...scenarios('first', 'removals')],
} as const

/** Two machines reach one state: not where it lies in a folder, or in a file that one process has. */
const RACES = 'test/crash/races.test.ts'
/** Tests of a bucket need one. */
const BUCKET = 'test/bucket/*.test.ts'

export default defineConfig({
  test: {
    // Two cores: more workers only fight over them.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      { extends: true, test: { name: 'local', include: ['test/**/*.test.ts'], exclude: [BUCKET, RACES], provide: { engine: 'local' } } },
      ...Object.entries(ENGINES).map(([engine, some]) => ({
        extends: true as const,
        test: {
          name: engine,
          include: [
            ...(process.env['EVERY_PROMISE'] === undefined ? some : PROMISES),
            ...(engine === 's3' ? [BUCKET, RACES] : engine === 'warehouse-postgres' ? [RACES] : []),
          ],
          setupFiles: ['test/support/on-engine.ts'],
          // Each run asks a server many times, some of them a slow one.
          testTimeout: 180_000,
          provide: { engine: engine as keyof typeof ENGINES },
        },
      })),
    ],
  },
})
