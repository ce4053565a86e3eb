import type { Leaks } from './callers/leaks.ts'
import type { Queue } from './callers/queue.ts'
import type { Connector } from './connections/connector.ts'
import type { PoolContext } from './connections/pool-context.ts'
import type { Turns } from './turns.ts'

/** The parts of the engine that checkouts and returns use. */
export interface EngineContext<C> extends PoolContext<C> {
  readonly turns: Turns
  readonly queue: Queue<C>
  readonly connector: Connector<C>
  readonly leaks: Leaks<C> | undefined
  /** Whether a transition must be settled although it only parked a connection. */
  readonly isObserved: boolean
  /** The end of a transition: from here on the state is settled. */
  settle(): void
}
