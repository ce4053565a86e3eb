import { defineConfig } from 'vitest/config'

// Whole runs of a service, browsers, and measurements: two of them concurrently would starve each other on a small machine.
const ALONE = [
  'test/bench/**/*.test.ts',
  'test/chaos/run.test.ts',
  'test/demo/start.test.ts',
  'test/examples/browser-manager.test.ts',
  'test/group/fleet-run.test.ts',
  'test/fleet/run.test.ts',
  'test/inspector/page.test.ts',
  'test/package/pack.test.ts',
  'test/soak/**/*.test.ts',
]

export default defineConfig({
  test: {
    globalSetup: ['test/servers.setup.ts'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // A busy machine is slow, which is no failure.
    expect: { poll: { timeout: 10_000 } },
    pool: 'forks',
    maxWorkers: 2,
    execArgv: ['--expose-gc'],
    reporters: ['default'],
    projects: [
      {
        extends: true,
        test: { name: 'beside', include: ['test/**/*.test.ts'], exclude: ALONE, sequence: { groupOrder: 0 } },
      },
      {
        extends: true,
        test: { name: 'alone', include: ALONE, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
    coverage: {
      provider: 'v8',
      include: ['src/core/**'],
      thresholds: { lines: 98, branches: 95 },
    },
  },
})
