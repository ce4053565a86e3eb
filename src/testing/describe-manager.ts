import { conformanceCases } from './conformance/case.ts'
import type { MakeManager, ManagerFaults } from './conformance/faults.ts'
import { findRunner, type TestRunner } from './runner.ts'

/**
 * Defines a test suite of what every manager must do: connect, stop at an abort, check, report a loss, close, cancel, and
 * leave no socket, timer, listener or memory behind. In a pool, no dead or dirty connection may reach a caller.
 *
 * Call it where tests are defined. `makeManager` creates a manager for each case. `faults` are the means to make its
 * connections fail. A case whose means are missing is reported as skipped, with the name of what it needs. `runner`
 * defaults to the globals `describe` and `it`, otherwise to vitest if it runs this process, otherwise to `node:test`.
 *
 * The cases watch the sockets, timers and unhandled errors of the process: run nothing else in the process at the same time.
 *
 * ```ts no-run
 * import { PgManager } from 'cenote/pg'
 * import { describeManager } from 'cenote/testing'
 * import pg from 'pg'
 *
 * const admin = new pg.Client('postgres://127.0.0.1:5432/postgres')
 * await admin.connect()
 * describeManager('PgManager', ({ host, port } = { host: '127.0.0.1', port: 5432 }) => new PgManager({ host, port }), {
 *   server: { host: '127.0.0.1', port: 5432 },
 *   use: (client) => client.query('select 1'),
 *   kill: async (client) => {
 *     const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
 *     await admin.query('select pg_terminate_backend($1)', [rows[0]?.pid])
 *   },
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
  runner: TestRunner = findRunner(),
): void {
  const { describe, it } = runner
  describe(`${name} does what a manager must do`, () => {
    for (const { title, missing, run } of conformanceCases(makeManager, faults)) {
      if (missing.length === 0) it(title, run)
      else it.skip(`${title} (needs ${missing.map((need) => `faults.${need}`).join(', ')})`, run)
    }
  })
}
