import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/servers.setup.ts'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // A machine that does several things at once is slow, and not wrong.
    expect: { poll: { timeout: 10_000 } },
    pool: 'forks',
    maxWorkers: 2,
    execArgv: ['--expose-gc'],
    reporters: ['default'],
    coverage: {
      provider: 'v8',
      include: ['src/core/**'],
      thresholds: { lines: 98, branches: 95 },
    },
  },
})
