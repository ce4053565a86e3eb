import { checkCases } from './check.ts'
import { closeCases } from './close.ts'
import { connectCases, fatalCase } from './connect.ts'
import type { CaseDefinition } from './definition.ts'
import type { MakeManager, ManagerFaults } from './faults.ts'
import { leftoverCases } from './leftovers.ts'
import { lossCases } from './loss.ts'
import { optionalCases } from './optional.ts'
import { dirtyCase, pooledCases } from './pooled.ts'
import { Trial } from './trial.ts'

/** One case of the suite for one manager. */
export interface ConformanceCase {
  readonly title: string
  /** The names of the faults that the case needs and that were not given. */
  readonly missing: readonly string[]
  /** Rejects with an AssertionError if the manager fails the case. */
  run(): Promise<void>
}

/**
 * Lists the cases of {@link describeManager}, for a test runner without `describe`. Run them one after the other: each case
 * watches the sockets, timers and unhandled errors of the process.
 *
 * @example
 * ```ts
 * import { once } from 'node:events'
 * import { createServer } from 'node:net'
 *
 * import { NetManager } from 'cenote/net'
 * import { conformanceCases } from 'cenote/testing'
 *
 * const server = createServer((socket) => socket.resume())
 * await once(server.listen(0, '127.0.0.1'), 'listening')
 * const { port } = server.address() as { port: number }
 * // The cases run one after the other.
 * const cases = conformanceCases(() => new NetManager({ host: '127.0.0.1', port }), {})
 * for (const { title, missing, run } of cases) if (missing.length === 0) await run()
 * server.close()
 * console.log(cases.length > 10) // prints true
 * ```
 */
export function conformanceCases<C>(
  makeManager: MakeManager<C>,
  faults: ManagerFaults<C> = {},
): readonly ConformanceCase[] {
  const definitions: CaseDefinition[] = [
    ...connectCases,
    ...Object.keys(faults.fatal ?? {}).map((wrong) => fatalCase(wrong)),
    ...checkCases,
    ...lossCases,
    ...closeCases,
    ...optionalCases,
    ...leftoverCases,
    ...pooledCases,
    ...Object.keys(faults.dirty ?? {}).map((state) => dirtyCase(state)),
  ]
  return definitions.map(({ title, needs, run }) => ({
    title,
    missing: needs.filter((need) => faults[need] === undefined),
    run: async () => {
      const trial = new Trial(makeManager, faults)
      try {
        await run(trial)
      } finally {
        await trial.end()
      }
      trial.noCrash()
    },
  }))
}
