import type { ConnectionManager } from '../contract/manager.ts'
import type { ResolvedPoolOptions } from '../contract/options.ts'
import type { Mailbox } from '../runtime/mailbox.ts'
import type { AsyncMarks } from '../runtime/async-marks.ts'
import type { UserCalls } from '../runtime/user-calls.ts'
import type { Events } from '../telemetry/events.ts'
import type { Reports } from '../telemetry/reports.ts'
import type { Slots } from './slots.ts'

/** The parts of one pool that all others use. */
export interface PoolContext<C> {
  readonly manager: ConnectionManager<C>
  readonly options: ResolvedPoolOptions<C>
  readonly slots: Slots<C>
  readonly calls: UserCalls
  readonly events: Events
  readonly reports: Reports
  readonly turns: Mailbox
  readonly marks: AsyncMarks
  /** Nothing is opened or handed out. */
  readonly paused: boolean
  readonly closed: boolean
  /** Called when an attempt failed: rejects the callers that no open connection can serve, if the error is final. */
  connectFailed(error: unknown, isFinal: boolean): void
}
