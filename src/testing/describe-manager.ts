import { conformanceCases } from './conformance/case.ts'
import type { MakeManager, ManagerFaults } from './conformance/faults.ts'
import { findRunner, type TestRunner } from './runner.ts'

const found = await findRunner()

/**
 * What any manager must do, as a test suite: it connects, gives up, checks, notices a loss, closes, and in the hands of a
 * pool never lets a dead or dirty connection reach a caller, nor leaves anything behind that keeps the process alive.
 *
 * Call it where tests are defined. `makeManager` makes a manager for each case; `faults` are the means to make its
 * connections fail, and cases whose means are not given are reported as skipped, with the name of what they need. `runner`
 * defaults to the globals `describe` and `it`, else to vitest where it runs, else to `node:test`.
 *
 * ```ts
 * describeManager('PgManager', ({ host, port } = { host: '127.0.0.1', port: 5432 }) => new PgManager({ host, port }), {
 *   server: { host: '127.0.0.1', port: 5432 },
 *   use: (client) => client.query('select 1'),
 *   kill: (client) => admin.query('select pg_terminate_backend($1)', [client.processID]),
 * })
 * ```
 *
 * @example
 * ```ts
 * import { once } from 'node:events'
 * import { createServer } from 'node:net'
 * import { after, describe, it } from 'node:test'
 *
 * import { NetManager } from 'cenote/net'
 * import { describeManager } from 'cenote/testing'
 *
 * const server = createServer((socket) => socket.resume())
 * await once(server.listen(0, '127.0.0.1'), 'listening')
 * const { port } = server.address() as { port: number }
 * const runner = { describe, it }
 * const make = () => new NetManager({ host: '127.0.0.1', port })
 * describeManager('NetManager', make, {}, runner) // prints NetManager does what a manager must do
 * after(() => server.close())
 * ```
 */
export function describeManager<C>(
  name: string,
  makeManager: MakeManager<C>,
  faults: ManagerFaults<C> = {},
  runner: TestRunner = found,
): void {
  const { describe, it } = runner
  describe(`${name} does what a manager must do`, () => {
    for (const { title, missing, run } of conformanceCases(makeManager, faults)) {
      if (missing.length === 0) it(title, run)
      else it.skip(`${title} (needs ${missing.map((need) => `faults.${need}`).join(', ')})`, run)
    }
  })
}
