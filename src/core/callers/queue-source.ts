import type { Clock } from '../contract/clock.ts'
import type { PoolErrorDetails } from '../contract/errors.ts'
import type { ResolvedPoolOptions } from '../contract/options.ts'
import type { Histogram } from '../runtime/histogram.ts'
import type { Mailbox } from '../runtime/mailbox.ts'
import type { Events } from '../telemetry/events.ts'

/** The supply that is on its way to the head of the queue. */
export interface Supply {
  readonly inCheck: number
  readonly inHook: number
  readonly connecting: number
  /** Connections that holders have, of this pool or of the group that it is part of. */
  readonly leased: number
  readonly of: 'pool' | 'group'
}

/** The parts of the pool that the queue uses. */
export interface QueueSource {
  readonly options: ResolvedPoolOptions<never>
  readonly turns: Mailbox
  readonly events: Events
  readonly clock: Clock
  /** Records the waits of all pools of a group. */
  readonly allWaits?: Histogram | undefined
  /** The last connect error, or the last error of a check that failed since this time. */
  lastError(since: number): unknown
  details(cause?: unknown): PoolErrorDetails
  supply(): Supply
}
