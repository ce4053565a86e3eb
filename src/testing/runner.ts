/** The part of a test runner that {@link describeManager} needs; what `node:test`, vitest, jest, bun and Deno have. */
export interface TestRunner {
  describe(name: string, define: () => void): unknown
  readonly it: {
    (name: string, run: () => Promise<void>): unknown
    skip(name: string, run: () => Promise<void>): unknown
  }
}

/**
 * Finds the runner: that of the globals, otherwise vitest if it runs this file, otherwise `node:test`. Synchronous, because
 * CommonJS cannot load a module that awaits.
 */
export function findRunner(): TestRunner {
  const {
    describe,
    it,
    __vitest_index__: vitest,
  } = globalThis as unknown as Partial<TestRunner> & {
    // The object that vitest provides as import.meta.vitest.
    readonly __vitest_index__?: TestRunner
  }
  if (typeof describe === 'function' && typeof it === 'function') return { describe, it }
  return vitest ?? process.getBuiltinModule('node:test')
}
