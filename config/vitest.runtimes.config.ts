import { defineConfig } from 'vitest/config'

import config from '../vitest.config.ts'

// What runs on every runtime: the core, and the managers with the servers that are there. Left out are tests of the tests'
// own tools (servers that are suspended and restarted), and those of how the cost grows: they are about V8.
export default defineConfig({
  test: {
    ...config.test,
    projects: undefined,
    include: ['test/core/**/*.test.ts', 'test/managers/**/*.test.ts'],
    exclude: ['test/core/scale.test.ts', 'test/managers/faults.test.ts'],
    // Another runtime does not know the flag: what needs the garbage collector finds it there by itself.
    execArgv:
      process.versions['bun'] === undefined && process.versions['deno'] === undefined ? ['--expose-gc'] : [],
  },
})
