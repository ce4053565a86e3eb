import { defineConfig } from 'vitest/config'

import base from '../vitest.config.ts'

// What finds a mutant of the core: its tests in one process, without those that start processes or work in great numbers.
export default defineConfig({
  test: {
    ...base.test,
    projects: undefined,
    include: ['test/core/**/*.test.ts', 'test/simulation/lives.test.ts'],
    exclude: ['test/core/process.test.ts', 'test/core/scale.test.ts'],
    isolate: false,
    testTimeout: 15_000,
    globalSetup: [],
    provide: { postgresUrl: '' },
    // Stryker runs them in threads, which take no flags of their own.
    execArgv: [],
  },
})
