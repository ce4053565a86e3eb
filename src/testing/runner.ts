/** The part of a test runner that {@link describeManager} needs; what `node:test`, vitest, jest, bun and Deno have. */
export interface TestRunner {
  describe(name: string, define: () => void): unknown
  readonly it: {
    (name: string, run: () => Promise<void>): unknown
    skip(name: string, run: () => Promise<void>): unknown
  }
}

/** The runner whose globals are there, else vitest where it runs this process, else `node:test`. */
export async function findRunner(): Promise<TestRunner> {
  const { describe, it } = globalThis as unknown as Partial<TestRunner>
  if (typeof describe === 'function' && typeof it === 'function') return { describe, it }
  return await load(process.env['VITEST'] === undefined ? 'node:test' : 'vitest')
}

// The name is an argument: a package that is not installed is not looked for when this is compiled or bundled.
async function load(name: string): Promise<TestRunner> {
  return (await import(name)) as TestRunner
}
